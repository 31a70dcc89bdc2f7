/* Making a log, and reading back what a crash, or worse, has left of one.
 *
 * Opening: the segment with the highest group number at its head whose first group is whole tells by its last whole
 * group which segment is the oldest one needed. From that one on every file is read: the chain of groups is followed,
 * and behind its end every 512-byte border is searched for headers of later groups (see log.c for what they prove).
 * The mark says how far the chain reached at least. Only when all is well the records are replayed, in a second
 * reading. Nothing is written to but the mark; a torn group is overwritten by the next. What was read may still be in
 * the kernel's memory only, if a process and not the machine has died: the last segment is synced before anybody
 * builds on it, and before the mark says so. */
#include "paxos/log_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct file {
    uint64_t number, bytes;
    uint64_t head; /* number of the first group; 0: its header is not whole */
} file;

typedef struct opening {
    const cairn_disk *disk;
    const cairn_log_options *options;
    cairn_error *error;
    file *files; /* ascending */
    size_t count, room;
    bool no_memory;
    uint8_t *data; /* one file */
    uint64_t data_room;
    uint64_t storage, oldest;
    /* The chain so far; number 0: not begun. */
    log_group last;
    uint64_t end_segment, end_at;
    size_t first_file, end_file;
    uint64_t later; /* the highest group number found behind the end of the chain */
    bool torn;
    bool has_mark;  /* there is a file of that name ... */
    bool mark_fits; /* ... and of its size */
    bool marked;    /* a group of the chain says that there must be */
} opening;

static void take_file(void *argument, const char *name, uint64_t bytes)
{
    opening *o = argument;
    uint64_t number;

    if (strcmp(name, LOG_MARK_NAME) == 0) {
        o->has_mark = true;
        o->mark_fits = bytes == LOG_MARK_FILE;
    }
    if (!log_name_parse(name, &number)) {
        return;
    }
    if (o->count == o->room) {
        size_t room = o->room * 2 + 16;
        file *larger = realloc(o->files, room * sizeof *larger);

        if (larger == NULL) {
            o->no_memory = true;
            return;
        }
        o->files = larger;
        o->room = room;
    }
    o->files[o->count++] = (file){.number = number, .bytes = bytes};
}

static int by_number(const void *a, const void *b)
{
    const file *left = a;
    const file *right = b;

    return left->number < right->number ? -1 : left->number > right->number;
}

static cairn_status list_files(opening *o)
{
    cairn_status status = o->disk->list(o->disk->context, take_file, o, o->error);

    if (status == CAIRN_OK && o->no_memory) {
        status = cairn_fail(o->error, CAIRN_E_NOMEM, "log: no memory to list it");
    }
    if (status == CAIRN_OK && o->count > 0) {
        qsort(o->files, o->count, sizeof *o->files, by_number);
    }
    return status;
}

/* Not CAIRN_OK for what is found: `found` says it, and the error tells a person. */
static cairn_status damaged(opening *o, cairn_log_found *found, uint64_t segment, const char *what, uint64_t number)
{
    char name[LOG_NAME_BYTES];

    log_name(name, segment);
    *found = CAIRN_LOG_DAMAGED;
    (void)cairn_fail(o->error, CAIRN_E_CORRUPT, "%s: %s %" PRIu64, name, what, number);
    return CAIRN_OK;
}

static cairn_status load(opening *o, const file *f)
{
    char name[LOG_NAME_BYTES];
    uint64_t room = f->bytes + LOG_HEADER_BYTES;

    log_name(name, f->number);
    if (f->bytes > LOG_SEGMENT_MOST) {
        return cairn_fail(o->error, CAIRN_E_CORRUPT, "%s: too large for a segment: %" PRIu64 " bytes", name, f->bytes);
    }
    if (room > o->data_room) {
        free(o->data);
        o->data = malloc((size_t)room);
        o->data_room = o->data != NULL ? room : 0;
        if (o->data == NULL) {
            return cairn_fail(o->error, CAIRN_E_NOMEM, "%s: no memory to read it", name);
        }
    }
    memset(o->data + f->bytes, 0, LOG_HEADER_BYTES); /* so that a header may be looked for at any border */
    return f->bytes == 0 ? CAIRN_OK : o->disk->read(o->disk->context, name, 0, o->data, (size_t)f->bytes, o->error);
}

