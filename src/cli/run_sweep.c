/* Nothing of a dead launch lives on: a rank that lost its mpirun would go on writing into DIR beside the next launch.
 *
 * A process belongs to the run if its environment says so (CAIRN_RUN holds the run's id, 64 random bits), which also
 * finds what the ranks started themselves. The pidfd is taken before the environment is read: a pid that is used again
 * in between is never hit. Other hosts are mpirun's daemons' to clean: they end their ranks when mpirun is lost. */
#include "base/environment.h"
#include "cli/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define SWEEP_MAX     4096
#define SWEEP_SECONDS 10.0 /* a process in the middle of a disk write takes its time to die */

/* Whether the environment of /proc/pid holds NAME=VALUE as a whole entry. */
static bool has_entry(int pid, const char *entry)
{
    char path[64], chunk[8192 + 1];
    size_t length = strlen(entry), matched = 0;
    bool at_start = true, found = false;
    ssize_t got;

    (void)snprintf(path, sizeof path, "/proc/%d/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    while (!found && (got = read(fd, chunk, sizeof chunk - 1)) > 0) {
        for (ssize_t i = 0; i < got && !found; i++) {
            if (chunk[i] == '\0') {
                found = at_start && matched == length;
                at_start = true;
                matched = 0;
            } else if (at_start && matched < length && chunk[i] == entry[matched]) {
                matched++;
            } else {
                at_start = false;
            }
        }
    }
    close(fd);
    return found;
}

static size_t find_all(const char *entry, int *fds, size_t limit)
{
    DIR *proc = opendir("/proc");
    struct dirent *item;
    size_t count = 0;

    while (proc != NULL && count < limit && (item = readdir(proc)) != NULL) {
        char *end;
        long pid = strtol(item->d_name, &end, 10);

        if (*end != '\0' || pid <= 1 || pid == getpid()) {
            continue;
        }
        int fd = pidfd_open((pid_t)pid, 0);
        if (fd < 0) {
            continue;
        }
        if (has_entry((int)pid, entry)) {
            fds[count++] = fd;
        } else {
            close(fd);
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
    return count;
}

/* A pidfd is readable when its process has ended. */
static void wait_ended(int fd, double deadline)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    double left;

    while ((left = deadline - cairn_run_now()) > 0) {
        int ready = poll(&end, 1, (int)(left * 1000) + 1);
        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return;
        }
    }
}

unsigned cairn_run_sweep(const char *run_id)
{
    static int fds[SWEEP_MAX];
    char entry[64];
    unsigned total = 0;
    double deadline = cairn_run_now() + SWEEP_SECONDS;

    (void)snprintf(entry, sizeof entry, "%s=%s", CAIRN_ENV_RUN, run_id);
    /* Again until nobody is found: one may have forked while we looked. */
    for (int round = 0; round < 5 && cairn_run_now() < deadline; round++) {
        size_t count = find_all(entry, fds, SWEEP_MAX);

        for (size_t i = 0; i < count; i++) {
            (void)pidfd_send_signal(fds[i], SIGKILL, NULL, 0);
        }
        for (size_t i = 0; i < count; i++) {
            wait_ended(fds[i], deadline);
            close(fds[i]);
        }
        total += (unsigned)count;
        if (count == 0) {
            break;
        }
    }
    return total;
}
