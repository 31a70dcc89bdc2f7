/* Recovery in place: the shell of recovery/recovery.c. A view is the value of the key "cairn/view/RUN/LAUNCH"; what the
 * core wants to know is looked up while anything is driven, and what it says is carried out here.
 *
 * Who drives learns of a view in the middle of any call, or in the service thread. So installing it (links, incarnation,
 * the snapshot core) touches nothing that the job's thread may be in the middle of: from then on calls return
 * CAIRN_E_ROLLBACK, and cairn_recover, where that thread is in nothing else, does the rest. */
#include "base/environment.h"
#include "process/partner.h"
#include "process/recover_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RECOVERING_SECONDS 2.0 /* more patience while state is read back */
#define READ_PER_SECOND    2e8 /* bytes, a careful guess */
#define COPIED_PER_SECOND  5e8
#define LOCK_SECONDS       5.0  /* for the log of the one before to be let go */
#define NAME_SECONDS       2.0  /* for the snapshot's record to be here */
#define DESPAIR_SECONDS    12.0 /* for a rank to be spawned */
#define DOUBT_SECONDS      1.0  /* for a spare that seems lost to speak again */
#define SPARE_PAUSE_MS     2
#define SPARE_DOZE_MS      10  /* when nothing was agreed on of late: a spare costs a process a core now and then */
#define SPARE_AWAKE        100 /* pauses that are short after something was, or somebody has ended */

static void act(cairn_process *p, const rc_event *event);

/* ---------------------------------------------------------------- the log */

uint64_t cairn_recovery_view_key(const cairn_process *p, char key[CAIRN_LOST_KEY_BYTES])
{
    (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "cairn/view/%s/%u", p->run, p->launch);
    return p->recovery == NULL ? 0 : p->recovery->view_revision;
}

static void read_view(cairn_process *p)
{
    recovery *r = p->recovery;
    char key[CAIRN_LOST_KEY_BYTES];
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};
    rc_event event = {.kind = RC_CHOSEN, .view = &r->seen};

    (void)cairn_recovery_view_key(p, key);
    if (cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.status != CAIRN_OK ||
        response.kv_count != 1 || response.kvs[0].modified <= r->view_revision) {
        return;
    }
    if (!rc_view_get((const uint8_t *)response.kvs[0].value, response.kvs[0].bytes, p->count, p->peers, &r->seen)) {
        if (p->fatal == CAIRN_OK) {
            p->fatal = cairn_fail(&p->error, CAIRN_E_BUG, "the key %s holds no view of %u processes", key, p->count);
        }
        return;
    }
    r->view_revision = response.kvs[0].modified;
    act(p, &event);
}

static void on_answer(void *context, const cairn_response *response)
{
    (void)response; /* chosen or not: the state says which */
    ((recovery *)context)->answered = true;
}

