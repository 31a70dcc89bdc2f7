/* Goal: sums and means are exact, rounded once, and the same whatever the order and division.
 * Method: random numbers of all sizes, summed in a slow big-number sum of 2^-1074 * 10^-9 units made here from scratch
 * (long division for the rounding), against permutations, divisions and packed partial sums. */
#include "dataset/sum.h"
#include "support/unit.h"

#include <float.h>
#include <math.h>
#include <string.h>

static uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* A slow exact number: two's complement, 1 bit a byte would be slower still; bytes are slow enough. Unit 2^-1200 *
 * 10^-9. */
enum { SLOW_BYTES = 360, SLOW_POINT = 1200 };
typedef struct slow {
    uint8_t byte[SLOW_BYTES];
} slow;

static void slow_negate(slow *n)
{
    unsigned up = 1;
    for (int i = 0; i < SLOW_BYTES; i++) {
        up += (uint8_t)~n->byte[i];
        n->byte[i] = (uint8_t)up;
        up >>= 8;
    }
}

static void slow_add_bits(slow *n, cairn_u128 magnitude, unsigned place, bool negative)
{
    slow term = {{0}};
    for (unsigned i = 0; i < 128; i++) {
        if ((magnitude >> i & 1) != 0) {
            term.byte[(place + i) / 8] |= (uint8_t)(1u << (place + i) % 8);
        }
    }
    if (negative) {
        slow_negate(&term);
    }
    unsigned over = 0;
    for (int i = 0; i < SLOW_BYTES; i++) {
        over += (unsigned)n->byte[i] + term.byte[i];
        n->byte[i] = (uint8_t)over;
        over >>= 8;
    }
}

static void slow_add(slow *n, cairn_number number)
{
    if (number.kind == CAIRN_NUMBER_FIXED) {
        uint64_t magnitude = number.fixed < 0 ? (uint64_t)0 - (uint64_t)number.fixed : (uint64_t)number.fixed;
        slow_add_bits(n, magnitude, SLOW_POINT, number.fixed < 0);
    } else {
        int exponent;
        int64_t whole = (int64_t)ldexp(frexp(fabs(number.wide), &exponent), 53);
        slow_add_bits(n, (cairn_u128)whole * 1000000000u, (unsigned)(exponent - 53 + SLOW_POINT), number.wide < 0);
    }
}

/* Compare |value(n)| with (a * divisor) where a is a non-negative double, exactly: -1, 0, 1. */
static int slow_compare(slow n, double a, double add_half_of, uint64_t divisor)
{
    bool negative = (n.byte[SLOW_BYTES - 1] & 0x80) != 0;
    slow m = n;
    if (!negative) {
        slow_negate(&m); /* m = -|n|; now add a * divisor * 10^9 */
    }
    double parts[2] = {a, add_half_of};
    for (int i = 0; i < 2; i++) {
        int exponent;
        int64_t whole = (int64_t)ldexp(frexp(parts[i], &exponent), 53);
        for (int k = 0; k < 64; k++) {
            if ((divisor >> k & 1) != 0) {
                slow_add_bits(&m, (cairn_u128)whole * 1000000000u, (unsigned)(exponent - 53 + SLOW_POINT + k - i),
                              false);
            }
        }
    }
    bool less = (m.byte[SLOW_BYTES - 1] & 0x80) != 0; /* a * divisor < |n| */
    for (int i = 0; i < SLOW_BYTES; i++) {
        if (m.byte[i] != 0) {
            return less ? 1 : -1;
        }
    }
    return 0;
}

/* Is `value` the nearest double of n / divisor, ties to even? */
static bool is_nearest(slow n, double value, uint64_t divisor)
{
    bool negative = (n.byte[SLOW_BYTES - 1] & 0x80) != 0;
    double a = fabs(value);
    if (value != 0 && signbit(value) != negative) {
        return false;
    }
    double up = nextafter(a, INFINITY) - a, down = a > 0 ? a - nextafter(a, 0) : 0;
    uint64_t bits;
    memcpy(&bits, &a, 8);
    bool even = (bits & 1) == 0;
    int above = slow_compare(n, a, up, divisor); /* |n| against a + up/2 */
    if (above > 0 || (above == 0 && !even)) {
        return false;
    }
    if (a > 0) {
        int below = slow_compare(n, nextafter(a, 0), down, divisor);
        return below > 0 || (below == 0 && even);
    }
    return true;
}

