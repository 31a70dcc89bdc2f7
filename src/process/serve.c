/* Safe points of loop-style jobs, and the event loop of event-style ones. */
#include "process/runtime.h"

cairn_status cairn_safepoint(cairn_process *p, uint64_t step)
{
    cairn_status status = CAIRN_OK;

    cairn_enter(p);
    if (__builtin_expect(p->fatal != CAIRN_OK, 0)) {
        cairn_exit_call(p);
        return p->fatal;
    }
    if (__builtin_expect((p->step_seen && step <= p->last_step) || step == CL_NO_STEP, 0)) {
        return cairn_say(p, CAIRN_E_STATE, "cairn_safepoint: step %llu after step %llu", (unsigned long long)step,
                         (unsigned long long)p->last_step);
    }
    p->step_seen = true;
    p->last_step = step;
    p->activity++;
    /* A job that is always inside calls leaves the service thread no way in; and while the processes look for a
     * common step, what they say is heard once a step at least. */
    if (p->active || atomic_load_explicit(&p->tick, memory_order_relaxed)) {
        cairn_drive(p);
    }
    if (__builtin_expect(p->lost_untold > 0, 0)) {
        status = cairn_tell_lost(p);
        if (status != CAIRN_OK) {
            cairn_exit_call(p);
            return status;
        }
    }
    if (p->active && !p->stopped) {
        status = cairn_pass_safepoint(p, step);
    } else {
        cl_passed(p->core, step);
    }
    if (p->stopped || status == CAIRN_E_STOPPED) {
        return cairn_say(p, CAIRN_E_STOPPED, "%s", cairn_status_text(CAIRN_E_STOPPED));
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_say(p, status, "cairn_safepoint: not all processes agreed on a snapshot within %.3g s",
                         p->deadline);
    }
    cairn_exit_call(p);
    return status;
}

static cairn_next run_message(cairn_process *p, const cairn_handlers *h, void *context, node *n, cairn_status *status)
{
    cairn_message m = {
        .from = n->from, .tag = n->tag, .bytes = n->bytes, .lamport = n->lamport, .sequence = n->sequence};
    cairn_next next;

    cairn_exit_call(p);
    next = h->on_message(p, &m, n->payload, context, status);
    cairn_enter(p);
    cairn_node_release(p, n);
    return next;
}

static cairn_next run_idle(cairn_process *p, const cairn_handlers *h, void *context, cairn_status *status)
{
    cairn_next next;

    if (h->on_idle == NULL) {
        return CAIRN_WAIT;
    }
    cairn_exit_call(p);
    next = h->on_idle(p, context, status);
    cairn_enter(p);
    return next;
}

/* Be at a safe point while the core has work, and only then: it costs nothing otherwise. */
static void serve_safepoint(cairn_process *p)
{
    if (p->active && !p->at_safepoint) {
        cairn_arrive(p, CL_NO_STEP);
    }
}

/* The core may want the process to stay: it has pledged to record here (a job that goes on from steps to serving). */
static cairn_status serve_depart(cairn_process *p)
{
    waiting w = {0};
    cairn_status status = CAIRN_OK;

    while (p->at_safepoint && cl_must_stay(p->core) && status == CAIRN_OK) {
        status = cairn_pause(p, &w);
    }
    if (p->at_safepoint && status == CAIRN_OK) {
        cairn_depart(p);
    }
    return status;
}

/* One round: CAIRN_E_AGAIN to go on. */
static cairn_status serve_round(cairn_process *p, const cairn_handlers *h, void *context, waiting *w, bool *idle)
{
    cairn_status status = CAIRN_OK;
    cairn_next next;
    node *n;

    serve_safepoint(p);
    if (p->active || !cairn_has_message(p) || atomic_load_explicit(&p->tick, memory_order_relaxed)) {
        cairn_drive(p);
        serve_safepoint(p);
    }
    if (p->lost_untold > 0) {
        *idle = false;
        status = serve_depart(p);
        status = status == CAIRN_OK ? cairn_tell_lost(p) : status;
        if (status != CAIRN_OK) {
            return status;
        }
    }
    if (*idle && !cairn_has_message(p)) {
        status = cairn_pause(p, w);
        return status == CAIRN_OK ? CAIRN_E_AGAIN : status;
    }
    status = serve_depart(p);
    if (status != CAIRN_OK) {
        return status;
    }
    n = cairn_take_any(p); /* from here to the end of the handler this is no safe point: the message is in no cut */
    p->activity++;
    *w = (waiting){0};
    next = n != NULL ? run_message(p, h, context, n, &status) : run_idle(p, h, context, &status);
    *idle = next == CAIRN_WAIT && n == NULL;
    if (next == CAIRN_STOP) {
        return CAIRN_OK;
    }
    if (next == CAIRN_FAIL) {
        return status == CAIRN_OK ? CAIRN_E_BUG : status;
    }
    return CAIRN_E_AGAIN;
}

cairn_status cairn_serve(cairn_process *p, const cairn_handlers *handlers, void *context)
{
    waiting w = {0};
    bool idle = false;
    cairn_status status = CAIRN_E_AGAIN;

    cairn_enter(p);
    if (!p->active) {
        cl_passed(p->core, CL_NO_STEP); /* from here on this process counts no steps */
    }
    while (status == CAIRN_E_AGAIN) {
        if (p->fatal != CAIRN_OK) {
            status = p->fatal;
        } else if (p->stopped) {
            status = CAIRN_E_STOPPED;
        } else {
            status = serve_round(p, handlers, context, &w, &idle);
        }
    }
    if (p->at_safepoint && !cl_must_stay(p->core)) {
        cairn_depart(p);
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_say(p, status, "cairn_serve: no message from any process within %.3g s", p->deadline);
    }
    if (status == CAIRN_E_STOPPED) {
        return cairn_say(p, status, "%s", cairn_status_text(status));
    }
    cairn_exit_call(p);
    return status;
}
