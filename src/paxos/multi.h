/* Multi-Paxos as a pure core: one process's proposer, acceptor and learner for a whole log of slots.
 *
 * Lamport, "Paxos Made Simple", section 3: one leader does phase 1 once for all open slots, then phase 2 for each
 * value; gaps are filled with no-ops. The acceptor's two rules are those of ballot.h. Around them:
 *
 *   election      pre-vote: nobody bothers the others with a new ballot before a majority has said that it misses a
 *                 leader too; a leader that has not heard a majority for an election timeout steps down. So a process
 *                 that comes back does not upset a good leader, and a leader is always quorum-connected.
 *   raising       a leader that meets a higher promise of an acceptor that knows of no other leader repeats phase 1
 *                 with a higher ballot, without stepping down.
 *   repair        heartbeats say what is chosen and what was proposed; who misses something asks for it (FETCH). The
 *                 echo of a heartbeat says how far its sender's accepted slots reach without a gap, and so repeats
 *                 lost ACCEPTED messages.
 *   knowing       nobody votes again for a slot that he knows to be chosen, so that the newest record of a slot is what
 *                 this process knows of it; a leader that learns what it did not propose, or an image, leads no more.
 *   reading       read-index: a read waits for one round of heartbeats begun after it came; all reads that came
 *                 meanwhile share the next round. A leader's lease: acceptors that heard a leader promise nobody else
 *                 anything for `lease`, also after a restart (mp_options.lease > 0).
 *   generations   an acceptor that lost its state does not vote. It asks to be admitted again (JOIN, with the id of
 *                 its new storage); the leader puts an ADMIT into the log, which raises the acceptor's generation. It
 *                 votes again when it knows every slot up to that one, and has promised the ballot of it. Promises and
 *                 accepted messages carry the sender's generation, promises also the generations that the sender has
 *                 accepted, and a leader counts no vote of an older one. (Compare "crash vectors": Michael et al.,
 *                 "Recovering Shared Objects Without Stable Storage", DISC 2017.)
 *
 * Durability: records that the shell must append to stable storage come out in `records`, numbered from 1 without a
 * gap. The shell says MP_PERSISTED with the number up to which all are durable; only then the answers that rest on
 * them come out.
 *
 * Values are opaque bytes, copied into the core's memory: a ring of `window` slots. No allocation, no files, no
 * clock, no MPI: time comes with the events, in microseconds of the process's own clock, and never goes back. */
#ifndef CAIRN_PAXOS_MULTI_H
#define CAIRN_PAXOS_MULTI_H

#include "paxos/ballot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_ACCEPTORS_MAX 7
#define MP_SLOT_FIRST    UINT64_C(1) /* slots are numbered from 1 */

typedef enum mp_type {
    MP_NOOP = 1,
    MP_COMMANDS, /* whatever the shell proposed */
    MP_ADMIT     /* mp_admit: an acceptor that lost its state votes again */
} mp_type;

typedef struct mp_value {
    uint8_t type; /* mp_type; 0: no value */
    uint32_t bytes;
    const void *data; /* into the core's memory (outputs) or the shell's (events) */
} mp_value;

/* The bytes of an MP_ADMIT value. */
typedef struct mp_admit {
    uint32_t process, generation;
    uint64_t storage; /* id of the storage that is admitted */
    px_ballot ballot; /* of the leader that proposed it: the newcomer accepts nothing below */
} mp_admit;

typedef struct mp_vote {
    uint64_t slot;
    px_ballot ballot; /* PX_CHOSEN: the value is known to be chosen */
    mp_value value;
} mp_vote;

typedef enum mp_kind {
    MP_PREVOTE = 1, /* ballot that it would use                                                       */
    MP_PREVOTED,    /* ballot as asked; yes                                                           */
    MP_PREPARE,     /* phase 1a: ballot; slot: votes from here on, please                             */
    MP_PROMISE,     /* phase 1b: ballot, slot as asked; votes; more: ask again behind `to`; chosen    */
    MP_REFUSED,     /* ballot that was refused; promised: why; yes: its owner leads and was heard lately */
    MP_ACCEPT,      /* phase 2a: ballot, votes[0] (ballot, slot, value); chosen                       */
    MP_ACCEPTED,    /* phase 2b: ballot, slot..to                                                     */
    MP_HEARTBEAT,   /* ballot, sequence, chosen, to: the last slot proposed                           */
    MP_ECHO,        /* ballot, sequence, chosen; to: all slots up to it are accepted at ballot, durable */
    MP_FETCH,       /* slot: what is from here on, please                                             */
    MP_LEARN,       /* votes (ballot PX_CHOSEN): these are chosen; ballot: of the leader it is known from; chosen */
    MP_JOIN         /* sequence: storage id; slot: generation of the newest admission of itself that it knows */
} mp_kind;

