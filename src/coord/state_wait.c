/* Locks and barriers: who holds, who waits, and who is told. */
#include "coord/state_parts.h"

#include <inttypes.h>

static size_t place_of(const cairn_places *places, const char *name)
{
    size_t low = 0, high = places->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(places->places[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

cairn_place *cairn_places_find(const cairn_places *places, const char *name)
{
    size_t at = place_of(places, name);

    return at < places->count && strcmp(places->places[at]->name, name) == 0 ? places->places[at] : NULL;
}

static void free_place(cairn_place *place)
{
    for (size_t i = 0; place != NULL && i < place->count; i++) {
        free(place->waiters[i].value);
    }
    if (place != NULL) {
        free(place->waiters);
        free(place->name);
    }
    free(place);
}

cairn_place *cairn_places_add(cairn_places *places, const char *name)
{
    cairn_place *place = calloc(1, sizeof *place);
    size_t at = place_of(places, name);

    if (place != NULL && places->count == places->room) {
        size_t room = places->room * 2 + 8;
        cairn_place **more = realloc(places->places, room * sizeof(cairn_place *));

        if (more == NULL) {
            free(place);
            return NULL;
        }
        places->places = more;
        places->room = room;
    }
    if (place == NULL || (place->name = strdup(name)) == NULL) {
        free(place);
        return NULL;
    }
    memmove(&places->places[at + 1], &places->places[at], (places->count - at) * sizeof(cairn_place *));
    places->places[at] = place;
    places->count++;
    return place;
}

void cairn_places_remove(cairn_places *places, cairn_place *place)
{
    size_t at = place_of(places, place->name);

    places->count--;
    memmove(&places->places[at], &places->places[at + 1], (places->count - at) * sizeof(cairn_place *));
    free_place(place);
}

void cairn_places_free(cairn_places *places)
{
    for (size_t i = 0; i < places->count; i++) {
        free_place(places->places[i]);
    }
    free(places->places);
    *places = (cairn_places){0};
}

bool cairn_place_wait(cairn_place *place, uint64_t session, uint64_t sequence, const void *value, size_t bytes)
{
    void *copy = NULL;

    if (place->count == place->room) {
        size_t room = place->room * 2 + 4;
        cairn_waiter *waiters = realloc(place->waiters, room * sizeof *waiters);

        if (waiters == NULL) {
            return false;
        }
        place->waiters = waiters;
        place->room = room;
    }
    if (bytes > 0) {
        copy = malloc(bytes);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, value, bytes);
    }
    place->waiters[place->count++] = (cairn_waiter){session, sequence, copy, bytes};
    return true;
}

void cairn_place_leave(cairn_place *place, size_t index)
{
    free(place->waiters[index].value);
    place->count--;
    memmove(&place->waiters[index], &place->waiters[index + 1], (place->count - index) * sizeof *place->waiters);
}

size_t cairn_place_of(const cairn_place *place, uint64_t session)
{
    for (size_t i = 0; i < place->count; i++) {
        if (place->waiters[i].session == session) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* The answer to this waiter, who leaves the place. */
static void complete(cairn_state_machine *state, cairn_place *place, size_t index, cairn_response response)
{
    const cairn_waiter *waiter = &place->waiters[index];
    cairn_lease_entry *session = cairn_leases_session(&state->leases, waiter->session);
    cairn_completion *more = cairn_state_more(state, state->completions, &state->completion_room,
                                              state->completion_count, sizeof *state->completions);

    if (more == NULL) {
        return;
    }
    state->completions = more;
    state->completions[state->completion_count++] = (cairn_completion){waiter->session, waiter->sequence, response};
    session->waits--;
    cairn_place_leave(place, index);
}

static cairn_response granted(uint64_t token)
{
    return (cairn_response){.status = CAIRN_OK, .text = "", .number = token};
}

/* Whoever gets the lock has its key for as long as its session lives. */
static void grant(cairn_state_machine *state, cairn_place *lock, uint64_t session, const void *value, size_t bytes)
{
    lock->holder = session;
    lock->token = state->target;
    cairn_change_put(state, lock->name, value, bytes, session);
}

void cairn_wait_release(cairn_state_machine *state, cairn_place *lock)
{
    cairn_key_entry *entry = cairn_keys_find(&state->keys, lock->name, strlen(lock->name));

    if (entry != NULL) {
        cairn_change_delete(state, entry);
    }
    if (lock->count == 0) {
        cairn_places_remove(&state->locks, lock);
        return;
    }
    const cairn_waiter next = lock->waiters[0];
    grant(state, lock, next.session, next.value, next.bytes);
    complete(state, lock, 0, granted(lock->token));
}

cairn_response cairn_wait_lock(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command)
{
    cairn_place *lock = cairn_places_find(&state->locks, command->key);
    cairn_response waiting = {.status = CAIRN_OK, .text = "", .waiting = true};

    if (lock == NULL) {
        lock = cairn_places_add(&state->locks, command->key);
        if (lock == NULL) {
            state->failed = true;
            return waiting;
        }
        grant(state, lock, session->id, command->value, command->bytes);
        return granted(lock->token);
    }
    if (lock->holder == session->id) {
        return cairn_state_refusal(CAIRN_E_STATE, cairn_state_say(state, "this session holds %s already", lock->name));
    }
    if (cairn_place_of(lock, session->id) != SIZE_MAX) {
        return cairn_state_refusal(CAIRN_E_STATE,
                                   cairn_state_say(state, "this session waits for %s already", lock->name));
    }
    if (command->number == 1) {
        return cairn_state_refusal(CAIRN_E_BUSY,
                                   cairn_state_say(state, "%s is held with token %" PRIu64, lock->name, lock->token));
    }
    if (!cairn_place_wait(lock, session->id, command->sequence, command->value, command->bytes)) {
        state->failed = true;
        return waiting;
    }
    session->waits++;
    return waiting;
}

cairn_response cairn_wait_unlock(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command)
{
    cairn_place *lock = cairn_places_find(&state->locks, command->key);
    size_t waits = lock == NULL ? SIZE_MAX : cairn_place_of(lock, session->id);

    if (lock != NULL && lock->holder == session->id && (command->number == 0 || command->number == lock->token)) {
        cairn_wait_release(state, lock);
        return granted(0);
    }
    if (command->number == 0 && waits != SIZE_MAX) {
        complete(state, lock, waits,
                 cairn_state_refusal(CAIRN_E_TIMEOUT, cairn_state_say(state, "%s: gave up waiting", lock->name)));
        return granted(0);
    }
    if (command->number == 0) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND,
                                   cairn_state_say(state, "this session neither holds nor awaits %s", command->key));
    }
    if (lock == NULL) {
        return cairn_state_refusal(
            CAIRN_E_MISMATCH,
            cairn_state_say(state, "token %" PRIu64 " is no longer good: %s is free", command->number, command->key));
    }
    if (command->number == lock->token) {
        return cairn_state_refusal(CAIRN_E_MISMATCH,
                                   cairn_state_say(state, "token %" PRIu64 " is another session's", command->number));
    }
    return cairn_state_refusal(CAIRN_E_MISMATCH, cairn_state_say(state,
                                                                 "token %" PRIu64 " is no longer good: the lock is "
                                                                 "held with %" PRIu64,
                                                                 command->number, lock->token));
}

static cairn_response leave_barrier(cairn_state_machine *state, cairn_lease_entry *session, cairn_place *barrier,
                                    const char *name)
{
    size_t waits = barrier == NULL ? SIZE_MAX : cairn_place_of(barrier, session->id);

    if (waits == SIZE_MAX) {
        return cairn_state_refusal(CAIRN_E_NOT_FOUND,
                                   cairn_state_say(state, "this session is not in barrier %s", name));
    }
    complete(state, barrier, waits,
             cairn_state_refusal(CAIRN_E_TIMEOUT, cairn_state_say(state, "barrier %s: gave up waiting", name)));
    if (barrier->count == 0) {
        cairn_places_remove(&state->barriers, barrier);
    }
    return granted(0);
}

cairn_response cairn_wait_barrier(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command)
{
    cairn_place *barrier = cairn_places_find(&state->barriers, command->key);

    if (command->number == 0) {
        return leave_barrier(state, session, barrier, command->key);
    }
    if (barrier != NULL && barrier->wanted != command->number) {
        return cairn_state_refusal(CAIRN_E_MISMATCH,
                                   cairn_state_say(state, "barrier %s is one of %" PRIu64 ", not of %" PRIu64,
                                                   barrier->name, barrier->wanted, command->number));
    }
    if (barrier != NULL && cairn_place_of(barrier, session->id) != SIZE_MAX) {
        return cairn_state_refusal(CAIRN_E_STATE,
                                   cairn_state_say(state, "this session is in barrier %s already", barrier->name));
    }
    if ((barrier == NULL ? 0 : barrier->count) + 1 >= command->number) {
        while (barrier != NULL && barrier->count > 0 && !state->failed) {
            complete(state, barrier, 0, granted(0));
        }
        if (barrier != NULL) {
            cairn_places_remove(&state->barriers, barrier);
        }
        return granted(0);
    }
    if (barrier == NULL) {
        barrier = cairn_places_add(&state->barriers, command->key);
    }
    if (barrier == NULL || !cairn_place_wait(barrier, session->id, command->sequence, NULL, 0)) {
        state->failed = true;
        return granted(0);
    }
    barrier->wanted = command->number;
    session->waits++;
    return (cairn_response){.status = CAIRN_OK, .text = "", .waiting = true};
}

void cairn_wait_leave_all(cairn_state_machine *state, cairn_lease_entry *session, cairn_status status, const char *text)
{
    cairn_places *tables[] = {&state->locks, &state->barriers};

    for (size_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < tables[i]->count && session->waits > 0 && !state->failed; at++) {
            cairn_place *place = tables[i]->places[at];
            size_t waits = cairn_place_of(place, session->id);

            if (waits != SIZE_MAX) {
                complete(state, place, waits, cairn_state_refusal(status, text));
            }
            if (i == 1 && place->count == 0) {
                cairn_places_remove(tables[i], place);
                at--;
            }
        }
    }
}
