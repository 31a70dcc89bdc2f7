/* The answer as columns of numbers and texts: see answer.h. */
#include "dataset/answer_parts.h"
#include "dataset/shard.h"

#include <math.h>
#include <stdlib.h>

typedef struct column {
    char *name, *data;
    bool group, whole; /* of a group column: all are whole numbers, each written as it is printed */
    size_t widest;
    cairn_shard_type type;
} column;

static bool is_whole(cairn_field field, cairn_number number)
{
    char text[CAIRN_NUMBER_TEXT];

    return number.kind == CAIRN_NUMBER_FIXED && number.fixed % CAIRN_FIXED_ONE == 0 &&
           cairn_whole_print(number.fixed / CAIRN_FIXED_ONE, text) == field.bytes &&
           memcmp(text, field.text, field.bytes) == 0;
}

/* Of a group column only what loses nothing becomes numbers. */
static cairn_status choose_types(cairn_answer_rows *a, column *columns, uint32_t count)
{
    const row *r;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = i + a->first;
        columns[i] = (column){.group = k < a->query->group_count, .widest = 1};
        columns[i].whole = columns[i].group && a->numeric[k];
    }
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        for (uint32_t i = 0; i < count && columns[i].group; i++) {
            cairn_field field = r->key[i + a->first];
            columns[i].whole = columns[i].whole && is_whole(field, r->number[i + a->first]);
            columns[i].widest = field.bytes > columns[i].widest ? field.bytes : columns[i].widest;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        bool counts = false;
        if (!columns[i].group) {
            cairn_aggregate_kind kind = a->query->aggregate[i + a->first - a->query->group_count].kind;
            counts = kind == CAIRN_COUNT || kind == CAIRN_AGG_DISTINCT;
        }
        columns[i].type = counts || columns[i].whole ? CAIRN_SHARD_I64
                          : columns[i].group         ? CAIRN_SHARD_TEXT
                                                     : CAIRN_SHARD_F64;
        columns[i].widest = columns[i].type == CAIRN_SHARD_TEXT ? columns[i].widest : 8;
    }
    return a->status;
}

static void put_cell(const cairn_answer_rows *a, const row *r, uint32_t k, const column *c, char *at)
{
    double value = NAN;
    int64_t whole = 0;

    if (c->type == CAIRN_SHARD_TEXT) {
        memcpy(at, r->key[k].text, r->key[k].bytes); /* the rest is zeros */
        return;
    }
    if (c->group) {
        whole = r->number[k].fixed / CAIRN_FIXED_ONE;
    } else if (!answer_value(r, &a->query->aggregate[k - a->query->group_count], &value)) {
        value = NAN;
    } else if (c->type == CAIRN_SHARD_I64) {
        whole = (int64_t)value;
    }
    memcpy(at, c->type == CAIRN_SHARD_I64 ? (const void *)&whole : (const void *)&value, 8);
}

/* All of them are in memory then. */
static cairn_status fill(cairn_answer_rows *a, column *columns, uint32_t count, uint64_t memory)
{
    char text[ANSWER_NAME_BYTES];
    uint64_t width = 0, at = 0;
    const row *r;

    for (uint32_t i = 0; i < count; i++) {
        width += columns[i].widest;
    }
    if (memory > 0 && a->count > memory / 2 / width) {
        return cairn_fail(a->error, CAIRN_E_INVALID,
                          "the columns of the answer are put together in memory, and take %llu MB of it, which "
                          "--memory does not allow; write csv instead",
                          (unsigned long long)(a->count * width / 1000000));
    }
    for (uint32_t i = 0; i < count; i++) {
        answer_name(a, i + a->first, text, sizeof text);
        columns[i].name = strdup(text);
        columns[i].data = calloc(a->count + (size_t)1, columns[i].widest);
        if (columns[i].name == NULL || columns[i].data == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        for (uint32_t i = 0; i < count; i++) {
            put_cell(a, r, i + a->first, &columns[i], columns[i].data + at * columns[i].widest);
        }
        at++;
    }
    return a->status;
}

cairn_status cairn_answer_write(cairn_answer_rows *a, const char *path)
{
    uint32_t count = a->query->group_count + a->query->aggregate_count - a->first;
    column *columns = calloc(count + (size_t)1, sizeof *columns);
    cairn_shard_column *made = calloc(count + (size_t)1, sizeof *made);
    cairn_status status = columns == NULL || made == NULL ? CAIRN_E_NOMEM : choose_types(a, columns, count);

    if (status == CAIRN_OK) {
        status = fill(a, columns, count, a->spill == NULL ? 0 : a->spill->memory);
    }
    for (uint32_t k = 0; k < count && status == CAIRN_OK; k++) {
        made[k] = (cairn_shard_column){.name = columns[k].name,
                                       .type = columns[k].type,
                                       .width = (uint32_t)columns[k].widest,
                                       .data = columns[k].data};
    }
    if (status == CAIRN_E_NOMEM) {
        (void)cairn_fail(a->error, status, "%s: no memory for the answer", path);
    } else if (status == CAIRN_OK) {
        status = cairn_shard_write(path, made, count, a->count, NULL, a->error);
    }
    for (uint32_t k = 0; k < count && columns != NULL; k++) {
        free(columns[k].data);
        free(columns[k].name);
    }
    free(columns);
    free(made);
    return status;
}
