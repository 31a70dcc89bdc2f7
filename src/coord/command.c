/* Requests and answers as bytes. Every text is written with a NUL behind it, so that a decoder checks and points into
 * the data instead of copying; only arrays need memory of their own, whose size is known from counts that are checked
 * against the bytes that are there.
 *
 * request:  version u8, op u8, flags u8, session, sequence, acknowledged, number u64, ttl f64, nonce u64, key, value,
 *           counts of comparisons, then, otherwise u32, and these
 * response: version u8, status u8, bits u8, number, revision u64, text, count u32, kvs, count u32, changes
 * text:     length u32 (without the NUL), bytes, NUL        value: length u32, bytes */
#include "coord/command.h"

enum { ENCODING = 1, BIT_HELD = 1, BIT_MORE = 2, BIT_WAITING = 4 };
/* The least that one encodes to. */
enum { COMPARE_LEAST = 2 + 5 + 8 + 4, DO_LEAST = 1 + 5 + 4 + 8, KV_LEAST = 5 + 4 + 32, CHANGE_LEAST = 1 + KV_LEAST };

static const char LOCKS[] = "cairn/lock/", ELECTIONS[] = "cairn/election/";

static void put_key(cairn_pack *pack, const char *key)
{
    size_t length = key == NULL ? 0 : strlen(key);

    cairn_pack_text(pack, key, length);
    cairn_pack_u8(pack, 0);
}

static void put_dos(cairn_pack *pack, const cairn_do *dos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cairn_pack_u8(pack, (uint8_t)dos[i].kind);
        put_key(pack, dos[i].key);
        cairn_pack_text(pack, dos[i].value, dos[i].bytes);
        cairn_pack_u64(pack, dos[i].lease);
    }
}

static void put_count(cairn_pack *pack, size_t count)
{
    pack->failed = pack->failed || count > UINT32_MAX;
    cairn_pack_u32(pack, (uint32_t)count);
}

static void put_double(cairn_pack *pack, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    cairn_pack_u64(pack, bits);
}

void cairn_request_encode(cairn_pack *pack, const cairn_question *request)
{
    const cairn_txn *txn = &request->txn;

    cairn_pack_u8(pack, ENCODING);
    cairn_pack_u8(pack, request->op);
    cairn_pack_u8(pack, request->flags);
    cairn_pack_u64(pack, request->session);
    cairn_pack_u64(pack, request->sequence);
    cairn_pack_u64(pack, request->acknowledged);
    cairn_pack_u64(pack, request->number);
    put_double(pack, request->ttl);
    cairn_pack_u64(pack, request->nonce);
    put_key(pack, request->key);
    cairn_pack_text(pack, request->value, request->bytes);
    put_count(pack, txn->compare_count);
    put_count(pack, txn->then_count);
    put_count(pack, txn->otherwise_count);
    for (size_t i = 0; i < txn->compare_count; i++) {
        const cairn_compare *compare = &txn->compares[i];

        cairn_pack_u8(pack, (uint8_t)compare->kind);
        cairn_pack_u8(pack, (uint8_t)compare->sign);
        put_key(pack, compare->key);
        cairn_pack_u64(pack, compare->number);
        cairn_pack_text(pack, compare->value, compare->bytes);
    }
    put_dos(pack, txn->then, txn->then_count);
    put_dos(pack, txn->otherwise, txn->otherwise_count);
}

static void put_kv(cairn_pack *pack, const cairn_kv *kv)
{
    put_key(pack, kv->key);
    cairn_pack_text(pack, kv->value, kv->bytes);
    cairn_pack_u64(pack, kv->created);
    cairn_pack_u64(pack, kv->modified);
    cairn_pack_u64(pack, kv->version);
    cairn_pack_u64(pack, kv->lease);
}

void cairn_response_encode(cairn_pack *pack, const cairn_response *response)
{
    cairn_pack_u8(pack, ENCODING);
    cairn_pack_u8(pack, (uint8_t)response->status);
    cairn_pack_u8(pack, (uint8_t)((response->held ? BIT_HELD : 0) | (response->more ? BIT_MORE : 0) |
                                  (response->waiting ? BIT_WAITING : 0)));
    cairn_pack_u64(pack, response->number);
    cairn_pack_u64(pack, response->revision);
    put_key(pack, response->text);
    put_count(pack, response->kv_count);
    for (size_t i = 0; i < response->kv_count; i++) {
        put_kv(pack, &response->kvs[i]);
    }
    put_count(pack, response->change_count);
    for (size_t i = 0; i < response->change_count; i++) {
        cairn_pack_u8(pack, response->changes[i].deleted ? 1 : 0);
        put_kv(pack, &response->changes[i].kv);
    }
}