/* The group at this offset of the loaded file; *whole: its body too. */
static bool group_at(const opening *o, const file *f, uint64_t offset, log_group *group, bool *whole)
{
    if (offset >= f->bytes || !log_group_get(o->data + offset, f->number, f->bytes, offset, group)) {
        return false;
    }
    *whole = log_group_whole(o->data + offset, group);
    return true;
}

/* Does this group go on the chain that was begun? */
static bool follows(const opening *o, const log_group *group)
{
    return group->storage == o->storage &&
           (o->last.number == 0 || (group->number == o->last.number + 1 && group->previous == o->last.check));
}

/* Follow the chain through the loaded file as far as it goes. false: it does not even begin here. */
static bool follow(opening *o, const file *f, uint64_t *end)
{
    log_group group;
    bool whole = false;

    *end = 0;
    o->torn = false;
    while (group_at(o, f, *end, &group, &whole) && follows(o, &group)) {
        if (!whole) {
            o->torn = true;
            break;
        }
        o->last = group;
        o->marked = o->marked || (group.flags & LOG_MARKED) != 0;
        *end += log_group_room(group.bytes);
    }
    return *end > 0;
}

static void look_for_later(opening *o, const file *f, uint64_t from)
{
    for (uint64_t at = from; at < f->bytes; at += LOG_SECTOR) {
        log_group group;

        if (log_group_get(o->data + at, f->number, f->bytes, at, &group) && group.storage == o->storage &&
            group.number > o->later) {
            o->later = group.number;
        }
    }
}

/* The heads of all files, and the storage and the oldest segment by the newest that begins with a whole group. */
static cairn_status find_oldest(opening *o, cairn_log_found *found)
{
    uint8_t head[LOG_SECTOR];
    char name[LOG_NAME_BYTES];
    cairn_status status = CAIRN_OK;
    log_group group;

    for (size_t i = 0; i < o->count && status == CAIRN_OK; i++) {
        if (o->files[i].bytes >= sizeof head) {
            log_name(name, o->files[i].number);
            status = o->disk->read(o->disk->context, name, 0, head, sizeof head, o->error);
            if (status == CAIRN_OK && log_group_get(head, o->files[i].number, o->files[i].bytes, 0, &group)) {
                o->files[i].head = group.number;
            }
        }
    }
    while (status == CAIRN_OK) {
        file *newest = NULL;
        bool whole = false;
        uint64_t end;

        for (size_t i = 0; i < o->count; i++) {
            newest = o->files[i].head > (newest != NULL ? newest->head : 0) ? &o->files[i] : newest;
        }
        if (newest == NULL) {
            return damaged(o, found, o->files[0].number, "no segment begins with a whole group; files:", o->count);
        }
        newest->head = 0;
        status = load(o, newest);
        if (status == CAIRN_OK && group_at(o, newest, 0, &group, &whole) && whole) {
            o->storage = group.storage;
            (void)follow(o, newest, &end);
            o->oldest = o->last.oldest;
            o->last = (log_group){0};
            return CAIRN_OK;
        }
    }
    return status;
}

/* Read all files from the oldest needed one on: the chain, and what is behind its end. */
static cairn_status follow_chain(opening *o, cairn_log_found *found)
{
    uint64_t expected = o->oldest;
    bool ended = false;
    bool torn = false;

    while (o->first_file < o->count && o->files[o->first_file].number < o->oldest) {
        o->first_file++;
    }
    for (size_t i = o->first_file; i < o->count; i++) {
        const file *f = &o->files[i];
        cairn_status status;
        uint64_t end = 0;

        if (f->number != expected++) {
            return damaged(o, found, expected - 1, "this segment is missing; the next one there is", f->number);
        }
        status = load(o, f);
        if (status != CAIRN_OK) {
            return status;
        }
        if (!ended && follow(o, f, &end)) {
            o->end_segment = f->number;
            o->end_at = end;
            o->end_file = i;
            torn = o->torn; /* what was torn in the segment before was written again in this one */
        } else if (!ended && i == o->first_file) {
            return damaged(o, found, f->number, "does not begin with a whole group; files:", o->count);
        } else if (!ended) {
            ended = true;
            torn = torn || o->torn;
        }
        look_for_later(o, f, end);
    }
    if (o->later > o->last.number + 1) {
        char what[96];

        (void)snprintf(what, sizeof what,
                       "damaged at byte %" PRIu64 " or later: no whole group %" PRIu64 ", but a later one:", o->end_at,
                       o->last.number + 1);
        return damaged(o, found, o->end_segment, what, o->later);
    }
    *found = torn ? CAIRN_LOG_TORN : CAIRN_LOG_WHOLE;
    return CAIRN_OK;
}

