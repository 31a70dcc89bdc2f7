/* Goal: every block is granted to exactly one owner and is done exactly once, whatever the order of events, also when it is read a
 * second time: exactly one of the two counts in the end; nobody starves; bytes and resumes keep all of it.
 * Method: random processes of different speeds; all invariants after every event; the division goes through bytes now
 * and then. */
#include "dataset/division.h"
#include "support/unit.h"

#include <string.h>

static uint64_t rng_state = 0x2545f4914f6cdd1du;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

enum { BLOCKS = 200, PROCESSES = 9 };

typedef struct bed {
    cairn_division d;
    cairn_share share[BLOCKS];
    uint32_t held[PROCESSES], asks[PROCESSES];
    uint8_t patience[PROCESSES];
    uint32_t queue[PROCESSES][BLOCKS], queued[PROCESSES]; /* granted, not done */
    uint32_t granted[BLOCKS];
    uint32_t second[PROCESSES]; /* the block that it reads a second time; BLOCKS */
    uint32_t by_owner[BLOCKS],
        by_second[BLOCKS]; /* who counts, as the owner and whoever keeps what seconds read see it */
    uint32_t seconds, kept, dropped, wasted;
    bool finished;
} bed;

static void step(bed *b, cairn_division_event event)
{
    cairn_division_output out;
    const char *broken;

    CU_ASSERT_FATAL(cairn_division_step(&b->d, &event, &out) == CAIRN_OK);
    CU_ASSERT((out.verdict == CAIRN_DIVISION_NOTHING) ==
              (event.kind != CAIRN_DIVISION_HEDGED && out.verdict != CAIRN_DIVISION_DROP));
    if (event.kind == CAIRN_DIVISION_DONE) {
        b->by_owner[event.block]++;
    }
    if (out.verdict == CAIRN_DIVISION_KEEP) {
        b->by_second[event.block]++;
        b->kept++;
    } else if (out.verdict == CAIRN_DIVISION_DROP) {
        b->by_second[event.block]--;
        b->dropped++;
    }
    b->wasted += out.verdict == CAIRN_DIVISION_WASTE;
    for (uint32_t i = 0; i < out.count; i++) {
        if (out.as_second[i]) {
            CU_ASSERT(b->queued[out.process[i]] == 0 && b->second[out.process[i]] == BLOCKS);
            CU_ASSERT(b->by_owner[out.block[i]] + b->by_second[out.block[i]] == 0);
            b->second[out.process[i]] = out.block[i];
            b->seconds++;
            continue;
        }
        b->queue[out.process[i]][b->queued[out.process[i]]++] = out.block[i];
        b->granted[out.block[i]]++;
        CU_ASSERT(b->granted[out.block[i]] == 1);
        /* Near the end nobody gets a second block. */
        CU_ASSERT(b->d.open + out.count - i > b->d.processes || b->queued[out.process[i]] == 1);
    }
    CU_ASSERT(!b->finished || !out.finished);
    b->finished = b->finished || out.finished;
    if (!cairn_division_check(&b->d, &broken)) {
        fprintf(stderr, "%s\n", broken);
        CU_FAIL_FATAL("invariant");
    }
}

static void through_bytes(bed *b)
{
    cairn_pack pack = {0};
    cairn_division_pack(&b->d, &pack);
    for (int i = 0; i < 3; i++) {
        cairn_unpack cut = {.data = pack.data, .bytes = rng() % pack.bytes};
        CU_ASSERT(cairn_division_unpack(&b->d, &cut) == CAIRN_E_CORRUPT);
    }
    cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
    CU_ASSERT_FATAL(cairn_division_unpack(&b->d, &unpack) == CAIRN_OK);
    free(pack.data);
    for (uint32_t i = 0; i < b->d.blocks; i++) { /* what seconds have read is gone: it is the owner's again */
        b->by_second[i] = 0;
    }
    b->finished = b->d.done == b->d.blocks;
}

static void empty(bed *b)
{
    memset(b, 0, sizeof *b);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        b->second[i] = BLOCKS;
    }
}

