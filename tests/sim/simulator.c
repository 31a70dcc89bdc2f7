/* The simulator: what a seed draws, what happens, and what must be true at the end; see simulator.h. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

/* --- the world ---------------------------------------------------------------------------------------------------- */

static void connect(world *w, uint32_t from, uint32_t to)
{
    if (from != to) {
        w->channels[from][to].exists = true;
    }
}

static void draw_topology(world *w)
{
    uint64_t kind = sim_below(w, 4);
    uint64_t slowest = sim_one_in(w, 4) ? 20 * MILLISECOND : MILLISECOND;

    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            if (kind == 0 || (kind == 1 && sim_one_in(w, 3)) || (kind == 2 && (i == 0 || j == 0))) {
                connect(w, i, j);
            }
            w->channels[i][j].delay = sim_scale(w, 2 * MICROSECOND, slowest);
        }
        if (kind != 2) {
            connect(w, i, (i + 1) % w->count); /* 1: a ring and some; 3: a ring */
        }
    }
}

static void draw_job(world *w)
{
    bool fair, is_bank;

    w->job = w->options->job >= 0 ? (sim_job)w->options->job : (sim_job)sim_below(w, SIM_JOBS);
    w->count = w->options->count != 0 ? w->options->count : 1 + (uint32_t)sim_below(w, MAX);
    fair = sim_job_is_fair(w->job);
    is_bank = w->job == SIM_BANK || w->job == SIM_BANK_CALLS;
    w->coordinator = (uint32_t)sim_below(w, w->count);
    w->first_attempt = sim_below(w, 3);
    w->stride = sim_one_in(w, 3) ? 10 : 1;
    w->lingers = sim_one_in(w, 4);
    w->lag = sim_one_in(w, 2) ? 0 : sim_below(w, 4);
    w->fast = !sim_one_in(w, 3);
    w->eager = sim_one_in(w, 2);
    w->control_delay = sim_scale(w, 2 * MICROSECOND, 4 * MILLISECOND);
    w->disk = sim_scale(w, 10 * MICROSECOND, 10 * MILLISECOND);
    if (!w->options->calm) {
        w->part_failures = sim_one_in(w, 5) ? 1 + (uint32_t)sim_below(w, 8) : 0;
        w->commit_failures = sim_one_in(w, 6) ? 1 + (uint32_t)sim_below(w, 3) : 0;
        w->leaves_early = sim_one_in(w, 6) && w->job == SIM_BANK;
    }
    draw_topology(w);
    for (uint32_t i = 0; i < w->count; i++) {
        w->has_step[i] = !is_bank && w->job != SIM_NAIVE && (w->job != SIM_MIXED || sim_one_in(w, 2));
        w->offset[i] = w->job == SIM_SHIFTED ? sim_below(w, 4) : 0;
    }
    w->result->calm = fair && w->part_failures == 0 && w->commit_failures == 0 && !w->leaves_early;
}

static void draw_processes(world *w)
{
    bool is_bank = w->job == SIM_BANK || w->job == SIM_BANK_CALLS;
    uint64_t degree = 0;
    uint64_t pace = sim_scale(w, 2 * MICROSECOND, MILLISECOND);

    for (uint32_t i = 0; i < w->count; i++) {
        bool in[MAX];
        bool out[MAX];
        process *p = &w->processes[i];

        for (uint32_t j = 0; j < w->count; j++) {
            in[j] = w->channels[j][i].exists;
            out[j] = w->channels[i][j].exists;
            degree += out[j];
        }
        p->core = malloc(cl_bytes(w->count));
        if (p->core == NULL) {
            abort();
        }
        cl_init(p->core, w->count, i, w->coordinator, in, out, w->first_attempt);
        p->pace = pace / 2 + sim_scale(w, pace / 4 + 1, pace * 4);
        p->money = 1000;
        w->total += p->money;
        p->last_left = CL_NO_STEP;
        p->stop = UINT64_MAX;
        sim_plan(w, sim_one_in(w, 3) ? sim_below(w, p->pace * 20) : 0, (happening){.kind = WAKE, .to = i});
    }
    w->iterations = 8 + 3000 / (degree + 8);
    w->horizon = pace * 30;
    for (uint32_t i = 0; (is_bank || w->job == SIM_PHASES) && i < w->count; i++) {
        uint64_t transfers = 4 + sim_below(w, 800 / w->count);

        for (uint64_t k = 0; k < transfers; k++) {
            sim_plan(w, sim_below(w, w->horizon), (happening){.kind = TIMER, .to = i});
        }
        if (w->leaves_early && sim_one_in(w, 2)) {
            w->processes[i].stop = sim_below(w, w->horizon);
            sim_plan(w, w->processes[i].stop, (happening){.kind = TIMER, .to = i});
        }
    }
}

