/* Which process of the operating system carries which process of the job, where that can be watched (detector/watch.h):
 * each says so once, in the replicated state under "cairn/process/PLACE/ID", when it began included; PLACE stands for
 * the host as the kernel knows it (its name, its boot, its pid namespace), so that each reads of its neighbours only.
 *
 * By whoever is in. */
#ifndef CAIRN_PROCESS_WHEREABOUTS_H
#define CAIRN_PROCESS_WHEREABOUTS_H

#include "process/runtime.h"

typedef struct cairn_whereabouts cairn_whereabouts;

typedef enum cairn_whereabouts_event {
    CAIRN_WHEREABOUTS_NOTHING,
    CAIRN_WHEREABOUTS_FOUND, /* it exists, and its end will be known */
    CAIRN_WHEREABOUTS_ENDED  /* it has ended                         */
} cairn_whereabouts_event;

/* NULL: this process cannot watch others (no /proc, no memory). Lives as long as the process does. */
cairn_whereabouts *cairn_whereabouts_new(const cairn_process *p);
/* What is new, one event a call, as often as it is looked at who is silent; *who: of whom. */
cairn_whereabouts_event cairn_whereabouts_poll(cairn_process *p, cairn_whereabouts *w, double now, uint32_t *who);
/* It is watched, and has not ended. w may be NULL. */
bool cairn_whereabouts_has(const cairn_whereabouts *w, uint32_t who);
/* Another rank is this peer now, perhaps this one: it is to say where it is. w may be NULL. */
void cairn_whereabouts_moved(cairn_whereabouts *w, uint32_t who);

#endif
