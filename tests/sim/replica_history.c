/* What an observer knows of all commands, and compares with what replicas and clients say: each command has one place
 * (slot, number in it), every replica answers it alike, a repeated one changes nothing, registers hold what the
 * commands wrote. Whoever applies a command first tells the observer of it. */
#include "replica_member.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- registers ---------------------------------------------------------------------------------------------------- */

uint64_t rm_value_of(const void *data, size_t bytes)
{
    uint64_t value = RM_NO_VALUE;

    memcpy(&value, data, bytes < sizeof value ? bytes : sizeof value);
    return value;
}

static bool register_of(const char *key, uint32_t *number)
{
    *number = key[0] == 'k' && key[1] >= '0' && key[1] < '0' + RM_KEYS && key[2] == '\0' ? (uint32_t)(key[1] - '0') : 0;
    return key[0] == 'k';
}

uint64_t rm_value_at(const rm_world *all, uint32_t key, uint64_t revision, uint64_t *modified)
{
    const rm_register *r = &all->registers[key];

    for (size_t i = r->count; i > 0; i--) {
        if (r->versions[i - 1].revision <= revision) {
            *modified = r->versions[i - 1].value == RM_NO_VALUE ? 0 : r->versions[i - 1].revision;
            return r->versions[i - 1].value;
        }
    }
    *modified = 0;
    return RM_NO_VALUE;
}

static bool holds(const rm_world *all, const cairn_compare *c, uint64_t revision)
{
    uint32_t key;
    uint64_t modified;
    uint64_t value;

    (void)register_of(c->key, &key);
    value = rm_value_at(all, key, revision, &modified);
    return c->kind == CAIRN_COMPARE_MODIFIED ? modified == c->number : value == rm_value_of(c->value, c->bytes);
}

/* One operation of a transaction that makes `revision`; what a GET must have found. */
static void perform(pw_world *w, const cairn_do *op, uint64_t revision, const cairn_response *response, size_t *got)
{
    rm_world *all = rm_of(w);
    rm_register *r;
    uint32_t key;
    uint64_t modified;
    uint64_t value;

    if (!register_of(op->key, &key)) {
        return;
    }
    value = rm_value_at(all, key, UINT64_MAX, &modified);
    if (op->kind == CAIRN_DO_GET) {
        const cairn_kv *kv = *got < response->kv_count ? &response->kvs[*got] : NULL;
        uint64_t told = kv == NULL || kv->key == NULL ? RM_NO_VALUE : rm_value_of(kv->value, kv->bytes);

        ++*got;
        if (told != value) {
            pw_fail(w, "linear", "a transaction read %" PRIu64 " in k%" PRIu32 ", which held %" PRIu64, told, key,
                    value);
        }
        return;
    }
    if (op->kind == CAIRN_DO_DELETE && value == RM_NO_VALUE) {
        return;
    }
    r = &all->registers[key];
    r->versions = sim_grow(r->versions, &r->room, r->count + 1, sizeof *r->versions);
    r->versions[r->count++] = (rm_version){
        .revision = revision,
        .value = op->kind == CAIRN_DO_PUT ? rm_value_of(op->value, op->bytes) : RM_NO_VALUE,
    };
}

static void transact(pw_world *w, const cairn_question *command, const cairn_response *response, uint64_t before,
                     uint64_t after)
{
    const cairn_txn *txn = &command->txn;
    bool held = true;
    size_t got = 0;

    if (response->status != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < txn->compare_count; i++) {
        held = held && holds(rm_of(w), &txn->compares[i], before);
    }
    if (held != response->held) {
        pw_fail(w, "linear", "the comparisons of a transaction of session %" PRIu64 " %s, and it says otherwise",
                command->session, held ? "held" : "did not hold");
    }
    for (size_t i = 0; i < (held ? txn->then_count : txn->otherwise_count); i++) {
        perform(w, held ? &txn->then[i] : &txn->otherwise[i], after, response, &got);
    }
}

/* What a client was told of registers at a revision. */
void rm_check_read(pw_world *w, const rm_request *q, const cairn_response *response)
{
    uint64_t modified;

    for (uint32_t key = 0; key < RM_KEYS; key++) {
        const cairn_kv *found = NULL;
        uint64_t value = rm_value_at(rm_of(w), key, response->revision, &modified);
        uint32_t number;

        if (q->what == RM_READ && key != q->key) {
            continue;
        }
        for (size_t i = 0; i < response->kv_count; i++) {
            if (register_of(response->kvs[i].key, &number) && number == key) {
                found = &response->kvs[i];
            }
        }
        if ((found == NULL ? RM_NO_VALUE : rm_value_of(found->value, found->bytes)) != value ||
            (found != NULL && found->modified != modified)) {
            pw_fail(w, "linear", "a read at revision %" PRIu64 " found a wrong value in k%" PRIu32, response->revision,
                    key);
        }
    }
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const cairn_question *command, const cairn_response *response)
{
    uint64_t numbers[] = {command->op,      command->session, command->sequence, command->number,  command->nonce,
                          response->status, response->held,   response->waiting, response->number, response->revision};
    uint64_t hash = pw_hash(7, numbers, sizeof numbers);

    for (size_t i = 0; i < response->kv_count; i++) {
        if (response->kvs[i].key != NULL) {
            hash = pw_hash(hash, response->kvs[i].value, response->kvs[i].bytes) + response->kvs[i].modified;
        }
    }
    return hash;
}

