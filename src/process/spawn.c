/* Ranks that are started while the job runs (MPI_Comm_spawn), to be spares from then on.
 *
 * The leader sees that there are fewer spares than processes that are lost, or than it likes to have after a loss, and
 * names the next place and who is to spawn: a spare if one is idle, else another process than itself, since that blocks for some tenths of a second.
 * Not before: messages to and from a spawned rank go through TCP, and from the first one on every call of MPI asks the
 * kernel for them. The child tells its parent a port for each of the others; the parent hands them out, one at a time, so
 * that a death in between hangs the child alone; each connects, and says so to all. A leader takes a spawned rank for a
 * spare when everybody that is not silent has connected to it, and it is itself heard of.
 *
 * mpirun ends a job of which no rank is left that it launched itself. So `cairn run` has it launch one more, the
 * *anchor*: the launch's last rank, a spare that is given a process only if none can be spawned. It spawns the others,
 * and stands in for acceptors (stand_in.c). */
#include "base/environment.h"
#include "base/pack.h"
#include "process/consensus_parts.h"
#include "process/recover_parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES_DEFAULT  64
#define SPIN_ROUNDS     10
#define UNDER_WAY       10.0 /* seconds before another place is tried */
#define FORGIVE_SPAWN   5.0  /* seconds that who spawns may be silent */
#define FORGIVE_CONNECT 5.0
#define SPEAK_SECONDS   1.0 /* for one that all have connected to */
#define CONNECT_SECONDS 2.0 /* for one to connect, before the child is given up */
#define NO_RANK         UINT32_MAX

uint32_t cairn_spawn_places(void)
{
    const char *text = getenv(CAIRN_ENV_SPAWNS);

    if (!cairn_link_spawns()) {
        return 0;
    }
    return text == NULL ? PLACES_DEFAULT : (uint32_t)strtoul(text, NULL, 10);
}

cairn_status spawn_start(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;

    s->first = s->next = p->peers - cairn_spawn_places();
    s->anchor = getenv(CAIRN_ENV_ANCHOR) != NULL && s->first > p->count ? s->first - 1 : NO_RANK;
    s->orders_to = NO_RANK;
    s->invited = NO_RANK;
    s->unborn = calloc(p->peers, sizeof *s->unborn);
    s->others = calloc(p->peers, sizeof *s->others);
    s->ports = calloc(p->peers, sizeof *s->ports);
    s->forgiven = calloc(p->peers, sizeof *s->forgiven);
    s->connected = calloc(p->peers, p->peers);
    s->absent = calloc(p->peers, sizeof *s->absent);
    return s->forgiven == NULL || s->connected == NULL || s->absent == NULL || s->unborn == NULL || s->others == NULL ||
                   s->ports == NULL
               ? CAIRN_E_NOMEM
               : CAIRN_OK;
}

void spawn_free(recovery *r)
{
    free(r->spawn.forgiven);
    free(r->spawn.connected);
    free(r->spawn.absent);
    free(r->spawn.unborn);
    free(r->spawn.others);
    free(r->spawn.ports);
}

bool spawn_is_possible(const cairn_process *p)
{
    const spawning *s = &p->recovery->spawn;

    return s->next < p->peers && !p->finishing;
}

bool spawn_frees_anchor(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;
    bool frees = s->anchor != NO_RANK && !s->anchor_free && recovery_peer_of(p, s->anchor) != RC_NONE;

    s->anchor_free = s->anchor_free || frees;
    return frees;
}

bool spawn_needs_anchor(const cairn_process *p)
{
    const spawning *s = &p->recovery->spawn;

    return s->anchor != NO_RANK && !s->anchor_free && spawn_is_possible(p);
}

static uint32_t own_rank(const cairn_process *p)
{
    return p->recovery->ranks[p->self];
}

bool spawn_is_usable(const cairn_process *p, uint32_t rank)
{
    const recovery *r = p->recovery;
    const spawning *s = &r->spawn;

    if (rank < s->first) {
        return true;
    }
    for (uint32_t i = 0; i < p->peers; i++) {
        uint32_t other = r->ranks[i];

        if (other != RC_NONE && other != rank && !r->silent[other] && !s->unborn[other] &&
            (other < s->first || other < s->next) && !s->connected[(size_t)rank * p->peers + other]) {
            return false;
        }
    }
    return rank < s->next && !s->unborn[rank];
}