static void one_hedged(bed *b, uint32_t p)
{
    uint32_t block = b->second[p];

    if (block < BLOCKS) {
        b->second[p] = BLOCKS;
        step(b, (cairn_division_event){.kind = CAIRN_DIVISION_HEDGED, .process = p, .block = block, .rows = block});
    }
}

static void one_done(bed *b, uint32_t p)
{
    if (b->queued[p] > 0) {
        uint32_t block = b->queue[p][0];
        for (uint32_t i = 1; i < b->queued[p]; i++) {
            b->queue[p][i - 1] = b->queue[p][i];
        }
        b->queued[p]--;
        step(b, (cairn_division_event){.kind = CAIRN_DIVISION_DONE, .process = p, .block = block, .rows = block});
    }
}

static bool one_late(bed *b, uint32_t p)
{
    bool waits = b->patience[p] == CAIRN_WAITS;

    if (waits) {
        step(b, (cairn_division_event){.kind = CAIRN_DIVISION_LATE, .process = p});
        CU_ASSERT(b->patience[p] != CAIRN_WAITS);
    }
    return waits;
}

static void division_random_runs(void)
{
    static bed b;
    static uint8_t near[PROCESSES * 3];
    static uint32_t file_of[BLOCKS], near_from[PROCESSES];
    uint32_t lates = 0, stolen = 0;
    uint64_t seconds = 0, kept = 0, dropped = 0, wasted = 0;
    for (int round = 0; round < 400; round++) {
        uint32_t blocks = (uint32_t)(rng() % BLOCKS) + 1, processes = (uint32_t)(rng() % PROCESSES) + 1, ready = 0;
        empty(&b);
        cairn_division_init(&b.d, blocks, processes, b.share, b.held, b.asks, b.patience);
        if (round % 2 == 1) {
            for (uint32_t i = 0; i < PROCESSES * 3; i++) {
                near[i] = rng() % 3 == 0;
            }
            for (uint32_t i = 0; i < blocks; i++) {
                file_of[i] = i * 3 / blocks;
            }
            cairn_division_prefer(&b.d, 3, near, file_of, near_from, round % 4 == 1);
        }
        for (uint32_t i = 0; i + 1 < blocks && rng() % 3 == 0; i += 1 + (uint32_t)(rng() % 20)) {
            bool done = rng() % 2 == 0;
            CU_ASSERT(cairn_division_resume(&b.d, i, done, 77, 5) == CAIRN_OK);
            b.granted[i] = b.by_owner[i] = done;
        }
        for (uint32_t p = 0; p < processes; p++) {
            for (int k = 0; k < 2; k++) {
                step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
            }
        }
        for (int i = 0; i < 100000 && !b.finished; i++) {
            uint32_t p = (uint32_t)(rng() % processes);
            while (ready < blocks && b.share[ready].is != CAIRN_BLOCK_WAITING) {
                ready++;
            }
            if (ready < blocks && rng() % 3 != 0) {
                step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = ready, .start = 5});
            } else if (p == 0 || rng() % (p * 4) == 0) { /* the higher the id, the slower */
                one_done(&b, p);
                one_hedged(&b, p);
            }
            if (rng() % 50 == 0) {
                through_bytes(&b);
            }
            if (rng() % 20 == 0) {
                lates += one_late(&b, (uint32_t)(rng() % processes));
            }
        }
        stolen += b.d.stolen;
        CU_ASSERT(b.finished && b.d.done == blocks);
        for (uint32_t p = 0; p < processes && rng() % 2 == 0; p++) { /* some are late */
            while (b.queued[p] > 0) {
                one_done(&b, p);
            }
            one_hedged(&b, p);
        }
        for (uint32_t i = 0; i < blocks; i++) {
            CU_ASSERT(b.granted[i] == 1);
            CU_ASSERT(b.by_owner[i] + b.by_second[i] == 1);
        }
        seconds += b.seconds;
        kept += b.kept;
        dropped += b.dropped;
        wasted += b.wasted;
    }
    CU_ASSERT(lates > 100 && stolen > 100);
    CU_ASSERT(seconds > 100 && kept > 100 && dropped > 10 && wasted > 10);
}

