/* Goal: the state machine does what a plain model of it does, also after it went through bytes; every effect happens
 * once, however often and in whatever order requests come; what was applied alike is alike to the last byte.
 * Method: thousands of random commands, a third of them repeated later, against a model of arrays that never forgets.
 * One state goes through bytes now and then, another never: both are saved alike at the end. */
#include "coord/state.h"
#include "support/unit.h"

static uint64_t rng_state = 0x2545f4914f6cdd1du;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

enum {
    KEYS = 10,
    FIRST_OWN = 6,
    LOCK_FIRST = 6,
    LOCK_END = 9,
    SESSIONS = 40,
    LEASES = 400,
    COMMANDS = 1200,
    QUEUE = 50
};
static const char *const names[KEYS] = {
    "a", "a/1", "a/2", "b", "c", "c/1", "cairn/election/e", "cairn/lock/p", "cairn/lock/q", "cairn/x"};
static const char *const prefixes[] = {"", "a", "a/", "c", "nothing"};
static const char *const barriers[] = {"cairn/lock/p", "z"};

typedef struct model_key {
    bool is;
    char value[8];
    uint64_t created, modified, version, lease;
} model_key;

typedef struct model_wait {
    uint64_t session, sequence;
    char value[8];
} model_wait;

typedef struct model_place {
    uint64_t holder, token, wanted;
    model_wait waits[QUEUE];
    size_t count;
} model_place;

typedef struct model_lease {
    bool lives;
    uint64_t session, nonce, acknowledged, next;
} model_lease;

typedef struct model_change {
    uint64_t revision;
    bool deleted;
    size_t key;
    char value[8];
} model_change;

typedef struct model_answer {
    cairn_status status;
    bool held, waiting, is;
    uint64_t number, revision;
    model_key got[4];
    size_t got_count;
} model_answer;

typedef struct model_command {
    cairn_question request;
    cairn_compare compares[2];
    cairn_do dos[4];
    char values[5][8];
    model_answer answer;
} model_command;

typedef struct model {
    model_key keys[KEYS];
    model_place places[KEYS + 2]; /* of locks by their key, and barriers */
    model_lease leases[LEASES];   /* by id */
    uint64_t revision, ids, target;
    bool changed;
    model_change changes[COMMANDS * 12];
    size_t change_count;
    model_command commands[COMMANDS];
    size_t command_count;
    cairn_completion completions[QUEUE * 4];
    size_t completion_count;
} model;

static void change(model *m, size_t key, bool deleted)
{
    m->changed = true;
    m->changes[m->change_count] = (model_change){m->target, deleted, key, ""};
    memcpy(m->changes[m->change_count++].value, m->keys[key].value, 8);
}

static void put(model *m, size_t key, const char *value, uint64_t lease)
{
    model_key *k = &m->keys[key];
    *k = (model_key){true, "", k->is ? k->created : m->target, m->target, k->is ? k->version + 1 : 1, lease};
    (void)snprintf(k->value, sizeof k->value, "%s", value);
    change(m, key, false);
}

static void drop(model *m, size_t key)
{
    m->keys[key] = (model_key){0};
    change(m, key, true);
}

static void answer_wait(model *m, model_place *place, size_t index, cairn_status status, uint64_t number)
{
    model_wait wait = place->waits[index];
    for (size_t i = index + 1; i < place->count; i++) {
        place->waits[i - 1] = place->waits[i];
    }
    place->count--;
    m->completions[m->completion_count++] =
        (cairn_completion){wait.session, wait.sequence, {.status = status, .number = number}};
    for (size_t i = 0; i < m->command_count; i++) {
        model_command *c = &m->commands[i];
        if (c->request.session == wait.session && c->request.sequence == wait.sequence && c->answer.waiting) {
            c->answer = (model_answer){.is = true, .status = status, .number = number};
        }
    }
}

static size_t wait_of(const model_place *place, uint64_t session)
{
    size_t i = 0;
    while (i < place->count && place->waits[i].session != session) {
        i++;
    }
    return i;
}

static void release(model *m, size_t key)
{
    model_place *lock = &m->places[key];
    drop(m, key);
    lock->holder = 0;
    if (lock->count > 0) {
        lock->holder = lock->waits[0].session;
        lock->token = m->target;
        put(m, key, lock->waits[0].value, lock->holder);
        answer_wait(m, lock, 0, CAIRN_OK, m->target);
    }
}

