/* Clients with sessions: each has a few requests under way, asks them of any process, and when no answer comes, asks
 * the same again of another. Some die. Every answer has a revision, and must agree with what had been answered before it
 * was asked. */
#include "replica_member.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rm_begin_clients(pw_world *w)
{
    rm_world *all = calloc(1, sizeof *all);

    if (all == NULL) {
        abort();
    }
    w->clients = all;
    w->client_count = (uint32_t)chance_between(&w->random, 1, 6);
    w->paxos.value_max = (uint32_t)chance_between(&w->random, 256, 800);
    all->pace = chance_scale(&w->random, w->paxos.heartbeat / 4, w->paxos.heartbeat * 2);
    all->ttl = w->paxos.election * chance_between(&w->random, 4, 12);
    all->ttl = all->ttl < 100000 ? 100000 : all->ttl;
    for (uint32_t i = 0; i < w->client_count; i++) {
        pw_plan(w, pw_below(w, w->paxos.election), (pw_happening){.what = PW_CLIENT, .to = i});
    }
}

/* --- the table of requests ---------------------------------------------------------------------------------------- */

static size_t place_of(const rm_world *all, uint64_t session, uint64_t sequence)
{
    return (size_t)((session * UINT64_C(0x9e3779b97f4a7c15) + sequence * UINT64_C(0xbf58476d1ce4e5b9)) >> 20) %
           all->table_size;
}

rm_request *rm_find(const pw_world *w, uint64_t session, uint64_t sequence)
{
    const rm_world *all = rm_of(w);

    if (all->table_size == 0) {
        return NULL;
    }
    for (size_t at = place_of(all, session, sequence); all->table[at] != 0; at = (at + 1) % all->table_size) {
        rm_request *q = &all->requests[all->table[at] - 1];

        if (q->session == session && q->sequence == sequence) {
            return q;
        }
    }
    return NULL;
}

static void enter(rm_world *all, uint32_t request)
{
    const rm_request *q = &all->requests[request];
    size_t at = place_of(all, q->session, q->sequence);

    while (all->table[at] != 0) {
        at = (at + 1) % all->table_size;
    }
    all->table[at] = request + 1;
}

static bool is_remembered(const rm_request *q)
{
    return q->session != 0 && q->what != RM_KEEPALIVE;
}

static void remember(rm_world *all, uint32_t request)
{
    if (!is_remembered(&all->requests[request])) {
        return;
    }
    if (++all->remembered > all->table_size / 2) {
        free(all->table);
        all->table_size = all->table_size == 0 ? 1024 : all->table_size * 2;
        all->table = calloc(all->table_size, sizeof *all->table);
        if (all->table == NULL) {
            abort();
        }
        for (uint32_t i = 0; i < request; i++) {
            if (is_remembered(&all->requests[i])) {
                enter(all, i);
            }
        }
    }
    enter(all, request);
}

/* --- making a request --------------------------------------------------------------------------------------------- */

typedef struct draft {
    cairn_question request;
    cairn_compare compare;
    cairn_do ops[4];
    char key[40], other[8];
    uint64_t value[3], second[3], expected[3];
} draft;

/* What is written: its number and more bytes, by the number; their count. */
static size_t fill(uint64_t value[3], uint64_t id)
{
    memset(value, (int)(id & 0xff), 3 * sizeof *value);
    value[0] = id;
    return sizeof *value + (size_t)(id % 17);
}

static void put_into(draft *d, size_t at, const char *key, uint64_t value[3], uint64_t id)
{
    size_t bytes = fill(value, id);

    d->ops[at] = (cairn_do){.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = bytes};
    d->request.txn.then_count = at + 1;
}

