/* heat: the 2-D heat equation u_t = alpha (u_xx + u_yy) on the unit square, u = 0 on its border.
 *
 * Forward in time, centred in space (5-point stencil) on N x N inner points; rows are divided into slabs, one a
 * process, and the rows at a slab's edge go to the neighbours once a step. Loop style: a safe point at the top of each
 * step.
 *
 *  - Every cell is computed by the same expression whatever slab it lies in, so the field has the same bits on any
 * number of processes and after any restart. (Contraction to fused multiply-add is off for all our files.)
 *  - Two buffers of (rows + 2) x N change places each step; the protected slab is the inner rows of the current one.
 *  - Row 0 and row rows + 1 of a buffer are the neighbours' edges, or the border, which stays 0. They are no state:
 * they are fetched anew in every step. */
#include "options.h"

#include <getopt.h>
#include <math.h>
#include <time.h>

#define PI    3.14159265358979323846
#define RATIO 0.2 /* alpha dt / h^2; stable up to 0.25 */

enum { TAG_UP = 1, TAG_DOWN = 2 };

typedef struct heat {
    cairn_process *process;
    cairn_region *region;
    uint64_t size, steps, modes; /* as asked for */
    uint64_t work;               /* microseconds a step */
    double alpha;
    uint64_t first, rows; /* this process's slab */
    uint64_t step;        /* the field is that at the start of this step */
    double *current, *next;
    double *sine; /* sin(pi x_j), then sin(2 pi x_j), then sin(3 pi x_j) */
} heat;

static const char help_text[] =
    "usage: mpirun -n P heat [OPTIONS]     or: cairn run -n P -- heat [OPTIONS]\n"
    "\n"
    "Solves the heat equation on the unit square by finite differences and compares the result with the\n"
    "analytical solution. The answer has the same bits on any number of processes, after kills, and after a\n"
    "restart on another number of processes.\n"
    "\n"
    "  --size N     inner grid points in each direction, 1..65536, at least P (default 512)\n"
    "  --steps T    time steps (default 1000)\n"
    "  --alpha A    thermal diffusivity, > 0 (default 1); the time step is 0.2 h^2 / A\n"
    "  --modes M    1: sin(pi x) sin(pi y) at the start; 2: and half of sin(2 pi x) sin(3 pi y) (default 1)\n"
    "  --work W     wait so many microseconds in each step, to make the run last (default 0)\n"
    "  --help       this text\n"
    "\n"
    "Standard output: size, steps, the largest error against the analytical solution (decimal and exact), and a\n"
    "checksum of the field. Standard error: speed. Exit status: 0; 3 wrong arguments; 85 stopped on request; see "
    "README.\n";

static bool parse(heat *h, job_fault *fault, int argc, char **argv)
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 't'},
        {"alpha", required_argument, NULL, 'a'},
        {"modes", required_argument, NULL, 'm'},
        {"work", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    char *end;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            h->size = job_number(fault, "--size", optarg, 1, 65536);
            break;
        case 't':
            h->steps = job_number(fault, "--steps", optarg, 0, UINT64_MAX / 2);
            break;
        case 'm':
            h->modes = job_number(fault, "--modes", optarg, 1, 2);
            break;
        case 'w':
            h->work = job_number(fault, "--work", optarg, 0, 10000000);
            break;
        case 'a':
            h->alpha = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !isfinite(h->alpha) || h->alpha <= 0.0) {
                job_wrong(fault, "--alpha %s: not a number above 0", optarg);
            }
            break;
        case 'h':
            return true;
        default:
            job_wrong(fault, "%s: unknown option, or its value is missing; see heat --help", argv[optind - 1]);
        }
    }
    if (optind < argc) {
        job_wrong(fault, "%s: takes no files or other words; see heat --help", argv[optind]);
    }
    return false;
}

/* out = one step of one row. In the compiler's words: the rows do not overlap, which is what lets it use vectors; gcc
 * does so for loops of unknown length only from -O3 on. */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
static void
advance_row(double *restrict out, const double *restrict up, const double *restrict row, const double *restrict down,
            size_t n)
{
    for (size_t j = 1; j + 1 < n; j++) {
        out[j] = row[j] + RATIO * (((up[j] + down[j]) + (row[j - 1] + row[j + 1])) - 4.0 * row[j]);
    }
    /* The two columns at the border, whose outer neighbour is 0. */
    out[0] = row[0] + RATIO * (((up[0] + down[0]) + (0.0 + (n > 1 ? row[1] : 0.0))) - 4.0 * row[0]);
    if (n > 1) {
        out[n - 1] = row[n - 1] + RATIO * (((up[n - 1] + down[n - 1]) + (row[n - 2] + 0.0)) - 4.0 * row[n - 1]);
    }
}

/* Rows [begin, end) of this slab, counted from 1 as in the buffers. */
static void advance_rows(const heat *h, uint64_t begin, uint64_t end)
{
    for (uint64_t i = begin; i < end; i++) {
        const double *row = h->current + i * h->size;

        advance_row(h->next + i * h->size, row - h->size, row, row + h->size, h->size);
    }
}

