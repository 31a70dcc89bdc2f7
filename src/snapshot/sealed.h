/* Sealed HDF5 files: what the parts and the commit record of a snapshot have in common. The only place besides
 * its users in this room that knows HDF5.
 *
 * HDF5 keeps the names, shapes and attributes; the elements themselves go to and come from the file by pwrite and pread
 * at the place that HDF5 gave the dataset (contiguous, allocated early, never filled). So errors of the disk have an
 * errno, elements are hashed while they are in the cache, and a reader never has HDF5 move a byte whose extent was not
 * checked against the size of the file. */
#ifndef CAIRN_SNAPSHOT_SEALED_H
#define CAIRN_SNAPSHOT_SEALED_H

#include "base/durable.h"
#include "snapshot/seal.h"

#include <hdf5.h>

/* HDF5's error printing is per thread and belongs to the application: off between begin and end. */
typedef struct cairn_quiet {
    H5E_auto2_t function;
    void *data;
} cairn_quiet;
cairn_quiet cairn_quiet_begin(void);
void cairn_quiet_end(cairn_quiet quiet);

/* "path: what: HDF5's innermost words", with the status of the errno in HDF5's error stack, else `otherwise`. */
cairn_status cairn_h5_fail(cairn_error *error, cairn_status otherwise, const char *path, const char *what);

/* The little-endian file type of an element. Not to be closed. */
hid_t cairn_h5_type(cairn_type type);

/* Writing. A writer is zeroed by begin; after finish or abandon it holds nothing. */
typedef struct cairn_extent {
    uint64_t offset, bytes;
    const void *data;
} cairn_extent;

typedef struct cairn_sealed_writer {
    hid_t file;
    int fd;
    char path[CAIRN_PATH_BYTES];
    char temporary[CAIRN_PATH_BYTES];
    const atomic_bool *unwanted; /* true: give up. Or NULL */
    uint64_t unsent;             /* bytes written since writeback was last begun */
    cairn_extent *extents;       /* what of the file is still in the caller's memory */
    size_t extent_count;
} cairn_sealed_writer;

/* Make path.tmp. */
cairn_status cairn_sealed_begin(cairn_sealed_writer *writer, const char *path, cairn_error *error);
/* The same, and the root knows in which order its links were made. */
cairn_status cairn_sealed_begin_ordered(cairn_sealed_writer *writer, const char *path, cairn_error *error);
/* Seal it, make it durable and rename it to path. On error nothing is left under either name. */
cairn_status cairn_sealed_finish(cairn_sealed_writer *writer, cairn_sealed_kind kind, cairn_part_seal *seal,
                                 cairn_error *error);
void cairn_sealed_abandon(cairn_sealed_writer *writer);

cairn_status cairn_put_u64(cairn_sealed_writer *writer, hid_t object, const char *name, uint64_t value,
                           cairn_error *error);
cairn_status cairn_put_u32(cairn_sealed_writer *writer, hid_t object, const char *name, uint32_t value,
                           cairn_error *error);
cairn_status cairn_put_u64s(cairn_sealed_writer *writer, hid_t object, const char *name, const uint64_t *values,
                            size_t count, cairn_error *error);
cairn_status cairn_put_text(cairn_sealed_writer *writer, hid_t object, const char *name, const char *text,
                            cairn_error *error);

/* A dataset that is written in pieces: begin, any number of appends of together exactly its bytes, end (which puts the
 * attribute xxh3). The dataset stays open (output->dataset) for attributes between begin and end. end also after
 * errors. */
typedef struct cairn_output {
    hid_t dataset;
    uint64_t offset;
    uint64_t at, bytes;
    void *state; /* of the hash */
    char name[160];
} cairn_output;
cairn_status cairn_output_begin(cairn_sealed_writer *writer, cairn_output *output, hid_t parent, const char *name,
                                hid_t type, uint32_t rank, const uint64_t *shape, cairn_error *error);
