/* Conditions, row by row: see expr.h. */
#include "dataset/expr_parts.h"

#include <math.h>

typedef enum truth { FALSE, TRUE, UNKNOWN } truth;

uint32_t cairn_expr_columns(const cairn_expr *expr, const uint32_t **column)
{
    *column = expr->column;
    return expr->column_count;
}

static cairn_field text_of(const expr_node *node, cairn_expr_row *row)
{
    return node->kind == EXPR_TEXT ? node->text : row->field[row->slot[node->left]];
}

static const cairn_number nothing = {.kind = CAIRN_NUMBER_NONE};

static cairn_number fixed_number(int64_t fixed)
{
    return (cairn_number){CAIRN_NUMBER_FIXED, fixed, 0};
}

static cairn_number wide_number(double value)
{
    return isfinite(value) ? (cairn_number){CAIRN_NUMBER_WIDE, 0, value} : nothing;
}

static double to_double(cairn_number number)
{
    if (number.kind == CAIRN_NUMBER_WIDE) {
        return number.wide;
    }
    /* A quotient of two doubles that hold their values exactly is rounded once. */
    bool exact = number.fixed <= (INT64_C(1) << 53) && number.fixed >= -(INT64_C(1) << 53);
    return exact ? (double)number.fixed / (double)CAIRN_FIXED_ONE : cairn_fixed_to_double(number.fixed);
}

static cairn_number column_number(const expr_node *node, cairn_expr_row *row)
{
    cairn_field field = row->field[row->slot[node->left]];
    int64_t fixed;

    if (field.bytes == 0) {
        return nothing;
    }
    if (cairn_number_quick(field.text, field.bytes, &fixed)) {
        return fixed_number(fixed);
    }
    cairn_number number = cairn_number_parse(field.text, field.bytes);
    if (number.kind == CAIRN_NUMBER_NONE && (row->noted >> node->left & 1) == 0) {
        row->noted |= UINT32_C(1) << node->left;
        cairn_note_add(&row->bad[node->left], row->block, row->row, field.text, field.bytes);
    }
    return number;
}

static bool is_fixed(cairn_i128 value)
{
    return value < CAIRN_FIXED_LIMIT && value > -CAIRN_FIXED_LIMIT;
}

/* Exactly, where the result is a fixed number again. */
static bool fixed_result(expr_kind kind, int64_t a, int64_t b, int64_t *result)
{
    cairn_i128 value;

    if (kind == EXPR_MULTIPLY) {
        value = (cairn_i128)a * b;
        if (value % CAIRN_FIXED_ONE != 0) {
            return false;
        }
        value /= CAIRN_FIXED_ONE;
    } else if (kind == EXPR_REMAINDER) {
        value = a % b;
    } else if (kind == EXPR_DIVIDE) {
        value = (cairn_i128)a * CAIRN_FIXED_ONE;
        if (value % b != 0) {
            return false;
        }
        value /= b;
    } else {
        value = kind == EXPR_ADD ? (cairn_i128)a + b : (cairn_i128)a - b;
    }
    *result = (int64_t)value;
    return is_fixed(value);
}

static cairn_number calculate(expr_kind kind, cairn_number a, cairn_number b)
{
    int64_t fixed;

    if (a.kind == CAIRN_NUMBER_NONE || b.kind == CAIRN_NUMBER_NONE) {
        return nothing;
    }
    double right = to_double(b);
    if ((kind == EXPR_DIVIDE || kind == EXPR_REMAINDER) && right == 0) {
        return nothing;
    }
    if (a.kind == CAIRN_NUMBER_FIXED && b.kind == CAIRN_NUMBER_FIXED && fixed_result(kind, a.fixed, b.fixed, &fixed)) {
        return fixed_number(fixed);
    }
    double left = to_double(a);
    switch (kind) {
    case EXPR_ADD:
        return wide_number(left + right);
    case EXPR_SUBTRACT:
        return wide_number(left - right);
    case EXPR_MULTIPLY:
        return wide_number(left * right);
    case EXPR_DIVIDE:
        return wide_number(left / right);
    default:
        return wide_number(fmod(left, right));
    }
}

