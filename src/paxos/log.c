/* Appending, sealing, trimming and reading the log. Writing is in log_write.c, opening in log_open.c, the format in
 * log_parts.h.
 *
 * When a segment may go. Segments are dropped from the oldest on, never from the middle, so that what remains is a
 * suffix of what was appended: a reader sees the votes of consecutive slots in the order of appending, as a core with a
 * bounded window needs it. A segment may go when
 *   - it is not the one written to: then a later segment begins with a group that repeats the highest ballot promised
 *     (or voted at: an acceptor never takes back either) and the newest admission;
 *   - every vote in it is of a slot at or below the trim, which an image holds; and all this holds for all before it.
 * Votes that are made again and again for the same open slots (leaders that change without getting anything chosen)
 * would keep segments for ever by that rule. So when a new segment is begun and all the newest votes above the trim
 * together are small (a quarter of a segment), its head repeats every one of them, in order of slots, and all older
 * segments may go. All or nothing: a slot repeated behind later slots would come too late for the window.
 *
 * The header of each group names the oldest segment that is still needed once that group is durable. Files below are
 * renamed only after that, so at opening `oldest` up to the last must all be there, or the log is damaged.
 *
 * Why old bytes are never taken for new ones:
 *   - a header counts only in the segment and at the offset that it names itself, and segments' numbers rise for ever:
 *     what is left in a renamed file names another one;
 *   - it names its storage id: what another log left is nobody's;
 *   - groups are a hash chain: each header holds the check of the header before, which covers that group's body. A torn
 *     group n is cut off and another n is written: n + 1 then follows only this n. If the new n is torn too, sectors of
 *     both may mix; a mixture that is valid must be one of the two byte for byte, neither of which was reported
 *     written, and both of which follow n - 1: the acceptor did append it, and never answered on the strength of it.
 * Why damage is told from a torn tail: n + 2 is written only after n + 1 was synced. The header alone of a group
 * n + 2 or later proves that n + 1 was durable, so if the readable groups end at n, something was damaged. And the mark
 * is written only after a group was synced, so if it says n + 1, the same holds although nothing follows. Of the groups
 * that were reported durable only those can get lost unseen that no mark tells of: after a power loss those of the last
 * half minute or so (until the kernel has written the mark back), if the disk loses them as well. */
#include "paxos/log_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

cairn_status log_options_check(cairn_log_options *out, const cairn_log_options *options, cairn_error *error)
{
    *out = *options;
    out->segment_bytes = options->segment_bytes > 0 ? options->segment_bytes : LOG_SEGMENT_BYTES;
    if (out->segment_bytes % LOG_SECTOR != 0 || out->segment_bytes > LOG_SEGMENT_MOST ||
        out->segment_bytes < log_least_segment(out->value_max)) {
        return cairn_fail(error, CAIRN_E_INVALID,
                          "log: segments of %" PRIu64 " bytes: must be a multiple of %u, from %" PRIu64
                          " (for values of %" PRIu32 " bytes) to %" PRIu64,
                          out->segment_bytes, LOG_SECTOR, log_least_segment(out->value_max), out->value_max,
                          LOG_SEGMENT_MOST);
    }
    return CAIRN_OK;
}

/* Room for `count` elements, at least doubled so that adding one at a time is cheap. NULL: no memory; *data is kept. */
static void *grow(void *data, size_t *room, size_t count, size_t element)
{
    size_t wanted = count > *room * 2 ? count : *room * 2;
    void *larger;

    if (count <= *room) {
        return data;
    }
    larger = wanted <= SIZE_MAX / 2 / element ? realloc(data, wanted * element) : NULL;
    *room = larger != NULL ? wanted : *room;
    return larger;
}

bool log_segments_reserve(cairn_log *log, size_t count)
{
    void *larger = grow(log->segments, &log->segment_room, count, sizeof *log->segments);

    log->segments = larger != NULL ? larger : log->segments;
    return larger != NULL || count == 0;
}

bool log_spare_add(log_writer *writer, uint64_t segment)
{
    void *larger = grow(writer->spares, &writer->spare_room, writer->spare_count + 1, sizeof *writer->spares);

    if (larger == NULL) {
        return false;
    }
    writer->spares = larger;
    writer->spares[writer->spare_count++] = segment;
    return true;
}

