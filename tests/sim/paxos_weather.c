/* What a seed draws, and what goes wrong: the network, crashes, pauses, disks; and the healing. See paxos_world.h. */
#include "paxos_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Within it, counted from the healing or from when it was asked, everything is answered. In election timeouts. */
#define ANSWER_ELECTIONS 30
#define QUIET_ELECTIONS  15 /* clients ask on for so long after the healing */

/* --- what a seed draws -------------------------------------------------------------------------------------------- */

static void draw_group(pw_world *w)
{
    static const uint32_t sizes[] = {1, 3, 3, 3, 5, 5, 7};
    uint32_t acceptors = sizes[pw_below(w, sizeof sizes / sizeof sizes[0])];
    uint32_t left = acceptors;

    w->count = acceptors + (pw_one_in(w, 2) ? 0 : (uint32_t)pw_below(w, PW_MAX - acceptors + 1));
    w->paxos.count = w->count;
    w->paxos.acceptor_count = acceptors;
    for (uint32_t i = 0; i < w->count; i++) {
        pw_member *m = &w->members[i];

        m->id = i;
        m->acceptor = pw_below(w, w->count - i) < left;
        if (m->acceptor) {
            w->paxos.acceptors[acceptors - left--] = i;
        }
        m->storage = chance_draw(&w->random) | 1;
    }
    w->result->processes = w->count;
    w->result->acceptors = acceptors;
}

static void draw_protocol(pw_world *w)
{
    mp_options *o = &w->paxos;

    o->window = (uint32_t)chance_between(&w->random, 4, pw_one_in(w, 2) ? 8 : 48);
    o->value_max = (uint32_t)chance_between(&w->random, sizeof(mp_admit), 96);
    o->pipeline = (uint32_t)chance_between(&w->random, 1, o->window / 2);
    o->heartbeat = chance_between(&w->random, 10000, 30000);
    o->election = o->heartbeat * chance_between(&w->random, 4, 8);
    o->lease = pw_one_in(w, 3) ? 0 : chance_between(&w->random, o->heartbeat, o->election);
    o->drift = pw_one_in(w, 3) ? 0 : (uint32_t)chance_between(&w->random, 1, 60);
    w->image_after = chance_between(&w->random, 1, 60);
    w->lease_reads = o->lease > 0 && !pw_one_in(w, 4);
    for (uint32_t i = 0; i < w->count; i++) {
        static const uint64_t extremes[] = {0, 1000};
        uint64_t part = pw_one_in(w, 2) ? extremes[pw_below(w, 2)] : pw_below(w, 1001);

        w->members[i].ppm = (uint64_t)o->drift * part;
        w->members[i].offset = pw_below(w, 2) == 0 ? 0 : pw_below(w, UINT64_C(1) << 40);
    }
}

static void draw_lease_theme(pw_world *w, bool drift)
{
    pw_weather *weather = &w->weather;

    w->paxos.lease = w->paxos.election;
    w->lease_reads = true;
    weather->delay = chance_scale(&w->random, 50, w->paxos.heartbeat / 32);
    weather->disk = chance_scale(&w->random, 20, w->paxos.heartbeat / 32);
    if (!drift) {
        weather->hasty = weather->quick = true;
        memcpy(weather->faults, (uint32_t[PW_FAULTS]){2, 6, 2, 6, 1, 0, 0, 0}, sizeof weather->faults);
        return;
    }
    w->paxos.drift = (uint32_t)chance_between(&w->random, 150, 300);
    weather->cuts_leaders = true;
    for (uint32_t i = 0; i < w->count; i++) {
        w->members[i].ppm = pw_one_in(w, 2) ? (uint64_t)w->paxos.drift * 1000 : 0;
    }
    memcpy(weather->faults, (uint32_t[PW_FAULTS]){0, 0, 0, 6, 3, 0, 0, 0}, sizeof weather->faults);
}

