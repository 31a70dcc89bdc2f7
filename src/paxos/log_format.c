/* The bytes of a segment: names, groups, records. */
#include "paxos/log_parts.h"

#include "base/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const uint8_t magic[8] = {'C', 'A', 'I', 'R', 'N', 'L', 'G', '1'};
static const uint8_t mark_magic[8] = {'C', 'A', 'I', 'R', 'N', 'M', 'K', '1'};

void log_name(char name[LOG_NAME_BYTES], uint64_t segment)
{
    (void)snprintf(name, LOG_NAME_BYTES, "log-%016" PRIx64, segment);
}

bool log_name_parse(const char *name, uint64_t *segment)
{
    char again[LOG_NAME_BYTES];

    if (sscanf(name, "log-%16" SCNx64, segment) != 1 || *segment == 0 || *segment >= LOG_NUMBER_MOST) {
        return false;
    }
    log_name(again, *segment);
    return strcmp(again, name) == 0;
}

void log_group_put(uint8_t *at, log_group *group)
{
    cairn_pack pack = {.data = at, .room = LOG_HEADER_BYTES};

    group->body_check = XXH3_64bits(at + LOG_HEADER_BYTES, group->bytes);
    cairn_pack_bytes(&pack, magic, sizeof magic);
    cairn_pack_u64(&pack, group->storage);
    cairn_pack_u64(&pack, group->number);
    cairn_pack_u64(&pack, group->previous);
    cairn_pack_u64(&pack, group->segment);
    cairn_pack_u64(&pack, group->oldest);
    cairn_pack_u64(&pack, group->segment_bytes);
    cairn_pack_u32(&pack, group->offset);
    cairn_pack_u32(&pack, group->bytes);
    cairn_pack_u32(&pack, group->records);
    cairn_pack_u32(&pack, group->flags);
    cairn_pack_u64(&pack, group->body_check);
    group->check = XXH3_64bits(at, pack.bytes);
    cairn_pack_u64(&pack, group->check);
}

bool log_group_get(const uint8_t *data, uint64_t segment, uint64_t segment_bytes, uint64_t offset, log_group *group)
{
    cairn_unpack unpack = {.data = data, .bytes = LOG_HEADER_BYTES, .at = sizeof magic};

    if (memcmp(data, magic, sizeof magic) != 0) {
        return false;
    }
    group->storage = cairn_unpack_u64(&unpack);
    group->number = cairn_unpack_u64(&unpack);
    group->previous = cairn_unpack_u64(&unpack);
    group->segment = cairn_unpack_u64(&unpack);
    group->oldest = cairn_unpack_u64(&unpack);
    group->segment_bytes = cairn_unpack_u64(&unpack);
    group->offset = cairn_unpack_u32(&unpack);
    group->bytes = cairn_unpack_u32(&unpack);
    group->records = cairn_unpack_u32(&unpack);
    group->flags = cairn_unpack_u32(&unpack);
    group->body_check = cairn_unpack_u64(&unpack);
    group->check = cairn_unpack_u64(&unpack);
    return group->check == XXH3_64bits(data, LOG_HEADER_BYTES - sizeof group->check) && group->segment == segment &&
           group->segment_bytes == segment_bytes && group->offset == offset && offset <= segment_bytes &&
           log_group_room(group->bytes) <= segment_bytes - offset && group->oldest <= segment && group->oldest > 0 &&
           group->number > 0 && group->number < LOG_NUMBER_MOST;
}

bool log_group_whole(const uint8_t *data, const log_group *group)
{
    const uint8_t *body = data + LOG_HEADER_BYTES;
    mp_record record;
    uint32_t at = 0;

    if (XXH3_64bits(body, group->bytes) != group->body_check) {
        return false;
    }
    for (uint32_t i = 0; i < group->records; i++) {
        if (!log_record_next(body, group->bytes, &at, &record)) {
            return false;
        }
    }
    return at == group->bytes;
}

