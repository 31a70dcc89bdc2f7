/* Goal: numbers that are folded as they lie in memory give what their text gives, to the last bit, whatever they are and in whatever
 * mixture; what a number prints as, in the quick way, is what it prints as in the general one.
 * Method: each array goes both ways, and the two tables are compared as the bytes that they pack to. */
#include "dataset/native.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST ((size_t)5000)

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static double values[MOST];
static int64_t wholes[MOST];
static const cairn_query query = {.value_count = 1, .numeric = {true}};

typedef struct table {
    cairn_groups groups;
    cairn_native to;
} table;

static void begin(table *t)
{
    static const char nothing[CAIRN_CSV_SLACK];

    CU_ASSERT_FATAL(cairn_groups_init(&t->groups, cairn_query_shape(&query)) == CAIRN_OK);
    t->to = (cairn_native){.groups = &t->groups,
                           .group = cairn_groups_find(&t->groups, nothing, 0),
                           .query = &query,
                           .block = 3,
                           .row = 10};
    CU_ASSERT_FATAL(t->to.group != NULL);
}

static void take_text(table *t, const char *text, uint64_t row)
{
    char slack[CAIRN_NUMBER_TEXT + CAIRN_CSV_SLACK] = "";
    cairn_field field = {slack, strlen(text)};

    memcpy(slack, text, field.bytes);
    CU_ASSERT(cairn_groups_add(&t->groups, t->to.group, &query, 0, &field, 3, row) == CAIRN_OK);
}

static bool same(const table *a, const table *b)
{
    cairn_pack one = {0}, two = {0};
    bool equal;

    cairn_groups_pack(&a->groups, &one);
    cairn_groups_pack(&b->groups, &two);
    equal = one.bytes == two.bytes && memcmp(one.data, two.data, one.bytes) == 0;
    free(one.data);
    free(two.data);
    return equal;
}

static void compare_doubles(size_t count, const char *what)
{
    table native, text;

    begin(&native);
    begin(&text);
    CU_ASSERT(cairn_native_f64(&native.to, values, count) == CAIRN_OK);
    for (size_t i = 0; i < count; i++) {
        char printed[CAIRN_NUMBER_TEXT];

        if (isnan(values[i])) {
            text.groups.missing[0]++;
            continue;
        }
        cairn_double_print(values[i], printed);
        take_text(&text, printed, 10 + i);
    }
    if (!same(&native, &text)) {
        printf("another sum of %zu values: %s\n", count, what);
        CU_FAIL("native");
    }
    cairn_groups_free(&native.groups);
    cairn_groups_free(&text.groups);
}

static double of_kind(unsigned kind)
{
    uint64_t bits = rng();
    double any;

    memcpy(&any, &bits, sizeof any);
    switch (kind) {
    case 0: /* measurements */
        return (double)((int64_t)(rng() % 2000001) - 1000000) / 10.0;
    case 1: /* all digits of a fixed number */
        return (double)((int64_t)(rng() % 2000000000000000u) - 1000000000000000) / 1e9;
    case 2:
        return (double)(rng() >> 11) * 0x1p-53;
    case 3:
        return ((double)(rng() >> 11) * 0x1p-53 - 0.5) * 1e6;
    case 4: /* large whole numbers */
        return (double)((int64_t)(rng() % 40000000000u) - 20000000000);
    case 5: /* large, with a fraction */
        return (double)(int64_t)(rng() >> 20) / 256.0 - 1e9;
    case 6: /* small */
        return (double)(rng() % 4000) / 1e9;
    case 7:
        return isfinite(any) ? any : 0.0;
    case 8:
        return 0.0;
    case 9:
        return -0.0;
    case 10:
        return NAN;
    default: /* neighbours of fixed numbers, which are wide */
        any = (double)((int64_t)(rng() % 2000001) - 1000000) / 100.0;
        return nextafter(any, rng() % 2 == 0 ? INFINITY : -INFINITY);
    }
}

enum { KINDS = 12 };

static void doubles_of_one_kind(void)
{
    static const size_t counts[] = {0, 1, 1023, 1024, 1025, 4096, 5000};

    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            char what[40];

            for (size_t i = 0; i < counts[c]; i++) {
                values[i] = of_kind(kind);
            }
            (void)snprintf(what, sizeof what, "kind %u", kind);
            compare_doubles(counts[c], what);
        }
    }
}

