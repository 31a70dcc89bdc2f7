/* Goal: the sketches are as near as their headers say, the same in any division, and refuse damaged bytes; variances
 * are exact.
 * Method: random values against a sorted array, a counted set and integer arithmetic. */
#include "base/checksum.h"
#include "dataset/distinct.h"
#include "dataset/quantile.h"
#include "dataset/squares.h"
#include "support/unit.h"

#include <math.h>

static uint64_t rng_state = 0x2545f4914f6cdd1du;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static uint64_t hash(uint64_t value)
{
    return cairn_digest_of(&value, sizeof value).low;
}

static void distinct_is_as_near_as_it_says(void)
{
    static const uint64_t sizes[] = {0, 1, 2, 100, 2000, 2048, 2049, 5000, 30000, 200000, 1000000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t n = sizes[i], base = rng();
        cairn_distinct set = {0};
        for (uint64_t k = 0; k < n; k++) {
            CU_ASSERT_FATAL(cairn_distinct_add(&set, hash(base + k)) == CAIRN_OK);
            CU_ASSERT_FATAL(cairn_distinct_add(&set, hash(base + k / 2)) == CAIRN_OK); /* again */
        }
        double off = fabs((double)cairn_distinct_estimate(&set) - (double)n);
        CU_ASSERT(off <= (n <= CAIRN_DISTINCT_LIST_MAX ? 2.0 : 4 * 0.0081 * (double)n)); /* four standard errors */
        if (off > 4 * 0.0081 * (double)n && off > 2) {
            fprintf(stderr, "%llu: off by %g\n", (unsigned long long)n, off);
        }
        cairn_distinct_clear(&set);
    }
}

static void distinct_is_the_same_in_any_division(void)
{
    static const uint64_t sizes[] = {50, 3000, 20000};

    for (size_t i = 0; i < 3; i++) {
        cairn_distinct whole = {0}, part[3] = {{0}, {0}, {0}}, merged = {0};
        cairn_pack a = {0}, b = {0};
        for (uint64_t k = 0; k < 2 * sizes[i]; k++) {
            uint64_t h = hash(rng() % sizes[i]);
            CU_ASSERT_FATAL(cairn_distinct_add(&whole, h) == CAIRN_OK &&
                            cairn_distinct_add(&part[rng() % 50 == 0 ? 0 : 1 + rng() % 2], h) == CAIRN_OK);
        }
        for (size_t k = 0; k < 3; k++) { /* lists into registers, and the other way round */
            cairn_pack pack = {0};
            cairn_distinct copy;
            cairn_distinct_pack(&part[(k + i) % 3], &pack);
            cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
            CU_ASSERT_FATAL(cairn_distinct_unpack(&copy, &unpack) == CAIRN_OK && cairn_unpack_left(&unpack) == 0);
            CU_ASSERT_FATAL(cairn_distinct_merge(&merged, &copy) == CAIRN_OK);
            cairn_distinct_clear(&copy);
            cairn_distinct_clear(&part[(k + i) % 3]);
            free(pack.data);
        }
        cairn_distinct_pack(&whole, &a);
        cairn_distinct_pack(&merged, &b);
        CU_ASSERT(a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0);
        free(a.data);
        free(b.data);
        cairn_distinct_clear(&whole);
        cairn_distinct_clear(&merged);
    }
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static void quantiles_are_as_near_as_they_say(void)
{
    enum { COUNT = 20000 };
    static const double shares[] = {0, 0.001, 0.25, 0.5, 0.9, 0.999, 1};
    double *values = malloc(COUNT * sizeof *values);

    for (int round = 0; round < 4; round++) {
        cairn_quantiles whole = {0}, half[2] = {{0}, {0}};
        cairn_pack a = {0}, b = {0};
        for (size_t i = 0; i < COUNT; i++) {
            double u = (double)(rng() >> 11) / 9007199254740992.0;
            values[i] = round == 0   ? (double)(rng() % 400) - 200
                        : round == 1 ? exp(40 * u - 20)
                        : round == 2 ? (u < 0.3 ? 0 : -exp(600 * u))
                                     : u * 1e-300;
            CU_ASSERT_FATAL(cairn_quantiles_add(&whole, values[i]) == CAIRN_OK &&
                            cairn_quantiles_add(&half[rng() % 2], values[i]) == CAIRN_OK);
        }
        qsort(values, COUNT, sizeof *values, by_value);
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
            size_t rank = (size_t)ceil(shares[i] * COUNT);
            double expected = values[rank == 0 ? 0 : rank - 1], got = cairn_quantiles_at(&whole, shares[i]);
            if (fabs(got - expected) > (round == 0 ? 0 : fabs(expected) / 512)) {
                fprintf(stderr, "round %d, %g: %.17g instead of %.17g\n", round, shares[i], got, expected);
                CU_FAIL("too far off");
            }
        }
        CU_ASSERT_FATAL(cairn_quantiles_merge(&half[1], &half[0]) == CAIRN_OK);
        cairn_quantiles_pack(&whole, &a);
        cairn_quantiles_pack(&half[1], &b);
        CU_ASSERT(a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0);
        cairn_unpack unpack = {.data = a.data, .bytes = a.bytes};
        cairn_quantiles_clear(&half[0]);
        CU_ASSERT_FATAL(cairn_quantiles_unpack(&half[0], &unpack) == CAIRN_OK && half[0].count == COUNT);
        free(a.data);
        free(b.data);
        cairn_quantiles_clear(&whole);
        cairn_quantiles_clear(&half[0]);
        cairn_quantiles_clear(&half[1]);
    }
    free(values);
}

