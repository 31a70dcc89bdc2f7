/* cairn kv: what its files share. A session for one command, questions that are asked until they are answered, and how
 * keys and values are shown. */
#ifndef CAIRN_CLI_KV_H
#define CAIRN_CLI_KV_H

#include "cli/common.h"
#include "coord/socket_client.h"

#define KV_LOST_STATUS CAIRN_EXIT_AGAIN

typedef struct kv_options {
    char *dir;
    double timeout; /* seconds; may be infinite */
    bool timeout_given;
    double ttl;
    bool json, prefix, revision, absent, modified_given;
    uint64_t modified, from, count, limit;
    char **words; /* of the command, without its name */
    int word_count;
    char **child; /* behind "--"; NULL: nothing there. NULL-terminated */
} kv_options;

typedef struct kv {
    const kv_options *options;
    cairn_client *client;
    double until; /* of the whole command */
    uint64_t session, sequence;
    double ttl;
    double renewed;  /* when the newest keepalive that was answered was asked, or the session's opening */
    double alive_at; /* the next one */
    double alive_asked;
    bool alive_open, lost; /* lost: the service says that the session has ended */
} kv;

/* --- kv_session.c. Functions that return int: -1 to go on, else the exit code, and the fault was said. --- */
int kv_begin(kv *k, const kv_options *options);
/* Ends the session if there is one (waits a little for that) and the connection. */
void kv_end(kv *k);
/* A session: so that a command is done once, however often it is asked. */
int kv_open_session(kv *k, double ttl);
/* Ask and wait for the answer, whatever its status; commands get the session and a sequence. what: for the fault. */
int kv_call(kv *k, cairn_question *request, cairn_response *response, const char *what);
/* The same in two parts. kv_wait keeps the session alive meanwhile. Its status is that of cairn_client_wait;
 * CAIRN_E_STATE: the session has ended. */
int kv_ask(kv *k, cairn_question *request, bool patient);
cairn_status kv_wait(kv *k, double until, struct pollfd *others, size_t count, cairn_response *response);
/* Say why there is no answer, and the exit code. */
int kv_no_answer(kv *k, cairn_status status, const char *what);
/* Say an answer that is an error, and the exit code. */
int kv_refused(const cairn_response *response, const char *what);

/* --- kv_print.c --- */
void kv_print_bytes(const void *data, size_t bytes);
/* Sets object[name] to a text, or to base64 and object[name_encoding] to "base64". */
void kv_json_bytes(json_t *object, const char *name, const void *data, size_t bytes);
json_t *kv_json(const cairn_kv *entry);
void kv_json_number(json_t *object, const char *name, uint64_t value);
/* One line. Frees. Returns the exit code: `code`, or why it could not be printed. */
int kv_print_json(json_t *object, int code);
/* Standard output is written, or the exit code of that. */
int kv_flush(int code);

/* --- the commands; return the exit code --- */
int kv_get(kv *k);
int kv_list(kv *k);
int kv_put(kv *k);
int kv_cas(kv *k);
int kv_delete(kv *k);
int kv_watch(kv *k);
int kv_lock(kv *k);
int kv_elect(kv *k);
int kv_leader(kv *k);
int kv_barrier(kv *k);
int kv_status(kv *k);

#endif
