/* The Chandy-Lamport snapshot as a pure core: one struct a process, one function that takes an event and says what to
 * do. No MPI, HDF5, files, clock, randomness or allocation. Implementation and invariants: chandy_lamport.c.
 *
 * Chandy and Lamport, "Distributed Snapshots: Determining Global States of Distributed Systems" (1985), section 3.1,
 * with what a job that is made of ordinary code needs on top:
 *
 *  - A process can record its state only at a safe point. What arrives on a channel behind its marker is *held* back
 *    from the job until this process has recorded.
 *  - Attempts are numbered; the numbers only grow. Several processes may initiate; initiators of the same number take
 *    part in one and the same attempt, as in the paper. An attempt ends committed or abandoned, the same everywhere.
 *  - Aligned mode for loop-style jobs (safe points carry a step): the initiator asks how far everybody is (QUERY,
 *    PROGRESS), names a step S (AT); who has not passed S pledges not to pass it unrecorded (ACCEPT), who has passed
 *    says so (PASSED) and a later S is named; when all have pledged (GO) everybody records at the first safe point
 *    with step >= S. Who reaches S before GO stalls there.
 *  - Unaligned mode for event-style jobs: the paper's rule, at the first safe point after the first marker.
 *  - A job that waits, not at a safe point, for a held message would wait for ever: the attempt is abandoned.
 *  - Committing: each process reports its part durable (PART) to the coordinator, which writes the commit record and
 *    then tells everybody (COMMITTED). Who has sent PART does not abandon that attempt by itself any more.
 *
 * Control messages (all kinds but MARKER) are reliable but not FIFO with the channels and not part of any cut. */
#ifndef CAIRN_SNAPSHOT_CHANDY_LAMPORT_H
#define CAIRN_SNAPSHOT_CHANDY_LAMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CL_NO_STEP UINT64_MAX /* an unaligned safe point, attempt or process */
#define CL_ALL     UINT32_MAX /* cl_send.to: every process but this one      */

typedef enum cl_message_kind {
    CL_MSG_MARKER,    /* on channels. step: S, or CL_NO_STEP when unaligned               */
    CL_MSG_QUERY,     /* initiator to all                                                  */
    CL_MSG_PROGRESS,  /* step: lowest step not passed yet; CL_NO_STEP: unaligned process    */
    CL_MSG_AT,        /* initiator to all. step: S                                         */
    CL_MSG_ACCEPT,    /* step: the S that is pledged                                        */
    CL_MSG_PASSED,    /* step: lowest step not passed yet                                  */
    CL_MSG_GO,        /* initiator to all. step: S                                         */
    CL_MSG_PART,      /* to the coordinator: my part of this attempt is durable             */
    CL_MSG_COMMITTED, /* coordinator to all                                                 */
    CL_MSG_ABANDON    /* to all. reason                                                     */
} cl_message_kind;

typedef enum cl_reason {
    CL_REASON_NONE,
    CL_REASON_HELD,      /* a job waited for a held message: another attempt follows by itself   */
    CL_REASON_FINISHED,  /* a process will not come to a safe point any more                      */
    CL_REASON_FAILED,    /* a part or the commit record could not be written                     */
    CL_REASON_LOST,      /* local only: a process is lost; whoever wrote its part keeps it, for it may be committed */
    CL_REASON_SUPERSEDED /* local only: a later attempt was met; the earlier one's end was not heard */
} cl_reason;

typedef struct cl_message {
    uint32_t kind;   /* cl_message_kind; as on the wire */
    uint32_t reason; /* cl_reason, for ABANDON          */
    uint64_t attempt;
    uint64_t step;
} cl_message;

typedef enum cl_event_kind {
    CL_INITIATE,       /* this process wishes a snapshot (timer, signal, call); merged into one not recorded yet  */
    CL_SAFEPOINT,      /* the job arrived at a safe point. step, or CL_NO_STEP                                     */
    CL_LEAVE,          /* the job goes on from the safe point. Only while !cl_must_stay                              */
    CL_DATA,           /* a job's message arrived on in-channel `peer`. out: hold or not, belongs to the cut or not  */
    CL_MESSAGE,        /* a protocol message arrived from `peer`; a MARKER in the order of its channel               */
    CL_HELD_WAIT,      /* the job waits, not at a safe point, and what it waits for is held                          */
    CL_PART_DURABLE,   /* this process's part of attempt `attempt` is durable                                        */
    CL_COMMIT_DURABLE, /* coordinator: the commit record of `attempt` is durable                                     */
    CL_FAILED,         /* writing the part or the commit record of `attempt` failed                                  */
    CL_FINISHED,       /* the job of this process will pass no safe point any more                                   */
    CL_LOST            /* a process is lost and the others go on, all of which are told so: no attempt any more       */
} cl_event_kind;

