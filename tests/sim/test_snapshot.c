/* Runs the snapshot core through many seeds of the simulator (simulator.h says what is drawn and checked; seeds.c, what its
 * options are beside its own):
 *
 *   --count N    processes, 1 to 8 (drawn)
 *   --job NAME   loop, loop-any, bank, naive, shifted, mixed, bank-calls or phases (drawn)
 *   --calm       no failures, nobody leaves early
 *   --lose       a process dies in the middle
 *   --blind      do not look at the core's own invariants */
#include "seeds.h"
#include "simulator.h"

#include <inttypes.h>
#include <string.h>

static const char help[] = "  --count N    processes, 1 to 8 (drawn)\n"
                           "  --job NAME   loop, loop-any, bank, naive, shifted, mixed, bank-calls or phases (drawn)\n"
                           "  --calm       no failures, nobody leaves early\n"
                           "  --lose       a process dies in the middle\n"
                           "  --blind      do not look at the core's own invariants\n";

static const struct option own[] = {{"count", required_argument, NULL, 'n'}, {"job", required_argument, NULL, 'j'},
                                    {"calm", no_argument, NULL, 'c'},        {"lose", no_argument, NULL, 'l'},
                                    {"blind", no_argument, NULL, 'b'},       {NULL, 0, NULL, 0}};

static sim_options options = {.job = -1};

typedef struct totals {
    uint64_t attempts, committed, abandoned[8], messages, in_flight, held, events, rounds;
    uint64_t fair_attempts, fair_held;
} totals;

static void add(void *to, const void *from)
{
    totals *sum = to;
    const totals *one = from;

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
    sum->fair_attempts += one->fair_attempts;
    sum->fair_held += one->fair_held;
}

static void print(const void *totals_of_all)
{
    const totals *sum = totals_of_all;

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

static const char *take(int letter, const char *value)
{
    switch (letter) {
    case 'n':
        options.count = (uint32_t)seeds_number(value);
        return options.count > SIM_PROCESSES_MAX ? "too many processes" : NULL;
    case 'j':
        for (options.job = 0; options.job < SIM_JOBS; options.job++) {
            if (strcmp(value, sim_job_text((sim_job)options.job)) == 0) {
                return NULL;
            }
        }
        return "no such job";
    case 'c':
        options.calm = true;
        return NULL;
    case 'l':
        options.lose = true;
        return NULL;
    default:
        options.blind = true;
        return NULL;
    }
}

static void run(uint64_t seed, FILE *trace, void *of_one, seeds_outcome *outcome)
{
    totals *t = of_one;
    sim_result one;

    options.trace = trace;
    sim_run(seed, &options, &one);
    t->attempts = one.attempts;
    t->committed = one.committed;
    t->messages = one.messages;
    t->in_flight = one.in_flight;
    t->held = one.held;
    t->events = one.events;
    t->rounds = one.rounds;
    memcpy(t->abandoned, one.abandoned, sizeof t->abandoned);
    if (sim_job_is_fair(one.job)) {
        t->fair_attempts = one.attempts;
        t->fair_held = one.abandoned[1];
    }
    outcome->digest = one.digest;
    if (one.broken != SIM_OK) {
        outcome->broken = sim_property_text(one.broken);
        (void)snprintf(outcome->world, sizeof outcome->world, "%" PRIu32 " processes, job %s", one.count,
                       sim_job_text(one.job));
        (void)snprintf(outcome->detail, sizeof outcome->detail, "%s", one.detail);
    }
}

int main(int argc, char **argv)
{
    static const seeds_kind kind = {.name = "test_snapshot",
                                    .help = help,
                                    .options = own,
                                    .totals_bytes = sizeof(totals),
                                    .take = take,
                                    .run = run,
                                    .add = add,
                                    .print = print};

    return seeds_main(&kind, argc, argv);
}
