/* Local snapshots that are sent on to DIR, with an interval of their own: `--interval local=10,flush=60`. They outlive a
 * host then, and what DIR's file system takes of time is nobody's but a thread's that has nothing else to do.
 *
 * When a local snapshot is committed and it is time, the coordinator orders each process to copy its part to DIR, as it is,
 * under the same number (FLUSH), and hears from each (FLUSHED). Then it commits the snapshot as any other in DIR, with a
 * record that was made when the reports of the parts were there. One is under way at a time; its local parts stay
 * meanwhile. Whatever goes wrong - a part that was swept or is damaged, a full disk - ends it: the parts in DIR go, a line
 * says so, and the next interval tries a newer one. A recovery ends it as well: what it has left in DIR without a record
 * goes with the next pruning. A snapshot that is in both places is restored from DIR. */
#include "process/partner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void say(const cairn_process *p, uint64_t number, const char *why)
{
    fprintf(stderr, "cairn: process %" PRIu32 ": snapshot %" PRIu64 " not sent on to %s: %s\n", p->self, number, p->dir,
            why);
}

/* Nothing is under way here any more. A copy that is still being made ends by itself and leaves nothing. */
static void drop(cairn_process *p)
{
    atomic_store_explicit(&p->flush.unwanted, true, memory_order_relaxed);
    cairn_commit_task_free(p->flush.proposal);
    free(p->flush.there);
    p->flush.proposal = NULL;
    p->flush.there = NULL;
    p->flush.proposed = false;
    p->flush.number = 0;
}

/* The part in DIR goes; behind a copy that is still being made. */
static void remove_part(cairn_process *p, uint64_t number)
{
    task *t = p->flush.copier.started ? calloc(1, sizeof *t) : NULL;

    if (t != NULL) {
        t->kind = TASK_REMOVE;
        t->attempt = number;
        cairn_writer_post(&p->flush.copier, t);
    }
}

void cairn_flush_begin(cairn_process *p, double now)
{
    drop(p);
    p->flush.next = now + p->flush.interval;
}

/* ---------------------------------------------------------------- the coordinator */

static void order(cairn_process *p, uint32_t to, const flush_order *o)
{
    if (to == p->self) {
        cairn_flush_ordered(p, o);
    } else {
        cairn_send_control_bytes(p, to, CONTROL_FLUSH, 0, o, sizeof *o);
    }
}

void cairn_flush_prepare(cairn_process *p, uint64_t attempt, uint64_t step)
{
    if (p->flush.interval < 0.0 || p->flush.number != 0 || p->finishing || cairn_now() < p->flush.next) {
        return;
    }
    drop(p); /* what was prepared for one that was not committed */
    p->flush.there = calloc(p->count, sizeof *p->flush.there);
    p->flush.proposal = p->flush.there == NULL ? NULL : cairn_commit_task(p, attempt, step);
    if (p->flush.proposal == NULL) {
        say(p, attempt, "no memory");
        drop(p);
        return;
    }
    p->flush.proposal->flush = true;
}

void cairn_flush_committed(cairn_process *p, uint64_t attempt)
{
    const task *t = p->flush.proposal;

    if (p->self != COORDINATOR || t == NULL || p->flush.number != 0 || t->attempt != attempt) {
        return;
    }
    p->flush.next = cairn_now() + p->flush.interval;
    for (uint32_t i = 0; i < p->count && p->flush.proposal == t; i++) {
        const cairn_part_seal *seal = &t->commit.parts[i];

        order(p, i, &(flush_order){attempt, seal->bytes, seal->digest.high, seal->digest.low});
    }
}

static void give_up(cairn_process *p, uint64_t number)
{
    uint32_t count = p->count;

    drop(p);
    remove_part(p, number);
    for (uint32_t i = 0; i < count; i++) {
        if (i != p->self) {
            order(p, i, &(flush_order){.number = number});
        }
    }
}

