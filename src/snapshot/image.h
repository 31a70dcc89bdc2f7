/* A process's part of a snapshot, as an HDF5 file: writing it durably, and reading it without trust.
 *
 * DIR/snapshots/000007/process-000003.h5 (format 1); any HDF5 tool opens it:
 *   bytes 0..511   user block: the seal (seal.h). Text: "cairn part 1", the bytes of the file, XXH3-128 of
 *   everything behind the block, and last an XXH64 of the block itself. So a flipped bit anywhere in the file is
 *   seen. / attributes   format (u32), job, run (string), number, process, count, incarnation, step (u64; all ones =
 *   unaligned), lamport (u64), vector (u64[count], only with vector clocks), written (string, UTC time) /state/NAME
 *   the array: little-endian type and shape as protected, contiguous. Attributes: kind ("array", "replicated",
 *   "slab", "bytes"), for slabs global_shape and offset (u64[rank]), flags (u32) /channels/in/0001/envelope
 *   u64[messages][5]: sequence, lamport, tag, bytes, stream; stream 0 the job's own, 1 collectives
 *   /channels/in/0001/payload   u8[sum of bytes], one message after the other (absent when 0 bytes). There is a
 *   group for every sender with messages in flight, named by its number in at least four digits /channels/sent,
 *   /channels/received   u64[count][2]: messages sent to / consumed from each process per stream, up to the cut
 *   Every dataset has an attribute xxh3: 32 hex digits, XXH3-128 of its elements as they lie in the file. */
#ifndef CAIRN_SNAPSHOT_IMAGE_H
#define CAIRN_SNAPSHOT_IMAGE_H

#include "base/checksum.h"

#include <cairn/collective.h>
#include <cairn/snapshot.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CAIRN_FORMAT    1
#define CAIRN_RUN_BYTES 17 /* a run's id: 16 hex digits and the end */
#define CAIRN_STREAMS   2  /* the job's own messages, and those of collectives */

typedef enum cairn_state_kind {
    CAIRN_STATE_ARRAY,
    CAIRN_STATE_REPLICATED,
    CAIRN_STATE_SLAB,
    CAIRN_STATE_BYTES /* from callbacks: type U8, rank 1 */
} cairn_state_kind;

typedef struct cairn_state {
    char name[CAIRN_NAME_MAX + 1];
    cairn_state_kind kind;
    cairn_type type;
    uint32_t flags; /* CAIRN_REDIVIDE */
    uint32_t rank;  /* 0 = scalar     */
    uint64_t shape[CAIRN_DIMENSIONS_MAX];
    uint64_t global_shape[CAIRN_DIMENSIONS_MAX]; /* slabs only */
    uint64_t offset[CAIRN_DIMENSIONS_MAX];
    const void *data; /* borrowed for writing; NULL from a reader */
    uint64_t bytes;   /* product of shape times element size      */
} cairn_state;

typedef struct cairn_in_flight {
    uint32_t from;
    uint32_t stream; /* < CAIRN_STREAMS */
    uint32_t tag;
    uint64_t sequence, lamport, bytes;
    const void *payload; /* borrowed for writing; owned by the reader when read */
} cairn_in_flight;

/* Who and when a part is. */
typedef struct cairn_part_head {
    char job[128];
    char run[CAIRN_RUN_BYTES];
    uint64_t number;
    uint32_t process, count, incarnation;
    uint64_t step;
    uint64_t lamport;
    const uint64_t *vector;      /* count entries, or NULL            */
    const uint64_t *sent;        /* [count][CAIRN_STREAMS]            */
    const uint64_t *received;    /* [count][CAIRN_STREAMS]            */
    const atomic_bool *unwanted; /* writing: true = nobody wants it any more; it ends with CAIRN_E_STOPPED. Or NULL */
} cairn_part_head;

/* What the commit record says of a part: it binds exactly these bytes. */
typedef struct cairn_part_seal {
    uint64_t bytes;      /* of the whole file                 */
    cairn_digest digest; /* of everything behind the user block */
} cairn_part_seal;

/* Write dir/process-NNNNNN.h5 durably: temporary name, fsync, seal, fsync, rename, fsync of dir (which is made, with
 * its parents, if missing). messages are in channel order for each sender. On error nothing is left under either
 * name, and the error names the file. CAIRN_E_FULL, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. Thread-safe. */
cairn_status cairn_part_write(const char *dir, const cairn_part_head *head, const cairn_state *states,
                              size_t state_count, const cairn_in_flight *messages, size_t message_count,
                              cairn_part_seal *seal, cairn_error *error);

/* Put a part that is under `source` under dir/process-NNNNNN.h5 as durably, byte by byte, while it is checked against the seal.
 * unwanted: as in the head, or NULL. On error nothing is left under either name there. As above, and CAIRN_E_NOT_FOUND,
 * CAIRN_E_CORRUPT: of the source. Thread-safe. */
cairn_status cairn_part_copy(const char *source, const char *dir, uint32_t process, const cairn_part_seal *expected,
                             const atomic_bool *unwanted, cairn_error *error);

typedef struct cairn_part cairn_part;

/* Open a part and check all of it: seal against `expected` (NULL: only against itself), format version, head,
 * shapes, checksums of every state and channel. Every count and size in it is checked before it is used. Damage is
 * CAIRN_E_CORRUPT, and error names file and dataset; CAIRN_E_VERSION; CAIRN_E_NOT_FOUND; CAIRN_E_IO; CAIRN_E_ACCESS;
 * CAIRN_E_NOMEM. */
cairn_status cairn_part_open(cairn_part **out, const char *path, const cairn_part_seal *expected, cairn_error *error);
/* How much of that. */
typedef enum cairn_part_depth {
    CAIRN_PART_SEAL, /* the 512 bytes of the seal are trusted: for who has checked the part just before, or seen it written */
    CAIRN_PART_FILE, /* the checksum of the whole file: for who goes on to cairn_part_read, which checks what it reads */
    CAIRN_PART_ALL   /* and those of the states */
} cairn_part_depth;
cairn_status cairn_part_open_depth(cairn_part **out, const char *path, const cairn_part_seal *expected,
                                   cairn_part_depth depth, cairn_error *error);
void cairn_part_close(cairn_part *part); /* NULL-safe */

/* Owned by the part. */
const cairn_part_head *cairn_part_get_head(const cairn_part *part);
size_t cairn_part_state_count(const cairn_part *part);
const cairn_state *cairn_part_state(const cairn_part *part, size_t index);
/* NULL when there is none of that name. */
const cairn_state *cairn_part_find(const cairn_part *part, const char *name);
size_t cairn_part_message_count(const cairn_part *part);
const cairn_in_flight *cairn_part_message(const cairn_part *part, size_t index);

/* Read state->bytes bytes. */
cairn_status cairn_part_read(cairn_part *part, const cairn_state *state, void *data, cairn_error *error);
/* Read the piece of a slab state that lies in the box [offset, offset + shape) of the global array into `data`,
 * which holds that whole box; elements outside this part's slab are left alone. *elements gets how many were
 * written. */
cairn_status cairn_part_read_slab(cairn_part *part, const cairn_state *state, const uint64_t *offset,
                                  const uint64_t *shape, void *data, uint64_t *elements, cairn_error *error);

#endif
