/* Links: MPI point-to-point, cut down to what channels need. This file's .c and src/process are the only ones that
 * know MPI.
 *
 * A frame is an envelope with a payload short enough for one eager MPI message: it arrives whole or not at all, even
 * when its sender dies. Frames of one sender arrive in order. Each peer has a ring of receives that are posted
 * ahead; a consumed slot is posted again when there is nothing better to do, off the path between a receive and the
 * answer to it. Longer payloads travel as separate messages straight between the two buffers, announced by a frame.
 *
 * Nothing here blocks: what may not be done at once returns an operation to be tested. Not thread-safe: the caller
 * serialises. */
#ifndef CAIRN_CHANNEL_LINK_H
#define CAIRN_CHANNEL_LINK_H

#include "channel/envelope.h"

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cairn_link cairn_link;
typedef struct cairn_transfer cairn_transfer; /* a long payload on its way */

typedef struct cairn_frame {
    uint32_t from;
    const cairn_envelope *envelope; /* these point into the slot: valid until cairn_link_consume */
    const uint64_t *vector;
    const void *payload;
} cairn_frame;

typedef struct cairn_link_options {
    bool vectors;    /* envelopes carry vector clocks */
    bool in_place;   /* this rank may be one that was spawned later */
    uint32_t spares; /* the last ranks of the launch that are no processes */
    uint32_t later;  /* places for ranks that are spawned later */
} cairn_link_options;

/* Begin MPI if nobody has, and make the rings. Peers are numbered: processes, spares, those that come later. A rank that
 * was spawned finds out itself: cairn_link_facts then gives what its parent told, and all others have connected. */
cairn_status cairn_link_open(cairn_link **out, int *argc, char ***argv, const cairn_link_options *options,
                             cairn_error *error);
const void *cairn_link_facts(const cairn_link *link, size_t *bytes); /* NULL: not spawned */
/* There is a rank behind this number, which is not lost. */
bool cairn_link_reaches(const cairn_link *link, uint32_t peer);

/* Spawning, on MPI_COMM_SELF: blocks for some tenths of a second. One rank calls cairn_link_spawn, and then for each of
 * `others` ranks, one after the other: cairn_link_invite, which makes the child wait for it, and gives it the port that
 * it is to connect to. When it has connected the next one's turn comes, and cairn_link_invite with CAIRN_LINK_NO_MORE in
 * the end. If one dies in its turn the child is to be given up: it ends itself. */
bool cairn_link_spawns(void); /* this MPI can: Open MPI 4, not 5 (its MPI_Comm_connect finds no server) */
#define CAIRN_PORT_BYTES 256
typedef struct cairn_link_birth {
    uint32_t slot;   /* the child's number */
    uint32_t parent; /* the launch's rank that this one is */
    uint32_t others;
    const uint32_t *peer_of; /* [peers] the number of each rank, as the child is to know it */
    const char *program, *folder;
    char **arguments; /* without the program; NULL ended */
    const void *facts;
    size_t facts_bytes;
} cairn_link_birth;
cairn_status cairn_link_spawn(cairn_link *link, const cairn_link_birth *child, char (*ports)[CAIRN_PORT_BYTES],
                              cairn_error *error);
#define CAIRN_LINK_NO_MORE UINT32_MAX
/* next: of `others`. */
void cairn_link_invite(cairn_link *link, uint32_t slot, uint32_t next);
/* slot: the child's number here; rank: that this one is. */
cairn_status cairn_link_connect(cairn_link *link, uint32_t slot, uint32_t rank, const char *port, cairn_error *error);

/* Ends MPI if cairn_link_open began it. Collective among those that are not lost, once all traffic has ended. */
void cairn_link_close(cairn_link *link);
/* Process `peer` is dead, or counts as dead: nothing is sent to it or taken from it from now on. What MPI still holds
 * for it (receives, sends on their way, their buffers) is left to MPI for good and never waited for: a receive that was
 * matched to the beginning of a long message of a dead process ends neither by itself nor by MPI_Cancel. The newest frame
 * to it is given to MPI even if frames wait; those before it are left out. */
