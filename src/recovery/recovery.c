/* Invariants:
 *   R1 Every process has one carrier, and no rank carries two.
 *   R2 A carrier is not out.
 *   R3 View numbers only grow; a view other than 0 names a snapshot.
 *   R4 A rank that is out stays out in every later view.
 *   R5 A rank is RUNNING in a view only if the carriers of all processes have said READY for it.
 *   R6 Nobody is READY for more than it has installed: ready[self] <= current.number.
 *
 *   SPARE -chosen-> ROLLING -restored-> READY -all are ready-> RUNNING -chosen-> ROLLING ...; from each of them, when
 *   chosen without this rank: OUT. View 0 is RUNNING from the start. */
#include "recovery/recovery.h"

#include <string.h>

#define MAGIC 0x57454956u /* "VIEW" */

typedef enum phase { SPARE, ROLLING, READY, RUNNING, OUT } phase;

struct rc {
    uint32_t count, ranks, self;
    phase phase;
    bool started, leads, proposing, said_hopeless;
    uint64_t committed;
    uint64_t voided; /* the current view's snapshot, when it cannot be had; else 0 */
    rc_view current, proposal;
    uint8_t *suspect;  /* [ranks] */
    uint8_t *reserved; /* [ranks] */
    uint64_t *ready;   /* [ranks] the view that it has said READY for; RUNNING in view 0 needs none */
};

