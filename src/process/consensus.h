/* The runtime's member of the coordination service: a replica (coord/replica.h) driven over MPI frames, with a log
 * thread. In every job that has a DIR; the acceptors' logs are in DIR/consensus/acceptor-NNNNNN.
 *
 * All functions: by whoever is in (cairn_enter), unless said otherwise. */
#ifndef CAIRN_PROCESS_CONSENSUS_H
#define CAIRN_PROCESS_CONSENSUS_H

#include "coord/group.h"
#include "coord/replica.h"
#include "process/runtime.h"

/* Join the service: in cairn_init, collective, after DIR is known. Returns when this process knows of a leader and has
 * applied what was chosen before. */
cairn_status cairn_consensus_start(cairn_process *p, cairn_error *error);
void cairn_consensus_end(cairn_process *p);
/* Of a group that is at work, as one that learns. Not collective. */
cairn_status cairn_consensus_join(cairn_process *p, const cairn_group *group, cairn_error *error);
/* A spare that takes a process's place takes its place in the group too: suspend as soon as it knows (nothing is said
 * in either name any more), resume as that member. An acceptor's log is locked while who wrote it lives:
 * CAIRN_E_BUSY after `seconds`. */
void cairn_consensus_suspend(cairn_process *p);
cairn_status cairn_consensus_resume(cairn_process *p, double seconds, cairn_error *error);
/* The rank that was peer `from` is this member from now on; UINT32_MAX: peer `from` is no more. */
void cairn_consensus_moved(cairn_process *p, uint32_t member, uint32_t from);
/* A spare speaks for an acceptor whose process has ended, and whose log it has locked: Paxos lets an acceptor come back
 * from what it had on disk, and does not ask who carries it. Its own place in the group is empty meanwhile.
 * CAIRN_E_BUSY: somebody has the log, nothing has changed. Any other error: this process has no part in the service. */
cairn_status cairn_consensus_stand_in(cairn_process *p, uint32_t member, cairn_error *error);
/* The end of that: somebody carries its process. */
cairn_status cairn_consensus_step_back(cairn_process *p, cairn_error *error);
/* Timers, results of the log thread, requests of the socket. Called by cairn_drive. */
void cairn_consensus_drive(cairn_process *p, double now);
void cairn_consensus_frame(cairn_process *p, const cairn_frame *frame);

/* Ask the service; the answer comes while driving, never from within this call, and exactly once unless forgotten.
 * *tag names the question. WATCH is answered here too, from what this process has applied (at once when there are
 * changes, else with none). */
typedef void (*cairn_asked)(void *context, const cairn_response *response);
cairn_status cairn_consensus_ask(cairn_process *p, const cairn_question *request, cairn_asked asked, void *context,
                                 uint64_t *tag);
/* The same with a request that is encoded already (and was checked by cairn_request_decode). */
cairn_status cairn_consensus_ask_bytes(cairn_process *p, const void *request, size_t bytes, cairn_asked asked,
                                       void *context, uint64_t *tag);
void cairn_consensus_forget(cairn_process *p, uint64_t tag);

/* This process leads now: it coordinates snapshots and decides who is lost. */
bool cairn_consensus_leads(const cairn_process *p);
/* Read from what this process has applied, as cairn_state_read; for what is under its own control alone. */
cairn_status cairn_consensus_peek(cairn_process *p, const cairn_question *request, cairn_response *response);
/* Process `from` has left the service, its disk having failed. Without a majority of acceptors it has ended: every
 * question is answered with CAIRN_E_FULL. */
void cairn_consensus_unserved(cairn_process *p, uint32_t from);
/* The service has ended, as said above: nothing will change any more in this launch. */
bool cairn_consensus_over(const cairn_process *p);
#define CAIRN_CONSENSUS_OVER_TEXT "the coordination service has ended: the disks of too many acceptors have failed"
/* The revision of what this process has applied: when it rises, a watch may have something. */
uint64_t cairn_consensus_revision(const cairn_process *p);
/* Seconds since the leader last heard of this process, or since it leads; only asked of the leader. */
double cairn_consensus_silent(const cairn_process *p, uint32_t process);

void cairn_consensus_stats(const cairn_process *p, cairn_replica_stats *out);

/* TASK_IMAGE: in the writer's thread, and afterwards. */
void cairn_consensus_write_image(const cairn_process *p, task *t);
void cairn_consensus_imaged(cairn_process *p, task *t);

/* socket.c: DIR/coord-NNNNNN.sock of each process, for `cairn kv` (coord/socket.h). A thread of its own speaks with the
 * clients; requests and answers go through two queues. A socket that cannot be made
 * is said on stderr, and the job goes on without. start: after cairn_service_start. end: before cairn_service_close
 * (which closes wake_fd) and before the replica is closed. */
cairn_status cairn_socket_start(cairn_process *p, cairn_error *error);
void cairn_socket_end(cairn_process *p);
void cairn_socket_drive(cairn_process *p); /* by whoever is in: takes requests from the queue and asks them */

/* coord.c: keeps the sessions of open handles alive. By whoever is in, as often as anything is driven. */
void cairn_coord_drive(cairn_process *p);

#endif
