/* Candidate and leader of Multi-Paxos: "Paxos Made Simple", section 3, and what keeps one leader in its place. */
#include "paxos/multi_core.h"

/* ---------------------------------------------------------------- standing for election */

/* Acceptors stand one after the other, so that the first mostly has no rival. */
void mp_set_timeout(mp *core)
{
    uint64_t election = core->options.election;
    uint64_t turn = core->index == MP_NOBODY ? 0 : core->index;

    core->election_at =
        core->now + election + turn * election / 8 + mp_random_below(core, (uint32_t)(election / 8) + 1);
}

/* The acceptors stand in turn, after a while in which the others hear of the end, too: who does not know yet refuses. */
void mp_on_ended(mp *core, uint32_t process)
{
    uint64_t step = core->options.heartbeat / 4;
    uint64_t soon;

    if (core->role == MP_LEADING || process != core->leader || process == MP_NOBODY) {
        return;
    }
    core->leader = MP_NOBODY;
    soon =
        core->now + step * (core->index == MP_NOBODY ? 1 : core->index + 1) + mp_random_below(core, (uint32_t)step + 1);
    core->election_at = soon < core->election_at ? soon : core->election_at;
}

void mp_follow(mp *core)
{
    core->role = MP_FOLLOWER;
    core->first_own = 0;
    core->repropose = core->repropose_end = 0;
    core->probe = 0;
    core->reads_done = core->reads;
    mp_set_timeout(core);
}

/* All acceptors but this one, or those whose promise is not complete. */
static void send_prepare(mp *core, uint32_t index, uint64_t slot, mp_output *out)
{
    uint32_t to = index == MP_NOBODY ? MP_TO_ACCEPTORS : core->peers[index].process;
    mp_message *m = mp_emit(core, out, to, MP_PREPARE);

    m->ballot = core->ballot;
    m->slot = slot;
}

/* Phase 1a, for all slots that are open: those above what this process knows to be chosen. */
static void prepare(mp *core, mp_output *out)
{
    px_ballot above;

    if (!mp_room_to_record(out)) {
        return; /* at the next tick */
    }
    mp_advance_known(core);
    above = core->highest_met > core->promised ? core->highest_met : core->promised;
    core->role = MP_PREPARING;
    core->leader = MP_NOBODY;
    core->ballot = px_above(above, core->options.self);
    core->highest_met = core->ballot;
    core->promised = core->ballot;
    core->promise_to = MP_NOBODY; /* whoever waits for a lower one */
    core->first_own = 0;
    core->repropose = core->repropose_end = 0;
    core->probe = 0;
    core->reads_done = core->reads;
    mp_record *record = mp_note(core, out, MP_RECORD_PROMISE);
    record->ballot = core->ballot;
    core->promised_record = core->promise_record = record->number;
    core->prepare_from = core->chosen + 1;
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        core->peers[i].promised = false;
        core->peers[i].promise_from = core->prepare_from;
    }
    for (uint32_t i = 0; i < core->options.window; i++) {
        core->places[i].best = PX_NONE;
    }
    mp_set_timeout(core);
    core->resend_at = core->now + core->options.heartbeat;
    send_prepare(core, MP_NOBODY, core->prepare_from, out);
}

static void stand(mp *core, mp_output *out)
{
    mp_message *m;

    mp_set_timeout(core);
    if (core->now < core->granted_until) {
        core->election_at = core->granted_until; /* a lease that this acceptor granted binds itself too */
        return;
    }
    core->role = MP_PREVOTING;
    core->leader = MP_NOBODY;
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        core->peers[i].granted = i == core->index;
    }
    if (core->options.acceptor_count == 1) {
        prepare(core, out);
        return;
    }
    core->resend_at = core->now + core->options.heartbeat;
    m = mp_emit(core, out, MP_TO_ACCEPTORS, MP_PREVOTE);
    m->ballot = px_above(core->highest_met > core->promised ? core->highest_met : core->promised, core->options.self);
}

