/* `cairn run`: the supervisor of a job, between its files.
 *
 *   run.c         options -> DIR, lock, run.json -> launches until one ends for good
 *   run_options.c the command line, and --help
 *   run_hosts.c   which hosts are left
 *   run_dialect.c which Open MPI's mpirun it is, and what that calls things
 *   run_slurm.c   hosts, processes and srun in a Slurm allocation
 *   run_slurm_read.c  what Slurm's commands print
 *   run_stop.c    DIR/stop: wishes of `cairn stop`
 *   run_launch.c  one mpirun: its arguments and environment
 *   run_watch.c   the poll loop over one launch: its output, its beats, its end, our signals
 *   run_filter.c  mpirun's own talk is taken out of the job's stderr, and read
 *   run_judge.c   why a launch ended and what follows from it
 *   run_survive.c  what is different when processes may die and the others go on
 *   run_sweep.c   nothing of a dead launch lives on
 *   run_bar.c     progress
 *
 * Invariants:
 *  - Who holds the lock on DIR/lock is the only one with launches in DIR. mpirun inherits it, so it also outlives a
 * killed supervisor until its launch is gone.
 *  - A launch has ended (mpirun reaped, stragglers swept) before the next one starts.
 *  - Only processes whose environment holds the id of this run are ever sent a signal, through a pidfd taken before the
 * check. */
#ifndef CAIRN_CLI_RUN_H
#define CAIRN_CLI_RUN_H

#include <stddef.h>

#include "base/beat.h"
#include "base/nodelist.h"
#include "snapshot/store.h"

#include <cairn/status.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CAIRN_RUN_KILLS_MAX 64
#define CAIRN_RUN_LOST_MAX  64

typedef struct cairn_run_kill {
    uint32_t process;
    double at; /* seconds since the start of `cairn run`, or percent */
    bool percent;
} cairn_run_kill;

typedef struct cairn_run_options {
    uint32_t count;
    uint32_t cores; /* physical ones that we may use */
    char dir[PATH_MAX];
    const char *interval, *mtbf, *keep, *clock, *wait_timeout, *copies,
        *local; /* checked texts for the environment, or NULL */
    const char *hostfile;
    const char *mpirun_args;
    uint32_t restarts;
    double hang_timeout; /* 0: never */
    double grace;
    bool start_over, quiet, survive;
    bool in_memory;  /* snapshots in memory only, too */
    bool on_hosts;   /* snapshots in a folder of each host, too */
    bool in_place;   /* who dies is replaced */
    uint32_t spares; /* ranks beside the processes, to take the place of those that die */
    bool srun;       /* launches, instead of mpirun */
    const char *srun_args;
    bool obey_stop;
    double take_over;     /* seconds, 0: do not */
    cairn_nodelist nodes; /* of the Slurm allocation, if that is where we run; otherwise empty */
    uint32_t *tasks;      /* of each */
    cairn_run_kill kills[CAIRN_RUN_KILLS_MAX];
    uint32_t kill_count;
    char **job; /* NULL terminated, borrowed from argv */
    int job_count;
    char **again; /* the arguments that go on with this run, NULL terminated */
} cairn_run_options;

/* -1: parsed; otherwise the exit code (0 after --help). */
int cairn_run_parse(cairn_run_options *options, int argc, char **argv);
/* "cairn: run: ..." for a wrong command line: CAIRN_EXIT_USAGE. */
int cairn_run_usage(const char *format, const char *text);

/* What one Open MPI's mpirun calls things (run_dialect.c). NULL: it has no such thing. */
typedef struct cairn_run_dialect {
    int major;                        /* of the first Open MPI that speaks so */
    const char *launcher_mca;         /* the option that sets a parameter of the launcher rather than of the ranks */
    const char *launcher_environment; /* what such a parameter's name begins with in the environment */
    const char *oversubscribe[3];     /* arguments; NULL ends them */
    const char *recovery[4];          /* the same: when a process dies the others live on */
    const char *recovery_name;        /* what shows that the user has said it himself */
    const char *output[3];            /* arguments: the ranks' output goes out as it comes */
    const char *btl;                  /* transports on one host */
    const char *shared_folder;        /* parameters: where the ranks' shared memory goes, */
    const char *folder;               /* where the launcher's files go,   */
    const char *hostfile;             /* the hosts unless told otherwise, */
    const char *binding;              /* what ranks are bound to          */
    const char *local_starter;        /* the value of "plm" for one host  */
    const char *launch_agent;         /* the parameter of what is started as its daemon on other hosts */
    const char *daemon_holds;         /* its value for a daemon that does not take SIGTERM         */
    bool spawns;                      /* its ranks can start others that all can reach */
    const char *kill_time;            /* the parameter of the seconds that ranks of a job that failed are given */
} cairn_run_dialect;

