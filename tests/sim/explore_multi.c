/* One process of Multi-Paxos for the exploration: the thinnest shell around the core. Words: explore_multi.h.
 *
 * Time is left out: any timer may be due whenever the model chooses, and everybody has not heard of anybody for long. A
 * core's clock stands still; after each step what it remembers of times, and what nothing will read again, is set to
 * one and the same value, so that states that cannot be told apart are one. */
#include "explore_multi.h"

#include "paxos/multi_core.h"

#include <stdlib.h>

#define NOW UINT64_C(1000000)

em_bounds em_limits;

/* The cores have pointers into themselves: each always runs in the same place. */
static mp *rooms[EM_COUNT];

static void options_of(uint32_t self, mp_options *options)
{
    memset(options, 0, sizeof *options);
    options->self = self;
    options->count = options->acceptor_count = EM_COUNT;
    for (uint32_t i = 0; i < EM_COUNT; i++) {
        options->acceptors[i] = i;
    }
    options->window = EM_WINDOW;
    options->value_max = EM_VALUE_MAX;
    options->pipeline = EM_WINDOW / 2;
    options->heartbeat = 100;
    options->election = 1000;
    options->seed = 1;
    options->storage = self + 1;
}

static size_t core_bytes(void)
{
    mp_options options;

    options_of(0, &options);
    return mp_bytes(&options);
}

size_t em_bytes(void)
{
    return sizeof(em_member) + core_bytes();
}

/* --- values and messages without pointers ----------------------------------------- */

static em_value pack_value(const mp_value *value)
{
    em_value packed = {.type = value->type, .bytes = value->bytes};

    if (value->bytes > sizeof packed.data) {
        fprintf(stderr, "explore_multi: a value that nobody proposed\n");
        exit(2);
    }
    if (value->bytes > 0) {
        memcpy(packed.data, value->data, value->bytes);
    }
    return packed;
}

static void pack_message(em_message *packed, const mp_message *m)
{
    memset(packed, 0, sizeof *packed);
    packed->kind = m->kind;
    packed->yes = m->yes;
    packed->more = m->more;
    packed->generation = m->generation;
    packed->vote_count = m->vote_count;
    memcpy(packed->generations, m->generations, sizeof packed->generations);
    packed->ballot = m->ballot;
    packed->promised = m->promised;
    packed->slot = m->slot;
    packed->to = m->to;
    packed->chosen = m->chosen;
    packed->sequence = m->sequence;
    if (m->vote_count > EM_VOTES) {
        fprintf(stderr, "explore_multi: more than EM_VOTES votes\n");
        exit(2);
    }
    for (uint32_t i = 0; i < m->vote_count; i++) {
        packed->votes[i].slot = m->votes[i].slot;
        packed->votes[i].ballot = m->votes[i].ballot;
        packed->votes[i].value = pack_value(&m->votes[i].value);
    }
}

static mp_value unpack_value(const em_value *packed)
{
    return (mp_value){.type = (uint8_t)packed->type, .bytes = packed->bytes, .data = packed->data};
}

/* The values stay in `packed`. */
static void unpack_message(mp_message *m, const em_message *packed)
{
    memset(m, 0, sizeof *m);
    m->kind = (uint8_t)packed->kind;
    m->yes = packed->yes;
    m->more = packed->more;
    m->generation = packed->generation;
    m->vote_count = packed->vote_count;
    memcpy(m->generations, packed->generations, sizeof packed->generations);
    m->ballot = packed->ballot;
    m->promised = packed->promised;
    m->slot = packed->slot;
    m->to = packed->to;
    m->chosen = packed->chosen;
    m->sequence = packed->sequence;
    for (uint32_t i = 0; i < packed->vote_count; i++) {
        m->votes[i].slot = packed->votes[i].slot;
        m->votes[i].ballot = packed->votes[i].ballot;
        m->votes[i].value = unpack_value(&packed->votes[i].value);
    }
}

/* --- states that cannot be told apart ----------------------------------------- */

static void forget_times(mp *core)
{
    core->now = NOW;
    core->random = 1;
    core->election_at = core->resend_at = core->heartbeat_at = NOW;
    core->leader_heard = core->fetch_not_before = core->join_at = core->granted_until = 0;
    memset(core->sent_at, 0, sizeof core->sent_at);
    memset(core->heard, 0, EM_COUNT * sizeof *core->heard);
    for (uint32_t i = 0; i < EM_COUNT; i++) {
        core->peers[i].answered_at = core->role == MP_LEADING ? NOW : 0;
    }
}

