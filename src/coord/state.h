/* The replicated state machine of the coordination service: what every process holds after applying the same commands
 * in the same order. Deterministic: no clock, no randomness, no addresses in any order that shows. It allocates; when
 * memory is short it says so and the process must stop (a process may not skip a command).
 *
 * Holds: keys in order of their bytes, with revisions; the last CAIRN_HISTORY_MAX changes, for watches; leases
 * and sessions (a session is a lease, its id included) with the keys attached; for each session the answers that its
 * client has not acknowledged; locks (an ordinary key "cairn/lock/NAME" that is attached to the holder's session, its
 * modified revision being the token) with those who wait, in order; barriers.
 *
 * Time to live is the leader's business: the state only knows each lease's ttl. EXPIRE is a command like others. */
#ifndef CAIRN_COORD_STATE_H
#define CAIRN_COORD_STATE_H

#include "coord/command.h"

#define CAIRN_HISTORY_MAX   16384
#define CAIRN_HISTORY_BYTES (32u << 20) /* fewer changes are kept when their keys and values are more than this */
#define CAIRN_ANSWER_BYTES  (256 << 10) /* keys and values of one answer, about */

typedef struct cairn_state_machine cairn_state_machine;

/* The answer to somebody who waited: a lock was granted, a barrier is full, or the wait ended with an error. */
typedef struct cairn_completion {
    uint64_t session, sequence;
    cairn_response response; /* no kvs, no changes */
} cairn_completion;

typedef struct cairn_applied {
    cairn_response response;             /* of the command; response.waiting: a completion will follow */
    const cairn_completion *completions; /* that this command brought about, in order */
    size_t completion_count;
    bool repeated; /* the command had been applied before: the response is the remembered one */
} cairn_applied;

cairn_state_machine *cairn_state_new(void);
void cairn_state_free(cairn_state_machine *state); /* NULL-safe */

/* Apply one command. *applied points into the state and is valid until its next call. A command that is refused (no
 * such session, key under "cairn/" from a client without session 0, ...) is an answer with its status, not an error.
 * Only CAIRN_E_NOMEM is returned. Rules:
 *   - a sequence that is remembered: the remembered answer (a repeated LOCK or BARRIER that waits still: waiting). One
 *     below what the client acknowledged: CAIRN_E_STATE. With 4096 remembered, or 16 MiB of them, all but CLOSE is
 *     refused: CAIRN_E_BUSY.
 *   - sequences of one session may be applied in any order (many are under way at once).
 *   - a command of a session that does not exist: CAIRN_E_NOT_FOUND "session N has ended".
 *   - all changes of one command are of one revision, those of an ending session and of locks handed on included.
 *   - keys under "cairn/" are written without a session only (else CAIRN_E_ACCESS), those of locks only by LOCK and
 *     UNLOCK; a prefix that is deleted spares them.
 *   - a key that does not exist has numbers 0 to compare, and no value: only "not equal" (sign 2) holds of that.
 *   - a put's lease must be one of the session, else CAIRN_E_NOT_FOUND; a put without one takes the key off its lease.
 *   - GETs of more than CAIRN_ANSWER_BYTES together: CAIRN_E_TRUNCATED, and nothing is done.
 *   - LOCK of what this session holds, or waits for with another sequence: CAIRN_E_STATE. UNLOCK of what it waits for
 *     with number 0, BARRIER with number 0: the wait ends with CAIRN_E_TIMEOUT. Who waits when his session ends:
 *     CAIRN_E_NOT_FOUND. */
cairn_status cairn_state_apply(cairn_state_machine *state, const cairn_question *command, cairn_applied *applied);

/* READ and WATCH from what was applied. Pointers as above. */
cairn_status cairn_state_read(cairn_state_machine *state, const cairn_question *request, cairn_response *response);
cairn_status cairn_state_watch(cairn_state_machine *state, const cairn_question *request, cairn_response *response);
uint64_t cairn_state_revision(const cairn_state_machine *state);

/* Leases (sessions included): each, in rising order of id. */
typedef struct cairn_lease_view {
    uint64_t id, session; /* session == id: it is a session */
    double ttl;
    size_t keys;
} cairn_lease_view;
void cairn_state_leases(const cairn_state_machine *state, void (*each)(void *context, const cairn_lease_view *lease),
                        void *context);
bool cairn_state_lease(const cairn_state_machine *state, uint64_t id, cairn_lease_view *out);
size_t cairn_state_key_count(const cairn_state_machine *state);

/* The whole state as bytes, and back: equal states give equal bytes, whatever way they came about. load checks
 * everything (CAIRN_E_CORRUPT names what is wrong; CAIRN_E_VERSION) and gives a new state. */
cairn_status cairn_state_save(const cairn_state_machine *state, cairn_pack *pack);
cairn_status cairn_state_load(const void *data, size_t bytes, cairn_state_machine **out, cairn_error *error);

#endif
