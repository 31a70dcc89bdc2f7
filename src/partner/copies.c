/* Invariants:
 *   P1 A committed copy is whole and of the newest snapshot that is known here to be committed.
 *   P2 A copy that is being prepared is of no older one, and has no more pieces than there are.
 *   P3 What this process has taken and not heard to be committed is newer than what it keeps.
 *   P4 Who wants its part gets pieces from one that has said HAVE, in their order; in a group from all of them. */
#include "partner/copies.h"

#include <string.h>

/* Small messages that are due to a peer. */
enum { DUE_HELD = 1, DUE_REFUSED = 2, DUE_ANSWER = 4, DUE_TAKE = 8 };
enum { OPEN, LACKS, HAS };

/* This process's own part of a snapshot. */
typedef struct own {
    uint64_t number; /* 0: none */
    uint32_t pieces;
    bool refused;
    bool held[PC_GROUP_MAX];        /* by each holder */
    uint32_t held_by[PC_GROUP_MAX]; /* rank           */
} own;

/* Who keeps what this process sends. */
typedef struct holder {
    uint32_t process, rank;
    uint64_t begun; /* number: BEGIN was sent */
    uint32_t sent;
} holder;

typedef struct copy {
    uint64_t number; /* 0: none */
    uint32_t pieces, got;
    uint32_t whole; /* pieces of all of the part */
} copy;

typedef struct peer {
    copy committed, prepared; /* of its part */
    uint8_t due;
    uint64_t reply;      /* number, for HELD and REFUSED */
    uint32_t asked_view; /* it wants its part, in this view */
    uint64_t asked;      /* number, 0: nothing */
    copy serving;        /* got: sent so far */
    uint8_t answer;      /* to what is wanted here */
    uint32_t has_pieces, back, rank;
} peer;

struct pc {
    uint32_t count, self, view;
    bool grouped; /* there are groups; members 0: not known yet */
    uint32_t group[PC_GROUP_MAX], members, place;
    holder holders[PC_GROUP_MAX];
    uint32_t holder_count; /* 0: not placed yet */
    uint32_t holder_turn;
    uint64_t committed; /* the newest that is known to be */
    own taken, kept;
    uint32_t serving, due; /* peers that something is for */
    uint32_t turn;
    bool asking; /* ASK is to be sent */
    uint64_t wanted;
    uint32_t from;  /* who gives it; in a group: anybody of it, all do */
    uint32_t whole; /* in a group: pieces of the part */
    uint32_t got;
    peer peers[];
};

size_t pc_bytes(uint32_t count)
{
    return sizeof(pc) + count * sizeof(peer);
}

pc *pc_init(void *memory, uint32_t count, uint32_t self)
{
    pc *core = memory;

    memset(memory, 0, pc_bytes(count));
    core->count = count;
    core->self = self;
    core->from = PC_NONE;
    return core;
}

static void set_due(pc *core, uint32_t who, uint8_t what)
{
    core->due += core->peers[who].due == 0;
    core->peers[who].due |= what;
}

static void clear_due(pc *core, uint32_t who, uint8_t what)
{
    uint8_t before = core->peers[who].due;

    core->peers[who].due = (uint8_t)(before & ~what);
    core->due -= before != 0 && core->peers[who].due == 0;
}

static void reply(pc *core, uint32_t who, uint8_t what, uint64_t number)
{
    clear_due(core, who, DUE_HELD | DUE_REFUSED);
    core->peers[who].reply = number;
    set_due(core, who, what);
}

/* ---------------------------------------------------------------- groups */

static uint32_t place_of(const pc *core, uint32_t process)
{
    uint32_t at = 0;

    while (at < core->members && core->group[at] != process) {
        at++;
    }
    return at;
}

static bool is_member(const pc *core, uint32_t process)
{
    return place_of(core, process) < core->members;
}

/* Which of the owner's holders this one is; both by their places in the group. */
static uint32_t turn_of(const pc *core, uint32_t owner, uint32_t keeper)
{
    return (keeper + core->members - owner - 1) % core->members;
}

/* Of so many pieces those that go to one of so many holders. */
static uint32_t stripe(uint32_t pieces, uint32_t at, uint32_t holders)
{
    return pieces > at ? (pieces - at + holders - 1) / holders : 0;
}

