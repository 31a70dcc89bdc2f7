/* The table of partial aggregates: see groups.h. */
#include "dataset/groups.h"

#include "base/checksum.h"

#include <math.h>

enum { FIRST_SLOTS = 1024, ROOMY_SLOTS = 1 << 16, MAGIC = 0x32524743 }; /* "CGR2" */

cairn_shape cairn_query_shape(const cairn_query *query)
{
    const uint32_t *columns;
    cairn_shape shape = {.value_count = query->value_count};

    shape.where_count = query->where == NULL ? 0 : cairn_expr_columns(query->where, &columns);
    memcpy(shape.needs, query->needs, sizeof shape.needs);
    return shape;
}

static void set_shape(cairn_groups *groups, cairn_shape shape)
{
    groups->shape = shape;
    for (uint32_t k = 0; k < shape.value_count; k++) {
        groups->sketch_of[k] = groups->sketch_count;
        groups->sketch_count += shape.needs[k] != 0;
    }
    groups->stride =
        sizeof(cairn_group) + shape.value_count * sizeof(cairn_cell) + groups->sketch_count * sizeof(cairn_sketch *);
    groups->stride = (groups->stride + _Alignof(cairn_group) - 1) / _Alignof(cairn_group) * _Alignof(cairn_group);
}

cairn_status cairn_groups_init(cairn_groups *groups, cairn_shape shape)
{
    memset(groups, 0, sizeof *groups);
    set_shape(groups, shape);
    groups->slots = calloc(FIRST_SLOTS, sizeof *groups->slots);
    groups->slot_mask = FIRST_SLOTS - 1;
    return groups->slots == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
}

static void free_sketch(cairn_sketch *sketch)
{
    if (sketch != NULL) {
        cairn_squares_clear(&sketch->squares);
        cairn_distinct_clear(&sketch->distinct);
        cairn_quantiles_clear(&sketch->quantiles);
        free(sketch);
    }
}

static void free_values(cairn_groups *groups)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        cairn_group *group = cairn_groups_at(groups, i);
        for (uint32_t k = 0; k < groups->shape.value_count; k++) {
            cairn_sum_clear(&group->cell[k].sum);
            if (groups->shape.needs[k] != 0) {
                free_sketch(*cairn_groups_sketch(groups, group, k));
            }
        }
    }
}

void cairn_groups_free(cairn_groups *groups)
{
    free_values(groups);
    free(groups->entries);
    free(groups->slots);
    free(groups->keys);
    memset(groups, 0, sizeof *groups);
}

cairn_status cairn_groups_clear(cairn_groups *groups)
{
    cairn_shape shape = groups->shape;
    cairn_groups_free(groups);
    return cairn_groups_init(groups, shape);
}

void cairn_groups_drop(cairn_groups *groups)
{
    free_values(groups);
    memset(groups->slots, 0, ((size_t)groups->slot_mask + 1) * sizeof *groups->slots);
    groups->count = 0;
    groups->key_bytes = groups->heap_bytes = 0;
}

/* Two words over long keys; equal words are still compared byte by byte. */
cairn_entry_key cairn_groups_long_key(const char *key, uint32_t bytes)
{
    uint64_t a = bytes, b = UINT64_C(0x243f6a8885a308d3), word;

    for (uint32_t i = 0; i < bytes; i += 8) {
        uint32_t at = i + 8 <= bytes ? i : bytes - 8;
        memcpy(&word, key + at, 8);
        cairn_u128 product = (cairn_u128)(a ^ word) * UINT64_C(0xa0761d6478bd642f);
        a = (uint64_t)product ^ (uint64_t)(product >> 64);
        b = (b ^ word) * UINT64_C(0xe7037ed1a0b428db);
        b ^= b >> 29;
    }
    return (cairn_entry_key){a, b, 0, bytes, 0};
}

