/* Copies of parts in the memory of partners, as a pure core: one struct a process, which is owner of its own part, holder
 * of those of others, and, when it takes the place of one that died, the one who wants its part back. The bytes are the
 * shell's: the core says which copies there are, and which piece goes where. No MPI, files, clock, randomness or allocation.
 *
 *  - Owner: when its part of an attempt is whole it sends it to its holder in pieces (BEGIN, PIECE ...), which are pulled
 *    by the shell one at a time, so that channels stay quick. The holder says HELD when all of it is there, or REFUSED. An
 *    attempt that is given up is forgotten; the next one takes its place.
 *  - Holder: at most two copies of an owner: of the newest committed snapshot, and of the attempt that is being
 *    prepared. A prepared one becomes the committed one when it is whole and the holder knows that its snapshot is
 *    committed; what is of an older snapshot goes then, since nobody goes back to it any more. An owner whose part of an
 *    attempt is whole has heard of all commits before it (chandy_lamport.h: COMMITTED comes before the coordinator's
 *    marker), and says so in BEGIN.
 *  - A view (recovery/recovery.h) names the snapshot that all go back to: copies of any other one are forgotten, on all
 *    sides. The copies that the dead held are gone; once all run again each owner whose holder is another rank than before
 *    sends its committed part once more.
 *  - Wanting: a process without state asks all others (ASK). Each says HAVE or LACK, once it is in the same view; the first
 *    that has it is told to TAKE it out, and sends it (BACK ...). A piece that is damaged makes it go to the next that has
 *    it. When nobody is left the next level has to serve: never anything but exactly the part of that snapshot.
 *
 * Messages between two processes come in order. All but ASK are of one view and mean nothing in another. */
#ifndef CAIRN_PARTNER_COPIES_H
#define CAIRN_PARTNER_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_NONE UINT32_MAX
#define PC_ALL  UINT32_MAX /* pc_send.to: every process but this one */

typedef enum pc_kind {
    PC_BEGIN = 1, /* owner to holder: a copy of so many pieces comes                    */
    PC_PIECE,     /* owner to holder: piece `index`, with its bytes                     */
    PC_HELD,      /* holder to owner: all of it is here                                 */
    PC_REFUSED,   /* holder to owner: it could not be kept                              */
    PC_ASK,       /* to all: who has the copy of `process`'s part of snapshot `number`?  */
    PC_HAVE,      /* the answer: so many pieces                                         */
    PC_LACK,      /* the other answer                                                   */
    PC_TAKE,      /* to who has it: send it                                             */
    PC_BACK       /* to who wants it: piece `index`, with its bytes                     */
} pc_kind;

typedef struct pc_message {
    uint32_t kind; /* pc_kind; as on the wire */
    uint32_t view;
    uint64_t number; /* of the snapshot */
    uint32_t pieces, index;
    uint32_t process; /* ASK: who asks, since it may not be known yet which process its rank is */
    uint32_t unused;
    uint64_t committed; /* BEGIN: the newest that the owner knows to be: the holder may not have heard of it yet */
} pc_message;

typedef enum pc_event_kind {
    PC_VIEWED,    /* view, peer: this rank's process or PC_NONE, number: all go back to this snapshot                 */
    PC_PLACED,    /* peer: this process's holder, rank: that carries it. All processes have their state               */
    PC_TAKEN,     /* number, pieces: this process's part of an attempt is whole. Later: COMMITTED, or GONE            */
    PC_GONE,      /* number: this process's own memory of it is no more (abandoned, or a newer one took its place)    */
    PC_COMMITTED, /* number                                                                                           */
    PC_MESSAGE, /* message, from peer (carried by `rank`). For PIECE and BACK: the bytes are here, good or not       */
    PC_NO_ROOM, /* there is no memory for the copy `number` of owner `peer` that has just begun                     */
    PC_WANT     /* number: this process's part is wanted                                                            */
} pc_event_kind;

typedef struct pc_event {
    pc_event_kind kind;
    uint32_t view, peer, rank, pieces;
    uint64_t number;
    bool good;
    pc_message message;
} pc_event;

typedef struct pc_output {
    bool held;        /* this process's copy of `number` is at its holder               */
    bool refused;     /* its holder cannot keep it                                      */
    bool stored;      /* the piece that came (PIECE: of owner `peer`; BACK) is wanted    */
    bool changed;     /* look which copies there are to be (pc_copy): others may go      */
    bool fetched;     /* what was wanted is here, from `peer`                            */
    bool unavailable; /* nobody has it                                                  */
    bool damaged;     /* the copy of it that `peer` has is damaged                       */
    uint32_t peer;
    uint64_t number;
} pc_output;

typedef struct pc_send {
    uint32_t to; /* a process, or PC_ALL */
    pc_message message;
} pc_send;

typedef struct pc pc;

/* count processes; self: the process of this rank, or PC_NONE (a spare). Aligned for max_align_t. */
size_t pc_bytes(uint32_t count);
pc *pc_init(void *memory, uint32_t count, uint32_t self);
/* Advance by one event. *out is overwritten. Messages are never trusted to be current. */
void pc_step(pc *core, const pc_event *event, pc_output *out);
/* What is to be sent next: call until false. bulk: PIECE and BACK too, of which the shell has room for one more. */
bool pc_next(pc *core, bool bulk, pc_send *out);
/* There is something that pc_next would give. */
bool pc_has_next(const pc *core);

/* The copies of `owner` that are to be kept here: committed or being prepared; 0: none. */
uint64_t pc_copy(const pc *core, uint32_t owner, bool committed);
uint32_t pc_holder(const pc *core);               /* of this process's copies; PC_NONE: not known yet */
bool pc_is_held(const pc *core, uint64_t number); /* this process's copy of it, by its holder of now */
/* True when every invariant of copies.c holds; else *broken (if given) names the first that does not. For tests. */
bool pc_check(const pc *core, const char **broken);

#endif
