/* Requests of clients and their answers, as bytes: the same for a job's handle, for a process that forwards to the
 * leader, for the Unix socket, and (commands) in the consensus log.
 *
 * A request is read-only (READ, answered by the leader after a read-index round), of the service itself (KEEPALIVE,
 * STATUS), or a command, which goes through the log and is applied by every process in the same order. */
#ifndef CAIRN_COORD_COMMAND_H
#define CAIRN_COORD_COMMAND_H

#include "base/pack.h"

#include <cairn/coord.h>

typedef enum cairn_request_op {
    /* commands */
    CAIRN_OP_OPEN = 1, /* ttl, nonce: open a session; answer.number: its id. The same nonce again: the same session */
    CAIRN_OP_CLOSE,    /* end the session `session`                                                                */
    CAIRN_OP_GRANT,    /* ttl: a lease of the session; answer.number: its id                                       */
    CAIRN_OP_REVOKE,   /* number: lease                                                                            */
    CAIRN_OP_EXPIRE,   /* number: lease or session that was not kept alive; proposed by the leader alone           */
    CAIRN_OP_TXN,      /* txn; answer.held, revision, kvs                                                          */
    CAIRN_OP_LOCK,     /* key (cairn_lock_key), value; number: when it is held 0 wait, 1 CAIRN_E_BUSY.             */
                       /* answer.number: the token                                                                 */
    CAIRN_OP_UNLOCK,   /* key, number: token (0: give up waiting, or whatever this session holds of it)            */
    CAIRN_OP_BARRIER,  /* key: its name, in a table of its own; number: how many (0: give up waiting in it)        */
    /* not in the log */
    CAIRN_OP_READ = 64, /* key (or prefix: flag), number: limit; answer.kvs, revision, more. A key that does not   */
                        /* exist: CAIRN_E_NOT_FOUND. With a prefix, value: begin behind this key                   */
    CAIRN_OP_KEEPALIVE, /* session: it and its leases live on. CAIRN_E_NOT_FOUND: it has ended                     */
    CAIRN_OP_WATCH,     /* key (or prefix: flag), number: from revision (0: now). Answered by the process asked,   */
                        /* from what it has applied: answer.changes (at most CAIRN_CHANGES_MAX, unless one         */
                        /* revision has more), number: ask from here next                                          */
    CAIRN_OP_STATUS     /* answer.kvs: "leader", "ballot", "chosen", "applied", "revision", "acceptors" ... as text */
} cairn_request_op;

enum {
    CAIRN_REQUEST_PREFIX = 1, /* flags: the key is a prefix                                                     */
    CAIRN_REQUEST_REPEAT = 2  /* of no session, but it does no harm to apply it twice: it may be sent again */
};

#define CAIRN_TXN_MAX     128 /* comparisons, and operations of each branch */
#define CAIRN_CHANGES_MAX 256
#define CAIRN_TTL_MIN     0.1 /* seconds, of OPEN and GRANT */
#define CAIRN_TTL_MAX     86400.0

typedef struct cairn_question {
    uint8_t op, flags;
    uint64_t session,
        sequence;          /* session 0: no session, no de-duplication (READ, WATCH, STATUS, OPEN, EXPIRE; TXN may) */
    uint64_t acknowledged; /* the client has the answers of all sequences below this one: they may be forgotten    */
    uint64_t number;
    double ttl;
    uint64_t nonce;
    const char *key; /* NUL-terminated; decoded: never NULL */
    const void *value;
    size_t bytes;
    cairn_txn txn; /* decoded: arrays of `storage` */
} cairn_question;

typedef struct cairn_response {
    cairn_status status;
    bool held, more, waiting; /* waiting: not answered yet (LOCK, BARRIER): the answer comes as a completion */
    uint64_t number, revision;
    const char *text; /* of an error, or "" */
    const cairn_kv *kvs;
    size_t kv_count;
    const cairn_change *changes;
    size_t change_count;
} cairn_response;

/* Append the encoding to pack. Encodings carry a version byte first. */
void cairn_request_encode(cairn_pack *pack, const cairn_question *request);
void cairn_response_encode(cairn_pack *pack, const cairn_response *response);

/* Decode; strings and arrays point into data and into `storage` (which the caller zeroes before its first use, may use
 * again for the next decoding, and frees with cairn_storage_free). CAIRN_E_INVALID with a text for whatever is out of
 * the limits of coord.h; CAIRN_E_CORRUPT for what is no encoding at all; CAIRN_E_VERSION. Trusts nothing. */
typedef struct cairn_storage {
    void *memory;
    size_t bytes, used;
} cairn_storage;
cairn_status cairn_request_decode(const void *data, size_t bytes, cairn_question *request, cairn_storage *storage,
                                  cairn_error *error);
cairn_status cairn_response_decode(const void *data, size_t bytes, cairn_response *response, cairn_storage *storage,
                                   cairn_error *error);
void cairn_storage_free(cairn_storage *storage);

/* LOCK and UNLOCK take keys "cairn/lock/NAME" and "cairn/election/NAME". */
bool cairn_lock_key(const char *key);

#endif
