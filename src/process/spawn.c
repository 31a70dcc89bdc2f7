/* Ranks that are started while the job runs (MPI_Comm_spawn), to be spares from then on.
 *
 * The leader sees that there are fewer spares than processes that are lost, and names the next place and who is to
 * spawn: a spare if one is idle, else another process than itself, since that blocks for some tenths of a second.
 * Only then: messages to and from a spawned rank go through TCP, and from the first one on every call of MPI asks the
 * kernel for them. The child tells its parent a port for each of the others; the parent hands them out; each
 * connects, and says so to all. A leader takes a spawned rank for a spare when everybody that is not silent has
 * connected to it, and it is itself heard of. */
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
#define FORGIVE_CONNECT 2.0

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
    s->forgiven = calloc(p->peers, sizeof *s->forgiven);
    s->connected = calloc(p->peers, p->peers);
    s->absent = calloc(p->peers, sizeof *s->absent);
    return s->forgiven == NULL || s->connected == NULL || s->absent == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
}

void spawn_free(recovery *r)
{
    free(r->spawn.forgiven);
    free(r->spawn.connected);
    free(r->spawn.absent);
}

bool spawn_is_possible(const cairn_process *p)
{
    const spawning *s = &p->recovery->spawn;

    return s->next < p->peers && !p->finishing;
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

        if (other != RC_NONE && other != rank && !r->silent[other] && (other < s->first || other < s->next) &&
            !s->connected[(size_t)rank * p->peers + other]) {
            return false;
        }
    }
    return rank < s->next;
}

/* ---------------------------------------------------------------- the leader */

/* Spares first: they are numbered last. RC_NONE: only this rank is left. */
static uint32_t who_spawns(const cairn_process *p)
{
    const recovery *r = p->recovery;

    for (uint32_t i = p->peers; i-- > 0;) {
        if (i != p->self && r->ranks[i] != RC_NONE && !r->silent[r->ranks[i]] && spawn_is_usable(p, r->ranks[i])) {
            return r->ranks[i];
        }
    }
    return own_rank(p);
}

static void order(cairn_process *p, double now)
{
    recovery *r = p->recovery;
    spawning *s = &r->spawn;
    uint32_t rank = who_spawns(p);
    uint32_t peer = recovery_peer_of(p, rank);

    s->until = now + UNDER_WAY;
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

void spawn_consider(cairn_process *p, double now)
{
    const recovery *r = p->recovery;
    spawning *s = &p->recovery->spawn;
    uint32_t idle = 0;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < p->peers; i++) {
        uint32_t rank = r->ranks[i];

        if (rank == RC_NONE) {
            continue;
        }
        if (i < p->count) {
            lost += r->silent[rank];
        } else {
            idle += !r->silent[rank] && spawn_is_usable(p, rank);
        }
    }
    if (idle >= lost) {
        s->until = 0.0;
    } else if (spawn_is_possible(p) && now >= s->until) {
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
    return cairn_pack_ok(pack);
}

static void spawn_one(cairn_process *p)
{
    recovery *r = p->recovery;
    spawning *s = &r->spawn;
    char program[4096] = "";
    char folder[4096] = "";
    uint32_t *peer_of = calloc(p->peers, sizeof *peer_of);
    uint32_t *others = calloc(p->peers, sizeof *others);
    char(*ports)[CAIRN_PORT_BYTES] = calloc(p->peers, sizeof *ports);
    cairn_pack facts = {0};
    cairn_error error = {CAIRN_E_NOMEM, "out of memory"};
    cairn_link_birth child = {.slot = s->place,
                              .parent = own_rank(p),
                              .peer_of = peer_of,
                              .program = program,
                              .folder = folder,
                              .arguments = p->arguments + 1};
    cairn_status status = CAIRN_E_NOMEM;

    for (uint32_t i = 0; peer_of != NULL && others != NULL && i < p->peers; i++) {
        uint32_t rank = r->ranks[i];

        if (rank == RC_NONE) {
            continue;
        }
        peer_of[rank] = i;
        if (i != p->self && !s->absent[rank] && cairn_link_reaches(p->link, i)) {
            others[child.others++] = i;
        }
    }
    if (peer_of != NULL && others != NULL && ports != NULL && pack_facts(p, &facts) &&
        readlink("/proc/self/exe", program, sizeof program - 1) > 0 && getcwd(folder, sizeof folder) != NULL) {
        child.facts = facts.data;
        child.facts_bytes = facts.bytes;
        status = cairn_link_spawn(p->link, &child, ports, &error);
    }
    if (status != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: no rank could be started to be a spare: %s\n", p->self, error.text);
    }
    for (uint32_t i = 0; status == CAIRN_OK && i < child.others; i++) {
        port_offer offer = {.place = s->place};

        memcpy(offer.port, ports[i], sizeof offer.port);
        cairn_send_control_bytes(p, others[i], CONTROL_PORT, 0, &offer, sizeof offer);
    }
    if (status == CAIRN_OK) {
        say_connected(p, s->place);
    }
    free(peer_of);
    free(others);
    free(ports);
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

    if (s->due) {
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
    for (uint32_t i = 0; i < p->peers; i++) {
        s->forgiven[i] = now + (i == peer ? FORGIVE_SPAWN : FORGIVE_CONNECT);
    }
    if (rank == own_rank(p) && !p->finishing) {
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
    } else if (e->tag == CONTROL_CONNECTED && e->sequence < p->peers) {
        r->spawn.connected[(size_t)e->sequence * p->peers + from] = 1;
        r->spawn.connected[(size_t)from * p->peers + e->sequence] = 1;
    }
}

/* ---------------------------------------------------------------- the child */

cairn_status cairn_spawned_join(cairn_process *p)
{
    size_t bytes;
    const void *data = cairn_link_facts(p->link, &bytes);
    cairn_unpack u = {.data = data, .bytes = bytes};
    const uint8_t *at;
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
    if (u.bad) {
        return cairn_fail(&p->error, CAIRN_E_BUG, "what the parent told is cut off");
    }
    memcpy(r->spawn.connected, at, (size_t)p->peers * p->peers);
    for (uint32_t i = 0; i < p->peers; i++) { /* who connected before the facts were all here */
        if (r->ranks[i] != RC_NONE && cairn_link_reaches(p->link, i)) {
            r->spawn.connected[(size_t)p->self * p->peers + r->ranks[i]] = 1;
            r->spawn.connected[(size_t)r->ranks[i] * p->peers + p->self] = 1;
        }
    }
    return cairn_consensus_join(p, &group, &p->error);
}