/* The last block is with a process that does not come to an end. */
static void division_hedges(void)
{
    static bed b;
    empty(&b);
    cairn_division_init(&b.d, 12, 3, b.share, b.held, b.asks, b.patience);
    for (uint32_t i = 0; i < 12; i++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = i, .start = 5});
    }
    for (uint32_t p = 0; p < 3; p++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
    }
    CU_ASSERT(b.queued[2] > 0);
    uint32_t first = b.queue[2][0], left = b.queued[2];
    while (b.queued[0] + b.queued[1] > 0) {
        one_done(&b, 0);
        one_done(&b, 1);
    }
    CU_ASSERT(b.second[0] == first || b.second[1] == first); /* the oldest */
    CU_ASSERT(b.seconds == (left < 2 ? 1 : 2));
    for (int i = 0; i < 3; i++) {
        one_hedged(&b, 0);
        one_hedged(&b, 1);
    }
    CU_ASSERT(b.finished && b.kept == left && b.wasted == 0);
    one_done(&b, 2);
    CU_ASSERT(b.dropped == 1 && b.by_owner[first] == 1 && b.by_second[first] == 0 && b.d.done == 12);
}

static void division_slow_process_gets_little(void)
{
    static bed b;
    uint32_t slow = 0;
    empty(&b);
    cairn_division_init(&b.d, 100, 4, b.share, b.held, b.asks, b.patience);
    for (uint32_t i = 0; i < 100; i++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = i, .start = 5});
    }
    for (uint32_t p = 0; p < 4; p++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
    }
    for (int round = 0; !b.finished && round < 1000; round++) {
        for (uint32_t p = 0; p < 4; p++) {
            if (p < 3 || round % 10 == 9) {
                slow += p == 3 && b.queued[3] > 0;
                one_done(&b, p);
                one_hedged(&b, p);
            }
        }
    }
    CU_ASSERT(b.finished && slow >= 3 && slow <= 6); /* a tenth of the speed: about 1 of 31 */
    /* Near the end nobody sits on a second block. */
    CU_ASSERT(b.d.open == 0);
}

/* Two files, each near to one of the first two processes; the third has nothing near. */
static void division_prefers_what_is_near(void)
{
    static bed b;
    static uint8_t near[3][2] = {{0, 1}, {1, 0}, {0, 0}};
    static uint32_t file_of[40], from[3];
    uint32_t taken[3][2] = {{0}};

    empty(&b);
    cairn_division_init(&b.d, 40, 3, b.share, b.held, b.asks, b.patience);
    for (uint32_t i = 0; i < 40; i++) {
        file_of[i] = i / 20;
    }
    cairn_division_prefer(&b.d, 2, &near[0][0], file_of, from, false);
    for (uint32_t i = 40; i-- > 0;) { /* from the last one down */
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = i, .start = 5});
    }
    for (uint32_t p = 0; p < 2; p++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
    }
    through_bytes(&b);
    for (int i = 0; i < 15; i++) {
        for (uint32_t p = 0; p < 2; p++) {
            taken[p][file_of[b.queue[p][0]]]++;
            one_done(&b, p);
        }
    }
    CU_ASSERT(taken[0][0] == 0 && taken[0][1] == 15 && taken[1][0] == 15 && taken[1][1] == 0 && b.d.stolen == 0);
    step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = 2}); /* it steals at once */
    CU_ASSERT(b.queued[2] == 1 && b.d.stolen == 1);
    while (b.queued[0] > 0) { /* the second process has stopped */
        one_done(&b, 0);
    }
    CU_ASSERT(b.d.stolen > 1 && b.d.open == 0);
}