/* There will be none in this place: it was given up, it could not be started, or it has died as a spare. */
static void forget_place(cairn_process *p, uint32_t place)
{
    spawning *s = &p->recovery->spawn;

    if (place == own_rank(p) && p->self >= p->count) {
        cairn_fenced(p); /* the others have given it up */
    }
    if (p->recovery->ranks[place] == place) { /* and has not been given a process */
        s->unborn[place] = 1;
        cairn_link_lose(p->link, place);
    }
    if (place + 1 == s->next) {
        s->until = 0.0;
    }
}

/* ---------------------------------------------------------------- the leader */

static bool votes(const cairn_process *p, uint32_t peer)
{
    const consensus *c = p->consensus;

    for (uint32_t i = 0; i < c->group.acceptor_count; i++) {
        if (c->place[c->group.acceptors[i]] == peer) {
            return true;
        }
    }
    return false;
}

/* 0: cannot. Best is the anchor, then another spare, then a process that does not vote: who spawns is away for a while. */
static uint32_t worth(const cairn_process *p, uint32_t peer)
{
    const recovery *r = p->recovery;
    uint32_t rank = r->ranks[peer];

    if (peer == p->self || rank == RC_NONE || r->silent[rank] || !spawn_is_usable(p, rank)) {
        return 0;
    }
    return 1u + (rank == r->spawn.anchor ? 1u : 0u) + (peer >= p->count ? 2u : 0u) + (votes(p, peer) ? 0u : 4u);
}

static uint32_t who_spawns(const cairn_process *p)
{
    uint32_t best = p->self;
    uint32_t most = 0;

    for (uint32_t i = p->peers; i-- > 0;) {
        uint32_t one = worth(p, i);

        if (one > most) {
            most = one;
            best = i;
        }
    }
    return p->recovery->ranks[best];
}

static void order(cairn_process *p, double now)
{
    recovery *r = p->recovery;
    spawning *s = &r->spawn;
    uint32_t rank = who_spawns(p);
    uint32_t peer = recovery_peer_of(p, rank);

    s->until = now + UNDER_WAY;
    s->orders_to = rank;
    s->whole_at = 0.0;
    cairn_send_control_bytes(p, CL_ALL, CONTROL_SPAWN, (uint64_t)s->next << 32 | rank, r->silent, p->peers);
    if (rank == own_rank(p)) {
        s->due = true;
        s->place = s->next;
        memcpy(s->absent, r->silent, p->peers);
    } else {
        s->forgiven[peer] = now + FORGIVE_SPAWN;
    }
    s->next++;
}

/* Nothing more comes of the newest place: it is somebody's, or nobody's; or all that could have connected to it, who
 * spawned it as the last, and it has had the time to speak. */
static bool is_settled(const cairn_process *p, double now)
{
    const spawning *s = &p->recovery->spawn;
    uint32_t newest = s->next - 1;
    uint32_t peer;

    if (s->next == s->first || s->unborn[newest]) {
        return true;
    }
    peer = recovery_peer_of(p, newest);
    return peer == RC_NONE || peer < p->count || (s->whole_at > 0.0 && now > s->whole_at + SPEAK_SECONDS);
}

/* Spares to have ready: half of what the launch had, rounded down, once one was used. A death while a rank is spawned is
 * then no matter. */
static uint32_t ahead(const cairn_process *p)
{
    const recovery *r = p->recovery;

    return rc_current(r->core)->number == 0 ? 0 : (r->spawn.first - p->count - (r->spawn.anchor != NO_RANK)) / 2;
}

