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

/* Begin MPI if nobody has, and make the rings. vectors: envelopes carry vector clocks. The last `spares` ranks are no
 * processes: peers are numbered with the processes first, then the spares. */
cairn_status cairn_link_open(cairn_link **out, int *argc, char ***argv, bool vectors, uint32_t spares,
                             cairn_error *error);
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
uint32_t cairn_link_self(const cairn_link *link);
uint32_t cairn_link_count(const cairn_link *link); /* of peers */
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
/* Agreements at the start of a launch, before there is any traffic of the job. Collective. Wait at most `seconds`;
 * CAIRN_E_TIMEOUT names `what`. */
cairn_status cairn_link_broadcast(cairn_link *link, void *data, size_t bytes, double seconds, const char *what,
                                  cairn_error *error);
/* One number of each process, to all: values[count]. */
cairn_status cairn_link_gather(cairn_link *link, uint64_t value, uint64_t *values, double seconds, const char *what,
                               cairn_error *error);
cairn_status cairn_link_max(cairn_link *link, uint64_t *value, double seconds, const char *what, cairn_error *error);

#endif
