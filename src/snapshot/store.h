/* DIR/snapshots: which snapshots there are, which are committed, which can be used; committing and pruning.
 *
 * DIR/snapshots/000007/snapshot.h5 is the commit record: where it stands, whole, the snapshot is committed. The
 * coordination service of the job chooses its seal first (process/commit.c); a record that was chosen and has not got
 * its name yet (snapshot.h5.proposed) gets it when the job is restarted.
 * Like a part it is sealed ("cairn snapshot 1"). / attributes: format, job, run, number, count, incarnation, step,
 * committed (string, UTC time); /arguments string[]: the job's command line; /parts/bytes u64[count], /parts/xxh3
 * string[count]; /cut/lamport u64[count] and, with vector clocks, /cut/vector u64[count][count]; /process-NNNNNN
 * external links to the parts; /state/NAME a virtual dataset over the slabs of each global array. Virtual datasets
 * are for people and their tools: Cairn itself never reads through them, since a missing source reads as zeros. */
#ifndef CAIRN_SNAPSHOT_STORE_H
#define CAIRN_SNAPSHOT_STORE_H

#include "snapshot/image.h"

#include <stdio.h>

typedef struct cairn_commit {
    char job[128];
    char run[CAIRN_RUN_BYTES];
    uint64_t number;
    uint32_t count, incarnation;
    uint64_t step;
    char committed[32]; /* UTC, ISO 8601; filled in when written */
    uint32_t argument_count;
    char *const *arguments;       /* borrowed for writing; owned by the record when read */
    const cairn_part_seal *parts; /* [count] */
    const uint64_t *lamport;      /* [count] */
    const uint64_t *vector;       /* [count][count] or NULL */
} cairn_commit;

/* Write dir/snapshots/NNNNNN/snapshot.h5 durably (as cairn_part_write does). The parts must be there: they are
 * opened for the shapes of their slabs, and refused (CAIRN_E_CORRUPT) if a slab array is not tiled exactly or a seal
 * does not fit; their bulk is not read again. */
cairn_status cairn_store_commit(const char *dir, const cairn_commit *commit, cairn_error *error);
/* The same in two steps, with an agreement in between: propose writes snapshot.h5.proposed durably; once its seal is
 * chosen, confirm gives it its name. confirm may be repeated: a record that has its name and this seal is well.
 * CAIRN_E_NOT_FOUND: there is neither; CAIRN_E_CORRUPT: what there is has another seal. */
cairn_status cairn_store_propose(const char *dir, const cairn_commit *commit, cairn_part_seal *seal,
                                 cairn_error *error);
cairn_status cairn_store_confirm(const char *dir, uint64_t number, const cairn_part_seal *seal, cairn_error *error);
/* There is a record that has not got its name: only the log can say whether it was chosen. */
bool cairn_store_is_proposed(const char *dir, uint64_t number);
/* The seal of a record that has its name. */
cairn_status cairn_store_seal(const char *dir, uint64_t number, cairn_part_seal *seal, cairn_error *error);

/* Read and check a commit record (not its parts). Free with cairn_store_free. */
cairn_status cairn_store_read(const char *dir, uint64_t number, cairn_commit **out, cairn_error *error);
void cairn_store_free(cairn_commit *commit); /* NULL-safe */
/* Its commit record is still there: pruning removes that first, so a part that was missing a moment ago is no
 * damage. */
bool cairn_store_stands(const char *dir, uint64_t number);

/* The paths. */
void cairn_store_snapshot_path(char *path, size_t bytes, const char *dir, uint64_t number);
void cairn_store_part_path(char *path, size_t bytes, const char *dir, uint64_t number, uint32_t process);

typedef enum cairn_use {
    CAIRN_USE_YES,         /* committed, of this run, whole (as far as was checked)   */
    CAIRN_USE_UNCOMMITTED, /* no commit record: the job died or still is at it        */
    CAIRN_USE_DAMAGED,     /* `why` names file and fault; a missing part is damage    */
    CAIRN_USE_OTHER_RUN,   /* of an earlier, finished run                             */
    CAIRN_USE_UNREADABLE   /* no permission or input error; `why`                     */
} cairn_use;

