/* The seal: the first 512 bytes of every file of a snapshot, which is the user block of an HDF5 file.
 *
 *   cairn part 1\n              (or "cairn snapshot 1", "cairn image 1", "cairn shard 1": the kind of file, and its format)
 *   bytes 123456\n              of the whole file
 *   xxh3 32 hex digits\n        XXH3-128 of everything behind these 512 bytes
 *   blanks
 *   xxh64 16 hex digits\n       XXH64 of the block up to here; it ends the block
 *
 * One file has exactly one valid seal: a reader makes the block anew from what it read and compares all 512 bytes. */
#ifndef CAIRN_SNAPSHOT_SEAL_H
#define CAIRN_SNAPSHOT_SEAL_H

#include "snapshot/image.h"

#define CAIRN_SEAL_BYTES 512

/* IMAGE: of the coordination service (coord/image.h). SHARD: of a table (dataset/shard.h). */
typedef enum cairn_sealed_kind {
    CAIRN_SEALED_PART,
    CAIRN_SEALED_SNAPSHOT,
    CAIRN_SEALED_IMAGE,
    CAIRN_SEALED_SHARD
} cairn_sealed_kind;

void cairn_seal_make(char block[CAIRN_SEAL_BYTES], cairn_sealed_kind kind, cairn_part_seal seal);

/* Set the last line of a block anew, after its text was changed. For tests. */
void cairn_seal_end(char block[CAIRN_SEAL_BYTES]);

/* Read the seal of an open file and compare it with the file's size; the bytes behind it are not read.
 * CAIRN_E_CORRUPT, CAIRN_E_VERSION, CAIRN_E_IO. */
cairn_status cairn_seal_read(int fd, const char *path, cairn_sealed_kind kind, cairn_part_seal *seal,
                             cairn_error *error);

/* The same and, when expected is given, compare it; then, with `whole`, read and check all bytes behind it. */
cairn_status cairn_seal_check(int fd, const char *path, cairn_sealed_kind kind, const cairn_part_seal *expected,
                              bool whole, cairn_part_seal *seal, cairn_error *error);

/* Open for reading, without following what is no file (a pipe would block). */
cairn_status cairn_seal_open(int *fd, const char *path, cairn_error *error);

#endif
