/* Requests: from here to the leader and into the log, and their answers back. */
#include "coord/replica_core.h"

/* ---------------------------------------------------------------- the table of local requests, and the queues */

static ask **bucket_of(cairn_replica *r, uint64_t tag)
{
    return &r->asks[(tag * UINT64_C(0x9e3779b97f4a7c15) >> 40) % ASK_BUCKETS];
}

static ask *find(cairn_replica *r, uint64_t tag)
{
    ask *a = *bucket_of(r, tag);

    while (a != NULL && a->tag != tag) {
        a = a->bucket;
    }
    return a;
}

static void push(ask_queue *q, ask *a)
{
    a->next = NULL;
    a->leaves = true;
    *q->end = a;
    q->end = &a->next;
    q->count++;
    q->bytes += a->bytes + 16;
}

static ask *pop(ask_queue *q)
{
    ask *a = q->first;

    if (a != NULL) {
        q->first = a->next;
        if (q->first == NULL) {
            q->end = &q->first;
        }
        q->count--;
        q->bytes -= a->bytes + 16;
        a->leaves = false;
    }
    return a;
}

/* Nobody waits for it any more. In a queue it stays until it gets to the front. */
static void release(cairn_replica *r, ask *a)
{
    if (a->origin == r->self && a->tag != 0 && !a->forgotten) {
        ask **at = bucket_of(r, a->tag);

        while (*at != a) {
            at = &(*at)->bucket;
        }
        *at = a->bucket;
        r->ask_count--;
    }
    a->forgotten = true;
    if (!a->leaves) {
        free(a);
    }
}

static ask *new_ask(uint32_t origin, uint64_t tag, const cairn_question *request, const void *data, size_t bytes)
{
    ask *a = malloc(sizeof *a + bytes);

    if (a != NULL) {
        *a = (ask){.op = request->op,
                   .flags = request->flags,
                   .origin = origin,
                   .tag = tag,
                   .session = request->session,
                   .sequence = request->sequence,
                   .bytes = bytes};
        memcpy(a->data, data, bytes);
    }
    return a;
}

static bool is_read(const ask *a)
{
    return a->op == CAIRN_OP_READ || a->op == CAIRN_OP_KEEPALIVE;
}

/* May it be sent again, though it may have been applied? */
static bool repeatable(const ask *a)
{
    return a->session != 0 || a->op == CAIRN_OP_OPEN || a->op == CAIRN_OP_EXPIRE || is_read(a) ||
           (a->flags & CAIRN_REQUEST_REPEAT) != 0;
}

/* ---------------------------------------------------------------- answers */

static void answer(cairn_replica *r, ask *a, const cairn_response *response)
{
    bool gone = a->forgotten;

    if (a->origin == r->self) {
        uint64_t tag = a->tag;

        release(r, a); /* first: its receiver may ask again, with the same tag too */
        if (tag != 0 && !gone) {
            r->host.answer(r->host.context, tag ^ r->life, response);
        }
        return;
    }
    wire_begin(r, WIRE_RESPONSE);
    cairn_pack_u64(&r->pack, a->tag);
    cairn_response_encode(&r->pack, response);
    wire_end(r, a->origin);
    r->stats.answers++;
    r->remote--;
    release(r, a);
}

static void answer_status(cairn_replica *r, ask *a, cairn_status status, const char *text)
{
    cairn_response response = {.status = status, .text = text};

    answer(r, a, &response);
}

void ask_on_response(cairn_replica *r, cairn_unpack *u)
{
    uint64_t tag = cairn_unpack_u64(u);
    ask *a = u->bad ? NULL : find(r, tag);
    cairn_response response;
    cairn_storage storage = {0};
    cairn_error error;

    if (a == NULL) {
        return;
    }
    if (cairn_response_decode(u->data + u->at, u->bytes - u->at, &response, &storage, &error) == CAIRN_OK) {
        if (response.waiting) {
            a->stage = ASK_WAITING;
            a->sent = r->now;
        } else {
            answer(r, a, &response);
        }
    }
    cairn_storage_free(&storage);
}

