/* One thread, a large page at a time, so that it ends soon after it is told to. */
#include "base/populate.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_BYTES  ((size_t)2 << 20)
#define WORTH_BYTES ((size_t)8 << 20)

struct cairn_populate {
    pthread_t thread;
    atomic_bool stop;
    char *first, *end; /* whole large pages */
};

static void *main_of(void *argument)
{
    cairn_populate *c = argument;

    for (char *at = c->end; at > c->first && !atomic_load_explicit(&c->stop, memory_order_relaxed);) {
        at -= HUGE_BYTES;
        if (madvise(at, HUGE_BYTES, MADV_POPULATE_WRITE) != 0) {
            break;
        }
    }
    return NULL;
}

cairn_populate *cairn_populate_begin(void *data, size_t bytes)
{
    char *first = (char *)data + (HUGE_BYTES - (uintptr_t)data % HUGE_BYTES) % HUGE_BYTES;
    char *end = (char *)data + bytes - ((uintptr_t)data + bytes) % HUGE_BYTES;
    cairn_populate *c;
    sigset_t all;
    sigset_t old;
    int failed;

    if (bytes < HUGE_BYTES || end <= first) {
        return NULL;
    }
    (void)madvise(first, (size_t)(end - first), MADV_HUGEPAGE);
    if (bytes < WORTH_BYTES || (c = calloc(1, sizeof *c)) == NULL) {
        return NULL;
    }
    c->first = first;
    c->end = end;
    /* Signals are for the job's own thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&c->thread, NULL, main_of, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0) {
        free(c);
        return NULL;
    }
    return c;
}

void cairn_populate_end(cairn_populate *c)
{
    if (c != NULL) {
        atomic_store_explicit(&c->stop, true, memory_order_relaxed);
        (void)pthread_join(c->thread, NULL);
        free(c);
    }
}
