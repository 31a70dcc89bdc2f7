/* cairn kv lock and elect: hold something while a command runs, or until standard input ends.
 *
 * The token is the guard, not this program: a holder that is paused or cut off may lose the lock without knowing.
 * Nothing is killed then; what the command does with the token is refused by whatever checks it. */
#include "cli/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define RELEASE_SECONDS  5.0
#define STATUS_SIGNALLED 128
#define STATUS_NO_EXEC   127

typedef struct hold {
    kv *k;
    char key[CAIRN_KEY_MAX + 1];
    const char *name; /* for messages */
    const void *value;
    size_t bytes;
    uint64_t token;
    sigset_t old;
    int signal_fd;
    pid_t child; /* 0: none */
    int child_status;
    int signal; /* that ends the holding; 0: none */
    bool input_ended, warned;
} hold;

static int take_signals(hold *h)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    cairn_error error;
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&set, numbers[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &set, &h->old);
    h->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (h->signal_fd >= 0) {
        return -1;
    }
    (void)cairn_fail(&error, CAIRN_E_IO, "signalfd: %s", strerror(errno));
    return cairn_cli_fail("kv", &error);
}

/* Signals to this program are for the command, if there is one; what a terminal sends reaches it by itself. */
static void read_signals(hold *h)
{
    struct signalfd_siginfo info;

    while (read(h->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;

        if (number == SIGCHLD) {
            continue;
        }
        if (h->child == 0) {
            h->signal = number;
        } else if (info.ssi_code != SI_KERNEL) {
            (void)kill(h->child, number);
        }
    }
    if (h->child > 0 && waitpid(h->child, &h->child_status, WNOHANG) == h->child) {
        h->child = -1; /* has ended */
    }
}

/* ---------------------------------------------------------------- getting it */

static int acquire(hold *h)
{
    kv *k = h->k;
    cairn_question request = {.op = CAIRN_OP_LOCK, .key = h->key, .value = h->value, .bytes = h->bytes};
    struct pollfd signals = {.fd = h->signal_fd, .events = POLLIN};
    cairn_response response;
    cairn_status status;
    int code = kv_ask(k, &request, true);

    while (code < 0) {
        status = kv_wait(k, k->until, &signals, 1, &response);
        if (status == CAIRN_E_AGAIN) {
            read_signals(h);
            if (h->signal != 0) {
                return STATUS_SIGNALLED + h->signal;
            }
        } else if (status == CAIRN_E_TIMEOUT) {
            fprintf(stderr, "cairn: kv: %s: not granted within %g s\n", h->name, k->options->timeout);
            return CAIRN_EXIT_AGAIN;
        } else if (status != CAIRN_OK) {
            return kv_no_answer(k, status, h->name);
        } else if (response.status == CAIRN_E_BUSY) {
            code = kv_ask(k, &request, true);
        } else if (response.status != CAIRN_OK) {
            return kv_refused(&response, h->name);
        } else {
            h->token = response.number;
            return -1;
        }
    }
    return code;
}

/* ---------------------------------------------------------------- holding it */

static int begin_child(hold *h)
{
    char **words = h->k->options->child;
    char token[32];
    cairn_error error;

    (void)snprintf(token, sizeof token, "%" PRIu64, h->token);
    (void)fflush(NULL);
    h->child = fork();
    if (h->child == 0) {
        (void)sigprocmask(SIG_SETMASK, &h->old, NULL);
        (void)setenv("CAIRN_LOCK_TOKEN", token, 1);
        (void)execvp(words[0], words);
        fprintf(stderr, "cairn: kv: %s: %s\n", words[0], strerror(errno));
        _exit(STATUS_NO_EXEC);
    }
    if (h->child > 0) {
        return -1;
    }
    h->child = 0;
    (void)cairn_fail(&error, CAIRN_E_IO, "fork: %s", strerror(errno));
    return cairn_cli_fail("kv", &error);
}

static int tell_token(const hold *h)
{
    if (h->k->options->json) {
        json_t *object = json_object();

        if (object != NULL) {
            kv_json_bytes(object, "name", h->name, strlen(h->name));
            kv_json_number(object, "token", h->token);
            kv_json_number(object, "session", h->k->session);
        }
        return kv_print_json(object, -1);
    }
    printf("%" PRIu64 "\n", h->token);
    return kv_flush(-1);
}

static void read_input(hold *h)
{
    char bytes[4096];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);

    h->input_ended = got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN);
}