/* One step: the edges travel while the inside is computed. */
static cairn_status advance(heat *h)
{
    cairn_request *requests[4] = {NULL, NULL, NULL, NULL};
    uint32_t id = cairn_id(h->process);
    size_t bytes = h->size * sizeof(double);
    cairn_status status = CAIRN_OK;
    double *swap;

    if (id > 0) {
        status = cairn_irecv(h->process, id - 1, h->current, bytes, &requests[0]);
    }
    if (status == CAIRN_OK && id + 1 < cairn_count(h->process)) {
        status = cairn_irecv(h->process, id + 1, h->current + (h->rows + 1) * h->size, bytes, &requests[1]);
    }
    if (status == CAIRN_OK && id > 0) {
        status = cairn_isend(h->process, id - 1, TAG_UP, h->current + h->size, bytes, &requests[2]);
    }
    if (status == CAIRN_OK && id + 1 < cairn_count(h->process)) {
        status = cairn_isend(h->process, id + 1, TAG_DOWN, h->current + h->rows * h->size, bytes, &requests[3]);
    }
    if (status != CAIRN_OK) {
        return status; /* the job ends: cairn_leave aborts it with whatever is under way */
    }
    advance_rows(h, 2, h->rows);
    status = cairn_wait_all(h->process, requests, 4);
    if (status != CAIRN_OK) {
        return status;
    }
    advance_rows(h, 1, 2);
    if (h->rows > 1) {
        advance_rows(h, h->rows, h->rows + 1);
    }
    swap = h->current;
    h->current = h->next;
    h->next = swap;
    cairn_region_move(h->region, h->current + h->size);
    h->step++;
    return CAIRN_OK;
}

/* The analytical solution at global row i and column j is a sum of products of sines; `decay` holds the factors of
 * time. */
static double exact(const heat *h, const double decay[2], uint64_t i, uint64_t j)
{
    double value = decay[0] * (h->sine[i] * h->sine[j]);

    if (h->modes == 2) {
        value += 0.5 * decay[1] * (h->sine[h->size + j] * h->sine[2 * h->size + i]);
    }
    return value;
}

static cairn_status set_up(heat *h)
{
    uint64_t n = h->size;
    uint64_t id = cairn_id(h->process);
    uint64_t count = cairn_count(h->process);
    const double begin[2] = {1.0, 1.0};
    size_t cells;

    h->first = n * id / count;
    h->rows = n * (id + 1) / count - h->first;
    cells = (h->rows + 2) * n;
    h->current = calloc(cells, sizeof(double));
    h->next = calloc(cells, sizeof(double));
    h->sine = malloc(3 * n * sizeof(double));
    if (h->current == NULL || h->next == NULL || h->sine == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint64_t j = 0; j < n; j++) {
        double x = (double)(j + 1) / (double)(n + 1);

        h->sine[j] = sin(PI * x);
        h->sine[n + j] = sin(2.0 * PI * x);
        h->sine[2 * n + j] = sin(3.0 * PI * x);
    }
    for (uint64_t i = 0; i < h->rows; i++) {
        for (uint64_t j = 0; j < n; j++) {
            h->current[(i + 1) * n + j] = exact(h, begin, h->first + i, j);
        }
    }
    return CAIRN_OK;
}

