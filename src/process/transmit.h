/* What blocking calls (transmit.c) and requests (requests.c) share. */
#ifndef CAIRN_PROCESS_TRANSMIT_H
#define CAIRN_PROCESS_TRANSMIT_H

#include "process/runtime.h"

/* Every public call comes through here first. Inside when it returns CAIRN_OK. any: peer may be CAIRN_ANY. */
cairn_status cairn_enter_call(cairn_process *p, uint32_t peer, bool any, const void *data, size_t bytes,
                              const char *call);
/* Begin a send; *transfer stays NULL when data is the caller's again at once. Inside. */
cairn_status cairn_begin_send(cairn_process *p, uint32_t stream, uint32_t to, uint32_t tag, const void *data,
                              size_t bytes, cairn_transfer **transfer);
void cairn_describe(const node *n, cairn_message *message); /* message may be NULL */
/* Posted receives come before blocking ones: hand each the message that is meant for it. */
void cairn_assign_posted(cairn_process *p);
/* The frame that is waited for is there, nothing is before it and no snapshot is under way: straight from the slot into
 * the job's buffer. */
bool cairn_short_cut(cairn_process *p, uint32_t stream, uint32_t from, void *data, size_t capacity,
                     cairn_message *message);
/* A wait that can only end when a held message is let go: give up the attempt. A receive from anybody is given a
 * moment. */
void cairn_unblock_held(cairn_process *p, uint32_t from, uint32_t stream, const waiting *w);
/* Leave the call that waited for a message of `from` in vain. */
cairn_status cairn_complain(cairn_process *p, cairn_status status, uint32_t from, const char *what);

#endif
