/* Survive mode, seen from the supervisor. mpirun no longer ends a launch in which a process failed, and its own status
 * says nothing: the processes' signs of life tell what there is to wait for. */
#include "base/environment.h"
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGREE_SECONDS 10.0 /* for the others to agree that a process is lost, beside the silence that they wait for */
#define END_SECONDS   1.5  /* for mpirun to end when nobody is left; across hosts it then waits for the dead for ever */
#define LEAVE_SECONDS 5.0  /* for MPI_Finalize to end when somebody died in it                                        */

typedef struct tally {
    uint32_t known;    /* lost, as the others say                       */
    uint32_t dead;     /* of this host, without a last word             */
    uint32_t failed;   /* ended by themselves before cairn_finalize was through */
    uint32_t finished; /* cairn_finalize was through, dead or alive     */
    uint32_t ended;    /* of these: have ended                          */
    int32_t first;     /* of the dead that nobody calls lost, perhaps   */
} tally;

static tally count(const cairn_run_launch *launch)
{
    tally sum = {.first = -1};
    char host[65] = "";

    (void)gethostname(host, sizeof host - 1);
    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        bool finished = beat->phase == CAIRN_PHASE_FINISHED;

        if (!launch->seen[i]) {
            continue;
        }
        bool dead = beat->exit < 0 && strcmp(beat->host, host) == 0 && cairn_run_is_dead(beat->pid);
        sum.known = beat->lost > sum.known ? beat->lost : sum.known;
        sum.dead += dead;
        sum.failed += !finished && beat->exit >= 0;
        sum.finished += finished && !dead;
        sum.ended += finished && beat->exit >= 0;
        sum.first = dead && sum.first < 0 ? (int32_t)i : sum.first;
    }
    return sum;
}

cairn_run_waits cairn_run_look(const cairn_run *run, double *patience, int32_t *who)
{
    const char *text = getenv(CAIRN_ENV_LOST_AFTER);
    tally sum = count(&run->launch);
    uint32_t gone = sum.dead > sum.known ? sum.dead : sum.known;

    *who = sum.first;
    if (sum.failed > 0 || (sum.finished > 0 && sum.ended + gone >= run->launch.count)) {
        *patience = END_SECONDS;
        return CAIRN_RUN_FOR_NOBODY;
    }
    if (sum.dead <= sum.known) {
        return CAIRN_RUN_FOR_THE_JOB;
    }
    if (sum.finished > 0 && sum.finished + gone >= run->launch.count) {
        *patience = LEAVE_SECONDS;
        return CAIRN_RUN_FOR_NOBODY;
    }
    *patience = AGREE_SECONDS + (text == NULL ? 1.0 : strtod(text, NULL));
    return CAIRN_RUN_FOR_THE_DEAD;
}

/* cairn_finalize lets a process go when all have come that are not lost, so one that has finished speaks for all. */
int32_t cairn_run_spokesman(const cairn_run *run)
{
    const cairn_run_launch *launch = &run->launch;
    int32_t found = -1;

    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (!launch->seen[i]) {
            continue;
        }
        if (beat->phase != CAIRN_PHASE_FINISHED && beat->exit > 0) {
            return -1; /* it ended the job before its time */
        }
        if (beat->phase == CAIRN_PHASE_FINISHED && (found < 0 || (launch->beats[found].exit <= 0 && beat->exit > 0))) {
            found = (int32_t)i;
        }
    }
    return found;
}
