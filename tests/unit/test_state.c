/* Goal: every rule of the coordination service that state.h and coord.h tell: revisions, transactions, leases, sessions
 * and their exactly-once requests, locks, barriers, watches, and the state as bytes.
 * Method: each rule by a few commands. test_state_model.c has the random runs against a plain model. */
#include "base/checksum.h"
#include "coord/state.h"
#include "support/unit.h"

static cairn_state_machine *s;
static cairn_applied a;
static cairn_response r;

static void begin(void)
{
    s = cairn_state_new();
    CU_ASSERT_FATAL(s != NULL);
}

static void end(void)
{
    cairn_state_free(s);
}

static cairn_status apply(cairn_question command)
{
    CU_ASSERT_FATAL(cairn_state_apply(s, &command, &a) == CAIRN_OK);
    r = a.response;
    return r.status;
}

static cairn_status txn(uint64_t session, uint64_t sequence, cairn_txn txn)
{
    return apply((cairn_question){.op = CAIRN_OP_TXN, .session = session, .sequence = sequence, .txn = txn});
}

static cairn_status put_lease(uint64_t session, uint64_t sequence, const char *key, const char *value, uint64_t lease)
{
    const cairn_do put = {CAIRN_DO_PUT, key, value, strlen(value), lease};
    return txn(session, sequence, (cairn_txn){.then = &put, .then_count = 1});
}

static cairn_status put(uint64_t session, uint64_t sequence, const char *key, const char *value)
{
    return put_lease(session, sequence, key, value, 0);
}

static cairn_status delete (uint64_t session, uint64_t sequence, const char *key)
{
    const cairn_do one = {CAIRN_DO_DELETE, key, NULL, 0, 0};
    return txn(session, sequence, (cairn_txn){.then = &one, .then_count = 1});
}

static uint64_t open_session(uint64_t nonce)
{
    CU_ASSERT_FATAL(apply((cairn_question){.op = CAIRN_OP_OPEN, .ttl = 5, .nonce = nonce}) == CAIRN_OK);
    return r.number;
}

static cairn_status simple(cairn_request_op op, uint64_t session, uint64_t sequence, const char *key, uint64_t number)
{
    return apply((cairn_question){
        .op = (uint8_t)op, .session = session, .sequence = sequence, .key = key, .number = number, .ttl = 1});
}

static cairn_status lock(uint64_t session, uint64_t sequence, const char *key, const char *value, uint64_t number)
{
    return apply((cairn_question){.op = CAIRN_OP_LOCK,
                                  .session = session,
                                  .sequence = sequence,
                                  .key = key,
                                  .number = number,
                                  .value = value,
                                  .bytes = strlen(value)});
}

static cairn_status get(const char *key)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    CU_ASSERT_FATAL(cairn_state_read(s, &request, &r) == CAIRN_OK);
    return r.status;
}

static cairn_status range(const char *prefix, uint64_t limit, const char *behind)
{
    cairn_question request = {.op = CAIRN_OP_READ,
                              .flags = CAIRN_REQUEST_PREFIX,
                              .key = prefix,
                              .number = limit,
                              .value = behind,
                              .bytes = strlen(behind)};
    CU_ASSERT_FATAL(cairn_state_read(s, &request, &r) == CAIRN_OK);
    return r.status;
}

static cairn_status watch(const char *key, bool prefix, uint64_t from)
{
    cairn_question request = {
        .op = CAIRN_OP_WATCH, .flags = prefix ? CAIRN_REQUEST_PREFIX : 0, .key = key, .number = from};
    CU_ASSERT_FATAL(cairn_state_watch(s, &request, &r) == CAIRN_OK);
    return r.status;
}

static bool is(const cairn_kv *kv, const char *key, const char *value)
{
    return kv->key != NULL && strcmp(kv->key, key) == 0 && kv->bytes == strlen(value) &&
           memcmp(kv->value, value, kv->bytes) == 0;
}

static void through_bytes(void)
{
    cairn_pack pack = {0}, again = {0};
    cairn_state_machine *loaded = NULL;
    cairn_error error = {CAIRN_OK, ""};
    CU_ASSERT_FATAL(cairn_state_save(s, &pack) == CAIRN_OK);
    if (cairn_state_load(pack.data, pack.bytes, &loaded, &error) != CAIRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        CU_FAIL_FATAL("load");
    }
    CU_ASSERT_FATAL(cairn_state_save(loaded, &again) == CAIRN_OK);
    CU_ASSERT(pack.bytes == again.bytes && memcmp(pack.data, again.data, pack.bytes) == 0);
    cairn_state_free(s);
    s = loaded;
    free(pack.data);
    free(again.data);
}

