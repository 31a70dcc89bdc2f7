/* The Multi-Paxos core: its step, its memory, restoring it, questions. See multi.h and multi_core.h. */
#include "paxos/multi_core.h"

/* ---------------------------------------------------------------- memory */

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t mp_bytes(const mp_options *o)
{
    return rounded(sizeof(mp)) + rounded(o->count * sizeof(uint64_t)) + rounded(o->window * sizeof(mp_place)) +
           rounded((size_t)o->window * 2 * sizeof(mp_waiting)) + 2 * rounded((size_t)o->window * o->value_max);
}

mp *mp_init(void *memory, const mp_options *options, uint64_t now)
{
    mp *core = memory;
    char *at = (char *)memory + rounded(sizeof *core);

    core->options = *options;
    core->heard = (uint64_t *)(void *)at;
    at += rounded(options->count * sizeof(uint64_t));
    core->places = (mp_place *)(void *)at;
    at += rounded(options->window * sizeof(mp_place));
    core->waiting = (mp_waiting *)(void *)at;
    at += rounded((size_t)options->window * 2 * sizeof(mp_waiting));
    core->values = at;
    core->bests = at + rounded((size_t)options->window * options->value_max);
    core->now = now;
    core->random = options->seed * UINT64_C(0x9e3779b97f4a7c15) + options->self + 1;
    core->promise_to = MP_NOBODY;
    core->leader = MP_NOBODY;
    core->serve_to = MP_NOBODY;
    core->index = mp_index_of(core, options->self);
    for (uint32_t i = 0; i < options->acceptor_count; i++) {
        core->peers[i].process = options->acceptors[i];
        core->peers[i].admitted_as = 1;
    }
    if (core->index != MP_NOBODY && !options->joins) {
        core->generation = 1;
        core->member_due = true;
    }
    /* Whoever restarts has forgotten to whom it granted a lease. */
    core->granted_until = options->lease == 0 ? 0 : now + options->lease;
    mp_set_timeout(core);
    if (options->first) {
        core->election_at = options->lease == 0 ? now : core->granted_until;
    }
    return core;
}

uint32_t mp_random_below(mp *core, uint32_t bound)
{
    core->random ^= core->random << 13;
    core->random ^= core->random >> 7;
    core->random ^= core->random << 17;
    return bound == 0 ? 0 : (uint32_t)(core->random % bound);
}

uint32_t mp_index_of(const mp *core, uint32_t process)
{
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        if (core->options.acceptors[i] == process) {
            return i;
        }
    }
    return MP_NOBODY;
}

/* ---------------------------------------------------------------- the ring */

mp_place *mp_place_of(const mp *core, uint64_t slot)
{
    return &core->places[slot % core->options.window];
}

mp_place *mp_find(const mp *core, uint64_t slot)
{
    mp_place *place = mp_place_of(core, slot);

    return slot != 0 && place->slot == slot ? place : NULL;
}

/* The place of a slot is free for a newer one when that slot has been applied. */
bool mp_fits(const mp *core, uint64_t slot)
{
    return slot != 0 && slot <= core->applied + core->options.window && mp_place_of(core, slot)->slot <= slot;
}

mp_value mp_place_value(const mp *core, const mp_place *place)
{
    size_t at = (size_t)(place - core->places) * core->options.value_max;

    return (mp_value){.type = place->type, .bytes = place->bytes, .data = core->values + at};
}

static mp_place *claim(mp *core, uint64_t slot)
{
    mp_place *place = mp_place_of(core, slot);

    if (place->slot != slot) {
        memset(place, 0, sizeof *place);
        place->slot = slot;
    }
    return place;
}

void mp_put(mp *core, mp_place *place, px_ballot ballot, const mp_value *value)
{
    char *data = core->values + (size_t)(place - core->places) * core->options.value_max;

    place->ballot = ballot;
    place->type = value->type;
    place->bytes = value->bytes;
    if (value->bytes > 0 && value->data != data) {
        memmove(data, value->data, value->bytes);
    }
    if (place->slot > core->highest) {
        core->highest = place->slot;
    }
}

