/* What a command changes: keys, with their leases and their history. */
#include "coord/state_parts.h"

static void note(cairn_state_machine *state, cairn_record *record)
{
    state->changed = true;
    cairn_history_add(&state->history, record);
}

void cairn_change_put(cairn_state_machine *state, const char *key, const void *value, size_t bytes, uint64_t lease)
{
    size_t length = strlen(key);
    cairn_key_entry *entry = cairn_keys_find(&state->keys, key, length);
    cairn_record *record = cairn_record_new(key, length, value, bytes);

    if (record == NULL) {
        state->failed = true;
        return;
    }
    record->created = entry == NULL ? state->target : entry->record->created;
    record->version = entry == NULL ? 1 : entry->record->version + 1;
    record->modified = state->target;
    record->lease = lease;
    note(state, record);
    uint64_t old_lease = entry == NULL ? 0 : entry->record->lease;
    if (old_lease != lease && old_lease != 0) {
        cairn_lease_detach(cairn_leases_find(&state->leases, old_lease), entry);
    }
    if (entry != NULL) {
        cairn_record_drop(entry->record);
        entry->record = record;
    } else {
        entry = cairn_keys_add(&state->keys, record);
    }
    if (entry == NULL) {
        state->failed = true;
    } else if (old_lease != lease && lease != 0) {
        cairn_lease_attach(cairn_leases_find(&state->leases, lease), entry);
    }
}

void cairn_change_delete(cairn_state_machine *state, cairn_key_entry *entry)
{
    cairn_record *record = cairn_record_new(entry->record->key, entry->record->length, NULL, 0);

    if (record == NULL) {
        state->failed = true;
        return;
    }
    record->deleted = true;
    record->modified = state->target;
    note(state, record);
    cairn_record_drop(record);
    if (entry->record->lease != 0) {
        cairn_lease_detach(cairn_leases_find(&state->leases, entry->record->lease), entry);
    }
    cairn_keys_remove(&state->keys, entry);
}

static int by_key(const void *a, const void *b)
{
    const cairn_record *left = (*(cairn_key_entry *const *)a)->record, *right = (*(cairn_key_entry *const *)b)->record;

    return strcmp(left->key, right->key);
}

/* Is it this lease, or does it belong to this session? */
static bool goes_with(const cairn_lease_entry *lease, const cairn_lease_entry *ending)
{
    return lease == ending || lease->session == ending->id;
}

static void delete_attached(cairn_state_machine *state, const cairn_lease_entry *ending)
{
    size_t count = 0, wanted = 0;

    for (size_t i = 0; i < state->leases.count; i++) {
        const cairn_lease_entry *lease = state->leases.slots[i].lease;

        wanted += goes_with(lease, ending) ? lease->attached_count : 0;
    }
    cairn_key_entry **entries = malloc((wanted + 1) * sizeof(cairn_key_entry *));
    if (entries == NULL) {
        state->failed = true;
        return;
    }
    for (size_t i = 0; i < state->leases.count; i++) {
        const cairn_lease_entry *lease = state->leases.slots[i].lease;

        for (cairn_key_entry *entry = goes_with(lease, ending) ? lease->attached : NULL; entry != NULL;
             entry = entry->after) {
            entries[count++] = entry;
        }
    }
    qsort(entries, count, sizeof(cairn_key_entry *), by_key);
    for (size_t i = 0; i < count && !state->failed; i++) {
        cairn_place *lock = NULL;

        if (cairn_lock_key(entries[i]->record->key)) {
            lock = cairn_places_find(&state->locks, entries[i]->record->key);
        }
        if (lock != NULL) {
            cairn_wait_release(state, lock);
        } else {
            cairn_change_delete(state, entries[i]);
        }
    }
    free(entries);
}

void cairn_change_end_lease(cairn_state_machine *state, cairn_lease_entry *lease)
{
    uint64_t id = lease->id;

    if (lease->session == id) {
        cairn_wait_leave_all(state, lease, CAIRN_E_NOT_FOUND,
                             cairn_state_say(state, "session %llu has ended", (unsigned long long)id));
    }
    if (!state->failed) {
        delete_attached(state, lease);
    }
    for (size_t i = state->leases.count; i > 0 && !state->failed && lease->session == id; i--) {
        cairn_lease_entry *other = state->leases.slots[i - 1].lease;

        if (other != lease && other->session == id) {
            cairn_leases_remove(&state->leases, other);
        }
    }
    if (!state->failed) {
        cairn_leases_remove(&state->leases, lease);
    }
}
