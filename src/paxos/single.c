/* Single-decree Paxos: acceptor, proposer, learner. The words and the picture: single.h.
 *
 * Lamport, "Paxos Made Simple" (2001), section 2.2, comes to these rules; the functions below quote those that they
 * keep:
 *
 *   P1   An acceptor must accept the first proposal that it receives.
 *   P1a  An acceptor can accept a proposal numbered n iff it has not responded to a prepare request having a number
 *        greater than n.
 *   P2   If a proposal with value v is chosen, then every higher-numbered proposal that is chosen has value v.
 *   P2a  ... every higher-numbered proposal accepted by any acceptor has value v.
 *   P2b  ... every higher-numbered proposal issued by any proposer has value v.
 *   P2c  For any v and n, if a proposal with value v and number n is issued, then there is a set S consisting of a
 *        majority of acceptors such that either (a) no acceptor in S has accepted any proposal numbered less than n,
 *        or (b) v is the value of the highest-numbered proposal among all proposals numbered less than n accepted by
 *        the acceptors in S.
 *
 * P1a includes P1. P2c implies P2b, which implies P2a, which implies P2: one value is chosen. Why P2c suffices: any two
 * majorities have an acceptor in common. Say v was chosen at m, and the next higher ballot that gets as far as a
 * proposal is n. Its S contains an acceptor that accepted (m, v): before it promised n, since after that it could not
 * have. So it told of (m, v), and nobody could tell of anything between m and n: n has value v too. And so on, ballot
 * by ballot.
 *
 * Invariants. Of each process, verified by px_*_check:
 *   I1  Acceptor: stable.accepted.ballot <= stable.promised, and `next` is nowhere below `stable`. So what is durable
 *       never goes down, over crashes too.
 *   I2  Acceptor: an answer that waits is covered by `next`: when it is sent, what it says is durable.
 *   I3  Proposer: a majority has promised in PHASE_2, and issued.value is that of `highest`, if there is one (P2c).
 *   I4  Proposer: highest.ballot < ballot.
 *   I5  Learner: chosen was accepted by a majority, at one ballot.
 * Of all processes together (tests/sim/explore_single.c looks at them in every state that can be reached):
 *   I6  Proposals issued at the same ballot have the same value: a ballot has one owner, who never uses it twice.
 *   I7  All proposals accepted by a majority have the same value, and it is one that somebody wished for. */
#include "paxos/single.h"

#include <string.h>

static bool is_majority(uint32_t set, uint32_t acceptors)
{
    uint32_t members = 0;

    for (uint32_t i = 0; i < acceptors; i++) {
        members += set >> i & 1u;
    }
    return members >= px_majority(acceptors);
}

static px_ballot highest_of(px_ballot a, px_ballot b)
{
    return a > b ? a : b;
}

static void send(px_output *out, uint32_t to, px_message message)
{
    out->send = true;
    out->to = to;
    out->message = message;
}

/* --- acceptor ----------------------------------------- */

void px_acceptor_init(px_acceptor *acceptor, const px_record *stable)
{
    memset(acceptor, 0, sizeof *acceptor);
    if (stable != NULL) {
        acceptor->stable = *stable;
    }
}

/* Section 2.5: "An acceptor records its intended response in stable storage before actually sending the response." */
static void persist_then_answer(px_acceptor *acceptor, px_output *out, px_record next, uint32_t to, px_message answer)
{
    acceptor->writing = true;
    acceptor->next = next;
    acceptor->to = to;
    acceptor->answer = answer;
    out->persist = true;
    out->record = next;
}

static void on_persisted(px_acceptor *acceptor, px_output *out)
{
    if (acceptor->writing) {
        acceptor->writing = false;
        acceptor->stable = acceptor->next;
        send(out, acceptor->to, acceptor->answer);
    }
}

/* The end of section 2.2: an acceptor that ignores a request because of a higher number "should probably inform the
 * proposer, who should then abandon its proposal. This is a performance optimization". */
static void refuse(const px_acceptor *acceptor, px_output *out, px_ballot n)
{
    send(out, px_owner(n), (px_message){.kind = PX_REFUSED, .ballot = n, .promised = acceptor->stable.promised});
}

/* Phase 1 (b): "If an acceptor receives a prepare request with number n greater than that of any prepare request to
 * which it has already responded, then it responds to the request with a promise not to accept any more proposals
 * numbered less than n and with the highest-numbered proposal (if any) that it has accepted."
 * The same prepare again gets the same answer again: the first may have been lost. */
