/* The same history once more, without anything that the observer knows: only when clients asked, when they were answered
 * and what. tests/support/linear.h looks for an order of it. */
#include "replica_member.h"

#include "support/linear.h"

#include <inttypes.h>
#include <stdio.h>

#define STEPS_MAX 200000

static void add(linear *history, const rm_request *q, uint32_t key, linear_kind kind)
{
    char name[8];
    char value[24];
    char expected[24];
    uint64_t id = kind == LINEAR_GET ? q->found[key] : q->value;
    linear_op op = {.process = q->client, .kind = kind, .begin = q->asked_at, .end = q->answered_at, .key = name};

    if (q->answered_at == 0) {
        op.end = LINEAR_UNKNOWN;
    }
    snprintf(name, sizeof name, "k%" PRIu32, key);
    snprintf(value, sizeof value, "%" PRIu64, id);
    snprintf(expected, sizeof expected, "%" PRIu64, q->expected);
    op.value = id == RM_NO_VALUE ? NULL : value;
    op.expected = q->expected == RM_NO_VALUE ? NULL : expected;
    op.done = kind == LINEAR_CAS && q->held;
    linear_add(history, &op);
}

static void add_request(linear *history, const rm_request *q)
{
    bool read = q->what == RM_READ || q->what == RM_READ_ALL;

    if (read && q->answered_at == 0) {
        return;
    }
    for (uint32_t key = RM_SINGLE; key < RM_KEYS; key++) {
        if (q->what == RM_READ_ALL || (q->what == RM_READ && q->key == key)) {
            add(history, q, key, LINEAR_GET);
        } else if (q->what == RM_PUT && q->key == key) {
            add(history, q, key, LINEAR_PUT);
        } else if (q->what == RM_CAS && q->key == key) {
            add(history, q, key, LINEAR_CAS);
        }
    }
}

void rm_check_linear(pw_world *w)
{
    const rm_world *all = rm_of(w);
    linear *history = linear_new();
    char text[1900];

    for (size_t i = 0; i < all->request_count; i++) {
        add_request(history, &all->requests[i]);
    }
    switch (linear_check(history, STEPS_MAX, text, sizeof text)) {
    case LINEAR_NO:
        pw_fail(w, "linear", "%s", text);
        break;
    case LINEAR_UNDECIDED:
        w->result->counts[PW_UNDECIDED]++;
        break;
    default:
        w->result->counts[PW_LINEAR]++;
    }
    linear_free(history);
}
