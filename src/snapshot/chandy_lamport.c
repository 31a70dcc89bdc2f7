/* The Chandy-Lamport snapshot: one process's side of it. What it is for and the words: chandy_lamport.h.
 *
 * Chandy and Lamport (1985), section 3.1, is the two functions record and on_marker. Everything else answers three
 * questions that the paper leaves to the job: at which point of ordinary code to record (on_query .. on_go), what to do
 * when that point cannot be reached (abandon), and when the parts of all processes make a snapshot (on_part ..).
 *
 * The states of the attempt `latest`, and the function of each arrow:
 *
 *            begin                  name_step               on_reply: all accepted
 *    IDLE ----------> QUERYING --------------------> PLACING -------------------.
 *     |  |                |      on_reply: all told     | ^ on_reply: somebody  |
 *     |  |                |                             '-'   has passed S      |
 *     |  |     on_query   |  (also from PLACING: a lower initiator leads)       v
 *     |  |  meet          v                 on_at                on_go
 *     |  '------------> JOINED --------------------> PLEDGED -----------------> GOING
 *     |                   |   <--------------------                              |
 *     |                   |    on_query: a lower initiator leads                | record: at a safe
 *     |                   | on_marker (from QUERYING, PLACING, PLEDGED          | point >= S
 *     |                   |   as well): GOING if it names an S, else            |
 *     |  begin, or        v                                                     v
 *     '---------------> WANTED --------------------------------------------> RECORDED
 *        on_reply: nobody       record: at the next safe point                  | check_complete: a marker
 *        counts steps                                                           v has come on every channel
 *    IDLE <--------------------------- REPORTED <--------------------------- COMPLETE
 *          on_commit_durable, on_committed        on_part_durable
 *
 *    IDLE <--- any state: end_attempt (abandoned here or elsewhere, or a later attempt was met)
 *
 * A wish (CL_INITIATE) that finds an attempt already recorded here waits beside all this for IDLE.
 *
 * Invariants, verified by cl_check:
 *   I1  IDLE: nothing of an attempt is left: no leader, no channel behind its marker, no part counted.
 *   I2  A channel behind its marker means that the cut is decided: GOING, WANTED or later.
 *   I3  RECORDED: a marker is missing. COMPLETE, REPORTED: none is, so nothing is in the cut any more.
 *   I4  QUERYING, PLACING: this process leads and is an initiator, and some answer is missing.
 *   I5  PLACING, PLEDGED, GOING: the process has not left a safe point >= S: it will record at the first of them.
 *   I6  PLACING, PLEDGED, GOING have an S; JOINED, QUERYING and WANTED have none.
 *   I7  A message is held only while its channel is behind its marker and this process has not recorded.
 *   I8  Only the coordinator counts parts; its own is counted in REPORTED only; it commits when all are there.
 *   I9  A process that has finished has nothing left to record; it, and who has heard of one, wishes for nothing.
 *   I10 A wish waits only for a first safe point or behind an attempt that is already recorded here.
 *   I11 After a loss nothing is under way and nothing is wished for.
 *   I12 1 <= lead <= LEAD_MAX; at most REPEATS_MAX repetitions; nothing later than `latest` is committed.
 *
 * A process that is lost (CL_LOST) ends all attempts for good, on every process by itself: what is left of one that
 * somebody has not heard of yet is not answered, and ends there when it hears of the loss too.
 *
 * Not handled: lost or forged messages, processes that die unnoticed (then the runtime starts anew). */
#include "snapshot/chandy_lamport.h"

#include <string.h>

#define NOBODY      UINT32_MAX
#define LEAD_MAX    ((uint64_t)1 << 20)
#define REPEATS_MAX 16 /* attempts in a row that follow by themselves after one was abandoned for a held message */

typedef enum phase { IDLE, JOINED, QUERYING, PLACING, PLEDGED, GOING, WANTED, RECORDED, COMPLETE, REPORTED } phase;

typedef struct peer {
    bool in;       /* there is a channel from it                                              */
    bool out;      /* there is a channel to it                                                */
    bool behind;   /* its channel is behind the marker of this attempt                        */
    bool answered; /* QUERYING: has told its step. PLACING: has pledged the S of this round   */
    bool part;     /* coordinator: its part is durable                                        */
    uint64_t step; /* leader: the lowest step that it had not passed when it said so          */
} peer;

