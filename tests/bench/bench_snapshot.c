/* A snapshot against the plainest way of making the same bytes durable, and how long it keeps a process from computing
 * against a memcpy of its state.
 *
 *   CAIRN_DIR=DIR CAIRN_INTERVAL=off mpirun -n N bench_snapshot MIB ROUNDS
 *
 * Every process protects MIB MiB that no file system can shorten. A round is one of each, in turn first:
 *   snapshot  from cairn_snapshot on process 0 until it knows of the commit, while all processes pass a safe point
 * about every half millisecond plain     every process writes its MIB MiB into a fresh file in the same folder: write,
 * fsync, rename, fsync of the folder; until the last one is done memcpy    every process copies its state into warm
 * memory, all at once A process cannot compute while it is in cairn_safepoint: that is measured from outside, for the
 * slowest process. Between the rounds half a second passes, since the removal of old files goes on after a commit. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS_MAX 50
#define MIB        ((size_t)1 << 20)

typedef struct bench {
    cairn_process *process;
    uint32_t id;
    size_t bytes;
    char *state, *copy;
    uint64_t step;
    char folder[3000];
} bench;

static void pause_for(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    (void)nanosleep(&t, NULL);
}

static double slowest(const bench *b, double seconds)
{
    bench_must(b->process, cairn_allreduce(b->process, &seconds, &seconds, 1, CAIRN_F64, CAIRN_MAX), "allreduce");
    return seconds;
}

static void one_step(bench *b, double *inside)
{
    double begun = bench_now();

    bench_must(b->process, cairn_safepoint(b->process, b->step++), "safepoint");
    *inside += bench_now() - begun;
    pause_for(0.0005);
}

/* Seconds until committed; *inside: of this process in safe points. */
static double take_snapshot(bench *b, double *inside)
{
    cairn_snapshot_stats before, after;
    uint8_t committed = 0;
    double begun, took = 0.0;

    cairn_snapshot_get_stats(b->process, &before);
    bench_must(b->process, cairn_barrier(b->process), "barrier");
    *inside = 0.0;
    begun = bench_now();
    if (b->id == 0) {
        bench_must(b->process, cairn_snapshot(b->process), "snapshot");
    }
    while (!committed) {
        one_step(b, inside);
        cairn_snapshot_get_stats(b->process, &after);
        if (after.abandoned > before.abandoned) {
            fprintf(stderr, "bench_snapshot: an attempt was abandoned\n");
            exit(cairn_leave(b->process, CAIRN_E_STATE, "snapshot"));
        }
        committed = after.committed > before.committed;
        if (committed && took <= 0.0) {
            took = bench_now() - begun;
        }
        bench_must(b->process, cairn_broadcast(b->process, 0, &committed, 1), "broadcast");
    }
    return took;
}

/* What the runtime says of the last recording: the copy, without waiting for the others to agree. */
static double copying(const bench *b)
{
    cairn_snapshot_stats stats;

    cairn_snapshot_get_stats(b->process, &stats);
    return stats.blocked;
}

static cairn_status write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t wrote = write(fd, data, bytes < 64 * MIB ? bytes : 64 * MIB);

        if (wrote < 0 && errno != EINTR) {
            return CAIRN_E_IO;
        }
        if (wrote > 0) {
            data += wrote;
            bytes -= (size_t)wrote;
        }
    }
    return CAIRN_OK;
}

static double write_plainly(const bench *b, int round)
{
    char path[3100];
    char temporary[3200];
    double begun;
    int fd, folder;
    cairn_status status = CAIRN_E_IO;

    (void)snprintf(path, sizeof path, "%s/plain-%u-%d", b->folder, b->id, round);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
    bench_must(b->process, cairn_barrier(b->process), "barrier");
    begun = bench_now();
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    folder = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && folder >= 0) {
        status = write_all(fd, b->state, b->bytes);
    }
    if (status == CAIRN_OK &&
        (fsync(fd) != 0 || close(fd) != 0 || rename(temporary, path) != 0 || fsync(folder) != 0)) {
        status = CAIRN_E_IO;
    }
    bench_must(b->process, status, path);
    bench_must(b->process, cairn_barrier(b->process), "barrier");
    double took = bench_now() - begun;

    (void)close(folder);
    (void)unlink(path);
    return took;
}

static double copy_plainly(const bench *b)
{
    double begun;

    bench_must(b->process, cairn_barrier(b->process), "barrier");
    begun = bench_now();
    memcpy(b->copy, b->state, b->bytes);
    __asm__ volatile("" : : "r"(b->copy) : "memory"); /* the copy is used */
    return bench_now() - begun;
}

