/* What must hold after every event, and what must have come of it all in the end; test_recovery.c has the list. Only one
 * rank changes in an event, so that it is that one that is compared with all others. */
#include "recovery_world.h"

#include <string.h>

static bool is_same(const world *w, const rc_view *a, const rc_view *b)
{
    return a->number == b->number && a->snapshot == b->snapshot &&
           memcmp(a->carrier, b->carrier, w->count * sizeof *a->carrier) == 0 && memcmp(a->out, b->out, w->ranks) == 0;
}

static uint32_t process_of(const world *w, const rc_view *view, uint32_t id)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (view->carrier[i] == id) {
            return i;
        }
    }
    return RC_NONE;
}

/* How many carriers of its current view this rank suspects, and how many spares it has for them. */
static void count_told(const world *w, const rank *r, uint32_t *lost, uint32_t *spares)
{
    const rc_view *view = rc_current(r->core);

    *lost = 0;
    *spares = 0;
    for (uint32_t i = 0; i < w->ranks; i++) {
        bool carries = process_of(w, view, i) != RC_NONE;

        *lost += carries && r->told[i];
        *spares += !carries && !r->told[i] && !view->out[i];
    }
}

static void check_view(world *w, rank *r)
{
    const rc_view *view = rc_current(r->core);
    uint32_t self = rw_id(w, r);
    uint32_t process = rc_process(r->core);

    if (view->number > w->newest || !is_same(w, view, &w->views[view->number].view)) {
        rw_fail(w, AGREED, "rank %u has a view %u that was not chosen", self, view->number);
        return;
    }
    if (process != process_of(w, view, self) || (process != RC_NONE && view->out[self])) {
        rw_fail(w, OUTCAST, "rank %u carries process %u in view %u, and should not", self, process, view->number);
    }
    for (uint32_t i = 0; i < w->ranks && process != RC_NONE; i++) {
        const rank *other = &w->all[i];

        if (i != self && !other->dead && rc_current(other->core)->number == view->number &&
            rc_process(other->core) == process) {
            rw_fail(w, CARRIED, "ranks %u and %u both carry process %u in view %u", self, i, process, view->number);
        }
    }
    for (uint32_t i = 0; i < w->count && rc_running(r->core) && view->number > 0; i++) {
        if (!w->views[view->number].restored[view->carrier[i]]) {
            rw_fail(w, EARLY, "rank %u goes on in view %u before rank %u has its snapshot back", self, view->number,
                    view->carrier[i]);
        }
    }
}

static void check_proposal(world *w, const rank *r, bool installs)
{
    const rc_view *view = rc_current(r->core);
    const rc_view *next = rc_proposal(r->core);
    bool outstanding = r->outstanding && !installs; /* what was proposed against an older view is void */
    uint32_t moved = 0;

    if (!r->leads || outstanding || !(r->started || view->number > 0)) {
        rw_fail(w, PROPOSAL, "rank %u proposes, and %s", rw_id(w, r),
                !r->leads     ? "does not lead"
                : outstanding ? "has not been answered yet"
                              : "not all have begun");
    }
    if (next->number != view->number + 1) {
        rw_fail(w, PROPOSAL, "rank %u proposes view %u after %u", rw_id(w, r), next->number, view->number);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        bool moves = next->carrier[i] != view->carrier[i];

        moved += moves;
        if (moves != r->told[view->carrier[i]] || (moves && next->carrier[i] < w->ranks && r->told[next->carrier[i]])) {
            rw_fail(w, PROPOSAL, "rank %u moves process %u from rank %u to %u, and suspects %s", rw_id(w, r), i,
                    view->carrier[i], next->carrier[i],
                    r->told[view->carrier[i]] == moves ? "the new one"
                    : moves                            ? "neither"
                                                       : "the old one");
        }
    }
    if (view->number > 0 && r->void_told == view->number && next->snapshot == view->snapshot) {
        rw_fail(w, PROPOSAL,
                "rank %u proposes to go back to snapshot %llu again, and knows that somebody cannot have it",
                rw_id(w, r), (unsigned long long)next->snapshot);
    }
    if (moved == 0 && !w->views[view->number].voided) {
        rw_fail(w, PROPOSAL, "rank %u proposes a view %u that helps nobody", rw_id(w, r), next->number);
    }
}

