/* The division of work: see division.h for states and invariants. */
#include "dataset/division.h"

enum { START_LAST = 5 }; /* CAIRN_START_GUESS */

void cairn_division_init(cairn_division *division, uint32_t blocks, uint32_t processes, cairn_share *share,
                         uint32_t *held, uint32_t *asks, uint8_t *patience)
{
    *division = (cairn_division){
        .blocks = blocks, .processes = processes, .share = share, .held = held, .asks = asks, .patience = patience};
    for (uint32_t i = 0; i < blocks; i++) {
        share[i] = (cairn_share){.second = CAIRN_DIVISION_NOBODY};
    }
    for (uint32_t i = 0; i < processes; i++) {
        held[i] = 0;
        asks[i] = 0;
        patience[i] = CAIRN_PATIENT;
    }
}

/* May this process get a block now? */
static bool may_have(const cairn_division *division, uint32_t process)
{
    return division->asks[process] > 0 && division->open > 0 &&
           (division->held[process] == 0 || division->open > division->processes);
}

void cairn_division_prefer(cairn_division *division, uint32_t files, const uint8_t *near, const uint32_t *file_of,
                           uint32_t *near_from, bool patient)
{
    division->files = files;
    division->near = near;
    division->file_of = file_of;
    division->near_from = near_from;
    division->patient = patient;
    for (uint32_t i = 0; i < division->processes; i++) {
        near_from[i] = 0;
        division->patience[i] = CAIRN_IMPATIENT;
        for (uint32_t k = 0; k < files; k++) {
            if (near[(size_t)i * files + k] != 0) {
                division->patience[i] = CAIRN_PATIENT;
                break;
            }
        }
    }
}

static bool is_near(const cairn_division *division, uint32_t process, uint32_t block)
{
    return division->near[(size_t)process * division->files + division->file_of[block]] != 0;
}

/* The lowest open block that is near to the process; none: as many as there are blocks. */
static uint32_t nearest(cairn_division *division, uint32_t process)
{
    uint32_t *from = &division->near_from[process];

    *from = *from < division->lowest ? division->lowest : *from;
    while (*from < division->blocks &&
           (division->share[*from].is != CAIRN_BLOCK_OPEN || !is_near(division, process, *from))) {
        ++*from;
    }
    return *from;
}

/* May this process, which may have a block, get one that is open? If not it WAITS. */
static bool is_ready(cairn_division *division, uint32_t process)
{
    uint8_t *patience = &division->patience[process];

    if (division->near == NULL || !division->patient || *patience == CAIRN_IMPATIENT ||
        nearest(division, process) < division->blocks) {
        return true;
    }
    *patience = CAIRN_WAITS;
    return false;
}

/* There is an open one. */
static uint32_t choose(cairn_division *division, uint32_t process)
{
    while (division->share[division->lowest].is != CAIRN_BLOCK_OPEN) {
        division->lowest++;
    }
    if (division->near == NULL) {
        return division->lowest;
    }
    uint32_t near = nearest(division, process);
    if (near < division->blocks) {
        division->patience[process] = CAIRN_PATIENT;
        return near;
    }
    for (uint32_t i = 0; i < division->processes; i++) {
        if (is_near(division, i, division->lowest)) {
            division->stolen++;
            break;
        }
    }
    return division->lowest;
}

static void grant(cairn_division *division, uint32_t process, cairn_division_output *out)
{
    uint32_t block = choose(division, process);
    cairn_share *share = &division->share[block];
    share->is = CAIRN_BLOCK_GRANTED;
    share->owner = process;
    share->order = division->grants++;
    division->open--;
    division->granted++;
    division->held[process]++;
    division->asks[process]--;
    out->process[out->count] = process;
    out->block[out->count] = block;
    out->count++;
}

