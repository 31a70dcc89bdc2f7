/* Bytes that come from elsewhere: requests, answers and whole states. The first byte says which. Whatever decodes must
 * encode to the same bytes again; a request is also applied to a small state, which must be as good as new after it
 * went through bytes. A state gets its checksum here, so that reading goes on behind it. */
#include "base/checksum.h"
#include "coord/state.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void same(const cairn_pack *pack, const uint8_t *data, size_t bytes, const char *what)
{
    must(pack->bytes == bytes && memcmp(pack->data, data, bytes) == 0, what);
}

static void try_state(const uint8_t *data, size_t bytes)
{
    cairn_pack whole = {0}, again = {0};
    cairn_state_machine *state = NULL;
    cairn_error error = {CAIRN_OK, ""};
    cairn_digest digest = cairn_digest_of(data, bytes);

    cairn_pack_bytes(&whole, data, bytes);
    cairn_pack_u64(&whole, digest.high);
    cairn_pack_u64(&whole, digest.low);
    if (cairn_state_load(whole.data, whole.bytes, &state, &error) == CAIRN_OK) {
        must(cairn_state_save(state, &again) == CAIRN_OK, "no memory");
        same(&again, whole.data, whole.bytes, "a state that was loaded is saved with other bytes");
        cairn_state_free(state);
    } else {
        must(error.text[0] != '\0', "a state is refused without a word");
    }
    free(whole.data);
    free(again.data);
}

/* Two sessions, a lock that one holds and the other awaits, a barrier, a key with a lease. */
static cairn_state_machine *small_state(void)
{
    static const cairn_do put = {CAIRN_DO_PUT, "a", "1", 1, CAIRN_EPHEMERAL};
    const cairn_question commands[] = {
        {.op = CAIRN_OP_OPEN, .ttl = 1, .nonce = 1},
        {.op = CAIRN_OP_OPEN, .ttl = 1, .nonce = 2},
        {.op = CAIRN_OP_LOCK, .session = 1, .sequence = 1, .key = "cairn/lock/l"},
        {.op = CAIRN_OP_LOCK, .session = 2, .sequence = 1, .key = "cairn/lock/l"},
        {.op = CAIRN_OP_BARRIER, .session = 2, .sequence = 2, .key = "b", .number = 2},
        {.op = CAIRN_OP_TXN, .session = 1, .sequence = 2, .txn = {.then = &put, .then_count = 1}},
    };
    cairn_state_machine *state = cairn_state_new();
    cairn_applied applied;

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        must(cairn_state_apply(state, &commands[i], &applied) == CAIRN_OK, "no memory");
    }
    return state;
}

static void try_request(const uint8_t *data, size_t bytes)
{
    cairn_storage storage = {0};
    cairn_question request;
    cairn_error error = {CAIRN_OK, ""};

    if (cairn_request_decode(data, bytes, &request, &storage, &error) == CAIRN_OK) {
        cairn_state_machine *state = small_state();
        cairn_applied applied;
        cairn_response response;
        cairn_pack pack = {0}, saved = {0};

        cairn_request_encode(&pack, &request);
        same(&pack, data, bytes, "a request has two encodings");
        must(cairn_state_apply(state, &request, &applied) == CAIRN_OK, "no memory");
        must(cairn_state_read(state, &request, &response) == CAIRN_OK, "no memory");
        must(cairn_state_watch(state, &request, &response) == CAIRN_OK, "no memory");
        must(cairn_state_save(state, &saved) == CAIRN_OK, "no memory");
        try_state(saved.data, saved.bytes - 16);
        cairn_state_machine *loaded = NULL;
        must(cairn_state_load(saved.data, saved.bytes, &loaded, &error) == CAIRN_OK, "a state cannot be loaded again");
        cairn_state_free(loaded);
        cairn_state_free(state);
        free(saved.data);
        free(pack.data);
    } else {
        must(error.text[0] != '\0', "a request is refused without a word");
    }
    cairn_storage_free(&storage);
}

static void try_response(const uint8_t *data, size_t bytes)
{
    cairn_storage storage = {0};
    cairn_response response;
    cairn_error error = {CAIRN_OK, ""};

    if (cairn_response_decode(data, bytes, &response, &storage, &error) == CAIRN_OK) {
        cairn_pack pack = {0};

        cairn_response_encode(&pack, &response);
        same(&pack, data, bytes, "an answer has two encodings");
        free(pack.data);
    } else {
        must(error.text[0] != '\0', "an answer is refused without a word");
    }
    cairn_storage_free(&storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1) {
        return 0;
    }
    /* A copy of its own, so that a read behind its end is seen. */
    uint8_t *copy = malloc(bytes);
    must(copy != NULL, "no memory");
    memcpy(copy, data, bytes);
    switch (copy[0] % 3) {
    case 0:
        try_request(copy + 1, bytes - 1);
        break;
    case 1:
        try_response(copy + 1, bytes - 1);
        break;
    default:
        try_state(copy + 1, bytes - 1);
        break;
    }
    free(copy);
    return 0;
}
