/* The coordination service: puts and linearizable reads from inside the leader's process, one at a time and 256 at once.
 *
 *   bench_coord SECONDS             with CAIRN_DIR on the disk to be measured; prints "PAIR what rate beside goal"
 *   bench_coord SECONDS messages    prints "MESSAGES slots commands accepts accepteds bytes" of the leader for puts one at a
 *                                   time, then for 256 at once
 *   bench_coord SECONDS failover    under CAIRN_SURVIVE=1: process 0, the leader, kills itself; prints "GAP seconds": the
 *                                   longest time between two answered puts of a client in the last process
 *
 * Beside the puts: fdatasync of 4 KiB into a preallocated file of the same disk, by as many processes at once as there are
 * acceptors, right before and after. The other processes wait in a barrier of the job, and answer as members. */
#include "bench.h"

#include "process/consensus.h"

#include <cairn/coord.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define OUTSTANDING 256
#define VALUE_BYTES 256
#define KEYS        1000
#define FILE_BYTES  (8u << 20)

typedef struct load {
    cairn_coord *coord;
    uint64_t answered, failed;
    bool reading;
} load;

static void answered(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    load *l = context;

    (void)revision;
    l->answered++;
    l->failed += status == CAIRN_OK && (!l->reading || (kv != NULL && kv->bytes == VALUE_BYTES)) ? 0 : 1;
}

static void key_of(char key[32], uint64_t number)
{
    (void)snprintf(key, 32, "bench/%06llu", (unsigned long long)(number % KEYS));
}

/* Operations a second. */
static double measure(cairn_process *p, load *l, bool put, size_t outstanding, double seconds)
{
    static char value[VALUE_BYTES];
    double begin = bench_now();
    double end = begin;
    uint64_t before = l->answered;
    uint64_t number = 0;

    memset(value, 'v', sizeof value);
    l->reading = !put;
    while (end - begin < seconds) {
        for (size_t i = 0; i < outstanding; i++) {
            char key[32];

            key_of(key, number++);
            bench_must(p, cairn_coord_flush(l->coord, outstanding - 1), "waiting for room");
            bench_must(p,
                       put ? cairn_coord_begin_put(l->coord, key, value, sizeof value, answered, l)
                           : cairn_coord_begin_get(l->coord, key, answered, l),
                       "asking");
        }
        end = bench_now();
    }
    bench_must(p, cairn_coord_flush(l->coord, 0), "waiting for the last answers");
    end = bench_now();
    return (double)(l->answered - before) / (end - begin);
}

/* fdatasyncs a second of 4 KiB, over and over in a file that is there. */
static double sync_rate(cairn_process *p, const char *dir, double seconds)
{
    static char block[4096];
    char path[4096];
    double begin;
    uint64_t count = 0;
    int fd;

    (void)snprintf(path, sizeof path, "%s/sync-%u", dir, cairn_id(p));
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (size_t at = 0; at < FILE_BYTES; at += sizeof block) {
        if (pwrite(fd, block, sizeof block, (off_t)at) != (ssize_t)sizeof block) {
            exit(cairn_leave(p, CAIRN_E_IO, path));
        }
    }
    (void)fsync(fd);
    bench_must(p, cairn_barrier(p), "a barrier");
    begin = bench_now();
    while (bench_now() - begin < seconds) {
        if (pwrite(fd, block, sizeof block, (off_t)(count * sizeof block % FILE_BYTES)) != (ssize_t)sizeof block ||
            fdatasync(fd) != 0) {
            exit(cairn_leave(p, CAIRN_E_IO, path));
        }
        count++;
    }
    begin = bench_now() - begin;
    (void)close(fd);
    (void)unlink(path);
    bench_must(p, cairn_barrier(p), "a barrier");
    return (double)count / begin;
}

static void print_pair(const char *what, double rate, double baseline, const char *goal)
{
    printf("PAIR\t%s\t%.0f\t%.0f\t%s\n", what, rate, baseline, goal);
    (void)fflush(stdout);
}

static void one(cairn_process *p, load *l, const char *what, bool put, size_t outstanding, double seconds,
                double baseline, const char *goal)
{
    print_pair(what, measure(p, l, put, outstanding, seconds), baseline, goal);
}

