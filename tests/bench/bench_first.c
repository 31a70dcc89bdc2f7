/* A job that notes when it comes to its first safe point, and to the first after each recovery in place: what `run`
 * measures starts and restarts with.
 *
 *   bench_first FILE SECONDS [MIB]   process I appends "I PID TIME INCARNATION" to FILE then (TIME: seconds since 1970),
 *                                    and passes a safe point every millisecond for SECONDS; MIB: state of each process */
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

typedef struct job {
    const char *path;
    uint64_t *state;
    uint64_t entries, step, steps;
} job;

static cairn_status run(cairn_process *process, job *j)
{
    const struct timespec millisecond = {.tv_nsec = 1000000};
    cairn_status status = CAIRN_OK;

    for (bool first = true; status == CAIRN_OK && j->step < j->steps; first = false) {
        status = cairn_safepoint(process, j->step);
        if (status == CAIRN_OK && first) {
            status = note(process, j->path);
        }
        j->state[j->step % j->entries] += j->step;
        if (status == CAIRN_OK) {
            status = cairn_barrier(process);
        }
        j->step++;
        cairn_progress(process, j->step, j->steps);
        (void)nanosleep(&millisecond, NULL);
    }
    return status;
}

int main(int argc, char **argv)
{
    cairn_process *process;
    cairn_region *region;
    job j = {.entries = 512};
    uint64_t shape[1];
    cairn_restored restored;
    cairn_status status;

    if (argc < 3 || argc > 4 || strtod(argv[2], NULL) <= 0.0) {
        fprintf(stderr, "usage: mpirun -n N bench_first FILE SECONDS [MIB]\n");
        return CAIRN_EXIT_JOB_USAGE;
    }
    j.path = argv[1];
    j.steps = (uint64_t)(strtod(argv[2], NULL) * 1000.0);
    j.entries = argc == 4 ? strtoull(argv[3], NULL, 10) << 17 : j.entries;
    j.state = calloc(j.entries, sizeof *j.state);
    shape[0] = j.entries;
    if (j.state == NULL || j.entries == 0) {
        return CAIRN_EXIT_JOB_USAGE;
    }
    if (cairn_init(&process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    bench_must(process, cairn_protect_array(process, "state", CAIRN_U64, 1, shape, j.state, &region), "protect");
    bench_must(process, cairn_protect_replicated(process, "step", CAIRN_U64, 0, NULL, &j.step, &region), "protect");
    bench_must(process, cairn_restore(process, &restored), "restore");
    for (uint64_t i = 0; !restored.restored && i < j.entries; i++) {
        j.state[i] = i; /* a job's memory is there */
    }
    while ((status = run(process, &j)) == CAIRN_E_ROLLBACK) {
        bench_must(process, cairn_recover(process, NULL), "recover");
    }
    return cairn_leave(process, status, "running");
}
