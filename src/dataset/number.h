/* Numbers as they stand in text, exactly.
 *
 * A number is one of two kinds:
 *   fixed  |value| < 9.2e9, at most 9 digits behind the point and at most 18 significant digits: an int64 of
 *   billionths. Exact.
 *   wide   everything else that strtod reads (larger, finer): the nearest double.
 * The kind depends on the value alone, not on how it is written: 1e3, 1000 and 1000.000 are the same fixed number.
 * Accepted: [+-] digits [. digits] [e [+-] digits], with blanks around; at least one digit. Not numbers: hexadecimal,
 * inf, nan, and what overflows a double. */
#ifndef CAIRN_DATASET_NUMBER_H
#define CAIRN_DATASET_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CAIRN_FIXED_ONE   INT64_C(1000000000)
#define CAIRN_FIXED_LIMIT INT64_C(9200000000000000000) /* fixed numbers are smaller than this */
#define CAIRN_NUMBER_TEXT 48

__extension__ typedef __int128 cairn_i128;
__extension__ typedef unsigned __int128 cairn_u128;

typedef enum cairn_number_kind { CAIRN_NUMBER_NONE, CAIRN_NUMBER_FIXED, CAIRN_NUMBER_WIDE } cairn_number_kind;

typedef struct cairn_number {
    cairn_number_kind kind;
    int64_t fixed; /* billionths */
    double wide;
} cairn_number;

/* The general way. kind NONE: not a number (also when empty). */
cairn_number cairn_number_parse(const char *text, size_t bytes);

/* -1, 0, 1 by exact value. Neither may be NONE. */
int cairn_number_compare(cairn_number a, cairn_number b);

/* The nearest double of a fixed number of billionths. */
double cairn_fixed_to_double(cairn_i128 fixed);

/* Shortest text that reads back as the same double; "1e+20" style only outside 1e-5..1e15. */
void cairn_double_print(double value, char text[CAIRN_NUMBER_TEXT]);
/* -12; returns its length. */
size_t cairn_whole_print(int64_t value, char text[CAIRN_NUMBER_TEXT]);
/* Exact: -12.5, no trailing zeros. */
void cairn_fixed_print(cairn_i128 fixed, char text[CAIRN_NUMBER_TEXT]);
void cairn_number_print(cairn_number number, char text[CAIRN_NUMBER_TEXT]);

/* The quickest way, for up to 8 bytes, all at once in one word: [-] digits [. digits]. text has 8 readable bytes. false: ask
 * the next way. No branch depends on how long the number is. */
static inline bool cairn_number_short(const char *text, size_t bytes, int64_t *fixed)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    static const int64_t power[10] = {1000000000, 100000000, 10000000, 1000000, 100000, 10000, 1000, 100, 10, 1};
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x, other, behind, digits;

    if (bytes - 1 > 7) {
        return false;
    }
    memcpy(&x, text, 8);
    unsigned negative = (x & 0xff) == '-';
    unsigned length = (unsigned)bytes - negative;
    if (length == 0) {
        return false;
    }
    x >>= 8 * negative;
    x <<= 64 - 8 * length;                      /* the last byte is the highest */
    x |= (ones * '0') >> 8 * (length - 1) >> 8; /* zeros come before the first */
    x ^= ones * '0';
    other = (x | (x + ones * 0x76)) & (ones << 7); /* the highest bits of what is not 0 to 9 */
    unsigned dotted = other != 0;
    unsigned at = (unsigned)__builtin_ctzll(other | UINT64_C(1) << 63) >> 3;
    unsigned places = 7 - at;
    unsigned count = length - dotted;
    if ((other & (other - 1)) != 0 || (dotted != 0 && (x >> 8 * at & 0xff) != ('.' ^ '0')) || places == count ||
        (dotted != 0 && places == 0)) {
        return false; /* something else than one dot, with a digit before it and one behind */
    }
    behind = 0 - (other << 1) - (dotted == 0);  /* the bytes behind the dot */
    digits = (x & behind) | (x << 8 & ~behind); /* what is before it moves up by one byte, over it */
    digits = digits * 2561 >> 8;
    digits = (digits & UINT64_C(0x00ff00ff00ff00ff)) * 6553601 >> 16;
    digits = (digits & UINT64_C(0x0000ffff0000ffff)) * UINT64_C(42949672960001) >> 32;
    int64_t value = (int64_t)digits * power[places];
    *fixed = (value ^ -(int64_t)negative) + negative;
    return true;
#else
    (void)text;
    (void)bytes;
    (void)fixed;
    return false;
#endif
}

/* The quick way for what most files hold: [-] up to 9 digits [. up to 9 digits] and nothing else. false: take the
 * general way. */
static inline bool cairn_number_quick(const char *text, size_t bytes, int64_t *fixed)
{
    static const int64_t power[10] = {1000000000, 100000000, 10000000, 1000000, 100000, 10000, 1000, 100, 10, 1};
    const char *at = text, *end = text + bytes;
    uint64_t whole = 0, part = 0;
    bool negative = at != end && *at == '-';

    at += negative;
    if (end - at > 19 || at == end) {
        return false;
    }
    const char *start = at;
    unsigned digit;
    while (at != end && (digit = (unsigned)(unsigned char)*at - '0') <= 9) {
        whole = whole * 10 + digit;
        at++;
    }
    size_t digits = (size_t)(at - start);
    if (digits == 0 || digits > 9) {
        return false;
    }
    size_t places = 0;
    if (at != end) {
        if (*at != '.') {
            return false;
        }
        start = ++at;
        while (at != end && (digit = (unsigned)(unsigned char)*at - '0') <= 9) {
            part = part * 10 + digit;
            at++;
        }
        places = (size_t)(at - start);
        if (at != end || places == 0 || places > 9) {
            return false;
        }
    }
    int64_t value = (int64_t)whole * CAIRN_FIXED_ONE + (int64_t)part * power[places];
    *fixed = negative ? -value : value;
    return true;
}

#endif
