/* Copies of parts in the memory of partners: the shell of partner/copies.h. With recovery in place only, when CAIRN_COPIES
 * asks for it; p->copies is NULL otherwise, and all of this does nothing then.
 *
 * By whoever is in. */
#ifndef CAIRN_PROCESS_PARTNER_H
#define CAIRN_PROCESS_PARTNER_H

#include "process/consensus.h"

/* Where a process has its state from, in a ready_report: CAIRN_FROM_OWN, CAIRN_FROM_FILE, CAIRN_FROM_GROUP, or CAIRN_FROM_MEMORY +
 * process. */
enum { CAIRN_FROM_OWN, CAIRN_FROM_FILE, CAIRN_FROM_GROUP, CAIRN_FROM_MEMORY };

/* At the end of cairn_recovery_start. CAIRN_E_INVALID: CAIRN_COPIES is no kind of copies. */
cairn_status cairn_copies_start(cairn_process *p);
void cairn_copies_free(cairn_process *p);
void cairn_copies_drive(cairn_process *p);
/* A frame of CAIRN_KIND_COPY. dropped: it is of an older incarnation; what follows it is received all the same. */
void cairn_copies_frame(cairn_process *p, const cairn_frame *frame, bool dropped);

/* This process's part is whole: from now on until cairn_copies_gone its memory stays as it is. false: it cannot be copied. */
bool cairn_copies_taken(cairn_process *p, const cut *c);
void cairn_copies_gone(cairn_process *p, const cut *c);
void cairn_copies_committed(cairn_process *p, uint64_t number);
/* A view was installed: links and incarnation are those of it. */
void cairn_copies_viewed(cairn_process *p);
/* The rank behind this peer is out: what was on its way to or from it is left to MPI. */
void cairn_copies_lost(cairn_process *p, uint32_t peer);

/* In cairn_recover: this process's part of a snapshot from the memory of another one, as a cut that is kept.
 * CAIRN_E_NOT_FOUND: nobody has a copy that is whole (a line said what is damaged). Also what cairn_pause returns. */
cairn_status cairn_copies_fetch(cairn_process *p, uint64_t number, const cut **out);
/* This process's state of a snapshot is from there; for the READY that follows. When another process dies before all go
 * on, it goes back once more, now from its own memory: what counts is from where that had it. */
void cairn_copies_from(cairn_process *p, uint64_t number, uint32_t source);
void cairn_copies_resumed(cairn_process *p);

/* Fill in, or take in, what a READY says of host and source. rank: that it is of. */
void cairn_copies_tell(const cairn_process *p, ready_report *report);
void cairn_copies_heard(cairn_process *p, uint32_t rank, const ready_report *report);
/* " (from the memory of process 3)" and the like, of the processes whose carriers are not those in `before`; "" without
 * copies. */
void cairn_copies_sources(const cairn_process *p, const uint32_t *before, char *text, size_t bytes);

/* --- levels.c --- */
/* A new launch: what the keys of earlier ones say is void; they go. The newest that this run had. */
uint64_t cairn_levels_forget(cairn_process *p, const cairn_response *response);

#endif