static void propose(cairn_process *p)
{
    recovery *r = p->recovery;
    char key[CAIRN_LOST_KEY_BYTES];
    char local[CAIRN_LOST_KEY_BYTES];
    char memory[CAIRN_LOST_KEY_BYTES];
    uint64_t number;
    uint64_t newest = cairn_commit_newest(p, r->before);
    bool voided = cairn_levels_voided(p) && rc_proposal(r->core)->snapshot < p->level.voided.snapshot;
    uint64_t tag;
    /* A snapshot that is not in DIR lives no longer than the next one: no view may miss it. */
    cairn_compare unchanged[3] = {
        {.kind = CAIRN_COMPARE_MODIFIED, .key = key, .number = cairn_recovery_view_key(p, key)},
        {.kind = CAIRN_COMPARE_MODIFIED,
         .key = memory,
         .number = cairn_levels_key(p, CAIRN_LEVEL_MEMORY, memory, &number)},
        {.kind = CAIRN_COMPARE_MODIFIED,
         .key = local,
         .number = cairn_levels_key(p, CAIRN_LEVEL_LOCAL, local, &number)}};
    char gone[CAIRN_LOST_KEY_BYTES];
    cairn_do then[2] = {{.kind = CAIRN_DO_PUT,
                         .key = key,
                         .value = (const char *)r->bytes,
                         .bytes = rc_view_bytes(p->count, p->peers)}};
    cairn_question question = {.op = CAIRN_OP_TXN,
                               .flags = CAIRN_REQUEST_REPEAT,
                               .key = "",
                               .txn = {.compares = unchanged, .then = then, .then_count = 1}};

    if (newest > rc_proposal(r->core)->snapshot && !voided) {
        r->answered = true; /* it has learned of that one meanwhile: once more */
        return;
    }
    question.txn.compare_count = p->level.on ? 3 : 1;
    for (uint32_t i = CAIRN_LEVEL_LOCAL; voided && i < CAIRN_LEVELS; i++) {
        (void)cairn_levels_key(p, (cairn_level)i, gone, &number);
        if (number == p->level.voided.snapshot) {
            then[question.txn.then_count++] = (cairn_do){.kind = CAIRN_DO_DELETE, .key = gone};
            break;
        }
    }
    rc_view_put(r->bytes, rc_proposal(r->core), p->count, p->peers);
    r->answered = cairn_consensus_ask(p, &question, on_answer, r, &tag) != CAIRN_OK;
}

/* ---------------------------------------------------------------- a new view */

uint32_t recovery_peer_of(const cairn_process *p, uint32_t rank)
{
    for (uint32_t i = 0; i < p->peers; i++) {
        if (p->recovery->ranks[i] == rank) {
            return i;
        }
    }
    return RC_NONE;
}

/* Payloads on their way from it will never be whole, and MPI may still write to them: their memory is given up. */
static void forget_incoming(cairn_process *p, uint32_t who)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->incoming_count; i++) {
        if (p->incoming[i]->from != who) {
            p->incoming[kept++] = p->incoming[i];
        }
    }
    p->incoming_count = kept;
}

/* The last word to a rank that is out, in case it only sleeps. */
static void dismiss(cairn_process *p, uint32_t peer)
{
    cairn_send_control(p, peer, CONTROL_LOST, 0);
    forget_incoming(p, peer);
    cairn_copies_lost(p, peer);
}

static void move_links(cairn_process *p, const rc_view *view)
{
    recovery *r = p->recovery;

    for (uint32_t k = 0; k < p->count; k++) {
        uint32_t from = recovery_peer_of(p, view->carrier[k]);

        if (from == k || from == RC_NONE) {
            continue;
        }
        dismiss(p, k);
        cairn_link_carry(p->link, k, from);
        r->ranks[k] = r->ranks[from];
        r->ranks[from] = RC_NONE;
        p->left[k] = false;
        if (p->self == from) {
            p->self = k;
            r->taking = true;
        }
        cairn_consensus_moved(p, k, from);
        cairn_detector_moved(p, k, from);
        stand_in_moved(p, k);
    }
    /* Spares that were lost, or that a view that was missed here had given a process. */
    for (uint32_t peer = p->count; peer < p->peers; peer++) {
        if (r->ranks[peer] != RC_NONE && view->out[r->ranks[peer]]) {
            dismiss(p, peer);
            cairn_link_lose(p->link, peer);
            cairn_consensus_moved(p, RC_NONE, peer);
            r->ranks[peer] = RC_NONE;
        }
    }
}

