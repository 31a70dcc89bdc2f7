/* When so many acceptors have died at once that the rest is no majority, no view can be chosen, and nobody takes a place.
 * But the dead ones' logs are on disk, and that is all that an acceptor is: "Paxos Made Simple" (section 2.5) lets it
 * fail and come back from its stable storage. So a spare of the same host (or a process that does not vote, if there is no
 * spare) locks the log of one, and speaks for it until a view says who carries its process; then it lets go, and that rank
 * goes on from the log.
 *
 * Nothing is decided here, and nothing needs to be: the lock says that only one speaks, what the one before had promised
 * is in the log, and a message of it that comes late is as good as it ever was. That it has ended is the kernel's word
 * (detector/watch.h), never a suspicion. */
#include "process/consensus_parts.h"
#include "process/recover_parts.h"

#include <unistd.h>

#define TURN_SECONDS   0.05 /* spares try one after the other */
#define SILENT_SECONDS 1.0  /* without a leader, where the ends of the others' processes are not seen */

static uint32_t acceptor_peer(const consensus *c, uint32_t i)
{
    return c->place[c->group.acceptors[i]];
}

/* RC_NONE: none is known to have ended. */
static uint32_t find_dead(const cairn_process *p, uint32_t *living)
{
    const consensus *c = p->consensus;
    uint32_t dead = RC_NONE;

    *living = 0;
    for (uint32_t i = 0; i < c->group.acceptor_count; i++) {
        if (!cairn_detector_ended(p, acceptor_peer(c, i))) {
            ++*living;
        } else if (dead == RC_NONE) {
            dead = c->group.acceptors[i];
        }
    }
    return dead;
}

static bool is_leaderless(cairn_process *p, double now)
{
    const mp *core = cairn_replica_core(p->consensus->replica);
    uint32_t leader = mp_leader(core);
    double heard = cairn_consensus_leads(p) ? now : leader < p->peers ? (double)mp_heard(core, leader) * 1e-6 : 0.0;

    p->recovery->led_at = heard > p->recovery->led_at ? heard : p->recovery->led_at;
    return now > p->recovery->led_at + SILENT_SECONDS;
}

static bool votes(const cairn_process *p, uint32_t process)
{
    const cairn_group *group = &p->consensus->group;

    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        if (group->acceptors[i] == process) {
            return true;
        }
    }
    return false;
}

/* The higher the sooner: spares from the last rank of the launch down, spares that came later, processes. */
static uint64_t order_of(const cairn_process *p, uint32_t peer)
{
    const recovery *r = p->recovery;
    uint32_t rank = r->ranks[peer];
    bool is_launched = rank < r->spawn.first;

    return ((uint64_t)(peer >= p->count) << 33) + ((uint64_t)is_launched << 32) +
           (is_launched ? rank : p->peers - rank);
}

/* How many go before this one. */
static uint32_t turn(const cairn_process *p)
{
    const recovery *r = p->recovery;
    uint32_t before = 0;

    for (uint32_t i = 0; i < p->peers; i++) {
        uint32_t rank = r->ranks[i];
        bool can = rank != RC_NONE && rank < r->spawn.next && !r->spawn.unborn[rank] && !cairn_detector_ended(p, i) &&
                   (i >= p->count || !votes(p, i));

        before += can && i != p->self && order_of(p, i) > order_of(p, p->self);
    }
    return before;
}

/* A process that asks the service itself would see its questions refused. */
static bool can(const cairn_process *p)
{
    return p->self >= p->count || (!votes(p, p->self) && p->coords == NULL && p->ready[p->self] && !p->finishing);
}

static void leave(const cairn_error *error)
{
    fprintf(stderr, "cairn: a spare cannot vote: %s\n", error->text);
    _exit(CAIRN_EXIT_AGAIN); /* the others hear nothing of it any more, and find another one */
}

static void step_back(cairn_process *p)
{
    cairn_error error = {CAIRN_OK, ""};

    p->recovery->stands_in = false;
    if (cairn_consensus_step_back(p, &error) != CAIRN_OK) {
        leave(&error);
    }
}

void stand_in_moved(cairn_process *p, uint32_t process)
{
    p->recovery->steps_back = p->recovery->steps_back || (p->recovery->stands_in && p->consensus->self == process);
}

void stand_in_drive(cairn_process *p, double now)
{
    recovery *r = p->recovery;
    uint32_t living;
    uint32_t dead;
    bool leaderless;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status;

    if (r->taking || p->consensus->replica == NULL || p->consensus->failed) {
        return;
    }
    if (r->stands_in) {
        if (r->steps_back) {
            step_back(p);
        }
        return;
    }
    r->steps_back = false;
    if (!can(p)) {
        return;
    }
    leaderless = is_leaderless(p, now);
    dead = find_dead(p, &living);
    if (dead == RC_NONE || (living >= px_majority(p->consensus->group.acceptor_count) && !leaderless)) {
        r->needed_since = 0.0;
        return;
    }
    r->needed_since = r->needed_since > 0.0 ? r->needed_since : now;
    if (now < r->needed_since + TURN_SECONDS * (turn(p) + 1)) {
        return;
    }
    r->needed_since = 0.0;
    status = cairn_consensus_stand_in(p, dead, &error);
    if (status == CAIRN_OK) {
        r->stands_in = true;
    } else if (status != CAIRN_E_BUSY) {
        leave(&error);
    }
}