/* Where a decoding stands. The first thing that is out of limits is remembered; what is no encoding makes `in` bad. */
typedef struct decoder {
    cairn_unpack in;
    cairn_error *error;
    bool invalid;
} decoder;

static void refuse(decoder *from, const char *what, uint64_t got, uint64_t most)
{
    if (!from->invalid && !from->in.bad) {
        from->invalid = true;
        (void)cairn_fail(from->error, CAIRN_E_INVALID, "request: %s: %llu (at most %llu)", what,
                         (unsigned long long)got, (unsigned long long)most);
    }
}

static void refuse_plainly(decoder *from, const char *what)
{
    if (!from->invalid && !from->in.bad) {
        from->invalid = true;
        (void)cairn_fail(from->error, CAIRN_E_INVALID, "request: %s", what);
    }
}

/* A text of the data; never NULL. */
static const char *get_text(decoder *from, size_t *length)
{
    const uint8_t *text = cairn_unpack_text(&from->in, length);

    if (cairn_unpack_u8(&from->in) != 0 || from->in.bad) {
        from->in.bad = true;
        *length = 0;
        return "";
    }
    if (*length > 0 && memchr(text, 0, *length) != NULL) {
        from->in.bad = true;
        return "";
    }
    return (const char *)text;
}

static const char *get_key(decoder *from, size_t least)
{
    size_t length;
    const char *key = get_text(from, &length);

    if (length > CAIRN_KEY_MAX) {
        refuse(from, "bytes of a key", length, CAIRN_KEY_MAX);
    } else if (length < least) {
        refuse_plainly(from, "a key is empty");
    }
    return key;
}

static const void *get_value(decoder *from, size_t *bytes)
{
    const void *value = cairn_unpack_text(&from->in, bytes);

    if (*bytes > CAIRN_VALUE_MAX) {
        refuse(from, "bytes of a value", *bytes, CAIRN_VALUE_MAX);
    }
    return value;
}

static size_t get_count(decoder *from, size_t least_bytes)
{
    size_t count = cairn_unpack_u32(&from->in);

    if (count > cairn_unpack_left(&from->in) / least_bytes) {
        from->in.bad = true;
        return 0;
    }
    return count;
}

static size_t get_txn_count(decoder *from, size_t least_bytes, const char *what)
{
    size_t count = get_count(from, least_bytes);

    if (count > CAIRN_TXN_MAX) {
        refuse(from, what, count, CAIRN_TXN_MAX);
    }
    return count;
}

static double get_double(decoder *from)
{
    uint64_t bits = cairn_unpack_u64(&from->in);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The whole of a decoding's memory at once, so that it does not move while pointers lead into it. */
static void *make_room(cairn_storage *storage, size_t bytes)
{
    if (bytes > storage->bytes || storage->memory == NULL) {
        void *memory = malloc(bytes + bytes / 2 + 256);

        if (memory == NULL) {
            return NULL;
        }
        free(storage->memory);
        storage->memory = memory;
        storage->bytes = bytes + bytes / 2 + 256;
    }
    storage->used = bytes;
    return storage->memory;
}

void cairn_storage_free(cairn_storage *storage)
{
    free(storage->memory);
    *storage = (cairn_storage){NULL, 0, 0};
}

static void get_compares(decoder *from, cairn_compare *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t kind = cairn_unpack_u8(&from->in), sign = cairn_unpack_u8(&from->in);

        if (kind < CAIRN_COMPARE_MODIFIED || kind > CAIRN_COMPARE_LEASE) {
            refuse_plainly(from, "an unknown kind of comparison");
        }
        if (sign > 2 && sign != UINT8_MAX) {
            refuse_plainly(from, "an unknown sign of a comparison");
        }
        out[i].kind = (cairn_compare_kind)kind;
        out[i].sign = sign == UINT8_MAX ? -1 : (int)sign;
        out[i].key = get_key(from, 1);
        out[i].number = cairn_unpack_u64(&from->in);
        out[i].value = get_value(from, &out[i].bytes);
    }
}

static void get_dos(decoder *from, cairn_do *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t kind = cairn_unpack_u8(&from->in);

        if (kind < CAIRN_DO_PUT || kind > CAIRN_DO_GET) {
            refuse_plainly(from, "an unknown kind of operation");
        }
        out[i].kind = (cairn_do_kind)kind;
        out[i].key = get_key(from, kind == CAIRN_DO_DELETE_PREFIX ? 0 : 1);
        out[i].value = get_value(from, &out[i].bytes);
        out[i].lease = cairn_unpack_u64(&from->in);
    }
}

