/* Partial aggregates: one entry a group, found by the bytes of its group columns; plus what was counted on the way.
 *
 * Everything in it is exact and does not depend on the order in which rows come, so two tables over different rows
 * merge into what one table over all the rows holds.
 *
 * A key is the text of the group column, or with several columns of each: its length (u32, little-endian), then its
 * bytes. Entries lie one after the other in one array, keys in another; slots (a power of two, at most half full, small ones an eighth)
 * hold entry index + 1. Keys and buffers have CAIRN_CSV_SLACK readable bytes behind them. */
#ifndef CAIRN_DATASET_GROUPS_H
#define CAIRN_DATASET_GROUPS_H

#include "dataset/distinct.h"
#include "dataset/quantile.h"
#include "dataset/query.h"
#include "dataset/squares.h"

#include <string.h>

/* What is known of one value column in one group. */
typedef struct cairn_cell {
    cairn_sum sum;
    uint64_t present;           /* values that are not missing                    */
    uint64_t numbers;           /* of them: numbers                               */
    int64_t low, high;          /* of the fixed numbers; low > high: there is none */
    double wide_low, wide_high; /* of the wide ones; likewise                     */
} cairn_cell;

typedef struct cairn_entry_key {
    uint64_t first, last; /* of keys up to 16 bytes: with the length they are the key; of longer ones a 128-bit hash */
    uint64_t at;          /* of the key's bytes */
    uint32_t bytes;
    uint32_t unused;
} cairn_entry_key;

typedef struct cairn_group {
    cairn_entry_key key;
    uint64_t rows;
    uint64_t unused;
    cairn_cell cell[]; /* one for each value column of the query; then a cairn_sketch * for each that needs one, NULL
                        * as long as it has no value */
} cairn_group;

/* What only some aggregates need. */
typedef struct cairn_sketch {
    cairn_squares squares;
    cairn_distinct distinct;
    cairn_quantiles quantiles;
} cairn_sketch;

/* What a table holds, by the query. */
typedef struct cairn_shape {
    uint32_t value_count, where_count;
    uint8_t needs[CAIRN_VALUE_COLUMNS_MAX]; /* CAIRN_NEEDS_... */
} cairn_shape;

typedef struct cairn_groups {
    size_t stride;
    char *entries; /* aligned for cairn_group */
    uint32_t *slots;
    char *keys;
    uint32_t slot_mask;
    uint32_t count, room;
    uint32_t sketch_count;
    size_t key_bytes, key_room;
    size_t heap_bytes; /* of sketches and of sums of wide numbers */
    /* counts over all rows */
    uint64_t rows, selected; /* read, and of them those of which the condition is true */
    uint64_t missing[CAIRN_VALUE_COLUMNS_MAX];
    cairn_shape shape;
    uint32_t sketch_of[CAIRN_VALUE_COLUMNS_MAX];  /* its place among the sketches */
    cairn_note bad[CAIRN_VALUE_COLUMNS_MAX];      /* text where a number is needed        */
    cairn_note bad_where[CAIRN_EXPR_COLUMNS_MAX]; /* the same in the condition            */
    cairn_note few, many;                         /* rows with fewer or more fields than the header */
    cairn_note unclosed;                          /* quotes that never end                */
    uint64_t
        most; /* of a select, and of one block: no more rows than that are kept, the first ones; 0: all. Not packed */
} cairn_groups;

cairn_shape cairn_query_shape(const cairn_query *query);
CAIRN_MUST_CHECK cairn_status cairn_groups_init(cairn_groups *groups, cairn_shape shape);
void cairn_groups_free(cairn_groups *groups); /* safe on zeros and on what init left */
/* As after init. */
CAIRN_MUST_CHECK cairn_status cairn_groups_clear(cairn_groups *groups);
/* The groups go; the counts over all rows stay, and so does the memory, for the next ones. */
void cairn_groups_drop(cairn_groups *groups);

static inline cairn_group *cairn_groups_at(const cairn_groups *groups, uint32_t index)
{
    return (cairn_group *)(void *)(groups->entries + (size_t)index * groups->stride);
}

/* The key in two words, and the slot to begin at. */
cairn_entry_key cairn_groups_long_key(const char *key, uint32_t bytes);
/* A group for this key, which is not there; the slot is free, and where it is looked for. NULL: no memory. */
cairn_group *cairn_groups_make(cairn_groups *groups, const char *text, cairn_entry_key key, uint32_t slot);

