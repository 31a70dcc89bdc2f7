/* Coordination: what the processes of a job, and programs beside it, agree on while some of them die.
 *
 * A small linearizable store, replicated by Multi-Paxos (src/paxos/multi.h) among 3, 5 or 7 of the processes: keys with
 * revisions, transactions, leases, locks with fencing tokens, elections, barriers, watches. Everything goes on while a
 * majority of the acceptors lives and can talk; without one every call ends with CAIRN_E_TIMEOUT or CAIRN_E_BUSY, never
 * with a wrong answer.
 *
 * Revisions: every transaction that changes something raises the store's revision by one; a key remembers the revision
 * of its creation and of its last change. Times are seconds. Keys are text without NUL of 1..CAIRN_KEY_MAX bytes,
 * values bytes of at most CAIRN_VALUE_MAX. Keys under "cairn/" are Cairn's own: read and watch them, but do not write
 * them.
 *
 * Exactly once: a handle is a client session. Its requests are numbered, and what was applied is remembered in the
 * replicated state, so a request that is sent again after a leader died is applied once. A session lives while it is
 * kept alive: the handle does that by itself while the process lives. When the session ends (close, or its process is
 * dead for longer than the time to live), its locks are released and its ephemeral keys deleted.
 *
 * Calls block, driving the process meanwhile, for at most the handle's deadline (cairn_coord_deadline). One handle may
 * be used by the job's own thread only. */
#ifndef CAIRN_COORD_H
#define CAIRN_COORD_H

#include <cairn/process.h>

#define CAIRN_KEY_MAX   1024
#define CAIRN_VALUE_MAX 32768

typedef struct cairn_coord cairn_coord;

/* A session with the coordination service of this job, which must have a DIR. ttl: seconds until the session of a dead
 * process ends (0: 5 s; at least 0.1). */
CAIRN_MUST_CHECK cairn_status cairn_coord_open(cairn_process *process, double ttl, cairn_coord **out);
/* Ends the session, after what was begun is answered or the deadline has passed. Its watches are closed before.
 * NULL-safe. */
cairn_status cairn_coord_close(cairn_coord *coord);
/* Seconds that each call waits at most (default: the process's deadline). */
cairn_status cairn_coord_deadline(cairn_coord *coord, double seconds);
/* What the last failed call was about; never NULL. */
const char *cairn_coord_error(const cairn_coord *coord);

/* A key and what is known of it. The pointers belong to the handle and are valid until its next call. */
typedef struct cairn_kv {
    const char *key;
    const void *value;
    size_t bytes;
    uint64_t created, modified; /* revisions */
    uint64_t version;           /* changes since it was created, from 1 */
    uint64_t lease;             /* 0: none */
} cairn_kv;

/* Linearizable: sees every write that ended before the call began. CAIRN_E_NOT_FOUND: no such key. revision (may be
 * NULL): of the store at the time. */
cairn_status cairn_coord_get(cairn_coord *coord, const char *key, cairn_kv *out, uint64_t *revision);
/* All keys that begin with prefix, in order of their bytes, at one revision. limit 0: CAIRN_RANGE_MAX. *more (may be
 * NULL): there are further ones. CAIRN_E_BUSY: a range that takes several answers (of some 256 KiB each) was changed
 * again and again in between. */
#define CAIRN_RANGE_MAX 10000
cairn_status cairn_coord_range(cairn_coord *coord, const char *prefix, size_t limit, const cairn_kv **out,
                               size_t *count, bool *more);
/* lease: 0, or one of this handle's, or CAIRN_EPHEMERAL: the key goes when this session ends. */
#define CAIRN_EPHEMERAL UINT64_MAX
cairn_status cairn_coord_put(cairn_coord *coord, const char *key, const void *value, size_t bytes, uint64_t lease,
                             uint64_t *revision);
/* CAIRN_E_NOT_FOUND: there was none. */
cairn_status cairn_coord_delete(cairn_coord *coord, const char *key, uint64_t *revision);
/* Put if the key was last changed at revision `modified` (0: if it does not exist); else CAIRN_E_MISMATCH. */
cairn_status cairn_coord_cas(cairn_coord *coord, const char *key, uint64_t modified, const void *value, size_t bytes,
                             uint64_t lease, uint64_t *revision);

/* Transactions: if all comparisons hold the operations `then` are done, else `otherwise`; all or nothing, at one
 * revision. */
typedef enum cairn_compare_kind {
    CAIRN_COMPARE_MODIFIED = 1, /* number: revision of the last change; 0: there is no such key */
    CAIRN_COMPARE_CREATED,
    CAIRN_COMPARE_VERSION,
    CAIRN_COMPARE_VALUE,
    CAIRN_COMPARE_LEASE
} cairn_compare_kind;

