#include "snapshot/parcel.h"

#include "base/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       "CAIRNPAR"
#define MAGIC_BYTES 8
#define HEAD_BYTES  16 /* magic, and the bytes of the manifest */
#define STATE_ALIGN 64

static uint64_t aligned(uint64_t offset, uint64_t to)
{
    return (offset + to - 1) / to * to;
}

/* ---------------------------------------------------------------- making */

static void put_u64s(cairn_pack *pack, const uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cairn_pack_u64(pack, values[i]);
    }
}

static void put_head(cairn_pack *pack, const cairn_part_head *head)
{
    size_t counts = (size_t)head->count * CAIRN_STREAMS;

    cairn_pack_u64(pack, head->number);
    cairn_pack_u32(pack, head->process);
    cairn_pack_u32(pack, head->count);
    cairn_pack_u32(pack, head->incarnation);
    cairn_pack_u64(pack, head->step);
    cairn_pack_u64(pack, head->lamport);
    cairn_pack_u8(pack, head->vector != NULL);
    if (head->vector != NULL) {
        put_u64s(pack, head->vector, head->count);
    }
    put_u64s(pack, head->sent, counts);
    put_u64s(pack, head->received, counts);
}

static void put_state(cairn_pack *pack, const cairn_state *s)
{
    cairn_pack_text(pack, s->name, strlen(s->name));
    cairn_pack_u32(pack, (uint32_t)s->kind);
    cairn_pack_u32(pack, (uint32_t)s->type);
    cairn_pack_u32(pack, s->flags);
    cairn_pack_u32(pack, s->rank);
    put_u64s(pack, s->shape, CAIRN_DIMENSIONS_MAX);
    put_u64s(pack, s->global_shape, CAIRN_DIMENSIONS_MAX);
    put_u64s(pack, s->offset, CAIRN_DIMENSIONS_MAX);
    cairn_pack_u64(pack, s->bytes);
}

static void put_message(cairn_pack *pack, const cairn_in_flight *m)
{
    cairn_pack_u32(pack, m->from);
    cairn_pack_u32(pack, m->stream);
    cairn_pack_u32(pack, m->tag);
    cairn_pack_u64(pack, m->sequence);
    cairn_pack_u64(pack, m->lamport);
    cairn_pack_u64(pack, m->bytes);
}

static void add(cairn_parcel *parcel, const void *data, uint64_t bytes, uint64_t align)
{
    uint64_t offset = aligned(parcel->bytes, align);

    if (bytes != 0) {
        parcel->extents[parcel->extent_count++] = (cairn_parcel_extent){.offset = offset, .bytes = bytes, .data = data};
    }
    parcel->bytes = offset + bytes;
}

cairn_status cairn_parcel_make(cairn_parcel *parcel, const cairn_part_head *head, const cairn_state *states,
                               size_t state_count, const cairn_in_flight *messages, size_t message_count)
{
    cairn_pack pack = {0};
    uint64_t manifest;

    *parcel = (cairn_parcel){.extents = calloc(1 + state_count + message_count, sizeof(cairn_parcel_extent))};
    cairn_pack_bytes(&pack, MAGIC, MAGIC_BYTES);
    cairn_pack_u64(&pack, 0);
    put_head(&pack, head);
    cairn_pack_u64(&pack, state_count);
    for (size_t i = 0; i < state_count; i++) {
        put_state(&pack, &states[i]);
    }
    cairn_pack_u64(&pack, message_count);
    for (size_t i = 0; i < message_count; i++) {
        put_message(&pack, &messages[i]);
    }
    manifest = pack.bytes - HEAD_BYTES;
    if (!cairn_pack_ok(&pack) || parcel->extents == NULL) {
        free(pack.data);
        cairn_parcel_free(parcel);
        return CAIRN_E_NOMEM;
    }
    for (size_t i = 0; i < 8; i++) {
        pack.data[MAGIC_BYTES + i] = (uint8_t)(manifest >> (8 * i));
    }
    parcel->manifest = pack.data;
    add(parcel, pack.data, pack.bytes, 1);
    for (size_t i = 0; i < state_count; i++) {
        add(parcel, states[i].data, states[i].bytes, STATE_ALIGN);
    }
    for (size_t i = 0; i < message_count; i++) {
        add(parcel, messages[i].payload, messages[i].bytes, 8);
    }
    return CAIRN_OK;
}

