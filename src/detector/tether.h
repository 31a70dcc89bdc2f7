/* Which processes of other hosts have ended, and which of those that are silent exist: their kernels say so.
 *
 * A tether is a TCP connection on which nothing is ever said. When a process ends, however it does, its kernel closes
 * the connection, and the other end is told: FIN. So who holds a tether of a process learns of its end at once, and for
 * certain, as by a pidfd on its own host (watch.h). What does not count as an end: a connection that breaks in any
 * other way (RST, a timeout), and one over which the process has not named itself, since a port of an address may be
 * somebody else's. Nothing comes when a host loses its power or its network: that is what silence is for.
 *
 * And a kernel takes connections for a process that listens, even one that is stopped or has to wait for a core. So
 * who is asked and connects exists; who is asked again and again and does not, but did before, is out of reach.
 *
 * IPv4. Not thread-safe. Nothing here waits. */
#ifndef CAIRN_DETECTOR_TETHER_H
#define CAIRN_DETECTOR_TETHER_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stdint.h>

#define CAIRN_TETHER_NONE       UINT32_MAX
#define CAIRN_TETHER_NAME_BYTES 192 /* with the 0 behind it */
#define CAIRN_TETHER_TAKEN_MAX  64u /* more tethers of this process than that are not given out */

typedef struct cairn_tether cairn_tether;

typedef enum cairn_tether_word {
    CAIRN_TETHER_UNKNOWN,    /* it was not asked for long enough, or never answered */
    CAIRN_TETHER_EXISTS,     /* its kernel has just answered                 */
    CAIRN_TETHER_UNREACHABLE /* it did answer once, and does not any more         */
} cairn_tether_word;

/* To peers 0 .. peers - 1, none of them held yet; this process listens from now on, until it ends or forever: to close
 * this means for the others that it has ended. CAIRN_E_NOMEM; CAIRN_E_IO: no sockets, or no address. */
cairn_status cairn_tether_open(cairn_tether **out, uint32_t peers);
void cairn_tether_close(cairn_tether *t); /* NULL-safe */

/* "PORT TOKEN ADDRESS[,ADDRESS...]": what others need. Lives as long as t. */
const char *cairn_tether_name(const cairn_tether *t);

/* From now on `peer` is the process with this name; a tether of another one is let go.
 * CAIRN_E_INVALID: peer is out of range, or this is no name. */
cairn_status cairn_tether_meet(cairn_tether *t, uint32_t peer, const char *name);
void cairn_tether_forget(cairn_tether *t, uint32_t peer);
bool cairn_tether_met(const cairn_tether *t, uint32_t peer);

/* Hold a tether of this peer, which was met. It is tied in the course of the polls that follow; if it cannot be, or
 * breaks, that is tried again now and then. */
void cairn_tether_hold(cairn_tether *t, uint32_t peer);
bool cairn_tether_holds(const cairn_tether *t, uint32_t peer); /* it is tied */

/* Take in what came; now_us: of a monotonic clock. A peer whose process has ended, each once and then forgotten;
 * CAIRN_TETHER_NONE: no other one. To be called every few hundredths of a second. */
uint32_t cairn_tether_poll(cairn_tether *t, uint64_t now_us);
/* For poll(2): readable when something has come. */
int cairn_tether_fd(const cairn_tether *t);

/* Ask the kernel of a peer that was met, as often as is looked at it: the questions of one silence are one after the
 * other, a pause between two calls proves nothing, and cairn_tether_relent ends them. */
cairn_tether_word cairn_tether_ask(cairn_tether *t, uint32_t peer, uint64_t now_us);
void cairn_tether_relent(cairn_tether *t, uint32_t peer);
/* It has answered a question or tied a tether once. */
bool cairn_tether_answered(const cairn_tether *t, uint32_t peer);

#endif
