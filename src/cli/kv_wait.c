/* cairn kv watch and barrier: what waits for others. */
#include "cli/kv.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- watch */

static int print_change(const kv *k, const cairn_change *change)
{
    if (k->options->json) {
        json_t *object = json_object();

        if (object != NULL && change->deleted) {
            kv_json_bytes(object, "key", change->kv.key, strlen(change->kv.key));
            kv_json_number(object, "modified", change->kv.modified);
        } else if (object != NULL) {
            json_decref(object);
            object = kv_json(&change->kv);
        }
        if (object != NULL) {
            (void)json_object_set_new(object, "type", json_string(change->deleted ? "delete" : "put"));
        }
        return kv_print_json(object, -1);
    }
    printf("%" PRIu64 "\t%s\t%s", change->kv.modified, change->deleted ? "delete" : "put", change->kv.key);
    if (!change->deleted) {
        (void)putchar('\t');
        kv_print_bytes(change->kv.value, change->kv.bytes);
    }
    (void)putchar('\n');
    return kv_flush(-1);
}

/* From which revision on "now" is: what ended before this command began is not shown. */
static int find_now(kv *k, const char *key, uint64_t *from)
{
    cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = key, .number = 1};
    cairn_response response;
    int code = kv_call(k, &request, &response, key);

    if (code < 0 && response.status != CAIRN_OK) {
        code = kv_refused(&response, key);
    }
    if (code < 0) {
        *from = response.revision + 1;
    }
    return code;
}

/* The answers to one WATCH, until `left` changes are shown or `until`. */
static int follow(kv *k, cairn_question *request, uint64_t left)
{
    const kv_options *options = k->options;
    double until = options->timeout_given ? k->until : INFINITY;
    cairn_response response;
    cairn_status status;
    int code = kv_ask(k, request, true);

    k->alive_at = cairn_client_now(); /* a watch may be silent for long: is the process that is asked still there? */
    while (code < 0 && left > 0) {
        status = kv_wait(k, until, NULL, 0, &response);
        if (status == CAIRN_E_TIMEOUT) {
            fprintf(stderr, "cairn: kv: %s: no further change within %g s\n", request->key, options->timeout);
            return CAIRN_EXIT_AGAIN;
        }
        if (status != CAIRN_OK) {
            return kv_no_answer(k, status, request->key);
        }
        if (response.status == CAIRN_E_BUSY) {
            code = kv_ask(k, request, true);
            continue;
        }
        if (response.status != CAIRN_OK) {
            return kv_refused(&response, request->key);
        }
        for (size_t i = 0; i < response.change_count && left > 0 && code < 0; i++, left--) {
            code = print_change(k, &response.changes[i]);
        }
        request->number = response.number;
        if (cairn_client_amend(k->client, 0, request) != CAIRN_OK) {
            return kv_no_answer(k, CAIRN_E_NOMEM, request->key);
        }
    }
    return code < 0 ? CAIRN_EXIT_OK : code;
}

int kv_watch(kv *k)
{
    const kv_options *options = k->options;
    cairn_question request = {.op = CAIRN_OP_WATCH, .key = options->words[0], .number = options->from};
    int code = options->from == 0 ? find_now(k, request.key, &request.number) : -1;

    request.flags = options->prefix ? CAIRN_REQUEST_PREFIX : 0;
    return code >= 0 ? code : follow(k, &request, options->count == 0 ? UINT64_MAX : options->count);
}

/* ---------------------------------------------------------------- barrier */

int kv_barrier(kv *k)
{
    const kv_options *options = k->options;
    cairn_question request = {.op = CAIRN_OP_BARRIER, .key = options->words[0]};
    cairn_response response;
    cairn_status status = CAIRN_OK;
    int code;

    if (!cairn_cli_number(options->words[1], UINT32_MAX, &request.number)) {
        return cairn_cli_usage_error("kv", "barrier %s %s: how many? a number from 1 on is needed", options->words[0],
                                     options->words[1]);
    }
    code = kv_open_session(k, options->ttl);
    do {
        code = code < 0 ? kv_ask(k, &request, true) : code;
        if (code >= 0) {
            return code;
        }
        status = kv_wait(k, k->until, NULL, 0, &response);
    } while (status == CAIRN_OK && response.status == CAIRN_E_BUSY);
    if (status == CAIRN_E_TIMEOUT) {
        fprintf(stderr, "cairn: kv: %s: %" PRIu64 " were not here together within %g s\n", options->words[0],
                request.number, options->timeout);
        return CAIRN_EXIT_AGAIN;
    }
    if (status != CAIRN_OK) {
        return kv_no_answer(k, status, options->words[0]);
    }
    return response.status == CAIRN_OK ? CAIRN_EXIT_OK : kv_refused(&response, options->words[0]);
}