static void install(cairn_process *p)
{
    const rc_view *view = rc_current(p->recovery->core);
    bool spare = p->self >= p->count;

    if (p->finishing) {
        /* Its part of the answer is out already; what the lost one would have said is not. */
        fprintf(stderr, "cairn: a process was lost while others were leaving\n");
        cairn_end_all(p, CAIRN_EXIT_AGAIN);
    }
    move_links(p, view);
    p->incarnation = p->launch + view->number;
    cairn_copies_viewed(p);
    cairn_levels_viewed(p);
    /* No attempt may have its number again, also if nobody who met it lives: its cut would be taken for the other's. */
    p->recovery->latest = view->snapshot > p->recovery->latest ? view->snapshot : p->recovery->latest;
    cairn_kills_again(p);
    if (spare) {
        return;
    }
    cairn_cut_rolled_back(p, view->snapshot);
    p->core = cl_init(p->core, p->count, p->self, COORDINATOR, NULL, NULL, cl_latest(p->core));
    p->active = false;
    p->at_safepoint = false;
    p->can_snapshot = false;
    p->undecided = false;
    p->stop_begun = false;
    if (p->fatal == CAIRN_OK) {
        p->fatal = cairn_fail(&p->error, CAIRN_E_ROLLBACK, "a process was lost: all go back to snapshot %llu",
                              (unsigned long long)view->snapshot);
    }
}

/* "process 1", "processes 1 and 3", "processes 0, 1 and 3": whose carriers are others than when the job last went on. */
static uint32_t name_moved(const cairn_process *p, char *text, size_t bytes)
{
    const recovery *r = p->recovery;
    const rc_view *view = rc_current(r->core);
    uint32_t total = 0;
    uint32_t named = 0;
    size_t used;

    for (uint32_t k = 0; k < p->count; k++) {
        total += view->carrier[k] != r->resumed[k];
    }
    used = (size_t)snprintf(text, bytes, total == 1 ? "process" : "processes");
    for (uint32_t k = 0; k < p->count && used < bytes; k++) {
        if (view->carrier[k] != r->resumed[k]) {
            named++;
            used += (size_t)snprintf(text + used, bytes - used, "%s %u",
                                     named == 1       ? ""
                                     : named == total ? " and"
                                                      : ",",
                                     k);
        }
    }
    return total;
}

static void say_recovered(cairn_process *p)
{
    const recovery *r = p->recovery;
    char who[200];
    char when[80] = "";
    char sources[200];
    uint32_t total = name_moved(p, who, sizeof who);

    if (r->heard > 0.0) {
        (void)snprintf(when, sizeof when, ", noticed after %.2f s, %.2f s in all", r->noticed - r->heard,
                       cairn_now() - r->heard);
    }
    cairn_copies_sources(p, r->resumed, sources, sizeof sources);
    fprintf(stderr, "cairn: %s recovered in place on %s from snapshot %llu%s%s\n", who,
            total == 1 ? "a spare" : "spares", (unsigned long long)rc_current(r->core)->snapshot, sources,
            when); /* at once: others write there, too */
}

static void resume(cairn_process *p)
{
    recovery *r = p->recovery;
    uint64_t latest = cl_latest(p->core) > r->latest ? cl_latest(p->core) : r->latest;

    if (cl_idle(p->core)) { /* else it has met an attempt of somebody who has resumed: later than all before */
        p->core = cl_init(p->core, p->count, p->self, COORDINATOR, NULL, NULL, latest);
    }
    p->can_snapshot = p->consensus != NULL;
    p->attempt_began = cairn_now();
    p->next_snapshot = p->attempt_began + (p->interval_auto ? 1.0 : p->interval);
    cairn_levels_begin(p, p->attempt_began);
    p->recorded_at = p->attempt_began;
    if (cairn_consensus_leads(p)) {
        say_recovered(p);
    }
    cairn_copies_resumed(p);
    r->heard = 0.0;
    memcpy(r->resumed, rc_current(r->core)->carrier, p->count * sizeof *r->resumed);
}

/* Nothing in this launch helps, this leader believes. It may be wrong, and itself the one who was away: so not at once,
 * and only if a majority still answers it (a linearizable read). Then it ends the launch, and `cairn run` launches anew. */
