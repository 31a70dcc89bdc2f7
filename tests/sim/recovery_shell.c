/* One rank around the production core: what src/process/recover.c, timers.c and runtime.c do, as far as the core can tell. */
#include "recovery_world.h"

#include <string.h>

static const rc_view *current(const rank *r)
{
    return rc_current(r->core);
}

/* ---------------------------------------------------------------- messages */

void rw_push(letters *lane, letter one)
{
    if (lane->count == 0) {
        lane->first = 0;
    }
    lane->items = sim_grow(lane->items, &lane->room, lane->first + lane->count + 1, sizeof *lane->items);
    lane->items[lane->first + lane->count++] = one;
}

static letter pop(letters *lane)
{
    lane->count--;
    return lane->items[lane->first++];
}

void rw_send(world *w, uint32_t from, uint32_t to, letter what)
{
    if (w->all[from].dead || w->all[to].dead) {
        return; /* sends to the dead succeed, and nothing comes of them */
    }
    rw_push(&w->lanes[from][to], what);
    rw_plan(w, rw_delay(w, w->delay), (happening){.kind = ARRIVE, .to = to, .from = from});
}

/* A rank may die between any two of them. */
static void send_all(world *w, rank *r, letter what)
{
    uint32_t self = rw_id(w, r);
    uint32_t first = (uint32_t)rw_below(w, w->ranks);

    for (uint32_t i = 0; i < w->ranks && !r->dead; i++) {
        uint32_t to = (first + i) % w->ranks;

        if (to != self && !current(r)->out[to]) {
            rw_send(w, self, to, what);
            if (rw_one_in(w, w->abrupt * 4)) {
                rw_kill(w, self, "dies while it tells the others");
            }
        }
    }
}

static void take_all_begun(world *w, rank *r)
{
    r->started = true;
    rw_act(w, r, (rc_event){.kind = RC_STARTED});
}

static void take_begun(world *w, rank *r, uint32_t process)
{
    bool all = true;

    r->begun[process] = true;
    for (uint32_t i = 0; i < w->count; i++) {
        all = all && r->begun[i];
    }
    if (all) {
        take_all_begun(w, r);
    }
}

void rw_begin(world *w, rank *r)
{
    uint32_t self = rw_id(w, r);

    rw_say(w, r, "has begun");
    send_all(w, r, (letter){.kind = BEGUN, .from = self});
    if (!r->dead) {
        take_begun(w, r, self);
        rw_plan(w, 1 + rw_below(w, w->pace), (happening){.kind = JOB_STEP, .to = self});
    }
}

/* runtime.c: of another incarnation: dropped. */
static void take_job(world *w, rank *r, const letter *what)
{
    if (what->view != current(r)->number) {
        w->result->dropped++;
        if (what->view > current(r)->number) {
            rw_fail(w, LOST, "rank %u is in view %u and gets, and drops, a message of view %u", rw_id(w, r),
                    current(r)->number, what->view);
        }
        return;
    }
    rw_push(&r->box[what->from], *what);
}

static void note_voided(rank *r, uint32_t view, uint64_t snapshot)
{
    if (view >= r->void_view) {
        r->void_view = view;
        r->void_snapshot = snapshot;
    }
}

bool rw_is_voided(const rank *r)
{
    return current(r)->number > 0 && r->void_view == current(r)->number && r->void_snapshot == current(r)->snapshot;
}

void rw_arrive(world *w, rank *r, uint32_t from)
{
    letter what;

    if (w->lanes[from][rw_id(w, r)].count == 0) {
        return; /* its sender died, and this was lost */
    }
    what = pop(&w->lanes[from][rw_id(w, r)]);
    switch (what.kind) {
    case BEGUN:
        take_begun(w, r, what.from);
        break;
    case ALL_BEGUN:
        w->result->passed_on += !r->started;
        take_all_begun(w, r);
        break;
    case READY_FOR:
        rw_say(w, r, "hears that rank %u is ready for view %u", from, what.view);
        rw_act(w, r, (rc_event){.kind = RC_READY, .rank = from, .number = what.view});
        break;
    case JOB:
        take_job(w, r, &what);
        break;
    case VOIDED:
        note_voided(r, what.view, what.sequence);
        break;
    case DISMISS:
        if (!w->views[w->newest].out[rw_id(w, r)]) {
            rw_fail(w, OUTCAST, "rank %u is dismissed by %u and is out of no view", rw_id(w, r), from);
        }
        w->result->woken_out++;
        rw_kill(w, rw_id(w, r), "is told that it is out, and ends");
        break;
    }
}

