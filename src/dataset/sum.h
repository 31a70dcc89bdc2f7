/* Sums that do not depend on the order or on how the values were divided among processes.
 *
 * The claim: the sum is the exact sum of the numbers (number.h: fixed numbers as written, wide ones as their nearest
 * double), rounded once, to nearest even, when it is asked for; the same holds for the mean. Adding and merging is
 * integer arithmetic, so every order and division gives the same bits.
 *
 * Fixed numbers go to a 128-bit count of billionths (2^64 numbers of 2^63 fit). Wide ones go to a superaccumulator,
 * made when the first comes: a fixed-point number of 32-bit digits that covers every double, with carries put off
 * (Kulisch; Neal 2015). A sum that is a sum of fixed numbers only is printed exactly, as a decimal; any other as the
 * shortest text of its nearest double ("inf" when it is beyond a double, which the exact sum itself never is). */
#ifndef CAIRN_DATASET_SUM_H
#define CAIRN_DATASET_SUM_H

#include "base/pack.h"
#include "dataset/number.h"

#include <cairn/status.h>

/* Digit i counts 2^(32 i - 1152): from below the least subnormal (2^-1074) to 2^1088 with room for 2^63 numbers of
 * the largest. */
#define CAIRN_WIDE_DIGITS 72

typedef struct cairn_wide_sum {
    int64_t digit[CAIRN_WIDE_DIGITS];
    uint32_t pending; /* additions since the carries were last carried */
} cairn_wide_sum;

typedef struct cairn_sum {
    cairn_i128 fixed;
    cairn_wide_sum *wide; /* NULL: no wide number came */
} cairn_sum;

static inline void cairn_sum_add_fixed(cairn_sum *sum, int64_t fixed)
{
    sum->fixed += fixed;
}
/* CAIRN_E_NOMEM only. */
CAIRN_MUST_CHECK cairn_status cairn_sum_add(cairn_sum *sum, cairn_number number);
CAIRN_MUST_CHECK cairn_status cairn_sum_merge(cairn_sum *sum, const cairn_sum *other);
void cairn_sum_clear(cairn_sum *sum); /* frees; the sum is 0 again */

/* The exact sum / divisor, rounded to the nearest double; divisor > 0. */
double cairn_sum_divide(const cairn_sum *sum, uint64_t divisor);
/* |sum| * 10^9, exactly, as digits of which the lowest counts 2^CAIRN_SUM_UNIT; for big.h. */
#define CAIRN_SUM_DIGITS 80
#define CAIRN_SUM_UNIT   (-1280)
void cairn_sum_magnitude(const cairn_sum *sum, uint32_t digit[CAIRN_SUM_DIGITS], bool *negative);
void cairn_sum_print(const cairn_sum *sum, char text[CAIRN_NUMBER_TEXT]);

/* The same sum packs to the same bytes. unpack: CAIRN_E_CORRUPT or CAIRN_E_NOMEM; *sum is 0 then. */
void cairn_sum_pack(const cairn_sum *sum, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_sum_unpack(cairn_sum *sum, cairn_unpack *unpack);

#endif
