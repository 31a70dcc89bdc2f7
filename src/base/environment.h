/* What `cairn run` tells the processes of a job, and a user may set for a plain mpirun: the names and forms of the
 * environment variables, in one place. README's table says the same.
 *
 * DIR holds: run.json (snapshot/store.h), snapshots/, status/ (base/beat.h), log/ (mpirun.log: what was kept off the
 * screen), consensus/ (process/consensus.h), spill/ (of the job scan: jobs/scan/spill.c). */
#ifndef CAIRN_BASE_ENVIRONMENT_H
#define CAIRN_BASE_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#define CAIRN_ENV_DIR          "CAIRN_DIR"          /* no DIR: no snapshots, no restart                              */
#define CAIRN_ENV_RUN          "CAIRN_RUN"          /* id of the run, 16 hex digits; only `cairn run` sets it        */
#define CAIRN_ENV_LAUNCH       "CAIRN_LAUNCH"       /* 0 for the first launch of a run: the incarnation              */
#define CAIRN_ENV_REASON       "CAIRN_REASON"       /* why this is a restart, in words                               */
#define CAIRN_ENV_INTERVAL     "CAIRN_INTERVAL"     /* seconds (0 = as soon as the last is committed), auto, or off  */
#define CAIRN_ENV_MTBF         "CAIRN_MTBF"         /* seconds between failures of the whole job, for auto           */
#define CAIRN_ENV_KEEP         "CAIRN_KEEP"         /* snapshots to keep, default 2                                  */
#define CAIRN_ENV_CLOCK        "CAIRN_CLOCK"        /* lamport (default) or vector                                   */
#define CAIRN_ENV_WAIT_TIMEOUT "CAIRN_WAIT_TIMEOUT" /* seconds that a blocking call waits, default 600               */
#define CAIRN_ENV_KILL         "CAIRN_KILL"         /* K:PROC@SECONDS or K:PROC@PERCENT% , comma between; K = index  */
                                                    /* Seconds count from this launch's cairn_init. A process told to
                                                     * die first makes DIR/status/killed-K, then sends itself SIGKILL;
                                                     * `cairn run` leaves out what has been done.                    */
#define CAIRN_ENV_SURVIVE    "CAIRN_SURVIVE"        /* 1: when a process dies the others go on, see cairn_survives */
#define CAIRN_ENV_SPARES     "CAIRN_SPARES" /* of the launch's ranks so many are spares: recovery in place (0, too) */
#define CAIRN_ENV_SPAWNS     "CAIRN_SPAWNS" /* so many more may be started while it runs, default 64         */
#define CAIRN_ENV_ANCHOR     "CAIRN_ANCHOR" /* the last spare is the anchor, see process/spawn.c             */
#define CAIRN_ENV_COPIES     "CAIRN_COPIES" /* partner: with CAIRN_SPARES, parts in another process's memory too */
#define CAIRN_ENV_LOCAL      "CAIRN_LOCAL" /* a folder on each host, by its whole path, for snapshots with local=SECONDS */
#define CAIRN_ENV_LOST_AFTER "CAIRN_LOST_AFTER" /* seconds of silence after which a process is lost (detect.c)     */
#define CAIRN_ENV_ACCEPTORS                                                                                            \
    "CAIRN_ACCEPTORS" /* how many processes vote: 1, 3, 5 or 7 (default: see process/consensus.h) */
#define CAIRN_ENV_ELECTION    "CAIRN_ELECTION" /* seconds without a leader before another stands, default 0.4 */
#define CAIRN_ENV_LEASES      "CAIRN_LEASES" /* 1: the leader of the coordination service answers reads by its lease  */
#define CAIRN_ENV_LOG_SEGMENT "CAIRN_LOG_SEGMENT" /* bytes of a segment of the consensus log, default 1 MiB */
#define CAIRN_ENV_IMAGE_AFTER "CAIRN_IMAGE_AFTER" /* bytes of consensus log before an image is made, default 64 MiB */
#define CAIRN_ENV_TERM        "CAIRN_TERM" /* seconds: SIGTERM is as SIGUSR2, and ends a process that is still there then */
/* SIGUSR1 to a process: take a snapshot. SIGUSR2: take a snapshot, then stop with exit status 85. mpirun forwards
 * both to all. */

#define CAIRN_KEEP_DEFAULT         2
#define CAIRN_WAIT_TIMEOUT_DEFAULT 600.0

/* What CAIRN_COPIES and --copies say, if it is not "none": "partner" (*group_size is 0), "xor" or "xor=PROCESSES": groups of
 * about so many. false: none of these. */
#define CAIRN_COPIES_GROUP     4
#define CAIRN_COPIES_GROUP_MAX 16
bool cairn_copies_kind(const char *text, uint32_t *group_size);

#endif
