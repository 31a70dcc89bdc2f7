/* What the state machine is made of. Only state*.c include this.
 *
 * A record is one version of a key: it never changes, and is shared by the table of keys, the history, and an answer
 * that is being given. */
#ifndef CAIRN_COORD_STATE_PARTS_H
#define CAIRN_COORD_STATE_PARTS_H

#include "coord/state.h"

typedef struct cairn_record {
    uint32_t references;
    uint32_t bytes;  /* of the value */
    uint16_t length; /* of the key */
    bool deleted;    /* the key was deleted at `modified` */
    uint64_t created, modified, version, lease;
    char key[]; /* key, NUL, value */
} cairn_record;

/* With one reference; NULL: no memory. */
cairn_record *cairn_record_new(const char *key, size_t length, const void *value, size_t bytes);
cairn_record *cairn_record_keep(cairn_record *record);
void cairn_record_drop(cairn_record *record);
static inline const void *cairn_record_value(const cairn_record *record)
{
    return record->key + record->length + 1;
}
cairn_kv cairn_record_kv(const cairn_record *record);

/* The keys (state_keys.c): a hash table to find them, and sorted blocks of pointers for their order. */
typedef struct cairn_key_entry {
    struct cairn_key_entry *chain;          /* of its bucket */
    struct cairn_key_entry *before, *after; /* attached to the same lease */
    uint64_t hash;
    cairn_record *record;
} cairn_key_entry;

typedef struct cairn_key_block cairn_key_block;
typedef struct cairn_keys {
    cairn_key_entry **buckets;
    size_t bucket_count, count;
    cairn_key_block **blocks;
    size_t block_count, block_room;
} cairn_keys;

typedef struct cairn_cursor {
    size_t block, at;
} cairn_cursor;

cairn_key_entry *cairn_keys_find(const cairn_keys *keys, const char *key, size_t length);
/* Takes the caller's reference. NULL: no memory (the reference is dropped). */
cairn_key_entry *cairn_keys_add(cairn_keys *keys, cairn_record *record);
void cairn_keys_remove(cairn_keys *keys, cairn_key_entry *entry);
void cairn_keys_free(cairn_keys *keys);
/* The first key that is not before this text; behind: the first after it. */
cairn_cursor cairn_keys_seek(const cairn_keys *keys, const char *text, size_t length, bool behind);
/* The key at the cursor, which moves on; NULL at the end. No key may be added or removed meanwhile. */
cairn_key_entry *cairn_keys_next(const cairn_keys *keys, cairn_cursor *cursor);

/* The last changes (state_history.c), a ring. All changes from revision `floor` on are known. */
typedef struct cairn_history {
    cairn_record **ring; /* CAIRN_HISTORY_MAX */
    size_t first, count;
    uint64_t bytes, floor;
} cairn_history;

void cairn_history_add(cairn_history *history, cairn_record *record); /* keeps it */
cairn_record *cairn_history_at(const cairn_history *history, size_t index);
size_t cairn_history_find(const cairn_history *history, uint64_t revision); /* the first change at or after it */
void cairn_history_free(cairn_history *history);

/* Leases and sessions (state_lease.c). */
typedef struct cairn_remembered {
    uint64_t sequence, number, revision;
    cairn_status status;
    bool held, waiting;
    uint32_t bytes;
    uint8_t *encoded; /* the whole answer, when it has a text or keys; else NULL */
} cairn_remembered;

#define CAIRN_REMEMBERED_MAX   4096        /* answers of one session */
#define CAIRN_REMEMBERED_BYTES (16u << 20) /* of their texts and keys, about */

typedef struct cairn_lease_entry {
    uint64_t id, session;
    double ttl;
    cairn_key_entry *attached;
    size_t attached_count;
    /* of a session: */
    uint64_t nonce, acknowledged;
    size_t waits;              /* places in queues of locks and in barriers */
    cairn_remembered *answers; /* [answer_first, answer_end) by rising sequence */
    size_t answer_first, answer_end, answer_room;
    uint64_t answer_bytes; /* encoded */
} cairn_lease_entry;

typedef struct cairn_leases {
    struct cairn_lease_slot {
        uint64_t id;
        cairn_lease_entry *lease;
    } * slots; /* by rising id */
    size_t count, room;
} cairn_leases;

cairn_lease_entry *cairn_leases_find(const cairn_leases *leases, uint64_t id);
cairn_lease_entry *cairn_leases_session(const cairn_leases *leases, uint64_t id); /* NULL also when it is no session */
/* id must be larger than all others. NULL: no memory. */
cairn_lease_entry *cairn_leases_add(cairn_leases *leases, uint64_t id, uint64_t session, double ttl);
void cairn_leases_remove(cairn_leases *leases, cairn_lease_entry *lease); /* nothing may be attached */
void cairn_leases_free(cairn_leases *leases);
void cairn_lease_attach(cairn_lease_entry *lease, cairn_key_entry *entry);
void cairn_lease_detach(cairn_lease_entry *lease, cairn_key_entry *entry);

