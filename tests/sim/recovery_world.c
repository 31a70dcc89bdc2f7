/* Chance, what happens next, the log and its leader, and what goes wrong. */
#include "recovery_world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- chance, time, words */

bool rw_one_in(world *w, uint64_t n)
{
    return chance_one_in(&w->random, n);
}

uint64_t rw_below(world *w, uint64_t bound)
{
    return chance_below(&w->random, bound);
}

/* Around `typical`; while things go wrong, sometimes much more. */
uint64_t rw_delay(world *w, uint64_t typical)
{
    uint64_t value = typical / 2 + rw_below(w, typical + 1) + 1;

    return !w->calm && rw_one_in(w, 30) ? value + typical * rw_below(w, 10) : value;
}

/* Until the next entries of the log are here: for some that is long. */
uint64_t rw_learning(world *w, const rank *r)
{
    return rw_delay(w, w->learning) * (w->calm || !r->slow ? 1 : 1 + rw_below(w, 30));
}

void rw_plan(world *w, uint64_t after, happening what)
{
    agenda_plan(&w->agenda, w->now + after, &what);
}

uint32_t rw_id(const world *w, const rank *r)
{
    return (uint32_t)(r - w->all);
}

void rw_fail(world *w, property which, const char *format, ...)
{
    va_list arguments;

    if (w->result->broken == HOLDS) {
        w->result->broken = which;
        va_start(arguments, format);
        vsnprintf(w->result->detail, sizeof w->result->detail, format, arguments);
        va_end(arguments);
        rw_say(w, NULL, "BROKEN: %s", w->result->detail);
    }
}

/* r: who does it, or NULL. */
void rw_say(world *w, const rank *r, const char *format, ...)
{
    va_list arguments;

    if (w->options->trace != NULL) {
        fprintf(w->options->trace, "%10.3f ms  ", (double)w->now / MILLISECOND);
        if (r != NULL) {
            fprintf(w->options->trace, "rank %u ", rw_id(w, r));
        }
        va_start(arguments, format);
        vfprintf(w->options->trace, format, arguments);
        va_end(arguments);
        fputc('\n', w->options->trace);
    }
}

/* "2 from snapshot 7: 0 5 2, out 1" */
const char *rw_view_text(const world *w, const rc_view *view, char *text, size_t bytes)
{
    const char *between = ", out";
    size_t used =
        (size_t)snprintf(text, bytes, "%u from snapshot %llu:", view->number, (unsigned long long)view->snapshot);

    for (uint32_t i = 0; i < w->count && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, " %u", view->carrier[i]);
    }
    for (uint32_t i = 0; i < w->ranks && used < bytes; i++) {
        if (view->out[i]) {
            used += (size_t)snprintf(text + used, bytes - used, "%s %u", between, i);
            between = "";
        }
    }
    return text;
}

/* ---------------------------------------------------------------- the log */

static void append(world *w, entry one)
{
    if (w->log_count == sizeof w->log / sizeof w->log[0]) {
        rw_fail(w, STUCK, "too many views");
        return;
    }
    w->log[w->log_count++] = one;
    for (uint32_t i = 0; i < w->ranks; i++) {
        if (!w->all[i].learning && !w->all[i].dead) {
            w->all[i].learning = true;
            rw_plan(w, rw_learning(w, &w->all[i]), (happening){.kind = LEARN, .to = i});
        }
    }
}

