/* A part as bytes: what is put in comes out, from whatever pieces it is read; and whatever is cut off or changed in the
 * manifest is refused, never read past. */
#include "snapshot/parcel.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static uint64_t seed = 1;

static uint64_t draw(uint64_t bound)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (seed >> 33) % bound;
}

typedef struct given {
    cairn_part_head head;
    uint64_t counts[64];
    cairn_state states[8];
    size_t state_count;
    cairn_in_flight messages[40];
    size_t message_count;
} given;

static void *random_bytes(uint64_t bytes)
{
    char *data = malloc((size_t)bytes + 1);

    for (uint64_t i = 0; i < bytes; i++) {
        data[i] = (char)draw(256);
    }
    return data;
}

static void make(given *g)
{
    memset(g, 0, sizeof *g);
    g->head.number = 1 + draw(1000);
    g->head.count = 1 + (uint32_t)draw(5);
    g->head.process = (uint32_t)draw(g->head.count);
    g->head.incarnation = (uint32_t)draw(9);
    g->head.step = draw(2) == 0 ? UINT64_MAX : draw(100000);
    g->head.lamport = draw(1u << 30);
    for (size_t i = 0; i < 64; i++) {
        g->counts[i] = draw(1u << 30);
    }
    g->head.sent = g->counts;
    g->head.received = g->counts + 20;
    g->head.vector = draw(2) == 0 ? NULL : g->counts + 40;
    g->state_count = draw(8);
    for (size_t i = 0; i < g->state_count; i++) {
        cairn_state *s = &g->states[i];

        (void)snprintf(s->name, sizeof s->name, "state-%zu", i);
        s->kind = (cairn_state_kind)draw(4);
        s->type = s->kind == CAIRN_STATE_BYTES ? CAIRN_U8 : (cairn_type)draw(7);
        s->flags = (uint32_t)draw(2);
        s->rank = s->kind == CAIRN_STATE_BYTES ? 1 : (uint32_t)draw(3);
        s->bytes = cairn_type_bytes(s->type);
        for (uint32_t k = 0; k < s->rank; k++) {
            s->shape[k] = draw(50);
            s->global_shape[k] = s->shape[k] + draw(4);
            s->offset[k] = draw(3);
            s->bytes *= s->shape[k];
        }
        s->data = random_bytes(s->bytes);
    }
    g->message_count = draw(40);
    for (size_t i = 0; i < g->message_count; i++) {
        cairn_in_flight *m = &g->messages[i];

        m->from = (uint32_t)draw(g->head.count);
        m->stream = (uint32_t)draw(2);
        m->tag = (uint32_t)draw(100);
        m->sequence = draw(1000);
        m->lamport = draw(1000);
        m->bytes = draw(4) == 0 ? 0 : draw(300);
        m->payload = random_bytes(m->bytes);
    }
}

static void drop(given *g)
{
    for (size_t i = 0; i < g->state_count; i++) {
        free((void *)(uintptr_t)g->states[i].data);
    }
    for (size_t i = 0; i < g->message_count; i++) {
        free((void *)(uintptr_t)g->messages[i].payload);
    }
}

static bool same_state(const cairn_state *a, const cairn_state *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->type == b->type && a->flags == b->flags &&
           a->rank == b->rank && a->bytes == b->bytes && memcmp(a->shape, b->shape, sizeof a->shape) == 0 &&
           memcmp(a->global_shape, b->global_shape, sizeof a->global_shape) == 0 &&
           memcmp(a->offset, b->offset, sizeof a->offset) == 0 && memcmp(a->data, b->data, (size_t)a->bytes) == 0;
}

static bool same(const given *g, const cairn_opened_parcel *o)
{
    const cairn_part_head *a = &g->head;
    const cairn_part_head *b = &o->head;
    size_t counts = a->count * CAIRN_STREAMS * sizeof(uint64_t);
    bool yes = a->number == b->number && a->process == b->process && a->count == b->count &&
               a->incarnation == b->incarnation && a->step == b->step && a->lamport == b->lamport &&
               (a->vector == NULL) == (b->vector == NULL) && memcmp(a->sent, b->sent, counts) == 0 &&
               memcmp(a->received, b->received, counts) == 0 && g->state_count == o->state_count &&
               g->message_count == o->message_count;

    yes = yes && (a->vector == NULL || memcmp(a->vector, b->vector, a->count * sizeof(uint64_t)) == 0);
    for (size_t i = 0; yes && i < g->state_count; i++) {
        yes = same_state(&g->states[i], &o->states[i]) && (uintptr_t)o->states[i].data % 8 == 0;
    }
    for (size_t i = 0; yes && i < g->message_count; i++) {
        const cairn_in_flight *m = &g->messages[i];
        const cairn_in_flight *n = &o->messages[i];

        yes = m->from == n->from && m->stream == n->stream && m->tag == n->tag && m->sequence == n->sequence &&
              m->lamport == n->lamport && m->bytes == n->bytes && memcmp(m->payload, n->payload, (size_t)m->bytes) == 0;
    }
    return yes;
}

