/* The run itself: members come up and go down, and one thing happens after the other; see paxos_world.h. */
#include "paxos_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 2000000 /* a run that goes on for longer is endless */

uint64_t pw_hash(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;

    for (; bytes >= sizeof(uint64_t); at += sizeof(uint64_t), bytes -= sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3U;
    }
    return hash ^ hash >> 29;
}

void pw_fail(pw_world *w, const char *property, const char *format, ...)
{
    va_list arguments;

    if (w->result->broken == NULL) {
        w->result->broken = property;
        va_start(arguments, format);
        vsnprintf(w->result->detail, sizeof w->result->detail, format, arguments);
        va_end(arguments);
        if (w->options->trace != NULL) {
            fprintf(w->options->trace, "%12.3f ms  BROKEN %s: %s\n", (double)w->now / 1000, property,
                    w->result->detail);
        }
    }
}

void pw_say(pw_world *w, const pw_member *m, const char *format, ...)
{
    va_list arguments;

    if (w->options->trace == NULL) {
        return;
    }
    if (m == NULL) {
        fprintf(w->options->trace, "%12.3f ms  -  ", (double)w->now / 1000);
    } else {
        fprintf(w->options->trace, "%12.3f ms  %" PRIu32 "  ", (double)w->now / 1000, m->id);
    }
    va_start(arguments, format);
    vfprintf(w->options->trace, format, arguments);
    va_end(arguments);
    fputc('\n', w->options->trace);
}

uint64_t pw_local(const pw_world *w, const pw_member *m)
{
    return m->offset + w->now + w->now * m->ppm / 1000000;
}

void pw_plan(pw_world *w, uint64_t time, pw_happening what)
{
    agenda_plan(&w->agenda, time, &what);
}

static void plan_tick(pw_world *w, const pw_member *m)
{
    /* At least every heartbeat / 4 of its own clock, which may be fast. */
    uint64_t most = w->paxos.heartbeat / 4 * 1000 / (1000 + w->paxos.drift);

    pw_plan(w, w->now + most / 2 + pw_below(w, most / 2) + 1,
            (pw_happening){.what = PW_TICK, .to = m->id, .life = m->life});
}

bool pw_first(pw_world *w, const pw_member *m)
{
    return (m->id == w->paxos.acceptors[0] && !m->formed) || (m->acceptor && w->weather.hasty && pw_one_in(w, 2));
}

void pw_start(pw_world *w, pw_member *m)
{
    m->life++;
    if (w->weather.jumps && pw_one_in(w, 2)) {
        m->offset = pw_below(w, 2) == 0 ? pw_below(w, 1000) : pw_below(w, UINT64_C(1) << 40);
    }
    m->looked = 0;
    m->led = false;
    m->paused_until = 0;
    m->up = true;
    if (!w->kind->start(w, m)) {
        m->up = false;
        pw_plan(w, w->now + w->paxos.election, (pw_happening){.what = PW_START, .to = m->id});
        return;
    }
    pw_say(w, m, "is up: applied %" PRIu64 ", chosen %" PRIu64 ", promised %" PRIx64 ", generation %" PRIu32,
           w->kind->applied(m), mp_chosen(w->kind->core(m)), mp_promised(w->kind->core(m)),
           mp_generation(w->kind->core(m)));
    if (m->acceptor && mp_generation(w->kind->core(m)) > 0 && mp_promised(w->kind->core(m)) < m->said.promised) {
        pw_fail(w, "promise", "%" PRIu32 " restarts with promise %" PRIx64 " and had promised %" PRIx64, m->id,
                mp_promised(w->kind->core(m)), m->said.promised);
    }
    plan_tick(w, m);
}

void pw_crash(pw_world *w, pw_member *m)
{
    if (m->up) {
        pw_say(w, m, "crashes");
        w->kind->crash(w, m);
        m->up = false;
        m->life++;
        w->result->counts[PW_CRASHES]++;
    }
}

static void of_member(pw_world *w, pw_member *m, const pw_happening *h)
{
    switch (h->what) {
    case PW_ARRIVE:
        w->kind->arrive(w, m, h->from, h->data, h->bytes);
        break;
    case PW_TICK:
        w->kind->tick(w, m);
        plan_tick(w, m);
        break;
    default:
        w->kind->own(w, m, h);
    }
    if (m->up) {
        pw_watch_member(w, m);
    }
}

static void happen(pw_world *w, pw_happening *h)
{
    pw_member *m = &w->members[h->what == PW_CLIENT ? 0 : h->to];

    switch (h->what) {
    case PW_FAULT:
        if (w->healed_at == 0) {
            pw_fault(w);
        }
        break;
    case PW_STRIKE:
        if (w->healed_at == 0 && m->up && h->life == m->life) {
            pw_crash(w, m);
            pw_plan(w, w->now + pw_below(w, w->paxos.election), (pw_happening){.what = PW_START, .to = m->id});
        }
        break;
    case PW_HEAL:
        pw_heal(w);
        break;
    case PW_TEASE:
        pw_tease(w);
        break;
    case PW_CLIENT:
        w->kind->client(w, h->to);
        break;
    case PW_START:
        if (!m->up && !m->dead) {
            pw_start(w, m);
            if (m->up) {
                pw_watch_member(w, m);
            }
        }
        break;
    default:
        if (!m->up || (h->life != m->life && h->what != PW_ARRIVE)) {
            break;
        }
        if (m->paused_until > w->now) {
            pw_plan(w, m->paused_until + pw_below(w, 100), *h); /* in whatever order */
            return;                                             /* keeps its data */
        }
        of_member(w, m, h);
    }
    free(h->data);
}

static void run(pw_world *w)
{
    pw_happening h;

    while (w->result->broken == NULL && w->agenda.count > 0 && !w->done) {
        w->now = agenda_take(&w->agenda, &h);
        w->result->digest = pw_hash(w->result->digest ^ w->now ^ (uint64_t)h.what << 56, &h.to, sizeof h.to);
        happen(w, &h);
        if (++w->result->counts[PW_EVENTS] > EVENTS_MAX) {
            pw_fail(w, "shell", "more than %d events", EVENTS_MAX);
        }
        if (w->healed_at != 0 && (w->now >= w->end_at || pw_is_over(w))) {
            pw_watch_end(w);
            w->done = true;
        }
    }
}

void pw_run(uint64_t seed, const pw_kind *kind, const pw_options *options, pw_result *result)
{
    pw_world *w = calloc(1, sizeof *w);
    pw_happening h;

    if (w == NULL) {
        abort();
    }
    memset(result, 0, sizeof *result);
    w->options = options;
    w->kind = kind;
    w->result = result;
    w->random = chance_begin(seed);
    w->agenda.item_bytes = sizeof(pw_happening);
    pw_draw(w);
    kind->begin(w);
    for (uint32_t i = 0; i < w->count; i++) {
        pw_plan(w, pw_one_in(w, 3) ? pw_below(w, w->paxos.election * 2) : 0, (pw_happening){.what = PW_START, .to = i});
    }
    run(w);
    while (w->agenda.count > 0) {
        agenda_take(&w->agenda, &h);
        free(h.data);
    }
    kind->end(w);
    for (uint32_t i = 0; i < w->count; i++) {
        pw_forget_said(&w->members[i]);
        free(w->members[i].known);
    }
    agenda_free(&w->agenda);
    free(w->slots);
    free(w->admitted);
    free(w);
}