/* Compare and set: chosen if it follows the newest view. */
static void decide(world *w, const happening *what)
{
    chosen *next = &w->views[w->newest + 1];
    char text[200];

    memset(next, 0, sizeof *next);
    next->view.carrier = next->carrier;
    next->view.out = next->out;
    memcpy(next->bytes, what->bytes, sizeof next->bytes);
    if (!rc_view_get(what->bytes, rc_view_bytes(w->count, w->ranks), w->count, w->ranks, &next->view)) {
        rw_fail(w, PROPOSAL, "rank %u proposes what is no view", what->from);
        return;
    }
    if (next->view.number != w->newest + 1) {
        rw_say(w, NULL, "view %u of rank %u is refused: the newest one is %u", next->view.number, what->from,
               w->newest);
        w->result->refused++;
        return;
    }
    if (what->key != w->key) {
        rw_say(w, NULL, "view %u of rank %u is refused: it does not know of snapshot %llu in memory", next->view.number,
               what->from, (unsigned long long)w->key);
        w->result->refused++;
        return;
    }
    rw_check_chosen(w, next);
    for (uint32_t i = 0; i < w->count; i++) {
        uint32_t old = w->views[w->newest].carrier[i];

        w->result->replaced_alive += next->carrier[i] != old && !w->all[old].dead;
    }
    w->result->overtaken += w->newest > 0 && !w->views[w->newest].restored[w->views[w->newest].carrier[0]];
    w->newest++;
    w->result->views++;
    rw_say(w, NULL, "view %s is chosen", rw_view_text(w, &next->view, text, sizeof text));
    if (w->newest + 2 >= VIEWS_MAX) {
        rw_fail(w, STUCK, "too many views");
        return;
    }
    if (what->voids != 0 && what->voids == w->key) {
        w->cuts[w->key - w->base].gone = true;
        w->key = 0;
    }
    append(w, (entry){.view = w->newest, .gone = what->voids});
}

/* One in memory only is committed if there was no view meanwhile, and the one before it is let go. In a view they come one
 * after the other. */
static void commit(world *w, uint64_t snapshot)
{
    cut *c = &w->cuts[snapshot - w->base];

    if (c->in_memory && (c->view != w->newest || snapshot < w->key)) {
        return;
    }
    rw_say(w, NULL, "snapshot %llu is committed%s", (unsigned long long)snapshot, c->in_memory ? ", in memory" : "");
    c->committed = true;
    if (c->in_memory && w->key != 0) {
        w->cuts[w->key - w->base].gone = true;
    }
    w->key = c->in_memory ? snapshot : w->key;
    w->result->committed++;
    append(w, (entry){.snapshot = snapshot, .in_memory = c->in_memory});
}

/* ---------------------------------------------------------------- the leader */

static bool can_lead(const world *w, uint32_t id)
{
    return !w->all[id].dead && w->all[id].paused <= w->now && !(w->calm && w->views[w->newest].out[id]);
}

static void tell_led(world *w, uint32_t id, uint64_t after)
{
    if (id != NOBODY) {
        rw_plan(w, after, (happening){.kind = LED, .to = id});
    }
}

/* While things go wrong the old one may believe to lead for long. */
static void elect(world *w)
{
    uint32_t old = w->leader;
    uint32_t start = (uint32_t)rw_below(w, w->ranks);

    w->leader = NOBODY;
    for (uint32_t i = 0; i < w->ranks && w->leader == NOBODY; i++) {
        if (can_lead(w, (start + i) % w->ranks)) {
            w->leader = (start + i) % w->ranks;
        }
    }
    w->result->elections++;
    tell_led(w, w->leader, rw_delay(w, w->delay));
    if (old != w->leader) {
        tell_led(w, old, w->calm ? rw_delay(w, w->delay) : rw_below(w, 200 * MILLISECOND));
    }
}

/* ---------------------------------------------------------------- what goes wrong */

/* What it had sent may still come, or the last of it be lost. */
void rw_kill(world *w, uint32_t id, const char *how)
{
    rank *r = &w->all[id];

    if (r->dead) {
        return;
    }
    rw_say(w, r, "%s", how);
    r->dead = true;
    r->silent = r->silent == 0 ? w->now + 1 : r->silent;
    w->result->deaths++;
    for (uint32_t i = 0; i < w->ranks; i++) {
        letters *lane = &w->lanes[id][i];

        w->lanes[i][id].count = 0;
        if (rw_one_in(w, 2)) {
            lane->count = rw_below(w, lane->count + 1);
        }
    }
    if (w->leader == id) {
        rw_plan(w, rw_delay(w, w->patience), (happening){.kind = ELECT, .number = 1});
    }
}