static void state_revisions(void)
{
    begin();
    CU_ASSERT(get("a") == CAIRN_E_NOT_FOUND && r.revision == 0);
    CU_ASSERT(put(0, 0, "a", "1") == CAIRN_OK && r.revision == 1 && r.held);
    CU_ASSERT(put(0, 0, "b", "2") == CAIRN_OK && r.revision == 2);
    CU_ASSERT(put(0, 0, "a", "3") == CAIRN_OK && r.revision == 3);
    CU_ASSERT(get("a") == CAIRN_OK && r.kv_count == 1 && is(r.kvs, "a", "3"));
    CU_ASSERT(r.kvs->created == 1 && r.kvs->modified == 3 && r.kvs->version == 2 && r.kvs->lease == 0);
    CU_ASSERT(delete (0, 0, "none") == CAIRN_OK && r.revision == 3); /* nothing changed */
    CU_ASSERT(delete (0, 0, "a") == CAIRN_OK && r.revision == 4);
    CU_ASSERT(get("a") == CAIRN_E_NOT_FOUND && r.revision == 4 && strstr(r.text, "a") != NULL);
    CU_ASSERT(put(0, 0, "a", "") == CAIRN_OK && get("a") == CAIRN_OK);
    CU_ASSERT(r.kvs->created == 5 && r.kvs->version == 1 && r.kvs->bytes == 0);
    CU_ASSERT(cairn_state_revision(s) == 5 && cairn_state_key_count(s) == 2);
    end();
}

static void state_transactions(void)
{
    begin();
    (void)put(0, 0, "a", "1");
    (void)put(0, 0, "b", "2");
    const cairn_compare yes[] = {
        {CAIRN_COMPARE_MODIFIED, 0, "a", 1, NULL, 0},   {CAIRN_COMPARE_VALUE, 0, "b", 0, "2", 1},
        {CAIRN_COMPARE_CREATED, 0, "none", 0, NULL, 0}, {CAIRN_COMPARE_VERSION, 1, "b", 0, NULL, 0},
        {CAIRN_COMPARE_VALUE, -1, "a", 0, "10", 2},     {CAIRN_COMPARE_VALUE, 2, "none", 0, "", 0}};
    const cairn_compare no[] = {{CAIRN_COMPARE_VALUE, 0, "none", 0, "", 0}};
    const cairn_do then[] = {{CAIRN_DO_GET, "a", 0, 0, 0},    {CAIRN_DO_PUT, "a", "x", 1, 0},
                             {CAIRN_DO_GET, "a", 0, 0, 0},    {CAIRN_DO_PUT, "a", "y", 1, 0},
                             {CAIRN_DO_DELETE, "b", 0, 0, 0}, {CAIRN_DO_GET, "b", 0, 0, 0}};
    const cairn_do otherwise[] = {{CAIRN_DO_GET, "a", 0, 0, 0}};
    CU_ASSERT(txn(0, 0, (cairn_txn){yes, then, otherwise, 6, 6, 1}) == CAIRN_OK && r.held && r.revision == 3);
    CU_ASSERT_FATAL(r.kv_count == 3);
    CU_ASSERT(is(&r.kvs[0], "a", "1") && is(&r.kvs[1], "a", "x") && r.kvs[2].key == NULL);
    CU_ASSERT(get("a") == CAIRN_OK && is(r.kvs, "a", "y") && r.kvs->version == 3 && r.kvs->modified == 3);
    CU_ASSERT(txn(0, 0, (cairn_txn){no, then, otherwise, 1, 6, 1}) == CAIRN_OK && !r.held && r.revision == 3);
    CU_ASSERT(r.kv_count == 1 && is(r.kvs, "a", "y"));
    CU_ASSERT(watch("", true, 3) == CAIRN_OK && r.change_count == 3 && r.changes[2].deleted);
    end();
}

static void state_delete_prefix(void)
{
    begin();
    const char *const keys[] = {"a", "b/1", "b/2", "b0", "cairn/x", "c"};
    for (size_t i = 0; i < 6; i++) {
        (void)put(0, 0, keys[i], "v");
    }
    uint64_t session = open_session(1);
    (void)lock(session, 1, "cairn/lock/l", "", 0);
    const cairn_do one = {CAIRN_DO_DELETE_PREFIX, "b/", 0, 0, 0}, all = {CAIRN_DO_DELETE_PREFIX, "", 0, 0, 0};
    const cairn_do own = {CAIRN_DO_DELETE_PREFIX, "cairn/", 0, 0, 0};
    CU_ASSERT(txn(session, 2, (cairn_txn){.then = &one, .then_count = 1}) == CAIRN_OK);
    CU_ASSERT(range("", 0, "") == CAIRN_OK && r.kv_count == 5);
    CU_ASSERT(txn(session, 3, (cairn_txn){.then = &own, .then_count = 1}) == CAIRN_E_ACCESS);
    CU_ASSERT(txn(session, 4, (cairn_txn){.then = &all, .then_count = 1}) == CAIRN_OK);
    CU_ASSERT(range("", 0, "") == CAIRN_OK && r.kv_count == 2 && strcmp(r.kvs[1].key, "cairn/x") == 0);
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = &own, .then_count = 1}) == CAIRN_OK);
    CU_ASSERT(range("", 0, "") == CAIRN_OK && r.kv_count == 1); /* the lock is LOCK's and UNLOCK's */
    through_bytes();
    end();
}

