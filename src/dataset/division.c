/* The division of work: see division.h for states and invariants. */
#include "dataset/division.h"

enum { START_LAST = 5 }; /* CAIRN_START_GUESS */

void cairn_division_init(cairn_division *division, uint32_t blocks, uint32_t processes, cairn_share *share,
                         uint32_t *held, uint32_t *asks)
{
    *division = (cairn_division){.blocks = blocks, .processes = processes, .share = share, .held = held, .asks = asks};
    for (uint32_t i = 0; i < blocks; i++) {
        share[i] = (cairn_share){0};
    }
    for (uint32_t i = 0; i < processes; i++) {
        held[i] = 0;
        asks[i] = 0;
    }
}

/* May this process get a block now? */
static bool may_have(const cairn_division *division, uint32_t process)
{
    return division->asks[process] > 0 && division->open > 0 &&
           (division->held[process] == 0 || division->open > division->processes);
}

static void grant(cairn_division *division, uint32_t process, cairn_division_output *out)
{
    while (division->share[division->lowest].is != CAIRN_BLOCK_OPEN) {
        division->lowest++;
    }
    cairn_share *share = &division->share[division->lowest];
    share->is = CAIRN_BLOCK_GRANTED;
    share->owner = process;
    division->open--;
    division->granted++;
    division->held[process]++;
    division->asks[process]--;
    out->process[out->count] = process;
    out->block[out->count] = division->lowest;
    out->count++;
}

/* A block has become open: to the process that waits and holds least, the lowest id of several. */
static void grant_to_waiting(cairn_division *division, cairn_division_output *out)
{
    uint32_t best = division->processes;

    for (uint32_t i = 0; i < division->processes; i++) {
        if (may_have(division, i) && (best == division->processes || division->held[i] < division->held[best])) {
            best = i;
        }
    }
    if (best < division->processes) {
        grant(division, best, out);
    }
}

cairn_status cairn_division_step(cairn_division *division, const cairn_division_event *event,
                                 cairn_division_output *out)
{
    cairn_share *share = event->block < division->blocks ? &division->share[event->block] : NULL;

    *out = (cairn_division_output){0};
    if (event->kind == CAIRN_DIVISION_READY) {
        if (share == NULL || share->is != CAIRN_BLOCK_WAITING || event->start > START_LAST) {
            return CAIRN_E_INVALID;
        }
        share->is = CAIRN_BLOCK_OPEN;
        share->start = event->start;
        division->open++;
        division->lowest = event->block < division->lowest ? event->block : division->lowest;
        grant_to_waiting(division, out);
        return CAIRN_OK;
    }
    if (event->process >= division->processes || division->asks[event->process] == UINT32_MAX) {
        return CAIRN_E_INVALID;
    }
    if (event->kind == CAIRN_DIVISION_DONE) {
        if (share == NULL || share->is != CAIRN_BLOCK_GRANTED || share->owner != event->process) {
            return CAIRN_E_INVALID;
        }
        share->is = CAIRN_BLOCK_DONE;
        share->rows = event->rows;
        division->granted--;
        division->done++;
        division->held[event->process]--;
        out->finished = division->done == division->blocks;
    }
    division->asks[event->process]++;
    while (out->count < 2 && may_have(division, event->process)) {
        grant(division, event->process, out);
    }
    return CAIRN_OK;
}

cairn_status cairn_division_resume(cairn_division *division, uint32_t block, bool done, uint64_t cursor, uint64_t rows)
{
    cairn_share *share = block < division->blocks ? &division->share[block] : NULL;

    if (share == NULL || share->is != CAIRN_BLOCK_WAITING || share->cursor != 0 || (!done && cursor == 0)) {
        return CAIRN_E_INVALID;
    }
    share->rows = rows;
    share->cursor = done ? 0 : cursor;
    if (done) {
        share->is = CAIRN_BLOCK_DONE;
        division->done++;
    }
    return CAIRN_OK;
}

bool cairn_division_check(const cairn_division *division, const char **broken)
{
    uint32_t count[4] = {0};
    const char *fault = NULL;

    for (uint32_t i = 0; i < division->blocks; i++) {
        const cairn_share *share = &division->share[i];
        count[share->is & 3]++;
        if (share->is > CAIRN_BLOCK_DONE || (share->is == CAIRN_BLOCK_OPEN && i < division->lowest)) {
            fault = "an open block lies below the lowest, or a state is unknown";
        }
        if (share->is == CAIRN_BLOCK_GRANTED && share->owner >= division->processes) {
            fault = "D3: granted to nobody";
        }
    }
    if (count[CAIRN_BLOCK_OPEN] != division->open || count[CAIRN_BLOCK_GRANTED] != division->granted ||
        count[CAIRN_BLOCK_DONE] != division->done) {
        fault = "D1: the counts are not those of the blocks";
    }
    uint64_t held = 0;
    for (uint32_t p = 0; p < division->processes; p++) {
        held += division->held[p];
        if (may_have(division, p)) {
            fault = "D4: a block is open, and a process waits that may have it";
        }
    }
    if (held != division->granted) {
        fault = "D2: held is not what was granted";
    }
    if (broken != NULL) {
        *broken = fault;
    }
    return fault == NULL;
}

void cairn_division_pack(const cairn_division *division, cairn_pack *pack)
{
    cairn_pack_u32(pack, division->blocks);
    cairn_pack_u32(pack, division->processes);
    for (uint32_t i = 0; i < division->blocks; i++) {
        const cairn_share *share = &division->share[i];
        cairn_pack_u64(pack, share->rows);
        cairn_pack_u64(pack, share->cursor);
        cairn_pack_u32(pack, share->owner);
        cairn_pack_u8(pack, share->is);
        cairn_pack_u8(pack, share->start);
    }
    for (uint32_t p = 0; p < division->processes; p++) {
        cairn_pack_u32(pack, division->asks[p]);
    }
}

cairn_status cairn_division_unpack(cairn_division *division, cairn_unpack *unpack)
{
    uint32_t blocks = cairn_unpack_u32(unpack), processes = cairn_unpack_u32(unpack);
    bool fits = true;

    if (unpack->bad) {
        return CAIRN_E_CORRUPT;
    }
    if (blocks != division->blocks || processes != division->processes) {
        return CAIRN_E_MISMATCH;
    }
    cairn_division_init(division, blocks, processes, division->share, division->held, division->asks);
    for (uint32_t i = 0; i < blocks && fits; i++) {
        cairn_share *share = &division->share[i];
        share->rows = cairn_unpack_u64(unpack);
        share->cursor = cairn_unpack_u64(unpack);
        share->owner = cairn_unpack_u32(unpack);
        share->is = cairn_unpack_u8(unpack);
        share->start = cairn_unpack_u8(unpack);
        fits = share->is <= CAIRN_BLOCK_DONE && share->start <= START_LAST &&
               (share->is != CAIRN_BLOCK_GRANTED || share->owner < processes);
        division->open += share->is == CAIRN_BLOCK_OPEN;
        division->done += share->is == CAIRN_BLOCK_DONE;
        if (fits && share->is == CAIRN_BLOCK_GRANTED) {
            division->granted++;
            division->held[share->owner]++;
        }
    }
    for (uint32_t p = 0; p < processes; p++) {
        division->asks[p] = cairn_unpack_u32(unpack);
    }
    return unpack->bad || !fits || !cairn_division_check(division, NULL) ? CAIRN_E_CORRUPT : CAIRN_OK;
}
