/* A coordination service for tests, without MPI and consensus: one state machine behind the sockets of a few
 * "processes", each of which can be made to fall silent. No time passes in it: sessions end when a test says so. */
#ifndef CAIRN_TESTS_SUPPORT_COORD_STAND_IN_H
#define CAIRN_TESTS_SUPPORT_COORD_STAND_IN_H

#include "coord/socket_server.h"
#include "coord/state.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STAND_IN_PROCESSES 3
#define STAND_IN_OPEN_MAX  64

/* What a process does with a request. */
typedef enum stand_in_mode {
    STAND_IN_ANSWERS,
    STAND_IN_SILENT, /* nothing at all                        */
    STAND_IN_MUTE,   /* it is applied, but nobody hears of it */
    STAND_IN_LOSES,  /* so it is with transactions; all else is answered */
    STAND_IN_LEFT    /* it says that it has left the service */
} stand_in_mode;

/* A lock or a barrier that is waited for, or a watch (key not NULL). */
typedef struct stand_in_open {
    int process;
    uint64_t client, id, session, sequence;
    char *key;
    bool prefix;
    uint64_t from;
} stand_in_open;

typedef struct stand_in {
    pthread_t thread;
    pthread_mutex_t mutex;
    atomic_bool stop;
    int wake_fd;
    cairn_server *servers[STAND_IN_PROCESSES];
    atomic_int modes[STAND_IN_PROCESSES];
    atomic_int asked[STAND_IN_PROCESSES];
    cairn_state_machine *state; /* under mutex, as all below */
    stand_in_open open[STAND_IN_OPEN_MAX];
    size_t open_count;
} stand_in;

/* The answer to a transaction is lost in a process that loses them. */
static bool stand_in_is_lost(stand_in *s, int process, uint8_t op)
{
    return atomic_load(&s->modes[process]) == STAND_IN_LOSES && op == CAIRN_OP_TXN;
}

static void stand_in_answer(stand_in *s, int process, uint64_t client, uint64_t id, const cairn_response *response,
                            bool last)
{
    cairn_pack pack = {0};

    cairn_response_encode(&pack, response);
    if (s->servers[process] != NULL && atomic_load(&s->modes[process]) != STAND_IN_MUTE) {
        cairn_server_answer(s->servers[process], client, id, pack.data, pack.bytes, last);
    }
    free(pack.data);
}

static void stand_in_remove(stand_in *s, size_t at)
{
    free(s->open[at].key);
    s->open[at] = s->open[--s->open_count];
}

static void stand_in_watch(stand_in *s, stand_in_open *o, bool first)
{
    cairn_question request = {.op = CAIRN_OP_WATCH, .key = o->key, .number = o->from};
    cairn_response response;

    request.flags = o->prefix ? CAIRN_REQUEST_PREFIX : 0;
    if (cairn_state_watch(s->state, &request, &response) == CAIRN_OK && (response.change_count > 0 || first)) {
        o->from = response.number;
        stand_in_answer(s, o->process, o->client, o->id, &response, response.status != CAIRN_OK);
    }
}

static void stand_in_apply(stand_in *s, const cairn_question *request, cairn_response *response)
{
    cairn_applied applied;

    if (cairn_state_apply(s->state, request, &applied) != CAIRN_OK) {
        abort();
    }
    *response = applied.response;
    for (size_t i = 0; i < applied.completion_count; i++) {
        for (size_t o = s->open_count; o-- > 0;) {
            if (s->open[o].key == NULL && s->open[o].session == applied.completions[i].session &&
                s->open[o].sequence == applied.completions[i].sequence) {
                stand_in_answer(s, s->open[o].process, s->open[o].client, s->open[o].id,
                                &applied.completions[i].response, true);
                stand_in_remove(s, o);
            }
        }
    }
}

