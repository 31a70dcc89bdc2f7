/* What becomes of a wish in DIR/stop (stop.h).
 *
 * While a launch runs it is a stop like SIGTERM. On start: this is the run that a "yield" made room for, so it is done
 * with. An old "stop" was meant for a job that was queued or requeued when it was said, and counts for such a one: it is
 * one when Slurm has restarted it, or when the batch script says so (--obey-stop, slurm/cairn.sh compares times). Any other
 * start was meant, and clears it. */
#include "cli/run.h"
#include "cli/stop.h"

#include <stdlib.h>

static bool was_requeued(void)
{
    const char *count = getenv("SLURM_RESTART_COUNT");

    return getenv("SLURM_JOB_ID") != NULL && count != NULL && strtoul(count, NULL, 10) > 0;
}

bool cairn_run_stop_at_start(cairn_run *run)
{
    char by[128];

    switch (cairn_stop_asked(run->options.dir, by, sizeof by)) {
    case CAIRN_STOP_NONE:
        return false;
    case CAIRN_STOP_FOR_GOOD:
        if (run->options.obey_stop || was_requeued()) {
            cairn_run_say(run, "%s was told to stop for good, by `cairn stop` (%s): not started", run->options.dir, by);
            return true;
        }
        cairn_run_say(run, "an old wish of `cairn stop` (%s) is cleared: this start was meant", by);
        break;
    case CAIRN_STOP_YIELD:
        break;
    }
    if (!cairn_stop_clear(run->options.dir)) {
        cairn_run_say(run, "%s/stop cannot be removed: stopping", run->options.dir);
        return true;
    }
    return false;
}

void cairn_run_stop_look(cairn_run *run, double now)
{
    char by[128];
    cairn_stop_kind kind;

    if (run->stop != CAIRN_RUN_GO || (kind = cairn_stop_asked(run->options.dir, by, sizeof by)) == CAIRN_STOP_NONE) {
        return;
    }
    run->stop = CAIRN_RUN_STOP_WANTED;
    run->stop_at = now;
    run->for_good = kind == CAIRN_STOP_FOR_GOOD;
    cairn_run_say(run, "%s (%s); stopping after a last snapshot; %.0f s are granted for it",
                  run->for_good ? "told to stop for good, by `cairn stop`" : "another `cairn run` wants to go on here",
                  by, run->options.grace);
}
