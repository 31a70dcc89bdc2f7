/* Questions to the coordination service, and their answers. */
#include "process/consensus_parts.h"

#include <stdlib.h>
#include <string.h>

static question *question_of(consensus *c, uint64_t tag)
{
    question *q = &c->questions[tag % CONSENSUS_ASKED_MAX];

    return tag != 0 && q->tag == tag ? q : NULL;
}

static void free_question(consensus *c, question *q)
{
    q->tag = 0;
    q->next_free = c->free_question;
    c->free_question = (uint32_t)(q - c->questions);
}

static void give(consensus *c, uint64_t tag, const cairn_response *response)
{
    question *q = question_of(c, tag);

    if (q != NULL) {
        cairn_asked asked = q->asked;
        void *context = q->context;

        free_question(c, q);
        asked(context, response);
    }
}

static void defer(consensus *c, uint64_t tag, const cairn_response *response)
{
    deferred *d;

    c->pack.bytes = 0;
    cairn_response_encode(&c->pack, response);
    d = cairn_pack_ok(&c->pack) ? malloc(sizeof *d + c->pack.bytes) : NULL;
    if (d == NULL) {
        return; /* the asker's deadline tells */
    }
    *d = (deferred){.tag = tag, .bytes = c->pack.bytes};
    memcpy(d->data, c->pack.data, c->pack.bytes);
    *c->end = d;
    c->end = &d->next;
}

void consensus_answer(void *context, uint64_t tag, const cairn_response *response)
{
    consensus *c = ((cairn_process *)context)->consensus;

    if (c->asking) {
        defer(c, tag, response);
    } else {
        give(c, tag, response);
    }
}

void consensus_give_deferred(consensus *c)
{
    while (c->first != NULL) {
        deferred *d = c->first;
        cairn_response response;
        cairn_error error;

        c->first = d->next;
        if (c->first == NULL) {
            c->end = &c->first;
        }
        if (cairn_response_decode(d->data, d->bytes, &response, &c->storage, &error) == CAIRN_OK) {
            give(c, d->tag, &response);
        }
        free(d);
    }
}

static void refuse(consensus *c, uint64_t tag, cairn_status status, const char *text)
{
    cairn_response response = {.status = status, .text = text};

    defer(c, tag, &response);
}

static void refuse_now(consensus *c, uint64_t tag)
{
    if (c->over) {
        refuse(c, tag, CAIRN_E_FULL, CAIRN_CONSENSUS_OVER_TEXT);
    } else {
        refuse(c, tag, CAIRN_E_IO, "this process has left the coordination service");
    }
}

void consensus_refuse_all(consensus *c)
{
    for (uint32_t i = 0; i < CONSENSUS_ASKED_MAX; i++) {
        if (c->questions[i].tag != 0) {
            refuse_now(c, c->questions[i].tag);
        }
    }
}

void consensus_out_of_service(cairn_process *p, const char *why)
{
    consensus *c = p->consensus;

    if (c->failed) {
        return;
    }
    c->failed = true;
    fprintf(stderr, "cairn: process %u has left the coordination service: %s\n", p->self, why);
    consensus_refuse_all(c);
    cairn_send_control(p, CL_ALL, CONTROL_UNSERVED, 0);
    cairn_consensus_unserved(p, p->self);
}

void cairn_consensus_unserved(cairn_process *p, uint32_t from)
{
    consensus *c = p->consensus;

    if (c == NULL || c->replica == NULL || !mp_is_acceptor(cairn_replica_core(c->replica), from)) {
        return;
    }
    c->left++;
    if (!c->over && c->left > c->group.acceptor_count - px_majority(c->group.acceptor_count)) {
        c->over = true;
        consensus_refuse_all(c);
    }
}

bool cairn_consensus_over(const cairn_process *p)
{
    return p->consensus != NULL && p->consensus->over;
}

static void answer_status(cairn_process *p, uint64_t tag)
{
    consensus *c = p->consensus;
    const mp *core = cairn_replica_core(c->replica);
    cairn_replica_stats stats;
    char text[10][64];
    const char *names[10] = {"process",  "leader", "ballot",    "chosen",    "applied",
                             "revision", "keys",   "acceptors", "log_bytes", "votes"};
    cairn_kv kvs[10];
    cairn_response response = {.text = "", .kvs = kvs, .kv_count = 10};
    size_t at = 0;

    cairn_replica_get_stats(c->replica, &stats);
    (void)snprintf(text[0], sizeof text[0], "%u", p->self);
    if (mp_leader(core) == UINT32_MAX) {
        (void)snprintf(text[1], sizeof text[1], "none");
    } else {
        (void)snprintf(text[1], sizeof text[1], "%u", mp_leader(core));
    }
    (void)snprintf(text[2], sizeof text[2], "%llu.%u", (unsigned long long)px_round(mp_ballot(core)),
                   px_owner(mp_ballot(core)));
    (void)snprintf(text[3], sizeof text[3], "%llu", (unsigned long long)mp_chosen(core));
    (void)snprintf(text[4], sizeof text[4], "%llu", (unsigned long long)cairn_replica_applied(c->replica));
    response.revision = cairn_state_revision(cairn_replica_state(c->replica));
    (void)snprintf(text[5], sizeof text[5], "%llu", (unsigned long long)response.revision);
    (void)snprintf(text[6], sizeof text[6], "%zu", cairn_state_key_count(cairn_replica_state(c->replica)));
    text[7][0] = '\0';
    for (uint32_t i = 0; i < c->group.acceptor_count; i++) {
        at += (size_t)snprintf(text[7] + at, sizeof text[7] - at, "%s%u", i == 0 ? "" : " ", c->group.acceptors[i]);
    }
    (void)snprintf(text[8], sizeof text[8], "%llu", (unsigned long long)stats.log.live_bytes);
    (void)snprintf(text[9], sizeof text[9], "%s", mp_generation(core) > 0 && c->has_disk ? "yes" : "no");
    for (size_t i = 0; i < 10; i++) {
        kvs[i] = (cairn_kv){.key = names[i], .value = text[i], .bytes = strlen(text[i])};
    }
    defer(c, tag, &response);
}