/* Many runs have a theme: much of what goes wrong together, so that rare accidents are not that rare. */
static void draw_theme(pw_world *w)
{
    pw_weather *weather = &w->weather;
    uint32_t *faults = weather->faults;
    uint64_t theme = pw_below(w, 10);

    if (theme > 4) {
        return;
    }
    weather->fault_every = w->paxos.heartbeat * chance_between(&w->random, 1, 8);
    switch (theme) {
    case 0: /* leases: restarts that forget */
        draw_lease_theme(w, false);
        break;
    case 1: /* leases: clocks that drift, and a leader that is cut off */
        draw_lease_theme(w, true);
        break;
    case 2: /* generations: disks are lost one after the other while messages are late */
        weather->quick = true;
        weather->delay = chance_scale(&w->random, w->paxos.heartbeat / 16, w->paxos.heartbeat / 2);
        weather->tail = 8;
        memcpy(faults, (uint32_t[PW_FAULTS]){1, 0, 1, 2, 3, 10, 0, 3}, sizeof weather->faults);
        break;
    case 3: /* reads: leaders that do not know that they lead no more */
        memcpy(faults, (uint32_t[PW_FAULTS]){0, 0, 8, 6, 2, 0, 0, 0}, sizeof weather->faults);
        break;
    default: /* ballots: one leader after the other, each with proposals that only some have got */
        w->paxos.election = w->paxos.heartbeat * 4;
        w->paxos.lease = w->paxos.lease > w->paxos.election ? w->paxos.election : w->paxos.lease;
        weather->cuts_leaders = pw_one_in(w, 2);
        weather->disk =
            pw_one_in(w, 2) ? weather->disk : chance_scale(&w->random, w->paxos.heartbeat / 8, w->paxos.heartbeat);
        weather->loss = (uint32_t)pw_below(w, 301);
        weather->hasty = weather->quick = true;
        memcpy(faults, (uint32_t[PW_FAULTS]){5, 1, 1, 8, 4, 0, 0, 5}, sizeof weather->faults);
    }
}

static void draw_faults(pw_world *w)
{
    static const uint32_t usual[PW_FAULTS] = {[PW_CRASH] = 6, [PW_CRASH_MANY] = 1, [PW_PAUSE] = 3, [PW_PARTITION] = 3,
                                              [PW_JOIN] = 3,  [PW_LOSE] = 3,       [PW_DISK] = 3,  [PW_RESIGN] = 2};
    pw_weather *weather = &w->weather;

    weather->loss = pw_one_in(w, 3) ? 0 : (uint32_t)pw_below(w, 301);
    weather->doubled = pw_one_in(w, 3) ? 0 : (uint32_t)pw_below(w, 501);
    weather->damage = pw_one_in(w, 4) ? 20 + (uint32_t)pw_below(w, 200) : 0;
    weather->jumps = pw_one_in(w, 2);
    weather->hasty = pw_one_in(w, 3);
    weather->quick = pw_one_in(w, 3);
    weather->fault_every = w->paxos.heartbeat * chance_between(&w->random, 1, 20);
    for (int i = 0; i < PW_FAULTS; i++) {
        weather->faults[i] = pw_one_in(w, 3) ? 0 : usual[i];
    }
    weather->faults[PW_JOIN] = usual[PW_JOIN];
    draw_theme(w);
    pw_plan(w, weather->fault_every, (pw_happening){.what = PW_FAULT});
}

void pw_draw(pw_world *w)
{
    pw_weather *weather = &w->weather;

    draw_group(w);
    draw_protocol(w);
    w->heal_at = w->paxos.heartbeat * chance_between(&w->random, 40, 120);
    weather->delay = chance_scale(&w->random, 50, w->paxos.heartbeat / 4);
    weather->disk = chance_scale(&w->random, 20, w->paxos.heartbeat / 4);
    weather->tail = pw_one_in(w, 4) ? 0 : (uint64_t)chance_between(&w->random, 10, 100);
    weather->in_order = pw_one_in(w, 5);
    if (!w->options->calm) {
        draw_faults(w);
    }
    pw_plan(w, w->heal_at, (pw_happening){.what = PW_HEAL});
}

/* --- the network -------------------------------------------------------------------------------------------------- */

static uint64_t delay_of(pw_world *w)
{
    uint64_t delay = w->weather.delay / 2 + pw_below(w, w->weather.delay + 1);

    if (pw_one_in(w, w->weather.tail)) {
        delay += w->weather.delay * pw_below(w, 40);
    }
    return delay + 1;
}

