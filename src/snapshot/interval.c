/* Young's and Daly's intervals; interval.h says what is what. Pure: no clock, no state. */
#include "snapshot/interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* ---------------------------------------------------------------- as text */

static bool take_seconds(const char *text, size_t length, double *seconds)
{
    char copy[64];
    char *end;

    if (length == 0 || length >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    *seconds = strtod(copy, &end);
    return *end == '\0' && *seconds >= 0.0 && *seconds <= 1e9;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static bool take_shared(const char *text, size_t length, cairn_intervals *out)
{
    out->shared_auto = is_word(text, length, "auto");
    if (out->shared_auto) {
        out->shared = 0.0;
        return true;
    }
    if (is_word(text, length, "off")) {
        out->shared = -1.0;
        return true;
    }
    return take_seconds(text, length, &out->shared);
}

bool cairn_intervals_parse(const char *text, cairn_intervals *out)
{
    bool shared = false;

    *out = (cairn_intervals){.shared = 30.0, .local = -1.0, .memory = -1.0, .flush = -1.0};
    if (strchr(text, '=') == NULL) {
        return take_shared(text, strlen(text), out);
    }
    for (;;) {
        size_t length = strcspn(text, ",");
        bool good = false;

        if (length >= 7 && memcmp(text, "shared=", 7) == 0 && !shared) {
            shared = true;
            good = take_shared(text + 7, length - 7, out);
        } else if (length >= 6 && memcmp(text, "local=", 6) == 0 && out->local < 0.0) {
            good = take_seconds(text + 6, length - 6, &out->local);
        } else if (length >= 7 && memcmp(text, "memory=", 7) == 0 && out->memory < 0.0) {
            good = take_seconds(text + 7, length - 7, &out->memory);
        } else if (length >= 6 && memcmp(text, "flush=", 6) == 0 && out->flush < 0.0) {
            good = take_seconds(text + 6, length - 6, &out->flush);
        }
        if (!good) {
            return false;
        }
        if (text[length] == '\0') {
            if (out->flush >= 0.0 && !shared) {
                out->shared = -1.0;
            }
            return out->flush < 0.0 || out->local >= 0.0;
        }
        text += length + 1;
    }
}
