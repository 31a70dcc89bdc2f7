/* Sorting and printing groups: see answer.h. */
#include "dataset/answer.h"

#include "dataset/shard.h"

#include <math.h>
#include <stdlib.h>

typedef struct row {
    const cairn_group *group; /* NULL: the one row of nothing */
    cairn_field *key;         /* [group_count] */
    cairn_number *number;     /* [group_count]: kind NONE when the column is not numeric */
    size_t place;             /* of its values to order by */
} row;

/* A value that is ordered by. */
typedef struct order_value {
    double value;
    bool missing;
} order_value;

typedef struct answer {
    FILE *out;
    const cairn_groups *groups;
    const cairn_query *query;
    const cairn_columns *columns;
    uint32_t count;
    uint32_t first; /* column that is printed */
    row *rows;
    cairn_field *keys;
    cairn_number *numbers;
    bool numeric[CAIRN_GROUP_COLUMNS_MAX];
    order_value *order; /* [rows * query->order_count] */
} answer;

static void split_key(const answer *a, row *r)
{
    const char *at = a->groups->keys + r->group->key.at;

    if (a->query->group_count == 1) {
        r->key[0] = (cairn_field){at, r->group->key.bytes};
        return;
    }
    const char *end = at + r->group->key.bytes;
    for (uint32_t i = 0; i < a->query->group_count; i++) {
        size_t bytes = 0;
        for (unsigned k = 0; k < 4 && end - at >= 4; k++) {
            bytes |= (size_t)(unsigned char)at[k] << (8 * k);
        }
        at += end - at >= 4 ? 4 : end - at;
        bytes = bytes > (size_t)(end - at) ? (size_t)(end - at) : bytes;
        r->key[i] = (cairn_field){at, bytes};
        at += bytes;
    }
}

