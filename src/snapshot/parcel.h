/* A process's part of a snapshot as bytes, to be kept in the memory of another process: what image.h is on disk.
 *
 * The bytes, little-endian (all processes of a job run the same program, so this is no format that lasts):
 *   "CAIRNPAR", bytes of the manifest (u64), manifest, zeros up to a multiple of 64
 *   manifest: number, process, count, incarnation, step, lamport, 1 with a vector, then it; sent and received
 *     [count][CAIRN_STREAMS] each; states: name, kind, type, flags, rank, shape, global_shape, offset, bytes; messages in
 *     flight: from, stream, tag, sequence, lamport, bytes
 *   the elements of each state, each at a multiple of 64; then the payload of each message, each at a multiple of 8
 * There is no checksum in it: who sends it in pieces gives one with each. */
#ifndef CAIRN_SNAPSHOT_PARCEL_H
#define CAIRN_SNAPSHOT_PARCEL_H

#include "snapshot/image.h"

#include <stddef.h>

typedef struct cairn_parcel_extent {
    uint64_t offset, bytes;
    const void *data; /* borrowed */
} cairn_parcel_extent;

/* A parcel that is not in one piece: the elements and payloads stay where they are. */
typedef struct cairn_parcel {
    uint64_t bytes;               /* of all of it */
    uint8_t *manifest;            /* owned; with all that comes before the first element */
    cairn_parcel_extent *extents; /* [extent_count], owned, by offset; the first one is the manifest */
    size_t extent_count;
} cairn_parcel;

/* What head, states and messages point to stays as it is until cairn_parcel_free. CAIRN_E_NOMEM. */
cairn_status cairn_parcel_make(cairn_parcel *parcel, const cairn_part_head *head, const cairn_state *states,
                               size_t state_count, const cairn_in_flight *messages, size_t message_count);
void cairn_parcel_free(cairn_parcel *parcel);
/* Bytes [offset, offset + bytes) of it, which is inside. */
void cairn_parcel_read(const cairn_parcel *parcel, uint64_t offset, void *to, size_t bytes);

/* What is in a parcel that is in one piece of memory; everything points into that. */
typedef struct cairn_opened_parcel {
    cairn_part_head head; /* job and run are empty */
    cairn_state *states;
    size_t state_count;
    cairn_in_flight *messages;
    size_t message_count;
    uint64_t *counts; /* sent, received, vector */
} cairn_opened_parcel;

/* Every count and size is checked before it is used. CAIRN_E_CORRUPT names what is wrong; CAIRN_E_NOMEM. */
cairn_status cairn_parcel_open(cairn_opened_parcel *out, const void *data, size_t bytes, cairn_error *error);
void cairn_parcel_close(cairn_opened_parcel *opened);

#endif
