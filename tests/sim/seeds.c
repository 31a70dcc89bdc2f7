/* The options of every simulator over seeds:
 *
 *   --seeds N    how many (10000)
 *   --first S    the first one (1)
 *   --seed S     only this one
 *   --jobs J     so many processes at once, each with every J-th seed (1)
 *   --twice      run each seed twice: both runs must be the same
 *   --trace      write everything that happens to stderr; --verbose is the same
 *
 * A seed is all that there is to a run: `PROGRAM --seed S --trace` shows everything that happens in it. Exit status: 0; 1 at the first seed
 * that breaks a property, after a line that says which and what: "FAILED seed S (WORLD): PROPERTY: DETAIL", which mutants.sh
 * reads; 2 wrong usage. */
#include "seeds.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MOST 32
#define TOTALS_MOST  4096 /* bytes: what a pipe writes at once */

/* One a program; and the totals of a seed, and of its second run. */
static const seeds_kind *kind;
static void *one_totals, *again_totals;

typedef struct plan {
    uint64_t first, seeds, jobs, step;
    bool twice;
    FILE *trace;
} plan;

static void print_usage(FILE *to)
{
    fprintf(to,
            "usage: %s [options]\n"
            "  --seeds N    how many (10000)\n"
            "  --first S    the first one (1)\n"
            "  --seed S     only this one\n"
            "  --jobs J     processes at once (1)\n"
            "  --twice      run each seed twice: both runs must be the same\n"
            "  --trace      write everything that happens to stderr (also --verbose)\n"
            "%s",
            kind->name, kind->help);
}

static _Noreturn void wrong(const char *value, const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", kind->name, value, what);
    print_usage(stderr);
    exit(2);
}

uint64_t seeds_number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (end == text || *end != '\0') {
        wrong(text, "not a number");
    }
    return value;
}

static void read_arguments(plan *p, int argc, char **argv)
{
    static const struct option common[] = {
        {"seeds", required_argument, NULL, 'N'}, {"first", required_argument, NULL, 'F'},
        {"seed", required_argument, NULL, 'S'},  {"jobs", required_argument, NULL, 'J'},
        {"twice", no_argument, NULL, 'T'},       {"trace", no_argument, NULL, 'V'},
        {"verbose", no_argument, NULL, 'V'},     {"help", no_argument, NULL, 'H'}};
    struct option all[OPTIONS_MOST] = {{NULL, 0, NULL, 0}};
    size_t count = sizeof common / sizeof common[0];
    int letter;

    memcpy(all, common, sizeof common);
    for (const struct option *own = kind->options; own != NULL && own->name != NULL; own++) {
        if (count == OPTIONS_MOST - 1) {
            abort();
        }
        all[count++] = *own;
    }
    while ((letter = getopt_long(argc, argv, "", all, NULL)) != -1) {
        const char *fault;

        switch (letter) {
        case 'N':
            p->seeds = seeds_number(optarg);
            break;
        case 'F':
            p->first = seeds_number(optarg);
            break;
        case 'S':
            p->first = seeds_number(optarg);
            p->seeds = 1;
            break;
        case 'J':
            p->jobs = seeds_number(optarg);
            break;
        case 'T':
            p->twice = true;
            break;
        case 'V':
            p->trace = stderr;
            break;
        case 'H':
            print_usage(stdout);
            exit(0);
        case '?':
            print_usage(stderr);
            exit(2);
        default:
            fault = kind->take(letter, optarg);
            if (fault != NULL) {
                wrong(optarg, fault);
            }
        }
    }
    if (optind < argc) {
        wrong(argv[optind], "not an option");
    }
}

static bool run_seed(const plan *p, uint64_t seed, void *sum)
{
    seeds_outcome one = {.broken = NULL};
    seeds_outcome again = {.broken = NULL};

    memset(one_totals, 0, kind->totals_bytes);
    kind->run(seed, p->trace, one_totals, &one);
    kind->add(sum, one_totals);
    if (one.broken != NULL) {
        printf("FAILED seed %" PRIu64 " (%s): %s: %s\n", seed, one.world, one.broken, one.detail);
        printf("everything that happens in it: %s --seed %" PRIu64 " --trace\n", kind->name, seed);
        fflush(stdout);
        return false;
    }
    if (p->twice) {
        memset(again_totals, 0, kind->totals_bytes);
        kind->run(seed, NULL, again_totals, &again);
        if (again.broken != NULL || again.digest != one.digest ||
            memcmp(again_totals, one_totals, kind->totals_bytes) != 0) {
            printf("FAILED seed %" PRIu64 ": a second run was another: %016" PRIx64 " and %016" PRIx64 "\n", seed,
                   one.digest, again.digest);
            fflush(stdout);
            return false;
        }
    }
    return true;
}

static bool run_seeds(const plan *p, void *sum)
{
    for (uint64_t i = p->step; i < p->seeds; i += p->jobs) {
        if (!run_seed(p, p->first + i, sum)) {
            return false;
        }
    }
    return true;
}

/* Every child tells its totals through one pipe. */
static bool run_jobs(plan *p, void *sum)
{
    int ends[2];
    bool well = pipe(ends) == 0;

    fflush(stdout);
    for (p->step = 0; well && p->step < p->jobs; p->step++) {
        pid_t child = fork();

        if (child == 0) {
            well = run_seeds(p, sum);
            _exit(write(ends[1], sum, kind->totals_bytes) == (ssize_t)kind->totals_bytes && well ? 0 : 1);
        }
        well = well && child > 0;
    }
    close(ends[1]);
    for (int status; wait(&status) > 0;) {
        well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    while (read(ends[0], one_totals, kind->totals_bytes) == (ssize_t)kind->totals_bytes) {
        kind->add(sum, one_totals);
    }
    close(ends[0]);
    return well;
}

int seeds_main(const seeds_kind *which, int argc, char **argv)
{
    void *sum = calloc(1, which->totals_bytes);
    plan p = {.first = 1, .seeds = 10000, .jobs = 1};
    seeds_outcome over_all = {.broken = NULL};
    struct timespec start;
    struct timespec now;
    bool well;

    kind = which;
    one_totals = malloc(kind->totals_bytes);
    again_totals = malloc(kind->totals_bytes);
    if (sum == NULL || one_totals == NULL || again_totals == NULL || kind->totals_bytes > TOTALS_MOST) {
        abort();
    }
    read_arguments(&p, argc, argv);
    if (p.jobs == 0) {
        wrong("--jobs 0", "at least 1");
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    well = p.jobs > 1 ? run_jobs(&p, sum) : run_seeds(&p, sum);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (well) {
        printf("seeds %" PRIu64 ", %.1f s\n", p.seeds,
               (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9);
        kind->print(sum);
        if (kind->judge != NULL) {
            kind->judge(sum, p.seeds, &over_all);
        }
        if (over_all.broken != NULL) {
            printf("FAILED seed %" PRIu64 " (and all others): %s: %s\n", p.first, over_all.broken, over_all.detail);
        }
    }
    free(sum);
    free(one_totals);
    free(again_totals);
    return well && over_all.broken == NULL ? 0 : 1;
}
