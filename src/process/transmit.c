/* Channels: sending, receiving, probing, requests. */
#include "process/transmit.h"

#include <stdlib.h>
#include <string.h>

#define HELD_ANY_SECONDS 0.005 /* a receive from anybody may be waiting for somebody else's message */
#define TRANSFER_SPINS   100   /* a long payload on its way is asked for alone so often */
#define ONLY_ROUNDS      63    /* so often a receive from one looks for that one's message alone, before it drives */
#define POOLED_BYTES     512   /* payload and vector of a node from the pool */

/* ---------------------------------------------------------------- nodes and queues */

node *cairn_node_new(cairn_process *p, const cairn_envelope *e, const uint64_t *vector, uint32_t from,
                     const void *payload, char *direct)
{
    size_t payload_bytes = direct != NULL ? 0 : ((size_t)e->bytes + 7) / 8 * 8;
    size_t vector_bytes = vector != NULL ? p->count * sizeof *vector : 0;
    bool pooled = payload_bytes + vector_bytes <= POOLED_BYTES;
    node *n = pooled ? p->free_nodes : NULL;

    if (n != NULL) {
        p->free_nodes = n->next;
    } else {
        n = malloc(sizeof *n + (pooled ? POOLED_BYTES : payload_bytes + vector_bytes));
        if (n == NULL) {
            return NULL;
        }
    }
    n->next = NULL;
    n->references = 1;
    n->from = from;
    n->tag = e->tag;
    n->stream = 0;
    n->bytes = e->bytes;
    n->lamport = e->lamport;
    n->sequence = e->sequence;
    n->transfer = NULL;
    n->pooled = pooled;
    n->direct = direct != NULL;
    n->payload = direct != NULL ? direct : (char *)(n + 1);
    n->vector = NULL;
    if (vector_bytes != 0) {
        n->vector = (uint64_t *)(void *)((char *)(n + 1) + payload_bytes);
        memcpy(n->vector, vector, vector_bytes);
    }
    if (payload != NULL && e->bytes != 0) {
        memcpy(n->payload, payload, (size_t)e->bytes);
    }
    return n;
}

void cairn_node_release(cairn_process *p, node *n)
{
    if (--n->references > 0) {
        return;
    }
    if (n->pooled) {
        n->next = p->free_nodes;
        p->free_nodes = n;
    } else {
        free(n);
    }
}

void cairn_queue_push(queue *q, node *n)
{
    n->next = NULL;
    *q->end = n;
    q->end = &n->next;
}

node *cairn_queue_pop(queue *q)
{
    node *n = q->first;

    if (n != NULL) {
        q->first = n->next;
        if (q->first == NULL) {
            q->end = &q->first;
        }
        n->next = NULL;
    }
    return n;
}

/* ---------------------------------------------------------------- sending */

static void fill_envelope(cairn_process *p, cairn_envelope *e, uint32_t stream, uint32_t to, uint32_t tag, size_t bytes)
{
    p->lamport = cairn_lamport_send(p->lamport);
    if (p->vector != NULL) {
        cairn_vector_local(p->vector, p->count, p->self);
    }
    e->lamport = p->lamport;
    e->sequence = ++p->channels[to].sent[stream];
    e->bytes = bytes;
    e->incarnation = p->incarnation;
    e->tag = tag;
    e->kind = (uint8_t)(stream == 0 ? CAIRN_KIND_DATA : CAIRN_KIND_COLLECTIVE);
    e->flags = 0;
    e->vector = (uint16_t)(p->vector != NULL ? p->count : 0);
    e->magic = CAIRN_MAGIC;
    p->activity++;
}

