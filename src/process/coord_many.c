/* Many puts and gets at once: begun without waiting, told in the order of their answers. */
#include "process/coord_handle.h"

#include <string.h>

/* What the job is told. A put without a lease finds everything it needs, except its session. */
static cairn_status told(const coord_question *q, bool get, bool found)
{
    if (get) {
        return q->status == CAIRN_OK && !found ? CAIRN_E_NOT_FOUND : q->status;
    }
    return q->status == CAIRN_E_NOT_FOUND ? CAIRN_E_STATE : q->status;
}

/* Tell what has been answered. In a callback the job is outside, and may begin more. */
static void tell(cairn_coord *c)
{
    if (c->telling) {
        return;
    }
    c->telling = true;
    while (c->answered != NULL) {
        coord_question *q = c->answered;
        bool found = q->kv_count > 0 && q->kvs[0].key != NULL;
        bool get = q->sequence == 0;

        c->answered = q->next;
        if (c->answered == NULL) {
            c->answered_end = &c->answered;
        }
        c->pending--;
        if (q->answer != NULL) {
            cairn_exit_call(c->process);
            q->answer(q->context, told(q, get, found), get && found ? &q->kvs[0] : NULL, q->revision);
            cairn_enter(c->process);
        }
        coord_question_free(q);
    }
    c->telling = false;
}

/* A place for one more. */
static cairn_status begin(cairn_coord *c, const char *key, coord_question **out)
{
    cairn_status status = coord_enter(c);

    if (status == CAIRN_OK && !coord_key_is_good(c, key, false)) {
        status = CAIRN_E_INVALID;
    }
    if (status != CAIRN_OK) {
        return status;
    }
    if (c->answered != NULL) {
        tell(c);
    }
    if (c->pending == CAIRN_PENDING_MAX) {
        cairn_drive(c->process);
        tell(c);
    }
    if (c->pending == CAIRN_PENDING_MAX) {
        return coord_fail(c, CAIRN_E_BUSY, "%s: %d puts and gets are under way", key, CAIRN_PENDING_MAX);
    }
    *out = coord_question_new(c);
    return *out == NULL ? coord_fail(c, CAIRN_E_NOMEM, "%s", key) : CAIRN_OK;
}

static cairn_status ask(cairn_coord *c, coord_question *q, cairn_question *request, cairn_answer answer, void *context)
{
    cairn_status status;

    q->counted = true;
    q->answer = answer;
    q->context = context;
    status = coord_ask(q, request);
    if (status != CAIRN_OK) {
        coord_question_free(q);
        return coord_leave(c, coord_fail(c, status, "%s", cairn_status_text(status)));
    }
    c->pending++;
    return coord_leave(c, CAIRN_OK);
}

cairn_status cairn_coord_begin_put(cairn_coord *c, const char *key, const void *value, size_t bytes,
                                   cairn_answer answer, void *context)
{
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = bytes};
    cairn_question request = {.op = CAIRN_OP_TXN, .txn = {.then = &put, .then_count = 1}};
    coord_question *q = NULL;
    cairn_status status = begin(c, key, &q);

    if (status != CAIRN_OK) {
        return coord_leave(c, status);
    }
    if (bytes > CAIRN_VALUE_MAX) {
        coord_question_free(q);
        return coord_leave(c, coord_fail(c, CAIRN_E_INVALID, "%s: a value has at most %d bytes, not %zu", key,
                                         CAIRN_VALUE_MAX, bytes));
    }
    return ask(c, q, &request, answer, context);
}

cairn_status cairn_coord_begin_get(cairn_coord *c, const char *key, cairn_answer answer, void *context)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    coord_question *q = NULL;
    cairn_status status = begin(c, key, &q);

    return status != CAIRN_OK ? coord_leave(c, status) : ask(c, q, &request, answer, context);
}

static cairn_status flush(cairn_coord *c, size_t left)
{
    waiting w = {.since = cairn_now()};
    cairn_status status = CAIRN_OK;

    w.deadline = w.since + c->deadline;
    tell(c);
    while (status == CAIRN_OK && c->pending > left) {
        size_t before = c->pending;

        status = cairn_pause(c->process, &w);
        tell(c);
        if (c->pending < before) { /* it goes on: the deadline is for silence */
            w = (waiting){.since = cairn_now()};
            w.deadline = w.since + c->deadline;
        }
    }
    if (c->pending <= left || status == CAIRN_OK) {
        return CAIRN_OK;
    }
    if (status == CAIRN_E_TIMEOUT) {
        return coord_fail(c, status, "cairn_coord_flush: %zu puts and gets were not answered within %.3g s", c->pending,
                          c->deadline);
    }
    return coord_fail(c, status, "%s",
                      status == c->process->fatal ? c->process->error.text : cairn_status_text(status));
}

cairn_status cairn_coord_flush(cairn_coord *c, size_t left)
{
    cairn_status status = coord_enter(c);

    if (status == CAIRN_OK && c->telling) {
        status = coord_fail(c, CAIRN_E_STATE, "cairn_coord_flush: not possible in an answer");
    }
    return coord_leave(c, status == CAIRN_OK ? flush(c, left) : status);
}

void coord_end_pending(cairn_coord *c)
{
    (void)cairn_coord_flush(c, 0);
    cairn_enter(c->process);
    for (int i = 0; i < 2; i++) {
        for (coord_question *q = c->open[i].first, *next; q != NULL; q = next) {
            next = q->after;
            if (q->counted) {
                coord_give_up(q);
            }
        }
    }
    tell(c);
    cairn_exit_call(c->process);
}
