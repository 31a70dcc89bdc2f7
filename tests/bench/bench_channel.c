/* Channels against raw MPI between the same two ranks: ping-pong of 8 B, 64 KiB and 4 MiB, and the rate of 8 B messages
 * in windows of 64 with an answer per window. On 2 processes.
 *
 *   bench_channel both    pairs of rounds in one program, in turn first: the rows of the table. Cairn begins MPI, as in
 *                         a job; the raw rounds are between cairn_mpi_begin and cairn_mpi_end
 *   bench_channel cairn   channels only: prints seconds an operation
 *   bench_channel small   the same, of the first of these only
 *   bench_channel raw     MPI only, with MPI_THREAD_SINGLE and no Cairn at all: the same */
#include "bench.h"

#include <mpi.h>

#define LARGEST       (4u << 20)
#define WINDOW        64
#define PAIRS         21
#define ALONE         75 /* of some 10 ms: scattered wakes of others weigh as they do in a job */
#define ROUND_SECONDS 0.1
#define RAW_TAG       7

enum { WAY_CAIRN, WAY_RAW };

typedef struct bench {
    cairn_process *process; /* NULL in mode raw */
    int rank;
    char *data;
} bench;

typedef struct kind {
    const char *name;
    size_t bytes;
    bool rate;
    int rounds; /* ping-pongs or windows in one round, at most */
    const char *goal;
} kind;

static const kind kinds[] = {
    {"ping-pong 8 B", 8, false, 20000, "<=1.20"},
    {"ping-pong 64 KiB", 65536, false, 2000, "<=1.03"},
    {"ping-pong 4 MiB", LARGEST, false, 60, "<=1.03"},
    {"message rate 8 B, windows of 64", 8, true, 1500, ">=0.7"},
};