/* From what `mpirun --version` prints; NULL: it is not Open MPI's. */
const cairn_run_dialect *cairn_run_dialect_read(const char *said);
/* Ask the mpirun of PATH. NULL: as above, and said holds the first line of what it said instead. */
const cairn_run_dialect *cairn_run_dialect_ask(char *said, size_t bytes);

/* What mpirun said about the end of a launch, and the state of the filter that found it. */
typedef struct cairn_run_filter {
    bool srun; /* what srun says of its tasks is of the job's processes */
    int out;   /* where the job's stderr goes                 */
    FILE *log; /* where everything goes; may be NULL          */
    char held[65536];
    size_t held_bytes; /* not yet decided                      */
    double held_since;
    bool middle;           /* the job's last line is not complete  */
    bool behind_launcher;  /* what came last was mpirun's own */
    char last_block[2048]; /* mpirun's last message, for errors  */
    int32_t process;       /* the first that failed, or -1         */
    int signal, exit;      /* of it; -1 = unknown                  */
    bool not_started;      /* a fault of the hosts or of Slurm */
    bool daemon_lost;
    char host[65];       /* of the lost daemon, or ""            */
    char first_host[65]; /* of the first of mpirun's daemons that ended badly, as its srun says, or "" */
} cairn_run_filter;

void cairn_run_filter_begin(cairn_run_filter *filter, int out, FILE *log, bool srun);
void cairn_run_filter_feed(cairn_run_filter *filter, const char *data, size_t bytes, double now);
/* Let go what was held for too long; everything when `all`. */
void cairn_run_filter_flush(cairn_run_filter *filter, double now, bool all);

typedef enum cairn_run_stop {
    CAIRN_RUN_GO,
    CAIRN_RUN_STOP_WANTED, /* SIGUSR2 goes out when every process can take it */
    CAIRN_RUN_STOP_SENT,
    CAIRN_RUN_STOP_NOW /* grace time over or asked twice: killed          */
} cairn_run_stop;

typedef struct cairn_run_launch {
    uint32_t number;
    uint32_t count;
    pid_t mpirun;
    int error_fd, output_fd; /* -1: closed, or not piped */
    double started;
    bool ended;
    int status; /* of waitpid */
    cairn_beat *beats;
    bool *seen;
    uint32_t seen_count;
    double last_change;
    double killed_at;   /* we began to kill it; 0 = not  */
    double orphaned_at; /* a process has been dead for so long without mpirun ending; 0 = not */
    int output_error;   /* errno of writing the job's output; 0: none */
    bool hung;
    char hung_text[300];
    cairn_run_filter filter;
} cairn_run_launch;

typedef struct cairn_run_bar {
    bool terminal, quiet, drawn;
    double drawn_at;
    char last[160];
    double first_time, first_fraction; /* the base of the estimate */
    uint32_t launch;
} cairn_run_bar;

typedef struct cairn_run_failure {
    uint32_t launch;
    uint64_t snapshot; /* newest committed one at that time, 0 = none */
    char text[300];
} cairn_run_failure;

typedef struct cairn_run {
    cairn_run_options options;
    const cairn_run_dialect *dialect;
    cairn_run_record *record;
    int lock;
    int signals; /* signalfd */
    int ticks;   /* timerfd  */
    FILE *log;
    double started;
    bool snapshot_wanted; /* SIGUSR1 waits until every process can take it */
    cairn_run_stop stop;
    double stop_at;
    bool for_good;          /* `cairn stop` wanted it */
    uint32_t early_crashes; /* before anybody had joined, which were taken for the launcher's */
    bool launcher_holds;    /* mpirun and its daemons do not take SIGTERM, which Slurm sends to all */
    char reason[300];       /* of the next launch */
    cairn_run_failure *failures;
    uint32_t failure_count;
    cairn_run_bar bar;
    uint64_t newest;                   /* committed snapshot that the beats know of */
    char lost[CAIRN_RUN_LOST_MAX][65]; /* hosts whose daemon was lost */
    uint32_t lost_count;
    char hosts_all[PATH_MAX], hosts_left[PATH_MAX];
    char tmp[PATH_MAX], shm[PATH_MAX]; /* mpirun's files of one launch; "" = its own choice */
    cairn_run_launch launch;
} cairn_run;

