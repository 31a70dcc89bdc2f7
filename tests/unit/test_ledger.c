/* Goal: every block ends up in the aggregates of exactly one living process, whoever dies when and however late the
 * others hear of it; what parts cover is counted right.
 * Method: random processes on a store that compares revisions, each with a ledger that hears of the store late. */
#include "dataset/ledger.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static void partitions_hold_every_block_once(void)
{
    static const uint32_t blocks[] = {0, 1, 2, 7, 256, 1000};

    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
        for (uint32_t n = 1; n <= 9; n++) {
            cairn_ledger l;
            uint32_t *seen = calloc(blocks[b] + 1, sizeof *seen);
            uint32_t *owner = calloc(blocks[b] + 1, sizeof *owner);
            uint32_t next = 0;
            bool whole = true;

            for (uint32_t i = 0; i < blocks[b]; i++) {
                owner[i] = rng() % 2 == 0 ? CAIRN_NOBODY : (uint32_t)(rng() % n);
            }
            CU_ASSERT_FATAL(cairn_ledger_init(&l, blocks[b], n, b % 2 == 0 ? NULL : owner) == CAIRN_OK);
            for (uint32_t i = 0; i < l.count; i++) {
                whole = whole && l.partitions[i].first == next && l.partitions[i].count > 0;
                next += l.partitions[i].count;
                for (uint32_t k = 0; k < l.partitions[i].count; k++) {
                    uint32_t block = l.order[l.partitions[i].first + k];

                    seen[block]++;
                    whole = whole && (b % 2 == 0 || l.partitions[i].owner == owner[block]);
                }
            }
            for (uint32_t i = 0; i < blocks[b]; i++) {
                whole = whole && seen[i] == 1;
            }
            CU_ASSERT(whole && next == blocks[b]);
            cairn_ledger_free(&l);
            free(seen);
            free(owner);
        }
    }
}

/* Large ones first, none so large that reading one again takes long, and not so many that the service has much to do.
 */
static void partitions_are_of_good_sizes(void)
{
    cairn_ledger l;

    CU_ASSERT_FATAL(cairn_ledger_init(&l, 2560, 4, NULL) == CAIRN_OK);
    CU_ASSERT(l.partitions[0].count <= 2560 / 32 && l.partitions[l.count - 1].count <= 20);
    CU_ASSERT(l.count < 100);
    for (uint32_t i = 1; i < l.count; i++) {
        CU_ASSERT(l.partitions[i].count <= l.partitions[i - 1].count);
    }
    cairn_ledger_free(&l);
}

static void taken_and_lost(void)
{
    cairn_ledger l;

    CU_ASSERT_FATAL(cairn_ledger_init(&l, 64, 3, NULL) == CAIRN_OK);
    CU_ASSERT(cairn_ledger_next(&l, 0) == 0 && cairn_ledger_next(&l, 1) == 1 && cairn_ledger_next(&l, 2) == 2);
    cairn_ledger_note(&l, 1, 1, 10);
    cairn_ledger_note(&l, 0, 0, 11);
    CU_ASSERT(!cairn_ledger_is_open(&l, 0) && cairn_ledger_next(&l, 0) == 2);
    cairn_ledger_note(&l, 2, 2, 12);
    CU_ASSERT(cairn_ledger_next(&l, 1) == 3);
    cairn_ledger_lose(&l, 0);
    CU_ASSERT(cairn_ledger_is_open(&l, 0) && cairn_ledger_next(&l, 1) == 0);
    cairn_ledger_note(&l, 0, 1, 13);
    cairn_ledger_note(&l, 0, 0, 11); /* old news */
    CU_ASSERT(!cairn_ledger_is_open(&l, 0) && cairn_ledger_next(&l, 1) == 3);
    cairn_ledger_note(&l, 3, 0, 14); /* by a lost one that did not know it */
    CU_ASSERT(cairn_ledger_next(&l, 1) == 3);
    cairn_ledger_clear(&l);
    CU_ASSERT(cairn_ledger_is_open(&l, 1) && l.lost[0]);
    cairn_ledger_free(&l);
}

