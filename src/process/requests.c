/* Sends and receives that are begun now and completed later. */
#include "process/transmit.h"

#include <stdlib.h>
#include <string.h>

static cairn_request *new_request(cairn_process *p)
{
    cairn_request *r = p->free_requests;

    if (r == NULL) {
        r = malloc(sizeof *r);
        if (r == NULL) {
            return NULL;
        }
    } else {
        p->free_requests = r->next;
    }
    memset(r, 0, sizeof *r);
    return r;
}

static void forget_send(cairn_process *p, const cairn_request *r)
{
    cairn_request **at = &p->open_sends;

    while (*at != NULL && *at != r) {
        at = &(*at)->next;
    }
    if (*at == r) {
        *at = r->next;
    }
}

static void free_request(cairn_process *p, cairn_request *r)
{
    if (!r->receive && p->recover) {
        forget_send(p, r);
    }
    r->next = p->free_requests;
    p->free_requests = r;
}

cairn_status cairn_isend(cairn_process *p, uint32_t to, uint32_t tag, const void *data, size_t bytes,
                         cairn_request **request)
{
    cairn_status status = cairn_enter_call(p, to, false, data, bytes, "cairn_isend");
    cairn_request *r;

    if (status != CAIRN_OK) {
        return status;
    }
    r = new_request(p);
    if (r == NULL) {
        return cairn_say(p, CAIRN_E_NOMEM, "cairn_isend: a request");
    }
    r->peer = to;
    r->capacity = bytes;
    status = cairn_begin_send(p, 0, to, tag, data, bytes, &r->transfer);
    if (status != CAIRN_OK) {
        free_request(p, r);
        if (status == CAIRN_E_PEER) {
            return cairn_say_gone(p, to, "cairn_isend");
        }
        return cairn_say(p, status, "send of %zu bytes to process %u", bytes, to);
    }
    r->done = r->transfer == NULL;
    if (p->recover) {
        r->rank = cairn_recovery_rank(p, to);
        r->next = p->open_sends;
        p->open_sends = r;
    }
    *request = r;
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_irecv(cairn_process *p, uint32_t from, void *data, size_t capacity, cairn_request **request)
{
    cairn_status status = cairn_enter_call(p, from, true, data, capacity, "cairn_irecv");
    cairn_request *r;

    if (status != CAIRN_OK) {
        return status;
    }
    r = new_request(p);
    if (r == NULL) {
        return cairn_say(p, CAIRN_E_NOMEM, "cairn_irecv: a request");
    }
    r->receive = true;
    r->peer = from;
    r->data = data;
    r->capacity = capacity;
    *p->posted_end = r;
    p->posted_end = &r->next;
    *request = r;
    cairn_exit_call(p);
    return CAIRN_OK;
}

static void unpost(cairn_process *p, cairn_request *r)
{
    cairn_request **at = &p->posted;

    while (*at != NULL && *at != r) {
        at = &(*at)->next;
    }
    if (*at == r) {
        *at = r->next;
        if (*at == NULL) {
            p->posted_end = at;
        }
    }
}

/* First of the posted receives, and its frame is next in the link: no node, one copy. */
static bool short_cut_request(cairn_process *p, cairn_request *r, cairn_message *message)
{
    cairn_request *posted = p->posted;
    bool got;

    if (posted != r || r->got != NULL || r->peer == CAIRN_ANY || r->peer == p->self) {
        return false;
    }
    p->posted = NULL; /* it is this one that takes the message */
    got = cairn_short_cut(p, 0, r->peer, r->data, r->capacity, message);
    p->posted = posted;
    return got;
}

/* Give the receive what came for it. */
static cairn_status complete_receive(cairn_process *p, cairn_request *r, cairn_message *message)
{
    node *n = r->got;
    cairn_status status = CAIRN_OK;

    cairn_describe(n, message);
    if (n->bytes > r->capacity) {
        status = CAIRN_E_TRUNCATED;
        p->error.status = status;
        (void)snprintf(p->error.text, sizeof p->error.text,
                       "cairn_irecv: a message of %llu bytes from process %u, a buffer of %zu",
                       (unsigned long long)n->bytes, n->from, r->capacity);
        /* Back to the front of its box, for a receive with more room. */
        queue *box = &p->channels[n->from].box[0];
        n->next = box->first;
        box->first = n;
        if (n->next == NULL) {
            box->end = &n->next;
        }
    } else {
        cairn_consumed(p, n->from, 0, n->lamport, n->vector);
        if (n->bytes != 0 && !n->direct) {
            memcpy(r->data, n->payload, (size_t)n->bytes);
        }
        cairn_node_release(p, n);
    }
    return status;
}

/* What this request waits for will not happen: the other one is lost. A send's data stays with MPI, which may read it
 * until it has noticed the loss too. */
static bool is_in_vain(const cairn_process *p, const cairn_request *r)
{
    return p->lost_count > 0 &&
           (r->receive ? r->got == NULL && cairn_is_gone(p, r->peer, 0) : !r->done && p->lost[r->peer] >= LOST_GONE);
}

static cairn_status in_vain(cairn_process *p, const cairn_request *r)
{
    (void)cairn_say_gone(p, r->peer, r->receive ? "cairn_irecv" : "cairn_isend");
    cairn_enter(p);
    return CAIRN_E_PEER;
}

/* CAIRN_E_AGAIN: not yet. Anything else: over, and the request is out of every list. */
static cairn_status advance(cairn_process *p, cairn_request *r, cairn_message *message)
{
    cairn_status status = CAIRN_OK;

    if (!r->receive) {
        if (!r->done && cairn_transfer_done(p->link, r->transfer)) {
            r->done = true;
        }
        if (is_in_vain(p, r)) {
            return in_vain(p, r);
        }
        return r->done ? CAIRN_OK : CAIRN_E_AGAIN;
    }
    if (short_cut_request(p, r, message)) {
        unpost(p, r);
        return CAIRN_OK;
    }
    cairn_assign_posted(p);
    if (is_in_vain(p, r)) {
        status = in_vain(p, r);
        unpost(p, r);
        return status;
    }
    if (r->got == NULL || r->got->transfer != NULL) {
        return CAIRN_E_AGAIN;
    }
    status = complete_receive(p, r, message);
    unpost(p, r);
    return status;
}

cairn_status cairn_test(cairn_process *p, cairn_request **request, cairn_message *message)
{
    cairn_status status = cairn_enter_call(p, 0, true, request, 1, "cairn_test");

    if (status != CAIRN_OK) {
        return status;
    }
    if (*request == NULL) {
        cairn_exit_call(p);
        return CAIRN_OK;
    }
    status = advance(p, *request, message);
    if (status == CAIRN_E_AGAIN) {
        cairn_drive(p);
        status = p->fatal != CAIRN_OK ? p->fatal : advance(p, *request, message);
    }
    if (status == CAIRN_E_ROLLBACK) {
        *request = NULL; /* it goes in cairn_requests_void */
    } else if (status != CAIRN_E_AGAIN) {
        free_request(p, *request);
        *request = NULL;
    }
    cairn_exit_call(p);
    return status;
}

static cairn_status wait_failed(cairn_process *p, cairn_request *r, cairn_status status)
{
    bool receive = r->receive;
    uint32_t peer = r->peer;
    size_t bytes = r->capacity;

    if (receive) {
        if (r->got != NULL) {
            p->fatal = status; /* its buffer may be written to by MPI */
        }
        unpost(p, r);
    } else {
        p->fatal = status;
    }
    free_request(p, r);
    if (receive) {
        return cairn_complain(p, status, peer, "cairn_wait");
    }
    return cairn_say(p, status, "send of %zu bytes to process %u: not taken within %.3g s", bytes, peer, p->deadline);
}

cairn_status cairn_wait(cairn_process *p, cairn_request **request, cairn_message *message)
{
    cairn_status status = cairn_enter_call(p, 0, true, request, 1, "cairn_wait");
    cairn_request *r;
    waiting w = {0};

    if (status != CAIRN_OK) {
        return status;
    }
    r = *request;
    while (r != NULL) {
        /* A long message for the first posted receive goes straight into its buffer. */
        if (r->receive && p->posted == r && r->got == NULL) {
            p->wish = (wish){.open = true, .from = r->peer, .data = r->data, .capacity = r->capacity};
        }
        status = advance(p, r, message);
        if (status == CAIRN_E_AGAIN && p->wish.got == NULL) {
            if (r->receive && r->got == NULL) {
                cairn_unblock_held(p, r->peer, 0, &w); /* before the pause, which may bring it */
            }
            status = cairn_pause(p, &w);
        } else if (status != CAIRN_E_AGAIN) {
            p->wish = (wish){0};
            break;
        } else {
            status = CAIRN_OK;
        }
        if (p->wish.got != NULL) {
            r->got = p->wish.got;
        }
        p->wish = (wish){0};
        if (status == CAIRN_E_STOPPED && (!r->receive || (r->got != NULL && r->got->direct))) {
            continue;
        }
        if (status != CAIRN_OK && !(r->receive && r->got != NULL && r->got->transfer == NULL)) {
            *request = NULL;
            if (status == CAIRN_E_ROLLBACK) {
                cairn_exit_call(p);
                return status; /* it goes in cairn_requests_void */
            }
            return wait_failed(p, r, status);
        }
    }
    if (r != NULL) {
        free_request(p, r);
        *request = NULL;
    }
    cairn_exit_call(p);
    return status;
}

cairn_status cairn_wait_all(cairn_process *p, cairn_request **requests, size_t count)
{
    cairn_status first = CAIRN_OK;

    for (size_t i = 0; i < count; i++) {
        cairn_status status = requests[i] == NULL ? CAIRN_OK : cairn_wait(p, &requests[i], NULL);

        if (first == CAIRN_OK) {
            first = status;
        }
    }
    return first;
}

cairn_status cairn_requests_void(cairn_process *p)
{
    while (p->posted != NULL) {
        cairn_request *r = p->posted;

        p->posted = r->next;
        if (r->got != NULL) {
            cairn_node_release(p, r->got);
        }
        free_request(p, r);
    }
    p->posted_end = &p->posted;
    while (p->open_sends != NULL) {
        cairn_request *r = p->open_sends;

        if (!r->done && r->rank == cairn_recovery_rank(p, r->peer) && !cairn_transfer_done(p->link, r->transfer)) {
            return CAIRN_E_AGAIN;
        }
        free_request(p, r);
    }
    return CAIRN_OK;
}
