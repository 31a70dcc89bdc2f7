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

#include "dataset/spill.h"

#include <stdio.h>

typedef enum cairn_format {
    CAIRN_FORMAT_TABLE,
    CAIRN_FORMAT_CSV,
    CAIRN_FORMAT_JSON,
    CAIRN_FORMAT_HDF5 /* cairn_answer_write only */
} cairn_format;

typedef struct cairn_answer_rows cairn_answer_rows;

/* The rows in order. Without group columns there is one row, also when nothing was read. runs and spill: groups that are on
 * disk, or NULL; with some all goes there: groups is empty afterwards, but for its counts, and runs are fewer. groups, query,
 * columns, spill and error are to live as long as the answer, which is to be freed. What fails, error says. CAIRN_E_NOMEM,
 * and what reading and writing runs gives. */
CAIRN_MUST_CHECK cairn_status cairn_answer_make(cairn_answer_rows **answer, cairn_groups *groups, cairn_runs *runs,
                                                cairn_spill *spill, const cairn_query *query,
                                                const cairn_columns *columns, cairn_error *error);
void cairn_answer_free(cairn_answer_rows *answer); /* safe on NULL */

/* Write header and rows to out. Group keys are strings in JSON; bytes that are not UTF-8 become U+FFFD there. In
 * the table control bytes become '?'. CAIRN_E_IO with no error set: writing failed, errno says why; else as above. */
CAIRN_MUST_CHECK cairn_status cairn_answer_print(cairn_answer_rows *answer, FILE *out, cairn_format format);

/* Write them as a shard (shard.h) to path: counts and columns of whole numbers as i64; other numbers as f64, the nearest
 * ones, NaN where there is none; all else as text. Whole or not there. CAIRN_E_INVALID (a name that no dataset can have, more
 * than fits in memory), CAIRN_E_FULL, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_answer_write(cairn_answer_rows *answer, const char *path);

#endif