typedef struct cl_event {
    cl_event_kind kind;
    uint32_t peer;      /* DATA, MESSAGE: from which process             */
    uint64_t step;      /* SAFEPOINT                                     */
    uint64_t attempt;   /* PART_DURABLE, COMMIT_DURABLE, FAILED          */
    cl_message message; /* MESSAGE                                       */
} cl_event;

typedef struct cl_send {
    uint32_t to; /* a process, or CL_ALL */
    cl_message message;
} cl_send;

#define CL_SENDS_MAX 6

/* What the shell must do, in the order of the fields; `sends` (control messages) may go out at any time, best first
 * of all. All false/0 when there is nothing to do. */
typedef struct cl_output {
    /* An attempt ended here: forget what was recorded of it and is not durable yet. `ended` is its number. */
    bool discard;
    cl_reason ended_reason; /* why, when discard */
    uint64_t ended;
    /* DATA only. hold: keep the message back, in channel order, until `release`. in_cut: it belongs to the recorded
     * state of its channel (and is delivered all the same). */
    bool hold, in_cut;
    /* Record now: copy the job's state, and for every in-channel what was received, is not held and not consumed by the
     * job: the beginning of the channel's state. cut_step is S or CL_NO_STEP, `attempt` the number. */
    bool record;
    /* After that hand all messages held so far to the job's mailboxes. (Also set when an attempt is given up.) */
    bool release;
    /* Then, before anything else is sent on any channel, a MARKER(attempt, cut_step) on every out-channel. */
    bool send_markers;
    /* The state of all in-channels is complete: make the part durable, then feed PART_DURABLE (or FAILED). */
    bool complete;
    /* Coordinator: all parts of `attempt` are durable: write the commit record, then COMMIT_DURABLE (or FAILED). */
    bool commit;
    /* `attempt` is committed everywhere: say so, note it for pruning. It may be one that ended here as SUPERSEDED. */
    bool committed;
    uint64_t attempt;
    uint64_t cut_step;
    uint32_t send_count;
    cl_send sends[CL_SENDS_MAX];
} cl_output;

typedef struct cl cl;

/* Bytes of a cl for `count` processes (aligned for max_align_t), and its start. in[i] / out[i]: there is a channel
 * from i to `self` / from `self` to i; entry self is ignored; NULL means all. attempt: no attempt of this number or
 * lower will be made (what earlier launches used). coordinator: who commits. The channels must make a strongly
 * connected graph. */
size_t cl_bytes(uint32_t count);
cl *cl_init(void *memory, uint32_t count, uint32_t self, uint32_t coordinator, const bool *in, const bool *out,
            uint64_t attempt);

/* Advance by one event. *out is overwritten. Events that are not legal now (a CL_LEAVE while the process must stay,
 * a stale PART_DURABLE) change nothing and give an empty output; protocol messages are never trusted to be current. */
void cl_step(cl *core, const cl_event *event, cl_output *out);

/* The job may not leave the safe point that it is at; in event style: may not run the next handler. */
bool cl_must_stay(const cl *core);
/* No attempt is under way and none is wished for: safe points and messages need not be told, apart from the step
 * (cl_passed). Who is going to wait at a safe point tells it all the same, before the next event: it may have to
 * record there. */
bool cl_idle(const cl *core);
/* Short for CL_SAFEPOINT and CL_LEAVE at `step` while cl_idle. */
void cl_passed(cl *core, uint64_t step);
/* The attempt that is under way, or 0. */
uint64_t cl_attempt(const cl *core);
/* The largest attempt number met so far. */
uint64_t cl_latest(const cl *core);
/* Channel `from` is behind its marker and this process has not recorded: its messages are held. */
bool cl_holds(const cl *core, uint32_t from);
/* This process is recording channel `from`: what arrives belongs to the cut. */
bool cl_recording(const cl *core, uint32_t from);
/* True when every invariant of chandy_lamport.c holds; else *broken (if given) names the first that does not. For
 * tests. */
bool cl_check(const cl *core, const char **broken);

#endif