struct cl {
    uint32_t count, self, coordinator;

    /* The job. */
    bool seen;      /* it has come to a safe point                                  */
    bool unaligned; /* the last one carried no step                                 */
    bool at;        /* it is at a safe point now                                    */
    uint64_t here;  /* at: the step of it                                           */
    uint64_t floor; /* the largest step left + 1                                    */
    bool finished;  /* it comes to no safe point any more                           */

    /* The attempt `latest`, unless IDLE. */
    phase phase;
    uint64_t latest;
    uint64_t step;   /* S, or CL_NO_STEP                                            */
    uint32_t leader; /* whose AT and GO are followed                                */
    bool initiator;  /* a wish of this process is merged into it                    */
    bool holding;    /* the shell holds a message for it                            */
    bool committing; /* the commit record is being written                          */

    /* What outlives it. */
    bool wished;
    bool others_finished; /* no attempt can be recorded everywhere any more         */
    bool lost;            /* the same, for a process is gone                        */
    bool late;            /* within one step: see record_if_due                     */
    uint32_t repeats;
    uint64_t lead;      /* how many steps ahead of the first process S is placed    */
    uint64_t committed; /* largest number known to be committed                     */

    peer peers[]; /* count of them; that of self stands for the process itself      */
};

static void send(const cl *core, cl_output *out, uint32_t to, cl_message_kind kind, uint64_t attempt, uint64_t step,
                 cl_reason reason)
{
    if (core->count > 1 && out->send_count < CL_SENDS_MAX) {
        cl_message message = {.kind = kind, .reason = reason, .attempt = attempt, .step = step};

        out->sends[out->send_count++] = (cl_send){.to = to, .message = message};
    }
}

/* Send a message of the current attempt. */
static void tell(const cl *core, cl_output *out, uint32_t to, cl_message_kind kind, uint64_t step)
{
    send(core, out, to, kind, core->latest, step, CL_REASON_NONE);
}

static bool is_current(const cl *core, uint64_t attempt)
{
    return core->phase != IDLE && attempt == core->latest;
}

/* The cut is decided, so QUERY, AT and GO have nothing more to say. */
static bool is_decided(const cl *core)
{
    return core->phase >= GOING;
}

static bool has_recorded(const cl *core)
{
    return core->phase >= RECORDED;
}

/* The lowest step that the job has not passed, as PROGRESS and PASSED tell it. */
static uint64_t lowest_step(const cl *core)
{
    if (!core->seen) {
        return 0;
    }
    if (core->unaligned) {
        return CL_NO_STEP;
    }
    return core->at ? core->here : core->floor;
}

/* The job has left a safe point >= step. Who has none with steps can still stop at its next one. */
static bool has_passed(const cl *core, uint64_t step)
{
    return !core->unaligned && core->floor > step;
}

/* The job is at a safe point where a cut at S is to be recorded. */
static bool is_at_cut(const cl *core)
{
    return core->at && (core->unaligned || core->here >= core->step);
}

/* --- the paper ----------------------------------------- */

/* The state of every in-channel is known once a marker has come on each. */
static void check_complete(cl *core, cl_output *out)
{
    for (uint32_t i = 0; i < core->count; i++) {
        if (core->peers[i].in && !core->peers[i].behind) {
            return;
        }
    }
    core->phase = COMPLETE;
    out->complete = true;
    out->attempt = core->latest;
    out->cut_step = core->step;
}

/* Marker-sending rule for a process p. p records its state; then, before it sends anything else on a channel c that
 * leads away from it, it sends one marker along c. The shell carries out both when it sees `record` and `send_markers`.
 *
 * Recording also begins the state of every channel into p, with what has arrived and waits for the job. What waits
 * behind a marker (held) was sent after its sender recorded: it is released, outside of the cut. */
static void record(cl *core, cl_output *out)
{
    bool has_out = false;

    for (uint32_t i = 0; i < core->count; i++) {
        has_out = has_out || core->peers[i].out;
    }
    core->phase = RECORDED;
    core->holding = false;
    out->record = true;
    out->release = true;
    out->send_markers = has_out;
    out->attempt = core->latest;
    out->cut_step = core->step;
    check_complete(core, out);
}