/* Begin a send; *transfer stays NULL when data is the caller's again at once. Inside. */
cairn_status cairn_begin_send(cairn_process *p, uint32_t stream, uint32_t to, uint32_t tag, const void *data,
                              size_t bytes, cairn_transfer **transfer)
{
    cairn_envelope e;
    cairn_status status;

    if (__builtin_expect(p->lost_count > 0, 0) && cairn_is_gone(p, to, stream)) {
        return CAIRN_E_PEER;
    }
    fill_envelope(p, &e, stream, to, tag, bytes);
    if (to == p->self) {
        /* Sent and arrived in one event, between two safe points: no marker can lie in between. */
        node *n = cairn_node_new(p, &e, p->vector, to, data, NULL);

        if (n == NULL) {
            return CAIRN_E_NOMEM;
        }
        n->stream = stream;
        p->channels[to].arrived[stream]++;
        cairn_queue_push(&p->channels[to].box[stream], n);
        return CAIRN_OK;
    }
    if (bytes <= cairn_link_frame_max(p->link)) {
        return cairn_link_send(p->link, to, &e, p->vector, data);
    }
    e.flags = CAIRN_FLAG_LONG;
    status = cairn_link_send(p->link, to, &e, p->vector, NULL);
    return status != CAIRN_OK ? status : cairn_link_send_long(p->link, to, data, bytes, transfer);
}

/* Every public call comes through here first. Inside when it returns CAIRN_OK. */
cairn_status cairn_enter_call(cairn_process *p, uint32_t peer, bool any, const void *data, size_t bytes,
                              const char *call)
{
    cairn_enter(p);
    if (__builtin_expect(p->fatal != CAIRN_OK, 0)) {
        cairn_exit_call(p);
        return p->fatal;
    }
    if (__builtin_expect(p->stopped, 0)) {
        return cairn_say(p, CAIRN_E_STOPPED, "%s: this run was stopped on request", call);
    }
    if (__builtin_expect(peer >= p->count && !(any && peer == CAIRN_ANY), 0)) {
        return cairn_say(p, CAIRN_E_RANGE, "%s: process %u of %u does not exist", call, peer, p->count);
    }
    if (__builtin_expect(data == NULL && bytes > 0, 0)) {
        return cairn_say(p, CAIRN_E_INVALID, "%s: no buffer for %zu bytes", call, bytes);
    }
    return CAIRN_OK;
}

static cairn_status wait_transfer(cairn_process *p, cairn_transfer *transfer, uint32_t to, size_t bytes)
{
    waiting w = {0};
    uint32_t rank = cairn_recovery_rank(p, to);
    cairn_status status;

    for (uint32_t i = 0; !cairn_transfer_done(p->link, transfer); i++) {
        status = i < TRANSFER_SPINS ? CAIRN_OK : cairn_pause(p, &w);
        if (status == CAIRN_E_TIMEOUT) {
            /* The buffer may still be read by MPI: nothing can be trusted after that. */
            p->fatal = CAIRN_E_TIMEOUT;
            return cairn_say(p, status, "send of %zu bytes to process %u: not taken within %.3g s", bytes, to,
                             p->deadline);
        }
        if (p->lost[to] >= LOST_GONE) {
            return cairn_say_gone(p, to, "cairn_send"); /* the transfer is left to MPI */
        }
        if (status == CAIRN_E_STOPPED || (status == CAIRN_E_ROLLBACK && cairn_recovery_rank(p, to) == rank)) {
            continue; /* the receiver's runtime takes it while it winds down, or only to throw it away */
        }
        if (status != CAIRN_OK) {
            cairn_exit_call(p);
            return status;
        }
    }
    status = p->fatal;
    cairn_exit_call(p);
    return status;
}

