/* What the simulators that draw all from a seed have in common: their command line, the loop over seeds, the replay of one of
 * them, and what is printed. See seeds.c for the options. */
#ifndef CAIRN_TESTS_SIM_SEEDS_H
#define CAIRN_TESTS_SIM_SEEDS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What became of one seed. */
typedef struct seeds_outcome {
    const char *broken; /* the property that does not hold; NULL: all do */
    char world[96];     /* in a few words, when it is broken */
    char detail[2000];
    uint64_t digest; /* of everything that happened */
} seeds_outcome;

/* A simulator. Its totals are a struct of numbers, those of one seed or of many. */
typedef struct seeds_kind {
    const char *name;             /* of its program */
    const char *help;             /* lines about its own options; "" if it has none */
    const struct option *options; /* its own, up to one without a name; their letters are not upper case. May be NULL */
    size_t totals_bytes;

    /* One of its own options. NULL, or what is wrong with the value. May be NULL without options. */
    const char *(*take)(int letter, const char *value);

    /* Run a seed. *totals is all 0, *outcome too. Everything that happens goes to trace, if it is not NULL. */
    void (*run)(uint64_t seed, FILE *trace, void *totals, seeds_outcome *outcome);

    void (*add)(void *sum, const void *one);
    void (*print)(const void *sum);

    /* Something that is to hold over all seeds: as of `broken` and `detail` of *outcome. May be NULL. */
    void (*judge)(const void *sum, uint64_t seeds, seeds_outcome *outcome);
} seeds_kind;

/* A whole number; without one the program ends with 2. */
uint64_t seeds_number(const char *text);

/* The whole program; returns its exit status. */
int seeds_main(const seeds_kind *kind, int argc, char **argv);

#endif
