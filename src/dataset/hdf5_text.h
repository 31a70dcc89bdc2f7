/* An HDF5 file as a table in text, so that it is read like any other: a header with the names of the columns, then a line for
 * each row, parted and quoted as CSV is.
 *
 * The columns are the 1-D datasets of a group, by name, all of one length; or one dataset: a 1-D one is one column, of a 2-D
 * one each row is a row and the columns are c0, c1, ... Integers, floating point numbers (printed so that they read back as the
 * same; NaN is a missing value) and strings, of fixed and variable length; contiguous, chunked and filtered, as HDF5 reads
 * them. A virtual or external dataset is refused: where its source is missing HDF5 gives zeros.
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
 * CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_hdf5_text_open(cairn_hdf5_text **out, const char *path, const char *inside,
                                                   char delimiter, uint64_t first, uint64_t rows, cairn_error *error);
void cairn_hdf5_text_close(cairn_hdf5_text *text);           /* NULL-safe */
uint64_t cairn_hdf5_text_rows(const cairn_hdf5_text *text);  /* of the whole file */
uint64_t cairn_hdf5_text_taken(const cairn_hdf5_text *text); /* bytes of elements that were read */
/* The next `room` bytes; *got is less at the end only. */
CAIRN_MUST_CHECK cairn_status cairn_hdf5_text_read(cairn_hdf5_text *text, void *to, size_t room, size_t *got,
                                                   cairn_error *error);

#endif