static bool double_slots(cairn_groups *groups)
{
    size_t size = ((size_t)groups->slot_mask + 1) * 2;

    if (size > (size_t)1 << 31) {
        return false;
    }
    uint32_t *slots = calloc(size, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(groups->slots);
    groups->slots = slots;
    groups->slot_mask = (uint32_t)(size - 1);
    for (uint32_t i = 0; i < groups->count; i++) {
        uint32_t slot = cairn_groups_slot(groups, cairn_groups_at(groups, i)->key);
        while (slots[slot] != 0) {
            slot = (slot + 1) & groups->slot_mask;
        }
        slots[slot] = i + 1;
    }
    return true;
}

static bool room_for_one(cairn_groups *groups, size_t key_bytes)
{
    if (groups->count == groups->room) {
        uint32_t room = groups->room == 0 ? 256 : groups->room * 2;
        char *entries = room > groups->room ? realloc(groups->entries, room * groups->stride) : NULL;
        if (entries == NULL) {
            return false;
        }
        groups->entries = entries;
        groups->room = room;
    }
    if (groups->key_bytes + key_bytes + CAIRN_CSV_SLACK > groups->key_room) {
        size_t room = (groups->key_bytes + key_bytes + CAIRN_CSV_SLACK) * 2;
        char *keys = realloc(groups->keys, room);
        if (keys == NULL) {
            return false;
        }
        groups->keys = keys;
        groups->key_room = room;
    }
    return true;
}

static void clear_cell(cairn_cell *cell)
{
    memset(cell, 0, sizeof *cell);
    cell->low = INT64_MAX;
    cell->high = INT64_MIN;
    cell->wide_low = INFINITY;
    cell->wide_high = -INFINITY;
}

/* A small table has many slots: a key that is not in its first one costs more than they do. */
static bool is_full(const cairn_groups *groups)
{
    return groups->count > groups->slot_mask / (groups->slot_mask < ROOMY_SLOTS ? 8 : 2);
}

/* The key's bytes are behind those of the others. */
static cairn_group *add_group(cairn_groups *groups, cairn_entry_key key)
{
    cairn_group *group = cairn_groups_at(groups, groups->count++);

    group->key = key;
    group->key.at = groups->key_bytes;
    group->rows = 0;
    group->unused = 0;
    groups->key_bytes += key.bytes;
    for (uint32_t k = 0; k < groups->shape.value_count; k++) {
        clear_cell(&group->cell[k]);
        if (groups->shape.needs[k] != 0) {
            *cairn_groups_sketch(groups, group, k) = NULL;
        }
    }
    return group;
}

cairn_group *cairn_groups_make(cairn_groups *groups, const char *text, cairn_entry_key key, uint32_t slot)
{
    cairn_group *group;

    if (!room_for_one(groups, key.bytes)) {
        return NULL;
    }
    memcpy(groups->keys + groups->key_bytes, text, key.bytes);
    memset(groups->keys + groups->key_bytes + key.bytes, 0, CAIRN_CSV_SLACK);
    group = add_group(groups, key);
    groups->slots[slot] = groups->count;
    if (is_full(groups) && !double_slots(groups)) {
        return NULL;
    }
    return group;
}

static size_t wide_bytes(const cairn_sum *sum)
{
    return sum->wide == NULL ? 0 : sizeof *sum->wide;
}

static size_t sketch_bytes(const cairn_sketch *sketch)
{
    if (sketch == NULL) {
        return 0;
    }
    return sizeof *sketch + wide_bytes(&sketch->squares.wide) + sketch->distinct.room * sizeof *sketch->distinct.list +
           (sketch->distinct.registers == NULL ? 0 : CAIRN_DISTINCT_REGISTERS) +
           sketch->quantiles.size * sizeof *sketch->quantiles.table;
}

static size_t heap_bytes(const cairn_groups *groups, const cairn_group *group, uint32_t value)
{
    return wide_bytes(&group->cell[value].sum) +
           (groups->shape.needs[value] == 0 ? 0 : sketch_bytes(*cairn_groups_sketch(groups, group, value)));
}

static cairn_status add_to_cell(cairn_cell *cell, cairn_number number)
{
    cell->numbers++;
    if (number.kind == CAIRN_NUMBER_FIXED) {
        cell->low = number.fixed < cell->low ? number.fixed : cell->low;
        cell->high = number.fixed > cell->high ? number.fixed : cell->high;
    } else {
        cell->wide_low = number.wide < cell->wide_low ? number.wide : cell->wide_low;
        cell->wide_high = number.wide > cell->wide_high ? number.wide : cell->wide_high;
    }
    return cairn_sum_add(&cell->sum, number);
}

/* Of a number by its value, however it is written; of text by its bytes. */
static uint64_t hash_of(const cairn_field *field, cairn_number number)
{
    uint64_t words[2] = {number.kind, (uint64_t)number.fixed};

    if (number.kind == CAIRN_NUMBER_WIDE) {
        memcpy(&words[1], &number.wide, sizeof words[1]);
    }
    return number.kind == CAIRN_NUMBER_NONE ? cairn_digest_of(field->text, field->bytes).low
                                            : cairn_digest_of(words, sizeof words).low;
}

static cairn_status add_to_sketch(cairn_sketch **at, uint8_t needs, bool of_numbers, const cairn_field *field,
                                  cairn_number number)
{
    cairn_status status = CAIRN_OK;
    bool is_number = number.kind != CAIRN_NUMBER_NONE;

    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    if (is_number && (needs & CAIRN_NEEDS_SQUARES) != 0) {
        status = cairn_squares_add(&(*at)->squares, number);
    }
    if (is_number && (needs & CAIRN_NEEDS_QUANTILES) != 0 && status == CAIRN_OK) {
        double value = number.kind == CAIRN_NUMBER_WIDE ? number.wide : (double)number.fixed / (double)CAIRN_FIXED_ONE;
        status = cairn_quantiles_add(&(*at)->quantiles, value);
    }
    if ((needs & CAIRN_NEEDS_DISTINCT) != 0 && status == CAIRN_OK) {
        number.kind = of_numbers ? number.kind : CAIRN_NUMBER_NONE;
        status = cairn_distinct_add(&(*at)->distinct, hash_of(field, number));
    }
    return status;
}

cairn_status cairn_groups_add(cairn_groups *groups, cairn_group *group, const cairn_query *query, uint32_t value,
                              const cairn_field *field, uint32_t block, uint64_t row)
{
    uint8_t needs = groups->shape.needs[value];
    cairn_cell *cell = &group->cell[value];
    cairn_number number = {.kind = CAIRN_NUMBER_NONE};
    cairn_status status = CAIRN_OK;
    size_t before = heap_bytes(groups, group, value);

    cell->present++;
    if (query->numeric[value] || (query->of_numbers[value] && needs != 0)) {
        number = cairn_number_parse(field->text, field->bytes);
    }
    if (query->numeric[value]) {
        if (number.kind == CAIRN_NUMBER_NONE) {
            cairn_note_add(&groups->bad[value], block, row, field->text, field->bytes);
        } else {
            status = add_to_cell(cell, number);
        }
    }
    if (needs != 0 && status == CAIRN_OK) {
        status =
            add_to_sketch(cairn_groups_sketch(groups, group, value), needs, query->of_numbers[value], field, number);
    }
    groups->heap_bytes += heap_bytes(groups, group, value) - before;
    return status;
}

size_t cairn_groups_bytes(const cairn_groups *groups)
{
    return groups->count * groups->stride + groups->key_bytes +
           ((size_t)groups->slot_mask + 1) * sizeof *groups->slots + groups->heap_bytes;
}

static int by_position(const void *a, const void *b, void *context)
{
    const cairn_groups *groups = context;
    const cairn_group *left = cairn_groups_at(groups, *(const uint32_t *)a);
    const cairn_group *right = cairn_groups_at(groups, *(const uint32_t *)b);

    /* The position is the first of the key's columns, behind its length, which all have. */
    return memcmp(groups->keys + left->key.at, groups->keys + right->key.at, 4 + CAIRN_POSITION_BYTES);
}

cairn_status cairn_groups_keep_first(cairn_groups *groups, uint64_t most)
{
    cairn_groups fresh = {0};
    uint32_t *order;
    cairn_status status;

    if (groups->count <= most) {
        return CAIRN_OK;
    }
    order = malloc(groups->count * sizeof *order);
    status = order == NULL ? CAIRN_E_NOMEM : cairn_groups_init(&fresh, groups->shape);
    for (uint32_t i = 0; i < groups->count && status == CAIRN_OK; i++) {
        order[i] = i;
    }
    if (status == CAIRN_OK) {
        qsort_r(order, groups->count, sizeof *order, by_position, groups);
    }
    for (uint32_t i = 0; i < most && status == CAIRN_OK; i++) {
        const cairn_group *from = cairn_groups_at(groups, order[i]);
        cairn_group *to = cairn_groups_find(&fresh, groups->keys + from->key.at, from->key.bytes);

        status = to == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
        if (status == CAIRN_OK) {
            to->rows = from->rows;
        }
    }
    if (status == CAIRN_OK) {
        cairn_groups old = *groups;

        groups->entries = fresh.entries;
        groups->slots = fresh.slots;
        groups->keys = fresh.keys;
        groups->slot_mask = fresh.slot_mask;
        groups->count = fresh.count;
        groups->room = fresh.room;
        groups->key_bytes = fresh.key_bytes;
        groups->key_room = fresh.key_room;
        fresh.entries = old.entries;
        fresh.slots = old.slots;
        fresh.keys = old.keys;
        fresh.count = old.count;
    }
    free(order);
    cairn_groups_free(&fresh);
    return status;
}

static cairn_status merge_sketch(cairn_sketch **to, const cairn_sketch *from)
{
    if (from == NULL) {
        return CAIRN_OK;
    }
    if (*to == NULL) {
        *to = calloc(1, sizeof **to);
        if (*to == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    cairn_status status = cairn_squares_merge(&(*to)->squares, &from->squares);
    if (status == CAIRN_OK) {
        status = cairn_distinct_merge(&(*to)->distinct, &from->distinct);
    }
    return status == CAIRN_OK ? cairn_quantiles_merge(&(*to)->quantiles, &from->quantiles) : status;
}

static cairn_status merge_cell(cairn_cell *cell, const cairn_cell *other)
{
    cell->present += other->present;
    cell->numbers += other->numbers;
    cell->low = other->low < cell->low ? other->low : cell->low;
    cell->high = other->high > cell->high ? other->high : cell->high;
    cell->wide_low = other->wide_low < cell->wide_low ? other->wide_low : cell->wide_low;
    cell->wide_high = other->wide_high > cell->wide_high ? other->wide_high : cell->wide_high;
    return cairn_sum_merge(&cell->sum, &other->sum);
}

cairn_status cairn_groups_join(cairn_groups *groups, cairn_group *to, const cairn_groups *other,
                               const cairn_group *from)
{
    cairn_status status = CAIRN_OK;

    to->rows += from->rows;
    for (uint32_t k = 0; k < groups->shape.value_count && status == CAIRN_OK; k++) {
        size_t before = heap_bytes(groups, to, k);

        status = merge_cell(&to->cell[k], &from->cell[k]);
        if (status == CAIRN_OK && groups->shape.needs[k] != 0) {
            status = merge_sketch(cairn_groups_sketch(groups, to, k), *cairn_groups_sketch(other, from, k));
        }
        groups->heap_bytes += heap_bytes(groups, to, k) - before;
    }
    return status;
}

cairn_status cairn_groups_take(cairn_groups *groups, const cairn_groups *other, const cairn_group *from)
{
    cairn_group *to = cairn_groups_find(groups, other->keys + from->key.at, from->key.bytes);

    return to == NULL ? CAIRN_E_NOMEM : cairn_groups_join(groups, to, other, from);
}

int cairn_groups_compare(const cairn_groups *left, const cairn_group *a, const cairn_groups *right,
                         const cairn_group *b)
{
    uint64_t x = cairn_groups_hash(a->key), y = cairn_groups_hash(b->key);

    if (x != y) {
        return x < y ? -1 : 1;
    }
    if (a->key.bytes != b->key.bytes) {
        return a->key.bytes < b->key.bytes ? -1 : 1;
    }
    return memcmp(left->keys + a->key.at, right->keys + b->key.at, a->key.bytes);
}

cairn_status cairn_groups_merge(cairn_groups *groups, const cairn_groups *other)
{
    if (memcmp(&groups->shape, &other->shape, sizeof groups->shape) != 0) {
        return CAIRN_E_MISMATCH;
    }
    for (uint32_t i = 0; i < other->count; i++) {
        cairn_status status = cairn_groups_take(groups, other, cairn_groups_at(other, i));
        if (status != CAIRN_OK) {
            return status;
        }
    }
    groups->rows += other->rows;
    groups->selected += other->selected;
    for (uint32_t k = 0; k < groups->shape.value_count; k++) {
        groups->missing[k] += other->missing[k];
        cairn_note_merge(&groups->bad[k], &other->bad[k]);
    }
    for (uint32_t k = 0; k < groups->shape.where_count; k++) {
        cairn_note_merge(&groups->bad_where[k], &other->bad_where[k]);
    }
    cairn_note_merge(&groups->few, &other->few);
    cairn_note_merge(&groups->many, &other->many);
    cairn_note_merge(&groups->unclosed, &other->unclosed);
    return CAIRN_OK;
}

static void pack_double(double value, cairn_pack *pack)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    cairn_pack_u64(pack, bits);
}

static double unpack_double(cairn_unpack *unpack)
{
    uint64_t bits = cairn_unpack_u64(unpack);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void pack_sketch(const cairn_sketch *sketch, cairn_pack *pack)
{
    static const cairn_sketch empty;

    sketch = sketch == NULL ? &empty : sketch;
    cairn_squares_pack(&sketch->squares, pack);
    cairn_distinct_pack(&sketch->distinct, pack);
    cairn_quantiles_pack(&sketch->quantiles, pack);
}

static cairn_status unpack_sketch(cairn_sketch **at, cairn_unpack *unpack)
{
    *at = calloc(1, sizeof **at);
    if (*at == NULL) {
        return CAIRN_E_NOMEM;
    }
    cairn_status status = cairn_squares_unpack(&(*at)->squares, unpack);
    if (status == CAIRN_OK) {
        status = cairn_distinct_unpack(&(*at)->distinct, unpack);
    }
    return status == CAIRN_OK ? cairn_quantiles_unpack(&(*at)->quantiles, unpack) : status;
}

void cairn_groups_pack_one(const cairn_groups *groups, const cairn_group *group, cairn_pack *pack)
{
    cairn_pack_text(pack, groups->keys + group->key.at, group->key.bytes);
    cairn_pack_u64(pack, group->rows);
    for (uint32_t k = 0; k < groups->shape.value_count; k++) {
        const cairn_cell *cell = &group->cell[k];
        cairn_pack_u64(pack, cell->present);
        cairn_pack_u64(pack, cell->numbers);
        cairn_pack_u64(pack, (uint64_t)cell->low);
        cairn_pack_u64(pack, (uint64_t)cell->high);
        pack_double(cell->wide_low, pack);
        pack_double(cell->wide_high, pack);
        cairn_sum_pack(&cell->sum, pack);
        if (groups->shape.needs[k] != 0) {
            pack_sketch(*cairn_groups_sketch(groups, group, k), pack);
        }
    }
}

void cairn_groups_pack(const cairn_groups *groups, cairn_pack *pack)
{
    cairn_pack_u32(pack, MAGIC);
    cairn_pack_u32(pack, groups->shape.value_count);
    cairn_pack_u32(pack, groups->shape.where_count);
    cairn_pack_bytes(pack, groups->shape.needs, sizeof groups->shape.needs);
    cairn_pack_u32(pack, groups->count);
    cairn_pack_u64(pack, groups->rows);
    cairn_pack_u64(pack, groups->selected);
    for (uint32_t k = 0; k < groups->shape.value_count; k++) {
        cairn_pack_u64(pack, groups->missing[k]);
        cairn_note_pack(&groups->bad[k], pack);
    }
    for (uint32_t k = 0; k < groups->shape.where_count; k++) {
        cairn_note_pack(&groups->bad_where[k], pack);
    }
    cairn_note_pack(&groups->few, pack);
    cairn_note_pack(&groups->many, pack);
    cairn_note_pack(&groups->unclosed, pack);
    for (uint32_t i = 0; i < groups->count; i++) {
        cairn_groups_pack_one(groups, cairn_groups_at(groups, i), pack);
    }
}

static cairn_status unpack_cell(cairn_cell *cell, cairn_unpack *unpack)
{
    cell->present = cairn_unpack_u64(unpack);
    cell->numbers = cairn_unpack_u64(unpack);
    cell->low = (int64_t)cairn_unpack_u64(unpack);
    cell->high = (int64_t)cairn_unpack_u64(unpack);
    cell->wide_low = unpack_double(unpack);
    cell->wide_high = unpack_double(unpack);
    return isnan(cell->wide_low) || isnan(cell->wide_high) ? CAIRN_E_CORRUPT : cairn_sum_unpack(&cell->sum, unpack);
}

/* What follows the key. */
static cairn_status unpack_values(cairn_groups *groups, cairn_group *group, cairn_unpack *unpack)
{
    cairn_status status = CAIRN_OK;

    group->rows = cairn_unpack_u64(unpack);
    for (uint32_t k = 0; k < groups->shape.value_count && status == CAIRN_OK; k++) {
        status = unpack_cell(&group->cell[k], unpack);
        if (status == CAIRN_OK && groups->shape.needs[k] != 0) {
            status = unpack_sketch(cairn_groups_sketch(groups, group, k), unpack);
        }
        groups->heap_bytes += heap_bytes(groups, group, k);
    }
    return status;
}

static cairn_status unpack_group(cairn_groups *groups, cairn_unpack *unpack)
{
    size_t bytes;
    const uint8_t *key = cairn_unpack_text(unpack, &bytes);
    uint32_t before = groups->count;

    if (key == NULL) {
        return CAIRN_E_CORRUPT;
    }
    char *copy = calloc(1, bytes + CAIRN_CSV_SLACK); /* find reads beyond the key */
    if (copy == NULL) {
        return CAIRN_E_NOMEM;
    }
    memcpy(copy, key, bytes);
    cairn_group *group = cairn_groups_find(groups, copy, (uint32_t)bytes);
    free(copy);
    if (group == NULL) {
        return CAIRN_E_NOMEM;
    }
    if (groups->count == before) { /* the same key twice */
        return CAIRN_E_CORRUPT;
    }
    return unpack_values(groups, group, unpack);
}

void cairn_groups_init_one(cairn_groups *one, cairn_shape shape)
{
    memset(one, 0, sizeof *one);
    set_shape(one, shape);
}

cairn_status cairn_groups_unpack_one(cairn_groups *one, cairn_unpack *unpack)
{
    size_t bytes;
    const uint8_t *key = cairn_unpack_text(unpack, &bytes);

    free_values(one);
    one->count = 0;
    one->key_bytes = one->heap_bytes = 0;
    if (key == NULL) {
        return CAIRN_E_CORRUPT;
    }
    if (!room_for_one(one, bytes)) {
        return CAIRN_E_NOMEM;
    }
    memcpy(one->keys, key, bytes);
    memset(one->keys + bytes, 0, CAIRN_CSV_SLACK);
    (void)add_group(one, cairn_groups_key(one->keys, (uint32_t)bytes));
    cairn_status status = unpack_values(one, cairn_groups_one(one), unpack);
    return status == CAIRN_OK && unpack->bad ? CAIRN_E_CORRUPT : status;
}

static void unpack_counts(cairn_groups *groups, cairn_unpack *unpack)
{
    groups->rows = cairn_unpack_u64(unpack);
    groups->selected = cairn_unpack_u64(unpack);
    for (uint32_t k = 0; k < groups->shape.value_count; k++) {
        groups->missing[k] = cairn_unpack_u64(unpack);
        cairn_note_unpack(&groups->bad[k], unpack);
    }
    for (uint32_t k = 0; k < groups->shape.where_count; k++) {
        cairn_note_unpack(&groups->bad_where[k], unpack);
    }
    cairn_note_unpack(&groups->few, unpack);
    cairn_note_unpack(&groups->many, unpack);
    cairn_note_unpack(&groups->unclosed, unpack);
}

cairn_status cairn_groups_unpack(cairn_groups *groups, cairn_unpack *unpack)
{
    cairn_shape shape = {0};

    cairn_groups_free(groups);
    uint32_t magic = cairn_unpack_u32(unpack);
    shape.value_count = cairn_unpack_u32(unpack);
    shape.where_count = cairn_unpack_u32(unpack);
    const uint8_t *needs = cairn_unpack_bytes(unpack, sizeof shape.needs);
    uint32_t count = cairn_unpack_u32(unpack);
    if (!unpack->bad && magic != MAGIC) {
        return CAIRN_E_VERSION;
    }
    if (unpack->bad || shape.value_count > CAIRN_VALUE_COLUMNS_MAX || shape.where_count > CAIRN_EXPR_COLUMNS_MAX) {
        return CAIRN_E_CORRUPT;
    }
    memcpy(shape.needs, needs, sizeof shape.needs);
    cairn_status status = cairn_groups_init(groups, shape);
    if (status == CAIRN_OK) {
        unpack_counts(groups, unpack);
    }
    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = unpack_group(groups, unpack);
    }
    if (status == CAIRN_OK && unpack->bad) {
        status = CAIRN_E_CORRUPT;
    }
    if (status != CAIRN_OK) {
        cairn_groups_free(groups);
    }
    return status;
}
