/* About which value so many of all are not above: counts of buckets.
 *
 * A bucket holds the doubles of one sign that agree in their exponent and the first 9 bits behind it: a histogram with
 * a bounded relative error whose counts just add up, as in "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
 * Relative-Error Guarantees" (Masson, Rim, Lee 2019) with the mapping that takes the bits as they are. What is told of
 * a bucket is the number in it that is shortest to write, which is off by less than 1/512 (0.2 %) of itself, and exact
 * for whole numbers up to 512. (Below 2^-1022, where doubles lose digits, it loses them too.) No buckets are ever joined, so it is the same in any order and division; 16 bytes for
 * each bucket that is met, of which a column spanning a factor of 1000 has 5000. */
#ifndef CAIRN_DATASET_QUANTILE_H
#define CAIRN_DATASET_QUANTILE_H

#include "base/pack.h"

#include <cairn/status.h>

typedef struct cairn_bucket {
    int32_t index; /* rises with the values in it; 0: zero */
    uint32_t used;
    uint64_t count;
} cairn_bucket;

typedef struct cairn_quantiles {
    cairn_bucket *table; /* [size]: a power of two, at most half full */
    uint32_t size, used;
    uint64_t count;
} cairn_quantiles; /* zeros: of nothing */

/* value: finite. CAIRN_E_NOMEM only. */
CAIRN_MUST_CHECK cairn_status cairn_quantiles_add(cairn_quantiles *quantiles, double value);
CAIRN_MUST_CHECK cairn_status cairn_quantiles_merge(cairn_quantiles *quantiles, const cairn_quantiles *other);
void cairn_quantiles_clear(cairn_quantiles *quantiles);

/* The value that a share (0..1) of all is not above: that of rank ceil(share * count), at least 1, as far as the
 * buckets tell. Of nothing: 0. */
double cairn_quantiles_at(const cairn_quantiles *quantiles, double share);

/* The same counts pack to the same bytes. unpack: CAIRN_E_CORRUPT, CAIRN_E_NOMEM; *quantiles is empty then. */
void cairn_quantiles_pack(const cairn_quantiles *quantiles, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_quantiles_unpack(cairn_quantiles *quantiles, cairn_unpack *unpack);

#endif
