/* The plan of a read: which files, with which header, cut into which blocks. It depends on the files alone, never on
 * the number of processes.
 *
 * A block is a range of bytes [start, end) of a file; its rows are those whose first byte lies in it. Blocks are
 * clamp(total / 256, 64 KiB, 4 MiB) bytes, a quarter of it (at least 64 KiB) in the last tenth of all bytes, so that
 * the end of a run is divided finely.
 *
 * Where a block's first row starts is undecidable from the middle of a file when quoted fields hold line breaks. Most
 * files have none, so it is decided like this:
 *   - By default a reader takes the first line feed at or behind start - 1 for the end of a row. The reader of the
 *   block before it
 *     knows better, as it comes from a true row border: when its last row ends elsewhere than at the first line feed
 *     at or behind its end - 1, the guess was wrong. It says so (CAIRN_READ_WRONG), everything read so far is thrown
 *     away and the file is marked careful. By induction over the blocks of a file, an answer without that outcome is
 *     right.
 *   - A careful file is scanned for its quotes from the start (cairn_csv_scan, at the speed of memchr), and each of
 *   its blocks is handed
 *     out with the true state at its start. A file whose first 64 KiB show a quoted line break is careful from the
 *     start.
 *
 * A compressed file (packed.h) is known by its first bytes. It is one block, since its text can only be read from the
 * start: many files are divided, a large one is not. An HDF5 file (hdf5_text.h) is cut into blocks of as many rows each,
 * whose texts begin anew.
 *
 * Replicas are folders that hold the same files under the same names. A file of the plan may then be read from any place
 * where it is: that is where it has as many bytes, and the same ones at its beginning and end. The times of its copies do
 * not matter, and the plan does not depend on which of them were there. If they differ while the plan is made, what most of
 * them agree on counts; if that is nothing there is no plan. A replica "HOST:FOLDER" is on that host alone (by gethostname, or
 * its part before the first dot); elsewhere it is left alone. Whoever makes the plan needs each file in one place that it can
 * read. The catalogue of a table (catalogue.h) may name more. */
#ifndef CAIRN_DATASET_PLAN_H
#define CAIRN_DATASET_PLAN_H

#include "base/checksum.h"
#include "base/pack.h"
#include "dataset/csv.h"
#include "dataset/packed.h"

#define CAIRN_SAMPLE_BYTES    ((size_t)65536)
#define CAIRN_BLOCK_BYTES_MIN ((uint64_t)65536)
#define CAIRN_BLOCK_BYTES_MAX ((uint64_t)4 << 20)
#define CAIRN_BLOCK_OPEN_END  ((uint64_t)INT64_MAX) /* of the block that a compressed file is */
#define CAIRN_REPLICAS_MAX    32

typedef struct cairn_plan_file {
    char *path;
    uint64_t bytes, data_start;
    int64_t modified_s, modified_ns; /* 0 if there are replicas */
    cairn_digest ends;               /* of its first and last bytes, if there are replicas */
    uint32_t first_block, block_count;
    bool careful;      /* as far as the sample shows */
    uint8_t packing;   /* cairn_packing; then bytes are of the file, and data_start is of its text */
    uint64_t rows;     /* HDF5 */
    bool is_shard;     /* shard.h */
    uint64_t promised; /* bytes, by a catalogue; 0: none names it. Only while the plan is made */
} cairn_plan_file;

typedef struct cairn_block {
    uint32_t file;
    uint64_t start, end;
    uint64_t row, rows; /* HDF5: these, as a text with a header; start and end are of that text */
} cairn_block;

typedef struct cairn_plan {
    char delimiter;
    cairn_columns columns;
    bool *numeric; /* [columns.count]: the samples (first bytes of each file) hold numbers in it, and nothing else */
    uint32_t file_count, block_count;
    cairn_plan_file *files;
    cairn_block *blocks;
    uint64_t bytes; /* of all blocks */
    uint64_t block_bytes;
    char *inside;   /* the group or dataset that is read of HDF5 files; "" is the root */
    char **replica; /* [replica_count]: FOLDER or HOST:FOLDER */
    uint32_t replica_count;
} cairn_plan;

typedef struct cairn_plan_options {
    char delimiter;       /* 0: find it in the first file */
    uint64_t block_bytes; /* 0: as above; other values are for tests */
    const char *inside;   /* NULL: the root */
    char *const *replica; /* [replica_count] */
    size_t replica_count;
} cairn_plan_options;

/* Make the plan of these files, folders (of a folder: its *.csv, *.tsv, *.txt, and these with .gz or .zst behind, *.h5 and *.hdf5, sorted by
 * name, not of its subfolders; with replicas also what only they have of such files) and patterns (glob(7); what has the
 * very name is no pattern). Errors, naming the file: CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_INVALID (no
 * such files in a folder, a header that differs, an empty file; with replicas: two files of one name, two folders, copies
 * that differ),
 * CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_plan_make(cairn_plan *plan, char *const *paths, size_t path_count,
                                              const cairn_plan_options *options, cairn_error *error);
void cairn_plan_free(cairn_plan *plan); /* safe on zeros */
/* The places of a file: 0 is its path, the others are in the replicas. */
#define CAIRN_PLAN_PATH_BYTES 4096
uint32_t cairn_plan_places(const cairn_plan *plan);
void cairn_plan_place(const cairn_plan *plan, uint32_t file, uint32_t place, char path[CAIRN_PLAN_PATH_BYTES]);
/* A place is of this host alone, of all hosts, or of another one. */
typedef enum cairn_place_is { CAIRN_PLACE_SHARED, CAIRN_PLACE_NEAR, CAIRN_PLACE_FAR } cairn_place_is;
cairn_place_is cairn_plan_place_is(const cairn_plan *plan, uint32_t place);
bool cairn_plan_has_hosts(const cairn_plan *plan); /* some place is of one host alone */
/* Of "HOST:FOLDER"; *folder gets FOLDER. A text without a host, or with a slash before the colon, is a folder. */
cairn_place_is cairn_place_parse(const char *replica, const char **folder);
/* How to read a block of a file that is no text. */
cairn_packed_part cairn_plan_part(const cairn_plan *plan, uint32_t block);
/* The rows of a block can only be told from damaged ones when all of it was read: they go into a table of their own. */
bool cairn_plan_is_apart(const cairn_plan *plan, uint32_t block);
/* Digest of what tells a file's copies from other files. CAIRN_E_IO names path. */
CAIRN_MUST_CHECK cairn_status cairn_plan_ends(int fd, uint64_t bytes, const char *path, cairn_digest *ends,
                                              cairn_error *error);
/* These bytes of a file that has them in the plan. CAIRN_E_MISMATCH: it became shorter; CAIRN_E_IO. */
CAIRN_MUST_CHECK cairn_status cairn_plan_read(int fd, void *to, size_t bytes, uint64_t offset, const char *path,
                                              cairn_error *error);
/* Of the file, for saying how far one is. */
uint64_t cairn_plan_block_bytes(const cairn_plan *plan, uint32_t block);

/* Equal plans pack to equal bytes. unpack: CAIRN_E_CORRUPT, CAIRN_E_VERSION, CAIRN_E_NOMEM; *plan is empty then. */
void cairn_plan_pack(const cairn_plan *plan, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_plan_unpack(cairn_plan *plan, cairn_unpack *unpack);

/* CAIRN_OK when `now` reads the same as `then`; else CAIRN_E_MISMATCH, and error names the first file that differs
 * and how. */
CAIRN_MUST_CHECK cairn_status cairn_plan_compare(const cairn_plan *then, const cairn_plan *now, cairn_error *error);

#endif
