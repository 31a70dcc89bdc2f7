/* The learner of Multi-Paxos: what is chosen, catching up, and acceptors that are admitted again. */
#include "paxos/multi_core.h"

/* A message that only the leader of this ballot sends. */
void mp_note_leader(mp *core, uint32_t from, px_ballot ballot)
{
    if (ballot < core->leads_with) {
        return;
    }
    if (core->role != MP_FOLLOWER) {
        mp_follow(core);
    }
    if (ballot != core->leads_with) {
        core->learned_until = 0;
    }
    core->leads_with = ballot;
    core->leader = from;
    core->leader_heard = core->now;
    if (core->options.lease > 0) {
        core->granted_until = core->now + core->options.lease;
    }
    mp_set_timeout(core);
}

void mp_advance(mp *core, uint64_t slot)
{
    const mp_place *place = mp_find(core, slot);
    mp_value value = mp_place_value(core, place);

    core->chosen = slot;
    mp_admit_chosen(core, &value);
}

/* Slots behind a gap were learned before it was closed; a restart forgets that they follow. */
void mp_advance_known(mp *core)
{
    const mp_place *place;

    while ((place = mp_find(core, core->chosen + 1)) != NULL && place->ballot == PX_CHOSEN) {
        mp_advance(core, core->chosen + 1);
    }
}

/* The leader of `ballot` says that all slots up to `chosen` are. What this process has voted for at that ballot is the
 * value: a leader proposes one value a slot. */
void mp_learn_to(mp *core, uint64_t chosen, px_ballot ballot)
{
    if (chosen > core->learned_until) {
        core->learned_until = chosen;
    }
    while (core->chosen < chosen) {
        const mp_place *place = mp_find(core, core->chosen + 1);

        if (place == NULL || (place->ballot != ballot && place->ballot != PX_CHOSEN)) {
            break;
        }
        mp_advance(core, core->chosen + 1);
    }
}

/* A value that is known to be chosen. false: there is no room for it now. */
bool mp_learn_value(mp *core, uint64_t slot, const mp_value *value, mp_output *out)
{
    mp_place *place;

    if (slot <= core->chosen) {
        return true;
    }
    if (!mp_fits(core, slot) || !mp_room_to_record(out) || value->bytes > core->options.value_max ||
        core->waiting_end - core->waiting_first >= 2 * (uint64_t)core->options.window) {
        return false;
    }
    place = mp_find(core, slot);
    if (place != NULL && place->ballot == PX_CHOSEN) {
        return true;
    }
    if (core->index != MP_NOBODY) {
        mp_vote_for(core, slot, PX_CHOSEN, value, out);
    } else {
        place = mp_place_of(core, slot);
        memset(place, 0, sizeof *place);
        place->slot = slot;
        mp_put(core, place, PX_CHOSEN, value);
    }
    return true;
}

void mp_note_admit(mp *core, const mp_value *value)
{
    mp_admit admit;
    uint32_t index;

    if (value->type != MP_ADMIT || value->bytes != sizeof admit) {
        return;
    }
    memcpy(&admit, value->data, sizeof admit);
    index = mp_index_of(core, admit.process);
    if (index != MP_NOBODY && admit.generation > core->peers[index].admitted_as) {
        core->peers[index].admitted_as = admit.generation;
        core->peers[index].admitted = admit.storage;
    }
}

/* What is chosen counts for more than what was only proposed: an admission of the same storage with a higher generation
 * that came to nothing must not make the votes of this storage those of an older one. */