void cairn_parcel_free(cairn_parcel *parcel)
{
    free(parcel->manifest);
    free(parcel->extents);
    *parcel = (cairn_parcel){0};
}

/* The last extent that begins at or before this offset. */
static size_t extent_at(const cairn_parcel *parcel, uint64_t offset)
{
    size_t low = 0;
    size_t high = parcel->extent_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (parcel->extents[middle].offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void cairn_parcel_read(const cairn_parcel *parcel, uint64_t offset, void *to, size_t bytes)
{
    uint64_t end = offset + bytes;
    char *at = to;

    for (size_t i = extent_at(parcel, offset); offset < end; i++) {
        const cairn_parcel_extent *e = &parcel->extents[i];
        uint64_t inside = offset - e->offset;
        uint64_t next = i + 1 < parcel->extent_count ? parcel->extents[i + 1].offset : parcel->bytes;
        uint64_t stop = next < end ? next : end;
        uint64_t data = inside < e->bytes ? e->bytes - inside : 0;
        uint64_t copied = data < stop - offset ? data : stop - offset;

        if (copied != 0) {
            memcpy(at, (const char *)e->data + inside, (size_t)copied);
        }
        memset(at + copied, 0, (size_t)(stop - offset - copied)); /* between two extents */
        at += stop - offset;
        offset = stop;
    }
}

/* ---------------------------------------------------------------- opening */

static cairn_status corrupt(cairn_error *error, const char *what)
{
    return cairn_fail(error, CAIRN_E_CORRUPT, "a part from memory: %s", what);
}

static void get_u64s(cairn_unpack *u, uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = cairn_unpack_u64(u);
    }
}

static cairn_status get_head(cairn_unpack *u, cairn_opened_parcel *out, cairn_error *error)
{
    cairn_part_head *h = &out->head;
    size_t counts;
    bool vector;

    h->number = cairn_unpack_u64(u);
    h->process = cairn_unpack_u32(u);
    h->count = cairn_unpack_u32(u);
    h->incarnation = cairn_unpack_u32(u);
    h->step = cairn_unpack_u64(u);
    h->lamport = cairn_unpack_u64(u);
    vector = cairn_unpack_u8(u) != 0;
    counts = (size_t)h->count * CAIRN_STREAMS;
    if (u->bad || h->count == 0 || h->process >= h->count ||
        cairn_unpack_left(u) / (2 * CAIRN_STREAMS * sizeof(uint64_t)) < h->count) {
        return corrupt(error, "its head is cut off");
    }
    out->counts = calloc(2 * counts + h->count, sizeof *out->counts);
    if (out->counts == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "a part from memory");
    }
    if (vector) {
        get_u64s(u, out->counts + 2 * counts, h->count);
        h->vector = out->counts + 2 * counts;
    }
    get_u64s(u, out->counts, counts);
    get_u64s(u, out->counts + counts, counts);
    h->sent = out->counts;
    h->received = out->counts + counts;
    return u->bad ? corrupt(error, "its head is cut off") : CAIRN_OK;
}

static bool is_sound(const cairn_state *s)
{
    uint64_t elements = 1;
    uint64_t size;

    if (s->kind > CAIRN_STATE_BYTES || s->type > CAIRN_F64 || s->rank > CAIRN_DIMENSIONS_MAX || s->name[0] == '\0') {
        return false;
    }
    size = cairn_type_bytes(s->type);
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->shape[i] != 0 && elements > UINT64_MAX / 16 / s->shape[i]) {
            return false;
        }
        elements *= s->shape[i];
    }
    return s->bytes == elements * size;
}