/* Does the chain reach as far as the mark says that it did, and is it the one that the mark is of? */
static cairn_status compare_mark(opening *o, cairn_log_found *found, const log_mark *mark)
{
    char what[160];

    if (mark->owner != o->options->owner) {
        return damaged(o, found, o->end_segment, LOG_MARK_NAME " beside it is the one of acceptor", mark->owner);
    }
    if (mark->storage != o->storage) {
        return damaged(
            o, found, o->end_segment,
            "not the log that was here: " LOG_MARK_NAME " is of another storage; the last group here:", o->last.number);
    }
    if (mark->number > o->last.number) {
        (void)snprintf(what, sizeof what,
                       "its end is lost: no whole group after %" PRIu64 " (byte %" PRIu64 "), but " LOG_MARK_NAME
                       " tells of",
                       o->last.number, o->end_at);
        return damaged(o, found, o->end_segment, what, mark->number);
    }
    return CAIRN_OK;
}

static cairn_status check_mark(opening *o, cairn_log_found *found)
{
    uint8_t data[LOG_MARK_FILE];
    log_mark newest = {.number = 0};
    cairn_status status;

    if (!o->mark_fits && o->marked) {
        return damaged(o, found, o->end_segment,
                       LOG_MARK_NAME
                       " is missing or cut off, and without it nobody knows where this ended; the last group here:",
                       o->last.number);
    }
    if (!o->mark_fits) {
        return CAIRN_OK;
    }
    status = o->disk->read(o->disk->context, LOG_MARK_NAME, 0, data, sizeof data, o->error);
    for (uint64_t at = 0; at < sizeof data && status == CAIRN_OK; at += LOG_SECTOR) {
        log_mark mark;

        if (log_mark_get(data + at, &mark) && mark.number > newest.number) {
            newest = mark;
        }
    }
    return status == CAIRN_OK && newest.number > 0 ? compare_mark(o, found, &newest) : status;
}

/* From now on the log has a mark, also one that comes from before there were any. */
static cairn_status begin_mark(const opening *o, const cairn_log *log)
{
    cairn_status status = CAIRN_OK;

    if (!o->mark_fits) {
        status = o->disk->create(o->disk->context, LOG_MARK_NAME, LOG_MARK_FILE, o->error);
    }
    return status == CAIRN_OK ? log_mark_write(o->disk, &log->writer, o->error) : status;
}

static cairn_status replay_record(opening *o, cairn_log *log, const char *name, const mp_record *record,
                                  uint64_t offset, cairn_log_replay replay, void *context)
{
    log_segment *segment = &log->segments[log->segment_count - 1];
    log_entry entry = {.number = record->number,
                       .slot = record->slot,
                       .chosen = record->chosen,
                       .ballot = record->ballot,
                       .generation = record->generation,
                       .kind = (uint8_t)record->kind};

    if (record->value.bytes > o->options->value_max) {
        return cairn_fail(o->error, CAIRN_E_MISMATCH, "%s: a value of %" PRIu32 " bytes; the most is %" PRIu32, name,
                          record->value.bytes, o->options->value_max);
    }
    log_head_take(&log->writer.head, &entry);
    if (record->kind == MP_RECORD_VOTE) {
        if (!log_index_reserve(&log->index, log->index.count + 1)) {
            return cairn_fail(o->error, CAIRN_E_NOMEM, "%s: no memory for the places of its votes", name);
        }
        log_index_put(&log->index, (log_place){record->slot, segment->number, (uint32_t)offset, record->value.bytes});
        segment->last_slot = record->slot > segment->last_slot ? record->slot : segment->last_slot;
    }
    return replay != NULL ? replay(context, record) : CAIRN_OK;
}

