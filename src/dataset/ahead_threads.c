/* Blocks read ahead by threads: a slot a block, a thread a slot. The reading thread moves `end` on piece by piece, so that who takes does not wait for the
 * whole block. */
#include "dataset/ahead_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };

typedef enum slot_is { FREE, WANTED, READING, READ } slot_is;

typedef struct slot {
    ahead_threads *of;
    pthread_t thread;
    pthread_cond_t wanted, moved;
    slot_is is;
    bool given_up; /* nobody wants it any more, but it is being read */
    uint32_t block;
    int fd;
    uint64_t from, end, to; /* [from, end) is there */
    char *data;
    size_t room;
} slot;

struct ahead_threads {
    pthread_mutex_t mutex;
    bool stop;
    uint32_t depth; /* slots whose threads run */
    slot slots[CAIRN_AHEAD_MAX];
};

static void release(slot *s)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
        s->fd = -1;
    }
    s->is = FREE;
    s->given_up = false;
}

/* With the mutex, which is let go meanwhile. */
static void read_slot(slot *s)
{
    ahead_threads *ahead = s->of;
    bool more = true;

    s->is = READING;
    if (s->to - s->from > s->room) {
        free(s->data);
        s->data = malloc((size_t)(s->to - s->from));
        s->room = s->data == NULL ? 0 : (size_t)(s->to - s->from);
    }
    while (more && s->data != NULL && s->end < s->to && !s->given_up && !ahead->stop) {
        uint64_t left = s->to - s->end;
        (void)pthread_mutex_unlock(&ahead->mutex);
        ssize_t got = pread(s->fd, s->data + (s->end - s->from), left < PIECE ? (size_t)left : PIECE, (off_t)s->end);
        more = got > 0 || (got < 0 && errno == EINTR);
        (void)pthread_mutex_lock(&ahead->mutex);
        s->end += got > 0 ? (uint64_t)got : 0;
        (void)pthread_cond_signal(&s->moved);
    }
    s->is = READ;
    if (s->given_up) {
        release(s);
    }
    (void)pthread_cond_signal(&s->moved);
}

static void *main_of(void *argument)
{
    slot *s = argument;
    ahead_threads *ahead = s->of;

    (void)pthread_mutex_lock(&ahead->mutex);
    while (!ahead->stop) {
        if (s->is == WANTED) {
            read_slot(s);
        } else {
            (void)pthread_cond_wait(&s->wanted, &ahead->mutex);
        }
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

cairn_status ahead_threads_open(ahead_threads **out, uint32_t depth)
{
    ahead_threads *ahead = calloc(1, sizeof *ahead);
    sigset_t all, old;

    *out = NULL;
    if (ahead == NULL || pthread_mutex_init(&ahead->mutex, NULL) != 0) {
        free(ahead);
        return CAIRN_E_NOMEM;
    }
    /* Signals are for the job's own thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    for (bool made = true; made && ahead->depth < depth && ahead->depth < CAIRN_AHEAD_MAX;) {
        slot *s = &ahead->slots[ahead->depth];
        s->of = ahead;
        s->fd = -1;
        (void)pthread_cond_init(&s->wanted, NULL);
        (void)pthread_cond_init(&s->moved, NULL);
        made = pthread_create(&s->thread, NULL, main_of, s) == 0;
        ahead->depth += made;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ahead->depth < depth) {
        ahead_threads_close(ahead);
        return CAIRN_E_NOMEM;
    }
    *out = ahead;
    return CAIRN_OK;
}

void ahead_threads_close(ahead_threads *ahead)
{
    if (ahead == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ahead->mutex);
    ahead->stop = true;
    for (uint32_t i = 0; i < ahead->depth; i++) {
        (void)pthread_cond_signal(&ahead->slots[i].wanted);
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        (void)pthread_join(s->thread, NULL);
        release(s);
        free(s->data);
        (void)pthread_cond_destroy(&s->wanted);
        (void)pthread_cond_destroy(&s->moved);
    }
    (void)pthread_mutex_destroy(&ahead->mutex);
    free(ahead);
}

static slot *find(ahead_threads *ahead, uint32_t block)
{
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        if (s->is != FREE && !s->given_up && s->block == block) {
            return s;
        }
    }
    return NULL;
}

void ahead_threads_want(ahead_threads *ahead, uint32_t block, int fd, uint64_t from, uint64_t to)
{
    slot *s = NULL;

    (void)pthread_mutex_lock(&ahead->mutex);
    for (uint32_t i = 0; i < ahead->depth && s == NULL; i++) {
        s = ahead->slots[i].is == FREE ? &ahead->slots[i] : NULL;
    }
    if (s != NULL && to > from && find(ahead, block) == NULL) {
        s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (s->fd >= 0) {
            s->block = block;
            s->from = s->end = from;
            s->to = to;
            s->is = WANTED;
            (void)pthread_cond_signal(&s->wanted);
        }
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
}

void ahead_threads_keep(ahead_threads *ahead, const uint32_t *blocks, uint32_t count)
{
    (void)pthread_mutex_lock(&ahead->mutex);
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        bool wanted = s->is == FREE;
        for (uint32_t k = 0; k < count && !wanted; k++) {
            wanted = s->block == blocks[k];
        }
        if (!wanted && s->is == READING) {
            s->given_up = true;
        } else if (!wanted) {
            release(s);
        }
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
}

size_t ahead_threads_take(ahead_threads *ahead, uint32_t block, uint64_t at, void *data, size_t bytes)
{
    size_t taken = 0;

    (void)pthread_mutex_lock(&ahead->mutex);
    slot *s = find(ahead, block);
    if (s != NULL && s->is == WANTED) { /* its thread is late: no use in waiting for it */
        release(s);
        s = NULL;
    }
    if (s != NULL && at >= s->from && at < s->to) {
        while (s->is == READING && s->end <= at) {
            (void)pthread_cond_wait(&s->moved, &ahead->mutex);
        }
        if (s->end > at) {
            taken = s->end - at < bytes ? (size_t)(s->end - at) : bytes;
        }
    }
    (void)pthread_mutex_unlock(&ahead->mutex);
    if (taken > 0) { /* what is below `end` stays as it is, as long as this thread wants the block */
        memcpy(data, s->data + (at - s->from), taken);
    }
    return taken;
}
