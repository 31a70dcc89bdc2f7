/* A handle's questions: asking, waiting, copying what an answer points to, keeping the session alive. */
#include "process/coord_handle.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TTL_SECONDS         5.0
#define ALIVE_AGAIN_SECONDS 0.1

cairn_status coord_fail(cairn_coord *c, cairn_status status, const char *format, ...)
{
    va_list arguments;

    c->error.status = status;
    va_start(arguments, format);
    (void)vsnprintf(c->error.text, sizeof c->error.text, format, arguments);
    va_end(arguments);
    return status;
}

double coord_seconds(const cairn_coord *c, double seconds)
{
    return seconds < 0.0 ? c->deadline : seconds;
}

bool coord_key_is_good(cairn_coord *c, const char *key, bool prefix)
{
    size_t length = key == NULL ? 0 : strnlen(key, CAIRN_KEY_MAX + 1);

    if (key != NULL && length <= CAIRN_KEY_MAX && (length > 0 || prefix)) {
        return true;
    }
    (void)coord_fail(c, CAIRN_E_INVALID, "a key has %d to %d bytes", prefix ? 0 : 1, CAIRN_KEY_MAX);
    return false;
}

/* ---------------------------------------------------------------- questions */

coord_question *coord_question_new(cairn_coord *c)
{
    coord_question *q = c->free;
    coord_copy copy = {0};

    if (q == NULL) {
        q = malloc(sizeof *q);
        if (q == NULL) {
            return NULL;
        }
    } else {
        c->free = q->next;
        copy = q->copy;
    }
    *q = (coord_question){.coord = c, .copy = copy};
    return q;
}

void coord_question_free(coord_question *q)
{
    if (q != NULL) {
        q->state = COORD_FREE;
        q->next = q->coord->free;
        q->coord->free = q;
    }
}

static coord_list *list_of(coord_question *q)
{
    return &q->coord->open[q->sequence != 0];
}

static void add_open(coord_question *q)
{
    coord_list *list = list_of(q);

    q->before = list->last;
    q->after = NULL;
    *(list->last != NULL ? &list->last->after : &list->first) = q;
    list->last = q;
}

static void remove_open(coord_question *q)
{
    coord_list *list = list_of(q);

    *(q->before != NULL ? &q->before->after : &list->first) = q->after;
    *(q->after != NULL ? &q->after->before : &list->last) = q->before;
}

/* ---------------------------------------------------------------- copies */

static size_t kv_bytes(const cairn_kv *kv)
{
    return (kv->key == NULL ? 0 : strlen(kv->key) + 1) + kv->bytes;
}

static char *copy_kv(cairn_kv *to, const cairn_kv *from, char *at)
{
    *to = *from;
    if (from->key != NULL) {
        size_t length = strlen(from->key) + 1;

        memcpy(at, from->key, length);
        to->key = at;
        at += length;
    }
    if (from->bytes > 0) {
        memcpy(at, from->value, from->bytes);
    }
    to->value = at;
    return at + from->bytes;
}

/* The array of entries first, since it is aligned there; then what they point to. */
static bool copy_answer(coord_question *q, const cairn_response *r)
{
    size_t bytes = r->kv_count * sizeof *r->kvs + r->change_count * sizeof *r->changes;
    char *at;

    for (size_t i = 0; i < r->kv_count; i++) {
        bytes += kv_bytes(&r->kvs[i]);
    }
    for (size_t i = 0; i < r->change_count; i++) {
        bytes += kv_bytes(&r->changes[i].kv);
    }
    if (bytes > q->copy.room) {
        free(q->copy.memory);
        q->copy.memory = malloc(bytes);
        q->copy.room = q->copy.memory == NULL ? 0 : bytes;
    }
    if (q->copy.memory == NULL) {
        return false;
    }
    q->kvs = (cairn_kv *)(void *)q->copy.memory;
    q->changes = (cairn_change *)(void *)(q->kvs + r->kv_count);
    at = (char *)(q->changes + r->change_count);
    for (size_t i = 0; i < r->kv_count; i++) {
        at = copy_kv(&q->kvs[i], &r->kvs[i], at);
    }
    for (size_t i = 0; i < r->change_count; i++) {
        q->changes[i].deleted = r->changes[i].deleted;
        at = copy_kv(&q->changes[i].kv, &r->changes[i].kv, at);
    }
    q->kv_count = r->kv_count;
    q->change_count = r->change_count;
    return true;
}

