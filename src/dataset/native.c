/* The loops over whole batches have no branches, and no types but those of 64 bits, so that compilers make them of vectors;
 * what a batch is not made for is told afterwards, and then taken one by one. */
#include "dataset/native.h"

#include <math.h>

enum { BATCH = 1024 };

#define ONE       1e9
#define QUICK_END 1e6      /* below it: at most 10^15 billionths, of which a batch fits an int64 */
#define QUICK_MIN 0x1p-10  /* from here on the rest is exact */
#define WIDE_FROM 9.2e9    /* number.h */
#define ROUNDER   0x1.8p52 /* added and taken away again it leaves whole numbers, which are its lowest bits then */
#define HALF_ULP  (ONE * 0x1p-53) /* of a number with exponent 0, times 10^9 */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define CLONES
#endif

typedef struct fold {
    int64_t sum, low, high;
    uint64_t odd; /* not 0: some value is not of this kind, and the rest means nothing */
} fold;

static inline uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

CLONES static void fold_f64(const double *values, fold *out)
{
    int64_t low = INT64_MAX, high = INT64_MIN;
    uint64_t odd = 0, sum = 0; /* of odd ones it may overflow */

    for (size_t i = 0; i < BATCH; i++) {
        double x = values[i];
        double raised = x * ONE + ROUNDER;
        double whole = raised - ROUNDER;
        int64_t fixed = (int64_t)(bits_of(raised) - bits_of(ROUNDER));
        double upper = double_of(bits_of(x) & ~UINT64_C(0x7ffffff)); /* both halves times 10^9 = 2^9 5^9 are exact */
        double rest = (upper * ONE - whole) + (x - upper) * ONE;
        double half = double_of(bits_of(x) & UINT64_C(0x7ff0000000000000)) * HALF_ULP;
        double size = fabs(x);

        odd |= !(size < QUICK_END) ? ~UINT64_C(0) : 0;
        odd |= (!(size >= QUICK_MIN) & (size != 0.0)) ? ~UINT64_C(0) : 0;
        odd |= (!(fabs(rest) < half) & (size != 0.0)) ? ~UINT64_C(0) : 0;
        sum += (uint64_t)fixed;
        low = fixed < low ? fixed : low;
        high = fixed > high ? fixed : high;
    }
    *out = (fold){(int64_t)sum, low, high, odd};
}

/* Of a batch of all kinds: fixed ones as above, wide ones from QUICK_MIN to QUICK_END in two whole numbers each, of 2^-20 and of
 * 2^-62, which is exact: none has a lower bit. Others are left to whoever goes through `kind`. */
typedef struct mixture {
    int64_t sum, low, high; /* of the fixed ones */
    int64_t coarse, fine;   /* of the wide ones  */
    double wide_low, wide_high;
    uint64_t fixed_count, wide_count;
    uint64_t other[BATCH]; /* all ones: it is of neither kind */
} mixture;

