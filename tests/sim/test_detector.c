/* Runs the failure detector's core in every process of a small world, through many seeds.
 *
 * `test_detector --seed SEED --trace` shows what happens in one; seeds.c says what options there are.
 *
 * The world: up to 8 processes on up to 3 hosts. Each has a service thread that wakes every few milliseconds, whether
 * the job computes for seconds or calls all the time: it takes in what came, looks, judges, and sends a heartbeat to
 * all when one is due. Calm worlds wake and deliver in time; in jittery ones the thread waits for others that share
 * its core, now and then for long, and messages have heavy tails. Processes start late, chatter, copy state for a
 * while after saying so, are stopped and continued, cut off from each other (what is sent then is lost), die and are
 * replaced. Who shares a host with a dead process learns of its end from the kernel, a little later. In some worlds the
 * kernels of other hosts answer: whoever is silent for two heartbeats is asked, and of a process that lives, even one
 * that is stopped, it is known that it exists; of one that is cut off, after a while, that it is out of reach.
 *
 * Properties, checked after every look of every process at every other one; silence is counted here once more, by the
 * observer's own looks (a pause between two of them counts as `look_us`):
 *   complete  silent for the ceiling and what was forgiven: suspected; known to be dead: suspected, until replaced
 *   floor     silent for less than the floor (never heard: the ceiling), or just heard: not suspected; nor when it is
 *             known to exist, for less than is given to such a one
 *   gone      silent for as long as is given to who is out of reach: suspected
 *   phi       never falls while nothing comes; suspected below the ceiling only at the threshold
 *   deadline  suspected exactly from the deadline on, which is put off by the observer's pauses only
 *   accurate  calm worlds: no process that runs and can be heard is suspected, whatever pauses the observer makes
 *   quick     calm worlds: who died is suspected within 0.3 s by all that were awake and always looked in time
 *   rate      jittery worlds, over all seeds: at most RATE_SHARE of the wrong suspicions that the floor alone would
 *             make */
#include "agenda.h"
#include "chance.h"
#include "detector/accrual.h"
#include "seeds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES   8
#define MS          UINT64_C(1000)
#define HEARTBEAT   (66 * MS)
#define QUICK       (300 * MS)
#define WARM        25   /* heartbeats heard before "quick" is asked for */
#define RATE_SHARE  0.13 /* measured: 0.05 to 0.11 */
#define INBOX       512
#define NOTICE_MOST (3 * MS)   /* from a death until the kernel has said so */
#define IN_VAIN     (270 * MS) /* questions without an answer for so long: out of reach */

typedef enum kind { WAKE, ARRIVE, START, STOP, CONTINUE, CUT, HEAL, DIE, REPLACE, COPY, CHATTER, COMPUTE, NOTICE } kind;

typedef struct event {
    kind kind;
    uint32_t who, from, life;
    uint64_t value;
} event;

typedef struct message {
    uint32_t from, life;
    uint64_t silent; /* the sender says that it will be silent for so long; 0: a heartbeat */
} message;

/* What this world knows of one process looking at another. */
typedef struct pair {
    uint64_t silence, extra, floor_phi, deadline;
    uint32_t heard, samples;
    bool noticed, known, suspected, looked;
    uint64_t asked_at; /* 0: not asked in this silence */
    cairn_accrual_word word;
    bool fixed;     /* the floor alone would have had it suspected */
    bool cut;       /* nothing gets through now                                          */
    bool disturbed; /* the other one was stopped or cut off since it was first waited for */
} pair;

typedef struct process {
    cairn_accrual *detector;
    void *memory;
    uint32_t host, life;
    bool started, dead, stopped, computes;
    bool late; /* more than look_us passed between two looks */
    uint64_t looked, beat_at, busy_until, chatter_until, died_at, awake_since;
    message inbox[INBOX];
    uint32_t inbox_count;
    uint64_t sent_until[PROCESSES]; /* channels are FIFO: when the last message arrives */
} process;

