/* Printing the groups.
 *
 * Groups are sorted by their columns from left to right: by value where every key of that column is a number, by
 * bytes elsewhere (and between numbers of equal value); before that by what the query orders by, missing values last.
 * Numbers print the same wherever and in whatever order they
 * were read: counts as integers; a sum, min or max of fixed numbers exactly, without trailing zeros; means and what
 * holds wide numbers as the shortest text that reads back as the same double, the mean being the exact one rounded
 * once (the table rounds means, variances and deviations to 6 decimals). Without any number sum, mean, min, max and
 * quantiles are missing, with less than two a variance and a deviation: nothing in CSV, null in JSON, - in the table. */
#ifndef CAIRN_DATASET_ANSWER_H
#define CAIRN_DATASET_ANSWER_H

#include "dataset/groups.h"

#include <stdio.h>

typedef enum cairn_format {
    CAIRN_FORMAT_TABLE,
    CAIRN_FORMAT_CSV,
    CAIRN_FORMAT_JSON,
    CAIRN_FORMAT_HDF5 /* cairn_answer_write only */
} cairn_format;

/* Write header and groups to out. Group keys are strings in JSON; bytes that are not UTF-8 become U+FFFD there. In
 * the table control bytes become '?'. Without group columns there is one row, also when nothing was read. CAIRN_E_IO
 * (errno says why), CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_answer_print(FILE *out, cairn_format format, const cairn_groups *groups,
                                                 const cairn_query *query, const cairn_columns *columns);

/* Write them as a shard (shard.h) to path: counts and columns of whole numbers as i64; other numbers as f64, the nearest
 * ones, NaN where there is none; all else as text. Whole or not there. CAIRN_E_INVALID (a name that no dataset can have),
 * CAIRN_E_FULL, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_answer_write(const char *path, const cairn_groups *groups, const cairn_query *query,
                                                 const cairn_columns *columns, cairn_error *error);

#endif