void cairn_log_close(cairn_log *log)
{
    if (log == NULL) {
        return;
    }
    log_index_free(&log->index);
    free(log->gather.data);
    free(log->gather.entries);
    free(log->writing.data);
    free(log->writing.entries);
    free(log->writer.spares);
    free(log->writer.repeats);
    free(log->segments);
    free(log);
}

/* ---- appending */

/* Everything that note_written will need is reserved here, so that it cannot fail. */
static bool reserve(cairn_log *log, size_t bytes)
{
    log_batch *batch = &log->gather;
    size_t pending = batch->count + log->writing.count + 1;
    size_t used = batch->bytes > 0 ? batch->bytes : LOG_HEADER_BYTES;
    size_t before = batch->room;
    void *data = grow(batch->data, &batch->room, used + bytes + LOG_SECTOR, 1);
    void *entries;

    if (data == NULL) {
        return false;
    }
    batch->data = data;
    memset(batch->data + before, 0, batch->room - before);
    entries = grow(batch->entries, &batch->entry_room, batch->count + 1, sizeof *batch->entries);
    if (entries == NULL) {
        return false;
    }
    batch->entries = entries;
    batch->bytes = used;
    /* Each record begins at most one segment. */
    return log_index_reserve(&log->index, log->index.count + pending) &&
           log_segments_reserve(log, log->segment_count + pending + 1);
}

cairn_status cairn_log_append(cairn_log *log, const mp_record *record)
{
    log_batch *batch = &log->gather;
    size_t bytes = (size_t)LOG_RECORD_BYTES + record->value.bytes;

    if (record->value.bytes > log->options.value_max || record->kind < MP_RECORD_PROMISE ||
        record->kind > MP_RECORD_MEMBER || (record->kind == MP_RECORD_VOTE && record->slot == 0)) {
        return CAIRN_E_INVALID;
    }
    if (!reserve(log, bytes)) {
        return CAIRN_E_NOMEM;
    }
    log_record_put(batch->data + batch->bytes, record);
    batch->entries[batch->count++] = (log_entry){.number = record->number,
                                                 .slot = record->slot,
                                                 .chosen = record->chosen,
                                                 .ballot = record->ballot,
                                                 .at = batch->bytes,
                                                 .bytes = (uint32_t)bytes,
                                                 .generation = record->generation,
                                                 .kind = (uint8_t)record->kind};
    batch->bytes += bytes;
    return CAIRN_OK;
}

/* ---- sealing: what the writer will need to know of the index is found here, in the caller's thread */