typedef struct world {
    chance c;
    agenda agenda;
    cairn_accrual_options options;
    uint64_t now, end, digest;
    uint32_t count;
    bool jittery, answering;
    uint32_t load; /* others that may be before the thread on its core */
    process p[PROCESSES];
    pair pairs[PROCESSES][PROCESSES];
    const char *broken;
    char detail[256];
    FILE *trace;
} world;

typedef struct totals {
    uint64_t looks, deaths, detected, detect_sum, detect_most, jittery_detected, jittery_sum, jittery_most;
    uint64_t wrong, wrong_fixed, watched, calm_watched, paused_suspected,
        trusted_again; /* watched: attended microseconds */
} totals;

static totals sum; /* of the seed that runs, or of all when they are printed */

static void say(const world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const world *w, const char *format, ...)
{
    va_list arguments;

    if (w->trace != NULL) {
        fprintf(w->trace, "%10.3f ms  ", (double)w->now / 1000.0);
        va_start(arguments, format);
        vfprintf(w->trace, format, arguments);
        va_end(arguments);
        fputc('\n', w->trace);
    }
}

static void broke(world *w, const char *property, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void broke(world *w, const char *property, const char *format, ...)
{
    va_list arguments;

    if (w->broken == NULL) {
        w->broken = property;
        va_start(arguments, format);
        (void)vsnprintf(w->detail, sizeof w->detail, format, arguments);
        va_end(arguments);
        say(w, "BROKEN %s: %s", property, w->detail);
    }
}

static void plan(world *w, uint64_t after, event e)
{
    agenda_plan(&w->agenda, w->now + after, &e);
}

/* ---------------------------------------------------------------- time that things take */

/* From when the service thread should wake until it does. */
static uint64_t wake_delay(world *w)
{
    uint64_t delay = chance_below(&w->c, MS);

    if (!w->jittery) {
        return delay;
    }
    for (uint32_t i = chance_one_in(&w->c, 3) ? w->load : 0; i > 0; i--) {
        delay += chance_below(&w->c, 8 * MS);
    }
    return chance_one_in(&w->c, 2000) ? delay + chance_scale(&w->c, 10 * MS, 160 * MS) : delay;
}

static uint64_t message_delay(world *w)
{
    uint64_t delay = chance_between(&w->c, 20, 2 * MS);

    if (!w->jittery) {
        return delay;
    }
    delay += chance_scale(&w->c, 100, 16 * MS);
    return chance_one_in(&w->c, 2000) ? delay + chance_scale(&w->c, 20 * MS, 240 * MS) : delay;
}

static void plan_wake(world *w, uint32_t who)
{
    uint64_t period = w->p[who].computes ? 5 * MS : chance_between(&w->c, 1 * MS, 5 * MS);

    plan(w, period + wake_delay(w), (event){.kind = WAKE, .who = who, .life = w->p[who].life});
}

/* ---------------------------------------------------------------- a process */

static void post(world *w, uint32_t from, uint32_t to, uint64_t silent)
{
    process *p = &w->p[from];
    uint64_t at = w->now + message_delay(w);

    if (w->pairs[to][from].cut) {
        return;
    }
    at = at > p->sent_until[to] ? at : p->sent_until[to];
    p->sent_until[to] = at;
    plan(w, at - w->now, (event){.kind = ARRIVE, .who = to, .from = from, .life = p->life, .value = silent});
}

static void post_all(world *w, uint32_t from, uint64_t silent)
{
    for (uint32_t to = 0; to < w->count; to++) {
        if (to != from) {
            post(w, from, to, silent);
        }
    }
}

static void begin_waiting(world *w, uint32_t who, uint32_t whom)
{
    pair *q = &w->pairs[who][whom];

    /* What it said before it fell silent was not for this one. */
    *q = (pair){.cut = q->cut, .disturbed = q->cut || w->p[whom].stopped || w->now < w->p[whom].busy_until};
    if (w->p[who].host == w->p[whom].host) {
        q->known = true;
        q->word = CAIRN_ACCRUAL_EXISTS;
        cairn_accrual_known(w->p[who].detector, whom, CAIRN_ACCRUAL_EXISTS);
    }
}

static void start(world *w, uint32_t who)
{
    process *p = &w->p[who];

    p->started = true;
    p->dead = p->stopped = p->late = false;
    p->inbox_count = 0;
    p->looked = p->awake_since = w->now;
    p->beat_at = w->now;
    p->busy_until = p->chatter_until = 0;
    p->detector = cairn_accrual_init(p->memory, w->count, &w->options, w->now);
    if (p->detector == NULL) {
        broke(w, "complete", "the options are refused");
        return;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        begin_waiting(w, who, i);
    }
    plan_wake(w, who);
    say(w, "process %u starts on host %u", who, p->host);
}

/* Count the observer's time here once more. */
static void attend(world *w, uint32_t who)
{
    process *p = &w->p[who];
    uint64_t passed = w->now - p->looked;

    p->late = p->late || passed > w->options.look_us;
    passed = passed < w->options.look_us ? passed : w->options.look_us;
    for (uint32_t i = 0; i < w->count; i++) {
        w->pairs[who][i].silence += passed;
        w->pairs[who][i].deadline += w->now - p->looked - passed; /* what does not count puts it off */
        if (i != who && !w->p[i].dead && !w->pairs[who][i].disturbed) {
            *(w->jittery ? &sum.watched : &sum.calm_watched) += passed;
        }
    }
    p->looked = w->now;
}

static void take_in(world *w, uint32_t who)
{
    process *p = &w->p[who];

    for (uint32_t i = 0; i < p->inbox_count; i++) {
        const message *m = &p->inbox[i];
        pair *q = &w->pairs[who][m->from];

        if (m->life != w->p[m->from].life) {
            continue; /* of a process that was replaced */
        }
        cairn_accrual_heard(p->detector, m->from, w->now);
        if (!q->known) {
            cairn_accrual_known(p->detector, m->from, CAIRN_ACCRUAL_UNKNOWN);
        }
        if (!q->noticed) {
            sum.trusted_again += q->suspected && q->disturbed ? 1 : 0;
            *q = (pair){.heard = q->heard + 1,
                        .samples = q->samples + (q->silence >= HEARTBEAT / 2 && q->extra == 0 ? 1 : 0),
                        .known = q->known,
                        .word = q->known ? CAIRN_ACCRUAL_EXISTS : CAIRN_ACCRUAL_UNKNOWN,
                        .cut = q->cut,
                        .disturbed = q->disturbed};
        }
        if (m->silent > 0) {
            cairn_accrual_forgive(p->detector, m->from, m->silent);
            q->extra = m->silent > q->extra ? m->silent : q->extra;
            q->looked = false;
        }
    }
    p->inbox_count = 0;
}

/* What the other one's kernel says. A dead process's does not answer for it, nor does one that is cut off. */
static void ask(world *w, uint32_t who, uint32_t whom)
{
    const process *p = &w->p[whom];
    pair *q = &w->pairs[who][whom];
    cairn_accrual_word word = q->word;

    if (!w->answering || q->known || q->noticed || q->heard == 0 || q->silence < 2 * HEARTBEAT) {
        return;
    }
    if (p->started && !p->dead && !q->cut) {
        q->asked_at = w->now;
        word = CAIRN_ACCRUAL_EXISTS;
    } else {
        q->asked_at = q->asked_at == 0 ? w->now : q->asked_at;
        word = w->now >= q->asked_at + IN_VAIN ? CAIRN_ACCRUAL_UNREACHABLE : word;
    }
    if (word != q->word) {
        say(w, "process %u finds that %u %s", who, whom, word == CAIRN_ACCRUAL_EXISTS ? "exists" : "is out of reach");
        q->word = word;
        q->looked = false; /* its deadline is another now */
        cairn_accrual_known(w->p[who].detector, whom, word);
    }
}

static void note_suspicion(world *w, uint32_t who, uint32_t whom)
{
    pair *q = &w->pairs[who][whom];
    const process *p = &w->p[whom];
    uint64_t after = w->now - p->died_at;

    say(w, "process %u suspects %u%s", who, whom, p->dead ? ", which is dead" : q->disturbed ? "" : ", WRONGLY");
    if (!p->dead && !q->disturbed)
        say(w, "WR %lu heard %u", q->silence / 1000, q->heard);
    if (!p->dead) {
        sum.paused_suspected += q->disturbed ? 1 : 0;
        if (!q->disturbed) {
            sum.wrong++;
            if (!w->jittery) {
                broke(w, "accurate", "process %u suspects %u, which runs, after %.1f ms of silence", who, whom,
                      (double)q->silence / 1e3);
            }
        }
    } else if (!(w->p[who].late && !w->jittery) && w->p[who].awake_since <= p->died_at && !q->disturbed &&
               !q->noticed && q->extra == 0 && q->samples >= WARM) {
        sum.detected += w->jittery ? 0 : 1;
        sum.detect_sum += w->jittery ? 0 : after;
        sum.detect_most = !w->jittery && after > sum.detect_most ? after : sum.detect_most;
        sum.jittery_detected += w->jittery ? 1 : 0;
        sum.jittery_sum += w->jittery ? after : 0;
        sum.jittery_most = w->jittery && after > sum.jittery_most ? after : sum.jittery_most;
    }
}

static void check(world *w, uint32_t who, uint32_t whom)
{
    const process *p = &w->p[whom];
    const cairn_accrual *d = w->p[who].detector;
    pair *q = &w->pairs[who][whom];
    bool suspects = cairn_accrual_suspects(d, whom, w->now);
    uint32_t phi = cairn_accrual_phi(d, whom, w->now);
    uint64_t deadline = cairn_accrual_deadline(d, whom);
    uint64_t floor = q->heard == 0                     ? w->options.ceiling_us
                     : q->word == CAIRN_ACCRUAL_EXISTS ? w->options.patient_us
                                                       : w->options.floor_us;
    uint64_t most = q->word == CAIRN_ACCRUAL_UNREACHABLE ? w->options.gone_us : w->options.ceiling_us;
    bool quick = !w->jittery && !w->p[who].late && p->dead && !q->disturbed && q->extra == 0 && q->samples >= WARM &&
                 w->p[who].awake_since <= p->died_at && w->now > p->died_at + QUICK;

    sum.looks++;
    w->digest = (w->digest ^ (phi + (suspects ? 1u << 20 : 0u) + w->now)) * UINT64_C(0x100000001b3);
    if (suspects && !q->suspected) {
        note_suspicion(w, who, whom);
    }
    q->suspected = suspects;
    if (w->jittery && !q->fixed && !p->dead && !q->disturbed && q->heard > 0 && q->silence >= w->options.floor_us) {
        q->fixed = true;
        sum.wrong_fixed++;
    }
    if (!suspects && (q->noticed || q->silence >= most + q->extra)) {
        broke(w, q->word == CAIRN_ACCRUAL_UNREACHABLE && !q->noticed ? "gone" : "complete",
              "process %u does not suspect %u after %.1f ms of silence%s", who, whom, (double)q->silence / 1e3,
              q->noticed ? ", knowing of its end" : "");
    }
    if (!suspects && quick) {
        broke(w, "quick", "process %u does not suspect %u %.1f ms after its death", who, whom,
              (double)(w->now - p->died_at) / 1e3);
    }
    if (suspects && !q->noticed && q->silence < floor + q->extra) {
        broke(w, "floor", "process %u suspects %u after %.1f ms of silence only", who, whom, (double)q->silence / 1e3);
    }
    if (phi < q->floor_phi ||
        (suspects && !q->noticed && phi < w->options.threshold_phi && q->silence < most + q->extra)) {
        broke(w, "phi", "process %u, of %u: phi %u after %" PRIu64 " with nothing heard", who, whom, phi, q->floor_phi);
    }
    q->floor_phi = phi;
    /* Nothing has come, so it is when it was. */
    if (suspects != (w->now >= deadline) || (!suspects && q->looked && !w->p[who].late && deadline != q->deadline)) {
        broke(w, "deadline", "process %u %s %u at %" PRIu64 ", its deadline is %" PRIu64, who,
              suspects ? "suspects" : "does not suspect", whom, w->now, deadline);
    }
    q->deadline = deadline;
    q->looked = true;
}

static void wake(world *w, uint32_t who)
{
    process *p = &w->p[who];

    plan_wake(w, who);
    if (w->now < p->busy_until) {
        return; /* it copies, and drives nothing meanwhile */
    }
    attend(w, who);
    take_in(w, who);
    cairn_accrual_look(p->detector, w->now);
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != who) {
            ask(w, who, i);
            check(w, who, i);
        }
    }
    if (w->now >= p->beat_at) {
        p->beat_at = w->now + HEARTBEAT;
        post_all(w, who, 0);
    } else if (w->now < p->chatter_until) {
        post_all(w, who, 0);
    }
}