static int compare_text(cairn_field a, cairn_field b)
{
    size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = shorter == 0 ? 0 : memcmp(a.text, b.text, shorter);
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_keys(const answer *about, const row *a, const row *b, uint32_t i)
{
    int order = about->numeric[i] ? cairn_number_compare(a->number[i], b->number[i]) : 0;

    return order != 0 ? order : compare_text(a->key[i], b->key[i]);
}

/* Sums of fixed numbers that are the same double may still differ. */
static int compare_sums(const answer *about, const row *a, const row *b, uint32_t column)
{
    const cairn_aggregate *aggregate = &about->query->aggregate[column - about->query->group_count];

    if (aggregate->kind != CAIRN_AGG_SUM || a->group == NULL || b->group == NULL) {
        return 0;
    }
    const cairn_sum *left = &a->group->cell[aggregate->value].sum, *right = &b->group->cell[aggregate->value].sum;
    return left->wide != NULL || right->wide != NULL ? 0 : (left->fixed > right->fixed) - (left->fixed < right->fixed);
}

/* By the i-th thing that the query orders by. */
static int compare_ordered(const answer *about, const row *a, const row *b, uint32_t i)
{
    const cairn_order_by *by = &about->query->order[i];
    order_value left = about->order[a->place + i], right = about->order[b->place + i];
    int order;

    if (left.missing || right.missing) {
        return (int)left.missing - (int)right.missing;
    }
    if (by->column < about->query->group_count) {
        order = compare_keys(about, a, b, by->column);
    } else {
        order = (left.value > right.value) - (left.value < right.value);
        order = order != 0 ? order : compare_sums(about, a, b, by->column);
    }
    return by->descending ? -order : order;
}

static int compare_rows(const void *left, const void *right, void *context)
{
    const row *a = left, *b = right;
    const answer *about = context;
    int order = 0;

    for (uint32_t i = 0; i < about->query->order_count && order == 0; i++) {
        order = compare_ordered(about, a, b, i);
    }
    for (uint32_t i = 0; i < about->query->group_count && order == 0; i++) {
        order = compare_keys(about, a, b, i);
    }
    return order;
}

static double range_of(const cairn_cell *cell, bool high)
{
    double fixed = cairn_fixed_to_double(high ? cell->high : cell->low), wide = high ? cell->wide_high : cell->wide_low;

    if (cell->low > cell->high) {
        return wide;
    }
    if (cell->wide_low > cell->wide_high) {
        return fixed;
    }
    return (high ? wide > fixed : wide < fixed) ? wide : fixed;
}

static double quantile_of(const cairn_cell *cell, const cairn_sketch *sketch, double share)
{
    double value = cairn_quantiles_at(&sketch->quantiles, share);
    double low = range_of(cell, false), high = range_of(cell, true);

    return value < low || share <= 0 ? low : value > high || share >= 1 ? high : value;
}

/* A count, or an aggregate that is a double; false: missing. Sums and ranges are printed otherwise, being exact. */
static bool value_of(const answer *a, const row *r, const cairn_aggregate *aggregate, double *value)
{
    const cairn_cell *cell =
        r->group == NULL || aggregate->value == CAIRN_NO_VALUE ? NULL : &r->group->cell[aggregate->value];
    bool counts = aggregate->kind == CAIRN_COUNT || aggregate->kind == CAIRN_AGG_DISTINCT;
    uint64_t least = aggregate->kind == CAIRN_AGG_VARIANCE || aggregate->kind == CAIRN_AGG_STDDEV ? 2 : 1;
    const cairn_sketch *sketch = NULL;

    *value = 0;
    if (counts && (cell == NULL || aggregate->kind == CAIRN_COUNT)) {
        *value = r->group == NULL ? 0 : cell == NULL ? (double)r->group->rows : (double)cell->present;
        return true;
    }
    if (!counts && (cell == NULL || cell->numbers < least)) {
        return false;
    }
    if (cell != NULL && a->groups->shape.needs[aggregate->value] != 0) {
        sketch = *cairn_groups_sketch(a->groups, r->group, aggregate->value);
    }
    switch (aggregate->kind) {
    case CAIRN_AGG_DISTINCT:
        *value = sketch == NULL ? 0 : (double)cairn_distinct_estimate(&sketch->distinct);
        return true;
    case CAIRN_AGG_SUM:
        *value = cairn_sum_divide(&cell->sum, 1);
        return true;
    case CAIRN_AGG_MEAN:
        *value = cairn_sum_divide(&cell->sum, cell->numbers);
        return true;
    case CAIRN_AGG_VARIANCE:
    case CAIRN_AGG_STDDEV:
        *value = sketch == NULL ? 0 : cairn_variance(&sketch->squares, &cell->sum, cell->numbers);
        *value = aggregate->kind == CAIRN_AGG_STDDEV ? sqrt(*value) : *value;
        return true;
    case CAIRN_AGG_MEDIAN:
    case CAIRN_AGG_QUANTILE:
        *value = sketch == NULL ? 0 : quantile_of(cell, sketch, aggregate->share);
        return true;
    default:
        *value = range_of(cell, aggregate->kind == CAIRN_AGG_MAX);
        return true;
    }
}

/* What the rows are ordered by, once for each. */
static cairn_status find_order(answer *a)
{
    uint32_t count = a->query->order_count;

    if (count == 0) {
        return CAIRN_OK;
    }
    a->order = calloc((size_t)a->count * count + 1, sizeof *a->order);
    if (a->order == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        row *r = &a->rows[i];
        r->place = (size_t)i * count;
        for (uint32_t k = 0; k < count; k++) {
            uint32_t column = a->query->order[k].column;
            order_value *at = &a->order[r->place + k];
            if (column < a->query->group_count) {
                at->missing = r->key[column].bytes == 0;
            } else {
                at->missing = !value_of(a, r, &a->query->aggregate[column - a->query->group_count], &at->value);
            }
        }
    }
    return CAIRN_OK;
}

static cairn_status sort_rows(answer *a)
{
    bool nothing = a->groups->count == 0 && a->query->group_count == 0;

    a->count = nothing ? 1 : a->groups->count;
    a->rows = calloc(a->count + (size_t)1, sizeof *a->rows);
    a->keys = calloc((size_t)a->count * a->query->group_count + 1, sizeof *a->keys);
    a->numbers = calloc((size_t)a->count * a->query->group_count + 1, sizeof *a->numbers);
    if (a->rows == NULL || a->keys == NULL || a->numbers == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = a->first; i < a->query->group_count; i++) {
        a->numeric[i] = true;
    }
    for (uint32_t i = 0; i < a->groups->count; i++) {
        a->rows[i].group = cairn_groups_at(a->groups, i);
        a->rows[i].key = a->keys + (size_t)i * a->query->group_count;
        a->rows[i].number = a->numbers + (size_t)i * a->query->group_count;
        split_key(a, &a->rows[i]);
        for (uint32_t k = 0; k < a->query->group_count; k++) {
            if (a->numeric[k]) {
                a->rows[i].number[k] = cairn_number_parse(a->rows[i].key[k].text, a->rows[i].key[k].bytes);
                a->numeric[k] = a->rows[i].number[k].kind != CAIRN_NUMBER_NONE;
            }
        }
    }
    cairn_status status = find_order(a);
    if (status == CAIRN_OK && a->count > 1) {
        qsort_r(a->rows, a->count, sizeof *a->rows, compare_rows, a);
    }
    if (a->query->limit > 0 && a->query->limit < a->count) {
        a->count = (uint32_t)a->query->limit;
    }
    return status;
}

static void print_range(const cairn_cell *cell, bool high, char text[CAIRN_NUMBER_TEXT])
{
    cairn_number fixed = {CAIRN_NUMBER_FIXED, high ? cell->high : cell->low, 0};
    cairn_number wide = {CAIRN_NUMBER_WIDE, 0, high ? cell->wide_high : cell->wide_low};

    if (cell->low > cell->high) {
        fixed = wide;
    } else if (cell->wide_low <= cell->wide_high) {
        int order = cairn_number_compare(wide, fixed);
        fixed = (high ? order > 0 : order < 0) ? wide : fixed;
    }
    cairn_number_print(fixed, text);
}

/* false: missing. */
static bool print_value(const answer *a, const row *r, uint32_t index, bool rounded, char text[CAIRN_NUMBER_TEXT])
{
    const cairn_aggregate *aggregate = &a->query->aggregate[index];
    const cairn_cell *cell =
        r->group == NULL || aggregate->value == CAIRN_NO_VALUE ? NULL : &r->group->cell[aggregate->value];
    double value;

    if (aggregate->kind == CAIRN_COUNT) {
        uint64_t count = r->group == NULL ? 0 : cell == NULL ? r->group->rows : cell->present;
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%llu", (unsigned long long)count);
        return true;
    }
    if (aggregate->kind == CAIRN_AGG_SUM || aggregate->kind == CAIRN_AGG_MIN || aggregate->kind == CAIRN_AGG_MAX) {
        bool present = cell != NULL && cell->numbers > 0;
        if (present && aggregate->kind == CAIRN_AGG_SUM) {
            cairn_sum_print(&cell->sum, text);
        } else if (present) {
            print_range(cell, aggregate->kind == CAIRN_AGG_MAX, text);
        }
        return present;
    }
    if (!value_of(a, r, aggregate, &value)) {
        return false;
    }
    cairn_double_print(value, text);
    bool computed = aggregate->kind == CAIRN_AGG_MEAN || aggregate->kind == CAIRN_AGG_VARIANCE ||
                    aggregate->kind == CAIRN_AGG_STDDEV;
    if (rounded && computed && strlen(text) > 8 && strchr(text, 'e') == NULL) {
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%.6f", value);
    }
    return true;
}

static void csv_field(FILE *out, const char *text, size_t bytes)
{
    bool quote = false;

    for (size_t i = 0; i < bytes && !quote; i++) {
        quote = text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    }
    if (!quote) {
        (void)fwrite(text, 1, bytes, out);
        return;
    }
    (void)putc('"', out);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"') {
            (void)putc('"', out);
        }
        (void)putc(text[i], out);
    }
    (void)putc('"', out);
}

