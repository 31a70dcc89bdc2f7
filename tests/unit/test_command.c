/* Goal: what is encoded is decoded as it was; what is out of the limits is refused with its reason; no bytes, however
 * cut or changed, do harm.
 * Method: each field and limit once; then random requests and answers, cut at every place and changed at random
 * places. Whatever decodes must encode to the same bytes again. */
#include "coord/command.h"
#include "support/unit.h"

#include <math.h>

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static cairn_status through(const cairn_question *request, cairn_error *error)
{
    cairn_pack pack = {0};
    cairn_question out;
    cairn_storage storage = {0};
    cairn_request_encode(&pack, request);
    CU_ASSERT_FATAL(cairn_pack_ok(&pack));
    cairn_status status = cairn_request_decode(pack.data, pack.bytes, &out, &storage, error);
    cairn_storage_free(&storage);
    free(pack.data);
    return status;
}

static void expect(cairn_status status, cairn_question request, const char *text)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_status got = through(&request, &error);
    if (got != status || strstr(error.text, text) == NULL) {
        fprintf(stderr, "op %u: %s: %s, wanted %s\n", request.op, cairn_status_text(got), error.text, text);
        CU_FAIL("limits");
    }
}

static void command_round_trip(void)
{
    const cairn_compare compares[] = {{CAIRN_COMPARE_MODIFIED, -1, "a", 7, NULL, 0},
                                      {CAIRN_COMPARE_VALUE, 2, "b", 0, "x\0y", 3}};
    const cairn_do then[] = {{CAIRN_DO_PUT, "key", "value", 5, CAIRN_EPHEMERAL}, {CAIRN_DO_DELETE_PREFIX, "", 0, 0, 0}};
    const cairn_do otherwise[] = {{CAIRN_DO_GET, "other", NULL, 0, 0}};
    const cairn_question request = {CAIRN_OP_TXN, 0, 1,   2,   3, 4,
                                    5.5,          6, "k", "v", 1, {compares, then, otherwise, 2, 2, 1}};
    cairn_pack pack = {0};
    cairn_question out;
    cairn_storage storage = {0};
    cairn_error error;
    cairn_request_encode(&pack, &request);
    CU_ASSERT_FATAL(cairn_request_decode(pack.data, pack.bytes, &out, &storage, &error) == CAIRN_OK);
    CU_ASSERT(out.op == CAIRN_OP_TXN && out.session == 1 && out.sequence == 2 && out.acknowledged == 3);
    CU_ASSERT(out.number == 4 && out.ttl == 5.5 && out.nonce == 6 && strcmp(out.key, "k") == 0);
    CU_ASSERT(out.bytes == 1 && memcmp(out.value, "v", 1) == 0);
    CU_ASSERT_FATAL(out.txn.compare_count == 2 && out.txn.then_count == 2 && out.txn.otherwise_count == 1);
    CU_ASSERT(out.txn.compares[0].sign == -1 && out.txn.compares[0].number == 7);
    CU_ASSERT(out.txn.compares[1].bytes == 3 && memcmp(out.txn.compares[1].value, "x\0y", 3) == 0);
    CU_ASSERT(out.txn.then[0].lease == CAIRN_EPHEMERAL && strcmp(out.txn.then[0].key, "key") == 0);
    CU_ASSERT(strcmp(out.txn.then[1].key, "") == 0 && out.txn.otherwise[0].kind == CAIRN_DO_GET);
    cairn_storage_free(&storage);
    free(pack.data);
}

