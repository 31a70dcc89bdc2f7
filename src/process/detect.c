/* Who is lost: the leader of the coordination service asks for it when it suspects a process (detector/accrual.h: from
 * when messages of it came, unless CAIRN_LOST_AFTER says how long a silence may be), or when the kernel says that its
 * process has ended (detector/watch.h and tether.h), which anybody may ask for. It is decided when the key
 * "cairn/lost/RUN/LAUNCH/PROCESS" is in the replicated state, and every process sees it there. The state outlives the
 * run: another run in the same DIR counts its launches from 0 again.
 *
 * A process that was only slow is lost all the same, and ends when it reads its own name: what matters is that all
 * agree. */
#include "base/environment.h"
#include "detector/accrual.h"
#include "process/consensus_parts.h"
#include "process/whereabouts.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define LOOK_SECONDS      0.01 /* between two looks at who is silent */
#define COPIED_PER_SECOND 5e8  /* bytes, a careful guess */
#define PREFIX_BYTES      64
#define NOBODY            UINT32_MAX

/* Between knowing that a process has ended and saying so: what it sent last, that it leaves above all, is taken in
 * first; of a neighbour it is in this host's memory already. Who does not lead gives the leader time to say it. */
#define ENDED_SECONDS     0.02
#define NEIGHBOUR_SECONDS 0.003
#define OTHERS_SECONDS    0.05
#define TELL_SECONDS      0.25 /* until it is said again to those who decide */

#define ASK_BEATS 2   /* heartbeats that are missing when a silent one's kernel is asked */
#define TRIES     100 /* looks, until the next one is tried                             */

struct cairn_detector {
    cairn_accrual *accrual;
    cairn_whereabouts *whereabouts; /* NULL: none */
    bool leads;
    uint32_t followed; /* the last leader but this process; NOBODY */
    uint64_t heartbeat_us, tick;
    double tell_at;
    double due;            /* when what is known of an end is to be said */
    uint32_t tried, tries; /* whose kernel is tried, and how often it was looked at */
    struct {
        uint64_t heard;
        double ended_at; /* when its end became known; 0: has not ended */
        double grace;    /* seconds from then on                          */
        bool asked;      /* its kernel, in this silence         */
    } peer[];            /* [peers] */
};

double cairn_lost_after(void)
{
    const char *text = getenv(CAIRN_ENV_LOST_AFTER);
    double seconds = text == NULL ? 0.0 : strtod(text, NULL);

    return seconds >= 0.05 && seconds <= 86400.0 ? seconds : 0.0;
}

/* ---------------------------------------------------------------- what is decided */

static void prefix_of(const cairn_process *p, char prefix[PREFIX_BYTES])
{
    (void)snprintf(prefix, PREFIX_BYTES, "cairn/lost/%s/%u/", p->run, p->launch);
}

void cairn_lost_key(const cairn_process *p, uint32_t id, char key[CAIRN_LOST_KEY_BYTES])
{
    char prefix[PREFIX_BYTES];

    prefix_of(p, prefix);
    (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "%s%u", prefix, id);
}

/* What was decided. */
static void read_lost(cairn_process *p)
{
    char prefix[PREFIX_BYTES];
    cairn_question asked = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefix};
    cairn_response response = {0};

    prefix_of(p, prefix);
    if (cairn_consensus_peek(p, &asked, &response) != CAIRN_OK || response.status != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < response.kv_count; i++) {
        cairn_lose(p, (uint32_t)strtoul(response.kvs[i].key + strlen(prefix), NULL, 10));
    }
}

static void on_answer(void *context, const cairn_response *response)
{
    (void)response; /* if it was refused, the process is still silent, and it is asked again */
    ((cairn_process *)context)->lost_asking = false;
}

static void propose(cairn_process *p, uint32_t who)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t tag;
    cairn_compare missing = {.kind = CAIRN_COMPARE_MODIFIED, .key = key};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = ""};
    cairn_question asked = {.op = CAIRN_OP_TXN,
                            .flags = CAIRN_REQUEST_REPEAT,
                            .key = "",
                            .txn = {.compares = &missing, .compare_count = 1, .then = &put, .then_count = 1}};

    cairn_lost_key(p, who, key);
    p->lost_asking = cairn_consensus_ask(p, &asked, on_answer, p, &tag) == CAIRN_OK;
}

/* ---------------------------------------------------------------- who is suspected */

