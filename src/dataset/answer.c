/* The rows of the answer, in order: see answer.h. */
#include "base/durable.h"
#include "dataset/answer_parts.h"

#include <math.h>
#include <stdlib.h>

/* Of the memory that there is, the groups that are sorted at once take no more than this part: their rows take as much again, and
 * those who read still have theirs. */
enum { ANSWER_SHARE = 8 };

static void split_key(const cairn_answer_rows *a, row *r)
{
    const char *at = r->groups->keys + r->group->key.at;

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

/* The first bytes of a text as a number: of most texts that tells which comes first, without a look at them. */
static uint64_t prefix_of(cairn_field field)
{
    unsigned char bytes[8] = {0};
    uint64_t prefix = 0;

    memcpy(bytes, field.text, field.bytes < sizeof bytes ? field.bytes : sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        prefix = prefix << 8 | bytes[i];
    }
    return prefix;
}

static int compare_keys(const cairn_answer_rows *about, const row *a, const row *b, uint32_t i)
{
    int order = about->numeric[i] ? cairn_number_compare(a->number[i], b->number[i]) : 0;

    if (i == about->first && !about->numeric[i] && a->prefix != b->prefix) {
        return a->prefix < b->prefix ? -1 : 1;
    }

    return order != 0 ? order : compare_text(a->key[i], b->key[i]);
}

/* Sums of fixed numbers that are the same double may still differ. */
static int compare_sums(const cairn_answer_rows *about, const row *a, const row *b, uint32_t column)
{
    const cairn_aggregate *aggregate = &about->query->aggregate[column - about->query->group_count];

    if (aggregate->kind != CAIRN_AGG_SUM || a->group == NULL || b->group == NULL) {
        return 0;
    }
    const cairn_sum *left = &a->group->cell[aggregate->value].sum, *right = &b->group->cell[aggregate->value].sum;
    return left->wide != NULL || right->wide != NULL ? 0 : (left->fixed > right->fixed) - (left->fixed < right->fixed);
}

/* By the i-th thing that the query orders by. */
static int compare_ordered(const cairn_answer_rows *about, const row *a, const row *b, uint32_t i)
{
    const cairn_order_by *by = &about->query->order[i];
    order_value left = a->order[i], right = b->order[i];
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
    const cairn_answer_rows *about = context;
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

bool answer_value(const row *r, const cairn_aggregate *aggregate, double *value)
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
    if (cell != NULL && r->groups->shape.needs[aggregate->value] != 0) {
        sketch = *cairn_groups_sketch(r->groups, r->group, aggregate->value);
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

/* Everything about a row that its group says. A group column with a key that is no number is not numeric, for all rows. */
static void fill_row(cairn_answer_rows *a, row *r, const cairn_groups *groups, const cairn_group *group)
{
    r->groups = groups;
    r->group = group;
    if (group != NULL) {
        split_key(a, r);
        if (a->first < a->query->group_count) {
            r->prefix = prefix_of(r->key[a->first]);
        }
    }
    for (uint32_t k = a->first; k < a->query->group_count && group != NULL; k++) {
        if (a->numeric[k]) {
            r->number[k] = cairn_number_parse(r->key[k].text, r->key[k].bytes);
            a->numeric[k] = r->number[k].kind != CAIRN_NUMBER_NONE;
        }
    }
    for (uint32_t i = 0; i < a->query->order_count; i++) {
        uint32_t column = a->query->order[i].column;
        if (column < a->query->group_count) {
            r->order[i].missing = r->key[column].bytes == 0;
        } else {
            const cairn_aggregate *by = &a->query->aggregate[column - a->query->group_count];
            r->order[i].missing = !answer_value(r, by, &r->order[i].value);
        }
    }
}

static void free_rows(rows *some)
{
    free(some->row);
    free(some->keys);
    free(some->numbers);
    free(some->order);
    *some = (rows){0};
}

static bool make_rows(const cairn_answer_rows *a, rows *some, uint32_t count)
{
    uint32_t keys = a->query->group_count, orders = a->query->order_count;

    *some = (rows){.row = calloc(count + (size_t)1, sizeof *some->row),
                   .keys = calloc((size_t)count * keys + 1, sizeof *some->keys),
                   .numbers = calloc((size_t)count * keys + 1, sizeof *some->numbers),
                   .order = calloc((size_t)count * orders + 1, sizeof *some->order),
                   .count = count};
    if (some->row == NULL || some->keys == NULL || some->numbers == NULL || some->order == NULL) {
        free_rows(some);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        some->row[i].key = some->keys + (size_t)i * keys;
        some->row[i].number = some->numbers + (size_t)i * keys;
        some->row[i].order = some->order + (size_t)i * orders;
    }
    return true;
}

/* The rows of a table, in order. */
static cairn_status sort_rows(cairn_answer_rows *a, const cairn_groups *groups, rows *some)
{
    bool nothing = groups->count == 0 && a->query->group_count == 0;

    if (!make_rows(a, some, nothing ? 1 : groups->count)) {
        return cairn_fail(a->error, CAIRN_E_NOMEM, "the rows of the answer");
    }
    for (uint32_t i = 0; i < some->count; i++) {
        fill_row(a, &some->row[i], groups, nothing ? NULL : cairn_groups_at(groups, i));
    }
    if (some->count > 1) {
        qsort_r(some->row, some->count, sizeof *some->row, compare_rows, a);
    }
    return CAIRN_OK;
}

static uint64_t limited(const cairn_answer_rows *a, uint64_t count)
{
    return a->query->limit > 0 && a->query->limit < count ? a->query->limit : count;
}

/* ---------------------------------------------------------------- rows that are not in memory */

/* A reader's row, which is freed with it. */
static row *lone_row(const cairn_answer_rows *a)
{
    uint32_t keys = a->query->group_count, orders = a->query->order_count;
    row *r = calloc(1, sizeof *r + keys * (sizeof *r->key + sizeof *r->number) + orders * sizeof *r->order);

    if (r != NULL) {
        r->key = (cairn_field *)(void *)(r + 1);
        r->number = (cairn_number *)(void *)(r->key + keys);
        r->order = (order_value *)(void *)(r->number + keys);
    }
    return r;
}

static cairn_status load_row(void *context, cairn_run_reader *reader)
{
    cairn_answer_rows *a = context;

    if (reader->context == NULL) {
        reader->context = lone_row(a);
    }
    if (reader->context == NULL) {
        return CAIRN_E_NOMEM;
    }
    fill_row(a, reader->context, &reader->one, cairn_groups_one(&reader->one));
    return CAIRN_OK;
}

static int compare_loaded(void *context, const cairn_run_reader *a, const cairn_run_reader *b)
{
    return compare_rows(a->context, b->context, context);
}

static cairn_merge_order by_answer(cairn_answer_rows *a)
{
    return (cairn_merge_order){.compare = compare_loaded, .loaded = load_row, .context = a};
}

/* Groups of one key become one. Now all keys are seen: which columns are numeric is known afterwards. */
static cairn_status join_runs(cairn_answer_rows *a, cairn_runs *runs, cairn_runs *joined)
{
    cairn_merge_order order = cairn_merge_by_key;
    const cairn_run_reader *from;
    cairn_run_writer writer;

    order.loaded = load_row;
    order.context = a;
    cairn_status status = cairn_merge_open(a->merge, runs->run, runs->count, a->shape, &order, a->error);
    if (status == CAIRN_OK) {
        status = cairn_spill_begin(a->spill, &writer, a->shape, a->error);
    }
    if (status == CAIRN_OK) {
        while ((status = cairn_merge_next(a->merge, &from, a->error)) == CAIRN_OK && from != NULL) {
            a->count++;
            status = cairn_run_put(&writer, &from->one, cairn_groups_one(&from->one), a->error);
            if (status != CAIRN_OK) {
                break;
            }
        }
        if (status == CAIRN_OK) {
            status = cairn_run_end(&writer, joined, a->error);
        } else {
            cairn_run_abandon(&writer);
        }
    }
    cairn_merge_close(a->merge);
    return status;
}

static cairn_status write_chunk(cairn_answer_rows *a)
{
    rows some = {0};
    cairn_run_writer writer;
    cairn_status status = sort_rows(a, &a->chunk, &some);

    if (status == CAIRN_OK) {
        status = cairn_spill_begin(a->spill, &writer, a->shape, a->error);
    }
    if (status == CAIRN_OK) {
        for (uint64_t i = 0; i < limited(a, some.count) && status == CAIRN_OK; i++) {
            status = cairn_run_put(&writer, some.row[i].groups, some.row[i].group, a->error);
        }
        if (status == CAIRN_OK) {
            status = cairn_run_end(&writer, &a->sorted, a->error);
        } else {
            cairn_run_abandon(&writer);
        }
    }
    free_rows(&some);
    if (status == CAIRN_OK) {
        cairn_groups_drop(&a->chunk);
    }
    return status;
}

/* In pieces that fit in memory, each ordered as the answer. */
static cairn_status sort_joined(cairn_answer_rows *a, const cairn_run *joined)
{
    cairn_run_reader reader;
    bool any = true;
    cairn_status status = cairn_groups_init(&a->chunk, a->shape);

    if (status != CAIRN_OK) {
        return status;
    }
    status = cairn_run_open(&reader, joined, a->shape, a->error);
    if (status != CAIRN_OK) {
        return status;
    }
    while (status == CAIRN_OK && any) {
        status = cairn_run_next(&reader, &any, a->error);
        if (status == CAIRN_OK && any) {
            status = cairn_groups_take(&a->chunk, &reader.one, cairn_groups_one(&reader.one));
        }
        if (status == CAIRN_OK && any && cairn_groups_bytes(&a->chunk) > a->spill->memory / ANSWER_SHARE) {
            status = write_chunk(a);
        }
    }
    cairn_run_close(&reader);
    return status == CAIRN_OK && a->sorted.count > 0 && a->chunk.count > 0 ? write_chunk(a) : status;
}

static cairn_status sort_outside(cairn_answer_rows *a, cairn_runs *runs)
{
    cairn_runs joined = {0};
    cairn_merge_order order = by_answer(a);

    a->merge = calloc(1, sizeof *a->merge);
    cairn_status status =
        a->merge == NULL ? CAIRN_E_NOMEM
                         : cairn_spill_reduce(a->spill, runs, CAIRN_MERGE_MAX, a->shape, &cairn_merge_by_key, a->error);
    if (status == CAIRN_OK) {
        status = join_runs(a, runs, &joined);
    }
    if (status == CAIRN_OK) {
        status = sort_joined(a, joined.run);
    }
    cairn_runs_remove_files(&joined);
    cairn_runs_free(&joined);
    if (status == CAIRN_OK && a->sorted.count == 0) { /* after all it fits */
        a->spill = NULL;
        return sort_rows(a, &a->chunk, &a->rows);
    }
    if (status == CAIRN_OK) {
        status = cairn_spill_reduce(a->spill, &a->sorted, CAIRN_MERGE_MAX, a->shape, &order, a->error);
    }
    return status;
}

/* ---------------------------------------------------------------- */

cairn_status cairn_answer_make(cairn_answer_rows **out, cairn_groups *groups, cairn_runs *runs, cairn_spill *spill,
                               const cairn_query *query, const cairn_columns *columns, cairn_error *error)
{
    cairn_answer_rows *a = calloc(1, sizeof *a);
    cairn_status status;

    *out = NULL;
    if (a == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the answer");
    }
    a->query = query;
    a->columns = columns;
    a->shape = groups->shape;
    a->first = query->selects;
    a->error = error;
    for (uint32_t i = a->first; i < query->group_count; i++) {
        a->numeric[i] = true;
    }
    if (runs == NULL || runs->count == 0) {
        status = sort_rows(a, groups, &a->rows);
    } else {
        a->spill = spill;
        status = cairn_spill_groups(spill, groups, runs, error);
        status = status == CAIRN_OK ? sort_outside(a, runs) : status;
    }
    a->count = limited(a, a->spill == NULL ? a->rows.count : a->count);
    if (status != CAIRN_OK) {
        cairn_answer_free(a);
        return error->status == CAIRN_OK ? cairn_fail(error, status, "the answer") : status;
    }
    *out = a;
    return CAIRN_OK;
}

void cairn_answer_free(cairn_answer_rows *a)
{
    if (a == NULL) {
        return;
    }
    if (a->merge != NULL) {
        cairn_merge_close(a->merge);
        free(a->merge);
    }
    cairn_runs_remove_files(&a->sorted);
    cairn_runs_free(&a->sorted);
    cairn_groups_free(&a->chunk);
    free_rows(&a->rows);
    free(a);
}

void answer_rewind(cairn_answer_rows *a)
{
    a->at = 0;
    if (a->spill == NULL || a->status != CAIRN_OK) {
        return;
    }
    cairn_merge_close(a->merge);
    a->order = by_answer(a);
    a->status = cairn_merge_open(a->merge, a->sorted.run, a->sorted.count, a->shape, &a->order, a->error);
}

const row *answer_next(cairn_answer_rows *a)
{
    const cairn_run_reader *reader = NULL;

    if (a->status != CAIRN_OK || a->at == a->count) {
        return NULL;
    }
    a->at++;
    if (a->spill == NULL) {
        return &a->rows.row[a->at - 1];
    }
    a->status = cairn_merge_next(a->merge, &reader, a->error);
    return a->status == CAIRN_OK && reader != NULL ? reader->context : NULL;
}

void answer_name(const cairn_answer_rows *a, uint32_t column, char *text, size_t bytes)
{
    if (column < a->query->group_count) {
        (void)snprintf(text, bytes, "%s", a->columns->name[a->query->group_column[column]]);
    } else {
        cairn_query_name(a->query, column - a->query->group_count, a->columns, text, bytes);
    }
}