#define MP_VOTES_MAX 8

/* The values of a message have value_max bytes in all, or there is only one. */
typedef struct mp_message {
    uint8_t kind; /* mp_kind */
    bool yes, more;
    px_ballot ballot, promised;
    uint64_t slot, to, chosen, sequence;
    uint32_t generation;                    /* of the sender, as an acceptor; 0: it has no vote */
    uint32_t generations[MP_ACCEPTORS_MAX]; /* PROMISE: that the sender has accepted, by acceptor's index */
    uint32_t vote_count;
    mp_vote votes[MP_VOTES_MAX];
} mp_message;

typedef enum mp_event_kind {
    MP_MESSAGE,   /* message, from                                                                     */
    MP_TICK,      /* time has passed: at least every heartbeat / 4                                     */
    MP_PROPOSE,   /* value (MP_COMMANDS): only when mp_may_propose; gets slot mp_proposed(core) then    */
    MP_PERSISTED, /* number: all records up to it are durable                                          */
    MP_APPLIED,   /* number: all slots up to it are applied: their room may be used again              */
    MP_INSTALLED, /* number: the state machine was set to what it is after this slot (an image); admits  */
    MP_READ,      /* a linearizable read is asked for: gets number mp_reads(core) then; leader only    */
    MP_AGAIN,     /* after an output with `again`                                                      */
    MP_RESIGN,    /* the leader gives up leadership, and does not stand for an election timeout         */
    MP_ENDED      /* from: this process has ended. If it led, nobody waits for an election timeout to pass.    */
                  /* When that is not true an election may come of it, and nothing worse                      */
} mp_event_kind;

typedef struct mp_event {
    mp_event_kind kind;
    uint64_t now;  /* microseconds; all events */
    uint32_t from; /* MESSAGE */
    uint64_t number;
    const mp_message *message;
    mp_value value;
    const mp_admit *admits; /* INSTALLED: generations as of that slot */
    uint32_t admit_count;
} mp_event;

typedef enum mp_record_kind {
    MP_RECORD_PROMISE = 1, /* ballot                                                          */
    MP_RECORD_VOTE,        /* slot, ballot (PX_CHOSEN: learned as chosen), value; chosen       */
    MP_RECORD_MEMBER       /* generation: this storage may vote with it; ballot: promised */
} mp_record_kind;

typedef struct mp_record {
    uint64_t number;
    mp_record_kind kind;
    px_ballot ballot;
    uint64_t slot, chosen; /* chosen: all slots up to it were known to be chosen when this was written */
    uint32_t generation;
    mp_value value;
} mp_record;

/* mp_send.to */
#define MP_TO_ACCEPTORS UINT32_MAX       /* all but this process */
#define MP_TO_LEARNERS  (UINT32_MAX - 1) /* the processes that are no acceptors */
#define MP_TO_ALL       (UINT32_MAX - 2)

typedef struct mp_send {
    uint32_t to;
    mp_message message;
} mp_send;

#define MP_SENDS_MAX   4
#define MP_RECORDS_MAX 10

/* What the shell must do. Pointers lead into the core and are valid until the next step. Messages may go out at once:
 * none of them rests on a record of the same output. */
typedef struct mp_output {
    uint32_t send_count, record_count;
    bool again;            /* call mp_step with MP_AGAIN before any other event */
    bool elected, deposed; /* this process became leader (may propose), stopped being leader        */
    bool serve;            /* serve_to asks for slots from serve_from that are no longer here: the   */
    uint32_t serve_to;     /*   shell sends them from its log as MP_LEARN, or an image               */
    uint64_t serve_from;
    uint64_t reads_to;               /* reads up to this number may be answered ...                             */
    uint64_t reads_at;               /* ... once all slots up to this one are applied                           */
    uint64_t chosen;                 /* all slots up to here are chosen: mp_value_at(slot) gives those not applied */
    mp_send sends[MP_SENDS_MAX + 1]; /* the last is no message */
    mp_record records[MP_RECORDS_MAX];
} mp_output;