typedef struct cairn_compare {
    cairn_compare_kind kind;
    int sign; /* -1: less than, 0: equal, 1: greater than, 2: not equal (VALUE: compared as bytes) */
    const char *key;
    uint64_t number;
    const void *value;
    size_t bytes;
} cairn_compare;

typedef enum cairn_do_kind { CAIRN_DO_PUT = 1, CAIRN_DO_DELETE, CAIRN_DO_DELETE_PREFIX, CAIRN_DO_GET } cairn_do_kind;

typedef struct cairn_do {
    cairn_do_kind kind;
    const char *key;
    const void *value;
    size_t bytes;
    uint64_t lease;
} cairn_do;

typedef struct cairn_txn {
    const cairn_compare *compares;
    const cairn_do *then, *otherwise;
    size_t compare_count, then_count, otherwise_count;
} cairn_txn;

/* *held: the comparisons held. got: what the CAIRN_DO_GETs of the branch found, in order (key NULL: no such key). */
cairn_status cairn_coord_transact(cairn_coord *coord, const cairn_txn *txn, bool *held, uint64_t *revision,
                                  const cairn_kv **got, size_t *got_count);

/* A lease of its own: keys put with it go when it is revoked or not kept alive for ttl seconds. The handle keeps it
 * alive until it is revoked or the session ends. */
cairn_status cairn_coord_grant(cairn_coord *coord, double ttl, uint64_t *lease);
cairn_status cairn_coord_revoke(cairn_coord *coord, uint64_t lease);

/* Locks: first come, first served. The token rises with every grant of the lock: give it to whatever the lock protects,
 * and let that refuse smaller ones (a holder that was paused may have lost the lock without knowing). CAIRN_E_TIMEOUT:
 * it was not granted within `seconds` (< 0: the handle's deadline), and this session no longer waits for it.
 * CAIRN_E_STATE: this session holds it already. */
cairn_status cairn_coord_lock(cairn_coord *coord, const char *name, double seconds, uint64_t *token);
cairn_status cairn_coord_unlock(cairn_coord *coord, const char *name, uint64_t token);

/* Elections: a lock whose holder, the leader, is known by a value. */
cairn_status cairn_coord_campaign(cairn_coord *coord, const char *name, const void *value, size_t bytes, double seconds,
                                  uint64_t *token);
cairn_status cairn_coord_resign(cairn_coord *coord, const char *name, uint64_t token);
/* out->value: the leader's; out->modified: its token. CAIRN_E_NOT_FOUND: there is no leader. */
cairn_status cairn_coord_leader(cairn_coord *coord, const char *name, cairn_kv *out);

/* Wait until `count` sessions are here. A barrier can be used again. */
cairn_status cairn_coord_barrier(cairn_coord *coord, const char *name, uint32_t count, double seconds);

/* Watches: what happens to keys that begin with prefix (exact: to this key), from revision `from` on (0: from now). No
 * change is left out or told twice; CAIRN_E_RANGE: changes since `from` are no longer known (the text says from
 * where on). */
typedef struct cairn_watch cairn_watch;
typedef struct cairn_change {
    bool deleted;
    cairn_kv kv; /* deleted: key and modified only */
} cairn_change;
cairn_status cairn_coord_watch(cairn_coord *coord, const char *prefix, bool exact, uint64_t from, cairn_watch **out);
/* The next change; CAIRN_E_TIMEOUT: none within `seconds` (0: do not wait); CAIRN_E_FULL: there will be none any more,
 * since the service has ended (the disks of too many acceptors have failed). change's pointers are valid until the next
 * call of the handle. */
cairn_status cairn_watch_next(cairn_watch *watch, double seconds, cairn_change *change);
void cairn_watch_close(cairn_watch *watch);

/* Many at once: begin puts and gets without waiting, up to CAIRN_PENDING_MAX of a handle (then CAIRN_E_BUSY: flush);
 * each is answered once. `answer` (may be NULL) is called by the job's own thread, within a later cairn_coord_begin_*,
 * flush or close of the handle, and may itself begin more. */
#define CAIRN_PENDING_MAX 1024
typedef void (*cairn_answer)(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision);
cairn_status cairn_coord_begin_put(cairn_coord *coord, const char *key, const void *value, size_t bytes,
                                   cairn_answer answer, void *context);
cairn_status cairn_coord_begin_get(cairn_coord *coord, const char *key, cairn_answer answer, void *context);
/* Drive until at most `left` are unanswered. */
cairn_status cairn_coord_flush(cairn_coord *coord, size_t left);

#endif
