/* Transactions. Whatever may be refused is looked at before the first change. */
#include "coord/state_parts.h"

#include <inttypes.h>

static const char OWN[] = "cairn/";

static bool is_own(const char *key)
{
    return strncmp(key, OWN, sizeof OWN - 1) == 0;
}

/* Locks' keys are changed by LOCK and UNLOCK only. */
static bool may_write(const cairn_lease_entry *session, const char *key)
{
    return !is_own(key) || (session == NULL && !cairn_lock_key(key));
}

static bool holds_sign(int sign, int order)
{
    return sign == 2 ? order != 0 : order == sign;
}

static bool holds(const cairn_state_machine *state, const cairn_compare *compare)
{
    const cairn_key_entry *entry = cairn_keys_find(&state->keys, compare->key, strlen(compare->key));
    const cairn_record *record = entry == NULL ? NULL : entry->record;
    uint64_t number = 0;

    if (compare->kind == CAIRN_COMPARE_VALUE) {
        if (record == NULL) {
            return compare->sign == 2;
        }
        size_t least = record->bytes < compare->bytes ? record->bytes : compare->bytes;
        int order = least == 0 ? 0 : memcmp(cairn_record_value(record), compare->value, least);
        order = order != 0 ? order : (record->bytes > compare->bytes) - (record->bytes < compare->bytes);
        return holds_sign(compare->sign, (order > 0) - (order < 0));
    }
    if (record != NULL) {
        number = compare->kind == CAIRN_COMPARE_MODIFIED  ? record->modified
                 : compare->kind == CAIRN_COMPARE_CREATED ? record->created
                 : compare->kind == CAIRN_COMPARE_VERSION ? record->version
                                                          : record->lease;
    }
    return holds_sign(compare->sign, (number > compare->number) - (number < compare->number));
}

static uint64_t lease_of(const cairn_lease_entry *session, uint64_t lease)
{
    return lease == CAIRN_EPHEMERAL && session != NULL ? session->id : lease;
}

static bool may_attach(const cairn_state_machine *state, const cairn_lease_entry *session, uint64_t id)
{
    const cairn_lease_entry *lease = cairn_leases_find(&state->leases, lease_of(session, id));

    return id == 0 || (lease != NULL && (session == NULL || lease->session == session->id));
}

/* Are all keys of this branch such that the session may write them? Both branches are looked at, so that a refusal does
 * not hang on what the comparisons find. */
static bool check_keys(cairn_state_machine *state, const cairn_lease_entry *session, const cairn_do *dos, size_t count,
                       cairn_response *refusal)
{
    for (size_t i = 0; i < count; i++) {
        bool good = dos[i].kind == CAIRN_DO_GET || may_write(session, dos[i].key) ||
                    (dos[i].kind == CAIRN_DO_DELETE_PREFIX && session == NULL);

        if (!good) {
            *refusal = cairn_state_refusal(
                CAIRN_E_ACCESS, cairn_state_say(state, "key %s: keys under cairn/ are Cairn's own", dos[i].key));
            return false;
        }
    }
    return true;
}

/* Bytes that the GET at `index` will answer, with what the operations before it do. */
static uint64_t bytes_got(const cairn_state_machine *state, const cairn_do *dos, size_t index)
{
    const char *key = dos[index].key;

    for (size_t i = index; i > 0; i--) {
        if (dos[i - 1].kind == CAIRN_DO_PUT && strcmp(dos[i - 1].key, key) == 0) {
            return dos[i - 1].bytes;
        }
    }
    const cairn_key_entry *entry = cairn_keys_find(&state->keys, key, strlen(key));
    return entry == NULL ? 0 : entry->record->bytes;
}

