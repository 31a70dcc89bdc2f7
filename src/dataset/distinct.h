/* About how many different values: HyperLogLog.
 *
 * As in "HyperLogLog in Practice" (Heule, Nunkesser, Hall 2013): 64-bit hashes; few values as a sorted list at
 * precision 25, counted linearly and nearly without error; many in 2^14 registers, one byte each. The registers are read
 * by the estimator of "New cardinality estimation algorithms for HyperLogLog sketches" (Ertl 2017, algorithm 6), which
 * needs no table of corrections. Standard error 1.04 / 2^7 = 0.81 %.
 *
 * What it holds depends on the set of values alone, so it is the same in any order and division. */
#ifndef CAIRN_DATASET_DISTINCT_H
#define CAIRN_DATASET_DISTINCT_H

#include "base/pack.h"

#include <cairn/status.h>

#define CAIRN_DISTINCT_LIST_MAX  2048
#define CAIRN_DISTINCT_REGISTERS 16384

typedef struct cairn_distinct {
    uint32_t *list; /* [count] of index << 6 | rank, sorted; NULL when there are registers */
    uint32_t count, room;
    uint8_t *registers;
} cairn_distinct; /* zeros: the empty set */

/* hash: of the value, all 64 bits alike. CAIRN_E_NOMEM only. */
CAIRN_MUST_CHECK cairn_status cairn_distinct_add(cairn_distinct *set, uint64_t hash);
CAIRN_MUST_CHECK cairn_status cairn_distinct_merge(cairn_distinct *set, const cairn_distinct *other);
void cairn_distinct_clear(cairn_distinct *set);

uint64_t cairn_distinct_estimate(const cairn_distinct *set);

/* Equal sets pack to equal bytes. unpack: CAIRN_E_CORRUPT, CAIRN_E_NOMEM; *set is empty then. */
void cairn_distinct_pack(const cairn_distinct *set, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_distinct_unpack(cairn_distinct *set, cairn_unpack *unpack);

#endif
