/* Goal: the snapshot interval is the one of the papers, is close to the true optimum, and keeps its bounds.
 * Method: values worked out by hand from the formulas, and a golden-section search over Daly's expected run time. */
#include "snapshot/interval.h"
#include "support/unit.h"

#include <math.h>

#define NEAR(value, expected, margin) CU_ASSERT_TRUE(fabs((value) - (expected)) <= (margin))

/* The interval with the least expected run time, found without the formulas under test. */
static double search_optimum(double cost, double mtbf)
{
    const double golden = (sqrt(5.0) - 1.0) / 2.0;
    double low = cost * 1e-6;
    double high = mtbf * 2.0 + cost;

    for (int i = 0; i < 300; i++) {
        double a = high - golden * (high - low);
        double b = low + golden * (high - low);

        if (cairn_interval_expected_time(1.0, a, cost, mtbf, 0.0) <
            cairn_interval_expected_time(1.0, b, cost, mtbf, 0.0)) {
            high = b;
        } else {
            low = a;
        }
    }
    return (low + high) / 2.0;
}

static void young_values(void)
{
    NEAR(cairn_interval_young(2.0, 100.0), 20.0, 1e-12);        /* sqrt(400)          */
    NEAR(cairn_interval_young(50.0, 86400.0), 2939.3877, 1e-4); /* sqrt(8640000)      */
    NEAR(cairn_interval_young(0.5, 3600.0), 60.0, 1e-12);
}

static void daly_values(void)
{
    /* cost 2, mtbf 100: 20 (1 + 0.1/3 + 0.01/9) - 2 = 20 + 0.666667 + 0.022222 - 2 */
    NEAR(cairn_interval_daly(2.0, 100.0), 18.6888889, 1e-7);
    /* cost 50, mtbf 100: 100 (1 + 0.5/3 + 0.25/9) - 50 = 100 + 16.666667 + 2.777778 - 50 */
    NEAR(cairn_interval_daly(50.0, 100.0), 69.4444444, 1e-7);
    /* Just under 2 mtbf: 200 (1 + 1/3 + 1/9) - 200 = 88.888889; from 2 mtbf on the mtbf itself. */
    NEAR(cairn_interval_daly(200.0 - 1e-9, 100.0), 88.8888889, 1e-6);
    CU_ASSERT_EQUAL(cairn_interval_daly(200.0, 100.0), 100.0);
    CU_ASSERT_EQUAL(cairn_interval_daly(1e9, 100.0), 100.0);
}

/* The exact optimum solves e^((tau+cost)/mtbf) (1 - tau/mtbf) = 1: the search must find it, or it proves nothing. */
static void search_finds_the_root(void)
{
    for (double cost = 0.5; cost < 150.0; cost *= 2.0) {
        double tau = search_optimum(cost, 100.0);

        NEAR(exp((tau + cost) / 100.0) * (1.0 - tau / 100.0), 1.0, 1e-5);
    }
}

static void daly_is_near_the_optimum(void)
{
    const double mtbf = 1000.0;

    for (double cost = 0.01; cost < 1900.0; cost *= 1.3) {
        double best = cairn_interval_expected_time(1.0, search_optimum(cost, mtbf), cost, mtbf, 0.0);
        double daly = cairn_interval_expected_time(1.0, cairn_interval_daly(cost, mtbf), cost, mtbf, 0.0);
        double young = cairn_interval_expected_time(1.0, cairn_interval_young(cost, mtbf), cost, mtbf, 0.0);

        CU_ASSERT_TRUE(daly >= best * (1.0 - 1e-9));
        CU_ASSERT_TRUE(daly <= young * (1.0 + 1e-9));
        /* Daly: the relative error stays under 0.2 % up to cost = mtbf / 2, a few per cent up to 2 mtbf. */
        CU_ASSERT_TRUE(daly <= best * (cost < mtbf / 2.0 ? 1.002 : 1.03));
    }
}

static void floor_keeps_the_share(void)
{
    NEAR(cairn_interval_floor(1.0, 0.05), 19.0, 1e-12);
    NEAR(cairn_interval_floor(2.0, 0.5), 2.0, 1e-12);
    CU_ASSERT_EQUAL(cairn_interval_floor(2.0, 1.0), 0.0);
    CU_ASSERT_TRUE(isinf(cairn_interval_floor(2.0, 0.0)));
    CU_ASSERT_EQUAL(cairn_interval_floor(0.0, 0.0), 0.0);
}

static void auto_keeps_its_bounds(void)
{
    const cairn_interval_limits limits = {.share = 0.05, .shortest = 1.0, .longest = 3600.0};

    /* Nothing binds: Daly's value. */
    NEAR(cairn_interval_auto(0.1, 86400.0, &limits), cairn_interval_daly(0.1, 86400.0), 1e-12);
    CU_ASSERT_EQUAL(cairn_interval_auto(10.0, 1e9, &limits), 3600.0);
    CU_ASSERT_EQUAL(cairn_interval_auto(1e-6, 10.0, &limits), 1.0);
    /* 18.69 s would give snapshots 9.7 % of the time. */
    NEAR(cairn_interval_auto(2.0, 100.0, &limits), 38.0, 1e-12);
    /* The share binds even over the longest. */
    NEAR(cairn_interval_auto(1000.0, 100.0, &limits), 19000.0, 1e-9);
    for (double cost = 1e-4; cost < 1e5; cost *= 1.7) {
        for (double mtbf = 1e-2; mtbf < 1e9; mtbf *= 3.1) {
            double interval = cairn_interval_auto(cost, mtbf, &limits);

            CU_ASSERT_TRUE(cost / (interval + cost) <= 0.05 + 1e-12);
            CU_ASSERT_TRUE(interval >= 1.0);
        }
    }
}

