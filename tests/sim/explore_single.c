/* Goal: single-decree Paxos keeps its promises in every state that there is, for three acceptors, two proposers and a
 * few ballots: every interleaving, with every loss, duplication, order of messages, and crash.
 * Method: explore.h. The roles of a process are actors of their own, which may crash one by one: what a crash of the
 * whole process does is among that. A crash may come while something is written: it is on the disk then, or it is not.
 * Crashes are not bounded. What is bounded: how often each proposer begins. The learners are asked in every state
 * (explore_learner.h).
 *
 * Two ways to make it smaller, one of which is needed to reach the end:
 *   --fused        what an acceptor or proposer writes becomes durable, or it crashes, before anything else happens. It
 *                  ignores everything meanwhile, and nobody sees the difference, so no state without a write under way
 *                  is left out. (That it ignores everything is seen by the run without.)
 *   --no-refusals  refusals are always lost.
 *
 * Properties (section numbers of "Paxos Made Simple"):
 *   agreement   all proposals that a majority has accepted have the same value (2.1)
 *   validity    a value that is accepted by a majority, or learned, was proposed by somebody (2.1)
 *   learner     what is learned is chosen (2.1)
 *   and, unless --blind:
 *   promise     no acceptor accepts below what it has promised before, in this life or an earlier one (P1a)
 *   durable     no acceptor says what is not on its disk; what is on a disk never goes down (2.5)
 *   ballot      a ballot is used for one value, by its owner (2.5)
 *   issued      no other value is issued above a ballot at which one was chosen (P2b)
 *   invariant   px_*_check */
#include "explore.h"
#include "explore_learner.h"
#include "paxos/single.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ACCEPTORS = 3, PROPOSERS = 2, ACTORS = ACCEPTORS + PROPOSERS, TRIES_MAX = 3, BALLOTS_MAX = 6 };

typedef enum choice { WRITTEN, CRASH_UNWRITTEN, CRASH_WRITTEN, BEGIN, CHOICES } choice;

static uint32_t tries[PROPOSERS] = {1, 1}; /* how often each begins */
static bool has_refusals = true, blind, fused;

/* One actor. What is not of its role stays zero. */
typedef struct place {
    px_acceptor acceptor;
    px_proposer proposer;
    bool writing;
    px_record written, disk; /* acceptor: on the way to the disk, on it  */
    px_ballot used, used_disk;
    /* For the properties: history. */
    px_proposal ever[BALLOTS_MAX]; /* acceptor: all that it has accepted; proposer: all that it has issued */
    px_ballot promised;            /* acceptor: the highest ballot that it has promised to anybody         */
    uint32_t begun;                /* proposer */
} place;

/* What the values of the tries are: all different. */
static px_value value_of(uint32_t proposer, uint32_t try)
{
    return 10 * (proposer + 1) + try;
}

static bool is_acceptor(uint32_t actor)
{
    return actor < ACCEPTORS;
}

/* --- equal states are equal bytes ----------------------------------------- */

static px_message tidy_message(px_message one)
{
    px_message clean;

    memset(&clean, 0, sizeof clean);
    clean.kind = one.kind;
    clean.ballot = one.ballot;
    clean.promised = one.promised;
    clean.proposal = one.proposal;
    return clean;
}

static void tidy_acceptor(px_acceptor *acceptor)
{
    px_acceptor clean;

    memset(&clean, 0, sizeof clean);
    clean.stable = acceptor->stable;
    clean.writing = acceptor->writing;
    if (acceptor->writing) { /* else nobody looks at it any more */
        px_message answer = tidy_message(acceptor->answer);

        clean.next = acceptor->next;
        clean.to = acceptor->to;
        memcpy(&clean.answer, &answer, sizeof answer);
    }
    memcpy(acceptor, &clean, sizeof clean);
}

/* --- history ----------------------------------------- */

/* Add to a list that is kept in order, so that the same history is the same bytes. */
static void note(px_proposal *list, px_proposal proposal)
{
    uint32_t at = 0;

    while (at < BALLOTS_MAX && list[at].ballot != PX_NONE && list[at].ballot < proposal.ballot) {
        at++;
    }
    if (proposal.ballot == PX_NONE || (list[at].ballot == proposal.ballot && list[at].value == proposal.value)) {
        return;
    }
    if (list[BALLOTS_MAX - 1].ballot != PX_NONE) {
        fprintf(stderr, "explore_single: too many proposals for BALLOTS_MAX\n");
        exit(2);
    }
    memmove(&list[at + 1], &list[at], (BALLOTS_MAX - 1 - at) * sizeof *list);
    list[at] = proposal;
}