static cairn_status get_txn(decoder *from, cairn_txn *txn, cairn_storage *storage)
{
    size_t compares = get_txn_count(from, COMPARE_LEAST, "comparisons of a transaction");
    size_t then = get_txn_count(from, DO_LEAST, "operations of a transaction");
    size_t otherwise = get_txn_count(from, DO_LEAST, "operations of a transaction");
    uint8_t *memory;

    *txn = (cairn_txn){.compare_count = compares, .then_count = then, .otherwise_count = otherwise};
    if (compares + then + otherwise == 0 || from->in.bad || from->invalid) {
        return CAIRN_OK;
    }
    memory = make_room(storage, compares * sizeof(cairn_compare) + (then + otherwise) * sizeof(cairn_do));
    if (memory == NULL) {
        return CAIRN_E_NOMEM;
    }
    cairn_compare *compare = (cairn_compare *)(void *)memory;
    cairn_do *dos = (cairn_do *)(void *)(memory + compares * sizeof(cairn_compare));
    get_compares(from, compare, compares);
    get_dos(from, dos, then);
    get_dos(from, dos + then, otherwise);
    txn->compares = compare;
    txn->then = dos;
    txn->otherwise = dos + then;
    return CAIRN_OK;
}

bool cairn_lock_key(const char *key)
{
    return (strncmp(key, LOCKS, sizeof LOCKS - 1) == 0 && key[sizeof LOCKS - 1] != '\0') ||
           (strncmp(key, ELECTIONS, sizeof ELECTIONS - 1) == 0 && key[sizeof ELECTIONS - 1] != '\0');
}

static void check_op(decoder *from, const cairn_question *request)
{
    bool prefix = (request->flags & CAIRN_REQUEST_PREFIX) != 0;

    if ((request->flags & ~(CAIRN_REQUEST_PREFIX | CAIRN_REQUEST_REPEAT)) != 0) {
        refuse_plainly(from, "unknown flags");
    }
    switch (request->op) {
    case CAIRN_OP_OPEN:
    case CAIRN_OP_GRANT:
        if (!(request->ttl >= CAIRN_TTL_MIN && request->ttl <= CAIRN_TTL_MAX)) {
            refuse_plainly(from, "a time to live that is not 0.1 to 86400 seconds");
        }
        break;
    case CAIRN_OP_LOCK:
    case CAIRN_OP_UNLOCK:
        if (!cairn_lock_key(request->key)) {
            refuse_plainly(from, "a lock's key is neither cairn/lock/NAME nor cairn/election/NAME");
        }
        break;
    case CAIRN_OP_BARRIER:
        if (request->key[0] == '\0' || request->number > UINT32_MAX) {
            refuse_plainly(from, "a barrier without a name, or of too many");
        }
        break;
    case CAIRN_OP_READ:
    case CAIRN_OP_WATCH:
        if (request->key[0] == '\0' && !prefix) {
            refuse_plainly(from, "a key is empty");
        }
        break;
    case CAIRN_OP_CLOSE:
    case CAIRN_OP_REVOKE:
    case CAIRN_OP_EXPIRE:
    case CAIRN_OP_TXN:
    case CAIRN_OP_KEEPALIVE:
    case CAIRN_OP_STATUS:
        break;
    default:
        refuse(from, "an unknown operation", request->op, CAIRN_OP_STATUS);
    }
}

/* What comes of it; `what` is for errors. */
static cairn_status outcome(const decoder *from, const char *what)
{
    if (from->in.bad) {
        return cairn_fail(from->error, CAIRN_E_CORRUPT, "%s: %zu bytes that are no encoding of one", what,
                          from->in.bytes);
    }
    if (from->invalid) {
        return CAIRN_E_INVALID;
    }
    if (from->in.at != from->in.bytes) {
        return cairn_fail(from->error, CAIRN_E_CORRUPT, "%s: %zu bytes too many", what, from->in.bytes - from->in.at);
    }
    return CAIRN_OK;
}

static cairn_status check_version(decoder *from, const char *what)
{
    uint8_t version = cairn_unpack_u8(&from->in);

    if (!from->in.bad && version != ENCODING) {
        return cairn_fail(from->error, CAIRN_E_VERSION, "%s: an encoding of version %u (known: %d)", what, version,
                          ENCODING);
    }
    return CAIRN_OK;
}