static cairn_number random_number(int style)
{
    cairn_number number = {.kind = CAIRN_NUMBER_FIXED};
    if (style == 0) {
        number.fixed = (int64_t)(rng() % 2000000) * 1000000 - INT64_C(1000000000000);
    } else if (style == 1) {
        number.fixed = (int64_t)(rng() % (uint64_t)CAIRN_FIXED_LIMIT) * (rng() % 2 == 0 ? 1 : -1);
    } else {
        uint64_t bits = rng();
        if (style == 2) { /* close together, so that much cancels */
            bits = (bits & ~(UINT64_C(0x7ff) << 52)) | (UINT64_C(1023) + bits % 80) << 52;
        } else if (style == 4) { /* subnormals */
            bits = (bits & UINT64_C(1) << 63) | (bits >> 12) >> bits % 50;
        }
        memcpy(&number.wide, &bits, 8);
        number.kind = CAIRN_NUMBER_WIDE;
        if (!isfinite(number.wide) || (style == 3 && fabs(number.wide) > 1e300)) {
            number.wide = 0.1;
        }
    }
    return number;
}

static bool add_ok(cairn_sum *sum, cairn_number number)
{
    return cairn_sum_add(sum, number) == CAIRN_OK;
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void check_one(const cairn_number *numbers, size_t count, uint64_t divisor)
{
    slow exact = {{0}};
    cairn_sum whole = {0}, merged = {0}, part[5] = {{0}};

    for (size_t i = 0; i < count; i++) {
        slow_add(&exact, numbers[i]);
        CU_ASSERT_FATAL(add_ok(&whole, numbers[i]));
        CU_ASSERT_FATAL(add_ok(&part[rng() % 5], numbers[count - 1 - i]));
    }
    for (int i = 4; i >= 0; i--) { /* through bytes, as between processes */
        cairn_pack pack = {0};
        cairn_sum copy;
        cairn_sum_pack(&part[i], &pack);
        cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
        CU_ASSERT_FATAL(cairn_sum_unpack(&copy, &unpack) == CAIRN_OK && cairn_unpack_left(&unpack) == 0);
        CU_ASSERT_FATAL(cairn_sum_merge(&merged, &copy) == CAIRN_OK);
        cairn_sum_clear(&copy);
        cairn_sum_clear(&part[i]);
        free(pack.data);
    }
    double sum = cairn_sum_divide(&whole, 1), mean = cairn_sum_divide(&whole, divisor);
    CU_ASSERT(same_bits(sum, cairn_sum_divide(&merged, 1)));
    CU_ASSERT(same_bits(mean, cairn_sum_divide(&merged, divisor)));
    CU_ASSERT(is_nearest(exact, sum, 1));
    CU_ASSERT(is_nearest(exact, mean, divisor));
    cairn_pack a = {0}, b = {0};
    cairn_sum_pack(&whole, &a);
    cairn_sum_pack(&merged, &b);
    CU_ASSERT(a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0);
    free(a.data);
    free(b.data);
    cairn_sum_clear(&whole);
    cairn_sum_clear(&merged);
}

static void sum_any_order_same_bits_and_exact(void)
{
    cairn_number numbers[200];
    for (int round = 0; round < 300; round++) {
        size_t count = 1 + rng() % 60;
        int style = round % 6;
        for (size_t i = 0; i < count; i++) {
            numbers[i] = random_number(style == 5 ? (int)(rng() % 4) : style);
        }
        check_one(numbers, count, 1 + rng() % (round % 2 == 0 ? 100 : UINT64_MAX / 4));
    }
}

static void sum_known_hard_cases(void)
{
    cairn_sum sum = {0};
    cairn_number one = {CAIRN_NUMBER_WIDE, 0, 1}, large = {CAIRN_NUMBER_WIDE, 0, 1e100},
                 back = {CAIRN_NUMBER_WIDE, 0, -1e100};
    char text[CAIRN_NUMBER_TEXT];

    CU_ASSERT(add_ok(&sum, one) && add_ok(&sum, large) && add_ok(&sum, one) && add_ok(&sum, back));
    CU_ASSERT(cairn_sum_divide(&sum, 1) == 2.0);
    cairn_sum_clear(&sum);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT(add_ok(&sum, cairn_number_parse("0.1", 3)));
    }
    cairn_sum_print(&sum, text);
    CU_ASSERT_STRING_EQUAL(text, "1");
    CU_ASSERT(cairn_sum_divide(&sum, 10) == 0.1);
    cairn_number huge = {CAIRN_NUMBER_WIDE, 0, DBL_MAX};
    CU_ASSERT(add_ok(&sum, huge) && add_ok(&sum, huge));
    CU_ASSERT(isinf(cairn_sum_divide(&sum, 1)));
    cairn_sum_print(&sum, text);
    CU_ASSERT_STRING_EQUAL(text, "inf");
    CU_ASSERT(cairn_sum_divide(&sum, 2) == DBL_MAX);
    cairn_sum_clear(&sum);
}