void pw_send(pw_world *w, uint32_t from, uint32_t to, const void *data, size_t bytes)
{
    uint32_t copies = 1 + (pw_below(w, 1000) < w->weather.doubled);

    w->result->counts[PW_MESSAGES]++;
    if (w->cut[from][to] || pw_below(w, 1000) < w->weather.loss) {
        w->result->counts[PW_LOST]++;
        return;
    }
    for (uint32_t i = 0; i < copies; i++) {
        pw_happening h = {.what = PW_ARRIVE, .to = to, .from = from, .bytes = bytes};
        uint64_t time = w->now + delay_of(w);

        if (w->weather.in_order && time < w->last_arrival[from][to]) {
            time = w->last_arrival[from][to];
        }
        w->last_arrival[from][to] = time;
        h.data = malloc(bytes + 1);
        if (h.data == NULL) {
            abort();
        }
        memcpy(h.data, data, bytes);
        if (pw_one_in(w, w->weather.damage)) {
            h.data[pw_below(w, bytes)] ^= (unsigned char)(1u << pw_below(w, 8));
            if (!w->kind->checksums) {
                free(h.data);
                continue;
            }
        }
        pw_plan(w, time, h);
    }
}

static void join_all(pw_world *w)
{
    memset(w->cut, 0, sizeof w->cut);
}

static uint32_t any_leader(const pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->members[i].up && !w->members[i].dead && mp_is_leader(w->kind->core(&w->members[i]))) {
            return i;
        }
    }
    return 0;
}

/* Sides 0 and 1; `one_way`: only what goes from 0 to 1 is lost. */
static void cut_sides(pw_world *w, const bool *side, bool one_way)
{
    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            w->cut[i][j] = side[i] != side[j] && (!one_way || !side[i]);
        }
    }
}

/* Everybody hears only the neighbours in some order. */
static void cut_to_chain(pw_world *w)
{
    uint32_t shift = (uint32_t)pw_below(w, w->count);

    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            uint32_t a = (i * 2 + shift) % w->count;
            uint32_t b = (j * 2 + shift) % w->count;

            w->cut[i][j] = a > b + 1 || b > a + 1;
        }
    }
}

/* The leader reaches less than a majority; the others reach each other, or all reach one in the middle. */
static void cut_leader(pw_world *w)
{
    uint32_t leader = any_leader(w);
    uint32_t heard = (uint32_t)pw_below(w, w->paxos.acceptor_count / 2 + 1);
    bool one_way = pw_one_in(w, 3);

    join_all(w);
    for (uint32_t i = 0; i < w->count; i++) {
        if (i == leader) {
            continue;
        }
        if (heard > 0 && pw_one_in(w, 2)) {
            heard--;
            continue;
        }
        w->cut[leader][i] = true;
        w->cut[i][leader] = !one_way;
    }
}

static void partition(pw_world *w)
{
    bool side[PW_MAX] = {false};
    uint64_t kind = w->weather.cuts_leaders ? 1 + pw_below(w, 2) * 3 : pw_below(w, 8);

    w->result->counts[PW_PARTITIONS]++;
    pw_say(w, NULL, "partition of kind %" PRIu64, kind);
    switch (kind) {
    case 0:
        cut_to_chain(w);
        return;
    case 1:
    case 2:
        cut_leader(w);
        return;
    case 3: /* single links, each way for itself */
        for (uint32_t i = 0; i < w->count; i++) {
            for (uint32_t j = 0; j < w->count; j++) {
                w->cut[i][j] = i != j && pw_one_in(w, 3);
            }
        }
        return;
    case 4:
        side[any_leader(w)] = true;
        break;
    case 5:
        side[pw_below(w, w->count)] = true;
        break;
    default:
        for (uint32_t i = 0; i < w->count; i++) {
            side[i] = pw_one_in(w, 2);
        }
    }
    cut_sides(w, side, pw_one_in(w, 3));
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

static pw_member *any_member(pw_world *w)
{
    return &w->members[pw_one_in(w, 4) ? any_leader(w) : (uint32_t)pw_below(w, w->count)];
}

static bool may_lose(const pw_world *w, const pw_member *m)
{
    uint32_t lost = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        lost += w->members[i].lost;
    }
    return m->acceptor && (m->lost || lost < (w->paxos.acceptor_count - 1) / 2);
}