static void state_own_keys(void)
{
    begin();
    uint64_t session = open_session(1);
    const cairn_do both[] = {{CAIRN_DO_PUT, "a", "v", 1, 0}, {CAIRN_DO_PUT, "cairn/a", "v", 1, 0}};
    const cairn_compare no = {CAIRN_COMPARE_VERSION, 0, "a", 7, NULL, 0};
    CU_ASSERT(put(session, 1, "cairn/a", "v") == CAIRN_E_ACCESS);
    CU_ASSERT(txn(session, 2, (cairn_txn){.then = both, .then_count = 2}) == CAIRN_E_ACCESS);
    CU_ASSERT(get("a") == CAIRN_E_NOT_FOUND); /* all or nothing */
    CU_ASSERT(txn(session, 3, (cairn_txn){&no, both, NULL, 1, 2, 0}) == CAIRN_E_ACCESS);
    CU_ASSERT(put(0, 0, "cairn/a", "v") == CAIRN_OK && put(session, 4, "cairnx", "v") == CAIRN_OK);
    CU_ASSERT(put(0, 0, "cairn/lock/a", "v") == CAIRN_E_ACCESS && delete (0, 0, "cairn/election/a") == CAIRN_E_ACCESS);
    CU_ASSERT(delete (session, 5, "cairn/a") == CAIRN_E_ACCESS && delete (0, 0, "cairn/a") == CAIRN_OK);
    end();
}

static void state_ranges(void)
{
    static char big[CAIRN_VALUE_MAX + 1];
    begin();
    for (int i = 999; i >= 0; i--) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%03d", i);
        (void)put(0, 0, key, "v");
    }
    CU_ASSERT(range("k", 0, "") == CAIRN_OK && r.kv_count == 1000 && !r.more);
    for (size_t i = 1; i < r.kv_count; i++) {
        CU_ASSERT(strcmp(r.kvs[i - 1].key, r.kvs[i].key) < 0);
    }
    CU_ASSERT(range("k1", 10, "") == CAIRN_OK && r.kv_count == 10 && r.more && strcmp(r.kvs[9].key, "k109") == 0);
    CU_ASSERT(range("k1", 100, "k109") == CAIRN_OK && r.kv_count == 90 && !r.more && strcmp(r.kvs[0].key, "k110") == 0);
    CU_ASSERT(range("k1", 0, "a") == CAIRN_OK && r.kv_count == 100);
    CU_ASSERT(range("x", 0, "") == CAIRN_OK && r.kv_count == 0 && !r.more);
    memset(big, 'v', sizeof big - 1);
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "big%02d", i);
        (void)put(0, 0, key, big);
    }
    CU_ASSERT(range("big", 0, "") == CAIRN_OK && r.more && r.kv_count == 7);
    cairn_do gets[20];
    for (int i = 0; i < 20; i++) {
        gets[i] = (cairn_do){CAIRN_DO_GET, "big01", NULL, 0, 0};
    }
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = gets, .then_count = 8}) == CAIRN_OK && r.kv_count == 8);
    gets[0] = (cairn_do){CAIRN_DO_DELETE, "k000", NULL, 0, 0};
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = gets, .then_count = 20}) == CAIRN_E_TRUNCATED && r.kv_count == 0);
    CU_ASSERT(get("k000") == CAIRN_OK);
    end();
}

