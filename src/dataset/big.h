/* Long magnitudes, for what is computed exactly and rounded once: digits of 32 bits, the lowest first. */
#ifndef CAIRN_DATASET_BIG_H
#define CAIRN_DATASET_BIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cairn_big {
    uint32_t *digit; /* [count], borrowed */
    size_t count;
    int64_t unit; /* digit[0] counts 2^unit */
    bool negative;
    bool sticky; /* something below the lowest digit was cut off */
} cairn_big;

/* By a divisor > 0; what is left over makes it sticky. */
void cairn_big_divide(cairn_big *number, uint64_t divisor);
/* The nearest double, ties to even; subnormals are rounded once as well. Beyond the largest: infinite. */
double cairn_big_round(const cairn_big *number);

#endif
