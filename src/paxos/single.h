/* Single-decree Paxos: some processes agree on one value. Three small state machines, as in Lamport, "Paxos Made
 * Simple" (2001), to be read beside it; implementation and invariants: single.c. Multi-Paxos, which jobs use, is
 * multi.h.
 *
 * A process may play any of the roles. An event goes in, out comes what to send and what to make durable. No
 * allocation, no clock, no files. Messages may be lost, delayed, reordered and delivered twice, but not forged
 * (section 2.1). A process may stop at any point and start again with what it has made durable.
 *
 * The whole of it, for a majority of acceptors that answer:
 *
 *     proposer                                   acceptors                                learners
 *      | 1a  prepare(n)  ------------------------> |                                        |
 *      |                                           | 1b  durable: n is promised             |
 *      | <--------------------- promise(n, what it has accepted, if anything)               |
 *      | 2a  accept(n, v) -----------------------> |                                        |
 *      |                                           | 2b  durable: (n, v) is accepted        |
 *      |                                           | ------------------- accepted(n, v) --> |
 *      |                                           |                a majority at the same n: v is chosen
 *
 * Safety (section 2.1) holds whatever happens: only a value that was proposed is chosen, only one value is chosen, and
 * nobody learns a value that was not chosen.
 *
 * Progress (section 2.4) is another matter: two proposers can go on for ever, each preparing a higher ballot before the
 * acceptors have accepted at the other's. So one process should be the distinguished proposer, the only one that is
 * given PX_BEGIN; the others are told that they may when they have not heard of it for a while, for a time that
 * differs from process to process or is random. A wrong guess costs time only. When nothing was learned for a while
 * (messages were lost, a proposer died) PX_BEGIN is given again: a new ballot is all that is ever needed, also by a
 * learner that has missed the messages about a value that is chosen (section 2.3). */
#ifndef CAIRN_PAXOS_SINGLE_H
#define CAIRN_PAXOS_SINGLE_H

#include "paxos/ballot.h"

#include <stdbool.h>
#include <stdint.h>

#define PX_ACCEPTORS_MAX 32

/* What is agreed on: a number, for instance of something that everybody can look up. */
typedef uint64_t px_value;

/* "A proposal consists of a proposal number and a value" (section 2.2). ballot PX_NONE: no proposal. */
typedef struct px_proposal {
    px_ballot ballot;
    px_value value;
} px_proposal;

typedef enum px_kind {
    PX_PREPARE = 1, /* phase 1a. ballot                                                                      */
    PX_PROMISE,     /* phase 1b. ballot: of the prepare; proposal: the highest-numbered accepted, or none    */
    PX_ACCEPT,      /* phase 2a. ballot; proposal: what is to be accepted                                    */
    PX_ACCEPTED,    /* phase 2b. ballot; proposal: what was accepted                                         */
    PX_REFUSED      /* to a prepare or accept. ballot: of that; promised: the higher ballot in its way       */
} px_kind;

typedef struct px_message {
    px_kind kind;
    px_ballot ballot;
    px_ballot promised;
    px_proposal proposal;
} px_message;

typedef enum px_event_kind {
    PX_MESSAGE = 1, /* `message` came from process `from`                                                  */
    PX_PERSISTED,   /* what the last output with `persist` asked for is durable                            */
    PX_BEGIN        /* proposer: try, with a new ballot, to get a value chosen: `value`, if it is free to  */
} px_event_kind;

typedef struct px_event {
    px_event_kind kind;
    uint32_t from;
    px_message message;
    px_value value;
} px_event;

/* All that an acceptor must remember (section 2.2: "only the highest-numbered proposal that it has ever accepted and
 * the number of the highest-numbered prepare request to which it has responded"). */
typedef struct px_record {
    px_ballot promised;
    px_proposal accepted;
} px_record;

/* px_output.to */
#define PX_TO_ACCEPTORS UINT32_MAX       /* every acceptor, that of the same process too */
#define PX_TO_LEARNERS  (UINT32_MAX - 1) /* every learner, that of the same process too  */

/* What to do. `send` rests on nothing that is not durable yet: it may go out at once. */
typedef struct px_output {
    bool persist;     /* make it durable, in place of what it was before; then PX_PERSISTED. One at a time */
    px_record record; /*   of an acceptor                                                          */
    px_ballot used;   /*   of a proposer                                                           */
    bool send;
    uint32_t to; /* a process, or one of the above */
    px_message message;
    bool learned; /* learner: from now on chosen.value is known to be chosen */
} px_output;

/* --- acceptor --- */

typedef struct px_acceptor {
    px_record stable; /* durable */
    bool writing;     /* `next` is being made durable; then `answer` goes to `to` */
    px_record next;
    uint32_t to;
    px_message answer;
} px_acceptor;

/* stable: what was persisted last; NULL for an acceptor that never persisted anything. One that has lost what it
 * persisted must not take part any more. */
void px_acceptor_init(px_acceptor *acceptor, const px_record *stable);
void px_acceptor_step(px_acceptor *acceptor, const px_event *event, px_output *out);

/* --- proposer --- */

typedef enum px_phase {
    PX_IDLE,
    PX_NUMBERING, /* the ballot is being made durable                  */
    PX_PHASE_1,   /* prepare was sent; promises are counted            */
    PX_PHASE_2    /* accept was sent: `issued`; nothing more is to do  */
} px_phase;

typedef struct px_proposer {
    uint32_t self, acceptors;
    px_phase phase;
    px_ballot ballot;    /* of the current attempt, or the last one; never used for another    */
    px_ballot seen;      /* the highest ballot heard of in a refusal                           */
    px_value wish;       /* the value to propose when there is a choice                        */
    uint32_t promises;   /* set of acceptors that have promised `ballot`: bit i is process i   */
    px_proposal highest; /* the highest-numbered proposal among their answers                  */
    px_proposal issued;  /* PHASE_2                                                            */
} px_proposer;

/* The acceptors are processes 0..acceptors-1, at most PX_ACCEPTORS_MAX. used: the ballot that was persisted last, or
 * PX_NONE. */
void px_proposer_init(px_proposer *proposer, uint32_t self, uint32_t acceptors, px_ballot used);
void px_proposer_step(px_proposer *proposer, const px_event *event, px_output *out);

/* --- learner: keeps nothing; asks anew after a restart --- */

typedef struct px_learner {
    uint32_t acceptors;
    px_proposal accepted[PX_ACCEPTORS_MAX]; /* the highest-numbered one that each acceptor told of */
    px_proposal chosen;                     /* ballot PX_NONE: not known yet                       */
} px_learner;

void px_learner_init(px_learner *learner, uint32_t acceptors);
void px_learner_step(px_learner *learner, const px_event *event, px_output *out);

/* True when the invariants of single.c hold, as far as one process can see them. For tests. */
bool px_acceptor_check(const px_acceptor *acceptor);
bool px_proposer_check(const px_proposer *proposer);
bool px_learner_check(const px_learner *learner);

#endif