static void mixtures(void)
{
    for (unsigned round = 0; round < 100; round++) {
        unsigned usual = (unsigned)(rng() % KINDS), seldom = 1 + (unsigned)(rng() % 3000);

        for (size_t i = 0; i < MOST; i++) {
            values[i] = of_kind(rng() % seldom == 0 ? (unsigned)(rng() % KINDS) : usual);
        }
        compare_doubles(MOST, "a mixture");
    }
}

static void the_edges(void)
{
    static const double edges[] = {1e6,          -1e6,    999999.999999999,
                                   0x1p-10,      0x1p-11, 1e-5,
                                   9.9e-6,       1e-9,    5e-10,
                                   0.5e-9,       9.2e9,   9199999999.0,
                                   9200000001.0, 0.1,     0.30000000000000004,
                                   123456.789,   1e15,    1e300,
                                   5e-324};

    for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++) {
        double at = edges[e];

        for (size_t i = 0; i < 2048; i++) {
            values[i] = i % 2 == 0 ? at : -at;
            at = i % 3 == 0 ? nextafter(at, 0.0) : i % 3 == 1 ? nextafter(at, INFINITY) : edges[e];
        }
        compare_doubles(2048, "an edge");
    }
}

static void infinities_are_noted(void)
{
    table native;

    begin(&native);
    for (size_t i = 0; i < 1024; i++) {
        values[i] = i == 700 ? INFINITY : 1.5;
    }
    CU_ASSERT(cairn_native_f64(&native.to, values, 1024) == CAIRN_OK);
    CU_ASSERT(native.groups.bad[0].count == 1);
    CU_ASSERT(native.groups.bad[0].row == 710);
    CU_ASSERT(native.to.group->cell[0].numbers == 1023);
    cairn_groups_free(&native.groups);
}

static void whole_numbers(void)
{
    static const int64_t most[] = {100, INT64_C(9199999999), INT64_C(9200000000), INT64_C(20000000000), INT64_MAX};

    for (size_t m = 0; m < sizeof most / sizeof most[0]; m++) {
        table native, text;

        begin(&native);
        begin(&text);
        for (size_t i = 0; i < MOST; i++) {
            char printed[CAIRN_NUMBER_TEXT], again[40];

            wholes[i] = (int64_t)(rng() >> 1) % most[m] * (rng() % 2 == 0 ? 1 : -1);
            wholes[i] = i % 1000 == 999 ? (i % 2000 == 999 ? most[m] : INT64_MIN) : wholes[i];
            CU_ASSERT(cairn_whole_print(wholes[i], printed) == strlen(printed));
            (void)snprintf(again, sizeof again, "%lld", (long long)wholes[i]);
            CU_ASSERT(strcmp(printed, again) == 0);
            take_text(&text, printed, i);
        }
        CU_ASSERT(cairn_native_i64(&native.to, wholes, MOST) == CAIRN_OK);
        CU_ASSERT(same(&native, &text));
        cairn_groups_free(&native.groups);
        cairn_groups_free(&text.groups);
    }
}

/* The shortest text of a double that has a short one: that of its digits. */
static void prints_as_written(void)
{
    for (unsigned round = 0; round < 200000; round++) {
        int places = (int)(rng() % 10);
        int64_t number = (int64_t)(rng() % (places == 0 ? 1000000u : 100000000000u));
        char written[60], printed[CAIRN_NUMBER_TEXT];
        double value = (double)number / pow(10, places);
        size_t bytes;

        if (value >= 1e6 || value < 1e-5) {
            continue;
        }
        bytes = (size_t)snprintf(written, sizeof written, "%s%.*f", round % 2 == 0 ? "" : "-", places, value);
        while (places > 0 && (written[bytes - 1] == '0' || written[bytes - 1] == '.')) {
            places = written[bytes - 1] == '.' ? 0 : places;
            written[--bytes] = '\0';
        }
        cairn_double_print(strtod(written, NULL), printed);
        if (strcmp(written, printed) != 0) {
            printf("%s printed as %s\n", written, printed);
            CU_FAIL("printing");
            return;
        }
    }
}

UNIT_MAIN("native", {"doubles of one kind", doubles_of_one_kind}, {"mixtures", mixtures}, {"the edges", the_edges},
          {"infinities are noted", infinities_are_noted}, {"whole numbers", whole_numbers},
          {"prints as written", prints_as_written})
