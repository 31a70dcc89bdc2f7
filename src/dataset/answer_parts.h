/* What the files of the answer share: answer.c makes rows in order, answer_text.c prints them, answer_columns.c writes them. */
#ifndef CAIRN_DATASET_ANSWER_PARTS_H
#define CAIRN_DATASET_ANSWER_PARTS_H

#include "dataset/answer.h"

/* A value that is ordered by. */
typedef struct order_value {
    double value;
    bool missing;
} order_value;

typedef struct row {
    const cairn_groups *groups;
    const cairn_group *group; /* NULL: the one row of nothing */
    cairn_field *key;         /* [group_count] */
    cairn_number *number;     /* [group_count]: kind NONE when the column is not numeric */
    order_value *order;       /* [order_count] */
    uint64_t prefix;          /* of the first key that is printed */
} row;

/* Rows of a table in memory. */
typedef struct rows {
    row *row; /* [count] */
    cairn_field *keys;
    cairn_number *numbers;
    order_value *order;
    uint32_t count;
} rows;

struct cairn_answer_rows {
    const cairn_query *query;
    const cairn_columns *columns;
    cairn_shape shape;
    uint32_t first; /* column that is printed */
    uint64_t count; /* rows that are printed */
    bool numeric[CAIRN_GROUP_COLUMNS_MAX];
    rows rows;          /* all of them, unless: */
    cairn_spill *spill; /* where `sorted` is; not NULL: the rows are there */
    cairn_runs sorted;
    cairn_merge *merge; /* over `sorted`, in this order */
    cairn_merge_order order;
    cairn_groups chunk; /* what came from runs, and is small enough to be in memory */
    uint64_t at;        /* of the next row */
    /* why there was no next row though there should have been one */
    cairn_status status;
    cairn_error *error;
};

/* From the first row on. */
void answer_rewind(cairn_answer_rows *answer);
/* Valid until the next call; NULL: there is none, or status says why. */
const row *answer_next(cairn_answer_rows *answer);
/* A count, or an aggregate that is a double; false: missing. Sums and ranges are printed otherwise, being exact. */
bool answer_value(const row *r, const cairn_aggregate *aggregate, double *value);
/* The header of a column, within 600 bytes. */
#define ANSWER_NAME_BYTES 600
void answer_name(const cairn_answer_rows *answer, uint32_t column, char *text, size_t bytes);

#endif