static void draw_wishes(world *w)
{
    uint64_t slowest = w->control_delay;
    uint64_t wishes = 1 + sim_below(w, sim_one_in(w, 3) ? 40 : 8);
    uint64_t span = w->horizon;
    uint64_t time = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            if (w->channels[i][j].exists && w->channels[i][j].delay > slowest) {
                slowest = w->channels[i][j].delay;
            }
        }
        if (w->processes[i].pace > slowest) {
            slowest = w->processes[i].pace;
        }
    }
    w->patience = 150 * slowest + 100 * w->disk;
    if (w->job != SIM_BANK && w->job != SIM_BANK_CALLS) {
        span = slowest * w->iterations;
    }
    if (sim_one_in(w, 4)) {
        span = slowest * 20; /* while some have not begun */
    }
    for (uint64_t k = 0; k < wishes; k++) {
        if (!sim_one_in(w, 3)) { /* otherwise at the same time as the one before */
            time = 1 + sim_below(w, span);
        }
        sim_plan(w, time + 1, (happening){.kind = WISH, .to = (uint32_t)sim_below(w, w->count)});
    }
}

/* Somebody dies; what it has sent still arrives. The others hear of it much later, or when it hardly is dead. */
static void draw_loss(world *w)
{
    uint32_t victim = (uint32_t)sim_below(w, w->count);
    uint64_t time = 1 + sim_below(w, w->horizon);
    uint64_t slowness = sim_scale(w, MICROSECOND, 10 * MILLISECOND);

    w->result->calm = false;
    if (w->count == 1) {
        return;
    }
    sim_plan(w, time, (happening){.kind = DEATH, .to = victim});
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != victim) {
            sim_plan(w, time + 1 + sim_delay(w, slowness), (happening){.kind = LOSS, .to = i});
        }
    }
}

static void arrive(world *w, process *p, const happening *what)
{
    cl_output out = {0};

    if (what->number == 0) {
        sim_say(w, p, "gets MARKER(%llu, step %lld) from %u", (unsigned long long)what->message.attempt,
                (long long)what->message.step, what->from);
        sim_feed(w, p, (cl_event){.kind = CL_MESSAGE, .peer = what->from, .message = what->message}, NULL);
        return;
    }
    if (!(w->fast && cl_idle(p->core))) {
        sim_feed(w, p, (cl_event){.kind = CL_DATA, .peer = what->from}, &out);
    }
    sim_say(w, p, "gets message %llu from %u%s%s", (unsigned long long)what->number, what->from,
            out.hold ? ", held" : "", out.in_cut ? ", in the cut" : "");
    if (out.in_cut) {
        sim_append(w, p, cl_attempt(p->core), what->from, what->number);
    }
    w->result->held += out.hold;
    sim_push(out.hold ? &p->held[what->from] : &p->mailbox[what->from], what->number);
}

static void wish(world *w, process *p)
{
    sim_say(w, p, "wishes a snapshot");
    if (!p->finished) {
        p->wish_time = w->now;
    }
    sim_feed(w, p, (cl_event){.kind = CL_INITIATE}, NULL);
}

static void disk_done(world *w, process *p, const happening *what)
{
    attempt *a = sim_attempt_of(w, what->number);
    cl_event_kind kind = what->kind == PART_WRITTEN ? CL_PART_DURABLE : CL_COMMIT_DURABLE;

    sim_say(w, p, "%s of attempt %llu %s", what->kind == PART_WRITTEN ? "part" : "commit record",
            (unsigned long long)what->number, what->failed ? "cannot be written" : "is durable");
    if (what->failed) {
        kind = CL_FAILED;
    } else if (what->kind == PART_WRITTEN) {
        a->parts[sim_id_of(w, p)].durable = true;
    } else {
        a->commit_durable = true;
        sim_check_cut(w, what->number, a);
    }
    sim_feed(w, p, (cl_event){.kind = kind, .attempt = what->number}, NULL);
}

