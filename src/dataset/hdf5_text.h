/* An HDF5 file as a table in text, so that it is read like any other: a header with the names of the columns, then a line for
 * each row, parted and quoted as CSV is.
 *
 * The columns are the 1-D datasets of a group, in the order in which they were made if the group knows it, else by name, all of one length; or one dataset: a 1-D one is one column, of a 2-D
 * one each row is a row and the columns are c0, c1, ... Integers, floating point numbers (printed so that they read back as the
 * same; NaN is a missing value) and strings, of fixed and variable length; contiguous, chunked and filtered, as HDF5 reads
 * them. A virtual or external dataset is refused: where its source is missing HDF5 gives zeros.
 *
 * Of a shard (shard.h) the rows are checked when it is opened for them.
 *
 * Memory: a few thousand rows. HDF5 is asked by one thread at a time, and prints nothing. */
#ifndef CAIRN_DATASET_HDF5_TEXT_H
#define CAIRN_DATASET_HDF5_TEXT_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* By the first bytes of a file; a user block may come first. */
bool cairn_is_hdf5(const void *head, size_t bytes);

typedef struct cairn_hdf5_text cairn_hdf5_text;

/* The header and rows [first, first + rows), as far as there are so many. inside: the group or dataset, "" for the root.
 * Errors, naming path: CAIRN_E_INVALID (no HDF5, nothing of that kind in it, lengths or types that do not fit),
 * (of a shard also: not as it was written), CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_hdf5_text_open(cairn_hdf5_text **out, const char *path, const char *inside,
                                                   char delimiter, uint64_t first, uint64_t rows, cairn_error *error);
void cairn_hdf5_text_close(cairn_hdf5_text *text);           /* NULL-safe */
uint64_t cairn_hdf5_text_rows(const cairn_hdf5_text *text);  /* of the whole file */
bool cairn_hdf5_text_is_shard(const cairn_hdf5_text *text);  /* its rows have checksums: shard.h */
uint64_t cairn_hdf5_text_taken(const cairn_hdf5_text *text); /* bytes of elements that were read */
/* The next `room` bytes; *got is less at the end only. */
CAIRN_MUST_CHECK cairn_status cairn_hdf5_text_read(cairn_hdf5_text *text, void *to, size_t room, size_t *got,
                                                   cairn_error *error);

/* A column whose elements lie in the file one behind the other as a machine with little-endian numbers has them. */
typedef struct cairn_hdf5_raw {
    enum { CAIRN_RAW_NONE, CAIRN_RAW_F64, CAIRN_RAW_I64, CAIRN_RAW_TEXT } kind;
    uint32_t width;          /* bytes of an element */
    uint64_t offset, checks; /* in the file: of the elements; of the checksums of a shard's runs, 0: there are none */
} cairn_hdf5_raw;
/* Of this column, counted from 0. */
cairn_hdf5_raw cairn_hdf5_text_raw(const cairn_hdf5_text *text, uint32_t which);
/* Whether rows [first, first + rows) of this column, at `data`, are as they were written. The first row begins a run, and the
 * last one ends a run or the file. fd: the file. CAIRN_E_INVALID, CAIRN_E_IO name path. */
CAIRN_MUST_CHECK cairn_status cairn_hdf5_check_runs(int fd, const char *path, const char *name,
                                                    const cairn_hdf5_raw *raw, uint64_t first, uint64_t rows,
                                                    const void *data, cairn_error *error);

#endif
