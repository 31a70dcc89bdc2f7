/* A part from one folder to another, as it is. */
#include "base/durable.h"
#include "snapshot/image.h"
#include "snapshot/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE_BYTES     ((size_t)1 << 18)
#define WRITEBACK_BYTES ((uint64_t)8 << 20)

typedef struct copying {
    int from, to;
    char path[CAIRN_PATH_BYTES], temporary[CAIRN_PATH_BYTES];
    const char *source;
    const cairn_part_seal *seal;
    const atomic_bool *unwanted;
} copying;

/* The checksum is of the bytes that are written: those that were read. */
static cairn_status copy_bytes(const copying *c, char *piece, XXH3_state_t *state, cairn_error *error)
{
    uint64_t at = 0;
    uint64_t unsent = 0;
    cairn_status status = CAIRN_OK;

    while (at < c->seal->bytes && status == CAIRN_OK) {
        size_t bytes = c->seal->bytes - at < PIECE_BYTES ? (size_t)(c->seal->bytes - at) : PIECE_BYTES;
        size_t head = at < CAIRN_SEAL_BYTES ? CAIRN_SEAL_BYTES - (size_t)at : 0;

        if (c->unwanted != NULL && atomic_load_explicit(c->unwanted, memory_order_relaxed)) {
            return cairn_fail(error, CAIRN_E_STOPPED, "%s: not wanted any more", c->path);
        }
        status = cairn_read_at(c->from, piece, bytes, at, c->source, error);
        if (status == CAIRN_OK) {
            status = cairn_write_at(c->to, piece, bytes, at, c->temporary, error);
        }
        if (status == CAIRN_OK && bytes > head) {
            (void)XXH3_128bits_update(state, piece + head, bytes - head);
        }
        at += bytes;
        unsent += bytes;
        if (unsent >= WRITEBACK_BYTES) {
            (void)sync_file_range(c->to, 0, 0, SYNC_FILE_RANGE_WRITE);
            unsent = 0;
        }
    }
    return status;
}

static cairn_status copy_whole(const copying *c, cairn_error *error)
{
    char *piece = malloc(PIECE_BYTES);
    XXH3_state_t *state = XXH3_createState();
    cairn_status status;

    if (piece == NULL || state == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to copy it", c->source);
    } else {
        (void)XXH3_128bits_reset(state);
        status = copy_bytes(c, piece, state, error);
    }
    if (status == CAIRN_OK) {
        XXH128_hash_t hash = XXH3_128bits_digest(state);

        if (!cairn_digest_equal((cairn_digest){hash.high64, hash.low64}, c->seal->digest)) {
            status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: does not have the checksum that its seal says", c->source);
        }
    }
    if (status == CAIRN_OK && fsync(c->to) != 0) {
        status = cairn_fail_errno(error, errno, c->temporary, "sync");
    }
    free(piece);
    (void)XXH3_freeState(state);
    return status;
}

cairn_status cairn_part_copy(const char *source, const char *dir, uint32_t process, const cairn_part_seal *expected,
                             const atomic_bool *unwanted, cairn_error *error)
{
    copying c = {.from = -1, .to = -1, .source = source, .seal = expected, .unwanted = unwanted};
    cairn_part_seal seal;
    unsigned made = 0;
    cairn_status status;

    if ((size_t)snprintf(c.path, sizeof c.path, "%s/process-%06u.h5", dir, process) >= sizeof c.path ||
        (size_t)snprintf(c.temporary, sizeof c.temporary, "%s.tmp", c.path) >= sizeof c.temporary) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", dir);
    }
    status = cairn_seal_open(&c.from, source, error);
    if (status != CAIRN_OK) {
        return status;
    }
    status = cairn_seal_check(c.from, source, CAIRN_SEALED_PART, expected, false, &seal, error);
    if (status == CAIRN_OK) {
        status = cairn_make_folders_unsynced(dir, &made, error);
    }
    if (status == CAIRN_OK) {
        c.to = open(c.temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        status = c.to < 0 ? cairn_fail_errno(error, errno, c.temporary, "create") : copy_whole(&c, error);
        if (status == CAIRN_OK && rename(c.temporary, c.path) != 0) {
            status = cairn_fail_errno(error, errno, c.path, "rename into place");
        }
        if (status != CAIRN_OK && c.to >= 0) {
            (void)unlink(c.temporary);
            (void)rmdir(dir); /* if nobody else has a part there */
        }
    }
    if (status == CAIRN_OK && ((status = cairn_sync_folder(dir, error)) != CAIRN_OK ||
                               (status = cairn_sync_above(dir, made, error)) != CAIRN_OK)) {
        (void)unlink(c.path);
    }
    if (c.to >= 0) {
        (void)close(c.to);
    }
    (void)close(c.from);
    return status;
}
