/* What is asked of the rows: group columns and aggregates, looked up in a header. */
#ifndef CAIRN_DATASET_QUERY_H
#define CAIRN_DATASET_QUERY_H

#include "dataset/csv.h"

#define CAIRN_GROUP_COLUMNS_MAX 16
#define CAIRN_VALUE_COLUMNS_MAX 32
#define CAIRN_AGGREGATES_MAX    64

typedef enum cairn_aggregate_kind {
    CAIRN_COUNT, /* rows; of a column: values that are not missing */
    CAIRN_AGG_SUM,
    CAIRN_AGG_MEAN,
    CAIRN_AGG_MIN,
    CAIRN_AGG_MAX
} cairn_aggregate_kind;

#define CAIRN_NO_VALUE UINT32_MAX

typedef struct cairn_aggregate {
    cairn_aggregate_kind kind;
    uint32_t value; /* index into value_column, or CAIRN_NO_VALUE for count */
} cairn_aggregate;

typedef struct cairn_query {
    uint32_t group_count, value_count, aggregate_count;
    uint32_t group_column[CAIRN_GROUP_COLUMNS_MAX];
    uint32_t value_column[CAIRN_VALUE_COLUMNS_MAX]; /* each column once */
    bool numeric[CAIRN_VALUE_COLUMNS_MAX];          /* false: only its count is asked for */
    cairn_aggregate aggregate[CAIRN_AGGREGATES_MAX];
} cairn_query;

/* group_by: "a,b" or NULL; aggregates: "count,mean(delay)" or NULL for count. A name with a comma or parenthesis in
 * it is put in double quotes. CAIRN_E_INVALID with error: unknown column (lists the columns), name that is twice in
 * the header, unknown aggregate. */
CAIRN_MUST_CHECK cairn_status cairn_query_parse(cairn_query *query, const char *group_by, const char *aggregates,
                                                const cairn_columns *columns, cairn_error *error);

/* "mean(delay)" into text of `bytes` bytes. */
void cairn_query_name(const cairn_query *query, uint32_t aggregate, const cairn_columns *columns, char *text,
                      size_t bytes);

#endif