/* NULL: no memory now; tried again with the next look. */
static struct cairn_detector *make(const cairn_process *p)
{
    uint64_t heartbeat = consensus_heartbeat_us(p);
    cairn_accrual_options o = cairn_accrual_defaults(heartbeat);
    struct cairn_detector *d = calloc(1, sizeof *d + p->peers * sizeof d->peer[0]);
    void *memory = malloc(cairn_accrual_bytes(p->peers, o.window));

    if (d == NULL || memory == NULL) {
        free(d);
        free(memory);
        return NULL;
    }
    d->accrual = cairn_accrual_init(memory, p->peers, &o, consensus_now());
    d->whereabouts = cairn_whereabouts_new(p);
    d->followed = NOBODY;
    d->heartbeat_us = heartbeat;
    return d;
}

/* Who follows has heard the leader alone: as a leader it begins to hear the others now. The leader before this one has
 * been silent for long; but it may have been the network between others, and is asked once more. */
static void begin_reign(const cairn_process *p, struct cairn_detector *d, uint64_t now)
{
    for (uint32_t i = 0; i < p->peers; i++) {
        if (i == d->followed) {
            uint64_t silence = cairn_accrual_silence(d->accrual, i, now) + 3 * d->heartbeat_us / 2;
            uint64_t allowed = cairn_accrual_allowed(d->accrual, i);

            cairn_accrual_forgive(d->accrual, i, silence > allowed ? silence - allowed : 0);
        } else if (d->peer[i].ended_at <= 0.0) {
            cairn_accrual_forget(d->accrual, i, now);
            cairn_accrual_heard(d->accrual, i, now);
            cairn_accrual_known(
                d->accrual, i, cairn_whereabouts_has(d->whereabouts, i) ? CAIRN_ACCRUAL_EXISTS : CAIRN_ACCRUAL_UNKNOWN);
        }
    }
}

static void hear(const cairn_process *p, struct cairn_detector *d, uint64_t now)
{
    const mp *core = cairn_replica_core(p->consensus->replica);
    const uint32_t *place = p->consensus->place;
    uint32_t leader = mp_leader(core) < p->peers ? place[mp_leader(core)] : NOBODY;
    bool leads = cairn_consensus_leads(p);

    for (uint32_t i = 0; i < p->peers; i++) {
        uint64_t heard = mp_heard(core, i);

        if (heard != d->peer[i].heard) {
            d->peer[i].heard = heard;
            if (place[i] != p->self) {
                cairn_accrual_heard(d->accrual, place[i], heard);
            }
        }
    }
    cairn_accrual_look(d->accrual, now);
    if (leads && !d->leads) {
        begin_reign(p, d, now);
    }
    d->leads = leads;
    if (!leads && leader < p->peers && leader != p->self) {
        d->followed = leader;
    }
}

double cairn_detector_next(const cairn_process *p, double now)
{
    const struct cairn_detector *d = p->detector;
    double next = now + LOOK_SECONDS;

    return d != NULL && d->due > now && d->due < next ? d->due : next;
}

static void end(cairn_process *p, struct cairn_detector *d, uint32_t who, double now)
{
    if (d->peer[who].ended_at <= 0.0) {
        cairn_accrual_dead(d->accrual, who);
        cairn_link_mute(p->link, who);
        d->peer[who].ended_at = now;
        d->peer[who].grace = cairn_whereabouts_neighbour(d->whereabouts, who) ? NEIGHBOUR_SECONDS : ENDED_SECONDS;
        d->due = now + d->peer[who].grace;
        p->lost_look = cairn_detector_next(p, now);
        cairn_recovery_look(p, p->lost_look);
        for (uint32_t i = 0; i < p->peers && !p->consensus->failed; i++) {
            if (p->consensus->place[i] == who) {
                cairn_replica_ended(p->consensus->replica, i, consensus_now());
            }
        }
    }
}

/* Those who vote: the leader is among them, and who is to follow it when it was the leader that ended. */
static void tell(cairn_process *p, uint32_t who)
{
    const cairn_group *group = &p->consensus->group;
    uint64_t number = (uint64_t)who << 32 | cairn_recovery_rank(p, who);

    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        if (group->acceptors[i] != p->self && group->acceptors[i] != who) {
            cairn_send_control(p, group->acceptors[i], CONTROL_ENDED, number);
        }
    }
}

