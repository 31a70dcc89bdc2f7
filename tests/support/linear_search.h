/* The search for an order of the operations on one key; linear.h is for those who have a history. */
#ifndef CAIRN_TESTS_SUPPORT_LINEAR_SEARCH_H
#define CAIRN_TESTS_SUPPORT_LINEAR_SEARCH_H

#include "support/linear.h"

#define LINEAR_NONE 0u /* the number of "no value" */

typedef struct linear_item {
    linear_kind kind;
    bool done, unknown;
    uint32_t process;
    uint32_t value, expected; /* numbers of values */
    uint64_t begin, end;
} linear_item;

void *linear_memory(void *old, size_t count, size_t size); /* realloc, or the program ends */

/* items: of one key, by rising begin. *steps counts down; at 0 it is LINEAR_UNDECIDED. */
linear_verdict linear_search(const linear_item *items, size_t count, uint32_t initial, uint64_t *steps);

#endif
