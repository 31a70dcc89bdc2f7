/* When a process dies and the others go on: what is dropped, what ends, who is told. That a process is lost is not
 * decided here. */
#include "process/consensus.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define END_ROUNDS   20
#define END_PAUSE_NS 1000000L
#define LAST_TESTS   200 /* a long payload whose last pieces are in our memory already is whole after so many */

bool cairn_may_lose(const cairn_process *p, uint32_t who)
{
    return p->survive && who < p->count && p->lost[who] == LOST_NOT && p->ready[who] && !p->left[who] && !p->all_left;
}

void cairn_fenced(cairn_process *p)
{
    /* Not through exit(): what is left in stdio's buffers may have been said by another one by now. And its last sign of
     * life stays that of a process that was killed. */
    if (p->self < p->count) {
        fprintf(stderr, "cairn: process %u: declared lost by the others\n", p->self);
    }
    _exit(CAIRN_EXIT_AGAIN);
}

void cairn_lose(cairn_process *p, uint32_t who)
{
    if (!p->survive || who >= p->peers || p->lost[who] != LOST_NOT) {
        return;
    }
    if (who == p->self) {
        cairn_fenced(p);
    }
    if (who >= p->count) {
        return;
    }
    p->lost[who] = LOST_DECIDED;
    p->losing = true;
}

void cairn_say_ready(cairn_process *p)
{
    if (p->survive && !p->ready[p->self]) {
        p->ready[p->self] = true;
        cairn_send_ready(p, 0);
        cairn_recovery_ready(p, p->self, &(ready_report){0});
    }
}

uint32_t cairn_coordinator(const cairn_process *p)
{
    uint32_t lowest = 0;

    while (lowest < p->self && p->lost[lowest] != LOST_NOT) {
        lowest++;
    }
    return lowest;
}

/* What came before the end: frames, and payloads of which all is here. */
static void take_last(cairn_process *p, uint32_t who)
{
    cairn_frame frame;

    while (p->fatal == CAIRN_OK && cairn_link_poll(p->link, who, &frame)) {
        cairn_dispatch(p, &frame);
    }
    for (size_t i = 0; i < p->incoming_count;) {
        node *n = p->incoming[i];
        bool whole = false;

        for (int k = 0; n->from == who && !whole && k < LAST_TESTS; k++) {
            whole = n->transfer != NULL && cairn_arrived(p, n);
        }
        i += whole ? 0 : 1;
    }
}

/* From the first payload on that will never be whole nothing of this queue can be delivered. MPI may still write to
 * such a payload: its memory is given up. */
static void cut_off(cairn_process *p, queue *q)
{
    node **at = &q->first;

    while (*at != NULL && (*at)->transfer == NULL) {
        at = &(*at)->next;
    }
    for (node *n = *at; n != NULL;) {
        node *next = n->next;

        if (n->transfer == NULL) {
            cairn_node_release(p, n);
        }
        n = next;
    }
    *at = NULL;
    q->end = at;
}

static void forget_incoming(cairn_process *p, uint32_t who)
{
    size_t kept = 0;

    for (cairn_request *r = p->posted; r != NULL; r = r->next) {
        if (r->got != NULL && r->got->from == who && r->got->transfer != NULL) {
            r->got = NULL;
        }
    }
    for (uint32_t s = 0; s < CAIRN_STREAMS; s++) {
        cut_off(p, &p->channels[who].box[s]);
    }
    for (size_t i = 0; i < p->incoming_count; i++) {
        if (p->incoming[i]->from != who) {
            p->incoming[kept++] = p->incoming[i];
        }
    }
    p->incoming_count = kept;
}

void cairn_end_all(cairn_process *p, int code)
{
    const struct timespec pause = {0, END_PAUSE_NS};
    cairn_frame frame;

    cairn_beat_now(p, p->finishing && !p->stopped ? CAIRN_PHASE_FINISHING : CAIRN_PHASE_RUNNING, code);
    if (p->survive) {
        cairn_send_control(p, CL_ALL, CONTROL_END, (uint64_t)code);
        for (int i = 0; i < END_ROUNDS; i++) { /* whoever does not take it is ended by `cairn run` */
            if (cairn_link_poll_any(p->link, &frame)) {
                cairn_link_consume(p->link, &frame);
            }
            (void)nanosleep(&pause, NULL);
        }
    }
    cairn_link_abort(p->link, code);
}