/* The remembered answer, or NULL. */
cairn_remembered *cairn_answers_find(cairn_lease_entry *session, uint64_t sequence);
/* Forget all below `acknowledged`. */
void cairn_answers_acknowledge(cairn_lease_entry *session, uint64_t acknowledged);
/* As many as a session may have: its client must acknowledge some. */
bool cairn_answers_full(const cairn_lease_entry *session);
/* Remember, or replace what is remembered (a wait has ended). false: no memory. */
bool cairn_answers_set(cairn_lease_entry *session, uint64_t sequence, const cairn_response *response);
static inline size_t cairn_answers_count(const cairn_lease_entry *session)
{
    return session->answer_end - session->answer_first;
}

/* Where sessions wait (state_wait.c): a lock that is held, or a barrier that is not full. */
typedef struct cairn_waiter {
    uint64_t session, sequence;
    void *value; /* malloc'ed, of a lock; NULL when it has no bytes */
    size_t bytes;
} cairn_waiter;

typedef struct cairn_place {
    char *name;
    uint64_t holder, token; /* lock */
    uint64_t wanted;        /* barrier: how many */
    cairn_waiter *waiters;  /* in order of arrival */
    size_t count, room;
} cairn_place;

typedef struct cairn_places {
    cairn_place **places; /* by name */
    size_t count, room;
} cairn_places;

cairn_place *cairn_places_find(const cairn_places *places, const char *name);
cairn_place *cairn_places_add(cairn_places *places, const char *name); /* NULL: no memory */
void cairn_places_remove(cairn_places *places, cairn_place *place);
void cairn_places_free(cairn_places *places);
/* value is copied; false: no memory. */
bool cairn_place_wait(cairn_place *place, uint64_t session, uint64_t sequence, const void *value, size_t bytes);
void cairn_place_leave(cairn_place *place, size_t index);
/* The index of the session's wait, or SIZE_MAX. */
size_t cairn_place_of(const cairn_place *place, uint64_t session);

struct cairn_state_machine {
    uint64_t revision, next_id;
    cairn_keys keys;
    cairn_history history;
    cairn_leases leases;
    cairn_places locks, barriers;

    /* Of the call that is going on or was last. */
    uint64_t target; /* the revision of what this command changes */
    bool changed, failed;
    cairn_completion *completions;
    size_t completion_count, completion_room;
    cairn_kv *kvs;
    size_t kv_count, kv_room;
    cairn_change *changes;
    size_t change_count, change_room;
    cairn_record **kept; /* so that kvs stay valid */
    size_t kept_count, kept_room;
    char **texts;
    size_t text_count, text_room;
    cairn_storage storage;
};

/* Every call begins so: what the last one gave is no longer valid. */
void cairn_state_begin(cairn_state_machine *state);
/* What the bytes of a state begin with, and the kinds of changes in them. */
#define CAIRN_SAVED_HEAD "cairn state 1\n"
enum { CAIRN_SAVED_PUT = 0, CAIRN_SAVED_DELETED = 1, CAIRN_SAVED_CURRENT = 2 };

/* Room for one more of `size` bytes in an array that grows; NULL and state->failed: no memory. */
void *cairn_state_more(cairn_state_machine *state, void *array, size_t *room, size_t count, size_t size);
/* A text that lives until the next call. */
const char *cairn_state_say(cairn_state_machine *state, const char *format, ...) CAIRN_PRINTF(2, 3);
cairn_response cairn_state_refusal(cairn_status status, const char *text);

/* Changes of this command (state_change.c). */
void cairn_change_put(cairn_state_machine *state, const char *key, const void *value, size_t bytes, uint64_t lease);
void cairn_change_delete(cairn_state_machine *state, cairn_key_entry *entry);
/* Keys attached to it go, in order of keys; locks go to the next; a session's other leases too; then it goes. */
void cairn_change_end_lease(cairn_state_machine *state, cairn_lease_entry *lease);

/* Transactions (state_txn.c); session NULL: Cairn's own. */
cairn_response cairn_state_transact(cairn_state_machine *state, const cairn_lease_entry *session, const cairn_txn *txn);

/* Locks and barriers (state_wait.c). */
cairn_response cairn_wait_lock(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command);
cairn_response cairn_wait_unlock(cairn_state_machine *state, cairn_lease_entry *session, const cairn_question *command);
cairn_response cairn_wait_barrier(cairn_state_machine *state, cairn_lease_entry *session,
                                  const cairn_question *command);
/* The lock's key goes; the first who waits gets it. */
void cairn_wait_release(cairn_state_machine *state, cairn_place *lock);
/* The session leaves all queues and barriers. */
void cairn_wait_leave_all(cairn_state_machine *state, cairn_lease_entry *session, cairn_status status,
                          const char *text);

#endif
