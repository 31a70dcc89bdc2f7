/* Blocks read ahead by io_uring (J. Axboe, "Efficient IO with io_uring", 2019): all reads of a block are handed to the kernel at
 * once, in pieces, so that who takes does not wait for the whole block. They are marked to be done by the kernel's own workers:
 * else who hands in a read of what the kernel has in memory copies it itself, and nothing is gained.
 *
 * The kernel writes into a slot's data until its last read has come back, whatever has become of the slot meanwhile. */
#include "dataset/ahead_parts.h"

#include <stdlib.h>

#ifdef CAIRN_HAVE_URING

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { PIECES = 16, PIECE_LEAST = 256 << 10 };

typedef struct slot {
    bool used;
    bool given_up; /* nobody wants it any more, but reads of it are under way */
    uint32_t block;
    uint32_t under_way; /* reads */
    int fd;
    uint64_t from, to;
    uint64_t piece;        /* bytes of a piece; the last one has what is left */
    int64_t there[PIECES]; /* bytes of each, from its begin on; -1: under way */
    char *data;
    size_t room;
} slot;

struct ahead_uring {
    struct io_uring ring;
    uint32_t depth;
    slot slots[CAIRN_AHEAD_MAX];
};

static bool can_read(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool can = probe != NULL && io_uring_opcode_supported(probe, IORING_OP_READ);

    io_uring_free_probe(probe);
    return can;
}

cairn_status ahead_uring_open(ahead_uring **out, uint32_t depth)
{
    ahead_uring *ahead = calloc(1, sizeof *ahead);
    /* No interrupt when a read is done: it would end waits of others, of MPI's too. Kernels before 5.19 do not know that. */
    struct io_uring_params quiet = {.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
                           plain = {.flags = 0};

    *out = NULL;
    if (ahead == NULL) {
        return CAIRN_E_NOMEM;
    }
    ahead->depth = depth < CAIRN_AHEAD_MAX ? depth : CAIRN_AHEAD_MAX;
    if (io_uring_queue_init_params(ahead->depth * PIECES, &ahead->ring, &quiet) != 0 &&
        io_uring_queue_init_params(ahead->depth * PIECES, &ahead->ring, &plain) != 0) {
        free(ahead);
        return CAIRN_E_NOT_FOUND;
    }
    if (!can_read(&ahead->ring)) {
        io_uring_queue_exit(&ahead->ring);
        free(ahead);
        return CAIRN_E_NOT_FOUND;
    }
    *out = ahead;
    return CAIRN_OK;
}

static void release(slot *s)
{
    (void)close(s->fd);
    s->used = s->given_up = false;
}

static void take_in(ahead_uring *ahead)
{
    struct io_uring_cqe *done;

    while (io_uring_peek_cqe(&ahead->ring, &done) == 0) {
        uint64_t tag = io_uring_cqe_get_data64(done);
        slot *s = &ahead->slots[tag / PIECES];

        s->there[tag % PIECES] = done->res > 0 ? done->res : 0;
        s->under_way--;
        if (s->given_up && s->under_way == 0) {
            release(s);
        }
        io_uring_cqe_seen(&ahead->ring, done);
    }
}

/* Until a read has come back. false: the kernel does not say. */
static bool await(ahead_uring *ahead)
{
    int got = io_uring_submit_and_wait(&ahead->ring, 1);

    take_in(ahead);
    return got >= 0 || got == -EINTR || got == -EAGAIN;
}

void ahead_uring_close(ahead_uring *ahead)
{
    bool lost = false;

    if (ahead == NULL) {
        return;
    }
    for (uint32_t i = 0; i < ahead->depth; i++) {
        while (ahead->slots[i].under_way > 0 && !lost) {
            lost = !await(ahead);
        }
    }
    io_uring_queue_exit(&ahead->ring);
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        if (s->used) {
            release(s);
        }
        if (s->under_way == 0) { /* else the kernel may still write there */
            free(s->data);
        }
    }
    free(ahead);
}

static slot *find(ahead_uring *ahead, uint32_t block)
{
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        if (s->used && !s->given_up && s->block == block) {
            return s;
        }
    }
    return NULL;
}

