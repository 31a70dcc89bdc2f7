/* Runs one kind of member through many seeds (paxos_world.h says what is drawn and checked; seeds.c, what its options are beside
 * --calm: no faults). */
#include "paxos_main.h"
#include "seeds.h"

#include <inttypes.h>
#include <string.h>

static const struct option own[] = {{"calm", no_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};

static const pw_kind *member;
static pw_options options;

static const char *take(int letter, const char *value)
{
    (void)letter;
    (void)value;
    options.calm = true;
    return NULL;
}

static void add(void *to, const void *from)
{
    uint64_t *sum = to;
    const uint64_t *counts = from;

    for (int i = 0; i < PW_COUNTS; i++) {
        bool most = i == PW_HEAL_SLOWEST || i == PW_HEAL_ELECTIONS;

        if (!most) {
            sum[i] += counts[i];
        } else if (counts[i] > sum[i]) {
            sum[i] = counts[i];
        }
    }
}

static void run(uint64_t seed, FILE *trace, void *counts, seeds_outcome *outcome)
{
    pw_result one;

    options.trace = trace;
    pw_run(seed, member, &options, &one);
    memcpy(counts, one.counts, sizeof one.counts);
    outcome->digest = one.digest;
    if (one.broken != NULL) {
        outcome->broken = one.broken;
        (void)snprintf(outcome->world, sizeof outcome->world, "%" PRIu32 " processes, %" PRIu32 " acceptors",
                       one.processes, one.acceptors);
        (void)snprintf(outcome->detail, sizeof outcome->detail, "%s", one.detail);
    }
}

static void print(const void *totals)
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
    const uint64_t *sum = totals;

    for (int i = 0; i < PW_COUNTS; i++) {
        printf("%s%s %" PRIu64, i == 0 ? "" : i % 8 == 0 ? "\n" : ", ", names[i], sum[i]);
    }
    putchar('\n');
}

int pw_main(const pw_kind *which, int argc, char **argv)
{
    const seeds_kind kind = {.name = which->name,
                             .help = "  --calm       no faults\n",
                             .options = own,
                             .totals_bytes = PW_COUNTS * sizeof(uint64_t),
                             .take = take,
                             .run = run,
                             .add = add,
                             .print = print};

    member = which;
    return seeds_main(&kind, argc, argv);
}
