/* The simulator; see simulator.h. In the order of: random numbers, the event queue, checks, the network, the shell of a
 * core, the jobs, the world. */
#include "simulator.h"

#include "snapshot/chandy_lamport.h"

#include <cairn/clock.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX          SIM_PROCESSES_MAX
#define EVENTS_MAX   400000
#define MICROSECOND  1000ULL
#define MILLISECOND  1000000ULL
#define NOBODY       UINT32_MAX
#define REASONS      (CL_REASON_SUPERSEDED + 1)
#define ENDED_COMMIT 100 /* attempt.end: committed; otherwise a cl_reason */

typedef enum note_kind { NOTE_TRANSFER, NOTE_CALL, NOTE_ANSWER } note_kind;

/* A job's message; its place in the log of its channel is its sequence number - 1. */
typedef struct note {
    note_kind kind;
    int64_t amount;
    uint64_t vector[MAX];
} note;

typedef struct channel {
    bool exists;
    uint64_t delay;        /* typical            */
    uint64_t last_arrival; /* keeps it in order  */
    note *log;
    size_t sent, room;
} channel;

typedef struct queue {
    uint64_t *items;
    size_t first, count, room;
} queue;

typedef enum job_state {
    AT_TOP,    /* the loop's next iteration, or the bank between two handlers */
    AT_POINT,  /* at a safe point                                             */
    COMPUTING, /* until its WAKE                                              */
    RECEIVING, /* takes, or waits for, what `expected` names                  */
    DONE
} job_state;

typedef struct process {
    cl *core;
    job_state state;
    bool told_point; /* the core has been told of the safe point */
    uint64_t iteration, label, last_left;
    uint64_t pace;
    uint32_t expected; /* channels to receive from, as bits       */
    uint32_t calls;    /* who waits for an answer of ours, as bits */
    uint32_t answer_from;
    bool grace_running;
    uint64_t progress; /* messages consumed, to see if a grace time was idle */
    uint32_t due;      /* transfers to begin  */
    uint64_t stop;     /* bank: leaves then   */
    bool finished;
    int64_t money;
    uint64_t vector[MAX];
    uint64_t consumed[MAX];
    queue mailbox[MAX], held[MAX];
    uint64_t wish_time; /* of the last initiation; 0 = none */
    bool started;       /* the job has begun                */
    bool lingering;     /* at a safe point for a while      */
    uint32_t turn;
} process;

/* What one process recorded of one attempt. */
typedef struct part {
    bool recorded, complete, durable;
    uint32_t end; /* 0, a cl_reason or ENDED_COMMIT */
    uint64_t time, end_time, cut_step, label, last_left, iteration;
    int64_t money;
    uint64_t vector[MAX], sent[MAX], consumed[MAX];
    uint64_t first[MAX], in_flight[MAX]; /* state of each in-channel: first sequence number, how many */
} part;

typedef struct attempt {
    part parts[MAX];
    bool commit_asked, commit_durable;
    uint32_t reason;
    uint32_t leader; /* who named an S, + 1 */
} attempt;

typedef enum happening_kind { WAKE, TIMER, GRACE, ARRIVE, CONTROL, PART_WRITTEN, RECORD_WRITTEN, WISH } happening_kind;

typedef struct happening {
    uint64_t time, order;
    happening_kind kind;
    uint32_t to, from;
    uint64_t number; /* ARRIVE: sequence number, 0 = the message is a marker. *_WRITTEN: attempt. GRACE: progress */
    bool failed;
    cl_message message;
} happening;

typedef struct world {
    const sim_options *options;
    sim_result *result;
    uint64_t random;
    uint64_t now, order;
    happening *heap;
    size_t heap_count, heap_room;

    uint32_t count, coordinator;
    sim_job job;
    bool fast, eager, leaves_early, lingers;
    uint64_t patience, first_finish;
    uint32_t part_failures, commit_failures; /* one in so many; 0 = never */
    uint64_t disk, control_delay, iterations, stride, first_attempt, horizon;
    uint64_t lag; /* loops receive what was sent so many iterations ago */
    int64_t total;
    bool has_step[MAX];
    uint64_t offset[MAX];
    channel channels[MAX][MAX];
    process processes[MAX];
    attempt *attempts;
    size_t attempt_count, attempt_room;
} world;

/* --- random numbers (splitmix64) --------------------------------------------------------------------------- */