static void strange_input(void)
{
    const cairn_interval_limits limits = {.share = 0.05, .shortest = 1.0, .longest = 3600.0};

    CU_ASSERT_EQUAL(cairn_interval_young(0.0, INFINITY), 0.0);
    CU_ASSERT_EQUAL(cairn_interval_daly(0.0, 100.0), 0.0);
    CU_ASSERT_EQUAL(cairn_interval_daly(-1.0, 100.0), 0.0);
    CU_ASSERT_EQUAL(cairn_interval_daly(NAN, 100.0), 0.0);
    CU_ASSERT_EQUAL(cairn_interval_daly(1.0, NAN), 0.0);
    CU_ASSERT_TRUE(isinf(cairn_interval_daly(1.0, INFINITY)));
    CU_ASSERT_EQUAL(cairn_interval_auto(NAN, NAN, &limits), 1.0);
    CU_ASSERT_EQUAL(cairn_interval_auto(1.0, INFINITY, &limits), 3600.0);
}

static void test_levels(void)
{
    cairn_intervals i;
    static const char *const wrong[] = {"",
                                        "x",
                                        "-1",
                                        "1 ",
                                        "1,2",
                                        "shared=",
                                        "memory=",
                                        "memory=off",
                                        "memory=auto",
                                        "disk=1",
                                        "shared=1,",
                                        ",shared=1",
                                        "memory=-1",
                                        "nan",
                                        "inf",
                                        "shared=1;memory=2",
                                        "shared=1,shared=2",
                                        "memory=1,memory=2",
                                        "shared=1,memory=2x"};

    CU_ASSERT(cairn_intervals_parse("12.5", &i) && i.shared == 12.5 && !i.shared_auto && i.memory < 0.0);
    CU_ASSERT(cairn_intervals_parse("0", &i) && i.shared == 0.0 && i.memory < 0.0);
    CU_ASSERT(cairn_intervals_parse("off", &i) && i.shared < 0.0 && i.memory < 0.0);
    CU_ASSERT(cairn_intervals_parse("auto", &i) && i.shared_auto && i.memory < 0.0);
    CU_ASSERT(cairn_intervals_parse("memory=2", &i) && i.shared == 30.0 && !i.shared_auto && i.memory == 2.0);
    CU_ASSERT(cairn_intervals_parse("shared=60,memory=0.5", &i) && i.shared == 60.0 && i.memory == 0.5);
    CU_ASSERT(cairn_intervals_parse("memory=0,shared=off", &i) && i.shared < 0.0 && i.memory == 0.0);
    CU_ASSERT(cairn_intervals_parse("shared=auto,memory=3", &i) && i.shared_auto && i.memory == 3.0);
    CU_ASSERT(cairn_intervals_parse("shared=9,local=3,memory=1", &i) && i.shared == 9.0 && i.local == 3.0 &&
              i.memory == 1.0);
    CU_ASSERT(cairn_intervals_parse("local=4", &i) && i.shared == 30.0 && i.local == 4.0 && i.memory < 0.0);
    CU_ASSERT(cairn_intervals_parse("flush=9,local=3", &i) && i.shared < 0.0 && i.local == 3.0 && i.flush == 9.0);
    CU_ASSERT(cairn_intervals_parse("local=3,flush=9,shared=60", &i) && i.shared == 60.0 && i.flush == 9.0);
    CU_ASSERT(cairn_intervals_parse("local=3", &i) && i.flush < 0.0);
    CU_ASSERT(!cairn_intervals_parse("flush=9", &i) && !cairn_intervals_parse("memory=3,flush=9", &i) &&
              !cairn_intervals_parse("local=3,flush=1,flush=2", &i) && !cairn_intervals_parse("local=3,flush=x", &i));
    CU_ASSERT(!cairn_intervals_parse("local=4,local=5", &i) && !cairn_intervals_parse("local=off", &i));
    for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
        if (cairn_intervals_parse(wrong[k], &i)) {
            printf("\n\"%s\"\n", wrong[k]);
            CU_FAIL("was taken");
        }
    }
}

UNIT_MAIN("interval", {"levels", test_levels}, {"young_values", young_values}, {"daly_values", daly_values},
          {"search_finds_the_root", search_finds_the_root}, {"daly_is_near_the_optimum", daly_is_near_the_optimum},
          {"floor_keeps_the_share", floor_keeps_the_share}, {"auto_keeps_its_bounds", auto_keeps_its_bounds},
          {"strange_input", strange_input})
