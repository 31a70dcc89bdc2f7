/* The table of partial aggregates: see groups.h. */
#include "dataset/groups.h"

#include <math.h>

enum { FIRST_SLOTS = 1024, MAGIC = 0x31524743 }; /* "CGR1" */

cairn_status cairn_groups_init(cairn_groups *groups, uint32_t value_count)
{
    memset(groups, 0, sizeof *groups);
    groups->value_count = value_count;
    groups->stride = sizeof(cairn_group) + value_count * sizeof(cairn_cell);
    groups->slots = calloc(FIRST_SLOTS, sizeof *groups->slots);
    groups->slot_mask = FIRST_SLOTS - 1;
    return groups->slots == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
}

void cairn_groups_free(cairn_groups *groups)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        for (uint32_t k = 0; k < groups->value_count; k++) {
            cairn_sum_clear(&cairn_groups_at(groups, i)->cell[k].sum);
        }
    }
    free(groups->entries);
    free(groups->slots);
    free(groups->keys);
    memset(groups, 0, sizeof *groups);
}

cairn_status cairn_groups_clear(cairn_groups *groups)
{
    uint32_t value_count = groups->value_count;
    cairn_groups_free(groups);
    return cairn_groups_init(groups, value_count);
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
        memset(keys + groups->key_room, 0, room - groups->key_room);
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

cairn_group *cairn_groups_find_slow(cairn_groups *groups, const char *text, cairn_entry_key key, uint32_t slot)
{
    cairn_group *group;

    for (; groups->slots[slot] != 0; slot = (slot + 1) & groups->slot_mask) {
        group = cairn_groups_at(groups, groups->slots[slot] - 1);
        if (group->key.first == key.first && group->key.last == key.last && group->key.bytes == key.bytes &&
            (key.bytes <= 16 || memcmp(groups->keys + group->key.at, text, key.bytes) == 0)) {
            return group;
        }
    }
    if (!room_for_one(groups, key.bytes)) {
        return NULL;
    }
    group = cairn_groups_at(groups, groups->count++);
    group->key = key;
    group->key.at = groups->key_bytes;
    group->rows = 0;
    group->unused = 0;
    memcpy(groups->keys + groups->key_bytes, text, key.bytes);
    groups->key_bytes += key.bytes;
    for (uint32_t k = 0; k < groups->value_count; k++) {
        clear_cell(&group->cell[k]);
    }
    groups->slots[slot] = groups->count;
    if (groups->count > groups->slot_mask / 2 && !double_slots(groups)) {
        return NULL;
    }
    return group;
}

void cairn_note_add(cairn_note *note, uint32_t block, uint64_t row, const char *text, size_t bytes)
{
    if (note->count++ == 0 || block < note->block || (block == note->block && row < note->row)) {
        size_t length = bytes < CAIRN_NOTE_TEXT - 1 ? bytes : CAIRN_NOTE_TEXT - 1;
        note->block = block;
        note->row = row;
        memset(note->text, 0, sizeof note->text);
        memcpy(note->text, text, length);
    }
}

static void merge_note(cairn_note *note, const cairn_note *other)
{
    uint64_t count = note->count + other->count;

    if (other->count > 0 &&
        (note->count == 0 || other->block < note->block || (other->block == note->block && other->row < note->row))) {
        *note = *other;
    }
    note->count = count;
}

cairn_status cairn_cell_add_slow(cairn_cell *cell, const char *text, size_t bytes, cairn_note *bad, uint32_t block,
                                 uint64_t row)
{
    cairn_number number = cairn_number_parse(text, bytes);

    cell->present++;
    if (number.kind == CAIRN_NUMBER_NONE) {
        cairn_note_add(bad, block, row, text, bytes);
        return CAIRN_OK;
    }
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

cairn_status cairn_groups_merge(cairn_groups *groups, const cairn_groups *other)
{
    if (groups->value_count != other->value_count) {
        return CAIRN_E_MISMATCH;
    }
    for (uint32_t i = 0; i < other->count; i++) {
        const cairn_group *from = cairn_groups_at(other, i);
        cairn_group *to = cairn_groups_find(groups, other->keys + from->key.at, from->key.bytes);
        if (to == NULL) {
            return CAIRN_E_NOMEM;
        }
        to->rows += from->rows;
        for (uint32_t k = 0; k < groups->value_count; k++) {
            cairn_status status = merge_cell(&to->cell[k], &from->cell[k]);
            if (status != CAIRN_OK) {
                return status;
            }
        }
    }
    groups->rows += other->rows;
    for (uint32_t k = 0; k < groups->value_count; k++) {
        groups->missing[k] += other->missing[k];
        merge_note(&groups->bad[k], &other->bad[k]);
    }
    merge_note(&groups->few, &other->few);
    merge_note(&groups->many, &other->many);
    merge_note(&groups->unclosed, &other->unclosed);
    return CAIRN_OK;
}

static void pack_note(const cairn_note *note, cairn_pack *pack)
{
    cairn_pack_u64(pack, note->count);
    cairn_pack_u32(pack, note->block);
    cairn_pack_u64(pack, note->row);
    cairn_pack_bytes(pack, note->text, sizeof note->text);
}

static void unpack_note(cairn_note *note, cairn_unpack *unpack)
{
    note->count = cairn_unpack_u64(unpack);
    note->block = cairn_unpack_u32(unpack);
    note->row = cairn_unpack_u64(unpack);
    const uint8_t *text = cairn_unpack_bytes(unpack, sizeof note->text);
    if (text != NULL) {
        memcpy(note->text, text, sizeof note->text);
        note->text[sizeof note->text - 1] = '\0';
    }
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

void cairn_groups_pack(const cairn_groups *groups, cairn_pack *pack)
{
    cairn_pack_u32(pack, MAGIC);
    cairn_pack_u32(pack, groups->value_count);
    cairn_pack_u32(pack, groups->count);
    cairn_pack_u64(pack, groups->rows);
    for (uint32_t k = 0; k < groups->value_count; k++) {
        cairn_pack_u64(pack, groups->missing[k]);
        pack_note(&groups->bad[k], pack);
    }
    pack_note(&groups->few, pack);
    pack_note(&groups->many, pack);
    pack_note(&groups->unclosed, pack);
    for (uint32_t i = 0; i < groups->count; i++) {
        const cairn_group *group = cairn_groups_at(groups, i);
        cairn_pack_text(pack, groups->keys + group->key.at, group->key.bytes);
        cairn_pack_u64(pack, group->rows);
        for (uint32_t k = 0; k < groups->value_count; k++) {
            const cairn_cell *cell = &group->cell[k];
            cairn_pack_u64(pack, cell->present);
            cairn_pack_u64(pack, cell->numbers);
            cairn_pack_u64(pack, (uint64_t)cell->low);
            cairn_pack_u64(pack, (uint64_t)cell->high);
            pack_double(cell->wide_low, pack);
            pack_double(cell->wide_high, pack);
            cairn_sum_pack(&cell->sum, pack);
        }
    }
}

static cairn_status unpack_group(cairn_groups *groups, cairn_unpack *unpack)
{
    size_t bytes;
    const uint8_t *key = cairn_unpack_text(unpack, &bytes);
    uint32_t before = groups->count;
    cairn_status status = CAIRN_OK;

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
    group->rows = cairn_unpack_u64(unpack);
    for (uint32_t k = 0; k < groups->value_count && status == CAIRN_OK; k++) {
        cairn_cell *cell = &group->cell[k];
        cell->present = cairn_unpack_u64(unpack);
        cell->numbers = cairn_unpack_u64(unpack);
        cell->low = (int64_t)cairn_unpack_u64(unpack);
        cell->high = (int64_t)cairn_unpack_u64(unpack);
        cell->wide_low = unpack_double(unpack);
        cell->wide_high = unpack_double(unpack);
        if (isnan(cell->wide_low) || isnan(cell->wide_high)) {
            status = CAIRN_E_CORRUPT;
        } else {
            status = cairn_sum_unpack(&cell->sum, unpack);
        }
    }
    return status;
}

cairn_status cairn_groups_unpack(cairn_groups *groups, cairn_unpack *unpack)
{
    cairn_status status = CAIRN_OK;

    cairn_groups_free(groups);
    uint32_t magic = cairn_unpack_u32(unpack), value_count = cairn_unpack_u32(unpack), count = cairn_unpack_u32(unpack);
    if (unpack->bad || value_count > CAIRN_VALUE_COLUMNS_MAX) {
        return CAIRN_E_CORRUPT;
    }
    if (magic != MAGIC) {
        return CAIRN_E_VERSION;
    }
    status = cairn_groups_init(groups, value_count);
    if (status == CAIRN_OK) {
        groups->rows = cairn_unpack_u64(unpack);
        for (uint32_t k = 0; k < value_count; k++) {
            groups->missing[k] = cairn_unpack_u64(unpack);
            unpack_note(&groups->bad[k], unpack);
        }
        unpack_note(&groups->few, unpack);
        unpack_note(&groups->many, unpack);
        unpack_note(&groups->unclosed, unpack);
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