void cairn_ended(cairn_process *p, uint64_t code)
{
    (void)p;
    _exit((int)code);
}

/* This job cannot go on without it: the leader ends the launch, and the restart is `cairn run`'s. */
static void end_launch(cairn_process *p, uint32_t who)
{
    if (p->fatal == CAIRN_OK) {
        p->fatal = cairn_fail(&p->error, CAIRN_E_PEER, "process %u is lost", who);
    }
    if (cairn_consensus_leads(p)) {
        fprintf(stderr, "cairn: process %u is lost, and this job cannot go on without it\n", who);
        cairn_end_all(p, CAIRN_EXIT_AGAIN);
    }
}

static void lose(cairn_process *p, uint32_t who)
{
    take_last(p, who);
    cairn_core_event(p, CL_LOST, 0); /* releases what was held, too */
    p->lost[who] = LOST_GONE;
    p->lost_count++;
    p->lost_untold++;
    p->beat.lost = p->lost_count;
    p->can_snapshot = false;
    forget_incoming(p, who);
    /* If it only sleeps: what would tell it that it is lost may have been left out (BACKLOG_MAX in consensus.c), and
     * nobody talks to it any more. MPI keeps this word for it. */
    cairn_send_control(p, who, CONTROL_LOST, 0);
    cairn_link_lose(p->link, who);
    cairn_beat_now(p, p->beat.phase, -1);
    if (p->left[who] || p->all_left) {
        return;
    }
    if (p->on_lost == NULL) {
        end_launch(p, who);
    } else if (cairn_consensus_leads(p)) {
        fprintf(stderr, "cairn: process %u is lost; the others go on%s\n", who,
                p->lost_count == 1 && p->dir[0] != '\0' ? "; no more snapshots in this launch" : "");
    }
}

void cairn_lost_drive(cairn_process *p)
{
    if (p->consensus != NULL && !p->recover) {
        cairn_detect(p);
    }
    if (!p->losing) {
        return;
    }
    p->losing = false;
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->lost[i] == LOST_DECIDED) {
            lose(p, i);
        }
    }
}

bool cairn_is_gone(const cairn_process *p, uint32_t from, uint32_t stream)
{
    if (p->lost_count == 0) {
        return false;
    }
    if (stream != 0 || (from == CAIRN_ANY && p->lost_count == p->count - 1)) {
        return true;
    }
    return from != CAIRN_ANY && p->lost[from] >= LOST_GONE;
}

cairn_status cairn_say_gone(cairn_process *p, uint32_t peer, const char *what)
{
    if (peer < p->count && p->lost[peer] >= LOST_GONE) {
        return cairn_say(p, CAIRN_E_PEER, "%s: process %u is lost", what, peer);
    }
    for (peer = 0; p->lost[peer] < LOST_GONE;) {
        peer++;
    }
    return cairn_say(p, CAIRN_E_PEER, "%s: process %u is lost%s", what, peer,
                     p->lost_count == p->count - 1 && p->lost_count > 1 ? ", and all others" : "");
}

cairn_status cairn_tell_lost(cairn_process *p)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < p->count && p->lost_untold > 0 && status == CAIRN_OK; i++) {
        if (p->lost[i] == LOST_GONE) {
            p->lost[i] = LOST_TOLD;
            p->lost_untold--;
            if (p->on_lost != NULL) {
                cairn_exit_call(p);
                status = p->on_lost(p, i, p->lost_context);
                cairn_enter(p);
            }
        }
    }
    return status;
}

/* ---------------------------------------------------------------- for the job */

bool cairn_survives(const cairn_process *p)
{
    return p->survive && !p->recover;
}

bool cairn_alive(const cairn_process *p, uint32_t id)
{
    return id < p->count && p->lost[id] < LOST_GONE;
}

void cairn_lost_handler(cairn_process *p, cairn_lost handler, void *context)
{
    cairn_enter(p);
    p->on_lost = handler;
    p->lost_context = context;
    cairn_say_ready(p);
    cairn_exit_call(p);
}
