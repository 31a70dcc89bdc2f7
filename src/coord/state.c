/* The state machine: commands are applied here, once each. */
#include "coord/state_parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

cairn_state_machine *cairn_state_new(void)
{
    cairn_state_machine *state = calloc(1, sizeof *state);

    if (state == NULL) {
        return NULL;
    }
    state->next_id = 1;
    state->history.floor = 1;
    state->history.ring = calloc(CAIRN_HISTORY_MAX, sizeof *state->history.ring);
    if (state->history.ring == NULL) {
        free(state);
        return NULL;
    }
    return state;
}

void cairn_state_begin(cairn_state_machine *state)
{
    for (size_t i = 0; i < state->kept_count; i++) {
        cairn_record_drop(state->kept[i]);
    }
    for (size_t i = 0; i < state->text_count; i++) {
        free(state->texts[i]);
    }
    state->kept_count = state->text_count = state->kv_count = state->change_count = state->completion_count = 0;
    state->target = state->revision + 1;
    state->changed = state->failed = false;
}

void cairn_state_free(cairn_state_machine *state)
{
    if (state == NULL) {
        return;
    }
    cairn_state_begin(state);
    cairn_places_free(&state->locks);
    cairn_places_free(&state->barriers);
    cairn_leases_free(&state->leases);
    cairn_history_free(&state->history);
    cairn_keys_free(&state->keys);
    free(state->completions);
    free(state->kvs);
    free(state->changes);
    free(state->kept);
    free(state->texts);
    cairn_storage_free(&state->storage);
    free(state);
}

void *cairn_state_more(cairn_state_machine *state, void *array, size_t *room, size_t count, size_t size)
{
    if (count < *room) {
        return array;
    }
    void *more = realloc(array, (*room * 2 + 8) * size);
    if (more == NULL) {
        state->failed = true;
        return NULL;
    }
    *room = *room * 2 + 8;
    return more;
}

const char *cairn_state_say(cairn_state_machine *state, const char *format, ...)
{
    char **texts = cairn_state_more(state, state->texts, &state->text_room, state->text_count, sizeof(char *));
    char text[CAIRN_KEY_MAX + 200];
    va_list arguments;

    if (texts == NULL) {
        return "";
    }
    state->texts = texts;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    texts[state->text_count] = strdup(text);
    if (texts[state->text_count] == NULL) {
        state->failed = true;
        return "";
    }
    return texts[state->text_count++];
}

cairn_response cairn_state_refusal(cairn_status status, const char *text)
{
    return (cairn_response){.status = status, .text = text};
}

static cairn_response answer_number(uint64_t number)
{
    return (cairn_response){.status = CAIRN_OK, .text = "", .number = number};
}

static cairn_response add_lease(cairn_state_machine *state, uint64_t session, const cairn_question *command)
{
    if (!(command->ttl >= CAIRN_TTL_MIN && command->ttl <= CAIRN_TTL_MAX)) {
        return cairn_state_refusal(CAIRN_E_INVALID, "a time to live that is not 0.1 to 86400 seconds");
    }
    uint64_t id = state->next_id++;
    cairn_lease_entry *lease = cairn_leases_add(&state->leases, id, session == 0 ? id : session, command->ttl);
    if (lease == NULL) {
        state->failed = true;
    } else {
        lease->nonce = command->nonce;
    }
    return answer_number(id);
}

static cairn_response open_session(cairn_state_machine *state, const cairn_question *command, bool *repeated)
{
    for (size_t i = 0; i < state->leases.count; i++) {
        const cairn_lease_entry *lease = state->leases.slots[i].lease;

        if (lease->session == lease->id && lease->nonce == command->nonce) {
            *repeated = true;
            return answer_number(lease->id);
        }
    }
    return add_lease(state, 0, command);
}

static cairn_response revoke(cairn_state_machine *state, const cairn_lease_entry *session, uint64_t id)
{
    cairn_lease_entry *lease = cairn_leases_find(&state->leases, id);

    if (lease == NULL || lease == session || lease->session != session->id) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND, cairn_state_say(state, "this session has no lease %" PRIu64, id));
    }
    cairn_change_end_lease(state, lease);
    return answer_number(0);
}

static cairn_response expire(cairn_state_machine *state, const cairn_question *command)
{
    cairn_lease_entry *lease = cairn_leases_find(&state->leases, command->number);

    if (command->session != 0) {
        return cairn_state_refusal(CAIRN_E_ACCESS, "sessions do not let leases expire");
    }
    if (lease == NULL) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND,
                                   cairn_state_say(state, "there is no lease %" PRIu64, command->number));
    }
    cairn_change_end_lease(state, lease);
    return answer_number(0);
}

static bool has_key(const cairn_question *command)
{
    switch (command->op) {
    case CAIRN_OP_LOCK:
    case CAIRN_OP_UNLOCK:
        return command->key != NULL && cairn_lock_key(command->key);
    case CAIRN_OP_BARRIER:
        return command->key != NULL && command->key[0] != '\0';
    default:
        return true;
    }
}