static void crash_one(pw_world *w, pw_member *m)
{
    uint64_t most = w->paxos.election * (pw_one_in(w, 3) ? 8 : 2);

    if (w->weather.quick && !pw_one_in(w, 4)) {
        most = w->paxos.heartbeat;
    }
    pw_crash(w, m);
    pw_plan(w, w->now + pw_below(w, most), (pw_happening){.what = PW_START, .to = m->id});
}

static void lose_disk(pw_world *w, pw_member *m)
{
    pw_disk_fault fault = pw_one_in(w, 2) ? PW_DISK_LOSE : PW_DISK_DAMAGE;

    if (!may_lose(w, m)) {
        return;
    }
    if (m->up) {
        crash_one(w, m);
    }
    if (w->kind->fault(w, m, fault)) {
        pw_say(w, m, "its disk is %s", fault == PW_DISK_LOSE ? "lost" : "damaged");
        m->lost = true;
        w->result->counts[PW_DISKS_LOST]++;
    }
}

static void disk_fault(pw_world *w, pw_member *m)
{
    static const pw_disk_fault kinds[] = {PW_DISK_UNREADABLE, PW_DISK_FULL, PW_DISK_WELL, PW_DISK_WELL};
    pw_disk_fault fault = kinds[pw_below(w, 4)];

    if (m->acceptor && w->kind->fault(w, m, fault)) {
        w->result->counts[PW_DISK_FAULTS] += fault != PW_DISK_WELL;
        pw_say(w, m, "disk fault %d", (int)fault);
    }
}

static void crash_many(pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->members[i].up && !pw_one_in(w, 3)) {
            crash_one(w, &w->members[i]);
        }
    }
}

static void pause(pw_world *w, pw_member *m)
{
    m->paused_until = w->now + pw_below(w, w->paxos.election * 3);
    pw_say(w, m, "is paused until %.3f ms", (double)m->paused_until / 1000);
    w->result->counts[PW_PAUSES]++;
}

static pw_fault_kind draw_fault(pw_world *w)
{
    uint32_t sum = 0;
    uint32_t drawn;
    int kind = 0;

    for (int i = 0; i < PW_FAULTS; i++) {
        sum += w->weather.faults[i];
    }
    drawn = (uint32_t)pw_below(w, sum);
    while (drawn >= w->weather.faults[kind]) {
        drawn -= w->weather.faults[kind++];
    }
    return (pw_fault_kind)kind;
}

void pw_fault(pw_world *w)
{
    pw_member *m = any_member(w);
    pw_fault_kind kind = draw_fault(w);
    bool runs = m->up && m->paused_until <= w->now;

    if (kind == PW_CRASH && m->up) {
        crash_one(w, m);
    } else if (kind == PW_CRASH_MANY) {
        crash_many(w);
    } else if (kind == PW_PAUSE && runs) {
        pause(w, m);
    } else if (kind == PW_PARTITION) {
        partition(w);
    } else if (kind == PW_JOIN) {
        pw_say(w, NULL, "all are connected");
        join_all(w);
    } else if (kind == PW_LOSE) {
        lose_disk(w, m);
    } else if (kind == PW_DISK) {
        disk_fault(w, m);
    } else if (kind == PW_RESIGN && runs) {
        w->kind->resign(w, m);
    }
    pw_plan(w, w->now + 1 + pw_below(w, w->weather.fault_every * 2), (pw_happening){.what = PW_FAULT});
}

/* --- the healing -------------------------------------------------------------------------------------------------- */

bool pw_is_healed(const pw_world *w, const pw_member *m)
{
    return w->healed_at != 0 && !m->dead && m->up;
}

/* Dead, cut off, deaf or mute: nothing that the healed may be hurt by. Or cut off from the leader only: later, when
 * there is one. */
static void give_up(pw_world *w, pw_member *m)
{
    uint64_t fate = pw_below(w, 7);

    m->teases = fate > 4;

    pw_say(w, m, "is not healed: fate %" PRIu64, fate);
    m->dead = true;
    if (fate < 2) {
        pw_crash(w, m);
        return;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        w->cut[m->id][i] = fate != 4; /* 3: it hears all and says nothing; 4: it says and hears nothing */
        w->cut[i][m->id] = fate != 3;
    }
}

