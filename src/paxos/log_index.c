/* Where the newest written vote of each slot is. */
#include "paxos/log_parts.h"

#include <stdlib.h>
#include <string.h>

static size_t home(const log_index *index, uint64_t slot)
{
    return (size_t)((slot * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (index->room - 1);
}

/* The place of the slot, or the empty one where it would go. */
static size_t find(const log_index *index, uint64_t slot)
{
    size_t i = home(index, slot);

    while (index->places[i].slot != 0 && index->places[i].slot != slot) {
        i = (i + 1) & (index->room - 1);
    }
    return i;
}

bool log_index_reserve(log_index *index, size_t count)
{
    log_index larger = {.room = index->room > 0 ? index->room : 64};

    if (count > SIZE_MAX / 8) {
        return false;
    }
    while (larger.room < count + count / 2) {
        larger.room *= 2;
    }
    if (larger.room == index->room) {
        return true;
    }
    larger.places = calloc(larger.room, sizeof *larger.places);
    if (larger.places == NULL) {
        return false;
    }
    for (size_t i = 0; i < index->room; i++) {
        if (index->places[i].slot != 0) {
            log_index_put(&larger, index->places[i]);
        }
    }
    free(index->places);
    *index = larger;
    return true;
}

void log_index_put(log_index *index, log_place place)
{
    log_place *at = &index->places[find(index, place.slot)];

    index->count += at->slot == 0;
    *at = place;
    if (index->first == 0 || place.slot < index->first) {
        index->first = place.slot;
    }
}

const log_place *log_index_find(const log_index *index, uint64_t slot)
{
    const log_place *at = index->room > 0 ? &index->places[find(index, slot)] : NULL;

    return at != NULL && at->slot != 0 && slot != 0 ? at : NULL;
}

/* Take out the entry at `hole` and close the gap, so that every other one is still found from its home. */
static void take_out(log_index *index, size_t hole)
{
    size_t mask = index->room - 1;

    for (size_t i = (hole + 1) & mask; index->places[i].slot != 0; i = (i + 1) & mask) {
        if (((i - home(index, index->places[i].slot)) & mask) >= ((i - hole) & mask)) {
            index->places[hole] = index->places[i];
            hole = i;
        }
    }
    index->places[hole].slot = 0;
    index->count--;
}

void log_index_drop(log_index *index, uint64_t oldest)
{
    index->first = 0;
    for (size_t i = 0; i < index->room; i++) {
        while (index->places[i].slot != 0 && index->places[i].segment < oldest) {
            take_out(index, i);
        }
    }
    /* Only now: what is taken out may move others, also to before where they were looked at. */
    for (size_t i = 0; i < index->room; i++) {
        uint64_t slot = index->places[i].slot;

        if (slot != 0 && (index->first == 0 || slot < index->first)) {
            index->first = slot;
        }
    }
}

void log_index_free(log_index *index)
{
    free(index->places);
    *index = (log_index){0};
}
