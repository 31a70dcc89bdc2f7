/* Which processes of this host have ended: the kernel says so, for certain and at once (pidfd_open, Linux 5.3). A
 * process that is stopped, or too slow to say anything, has not ended; one that is a zombie has. That a process has
 * not ended says nothing about whether it works.
 *
 * A process id alone is not enough: by the time that one looks, another process may have it. So whoever hands out its
 * id hands out when it began as well (cairn_pidwatch_begun), and the watch takes only the process that has both. Both
 * are of one host: of one kernel, and one pid namespace.
 *
 * Not thread-safe. */
#ifndef CAIRN_DETECTOR_WATCH_H
#define CAIRN_DETECTOR_WATCH_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stdint.h>

#define CAIRN_PIDWATCH_NONE UINT32_MAX

typedef struct cairn_pidwatch cairn_pidwatch;

/* For peers 0 .. peers - 1, none of them watched yet. CAIRN_E_NOMEM; CAIRN_E_IO: no file descriptors. */
cairn_status cairn_pidwatch_open(cairn_pidwatch **out, uint32_t peers);
void cairn_pidwatch_close(cairn_pidwatch *w); /* NULL-safe */

/* When this process began, in clock ticks since boot, and not 0. CAIRN_E_NOT_FOUND: there is none with this id (or no
 * /proc). */
cairn_status cairn_pidwatch_begun(int64_t pid, uint64_t *begun);

/* Watch this process for `peer`, in place of what was watched for it before.
 *   CAIRN_E_NOT_FOUND  it has ended: no process has this id, or another one that began later. Not watched
 *   CAIRN_E_STATE      it cannot be watched here (a kernel without pidfd, no /proc): whether it has ended is not known
 *   CAIRN_E_INVALID    peer, pid or begun is out of range
 *   CAIRN_E_IO         too many files are open */
cairn_status cairn_pidwatch_add(cairn_pidwatch *w, uint32_t peer, int64_t pid, uint64_t begun);
void cairn_pidwatch_drop(cairn_pidwatch *w, uint32_t peer);
/* What was watched for `from` is `peer` from now on, in place of what was. false: nothing was watched for it. */
bool cairn_pidwatch_move(cairn_pidwatch *w, uint32_t peer, uint32_t from);
/* It is watched, and nothing was said of its end. */
bool cairn_pidwatch_has(const cairn_pidwatch *w, uint32_t peer);

/* A peer whose process has ended, each once and then watched no more; CAIRN_PIDWATCH_NONE: no other one. Never
 * waits. */
uint32_t cairn_pidwatch_poll(cairn_pidwatch *w);
/* For poll(2): readable when cairn_pidwatch_poll has something to say. */
int cairn_pidwatch_fd(const cairn_pidwatch *w);

#endif