void mp_on_prevoted(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint32_t index = mp_index_of(core, from);
    uint32_t granted = 0;

    if (core->role != MP_PREVOTING || index == MP_NOBODY) {
        return;
    }
    if (m->promised > core->highest_met) {
        core->highest_met = m->promised;
    }
    core->peers[index].granted = m->yes;
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        granted += core->peers[i].granted ? 1 : 0;
    }
    if (granted >= mp_quorum(core)) {
        prepare(core, out);
    } else if (m->chosen > core->chosen) {
        /* Others go on with a leader that this process cannot hear: it need not lead to learn what they know. */
        mp_learn_to(core, m->chosen, PX_CHOSEN);
        mp_ask_for_missing(core, from, m->chosen, out);
    }
}

/* ---------------------------------------------------------------- phase 1 */

/* A promise counts if its sender has not been admitted anew since: of an older generation it is one that was
 * forgotten. Any counted promise tells of every admission that matters (multi.h). */
static bool quorum_promised(const mp *core)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        const mp_peer *peer = &core->peers[i];

        count += peer->promised && peer->generation >= peer->admitted_as ? 1 : 0;
    }
    return count >= mp_quorum(core);
}

/* Phase 1 is done. The slots that may have a value get it proposed again; a no-op after them begins the reign. */
static void win(mp *core)
{
    uint64_t last = core->chosen;

    for (uint32_t i = 0; i < core->options.window; i++) {
        const mp_place *place = &core->places[i];

        if (place->slot > last && (place->best != PX_NONE || place->ballot != PX_NONE)) {
            last = place->slot;
        }
    }
    core->role = MP_LEADING;
    core->leads_with = core->ballot;
    core->repropose = core->chosen + 1;
    core->repropose_end = last + 2; /* the no-op included */
    core->next = core->repropose;
    core->first_own = last + 1;
    core->pushed = core->chosen;
    core->sequence = 0;
    core->heartbeat_at = core->now;
    core->reads_done = core->reads;
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        core->peers[i].echoed = 0;
        core->peers[i].answered_at = core->now; /* time to be answered begins now */
    }
}

static void check_won(mp *core)
{
    if (core->role == MP_PREPARING && quorum_promised(core)) {
        win(core);
    }
}

void mp_own_promise_durable(mp *core)
{
    mp_peer *own;

    if (core->role != MP_PREPARING || core->promise_record > core->persisted) {
        return;
    }
    own = &core->peers[core->index];
    if (!own->promised) {
        own->promised = true;
        own->generation = core->generation;
        check_won(core);
    }
}

static bool take_vote(mp *core, const mp_vote *vote, mp_output *out)
{
    mp_place *place;

    if (vote->slot <= core->chosen) {
        return true;
    }
    if (vote->ballot == PX_CHOSEN) {
        bool learned = mp_learn_value(core, vote->slot, &vote->value, out);

        mp_learn_to(core, vote->slot, PX_CHOSEN);
        return learned;
    }
    if (!mp_fits(core, vote->slot) || vote->value.bytes > core->options.value_max) {
        return false;
    }
    place = mp_place_of(core, vote->slot);
    if (place->slot != vote->slot) {
        memset(place, 0, sizeof *place);
        place->slot = vote->slot;
    }
    if (vote->ballot > place->best) {
        place->best = vote->ballot;
        place->best_type = vote->value.type;
        place->best_bytes = vote->value.bytes;
        if (vote->value.bytes > 0) {
            memcpy(core->bests + (size_t)(place - core->places) * core->options.value_max, vote->value.data,
                   vote->value.bytes);
        }
    }
    return true;
}

/* Too far behind the others to take over: catch up first. */
static void give_up(mp *core, uint32_t ahead, uint64_t chosen, mp_output *out)
{
    mp_follow(core);
    core->fetch_not_before = 0;
    if (chosen > core->learned_until) {
        core->learned_until = chosen;
    }
    mp_ask_for_missing(core, ahead, chosen, out);
}

