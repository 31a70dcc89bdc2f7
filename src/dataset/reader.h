/* Reading blocks of a plan into a table of groups, a piece at a time.
 *
 * A lease is one block on its way: all of it that must outlive a restart. Between two steps its cursor is the start
 * of a row (or, while the first row is still looked for, the next byte to look at), and every row before it is in the
 * groups: so lease and groups together are a state to go on from, by any process.
 *
 * Each byte is read from the file once, but for the rows that cross a block's border: their tail is read by both
 * sides. */
#ifndef CAIRN_DATASET_READER_H
#define CAIRN_DATASET_READER_H

#include "dataset/ahead.h"
#include "dataset/groups.h"
#include "dataset/plan.h"

#define CAIRN_ROW_BYTES_MAX ((size_t)256 << 20)

typedef enum cairn_lease_at {
    CAIRN_LEASE_IN_STATE, /* looking for the first row; `state` is true at the cursor */
    CAIRN_LEASE_GUESS,    /* looking for the first row: a line feed is taken for it   */
    CAIRN_LEASE_ROW       /* the cursor is at a row                                   */
} cairn_lease_at;

typedef struct cairn_lease {
    uint32_t block;
    cairn_lease_at at;
    cairn_csv_state state;
    bool guessing; /* the file is not careful: check the border at the end */
    uint64_t cursor;
    uint64_t rows; /* of this block so far */
} cairn_lease;

/* What a lease begins with is said in one number, to be kept and sent: a cairn_csv_state, or CAIRN_START_GUESS. */
#define CAIRN_START_GUESS 5
cairn_lease cairn_lease_begin(const cairn_plan *plan, uint32_t block, uint32_t start);

typedef enum cairn_outcome {
    CAIRN_READ_MORE,
    CAIRN_READ_DONE,  /* all rows of the block are in the groups */
    CAIRN_READ_WRONG, /* the guess where the next block's rows start was wrong: see plan.h */
    CAIRN_READ_AGAIN /* only if cairn_plan_is_apart: what was read of the block was damaged. The lease is at its beginning,
                       * to be read from another replica, and all rows of it that are in the groups are to go */
} cairn_outcome;

typedef struct cairn_reader cairn_reader;

/* plan and query are borrowed. */
CAIRN_MUST_CHECK cairn_status cairn_reader_open(cairn_reader **out, const cairn_plan *plan, const cairn_query *query);
void cairn_reader_close(cairn_reader *reader); /* NULL-safe */
/* Tell whenever a file is read from another place from now on: why (it names the place of before) and where. What one
 * place lacks the next has; an error comes only when none is left, and says so. */
typedef void cairn_reader_moved(void *context, const char *why, const char *to);
void cairn_reader_watch(cairn_reader *reader, cairn_reader_moved *moved, void *context);

/* Have so many blocks read ahead; 0: none. CAIRN_E_NOMEM, and CAIRN_E_NOT_FOUND as of cairn_ahead_open. */
CAIRN_MUST_CHECK cairn_status cairn_reader_have_ahead(cairn_reader *reader, uint32_t depth, cairn_ahead_way way);
/* By what they are; CAIRN_AHEAD_ANY: none are. */
cairn_ahead_way cairn_reader_ahead_is(const cairn_reader *reader);
/* These blocks are in hand, the first one being read: the others are to be read next. Blocks of compressed and of HDF5 files
 * are not read ahead. */
void cairn_reader_look_ahead(cairn_reader *reader, const uint32_t *blocks, uint32_t count);

/* Read about `bytes` more bytes of the lease's block (more when a row is longer). Errors, naming the file:
 * CAIRN_E_MISMATCH (changed since the plan was made), CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_INVALID
 * (a row over CAIRN_ROW_BYTES_MAX), CAIRN_E_NOMEM. After an error lease and groups are not to be used any more. */
CAIRN_MUST_CHECK cairn_status cairn_reader_step(cairn_reader *reader, cairn_lease *lease, cairn_groups *groups,
                                                size_t bytes, cairn_outcome *outcome, cairn_error *error);

/* The scan of a careful file: the states at the starts of its blocks, one after the other, from CAIRN_CSV_ROW at the
 * first. Scans from the start of `block`, where the state is *state, to its end, where it sets it. */
CAIRN_MUST_CHECK cairn_status cairn_reader_scan(cairn_reader *reader, uint32_t block, cairn_csv_state *state,
                                                cairn_error *error);

/* This file is read from a place of this host alone. */
bool cairn_reader_is_near(const cairn_reader *reader, uint32_t file);
/* Bytes read from files so far; of these from replicas, and of these from places of this host alone. */
uint64_t cairn_reader_bytes(const cairn_reader *reader);
uint64_t cairn_reader_near_bytes(const cairn_reader *reader);
uint64_t cairn_reader_replica_bytes(const cairn_reader *reader);

/* For the fuzzer and tests: take rows from memory instead. text has CAIRN_CSV_SLACK readable bytes behind it. Rows
 * that begin before `limit` are taken; *next gets where the next row begins. final: the text ends where the file
 * ends. */
CAIRN_MUST_CHECK cairn_status cairn_reader_rows(cairn_reader *reader, const char *text, size_t bytes, size_t limit,
                                                bool final, uint32_t block, uint64_t *rows, cairn_groups *groups,
                                                size_t *next);

#endif
