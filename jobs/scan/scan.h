/* scan: a distributed read of CSV files. What its files share; the protocol is in work.c, the state in state.c. */
#ifndef CAIRN_JOBS_SCAN_H
#define CAIRN_JOBS_SCAN_H

#include "../options.h"

#include "dataset/ahead.h"
#include "dataset/answer.h"
#include "dataset/division.h"
#include "dataset/ledger.h"
#include "dataset/reader.h"

#include <cairn/coord.h>

#define SCAN_LEASES    2 /* blocks in hand: one being read, one to go on with; with --in-flight more */
#define SCAN_HAND_MAX  (CAIRN_AHEAD_MAX + 1)
#define SCAN_NO_FILE   UINT32_MAX
#define SCAN_CHUNK     ((size_t)256 << 10)
#define SCAN_ERROR_MAX 600
/* With more groups than that a block's rows go straight to all others, as bringing two tables together costs too much. */
#define SCAN_APART_GROUPS 4096
#define SCAN_MEMORY_MIN   16000000 /* the least that --memory may be */

typedef struct scan_options {
    cairn_query_text query;
    const char *output;
    bool explain;
    bool strict;    /* a value that does not fit is an error */
    char delimiter; /* 0: find it */
    cairn_format format;
    uint64_t read_rate; /* bytes per second of each process; 0: as fast as it goes */
    uint32_t in_flight; /* blocks that are read ahead while one is worked on */
    cairn_ahead_way read_by;
    double near_wait;     /* seconds that a process waits for a block that is near before it steals one */
    uint64_t block_bytes; /* 0: the plan's choice */
    uint64_t memory;      /* bytes of each process, beyond which groups go to disk; 0: as many as there are */
    const char *inside;   /* of HDF5 files */
    char *replica[CAIRN_REPLICAS_MAX];
    size_t replica_count;
    char **paths;
    size_t path_count;
} scan_options;

/* What a process has read of a block. Entries of one block: the done one or else the largest cursor says how far it
 * was read; the rows before a cursor may be in the groups of another process. */
typedef struct scan_read {
    uint32_t block;
    bool done;
    uint64_t cursor; /* when not done */
    uint64_t rows;
} scan_read;

/* What a process did in this launch, for the closing lines. */
typedef struct scan_tally {
    uint64_t bytes;                                 /* read, over all launches */
    uint64_t here_bytes, replica_bytes, near_bytes; /* in this one: all; from replicas; on the own host */
    uint64_t blocks;                                /* that are in its aggregates */
    uint64_t spilled, runs;                         /* bytes that did not fit in memory, and in how many files */
    uint32_t moved;                                 /* files that it went to another place for */
    double busy;                                    /* seconds of reading */
} scan_tally;

/* What the second reader of a block has found in it. */
typedef struct scan_hedged {
    uint32_t block, by;
    cairn_groups groups;
    cairn_runs runs;
} scan_hedged;

/* What only process 0 has. */
typedef struct scan_lead {
    cairn_division division;
    cairn_share *share;
    uint32_t *held, *asks;
    uint8_t *patience;
    double *waits_from;  /* [count]: since when it waits for what is near; 0: it does not */
    bool *careful;       /* [files] */
    uint8_t *near;       /* [count][files]: read by this process on its own host; NULL: nothing is told of hosts */
    uint32_t *file_of;   /* [blocks] */
    uint32_t *near_from; /* [count] */
    uint32_t stolen;     /* blocks, before this generation */
    uint32_t scan_block; /* the next block to look at for the state at its start */
    cairn_csv_state scan_state;
    uint64_t bytes_done;
    scan_hedged *hedged; /* [hedged_count]: of blocks that their owners have not read to the end. Not saved */
    size_t hedged_count;
    uint32_t read_again, in_vain; /* blocks that were read a second time, and of them for nothing: in this launch */
    /* the end; not saved: a restart or a recovery collects anew */
    bool collecting;
    uint32_t collected;
    cairn_groups total;
    cairn_runs runs;     /* of it; those of others, too */
    uint64_t bytes_read; /* by all, over all launches */
    double told;         /* when the last progress line was written */
} scan_lead;

