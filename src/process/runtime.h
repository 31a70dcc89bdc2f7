/* The runtime of one process: what the files of src/process share.
 *
 * Who drives. The job thread drives links, core and timers while it is inside a Cairn call; while it computes, the
 * service thread does so every few milliseconds. They never do so at once: `inside` (job) and `wanted` (service) are
 * the two flags of Dekker's mutual exclusion, made one-sided: the job's way in and out is plain stores and loads,
 * and the service thread pays for the order of memory with a membarrier system call. Everything in struct
 * cairn_process below belongs to whoever is in, except the atomics.
 *
 * The way of a message in: link frame -> dispatch (incarnation, sequence) -> snapshot core (hold? in the cut?) ->
 * channel's box -> consume (clock) -> job. Out: clock -> envelope -> link. The short cuts in transmit.c skip empty
 * stations, never the order.
 *
 * Losing a process (lost.c): it is decided elsewhere (cairn_lose), carried out at the end of the same cairn_drive, when
 * no frame is open and the core is not being stepped. */
#ifndef CAIRN_PROCESS_RUNTIME_H
#define CAIRN_PROCESS_RUNTIME_H

#include "base/beat.h"
#include "channel/link.h"
#include "recovery/recovery.h"
#include "snapshot/chandy_lamport.h"
#include "snapshot/image.h"
#include "snapshot/store.h"

#include <cairn/cairn.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* A message in memory. Counted: the box or a request holds one reference, a cut another. */
typedef struct node {
    struct node *next;
    uint32_t references;
    uint32_t from, tag, stream;
    uint64_t bytes, lamport, sequence;
    uint64_t *vector; /* points behind the payload, or NULL */
    char *payload;    /* inline, or the waiting receive's own buffer (direct) */
    bool direct;
    bool pooled;
    cairn_transfer *transfer; /* NULL when the payload is whole */
} node;

typedef struct queue {
    node *first;
    node **end;
} queue;

typedef struct channel {
    queue box[CAIRN_STREAMS]; /* deliverable, in order                                         */
    queue held;               /* both streams: behind the marker, this process not recorded yet */
    uint64_t sent[CAIRN_STREAMS];
    uint64_t arrived[CAIRN_STREAMS];
    uint64_t consumed[CAIRN_STREAMS];
} channel;

struct cairn_request {
    cairn_request *next; /* posted receives, in order; open sends; or the free list */
    bool receive;
    bool done; /* sends: the data is the caller's again */
    uint32_t peer, tag;
    uint32_t rank; /* recover, sends: that carried the peer */
    char *data;    /* receives */
    size_t capacity;
    node *got;                /* receives: the message that is meant for it; still in the channel for a cut */
    cairn_transfer *transfer; /* sends of long payloads */
};

/* A receive that waits now: a long message that is its next one goes straight into its buffer. */
typedef struct wish {
    bool open;
    uint32_t from, stream;
    char *data;
    size_t capacity;
    node *got;
} wish;

struct cairn_region {
    struct cairn_region *next;
    cairn_process *process;
    cairn_state state;
    void *data;
    cairn_save save;
    cairn_load load;
    void *context;
};

struct cairn_sink {
    char *data;
    size_t bytes, capacity;
};

/* What was recorded of one attempt. */
typedef struct cut {
    struct cut *next;
    cairn_part_head head;
    cairn_state *states;
    size_t state_count;
    char *arena; /* copies of the states, mmapped; kept for the next cut */
    size_t arena_bytes;
    uint64_t *counts; /* sent[count][2], received[count][2], vector[count] */
    node **nodes;
    size_t node_count, node_capacity;
    bool complete, writing, dead;
    atomic_bool unwanted; /* the writer may give it up */
    double recorded_at, blocked;
} cut;

/* Behind the cl_message of a PART: what the coordinator needs for the commit record. With vector clocks the vector
 * follows. */
typedef struct part_report {
    uint64_t bytes, digest_high, digest_low;
    uint64_t lamport;
    double blocked, writer_cpu; /* seconds */
    double recorded_at;         /* not comparable between hosts */
} part_report;