/* What is set anew before it is read again: by stand, prepare and win. */
static void forget_roles(mp *core)
{
    for (uint32_t i = 0; i < EM_COUNT; i++) {
        mp_peer *peer = &core->peers[i];

        peer->granted = core->role == MP_PREVOTING && peer->granted;
        if (core->role != MP_PREPARING) {
            peer->promised = false;
            peer->promise_from = 0;
            peer->generation = 0;
        }
        peer->echoed = core->role == MP_LEADING ? peer->echoed : 0;
    }
    if (core->role != MP_PREPARING) {
        core->prepare_from = core->promise_record = 0;
    }
    if (core->role != MP_LEADING) {
        core->next = core->pushed = core->sequence = 0;
    }
    if (core->role == MP_FOLLOWER) {
        core->ballot = PX_NONE;
        memset(core->bests, 0, (size_t)EM_WINDOW * EM_VALUE_MAX);
    }
    for (uint32_t i = 0; i < EM_WINDOW; i++) {
        mp_place *place = &core->places[i];

        place->acks = core->role == MP_LEADING ? place->acks : 0;
        if (core->role == MP_FOLLOWER) {
            place->best = PX_NONE;
            place->best_bytes = place->best_type = 0;
        }
    }
}

/* Numbers of records count from the last durable one, answers that wait from the first. */
static void renumber(mp *core)
{
    uint64_t base = core->persisted, ring = 2 * EM_WINDOW;
    mp_waiting left[2 * EM_WINDOW];
    uint64_t count = core->waiting_end - core->waiting_first;

    memset(left, 0, sizeof left);
    for (uint64_t i = 0; i < count; i++) {
        left[i] = core->waiting[(core->waiting_first + i) % ring];
        left[i].record = left[i].record > base ? left[i].record - base : 0;
    }
    memcpy(core->waiting, left, sizeof left);
    core->waiting_first = 0;
    core->waiting_end = count;
    core->persisted = 0;
    core->records -= base;
    core->promised_record = core->promised_record > base ? core->promised_record - base : 0;
    core->promise_record = core->promise_record > base ? core->promise_record - base : 0;
    for (uint32_t i = 0; i < EM_WINDOW; i++) {
        core->places[i].record = core->places[i].record > base ? core->places[i].record - base : 0;
    }
}

/* --- properties of one process ----------------------------------------- */

static void broken(explore_step *step, const char *what)
{
    if (!em_limits.blind) {
        explore_broken(step, what);
    }
}

static bool has_durable(const em_member *one, uint64_t slot, px_ballot ballot)
{
    for (uint32_t i = 0; i < one->synced; i++) {
        const em_stored *r = &one->log[i];

        if (r->kind == MP_RECORD_VOTE && r->slot == slot && (r->ballot == ballot || r->ballot == PX_CHOSEN)) {
            return true;
        }
    }
    return false;
}

static bool has_promised_durably(const em_member *one, px_ballot ballot)
{
    for (uint32_t i = 0; i < one->synced; i++) {
        if (one->log[i].ballot >= ballot && one->log[i].ballot != PX_CHOSEN) {
            return true;
        }
    }
    return false;
}

/* Nothing that is said rests on what a crash can take away. */
static void check_said(explore_step *step, em_member *one, const mp_message *m, uint64_t chosen)
{
    if (m->kind == MP_PROMISE) {
        one->promised = m->ballot > one->promised ? m->ballot : one->promised;
        if (!has_promised_durably(one, m->ballot)) {
            broken(step, "durable: makes a promise that is not on its disk");
        }
    }
    if (m->kind == MP_ACCEPTED || m->kind == MP_ECHO) {
        for (uint64_t slot = m->kind == MP_ACCEPTED ? m->slot : chosen + 1; slot <= m->to; slot++) {
            if (!has_durable(one, slot, m->ballot)) {
                broken(step, "durable: says that it has accepted what is not on its disk");
            }
        }
    }
}

static void check_recorded(explore_step *step, const em_member *one, const em_stored *record)
{
    if (record->kind == MP_RECORD_VOTE && record->ballot != PX_CHOSEN && record->ballot < one->promised) {
        broken(step, "promise: accepts below what it has promised");
    }
    for (uint32_t i = 0; i < one->log_count; i++) {
        const em_stored *r = &one->log[i];

        if (r->kind == MP_RECORD_VOTE && record->kind == MP_RECORD_VOTE && r->slot == record->slot &&
            r->ballot == record->ballot && !em_same(r->value, record->value)) {
            broken(step, "ballot: two values for a slot at one ballot");
        }
    }
}