static cairn_status get_states(cairn_unpack *u, cairn_opened_parcel *out, cairn_error *error)
{
    uint64_t count = cairn_unpack_u64(u);

    if (u->bad || count > cairn_unpack_left(u)) {
        return corrupt(error, "its states are cut off");
    }
    out->states = calloc((size_t)count + 1, sizeof *out->states);
    if (out->states == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "a part from memory");
    }
    for (; out->state_count < count; out->state_count++) {
        cairn_state *s = &out->states[out->state_count];
        size_t length;
        const uint8_t *name = cairn_unpack_text(u, &length);

        if (length <= CAIRN_NAME_MAX && name != NULL) {
            memcpy(s->name, name, length);
        }
        s->kind = (cairn_state_kind)cairn_unpack_u32(u);
        s->type = (cairn_type)cairn_unpack_u32(u);
        s->flags = cairn_unpack_u32(u);
        s->rank = cairn_unpack_u32(u);
        get_u64s(u, s->shape, CAIRN_DIMENSIONS_MAX);
        get_u64s(u, s->global_shape, CAIRN_DIMENSIONS_MAX);
        get_u64s(u, s->offset, CAIRN_DIMENSIONS_MAX);
        s->bytes = cairn_unpack_u64(u);
        if (u->bad || !is_sound(s)) {
            return corrupt(error, "a state has no shape that fits its bytes");
        }
    }
    return CAIRN_OK;
}

static cairn_status get_messages(cairn_unpack *u, cairn_opened_parcel *out, cairn_error *error)
{
    uint64_t count = cairn_unpack_u64(u);

    if (u->bad || count > cairn_unpack_left(u)) {
        return corrupt(error, "its messages are cut off");
    }
    out->messages = calloc((size_t)count + 1, sizeof *out->messages);
    if (out->messages == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "a part from memory");
    }
    for (; out->message_count < count; out->message_count++) {
        cairn_in_flight *m = &out->messages[out->message_count];

        m->from = cairn_unpack_u32(u);
        m->stream = cairn_unpack_u32(u);
        m->tag = cairn_unpack_u32(u);
        m->sequence = cairn_unpack_u64(u);
        m->lamport = cairn_unpack_u64(u);
        m->bytes = cairn_unpack_u64(u);
        if (u->bad || m->from >= out->head.count || m->stream >= CAIRN_STREAMS) {
            return corrupt(error, "a message in flight is from nobody");
        }
    }
    return CAIRN_OK;
}

/* Where the next `size` bytes lie, or NULL. */
static const char *take(const char *data, size_t bytes, uint64_t *at, uint64_t align, uint64_t size)
{
    uint64_t offset = aligned(*at, align);

    if (size == 0) {
        *at = offset;
        return data;
    }
    if (offset > bytes || size > bytes - offset) {
        return NULL;
    }
    *at = offset + size;
    return data + offset;
}

static cairn_status find_bytes(cairn_opened_parcel *out, const char *data, size_t bytes, uint64_t at,
                               cairn_error *error)
{
    bool all = true;

    for (size_t i = 0; i < out->state_count && all; i++) {
        out->states[i].data = take(data, bytes, &at, STATE_ALIGN, out->states[i].bytes);
        all = out->states[i].data != NULL;
    }
    for (size_t i = 0; i < out->message_count && all; i++) {
        out->messages[i].payload = take(data, bytes, &at, 8, out->messages[i].bytes);
        all = out->messages[i].payload != NULL;
    }
    return all && at == bytes ? CAIRN_OK : corrupt(error, "its elements are cut off, or there is more behind them");
}

cairn_status cairn_parcel_open(cairn_opened_parcel *out, const void *data, size_t bytes, cairn_error *error)
{
    cairn_unpack u = {.data = data, .bytes = bytes};
    const uint8_t *magic = cairn_unpack_bytes(&u, MAGIC_BYTES);
    uint64_t manifest = cairn_unpack_u64(&u);
    cairn_status status;

    *out = (cairn_opened_parcel){0};
    if (u.bad || memcmp(magic, MAGIC, MAGIC_BYTES) != 0 || manifest > cairn_unpack_left(&u)) {
        return corrupt(error, "no part at all");
    }
    u.bytes = HEAD_BYTES + (size_t)manifest;
    status = get_head(&u, out, error);
    if (status == CAIRN_OK) {
        status = get_states(&u, out, error);
    }
    if (status == CAIRN_OK) {
        status = get_messages(&u, out, error);
    }
    if (status == CAIRN_OK) {
        status = cairn_unpack_left(&u) == 0 ? find_bytes(out, data, bytes, u.at, error)
                                            : corrupt(error, "there is more in its manifest");
    }
    if (status != CAIRN_OK) {
        cairn_parcel_close(out);
    }
    return status;
}

void cairn_parcel_close(cairn_opened_parcel *opened)
{
    free(opened->states);
    free(opened->messages);
    free(opened->counts);
    *opened = (cairn_opened_parcel){0};
}
