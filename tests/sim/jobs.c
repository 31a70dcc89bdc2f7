/* The jobs on top of the simulated processes; see simulator.h. */
#include "world.h"

#include <cairn/clock.h>
#include <string.h>

/* --- the jobs ----------------------------------------------------------------------------------------------------- */

/* The job of p handles messages as they come: from the beginning, or when its loop is over. */
bool sim_serves(const world *w, const process *p)
{
    return w->job == SIM_BANK || w->job == SIM_BANK_CALLS || (w->job == SIM_PHASES && p->iteration == w->iterations);
}

static void send_note(world *w, process *p, uint32_t to, note_kind kind, int64_t amount)
{
    uint32_t self = sim_id_of(w, p);
    channel *c = &w->channels[self][to];
    note *n;

    c->log = sim_grow(c->log, &c->room, c->sent + 1, sizeof *c->log);
    n = &c->log[c->sent++];
    p->money -= amount;
    cairn_vector_local(p->vector, w->count, self);
    n->kind = kind;
    n->amount = amount;
    memcpy(n->vector, p->vector, sizeof n->vector);
    w->result->messages++;
    sim_transmit(w, self, to, (happening){.number = c->sent});
}

static note_kind consume(world *w, process *p, uint32_t from)
{
    uint64_t sequence = sim_pop(&p->mailbox[from]);
    const note *n = &w->channels[from][sim_id_of(w, p)].log[sequence - 1];

    if (sequence != p->consumed[from] + 1) {
        sim_fail(w, SIM_FIFO, "%u gets message %llu of %u after %llu", sim_id_of(w, p), (unsigned long long)sequence,
                 from, (unsigned long long)p->consumed[from]);
    }
    p->consumed[from] = sequence;
    p->progress++;
    p->money += n->amount;
    cairn_vector_receive(p->vector, n->vector, w->count, sim_id_of(w, p));
    return n->kind;
}

/* Some process that p has a channel to (and from, if both); NOBODY when there is none. */
static uint32_t pick_neighbour(world *w, const process *p, uint32_t bound, bool both)
{
    uint32_t self = sim_id_of(w, p);
    uint32_t start = (uint32_t)sim_below(w, w->count);

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
    uint32_t self = sim_id_of(w, p);

    return w->has_step[self] && !sim_serves(w, p) ? (p->iteration + w->offset[self]) * w->stride + 3 : CL_NO_STEP;
}

void sim_leave_point(world *w, process *p)
{
    if (p->told_point) {
        sim_feed(w, p, (cl_event){.kind = CL_LEAVE}, NULL);
    }
    p->told_point = false;
    p->last_left = p->label;
    p->state = COMPUTING;
}

/* Come to a safe point. soon: the job goes on at once, so that an idle core need not be told. */
void sim_come_to_point(world *w, process *p, bool soon)
{
    p->state = AT_POINT;
    p->label = label_of(w, p);
    soon = soon && !(p->lingering = !sim_serves(w, p) && w->lingers && sim_one_in(w, 2));
    if (p->lingering) {
        sim_plan(w, w->now + sim_delay(w, p->pace * (sim_one_in(w, 4) ? 30 : 1)),
                 (happening){.kind = WAKE, .to = sim_id_of(w, p)});
    }
    if (soon && w->fast && cl_idle(p->core)) {
        cl_passed(p->core, p->label);
    } else {
        p->told_point = true;
        sim_feed(w, p, (cl_event){.kind = CL_SAFEPOINT, .step = p->label}, NULL);
    }
}

void sim_finish_job(world *w, process *p)
{
    sim_say(w, p, "has finished its job");
    p->state = DONE;
    p->finished = true;
    w->first_finish = w->first_finish == 0 ? w->now + 1 : w->first_finish;
    sim_feed(w, p, (cl_event){.kind = CL_FINISHED}, NULL);
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
void sim_wake(world *w, process *p)
{
    uint32_t self = sim_id_of(w, p);

    if (p->state == AT_TOP || p->lingering) {
        p->lingering = false;
        p->started = true;
        return;
    }
    if (!sim_serves(w, p)) {
        p->state = RECEIVING;
        p->expected = 0;
        for (uint32_t i = 0; i < w->count; i++) {
            if (w->channels[self][i].exists) {
                send_note(w, p, i, NOTE_TRANSFER, (int64_t)sim_below(w, (uint64_t)p->money / 16 + 1));
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
            send_note(w, p, to, NOTE_TRANSFER, (int64_t)sim_below(w, (uint64_t)p->money + 1));
        }
        to = w->job == SIM_BANK_CALLS && sim_one_in(w, 2) ? pick_neighbour(w, p, self, true) : NOBODY;
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
            if (consume(w, p, i) == NOTE_ANSWER || !sim_serves(w, p)) {
                p->expected &= ~(1U << i);
            }
        }
        if ((p->expected >> i & 1U) && w->job != SIM_LOOP_ANY) {
            return; /* in turn */
        }
    }
}

/* Does the job wait for something that is held? Who waits for any of several can only tell after some idle time. */
void sim_check_held_wait(world *w, process *p, bool grace_over)
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
            sim_plan(w, w->now + 2000 * MILLISECOND,
                     (happening){.kind = GRACE, .to = sim_id_of(w, p), .number = p->progress});
        }
        return;
    }
    if (waits) {
        sim_say(w, p, "waits for a held message");
        sim_feed(w, p, (cl_event){.kind = CL_HELD_WAIT}, NULL);
        for (uint32_t i = 0; i < w->count; i++) {
            if (cl_holds(p->core, i)) {
                sim_fail(w, SIM_STUCK, "%u waits for what is held, and the attempt goes on", sim_id_of(w, p));
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
    if (sim_serves(w, p)) {
        from = next_mail(p, w->count);
        if (from == NOBODY && p->due == 0) {
            return false;
        }
        sim_leave_point(w, p);
        if (from != NOBODY && consume(w, p, from) == NOTE_CALL) {
            p->calls |= 1U << from;
        } else if (from != NOBODY && w->now < w->horizon && sim_one_in(w, 2)) {
            p->due++;
        }
    } else {
        sim_leave_point(w, p);
    }
    sim_plan(w, w->now + sim_delay(w, p->pace), (happening){.kind = WAKE, .to = sim_id_of(w, p)});
    return false;
}

/* Run the job of p as far as it goes by itself. */
void sim_advance(world *w, process *p)
{
    bool more = true;

    while (more && w->result->broken == SIM_OK) {
        switch (p->state) {
        case AT_TOP:
            if (!p->started) {
                return;
            }
            if (sim_serves(w, p) ? w->now >= p->stop : p->iteration == w->iterations) {
                sim_finish_job(w, p);
            } else {
                sim_come_to_point(w, p, !sim_serves(w, p) || p->due > 0 || next_mail(p, w->count) != NOBODY);
            }
            break;
        case AT_POINT:
            more = go_on(w, p);
            break;
        case RECEIVING:
            receive(w, p);
            if (p->expected != 0) {
                sim_check_held_wait(w, p, false);
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