static void owned_blocks_open_with_their_owner(void)
{
    uint32_t owner[20];
    cairn_ledger l;

    for (uint32_t i = 0; i < 20; i++) {
        owner[i] = i < 10 ? 1 : 0;
    }
    CU_ASSERT_FATAL(cairn_ledger_init(&l, 20, 2, owner) == CAIRN_OK);
    CU_ASSERT(cairn_ledger_next(&l, 0) == CAIRN_NOBODY && cairn_ledger_next(&l, 1) == CAIRN_NOBODY);
    cairn_ledger_lose(&l, 1);
    CU_ASSERT_FATAL(cairn_ledger_next(&l, 0) != CAIRN_NOBODY);
    CU_ASSERT(l.partitions[cairn_ledger_next(&l, 0)].owner == 1);
    cairn_ledger_free(&l);
}

static void cover_counts(void)
{
    const uint32_t all[] = {0, 1, 2, 3, 4}, left[] = {3, 0}, right[] = {1, 2, 4}, twice[] = {1, 1}, beyond[] = {5};
    cairn_cover c;

    CU_ASSERT_FATAL(cairn_cover_init(&c, 5, 3) == CAIRN_OK);
    CU_ASSERT(!cairn_cover_complete(&c));
    CU_ASSERT(cairn_cover_put(&c, 0, left, 2) == CAIRN_OK && !cairn_cover_complete(&c));
    CU_ASSERT(cairn_cover_put(&c, 2, right, 3) == CAIRN_OK && cairn_cover_complete(&c));
    CU_ASSERT(cairn_cover_put(&c, 1, right, 1) == CAIRN_OK && !cairn_cover_complete(&c)); /* block 1 twice */
    CU_ASSERT(cairn_cover_put(&c, 1, twice, 2) == CAIRN_E_INVALID);
    CU_ASSERT(cairn_cover_put(&c, 1, beyond, 1) == CAIRN_E_INVALID);
    CU_ASSERT(cairn_cover_put(&c, 3, right, 1) == CAIRN_E_INVALID && !cairn_cover_complete(&c));
    CU_ASSERT(cairn_cover_put(&c, 1, NULL, 0) == CAIRN_OK && cairn_cover_complete(&c)); /* in place of the earlier */
    cairn_cover_drop(&c, 0);
    CU_ASSERT(!cairn_cover_complete(&c));
    CU_ASSERT(cairn_cover_put(&c, 1, all, 5) == CAIRN_OK && !cairn_cover_complete(&c));
    cairn_cover_drop(&c, 2);
    cairn_cover_drop(&c, 2);
    CU_ASSERT(cairn_cover_complete(&c));
    cairn_cover_free(&c);
}

/* ---------------------------------------------------------------- a world */

enum { PROCESSES = 6, BLOCKS_MAX = 300 };

typedef struct world {
    uint32_t n, blocks, collector;
    cairn_ledger store; /* what the service has; lost: who is decided to be lost */
    uint64_t revision;
    cairn_ledger view[PROCESSES];
    bool dead[PROCESSES], knows[PROCESSES][PROCESSES], sent[PROCESSES];
    bool has[PROCESSES][BLOCKS_MAX];
    cairn_cover cover;
} world;

static void hear_some(world *w, uint32_t self)
{
    for (uint32_t i = 0; i < w->store.count; i++) {
        if (rng() % 3 == 0 && w->store.partitions[i].modified != 0) {
            cairn_ledger_note(&w->view[self], i, w->store.partitions[i].taker, w->store.partitions[i].modified);
        }
    }
}

static void learn_losses(world *w, uint32_t self, bool all)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->store.lost[i] && !w->knows[self][i] && (all || rng() % 4 == 0)) {
            w->knows[self][i] = true;
            w->sent[self] = false;
            cairn_ledger_lose(&w->view[self], i);
            if (self == w->collector) {
                cairn_cover_drop(&w->cover, i);
            }
        }
    }
}

static uint32_t lowest(const world *w, uint32_t self)
{
    uint32_t i = 0;

    while (i < self && w->knows[self][i]) {
        i++;
    }
    return i;
}

static void send_part(world *w, uint32_t self)
{
    uint32_t list[BLOCKS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < w->blocks; i++) {
        if (w->has[self][i]) {
            list[count++] = i;
        }
    }
    w->sent[self] = true;
    if (lowest(w, self) == w->collector && !w->knows[w->collector][self]) {
        CU_ASSERT(cairn_cover_put(&w->cover, self, list, count) == CAIRN_OK);
    }
}