static void state_leases(void)
{
    cairn_lease_view view;
    begin();
    uint64_t session = open_session(1), other = open_session(2);
    CU_ASSERT(session != other && open_session(1) == session && a.repeated);
    CU_ASSERT(simple(CAIRN_OP_GRANT, session, 1, NULL, 0) == CAIRN_OK);
    uint64_t lease = r.number;
    CU_ASSERT(cairn_state_lease(s, lease, &view) && view.session == session && view.ttl == 1 && view.keys == 0);
    CU_ASSERT(put_lease(session, 2, "a", "1", lease) == CAIRN_OK && put_lease(session, 3, "b", "1", lease) == CAIRN_OK);
    CU_ASSERT(put_lease(session, 4, "e", "1", CAIRN_EPHEMERAL) == CAIRN_OK);
    CU_ASSERT(get("e") == CAIRN_OK && r.kvs->lease == session);
    CU_ASSERT(put_lease(other, 1, "c", "1", lease) == CAIRN_E_NOT_FOUND && strstr(r.text, "lease") != NULL);
    CU_ASSERT(put_lease(session, 5, "c", "1", 99) == CAIRN_E_NOT_FOUND && get("c") == CAIRN_E_NOT_FOUND);
    CU_ASSERT(put_lease(0, 0, "c", "1", CAIRN_EPHEMERAL) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(put(session, 6, "b", "2") == CAIRN_OK); /* the key leaves the lease */
    CU_ASSERT(cairn_state_lease(s, lease, &view) && view.keys == 1);
    through_bytes();
    CU_ASSERT(simple(CAIRN_OP_REVOKE, other, 2, NULL, lease) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(simple(CAIRN_OP_REVOKE, session, 7, NULL, session) == CAIRN_E_NOT_FOUND);
    uint64_t before = cairn_state_revision(s);
    CU_ASSERT(simple(CAIRN_OP_REVOKE, session, 8, NULL, lease) == CAIRN_OK && r.revision == before + 1);
    CU_ASSERT(get("a") == CAIRN_E_NOT_FOUND && get("b") == CAIRN_OK && !cairn_state_lease(s, lease, &view));
    CU_ASSERT(simple(CAIRN_OP_GRANT, session, 9, NULL, 0) == CAIRN_OK);
    lease = r.number;
    (void)put_lease(session, 10, "f", "1", lease);
    CU_ASSERT(simple(CAIRN_OP_EXPIRE, other, 3, NULL, session) == CAIRN_E_ACCESS);
    CU_ASSERT(simple(CAIRN_OP_EXPIRE, 0, 0, NULL, 1234) == CAIRN_E_NOT_FOUND);
    before = cairn_state_revision(s);
    CU_ASSERT(simple(CAIRN_OP_EXPIRE, 0, 0, NULL, session) == CAIRN_OK && r.revision == before + 1);
    CU_ASSERT(get("e") == CAIRN_E_NOT_FOUND && get("f") == CAIRN_E_NOT_FOUND && get("b") == CAIRN_OK);
    CU_ASSERT(!cairn_state_lease(s, session, &view) && !cairn_state_lease(s, lease, &view));
    CU_ASSERT(put(session, 11, "x", "1") == CAIRN_E_NOT_FOUND && strstr(r.text, "has ended") != NULL);
    CU_ASSERT(put(lease, 1, "x", "1") == CAIRN_E_NOT_FOUND);
    CU_ASSERT(simple(CAIRN_OP_GRANT, 0, 0, NULL, 0) == CAIRN_E_INVALID);
    CU_ASSERT(open_session(1) > lease); /* ids are never used again */
    CU_ASSERT(watch("", true, before + 1) == CAIRN_OK && r.change_count == 2);
    CU_ASSERT(r.changes[0].deleted && strcmp(r.changes[0].kv.key, "e") == 0 && strcmp(r.changes[1].kv.key, "f") == 0);
    CU_ASSERT(r.changes[0].kv.modified == before + 1 && r.changes[1].kv.modified == before + 1);
    end();
}

static cairn_status put_acknowledged(uint64_t session, uint64_t sequence, uint64_t acknowledged)
{
    const cairn_do one = {CAIRN_DO_PUT, "n", "v", 1, 0};
    return apply((cairn_question){.op = CAIRN_OP_TXN,
                                  .session = session,
                                  .sequence = sequence,
                                  .acknowledged = acknowledged,
                                  .txn = {.then = &one, .then_count = 1}});
}

static void state_exactly_once(void)
{
    begin();
    uint64_t session = open_session(1);
    CU_ASSERT(put_acknowledged(session, 3, 1) == CAIRN_OK && r.revision == 1 && !a.repeated);
    CU_ASSERT(put_acknowledged(session, 1, 1) == CAIRN_OK && r.revision == 2); /* any order */
    CU_ASSERT(put(0, 0, "x", "v") == CAIRN_OK);
    CU_ASSERT(put_acknowledged(session, 3, 1) == CAIRN_OK && r.revision == 1 && r.held && a.repeated);
    through_bytes();
    CU_ASSERT(put_acknowledged(session, 1, 1) == CAIRN_OK && r.revision == 2 && a.repeated);
    CU_ASSERT(cairn_state_revision(s) == 3);
    /* Refusals are remembered as well, with their words. */
    CU_ASSERT(put(session, 4, "cairn/x", "v") == CAIRN_E_ACCESS && !a.repeated);
    CU_ASSERT(put(session, 4, "fine", "v") == CAIRN_E_ACCESS && a.repeated && strstr(r.text, "cairn/x") != NULL);
    /* So are the keys that were found. */
    const cairn_do gets = {CAIRN_DO_GET, "n", 0, 0, 0};
    CU_ASSERT(txn(session, 5, (cairn_txn){.then = &gets, .then_count = 1}) == CAIRN_OK && is(r.kvs, "n", "v"));
    CU_ASSERT(put(0, 0, "n", "new") == CAIRN_OK);
    through_bytes();
    CU_ASSERT(txn(session, 5, (cairn_txn){.then = &gets, .then_count = 1}) == CAIRN_OK && r.kv_count == 1);
    CU_ASSERT(is(r.kvs, "n", "v") && r.kvs->modified == 2);
    /* What is acknowledged is forgotten. */
    CU_ASSERT(put_acknowledged(session, 6, 5) == CAIRN_OK && !a.repeated);
    uint64_t revision = cairn_state_revision(s);
    CU_ASSERT(put_acknowledged(session, 3, 1) == CAIRN_E_STATE && put_acknowledged(session, 2, 1) == CAIRN_E_STATE);
    CU_ASSERT(put_acknowledged(session, 5, 1) == CAIRN_OK && a.repeated);
    CU_ASSERT(cairn_state_revision(s) == revision);
    end();
}

static void state_remembers_so_much(void)
{
    begin();
    uint64_t session = open_session(1);
    for (uint64_t i = 1; i <= 4096; i++) {
        CU_ASSERT(put_acknowledged(session, i, 1) == CAIRN_OK);
    }
    CU_ASSERT(put_acknowledged(session, 5000, 1) == CAIRN_E_BUSY && put_acknowledged(session, 17, 1) == CAIRN_OK);
    CU_ASSERT(a.repeated);
    through_bytes();
    CU_ASSERT(put_acknowledged(session, 5000, 1) == CAIRN_E_BUSY);
    CU_ASSERT(put_acknowledged(session, 5000, 3) == CAIRN_OK && !a.repeated);
    CU_ASSERT(put_acknowledged(session, 5001, 3) == CAIRN_OK && put_acknowledged(session, 5002, 3) == CAIRN_E_BUSY);
    end();
}

static void state_remembers_so_many_bytes(void)
{
    static char big[CAIRN_VALUE_MAX + 1];
    cairn_do gets[8];
    uint64_t sequence = 2;
    begin();
    uint64_t session = open_session(1);
    memset(big, 'v', sizeof big - 1);
    (void)put(session, 1, "big", big);
    for (size_t i = 0; i < 8; i++) {
        gets[i] = (cairn_do){CAIRN_DO_GET, "big", NULL, 0, 0};
    }
    while (txn(session, sequence, (cairn_txn){.then = gets, .then_count = 8}) == CAIRN_OK && sequence < 100) {
        sequence++;
    }
    CU_ASSERT(r.status == CAIRN_E_BUSY && sequence == 65 + 1);
    through_bytes();
    CU_ASSERT(put_acknowledged(session, sequence, 1) == CAIRN_E_BUSY && put_acknowledged(session, 1, 1) == CAIRN_OK);
    CU_ASSERT(put_acknowledged(session, sequence, 4) == CAIRN_OK);
    (void)txn(session, 200, (cairn_txn){.then = gets, .then_count = 8});
    (void)txn(session, 201, (cairn_txn){.then = gets, .then_count = 8});
    CU_ASSERT(put_acknowledged(session, 202, 4) == CAIRN_E_BUSY);
    CU_ASSERT(simple(CAIRN_OP_CLOSE, session, 203, NULL, 0) == CAIRN_OK);
    end();
}

static void state_locks(void)
{
    static const char key[] = "cairn/lock/l";
    begin();
    uint64_t one = open_session(1), two = open_session(2), three = open_session(3), four = open_session(4);
    CU_ASSERT(lock(one, 1, "l", "", 0) == CAIRN_E_INVALID && lock(0, 1, key, "", 0) == CAIRN_E_INVALID);
    CU_ASSERT(lock(one, 2, key, "first", 0) == CAIRN_OK && !r.waiting && r.number == 1 && r.revision == 1);
    CU_ASSERT(get(key) == CAIRN_OK && is(r.kvs, key, "first") && r.kvs->lease == one && r.kvs->modified == 1);
    CU_ASSERT(lock(one, 3, key, "", 0) == CAIRN_E_STATE && lock(two, 1, key, "", 1) == CAIRN_E_BUSY);
    CU_ASSERT(lock(two, 2, key, "second", 0) == CAIRN_OK && r.waiting && a.completion_count == 0);
    CU_ASSERT(lock(two, 2, key, "second", 0) == CAIRN_OK && r.waiting && a.repeated);
    CU_ASSERT(lock(two, 3, key, "", 0) == CAIRN_E_STATE);
    CU_ASSERT(lock(three, 1, key, "third", 0) == CAIRN_OK && r.waiting);
    CU_ASSERT(lock(four, 1, key, "fourth", 0) == CAIRN_OK && r.waiting);
    through_bytes();
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, two, 4, key, 1) == CAIRN_E_MISMATCH); /* another's token */
    CU_ASSERT(put(0, 0, "x", "v") == CAIRN_OK);
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, one, 4, key, 1) == CAIRN_OK && r.revision == 3);
    CU_ASSERT_FATAL(a.completion_count == 1);
    CU_ASSERT(a.completions[0].session == two && a.completions[0].sequence == 2);
    CU_ASSERT(a.completions[0].response.status == CAIRN_OK && a.completions[0].response.number == 3);
    CU_ASSERT(a.completions[0].response.revision == 3);
    CU_ASSERT(lock(two, 2, key, "second", 0) == CAIRN_OK && a.repeated && !r.waiting && r.number == 3);
    CU_ASSERT(get(key) == CAIRN_OK && is(r.kvs, key, "second") && r.kvs->created == 3 && r.kvs->version == 1);
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, one, 5, key, 1) == CAIRN_E_MISMATCH);
    CU_ASSERT(strstr(r.text, "token 1 is no longer good: the lock is held with 3") != NULL);
    /* The third gives up; the end of the second's session gives it to the fourth. */
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, three, 2, key, 0) == CAIRN_OK && a.completion_count == 1);
    CU_ASSERT(a.completions[0].session == three && a.completions[0].response.status == CAIRN_E_TIMEOUT);
    CU_ASSERT(lock(three, 1, key, "third", 0) == CAIRN_E_TIMEOUT && a.repeated);
    through_bytes();
    CU_ASSERT(simple(CAIRN_OP_EXPIRE, 0, 0, NULL, two) == CAIRN_OK && a.completion_count == 1);
    CU_ASSERT(a.completions[0].session == four && a.completions[0].response.number == 4);
    CU_ASSERT(get(key) == CAIRN_OK && is(r.kvs, key, "fourth") && r.kvs->lease == four);
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, four, 2, key, 0) == CAIRN_OK && get(key) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, four, 3, key, 4) == CAIRN_E_MISMATCH && strstr(r.text, "free") != NULL);
    CU_ASSERT(simple(CAIRN_OP_UNLOCK, four, 4, key, 0) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(lock(four, 5, key, "", 1) == CAIRN_OK && r.number > 4);
    CU_ASSERT(watch(key, false, 1) == CAIRN_OK && r.change_count == 7);
    end();
}