/* ---------------------------------------------------------------- the job */

static void consume(world *w, rank *r, uint32_t from)
{
    letter what = pop(&r->box[from]);

    if (what.view != current(r)->number) {
        rw_fail(w, STALE, "rank %u in view %u consumes a message of incarnation %u", rw_id(w, r), current(r)->number,
                what.view);
    } else if (what.sequence != r->consumed[from] + 1) {
        rw_fail(w, STALE, "rank %u in view %u gets message %llu of process %u after %llu", rw_id(w, r),
                current(r)->number, (unsigned long long)what.sequence, from, (unsigned long long)r->consumed[from]);
    }
    r->consumed[from]++;
    w->result->consumed++;
}

/* The job's thread, if its process is running: takes what is there, sends to some. */
void rw_job(world *w, rank *r)
{
    uint32_t self = rw_id(w, r);
    uint32_t process = rc_process(r->core);

    if (!rc_running(r->core) || process == RC_NONE) {
        return; /* resume() begins it again */
    }
    for (uint32_t i = 0; i < w->count; i++) {
        while (r->box[i].count > 0 && w->result->broken == HOLDS) {
            consume(w, r, i);
        }
    }
    for (uint64_t n = rw_below(w, 3); n > 0 && w->now < w->end; n--) {
        uint32_t to = (uint32_t)rw_below(w, w->count);

        if (to != process) {
            w->result->sent++;
            rw_send(w, self, current(r)->carrier[to],
                    (letter){
                        .kind = JOB, .view = current(r)->number, .from = process, .to = to, .sequence = ++r->sent[to]});
        }
    }
    rw_plan(w, 1 + rw_below(w, w->pace), (happening){.kind = JOB_STEP, .to = self, .number = current(r)->number});
}

/* A snapshot that is recorded in one instant, of all carriers of a view that all of them run in. */
void rw_take_cut(world *w)
{
    const rank *any = &w->all[rw_below(w, w->ranks)];
    const rc_view *view = rc_current(any->core);
    cut *c = &w->cuts[w->cut_count];

    if (w->cut_count + 1 >= CUTS_MAX || any->dead) {
        return;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        const rank *r = &w->all[view->carrier[i]];

        if (r->dead || r->paused > w->now || !r->started || !rc_running(r->core) ||
            current(r)->number != view->number) {
            return;
        }
        memcpy(c->sent[i], r->sent, sizeof r->sent);
        memcpy(c->consumed[i], r->consumed, sizeof r->consumed);
        c->owner[i] = view->carrier[i];
    }
    c->committed = false;
    c->in_memory = w->levels && !rw_one_in(w, 3);
    c->view = view->number;
    w->result->cuts_taken++;
    rw_say(w, NULL, "snapshot %llu is recorded in view %u", (unsigned long long)(w->base + w->cut_count), view->number);
    if (!rw_one_in(w, 4)) {
        rw_plan(w, rw_delay(w, w->restoring), (happening){.kind = COMMIT, .number = w->base + w->cut_count});
    }
    w->cut_count++;
}

/* ---------------------------------------------------------------- going back */

static void begin_to_go_back(world *w, rank *r)
{
    if (!r->goes_back) {
        r->goes_back = true;
        rw_plan(w, rw_delay(w, w->delay), (happening){.kind = GO_BACK, .to = rw_id(w, r)});
    }
}

/* clear_channels and the beginning of load. */
void rw_go_back(world *w, rank *r)
{
    r->back_to = current(r)->number;
    for (uint32_t i = 0; i < w->count; i++) {
        while (r->box[i].count > 0) {
            if (pop(&r->box[i]).view == r->back_to) {
                rw_fail(w, LOST, "rank %u goes back for view %u and throws away a message of it", rw_id(w, r),
                        r->back_to);
            }
        }
    }
    rw_plan(w, rw_delay(w, w->restoring), (happening){.kind = RESTORED, .to = rw_id(w, r)});
}

static void once_more(world *w, rank *r)
{
    if (!r->dead && current(r)->number != r->back_to && rc_process(r->core) != RC_NONE) {
        begin_to_go_back(w, r); /* a death in the middle */
    }
}