void mp_admit_chosen(mp *core, const mp_value *value)
{
    mp_admit admit;
    mp_peer *peer;

    if (value->type != MP_ADMIT || value->bytes != sizeof admit) {
        return;
    }
    memcpy(&admit, value->data, sizeof admit);
    if (mp_index_of(core, admit.process) == MP_NOBODY) {
        return;
    }
    peer = &core->peers[mp_index_of(core, admit.process)];
    if (admit.generation >= peer->chosen.generation) {
        peer->chosen = admit;
    }
    if (admit.generation >= peer->admitted_as || admit.storage == peer->admitted) {
        peer->admitted_as = admit.generation;
        peer->admitted = admit.storage;
    }
    /* Every slot up to this one is known: from here on this acceptor may vote, at no ballot below the one that it was
     * admitted with. */
    if (admit.process == core->options.self && admit.storage == core->options.storage &&
        admit.generation > core->generation) {
        core->generation = admit.generation;
        core->member_due = true;
        core->promised = admit.ballot > core->promised ? admit.ballot : core->promised;
        core->promised = core->leads_with > core->promised ? core->leads_with : core->promised;
        mp_set_timeout(core);
    }
}

/* ---------------------------------------------------------------- catching up */

void mp_ask_for_missing(mp *core, uint32_t whom, uint64_t proposed, mp_output *out)
{
    uint64_t slot = core->chosen + 1;

    if (core->learned_until <= core->chosen) {
        /* All that is chosen is known. Is there a proposal that did not come? */
        while (slot <= proposed) {
            const mp_place *place = mp_find(core, slot);

            if (place == NULL || (place->ballot != core->leads_with && place->ballot != PX_CHOSEN)) {
                break;
            }
            slot++;
        }
        if (slot > proposed || !mp_votes(core)) {
            return;
        }
    }
    if (core->now >= core->fetch_not_before && mp_room_to_send(out)) {
        mp_message *m = mp_emit(core, out, whom, MP_FETCH);

        m->slot = slot;
        m->ballot = core->leads_with;
        core->fetch_not_before = core->now + core->options.heartbeat / 2;
    }
}

/* All slots up to which are durable at the leader's ballot. */
static uint64_t durable_to(const mp *core)
{
    uint64_t slot = core->chosen;

    for (;;) {
        const mp_place *place = mp_find(core, slot + 1);

        if (place == NULL || (place->ballot != core->leads_with && place->ballot != PX_CHOSEN) ||
            place->record > core->persisted) {
            return slot;
        }
        slot++;
    }
}

void mp_on_heartbeat(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    mp_message *echo;

    if (m->ballot < core->promised || m->ballot < core->leads_with) {
        if (mp_votes(core)) {
            echo = mp_emit(core, out, from, MP_REFUSED);
            echo->ballot = m->ballot;
            echo->promised = core->promised;
            echo->yes = core->role == MP_LEADING || (core->leader != MP_NOBODY && core->leader != from &&
                                                     core->now < core->leader_heard + core->options.election);
        }
        return;
    }
    mp_note_leader(core, from, m->ballot);
    mp_learn_to(core, m->chosen, m->ballot);
    echo = mp_emit(core, out, from, MP_ECHO);
    echo->ballot = m->ballot;
    echo->sequence = m->sequence;
    echo->to = core->promised <= m->ballot ? durable_to(core) : 0;
    if (core->index != MP_NOBODY && core->generation == 0 && core->now >= core->join_at &&
        core->learned_until <= core->chosen) {
        mp_message *join = mp_emit(core, out, from, MP_JOIN);

        join->sequence = core->options.storage;
        join->slot = core->peers[core->index].chosen.generation;
        core->join_at = core->now + core->options.election;
    }
    mp_ask_for_missing(core, from, m->to, out);
}

