/* Every learner that can be: breadth first over px_learner. Words: explore_learner.h. */
#include "explore_learner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEARNERS_MAX = 20000, KNOWN_MAX = 8192 };

typedef struct known {
    learner_told told;
    learner_learnable learnable;
    bool used;
} known;

static px_learner learners[LEARNERS_MAX]; /* the different ones that were met */
static uint32_t learner_count;
static known answers[KNOWN_MAX];
static uint32_t answer_count;

static void give_up(const char *what)
{
    fprintf(stderr, "explore_learner: %s\n", what);
    exit(2);
}

/* px_learner has no padding: equal ones are equal bytes. */
static void meet(const px_learner *one)
{
    for (uint32_t i = 0; i < learner_count; i++) {
        if (memcmp(&learners[i], one, sizeof *one) == 0) {
            return;
        }
    }
    if (learner_count == LEARNERS_MAX) {
        give_up("too many learners");
    }
    learners[learner_count++] = *one;
}

static void note(learner_learnable *learnable, px_proposal chosen)
{
    for (uint32_t i = 0; i < learnable->count; i++) {
        if (memcmp(&learnable->proposals[i], &chosen, sizeof chosen) == 0) {
            return;
        }
    }
    if (learnable->count == LEARNER_LEARNABLE_MAX) {
        give_up("too many proposals");
    }
    learnable->proposals[learnable->count++] = chosen;
}

static void tell_all(uint32_t number, const learner_told *told)
{
    for (uint32_t from = 0; from < LEARNER_ACCEPTORS; from++) {
        for (uint32_t i = 0; i < LEARNER_TOLD_MAX && told->by[from][i].ballot != PX_NONE; i++) {
            px_proposal proposal = told->by[from][i];
            px_event event = {.kind = PX_MESSAGE, .from = from};
            px_learner one;
            px_output out;

            event.message = (px_message){.kind = PX_ACCEPTED, .ballot = proposal.ballot, .proposal = proposal};
            memcpy(&one, &learners[number], sizeof one);
            px_learner_step(&one, &event, &out);
            meet(&one);
        }
    }
}

static void find_all(const learner_told *told, learner_learnable *learnable)
{
    px_learner first;

    memset(&first, 0, sizeof first);
    px_learner_init(&first, LEARNER_ACCEPTORS);
    learner_count = 0;
    meet(&first);
    for (uint32_t i = 0; i < learner_count; i++) {
        tell_all(i, told);
        if (learners[i].chosen.ballot != PX_NONE) {
            note(learnable, learners[i].chosen);
        }
    }
}

static uint32_t hash(const learner_told *told)
{
    uint64_t h = 0;

    for (uint32_t from = 0; from < LEARNER_ACCEPTORS; from++) {
        for (uint32_t i = 0; i < LEARNER_TOLD_MAX && told->by[from][i].ballot != PX_NONE; i++) {
            h = (h ^ told->by[from][i].ballot ^ told->by[from][i].value << 40 ^ from << 8) * 0x9e3779b97f4a7c15u;
            h ^= h >> 32;
        }
    }
    return (uint32_t)h % KNOWN_MAX;
}

const learner_learnable *learner_all(const learner_told *told)
{
    uint32_t at = hash(told);

    for (; answers[at].used; at = (at + 1) % KNOWN_MAX) {
        if (memcmp(&answers[at].told, told, sizeof *told) == 0) {
            return &answers[at].learnable;
        }
    }
    if (++answer_count > KNOWN_MAX * 3 / 4) {
        give_up("too many sets of messages");
    }
    answers[at].used = true;
    answers[at].told = *told;
    find_all(told, &answers[at].learnable);
    return &answers[at].learnable;
}