/* Record if the job is where the attempt wants it. A step that has handed out messages held for an attempt that ended
 * (late) does not record: the shell releases after it records, and these messages were sent before the marker of the
 * new attempt, so they belong to the new cut. They are in the mailbox now, so the job moves and comes to its next safe
 * point. Nor does a step that reports an earlier attempt as committed, since the output has room for one number. */
static void record_if_due(cl *core, cl_output *out)
{
    bool due = core->phase == WANTED ? core->at : core->phase == GOING && is_at_cut(core);

    if (due && !core->late && !out->committed) {
        record(core, out);
    }
}

static bool meet(cl *core, cl_output *out, uint64_t attempt);

/* Marker-receiving rule for a process q, when a marker comes along a channel c. If q has not recorded its state: q
 * records it, and the state of c is empty of anything that comes later. If it has: the state of c is what came along c
 * after q recorded and before this marker.
 *
 * Here q may have to go on to a safe point before it can record. Until then what comes along c is held, so that for the
 * job it has not been received: q's state is as good as recorded the moment the marker came. A marker says where to
 * record, so it can stand in for a GO that it overtook. */
static void on_marker(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    peer *sender = &core->peers[from];

    if (!sender->in || !meet(core, out, message->attempt) || sender->behind) {
        return;
    }
    sender->behind = true;
    if (!is_decided(core)) {
        core->step = message->step;
        core->phase = message->step == CL_NO_STEP ? WANTED : GOING;
        core->leader = NOBODY;
    }
    if (core->phase == RECORDED) {
        check_complete(core, out);
    }
}

static void on_data(cl *core, cl_output *out, uint32_t from)
{
    out->hold = cl_holds(core, from);
    out->in_cut = cl_recording(core, from);
    core->holding = core->holding || out->hold;
}

/* --- beginning and ending ----------------------------------------- */

static void forget_attempt(cl *core)
{
    core->phase = IDLE;
    core->step = CL_NO_STEP;
    core->leader = NOBODY;
    core->holding = false;
    core->committing = false;
    for (uint32_t i = 0; i < core->count; i++) {
        core->peers[i].behind = false;
        core->peers[i].answered = false;
        core->peers[i].part = false;
        core->peers[i].step = 0;
    }
}

/* The current attempt will not be committed with this process in it, as far as this process knows. */
static void end_attempt(cl *core, cl_output *out, cl_reason reason)
{
    out->discard = true;
    out->ended_reason = reason;
    out->ended = core->latest;
    out->release = true;
    core->late = core->holding;
    forget_attempt(core);
}

/* What an abandoned attempt means for the wishes merged into it. */
static void settle_wishes(cl *core, cl_reason reason)
{
    if (reason == CL_REASON_FINISHED) {
        core->others_finished = true;
    } else if (reason == CL_REASON_HELD && core->initiator && core->repeats < REPEATS_MAX) {
        core->repeats++;
        core->wished = true;
    }
    core->initiator = false;
    if (core->finished || core->others_finished) {
        core->wished = false;
    }
}

/* Only who has not sent PART may do this (or the coordinator, whose commit failed), so nobody can commit it. */
static void abandon(cl *core, cl_output *out, cl_reason reason)
{
    send(core, out, CL_ALL, CL_MSG_ABANDON, core->latest, CL_NO_STEP, reason);
    end_attempt(core, out, reason);
    settle_wishes(core, reason);
}

/* A message of `attempt` came that makes a process take part. True if that is the current attempt now. A later attempt
 * exists only when the one before has ended somewhere: then its end is on the way here, and is not waited for. */
static bool meet(cl *core, cl_output *out, uint64_t attempt)
{
    if (attempt <= core->latest || core->lost) {
        return is_current(core, attempt);
    }
    if (core->phase != IDLE) {
        end_attempt(core, out, CL_REASON_SUPERSEDED);
    }
    core->latest = attempt;
    if (core->finished) {
        send(core, out, CL_ALL, CL_MSG_ABANDON, attempt, CL_NO_STEP, CL_REASON_FINISHED);
        return false;
    }
    core->phase = JOINED;
    core->initiator = core->initiator || core->wished;
    core->wished = false;
    return true;
}