/* It may have more still: as nothing is near, or as no more can be granted in a step. */
static void wait_for_more(cairn_division *division, uint32_t process)
{
    if (may_have(division, process)) {
        division->patience[process] = CAIRN_WAITS;
    }
}

/* A block has become open: to the process that waits and holds least, the lowest id of several. */
static void grant_to_waiting(cairn_division *division, cairn_division_output *out)
{
    uint32_t best = division->processes;

    for (uint32_t i = 0; i < division->processes; i++) {
        if (may_have(division, i) && is_ready(division, i) &&
            (best == division->processes || division->held[i] < division->held[best])) {
            best = i;
        }
    }
    if (best < division->processes) {
        grant(division, best, out);
        wait_for_more(division, best);
    }
}

/* Nothing is left for a process that has nothing to do: what has been with another one for longest. */
static void grant_again(cairn_division *division, uint32_t process, cairn_division_output *out)
{
    cairn_share *oldest = NULL;

    if (division->asks[process] == 0 || division->held[process] > 0 ||
        division->granted + division->done < division->blocks) {
        return;
    }
    for (uint32_t i = 0; i < division->blocks && division->granted > 0; i++) {
        cairn_share *share = &division->share[i];
        if (share->is == CAIRN_BLOCK_GRANTED && share->second == CAIRN_DIVISION_NOBODY && share->owner != process &&
            (oldest == NULL || share->order < oldest->order)) {
            oldest = share;
        }
    }
    if (oldest != NULL) {
        oldest->second = process;
        division->held[process]++;
        division->asks[process]--;
        out->process[out->count] = process;
        out->block[out->count] = (uint32_t)(oldest - division->share);
        out->as_second[out->count] = true;
        out->count++;
    }
}

static void take_done(cairn_division *division, cairn_share *share, uint64_t rows, cairn_division_output *out)
{
    share->is = CAIRN_BLOCK_DONE;
    share->rows = rows;
    division->granted--;
    division->done++;
    out->finished = division->done == division->blocks;
}

/* false: it is not this process's block. */
static bool take_owners(cairn_division *division, cairn_share *share, const cairn_division_event *event,
                        cairn_division_output *out)
{
    if (share->owner != event->process || (share->is != CAIRN_BLOCK_GRANTED && !share->by_second)) {
        return false;
    }
    if (share->by_second) {
        share->by_second = false;
        share->rows = event->rows;
        out->verdict = CAIRN_DIVISION_DROP;
    } else {
        take_done(division, share, event->rows, out);
    }
    division->held[event->process]--;
    return true;
}

static void take_seconds(cairn_division *division, cairn_share *share, const cairn_division_event *event,
                         cairn_division_output *out)
{
    out->verdict = CAIRN_DIVISION_WASTE;
    if (share->second != event->process) {
        return;
    }
    share->second = CAIRN_DIVISION_NOBODY;
    division->held[event->process]--;
    if (share->is == CAIRN_BLOCK_GRANTED) {
        take_done(division, share, event->rows, out);
        share->by_second = true;
        out->verdict = CAIRN_DIVISION_KEEP;
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
        for (uint32_t i = 0; division->near != NULL && i < division->processes; i++) {
            division->near_from[i] = event->block < division->near_from[i] ? event->block : division->near_from[i];
        }
        grant_to_waiting(division, out);
        return CAIRN_OK;
    }
    if (event->process >= division->processes || division->asks[event->process] == UINT32_MAX ||
        (event->kind == CAIRN_DIVISION_LATE && division->patience[event->process] != CAIRN_WAITS)) {
        return CAIRN_E_INVALID;
    }
    if (event->kind == CAIRN_DIVISION_DONE) {
        if (share == NULL || !take_owners(division, share, event, out)) {
            return CAIRN_E_INVALID;
        }
    } else if (event->kind == CAIRN_DIVISION_HEDGED) {
        if (share == NULL) {
            return CAIRN_E_INVALID;
        }
        take_seconds(division, share, event, out);
    }
    if (event->kind == CAIRN_DIVISION_LATE) {
        division->patience[event->process] = CAIRN_IMPATIENT;
    } else {
        division->asks[event->process]++;
    }
    while (out->count < 2 && may_have(division, event->process) && is_ready(division, event->process)) {
        grant(division, event->process, out);
    }
    wait_for_more(division, event->process);
    if (out->count < 2) {
        grant_again(division, event->process, out);
    }
    return CAIRN_OK;
}

