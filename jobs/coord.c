/* coord: processes that do nothing but hold the coordination service, for programs beside the job (cairn kv). */
#include "options.h"

#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define STOP_KEY         "coord/stop"
#define ROUND_SECONDS    0.1 /* between two looks at a snapshot that wants to be taken, and at the clock */
#define ELECTION_SECONDS "0.12"
#define AGAIN_SECONDS    2.0   /* for a new session, before it is tried once more */
#define TTL_SECONDS      1.0   /* nothing hangs on the session */
#define DEADLINE_SECONDS 600.0 /* of all else */

static const char help_text[] =
    "usage: cairn run -n P -- coord [OPTIONS]\n"
    "\n"
    "P processes (3, 5 or 7 vote; of them a majority must live) hold the coordination service of DIR and do nothing\n"
    "else. Programs beside it use it through `cairn kv`. What was written is on disk: the same command goes on with "
    "it.\n"
    "\n"
    "  --seconds S   end after S seconds (default: when told to)\n"
    "  --quiet       do not say that it serves\n"
    "  --help        this text\n"
    "\n"
    "With cairn run --survive it goes on when some of the processes die; without, all are started again.\n"
    "It ends when `cairn run` is told to stop (SIGTERM, SIGINT), or when the key " STOP_KEY " is written:\n"
    "cairn kv put " STOP_KEY " now. Exit status: 0; 3 wrong arguments; 73 the disks of too many acceptors are full or\n"
    "have failed, and the service has ended; see README.\n";

typedef struct serving {
    cairn_process *process;
    cairn_coord *coord;
    cairn_watch *stop;
    uint64_t modified; /* when the stop key had been changed last before; 0: never */
    bool known;        /* ... which has been found out */
    double until;      /* of the monotonic clock; infinite: no end */
    bool quiet;
} serving;

/* `cairn run` asks every process to stop, for a last snapshot: there is nothing to take one of, and after the loss of a
 * process none can be taken. */
static volatile sig_atomic_t told_to_stop;

static void on_signal(int number)
{
    (void)number;
    told_to_stop = 1;
}

static void take_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    (void)sigaction(SIGUSR2, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool parse(serving *s, job_fault *fault, int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *end = NULL;
        double seconds;

        switch (option) {
        case 's':
            seconds = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !(seconds >= 0.0)) {
                job_wrong(fault, "--seconds %s: not a number of seconds", optarg);
            }
            s->until = now() + seconds;
            break;
        case 'q':
            s->quiet = true;
            break;
        case 'h':
            return true;
        default:
            job_wrong(fault, "%s: unknown option, or its value is missing; see coord --help", argv[optind - 1]);
        }
    }
    if (optind < argc) {
        job_wrong(fault, "%s: takes no files or other words; see coord --help", argv[optind]);
    }
    return false;
}

static void turn_away(serving *s)
{
    cairn_watch_close(s->stop);
    (void)cairn_coord_close(s->coord);
    s->stop = NULL;
    s->coord = NULL;
}

/* When the stop key was changed last; 0: never. */
static cairn_status look(serving *s, uint64_t *modified)
{
    cairn_kv kv = {.modified = 0};
    cairn_status status = cairn_coord_get(s->coord, STOP_KEY, &kv, NULL);

    *modified = kv.modified;
    return status == CAIRN_E_NOT_FOUND ? CAIRN_OK : status;
}

/* A session and a watch of the stop key, and how the key is from then on. What it was at first is old. */
static cairn_status attend(serving *s, uint64_t *modified)
{
    cairn_status status = cairn_set_deadline(s->process, AGAIN_SECONDS);

    if (status == CAIRN_OK) {
        status = cairn_coord_open(s->process, TTL_SECONDS, &s->coord);
    }
    (void)cairn_set_deadline(s->process, DEADLINE_SECONDS);
    if (status == CAIRN_OK) {
        status = cairn_coord_watch(s->coord, STOP_KEY, true, 0, &s->stop);
    }
    if (status == CAIRN_OK) {
        status = look(s, modified);
    }
    if (status == CAIRN_OK && !s->known) {
        s->known = true;
        s->modified = *modified;
    }
    if (status != CAIRN_OK) {
        turn_away(s);
    }
    return status;
}

/* A process that was paused has lost its session, or cannot be told all that has happened meanwhile; one without a
 * majority gets no answer; one whose disk failed has left the service. The others go on, so it must not end. */
