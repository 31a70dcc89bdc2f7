/* Recovery in place as a pure core: who carries which process, from which snapshot all go on, and when. No MPI, files,
 * clock, randomness or allocation.
 *
 * Rollback recovery from coordinated checkpoints (Elnozahy, Alvisi, Wang and Johnson, "A Survey of Rollback-Recovery
 * Protocols in Message-Passing Systems", 2002, section 2.3), with a membership that is agreed on: a *view* in the sense
 * of Birman and Joseph ("Exploiting Virtual Synchrony in Distributed Systems", 1987) says for every process which rank
 * carries it, and names the committed snapshot that all go back to. Views are values of the replicated log, each
 * proposed against the one before it (compare and set), so there is one sequence of them and every rank sees the same.
 *
 *  - The leader of the consensus group proposes a view when a rank that carries a process is suspected: every such
 *    process goes to the lowest spare rank that is not suspected. What was suspected is out for good, dead or not.
 *  - Who learns of a view drops all that belongs to an older one, gets its state and channels back from the view's
 *    snapshot, says READY to all, and goes on when the carriers of all processes have said READY for this view.
 *  - Deaths during a recovery make another view; whatever was half done for the one before is forgotten. So the
 *    coordinator may die, too, and several ranks at once.
 *  - If a carrier cannot have its part of that snapshot (it was in the memory of one that died too), the next view goes
 *    back to an older one, with the same carriers if nobody else died.
 *  - A rank that learns that it is out ends itself. Until it learns that it can do no harm: who has learned of the view
 *    takes nothing from it. */
#ifndef CAIRN_RECOVERY_RECOVERY_H
#define CAIRN_RECOVERY_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_NONE UINT32_MAX /* no process, no rank */

/* carrier and out are the owner's memory: of `count` and `ranks` entries. */
typedef struct rc_view {
    uint32_t number;   /* 0: as launched, process i on rank i; each view is one more than the one before */
    uint64_t snapshot; /* all go back to this one; 0 only in view 0 */
    uint32_t *carrier; /* [count] the rank that carries the process; each at most once */
    uint8_t *out;      /* [ranks] 1: will never carry a process (again) */
} rc_view;

typedef enum rc_event_kind {
    RC_STARTED,   /* every process of the launch has its state: before that a death is no case for a view. From all of
                     them, or from one rank that knows it */
    RC_LEADS,     /* yes: this rank leads the consensus group; !yes: not any more, and suspects nobody    */
    RC_SUSPECT,   /* rank, yes: it is silent, or known to be dead; !yes: it was heard of again            */
    RC_LOOKED,    /* that was all for now: the leader may act on whom it suspects                         */
    RC_RESERVED,  /* rank, yes: it is given no process, and so is no spare. May be this rank itself       */
    RC_COMMITTED, /* number: the newest committed snapshot of this run that this rank knows of: to be told before it
                     acts on whom it suspects, since with a new view it may forget what it was told before */
    RC_CHOSEN,    /* view: the newest one in the log. Borrowed                                            */
    RC_REFUSED,   /* the proposal has been answered: it was not chosen, or nobody knows                   */
    RC_VOID,     /* number: the snapshot of the current view cannot be had by all; older: the newest that can. Leader */
    RC_RESTORED, /* this rank's process has the state of view `number`                                   */
    RC_READY     /* `rank` says that its process has the state of view `number`                          */
} rc_event_kind;

typedef struct rc_event {
    rc_event_kind kind;
    bool yes;
    uint32_t rank;
    uint64_t number, older;
    const rc_view *view;
} rc_event;

typedef enum rc_reason { RC_HOPE, RC_NO_SPARE, RC_NO_SNAPSHOT } rc_reason;

typedef struct rc_output {
    /* There is a new view (rc_current): everything older is void. This rank's process, if it has one, is to be restored;
     * then RC_RESTORED. */
    bool install;
    bool fenced; /* this rank is out: it must end without another word */
    bool begun;  /* say RC_STARTED to all ranks: whose word of it came from one that died may be the only one to know */
    bool propose; /* put rc_proposal in the log if its number is one more than that of the newest view there */
    bool ready;   /* say RC_READY for the current view to all ranks */
    bool resume;  /* all processes have the state of the current view: go on */
    /* Leader: no view can help: rc_lost names a process whose rank is gone. Said once for each view. */
    rc_reason hopeless;
} rc_output;

typedef struct rc rc;

/* count processes on ranks >= count ranks, those from `count` on spare; self: this rank. Aligned for max_align_t. */
size_t rc_bytes(uint32_t count, uint32_t ranks);
rc *rc_init(void *memory, uint32_t count, uint32_t ranks, uint32_t self);
/* Advance by one event. *out is overwritten. Events that are not legal now change nothing. */
void rc_step(rc *core, const rc_event *event, rc_output *out);

const rc_view *rc_current(const rc *core);
const rc_view *rc_proposal(const rc *core);
uint32_t rc_process(const rc *core); /* that this rank carries, or RC_NONE */
uint32_t rc_lost(const rc *core);    /* a process whose carrier is suspected, or RC_NONE */
bool rc_running(const rc *core);     /* the current view has been resumed here */
bool rc_all_ready(const rc *core);   /* all carriers of the current view have said READY for it: not of view 0 */

/* As bytes, for the log: rc_view_bytes of them. */
size_t rc_view_bytes(uint32_t count, uint32_t ranks);
void rc_view_put(uint8_t *to, const rc_view *view, uint32_t count, uint32_t ranks);
/* view's arrays are given. false: not a view of this shape. */
bool rc_view_get(const uint8_t *from, size_t bytes, uint32_t count, uint32_t ranks, rc_view *view);
/* True when every invariant of recovery.c holds; else *broken (if given) names the first that does not. For tests. */
bool rc_check(const rc *core, const char **broken);

#endif