static bool check_branch(cairn_state_machine *state, const cairn_lease_entry *session, const cairn_do *dos,
                         size_t count, cairn_response *refusal)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        if (dos[i].kind == CAIRN_DO_PUT && !may_attach(state, session, dos[i].lease)) {
            *refusal = cairn_state_refusal(
                CAIRN_E_NOT_FOUND, cairn_state_say(state, "key %s: lease %" PRIu64 " is not one of this session",
                                                   dos[i].key, dos[i].lease));
            return false;
        }
        bytes += dos[i].kind == CAIRN_DO_GET ? bytes_got(state, dos, i) : 0;
    }
    if (bytes > CAIRN_ANSWER_BYTES) {
        *refusal = cairn_state_refusal(
            CAIRN_E_TRUNCATED,
            cairn_state_say(state, "the answer would have %" PRIu64 " bytes (at most %d)", bytes, CAIRN_ANSWER_BYTES));
        return false;
    }
    return true;
}

static void get(cairn_state_machine *state, const char *key)
{
    const cairn_key_entry *entry = cairn_keys_find(&state->keys, key, strlen(key));
    cairn_kv *kvs = cairn_state_more(state, state->kvs, &state->kv_room, state->kv_count, sizeof *kvs);

    if (kvs == NULL) {
        return;
    }
    state->kvs = kvs;
    kvs[state->kv_count++] = entry == NULL ? (cairn_kv){0} : cairn_record_kv(entry->record);
    if (entry != NULL) {
        cairn_record **kept =
            cairn_state_more(state, state->kept, &state->kept_room, state->kept_count, sizeof(cairn_record *));

        if (kept == NULL) {
            return;
        }
        state->kept = kept;
        kept[state->kept_count++] = cairn_record_keep(entry->record);
    }
}

/* Nobody but LOCK and UNLOCK changes locks, and no session Cairn's own keys: such keys stay. */
static void delete_prefix(cairn_state_machine *state, const cairn_lease_entry *session, const char *prefix)
{
    size_t length = strlen(prefix), count = 0, room = 0;
    cairn_cursor cursor = cairn_keys_seek(&state->keys, prefix, length, false);
    cairn_key_entry **doomed = NULL, *entry;

    while ((entry = cairn_keys_next(&state->keys, &cursor)) != NULL &&
           strncmp(entry->record->key, prefix, length) == 0) {
        if (may_write(session, entry->record->key)) {
            cairn_key_entry **more = cairn_state_more(state, doomed, &room, count, sizeof(cairn_key_entry *));

            if (more == NULL) {
                break;
            }
            doomed = more;
            doomed[count++] = entry;
        }
    }
    for (size_t i = 0; i < count && !state->failed; i++) {
        cairn_change_delete(state, doomed[i]);
    }
    free(doomed);
}

static void perform(cairn_state_machine *state, const cairn_lease_entry *session, const cairn_do *one)
{
    cairn_key_entry *entry;

    switch (one->kind) {
    case CAIRN_DO_PUT:
        cairn_change_put(state, one->key, one->value, one->bytes, lease_of(session, one->lease));
        break;
    case CAIRN_DO_DELETE:
        entry = cairn_keys_find(&state->keys, one->key, strlen(one->key));
        if (entry != NULL) {
            cairn_change_delete(state, entry);
        }
        break;
    case CAIRN_DO_DELETE_PREFIX:
        delete_prefix(state, session, one->key);
        break;
    case CAIRN_DO_GET:
        get(state, one->key);
        break;
    }
}

cairn_response cairn_state_transact(cairn_state_machine *state, const cairn_lease_entry *session, const cairn_txn *txn)
{
    cairn_response response = {.status = CAIRN_OK, .held = true, .text = ""};

    if (!check_keys(state, session, txn->then, txn->then_count, &response) ||
        !check_keys(state, session, txn->otherwise, txn->otherwise_count, &response)) {
        return response;
    }
    for (size_t i = 0; i < txn->compare_count && response.held; i++) {
        response.held = holds(state, &txn->compares[i]);
    }
    const cairn_do *dos = response.held ? txn->then : txn->otherwise;
    size_t count = response.held ? txn->then_count : txn->otherwise_count;
    if (!check_branch(state, session, dos, count, &response)) {
        return response;
    }
    for (size_t i = 0; i < count && !state->failed; i++) {
        perform(state, session, &dos[i]);
    }
    response.kvs = state->kvs;
    response.kv_count = state->kv_count;
    return response;
}