/* Whole numbers, of which all sums are exact doubles: the quotient is then rounded once. */
static void variance_of_whole_numbers_is_exact(void)
{
    for (int round = 0; round < 2000; round++) {
        cairn_squares squares = {0}, other = {0};
        cairn_sum sum = {0};
        uint64_t count = 2 + rng() % 40;
        int64_t total = 0, total_squares = 0;
        for (uint64_t i = 0; i < count; i++) {
            int64_t value = (int64_t)(rng() % 2000001) - 1000000;
            cairn_number number = {CAIRN_NUMBER_FIXED, value * CAIRN_FIXED_ONE, 0};
            if (value % 2 == 0) { /* the same value, as a double */
                number = (cairn_number){CAIRN_NUMBER_WIDE, 0, (double)value};
            }
            CU_ASSERT_FATAL(cairn_sum_add(&sum, number) == CAIRN_OK &&
                            cairn_squares_add(rng() % 2 == 0 ? &squares : &other, number) == CAIRN_OK);
            total += value;
            total_squares += value * value;
        }
        CU_ASSERT_FATAL(cairn_squares_merge(&squares, &other) == CAIRN_OK);
        /* count * total_squares - total^2 < 40 * 40 * 10^12 < 2^53 */
        double above = (double)((int64_t)count * total_squares - total * total);
        CU_ASSERT(cairn_variance(&squares, &sum, count) == above / (double)(count * (count - 1)));
        cairn_pack pack = {0};
        cairn_squares_pack(&squares, &pack);
        cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
        cairn_squares_clear(&other);
        CU_ASSERT_FATAL(cairn_squares_unpack(&other, &unpack) == CAIRN_OK);
        CU_ASSERT(cairn_variance(&other, &sum, count) == cairn_variance(&squares, &sum, count));
        free(pack.data);
        cairn_squares_clear(&squares);
        cairn_squares_clear(&other);
        cairn_sum_clear(&sum);
    }
}

static double variance_of(const double *values, uint64_t count)
{
    cairn_squares squares = {0};
    cairn_sum sum = {0};

    for (uint64_t i = 0; i < count; i++) {
        cairn_number number = {CAIRN_NUMBER_WIDE, 0, values[i]};
        CU_ASSERT_FATAL(cairn_sum_add(&sum, number) == CAIRN_OK && cairn_squares_add(&squares, number) == CAIRN_OK);
    }
    double variance = cairn_variance(&squares, &sum, count);
    cairn_squares_clear(&squares);
    cairn_sum_clear(&sum);
    return variance;
}

