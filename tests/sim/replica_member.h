/* The production replica over fake disks, its clients, and what an observer knows of them; see replica_member.c. */
#ifndef CAIRN_TESTS_SIM_REPLICA_MEMBER_H
#define CAIRN_TESTS_SIM_REPLICA_MEMBER_H

#include "coord/replica.h"
#include "paxos_world.h"

#define RM_KEYS     6 /* registers "k0" ... */
#define RM_SINGLE   4 /* from this one on they are written and read one at a time, for rm_check_linear */
#define RM_LOCKS    2
#define RM_PENDING  3 /* requests of a client under way at once */
#define RM_NO_VALUE 0

/* An image on disk: the newest and the one before it. */
typedef struct rm_blob {
    cairn_image image; /* slot 0: none */
    bool damaged;
} rm_blob;

typedef struct rm_disk {
    struct fake_disk *fake;
    bool unreadable, full;
} rm_disk;

typedef struct rm_body {
    pw_world *w;
    pw_member *m;
    cairn_replica *replica;
    cairn_replica_options options;
    cairn_disk face; /* what the log sees */
    rm_disk disk;
    rm_blob images[2];
    bool writing, imaging;
    bool votes;          /* what is being written includes that it may vote */
    cairn_image pending; /* being made durable */
    cairn_status status; /* of the write that is on its way back */
    uint32_t *asks;      /* of this life, by tag: index of a request + 1; 0: answered */
    size_t ask_count, ask_room;
    uint64_t slot, command; /* that was applied last */
    uint64_t revision, looked;
} rm_body;

typedef enum rm_what {
    RM_OPEN,
    RM_PUT,
    RM_DELETE,
    RM_CAS,
    RM_SWAP, /* two registers at once, if the first has the value that it is thought to have; reads both */
    RM_READ,
    RM_READ_ALL,
    RM_LOCK,
    RM_UNLOCK,
    RM_EPHEMERAL,
    RM_CLOSE,
    RM_KEEPALIVE,
    RM_PLAIN /* a put without a session */
} rm_what;

/* A request of a client, from when it is first asked; it may be asked many times. */
typedef struct rm_request {
    rm_what what;
    uint32_t client, key;
    uint64_t session, sequence, nonce, value;
    uint64_t asked_at, tried_at, floor;
    bool done; /* answered, or given up */
    /* What the client was told: */
    uint64_t answered_at; /* 0: nothing that says whether it was done */
    uint64_t expected;    /* CAS: the value that it must find */
    uint64_t found[RM_KEYS];
    bool held;
    bool applied; /* as a command; `result` is what the state said then */
    cairn_response result;
    unsigned char *data;
    size_t bytes;
} rm_request;

typedef struct rm_client {
    bool crashed;
    uint64_t session, nonce, sequence, kept_alive;
    uint32_t lock; /* that it holds, + 1 */
    uint64_t token;
    uint32_t pending[RM_PENDING]; /* index of a request + 1 */
} rm_client;

/* A register at a revision. */
typedef struct rm_version {
    uint64_t revision, value; /* RM_NO_VALUE: deleted */
} rm_version;

typedef struct rm_register {
    rm_version *versions;
    size_t count, room;
} rm_register;

/* A command as whoever applied it first saw it. */
typedef struct rm_entry {
    uint64_t slot, command, hash, revision;
} rm_entry;

typedef struct rm_lock {
    uint64_t token, session;
} rm_lock;

typedef struct rm_world {
    rm_client clients[PW_CLIENTS_MAX];
    uint64_t pace, ttl; /* microseconds */
    uint64_t segment_bytes, log_after;
    rm_request *requests;
    size_t request_count, request_room;
    uint32_t *table; /* the remembered ones by session and sequence: index + 1 */
    size_t table_size, remembered;
    uint64_t floor; /* the highest revision that anybody was told */
    uint64_t values, nonces;
    rm_entry *entries;
    size_t entry_count, entry_room;
    size_t *first; /* entry of each slot, + 1 */
    size_t first_room;
    rm_register registers[RM_KEYS];
    rm_lock locks[RM_LOCKS];
    uint64_t *sessions; /* by nonce */
    size_t session_room;
    uint64_t *ended; /* sessions */
    size_t ended_count, ended_room;
} rm_world;

extern const pw_kind rm_kind;

static inline rm_world *rm_of(const pw_world *w)
{
    return w->clients;
}

/* replica_member.c */
void rm_forget(pw_world *w, uint32_t client);

/* replica_clients.c */
void rm_begin_clients(pw_world *w);
void rm_client_acts(pw_world *w, uint32_t client);
bool rm_quiet(pw_world *w);
void rm_answered(pw_world *w, pw_member *m, uint32_t request, const cairn_response *response);
rm_request *rm_find(const pw_world *w, uint64_t session, uint64_t sequence);

/* replica_linear.c */
void rm_check_linear(pw_world *w);

/* replica_history.c */
void rm_applied(pw_world *w, pw_member *m, const cairn_question *command, const cairn_response *response);
void rm_look(pw_world *w, pw_member *m);
void rm_check_read(pw_world *w, const rm_request *request, const cairn_response *response);
uint64_t rm_value_at(const rm_world *all, uint32_t key, uint64_t revision, uint64_t *modified);
bool rm_has_ended(const rm_world *all, uint64_t session);
uint64_t rm_value_of(const void *data, size_t bytes);

#endif