void spawn_consider(cairn_process *p, double now)
{
    const recovery *r = p->recovery;
    spawning *s = &p->recovery->spawn;
    uint32_t idle = 0;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < p->peers; i++) {
        uint32_t rank = r->ranks[i];

        if (rank == RC_NONE || s->unborn[rank]) {
            continue;
        }
        if (i < p->count) {
            lost += r->silent[rank];
        } else {
            idle += !r->silent[rank] && spawn_is_usable(p, rank) && !(rank == s->anchor && spawn_needs_anchor(p));
        }
    }
    if (s->orders_to != NO_RANK && (r->silent[s->orders_to] || recovery_peer_of(p, s->orders_to) == RC_NONE)) {
        s->until = 0.0; /* who was to spawn has died */
        s->orders_to = NO_RANK;
    }
    for (uint32_t i = p->count; i < p->peers; i++) { /* a later leader would wait for it */
        uint32_t rank = r->ranks[i];

        if (rank != RC_NONE && rank >= s->first && rank < s->next && !s->unborn[rank] && cairn_detector_ended(p, i)) {
            cairn_send_control(p, CL_ALL, CONTROL_UNBORN, rank);
            forget_place(p, rank);
        }
    }
    if (is_settled(p, now)) {
        s->until = 0.0;
    }
    if (idle < lost + ahead(p) && spawn_is_possible(p) && now >= s->until) {
        order(p, now);
    }
}

/* ---------------------------------------------------------------- who spawns, and who connects */

static void say_connected(cairn_process *p, uint32_t place)
{
    spawning *s = &p->recovery->spawn;

    p->spin_rounds = p->spin_rounds < SPIN_ROUNDS ? p->spin_rounds : SPIN_ROUNDS; /* each costs a system call now */
    s->connected[(size_t)place * p->peers + own_rank(p)] = 1;
    s->connected[(size_t)own_rank(p) * p->peers + place] = 1;
    cairn_send_control(p, CL_ALL, CONTROL_CONNECTED, place);
    if (p->finishing) {
        cairn_send_control(p, place, CONTROL_LEAVING, 0); /* it was said before this one could hear it */
    }
}

/* What cairn_spawned_join reads. */
static bool pack_facts(const cairn_process *p, cairn_pack *pack)
{
    const recovery *r = p->recovery;
    const cairn_group *group = &p->consensus->group;

    cairn_pack_u32(pack, p->launch);
    cairn_pack_text(pack, p->run, strlen(p->run));
    cairn_pack_bytes(pack, group, sizeof *group); /* the same program on the same kind of machine */
    cairn_pack_u64(pack, r->before);
    cairn_pack_u64(pack, r->latest);
    cairn_pack_u64(pack, r->view_revision);
    rc_view_put(r->bytes, rc_current(r->core), p->count, p->peers);
    cairn_pack_bytes(pack, r->bytes, rc_view_bytes(p->count, p->peers));
    cairn_pack_u32(pack, r->spawn.next > r->spawn.place ? r->spawn.next : r->spawn.place + 1);
    cairn_pack_bytes(pack, r->spawn.connected, (size_t)p->peers * p->peers);
    cairn_pack_bytes(pack, r->spawn.unborn, p->peers);
    cairn_pack_bytes(pack, p->consensus->place, p->peers * sizeof *p->consensus->place);
    return cairn_pack_ok(pack);
}

static void give_up(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;

    s->invites = false;
    s->invited = NO_RANK;
    cairn_send_control(p, CL_ALL, CONTROL_UNBORN, s->place);
    forget_place(p, s->place);
}

/* Whose turn it is to connect; when all have, the child begins its work. */
static void invite(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;

    s->invited = NO_RANK;
    for (; s->turn < s->other_count; s->turn++) {
        uint32_t peer = recovery_peer_of(p, s->others[s->turn]);
        port_offer offer = {.place = s->place};

        if (peer != RC_NONE && !cairn_detector_ended(p, peer)) {
            memcpy(offer.port, s->ports[s->turn], sizeof offer.port);
            cairn_link_invite(p->link, s->place, s->turn);
            cairn_send_control_bytes(p, peer, CONTROL_PORT, 0, &offer, sizeof offer);
            s->invited = s->others[s->turn];
            s->invited_at = cairn_now();
            return;
        }
    }
    s->invites = false;
    cairn_link_invite(p->link, s->place, CAIRN_LINK_NO_MORE);
    say_connected(p, s->place);
    s->whole_at = cairn_now();
}

/* The parent, until all have connected. */
static void drive_invitations(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;
    uint32_t peer = recovery_peer_of(p, s->invited);

    if (s->connected[(size_t)s->place * p->peers + s->invited]) {
        s->turn++;
        invite(p);
    } else if (peer == RC_NONE || cairn_detector_ended(p, peer)) {
        give_up(p);
    } else if (cairn_now() > s->invited_at + CONNECT_SECONDS) {
        if (peer >= p->count && s->invited >= s->first) { /* a spare that hangs is none */
            cairn_send_control(p, CL_ALL, CONTROL_UNBORN, s->invited);
            forget_place(p, s->invited);
        }
        give_up(p);
    }
}

