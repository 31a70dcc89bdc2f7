/* Preloaded into the processes of a job: kills the one that commits snapshots at a chosen point of a commit.
 *
 *   DIE_PLAN  what happens in the first, second, ... launch of the run, with commas between: POINT:K, or - for nothing.
 *             K: at the K-th record of that launch which comes to this point. POINT:
 *               before-proposed   its record has not got the name snapshot.h5.proposed yet
 *               after-proposed    ... has it, and its seal is in nobody's log
 *               before-sync       its seal is in the log of the others, or on its way, and in the own one not yet
 *               after-sync        ... and in the own one
 *               before-confirmed  its seal is chosen
 *               after-confirmed   ... and it has the name snapshot.h5
 *   DIE_SAID  a line for each record that gets a name: launch, "proposed" or "confirmed", path; "died" in its place
 *             when the process dies there. */
#include "base/environment.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int proposed, confirmed, syncs;
static char last_path[4096];

static long launch(void)
{
    const char *text = getenv(CAIRN_ENV_LAUNCH);

    return text == NULL ? 0 : strtol(text, NULL, 10);
}

static void say(const char *what, const char *path)
{
    const char *name = getenv("DIE_SAID");
    char line[4200];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", launch(), what, path);
    int fd = name == NULL ? -1 : open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd >= 0) {
        (void)!write(fd, line, (size_t)length);
        (void)close(fd);
    }
}

/* Is it the turn of this launch to die at this point? */
static bool is_planned(const char *point, int count)
{
    const char *plan = getenv("DIE_PLAN");
    size_t length = strlen(point);

    for (long i = launch(); plan != NULL && i > 0; i--) {
        plan = strchr(plan, ',');
        plan = plan == NULL ? NULL : plan + 1;
    }
    return plan != NULL && strncmp(plan, point, length) == 0 && plan[length] == ':' &&
           strtol(plan + length + 1, NULL, 10) == count;
}

static void die_if(const char *point, int count, const char *path)
{
    if (is_planned(point, count)) {
        say("died", path);
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t ending = strlen(end);

    return length >= ending && strcmp(text + length - ending, end) == 0;
}

static int really_rename(const char *from, const char *to)
{
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rename(const char *from, const char *to)
{
    bool proposes = ends_with(to, "/snapshot.h5.proposed");
    bool confirms = ends_with(to, "/snapshot.h5");
    int count;
    int result;

    if (!proposes && !confirms) {
        return really_rename(from, to);
    }
    count = atomic_fetch_add(proposes ? &proposed : &confirmed, 1) + 1;
    die_if(proposes ? "before-proposed" : "before-confirmed", count, to);
    result = really_rename(from, to);
    die_if(proposes ? "after-proposed" : "after-confirmed", count, to);
    say(proposes ? "proposed" : "confirmed", to);
    if (proposes && (is_planned("before-sync", count) || is_planned("after-sync", count))) {
        (void)snprintf(last_path, sizeof last_path, "%s", to);
        atomic_store(&syncs, count);
    }
    return result;
}

/* The first sync of the log after the record was proposed. */
int fdatasync(int fd)
{
    int count = atomic_load(&syncs);

    if (count > 0) {
        die_if("before-sync", count, last_path);
    }
    if (syscall(SYS_fdatasync, fd) != 0) {
        return -1;
    }
    if (count > 0) {
        die_if("after-sync", count, last_path);
    }
    return 0;
}
