/* The table of keys, and their records. */
#include "base/checksum.h"
#include "coord/state_parts.h"

enum { BLOCK_ROOM = 256, BUCKETS_FIRST = 1024 };

struct cairn_key_block {
    size_t count; /* never 0 */
    cairn_key_entry *entries[BLOCK_ROOM];
};

cairn_record *cairn_record_new(const char *key, size_t length, const void *value, size_t bytes)
{
    cairn_record *record = malloc(sizeof *record + length + 1 + bytes);

    if (record == NULL) {
        return NULL;
    }
    *record = (cairn_record){.references = 1, .bytes = (uint32_t)bytes, .length = (uint16_t)length};
    memcpy(record->key, key, length);
    record->key[length] = '\0';
    if (bytes > 0) {
        memcpy(record->key + length + 1, value, bytes);
    }
    return record;
}

cairn_record *cairn_record_keep(cairn_record *record)
{
    record->references++;
    return record;
}

void cairn_record_drop(cairn_record *record)
{
    if (record != NULL && --record->references == 0) {
        free(record);
    }
}

cairn_kv cairn_record_kv(const cairn_record *record)
{
    return (cairn_kv){record->key,     cairn_record_value(record), record->bytes,
                      record->created, record->modified,           record->version,
                      record->lease};
}

static uint64_t hash_of(const char *key, size_t length)
{
    return cairn_digest_of(key, length).low;
}

