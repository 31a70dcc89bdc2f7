/* Both libraries are used in the same way: input is refilled when they have taken all of it, until there is as much text
 * as was asked for. Between two members or frames the file may end; elsewhere it must not. */
#include "dataset/packed.h"

#include "dataset/hdf5_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define INPUT_BYTES     ((size_t)256 << 10)
#define GZIP_WINDOW     (15 + 16) /* the largest there is, and a gzip header */
#define ZSTD_WINDOW_LOG 27

struct cairn_packed {
    cairn_packing packing;
    bool between; /* members or frames: none has begun since the last one ended */
    bool ended;   /* the file has */
    bool any;     /* a member has ended */
    bool padded;  /* gzip: zeros follow the last member, and nothing else may */
    bool dry;     /* the library has given all the text that its input made */
    z_stream gzip;
    ZSTD_DStream *zstd;
    cairn_packed_part part;
    cairn_hdf5_text *hdf5; /* opened when something is read */
    uint64_t at, taken;
    size_t used, filled; /* of input */
    unsigned char input[INPUT_BYTES];
};

cairn_packing cairn_packing_of(const void *head, size_t bytes)
{
    static const unsigned char gzip[] = {0x1f, 0x8b, 8};
    static const unsigned char zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

    if (bytes >= sizeof gzip && memcmp(head, gzip, sizeof gzip) == 0) {
        return CAIRN_GZIP;
    }
    if (bytes >= sizeof zstd && memcmp(head, zstd, sizeof zstd) == 0) {
        return CAIRN_ZSTD;
    }
    return cairn_is_hdf5(head, bytes) ? CAIRN_HDF5 : CAIRN_NOT_PACKED;
}

