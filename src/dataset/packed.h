/* Files that are read as streams of their text: gzip (RFC 1952, members one after the other) by zlib, Zstandard (RFC 8878, frames
 * one after the other) by libzstd, HDF5 by hdf5_text.h. What is text already is none of its business.
 *
 * Memory: 256 KiB and the window of the compression, 32 KiB for gzip and 128 MiB at most for Zstandard; a file that asks for more
 * is refused. It never holds more text than was asked for. */
#ifndef CAIRN_DATASET_PACKED_H
#define CAIRN_DATASET_PACKED_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cairn_packing { CAIRN_NOT_PACKED, CAIRN_GZIP, CAIRN_ZSTD, CAIRN_HDF5 } cairn_packing;

/* By the first bytes of a file, 64 KiB of them if there are so many. */
cairn_packing cairn_packing_of(const void *head, size_t bytes);

typedef struct cairn_packed cairn_packed;

/* What is read of an HDF5 file; inside lives as long as the stream. */
typedef struct cairn_packed_part {
    const char *inside; /* group or dataset */
    char delimiter;     /* 0: a comma */
    uint64_t first, rows;
} cairn_packed_part;

/* At the first byte of the text. part: for HDF5. CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_packed_open(cairn_packed **out, cairn_packing packing,
                                                const cairn_packed_part *part);
void cairn_packed_close(cairn_packed *packed); /* NULL-safe */

/* The next `room` bytes of the text; *got is less than that at its end only. fd: the file, the same one each time, of which it
 * reads from where it has come to (by pread); HDF5 is opened by its path. Errors, naming path: CAIRN_E_INVALID: damaged, ends too early, or something
 * else follows; CAIRN_E_IO; CAIRN_E_NOMEM. After an error it can only be closed. */
CAIRN_MUST_CHECK cairn_status cairn_packed_read(cairn_packed *packed, int fd, const char *path, void *to, size_t room,
                                                size_t *got, cairn_error *error);
uint64_t cairn_packed_at(const cairn_packed *packed); /* bytes of text that were given */
uint64_t
cairn_packed_rows(const cairn_packed *packed); /* HDF5: of the whole file, when something was read of it; else 0 */
bool cairn_packed_is_shard(const cairn_packed *packed);  /* HDF5: likewise */
uint64_t cairn_packed_taken(const cairn_packed *packed); /* bytes of the file that were read; HDF5: of elements */

#endif