/* Length of the UTF-8 character at text, 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *text, size_t bytes)
{
    unsigned char c = text[0];
    size_t length = c < 0x80                ? 1
                    : c >= 0xc2 && c < 0xe0 ? 2
                    : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4
                                            : 0;

    if (length == 0 || length > bytes) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) || (c == 0xf0 && text[1] < 0x90) ||
        (c == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

static void json_string(FILE *out, const char *text, size_t bytes)
{
    (void)putc('"', out);
    for (size_t i = 0; i < bytes;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_length((const unsigned char *)text + i, bytes - i);
        if (length == 0) {
            (void)fputs("\\ufffd", out);
            length = 1;
        } else if (c == '"' || c == '\\') {
            (void)fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            (void)fprintf(out, "\\u%04x", c);
        } else {
            (void)fwrite(text + i, 1, length, out);
        }
        i += length;
    }
    (void)putc('"', out);
}

static void name_of(const answer *a, uint32_t column, char *text, size_t bytes)
{
    if (column < a->query->group_count) {
        (void)snprintf(text, bytes, "%s", a->columns->name[a->query->group_column[column]]);
    } else {
        cairn_query_name(a->query, column - a->query->group_count, a->columns, text, bytes);
    }
}

static void print_csv(const answer *a)
{
    uint32_t width = a->query->group_count + a->query->aggregate_count;
    char text[CAIRN_NUMBER_TEXT], name[600];

    for (uint32_t k = a->first; k < width; k++) {
        name_of(a, k, name, sizeof name);
        (void)fputs(k == a->first ? "" : ",", a->out);
        csv_field(a->out, name, strlen(name));
    }
    (void)putc('\n', a->out);
    for (uint32_t i = 0; i < a->count; i++) {
        for (uint32_t k = a->first; k < width; k++) {
            (void)fputs(k == a->first ? "" : ",", a->out);
            if (k < a->query->group_count) {
                csv_field(a->out, a->rows[i].key[k].text, a->rows[i].key[k].bytes);
            } else if (print_value(a, &a->rows[i], k - a->query->group_count, false, text)) {
                (void)fputs(text, a->out);
            }
        }
        (void)putc('\n', a->out);
    }
}

static void print_json(const answer *a)
{
    uint32_t width = a->query->group_count + a->query->aggregate_count;
    char text[CAIRN_NUMBER_TEXT], name[600];

    (void)fputs("[", a->out);
    for (uint32_t i = 0; i < a->count; i++) {
        (void)fputs(i == 0 ? "\n  {" : ",\n  {", a->out);
        for (uint32_t k = a->first; k < width; k++) {
            name_of(a, k, name, sizeof name);
            (void)fputs(k == a->first ? "" : ", ", a->out);
            json_string(a->out, name, strlen(name));
            (void)fputs(": ", a->out);
            if (k < a->query->group_count) {
                json_string(a->out, a->rows[i].key[k].text, a->rows[i].key[k].bytes);
            } else if (print_value(a, &a->rows[i], k - a->query->group_count, false, text) &&
                       strcmp(text, "inf") != 0 && strcmp(text, "-inf") != 0) {
                (void)fputs(text, a->out);
            } else {
                (void)fputs("null", a->out);
            }
        }
        (void)fputs("}", a->out);
    }
    (void)fputs("\n]\n", a->out);
}

/* Characters, for alignment: UTF-8 continuation bytes count nothing. */
static size_t width_of(const char *text, size_t bytes)
{
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++) {
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return width;
}

