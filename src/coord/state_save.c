/* The state as bytes; state_load.c reads them back.
 *
 * "cairn state 1\n", revision, next id, floor u64, then lists, each a count u32 and: keys in their order; leases by id
 * (id, session, ttl; of a session also nonce, acknowledged and the answers by sequence); locks and barriers by name
 * with those who wait in their order; changes, oldest first, where one that is still the key's record is told by its
 * key alone. At the end the XXH3-128 of all that. */
#include "base/checksum.h"
#include "coord/state_parts.h"

static void put_double(cairn_pack *pack, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    cairn_pack_u64(pack, bits);
}

static void put_record(cairn_pack *pack, const cairn_record *record)
{
    cairn_pack_text(pack, record->key, record->length);
    cairn_pack_text(pack, cairn_record_value(record), record->bytes);
    cairn_pack_u64(pack, record->created);
    cairn_pack_u64(pack, record->modified);
    cairn_pack_u64(pack, record->version);
    cairn_pack_u64(pack, record->lease);
}

static void put_keys(cairn_pack *pack, const cairn_keys *keys)
{
    cairn_cursor cursor = {0, 0};
    const cairn_key_entry *entry;

    cairn_pack_u32(pack, (uint32_t)keys->count);
    while ((entry = cairn_keys_next(keys, &cursor)) != NULL) {
        put_record(pack, entry->record);
    }
}

static void put_answers(cairn_pack *pack, const cairn_lease_entry *session)
{
    cairn_pack_u64(pack, session->nonce);
    cairn_pack_u64(pack, session->acknowledged);
    cairn_pack_u32(pack, (uint32_t)cairn_answers_count(session));
    for (size_t i = session->answer_first; i < session->answer_end; i++) {
        const cairn_remembered *answer = &session->answers[i];

        cairn_pack_u64(pack, answer->sequence);
        cairn_pack_u64(pack, answer->number);
        cairn_pack_u64(pack, answer->revision);
        cairn_pack_u8(pack, (uint8_t)answer->status);
        cairn_pack_u8(pack, (uint8_t)((answer->held ? 1 : 0) | (answer->waiting ? 2 : 0)));
        cairn_pack_text(pack, answer->encoded, answer->bytes);
    }
}

static void put_leases(cairn_pack *pack, const cairn_leases *leases)
{
    cairn_pack_u32(pack, (uint32_t)leases->count);
    for (size_t i = 0; i < leases->count; i++) {
        const cairn_lease_entry *lease = leases->slots[i].lease;

        cairn_pack_u64(pack, lease->id);
        cairn_pack_u64(pack, lease->session);
        put_double(pack, lease->ttl);
        if (lease->session == lease->id) {
            put_answers(pack, lease);
        }
    }
}

static void put_places(cairn_pack *pack, const cairn_places *places)
{
    cairn_pack_u32(pack, (uint32_t)places->count);
    for (size_t i = 0; i < places->count; i++) {
        const cairn_place *place = places->places[i];

        cairn_pack_text(pack, place->name, strlen(place->name));
        cairn_pack_u64(pack, place->holder);
        cairn_pack_u64(pack, place->token);
        cairn_pack_u64(pack, place->wanted);
        cairn_pack_u32(pack, (uint32_t)place->count);
        for (size_t j = 0; j < place->count; j++) {
            cairn_pack_u64(pack, place->waiters[j].session);
            cairn_pack_u64(pack, place->waiters[j].sequence);
            cairn_pack_text(pack, place->waiters[j].value, place->waiters[j].bytes);
        }
    }
}

static void put_history(cairn_pack *pack, const cairn_state_machine *state)
{
    cairn_pack_u32(pack, (uint32_t)state->history.count);
    for (size_t i = 0; i < state->history.count; i++) {
        const cairn_record *record = cairn_history_at(&state->history, i);
        const cairn_key_entry *entry = cairn_keys_find(&state->keys, record->key, record->length);

        if (entry != NULL && entry->record == record) {
            cairn_pack_u8(pack, CAIRN_SAVED_CURRENT);
            cairn_pack_text(pack, record->key, record->length);
        } else {
            cairn_pack_u8(pack, record->deleted ? CAIRN_SAVED_DELETED : CAIRN_SAVED_PUT);
            put_record(pack, record);
        }
    }
}

cairn_status cairn_state_save(const cairn_state_machine *state, cairn_pack *pack)
{
    size_t begin = pack->bytes;

    cairn_pack_bytes(pack, CAIRN_SAVED_HEAD, sizeof CAIRN_SAVED_HEAD - 1);
    cairn_pack_u64(pack, state->revision);
    cairn_pack_u64(pack, state->next_id);
    cairn_pack_u64(pack, state->history.floor);
    put_keys(pack, &state->keys);
    put_leases(pack, &state->leases);
    put_places(pack, &state->locks);
    put_places(pack, &state->barriers);
    put_history(pack, state);
    if (cairn_pack_ok(pack)) {
        cairn_digest digest = cairn_digest_of(pack->data + begin, pack->bytes - begin);

        cairn_pack_u64(pack, digest.high);
        cairn_pack_u64(pack, digest.low);
    }
    return cairn_pack_ok(pack) ? CAIRN_OK : CAIRN_E_NOMEM;
}