typedef struct cairn_entry {
    uint64_t number;
    cairn_use use;
    char why[400];        /* empty for YES */
    cairn_commit *commit; /* NULL when there is none that can be read */
    uint64_t bytes;       /* of all files of it */
} cairn_entry;

typedef enum cairn_depth {
    CAIRN_DEPTH_SEALS, /* commit record whole; every part there, of the right size, the right seal in its block */
    CAIRN_DEPTH_FULL   /* every byte of every part */
} cairn_depth;

/* All snapshots of dir, newest first. run: the run that a restart would go on with; NULL = any. A missing
 * dir/snapshots is an empty list. Free with cairn_store_list_free. */
cairn_status cairn_store_list(const char *dir, const char *run, cairn_depth depth, cairn_entry **entries, size_t *count,
                              cairn_error *error);
void cairn_store_list_free(cairn_entry *entries, size_t count);

/* What lies of a run in the folder `local` of this host (process/levels.c): parts of snapshots of which the log says whether
 * they count, and only those of this host's processes. */
typedef struct cairn_local_piece {
    uint32_t process;
    char why[200]; /* it is damaged or cannot be read; empty: it is whole as far as was checked */
} cairn_local_piece;
typedef struct cairn_local_entry {
    uint64_t number, step;
    uint32_t count;            /* of processes that took it; 0: no part can be read */
    uint64_t bytes;            /* of the parts that are here */
    cairn_local_piece *pieces; /* by process */
    size_t piece_count;        /* at least one */
} cairn_local_entry;
/* Newest first; none: an empty list. CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM. Free with cairn_store_list_local_free. */
cairn_status cairn_store_list_local(const char *local, const char *run, cairn_depth depth, cairn_local_entry **entries,
                                    size_t *count, cairn_error *error);
void cairn_store_list_local_free(cairn_local_entry *entries, size_t count);
void cairn_store_local_root(char *path, size_t bytes, const char *local, const char *run);
void cairn_store_local_part(char *path, size_t bytes, const char *local, const char *run, uint64_t number,
                            uint32_t process);

/* dir holds a commit record, whole or not, or one that may have been chosen: something that a fresh start would
 * forget. */
bool cairn_store_has_committed(const char *dir);

/* The largest snapshot number in dir, committed or not; 0 when there is none. */
cairn_status cairn_store_latest(const char *dir, uint64_t *number, cairn_error *error);

/* Keep the newest `keep` (>= 1) usable snapshots of run (checked to `depth`) and remove all older ones; and damaged
 * ones, uncommitted leftovers and those of other runs when they are older than the newest usable one. If none is
 * usable nothing is removed. A snapshot is uncommitted first (its record is removed, the folder synced) and then
 * emptied, so that a crash in between leaves no half snapshot that looks committed. Only files that Cairn wrote are
 * removed. removed/removed_count: numbers, malloc'ed; may be NULL. */
cairn_status cairn_store_prune(const char *dir, const char *run, uint32_t keep, cairn_depth depth, uint64_t **removed,
                               size_t *removed_count, cairn_error *error);

/* DIR/run.json: what `cairn run` (or the first process under plain mpirun) notes of a run. */
typedef struct cairn_run_record {
    char run[CAIRN_RUN_BYTES];
    bool finished;
    uint32_t launches; /* so far */
    uint32_t argument_count;
    char **arguments; /* owned; the job's command line */
    char *local;      /* owned; the folder on each host for local snapshots; NULL: there are none */
} cairn_run_record;
/* CAIRN_E_NOT_FOUND when there is none; CAIRN_E_CORRUPT names the fault. Free with cairn_run_record_free. */
cairn_status cairn_run_record_read(const char *dir, cairn_run_record **out, cairn_error *error);
/* Durably, by rename. Makes dir. */
cairn_status cairn_run_record_write(const char *dir, const cairn_run_record *record, cairn_error *error);
void cairn_run_record_free(cairn_run_record *record);

#endif