static uint64_t draw(world *w)
{
    uint64_t z = (w->random += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static uint64_t below(world *w, uint64_t bound)
{
    return draw(w) % bound;
}

static bool one_in(world *w, uint64_t n)
{
    return n != 0 && below(w, n) == 0;
}

/* Between low and high, every power of two about as likely. */
static uint64_t scale(world *w, uint64_t low, uint64_t high)
{
    uint64_t value = low;

    while (value < high && !one_in(w, 5)) {
        value *= 2;
    }
    return value + below(w, value + 1);
}

/* Around `typical`, sometimes much more. */
static uint64_t delay(world *w, uint64_t typical)
{
    uint64_t value = typical / 2 + below(w, typical + 1);

    if (one_in(w, 50)) {
        value += typical * below(w, 30);
    }
    return value + 1;
}

/* --- the event queue ------------------------------------------------------------------------------------- */

static bool is_before(const happening *a, const happening *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void *grow(void *items, size_t *room, size_t needed, size_t bytes)
{
    if (needed > *room) {
        *room = needed * 2 + 16;
        items = realloc(items, *room * bytes);
        if (items == NULL) {
            abort();
        }
    }
    return items;
}

static void plan(world *w, uint64_t time, happening what)
{
    size_t i = w->heap_count;

    what.time = time;
    what.order = w->order++;
    w->heap = grow(w->heap, &w->heap_room, w->heap_count + 1, sizeof *w->heap);
    w->heap_count++;
    for (; i > 0 && is_before(&what, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        w->heap[i] = w->heap[(i - 1) / 2];
    }
    w->heap[i] = what;
}

static happening take_next(world *w)
{
    happening first = w->heap[0];
    happening last = w->heap[--w->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < w->heap_count && is_before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (child >= w->heap_count || is_before(&last, &w->heap[child])) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

static void push(queue *q, uint64_t item)
{
    if (q->first > 64 && q->first * 2 > q->first + q->count) {
        memmove(q->items, q->items + q->first, q->count * sizeof *q->items);
        q->first = 0;
    }
    q->items = grow(q->items, &q->room, q->first + q->count + 1, sizeof *q->items);
    q->items[q->first + q->count++] = item;
}

static uint64_t pop(queue *q)
{
    q->count--;
    return q->items[q->first++];
}

/* --- saying what happens ---------------------------------------------------------------------------------- */

static uint32_t id_of(const world *w, const process *p)
{
    return (uint32_t)(p - w->processes);
}

__attribute__((format(printf, 3, 4))) static void fail(world *w, sim_property property, const char *format, ...)
{
    va_list arguments;

    if (w->result->broken == SIM_OK) {
        w->result->broken = property;
        va_start(arguments, format);
        vsnprintf(w->result->detail, sizeof w->result->detail, format, arguments);
        va_end(arguments);
    }
}

__attribute__((format(printf, 3, 4))) static void say(world *w, const process *p, const char *format, ...)
{
    va_list arguments;

    if (w->options->trace != NULL) {
        fprintf(w->options->trace, "%12.3f us  %u  ", (double)w->now / 1000, id_of(w, p));
        va_start(arguments, format);
        vfprintf(w->options->trace, format, arguments);
        va_end(arguments);
        fputc('\n', w->options->trace);
    }
}

static void digest(world *w, uint64_t value)
{
    w->result->digest = (w->result->digest ^ value) * 0x100000001b3U;
    w->result->digest ^= w->result->digest >> 29;
}

static const char *message_text(uint32_t kind)
{
    static const char *const texts[] = {"MARKER", "QUERY", "PROGRESS", "AT",        "ACCEPT",
                                        "PASSED", "GO",    "PART",     "COMMITTED", "ABANDON"};

    return kind < sizeof texts / sizeof texts[0] ? texts[kind] : "?";
}

static attempt *attempt_of(world *w, uint64_t number)
{
    size_t index = (size_t)(number - w->first_attempt);

    if (number <= w->first_attempt || index > 100000) {
        fail(w, SIM_SHELL, "attempt %llu does not exist", (unsigned long long)number);
        index = 1;
    }
    if (index >= w->attempt_room) {
        size_t old = w->attempt_room;

        w->attempts = grow(w->attempts, &w->attempt_room, index + 1, sizeof *w->attempts);
        memset(w->attempts + old, 0, (w->attempt_room - old) * sizeof *w->attempts);
    }
    if (index >= w->attempt_count) {
        w->attempt_count = index + 1;
    }
    return &w->attempts[index];
}

/* --- what a committed cut must be -------------------------------------------------------------------------- */

static void check_channel(world *w, uint64_t number, const attempt *a, uint32_t from, uint32_t to)
{
    uint64_t sent = a->parts[from].sent[to];
    uint64_t consumed = a->parts[to].consumed[from];
    uint64_t in_flight = a->parts[to].in_flight[from];

    if (consumed > sent) {
        fail(w, SIM_CUT, "attempt %llu: %u has consumed message %llu of %u, which had sent %llu",
             (unsigned long long)number, to, (unsigned long long)consumed, from, (unsigned long long)sent);
    } else if (in_flight != sent - consumed || (in_flight > 0 && a->parts[to].first[from] != consumed + 1)) {
        fail(w, SIM_CHANNEL, "attempt %llu: channel %u to %u holds %llu from %llu, and should hold %llu from %llu",
             (unsigned long long)number, from, to, (unsigned long long)in_flight,
             (unsigned long long)a->parts[to].first[from], (unsigned long long)(sent - consumed),
             (unsigned long long)consumed + 1);
    }
    w->result->in_flight += in_flight;
}

static void check_steps(world *w, uint64_t number, const attempt *a)
{
    for (uint32_t i = 0; i < w->count; i++) {
        const part *one = &a->parts[i];

        if (one->cut_step != a->parts[0].cut_step) {
            fail(w, SIM_STEP, "attempt %llu: %u recorded for another S than 0", (unsigned long long)number, i);
        } else if (one->cut_step != CL_NO_STEP && one->label != CL_NO_STEP &&
                   (one->label < one->cut_step || (one->last_left != CL_NO_STEP && one->last_left >= one->cut_step))) {
            fail(w, SIM_STEP, "attempt %llu: %u recorded at step %llu, not at its first >= %llu",
                 (unsigned long long)number, i, (unsigned long long)one->label, (unsigned long long)one->cut_step);
        } else if ((w->job == SIM_LOOP || w->job == SIM_LOOP_ANY) &&
                   (one->cut_step == CL_NO_STEP || one->iteration != a->parts[0].iteration)) {
            fail(w, SIM_STEP, "attempt %llu: %u recorded in iteration %llu, 0 in %llu", (unsigned long long)number, i,
                 (unsigned long long)one->iteration, (unsigned long long)a->parts[0].iteration);
        }
    }
}

static void check_cut(world *w, uint64_t number, const attempt *a)
{
    int64_t money = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        money += a->parts[i].money;
        for (uint32_t j = 0; j < w->count; j++) {
            if (i != j && w->channels[i][j].exists) {
                const part *to = &a->parts[j];

                check_channel(w, number, a, i, j);
                for (uint64_t k = 0; k < to->in_flight[i]; k++) {
                    money += w->channels[i][j].log[to->first[i] - 1 + k].amount;
                }
            }
            if (i < j && cairn_vector_compare(a->parts[i].vector, a->parts[j].vector, w->count) != CAIRN_CONCURRENT) {
                fail(w, SIM_CLOCK, "attempt %llu: what %u and %u recorded is not concurrent but %s",
                     (unsigned long long)number, i, j,
                     cairn_order_text(cairn_vector_compare(a->parts[i].vector, a->parts[j].vector, w->count)));
            }
        }
    }
    if (money != w->total) {
        fail(w, SIM_MONEY, "attempt %llu: %lld in the cut, %lld in the bank", (unsigned long long)number,
             (long long)money, (long long)w->total);
    }
    check_steps(w, number, a);
}

/* --- the shell of a core ------------------------------------------------------------------------------------ */

static void transmit(world *w, uint32_t from, uint32_t to, happening what)
{
    channel *c = &w->channels[from][to];
    uint64_t arrival = w->now + delay(w, c->delay);

    if (arrival < c->last_arrival) {
        arrival = c->last_arrival;
    }
    c->last_arrival = arrival;
    what.kind = ARRIVE;
    what.from = from;
    what.to = to;
    plan(w, arrival, what);
}

static void append(world *w, process *p, uint64_t number, uint32_t from, uint64_t sequence)
{
    part *mine = &attempt_of(w, number)->parts[id_of(w, p)];

    if (mine->in_flight[from] == 0) {
        mine->first[from] = sequence;
    } else if (sequence != mine->first[from] + mine->in_flight[from]) {
        fail(w, SIM_CHANNEL, "attempt %llu: message %llu of %u does not follow in what %u records",
             (unsigned long long)number, (unsigned long long)sequence, from, id_of(w, p));
    }
    mine->in_flight[from]++;
}

static void take_record(world *w, process *p, const cl_output *out)
{
    uint32_t self = id_of(w, p);
    part *mine = &attempt_of(w, out->attempt)->parts[self];

    if (mine->recorded || mine->end != 0 || p->state != AT_POINT || p->finished || !out->release) {
        fail(w, SIM_SHELL, "attempt %llu: %u is asked to record where it cannot", (unsigned long long)out->attempt,
             self);
    }
    cairn_vector_local(p->vector, w->count, self);
    mine->recorded = true;
    mine->time = w->now;
    mine->cut_step = out->cut_step;
    mine->label = p->label;
    mine->last_left = p->last_left;
    mine->iteration = p->iteration;
    mine->money = p->money;
    memcpy(mine->vector, p->vector, sizeof mine->vector);
    memcpy(mine->consumed, p->consumed, sizeof mine->consumed);
    for (uint32_t i = 0; i < w->count; i++) {
        mine->sent[i] = w->channels[self][i].sent;
        for (size_t k = 0; k < p->mailbox[i].count; k++) {
            append(w, p, out->attempt, i, p->mailbox[i].items[p->mailbox[i].first + k]);
        }
    }
}

static void note_end(world *w, process *p, uint64_t number, uint32_t end)
{
    attempt *a = attempt_of(w, number);
    part *mine = &a->parts[id_of(w, p)];

    if (mine->end != 0 && !(mine->end == CL_REASON_SUPERSEDED && end == ENDED_COMMIT)) {
        fail(w, SIM_SHELL, "attempt %llu has two ends at %u", (unsigned long long)number, id_of(w, p));
    }
    mine->end = end;
    mine->end_time = w->now;
    if (end == ENDED_COMMIT) {
        if (!a->commit_durable) {
            fail(w, SIM_DURABLE, "attempt %llu is committed at %u, and there is no record of it",
                 (unsigned long long)number, id_of(w, p));
        }
    } else if (end != CL_REASON_SUPERSEDED && a->reason == 0) {
        a->reason = end;
    }
    if (a->commit_durable && a->reason != 0) {
        fail(w, SIM_AGREEMENT, "attempt %llu is both committed and abandoned", (unsigned long long)number);
    }
}

static void ask_commit(world *w, process *p, const cl_output *out)
{
    attempt *a = attempt_of(w, out->attempt);
    bool bad = one_in(w, w->commit_failures);

    if (a->commit_asked || id_of(w, p) != w->coordinator) {
        fail(w, SIM_SHELL, "attempt %llu: %u is asked to commit it", (unsigned long long)out->attempt, id_of(w, p));
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (!a->parts[i].durable || a->parts[i].end == CL_REASON_HELD || a->parts[i].end == CL_REASON_FINISHED) {
            fail(w, SIM_DURABLE, "attempt %llu is to be committed, and the part of %u is not durable",
                 (unsigned long long)out->attempt, i);
        }
    }
    a->commit_asked = true;
    plan(w, w->now + delay(w, w->disk),
         (happening){.kind = RECORD_WRITTEN, .to = id_of(w, p), .number = out->attempt, .failed = bad});
}

static void release_held(process *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (p->held[i].count > 0) {
            push(&p->mailbox[i], pop(&p->held[i]));
        }
    }
}

static void send_control(world *w, process *p, const cl_send *send)
{
    uint32_t self = id_of(w, p);

    say(w, p, "sends %s(%llu, step %lld, reason %u) to %d", message_text(send->message.kind),
        (unsigned long long)send->message.attempt, (long long)send->message.step, send->message.reason, (int)send->to);
    if (send->message.kind == CL_MSG_AT) {
        attempt *a = attempt_of(w, send->message.attempt);

        if (a->leader != 0 && a->leader != self + 1) {
            fail(w, SIM_SHELL, "attempt %llu: both %u and %u name an S", (unsigned long long)send->message.attempt,
                 a->leader - 1, self);
        }
        a->leader = self + 1;
        w->result->rounds++;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != self && (send->to == CL_ALL || send->to == i)) {
            plan(w, w->now + delay(w, w->control_delay),
                 (happening){.kind = CONTROL, .from = self, .to = i, .message = send->message});
        }
    }
}

/* What the core asks for, in the order that its header gives. DATA's answers are the caller's. */
static void carry_out(world *w, process *p, const cl_output *out)
{
    uint32_t self = id_of(w, p);

    if (out->discard) {
        say(w, p, "attempt %llu ends here, reason %d", (unsigned long long)out->ended, (int)out->ended_reason);
        note_end(w, p, out->ended, (uint32_t)out->ended_reason);
    }
    if (out->record) {
        say(w, p, "records attempt %llu", (unsigned long long)out->attempt);
        take_record(w, p, out);
    }
    if (out->release) {
        release_held(p, w->count);
    }
    for (uint32_t i = 0; out->send_markers && i < w->count; i++) {
        if (w->channels[self][i].exists) {
            cl_message marker = {.kind = CL_MSG_MARKER, .attempt = out->attempt, .step = out->cut_step};

            transmit(w, self, i, (happening){.message = marker});
        }
    }
    if (out->complete) {
        say(w, p, "has its part of attempt %llu complete", (unsigned long long)out->attempt);
        attempt_of(w, out->attempt)->parts[self].complete = true;
        plan(w, w->now + delay(w, w->disk),
             (happening){
                 .kind = PART_WRITTEN, .to = self, .number = out->attempt, .failed = one_in(w, w->part_failures)});
    }
    if (out->commit) {
        ask_commit(w, p, out);
    }
    if (out->committed) {
        say(w, p, "has attempt %llu committed", (unsigned long long)out->attempt);
        note_end(w, p, out->attempt, ENDED_COMMIT);
    }
    for (uint32_t i = 0; i < out->send_count; i++) {
        send_control(w, p, &out->sends[i]);
    }
}

static void digest_output(world *w, const cl_output *out)
{
    const bool flags[] = {out->discard,      out->hold,     out->in_cut, out->record,   out->release,
                          out->send_markers, out->complete, out->commit, out->committed};

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        digest(w, flags[i] ? i + 1 : 0);
    }
    for (uint32_t i = 0; i < out->send_count; i++) {
        digest(w, (uint64_t)out->sends[i].message.kind << 32 | out->sends[i].to);
        digest(w, out->sends[i].message.step);
    }
}

static void feed(world *w, process *p, cl_event event, cl_output *out)
{
    cl_output here;
    const char *broken = NULL;

    if (out == NULL) {
        out = &here;
    }
    cl_step(p->core, &event, out);
    digest(w, (uint64_t)event.kind << 32 | (uint64_t)id_of(w, p));
    digest_output(w, out);
    if (!w->options->blind && !cl_check(p->core, &broken)) {
        fail(w, SIM_INVARIANT, "%s (process %u, event %d)", broken, id_of(w, p), (int)event.kind);
    }
    carry_out(w, p, out);
}

/* --- the jobs --------------------------------------------------------------------------------------------- */

/* The job of p handles messages as they come: from the beginning, or when its loop is over. */
static bool serves(const world *w, const process *p)
{
    return w->job == SIM_BANK || w->job == SIM_BANK_CALLS || (w->job == SIM_PHASES && p->iteration == w->iterations);
}

static void send_note(world *w, process *p, uint32_t to, note_kind kind, int64_t amount)
{
    uint32_t self = id_of(w, p);
    channel *c = &w->channels[self][to];
    note *n;

    c->log = grow(c->log, &c->room, c->sent + 1, sizeof *c->log);
    n = &c->log[c->sent++];
    p->money -= amount;
    cairn_vector_local(p->vector, w->count, self);
    n->kind = kind;
    n->amount = amount;
    memcpy(n->vector, p->vector, sizeof n->vector);
    w->result->messages++;
    transmit(w, self, to, (happening){.number = c->sent});
}

static note_kind consume(world *w, process *p, uint32_t from)
{
    uint64_t sequence = pop(&p->mailbox[from]);
    const note *n = &w->channels[from][id_of(w, p)].log[sequence - 1];

    if (sequence != p->consumed[from] + 1) {
        fail(w, SIM_FIFO, "%u gets message %llu of %u after %llu", id_of(w, p), (unsigned long long)sequence, from,
             (unsigned long long)p->consumed[from]);
    }
    p->consumed[from] = sequence;
    p->progress++;
    p->money += n->amount;
    cairn_vector_receive(p->vector, n->vector, w->count, id_of(w, p));
    return n->kind;
}

/* Some process that p has a channel to (and from, if both); NOBODY when there is none. */
static uint32_t pick_neighbour(world *w, const process *p, uint32_t bound, bool both)
{
    uint32_t self = id_of(w, p);
    uint32_t start = (uint32_t)below(w, w->count);

    for (uint32_t k = 0; k < w->count; k++) {
        uint32_t i = (start + k) % w->count;

        if (i < bound && w->channels[self][i].exists && (!both || w->channels[i][self].exists)) {
            return i;
        }
    }
    return NOBODY;
}

static uint64_t label_of(const world *w, const process *p)
{
    uint32_t self = id_of(w, p);

    return w->has_step[self] && !serves(w, p) ? (p->iteration + w->offset[self]) * w->stride + 3 : CL_NO_STEP;
}

static void leave_point(world *w, process *p)
{
    if (p->told_point) {
        feed(w, p, (cl_event){.kind = CL_LEAVE}, NULL);
    }
    p->told_point = false;
    p->last_left = p->label;
    p->state = COMPUTING;
}

/* Come to a safe point. soon: the job goes on at once, so that an idle core need not be told. */
static void come_to_point(world *w, process *p, bool soon)
{
    p->state = AT_POINT;
    p->label = label_of(w, p);
    soon = soon && !(p->lingering = !serves(w, p) && w->lingers && one_in(w, 2));
    if (p->lingering) {
        plan(w, w->now + delay(w, p->pace * (one_in(w, 4) ? 30 : 1)), (happening){.kind = WAKE, .to = id_of(w, p)});
    }
    if (soon && w->fast && cl_idle(p->core)) {
        cl_passed(p->core, p->label);
    } else {
        p->told_point = true;
        feed(w, p, (cl_event){.kind = CL_SAFEPOINT, .step = p->label}, NULL);
    }
}

static void finish_job(world *w, process *p)
{
    say(w, p, "has finished its job");
    p->state = DONE;
    p->finished = true;
    w->first_finish = w->first_finish == 0 ? w->now + 1 : w->first_finish;
    feed(w, p, (cl_event){.kind = CL_FINISHED}, NULL);
}

static uint32_t next_mail(process *p, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t i = (p->turn + k) % count;

        if (p->mailbox[i].count > 0) {
            p->turn = i + 1;
            return i;
        }
    }
    return NOBODY;
}

/* The job is computing and its time is over: it sends. */
static void wake(world *w, process *p)
{
    uint32_t self = id_of(w, p);

    if (p->state == AT_TOP || p->lingering) {
        p->lingering = false;
        p->started = true;
        return;
    }
    if (!serves(w, p)) {
        p->state = RECEIVING;
        p->expected = 0;
        for (uint32_t i = 0; i < w->count; i++) {
            if (w->channels[self][i].exists) {
                send_note(w, p, i, NOTE_TRANSFER, (int64_t)below(w, (uint64_t)p->money / 16 + 1));
            }
            p->expected |= w->channels[i][self].exists && p->iteration >= w->lag ? 1U << i : 0;
        }
        return;
    }
    p->state = AT_TOP;
    for (uint32_t i = 0; i < w->count; i++) {
        if (p->calls >> i & 1U) {
            send_note(w, p, i, NOTE_ANSWER, 0);
        }
    }
    p->calls = 0;
    if (p->due > 0) {
        uint32_t to = pick_neighbour(w, p, w->count, false);

        p->due--;
        if (to != NOBODY) {
            send_note(w, p, to, NOTE_TRANSFER, (int64_t)below(w, (uint64_t)p->money + 1));
        }
        to = w->job == SIM_BANK_CALLS && one_in(w, 2) ? pick_neighbour(w, p, self, true) : NOBODY;
        if (to != NOBODY) { /* only lower ones are called, so the job itself cannot lock up */
            send_note(w, p, to, NOTE_CALL, 0);
            p->answer_from = to;
            p->expected = 1U << to;
            p->state = RECEIVING;
        }
    }
}

/* Take what is expected and there. */
static void receive(world *w, process *p)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (!(p->expected >> i & 1U)) {
            continue;
        }
        while (p->mailbox[i].count > 0 && (p->expected >> i & 1U)) {
            if (consume(w, p, i) == NOTE_ANSWER || !serves(w, p)) {
                p->expected &= ~(1U << i);
            }
        }
        if ((p->expected >> i & 1U) && w->job != SIM_LOOP_ANY) {
            return; /* in turn */
        }
    }
}