static bool has_noted(const place *one, px_proposal proposal)
{
    for (uint32_t i = 0; i < BALLOTS_MAX; i++) {
        if (one->ever[i].ballot == proposal.ballot && one->ever[i].value == proposal.value) {
            return true;
        }
    }
    return false;
}

/* What is wrong with what an acceptor says. */
static void check_said(explore_step *step, place *one, const px_message *said)
{
    if (said->kind == PX_ACCEPTED) {
        note(one->ever, said->proposal);
        if (!blind && said->ballot < one->promised) {
            explore_broken(step, "promise: accepts below what it has promised");
        }
        if (!blind && (one->disk.accepted.ballot < said->ballot || one->disk.promised < said->ballot)) {
            explore_broken(step, "durable: says that it has accepted what is not on its disk");
        }
    } else if (said->kind == PX_PROMISE) {
        if (!blind && one->disk.promised < said->ballot) {
            explore_broken(step, "durable: makes a promise that is not on its disk");
        }
        one->promised = said->ballot > one->promised ? said->ballot : one->promised;
    }
}

/* What is wrong with what a proposer says. */
static void check_issued(explore_step *step, place *one, const px_message *said)
{
    if (said->kind == PX_ACCEPT) {
        for (uint32_t i = 0; i < BALLOTS_MAX; i++) {
            if (!blind && one->ever[i].ballot == said->ballot && one->ever[i].value != said->proposal.value) {
                explore_broken(step, "ballot: two values at one ballot");
            }
        }
        note(one->ever, said->proposal);
    }
    if (!blind && px_owner(said->ballot) != one->proposer.self) {
        explore_broken(step, "ballot: used by another than its owner");
    }
}

/* --- the shell of each role ----------------------------------------- */

static void start(uint32_t actor, void *local)
{
    place *one = local;

    if (is_acceptor(actor)) {
        px_acceptor_init(&one->acceptor, NULL);
    } else {
        px_proposer_init(&one->proposer, actor - ACCEPTORS, ACCEPTORS, PX_NONE);
    }
}

static uint32_t receivers(const px_output *out)
{
    if (out->to == PX_TO_ACCEPTORS) {
        return (1u << ACCEPTORS) - 1;
    }
    if (out->to == PX_TO_LEARNERS || (out->message.kind == PX_REFUSED && !has_refusals)) {
        return 0;
    }
    return out->to < PROPOSERS ? 1u << (ACCEPTORS + out->to) : 0;
}

static void carry_out(explore_step *step, uint32_t actor, place *one, const px_output *out)
{
    if (out->persist) {
        one->writing = true;
        one->written = out->record;
        one->used = out->used;
    }
    if (out->send) {
        px_message message = tidy_message(out->message);

        if (is_acceptor(actor)) {
            check_said(step, one, &message);
        } else {
            check_issued(step, one, &message);
        }
        if (receivers(out) != 0) {
            explore_send(step, receivers(out), &message);
        }
    }
    if (!blind && !(px_acceptor_check(&one->acceptor) && px_proposer_check(&one->proposer))) {
        explore_broken(step, "invariant: one of a process does not hold");
    }
}

static void feed(explore_step *step, uint32_t actor, place *one, const px_event *event)
{
    px_output out;

    if (is_acceptor(actor)) {
        px_acceptor_step(&one->acceptor, event, &out);
        carry_out(step, actor, one, &out);
        tidy_acceptor(&one->acceptor);
    } else {
        px_proposer_step(&one->proposer, event, &out);
        carry_out(step, actor, one, &out);
    }
}

/* What was being written is on the disk. */
static void write_disk(explore_step *step, uint32_t actor, place *one)
{
    px_record before = one->disk;

    if (is_acceptor(actor)) {
        one->disk = one->written;
        note(one->ever, one->disk.accepted);
        if (!blind && (before.promised > one->disk.promised || before.accepted.ballot > one->disk.accepted.ballot)) {
            explore_broken(step, "durable: what is on the disk goes down");
        }
    } else {
        one->used_disk = one->used;
    }
}

static void restart(uint32_t actor, place *one)
{
    memset(&one->acceptor, 0, sizeof one->acceptor);
    memset(&one->proposer, 0, sizeof one->proposer);
    if (is_acceptor(actor)) {
        px_acceptor_init(&one->acceptor, &one->disk);
    } else {
        px_proposer_init(&one->proposer, actor - ACCEPTORS, ACCEPTORS, one->used_disk);
    }
}