static void set_group(pc *core, const pc_event *event)
{
    core->members = event->ranks;
    memcpy(core->group, event->group, event->ranks * sizeof *core->group);
    core->place = place_of(core, core->self);
}

/* ---------------------------------------------------------------- owner */

static uint32_t held_by(const pc *core, const own *o)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < core->holder_count; i++) {
        held += o->held[i];
    }
    return held;
}

static bool is_held(const pc *core, const own *o)
{
    return core->holder_count > 0 && held_by(core, o) == core->holder_count;
}

/* The newest part that not all of its holders have yet. */
static own *unheld(pc *core)
{
    if (core->holder_count == 0) {
        return NULL;
    }
    if (core->taken.number != 0 && !core->taken.refused) {
        return is_held(core, &core->taken) ? NULL : &core->taken;
    }
    return core->kept.number != 0 && !is_held(core, &core->kept) && !core->kept.refused ? &core->kept : NULL;
}

static own *own_of(pc *core, uint64_t number)
{
    if (number == 0) {
        return NULL;
    }
    return core->taken.number == number ? &core->taken : core->kept.number == number ? &core->kept : NULL;
}

static void answered(pc *core, const pc_event *event, pc_output *out)
{
    own *o = own_of(core, event->message.number);
    uint32_t at = 0;

    while (at < core->holder_count &&
           (core->holders[at].process != event->peer || core->holders[at].rank != event->rank)) {
        at++;
    }
    if (o == NULL || at == core->holder_count) {
        return;
    }
    out->number = o->number;
    out->peer = event->peer;
    if (event->message.kind == PC_HELD) {
        bool before = is_held(core, o);

        o->held[at] = true;
        o->held_by[at] = event->rank;
        out->held = is_held(core, o) && (!before || !core->grouped);
    } else {
        o->refused = true;
        out->refused = true;
    }
    core->holders[at].begun = core->holders[at].begun == o->number ? 0 : core->holders[at].begun;
}

static void place(pc *core, const pc_event *event)
{
    own *owns[] = {&core->taken, &core->kept};

    core->holder_count = !core->grouped ? 1 : core->members == 0 ? 0 : core->members - 1;
    for (uint32_t h = 0; h < core->holder_count; h++) {
        core->holders[h] = (holder){.process = event->peer, .rank = event->rank};
        if (core->grouped) {
            core->holders[h] = (holder){.process = pc_holder(core, h), .rank = event->carriers[h]};
        }
        for (int i = 0; i < 2; i++) {
            owns[i]->held[h] = owns[i]->held[h] && owns[i]->held_by[h] == core->holders[h].rank;
        }
    }
    core->taken.refused = false;
    core->kept.refused = false;
}

/* ---------------------------------------------------------------- holder */

static bool is_whole(const copy *c)
{
    return c->number != 0 && c->got == c->pieces;
}

/* All that there is to add to this parity, and this process's own part. */
static bool is_together(pc *core, uint64_t number)
{
    bool all = own_of(core, number) != NULL;

    for (uint32_t i = 0; i < core->members && all; i++) {
        const peer *of = &core->peers[core->group[i]];

        all = i == core->place || of->committed.number == number ||
              (of->prepared.number == number && is_whole(&of->prepared));
    }
    return all;
}

static void say_together(pc *core, uint64_t number)
{
    for (uint32_t i = 0; i < core->members; i++) {
        if (i != core->place) {
            reply(core, core->group[i], DUE_HELD, number);
        }
    }
}

static void promote(peer *of)
{
    of->committed = of->prepared;
    of->prepared = (copy){0};
}

static void commit(pc *core, uint64_t number)
{
    if (number <= core->committed) {
        return;
    }
    core->committed = number;
    if (core->taken.number == number) {
        core->kept = core->taken;
        core->taken = (own){0};
    } else {
        core->kept = (own){0};
        core->taken = core->taken.number < number ? (own){0} : core->taken;
    }
    for (uint32_t i = 0; i < core->count; i++) {
        peer *of = &core->peers[i];

        if (is_whole(&of->prepared) && of->prepared.number == number) {
            promote(of);
        } else {
            of->committed = (copy){0};
            of->prepared = of->prepared.number < number ? (copy){0} : of->prepared;
        }
    }
}

