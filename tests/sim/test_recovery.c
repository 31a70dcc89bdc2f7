/* Runs the production core of src/recovery through many histories. A seed is all that there is to one:
 * `test_recovery --seed N --trace` shows every event of it (seeds.c says what options there are beside its own).
 *
 * In a history 1 to 8 processes and 0 to 8 spares each hold a core. Consensus is one log, in which a view is chosen if it
 * follows the newest one there; every rank learns it in its order and with its own delay, several entries at once at
 * times, so that views are skipped. Proposals come late, are lost, or are answered before their fate is known. The
 * leader changes, several may believe to lead, and one that pauses does so for long. Suspicion comes late, is false, is
 * taken back. Ranks die at any moment, also between what the core says and doing it, and half way through telling
 * others; several at once, spares, leaders, in a recovery. They pause, wake up in an old view and believe in it, and are
 * cut off. Meanwhile processes send each other messages, and snapshots are recorded and committed, or not, some of
 * them long after the view that they are of. In some worlds most are in memory only, with who recorded them and with one
 * partner of each, and a part can be lost with both. Around each core stands what src/process/recover.c does in production.
 *
 * After every event:
 *   agreed     all that installed view v have the same v, and it is the one that was chosen; numbers only grow
 *   outcast    a rank that is out in a view is out in all later ones, carries nothing, and ends when it learns of it;
 *              who does not carry its process any more is out; nobody is dismissed who is not out
 *   carried    in a view a process is carried by one rank, and no two ranks that have installed it carry the same one:
 *              so no two incarnations live in the eyes of those that have the newest view
 *   early      nobody is READY for v without having v's snapshot back, nobody goes on in v before all its carriers are
 *   stale      no message of another incarnation is consumed, nor one twice, nor out of order, counted from the snapshot
 *   lost       a message of the view reaches no carrier that has not installed it, and is not thrown away
 *   snapshot   a view goes back to a committed snapshot that is still there, never to an older one than the view before
 *              it, unless somebody could not have that one
 *   proposal   only by who leads, when all have begun, one at a time, for the next number; moves just the processes whose
 *              carriers are suspected, to ranks that are not
 *   hopeless   said only by who leads, when it is so as far as it has been told, and once a view
 *   invariant  rc_check
 * In the end (nothing goes wrong any more, there is one leader, and it suspects just the dead):
 *   stuck      with spares and a snapshot all live ranks are in the last view and its carriers go on, and what they
 *              send arrives (lost); else the leader has said that there is no hope. Within a bounded time. */
#include "recovery_world.h"
#include "seeds.h"

#include <inttypes.h>
#include <string.h>

static const char help[] = "  --count N    processes, 1 to 8 (drawn)\n"
                           "  --calm       ranks die, and nothing else goes wrong\n"
                           "  --blind      do not look at rc_check\n";

static const struct option own[] = {{"count", required_argument, NULL, 'n'},
                                    {"calm", no_argument, NULL, 'c'},
                                    {"blind", no_argument, NULL, 'b'},
                                    {NULL, 0, NULL, 0}};

static recovery_options options;

typedef struct totals {
    recovery_result sum;
    uint64_t outcomes[OUTCOMES], most_after, most_views;
} totals;

static const char *property_text(property which)
{
    static const char *const texts[PROPERTIES] = {"holds", "agreed",   "outcast",  "carried",  "early",     "stale",
                                                  "lost",  "snapshot", "proposal", "hopeless", "invariant", "stuck"};

    return texts[which];
}

static void add(void *to, const void *from)
{
    totals *all = to;
    const totals *other = from;
    recovery_result *sum = &all->sum;
    const recovery_result *one = &other->sum;

    for (int i = 0; i < OUTCOMES; i++) {
        all->outcomes[i] += other->outcomes[i];
    }
    all->most_after = other->most_after > all->most_after ? other->most_after : all->most_after;
    all->most_views = other->most_views > all->most_views ? other->most_views : all->most_views;
    sum->passed_on += one->passed_on;
    sum->events += one->events;
    sum->views += one->views;
    sum->installed += one->installed;
    sum->skipped += one->skipped;
    sum->resumed += one->resumed;
    sum->overtaken += one->overtaken;
    sum->deaths += one->deaths;
    sum->pauses += one->pauses;
    sum->woken_out += one->woken_out;
    sum->cuts += one->cuts;
    sum->elections += one->elections;
    sum->replaced_alive += one->replaced_alive;
    sum->proposed += one->proposed;
    sum->refused += one->refused;
    sum->unknown += one->unknown;
    sum->hopeless += one->hopeless;
    sum->hopeless_wrong += one->hopeless_wrong;
    sum->sent += one->sent;
    sum->consumed += one->consumed;
    sum->dropped += one->dropped;
    sum->cuts_taken += one->cuts_taken;
    sum->committed += one->committed;
    sum->voided += one->voided;
    sum->further_back += one->further_back;
    sum->ended += one->ended;
}

