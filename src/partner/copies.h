/* Copies of parts in the memory of partners, or parities of groups, as a pure core: one struct a process, which is owner of its own part, holder
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
 * Groups (Plank, Li and Puening, "Diskless Checkpointing", 1998; SCR's XOR; the layout is RAID 5's). A process that is in a
 * group (PC_GROUPED) has the G - 1 others as holders: piece k of its part goes to holder k mod (G - 1), which adds it, by
 * exclusive or, to its parity cell k / (G - 1), one cell for pieces of all others; so a holder needs room for 1 / (G - 1) of a
 * part, and one lost part of a group can be worked out from the parities and the parts of the others.
 *
 *  - A holder says HELD, to all, when it has all pieces of all the others and its own part: only then is its parity, and
 *    only then are the pieces that it adds to that of others, what somebody's part can be made from. Likewise HAVE.
 *  - A piece that comes again, since its owner has heard nothing before a recovery, is not added again: the shell knows which
 *    are in a cell.
 *  - Who wants its part needs all of the group, and takes from each, in this order, its own pieces that are in the parity of
 *    others, and its parity of the own part. Two lost of one group have to use the next level.
 *  - A group is for a launch: who takes a place is in the group of who had it.
 *
 * Messages between two processes come in order. All but ASK are of one view and mean nothing in another. */
#ifndef CAIRN_PARTNER_COPIES_H
#define CAIRN_PARTNER_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_NONE      UINT32_MAX
#define PC_GROUP_MAX 16         /* processes of a group */
#define PC_ALL       UINT32_MAX /* pc_send.to: every process but this one */

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
    uint64_t number;        /* of the snapshot */
    uint32_t pieces, index; /* BEGIN, HAVE: how many come */
    uint32_t process;       /* ASK: who asks, since it may not be known yet which process its rank is */
    uint32_t whole;         /* BEGIN, HAVE: pieces of the whole part */
    uint64_t committed;     /* BEGIN: the newest that the owner knows to be: the holder may not have heard of it yet */
} pc_message;

typedef enum pc_event_kind {
    PC_VIEWED,  /* view, peer: this rank's process or PC_NONE, number: all go back to this snapshot                 */
    PC_GROUPED, /* group, ranks (how many): the processes of this one's group, rising, itself among them; or of another
                   * one's, when this rank takes its place. Before PLACED and WANT. ranks 0: there are groups, but
                   * which is not known yet. Never: there are none, but partners                                   */
    PC_PLACED,  /* peer: this process's holder, rank: that carries it; in a group `carriers` of its holders in the
                   * order of pc_holder. All processes have their state                                            */
    PC_TAKEN,   /* number, pieces: this process's part of an attempt is whole. Later: COMMITTED, or GONE            */
    PC_GONE,    /* number: this process's own memory of it is no more (abandoned, or a newer one took its place)    */
    PC_COMMITTED, /* number                                                                                           */
    PC_MESSAGE, /* message, from peer (carried by `rank`). For PIECE and BACK: the bytes are here, good or not       */
    PC_NO_ROOM, /* there is no memory for the copy `number` of owner `peer` that has just begun                     */
    PC_WANT     /* number: this process's part is wanted                                                            */
} pc_event_kind;

typedef struct pc_event {
    pc_event_kind kind;
    uint32_t view, peer, rank, pieces;
    uint64_t number;
    const uint32_t *group, *carriers; /* GROUPED, PLACED in a group: [ranks], [ranks - 1] */
    uint32_t ranks;
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
uint32_t pc_holders(const pc *core);              /* of this process's copies; 0: not known yet */
uint32_t pc_holder(const pc *core, uint32_t at);  /* at < pc_holders, or in a group < its processes - 1; else PC_NONE */
bool pc_is_held(const pc *core, uint64_t number); /* this process's copy of it, by its holder of now */
/* In a group, for the shell. Which piece of its owner's part a PIECE to or from `peer` is. */
uint32_t pc_piece_at(const pc *core, uint32_t owner, uint32_t keeper, uint32_t index);
/* Piece `index` of BACK to `who`, which this process sends: true: piece *at of its own part; false: cell *at of its parity. */
bool pc_served(const pc *core, uint32_t who, uint32_t index, uint32_t *at);
/* Piece `index` of BACK from `from`: false if it is of nothing that is wanted; else it belongs to piece *at of the own part,
 * and with *parity it is a cell and says which checksum that piece is to have. */
bool pc_returned(const pc *core, uint32_t from, uint32_t index, uint32_t *at, bool *parity);

/* True when every invariant of copies.c holds; else *broken (if given) names the first that does not. For tests. */
bool pc_check(const pc *core, const char **broken);

#endif