static void state_waiters_end(void)
{
    static const char first[] = "cairn/lock/a", second[] = "cairn/election/b";
    begin();
    uint64_t one = open_session(1), two = open_session(2), three = open_session(3);
    (void)lock(one, 1, first, "", 0);
    (void)lock(one, 2, second, "", 0);
    (void)lock(two, 1, first, "", 0);
    (void)lock(two, 2, second, "", 0);
    (void)lock(three, 1, second, "leader", 0);
    CU_ASSERT(simple(CAIRN_OP_BARRIER, two, 3, "b", 3) == CAIRN_OK && r.waiting);
    through_bytes();
    CU_ASSERT(simple(CAIRN_OP_CLOSE, two, 4, NULL, 0) == CAIRN_OK && a.completion_count == 3);
    for (size_t i = 0; i < a.completion_count; i++) {
        CU_ASSERT(a.completions[i].session == two && a.completions[i].response.status == CAIRN_E_NOT_FOUND);
    }
    through_bytes();
    uint64_t before = cairn_state_revision(s);
    CU_ASSERT(simple(CAIRN_OP_CLOSE, one, 3, NULL, 0) == CAIRN_OK && a.completion_count == 1);
    CU_ASSERT(r.revision == before + 1 && a.completions[0].session == three);
    CU_ASSERT(a.completions[0].response.number == before + 1);
    CU_ASSERT(get(first) == CAIRN_E_NOT_FOUND && get(second) == CAIRN_OK && is(r.kvs, second, "leader"));
    through_bytes();
    end();
}