static int by_slot(const void *a, const void *b)
{
    const log_place *left = a;
    const log_place *right = b;

    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

/* If all the newest votes above the trim are few, the next head shall repeat them. */
static void choose_repeats(cairn_log *log)
{
    log_writer *w = &log->writer;
    uint64_t bytes = 0;
    uint64_t most = log->options.segment_bytes - log_least_segment(log->options.value_max);

    most = most < log->options.segment_bytes / 4 ? most : log->options.segment_bytes / 4;
    for (size_t i = 0; i < log->index.room; i++) {
        const log_place *place = &log->index.places[i];
        void *larger;

        if (place->slot <= log->trim) { /* or empty */
            continue;
        }
        bytes += LOG_RECORD_BYTES + place->bytes;
        larger = bytes <= most ? grow(w->repeats, &w->repeat_room, w->repeat_count + 1, sizeof *w->repeats) : NULL;
        if (larger == NULL) {
            return;
        }
        w->repeats = larger;
        w->repeats[w->repeat_count++] = *place;
    }
    if (w->repeat_count > 0) {
        qsort(w->repeats, w->repeat_count, sizeof *w->repeats, by_slot);
    }
    w->repeat = true;
}

bool cairn_log_seal(cairn_log *log)
{
    log_batch gathered = log->gather;
    log_writer *w = &log->writer;
    size_t first = 0;

    if (log->sealed || gathered.count == 0) {
        return false;
    }
    while (first + 1 < log->segment_count && log->segments[first].last_slot <= log->trim) {
        first++;
    }
    w->oldest = log->segments[first].number;
    w->repeat_count = 0;
    w->repeat = false;
    w->repeated = false;
    if (log_group_room(gathered.bytes - LOG_HEADER_BYTES) > w->segment_bytes - w->at) {
        choose_repeats(log);
    }
    w->durable = 0;
    memset(gathered.data + gathered.bytes, 0, LOG_SECTOR); /* the padding */
    log->gather = log->writing;
    log->gather.count = 0;
    log->gather.bytes = 0;
    log->writing = gathered;
    log->sealed = true;
    return true;
}

size_t cairn_log_sealed_bytes(const cairn_log *log)
{
    return log->sealed ? log->writing.bytes : 0;
}

/* ---- after writing */

static void note_segments(cairn_log *log)
{
    const log_writer *w = &log->writer;
    uint64_t last = log->segments[log->segment_count - 1].number;

    while (last < w->segment) {
        log->segments[log->segment_count++] = (log_segment){.number = ++last, .bytes = log->options.segment_bytes};
    }
}

static void note_vote(cairn_log *log, log_place place)
{
    log_segment *segment =
        &log->segments[log->segment_count - 1 - (size_t)(log->segments[log->segment_count - 1].number - place.segment)];

    log_index_put(&log->index, place);
    segment->last_slot = place.slot > segment->last_slot ? place.slot : segment->last_slot;
}

static void drop_segments(cairn_log *log)
{
    log_writer *w = &log->writer;
    size_t first = 0;

    while (log->segments[first].number < w->durable_oldest) {
        /* Without memory for it, or of another size, the file stays until the log is opened again. */
        if (log->segments[first].bytes == log->options.segment_bytes) {
            (void)log_spare_add(w, log->segments[first].number);
        }
        first++;
    }
    if (first > 0) {
        log->segment_count -= first;
        memmove(log->segments, log->segments + first, log->segment_count * sizeof *log->segments);
        log_index_drop(&log->index, w->durable_oldest);
    }
}

void cairn_log_written(cairn_log *log, uint64_t *number)
{
    log_writer *w = &log->writer;

    if (log->sealed) {
        note_segments(log);
        for (size_t i = 0; w->repeated && i < w->repeat_count; i++) {
            note_vote(log, w->repeats[i]);
        }
        for (size_t i = 0; i < w->durable; i++) {
            const log_entry *entry = &log->writing.entries[i];

            if (entry->kind == MP_RECORD_VOTE) {
                note_vote(log,
                          (log_place){entry->slot, entry->segment, entry->offset, entry->bytes - LOG_RECORD_BYTES});
            }
        }
        drop_segments(log);
        log->writing.count = 0;
        log->writing.bytes = 0;
        log->sealed = false;
    }
    log->stats.groups = w->groups;
    log->stats.records = w->records;
    log->stats.bytes = w->bytes;
    log->stats.live_bytes = w->at;
    for (size_t i = 0; i + 1 < log->segment_count; i++) {
        log->stats.live_bytes += log->segments[i].bytes;
    }
    if (number != NULL) {
        *number = w->last_record;
    }
}

void cairn_log_trim(cairn_log *log, uint64_t slot)
{
    log->trim = slot > log->trim ? slot : log->trim;
}

cairn_status cairn_log_read(cairn_log *log, uint64_t slot, void *buffer, mp_value *value, cairn_error *error)
{
    const log_place *place = log_index_find(&log->index, slot);
    uint8_t head[LOG_RECORD_BYTES];
    char name[LOG_NAME_BYTES];
    mp_record record;
    cairn_status status;

    *value = (mp_value){0};
    if (place == NULL) {
        return cairn_fail(error, CAIRN_E_NOT_FOUND, "log: slot %" PRIu64 " is not in it (any more)", slot);
    }
    log_name(name, place->segment);
    status = log->disk.read(log->disk.context, name, place->offset, head, sizeof head, error);
    if (status == CAIRN_OK && place->bytes > 0) {
        status = log->disk.read(log->disk.context, name, place->offset + LOG_RECORD_BYTES, buffer, place->bytes, error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    if (!log_record_head(head, &record) || record.kind != MP_RECORD_VOTE || record.slot != slot ||
        record.value.bytes != place->bytes || !log_record_check(head, buffer, place->bytes)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: the vote of slot %" PRIu64 " is damaged", name, slot);
    }
    *value = (mp_value){.type = record.value.type, .bytes = record.value.bytes, .data = buffer};
    return CAIRN_OK;
}

void cairn_log_get_stats(const cairn_log *log, cairn_log_stats *out)
{
    *out = log->stats;
    out->segments = log->segment_count;
    out->first_slot = log->index.first;
}
