/* Invariants:
 *   P1 A committed copy is whole and of the newest snapshot that is known here to be committed.
 *   P2 A copy that is being prepared is of no older one, and has no more pieces than there are.
 *   P3 What this process has taken and not heard to be committed is newer than what it keeps.
 *   P4 Who wants its part gets pieces from one that has said HAVE, in their order. */
#include "partner/copies.h"

#include <string.h>

/* Small messages that are due to a peer. */
enum { DUE_HELD = 1, DUE_REFUSED = 2, DUE_ANSWER = 4, DUE_TAKE = 8 };
enum { OPEN, LACKS, HAS };

/* This process's own part of a snapshot. */
typedef struct own {
    uint64_t number; /* 0: none */
    uint32_t pieces;
    bool held, refused;
    uint32_t held_by; /* rank */
} own;

typedef struct copy {
    uint64_t number; /* 0: none */
    uint32_t pieces, got;
} copy;

typedef struct peer {
    copy committed, prepared; /* of its part */
    uint8_t due;
    uint64_t reply;      /* number, for HELD and REFUSED */
    uint32_t asked_view; /* it wants its part, in this view */
    uint64_t asked;      /* number, 0: nothing */
    copy serving;        /* got: sent so far */
    uint8_t answer;      /* to what is wanted here */
    uint32_t has_pieces;
} peer;

