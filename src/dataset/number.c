/* Numbers as text: see number.h for what is exact. */
#include "dataset/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was read of a number: digits * 10^exponent. */
typedef struct decimal {
    uint64_t digits; /* at most 18 significant ones, when !too_long */
    int64_t exponent;
    bool negative, too_long;
} decimal;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One digit of the mantissa. */
static void take_digit(decimal *number, char c, bool behind_point)
{
    if (number->digits >= UINT64_C(100000000000000000)) { /* 18 digits are there */
        if (c != '0') {
            number->too_long = true;
        }
        number->exponent += behind_point ? 0 : 1;
        return;
    }
    number->digits = number->digits * 10 + (uint64_t)(c - '0');
    number->exponent -= behind_point ? 1 : 0;
}

/* false: not of the form [+-] digits [. digits] [e [+-] digits]. */
static bool read_decimal(const char *at, const char *end, decimal *number)
{
    bool any = false;
    int64_t exponent = 0;

    memset(number, 0, sizeof *number);
    if (at != end && (*at == '-' || *at == '+')) {
        number->negative = *at++ == '-';
    }
    for (; at != end && is_digit(*at); at++) {
        any = true;
        take_digit(number, *at, false);
    }
    if (at != end && *at == '.') {
        for (at++; at != end && is_digit(*at); at++) {
            any = true;
            take_digit(number, *at, true);
        }
    }
    if (!any) {
        return false;
    }
    if (at != end && (*at == 'e' || *at == 'E')) {
        bool minus = false;
        at++;
        if (at != end && (*at == '-' || *at == '+')) {
            minus = *at++ == '-';
        }
        if (at == end) {
            return false;
        }
        for (; at != end && is_digit(*at); at++) {
            exponent = exponent > 100000 ? exponent : exponent * 10 + (*at - '0');
        }
        number->exponent += minus ? -exponent : exponent;
    }
    return at == end;
}

