/* Channels: from every process to every process one directed, reliable FIFO queue of messages.
 *
 * A channel delivers in the order of sending and never merges or splits messages. It buffers without
 * bound: a send does not wait for its receive (long ones wait until the receiver's runtime has taken the bytes,
 * not until the job asks for them), so two processes may both send first. Messages to oneself are allowed.
 * A tag is carried for the job's own use; it takes no part in matching, since order is all a channel has.
 * Every send and every receive is an event: it moves the logical clock. */
#ifndef CAIRN_CHANNEL_H
#define CAIRN_CHANNEL_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cairn_process cairn_process;
typedef struct cairn_request cairn_request;

#define CAIRN_ANY UINT32_MAX /* as `from`: whichever channel has a message, in turn */

/* What is known of a message besides its bytes. */
typedef struct cairn_message {
    uint32_t from;     /* sending process                                     */
    uint32_t tag;      /* as given to the send                                */
    uint64_t bytes;    /* length of the payload                               */
    uint64_t lamport;  /* the sender's clock at the send                      */
    uint64_t sequence; /* 1 for the first message of a channel, without gaps  */
} cairn_message;

/* Send `bytes` bytes (0 or more; data may be NULL for 0) to process `to`. When it returns, data is the
 * caller's again. CAIRN_E_RANGE: no such process. CAIRN_E_TIMEOUT: the receiver took nothing. */
CAIRN_MUST_CHECK cairn_status cairn_send(cairn_process *process, uint32_t to, uint32_t tag, const void *data,
                                         size_t bytes);

/* Receive the next message of channel `from` (or CAIRN_ANY) into data, which has room for `capacity`
 * bytes. *message may be NULL. CAIRN_E_TRUNCATED: the message is longer; *message (if given) says how
 * long, and the message stays first in its channel, for a receive with more room. */
CAIRN_MUST_CHECK cairn_status cairn_recv(cairn_process *process, uint32_t from, void *data, size_t capacity,
                                         cairn_message *message);

/* The same, but CAIRN_E_AGAIN at once when no message is there. */
CAIRN_MUST_CHECK cairn_status cairn_try_recv(cairn_process *process, uint32_t from, void *data, size_t capacity,
                                             cairn_message *message);

/* Look at the next message without taking it: cairn_probe waits, cairn_try_probe says CAIRN_E_AGAIN. */
CAIRN_MUST_CHECK cairn_status cairn_probe(cairn_process *process, uint32_t from, cairn_message *message);
CAIRN_MUST_CHECK cairn_status cairn_try_probe(cairn_process *process, uint32_t from, cairn_message *message);

/* Begin a send or a receive. data is borrowed until cairn_wait or cairn_test says that it is done.
 * Receives from one channel complete in the order in which they were begun. A receive is an event when
 * it is completed by wait or test, not when it is begun. */
CAIRN_MUST_CHECK cairn_status cairn_isend(cairn_process *process, uint32_t to, uint32_t tag, const void *data,
                                          size_t bytes, cairn_request **request);
CAIRN_MUST_CHECK cairn_status cairn_irecv(cairn_process *process, uint32_t from, void *data, size_t capacity,
                                          cairn_request **request);
/* Complete *request, free it and set it to NULL; message may be NULL (and is only set for receives).
 * cairn_test: CAIRN_E_AGAIN when it is not done; then the request lives on. After any other error the
 * request is freed as well. */
CAIRN_MUST_CHECK cairn_status cairn_wait(cairn_process *process, cairn_request **request, cairn_message *message);
CAIRN_MUST_CHECK cairn_status cairn_test(cairn_process *process, cairn_request **request, cairn_message *message);
/* Wait for requests[0..count); entries may be NULL. The first error is returned, all are freed. */
CAIRN_MUST_CHECK cairn_status cairn_wait_all(cairn_process *process, cairn_request **requests, size_t count);

#endif