/* As long as nothing has come of it: who was told may not have heard yet which rank carries that process now. */
static void tell_again(cairn_process *p, struct cairn_detector *d, double now)
{
    if (now < d->tell_at) {
        return;
    }
    d->tell_at = now + TELL_SECONDS;
    for (uint32_t i = 0; i < p->peers; i++) {
        if (d->peer[i].ended_at > 0.0 && now > d->peer[i].ended_at + TELL_SECONDS && cairn_may_lose(p, i)) {
            tell(p, i);
        }
    }
}

/* What the kernels say by themselves. */
static void learn(cairn_process *p, struct cairn_detector *d, double now)
{
    uint32_t who;
    cairn_whereabouts_event event;

    while ((event = cairn_whereabouts_poll(p, d->whereabouts, now, &who)) != CAIRN_WHEREABOUTS_NOTHING) {
        if (event == CAIRN_WHEREABOUTS_FOUND) {
            cairn_accrual_known(d->accrual, who, CAIRN_ACCRUAL_EXISTS);
        } else {
            end(p, d, who, now);
            tell(p, who);
        }
    }
    tell_again(p, d, now);
}

/* The kernel of one that is not silent: whoever never answered may have its reasons not to do so later. */
static void try_one(const cairn_process *p, struct cairn_detector *d, double now)
{
    uint32_t i = d->tried;

    if (!d->leads || d->peer[i].asked) {
        return;
    }
    if (i == p->self || d->peer[i].ended_at > 0.0 || cairn_whereabouts_has(d->whereabouts, i) ||
        cairn_whereabouts_answered(d->whereabouts, i) || ++d->tries > TRIES) {
        cairn_whereabouts_relent(d->whereabouts, i);
        d->tried = (i + 1) % p->peers;
        d->tries = 0;
        return;
    }
    (void)cairn_whereabouts_ask(d->whereabouts, i, now);
}

/* What they say when they are asked: only the leader has to know, of who is silent. */
static void ask(const cairn_process *p, struct cairn_detector *d, double now)
{
    uint64_t now_us = consensus_now();
    static const cairn_accrual_word words[] = {[CAIRN_TETHER_UNKNOWN] = CAIRN_ACCRUAL_UNKNOWN,
                                               [CAIRN_TETHER_EXISTS] = CAIRN_ACCRUAL_EXISTS,
                                               [CAIRN_TETHER_UNREACHABLE] = CAIRN_ACCRUAL_UNREACHABLE};

    for (uint32_t i = 0; i < p->peers; i++) {
        bool silent = d->leads && i != p->self && d->peer[i].ended_at <= 0.0 &&
                      !cairn_whereabouts_has(d->whereabouts, i) &&
                      cairn_accrual_silence(d->accrual, i, now_us) > ASK_BEATS * d->heartbeat_us;

        if (silent) {
            cairn_accrual_known(d->accrual, i, words[cairn_whereabouts_ask(d->whereabouts, i, now)]);
        } else if (d->peer[i].asked) {
            cairn_whereabouts_relent(d->whereabouts, i);
            cairn_accrual_known(
                d->accrual, i, cairn_whereabouts_has(d->whereabouts, i) ? CAIRN_ACCRUAL_EXISTS : CAIRN_ACCRUAL_UNKNOWN);
        }
        d->peer[i].asked = silent;
    }
    try_one(p, d, now);
}

/* Seconds. Who records a snapshot of much state is silent while it copies. */
static double patience(const cairn_process *p)
{
    return p->active ? 4.0 * p->stats.blocked + (double)cairn_array_bytes(p) / COPIED_PER_SECOND : 0.0;
}

static bool is_suspected(const cairn_process *p, struct cairn_detector *d, uint32_t who, double now, double more)
{
    if (d->peer[who].ended_at > 0.0) {
        return now >= d->peer[who].ended_at + d->peer[who].grace + (d->leads ? 0.0 : OTHERS_SECONDS);
    }
    if (!d->leads) {
        return false;
    }
    if (p->lost_after > 0.0) {
        return cairn_consensus_silent(p, who) > p->lost_after + more;
    }
    cairn_accrual_forgive(d->accrual, who, (uint64_t)(more * 1e6));
    return cairn_accrual_suspects(d->accrual, who, consensus_now());
}

static struct cairn_detector *detector(cairn_process *p)
{
    if (p->detector == NULL) {
        p->detector = make(p);
        if (p->detector != NULL && p->detector->whereabouts != NULL) {
            atomic_store_explicit(&p->sight_fd, cairn_whereabouts_fd(p->detector->whereabouts), memory_order_release);
        }
    }
    return p->detector;
}