/* A copy has become whole. */
static void got_all(pc *core, uint32_t owner)
{
    peer *of = &core->peers[owner];
    uint64_t number = of->prepared.number;

    if (!core->grouped) {
        reply(core, owner, DUE_HELD, number);
    } else if (is_together(core, number)) {
        say_together(core, number);
    }
    if (number == core->committed) {
        promote(of);
    }
}

static void begin_copy(pc *core, uint32_t owner, const pc_message *m)
{
    uint32_t pieces = m->pieces;

    commit(core, m->committed);
    if (m->number < core->committed || (core->grouped ? m->whole : m->pieces) == 0) {
        return; /* nobody will go back to it any more */
    }
    if (core->grouped && !is_member(core, owner)) {
        reply(core, owner, DUE_REFUSED, m->number); /* it may be that this process does not know its group yet */
        return;
    }
    if (core->grouped) {
        pieces = stripe(m->whole, turn_of(core, place_of(core, owner), core->place), core->members - 1);
    }
    if (core->peers[owner].committed.number == m->number) { /* the owner did not hear that it is held */
        core->peers[owner].prepared = (copy){0};
        if (!core->grouped || is_together(core, m->number)) {
            reply(core, owner, DUE_HELD, m->number);
        }
        return;
    }
    if (is_whole(&core->peers[owner].prepared) && m->number < core->peers[owner].prepared.number) {
        reply(core, owner, DUE_REFUSED, m->number); /* what is here may be committed, and neither has heard of it */
        return;
    }
    core->peers[owner].prepared = (copy){.number = m->number, .pieces = pieces, .whole = m->whole};
    if (pieces == 0) {
        got_all(core, owner);
    }
}

static void refuse(pc *core, uint32_t owner, uint64_t number)
{
    if (core->peers[owner].prepared.number == number) {
        core->peers[owner].prepared = (copy){0};
        reply(core, owner, DUE_REFUSED, number);
    }
}

static void take_piece(pc *core, const pc_event *event, pc_output *out)
{
    peer *of = &core->peers[event->peer];
    copy *c = &of->prepared;

    if (c->number != event->message.number || c->number == 0 || event->message.index != c->got) {
        return;
    }
    if (!event->good) {
        refuse(core, event->peer, c->number);
        return;
    }
    c->got++;
    out->stored = true;
    out->peer = event->peer;
    out->number = c->number;
    if (is_whole(c)) {
        got_all(core, event->peer);
    }
}

/* This process has what makes the part of `who` again; in a group its share of that, which is *pieces. */
static bool serves(pc *core, uint32_t who, uint64_t number, uint32_t *pieces)
{
    const peer *of = &core->peers[who];

    *pieces = of->committed.pieces;
    if (number == 0 || of->committed.number != number) {
        return false;
    }
    if (!core->grouped) {
        return true;
    }
    if (!is_member(core, who) || core->kept.number != number || !is_together(core, number)) {
        return false;
    }
    *pieces += core->kept.pieces -
               stripe(core->kept.pieces, turn_of(core, core->place, place_of(core, who)), core->members - 1);
    return true;
}

static void serve(pc *core, uint32_t who, const pc_message *m)
{
    peer *of = &core->peers[who];
    uint32_t pieces;

    if (of->serving.number != 0 || !serves(core, who, m->number, &pieces) || pieces == 0) {
        return;
    }
    of->serving = (copy){.number = m->number, .pieces = pieces};
    core->serving++;
}

/* ---------------------------------------------------------------- wanting */

static void cannot(pc *core, pc_output *out)
{
    core->from = PC_NONE;
    out->unavailable = true;
    out->number = core->wanted;
    core->wanted = 0;
}

