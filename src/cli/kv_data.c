/* cairn kv: get, list, put, cas, del, status. */
#include "cli/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_SECONDS 10.0 /* of one write */

/* ---------------------------------------------------------------- reading */

static int print_one(const kv *k, const cairn_kv *entry, uint64_t revision)
{
    if (k->options->json) {
        json_t *object = kv_json(entry);

        if (object != NULL) {
            (void)json_object_set_new(object, "found", json_true());
            kv_json_number(object, "revision", revision);
        }
        return kv_print_json(object, CAIRN_EXIT_OK);
    }
    if (k->options->revision) {
        printf("%" PRIu64 "\t", entry->modified);
    }
    kv_print_bytes(entry->value, entry->bytes);
    (void)putchar('\n');
    return kv_flush(CAIRN_EXIT_OK);
}

/* Lines of key, [revision,] value. */
static int print_many(const kv *k, const cairn_response *response)
{
    int code = CAIRN_EXIT_OK;

    for (size_t i = 0; i < response->kv_count && code == CAIRN_EXIT_OK; i++) {
        const cairn_kv *entry = &response->kvs[i];

        if (k->options->json) {
            code = kv_print_json(kv_json(entry), CAIRN_EXIT_OK);
            continue;
        }
        printf("%s\t", entry->key);
        if (k->options->revision) {
            printf("%" PRIu64 "\t", entry->modified);
        }
        kv_print_bytes(entry->value, entry->bytes);
        (void)putchar('\n');
    }
    return kv_flush(code);
}

static int not_found(const kv *k, const char *key, uint64_t revision)
{
    if (k->options->json) {
        json_t *object = json_object();

        if (object != NULL) {
            kv_json_bytes(object, "key", key, strlen(key));
            (void)json_object_set_new(object, "found", json_false());
            kv_json_number(object, "revision", revision);
        }
        return kv_print_json(object, CAIRN_EXIT_FAILURE);
    }
    fprintf(stderr, "cairn: kv: %s: no such key\n", key);
    return CAIRN_EXIT_FAILURE;
}

static int read_key(kv *k, const char *key, cairn_response *response)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    int code = kv_call(k, &request, response, key);

    if (code < 0 && response->status != CAIRN_OK && response->status != CAIRN_E_NOT_FOUND) {
        code = kv_refused(response, key);
    }
    return code;
}

/* Page by page, since an answer is of a bounded length: what is changed meanwhile may or may not be seen. */
static int read_prefix(kv *k, const char *prefix, uint64_t *shown)
{
    uint64_t limit = k->options->limit == 0 ? UINT64_MAX : k->options->limit;
    char last[CAIRN_KEY_MAX + 1] = "";
    bool more = true;
    int code = CAIRN_EXIT_OK;

    *shown = 0;
    while (more && *shown < limit && code == CAIRN_EXIT_OK) {
        cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefix};
        cairn_response response;

        request.number = limit - *shown < CAIRN_RANGE_MAX ? limit - *shown : CAIRN_RANGE_MAX;
        request.value = last;
        request.bytes = strlen(last);
        code = kv_call(k, &request, &response, prefix);
        if (code < 0 && response.status != CAIRN_OK) {
            code = kv_refused(&response, prefix);
        }
        if (code >= 0) {
            return code;
        }
        code = print_many(k, &response);
        *shown += response.kv_count;
        more = response.more && response.kv_count > 0;
        if (response.kv_count > 0) {
            (void)snprintf(last, sizeof last, "%s", response.kvs[response.kv_count - 1].key);
        }
    }
    if (more && code == CAIRN_EXIT_OK) {
        fprintf(stderr, "cairn: kv: there are further keys; the first %" PRIu64 " are shown\n", *shown);
    }
    return code;
}

int kv_get(kv *k)
{
    const char *key = k->options->words[0];
    cairn_response response;
    uint64_t shown = 0;
    int code;

    if (k->options->prefix) {
        code = read_prefix(k, key, &shown);
        return code == CAIRN_EXIT_OK && shown == 0 ? CAIRN_EXIT_FAILURE : code;
    }
    code = read_key(k, key, &response);
    if (code >= 0) {
        return code;
    }
    if (response.kv_count == 0 || response.status != CAIRN_OK) {
        return not_found(k, key, response.revision);
    }
    return print_one(k, &response.kvs[0], response.revision);
}

int kv_list(kv *k)
{
    uint64_t shown = 0;

    return read_prefix(k, k->options->word_count > 0 ? k->options->words[0] : "", &shown);
}

int kv_leader(kv *k)
{
    char key[CAIRN_KEY_MAX + 1];
    cairn_response response;
    int code;

    (void)snprintf(key, sizeof key, "cairn/election/%s", k->options->words[0]);
    code = read_key(k, key, &response);
    if (code >= 0) {
        return code;
    }
    if (response.kv_count > 0 && response.status == CAIRN_OK) {
        return print_one(k, &response.kvs[0], response.revision);
    }
    if (k->options->json) {
        return not_found(k, key, response.revision);
    }
    fprintf(stderr, "cairn: kv: %s: there is no leader\n", k->options->words[0]);
    return CAIRN_EXIT_FAILURE;
}