static int order(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

cairn_key_entry *cairn_keys_find(const cairn_keys *keys, const char *key, size_t length)
{
    if (keys->count == 0) {
        return NULL;
    }
    uint64_t hash = hash_of(key, length);
    cairn_key_entry *entry = keys->buckets[hash & (keys->bucket_count - 1)];
    while (entry != NULL &&
           (entry->hash != hash || entry->record->length != length || memcmp(entry->record->key, key, length) != 0)) {
        entry = entry->chain;
    }
    return entry;
}

static bool grow_buckets(cairn_keys *keys)
{
    size_t bucket_count = keys->bucket_count == 0 ? BUCKETS_FIRST : keys->bucket_count * 2;
    cairn_key_entry **buckets = calloc(bucket_count, sizeof *buckets);

    if (buckets == NULL) {
        return false;
    }
    for (size_t i = 0; i < keys->bucket_count; i++) {
        for (cairn_key_entry *entry = keys->buckets[i], *next; entry != NULL; entry = next) {
            cairn_key_entry **bucket = &buckets[entry->hash & (bucket_count - 1)];

            next = entry->chain;
            entry->chain = *bucket;
            *bucket = entry;
        }
    }
    free(keys->buckets);
    keys->buckets = buckets;
    keys->bucket_count = bucket_count;
    return true;
}

/* How many entries of the block are before the text. */
static size_t before_in_block(const cairn_key_block *block, const char *text, size_t length, bool behind)
{
    size_t low = 0, high = block->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const cairn_record *record = block->entries[middle]->record;
        int is = order(record->key, record->length, text, length);

        if (is < 0 || (behind && is == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The block where the text belongs: the last whose first key is not after it. */
static size_t block_of(const cairn_keys *keys, const char *text, size_t length)
{
    size_t low = 0, high = keys->block_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const cairn_record *record = keys->blocks[middle]->entries[0]->record;

        if (order(record->key, record->length, text, length) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? 0 : low - 1;
}

cairn_cursor cairn_keys_seek(const cairn_keys *keys, const char *text, size_t length, bool behind)
{
    cairn_cursor cursor = {block_of(keys, text, length), 0};

    if (cursor.block < keys->block_count) {
        cursor.at = before_in_block(keys->blocks[cursor.block], text, length, behind);
    }
    return cursor;
}

cairn_key_entry *cairn_keys_next(const cairn_keys *keys, cairn_cursor *cursor)
{
    if (cursor->block < keys->block_count && cursor->at == keys->blocks[cursor->block]->count) {
        cursor->block++;
        cursor->at = 0;
    }
    return cursor->block < keys->block_count ? keys->blocks[cursor->block]->entries[cursor->at++] : NULL;
}

/* A new block at this place; NULL: no memory. */
static cairn_key_block *insert_block(cairn_keys *keys, size_t at)
{
    cairn_key_block *block = malloc(sizeof *block);

    if (block != NULL && keys->block_count == keys->block_room) {
        size_t room = keys->block_room * 2 + 16;
        cairn_key_block **blocks = realloc(keys->blocks, room * sizeof(cairn_key_block *));

        if (blocks == NULL) {
            free(block);
            return NULL;
        }
        keys->blocks = blocks;
        keys->block_room = room;
    }
    if (block != NULL) {
        memmove(&keys->blocks[at + 1], &keys->blocks[at], (keys->block_count - at) * sizeof(cairn_key_block *));
        keys->blocks[at] = block;
        keys->block_count++;
        block->count = 0;
    }
    return block;
}

static bool insert_in_order(cairn_keys *keys, cairn_key_entry *entry)
{
    const cairn_record *record = entry->record;
    size_t index = block_of(keys, record->key, record->length);

    if (keys->block_count == 0 && insert_block(keys, 0) == NULL) {
        return false;
    }
    cairn_key_block *block = keys->blocks[index];
    size_t at = before_in_block(block, record->key, record->length, false);
    if (block->count == BLOCK_ROOM) {
        cairn_key_block *next = insert_block(keys, index + 1);
        /* Keys that come in order fill their blocks. */
        size_t stay = at == BLOCK_ROOM ? BLOCK_ROOM - 1 : BLOCK_ROOM / 2;

        if (next == NULL) {
            return false;
        }
        next->count = BLOCK_ROOM - stay;
        block->count = stay;
        memcpy(next->entries, &block->entries[stay], next->count * sizeof(cairn_key_entry *));
        if (at > stay) {
            block = next;
            at -= stay;
        }
    }
    memmove(&block->entries[at + 1], &block->entries[at], (block->count - at) * sizeof(cairn_key_entry *));
    block->entries[at] = entry;
    block->count++;
    return true;
}

cairn_key_entry *cairn_keys_add(cairn_keys *keys, cairn_record *record)
{
    cairn_key_entry *entry;

    if (keys->count >= keys->bucket_count && !grow_buckets(keys)) {
        cairn_record_drop(record);
        return NULL;
    }
    entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        cairn_record_drop(record);
        return NULL;
    }
    entry->record = record;
    entry->hash = hash_of(record->key, record->length);
    if (!insert_in_order(keys, entry)) {
        cairn_record_drop(record);
        free(entry);
        return NULL;
    }
    cairn_key_entry **bucket = &keys->buckets[entry->hash & (keys->bucket_count - 1)];
    entry->chain = *bucket;
    *bucket = entry;
    keys->count++;
    return entry;
}

void cairn_keys_remove(cairn_keys *keys, cairn_key_entry *entry)
{
    cairn_key_entry **link = &keys->buckets[entry->hash & (keys->bucket_count - 1)];
    cairn_cursor cursor = cairn_keys_seek(keys, entry->record->key, entry->record->length, false);
    cairn_key_block *block = keys->blocks[cursor.block];

    while (*link != entry) {
        link = &(*link)->chain;
    }
    *link = entry->chain;
    block->count--;
    memmove(&block->entries[cursor.at], &block->entries[cursor.at + 1],
            (block->count - cursor.at) * sizeof(cairn_key_entry *));
    if (block->count == 0) {
        free(block);
        keys->block_count--;
        memmove(&keys->blocks[cursor.block], &keys->blocks[cursor.block + 1],
                (keys->block_count - cursor.block) * sizeof(cairn_key_block *));
    }
    keys->count--;
    cairn_record_drop(entry->record);
    free(entry);
}

void cairn_keys_free(cairn_keys *keys)
{
    for (size_t i = 0; i < keys->block_count; i++) {
        for (size_t j = 0; j < keys->blocks[i]->count; j++) {
            cairn_record_drop(keys->blocks[i]->entries[j]->record);
            free(keys->blocks[i]->entries[j]);
        }
        free(keys->blocks[i]);
    }
    free(keys->blocks);
    free(keys->buckets);
    *keys = (cairn_keys){0};
}
