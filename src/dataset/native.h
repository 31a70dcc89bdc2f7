/* Columns of numbers as they lie in a file, folded without becoming text in between. The result is what the text of the same
 * values would give (hdf5_text.h prints a double as the shortest text that reads back as it; number.h says which of these are
 * fixed numbers, and which are wide).
 *
 * A double x below 10^6 is the fixed number of v billionths if v / 10^9, rounded once, is x, and wide otherwise: such a v has
 * at most 15 digits, and no two texts of at most 15 digits read as the same double, so that of v is the shortest of x. 1024
 * values at a time are turned into billionths; that they are these is checked by the exact rest x * 10^9 - v. */
#ifndef CAIRN_DATASET_NATIVE_H
#define CAIRN_DATASET_NATIVE_H

#include "dataset/groups.h"

/* Where values go, and where they came from. */
typedef struct cairn_native {
    cairn_groups *groups;
    cairn_group *group;
    const cairn_query *query;
    uint32_t value; /* column of the query: numbers, without sketches */
    uint32_t block;
    uint64_t row; /* of the first value */
} cairn_native;

/* Add `count` values; NaN is missing, what is infinite is noted as bad. CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_native_f64(const cairn_native *to, const double *values, size_t count);
CAIRN_MUST_CHECK cairn_status cairn_native_i64(const cairn_native *to, const int64_t *values, size_t count);
/* One, wherever it lies. */
CAIRN_MUST_CHECK cairn_status cairn_native_one_f64(const cairn_native *to, const void *value, uint64_t row);
CAIRN_MUST_CHECK cairn_status cairn_native_one_i64(const cairn_native *to, const void *value);

#endif