typedef enum task_kind {
    TASK_PART,
    TASK_PROPOSE, /* the commit record, under its temporary name */
    TASK_CONFIRM, /* its seal was chosen: it gets its name       */
    TASK_PRUNE,
    TASK_REMOVE, /* this process's part of an abandoned attempt: it would only take up room */
    TASK_PREPARE,
    TASK_IMAGE, /* of the coordination service's state */
    TASK_FLUSH  /* this process's local part, to DIR   */
} task_kind;

typedef struct task {
    struct task *next;
    task_kind kind;
    uint64_t attempt;
    cut *cut;
    bool local;              /* TASK_PART: not in DIR */
    uint64_t stay, stay_too; /* ... and the local parts of these snapshots stay */
    bool flush;              /* TASK_PROPOSE, _CONFIRM, _REMOVE: it is about a local snapshot that is sent on to DIR */
    size_t prepare_bytes;
    cairn_commit commit; /* with own arrays */
    cairn_part_seal seal;
    double cpu;
    uint64_t *removed; /* TASK_PRUNE: the snapshots that went, malloc'ed */
    size_t removed_count;
    struct cairn_image *image; /* TASK_IMAGE */
    cairn_status status;
    cairn_error error;
} task;

typedef struct writer {
    cairn_process *process;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    task *queue, **queue_end; /* under mutex */
    task *results;            /* under mutex */
    bool stop, busy;          /* under mutex */
    atomic_bool news;
} writer;

/* cairn_envelope.tag of CAIRN_KIND_CONTROL */
enum control {
    CONTROL_KILL = 1,      /* sequence: index of the order: end yourself with SIGKILL      */
    CONTROL_SNAPSHOT_WISH, /* to the coordinator: SIGUSR1 came here                    */
    CONTROL_STOP_WISH,     /* to the coordinator: a stop was asked for                      */
    CONTROL_STOP,          /* from the coordinator: the last snapshot is committed, leave   */
    CONTROL_LEAVING,       /* this process is in cairn_finalize with nothing left to do     */
    CONTROL_UNSERVED,      /* the sender has left the coordination service                  */
    CONTROL_UNDECIDED,     /* from the coordinator: whether the open attempt counts will be known after a restart */
    CONTROL_READY,         /* this process has its state back, and is never silent any more; payload: ready_report */
    CONTROL_END,           /* sequence: exit status. Somebody ends the whole job           */
    CONTROL_ALL_LEFT,      /* all processes, but for the lost ones, have said LEAVING here  */
    CONTROL_SPAWN,     /* from the leader. sequence: place << 32 | rank that is to spawn it; payload: who is silent */
    CONTROL_PORT,      /* from who has spawned: a port_offer to connect to                        */
    CONTROL_CONNECTED, /* sequence: the rank that the sender has connected to                     */
    CONTROL_HERE,      /* which process of which host the sender is: whereabouts.c                */
    CONTROL_UNBORN,    /* sequence: a place in which nobody will be                               */
    CONTROL_BEGUN,     /* all processes of the launch have said READY, as the sender knows        */
    CONTROL_LOST,      /* the last word to a process that was declared lost              */
    CONTROL_ENDED,     /* sequence: process << 32 | its rank. A kernel has told the sender that it has ended */
    CONTROL_LEVEL,     /* from the coordinator. sequence: attempt << 2 | cairn_level */
    CONTROL_VOID,      /* payload: void_report. A process cannot have its part of a snapshot */
    CONTROL_FLUSH,     /* from the coordinator; payload: flush_order */
    CONTROL_FLUSHED    /* to the coordinator. sequence: snapshot << 1 | whether the part is in DIR */
};

/* What this process knows of another one's death. */
enum lost {
    LOST_NOT,
    LOST_DECIDED,
    LOST_GONE, /* nothing comes from it or goes to it any more */
    LOST_TOLD  /* and the job's handler was told               */
};

/* The payload of CONTROL_READY. */
typedef struct ready_report {
    uint64_t view;   /* of which it has the state; 0: as launched */
    uint64_t latest; /* snapshot attempt that it has met          */
    uint64_t host;   /* that it is on, as a number; 0: not said   */
    uint32_t source; /* where it has its state from (partner.h)   */
    uint32_t unused;
} ready_report;

/* The payload of CONTROL_VOID: the snapshot that this view goes back to. */
typedef struct void_report {
    uint64_t view, snapshot;
} void_report;

