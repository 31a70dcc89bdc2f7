/* What an observer who sees everything finds wrong; see paxos_world.h. */
#include "paxos_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX 2 /* of leader, from then on */

/* --- slots -------------------------------------------------------------------------------------------------------- */

pw_slot *pw_slot_of(pw_world *w, uint64_t slot)
{
    if (slot >= w->slot_room) {
        size_t old = w->slot_room;

        w->slots = sim_grow(w->slots, &w->slot_room, (size_t)slot + 1, sizeof *w->slots);
        memset(w->slots + old, 0, (w->slot_room - old) * sizeof *w->slots);
    }
    if (slot >= w->slot_count) {
        w->slot_count = (size_t)slot + 1;
    }
    return &w->slots[slot];
}

static void remember_admit(pw_world *w, const mp_value *value)
{
    w->admitted = sim_grow(w->admitted, &w->admitted_room, w->admitted_count + 1, sizeof *w->admitted);
    memcpy(&w->admitted[w->admitted_count++], value->data, sizeof *w->admitted);
    w->result->counts[PW_ADMITTED]++;
}

void pw_chose(pw_world *w, const pw_member *m, uint64_t slot, const mp_value *value)
{
    uint64_t hash = pw_hash(value->type, value->data, value->bytes);
    pw_slot *s;

    if (value->type < MP_NOOP || value->type > MP_ADMIT ||
        (value->type == MP_ADMIT && value->bytes != sizeof(mp_admit))) {
        pw_fail(w, "shell", "%" PRIu32 " has no value at the chosen slot %" PRIu64, m->id, slot);
        return;
    }
    s = pw_slot_of(w, slot);
    if (s->known) {
        if (s->hash != hash || s->type != value->type) {
            pw_fail(w, "agreement",
                    "slot %" PRIu64 ": %" PRIu32 " learned %d:%" PRIu32 ":%016" PRIx64 ", before it was %d:%" PRIu32
                    ":%016" PRIx64,
                    slot, m->id, value->type, value->bytes, hash, s->type, s->bytes, s->hash);
        }
        return;
    }
    *s = (pw_slot){.known = true, .type = value->type, .bytes = value->bytes, .hash = hash, .state = s->state};
    w->result->counts[PW_SLOTS]++;
    if (value->type == MP_ADMIT) {
        remember_admit(w, value);
    }
}

void pw_state(pw_world *w, const pw_member *m, uint64_t slot, uint64_t state)
{
    pw_slot *s = pw_slot_of(w, slot);

    if (s->state == 0) {
        s->state = state;
    } else if (s->state != state) {
        pw_fail(w, "agreement", "%" PRIu32 " is in another state after slot %" PRIu64, m->id, slot);
    }
}

/* It knows that a slot behind a gap is chosen: others may rely on that, and it must not take it back by a vote. */
static void look_at_known(pw_world *w, pw_member *m)
{
    const mp *core = w->kind->core(m);
    uint64_t chosen = mp_chosen(core);
    mp_vote vote;
    bool durable;

    for (uint64_t slot = chosen + 1; slot <= chosen + w->paxos.window; slot++) {
        bool there = mp_vote_at(core, slot, &vote, &durable);

        if (there && vote.ballot == PX_CHOSEN && slot >= m->known_room) {
            size_t old = m->known_room;

            m->known = sim_grow(m->known, &m->known_room, (size_t)slot + 1, sizeof *m->known);
            memset(m->known + old, 0, (m->known_room - old) * sizeof *m->known);
        }
        if (there && vote.ballot == PX_CHOSEN) {
            m->known[slot] = m->life;
        } else if (slot < m->known_room && m->known[slot] == m->life) {
            pw_fail(w, "invariant", "%" PRIu32 " knew slot %" PRIu64 " to be chosen and knows it no more", m->id, slot);
        }
    }
}

/* Whoever says that something is chosen, from memory or from its log, says what was chosen. */
static void watch_told(pw_world *w, const pw_member *m, const mp_message *message)
{
    for (uint32_t i = 0; i < message->vote_count; i++) {
        const mp_vote *vote = &message->votes[i];
        const pw_slot *s = vote->slot < w->slot_count ? &w->slots[vote->slot] : NULL;

        if (vote->ballot == PX_CHOSEN && s != NULL && s->known &&
            (s->type != vote->value.type || s->hash != pw_hash(s->type, vote->value.data, vote->value.bytes))) {
            pw_fail(w, "agreement", "%" PRIu32 " tells that slot %" PRIu64 " is %d:%" PRIu32 ", it is %d:%" PRIu32,
                    m->id, vote->slot, vote->value.type, vote->value.bytes, s->type, s->bytes);
        }
    }
}

/* --- what an acceptor says ---------------------------------------------------------------------------------------- */