/* Survive mode: what one process has handed to the collector. */
typedef struct scan_part {
    cairn_groups groups;
    cairn_runs runs;
    scan_read *reads; /* [count]; NULL: there is none */
    uint32_t count;
    uint64_t bytes_read;
} scan_part;

typedef struct scan_survive {
    bool on;
    cairn_coord *coord;
    cairn_watch *watch;
    cairn_ledger ledger;
    uint32_t first_generation;
    uint64_t generation_at; /* revision of the key; 0: there is none                */
    uint32_t partition, at; /* being read, and its next block; or CAIRN_NOBODY      */
    uint32_t finished;      /* read, and the service does not know yet              */
    size_t begun;           /* of reads: restored blocks to go on with              */
    uint32_t scan_block;    /* a careful file: at its start the state is scan_state */
    cairn_csv_state scan_state;
    bool part_sent;
    uint64_t bytes_done;
    int error_code;
    char error[SCAN_ERROR_MAX];
    uint32_t lost;
    /* the collector's */
    cairn_cover cover;
    scan_part *parts;   /* [count] */
    uint64_t *progress; /* [count] */
} scan_survive;

/* The blobs that cairn_restore handed over, until the plan is known. */
typedef struct scan_blob {
    void *data;
    size_t bytes;
    uint32_t old_process, old_count;
} scan_blob;

typedef struct scan {
    cairn_process *process;
    uint32_t id, count;
    scan_options options;
    cairn_plan plan;
    cairn_query query;
    cairn_reader *reader;
    double began;
    bool recovers;  /* a spare takes the place of a process that dies: see main.c */
    bool planned;   /* plan and query are known */
    bool said;      /* the answer is out, or why there is none: with exit_code. Only if recovers is this known elsewhere
                      than at process 0 */
    uint32_t epoch; /* counts the restarts and recoveries that this state has come through */
    /* the state of a reading process */
    uint32_t generation; /* counts how often everything was thrown away because a guess was wrong */
    bool asked;          /* the first asks of this generation are sent */
    cairn_lease lease[SCAN_HAND_MAX];
    bool as_second[SCAN_HAND_MAX]; /* somebody else reads this block, too */
    uint32_t leases;
    bool begun;       /* lease[0] is; then: */
    bool begun_apart; /* its rows are in `apart` until all of the block is read */
    bool collect;     /* COLLECT came: the part is sent when lease[0] is at a place where it can be left */
    bool part_sent;   /* and nothing more is read */
    bool wrong;       /* lease[0] ended with CAIRN_READ_WRONG: wait for the new generation */
    scan_read *reads; /* [read_count] */
    size_t read_count, read_room;
    cairn_groups groups;
    cairn_runs runs;       /* of groups that did not fit */
    uint64_t bytes_before; /* read by others before this process: by launches before, by who carried it before */
    cairn_groups apart;    /* see begun_apart */
    cairn_runs apart_runs;
    cairn_spill spill;
    char spill_folder[4096];
    scan_tally own;    /* but bytes and blocks */
    scan_tally *tally; /* [count], where the answer is put together */
    bool failed;       /* an error is on its way to process 0 */
    double debt_from;  /* --read-rate: when what was read so far is paid for */
    scan_lead lead;
    scan_blob *blobs;
    size_t blob_count;
    bool restarted;
    scan_survive survive;
    int exit_code; /* as process 0 said at the end */
} scan;

/* begin.c: collective, after cairn_restore and after every cairn_recover: to where cairn_serve goes on. When there is
 * nothing to go on with, since the answer is out (said) or the input is wrong (exit_code), all processes learn that;
 * process 0 has said why. *error, if set, is about the status. */
CAIRN_MUST_CHECK cairn_status scan_begin(scan *s, const cairn_restored *restored, cairn_error *error);

