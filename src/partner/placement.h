/* Who keeps the copy of whose part: a pure function of where the processes are. No MPI, files, clock, randomness or
 * allocation.
 *
 * Partner copies (as in SCR and in Zheng, Shi and Kale, "FTC-Charm++: An In-Memory Checkpoint-Based Fault Tolerant Runtime",
 * 2004): besides its own, each process keeps the part of another one, so that a process that dies, or a whole host, is made
 * anew without a file.
 *
 *  - A process is never its own holder, and never has its holder on its own host when there is a second host.
 *  - When no host has more than half of the processes each holds exactly one copy. Else those of the other hosts hold those
 *    of the large one, as evenly as can be.
 *  - The same hosts give the same placement, wherever it is worked out. */
#ifndef CAIRN_PARTNER_PLACEMENT_H
#define CAIRN_PARTNER_PLACEMENT_H

#include <stdint.h>

#define PL_NONE UINT32_MAX

/* host[count]: equal numbers are one host. holder[count] is written: PL_NONE for all when count is 1. scratch[count]. */
void pl_partners(uint32_t count, const uint64_t *host, uint32_t *holder, uint32_t *scratch);

/* Groups of about `size` processes (2 or more): group[count] gets each one's, from 0 on. No group has two processes of a host if
 * that can be had with two processes a group; else as few as can be. scratch[count]. Groups have `size` processes at most,
 * but three with an odd process and a size of two. count is 2 at least. */
void pl_groups(uint32_t count, const uint64_t *host, uint32_t size, uint32_t *group, uint32_t *scratch);

#endif
