/* Clients of a bare core: they propose numbered values to whoever leads, and read which slot is applied. A write is
 * acknowledged when its proposer has applied it. Since every write has a slot, and a read tells one, the history is
 * linearizable if each of them is at or behind (a write: behind) what had been acknowledged when it began. */
#include "core_member.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct client {
    bool waits, reads;
    uint32_t member, life; /* whom it asked last */
    uint64_t id, asked_at, tried_at, floor, number;
    bool proposed; /* somebody took it */
} client;

typedef struct clients {
    client of[PW_CLIENTS_MAX];
    uint64_t ids, pace, floor; /* floor: the last slot that was acknowledged */
} clients;

void cm_begin_clients(pw_world *w)
{
    clients *all = calloc(1, sizeof *all);

    if (all == NULL) {
        abort();
    }
    w->clients = all;
    w->client_count = (uint32_t)chance_between(&w->random, 1, PW_CLIENTS_MAX);
    all->pace = chance_scale(&w->random, w->paxos.heartbeat / 8, w->paxos.heartbeat * 2) * w->client_count / 4 + 1;
    for (uint32_t i = 0; i < w->client_count; i++) {
        pw_plan(w, pw_below(w, w->paxos.election), (pw_happening){.what = PW_CLIENT, .to = i});
    }
}

static void acknowledge(pw_world *w, client *c, uint64_t slot, bool read)
{
    clients *all = w->clients;

    if (slot < c->floor + !read) {
        pw_fail(w, "linear", "a %s that began after slot %" PRIu64 " was acknowledged is at slot %" PRIu64,
                read ? "read" : "write", c->floor, slot);
    }
    all->floor = slot > all->floor ? slot : all->floor;
    c->waits = false;
    pw_answered(w, c->asked_at);
}

void cm_applied(pw_world *w, pw_member *m, uint64_t slot, const mp_value *value)
{
    clients *all = w->clients;
    uint64_t id = 0;

    memcpy(&id, value->data, value->bytes < sizeof id ? value->bytes : sizeof id);
    if (value->bytes < sizeof id || id == 0 || id > all->ids) {
        pw_fail(w, "validity", "slot %" PRIu64 " holds what nobody proposed", slot);
        return;
    }
    for (uint32_t i = 0; i < w->client_count; i++) {
        client *c = &all->of[i];

        if (c->waits && !c->reads && c->id == id && c->proposed && c->member == m->id && c->life == m->life) {
            acknowledge(w, c, slot, false);
        }
    }
}

void cm_look_at_reads(pw_world *w, pw_member *m)
{
    clients *all = w->clients;
    const cm_shell *s = m->body;

    if (s->state.slot < s->reads_at) {
        return;
    }
    for (uint32_t i = 0; i < w->client_count; i++) {
        client *c = &all->of[i];

        if (c->waits && c->reads && c->proposed && c->member == m->id && c->life == m->life &&
            c->number <= s->reads_to) {
            w->result->counts[PW_READS]++;
            acknowledge(w, c, s->state.slot, true);
        }
    }
}

static void try_write(pw_world *w, pw_member *m, client *c)
{
    cm_shell *s = m->body;
    unsigned char data[CM_VALUE_MAX];
    uint32_t bytes = (uint32_t)(sizeof c->id + c->id * 7 % (s->options.value_max - sizeof c->id + 1));

    if (!mp_may_propose(s->core)) {
        c->proposed = false;
        return;
    }
    memset(data, (int)(c->id & 0xff), sizeof data);
    memcpy(data, &c->id, sizeof c->id);
    c->proposed = true;
    pw_say(w, m, "is asked to write %" PRIu64, c->id);
    cm_step(w, m, (mp_event){.kind = MP_PROPOSE, .value = {.type = MP_COMMANDS, .bytes = bytes, .data = data}});
}

static void try_read(pw_world *w, pw_member *m, client *c)
{
    cm_shell *s = m->body;

    c->proposed = false;
    if (!mp_is_leader(s->core)) {
        return;
    }
    if (w->lease_reads && mp_lease_holds(s->core, pw_local(w, m))) {
        w->result->counts[PW_LEASED]++;
        acknowledge(w, c, s->state.slot, true);
        return;
    }
    cm_step(w, m, (mp_event){.kind = MP_READ});
    c->number = mp_reads(s->core);
    c->proposed = true;
    pw_say(w, m, "is asked to read, number %" PRIu64, c->number);
    cm_look_at_reads(w, m);
}

static void begin_asking(pw_world *w, client *c)
{
    clients *all = w->clients;

    c->waits = true;
    c->reads = pw_one_in(w, 3);
    c->asked_at = w->now;
    c->floor = all->floor;
    c->id = c->reads ? 0 : ++all->ids;
    c->proposed = false;
    w->result->counts[PW_ASKED]++;
}

/* Whom `m` follows, or anybody; never who is given up for good. */
static pw_member *whom_to_ask(pw_world *w)
{
    pw_member *m = &w->members[pw_below(w, w->count)];
    uint32_t leader;

    while (w->healed_at != 0 && !pw_is_healed(w, m)) {
        m = &w->members[pw_below(w, w->count)];
    }
    leader = m->up ? mp_leader(w->kind->core(m)) : PW_NOBODY;

    if (leader < w->count && !pw_one_in(w, 5)) {
        m = &w->members[leader];
    }
    return m;
}

/* The question has reached `m`: at once, or when a pause is over. */
void cm_ask(pw_world *w, pw_member *m, uint32_t number)
{
    clients *all = w->clients;
    client *c = &all->of[number];

    if (!c->waits) {
        return;
    }
    c->member = m->id;
    c->life = m->life;
    if (c->reads) {
        try_read(w, m, c);
    } else {
        try_write(w, m, c);
    }
}

void cm_client(pw_world *w, uint32_t number)
{
    clients *all = w->clients;
    client *c = &all->of[number];
    pw_member *m = whom_to_ask(w);
    bool late = w->now > c->tried_at + w->paxos.election * 2;

    if (!c->waits && pw_may_ask(w)) {
        begin_asking(w, c);
    }
    if (c->waits && (!c->proposed || late) && m->up && !m->dead) {
        w->result->counts[PW_REPEATED] += c->proposed;
        c->tried_at = w->now;
        pw_plan(w, w->now, (pw_happening){.what = PW_ASK, .to = m->id, .life = m->life, .number = number});
    }
    if (c->waits || pw_may_ask(w)) {
        uint64_t pause = c->waits && !c->proposed ? w->paxos.heartbeat : all->pace;

        pw_plan(w, w->now + 1 + pw_below(w, pause * 2), (pw_happening){.what = PW_CLIENT, .to = number});
    }
}

bool cm_quiet(pw_world *w)
{
    const clients *all = w->clients;

    for (uint32_t i = 0; i < w->client_count; i++) {
        if (all->of[i].waits) {
            return false;
        }
    }
    return true;
}
