/* Leases, sessions, and the answers that sessions are remembered to have had. */
#include "coord/state_parts.h"

static size_t place_of(const cairn_leases *leases, uint64_t id)
{
    size_t low = 0, high = leases->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (leases->slots[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

cairn_lease_entry *cairn_leases_find(const cairn_leases *leases, uint64_t id)
{
    size_t at = place_of(leases, id);

    return at < leases->count && leases->slots[at].id == id ? leases->slots[at].lease : NULL;
}

cairn_lease_entry *cairn_leases_session(const cairn_leases *leases, uint64_t id)
{
    cairn_lease_entry *lease = cairn_leases_find(leases, id);

    return lease != NULL && lease->session == id ? lease : NULL;
}

cairn_lease_entry *cairn_leases_add(cairn_leases *leases, uint64_t id, uint64_t session, double ttl)
{
    cairn_lease_entry *lease = calloc(1, sizeof *lease);

    if (lease != NULL && leases->count == leases->room) {
        size_t room = leases->room * 2 + 16;
        struct cairn_lease_slot *slots = realloc(leases->slots, room * sizeof *slots);

        if (slots == NULL) {
            free(lease);
            return NULL;
        }
        leases->slots = slots;
        leases->room = room;
    }
    if (lease != NULL) {
        lease->id = id;
        lease->session = session;
        lease->ttl = ttl;
        leases->slots[leases->count].id = id;
        leases->slots[leases->count++].lease = lease;
    }
    return lease;
}

static void free_lease(cairn_lease_entry *lease)
{
    for (size_t i = lease->answer_first; i < lease->answer_end; i++) {
        free(lease->answers[i].encoded);
    }
    free(lease->answers);
    free(lease);
}

void cairn_leases_remove(cairn_leases *leases, cairn_lease_entry *lease)
{
    size_t at = place_of(leases, lease->id);

    leases->count--;
    memmove(&leases->slots[at], &leases->slots[at + 1], (leases->count - at) * sizeof *leases->slots);
    free_lease(lease);
}

void cairn_leases_free(cairn_leases *leases)
{
    for (size_t i = 0; i < leases->count; i++) {
        free_lease(leases->slots[i].lease);
    }
    free(leases->slots);
    *leases = (cairn_leases){0};
}

void cairn_lease_attach(cairn_lease_entry *lease, cairn_key_entry *entry)
{
    entry->before = NULL;
    entry->after = lease->attached;
    if (lease->attached != NULL) {
        lease->attached->before = entry;
    }
    lease->attached = entry;
    lease->attached_count++;
}

void cairn_lease_detach(cairn_lease_entry *lease, cairn_key_entry *entry)
{
    if (entry->before == NULL) {
        lease->attached = entry->after;
    } else {
        entry->before->after = entry->after;
    }
    if (entry->after != NULL) {
        entry->after->before = entry->before;
    }
    entry->before = entry->after = NULL;
    lease->attached_count--;
}

/* The place of the sequence, or where it would stand. Most are new and the largest. */
static size_t answer_place(const cairn_lease_entry *session, uint64_t sequence)
{
    size_t low = session->answer_first, high = session->answer_end;

    if (high > low && session->answers[high - 1].sequence < sequence) {
        return high;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (session->answers[middle].sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

cairn_remembered *cairn_answers_find(cairn_lease_entry *session, uint64_t sequence)
{
    size_t at = answer_place(session, sequence);

    return at < session->answer_end && session->answers[at].sequence == sequence ? &session->answers[at] : NULL;
}

void cairn_answers_acknowledge(cairn_lease_entry *session, uint64_t acknowledged)
{
    if (acknowledged <= session->acknowledged) {
        return;
    }
    session->acknowledged = acknowledged;
    while (session->answer_first < session->answer_end &&
           session->answers[session->answer_first].sequence < acknowledged) {
        session->answer_bytes -= session->answers[session->answer_first].bytes;
        free(session->answers[session->answer_first++].encoded);
    }
    if (session->answer_first == session->answer_end) {
        session->answer_first = session->answer_end = 0;
    }
}

bool cairn_answers_full(const cairn_lease_entry *session)
{
    return cairn_answers_count(session) >= CAIRN_REMEMBERED_MAX || session->answer_bytes >= CAIRN_REMEMBERED_BYTES;
}

static bool make_room(cairn_lease_entry *session)
{
    size_t count = cairn_answers_count(session);

    if (session->answer_end < session->answer_room) {
        return true;
    }
    if (session->answer_first > session->answer_room / 2) {
        memmove(session->answers, &session->answers[session->answer_first], count * sizeof *session->answers);
    } else {
        size_t room = session->answer_room * 2 + 8;
        cairn_remembered *answers = malloc(room * sizeof *answers);

        if (answers == NULL) {
            return false;
        }
        if (count > 0) {
            memcpy(answers, &session->answers[session->answer_first], count * sizeof *answers);
        }
        free(session->answers);
        session->answers = answers;
        session->answer_room = room;
    }
    session->answer_first = 0;
    session->answer_end = count;
    return true;
}

bool cairn_answers_set(cairn_lease_entry *session, uint64_t sequence, const cairn_response *response)
{
    cairn_remembered *answer = cairn_answers_find(session, sequence);
    cairn_pack pack = {0};

    if (response->kv_count > 0 || (response->text != NULL && response->text[0] != '\0')) {
        cairn_response_encode(&pack, response);
        if (!cairn_pack_ok(&pack) || pack.bytes > UINT32_MAX) {
            free(pack.data);
            return false;
        }
    }
    if (answer == NULL) {
        if (!make_room(session)) {
            free(pack.data);
            return false;
        }
        size_t at = answer_place(session, sequence);
        answer = &session->answers[at];
        memmove(answer + 1, answer, (session->answer_end - at) * sizeof *answer);
        session->answer_end++;
    } else {
        session->answer_bytes -= answer->bytes;
        free(answer->encoded);
    }
    session->answer_bytes += pack.bytes;
    *answer = (cairn_remembered){sequence,       response->number,  response->revision,   response->status,
                                 response->held, response->waiting, (uint32_t)pack.bytes, pack.data};
    return true;
}