/* Does the job wait for something that is held? Who waits for any of several can only tell after some idle time. */
static void check_held_wait(world *w, process *p, bool grace_over)
{
    uint32_t behind = 0;
    bool waits;

    for (uint32_t i = 0; i < w->count; i++) {
        if (p->expected >> i & 1U) {
            behind |= (w->eager ? cl_holds(p->core, i) : p->held[i].count > 0) ? 1U << i : 0;
            if (w->job != SIM_LOOP_ANY) {
                break;
            }
        }
    }
    waits = behind != 0;
    if (waits && w->job == SIM_LOOP_ANY && behind != p->expected && !grace_over) {
        if (!p->grace_running) {
            p->grace_running = true;
            plan(w, w->now + 2000 * MILLISECOND, (happening){.kind = GRACE, .to = id_of(w, p), .number = p->progress});
        }
        return;
    }
    if (waits) {
        say(w, p, "waits for a held message");
        feed(w, p, (cl_event){.kind = CL_HELD_WAIT}, NULL);
        for (uint32_t i = 0; i < w->count; i++) {
            if (cl_holds(p->core, i)) {
                fail(w, SIM_STUCK, "%u waits for what is held, and the attempt goes on", id_of(w, p));
            }
        }
    }
}

/* Begin the bank's next handler, or the loop's next iteration. */
static bool go_on(world *w, process *p)
{
    uint32_t from;

    if (cl_must_stay(p->core) || p->lingering) {
        return false;
    }
    if (serves(w, p)) {
        from = next_mail(p, w->count);
        if (from == NOBODY && p->due == 0) {
            return false;
        }
        leave_point(w, p);
        if (from != NOBODY && consume(w, p, from) == NOTE_CALL) {
            p->calls |= 1U << from;
        } else if (from != NOBODY && w->now < w->horizon && one_in(w, 2)) {
            p->due++;
        }
    } else {
        leave_point(w, p);
    }
    plan(w, w->now + delay(w, p->pace), (happening){.kind = WAKE, .to = id_of(w, p)});
    return false;
}

