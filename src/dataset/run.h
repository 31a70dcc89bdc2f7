/* Runs: groups on disk, one after the other in some order, for tables that do not fit in memory; and their merge.
 *
 * As in external sorting (Knuth, The Art of Computer Programming 3, 5.4) and aggregation by it (Graefe, "Query evaluation
 * techniques for large databases", 1993, 4): a table that has become too large is written out in the order of its keys, and
 * begins anew; at the end the runs are read side by side, and groups of the same key, which then come together, become one.
 *
 * A run is a file: "CRN1", the shape (groups.h), then frames: bytes (u32), a checksum (u64, the low word of the XXH3-128) and
 * so many bytes of packed groups. The entry that names it, which is in the state of its owner, says how long the file is, how
 * many groups are in it, and a word over all checksums in their order: so a frame that is damaged, missing, or of another run
 * is noticed, and named. Nobody changes a run when it is made. */
#ifndef CAIRN_DATASET_RUN_H
#define CAIRN_DATASET_RUN_H

#include "dataset/groups.h"

#include <cairn/status.h>

typedef struct cairn_run {
    char *path; /* freed with it */
    uint64_t bytes, groups, chain;
    bool durable;
} cairn_run;

typedef struct cairn_runs {
    cairn_run *run; /* [count] */
    uint32_t count, room;
} cairn_runs; /* zeros: none */

void cairn_runs_free(cairn_runs *runs); /* the list; the files stay */
/* run->path is the list's then; on CAIRN_E_NOMEM it is freed. */
CAIRN_MUST_CHECK cairn_status cairn_runs_add(cairn_runs *runs, cairn_run run);
/* All of `from` to the end of `to`. */
CAIRN_MUST_CHECK cairn_status cairn_runs_move(cairn_runs *to, cairn_runs *from);
void cairn_runs_remove_files(const cairn_runs *runs);
/* fsync of those that were not yet. */
CAIRN_MUST_CHECK cairn_status cairn_runs_sync(cairn_runs *runs, cairn_error *error);
uint64_t cairn_runs_bytes(const cairn_runs *runs);

/* Names in `folder` are packed without it, so that it can be moved. unpack adds to the list: CAIRN_E_CORRUPT,
 * CAIRN_E_NOMEM. */
void cairn_runs_pack(const cairn_runs *runs, const char *folder, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_runs_unpack(cairn_runs *runs, const char *folder, cairn_unpack *unpack);
/* Each file is there and as long as it was. CAIRN_E_CORRUPT, naming the file. */
CAIRN_MUST_CHECK cairn_status cairn_runs_check(const cairn_runs *runs, cairn_error *error);

/* ---------------------------------------------------------------- writing */

typedef struct cairn_run_writer {
    int fd;
    cairn_run run;
    cairn_pack frame;
} cairn_run_writer;

/* Into an open, empty file; path is copied. After CAIRN_OK one of end and abandon is to be called, and fd is theirs; on
 * failure fd is closed. CAIRN_E_FULL, CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_run_begin(cairn_run_writer *writer, int fd, const char *path, cairn_shape shape,
                                              cairn_error *error);
CAIRN_MUST_CHECK cairn_status cairn_run_put(cairn_run_writer *writer, const cairn_groups *groups,
                                            const cairn_group *group, cairn_error *error);
/* Add it to `runs`; on failure the file is removed. */
CAIRN_MUST_CHECK cairn_status cairn_run_end(cairn_run_writer *writer, cairn_runs *runs, cairn_error *error);
void cairn_run_abandon(cairn_run_writer *writer); /* and remove the file */

/* ---------------------------------------------------------------- reading */

typedef struct cairn_run_reader {
    const cairn_run *run;
    int fd;
    uint64_t at, groups, chain; /* so far */
    uint8_t *frame;
    size_t room;
    cairn_unpack unpack;
    cairn_groups one; /* what `next` has read */
    void *context;    /* who loads it makes it with malloc; it is freed with the reader */
} cairn_run_reader;

/* run stays as it is until close. Nothing is to be closed on failure. CAIRN_E_CORRUPT, CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS,
 * CAIRN_E_IO, CAIRN_E_NOMEM. */
CAIRN_MUST_CHECK cairn_status cairn_run_open(cairn_run_reader *reader, const cairn_run *run, cairn_shape shape,
                                             cairn_error *error);
/* The next group into reader->one; *any false: there is none, and all of the run was as it was written. */
CAIRN_MUST_CHECK cairn_status cairn_run_next(cairn_run_reader *reader, bool *any, cairn_error *error);
void cairn_run_close(cairn_run_reader *reader);

/* ---------------------------------------------------------------- merging */

/* At most so many runs are merged at once: each takes a frame of memory, and a file. */
#define CAIRN_MERGE_MAX 64

typedef struct cairn_merge_order {
    /* < 0: a's group comes first. */
    int (*compare)(void *context, const cairn_run_reader *a, const cairn_run_reader *b);
    /* A reader has a new group. NULL: nobody asks. */
    cairn_status (*loaded)(void *context, cairn_run_reader *reader);
    bool joins; /* groups that compare as equal are one */
    void *context;
} cairn_merge_order;

extern const cairn_merge_order cairn_merge_by_key;

typedef struct cairn_merge {
    cairn_run_reader reader[CAIRN_MERGE_MAX];
    uint32_t heap[CAIRN_MERGE_MAX]; /* indices of readers */
    uint32_t count, waiting;
    uint32_t out; /* the one that was handed out, or UINT32_MAX */
    const cairn_merge_order *order;
} cairn_merge;

/* Of runs [0, count), each in this order; count <= CAIRN_MERGE_MAX. To be closed also on failure. */
CAIRN_MUST_CHECK cairn_status cairn_merge_open(cairn_merge *merge, const cairn_run *runs, uint32_t count,
                                               cairn_shape shape, const cairn_merge_order *order, cairn_error *error);
/* *reader: has the next group until the next call; NULL: that was all. */
CAIRN_MUST_CHECK cairn_status cairn_merge_next(cairn_merge *merge, const cairn_run_reader **reader, cairn_error *error);
void cairn_merge_close(cairn_merge *merge);

#endif