bool mp_tell(const mp *core, mp_message *m, const mp_place *place, px_ballot ballot)
{
    uint64_t bytes = place->bytes;

    for (uint32_t i = 0; i < m->vote_count; i++) {
        bytes += m->votes[i].value.bytes;
    }
    if (m->vote_count == MP_VOTES_MAX || (m->vote_count > 0 && bytes > core->options.value_max)) {
        return false;
    }
    m->votes[m->vote_count++] = (mp_vote){.slot = place->slot, .ballot = ballot, .value = mp_place_value(core, place)};
    return true;
}

/* ---------------------------------------------------------------- output */

bool mp_room_to_send(const mp_output *out)
{
    return out->send_count < MP_SENDS_MAX;
}

mp_message *mp_emit(mp *core, mp_output *out, uint32_t to, mp_kind kind)
{
    /* With no room left the last place is written over by a message that counts as lost. */
    mp_send *send = &out->sends[mp_room_to_send(out) ? out->send_count : MP_SENDS_MAX];

    if (mp_room_to_send(out)) {
        out->send_count++;
    }
    memset(send, 0, sizeof *send);
    send->to = to;
    send->message.kind = (uint8_t)kind;
    send->message.generation = core->generation;
    send->message.chosen = core->chosen;
    return &send->message;
}

bool mp_room_to_record(const mp_output *out)
{
    return out->record_count < MP_RECORDS_MAX;
}

mp_record *mp_note(mp *core, mp_output *out, mp_record_kind kind)
{
    mp_record *record = &out->records[out->record_count++];

    memset(record, 0, sizeof *record);
    record->kind = kind;
    record->number = ++core->records;
    record->chosen = core->chosen;
    return record;
}

/* ---------------------------------------------------------------- the step */

static void on_message(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    if (from >= core->options.count || from == core->options.self) {
        return;
    }
    if (m->ballot != PX_CHOSEN && m->ballot > core->highest_met) {
        core->highest_met = m->ballot;
    }
    core->heard[from] = core->now;
    switch ((mp_kind)m->kind) {
    case MP_PREVOTE:
        mp_on_prevote(core, from, m, out);
        break;
    case MP_PREVOTED:
        mp_on_prevoted(core, from, m, out);
        break;
    case MP_PREPARE:
        mp_on_prepare(core, from, m, out);
        break;
    case MP_PROMISE:
        mp_on_promise(core, from, m, out);
        break;
    case MP_REFUSED:
        mp_on_refused(core, from, m, out);
        break;
    case MP_ACCEPT:
        mp_on_accept(core, from, m, out);
        break;
    case MP_ACCEPTED:
        mp_on_accepted(core, from, m);
        break;
    case MP_HEARTBEAT:
        mp_on_heartbeat(core, from, m, out);
        break;
    case MP_ECHO:
        mp_on_echo(core, from, m, out);
        break;
    case MP_FETCH:
        mp_on_fetch(core, from, m, out);
        break;
    case MP_LEARN:
        mp_on_learn(core, from, m, out);
        break;
    case MP_JOIN:
        mp_on_join(core, from, m, out);
        break;
    default:
        break;
    }
}

static void on_installed(mp *core, const mp_event *event)
{
    if (event->number <= core->chosen) {
        return;
    }
    if (core->role == MP_LEADING) {
        mp_follow(core); /* others may have chosen what this leader has not proposed: see mp_on_learn */
    }
    core->chosen = event->number;
    core->applied = event->number;
    for (uint32_t i = 0; i < core->options.window; i++) {
        if (core->places[i].slot != 0 && core->places[i].slot <= event->number) {
            memset(&core->places[i], 0, sizeof core->places[i]);
        }
    }
    if (core->highest < event->number) {
        core->highest = event->number;
    }
    for (uint32_t i = 0; i < event->admit_count; i++) {
        mp_value value = {.type = MP_ADMIT, .bytes = sizeof(mp_admit), .data = &event->admits[i]};

        mp_admit_chosen(core, &value);
    }
}

/* Carry out what is due, in the order in which durability and answers must follow each other. */
static void pump(mp *core, mp_output *out)
{
    if (core->member_due && mp_room_to_record(out)) {
        mp_record *record = mp_note(core, out, MP_RECORD_MEMBER);

        record->generation = core->generation;
        record->ballot = core->promised;
        core->promised_record = record->number;
        core->member_due = false;
    }
    mp_own_promise_durable(core);
    mp_answer_durable(core, out);
    mp_lead(core, out);
    if (core->serve_to != MP_NOBODY) {
        out->serve = true;
        out->serve_to = core->serve_to;
        out->serve_from = core->serve_from;
        core->serve_to = MP_NOBODY;
    }
    out->again = core->member_due || mp_answers_left(core) || mp_lead_left(core);
    out->chosen = core->chosen;
}