/* Protect the state and load what there is of it. A snapshot of another problem is the caller's mistake. */
static cairn_status restore(heat *h, job_fault *fault)
{
    const uint64_t global[2] = {h->size, h->size};
    const uint64_t offset[2] = {h->first, 0};
    const uint64_t shape[2] = {h->rows, h->size};
    cairn_region *region;
    cairn_restored restored;
    double alpha = h->alpha;
    uint64_t modes = h->modes;
    cairn_status status;

    status =
        cairn_protect_slab(h->process, "field", CAIRN_F64, 2, global, offset, shape, h->current + h->size, &h->region);
    if (status == CAIRN_OK) {
        status = cairn_protect_replicated(h->process, "step", CAIRN_U64, 0, NULL, &h->step, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_protect_replicated(h->process, "alpha", CAIRN_F64, 0, NULL, &h->alpha, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_protect_replicated(h->process, "modes", CAIRN_U64, 0, NULL, &h->modes, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_restore(h->process, &restored);
    }
    if (status == CAIRN_OK) {
        if (memcmp(&h->alpha, &alpha, sizeof alpha) != 0) {
            job_wrong(fault, "--alpha %.17g: the snapshot was taken with %.17g", alpha, h->alpha);
        }
        if (h->modes != modes) {
            job_wrong(fault, "--modes %llu: the snapshot was taken with %llu", (unsigned long long)modes,
                      (unsigned long long)h->modes);
        }
        if (h->step > h->steps) {
            job_wrong(fault, "--steps %llu: the snapshot is at step %llu already", (unsigned long long)h->steps,
                      (unsigned long long)h->step);
        }
    }
    return status;
}

static cairn_status run(heat *h)
{
    for (;;) {
        cairn_status status = cairn_safepoint(h->process, h->step);

        if (status != CAIRN_OK) {
            return status;
        }
        if (h->step == h->steps) {
            return CAIRN_OK;
        }
        if (h->work > 0) {
            struct timespec pause = {.tv_sec = (time_t)(h->work / 1000000),
                                     .tv_nsec = (long)(h->work % 1000000) * 1000};

            (void)nanosleep(&pause, NULL); /* stands for work; cut short by a signal it is less of it */
        }
        status = advance(h);
        if (status != CAIRN_OK) {
            return status;
        }
        cairn_progress(h->process, h->step, h->steps);
    }
}

/* A hash of each row and its index, added up: the sum does not depend on who holds which row. */
static uint64_t checksum(const heat *h)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < h->rows; i++) {
        uint64_t hash = job_mix(h->first + i);

        for (uint64_t j = 0; j < h->size; j++) {
            uint64_t bits;

            memcpy(&bits, &h->current[(i + 1) * h->size + j], sizeof bits);
            hash = (hash ^ bits) * UINT64_C(0x9e3779b97f4a7c15);
            hash ^= hash >> 32;
        }
        sum += job_mix(hash);
    }
    return sum;
}

static cairn_status report(const heat *h, double seconds, uint64_t steps_done)
{
    double spacing = 1.0 / (double)(h->size + 1);
    double time = (double)h->step * (RATIO * spacing * spacing / h->alpha);
    const double decay[2] = {exp(-2.0 * PI * PI * h->alpha * time), exp(-13.0 * PI * PI * h->alpha * time)};
    uint64_t sum = checksum(h);
    double error = 0.0;
    cairn_status status;

    for (uint64_t i = 0; i < h->rows; i++) {
        for (uint64_t j = 0; j < h->size; j++) {
            double wrong = fabs(h->current[(i + 1) * h->size + j] - exact(h, decay, h->first + i, j));

            /* Written so that a NaN counts as the worst. */
            error = wrong <= error ? error : wrong;
        }
    }
    status = cairn_allreduce(h->process, &error, &error, 1, CAIRN_F64, CAIRN_MAX);
    if (status == CAIRN_OK) {
        status = cairn_allreduce(h->process, &sum, &sum, 1, CAIRN_U64, CAIRN_SUM);
    }
    if (status != CAIRN_OK || cairn_id(h->process) != 0) {
        return status;
    }
    printf("size      %llu\nsteps     %llu\ntime      %.17g\nerror     %.17g  %a\nchecksum  %016llx\n",
           (unsigned long long)h->size, (unsigned long long)h->step, time, error, error, (unsigned long long)sum);
    if (seconds > 0.0 && steps_done > 0) {
        double cells = (double)h->size * (double)h->size * (double)steps_done;

        fprintf(stderr, "heat: %llu steps in %.3f s, %.3g cells/s\n", (unsigned long long)steps_done, seconds,
                cells / seconds);
    }
    return fflush(stdout) == 0 ? CAIRN_OK : CAIRN_E_IO;
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* From wherever the field is to the result; after a recovery in place once more from where the field is then. */
static cairn_status solve(heat *h)
{
    double begun = now();
    uint64_t begun_at = h->step;
    cairn_status status;

    for (;;) {
        status = run(h);
        if (status == CAIRN_OK) {
            status = report(h, now() - begun, h->step - begun_at);
        }
        if (status != CAIRN_E_ROLLBACK) {
            return status;
        }
        status = cairn_recover(h->process, NULL);
        if (status != CAIRN_OK) {
            return status;
        }
    }
}

int main(int argc, char **argv)
{
    heat h = {.size = 512, .steps = 1000, .modes = 1, .alpha = 1.0};
    job_fault fault = {""};
    const char *what = "setting up";
    cairn_status status;

    if (parse(&h, &fault, argc, argv)) {
        if (job_speaks()) {
            fputs(help_text, stdout);
        }
        return 0;
    }
    cairn_status joined = cairn_init(&h.process, &argc, &argv);
    if (joined != CAIRN_OK) {
        return cairn_exit_code(joined);
    }
    if (h.size < cairn_count(h.process)) {
        job_wrong(&fault, "--size %llu: fewer rows than processes (%u)", (unsigned long long)h.size,
                  cairn_count(h.process));
    }
    if (fault.text[0] != '\0') {
        return job_refuse(h.process, "heat", &fault);
    }
    status = set_up(&h);
    if (status == CAIRN_OK) {
        what = "restoring";
        status = restore(&h, &fault);
    }
    if (status == CAIRN_OK && fault.text[0] != '\0') {
        return job_refuse(h.process, "heat", &fault);
    }
    if (status == CAIRN_OK) {
        what = "computing";
        status = solve(&h);
    }
    int code = cairn_leave(h.process, status, what);

    free(h.current);
    free(h.next);
    free(h.sine);
    return code;
}
