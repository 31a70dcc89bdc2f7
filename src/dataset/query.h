/* What is asked of the rows: a condition, group columns, aggregates, an order; looked up in a header. */
#ifndef CAIRN_DATASET_QUERY_H
#define CAIRN_DATASET_QUERY_H

#include "dataset/expr.h"

#define CAIRN_GROUP_COLUMNS_MAX 64
#define CAIRN_VALUE_COLUMNS_MAX 32
#define CAIRN_AGGREGATES_MAX    64

typedef enum cairn_aggregate_kind {
    CAIRN_COUNT, /* rows; of a column: values that are not missing */
    CAIRN_AGG_SUM,
    CAIRN_AGG_MEAN,
    CAIRN_AGG_MIN,
    CAIRN_AGG_MAX,
    CAIRN_AGG_VARIANCE, /* of a sample */
    CAIRN_AGG_STDDEV,
    CAIRN_AGG_MEDIAN,
    CAIRN_AGG_DISTINCT, /* of values as they are written; in a column of numbers: of numbers */
    CAIRN_AGG_QUANTILE
} cairn_aggregate_kind;

#define CAIRN_NO_VALUE UINT32_MAX

typedef struct cairn_aggregate {
    cairn_aggregate_kind kind;
    uint32_t value; /* index into value_column, or CAIRN_NO_VALUE for count */
    double share;   /* of a quantile: 0..1 */
} cairn_aggregate;

/* What a value column needs beyond its cell (groups.h). */
enum { CAIRN_NEEDS_SQUARES = 1, CAIRN_NEEDS_DISTINCT = 2, CAIRN_NEEDS_QUANTILES = 4 };

typedef struct cairn_order_by {
    uint32_t column; /* of the answer: the group columns, then the aggregates */
    bool descending;
} cairn_order_by;

/* A group column that no file has: where the row is, block and row in it, big-endian. So every row is a group of its own, and these
 * are in the order of the files. */
#define CAIRN_POSITION       UINT32_MAX
#define CAIRN_POSITION_BYTES 12

/* What --select, --where, --group-by, --agg, --order-by and --limit say; NULL: it was not given. */
typedef struct cairn_query_text {
    const char *select, *where, *group_by, *aggregates, *order_by;
    uint64_t limit; /* rows of the answer; 0: all */
} cairn_query_text;

typedef struct cairn_query {
    uint32_t group_count, value_count, aggregate_count;
    bool selects; /* rows instead of aggregates: group_column[0] is CAIRN_POSITION, which is not printed */
    uint32_t group_column[CAIRN_GROUP_COLUMNS_MAX];
    uint32_t value_column[CAIRN_VALUE_COLUMNS_MAX]; /* each column once */
    bool numeric[CAIRN_VALUE_COLUMNS_MAX];          /* false: only its count is asked for, or distinct values */
    uint8_t needs[CAIRN_VALUE_COLUMNS_MAX];
    bool of_numbers[CAIRN_VALUE_COLUMNS_MAX]; /* samples of it hold numbers only */
    cairn_aggregate aggregate[CAIRN_AGGREGATES_MAX];
    cairn_expr *where; /* NULL: all rows */
    uint32_t order_count;
    cairn_order_by order[CAIRN_AGGREGATES_MAX];
    uint64_t limit; /* 0: none */
} cairn_query;

/* The most rows of each table of groups that matter: with a limit and no order these are the first ones. 0: all. */
uint64_t cairn_query_first(const cairn_query *query);

/* select: "a,b" or "*", alone; group_by: "a,b"; aggregates: "count,mean(delay)", by default count; order_by: "mean(delay) desc,a"; where: see expr.h.
 * A name with a comma or parenthesis in it is put in double quotes. numeric: as for cairn_expr_parse. CAIRN_E_INVALID
 * with error: unknown column (lists the columns), name that is twice in the header, unknown aggregate, an order by what
 * is not in the answer; *query is to be freed all the same. */
CAIRN_MUST_CHECK cairn_status cairn_query_parse(cairn_query *query, const cairn_query_text *text,
                                                const cairn_columns *columns, const bool *numeric, cairn_error *error);
void cairn_query_free(cairn_query *query); /* safe on zeros */

/* "mean(delay)" into text of `bytes` bytes. */
void cairn_query_name(const cairn_query *query, uint32_t aggregate, const cairn_columns *columns, char *text,
                      size_t bytes);

#endif
