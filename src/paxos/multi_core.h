/* What the files of the Multi-Paxos core share: the state of one process.
 *
 *   multi.c           the step, restoring, questions, invariants
 *   multi_acceptor.c  promises and votes, and the answers that wait for durability
 *   multi_leader.c    elections, proposing, heartbeats, reads, leases
 *   multi_learner.c   what is chosen, catching up, generations
 *
 * Sends and records of one step have bounded room. Handlers only change the state and note what is due; mp_pump at the
 * end of each step carries out what is due, and asks for another step (`again`) while something is left. A message for
 * which there is no room is left out, as if it had been lost. */
#ifndef CAIRN_PAXOS_MULTI_CORE_H
#define CAIRN_PAXOS_MULTI_CORE_H

#include "paxos/multi.h"

#include <string.h>

#define MP_NOBODY     UINT32_MAX
#define MP_SENT_TIMES 64 /* heartbeats whose time of sending is known */

typedef enum mp_role { MP_FOLLOWER, MP_PREVOTING, MP_PREPARING, MP_LEADING } mp_role;

/* A place of the ring: one slot's vote of this acceptor, and what a candidate or leader knows of it. */
typedef struct mp_place {
    uint64_t slot;    /* 0: empty */
    px_ballot ballot; /* of this process's vote; PX_CHOSEN: the value is known to be chosen */
    uint64_t record;  /* that makes the vote durable */
    uint32_t acks;    /* leader: acceptors (bits) whose vote at its ballot is known */
    uint32_t bytes, best_bytes;
    uint8_t type, best_type;
    px_ballot best; /* candidate: the highest ballot that a promise told, PX_NONE: none */
} mp_place;

/* A vote whose answer waits for its record. */
typedef struct mp_waiting {
    uint64_t slot, record;
} mp_waiting;

typedef struct mp_peer {
    uint32_t process;
    bool granted;          /* candidate: pre-vote                                   */
    bool promised;         /* candidate: its promise is complete ...                */
    uint64_t promise_from; /* ... or goes on from this slot                         */
    uint32_t generation;   /* that its promise came with                            */
    uint64_t echoed;       /* leader: the newest heartbeat that it answered ...     */
    uint64_t answered_at;  /* ... and when it last answered this reign              */
    uint32_t admitted_as;  /* generation of the newest admission met: only votes of it count, or of later ones */
    uint64_t admitted;     /* its storage; 0: not known                             */
    mp_admit chosen;       /* the newest admission that is chosen; generation 0: none */
} mp_peer;

struct mp {
    mp_options options;
    uint64_t now;
    uint32_t index; /* of this process among the acceptors; MP_NOBODY: it is none */
    uint64_t random;

    /* acceptor */
    px_ballot promised;
    uint64_t promised_record;
    uint32_t generation;                 /* 0: no vote */
    bool member_due;                     /* MP_RECORD_MEMBER is to be written */
    uint64_t records;                    /* the last number given */
    uint64_t persisted;                  /* records up to here are durable */
    uint32_t promise_to;                 /* who waits for a promise; MP_NOBODY */
    uint64_t promise_slot;               /* from where on it wants votes */
    uint64_t granted_until;              /* lease: no promise to anybody but `leader` before */
    uint64_t waiting_first, waiting_end; /* of the ring of waiting answers, counted for ever */

    /* learner */
    uint64_t chosen, applied;
    uint64_t highest;     /* the highest slot that this process has a vote of */
    uint32_t leader;      /* whom it follows, or MP_NOBODY */
    px_ballot leads_with; /* the leader's ballot: the highest met in a message that only a leader sends */
    uint64_t leader_heard;
    uint64_t fetch_not_before;
    uint64_t join_at;
    uint64_t learned_until; /* leader's chosen as last told */

    /* candidate, leader */
    mp_role role;
    px_ballot ballot;      /* own */
    px_ballot highest_met; /* of any message */
    uint64_t election_at;  /* when to stand (again) */
    uint64_t resend_at;
    uint64_t prepare_from;
    uint64_t promise_record; /* of the own promise */
    uint64_t next;           /* the next slot to propose */
    uint64_t repropose, repropose_end;
    uint64_t first_own; /* the no-op that begins the reign: what is chosen before it is known then */
    uint64_t pushed;    /* chosen slots that were told to the learners */
    uint64_t sequence, heartbeat_at;
    uint64_t sent_at[MP_SENT_TIMES];
    uint64_t reads, reads_done;
    uint64_t probe, probe_reads,
        probe_at; /* heartbeat that confirms reads up to probe_reads at slot probe_at; 0: none */
    uint64_t serve_from;
    uint32_t serve_to; /* MP_NOBODY: nothing to serve */

