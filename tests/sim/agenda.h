/* What will happen in a simulator, by time; at equal times in the order of planning. */
#ifndef CAIRN_TESTS_SIM_AGENDA_H
#define CAIRN_TESTS_SIM_AGENDA_H

#include <stddef.h>
#include <stdint.h>

typedef struct agenda_entry {
    uint64_t time, order;
    uint32_t place; /* of the item, in `items` */
} agenda_entry;

typedef struct agenda {
    size_t item_bytes; /* set before the first plan; the rest begins as zeros */
    agenda_entry *heap;
    size_t count, heap_room;
    uint64_t order;
    unsigned char *items;
    size_t item_count, item_room;
    uint32_t *empty; /* places in items that are free */
    size_t empty_count, empty_room;
} agenda;

void agenda_plan(agenda *a, uint64_t time, const void *item);
/* The next one, which there must be (count > 0); returns its time. */
uint64_t agenda_take(agenda *a, void *item);
void agenda_free(agenda *a);

/* items with room for `needed`, what is new being undefined; ends the program when there is no memory. */
void *sim_grow(void *items, size_t *room, size_t needed, size_t bytes);

#endif
