/* What a condition is made of, for expr_parse.c and expr.c. */
#ifndef CAIRN_DATASET_EXPR_PARTS_H
#define CAIRN_DATASET_EXPR_PARTS_H

#include "dataset/expr.h"

typedef enum expr_kind {
    EXPR_COLUMN, /* left: index into expr.column */
    EXPR_NUMBER,
    EXPR_TEXT,
    EXPR_MINUS, /* of left */
    EXPR_ADD,
    EXPR_SUBTRACT,
    EXPR_MULTIPLY,
    EXPR_DIVIDE,
    EXPR_REMAINDER,
    /* tests and conditions */
    EXPR_EQUAL,
    EXPR_UNEQUAL,
    EXPR_LESS,
    EXPR_LESS_EQUAL,
    EXPR_MORE,
    EXPR_MORE_EQUAL,
    EXPR_IS_NULL,
    EXPR_STARTS,
    EXPR_AND,
    EXPR_OR,
    EXPR_NOT
} expr_kind;

typedef struct expr_node {
    expr_kind kind;
    bool as_text; /* a test: of texts. A column: read as text */
    uint32_t left, right;
    cairn_number number;
    cairn_field text; /* in expr.texts */
} expr_node;

#define EXPR_NODES_MAX 2048

struct cairn_expr {
    expr_node node[EXPR_NODES_MAX]; /* the root is the last one */
    uint32_t count;
    uint32_t column[CAIRN_EXPR_COLUMNS_MAX], column_count;
    char *texts;
};

#endif
