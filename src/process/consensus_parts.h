/* What the files of the runtime's member of the coordination service share.
 *
 *   consensus.c       driving: the log's thread, messages, timers
 *   consensus_ask.c   questions and answers
 *   consensus_join.c  joining and leaving: who votes, opening what is on disk, the first leader */
#ifndef CAIRN_PROCESS_CONSENSUS_PARTS_H
#define CAIRN_PROCESS_CONSENSUS_PARTS_H

#include "coord/group.h"
#include "process/consensus.h"

#define CONSENSUS_VALUE_MAX (64u << 10)
#define CONSENSUS_ASKED_MAX 16384

typedef struct question {
    uint64_t tag; /* 0: free */
    cairn_asked asked;
    void *context;
    uint32_t next_free;
} question;

/* An answer that may not be given from within the call that asked. */
typedef struct deferred {
    struct deferred *next;
    uint64_t tag;
    size_t bytes;
    char data[];
} deferred;

/* Pieces of a message from one process: they come in order. */
typedef struct assembly {
    char *data;
    size_t room, bytes, total;
} assembly;

typedef struct log_thread {
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool wanted, stop; /* under mutex */
    atomic_bool done;
    bool due;       /* a group waits; whoever drives begins its writing */
    double slowest; /* seconds */
    cairn_status status;
    cairn_error error;
} log_thread;

typedef struct consensus {
    cairn_replica *replica;
    cairn_disk disk;
    bool has_disk, failed, asking;
    bool over;     /* too many acceptors have left: the service has ended */
    uint32_t left; /* of them */
    cairn_group group;
    uint32_t self;   /* the member that this process speaks for: its own number, or that of an acceptor that died */
    uint32_t *place; /* [peers] the peer that speaks for this member, as far as is known here */
    char folder[CAIRN_GROUP_PATH_BYTES];
    log_thread log;
    uint64_t next_tick;
    uint64_t leads_since;     /* 0: does not lead */
    uint64_t questions_asked; /* high bits of the next tag */
    question *questions;      /* [CONSENSUS_ASKED_MAX] */
    uint32_t free_question;
    deferred *first, **end;
    cairn_pack pack;
    cairn_storage storage;
    assembly *assemblies; /* [count] */
} consensus;

static inline uint64_t consensus_now(void)
{
    return (uint64_t)(cairn_now() * 1e6);
}

/* --- consensus_join.c --- */
uint64_t consensus_heartbeat_us(const cairn_process *p); /* of a leader; each is answered */

/* --- consensus.c --- */
/* After every call of the replica: when it failed for good this process leaves the service. */
void consensus_check(cairn_process *p, cairn_status status);
cairn_status consensus_start_log(cairn_process *p, cairn_error *error);
void consensus_end_log(consensus *c); /* ends what it is writing first */
/* To all: which member this process speaks for now. */
void consensus_say_place(cairn_process *p);
cairn_replica_host consensus_host(cairn_process *p);

/* --- consensus_ask.c --- */
void consensus_answer(void *context, uint64_t tag, const cairn_response *response);
void consensus_give_deferred(consensus *c);
/* Every open question is answered with an error. */
void consensus_refuse_all(consensus *c);
/* This process neither votes nor answers any more. The job goes on, without snapshots. Whoever waits for an answer is
 * told. */
void consensus_out_of_service(cairn_process *p, const char *why);

#endif
