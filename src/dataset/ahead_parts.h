/* The two ways of ahead.h; each of these is what ahead.h says of the function that is named like it. */
#ifndef CAIRN_DATASET_AHEAD_PARTS_H
#define CAIRN_DATASET_AHEAD_PARTS_H

#include "dataset/ahead.h"

typedef struct ahead_threads ahead_threads;

CAIRN_MUST_CHECK cairn_status ahead_threads_open(ahead_threads **out, uint32_t depth);
void ahead_threads_close(ahead_threads *ahead);
void ahead_threads_want(ahead_threads *ahead, uint32_t block, int fd, uint64_t from, uint64_t to);
void ahead_threads_keep(ahead_threads *ahead, const uint32_t *blocks, uint32_t count);
size_t ahead_threads_take(ahead_threads *ahead, uint32_t block, uint64_t at, void *data, size_t bytes);

typedef struct ahead_uring ahead_uring;

/* CAIRN_E_NOT_FOUND: this kernel has none, does not let us, or we were built without. */
CAIRN_MUST_CHECK cairn_status ahead_uring_open(ahead_uring **out, uint32_t depth);
void ahead_uring_close(ahead_uring *ahead);
void ahead_uring_want(ahead_uring *ahead, uint32_t block, int fd, uint64_t from, uint64_t to);
void ahead_uring_keep(ahead_uring *ahead, const uint32_t *blocks, uint32_t count);
size_t ahead_uring_take(ahead_uring *ahead, uint32_t block, uint64_t at, void *data, size_t bytes);

#endif
