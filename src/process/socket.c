/* Questions of clients of the Unix socket (coord/socket_server.h): asked of the service as a job's own are. */
#include "process/consensus.h"

#include "coord/socket_server.h"

#include <stdlib.h>

typedef struct question {
    struct question *next, **at; /* at: what points here */
    cairn_process *process;
    uint64_t client, id;
    uint64_t tag;
    bool asked; /* an answer is to come */
    bool watch, told;
    bool prefix;
    uint64_t from;
    char *key;
} question;

struct cairn_sockets {
    cairn_server *server;
    question *questions;
    size_t watches;
    cairn_pack answer; /* used again and again */
    cairn_storage storage;
};

static void drop(struct cairn_sockets *s, question *q)
{
    *q->at = q->next;
    if (q->next != NULL) {
        q->next->at = q->at;
    }
    s->watches -= q->watch ? 1 : 0;
    free(q->key);
    free(q);
}

static void forget(cairn_process *p, question *q)
{
    if (q->asked) {
        cairn_consensus_forget(p, q->tag);
    }
    drop(p->sockets, q);
}

static void answer(struct cairn_sockets *s, const question *q, const cairn_response *response, bool last)
{
    s->answer.bytes = 0;
    s->answer.failed = false;
    cairn_response_encode(&s->answer, response);
    /* Short of memory: the client hears nothing and asks another process. */
    if (cairn_pack_ok(&s->answer) || last) {
        cairn_server_answer(s->server, q->client, q->id, s->answer.data,
                            cairn_pack_ok(&s->answer) ? s->answer.bytes : 0, last);
    }
}

static void refuse(struct cairn_sockets *s, const question *q, cairn_status status, const char *text)
{
    const cairn_response response = {.status = status, .text = text};

    answer(s, q, &response, true);
}

static void on_answer(void *context, const cairn_response *response)
{
    question *q = context;
    struct cairn_sockets *s = q->process->sockets;

    q->asked = false;
    if (!q->watch || response->status != CAIRN_OK) {
        answer(s, q, response, true);
        drop(s, q);
        return;
    }
    q->from = response->number;
    /* The first answer tells the client from where on it is watching, even if nothing has changed. */
    if (response->change_count > 0 || !q->told) {
        q->told = true;
        answer(s, q, response, false);
    }
}

/* What only the service itself may ask, or would not know to be asked twice. */
static const char *not_for_clients(const cairn_question *request)
{
    if (request->op == CAIRN_OP_EXPIRE) {
        return "only the leader ends a session by itself";
    }
    if (request->op < CAIRN_OP_READ && request->op != CAIRN_OP_OPEN && request->session == 0) {
        return "a session is needed";
    }
    return NULL;
}

static cairn_status watch_again(cairn_process *p, question *q)
{
    cairn_question request = {.op = CAIRN_OP_WATCH, .key = q->key, .number = q->from};
    cairn_status status;

    request.flags = q->prefix ? CAIRN_REQUEST_PREFIX : 0;
    q->asked = true;
    status = cairn_consensus_ask(p, &request, on_answer, q, &q->tag);
    q->asked = status == CAIRN_OK;
    return status;
}

static void begin_watch(cairn_process *p, question *q, const cairn_question *request)
{
    struct cairn_sockets *s = p->sockets;
    cairn_status status = CAIRN_E_NOMEM;

    q->watch = true;
    s->watches++;
    q->prefix = (request->flags & CAIRN_REQUEST_PREFIX) != 0;
    q->from = request->number;
    q->key = strdup(request->key);
    if (q->key != NULL) {
        status = watch_again(p, q);
    }
    if (status != CAIRN_OK) {
        refuse(s, q, status, "");
        drop(s, q);
    }
}

