/* What the benchmarks share: the time, medians, and a line of the table. */
#ifndef CAIRN_TESTS_BENCH_H
#define CAIRN_TESTS_BENCH_H

#include <cairn/cairn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double bench_now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline int bench_compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

/* The value below which `share` of the values lie; sorts them. */
static inline double bench_quantile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, bench_compare);
    return values[(size_t)((double)(count - 1) * share + 0.5)];
}

/* The process ends the whole benchmark when a call fails. */
static inline void bench_must(cairn_process *process, cairn_status status, const char *what)
{
    if (status != CAIRN_OK) {
        exit(cairn_leave(process, status, what));
    }
}

/* One line for tests/bench/run: what, measured, baseline, median ratio of the pairs, its quartiles, how many pairs,
 * goal. A goal like "<=1.20" or ">=0.9"; "-" when there is none. Sorts the ratios. */
static inline void bench_row(const char *what, const char *measured, const char *baseline, double *ratios, size_t count,
                             const char *goal)
{
    double low = bench_quantile(ratios, count, 0.25);
    double high = bench_quantile(ratios, count, 0.75);

    printf("ROW\t%s\t%s\t%s\t%.3f\t%.3f-%.3f of %zu\t%s\n", what, measured, baseline,
           bench_quantile(ratios, count, 0.5), low, high, count, goal);
    (void)fflush(stdout);
}

#endif
