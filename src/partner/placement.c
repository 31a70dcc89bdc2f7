#include "partner/placement.h"

#include <stdbool.h>

/* The processes host by host, hosts in the order of their first process. Returns the size of the largest host, and where
 * its processes begin. */
static uint32_t by_host(uint32_t count, const uint64_t *host, uint32_t *order, uint32_t *largest_at)
{
    uint32_t placed = 0;
    uint32_t largest = 0;

    for (uint32_t i = 0; i < count; i++) {
        bool first = true;
        uint32_t begin = placed;

        for (uint32_t j = 0; j < i && first; j++) {
            first = host[j] != host[i];
        }
        for (uint32_t j = i; first && j < count; j++) {
            if (host[j] == host[i]) {
                order[placed++] = j;
            }
        }
        if (placed - begin > largest) {
            largest = placed - begin;
            *largest_at = begin;
        }
    }
    return largest;
}

void pl_partners(uint32_t count, const uint64_t *host, uint32_t *holder, uint32_t *scratch)
{
    uint32_t at = 0;
    uint32_t largest = by_host(count, host, scratch, &at);
    uint32_t others = count - largest;

    if (count == 1) {
        holder[0] = PL_NONE;
        return;
    }
    if (others == 0) {
        for (uint32_t i = 0; i < count; i++) {
            holder[i] = (i + 1) % count;
        }
        return;
    }
    if (largest <= others) { /* a step as long as the largest host leads out of every host */
        for (uint32_t i = 0; i < count; i++) {
            holder[scratch[i]] = scratch[(i + largest) % count];
        }
        return;
    }
    /* The others, in a ring, begin behind the large host. */
    for (uint32_t i = 0; i < largest; i++) {
        holder[scratch[at + i]] = scratch[(at + largest + i % others) % count];
    }
    for (uint32_t i = 0; i < others; i++) {
        holder[scratch[(at + largest + i) % count]] = scratch[at + i];
    }
}

void pl_groups(uint32_t count, const uint64_t *host, uint32_t size, uint32_t *group, uint32_t *scratch)
{
    uint32_t at = 0;
    uint32_t largest = by_host(count, host, scratch, &at);
    uint32_t groups = (count + size - 1) / size;

    if (largest < count && largest > groups) {
        groups = largest;
    }
    if (groups > count / 2) {
        groups = count / 2;
    }
    for (uint32_t i = 0; i < count; i++) { /* those of a host come one after the other: dealt out like cards */
        group[scratch[i]] = i % groups;
    }
}