static void happen(world *w, const happening *what)
{
    process *p = &w->processes[what->to];

    w->now = what->time;
    if (w->dead[what->to]) {
        return;
    }
    sim_digest(w, what->time ^ (uint64_t)what->kind << 56 ^ what->number << 8 ^ what->to);
    switch (what->kind) {
    case WAKE:
        sim_wake(w, p);
        break;
    case TIMER:
        p->due += p->state != DONE && w->now < p->stop;
        if (w->now >= p->stop && p->state == AT_POINT && !cl_must_stay(p->core)) {
            sim_finish_job(w, p);
        }
        break;
    case GRACE:
        p->grace_running = false;
        if (p->state == RECEIVING && p->progress == what->number) {
            sim_check_held_wait(w, p, true);
        }
        break;
    case ARRIVE:
        arrive(w, p, what);
        break;
    case CONTROL:
        sim_say(w, p, "gets %s(%llu, step %lld) from %u", sim_message_text(what->message.kind),
                (unsigned long long)what->message.attempt, (long long)what->message.step, what->from);
        sim_feed(w, p, (cl_event){.kind = CL_MESSAGE, .peer = what->from, .message = what->message}, NULL);
        break;
    case PART_WRITTEN:
    case RECORD_WRITTEN:
        disk_done(w, p, what);
        break;
    case WISH:
        wish(w, p);
        break;
    case DEATH:
        sim_say(w, p, "dies");
        w->dead[what->to] = true;
        return;
    case LOSS:
        sim_say(w, p, "hears of a death");
        w->heard[what->to] = true;
        sim_feed(w, p, (cl_event){.kind = CL_LOST}, NULL);
        break;
    }
    sim_advance(w, p);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void check_process_end(world *w, process *p)
{
    uint32_t self = sim_id_of(w, p);

    if (cl_attempt(p->core) != 0 || !cl_idle(p->core)) {
        sim_fail(w, SIM_STUCK, "%u is still at attempt %llu, or wishes one", self,
                 (unsigned long long)cl_attempt(p->core));
    }
    if (w->options->lose) { /* the job may wait for the dead one, and not read what came */
        for (uint32_t i = 0; i < w->count; i++) {
            if (p->held[i].count > 0) {
                sim_fail(w, SIM_STUCK, "%u still holds messages of %u", self, i);
            }
        }
        return;
    }
    if (p->state != DONE && !(sim_serves(w, p) && p->state == AT_POINT)) {
        sim_fail(w, SIM_STUCK, "the job of %u never ends (iteration %llu)", self, (unsigned long long)p->iteration);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (p->held[i].count > 0) {
            sim_fail(w, SIM_STUCK, "%u still holds messages of %u", self, i);
        }
        if (p->mailbox[i].count + p->consumed[i] != w->channels[i][self].sent) {
            sim_fail(w, SIM_FIFO, "%u has not got all messages of %u", self, i);
        }
        if (p->mailbox[i].count > 0 && p->state != DONE) {
            sim_fail(w, SIM_STUCK, "%u does not read the messages of %u", self, i);
        }
    }
}

/* A wish is fulfilled by a committed attempt that its process recorded afterwards; only the end of a job may come
 * before. */
static void check_wish(world *w, const process *p)
{
    bool fulfilled = w->first_finish != 0 && w->first_finish < p->wish_time + w->patience;

    for (size_t i = 1; i < w->attempt_count; i++) {
        const attempt *a = &w->attempts[i];

        fulfilled = fulfilled || (a->commit_durable && a->parts[sim_id_of(w, p)].time >= p->wish_time);
    }
    if (!fulfilled) {
        sim_fail(w, SIM_WISH, "%u wished a snapshot at %.3f us and has none", sim_id_of(w, p),
                 (double)p->wish_time / 1000);
    }
}

static void check_attempts(world *w)
{
    for (size_t i = 1; i < w->attempt_count; i++) {
        const attempt *a = &w->attempts[i];
        unsigned long long number = w->first_attempt + i;
        bool begun = a->reason != 0 || a->commit_durable;

        for (uint32_t j = 0; j < w->count; j++) {
            const part *one = &a->parts[j];

            begun = begun || one->recorded;
            if (one->recorded && one->end == 0 && !w->dead[j]) {
                sim_fail(w, SIM_AGREEMENT, "attempt %llu never ended at %u", number, j);
            }
            if (a->commit_durable && one->end != ENDED_COMMIT && one->end != CL_REASON_SUPERSEDED &&
                one->end != CL_REASON_LOST && !w->dead[j]) {
                sim_fail(w, SIM_AGREEMENT, "attempt %llu is committed, and %u does not know", number, j);
            }
        }
        w->result->attempts += begun;
        w->result->committed += a->commit_durable;
        if (!a->commit_durable && begun) {
            w->result->abandoned[a->reason < REASONS ? a->reason : 0]++;
        }
        if (a->commit_durable && a->reason != 0) {
            sim_fail(w, SIM_AGREEMENT, "attempt %llu is both committed and abandoned", number);
        }
        if (sim_job_is_fair(w->job) && a->reason == CL_REASON_HELD) {
            sim_fail(w, SIM_FAIR, "attempt %llu was abandoned for a held message", number);
        }
    }
}

static void free_world(world *w)
{
    for (uint32_t i = 0; i < MAX; i++) {
        free(w->processes[i].core);
        for (uint32_t j = 0; j < MAX; j++) {
            free(w->processes[i].mailbox[j].items);
            free(w->processes[i].held[j].items);
            free(w->channels[i][j].log);
        }
    }
    free(w->attempts);
    agenda_free(&w->agenda);
    free(w);
}

/* A bank alone in the world hears of nobody; like a shell that looks after its timers it passes a safe point now and
 * then, which is when a wish that waited behind an attempt begins. */
static bool nudge(world *w)
{
    process *p = &w->processes[0];

    if (w->count == 1 && p->state == AT_POINT && !cl_idle(p->core)) {
        sim_leave_point(w, p);
        sim_come_to_point(w, p, false);
    }
    return w->agenda.count > 0;
}

void sim_run(uint64_t seed, const sim_options *options, sim_result *result)
{
    world *w = calloc(1, sizeof *w);

    if (w == NULL) {
        abort();
    }
    memset(result, 0, sizeof *result);
    w->options = options;
    w->result = result;
    w->random = chance_begin(seed);
    result->digest = 0xcbf29ce484222325U;
    draw_job(w);
    draw_processes(w);
    draw_wishes(w);
    if (options->lose) {
        draw_loss(w);
    }
    result->count = w->count;
    result->job = w->job;
    while (result->broken == SIM_OK && (w->agenda.count > 0 || nudge(w))) {
        happening next = sim_take_next(w);

        happen(w, &next);
        if (++result->events > EVENTS_MAX) {
            sim_fail(w, SIM_ENDLESS, "after %d events there is still no end", EVENTS_MAX);
        }
    }
    for (uint32_t i = 0; i < w->count && result->broken == SIM_OK; i++) {
        if (!w->dead[i]) {
            check_process_end(w, &w->processes[i]);
        }
        if (result->calm && w->processes[i].wish_time != 0) {
            check_wish(w, &w->processes[i]);
        }
    }
    if (result->broken == SIM_OK) {
        check_attempts(w);
    }
    free_world(w);
}

const char *sim_property_text(sim_property property)
{
    static const char *const texts[] = {"ok",        "invariant", "fifo",    "shell", "cut",
                                        "channel",   "clock",     "money",   "step",  "durable",
                                        "agreement", "stuck",     "endless", "wish",  "fair"};

    return texts[property];
}

const char *sim_job_text(sim_job job)
{
    static const char *const texts[] = {"loop",    "loop-any", "bank",       "naive",
                                        "shifted", "mixed",    "bank-calls", "phases"};

    return texts[job];
}

bool sim_job_is_fair(sim_job job)
{
    return job == SIM_LOOP || job == SIM_LOOP_ANY || job == SIM_BANK;
}