static void silence(world *w, rank *r, happening_kind kind, uint64_t length)
{
    uint64_t *until = kind == PAUSE ? &r->paused : &r->cut;

    if (r->dead || *until > w->now) {
        return;
    }
    length = w->now + length > w->horizon ? w->horizon + 1 - w->now : length;
    *until = w->now + length;
    r->silent = r->silent == 0 ? w->now + 1 : r->silent;
    rw_say(w, r, kind == PAUSE ? "is paused for %.1f ms" : "is cut off for %.1f ms", (double)length / MILLISECOND);
    w->result->pauses += kind == PAUSE;
    w->result->cuts += kind == CUT;
    rw_plan(w, length, (happening){.kind = kind == PAUSE ? WAKE : HEAL, .to = rw_id(w, r)});
}

/* It is heard again, and may believe for a moment that it was the others who were silent. */
static void be_back(world *w, rank *r, happening_kind kind)
{
    uint64_t *until = kind == WAKE ? &r->paused : &r->cut;

    if (r->dead || *until > w->now) {
        return;
    }
    rw_say(w, r, kind == WAKE ? "wakes up" : "is not cut off any more");
    *until = 0;
    r->silent = r->paused > w->now || r->cut > w->now ? r->silent : 0;
    for (uint32_t i = 0; i < w->ranks && !w->calm && kind == WAKE; i++) {
        r->deluded[i] = rw_one_in(w, 2) ? w->now + rw_below(w, 30 * MILLISECOND) : r->deluded[i];
    }
}

static void delude(world *w, rank *r)
{
    uint32_t whom = (uint32_t)rw_below(w, w->ranks);

    for (uint32_t i = 0; i < w->ranks; i++) {
        if (i == whom || rw_one_in(w, 8)) {
            r->deluded[i] = w->now + rw_below(w, 100 * MILLISECOND);
        }
    }
}

/* From here on nothing goes wrong any more. Some that pause never wake up: they are dead. */
static void calm_down(world *w)
{
    rw_say(w, NULL, "from here on nothing goes wrong");
    for (uint32_t i = 0; i < w->ranks; i++) {
        rank *r = &w->all[i];

        memset(r->deluded, 0, sizeof r->deluded);
        if (!r->dead && r->paused > w->now && rw_one_in(w, 2)) {
            rw_kill(w, i, "never wakes up");
        }
        r->paused = r->paused > w->now ? w->now : 0;
        r->cut = r->cut > w->now ? w->now : 0;
        if (!r->dead) {
            be_back(w, r, r->paused > 0 ? WAKE : HEAL);
            r->silent = 0;
        }
    }
    w->calm = true;
    w->abrupt = 0;
    w->result->after = w->result->events;
    w->settled = w->result->events;
    elect(w);
    for (uint32_t i = 0; i < w->ranks; i++) {
        tell_led(w, i, rw_delay(w, w->delay));
        rw_plan(w, rw_delay(w, w->learning), (happening){.kind = LEARN, .to = i});
    }
}

/* ---------------------------------------------------------------- a history */

/* What is due for one that is paused or cut off comes later. */
static bool is_put_off(world *w, const happening *what)
{
    const rank *r = &w->all[what->to];
    bool outside = what->kind == ARRIVE || what->kind == LEARN || what->kind == ANSWER;
    uint64_t until = what->kind == CUT || what->kind == PAUSE || what->kind == KILL || what->kind == WAKE ||
                             what->kind == HEAL || what->kind == DELUDE
                         ? 0
                         : r->paused;

    until = outside && r->cut > until ? r->cut : until;
    if (what->kind == ARRIVE && !w->all[what->from].dead && w->all[what->from].cut > until) {
        until = w->all[what->from].cut;
    }
    if (until <= w->now) {
        return false;
    }
    rw_plan(w, until - w->now + rw_below(w, w->delay + 1), *what);
    return true;
}

static void tick(world *w, rank *r)
{
    rw_look(w, r);
    r->ticking = !r->dead && (r->leads || w->all_look) && w->now < w->end;
    if (r->ticking) {
        rw_plan(w, w->tick, (happening){.kind = TICK, .to = rw_id(w, r)});
    }
}