bool rm_has_ended(const rm_world *all, uint64_t session)
{
    for (size_t i = 0; i < all->ended_count; i++) {
        if (all->ended[i] == session) {
            return true;
        }
    }
    return false;
}

static void end_session(rm_world *all, uint64_t session)
{
    all->ended = sim_grow(all->ended, &all->ended_room, all->ended_count + 1, sizeof *all->ended);
    all->ended[all->ended_count++] = session;
}

/* A command with a session was asked for by somebody; it does what it does once. */
static void first_of_session(pw_world *w, const cairn_question *command, const cairn_response *response,
                             uint64_t before, uint64_t after)
{
    rm_request *q = rm_find(w, command->session, command->sequence);
    bool wait = command->op == CAIRN_OP_LOCK;

    if (q == NULL) {
        pw_fail(w, "validity", "request %" PRIu64 " of session %" PRIu64 " was applied and nobody asked for it",
                command->sequence, command->session);
        return;
    }
    if (!q->applied) {
        q->applied = true;
        q->result = *response;
        if (command->op == CAIRN_OP_TXN) {
            transact(w, command, response, before, after);
        }
        return;
    }
    if (after != before) {
        pw_fail(w, "once", "request %" PRIu64 " of session %" PRIu64 " was applied again and changed something",
                command->sequence, command->session);
    }
    if (response->status == CAIRN_E_STATE || response->status == CAIRN_E_NOT_FOUND || wait) {
        return; /* acknowledged and forgotten; the session has ended; or it was waiting and is no more */
    }
    if (response->status != q->result.status || response->held != q->result.held ||
        response->number != q->result.number || response->revision != q->result.revision) {
        pw_fail(w, "once", "request %" PRIu64 " of session %" PRIu64 " was answered in two ways", command->sequence,
                command->session);
    }
}

/* The same nonce is the same session, as long as it goes on. */
static void open_session(pw_world *w, const cairn_question *command, const cairn_response *response)
{
    rm_world *all = rm_of(w);

    if (command->nonce == 0 || command->nonce > all->nonces) {
        pw_fail(w, "validity", "nobody opened a session with nonce %" PRIu64, command->nonce);
        return;
    }
    if (command->nonce >= all->session_room) {
        size_t old = all->session_room;

        all->sessions = sim_grow(all->sessions, &all->session_room, (size_t)command->nonce + 1, sizeof *all->sessions);
        memset(all->sessions + old, 0, (all->session_room - old) * sizeof *all->sessions);
    }
    if (all->sessions[command->nonce] != 0 && all->sessions[command->nonce] != response->number &&
        !rm_has_ended(all, all->sessions[command->nonce])) {
        pw_fail(w, "once", "nonce %" PRIu64 " opened sessions %" PRIu64 " and %" PRIu64, command->nonce,
                all->sessions[command->nonce], response->number);
    }
    all->sessions[command->nonce] = response->number;
}

static void first_to_apply(pw_world *w, rm_body *b, const cairn_question *command, const cairn_response *response,
                           uint64_t hash)
{
    rm_world *all = rm_of(w);
    uint64_t after = cairn_state_revision(cairn_replica_state(b->replica));

    if (b->slot >= all->first_room) {
        size_t old = all->first_room;

        all->first = sim_grow(all->first, &all->first_room, (size_t)b->slot + 1, sizeof *all->first);
        memset(all->first + old, 0, (all->first_room - old) * sizeof *all->first);
    }
    if (b->command == 0) {
        all->first[b->slot] = all->entry_count + 1;
    }
    all->entries = sim_grow(all->entries, &all->entry_room, all->entry_count + 1, sizeof *all->entries);
    all->entries[all->entry_count++] = (rm_entry){b->slot, b->command, hash, after};
    if (after < b->revision || after > b->revision + 1) {
        pw_fail(w, "shell", "one command took the revision from %" PRIu64 " to %" PRIu64, b->revision, after);
    }
    if (command->op == CAIRN_OP_OPEN) {
        open_session(w, command, response);
    }
    if (command->op == CAIRN_OP_OPEN || command->op == CAIRN_OP_EXPIRE || command->session == 0) {
        if (command->op == CAIRN_OP_TXN) {
            transact(w, command, response, b->revision, after);
        }
    } else {
        first_of_session(w, command, response, b->revision, after);
    }
    if (response->status == CAIRN_OK && (command->op == CAIRN_OP_EXPIRE || command->op == CAIRN_OP_CLOSE)) {
        end_session(all, command->op == CAIRN_OP_EXPIRE ? command->number : command->session);
    }
}