/* ---------------------------------------------------------------- who waits for completions */

static void note_waiter(cairn_replica *r, uint32_t origin, uint64_t tag, const cairn_question *command)
{
    for (size_t i = 0; i < r->waiter_count; i++) {
        if (r->waiters[i].session == command->session && r->waiters[i].sequence == command->sequence) {
            r->waiters[i].origin = origin; /* asked again, perhaps by another way */
            r->waiters[i].tag = tag;
            return;
        }
    }
    if (r->waiter_count == r->waiter_room) {
        size_t room = r->waiter_room * 2 + 16;
        waiter *grown = realloc(r->waiters, room * sizeof *grown);

        if (grown == NULL) {
            (void)replica_fail(r, CAIRN_E_NOMEM, "those who wait for locks");
            return;
        }
        r->waiters = grown;
        r->waiter_room = room;
    }
    r->waiters[r->waiter_count++] =
        (waiter){.session = command->session, .sequence = command->sequence, .tag = tag, .origin = origin};
}

static void respond_to(cairn_replica *r, uint32_t origin, uint64_t tag, const cairn_response *response)
{
    if (origin == r->self) {
        ask *a = find(r, tag);

        if (a != NULL) {
            answer(r, a, response);
        }
    } else if (mp_is_leader(r->core)) {
        wire_begin(r, WIRE_RESPONSE);
        cairn_pack_u64(&r->pack, tag);
        cairn_response_encode(&r->pack, response);
        wire_end(r, origin);
        r->stats.answers++;
    }
}

static void complete(cairn_replica *r, const cairn_completion *c)
{
    for (size_t i = 0; i < r->waiter_count; i++) {
        if (r->waiters[i].session == c->session && r->waiters[i].sequence == c->sequence) {
            waiter w = r->waiters[i];

            r->waiters[i] = r->waiters[--r->waiter_count];
            respond_to(r, w.origin, w.tag, &c->response);
            return;
        }
    }
}

void ask_applied(cairn_replica *r, uint32_t origin, uint64_t tag, const cairn_question *command,
                 const cairn_applied *applied)
{
    lease_note(r, command, &applied->response);
    if (r->host.applied != NULL) {
        r->host.applied(r->host.context, command, &applied->response);
    }
    if (applied->response.waiting) {
        ask *a = origin == r->self ? find(r, tag) : NULL;

        note_waiter(r, origin, tag, command);
        if (a != NULL && !a->leaves) {
            a->stage = ASK_WAITING;
            a->sent = r->now;
        }
    } else if (tag != 0) {
        respond_to(r, origin, tag, &applied->response);
    }
    for (size_t i = 0; i < applied->completion_count; i++) {
        complete(r, &applied->completions[i]);
    }
}

/* After an image was installed: completions may have been jumped over. Ask again, it is remembered. */
void ask_installed(cairn_replica *r)
{
    for (size_t i = 0; i < ASK_BUCKETS; i++) {
        for (ask *a = r->asks[i]; a != NULL; a = a->bucket) {
            if (a->stage == ASK_WAITING) {
                a->stage = ASK_NEW;
                r->dispatch = true;
            }
        }
    }
    r->waiter_count = 0;
}

/* ---------------------------------------------------------------- at the leader */

static void answer_read(cairn_replica *r, ask *a)
{
    cairn_question request;
    cairn_response response = {.status = CAIRN_OK, .text = ""};
    cairn_error error;

    if (cairn_request_decode(a->data, a->bytes, &request, &r->storage, &error) != CAIRN_OK) {
        answer_status(r, a, error.status, error.text);
        return;
    }
    r->stats.reads++;
    if (a->op == CAIRN_OP_KEEPALIVE) {
        cairn_lease_view lease;

        if (cairn_state_lease(r->state, request.session, &lease) && lease_extend(r, request.session)) {
            response.revision = cairn_state_revision(r->state);
        } else {
            response.status = CAIRN_E_NOT_FOUND;
            response.text = "the session has ended";
        }
    } else if (cairn_state_read(r->state, &request, &response) == CAIRN_E_NOMEM) {
        response = (cairn_response){.status = CAIRN_E_NOMEM, .text = "reading"};
    }
    answer(r, a, &response);
}