/* The payload of CONTROL_FLUSH: send the receiver's part of this local snapshot on to DIR. bytes is 0: do not, after all. */
typedef struct flush_order {
    uint64_t number, bytes, digest_high, digest_low; /* with the seal of the part */
} flush_order;

/* Where a snapshot is: levels.c. The first lasts longest. */
typedef enum cairn_level { CAIRN_LEVEL_SHARED, CAIRN_LEVEL_LOCAL, CAIRN_LEVEL_MEMORY, CAIRN_LEVELS } cairn_level;

typedef struct levels {
    bool on;                                           /* there are others than shared ones */
    double interval[CAIRN_LEVELS], next[CAIRN_LEVELS]; /* seconds; of shared ones: p->interval and p->next_snapshot */
    cairn_level wanted;                                /* coordinator: of the next attempt */
    uint64_t attempt;                                  /* the newest one of which the level is known */
    cairn_level of;                                    /* ... and it is that */
    uint64_t local;     /* the newest local one that was committed, as far as is known: its part here stays */
    void_report voided; /* the newest one that was heard of */
} levels;

/* A local snapshot on its way to DIR: flush.c. */
typedef struct flushing {
    double interval, next; /* seconds; interval < 0: none is */
    uint64_t number;       /* that is under way here; 0: none */
    atomic_bool unwanted;
    writer copier; /* started with the first one */
    /* coordinator */
    struct task *proposal; /* that is due when all parts are in DIR */
    bool *there;           /* [count] */
    bool proposed;
} flushing;

/* What the log says of the newest local snapshot. */
typedef struct cairn_local_record {
    uint64_t number, step;
    char time[32];
    uint32_t count;
} cairn_local_record;
#define CAIRN_LOCAL_BYTES 3400 /* of a path below LOCAL */

typedef struct kill_order {
    uint32_t index, process;
    double seconds;  /* < 0: not by time      */
    double fraction; /* < 0: not by progress  */
    bool done;
} kill_order;

struct cairn_process {
    atomic_int inside, wanted;
    bool fence; /* no membarrier: the job thread pays for the order */
    atomic_bool tick;
    bool active; /* the snapshot core has something under way: !cl_idle */
    bool can_snapshot;
    bool at_safepoint;
    bool recover;   /* there are spares: who dies is replaced, and all go back to a snapshot (recover.c) */
    bool undecided; /* whether the open attempt counts will be known after a restart only: no more snapshots */
    bool stopped;   /* the last snapshot is committed: every call says CAIRN_E_STOPPED */

    cairn_link *link;
    uint32_t self, count, incarnation;
    bool spawned;    /* this rank was started while the job ran */
    uint32_t launch; /* the incarnation that this launch began with */
    uint32_t peers;  /* processes, then spares: entries of lost, left and ready too */
    uint64_t lamport;
    uint64_t *vector;
    channel *channels;
    uint32_t turn;        /* receive-any begins with this one                */
    uint32_t spin_rounds; /* of a wait before it yields: few when cores are shared */
    cairn_request *posted, **posted_end, *free_requests;
    cairn_request *open_sends; /* recover: not waited for yet */
    wish wish;
    node *free_nodes;
    node **incoming; /* nodes whose payload is still on its way, each with a reference */
    size_t incoming_count, incoming_capacity;
    bool waits;       /* the job waits, or computes without needing this thread: a short write may be done here */
    uint64_t stir;    /* frames taken in and writes that came back: a wait is short again after each */
    uint64_t dropped; /* messages of older incarnations */
    uint64_t activity;
    uint64_t last_step;
    bool step_seen;
    double deadline;
    cairn_status fatal; /* found while driving; every later call returns it */
    cairn_error error;

    struct consensus *consensus; /* consensus.c; NULL without DIR */

    cl *core;
    cairn_region *regions;
    cut *cut;
    cut *kept; /* recover: of the newest committed snapshot, to go back to without a file */
    cut *free_cuts;
    writer writer;
    flushing flush;
    uint64_t *chosen; /* coordinator: the snapshots that the log has chosen, as of the launch */
    size_t chosen_count;
    part_report *reports; /* coordinator: [count] of attempt reports_of */
    uint64_t *report_vectors;
    char dir[3072];
    char local[3072]; /* "": there are no local snapshots */
    char job[128];
    char run[CAIRN_RUN_BYTES];
    char **arguments;
    uint32_t argument_count;
    uint32_t keep;
    bool restored_once;
    cairn_snapshot_stats stats;