void mp_on_promise(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint32_t index = mp_index_of(core, from);
    mp_peer *peer;

    if (core->role != MP_PREPARING || index == MP_NOBODY || m->ballot != core->ballot || m->generation == 0) {
        return;
    }
    peer = &core->peers[index];
    if (peer->promised || m->slot != peer->promise_from) {
        return; /* told before */
    }
    if (m->more && m->vote_count == 0) {
        give_up(core, from, m->chosen, out);
        return;
    }
    for (uint32_t i = 0; i < m->vote_count; i++) {
        if (!take_vote(core, &m->votes[i], out)) {
            give_up(core, from, m->chosen, out);
            return;
        }
    }
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        if (m->generations[i] > core->peers[i].admitted_as) {
            core->peers[i].admitted_as = m->generations[i];
            core->peers[i].admitted = 0;
        }
    }
    peer->generation = m->generation;
    peer->promise_from = m->to + 1;
    if (m->more) {
        mp_set_timeout(core); /* many votes take many messages: it goes on as long as they come */
        send_prepare(core, index, peer->promise_from, out);
        return;
    }
    peer->promised = true;
    check_won(core);
}

void mp_on_refused(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    (void)from;
    if (m->promised > core->highest_met) {
        core->highest_met = m->promised;
    }
    if (core->role == MP_FOLLOWER || core->role == MP_PREVOTING || m->ballot != core->ballot ||
        m->promised <= core->ballot) {
        return;
    }
    if (core->role == MP_LEADING && !m->yes) {
        prepare(core, out); /* its candidate came to nothing: raise the ballot and go on */
        return;
    }
    mp_follow(core);
}

/* ---------------------------------------------------------------- phase 2 */

static void propose_at(mp *core, uint64_t slot, const mp_value *value, mp_output *out)
{
    mp_message *m;
    const mp_place *place = mp_find(core, slot);

    /* The leader is an acceptor too. What it knows to be chosen it proposes again, for the others; but it does not take
     * back by a vote that it knows: others were told ACCEPTED on the strength of that. */
    if (place == NULL || place->ballot != PX_CHOSEN) {
        mp_vote_for(core, slot, core->ballot, value, out);
        place = mp_find(core, slot);
    }
    m = mp_emit(core, out, MP_TO_ACCEPTORS, MP_ACCEPT);
    m->ballot = core->ballot;
    m->vote_count = 1;
    m->votes[0] = (mp_vote){.slot = slot, .ballot = core->ballot, .value = mp_place_value(core, place)};
    core->next = slot + 1;
}

void mp_propose(mp *core, const mp_value *value, mp_output *out)
{
    propose_at(core, core->next, value, out);
}

/* P2c: the value of the vote with the highest ballot that the quorum told of; if it told of none, any will do. */
static void propose_again(mp *core, mp_output *out)
{
    const uint64_t slot = core->repropose;
    mp_place *place = mp_find(core, slot);
    mp_value value = {.type = MP_NOOP};

    if (place != NULL && place->ballot != PX_NONE && place->ballot >= place->best) {
        value = mp_place_value(core, place);
    } else if (place != NULL && place->best != PX_NONE) {
        value = (mp_value){.type = place->best_type,
                           .bytes = place->best_bytes,
                           .data = core->bests + (size_t)(place - core->places) * core->options.value_max};
    }
    propose_at(core, slot, &value, out);
    core->repropose++;
}

/* An acceptor's vote at the own ballot for this slot is durable. */
void mp_count(mp *core, uint32_t index, mp_place *place)
{
    uint32_t bits;

    place->acks |= 1u << index;
    while ((place = mp_find(core, core->chosen + 1)) != NULL &&
           (place->ballot == core->ballot || place->ballot == PX_CHOSEN)) {
        bits = 0;
        for (uint32_t acks = place->acks; acks != 0; acks &= acks - 1) {
            bits++;
        }
        if (bits < mp_quorum(core) && place->ballot != PX_CHOSEN) {
            break;
        }
        mp_advance(core, core->chosen + 1);
    }
}