static void despair(cairn_process *p, rc_reason reason)
{
    recovery *r = p->recovery;
    bool spawns = reason == RC_NO_SPARE && spawn_is_possible(p); /* one is made: spawn_consider */

    r->reason = reason;
    r->despair_at = cairn_now() + (spawns ? DESPAIR_SECONDS : DOUBT_SECONDS);
}

static void on_heard(void *context, const cairn_response *response)
{
    cairn_process *p = context;
    recovery *r = p->recovery;
    uint32_t who;

    r->asking = false;
    if (response->status != CAIRN_OK && response->status != CAIRN_E_NOT_FOUND) {
        return;
    }
    if (!cairn_consensus_leads(p) || (who = rc_lost(r->core)) == RC_NONE) {
        return;
    }
    fprintf(stderr, "cairn: process %u is lost, and %s\n", who,
            r->reason == RC_NO_SPARE ? "there is no spare left to carry it" : "no snapshot is committed to go back to");
    cairn_end_all(p, CAIRN_EXIT_AGAIN);
}

static void end_if_heard(cairn_process *p)
{
    cairn_question question = {.op = CAIRN_OP_READ, .key = "cairn/none"};
    uint64_t tag;

    p->recovery->asking = cairn_consensus_ask(p, &question, on_heard, p, &tag) == CAIRN_OK;
}

static void act(cairn_process *p, const rc_event *event)
{
    rc_output out;

    rc_step(p->recovery->core, event, &out);
    if (out.fenced) {
        cairn_fenced(p);
    }
    if (out.begun) {
        cairn_send_control(p, CL_ALL, CONTROL_BEGUN, 0);
    }
    if (out.install) {
        install(p);
    }
    if (out.ready) {
        cairn_send_ready(p, rc_current(p->recovery->core)->number);
    }
    if (out.resume) {
        resume(p);
    }
    if (out.propose) {
        propose(p);
    }
    if (out.hopeless != RC_HOPE) {
        despair(p, out.hopeless);
    }
}

/* ---------------------------------------------------------------- who is silent */

/* Who records or reads a snapshot of much state is silent while it does: seconds more. */
static double patience(const cairn_process *p)
{
    double bytes = p->core == NULL ? 0.0 : (double)cairn_array_bytes(p);

    if (!rc_running(p->recovery->core)) {
        return RECOVERING_SECONDS + bytes / READ_PER_SECOND;
    }
    return p->active ? 4.0 * p->stats.blocked + bytes / COPIED_PER_SECOND : 0.0;
}

static void tell_committed(cairn_process *p)
{
    rc_event committed = {.kind = RC_COMMITTED, .number = cairn_commit_newest(p, p->recovery->before)};

    act(p, &committed);
}

/* Somebody cannot have its part of the snapshot that all go back to: then to the newest that is older, on any level. */
static void go_further_back(cairn_process *p)
{
    rc_event event = {.kind = RC_VOID, .number = p->level.voided.snapshot};

    event.older = cairn_commit_newest_durable(p, p->recovery->before);
    event.older = event.older == 0 ? p->recovery->begun_from : event.older;
    event.older = cairn_levels_below(p, event.older, event.number);
    if (event.older == 0) {
        fprintf(stderr, "cairn: snapshot %llu is lost, and there is no older one to go back to\n",
                (unsigned long long)event.number);
        cairn_end_all(p, CAIRN_EXIT_AGAIN);
    }
    act(p, &event);
}

