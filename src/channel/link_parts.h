/* The insides of links, shared by link.c and link_later.c. */
#ifndef CAIRN_CHANNEL_LINK_PARTS_H
#define CAIRN_CHANNEL_LINK_PARTS_H

#include "channel/link.h"

#include <mpi.h>

enum { TAG_FRAME = 1, TAG_PAYLOAD, TAG_BIRTH, TAG_PEERS, TAG_FACTS, TAG_PORT, TAG_WHO, TAG_NEXT };

typedef struct ring {
    MPI_Request *requests; /* persistent receives, [depth] */
    char *slots;           /* [depth][slot_bytes]          */
    uint32_t head;         /* oldest posted slot           */
    uint32_t unposted;     /* consumed slots before head   */
} ring;

typedef struct send_buffer {
    struct send_buffer *next;
    MPI_Request request;
    uint32_t to;
    int length;
    bool mark;
    char bytes[];
} send_buffer;

/* Frames to one peer. */
typedef struct outlet {
    MPI_Comm comm;      /* the launch's, or one with a rank that was born later */
    int rank;           /* of the peer in it */
    bool mute;          /* its end is known */
    uint32_t backlog;   /* busy and waiting */
    uint32_t unmarked;  /* since the last mark */
    uint32_t marks;     /* under way */
    send_buffer *first; /* waiting: MPI does not know of them yet */
    send_buffer *last;
} outlet;

struct cairn_link {
    MPI_Comm comm;
    MPI_Comm agreeing;    /* the processes without the spares; or comm */
    uint32_t self, count; /* peers: processes, then spares, then places for those that come later */
    uint32_t top;         /* no ring at or above */
    uint32_t processes;
    bool processes_only; /* agreements are among the processes from now on */
    bool owns_mpi;
    char *facts; /* born later: what the parent told */
    size_t facts_bytes;
    size_t vector_bytes; /* behind every envelope */
    size_t slot_bytes;
    uint32_t depth;
    ring *rings;             /* [count]; own entry empty         */
    MPI_Request *heads;      /* [count]; requests[head] of each   */
    send_buffer *free_sends; /* never empty while a send is built */
    send_buffer *busy_sends;
    uint32_t lost; /* peers that cairn_link_lose was called for */
    void (*idle)(void *context);
    void *idle_context;
    uint32_t (*ended)(void *context);
    void *ended_context;
    outlet *outlets;      /* [count] */
    MPI_Request complete; /* what Open MPI hands out for a send that was done at once; else never handed out */
};

/* Memory for links to link->count peers; none is open. */
cairn_status link_make_room(cairn_link *link, bool vectors, cairn_error *error);
/* A peer that is the only one of its own MPI_COMM_WORLD. */
cairn_status link_open_alone(cairn_link *link, uint32_t peer, MPI_Comm comm, cairn_error *error);
/* In a rank that was spawned: links to the parent and to all who connect. */
cairn_status link_open_later(cairn_link *link, MPI_Comm parent, cairn_error *error);

#endif
