/* A log on a made-up disk, and a list of all that was appended to it: what the tests of the log share. Included once in
 * a program. */
#ifndef CAIRN_TESTS_SUPPORT_LOG_BED_H
#define CAIRN_TESTS_SUPPORT_LOG_BED_H

#include "paxos/log_parts.h"
#include "support/fake_disk.h"
#include "support/unit.h"

enum { RECORDS_MAX = 4000, SLOTS_MAX = 4000, WINDOW = 8, VALUE_ROOM = 70000 };

typedef struct told {
    mp_record record; /* value.data: not used */
    uint64_t seed;    /* the value's bytes follow from it */
} told;

/* All that was appended, by number, and what the log has said of it. */
typedef struct model {
    told told[RECORDS_MAX + 1];
    uint64_t last, written; /* numbers */
    uint64_t chosen, trim;
    px_ballot ballot;
    uint32_t generation;
    uint64_t rng;
} model;

typedef struct bed {
    fake_disk *disk;
    cairn_disk face;
    cairn_log *log;
    cairn_log_options options;
    model m;
} bed;

/* What a replay gave. */
typedef struct seen {
    const model *m;
    uint64_t last;
    uint64_t newest[SLOTS_MAX + 1]; /* by slot: the number of the last vote */
    px_ballot promised;
    uint32_t generation;
    uint64_t through; /* all slots above the trim up to this one have a vote */
    uint64_t chosen;  /* as the records said */
    uint64_t records;
    bool strange;
} seen;

static bed b;
static seen s;