static void answer_watch(cairn_process *p, uint64_t tag, const cairn_question *request)
{
    consensus *c = p->consensus;
    cairn_response response = {.text = ""};

    if (cairn_state_watch(cairn_replica_state(c->replica), request, &response) == CAIRN_OK) {
        defer(c, tag, &response);
    } else {
        refuse(c, tag, CAIRN_E_NOMEM, "watching");
    }
}

static cairn_status new_question(cairn_process *p, cairn_asked asked, void *context, uint64_t *tag)
{
    consensus *c = p->consensus;
    question *q;

    if (c == NULL) {
        return CAIRN_E_STATE;
    }
    if (c->free_question == UINT32_MAX) {
        return CAIRN_E_BUSY;
    }
    q = &c->questions[c->free_question];
    c->free_question = q->next_free;
    c->questions_asked++;
    *q = (question){.tag = c->questions_asked * CONSENSUS_ASKED_MAX + (uint64_t)(q - c->questions),
                    .asked = asked,
                    .context = context};
    *tag = q->tag;
    return CAIRN_OK;
}

static cairn_status ask(cairn_process *p, const cairn_question *request, const void *data, size_t bytes, uint64_t tag)
{
    consensus *c = p->consensus;

    if (c->failed || c->over || c->replica == NULL) {
        refuse_now(c, tag);
    } else if (request->op == CAIRN_OP_STATUS) {
        answer_status(p, tag);
    } else if (request->op == CAIRN_OP_WATCH) {
        answer_watch(p, tag, request);
    } else {
        c->asking = true;
        consensus_check(p, cairn_replica_ask(c->replica, tag, data, bytes, consensus_now()));
        c->asking = false;
    }
    return CAIRN_OK;
}

cairn_status cairn_consensus_ask(cairn_process *p, const cairn_question *request, cairn_asked asked, void *context,
                                 uint64_t *tag)
{
    consensus *c = p->consensus;
    cairn_status status = new_question(p, asked, context, tag);

    if (status != CAIRN_OK) {
        return status;
    }
    c->pack.bytes = 0;
    cairn_request_encode(&c->pack, request);
    return cairn_pack_ok(&c->pack) ? ask(p, request, c->pack.data, c->pack.bytes, *tag) : CAIRN_E_NOMEM;
}

cairn_status cairn_consensus_ask_bytes(cairn_process *p, const void *data, size_t bytes, cairn_asked asked,
                                       void *context, uint64_t *tag)
{
    cairn_question request;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = new_question(p, asked, context, tag);

    if (status != CAIRN_OK) {
        return status;
    }
    if (cairn_request_decode(data, bytes, &request, &p->consensus->storage, &error) != CAIRN_OK) {
        refuse(p->consensus, *tag, error.status, error.text);
        return CAIRN_OK;
    }
    return ask(p, &request, data, bytes, *tag);
}

void cairn_consensus_forget(cairn_process *p, uint64_t tag)
{
    consensus *c = p->consensus;
    question *q = c == NULL ? NULL : question_of(c, tag);

    if (q != NULL) {
        free_question(c, q);
        cairn_replica_forget(c->replica, tag);
    }
}

bool cairn_consensus_leads(const cairn_process *p)
{
    const consensus *c = p->consensus;

    return c != NULL && c->replica != NULL && !c->failed && mp_is_leader(cairn_replica_core(c->replica));
}

uint64_t cairn_consensus_revision(const cairn_process *p)
{
    const consensus *c = p->consensus;

    return c == NULL || c->replica == NULL ? 0 : cairn_state_revision(cairn_replica_state(c->replica));
}

cairn_status cairn_consensus_peek(cairn_process *p, const cairn_question *request, cairn_response *response)
{
    consensus *c = p->consensus;

    return c == NULL || c->replica == NULL ? CAIRN_E_STATE
                                           : cairn_state_read(cairn_replica_state(c->replica), request, response);
}

double cairn_consensus_silent(const cairn_process *p, uint32_t process)
{
    const consensus *c = p->consensus;
    uint64_t now = consensus_now();
    uint64_t heard;

    if (c == NULL || c->replica == NULL || c->leads_since == 0) {
        return 0.0;
    }
    heard = c->leads_since;
    for (uint32_t i = 0; i < p->peers; i++) {
        uint64_t one = c->place[i] == process ? mp_heard(cairn_replica_core(c->replica), i) : 0;

        heard = one > heard ? one : heard;
    }
    return now < heard ? 0.0 : (double)(now - heard) * 1e-6;
}

void cairn_consensus_stats(const cairn_process *p, cairn_replica_stats *out)
{
    *out = (cairn_replica_stats){0};
    if (p->consensus != NULL && p->consensus->replica != NULL) {
        cairn_replica_get_stats(p->consensus->replica, out);
    }
}