void cairn_link_lose(cairn_link *link, uint32_t peer);
/* From now on the rank that was peer `spare` is peer `process`, whose rank is lost. In `spare` itself, too: its own
 * number changes. There is no peer `spare` any more. */
void cairn_link_carry(cairn_link *link, uint32_t process, uint32_t spare);
/* Agreements (below) are among the processes from now on, without the spares. */
void cairn_link_part(cairn_link *link);
/* The rank behind this number has ended, for certain: nothing more is said to it. Open MPI's TCP transport takes writing to
 * a closed connection badly: it reports an "invalid connection state" at every turn from then on. */
void cairn_link_mute(cairn_link *link, uint32_t peer);
bool cairn_link_takes(const cairn_link *link, uint32_t peer); /* there is one, and its end is not known */
uint32_t cairn_link_self(const cairn_link *link);
uint32_t cairn_link_count(const cairn_link *link); /* of peers */
uint32_t cairn_link_processes(const cairn_link *link);
/* The longest payload of a frame. */
size_t cairn_link_frame_max(const cairn_link *link);
/* End the whole job; does not return. */
void cairn_link_abort(cairn_link *link, int code) __attribute__((noreturn));

/* Send a frame to another process; payload (envelope->bytes bytes unless CAIRN_FLAG_LONG) is copied. */
cairn_status cairn_link_send(cairn_link *link, uint32_t to, const cairn_envelope *envelope, const uint64_t *vector,
                             const void *payload);
/* Frames to this process that MPI has not taken yet: many when it is paused or dead. MPI is not given more than about a
 * hundred that the process has not taken, since what it keeps for one takes room from the others. */
uint32_t cairn_link_backlog(const cairn_link *link, uint32_t to);
/* Begin to send / receive the long payload of a frame. The receives of one sender are begun in the order of their
 * frames. data is borrowed until cairn_transfer_done says true, which also frees the transfer. */
cairn_status cairn_link_send_long(cairn_link *link, uint32_t to, const void *data, size_t bytes,
                                  cairn_transfer **transfer);
cairn_status cairn_link_receive_long(cairn_link *link, uint32_t from, void *data, size_t bytes,
                                     cairn_transfer **transfer);
bool cairn_transfer_done(cairn_link *link, cairn_transfer *transfer);

/* The next frame of process `from`, or of anybody. One frame may be open at a time; consume it before the next poll. */
bool cairn_link_poll(cairn_link *link, uint32_t from, cairn_frame *frame);
bool cairn_link_poll_any(cairn_link *link, cairn_frame *frame);
void cairn_link_consume(cairn_link *link, const cairn_frame *frame);

/* What is to be done while an agreement (below) waits for the others; NULL: nothing. */
void cairn_link_set_idle(cairn_link *link, void (*idle)(void *context), void *context);
/* Asked again and again while an agreement waits: a peer without which it would wait in vain, or UINT32_MAX. NULL: nobody
 * is asked. */
void cairn_link_set_ended(cairn_link *link, uint32_t (*ended)(void *context), void *context);
/* Agreements at the start of a launch, before there is any traffic of the job. Collective. Wait at most `seconds`;
 * CAIRN_E_TIMEOUT, and CAIRN_E_PEER (set_ended), name `what`. */
cairn_status cairn_link_broadcast(cairn_link *link, void *data, size_t bytes, double seconds, const char *what,
                                  cairn_error *error);
/* One number of each process, to all: values[count]. */
cairn_status cairn_link_gather(cairn_link *link, uint64_t value, uint64_t *values, double seconds, const char *what,
                               cairn_error *error);
cairn_status cairn_link_max(cairn_link *link, uint64_t *value, double seconds, const char *what, cairn_error *error);

#endif
