/* Everything the author of a job includes.
 *
 * A job is an ordinary MPI program that calls cairn_init instead of MPI_Init, sends and
 * receives on channels, names its state with cairn_protect_*, and passes a safe point now
 * and then. Cairn photographs the whole job while it runs (a Chandy-Lamport snapshot) and
 * brings it back to the newest committed photograph after a failure.
 *
 * Conventions, said once:
 *  - Functions return CAIRN_OK or another cairn_status; outputs are untouched on error.
 *  - A cairn_process belongs to the thread that called cairn_init: only that thread calls.
 *  - A process is one of 0..N-1 (cairn_id, cairn_count). "Collective" means: every process calls.
 *  - Every wait has a deadline (cairn_set_deadline) and ends with CAIRN_E_TIMEOUT, and
 *    cairn_error_text says what was waited for.
 */
#ifndef CAIRN_CAIRN_H
#define CAIRN_CAIRN_H

#include <cairn/channel.h>
#include <cairn/clock.h>
#include <cairn/collective.h>
#include <cairn/coord.h>
#include <cairn/process.h>
#include <cairn/snapshot.h>
#include <cairn/status.h>
#include <cairn/version.h>

#endif