/* It waits before it steals, once; and again after it has got a near one. */
static void division_waits_before_it_steals(void)
{
    static bed b;
    static uint8_t near[2][2] = {{1, 0}, {0, 1}};
    static uint32_t file_of[41], from[2];

    empty(&b);
    cairn_division_init(&b.d, 41, 2, b.share, b.held, b.asks, b.patience);
    for (uint32_t i = 0; i < 41; i++) {
        file_of[i] = i >= 2 && i < 40; /* the last one, near to the first process, comes late */
    }
    cairn_division_prefer(&b.d, 2, &near[0][0], file_of, from, true);
    for (uint32_t i = 0; i < 40; i++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = i, .start = 5});
    }
    for (uint32_t p = 0; p < 2; p++) {
        step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = p});
    }
    one_done(&b, 0);
    CU_ASSERT(b.queue[0][0] == 1 && b.patience[0] == CAIRN_PATIENT);
    one_done(&b, 0);
    CU_ASSERT(b.queued[0] == 0 && b.patience[0] == CAIRN_WAITS && b.d.stolen == 0);
    through_bytes(&b);
    one_done(&b, 1);
    CU_ASSERT(b.queued[0] == 0 && b.queued[1] == 1 && b.patience[0] == CAIRN_WAITS);
    CU_ASSERT(one_late(&b, 0) && b.queued[0] == 1 && b.d.stolen == 1);
    one_done(&b, 0);
    CU_ASSERT(b.queued[0] == 1 && b.d.stolen == 2); /* at once */
    step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = 40, .start = 5});
    one_done(&b, 0);
    CU_ASSERT(b.queued[0] == 1 && b.queue[0][0] == 40 && b.patience[0] == CAIRN_PATIENT);
    one_done(&b, 0);
    CU_ASSERT(b.queued[0] == 0 && b.patience[0] == CAIRN_WAITS && b.d.stolen == 2);
    while (b.d.open > 0) {
        one_done(&b, 1);
    }
    CU_ASSERT(b.second[0] == BLOCKS && one_late(&b, 0) && b.second[0] < BLOCKS); /* nothing is open: it helps */
}

static void division_illegal_events_change_nothing(void)
{
    static bed b;
    cairn_division_output out;
    empty(&b);
    cairn_division_init(&b.d, 3, 2, b.share, b.held, b.asks, b.patience);
    step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_READY, .block = 0, .start = 0});
    step(&b, (cairn_division_event){.kind = CAIRN_DIVISION_ASK, .process = 0});
    const cairn_division_event wrong[] = {
        {.kind = CAIRN_DIVISION_DONE, .process = 1, .block = 0},
        {.kind = CAIRN_DIVISION_DONE, .process = 0, .block = 1},
        {.kind = CAIRN_DIVISION_DONE, .process = 0, .block = 9},
        {.kind = CAIRN_DIVISION_ASK, .process = 2},
        {.kind = CAIRN_DIVISION_LATE, .process = 0},
        {.kind = CAIRN_DIVISION_LATE, .process = 2},
        {.kind = CAIRN_DIVISION_READY, .block = 0, .start = 0},
        {.kind = CAIRN_DIVISION_READY, .block = 3, .start = 0},
        {.kind = CAIRN_DIVISION_READY, .block = 1, .start = 6},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT(cairn_division_step(&b.d, &wrong[i], &out) == CAIRN_E_INVALID && out.count == 0);
        CU_ASSERT(cairn_division_check(&b.d, NULL));
    }
    CU_ASSERT(cairn_division_resume(&b.d, 0, true, 0, 0) == CAIRN_E_INVALID);
    CU_ASSERT(cairn_division_resume(&b.d, 1, false, 0, 0) == CAIRN_E_INVALID);
    one_done(&b, 0);
    CU_ASSERT(cairn_division_step(&b.d, &(cairn_division_event){.kind = CAIRN_DIVISION_DONE, .process = 0, .block = 0},
                                  &out) == CAIRN_E_INVALID);
}

UNIT_MAIN("division", {"random runs: each block once, invariants hold", division_random_runs},
          {"a slow process gets little", division_slow_process_gets_little},
          {"the last ones are read a second time", division_hedges},
          {"what is near is preferred", division_prefers_what_is_near},
          {"who has nothing near waits before it steals", division_waits_before_it_steals},
          {"illegal events change nothing", division_illegal_events_change_nothing})