void log_mark_put(uint8_t at[LOG_MARK_BYTES], const log_mark *mark)
{
    cairn_pack pack = {.data = at, .room = LOG_MARK_BYTES};

    cairn_pack_bytes(&pack, mark_magic, sizeof mark_magic);
    cairn_pack_u64(&pack, mark->storage);
    cairn_pack_u64(&pack, mark->number);
    cairn_pack_u64(&pack, mark->owner);
    cairn_pack_u64(&pack, XXH3_64bits(at, pack.bytes));
}

bool log_mark_get(const uint8_t *data, log_mark *mark)
{
    cairn_unpack unpack = {.data = data, .bytes = LOG_MARK_BYTES, .at = sizeof mark_magic};

    mark->storage = cairn_unpack_u64(&unpack);
    mark->number = cairn_unpack_u64(&unpack);
    mark->owner = cairn_unpack_u64(&unpack);
    return memcmp(data, mark_magic, sizeof mark_magic) == 0 &&
           cairn_unpack_u64(&unpack) == XXH3_64bits(data, LOG_MARK_BYTES - sizeof(uint64_t));
}

static uint64_t record_check(const uint8_t *data, const void *value, uint32_t bytes)
{
    uint64_t seed = XXH3_64bits(data + sizeof seed, LOG_RECORD_BYTES - sizeof seed);

    return XXH3_64bits_withSeed(bytes > 0 ? value : data, bytes, seed);
}

void log_record_put(uint8_t *at, const mp_record *record)
{
    cairn_pack pack = {.data = at, .room = LOG_RECORD_BYTES, .bytes = sizeof(uint64_t)};

    cairn_pack_u8(&pack, (uint8_t)record->kind);
    cairn_pack_u8(&pack, record->value.type);
    cairn_pack_uint(&pack, 0, 2);
    cairn_pack_u32(&pack, record->generation);
    cairn_pack_u64(&pack, record->number);
    cairn_pack_u64(&pack, record->ballot);
    cairn_pack_u64(&pack, record->slot);
    cairn_pack_u64(&pack, record->chosen);
    cairn_pack_u32(&pack, record->value.bytes);
    if (record->value.bytes > 0 && record->value.data != at + LOG_RECORD_BYTES) {
        memcpy(at + LOG_RECORD_BYTES, record->value.data, record->value.bytes);
    }
    pack.bytes = 0;
    cairn_pack_u64(&pack, record_check(at, at + LOG_RECORD_BYTES, record->value.bytes));
}

bool log_record_head(const uint8_t *data, mp_record *record)
{
    cairn_unpack unpack = {.data = data, .bytes = LOG_RECORD_BYTES, .at = sizeof(uint64_t)};
    uint8_t kind = cairn_unpack_u8(&unpack);

    *record = (mp_record){.kind = (mp_record_kind)kind};
    record->value.type = cairn_unpack_u8(&unpack);
    (void)cairn_unpack_uint(&unpack, 2);
    record->generation = cairn_unpack_u32(&unpack);
    record->number = cairn_unpack_u64(&unpack);
    record->ballot = cairn_unpack_u64(&unpack);
    record->slot = cairn_unpack_u64(&unpack);
    record->chosen = cairn_unpack_u64(&unpack);
    record->value.bytes = cairn_unpack_u32(&unpack);
    return kind >= MP_RECORD_PROMISE && kind <= MP_RECORD_MEMBER && (kind != MP_RECORD_VOTE || record->slot > 0);
}

bool log_record_check(const uint8_t *data, const void *value, uint32_t bytes)
{
    cairn_unpack unpack = {.data = data, .bytes = LOG_RECORD_BYTES};

    return cairn_unpack_u64(&unpack) == record_check(data, value, bytes);
}

bool log_record_next(const uint8_t *body, uint32_t bytes, uint32_t *at, mp_record *record)
{
    const uint8_t *data = body + *at;
    uint32_t left = bytes - *at;

    if (left < LOG_RECORD_BYTES || !log_record_head(data, record) || record->value.bytes > left - LOG_RECORD_BYTES) {
        return false;
    }
    record->value.data = record->value.bytes > 0 ? data + LOG_RECORD_BYTES : NULL;
    *at += LOG_RECORD_BYTES + record->value.bytes;
    return true;
}
