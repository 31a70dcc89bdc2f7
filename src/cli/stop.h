/* DIR/stop: what somebody, perhaps on another host that shares DIR, asks of the `cairn run` of DIR. `cairn run` looks for
 * it five times a second, and once when it starts.
 *
 * One line of text: "cairn-stop 1 KIND by process PID on HOST at TIME". KIND is "stop": take a last snapshot and end for
 * good, not to be restarted by a batch script; or "yield": the same, since another `cairn run` waits to go on in DIR. A
 * file that says anything else is a "stop", so that `touch DIR/stop` is one too. It is written under a temporary name
 * and renamed. The `cairn run` that stops leaves a "stop" where it is: that is how a batch script, or a job that was
 * requeued already, knows. It goes away with the next start that was meant (run_stop.c), and when the job is done. */
#ifndef CAIRN_CLI_STOP_H
#define CAIRN_CLI_STOP_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum cairn_stop_kind { CAIRN_STOP_NONE, CAIRN_STOP_FOR_GOOD, CAIRN_STOP_YIELD } cairn_stop_kind;

cairn_status cairn_stop_ask(const char *dir, cairn_stop_kind kind, cairn_error *error);
/* by: "process 12 on stone", or "somebody". */
cairn_stop_kind cairn_stop_asked(const char *dir, char *by, size_t bytes);
/* Take it back. False: it is there and stays. */
bool cairn_stop_clear(const char *dir);

#endif