void ask_reads_ready(cairn_replica *r)
{
    while (r->reads.first != NULL && (r->reads.first->forgotten || r->reads.first->read <= r->reads_to) &&
           r->applied >= r->reads_at) {
        ask *a = pop(&r->reads);

        if (a->forgotten) {
            free(a);
        } else {
            answer_read(r, a);
        }
    }
}

/* This process leads: a command goes to the log, a read into the next round. */
static void take(cairn_replica *r, ask *a)
{
    a->ballot = mp_ballot(r->core);
    if (!is_read(a)) {
        a->stage = ASK_QUEUED;
        push(&r->proposals, a);
    } else if (r->options.lease_reads && mp_lease_holds(r->core, r->now) && r->applied == mp_chosen(r->core)) {
        r->stats.leased_reads++;
        answer_read(r, a);
    } else {
        mp_event event = {.kind = MP_READ};

        a->stage = ASK_READING;
        a->read = mp_reads(r->core) + 1;
        push(&r->reads, a);
        replica_step(r, &event);
    }
}

static bool may_batch(const cairn_replica *r)
{
    /* What came while the last group was being synced goes together: never waiting for more, but not before either. */
    return mp_proposed(r->core) == mp_chosen(r->core) || !r->writing ||
           r->proposals.bytes >= r->options.paxos.value_max / 2;
}

void ask_propose(cairn_replica *r)
{
    while (r->proposals.first != NULL && mp_may_propose(r->core) && may_batch(r) && r->fatal == CAIRN_OK) {
        mp_event event = {.kind = MP_PROPOSE};

        r->batch.bytes = 0;
        while (r->proposals.first != NULL &&
               r->batch.bytes + r->proposals.first->bytes + 16 <= r->options.paxos.value_max) {
            ask *a = pop(&r->proposals);

            cairn_pack_u32(&r->batch, a->origin);
            cairn_pack_u64(&r->batch, a->tag);
            cairn_pack_text(&r->batch, a->data, a->bytes);
            a->stage = ASK_PROPOSED;
            r->stats.commands++;
            if (a->origin != r->self) {
                r->remote--;
            }
            if (a->origin != r->self || a->tag == 0 || a->forgotten) {
                free(a); /* the slot's value says whom to answer */
            }
        }
        if (!cairn_pack_ok(&r->batch)) {
            (void)replica_fail(r, CAIRN_E_NOMEM, "a batch");
            return;
        }
        event.value = (mp_value){.type = MP_COMMANDS, .bytes = (uint32_t)r->batch.bytes, .data = r->batch.data};
        r->stats.proposals++;
        replica_step(r, &event);
    }
}

static void request_refused(cairn_replica *r, uint32_t to, uint64_t tag, cairn_status status, const char *text)
{
    cairn_response response = {.status = status, .text = text};

    wire_begin(r, WIRE_RESPONSE);
    cairn_pack_u64(&r->pack, tag);
    cairn_response_encode(&r->pack, &response);
    wire_end(r, to);
}

static bool is_queued(const ask_queue *q, uint32_t origin, uint64_t tag)
{
    for (const ask *a = q->first; a != NULL; a = a->next) {
        if (a->origin == origin && a->tag == tag) {
            return true;
        }
    }
    return false;
}