static cairn_status replay_file(opening *o, cairn_log *log, const file *f, cairn_log_replay replay, void *context)
{
    char name[LOG_NAME_BYTES];
    log_group group;
    bool whole = false;
    cairn_status status;
    uint64_t end = 0;

    log_name(name, f->number);
    if (!log_segments_reserve(log, log->segment_count + 1)) {
        return cairn_fail(o->error, CAIRN_E_NOMEM, "%s: no memory for it", name);
    }
    log->segments[log->segment_count++] = (log_segment){.number = f->number, .bytes = f->bytes};
    status = load(o, f);
    while (status == CAIRN_OK && o->last.number != log->writer.number - 1 && group_at(o, f, end, &group, &whole) &&
           whole && follows(o, &group)) {
        uint32_t at = 0;
        const uint8_t *body = o->data + end + LOG_HEADER_BYTES;

        for (uint32_t i = 0; i < group.records && status == CAIRN_OK; i++) {
            uint64_t offset = end + LOG_HEADER_BYTES + at;
            mp_record record;

            (void)log_record_next(body, group.bytes, &at, &record); /* log_group_whole has seen that it is there */
            status = replay_record(o, log, name, &record, offset, replay, context);
        }
        o->last = group;
        end += log_group_room(group.bytes);
        log->writer.fresh_at = log->writer.fresh_at > 0 ? log->writer.fresh_at : end;
    }
    return status;
}

/* The second reading must find what the first one found. */
static cairn_status replay_all(opening *o, cairn_log *log, cairn_log_replay replay, void *context)
{
    cairn_status status = CAIRN_OK;
    char name[LOG_NAME_BYTES];
    log_writer *w = &log->writer;

    *w = (log_writer){.storage = o->storage,
                      .owner = o->options->owner,
                      .number = o->last.number + 1,
                      .previous = o->last.check,
                      .segment = o->end_segment,
                      .segment_bytes = o->files[o->end_file].bytes,
                      .at = o->end_at,
                      .oldest = o->oldest,
                      .durable_oldest = o->oldest};
    o->last = (log_group){0};
    for (size_t i = o->first_file; i <= o->end_file && status == CAIRN_OK; i++) {
        w->fresh_at = 0;
        status = replay_file(o, log, &o->files[i], replay, context);
    }
    log_name(name, w->segment);
    if (status == CAIRN_OK && (o->last.number + 1 != w->number || o->last.check != w->previous)) {
        status = cairn_fail(o->error, CAIRN_E_IO, "%s: reads back differently from one time to the next", name);
    }
    return status == CAIRN_OK ? o->disk->sync(o->disk->context, name, o->error) : status;
}

/* Files before and behind the chain are used again if they have the right size. */
static cairn_status sort_out(opening *o, cairn_log *log)
{
    cairn_status status = CAIRN_OK;

    for (size_t i = 0; i < o->count && status == CAIRN_OK; i++) {
        const file *f = &o->files[i];
        char name[LOG_NAME_BYTES];

        if (i >= o->first_file && i <= o->end_file) {
            continue;
        }
        log_name(name, f->number);
        if (f->bytes != log->options.segment_bytes || f->number > o->end_segment + 1) {
            status = o->disk->remove(o->disk->context, name, o->error);
        } else if (f->number == o->end_segment + 1) {
            log->writer.prepared = true;
        } else if (!log_spare_add(&log->writer, f->number)) {
            status = cairn_fail(o->error, CAIRN_E_NOMEM, "%s: no memory for it", name);
        }
    }
    return status;
}

cairn_status cairn_log_open(cairn_log **out, const cairn_disk *disk, const cairn_log_options *options,
                            cairn_log_replay replay, void *context, cairn_log_found *found, uint64_t *storage,
                            cairn_error *error)
{
    cairn_log *log = calloc(1, sizeof *log);
    opening o = {.disk = disk, .error = error};
    cairn_status status;

    *out = NULL;
    *found = CAIRN_LOG_NONE;
    if (log == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "log: no memory to open it");
    }
    log->disk = *disk;
    o.options = &log->options;
    status = log_options_check(&log->options, options, error);
    if (status == CAIRN_OK) {
        status = list_files(&o);
    }
    if (status == CAIRN_OK && o.count > 0) {
        *found = CAIRN_LOG_WHOLE;
        status = find_oldest(&o, found);
    }
    if (status == CAIRN_OK && *found == CAIRN_LOG_WHOLE) {
        status = follow_chain(&o, found);
    }
    if (status == CAIRN_OK && (*found == CAIRN_LOG_WHOLE || *found == CAIRN_LOG_TORN)) {
        status = check_mark(&o, found);
    }
    if (status == CAIRN_OK && (*found == CAIRN_LOG_WHOLE || *found == CAIRN_LOG_TORN)) {
        status = replay_all(&o, log, replay, context);
        status = status == CAIRN_OK ? begin_mark(&o, log) : status;
        status = status == CAIRN_OK ? sort_out(&o, log) : status;
        if (status == CAIRN_OK) {
            *storage = o.storage;
            cairn_log_written(log, NULL); /* the figures */
            *out = log;
            log = NULL;
        }
    }
    cairn_log_close(log);
    free(o.files);
    free(o.data);
    return status;
}

