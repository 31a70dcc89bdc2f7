/* Goal: the Multi-Paxos core of the jobs keeps its promises in every state that three processes can reach, within
 * bounds: so many ballots, proposals, heartbeats, crashes and lost disks of each. An acceptor with a new disk asks to
 * be admitted when it hears a heartbeat, so that generations are among it. Reads and leases are not.
 * Method: explore.h, with the process of explore_multi.c.
 *
 * Properties:
 *   agreement  in each slot one value is chosen (a majority has a vote for it on disk at one ballot)
 *   learner    what a process knows to be chosen is chosen; it knows all slots below too (prefix)
 *   validity   a chosen value is a no-op or was proposed by somebody
 *   promise    nobody accepts below what it has promised, in this life or an earlier one
 *   ballot     a ballot has one value a slot
 *   durable    nothing is said that rests on what a crash can take away
 *   restore    every log that a crash can leave can be restored
 *   invariant  mp_check
 * The first three are all that is looked at with --blind. */
#include "explore_multi.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- all of them together ----------------------------------------- */

/* All that was ever durable, on the disk and on those that were lost. NULL: no more. */
static const em_stored *ever(const em_member *one, uint32_t i)
{
    if (i < one->synced) {
        return &one->log[i];
    }
    return i < one->synced + one->past_count ? &one->past[i - one->synced] : NULL;
}

static bool has_vote(const em_member *one, const em_stored *vote)
{
    const em_stored *r;

    for (uint32_t i = 0; (r = ever(one, i)) != NULL; i++) {
        if (r->kind == MP_RECORD_VOTE && r->slot == vote->slot && r->ballot == vote->ballot &&
            em_same(r->value, vote->value)) {
            return true;
        }
    }
    return false;
}

static bool is_valid(const em_member *const *all, em_value value)
{
    uint64_t number, process;
    mp_admit admit;

    if (value.type == MP_ADMIT) {
        memcpy(&admit, value.data, sizeof admit);
        return admit.process < EM_COUNT && all[admit.process]->losses > 0;
    }
    memcpy(&number, value.data, sizeof number);
    process = number / 10 - 1;
    return (value.type == MP_NOOP && value.bytes == 0) ||
           (value.type == MP_COMMANDS && number >= 10 && process < EM_COUNT && number % 10 < all[process]->proposals);
}

static const char *find_chosen(const em_member *const *all, em_value *chosen)
{
    for (uint32_t p = 0; p < EM_COUNT - 1; p++) { /* a majority has one of the first two */
        const em_stored *r;

        for (uint32_t i = 0; (r = ever(all[p], i)) != NULL; i++) {
            if (r->kind != MP_RECORD_VOTE || r->ballot == PX_CHOSEN || r->slot >= EM_SLOTS ||
                !((p == 0 && has_vote(all[1], r)) || has_vote(all[2], r))) {
                continue;
            }
            if (chosen[r->slot].type != 0 && !em_same(chosen[r->slot], r->value)) {
                return "agreement: two values are chosen for a slot";
            }
            chosen[r->slot] = r->value;
            if (!is_valid(all, r->value)) {
                return "validity: a value is chosen that nobody proposed";
            }
        }
    }
    return NULL;
}

static const char *check(const void *const *locals)
{
    const em_member *all[EM_COUNT];
    em_value chosen[EM_SLOTS] = {{0}};

    for (uint32_t p = 0; p < EM_COUNT; p++) {
        all[p] = locals[p];
    }
    const char *broken = find_chosen(all, chosen);
    for (uint32_t p = 0; p < EM_COUNT && broken == NULL; p++) {
        for (uint32_t slot = 1; slot < EM_SLOTS && broken == NULL; slot++) {
            if (all[p]->known[slot].type != 0 && !em_same(all[p]->known[slot], chosen[slot])) {
                broken = "learner: knows what is not chosen";
            }
        }
    }
    return broken;
}

/* --- printing ----------------------------------------- */

static void print_choice(FILE *file, uint32_t actor, uint32_t choice, const void *local)
{
    static const char *const text[EM_CHOICES] = {"its records are durable",
                                                 "crashes; what was not durable is lost",
                                                 "crashes; one record more is durable",
                                                 "crashes; all its records are durable",
                                                 "crashes; its disk is lost, and it has a new one",
                                                 "stands for election",
                                                 "sends a heartbeat",
                                                 "proposes"};
    (void)local;
    fprintf(file, "%u: %s\n", actor, text[choice]);
}

static void print_ballot(FILE *file, const char *name, px_ballot ballot)
{
    if (ballot == PX_CHOSEN) {
        fprintf(file, " %s chosen", name);
    } else if (ballot != PX_NONE) {
        fprintf(file, " %s %u.%u", name, (unsigned)px_round(ballot), px_owner(ballot));
    }
}

static const char *const kinds[] = {"",         "prevote",   "prevoted", "prepare", "promise", "refused", "accept",
                                    "accepted", "heartbeat", "echo",     "fetch",   "learn",   "join"};