static void phase_1b(px_acceptor *acceptor, px_output *out, px_ballot n)
{
    px_record next = acceptor->stable;
    px_message promise = {.kind = PX_PROMISE, .ballot = n, .proposal = acceptor->stable.accepted};

    if (!px_may_promise(acceptor->stable.promised, n)) {
        refuse(acceptor, out, n);
        return;
    }
    next.promised = n;
    persist_then_answer(acceptor, out, next, px_owner(n), promise);
}

/* Phase 2 (b): "If an acceptor receives an accept request for a proposal numbered n, it accepts the proposal unless it
 * has already responded to a prepare request having a number greater than n." This is P1a.
 * It may never have seen the prepare. Then it promises n along with accepting: otherwise it could accept a lower one
 * after this one, and would have to keep the higher of the two. An acceptor may ignore any request, so this is safe.
 * Section 2.3: "The obvious algorithm is to have each acceptor, whenever it accepts a proposal, respond to all
 * learners, sending them the proposal". */
static void phase_2b(px_acceptor *acceptor, px_output *out, px_proposal proposal)
{
    px_record next = {.promised = proposal.ballot, .accepted = proposal};
    px_message accepted = {.kind = PX_ACCEPTED, .ballot = proposal.ballot, .proposal = proposal};

    if (!px_may_accept(acceptor->stable.promised, proposal.ballot)) {
        refuse(acceptor, out, proposal.ballot);
        return;
    }
    persist_then_answer(acceptor, out, next, PX_TO_LEARNERS, accepted);
}

/* Requests that come while an answer is being made durable are ignored, as if they were lost: "An acceptor can ignore
 * any request without compromising safety" (section 2.2). */
void px_acceptor_step(px_acceptor *acceptor, const px_event *event, px_output *out)
{
    memset(out, 0, sizeof *out);
    if (event->kind == PX_PERSISTED) {
        on_persisted(acceptor, out);
    } else if (event->kind == PX_MESSAGE && !acceptor->writing) {
        if (event->message.kind == PX_PREPARE) {
            phase_1b(acceptor, out, event->message.ballot);
        } else if (event->message.kind == PX_ACCEPT) {
            phase_2b(acceptor, out, event->message.proposal);
        }
    }
}

/* --- proposer ----------------------------------------- */

void px_proposer_init(px_proposer *proposer, uint32_t self, uint32_t acceptors, px_ballot used)
{
    memset(proposer, 0, sizeof *proposer);
    proposer->self = self;
    proposer->acceptors = acceptors;
    proposer->ballot = used;
}

/* Select a number. Section 2.5: proposers "choose their numbers from disjoint sets" (ballot.h), and "each proposer
 * remembers (in stable storage) the highest-numbered proposal it has tried to issue, and begins phase 1 with a higher
 * proposal number than any it has already used." One above all that it has heard of has a chance.
 * An attempt that is under way is given up: a proposer "can abandon a proposal in the middle of the protocol at any
 * time" (section 2.2). */
static void begin(px_proposer *proposer, px_output *out, px_value wish)
{
    px_ballot below = highest_of(proposer->ballot, proposer->seen);

    if (proposer->phase == PX_NUMBERING || px_round(below) >= PX_ROUND_MAX) {
        return;
    }
    proposer->phase = PX_NUMBERING;
    proposer->ballot = px_above(below, proposer->self);
    proposer->wish = wish;
    out->persist = true;
    out->used = proposer->ballot;
}

/* Phase 1 (a): "A proposer selects a proposal number n and sends a prepare request with number n to a majority of
 * acceptors." To all of them here: any majority may answer. */
static void phase_1a(px_proposer *proposer, px_output *out)
{
    proposer->phase = PX_PHASE_1;
    proposer->promises = 0;
    proposer->highest = (px_proposal){.ballot = PX_NONE};
    send(out, PX_TO_ACCEPTORS, (px_message){.kind = PX_PREPARE, .ballot = proposer->ballot});
}

/* Phase 2 (a): "If the proposer receives a response to its prepare requests (numbered n) from a majority of acceptors,
 * then it sends an accept request to each of those acceptors for a proposal numbered n with a value v, where v is the
 * value of the highest-numbered proposal among the responses, or is any value if the responses reported no proposals."
 * This is P2c; its S is `promises`. Any acceptor may be asked to accept, so all are. */
static void phase_2a(px_proposer *proposer, px_output *out)
{
    bool is_free = proposer->highest.ballot == PX_NONE;

    if (!is_majority(proposer->promises, proposer->acceptors)) {
        return;
    }
    proposer->phase = PX_PHASE_2;
    proposer->issued.ballot = proposer->ballot;
    proposer->issued.value = is_free ? proposer->wish : proposer->highest.value;
    send(out, PX_TO_ACCEPTORS,
         (px_message){.kind = PX_ACCEPT, .ballot = proposer->ballot, .proposal = proposer->issued});
}