static inline uint64_t cairn_groups_hash(cairn_entry_key key)
{
    cairn_u128 product =
        (cairn_u128)(key.first ^ UINT64_C(0x9e3779b97f4a7c15)) * (key.last ^ key.bytes ^ UINT64_C(0xd6e8feb86659fd93));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t cairn_groups_slot(const cairn_groups *groups, cairn_entry_key key)
{
    return (uint32_t)cairn_groups_hash(key) & groups->slot_mask;
}

/* text has CAIRN_CSV_SLACK readable bytes behind it. */
static inline cairn_entry_key cairn_groups_key(const char *text, uint32_t bytes)
{
    /* What the slack holds is masked out without asking how long the key is: lengths come in no order. */
    static const uint8_t window[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    cairn_entry_key key = {0, 0, 0, bytes, 0};
    uint64_t first_mask, last_mask;

    if (__builtin_expect(bytes <= 16, 1)) {
        memcpy(&key.first, text, 8);
        memcpy(&key.last, text + 8, 8);
        memcpy(&first_mask, window + 16 - bytes, 8);
        memcpy(&last_mask, window + 24 - bytes, 8);
        key.first &= first_mask;
        key.last &= last_mask;
    } else {
        key = cairn_groups_long_key(text, bytes);
    }
    return key;
}

/* The group with this key; made when it is new. key has CAIRN_CSV_SLACK readable bytes behind it. NULL: no memory. */
static inline cairn_group *cairn_groups_find(cairn_groups *groups, const char *text, uint32_t bytes)
{
    cairn_entry_key key = cairn_groups_key(text, bytes);
    uint32_t slot = cairn_groups_slot(groups, key);

    for (uint32_t index; __builtin_expect((index = groups->slots[slot]) != 0, 1);
         slot = (slot + 1) & groups->slot_mask) {
        cairn_group *group = cairn_groups_at(groups, index - 1);
        if (__builtin_expect(group->key.first == key.first && group->key.last == key.last &&
                                 group->key.bytes == bytes &&
                                 (bytes <= 16 || memcmp(groups->keys + group->key.at, text, bytes) == 0),
                             1)) {
            return group;
        }
    }
    return cairn_groups_make(groups, text, key, slot);
}

/* The sketch of value column `value`; NULL: it has had no value. */
static inline cairn_sketch **cairn_groups_sketch(const cairn_groups *groups, const cairn_group *group, uint32_t value)
{
    return (cairn_sketch **)(void *)(uintptr_t)(group->cell + groups->shape.value_count) + groups->sketch_of[value];
}

/* Add one value that is not missing, the general way: to the cell, if it is to be a number, and to its sketch. text
 * that is no number: counted in bad[value]. */
CAIRN_MUST_CHECK cairn_status cairn_groups_add(cairn_groups *groups, cairn_group *group, const cairn_query *query,
                                               uint32_t value, const cairn_field *field, uint32_t block, uint64_t row);

/* Take all of `other` in. On CAIRN_E_NOMEM groups is not to be used any more. */
CAIRN_MUST_CHECK cairn_status cairn_groups_merge(cairn_groups *groups, const cairn_groups *other);

/* Memory that its groups use. */
size_t cairn_groups_bytes(const cairn_groups *groups);

/* Of a select: keep `most` rows, the first ones by their positions. CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_groups_keep_first(cairn_groups *groups, uint64_t most);

/* Bytes, format 2: u32 "CGR2", shape, group count; the counts; for each group key, rows, cells, sketches. unpack fills an
 * initialised or zero `groups` anew. CAIRN_E_CORRUPT, CAIRN_E_VERSION, CAIRN_E_NOMEM: *groups is empty then. */
void cairn_groups_pack(const cairn_groups *groups, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_groups_unpack(cairn_groups *groups, cairn_unpack *unpack);

/* One by one, for tables that are not in memory as a whole (run.h). `one` holds at most one group, and can only be read. */
void cairn_groups_init_one(cairn_groups *one, cairn_shape shape); /* to be freed as any */
void cairn_groups_pack_one(const cairn_groups *groups, const cairn_group *group, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_groups_unpack_one(cairn_groups *one, cairn_unpack *unpack);
/* The only one. */
static inline cairn_group *cairn_groups_one(const cairn_groups *one)
{
    return cairn_groups_at(one, 0);
}
/* Take `from`, a group of `other`, into `to`, which has the same key; or into the group of its key. */
CAIRN_MUST_CHECK cairn_status cairn_groups_join(cairn_groups *groups, cairn_group *to, const cairn_groups *other,
                                                const cairn_group *from);
CAIRN_MUST_CHECK cairn_status cairn_groups_take(cairn_groups *groups, const cairn_groups *other,
                                                const cairn_group *from);
/* An order of all keys that is the same in every table; 0: the same key. */
int cairn_groups_compare(const cairn_groups *left, const cairn_group *a, const cairn_groups *right,
                         const cairn_group *b);

#endif
