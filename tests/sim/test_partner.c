/* Runs the production core of src/partner/copies.c through many histories. A seed is all that there is to one:
 * `test_partner --seed N --trace` shows every event of it.
 *
 * In a history 2 to 6 processes on 1 to 4 hosts, and spares, each hold a core. Attempts at snapshots are recorded by each
 * process at its own time, copied piece by piece, and committed (by a file, or only when all copies are held) or given up;
 * who hears of it hears late. Ranks die at any moment, several at once, in a recovery too; then a view names the newest
 * committed snapshot, each rank learns it with its own delay, and who takes a place wants its part back. If that snapshot
 * was in memory only and somebody cannot have its part, the next view goes back to the newest one that has files. Messages of one
 * rank to another come in order, all else may overtake; those of another view are dropped. Pieces are damaged on their
 * way and in a holder's memory, and a holder may have no room. Around each core stands what src/process/partner.c does.
 *
 * In half of the histories there are groups instead of partners, which each rank learns of at its own time. A parity cell is
 * the pieces that are in it; adding one that is in it takes it out.
 *
 * After every event:
 *   exact      who gets its part back has every piece of it, of that very recording of that very snapshot
 *   promise    a copy that its holder said it held, of a snapshot that was committed later or not, is there when its owner
 *              dies, as long as the holder lives and its memory is good: nobody falls back to a file then
 *   room       a holder keeps at most two copies of an owner
 *   invariant  pc_check
 * In the end (nothing goes wrong any more, nobody dies):
 *   stuck      everybody has its state and runs, and the newest committed snapshot that a process has in its own memory is
 *              held, whole, by its holder (unless that has refused it), which is on another host if there is one */
#include "agenda.h"
#include "chance.h"

#include "partner/copies.h"
#include "partner/placement.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROCESSES_MAX 6
#define RANKS_MAX     14
#define PIECES_MAX    4
#define MESSAGES_MAX  512
#define EVENTS_MAX    100000
#define ROOMS         3
#define PARITIES      8
#define NUMBERS_MAX   4096
#define NOBODY        UINT32_MAX

typedef enum property { HOLDS, EXACT, PROMISE, ROOM, INVARIANT, STUCK, PROPERTIES } property;

static const char *const property_texts[PROPERTIES] = {"holds", "exact", "promise", "room", "invariant", "stuck"};

/* A piece of a part: whose, of which recording. Equal numbers of different recordings are told apart. */
typedef struct token {
    uint32_t owner, recording, index;
    bool bad;
} token;

typedef struct part {
    uint64_t number; /* 0: none */
    uint32_t recording;
} part;

typedef struct copy_room {
    uint64_t number; /* 0: free */
    token pieces[PIECES_MAX];
    bool damaged; /* by the world, in memory */
} copy_room;

/* What was added up by exclusive or. */
typedef struct cell {
    bool in[PROCESSES_MAX];
    token piece[PROCESSES_MAX]; /* by owners */
    bool bad;
} cell;

typedef struct parity {
    uint64_t number; /* 0: free */
    cell cells[PIECES_MAX];
    bool damaged;
} parity;

typedef struct letter {
    pc_message message;
    uint32_t from_process;
    token piece;
    cell sum;   /* BACK in a group */
    bool ready; /* no message of the core: this rank has the state of view `message.view` */
} letter;

typedef struct lane {
    letter items[MESSAGES_MAX];
    size_t first, count;
} lane;

typedef struct rank {
    pc *core;
    bool dead, running, wanting;
    uint32_t process; /* or NOBODY */
    uint32_t view;
    uint32_t ready[RANKS_MAX]; /* view that it has said it is ready for */
    part cut, kept;
    uint64_t heard;   /* newest committed */
    uint64_t had;     /* bits: numbers of which it has had its own part */
    uint64_t refused; /* bits: numbers that its holder did not keep */
    uint64_t whole;   /* attempt of which its part is */
    copy_room rooms[PROCESSES_MAX][ROOMS];
    parity parities[PARITIES];
    bool grouped, placed;
    token fetched[PIECES_MAX];
    cell sums[PIECES_MAX];
    bool ticking;
} rank;

/* What a holder has said: a copy is there. */
typedef struct promise {
    uint32_t holder[PROCESSES_MAX], holders; /* ranks */
    uint64_t number;
    bool broken; /* by the world: the holder died, or its memory is damaged */
} promise;

typedef struct view {
    uint64_t snapshot;
    uint32_t carrier[PROCESSES_MAX];
} view;

typedef enum happening_kind {
    ARRIVE,
    BYTES,
    TICK,
    RECORD,
    COMPLETE,
    GIVE_UP,
    COMMIT,
    HEAR,
    LEARN,
    READY,
    KILL,
    DAMAGE,
    CHOOSE,
    BEGIN,
    GROUP,
    CALM
} happening_kind;

typedef struct happening {
    happening_kind kind;
    uint32_t to, from, view;
    uint64_t number;
} happening;

typedef struct result {
    property broken;
    char detail[300];
    uint32_t count, ranks;
    uint64_t events, digest, deaths, views, attempts, committed, abandoned, held, refused, fetched, damaged,
        unavailable, overtaken, further, rebuilt;
} result;

typedef struct options {
    bool blind;
    FILE *trace;
} options;