/* ---------------------------------------------------------------- asking */

static void queue_answered(coord_question *q)
{
    q->state = COORD_ANSWERED;
    if (q->counted) {
        q->next = NULL;
        *q->coord->answered_end = q;
        q->coord->answered_end = &q->next;
    }
}

static void on_answer(void *context, const cairn_response *r)
{
    coord_question *q = context;

    remove_open(q);
    if (q->state == COORD_ABANDONED) {
        coord_question_free(q);
        return;
    }
    q->status = r->status;
    q->held = r->held;
    q->more = r->more;
    q->number = r->number;
    q->revision = r->revision;
    if (r->status != CAIRN_OK) {
        (void)snprintf(q->text, sizeof q->text, "%s", r->text == NULL ? "" : r->text);
    }
    if ((r->kv_count > 0 || r->change_count > 0) && !copy_answer(q, r)) {
        q->status = CAIRN_E_NOMEM;
    }
    queue_answered(q);
}

cairn_status coord_ask(coord_question *q, cairn_question *request)
{
    cairn_coord *c = q->coord;
    cairn_status status;

    if (request->op < CAIRN_OP_READ && request->op != CAIRN_OP_OPEN) {
        q->sequence = ++c->sequence;
        request->session = c->session;
        request->sequence = q->sequence;
        request->acknowledged = c->open[1].first != NULL ? c->open[1].first->sequence : q->sequence;
    }
    add_open(q);
    q->state = COORD_ASKED;
    status = cairn_consensus_ask(c->process, request, on_answer, q, &q->tag);
    if (status != CAIRN_OK) {
        remove_open(q);
        q->state = COORD_FREE;
    }
    return status;
}

void coord_abandon(coord_question *q, bool ask_on)
{
    if (ask_on) {
        q->state = COORD_ABANDONED;
        return;
    }
    cairn_consensus_forget(q->coord->process, q->tag);
    remove_open(q);
    coord_question_free(q);
}

void coord_give_up(coord_question *q)
{
    cairn_consensus_forget(q->coord->process, q->tag);
    remove_open(q);
    q->status = CAIRN_E_TIMEOUT;
    queue_answered(q);
}

static cairn_status wait_for(coord_question *q, double seconds, bool even_stopped)
{
    waiting w = {.since = cairn_now()};
    cairn_status status = CAIRN_OK;

    w.deadline = w.since + seconds;
    while (q->state == COORD_ASKED && status == CAIRN_OK) {
        status = cairn_pause(q->coord->process, &w);
        if (status == CAIRN_E_STOPPED && even_stopped) {
            status = cairn_now() > w.deadline ? CAIRN_E_TIMEOUT : CAIRN_OK;
            (void)sched_yield();
        }
    }
    return q->state == COORD_ASKED ? status : CAIRN_OK;
}

/* "Not found" may mean the session: ask. */
static bool has_ended(cairn_coord *c)
{
    waiting w = {.since = cairn_now()};

    w.deadline = w.since + c->deadline;
    c->alive_at = 0.0;
    cairn_coord_drive(c->process);
    while (c->alive_open && cairn_pause(c->process, &w) == CAIRN_OK) {
    }
    return c->ended;
}