static bool urgent(uint32_t actor, const void *local)
{
    const place *one = local;
    (void)actor;
    return fused && one->writing;
}

static bool choose(explore_step *step, uint32_t actor, uint32_t which, void *local)
{
    place *one = local;
    bool was_writing = one->writing;

    if (which == BEGIN) {
        if (is_acceptor(actor) || one->begun == tries[actor - ACCEPTORS] || was_writing) {
            return false;
        }
        px_event event = {.kind = PX_BEGIN, .value = value_of(actor - ACCEPTORS, one->begun++)};
        feed(step, actor, one, &event);
        return true;
    }
    if (!was_writing && which != CRASH_UNWRITTEN) {
        return false;
    }
    if (which != CRASH_UNWRITTEN) {
        write_disk(step, actor, one);
    }
    one->writing = false;
    memset(&one->written, 0, sizeof one->written);
    one->used = PX_NONE;
    if (which == WRITTEN) {
        feed(step, actor, one, &(px_event){.kind = PX_PERSISTED});
    } else {
        restart(actor, one);
    }
    return true;
}

static bool deliver(explore_step *step, uint32_t actor, uint32_t from, const void *message, void *local)
{
    px_event event = {.kind = PX_MESSAGE, .from = !is_acceptor(from) ? from - ACCEPTORS : from};

    memcpy(&event.message, message, sizeof event.message);
    feed(step, actor, local, &event);
    return true;
}

/* --- all of them together ----------------------------------------- */

static bool was_wished(const place *const *all, px_value value)
{
    for (uint32_t p = 0; p < PROPOSERS; p++) {
        for (uint32_t i = 0; i < all[ACCEPTORS + p]->begun; i++) {
            if (value_of(p, i) == value) {
                return true;
            }
        }
    }
    return false;
}

static bool is_chosen(const place *const *all, px_proposal proposal)
{
    uint32_t count = 0;

    for (uint32_t a = 0; a < ACCEPTORS; a++) {
        count += has_noted(all[a], proposal);
    }
    return count >= ACCEPTORS / 2 + 1;
}

static const char *check_against(const place *const *all, px_proposal first)
{
    for (uint32_t a = 0; a < ACCEPTORS; a++) {
        for (uint32_t i = 0; i < BALLOTS_MAX && all[a]->ever[i].ballot != PX_NONE; i++) {
            if (all[a]->ever[i].value != first.value && is_chosen(all, all[a]->ever[i])) {
                return "agreement: two values are chosen";
            }
        }
    }
    for (uint32_t p = ACCEPTORS; p < ACTORS && !blind; p++) {
        for (uint32_t i = 0; i < BALLOTS_MAX; i++) {
            if (all[p]->ever[i].ballot > first.ballot && all[p]->ever[i].value != first.value) {
                return "issued: another value than the chosen one, at a higher ballot";
            }
        }
    }
    return was_wished(all, first.value) ? NULL : "validity: a value is chosen that nobody proposed";
}

/* As if all that was ever accepted were told: what was told is among it. */
static const char *check_learners(const place *const *all)
{
    learner_told told;

    for (uint32_t a = 0; a < ACCEPTORS; a++) {
        memcpy(told.by[a], all[a]->ever, sizeof told.by[a]);
    }
    const learner_learnable *learnable = learner_all(&told);
    for (uint32_t i = 0; i < learnable->count; i++) {
        if (!is_chosen(all, learnable->proposals[i])) {
            return "learner: learns what is not chosen";
        }
    }
    return NULL;
}

static const char *check(const void *const *locals)
{
    const place *all[ACTORS];
    const char *broken = NULL;

    for (uint32_t i = 0; i < ACTORS; i++) {
        all[i] = locals[i];
    }
    for (uint32_t a = 0; a < ACCEPTORS - 1 && broken == NULL; a++) { /* two of three: one of the first two is there */
        for (uint32_t i = 0; i < BALLOTS_MAX && all[a]->ever[i].ballot != PX_NONE && broken == NULL; i++) {
            if (is_chosen(all, all[a]->ever[i])) {
                broken = check_against(all, all[a]->ever[i]);
            }
        }
    }
    return broken != NULL ? broken : check_learners(all);
}

/* --- printing ----------------------------------------- */