    mp_peer peers[MP_ACCEPTORS_MAX];
    uint64_t *heard;     /* [count] */
    mp_place *places;    /* [window] */
    mp_waiting *waiting; /* [2 * window] */
    char *values;        /* [window][value_max] */
    char *bests;         /* [window][value_max] */
};

/* --- multi.c --- */
mp_message *mp_emit(mp *core, mp_output *out, uint32_t to, mp_kind kind); /* never NULL */
bool mp_room_to_send(const mp_output *out);
mp_record *mp_note(mp *core, mp_output *out, mp_record_kind kind); /* needs mp_room_to_record */
bool mp_room_to_record(const mp_output *out);
mp_place *mp_place_of(const mp *core, uint64_t slot); /* where it is or would be */
mp_place *mp_find(const mp *core, uint64_t slot);     /* NULL: not there */
bool mp_fits(const mp *core, uint64_t slot);          /* it may be stored now */
mp_value mp_place_value(const mp *core, const mp_place *place);
void mp_put(mp *core, mp_place *place, px_ballot ballot, const mp_value *value);
/* Put a place's value into a message. false: no room: MP_VOTES_MAX, and value_max bytes of values in all. */
bool mp_tell(const mp *core, mp_message *m, const mp_place *place, px_ballot ballot);
uint32_t mp_index_of(const mp *core, uint32_t process);
uint32_t mp_random_below(mp *core, uint32_t bound);

static inline uint32_t mp_quorum(const mp *core)
{
    return px_majority(core->options.acceptor_count);
}

static inline bool mp_votes(const mp *core)
{
    return core->index != MP_NOBODY && core->generation > 0;
}

/* --- multi_acceptor.c --- */
void mp_on_prevote(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_prepare(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_accept(mp *core, uint32_t from, const mp_message *m, mp_output *out);
/* Vote: in memory now, and a record that makes it durable. */
void mp_vote_for(mp *core, uint64_t slot, px_ballot ballot, const mp_value *value, mp_output *out);
void mp_answer_durable(mp *core, mp_output *out);
bool mp_answers_left(const mp *core);

/* --- multi_leader.c --- */
void mp_set_timeout(mp *core);
void mp_on_ended(mp *core, uint32_t process);
void mp_follow(mp *core); /* stop being a candidate or leader */
void mp_tick(mp *core, mp_output *out);
void mp_on_prevoted(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_promise(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_refused(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_accepted(mp *core, uint32_t from, const mp_message *m);
void mp_on_echo(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_own_promise_durable(mp *core);
void mp_count(mp *core, uint32_t index, mp_place *place);
void mp_propose(mp *core, const mp_value *value, mp_output *out);
void mp_lead(mp *core, mp_output *out); /* what is due of a leader */
bool mp_lead_left(const mp *core);

/* --- multi_learner.c --- */
void mp_note_leader(mp *core, uint32_t from, px_ballot ballot);
void mp_learn_to(mp *core, uint64_t chosen, px_ballot ballot);
void mp_advance(mp *core, uint64_t slot); /* slot == chosen + 1 is chosen */
void mp_advance_known(mp *core);          /* over slots that are known to be chosen, if they are the next */
void mp_ask_for_missing(mp *core, uint32_t whom, uint64_t proposed, mp_output *out);
void mp_note_admit(mp *core, const mp_value *value);   /* it was voted for */
void mp_admit_chosen(mp *core, const mp_value *value); /* it is chosen */
void mp_on_heartbeat(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_fetch(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_learn(mp *core, uint32_t from, const mp_message *m, mp_output *out);
void mp_on_join(mp *core, uint32_t from, const mp_message *m, mp_output *out);
bool mp_learn_value(mp *core, uint64_t slot, const mp_value *value, mp_output *out);

#endif