static void print_message(FILE *file, uint32_t from, uint32_t to, const void *data)
{
    static const char *const types[] = {"nothing", "no-op", "command", "admission"};
    em_message m;

    memcpy(&m, data, sizeof m);
    fprintf(file, "%u <- %u: %s", to, from, kinds[m.kind]);
    print_ballot(file, "ballot", m.ballot);
    print_ballot(file, "promised", m.promised);
    fprintf(file, " slot %u to %u chosen %u%s%s", (unsigned)m.slot, (unsigned)m.to, (unsigned)m.chosen,
            m.yes ? " yes" : "", m.more ? " more" : "");
    for (uint32_t i = 0; i < m.vote_count; i++) {
        fprintf(file, " [slot %u %s %u", (unsigned)m.votes[i].slot, types[m.votes[i].value.type & 3],
                m.votes[i].value.data[0]);
        print_ballot(file, "at", m.votes[i].ballot);
        fprintf(file, "]");
    }
    fprintf(file, "\n");
}

/* --- main ----------------------------------------- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char usage[] =
    "usage: explore_multi [--ballots N,N,N] [--proposals N,N,N] [--heartbeats N,N,N] [--crashes N,N,N]\n"
    "                     [--losses N,N,N] [--fused] [--reign] [--lose KIND]... [--blind] [--states MAX]\n"
    "  of process 0, 1 and 2: how often each, at most (default: ballots 1,1,0, the others 0)\n"
    "  --reign         begin when 0 has been elected, and its first no-op is chosen\n"
    "  --lose KIND     all messages of this kind, such as refused or fetch, are lost\n"
    "  --blind         look at agreement, learner and validity only\n"
    "  --fused         records are durable, or a crash comes, before anything else\n";

static bool lose(const char *name)
{
    for (uint32_t k = 1; k < sizeof kinds / sizeof kinds[0]; k++) {
        if (strcmp(name, kinds[k]) == 0) {
            em_limits.lost |= 1u << k;
            return true;
        }
    }
    return false;
}

static bool read_options(int count, char **options, explore_bounds *bounds, bool *reigns)
{
    struct {
        const char *name;
        uint32_t *at;
    } lists[] = {{"--ballots", em_limits.ballots},
                 {"--proposals", em_limits.proposals},
                 {"--heartbeats", em_limits.heartbeats},
                 {"--crashes", em_limits.crashes},
                 {"--losses", em_limits.losses}};

    for (int i = 1; i < count; i++) {
        bool found = strcmp(options[i], "--fused") == 0;

        em_limits.fused = em_limits.fused || found;
        if (strcmp(options[i], "--reign") == 0) {
            *reigns = found = true;
        }
        if (!found && i + 1 < count && strcmp(options[i], "--states") == 0) {
            bounds->states = strtoull(options[++i], NULL, 10);
            continue;
        }
        if (strcmp(options[i], "--blind") == 0) {
            em_limits.blind = found = true;
        }
        if (!found && i + 1 < count && strcmp(options[i], "--lose") == 0) {
            found = lose(options[++i]);
        }
        for (size_t k = 0; k < sizeof lists / sizeof lists[0] && !found && i + 1 < count; k++) {
            uint32_t *at = lists[k].at;

            if (strcmp(options[i], lists[k].name) == 0) {
                found = sscanf(options[++i], "%u,%u,%u", &at[0], &at[1], &at[2]) == 3;
            }
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void print_list(const char *name, const uint32_t *list)
{
    printf("%s %u,%u,%u; ", name, list[0], list[1], list[2]);
}

int main(int count, char **options)
{
    explore_model model = {.actors = EM_COUNT,
                           .choices = EM_CHOICES,
                           .local_bytes = em_bytes(),
                           .message_bytes = sizeof(em_message),
                           .sent_max = 2048,
                           .start = em_start,
                           .choose = em_choose,
                           .deliver = em_deliver,
                           .urgent = em_urgent,
                           .first = EM_STAND,
                           .always = EM_WRITTEN,
                           .check = check,
                           .print_choice = print_choice,
                           .print_message = print_message};
    explore_bounds bounds = {0};
    explore_result result;
    double begun = seconds();

    em_limits.ballots[0] = em_limits.ballots[1] = 1;
    if (!read_options(count, options, &bounds, &model.settles)) {
        fputs(usage, stderr);
        return 2;
    }
    explore(&model, &bounds, stdout, &result);
    printf("3 processes%s, at most: ", model.settles ? ", 0 has been elected" : "");
    print_list("ballots", em_limits.ballots);
    print_list("proposals", em_limits.proposals);
    print_list("heartbeats", em_limits.heartbeats);
    print_list("crashes", em_limits.crashes);
    print_list("disks lost", em_limits.losses);
    for (uint32_t k = 1; k < sizeof kinds / sizeof kinds[0]; k++) {
        if ((em_limits.lost >> k & 1) != 0) {
            printf("every %s lost; ", kinds[k]);
        }
    }
    printf("messages lost, repeated and reordered without bound%s\n",
           em_limits.fused ? "; nothing else during a write" : "");
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