    /* timers.c */
    double started;
    double interval; /* seconds; < 0: off */
    bool interval_auto;
    double mtbf, next_snapshot, attempt_began;
    double recorded_at; /* cairn_now() of the newest recording           */
    double not_before;  /* after a failed write: no snapshot by itself before */
    uint32_t failures;  /* attempts in a row that could not be written   */
    double cost;        /* seconds that the last snapshot took from the job, measured */
    bool stop_wished;   /* SIGUSR2 */
    ino_t record_inode; /* of DIR/run.json, as it was read last */
    struct timespec record_changed;
    double term_grace;     /* seconds from SIGTERM to the end */
    double term_at;        /* SIGTERM came; 0: it did not     */
    double stop_wished_at; /* what is recorded later is the last snapshot */
    bool stop_begun;
    kill_order *kills;
    size_t kill_count;
    uint64_t done, total; /* cairn_progress */
    double beat_at;
    int beat_fd;
    cairn_beat beat;
    pthread_t service;
    bool service_started;
    int wake_fd;
    atomic_bool service_stop;
    bool finishing;
    bool *left;      /* [count] has said CONTROL_LEAVING     */
    bool all_left;   /* somebody has seen all of them leave  */
    bool own_record; /* plain mpirun: this process 0 keeps DIR/run.json */

    /* lost.c */
    bool survive;
    struct cairn_births *births; /* births.c; NULL: all have begun */
    bool losing;                 /* decided, not carried out yet: lost[] has LOST_DECIDED      */
    uint8_t *lost;               /* [count] enum lost                                          */
    uint32_t lost_count;         /* carried out                                                */
    uint32_t lost_untold;        /* of these, the handler was not told of so many              */
    bool *ready;                 /* [count] has said CONTROL_READY                             */
    double lost_after;           /* seconds of silence; 0: as detector/accrual.h says          */
    double lost_look;            /* when it is looked at again who is silent                   */
    uint64_t lost_revision;
    bool lost_asking;
    struct cairn_detector *detector; /* detect.c; NULL at first */
    atomic_int sight_fd;             /* readable when a kernel says that somebody has ended; 0: none yet */
    atomic_bool sighted;             /* it was */
    cairn_lost on_lost;
    void *lost_context;

    struct recovery *recovery; /* recover.c; NULL: none */
    struct copies *copies;     /* partner.c; NULL: none */
    levels level;
    bool dozes;   /* a spare, whose own thread drives */
    bool copying; /* a copy is on its way: the service thread looks after it often */

    struct cairn_sockets *sockets; /* socket.c; NULL: none */
    struct cairn_coord *coords;    /* coord.c: open handles */
};

#define COORDINATOR 0

/* --- runtime.c: entering, driving, waiting --- */
double cairn_now(void); /* seconds, monotonic */
void cairn_enter_slowly(cairn_process *p);

static inline void cairn_enter(cairn_process *p)
{
    atomic_store_explicit(&p->inside, 1, memory_order_relaxed);
    if (p->fence) {
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        atomic_signal_fence(memory_order_seq_cst);
    }
    if (atomic_load_explicit(&p->wanted, memory_order_acquire) != 0) {
        cairn_enter_slowly(p);
    }
}

static inline void cairn_exit_call(cairn_process *p)
{
    atomic_store_explicit(&p->inside, 0, memory_order_release);
}