void cairn_flush_reported(cairn_process *p, uint32_t from, uint64_t what)
{
    task *t = p->flush.proposal;

    if (p->self != COORDINATOR || t == NULL || p->flush.proposed || p->flush.number != what >> 1) {
        return;
    }
    if ((what & 1) == 0) {
        give_up(p, p->flush.number);
        return;
    }
    p->flush.there[from] = true;
    for (uint32_t i = 0; i < p->count; i++) {
        if (!p->flush.there[i]) {
            return;
        }
    }
    p->flush.proposal = NULL;
    p->flush.proposed = true;
    cairn_writer_post(&p->writer, t);
}

void cairn_flush_ended(cairn_process *p, uint64_t number, bool committed)
{
    if (p->flush.number != number) {
        return; /* there was a recovery meanwhile */
    }
    if (committed) {
        drop(p);
        cairn_writer_ask(p, TASK_PRUNE, 0);
    } else {
        give_up(p, number);
    }
}

void cairn_flush_undecided(cairn_process *p)
{
    drop(p);
    p->flush.interval = -1.0;
}

/* ---------------------------------------------------------------- every process */

static void report(cairn_process *p, uint64_t number, bool there)
{
    if (p->self == COORDINATOR) {
        cairn_flush_reported(p, p->self, number << 1 | (there ? 1 : 0));
    } else {
        cairn_send_control(p, COORDINATOR, CONTROL_FLUSHED, number << 1 | (there ? 1 : 0));
    }
}

void cairn_flush_ordered(cairn_process *p, const flush_order *o)
{
    task *t;

    if (o->bytes == 0) {
        if (p->flush.number == o->number) {
            drop(p);
        }
        remove_part(p, o->number);
        return;
    }
    /* Of one that is over the coordinator wants nothing any more, and the copier takes one after the other. */
    p->flush.number = o->number;
    t = p->finishing ? NULL : calloc(1, sizeof *t);
    if (t == NULL || (!p->flush.copier.started && cairn_writer_start(p, &p->flush.copier) != CAIRN_OK)) {
        free(t);
        if (!p->finishing) {
            say(p, o->number, "no memory");
        }
        report(p, o->number, false);
        return;
    }
    atomic_store_explicit(&p->flush.unwanted, false, memory_order_relaxed);
    t->kind = TASK_FLUSH;
    t->attempt = o->number;
    t->seal = (cairn_part_seal){o->bytes, {o->digest_high, o->digest_low}};
    cairn_writer_post(&p->flush.copier, t);
}

void cairn_flush_copy(const cairn_process *p, task *t)
{
    char source[CAIRN_LOCAL_BYTES];
    char folder[4096];

    cairn_local_part(p, t->attempt, source);
    cairn_store_snapshot_path(folder, sizeof folder, p->dir, t->attempt);
    t->status = cairn_part_copy(source, folder, p->self, &t->seal, &p->flush.unwanted, &t->error);
}

void cairn_flush_drive(cairn_process *p)
{
    writer *w = &p->flush.copier;

    if (!w->started || !atomic_load_explicit(&w->news, memory_order_acquire)) {
        return;
    }
    for (task *t = cairn_writer_results(w); t != NULL;) {
        task *next = t->next;

        if (t->kind == TASK_FLUSH && t->attempt == p->flush.number) {
            if (t->status != CAIRN_OK && t->status != CAIRN_E_STOPPED) {
                say(p, t->attempt, t->error.text);
            }
            if (p->self != COORDINATOR) {
                p->flush.number = 0;
            }
            report(p, t->attempt, t->status == CAIRN_OK);
        }
        free(t);
        t = next;
    }
}

bool cairn_flush_leave(cairn_process *p)
{
    if (p->flush.number != 0 && !p->flush.proposed) {
        remove_part(p, p->flush.number); /* nobody will go back to it */
        drop(p);
    }
    return p->flush.number != 0;
}

void cairn_flush_end(cairn_process *p)
{
    drop(p);
    if (!p->flush.copier.started) {
        return;
    }
    cairn_writer_end(&p->flush.copier);
    for (task *t = cairn_writer_results(&p->flush.copier); t != NULL;) {
        task *next = t->next;

        free(t);
        t = next;
    }
}