cairn_status cairn_division_resume(cairn_division *division, uint32_t block, bool done, uint64_t cursor, uint64_t rows)
{
    cairn_share *share = block < division->blocks ? &division->share[block] : NULL;

    if (share == NULL || share->is != CAIRN_BLOCK_WAITING || share->cursor != 0 || (!done && cursor == 0)) {
        return CAIRN_E_INVALID;
    }
    share->rows = done ? rows : 0;
    share->before = done ? 0 : rows;
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
    uint64_t all_held = 0;
    const char *fault = NULL;

    for (uint32_t i = 0; i < division->blocks; i++) {
        const cairn_share *share = &division->share[i];
        count[share->is & 3]++;
        if (share->is > CAIRN_BLOCK_DONE || (share->is == CAIRN_BLOCK_OPEN && i < division->lowest)) {
            fault = "an open block lies below the lowest, or a state is unknown";
        }
        bool with_owner = share->is == CAIRN_BLOCK_GRANTED || share->by_second;
        if ((with_owner && share->owner >= division->processes) ||
            (share->by_second && share->is != CAIRN_BLOCK_DONE)) {
            fault = "D3: granted to nobody";
        }
        if (share->second != CAIRN_DIVISION_NOBODY &&
            (share->second >= division->processes || (with_owner && share->second == share->owner) ||
             share->by_second)) {
            fault = "D3: read a second time by nobody, or by its owner, or when it was already";
        }
        all_held += (uint64_t)with_owner + (share->second != CAIRN_DIVISION_NOBODY);
    }
    if (count[CAIRN_BLOCK_OPEN] != division->open || count[CAIRN_BLOCK_GRANTED] != division->granted ||
        count[CAIRN_BLOCK_DONE] != division->done) {
        fault = "D1: the counts are not those of the blocks";
    }
    uint64_t held = 0;
    for (uint32_t p = 0; p < division->processes; p++) {
        held += division->held[p];
        if (may_have(division, p) && division->patience[p] != CAIRN_WAITS) {
            fault = "D4: a block is open, and a process that may have it has none";
        }
    }
    if (held != all_held) {
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
        cairn_pack_u64(pack, share->is == CAIRN_BLOCK_DONE && !share->by_second ? share->rows : share->before);
        cairn_pack_u64(pack, share->cursor);
        cairn_pack_u32(pack, share->owner);
        cairn_pack_u8(pack, share->by_second ? CAIRN_BLOCK_GRANTED : share->is);
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
    cairn_division before = *division;
    cairn_division_init(division, blocks, processes, division->share, division->held, division->asks,
                        division->patience);
    if (before.near != NULL) {
        cairn_division_prefer(division, before.files, before.near, before.file_of, before.near_from, before.patient);
    }
    for (uint32_t i = 0; i < blocks && fits; i++) {
        cairn_share *share = &division->share[i];
        uint64_t rows = cairn_unpack_u64(unpack);
        share->cursor = cairn_unpack_u64(unpack);
        share->owner = cairn_unpack_u32(unpack);
        share->is = cairn_unpack_u8(unpack);
        *(share->is == CAIRN_BLOCK_DONE ? &share->rows : &share->before) = rows;
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
        division->patience[p] = may_have(division, p) ? CAIRN_WAITS : division->patience[p];
    }
    return unpack->bad || !fits || !cairn_division_check(division, NULL) ? CAIRN_E_CORRUPT : CAIRN_OK;
}