/* ---------------------------------------------------------------- what happens to processes */

static void disturb(world *w, uint32_t whom)
{
    for (uint32_t i = 0; i < w->count; i++) {
        w->pairs[i][whom].disturbed = true;
    }
}

static void die(world *w, uint32_t who)
{
    process *p = &w->p[who];

    p->dead = true;
    p->stopped = false;
    p->busy_until = 0;
    p->died_at = w->now;
    sum.deaths++;
    say(w, "process %u dies", who);
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != who && w->p[i].host == p->host) {
            plan(w, chance_below(&w->c, NOTICE_MOST), (event){.kind = NOTICE, .who = i, .from = who, .life = p->life});
        }
    }
    if (chance_one_in(&w->c, 2)) {
        plan(w, chance_between(&w->c, 1, 4000 * MS), (event){.kind = REPLACE, .who = who, .life = p->life});
    }
}

static void notice(world *w, uint32_t who, uint32_t whom)
{
    process *p = &w->p[who];

    if (p->started && !p->dead && w->pairs[who][whom].known) {
        cairn_accrual_dead(p->detector, whom); /* one that is stopped learns it when it wakes: no difference here */
        w->pairs[who][whom].noticed = true;
    }
}

/* Everybody who lives is told so at once. */
static void replace(world *w, uint32_t who)
{
    w->p[who].life++;
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != who && w->p[i].started && !w->p[i].dead) {
            cairn_accrual_forget(w->p[i].detector, who, w->now);
            begin_waiting(w, i, who);
            w->pairs[i][who].silence = 0;
            /* Waiting began between two looks: what has passed since the last one does not count. */
            attend(w, i);
            w->pairs[i][who].silence = 0;
            cairn_accrual_look(w->p[i].detector, w->now);
        }
    }
    start(w, who);
}

