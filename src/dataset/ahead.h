/* Blocks that are to be read next, brought into memory by io_uring, or by threads: so one process has many reads in flight, of as
 * many files, while it works on one. What is not there in time, or could not be read, its user reads for itself, and so has the
 * error. */
#ifndef CAIRN_DATASET_AHEAD_H
#define CAIRN_DATASET_AHEAD_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAIRN_AHEAD_MAX 32

typedef struct cairn_ahead cairn_ahead;

typedef enum cairn_ahead_way {
    CAIRN_AHEAD_ANY, /* io_uring where it can be had, else threads */
    CAIRN_AHEAD_URING,
    CAIRN_AHEAD_THREADS
} cairn_ahead_way;

/* Whether that way is there: CAIRN_AHEAD_URING may not be. */
bool cairn_ahead_can(cairn_ahead_way way);
/* So many blocks at once, 1 to CAIRN_AHEAD_MAX. CAIRN_E_NOMEM: or no thread can be had. CAIRN_E_NOT_FOUND, of CAIRN_AHEAD_URING
 * only: the kernel has none, does not let this process have it, or Cairn was built without liburing. */
CAIRN_MUST_CHECK cairn_status cairn_ahead_open(cairn_ahead **out, uint32_t depth, cairn_ahead_way way);
void cairn_ahead_close(cairn_ahead *ahead); /* safe on NULL; waits for the reads that are under way */
/* CAIRN_AHEAD_URING or CAIRN_AHEAD_THREADS */
cairn_ahead_way cairn_ahead_is(const cairn_ahead *ahead);

/* Read bytes [from, to) behind fd, of which a duplicate is taken. Nothing is done if the block is there already, or as many
 * others are. */
void cairn_ahead_want(cairn_ahead *ahead, uint32_t block, int fd, uint64_t from, uint64_t to);
/* Only these are still wanted. */
void cairn_ahead_keep(cairn_ahead *ahead, const uint32_t *blocks, uint32_t count);
/* Copy up to `bytes` bytes of the block, from byte `at` of its file on, to `data`: how many there were. Waits for a read that
 * has begun; 0: there is nothing of it. */
size_t cairn_ahead_take(cairn_ahead *ahead, uint32_t block, uint64_t at, void *data, size_t bytes);

#endif
