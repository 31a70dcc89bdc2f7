/* One process's member of the coordination service: the Multi-Paxos core, its log, the state machine, and the requests
 * of clients, put together. Everything outside comes through `cairn_replica_host` and `now`: the runtime drives it
 * over MPI with a log thread, the simulator over its own network, disks and time. Given the same calls it does the
 * same.
 *
 * Every process of the job is a member: acceptors vote and have a log; the others learn. Any member takes requests:
 * what is not for it goes to the leader, and again to the next leader if that dies. Not thread-safe, except as said. */
#ifndef CAIRN_COORD_REPLICA_H
#define CAIRN_COORD_REPLICA_H

#include "coord/image.h"
#include "coord/state.h"
#include "paxos/log.h"
#include "paxos/multi.h"

typedef struct cairn_replica cairn_replica;

typedef struct cairn_replica_host {
    void *context;
    /* A message for another member: copied or sent before this returns. It may be lost, doubled, late, or arrive
     * damaged (a checksum is in it). At most CAIRN_REPLICA_MESSAGE_MAX(value_max) bytes. */
    void (*send)(void *context, uint32_t to, const void *data, size_t bytes);
    /* The answer to cairn_replica_ask: once for each tag, unless it was forgotten. May be called from within ask. */
    void (*answer)(void *context, uint64_t tag, const cairn_response *response);
    /* A group waits to be written: have cairn_replica_write called (in any thread), then cairn_replica_written. */
    void (*write)(void *context);
    /* Make this image durable (cairn_image_write or the like; in any thread; *image and what it points to are the
     * host's now: cairn_image_free), then call cairn_replica_imaged. */
    void (*image)(void *context, cairn_image *image);
    /* As cairn_image_read; called in cairn_replica_open only. */
    cairn_status (*image_read)(void *context, cairn_image *image, char passed_over[500], cairn_error *error);
    /* A command was applied here (not while recovering from the log): for whoever watches. May be NULL. */
    void (*applied)(void *context, const cairn_question *command, const cairn_response *response);
    /* Something that a person should know: a line without "cairn:" and newline. May be NULL. */
    void (*say)(void *context, const char *line);
} cairn_replica_host;

typedef struct cairn_replica_options {
    mp_options paxos;       /* storage and joins are found out by cairn_replica_open */
    const cairn_disk *disk; /* acceptors; NULL for others */
    cairn_log_options log;
    uint64_t new_storage; /* random, another one at each opening: id of a log that must be created; also makes tags  */
                          /* differ from those of earlier lives of this process                                      */
    /* The group has had a log in this process's place before: if none is there, its state was lost and it joins again.
     * Else a missing log is made without further ado. */
    bool formed;
    bool lease_reads;      /* the leader answers reads by its lease while that holds (paxos.lease > 0) */
    uint64_t image_after;  /* bytes of log before an image is made; 0: 64 MiB */
    uint32_t requests_max; /* unanswered requests here before CAIRN_E_BUSY; 0: 8192 */
} cairn_replica_options;

/* Bring back what is on disk. Errors: the disk's; CAIRN_E_CORRUPT: the log is whole but cannot be used (image
 * missing...). A damaged log is set aside, said, and the member joins anew, as one whose state was lost. */
cairn_status cairn_replica_open(cairn_replica **out, const cairn_replica_options *options,
                                const cairn_replica_host *host, uint64_t now, cairn_error *error);
void cairn_replica_close(cairn_replica *replica); /* NULL-safe; no write may be under way */

/* Events. An error is for good: CAIRN_E_NOMEM, or the log's disk failed (then this member neither votes nor leads any
 * more: it must stop, and say why). */
cairn_status cairn_replica_message(cairn_replica *replica, uint32_t from, const void *data, size_t bytes, uint64_t now);
cairn_status cairn_replica_tick(cairn_replica *replica, uint64_t now);
cairn_status cairn_replica_write(cairn_replica *replica, cairn_error *error); /* any thread, after host.write */
size_t cairn_replica_write_bytes(const cairn_replica *replica); /* of the group that waits to be written */
cairn_status cairn_replica_written(cairn_replica *replica, cairn_status status, uint64_t now);
cairn_status cairn_replica_imaged(cairn_replica *replica, uint64_t slot, cairn_status status, uint64_t now);
const char *cairn_replica_error(const cairn_replica *replica);

/* Ask. tag: the caller's, unique among its unanswered ones. request: bytes of cairn_request_encode, copied. Answered
 * with CAIRN_E_BUSY when there are too many; CAIRN_E_PEER when a command without a session may or may not have been
 * applied, its leader being gone. Otherwise it is asked again until it is answered: deadlines are the caller's, who
 * then forgets it (the command may still be applied). WATCH is not for here: cairn_state_watch. */
cairn_status cairn_replica_ask(cairn_replica *replica, uint64_t tag, const void *request, size_t bytes, uint64_t now);
void cairn_replica_forget(cairn_replica *replica, uint64_t tag);

/* Questions. */
const mp *cairn_replica_core(const cairn_replica *replica);
cairn_state_machine *cairn_replica_state(cairn_replica *replica); /* for reading */
uint64_t cairn_replica_applied(const cairn_replica *replica);     /* slot */
bool cairn_replica_writing(const cairn_replica *replica);         /* between host.write and written */
void cairn_replica_resign(cairn_replica *replica, uint64_t now);
void cairn_replica_ended(cairn_replica *replica, uint32_t process, uint64_t now); /* MP_ENDED */

typedef struct cairn_replica_stats {
    uint64_t proposals, commands, reads, read_rounds, leased_reads; /* as leader: slots, commands in them, ... */
    uint64_t messages, message_bytes;        /* sent, of the protocol (not forwards and answers) */
    uint64_t accepts, accepteds, heartbeats; /* messages of these kinds sent (heartbeats: echoes too) */
    uint64_t counted;                        /* ACCEPTED messages received */
    uint64_t phase_2_bytes;                  /* of ACCEPT sent and ACCEPTED received */
    uint64_t forwards, answers, busy, images, installed, dropped; /* dropped: messages with a wrong checksum */
    cairn_log_stats log;
} cairn_replica_stats;
void cairn_replica_get_stats(const cairn_replica *replica, cairn_replica_stats *out);

/* An answer to a forwarded request may be longer than a value: the GETs of a transaction, with their keys. */
#define CAIRN_REPLICA_ANSWER_MAX (CAIRN_ANSWER_BYTES + CAIRN_TXN_MAX * (CAIRN_KEY_MAX + 64))
#define CAIRN_REPLICA_MESSAGE_MAX(value_max)                                                                           \
    ((size_t)((value_max) > CAIRN_REPLICA_ANSWER_MAX ? (value_max) : CAIRN_REPLICA_ANSWER_MAX) + 2048)

#endif