static void print_actor(FILE *file, uint32_t actor)
{
    fprintf(file, "%s %u", is_acceptor(actor) ? "acceptor" : "proposer", actor % ACCEPTORS);
}

static void print_choice(FILE *file, uint32_t actor, uint32_t which, const void *local)
{
    static const char *const text[CHOICES] = {"its write is durable",
                                              "crashes; what it was writing, if anything, is lost",
                                              "crashes; what it was writing is on its disk", "begins"};
    const place *one = local;

    print_actor(file, actor);
    fprintf(file, ": %s", text[which]);
    if (which == BEGIN) {
        fprintf(file, ", wishing for %u", (unsigned)value_of(actor - ACCEPTORS, one->begun));
    }
    fprintf(file, "\n");
}

static void print_proposal(FILE *file, px_proposal one)
{
    if (one.ballot == PX_NONE) {
        fprintf(file, ", nothing");
    } else {
        fprintf(file, ", %u at %u.%u", (unsigned)one.value, (unsigned)px_round(one.ballot), px_owner(one.ballot));
    }
}

static void print_message(FILE *file, uint32_t from, uint32_t to, const void *data)
{
    static const char *const text[] = {"", "prepare", "promise", "accept", "accepted", "refused"};
    px_message message;

    memcpy(&message, data, sizeof message);
    print_actor(file, to);
    fprintf(file, " <- ");
    print_actor(file, from);
    fprintf(file, ": %s(%u.%u", text[message.kind], (unsigned)px_round(message.ballot), px_owner(message.ballot));
    if (message.kind != PX_PREPARE && message.kind != PX_REFUSED) {
        print_proposal(file, message.proposal);
    }
    fprintf(file, ")\n");
}

/* --- main ----------------------------------------- */

static const explore_model model = {
    .actors = ACTORS,
    .choices = CHOICES,
    .local_bytes = sizeof(place),
    .message_bytes = sizeof(px_message),
    .sent_max = 256,
    .start = start,
    .choose = choose,
    .urgent = urgent,
    .deliver = deliver,
    .check = check,
    .print_choice = print_choice,
    .print_message = print_message,
};

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char usage[] = "usage: explore_single [--tries N,N] [--fused] [--no-refusals] [--blind] [--states MAX]\n"
                            "  --tries N,N     how often proposer 0 and 1 begin (default 1,1), 3 at most\n"
                            "  --fused         writes are done, or a crash comes, before anything else\n"
                            "  --no-refusals   they are all lost\n"
                            "  --blind         look at the values only, not at how they come about\n";

static bool read_options(int count, char **options, explore_bounds *bounds)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? options[i + 1] : "";

        if (strcmp(options[i], "--no-refusals") == 0) {
            has_refusals = false;
        } else if (strcmp(options[i], "--blind") == 0) {
            blind = true;
        } else if (strcmp(options[i], "--fused") == 0) {
            fused = true;
        } else if (strcmp(options[i], "--states") == 0) {
            bounds->states = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(options[i], "--tries") != 0 ||
                   sscanf(options[++i < count ? i : 0], "%u,%u", &tries[0], &tries[1]) != 2 || tries[0] > TRIES_MAX ||
                   tries[1] > TRIES_MAX) {
            return false;
        }
    }
    return true;
}

int main(int count, char **options)
{
    explore_bounds bounds = {0};
    explore_result result;
    double begun = seconds();

    if (!read_options(count, options, &bounds)) {
        fputs(usage, stderr);
        return 2;
    }
    explore(&model, &bounds, stdout, &result);
    printf("3 acceptors, 2 proposers that begin %u and %u times, any learners; messages lost, repeated and reordered "
           "without bound; crashes without bound%s%s\n",
           tries[0], tries[1], fused ? "; nothing else during a write" : "",
           has_refusals ? "" : "; refusals always lost");
    printf("states %llu, transitions %llu (%llu change nothing), local states %llu, messages %llu, depth %u\n",
           (unsigned long long)result.states, (unsigned long long)result.transitions, (unsigned long long)result.idle,
           (unsigned long long)result.locals, (unsigned long long)result.messages, result.depth);
    printf("exhausted %s, %.1f s, %.0f MB\n", result.exhausted ? "yes" : "no", seconds() - begun,
           (double)result.bytes / 1e6);
    if (result.broken != NULL) {
        printf("FAILED depth %u : %s\n", result.depth, result.broken);
    }
    return result.exhausted ? 0 : result.broken != NULL ? 1 : 3;
}