static void stop(world *w, const event *e, bool stop)
{
    process *p = &w->p[e->who];

    p->stopped = stop;
    say(w, "process %u %s", e->who, stop ? "is stopped" : "continues");
    disturb(w, e->who);
    if (!stop) {
        p->awake_since = w->now;
        plan_wake(w, e->who);
        return;
    }
    plan(w, e->value, (event){.kind = CONTINUE, .who = e->who, .life = p->life});
    if (chance_one_in(&w->c, 3)) {
        plan(w, e->value + chance_scale(&w->c, 100 * MS, 2000 * MS),
             (event){.kind = DIE, .who = e->who, .life = p->life});
    }
}

static void cut(world *w, uint32_t a, uint32_t b, bool on)
{
    say(w, "processes %u and %u are %s", a, b, on ? "cut apart" : "connected again");
    w->pairs[a][b].cut = w->pairs[b][a].cut = on;
    w->pairs[a][b].disturbed = w->pairs[b][a].disturbed = true;
}

static void copy(world *w, const event *e)
{
    process *p = &w->p[e->who];

    say(w, "process %u copies for %.0f ms", e->who, (double)e->value / 1e3);
    post_all(w, e->who, e->value);
    p->busy_until = w->now + e->value;
    p->awake_since = p->busy_until; /* it does not look meanwhile */
}