static void ping_pong_raw(const bench *b, size_t bytes)
{
    int other = 1 - b->rank;

    if (b->rank == 0) {
        MPI_Send(b->data, (int)bytes, MPI_BYTE, other, RAW_TAG, MPI_COMM_WORLD);
        MPI_Recv(b->data, (int)bytes, MPI_BYTE, other, RAW_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Recv(b->data, (int)bytes, MPI_BYTE, other, RAW_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(b->data, (int)bytes, MPI_BYTE, other, RAW_TAG, MPI_COMM_WORLD);
    }
}

static void ping_pong_cairn(const bench *b, size_t bytes)
{
    uint32_t other = b->rank == 0 ? 1 : 0;

    if (b->rank == 0) {
        bench_must(b->process, cairn_send(b->process, other, RAW_TAG, b->data, bytes), "send");
        bench_must(b->process, cairn_recv(b->process, other, b->data, bytes, NULL), "recv");
    } else {
        bench_must(b->process, cairn_recv(b->process, other, b->data, bytes, NULL), "recv");
        bench_must(b->process, cairn_send(b->process, other, RAW_TAG, b->data, bytes), "send");
    }
}

static void window_raw(const bench *b, size_t bytes)
{
    MPI_Request requests[WINDOW];

    for (int i = 0; i < WINDOW; i++) {
        char *at = b->data + (size_t)i * bytes;

        if (b->rank == 0) {
            MPI_Isend(at, (int)bytes, MPI_BYTE, 1, RAW_TAG, MPI_COMM_WORLD, &requests[i]);
        } else {
            MPI_Irecv(at, (int)bytes, MPI_BYTE, 0, RAW_TAG, MPI_COMM_WORLD, &requests[i]);
        }
    }
    MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
    if (b->rank == 0) {
        MPI_Recv(b->data, 4, MPI_BYTE, 1, RAW_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Send(b->data, 4, MPI_BYTE, 0, RAW_TAG, MPI_COMM_WORLD);
    }
}

static void window_cairn(const bench *b, size_t bytes)
{
    cairn_request *requests[WINDOW];
    cairn_process *p = b->process;

    for (int i = 0; i < WINDOW; i++) {
        char *at = b->data + (size_t)i * bytes;

        bench_must(p,
                   b->rank == 0 ? cairn_isend(p, 1, RAW_TAG, at, bytes, &requests[i])
                                : cairn_irecv(p, 0, at, bytes, &requests[i]),
                   "begin");
    }
    bench_must(p, cairn_wait_all(p, requests, WINDOW), "wait_all");
    bench_must(p, b->rank == 0 ? cairn_recv(p, 1, b->data, 4, NULL) : cairn_send(p, 0, RAW_TAG, b->data, 4), "answer");
}

/* Seconds for one operation (half a round trip, or one message); a tenth more rounds go before, to warm up. */
static double measure(const bench *b, const kind *k, int way)
{
    int warm = k->rounds / 10 + 1;
    double begun = 0.0;
    double seconds;

    if (way == WAY_RAW && b->process != NULL) {
        cairn_mpi_begin(b->process);
    }
    for (int i = -warm; i < k->rounds; i++) {
        if (i == 0) {
            begun = bench_now();
        }
        if (way == WAY_RAW) {
            (k->rate ? window_raw : ping_pong_raw)(b, k->bytes);
        } else {
            (k->rate ? window_cairn : ping_pong_cairn)(b, k->bytes);
        }
    }
    seconds = (bench_now() - begun) / k->rounds / (k->rate ? WINDOW : 2);
    if (way == WAY_RAW && b->process != NULL) {
        cairn_mpi_end(b->process);
    }
    return seconds;
}

/* The same with fewer rounds where they would take more than ROUND_SECONDS: a busy machine can be a hundred times
 * slower. */
static kind calibrated(const bench *b, const kind *k)
{
    kind few = *k;
    int way = b->process != NULL ? WAY_CAIRN : WAY_RAW;
    double seconds;

    few.rounds = k->rounds / 10 < 20 ? k->rounds / 10 + 1 : 20;
    seconds = measure(b, &few, way) * (k->rate ? WINDOW : 2);
    few.rounds = seconds * k->rounds > ROUND_SECONDS ? (int)(ROUND_SECONDS / seconds) + 1 : k->rounds;
    if (way == WAY_CAIRN) {
        bench_must(b->process, cairn_broadcast(b->process, 0, &few.rounds, sizeof few.rounds), "broadcast");
    } else {
        MPI_Bcast(&few.rounds, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    return few;
}

static void in_words(char *text, size_t size, const kind *k, double seconds)
{
    if (k->rate) {
        (void)snprintf(text, size, "%.2f M/s", 1e-6 / seconds);
    } else {
        (void)snprintf(text, size, seconds < 1e-5 ? "%.3f us" : "%.1f us", seconds * 1e6);
    }
}

static void pairs(const bench *b, const kind *k)
{
    double seconds[2][PAIRS];
    double ratios[PAIRS];
    char measured[40];
    char baseline[40];

    for (int i = 0; i < PAIRS; i++) {
        int first = i % 2;

        seconds[first][i] = measure(b, k, first);
        seconds[1 - first][i] = measure(b, k, 1 - first);
        ratios[i] = k->rate ? seconds[WAY_RAW][i] / seconds[WAY_CAIRN][i] : seconds[WAY_CAIRN][i] / seconds[WAY_RAW][i];
    }
    if (b->rank == 0) {
        in_words(measured, sizeof measured, k, bench_quantile(seconds[WAY_CAIRN], PAIRS, 0.5));
        in_words(baseline, sizeof baseline, k, bench_quantile(seconds[WAY_RAW], PAIRS, 0.5));
        bench_row(k->name, measured, baseline, ratios, PAIRS, k->goal);
    }
}

static void alone(const bench *b, const kind *k, int way)
{
    double seconds[ALONE];

    for (int i = 0; i < ALONE; i++) {
        seconds[i] = measure(b, k, way);
    }
    if (b->rank == 0) {
        printf("SECONDS\t%s\t%.9g\n", k->name, bench_quantile(seconds, ALONE, 0.5));
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "both";
    bool both = strcmp(mode, "both") == 0;
    bench b = {.data = calloc(1, LARGEST)};
    int count = 0;
    int code = 0;

    if (b.data == NULL) {
        return 1;
    }
    if (strcmp(mode, "raw") == 0) {
        MPI_Init(&argc, &argv);
    }
    if (strcmp(mode, "raw") != 0 && cairn_init(&b.process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &b.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    count = b.process != NULL ? (int)cairn_count(b.process) : count; /* without the spares */
    if (count != 2) {
        fprintf(stderr, "bench_channel: runs on 2 processes, not on %d\n", count);
        return 1;
    }
    for (size_t i = 0; i < (strcmp(mode, "small") == 0 ? 1 : sizeof kinds / sizeof kinds[0]); i++) {
        kind k = calibrated(&b, &kinds[i]);

        if (both) {
            pairs(&b, &k);
        } else {
            alone(&b, &k, b.process != NULL ? WAY_CAIRN : WAY_RAW);
        }
    }
    if (b.process != NULL) {
        code = cairn_leave(b.process, CAIRN_OK, NULL);
    }
    if (strcmp(mode, "raw") == 0) {
        MPI_Finalize();
    }
    free(b.data);
    return code;
}