static void happen_to(world *w, rank *r, const happening *what)
{
    if (r->dead || is_put_off(w, what)) {
        return;
    }
    switch (what->kind) {
    case ARRIVE:
        rw_arrive(w, r, what->from);
        break;
    case LEARN:
        rw_learn(w, r);
        break;
    case BEGIN:
        rw_begin(w, r);
        break;
    case TICK:
        tick(w, r);
        break;
    case JOB_STEP:
        if (what->number == rc_current(r->core)->number) {
            rw_job(w, r);
        }
        break;
    case GO_BACK:
        rw_go_back(w, r);
        break;
    case RESTORED:
        rw_restored(w, r);
        break;
    case ANSWER:
        r->outstanding = false;
        rw_tell_committed(w, r);
        rw_act(w, r, (rc_event){.kind = RC_REFUSED});
        break;
    case LED:
        rw_lead(w, r, what->to == w->leader || (what->number == 1 && !w->calm));
        break;
    case KILL:
        rw_kill(w, what->to, "dies");
        break;
    case PAUSE:
    case CUT:
        silence(w, r, what->kind, what->number);
        break;
    case WAKE:
    case HEAL:
        be_back(w, r, what->kind);
        break;
    default:
        delude(w, r);
    }
}

static void happen(world *w, const happening *what)
{
    switch (what->kind) {
    case PROPOSE:
        decide(w, what);
        break;
    case COMMIT:
        commit(w, what->number);
        break;
    case SNAP:
        rw_take_cut(w);
        break;
    case ELECT:
        if (!w->calm || w->leader == NOBODY || w->all[w->leader].dead) {
            elect(w);
        }
        break;
    case USURP: /* believes to lead, and does not */
        if (!w->calm) {
            rw_plan(w, 0, (happening){.kind = LED, .to = what->to, .number = 1});
            tell_led(w, what->to, what->number);
        }
        break;
    case CALM:
        calm_down(w);
        break;
    default:
        if (!w->calm || (what->kind != KILL && what->kind != PAUSE && what->kind != CUT && what->kind != DELUDE)) {
            happen_to(w, &w->all[what->to], what);
        }
    }
}

static void plan_some(world *w, uint64_t most, happening_kind kind, uint64_t longest)
{
    for (uint64_t n = rw_below(w, most + 1); n > 0; n--) {
        uint64_t at = rw_below(w, w->horizon);
        happening what = {.kind = kind, .to = (uint32_t)rw_below(w, w->ranks)};

        what.number = longest == 0 ? 0 : chance_scale(&w->random, MILLISECOND, longest);
        rw_plan(w, at, what);
        if (kind == KILL && rw_one_in(w, 3)) { /* several at once, or one soon after */
            what.to = (uint32_t)rw_below(w, w->ranks);
            rw_plan(w, at + (rw_one_in(w, 2) ? 0 : rw_below(w, w->patience * 2)), what);
        }
    }
}

static void plan_faults(world *w)
{
    uint64_t spares = w->ranks - w->count;

    plan_some(w, rw_one_in(w, 4) ? w->ranks : spares / 2 + 1, KILL, 0);
    if (w->options->calm || rw_one_in(w, 20)) {
        return;
    }
    w->abrupt = rw_one_in(w, 3) ? 0 : 5 + rw_below(w, 200);
    w->lost = 2 + rw_below(w, 10);
    plan_some(w, rw_below(w, 6), PAUSE, 500 * MILLISECOND);
    plan_some(w, rw_below(w, 4), CUT, 300 * MILLISECOND);
    plan_some(w, rw_below(w, 10), ELECT, 0);
    plan_some(w, rw_below(w, 6), USURP, 200 * MILLISECOND);
    plan_some(w, rw_one_in(w, 2) ? 0 : rw_below(w, 12), DELUDE, 0);
}

static void draw(world *w)
{
    w->count = w->options->count > 0 ? w->options->count : 1 + (uint32_t)rw_below(w, PROCESSES_MAX);
    w->ranks = w->count + (uint32_t)rw_below(w, RANKS_MAX - PROCESSES_MAX + 1);
    w->horizon = 300 * MILLISECOND + rw_below(w, 900 * MILLISECOND);
    w->delay = chance_scale(&w->random, 20, MILLISECOND);
    w->learning = chance_scale(&w->random, 50, 4 * MILLISECOND);
    w->restoring = chance_scale(&w->random, 200, 20 * MILLISECOND);
    w->patience = chance_scale(&w->random, 10 * MILLISECOND, 60 * MILLISECOND);
    w->tick = 2 * MILLISECOND + rw_below(w, 10 * MILLISECOND);
    w->pace = chance_scale(&w->random, 2 * MILLISECOND, 20 * MILLISECOND);
    w->eager = rw_one_in(w, 3);
    w->all_look = rw_one_in(w, 3);
    w->levels = rw_one_in(w, 2);
    /* What was late before (proposals by 100 ms), and then for each of the carriers that may be dead a view of its own. */
    w->end = w->horizon + 200 * MILLISECOND + 3 * w->patience + 12 * (w->delay + w->learning + w->restoring) +
             (w->count + (w->levels ? 6 : 2)) * 2 * (4 * w->delay + 4 * w->learning + 2 * w->restoring + w->tick);
}