/* Somebody misses slots: chosen ones are told; open ones the leader proposes again. */
void mp_on_fetch(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint64_t slot = m->slot;

    if (slot == 0) {
        return;
    }
    if (slot <= core->chosen && mp_find(core, slot) == NULL) {
        core->serve_to = from;
        core->serve_from = slot;
        return;
    }
    if (slot <= core->chosen) {
        mp_message *learn = mp_emit(core, out, from, MP_LEARN);

        learn->ballot = core->role == MP_LEADING ? core->ballot : core->leads_with;
        /* The place of an applied slot may be taken by a much later one already. */
        while (slot <= core->chosen && mp_find(core, slot) != NULL &&
               mp_tell(core, learn, mp_find(core, slot), PX_CHOSEN)) {
            slot++;
        }
    }
    for (; core->role == MP_LEADING && slot < core->next && mp_room_to_send(out); slot++) {
        const mp_place *place = mp_find(core, slot);

        if (slot > core->chosen && place != NULL && (place->ballot == core->ballot || place->ballot == PX_CHOSEN)) {
            mp_message *accept = mp_emit(core, out, from, MP_ACCEPT);

            accept->ballot = core->ballot;
            accept->vote_count = 1;
            accept->votes[0] = (mp_vote){.slot = slot, .ballot = core->ballot, .value = mp_place_value(core, place)};
        }
    }
}

/* Is this, which is chosen, something that this leader has not proposed? Then a higher ballot chose it, for phase 1
 * told of all that lower ones could choose, and this leader is none any more. It must not propose for that slot. Nor
 * may it go on to tell at its ballot how far all is chosen: whoever voted for its own proposal would take that for
 * chosen. */
static bool went_past(const mp *core, const mp_vote *vote)
{
    const mp_place *place = mp_find(core, vote->slot);

    if (core->role != MP_LEADING || vote->slot <= core->chosen) {
        return false;
    }
    if (vote->slot >= core->next) {
        return vote->slot >= core->first_own;
    }
    return place != NULL && place->ballot == core->ballot &&
           (place->type != vote->value.type || place->bytes != vote->value.bytes ||
            (place->bytes > 0 && memcmp(mp_place_value(core, place).data, vote->value.data, place->bytes) != 0));
}

void mp_on_learn(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint64_t before = core->chosen;

    for (uint32_t i = 0; i < m->vote_count; i++) {
        const mp_vote *vote = &m->votes[i];

        if (vote->ballot == PX_CHOSEN && went_past(core, vote)) {
            mp_follow(core);
        }
        if (vote->ballot == PX_CHOSEN && !mp_learn_value(core, vote->slot, &vote->value, out)) {
            break;
        }
    }
    mp_learn_to(core, m->chosen, PX_CHOSEN);
    if (core->chosen > before && core->chosen < m->chosen && core->role != MP_LEADING) {
        core->fetch_not_before = 0; /* it moves: ask for the next ones at once */
        mp_ask_for_missing(core, from, m->chosen, out);
    }
}

/* An ADMIT of this process is proposed and not chosen yet. */
static bool admission_is_open(const mp *core, uint32_t process)
{
    for (uint64_t slot = core->chosen + 1; slot < core->next; slot++) {
        const mp_place *place = mp_find(core, slot);
        mp_admit admit;

        if (place != NULL && place->type == MP_ADMIT && place->bytes == sizeof admit) {
            memcpy(&admit, mp_place_value(core, place).data, sizeof admit);
            if (admit.process == process) {
                return true;
            }
        }
    }
    return false;
}

/* An acceptor that lost its state, and knows all that is chosen, asks to vote again. A question that was late, from a
 * storage that is lost since, does not know of the admission of the one that came after it. */
void mp_on_join(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint32_t index = mp_index_of(core, from);
    mp_admit admit;
    mp_value value = {.type = MP_ADMIT, .bytes = sizeof admit, .data = &admit};

    if (index == MP_NOBODY || !mp_may_propose(core) || core->chosen < core->first_own || !mp_room_to_record(out) ||
        m->slot != core->peers[index].chosen.generation || admission_is_open(core, from)) {
        return;
    }
    memset(&admit, 0, sizeof admit);
    admit.process = from;
    /* One generation a storage: if it has been admitted and does not know it yet, it is told again. */
    admit.generation = core->peers[index].admitted_as + (core->peers[index].admitted == m->sequence ? 0 : 1);
    admit.storage = m->sequence;
    admit.ballot = core->ballot;
    mp_propose(core, &value, out);
}
