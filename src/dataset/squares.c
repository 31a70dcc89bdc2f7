/* Sums of squares: see squares.h. The square of a double is two doubles, exactly: its nearest one, and what a fused
 * multiply-add says is left (Ogita, Rump, Oishi 2005, "Accurate Sum and Dot Product": TwoProduct). */
#include "dataset/squares.h"

#include "dataset/big.h"

#include <math.h>

#define ROOT_OF_LARGEST 1.3e154

static void add_fixed(cairn_squares *squares, cairn_u128 low, uint64_t high)
{
    squares->low += low;
    squares->high += high + (squares->low < low);
}

cairn_status cairn_squares_add(cairn_squares *squares, cairn_number number)
{
    if (number.kind == CAIRN_NUMBER_FIXED) {
        uint64_t size = number.fixed < 0 ? (uint64_t)0 - (uint64_t)number.fixed : (uint64_t)number.fixed;
        add_fixed(squares, (cairn_u128)size * size, 0);
        return CAIRN_OK;
    }
    if (fabs(number.wide) > ROOT_OF_LARGEST) {
        squares->beyond = true;
        return CAIRN_OK;
    }
    double square = number.wide * number.wide;
    double rest = fma(number.wide, number.wide, -square);
    cairn_status status = cairn_sum_add(&squares->wide, (cairn_number){CAIRN_NUMBER_WIDE, 0, square});
    return status != CAIRN_OK ? status : cairn_sum_add(&squares->wide, (cairn_number){CAIRN_NUMBER_WIDE, 0, rest});
}

cairn_status cairn_squares_merge(cairn_squares *squares, const cairn_squares *other)
{
    add_fixed(squares, other->low, other->high);
    squares->beyond = squares->beyond || other->beyond;
    return cairn_sum_merge(&squares->wide, &other->wide);
}

void cairn_squares_clear(cairn_squares *squares)
{
    cairn_sum_clear(&squares->wide);
    memset(squares, 0, sizeof *squares);
}

/* All in units of 2^(2 CAIRN_SUM_UNIT) * 10^-18, in which the square of a sum's magnitude is an integer. */
enum { POINT = -2 * CAIRN_SUM_UNIT / 32, DIGITS = 2 * CAIRN_SUM_DIGITS + 8 };

static void add_digits(uint32_t to[DIGITS], size_t at, const uint32_t *digit, size_t count)
{
    uint64_t over = 0;

    for (size_t i = 0; i < count || (over != 0 && at + i < DIGITS); i++) {
        over += (uint64_t)to[at + i] + (i < count ? digit[i] : 0);
        to[at + i] = (uint32_t)over;
        over >>= 32;
    }
}

static void multiply(uint32_t *digit, size_t count, uint64_t factor)
{
    cairn_u128 over = 0;

    for (size_t i = 0; i < count; i++) {
        over += (cairn_u128)digit[i] * factor;
        digit[i] = (uint32_t)over;
        over >>= 32;
    }
}

static void sum_of_squares(const cairn_squares *squares, uint32_t out[DIGITS])
{
    uint32_t digit[CAIRN_SUM_DIGITS];
    uint32_t fixed[6];
    bool negative;

    memset(out, 0, DIGITS * sizeof *out);
    cairn_sum_magnitude(&squares->wide, digit, &negative); /* in 10^-9 ... */
    multiply(digit, CAIRN_SUM_DIGITS, (uint64_t)CAIRN_FIXED_ONE);
    if (!negative) { /* squares that were cut off may leave less than nothing */
        add_digits(out, POINT / 2, digit, CAIRN_SUM_DIGITS);
    }
    for (size_t i = 0; i < 4; i++) {
        fixed[i] = (uint32_t)(squares->low >> (32 * i));
    }
    fixed[4] = (uint32_t)squares->high;
    fixed[5] = (uint32_t)(squares->high >> 32);
    add_digits(out, POINT, fixed, 6);
}

static void square_of_sum(const cairn_sum *sum, uint32_t out[DIGITS])
{
    uint32_t digit[CAIRN_SUM_DIGITS];
    bool negative;

    cairn_sum_magnitude(sum, digit, &negative);
    memset(out, 0, DIGITS * sizeof *out);
    for (size_t i = 0; i < CAIRN_SUM_DIGITS; i++) {
        uint64_t over = 0;
        for (size_t k = 0; k < CAIRN_SUM_DIGITS && digit[i] != 0; k++) {
            over += (uint64_t)digit[i] * digit[k] + out[i + k];
            out[i + k] = (uint32_t)over;
            over >>= 32;
        }
        out[i + CAIRN_SUM_DIGITS] += (uint32_t)over; /* nothing was added there yet */
    }
}

/* from -= what; false: it would be negative. */
static bool subtract(uint32_t from[DIGITS], const uint32_t what[DIGITS])
{
    int64_t borrow = 0;

    for (size_t i = 0; i < DIGITS; i++) {
        borrow += (int64_t)from[i] - what[i];
        from[i] = (uint32_t)borrow;
        borrow >>= 32; /* floor: arithmetic shift */
    }
    return borrow == 0;
}

double cairn_variance(const cairn_squares *squares, const cairn_sum *sum, uint64_t count)
{
    uint32_t digit[DIGITS], square[DIGITS];
    cairn_big number = {.digit = digit, .count = DIGITS, .unit = 2 * CAIRN_SUM_UNIT};

    if (squares->beyond) {
        return INFINITY;
    }
    sum_of_squares(squares, digit);
    multiply(digit, DIGITS, count);
    square_of_sum(sum, square);
    if (!subtract(digit, square)) {
        return 0;
    }
    cairn_big_divide(&number, count);
    cairn_big_divide(&number, count - 1);
    cairn_big_divide(&number, (uint64_t)CAIRN_FIXED_ONE);
    cairn_big_divide(&number, (uint64_t)CAIRN_FIXED_ONE);
    return cairn_big_round(&number);
}

void cairn_squares_pack(const cairn_squares *squares, cairn_pack *pack)
{
    cairn_pack_u64(pack, (uint64_t)squares->low);
    cairn_pack_u64(pack, (uint64_t)(squares->low >> 64));
    cairn_pack_u64(pack, squares->high);
    cairn_pack_u8(pack, squares->beyond);
    cairn_sum_pack(&squares->wide, pack);
}

cairn_status cairn_squares_unpack(cairn_squares *squares, cairn_unpack *unpack)
{
    memset(squares, 0, sizeof *squares);
    uint64_t low = cairn_unpack_u64(unpack), middle = cairn_unpack_u64(unpack), high = cairn_unpack_u64(unpack);
    uint8_t beyond = cairn_unpack_u8(unpack);

    if (unpack->bad || beyond > 1) {
        return CAIRN_E_CORRUPT;
    }
    cairn_status status = cairn_sum_unpack(&squares->wide, unpack);
    if (status == CAIRN_OK) {
        squares->low = (cairn_u128)middle << 64 | low;
        squares->high = high;
        squares->beyond = beyond != 0;
    }
    return status;
}
