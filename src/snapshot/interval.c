/* Young's and Daly's intervals; interval.h says what is what. Pure: no clock, no state. */
#include "snapshot/interval.h"

#include <math.h>

/* What is negative or no number counts as nothing. */
static double sane(double seconds)
{
    return seconds > 0.0 ? seconds : 0.0;
}

double cairn_interval_young(double cost, double mtbf)
{
    cost = sane(cost);
    mtbf = sane(mtbf);
    if (cost == 0.0 || mtbf == 0.0) {
        return 0.0; /* not 0 * INFINITY */
    }
    return sqrt(2.0 * cost * mtbf);
}

double cairn_interval_daly(double cost, double mtbf)
{
    cost = sane(cost);
    mtbf = sane(mtbf);
    if (cost == 0.0 || mtbf == 0.0) {
        return 0.0;
    }
    if (cost >= 2.0 * mtbf) {
        return mtbf;
    }
    if (isinf(mtbf)) {
        return INFINITY;
    }
    double ratio = cost / (2.0 * mtbf);

    return sqrt(2.0 * cost * mtbf) * (1.0 + sqrt(ratio) / 3.0 + ratio / 9.0) - cost;
}

double cairn_interval_floor(double cost, double share)
{
    cost = sane(cost);
    share = sane(share);
    if (cost == 0.0 || share >= 1.0) {
        return 0.0;
    }
    if (share == 0.0) {
        return INFINITY;
    }
    return cost * (1.0 - share) / share;
}

double cairn_interval_auto(double cost, double mtbf, const cairn_interval_limits *limits)
{
    double interval = cairn_interval_daly(cost, mtbf);
    double floor_seconds = cairn_interval_floor(cost, limits->share);

    if (interval > limits->longest) {
        interval = limits->longest;
    }
    if (interval < limits->shortest) {
        interval = limits->shortest;
    }
    return interval < floor_seconds ? floor_seconds : interval;
}

double cairn_interval_expected_time(double work, double interval, double cost, double mtbf, double restart)
{
    return mtbf * exp(restart / mtbf) * expm1((interval + cost) / mtbf) * work / interval;
}