static void arrive(world *w, const event *e)
{
    process *p = &w->p[e->who];

    if (p->started && !p->dead) {
        if (p->inbox_count == INBOX) { /* heartbeats of a process that is stopped: the newest say all */
            memmove(&p->inbox[0], &p->inbox[INBOX / 2], INBOX / 2 * sizeof p->inbox[0]);
            p->inbox_count = INBOX / 2;
        }
        p->inbox[p->inbox_count++] = (message){.from = e->from, .life = e->life, .silent = e->value};
    }
}

static void happen(world *w, const event *e)
{
    process *p = &w->p[e->who];
    bool lives = p->started && !p->dead && p->life == e->life;

    switch (e->kind) {
    case WAKE:
        if (lives && !p->stopped) {
            wake(w, e->who);
        }
        break;
    case ARRIVE:
        arrive(w, e);
        break;
    case START:
        start(w, e->who);
        break;
    case STOP:
        if (lives && !p->stopped) {
            stop(w, e, true);
        }
        break;
    case CONTINUE:
        if (lives && p->stopped) {
            stop(w, e, false);
        }
        break;
    case CUT:
    case HEAL:
        cut(w, e->who, e->from, e->kind == CUT);
        break;
    case DIE:
        if (lives) {
            die(w, e->who);
        }
        break;
    case REPLACE:
        if (p->dead && p->life == e->life) {
            replace(w, e->who);
        }
        break;
    case COPY:
        if (lives && !p->stopped) {
            copy(w, e);
        }
        break;
    case CHATTER:
        p->chatter_until = w->now + e->value;
        break;
    case COMPUTE:
        p->computes = e->value > 0;
        break;
    case NOTICE:
        if (w->p[e->from].dead && w->p[e->from].life == e->life) {
            notice(w, e->who, e->from);
        }
        break;
    }
}