static void number_texts(void)
{
    static const struct {
        const char *text;
        cairn_number_kind kind;
        const char *printed;
    } cases[] = {
        {"12.50", CAIRN_NUMBER_FIXED, "12.5"},
        {"-0.1", CAIRN_NUMBER_FIXED, "-0.1"},
        {"+7", CAIRN_NUMBER_FIXED, "7"},
        {"1e3", CAIRN_NUMBER_FIXED, "1000"},
        {" 5 ", CAIRN_NUMBER_FIXED, "5"},
        {"-0", CAIRN_NUMBER_FIXED, "0"},
        {".5", CAIRN_NUMBER_FIXED, "0.5"},
        {"5.", CAIRN_NUMBER_FIXED, "5"},
        {"0.000000001", CAIRN_NUMBER_FIXED, "0.000000001"},
        {"0.0000000001", CAIRN_NUMBER_WIDE, "1e-10"},
        {"9199999999", CAIRN_NUMBER_FIXED, "9199999999"},
        {"9200000000", CAIRN_NUMBER_WIDE, "9200000000"},
        {"1e300", CAIRN_NUMBER_WIDE, "1e+300"},
        {"1e400", CAIRN_NUMBER_NONE, ""},
        {"", CAIRN_NUMBER_NONE, ""},
        {"-", CAIRN_NUMBER_NONE, ""},
        {".", CAIRN_NUMBER_NONE, ""},
        {"1e", CAIRN_NUMBER_NONE, ""},
        {"1.2.3", CAIRN_NUMBER_NONE, ""},
        {"nan", CAIRN_NUMBER_NONE, ""},
        {"inf", CAIRN_NUMBER_NONE, ""},
        {"0x10", CAIRN_NUMBER_NONE, ""},
        {"12a", CAIRN_NUMBER_NONE, ""},
        {"1000000000000000000000000e-20", CAIRN_NUMBER_FIXED, "10000"},
        {"123456789.123456789", CAIRN_NUMBER_FIXED, "123456789.123456789"},
        {"0.30000000000000004", CAIRN_NUMBER_WIDE, "0.30000000000000004"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cairn_number number = cairn_number_parse(cases[i].text, strlen(cases[i].text));
        char text[CAIRN_NUMBER_TEXT] = "";
        int64_t quick;
        if (number.kind != CAIRN_NUMBER_NONE) {
            cairn_number_print(number, text);
        }
        if (number.kind != cases[i].kind || strcmp(text, cases[i].printed) != 0) {
            fprintf(stderr, "number %s: kind %d, %s\n", cases[i].text, (int)number.kind, text);
        }
        CU_ASSERT(number.kind == cases[i].kind);
        CU_ASSERT_STRING_EQUAL(text, cases[i].printed);
        if (cairn_number_quick(cases[i].text, strlen(cases[i].text), &quick)) {
            CU_ASSERT(number.kind == CAIRN_NUMBER_FIXED && number.fixed == quick);
        }
    }
}

static void number_quick_agrees_with_the_general_way(void)
{
    static const char signs[] = "0123456789012345678901234567890.-";
    size_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        char text[16];
        size_t bytes = rng() % 14;
        int64_t quick;
        for (size_t k = 0; k < bytes; k++) {
            text[k] = signs[rng() % (sizeof signs - 1)];
        }
        if (cairn_number_quick(text, bytes, &quick)) {
            cairn_number number = cairn_number_parse(text, bytes);
            taken++;
            if (number.kind != CAIRN_NUMBER_FIXED || number.fixed != quick) {
                fprintf(stderr, "%.*s\n", (int)bytes, text);
                CU_FAIL_FATAL("quick and general parse differ");
            }
        }
    }
    CU_ASSERT(taken > 20000);
}