static void state_barriers(void)
{
    begin();
    uint64_t one = open_session(1), two = open_session(2), three = open_session(3);
    for (uint64_t round = 0; round < 2; round++) {
        uint64_t n = round * 10;
        CU_ASSERT(simple(CAIRN_OP_BARRIER, one, n + 1, "b", 3) == CAIRN_OK && r.waiting);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, one, n + 1, "b", 3) == CAIRN_OK && r.waiting && a.repeated);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, one, n + 2, "b", 3) == CAIRN_E_STATE);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, two, n + 1, "b", 2) == CAIRN_E_MISMATCH);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, two, n + 2, "b", 3) == CAIRN_OK && r.waiting);
        through_bytes();
        CU_ASSERT(simple(CAIRN_OP_BARRIER, two, n + 3, "b", 0) == CAIRN_OK && a.completion_count == 1);
        CU_ASSERT(a.completions[0].sequence == n + 2 && a.completions[0].response.status == CAIRN_E_TIMEOUT);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, two, n + 4, "b", 0) == CAIRN_E_NOT_FOUND);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, two, n + 5, "b", 3) == CAIRN_OK && r.waiting);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, three, n + 1, "b", 3) == CAIRN_OK && !r.waiting && a.completion_count == 2);
        CU_ASSERT(a.completions[0].session == one && a.completions[1].session == two);
        CU_ASSERT(a.completions[0].response.status == CAIRN_OK && !a.completions[0].response.waiting);
        CU_ASSERT(simple(CAIRN_OP_BARRIER, one, n + 1, "b", 3) == CAIRN_OK && !r.waiting && a.repeated);
    }
    CU_ASSERT(simple(CAIRN_OP_BARRIER, one, 30, "alone", 1) == CAIRN_OK && !r.waiting);
    CU_ASSERT(simple(CAIRN_OP_BARRIER, one, 31, "b", 2) == CAIRN_OK && r.waiting);
    CU_ASSERT(simple(CAIRN_OP_EXPIRE, 0, 0, NULL, one) == CAIRN_OK && a.completion_count == 1);
    CU_ASSERT(simple(CAIRN_OP_BARRIER, two, 30, "b", 2) == CAIRN_OK && r.waiting); /* the dead one left it */
    CU_ASSERT(cairn_state_revision(s) == 0);
    end();
}