/* A response counts for the ballot that it names only. */
static void on_promise(px_proposer *proposer, px_output *out, uint32_t from, const px_message *promise)
{
    if (proposer->phase != PX_PHASE_1 || promise->ballot != proposer->ballot || from >= proposer->acceptors) {
        return;
    }
    proposer->promises |= UINT32_C(1) << from;
    if (promise->proposal.ballot > proposer->highest.ballot) {
        proposer->highest = promise->proposal;
    }
    phase_2a(proposer, out);
}

static void on_refused(px_proposer *proposer, const px_message *refused)
{
    if (proposer->phase == PX_IDLE || refused->ballot != proposer->ballot || refused->promised <= proposer->ballot) {
        return;
    }
    proposer->seen = highest_of(proposer->seen, refused->promised);
    proposer->phase = PX_IDLE;
}

void px_proposer_step(px_proposer *proposer, const px_event *event, px_output *out)
{
    memset(out, 0, sizeof *out);
    if (event->kind == PX_BEGIN) {
        begin(proposer, out, event->value);
    } else if (event->kind == PX_PERSISTED && proposer->phase == PX_NUMBERING) {
        phase_1a(proposer, out);
    } else if (event->kind == PX_MESSAGE && event->message.kind == PX_PROMISE) {
        on_promise(proposer, out, event->from, &event->message);
    } else if (event->kind == PX_MESSAGE && event->message.kind == PX_REFUSED) {
        on_refused(proposer, &event->message);
    }
}

/* --- learner ----------------------------------------- */

void px_learner_init(px_learner *learner, uint32_t acceptors)
{
    memset(learner, 0, sizeof *learner);
    learner->acceptors = acceptors;
}

static bool is_accepted_by_majority(const px_learner *learner, px_ballot n)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < learner->acceptors; i++) {
        if (learner->accepted[i].ballot == n) {
            set |= UINT32_C(1) << i;
        }
    }
    return is_majority(set, learner->acceptors);
}

/* Section 2.3: "To learn that a value has been chosen, a learner must find out that a proposal has been accepted by a
 * majority of acceptors." A proposal, not a value: acceptors that accepted the same value at different ballots do not
 * make it chosen. */
void px_learner_step(px_learner *learner, const px_event *event, px_output *out)
{
    px_proposal told = event->message.proposal;

    memset(out, 0, sizeof *out);
    if (event->kind != PX_MESSAGE || event->message.kind != PX_ACCEPTED || event->from >= learner->acceptors ||
        told.ballot == PX_NONE) {
        return;
    }
    if (told.ballot > learner->accepted[event->from].ballot) {
        learner->accepted[event->from] = told;
    }
    if (learner->chosen.ballot == PX_NONE && is_accepted_by_majority(learner, told.ballot)) {
        learner->chosen = told;
        out->learned = true;
    }
}

/* --- invariants ----------------------------------------- */

static bool is_record(px_record record)
{
    return record.accepted.ballot <= record.promised;
}

bool px_acceptor_check(const px_acceptor *acceptor)
{
    px_record stable = acceptor->stable, next = acceptor->next;

    if (!is_record(stable)) {
        return false;
    }
    if (!acceptor->writing) {
        return true;
    }
    return is_record(next) && next.promised >= stable.promised && next.accepted.ballot >= stable.accepted.ballot &&
           acceptor->answer.ballot <= next.promised && acceptor->answer.proposal.ballot <= next.accepted.ballot;
}

bool px_proposer_check(const px_proposer *proposer)
{
    if (proposer->phase == PX_PHASE_1 || proposer->phase == PX_PHASE_2) {
        if (px_owner(proposer->ballot) != proposer->self || proposer->highest.ballot >= proposer->ballot) {
            return false;
        }
    }
    if (proposer->phase == PX_PHASE_2) {
        px_value v = proposer->highest.ballot == PX_NONE ? proposer->wish : proposer->highest.value;

        return is_majority(proposer->promises, proposer->acceptors) && proposer->issued.value == v &&
               proposer->issued.ballot == proposer->ballot;
    }
    return true;
}

bool px_learner_check(const px_learner *learner)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < learner->acceptors; i++) {
        if (learner->accepted[i].ballot >= learner->chosen.ballot) {
            set |= UINT32_C(1) << i;
        }
    }
    return learner->chosen.ballot == PX_NONE || is_majority(set, learner->acceptors);
}