static const options *given;
static result *seen;
static chance random_numbers;
static agenda plans;
static uint64_t now;
static uint32_t count, ranks, hosts;
static uint64_t host[RANKS_MAX];
static rank all[RANKS_MAX];
static lane lanes[RANKS_MAX][RANKS_MAX];
static lane bytes_of[RANKS_MAX][RANKS_MAX]; /* pieces that were announced: their bytes come later, in order */
static view views[2 * RANKS_MAX + 4];
static uint32_t newest;
static promise promises[PROCESSES_MAX];
static uint64_t attempt, committed, last_number;
static uint64_t durable;        /* the newest committed one that has files */
static bool files[NUMBERS_MAX]; /* by numbers: it has */
static uint64_t voided;         /* somebody cannot have its part of this one, in this view */
static uint32_t voided_view;
static bool over; /* no view helps: the launch ends */
static uint32_t attempt_view;
static bool by_file, calm, choosing;
static uint32_t recordings;
static bool in_groups;
static uint32_t group_of[PROCESSES_MAX]; /* by processes */
static uint64_t grouped_at;
static uint32_t pieces[PROCESSES_MAX];
static uint64_t death_rate, damage_rate, no_room_rate, hearing, between;

static void fail(property which, const char *what, uint32_t who)
{
    if (seen->broken == HOLDS) {
        seen->broken = which;
        (void)snprintf(seen->detail, sizeof seen->detail, "%s (rank %u, view %u, at %" PRIu64 ")", what, who,
                       all[who].view, now);
    }
}

static void say(uint32_t who, const char *what, uint64_t number)
{
    if (given->trace != NULL) {
        fprintf(given->trace, "%8" PRIu64 " rank %u (process %d, view %u) %s %" PRIu64 "\n", now, who,
                all[who].process == NOBODY ? -1 : (int)all[who].process, all[who].view, what, number);
    }
}

static bool one_in(uint64_t n)
{
    return !calm && chance_one_in(&random_numbers, n);
}

static void plan(uint64_t after, happening what)
{
    agenda_plan(&plans, now + after, &what);
}

static uint64_t delay(uint64_t typical)
{
    return 1 + chance_below(&random_numbers, typical) + (one_in(12) ? chance_below(&random_numbers, 20 * typical) : 0);
}

static void step(uint32_t who, pc_event event, const letter *what);

/* ---------------------------------------------------------------- ranks */

static void wake(uint32_t who)
{
    if (!all[who].ticking && !all[who].dead) {
        all[who].ticking = true;
        plan(delay(10), (happening){.kind = TICK, .to = who});
    }
}

static letter pop(lane *l)
{
    letter first = l->items[l->first];

    l->first = (l->first + 1) % MESSAGES_MAX;
    l->count--;
    return first;
}

static void push(lane *l, letter what)
{
    l->items[(l->first + l->count++) % MESSAGES_MAX] = what;
}

static void post(uint32_t from, uint32_t to, letter what)
{
    lane *l = &lanes[from][to];

    if (all[from].dead || all[to].dead) {
        return;
    }
    if (l->count == MESSAGES_MAX) {
        fail(STUCK, "a channel is full", from);
        return;
    }
    push(l, what);
    plan(delay(30), (happening){.kind = ARRIVE, .to = to, .from = from});
}

static void break_promises(uint32_t who)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t h = 0; h < promises[i].holders; h++) {
            promises[i].broken = promises[i].broken || promises[i].holder[h] == who;
        }
    }
}

static void kill_rank(uint32_t who)
{
    if (all[who].dead) {
        return;
    }
    say(who, "dies", 0);
    all[who].dead = true;
    seen->deaths++;
    break_promises(who);
    for (uint32_t i = 0; i < ranks; i++) {
        lanes[who][i].count = lanes[i][who].count = 0;
        bytes_of[who][i].count = bytes_of[i][who].count = 0;
    }
    if (!choosing) {
        choosing = true;
        plan(delay(100), (happening){.kind = CHOOSE});
    }
}

static uint32_t carrier_of(const rank *r, uint32_t process)
{
    return views[r->view].carrier[process];
}

static parity *parity_of(rank *r, uint64_t number)
{
    for (int k = 0; k < PARITIES; k++) {
        if (r->parities[k].number == number) {
            return &r->parities[k];
        }
    }
    return NULL;
}

/* Take what is in `other` in, or out if it is in already. */
static void add_up(cell *sum, const cell *other)
{
    sum->bad = sum->bad || other->bad;
    for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
        if (!other->in[i]) {
            continue;
        }
        if (sum->in[i] &&
            (sum->piece[i].recording != other->piece[i].recording || sum->piece[i].index != other->piece[i].index)) {
            sum->bad = true;
        }
        sum->in[i] = !sum->in[i];
        sum->piece[i] = other->piece[i];
    }
}

/* What one of a group gives to who wants its part. */
static cell share(uint32_t who, uint32_t to, const pc_message *m)
{
    rank *r = &all[who];
    cell sum = {.bad = false};
    parity *p = parity_of(r, m->number);
    uint32_t at;

    if (pc_served(r->core, to, m->index, &at)) {
        if (r->kept.number != m->number || at >= pieces[r->process]) {
            fail(EXACT, "a piece of a part that is not in its own memory is given", who);
        }
        sum.in[r->process] = true;
        sum.piece[r->process] = (token){.owner = r->process, .recording = r->kept.recording, .index = at};
    } else if (p == NULL || at >= PIECES_MAX) {
        fail(EXACT, "a cell is given that there is not", who);
    } else {
        sum = p->cells[at];
        sum.bad = sum.bad || p->damaged;
    }
    return sum;
}

