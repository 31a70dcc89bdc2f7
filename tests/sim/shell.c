/* The shell of a core: it carries out what the core asks, and checks what it commits; see simulator.h. */
#include "world.h"

#include <cairn/clock.h>
#include <string.h>

/* --- what a committed cut must be --------------------------------------------------------------------------------- */

static void check_channel(world *w, uint64_t number, const attempt *a, uint32_t from, uint32_t to)
{
    uint64_t sent = a->parts[from].sent[to];
    uint64_t consumed = a->parts[to].consumed[from];
    uint64_t in_flight = a->parts[to].in_flight[from];

    if (consumed > sent) {
        sim_fail(w, SIM_CUT, "attempt %llu: %u has consumed message %llu of %u, which had sent %llu",
                 (unsigned long long)number, to, (unsigned long long)consumed, from, (unsigned long long)sent);
    } else if (in_flight != sent - consumed || (in_flight > 0 && a->parts[to].first[from] != consumed + 1)) {
        sim_fail(w, SIM_CHANNEL, "attempt %llu: channel %u to %u holds %llu from %llu, and should hold %llu from %llu",
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
            sim_fail(w, SIM_STEP, "attempt %llu: %u recorded for another S than 0", (unsigned long long)number, i);
        } else if (one->cut_step != CL_NO_STEP && one->label != CL_NO_STEP &&
                   (one->label < one->cut_step || (one->last_left != CL_NO_STEP && one->last_left >= one->cut_step))) {
            sim_fail(w, SIM_STEP, "attempt %llu: %u recorded at step %llu, not at its first >= %llu",
                     (unsigned long long)number, i, (unsigned long long)one->label, (unsigned long long)one->cut_step);
        } else if ((w->job == SIM_LOOP || w->job == SIM_LOOP_ANY) &&
                   (one->cut_step == CL_NO_STEP || one->iteration != a->parts[0].iteration)) {
            sim_fail(w, SIM_STEP, "attempt %llu: %u recorded in iteration %llu, 0 in %llu", (unsigned long long)number,
                     i, (unsigned long long)one->iteration, (unsigned long long)a->parts[0].iteration);
        }
    }
}

void sim_check_cut(world *w, uint64_t number, const attempt *a)
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
                sim_fail(w, SIM_CLOCK, "attempt %llu: what %u and %u recorded is not concurrent but %s",
                         (unsigned long long)number, i, j,
                         cairn_order_text(cairn_vector_compare(a->parts[i].vector, a->parts[j].vector, w->count)));
            }
        }
    }
    if (money != w->total) {
        sim_fail(w, SIM_MONEY, "attempt %llu: %lld in the cut, %lld in the bank", (unsigned long long)number,
                 (long long)money, (long long)w->total);
    }
    check_steps(w, number, a);
}

/* --- the shell of a core ------------------------------------------------------------------------------------------ */

void sim_transmit(world *w, uint32_t from, uint32_t to, happening what)
{
    channel *c = &w->channels[from][to];
    uint64_t arrival = w->now + sim_delay(w, c->delay);

    if (arrival < c->last_arrival) {
        arrival = c->last_arrival;
    }
    c->last_arrival = arrival;
    what.kind = ARRIVE;
    what.from = from;
    what.to = to;
    sim_plan(w, arrival, what);
}

void sim_append(world *w, process *p, uint64_t number, uint32_t from, uint64_t sequence)
{
    part *mine = &sim_attempt_of(w, number)->parts[sim_id_of(w, p)];

    if (mine->in_flight[from] == 0) {
        mine->first[from] = sequence;
    } else if (sequence != mine->first[from] + mine->in_flight[from]) {
        sim_fail(w, SIM_CHANNEL, "attempt %llu: message %llu of %u does not follow in what %u records",
                 (unsigned long long)number, (unsigned long long)sequence, from, sim_id_of(w, p));
    }
    mine->in_flight[from]++;
}

static void take_record(world *w, process *p, const cl_output *out)
{
    uint32_t self = sim_id_of(w, p);
    part *mine = &sim_attempt_of(w, out->attempt)->parts[self];

    if (mine->recorded || mine->end != 0 || p->state != AT_POINT || p->finished || !out->release) {
        sim_fail(w, SIM_SHELL, "attempt %llu: %u is asked to record where it cannot", (unsigned long long)out->attempt,
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
            sim_append(w, p, out->attempt, i, p->mailbox[i].items[p->mailbox[i].first + k]);
        }
    }
}

static void note_end(world *w, process *p, uint64_t number, uint32_t end)
{
    attempt *a = sim_attempt_of(w, number);
    part *mine = &a->parts[sim_id_of(w, p)];

    if (mine->end != 0 &&
        !((mine->end == CL_REASON_SUPERSEDED || mine->end == CL_REASON_LOST) && end == ENDED_COMMIT)) {
        sim_fail(w, SIM_SHELL, "attempt %llu has two ends at %u", (unsigned long long)number, sim_id_of(w, p));
    }
    mine->end = end;
    mine->end_time = w->now;
    if (end == ENDED_COMMIT) {
        if (!a->commit_durable) {
            sim_fail(w, SIM_DURABLE, "attempt %llu is committed at %u, and there is no record of it",
                     (unsigned long long)number, sim_id_of(w, p));
        }
    } else if (end != CL_REASON_SUPERSEDED && end != CL_REASON_LOST && a->reason == 0) {
        a->reason = end;
    }
    if (a->commit_durable && a->reason != 0) {
        sim_fail(w, SIM_AGREEMENT, "attempt %llu is both committed and abandoned", (unsigned long long)number);
    }
}

