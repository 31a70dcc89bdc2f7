/* Keys, transactions, leases. */
#include "process/coord_handle.h"

#include <stdlib.h>
#include <string.h>

#define RANGE_TRIES 100

/* ---------------------------------------------------------------- reading */

static cairn_status get(cairn_coord *c, const char *key, cairn_kv *out, uint64_t *revision)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    coord_question *q = NULL;
    cairn_status status = coord_call(c, &request, c->deadline, key, &q);

    if (status != CAIRN_OK) {
        return status;
    }
    if (q->kv_count == 0) {
        return coord_fail(c, CAIRN_E_NOT_FOUND, "%s: no such key", key);
    }
    *out = q->kvs[0];
    if (revision != NULL) {
        *revision = q->revision;
    }
    return CAIRN_OK;
}

cairn_status cairn_coord_get(cairn_coord *c, const char *key, cairn_kv *out, uint64_t *revision)
{
    cairn_status status = coord_enter(c);

    if (status == CAIRN_OK) {
        status = coord_key_is_good(c, key, false) ? get(c, key, out, revision) : CAIRN_E_INVALID;
    }
    return coord_leave(c, status);
}

cairn_status cairn_coord_leader(cairn_coord *c, const char *name, cairn_kv *out)
{
    char key[CAIRN_KEY_MAX + 1];
    cairn_status status = coord_enter(c);

    if (status == CAIRN_OK) {
        status = coord_place_key(c, key, "election", name);
    }
    if (status == CAIRN_OK) {
        status = get(c, key, out, NULL);
    }
    return coord_leave(c, status);
}

static cairn_status add_page(cairn_coord *c, const coord_question *q, size_t *count)
{
    size_t needed = *count + q->kv_count;

    if (needed > c->range_room) {
        size_t room = needed * 2;
        cairn_kv *range = realloc(c->range, room * sizeof *range);

        if (range == NULL) {
            return coord_fail(c, CAIRN_E_NOMEM, "%zu keys", needed);
        }
        c->range = range;
        c->range_room = room;
    }
    if (q->kv_count > 0) {
        memcpy(c->range + *count, q->kvs, q->kv_count * sizeof *q->kvs);
    }
    *count = needed;
    return CAIRN_OK;
}

/* Page by page: an answer is of a bounded length. CAIRN_E_AGAIN: something was changed in between. */
static cairn_status read_pages(cairn_coord *c, const char *prefix, size_t limit, size_t *count, bool *more)
{
    uint64_t revision = 0;
    cairn_status status = CAIRN_OK;

    *count = 0;
    *more = true;
    while (status == CAIRN_OK && *more && *count < limit) {
        cairn_question request = {
            .op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefix, .number = limit - *count};
        coord_question *q = NULL;

        if (*count > 0) {
            request.value = c->range[*count - 1].key;
            request.bytes = strlen(c->range[*count - 1].key);
        }
        status = coord_call(c, &request, c->deadline, prefix, &q);
        if (status == CAIRN_OK && *count > 0 && q->revision != revision) {
            return CAIRN_E_AGAIN;
        }
        if (status == CAIRN_OK) {
            revision = q->revision;
            *more = q->more && q->kv_count > 0;
            status = add_page(c, q, count);
        }
    }
    return status;
}

cairn_status cairn_coord_range(cairn_coord *c, const char *prefix, size_t limit, const cairn_kv **out, size_t *count,
                               bool *more)
{
    cairn_status status = coord_enter(c);
    size_t got = 0;
    bool further = false;

    limit = limit == 0 || limit > CAIRN_RANGE_MAX ? CAIRN_RANGE_MAX : limit;
    if (status == CAIRN_OK && !coord_key_is_good(c, prefix, true)) {
        status = CAIRN_E_INVALID;
    }
    if (status == CAIRN_OK) {
        status = CAIRN_E_AGAIN;
    }
    for (int i = 0; i < RANGE_TRIES && status == CAIRN_E_AGAIN; i++) {
        coord_forget_answers(c);
        status = read_pages(c, prefix, limit, &got, &further);
    }
    if (status == CAIRN_E_AGAIN) {
        status = coord_fail(c, CAIRN_E_BUSY, "%s: too many changes while so many keys were read", prefix);
    }
    if (status == CAIRN_OK) {
        *out = c->range;
        *count = got;
        if (more != NULL) {
            *more = further;
        }
    }
    return coord_leave(c, status);
}