static void note_known(explore_step *step, em_member *one, const mp *core, uint64_t before)
{
    const char *what;

    for (uint64_t slot = before + 1; slot <= mp_chosen(core); slot++) {
        mp_value value = mp_value_at(core, slot);

        if (slot >= EM_SLOTS) {
            fprintf(stderr, "explore_multi: more than EM_SLOTS slots\n");
            exit(2);
        }
        if (value.type == 0) {
            explore_broken(step, "prefix: a chosen slot has no value");
            continue;
        }
        em_value packed = pack_value(&value);
        if (one->known[slot].type != 0 && !em_same(one->known[slot], packed)) {
            explore_broken(step, "agreement: a process knows two values of a slot");
        }
        one->known[slot] = packed;
    }
    if (!mp_check(core, &what)) {
        broken(step, "invariant: of mp_check");
    }
}

/* --- the shell ----------------------------------------- */

static void carry_out(explore_step *step, uint32_t actor, em_member *one, const mp *core, const mp_output *out)
{
    for (uint32_t i = 0; i < out->send_count; i++) {
        const mp_send *send = &out->sends[i];
        uint32_t all = ((1u << EM_COUNT) - 1) & ~(1u << actor);
        em_message packed;

        if (send->message.kind == MP_PREVOTE || (em_limits.lost >> send->message.kind & 1) != 0) {
            continue; /* see stand */
        }
        check_said(step, one, &send->message, mp_chosen(core));
        pack_message(&packed, &send->message);
        explore_send(step, send->to < EM_COUNT ? 1u << send->to : all, &packed);
    }
    for (uint32_t i = 0; i < out->record_count; i++) {
        const mp_record *r = &out->records[i];
        em_stored stored = {.ballot = r->ballot,
                            .slot = r->slot,
                            .chosen = r->chosen,
                            .kind = r->kind,
                            .generation = r->generation,
                            .value = r->kind == MP_RECORD_VOTE ? pack_value(&r->value) : (em_value){0}};

        if (one->log_count == EM_LOG) {
            fprintf(stderr, "explore_multi: more than EM_LOG records\n");
            exit(2);
        }
        check_recorded(step, one, &stored);
        one->log[one->log_count++] = stored;
    }
}

static mp *enter(uint32_t actor, const em_member *one)
{
    memcpy(rooms[actor], one->core, core_bytes());
    return rooms[actor];
}

/* false: one ballot more than the bounds allow. */
static bool leave(uint32_t actor, em_member *one)
{
    mp *core = rooms[actor];

    if ((core->role == MP_PREPARING || core->role == MP_LEADING) && core->ballot != one->own) {
        one->own = core->ballot;
        one->ballots++;
    }
    forget_times(core);
    forget_roles(core);
    renumber(core);
    memcpy(one->core, core, core_bytes());
    return one->ballots <= em_limits.ballots[actor];
}

/* One event and all that must follow it at once. What is chosen counts as applied. */
static void feed(explore_step *step, uint32_t actor, em_member *one, mp_event event)
{
    mp *core = rooms[actor];
    mp_output out;

    event.now = NOW;
    for (uint32_t i = 0;; i++) {
        uint64_t before = mp_chosen(core);

        mp_step(core, &event, &out);
        carry_out(step, actor, one, core, &out);
        note_known(step, one, core, before);
        if (i == 100) {
            explore_broken(step, "endless: a core asks again and again");
            return;
        }
        if (out.again) {
            event = (mp_event){.kind = MP_AGAIN, .now = NOW};
        } else if (core->applied < mp_chosen(core)) {
            event = (mp_event){.kind = MP_APPLIED, .now = NOW, .number = mp_chosen(core)};
        } else {
            return;
        }
    }
}

static void written(explore_step *step, uint32_t actor, em_member *one)
{
    one->synced = one->log_count;
    feed(step, actor, one, (mp_event){.kind = MP_PERSISTED, .number = rooms[actor]->records});
}

void em_start(uint32_t actor, void *local)
{
    em_member *one = local;
    mp_options options;
    mp_output out;

    options_of(actor, &options);
    rooms[actor] = calloc(1, core_bytes());
    if (rooms[actor] == NULL) {
        exit(2);
    }
    mp_init(rooms[actor], &options, NOW);
    mp_step(rooms[actor], &(mp_event){.kind = MP_AGAIN, .now = NOW}, &out); /* it may vote, says its disk */
    carry_out(NULL, actor, one, rooms[actor], &out);
    one->synced = one->log_count;
    mp_step(rooms[actor], &(mp_event){.kind = MP_PERSISTED, .now = NOW, .number = rooms[actor]->records}, &out);
    leave(actor, one);
}