static void draft_registers(pw_world *w, rm_request *q, draft *d)
{
    rm_world *all = rm_of(w);
    uint64_t modified;
    uint64_t value = rm_value_at(all, q->key, UINT64_MAX, &modified);

    d->request.op = CAIRN_OP_TXN;
    d->request.txn.then = d->ops;
    switch (q->what) {
    case RM_DELETE:
        d->ops[0] = (cairn_do){.kind = CAIRN_DO_DELETE, .key = d->key};
        d->request.txn.then_count = 1;
        break;
    case RM_CAS:
        d->compare = (cairn_compare){.kind = CAIRN_COMPARE_MODIFIED, .key = d->key, .number = modified};
        q->expected = value;
        put_into(d, 0, d->key, d->value, q->value = ++all->values);
        d->request.txn.compare_count = 1;
        break;
    case RM_SWAP:
        snprintf(d->other, sizeof d->other, "k%" PRIu32, (q->key + 1) % RM_SINGLE);
        d->compare = (cairn_compare){.kind = CAIRN_COMPARE_VALUE, .key = d->key, .value = d->expected};
        d->compare.bytes = fill(d->expected, value);
        d->ops[0] = (cairn_do){.kind = CAIRN_DO_GET, .key = d->other};
        put_into(d, 1, d->key, d->value, q->value = ++all->values);
        put_into(d, 2, d->other, d->second, ++all->values);
        d->request.txn.compare_count = value != RM_NO_VALUE;
        break;
    default:
        put_into(d, 0, d->key, d->value, q->value = ++all->values);
    }
    d->request.txn.compares = &d->compare;
}

static void draft_rest(pw_world *w, rm_request *q, draft *d)
{
    rm_world *all = rm_of(w);
    const rm_client *c = &all->clients[q->client];

    switch (q->what) {
    case RM_OPEN:
        d->request.op = CAIRN_OP_OPEN;
        d->request.ttl = (double)all->ttl / 1e6;
        break;
    case RM_READ_ALL:
        d->request.flags = CAIRN_REQUEST_PREFIX;
        d->key[1] = '\0';
        d->request.op = CAIRN_OP_READ;
        break;
    case RM_READ:
        d->request.op = CAIRN_OP_READ;
        break;
    case RM_LOCK:
    case RM_UNLOCK:
        snprintf(d->key, sizeof d->key, "cairn/lock/l%" PRIu32, q->key % RM_LOCKS);
        d->request.op = q->what == RM_LOCK ? CAIRN_OP_LOCK : CAIRN_OP_UNLOCK;
        d->request.number = q->what == RM_UNLOCK ? c->token : pw_one_in(w, 4);
        break;
    case RM_EPHEMERAL:
        snprintf(d->key, sizeof d->key, "e/%" PRIu32, q->client);
        d->request.op = CAIRN_OP_TXN;
        d->request.txn.then = d->ops;
        put_into(d, 0, d->key, d->value, ++all->values);
        d->ops[0].lease = c->session;
        break;
    case RM_CLOSE:
        d->request.op = CAIRN_OP_CLOSE;
        break;
    default:
        d->request.op = CAIRN_OP_KEEPALIVE;
    }
}

/* All sequences of the client below this one were answered. */
static uint64_t acknowledged(const rm_world *all, const rm_client *c)
{
    uint64_t lowest = c->sequence + 1;

    for (uint32_t i = 0; i < RM_PENDING; i++) {
        const rm_request *q = c->pending[i] == 0 ? NULL : &all->requests[c->pending[i] - 1];

        if (q != NULL && !q->done && q->session == c->session && q->sequence > 0 && q->sequence < lowest) {
            lowest = q->sequence;
        }
    }
    return lowest;
}