static size_t rounded(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

size_t rc_bytes(uint32_t count, uint32_t ranks)
{
    return rounded(sizeof(rc)) + rounded(ranks * sizeof(uint64_t)) + 2 * rounded(count * sizeof(uint32_t)) +
           4 * rounded(ranks);
}

rc *rc_init(void *memory, uint32_t count, uint32_t ranks, uint32_t self)
{
    char *at = memory;
    rc *core = memory;

    memset(memory, 0, rc_bytes(count, ranks));
    at += rounded(sizeof *core);
    core->ready = (uint64_t *)(void *)at;
    at += rounded(ranks * sizeof(uint64_t));
    core->current.carrier = (uint32_t *)(void *)at;
    at += rounded(count * sizeof(uint32_t));
    core->proposal.carrier = (uint32_t *)(void *)at;
    at += rounded(count * sizeof(uint32_t));
    core->current.out = (uint8_t *)at;
    at += rounded(ranks);
    core->proposal.out = (uint8_t *)at;
    at += rounded(ranks);
    core->suspect = (uint8_t *)at;
    at += rounded(ranks);
    core->reserved = (uint8_t *)at;
    core->count = count;
    core->ranks = ranks;
    core->self = self;
    for (uint32_t i = 0; i < count; i++) {
        core->current.carrier[i] = i;
    }
    core->phase = self < count ? RUNNING : SPARE;
    return core;
}

static void copy_view(const rc *core, rc_view *to, const rc_view *from)
{
    to->number = from->number;
    to->snapshot = from->snapshot;
    memcpy(to->carrier, from->carrier, core->count * sizeof *to->carrier);
    memcpy(to->out, from->out, core->ranks);
}

static uint32_t carried(const rc *core, const rc_view *view, uint32_t rank)
{
    for (uint32_t i = 0; i < core->count; i++) {
        if (view->carrier[i] == rank) {
            return i;
        }
    }
    return RC_NONE;
}

uint32_t rc_lost(const rc *core)
{
    for (uint32_t i = 0; i < core->count; i++) {
        if (core->suspect[core->current.carrier[i]]) {
            return i;
        }
    }
    return RC_NONE;
}

/* The lowest rank that could carry a process in this view. */
static uint32_t spare_of(const rc *core, const rc_view *view)
{
    for (uint32_t i = 0; i < core->ranks; i++) {
        if (!view->out[i] && !core->suspect[i] && !core->reserved[i] && carried(core, view, i) == RC_NONE) {
            return i;
        }
    }
    return RC_NONE;
}

/* false: there are too few spares. */
static bool build(rc *core)
{
    rc_view *view = &core->proposal;

    copy_view(core, view, &core->current);
    view->number++;
    view->snapshot =
        core->committed > core->current.snapshot || core->voided != 0 ? core->committed : core->current.snapshot;
    for (uint32_t i = 0; i < core->count; i++) {
        uint32_t rank = view->carrier[i];
        uint32_t spare;

        if (!core->suspect[rank]) {
            continue;
        }
        view->out[rank] = 1;
        spare = spare_of(core, view);
        if (spare == RC_NONE) {
            return false;
        }
        view->carrier[i] = spare;
    }
    return true;
}

/* The leader's duty. */
static void look(rc *core, rc_output *out)
{
    bool enough;

    if (!core->leads || !core->started || core->proposing || core->phase == OUT ||
        (rc_lost(core) == RC_NONE && core->voided == 0)) {
        return;
    }
    enough = build(core);
    if (core->proposal.snapshot == 0) { /* first: then no spare helps */
        out->hopeless = core->said_hopeless ? RC_HOPE : RC_NO_SNAPSHOT;
        core->said_hopeless = true;
    } else if (!enough) {
        out->hopeless = core->said_hopeless ? RC_HOPE : RC_NO_SPARE;
        core->said_hopeless = true;
    } else {
        core->proposing = true;
        out->propose = true;
    }
}

static void install(rc *core, const rc_view *view, rc_output *out)
{
    if (view->number <= core->current.number || core->phase == OUT) {
        return;
    }
    /* What it knew of and is newer may be void: who skips views cannot tell, and is told again of what is not. */
    if (view->number > core->current.number + 1 || view->snapshot < core->current.snapshot ||
        view->snapshot > core->committed) {
        core->committed = view->snapshot;
    }
    core->voided = 0;
    copy_view(core, &core->current, view);
    core->proposing = false;
    core->said_hopeless = false;
    core->started = true;
    out->install = true;
    if (view->out[core->self]) {
        core->phase = OUT;
        out->fenced = true;
    } else {
        core->phase = rc_process(core) == RC_NONE ? SPARE : ROLLING;
    }
}

bool rc_all_ready(const rc *core)
{
    for (uint32_t i = 0; i < core->count; i++) {
        if (core->ready[core->current.carrier[i]] != core->current.number) {
            return false;
        }
    }
    return core->current.number > 0;
}

static void consider_resuming(rc *core, rc_output *out)
{
    if (core->phase == READY && rc_all_ready(core)) {
        core->phase = RUNNING;
        out->resume = true;
    }
}

void rc_step(rc *core, const rc_event *event, rc_output *out)
{
    memset(out, 0, sizeof *out);
    switch (event->kind) {
    case RC_STARTED: /* passed on before it counts, so that if one that lives knows it all will */
        out->begun = !core->started;
        core->started = true;
        break;
    case RC_LEADS:
        core->leads = event->yes;
        if (!event->yes) { /* nobody tells it who is heard of again while it does not lead */
            core->proposing = false;
            memset(core->suspect, 0, core->ranks);
        }
        break;
    case RC_SUSPECT:
        if (event->rank < core->ranks && event->rank != core->self) {
            core->suspect[event->rank] = event->yes;
        }
        break;
    case RC_LOOKED:
        break;
    case RC_RESERVED:
        if (event->rank < core->ranks) {
            core->reserved[event->rank] = event->yes;
        }
        break;
    case RC_COMMITTED:
        if (event->number > core->committed && event->number != core->voided) {
            core->committed = event->number;
        }
        break;
    case RC_VOID:
        if (event->number == core->current.snapshot && event->older != 0 && event->older < event->number) {
            core->voided = event->number;
            core->committed = core->committed == event->number ? event->older : core->committed;
        }
        break;
    case RC_CHOSEN:
        install(core, event->view, out);
        break;
    case RC_REFUSED:
        core->proposing = false;
        break;
    case RC_RESTORED:
        if (core->phase == ROLLING && event->number == core->current.number) {
            core->phase = READY;
            core->ready[core->self] = core->current.number;
            out->ready = true;
        }
        break;
    case RC_READY:
        if (event->rank < core->ranks && event->rank != core->self && event->number > core->ready[event->rank]) {
            core->ready[event->rank] = event->number;
        }
        break;
    }
    consider_resuming(core, out);
    if (event->kind != RC_SUSPECT) { /* several may have died at once: they are replaced in one view */
        look(core, out);
    }
}

const rc_view *rc_current(const rc *core)
{
    return &core->current;
}

const rc_view *rc_proposal(const rc *core)
{
    return &core->proposal;
}

uint32_t rc_process(const rc *core)
{
    return carried(core, &core->current, core->self);
}

bool rc_running(const rc *core)
{
    return core->phase == RUNNING;
}

/* ---------------------------------------------------------------- as bytes, little-endian */

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
    return to + 4;
}