static void end_lease(model *m, uint64_t id)
{
    bool session = m->leases[id].session == id;
    for (size_t i = 0; session && i < KEYS + 2; i++) {
        size_t at = wait_of(&m->places[i], id);
        if (at < m->places[i].count) {
            answer_wait(m, &m->places[i], at, CAIRN_E_NOT_FOUND, 0);
        }
    }
    for (size_t key = 0; key < KEYS; key++) {
        uint64_t lease = m->keys[key].lease;
        if (lease == 0 || (lease != id && !(session && m->leases[lease].session == id))) {
            continue;
        }
        if (key >= LOCK_FIRST && key < LOCK_END) {
            release(m, key);
        } else {
            drop(m, key);
        }
    }
    for (size_t i = 1; i <= m->ids; i++) {
        m->leases[i].lives = m->leases[i].lives && i != id && !(session && m->leases[i].session == id);
    }
}

static size_t key_of(const char *name)
{
    size_t i = 0;
    while (i < KEYS && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

static bool may_write(uint64_t session, size_t key)
{
    return key < FIRST_OWN || (session == 0 && key >= LOCK_END);
}

static bool sign_holds(int sign, int64_t difference)
{
    return sign == 2 ? difference != 0 : sign == (difference > 0) - (difference < 0);
}

static bool compare_holds(const model *m, const cairn_compare *c)
{
    const model_key *k = &m->keys[key_of(c->key)];
    switch (c->kind) {
    case CAIRN_COMPARE_MODIFIED:
        return sign_holds(c->sign, (int64_t)k->modified - (int64_t)c->number);
    case CAIRN_COMPARE_CREATED:
        return sign_holds(c->sign, (int64_t)k->created - (int64_t)c->number);
    case CAIRN_COMPARE_VERSION:
        return sign_holds(c->sign, (int64_t)k->version - (int64_t)c->number);
    case CAIRN_COMPARE_LEASE:
        return sign_holds(c->sign, (int64_t)k->lease - (int64_t)c->number);
    case CAIRN_COMPARE_VALUE:
        return k->is ? sign_holds(c->sign, strcmp(k->value, c->value)) : c->sign == 2;
    }
    return false;
}

static uint64_t lease_of(uint64_t session, uint64_t lease)
{
    return lease == CAIRN_EPHEMERAL && session != 0 ? session : lease;
}

static model_answer transact(model *m, const cairn_question *r)
{
    const cairn_txn *t = &r->txn;
    model_answer answer = {.held = true};
    const cairn_do *branches[] = {t->then, t->otherwise};
    size_t counts[] = {t->then_count, t->otherwise_count};
    for (size_t b = 0; b < 2; b++) {
        for (size_t i = 0; i < counts[b]; i++) {
            const cairn_do *d = &branches[b][i];
            if ((d->kind == CAIRN_DO_PUT || d->kind == CAIRN_DO_DELETE) && !may_write(r->session, key_of(d->key))) {
                return (model_answer){.status = CAIRN_E_ACCESS};
            }
        }
    }
    for (size_t i = 0; i < t->compare_count; i++) {
        answer.held = answer.held && compare_holds(m, &t->compares[i]);
    }
    size_t b = answer.held ? 0 : 1;
    for (size_t i = 0; i < counts[b]; i++) {
        uint64_t lease = lease_of(r->session, branches[b][i].lease);
        if (branches[b][i].kind == CAIRN_DO_PUT && lease != 0 &&
            (lease > m->ids || !m->leases[lease].lives ||
             (r->session != 0 && m->leases[lease].session != r->session))) {
            return (model_answer){.status = CAIRN_E_NOT_FOUND, .held = false};
        }
    }
    for (size_t i = 0; i < counts[b]; i++) {
        const cairn_do *d = &branches[b][i];
        size_t key = key_of(d->key);
        if (d->kind == CAIRN_DO_PUT) {
            put(m, key, d->value, lease_of(r->session, d->lease));
        } else if (d->kind == CAIRN_DO_DELETE && m->keys[key].is) {
            drop(m, key);
        } else if (d->kind == CAIRN_DO_GET) {
            answer.got[answer.got_count++] = m->keys[key];
        }
        for (key = 0; d->kind == CAIRN_DO_DELETE_PREFIX && key < KEYS; key++) {
            if (m->keys[key].is && may_write(r->session, key) && strncmp(names[key], d->key, strlen(d->key)) == 0) {
                drop(m, key);
            }
        }
    }
    return answer;
}

static model_answer take_lock(model *m, const cairn_question *r)
{
    size_t key = key_of(r->key);
    model_place *lock = &m->places[key];
    if (lock->holder == 0) {
        lock->holder = r->session;
        lock->token = m->target;
        put(m, key, r->value, r->session);
        return (model_answer){.number = m->target};
    }
    if (lock->holder == r->session || wait_of(lock, r->session) < lock->count) {
        return (model_answer){.status = CAIRN_E_STATE};
    }
    if (r->number == 1) {
        return (model_answer){.status = CAIRN_E_BUSY};
    }
    model_wait *wait = &lock->waits[lock->count++];
    *wait = (model_wait){r->session, r->sequence, ""};
    (void)snprintf(wait->value, sizeof wait->value, "%s", (const char *)r->value);
    return (model_answer){.waiting = true};
}

static model_answer give_lock(model *m, const cairn_question *r)
{
    size_t key = key_of(r->key);
    model_place *lock = &m->places[key];
    size_t at = wait_of(lock, r->session);
    if (lock->holder == r->session && (r->number == 0 || r->number == lock->token)) {
        release(m, key);
        return (model_answer){0};
    }
    if (r->number == 0 && lock->holder != 0 && at < lock->count) {
        answer_wait(m, lock, at, CAIRN_E_TIMEOUT, 0);
        return (model_answer){0};
    }
    return (model_answer){.status = r->number == 0 ? CAIRN_E_NOT_FOUND : CAIRN_E_MISMATCH};
}

static model_answer enter_barrier(model *m, const cairn_question *r)
{
    model_place *place = &m->places[KEYS + (strcmp(r->key, barriers[0]) == 0 ? 0 : 1)];
    size_t at = wait_of(place, r->session);
    if (r->number == 0) {
        if (at == place->count) {
            return (model_answer){.status = CAIRN_E_NOT_FOUND};
        }
        answer_wait(m, place, at, CAIRN_E_TIMEOUT, 0);
        return (model_answer){0};
    }
    if (place->count > 0 && place->wanted != r->number) {
        return (model_answer){.status = CAIRN_E_MISMATCH};
    }
    if (at < place->count) {
        return (model_answer){.status = CAIRN_E_STATE};
    }
    if (place->count + 1 < r->number) {
        place->wanted = r->number;
        place->waits[place->count++] = (model_wait){r->session, r->sequence, ""};
        return (model_answer){.waiting = true};
    }
    while (place->count > 0) {
        answer_wait(m, place, 0, CAIRN_OK, 0);
    }
    return (model_answer){0};
}

static model_answer perform(model *m, const cairn_question *r)
{
    bool known = r->number >= 1 && r->number <= m->ids && m->leases[r->number].lives;
    switch (r->op) {
    case CAIRN_OP_OPEN:
        for (uint64_t id = 1; id <= m->ids; id++) {
            if (m->leases[id].lives && m->leases[id].session == id && m->leases[id].nonce == r->nonce) {
                return (model_answer){.number = id};
            }
        }
        m->leases[++m->ids] = (model_lease){true, m->ids, r->nonce, 0, 0};
        m->leases[m->ids].session = m->ids;
        return (model_answer){.number = m->ids};
    case CAIRN_OP_GRANT:
        m->ids++;
        m->leases[m->ids] = (model_lease){.lives = true, .session = r->session};
        return (model_answer){.number = m->ids};
    case CAIRN_OP_REVOKE:
        if (!known || r->number == r->session || m->leases[r->number].session != r->session) {
            return (model_answer){.status = CAIRN_E_NOT_FOUND};
        }
        end_lease(m, r->number);
        return (model_answer){0};
    case CAIRN_OP_EXPIRE:
        if (known) {
            end_lease(m, r->number);
        }
        return (model_answer){.status = known ? CAIRN_OK : CAIRN_E_NOT_FOUND};
    case CAIRN_OP_CLOSE:
        end_lease(m, r->session);
        return (model_answer){0};
    case CAIRN_OP_TXN:
        return transact(m, r);
    case CAIRN_OP_LOCK:
        return take_lock(m, r);
    case CAIRN_OP_UNLOCK:
        return give_lock(m, r);
    default:
        return enter_barrier(m, r);
    }
}

static model_answer model_apply(model *m, model_command *c)
{
    const cairn_question *r = &c->request;
    model_answer answer;
    m->target = m->revision + 1;
    m->changed = false;
    m->completion_count = 0;
    if (r->session != 0) {
        model_lease *session = &m->leases[r->session];
        if (!session->lives) {
            return (model_answer){.status = CAIRN_E_NOT_FOUND, .revision = m->revision};
        }
        if (r->acknowledged > session->acknowledged) {
            session->acknowledged = r->acknowledged;
        }
        if (r->sequence < session->acknowledged) {
            return (model_answer){.status = CAIRN_E_STATE, .revision = m->revision};
        }
        if (c->answer.is) {
            return c->answer;
        }
    }
    answer = perform(m, r);
    m->revision += m->changed ? 1 : 0;
    answer.revision = m->revision;
    answer.is = r->session != 0;
    for (size_t i = 0; i < m->completion_count; i++) { /* they learn the revision too */
        for (size_t j = 0; j < m->command_count; j++) {
            cairn_question *other = &m->commands[j].request;
            if (other->session == m->completions[i].session && other->sequence == m->completions[i].sequence) {
                m->commands[j].answer.revision = m->revision;
            }
        }
    }
    c->answer = answer;
    return answer;
}

static bool same_kv(const cairn_kv *kv, const model_key *k)
{
    if (!k->is) {
        return kv->key == NULL;
    }
    return kv->key != NULL && kv->bytes == strlen(k->value) + 1 && memcmp(kv->value, k->value, kv->bytes) == 0 &&
           kv->created == k->created && kv->modified == k->modified && kv->version == k->version &&
           kv->lease == k->lease;
}

static void same_answer(const model *m, const model_answer *wanted, const cairn_applied *a, size_t step)
{
    const cairn_response *r = &a->response;
    bool same = r->status == wanted->status && r->held == wanted->held && r->waiting == wanted->waiting &&
                r->number == wanted->number && r->revision == wanted->revision && r->kv_count == wanted->got_count &&
                a->completion_count == m->completion_count;
    for (size_t i = 0; same && i < r->kv_count; i++) {
        same = same_kv(&r->kvs[i], &wanted->got[i]);
    }
    for (size_t i = 0; same && i < a->completion_count; i++) {
        const cairn_completion *left = &a->completions[i], *right = &m->completions[i];
        same = left->session == right->session && left->sequence == right->sequence &&
               left->response.status == right->response.status && left->response.number == right->response.number;
    }
    if (!same) {
        fprintf(stderr, "step %zu: %s (%s), number %llu, revision %llu; the model: %s, number %llu, revision %llu\n",
                step, cairn_status_text(r->status), r->text, (unsigned long long)r->number,
                (unsigned long long)r->revision, cairn_status_text(wanted->status), (unsigned long long)wanted->number,
                (unsigned long long)wanted->revision);
        CU_FAIL_FATAL("the state machine differs from the model");
    }
}

static uint64_t any_session(const model *m)
{
    uint64_t id = m->ids == 0 ? 0 : 1 + rng() % m->ids;
    for (uint64_t i = 0; i < m->ids && !(m->leases[id].lives && m->leases[id].session == id); i++) {
        id = 1 + id % m->ids;
    }
    return m->ids > 0 && m->leases[id].session == id && m->leases[id].lives ? id : 0;
}

static void random_txn(model *m, model_command *c)
{
    for (size_t i = 0; i < 4; i++) {
        static const uint64_t kinds[] = {CAIRN_DO_PUT, CAIRN_DO_PUT, CAIRN_DO_PUT,          CAIRN_DO_DELETE,
                                         CAIRN_DO_GET, CAIRN_DO_GET, CAIRN_DO_DELETE_PREFIX};
        uint64_t leases[] = {0, 0, c->request.session == 0 ? 0 : CAIRN_EPHEMERAL, m->ids == 0 ? 0 : 1 + rng() % m->ids};
        cairn_do *d = &c->dos[i];
        *d = (cairn_do){(cairn_do_kind)kinds[rng() % 7], names[rng() % (rng() % 8 == 0 ? KEYS : FIRST_OWN)],
                        c->values[i], 0, leases[rng() % 4]};
        (void)snprintf(c->values[i], sizeof c->values[i], "%u", (unsigned)(rng() % 5));
        d->bytes = strlen(c->values[i]) + 1;
        d->key = d->kind == CAIRN_DO_DELETE_PREFIX ? prefixes[rng() % 5] : d->key;
    }
    for (size_t i = 0; i < 2; i++) {
        size_t key = rng() % KEYS;
        c->compares[i] = (cairn_compare){(cairn_compare_kind)(1 + rng() % 5),
                                         (int)(rng() % 4) - 1,
                                         names[key],
                                         rng() % 2 == 0 ? m->keys[key].modified : rng() % 3,
                                         c->values[4],
                                         0};
        (void)snprintf(c->values[4], sizeof c->values[4], "%u", (unsigned)(rng() % 5));
        c->compares[i].bytes = strlen(c->values[4]) + 1;
    }
    size_t then = 1 + rng() % 3;
    c->request.txn = (cairn_txn){c->compares, c->dos, c->dos + then, rng() % 3, then, rng() % (5 - then)};
}

static void random_command(model *m, model_command *c)
{
    static const uint8_t ops[] = {CAIRN_OP_TXN,    CAIRN_OP_TXN,     CAIRN_OP_TXN,   CAIRN_OP_TXN,
                                  CAIRN_OP_LOCK,   CAIRN_OP_LOCK,    CAIRN_OP_LOCK,  CAIRN_OP_UNLOCK,
                                  CAIRN_OP_UNLOCK, CAIRN_OP_BARRIER, CAIRN_OP_GRANT, CAIRN_OP_OPEN,
                                  CAIRN_OP_REVOKE, CAIRN_OP_TXN,     CAIRN_OP_CLOSE, CAIRN_OP_EXPIRE};
    uint8_t op = ops[rng() % (rng() % 3 == 0 ? 16 : 13)];
    uint64_t session = any_session(m);
    memset(c, 0, sizeof *c);
    if (session == 0 && op != CAIRN_OP_EXPIRE && op != CAIRN_OP_TXN) {
        op = CAIRN_OP_OPEN;
    }
    c->request = (cairn_question){.op = op, .ttl = 1, .nonce = rng() % SESSIONS, .key = "", .number = 0};
    if (op != CAIRN_OP_OPEN && op != CAIRN_OP_EXPIRE && !(op == CAIRN_OP_TXN && rng() % 5 == 0)) {
        uint64_t n = session == 0 ? 0 : m->leases[session].next++;
        c->request.session = session;
        c->request.sequence = (n ^ 3) + 1; /* in groups of four, the last first */
        c->request.acknowledged = rng() % 4 == 0 && n >= 16 ? (n - 12) / 4 * 4 + 1 : 0;
    }
    if (op == CAIRN_OP_TXN) {
        random_txn(m, c);
    } else if (op == CAIRN_OP_LOCK || op == CAIRN_OP_UNLOCK) {
        size_t key = LOCK_FIRST + rng() % (LOCK_END - LOCK_FIRST);
        c->request.key = names[key];
        c->request.value = "v";
        c->request.bytes = 2;
        c->request.number = op == CAIRN_OP_LOCK ? rng() % 5 / 4
                            : rng() % 3 == 0    ? 0
                                                : m->places[key].token - rng() % 6 / 5;
    } else if (op == CAIRN_OP_BARRIER) {
        c->request.key = barriers[rng() % 2];
        c->request.number = rng() % 7 == 0 ? rng() % 3 : 3;
    } else if (op == CAIRN_OP_REVOKE || op == CAIRN_OP_EXPIRE) {
        c->request.number = 1 + rng() % (m->ids + 1);
    }
}

static void same_keys(cairn_state_machine *s, const model *m)
{
    cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefixes[rng() % 4]};
    cairn_response r;
    size_t at = 0;
    CU_ASSERT_FATAL(cairn_state_read(s, &request, &r) == CAIRN_OK);
    for (size_t key = 0; key < KEYS; key++) {
        if (m->keys[key].is && strncmp(names[key], request.key, strlen(request.key)) == 0) {
            CU_ASSERT_FATAL(at < r.kv_count && strcmp(r.kvs[at].key, names[key]) == 0);
            CU_ASSERT(same_kv(&r.kvs[at], &m->keys[key]));
            at++;
        }
    }
    CU_ASSERT(at == r.kv_count && r.revision == m->revision);
}

static void same_changes(cairn_state_machine *s, const model *m)
{
    cairn_question request = {
        .op = CAIRN_OP_WATCH, .flags = (uint8_t)(rng() % 2), .number = 1 + rng() % (m->revision + 1)};
    size_t at = 0;
    request.key = request.flags != 0 ? prefixes[rng() % 4] : names[rng() % KEYS];
    size_t length = strlen(request.key);
    while (at < m->change_count && m->changes[at].revision < request.number) {
        at++;
    }
    while (request.number <= m->revision) {
        cairn_response r;
        CU_ASSERT_FATAL(cairn_state_watch(s, &request, &r) == CAIRN_OK && r.status == CAIRN_OK);
        CU_ASSERT_FATAL(r.number > request.number);
        for (size_t i = 0; i < r.change_count; i++) {
            const cairn_change *c = &r.changes[i];
            while (at < m->change_count &&
                   (request.flags != 0 ? strncmp(names[m->changes[at].key], request.key, length) != 0
                                       : strcmp(names[m->changes[at].key], request.key) != 0)) {
                at++;
            }
            CU_ASSERT_FATAL(at < m->change_count);
            CU_ASSERT(c->deleted == m->changes[at].deleted && c->kv.modified == m->changes[at].revision);
            CU_ASSERT(strcmp(c->kv.key, names[m->changes[at].key]) == 0);
            CU_ASSERT(c->deleted || strcmp(c->kv.value, m->changes[at].value) == 0);
            at++;
        }
        request.number = r.number;
    }
    CU_ASSERT(request.number == m->revision + 1);
    for (; at < m->change_count; at++) {
        CU_ASSERT(strncmp(names[m->changes[at].key], request.key, length) != 0 || request.flags == 0);
    }
}

static void count_lease(void *context, const cairn_lease_view *lease)
{
    const model *m = context;
    CU_ASSERT(lease->id <= m->ids && m->leases[lease->id].lives && m->leases[lease->id].session == lease->session);
}

static cairn_state_machine *through_bytes(cairn_state_machine *s)
{
    cairn_pack pack = {0};
    cairn_state_machine *loaded = NULL;
    cairn_error error = {CAIRN_OK, ""};
    CU_ASSERT_FATAL(cairn_state_save(s, &pack) == CAIRN_OK);
    if (cairn_state_load(pack.data, pack.bytes, &loaded, &error) != CAIRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        CU_FAIL_FATAL("load");
    }
    free(pack.data);
    cairn_state_free(s);
    return loaded;
}

static void same_bytes(const cairn_state_machine *a, const cairn_state_machine *b)
{
    cairn_pack left = {0}, right = {0};
    CU_ASSERT_FATAL(cairn_state_save(a, &left) == CAIRN_OK && cairn_state_save(b, &right) == CAIRN_OK);
    CU_ASSERT(left.bytes == right.bytes && memcmp(left.data, right.data, left.bytes) == 0);
    free(left.data);
    free(right.data);
}

static void state_random_runs(void)
{
    static model m;
    size_t statuses[CAIRN_E_BUSY + 1] = {0}, repeats = 0, completions = 0;
    for (int round = 0; round < 40; round++) {
        cairn_state_machine *one = cairn_state_new(), *other = cairn_state_new();
        memset(&m, 0, sizeof m);
        while (m.command_count < COMMANDS && m.ids < LEASES - 2) {
            size_t fresh = m.command_count;
            bool again = fresh > 0 && rng() % 3 == 0;
            size_t index = again ? fresh - 1 - rng() % (fresh < 30 ? fresh : 30) : fresh;
            cairn_applied a, b;
            if (!again) {
                random_command(&m, &m.commands[fresh]);
                m.command_count++;
            }
            again = again && m.commands[index].answer.is;
            model_answer wanted = model_apply(&m, &m.commands[index]);
            CU_ASSERT_FATAL(cairn_state_apply(one, &m.commands[index].request, &a) == CAIRN_OK);
            same_answer(&m, &wanted, &a, index);
            CU_ASSERT(!a.repeated || again || m.commands[index].request.op == CAIRN_OP_OPEN);
            CU_ASSERT_FATAL(cairn_state_apply(other, &m.commands[index].request, &b) == CAIRN_OK);
            statuses[wanted.status]++;
            repeats += a.repeated;
            completions += a.completion_count;
            if (rng() % 20 == 0) {
                same_keys(one, &m);
                same_changes(one, &m);
                cairn_state_leases(one, count_lease, &m);
            }
            if (rng() % 50 == 0) {
                one = through_bytes(one);
            }
        }
        same_bytes(one, other);
        cairn_state_free(one);
        cairn_state_free(other);
    }
    CU_ASSERT(repeats > 5000 && completions > 500); /* the runs are worth something */
    CU_ASSERT(statuses[CAIRN_OK] > 10000 && statuses[CAIRN_E_NOT_FOUND] > 100 && statuses[CAIRN_E_ACCESS] > 100);
    CU_ASSERT(statuses[CAIRN_E_STATE] > 100 && statuses[CAIRN_E_BUSY] > 100 && statuses[CAIRN_E_MISMATCH] > 100);
}

UNIT_MAIN("state_model", {"random commands against a model", state_random_runs})