/* A command of a session, the first time. */
static cairn_response perform(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command)
{
    if (!has_key(command)) {
        return cairn_state_refusal(CAIRN_E_INVALID, "a lock or barrier without a proper key");
    }
    switch (command->op) {
    case CAIRN_OP_CLOSE:
        cairn_change_end_lease(state, session);
        return answer_number(0);
    case CAIRN_OP_GRANT:
        return add_lease(state, session->id, command);
    case CAIRN_OP_REVOKE:
        return revoke(state, session, command->number);
    case CAIRN_OP_TXN:
        return cairn_state_transact(state, session, &command->txn);
    case CAIRN_OP_LOCK:
        return cairn_wait_lock(state, session, command);
    case CAIRN_OP_UNLOCK:
        return cairn_wait_unlock(state, session, command);
    case CAIRN_OP_BARRIER:
        return cairn_wait_barrier(state, session, command);
    default:
        return cairn_state_refusal(CAIRN_E_INVALID, cairn_state_say(state, "operation %u is no command", command->op));
    }
}

static cairn_response remembered(cairn_state_machine *state, const cairn_remembered *answer)
{
    cairn_response response = {.status = answer->status,
                               .held = answer->held,
                               .waiting = answer->waiting,
                               .number = answer->number,
                               .revision = answer->revision,
                               .text = ""};

    if (answer->encoded != NULL &&
        cairn_response_decode(answer->encoded, answer->bytes, &response, &state->storage, NULL) != CAIRN_OK) {
        state->failed = true; /* only memory can have failed it */
    }
    return response;
}

static void begin_revision(cairn_state_machine *state)
{
    if (state->changed) {
        state->revision = state->target;
    }
}

static cairn_response apply_session(cairn_state_machine *state, const cairn_question *command, bool *repeated)
{
    cairn_lease_entry *session = cairn_leases_session(&state->leases, command->session);

    if (session == NULL) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND,
                                   cairn_state_say(state, "session %" PRIu64 " has ended", command->session));
    }
    cairn_answers_acknowledge(session, command->acknowledged);
    const cairn_remembered *answer = cairn_answers_find(session, command->sequence);
    if (answer != NULL) {
        *repeated = true;
        return remembered(state, answer);
    }
    if (command->sequence < session->acknowledged) {
        return cairn_state_refusal(
            CAIRN_E_STATE,
            cairn_state_say(state, "request %" PRIu64 " was acknowledged and is forgotten", command->sequence));
    }
    if (command->op != CAIRN_OP_CLOSE && cairn_answers_full(session)) {
        return cairn_state_refusal(CAIRN_E_BUSY, "too many answers of this session are not acknowledged");
    }
    cairn_response response = perform(state, session, command);
    begin_revision(state);
    response.revision = state->revision;
    if (command->op != CAIRN_OP_CLOSE && !state->failed && !cairn_answers_set(session, command->sequence, &response)) {
        state->failed = true;
    }
    return response;
}

static cairn_response apply_plain(cairn_state_machine *state, const cairn_question *command, bool *repeated)
{
    switch (command->op) {
    case CAIRN_OP_OPEN:
        return open_session(state, command, repeated);
    case CAIRN_OP_EXPIRE:
        return expire(state, command);
    case CAIRN_OP_TXN:
        return cairn_state_transact(state, NULL, &command->txn);
    default:
        return cairn_state_refusal(CAIRN_E_INVALID,
                                   cairn_state_say(state, "operation %u is no command without a session", command->op));
    }
}

/* Whoever waited is told the revision, and asks in vain no more. */
static void finish_completions(cairn_state_machine *state)
{
    for (size_t i = 0; i < state->completion_count && !state->failed; i++) {
        cairn_completion *completion = &state->completions[i];
        cairn_lease_entry *session = cairn_leases_session(&state->leases, completion->session);

        completion->response.revision = state->revision;
        if (session != NULL && cairn_answers_find(session, completion->sequence) != NULL) {
            state->failed = !cairn_answers_set(session, completion->sequence, &completion->response);
        }
    }
}

cairn_status cairn_state_apply(cairn_state_machine *state, const cairn_question *command, cairn_applied *applied)
{
    bool plain = command->session == 0 || command->op == CAIRN_OP_OPEN || command->op == CAIRN_OP_EXPIRE;

    cairn_state_begin(state);
    *applied = (cairn_applied){.repeated = false};
    if (plain) {
        applied->response = apply_plain(state, command, &applied->repeated);
    } else {
        applied->response = apply_session(state, command, &applied->repeated);
    }
    begin_revision(state);
    if (!applied->repeated || plain) {
        applied->response.revision = state->revision;
    }
    finish_completions(state);
    applied->completions = state->completions;
    applied->completion_count = state->completion_count;
    return state->failed ? CAIRN_E_NOMEM : CAIRN_OK;
}

uint64_t cairn_state_revision(const cairn_state_machine *state)
{
    return state->revision;
}

static cairn_lease_view view_of(const cairn_lease_entry *lease)
{
    return (cairn_lease_view){lease->id, lease->session, lease->ttl, lease->attached_count};
}

void cairn_state_leases(const cairn_state_machine *state, void (*each)(void *context, const cairn_lease_view *lease),
                        void *context)
{
    for (size_t i = 0; i < state->leases.count; i++) {
        cairn_lease_view view = view_of(state->leases.slots[i].lease);

        each(context, &view);
    }
}

bool cairn_state_lease(const cairn_state_machine *state, uint64_t id, cairn_lease_view *out)
{
    const cairn_lease_entry *lease = cairn_leases_find(&state->leases, id);

    if (lease != NULL) {
        *out = view_of(lease);
    }
    return lease != NULL;
}

size_t cairn_state_key_count(const cairn_state_machine *state)
{
    return state->keys.count;
}