static void stand_in_request(stand_in *s, int process, const cairn_server_frame *frame)
{
    static const cairn_kv status[] = {{.key = "leader", .value = "1", .bytes = 1},
                                      {.key = "ballot", .value = "3.1", .bytes = 3}};
    cairn_storage storage = {0};
    cairn_question request;
    cairn_response response = {.status = CAIRN_OK, .text = ""};
    stand_in_open open = {.process = process, .client = frame->client, .id = frame->id};
    cairn_error error;

    if (atomic_load(&s->modes[process]) == STAND_IN_LEFT) {
        request = (cairn_question){.op = CAIRN_OP_STATUS};
        response = (cairn_response){.status = CAIRN_E_IO, .text = "has left"};
    } else if (cairn_request_decode(frame->data, frame->bytes, &request, &storage, &error) != CAIRN_OK) {
        response = (cairn_response){.status = error.status, .text = error.text};
    } else if (request.op < CAIRN_OP_READ) {
        stand_in_apply(s, &request, &response);
    } else if (request.op == CAIRN_OP_READ) {
        (void)cairn_state_read(s->state, &request, &response);
    } else if (request.op == CAIRN_OP_KEEPALIVE) {
        cairn_lease_view lease;

        response.status = cairn_state_lease(s->state, request.session, &lease) ? CAIRN_OK : CAIRN_E_NOT_FOUND;
    } else if (request.op == CAIRN_OP_STATUS) {
        response.kvs = status;
        response.kv_count = 2;
    }
    open.session = request.session;
    open.sequence = request.sequence;
    if (request.op == CAIRN_OP_WATCH) {
        open.key = strdup(request.key);
        open.prefix = (request.flags & CAIRN_REQUEST_PREFIX) != 0;
        open.from = request.number;
        stand_in_watch(s, &open, true);
    }
    if ((request.op == CAIRN_OP_WATCH || response.waiting) && s->open_count < STAND_IN_OPEN_MAX) {
        s->open[s->open_count++] = open;
    } else if (!stand_in_is_lost(s, process, request.op)) {
        stand_in_answer(s, process, frame->client, frame->id, &response, true);
    }
    cairn_storage_free(&storage);
}

static void stand_in_take(stand_in *s, int process)
{
    cairn_server_frame *frame = s->servers[process] == NULL ? NULL : cairn_server_take(s->servers[process]);

    while (frame != NULL) {
        cairn_server_frame *next = frame->next;

        if (frame->what == CAIRN_SERVER_ASKED) {
            atomic_fetch_add(&s->asked[process], 1);
        }
        if (frame->what == CAIRN_SERVER_ASKED && atomic_load(&s->modes[process]) != STAND_IN_SILENT) {
            stand_in_request(s, process, frame);
        }
        for (size_t o = s->open_count; frame->what != CAIRN_SERVER_ASKED && o-- > 0;) {
            if (s->open[o].client == frame->client && s->open[o].process == process &&
                (frame->what == CAIRN_SERVER_GONE || s->open[o].id == frame->id)) {
                stand_in_remove(s, o);
            }
        }
        free(frame);
        frame = next;
    }
}

static void *stand_in_main(void *argument)
{
    stand_in *s = argument;

    while (!atomic_load(&s->stop)) {
        struct pollfd wake = {.fd = s->wake_fd, .events = POLLIN};
        uint64_t count;

        (void)poll(&wake, 1, -1);
        (void)!read(s->wake_fd, &count, sizeof count);
        (void)pthread_mutex_lock(&s->mutex);
        for (int i = 0; i < STAND_IN_PROCESSES; i++) {
            stand_in_take(s, i);
        }
        for (size_t o = 0; o < s->open_count; o++) {
            if (s->open[o].key != NULL) {
                stand_in_watch(s, &s->open[o], false);
            }
        }
        (void)pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

/* All sessions end, as if their clients had been out of touch. Returns how many. */
static inline int stand_in_expire(stand_in *s)
{
    int count = 0;

    (void)pthread_mutex_lock(&s->mutex);
    for (uint64_t id = 0; id < 10000; id++) {
        cairn_lease_view lease;

        if (cairn_state_lease(s->state, id, &lease)) {
            cairn_question request = {.op = CAIRN_OP_EXPIRE, .number = id};
            cairn_response response;

            stand_in_apply(s, &request, &response);
            count++;
        }
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return count;
}

/* false: what failed is on stderr. */
static inline bool stand_in_begin(stand_in *s, const char *dir)
{
    cairn_error error;

    memset(s, 0, sizeof *s);
    s->state = cairn_state_new();
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&s->mutex, NULL);
    for (uint32_t i = 0; i < STAND_IN_PROCESSES; i++) {
        if (cairn_server_start(&s->servers[i], dir, i, s->wake_fd, &error) != CAIRN_OK) {
            fprintf(stderr, "%s\n", error.text);
            return false;
        }
    }
    return s->state != NULL && pthread_create(&s->thread, NULL, stand_in_main, s) == 0;
}

/* A process dies: its socket is closed. */
static inline void stand_in_kill(stand_in *s, int process)
{
    (void)pthread_mutex_lock(&s->mutex);
    cairn_server_end(s->servers[process]);
    s->servers[process] = NULL;
    (void)pthread_mutex_unlock(&s->mutex);
}

static inline void stand_in_end(stand_in *s)
{
    uint64_t one = 1;

    atomic_store(&s->stop, true);
    (void)!write(s->wake_fd, &one, sizeof one);
    (void)pthread_join(s->thread, NULL);
    for (int i = 0; i < STAND_IN_PROCESSES; i++) {
        cairn_server_end(s->servers[i]);
    }
    while (s->open_count > 0) {
        stand_in_remove(s, 0);
    }
    cairn_state_free(s->state);
    close(s->wake_fd);
    (void)pthread_mutex_destroy(&s->mutex);
}

#endif
