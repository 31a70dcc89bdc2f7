/* Protected state, snapshots, restart.
 *
 * Order in a job: cairn_init; allocate and cairn_protect_* everything that a restart needs;
 * cairn_restore; then the loop with cairn_safepoint, or cairn_serve.
 *
 * Protected memory is read at safe points only, by the calling thread (copied aside; a writer thread makes
 * the copy durable while the job goes on), and written by cairn_restore. It must stay valid until
 * cairn_finalize or until it is moved or dropped. */
#ifndef CAIRN_SNAPSHOT_H
#define CAIRN_SNAPSHOT_H

#include <cairn/channel.h>
#include <cairn/collective.h>

#define CAIRN_DIMENSIONS_MAX 8
#define CAIRN_NAME_MAX       63 /* state names: 1..63 of A-Z a-z 0-9 _ - . */

typedef struct cairn_region cairn_region;

/* An array of this process: rank dimensions (0 = one scalar), row-major, contiguous. Each process has its own;
 * such state can only be restored on the same number of processes. */
CAIRN_MUST_CHECK cairn_status cairn_protect_array(cairn_process *process, const char *name, cairn_type type,
                                                  uint32_t rank, const uint64_t *shape, void *data,
                                                  cairn_region **region);

/* A value that is the same on every process at every safe point of one cut, such as the step. Restored on any
 * number of processes. */
CAIRN_MUST_CHECK cairn_status cairn_protect_replicated(cairn_process *process, const char *name, cairn_type type,
                                                       uint32_t rank, const uint64_t *shape, void *data,
                                                       cairn_region **region);

/* This process's slab of a global array: data holds `shape` elements, row-major and contiguous, which lie at
 * `offset` in an array of `global_shape` (rank entries each). Slabs of all processes must tile the whole array.
 * Restored on any number of processes: each names the slab that it wants. */
CAIRN_MUST_CHECK cairn_status cairn_protect_slab(cairn_process *process, const char *name, cairn_type type,
                                                 uint32_t rank, const uint64_t *global_shape, const uint64_t *offset,
                                                 const uint64_t *shape, void *data, cairn_region **region);

/* A structure that is no array. save is called at a safe point and writes bytes into the sink. load gets the
 * bytes that save of process old_process (of old_count) wrote.
 * CAIRN_REDIVIDE: the state can be divided anew; on another number of processes load is called for each old
 * process j with j % cairn_count == cairn_id, so zero, one or several times, and must merge. Without it, load is
 * called once, and only the same number of processes can restart. */
typedef struct cairn_sink cairn_sink;
CAIRN_MUST_CHECK cairn_status cairn_sink_write(cairn_sink *sink, const void *data, size_t bytes);
typedef cairn_status (*cairn_save)(void *context, cairn_sink *sink);
typedef cairn_status (*cairn_load)(void *context, const void *data, size_t bytes, uint32_t old_process,
                                   uint32_t old_count);
enum { CAIRN_REDIVIDE = 1 };
CAIRN_MUST_CHECK cairn_status cairn_protect_callbacks(cairn_process *process, const char *name, cairn_save save,
                                                      cairn_load load, void *context, unsigned flags,
                                                      cairn_region **region);

/* The region's data lies elsewhere from now on (two buffers that swap); same type and shape. */
void cairn_region_move(cairn_region *region, void *data);
/* The region is no longer part of the state. */
void cairn_region_drop(cairn_region *region);

/* Load the state of the snapshot that this launch continues from, if there is one. Collective; once, after
 * everything is protected.
 *
 * Takes the newest committed snapshot of this run whose every part is whole; if one is damaged says so on stderr and
 * takes the one before. Messages that were in flight in the cut are in their channels again when
 * the number of processes is the same. On another number all state must be slabs, replicated or CAIRN_REDIVIDE;
 * messages in flight are then dropped if a CAIRN_REDIVIDE region exists (the job derives the work that is left
 * from the state), and refuse the restart otherwise.
 *
 * out  may be NULL; out->restored says whether there was one.
 * CAIRN_E_CORRUPT   snapshots exist, none is whole (never a silent fresh start)
 * CAIRN_E_MISMATCH  the snapshot does not fit what is protected; the text names the state */
typedef struct cairn_restored {
    bool restored;
    uint64_t number;    /* of the snapshot                       */
    uint32_t old_count; /* processes that took it                */
    uint64_t messages;  /* in flight to this process, put back   */
} cairn_restored;
CAIRN_MUST_CHECK cairn_status cairn_restore(cairn_process *process, cairn_restored *out);

/* Recovery in place (`cairn run --spares S`): when a process dies, a spare rank takes its place and all go back to the
 * newest committed snapshot, without a new launch. From then on every call that waits, cairn_safepoint and cairn_serve
 * return CAIRN_E_ROLLBACK until the job calls this: it loads that snapshot's state into what is protected (from this
 * process's memory where it is still there), puts the messages that were in flight into their channels again, and returns
 * when all processes have done so. Then the job goes on as after cairn_restore: at the top of its loop, at the step that
 * the state says, or with cairn_serve.
 *
 * All requests of cairn_isend and cairn_irecv are void: forget them. `load` callbacks are called on a structure
 * that may have content: it is to be replaced. The process that takes the place comes out of cairn_init, and must
 * cairn_restore before it communicates. A job that does not call this ends with exit status 75, and is launched anew
 * by `cairn run`, as is one whose process dies when there is no spare or no committed snapshot, or while others are in
 * cairn_finalize.
 *
 * Collective among all processes. A death during it makes it begin again: it never returns CAIRN_E_ROLLBACK.
 * out  may be NULL.
 * CAIRN_E_STATE    nothing was rolled back
 * CAIRN_E_CORRUPT, CAIRN_E_MISMATCH, CAIRN_E_NOMEM   as of cairn_restore */
CAIRN_MUST_CHECK cairn_status cairn_recover(cairn_process *process, cairn_restored *out);

/* Ask for a snapshot soon. Not collective: any process may, several at once. Returns at once; the state is recorded
 * at coming safe points. CAIRN_E_STATE: this run has no DIR. */
cairn_status cairn_snapshot(cairn_process *process);

typedef struct cairn_snapshot_stats {
    uint64_t attempts;  /* that this process took part in                                      */
    uint64_t committed; /* of them                                                             */
    uint64_t abandoned; /* because a job waited for a held message, the job ended, or a write failed */
    uint64_t failed;    /* of the abandoned: a write failed                                    */
    uint64_t last;      /* number of the newest committed one this launch knows of, 0 = none    */
    uint64_t bytes;     /* of this process's part of the last one                               */
    double blocked;     /* seconds that recording kept this process from computing, the last one */
    double blocked_total;
    double latency; /* seconds from recording to committed, the last one                    */
} cairn_snapshot_stats;
void cairn_snapshot_get_stats(const cairn_process *process, cairn_snapshot_stats *out);

#endif
