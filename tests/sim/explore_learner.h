/* What a learner could learn from messages that are in the network: from any of them, in any order, any number of
 * times. A learner tells nobody anything, so this can be asked in every state, in place of a learner in it. */
#ifndef CAIRN_TESTS_SIM_EXPLORE_LEARNER_H
#define CAIRN_TESTS_SIM_EXPLORE_LEARNER_H

#include "paxos/single.h"

enum { LEARNER_ACCEPTORS = 3, LEARNER_TOLD_MAX = 6, LEARNER_LEARNABLE_MAX = 8 };

/* ACCEPTED messages by their sender, lowest ballot first, then proposals without a ballot. */
typedef struct learner_told {
    px_proposal by[LEARNER_ACCEPTORS][LEARNER_TOLD_MAX];
} learner_told;

typedef struct learner_learnable {
    px_proposal proposals[LEARNER_LEARNABLE_MAX];
    uint32_t count;
} learner_learnable;

/* Remembers the answers. Valid until the next call. */
const learner_learnable *learner_all(const learner_told *told);

#endif