static char *memory(size_t bytes)
{
    char *data = aligned_alloc(2 * MIB, (bytes + 2 * MIB - 1) / (2 * MIB) * (2 * MIB));

    if (data != NULL) {
        (void)madvise(data, bytes, MADV_HUGEPAGE);
        memset(data, 1, bytes);
    }
    return data;
}

static void set_up(bench *b)
{
    const uint64_t shape[1] = {b->bytes};
    uint64_t x = 88172645463325252u + b->id;
    cairn_region *region;

    b->state = memory(b->bytes);
    b->copy = memory(b->bytes);
    if (b->state == NULL || b->copy == NULL) {
        exit(cairn_leave(b->process, CAIRN_E_NOMEM, "state"));
    }
    for (size_t i = 0; i + 8 <= b->bytes; i += 8) { /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(b->state + i, &x, 8);
    }
    bench_must(b->process, cairn_protect_array(b->process, "state", CAIRN_U8, 1, shape, b->state, &region), "protect");
    bench_must(b->process, cairn_restore(b->process, NULL), "restore");
}

static void rows(const bench *b, size_t mib, int rounds, double times[5][ROUNDS_MAX])
{
    double total = (double)b->bytes * cairn_count(b->process);
    double rate[ROUNDS_MAX], blocked[ROUNDS_MAX], copied[ROUNDS_MAX];
    char what[80], measured[40], baseline[40];

    for (int i = 0; i < rounds; i++) {
        rate[i] = times[1][i] / times[0][i];
        blocked[i] = times[2][i] / times[3][i];
        copied[i] = times[4][i] / times[3][i];
    }
    (void)snprintf(what, sizeof what, "snapshot %u x %zu MiB, until committed", cairn_count(b->process), mib);
    (void)snprintf(measured, sizeof measured, "%.2f GB/s",
                   total / bench_quantile(times[0], (size_t)rounds, 0.5) * 1e-9);
    (void)snprintf(baseline, sizeof baseline, "%.2f GB/s",
                   total / bench_quantile(times[1], (size_t)rounds, 0.5) * 1e-9);
    bench_row(what, measured, baseline, rate, (size_t)rounds, ">=0.9");
    (void)snprintf(what, sizeof what, "snapshot %u x %zu MiB, cannot compute", cairn_count(b->process), mib);
    (void)snprintf(measured, sizeof measured, "%.1f ms", bench_quantile(times[2], (size_t)rounds, 0.5) * 1e3);
    (void)snprintf(baseline, sizeof baseline, "%.1f ms", bench_quantile(times[3], (size_t)rounds, 0.5) * 1e3);
    bench_row(what, measured, baseline, blocked, (size_t)rounds, "<=1.2");
    (void)snprintf(what, sizeof what, "    of that the copy alone");
    (void)snprintf(measured, sizeof measured, "%.1f ms", bench_quantile(times[4], (size_t)rounds, 0.5) * 1e3);
    bench_row(what, measured, baseline, copied, (size_t)rounds, "-");
}

int main(int argc, char **argv)
{
    const char *dir = getenv("CAIRN_DIR");
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    int rounds = argc > 2 ? atoi(argv[2]) : 9;
    double times[5][ROUNDS_MAX];
    bench b = {.bytes = mib * MIB};

    if (dir == NULL || mib == 0 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: CAIRN_DIR=DIR mpirun -n N bench_snapshot MIB ROUNDS\n");
        return CAIRN_EXIT_JOB_USAGE;
    }
    if (cairn_init(&b.process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    b.id = cairn_id(b.process);
    (void)snprintf(b.folder, sizeof b.folder, "%s", dir);
    set_up(&b);
    for (int i = -2; i < rounds; i++) { /* two to warm up, and as many snapshots as are kept */
        int at = i < 0 ? 0 : i;

        for (int turn = 0; turn < 2; turn++) {
            if ((turn + i) % 2 == 0) {
                double inside;

                times[0][at] = slowest(&b, take_snapshot(&b, &inside));
                times[2][at] = slowest(&b, inside);
                times[4][at] = slowest(&b, copying(&b));
            } else {
                times[1][at] = slowest(&b, write_plainly(&b, i));
            }
            pause_for(0.5);
        }
        times[3][at] = slowest(&b, copy_plainly(&b));
    }
    if (b.id == 0) {
        rows(&b, mib, rounds, times);
    }
    int code = cairn_leave(b.process, CAIRN_OK, NULL);

    free(b.state);
    free(b.copy);
    return code;
}
