/* Logical clocks: Lamport's rules, and the strong clock condition against brute force.
 *
 * Method of the random part: draw histories of processes that send, receive and work; compute "happened before" as the
 * transitive closure of its definition (order within a process, send before receive); then every pair of events must
 * compare so. */
#include <cairn/clock.h>

#include "support/unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES 5
#define EVENTS    60
#define HISTORIES 300

typedef struct event {
    size_t process;
    uint64_t lamport;
    uint64_t vector[PROCESSES];
    bool is_open_send; /* a send that nobody has received yet */
} event;

typedef struct history {
    event events[EVENTS];
    bool before[EVENTS][EVENTS]; /* [a][b]: a happened before b */
} history;

static uint64_t state = 1;

static uint64_t below(uint64_t bound)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % bound;
}

/* Events are drawn one after the other, so an event has only earlier ones before it. */
static void draw_history(history *h)
{
    uint64_t lamport[PROCESSES] = {0};
    uint64_t vector[PROCESSES][PROCESSES] = {{0}};

    memset(h, 0, sizeof *h);
    for (size_t i = 0; i < EVENTS; i++) {
        event *e = &h->events[i];
        size_t p = (size_t)below(PROCESSES);
        size_t sent = EVENTS;

        e->process = p;
        for (size_t j = 0; j < i && below(2) == 0; j++) { /* some open send of another process */
            size_t k = (size_t)below(i);

            if (h->events[k].is_open_send && h->events[k].process != p) {
                sent = k;
            }
        }
        if (sent < EVENTS) {
            h->events[sent].is_open_send = false;
            lamport[p] = cairn_lamport_receive(lamport[p], h->events[sent].lamport);
            cairn_vector_receive(vector[p], h->events[sent].vector, PROCESSES, p);
            h->before[sent][i] = true;
        } else {
            e->is_open_send = below(2) == 0;
            lamport[p] = e->is_open_send ? cairn_lamport_send(lamport[p]) : cairn_lamport_local(lamport[p]);
            cairn_vector_local(vector[p], PROCESSES, p);
        }
        e->lamport = lamport[p];
        memcpy(e->vector, vector[p], sizeof e->vector);
        for (size_t j = 0; j < i; j++) {
            h->before[j][i] = h->before[j][i] || h->events[j].process == p;
        }
        for (size_t j = 0; j < i; j++) {
            for (size_t k = 0; k < i; k++) {
                h->before[k][i] = h->before[k][i] || (h->before[k][j] && h->before[j][i]);
            }
        }
    }
}