/* All that fits one word, and what stands behind it: the same as the quick way, nothing more and nothing less. */
static void number_short_is_the_quick_way(void)
{
    static const char letters[] = "0123456789.-+e x";
    char text[24];

    for (int i = 0; i < 3000000; i++) {
        size_t bytes = rng() % 9;
        unsigned most = rng() % 8 == 0 ? 16 : rng() % 4 == 0 ? 10 : 12; /* digits, with point and sign, with the rest */
        int64_t fast = 1, quick = 2;

        for (size_t k = 0; k < sizeof text; k++) {
            text[k] = letters[rng() % (k < bytes ? most : 16)];
        }
        bool is_short = cairn_number_short(text, bytes, &fast);
        bool is_quick = cairn_number_quick(text, bytes, &quick);
        if (is_short != is_quick || (is_short && fast != quick)) {
            printf("\n%.*s\n", (int)bytes, text);
            CU_FAIL_FATAL("short");
        }
    }
}

static void number_compare_is_exact(void)
{
    cairn_number a = cairn_number_parse("0.3", 3),
                 b = {CAIRN_NUMBER_WIDE, 0, 0.3}; /* the double 0.3 is a little less than 0.3 */
    cairn_number tiny = {CAIRN_NUMBER_WIDE, 0, 5e-324}, zero = cairn_number_parse("0", 1),
                 minus = {CAIRN_NUMBER_WIDE, 0, -5e-324};
    cairn_number huge = {CAIRN_NUMBER_WIDE, 0, -1e300}, half = {CAIRN_NUMBER_WIDE, 0, 0.5};

    CU_ASSERT(cairn_number_compare(a, b) == 1 && cairn_number_compare(b, a) == -1);
    CU_ASSERT(cairn_number_compare(tiny, zero) == 1 && cairn_number_compare(minus, zero) == -1);
    CU_ASSERT(cairn_number_compare(huge, zero) == -1);
    CU_ASSERT(cairn_number_compare(half, cairn_number_parse("0.5", 3)) == 0);
}

static void sum_unpack_refuses_damage(void)
{
    cairn_sum sum = {0}, copy;
    cairn_pack pack = {0};

    CU_ASSERT(add_ok(&sum, (cairn_number){CAIRN_NUMBER_WIDE, 0, -1e20}));
    cairn_sum_pack(&sum, &pack);
    for (size_t bytes = 0; bytes < pack.bytes; bytes++) {
        cairn_unpack unpack = {.data = pack.data, .bytes = bytes};
        CU_ASSERT(cairn_sum_unpack(&copy, &unpack) == CAIRN_E_CORRUPT && copy.wide == NULL);
    }
    pack.data[16 + 1 + 5] = 1; /* a digit beyond 32 bits */
    cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
    CU_ASSERT(cairn_sum_unpack(&copy, &unpack) == CAIRN_E_CORRUPT);
    free(pack.data);
    cairn_sum_clear(&sum);
}

UNIT_MAIN("sum", {"any order and division gives the exact sum, rounded once", sum_any_order_same_bits_and_exact},
          {"cancellation, decimals, overflow", sum_known_hard_cases}, {"texts of numbers", number_texts},
          {"the quick parse agrees", number_quick_agrees_with_the_general_way},
          {"the short parse is the quick one", number_short_is_the_quick_way},
          {"comparison is exact across kinds", number_compare_is_exact},
          {"damaged bytes are refused", sum_unpack_refuses_damage})