/* One move of a living process: take a partition if the store agrees, and read it. */
static void move(world *w, uint32_t self)
{
    cairn_ledger *view = &w->view[self];
    uint32_t at;

    hear_some(w, self);
    learn_losses(w, self, false);
    at = cairn_ledger_next(view, self);
    if (at == CAIRN_NOBODY) {
        if (!w->sent[self]) {
            send_part(w, self);
        }
        return;
    }
    if (view->partitions[at].modified != w->store.partitions[at].modified) {
        cairn_ledger_note(view, at, w->store.partitions[at].taker, w->store.partitions[at].modified);
        return;
    }
    cairn_ledger_note(&w->store, at, self, ++w->revision);
    cairn_ledger_note(view, at, self, w->revision);
    for (uint32_t k = 0; k < view->partitions[at].count; k++) {
        w->has[self][view->order[view->partitions[at].first + k]] = true;
    }
}

/* The collector's death is known to its follower first; the others send their parts again. */
static void kill_one(world *w)
{
    uint32_t alive = 0;
    uint32_t victim = (uint32_t)(rng() % w->n);

    for (uint32_t i = 0; i < w->n; i++) {
        alive += !w->dead[i];
    }
    if (alive == 1 || w->dead[victim]) {
        return;
    }
    w->dead[victim] = true;
    w->store.lost[victim] = true;
    while (w->dead[w->collector]) {
        w->collector++;
    }
    if (victim < w->collector) {
        cairn_cover_free(&w->cover);
        CU_ASSERT_FATAL(cairn_cover_init(&w->cover, w->blocks, w->n) == CAIRN_OK);
        learn_losses(w, w->collector, true);
    }
}

/* What the cover says of its parts is what their processes have read. */
static void check_cover(const world *w)
{
    for (uint32_t i = 0; i < w->blocks; i++) {
        CU_ASSERT(w->cover.parts[i] == 1);
    }
    for (uint32_t p = 0; p < w->n; p++) {
        for (uint32_t k = 0; w->cover.of[p] != NULL && k < w->cover.count[p]; k++) {
            CU_ASSERT(w->has[p][w->cover.of[p][k]] && !w->knows[w->collector][p]);
        }
    }
}

static void begin_world(world *w)
{
    memset(w, 0, sizeof *w);
    w->n = 1 + (uint32_t)(rng() % PROCESSES);
    w->blocks = 1 + (uint32_t)(rng() % BLOCKS_MAX);
    CU_ASSERT_FATAL(cairn_ledger_init(&w->store, w->blocks, w->n, NULL) == CAIRN_OK);
    CU_ASSERT_FATAL(cairn_cover_init(&w->cover, w->blocks, w->n) == CAIRN_OK);
    for (uint32_t i = 0; i < w->n; i++) {
        CU_ASSERT_FATAL(cairn_ledger_init(&w->view[i], w->blocks, w->n, NULL) == CAIRN_OK);
    }
}

static void whoever_dies_every_block_is_covered_once(void)
{
    for (int run = 0; run < 400; run++) {
        static world w;
        int moves = 0;

        begin_world(&w);
        while (!cairn_cover_complete(&w.cover) && ++moves < 100000) {
            uint32_t self = (uint32_t)(rng() % w.n);

            if (rng() % 60 == 0) {
                kill_one(&w);
            }
            if (!w.dead[self]) {
                move(&w, self);
            }
        }
        CU_ASSERT(moves < 100000);
        check_cover(&w);
        cairn_cover_free(&w.cover);
        cairn_ledger_free(&w.store);
        for (uint32_t i = 0; i < w.n; i++) {
            cairn_ledger_free(&w.view[i]);
        }
    }
}

UNIT_MAIN("ledger", {"every block once", partitions_hold_every_block_once}, {"sizes", partitions_are_of_good_sizes},
          {"taken and lost", taken_and_lost}, {"owned blocks", owned_blocks_open_with_their_owner},
          {"cover", cover_counts}, {"whoever dies", whoever_dies_every_block_is_covered_once})