/* Out of touch for the session's time to live: somebody else may have it. */
static void warn_once(hold *h)
{
    if (!h->warned) {
        h->warned = true;
        fprintf(stderr, "cairn: kv: %s: no word from the job for %g s: the lock may be lost%s\n", h->name, h->k->ttl,
                h->child > 0 ? "; the command runs on" : "");
    }
}

static bool is_held_on(const hold *h)
{
    return h->k->options->child != NULL ? h->child > 0 : h->signal == 0 && !h->input_ended;
}

/* Until the command ends, or without one standard input or a signal. The session may be lost meanwhile. */
static void stay(hold *h)
{
    kv *k = h->k;
    bool with_input = k->options->child == NULL;

    while (is_held_on(h)) {
        struct pollfd others[2] = {{.fd = h->signal_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
        double out_of_touch = h->warned ? INFINITY : k->renewed + k->ttl;
        cairn_response response;
        cairn_status status;

        if (k->lost) { /* nothing to keep alive: only the command's end is waited for */
            if (with_input) {
                return;
            }
            (void)poll(others, 1, -1);
            read_signals(h);
            continue;
        }
        status = kv_wait(k, out_of_touch, others, with_input ? 2 : 1, &response);
        if (status == CAIRN_E_AGAIN) {
            read_signals(h);
            if (with_input && others[1].revents != 0) {
                read_input(h);
            }
        } else if (status == CAIRN_E_STATE) {
            fprintf(stderr, "cairn: kv: %s: the session has ended: the lock is lost%s\n", h->name,
                    h->child > 0 ? "; the command runs on" : "");
        } else if (status != CAIRN_OK && cairn_client_now() >= k->renewed + k->ttl) {
            warn_once(h);
        }
    }
}

/* Give it back. Who could give it back held it all the time. */
static bool release(hold *h)
{
    kv *k = h->k;
    cairn_question request = {.op = CAIRN_OP_UNLOCK, .key = h->key, .number = h->token};
    cairn_response response;

    if (k->lost) {
        return false;
    }
    k->until = cairn_client_now() + RELEASE_SECONDS;
    if (kv_call(k, &request, &response, h->name) >= 0) {
        return false;
    }
    if (response.status != CAIRN_OK) {
        (void)kv_refused(&response, h->name);
        return false;
    }
    return true;
}

static int child_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_SIGNALLED + WTERMSIG(status);
}

static int hold_it(hold *h)
{
    int code = h->k->options->child != NULL ? begin_child(h) : tell_token(h);
    bool held;

    if (code < 0) {
        stay(h);
    }
    held = release(h);
    if (code >= 0) {
        return code;
    }
    if (!held) {
        return KV_LOST_STATUS;
    }
    return h->k->options->child != NULL ? child_code(h->child_status) : CAIRN_EXIT_OK;
}

static int run(kv *k, const char *room, const void *value, size_t bytes)
{
    hold h = {.k = k, .name = k->options->words[0], .value = value, .bytes = bytes, .signal_fd = -1};
    int code;

    if ((size_t)snprintf(h.key, sizeof h.key, "cairn/%s/%s", room, h.name) >= sizeof h.key) {
        return cairn_cli_usage_error("kv", "%s: the name is too long", h.name);
    }
    code = take_signals(&h);
    if (code < 0) {
        code = kv_open_session(k, k->options->ttl);
    }
    if (code < 0) {
        code = acquire(&h);
    }
    if (code < 0) {
        code = hold_it(&h);
    }
    if (h.signal_fd >= 0) {
        close(h.signal_fd);
    }
    return code;
}

int kv_lock(kv *k)
{
    return run(k, "lock", NULL, 0);
}

int kv_elect(kv *k)
{
    const char *value = k->options->words[1];

    if (strlen(value) > CAIRN_VALUE_MAX) {
        return cairn_cli_usage_error("kv", "the value is longer than %d bytes", CAIRN_VALUE_MAX);
    }
    return run(k, "election", value, strlen(value));
}