void mp_step(mp *core, const mp_event *event, mp_output *out)
{
    bool led = core->role == MP_LEADING;
    px_ballot ballot = core->ballot;

    out->send_count = 0;
    out->record_count = 0;
    out->again = out->elected = out->deposed = out->serve = false;
    out->reads_to = out->reads_at = 0;
    if (event->now > core->now) {
        core->now = event->now;
    }
    switch (event->kind) {
    case MP_MESSAGE:
        on_message(core, event->from, event->message, out);
        break;
    case MP_TICK:
        mp_tick(core, out);
        break;
    case MP_PROPOSE:
        if (mp_may_propose(core) && event->value.bytes <= core->options.value_max) {
            mp_propose(core, &event->value, out);
        }
        break;
    case MP_PERSISTED:
        if (event->number > core->persisted && event->number <= core->records) {
            core->persisted = event->number;
        }
        break;
    case MP_APPLIED:
        if (event->number > core->applied && event->number <= core->chosen) {
            core->applied = event->number;
        }
        break;
    case MP_INSTALLED:
        on_installed(core, event);
        break;
    case MP_READ:
        if (core->role == MP_LEADING) {
            core->reads++;
        }
        break;
    case MP_RESIGN:
        if (core->role == MP_LEADING) {
            mp_follow(core);
            core->election_at = core->now + 3 * core->options.election;
        }
        break;
    case MP_ENDED:
        mp_on_ended(core, event->from);
        break;
    case MP_AGAIN:
    default:
        break;
    }
    pump(core, out);
    out->deposed = led && (core->role != MP_LEADING || core->ballot != ballot);
    out->elected = core->role == MP_LEADING && (!led || core->ballot != ballot);
}

/* ---------------------------------------------------------------- restoring */

void mp_restore_image(mp *core, uint64_t slot, const mp_admit *admits, uint32_t admit_count)
{
    mp_event event = {.kind = MP_INSTALLED, .number = slot, .admits = admits, .admit_count = admit_count};

    on_installed(core, &event);
}

static bool restore_vote(mp *core, const mp_record *record)
{
    mp_place *place;

    if (record->slot <= core->applied) {
        return true;
    }
    if (record->value.bytes > core->options.value_max) {
        return false;
    }
    if (!mp_fits(core, record->slot)) {
        return false;
    }
    place = claim(core, record->slot);
    if (record->ballot >= place->ballot) {
        mp_put(core, place, record->ballot, &record->value);
        mp_note_admit(core, &record->value);
    }
    return true;
}

bool mp_restore_record(mp *core, const mp_record *record)
{
    switch (record->kind) {
    case MP_RECORD_PROMISE:
        break;
    case MP_RECORD_MEMBER:
        core->generation = record->generation;
        core->member_due = false;
        break;
    case MP_RECORD_VOTE:
        if (!restore_vote(core, record)) {
            return false;
        }
        break;
    default:
        return false;
    }
    if (record->ballot != PX_CHOSEN && record->ballot > core->promised) {
        core->promised = record->ballot; /* to accept at a ballot is to promise it */
    }
    if (core->promised > core->highest_met) {
        core->highest_met = core->promised;
    }
    return true;
}

/* Whoever wrote "chosen" had noted a vote of each of these slots before, and the newest one is of the chosen value. */
bool mp_restore_chosen(mp *core, uint64_t chosen)
{
    while (core->chosen < chosen) {
        if (mp_find(core, core->chosen + 1) == NULL) {
            return false;
        }
        mp_advance(core, core->chosen + 1);
    }
    return true;
}

void mp_restored(mp *core, uint64_t storage, bool joins)
{
    core->options.storage = storage;
    core->options.joins = joins;
    if (core->index != MP_NOBODY && core->generation == 0 && !joins) {
        core->generation = 1;
        core->member_due = true;
    }
}

void mp_restore_applied(mp *core, uint64_t slot)
{
    if (slot > core->applied && slot <= core->chosen) {
        core->applied = slot;
    }
}