cairn_status coord_call(cairn_coord *c, cairn_question *request, double seconds, const char *what, coord_question **out)
{
    bool gives_up = request->op == CAIRN_OP_UNLOCK || request->op == CAIRN_OP_CLOSE;
    coord_question *q = coord_question_new(c);
    cairn_status status = q == NULL ? CAIRN_E_NOMEM : coord_ask(q, request);

    if (status != CAIRN_OK) {
        coord_question_free(q);
        return coord_fail(c, status, "%s: %s", what, cairn_status_text(status));
    }
    status = wait_for(q, seconds, gives_up);
    if (status != CAIRN_OK) {
        coord_abandon(q, request->op == CAIRN_OP_UNLOCK);
        if (status == CAIRN_E_TIMEOUT) {
            return coord_fail(c, status, "%s: no answer within %.3g s", what, seconds);
        }
        return coord_fail(c, status, "%s: %s", what,
                          status == c->process->fatal ? c->process->error.text : cairn_status_text(status));
    }
    q->next = c->current;
    c->current = q;
    *out = q;
    if (q->status == CAIRN_E_NOT_FOUND && q->sequence != 0 && request->op != CAIRN_OP_CLOSE && has_ended(c)) {
        return coord_fail(c, CAIRN_E_STATE, "%s: %s", what, q->text);
    }
    if (q->status != CAIRN_OK) {
        return coord_fail(c, q->status, "%s: %s", what, q->text[0] != '\0' ? q->text : cairn_status_text(q->status));
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- calls */

void coord_forget_answers(cairn_coord *c)
{
    while (c->current != NULL) {
        coord_question *q = c->current;

        c->current = q->next;
        coord_question_free(q);
    }
}

cairn_status coord_enter(cairn_coord *c)
{
    cairn_process *p = c->process;

    cairn_enter(p);
    if (p->fatal != CAIRN_OK) {
        return coord_fail(c, p->fatal, "%s", p->error.text);
    }
    if (c->ended) {
        return coord_fail(c, CAIRN_E_STATE, "session %llu has ended: it was not kept alive for %g s",
                          (unsigned long long)c->session, c->ttl);
    }
    coord_forget_answers(c); /* of the call before */
    c->error.text[0] = '\0';
    return CAIRN_OK;
}

cairn_status coord_leave(cairn_coord *c, cairn_status status)
{
    cairn_exit_call(c->process);
    return status;
}

const char *cairn_coord_error(const cairn_coord *c)
{
    return c->error.text;
}

cairn_status cairn_coord_deadline(cairn_coord *c, double seconds)
{
    if (!(seconds > 0.0)) {
        return coord_fail(c, CAIRN_E_INVALID, "cairn_coord_deadline: %g s is not > 0", seconds);
    }
    c->deadline = seconds;
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- the session */

static void on_alive(void *context, const cairn_response *r)
{
    cairn_coord *c = context;

    c->alive_open = false;
    c->ended = c->ended || r->status == CAIRN_E_NOT_FOUND;
    c->alive_at = cairn_now() + (r->status == CAIRN_OK ? c->shortest / 3.0 : ALIVE_AGAIN_SECONDS);
}

void coord_shorten(cairn_coord *c, double ttl)
{
    double at = cairn_now() + ttl / 3.0;

    c->shortest = ttl < c->shortest ? ttl : c->shortest;
    c->alive_at = at < c->alive_at ? at : c->alive_at;
}

void cairn_coord_drive(cairn_process *p)
{
    double now = p->coords != NULL ? cairn_now() : 0.0;

    for (cairn_coord *c = p->coords; c != NULL; c = c->next) {
        cairn_question request = {.op = CAIRN_OP_KEEPALIVE, .session = c->session};

        if (c->session == 0 || c->ended || c->alive_open || now < c->alive_at) {
            continue;
        }
        c->alive_open = cairn_consensus_ask(p, &request, on_alive, c, &c->alive_tag) == CAIRN_OK;
        c->alive_at = now + ALIVE_AGAIN_SECONDS;
    }
}

static void free_handle(cairn_coord *c)
{
    for (int i = 0; i < 2; i++) {
        while (c->open[i].first != NULL) {
            coord_abandon(c->open[i].first, false);
        }
    }
    if (c->alive_open) {
        cairn_consensus_forget(c->process, c->alive_tag);
    }
    for (cairn_coord **at = &c->process->coords; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    coord_forget_answers(c);
    free(c->range);
    while (c->free != NULL) {
        coord_question *next = c->free->next;

        free(c->free->copy.memory);
        free(c->free);
        c->free = next;
    }
    free(c);
}

/* An opening that may or may not have been done is asked for again: the nonce makes it the same session. */
static cairn_status open_session(cairn_coord *c)
{
    cairn_question request = {.op = CAIRN_OP_OPEN, .ttl = c->ttl};
    double until = cairn_now() + c->deadline;
    coord_question *q = NULL;
    cairn_status status;

    if (getrandom(&request.nonce, sizeof request.nonce, 0) != (ssize_t)sizeof request.nonce) {
        return coord_fail(c, CAIRN_E_IO, "cairn_coord_open: no random numbers");
    }
    do {
        status = coord_call(c, &request, until - cairn_now(), "cairn_coord_open", &q);
    } while (status == CAIRN_E_PEER && cairn_now() < until);
    if (status == CAIRN_OK) {
        c->session = q->number;
        c->alive_at = cairn_now() + c->shortest / 3.0;
    }
    return status;
}

cairn_status cairn_coord_open(cairn_process *p, double ttl, cairn_coord **out)
{
    cairn_coord *c;
    cairn_status status;

    cairn_enter(p);
    if (p->fatal != CAIRN_OK) {
        cairn_exit_call(p);
        return p->fatal;
    }
    if (p->dir[0] == '\0') {
        return cairn_say(p, CAIRN_E_STATE, "cairn_coord_open: this run has no DIR");
    }
    if (!(ttl == 0.0 || (ttl >= CAIRN_TTL_MIN && ttl <= CAIRN_TTL_MAX))) {
        return cairn_say(p, CAIRN_E_INVALID, "cairn_coord_open: a time to live of %g s is not in %g..%g", ttl,
                         CAIRN_TTL_MIN, CAIRN_TTL_MAX);
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        return cairn_say(p, CAIRN_E_NOMEM, "cairn_coord_open");
    }
    c->process = p;
    c->ttl = ttl > 0.0 ? ttl : TTL_SECONDS;
    c->shortest = c->ttl;
    c->deadline = p->deadline;
    c->answered_end = &c->answered;
    c->next = p->coords;
    p->coords = c;
    status = open_session(c);
    if (status != CAIRN_OK) {
        cairn_error error = c->error;

        free_handle(c);
        return cairn_say(p, status, "%s", error.text);
    }
    *out = c;
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_coord_close(cairn_coord *c)
{
    cairn_question request = {.op = CAIRN_OP_CLOSE};
    coord_question *q = NULL;
    cairn_status status;
    cairn_process *p;

    if (c == NULL) {
        return CAIRN_OK;
    }
    if (c->telling) {
        return coord_fail(c, CAIRN_E_STATE, "cairn_coord_close: not possible in an answer");
    }
    p = c->process;
    coord_end_pending(c);
    cairn_enter(p);
    c->alive_at = cairn_now() + c->ttl; /* no more of these */
    status =
        c->ended || p->fatal != CAIRN_OK ? p->fatal : coord_call(c, &request, c->deadline, "cairn_coord_close", &q);
    status = status == CAIRN_E_NOT_FOUND ? CAIRN_OK : status; /* was asked twice */
    if (status != CAIRN_OK && status != p->fatal) {
        cairn_error error = c->error;

        free_handle(c);
        return cairn_say(p, status, "%s", error.text);
    }
    free_handle(c);
    cairn_exit_call(p);
    return status;
}