static px_ballot *said_at(pw_said *said, uint64_t slot)
{
    if (slot >= said->slots) {
        size_t old = said->slots;

        said->accepted = sim_grow(said->accepted, &said->slots, (size_t)slot + 1, sizeof *said->accepted);
        memset(said->accepted + old, 0, (said->slots - old) * sizeof *said->accepted);
    }
    return &said->accepted[slot];
}

void pw_forget_said(pw_member *m)
{
    free(m->said.accepted);
    memset(&m->said, 0, sizeof m->said);
}

/* Is its storage the first one, or was it admitted? */
static bool may_vote(const pw_world *w, const pw_member *m)
{
    if (!m->formed || m->storage == m->original) {
        return true;
    }
    for (size_t i = 0; i < w->admitted_count; i++) {
        if (w->admitted[i].process == m->id && w->admitted[i].storage == m->storage) {
            return true;
        }
    }
    return false;
}

void pw_has_vote(pw_world *w, pw_member *m)
{
    (void)w;
    m->lost = false;
    if (!m->formed) {
        m->formed = true;
        m->original = m->storage;
    }
}

static void watch_promise(pw_world *w, pw_member *m, const mp_message *message)
{
    if (message->ballot < m->said.promised) {
        pw_fail(w, "promise", "%" PRIu32 " promises %" PRIx64 " after %" PRIx64, m->id, message->ballot,
                m->said.promised);
    }
    m->said.promised = message->ballot;
    for (uint64_t slot = message->slot > message->chosen ? message->slot : message->chosen + 1;
         slot < m->said.slots && (!message->more || slot <= message->to); slot++) {
        bool told = m->said.accepted[slot] == PX_NONE;

        for (uint32_t i = 0; i < message->vote_count; i++) {
            const mp_vote *vote = &message->votes[i];
            told = told || (vote->slot == slot && vote->ballot >= m->said.accepted[slot]);
        }
        if (!told) {
            pw_fail(w, "promise", "%" PRIu32 " promises %" PRIx64 " and does not tell its vote of slot %" PRIu64, m->id,
                    message->ballot, slot);
        }
    }
}

static void watch_accepted(pw_world *w, pw_member *m, const mp_message *message, uint64_t first)
{
    if (message->ballot < m->said.promised) {
        pw_fail(w, "promise", "%" PRIu32 " accepts at %" PRIx64 " after it promised %" PRIx64, m->id, message->ballot,
                m->said.promised);
    }
    if (message->to > w->slot_count + 2 * (uint64_t)w->paxos.window) {
        pw_fail(w, "shell", "%" PRIu32 " says it has accepted slot %" PRIu64, m->id, message->to);
        return;
    }
    for (uint64_t slot = first; slot <= message->to; slot++) {
        px_ballot *at = said_at(&m->said, slot);

        *at = message->ballot > *at ? message->ballot : *at;
    }
}

void pw_watch_message(pw_world *w, pw_member *m, uint32_t to, const mp_message *message)
{
    bool votes = message->kind == MP_PROMISE || message->kind == MP_ACCEPTED || message->kind == MP_ECHO;
    char text[400];

    if (w->options->trace != NULL) {
        pw_print_message(message, text, sizeof text);
        pw_say(w, m, "to %d: %s", (int)to, text);
    }
    watch_told(w, m, message);
    if (!votes || message->generation == 0) {
        return;
    }
    if (!m->acceptor || !may_vote(w, m)) {
        pw_fail(w, "generation", "%" PRIu32 " has no vote and says %s", m->id,
                message->kind == MP_PROMISE ? "PROMISE" : "ACCEPTED");
        return;
    }
    switch (message->kind) {
    case MP_PROMISE:
        watch_promise(w, m, message);
        break;
    case MP_ACCEPTED:
        watch_accepted(w, m, message, message->slot);
        break;
    default:
        watch_accepted(w, m, message, message->chosen + 1);
    }
}

void pw_print_message(const mp_message *x, char *text, size_t bytes)
{
    static const char *const kinds[] = {"?",        "PREVOTE",   "PREVOTED", "PREPARE", "PROMISE", "REFUSED", "ACCEPT",
                                        "ACCEPTED", "HEARTBEAT", "ECHO",     "FETCH",   "LEARN",   "JOIN"};
    int at = snprintf(text, bytes,
                      "%s ballot %" PRIx64 " promised %" PRIx64 " slot %" PRIu64 "..%" PRIu64 " chosen %" PRIu64
                      " sequence %" PRIu64 " generation %" PRIu32 "%s%s",
                      kinds[x->kind <= MP_JOIN ? x->kind : 0], x->ballot, x->promised, x->slot, x->to, x->chosen,
                      x->sequence, x->generation, x->yes ? " yes" : "", x->more ? " more" : "");

    for (uint32_t i = 0; i < x->vote_count && at >= 0 && (size_t)at < bytes; i++) {
        at += snprintf(text + at, bytes - (size_t)at, " [%" PRIu64 " @%" PRIx64 " %d:%" PRIu32 "]", x->votes[i].slot,
                       x->votes[i].ballot, x->votes[i].value.type, x->votes[i].value.bytes);
    }
}