static bool is_passing(cairn_status status)
{
    return status == CAIRN_E_STATE || status == CAIRN_E_RANGE || status == CAIRN_E_TIMEOUT || status == CAIRN_E_BUSY ||
           status == CAIRN_E_PEER || status == CAIRN_E_IO;
}

/* Without a service there is nothing left to do here, and nobody should think that there is. */
static void say_over(void)
{
    fprintf(stderr,
            "coord: the service has ended: the disks of too many acceptors are full or have failed; what was answered "
            "is in %s: make room, and run the same command\n",
            getenv("CAIRN_DIR"));
}

/* One round of serving; nothing is sent to the others, so every process is at a safe point between two. */
static cairn_next on_idle(cairn_process *process, void *context, cairn_status *status)
{
    serving *s = context;
    cairn_change change = {.deleted = false};
    uint64_t modified = s->modified;

    (void)process;
    if (s->coord == NULL) {
        *status = attend(s, &modified);
    } else {
        *status = cairn_watch_next(s->stop, ROUND_SECONDS, &change);
        modified = *status == CAIRN_OK ? change.kv.modified : modified;
        if (*status == CAIRN_E_TIMEOUT) {
            *status = CAIRN_OK;
        }
    }
    if (*status != CAIRN_OK && !is_passing(*status)) {
        if (*status == CAIRN_E_FULL) {
            say_over();
        }
        return CAIRN_FAIL;
    }
    if (*status != CAIRN_OK) {
        const struct timespec pause = {.tv_nsec = 50000000};

        turn_away(s);
        (void)nanosleep(&pause, NULL);
    }
    *status = CAIRN_OK;
    if (modified > s->modified && !change.deleted) {
        return CAIRN_STOP;
    }
    return told_to_stop != 0 || now() >= s->until ? CAIRN_STOP : CAIRN_CONTINUE;
}

static cairn_next on_message(cairn_process *process, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status)
{
    (void)process;
    (void)message;
    (void)payload;
    (void)context;
    *status = CAIRN_E_CORRUPT; /* nobody sends any */
    return CAIRN_FAIL;
}

/* With a majority it goes on; without one it waits, since it can do neither right nor wrong. */
static cairn_status on_lost(cairn_process *process, uint32_t id, void *context)
{
    (void)process;
    (void)id;
    (void)context;
    return CAIRN_OK;
}

static cairn_status serve(serving *s)
{
    static const cairn_handlers handlers = {.on_message = on_message, .on_idle = on_idle};
    uint64_t modified = 0;
    cairn_status status;

    take_signals();
    cairn_lost_handler(s->process, on_lost, NULL);
    status = cairn_restore(s->process, NULL);
    if (status == CAIRN_OK) {
        status = attend(s, &modified);
        if (status == CAIRN_E_STATE) {
            return CAIRN_E_FULL; /* said by the runtime: there is no service in this run */
        }
        status = is_passing(status) ? CAIRN_OK : status;
    }
    if (status == CAIRN_OK && cairn_id(s->process) == 0 && !s->quiet) {
        printf("coord: %u processes, serving in %s\n", cairn_count(s->process), getenv("CAIRN_DIR"));
        (void)fflush(stdout);
    }
    if (status == CAIRN_OK) {
        status = cairn_serve(s->process, &handlers, s);
    }
    turn_away(s);
    return status == CAIRN_E_STOPPED ? CAIRN_OK : status; /* it has done what it was there for */
}

int main(int argc, char **argv)
{
    serving s = {.until = INFINITY};
    job_fault fault = {""};
    cairn_status status;

    if (parse(&s, &fault, argc, argv)) {
        if (job_speaks()) {
            fputs(help_text, stdout);
        }
        return 0;
    }
    (void)setenv("CAIRN_ELECTION", ELECTION_SECONDS, 0); /* nothing else runs here: a dead leader is missed soon */
    status = cairn_init(&s.process, &argc, &argv);
    if (status != CAIRN_OK) {
        return cairn_exit_code(status);
    }
    if (fault.text[0] == '\0' && getenv("CAIRN_DIR") == NULL) {
        job_wrong(&fault, "the service needs a DIR: cairn run -n 3 -- coord, or CAIRN_DIR in the environment");
    }
    return fault.text[0] != '\0' ? job_refuse(s.process, "coord", &fault)
                                 : cairn_leave(s.process, serve(&s), "serving");
}
