/* Stable storage of an acceptor: a log of preallocated segments, appended to in groups, one sync for all that waits.
 *
 * A segment is a file "log-%016x" of a fixed size. It is written in groups; a group is what was appended while the
 * group before it was being synced. A group begins on a 512-byte border, so that a torn write never touches an older
 * group, and has a header (magic, storage id, group number, the check of the header before, bytes, records, checksum
 * of header, XXH3 of the body). Group n+1 is written only after group n was synced. So after a crash only the last
 * group can be torn: if group n is not whole and the header of a group > n (of the same storage id) follows anywhere,
 * then n was durable once and has been damaged since. That of the end itself is told by a mark beside the segments,
 * which is written, without a sync, after each group became durable: a log that ends before its mark is damaged, a torn
 * group after it was never durable for anybody. After a power loss the mark may be old; what was written after it is
 * told from a torn end no more. A segment begins with a group that repeats what must not be lost
 * with older segments: the highest ballot promised or voted at, the own generation and, when they are few enough to be
 * moved, the votes of slots above the trim (log.c). Segments that are no longer needed are renamed and written over
 * (group numbers only rise, so old bytes in them are never taken for new ones). */
#ifndef CAIRN_PAXOS_LOG_H
#define CAIRN_PAXOS_LOG_H

#include "paxos/disk.h"
#include "paxos/multi.h"

typedef struct cairn_log cairn_log;

typedef enum cairn_log_found {
    CAIRN_LOG_NONE,   /* there is no log: nothing was created yet             */
    CAIRN_LOG_WHOLE,  /* all groups read back                                 */
    CAIRN_LOG_TORN,   /* the last group was not whole: cut off                */
    CAIRN_LOG_DAMAGED /* not whole, or not its own, up to its mark: see `error`; nothing to vote with */
} cairn_log_found;

typedef struct cairn_log_options {
    /* 0: 8 MiB. A multiple of 512, at most 1 GiB, at least 512 + (value_max + 140, rounded up to 512). Segments that
     * are there keep their size. */
    uint64_t segment_bytes;
    uint32_t value_max; /* as in mp_options */
    uint32_t owner;     /* the acceptor: a log whose mark is of another one is not its own */
} cairn_log_options;

/* Called for each record of the log in the order of appending (records repeated at the head of a segment included; a
 * repeated vote never hides a newer one). record->value.data is valid during the call. Not CAIRN_OK ends reading. */
typedef cairn_status (*cairn_log_replay)(void *context, const mp_record *record);

/* Open what is there: reads and checks everything, and only then replays it. *found says what; with NONE and DAMAGED
 * CAIRN_OK is returned, nothing was replayed, *out is NULL and the caller decides (cairn_log_set_aside,
 * cairn_log_create). A read error of the disk is an error (status of the disk), not damage; a value longer than
 * value_max is CAIRN_E_MISMATCH. `storage` gets the id that the log was created with. The disk is borrowed until
 * close. */
cairn_status cairn_log_open(cairn_log **out, const cairn_disk *disk, const cairn_log_options *options,
                            cairn_log_replay replay, void *context, cairn_log_found *found, uint64_t *storage,
                            cairn_error *error);
/* Rename every file of a damaged log to NAME.damaged (replacing older ones of that name): kept for people. Interrupted
 * after any file it leaves a log that is damaged, or none. */
cairn_status cairn_log_set_aside(const cairn_disk *disk, cairn_error *error);
/* A new, empty log; durable when this returns. storage: random, not 0. CAIRN_E_STATE: there are files of one. */
cairn_status cairn_log_create(cairn_log **out, const cairn_disk *disk, const cairn_log_options *options,
                              uint64_t storage, cairn_error *error);
void cairn_log_close(cairn_log *log); /* NULL-safe */

/* Copy a record into the group that is being gathered. Records are numbered by the caller (record->number). Never
 * touches the disk. */
cairn_status cairn_log_append(cairn_log *log, const mp_record *record);

/* Writing a group, in two steps so that it can happen in another thread while more is appended:
 *   cairn_log_seal    what was gathered becomes the group to write; false: nothing was gathered, or one is being
 *                     written
 *   cairn_log_write   write and sync it (any thread; the only call that may run beside the others); new segments are
 *                     made here too. An error leaves the log unusable: every later write fails with it.
 *   cairn_log_written take note (caller's thread, after cairn_log_write came back, also with an error); *number: the
 *                     last record that is durable of those appended since the log was opened; 0: none. After an error
 *                     some records of the group may be durable and counted. */
bool cairn_log_seal(cairn_log *log);
cairn_status cairn_log_write(cairn_log *log, cairn_error *error);
size_t cairn_log_sealed_bytes(const cairn_log *log); /* of the group to write; 0: there is none */
void cairn_log_written(cairn_log *log, uint64_t *number);

/* An image of the state after `slot` is durable: segments all of whose votes are at or below `slot` are no longer
 * needed and may be used again. Takes effect with the next written group. */
void cairn_log_trim(cairn_log *log, uint64_t slot);

/* The newest written vote of a slot, for those who lag behind: reads the disk. value->data points to `buffer`
 * (value_max bytes). CAIRN_E_NOT_FOUND: trimmed or never there. The caller knows that the slot is chosen, and must
 * know that the vote is of the chosen value (its own process applied it: what it applied it had voted for, or learned,
 * and the core does not vote for a slot again that it knows to be chosen, not even as a leader). */
cairn_status cairn_log_read(cairn_log *log, uint64_t slot, void *buffer, mp_value *value, cairn_error *error);

typedef struct cairn_log_stats {
    uint64_t groups, records, bytes; /* written since open */
    uint64_t segments;               /* in use now */
    uint64_t first_slot;             /* the lowest slot that cairn_log_read may find; 0: none */
    uint64_t live_bytes;             /* of segments in use: when it is large it is time for an image */
} cairn_log_stats;
void cairn_log_get_stats(const cairn_log *log, cairn_log_stats *out);

#endif