static cairn_number number_of(const cairn_expr *expr, uint32_t index, cairn_expr_row *row)
{
    const expr_node *node = &expr->node[index];

    if (node->kind == EXPR_COLUMN) {
        return column_number(node, row);
    }
    if (node->kind == EXPR_NUMBER) {
        return node->number;
    }
    cairn_number left = number_of(expr, node->left, row);
    if (node->kind == EXPR_MINUS) {
        left.fixed = -left.fixed;
        left.wide = -left.wide;
        return left;
    }
    return calculate(node->kind, left, number_of(expr, node->right, row));
}

static truth judge(expr_kind kind, int order)
{
    switch (kind) {
    case EXPR_EQUAL:
        return order == 0 ? TRUE : FALSE;
    case EXPR_UNEQUAL:
        return order != 0 ? TRUE : FALSE;
    case EXPR_LESS:
        return order < 0 ? TRUE : FALSE;
    case EXPR_LESS_EQUAL:
        return order <= 0 ? TRUE : FALSE;
    case EXPR_MORE:
        return order > 0 ? TRUE : FALSE;
    default:
        return order >= 0 ? TRUE : FALSE;
    }
}

static truth compare_texts(expr_kind kind, cairn_field a, cairn_field b)
{
    size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;

    if ((kind == EXPR_EQUAL || kind == EXPR_UNEQUAL) && a.bytes != b.bytes) {
        return kind == EXPR_UNEQUAL ? TRUE : FALSE;
    }
    int order = memcmp(a.text, b.text, shorter);
    return judge(kind, order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes));
}

/* A field that is missing; a literal never is. */
static bool is_missing(const expr_node *node, cairn_field field)
{
    return node->kind == EXPR_COLUMN && field.bytes == 0;
}

static truth test(const cairn_expr *expr, const expr_node *node, cairn_expr_row *row)
{
    const expr_node *a = &expr->node[node->left], *b = &expr->node[node->right];

    if (node->as_text || node->kind == EXPR_STARTS) {
        cairn_field left = text_of(a, row), right = text_of(b, row);
        if (is_missing(a, left) || is_missing(b, right)) {
            return UNKNOWN;
        }
        if (node->kind == EXPR_STARTS) {
            return left.bytes >= right.bytes && memcmp(left.text, right.text, right.bytes) == 0 ? TRUE : FALSE;
        }
        return compare_texts(node->kind, left, right);
    }
    cairn_number left = number_of(expr, node->left, row), right = number_of(expr, node->right, row);
    if (left.kind == CAIRN_NUMBER_NONE || right.kind == CAIRN_NUMBER_NONE) {
        return UNKNOWN;
    }
    return judge(node->kind, cairn_number_compare(left, right));
}

static truth truth_of(const cairn_expr *expr, uint32_t index, cairn_expr_row *row)
{
    const expr_node *node = &expr->node[index];
    truth left, right;

    switch (node->kind) {
    case EXPR_AND:
        left = truth_of(expr, node->left, row);
        right = left == FALSE ? FALSE : truth_of(expr, node->right, row);
        return left == FALSE || right == FALSE ? FALSE : left == TRUE ? right : UNKNOWN;
    case EXPR_OR:
        left = truth_of(expr, node->left, row);
        right = left == TRUE ? TRUE : truth_of(expr, node->right, row);
        return left == TRUE || right == TRUE ? TRUE : left == FALSE ? right : UNKNOWN;
    case EXPR_NOT:
        left = truth_of(expr, node->left, row);
        return left == UNKNOWN ? UNKNOWN : left == TRUE ? FALSE : TRUE;
    case EXPR_IS_NULL:
        if (node->as_text) {
            return is_missing(&expr->node[node->left], text_of(&expr->node[node->left], row)) ? TRUE : FALSE;
        }
        return number_of(expr, node->left, row).kind == CAIRN_NUMBER_NONE ? TRUE : FALSE;
    default:
        return test(expr, node, row);
    }
}

bool cairn_expr_holds(const cairn_expr *expr, cairn_expr_row *row)
{
    return truth_of(expr, expr->count - 1, row) == TRUE;
}
