/* Random numbers, the event queue, and saying what happens; see simulator.h. */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- random numbers ----------------------------------------------------------------------------------------------- */

uint64_t sim_draw(world *w)
{
    return chance_draw(&w->random);
}

uint64_t sim_below(world *w, uint64_t bound)
{
    return chance_below(&w->random, bound);
}

bool sim_one_in(world *w, uint64_t n)
{
    return chance_one_in(&w->random, n);
}

uint64_t sim_scale(world *w, uint64_t low, uint64_t high)
{
    return chance_scale(&w->random, low, high);
}

/* Around `typical`, sometimes much more. */
uint64_t sim_delay(world *w, uint64_t typical)
{
    uint64_t value = typical / 2 + sim_below(w, typical + 1);

    if (sim_one_in(w, 50)) {
        value += typical * sim_below(w, 30);
    }
    return value + 1;
}

/* --- the event queue ---------------------------------------------------------------------------------------------- */

void sim_plan(world *w, uint64_t time, happening what)
{
    w->agenda.item_bytes = sizeof what;
    agenda_plan(&w->agenda, time, &what);
}

happening sim_take_next(world *w)
{
    happening first;

    uint64_t time = agenda_take(&w->agenda, &first);

    first.time = time;
    return first;
}

void sim_push(queue *q, uint64_t item)
{
    if (q->first > 64 && q->first * 2 > q->first + q->count) {
        memmove(q->items, q->items + q->first, q->count * sizeof *q->items);
        q->first = 0;
    }
    q->items = sim_grow(q->items, &q->room, q->first + q->count + 1, sizeof *q->items);
    q->items[q->first + q->count++] = item;
}

uint64_t sim_pop(queue *q)
{
    q->count--;
    return q->items[q->first++];
}

/* --- saying what happens ------------------------------------------------------------------------------------------ */

uint32_t sim_id_of(const world *w, const process *p)
{
    return (uint32_t)(p - w->processes);
}

void sim_fail(world *w, sim_property property, const char *format, ...)
{
    va_list arguments;

    if (w->result->broken == SIM_OK) {
        w->result->broken = property;
        va_start(arguments, format);
        vsnprintf(w->result->detail, sizeof w->result->detail, format, arguments);
        va_end(arguments);
    }
}

void sim_say(world *w, const process *p, const char *format, ...)
{
    va_list arguments;

    if (w->options->trace != NULL) {
        fprintf(w->options->trace, "%12.3f us  %u  ", (double)w->now / 1000, sim_id_of(w, p));
        va_start(arguments, format);
        vfprintf(w->options->trace, format, arguments);
        va_end(arguments);
        fputc('\n', w->options->trace);
    }
}

void sim_digest(world *w, uint64_t value)
{
    w->result->digest = (w->result->digest ^ value) * 0x100000001b3U;
    w->result->digest ^= w->result->digest >> 29;
}

const char *sim_message_text(uint32_t kind)
{
    static const char *const texts[] = {"MARKER", "QUERY", "PROGRESS", "AT",        "ACCEPT",
                                        "PASSED", "GO",    "PART",     "COMMITTED", "ABANDON"};

    return kind < sizeof texts / sizeof texts[0] ? texts[kind] : "?";
}

attempt *sim_attempt_of(world *w, uint64_t number)
{
    size_t index = (size_t)(number - w->first_attempt);

    if (number <= w->first_attempt || index > 100000) {
        sim_fail(w, SIM_SHELL, "attempt %llu does not exist", (unsigned long long)number);
        index = 1;
    }
    if (index >= w->attempt_room) {
        size_t old = w->attempt_room;

        w->attempts = sim_grow(w->attempts, &w->attempt_room, index + 1, sizeof *w->attempts);
        memset(w->attempts + old, 0, (w->attempt_room - old) * sizeof *w->attempts);
    }
    if (index >= w->attempt_count) {
        w->attempt_count = index + 1;
    }
    return &w->attempts[index];
}