/* Leave the call with a status and its story. */
cairn_status cairn_say(cairn_process *p, cairn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Take in what has come, carry on transfers, take results of the writer, run due timers. */
void cairn_drive(cairn_process *p);
void cairn_dispatch(cairn_process *p, cairn_frame *frame);
/* The payload of this message is whole; asks MPI for this one only. */
bool cairn_arrived(cairn_process *p, const node *n);

typedef struct waiting {
    uint32_t rounds; /* without anything moving */
    uint32_t passes;
    uint64_t stir;
    double deadline, since;
} waiting;
/* One pause of a wait: spins, then yields, then sleeps; drives. CAIRN_E_TIMEOUT at the deadline (the caller says of
 * what), p->fatal, or CAIRN_E_STOPPED. */
cairn_status cairn_pause(cairn_process *p, waiting *w);

bool cairn_service_start(cairn_process *p, cairn_error *error);
void cairn_service_wake(cairn_process *p); /* to drive now */
void cairn_service_end(cairn_process *p);
void cairn_service_close(cairn_process *p); /* after the writer and the consensus log have ended */

/* --- transmit.c: nodes, queues, sending and consuming --- */
node *cairn_node_new(cairn_process *p, const cairn_envelope *envelope, const uint64_t *vector, uint32_t from,
                     const void *payload, char *direct);
void cairn_node_release(cairn_process *p, node *n);
void cairn_queue_push(queue *q, node *n);
node *cairn_queue_pop(queue *q);
cairn_status cairn_send_stream(cairn_process *p, uint32_t stream, uint32_t to, uint32_t tag, const void *data,
                               size_t bytes);
cairn_status cairn_receive_stream(cairn_process *p, uint32_t stream, uint32_t from, void *data, size_t capacity,
                                  cairn_message *message, const char *what);
/* A receive is complete: clock, counters. */
void cairn_consumed(cairn_process *p, uint32_t from, uint32_t stream, uint64_t lamport, const uint64_t *vector);
/* The next whole message of the job's stream, taken in turn from all channels; NULL: none. */
node *cairn_take_any(cairn_process *p);
bool cairn_has_message(cairn_process *p);
/* Something is held that the job may be waiting for: CAIRN_ANY or one channel. */
bool cairn_holds(const cairn_process *p, uint32_t from, uint32_t stream);

/* --- shell.c: the snapshot core's shell --- */
/* Step the core and do what it says. For CL_DATA returns hold and in_cut. */
void cairn_core_step(cairn_process *p, const cl_event *event, bool *hold, bool *in_cut);
void cairn_core_event(cairn_process *p, cl_event_kind kind, uint64_t step_or_attempt);
void cairn_cut_add(cairn_process *p, node *n);
/* Of the protected arrays. */
size_t cairn_array_bytes(const cairn_process *p);
void cairn_core_frame(cairn_process *p, const cairn_frame *frame);
/* Coordinator: what puts the commit record of this attempt into DIR, by the reports that are there; NULL: no memory. */
task *cairn_commit_task(cairn_process *p, uint64_t attempt, uint64_t step);
void cairn_commit_task_free(task *t);     /* NULL-safe */
void cairn_shell_drive(cairn_process *p); /* results of the writer; a cut whose payloads have all come */
/* Arrive at a safe point, stay as long as the core wants, leave. */
cairn_status cairn_pass_safepoint(cairn_process *p, uint64_t step);
void cairn_arrive(cairn_process *p, uint64_t step);
void cairn_depart(cairn_process *p);
void cairn_shell_free(cairn_process *p);

/* The cut that is under way ends with a recovery: it is kept when it is the one to go back to. */
void cairn_cut_rolled_back(cairn_process *p, uint64_t snapshot);
/* A cut that was put together elsewhere: keep it in place of what is kept, or give its memory back. */
void cairn_cut_keep(cairn_process *p, cut *c);
void cairn_cut_discard(cairn_process *p, cut *c);

/* --- commit.c: a snapshot counts when the log says so --- */
void cairn_commit_proposed(cairn_process *p, task *t);
void cairn_commit_confirmed(cairn_process *p, task *t);
void cairn_commit_pruned(cairn_process *p, task *t);
/* Process 0, before a snapshot is chosen to restart from: records and log are made to say the same. */
cairn_status cairn_commit_reconcile(cairn_process *p, cairn_error *error);
/* The log has chosen it (known after reconcile). */
bool cairn_commit_chosen(const cairn_process *p, uint64_t number);
/* The newest snapshot above `before` that this process's copy of the log has chosen, on any level or in DIR; 0: none. */
uint64_t cairn_commit_newest(cairn_process *p, uint64_t before);
uint64_t cairn_commit_newest_durable(cairn_process *p, uint64_t before);
/* Give the record of a chosen snapshot its name, if it has none yet. */
cairn_status cairn_commit_name(cairn_process *p, uint64_t number, cairn_error *error);

/* --- writer.c --- */
cairn_status cairn_writer_start(cairn_process *p, writer *w);
void cairn_writer_end(writer *w); /* ends queued tasks first; safe when it was not started */
void cairn_writer_post(writer *w, task *t);
/* A task without more to it for the main writer; nothing happens when memory is short. */
void cairn_writer_ask(cairn_process *p, task_kind kind, uint64_t attempt);
task *cairn_writer_results(writer *w);
bool cairn_writer_idle(writer *w);
char *cairn_arena_new(size_t bytes);
void cairn_arena_free(char *arena, size_t bytes);

/* --- births.c --- */
/* From here until cairn_births_done every agreement ends with CAIRN_E_PEER when a rank of this host has ended. Collective,
 * of all ranks of the launch. */
cairn_status cairn_births_watch(cairn_process *p, cairn_error *error);
void cairn_births_done(cairn_process *p);

/* --- timers.c --- */
cairn_status cairn_timers_start(cairn_process *p, cairn_error *error);
void cairn_timers(cairn_process *p);
/* Another launch has begun in DIR since: this process ends, without a word of it left there. By anybody, also the
 * writer's thread, before anything is written. */
void cairn_end_if_superseded(const cairn_process *p);
/* Seconds between two snapshots, from begin to begin; < 0: none by themselves. */
double cairn_period(const cairn_process *p);
void cairn_snapshot_ended(cairn_process *p, bool committed, bool failed, uint64_t attempt);
void cairn_snapshot_wished(cairn_process *p);
void cairn_timers_end(cairn_process *p);
void cairn_beat_now(cairn_process *p, cairn_phase phase, int exit_status);
void cairn_kill_ordered(cairn_process *p, uint64_t index);
/* What was ordered of others may have been lost in a recovery; each order is carried out once all the same. */
void cairn_kills_again(cairn_process *p);
/* To a peer, or CL_ALL: the spares, too. */
void cairn_send_control(cairn_process *p, uint32_t to, uint32_t what, uint64_t number);
void cairn_send_ready(cairn_process *p, uint64_t view);

/* --- lost.c --- */
/* It is decided, and every process learns it: `who` is lost. When it is this process: ends it at once, with exit status
 * 75. Carried out by the cairn_drive that is under way, or by the next one. Inside. */
void cairn_lose(cairn_process *p, uint32_t who);
void cairn_fenced(cairn_process *p) __attribute__((noreturn)); /* the others go on without this rank: it ends */
/* May it be declared lost? Not one that is lost already, has left in order, or may be reading its state back. */
bool cairn_may_lose(const cairn_process *p, uint32_t who);
void cairn_lost_drive(cairn_process *p);
/* From now on this process may be declared lost when it is silent. */
void cairn_say_ready(cairn_process *p);
/* Process 0, or who takes its place: the lowest that is not lost. */
uint32_t cairn_coordinator(const cairn_process *p);
/* Nothing will come from this one (CAIRN_ANY: from anybody) in this stream; a collective needs everybody. */
bool cairn_is_gone(const cairn_process *p, uint32_t from, uint32_t stream);
/* Leave the call with CAIRN_E_PEER: "what: process 2 is lost". */
cairn_status cairn_say_gone(cairn_process *p, uint32_t peer, const char *what);
/* End the whole job with this exit status: by MPI_Abort, and in survive mode, where mpirun lets the others live on, by
 * telling them. */
void cairn_end_all(cairn_process *p, int code) __attribute__((noreturn));
void cairn_ended(cairn_process *p, uint64_t code) __attribute__((noreturn)); /* this process was told */
/* Tell the job's handler, at a safe point. Inside; comes back inside. */
cairn_status cairn_tell_lost(cairn_process *p);

/* --- recover.c: a process that dies is replaced by a spare, and all go back to a snapshot (recovery/recovery.h) --- */
/* At the end of cairn_init. before: the highest snapshot number that was in DIR when the launch began. */
cairn_status cairn_recovery_start(cairn_process *p, uint64_t before);
void cairn_recovery_drive(cairn_process *p, double now);
/* Look at who is lost at that time. Without recovery in place: nothing. */
void cairn_recovery_look(cairn_process *p, double at);
/* A spare, in cairn_init: until it is to carry a process, which it then does; it does not come back when the job ends
 * without it. */
cairn_status cairn_spare_wait(cairn_process *p);
/* How many ranks may be spawned in one launch. */
uint32_t cairn_spawn_places(void);
/* CONTROL_SPAWN, _PORT or _CONNECTED came. */
void cairn_spawn_told(cairn_process *p, const cairn_frame *frame);
/* With a payload that fits a frame; to a peer, or CL_ALL. */
void cairn_send_control_bytes(cairn_process *p, uint32_t to, uint32_t what, uint64_t number, const void *payload,
                              size_t bytes);
/* In a rank that was spawned: what the parent told, in place of what a launch agrees on in cairn_init. */
cairn_status cairn_spawned_join(cairn_process *p);
/* A CONTROL_READY came. */
void cairn_recovery_ready(cairn_process *p, uint32_t from, const ready_report *report);
/* Snapshots up to this number are of earlier launches, too. */
void cairn_recovery_began(cairn_process *p, uint64_t number);
/* A CONTROL_BEGUN came. */
void cairn_recovery_begun(cairn_process *p);
/* This launch goes on from that snapshot. */
void cairn_recovery_restored(cairn_process *p, uint64_t number);
/* Revision of the key that holds the view, 0: there is none yet; and the key. */
uint64_t cairn_recovery_view_key(const cairn_process *p, char key[CAIRN_LOST_KEY_BYTES]);
/* The launch's rank that carries this process now. */
uint32_t cairn_recovery_rank(const cairn_process *p, uint32_t process);
void cairn_recovery_free(cairn_process *p);

/* --- levels.c --- */
/* Reads CAIRN_INTERVAL. */
cairn_status cairn_levels_start(cairn_process *p, cairn_error *error);
/* Attempts begin, or begin again after a recovery. */
void cairn_levels_begin(cairn_process *p, double now);
/* A view was installed. */
void cairn_levels_viewed(cairn_process *p);
/* An attempt has ended: when the next ones that are not in DIR are due. Is one? Then it is wanted. */
void cairn_levels_ended(cairn_process *p, uint64_t attempt);
bool cairn_levels_due(cairn_process *p, double now);
/* The coordinator records: on which level. */
void cairn_levels_decide(cairn_process *p, uint64_t attempt);
void cairn_levels_told(cairn_process *p, uint64_t what); /* CONTROL_LEVEL */
bool cairn_levels_known(const cairn_process *p, uint64_t attempt);
cairn_level cairn_level_of(const cairn_process *p, uint64_t attempt);
/* Coordinator: all parts of an attempt that is not in DIR are where they belong. */
void cairn_levels_commit(cairn_process *p, uint64_t attempt, uint64_t step);
/* This process's copy is at its partner, or cannot be. */
void cairn_levels_held(cairn_process *p, uint64_t number, bool held);
/* The key of the newest one on this level (not shared), its revision (0: there is none) and the number that it holds. */
uint64_t cairn_levels_key(const cairn_process *p, cairn_level level, char key[CAIRN_LOST_KEY_BYTES], uint64_t *number);
uint64_t cairn_levels_newest(const cairn_process *p); /* that is not in DIR; 0: none */
/* The newest one below `number`: this one, which is in DIR, or one that is not. */
uint64_t cairn_levels_below(const cairn_process *p, uint64_t durable, uint64_t number);
/* This process cannot have its part of the snapshot that the view goes back to. */
void cairn_levels_void(cairn_process *p, uint64_t snapshot);
void cairn_levels_void_told(cairn_process *p, const void_report *report);
bool cairn_levels_voided(const cairn_process *p); /* somebody cannot, in this view */

/* --- local.c --- */
void cairn_local_folder(const cairn_process *p, uint64_t number, char path[CAIRN_LOCAL_BYTES]);
void cairn_local_part(const cairn_process *p, uint64_t number, char path[CAIRN_LOCAL_BYTES]);
/* Remove this process's local parts of snapshots below a number but those of these two (0: none). Where others begin with
 * the next one their folder must stay. */
void cairn_local_sweep(const cairn_process *p, uint64_t below, uint64_t but, uint64_t and_but);
/* This process's part of the local snapshot that the log's value speaks of, checked. *record is filled in as far as the value
 * can be read. CAIRN_E_NOT_FOUND, CAIRN_E_CORRUPT, CAIRN_E_MISMATCH (another number of processes) ... */
cairn_status cairn_local_open(cairn_process *p, const char *value, cairn_local_record *record, cairn_part **part);

/* --- flush.c: local snapshots that are sent on to DIR --- */
/* The intervals are known; attempts begin, or begin again after a recovery, which ends what was under way. */
void cairn_flush_begin(cairn_process *p, double now);
/* Coordinator: the reports are those of this local attempt, which is to be committed; and then it is. */
void cairn_flush_prepare(cairn_process *p, uint64_t attempt, uint64_t step);
void cairn_flush_committed(cairn_process *p, uint64_t attempt);
void cairn_flush_ordered(cairn_process *p, const flush_order *order);      /* CONTROL_FLUSH came   */
void cairn_flush_reported(cairn_process *p, uint32_t from, uint64_t what); /* CONTROL_FLUSHED came */
void cairn_flush_copy(const cairn_process *p, task *t);                    /* in the copier's thread */
void cairn_flush_drive(cairn_process *p);                                  /* results of the copier */
/* It is committed in DIR; or it is not, and removed, unless nobody can say. */
void cairn_flush_ended(cairn_process *p, uint64_t number, bool committed);
void cairn_flush_undecided(cairn_process *p);
/* The job is done: true as long as something has to be waited for. */
bool cairn_flush_leave(cairn_process *p);
void cairn_flush_end(cairn_process *p);

/* --- requests.c --- */
/* All open requests are void. CAIRN_E_AGAIN: MPI still reads from the buffer of a long send. */
cairn_status cairn_requests_void(cairn_process *p);

/* --- detect.c --- */
double cairn_lost_after(void);
/* Survive mode, as often as anything is driven: propose who is lost, read who is. */
void cairn_detect(cairn_process *p);
/* For recovery in place: take in what was heard and what the kernel says, before asking; false: not now. Then: is this
 * peer suspected, if it may be silent for so many seconds more than usual. */
bool cairn_detector_look(cairn_process *p, double now);
bool cairn_detector_suspects(cairn_process *p, uint32_t peer, double now, double more);
/* CONTROL_ENDED came. */
void cairn_detector_told(cairn_process *p, uint64_t number);
double cairn_detector_silence(const cairn_process *p, uint32_t peer); /* seconds */
void cairn_detector_here(cairn_process *p, const cairn_frame *frame); /* a CONTROL_HERE came */
bool cairn_detector_ended(const cairn_process *p, uint32_t peer);     /* the kernel has said so */
/* When it is to be looked at who is silent again. */
double cairn_detector_next(const cairn_process *p, double now);
/* Whether a kernel has something to say: once, to whoever looks first. */
bool cairn_detector_sighted(cairn_process *p);
/* Wait for that, and on any other descriptor (a pollfd, or NULL) until one of them is readable. true: it has. By the
 * service thread, or in a spare by its own. */
bool cairn_detector_pause(cairn_process *p, int milliseconds, struct pollfd *other);
/* The rank that was `from` is this peer now. */
void cairn_detector_moved(cairn_process *p, uint32_t peer, uint32_t from);

/* --- process.c --- */
cairn_status cairn_core_open(cairn_process *p, uint64_t latest);

/* --- restore.c --- */
/* DIR, the run's id, the numbers used so far: process 0 finds out and tells all. Collective, in cairn_init. */
cairn_status cairn_open_run(cairn_process *p, uint64_t *latest);
/* Plain mpirun: note in DIR/run.json that the job is done. */
void cairn_close_run(cairn_process *p);
/* This process's own part of a snapshot back into state and channels, from DIR or from memory. Not collective. */
cairn_status cairn_restore_part(cairn_process *p, uint64_t number, cairn_restored *out);
cairn_status cairn_restore_cut(cairn_process *p, const cut *c, cairn_restored *out);
/* ... or from the folder of this host, if that is where the newest local one has it. */
cairn_status cairn_restore_local(cairn_process *p, uint64_t number, cairn_restored *out);

#endif