static uint32_t make_request(pw_world *w, uint32_t client, rm_what what)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[client];
    bool in_session = what != RM_OPEN && what != RM_READ && what != RM_READ_ALL && what != RM_PLAIN;
    cairn_pack pack = {0};
    draft d = {.request = {.key = d.key}};
    rm_request *q;

    all->requests = sim_grow(all->requests, &all->request_room, all->request_count + 1, sizeof *q);
    q = &all->requests[all->request_count++];
    *q = (rm_request){.what = what, .client = client, .asked_at = w->now, .floor = all->floor, .nonce = c->nonce};
    q->key = (uint32_t)pw_below(w, RM_KEYS);
    if (what == RM_DELETE || what == RM_SWAP || what == RM_PLAIN) { /* a doubled RM_PLAIN may be done twice */
        q->key %= RM_SINGLE;
    }
    q->key = what == RM_UNLOCK ? c->lock - 1 : what == RM_LOCK ? q->key % RM_LOCKS : q->key;
    snprintf(d.key, sizeof d.key, "k%" PRIu32, q->key);
    if (in_session) {
        q->session = d.request.session = c->session;
        if (what != RM_KEEPALIVE) {
            d.request.acknowledged = acknowledged(all, c);
            q->sequence = d.request.sequence = ++c->sequence;
        }
    }
    d.request.nonce = what == RM_OPEN ? c->nonce : 0;
    if (what == RM_PUT || what == RM_DELETE || what == RM_CAS || what == RM_SWAP || what == RM_PLAIN) {
        draft_registers(w, q, &d);
    } else {
        draft_rest(w, q, &d);
    }
    cairn_request_encode(&pack, &d.request);
    q->data = pack.data;
    q->bytes = pack.bytes;
    remember(all, (uint32_t)all->request_count - 1);
    w->result->counts[PW_ASKED]++;
    return (uint32_t)all->request_count - 1;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void new_session(pw_world *w, rm_client *c)
{
    rm_world *all = rm_of(w);

    for (uint32_t i = 0; i < RM_PENDING; i++) {
        rm_request *q = c->pending[i] == 0 ? NULL : &all->requests[c->pending[i] - 1];

        if (q != NULL && q->session != 0) {
            q->done = true; /* given up: whether it was done the next session cannot ask */
            c->pending[i] = 0;
        }
    }
    c->session = c->sequence = 0;
    c->lock = 0;
    c->nonce = ++all->nonces;
}

/* Nobody who lives, has not let go and whose session goes on holds it too. */
static void got_lock(pw_world *w, const rm_request *q, uint64_t token)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[q->client];

    for (uint32_t i = 0; i < w->client_count; i++) {
        const rm_client *other = &all->clients[i];

        if (other != c && other->lock == q->key + 1 && !rm_has_ended(all, other->session) &&
            !rm_has_ended(all, q->session)) {
            pw_fail(w, "lock",
                    "clients %" PRIu32 " and %" PRIu32 " hold lock %" PRIu32 " with tokens %" PRIu64 " and %" PRIu64, i,
                    q->client, q->key, other->token, token);
        }
    }
    if (q->session == c->session) {
        c->lock = q->key + 1;
        c->token = token;
    }
}

/* What a command was answered is what it was answered when it was applied, here or somewhere. */
static void check_command(pw_world *w, const rm_request *q, const cairn_response *response)
{
    bool late = response->status == CAIRN_E_NOT_FOUND || response->status == CAIRN_E_STATE;

    if (late && (rm_has_ended(rm_of(w), q->session) || q->done)) {
        return;
    }
    if (!q->applied) {
        pw_fail(w, "linear", "request %" PRIu64 " of session %" PRIu64 " was answered %d and never applied",
                q->sequence, q->session, (int)response->status);
        return;
    }
    if (q->what != RM_LOCK && !late &&
        (response->status != q->result.status || response->held != q->result.held ||
         response->number != q->result.number || response->revision != q->result.revision)) {
        pw_fail(w, "once", "request %" PRIu64 " of session %" PRIu64 " was answered otherwise than it was applied",
                q->sequence, q->session);
    }
}

static void take_answer(pw_world *w, rm_request *q, const cairn_response *response)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[q->client];
    bool of_now = q->session != 0 && q->session == c->session;

    switch (q->what) {
    case RM_OPEN:
        if (response->status == CAIRN_OK && c->session == 0 && q->nonce == c->nonce) {
            c->session = response->number;
            c->kept_alive = w->now;
        }
        break;
    case RM_LOCK:
        if (response->status == CAIRN_OK) {
            got_lock(w, q, response->number);
        }
        break;
    case RM_CLOSE:
        if (of_now) {
            new_session(w, c);
        }
        break;
    default:
        break;
    }
    if (of_now && response->status == CAIRN_E_NOT_FOUND && (q->what == RM_KEEPALIVE || rm_has_ended(all, q->session))) {
        new_session(w, c);
    }
}