/* Run the job of p as far as it goes by itself. */
static void advance(world *w, process *p)
{
    bool more = true;

    while (more && w->result->broken == SIM_OK) {
        switch (p->state) {
        case AT_TOP:
            if (!p->started) {
                return;
            }
            if (serves(w, p) ? w->now >= p->stop : p->iteration == w->iterations) {
                finish_job(w, p);
            } else {
                come_to_point(w, p, !serves(w, p) || p->due > 0 || next_mail(p, w->count) != NOBODY);
            }
            break;
        case AT_POINT:
            more = go_on(w, p);
            break;
        case RECEIVING:
            receive(w, p);
            if (p->expected != 0) {
                check_held_wait(w, p, false);
                receive(w, p);
            }
            more = p->expected == 0;
            if (more) {
                p->state = AT_TOP;
                p->iteration++;
            }
            break;
        case COMPUTING:
        case DONE:
            more = false;
            break;
        }
    }
}

/* --- the world --------------------------------------------------------------------------------------------- */

static void connect(world *w, uint32_t from, uint32_t to)
{
    if (from != to) {
        w->channels[from][to].exists = true;
    }
}

static void draw_topology(world *w)
{
    uint64_t kind = below(w, 4);
    uint64_t slowest = one_in(w, 4) ? 20 * MILLISECOND : MILLISECOND;

    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            if (kind == 0 || (kind == 1 && one_in(w, 3)) || (kind == 2 && (i == 0 || j == 0))) {
                connect(w, i, j);
            }
            w->channels[i][j].delay = scale(w, 2 * MICROSECOND, slowest);
        }
        if (kind != 2) {
            connect(w, i, (i + 1) % w->count); /* 1: a ring and some; 3: a ring */
        }
    }
}