cairn_status cairn_request_decode(const void *data, size_t bytes, cairn_question *request, cairn_storage *storage,
                                  cairn_error *error)
{
    decoder from = {.in = {.data = data, .bytes = bytes}, .error = error};
    cairn_status status = check_version(&from, "request");

    if (status != CAIRN_OK) {
        return status;
    }
    request->op = cairn_unpack_u8(&from.in);
    request->flags = cairn_unpack_u8(&from.in);
    request->session = cairn_unpack_u64(&from.in);
    request->sequence = cairn_unpack_u64(&from.in);
    request->acknowledged = cairn_unpack_u64(&from.in);
    request->number = cairn_unpack_u64(&from.in);
    request->ttl = get_double(&from);
    request->nonce = cairn_unpack_u64(&from.in);
    request->key = get_key(&from, 0);
    request->value = get_value(&from, &request->bytes);
    if (get_txn(&from, &request->txn, storage) != CAIRN_OK) {
        return cairn_fail(error, CAIRN_E_NOMEM, "request: no memory");
    }
    check_op(&from, request);
    return outcome(&from, "request");
}

static void get_kv(decoder *from, cairn_kv *out)
{
    size_t length;

    out->key = get_text(from, &length);
    if (length == 0) {
        out->key = NULL;
    }
    out->value = cairn_unpack_text(&from->in, &out->bytes);
    out->created = cairn_unpack_u64(&from->in);
    out->modified = cairn_unpack_u64(&from->in);
    out->version = cairn_unpack_u64(&from->in);
    out->lease = cairn_unpack_u64(&from->in);
}

/* The changes' count stands behind the kvs, so a first pass finds it, and the room is made once. */
static cairn_status get_arrays(decoder *from, cairn_response *response, cairn_storage *storage)
{
    size_t kv_count = get_count(from, KV_LEAST);
    decoder ahead = *from;
    cairn_kv skipped;

    for (size_t i = 0; i < kv_count && !ahead.in.bad; i++) {
        get_kv(&ahead, &skipped);
    }
    size_t change_count = get_count(&ahead, CHANGE_LEAST);
    from->in.bad = ahead.in.bad;
    if (from->in.bad || kv_count + change_count == 0) {
        from->in.at = ahead.in.at;
        return CAIRN_OK;
    }
    uint8_t *memory = make_room(storage, kv_count * sizeof(cairn_kv) + change_count * sizeof(cairn_change));
    if (memory == NULL) {
        return CAIRN_E_NOMEM;
    }
    cairn_kv *kvs = (cairn_kv *)(void *)memory;
    cairn_change *changes = (cairn_change *)(void *)(memory + kv_count * sizeof(cairn_kv));
    for (size_t i = 0; i < kv_count; i++) {
        get_kv(from, &kvs[i]);
    }
    (void)cairn_unpack_u32(&from->in);
    for (size_t i = 0; i < change_count; i++) {
        uint8_t deleted = cairn_unpack_u8(&from->in);

        get_kv(from, &changes[i].kv);
        changes[i].deleted = deleted == 1;
        from->in.bad = from->in.bad || deleted > 1 || changes[i].kv.key == NULL;
    }
    response->kvs = kvs;
    response->kv_count = kv_count;
    response->changes = changes;
    response->change_count = change_count;
    return CAIRN_OK;
}

cairn_status cairn_response_decode(const void *data, size_t bytes, cairn_response *response, cairn_storage *storage,
                                   cairn_error *error)
{
    decoder from = {.in = {.data = data, .bytes = bytes}, .error = error};
    cairn_status status = check_version(&from, "answer");
    size_t length;

    if (status != CAIRN_OK) {
        return status;
    }
    *response = (cairn_response){.text = ""};
    uint8_t code = cairn_unpack_u8(&from.in), bits = cairn_unpack_u8(&from.in);
    response->number = cairn_unpack_u64(&from.in);
    response->revision = cairn_unpack_u64(&from.in);
    response->text = get_text(&from, &length);
    from.in.bad = from.in.bad || code > CAIRN_E_BUSY || bits > (BIT_HELD | BIT_MORE | BIT_WAITING);
    response->status = (cairn_status)code;
    response->held = (bits & BIT_HELD) != 0;
    response->more = (bits & BIT_MORE) != 0;
    response->waiting = (bits & BIT_WAITING) != 0;
    if (get_arrays(&from, response, storage) != CAIRN_OK) {
        return cairn_fail(error, CAIRN_E_NOMEM, "answer: no memory");
    }
    return outcome(&from, "answer");
}