static bool is_told_revision(const rm_request *q, const cairn_response *response)
{
    return q->what != RM_OPEN && q->what != RM_KEEPALIVE && q->what != RM_LOCK && q->what != RM_CLOSE &&
           (response->status == CAIRN_OK || (q->what == RM_READ && response->status == CAIRN_E_NOT_FOUND));
}

static void check_answer(pw_world *w, const rm_request *q, const cairn_response *response)
{
    rm_world *all = rm_of(w);

    if (q->what == RM_READ || q->what == RM_READ_ALL) {
        rm_check_read(w, q, response);
        w->result->counts[PW_READS]++;
    } else if (q->session != 0 && q->what != RM_KEEPALIVE) {
        check_command(w, q, response);
    }
    if (is_told_revision(q, response)) {
        if (response->revision < q->floor) {
            pw_fail(w, "linear",
                    "asked when revision %" PRIu64 " was known, answered at %" PRIu64 " (%d of client %" PRIu32 ")",
                    q->floor, response->revision, (int)q->what, q->client);
        }
        all->floor = response->revision > all->floor ? response->revision : all->floor;
    }
}

/* What the client knows now, for the check at the end. */
static void take_note(const pw_world *w, rm_request *q, const cairn_response *response)
{
    bool none = q->what == RM_READ && response->status == CAIRN_E_NOT_FOUND;

    if (q->done || (response->status != CAIRN_OK && !none)) {
        return;
    }
    q->answered_at = w->now;
    q->held = response->held;
    for (size_t i = 0; i < response->kv_count && (q->what == RM_READ || q->what == RM_READ_ALL); i++) {
        uint32_t key = (uint32_t)(response->kvs[i].key[1] - '0');

        q->found[key < RM_KEYS ? key : 0] = rm_value_of(response->kvs[i].value, response->kvs[i].bytes);
    }
}

void rm_answered(pw_world *w, pw_member *m, uint32_t request, const cairn_response *response)
{
    rm_world *all = rm_of(w);
    rm_request *q = &all->requests[request];
    rm_client *c = &all->clients[q->client];

    pw_say(w, m, "answers %" PRIu32 ": status %d number %" PRIu64 " revision %" PRIu64 "%s%s", request,
           (int)response->status, response->number, response->revision, response->held ? " held" : "",
           response->waiting ? " waiting" : "");
    if (response->waiting) {
        pw_fail(w, "shell", "%" PRIu32 " gives an answer that is none", m->id);
    }
    if (response->status == CAIRN_E_BUSY && q->what != RM_LOCK) {
        return; /* asked again later */
    }
    if (response->status == CAIRN_E_PEER && q->what == RM_PLAIN) {
        q->done = true; /* it may or may not have been done */
    } else {
        check_answer(w, q, response);
        take_note(w, q, response);
    }
    for (uint32_t i = 0; i < RM_PENDING; i++) {
        if (c->pending[i] == request + 1) {
            c->pending[i] = 0;
            take_answer(w, q, response);
            if (q->what != RM_LOCK) {
                pw_answered(w, q->asked_at);
            }
        }
    }
    q->done = true;
}

/* --- what clients do ---------------------------------------------------------------------------------------------- */

static void ask(pw_world *w, uint32_t request)
{
    rm_request *q = &rm_of(w)->requests[request];
    pw_member *m = &w->members[pw_below(w, w->count)];

    for (int i = 0; i < 20 && (!m->up || m->dead); i++) {
        m = &w->members[pw_below(w, w->count)];
    }
    if (m->up && !m->dead) {
        w->result->counts[PW_REPEATED] += q->tried_at > 0;
        q->tried_at = w->now;
        pw_plan(w, w->now, (pw_happening){.what = PW_ASK, .to = m->id, .life = m->life, .number = request});
    }
}