static void answer_round_trip(void)
{
    const cairn_kv kvs[] = {{"a", "1", 1, 2, 3, 4, 5}, {NULL, NULL, 0, 0, 0, 0, 0}};
    const cairn_change changes[] = {{true, {"gone", NULL, 0, 0, 9, 0, 0}}, {false, {"b", "\0\0", 2, 1, 2, 3, 0}}};
    const cairn_response response = {CAIRN_E_MISMATCH, true, false, true, 11, 12, "because", kvs, 2, changes, 2};
    cairn_pack pack = {0};
    cairn_response out;
    cairn_storage storage = {0};
    cairn_error error;
    cairn_response_encode(&pack, &response);
    CU_ASSERT_FATAL(cairn_response_decode(pack.data, pack.bytes, &out, &storage, &error) == CAIRN_OK);
    CU_ASSERT(out.status == CAIRN_E_MISMATCH && out.held && !out.more && out.waiting);
    CU_ASSERT(out.number == 11 && out.revision == 12 && strcmp(out.text, "because") == 0);
    CU_ASSERT_FATAL(out.kv_count == 2 && out.change_count == 2);
    CU_ASSERT(strcmp(out.kvs[0].key, "a") == 0 && out.kvs[0].lease == 5 && out.kvs[1].key == NULL);
    CU_ASSERT(out.changes[0].deleted && out.changes[0].kv.modified == 9 && out.changes[1].kv.bytes == 2);
    for (size_t i = 0; i < pack.bytes; i++) {
        cairn_status status = cairn_response_decode(pack.data, i, &out, &storage, &error);
        CU_ASSERT(status == CAIRN_E_CORRUPT);
    }
    cairn_storage_free(&storage);
    free(pack.data);
}

static void command_limits(void)
{
    static char key[CAIRN_KEY_MAX + 2];
    static const char value[CAIRN_VALUE_MAX + 1];
    static cairn_do dos[CAIRN_TXN_MAX + 1];
    static cairn_compare compares[CAIRN_TXN_MAX + 1];
    const double ttls[] = {0.0, -1.0, 0.09, 86400.5, NAN, INFINITY};
    memset(key, 'k', sizeof key - 1);
    for (size_t i = 0; i <= CAIRN_TXN_MAX; i++) {
        dos[i] = (cairn_do){CAIRN_DO_GET, "k", NULL, 0, 0};
        compares[i] = (cairn_compare){CAIRN_COMPARE_VERSION, 0, "k", 0, NULL, 0};
    }
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_READ, .key = key}, "bytes of a key: 1025");
    expect(CAIRN_OK, (cairn_question){.op = CAIRN_OP_READ, .key = key + 1}, "");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_READ, .key = ""}, "a key is empty");
    expect(CAIRN_OK, (cairn_question){.op = CAIRN_OP_READ, .key = "", .flags = CAIRN_REQUEST_PREFIX}, "");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_READ, .key = "a", .flags = 4}, "flags");
    expect(CAIRN_E_INVALID, (cairn_question){.op = 0}, "unknown operation: 0");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_STATUS + 1}, "unknown operation");
    for (size_t i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
        expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_OPEN, .ttl = ttls[i]}, "time to live");
        expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_GRANT, .ttl = ttls[i]}, "time to live");
    }
    expect(CAIRN_OK, (cairn_question){.op = CAIRN_OP_OPEN, .ttl = 0.1}, "");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_LOCK, .key = "lock"}, "cairn/lock/");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_UNLOCK, .key = "cairn/lock/"}, "cairn/lock/");
    expect(CAIRN_OK, (cairn_question){.op = CAIRN_OP_LOCK, .key = "cairn/election/x"}, "");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_BARRIER, .key = "b", .number = 1ull << 32}, "barrier");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_BARRIER, .number = 2}, "barrier");
    expect(CAIRN_E_INVALID,
           (cairn_question){.op = CAIRN_OP_LOCK, .key = "cairn/lock/x", .value = value, .bytes = sizeof value},
           "bytes of a value: 32769");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.then = dos, .then_count = 129}}, "129");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.otherwise = dos, .otherwise_count = 129}},
           "129");
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.compares = compares, .compare_count = 129}},
           "129");
    expect(
        CAIRN_OK,
        (cairn_question){.op = CAIRN_OP_TXN, .txn = {compares, dos, dos, CAIRN_TXN_MAX, CAIRN_TXN_MAX, CAIRN_TXN_MAX}},
        "");
    dos[3].key = "";
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.then = dos, .then_count = 4}},
           "a key is empty");
    dos[3] = (cairn_do){CAIRN_DO_PUT, "k", value, sizeof value, 0};
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.then = dos, .then_count = 4}}, "value");
    dos[3] = (cairn_do){(cairn_do_kind)9, "k", NULL, 0, 0};
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.then = dos, .then_count = 4}}, "operation");
    compares[0].sign = 3;
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.compares = compares, .compare_count = 1}},
           "sign");
    compares[0] = (cairn_compare){(cairn_compare_kind)6, 0, "k", 0, NULL, 0};
    expect(CAIRN_E_INVALID, (cairn_question){.op = CAIRN_OP_TXN, .txn = {.compares = compares, .compare_count = 1}},
           "kind");
}

