/* One line of text a process, written with one pwrite; the end of the line tells a whole one from a torn one. */
#include "base/beat.h"
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const phase_texts[] = {"starting", "running", "finishing", "finished"};

void cairn_beat_path(char *path, size_t bytes, const char *dir, uint32_t process)
{
    (void)snprintf(path, bytes, "%s/status/process-%06" PRIu32, dir, process);
}

static void number_or_dash(char text[24], bool is_there, uint64_t value)
{
    (void)snprintf(text, 24, is_there ? "%" PRIu64 : "-", value);
}

cairn_status cairn_beat_write(int fd, const cairn_beat *beat)
{
    char line[CAIRN_BEAT_BYTES + 1];
    char step[24];
    char ended[24];
    char host[sizeof beat->host];
    int length;

    (void)snprintf(host, sizeof host, "%s", beat->host[0] != '\0' ? beat->host : "-");
    for (char *c = host; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            *c = '?'; /* the line is parted by blanks */
        }
    }
    number_or_dash(step, beat->step != UINT64_MAX, beat->step);
    number_or_dash(ended, beat->exit >= 0, (uint64_t)(beat->exit & 255));
    length = snprintf(line, sizeof line,
                      "cairn-beat 3 launch %" PRIu32 " pid %" PRId64 " host %s phase %s activity %" PRIu64
                      " step %s done %" PRIu64 " total %" PRIu64 " attempt %" PRIu64 " lost %" PRIu32 " held %" PRIu64
                      " exit %s",
                      beat->launch, beat->pid, host, phase_texts[(unsigned)beat->phase & 3], beat->activity, step,
                      beat->done, beat->total, beat->attempt, beat->lost, beat->held, ended);
    if (length < 0 || length >= CAIRN_BEAT_BYTES) {
        return CAIRN_E_BUG;
    }
    memset(line + length, ' ', (size_t)(CAIRN_BEAT_BYTES - length));
    line[CAIRN_BEAT_BYTES - 1] = '\n';
    return cairn_write_at(fd, line, CAIRN_BEAT_BYTES, 0, "status", NULL);
}

/* The word behind `name`, where `*at` stands; NULL when the line goes on otherwise. */
static const char *word_after(char **at, const char *name)
{
    char *key = strsep(at, " ");
    char *value = strsep(at, " ");

    return key != NULL && value != NULL && strcmp(key, name) == 0 && value[0] != '\0' ? value : NULL;
}

static bool take_number(char **at, const char *name, bool dash, uint64_t none, uint64_t most, uint64_t *value)
{
    const char *word = word_after(at, name);
    char *end = NULL;

    if (word == NULL) {
        return false;
    }
    if (dash && strcmp(word, "-") == 0) {
        *value = none;
        return true;
    }
    if (word[0] < '0' || word[0] > '9') {
        return false;
    }
    errno = 0;
    *value = strtoull(word, &end, 10);
    return errno == 0 && *end == '\0' && *value <= most;
}

static bool take_phase(char **at, cairn_phase *phase)
{
    const char *word = word_after(at, "phase");

    for (unsigned i = 0; word != NULL && i < 4; i++) {
        if (strcmp(word, phase_texts[i]) == 0) {
            *phase = (cairn_phase)i;
            return true;
        }
    }
    return false;
}

static bool parse(char *line, cairn_beat *beat)
{
    char *at = line;
    const char *word;
    uint64_t launch;
    uint64_t pid;
    uint64_t lost;
    uint64_t ended;

    word = word_after(&at, "cairn-beat");
    if (word == NULL || strcmp(word, "3") != 0 || !take_number(&at, "launch", false, 0, UINT32_MAX, &launch) ||
        !take_number(&at, "pid", false, 0, INT64_MAX, &pid)) {
        return false;
    }
    word = word_after(&at, "host");
    if (word == NULL || strlen(word) >= sizeof beat->host) {
        return false;
    }
    memcpy(beat->host, word, strlen(word) + 1);
    if (!take_phase(&at, &beat->phase) || !take_number(&at, "activity", false, 0, UINT64_MAX, &beat->activity) ||
        !take_number(&at, "step", true, UINT64_MAX, UINT64_MAX, &beat->step) ||
        !take_number(&at, "done", false, 0, UINT64_MAX, &beat->done) ||
        !take_number(&at, "total", false, 0, UINT64_MAX, &beat->total) ||
        !take_number(&at, "attempt", false, 0, UINT64_MAX, &beat->attempt) ||
        !take_number(&at, "lost", false, 0, UINT32_MAX, &lost) ||
        !take_number(&at, "held", false, 0, UINT64_MAX, &beat->held) ||
        !take_number(&at, "exit", true, UINT64_MAX, 255, &ended)) {
        return false;
    }
    beat->launch = (uint32_t)launch;
    beat->pid = (int64_t)pid;
    beat->lost = (uint32_t)lost;
    beat->exit = ended == UINT64_MAX ? -1 : (int)ended;
    return at == NULL || strspn(at, " ") == strlen(at);
}

cairn_status cairn_beat_read(const char *path, uint32_t launch, cairn_beat *beat)
{
    char line[CAIRN_BEAT_BYTES + 1];
    cairn_beat parsed;
    ssize_t got;
    int fd;

    do {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return cairn_errno_status(errno);
    }
    do {
        got = pread(fd, line, sizeof line, 0);
    } while (got < 0 && errno == EINTR);
    (void)close(fd);
    if (got < 0) {
        return CAIRN_E_IO;
    }
    if (got != CAIRN_BEAT_BYTES || line[CAIRN_BEAT_BYTES - 1] != '\n' || memchr(line, '\0', (size_t)got) != NULL) {
        return CAIRN_E_NOT_FOUND;
    }
    line[CAIRN_BEAT_BYTES - 1] = '\0';
    memset(&parsed, 0, sizeof parsed);
    if (!parse(line, &parsed) || parsed.launch != launch) {
        return CAIRN_E_NOT_FOUND;
    }
    *beat = parsed;
    return CAIRN_OK;
}
