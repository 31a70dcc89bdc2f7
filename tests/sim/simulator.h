/* A whole job in one process: time, network and disks from one seed, the production snapshot core in every process.
 *
 * The simulator is the shell that the MPI runtime is in production: it hands the core safe points, messages and
 * finished writes, and does what the core asks. The jobs on top are small: a loop with an exchange between neighbours,
 * a bank, and some that are unfair to the protocol. Messages on a channel stay in order, control messages do not;
 * delays have heavy tails, disks may be slow or fail, processes may leave early.
 *
 * Properties, checked as the run goes (names as in sim_property_text):
 *   invariant   cl_check holds after every event
 *   fifo        the job consumes every channel in order, nothing lost, nothing twice, also what was held
 *   shell       outputs make sense: recorded at a safe point only, once an attempt; one end each; commit asked for
 * once; one leader an attempt cut         no message received in a committed cut that was not sent in it channel     a
 * channel's recorded state is exactly what was sent before and not consumed before the cut, in order clock       the
 * recording events of a committed cut are pairwise concurrent (vector clocks) money       states and channels of a
 * committed cut hold what the bank began with step        aligned: one S for all, each at its first safe point >= S;
 * aligned loops: all at the same iteration durable     an attempt is committed only with every part durable agreement
 * an attempt is never committed for one and abandoned for another; committed ones are so for all stuck       at the end
 * nothing is under way, held, undelivered or waited for endless     the run ends within a bound of events wish (fair
 * jobs, no failures) who asked for a snapshot has one that holds what it had done by then fair        (fair jobs) no
 * attempt is abandoned for a held message lost        after a loss nothing is under way or held on any process that
 * hears of it, and what is committed all the same is a consistent cut */
#ifndef CAIRN_TESTS_SIM_SIMULATOR_H
#define CAIRN_TESTS_SIM_SIMULATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_PROCESSES_MAX 8

typedef enum sim_job {
    SIM_LOOP,       /* aligned steps; receives from each neighbour in turn               */
    SIM_LOOP_ANY,   /* the same, receives from whichever neighbour is first              */
    SIM_BANK,       /* event style                                                       */
    SIM_NAIVE,      /* the loop with safe points that carry no step                      */
    SIM_SHIFTED,    /* the loop, but the steps of the processes are out of line          */
    SIM_MIXED,      /* the loop, some processes with steps and some without              */
    SIM_BANK_CALLS, /* the bank, with handlers that wait for an answer                   */
    SIM_PHASES,     /* the loop, and when it is over the bank                            */
    SIM_JOBS
} sim_job;

typedef enum sim_property {
    SIM_OK,
    SIM_INVARIANT,
    SIM_FIFO,
    SIM_SHELL,
    SIM_CUT,
    SIM_CHANNEL,
    SIM_CLOCK,
    SIM_MONEY,
    SIM_STEP,
    SIM_DURABLE,
    SIM_AGREEMENT,
    SIM_STUCK,
    SIM_ENDLESS,
    SIM_WISH,
    SIM_FAIR
} sim_property;

/* What a run may not draw for itself. */
typedef struct sim_options {
    uint32_t count; /* processes; 0 = drawn                                  */
    int job;        /* a sim_job; -1 = drawn                                 */
    bool calm;      /* nothing fails, nobody leaves early                    */
    bool lose;      /* a process dies in the middle, and each of the others hears of it some time later */
    bool blind;     /* do not look at the core's own invariants              */
    FILE *trace;    /* every event as text; NULL = none                      */
} sim_options;

typedef struct sim_result {
    sim_property broken;
    char detail[256];
    uint64_t digest; /* of everything that happened */
    uint32_t count;
    sim_job job;
    bool calm;
    uint64_t events, messages, attempts, committed, abandoned[8], in_flight, held, rounds;
} sim_result;

void sim_run(uint64_t seed, const sim_options *options, sim_result *result);

const char *sim_property_text(sim_property property);
const char *sim_job_text(sim_job job);
/* Loop or bank as they should be written. */
bool sim_job_is_fair(sim_job job);

#endif
