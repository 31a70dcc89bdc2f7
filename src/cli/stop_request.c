/* DIR/stop, see stop.h. */
#include "base/durable.h"
#include "cli/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "cairn-stop 1 "

static void path_of(char path[CAIRN_PATH_BYTES], const char *dir)
{
    (void)snprintf(path, CAIRN_PATH_BYTES, "%s/stop", dir);
}

cairn_status cairn_stop_ask(const char *dir, cairn_stop_kind kind, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES], text[256], host[65] = "", when[32] = "";
    time_t now = time(NULL);
    struct tm utc;

    (void)gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    int length = snprintf(text, sizeof text, MAGIC "%s by process %ld on %s at %s\n",
                          kind == CAIRN_STOP_YIELD ? "yield" : "stop", (long)getpid(), host, when);
    path_of(path, dir);
    return cairn_replace_file(path, text, (size_t)length, error);
}

cairn_stop_kind cairn_stop_asked(const char *dir, char *by, size_t bytes)
{
    char path[CAIRN_PATH_BYTES], text[256] = "", kind[8] = "", host[65] = "?";
    long pid = 0;

    path_of(path, dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return CAIRN_STOP_NONE;
    }
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    if (sscanf(text, MAGIC "%7s by process %ld on %64s", kind, &pid, host) == 3) {
        (void)snprintf(by, bytes, "process %ld on %s", pid, host);
    } else {
        (void)snprintf(by, bytes, "somebody");
    }
    return strcmp(kind, "yield") == 0 ? CAIRN_STOP_YIELD : CAIRN_STOP_FOR_GOOD;
}

bool cairn_stop_clear(const char *dir)
{
    char path[CAIRN_PATH_BYTES];

    path_of(path, dir);
    return unlink(path) == 0 || errno == ENOENT;
}
