/* Sums of squares, and the variance that they give with a sum (sum.h): exact, so the same bits in any order and
 * division, as long as the numbers are fixed ones or between 1e-145 and 1e154 in size. Squares of larger ones make the
 * variance infinite; those of smaller ones are cut off at the smallest double. */
#ifndef CAIRN_DATASET_SQUARES_H
#define CAIRN_DATASET_SQUARES_H

#include "dataset/sum.h"

typedef struct cairn_squares {
    cairn_u128 low; /* of fixed numbers, in 10^-18: low + high * 2^128 */
    uint64_t high;
    cairn_sum wide;
    bool beyond;
} cairn_squares; /* zeros: the sum of nothing */

/* CAIRN_E_NOMEM only. */
CAIRN_MUST_CHECK cairn_status cairn_squares_add(cairn_squares *squares, cairn_number number);
CAIRN_MUST_CHECK cairn_status cairn_squares_merge(cairn_squares *squares, const cairn_squares *other);
void cairn_squares_clear(cairn_squares *squares);

/* The variance of a sample of `count` > 1 numbers with these sums, rounded once: (squares - sum^2 / count) / (count - 1). */
double cairn_variance(const cairn_squares *squares, const cairn_sum *sum, uint64_t count);

/* unpack: CAIRN_E_CORRUPT, CAIRN_E_NOMEM; *squares is 0 then. */
void cairn_squares_pack(const cairn_squares *squares, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_squares_unpack(cairn_squares *squares, cairn_unpack *unpack);

#endif