static void draw_job(world *w)
{
    bool fair, is_bank;

    w->job = w->options->job >= 0 ? (sim_job)w->options->job : (sim_job)below(w, SIM_JOBS);
    w->count = w->options->count != 0 ? w->options->count : 1 + (uint32_t)below(w, MAX);
    fair = sim_job_is_fair(w->job);
    is_bank = w->job == SIM_BANK || w->job == SIM_BANK_CALLS;
    w->coordinator = (uint32_t)below(w, w->count);
    w->first_attempt = below(w, 3);
    w->stride = one_in(w, 3) ? 10 : 1;
    w->lingers = one_in(w, 4);
    w->lag = one_in(w, 2) ? 0 : below(w, 4);
    w->fast = !one_in(w, 3);
    w->eager = one_in(w, 2);
    w->control_delay = scale(w, 2 * MICROSECOND, 4 * MILLISECOND);
    w->disk = scale(w, 10 * MICROSECOND, 10 * MILLISECOND);
    if (!w->options->calm) {
        w->part_failures = one_in(w, 5) ? 1 + (uint32_t)below(w, 8) : 0;
        w->commit_failures = one_in(w, 6) ? 1 + (uint32_t)below(w, 3) : 0;
        w->leaves_early = one_in(w, 6) && w->job == SIM_BANK;
    }
    draw_topology(w);
    for (uint32_t i = 0; i < w->count; i++) {
        w->has_step[i] = !is_bank && w->job != SIM_NAIVE && (w->job != SIM_MIXED || one_in(w, 2));
        w->offset[i] = w->job == SIM_SHIFTED ? below(w, 4) : 0;
    }
    w->result->calm = fair && w->part_failures == 0 && w->commit_failures == 0 && !w->leaves_early;
}

