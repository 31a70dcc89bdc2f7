/* One process of Multi-Paxos as an actor of the exploration: the production core, its disk, what it may still do. */
#ifndef CAIRN_TESTS_SIM_EXPLORE_MULTI_H
#define CAIRN_TESTS_SIM_EXPLORE_MULTI_H

#include "explore.h"
#include "paxos/multi.h"

#include <string.h>

enum { EM_COUNT = 3, EM_WINDOW = 4, EM_VALUE_MAX = 24, EM_SLOTS = 8, EM_LOG = 16, EM_VOTES = 4 };

typedef enum em_choice {
    EM_WRITTEN,       /* all that was recorded is durable                                 */
    EM_CRASH_LOST,    /* crash and restart: what was not known to be durable is lost      */
    EM_CRASH_FIRST,   /*   the first record of it was written, nothing else               */
    EM_CRASH_WRITTEN, /*   all of it was                                                  */
    EM_LOSE,          /*   all that was ever written is lost: it has a new, empty disk     */
    EM_STAND,         /* stands for election; a majority grants the pre-vote at once       */
    EM_HEARTBEAT,
    EM_PROPOSE,
    EM_CHOICES
} em_choice;

/* How often each process may do what is bounded. */
typedef struct em_bounds {
    uint32_t ballots[EM_COUNT], proposals[EM_COUNT], heartbeats[EM_COUNT], crashes[EM_COUNT], losses[EM_COUNT];
    uint32_t lost; /* kinds of messages (bits) that are all lost */
    bool blind;    /* look at what is chosen only */
    bool fused;    /* records are durable, or a crash comes, before anything else */
} em_bounds;

/* A value without pointers; what is not used of data is zero. */
typedef struct em_value {
    uint32_t type, bytes;
    unsigned char data[EM_VALUE_MAX];
} em_value;

typedef struct em_stored {
    px_ballot ballot;
    uint64_t slot, chosen;
    uint32_t kind, generation;
    em_value value;
} em_stored;

typedef struct em_vote {
    uint64_t slot;
    px_ballot ballot;
    em_value value;
} em_vote;

typedef struct em_message {
    uint32_t kind, yes, more, generation, vote_count;
    uint32_t generations[EM_COUNT];
    px_ballot ballot, promised;
    uint64_t slot, to, chosen, sequence;
    em_vote votes[EM_VOTES];
} em_message;

typedef struct em_member {
    em_stored log[EM_LOG];
    uint32_t log_count, synced;
    uint32_t ballots, proposals, heartbeats, crashes, losses; /* used up */
    /* History, for the properties. */
    px_ballot own;            /* its last ballot */
    px_ballot promised;       /* the highest ballot that it has promised to anybody */
    em_value known[EM_SLOTS]; /* what it has known to be chosen, by slot; type 0: nothing */
    em_stored past[EM_LOG];   /* what was on the disks that it has lost */
    uint32_t past_count;
    max_align_t core[]; /* mp_bytes; its pointers lead into the place where it runs */
} em_member;

extern em_bounds em_limits;

size_t em_bytes(void);
void em_start(uint32_t actor, void *local);
bool em_choose(explore_step *step, uint32_t actor, uint32_t choice, void *local);
bool em_deliver(explore_step *step, uint32_t actor, uint32_t from, const void *message, void *local);
bool em_urgent(uint32_t actor, const void *local);

static inline bool em_same(em_value a, em_value b)
{
    return a.type == b.type && a.bytes == b.bytes && memcmp(a.data, b.data, sizeof a.data) == 0;
}

#endif