/* ---- creating, setting aside */

static cairn_status aside(const cairn_disk *disk, const char *name, cairn_error *error)
{
    char to[LOG_NAME_BYTES + 16];

    (void)snprintf(to, sizeof to, "%s.damaged", name);
    return disk->rename(disk->context, name, to, error);
}

/* One file at a time, the lowest first: if this is interrupted, what is left still lacks its beginning. The mark goes
 * last: a log that lost only its end is told from a whole one by nothing else. */
cairn_status cairn_log_set_aside(const cairn_disk *disk, cairn_error *error)
{
    opening o = {.disk = disk, .error = error};
    cairn_status status = list_files(&o);

    for (size_t i = 0; i < o.count && status == CAIRN_OK; i++) {
        char name[LOG_NAME_BYTES];

        log_name(name, o.files[i].number);
        status = aside(disk, name, error);
    }
    if (status == CAIRN_OK && o.has_mark) {
        status = aside(disk, LOG_MARK_NAME, error);
    }
    free(o.files);
    return status;
}

/* The first group is written under another name, so that there is a log or there is none. Before it has its name there
 * is a mark of it; what an earlier log left of one is gone by then. */
static cairn_status begin(cairn_log *log, uint64_t storage, cairn_error *error)
{
    uint8_t data[LOG_HEADER_BYTES + LOG_SECTOR] = {0};
    const cairn_disk *disk = &log->disk;
    char name[LOG_NAME_BYTES];
    cairn_status status;

    log->writer = (log_writer){.storage = storage,
                               .owner = log->options.owner,
                               .number = 1,
                               .segment = 1,
                               .segment_bytes = log->options.segment_bytes,
                               .oldest = 1};
    log->segments[log->segment_count++] = (log_segment){.number = 1, .bytes = log->options.segment_bytes};
    log_name(name, 1);
    status = disk->create(disk->context, LOG_MARK_NAME, LOG_MARK_FILE, error);
    if (status == CAIRN_OK) {
        status = disk->create(disk->context, LOG_NEW_NAME, log->options.segment_bytes, error);
    }
    if (status == CAIRN_OK) {
        status = log_group_write(disk, &log->writer, LOG_NEW_NAME, data, 0, 0, error);
    }
    if (status == CAIRN_OK) {
        status = disk->rename(disk->context, LOG_NEW_NAME, name, error);
    }
    log->writer.fresh_at = log->writer.at;
    log->writer.groups = 0;
    log->writer.bytes = 0;
    return status;
}

cairn_status cairn_log_create(cairn_log **out, const cairn_disk *disk, const cairn_log_options *options,
                              uint64_t storage, cairn_error *error)
{
    cairn_log *log = calloc(1, sizeof *log);
    opening o = {.disk = disk, .error = error};
    cairn_status status = CAIRN_OK;

    *out = NULL;
    if (log == NULL || !log_segments_reserve(log, 1)) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "log: no memory to create it");
    }
    if (status == CAIRN_OK) {
        status = log_options_check(&log->options, options, error);
    }
    if (status == CAIRN_OK) {
        status = list_files(&o);
    }
    if (status == CAIRN_OK && o.count > 0) {
        status = cairn_fail(error, CAIRN_E_STATE, "log: there is one already: %zu segments", o.count);
    }
    if (status == CAIRN_OK) {
        log->disk = *disk;
        status = begin(log, storage, error);
    }
    if (status == CAIRN_OK) {
        cairn_log_written(log, NULL);
        *out = log;
        log = NULL;
    }
    cairn_log_close(log);
    free(o.files);
    return status;
}
