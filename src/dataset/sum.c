/* Exact sums: see sum.h for the claim.
 *
 * Invariant of a wide sum: value = sum of digit[i] * 2^(32 i - 1152), |digit[i]| < 2^62. Carried form: every digit
 * but the last is in 0..2^32-1 (so the last one holds the sign); it is unique, and is what is packed. */
#include "dataset/sum.h"

#include "dataset/big.h"

#include <math.h>

enum { BIAS = 1152, PENDING_MAX = 1 << 28 };

static void carry(cairn_wide_sum *wide)
{
    for (size_t i = 0; i + 1 < CAIRN_WIDE_DIGITS; i++) {
        int64_t over = wide->digit[i] >> 32; /* floor: arithmetic shift */
        wide->digit[i] -= over * (INT64_C(1) << 32);
        wide->digit[i + 1] += over;
    }
    wide->pending = 0;
}

static void add_double(cairn_wide_sum *wide, double value)
{
    int exponent;
    double mantissa = frexp(value, &exponent);
    int64_t whole = (int64_t)ldexp(mantissa, 53);
    bool negative = whole < 0;
    unsigned place = (unsigned)(exponent - 53 + BIAS); /* of its lowest bit; frexp gives exponents from -1073 */
    cairn_u128 bits = (cairn_u128)(uint64_t)(negative ? -whole : whole) << (place % 32);

    for (size_t i = place / 32; bits != 0; i++, bits >>= 32) {
        int64_t part = (int64_t)(uint32_t)bits;
        wide->digit[i] += negative ? -part : part;
    }
    if (++wide->pending >= PENDING_MAX) {
        carry(wide);
    }
}

static cairn_status need_wide(cairn_sum *sum)
{
    if (sum->wide == NULL) {
        sum->wide = calloc(1, sizeof *sum->wide);
    }
    return sum->wide == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
}

cairn_status cairn_sum_add(cairn_sum *sum, cairn_number number)
{
    if (number.kind == CAIRN_NUMBER_FIXED) {
        sum->fixed += number.fixed;
        return CAIRN_OK;
    }
    cairn_status status = need_wide(sum);
    if (status == CAIRN_OK) {
        add_double(sum->wide, number.wide);
    }
    return status;
}

cairn_status cairn_sum_merge(cairn_sum *sum, const cairn_sum *other)
{
    sum->fixed += other->fixed;
    if (other->wide == NULL) {
        return CAIRN_OK;
    }
    cairn_status status = need_wide(sum);
    if (status == CAIRN_OK) {
        cairn_wide_sum copy = *other->wide;
        carry(&copy);
        carry(sum->wide);
        for (size_t i = 0; i < CAIRN_WIDE_DIGITS; i++) {
            sum->wide->digit[i] += copy.digit[i];
        }
        carry(sum->wide);
    }
    return status;
}

void cairn_sum_clear(cairn_sum *sum)
{
    free(sum->wide);
    sum->wide = NULL;
    sum->fixed = 0;
}

enum { GUARD = 4 };

void cairn_sum_magnitude(const cairn_sum *sum, uint32_t digit[CAIRN_SUM_DIGITS], bool *negative)
{
    cairn_i128 digits[CAIRN_SUM_DIGITS] = {0}, over = 0;

    if (sum->wide != NULL) {
        for (size_t i = 0; i < CAIRN_WIDE_DIGITS; i++) {
            digits[GUARD + i] = (cairn_i128)sum->wide->digit[i] * CAIRN_FIXED_ONE;
        }
    }
    cairn_i128 rest = sum->fixed;
    for (size_t i = 0; i < 4; i++) {
        digits[GUARD + BIAS / 32 + i] += i < 3 ? (cairn_i128)(uint32_t)rest : rest;
        rest >>= 32;
    }
    for (size_t i = 0; i < CAIRN_SUM_DIGITS; i++) {
        over += digits[i];
        digit[i] = (uint32_t)over;
        over >>= 32;
    }
    *negative = over < 0;
    if (*negative) { /* two's complement to magnitude */
        uint64_t up = 1;
        for (size_t i = 0; i < CAIRN_SUM_DIGITS; i++) {
            up += (uint32_t)~digit[i];
            digit[i] = (uint32_t)up;
            up >>= 32;
        }
    }
}

double cairn_sum_divide(const cairn_sum *sum, uint64_t divisor)
{
    uint32_t digit[CAIRN_SUM_DIGITS];
    cairn_big number = {.digit = digit, .count = CAIRN_SUM_DIGITS, .unit = CAIRN_SUM_UNIT};

    cairn_sum_magnitude(sum, digit, &number.negative);
    cairn_big_divide(&number, (uint64_t)CAIRN_FIXED_ONE);
    cairn_big_divide(&number, divisor);
    return cairn_big_round(&number);
}

double cairn_fixed_to_double(cairn_i128 fixed)
{
    cairn_sum sum = {.fixed = fixed};
    return cairn_sum_divide(&sum, 1);
}

void cairn_sum_print(const cairn_sum *sum, char text[CAIRN_NUMBER_TEXT])
{
    if (sum->wide == NULL) {
        cairn_fixed_print(sum->fixed, text);
    } else {
        cairn_double_print(cairn_sum_divide(sum, 1), text);
    }
}

void cairn_sum_pack(const cairn_sum *sum, cairn_pack *pack)
{
    cairn_pack_u64(pack, (uint64_t)sum->fixed);
    cairn_pack_u64(pack, (uint64_t)(sum->fixed >> 64));
    cairn_pack_u8(pack, sum->wide != NULL);
    if (sum->wide != NULL) {
        cairn_wide_sum copy = *sum->wide;
        carry(&copy);
        for (size_t i = 0; i < CAIRN_WIDE_DIGITS; i++) {
            cairn_pack_u64(pack, (uint64_t)copy.digit[i]);
        }
    }
}

cairn_status cairn_sum_unpack(cairn_sum *sum, cairn_unpack *unpack)
{
    uint64_t low = cairn_unpack_u64(unpack), high = cairn_unpack_u64(unpack);
    uint8_t has_wide = cairn_unpack_u8(unpack);

    sum->fixed = 0;
    sum->wide = NULL;
    if (unpack->bad || has_wide > 1) {
        return CAIRN_E_CORRUPT;
    }
    sum->fixed = (cairn_i128)((cairn_u128)high << 64 | low);
    if (has_wide == 0) {
        return CAIRN_OK;
    }
    if (need_wide(sum) != CAIRN_OK) {
        cairn_sum_clear(sum);
        return CAIRN_E_NOMEM;
    }
    bool fits = true;
    for (size_t i = 0; i < CAIRN_WIDE_DIGITS; i++) {
        int64_t digit = (int64_t)cairn_unpack_u64(unpack);
        bool last = i + 1 == CAIRN_WIDE_DIGITS;
        fits = fits && (last ? digit > -(INT64_C(1) << 40) && digit < INT64_C(1) << 40
                             : digit >= 0 && digit <= (int64_t)UINT32_MAX);
        sum->wide->digit[i] = digit;
    }
    if (unpack->bad || !fits) {
        cairn_sum_clear(sum);
        return CAIRN_E_CORRUPT;
    }
    return CAIRN_OK;
}
