/* A core in the thinnest shell that keeps its contract: the log is an array, of which a crash takes away what was not
 * synced, or some of it. The state machine is a hash of all that was applied. */
#include "core_member.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SERVED_MAX 4 /* messages at once for somebody who lags behind */

/* --- the log ------------------------------------------------------------------------------------------------------ */

static void note_durable(pw_world *w, pw_member *m, const mp_record *record)
{
    cm_shell *s = m->body;

    switch (record->kind) {
    case MP_RECORD_PROMISE:
        s->durable_promise = record->ballot > s->durable_promise ? record->ballot : s->durable_promise;
        break;
    case MP_RECORD_MEMBER:
        pw_has_vote(w, m);
        s->durable_promise = record->ballot > s->durable_promise ? record->ballot : s->durable_promise;
        break;
    case MP_RECORD_VOTE:
        if (record->slot >= s->durable_room) {
            size_t old = s->durable_room;

            s->durable = sim_grow(s->durable, &s->durable_room, (size_t)record->slot + 1, sizeof *s->durable);
            memset(s->durable + old, 0, (s->durable_room - old) * sizeof *s->durable);
        }
        if (record->ballot > s->durable[record->slot]) {
            s->durable[record->slot] = record->ballot;
        }
        if (record->ballot != PX_CHOSEN && record->ballot > s->durable_promise) {
            s->durable_promise = record->ballot;
        }
        break;
    }
}

static px_ballot durable_vote(const cm_shell *s, uint64_t slot)
{
    if (slot <= s->image.slot) {
        return PX_CHOSEN;
    }
    return slot < s->durable_room ? s->durable[slot] : PX_NONE;
}

static void append(pw_world *w, pw_member *m, const mp_record *record)
{
    cm_shell *s = m->body;
    cm_stored *at;

    if (!m->acceptor) {
        pw_fail(w, "shell", "%" PRIu32 " is no acceptor and has a record", m->id);
        return;
    }
    if (record->number != s->last_number + 1) {
        pw_fail(w, "shell", "%" PRIu32 ": record %" PRIu64 " after %" PRIu64, m->id, record->number, s->last_number);
    }
    if (record->value.bytes > sizeof at->bytes) {
        pw_fail(w, "shell", "%" PRIu32 ": a value of %" PRIu32 " bytes", m->id, record->value.bytes);
        return;
    }
    s->last_number = record->number;
    s->log = sim_grow(s->log, &s->log_room, s->log_count + 1, sizeof *s->log);
    at = &s->log[s->log_count++];
    at->record = *record;
    if (record->value.bytes > 0) {
        memcpy(at->bytes, record->value.data, record->value.bytes);
    }
    at->record.value.data = NULL;
    pw_say(w, m,
           "records %d ballot %" PRIx64 " slot %" PRIu64 " chosen %" PRIu64 " generation %" PRIu32 " value %d:%" PRIu32,
           (int)record->kind, record->ballot, record->slot, record->chosen, record->generation, record->value.type,
           record->value.bytes);
}

static void begin_sync(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;

    if (s->syncing == 0 && s->synced < s->log_count) {
        s->syncing = s->log_count;
        pw_plan(w, w->now + w->weather.disk / 2 + pw_below(w, w->weather.disk + 1),
                (pw_happening){.what = PW_WRITTEN, .to = m->id, .life = m->life});
    }
}

