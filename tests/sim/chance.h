/* Random numbers of the simulators (splitmix64): all that a run draws comes from one of these, begun by the seed. */
#ifndef CAIRN_TESTS_SIM_CHANCE_H
#define CAIRN_TESTS_SIM_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t chance;

static inline chance chance_begin(uint64_t seed)
{
    return seed * 0xd1342543de82ef95U + 1;
}

static inline uint64_t chance_draw(chance *c)
{
    uint64_t z = (*c += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* Of 0 .. bound - 1. */
static inline uint64_t chance_below(chance *c, uint64_t bound)
{
    return chance_draw(c) % bound;
}

/* Of low .. high. */
static inline uint64_t chance_between(chance *c, uint64_t low, uint64_t high)
{
    return low + chance_below(c, high - low + 1);
}

static inline bool chance_one_in(chance *c, uint64_t n)
{
    return n != 0 && chance_below(c, n) == 0;
}

/* Between low and high, every power of two about as likely. */
static inline uint64_t chance_scale(chance *c, uint64_t low, uint64_t high)
{
    uint64_t value = low;

    while (value < high && !chance_one_in(c, 5)) {
        value *= 2;
    }
    return value + chance_below(c, value + 1);
}

#endif