static void draw_processes(world *w)
{
    bool is_bank = w->job == SIM_BANK || w->job == SIM_BANK_CALLS;
    uint64_t degree = 0;
    uint64_t pace = scale(w, 2 * MICROSECOND, MILLISECOND);

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
        p->pace = pace / 2 + scale(w, pace / 4 + 1, pace * 4);
        p->money = 1000;
        w->total += p->money;
        p->last_left = CL_NO_STEP;
        p->stop = UINT64_MAX;
        plan(w, one_in(w, 3) ? below(w, p->pace * 20) : 0, (happening){.kind = WAKE, .to = i});
    }
    w->iterations = 8 + 3000 / (degree + 8);
    w->horizon = pace * 30;
    for (uint32_t i = 0; (is_bank || w->job == SIM_PHASES) && i < w->count; i++) {
        uint64_t transfers = 4 + below(w, 800 / w->count);

        for (uint64_t k = 0; k < transfers; k++) {
            plan(w, below(w, w->horizon), (happening){.kind = TIMER, .to = i});
        }
        if (w->leaves_early && one_in(w, 2)) {
            w->processes[i].stop = below(w, w->horizon);
            plan(w, w->processes[i].stop, (happening){.kind = TIMER, .to = i});
        }
    }
}

static void draw_wishes(world *w)
{
    uint64_t slowest = w->control_delay;
    uint64_t wishes = 1 + below(w, one_in(w, 3) ? 40 : 8);
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
    if (one_in(w, 4)) {
        span = slowest * 20; /* while some have not begun */
    }
    for (uint64_t k = 0; k < wishes; k++) {
        if (!one_in(w, 3)) { /* otherwise at the same time as the one before */
            time = 1 + below(w, span);
        }
        plan(w, time + 1, (happening){.kind = WISH, .to = (uint32_t)below(w, w->count)});
    }
}

