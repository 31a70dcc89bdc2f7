/* All rows of one text file of a plan, one after the other: for what has to see every field, where reader.h sees only what a
 * query asks for. Compressed files too. */
#ifndef CAIRN_DATASET_ROWS_H
#define CAIRN_DATASET_ROWS_H

#include "dataset/plan.h"

typedef struct cairn_rows cairn_rows;

/* plan is borrowed. CAIRN_E_MISMATCH (changed since the plan was made), CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO,
 * CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_rows_open(cairn_rows **out, const cairn_plan *plan, uint32_t file,
                                              cairn_error *error);
void cairn_rows_close(cairn_rows *rows); /* NULL-safe */

/* The next row: *fields gets [columns of the plan], those that the row has not are empty; *count how many it has, also when these
 * are more. They hold until the next call, with CAIRN_CSV_SLACK readable bytes behind them. *fields is NULL when there is none.
 * CAIRN_E_INVALID: quotes that never end, a row that is too long. */
CAIRN_MUST_CHECK cairn_status cairn_rows_next(cairn_rows *rows, const cairn_field **fields, uint32_t *count,
                                              cairn_error *error);

#endif