static rm_what draw_what(pw_world *w, const rm_client *c)
{
    static const rm_what common[] = {RM_PUT,  RM_PUT,      RM_PUT,  RM_DELETE, RM_CAS,       RM_CAS,
                                     RM_SWAP, RM_SWAP,     RM_READ, RM_READ,   RM_READ,      RM_READ_ALL,
                                     RM_READ, RM_READ_ALL, RM_LOCK, RM_LOCK,   RM_EPHEMERAL, RM_PLAIN};

    if (c->session == 0) {
        return RM_OPEN;
    }
    if (c->lock != 0 && pw_one_in(w, 4)) {
        return RM_UNLOCK;
    }
    if (pw_one_in(w, 60)) {
        return RM_CLOSE;
    }
    return common[pw_below(w, sizeof common / sizeof common[0])];
}

static bool has_pending(const rm_world *all, const rm_client *c, rm_what what)
{
    for (uint32_t i = 0; i < RM_PENDING; i++) {
        if (c->pending[i] != 0 && all->requests[c->pending[i] - 1].what == what) {
            return true;
        }
    }
    return false;
}

static void begin_one(pw_world *w, uint32_t client, uint32_t place)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[client];
    rm_what what = draw_what(w, c);

    if (!pw_may_ask(w)) {
        what = RM_UNLOCK; /* what is held is let go, so that others get it */
    } else if (c->session != 0 && w->now > c->kept_alive + all->ttl / 5) {
        c->kept_alive = w->now;
        what = RM_KEEPALIVE;
    }
    if ((what == RM_UNLOCK && (c->lock == 0 || c->session == 0)) || (what == RM_LOCK && c->lock != 0) ||
        has_pending(all, c, RM_CLOSE) || ((what == RM_OPEN || what == RM_LOCK) && has_pending(all, c, what)) ||
        (what == RM_KEEPALIVE && has_pending(all, c, what))) {
        return;
    }
    c->pending[place] = make_request(w, client, what) + 1;
    if (what == RM_UNLOCK) {
        c->lock = 0; /* from here on somebody else may have it */
    }
    ask(w, c->pending[place] - 1);
}

static bool is_idle(const rm_client *c)
{
    for (uint32_t i = 0; i < RM_PENDING; i++) {
        if (c->pending[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The program that asked is dead; another takes its place and knows nothing of it. */
static void crash_client(pw_world *w, uint32_t client)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[client];

    pw_say(w, NULL, "client %" PRIu32 " crashes", client);
    rm_forget(w, client);
    for (uint32_t i = 0; i < RM_PENDING; i++) {
        if (c->pending[i] != 0) {
            all->requests[c->pending[i] - 1].done = true;
        }
    }
    *c = (rm_client){.nonce = ++all->nonces};
}

static void ask_again(pw_world *w, rm_client *c)
{
    rm_world *all = rm_of(w);
    uint64_t patience = w->paxos.election * (w->healed_at == 0 ? 2 : 6);

    for (uint32_t i = 0; i < RM_PENDING; i++) {
        rm_request *q = c->pending[i] == 0 ? NULL : &all->requests[c->pending[i] - 1];

        if (q == NULL || w->now <= q->tried_at + patience) {
            continue;
        }
        if (q->what == RM_PLAIN && q->tried_at > 0) {
            q->done = true; /* without a session it may be done twice */
            c->pending[i] = 0;
        } else {
            ask(w, c->pending[i] - 1);
        }
    }
}

void rm_client_acts(pw_world *w, uint32_t client)
{
    rm_world *all = rm_of(w);
    rm_client *c = &all->clients[client];
    uint32_t place = (uint32_t)pw_below(w, RM_PENDING);

    if (c->nonce == 0) {
        c->nonce = ++all->nonces;
    }
    if (w->healed_at == 0 && pw_one_in(w, 150)) {
        crash_client(w, client);
    }
    ask_again(w, c);
    if (c->pending[place] == 0) {
        begin_one(w, client, place);
    }
    if (pw_may_ask(w) || !is_idle(c) || c->lock != 0) {
        pw_plan(w, w->now + 1 + pw_below(w, all->pace * 2), (pw_happening){.what = PW_CLIENT, .to = client});
    }
}

bool rm_quiet(pw_world *w)
{
    const rm_world *all = rm_of(w);

    for (uint32_t i = 0; i < w->client_count; i++) {
        if (!is_idle(&all->clients[i]) || all->clients[i].lock != 0) {
            return false;
        }
    }
    return true;
}
