/* XXH3-128 over memory and over files. The digest of equal bytes is equal on every machine. */
#ifndef CAIRN_BASE_CHECKSUM_H
#define CAIRN_BASE_CHECKSUM_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cairn_digest {
    uint64_t high, low;
} cairn_digest;

#define CAIRN_DIGEST_TEXT_BYTES 33 /* 32 hex digits and the end */

cairn_digest cairn_digest_of(const void *data, size_t bytes);
bool cairn_digest_equal(cairn_digest a, cairn_digest b);
void cairn_digest_print(cairn_digest digest, char text[CAIRN_DIGEST_TEXT_BYTES]);
/* false when text is not 32 hex digits (more may follow). */
bool cairn_digest_parse(const char *text, cairn_digest *digest);
/* Digest of bytes [offset, end) of an open file; *bytes (may be NULL) gets how many they were. */
cairn_status cairn_digest_fd(int fd, uint64_t offset, cairn_digest *digest, uint64_t *bytes, const char *path,
                             cairn_error *error);

#endif
