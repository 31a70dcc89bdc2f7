/* What `cairn run` tells the processes of a job, and a user may set for a plain mpirun: the names and forms of the
 * environment variables, in one place. README's table says the same.
 *
 * DIR holds: run.json (snapshot/store.h), snapshots/, status/ (base/beat.h), log/ (mpirun.log: what was kept off the
 * screen). */
#ifndef CAIRN_BASE_ENVIRONMENT_H
#define CAIRN_BASE_ENVIRONMENT_H

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
/* SIGUSR1 to a process: take a snapshot. SIGUSR2: take a snapshot, then stop with exit status 85. mpirun forwards
 * both to all. */

#define CAIRN_KEEP_DEFAULT         2
#define CAIRN_WAIT_TIMEOUT_DEFAULT 600.0

#endif