static void on_abandon(cl *core, cl_output *out, const cl_message *message)
{
    cl_reason reason = (cl_reason)message->reason;

    if (reason == CL_REASON_FINISHED) { /* true for ever, whatever attempt it was said for */
        core->others_finished = true;
        core->wished = false;
    }
    if (message->attempt > core->latest && !core->lost) {
        if (core->phase != IDLE) {
            end_attempt(core, out, CL_REASON_SUPERSEDED);
        }
        core->latest = message->attempt;
        settle_wishes(core, reason);
    } else if (is_current(core, message->attempt) && !core->committing) {
        end_attempt(core, out, reason);
        settle_wishes(core, reason);
    }
}

static void check_answers(cl *core, cl_output *out);

/* Begin attempt latest + 1. A job with steps is asked where it is. A job without records by the paper's rule at its
 * next safe point, at once if it is at one; where this very step may not record (record_if_due), the answers to a QUERY
 * bring the next one. (A process alone has nobody to ask: there it is the next event that comes.) */
static void begin(cl *core, cl_output *out)
{
    core->latest++;
    core->wished = false;
    core->initiator = true;
    core->leader = core->self;
    core->phase = QUERYING;
    if (!core->unaligned || core->late || out->committed) {
        tell(core, out, CL_ALL, CL_MSG_QUERY, CL_NO_STEP);
    }
    check_answers(core, out);
}

static void on_initiate(cl *core)
{
    if (core->finished || core->others_finished || core->lost) {
        return;
    }
    if (core->phase == IDLE || has_recorded(core)) {
        core->wished = true;
    } else {
        core->initiator = true;
    }
}

/* --- finding a safe point that nobody has passed ----------------------------------------- */

/* Leader: name an S, `lead` steps beyond the first process, and pledge it. */
static void name_step(cl *core, cl_output *out)
{
    uint64_t most = core->unaligned ? 0 : lowest_step(core);

    for (uint32_t i = 0; i < core->count; i++) {
        if (i != core->self && core->peers[i].step > most) {
            most = core->peers[i].step;
        }
        core->peers[i].answered = false;
    }
    core->step = most < CL_NO_STEP - 1 - core->lead ? most + core->lead : CL_NO_STEP - 1;
    core->phase = PLACING;
    tell(core, out, CL_ALL, CL_MSG_AT, core->step);
    check_answers(core, out);
}

/* Leader: go on when everybody has answered. */
static void check_answers(cl *core, cl_output *out)
{
    bool all = true;
    bool steps = !core->unaligned;

    for (uint32_t i = 0; i < core->count; i++) {
        if (i != core->self) {
            all = all && core->peers[i].answered;
            steps = steps && core->peers[i].step != CL_NO_STEP;
        }
    }
    if (core->phase == QUERYING && !steps) {
        core->phase = WANTED;
        core->leader = NOBODY;
    } else if (core->phase == QUERYING && all) {
        name_step(core, out);
    } else if (core->phase == PLACING && all) {
        core->phase = GOING;
        core->leader = NOBODY;
        core->lead -= core->lead > 1 ? (core->lead + 7) / 8 : 0; /* steps may have become slower */
        tell(core, out, CL_ALL, CL_MSG_GO, core->step);
    }
}

/* Leader: PROGRESS, ACCEPT and PASSED. S grows with every round, so it tells an answer of an earlier round. */
static void on_reply(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    peer *sender = &core->peers[from];

    if (!is_current(core, message->attempt)) {
        return;
    }
    if (core->phase == QUERYING && message->kind == CL_MSG_PROGRESS) {
        sender->answered = true;
        sender->step = message->step;
        check_answers(core, out);
    } else if (core->phase == PLACING && message->kind == CL_MSG_ACCEPT && message->step == core->step) {
        sender->answered = true;
        check_answers(core, out);
    } else if (core->phase == PLACING && message->kind == CL_MSG_PASSED && message->step > core->step &&
               message->step != CL_NO_STEP) {
        sender->step = message->step;
        core->lead = core->lead < LEAD_MAX ? core->lead * 2 : LEAD_MAX;
        name_step(core, out);
    }
}

/* Of several initiators the lowest leads: a higher one that hears of it stops, and answers. A leader names an S only
 * when everybody has answered, the other initiators too, so only one ever does. Where the cut is already being made
 * without steps, the initiator learns that it has to do as well. */