/* In truth, whatever the ranks believe: nobody is lost in the newest view, or there are spares and a snapshot. */
static bool is_there_hope(const world *w)
{
    const rc_view *view = &w->views[w->newest].view;
    uint32_t lost = 0;
    uint32_t spares = 0;
    bool committed = false;

    for (uint32_t i = 0; i < w->ranks; i++) {
        bool carries = process_of(w, view, i) != RC_NONE;

        lost += carries && w->all[i].dead;
        spares += !carries && !w->all[i].dead && !view->out[i];
    }
    for (uint64_t i = 0; i < w->cut_count; i++) {
        committed = committed || (w->cuts[i].committed && !w->cuts[i].gone);
    }
    return lost == 0 || (spares >= lost && committed);
}

static void check_hopeless(world *w, const rank *r, rc_reason reason)
{
    const rc_view *view = rc_current(r->core);
    uint64_t snapshot = view->snapshot > r->told_committed ? view->snapshot : r->told_committed;
    uint32_t lost, spares;

    count_told(w, r, &lost, &spares);
    if (!r->leads || lost == 0 || !(r->started || view->number > 0)) {
        rw_fail(w, HOPELESS, "rank %u gives up without cause", rw_id(w, r));
    } else if (reason == RC_NO_SPARE ? spares >= lost || snapshot == 0 : snapshot > 0) {
        rw_fail(w, HOPELESS, "rank %u gives up with %u spares for %u, and snapshot %llu", rw_id(w, r), spares, lost,
                (unsigned long long)snapshot);
    }
    w->result->hopeless_wrong += is_there_hope(w);
    if (r->hopeless == view->number + 1) {
        rw_fail(w, HOPELESS, "rank %u gives up twice in view %u", rw_id(w, r), view->number);
    }
}

void rw_check_step(world *w, rank *r, const rc_event *event, const rc_output *out, uint32_t before)
{
    const rc_view *view = rc_current(r->core);
    uint32_t self = rw_id(w, r);
    const char *broken = NULL;

    if (!w->options->blind && !rc_check(r->core, &broken)) {
        rw_fail(w, INVARIANT, "rank %u: %s", self, broken);
    }
    if (view->number < before || (view->number > before) != out->install ||
        (out->install && event->kind != RC_CHOSEN)) {
        rw_fail(w, AGREED, "rank %u goes from view %u to %u", self, before, view->number);
    }
    if (view->out[self] != out->fenced) {
        rw_fail(w, OUTCAST, "rank %u is%s out of view %u, and is%s told so", self, view->out[self] ? "" : " not",
                view->number, out->fenced ? "" : " not");
    }
    check_view(w, r);
    if (out->propose) {
        check_proposal(w, r, out->install);
    }
    if (out->hopeless != RC_HOPE) {
        check_hopeless(w, r, out->hopeless);
    }
    if (out->ready && !w->views[view->number].restored[self]) {
        rw_fail(w, EARLY, "rank %u says that it is ready for view %u, and has not its snapshot", self, view->number);
    }
    if (out->install) {
        w->result->skipped += view->number > before + 1;
    }
    if (out->resume && (!rc_running(r->core) || view->number == 0)) {
        rw_fail(w, EARLY, "rank %u goes on in view %u and does not run", self, view->number);
    }
}