/* Ranks may die without mpirun ending the launch. */
static inline bool cairn_run_outlives(const cairn_run_options *options)
{
    return options->survive || options->in_place;
}

/* What ends the launcher. */
static inline int cairn_run_end_signal(const cairn_run *run)
{
    return run->launcher_holds ? SIGINT : SIGTERM;
}

double cairn_run_now(void);
/* Print "cairn: run: ..." on stderr, after taking the bar away, and into the log. */
void cairn_run_say(cairn_run *run, const char *format, ...) CAIRN_PRINTF(2, 3);
/* The path DIR/name; false when it is too long. */
bool cairn_run_path(const cairn_run *run, char *path, size_t bytes, const char *name);

/* The options of a run in a Slurm allocation, from the environment. -1: go on, otherwise the exit code. */
int cairn_run_slurm_settle(cairn_run_options *options);
/* Write the allocation down as a hostfile. */
cairn_status cairn_run_slurm_hosts(cairn_run *run, cairn_error *error);
/* Whether srun can start the job; the text says why not. */
bool cairn_run_slurm_can_srun(char *text, size_t bytes);
/* Whether mpirun and its daemons can be kept from taking SIGTERM. */
bool cairn_run_slurm_can_hold(const cairn_run *run);
/* A line of `sinfo --format='%N %T'`: a node that is dead, its name and its state. */
bool cairn_run_slurm_read_dead(const char *line, char name[CAIRN_NODE_NAME_BYTES], char state[64]);
/* A line of `srun --mpi=list`: PMIx is there. */
bool cairn_run_slurm_read_pmix(const char *line);
/* Take the hosts that Slurm calls dead for lost. How many that are new. */
uint32_t cairn_run_slurm_look(cairn_run *run);

/* On start, with the lock: whether to end at once, and to say so; an old wish that does not count is cleared. */
bool cairn_run_stop_at_start(cairn_run *run);
/* Now and then while a launch runs. */
void cairn_run_stop_look(cairn_run *run, double now);

bool cairn_run_hosts_is_lost(const cairn_run *run, const char *host);
void cairn_run_hosts_lose(cairn_run *run, const char *host);
/* The hostfile for the next launch, or NULL when there is none. */
const char *cairn_run_hosts_file(cairn_run *run);
/* The names in a hostfile, with commas between; NULL when there are none. The caller frees it. */
char *cairn_run_hosts_text(const char *hostfile);

cairn_status cairn_run_launch_begin(cairn_run *run, cairn_error *error);
void cairn_run_launch_end(cairn_run *run);

/* Until mpirun has ended and its output is read. */
void cairn_run_watch(cairn_run *run);
/* Between two launches. Ends early when a stop is wanted. */
void cairn_run_pause(cairn_run *run, double seconds);
void cairn_run_read_beats(cairn_run *run);
/* Gone, or a zombie that nobody reaps. */
bool cairn_run_is_dead(int64_t pid);

/* Survive mode: what a launch that has not ended waits for, and for how many seconds that is to be borne. */
typedef enum cairn_run_waits {
    CAIRN_RUN_FOR_THE_JOB,
    CAIRN_RUN_FOR_NOBODY,  /* all is over, or somebody ended it: only mpirun does not notice     */
    CAIRN_RUN_FOR_THE_DEAD /* *who is dead, and too few are left to agree that it is lost, it seems */
} cairn_run_waits;
cairn_run_waits cairn_run_look(const cairn_run *run, double *patience, int32_t *who);
/* The process whose end is the job's, or -1: there is none. */
int32_t cairn_run_spokesman(const cairn_run *run);

typedef enum cairn_run_verdict {
    CAIRN_RUN_DONE,
    CAIRN_RUN_OWN_FAILURE, /* *code is passed on */
    CAIRN_RUN_STOPPED,
    CAIRN_RUN_RESTART
} cairn_run_verdict;

/* text: what happened, such as "process 2 was killed (signal 9)". */
cairn_run_verdict cairn_run_judge(const cairn_run *run, int *code, char *text, size_t bytes);

/* Kill every process of this host that belongs to the run and wait until they are gone. How many there were. */
unsigned cairn_run_sweep(const char *run_id);

void cairn_run_bar_draw(cairn_run *run, double now);
void cairn_run_bar_clear(cairn_run *run);

#endif
