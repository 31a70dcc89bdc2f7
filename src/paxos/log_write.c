/* Writing groups: all that runs in the writer's thread (see log_parts.h for what belongs to it). */
#include "paxos/log_parts.h"

#include <stdlib.h>

void log_head_take(log_head *head, const log_entry *entry)
{
    /* PX_CHOSEN says that the value was learned, not that a ballot was voted at. */
    if (entry->ballot != PX_CHOSEN && entry->ballot > head->promised) {
        head->promised = entry->ballot;
    }
    if (entry->kind == MP_RECORD_MEMBER) {
        head->member = (mp_record){.number = entry->number,
                                   .kind = MP_RECORD_MEMBER,
                                   .ballot = entry->ballot,
                                   .slot = entry->slot,
                                   .chosen = entry->chosen,
                                   .generation = entry->generation};
    }
    head->chosen = entry->chosen > head->chosen ? entry->chosen : head->chosen;
    head->number = entry->number;
}

/* Not synced: it may be behind the log after a power loss, and must never be ahead. */
cairn_status log_mark_write(const cairn_disk *disk, const log_writer *writer, cairn_error *error)
{
    log_mark mark = {.storage = writer->storage, .number = writer->number - 1, .owner = writer->owner};
    uint8_t data[LOG_MARK_BYTES];

    log_mark_put(data, &mark);
    return disk->write(disk->context, LOG_MARK_NAME, mark.number % 2 * LOG_SECTOR, data, sizeof data, error);
}

cairn_status log_group_write(const cairn_disk *disk, log_writer *writer, const char *name, uint8_t *data,
                             uint32_t body_bytes, uint32_t records, cairn_error *error)
{
    log_group group = {.storage = writer->storage,
                       .number = writer->number,
                       .previous = writer->previous,
                       .segment = writer->segment,
                       .oldest = writer->oldest,
                       .segment_bytes = writer->segment_bytes,
                       .offset = (uint32_t)writer->at,
                       .bytes = body_bytes,
                       .records = records,
                       .flags = LOG_MARKED};
    uint64_t room = log_group_room(body_bytes);
    cairn_status status;

    log_group_put(data, &group);
    status = disk->persist(disk->context, name, writer->at, data, (size_t)room, error);
    if (status == CAIRN_OK) {
        writer->at += room;
        writer->number++;
        writer->previous = group.check;
        writer->durable_oldest = group.oldest;
        writer->groups++;
        writer->records += records;
        writer->bytes += room;
        status = log_mark_write(disk, writer, error);
    }
    return status;
}

/* What begins a segment, into body (room for two records): its bytes. */
static uint32_t head_put(const log_head *head, uint8_t *body, uint32_t *records)
{
    mp_record promise = {
        .number = head->number, .kind = MP_RECORD_PROMISE, .ballot = head->promised, .chosen = head->chosen};
    uint32_t bytes = 0;

    *records = 0;
    if (head->promised != PX_NONE) {
        log_record_put(body, &promise);
        bytes += LOG_RECORD_BYTES;
        ++*records;
    }
    if (head->member.kind == MP_RECORD_MEMBER) {
        log_record_put(body + bytes, &head->member);
        bytes += LOG_RECORD_BYTES;
        ++*records;
    }
    return bytes;
}

/* Have the file of the next segment ready: an old one under a new name, or a new one. */
static cairn_status prepare(cairn_log *log, cairn_error *error)
{
    log_writer *w = &log->writer;
    char name[LOG_NAME_BYTES];
    char old[LOG_NAME_BYTES];
    cairn_status status;

    log_name(name, w->segment + 1);
    if (w->spare_count > 0) {
        log_name(old, w->spares[w->spare_count - 1]);
        status = log->disk.rename(log->disk.context, old, name, error);
        w->spare_count -= status == CAIRN_OK;
    } else {
        w->tried = true;
        status = log->disk.create(log->disk.context, name, log->options.segment_bytes, error);
    }
    w->prepared = status == CAIRN_OK;
    return status;
}

/* The votes to repeat from the disk into body; false: one cannot be read, then none is repeated (and the older segments
 * stay). They come in order of slots now, so what each says to be chosen must not be ahead of the votes before it, nor
 * so far behind that a reader's window ends before the slot. */
static bool read_repeats(const cairn_log *log, uint8_t *body)
{
    const log_writer *w = &log->writer;
    char name[LOG_NAME_BYTES];

    for (size_t i = 0; i < w->repeat_count; i++) {
        const log_place *place = &w->repeats[i];
        mp_record record;

        log_name(name, place->segment);
        if (log->disk.read(log->disk.context, name, place->offset, body, LOG_RECORD_BYTES + (size_t)place->bytes,
                           NULL) != CAIRN_OK ||
            !log_record_head(body, &record) || record.slot != place->slot || record.value.bytes != place->bytes ||
            !log_record_check(body, body + LOG_RECORD_BYTES, place->bytes)) {
            return false;
        }
        record.chosen = place->slot <= w->head.chosen ? place->slot - 1 : w->head.chosen;
        record.value.data = body + LOG_RECORD_BYTES;
        log_record_put(body, &record);
        body += LOG_RECORD_BYTES + place->bytes;
    }
    return true;
}