/* An image of the state now, and a log without what is in it: the promise stays, votes may have made it. */
static void trim(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;
    size_t kept = 0;
    size_t synced = 0;
    size_t member = SIZE_MAX;
    bool promise = s->durable_promise != PX_NONE;

    if (s->log_count < w->image_after + 2 * s->options.window) {
        return;
    }
    w->result->counts[PW_IMAGES]++;
    s->image = s->state;
    for (size_t i = 0; i < s->synced; i++) {
        member = s->log[i].record.kind == MP_RECORD_MEMBER ? i : member;
    }
    for (size_t i = 0; i < s->log_count; i++) {
        const mp_record *r = &s->log[i].record;
        bool needed = i >= s->synced || i == member || (r->kind == MP_RECORD_VOTE && r->slot > s->image.slot);

        if (needed || promise) {
            synced += i < s->synced;
            s->log[kept++] = s->log[i];
        }
        if (!needed && promise) { /* a place for it that is no longer needed */
            s->log[kept - 1].record = (mp_record){.kind = MP_RECORD_PROMISE, .ballot = s->durable_promise};
            promise = false;
        }
    }
    s->log_count = kept;
    s->synced = synced;
    pw_say(w, m, "keeps an image after slot %" PRIu64, s->image.slot);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

typedef struct parcel {
    bool has_image;
    cm_state image;
    mp_message message;
} parcel;

static void send_one(pw_world *w, const pw_member *m, uint32_t to, const mp_message *message)
{
    unsigned char data[sizeof(parcel) + MP_VOTES_MAX * CM_VALUE_MAX];
    parcel p = {.message = *message};
    size_t bytes = sizeof p;

    for (uint32_t i = 0; i < message->vote_count; i++) {
        const mp_value *value = &message->votes[i].value;

        if (value->bytes > 0) {
            memcpy(data + bytes, value->data, value->bytes);
        }
        bytes += value->bytes;
    }
    memcpy(data, &p, sizeof p);
    pw_send(w, m->id, to, data, bytes);
}

static void send_to(pw_world *w, const pw_member *m, uint32_t to, const mp_message *message)
{
    if (to < w->count) {
        send_one(w, m, to, message);
        return;
    }
    if (to < MP_TO_ALL) {
        pw_fail(w, "shell", "%" PRIu32 " sends to %" PRIu32, m->id, to);
        return;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        bool wanted = to == MP_TO_ALL || (to == MP_TO_ACCEPTORS) == w->members[i].acceptor;

        if (i != m->id && wanted) {
            send_one(w, m, i, message);
        }
    }
}

/* Nothing that is said may rest on what a crash can take away. */
static void check_durable(pw_world *w, const pw_member *m, const mp_message *message)
{
    const cm_shell *s = m->body;
    uint64_t slot = message->kind == MP_ACCEPTED ? message->slot : message->chosen + 1;

    if (message->generation == 0) {
        return;
    }
    if (message->kind == MP_PROMISE && s->durable_promise < message->ballot) {
        pw_fail(w, "durable", "%" PRIu32 " promises %" PRIx64 ", on disk is %" PRIx64, m->id, message->ballot,
                s->durable_promise);
    }
    for (; (message->kind == MP_ACCEPTED || message->kind == MP_ECHO) && slot <= message->to; slot++) {
        if (durable_vote(s, slot) < message->ballot) {
            pw_fail(w, "durable", "%" PRIu32 " has accepted slot %" PRIu64 " at %" PRIx64 ", on disk is %" PRIx64,
                    m->id, slot, message->ballot, durable_vote(s, slot));
            return;
        }
    }
}

static void send_image(pw_world *w, const pw_member *m, uint32_t to, const cm_state *image)
{
    parcel p = {.has_image = true, .image = *image};

    pw_say(w, m, "sends %" PRIu32 " an image after slot %" PRIu64, to, image->slot);
    pw_send(w, m->id, to, &p, sizeof p);
}

/* The newest vote of each slot from the log, as far as it is applied here: those are chosen. */
static void serve(pw_world *w, const pw_member *m, uint32_t to, uint64_t from)
{
    const cm_shell *s = m->body;
    mp_message message = {.kind = MP_LEARN, .ballot = mp_ballot(s->core), .chosen = mp_chosen(s->core)};
    uint32_t sent = 0;

    if (from > s->state.slot) {
        return;
    }
    if (from <= s->image.slot || !m->acceptor) {
        send_image(w, m, to, m->acceptor ? &s->image : &s->state);
        return;
    }
    message.generation = mp_generation(s->core);
    for (uint64_t slot = from; slot <= s->state.slot && sent < SERVED_MAX; slot++) {
        const cm_stored *found = NULL;

        for (size_t i = s->log_count; i > 0 && found == NULL; i--) {
            const mp_record *r = &s->log[i - 1].record;
            found = r->kind == MP_RECORD_VOTE && r->slot == slot ? &s->log[i - 1] : NULL;
        }
        if (found == NULL) {
            pw_fail(w, "shell", "%" PRIu32 " applied slot %" PRIu64 " and has no record of it", m->id, slot);
            return;
        }
        message.votes[message.vote_count] = (mp_vote){slot, PX_CHOSEN, found->record.value};
        message.votes[message.vote_count++].value.data = found->bytes;
        if (message.vote_count == MP_VOTES_MAX || slot == s->state.slot) {
            pw_watch_message(w, (pw_member *)m, to, &message);
            send_one(w, m, to, &message);
            message.vote_count = 0;
            sent++;
        }
    }
}

/* --- the core ----------------------------------------------------------------------------------------------------- */

static void carry_out(pw_world *w, pw_member *m, const mp_output *out)
{
    cm_shell *s = m->body;

    for (uint32_t i = 0; i < out->send_count; i++) {
        pw_watch_message(w, m, out->sends[i].to, &out->sends[i].message);
        check_durable(w, m, &out->sends[i].message);
        send_to(w, m, out->sends[i].to, &out->sends[i].message);
    }
    for (uint32_t i = 0; i < out->record_count; i++) {
        append(w, m, &out->records[i]);
    }
    if (out->serve) {
        serve(w, m, out->serve_to, out->serve_from);
    }
    if (out->reads_to > s->reads_to) {
        s->reads_to = out->reads_to;
        s->reads_at = out->reads_at;
    }
}

static void feed(pw_world *w, pw_member *m, mp_event event)
{
    static mp_output out; /* large, and of no use after this */
    cm_shell *s = m->body;

    event.now = pw_local(w, m);
    mp_step(s->core, &event, &out);
    carry_out(w, m, &out);
    for (int i = 0; out.again && w->result->broken == NULL; i++) {
        if (i > 10000) {
            pw_fail(w, "shell", "%" PRIu32 " steps again for ever", m->id);
        }
        mp_step(s->core, &(mp_event){.kind = MP_AGAIN, .now = event.now}, &out);
        carry_out(w, m, &out);
    }
}

static void apply_next(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;
    uint64_t slot = s->state.slot + 1;
    mp_value value = mp_value_at(s->core, slot);

    pw_chose(w, m, slot, &value);
    if (w->result->broken != NULL) {
        return;
    }
    s->state.slot = slot;
    s->state.hash = pw_hash(s->state.hash ^ (slot << 8 | value.type), value.data, value.bytes) | 1;
    pw_state(w, m, slot, s->state.hash);
    if (value.type == MP_ADMIT) {
        mp_admit admit;
        uint32_t i = 0;

        memcpy(&admit, value.data, sizeof admit);
        while (i < s->state.admit_count && s->state.admits[i].process != admit.process) {
            i++;
        }
        if (i == MP_ACCEPTORS_MAX) {
            pw_fail(w, "validity", "%" PRIu32 " is admitted in vain", admit.process);
            return;
        }
        s->state.admits[i] = admit;
        s->state.admit_count += i == s->state.admit_count;
    } else if (value.type == MP_COMMANDS) {
        cm_applied(w, m, slot, &value);
    }
}

/* Feed an event and do all that follows from it at once. */
void cm_step(pw_world *w, pw_member *m, mp_event event)
{
    cm_shell *s = m->body;

    feed(w, m, event);
    while (s->state.slot < mp_chosen(s->core) && w->result->broken == NULL) {
        while (s->state.slot < mp_chosen(s->core) && w->result->broken == NULL) {
            apply_next(w, m);
        }
        feed(w, m, (mp_event){.kind = MP_APPLIED, .number = s->state.slot});
    }
    begin_sync(w, m);
    cm_look_at_reads(w, m);
}

/* --- the kind ----------------------------------------------------------------------------------------------------- */

static bool restore(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;

    s->state = s->image;
    if (s->image.slot > 0) {
        mp_restore_image(s->core, s->image.slot, s->image.admits, s->image.admit_count);
    }
    for (size_t i = 0; i < s->log_count; i++) {
        mp_record record = s->log[i].record;

        record.value.data = s->log[i].bytes;
        note_durable(w, m, &record);
        if (record.chosen > s->state.slot && !mp_restore_chosen(s->core, record.chosen)) {
            pw_fail(w, "shell", "%" PRIu32 " does not know what its record %zu says is chosen", m->id, i);
            return false;
        }
        while (s->state.slot < mp_chosen(s->core) && w->result->broken == NULL) {
            apply_next(w, m);
        }
        mp_restore_applied(s->core, s->state.slot);
        if (!mp_restore_record(s->core, &record)) {
            pw_fail(w, "shell", "%" PRIu32 " refuses record %zu of its log", m->id, i);
            return false;
        }
    }
    return true;
}

static bool has_member_record(const cm_shell *s)
{
    for (size_t i = 0; i < s->log_count; i++) {
        if (s->log[i].record.kind == MP_RECORD_MEMBER) {
            return true;
        }
    }
    return false;
}

static bool start(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;

    s->options = w->paxos;
    s->options.self = m->id;
    s->options.seed = chance_draw(&w->random);
    s->options.storage = m->acceptor ? m->storage : 0;
    s->options.joins = m->acceptor && m->formed && !has_member_record(s);
    s->options.first = pw_first(w, m);
    s->memory = calloc(1, mp_bytes(&s->options));
    if (s->memory == NULL) {
        abort();
    }
    s->core = mp_init(s->memory, &s->options, pw_local(w, m));
    s->last_number = 0;
    s->syncing = 0;
    s->reads_to = s->reads_at = 0;
    s->durable_promise = PX_NONE;
    return restore(w, m);
}

static void forget_disk(cm_shell *s)
{
    s->log_count = s->synced = 0;
    memset(&s->image, 0, sizeof s->image);
    if (s->durable != NULL) {
        memset(s->durable, 0, s->durable_room * sizeof *s->durable);
    }
    s->durable_promise = PX_NONE;
}

/* Of what was not synced some may have reached the disk: a log is written from front to back. */
static void crash(pw_world *w, pw_member *m)
{
    cm_shell *s = m->body;

    s->log_count = s->synced + (size_t)pw_below(w, s->log_count - s->synced + 1);
    s->synced = s->log_count;
    if (!m->acceptor) {
        forget_disk(s);
    }
    free(s->memory);
    s->memory = NULL;
    s->core = NULL;
}

static void arrive(pw_world *w, pw_member *m, uint32_t from, const unsigned char *data, size_t bytes)
{
    cm_shell *s = m->body;
    const unsigned char *at = data + sizeof(parcel);
    parcel p;

    (void)bytes;
    memcpy(&p, data, sizeof p);
    if (p.has_image) {
        if (p.image.slot <= s->state.slot) {
            return;
        }
        pw_say(w, m, "installs an image after slot %" PRIu64, p.image.slot);
        w->result->counts[PW_INSTALLED]++;
        s->state = p.image;
        s->image = m->acceptor ? p.image : s->image;
        pw_state(w, m, s->state.slot, s->state.hash);
        cm_step(w, m,
                (mp_event){.kind = MP_INSTALLED,
                           .number = s->state.slot,
                           .admits = s->state.admits,
                           .admit_count = s->state.admit_count});
        return;
    }
    for (uint32_t i = 0; i < p.message.vote_count; i++) {
        p.message.votes[i].value.data = at;
        at += p.message.votes[i].value.bytes;
    }
    cm_step(w, m, (mp_event){.kind = MP_MESSAGE, .from = from, .message = &p.message});
}

static void tick(pw_world *w, pw_member *m)
{
    cm_step(w, m, (mp_event){.kind = MP_TICK});
}

static void own_event(pw_world *w, pw_member *m, const pw_happening *h)
{
    cm_shell *s = m->body;
    uint64_t number = s->last_number - (s->log_count - s->syncing);

    if (h->what == PW_ASK) {
        cm_ask(w, m, (uint32_t)h->number);
        return;
    }
    for (size_t i = s->synced; i < s->syncing; i++) {
        mp_record record = s->log[i].record;
        note_durable(w, m, &record);
    }
    s->synced = s->syncing;
    s->syncing = 0;
    trim(w, m);
    cm_step(w, m, (mp_event){.kind = MP_PERSISTED, .number = number});
}

/* Who does not lead is told that the leader has ended: mostly that is not true. */
static void resign(pw_world *w, pw_member *m)
{
    const mp *core = ((const cm_shell *)m->body)->core;

    if (mp_is_leader(core)) {
        cm_step(w, m, (mp_event){.kind = MP_RESIGN});
    } else {
        cm_step(w, m, (mp_event){.kind = MP_ENDED, .from = mp_leader(core)});
    }
}

static bool fault(pw_world *w, pw_member *m, pw_disk_fault fault)
{
    cm_shell *s = m->body;

    if (m->up || (fault != PW_DISK_LOSE && fault != PW_DISK_DAMAGE) || !m->formed) {
        return false; /* an array has no other faults */
    }
    forget_disk(s);
    pw_forget_said(m);
    m->storage = chance_draw(&w->random) | 1;
    return true;
}

static const mp *core_of(const pw_member *m)
{
    return ((const cm_shell *)m->body)->core;
}

static uint64_t applied(const pw_member *m)
{
    return ((const cm_shell *)m->body)->state.slot;
}

static void begin(pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        cm_shell *s = calloc(1, sizeof *s);

        if (s == NULL) {
            abort();
        }
        w->members[i].body = s;
    }
    cm_begin_clients(w);
}

static void end(pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        cm_shell *s = w->members[i].body;

        free(s->memory);
        free(s->log);
        free(s->durable);
        free(s);
    }
    free(w->clients);
}

const pw_kind cm_kind = {.name = "sim_paxos_core",
                         .begin = begin,
                         .end = end,
                         .start = start,
                         .crash = crash,
                         .arrive = arrive,
                         .tick = tick,
                         .own = own_event,
                         .resign = resign,
                         .fault = fault,
                         .client = cm_client,
                         .quiet = cm_quiet,
                         .core = core_of,
                         .applied = applied};
