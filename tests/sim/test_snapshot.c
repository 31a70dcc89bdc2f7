/* Runs the snapshot core through many seeds of the simulator (simulator.h says what is drawn and checked).
 *
 * test_snapshot [--seeds N] [--first S] [--twice] [--verbose] [--count N] [--job NAME] [--calm] [--lose] [--blind]
 * Exits 1 at the first seed that breaks a property, and says which and why. A seed is all that there is to a run:
 * `test_snapshot --first SEED --seeds 1 --verbose` shows every event of it. --twice: runs each seed twice and compares.
 */
#include "simulator.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] = "usage: test_snapshot [options]\n"
                            "  --seeds N    how many (10000)\n"
                            "  --first S    the first one (1)\n"
                            "  --twice      run each seed twice: both runs must be the same\n"
                            "  --verbose    write every event to stderr\n"
                            "  --count N    processes, 1 to 8 (drawn)\n"
                            "  --job NAME   loop, loop-any, bank, naive, shifted, mixed, bank-calls or phases (drawn)\n"
                            "  --calm       no failures, nobody leaves early\n"
                            "  --lose       a process dies in the middle\n"
                            "  --blind      do not look at the core's own invariants\n";

typedef struct totals {
    uint64_t seeds, attempts, committed, abandoned[8], messages, in_flight, held, events, rounds;
    uint64_t fair_attempts, fair_held;
} totals;

static void add(totals *sum, const sim_result *one)
{
    sum->seeds++;
    sum->attempts += one->attempts;
    sum->committed += one->committed;
    sum->messages += one->messages;
    sum->in_flight += one->in_flight;
    sum->held += one->held;
    sum->events += one->events;
    sum->rounds += one->rounds;
    for (int i = 0; i < 8; i++) {
        sum->abandoned[i] += one->abandoned[i];
    }
    if (sim_job_is_fair(one->job)) {
        sum->fair_attempts += one->attempts;
        sum->fair_held += one->abandoned[1];
    }
}

static void print_totals(const totals *sum, double seconds)
{
    printf("seeds %" PRIu64 ", %.1f s\n", sum->seeds, seconds);
    printf("attempts %" PRIu64 ": committed %" PRIu64 "; abandoned: job waited for a held message %" PRIu64
           ", job finished %" PRIu64 ", write failed %" PRIu64 ", superseded %" PRIu64 ", never met by others %" PRIu64
           "\n",
           sum->attempts, sum->committed, sum->abandoned[1], sum->abandoned[2], sum->abandoned[3], sum->abandoned[4],
           sum->abandoned[0]);
    printf("of %" PRIu64 " attempts on fair jobs, abandoned for a held message: %" PRIu64 "\n", sum->fair_attempts,
           sum->fair_held);
    printf("messages %" PRIu64 ", in flight in committed cuts %" PRIu64 ", held back %" PRIu64
           ", rounds to place a cut %" PRIu64 ", events %" PRIu64 "\n",
           sum->messages, sum->in_flight, sum->held, sum->rounds, sum->events);
}

static int find_job(const char *name)
{
    for (int i = 0; i < SIM_JOBS; i++) {
        if (strcmp(name, sim_job_text((sim_job)i)) == 0) {
            return i;
        }
    }
    fprintf(stderr, "test_snapshot: no such job: %s\n%s", name, usage);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (end == text || *end != '\0') {
        fprintf(stderr, "test_snapshot: not a number: %s\n%s", text, usage);
        exit(2);
    }
    return value;
}

typedef struct arguments {
    uint64_t first, seeds;
    bool twice;
    sim_options options;
} arguments;

static void read_arguments(arguments *given, int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
                                            {"first", required_argument, NULL, 'f'},
                                            {"twice", no_argument, NULL, 't'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"job", required_argument, NULL, 'j'},
                                            {"calm", no_argument, NULL, 'c'},
                                            {"lose", no_argument, NULL, 'l'},
                                            {"blind", no_argument, NULL, 'b'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 's':
            given->seeds = number(optarg);
            break;
        case 'f':
            given->first = number(optarg);
            break;
        case 't':
            given->twice = true;
            break;
        case 'v':
            given->options.trace = stderr;
            break;
        case 'n':
            given->options.count = (uint32_t)number(optarg);
            break;
        case 'j':
            given->options.job = find_job(optarg);
            break;
        case 'c':
            given->options.calm = true;
            break;
        case 'l':
            given->options.lose = true;
            break;
        case 'b':
            given->options.blind = true;
            break;
        default:
            fputs(usage, letter == 'h' ? stdout : stderr);
            exit(letter == 'h' ? 0 : 2);
        }
    }
    if (given->options.count > SIM_PROCESSES_MAX) {
        fprintf(stderr, "test_snapshot: at most %d processes\n", SIM_PROCESSES_MAX);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    arguments given = {.first = 1, .seeds = 10000, .options = {.job = -1}};
    totals sum = {0};
    sim_result one, again;
    clock_t start = clock();

    read_arguments(&given, argc, argv);
    for (uint64_t i = 0; i < given.seeds; i++) {
        uint64_t seed = given.first + i;

        sim_run(seed, &given.options, &one);
        add(&sum, &one);
        if (one.broken != SIM_OK) {
            printf("FAILED seed %" PRIu64 " (%" PRIu32 " processes, job %s): %s: %s\n", seed, one.count,
                   sim_job_text(one.job), sim_property_text(one.broken), one.detail);
            printf("every event of it: test_snapshot --first %" PRIu64 " --seeds 1 --verbose\n", seed);
            return 1;
        }
        if (given.twice) {
            sim_run(seed, &given.options, &again);
            if (again.digest != one.digest) {
                printf("FAILED seed %" PRIu64 ": a second run was another: %016" PRIx64 " and %016" PRIx64 "\n", seed,
                       one.digest, again.digest);
                return 1;
            }
        }
    }
    print_totals(&sum, (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