void ask_on_request(cairn_replica *r, uint32_t from, cairn_unpack *u)
{
    uint64_t tag = cairn_unpack_u64(u);
    bool again = cairn_unpack_u8(u) != 0;
    cairn_question request;
    cairn_error error;
    ask *a;

    if (u->bad || !mp_is_leader(r->core) || from >= r->options.paxos.count || from == r->self) {
        return; /* whoever asks finds the leader in the end */
    }
    if (again && (is_queued(&r->proposals, from, tag) || is_queued(&r->reads, from, tag))) {
        return; /* it is slow, not lost: doing it twice would make all slower still */
    }
    if (cairn_request_decode(u->data + u->at, u->bytes - u->at, &request, &r->storage, &error) != CAIRN_OK) {
        request_refused(r, from, tag, error.status, error.text);
        return;
    }
    if (r->remote >= r->options.requests_max) {
        r->stats.busy++;
        request_refused(r, from, tag, CAIRN_E_BUSY, "the leader has too many requests");
        return;
    }
    a = new_ask(from, tag, &request, u->data + u->at, u->bytes - u->at);
    if (a == NULL) {
        (void)replica_fail(r, CAIRN_E_NOMEM, "a request");
        return;
    }
    r->remote++;
    take(r, a);
}

/* ---------------------------------------------------------------- here */

cairn_status cairn_replica_ask(cairn_replica *r, uint64_t tag, const void *data, size_t bytes, uint64_t now)
{
    cairn_question request;
    cairn_error error = {CAIRN_OK, ""};
    cairn_response refused = {.text = error.text};
    ask *a;

    r->now = now > r->now ? now : r->now;
    if (r->fatal != CAIRN_OK) {
        return r->fatal;
    }
    refused.status = cairn_request_decode(data, bytes, &request, &r->storage, &error);
    if (refused.status == CAIRN_OK && bytes + 16 > r->options.paxos.value_max) {
        refused.status = CAIRN_E_INVALID;
        refused.text = "the request is too long";
    }
    if (refused.status == CAIRN_OK && r->ask_count >= r->options.requests_max) {
        r->stats.busy++;
        refused.status = CAIRN_E_BUSY;
        refused.text = "too many requests are under way";
    }
    if (refused.status != CAIRN_OK) {
        r->host.answer(r->host.context, tag, &refused);
        return CAIRN_OK;
    }
    a = new_ask(r->self, tag ^ r->life, &request, data, bytes);
    if (a == NULL) {
        return replica_fail(r, CAIRN_E_NOMEM, "a request");
    }
    a->bucket = *bucket_of(r, a->tag);
    *bucket_of(r, a->tag) = a;
    r->ask_count++;
    push(&r->fresh, a);
    replica_settle(r);
    return r->fatal;
}

void cairn_replica_forget(cairn_replica *r, uint64_t tag)
{
    ask *a = find(r, tag ^ r->life);

    if (a != NULL) {
        release(r, a);
    }
}

void ask_own(cairn_replica *r, const cairn_question *command)
{
    cairn_pack pack = {0};
    ask *a;

    cairn_request_encode(&pack, command);
    a = cairn_pack_ok(&pack) ? new_ask(r->self, 0, command, pack.data, pack.bytes) : NULL;
    free(pack.data);
    if (a != NULL) {
        a->stage = ASK_QUEUED;
        push(&r->proposals, a);
    }
}

static void forward(cairn_replica *r, ask *a, uint32_t leader)
{
    wire_begin(r, WIRE_REQUEST);
    cairn_pack_u64(&r->pack, a->tag);
    cairn_pack_u8(&r->pack, a->ballot == mp_ballot(r->core)); /* sent to this leader before */
    cairn_pack_bytes(&r->pack, a->data, a->bytes);
    wire_end(r, leader);
    a->stage = ASK_FORWARDED;
    a->ballot = mp_ballot(r->core);
    a->sent = r->now;
    r->stats.forwards++;
}