static void spawn_one(cairn_process *p)
{
    recovery *r = p->recovery;
    spawning *s = &r->spawn;
    char program[4096] = "";
    char folder[4096] = "";
    uint32_t *peer_of = calloc(p->peers, sizeof *peer_of);
    cairn_pack facts = {0};
    cairn_error error = {CAIRN_E_NOMEM, "out of memory"};
    cairn_link_birth child = {.slot = s->place,
                              .parent = own_rank(p),
                              .peer_of = peer_of,
                              .program = program,
                              .folder = folder,
                              .arguments = p->arguments + 1};
    cairn_status status = CAIRN_E_NOMEM;

    for (uint32_t i = 0; peer_of != NULL && i < p->peers; i++) {
        uint32_t rank = r->ranks[i];

        if (rank == RC_NONE) {
            continue;
        }
        peer_of[rank] = i;
        if (i != p->self && !s->absent[rank] && cairn_link_reaches(p->link, i)) {
            s->others[child.others++] = rank;
        }
    }
    if (peer_of != NULL && pack_facts(p, &facts) && readlink("/proc/self/exe", program, sizeof program - 1) > 0 &&
        getcwd(folder, sizeof folder) != NULL) {
        child.facts = facts.data;
        child.facts_bytes = facts.bytes;
        status = cairn_link_spawn(p->link, &child, s->ports, &error);
    }
    s->other_count = child.others;
    s->turn = 0;
    s->invites = status == CAIRN_OK;
    if (status == CAIRN_OK) {
        invite(p);
    } else {
        fprintf(stderr, "cairn: process %u: no rank could be started to be a spare: %s\n", p->self, error.text);
        give_up(p);
    }
    free(peer_of);
    free(facts.data);
}

static void connect_one(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;
    cairn_error error;

    if (cairn_link_connect(p->link, s->offer.place, own_rank(p), s->offer.port, &error) != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: %s\n", p->self, error.text);
        return;
    }
    say_connected(p, s->offer.place);
}

void spawn_drive(cairn_process *p)
{
    spawning *s = &p->recovery->spawn;

    if (s->invites) {
        drive_invitations(p);
    } else if (s->due) {
        s->due = false;
        spawn_one(p);
    }
    if (s->has_offer) {
        s->has_offer = false;
        connect_one(p);
    }
}

static void told_to_spawn(cairn_process *p, uint32_t place, uint32_t rank, const cairn_frame *frame)
{
    spawning *s = &p->recovery->spawn;
    double now = cairn_now();
    uint32_t peer = recovery_peer_of(p, rank);

    if (place < s->first || place >= p->peers || frame->envelope->bytes != p->peers) {
        return;
    }
    s->next = place + 1 > s->next ? place + 1 : s->next;
    s->until = now + UNDER_WAY;
    s->orders_to = rank;
    s->whole_at = 0.0;
    for (uint32_t i = 0; i < p->peers; i++) {
        s->forgiven[i] = now + (i == peer ? FORGIVE_SPAWN : FORGIVE_CONNECT);
    }
    if (rank == own_rank(p) && !p->finishing && !s->invites) {
        s->due = true;
        s->place = place;
        memcpy(s->absent, frame->payload, p->peers);
    }
}

void cairn_spawn_told(cairn_process *p, const cairn_frame *frame)
{
    const cairn_envelope *e = frame->envelope;
    recovery *r = p->recovery;
    uint32_t from = r == NULL ? RC_NONE : r->ranks[frame->from];

    if (from == RC_NONE) {
        return;
    }
    if (e->tag == CONTROL_SPAWN) {
        told_to_spawn(p, (uint32_t)(e->sequence >> 32), (uint32_t)e->sequence, frame);
    } else if (e->tag == CONTROL_PORT && e->bytes == sizeof r->spawn.offer && !r->spawn.has_offer) {
        memcpy(&r->spawn.offer, frame->payload, sizeof r->spawn.offer);
        r->spawn.has_offer = r->spawn.offer.place >= r->spawn.first && r->spawn.offer.place < p->peers &&
                             memchr(r->spawn.offer.port, '\0', CAIRN_PORT_BYTES) != NULL;
    } else if (e->tag == CONTROL_UNBORN && e->sequence >= r->spawn.first && e->sequence < p->peers) {
        forget_place(p, (uint32_t)e->sequence);
    } else if (e->tag == CONTROL_CONNECTED && e->sequence < p->peers) {
        r->spawn.connected[(size_t)e->sequence * p->peers + from] = 1;
        r->spawn.connected[(size_t)from * p->peers + e->sequence] = 1;
        if (from == r->spawn.orders_to && e->sequence + 1 == r->spawn.next) {
            r->spawn.whole_at = cairn_now();
        }
    }
}

