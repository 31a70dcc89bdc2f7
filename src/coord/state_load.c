/* The state from the bytes of state_save.c. Everything is checked that the state machine relies on, so that bytes that
 * are whole but wrong are refused, and never lead to a fault later. */
#include "base/checksum.h"
#include "coord/state_parts.h"

enum { DIGEST_BYTES = 16 };

typedef struct loader {
    cairn_unpack in;
    cairn_state_machine *state;
    cairn_error *error;
    cairn_status status; /* the first thing that is wrong */
} loader;

static bool wrong(loader *from, const char *what)
{
    if (from->status == CAIRN_OK) {
        from->status = cairn_fail(from->error, CAIRN_E_CORRUPT, "state: %s, before byte %zu of %zu", what, from->in.at,
                                  from->in.bytes);
    }
    return false;
}

static bool no_memory(loader *from)
{
    if (from->status == CAIRN_OK) {
        from->status = cairn_fail(from->error, CAIRN_E_NOMEM, "state: no memory for %zu bytes", from->in.bytes);
    }
    return false;
}

static bool good(loader *from)
{
    return from->status == CAIRN_OK && (!from->in.bad || wrong(from, "it is cut off"));
}

static double get_double(cairn_unpack *in)
{
    uint64_t bits = cairn_unpack_u64(in);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A name of 1..CAIRN_KEY_MAX bytes without NUL, with a NUL behind it, in `name`. */
static bool get_name(loader *from, char name[CAIRN_KEY_MAX + 1], size_t *length)
{
    const uint8_t *text = cairn_unpack_text(&from->in, length);

    if (!good(from)) {
        return false;
    }
    if (*length == 0 || *length > CAIRN_KEY_MAX || memchr(text, 0, *length) != NULL) {
        return wrong(from, "an impossible key or name");
    }
    memcpy(name, text, *length);
    name[*length] = '\0';
    return true;
}

static cairn_record *get_record(loader *from)
{
    char key[CAIRN_KEY_MAX + 1];
    size_t length, bytes;
    cairn_record *record;

    if (!get_name(from, key, &length)) {
        return NULL;
    }
    const uint8_t *value = cairn_unpack_text(&from->in, &bytes);
    if (!good(from) || (bytes > CAIRN_VALUE_MAX && !wrong(from, "a value that is too long"))) {
        return NULL;
    }
    record = cairn_record_new(key, length, value, bytes);
    if (record == NULL) {
        (void)no_memory(from);
        return NULL;
    }
    record->created = cairn_unpack_u64(&from->in);
    record->modified = cairn_unpack_u64(&from->in);
    record->version = cairn_unpack_u64(&from->in);
    record->lease = cairn_unpack_u64(&from->in);
    if (!good(from)) {
        cairn_record_drop(record);
        return NULL;
    }
    return record;
}

static bool revisions_fit(const cairn_state_machine *state, const cairn_record *record)
{
    return record->created >= 1 && record->created <= record->modified && record->modified <= state->revision &&
           record->version >= 1;
}

static bool get_keys(loader *from)
{
    uint32_t count = cairn_unpack_u32(&from->in);
    const cairn_key_entry *last = NULL;

    for (uint32_t i = 0; i < count && good(from); i++) {
        cairn_record *record = get_record(from);

        if (record == NULL) {
            return false;
        }
        if (!revisions_fit(from->state, record) || (last != NULL && strcmp(last->record->key, record->key) >= 0)) {
            cairn_record_drop(record);
            return wrong(from, "a key out of order or with impossible revisions");
        }
        last = cairn_keys_add(&from->state->keys, record);
        if (last == NULL) {
            return no_memory(from);
        }
    }
    return good(from);
}

static bool get_answer(loader *from, cairn_lease_entry *session)
{
    cairn_response response = {.text = ""}, full;
    uint64_t sequence = cairn_unpack_u64(&from->in);
    size_t bytes;

    response.number = cairn_unpack_u64(&from->in);
    response.revision = cairn_unpack_u64(&from->in);
    uint8_t status = cairn_unpack_u8(&from->in), bits = cairn_unpack_u8(&from->in);
    const uint8_t *encoded = cairn_unpack_text(&from->in, &bytes);
    response.status = (cairn_status)status;
    response.held = (bits & 1) != 0;
    response.waiting = (bits & 2) != 0;
    size_t count = cairn_answers_count(session);
    if (!good(from)) {
        return false;
    }
    if (status > CAIRN_E_BUSY || bits > 3 || sequence < session->acknowledged ||
        (count > 0 && session->answers[session->answer_end - 1].sequence >= sequence)) {
        return wrong(from, "an impossible remembered answer");
    }
    if (bytes > 0) {
        cairn_status decoded = cairn_response_decode(encoded, bytes, &full, &from->state->storage, NULL);

        if (decoded == CAIRN_E_NOMEM) {
            return no_memory(from);
        }
        if (decoded != CAIRN_OK || full.status != response.status || full.held != response.held ||
            full.waiting != response.waiting || full.number != response.number || full.revision != response.revision ||
            full.change_count > 0 || full.more || (full.kv_count == 0 && full.text[0] == '\0')) {
            return wrong(from, "a remembered answer that does not agree with itself");
        }
    }
    return cairn_answers_set(session, sequence, bytes > 0 ? &full : &response) || no_memory(from);
}

static bool get_lease(loader *from)
{
    cairn_leases *leases = &from->state->leases;
    uint64_t id = cairn_unpack_u64(&from->in), session = cairn_unpack_u64(&from->in);
    double ttl = get_double(&from->in);

    if (!good(from)) {
        return false;
    }
    if (id == 0 || id >= from->state->next_id || (leases->count > 0 && leases->slots[leases->count - 1].id >= id) ||
        (session != id && cairn_leases_session(leases, session) == NULL) ||
        !(ttl >= CAIRN_TTL_MIN && ttl <= CAIRN_TTL_MAX)) {
        return wrong(from, "an impossible lease");
    }
    cairn_lease_entry *lease = cairn_leases_add(leases, id, session, ttl);
    if (lease == NULL) {
        return no_memory(from);
    }
    if (session != id) {
        return true;
    }
    lease->nonce = cairn_unpack_u64(&from->in);
    lease->acknowledged = cairn_unpack_u64(&from->in);
    uint32_t count = cairn_unpack_u32(&from->in);
    if (count > CAIRN_REMEMBERED_MAX) {
        return wrong(from, "too many remembered answers");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!get_answer(from, lease)) {
            return false;
        }
    }
    return good(from);
}

