#include "dataset/ahead_parts.h"

#include <stdlib.h>

struct cairn_ahead { /* one of them is NULL */
    ahead_threads *threads;
    ahead_uring *uring;
};

cairn_status cairn_ahead_open(cairn_ahead **out, uint32_t depth, cairn_ahead_way way)
{
    cairn_ahead *ahead = calloc(1, sizeof *ahead);
    cairn_status status = CAIRN_E_NOT_FOUND;

    *out = NULL;
    if (ahead == NULL) {
        return CAIRN_E_NOMEM;
    }
    if (way != CAIRN_AHEAD_THREADS) {
        status = ahead_uring_open(&ahead->uring, depth);
    }
    if (status != CAIRN_OK && way != CAIRN_AHEAD_URING) {
        status = ahead_threads_open(&ahead->threads, depth);
    }
    if (status != CAIRN_OK) {
        free(ahead);
        return status;
    }
    *out = ahead;
    return CAIRN_OK;
}

bool cairn_ahead_can(cairn_ahead_way way)
{
    ahead_uring *uring = NULL;
    bool can = way != CAIRN_AHEAD_URING || ahead_uring_open(&uring, 1) == CAIRN_OK;

    ahead_uring_close(uring);
    return can;
}

void cairn_ahead_close(cairn_ahead *ahead)
{
    if (ahead != NULL) {
        ahead_threads_close(ahead->threads);
        ahead_uring_close(ahead->uring);
        free(ahead);
    }
}

cairn_ahead_way cairn_ahead_is(const cairn_ahead *ahead)
{
    return ahead->uring != NULL ? CAIRN_AHEAD_URING : CAIRN_AHEAD_THREADS;
}

void cairn_ahead_want(cairn_ahead *ahead, uint32_t block, int fd, uint64_t from, uint64_t to)
{
    if (ahead->uring != NULL) {
        ahead_uring_want(ahead->uring, block, fd, from, to);
    } else {
        ahead_threads_want(ahead->threads, block, fd, from, to);
    }
}

void cairn_ahead_keep(cairn_ahead *ahead, const uint32_t *blocks, uint32_t count)
{
    if (ahead->uring != NULL) {
        ahead_uring_keep(ahead->uring, blocks, count);
    } else {
        ahead_threads_keep(ahead->threads, blocks, count);
    }
}

size_t cairn_ahead_take(cairn_ahead *ahead, uint32_t block, uint64_t at, void *data, size_t bytes)
{
    return ahead->uring != NULL ? ahead_uring_take(ahead->uring, block, at, data, bytes)
                                : ahead_threads_take(ahead->threads, block, at, data, bytes);
}