/* ---------------------------------------------------------------- questions */

uint64_t mp_chosen(const mp *core)
{
    return core->chosen;
}

mp_value mp_value_at(const mp *core, uint64_t slot)
{
    const mp_place *place = mp_find(core, slot);

    return place == NULL || slot > core->chosen ? (mp_value){0} : mp_place_value(core, place);
}

bool mp_is_leader(const mp *core)
{
    return core->role == MP_LEADING;
}

uint32_t mp_leader(const mp *core)
{
    return core->role == MP_LEADING ? core->options.self : core->leader;
}

px_ballot mp_ballot(const mp *core)
{
    return core->role == MP_LEADING ? core->ballot : core->leads_with;
}

px_ballot mp_promised(const mp *core)
{
    return core->promised;
}

bool mp_may_propose(const mp *core)
{
    return core->role == MP_LEADING && core->repropose >= core->repropose_end && core->first_own != 0 &&
           core->next - 1 - core->chosen < core->options.pipeline && mp_fits(core, core->next) &&
           core->waiting_end - core->waiting_first < 2 * (uint64_t)core->options.window;
}

uint64_t mp_proposed(const mp *core)
{
    return core->next - 1;
}

uint64_t mp_reads(const mp *core)
{
    return core->reads;
}

uint32_t mp_generation(const mp *core)
{
    return core->generation;
}

uint32_t mp_admits(const mp *core, mp_admit *admits)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        if (core->peers[i].chosen.generation > 0) {
            admits[count++] = core->peers[i].chosen;
        }
    }
    return count;
}

uint64_t mp_next_tick(const mp *core)
{
    if (core->role == MP_LEADING) {
        return core->heartbeat_at;
    }
    if (core->role != MP_FOLLOWER && core->resend_at < core->election_at) {
        return core->resend_at;
    }
    return mp_votes(core) ? core->election_at : core->now + core->options.heartbeat;
}

uint64_t mp_heard(const mp *core, uint32_t process)
{
    return process < core->options.count ? core->heard[process] : 0;
}

bool mp_is_acceptor(const mp *core, uint32_t process)
{
    return mp_index_of(core, process) != MP_NOBODY;
}

bool mp_vote_at(const mp *core, uint64_t slot, mp_vote *vote, bool *durable)
{
    const mp_place *place = mp_find(core, slot);

    if (place == NULL || place->ballot == PX_NONE) {
        return false;
    }
    *vote = (mp_vote){.slot = slot, .ballot = place->ballot, .value = mp_place_value(core, place)};
    *durable = place->record <= core->persisted;
    return true;
}

bool mp_check(const mp *core, const char **broken)
{
    const char *what = NULL;

    if (core->applied > core->chosen) {
        what = "applied beyond what is chosen";
    } else if (core->persisted > core->records) {
        what = "a record is durable that was never written";
    } else if (core->role == MP_LEADING && core->promised < core->ballot) {
        what = "a leader has not promised its own ballot";
    } else if (core->role == MP_LEADING && core->promised > core->ballot) {
        what = "a leader has promised a higher ballot to somebody else";
    } else if (core->role == MP_LEADING && core->next <= core->chosen) {
        what = "a leader would propose for a slot that is chosen";
    } else if (core->role != MP_FOLLOWER && !mp_votes(core)) {
        what = "a process without a vote stands for election";
    }
    for (uint64_t slot = core->applied + 1; what == NULL && slot <= core->chosen; slot++) {
        if (mp_find(core, slot) == NULL) {
            what = "a chosen slot that is not applied is no longer there";
        }
    }
    for (uint32_t i = 0; what == NULL && i < core->options.window; i++) {
        const mp_place *place = &core->places[i];

        if (place->slot != 0 && place->slot % core->options.window != i) {
            what = "a slot is in the wrong place";
        } else if (place->ballot != PX_CHOSEN && place->ballot > core->promised) {
            what = "a vote at a ballot above the promised one";
        } else if (core->role == MP_LEADING && place->ballot == PX_CHOSEN && place->slot >= core->next &&
                   place->slot >= core->first_own) {
            what = "a leader will propose for a slot that is chosen";
        }
    }
    if (broken != NULL) {
        *broken = what;
    }
    return what == NULL;
}
