/* Partitions of a table in columns: what `cairn data import` makes of text once, to be scanned many times.
 *
 * A shard is a sealed HDF5 file (snapshot/seal.h, kind "shard"). Its columns are the 1-D datasets of the root, in the order in which
 * they were made, contiguous and little-endian: f64 (NaN is a missing value), i64, or texts of one width, padded with zeros. The group CAIRN_SHARD_CHECKS holds
 * under each column's name one u64 for every CAIRN_SHARD_RUN rows: the low word of the XXH3-128 of their bytes. So a reader of
 * some rows can tell whether they are as they were written, without reading the others. Any HDF5 reader can read it. */
#ifndef CAIRN_DATASET_SHARD_H
#define CAIRN_DATASET_SHARD_H

#include "snapshot/image.h"

#define CAIRN_SHARD_RUN    UINT64_C(8192)
#define CAIRN_SHARD_CHECKS "cairn checks"

typedef enum cairn_shard_type { CAIRN_SHARD_I64, CAIRN_SHARD_F64, CAIRN_SHARD_TEXT } cairn_shard_type;

typedef struct cairn_shard_column {
    const char *name;
    cairn_shard_type type;
    uint32_t width;   /* bytes of an element */
    const void *data; /* [rows] */
} cairn_shard_column;

/* Whether a dataset can have this name. */
bool cairn_shard_can_name(const char *column);

/* Whole and durable under `path`, or not there. CAIRN_E_INVALID (a name), CAIRN_E_FULL, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_shard_write(const char *path, const cairn_shard_column *columns, uint32_t count,
                                                uint64_t rows, cairn_part_seal *seal, cairn_error *error);

/* Read every byte of it. expected: what the catalogue says of it, or NULL. CAIRN_E_CORRUPT, CAIRN_E_VERSION,
 * CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_shard_check(const char *path, const cairn_part_seal *expected, uint64_t *rows,
                                                cairn_error *error);

#endif