static void ask(cairn_process *p, const cairn_server_frame *frame)
{
    struct cairn_sockets *s = p->sockets;
    question *q = calloc(1, sizeof *q);
    cairn_error error = {.text = ""};
    cairn_question request;
    cairn_status status;

    if (q == NULL) {
        cairn_server_answer(s->server, frame->client, frame->id, NULL, 0, true);
        return;
    }
    q->process = p;
    q->client = frame->client;
    q->id = frame->id;
    q->next = s->questions;
    q->at = &s->questions;
    if (q->next != NULL) {
        q->next->at = &q->next;
    }
    s->questions = q;
    status = cairn_request_decode(frame->data, frame->bytes, &request, &s->storage, &error);
    if (status == CAIRN_OK && not_for_clients(&request) != NULL) {
        status = cairn_fail(&error, CAIRN_E_INVALID, "%s", not_for_clients(&request));
    }
    if (status == CAIRN_OK && request.op == CAIRN_OP_WATCH) {
        begin_watch(p, q, &request);
        return;
    }
    if (status == CAIRN_OK) {
        q->asked = true;
        status = cairn_consensus_ask_bytes(p, frame->data, frame->bytes, on_answer, q, &q->tag);
    }
    if (status != CAIRN_OK) {
        refuse(s, q, status, error.text);
        drop(s, q);
    }
}

/* A client takes a question back (id), or is gone (all of it). */
static void take_back(cairn_process *p, const cairn_server_frame *frame)
{
    struct cairn_sockets *s = p->sockets;
    question *next;

    for (question *q = s->questions; q != NULL; q = next) {
        next = q->next;
        if (q->client != frame->client || (frame->what == CAIRN_SERVER_BACK && q->id != frame->id)) {
            continue;
        }
        if (frame->what == CAIRN_SERVER_BACK) {
            cairn_server_answer(s->server, q->client, q->id, NULL, 0, true);
        }
        forget(p, q);
    }
}

static void drive_watches(cairn_process *p)
{
    uint64_t revision = cairn_consensus_revision(p);
    question *next;

    for (question *q = p->sockets->questions; q != NULL; q = next) {
        next = q->next;
        if (!q->watch || q->asked || (q->told && revision < q->from)) {
            continue;
        }
        if (watch_again(p, q) != CAIRN_OK) {
            refuse(p->sockets, q, CAIRN_E_BUSY, "");
            drop(p->sockets, q);
        }
    }
}

void cairn_socket_drive(cairn_process *p)
{
    struct cairn_sockets *s = p->sockets;
    cairn_server_frame *frame;

    if (s == NULL) {
        return;
    }
    frame = cairn_server_take(s->server);
    while (frame != NULL) {
        cairn_server_frame *next = frame->next;

        if (frame->what == CAIRN_SERVER_ASKED) {
            ask(p, frame);
        } else {
            take_back(p, frame);
        }
        free(frame);
        frame = next;
    }
    if (s->watches > 0) {
        drive_watches(p);
    }
}

cairn_status cairn_socket_start(cairn_process *p, cairn_error *error)
{
    cairn_error why = {.text = ""};
    cairn_status status;

    if (p->dir[0] == '\0') {
        return CAIRN_OK;
    }
    p->sockets = calloc(1, sizeof *p->sockets);
    if (p->sockets == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: the socket of process %u", p->dir, p->self);
    }
    status = cairn_server_start(&p->sockets->server, p->dir, p->self, p->wake_fd, &why);
    if (status != CAIRN_OK) {
        /* Not every file system can hold a socket, and the job does not need it. */
        fprintf(stderr, "cairn: process %u: %s; `cairn kv` cannot ask this process\n", p->self, why.text);
        free(p->sockets);
        p->sockets = NULL;
    }
    return CAIRN_OK;
}

void cairn_socket_end(cairn_process *p)
{
    struct cairn_sockets *s = p->sockets;

    if (s == NULL) {
        return;
    }
    while (s->questions != NULL) {
        forget(p, s->questions);
    }
    cairn_server_end(s->server);
    free(s->answer.data);
    cairn_storage_free(&s->storage);
    free(s);
    p->sockets = NULL;
}