cairn_status cairn_send_stream(cairn_process *p, uint32_t stream, uint32_t to, uint32_t tag, const void *data,
                               size_t bytes)
{
    cairn_transfer *transfer = NULL;
    cairn_status status = cairn_enter_call(p, to, false, data, bytes, "cairn_send");

    if (status != CAIRN_OK) {
        return status;
    }
    status = cairn_begin_send(p, stream, to, tag, data, bytes, &transfer);
    if (status == CAIRN_E_PEER) {
        return cairn_say_gone(p, to, stream == 0 ? "cairn_send" : "a collective");
    }
    if (status != CAIRN_OK) {
        return cairn_say(p, status, "send of %zu bytes to process %u", bytes, to);
    }
    if (transfer != NULL) {
        return wait_transfer(p, transfer, to, bytes);
    }
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_send(cairn_process *p, uint32_t to, uint32_t tag, const void *data, size_t bytes)
{
    return cairn_send_stream(p, 0, to, tag, data, bytes);
}

/* ---------------------------------------------------------------- receiving */

void cairn_consumed(cairn_process *p, uint32_t from, uint32_t stream, uint64_t lamport, const uint64_t *vector)
{
    p->lamport = cairn_lamport_receive(p->lamport, lamport);
    if (p->vector != NULL && vector != NULL) {
        cairn_vector_receive(p->vector, vector, p->count, p->self);
    }
    p->channels[from].consumed[stream]++;
    p->activity++;
}

void cairn_describe(const node *n, cairn_message *message)
{
    if (message != NULL) {
        message->from = n->from;
        message->tag = n->tag;
        message->bytes = n->bytes;
        message->lamport = n->lamport;
        message->sequence = n->sequence;
    }
}

/* The next message of a channel, or of the next channel in turn, whole or not. */
static node *pop_next(cairn_process *p, uint32_t from)
{
    if (from != CAIRN_ANY) {
        return cairn_queue_pop(&p->channels[from].box[0]);
    }
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t at = (p->turn + i) % p->count;

        if (p->channels[at].box[0].first != NULL) {
            p->turn = (at + 1) % p->count;
            return cairn_queue_pop(&p->channels[at].box[0]);
        }
    }
    return NULL;
}

/* Posted receives come before blocking ones: hand each the message that is meant for it. */
void cairn_assign_posted(cairn_process *p)
{
    for (cairn_request *r = p->posted; r != NULL; r = r->next) {
        if (r->got == NULL) {
            r->got = pop_next(p, r->peer);
        }
    }
}

/* The first whole message of a channel, or of the next channel in turn. Left in its box. */
static node *first_message(cairn_process *p, uint32_t stream, uint32_t from)
{
    if (__builtin_expect(p->posted != NULL && stream == 0, 0)) {
        cairn_assign_posted(p);
    }
    if (from != CAIRN_ANY) {
        node *n = p->channels[from].box[stream].first;

        return n != NULL && n->transfer == NULL ? n : NULL;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t at = (p->turn + i) % p->count;
        node *n = p->channels[at].box[stream].first;

        if (n != NULL && n->transfer == NULL) {
            return n;
        }
    }
    return NULL;
}

/* Take a whole message out of its box into the caller's buffer. */
static cairn_status take(cairn_process *p, uint32_t stream, node *n, void *data, size_t capacity,
                         cairn_message *message)
{
    cairn_describe(n, message);
    if (n->bytes > capacity) {
        return CAIRN_E_TRUNCATED;
    }
    (void)cairn_queue_pop(&p->channels[n->from].box[stream]);
    p->turn = (n->from + 1) % p->count;
    cairn_consumed(p, n->from, stream, n->lamport, n->vector);
    if (n->bytes != 0 && !n->direct) {
        memcpy(data, n->payload, (size_t)n->bytes);
    }
    cairn_node_release(p, n);
    return CAIRN_OK;
}

node *cairn_take_any(cairn_process *p)
{
    node *n = first_message(p, 0, CAIRN_ANY);

    if (n != NULL) {
        (void)cairn_queue_pop(&p->channels[n->from].box[0]);
        p->turn = (n->from + 1) % p->count;
        cairn_consumed(p, n->from, 0, n->lamport, n->vector);
    }
    return n;
}

bool cairn_has_message(cairn_process *p)
{
    return first_message(p, 0, CAIRN_ANY) != NULL;
}

bool cairn_holds(const cairn_process *p, uint32_t from, uint32_t stream)
{
    uint32_t first = from == CAIRN_ANY ? 0 : from;
    uint32_t last = from == CAIRN_ANY ? p->count : from + 1;

    for (uint32_t i = first; i < last; i++) {
        for (const node *n = p->channels[i].held.first; n != NULL; n = n->next) {
            if (n->stream == stream) {
                return true;
            }
        }
    }
    return false;
}