/* Of all processes: the disk is measured by all of them. */
static void table(cairn_process *p, load *l, double seconds)
{
    const char *dir = getenv("CAIRN_DIR");
    double syncs = sync_rate(p, dir, seconds / 4);
    double puts = 0.0;

    if (cairn_id(p) == 0) {
        (void)measure(p, l, true, OUTSTANDING, seconds / 4);
        puts = measure(p, l, true, 1, seconds);
    }
    syncs = (syncs + sync_rate(p, dir, seconds / 4)) / 2;
    if (cairn_id(p) != 0) {
        return;
    }
    print_pair("puts, 1 client, against fdatasync by all", puts, syncs, ">=0.8");
    print_pair("the same, against the goal", puts, 4000.0, ">=1");
    one(p, l, "puts, 256 outstanding, against the goal", true, OUTSTANDING, seconds, 50000.0, ">=1");
    one(p, l, "linearizable reads, 1 client, against the goal", false, 1, seconds, 15000.0, ">=1");
    one(p, l, "linearizable reads, 256 at once, against goal", false, OUTSTANDING, seconds, 80000.0, ">=1");
}

static void count_messages(cairn_process *p, load *l, double seconds, size_t outstanding)
{
    cairn_replica_stats before;
    cairn_replica_stats after;

    cairn_consensus_stats(p, &before);
    (void)measure(p, l, true, outstanding, seconds);
    cairn_consensus_stats(p, &after);
    printf("MESSAGES %llu %llu %llu %llu %llu\n", (unsigned long long)(after.proposals - before.proposals),
           (unsigned long long)(after.commands - before.commands), (unsigned long long)(after.accepts - before.accepts),
           (unsigned long long)(after.counted - before.counted),
           (unsigned long long)(after.phase_2_bytes - before.phase_2_bytes));
}

/* A client beside the leader: how long is nothing answered when the leader dies in the middle? */
static void failover(cairn_process *p, load *l, double seconds)
{
    double begin = bench_now();
    double last;
    double gap = 0.0;

    bench_must(p, cairn_barrier(p), "a barrier");
    if (cairn_id(p) == 0) {
        while (bench_now() < begin + seconds / 2) {
            bench_must(p, cairn_coord_put(l->coord, "bench/leader", "v", 1, 0, NULL), "a put");
        }
        (void)kill(getpid(), SIGKILL);
    }
    last = bench_now();
    while (cairn_id(p) == cairn_count(p) - 1 && last < begin + 2 * seconds) {
        double now;

        bench_must(p, cairn_coord_put(l->coord, "bench/failover", "v", 1, 0, NULL), "a put");
        now = bench_now();
        gap = now - last > gap ? now - last : gap;
        last = now;
    }
    if (cairn_id(p) == cairn_count(p) - 1) {
        printf("GAP %.4f\n", gap);
        bench_must(p, cairn_coord_put(l->coord, "bench/done", "v", 1, 0, NULL), "a put");
    } else {
        cairn_kv kv;
        cairn_status status = CAIRN_E_NOT_FOUND;

        while (status == CAIRN_E_NOT_FOUND) {
            status = cairn_coord_get(l->coord, "bench/done", &kv, NULL);
            usleep(20000);
        }
        bench_must(p, status, "waiting for the client");
    }
}

static cairn_status on_lost(cairn_process *p, uint32_t who, void *context)
{
    (void)p;
    (void)who;
    (void)context;
    return CAIRN_OK;
}

int main(int argc, char **argv)
{
    cairn_process *p;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 3.0;
    const char *mode = argc > 2 ? argv[2] : "";
    cairn_status status = cairn_init(&p, &argc, &argv);
    load l = {0};

    if (status != CAIRN_OK) {
        return cairn_exit_code(status);
    }
    bench_must(p, cairn_coord_open(p, 0.0, &l.coord), "a session");
    if (strcmp(mode, "failover") == 0) {
        cairn_lost_handler(p, on_lost, NULL);
        failover(p, &l, seconds);
        return cairn_leave(p, CAIRN_OK, NULL);
    }
    if (mode[0] == '\0') {
        table(p, &l, seconds);
    } else if (cairn_id(p) == 0) {
        count_messages(p, &l, seconds, 1);
        count_messages(p, &l, seconds, OUTSTANDING);
    }
    bench_must(p, l.failed == 0 ? CAIRN_OK : CAIRN_E_BUG, "answers");
    bench_must(p, cairn_barrier(p), "the end");
    bench_must(p, cairn_coord_close(l.coord), "closing");
    return cairn_leave(p, CAIRN_OK, NULL);
}
