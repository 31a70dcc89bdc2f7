/* Reading: keys, ranges of keys, and what has happened to them. Nothing is copied. */
#include "coord/state_parts.h"

#include <inttypes.h>

static cairn_response read_range(cairn_state_machine *state, const cairn_question *request)
{
    cairn_response response = {.status = CAIRN_OK, .text = ""};
    size_t length = strlen(request->key), bytes = 0;
    uint64_t limit = request->number == 0 || request->number > CAIRN_RANGE_MAX ? CAIRN_RANGE_MAX : request->number;
    bool behind = request->bytes >= length && request->bytes > 0 &&
                  (length == 0 || memcmp(request->value, request->key, length) == 0);
    cairn_cursor cursor = behind ? cairn_keys_seek(&state->keys, request->value, request->bytes, true)
                                 : cairn_keys_seek(&state->keys, request->key, length, false);
    const cairn_key_entry *entry;

    while ((entry = cairn_keys_next(&state->keys, &cursor)) != NULL &&
           strncmp(entry->record->key, request->key, length) == 0) {
        cairn_kv *kvs;

        bytes += entry->record->length + entry->record->bytes + sizeof *kvs;
        if (state->kv_count == limit || (state->kv_count > 0 && bytes > CAIRN_ANSWER_BYTES)) {
            response.more = true;
            break;
        }
        kvs = cairn_state_more(state, state->kvs, &state->kv_room, state->kv_count, sizeof *kvs);
        if (kvs == NULL) {
            break;
        }
        state->kvs = kvs;
        kvs[state->kv_count++] = cairn_record_kv(entry->record);
    }
    response.kvs = state->kvs;
    response.kv_count = state->kv_count;
    return response;
}

static cairn_response read_key(cairn_state_machine *state, const cairn_question *request)
{
    const cairn_key_entry *entry = cairn_keys_find(&state->keys, request->key, strlen(request->key));
    cairn_kv *kvs;

    if (entry == NULL) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND, cairn_state_say(state, "there is no key %s", request->key));
    }
    kvs = cairn_state_more(state, state->kvs, &state->kv_room, 0, sizeof *kvs);
    if (kvs == NULL) {
        return cairn_state_refusal(CAIRN_E_NOMEM, "no memory");
    }
    state->kvs = kvs;
    kvs[state->kv_count++] = cairn_record_kv(entry->record);
    return (cairn_response){.status = CAIRN_OK, .text = "", .kvs = kvs, .kv_count = 1};
}

cairn_status cairn_state_read(cairn_state_machine *state, const cairn_question *request, cairn_response *response)
{
    cairn_state_begin(state);
    *response = (request->flags & CAIRN_REQUEST_PREFIX) != 0 ? read_range(state, request) : read_key(state, request);
    response->revision = state->revision;
    return state->failed ? CAIRN_E_NOMEM : CAIRN_OK;
}

static bool is_wanted(const cairn_record *record, const cairn_question *request, size_t length)
{
    return strncmp(record->key, request->key, length) == 0 &&
           ((request->flags & CAIRN_REQUEST_PREFIX) != 0 || record->length == length);
}

static bool add_change(cairn_state_machine *state, const cairn_record *record)
{
    cairn_change *changes =
        cairn_state_more(state, state->changes, &state->change_room, state->change_count, sizeof *changes);

    if (changes == NULL) {
        return false;
    }
    state->changes = changes;
    changes[state->change_count++] = (cairn_change){record->deleted, cairn_record_kv(record)};
    return true;
}

/* Collect from revision `from` on; the revision to ask from next. `whole` changes are of revisions that are in
 * altogether. */
static uint64_t collect(cairn_state_machine *state, const cairn_question *request, uint64_t from)
{
    size_t length = strlen(request->key), whole = 0, bytes = 0;
    uint64_t revision = 0;

    for (size_t i = cairn_history_find(&state->history, from); i < state->history.count; i++) {
        const cairn_record *record = cairn_history_at(&state->history, i);

        if (!is_wanted(record, request, length)) {
            continue;
        }
        if (record->modified != revision) {
            revision = record->modified;
            whole = state->change_count;
        }
        bytes += record->length + record->bytes + sizeof(cairn_change);
        if (whole > 0 && (state->change_count == CAIRN_CHANGES_MAX || bytes > CAIRN_ANSWER_BYTES)) {
            state->change_count = whole;
            return revision;
        }
        if (!add_change(state, record)) {
            break;
        }
    }
    return state->revision + 1;
}

cairn_status cairn_state_watch(cairn_state_machine *state, const cairn_question *request, cairn_response *response)
{
    uint64_t from = request->number == 0 ? state->revision + 1 : request->number;

    cairn_state_begin(state);
    *response = (cairn_response){.status = CAIRN_OK, .text = "", .revision = state->revision, .number = from};
    if (from < state->history.floor) {
        *response = cairn_state_refusal(
            CAIRN_E_RANGE,
            cairn_state_say(state, "changes since revision %" PRIu64 " are no longer known: %" PRIu64 " is the oldest",
                            from, state->history.floor));
        response->revision = state->revision;
        response->number = state->history.floor;
    } else if (from <= state->revision) {
        response->number = collect(state, request, from);
        response->more = response->number <= state->revision;
        response->changes = state->changes;
        response->change_count = state->change_count;
    }
    return state->failed ? CAIRN_E_NOMEM : CAIRN_OK;
}