static void state_watches(void)
{
    begin();
    for (int i = 0; i < 600; i++) {
        const cairn_do three[] = {
            {CAIRN_DO_PUT, "w/a", "1", 1, 0}, {CAIRN_DO_PUT, "w/b", "2", 1, 0}, {CAIRN_DO_PUT, "x", "3", 1, 0}};
        CU_ASSERT(txn(0, 0, (cairn_txn){.then = three, .then_count = 3}) == CAIRN_OK);
    }
    CU_ASSERT(watch("w/", true, 0) == CAIRN_OK && r.change_count == 0 && r.number == 601);
    CU_ASSERT(watch("w/", true, 900) == CAIRN_OK && r.change_count == 0 && r.number == 900); /* not here yet */
    uint64_t from = 1, seen = 0;
    while (from <= 600) {
        CU_ASSERT(watch("", true, from) == CAIRN_OK && r.change_count <= CAIRN_CHANGES_MAX);
        CU_ASSERT_FATAL(r.number > from && r.change_count % 3 == 0); /* no revision is split */
        for (size_t i = 0; i < r.change_count; i++) {
            CU_ASSERT(r.changes[i].kv.modified == seen / 3 + 1);
            seen++;
        }
        from = r.number;
    }
    CU_ASSERT(seen == 1800 && !r.more && from == 601);
    CU_ASSERT(watch("x", false, 599) == CAIRN_OK && r.change_count == 2);
    CU_ASSERT(watch("w", false, 1) == CAIRN_OK && r.change_count == 0 && r.number == 601);
    for (int i = 0; i < CAIRN_HISTORY_MAX - 1; i++) {
        (void)put(0, 0, "y", "v");
    }
    through_bytes();
    /* One change of revision 600 would still be there, but not all of them. */
    CU_ASSERT(watch("", true, 600) == CAIRN_E_RANGE && r.number == 601 && strstr(r.text, "601 is the oldest") != NULL);
    CU_ASSERT(watch("", true, 601) == CAIRN_OK && r.change_count == CAIRN_CHANGES_MAX && r.more && r.number == 857);
    /* A key that no change tells of any more is still there to be answered while it goes. */
    const cairn_do last[] = {{CAIRN_DO_GET, "w/a", 0, 0, 0}, {CAIRN_DO_DELETE, "w/a", 0, 0, 0}};
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = last, .then_count = 2}) == CAIRN_OK && is(r.kvs, "w/a", "1"));
    end();
}

static void state_history_length(void)
{
    begin();
    for (int i = 0; i < CAIRN_HISTORY_MAX; i++) {
        (void)put(0, 0, "y", "v");
    }
    CU_ASSERT(watch("y", false, 1) == CAIRN_OK && r.changes[0].kv.modified == 1);
    (void)put(0, 0, "y", "v");
    CU_ASSERT(watch("y", false, 1) == CAIRN_E_RANGE && watch("y", false, 2) == CAIRN_OK);
    through_bytes();
    CU_ASSERT(watch("y", false, 1) == CAIRN_E_RANGE && watch("y", false, 2) == CAIRN_OK);
    /* Large values make it shorter. */
    static char big[CAIRN_VALUE_MAX + 1];
    memset(big, 'v', sizeof big - 1);
    for (int i = 0; i < 1100; i++) {
        (void)put(0, 0, "y", big);
    }
    uint64_t last = cairn_state_revision(s);
    CU_ASSERT(watch("y", false, last - 1050) == CAIRN_E_RANGE && watch("y", false, last - 1000) == CAIRN_OK);
    CU_ASSERT(r.change_count == 7 && r.more);
    through_bytes();
    end();
}

static void state_wide_revisions(void)
{
    begin();
    for (int i = 0; i < CAIRN_HISTORY_MAX + 10; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%05d", i);
        (void)put(0, 0, key, "v");
    }
    const cairn_do some = {CAIRN_DO_DELETE_PREFIX, "000", 0, 0, 0}, all = {CAIRN_DO_DELETE_PREFIX, "", 0, 0, 0};
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = &some, .then_count = 1}) == CAIRN_OK);
    uint64_t revision = r.revision;
    for (int i = 1000; i < 1300; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%05d", i);
        (void)put(0, 0, key, "v");
    }
    CU_ASSERT(watch("", true, revision) == CAIRN_OK && r.change_count == CAIRN_CHANGES_MAX);
    const cairn_do thousand = {CAIRN_DO_DELETE_PREFIX, "01", 0, 0, 0};
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = &thousand, .then_count = 1}) == CAIRN_OK);
    CU_ASSERT(watch("", true, r.revision) == CAIRN_OK && r.change_count == 1000); /* one revision is never split */
    CU_ASSERT(txn(0, 0, (cairn_txn){.then = &all, .then_count = 1}) == CAIRN_OK && cairn_state_key_count(s) == 0);
    revision = r.revision;
    (void)put(0, 0, "a", "v");
    through_bytes();
    CU_ASSERT(watch("", true, revision + 1) == CAIRN_OK && r.change_count == 1);
    end();
}

static char told[500];

static cairn_status load_status(const void *data, size_t bytes)
{
    cairn_state_machine *loaded = NULL;
    cairn_error error = {CAIRN_OK, ""};
    uint8_t *copy = malloc(bytes + 1); /* so that a read behind the end is seen */
    memcpy(copy + 1, data, bytes);
    cairn_status status = cairn_state_load(copy + 1, bytes, &loaded, &error);
    CU_ASSERT((status == CAIRN_OK) == (loaded != NULL) && (status == CAIRN_OK) == (error.text[0] == '\0'));
    (void)snprintf(told, sizeof told, "%s", error.text);
    cairn_state_free(loaded);
    free(copy);
    return status;
}

static void seal(cairn_pack *pack)
{
    cairn_digest digest = cairn_digest_of(pack->data, pack->bytes - 16);
    pack->bytes -= 16;
    cairn_pack_u64(pack, digest.high);
    cairn_pack_u64(pack, digest.low);
}

