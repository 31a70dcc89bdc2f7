/* Processes: joining a job, safe points, progress, the event loop. */
#ifndef CAIRN_PROCESS_H
#define CAIRN_PROCESS_H

#include <cairn/channel.h>
#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Join the job. Collective; call once, before anything else of Cairn and instead of MPI_Init. A job that also calls
 * MPI itself either begins MPI before this with MPI_THREAD_MULTIPLE (then it also ends MPI), since a thread of
 * Cairn's calls MPI as well, or puts its calls between cairn_mpi_begin and cairn_mpi_end.
 *
 * Reads what `cairn run` put in the environment (CAIRN_DIR and others, see README); without it the
 * job runs without snapshots. On error *out is NULL and the reason is on stderr. */
CAIRN_MUST_CHECK cairn_status cairn_init(cairn_process **out, int *argc, char ***argv);

/* Leave the job. Collective: waits for all, ends a snapshot that is being written, ends MPI if
 * cairn_init began it, frees the handle. Safe with NULL. After an error in the middle of a job
 * call cairn_leave instead. */
cairn_status cairn_finalize(cairn_process *process);

/* The way out of main for every outcome: CAIRN_OK finalizes and returns 0; CAIRN_E_STOPPED finalizes
 * and returns 85; any other status is reported on stderr as "cairn: process I: what: why" and ends the
 * whole job through MPI_Abort with cairn_exit_code(status), since the peers would wait for ever.
 *     return cairn_leave(process, status, "reading flights.csv");   what may be NULL */
int cairn_leave(cairn_process *process, cairn_status status, const char *what);

uint32_t cairn_id(const cairn_process *process);
uint32_t cairn_count(const cairn_process *process);
/* How often this job has gone back: the number of the launch, 0 being the first, and of recoveries in place in it. */
uint32_t cairn_incarnation(const cairn_process *process);
/* The Lamport clock; and with CAIRN_CLOCK=vector the vector (count entries), else NULL. */
uint64_t cairn_lamport(const cairn_process *process);
const uint64_t *cairn_vector(const cairn_process *process);
/* Count a local event of the job. */
void cairn_event(cairn_process *process);
/* What the last failed call on this handle was about; never NULL. */
const char *cairn_error_text(const cairn_process *process);

/* How long a blocking call may wait before it fails with CAIRN_E_TIMEOUT (default 600 s, or
 * CAIRN_WAIT_TIMEOUT). seconds > 0. */
cairn_status cairn_set_deadline(cairn_process *process, double seconds);

/* Loop style: "my protected state is what it must be at the start of step `step`, and I am not inside
 * anything". Call once an iteration, on every process with the same steps, strictly increasing. Costs a few
 * nanoseconds when no snapshot is asked for.
 *
 * CAIRN_E_STOPPED  a stop was requested and the last snapshot is committed: clean up and leave
 * CAIRN_E_STATE    steps not increasing
 * Requests from cairn_isend/cairn_irecv that are still open here are not part of the state: after a
 * restart the job posts them anew. */
CAIRN_MUST_CHECK cairn_status cairn_safepoint(cairn_process *process, uint64_t step);

/* Event style. After every return of a handler the process is at a safe point. */
typedef enum cairn_next {
    CAIRN_CONTINUE, /* more to do: from on_idle, call again soon          */
    CAIRN_WAIT,     /* nothing to do until the next message               */
    CAIRN_STOP,     /* leave cairn_serve with CAIRN_OK                    */
    CAIRN_FAIL      /* leave cairn_serve with *status as the handler set it */
} cairn_next;

typedef struct cairn_handlers {
    /* A message came. `payload` has message->bytes bytes and is valid until the handler returns. */
    cairn_next (*on_message)(cairn_process *process, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status);
    /* No message is there; may be NULL, which means CAIRN_WAIT. */
    cairn_next (*on_idle)(cairn_process *process, void *context, cairn_status *status);
} cairn_handlers;

/* Run handlers until one says CAIRN_STOP or CAIRN_FAIL. Messages are taken from all channels in turn.
 * CAIRN_E_STOPPED as in cairn_safepoint; CAIRN_E_TIMEOUT when nothing came for the whole deadline. */
CAIRN_MUST_CHECK cairn_status cairn_serve(cairn_process *process, const cairn_handlers *handlers, void *context);

/* Say how far the job is: done of total, any unit. The largest fraction that any process reports is the
 * job's; a bar is drawn from it, `--kill PROC@PERCENT%` watches it, and a change of it is a sign of life. */
void cairn_progress(cairn_process *process, uint64_t done, uint64_t total);

/* Surviving (`cairn run --survive`, or CAIRN_SURVIVE=1 and an mpirun in recovery mode): when a process dies, the
 * others agree that it is lost, within a few seconds, and go on without a restart. A job takes part by setting a
 * handler for it; a job that has none is ended and restarted from its newest snapshot, as without --survive.
 *
 * What a lost process sent is received as far as it has come here, and it may have come elsewhere and not here. After
 * that a receive from it ends with CAIRN_E_PEER, as does a send to it (one from before the loss was known: CAIRN_OK),
 * and every collective, since collectives need all processes. A receive from CAIRN_ANY goes on while somebody else
 * lives. After a loss this launch takes no more snapshots. A process that was declared lost in error, having been
 * stopped for too long, ends with exit status 75 as soon as it hears of it. Silence of CAIRN_LOST_AFTER seconds
 * (default 1) counts as death, also between cairn_mpi_begin and cairn_mpi_end. */
bool cairn_survives(const cairn_process *process);
/* false: lost, or no such process. */
bool cairn_alive(const cairn_process *process, uint32_t id);
/* The key of the coordination service (coord.h) that exists from the moment on when `id` is lost. A transaction that
 * compares it with "does not exist" is made by the living only: not by one that was paused and does not know yet. */
#define CAIRN_LOST_KEY_BYTES 80
void cairn_lost_key(const cairn_process *process, uint32_t id, char key[CAIRN_LOST_KEY_BYTES]);

/* Called once for every lost process, on every one that lives, at a safe point: between two handlers of cairn_serve, or
 * from within cairn_safepoint. Anything but CAIRN_OK is what cairn_serve or cairn_safepoint then returns. */
typedef cairn_status (*cairn_lost)(cairn_process *process, uint32_t id, void *context);
/* Set it on all processes; until then, and with NULL, this job cannot go on without a process. */
void cairn_lost_handler(cairn_process *process, cairn_lost handler, void *context);

/* Between these two the job may call MPI itself, on its own communicators: Cairn's service thread stays out.
 * Meanwhile this process answers nobody's snapshot, so keep it short. No call of Cairn's in between. */
void cairn_mpi_begin(cairn_process *process);
void cairn_mpi_end(cairn_process *process);

#endif