static void send(uint32_t who, const pc_send *s)
{
    rank *r = &all[who];
    letter what = {.message = s->message, .from_process = r->process};
    const pc_message *m = &s->message;
    bool harmed;

    if (m->kind == PC_PIECE) {
        part own = r->cut.number == m->number ? r->cut : r->kept;

        if (own.number != m->number) {
            fail(EXACT, "a piece of a part that is not in its own memory is sent", who);
            return;
        }
        what.piece = (token){.owner = r->process,
                             .recording = own.recording,
                             .index = pc_piece_at(r->core, r->process, s->to, m->index)};
    } else if (m->kind == PC_BACK && in_groups) {
        what.sum = share(who, s->to, m);
    } else if (m->kind == PC_BACK) {
        for (int i = 0; i < ROOMS; i++) {
            if (r->rooms[s->to][i].number == m->number) {
                what.piece = r->rooms[s->to][i].pieces[m->index];
            }
        }
    }
    harmed = (m->kind == PC_PIECE || m->kind == PC_BACK) && one_in(damage_rate);
    what.piece.bad = what.piece.bad || harmed;
    for (uint32_t i = 0; i < count; i++) {
        if (i != r->process && (s->to == PC_ALL || s->to == i)) {
            promises[i].broken = promises[i].broken || (harmed && m->kind == PC_BACK);
            post(who, carrier_of(r, i), what);
        }
    }
}

static void tick(uint32_t who)
{
    rank *r = &all[who];
    pc_send s;

    r->ticking = false;
    if (r->process != NOBODY && pc_next(r->core, !one_in(3), &s)) {
        send(who, &s);
        if (one_in(death_rate * 20)) {
            kill_rank(who);
        }
    }
    if (pc_has_next(r->core)) {
        wake(who);
    }
}

/* Copies that the core does not know any more leave their room. */
static void collect(uint32_t who)
{
    rank *r = &all[who];

    for (int k = 0; k < PARITIES; k++) {
        bool wanted = false;

        for (uint32_t i = 0; i < count; i++) {
            wanted = wanted || r->parities[k].number == pc_copy(r->core, i, true) ||
                     r->parities[k].number == pc_copy(r->core, i, false);
        }
        r->parities[k].number = wanted ? r->parities[k].number : 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (int k = 0; k < ROOMS; k++) {
            copy_room *room = &r->rooms[i][k];

            if (room->number != pc_copy(r->core, i, true) && room->number != pc_copy(r->core, i, false)) {
                room->number = 0;
            }
        }
    }
}

static copy_room *room_of(rank *r, uint32_t owner, uint64_t number)
{
    for (int k = 0; k < ROOMS; k++) {
        if (r->rooms[owner][k].number == number) {
            return &r->rooms[owner][k];
        }
    }
    return NULL;
}

static void make_room(uint32_t who, uint32_t owner, uint64_t number)
{
    rank *r = &all[who];
    copy_room *room = room_of(r, owner, number);

    if (in_groups) {
        parity *p = parity_of(r, number);

        if (p == NULL && one_in(no_room_rate)) {
            step(who, (pc_event){.kind = PC_NO_ROOM, .peer = owner, .number = number}, NULL);
        } else if (p == NULL && (p = parity_of(r, 0)) == NULL) {
            fail(ROOM, "too many parities", who);
        } else if (p->number == 0) {
            memset(p, 0, sizeof *p);
            p->number = number;
        }
        return;
    }
    room = room == NULL ? room_of(r, owner, 0) : room;
    if (room == NULL) {
        fail(ROOM, "more than two copies of an owner", who);
        return;
    }
    if (one_in(no_room_rate)) {
        step(who, (pc_event){.kind = PC_NO_ROOM, .peer = owner, .number = number}, NULL);
        return;
    }
    memset(room, 0, sizeof *room);
    room->number = number;
}

/* ---------------------------------------------------------------- what the core says */

/* True: what came adds up to nothing but the part; false: something of it was damaged in memory, as its checksums say. */
static bool check_sums(uint32_t who)
{
    rank *r = &all[who];

    for (uint32_t k = 0; k < pieces[r->process]; k++) {
        if (r->sums[k].bad) {
            return false;
        }
    }
    for (uint32_t k = 0; k < pieces[r->process]; k++) {
        const cell *sum = &r->sums[k];

        for (uint32_t i = 0; i < count; i++) {
            if (sum->in[i] != (i == r->process)) {
                fail(EXACT, "what a group gives does not add up to a part", who);
            }
        }
        r->fetched[k] = sum->piece[r->process];
        r->fetched[k].owner = r->process;
    }
    return true;
}

static void check_fetched(uint32_t who, uint64_t number)
{
    rank *r = &all[who];

    for (uint32_t i = 0; i < pieces[r->process]; i++) {
        token t = r->fetched[i];

        if (t.bad || t.owner != r->process || t.index != i || t.recording != r->fetched[0].recording ||
            number != views[r->view].snapshot) {
            fail(EXACT, "a part comes back that is another one, or not whole", who);
        }
    }
}

static void ready_soon(uint32_t who)
{
    plan(delay(60), (happening){.kind = READY, .to = who, .view = all[who].view});
}

/* It was in memory only: all are to go back further. */
static void cannot(uint32_t who, uint64_t number)
{
    say(who, "cannot have its part of", number);
    seen->further++;
    voided = number;
    voided_view = all[who].view;
    if (!choosing) {
        choosing = true;
        plan(delay(100), (happening){.kind = CHOOSE});
    }
}