static void look(cairn_process *p, double now)
{
    recovery *r = p->recovery;
    double more = patience(p);
    rc_event reserved = {.kind = RC_RESERVED, .rank = r->spawn.anchor, .yes = spawn_needs_anchor(p)};
    rc_event looked = {.kind = RC_LOOKED};
    bool lost = false;

    for (uint32_t i = 0; i < p->peers; i++) {
        if (r->ranks[i] != RC_NONE) {
            r->silent[r->ranks[i]] = i != p->self && !(i < p->count && (p->left[i] || p->all_left)) &&
                                     (now >= r->spawn.forgiven[i] || cairn_detector_ended(p, i)) &&
                                     cairn_detector_suspects(p, i, now, more);
            lost = lost || (i < p->count && r->silent[r->ranks[i]]);
        }
    }
    act(p, &reserved);
    if (lost) {
        tell_committed(p);
    }
    for (uint32_t i = p->peers; i-- > 0;) { /* spares first: a place where nobody is yet must not be taken for one */
        rc_event event = {.kind = RC_SUSPECT, .rank = r->ranks[i]};

        if (i == p->self || r->ranks[i] == RC_NONE) {
            continue;
        }
        event.yes = r->silent[event.rank] || !spawn_is_usable(p, event.rank);
        if (event.yes && r->heard <= 0.0 && i < p->count) {
            r->heard = now - cairn_detector_silence(p, i);
            r->noticed = now;
        }
        act(p, &event);
    }
    act(p, &looked);
    if (rc_lost(r->core) == RC_NONE && (rc_running(r->core) || r->watched == rc_current(r->core)->number)) {
        r->heard = 0.0; /* it spoke again in time */
    }
    if (rc_lost(r->core) == RC_NONE) {
        r->despair_at = 0.0;
    } else if (r->despair_at > 0.0 && now > r->despair_at && !r->asking) {
        if (spawn_frees_anchor(p)) {
            r->despair_at = now + DOUBT_SECONDS;
        } else {
            end_if_heard(p);
        }
    }
    if (cairn_levels_voided(p)) {
        go_further_back(p);
    }
    spawn_consider(p, now);
}

void cairn_recovery_drive(cairn_process *p, double now)
{
    recovery *r = p->recovery;
    uint64_t revision = cairn_consensus_revision(p);
    bool leads = cairn_consensus_leads(p);

    if (revision != r->revision) {
        r->revision = revision;
        read_view(p);
    }
    if (leads != r->leads) {
        rc_event event = {.kind = RC_LEADS, .yes = leads};

        r->leads = leads;
        act(p, &event);
    }
    if (r->answered) {
        rc_event event = {.kind = RC_REFUSED};

        r->answered = false;
        tell_committed(p);
        act(p, &event);
    }
    if (p->consensus != NULL && (now >= r->look || cairn_detector_sighted(p))) {
        if (cairn_detector_look(p, now) && leads) {
            look(p, now);
        }
        r->look = cairn_detector_next(p, now);
        stand_in_drive(p, now);
    }
    spawn_drive(p);
}

void cairn_recovery_look(cairn_process *p, double at)
{
    if (p->recovery != NULL) {
        p->recovery->look = at;
    }
}

/* Who only watches: as resume, for who leads. */
static void watch_resume(cairn_process *p)
{
    recovery *r = p->recovery;

    if (p->self < p->count || r->watched == rc_current(r->core)->number || !rc_all_ready(r->core)) {
        return;
    }
    r->watched = rc_current(r->core)->number;
    if (cairn_consensus_leads(p)) {
        say_recovered(p);
    }
    r->heard = 0.0;
    memcpy(r->resumed, rc_current(r->core)->carrier, p->count * sizeof *r->resumed);
}

void cairn_recovery_ready(cairn_process *p, uint32_t from, const ready_report *report)
{
    recovery *r = p->recovery;
    rc_event event = {.kind = RC_READY, .number = report->view};
    bool all = true;

    if (r == NULL || r->ranks[from] == RC_NONE) {
        return;
    }
    r->latest = report->latest > r->latest ? report->latest : r->latest;
    event.rank = r->ranks[from];
    cairn_copies_heard(p, event.rank, report);
    if (report->view == 0) {
        event.kind = RC_STARTED;
        for (uint32_t i = 0; i < p->count; i++) {
            all = all && p->ready[i];
        }
    }
    if (all) {
        act(p, &event);
        watch_resume(p);
    }
}

