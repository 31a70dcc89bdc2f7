/* Text into shards: once, to be scanned many times.
 *
 * All rows are read twice: first to find what each column holds, then to convert it, so that nothing has to be guessed and
 * nothing is lost. A column becomes
 *   i64   if it has no missing values and all are whole numbers as they are printed (no +, no zeros in front), below 10^18
 *   f64   if all are numbers without + and without zeros in front, and the nearest doubles lose no digit of them; missing values become NaN. 1.50 reads as 1.5 from then on
 *   text  otherwise, of the width of its longest value. It is said which row is to blame
 * Rows with fewer fields than the header miss values, as in a scan; one with more ends the import. */
#ifndef CAIRN_DATASET_IMPORT_H
#define CAIRN_DATASET_IMPORT_H

#include "dataset/catalogue.h"
#include "dataset/plan.h"

#define CAIRN_IMPORT_ROWS       UINT64_C(1048576)   /* of a shard, if not told otherwise and */
#define CAIRN_IMPORT_BYTES      UINT64_C(268435456) /* while its rows fit in as much memory */
#define CAIRN_IMPORT_TEXT_BYTES UINT32_C(4096)      /* the longest text */

/* What was found, to be told. */
typedef struct cairn_import_column {
    cairn_shard_type type;
    uint32_t width;
    uint64_t missing;
    char why[200]; /* text: which value made it one; "" */
} cairn_import_column;

typedef struct cairn_import {
    uint64_t rows, few; /* few: rows with fewer fields */
    cairn_import_column *columns;
    cairn_catalogue catalogue;
} cairn_import;

/* Convert the text files of this plan into `folder`, which is made and has no catalogue yet; with rows each (0: as above). What was
 * written before an error is removed. CAIRN_E_INVALID: what the files hold, or a catalogue is there; and the errors of rows.h and
 * shard.h. */
CAIRN_MUST_CHECK cairn_status cairn_import_run(cairn_import *import, const cairn_plan *plan, const char *folder,
                                               uint64_t rows, cairn_error *error);
void cairn_import_free(cairn_import *import); /* safe on zeros */

#endif