static void on_query(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    if (!meet(core, out, message->attempt)) {
        return;
    }
    if (is_decided(core)) {
        if (core->step == CL_NO_STEP) {
            tell(core, out, from, CL_MSG_PROGRESS, CL_NO_STEP);
        }
        return;
    }
    if (core->leader == core->self && from > core->self) {
        return;
    }
    if (core->leader == NOBODY || from < core->leader) {
        core->leader = from;
        core->phase = JOINED;
        core->step = CL_NO_STEP;
    }
    tell(core, out, from, CL_MSG_PROGRESS, lowest_step(core));
}

static void on_at(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    bool first = core->phase == JOINED;
    bool later = core->phase == PLEDGED && message->step > core->step;

    if (!is_current(core, message->attempt) || from != core->leader || message->step == CL_NO_STEP ||
        !(first || later)) {
        return;
    }
    if (has_passed(core, message->step)) {
        tell(core, out, from, CL_MSG_PASSED, lowest_step(core));
        return;
    }
    core->step = message->step;
    core->phase = PLEDGED;
    tell(core, out, from, CL_MSG_ACCEPT, core->step);
}

static void on_go(cl *core, uint32_t from, const cl_message *message)
{
    if (is_current(core, message->attempt) && core->phase == PLEDGED && from == core->leader &&
        message->step == core->step) {
        core->phase = GOING;
        core->leader = NOBODY;
    }
}

/* --- committing ----------------------------------------- */

static void check_parts(cl *core, cl_output *out)
{
    for (uint32_t i = 0; i < core->count; i++) {
        if (!core->peers[i].part) {
            return;
        }
    }
    core->committing = true;
    out->commit = true;
    out->attempt = core->latest;
    out->cut_step = core->step;
}

/* Coordinator. A part can be durable before the coordinator has met a marker of its attempt. */
static void on_part(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    if (core->self == core->coordinator && meet(core, out, message->attempt) && !core->committing) {
        core->peers[from].part = true;
        check_parts(core, out);
    }
}

static void on_part_durable(cl *core, cl_output *out, uint64_t attempt)
{
    if (!is_current(core, attempt) || core->phase != COMPLETE) {
        return;
    }
    core->phase = REPORTED;
    if (core->self == core->coordinator) {
        core->peers[core->self].part = true;
        check_parts(core, out);
    } else {
        tell(core, out, core->coordinator, CL_MSG_PART, core->step);
    }
}

static void commit_current(cl *core, cl_output *out)
{
    out->committed = true;
    out->attempt = core->latest;
    out->cut_step = core->step;
    core->committed = core->latest;
    core->repeats = 0;
    core->initiator = false;
    forget_attempt(core);
}

/* The record of an attempt that was given up for a loss was already being written. */
static bool is_late_commit(const cl *core, uint64_t attempt)
{
    return core->lost && core->phase == IDLE && attempt == core->latest && attempt > core->committed;
}

static void on_commit_durable(cl *core, cl_output *out, uint64_t attempt)
{
    if ((is_current(core, attempt) && core->committing) ||
        (is_late_commit(core, attempt) && core->self == core->coordinator)) {
        tell(core, out, CL_ALL, CL_MSG_COMMITTED, core->step);
        commit_current(core, out);
    }
}

/* The end of an attempt that a later one has superseded here is still good to know. */
static void on_committed(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    if (from != core->coordinator) {
        return;
    }
    if (is_current(core, message->attempt) && core->phase == REPORTED) {
        commit_current(core, out);
    } else if ((message->attempt < core->latest && message->attempt > core->committed) ||
               is_late_commit(core, message->attempt)) {
        core->committed = message->attempt;
        out->committed = true;
        out->attempt = message->attempt;
        out->cut_step = message->step;
    }
}

static void on_failed(cl *core, cl_output *out, uint64_t attempt)
{
    if (is_current(core, attempt) && (core->phase == RECORDED || core->phase == COMPLETE || core->committing)) {
        abandon(core, out, CL_REASON_FAILED);
    }
}

/* --- the job ----------------------------------------- */

