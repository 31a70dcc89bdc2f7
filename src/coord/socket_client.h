/* The client's end: asks one process of the job, and another one when that does not answer.
 *
 * A question stays until it is answered or withdrawn; when the process that was asked dies or is silent (paused, or cut
 * off from the others) it is sent again, as it is, to the next one. So a command must bear a session and a sequence.
 * One thread, no signals, no files of its own. */
#ifndef CAIRN_COORD_SOCKET_CLIENT_H
#define CAIRN_COORD_SOCKET_CLIENT_H

#include "coord/command.h"
#include "coord/socket.h"

#include <poll.h>

#define CAIRN_CLIENT_SLOTS 4 /* questions at once */

typedef struct cairn_client cairn_client;

/* Does not connect yet. dir: of the job. */
cairn_status cairn_client_open(cairn_client **out, const char *dir, cairn_error *error);
void cairn_client_close(cairn_client *client); /* NULL-safe */

/* Ask; what was asked before in this slot is withdrawn. patient: the answer may take its time (a lock, a watch); other
 * questions tell whether the process lives. */
cairn_status cairn_client_ask(cairn_client *client, unsigned slot, const cairn_question *request, bool patient);
/* Ask so if it must be asked again: a watch that has been told something. */
cairn_status cairn_client_amend(cairn_client *client, unsigned slot, const cairn_question *request);
void cairn_client_withdraw(cairn_client *client, unsigned slot);

/* Wait for the next answer until `until` (seconds of cairn_client_now; may be infinite). *response is valid until the
 * next call. An answered question is over, except a watch that was answered with CAIRN_OK.
 *
 * CAIRN_E_AGAIN      one of `others` (may be NULL) has events
 * CAIRN_E_TIMEOUT    cairn_client_trouble says with whom there was what
 * CAIRN_E_NOT_FOUND  no process of a job listens in this folder, nor did one since the client was opened */
cairn_status cairn_client_wait(cairn_client *client, double until, struct pollfd *others, size_t count, unsigned *slot,
                               cairn_response *response);
/* What went wrong last; "" if nothing did. */
const char *cairn_client_trouble(const cairn_client *client);
double cairn_client_now(void);

#endif