struct pc {
    uint32_t count, self, view;
    uint32_t holder, holder_rank;
    uint64_t committed; /* the newest that is known to be */
    own taken, kept;
    uint64_t sending; /* number: BEGIN was sent */
    uint32_t sent;
    uint32_t serving, due; /* peers that something is for */
    uint32_t turn;
    bool asking; /* ASK is to be sent */
    uint64_t wanted;
    uint32_t from; /* who gives it */
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
    core->holder = PC_NONE;
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

/* ---------------------------------------------------------------- owner */

/* The newest part that its holder does not have yet. */
static own *unheld(pc *core)
{
    if (core->holder == PC_NONE) {
        return NULL;
    }
    if (core->taken.number != 0 && !core->taken.refused) {
        return core->taken.held ? NULL : &core->taken;
    }
    return core->kept.number != 0 && !core->kept.held && !core->kept.refused ? &core->kept : NULL;
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

    if (o == NULL || event->peer != core->holder || event->rank != core->holder_rank) {
        return;
    }
    out->number = o->number;
    if (event->message.kind == PC_HELD) {
        o->held = true;
        o->held_by = event->rank;
        out->held = true;
    } else {
        o->refused = true;
        out->refused = true;
    }
    core->sending = core->sending == o->number ? 0 : core->sending;
}

static void place(pc *core, const pc_event *event)
{
    own *owns[] = {&core->taken, &core->kept};

    core->holder = event->peer;
    core->holder_rank = event->rank;
    core->sending = 0;
    for (int i = 0; i < 2; i++) {
        owns[i]->held = owns[i]->held && owns[i]->held_by == event->rank;
        owns[i]->refused = false;
    }
}

/* ---------------------------------------------------------------- holder */

static bool is_whole(const copy *c)
{
    return c->number != 0 && c->got == c->pieces;
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

static void begin_copy(pc *core, uint32_t owner, const pc_message *m)
{
    commit(core, m->committed);
    if (m->number < core->committed || m->pieces == 0) {
        return; /* nobody will go back to it any more */
    }
    if (core->peers[owner].committed.number == m->number) { /* the owner did not hear that it is held */
        core->peers[owner].prepared = (copy){0};
        reply(core, owner, DUE_HELD, m->number);
        return;
    }
    if (is_whole(&core->peers[owner].prepared) && m->number < core->peers[owner].prepared.number) {
        reply(core, owner, DUE_REFUSED, m->number); /* what is here may be committed, and neither has heard of it */
        return;
    }
    core->peers[owner].prepared = (copy){.number = m->number, .pieces = m->pieces};
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
    if (!is_whole(c)) {
        return;
    }
    reply(core, event->peer, DUE_HELD, c->number);
    if (c->number == core->committed) {
        promote(of);
    }
}

static void serve(pc *core, uint32_t who, const pc_message *m)
{
    peer *of = &core->peers[who];

    if (of->committed.number != m->number || of->serving.number != 0) {
        return;
    }
    of->serving = (copy){.number = m->number, .pieces = of->committed.pieces};
    core->serving++;
}

/* ---------------------------------------------------------------- wanting */

static void choose(pc *core, pc_output *out)
{
    bool open = false;

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
        out->unavailable = true;
        out->number = core->wanted;
        core->wanted = 0;
    }
}

static void want(pc *core, uint64_t number, pc_output *out)
{
    core->wanted = number;
    core->asking = core->count > 1;
    for (uint32_t i = 0; i < core->count; i++) {
        core->peers[i].answer = OPEN;
    }
    choose(core, out);
}

static void hear_answer(pc *core, const pc_event *event, pc_output *out)
{
    peer *of = &core->peers[event->peer];

    if (core->wanted == 0 || core->wanted != event->message.number || of->answer != OPEN) {
        return;
    }
    of->answer = event->message.kind == PC_HAVE && event->message.pieces > 0 ? HAS : LACKS;
    of->has_pieces = event->message.pieces;
    if (core->from == PC_NONE) {
        choose(core, out);
    }
}

static void take_back(pc *core, const pc_event *event, pc_output *out)
{
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
    core->kept = (own){.number = core->wanted, .pieces = core->got, .held = true, .held_by = event->rank};
    core->wanted = 0;
    core->from = PC_NONE;
}

/* ---------------------------------------------------------------- views */

static void install(pc *core, const pc_event *event)
{
    core->view = event->view;
    core->self = event->peer;
    core->holder = PC_NONE;
    core->committed = event->number;
    core->sending = 0;
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
    case PC_PLACED:
        place(core, event);
        break;
    case PC_TAKEN:
        if (event->number > core->committed && event->pieces > 0) {
            core->taken = (own){.number = event->number, .pieces = event->pieces};
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
        bool has = to->committed.number == to->asked;

        clear_due(core, who, DUE_ANSWER);
        out->message = message_of(core, has ? PC_HAVE : PC_LACK, to->asked);
        out->message.pieces = has ? to->committed.pieces : 0;
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

static bool next_own(pc *core, bool bulk, pc_send *out)
{
    const own *o = unheld(core);

    if (o == NULL) {
        return false;
    }
    out->to = core->holder;
    if (core->sending != o->number) {
        core->sending = o->number;
        core->sent = 0;
        out->message = message_of(core, PC_BEGIN, o->number);
        out->message.pieces = o->pieces;
        out->message.committed = core->committed;
        return true;
    }
    if (!bulk || core->sent == o->pieces) {
        return false;
    }
    out->message = message_of(core, PC_PIECE, o->number);
    out->message.pieces = o->pieces;
    out->message.index = core->sent++;
    return true;
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

    return core->asking || core->due > 0 || core->serving > 0 ||
           (o != NULL && (core->sending != o->number || core->sent < o->pieces));
}

/* ---------------------------------------------------------------- looking */

uint64_t pc_copy(const pc *core, uint32_t owner, bool committed)
{
    return committed ? core->peers[owner].committed.number : core->peers[owner].prepared.number;
}

uint32_t pc_holder(const pc *core)
{
    return core->holder;
}

bool pc_is_held(const pc *core, uint64_t number)
{
    const own *o = own_of((pc *)(uintptr_t)core, number);

    return o != NULL && o->held && core->holder != PC_NONE;
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
                                  core->got >= core->peers[core->from].has_pieces)) {
        name = "P4: pieces come from one that does not have them";
    }
    if (due != core->due || serving != core->serving) {
        name = "what is due is counted wrongly";
    }
    if (broken != NULL) {
        *broken = name;
    }
    return name == NULL;
}