static void restart(explore_step *step, uint32_t actor, em_member *one, uint32_t kept)
{
    mp *core = rooms[actor];
    mp_options options;

    memset(&one->log[kept], 0, (EM_LOG - kept) * sizeof one->log[0]);
    one->log_count = one->synced = kept;
    one->own = PX_NONE;
    options_of(actor, &options);
    options.joins = one->losses > 0;
    options.storage += 16 * (uint64_t)one->losses;
    memset(core, 0, core_bytes());
    mp_init(core, &options, NOW);
    for (uint32_t i = 0; i < kept; i++) {
        const em_stored *stored = &one->log[i];
        mp_record record = {.number = i + 1,
                            .kind = (mp_record_kind)stored->kind,
                            .ballot = stored->ballot,
                            .slot = stored->slot,
                            .chosen = stored->chosen,
                            .generation = stored->generation,
                            .value = unpack_value(&stored->value)};

        if (!mp_restore_chosen(core, record.chosen)) {
            explore_broken(step, "restore: what was chosen cannot be restored");
        }
        note_known(step, one, core, core->applied);
        mp_restore_applied(core, mp_chosen(core));
        if (!mp_restore_record(core, &record)) {
            explore_broken(step, "restore: a record cannot be restored");
        }
    }
    if (core->promised < one->promised) {
        broken(step, "promise: forgotten at a restart");
    }
    feed(step, actor, one, (mp_event){.kind = MP_AGAIN});
}

/* Pre-votes bring no danger, only peace: here they are always granted, and not sent. */
static void stand(explore_step *step, uint32_t actor, em_member *one)
{
    mp_message granted = {.kind = MP_PREVOTED, .yes = true, .generation = 1};

    feed(step, actor, one, (mp_event){.kind = MP_TICK});
    feed(step, actor, one, (mp_event){.kind = MP_MESSAGE, .from = (actor + 1) % EM_COUNT, .message = &granted});
}

static bool crash(explore_step *step, uint32_t actor, em_member *one, em_choice choice)
{
    uint32_t left = one->log_count - one->synced;

    if (one->crashes == em_limits.crashes[actor] || (choice == EM_CRASH_WRITTEN && left == 0) ||
        (choice == EM_CRASH_FIRST && left < 2)) {
        return false;
    }
    one->crashes++;
    restart(step, actor, one,
            choice == EM_CRASH_LOST    ? one->synced
            : choice == EM_CRASH_FIRST ? one->synced + 1
                                       : one->log_count);
    return true;
}

/* It has promised nothing any more, as far as anybody may ask. */
static bool lose_disk(explore_step *step, uint32_t actor, em_member *one)
{
    if (one->losses == em_limits.losses[actor] || one->past_count + one->synced > EM_LOG) {
        return false;
    }
    memcpy(&one->past[one->past_count], one->log, one->synced * sizeof one->log[0]);
    one->past_count += one->synced;
    one->losses++;
    one->promised = PX_NONE;
    restart(step, actor, one, 0);
    return true;
}

bool em_choose(explore_step *step, uint32_t actor, uint32_t choice, void *local)
{
    em_member *one = local;
    mp *core = enter(actor, one);
    uint64_t number = (uint64_t)(actor + 1) * 10 + one->proposals;

    switch ((em_choice)choice) {
    case EM_WRITTEN:
        if (one->synced == one->log_count) {
            return false;
        }
        written(step, actor, one);
        break;
    case EM_CRASH_LOST:
    case EM_CRASH_FIRST:
    case EM_CRASH_WRITTEN:
        if (!crash(step, actor, one, (em_choice)choice)) {
            return false;
        }
        break;
    case EM_LOSE:
        if (!lose_disk(step, actor, one)) {
            return false;
        }
        break;
    case EM_STAND:
        if (core->role == MP_LEADING || one->ballots == em_limits.ballots[actor] || mp_generation(core) == 0) {
            return false;
        }
        stand(step, actor, one);
        break;
    case EM_HEARTBEAT:
        if (core->role != MP_LEADING || one->heartbeats == em_limits.heartbeats[actor]) {
            return false;
        }
        one->heartbeats++;
        feed(step, actor, one, (mp_event){.kind = MP_TICK});
        break;
    case EM_PROPOSE:
        if (!mp_may_propose(core) || one->proposals == em_limits.proposals[actor]) {
            return false;
        }
        one->proposals++;
        feed(step, actor, one,
             (mp_event){.kind = MP_PROPOSE, .value = {.type = MP_COMMANDS, .bytes = sizeof number, .data = &number}});
        break;
    case EM_CHOICES:
    default:
        return false;
    }
    return leave(actor, one);
}

bool em_deliver(explore_step *step, uint32_t actor, uint32_t from, const void *data, void *local)
{
    em_message packed;
    mp_message message;

    memcpy(&packed, data, sizeof packed);
    unpack_message(&message, &packed);
    enter(actor, local);
    feed(step, actor, local, (mp_event){.kind = MP_MESSAGE, .from = from, .message = &message});
    return leave(actor, local);
}

bool em_urgent(uint32_t actor, const void *local)
{
    const em_member *one = local;

    (void)actor;
    return em_limits.fused && one->synced < one->log_count;
}
