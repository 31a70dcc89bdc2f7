/* Runs one kind of member through many seeds (paxos_world.h says what is drawn and checked).
 *
 * sim_paxos [--seeds N] [--first S] [--jobs J] [--twice] [--trace] [--calm]
 * Exits 1 at the first seed that breaks something, and says which and what. A seed is all that there is to a run:
 * `sim_paxos --first SEED --seeds 1 --trace` shows everything that happens in it. --twice: runs each seed twice and
 * compares. --jobs: so many processes at once, each with every J-th seed. */
#include "paxos_main.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] = "usage: sim_paxos | sim_paxos_core [options]\n"
                            "  --seeds N    how many (10000)\n"
                            "  --first S    the first one (1)\n"
                            "  --jobs J     processes (1)\n"
                            "  --twice      run each seed twice: both runs must be the same\n"
                            "  --trace      write everything that happens to stderr\n"
                            "  --calm       no faults\n";

typedef struct arguments {
    uint64_t first, seeds, jobs, step;
    bool twice;
    pw_options options;
} arguments;

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (end == text || *end != '\0') {
        fprintf(stderr, "not a number: %s\n%s", text, usage);
        exit(2);
    }
    return value;
}

static void read_arguments(arguments *given, int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 's'}, {"first", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},  {"twice", no_argument, NULL, 't'},
        {"trace", no_argument, NULL, 'v'},       {"calm", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 's':
            given->seeds = number(optarg);
            break;
        case 'f':
            given->first = number(optarg);
            break;
        case 'j':
            given->jobs = number(optarg);
            break;
        case 't':
            given->twice = true;
            break;
        case 'v':
            given->options.trace = stderr;
            break;
        case 'c':
            given->options.calm = true;
            break;
        default:
            fputs(usage, letter == 'h' ? stdout : stderr);
            exit(letter == 'h' ? 0 : 2);
        }
    }
}

static void add(uint64_t *sum, const uint64_t *counts)
{
    for (int i = 0; i < PW_COUNTS; i++) {
        bool most = i == PW_HEAL_SLOWEST || i == PW_HEAL_ELECTIONS;

        if (!most) {
            sum[i] += counts[i];
        } else if (counts[i] > sum[i]) {
            sum[i] = counts[i];
        }
    }
}

static bool run_seed(const pw_kind *kind, const arguments *given, uint64_t seed, uint64_t *sum)
{
    pw_result one;
    pw_result again;

    pw_run(seed, kind, &given->options, &one);
    add(sum, one.counts);
    if (one.broken != NULL) {
        printf("FAILED seed %" PRIu64 " (%" PRIu32 " processes, %" PRIu32 " acceptors): %s: %s\n", seed, one.processes,
               one.acceptors, one.broken, one.detail);
        printf("everything that happens in it: %s --first %" PRIu64 " --seeds 1 --trace\n", kind->name, seed);
        fflush(stdout);
        return false;
    }
    if (given->twice) {
        pw_run(seed, kind, &given->options, &again);
        if (again.digest != one.digest || memcmp(again.counts, one.counts, sizeof one.counts) != 0) {
            printf("FAILED seed %" PRIu64 ": a second run was another: %016" PRIx64 " and %016" PRIx64 "\n", seed,
                   one.digest, again.digest);
            fflush(stdout);
            return false;
        }
    }
    return true;
}

static bool run_seeds(const pw_kind *kind, const arguments *given, uint64_t *sum)
{
    for (uint64_t i = given->step; i < given->seeds; i += given->jobs) {
        if (!run_seed(kind, given, given->first + i, sum)) {
            return false;
        }
    }
    return true;
}

/* Every child tells its totals through one pipe: they are shorter than what a pipe writes at once. */
static bool run_jobs(const pw_kind *kind, arguments *given, uint64_t *sum)
{
    uint64_t counts[PW_COUNTS];
    int ends[2];
    bool well = pipe(ends) == 0;

    fflush(stdout);
    for (given->step = 0; well && given->step < given->jobs; given->step++) {
        pid_t child = fork();

        if (child == 0) {
            memset(counts, 0, sizeof counts);
            well = run_seeds(kind, given, counts);
            _exit(write(ends[1], counts, sizeof counts) == (ssize_t)sizeof counts && well ? 0 : 1);
        }
        well = well && child > 0;
    }
    close(ends[1]);
    for (int status; wait(&status) > 0;) {
        well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    while (read(ends[0], counts, sizeof counts) == (ssize_t)sizeof counts) {
        add(sum, counts);
    }
    close(ends[0]);
    return well;
}

static void print_totals(const arguments *given, const uint64_t *sum, double seconds)
{
    static const char *const names[PW_COUNTS] = {"events",
                                                 "messages",
                                                 "lost",
                                                 "crashes",
                                                 "pauses",
                                                 "partitions",
                                                 "disks lost",
                                                 "disk faults",
                                                 "log ends lost",
                                                 "admitted",
                                                 "elected",
                                                 "slots",
                                                 "asked",
                                                 "answered",
                                                 "asked again",
                                                 "reads",
                                                 "leased reads",
                                                 "images",
                                                 "installed",
                                                 "linearizable",
                                                 "undecided",
                                                 "slowest answer after healing (ms)",
                                                 "the same (tenths of an election timeout)"};

    printf("seeds %" PRIu64 ", %.1f s", given->seeds, seconds);
    for (int i = 0; i < PW_COUNTS; i++) {
        printf("%s%s %" PRIu64, i % 8 == 0 ? "\n" : ", ", names[i], sum[i]);
    }
    putchar('\n');
}

int pw_main(const pw_kind *kind, int argc, char **argv)
{
    arguments given = {.first = 1, .seeds = 10000, .jobs = 1};
    uint64_t sum[PW_COUNTS] = {0};
    struct timespec start;
    struct timespec now;
    bool well;

    read_arguments(&given, argc, argv);
    clock_gettime(CLOCK_MONOTONIC, &start);
    well = given.jobs > 1 ? run_jobs(kind, &given, sum) : run_seeds(kind, &given, sum);
    clock_gettime(CLOCK_MONOTONIC, &now);
    print_totals(&given, sum, (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9);
    return well ? 0 : 1;
}