typedef struct mp_options {
    uint32_t self, count;                 /* processes of the job */
    uint32_t acceptor_count;              /* 1..MP_ACCEPTORS_MAX, any number; 3, 5 or 7 make sense */
    uint32_t acceptors[MP_ACCEPTORS_MAX]; /* process ids, ascending */
    uint32_t window;                      /* slots in memory, >= 4 */
    uint32_t value_max;                   /* bytes of a value, >= sizeof(mp_admit) */
    uint32_t pipeline;                    /* proposed and not chosen at once, <= window / 2 */
    uint64_t heartbeat, election, lease;  /* microseconds; lease 0: none; lease <= election */
    uint32_t drift;                       /* clocks run at rates within 1 +- drift/1000 of each other */
    uint64_t seed;                        /* spreads election timeouts */
    uint64_t storage;                     /* id of this process's storage (acceptors) */
    bool joins; /* this acceptor's storage is new in a group that is not: it does not vote before it is admitted */
    bool first; /* stand for election at once: for the first acceptor of a new launch */
} mp_options;

typedef struct mp mp;

size_t mp_bytes(const mp_options *options);
/* memory: mp_bytes of zeros. */
mp *mp_init(void *memory, const mp_options *options, uint64_t now);

/* Before the first step, in this order: mp_restore_image if there is one (slot, admissions); then for every record of the
 * log, in order: mp_restore_chosen(record->chosen), apply what that makes chosen, mp_restore_applied, mp_restore_record.
 * Records of slots at or below the image are ignored. false: impossible (a gap, a value too long): the log is not of
 * this group, or the image that goes before it is missing. */
void mp_restore_image(mp *core, uint64_t slot, const mp_admit *admits, uint32_t admit_count);
bool mp_restore_chosen(mp *core, uint64_t chosen);
void mp_restore_applied(mp *core, uint64_t slot);
bool mp_restore_record(mp *core, const mp_record *record);
/* At the end of restoring, if storage and joins were not known at mp_init. */
void mp_restored(mp *core, uint64_t storage, bool joins);

void mp_step(mp *core, const mp_event *event, mp_output *out);

/* Questions. */
uint64_t mp_chosen(const mp *core);                  /* all slots up to this one are chosen */
mp_value mp_value_at(const mp *core, uint64_t slot); /* of a chosen slot in the window; type 0: none */
bool mp_is_leader(const mp *core);                   /* and may propose and answer reads */
uint32_t mp_leader(const mp *core);                  /* whom this process follows; UINT32_MAX: nobody */
px_ballot mp_ballot(const mp *core);                 /* the ballot of that leader */
px_ballot mp_promised(const mp *core);
bool mp_may_propose(const mp *core);  /* leader, room in pipeline and window */
uint64_t mp_proposed(const mp *core); /* the last slot proposed by this leader */
uint64_t mp_reads(const mp *core);    /* the number of the last MP_READ */
bool mp_lease_holds(const mp *core,
                    uint64_t now);      /* leader whose lease is good at `now`: local reads are linearizable */
uint32_t mp_generation(const mp *core); /* own; 0: this acceptor has no vote (yet) */
/* The newest admission of each acceptor, for an image: those with a generation above 1; at most MP_ACCEPTORS_MAX. */
uint32_t mp_admits(const mp *core, mp_admit *admits);
uint64_t mp_next_tick(const mp *core);               /* when MP_TICK may have something to do, at the latest */
uint64_t mp_heard(const mp *core, uint32_t process); /* when a message of it came last; 0: never */
bool mp_is_acceptor(const mp *core, uint32_t process);
/* For tests: every invariant holds; else *broken (if given) names the first that does not. The votes, for checking. */
bool mp_check(const mp *core, const char **broken);
bool mp_vote_at(const mp *core, uint64_t slot, mp_vote *vote, bool *durable);

#endif