/* The slot is free, has its range, and room for it. */
static void hand_in(ahead_uring *ahead, slot *s)
{
    uint64_t bytes = s->to - s->from, tag = (uint64_t)(s - ahead->slots) * PIECES;

    s->piece = (bytes + PIECES - 1) / PIECES;
    s->piece = s->piece < PIECE_LEAST ? PIECE_LEAST : s->piece;
    for (uint32_t i = 0; i * s->piece < bytes; i++) {
        uint64_t at = i * s->piece, left = bytes - at;
        struct io_uring_sqe *read = io_uring_get_sqe(&ahead->ring);

        if (read == NULL) { /* as the kernel took none lately */
            s->there[i] = 0;
            continue;
        }
        io_uring_prep_read(read, s->fd, s->data + at, (unsigned)(left < s->piece ? left : s->piece), s->from + at);
        /* One after the other: the kernel's own reading ahead goes wrong when a file is read in many places at once. After one
         * that comes short the kernel drops the rest. */
        io_uring_sqe_set_flags(read, IOSQE_ASYNC | (left > s->piece ? IOSQE_IO_LINK : 0));
        io_uring_sqe_set_data64(read, tag + i);
        s->there[i] = -1;
        s->under_way++;
    }
    (void)io_uring_submit(&ahead->ring); /* what is not taken now is handed in again by `await` */
}

void ahead_uring_want(ahead_uring *ahead, uint32_t block, int fd, uint64_t from, uint64_t to)
{
    slot *s = NULL;

    take_in(ahead);
    for (uint32_t i = 0; i < ahead->depth && s == NULL; i++) {
        s = ahead->slots[i].used ? NULL : &ahead->slots[i];
    }
    if (s == NULL || to <= from || (to - from) / PIECES > INT32_MAX || find(ahead, block) != NULL) {
        return;
    }
    if (to - from > s->room) {
        free(s->data);
        s->data = malloc((size_t)(to - from));
        s->room = s->data == NULL ? 0 : (size_t)(to - from);
    }
    s->fd = s->data == NULL ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (s->fd >= 0) {
        s->used = true;
        s->block = block;
        s->from = from;
        s->to = to;
        hand_in(ahead, s);
    }
}

void ahead_uring_keep(ahead_uring *ahead, const uint32_t *blocks, uint32_t count)
{
    take_in(ahead);
    for (uint32_t i = 0; i < ahead->depth; i++) {
        slot *s = &ahead->slots[i];
        bool wanted = !s->used;
        for (uint32_t k = 0; k < count && !wanted; k++) {
            wanted = s->block == blocks[k];
        }
        if (!wanted && s->under_way > 0) {
            s->given_up = true;
        } else if (!wanted) {
            release(s);
        }
    }
}

size_t ahead_uring_take(ahead_uring *ahead, uint32_t block, uint64_t at, void *data, size_t bytes)
{
    slot *s = find(ahead, block);

    if (s == NULL || at < s->from || at >= s->to) {
        return 0;
    }
    uint64_t i = (at - s->from) / s->piece, from = (at - s->from) % s->piece;
    take_in(ahead);
    while (s->there[i] < 0) {
        if (!await(ahead)) {
            return 0;
        }
    }
    if ((uint64_t)s->there[i] <= from) {
        return 0;
    }
    size_t taken = (uint64_t)s->there[i] - from < bytes ? (size_t)((uint64_t)s->there[i] - from) : bytes;
    memcpy(data, s->data + (at - s->from), taken);
    return taken;
}

#else

cairn_status ahead_uring_open(ahead_uring **out, uint32_t depth)
{
    (void)depth;
    *out = NULL;
    return CAIRN_E_NOT_FOUND;
}

/* There is none to be closed or asked. */
void ahead_uring_close(ahead_uring *ahead)
{
    (void)ahead;
}

void ahead_uring_want(ahead_uring *ahead, uint32_t block, int fd, uint64_t from, uint64_t to)
{
    (void)ahead, (void)block, (void)fd, (void)from, (void)to;
}

void ahead_uring_keep(ahead_uring *ahead, const uint32_t *blocks, uint32_t count)
{
    (void)ahead, (void)blocks, (void)count;
}

size_t ahead_uring_take(ahead_uring *ahead, uint32_t block, uint64_t at, void *data, size_t bytes)
{
    (void)ahead, (void)block, (void)at, (void)data, (void)bytes;
    return 0;
}

#endif