CLONES static void fold_mixture(const double *values, mixture *out)
{
    int64_t sum = 0, low = INT64_MAX, high = INT64_MIN, coarse = 0, fine = 0;
    uint64_t wide_low = bits_of(INFINITY), wide_high = 0; /* of sizes: bits order as they do */
    uint64_t minus_low = bits_of(INFINITY), minus_high = 0;
    uint64_t fixed_count = 0, wide_count = 0;

    for (size_t i = 0; i < BATCH; i++) {
        double x = values[i];
        double raised = x * ONE + ROUNDER;
        double whole = raised - ROUNDER;
        int64_t fixed = (int64_t)(bits_of(raised) - bits_of(ROUNDER));
        double upper = double_of(bits_of(x) & ~UINT64_C(0x7ffffff));
        double rest = (upper * ONE - whole) + (x - upper) * ONE;
        double half = double_of(bits_of(x) & UINT64_C(0x7ff0000000000000)) * HALF_ULP;
        double size = fabs(x);
        uint64_t is_zero = size == 0.0 ? ~UINT64_C(0) : 0;
        uint64_t is_quick = (size < QUICK_END ? ~UINT64_C(0) : 0) & (size >= QUICK_MIN ? ~UINT64_C(0) : 0);
        uint64_t is_tie = fabs(rest) == half ? ~UINT64_C(0) : 0;
        uint64_t is_fixed = (is_quick & (fabs(rest) < half ? ~UINT64_C(0) : 0)) | is_zero;
        uint64_t is_wide = is_quick & ~is_fixed & ~is_tie;
        double first = x + 0x1.8p32; /* leaves multiples of 2^-20 */
        double left = x - (first - 0x1.8p32);
        double second = left + 0x1.8p-10; /* of 2^-62 */
        uint64_t bits = bits_of(size);
        uint64_t is_minus = bits_of(x) >> 63 ? ~UINT64_C(0) : 0;
        uint64_t plus = is_wide & ~is_minus, minus = is_wide & is_minus;

        fixed = (int64_t)((uint64_t)fixed & is_fixed);
        sum += fixed;
        int64_t as_low = (int64_t)(((uint64_t)fixed & is_fixed) | ((uint64_t)INT64_MAX & ~is_fixed));
        int64_t as_high = (int64_t)(((uint64_t)fixed & is_fixed) | ((uint64_t)INT64_MIN & ~is_fixed));
        low = as_low < low ? as_low : low;
        high = as_high > high ? as_high : high;
        coarse += (int64_t)((bits_of(first) - bits_of(0x1.8p32)) & is_wide);
        fine += (int64_t)((bits_of(second) - bits_of(0x1.8p-10)) & is_wide);
        /* INFINITY's bits are above all others; sizes fit an int64, which vectors compare. */
        int64_t a = (int64_t)((bits & plus) | (bits_of(INFINITY) & ~plus)), b = (int64_t)(bits & plus);
        int64_t c = (int64_t)((bits & minus) | (bits_of(INFINITY) & ~minus)), d = (int64_t)(bits & minus);
        wide_low = a < (int64_t)wide_low ? (uint64_t)a : wide_low;
        wide_high = b > (int64_t)wide_high ? (uint64_t)b : wide_high;
        minus_low = c < (int64_t)minus_low ? (uint64_t)c : minus_low;
        minus_high = d > (int64_t)minus_high ? (uint64_t)d : minus_high;
        fixed_count += is_fixed & 1;
        wide_count += is_wide & 1;
        out->other[i] = ~(is_fixed | is_wide);
    }
    out->sum = sum;
    out->low = low;
    out->high = high;
    out->coarse = coarse;
    out->fine = fine;
    out->wide_low = minus_high != 0 ? -double_of(minus_high) : double_of(wide_low);
    out->wide_high = wide_high != 0 ? double_of(wide_high) : -double_of(minus_low);
    out->fixed_count = fixed_count;
    out->wide_count = wide_count;
}