/* false: does not fit a fixed number. */
static bool to_fixed(const decimal *number, int64_t *fixed)
{
    uint64_t digits = number->digits;
    int64_t exponent = number->exponent;

    if (number->too_long) {
        return false;
    }
    if (digits == 0) {
        *fixed = 0;
        return true;
    }
    while (digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    if (exponent < -9 || exponent > 9) {
        return false;
    }
    for (exponent += 9; exponent > 0; exponent--) {
        if (digits >= (uint64_t)CAIRN_FIXED_LIMIT / 10) {
            return false;
        }
        digits *= 10;
    }
    if (digits >= (uint64_t)CAIRN_FIXED_LIMIT) {
        return false;
    }
    *fixed = number->negative ? -(int64_t)digits : (int64_t)digits;
    return true;
}

/* strtod without the locale of the caller: the point is made what the locale wants. */
static bool to_wide(const char *text, size_t bytes, double *wide)
{
    char small[128], *copy = bytes < sizeof small ? small : malloc(bytes + 1), *stop = NULL;

    if (copy == NULL) {
        return false;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    char *point = strchr(copy, '.');
    if (point != NULL) {
        *point = localeconv()->decimal_point[0];
    }
    *wide = strtod(copy, &stop);
    bool whole = stop == copy + bytes;
    if (copy != small) {
        free(copy);
    }
    return whole && isfinite(*wide);
}

cairn_number cairn_number_parse(const char *text, size_t bytes)
{
    cairn_number number = {.kind = CAIRN_NUMBER_NONE};
    decimal parts;

    while (bytes > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        bytes--;
    }
    while (bytes > 0 && (text[bytes - 1] == ' ' || text[bytes - 1] == '\t')) {
        bytes--;
    }
    if (bytes == 0 || !read_decimal(text, text + bytes, &parts)) {
        return number;
    }
    if (to_fixed(&parts, &number.fixed)) {
        number.kind = CAIRN_NUMBER_FIXED;
    } else if (to_wide(text, bytes, &number.wide)) {
        number.kind = CAIRN_NUMBER_WIDE;
    }
    return number;
}

/* Compare a finite double with billionths, exactly. */
static int compare_wide_fixed(double wide, int64_t fixed)
{
    int exponent;

    if (fabs(wide) >= 17179869184.0) { /* 2^34, more than any fixed number */
        return wide < 0 ? -1 : 1;
    }
    double mantissa = frexp(wide, &exponent);
    cairn_i128 scaled = (cairn_i128)(int64_t)ldexp(mantissa, 53) * CAIRN_FIXED_ONE; /* < 2^83 */
    exponent -= 53;
    if (exponent >= 0) { /* cannot be: |wide| < 2^34 */
        return wide < 0 ? -1 : 1;
    }
    unsigned shift = -exponent > 120 ? 120 : (unsigned)-exponent;
    cairn_i128 floor = scaled >> shift;
    if (floor != fixed) {
        return floor < fixed ? -1 : 1;
    }
    return scaled - floor * ((cairn_i128)1 << shift) != 0 ? 1 : 0;
}

int cairn_number_compare(cairn_number a, cairn_number b)
{
    if (a.kind == CAIRN_NUMBER_FIXED) {
        return b.kind == CAIRN_NUMBER_FIXED ? (a.fixed > b.fixed) - (a.fixed < b.fixed)
                                            : -compare_wide_fixed(b.wide, a.fixed);
    }
    return b.kind == CAIRN_NUMBER_FIXED ? compare_wide_fixed(a.wide, b.fixed) : (a.wide > b.wide) - (a.wide < b.wide);
}

size_t cairn_whole_print(int64_t value, char text[CAIRN_NUMBER_TEXT])
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[24];
    size_t count = 0, used = 0;

    do {
        digits[count++] = (char)('0' + size % 10);
        size /= 10;
    } while (size > 0);
    if (value < 0) {
        text[used++] = '-';
    }
    while (count > 0) {
        text[used++] = digits[--count];
    }
    text[used] = '\0';
    return used;
}

/* The quick way for numbers of at most 9 digits behind the point and 15 in all: their billionths say all of them (native.h). */
static bool print_quickly(double value, char text[CAIRN_NUMBER_TEXT])
{
    double whole = (value * 1e9 + 0x1.8p52) - 0x1.8p52; /* rounded, without a call */
    size_t used;
    int places = 9;

    if (!(fabs(value) < 1e6 && fabs(value) >= 1e-5) || whole / 1e9 != value) {
        return false;
    }
    int64_t billionths = (int64_t)fabs(whole);
    int64_t part = billionths % 1000000000;
    text[0] = '-';
    used = value < 0;
    used += cairn_whole_print(billionths / 1000000000, text + used);
    for (; places > 0 && part % 10 == 0; places--) {
        part /= 10;
    }
    if (places > 0) {
        text[used++] = '.';
        for (int i = places - 1; i >= 0; i--, part /= 10) {
            text[used + (size_t)i] = (char)('0' + part % 10);
        }
        used += (size_t)places;
    }
    text[used] = '\0';
    return true;
}

void cairn_double_print(double value, char text[CAIRN_NUMBER_TEXT])
{
    char exact[CAIRN_NUMBER_TEXT];
    int precision;

    if (print_quickly(value, text)) {
        return;
    }

    if (value == 0) { /* also -0 */
        memcpy(text, "0", 2);
        return;
    }
    if (!isfinite(value)) { /* a sum beyond every double */
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    /* What 15 digits say they say shortest without the zeros at their end; of a subnormal number that is not so. */
    (void)snprintf(exact, sizeof exact, "%.*e", DBL_DIG - 1, value);
    if (strtod(exact, NULL) == value && fabs(value) >= DBL_MIN) {
        const char *digits = exact + (value < 0);

        for (precision = DBL_DIG; precision > 1 && digits[precision] == '0'; precision--) {
        }
    } else {
        for (precision = fabs(value) >= DBL_MIN ? DBL_DIG + 1 : 1; precision < 17; precision++) {
            (void)snprintf(exact, sizeof exact, "%.*e", precision - 1, value);
            if (strtod(exact, NULL) == value) {
                break;
            }
        }
    }
    (void)snprintf(exact, sizeof exact, "%.*e", precision - 1, value);
    int exponent = atoi(strchr(exact, 'e') + 1);
    if (exponent < -5 || exponent >= 15) {
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%s", exact);
    } else {
        int places = precision - 1 - exponent;
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%.*f", places > 0 ? places : 0, value);
    }
}

void cairn_fixed_print(cairn_i128 fixed, char text[CAIRN_NUMBER_TEXT])
{
    char digits[CAIRN_NUMBER_TEXT];
    size_t count = 0, length = 0;
    cairn_u128 rest = fixed < 0 ? -(cairn_u128)fixed : (cairn_u128)fixed;

    for (; rest != 0 || count < 10; rest /= 10) {
        digits[count++] = (char)('0' + (int)(rest % 10));
    }
    size_t places = 9;
    while (places > 0 && digits[9 - places] == '0') {
        places--;
    }
    if (fixed < 0) {
        text[length++] = '-';
    }
    while (count > 9) {
        text[length++] = digits[--count];
    }
    if (places > 0) {
        text[length++] = '.';
        for (size_t i = 0; i < places; i++) {
            text[length++] = digits[8 - i];
        }
    }
    text[length] = '\0';
}

void cairn_number_print(cairn_number number, char text[CAIRN_NUMBER_TEXT])
{
    if (number.kind == CAIRN_NUMBER_FIXED) {
        cairn_fixed_print(number.fixed, text);
    } else {
        cairn_double_print(number.wide, text);
    }
}
