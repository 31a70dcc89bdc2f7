/* A job with a small state that notes when it comes to its first safe point: what `run` measures starts and restarts
 * with.
 *
 *   bench_first FILE SECONDS    process I appends "I PID TIME INCARNATION" to FILE at the first safe point (TIME:
 * seconds since 1970), then passes a safe point every millisecond for SECONDS */
#include "bench.h"

#include <fcntl.h>
#include <unistd.h>

static cairn_status note(const cairn_process *process, const char *path)
{
    struct timespec t;
    char line[120];
    int length;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ssize_t wrote;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    length = snprintf(line, sizeof line, "%u %ld %lld.%09ld %u\n", cairn_id(process), (long)getpid(),
                      (long long)t.tv_sec, t.tv_nsec, cairn_incarnation(process));
    if (fd < 0) {
        return CAIRN_E_IO;
    }
    wrote = write(fd, line, (size_t)length);
    (void)close(fd);
    return wrote == length ? CAIRN_OK : CAIRN_E_IO;
}

int main(int argc, char **argv)
{
    cairn_process *process;
    cairn_region *region;
    uint64_t state[512] = {0};
    const uint64_t shape[1] = {512};
    uint64_t step = 0;
    uint64_t steps;

    if (argc != 3 || strtod(argv[2], NULL) <= 0.0) {
        fprintf(stderr, "usage: mpirun -n N bench_first FILE SECONDS\n");
        return CAIRN_EXIT_JOB_USAGE;
    }
    steps = (uint64_t)(strtod(argv[2], NULL) * 1000.0);
    if (cairn_init(&process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    bench_must(process, cairn_protect_array(process, "state", CAIRN_U64, 1, shape, state, &region), "protect");
    bench_must(process, cairn_protect_replicated(process, "step", CAIRN_U64, 0, NULL, &step, &region), "protect");
    bench_must(process, cairn_restore(process, NULL), "restore");
    for (bool first = true; step < steps; first = false) {
        const struct timespec millisecond = {.tv_nsec = 1000000};

        bench_must(process, cairn_safepoint(process, step), "safepoint");
        if (first) {
            bench_must(process, note(process, argv[1]), argv[1]);
        }
        state[step % 512] += step;
        bench_must(process, cairn_barrier(process), "barrier");
        step++;
        cairn_progress(process, step, steps);
        (void)nanosleep(&millisecond, NULL);
    }
    return cairn_leave(process, CAIRN_OK, NULL);
}