/* ---------------------------------------------------------------- writing */

static bool ops_are_good(cairn_coord *c, const cairn_do *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind < CAIRN_DO_PUT || ops[i].kind > CAIRN_DO_GET) {
            (void)coord_fail(c, CAIRN_E_INVALID, "operation %zu is of no known kind", i);
            return false;
        }
        if (!coord_key_is_good(c, ops[i].key, ops[i].kind == CAIRN_DO_DELETE_PREFIX)) {
            return false;
        }
        if (ops[i].kind == CAIRN_DO_PUT && ops[i].bytes > CAIRN_VALUE_MAX) {
            (void)coord_fail(c, CAIRN_E_INVALID, "%s: a value has at most %d bytes, not %zu", ops[i].key,
                             CAIRN_VALUE_MAX, ops[i].bytes);
            return false;
        }
    }
    return true;
}

static bool txn_is_good(cairn_coord *c, const cairn_txn *txn)
{
    if (txn->compare_count > CAIRN_TXN_MAX || txn->then_count > CAIRN_TXN_MAX || txn->otherwise_count > CAIRN_TXN_MAX) {
        (void)coord_fail(c, CAIRN_E_INVALID, "a transaction has at most %d comparisons, and operations of a branch",
                         CAIRN_TXN_MAX);
        return false;
    }
    for (size_t i = 0; i < txn->compare_count; i++) {
        const cairn_compare *compare = &txn->compares[i];

        if (compare->kind < CAIRN_COMPARE_MODIFIED || compare->kind > CAIRN_COMPARE_LEASE || compare->sign < -1 ||
            compare->sign > 2 || compare->bytes > CAIRN_VALUE_MAX) {
            (void)coord_fail(c, CAIRN_E_INVALID, "comparison %zu is of no known kind or sign, or too long", i);
            return false;
        }
        if (!coord_key_is_good(c, compare->key, false)) {
            return false;
        }
    }
    return ops_are_good(c, txn->then, txn->then_count) && ops_are_good(c, txn->otherwise, txn->otherwise_count);
}

static void name_lease(const cairn_coord *c, cairn_do *to, const cairn_do *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        to[i].lease = from[i].lease == CAIRN_EPHEMERAL ? c->session : from[i].lease;
    }
}

static cairn_status transact(cairn_coord *c, const cairn_txn *txn, const char *what, coord_question **q)
{
    cairn_do then[CAIRN_TXN_MAX], otherwise[CAIRN_TXN_MAX];
    cairn_question request = {.op = CAIRN_OP_TXN, .txn = *txn};

    if (!txn_is_good(c, txn)) {
        return CAIRN_E_INVALID;
    }
    name_lease(c, then, txn->then, txn->then_count);
    name_lease(c, otherwise, txn->otherwise, txn->otherwise_count);
    request.txn.then = then;
    request.txn.otherwise = otherwise;
    return coord_call(c, &request, c->deadline, what, q);
}

/* One operation, if the comparison (NULL: none) holds; *held false: it did not. */
static cairn_status change(cairn_coord *c, const cairn_compare *compare, const cairn_do *then, bool *held,
                           uint64_t *revision)
{
    const cairn_txn txn = {
        .compares = compare, .compare_count = compare != NULL ? 1 : 0, .then = then, .then_count = 1};
    coord_question *q = NULL;
    cairn_status status = transact(c, &txn, then->key == NULL ? "" : then->key, &q);

    if (status == CAIRN_OK) {
        *held = q->held || compare == NULL;
        if (*held && revision != NULL) {
            *revision = q->revision;
        }
    }
    return status;
}

