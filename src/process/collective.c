/* Collectives over channels, in the second stream of each. Linear where the order of folding is promised; a binomial
 * tree where only arrival counts. */
#include "process/runtime.h"

#include <stdlib.h>
#include <string.h>

#define STREAM        1
#define TAG_BARRIER   1
#define TAG_BROADCAST 2
#define TAG_REDUCE    3
#define TAG_GATHER    4

static cairn_status receive(cairn_process *p, uint32_t from, uint32_t tag, void *data, size_t bytes, const char *what)
{
    cairn_message m;
    cairn_status status = cairn_receive_stream(p, STREAM, from, data, bytes, &m, what);

    if (status == CAIRN_OK && (m.tag != tag || m.bytes != bytes)) {
        cairn_enter(p);
        return cairn_say(p, CAIRN_E_INVALID, "%s: process %u is in another collective, or with another size", what,
                         from);
    }
    return status;
}

static cairn_status send(cairn_process *p, uint32_t to, uint32_t tag, const void *data, size_t bytes)
{
    return cairn_send_stream(p, STREAM, to, tag, data, bytes);
}

static cairn_status wrong_root(cairn_process *p, uint32_t root, const char *what)
{
    cairn_enter(p);
    return cairn_say(p, CAIRN_E_RANGE, "%s: process %u of %u does not exist", what, root, p->count);
}

/* Dissemination: after round k everybody has heard, directly or not, from the 2^k processes before it. */
cairn_status cairn_barrier(cairn_process *p)
{
    for (uint32_t distance = 1; distance < p->count; distance *= 2) {
        uint32_t to = (p->self + distance) % p->count;
        uint32_t from = (p->self + p->count - distance) % p->count;
        cairn_status status = send(p, to, TAG_BARRIER, NULL, 0);

        if (status == CAIRN_OK) {
            status = receive(p, from, TAG_BARRIER, NULL, 0, "cairn_barrier");
        }
        if (status != CAIRN_OK) {
            return status;
        }
    }
    return CAIRN_OK;
}

/* Binomial tree over ids relative to root: the parent of r is r without its lowest set bit. */
cairn_status cairn_broadcast(cairn_process *p, uint32_t root, void *data, size_t bytes)
{
    uint32_t relative;
    uint32_t bit = 1;
    cairn_status status = CAIRN_OK;

    if (root >= p->count) {
        return wrong_root(p, root, "cairn_broadcast");
    }
    relative = (p->self + p->count - root) % p->count;
    while (bit < p->count && (relative & bit) == 0) {
        bit *= 2;
    }
    if (relative != 0) {
        status = receive(p, (relative - bit + root) % p->count, TAG_BROADCAST, data, bytes, "cairn_broadcast");
    }
    for (bit /= 2; status == CAIRN_OK && bit > 0; bit /= 2) {
        if (relative + bit < p->count) {
            status = send(p, (relative + bit + root) % p->count, TAG_BROADCAST, data, bytes);
        }
    }
    return status;
}

