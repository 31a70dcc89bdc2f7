/* What the files of the replica share.
 *
 *   replica.c         the core's shell: outputs carried out, what is chosen applied
 *   replica_open.c    recovery
 *   replica_ask.c     requests: to the log, to a read round, to the leader; answers
 *   replica_lease.c   the leader's clock over leases
 *   replica_image.c   images: making them, sending them to whoever is too far behind
 *   replica_wire.c    messages as bytes
 *
 * Nothing here calls itself through the host: what an answer's receiver asks is queued, and `settle` at the end of each
 * event works until nothing is left. */
#ifndef CAIRN_COORD_REPLICA_CORE_H
#define CAIRN_COORD_REPLICA_CORE_H

#include "coord/replica.h"

#include <stdlib.h>
#include <string.h>

/* A request of a client, here (origin == self) or forwarded to this process as leader. */
typedef enum ask_stage {
    ASK_NEW,       /* to be given to the leader                                */
    ASK_FORWARDED, /* sent to the leader of `ballot`                           */
    ASK_QUEUED,    /* in the queue of this leader's proposals                  */
    ASK_PROPOSED,  /* in a slot                                                */
    ASK_READING,   /* waits for a read round                                   */
    ASK_WAITING    /* applied; the answer is a completion (lock, barrier)      */
} ask_stage;

typedef struct ask {
    struct ask *bucket; /* chain of the table; local ones only */
    struct ask *next;   /* in the queue of proposals or of reads */
    ask_stage stage;
    uint8_t op, flags;
    bool forgotten; /* nobody waits any more; freed when it leaves its queue */
    bool leaves;    /* is in a queue */
    uint32_t origin;
    uint64_t tag, session, sequence;
    uint64_t read; /* number of the read round's request */
    px_ballot ballot;
    uint64_t sent;
    size_t bytes;
    char data[];
} ask;

typedef struct ask_queue {
    ask *first;
    ask **end;
    size_t count, bytes;
} ask_queue;

/* Somebody waits for a lock or a barrier: known by every replica that applied the command. */
typedef struct waiter {
    uint64_t session, sequence, tag;
    uint32_t origin;
} waiter;

typedef struct lease_clock {
    uint64_t id, deadline;
    bool expiring; /* EXPIRE is on its way */
} lease_clock;

/* A state that is being fetched from another member, or sent. */
typedef struct transfer {
    uint64_t slot, bytes, got, since;
    uint32_t from, admit_count;
    mp_admit admits[MP_ACCEPTORS_MAX];
    uint8_t *data;
} transfer;

#define ASK_BUCKETS 4096

struct cairn_replica {
    cairn_replica_options options;
    cairn_replica_host host;
    uint32_t self;
    uint64_t life; /* random: tags in messages and in the log are the caller's with this mixed in, so that what an */
                   /* earlier life of this process asked answers nothing that this one asks                       */
    uint64_t now;
    mp *core;
    cairn_log *log;
    cairn_state_machine *state;
    uint64_t applied;
    uint64_t jumped; /* up to here an image took the place of slots: votes of them in the log may be of other values */
    uint64_t sealed, written; /* slots applied when the last group was sealed; whose newest votes are on disk */
    bool writing, recovering, settling;
    cairn_status fatal;
    cairn_error error;

    ask *asks[ASK_BUCKETS];
    size_t ask_count;
    ask_queue proposals, reads;
    ask_queue fresh; /* asked while settling: taken when the state is at rest */
    size_t remote;   /* forwarded to this process and not answered */
    bool dispatch;   /* a local ask may be ASK_NEW */
    uint64_t reads_to, reads_at;
    px_ballot known_ballot; /* of the leader that local asks were last sent to */
    uint64_t asks_checked;

    waiter *waiters;
    size_t waiter_count, waiter_room;
    lease_clock *leases;
    size_t lease_count, lease_room;
    uint64_t leases_checked;

    cairn_pack pack;       /* a message being built */
    cairn_pack batch;      /* a value being built */
    cairn_storage storage; /* of a request being read */
    char *scratch;         /* value_max bytes: a slot read back from the log */

    bool imaging;         /* the host makes an image durable ... */
    bool installing;      /* ... of a state that is then installed */
    uint64_t image_bytes; /* of the last one ... */
    uint64_t image_slot;  /* ... and after which slot it was made */
    uint64_t log_imaged;  /* bytes of log written when the last one was begun */
    transfer incoming, outgoing;
    cairn_replica_stats stats;
};

/* --- replica.c --- */
cairn_status replica_fail(cairn_replica *r, cairn_status status, const char *format, ...) CAIRN_PRINTF(3, 4);
void replica_say(cairn_replica *r, const char *format, ...) CAIRN_PRINTF(2, 3);
void replica_step(cairn_replica *r, mp_event *event);
void replica_settle(cairn_replica *r);
cairn_status replica_apply_chosen(cairn_replica *r);

/* --- replica_open.c --- */

/* --- replica_ask.c --- */
void ask_take_fresh(cairn_replica *r);
void ask_dispatch_all(cairn_replica *r);
void ask_propose(cairn_replica *r);
void ask_reads_ready(cairn_replica *r);
void ask_deposed(cairn_replica *r);
void ask_tick(cairn_replica *r);
void ask_on_request(cairn_replica *r, uint32_t from, cairn_unpack *unpack);
void ask_on_response(cairn_replica *r, cairn_unpack *unpack);
/* A command of (origin, tag) was applied here. */
void ask_applied(cairn_replica *r, uint32_t origin, uint64_t tag, const cairn_question *command,
                 const cairn_applied *applied);
void ask_installed(cairn_replica *r);
/* A command of the replica's own. */
void ask_own(cairn_replica *r, const cairn_question *command);
void ask_free_all(cairn_replica *r);

/* --- replica_lease.c --- */
void lease_elected(cairn_replica *r);
bool lease_extend(cairn_replica *r, uint64_t id); /* false: it is being ended */
void lease_note(cairn_replica *r, const cairn_question *command, const cairn_response *response);
void lease_tick(cairn_replica *r);

/* --- replica_image.c --- */
void image_consider(cairn_replica *r);
void image_serve(cairn_replica *r, uint32_t to, uint64_t slot);
void image_on_chunk(cairn_replica *r, uint32_t from, cairn_unpack *unpack);
void image_on_get(cairn_replica *r, uint32_t from, cairn_unpack *unpack);
void image_tick(cairn_replica *r);

/* --- replica_wire.c --- */
typedef enum wire_kind { WIRE_PAXOS = 1, WIRE_REQUEST, WIRE_RESPONSE, WIRE_IMAGE, WIRE_IMAGE_GET } wire_kind;
void wire_begin(cairn_replica *r, wire_kind kind);
void wire_end(cairn_replica *r, uint32_t to); /* checksum, and off it goes */
void wire_message(cairn_replica *r, const mp_send *send);
/* false: not whole. *kind and the rest. */
bool wire_open(const void *data, size_t bytes, wire_kind *kind, cairn_unpack *rest);
bool wire_read_message(cairn_unpack *unpack, uint32_t value_max, mp_message *message);

#endif