static void note_promise(uint32_t who, uint64_t number)
{
    rank *r = &all[who];
    promise *p = &promises[r->process];

    *p = (promise){.holders = pc_holders(r->core), .number = number};
    for (uint32_t h = 0; h < p->holders; h++) {
        const rank *holder = &all[carrier_of(r, pc_holder(r->core, h))];

        p->holder[h] = (uint32_t)(holder - all);
        p->broken = p->broken || holder->dead;
        if (in_groups && holder->cut.number != number && holder->kept.number != number) {
            if (!holder->dead && (holder->had >> number % 64 & 1) == 0) {
                fail(PROMISE, "a part is said to be in a parity by one that cannot give its own", p->holder[h]);
            }
            p->broken = true; /* it has given it up since */
        }
        for (int k = 0; k < ROOMS; k++) {
            p->broken =
                p->broken || (holder->rooms[r->process][k].number == number && holder->rooms[r->process][k].damaged);
        }
        for (int k = 0; k < PARITIES; k++) {
            p->broken = p->broken || (holder->parities[k].number == number && holder->parities[k].damaged);
        }
    }
}

static void from_file(uint32_t who, uint64_t number)
{
    const promise *p = &promises[all[who].process];

    seen->unavailable++;
    say(who, "reads its part from a file:", number);
    if (p->number == number && p->number != 0 && !p->broken) {
        fail(PROMISE, "a copy that was held is not there", who);
    }
    all[who].wanting = false;
    if (files[number]) {
        ready_soon(who);
    } else {
        cannot(who, number);
    }
}

static void carry_out(uint32_t who, const pc_output *out)
{
    rank *r = &all[who];

    if (out->held) {
        seen->held++;
        say(who, "hears that its copy is held:", out->number);
        note_promise(who, out->number);
    }
    if (out->refused) {
        seen->refused++;
        say(who, "hears that its copy is refused:", out->number);
        r->refused |= UINT64_C(1) << out->number % 64;
    }
    seen->damaged += out->damaged;
    if (out->fetched && in_groups && !check_sums(who)) {
        seen->damaged++;
        step(who, (pc_event){.kind = PC_GONE, .number = out->number}, NULL);
        if (!r->dead) {
            from_file(who, out->number);
        }
    } else if (out->fetched) {
        seen->fetched++;
        seen->rebuilt += in_groups;
        say(who, "has its part back:", out->number);
        check_fetched(who, out->number);
        r->kept = (part){.number = out->number, .recording = r->fetched[0].recording};
        r->had |= UINT64_C(1) << out->number % 64;
        r->wanting = false;
        ready_soon(who);
    }
    if (out->unavailable && r->wanting) {
        from_file(who, out->number);
    }
}

static void store_in_group(uint32_t who, const pc_event *event, const letter *what)
{
    rank *r = &all[who];
    const pc_message *m = &event->message;
    parity *p = parity_of(r, m->number);
    uint32_t at;
    bool is_cell;

    if (m->kind == PC_BACK) {
        if (pc_returned(r->core, event->peer, m->index, &at, &is_cell)) {
            add_up(&r->sums[at], &what->sum);
        }
    } else if (p == NULL || m->index >= PIECES_MAX) {
        fail(ROOM, "a piece is to be added where there is no room", who);
    } else if (!p->cells[m->index].in[event->peer]) {
        p->cells[m->index].in[event->peer] = true;
        p->cells[m->index].piece[event->peer] = what->piece;
    } else if (p->cells[m->index].piece[event->peer].recording != what->piece.recording ||
               p->cells[m->index].piece[event->peer].index != what->piece.index) {
        fail(EXACT, "another piece comes again", who);
    }
}

/* The group of the process that this rank carries, if it is known. */
static void group(uint32_t who)
{
    rank *r = &all[who];
    uint32_t members[PROCESSES_MAX];
    uint32_t size = 0;

    if (r->dead || !in_groups || r->process == NOBODY || now < grouped_at) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (group_of[i] == group_of[r->process]) {
            members[size++] = i;
        }
    }
    r->grouped = true;
    step(who, (pc_event){.kind = PC_GROUPED, .group = members, .ranks = size}, NULL);
}

/* what: piece, or sum, of what is in the event, stored before the core says that it is wanted, as the shell does. */
static void step(uint32_t who, pc_event event, const letter *what)
{
    rank *r = &all[who];
    const char *broken;
    pc_output out;

    if (r->dead || seen->broken != HOLDS) {
        return;
    }
    seen->events++;
    seen->digest =
        (seen->digest ^ now << 8 ^ (uint64_t)event.kind << 4 ^ who ^ event.message.kind << 20) * 0x100000001b3U;
    pc_step(r->core, &event, &out);
    seen->digest ^= seen->digest >> 29 ^ (uint64_t)out.stored;
    if (!given->blind && !pc_check(r->core, &broken)) {
        fail(INVARIANT, broken, who);
    }
    if (out.stored && what != NULL) {
        const token *piece = &what->piece;

        if (in_groups) {
            store_in_group(who, &event, what);
        } else if (event.message.kind == PC_PIECE) {
            copy_room *room = room_of(r, event.peer, event.message.number);

            if (room == NULL) {
                fail(ROOM, "a piece is to be stored where there is no room", who);
            } else {
                room->pieces[event.message.index] = *piece;
            }
        } else {
            r->fetched[event.message.index] = *piece;
        }
    }
    if (out.changed) {
        collect(who);
    }
    carry_out(who, &out);
    if (pc_has_next(r->core)) {
        wake(who);
    }
    if (one_in(death_rate * 40)) {
        kill_rank(who);
    }
}

/* ---------------------------------------------------------------- recovery, as src/process/recover.c does it */

static void gone(uint32_t who, part *p)
{
    const rank *r = &all[who];
    uint64_t number = p->number;

    *p = (part){0};
    for (uint32_t i = 0; in_groups && r->process != NOBODY && i < count; i++) {
        promise *other = &promises[i]; /* what others of its group can be made from is gone as well */

        other->broken = other->broken || (group_of[i] == group_of[r->process] && other->number == number);
    }
    if (number != 0) {
        step(who, (pc_event){.kind = PC_GONE, .number = number}, NULL);
    }
}