double scan_now(void);
int scan_exit_code(cairn_status status);

/* explain.c */
void scan_explain(const scan *s);

/* work.c */
/* Blocks that a process wants in hand. */
uint32_t scan_hand(const scan *s);
/* Read on in lease[0]. */
CAIRN_MUST_CHECK cairn_status scan_read_chunk(scan *s, cairn_outcome *outcome, cairn_error *error);
/* --read-rate: true when what was read is paid for. Sleeps shortly when not, since there is no event to wait for. */
bool scan_may_read(scan *s);
extern const cairn_handlers scan_handlers;
CAIRN_MUST_CHECK cairn_status scan_note_read(scan *s, scan_read read);
/* Throw away what this process has read. */
CAIRN_MUST_CHECK cairn_status scan_forget(scan *s, uint32_t generation);
/* Process 0: what seconds have read is gone. */
void scan_drop_hedged(scan *s);
/* Process 0: nothing is read yet; blocks that need no scan are open. scan_lead_ready opens them after
 * scan_lead_begin. */
CAIRN_MUST_CHECK cairn_status scan_lead_begin(scan *s);
CAIRN_MUST_CHECK cairn_status scan_lead_ready(scan *s);

/* spill.c */
/* The epoch is known. anew: no snapshot knows runs of this job. */
void scan_spill_begin(scan *s, bool anew);
/* With a plan: the blocks that are in flight are not the tables' to take. CAIRN_E_INVALID: too little is left. */
CAIRN_MUST_CHECK cairn_status scan_spill_leave_room(scan *s, cairn_error *error);
/* Write out what is larger than it may be: of this process's tables; of process 0's total. */
CAIRN_MUST_CHECK cairn_status scan_spill_if_full(scan *s, cairn_error *error);
CAIRN_MUST_CHECK cairn_status scan_spill_total(scan *s, cairn_error *error);
/* Before groups go to process 0: only few go in the message. */
CAIRN_MUST_CHECK cairn_status scan_spill_to_send(scan *s, cairn_groups *groups, cairn_runs *runs, cairn_error *error);
/* Nobody needs these. */
void scan_drop_runs(const scan *s, cairn_runs *runs);
/* Remove all that is in the folder, and the folder. */
void scan_spill_remove(const scan *s);
/* over: the answer is out everywhere, or there is none, and the job is not to go on from a snapshot. */
void scan_spill_end(scan *s, bool over);

/* survive.c: instead of scan_handlers when cairn_survives */
extern const cairn_handlers scan_survive_handlers;
/* Collective, after prepare and resume. When this launch cannot survive, survive.on is false afterwards. */
CAIRN_MUST_CHECK cairn_status scan_survive_begin(scan *s);
void scan_survive_end(scan *s); /* before cairn_finalize */
void scan_survive_free(scan *s);

/* state.c */
cairn_status scan_save(void *context, cairn_sink *sink);
cairn_status scan_load(void *context, const void *data, size_t bytes, uint32_t old_process, uint32_t old_count);
/* The epoch to go on with, as far as this process can tell: 0 without blobs. */
uint32_t scan_blobs_epoch(const scan *s);
/* After the plan is known, collective: go on from the blobs, whatever was read here. CAIRN_E_MISMATCH, with error: the
 * input is not the snapshot's. */
CAIRN_MUST_CHECK cairn_status scan_resume(scan *s, const cairn_restored *restored, cairn_error *error);
void scan_forget_blobs(scan *s);

/* report.c; process 0 */
/* The answer and the closing line. What fails is said, and sets exit_code. */
void scan_say_answer(scan *s);
void scan_print_progress(scan *s);
void scan_bytes_text(uint64_t bytes, char *text, size_t room); /* "1.5 GB" */
/* What this process did, to who puts the answer together; false: it is no tally. */
void scan_pack_tally(const scan *s, cairn_pack *pack);
CAIRN_MUST_CHECK bool scan_take_tally(scan *s, uint32_t from, cairn_unpack *unpack);

#endif