/* --- after each event --------------------------------------------------------------------------------------------- */

static void look_at_chosen(pw_world *w, pw_member *m)
{
    const mp *core = w->kind->core(m);
    uint64_t chosen = mp_chosen(core);

    if (chosen < m->looked) {
        pw_fail(w, "invariant", "%" PRIu32 " knew slots to be chosen up to %" PRIu64 ", now up to %" PRIu64, m->id,
                m->looked, chosen);
    }
    for (uint64_t slot = m->looked + 1; slot <= chosen; slot++) {
        mp_value value = mp_value_at(core, slot);

        if (value.type != 0) {
            pw_chose(w, m, slot, &value);
        }
    }
    m->looked = chosen;
}

static void look_at_leases(pw_world *w, pw_member *m)
{
    for (uint32_t i = 0; i < w->count; i++) {
        pw_member *other = &w->members[i];

        if (other != m && other->up && mp_lease_holds(w->kind->core(other), pw_local(w, other))) {
            pw_fail(w, "lease", "%" PRIu32 " and %" PRIu32 " hold the leader's lease", m->id, other->id);
        }
    }
}

void pw_watch_member(pw_world *w, pw_member *m)
{
    const mp *core = w->kind->core(m);
    const char *broken = "?";
    bool leads = mp_is_leader(core);

    if (!mp_check(core, &broken)) {
        pw_fail(w, "invariant", "%" PRIu32 ": %s", m->id, broken);
    }
    look_at_chosen(w, m);
    look_at_known(w, m);
    if (leads && mp_lease_holds(core, pw_local(w, m))) {
        look_at_leases(w, m);
    }
    if (leads != m->led) {
        m->led = leads;
        pw_say(w, m, "%s %" PRIx64, leads ? "leads at" : "leads no more; follows", mp_ballot(core));
        w->result->counts[PW_ELECTED] += leads;
        if (leads && w->healed_at != 0 && !m->dead && w->now > w->healed_at + CALM_ELECTIONS * w->paxos.election &&
            ++w->changes > CHANGES_MAX) {
            pw_fail(w, "stable", "%" PRIu32 " changes of leader in a group that is well", w->changes);
        }
    }
    if (m->acceptor && mp_generation(core) > 0) {
        if (!may_vote(w, m)) {
            pw_fail(w, "generation", "%" PRIu32 " lost its disk and has a vote without being admitted", m->id);
        }
    }
    m->lost = m->lost || (m->acceptor && mp_generation(core) == 0);
    if (w->kind->look != NULL) {
        w->kind->look(w, m);
    }
}

/* --- at the end --------------------------------------------------------------------------------------------------- */

static bool is_behind(const pw_world *w, const pw_member *m, uint64_t last)
{
    return pw_is_healed(w, m) && (w->kind->applied(m) < last || (m->acceptor && mp_generation(w->kind->core(m)) == 0));
}

static uint64_t last_applied(const pw_world *w)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        const pw_member *m = &w->members[i];

        if (pw_is_healed(w, m) && w->kind->applied(m) > last) {
            last = w->kind->applied(m);
        }
    }
    return last;
}

bool pw_is_over(pw_world *w)
{
    uint64_t last = last_applied(w);

    if (pw_may_ask(w) || !w->kind->quiet(w)) {
        return false;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (is_behind(w, &w->members[i], last)) {
            return false;
        }
    }
    return true;
}

void pw_watch_end(pw_world *w)
{
    uint64_t last = last_applied(w);
    uint32_t leaders = 0;

    if (!w->kind->quiet(w)) {
        pw_fail(w, "live", "%" PRIu64 " ms after the healing there are questions without an answer",
                (w->now - w->healed_at) / 1000);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        const pw_member *m = &w->members[i];

        leaders += pw_is_healed(w, m) && mp_is_leader(w->kind->core(m));
        if (is_behind(w, m, last)) {
            pw_fail(w, "behind",
                    "%" PRIu32 " has applied slots up to %" PRIu64 ", others up to %" PRIu64
                    "; its generation is %" PRIu32,
                    i, w->kind->applied(m), last, mp_generation(w->kind->core(m)));
        }
    }
    if (w->kind->finish != NULL) {
        w->kind->finish(w);
    }
    if (leaders != 1) {
        pw_fail(w, "live", "%" PRIu32 " leaders in a group that is well", leaders);
    }
}