static void begin(world *w, uint64_t *memory)
{
    size_t words = (rc_bytes(PROCESSES_MAX, RANKS_MAX) + 15) / 16 * 2;
    uint64_t gap = 10 * MILLISECOND + rw_below(w, 200 * MILLISECOND);

    for (uint32_t i = 0; i < w->ranks; i++) {
        rank *r = &w->all[i];

        r->core = rc_init(memory + i * words, w->count, w->ranks, i);
        if (i < w->count) {
            rw_plan(w, rw_delay(w, w->learning), (happening){.kind = BEGIN, .to = i});
        }
        r->slow = !w->options->calm && rw_one_in(w, 6);
        r->ticking = w->all_look;
        if (w->all_look) {
            rw_plan(w, rw_below(w, w->tick), (happening){.kind = TICK, .to = i});
        }
    }
    w->views[0].view = (rc_view){.carrier = w->views[0].carrier, .out = w->views[0].out};
    for (uint32_t i = 0; i < w->count; i++) {
        w->views[0].carrier[i] = i;
    }
    w->base = rw_one_in(w, 4) ? UINT32_MAX - rw_below(w, 4) : 1 + rw_below(w, 1000);
    if (rw_one_in(w, 4)) { /* a launch that goes on from a snapshot */
        w->cuts[w->cut_count++].committed = true;
        for (uint32_t i = 0; i < w->ranks; i++) {
            w->all[i].knows = w->all[i].durable = w->base;
            w->all[i].told_committed = w->base;
            rw_act(w, &w->all[i], (rc_event){.kind = RC_COMMITTED, .number = w->base});
        }
    }
    for (uint64_t at = rw_below(w, gap); at < w->end - 30 * MILLISECOND; at += 1 + rw_below(w, 2 * gap)) {
        rw_plan(w, at, (happening){.kind = SNAP});
    }
    w->leader = NOBODY;
    elect(w);
    plan_faults(w);
    rw_plan(w, w->horizon, (happening){.kind = CALM});
}

void rw_run(uint64_t seed, const recovery_options *options, recovery_result *result)
{
    static world w;
    static uint64_t memory[RANKS_MAX * 256];
    happening what;
    uint64_t steps = 0;

    memset(&w, 0, sizeof w);
    memset(result, 0, sizeof *result);
    w.options = options;
    w.result = result;
    w.random = chance_begin(seed);
    w.agenda.item_bytes = sizeof what;
    draw(&w);
    result->count = w.count;
    result->ranks = w.ranks;
    rw_say(&w, NULL, "%u processes on %u ranks", w.count, w.ranks);
    begin(&w, memory);
    while (w.agenda.count > 0 && result->broken == HOLDS) {
        w.now = agenda_take(&w.agenda, &what);
        happen(&w, &what);
        if (++steps > EVENTS_MAX) {
            rw_fail(&w, STUCK, "it goes on for ever");
        }
        if (w.now > w.end + 400 * MILLISECOND) { /* nothing but what the last messages bring */
            break;
        }
    }
    if (result->broken == HOLDS) {
        rw_check_end(&w);
    }
    result->after = w.settled - result->after;
    agenda_free(&w.agenda);
    for (uint32_t i = 0; i < RANKS_MAX; i++) {
        for (uint32_t k = 0; k < RANKS_MAX; k++) {
            free(w.lanes[i][k].items);
        }
        for (uint32_t k = 0; k < PROCESSES_MAX; k++) {
            free(w.all[i].box[k].items);
        }
    }
}