/* All of the group, or nobody. */
static void choose_group(pc *core, pc_output *out)
{
    uint32_t has = 0;

    if (core->members == 0) {
        cannot(core, out);
        return;
    }
    for (uint32_t i = 0; i < core->members; i++) {
        if (i != core->place && core->peers[core->group[i]].answer == LACKS) {
            cannot(core, out);
            return;
        }
        has += i != core->place && core->peers[core->group[i]].answer == HAS;
    }
    if (has + 1 < core->members) {
        return;
    }
    for (uint32_t i = 0; i < core->members; i++) {
        if (i != core->place) {
            core->from = core->group[i];
            core->peers[core->group[i]].back = 0;
            set_due(core, core->group[i], DUE_TAKE);
        }
    }
}

static void choose(pc *core, pc_output *out)
{
    bool open = false;

    if (core->grouped) {
        choose_group(core, out);
        return;
    }
    core->got = 0;
    for (uint32_t i = 0; i < core->count; i++) {
        if (i != core->self && core->peers[i].answer == HAS) {
            core->from = i;
            set_due(core, i, DUE_TAKE);
            return;
        }
        open = open || (i != core->self && core->peers[i].answer == OPEN);
    }
    core->from = PC_NONE;
    if (!open) {
        cannot(core, out);
    }
}

static void want(pc *core, uint64_t number, pc_output *out)
{
    core->wanted = number;
    core->whole = 0;
    core->asking = core->count > 1;
    for (uint32_t i = 0; i < core->count; i++) {
        core->peers[i].answer = OPEN;
    }
    choose(core, out);
}

/* All of the group speak of the same part, and none offers less than its cells, or more with nobody to add to. */
static bool fits(pc *core, uint32_t who, uint32_t whole)
{
    const peer *of = &core->peers[who];
    uint32_t cells;

    core->whole = core->whole == 0 ? whole : core->whole;
    if (core->whole == 0 || core->whole != whole || !is_member(core, who)) {
        return false;
    }
    cells = stripe(whole, turn_of(core, core->place, place_of(core, who)), core->members - 1);
    return of->has_pieces >= cells && (core->members > 2 || of->has_pieces == cells);
}

static void hear_answer(pc *core, const pc_event *event, pc_output *out)
{
    peer *of = &core->peers[event->peer];

    if (core->wanted == 0 || core->wanted != event->message.number || of->answer != OPEN) {
        return;
    }
    of->answer = event->message.kind == PC_HAVE && (core->grouped || event->message.pieces > 0) ? HAS : LACKS;
    of->has_pieces = event->message.pieces;
    of->rank = event->rank;
    if (core->grouped && of->answer == HAS && !fits(core, event->peer, event->message.whole)) {
        of->answer = LACKS;
    }
    if (core->from == PC_NONE) {
        choose(core, out);
    }
}

/* A piece from one of the group, whose pieces come in order. */
static void take_share(pc *core, const pc_event *event, pc_output *out)
{
    peer *of = &core->peers[event->peer];
    bool all = true;

    if (core->wanted == 0 || core->wanted != event->message.number || core->from == PC_NONE || of->answer != HAS ||
        event->message.index != of->back || of->back == of->has_pieces) {
        return;
    }
    out->peer = event->peer;
    out->number = core->wanted;
    if (!event->good) {
        out->damaged = true;
        cannot(core, out);
        return;
    }
    out->stored = true;
    of->back++;
    for (uint32_t i = 0; i < core->members; i++) {
        all = all && (i == core->place || core->peers[core->group[i]].back == core->peers[core->group[i]].has_pieces);
    }
    if (!all) {
        return;
    }
    out->fetched = true;
    core->kept = (own){.number = core->wanted, .pieces = core->whole};
    for (uint32_t h = 0; h + 1 < core->members; h++) {
        core->kept.held[h] = true;
        core->kept.held_by[h] = core->peers[pc_holder(core, h)].rank;
    }
    core->wanted = 0;
    core->from = PC_NONE;
}

static void take_back(pc *core, const pc_event *event, pc_output *out)
{
    if (core->grouped) {
        take_share(core, event, out);
        return;
    }
    if (core->wanted == 0 || core->wanted != event->message.number || event->peer != core->from ||
        event->message.index != core->got) {
        return;
    }
    out->peer = event->peer;
    out->number = core->wanted;
    if (!event->good) {
        out->damaged = true;
        core->peers[event->peer].answer = LACKS;
        choose(core, out);
        return;
    }
    out->stored = true;
    if (++core->got < core->peers[event->peer].has_pieces) {
        return;
    }
    out->fetched = true;
    core->kept = (own){.number = core->wanted, .pieces = core->got, .held = {true}, .held_by = {event->rank}};
    core->wanted = 0;
    core->from = PC_NONE;
}