void rw_check_chosen(world *w, const chosen *next)
{
    const rc_view *before = &w->views[w->newest].view;
    const rc_view *view = &next->view;

    if (view->number != w->newest + 1) {
        rw_fail(w, AGREED, "view %u was chosen after %u", view->number, w->newest);
    }
    for (uint32_t i = 0; i < w->ranks; i++) {
        if (view->out[i] > 1 || view->out[i] < before->out[i] || (view->out[i] && process_of(w, view, i) != RC_NONE)) {
            rw_fail(w, OUTCAST, "rank %u is out in view %u, and not in view %u", i, before->number, view->number);
        }
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (process_of(w, view, view->carrier[i]) != i) {
            rw_fail(w, CARRIED, "rank %u carries two processes in view %u", view->carrier[i], view->number);
        }
        if (view->carrier[i] != before->carrier[i] && !view->out[before->carrier[i]]) {
            rw_fail(w, OUTCAST, "rank %u does not carry process %u any more in view %u, and is not out",
                    before->carrier[i], i, view->number);
        }
    }
    w->result->further_back += view->snapshot < before->snapshot;
    if (view->snapshot < before->snapshot && !w->views[w->newest].voided) {
        rw_fail(w, SNAPSHOT, "view %u goes back to snapshot %llu, view %u went to %llu", view->number,
                (unsigned long long)view->snapshot, before->number, (unsigned long long)before->snapshot);
    }
    if (view->snapshot < w->base || view->snapshot >= w->base + w->cut_count ||
        !w->cuts[view->snapshot - w->base].committed || w->cuts[view->snapshot - w->base].gone) {
        rw_fail(w, SNAPSHOT, "view %u goes back to %llu, which is not committed, or gone", view->number,
                (unsigned long long)view->snapshot);
    }
}

/* ---------------------------------------------------------------- in the end */

static void check_running(world *w)
{
    const rc_view *view = &w->views[w->newest].view;

    for (uint32_t i = 0; i < w->ranks; i++) {
        if (!w->all[i].dead && (view->out[i] || rc_current(w->all[i].core)->number != view->number)) {
            rw_fail(w, STUCK, "rank %u lives in view %u, the last one is %u", i, rc_current(w->all[i].core)->number,
                    view->number);
            return;
        }
    }
    for (uint32_t i = 0; i < w->count; i++) {
        const rank *r = &w->all[view->carrier[i]];

        if (!rc_running(r->core)) {
            rw_fail(w, STUCK, "process %u on rank %u does not go on in view %u", i, view->carrier[i], view->number);
            return;
        }
        for (uint32_t k = 0; k < w->count; k++) {
            if (w->all[view->carrier[k]].sent[i] != r->consumed[k]) {
                rw_fail(w, LOST, "of %llu messages of process %u to %u in view %u came %llu",
                        (unsigned long long)w->all[view->carrier[k]].sent[i], k, i, view->number,
                        (unsigned long long)r->consumed[k]);
                return;
            }
        }
    }
}

/* Some carriers of the last view are dead, and it is the last: then there was no hope, and the leader has said so. */
static void check_hope(world *w, uint32_t lost)
{
    const rc_view *view = &w->views[w->newest].view;
    const rank *leader = w->leader == NOBODY ? NULL : &w->all[w->leader];
    bool committed = false;
    uint32_t spares = 0;

    for (uint32_t i = 0; i < w->ranks; i++) {
        spares += !w->all[i].dead && !view->out[i] && process_of(w, view, i) == RC_NONE;
    }
    for (uint64_t i = 0; i < w->cut_count; i++) {
        committed = committed || (w->cuts[i].committed && !w->cuts[i].gone);
    }
    w->result->outcome = spares < lost ? NO_SPARE : NO_SNAPSHOT;
    if (leader == NULL) {
        w->result->outcome = NOBODY_LEFT;
    } else if (view->number == 0 && !leader->started) {
        w->result->outcome = NOT_STARTED;
        for (uint32_t i = 0; i < w->ranks; i++) {
            if (!w->all[i].dead && w->all[i].started) {
                rw_fail(w, STUCK, "rank %u knows that all have begun, and leader %u does not", i, w->leader);
            }
        }
    } else if (spares >= lost && committed) {
        rw_fail(w, STUCK, "%u processes are lost in view %u, there are %u spares and a snapshot, and nothing is done",
                lost, view->number, spares);
    } else if (leader->hopeless != view->number + 1) {
        rw_fail(w, STUCK, "there is no hope in view %u, and leader %u does not say so", view->number, w->leader);
    }
}

void rw_check_end(world *w)
{
    const rc_view *view = &w->views[w->newest].view;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        lost += w->all[view->carrier[i]].dead;
    }
    if (lost > 0) {
        check_hope(w, lost);
    } else {
        w->result->outcome = w->newest == 0 ? NOTHING_LOST : RECOVERED;
        check_running(w);
    }
}