/* Repeated votes first: the promise says what is chosen, and must not do so before the votes are read. */
static cairn_status write_head(cairn_log *log, const char *name, cairn_error *error)
{
    log_writer *w = &log->writer;
    bool repeat = w->repeat;
    uint32_t votes = 0;
    uint32_t records;
    uint8_t *data;
    cairn_status status;

    for (size_t i = 0; repeat && i < w->repeat_count; i++) {
        votes += LOG_RECORD_BYTES + w->repeats[i].bytes;
    }
    data = calloc(1, LOG_HEADER_BYTES + (size_t)votes + 2 * LOG_RECORD_BYTES + LOG_SECTOR);
    if (data == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to begin it", name);
    }
    if (repeat && !read_repeats(log, data + LOG_HEADER_BYTES)) {
        repeat = false;
        votes = 0;
    }
    if (repeat) {
        uint32_t offset = LOG_HEADER_BYTES;

        w->oldest = w->segment;
        for (size_t i = 0; i < w->repeat_count; i++) {
            w->repeats[i].segment = w->segment;
            w->repeats[i].offset = offset;
            offset += LOG_RECORD_BYTES + w->repeats[i].bytes;
        }
    }
    votes += head_put(&w->head, data + LOG_HEADER_BYTES + votes, &records);
    records += repeat ? (uint32_t)w->repeat_count : 0;
    status = log_group_write(&log->disk, w, name, data, votes, records, error);
    w->repeated = w->repeated || (status == CAIRN_OK && repeat);
    w->repeat = false;
    free(data);
    return status;
}

static cairn_status next_segment(cairn_log *log, cairn_error *error)
{
    log_writer *w = &log->writer;
    char name[LOG_NAME_BYTES];
    cairn_status status = w->prepared ? CAIRN_OK : prepare(log, error);

    if (status != CAIRN_OK) {
        return status;
    }
    w->segment++;
    w->segment_bytes = log->options.segment_bytes;
    w->at = 0;
    w->prepared = false;
    w->tried = false;
    log_name(name, w->segment);
    status = write_head(log, name, error);
    w->fresh_at = w->at;
    return status;
}

static cairn_status write_entries(cairn_log *log, size_t from, size_t to, cairn_error *error)
{
    log_writer *w = &log->writer;
    log_entry *entries = log->writing.entries;
    uint8_t *data = log->writing.data + entries[from].at - LOG_HEADER_BYTES;
    size_t end = entries[to - 1].at + entries[to - 1].bytes;
    uint64_t at = w->at;
    char name[LOG_NAME_BYTES];
    cairn_status status;

    w->repeat = false; /* they were chosen without the votes of this batch */
    log_name(name, w->segment);
    status =
        log_group_write(&log->disk, w, name, data, (uint32_t)(end - entries[from].at), (uint32_t)(to - from), error);
    for (size_t i = from; i < to && status == CAIRN_OK; i++) {
        log_head_take(&w->head, &entries[i]);
        entries[i].segment = w->segment;
        entries[i].offset = (uint32_t)(at + entries[i].at - entries[from].at + LOG_HEADER_BYTES);
        w->last_record = entries[i].number;
        w->durable = i + 1;
    }
    return status;
}

/* Usually one group. What does not fit into the rest of the segment goes to the next one; what is larger than a whole
 * segment becomes several groups, each synced before the next. A header is written over the bytes before its records:
 * they belong to a group that is durable already. */
static cairn_status write_batch(cairn_log *log, cairn_error *error)
{
    log_writer *w = &log->writer;
    const log_batch *batch = &log->writing;
    cairn_status status = CAIRN_OK;

    for (size_t from = 0; from < batch->count && status == CAIRN_OK;) {
        uint64_t rest = w->segment_bytes - w->at;
        size_t to = batch->count;

        if (log_group_room(batch->bytes - batch->entries[from].at) > rest) {
            bool fresh = w->at == w->fresh_at;

            for (to = from; fresh && to < batch->count; to++) {
                const log_entry *last = &batch->entries[to];

                if (log_group_room(last->at + last->bytes - batch->entries[from].at) > rest) {
                    break;
                }
            }
        }
        if (to > from) {
            status = write_entries(log, from, to, error);
            from = to;
        } else {
            status = next_segment(log, error);
        }
    }
    return status;
}

/* What can be done ahead or later, after the group is durable. A failure here harms nobody: what is really needed is
 * tried again, and fails, then. */
static void tidy(cairn_log *log)
{
    log_writer *w = &log->writer;
    char name[LOG_NAME_BYTES];

    if (!w->prepared && w->at > w->segment_bytes / 2 && (!w->tried || w->spare_count > 0)) {
        (void)prepare(log, NULL);
    }
    if (w->spare_count > LOG_SPARES_MOST) {
        log_name(name, w->spares[w->spare_count - 1]);
        (void)log->disk.remove(log->disk.context, name, NULL);
        w->spare_count--;
    }
}

cairn_status cairn_log_write(cairn_log *log, cairn_error *error)
{
    log_writer *w = &log->writer;

    if (!log->sealed) {
        return cairn_fail(error, CAIRN_E_STATE, "log: nothing was sealed");
    }
    if (w->failed.status == CAIRN_OK) {
        cairn_error failed = {CAIRN_OK, ""};

        failed.status = write_batch(log, &failed);
        w->failed = failed;
        if (failed.status == CAIRN_OK) {
            tidy(log);
        }
    }
    if (w->failed.status != CAIRN_OK && error != NULL) {
        *error = w->failed;
    }
    return w->failed.status;
}