/* ---------------------------------------------------------------- views */

static void install(pc *core, const pc_event *event)
{
    core->view = event->view;
    core->self = event->peer;
    core->place = place_of(core, core->self);
    core->holder_count = 0;
    core->committed = event->number;
    core->serving = 0;
    core->due = 0;
    core->asking = false;
    core->wanted = 0;
    core->from = PC_NONE;
    if (core->taken.number == event->number) {
        core->kept = core->taken;
    } else if (core->kept.number != event->number) {
        core->kept = (own){0};
    }
    core->taken = (own){0};
    for (uint32_t i = 0; i < core->count; i++) {
        peer *of = &core->peers[i];

        if (is_whole(&of->prepared) && of->prepared.number == event->number) {
            promote(of);
        } else if (of->committed.number != event->number) {
            of->committed = (copy){0};
        }
        of->prepared = (copy){0};
        of->serving = (copy){0};
        of->due = 0;
        if (of->asked != 0 && of->asked_view == core->view) {
            set_due(core, i, DUE_ANSWER);
        }
    }
}

/* It is answered in the view that it is of: one of a later view takes the place of one that is not answered yet. */
static void hear_ask(pc *core, const pc_message *m)
{
    peer *of;

    if (m->process >= core->count || m->process == core->self || m->number == 0) {
        return;
    }
    of = &core->peers[m->process];
    if (m->view < core->view || (of->asked != 0 && m->view < of->asked_view)) {
        return;
    }
    of->asked = m->number;
    of->asked_view = m->view;
    if (m->view == core->view) {
        set_due(core, m->process, DUE_ANSWER);
    } else {
        clear_due(core, m->process, DUE_ANSWER);
    }
}

static void hear(pc *core, const pc_event *event, pc_output *out)
{
    const pc_message *m = &event->message;

    if (m->kind == PC_ASK) {
        hear_ask(core, m);
        return;
    }
    if (m->view != core->view || event->peer >= core->count || event->peer == core->self) {
        return;
    }
    switch ((pc_kind)m->kind) {
    case PC_BEGIN:
        begin_copy(core, event->peer, m);
        break;
    case PC_PIECE:
        take_piece(core, event, out);
        break;
    case PC_HELD:
    case PC_REFUSED:
        answered(core, event, out);
        break;
    case PC_HAVE:
    case PC_LACK:
        hear_answer(core, event, out);
        break;
    case PC_TAKE:
        serve(core, event->peer, m);
        break;
    case PC_BACK:
        take_back(core, event, out);
        break;
    default:
        break;
    }
    out->changed = m->kind == PC_BEGIN || m->kind == PC_PIECE;
}

void pc_step(pc *core, const pc_event *event, pc_output *out)
{
    memset(out, 0, sizeof *out);
    switch (event->kind) {
    case PC_VIEWED:
        if (event->view > core->view) {
            install(core, event);
            out->changed = true;
        }
        break;
    case PC_GROUPED:
        core->grouped = true;
        if (event->ranks >= 2 && event->ranks <= PC_GROUP_MAX) {
            set_group(core, event);
        }
        break;
    case PC_PLACED:
        place(core, event);
        break;
    case PC_TAKEN:
        if (event->number > core->committed && event->pieces > 0) {
            core->taken = (own){.number = event->number, .pieces = event->pieces};
            if (core->grouped && is_together(core, event->number)) {
                say_together(core, event->number);
            }
        }
        break;
    case PC_GONE: {
        own *o = own_of(core, event->number);

        if (o != NULL) {
            *o = (own){0};
        }
        break;
    }
    case PC_COMMITTED:
        commit(core, event->number);
        out->changed = true;
        break;
    case PC_MESSAGE:
        hear(core, event, out);
        break;
    case PC_NO_ROOM:
        if (event->peer < core->count) {
            refuse(core, event->peer, event->number);
            out->changed = true;
        }
        break;
    case PC_WANT:
        want(core, event->number, out);
        break;
    }
}