int kv_status(kv *k)
{
    cairn_question request = {.op = CAIRN_OP_STATUS};
    cairn_response response;
    json_t *object = k->options->json ? json_object() : NULL;
    int code = kv_call(k, &request, &response, "status");

    if (code < 0 && response.status != CAIRN_OK) {
        code = kv_refused(&response, "status");
    }
    for (size_t i = 0; code < 0 && i < response.kv_count; i++) {
        const cairn_kv *entry = &response.kvs[i];
        char *end = NULL;
        char text[32];

        if (!k->options->json) {
            printf("%-12s ", entry->key);
            kv_print_bytes(entry->value, entry->bytes);
            (void)putchar('\n');
            continue;
        }
        (void)snprintf(text, sizeof text, "%.*s", (int)(entry->bytes < 31 ? entry->bytes : 31),
                       entry->bytes > 0 ? (const char *)entry->value : "");
        if (entry->bytes > 0 && entry->bytes < 19 && strspn(text, "0123456789") == entry->bytes) {
            kv_json_number(object, entry->key, strtoull(text, &end, 10));
        } else {
            kv_json_bytes(object, entry->key, entry->value, entry->bytes);
        }
    }
    if (code < 0) {
        code = k->options->json ? kv_print_json(object, CAIRN_EXIT_OK) : kv_flush(CAIRN_EXIT_OK);
    } else {
        json_decref(object);
    }
    return code;
}

/* ---------------------------------------------------------------- writing */

/* A value of the command line, or standard input for "-". NULL: said. */
static char *read_value(const char *word, size_t *bytes)
{
    char *value = malloc(CAIRN_VALUE_MAX + 1);
    cairn_error error = {.text = ""};

    *bytes = 0;
    if (value == NULL) {
        (void)cairn_fail(&error, CAIRN_E_NOMEM, "out of memory");
    } else if (strcmp(word, "-") != 0) {
        *bytes = strlen(word);
        memcpy(value, word, *bytes <= CAIRN_VALUE_MAX ? *bytes : 0);
    } else {
        *bytes = fread(value, 1, CAIRN_VALUE_MAX + 1, stdin);
        if (ferror(stdin)) {
            (void)cairn_fail(&error, CAIRN_E_IO, "standard input: %s", strerror(errno));
        }
    }
    if (error.text[0] == '\0' && *bytes > CAIRN_VALUE_MAX) {
        (void)cairn_fail(&error, CAIRN_E_INVALID, "the value is longer than %d bytes", CAIRN_VALUE_MAX);
    }
    if (error.text[0] != '\0') {
        (void)cairn_cli_fail("kv", &error);
        free(value);
        return NULL;
    }
    return value;
}

/* One transaction of a session of its own. */
static int transact(kv *k, const char *key, const cairn_txn *txn, cairn_response *response)
{
    cairn_question request = {.op = CAIRN_OP_TXN, .txn = *txn};
    int code = kv_open_session(k, SESSION_SECONDS);

    if (code < 0) {
        code = kv_call(k, &request, response, key);
    }
    if (code < 0 && response->status == CAIRN_E_NOT_FOUND) {
        code = kv_no_answer(k, CAIRN_E_STATE, key);
    } else if (code < 0 && response->status != CAIRN_OK) {
        code = kv_refused(response, key);
    }
    return code;
}

/* The outcome of put, cas, del: `verb` is what JSON calls it. */
static int print_written(const kv *k, const char *key, const char *verb, const cairn_response *response)
{
    int code = response->held ? CAIRN_EXIT_OK : CAIRN_EXIT_FAILURE;
    const cairn_kv *now = response->kv_count > 0 && response->kvs[0].key != NULL && response->kvs[0].modified != 0
                              ? &response->kvs[0]
                              : NULL;

    if (k->options->json) {
        json_t *object = json_object();

        if (object != NULL) {
            kv_json_bytes(object, "key", key, strlen(key));
            (void)json_object_set_new(object, verb, json_boolean(response->held));
            if (!response->held) {
                kv_json_number(object, "modified", now != NULL ? now->modified : 0);
            }
            kv_json_number(object, "revision", response->revision);
        }
        return kv_print_json(object, code);
    }
    if (response->held) {
        printf("%" PRIu64 "\n", response->revision);
    } else if (now != NULL) {
        fprintf(stderr, "cairn: kv: %s: was changed at revision %" PRIu64 "\n", key, now->modified);
    } else {
        fprintf(stderr, "cairn: kv: %s: no such key\n", key);
    }
    return kv_flush(code);
}

/* Put, if the key was changed last at the revision of `compare` (NULL: anyway). */
static int put_if(kv *k, const cairn_compare *compare, const char *verb)
{
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = k->options->words[0]};
    cairn_do get = {.kind = CAIRN_DO_GET, .key = k->options->words[0]};
    cairn_txn txn = {.compares = compare,
                     .compare_count = compare != NULL ? 1 : 0,
                     .then = &put,
                     .then_count = 1,
                     .otherwise = &get,
                     .otherwise_count = compare != NULL ? 1 : 0};
    cairn_response response;
    char *value = read_value(k->options->words[1], &put.bytes);
    int code;

    if (value == NULL) {
        return CAIRN_EXIT_USAGE;
    }
    put.value = value;
    code = transact(k, put.key, &txn, &response);
    code = code >= 0 ? code : print_written(k, put.key, verb, &response);
    free(value);
    return code;
}

int kv_put(kv *k)
{
    return put_if(k, NULL, "put");
}

int kv_cas(kv *k)
{
    cairn_compare compare = {
        .kind = CAIRN_COMPARE_MODIFIED, .key = k->options->words[0], .number = k->options->modified};

    return put_if(k, &compare, "held");
}

int kv_delete(kv *k)
{
    cairn_compare compare = {.kind = CAIRN_COMPARE_MODIFIED, .sign = 2, .key = k->options->words[0]};
    cairn_do delete = {.kind = CAIRN_DO_DELETE, .key = k->options->words[0]};
    cairn_txn txn = {.compares = &compare, .compare_count = 1, .then = &delete, .then_count = 1};
    cairn_response response;
    int code = transact(k, delete.key, &txn, &response);

    return code >= 0 ? code : print_written(k, delete.key, "deleted", &response);
}