static bool get_leases(loader *from)
{
    uint32_t count = cairn_unpack_u32(&from->in);
    cairn_cursor cursor = {0, 0};
    cairn_key_entry *entry;

    for (uint32_t i = 0; i < count; i++) {
        if (!get_lease(from)) {
            return false;
        }
    }
    while (good(from) && (entry = cairn_keys_next(&from->state->keys, &cursor)) != NULL) {
        cairn_lease_entry *lease = cairn_leases_find(&from->state->leases, entry->record->lease);

        if (lease != NULL) {
            cairn_lease_attach(lease, entry);
        } else if (entry->record->lease != 0) {
            return wrong(from, "a key with a lease that does not exist");
        }
    }
    return good(from);
}

static bool get_waiters(loader *from, cairn_place *place)
{
    uint32_t count = cairn_unpack_u32(&from->in);

    for (uint32_t i = 0; i < count && good(from); i++) {
        uint64_t id = cairn_unpack_u64(&from->in), sequence = cairn_unpack_u64(&from->in);
        size_t bytes;
        const uint8_t *value = cairn_unpack_text(&from->in, &bytes);
        cairn_lease_entry *session = cairn_leases_session(&from->state->leases, id);

        if (!good(from)) {
            return false;
        }
        if (session == NULL || id == place->holder || cairn_place_of(place, id) != SIZE_MAX ||
            bytes > (place->wanted > 0 ? 0 : CAIRN_VALUE_MAX)) {
            return wrong(from, "an impossible wait");
        }
        if (!cairn_place_wait(place, id, sequence, value, bytes)) {
            return no_memory(from);
        }
        session->waits++;
    }
    return good(from);
}

static bool place_fits(const cairn_state_machine *state, const cairn_place *place, bool locks)
{
    const cairn_key_entry *entry = cairn_keys_find(&state->keys, place->name, strlen(place->name));

    if (!locks) {
        return place->holder == 0 && place->token == 0 && place->wanted <= UINT32_MAX && place->count >= 1 &&
               place->count < place->wanted;
    }
    return place->wanted == 0 && cairn_lock_key(place->name) && entry != NULL && place->holder != 0 &&
           entry->record->lease == place->holder && entry->record->modified == place->token &&
           cairn_leases_session(&state->leases, place->holder) != NULL;
}

static bool get_places(loader *from, cairn_places *places, bool locks)
{
    uint32_t count = cairn_unpack_u32(&from->in);

    for (uint32_t i = 0; i < count && good(from); i++) {
        char name[CAIRN_KEY_MAX + 1];
        size_t length;

        if (!get_name(from, name, &length)) {
            return false;
        }
        if (i > 0 && strcmp(places->places[i - 1]->name, name) >= 0) {
            return wrong(from, "locks or barriers out of order");
        }
        cairn_place *place = cairn_places_add(places, name);
        if (place == NULL) {
            return no_memory(from);
        }
        place->holder = cairn_unpack_u64(&from->in);
        place->token = cairn_unpack_u64(&from->in);
        place->wanted = cairn_unpack_u64(&from->in);
        if (!get_waiters(from, place)) {
            return false;
        }
        if (!place_fits(from->state, place, locks)) {
            return wrong(from, "an impossible lock or barrier");
        }
    }
    return good(from);
}