static void variance_of_hard_cases(void)
{
    cairn_squares squares = {0};
    cairn_sum sum = {0};

    /* Where the textbook's formula in doubles loses everything. */
    CU_ASSERT(variance_of((const double[]){1e15 + 0.5, 1e15 + 1, 1e15 + 1.5}, 3) == 0.25);
    CU_ASSERT(variance_of((const double[]){0.1, 0.1, 0.1}, 3) == 0);
    CU_ASSERT(variance_of((const double[]){0x1p498, -0x1p498}, 2) == 0x1p997);
    CU_ASSERT(isinf(variance_of((const double[]){1e200, 1}, 2)));
    CU_ASSERT(variance_of((const double[]){0x1p-465, 0x3p-465}, 2) == 0x1p-929);
    /* 10^20 squares of the largest fixed numbers would not fit 128 bits: some of them. */
    for (int i = 0; i < 1000; i++) {
        cairn_number number = {CAIRN_NUMBER_FIXED, i % 2 == 0 ? CAIRN_FIXED_LIMIT - 1 : 1 - CAIRN_FIXED_LIMIT, 0};
        CU_ASSERT_FATAL(cairn_sum_add(&sum, number) == CAIRN_OK && cairn_squares_add(&squares, number) == CAIRN_OK);
    }
    double half = 9199999999.999999999;
    CU_ASSERT(fabs(cairn_variance(&squares, &sum, 1000) / (half * half * 1000 / 999) - 1) < 1e-15);
    cairn_squares_clear(&squares);
    cairn_sum_clear(&sum);
}

static void damaged_bytes_are_refused(void)
{
    cairn_pack pack = {0};
    cairn_distinct set = {0};
    cairn_quantiles quantiles = {0};
    cairn_squares squares = {0};

    for (uint64_t i = 0; i < 20; i++) {
        CU_ASSERT_FATAL(cairn_distinct_add(&set, hash(i)) == CAIRN_OK &&
                        cairn_quantiles_add(&quantiles, (double)i) == CAIRN_OK);
    }
    CU_ASSERT_FATAL(cairn_squares_add(&squares, (cairn_number){CAIRN_NUMBER_WIDE, 0, 1e100}) == CAIRN_OK);
    cairn_distinct_pack(&set, &pack);
    size_t first = pack.bytes;
    cairn_quantiles_pack(&quantiles, &pack);
    size_t second = pack.bytes;
    cairn_squares_pack(&squares, &pack);
    cairn_distinct_clear(&set);
    cairn_quantiles_clear(&quantiles);
    cairn_squares_clear(&squares);
    for (int i = 0; i < 60000; i++) {
        size_t at = rng() % pack.bytes, cut = i % 3 == 0 ? 1 + rng() % 8 : 0;
        uint8_t old = pack.data[at];
        pack.data[at] = (uint8_t)rng();
        cairn_unpack one = {.data = pack.data, .bytes = first - cut};
        cairn_unpack two = {.data = pack.data + first, .bytes = second - first - cut};
        cairn_unpack three = {.data = pack.data + second, .bytes = pack.bytes - second - cut};
        cairn_status a = cairn_distinct_unpack(&set, &one), b = cairn_quantiles_unpack(&quantiles, &two);
        cairn_status c = cairn_squares_unpack(&squares, &three);
        CU_ASSERT(cut == 0 || at >= second || c != CAIRN_OK);
        CU_ASSERT(a == CAIRN_OK || (set.list == NULL && set.registers == NULL));
        CU_ASSERT(b == CAIRN_OK || quantiles.table == NULL);
        if (a == CAIRN_OK) {
            (void)cairn_distinct_estimate(&set);
        }
        if (b == CAIRN_OK) {
            (void)cairn_quantiles_at(&quantiles, 0.5);
        }
        cairn_distinct_clear(&set);
        cairn_quantiles_clear(&quantiles);
        cairn_squares_clear(&squares);
        pack.data[at] = old;
    }
    free(pack.data);
}

UNIT_MAIN("sketch", {"distinct: as near as it says", distinct_is_as_near_as_it_says},
          {"distinct: any division", distinct_is_the_same_in_any_division},
          {"quantiles: as near as they say", quantiles_are_as_near_as_they_say},
          {"variance: whole numbers", variance_of_whole_numbers_is_exact},
          {"variance: hard cases", variance_of_hard_cases}, {"damaged bytes", damaged_bytes_are_refused})
