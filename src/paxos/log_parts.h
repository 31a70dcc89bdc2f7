/* The insides of the log, shared by log*.c: the format of a segment, the index of votes, and who owns what.
 *
 * A group on disk (numbers little-endian), on a 512-byte border:
 *   0  magic "CAIRNLG1"      8  storage id      16  number           24  previous: header check of group number - 1
 *   32 segment (file)        40 oldest          48  file's bytes     56  offset u32, body's bytes u32
 *   64 records u32, flags u32 72 XXH3 of body   80  header check: XXH3 of the 80 bytes before      88  body
 * `oldest`: the lowest segment that is needed once this group is durable. LOG_MARKED in flags: there is a mark beside
 * the log since before this group was written (0 in logs of before there were marks). A record in the body:
 *   0  check: XXH3 of the value, seeded with the XXH3 of the 44 bytes that follow the check
 *   8  kind u8, type u8, 0 u16, generation u32      16 number      24 ballot      32 slot      40 chosen
 *   48 value's bytes u32                            52 value
 *
 * The mark, the file LOG_MARK_NAME of two sectors, says how far the log reached: group n is told by sector n % 2, so
 * that a torn write spares what was said before:
 *   0  magic "CAIRNMK1"      8  storage id      16  number of a group that is durable      24  owner (an acceptor)
 *   32 XXH3 of the 32 bytes before
 * It is made, zeroed and durable, before a log is; then it is written after each group became durable, and not synced:
 * when a process is killed the kernel keeps it, and after a power loss it is old, or torn, but never ahead of the log.
 * So a log that ends before its mark has lost its end; one of another storage, or whose mark is of another acceptor, is
 * not the one that was here. A sector that is not whole says nothing; a file that is missing although groups say LOG_MARKED was taken away. When a
 * log is set aside its mark goes last: what an interruption leaves is still damaged, or no log at all. */
#ifndef CAIRN_PAXOS_LOG_PARTS_H
#define CAIRN_PAXOS_LOG_PARTS_H

#include "paxos/log.h"

#define LOG_SECTOR        512u
#define LOG_HEADER_BYTES  88u
#define LOG_RECORD_BYTES  52u
#define LOG_SEGMENT_BYTES (UINT64_C(8) << 20)
#define LOG_SEGMENT_MOST  (UINT64_C(1) << 30) /* so that offsets are 32 bits, and a segment fits into memory */
#define LOG_NUMBER_MOST   (UINT64_C(1) << 62) /* of segments and groups: nobody gets there */
#define LOG_SPARES_MOST   16
#define LOG_NAME_BYTES    24
#define LOG_NEW_NAME      "log.new" /* a log that is being created */
#define LOG_MARK_NAME     "log.mark"
#define LOG_MARK_BYTES    40u
#define LOG_MARK_FILE     (UINT64_C(2) * LOG_SECTOR)
#define LOG_MARKED        1u /* in flags of a group */

typedef struct log_group {
    uint64_t storage, number, previous, segment, oldest, segment_bytes;
    uint32_t offset, bytes, records, flags;
    uint64_t body_check, check;
} log_group;

typedef struct log_mark {
    uint64_t storage, number, owner;
} log_mark;

/* What a group takes in the file. */
static inline uint64_t log_group_room(uint64_t body_bytes)
{
    return (LOG_HEADER_BYTES + body_bytes + LOG_SECTOR - 1) / LOG_SECTOR * LOG_SECTOR;
}

/* The smallest segment: what begins it, and the largest record in a group of its own. */
static inline uint64_t log_least_segment(uint32_t value_max)
{
    return log_group_room(UINT64_C(2) * LOG_RECORD_BYTES) + log_group_room((uint64_t)LOG_RECORD_BYTES + value_max);
}

void log_name(char name[LOG_NAME_BYTES], uint64_t segment);
bool log_name_parse(const char *name, uint64_t *segment); /* false: not a segment's name */

/* Write the header in front of the body: fills in the checks. at: LOG_HEADER_BYTES, then the body. */
void log_group_put(uint8_t *at, log_group *group);
/* A header that is whole and in its own place: of this segment of `segment_bytes` bytes, at this offset. */
bool log_group_get(const uint8_t *data, uint64_t segment, uint64_t segment_bytes, uint64_t offset, log_group *group);
/* Body and records are whole. data: as for log_group_get. */
bool log_group_whole(const uint8_t *data, const log_group *group);

void log_mark_put(uint8_t at[LOG_MARK_BYTES], const log_mark *mark);
bool log_mark_get(const uint8_t *data, log_mark *mark); /* false: not whole */