/* ---------------------------------------------------------------- a seed */

static void draw_faults(world *w)
{
    uint64_t faults = chance_below(&w->c, 7);

    for (uint64_t i = 0; i < faults; i++) {
        uint32_t who = (uint32_t)chance_below(&w->c, w->count);
        uint32_t other = (who + 1 + (uint32_t)chance_below(&w->c, w->count - 1)) % w->count;
        uint64_t at = chance_below(&w->c, w->end);
        uint64_t length = chance_scale(&w->c, 20 * MS, 2000 * MS);
        static const kind kinds[] = {DIE, DIE, STOP, STOP, CUT, COPY, COPY, CHATTER};
        event e = {.kind = kinds[chance_below(&w->c, sizeof kinds / sizeof kinds[0])], .who = who, .value = length};

        if (e.kind == CUT) {
            e.from = other;
            plan(w, at + length, (event){.kind = HEAL, .who = who, .from = other});
        }
        plan(w, at, e);
    }
    for (uint32_t i = 0; i < w->count; i++) { /* long computing, without a call */
        uint64_t at = chance_below(&w->c, w->end);

        plan(w, at, (event){.kind = COMPUTE, .who = i, .value = 1});
        plan(w, at + chance_scale(&w->c, 100 * MS, 4000 * MS), (event){.kind = COMPUTE, .who = i});
    }
}

static void run(uint64_t seed, FILE *trace, void *of_one, seeds_outcome *outcome)
{
    static world whole;
    world *w = &whole;
    event e;

    memset(w, 0, sizeof *w);
    sum = (totals){0};
    w->c = chance_begin(seed);
    w->agenda.item_bytes = sizeof(event);
    w->trace = trace;
    w->options = cairn_accrual_defaults(HEARTBEAT);
    w->count = (uint32_t)chance_between(&w->c, 2, PROCESSES);
    w->jittery = chance_one_in(&w->c, 2);
    w->answering = chance_one_in(&w->c, 2);
    w->load = (uint32_t)chance_between(&w->c, 1, 4);
    w->end = chance_one_in(&w->c, 50) ? 240000 * MS : chance_between(&w->c, 2000, 9000) * MS;
    for (uint32_t i = 0; i < w->count; i++) {
        w->p[i].host = (uint32_t)chance_below(&w->c, 3);
        w->p[i].memory = malloc(cairn_accrual_bytes(w->count, w->options.window));
        if (w->p[i].memory == NULL) {
            abort();
        }
        plan(w, chance_below(&w->c, chance_one_in(&w->c, 4) ? 1500 * MS : 50 * MS), (event){.kind = START, .who = i});
    }
    draw_faults(w);
    while (w->agenda.count > 0 && w->now < w->end && w->broken == NULL) {
        w->now = agenda_take(&w->agenda, &e);
        happen(w, &e);
    }
    agenda_free(&w->agenda);
    for (uint32_t i = 0; i < w->count; i++) {
        free(w->p[i].memory);
    }
    memcpy(of_one, &sum, sizeof sum);
    outcome->digest = w->digest;
    outcome->broken = w->broken;
    (void)snprintf(outcome->world, sizeof outcome->world, "%u processes, %s", w->count,
                   w->jittery ? "jittery" : "calm");
    (void)snprintf(outcome->detail, sizeof outcome->detail, "%s", w->detail);
}

