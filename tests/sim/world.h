/* Inside the simulator: the world of one run. See simulator.h for what it is. */
#ifndef CAIRN_TESTS_SIM_WORLD_H
#define CAIRN_TESTS_SIM_WORLD_H

#include "agenda.h"
#include "chance.h"
#include "simulator.h"

#include "snapshot/chandy_lamport.h"

#include <stddef.h>

#define MAX          SIM_PROCESSES_MAX
#define EVENTS_MAX   400000
#define MICROSECOND  1000ULL
#define MILLISECOND  1000000ULL
#define NOBODY       UINT32_MAX
#define REASONS      (CL_REASON_SUPERSEDED + 1)
#define ENDED_COMMIT 100 /* attempt.end: committed; otherwise a cl_reason */

typedef enum note_kind { NOTE_TRANSFER, NOTE_CALL, NOTE_ANSWER } note_kind;

/* A job's message; its place in the log of its channel is its sequence number - 1. */
typedef struct note {
    note_kind kind;
    int64_t amount;
    uint64_t vector[MAX];
} note;

typedef struct channel {
    bool exists;
    uint64_t delay;        /* typical            */
    uint64_t last_arrival; /* keeps it in order  */
    note *log;
    size_t sent, room;
} channel;

typedef struct queue {
    uint64_t *items;
    size_t first, count, room;
} queue;

typedef enum job_state {
    AT_TOP,    /* the loop's next iteration, or the bank between two handlers */
    AT_POINT,  /* at a safe point                                             */
    COMPUTING, /* until its WAKE                                              */
    RECEIVING, /* takes, or waits for, what `expected` names                  */
    DONE
} job_state;

typedef struct process {
    cl *core;
    job_state state;
    bool told_point; /* the core has been told of the safe point */
    uint64_t iteration, label, last_left;
    uint64_t pace;
    uint32_t expected; /* channels to receive from, as bits       */
    uint32_t calls;    /* who waits for an answer of ours, as bits */
    uint32_t answer_from;
    bool grace_running;
    uint64_t progress; /* messages consumed, to see if a grace time was idle */
    uint32_t due;      /* transfers to begin  */
    uint64_t stop;     /* bank: leaves then   */
    bool finished;
    int64_t money;
    uint64_t vector[MAX];
    uint64_t consumed[MAX];
    queue mailbox[MAX], held[MAX];
    uint64_t wish_time; /* of the last initiation; 0 = none */
    bool started;       /* the job has begun                */
    bool lingering;     /* at a safe point for a while      */
    uint32_t turn;
} process;

/* What one process recorded of one attempt. */
typedef struct part {
    bool recorded, complete, durable;
    uint32_t end; /* 0, a cl_reason or ENDED_COMMIT */
    uint64_t time, end_time, cut_step, label, last_left, iteration;
    int64_t money;
    uint64_t vector[MAX], sent[MAX], consumed[MAX];
    uint64_t first[MAX], in_flight[MAX]; /* state of each in-channel: first sequence number, how many */
} part;

typedef struct attempt {
    part parts[MAX];
    bool commit_asked, commit_durable;
    uint32_t reason;
    uint32_t leader; /* who named an S, + 1 */
} attempt;

typedef enum happening_kind {
    WAKE,
    TIMER,
    GRACE,
    ARRIVE,
    CONTROL,
    PART_WRITTEN,
    RECORD_WRITTEN,
    WISH,
    DEATH,
    LOSS
} happening_kind;

typedef struct happening {
    uint64_t time;
    happening_kind kind;
    uint32_t to, from;
    uint64_t number; /* ARRIVE: sequence number, 0 = the message is a marker. *_WRITTEN: attempt. GRACE: progress */
    bool failed;
    cl_message message;
} happening;

typedef struct world {
    const sim_options *options;
    sim_result *result;
    chance random;
    uint64_t now;
    agenda agenda;

    uint32_t count, coordinator;
    sim_job job;
    bool dead[MAX], heard[MAX]; /* of a death */
    bool fast, eager, leaves_early, lingers;
    uint64_t patience, first_finish;
    uint32_t part_failures, commit_failures; /* one in so many; 0 = never */
    uint64_t disk, control_delay, iterations, stride, first_attempt, horizon;
    uint64_t lag; /* loops receive what was sent so many iterations ago */
    int64_t total;
    bool has_step[MAX];
    uint64_t offset[MAX];
    channel channels[MAX][MAX];
    process processes[MAX];
    attempt *attempts;
    size_t attempt_count, attempt_room;
} world;

/* world.c: random numbers, the event queue, saying what happens */
uint64_t sim_draw(world *w);
uint64_t sim_below(world *w, uint64_t bound);
bool sim_one_in(world *w, uint64_t n);
uint64_t sim_scale(world *w, uint64_t low, uint64_t high);
uint64_t sim_delay(world *w, uint64_t typical);
void sim_plan(world *w, uint64_t time, happening what);
happening sim_take_next(world *w);
void sim_push(queue *q, uint64_t item);
uint64_t sim_pop(queue *q);
uint32_t sim_id_of(const world *w, const process *p);
__attribute__((format(printf, 3, 4))) void sim_fail(world *w, sim_property property, const char *format, ...);
__attribute__((format(printf, 3, 4))) void sim_say(world *w, const process *p, const char *format, ...);
void sim_digest(world *w, uint64_t value);
const char *sim_message_text(uint32_t kind);
attempt *sim_attempt_of(world *w, uint64_t number);

/* shell.c: what the runtime is in production, and what a committed cut must be */
void sim_check_cut(world *w, uint64_t number, const attempt *a);
void sim_transmit(world *w, uint32_t from, uint32_t to, happening what);
void sim_append(world *w, process *p, uint64_t number, uint32_t from, uint64_t sequence);
void sim_feed(world *w, process *p, cl_event event, cl_output *out);

/* jobs.c: the jobs */
bool sim_serves(const world *w, const process *p);
void sim_leave_point(world *w, process *p);
void sim_come_to_point(world *w, process *p, bool soon);
void sim_finish_job(world *w, process *p);
void sim_wake(world *w, process *p);
void sim_check_held_wait(world *w, process *p, bool grace_over);
void sim_advance(world *w, process *p);

#endif