/* lasting: data stays as it is until the writer is finished, so it need not be read back from the file. */
cairn_status cairn_output_append(cairn_sealed_writer *writer, cairn_output *output, const void *data, size_t bytes,
                                 bool lasting, cairn_error *error);
cairn_status cairn_output_end(cairn_sealed_writer *writer, cairn_output *output, cairn_status status,
                              cairn_error *error);
/* All at once. */
cairn_status cairn_put_dataset(cairn_sealed_writer *writer, hid_t parent, const char *name, hid_t type, uint32_t rank,
                               const uint64_t *shape, const void *data, uint64_t bytes, cairn_error *error);

/* Reading. */
typedef struct cairn_sealed_reader {
    hid_t file;
    int fd;
    uint64_t bytes;
    const char *path; /* borrowed */
} cairn_sealed_reader;

/* Open, check the seal (and with `whole` every byte), then let HDF5 open it. */
cairn_status cairn_sealed_open(cairn_sealed_reader *reader, const char *path, cairn_sealed_kind kind,
                               const cairn_part_seal *expected, bool whole, cairn_part_seal *seal, cairn_error *error);
/* End HDF5's part of it; the descriptor stays. */
void cairn_sealed_release(cairn_sealed_reader *reader);
void cairn_sealed_close(cairn_sealed_reader *reader);

cairn_status cairn_get_u64(const cairn_sealed_reader *reader, hid_t object, const char *name, uint64_t *value,
                           cairn_error *error);
cairn_status cairn_get_u32(const cairn_sealed_reader *reader, hid_t object, const char *name, uint32_t *value,
                           cairn_error *error);
/* Exactly count values. */
cairn_status cairn_get_u64s(const cairn_sealed_reader *reader, hid_t object, const char *name, uint64_t *values,
                            size_t count, cairn_error *error);
/* A text of fewer than `bytes` bytes. */
cairn_status cairn_get_text(const cairn_sealed_reader *reader, hid_t object, const char *name, char *text, size_t bytes,
                            cairn_error *error);
bool cairn_has_attribute(hid_t object, const char *name);

/* What a dataset is and where its elements lie: checked to be inside the file, plain and contiguous. */
typedef struct cairn_input {
    char name[160]; /* for errors */
    uint32_t rank;
    uint64_t shape[CAIRN_DIMENSIONS_MAX];
    size_t element_bytes;
    bool text;       /* elements are fixed-length strings of element_bytes    */
    cairn_type type; /* when !text                                            */
    uint64_t offset, bytes;
    cairn_digest digest;
} cairn_input;
/* dataset: where to leave the open dataset for its attributes, or NULL. */
cairn_status cairn_input_open(const cairn_sealed_reader *reader, hid_t parent, const char *parent_name,
                              const char *name, cairn_input *input, hid_t *dataset, cairn_error *error);
/* Hash it without keeping it. */
cairn_status cairn_input_check(const cairn_sealed_reader *reader, const cairn_input *input, cairn_error *error);
/* Read all of it and check it. data: malloc'ed, never NULL on success; the caller frees it. */
cairn_status cairn_input_load(const cairn_sealed_reader *reader, const cairn_input *input, void **data,
                              cairn_error *error);
/* A dataset of u64, of exactly these dimensions. */
cairn_status cairn_get_table(const cairn_sealed_reader *reader, hid_t parent, const char *parent_name, const char *name,
                             uint64_t rows, uint64_t columns, uint64_t **values, cairn_error *error);

/* Names of the links of a group, in the order of names: hard links only, at most `most`. Free with cairn_names_free. */
cairn_status cairn_group_names(const cairn_sealed_reader *reader, hid_t parent, const char *group, uint64_t most,
                               char ***names, size_t *count, cairn_error *error);
void cairn_names_free(char **names, size_t count);
/* A group below parent that is a hard link. Negative with error set when there is none. */
hid_t cairn_group_open(const cairn_sealed_reader *reader, hid_t parent, const char *name, cairn_error *error);

#endif