static bool has_vote(const pw_world *w, const pw_member *m)
{
    return m->acceptor && m->up && mp_generation(w->kind->core(m)) > 0;
}

static void wake_all(pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        pw_member *m = &w->members[i];

        if (m->acceptor) {
            w->kind->fault(w, m, PW_DISK_WELL);
        }
        if (!m->up) {
            pw_start(w, m);
        }
        if (!m->up) {
            pw_fail(w, "shell", "%" PRIu32 " cannot start with a disk that is well", i);
        }
    }
}

void pw_heal(pw_world *w)
{
    uint32_t need = px_majority(w->paxos.acceptor_count);
    uint32_t voters = 0;

    pw_say(w, NULL, "a majority is healed");
    join_all(w);
    w->weather.loss = 0;
    w->weather.damage = 0;
    w->weather.tail = 0;
    if (w->weather.delay > w->paxos.heartbeat / 4) {
        w->weather.delay = w->paxos.heartbeat / 4;
    }
    if (w->weather.disk > w->paxos.heartbeat / 4) {
        w->weather.disk = w->paxos.heartbeat / 4;
    }
    wake_all(w);
    for (uint32_t i = 0; i < w->count; i++) {
        voters += has_vote(w, &w->members[i]);
    }
    if (voters < need) {
        pw_fail(w, "generation", "only %" PRIu32 " of %" PRIu32 " acceptors have a vote, %" PRIu32 " are needed",
                voters, w->paxos.acceptor_count, need);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        pw_member *m = &w->members[i];

        if (has_vote(w, m)) {
            bool keep = pw_below(w, voters) < need; /* so that exactly `need` of them stay, or some more */

            voters--;
            if (keep || pw_one_in(w, 4)) {
                need -= need > 0;
                continue;
            }
            give_up(w, m);
        } else if (pw_one_in(w, 4)) {
            give_up(w, m);
        }
    }
    w->healed_at = w->now;
    pw_plan(w, w->now + (CALM_ELECTIONS + 1) * w->paxos.election, (pw_happening){.what = PW_TEASE});
    w->patience = ANSWER_ELECTIONS * w->paxos.election;
    w->end_at = w->now + QUIET_ELECTIONS * w->paxos.election + w->patience;
}

/* Whoever is connected to all but the leader wants to be one itself, and must not. */
void pw_tease(pw_world *w)
{
    uint32_t leader = any_leader(w);

    if (!w->members[leader].up || w->members[leader].dead || !mp_is_leader(w->kind->core(&w->members[leader]))) {
        pw_plan(w, w->now + w->paxos.election, (pw_happening){.what = PW_TEASE});
        return;
    }
    pw_say(w, NULL, "some are connected to all but the leader, %" PRIu32, leader);
    for (uint32_t i = 0; i < w->count; i++) {
        for (uint32_t j = 0; j < w->count; j++) {
            if (i != j && (w->members[i].teases || w->members[j].teases)) {
                w->cut[i][j] = i == leader || j == leader || (w->members[i].dead && w->members[j].dead);
            }
        }
    }
}

bool pw_may_ask(const pw_world *w)
{
    return w->healed_at == 0 || w->now < w->healed_at + QUIET_ELECTIONS * w->paxos.election;
}

void pw_answered(pw_world *w, uint64_t asked_at)
{
    uint64_t *counts = w->result->counts;
    uint64_t waited = w->now - (asked_at > w->healed_at ? asked_at : w->healed_at);

    counts[PW_ANSWERED]++;
    if (w->healed_at == 0) {
        return;
    }
    if (waited > w->patience) {
        pw_fail(w, "live", "an answer took %" PRIu64 " ms in a group that is well", waited / 1000);
    }
    if (waited / 1000 > counts[PW_HEAL_SLOWEST]) {
        counts[PW_HEAL_SLOWEST] = waited / 1000;
    }
    if (waited * 10 / w->paxos.election > counts[PW_HEAL_ELECTIONS]) {
        counts[PW_HEAL_ELECTIONS] = waited * 10 / w->paxos.election;
    }
}