static void learn(uint32_t who, uint32_t number)
{
    rank *r = &all[who];
    const view *v = &views[number];

    if (r->dead || number <= r->view) {
        return;
    }
    r->view = number;
    r->heard = v->snapshot;
    r->running = false;
    r->placed = false;
    r->wanting = false;
    r->process = NOBODY;
    for (uint32_t i = 0; i < count; i++) {
        r->process = v->carrier[i] == who ? i : r->process;
    }
    say(who, "learns of the view that goes back to", v->snapshot);
    step(who, (pc_event){.kind = PC_VIEWED, .view = number, .number = v->snapshot, .peer = r->process}, NULL);
    if (r->dead || r->process == NOBODY) {
        return;
    }
    group(who);
    if (r->cut.number == v->snapshot) {
        part cut = r->cut;

        r->cut = (part){0};
        gone(who, &r->kept);
        r->kept = cut;
    } else {
        gone(who, &r->cut);
    }
    if (r->kept.number == v->snapshot) {
        ready_soon(who);
        return;
    }
    gone(who, &r->kept);
    r->wanting = true;
    memset(r->fetched, 0xff, sizeof r->fetched);
    memset(r->sums, 0, sizeof r->sums);
    step(who, (pc_event){.kind = PC_WANT, .number = v->snapshot}, NULL);
}

/* Its holders are known: when all have their state, and in a group when it knows that. */
static void place(uint32_t who)
{
    rank *r = &all[who];
    uint64_t hosts_of[PROCESSES_MAX];
    uint32_t holder[PROCESSES_MAX];
    uint32_t scratch[PROCESSES_MAX];
    uint32_t carriers[PROCESSES_MAX];
    uint32_t holders = 0;

    if (r->dead || !r->running || r->placed || (in_groups && !r->grouped)) {
        return;
    }
    r->placed = true;
    if (in_groups) {
        for (; pc_holder(r->core, holders) != PC_NONE; holders++) {
            carriers[holders] = carrier_of(r, pc_holder(r->core, holders));
        }
        say(who, "is placed; so many hold its part:", holders);
        step(who, (pc_event){.kind = PC_PLACED, .carriers = carriers}, NULL);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        hosts_of[i] = host[carrier_of(r, i)];
    }
    pl_partners(count, hosts_of, holder, scratch);
    say(who, "is placed; its holder is process", holder[r->process]);
    step(who, (pc_event){.kind = PC_PLACED, .peer = holder[r->process], .rank = carrier_of(r, holder[r->process])},
         NULL);
}

static void consider_running(uint32_t who)
{
    rank *r = &all[who];

    if (r->dead || r->running || r->process == NOBODY) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (r->ready[carrier_of(r, i)] != r->view + 1) {
            return;
        }
    }
    r->running = true;
    place(who);
}

static void be_ready(uint32_t who, uint32_t number)
{
    rank *r = &all[who];

    if (r->dead || r->view != number) {
        return;
    }
    r->ready[who] = number + 1;
    for (uint32_t i = 0; i < ranks && !r->dead; i++) {
        if (i != who) {
            post(who, i, (letter){.ready = true, .message.view = number, .from_process = r->process});
            if (one_in(death_rate * 20)) {
                kill_rank(who);
            }
        }
    }
    consider_running(who);
}

static void choose_view(void)
{
    view *v = &views[newest + 1];
    bool any = newest > 0 && voided_view == newest && voided == views[newest].snapshot;

    choosing = false;
    committed = any ? durable : committed;
    *v = views[newest];
    v->snapshot = committed;
    for (uint32_t i = 0; i < count; i++) {
        if (!all[v->carrier[i]].dead) {
            continue;
        }
        any = true;
        for (uint32_t k = 0; k < ranks && all[v->carrier[i]].dead; k++) {
            bool carries = false;

            for (uint32_t j = 0; j < count; j++) {
                carries = carries || v->carrier[j] == k;
            }
            if (!all[k].dead && !carries) {
                v->carrier[i] = k;
            }
        }
        if (all[v->carrier[i]].dead) {
            over = true; /* no spare */
            return;
        }
    }
    over = any && committed == 0;
    if (!any || over) {
        return;
    }
    newest++;
    seen->views++;
    attempt = 0;
    for (uint32_t i = 0; i < ranks; i++) {
        plan(delay(150), (happening){.kind = LEARN, .to = i, .view = newest});
    }
    for (uint32_t i = 0; i < count; i++) {
        seen->overtaken += !all[v->carrier[i]].running;
    }
}

static void take(uint32_t who, uint32_t from, const letter *what)
{
    rank *r = &all[who];
    pc_event event = {.kind = PC_MESSAGE, .rank = from, .peer = what->from_process, .message = what->message};

    if (what->message.kind != PC_ASK && what->message.view != r->view) {
        return; /* of another incarnation */
    }
    if (given->trace != NULL) {
        fprintf(given->trace, "%8" PRIu64 " rank %u hears from rank %u: message %u of view %u, number %" PRIu64 "\n",
                now, who, from, what->message.kind, what->message.view, what->message.number);
    }
    event.good = !what->piece.bad;
    step(who, event, what);
    if (what->message.kind == PC_BEGIN && r->process != NOBODY && !r->dead &&
        pc_copy(r->core, what->from_process, false) == what->message.number) {
        make_room(who, what->from_process, what->message.number);
    }
}

