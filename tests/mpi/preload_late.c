/* Preloaded into the processes of a job: what the process LATE_PROCESS of the launch makes durable takes LATE_MS
 * milliseconds longer, from its second sync on. So the others agree without it for a while. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd)
{
    static atomic_int syncs;
    const char *self = getenv("OMPI_COMM_WORLD_RANK");
    const char *late = getenv("LATE_PROCESS");
    const char *text = getenv("LATE_MS");

    if (self != NULL && late != NULL && text != NULL && strcmp(self, late) == 0 && atomic_fetch_add(&syncs, 1) > 0) {
        long ms = strtol(text, NULL, 10);
        struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        (void)nanosleep(&pause, NULL);
    }
    return (int)syscall(SYS_fdatasync, fd);
}