/* ---------------------------------------------------------------- the child */

cairn_status cairn_spawned_join(cairn_process *p)
{
    size_t bytes;
    const void *data = cairn_link_facts(p->link, &bytes);
    cairn_unpack u = {.data = data, .bytes = bytes};
    const uint8_t *at;
    const uint8_t *unborn;
    const uint8_t *place;
    size_t length;
    uint64_t before;
    recovery *r;
    rc_event event = {.kind = RC_CHOSEN};
    rc_event started = {.kind = RC_STARTED};
    rc_output out;
    cairn_group group;
    cairn_status status;

    p->launch = cairn_unpack_u32(&u);
    at = cairn_unpack_text(&u, &length);
    (void)snprintf(p->run, sizeof p->run, "%.*s", (int)length, at == NULL ? "" : (const char *)at);
    at = cairn_unpack_bytes(&u, sizeof group);
    if (at != NULL) {
        memcpy(&group, at, sizeof group);
    }
    before = cairn_unpack_u64(&u);
    if (u.bad) {
        return cairn_fail(&p->error, CAIRN_E_BUG, "what the parent told is cut off");
    }
    status = cairn_recovery_start(p, before);
    if (status != CAIRN_OK) {
        return status;
    }
    r = p->recovery;
    r->latest = cairn_unpack_u64(&u);
    r->view_revision = cairn_unpack_u64(&u);
    at = cairn_unpack_bytes(&u, rc_view_bytes(p->count, p->peers));
    if (at == NULL || !rc_view_get(at, rc_view_bytes(p->count, p->peers), p->count, p->peers, &r->seen)) {
        return cairn_fail(&p->error, CAIRN_E_BUG, "the parent told no view");
    }
    event.view = &r->seen;
    rc_step(r->core, &event, &out);
    rc_step(r->core, &started, &out);
    p->incarnation = p->launch + r->seen.number;
    memcpy(r->resumed, r->seen.carrier, p->count * sizeof *r->resumed);
    for (uint32_t i = 0; i < p->peers; i++) {
        bool carries = false;

        for (uint32_t k = 0; k < p->count; k++) {
            carries = carries || r->seen.carrier[k] == i;
        }
        if (i < p->count) {
            r->ranks[i] = r->seen.carrier[i];
            p->ready[i] = true;
        } else {
            r->ranks[i] = carries || r->seen.out[i] ? RC_NONE : i;
        }
    }
    r->spawn.next = cairn_unpack_u32(&u);
    at = cairn_unpack_bytes(&u, (uint64_t)p->peers * p->peers);
    unborn = cairn_unpack_bytes(&u, p->peers);
    place = cairn_unpack_bytes(&u, p->peers * sizeof *p->consensus->place);
    if (u.bad) {
        return cairn_fail(&p->error, CAIRN_E_BUG, "what the parent told is cut off");
    }
    memcpy(r->spawn.connected, at, (size_t)p->peers * p->peers);
    memcpy(r->spawn.unborn, unborn, p->peers);
    for (uint32_t i = 0; i < p->peers; i++) { /* who connected before the facts were all here */
        if (r->ranks[i] != RC_NONE && cairn_link_reaches(p->link, i)) {
            r->spawn.connected[(size_t)p->self * p->peers + r->ranks[i]] = 1;
            r->spawn.connected[(size_t)r->ranks[i] * p->peers + p->self] = 1;
        }
    }
    status = cairn_consensus_join(p, &group, &p->error);
    if (status == CAIRN_OK) {
        memcpy(p->consensus->place, place, p->peers * sizeof *p->consensus->place);
    }
    return status;
}
