/* Which process of the operating system carries which process of the job, and what kernels say of it: each says so once,
 * in the replicated state.
 *
 *   cairn/process/PLACE/ID  when it began, for its neighbours (detector/watch.h). PLACE stands for the host as the kernel
 *                           knows it: its name, its boot, its pid namespace; each reads of its neighbours only
 *   cairn/reach/ID          where it listens, for the others (detector/tether.h): each process is held by the three
 *                           before it that are no neighbours of it, and the leader asks who is silent
 *
 * By whoever is in. */
#ifndef CAIRN_PROCESS_WHEREABOUTS_H
#define CAIRN_PROCESS_WHEREABOUTS_H

#include "detector/tether.h"
#include "process/runtime.h"

typedef struct cairn_whereabouts cairn_whereabouts;

typedef enum cairn_whereabouts_event {
    CAIRN_WHEREABOUTS_NOTHING,
    CAIRN_WHEREABOUTS_FOUND, /* it exists, and its end will be known */
    CAIRN_WHEREABOUTS_ENDED  /* it has ended                         */
} cairn_whereabouts_event;

/* PLACE of this process. */
uint64_t cairn_whereabouts_place(void);
/* NULL: this process cannot watch others (no /proc, no memory). Lives as long as the process does. */
cairn_whereabouts *cairn_whereabouts_new(const cairn_process *p);
/* What is new, one event a call, as often as it is looked at who is silent; *who: of whom. */
cairn_whereabouts_event cairn_whereabouts_poll(cairn_process *p, cairn_whereabouts *w, double now, uint32_t *who);
/* It is a neighbour, is watched, and has not ended. w may be NULL. */
bool cairn_whereabouts_has(const cairn_whereabouts *w, uint32_t who);
/* It is on this host, as far as is known; also when it has ended. w may be NULL. */
bool cairn_whereabouts_neighbour(const cairn_whereabouts *w, uint32_t who);
/* For poll(2): readable when cairn_whereabouts_poll may have something to say; -1: there is none. */
int cairn_whereabouts_fd(const cairn_whereabouts *w);
/* Whether its kernel has ever answered, and: ask it now (cairn_tether_ask), or no more (cairn_tether_relent). w may be
 * NULL. */
bool cairn_whereabouts_answered(const cairn_whereabouts *w, uint32_t who);
cairn_tether_word cairn_whereabouts_ask(cairn_whereabouts *w, uint32_t who, double now);
void cairn_whereabouts_relent(cairn_whereabouts *w, uint32_t who);
/* A CONTROL_HERE came: what a rank says of itself, in recovery in place, without asking the log. w may be NULL. */
void cairn_whereabouts_told(cairn_whereabouts *w, const cairn_frame *frame);
/* The rank that was peer `from` is this peer now, perhaps this one: it is to say where it is. w may be NULL. */
void cairn_whereabouts_moved(cairn_whereabouts *w, uint32_t who, uint32_t from);

#endif