/* LOG_RECORD_BYTES + value.bytes; the value may be in its place already. */
void log_record_put(uint8_t *at, const mp_record *record);
/* Without the value: its place is left to the caller. *check is to be compared by log_record_check. */
bool log_record_head(const uint8_t *data, mp_record *record);
bool log_record_check(const uint8_t *data, const void *value, uint32_t bytes);
/* The next record of a body; *at is moved behind it. false: malformed. */
bool log_record_next(const uint8_t *body, uint32_t bytes, uint32_t *at, mp_record *record);

/* Where the newest written vote of each slot is: a hash table with linear probing; slot 0: empty. */
typedef struct log_place {
    uint64_t slot, segment;
    uint32_t offset, bytes; /* of the record in the segment; of its value */
} log_place;

typedef struct log_index {
    log_place *places;
    size_t room, count; /* room: 0 or a power of two */
    uint64_t first;     /* the lowest slot; 0: none */
} log_index;

bool log_index_reserve(log_index *index, size_t count); /* false: no memory */
void log_index_put(log_index *index, log_place place);  /* after log_index_reserve: cannot fail */
const log_place *log_index_find(const log_index *index, uint64_t slot);
void log_index_drop(log_index *index, uint64_t oldest); /* forget all in segments below */
void log_index_free(log_index *index);

typedef struct log_entry {
    uint64_t number, slot, chosen, ballot;
    size_t at;           /* of the record in log_batch.data */
    uint64_t segment;    /* where it was written: by cairn_log_write */
    uint32_t offset;     /* as above */
    uint32_t bytes;      /* of the record */
    uint32_t generation; /* MEMBER */
    uint8_t kind;
} log_entry;

/* Records on their way to the disk. data begins with room for a header and ends with room for padding. */
typedef struct log_batch {
    uint8_t *data;
    size_t bytes, room;
    log_entry *entries;
    size_t count, entry_room;
} log_batch;

typedef struct log_segment {
    uint64_t number, bytes;
    uint64_t last_slot; /* the highest slot of a vote in it */
} log_segment;

/* What must be known at the head of a segment. */
typedef struct log_head {
    uint64_t promised; /* the highest ballot promised or voted at */
    uint64_t chosen, number;
    mp_record member; /* kind 0: none */
} log_head;

void log_head_take(log_head *head, const log_entry *entry);

typedef struct log_writer {
    uint64_t storage, number, previous; /* number: of the next group */
    uint64_t owner;                     /* for the mark */
    uint64_t segment, segment_bytes;    /* the file that is written to now */
    uint64_t at, fresh_at;              /* in it: where the next group goes; where the first after the head went */
    uint64_t oldest, durable_oldest;    /* as the next group will say; as the last written one says */
    uint64_t last_record;               /* number of the last durable one since opening; 0: none */
    size_t durable;                     /* entries of the batch that are durable */
    bool prepared, tried;               /* the file of segment + 1 is there; making it ahead of need was tried */
    log_head head;
    uint64_t *spares; /* files below `oldest`, to be renamed for a new segment */
    size_t spare_count, spare_room;
    log_place *repeats; /* votes that the next head is to repeat, in order of slots; then where they are now */
    size_t repeat_count, repeat_room;
    bool repeat, repeated; /* the next head shall; a head of this batch did */
    uint64_t groups, records, bytes;
    cairn_error failed; /* status other than CAIRN_OK: for good */
} log_writer;

/* From a cairn_log_seal that returned true to the cairn_log_written that follows, `writing` and `writer` belong to
 * cairn_log_write, which touches nothing else but `disk` and `options` (constant). All the rest belongs to the caller's
 * thread all the time; between groups everything does. Files: cairn_log_write renames and removes only those in
 * writer.spares, which are in no place of the index; it may write to a file that cairn_log_read reads, but to other
 * bytes of it. The mark is written by it only, and read by nobody but cairn_log_open. */
struct cairn_log {
    cairn_disk disk;
    cairn_log_options options;
    log_batch gather;
    log_segment *segments; /* in use, ascending; the last is the one written to */
    size_t segment_count, segment_room;
    log_index index;
    uint64_t trim;
    cairn_log_stats stats;
    bool sealed;
    log_batch writing;
    log_writer writer;
};

cairn_status log_options_check(cairn_log_options *out, const cairn_log_options *options, cairn_error *error);
bool log_segments_reserve(cairn_log *log, size_t count);
bool log_spare_add(log_writer *writer, uint64_t segment);
/* Say in the mark that the group before writer->number is durable. */
cairn_status log_mark_write(const cairn_disk *disk, const log_writer *writer, cairn_error *error);
/* Write a group, sync it, and then mark it. data: room for the header, body, then LOG_SECTOR bytes more. */
cairn_status log_group_write(const cairn_disk *disk, log_writer *writer, const char *name, uint8_t *data,
                             uint32_t body_bytes, uint32_t records, cairn_error *error);

#endif