/* All of it, read in pieces of this size, behind each other. */
static char *read_all(const cairn_parcel *parcel, size_t piece)
{
    char *data = aligned_alloc(64, ((size_t)parcel->bytes + 63) / 64 * 64);

    memset(data, 0xee, (size_t)parcel->bytes);
    for (uint64_t at = 0; at < parcel->bytes; at += piece) {
        uint64_t left = parcel->bytes - at;

        cairn_parcel_read(parcel, at, data + at, left < piece ? (size_t)left : piece);
    }
    return data;
}

static void test_round_trip(void)
{
    for (int round = 0; round < 400; round++) {
        given g;
        cairn_parcel parcel;
        cairn_opened_parcel opened;
        cairn_error error;
        char *whole, *pieces;

        make(&g);
        CU_ASSERT_EQUAL_FATAL(cairn_parcel_make(&parcel, &g.head, g.states, g.state_count, g.messages, g.message_count),
                              CAIRN_OK);
        whole = read_all(&parcel, (size_t)parcel.bytes);
        pieces = read_all(&parcel, 1 + draw(200));
        CU_ASSERT_EQUAL_FATAL(memcmp(whole, pieces, (size_t)parcel.bytes), 0);
        CU_ASSERT_EQUAL_FATAL(cairn_parcel_open(&opened, pieces, (size_t)parcel.bytes, &error), CAIRN_OK);
        if (!same(&g, &opened)) {
            CU_FAIL_FATAL("what came out is not what was put in");
        }
        cairn_parcel_close(&opened);
        free(whole);
        free(pieces);
        cairn_parcel_free(&parcel);
        drop(&g);
    }
}

/* Cut off anywhere it is refused; with a byte of the manifest changed it is refused, or opened with other values, and
 * everything that it names lies inside (the sanitizers look). */
static void test_damage(void)
{
    uint64_t refused = 0;
    uint64_t sum = 0;

    for (int round = 0; round < 60; round++) {
        given g;
        cairn_parcel parcel;
        cairn_opened_parcel opened;
        cairn_error error;
        char *whole;

        make(&g);
        CU_ASSERT_EQUAL_FATAL(cairn_parcel_make(&parcel, &g.head, g.states, g.state_count, g.messages, g.message_count),
                              CAIRN_OK);
        whole = read_all(&parcel, (size_t)parcel.bytes);
        for (int i = 0; i < 40; i++) {
            size_t length = draw(parcel.bytes);
            char *cut = malloc(length + 1);

            memcpy(cut, whole, length);
            CU_ASSERT_EQUAL(cairn_parcel_open(&opened, cut, length, &error), CAIRN_E_CORRUPT);
            free(cut);
        }
        for (int i = 0; i < 100; i++) {
            size_t at = draw(parcel.extents[0].bytes);
            char before = whole[at];

            whole[at] = (char)(before ^ (1 << draw(8)));
            if (cairn_parcel_open(&opened, whole, (size_t)parcel.bytes, &error) != CAIRN_OK) {
                refused++;
            } else {
                for (size_t k = 0; k < opened.state_count; k++) {
                    for (uint64_t b = 0; b < opened.states[k].bytes; b++) {
                        sum += (unsigned char)((const char *)opened.states[k].data)[b];
                    }
                }
                for (size_t k = 0; k < opened.message_count; k++) {
                    for (uint64_t b = 0; b < opened.messages[k].bytes; b++) {
                        sum += (unsigned char)((const char *)opened.messages[k].payload)[b];
                    }
                }
                cairn_parcel_close(&opened);
            }
            whole[at] = before;
        }
        free(whole);
        cairn_parcel_free(&parcel);
        drop(&g);
    }
    CU_ASSERT(refused > 500);
    CU_ASSERT(sum > 0);
}

UNIT_MAIN("parts as bytes", {"round trip", test_round_trip}, {"damage", test_damage})