void cairn_recovery_began(cairn_process *p, uint64_t number)
{
    if (p->recovery != NULL && number > p->recovery->before) {
        p->recovery->before = number;
        p->recovery->latest = number > p->recovery->latest ? number : p->recovery->latest;
    }
}

void cairn_recovery_restored(cairn_process *p, uint64_t number)
{
    rc_event event = {.kind = RC_COMMITTED, .number = number};

    if (p->recovery != NULL) {
        p->recovery->begun_from = number == p->level.local ? 0 : number;
        act(p, &event);
    }
}

void cairn_recovery_begun(cairn_process *p)
{
    rc_event event = {.kind = RC_STARTED};

    if (p->recovery != NULL) {
        act(p, &event);
    }
}

uint32_t cairn_recovery_rank(const cairn_process *p, uint32_t process)
{
    return p->recovery == NULL ? process : p->recovery->ranks[process];
}

/* ---------------------------------------------------------------- going back */

/* What is left of what was on its way. */
static cairn_status clear_channels(cairn_process *p)
{
    waiting w = {0};
    cairn_status status;

    while ((status = cairn_requests_void(p)) == CAIRN_E_AGAIN) {
        status = cairn_pause(p, &w);
        if (status == CAIRN_E_TIMEOUT) {
            return cairn_fail(&p->error, status, "cairn_recover: a send was not taken within %.3g s", p->deadline);
        }
        if (status != CAIRN_OK && status != CAIRN_E_STOPPED) {
            return status;
        }
    }
    p->wish = (wish){0};
    for (uint32_t i = 0; i < p->count; i++) {
        queue *queues[] = {&p->channels[i].box[0], &p->channels[i].box[1], &p->channels[i].held};

        for (size_t q = 0; q < sizeof queues / sizeof queues[0]; q++) {
            node *n;

            while ((n = cairn_queue_pop(queues[q])) != NULL) {
                cairn_node_release(p, n);
            }
        }
    }
    return CAIRN_OK;
}

/* It is not in DIR, and this process's part is lost: until there is a view that goes back further. */
static cairn_status cannot(cairn_process *p, uint64_t number)
{
    waiting w = {0};
    cairn_status status = CAIRN_OK;

    fprintf(stderr, "cairn: process %u: its part of snapshot %llu was not in DIR and is lost: all go back further\n",
            p->self, (unsigned long long)number);
    cairn_levels_void(p, number);
    while (status == CAIRN_OK) {
        status = cairn_pause(p, &w);
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_fail(&p->error, status, "cairn_recover: there was no older snapshot to go back to within %.3g s",
                          p->deadline);
    }
    return status;
}

/* From memory if the snapshot is still there, the own or that of who keeps a copy. Else from its file: it counts, but
 * whoever committed it may have died before its record got its name. */
static cairn_status load(cairn_process *p, uint64_t number, cairn_restored *out)
{
    const struct timespec pause = {0, SPARE_PAUSE_MS * 1000000L};
    const cut *copy = p->kept;
    double end;
    cairn_status status;

    cairn_copies_from(p, number, CAIRN_FROM_OWN);
    if (copy != NULL && copy->head.number == number) {
        return cairn_restore_cut(p, copy, out);
    }
    status = cairn_copies_fetch(p, number, &copy);
    if (status != CAIRN_E_NOT_FOUND) {
        return status == CAIRN_OK ? cairn_restore_cut(p, copy, out) : status;
    }
    cairn_copies_from(p, number, CAIRN_FROM_FILE);
    end = cairn_now() + NAME_SECONDS;
    while ((status = cairn_restore_part(p, number, out)) == CAIRN_E_NOT_FOUND && cairn_now() < end) {
        if (cairn_levels_newest(p) == number) {
            return cairn_restore_local(p, number, out) == CAIRN_OK ? CAIRN_OK : cannot(p, number);
        }
        (void)cairn_commit_name(p, number, &p->error);
        cairn_drive(p);
        if (p->fatal != CAIRN_OK) {
            return p->fatal; /* another view, perhaps */
        }
        (void)nanosleep(&pause, NULL);
    }
    if (status == CAIRN_OK && p->copies != NULL) {
        fprintf(stderr,
                "cairn: process %u: no copy of its part of snapshot %llu is in anybody's memory; it was read from its "
                "file\n",
                p->self, (unsigned long long)number);
    }
    return status;
}