static void ask_commit(world *w, process *p, const cl_output *out)
{
    attempt *a = sim_attempt_of(w, out->attempt);
    bool bad = sim_one_in(w, w->commit_failures);

    if (a->commit_asked || sim_id_of(w, p) != w->coordinator) {
        sim_fail(w, SIM_SHELL, "attempt %llu: %u is asked to commit it", (unsigned long long)out->attempt,
                 sim_id_of(w, p));
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (!a->parts[i].durable || a->parts[i].end == CL_REASON_HELD || a->parts[i].end == CL_REASON_FINISHED) {
            sim_fail(w, SIM_DURABLE, "attempt %llu is to be committed, and the part of %u is not durable",
                     (unsigned long long)out->attempt, i);
        }
    }
    a->commit_asked = true;
    sim_plan(w, w->now + sim_delay(w, w->disk),
             (happening){.kind = RECORD_WRITTEN, .to = sim_id_of(w, p), .number = out->attempt, .failed = bad});
}

static void release_held(process *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (p->held[i].count > 0) {
            sim_push(&p->mailbox[i], sim_pop(&p->held[i]));
        }
    }
}

static void send_control(world *w, process *p, const cl_send *send)
{
    uint32_t self = sim_id_of(w, p);

    sim_say(w, p, "sends %s(%llu, step %lld, reason %u) to %d", sim_message_text(send->message.kind),
            (unsigned long long)send->message.attempt, (long long)send->message.step, send->message.reason,
            (int)send->to);
    if (send->message.kind == CL_MSG_AT) {
        attempt *a = sim_attempt_of(w, send->message.attempt);

        if (a->leader != 0 && a->leader != self + 1) {
            sim_fail(w, SIM_SHELL, "attempt %llu: both %u and %u name an S", (unsigned long long)send->message.attempt,
                     a->leader - 1, self);
        }
        a->leader = self + 1;
        w->result->rounds++;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (i != self && (send->to == CL_ALL || send->to == i)) {
            sim_plan(w, w->now + sim_delay(w, w->control_delay),
                     (happening){.kind = CONTROL, .from = self, .to = i, .message = send->message});
        }
    }
}

/* What the core asks for, in the order that its header gives. DATA's answers are the caller's. */
static void carry_out(world *w, process *p, const cl_output *out)
{
    uint32_t self = sim_id_of(w, p);

    if (out->discard) {
        sim_say(w, p, "attempt %llu ends here, reason %d", (unsigned long long)out->ended, (int)out->ended_reason);
        note_end(w, p, out->ended, (uint32_t)out->ended_reason);
    }
    if (w->heard[self] && (out->record || out->commit || cl_attempt(p->core) != 0)) {
        sim_fail(w, SIM_SHELL, "%u goes on with attempt %llu after a loss", self, (unsigned long long)out->attempt);
    }
    if (out->record) {
        sim_say(w, p, "records attempt %llu", (unsigned long long)out->attempt);
        take_record(w, p, out);
    }
    if (out->release) {
        release_held(p, w->count);
    }
    for (uint32_t i = 0; out->send_markers && i < w->count; i++) {
        if (w->channels[self][i].exists) {
            cl_message marker = {.kind = CL_MSG_MARKER, .attempt = out->attempt, .step = out->cut_step};

            sim_transmit(w, self, i, (happening){.message = marker});
        }
    }
    if (out->complete) {
        sim_say(w, p, "has its part of attempt %llu complete", (unsigned long long)out->attempt);
        sim_attempt_of(w, out->attempt)->parts[self].complete = true;
        sim_plan(
            w, w->now + sim_delay(w, w->disk),
            (happening){
                .kind = PART_WRITTEN, .to = self, .number = out->attempt, .failed = sim_one_in(w, w->part_failures)});
    }
    if (out->commit) {
        ask_commit(w, p, out);
    }
    if (out->committed) {
        sim_say(w, p, "has attempt %llu committed", (unsigned long long)out->attempt);
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
        sim_digest(w, flags[i] ? i + 1 : 0);
    }
    for (uint32_t i = 0; i < out->send_count; i++) {
        sim_digest(w, (uint64_t)out->sends[i].message.kind << 32 | out->sends[i].to);
        sim_digest(w, out->sends[i].message.step);
    }
}

void sim_feed(world *w, process *p, cl_event event, cl_output *out)
{
    cl_output here;
    const char *broken = NULL;

    if (out == NULL) {
        out = &here;
    }
    cl_step(p->core, &event, out);
    sim_digest(w, (uint64_t)event.kind << 32 | (uint64_t)sim_id_of(w, p));
    digest_output(w, out);
    if (!w->options->blind && !cl_check(p->core, &broken)) {
        sim_fail(w, SIM_INVARIANT, "%s (process %u, event %d)", broken, sim_id_of(w, p), (int)event.kind);
    }
    carry_out(w, p, out);
}
