/* Partitions, who has them, and what parts cover. */
#include "dataset/ledger.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST                                                                                                        \
    8 /* so many of the largest partitions for each process: what one of them costs to read again is small */
#define SLOPE    2  /* a partition is one in so many of what is left for each process */
#define SMALLEST 32 /* blocks / processes / SMALLEST is the least */

static uint32_t at_least_one(uint32_t value)
{
    return value > 0 ? value : 1;
}

static uint32_t size_of_next(const cairn_ledger *ledger, uint32_t left)
{
    uint32_t size = left / (SLOPE * ledger->processes);
    uint32_t most = at_least_one(ledger->blocks / (LARGEST * ledger->processes));
    uint32_t least = at_least_one(ledger->blocks / (SMALLEST * ledger->processes));

    size = size > most ? most : size < least ? least : size;
    return size < left ? size : left;
}

/* Cut order[first, end) into partitions. */
static void cut(cairn_ledger *ledger, uint32_t first, uint32_t end, uint32_t owner)
{
    while (first < end) {
        uint32_t size = size_of_next(ledger, end - first);

        ledger->partitions[ledger->count++] =
            (cairn_partition){.first = first, .count = size, .owner = owner, .taker = CAIRN_NOBODY};
        first += size;
    }
}

cairn_status cairn_ledger_init(cairn_ledger *ledger, uint32_t blocks, uint32_t processes, const uint32_t *owner)
{
    uint32_t used = 0;

    memset(ledger, 0, sizeof *ledger);
    ledger->blocks = blocks;
    ledger->processes = processes;
    ledger->order = calloc((size_t)blocks + 1, sizeof *ledger->order);
    ledger->partitions = calloc((size_t)blocks + 1, sizeof *ledger->partitions);
    ledger->lost = calloc(processes, sizeof *ledger->lost);
    if (ledger->order == NULL || ledger->partitions == NULL || ledger->lost == NULL) {
        cairn_ledger_free(ledger);
        return CAIRN_E_NOMEM;
    }
    /* First what nobody has read, then each process's own. */
    for (uint32_t p = 0; p <= processes; p++) {
        uint32_t whose = p == 0 ? CAIRN_NOBODY : p - 1;
        uint32_t first = used;

        for (uint32_t i = 0; i < blocks && (owner != NULL || p == 0); i++) {
            if (owner == NULL || owner[i] == whose) {
                ledger->order[used++] = i;
            }
        }
        cut(ledger, first, used, whose);
    }
    return CAIRN_OK;
}

void cairn_ledger_free(cairn_ledger *ledger)
{
    free(ledger->order);
    free(ledger->partitions);
    free(ledger->lost);
    memset(ledger, 0, sizeof *ledger);
}

void cairn_ledger_clear(cairn_ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->count; i++) {
        ledger->partitions[i].owner = CAIRN_NOBODY;
        ledger->partitions[i].taker = CAIRN_NOBODY;
        ledger->partitions[i].modified = 0;
    }
    ledger->lowest = 0;
}

void cairn_ledger_note(cairn_ledger *ledger, uint32_t partition, uint32_t taker, uint64_t modified)
{
    if (partition < ledger->count && modified > ledger->partitions[partition].modified) {
        ledger->partitions[partition].taker = taker;
        ledger->partitions[partition].modified = modified;
        if (partition < ledger->lowest && cairn_ledger_is_open(ledger, partition)) {
            ledger->lowest = partition;
        }
    }
}

void cairn_ledger_lose(cairn_ledger *ledger, uint32_t process)
{
    if (process < ledger->processes) {
        ledger->lost[process] = true;
        ledger->lowest = 0;
    }
}

bool cairn_ledger_is_open(const cairn_ledger *ledger, uint32_t partition)
{
    const cairn_partition *p = &ledger->partitions[partition];
    uint32_t whose = p->modified != 0 ? p->taker : p->owner;

    return whose >= ledger->processes || ledger->lost[whose];
}

uint32_t cairn_ledger_next(cairn_ledger *ledger, uint32_t self)
{
    if (ledger->lowest == 0 && self < ledger->count && ledger->partitions[self].modified == 0 &&
        cairn_ledger_is_open(ledger, self)) {
        return self;
    }
    while (ledger->lowest < ledger->count && !cairn_ledger_is_open(ledger, ledger->lowest)) {
        ledger->lowest++;
    }
    return ledger->lowest < ledger->count ? ledger->lowest : CAIRN_NOBODY;
}

/* ---------------------------------------------------------------- what parts cover */

cairn_status cairn_cover_init(cairn_cover *cover, uint32_t blocks, uint32_t processes)
{
    *cover = (cairn_cover){.blocks = blocks, .processes = processes, .missing = blocks};
    cover->parts = calloc((size_t)blocks + 1, sizeof *cover->parts);
    cover->of = calloc(processes, sizeof *cover->of);
    cover->count = calloc(processes, sizeof *cover->count);
    if (cover->parts == NULL || cover->of == NULL || cover->count == NULL) {
        cairn_cover_free(cover);
        return CAIRN_E_NOMEM;
    }
    return CAIRN_OK;
}

void cairn_cover_free(cairn_cover *cover)
{
    for (uint32_t i = 0; cover->of != NULL && i < cover->processes; i++) {
        free(cover->of[i]);
    }
    free(cover->parts);
    free(cover->of);
    free(cover->count);
    memset(cover, 0, sizeof *cover);
}

static void add(cairn_cover *cover, uint32_t block)
{
    uint32_t before = cover->parts[block]++;

    cover->missing -= before == 0;
    cover->doubled += before == 1;
}

static void take_away(cairn_cover *cover, uint32_t block)
{
    uint32_t after = --cover->parts[block];

    cover->missing += after == 0;
    cover->doubled -= after == 1;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *left = a;
    const uint32_t *right = b;

    return (*left > *right) - (*left < *right);
}

cairn_status cairn_cover_put(cairn_cover *cover, uint32_t process, const uint32_t *blocks, uint32_t count)
{
    uint32_t *mine;

    if (process >= cover->processes) {
        return CAIRN_E_INVALID;
    }
    mine = malloc(((size_t)count + 1) * sizeof *mine);
    if (mine == NULL) {
        return CAIRN_E_NOMEM;
    }
    if (count > 0) {
        memcpy(mine, blocks, count * sizeof *mine);
    }
    qsort(mine, count, sizeof *mine, by_number);
    for (uint32_t i = 0; i < count; i++) {
        if (mine[i] >= cover->blocks || (i > 0 && mine[i] == mine[i - 1])) {
            free(mine);
            return CAIRN_E_INVALID;
        }
    }
    cairn_cover_drop(cover, process);
    for (uint32_t i = 0; i < count; i++) {
        add(cover, mine[i]);
    }
    cover->of[process] = mine;
    cover->count[process] = count;
    return CAIRN_OK;
}

void cairn_cover_drop(cairn_cover *cover, uint32_t process)
{
    if (process >= cover->processes || cover->of[process] == NULL) {
        return;
    }
    for (uint32_t i = 0; i < cover->count[process]; i++) {
        take_away(cover, cover->of[process][i]);
    }
    free(cover->of[process]);
    cover->of[process] = NULL;
    cover->count[process] = 0;
}

bool cairn_cover_complete(const cairn_cover *cover)
{
    return cover->missing == 0 && cover->doubled == 0;
}