/* ---------------------------------------------------------------- sending */

static pc_message message_of(const pc *core, pc_kind kind, uint64_t number)
{
    return (pc_message){.kind = (uint32_t)kind, .view = core->view, .number = number};
}

static void next_due(pc *core, uint32_t who, pc_send *out)
{
    peer *to = &core->peers[who];

    out->to = who;
    if ((to->due & DUE_ANSWER) != 0) {
        uint32_t pieces;
        bool has = serves(core, who, to->asked, &pieces);

        clear_due(core, who, DUE_ANSWER);
        out->message = message_of(core, has ? PC_HAVE : PC_LACK, to->asked);
        out->message.pieces = has ? pieces : 0;
        out->message.whole = has ? to->committed.whole : 0;
        to->asked = 0;
    } else if ((to->due & DUE_TAKE) != 0) {
        clear_due(core, who, DUE_TAKE);
        out->message = message_of(core, PC_TAKE, core->wanted);
    } else {
        out->message = message_of(core, (to->due & DUE_HELD) != 0 ? PC_HELD : PC_REFUSED, to->reply);
        clear_due(core, who, DUE_HELD | DUE_REFUSED);
    }
}

static bool next_served(pc *core, pc_send *out)
{
    for (uint32_t i = 0; i < core->count; i++) {
        uint32_t who = (core->turn + i) % core->count;
        copy *c = &core->peers[who].serving;

        if (c->number == 0) {
            continue;
        }
        core->turn = who + 1;
        out->to = who;
        out->message = message_of(core, PC_BACK, c->number);
        out->message.pieces = c->pieces;
        out->message.index = c->got++;
        if (c->got == c->pieces) {
            *c = (copy){0};
            core->serving--;
        }
        return true;
    }
    return false;
}

/* What is to be sent of this part to one of its holders. */
static bool next_to(pc *core, const own *o, uint32_t at, bool bulk, pc_send *out)
{
    holder *h = &core->holders[at];
    uint32_t pieces = stripe(o->pieces, at, core->holder_count);

    if (o->held[at]) {
        return false;
    }
    out->to = h->process;
    if (h->begun != o->number) {
        h->begun = o->number;
        h->sent = 0;
        out->message = message_of(core, PC_BEGIN, o->number);
        out->message.pieces = pieces;
        out->message.whole = o->pieces;
        out->message.committed = core->committed;
        return true;
    }
    if (!bulk || h->sent == pieces) {
        return false;
    }
    out->message = message_of(core, PC_PIECE, o->number);
    out->message.pieces = pieces;
    out->message.index = h->sent++;
    return true;
}

/* One holder after the other. */
static bool next_own(pc *core, bool bulk, pc_send *out)
{
    const own *o = unheld(core);

    for (uint32_t i = 0; o != NULL && i < core->holder_count; i++) {
        uint32_t at = (core->holder_turn + i) % core->holder_count;

        if (next_to(core, o, at, bulk, out)) {
            core->holder_turn = at + 1;
            return true;
        }
    }
    return false;
}

bool pc_next(pc *core, bool bulk, pc_send *out)
{
    if (core->asking) {
        core->asking = false;
        out->to = PC_ALL;
        out->message = message_of(core, PC_ASK, core->wanted);
        out->message.process = core->self;
        return true;
    }
    for (uint32_t i = 0; core->due > 0 && i < core->count; i++) {
        if (core->peers[i].due != 0) {
            next_due(core, i, out);
            return true;
        }
    }
    if (bulk && core->serving > 0 && next_served(core, out)) {
        return true;
    }
    return next_own(core, bulk, out);
}

bool pc_has_next(const pc *core)
{
    const own *o = unheld((pc *)(uintptr_t)core);
    bool any = core->asking || core->due > 0 || core->serving > 0;

    for (uint32_t i = 0; o != NULL && i < core->holder_count && !any; i++) {
        const holder *h = &core->holders[i];

        any = !o->held[i] && (h->begun != o->number || h->sent < stripe(o->pieces, i, core->holder_count));
    }
    return any;
}

/* ---------------------------------------------------------------- looking */

