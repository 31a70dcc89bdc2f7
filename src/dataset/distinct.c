/* HyperLogLog: see distinct.h. */
#include "dataset/distinct.h"

#include <math.h>

enum {
    PRECISION = 14,
    FINE = 25, /* precision of the list */
    BETWEEN = FINE - PRECISION,
    RANK_BITS = 6,
    RANK_MAX = 64 - FINE + 1, /* in the list */
    REGISTER_MAX = 64 - PRECISION + 1
};

/* An entry of the list, told with its register's rank: the bits between the two precisions count as well. */
static void raise_register(uint8_t *registers, uint32_t entry)
{
    uint32_t index = entry >> RANK_BITS;
    uint32_t between = index & ((1u << BETWEEN) - 1);
    uint32_t rank = between != 0 ? (uint32_t)__builtin_clz(between) - (32 - BETWEEN) + 1
                                 : BETWEEN + (entry & ((1u << RANK_BITS) - 1));
    uint8_t *at = &registers[index >> BETWEEN];

    *at = rank > *at ? (uint8_t)rank : *at;
}

static cairn_status make_registers(cairn_distinct *set)
{
    set->registers = calloc(1, CAIRN_DISTINCT_REGISTERS);
    if (set->registers == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        raise_register(set->registers, set->list[i]);
    }
    free(set->list);
    set->list = NULL;
    set->count = 0;
    set->room = 0;
    return CAIRN_OK;
}

static cairn_status add_entry(cairn_distinct *set, uint32_t entry)
{
    uint32_t low = 0, high = set->count;

    if (set->registers != NULL) {
        raise_register(set->registers, entry);
        return CAIRN_OK;
    }
    while (low < high) { /* the first entry of this index or a larger one */
        uint32_t middle = (low + high) / 2;
        if (set->list[middle] >> RANK_BITS < entry >> RANK_BITS) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < set->count && set->list[low] >> RANK_BITS == entry >> RANK_BITS) {
        set->list[low] = entry > set->list[low] ? entry : set->list[low];
        return CAIRN_OK;
    }
    if (set->count == set->room) {
        uint32_t room = set->room == 0 ? 8 : set->room * 2;
        uint32_t *list = realloc(set->list, room * sizeof *list);
        if (list == NULL) {
            return CAIRN_E_NOMEM;
        }
        set->list = list;
        set->room = room;
    }
    memmove(set->list + low + 1, set->list + low, (set->count - low) * sizeof *set->list);
    set->list[low] = entry;
    set->count++;
    return set->count > CAIRN_DISTINCT_LIST_MAX ? make_registers(set) : CAIRN_OK;
}

cairn_status cairn_distinct_add(cairn_distinct *set, uint64_t hash)
{
    uint64_t rest = hash << FINE;
    uint32_t rank = rest == 0 ? RANK_MAX : (uint32_t)__builtin_clzll(rest) + 1;

    return add_entry(set, (uint32_t)(hash >> (64 - FINE)) << RANK_BITS | rank);
}

cairn_status cairn_distinct_merge(cairn_distinct *set, const cairn_distinct *other)
{
    cairn_status status = CAIRN_OK;

    if (other->registers != NULL && set->registers == NULL) {
        status = make_registers(set);
    }
    for (size_t i = 0; other->registers != NULL && status == CAIRN_OK && i < CAIRN_DISTINCT_REGISTERS; i++) {
        uint8_t rank = other->registers[i];
        set->registers[i] = rank > set->registers[i] ? rank : set->registers[i];
    }
    for (uint32_t i = 0; i < other->count && status == CAIRN_OK; i++) {
        status = add_entry(set, other->list[i]);
    }
    return status;
}

void cairn_distinct_clear(cairn_distinct *set)
{
    free(set->list);
    free(set->registers);
    memset(set, 0, sizeof *set);
}

