/* Conditions on rows, as --where takes them.
 *
 *   condition  = all {"or" all}                     all   = not {"and" not}
 *   not        = "not" not | test
 *   test       = value (= | == | <> | != | < | <= | > | >=) value | value "is" ["not"] "null"
 *              | value ["not"] "in" "(" literal {"," literal} ")" | "starts_with" "(" value "," 'text' ")"
 *              | "(" condition ")"
 *   value      = term {(+ | -) term}                term  = factor {(* | / | %) factor}
 *   factor     = ["-"] (number | 'text' | column | "column" | "(" value ")")
 *
 * Words are the same in capitals. In 'text' two quotes are one, in "column" as well. A column is read as what it is
 * compared with: with 'text' byte by byte as it stands, with a number or in arithmetic as a number (number.h); two
 * columns as numbers when samples of both hold nothing else (plan.h), else as text.
 *
 * A missing value, text where a number is needed (counted, as it may be a mistake in the data) and division by zero are
 * null: whatever is computed from them is null, a test of them is unknown, and a row counts only when its condition is
 * true. "unknown and false" is false, "unknown or true" is true, as in SQL.
 *
 * Sums, differences, products, quotients and remainders of fixed numbers are exact as long as they are fixed numbers
 * again (37 / 370 is 0.1); everything else is computed in doubles. Comparisons are exact. */
#ifndef CAIRN_DATASET_EXPR_H
#define CAIRN_DATASET_EXPR_H

#include "dataset/csv.h"
#include "dataset/note.h"
#include "dataset/number.h"

#define CAIRN_EXPR_COLUMNS_MAX 32

typedef struct cairn_expr cairn_expr;

/* numeric: [columns->count], whether samples of the column hold numbers only; NULL: nothing is known. CAIRN_E_INVALID
 * with error, saying at which character; CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_expr_parse(cairn_expr **out, const char *text, const cairn_columns *columns,
                                               const bool *numeric, cairn_error *error);
void cairn_expr_free(cairn_expr *expr); /* NULL-safe */

/* The columns that it reads, each once: indices into the header. */
uint32_t cairn_expr_columns(const cairn_expr *expr, const uint32_t **column);

/* A row: the value of the i-th of these columns is field[slot[i]]; text that is no number is noted in bad[i]. */
typedef struct cairn_expr_row {
    const cairn_field *field;
    const uint32_t *slot;
    cairn_note *bad;
    uint32_t block;
    uint32_t noted; /* 0 at first: of this row, which are noted already */
    uint64_t row;
} cairn_expr_row;

/* The condition is true of this row. */
bool cairn_expr_holds(const cairn_expr *expr, cairn_expr_row *row);

/* The name of a column in a list of such: up to one of `stops` or the end; "..." keeps stops, "" in it is a quote.
 * Blanks around are dropped. Returns where it stopped. */
#define CAIRN_NAME_BYTES 512
const char *cairn_read_name(const char *at, const char *stops, char name[CAIRN_NAME_BYTES]);
/* CAIRN_E_INVALID with error: no such column (lists the columns), or two of that name. */
CAIRN_MUST_CHECK cairn_status cairn_find_column(const cairn_columns *columns, const char *name, uint32_t *column,
                                                cairn_error *error);

#endif
