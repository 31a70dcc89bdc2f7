#include "snapshot/seal.h"
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define TAIL_BYTES 23 /* "xxh64 " 16 digits "\n" */
#define BODY_BYTES (CAIRN_SEAL_BYTES - TAIL_BYTES)

static const char *const kind_texts[] = {"part", "snapshot", "image", "shard"};
static const char *const kind_names[] = {"part of a snapshot", "commit record of a snapshot",
                                         "image of the coordination service", "shard of a table"};

static void end_block(char block[CAIRN_SEAL_BYTES], size_t length)
{
    char tail[TAIL_BYTES + 1];

    memset(block + length, ' ', BODY_BYTES - length);
    (void)snprintf(tail, sizeof tail, "xxh64 %016" PRIx64 "\n", XXH64(block, BODY_BYTES, 0));
    memcpy(block + BODY_BYTES, tail, TAIL_BYTES);
}

void cairn_seal_make(char block[CAIRN_SEAL_BYTES], cairn_sealed_kind kind, cairn_part_seal seal)
{
    char digest[CAIRN_DIGEST_TEXT_BYTES];
    char body[BODY_BYTES];
    int length;

    cairn_digest_print(seal.digest, digest);
    length = snprintf(body, sizeof body, "cairn %s %d\nbytes %" PRIu64 "\nxxh3 %s\n", kind_texts[kind], CAIRN_FORMAT,
                      seal.bytes, digest);
    memcpy(block, body, (size_t)length);
    end_block(block, (size_t)length);
}

void cairn_seal_end(char block[CAIRN_SEAL_BYTES])
{
    end_block(block, BODY_BYTES);
}

/* The block is whole: nobody and nothing changed it since it was written, in whatever format. */
static bool is_whole(const char block[CAIRN_SEAL_BYTES])
{
    char again[CAIRN_SEAL_BYTES];

    memcpy(again, block, CAIRN_SEAL_BYTES);
    end_block(again, BODY_BYTES);
    return memcmp(again, block, CAIRN_SEAL_BYTES) == 0;
}

static cairn_status no_seal(const char block[CAIRN_SEAL_BYTES], const char *path, const char *kind, cairn_error *error)
{
    if (memcmp(block, "\211HDF\r\n\032\n", 8) == 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: an HDF5 file, but not written by Cairn (it has no seal)", path);
    }
    return cairn_fail(error, CAIRN_E_CORRUPT, "%s: not the %s: no seal in its first 512 bytes", path, kind);
}

static cairn_status parse(const char block[CAIRN_SEAL_BYTES], const char *path, cairn_sealed_kind kind,
                          cairn_part_seal *seal, cairn_error *error)
{
    char text[CAIRN_SEAL_BYTES + 1];
    char again[CAIRN_SEAL_BYTES];
    char prefix[32];
    const char *at;
    char *end = NULL;
    unsigned long version;
    int length = snprintf(prefix, sizeof prefix, "cairn %s ", kind_texts[kind]);

    memcpy(text, block, CAIRN_SEAL_BYTES);
    text[CAIRN_SEAL_BYTES] = '\0';
    if (strncmp(text, "cairn ", 6) != 0) {
        return no_seal(block, path, kind_names[kind], error);
    }
    if (!is_whole(block)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its seal (the first 512 bytes) is damaged", path);
    }
    if (strncmp(text, prefix, (size_t)length) != 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: another kind of file (\"%.*s\")", path, (int)strcspn(text, "\n"),
                          text);
    }
    at = text + length;
    version = strtoul(at, &end, 10);
    if (end == at || *end != '\n') {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its seal names no format", path);
    }
    if (version != CAIRN_FORMAT) {
        return cairn_fail(error, CAIRN_E_VERSION, "%s: format %lu; this Cairn reads format %d", path, version,
                          CAIRN_FORMAT);
    }
    at = end + 1;
    if (strncmp(at, "bytes ", 6) != 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its seal tells no size", path);
    }
    seal->bytes = strtoull(at + 6, &end, 10);
    if (strncmp(end, "\nxxh3 ", 6) != 0 || !cairn_digest_parse(end + 6, &seal->digest)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its seal tells no checksum", path);
    }
    cairn_seal_make(again, kind, *seal);
    if (memcmp(again, block, CAIRN_SEAL_BYTES) != 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its seal is not as Cairn writes it", path);
    }
    return CAIRN_OK;
}

cairn_status cairn_seal_open(int *fd, const char *path, cairn_error *error)
{
    struct stat found;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    if (fstat(*fd, &found) != 0 || !S_ISREG(found.st_mode)) {
        (void)close(*fd);
        *fd = -1;
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: not a regular file", path);
    }
    return CAIRN_OK;
}

cairn_status cairn_seal_read(int fd, const char *path, cairn_sealed_kind kind, cairn_part_seal *seal,
                             cairn_error *error)
{
    char block[CAIRN_SEAL_BYTES];
    cairn_status status;
    struct stat found;

    if (fstat(fd, &found) != 0) {
        return cairn_fail_errno(error, errno, path, "ask for its size");
    }
    if (found.st_size < CAIRN_SEAL_BYTES) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %lld bytes, shorter than a seal", path,
                          (long long)found.st_size);
    }
    status = cairn_read_at(fd, block, sizeof block, 0, path, error);
    if (status == CAIRN_OK) {
        status = parse(block, path, kind, seal, error);
    }
    if (status == CAIRN_OK && seal->bytes != (uint64_t)found.st_size) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: has %lld bytes, %llu were written", path,
                            (long long)found.st_size, (unsigned long long)seal->bytes);
    }
    return status;
}

cairn_status cairn_seal_check(int fd, const char *path, cairn_sealed_kind kind, const cairn_part_seal *expected,
                              bool whole, cairn_part_seal *seal, cairn_error *error)
{
    cairn_digest digest;
    uint64_t bytes = 0;
    cairn_status status = cairn_seal_read(fd, path, kind, seal, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (expected != NULL && (expected->bytes != seal->bytes || !cairn_digest_equal(expected->digest, seal->digest))) {
        return cairn_fail(
            error, CAIRN_E_CORRUPT,
            "%s: not the file that was committed here (swapped, or of another snapshot): its seal differs", path);
    }
    if (!whole) {
        return CAIRN_OK;
    }
    status = cairn_digest_fd(fd, CAIRN_SEAL_BYTES, &digest, &bytes, path, error);
    if (status == CAIRN_OK && (bytes != seal->bytes - CAIRN_SEAL_BYTES || !cairn_digest_equal(digest, seal->digest))) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: checksum of the whole file does not match its seal", path);
    }
    return status;
}