#define FOLD(type)                                                                                                     \
    do {                                                                                                               \
        type *a = out;                                                                                                 \
        const type *b = in;                                                                                            \
        for (size_t i = 0; i < count; i++) {                                                                           \
            if (op == CAIRN_SUM) {                                                                                     \
                a[i] = (type)(a[i] + b[i]);                                                                            \
            } else if (op == CAIRN_MIN ? b[i] < a[i] : b[i] > a[i]) {                                                  \
                a[i] = b[i];                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* out = out op in. Signed integers are folded as unsigned ones for sums, since they wrap. */
static void fold(void *out, const void *in, size_t count, cairn_type type, cairn_op op)
{
    switch (type) {
    case CAIRN_U8:
        FOLD(uint8_t);
        break;
    case CAIRN_I32:
        if (op == CAIRN_SUM) {
            FOLD(uint32_t);
        } else {
            FOLD(int32_t);
        }
        break;
    case CAIRN_U32:
        FOLD(uint32_t);
        break;
    case CAIRN_I64:
        if (op == CAIRN_SUM) {
            FOLD(uint64_t);
        } else {
            FOLD(int64_t);
        }
        break;
    case CAIRN_U64:
        FOLD(uint64_t);
        break;
    case CAIRN_F32:
        FOLD(float);
        break;
    case CAIRN_F64:
        FOLD(double);
        break;
    }
}

/* ((0 op 1) op 2) ... at root. */
static cairn_status fold_all(cairn_process *p, const void *in, void *out, size_t count, cairn_type type, cairn_op op)
{
    size_t bytes = count * cairn_type_bytes(type);
    char *sum = malloc(2 * bytes + 1);
    char *piece = sum == NULL ? NULL : sum + bytes;
    cairn_status status = CAIRN_OK;

    if (sum == NULL) {
        cairn_enter(p);
        return cairn_say(p, CAIRN_E_NOMEM, "cairn_reduce: %zu bytes", bytes);
    }
    for (uint32_t i = 0; status == CAIRN_OK && i < p->count; i++) {
        if (i != p->self) {
            status = receive(p, i, TAG_REDUCE, i == 0 ? sum : piece, bytes, "cairn_reduce");
        } else if (bytes != 0) {
            memcpy(i == 0 ? sum : piece, in, bytes);
        }
        if (status == CAIRN_OK && i > 0) {
            fold(sum, piece, count, type, op);
        }
    }
    if (status == CAIRN_OK && bytes != 0) {
        memcpy(out, sum, bytes);
    }
    free(sum);
    return status;
}

cairn_status cairn_reduce(cairn_process *p, uint32_t root, const void *in, void *out, size_t count, cairn_type type,
                          cairn_op op)
{
    size_t size = cairn_type_bytes(type);

    if (root >= p->count) {
        return wrong_root(p, root, "cairn_reduce");
    }
    if (size == 0 || (unsigned)op > CAIRN_MAX || (count > 0 && in == NULL)) {
        cairn_enter(p);
        return cairn_say(p, CAIRN_E_INVALID, "cairn_reduce: unknown type or op, or no data");
    }
    if (p->self != root) {
        return send(p, root, TAG_REDUCE, in, count * size);
    }
    return fold_all(p, in, out, count, type, op);
}

cairn_status cairn_allreduce(cairn_process *p, const void *in, void *out, size_t count, cairn_type type, cairn_op op)
{
    cairn_status status = cairn_reduce(p, 0, in, out, count, type, op);

    return status != CAIRN_OK ? status : cairn_broadcast(p, 0, out, count * cairn_type_bytes(type));
}

static cairn_status gather_at_root(cairn_process *p, const void *data, size_t bytes, void **out, uint64_t *sizes)
{
    cairn_status status = CAIRN_OK;
    size_t total = 0;
    char *all;

    sizes[p->self] = bytes;
    for (uint32_t i = 0; status == CAIRN_OK && i < p->count; i++) {
        if (i != p->self) {
            status = receive(p, i, TAG_GATHER, &sizes[i], sizeof sizes[i], "cairn_gather");
        }
        total += status == CAIRN_OK ? (size_t)sizes[i] : 0;
    }
    if (status != CAIRN_OK) {
        return status;
    }
    all = malloc(total + 1);
    if (all == NULL) {
        cairn_enter(p);
        return cairn_say(p, CAIRN_E_NOMEM, "cairn_gather: %zu bytes", total);
    }
    total = 0;
    for (uint32_t i = 0; status == CAIRN_OK && i < p->count; i++) {
        if (i != p->self) {
            status = receive(p, i, TAG_GATHER, all + total, (size_t)sizes[i], "cairn_gather");
        } else if (bytes != 0) {
            memcpy(all + total, data, bytes);
        }
        total += (size_t)sizes[i];
    }
    if (status != CAIRN_OK) {
        free(all);
        return status;
    }
    *out = all;
    return CAIRN_OK;
}

cairn_status cairn_gather(cairn_process *p, uint32_t root, const void *data, size_t bytes, void **out, uint64_t *sizes)
{
    uint64_t size = bytes;
    cairn_status status;

    if (root >= p->count) {
        return wrong_root(p, root, "cairn_gather");
    }
    if (p->self == root) {
        if (out == NULL || sizes == NULL) {
            cairn_enter(p);
            return cairn_say(p, CAIRN_E_INVALID, "cairn_gather: root needs out and sizes");
        }
        return gather_at_root(p, data, bytes, out, sizes);
    }
    status = send(p, root, TAG_GATHER, &size, sizeof size);
    return status != CAIRN_OK ? status : send(p, root, TAG_GATHER, data, bytes);
}