static void arrive(uint32_t who, uint32_t from)
{
    rank *r = &all[who];
    letter what;

    if (lanes[from][who].count == 0 || r->dead) {
        return;
    }
    what = pop(&lanes[from][who]);
    if (what.ready) {
        r->ready[from] = what.message.view + 1 > r->ready[from] ? what.message.view + 1 : r->ready[from];
        consider_running(who);
    } else if (what.message.kind == PC_PIECE || what.message.kind == PC_BACK) {
        push(&bytes_of[from][who], what);
        plan(delay(10), (happening){.kind = BYTES, .to = who, .from = from});
    } else {
        take(who, from, &what);
    }
}

static void bytes_arrive(uint32_t who, uint32_t from)
{
    letter what;

    if (bytes_of[from][who].count > 0 && !all[who].dead) {
        what = pop(&bytes_of[from][who]);
        take(who, from, &what);
    }
}

/* ---------------------------------------------------------------- snapshots */

static bool is_running(void)
{
    for (uint32_t i = 0; i < count; i++) {
        const rank *r = &all[views[newest].carrier[i]];

        if (r->dead || !r->running || r->view != newest) {
            return false;
        }
    }
    return true;
}

static void begin_attempt(void)
{
    plan(delay(between), (happening){.kind = BEGIN});
    if (attempt != 0 || !is_running() || (calm && one_in(2))) {
        return;
    }
    attempt = ++last_number;
    attempt_view = newest;
    by_file = chance_one_in(&random_numbers, 2);
    recordings++;
    seen->attempts++;
    for (uint32_t i = 0; i < count; i++) {
        plan(delay(100),
             (happening){.kind = RECORD, .to = views[newest].carrier[i], .number = attempt, .view = newest});
    }
    plan(delay(by_file ? 300 : 600), (happening){.kind = one_in(4) ? GIVE_UP : COMMIT, .number = attempt});
}

static void record(uint32_t who, uint64_t number, uint32_t in_view)
{
    rank *r = &all[who];

    if (r->dead || r->view != in_view || number != attempt || r->process == NOBODY) {
        return;
    }
    gone(who, &r->cut);
    r->cut = (part){.number = number, .recording = recordings};
    r->had |= UINT64_C(1) << number % 64;
    say(who, "has recorded", number);
    plan(delay(30), (happening){.kind = COMPLETE, .to = who, .number = number, .view = in_view});
}

/* All markers have come, the coordinator's too: so this process has heard of every commit before this attempt. */
static void complete(uint32_t who, uint64_t number, uint32_t in_view)
{
    rank *r = &all[who];

    if (r->dead || r->view != in_view || r->cut.number != number) {
        return;
    }
    if (r->heard < committed && committed < number) {
        plan(delay(30), (happening){.kind = COMPLETE, .to = who, .number = number, .view = in_view});
        return;
    }
    r->whole = number;
    step(who, (pc_event){.kind = PC_TAKEN, .number = number, .pieces = pieces[r->process]}, NULL);
}

static bool all_have_recorded(void)
{
    for (uint32_t i = 0; i < count; i++) {
        const rank *r = &all[views[newest].carrier[i]];

        if (r->dead || r->view != attempt_view || r->cut.number != attempt || r->whole != attempt ||
            (!by_file && !pc_is_held(r->core, attempt))) {
            return false;
        }
    }
    return true;
}

static void commit(uint64_t number)
{
    if (number != attempt || attempt_view != newest) {
        return;
    }
    if (!all_have_recorded()) {
        plan(delay(200), (happening){.kind = one_in(4) ? GIVE_UP : COMMIT, .number = number});
        return;
    }
    committed = number;
    durable = by_file ? number : durable;
    files[number] = by_file;
    attempt = 0;
    seen->committed++;
    for (uint32_t i = 0; i < count; i++) {
        plan(delay(hearing),
             (happening){.kind = HEAR, .to = views[newest].carrier[i], .number = number, .view = newest});
    }
}

static void hear_of(uint32_t who, uint64_t number, uint32_t in_view)
{
    rank *r = &all[who];

    if (r->dead || r->view != in_view) {
        return;
    }
    say(who, "hears that it is committed:", number);
    r->heard = number;
    if (r->cut.number == number) {
        part cut = r->cut;

        r->cut = (part){0};
        gone(who, &r->kept);
        r->kept = cut;
    }
    step(who, (pc_event){.kind = PC_COMMITTED, .number = number}, NULL);
}

static void give_up(uint64_t number)
{
    if (number != attempt || attempt_view != newest) {
        return;
    }
    attempt = 0;
    seen->abandoned++;
    for (uint32_t i = 0; i < count; i++) {
        rank *r = &all[views[newest].carrier[i]];

        if (r->cut.number == number && !r->dead) {
            gone(views[newest].carrier[i], &r->cut);
        }
    }
}

/* A bit of a copy changes in its holder's memory: its checksum tells, when it is given back. */
static void damage(void)
{
    uint32_t who = (uint32_t)chance_below(&random_numbers, ranks);
    uint32_t owner = (uint32_t)chance_below(&random_numbers, count);
    copy_room *room = &all[who].rooms[owner][chance_below(&random_numbers, ROOMS)];
    parity *p = &all[who].parities[chance_below(&random_numbers, PARITIES)];

    if (in_groups && !all[who].dead && p->number != 0) {
        say(who, "has a damaged parity of", p->number);
        p->damaged = true;
        break_promises(who);
        return;
    }
    if (all[who].dead || room->number == 0) {
        return;
    }
    say(who, "has a damaged copy of", room->number);
    room->damaged = true;
    for (uint32_t i = 0; i < PIECES_MAX; i++) {
        room->pieces[i].bad = true;
    }
    break_promises(who);
}

/* ---------------------------------------------------------------- the end */