static const uint8_t *get32(const uint8_t *from, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        *value |= (uint32_t)from[i] << (8 * i);
    }
    return from + 4;
}

/* magic, count, ranks, number, snapshot (two halves), carriers; then a byte a rank: 1 = out. */
size_t rc_view_bytes(uint32_t count, uint32_t ranks)
{
    return (6 + (size_t)count) * 4 + ranks;
}

void rc_view_put(uint8_t *to, const rc_view *view, uint32_t count, uint32_t ranks)
{
    to = put32(to, MAGIC);
    to = put32(to, count);
    to = put32(to, ranks);
    to = put32(to, view->number);
    to = put32(to, (uint32_t)view->snapshot);
    to = put32(to, (uint32_t)(view->snapshot >> 32));
    for (uint32_t i = 0; i < count; i++) {
        to = put32(to, view->carrier[i]);
    }
    memcpy(to, view->out, ranks);
}

static bool is_sound(const rc_view *view, uint32_t count, uint32_t ranks)
{
    for (uint32_t i = 0; i < count; i++) {
        if (view->carrier[i] >= ranks || view->out[view->carrier[i]]) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (view->carrier[j] == view->carrier[i]) {
                return false;
            }
        }
    }
    return (view->number == 0) == (view->snapshot == 0);
}

bool rc_view_get(const uint8_t *from, size_t bytes, uint32_t count, uint32_t ranks, rc_view *view)
{
    uint32_t magic, its_count, its_ranks, low, high;

    if (bytes != rc_view_bytes(count, ranks)) {
        return false;
    }
    from = get32(from, &magic);
    from = get32(from, &its_count);
    from = get32(from, &its_ranks);
    if (magic != MAGIC || its_count != count || its_ranks != ranks) {
        return false;
    }
    from = get32(from, &view->number);
    from = get32(from, &low);
    from = get32(from, &high);
    view->snapshot = (uint64_t)high << 32 | low;
    for (uint32_t i = 0; i < count; i++) {
        from = get32(from, &view->carrier[i]);
    }
    memcpy(view->out, from, ranks);
    return is_sound(view, count, ranks);
}

bool rc_check(const rc *core, const char **broken)
{
    const char *name = NULL;

    if (!is_sound(&core->current, core->count, core->ranks)) {
        name = "R1, R2 or R3: the view is not sound";
    } else if (core->ready[core->self] > core->current.number) {
        name = "R6: ready for more than was installed";
    } else if ((core->phase == OUT) != (core->current.out[core->self] != 0)) {
        name = "R4: out, or not";
    }
    for (uint32_t i = 0; core->phase == RUNNING && core->current.number > 0 && i < core->count; i++) {
        if (core->ready[core->current.carrier[i]] < core->current.number) {
            name = "R5: runs before all are ready";
        }
    }
    if (broken != NULL) {
        *broken = name;
    }
    return name == NULL;
}
