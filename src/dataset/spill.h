/* Where runs (run.h) are made, and when a table is to become one. */
#ifndef CAIRN_DATASET_SPILL_H
#define CAIRN_DATASET_SPILL_H

#include "dataset/run.h"

typedef struct cairn_spill {
    uint64_t memory; /* bytes that tables may take; 0: as much as there is, and nothing is spilled */
    const char
        *folder; /* files are made there under names that begin with `stem`; it is made if it is not there. NULL: there
                        * is none, the files are temporary ones ($TMPDIR, or /tmp) */
    char stem[64];
    bool made;
    uint64_t next;        /* number of the next file */
    uint64_t bytes, runs; /* written, in all */
} cairn_spill;

/* A run in a new file; what is there already under its name stays, and gets it another one. As cairn_run_begin. */
CAIRN_MUST_CHECK cairn_status cairn_spill_begin(cairn_spill *spill, cairn_run_writer *writer, cairn_shape shape,
                                                cairn_error *error);

/* Write the groups as a run, ordered by key, and drop them; the counts stay. Nothing is done with no groups. CAIRN_E_FULL,
 * CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM: the groups are as they were, and there is no new file. */
CAIRN_MUST_CHECK cairn_status cairn_spill_groups(cairn_spill *spill, cairn_groups *groups, cairn_runs *runs,
                                                 cairn_error *error);

/* Merge runs into larger ones until at most `most` are left. Those that are merged are removed, unless they are in a folder:
 * there a snapshot may know them. */
CAIRN_MUST_CHECK cairn_status cairn_spill_reduce(cairn_spill *spill, cairn_runs *runs, uint32_t most, cairn_shape shape,
                                                 const cairn_merge_order *order, cairn_error *error);

#endif