static void add(void *to, const void *from)
{
    totals *all = to;
    const totals *one = from;

    all->looks += one->looks;
    all->deaths += one->deaths;
    all->detected += one->detected;
    all->detect_sum += one->detect_sum;
    all->detect_most = one->detect_most > all->detect_most ? one->detect_most : all->detect_most;
    all->jittery_detected += one->jittery_detected;
    all->jittery_sum += one->jittery_sum;
    all->jittery_most = one->jittery_most > all->jittery_most ? one->jittery_most : all->jittery_most;
    all->wrong += one->wrong;
    all->wrong_fixed += one->wrong_fixed;
    all->watched += one->watched;
    all->calm_watched += one->calm_watched;
    all->paused_suspected += one->paused_suspected;
    all->trusted_again += one->trusted_again;
}

static double ms(uint64_t total, uint64_t count)
{
    return count == 0 ? 0.0 : (double)total / (double)count / 1e3;
}

/* Wrong suspicions an hour of looking at one process. */
static double rate(uint64_t count)
{
    return sum.watched == 0 ? 0.0 : (double)count * 3600e6 / (double)sum.watched;
}

static void print(const void *all)
{
    memcpy(&sum, all, sizeof sum);
    printf("looks at a process %" PRIu64 ", deaths %" PRIu64 "\n", sum.looks, sum.deaths);
    printf("calm: 0 wrong suspicions in %.0f h of looking at a process; a death is noticed by silence after %.0f ms on "
           "average, "
           "%.0f ms at most\n",
           (double)sum.calm_watched / 3600e6, ms(sum.detect_sum, sum.detected), ms(sum.detect_most, 1));
    printf(
        "jittery: %" PRIu64
        " wrong suspicions in %.0f h, %.2f an hour (the floor alone: %.2f); a death after %.0f ms, %.0f ms at most\n",
        sum.wrong, (double)sum.watched / 3600e6, rate(sum.wrong), rate(sum.wrong_fixed),
        ms(sum.jittery_sum, sum.jittery_detected), ms(sum.jittery_most, 1));
    printf("stopped or cut off: suspected %" PRIu64 " times, trusted again %" PRIu64 " times\n", sum.paused_suspected,
           sum.trusted_again);
}

/* Too few seeds say nothing about it. */
static void judge(const void *all, uint64_t seeds, seeds_outcome *outcome)
{
    memcpy(&sum, all, sizeof sum);
    if (seeds >= 1000 && rate(sum.wrong) > RATE_SHARE * rate(sum.wrong_fixed)) {
        outcome->broken = "rate";
        (void)snprintf(outcome->detail, sizeof outcome->detail, "%.2f wrong suspicions an hour, the floor alone %.2f",
                       rate(sum.wrong), rate(sum.wrong_fixed));
    }
}

int main(int argc, char **argv)
{
    static const seeds_kind detector = {.name = "test_detector",
                                        .help = "",
                                        .totals_bytes = sizeof(totals),
                                        .run = run,
                                        .add = add,
                                        .print = print,
                                        .judge = judge};

    return seeds_main(&detector, argc, argv);
}
