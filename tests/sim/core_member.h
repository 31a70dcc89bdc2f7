/* The core in a thin shell, and its clients; see core_member.c. */
#ifndef CAIRN_TESTS_SIM_CORE_MEMBER_H
#define CAIRN_TESTS_SIM_CORE_MEMBER_H

#include "paxos_world.h"

#define CM_VALUE_MAX 96

typedef struct cm_stored {
    mp_record record; /* value.data: not valid */
    unsigned char bytes[CM_VALUE_MAX];
} cm_stored;

/* The state machine after a slot; also what an image is. */
typedef struct cm_state {
    uint64_t slot, hash;
    uint32_t admit_count;
    mp_admit admits[MP_ACCEPTORS_MAX];
} cm_state;

typedef struct cm_shell {
    mp_options options;
    mp *core;
    void *memory;
    cm_state state;
    uint64_t last_number; /* of a record, in this life */
    uint64_t reads_to, reads_at;
    /* What is on disk: */
    cm_state image;
    cm_stored *log;
    size_t log_count, log_room;
    size_t synced, syncing; /* records that are durable; that will be (0: no sync is under way) */
    px_ballot durable_promise;
    px_ballot *durable; /* votes that are durable, by slot */
    size_t durable_room;
} cm_shell;

extern const pw_kind cm_kind;

void cm_step(pw_world *w, pw_member *m, mp_event event);

/* core_clients.c */
void cm_begin_clients(pw_world *w);
void cm_client(pw_world *w, uint32_t client);
void cm_ask(pw_world *w, pw_member *m, uint32_t client);
bool cm_quiet(pw_world *w);
void cm_applied(pw_world *w, pw_member *m, uint64_t slot, const mp_value *value);
void cm_look_at_reads(pw_world *w, pw_member *m);

#endif