CLONES static void fold_i64(const int64_t *values, fold *out)
{
    uint64_t sum = 0;
    int64_t low = INT64_MAX, high = INT64_MIN;

    for (size_t i = 0; i < BATCH; i++) {
        sum += (uint64_t)values[i];
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *out = (fold){(int64_t)sum, low, high, low <= -(int64_t)WIDE_FROM || high >= (int64_t)WIDE_FROM};
}

static void take_fold(cairn_cell *cell, const fold *f, int64_t unit)
{
    int64_t low = f->low * unit, high = f->high * unit;

    cell->present += BATCH;
    cell->numbers += BATCH;
    cell->sum.fixed += (cairn_i128)f->sum * unit;
    cell->low = low < cell->low ? low : cell->low;
    cell->high = high > cell->high ? high : cell->high;
}

static cairn_status add_wide(cairn_cell *cell, double wide)
{
    return wide == 0.0 ? CAIRN_OK : cairn_sum_add(&cell->sum, (cairn_number){.kind = CAIRN_NUMBER_WIDE, .wide = wide});
}

/* Both sums are of fewer than 53 bits. */
static cairn_status take_mixture(cairn_cell *cell, const mixture *m)
{
    cairn_status status = CAIRN_OK;

    cell->present += m->fixed_count + m->wide_count;
    cell->numbers += m->fixed_count + m->wide_count;
    cell->sum.fixed += m->sum;
    cell->low = m->low < cell->low ? m->low : cell->low;
    cell->high = m->high > cell->high ? m->high : cell->high;
    if (m->wide_count > 0) {
        cell->wide_low = m->wide_low < cell->wide_low ? m->wide_low : cell->wide_low;
        cell->wide_high = m->wide_high > cell->wide_high ? m->wide_high : cell->wide_high;
        /* Also a sum of wide numbers that is 0 is one of wide numbers: see sum.h. */
        status =
            cairn_sum_add(&cell->sum, (cairn_number){.kind = CAIRN_NUMBER_WIDE, .wide = 0x1p-20 * (double)m->coarse});
    }
    return status == CAIRN_OK ? add_wide(cell, 0x1p-62 * (double)m->fine) : status;
}

static void take_fixed(cairn_cell *cell, int64_t fixed)
{
    cell->present++;
    cell->numbers++;
    cairn_sum_add_fixed(&cell->sum, fixed);
    cell->low = fixed < cell->low ? fixed : cell->low;
    cell->high = fixed > cell->high ? fixed : cell->high;
}

static cairn_status take_wide(cairn_cell *cell, double wide)
{
    cell->present++;
    cell->numbers++;
    cell->wide_low = wide < cell->wide_low ? wide : cell->wide_low;
    cell->wide_high = wide > cell->wide_high ? wide : cell->wide_high;
    return cairn_sum_add(&cell->sum, (cairn_number){.kind = CAIRN_NUMBER_WIDE, .wide = wide});
}

/* By way of its text. */
static cairn_status take_text(const cairn_native *to, double x, uint64_t row)
{
    char text[CAIRN_NUMBER_TEXT + CAIRN_CSV_SLACK] = "";
    cairn_field field = {text, 0};

    cairn_double_print(x, text);
    field.bytes = strlen(text);
    return cairn_groups_add(to->groups, to->group, to->query, to->value, &field, to->block, row);
}

static cairn_status take_one(const cairn_native *to, double x, uint64_t row)
{
    cairn_cell *cell = &to->group->cell[to->value];
    double size = fabs(x);

    if (isnan(x)) {
        to->groups->missing[to->value]++;
        return CAIRN_OK;
    }
    if (size < QUICK_END) {
        double whole = (x * ONE + ROUNDER) - ROUNDER;

        if (whole / ONE != x) {
            return take_wide(cell, x);
        }
        take_fixed(cell, (int64_t)whole);
        return CAIRN_OK;
    }
    if (size < WIDE_FROM && x == nearbyint(x)) {
        take_fixed(cell, (int64_t)x * CAIRN_FIXED_ONE);
        return CAIRN_OK;
    }
    return size >= WIDE_FROM && !isinf(x) ? take_wide(cell, x) : take_text(to, x, row);
}

cairn_status cairn_native_one_f64(const cairn_native *to, const void *value, uint64_t row)
{
    double x;

    memcpy(&x, value, sizeof x);
    return take_one(to, x, row);
}

cairn_status cairn_native_one_i64(const cairn_native *to, const void *value)
{
    cairn_cell *cell = &to->group->cell[to->value];
    int64_t x;

    memcpy(&x, value, sizeof x);
    if (x <= -(int64_t)WIDE_FROM || x >= (int64_t)WIDE_FROM) {
        return take_wide(cell, (double)x);
    }
    take_fixed(cell, x * CAIRN_FIXED_ONE);
    return CAIRN_OK;
}

cairn_status cairn_native_f64(const cairn_native *to, const double *values, size_t count)
{
    cairn_cell *cell = &to->group->cell[to->value];
    cairn_status status = CAIRN_OK;
    bool mixed = false; /* the batch before was */
    mixture m;
    size_t at = 0;

    for (; count - at >= BATCH && status == CAIRN_OK; at += BATCH) {
        fold f = {.odd = 1};

        if (!mixed) {
            fold_f64(values + at, &f);
        }
        if (f.odd == 0) {
            take_fold(cell, &f, 1);
            continue;
        }
        fold_mixture(values + at, &m);
        mixed = m.fixed_count < BATCH;
        status = take_mixture(cell, &m);
        for (size_t i = 0; i < BATCH && m.fixed_count + m.wide_count < BATCH && status == CAIRN_OK; i++) {
            status = m.other[i] != 0 ? take_one(to, values[at + i], to->row + at + i) : CAIRN_OK;
        }
    }
    for (; at < count && status == CAIRN_OK; at++) {
        status = take_one(to, values[at], to->row + at);
    }
    return status;
}

cairn_status cairn_native_i64(const cairn_native *to, const int64_t *values, size_t count)
{
    cairn_cell *cell = &to->group->cell[to->value];
    cairn_status status = CAIRN_OK;
    size_t at = 0;

    while (at < count && status == CAIRN_OK) {
        size_t end = at + 1;
        fold f = {.odd = 1};

        if (count - at >= BATCH) {
            fold_i64(values + at, &f);
            end = at + BATCH;
        }
        if (f.odd == 0) {
            take_fold(cell, &f, CAIRN_FIXED_ONE);
            at = end;
        }
        for (; at < end && status == CAIRN_OK; at++) {
            status = cairn_native_one_i64(to, &values[at]);
        }
    }
    return status;
}