cairn_status cairn_coord_put(cairn_coord *c, const char *key, const void *value, size_t bytes, uint64_t lease,
                             uint64_t *revision)
{
    const cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = bytes, .lease = lease};
    cairn_status status = coord_enter(c);
    bool held = false;

    return coord_leave(c, status == CAIRN_OK ? change(c, NULL, &put, &held, revision) : status);
}

cairn_status cairn_coord_delete(cairn_coord *c, const char *key, uint64_t *revision)
{
    const cairn_compare there = {.kind = CAIRN_COMPARE_MODIFIED, .sign = 2, .key = key};
    const cairn_do delete = {.kind = CAIRN_DO_DELETE, .key = key};
    cairn_status status = coord_enter(c);
    bool held = false;

    if (status == CAIRN_OK) {
        status = change(c, &there, &delete, &held, revision);
    }
    if (status == CAIRN_OK && !held) {
        status = coord_fail(c, CAIRN_E_NOT_FOUND, "%s: no such key", key);
    }
    return coord_leave(c, status);
}

cairn_status cairn_coord_cas(cairn_coord *c, const char *key, uint64_t modified, const void *value, size_t bytes,
                             uint64_t lease, uint64_t *revision)
{
    const cairn_compare same = {.kind = CAIRN_COMPARE_MODIFIED, .key = key, .number = modified};
    const cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = bytes, .lease = lease};
    cairn_status status = coord_enter(c);
    bool held = false;

    if (status == CAIRN_OK) {
        status = change(c, &same, &put, &held, revision);
    }
    if (status == CAIRN_OK && !held) {
        status = coord_fail(c, CAIRN_E_MISMATCH, "%s: was not changed last at revision %llu", key,
                            (unsigned long long)modified);
    }
    return coord_leave(c, status);
}

cairn_status cairn_coord_transact(cairn_coord *c, const cairn_txn *txn, bool *held, uint64_t *revision,
                                  const cairn_kv **got, size_t *got_count)
{
    cairn_status status = coord_enter(c);
    coord_question *q = NULL;

    if (status == CAIRN_OK) {
        status = transact(c, txn, "cairn_coord_transact", &q);
    }
    if (status != CAIRN_OK) {
        return coord_leave(c, status);
    }
    for (size_t i = 0; i < q->kv_count; i++) {
        q->kvs[i].key = q->kvs[i].modified == 0 ? NULL : q->kvs[i].key;
    }
    *held = q->held;
    if (revision != NULL) {
        *revision = q->revision;
    }
    if (got != NULL) {
        *got = q->kvs;
        *got_count = q->kv_count;
    }
    return coord_leave(c, CAIRN_OK);
}

/* ---------------------------------------------------------------- leases */

cairn_status cairn_coord_grant(cairn_coord *c, double ttl, uint64_t *lease)
{
    cairn_question request = {.op = CAIRN_OP_GRANT, .ttl = ttl};
    cairn_status status = coord_enter(c);
    coord_question *q = NULL;

    if (status == CAIRN_OK && !(ttl >= CAIRN_TTL_MIN && ttl <= CAIRN_TTL_MAX)) {
        status = coord_fail(c, CAIRN_E_INVALID, "cairn_coord_grant: a time to live of %g s is not in %g..%g", ttl,
                            CAIRN_TTL_MIN, CAIRN_TTL_MAX);
    }
    if (status == CAIRN_OK) {
        status = coord_call(c, &request, c->deadline, "cairn_coord_grant", &q);
    }
    if (status == CAIRN_OK) {
        *lease = q->number;
        coord_shorten(c, ttl);
    }
    return coord_leave(c, status);
}

cairn_status cairn_coord_revoke(cairn_coord *c, uint64_t lease)
{
    cairn_question request = {.op = CAIRN_OP_REVOKE, .number = lease};
    cairn_status status = coord_enter(c);
    coord_question *q = NULL;

    return coord_leave(c, status == CAIRN_OK ? coord_call(c, &request, c->deadline, "cairn_coord_revoke", &q) : status);
}