/* Every key of a lock is a lock that is held, and no session awaits an answer that will not come. */
static bool check_waits(loader *from)
{
    const cairn_state_machine *state = from->state;
    cairn_cursor cursor = {0, 0};
    const cairn_key_entry *entry;
    size_t locks = 0;

    while ((entry = cairn_keys_next(&state->keys, &cursor)) != NULL) {
        locks += cairn_lock_key(entry->record->key) ? 1 : 0;
    }
    for (size_t i = 0; i < state->leases.count; i++) {
        const cairn_lease_entry *lease = state->leases.slots[i].lease;
        size_t waiting = 0;

        for (size_t j = lease->answer_first; j < lease->answer_end; j++) {
            waiting += lease->answers[j].waiting ? 1 : 0;
        }
        if (waiting > lease->waits) {
            return wrong(from, "an answer that will never come");
        }
    }
    return locks == state->locks.count || wrong(from, "a lock's key without a lock");
}

static cairn_record *get_change(loader *from)
{
    uint8_t kind = cairn_unpack_u8(&from->in);
    char key[CAIRN_KEY_MAX + 1];
    size_t length;
    cairn_record *record;

    if (kind == CAIRN_SAVED_CURRENT) {
        const cairn_key_entry *entry =
            get_name(from, key, &length) ? cairn_keys_find(&from->state->keys, key, length) : 0;

        if (entry == NULL) {
            (void)wrong(from, "a change of a key that does not exist");
            return NULL;
        }
        return cairn_record_keep(entry->record);
    }
    record = get_record(from);
    if (record == NULL) {
        return NULL;
    }
    record->deleted = kind == CAIRN_SAVED_DELETED;
    if ((kind != CAIRN_SAVED_DELETED && (kind != CAIRN_SAVED_PUT || !revisions_fit(from->state, record))) ||
        (record->deleted && record->bytes + record->created + record->version + record->lease > 0)) {
        (void)wrong(from, "an impossible change");
        cairn_record_drop(record);
        return NULL;
    }
    return record;
}

static bool get_history(loader *from)
{
    cairn_history *history = &from->state->history;
    uint32_t count = cairn_unpack_u32(&from->in);
    uint64_t floor = history->floor, last = floor;

    if (count > CAIRN_HISTORY_MAX || floor == 0 || floor > from->state->revision + 1) {
        return wrong(from, "an impossible history");
    }
    for (uint32_t i = 0; i < count && good(from); i++) {
        cairn_record *record = get_change(from);

        if (record == NULL) {
            return false;
        }
        bool fits = record->modified >= last && record->modified <= from->state->revision;
        last = record->modified;
        if (fits) {
            cairn_history_add(history, record);
        }
        cairn_record_drop(record);
        if (!fits || history->floor != floor) {
            return wrong(from, "changes out of order or too many");
        }
    }
    return good(from);
}

static bool get_head(loader *from)
{
    const uint8_t *head = cairn_unpack_bytes(&from->in, sizeof CAIRN_SAVED_HEAD - 1);

    if (!good(from)) {
        return false;
    }
    if (memcmp(head, CAIRN_SAVED_HEAD, sizeof CAIRN_SAVED_HEAD - 1) != 0) {
        if (memcmp(head, CAIRN_SAVED_HEAD, sizeof "cairn state " - 1) != 0) {
            return wrong(from, "no state of the coordination service");
        }
        from->status = cairn_fail(from->error, CAIRN_E_VERSION, "state: of an unknown version (known: 1)");
        return false;
    }
    if (from->in.bytes < from->in.at + DIGEST_BYTES) {
        return wrong(from, "it is cut off");
    }
    from->in.bytes -= DIGEST_BYTES;
    cairn_unpack tail = {.data = from->in.data + from->in.bytes, .bytes = DIGEST_BYTES};
    cairn_digest told = {.high = cairn_unpack_u64(&tail)};
    told.low = cairn_unpack_u64(&tail);
    if (!cairn_digest_equal(told, cairn_digest_of(from->in.data, from->in.bytes))) {
        return wrong(from, "its checksum does not match");
    }
    from->state->revision = cairn_unpack_u64(&from->in);
    from->state->next_id = cairn_unpack_u64(&from->in);
    from->state->history.floor = cairn_unpack_u64(&from->in);
    return good(from);
}

cairn_status cairn_state_load(const void *data, size_t bytes, cairn_state_machine **out, cairn_error *error)
{
    loader from = {.in = {.data = data, .bytes = bytes}, .state = cairn_state_new(), .error = error};

    *out = NULL;
    if (from.state == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "state: no memory");
    }
    bool whole = get_head(&from) && get_keys(&from) && get_leases(&from) &&
                 get_places(&from, &from.state->locks, true) && get_places(&from, &from.state->barriers, false) &&
                 check_waits(&from) && get_history(&from);
    if (whole && from.in.at != from.in.bytes) {
        whole = wrong(&from, "there is more than a state");
    }
    if (!whole) {
        cairn_state_free(from.state);
        return from.status;
    }
    *out = from.state;
    return CAIRN_OK;
}