static inline void fill(uint8_t *data, uint32_t bytes, uint64_t seed)
{
    for (uint32_t i = 0; i < bytes; i += 8) {
        uint64_t word = fake_draw(&seed);

        memcpy(data + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

static inline bool same_value(const mp_value *value, const told *expected)
{
    static uint8_t data[VALUE_ROOM];

    fill(data, expected->record.value.bytes, expected->seed);
    return value->type == expected->record.value.type && value->bytes == expected->record.value.bytes &&
           (value->bytes == 0 || memcmp(value->data, data, value->bytes) == 0);
}

static inline bool same_record(const mp_record *record, const told *expected)
{
    const mp_record *e = &expected->record;

    /* A vote that is repeated says anew what was chosen. */
    return record->kind == e->kind && record->ballot == e->ballot && record->slot == e->slot &&
           (record->chosen == e->chosen || record->kind == MP_RECORD_VOTE) && record->generation == e->generation &&
           same_value(&record->value, expected);
}

static inline px_ballot promise_of(const mp_record *record)
{
    return record->kind == MP_RECORD_MEMBER || record->ballot == PX_CHOSEN ? PX_NONE : record->ballot;
}

static inline cairn_status take(void *context, const mp_record *record)
{
    seen *got = context;
    px_ballot promised = promise_of(record);

    got->records++;
    /* As a core with a bounded window needs it: the chosen ones are there, the others are near. */
    got->chosen = record->chosen > got->chosen ? record->chosen : got->chosen;
    if (got->through < got->m->trim) {
        got->through = got->m->trim;
    }
    got->strange = got->strange || got->chosen > got->through;
    if (record->number > got->m->last || (record->number == 0 && record->kind != MP_RECORD_PROMISE)) {
        got->strange = true;
        return CAIRN_OK;
    }
    /* The head of a segment says the highest ballot in a record of its own. */
    if (!same_record(record, &got->m->told[record->number]) &&
        (record->kind != MP_RECORD_PROMISE || record->slot != 0)) {
        got->strange = true;
    }
    got->last = record->number > got->last ? record->number : got->last;
    got->promised = promised > got->promised ? promised : got->promised;
    if (record->kind == MP_RECORD_MEMBER) {
        got->generation = record->generation;
    }
    if (record->kind == MP_RECORD_VOTE) {
        got->newest[record->slot] = record->number;
        while (got->through < SLOTS_MAX && got->newest[got->through + 1] != 0) {
            got->through++;
        }
        got->strange =
            got->strange || record->slot > (got->chosen > got->m->trim ? got->chosen : got->m->trim) + WINDOW;
    }
    return CAIRN_OK;
}

static inline bool open_log(cairn_log_found *found, cairn_error *error)
{
    uint64_t storage = 0;
    cairn_status status;

    memset(&s, 0, sizeof s);
    s.m = &b.m;
    status = cairn_log_open(&b.log, &b.face, &b.options, take, &s, found, &storage, error);
    if (status == CAIRN_OK && b.log != NULL) {
        CU_ASSERT(storage == 77);
    }
    return status == CAIRN_OK;
}

static inline void begin(uint64_t seed, uint64_t segment_bytes, uint32_t value_max)
{
    cairn_error error;

    memset(&b, 0, sizeof b);
    b.m.rng = seed;
    b.disk = fake_disk_new(seed);
    b.face = fake_disk_face(b.disk);
    b.options = (cairn_log_options){.segment_bytes = segment_bytes, .value_max = value_max};
    CU_ASSERT_FATAL(cairn_log_create(&b.log, &b.face, &b.options, 77, &error) == CAIRN_OK);
}

static inline void end(void)
{
    cairn_log_close(b.log);
    fake_disk_free(b.disk);
    b.log = NULL;
    b.disk = NULL;
}

static inline uint64_t draw(uint64_t below)
{
    return fake_draw(&b.m.rng) % below;
}

static inline void append(mp_record record, uint32_t bytes)
{
    static uint8_t data[VALUE_ROOM];
    told *entry = &b.m.told[++b.m.last];

    entry->seed = fake_draw(&b.m.rng);
    fill(data, bytes, entry->seed);
    record.number = b.m.last;
    record.chosen = b.m.chosen;
    record.value.bytes = bytes;
    record.value.data = data;
    entry->record = record;
    CU_ASSERT_FATAL(cairn_log_append(b.log, &record) == CAIRN_OK);
}

static inline void vote(uint64_t slot, px_ballot ballot, uint32_t bytes)
{
    append((mp_record){.kind = MP_RECORD_VOTE, .slot = slot, .ballot = ballot, .value.type = MP_COMMANDS}, bytes);
}

/* A mark as an older one would be after a power loss: the other sector says nothing. */
static inline void put_mark(fake_disk *disk, uint64_t storage, uint64_t number)
{
    uint8_t data[LOG_MARK_FILE] = {0};

    log_mark_put(data + number % 2 * LOG_SECTOR, &(log_mark){.storage = storage, .number = number});
    fake_disk_put(disk, LOG_MARK_NAME, data, sizeof data);
}

static inline bool has_vote(uint64_t slot, uint64_t up_to)
{
    for (uint64_t i = up_to; i > 0; i--) {
        if (b.m.told[i].record.kind == MP_RECORD_VOTE && b.m.told[i].record.slot == slot) {
            return true;
        }
    }
    return false;
}

static inline void append_any(void)
{
    uint32_t bytes = (uint32_t)draw(draw(8) == 0 ? b.options.value_max + 1 : b.options.value_max / 8 + 1);

    b.m.ballot += draw(6) == 0;
    switch (draw(12)) {
    case 0:
        append((mp_record){.kind = MP_RECORD_PROMISE, .ballot = ++b.m.ballot, .slot = 1}, 0);
        break;
    case 1:
        append((mp_record){.kind = MP_RECORD_MEMBER, .generation = ++b.m.generation, .slot = b.m.chosen}, 0);
        break;
    default:
        vote(b.m.chosen + (draw(6) != 0 || b.m.chosen == 0 ? 1 + draw(WINDOW) : 0),
             draw(5) == 0 ? PX_CHOSEN : b.m.ballot + 1, bytes);
        break;
    }
    while (draw(4) != 0 && has_vote(b.m.chosen + 1, b.m.last)) {
        b.m.chosen++;
    }
}

static inline cairn_status write_all(cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    while (status == CAIRN_OK && cairn_log_seal(b.log)) {
        uint64_t number = 0;

        status = cairn_log_write(b.log, error);
        cairn_log_written(b.log, &number);
        CU_ASSERT(number == 0 || (number >= b.m.written && number <= b.m.last)); /* 0: none since it was opened */
        CU_ASSERT(status != CAIRN_OK || number == b.m.last);
        b.m.written = number > 0 ? number : b.m.written;
    }
    return status;
}

/* The log was opened: is all there that must be, and in the right order? What was lost is taken from the model. */
static inline bool check_found(void)
{
    uint64_t newest[SLOTS_MAX + 1] = {0};
    px_ballot promised = PX_NONE;
    uint32_t generation = 0;
    bool right = !s.strange && s.last >= b.m.written && s.last <= b.m.last;

    b.m.last = s.last;
    b.m.written = s.last;
    b.m.chosen = b.m.trim;
    for (uint64_t i = 1; i <= s.last; i++) {
        const mp_record *record = &b.m.told[i].record;

        promised = promise_of(record) > promised ? promise_of(record) : promised;
        generation = record->kind == MP_RECORD_MEMBER ? record->generation : generation;
        if (record->kind == MP_RECORD_VOTE) {
            newest[record->slot] = i;
        }
        b.m.chosen = record->chosen > b.m.chosen ? record->chosen : b.m.chosen;
    }
    for (uint64_t slot = b.m.trim + 1; slot <= SLOTS_MAX; slot++) {
        right = right && newest[slot] == s.newest[slot];
    }
    b.m.ballot = promised > b.m.ballot ? promised : b.m.ballot;
    b.m.generation = generation;
    return right && promised == s.promised && generation == s.generation;
}

static inline bool check_read(uint64_t slot)
{
    static uint8_t buffer[VALUE_ROOM];
    cairn_error error = {CAIRN_OK, ""};
    mp_value value;
    cairn_status status = cairn_log_read(b.log, slot, buffer, &value, &error);
    uint64_t newest = 0;

    for (uint64_t i = 1; i <= b.m.written; i++) {
        if (b.m.told[i].record.kind == MP_RECORD_VOTE && b.m.told[i].record.slot == slot) {
            newest = i;
        }
    }
    if (status == CAIRN_E_NOT_FOUND) {
        return newest == 0 || slot <= b.m.trim;
    }
    return status == CAIRN_OK && newest != 0 && same_value(&value, &b.m.told[newest]);
}

#endif