static void table_cell(FILE *out, const char *text, size_t bytes, size_t width, bool right, bool last)
{
    size_t blanks = width - width_of(text, bytes);

    for (size_t i = 0; right && i < blanks; i++) {
        (void)putc(' ', out);
    }
    for (size_t i = 0; i < bytes; i++) {
        (void)putc((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i], out);
    }
    for (size_t i = 0; !right && !last && i < blanks; i++) {
        (void)putc(' ', out);
    }
    (void)fputs(last ? "\n" : "  ", out);
}

static cairn_field table_text(const answer *a, uint32_t i, uint32_t k, char text[CAIRN_NUMBER_TEXT])
{
    if (k < a->query->group_count) {
        return a->rows[i].key[k];
    }
    if (!print_value(a, &a->rows[i], k - a->query->group_count, true, text)) {
        memcpy(text, "-", 2);
    }
    return (cairn_field){text, strlen(text)};
}

static void print_table(const answer *a)
{
    uint32_t columns = a->query->group_count + a->query->aggregate_count;
    size_t width[CAIRN_GROUP_COLUMNS_MAX + CAIRN_AGGREGATES_MAX];
    char text[CAIRN_NUMBER_TEXT], name[600];

    for (uint32_t k = a->first; k < columns; k++) {
        name_of(a, k, name, sizeof name);
        width[k] = width_of(name, strlen(name));
        for (uint32_t i = 0; i < a->count; i++) {
            cairn_field field = table_text(a, i, k, text);
            size_t need = width_of(field.text, field.bytes);
            width[k] = need > width[k] ? need : width[k];
        }
    }
    for (uint32_t i = 0; i <= a->count; i++) {
        for (uint32_t k = a->first; k < columns; k++) {
            bool right = k >= a->query->group_count || a->numeric[k];
            cairn_field field = {name, 0};
            if (i == 0) {
                name_of(a, k, name, sizeof name);
                field.bytes = strlen(name);
            } else {
                field = table_text(a, i - 1, k, text);
            }
            table_cell(a->out, field.text, field.bytes, width[k], right, k + 1 == columns);
        }
    }
}

static void free_rows(answer *a)
{
    free(a->rows);
    free(a->keys);
    free(a->numbers);
    free(a->order);
}

cairn_status cairn_answer_print(FILE *out, cairn_format format, const cairn_groups *groups, const cairn_query *query,
                                const cairn_columns *columns)
{
    answer a = {.out = out, .groups = groups, .query = query, .columns = columns, .first = query->selects};
    cairn_status status = sort_rows(&a);

    if (status != CAIRN_OK) {
        free_rows(&a);
        return status;
    }
    if (format == CAIRN_FORMAT_CSV) {
        print_csv(&a);
    } else if (format == CAIRN_FORMAT_JSON) {
        print_json(&a);
    } else {
        print_table(&a);
    }
    free_rows(&a);
    return fflush(out) != 0 || ferror(out) != 0 ? CAIRN_E_IO : CAIRN_OK;
}

