/* A heap of times and a slab of items: what moves when the heap is put in order is small. */
#include "agenda.h"

#include <stdlib.h>
#include <string.h>

void *sim_grow(void *items, size_t *room, size_t needed, size_t bytes)
{
    if (needed > *room) {
        *room = needed * 2 + 16;
        items = realloc(items, *room * bytes);
        if (items == NULL) {
            abort();
        }
    }
    return items;
}

static int is_before(const agenda_entry *a, const agenda_entry *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void agenda_plan(agenda *a, uint64_t time, const void *item)
{
    agenda_entry entry = {.time = time, .order = a->order++};
    size_t i = a->count;

    if (a->empty_count > 0) {
        entry.place = a->empty[--a->empty_count];
    } else {
        a->items = sim_grow(a->items, &a->item_room, a->item_count + 1, a->item_bytes);
        entry.place = (uint32_t)a->item_count++;
    }
    memcpy(a->items + entry.place * a->item_bytes, item, a->item_bytes);
    a->heap = sim_grow(a->heap, &a->heap_room, a->count + 1, sizeof *a->heap);
    a->count++;
    for (; i > 0 && is_before(&entry, &a->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        a->heap[i] = a->heap[(i - 1) / 2];
    }
    a->heap[i] = entry;
}

uint64_t agenda_take(agenda *a, void *item)
{
    agenda_entry first = a->heap[0];
    agenda_entry last = a->heap[--a->count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < a->count && is_before(&a->heap[child + 1], &a->heap[child])) {
            child++;
        }
        if (child >= a->count || is_before(&last, &a->heap[child])) {
            break;
        }
        a->heap[i] = a->heap[child];
        i = child;
    }
    a->heap[i] = last;
    memcpy(item, a->items + first.place * a->item_bytes, a->item_bytes);
    a->empty = sim_grow(a->empty, &a->empty_room, a->empty_count + 1, sizeof *a->empty);
    a->empty[a->empty_count++] = first.place;
    return first.time;
}

void agenda_free(agenda *a)
{
    free(a->heap);
    free(a->items);
    free(a->empty);
}