static void vectors_tell_exactly_what_happened_before(void)
{
    static history h;
    size_t concurrent = 0;
    size_t wrong = 0;

    for (int n = 0; n < HISTORIES; n++) {
        draw_history(&h);
        for (size_t a = 0; a < EVENTS; a++) {
            for (size_t b = 0; b < EVENTS; b++) {
                cairn_order order = a == b           ? CAIRN_EQUAL
                                    : h.before[a][b] ? CAIRN_BEFORE
                                    : h.before[b][a] ? CAIRN_AFTER
                                                     : CAIRN_CONCURRENT;

                concurrent += order == CAIRN_CONCURRENT;
                wrong += cairn_vector_compare(h.events[a].vector, h.events[b].vector, PROCESSES) != order;
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(concurrent > 1000); /* else the histories are too tame to say anything */
}

static void lamport_never_contradicts_what_happened_before(void)
{
    static history h;
    size_t wrong = 0;
    size_t unrelated_in_order = 0;

    for (int n = 0; n < HISTORIES; n++) {
        draw_history(&h);
        for (size_t a = 0; a < EVENTS; a++) {
            for (size_t b = 0; b < EVENTS; b++) {
                bool less = h.events[a].lamport < h.events[b].lamport;
                cairn_order total = cairn_lamport_compare(h.events[a].lamport, (uint32_t)h.events[a].process,
                                                          h.events[b].lamport, (uint32_t)h.events[b].process);

                wrong += h.before[a][b] && (!less || total != CAIRN_BEFORE);
                wrong += (total == CAIRN_EQUAL) != (a == b) || total == CAIRN_CONCURRENT;
                unrelated_in_order += less && !h.before[a][b];
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(unrelated_in_order > 0); /* the converse does not hold: that is what vectors are for */
}

static void lamport_follows_the_two_rules(void)
{
    CU_ASSERT_EQUAL(cairn_lamport_local(0), 1);
    CU_ASSERT_EQUAL(cairn_lamport_send(41), 42);
    CU_ASSERT_EQUAL(cairn_lamport_receive(5, 9), 10); /* max(LC, TS) + 1 */
    CU_ASSERT_EQUAL(cairn_lamport_receive(9, 5), 10);
    CU_ASSERT_EQUAL(cairn_lamport_receive(7, 7), 8);
    CU_ASSERT_EQUAL(cairn_lamport_receive(0, 0), 1);
}

static void lamport_order_is_total(void)
{
    CU_ASSERT_EQUAL(cairn_lamport_compare(1, 9, 2, 0), CAIRN_BEFORE);
    CU_ASSERT_EQUAL(cairn_lamport_compare(2, 0, 1, 9), CAIRN_AFTER);
    CU_ASSERT_EQUAL(cairn_lamport_compare(2, 0, 2, 1), CAIRN_BEFORE);
    CU_ASSERT_EQUAL(cairn_lamport_compare(2, 1, 2, 0), CAIRN_AFTER);
    CU_ASSERT_EQUAL(cairn_lamport_compare(2, 1, 2, 1), CAIRN_EQUAL);
    CU_ASSERT_EQUAL(cairn_lamport_compare(UINT64_MAX, 0, 0, 0), CAIRN_AFTER);
}

static void vector_receive_merges_and_counts(void)
{
    uint64_t mine[4] = {3, 0, 7, 1};
    const uint64_t theirs[4] = {2, 5, 7, 4};
    const uint64_t merged[4] = {3, 5, 8, 4};

    cairn_vector_receive(mine, theirs, 4, 2);
    CU_ASSERT_EQUAL(memcmp(mine, merged, sizeof mine), 0);
    cairn_vector_local(mine, 4, 0);
    CU_ASSERT_EQUAL(mine[0], 4);
    cairn_vector_local(mine, 4, 4); /* no such process: nothing is touched */
    CU_ASSERT_EQUAL(mine[0] + mine[1] + mine[2] + mine[3], 4 + 5 + 8 + 4);
}

static void vector_comparison_has_four_answers(void)
{
    const uint64_t a[3] = {1, 2, 3};
    const uint64_t b[3] = {1, 2, 4};
    const uint64_t c[3] = {0, 9, 3};

    CU_ASSERT_EQUAL(cairn_vector_compare(a, a, 3), CAIRN_EQUAL);
    CU_ASSERT_EQUAL(cairn_vector_compare(a, b, 3), CAIRN_BEFORE);
    CU_ASSERT_EQUAL(cairn_vector_compare(b, a, 3), CAIRN_AFTER);
    CU_ASSERT_EQUAL(cairn_vector_compare(a, c, 3), CAIRN_CONCURRENT);
    CU_ASSERT_EQUAL(cairn_vector_compare(c, a, 3), CAIRN_CONCURRENT);
    CU_ASSERT_EQUAL(cairn_vector_compare(a, b, 2), CAIRN_EQUAL);
    CU_ASSERT_EQUAL(cairn_vector_compare(a, b, 0), CAIRN_EQUAL);
}

static void every_answer_has_a_name(void)
{
    CU_ASSERT_STRING_EQUAL(cairn_order_text(CAIRN_EQUAL), "equal");
    CU_ASSERT_STRING_EQUAL(cairn_order_text(CAIRN_BEFORE), "before");
    CU_ASSERT_STRING_EQUAL(cairn_order_text(CAIRN_AFTER), "after");
    CU_ASSERT_STRING_EQUAL(cairn_order_text(CAIRN_CONCURRENT), "concurrent");
    CU_ASSERT_STRING_EQUAL(cairn_order_text((cairn_order)99), "unknown");
}

UNIT_MAIN("clock", {"vectors tell what happened before", vectors_tell_exactly_what_happened_before},
          {"lamport never contradicts it", lamport_never_contradicts_what_happened_before},
          {"lamport's rules", lamport_follows_the_two_rules}, {"lamport's total order", lamport_order_is_total},
          {"vector receive", vector_receive_merges_and_counts},
          {"vector comparison", vector_comparison_has_four_answers}, {"names", every_answer_has_a_name})
