#include "base/checksum.h"
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE_BYTES ((size_t)1 << 20)

cairn_digest cairn_digest_of(const void *data, size_t bytes)
{
    XXH128_hash_t hash = XXH3_128bits(data, bytes);

    return (cairn_digest){hash.high64, hash.low64};
}

bool cairn_digest_equal(cairn_digest a, cairn_digest b)
{
    return a.high == b.high && a.low == b.low;
}

void cairn_digest_print(cairn_digest digest, char text[CAIRN_DIGEST_TEXT_BYTES])
{
    (void)snprintf(text, CAIRN_DIGEST_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, digest.high, digest.low);
}

/* Lower case only: one digest has one text, so that a flipped bit in the text is a difference. */
static bool parse_half(const char *text, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];

        if (c >= '0' && c <= '9') {
            *value = *value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            *value = *value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

bool cairn_digest_parse(const char *text, cairn_digest *digest)
{
    cairn_digest parsed;

    if (!parse_half(text, &parsed.high) || !parse_half(text + 16, &parsed.low)) {
        return false;
    }
    *digest = parsed;
    return true;
}

static cairn_status digest_pieces(int fd, uint64_t offset, XXH3_state_t *state, char *piece, uint64_t *bytes,
                                  const char *path, cairn_error *error)
{
    *bytes = 0;
    for (;;) {
        ssize_t got = pread(fd, piece, PIECE_BYTES, (off_t)(offset + *bytes));

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return cairn_fail_errno(error, errno, path, "read");
        }
        if (got == 0) {
            return CAIRN_OK;
        }
        (void)XXH3_128bits_update(state, piece, (size_t)got);
        *bytes += (uint64_t)got;
    }
}

cairn_status cairn_digest_fd(int fd, uint64_t offset, cairn_digest *digest, uint64_t *bytes, const char *path,
                             cairn_error *error)
{
    cairn_status status = CAIRN_E_BUG;
    XXH3_state_t *state = XXH3_createState();
    char *piece = malloc(PIECE_BYTES);
    uint64_t read_bytes = 0;

    if (state == NULL || piece == NULL || XXH3_128bits_reset(state) != XXH_OK) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to check it", path);
        goto out;
    }
    (void)posix_fadvise(fd, (off_t)offset, 0, POSIX_FADV_SEQUENTIAL);
    status = digest_pieces(fd, offset, state, piece, &read_bytes, path, error);
    if (status == CAIRN_OK) {
        XXH128_hash_t hash = XXH3_128bits_digest(state);

        *digest = (cairn_digest){hash.high64, hash.low64};
        if (bytes != NULL) {
            *bytes = read_bytes;
        }
    }
out:
    free(piece);
    (void)XXH3_freeState(state);
    return status;
}