static void random_request(cairn_question *request, cairn_compare *compares, cairn_do *dos)
{
    static const char *const keys[] = {"a", "bb", "cairn/lock/x", "a/long/key/with/some/parts"};
    static const char bytes[300] = "value";
    static const uint8_t ops[] = {CAIRN_OP_OPEN, CAIRN_OP_CLOSE, CAIRN_OP_TXN,
                                  CAIRN_OP_LOCK, CAIRN_OP_READ,  CAIRN_OP_WATCH};
    *request = (cairn_question){.op = ops[rng() % sizeof ops],
                                .session = rng() % 9,
                                .sequence = rng(),
                                .ttl = 1,
                                .acknowledged = rng(),
                                .number = rng() % 7,
                                .nonce = rng(),
                                .key = keys[2],
                                .value = bytes,
                                .bytes = rng() % sizeof bytes};
    if (request->op == CAIRN_OP_TXN) {
        request->txn = (cairn_txn){compares, dos, dos + 4, rng() % 4, rng() % 5, rng() % 5};
    }
    for (size_t i = 0; i < 8; i++) {
        dos[i] = (cairn_do){(cairn_do_kind)(1 + rng() % 4), keys[rng() % 4], bytes, rng() % sizeof bytes, rng() % 3};
        compares[i] = (cairn_compare){
            (cairn_compare_kind)(1 + rng() % 5), (int)(rng() % 4) - 1, keys[rng() % 4], rng(), bytes, rng() % 40};
    }
}

/* An exact copy in memory of its own, so that a read past the end is seen. */
static cairn_status decode_copy(const uint8_t *data, size_t bytes, cairn_storage *storage, bool again)
{
    uint8_t *copy = malloc(bytes + 1);
    cairn_question request;
    cairn_error error = {CAIRN_OK, ""};
    CU_ASSERT_FATAL(copy != NULL);
    memmove(copy + 1, data, bytes);
    cairn_status status = cairn_request_decode(copy + 1, bytes, &request, storage, &error);
    CU_ASSERT(status == CAIRN_OK || error.text[0] != '\0');
    if (status == CAIRN_OK && again) {
        cairn_pack pack = {0};
        cairn_request_encode(&pack, &request);
        CU_ASSERT(pack.bytes == bytes && memcmp(pack.data, data, bytes) == 0);
        free(pack.data);
    }
    free(copy);
    return status;
}

static void command_garbage(void)
{
    cairn_storage storage = {0};
    cairn_compare compares[8];
    cairn_do dos[8];
    cairn_question request;
    for (int round = 0; round < 300; round++) {
        cairn_pack pack = {0};
        random_request(&request, compares, dos);
        cairn_request_encode(&pack, &request);
        CU_ASSERT_FATAL(decode_copy(pack.data, pack.bytes, &storage, true) == CAIRN_OK);
        for (size_t i = 0; i < pack.bytes; i += 1 + rng() % 5) {
            CU_ASSERT(decode_copy(pack.data, i, &storage, true) != CAIRN_OK);
        }
        for (int i = 0; i < 100; i++) {
            uint8_t *at = pack.data + rng() % pack.bytes, old = *at;
            *at = (uint8_t)(rng() % 3 == 0 ? 0xff : rng());
            (void)decode_copy(pack.data, pack.bytes, &storage, true);
            *at = old;
        }
        cairn_pack_u8(&pack, 0);
        CU_ASSERT(decode_copy(pack.data, pack.bytes, &storage, true) == CAIRN_E_CORRUPT);
        pack.data[0] = 2;
        CU_ASSERT(decode_copy(pack.data, pack.bytes, &storage, true) == CAIRN_E_VERSION);
        free(pack.data);
    }
    cairn_storage_free(&storage);
}

UNIT_MAIN("command", {"requests come back as they were", command_round_trip},
          {"answers come back as they were", answer_round_trip}, {"limits are refused with a reason", command_limits},
          {"cut and changed bytes do no harm", command_garbage})