static void print(const void *totals_of_all)
{
    const totals *all = totals_of_all;
    const recovery_result *s = &all->sum;

    printf("events %" PRIu64 "\n", s->events);
    printf("ended: nothing lost %" PRIu64 ", all go on in a later view %" PRIu64 ", no spare %" PRIu64
           ", no snapshot %" PRIu64 ", a death before all had begun %" PRIu64 ", nobody left %" PRIu64
           "; ranks that another one told that all had %" PRIu64 "\n",
           all->outcomes[NOTHING_LOST], all->outcomes[RECOVERED], all->outcomes[NO_SPARE], all->outcomes[NO_SNAPSHOT],
           all->outcomes[NOT_STARTED], all->outcomes[NOBODY_LEFT], s->passed_on);
    printf("deaths %" PRIu64 ", pauses %" PRIu64 ", cut off %" PRIu64 ", elections %" PRIu64 "; replaced alive %" PRIu64
           ", ended themselves as out %" PRIu64 "\n",
           s->deaths, s->pauses, s->cuts, s->elections, s->replaced_alive, s->woken_out);
    printf("views proposed %" PRIu64 ", refused %" PRIu64 ", fate unknown %" PRIu64 ", chosen %" PRIu64
           " (most %" PRIu64 "), of them in a recovery %" PRIu64 "; installed %" PRIu64 ", after skipping some %" PRIu64
           ", resumed %" PRIu64 "; hopeless said %" PRIu64 ", in error %" PRIu64 "\n",
           s->proposed, s->refused, s->unknown, s->views, all->most_views, s->overtaken, s->installed, s->skipped,
           s->resumed, s->hopeless, s->hopeless_wrong);
    printf("messages sent %" PRIu64 ", consumed %" PRIu64 ", dropped as of another incarnation %" PRIu64
           "; snapshots recorded %" PRIu64 ", committed %" PRIu64 "; most events to settle %" PRIu64 "\n",
           s->sent, s->consumed, s->dropped, s->cuts_taken, s->committed, all->most_after);
    printf("parts in memory that could not be had %" PRIu64 ": views that went further back %" PRIu64
           ", launches that ended since nothing was older %" PRIu64 "\n",
           s->voided, s->further_back, s->ended);
}

static const char *take(int option, const char *value)
{
    switch (option) {
    case 'n':
        options.count = (uint32_t)seeds_number(value);
        return options.count > PROCESSES_MAX ? "too many processes" : NULL;
    case 'c':
        options.calm = true;
        return NULL;
    default:
        options.blind = true;
        return NULL;
    }
}

static void run(uint64_t seed, FILE *trace, void *of_one, seeds_outcome *became)
{
    totals *t = of_one;
    recovery_result *one = &t->sum;

    options.trace = trace;
    rw_run(seed, &options, one);
    t->outcomes[one->outcome] = 1;
    t->most_after = one->after;
    t->most_views = one->views;
    became->digest = one->digest;
    if (one->broken != HOLDS) {
        became->broken = property_text(one->broken);
        (void)snprintf(became->world, sizeof became->world, "%" PRIu32 " processes on %" PRIu32 " ranks", one->count,
                       one->ranks);
        (void)snprintf(became->detail, sizeof became->detail, "%s", one->detail);
    }
}

int main(int argc, char **argv)
{
    static const seeds_kind kind = {.name = "test_recovery",
                                    .help = help,
                                    .options = own,
                                    .totals_bytes = sizeof(totals),
                                    .take = take,
                                    .run = run,
                                    .add = add,
                                    .print = print};

    return seeds_main(&kind, argc, argv);
}