/* The short cut: the frame that is waited for is there, nothing is before it and no snapshot is under way: straight
 * from the slot into the job's buffer. */
bool cairn_short_cut(cairn_process *p, uint32_t stream, uint32_t from, void *data, size_t capacity,
                     cairn_message *message)
{
    channel *c = &p->channels[from];
    const cairn_envelope *e;
    cairn_frame frame;

    if (p->active || c->box[stream].first != NULL || (p->posted != NULL && stream == 0) ||
        !cairn_link_poll(p->link, from, &frame)) {
        return false;
    }
    e = frame.envelope;
    if (e->kind != (stream == 0 ? CAIRN_KIND_DATA : CAIRN_KIND_COLLECTIVE) || e->flags != 0 || e->bytes > capacity ||
        e->magic != CAIRN_MAGIC || e->incarnation != p->incarnation || e->sequence != c->arrived[stream] + 1) {
        cairn_dispatch(p, &frame);
        return false;
    }
    c->arrived[stream]++;
    cairn_consumed(p, from, stream, e->lamport, frame.vector);
    if (message != NULL) {
        message->from = from;
        message->tag = e->tag;
        message->bytes = e->bytes;
        message->lamport = e->lamport;
        message->sequence = e->sequence;
    }
    if (e->bytes != 0) {
        memcpy(data, frame.payload, (size_t)e->bytes);
    }
    cairn_link_consume(p->link, &frame);
    return true;
}

cairn_status cairn_complain(cairn_process *p, cairn_status status, uint32_t from, const char *what)
{
    char whom[40];

    if (status != CAIRN_E_TIMEOUT) {
        if (status == CAIRN_E_STOPPED) {
            return cairn_say(p, status, "%s: this run was stopped on request", what);
        }
        cairn_exit_call(p);
        return status;
    }
    if (from == CAIRN_ANY) {
        (void)snprintf(whom, sizeof whom, "any process");
    } else {
        (void)snprintf(whom, sizeof whom, "process %u", from);
    }
    return cairn_say(p, status, "%s: no message from %s within %.3g s", what, whom, p->deadline);
}

/* A wait that can only end when a held message is let go: give up the attempt. A receive from anybody is given a
 * moment. */
void cairn_unblock_held(cairn_process *p, uint32_t from, uint32_t stream, const waiting *w)
{
    if (!p->active || p->at_safepoint || !cairn_holds(p, from, stream)) {
        return;
    }
    if (from != CAIRN_ANY || (w->since > 0.0 && cairn_now() - w->since > HELD_ANY_SECONDS)) {
        cairn_core_event(p, CL_HELD_WAIT, 0);
    }
}