static void arrive(world *w, process *p, const happening *what)
{
    cl_output out = {0};

    if (what->number == 0) {
        say(w, p, "gets MARKER(%llu, step %lld) from %u", (unsigned long long)what->message.attempt,
            (long long)what->message.step, what->from);
        feed(w, p, (cl_event){.kind = CL_MESSAGE, .peer = what->from, .message = what->message}, NULL);
        return;
    }
    if (!(w->fast && cl_idle(p->core))) {
        feed(w, p, (cl_event){.kind = CL_DATA, .peer = what->from}, &out);
    }
    say(w, p, "gets message %llu from %u%s%s", (unsigned long long)what->number, what->from, out.hold ? ", held" : "",
        out.in_cut ? ", in the cut" : "");
    if (out.in_cut) {
        append(w, p, cl_attempt(p->core), what->from, what->number);
    }
    w->result->held += out.hold;
    push(out.hold ? &p->held[what->from] : &p->mailbox[what->from], what->number);
}

static void wish(world *w, process *p)
{
    say(w, p, "wishes a snapshot");
    if (!p->finished) {
        p->wish_time = w->now;
    }
    feed(w, p, (cl_event){.kind = CL_INITIATE}, NULL);
}

static void disk_done(world *w, process *p, const happening *what)
{
    attempt *a = attempt_of(w, what->number);
    cl_event_kind kind = what->kind == PART_WRITTEN ? CL_PART_DURABLE : CL_COMMIT_DURABLE;

    say(w, p, "%s of attempt %llu %s", what->kind == PART_WRITTEN ? "part" : "commit record",
        (unsigned long long)what->number, what->failed ? "cannot be written" : "is durable");
    if (what->failed) {
        kind = CL_FAILED;
    } else if (what->kind == PART_WRITTEN) {
        a->parts[id_of(w, p)].durable = true;
    } else {
        a->commit_durable = true;
        check_cut(w, what->number, a);
    }
    feed(w, p, (cl_event){.kind = kind, .attempt = what->number}, NULL);
}