static void on_safepoint(cl *core, uint64_t step)
{
    bool unaligned = step == CL_NO_STEP;

    if (core->at || core->finished || (!unaligned && step < core->floor)) {
        return;
    }
    core->seen = true;
    core->at = true;
    core->unaligned = unaligned;
    core->here = step;
}

static void on_leave(cl *core)
{
    if (core->at && !cl_must_stay(core)) {
        core->at = false;
        if (!core->unaligned) {
            core->floor = core->here + 1;
        }
    }
}

static void on_held_wait(cl *core, cl_output *out)
{
    bool behind = false;

    for (uint32_t i = 0; i < core->count; i++) {
        behind = behind || cl_holds(core, i);
    }
    if (behind && !core->at) {
        abandon(core, out, CL_REASON_HELD);
    }
}

static void on_finished(cl *core, cl_output *out)
{
    core->finished = true;
    core->wished = false;
    core->at = false;
    if (core->phase != IDLE && !has_recorded(core)) {
        abandon(core, out, CL_REASON_FINISHED);
    }
}

static void on_lost(cl *core, cl_output *out)
{
    core->lost = true;
    core->wished = false;
    core->initiator = false;
    if (core->phase != IDLE) {
        end_attempt(core, out, CL_REASON_LOST);
    }
}

/* --- the way in ----------------------------------------- */

static void on_message(cl *core, cl_output *out, uint32_t from, const cl_message *message)
{
    switch ((cl_message_kind)message->kind) {
    case CL_MSG_MARKER:
        on_marker(core, out, from, message);
        break;
    case CL_MSG_QUERY:
        on_query(core, out, from, message);
        break;
    case CL_MSG_PROGRESS:
    case CL_MSG_ACCEPT:
    case CL_MSG_PASSED:
        on_reply(core, out, from, message);
        break;
    case CL_MSG_AT:
        on_at(core, out, from, message);
        break;
    case CL_MSG_GO:
        on_go(core, from, message);
        break;
    case CL_MSG_PART:
        on_part(core, out, from, message);
        break;
    case CL_MSG_COMMITTED:
        on_committed(core, out, from, message);
        break;
    case CL_MSG_ABANDON:
        on_abandon(core, out, message);
        break;
    }
}

static bool has_peer(const cl *core, const cl_event *event)
{
    return event->peer < core->count && event->peer != core->self;
}

void cl_step(cl *core, const cl_event *event, cl_output *out)
{
    memset(out, 0, sizeof *out);
    core->late = false;
    switch (event->kind) {
    case CL_INITIATE:
        on_initiate(core);
        break;
    case CL_SAFEPOINT:
        on_safepoint(core, event->step);
        break;
    case CL_LEAVE:
        on_leave(core);
        break;
    case CL_DATA:
        if (has_peer(core, event)) {
            on_data(core, out, event->peer);
        }
        break;
    case CL_MESSAGE:
        if (has_peer(core, event)) {
            on_message(core, out, event->peer, &event->message);
        }
        break;
    case CL_HELD_WAIT:
        on_held_wait(core, out);
        break;
    case CL_PART_DURABLE:
        on_part_durable(core, out, event->attempt);
        break;
    case CL_COMMIT_DURABLE:
        on_commit_durable(core, out, event->attempt);
        break;
    case CL_FAILED:
        on_failed(core, out, event->attempt);
        break;
    case CL_FINISHED:
        on_finished(core, out);
        break;
    case CL_LOST:
        on_lost(core, out);
        break;
    }
    if (event->kind == CL_DATA) {
        return; /* the message is on its way into the mailbox: neither before a record nor after it */
    }
    if (core->wished && core->phase == IDLE && core->seen) {
        begin(core, out);
    }
    record_if_due(core, out);
}

size_t cl_bytes(uint32_t count)
{
    return sizeof(cl) + count * sizeof(peer);
}

cl *cl_init(void *memory, uint32_t count, uint32_t self, uint32_t coordinator, const bool *in, const bool *out,
            uint64_t attempt)
{
    cl *core = memory;

    memset(core, 0, cl_bytes(count));
    core->count = count;
    core->self = self;
    core->coordinator = coordinator;
    core->latest = attempt;
    core->committed = attempt;
    core->lead = 1;
    for (uint32_t i = 0; i < count; i++) {
        core->peers[i].in = i != self && (in == NULL || in[i]);
        core->peers[i].out = i != self && (out == NULL || out[i]);
    }
    forget_attempt(core);
    return core;
}