/* A long message is going straight into the waiting receive's buffer: see it through. */
static cairn_status finish_direct(cairn_process *p, uint32_t stream, cairn_message *message)
{
    node *n = p->wish.got;
    cairn_status status = CAIRN_OK;
    waiting w = {0};

    p->wish = (wish){0};
    for (uint32_t i = 0; i < TRANSFER_SPINS && !cairn_arrived(p, n); i++) {
    }
    while (n->transfer != NULL && status == CAIRN_OK) {
        status = cairn_pause(p, &w);
        if (status == CAIRN_E_STOPPED) {
            status = CAIRN_OK;
        }
    }
    if (status != CAIRN_OK) {
        p->fatal = status;
        return cairn_say(p, status, "message of %llu bytes from process %u: the rest did not come within %.3g s",
                         (unsigned long long)n->bytes, n->from, p->deadline);
    }
    cairn_describe(n, message);
    p->turn = (n->from + 1) % p->count;
    cairn_consumed(p, n->from, stream, n->lamport, n->vector);
    cairn_node_release(p, n);
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_receive_stream(cairn_process *p, uint32_t stream, uint32_t from, void *data, size_t capacity,
                                  cairn_message *message, const char *what)
{
    cairn_status status = cairn_enter_call(p, from, true, data, capacity, what);
    waiting w = {0};

    if (status != CAIRN_OK) {
        return status;
    }
    p->wish = (wish){
        .open = p->posted == NULL || stream != 0, .from = from, .stream = stream, .data = data, .capacity = capacity};
    for (;;) {
        node *n = NULL;

        if (from != CAIRN_ANY && from != p->self && cairn_short_cut(p, stream, from, data, capacity, message)) {
            break;
        }
        if (p->wish.got != NULL) {
            return finish_direct(p, stream, message);
        }
        n = first_message(p, stream, from);
        if (n != NULL) {
            status = take(p, stream, n, data, capacity, message);
            if (status == CAIRN_E_TRUNCATED) {
                p->wish.open = false;
                return cairn_say(p, status, "%s: a message of %llu bytes from process %u, a buffer of %zu", what,
                                 (unsigned long long)n->bytes, n->from, capacity);
            }
            break;
        }
        if (__builtin_expect(p->lost_count > 0, 0) && cairn_is_gone(p, from, stream)) {
            p->wish.open = false;
            return cairn_say_gone(p, from, what);
        }
        if (from != CAIRN_ANY && w.rounds < ONLY_ROUNDS && !p->active) {
            w.rounds++;
            continue;
        }
        /* Here, where it is known that nothing is there: a pause may bring the message, with held ones behind it. */
        cairn_unblock_held(p, from, stream, &w);
        status = cairn_pause(p, &w);
        if (status != CAIRN_OK && p->wish.got == NULL && first_message(p, stream, from) == NULL) {
            p->wish.open = false;
            return cairn_complain(p, status, from, what);
        }
    }
    p->wish.open = false;
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_recv(cairn_process *p, uint32_t from, void *data, size_t capacity, cairn_message *message)
{
    return cairn_receive_stream(p, 0, from, data, capacity, message, "cairn_recv");
}

cairn_status cairn_try_recv(cairn_process *p, uint32_t from, void *data, size_t capacity, cairn_message *message)
{
    cairn_status status = cairn_enter_call(p, from, true, data, capacity, "cairn_try_recv");
    node *n;

    if (status != CAIRN_OK) {
        return status;
    }
    n = first_message(p, 0, from);
    if (n == NULL) {
        cairn_drive(p);
        n = first_message(p, 0, from);
    }
    if (n == NULL && p->fatal == CAIRN_OK && cairn_is_gone(p, from, 0)) {
        return cairn_say_gone(p, from, "cairn_try_recv");
    }
    if (n == NULL) {
        cairn_exit_call(p);
        return p->fatal != CAIRN_OK ? p->fatal : CAIRN_E_AGAIN;
    }
    status = take(p, 0, n, data, capacity, message);
    if (status == CAIRN_E_TRUNCATED) {
        return cairn_say(p, status, "cairn_try_recv: a message of %llu bytes from process %u, a buffer of %zu",
                         (unsigned long long)n->bytes, n->from, capacity);
    }
    cairn_exit_call(p);
    return status;
}

static cairn_status probe(cairn_process *p, uint32_t from, cairn_message *message, bool wait, const char *what)
{
    cairn_status status = cairn_enter_call(p, from, true, message, 1, what);
    waiting w = {0};
    node *n;

    if (status != CAIRN_OK) {
        return status;
    }
    n = first_message(p, 0, from);
    while (n == NULL) {
        status = cairn_pause(p, &w);
        n = first_message(p, 0, from);
        if (n == NULL && status != CAIRN_OK) {
            return cairn_complain(p, status, from, what);
        }
        if (n == NULL && cairn_is_gone(p, from, 0)) {
            return cairn_say_gone(p, from, what);
        }
        if (n == NULL && !wait) {
            cairn_exit_call(p);
            return CAIRN_E_AGAIN;
        }
        if (n == NULL) {
            cairn_unblock_held(p, from, 0, &w);
        }
    }
    cairn_describe(n, message);
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_probe(cairn_process *p, uint32_t from, cairn_message *message)
{
    return probe(p, from, message, true, "cairn_probe");
}

cairn_status cairn_try_probe(cairn_process *p, uint32_t from, cairn_message *message)
{
    return probe(p, from, message, false, "cairn_try_probe");
}
