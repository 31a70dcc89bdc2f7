/* Division and rounding of long magnitudes: see big.h. */
#include "dataset/big.h"

#include "dataset/number.h"

#include <math.h>

void cairn_big_divide(cairn_big *number, uint64_t divisor)
{
    cairn_u128 rest = 0;

    for (size_t i = number->count; i-- > 0;) {
        rest = rest << 32 | number->digit[i];
        number->digit[i] = (uint32_t)(rest / divisor); /* rest < divisor * 2^32, so it fits */
        rest %= divisor;
    }
    number->sticky = number->sticky || rest != 0;
}

static bool bit(const cairn_big *number, int64_t index)
{
    return index >= 0 && (number->digit[index / 32] >> (index % 32) & 1) != 0;
}

static bool any_below(const cairn_big *number, int64_t index)
{
    if (number->sticky) {
        return true;
    }
    for (int64_t i = 0; i < index; i++) {
        if (i % 32 == 0 && i + 32 <= index) {
            if (number->digit[i / 32] != 0) {
                return true;
            }
            i += 31;
        } else if (bit(number, i)) {
            return true;
        }
    }
    return false;
}

double cairn_big_round(const cairn_big *number)
{
    int64_t top = (int64_t)number->count * 32 - 1;

    while (top >= 0 && number->digit[top / 32] == 0) {
        top -= 32; /* top + 1 stays a multiple of 32 */
    }
    while (top >= 0 && !bit(number, top)) {
        top--;
    }
    if (top < 0) {
        return 0;
    }
    int64_t low = top - 52; /* lowest bit that is kept */
    if (low + number->unit < -1074) {
        low = -1074 - number->unit;
    }
    uint64_t kept = 0;
    for (int64_t i = top; i >= low; i--) {
        kept = kept << 1 | bit(number, i);
    }
    if (bit(number, low - 1) && (any_below(number, low - 1) || (kept & 1) != 0)) {
        kept++;
    }
    double value = ldexp((double)kept, (int)(low + number->unit));
    return number->negative ? -value : value;
}
