/* Buckets of doubles: see quantile.h. */
#include "dataset/quantile.h"

#include <math.h>
#include <stdio.h>

enum { KEPT_BITS = 9, CUT_BITS = 52 - KEPT_BITS, INDEX_MAX = 2047 << KEPT_BITS, FIRST_SIZE = 16 };

static int32_t index_of(double value)
{
    uint64_t bits;
    double size = fabs(value);

    memcpy(&bits, &size, sizeof bits);
    if (bits == 0) {
        return 0;
    }
    int32_t index = (int32_t)(bits >> CUT_BITS) + 1;
    return value < 0 ? -index : index;
}

/* Where a bucket of positive values begins; the next one begins where it ends. */
static double bucket_start(int32_t index)
{
    uint64_t bits = (uint64_t)(index - 1) << CUT_BITS;
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The shortest decimal in [from, to): the first rounding of the middle that stays inside. */
static double shortest_between(double from, double to)
{
    char text[40];

    for (int places = 0; places < 17; places++) {
        (void)snprintf(text, sizeof text, "%.*e", places, from + (to - from) / 2);
        double near = strtod(text, NULL);
        if (near >= from && near < to) {
            return near;
        }
    }
    return from;
}

static bool grow(cairn_quantiles *quantiles)
{
    uint32_t size = quantiles->size == 0 ? FIRST_SIZE : quantiles->size * 2;
    cairn_bucket *table = calloc(size, sizeof *table);

    if (table == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < quantiles->size; i++) {
        if (quantiles->table[i].used != 0) {
            uint32_t at = (uint32_t)quantiles->table[i].index * 0x9e3779b1u & (size - 1);
            while (table[at].used != 0) {
                at = (at + 1) & (size - 1);
            }
            table[at] = quantiles->table[i];
        }
    }
    free(quantiles->table);
    quantiles->table = table;
    quantiles->size = size;
    return true;
}

static cairn_status add_count(cairn_quantiles *quantiles, int32_t index, uint64_t count)
{
    if (quantiles->used >= quantiles->size / 2 && !grow(quantiles)) {
        return CAIRN_E_NOMEM;
    }
    uint32_t at = (uint32_t)index * 0x9e3779b1u & (quantiles->size - 1);
    while (quantiles->table[at].used != 0 && quantiles->table[at].index != index) {
        at = (at + 1) & (quantiles->size - 1);
    }
    quantiles->used += quantiles->table[at].used == 0;
    quantiles->table[at] = (cairn_bucket){index, 1, quantiles->table[at].count + count};
    quantiles->count += count;
    return CAIRN_OK;
}

cairn_status cairn_quantiles_add(cairn_quantiles *quantiles, double value)
{
    return add_count(quantiles, index_of(value), 1);
}

cairn_status cairn_quantiles_merge(cairn_quantiles *quantiles, const cairn_quantiles *other)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < other->size && status == CAIRN_OK; i++) {
        if (other->table[i].used != 0) {
            status = add_count(quantiles, other->table[i].index, other->table[i].count);
        }
    }
    return status;
}

void cairn_quantiles_clear(cairn_quantiles *quantiles)
{
    free(quantiles->table);
    memset(quantiles, 0, sizeof *quantiles);
}

static int by_index(const void *left, const void *right)
{
    const cairn_bucket *a = left, *b = right;

    return (a->index > b->index) - (a->index < b->index);
}

/* The buckets in order; NULL: no memory, or there are none. */
static cairn_bucket *sorted(const cairn_quantiles *quantiles)
{
    cairn_bucket *list = quantiles->used == 0 ? NULL : malloc(quantiles->used * sizeof *list);
    uint32_t count = 0;

    for (uint32_t i = 0; list != NULL && i < quantiles->size; i++) {
        if (quantiles->table[i].used != 0) {
            list[count++] = quantiles->table[i];
        }
    }
    if (list != NULL) {
        qsort(list, count, sizeof *list, by_index);
    }
    return list;
}

static double value_of(int32_t index)
{
    int32_t size = index < 0 ? -index : index;
    double value = index == 0 ? 0 : shortest_between(bucket_start(size), bucket_start(size + 1));

    return index < 0 ? -value : value;
}

double cairn_quantiles_at(const cairn_quantiles *quantiles, double share)
{
    cairn_bucket *list = sorted(quantiles);
    double rank = ceil(share * (double)quantiles->count);
    uint64_t passed = 0;
    uint32_t i = 0;

    if (list == NULL) {
        return 0;
    }
    for (; i + 1 < quantiles->used && (double)(passed + list[i].count) < rank; i++) {
        passed += list[i].count;
    }
    double value = value_of(list[i].index);
    free(list);
    return value;
}

void cairn_quantiles_pack(const cairn_quantiles *quantiles, cairn_pack *pack)
{
    cairn_bucket *list = sorted(quantiles);

    if (list == NULL && quantiles->used > 0) {
        pack->failed = true;
        return;
    }
    cairn_pack_u32(pack, quantiles->used);
    for (uint32_t i = 0; i < quantiles->used; i++) {
        cairn_pack_u32(pack, (uint32_t)list[i].index);
        cairn_pack_u64(pack, list[i].count);
    }
    free(list);
}

cairn_status cairn_quantiles_unpack(cairn_quantiles *quantiles, cairn_unpack *unpack)
{
    memset(quantiles, 0, sizeof *quantiles);
    uint32_t count = cairn_unpack_u32(unpack);
    int64_t before = INT64_MIN;
    cairn_status status = unpack->bad || count > cairn_unpack_left(unpack) / 12 ? CAIRN_E_CORRUPT : CAIRN_OK;

    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        int32_t index = (int32_t)cairn_unpack_u32(unpack);
        uint64_t values = cairn_unpack_u64(unpack);
        bool fits = index > before && index <= INDEX_MAX && index >= -INDEX_MAX && values > 0;
        status = fits ? add_count(quantiles, index, values) : CAIRN_E_CORRUPT;
        before = index;
    }
    if (status != CAIRN_OK) {
        cairn_quantiles_clear(quantiles);
    }
    return status;
}
