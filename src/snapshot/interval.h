/* How long to compute between two snapshots, as pure functions.
 *
 * Young, "A First Order Approximation to the Optimum Checkpoint Interval" (1974), and Daly, "A higher order
 * estimate of the optimum checkpoint interval for restart dumps" (2006), equation 37. Both weigh what snapshots
 * cost against what is computed again after a failure.
 *
 * cost    seconds that one snapshot takes from the job (delta). Snapshots that are written while the job goes on cost
 *         less than their latency: the time that recording blocks, and what the writing slows the job down.
 * mtbf    mean time between failures of the whole job in seconds (M): of one node divided by how many nodes there are.
 * result  seconds of computing from the end of one snapshot to the begin of the next (tau); from begin to begin it is
 *         tau + cost. 0: as often as can be; INFINITY: never.
 *
 * A cost that is negative or no number counts as 0, so does such an mtbf; both give 0. */
#ifndef CAIRN_SNAPSHOT_INTERVAL_H
#define CAIRN_SNAPSHOT_INTERVAL_H

#include <stdbool.h>

/* sqrt(2 cost mtbf). Good while cost is much smaller than mtbf. */
double cairn_interval_young(double cost, double mtbf);

/* sqrt(2 cost mtbf) (1 + 1/3 sqrt(cost / (2 mtbf)) + 1/9 (cost / (2 mtbf))) - cost, and mtbf when cost >= 2 mtbf. */
double cairn_interval_daly(double cost, double mtbf);

/* The shortest interval with which snapshots take at most `share` of the time, cost / (tau + cost) <= share.
 * share <= 0: INFINITY (if they cost anything); share >= 1: 0. */
double cairn_interval_floor(double cost, double share);

typedef struct cairn_interval_limits {
    double share;    /* of the time that snapshots may take at most, such as 0.05 */
    double shortest; /* seconds, >= 0                                              */
    double longest;  /* seconds; cuts what Daly says, never the share's floor       */
} cairn_interval_limits;

/* What `--interval auto` uses: Daly's interval, at most `longest`, at least `shortest` and at least the share's floor.
 */
double cairn_interval_auto(double cost, double mtbf, const cairn_interval_limits *limits);

/* Daly's expected wall time for `work` seconds of computing with this interval and `restart` seconds to come back after
 * a failure (equation 20): mtbf e^(restart/mtbf) (e^((interval+cost)/mtbf) - 1) work / interval. */
double cairn_interval_expected_time(double work, double interval, double cost, double mtbf, double restart);

/* What CAIRN_INTERVAL and --interval say: seconds, "auto" or "off" for snapshots in DIR; or a list of levels, each once,
 * parted by commas: shared=SECONDS|auto|off, local=SECONDS for those that are on the hosts of their processes, and
 * memory=SECONDS for those that are in memory only; and flush=SECONDS, with local, for how often the newest local one is sent on to
 * DIR. A level that is not named: 30 seconds for shared, none if there is a flush, none for the others. */
typedef struct cairn_intervals {
    double shared; /* < 0: off */
    bool shared_auto;
    double local, memory, flush; /* < 0: none */
} cairn_intervals;
bool cairn_intervals_parse(const char *text, cairn_intervals *out);

#endif
