/* Goal: a compressed file gives its text, in pieces of any size, however many members or frames it has; a damaged one is
 * an error that names it, wherever it was cut or whichever byte was changed, and never other text without an error.
 * Method: files made here by the same libraries, read from memory (memfd). */
#include "dataset/packed.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define TEXT_BYTES ((size_t)300000)
#define ROOM       ((size_t)1 << 20)

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static unsigned char text[TEXT_BYTES], file[ROOM], seen[TEXT_BYTES + 1000];

static void make_text(void)
{
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (unsigned char)(rng() % 8 == 0 ? rng() : 'a' + i % 7);
    }
}

/* text[from, to) behind what is in the file; where it ends then. */
static size_t pack(cairn_packing packing, size_t at, size_t from, size_t to)
{
    if (packing == CAIRN_ZSTD) {
        size_t bytes = ZSTD_compress(file + at, ROOM - at, text + from, to - from, 3);

        CU_ASSERT_FATAL(!ZSTD_isError(bytes));
        return at + bytes;
    }
    z_stream z = {
        .next_in = text + from, .avail_in = (uInt)(to - from), .next_out = file + at, .avail_out = (uInt)(ROOM - at)};
    CU_ASSERT_FATAL(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    CU_ASSERT_FATAL(deflate(&z, Z_FINISH) == Z_STREAM_END);
    at = (size_t)(z.next_out - file);
    deflateEnd(&z);
    return at;
}

/* Reads a file of these bytes in pieces of at most `piece`; how much text came, or SIZE_MAX. */
static size_t read_all(cairn_packing packing, size_t bytes, size_t piece, cairn_error *error)
{
    int fd = memfd_create("packed", 0);
    cairn_packed *packed = NULL;
    cairn_status status;
    size_t at = 0;
    size_t got = 1;

    CU_ASSERT_FATAL(fd >= 0 && write(fd, file, bytes) == (ssize_t)bytes);
    CU_ASSERT_FATAL(cairn_packed_open(&packed, packing, NULL) == CAIRN_OK);
    for (status = CAIRN_OK; status == CAIRN_OK && got > 0 && at < sizeof seen;) {
        size_t room = 1 + rng() % piece;

        room = room < sizeof seen - at ? room : sizeof seen - at;
        status = cairn_packed_read(packed, fd, "the.file", seen + at, room, &got, error);
        at += status == CAIRN_OK ? got : 0;
        CU_ASSERT(status != CAIRN_OK || cairn_packed_at(packed) == at);
        if (status == CAIRN_OK && got < room) { /* the end; and it stays so */
            status = cairn_packed_read(packed, fd, "the.file", seen + at, room, &got, error);
            CU_ASSERT(status == CAIRN_OK && got == 0);
        }
    }
    CU_ASSERT(status != CAIRN_OK || cairn_packed_taken(packed) == bytes);
    CU_ASSERT(status == CAIRN_OK || (status == CAIRN_E_INVALID && strncmp(error->text, "the.file: ", 10) == 0));
    cairn_packed_close(packed);
    (void)close(fd);
    return status == CAIRN_OK ? at : SIZE_MAX;
}

static void known_by_the_first_bytes(void)
{
    size_t bytes;

    make_text();
    bytes = pack(CAIRN_GZIP, 0, 0, 100);
    CU_ASSERT(cairn_packing_of(file, bytes) == CAIRN_GZIP);
    CU_ASSERT(cairn_packing_of(file, 2) == CAIRN_NOT_PACKED);
    bytes = pack(CAIRN_ZSTD, 0, 0, 100);
    CU_ASSERT(cairn_packing_of(file, bytes) == CAIRN_ZSTD);
    CU_ASSERT(cairn_packing_of("station;temperature\n", 20) == CAIRN_NOT_PACKED);
    CU_ASSERT(cairn_packing_of("", 0) == CAIRN_NOT_PACKED);
}

static void whole_files(cairn_packing packing)
{
    static const size_t pieces[] = {1, 7, 4096, TEXT_BYTES * 2};
    cairn_error error = {CAIRN_OK, ""};

    make_text();
    for (size_t members = 1; members <= 40; members += 13) {
        size_t bytes = 0;

        for (size_t i = 0; i < members; i++) {
            bytes = pack(packing, bytes, TEXT_BYTES * i / members, TEXT_BYTES * (i + 1) / members);
        }
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
            memset(seen, 0, sizeof seen);
            CU_ASSERT(read_all(packing, bytes, pieces[i], &error) == TEXT_BYTES);
            CU_ASSERT(memcmp(seen, text, TEXT_BYTES) == 0);
        }
    }
    CU_ASSERT(read_all(packing, pack(packing, 0, 0, 0), 10, &error) == 0); /* no text at all */
}

static void damaged_files(cairn_packing packing)
{
    cairn_error error = {CAIRN_OK, ""};
    size_t first = 0;
    size_t bytes = 0;

    make_text();
    first = pack(packing, 0, 0, 900);
    bytes = pack(packing, first, 900, 2000);
    for (size_t end = 1; end < bytes; end++) {
        size_t came = read_all(packing, end, 300, &error);

        CU_ASSERT(came == (end == first ? 900 : SIZE_MAX));
    }
    for (size_t i = 0; i < bytes * 8; i++) {
        file[i / 8] ^= (unsigned char)(1 << i % 8);
        size_t came = read_all(packing, bytes, 5000, &error);
        /* Some bits say nothing about the text (a time, a kind of computer); zstd has no checksum unless asked for. */
        CU_ASSERT(came == SIZE_MAX || packing == CAIRN_ZSTD || (came == 2000 && memcmp(seen, text, 2000) == 0));
        file[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    memcpy(file + bytes, "garbage", 7);
    CU_ASSERT(read_all(packing, bytes + 7, 300, &error) == SIZE_MAX);
    memset(file + bytes, 0, 5000);
    CU_ASSERT(read_all(packing, bytes + 5000, 300, &error) == (packing == CAIRN_GZIP ? 2000 : SIZE_MAX));
    file[bytes + 4999] = 1;
    CU_ASSERT(read_all(packing, bytes + 5000, 300, &error) == SIZE_MAX);
}

static void gzip_whole(void)
{
    whole_files(CAIRN_GZIP);
}

static void gzip_damaged(void)
{
    damaged_files(CAIRN_GZIP);
}

static void zstd_whole(void)
{
    whole_files(CAIRN_ZSTD);
}

static void zstd_damaged(void)
{
    damaged_files(CAIRN_ZSTD);
}

UNIT_MAIN("packed", {"known by the first bytes", known_by_the_first_bytes}, {"gzip: whole files", gzip_whole},
          {"gzip: damaged files", gzip_damaged}, {"zstd: whole files", zstd_whole},
          {"zstd: damaged files", zstd_damaged})