/* ---------------------------------------------------------------- as columns */

/* Whole numbers, each written as it is printed. */
static bool are_whole(const answer *a, uint32_t k)
{
    bool whole = a->numeric[k];

    for (uint32_t i = 0; i < a->count && whole; i++) {
        cairn_number number = a->rows[i].number[k];
        char text[CAIRN_NUMBER_TEXT];

        whole = number.kind == CAIRN_NUMBER_FIXED && number.fixed % CAIRN_FIXED_ONE == 0 &&
                cairn_whole_print(number.fixed / CAIRN_FIXED_ONE, text) == a->rows[i].key[k].bytes &&
                memcmp(text, a->rows[i].key[k].text, a->rows[i].key[k].bytes) == 0;
    }
    return whole;
}

static uint32_t widest(const answer *a, uint32_t k)
{
    size_t width = 1;

    for (uint32_t i = 0; i < a->count; i++) {
        width = a->rows[i].key[k].bytes > width ? a->rows[i].key[k].bytes : width;
    }
    return width > UINT32_MAX ? UINT32_MAX : (uint32_t)width;
}

/* Of a group column only what loses nothing becomes numbers. */
static cairn_shard_column make_column(const answer *a, uint32_t k)
{
    bool group = k < a->query->group_count;
    bool counts = !group && (a->query->aggregate[k - a->query->group_count].kind == CAIRN_COUNT ||
                             a->query->aggregate[k - a->query->group_count].kind == CAIRN_AGG_DISTINCT);
    cairn_shard_column column = {.type = CAIRN_SHARD_F64, .width = 8};

    if (counts || (group && are_whole(a, k))) {
        column.type = CAIRN_SHARD_I64;
    } else if (group) {
        column.type = CAIRN_SHARD_TEXT;
        column.width = widest(a, k);
    }
    return column;
}

static void put_cell(const answer *a, const row *r, uint32_t k, const cairn_shard_column *column, char *at)
{
    double value = NAN;
    int64_t whole = 0;

    if (column->type == CAIRN_SHARD_TEXT) {
        memcpy(at, r->key[k].text, r->key[k].bytes); /* the rest is zeros */
        return;
    }
    if (k < a->query->group_count) {
        whole = r->number[k].fixed / CAIRN_FIXED_ONE;
    } else if (!value_of(a, r, &a->query->aggregate[k - a->query->group_count], &value)) {
        value = NAN;
    } else if (column->type == CAIRN_SHARD_I64) {
        whole = (int64_t)value;
    }
    memcpy(at, column->type == CAIRN_SHARD_I64 ? (const void *)&whole : (const void *)&value, 8);
}

static cairn_status fill_column(const answer *a, uint32_t k, cairn_shard_column *column, char **name)
{
    char text[600];
    char *data;

    name_of(a, k, text, sizeof text);
    *column = make_column(a, k);
    *name = strdup(text);
    data = calloc(a->count + (size_t)1, column->width);
    column->name = *name;
    column->data = data;
    if (*name == NULL || data == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        put_cell(a, &a->rows[i], k, column, data + (size_t)i * column->width);
    }
    return CAIRN_OK;
}

cairn_status cairn_answer_write(const char *path, const cairn_groups *groups, const cairn_query *query,
                                const cairn_columns *columns, cairn_error *error)
{
    answer a = {.groups = groups, .query = query, .columns = columns, .first = query->selects};
    uint32_t count = query->group_count + query->aggregate_count - a.first;
    cairn_shard_column *made = calloc(count + (size_t)1, sizeof *made);
    char **names = calloc(count + (size_t)1, sizeof *names);
    cairn_status status = made == NULL || names == NULL ? CAIRN_E_NOMEM : sort_rows(&a);

    for (uint32_t k = 0; k < count && status == CAIRN_OK; k++) {
        status = fill_column(&a, k + a.first, &made[k], &names[k]);
    }
    if (status == CAIRN_E_NOMEM) {
        (void)cairn_fail(error, status, "%s: no memory for the answer", path);
    } else {
        status = cairn_shard_write(path, made, count, a.count, NULL, error);
    }
    for (uint32_t k = 0; k < count && made != NULL && names != NULL; k++) {
        free((void *)(uintptr_t)made[k].data);
        free(names[k]);
    }
    free(made);
    free(names);
    free_rows(&a);
    return status;
}