/* To the leader, if one is known. */
static void give(cairn_replica *r, ask *a)
{
    uint32_t leader = mp_leader(r->core);

    if (mp_is_leader(r->core)) {
        take(r, a);
    } else if (leader != UINT32_MAX && leader != r->self) {
        forward(r, a, leader);
    }
}

void ask_take_fresh(cairn_replica *r)
{
    ask *a;

    while ((a = pop(&r->fresh)) != NULL) {
        if (a->forgotten) {
            free(a);
        } else {
            give(r, a);
        }
    }
}

/* Every local request that is nowhere. An answer may change the table: the bucket is begun again. */
void ask_dispatch_all(cairn_replica *r)
{
    r->dispatch = false;
    if (!mp_is_leader(r->core) && mp_leader(r->core) == UINT32_MAX) {
        return;
    }
    for (size_t i = 0; i < ASK_BUCKETS && r->ask_count > 0; i++) {
        ask *a = r->asks[i];

        while (a != NULL) {
            bool wanted = a->stage == ASK_NEW && !a->leaves;

            if (wanted) {
                give(r, a); /* its stage is another one now, or it is gone */
            }
            a = wanted ? r->asks[i] : a->bucket;
        }
    }
}

/* What was proposed or is being read by a leader that is none any more: by the next one, if that does no harm. */
void ask_deposed(cairn_replica *r)
{
    ask *a;

    while ((a = pop(&r->reads)) != NULL || (a = pop(&r->proposals)) != NULL) {
        if (a->origin != r->self) {
            r->remote--;
        }
        if (a->origin != r->self || a->tag == 0 || a->forgotten) {
            free(a);
        } else {
            a->stage = ASK_NEW; /* it was not proposed */
        }
    }
    for (size_t i = 0; i < ASK_BUCKETS; i++) {
        for (ask *after, *b = r->asks[i]; b != NULL; b = after) {
            after = b->bucket;
            if (b->stage == ASK_PROPOSED && !repeatable(b)) {
                answer_status(r, b, CAIRN_E_PEER, "the leader changed: it may or may not have been done");
                after = r->asks[i];
            } else if (b->stage == ASK_PROPOSED) {
                b->stage = ASK_NEW;
            }
        }
    }
    r->dispatch = true;
}

/* Requests whose leader changed, or who were not answered for long, are sent again. */
void ask_tick(cairn_replica *r)
{
    px_ballot ballot = mp_ballot(r->core);
    uint64_t patience = 2 * r->options.paxos.election;

    if (r->ask_count == 0 || (ballot == r->known_ballot && r->now < r->asks_checked + patience / 4)) {
        return;
    }
    r->known_ballot = ballot;
    r->asks_checked = r->now;
    for (size_t i = 0; i < ASK_BUCKETS; i++) {
        for (ask *a = r->asks[i], *after; a != NULL; a = after) {
            bool late = r->now > a->sent + patience;

            after = a->bucket;
            if (a->stage == ASK_FORWARDED && (a->ballot != ballot || late)) {
                if (repeatable(a)) {
                    a->stage = ASK_NEW;
                } else {
                    answer_status(r, a, CAIRN_E_PEER, "the leader was lost: it may or may not have been done");
                    after = r->asks[i];
                }
            } else if (a->stage == ASK_WAITING && r->now > a->sent + 4 * patience) {
                a->stage = ASK_NEW; /* a completion that got lost on the way is remembered by the state */
            }
        }
    }
    r->dispatch = true;
}

void ask_free_all(cairn_replica *r)
{
    ask *a;

    while ((a = pop(&r->proposals)) != NULL || (a = pop(&r->reads)) != NULL || (a = pop(&r->fresh)) != NULL) {
        if (a->origin != r->self || a->tag == 0 || a->forgotten) {
            free(a);
        }
    }
    for (size_t i = 0; i < ASK_BUCKETS; i++) {
        while ((a = r->asks[i]) != NULL) {
            r->asks[i] = a->bucket;
            free(a);
        }
    }
}