static bool has_vote(const mp *core, uint32_t index, const mp_message *m)
{
    return index != MP_NOBODY && m->generation > 0 && m->generation >= core->peers[index].admitted_as;
}

static void count_range(mp *core, uint32_t index, uint64_t from, uint64_t to)
{
    for (uint64_t slot = from > core->chosen ? from : core->chosen + 1; slot <= to && slot < core->next; slot++) {
        mp_place *place = mp_find(core, slot);

        if (place != NULL && place->ballot == core->ballot) {
            mp_count(core, index, place);
        }
    }
}

void mp_on_accepted(mp *core, uint32_t from, const mp_message *m)
{
    uint32_t index = mp_index_of(core, from);

    if (core->role == MP_LEADING && m->ballot == core->ballot && has_vote(core, index, m)) {
        core->peers[index].answered_at = core->now;
        count_range(core, index, m->slot, m->to);
    }
}

/* ---------------------------------------------------------------- heartbeats, reads, leases */

static void heartbeat(mp *core, mp_output *out)
{
    mp_message *m = mp_emit(core, out, MP_TO_ALL, MP_HEARTBEAT);

    m->ballot = core->ballot;
    m->sequence = ++core->sequence;
    m->to = core->next - 1;
    core->sent_at[core->sequence % MP_SENT_TIMES] = core->now;
    core->heartbeat_at = core->now + core->options.heartbeat;
}

static void confirm_reads(mp *core, mp_output *out)
{
    uint32_t count = 1;

    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        count += i != core->index && core->peers[i].echoed >= core->probe ? 1 : 0;
    }
    if (core->probe != 0 && count >= mp_quorum(core)) {
        out->reads_to = core->probe_reads;
        out->reads_at = core->probe_at;
        core->reads_done = core->probe_reads;
        core->probe = 0;
    }
}

void mp_on_echo(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    uint32_t index = mp_index_of(core, from);

    if (core->role != MP_LEADING || m->ballot != core->ballot) {
        return;
    }
    if (m->chosen > core->chosen) {
        mp_ask_for_missing(core, from, m->chosen, out);
    }
    if (!has_vote(core, index, m)) {
        return;
    }
    core->peers[index].answered_at = core->now;
    count_range(core, index, core->chosen + 1, m->to);
    if (m->sequence > core->peers[index].echoed && m->sequence <= core->sequence) {
        core->peers[index].echoed = m->sequence;
    }
    confirm_reads(core, out);
}

/* When the majority-th newest echoed heartbeat was sent; 0: nobody knows any more. */
static uint64_t quorum_sent_at(const mp *core)
{
    uint64_t newest = 0;

    /* The highest number that a majority (this process included) has reached. */
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        uint64_t number = i == core->index ? core->sequence : core->peers[i].echoed;
        uint32_t reached = 0;

        for (uint32_t j = 0; j < core->options.acceptor_count; j++) {
            reached += (j == core->index ? core->sequence : core->peers[j].echoed) >= number ? 1 : 0;
        }
        if (reached >= mp_quorum(core) && number > newest) {
            newest = number;
        }
    }
    return newest == 0 || newest + MP_SENT_TIMES <= core->sequence ? 0 : core->sent_at[newest % MP_SENT_TIMES];
}

/* The others count `lease` on their clocks from a moment after the heartbeat was sent; this one may run slower. */
bool mp_lease_holds(const mp *core, uint64_t now)
{
    uint64_t sent;

    if (core->role != MP_LEADING || core->options.lease == 0 || core->first_own == 0 ||
        core->chosen < core->first_own) {
        return false;
    }
    sent = quorum_sent_at(core);
    return sent != 0 && now < sent + core->options.lease * (1000 - core->options.drift) / (1000 + core->options.drift);
}