cairn_status cairn_packed_open(cairn_packed **out, cairn_packing packing, const cairn_packed_part *part)
{
    cairn_packed *p = calloc(1, sizeof *p);
    bool begun = false;

    if (p == NULL) {
        return CAIRN_E_NOMEM;
    }
    p->packing = packing;
    p->between = true;
    p->dry = true;
    if (packing == CAIRN_HDF5) {
        p->part = *part;
        begun = true;
    } else if (packing == CAIRN_GZIP) {
        begun = inflateInit2(&p->gzip, GZIP_WINDOW) == Z_OK;
    } else {
        p->zstd = ZSTD_createDStream();
        begun = p->zstd != NULL && !ZSTD_isError(ZSTD_initDStream(p->zstd)) &&
                !ZSTD_isError(ZSTD_DCtx_setParameter(p->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
    }
    if (!begun) {
        cairn_packed_close(p);
        return CAIRN_E_NOMEM;
    }
    *out = p;
    return CAIRN_OK;
}

void cairn_packed_close(cairn_packed *p)
{
    if (p == NULL) {
        return;
    }
    cairn_hdf5_text_close(p->hdf5);
    if (p->packing == CAIRN_GZIP) {
        (void)inflateEnd(&p->gzip); /* nothing was begun: an error that says so */
    } else if (p->packing == CAIRN_ZSTD) {
        (void)ZSTD_freeDStream(p->zstd);
    }
    free(p);
}

static cairn_status refill(cairn_packed *p, int fd, const char *path, cairn_error *error)
{
    ssize_t got;

    do {
        got = pread(fd, p->input, sizeof p->input, (off_t)p->taken);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return cairn_fail(error, CAIRN_E_IO, "%s: %s", path, strerror(errno));
    }
    p->used = 0;
    p->filled = (size_t)got;
    p->taken += (uint64_t)got;
    p->ended = got == 0;
    return CAIRN_OK;
}

static cairn_status damaged(const cairn_packed *p, const char *path, const char *why, cairn_error *error)
{
    return cairn_fail(error, CAIRN_E_INVALID, "%s: damaged %s data before byte %llu, behind %llu bytes of text: %s",
                      path, p->packing == CAIRN_GZIP ? "gzip" : "zstd", (unsigned long long)p->taken,
                      (unsigned long long)p->at, why);
}

/* Some files are filled up with zeros to whole blocks of a tape. */
static bool skip_padding(cairn_packed *p)
{
    while (p->used < p->filled && p->input[p->used] == 0) {
        p->used++;
        p->padded = true;
    }
    return p->used == p->filled;
}

static cairn_status inflate_some(cairn_packed *p, const char *path, unsigned char *to, size_t room, size_t *got,
                                 cairn_error *error)
{
    int code;

    *got = 0;
    if (p->between && p->any && skip_padding(p)) {
        return CAIRN_OK;
    }
    if (p->padded) {
        return damaged(p, path, "something follows its end", error);
    }
    p->between = false;
    p->gzip.next_in = p->input + p->used;
    p->gzip.avail_in = (uInt)(p->filled - p->used);
    p->gzip.next_out = to;
    p->gzip.avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
    code = inflate(&p->gzip, Z_NO_FLUSH);
    *got = (size_t)(p->gzip.next_out - to);
    p->used = p->filled - p->gzip.avail_in;
    if (code == Z_STREAM_END) {
        p->between = true;
        p->any = true;
        code = inflateReset(&p->gzip);
    }
    if (code == Z_MEM_ERROR) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to decompress it", path);
    }
    return code == Z_OK || code == Z_BUF_ERROR
               ? CAIRN_OK
               : damaged(p, path, p->gzip.msg != NULL ? p->gzip.msg : "not its format", error);
}

static cairn_status decompress_some(cairn_packed *p, const char *path, void *to, size_t room, size_t *got,
                                    cairn_error *error)
{
    ZSTD_inBuffer in = {p->input, p->filled, p->used};
    ZSTD_outBuffer out = {to, room, 0};
    size_t code = ZSTD_decompressStream(p->zstd, &out, &in);

    /* Asked once more after the end of a frame it says how much of the next one it wants. */
    p->between = code == 0 || (p->between && in.pos == p->used && out.pos == 0);
    *got = out.pos;
    p->used = in.pos;
    if (ZSTD_isError(code)) {
        return damaged(p, path, ZSTD_getErrorName(code), error);
    }
    return CAIRN_OK;
}

static cairn_status read_hdf5(cairn_packed *p, const char *path, void *to, size_t room, size_t *got, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    if (p->hdf5 == NULL) {
        status =
            cairn_hdf5_text_open(&p->hdf5, path, p->part.inside, p->part.delimiter, p->part.first, p->part.rows, error);
    }
    if (status == CAIRN_OK) {
        status = cairn_hdf5_text_read(p->hdf5, to, room, got, error);
        p->at += *got;
        p->taken = cairn_hdf5_text_taken(p->hdf5);
    }
    return status;
}

cairn_status cairn_packed_read(cairn_packed *p, int fd, const char *path, void *to, size_t room, size_t *got,
                               cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    *got = 0;
    if (p->packing == CAIRN_HDF5) {
        return read_hdf5(p, path, to, room, got, error);
    }
    while (*got < room && status == CAIRN_OK) {
        unsigned char *here = (unsigned char *)to + *got;
        size_t some = 0;

        if (p->used == p->filled && p->dry && !p->ended) {
            status = refill(p, fd, path, error);
        }
        if (status == CAIRN_OK && p->ended && p->dry) {
            return p->between ? CAIRN_OK : damaged(p, path, "it ends too early", error);
        }
        if (status == CAIRN_OK) {
            status = p->packing == CAIRN_GZIP ? inflate_some(p, path, here, room - *got, &some, error)
                                              : decompress_some(p, path, here, room - *got, &some, error);
            p->dry = some < room - *got;
            *got += some;
            p->at += some;
        }
    }
    return status;
}

bool cairn_packed_is_shard(const cairn_packed *p)
{
    return p->hdf5 != NULL && cairn_hdf5_text_is_shard(p->hdf5);
}

uint64_t cairn_packed_at(const cairn_packed *p)
{
    return p->at;
}

uint64_t cairn_packed_rows(const cairn_packed *p)
{
    return p->hdf5 == NULL ? 0 : cairn_hdf5_text_rows(p->hdf5);
}

uint64_t cairn_packed_taken(const cairn_packed *p)
{
    return p->taken;
}