static void happen(world *w, const happening *what)
{
    process *p = &w->processes[what->to];

    w->now = what->time;
    digest(w, what->time ^ (uint64_t)what->kind << 56 ^ what->number << 8 ^ what->to);
    switch (what->kind) {
    case WAKE:
        wake(w, p);
        break;
    case TIMER:
        p->due += p->state != DONE && w->now < p->stop;
        if (w->now >= p->stop && p->state == AT_POINT && !cl_must_stay(p->core)) {
            finish_job(w, p);
        }
        break;
    case GRACE:
        p->grace_running = false;
        if (p->state == RECEIVING && p->progress == what->number) {
            check_held_wait(w, p, true);
        }
        break;
    case ARRIVE:
        arrive(w, p, what);
        break;
    case CONTROL:
        say(w, p, "gets %s(%llu, step %lld) from %u", message_text(what->message.kind),
            (unsigned long long)what->message.attempt, (long long)what->message.step, what->from);
        feed(w, p, (cl_event){.kind = CL_MESSAGE, .peer = what->from, .message = what->message}, NULL);
        break;
    case PART_WRITTEN:
    case RECORD_WRITTEN:
        disk_done(w, p, what);
        break;
    case WISH:
        wish(w, p);
        break;
    }
    advance(w, p);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static void check_process_end(world *w, process *p)
{
    uint32_t self = id_of(w, p);

    if (cl_attempt(p->core) != 0 || !cl_idle(p->core)) {
        fail(w, SIM_STUCK, "%u is still at attempt %llu, or wishes one", self, (unsigned long long)cl_attempt(p->core));
    }
    if (p->state != DONE && !(serves(w, p) && p->state == AT_POINT)) {
        fail(w, SIM_STUCK, "the job of %u never ends (iteration %llu)", self, (unsigned long long)p->iteration);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (p->held[i].count > 0) {
            fail(w, SIM_STUCK, "%u still holds messages of %u", self, i);
        }
        if (p->mailbox[i].count + p->consumed[i] != w->channels[i][self].sent) {
            fail(w, SIM_FIFO, "%u has not got all messages of %u", self, i);
        }
        if (p->mailbox[i].count > 0 && p->state != DONE) {
            fail(w, SIM_STUCK, "%u does not read the messages of %u", self, i);
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

        fulfilled = fulfilled || (a->commit_durable && a->parts[id_of(w, p)].time >= p->wish_time);
    }
    if (!fulfilled) {
        fail(w, SIM_WISH, "%u wished a snapshot at %.3f us and has none", id_of(w, p), (double)p->wish_time / 1000);
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
            if (one->recorded && one->end == 0) {
                fail(w, SIM_AGREEMENT, "attempt %llu never ended at %u", number, j);
            }
            if (a->commit_durable && one->end != ENDED_COMMIT && one->end != CL_REASON_SUPERSEDED) {
                fail(w, SIM_AGREEMENT, "attempt %llu is committed, and %u does not know", number, j);
            }
        }
        w->result->attempts += begun;
        w->result->committed += a->commit_durable;
        if (!a->commit_durable && begun) {
            w->result->abandoned[a->reason < REASONS ? a->reason : 0]++;
        }
        if (a->commit_durable && a->reason != 0) {
            fail(w, SIM_AGREEMENT, "attempt %llu is both committed and abandoned", number);
        }
        if (sim_job_is_fair(w->job) && a->reason == CL_REASON_HELD) {
            fail(w, SIM_FAIR, "attempt %llu was abandoned for a held message", number);
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
    free(w->heap);
    free(w);
}

/* A bank alone in the world hears of nobody; like a shell that looks after its timers it passes a safe point now and
 * then, which is when a wish that waited behind an attempt begins. */
static bool nudge(world *w)
{
    process *p = &w->processes[0];

    if (w->count == 1 && p->state == AT_POINT && !cl_idle(p->core)) {
        leave_point(w, p);
        come_to_point(w, p, false);
    }
    return w->heap_count > 0;
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
    w->random = seed * 0xd1342543de82ef95U + 1;
    result->digest = 0xcbf29ce484222325U;
    draw_job(w);
    draw_processes(w);
    draw_wishes(w);
    result->count = w->count;
    result->job = w->job;
    while (result->broken == SIM_OK && (w->heap_count > 0 || nudge(w))) {
        happening next = take_next(w);

        happen(w, &next);
        if (++result->events > EVENTS_MAX) {
            fail(w, SIM_ENDLESS, "after %d events there is still no end", EVENTS_MAX);
        }
    }
    for (uint32_t i = 0; i < w->count && result->broken == SIM_OK; i++) {
        check_process_end(w, &w->processes[i]);
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