uint64_t pc_copy(const pc *core, uint32_t owner, bool committed)
{
    return committed ? core->peers[owner].committed.number : core->peers[owner].prepared.number;
}

uint32_t pc_holders(const pc *core)
{
    return core->holder_count;
}

uint32_t pc_holder(const pc *core, uint32_t at)
{
    if (!core->grouped) {
        return at < core->holder_count ? core->holders[at].process : PC_NONE;
    }
    return at + 1 < core->members ? core->group[(core->place + 1 + at) % core->members] : PC_NONE;
}

bool pc_is_held(const pc *core, uint64_t number)
{
    const own *o = own_of((pc *)(uintptr_t)core, number);

    return o != NULL && is_held(core, o);
}

uint32_t pc_piece_at(const pc *core, uint32_t owner, uint32_t keeper, uint32_t index)
{
    if (!core->grouped) {
        return index;
    }
    return index * (core->members - 1) + turn_of(core, place_of(core, owner), place_of(core, keeper));
}

bool pc_served(const pc *core, uint32_t who, uint32_t index, uint32_t *at)
{
    uint32_t holders = core->members - 1;
    uint32_t skipped = turn_of(core, core->place, place_of(core, who));
    uint32_t others = core->kept.pieces - stripe(core->kept.pieces, skipped, holders);
    uint32_t in_row;

    if (index >= others) {
        *at = index - others;
        return false;
    }
    in_row = index % (holders - 1);
    *at = index / (holders - 1) * holders + (in_row >= skipped ? in_row + 1 : in_row);
    return true;
}

bool pc_returned(const pc *core, uint32_t from, uint32_t index, uint32_t *at, bool *parity)
{
    uint32_t holders = core->members - 1;
    uint32_t at_from = place_of(core, from);
    uint32_t skipped = turn_of(core, at_from, core->place);
    uint32_t own_turn = turn_of(core, core->place, at_from);
    uint32_t cells = stripe(core->whole, own_turn, holders);
    uint32_t others = core->peers[from].has_pieces - cells;
    uint32_t in_row;
    uint32_t turn;

    *parity = index >= others;
    if (*parity) {
        *at = (index - others) * holders + own_turn;
        return *at < core->whole;
    }
    in_row = index % (holders - 1);
    turn = in_row >= skipped ? in_row + 1 : in_row; /* of the peer's holders: who has added it */
    *at = index / (holders - 1) * holders + turn_of(core, core->place, (at_from + 1 + turn) % core->members);
    return *at < core->whole;
}

bool pc_check(const pc *core, const char **broken)
{
    const char *name = NULL;
    uint32_t due = 0;
    uint32_t serving = 0;

    for (uint32_t i = 0; i < core->count; i++) {
        const peer *of = &core->peers[i];

        due += of->due != 0;
        serving += of->serving.number != 0;
        if (of->committed.number != 0 && (!is_whole(&of->committed) || of->committed.number != core->committed)) {
            name = "P1: a committed copy is not whole, or not of the newest committed snapshot";
        }
        if (of->prepared.number != 0 &&
            (of->prepared.number < core->committed || of->prepared.got > of->prepared.pieces)) {
            name = "P2: a copy is prepared of what nobody goes back to, or has too many pieces";
        }
    }
    if (core->taken.number != 0 && (core->taken.number <= core->committed || core->taken.number <= core->kept.number)) {
        name = "P3: what was taken is not newer than what is kept";
    }
    if (core->from != PC_NONE && (core->wanted == 0 || core->peers[core->from].answer != HAS ||
                                  (!core->grouped && core->got >= core->peers[core->from].has_pieces))) {
        name = "P4: pieces come from one that does not have them";
    }
    for (uint32_t i = 0; core->from != PC_NONE && i < core->members; i++) {
        const peer *of = &core->peers[core->group[i]];

        if (i != core->place && (of->answer != HAS || of->back > of->has_pieces)) {
            name = "P4: a part is put together without all of the group";
        }
    }
    if (due != core->due || serving != core->serving) {
        name = "what is due is counted wrongly";
    }
    if (broken != NULL) {
        *broken = name;
    }
    return name == NULL;
}