/* The part of a snapshot in memory is with who carried the process then, or with who carried the next one. */
static bool has_part(world *w, const rank *r, const cut *c, uint32_t process)
{
    uint32_t holder = c->owner[(process + 1) % w->count];

    if (!c->in_memory || c->owner[process] == rw_id(w, r)) {
        return true;
    }
    return w->count > 1 && !w->all[holder].dead && !rw_one_in(w, 10); /* or it is damaged */
}

/* levels.c: all are told; who leads, now or later, will see that they go back further. */
static void cannot(world *w, rank *r, uint64_t snapshot)
{
    rw_say(w, r, "cannot have its part of snapshot %llu, for view %u", (unsigned long long)snapshot, r->back_to);
    w->result->voided++;
    w->views[r->back_to].voided = true;
    note_voided(r, r->back_to, snapshot);
    send_all(w, r, (letter){.kind = VOIDED, .view = r->back_to, .sequence = snapshot});
    once_more(w, r);
}

/* The end of load: the state that it began to read, even when there is another view by now. */
void rw_restored(world *w, rank *r)
{
    chosen *view = &w->views[r->back_to];
    uint32_t process = RC_NONE;
    const cut *c;

    r->goes_back = false;
    for (uint32_t i = 0; i < w->count; i++) {
        process = view->carrier[i] == rw_id(w, r) ? i : process;
    }
    if (process == RC_NONE || view->view.snapshot < w->base || view->view.snapshot >= w->base + w->cut_count ||
        !w->cuts[view->view.snapshot - w->base].committed ||
        (w->cuts[view->view.snapshot - w->base].gone && r->back_to == w->newest)) {
        rw_fail(w, SNAPSHOT, "rank %u cannot restore snapshot %llu of view %u", rw_id(w, r),
                (unsigned long long)view->view.snapshot, r->back_to);
        return;
    }
    c = &w->cuts[view->view.snapshot - w->base];
    if (!has_part(w, r, c, process)) {
        cannot(w, r, view->view.snapshot);
        return;
    }
    memcpy(r->sent, c->sent[process], sizeof r->sent);
    memcpy(r->consumed, c->consumed[process], sizeof r->consumed);
    for (uint32_t i = 0; i < w->count; i++) {
        r->box[i].count = 0;
        for (uint64_t n = c->consumed[process][i] + 1; n <= c->sent[i][process]; n++) {
            rw_push(&r->box[i], (letter){.kind = JOB, .view = r->back_to, .from = i, .to = process, .sequence = n});
        }
    }
    view->restored[rw_id(w, r)] = true;
    rw_say(w, r, "has the state of process %u of snapshot %llu, for view %u", process,
           (unsigned long long)view->view.snapshot, r->back_to);
    rw_act(w, r, (rc_event){.kind = RC_RESTORED, .number = r->back_to});
    once_more(w, r);
}

/* ---------------------------------------------------------------- the log, and who is silent */

/* The log's view as it reads it. The core may keep nothing of it. */
static void read_view(world *w, rank *r, uint32_t number)
{
    uint32_t carrier[PROCESSES_MAX];
    uint8_t out[RANKS_MAX];
    rc_view view = {.carrier = carrier, .out = out};

    if (!rc_view_get(w->views[number].bytes, rc_view_bytes(w->count, w->ranks), w->count, w->ranks, &view)) {
        rw_fail(w, AGREED, "the log's view %u cannot be read", number);
        return;
    }
    rw_act(w, r, (rc_event){.kind = RC_CHOSEN, .view = &view});
    memset(carrier, 0xff, sizeof carrier);
    memset(out, 0xff, sizeof out);
}

void rw_tell_committed(world *w, rank *r)
{
    if (r->knows > 0) { /* also what it was told before */
        r->told_committed = r->knows;
        rw_act(w, r, (rc_event){.kind = RC_COMMITTED, .number = r->knows});
    }
}