static void state_damaged(void)
{
    cairn_pack pack = {0};
    size_t refused = 0;
    begin();
    uint64_t one = open_session(1), two = open_session(2);
    (void)put_lease(one, 1, "a", "1", CAIRN_EPHEMERAL);
    (void)lock(one, 2, "cairn/lock/l", "v", 0);
    (void)lock(two, 1, "cairn/lock/l", "v", 0);
    (void)simple(CAIRN_OP_BARRIER, two, 2, "b", 2);
    (void)delete (0, 0, "a");
    (void)put(two, 3, "cairn/x", "refused");
    CU_ASSERT_FATAL(cairn_state_save(s, &pack) == CAIRN_OK);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_OK);
    for (size_t i = 0; i < pack.bytes; i++) {
        CU_ASSERT(load_status(pack.data, i) == CAIRN_E_CORRUPT);
        pack.data[i] ^= (uint8_t)(1 << i % 8);
        CU_ASSERT(load_status(pack.data, pack.bytes) == (i == 12 || i == 13 ? CAIRN_E_VERSION : CAIRN_E_CORRUPT));
        pack.data[i] ^= (uint8_t)(1 << i % 8);
    }
    /* With a good checksum: most of it is still impossible, and what is not does no harm. */
    for (size_t i = 14; i + 16 < pack.bytes; i++) {
        uint8_t old = pack.data[i];
        for (unsigned bit = 0; bit < 8; bit += 3) {
            pack.data[i] = (uint8_t)(old ^ 1u << bit);
            seal(&pack);
            refused += load_status(pack.data, pack.bytes) != CAIRN_OK;
        }
        pack.data[i] = old;
    }
    CU_ASSERT(refused > pack.bytes);
    free(pack.data);
    end();
}

/* The n-th place of this text in the bytes. */
static uint8_t *find(cairn_pack *pack, const char *text, int n)
{
    uint8_t *at = pack->data;
    for (; at != NULL && n > 0; n--) {
        at = memmem(at + 1, (size_t)(pack->data + pack->bytes - at - 1), text, strlen(text));
    }
    CU_ASSERT_FATAL(at != NULL);
    return at;
}

/* Whole bytes of states that cannot be. */
static void state_impossible(void)
{
    static const char key[] = "cairn/lock/l";
    cairn_pack pack = {0};
    begin();
    uint64_t one = open_session(1), two = open_session(2);
    (void)put(0, 0, "key-1", "v");
    (void)put(0, 0, "key-2", "v");
    (void)lock(one, 1, key, "v", 0);
    (void)lock(two, 1, key, "v", 0);
    CU_ASSERT_FATAL(cairn_state_save(s, &pack) == CAIRN_OK);
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_OK);
    uint8_t *first = find(&pack, "key-1", 1), *second = find(&pack, "key-2", 1);
    first[4] = '2'; /* twice the same key, then the wrong order */
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_E_CORRUPT && strstr(told, "a key out of order") != NULL);
    second[4] = '1';
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_E_CORRUPT && strstr(told, "a key out of order") != NULL);
    first[4] = '1';
    second[4] = '2';
    uint8_t *holder = find(&pack, key, 2) + strlen(key), *waiter = holder + 8 + 8 + 8 + 4;
    CU_ASSERT(*holder == one && *waiter == two);
    *waiter = (uint8_t)one;
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_E_CORRUPT && strstr(told, "impossible wait") != NULL);
    *waiter = (uint8_t)two;
    *holder = (uint8_t)two;
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_E_CORRUPT);
    *holder = (uint8_t)one;
    seal(&pack);
    CU_ASSERT(load_status(pack.data, pack.bytes) == CAIRN_OK);
    free(pack.data);
    end();
}

static void state_no_commands(void)
{
    begin();
    uint64_t session = open_session(1);
    CU_ASSERT(simple(CAIRN_OP_READ, session, 1, "a", 0) == CAIRN_E_INVALID);
    CU_ASSERT(simple(CAIRN_OP_STATUS, 0, 0, "a", 0) == CAIRN_E_INVALID);
    CU_ASSERT(apply((cairn_question){.op = CAIRN_OP_OPEN, .ttl = 0.01, .nonce = 7}) == CAIRN_E_INVALID);
    CU_ASSERT(simple(CAIRN_OP_BARRIER, session, 2, "", 3) == CAIRN_E_INVALID);
    end();
}

UNIT_MAIN("state", {"revisions", state_revisions}, {"transactions", state_transactions},
          {"deleting a prefix", state_delete_prefix}, {"Cairn's own keys", state_own_keys}, {"ranges", state_ranges},
          {"leases and sessions", state_leases}, {"requests are applied once", state_exactly_once},
          {"so many answers are remembered", state_remembers_so_much},
          {"so many bytes of them", state_remembers_so_many_bytes}, {"locks", state_locks},
          {"who waits may end", state_waiters_end}, {"barriers", state_barriers}, {"watches", state_watches},
          {"how far back watches can go", state_history_length}, {"revisions of many changes", state_wide_revisions},
          {"damaged states", state_damaged}, {"impossible states", state_impossible},
          {"what is no command", state_no_commands})
