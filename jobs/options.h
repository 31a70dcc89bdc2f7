/* What the jobs heat and bank share in reading their command lines: numbers with bounds, and one message about what is
 * wrong (not one per process). Options are read before cairn_init; a fault is only noted then, since a process that
 * leaves before the others have begun would have mpirun end them before process 0 has spoken. */
#ifndef CAIRN_JOBS_OPTIONS_H
#define CAIRN_JOBS_OPTIONS_H

#include <cairn/cairn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct job_fault {
    char text[300]; /* empty: none */
} job_fault;

/* Note the first fault. */
CAIRN_PRINTF(2, 3) static inline void job_wrong(job_fault *fault, const char *format, ...)
{
    va_list arguments;

    if (fault->text[0] != '\0') {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
}

/* A whole number within [least, most], or a fault that names the option. */
static inline uint64_t job_number(job_fault *fault, const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || strchr(text, '-') != NULL) {
        job_wrong(fault, "%s %s: not a whole number", option, text);
        return least;
    }
    if (errno != 0 || value < least || value > most) {
        job_wrong(fault, "%s %s: must lie between %llu and %llu", option, text, (unsigned long long)least,
                  (unsigned long long)most);
        return least;
    }
    return value;
}

/* True in a program that no launcher started, and in the launcher's first process: who prints the help. */
static inline bool job_speaks(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *rank = getenv(names[i]);

        if (rank != NULL) {
            return strcmp(rank, "0") == 0;
        }
    }
    return true;
}

/* The way out after a fault, on all processes: process 0 says it, the others wait for that in cairn_finalize. */
static inline int job_refuse(cairn_process *process, const char *job, const job_fault *fault)
{
    if (cairn_id(process) == 0) {
        fprintf(stderr, "%s: %s\n", job, fault->text);
        (void)fflush(stderr);
    }
    (void)cairn_finalize(process);
    return CAIRN_EXIT_JOB_USAGE;
}

/* A bijection of 64 bits with good avalanche (the finalizer of SplitMix64, Steele et al. 2014). */
static inline uint64_t job_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

#endif
