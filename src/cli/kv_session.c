/* cairn kv: sessions, and questions that are asked until they are answered. */
#include "cli/kv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { SLOT_MAIN, SLOT_ALIVE };

#define CLOSE_SECONDS      1.0
#define BUSY_PAUSE_SECONDS 0.02
#define CHECK_SECONDS      1.0 /* between two looks whether the process that is asked is still there */
#define CHECK_KEY          "cairn/"

int kv_begin(kv *k, const kv_options *options)
{
    cairn_error error;

    memset(k, 0, sizeof *k);
    k->options = options;
    k->until = cairn_client_now() + options->timeout;
    k->alive_at = INFINITY;
    if (cairn_client_open(&k->client, options->dir, &error) != CAIRN_OK) {
        (void)cairn_cli_fail("kv", &error);
        return error.status == CAIRN_E_NOT_FOUND ? CAIRN_EXIT_GAVE_UP : cairn_exit_code(error.status);
    }
    return -1;
}

void kv_end(kv *k)
{
    if (k->session != 0 && !k->lost) {
        cairn_question close = {.op = CAIRN_OP_CLOSE};
        cairn_response response;

        k->alive_at = INFINITY;
        if (kv_ask(k, &close, false) < 0) {
            (void)kv_wait(k, cairn_client_now() + CLOSE_SECONDS, NULL, 0, &response);
        }
    }
    cairn_client_close(k->client);
    k->client = NULL;
}

int kv_no_answer(kv *k, cairn_status status, const char *what)
{
    const char *trouble = cairn_client_trouble(k->client);
    const char *dir = k->options->dir;

    if (status == CAIRN_E_NOT_FOUND) {
        fprintf(stderr, "cairn: kv: %s: no job is running there%s%s%s\n", dir, trouble[0] == '\0' ? "" : " (", trouble,
                trouble[0] == '\0' ? "" : ")");
        return CAIRN_EXIT_GAVE_UP;
    }
    if (status == CAIRN_E_STATE) {
        fprintf(stderr, "cairn: kv: %s: the session ended before the answer came (it was out of touch for %g s)\n",
                what, k->ttl);
        return KV_LOST_STATUS;
    }
    if (status == CAIRN_E_TIMEOUT) {
        fprintf(stderr, "cairn: kv: %s: no answer within %g s%s%s\n", what, k->options->timeout,
                trouble[0] == '\0' ? "" : "; ", trouble);
        return CAIRN_EXIT_AGAIN;
    }
    fprintf(stderr, "cairn: kv: %s: %s\n", what, cairn_status_text(status));
    return cairn_exit_code(status);
}

int kv_refused(const cairn_response *response, const char *what)
{
    fprintf(stderr, "cairn: kv: %s: %s\n", what,
            response->text[0] != '\0' ? response->text : cairn_status_text(response->status));
    return response->status == CAIRN_E_BUSY || response->status == CAIRN_E_PEER ? CAIRN_EXIT_AGAIN : CAIRN_EXIT_FAILURE;
}

int kv_ask(kv *k, cairn_question *request, bool patient)
{
    if (request->op < CAIRN_OP_READ && request->op != CAIRN_OP_OPEN && request->sequence == 0) {
        request->session = k->session;
        request->sequence = ++k->sequence;
        request->acknowledged = request->sequence; /* one at a time: all before are answered */
    }
    if (cairn_client_ask(k->client, SLOT_MAIN, request, patient) != CAIRN_OK) {
        return kv_no_answer(k, CAIRN_E_NOMEM, "asking");
    }
    return -1;
}

/* Keep the session alive. Without one: look whether the process that is asked is with the others. */
static void ask_alive(kv *k, double now)
{
    cairn_question request = {.op = CAIRN_OP_KEEPALIVE, .session = k->session};

    if (k->session == 0) {
        request = (cairn_question){.op = CAIRN_OP_READ, .key = CHECK_KEY};
    }
    k->alive_open = cairn_client_ask(k->client, SLOT_ALIVE, &request, false) == CAIRN_OK;
    k->alive_asked = now;
    k->alive_at = INFINITY;
}

static void take_alive(kv *k, const cairn_response *response)
{
    k->alive_open = false;
    k->alive_at = cairn_client_now() + (k->session == 0 ? CHECK_SECONDS : fmin(CHECK_SECONDS, k->ttl / 3.0));
    if (response->status == CAIRN_OK) {
        k->renewed = k->alive_asked;
    } else if (response->status == CAIRN_E_NOT_FOUND && k->session != 0) {
        k->lost = true;
    }
}

cairn_status kv_wait(kv *k, double until, struct pollfd *others, size_t count, cairn_response *response)
{
    for (;;) {
        double now = cairn_client_now();
        double next = fmin(until, k->alive_at);
        unsigned slot = SLOT_MAIN;
        cairn_status status;

        if (k->lost) {
            return CAIRN_E_STATE;
        }
        if (k->alive_at <= now && now < until) {
            ask_alive(k, now);
            continue;
        }
        status = cairn_client_wait(k->client, next, others, count, &slot, response);
        if (status == CAIRN_E_TIMEOUT && next < until) {
            continue;
        }
        if (status != CAIRN_OK || slot == SLOT_MAIN) {
            return status;
        }
        take_alive(k, response);
    }
}

/* To be asked again: the service had too much to do, or does not know whether a command without a session was done,
 * which for the opening of a session makes no difference. */
static bool is_passing(const cairn_question *request, const cairn_response *response)
{
    return response->status == CAIRN_E_BUSY || (response->status == CAIRN_E_PEER && request->session == 0);
}

int kv_call(kv *k, cairn_question *request, cairn_response *response, const char *what)
{
    cairn_status status;
    int code;

    do {
        code = kv_ask(k, request, false);
        if (code >= 0) {
            return code;
        }
        status = kv_wait(k, k->until, NULL, 0, response);
        if (status == CAIRN_OK && is_passing(request, response) && cairn_client_now() < k->until) {
            double pause = fmin(k->until, cairn_client_now() + BUSY_PAUSE_SECONDS);

            status = kv_wait(k, pause, NULL, 0, response) == CAIRN_E_STATE ? CAIRN_E_STATE : CAIRN_E_AGAIN;
        }
    } while (status == CAIRN_E_AGAIN);
    return status == CAIRN_OK ? -1 : kv_no_answer(k, status, what);
}

int kv_open_session(kv *k, double ttl)
{
    cairn_question request = {.op = CAIRN_OP_OPEN, .ttl = ttl};
    cairn_response response;
    double asked = cairn_client_now();
    int code;

    if (getrandom(&request.nonce, sizeof request.nonce, 0) != (ssize_t)sizeof request.nonce) {
        return kv_no_answer(k, CAIRN_E_IO, "random numbers");
    }
    code = kv_call(k, &request, &response, "opening a session");
    if (code < 0 && response.status != CAIRN_OK) {
        code = kv_refused(&response, "opening a session");
    }
    if (code < 0) {
        k->session = response.number;
        k->ttl = ttl;
        k->renewed = asked;
        k->alive_at = cairn_client_now() + fmin(CHECK_SECONDS, ttl / 3.0);
    }
    return code;
}