/* The two series of Ertl's algorithm 6. */
static double sigma(double x)
{
    double y = 1, z = x, before;

    if (x >= 1) {
        return INFINITY;
    }
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    double y = 1, z = 1 - x, before;

    if (x <= 0 || x >= 1) {
        return 0;
    }
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

uint64_t cairn_distinct_estimate(const cairn_distinct *set)
{
    const double m = CAIRN_DISTINCT_REGISTERS;
    uint32_t count[REGISTER_MAX + 1] = {0};

    if (set->registers == NULL) {
        const double fine = (double)(1u << FINE);
        return (uint64_t)llround(fine * log(fine / (fine - set->count)));
    }
    for (size_t i = 0; i < CAIRN_DISTINCT_REGISTERS; i++) {
        count[set->registers[i]]++;
    }
    double z = m * tau(1 - count[REGISTER_MAX] / m);
    for (int k = REGISTER_MAX - 1; k >= 1; k--) {
        z = 0.5 * (z + count[k]);
    }
    z += m * sigma(count[0] / m);
    return (uint64_t)llround(m * m / (2 * log(2) * z));
}

void cairn_distinct_pack(const cairn_distinct *set, cairn_pack *pack)
{
    cairn_pack_u8(pack, set->registers != NULL);
    if (set->registers != NULL) {
        cairn_pack_bytes(pack, set->registers, CAIRN_DISTINCT_REGISTERS);
        return;
    }
    cairn_pack_u32(pack, set->count);
    for (uint32_t i = 0; i < set->count; i++) {
        cairn_pack_u32(pack, set->list[i]);
    }
}

static cairn_status unpack_registers(cairn_distinct *set, cairn_unpack *unpack)
{
    const uint8_t *data = cairn_unpack_bytes(unpack, CAIRN_DISTINCT_REGISTERS);

    for (size_t i = 0; data != NULL && i < CAIRN_DISTINCT_REGISTERS; i++) {
        if (data[i] > REGISTER_MAX) {
            return CAIRN_E_CORRUPT;
        }
    }
    set->registers = data == NULL ? NULL : malloc(CAIRN_DISTINCT_REGISTERS);
    if (set->registers == NULL) {
        return data == NULL ? CAIRN_E_CORRUPT : CAIRN_E_NOMEM;
    }
    memcpy(set->registers, data, CAIRN_DISTINCT_REGISTERS);
    return CAIRN_OK;
}

static cairn_status unpack_list(cairn_distinct *set, cairn_unpack *unpack)
{
    uint32_t count = cairn_unpack_u32(unpack);

    if (unpack->bad || count > CAIRN_DISTINCT_LIST_MAX || count > cairn_unpack_left(unpack) / 4) {
        return CAIRN_E_CORRUPT;
    }
    set->list = count == 0 ? NULL : malloc(count * sizeof *set->list);
    if (count > 0 && set->list == NULL) {
        return CAIRN_E_NOMEM;
    }
    set->room = count;
    for (; set->count < count; set->count++) {
        uint32_t entry = cairn_unpack_u32(unpack), rank = entry & ((1u << RANK_BITS) - 1);
        bool rises = set->count == 0 || entry >> RANK_BITS > set->list[set->count - 1] >> RANK_BITS;
        if (!rises || rank < 1 || rank > RANK_MAX || entry >> (FINE + RANK_BITS) != 0) {
            return CAIRN_E_CORRUPT;
        }
        set->list[set->count] = entry;
    }
    return CAIRN_OK;
}

cairn_status cairn_distinct_unpack(cairn_distinct *set, cairn_unpack *unpack)
{
    memset(set, 0, sizeof *set);
    uint8_t has_registers = cairn_unpack_u8(unpack);
    cairn_status status = CAIRN_E_CORRUPT;

    if (!unpack->bad && has_registers <= 1) {
        status = has_registers != 0 ? unpack_registers(set, unpack) : unpack_list(set, unpack);
    }
    if (status != CAIRN_OK) {
        cairn_distinct_clear(set);
    }
    return status;
}