/* A leader that a majority has not answered for an election timeout is none. */
static bool hears_majority(const mp *core)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        count += i == core->index || core->now < core->peers[i].answered_at + core->options.election ? 1 : 0;
    }
    return count >= mp_quorum(core);
}

void mp_tick(mp *core, mp_output *out)
{
    if (core->role == MP_LEADING) {
        if (!hears_majority(core)) {
            mp_follow(core);
            core->leader = MP_NOBODY;
        } else if (core->now >= core->heartbeat_at) {
            heartbeat(core, out);
        }
        return;
    }
    if (!mp_votes(core)) {
        return;
    }
    if (core->now >= core->election_at) {
        stand(core, out);
    } else if (core->role == MP_PREPARING && core->now >= core->resend_at) {
        core->resend_at = core->now + core->options.heartbeat;
        for (uint32_t i = 0; i < core->options.acceptor_count && mp_room_to_send(out); i++) {
            if (i != core->index && !core->peers[i].promised) {
                send_prepare(core, i, core->peers[i].promise_from, out);
            }
        }
    } else if (core->role == MP_PREVOTING && core->now >= core->resend_at) {
        mp_message *m = mp_emit(core, out, MP_TO_ACCEPTORS, MP_PREVOTE);

        m->ballot =
            px_above(core->highest_met > core->promised ? core->highest_met : core->promised, core->options.self);
        core->resend_at = core->now + core->options.heartbeat;
    }
}

/* ---------------------------------------------------------------- what is due */

static bool may_repropose(const mp *core)
{
    return core->role == MP_LEADING && core->repropose < core->repropose_end && mp_fits(core, core->repropose) &&
           core->waiting_end - core->waiting_first < 2 * (uint64_t)core->options.window;
}

static bool has_learners(const mp *core)
{
    return core->options.count > core->options.acceptor_count;
}

static bool probe_due(const mp *core)
{
    return core->role == MP_LEADING && core->probe == 0 && core->reads > core->reads_done && core->first_own != 0 &&
           core->chosen >= core->first_own;
}

bool mp_lead_left(const mp *core)
{
    return may_repropose(core) || probe_due(core) ||
           (core->role == MP_LEADING && has_learners(core) && core->pushed < core->chosen);
}

static void push_to_learners(mp *core, mp_output *out)
{
    mp_message *m = mp_emit(core, out, MP_TO_LEARNERS, MP_LEARN);

    m->ballot = core->ballot;
    while (core->pushed < core->chosen) {
        const mp_place *place = mp_find(core, core->pushed + 1);

        if (place != NULL && !mp_tell(core, m, place, PX_CHOSEN)) {
            break;
        }
        core->pushed++;
    }
}

void mp_lead(mp *core, mp_output *out)
{
    if (core->role != MP_LEADING) {
        return;
    }
    /* Slots that became known as chosen meanwhile (from an echo's sender) need no proposal. */
    if (core->repropose <= core->chosen && core->repropose < core->repropose_end) {
        core->repropose = core->chosen + 1 < core->repropose_end ? core->chosen + 1 : core->repropose_end;
        core->next = core->next <= core->chosen ? core->chosen + 1 : core->next;
    }
    while (may_repropose(core) && mp_room_to_record(out) && mp_room_to_send(out)) {
        propose_again(core, out);
    }
    if (has_learners(core) && core->pushed < core->chosen && mp_room_to_send(out)) {
        push_to_learners(core, out);
    }
    if (probe_due(core) && mp_room_to_send(out)) {
        heartbeat(core, out);
        core->probe = core->sequence;
        core->probe_reads = core->reads;
        core->probe_at = core->chosen;
        confirm_reads(core, out); /* one acceptor alone is a majority */
    }
}