void rm_applied(pw_world *w, pw_member *m, const cairn_question *command, const cairn_response *response)
{
    rm_world *all = rm_of(w);
    rm_body *b = m->body;
    uint64_t slot = cairn_replica_applied(b->replica);
    uint64_t hash = hash_of(command, response);
    size_t at;

    b->command = slot == b->slot ? b->command + 1 : 0;
    b->slot = slot;
    at = slot < all->first_room && all->first[slot] > 0 ? all->first[slot] - 1 + (size_t)b->command : SIZE_MAX;
    pw_say(w, m,
           "applies %" PRIu64 ".%" PRIu64 ": op %d of session %" PRIu64 " sequence %" PRIu64
           ": status %d number %" PRIu64 " revision %" PRIu64,
           slot, b->command, command->op, command->session, command->sequence, (int)response->status, response->number,
           response->revision);
    if (at == SIZE_MAX || at == all->entry_count) {
        if (all->entry_count > 0 && slot < all->entries[all->entry_count - 1].slot) {
            pw_fail(w, "agreement", "%" PRIu32 " has commands in slot %" PRIu64 " where others have none", m->id, slot);
            return;
        }
        first_to_apply(w, b, command, response, hash);
    } else if (all->entries[at].slot != slot || all->entries[at].hash != hash) {
        pw_fail(w, "agreement",
                "%" PRIu32 " applied another command than others at slot %" PRIu64 ".%" PRIu64
                ", or answered otherwise",
                m->id, slot, b->command);
    }
    b->revision = cairn_state_revision(cairn_replica_state(b->replica));
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static void look_at_lock(pw_world *w, rm_body *b, uint32_t number)
{
    rm_world *all = rm_of(w);
    rm_lock *lock = &all->locks[number];
    cairn_state_machine *state = cairn_replica_state(b->replica);
    char key[32];
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response;
    cairn_lease_view view;
    uint64_t session, token;

    snprintf(key, sizeof key, "cairn/lock/l%" PRIu32, number);
    if (cairn_state_read(state, &request, &response) != CAIRN_OK || response.status != CAIRN_OK) {
        return;
    }
    session = response.kvs[0].lease;
    token = response.kvs[0].modified;
    if (token < lock->token || (session != lock->session && token == lock->token)) {
        pw_fail(w, "lock", "%s: token %" PRIu64 " of session %" PRIu64 " after %" PRIu64 " of session %" PRIu64, key,
                token, session, lock->token, lock->session);
    }
    if (!cairn_state_lease(state, session, &view) || rm_has_ended(all, session)) {
        pw_fail(w, "lock", "%s is held by session %" PRIu64 ", which has ended", key, session);
    }
    *lock = (rm_lock){token, session};
}

/* No key is left of a session that has ended. */
static void look_at_ephemeral(pw_world *w, rm_body *b)
{
    cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = "e/"};
    cairn_response response;

    if (cairn_state_read(cairn_replica_state(b->replica), &request, &response) != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < response.kv_count; i++) {
        if (rm_has_ended(rm_of(w), response.kvs[i].lease)) {
            pw_fail(w, "lock", "%s is there, but its session %" PRIu64 " has ended", response.kvs[i].key,
                    response.kvs[i].lease);
        }
    }
}

/* The state as bytes is the same for all after equal slots: looked at now and then, since it costs. */
void rm_look(pw_world *w, pw_member *m)
{
    rm_body *b = m->body;
    uint64_t slot = cairn_replica_applied(b->replica);
    size_t known = rm_of(w)->entry_count == 0 ? 0 : (size_t)rm_of(w)->entries[rm_of(w)->entry_count - 1].slot;

    b->revision = cairn_state_revision(cairn_replica_state(b->replica));
    if (slot == b->looked) {
        return;
    }
    if (slot >= known) {
        for (uint32_t i = 0; i < RM_LOCKS; i++) {
            look_at_lock(w, b, i);
        }
        look_at_ephemeral(w, b);
    }
    if (slot % 16 == 0 || b->looked == 0) {
        cairn_pack pack = {0};

        if (cairn_state_save(cairn_replica_state(b->replica), &pack) == CAIRN_OK && cairn_pack_ok(&pack)) {
            pw_state(w, m, slot, pw_hash(1, pack.data, pack.bytes) | 1);
        }
        free(pack.data);
    }
    b->looked = slot;
}