bool cairn_detector_look(cairn_process *p, double now)
{
    struct cairn_detector *d = detector(p);

    if (d == NULL || p->consensus->replica == NULL) {
        return false;
    }
    hear(p, d, consensus_now());
    learn(p, d, now);
    ask(p, d, now);
    return true;
}

bool cairn_detector_suspects(cairn_process *p, uint32_t peer, double now, double more)
{
    return p->detector != NULL && is_suspected(p, p->detector, peer, now, more);
}

void cairn_detector_told(cairn_process *p, uint64_t number)
{
    uint32_t who = (uint32_t)(number >> 32);
    struct cairn_detector *d;

    if (p->consensus != NULL && p->consensus->replica != NULL && who < p->peers && who != p->self &&
        cairn_recovery_rank(p, who) == (uint32_t)number && (d = detector(p)) != NULL) {
        end(p, d, who, cairn_now());
    }
}

double cairn_detector_silence(const cairn_process *p, uint32_t peer)
{
    return p->detector == NULL ? 0.0
                               : (double)cairn_accrual_silence(p->detector->accrual, peer, consensus_now()) * 1e-6;
}

void cairn_detector_here(cairn_process *p, const cairn_frame *frame)
{
    struct cairn_detector *d = p->consensus == NULL ? NULL : detector(p);

    if (d != NULL) {
        cairn_whereabouts_told(d->whereabouts, frame);
    }
}

bool cairn_detector_sighted(cairn_process *p)
{
    return atomic_load_explicit(&p->sighted, memory_order_relaxed) && atomic_exchange(&p->sighted, false);
}

bool cairn_detector_pause(cairn_process *p, int milliseconds, struct pollfd *other)
{
    struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
    int sight = atomic_load_explicit(&p->sight_fd, memory_order_acquire);
    struct epoll_event event;
    int count;

    fds[0].fd = sight > 0 ? sight : -1;
    fds[0].events = POLLIN;
    if (other != NULL) {
        fds[1] = *other;
    }
    count = poll(fds, 2, milliseconds);
    if (other != NULL) {
        other->revents = count > 0 ? fds[1].revents : 0;
    }
    /* An edge: said once, whether or not it is heard out at once. */
    if (count > 0 && fds[0].revents != 0 && epoll_wait(sight, &event, 1, 0) > 0) {
        atomic_store(&p->sighted, true);
        return true;
    }
    return false;
}

bool cairn_detector_ended(const cairn_process *p, uint32_t peer)
{
    return p->detector != NULL && p->detector->peer[peer].ended_at > 0.0;
}

void cairn_detector_moved(cairn_process *p, uint32_t peer, uint32_t from)
{
    struct cairn_detector *d = p->detector;

    if (d != NULL) {
        uint64_t now = consensus_now();

        cairn_accrual_forget(d->accrual, peer, now);
        cairn_accrual_heard(d->accrual, peer, now);
        cairn_whereabouts_moved(d->whereabouts, peer, from);
        d->peer[peer].ended_at = d->peer[from].ended_at;
        d->peer[peer].grace = d->peer[from].grace;
        d->peer[from].ended_at = 0.0;
        if (d->peer[peer].ended_at > 0.0) {
            cairn_accrual_dead(d->accrual, peer);
        } else if (cairn_whereabouts_has(d->whereabouts, peer)) {
            cairn_accrual_known(d->accrual, peer, CAIRN_ACCRUAL_EXISTS);
        }
    }
}

void cairn_detect(cairn_process *p)
{
    uint64_t revision = cairn_consensus_revision(p);
    struct cairn_detector *d = detector(p);
    double now;

    if (revision != p->lost_revision) {
        p->lost_revision = revision;
        read_lost(p);
    }
    if (d == NULL) {
        return;
    }
    if (d->tick == p->consensus->next_tick) {
        return; /* within the same millisecond: without asking the clock */
    }
    d->tick = p->consensus->next_tick;
    if ((now = cairn_now()) < p->lost_look && !cairn_detector_sighted(p)) {
        return;
    }
    (void)cairn_detector_look(p, now);
    p->lost_look = cairn_detector_next(p, now);
    for (uint32_t i = 0; i < p->count && !p->lost_asking; i++) {
        if (i != p->self && cairn_may_lose(p, i) && is_suspected(p, d, i, now, patience(p))) {
            propose(p, i);
        }
    }
}