bool cl_must_stay(const cl *core)
{
    return (core->phase == PLACING || core->phase == PLEDGED) && is_at_cut(core);
}

bool cl_idle(const cl *core)
{
    return core->phase == IDLE && !core->wished;
}

void cl_passed(cl *core, uint64_t step)
{
    core->seen = true;
    core->at = false;
    core->unaligned = step == CL_NO_STEP;
    if (!core->unaligned) {
        core->here = step;
        core->floor = step + 1;
    }
}

uint64_t cl_attempt(const cl *core)
{
    return core->phase == IDLE ? 0 : core->latest;
}

uint64_t cl_latest(const cl *core)
{
    return core->latest;
}

bool cl_holds(const cl *core, uint32_t from)
{
    return from < core->count && core->peers[from].behind && !has_recorded(core);
}

bool cl_recording(const cl *core, uint32_t from)
{
    return from < core->count && core->peers[from].in && core->phase == RECORDED && !core->peers[from].behind;
}

/* --- the invariants ----------------------------------------- */

typedef struct tally {
    uint32_t behind, markers_missing, answers_missing, parts;
} tally;

static tally count_peers(const cl *core)
{
    tally sum = {0, 0, 0, 0};

    for (uint32_t i = 0; i < core->count; i++) {
        sum.behind += core->peers[i].behind;
        sum.markers_missing += core->peers[i].in && !core->peers[i].behind;
        sum.answers_missing += i != core->self && !core->peers[i].answered;
        sum.parts += core->peers[i].part;
    }
    return sum;
}

static const char *broken_cut(const cl *core, const tally *sum)
{
    phase now = core->phase;
    bool placed = now == PLACING || now == PLEDGED || now == GOING;

    if (now == IDLE && (core->leader != NOBODY || sum->behind != 0 || sum->parts != 0 || core->step != CL_NO_STEP)) {
        return "I1: something is left of an attempt that has ended";
    }
    if (sum->behind != 0 && !is_decided(core)) {
        return "I2: a marker has come, and yet the cut is not decided";
    }
    if ((now == RECORDED && sum->markers_missing == 0) || (now > RECORDED && sum->markers_missing != 0)) {
        return "I3: the state of the channels is complete when every marker has come";
    }
    if ((now == QUERYING || now == PLACING) &&
        (core->leader != core->self || !core->initiator || sum->answers_missing == 0)) {
        return "I4: who asks leads, initiated, and waits for an answer";
    }
    if (placed && has_passed(core, core->step)) {
        return "I5: S was passed unrecorded";
    }
    if (placed ? core->step == CL_NO_STEP
               : (now == JOINED || now == QUERYING || now == WANTED) && core->step != CL_NO_STEP) {
        return "I6: S is known when it has been named, and only then";
    }
    if (core->holding && (sum->behind == 0 || has_recorded(core))) {
        return "I7: a message is held that need not be";
    }
    return NULL;
}

bool cl_check(const cl *core, const char **broken)
{
    tally sum = count_peers(core);
    bool coordinator = core->self == core->coordinator;
    const char *fault = broken_cut(core, &sum);

    if (fault != NULL) {
        /* said */
    } else if ((!coordinator && sum.parts != 0) || (core->peers[core->self].part && core->phase != REPORTED) ||
               core->committing != (coordinator && sum.parts == core->count)) {
        fault = "I8: a part was counted that is not durable, or the commit is not begun when all are";
    } else if ((core->finished && core->phase != IDLE && !has_recorded(core)) ||
               ((core->finished || core->others_finished) && core->wished)) {
        fault = "I9: something is to be recorded or wished for after the end of a job";
    } else if (core->wished && core->seen && !has_recorded(core)) {
        fault = "I10: a wish is left lying";
    } else if (core->lost && (core->phase != IDLE || core->wished)) {
        fault = "I11: something is under way or wished for after a loss";
    } else if (core->lead < 1 || core->lead > LEAD_MAX || core->repeats > REPEATS_MAX ||
               core->committed > core->latest) {
        fault = "I12: a counter is out of its bounds";
    }
    if (broken != NULL) {
        *broken = fault;
    }
    return fault == NULL;
}