/* Apply one or several entries; only the newest view of them is looked at. */
void rw_learn(world *w, rank *r)
{
    size_t upto = r->applied + 1;
    uint32_t newest = 0;

    r->learning = false;
    if (r->applied == w->log_count) {
        return;
    }
    if (rw_one_in(w, 2)) {
        upto += rw_below(w, w->log_count - r->applied);
    }
    for (; r->applied < upto; r->applied++) {
        const entry *e = &w->log[r->applied];

        newest = e->view > newest ? e->view : newest;
        r->key = e->gone != 0 && e->gone == r->key ? 0 : e->in_memory ? e->snapshot : r->key;
        r->durable = !e->in_memory && e->snapshot > r->durable ? e->snapshot : r->durable;
    }
    r->knows = r->durable > r->key ? r->durable : r->key;
    if (r->applied < w->log_count) {
        r->learning = true;
        rw_plan(w, rw_learning(w, r), (happening){.kind = LEARN, .to = rw_id(w, r)});
    }
    if (w->eager) {
        rw_tell_committed(w, r);
    }
    if (newest > 0) {
        rw_say(w, r, "learns of view %u", newest);
        read_view(w, r, newest);
        r->read = newest;
    }
    if (r->read > 0 && rw_one_in(w, 8)) { /* what it has read before, once more */
        read_view(w, r, 1 + (uint32_t)rw_below(w, r->read));
    }
}

static bool seems_silent(world *w, const rank *r, uint32_t other)
{
    uint64_t since = w->all[other].silent;

    if (r->cut > w->now && (since == 0 || r->silent < since)) {
        since = r->silent; /* it hears nobody */
    }
    return r->deluded[other] > w->now || (since > 0 && w->now + 1 - since > w->patience);
}

/* To the newest older one, on whatever level. Without one the launch ends. */
static void go_further_back(world *w, rank *r)
{
    uint64_t number = r->void_snapshot;
    uint64_t older = r->durable < number ? r->durable : 0;

    older = r->key < number && r->key > older ? r->key : older;
    if (older > 0) {
        r->void_told = r->void_view;
        rw_act(w, r, (rc_event){.kind = RC_VOID, .number = number, .older = older});
        return;
    }
    rw_say(w, r, "says: snapshot %llu is lost, and there is no older one", (unsigned long long)number);
    w->result->ended++;
    for (uint32_t i = 0; i < w->ranks; i++) {
        rw_kill(w, i, "ends");
    }
}

void rw_look(world *w, rank *r)
{
    uint32_t self = rw_id(w, r);

    if (!r->leads && !w->all_look) {
        return;
    }
    for (uint32_t i = 0; i < w->ranks && !r->dead; i++) {
        bool yes;

        if (i == self || current(r)->out[i]) {
            if (rw_one_in(w, 64)) { /* changes nothing */
                rw_act(w, r, (rc_event){.kind = RC_SUSPECT, .rank = i, .yes = true});
            }
            continue;
        }
        yes = seems_silent(w, r, i);
        if (yes) {
            rw_tell_committed(w, r);
        }
        if (!r->dead && (yes != r->told[i] || rw_one_in(w, 16))) {
            if (yes != r->told[i]) {
                rw_say(w, r, yes ? "suspects rank %u" : "trusts rank %u again", i);
            }
            r->told[i] = yes;
            rw_act(w, r, (rc_event){.kind = RC_SUSPECT, .rank = i, .yes = yes});
        }
    }
    rw_act(w, r, (rc_event){.kind = RC_LOOKED});
    if (r->leads && !r->dead && rw_is_voided(r)) {
        go_further_back(w, r);
    } else if (r->void_snapshot > 0 && r->void_snapshot != current(r)->snapshot &&
               rw_one_in(w, 4)) { /* changes nothing */
        rw_act(w, r, (rc_event){.kind = RC_VOID, .number = r->void_snapshot, .older = 1});
    }
}

void rw_lead(world *w, rank *r, bool yes)
{
    if (yes != r->leads) {
        rw_say(w, r, yes ? "believes to lead" : "does not lead any more");
    }
    r->leads = yes;
    r->outstanding = r->outstanding && yes;
    if (!yes) { /* who does not lead need not look: what it was told is nothing to act on when it leads again */
        memset(r->told, 0, sizeof r->told);
    }
    rw_act(w, r, (rc_event){.kind = RC_LEADS, .yes = yes});
    if (!r->ticking && !r->dead) {
        r->ticking = true;
        rw_plan(w, w->tick, (happening){.kind = TICK, .to = rw_id(w, r)});
    }
}

/* ---------------------------------------------------------------- what the core says */