/* The whole group has its parts of the newest committed snapshot, and none was refused: then each is in all its parities. */
static void check_group(uint32_t process)
{
    uint32_t who = views[newest].carrier[process];
    const rank *r = &all[who];

    for (uint32_t i = 0; i < count; i++) {
        const rank *other = &all[views[newest].carrier[i]];

        if (group_of[i] == group_of[process] &&
            (other->kept.number != committed || (other->refused >> committed % 64 & 1) != 0)) {
            return;
        }
    }
    if (!pc_is_held(r->core, committed)) {
        fail(STUCK, "the newest committed part is not in the parities", who);
        return;
    }
    for (uint32_t k = 0; k < pieces[process]; k++) {
        uint32_t holders = pc_holders(r->core);
        rank *holder = &all[carrier_of(r, pc_holder(r->core, k % holders))];
        const parity *p = parity_of(holder, committed);
        const cell *c = p == NULL ? NULL : &p->cells[k / holders];

        if (c == NULL || !c->in[process] || c->piece[process].recording != r->kept.recording ||
            c->piece[process].index != k) {
            fail(EXACT, "what is in a parity is not what its owner has", who);
        }
    }
}

static void check_end(void)
{
    if (over) {
        return; /* no spare was left, or there is nothing to go back to */
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t who = views[newest].carrier[i];
        const rank *r = &all[who];
        uint32_t holder;
        const copy_room *room;

        if (!r->running || r->view != newest || r->wanting) {
            fail(STUCK, "a process does not run in the newest view", who);
            return;
        }
        if (r->kept.number == 0 || r->kept.number != committed || (r->refused >> committed % 64 & 1) != 0) {
            continue;
        }
        if (in_groups) {
            check_group(i);
            continue;
        }
        holder = carrier_of(r, pc_holder(r->core, 0));
        room = room_of(&all[holder], i, committed);
        if (!pc_is_held(r->core, committed) || room == NULL || pc_copy(all[holder].core, i, true) != committed) {
            fail(STUCK, "the newest committed part is not held", who);
        } else if (!room->damaged) {
            for (uint32_t k = 0; k < pieces[i]; k++) {
                if (room->pieces[k].recording != r->kept.recording || room->pieces[k].owner != i ||
                    room->pieces[k].index != k) {
                    fail(EXACT, "what is held is not what its owner has", who);
                }
            }
        }
        for (uint32_t k = 0; k < count; k++) {
            if (host[views[newest].carrier[k]] != host[who] && host[holder] == host[who]) {
                fail(STUCK, "the holder is on the same host", who);
            }
        }
    }
}

static void happen(const happening *h)
{
    switch (h->kind) {
    case ARRIVE:
        arrive(h->to, h->from);
        break;
    case BYTES:
        bytes_arrive(h->to, h->from);
        break;
    case TICK:
        tick(h->to);
        break;
    case RECORD:
        record(h->to, h->number, h->view);
        break;
    case COMPLETE:
        complete(h->to, h->number, h->view);
        break;
    case GIVE_UP:
        give_up(h->number);
        break;
    case COMMIT:
        commit(h->number);
        break;
    case HEAR:
        hear_of(h->to, h->number, h->view);
        break;
    case LEARN:
        learn(h->to, h->view);
        break;
    case READY:
        be_ready(h->to, h->view);
        break;
    case KILL:
        if (!calm) {
            kill_rank(h->to);
        }
        break;
    case DAMAGE:
        if (!calm) {
            damage();
            plan(1 + chance_below(&random_numbers, damage_rate * 100), *h);
        }
        break;
    case CHOOSE:
        choose_view();
        break;
    case BEGIN:
        begin_attempt();
        break;
    case GROUP:
        group(h->to);
        place(h->to);
        break;
    case CALM:
        calm = true;
        break;
    }
}