static cairn_status wait_for_all(cairn_process *p)
{
    waiting w = {0};
    cairn_status status = CAIRN_OK;

    while (!rc_running(p->recovery->core) && status == CAIRN_OK) {
        status = cairn_pause(p, &w);
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_fail(&p->error, status, "cairn_recover: not all processes had their state back within %.3g s",
                          p->deadline);
    }
    return status;
}

static cairn_status go_back(cairn_process *p, cairn_restored *out)
{
    const rc_view *view = rc_current(p->recovery->core);
    rc_event event = {.kind = RC_RESTORED, .number = view->number};
    cairn_status status = clear_channels(p);

    if (status == CAIRN_OK) {
        status = load(p, view->snapshot, out);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    p->step_seen = false;
    p->stats.last = out->number;
    act(p, &event);
    return wait_for_all(p);
}

cairn_status cairn_recover(cairn_process *p, cairn_restored *out)
{
    cairn_restored result = {0};
    cairn_status status = CAIRN_E_ROLLBACK;

    cairn_enter(p);
    if (p->fatal != CAIRN_E_ROLLBACK) {
        return p->fatal != CAIRN_OK ? cairn_say(p, p->fatal, "%s", cairn_status_text(p->fatal))
                                    : cairn_say(p, CAIRN_E_STATE, "cairn_recover: nothing was rolled back");
    }
    while (status == CAIRN_E_ROLLBACK) { /* a death in the middle: once more */
        p->fatal = CAIRN_OK;
        status = go_back(p, &result);
    }
    if (status != CAIRN_OK && p->fatal == CAIRN_OK) {
        p->fatal = status;
    }
    if (out != NULL) {
        *out = result;
    }
    cairn_exit_call(p);
    return status;
}

/* ---------------------------------------------------------------- spares */

/* Who carried this process before may only sleep: on this host it is ended, so that its log is free. It is the one that
 * wrote the sign of life, and runs this program, or it is left alone. */
static void end_predecessor(const cairn_process *p)
{
    char path[4096];
    char host[sizeof(((cairn_beat *)0)->host)] = "";
    char own[1024] = "";
    char its[1024] = "";
    cairn_beat beat;
    int fd;

    cairn_beat_path(path, sizeof path, p->dir, p->self);
    (void)gethostname(host, sizeof host - 1);
    if (cairn_beat_read(path, p->launch, &beat) != CAIRN_OK || strcmp(beat.host, host) != 0 ||
        beat.pid == (int64_t)getpid()) {
        return;
    }
    fd = (int)syscall(SYS_pidfd_open, (pid_t)beat.pid, 0);
    if (fd < 0) {
        return;
    }
    (void)snprintf(path, sizeof path, "/proc/%lld/exe", (long long)beat.pid);
    if (readlink(path, its, sizeof its - 1) > 0 && readlink("/proc/self/exe", own, sizeof own - 1) > 0 &&
        strcmp(own, its) == 0) {
        (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    }
    (void)close(fd);
}

static cairn_status take_over(cairn_process *p)
{
    cairn_status status;

    p->recovery->taking = false;
    p->recovery->stands_in = false;
    cairn_consensus_suspend(p);
    end_predecessor(p);
    status = cairn_core_open(p, 0);
    if (status == CAIRN_OK) {
        status = cairn_timers_start(p, &p->error);
    }
    if (status == CAIRN_OK) {
        status = cairn_consensus_resume(p, LOCK_SECONDS, &p->error);
    }
    if (status == CAIRN_OK) {
        p->ready[p->self] = true;
        p->started = cairn_now();
        p->fatal = cairn_fail(&p->error, CAIRN_E_ROLLBACK,
                              "this process takes another's place: it must cairn_restore before it communicates");
    }
    return status;
}

static bool all_left(const cairn_process *p)
{
    for (uint32_t i = 0; i < p->count && !p->all_left; i++) {
        if (!p->left[i]) {
            return false;
        }
    }
    return true;
}

/* Nothing goes on that it has a part in, but signs of life. */
static bool spare_may_doze(cairn_process *p, uint32_t *awake, uint64_t *revision)
{
    const rc *core = p->recovery->core;
    uint64_t now = cairn_consensus_revision(p);

    if (now != *revision || rc_lost(core) != RC_NONE || (rc_current(core)->number > 0 && !rc_all_ready(core))) {
        *revision = now;
        *awake = SPARE_AWAKE;
    }
    *awake -= *awake > 0;
    return *awake == 0;
}

cairn_status cairn_spare_wait(cairn_process *p)
{
    uint32_t awake = SPARE_AWAKE;
    uint64_t revision = 0;

    p->dozes = true;
    (void)signal(SIGUSR1, SIG_IGN); /* mpirun forwards them to all: they are for processes */
    (void)signal(SIGUSR2, SIG_IGN);
    if (getenv(CAIRN_ENV_TERM) != NULL) {
        (void)signal(SIGTERM, SIG_IGN);
    }
    while (!p->recovery->taking) {
        cairn_drive(p);
        if (p->fatal != CAIRN_OK) {
            return p->fatal;
        }
        if (all_left(p)) {
            exit(CAIRN_EXIT_OK);
        }
        if (cairn_detector_pause(p, spare_may_doze(p, &awake, &revision) ? SPARE_DOZE_MS : SPARE_PAUSE_MS, NULL)) {
            awake = SPARE_AWAKE;
        }
    }
    p->dozes = false;
    cairn_service_wake(p);
    return take_over(p);
}

/* ---------------------------------------------------------------- begin and end */

cairn_status cairn_recovery_start(cairn_process *p, uint64_t before)
{
    recovery *r = calloc(1, sizeof *r);
    void *memory = malloc(rc_bytes(p->count, p->peers));

    p->recovery = r;
    if (r == NULL || memory == NULL) {
        free(memory);
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "recovery in place");
    }
    r->core = rc_init(memory, p->count, p->peers, p->self);
    r->seen.carrier = calloc(p->count, sizeof *r->seen.carrier);
    r->seen.out = calloc(p->peers, sizeof *r->seen.out);
    r->ranks = calloc(p->peers, sizeof *r->ranks);
    r->resumed = calloc(p->count, sizeof *r->resumed);
    r->silent = calloc(p->peers, sizeof *r->silent);
    r->bytes = calloc(1, rc_view_bytes(p->count, p->peers));
    if (r->seen.carrier == NULL || r->seen.out == NULL || r->ranks == NULL || r->resumed == NULL || r->silent == NULL ||
        r->bytes == NULL || spawn_start(p) != CAIRN_OK) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "recovery in place");
    }
    for (uint32_t i = 0; i < p->peers; i++) {
        r->ranks[i] = i;
    }
    memcpy(r->resumed, rc_current(r->core)->carrier, p->count * sizeof *r->resumed);
    r->before = before;
    r->latest = before;
    if (p->self >= p->count && cairn_levels_start(p, &p->error) != CAIRN_OK) {
        return p->error.status; /* processes have read that already */
    }
    return cairn_copies_start(p);
}

void cairn_recovery_free(cairn_process *p)
{
    recovery *r = p->recovery;

    if (r == NULL) {
        return;
    }
    free(r->core);
    free(r->seen.carrier);
    free(r->seen.out);
    free(r->ranks);
    free(r->resumed);
    free(r->silent);
    free(r->bytes);
    spawn_free(r);
    free(r);
    p->recovery = NULL;
}