static void propose(world *w, rank *r)
{
    happening what = {.kind = PROPOSE, .from = rw_id(w, r)};
    happening answer = {.kind = ANSWER, .to = rw_id(w, r)};
    uint64_t delay = rw_delay(w, w->learning);
    char text[200];

    bool further = rw_is_voided(r) && rc_proposal(r->core)->snapshot < r->void_snapshot;

    r->outstanding = true;
    if (w->levels && r->knows > rc_proposal(r->core)->snapshot && !further) {
        rw_plan(w, w->tick, answer); /* it has learned of that one meanwhile: once more */
        return;
    }
    rw_say(w, r, "proposes view %s", rw_view_text(w, rc_proposal(r->core), text, sizeof text));
    what.key = r->key;
    what.voids = further && r->key == r->void_snapshot ? r->key : 0;
    w->result->proposed++;
    rc_view_put(what.bytes, rc_proposal(r->core), w->count, w->ranks);
    if (!w->calm && rw_one_in(w, w->lost)) {
        w->result->unknown++;
        rw_plan(w, delay, answer); /* nobody knows what became of it */
        if (rw_one_in(w, 2)) {
            rw_plan(w, delay + rw_below(w, 100 * MILLISECOND), what);
        }
        return;
    }
    rw_plan(w, delay, what);
    rw_plan(w, delay + rw_delay(w, w->learning), answer);
}

static void install(world *w, rank *r, const uint8_t *out_before)
{
    uint32_t self = rw_id(w, r);

    r->outstanding = false;
    w->result->installed++;
    for (uint32_t i = 0; i < w->ranks; i++) {
        if (i != self && current(r)->out[i] && !out_before[i]) {
            rw_send(w, self, i, (letter){.kind = DISMISS});
        }
    }
    if (rc_process(r->core) != RC_NONE) {
        begin_to_go_back(w, r);
    }
}

static void carry_out(world *w, rank *r, const rc_output *out, const uint8_t *out_before)
{
    uint32_t self = rw_id(w, r);

    if (out->fenced) {
        w->result->woken_out++;
        rw_kill(w, self, "has learned that it is out, and ends");
        return;
    }
    if (out->begun) {
        send_all(w, r, (letter){.kind = ALL_BEGUN});
    }
    if (out->install && !r->dead) {
        install(w, r, out_before);
    }
    if (out->ready && !r->dead) {
        rw_say(w, r, "is ready for view %u", current(r)->number);
        send_all(w, r, (letter){.kind = READY_FOR, .view = current(r)->number});
    }
    if (out->resume && !r->dead) {
        rw_say(w, r, "goes on in view %u", current(r)->number);
        w->result->resumed++;
        w->settled = w->calm ? w->result->events : 0;
        rw_plan(w, 1 + rw_below(w, w->pace), (happening){.kind = JOB_STEP, .to = self, .number = current(r)->number});
    }
    if (out->propose && !r->dead) {
        propose(w, r);
    }
    if (out->hopeless != RC_HOPE && !r->dead) {
        rw_say(w, r, "says: process %u is lost, and there is no %s", rc_lost(r->core),
               out->hopeless == RC_NO_SPARE ? "spare" : "snapshot");
        r->hopeless = current(r)->number + 1;
        w->result->hopeless++;
        w->settled = w->calm ? w->result->events : 0;
    }
}

void rw_act(world *w, rank *r, rc_event event)
{
    uint32_t before = current(r)->number;
    uint8_t out_before[RANKS_MAX];
    rc_output out;
    bool spoke;

    if (r->dead || w->result->broken != HOLDS) {
        return;
    }
    memcpy(out_before, current(r)->out, w->ranks);
    w->result->events++;
    rc_step(r->core, &event, &out);
    spoke = out.install || out.propose || out.ready || out.resume || out.begun;
    w->result->digest = (w->result->digest ^ (w->now << 8 ^ (uint64_t)event.kind << 4 ^ rw_id(w, r))) * 0x100000001b3U;
    w->result->digest ^= w->result->digest >> 29 ^ (uint64_t)spoke;
    rw_check_step(w, r, &event, &out, before);
    if (spoke && rw_one_in(w, w->abrupt)) {
        rw_kill(w, rw_id(w, r), "dies before it can do what comes next");
        return;
    }
    carry_out(w, r, &out, out_before);
}