static void begin_world(uint64_t seed)
{
    random_numbers = chance_begin(seed);
    memset(&plans, 0, sizeof plans);
    plans.item_bytes = sizeof(happening);
    memset(all, 0, sizeof all);
    for (uint32_t i = 0; i < RANKS_MAX; i++) { /* what is in them is written before it is read */
        for (uint32_t k = 0; k < RANKS_MAX; k++) {
            lanes[i][k].first = lanes[i][k].count = 0;
            bytes_of[i][k].first = bytes_of[i][k].count = 0;
        }
    }
    memset(views, 0, sizeof views);
    memset(promises, 0, sizeof promises);
    memset(files, 0, sizeof files);
    over = false;
    now = attempt = committed = last_number = durable = voided = 0;
    newest = attempt_view = recordings = 0;
    calm = choosing = by_file = false;
    count = 2 + (uint32_t)chance_below(&random_numbers, PROCESSES_MAX - 1);
    ranks = count + (uint32_t)chance_below(&random_numbers, RANKS_MAX - count + 1);
    hosts = 1 + (uint32_t)chance_below(&random_numbers, 4);
    death_rate = chance_scale(&random_numbers, 4, 200);
    damage_rate = chance_scale(&random_numbers, 20, 4000);
    no_room_rate = chance_scale(&random_numbers, 10, 1000);
    hearing = chance_scale(&random_numbers, 30, 1000);
    between = chance_scale(&random_numbers, 30, 500);
    seen->count = count;
    seen->ranks = ranks;
    for (uint32_t i = 0; i < ranks; i++) {
        all[i].process = i < count ? i : NOBODY;
        all[i].core = pc_init(malloc(pc_bytes(count)), count, all[i].process);
        host[i] = chance_below(&random_numbers, hosts);
        if (i < count) {
            views[0].carrier[i] = i;
            pieces[i] = 1 + (uint32_t)chance_below(&random_numbers, PIECES_MAX);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        plan(delay(50), (happening){.kind = READY, .to = i});
    }
    in_groups = chance_one_in(&random_numbers, 2);
    if (in_groups) {
        uint32_t scratch[PROCESSES_MAX];

        pl_groups(count, host, 2 + (uint32_t)chance_below(&random_numbers, PROCESSES_MAX - 1), group_of, scratch);
        grouped_at = delay(100);
        for (uint32_t i = 0; i < ranks; i++) {
            step(i, (pc_event){.kind = PC_GROUPED}, NULL);
            plan(grouped_at + delay(200), (happening){.kind = GROUP, .to = i});
        }
    }
    for (uint64_t i = chance_below(&random_numbers, 5); i > 0; i--) {
        plan(chance_below(&random_numbers, 8000),
             (happening){.kind = KILL, .to = (uint32_t)chance_below(&random_numbers, ranks)});
    }
    plan(1 + chance_below(&random_numbers, damage_rate * 100), (happening){.kind = DAMAGE});
    plan(delay(200), (happening){.kind = BEGIN});
    plan(8000, (happening){.kind = CALM});
}

static void run(uint64_t seed, result *out)
{
    happening next;

    memset(out, 0, sizeof *out);
    seen = out;
    begin_world(seed);
    while (plans.count > 0 && now < 16000 && out->broken == HOLDS) {
        now = agenda_take(&plans, &next);
        happen(&next);
        if (out->events > EVENTS_MAX) {
            fail(STUCK, "there is no end to it", 0);
        }
        if (now > 12000 && next.kind == BEGIN) {
            break; /* no more attempts: what is under way comes to its end */
        }
    }
    give_up(attempt);
    while (plans.count > 0 && out->broken == HOLDS) {
        now = agenda_take(&plans, &next);
        if (next.kind != BEGIN) {
            happen(&next);
        }
    }
    if (out->broken == HOLDS) {
        check_end();
    }
    agenda_free(&plans);
    for (uint32_t i = 0; i < ranks; i++) {
        free(all[i].core);
    }
}

/* ---------------------------------------------------------------- the command line */

static const char usage[] = "usage: test_partner [--seeds N] [--first S] [--seed S] [--twice] [--trace] [--blind]\n";

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (end == text || *end != '\0') {
        fprintf(stderr, "test_partner: not a number: %s\n%s", text, usage);
        exit(2);
    }
    return value;
}

static void add(result *sum, const result *one)
{
    sum->events += one->events;
    sum->deaths += one->deaths;
    sum->views += one->views;
    sum->attempts += one->attempts;
    sum->committed += one->committed;
    sum->abandoned += one->abandoned;
    sum->held += one->held;
    sum->refused += one->refused;
    sum->fetched += one->fetched;
    sum->damaged += one->damaged;
    sum->unavailable += one->unavailable;
    sum->overtaken += one->overtaken;
    sum->further += one->further;
    sum->rebuilt += one->rebuilt;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"seeds", required_argument, NULL, 's'},
                                                 {"first", required_argument, NULL, 'f'},
                                                 {"seed", required_argument, NULL, 'o'},
                                                 {"twice", no_argument, NULL, 't'},
                                                 {"trace", no_argument, NULL, 'v'},
                                                 {"blind", no_argument, NULL, 'b'},
                                                 {NULL, 0, NULL, 0}};
    static result sum, one, again;
    static options chosen;
    uint64_t first = 1, seeds = 10000;
    bool twice = false;
    clock_t start = clock();
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 's') {
            seeds = number_of(optarg);
        } else if (option == 'f') {
            first = number_of(optarg);
        } else if (option == 'o') {
            first = number_of(optarg);
            seeds = 1;
        } else if (option == 't') {
            twice = true;
        } else if (option == 'v') {
            chosen.trace = stderr;
        } else if (option == 'b') {
            chosen.blind = true;
        } else {
            fputs(usage, stderr);
            return 2;
        }
    }
    given = &chosen;
    for (uint64_t i = 0; i < seeds; i++) {
        run(first + i, &one);
        add(&sum, &one);
        if (one.broken != HOLDS) {
            printf("FAILED seed %" PRIu64 " (%u processes on %u ranks): %s: %s\n", first + i, one.count, one.ranks,
                   property_texts[one.broken], one.detail);
            printf("every event of it: test_partner --seed %" PRIu64 " --trace\n", first + i);
            return 1;
        }
        if (twice) {
            run(first + i, &again);
            if (again.digest != one.digest || again.events != one.events) {
                printf("FAILED seed %" PRIu64 ": a second run was another\n", first + i);
                return 1;
            }
        }
    }
    printf("seeds %" PRIu64 ", events %" PRIu64 ", %.1f s\n", seeds, sum.events,
           (double)(clock() - start) / CLOCKS_PER_SEC);
    printf("deaths %" PRIu64 ", views %" PRIu64 ", processes that were not running when one was chosen %" PRIu64 "\n",
           sum.deaths, sum.views, sum.overtaken);
    printf("attempts %" PRIu64 ", committed %" PRIu64 ", given up %" PRIu64 "; copies held %" PRIu64
           ", refused %" PRIu64 "\n",
           sum.attempts, sum.committed, sum.abandoned, sum.held, sum.refused);
    printf("parts from memory %" PRIu64 ", of them from groups %" PRIu64 "; not to be had %" PRIu64
           ", of them in memory only %" PRIu64 "; damaged copies met %" PRIu64 "\n",
           sum.fetched, sum.rebuilt, sum.unavailable, sum.further, sum.damaged);
    return 0;
}
