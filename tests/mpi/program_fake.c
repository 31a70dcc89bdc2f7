/* A job without Cairn's runtime: an MPI program that only writes the signs of life which `cairn run` reads, and fails
 * as it is told to. It tests the supervisor for what a healthy runtime never does.
 *
 *   fake [--steps N] [--ms M] [--before ACTION] [--at STEP PROCESS ACTION] [--always] [--late]
 *   ACTION: exit:CODE  abort:CODE  signal:NUMBER  hang  quiet (ends without a last sign of life)  rules (prints dashes)
 * An action is taken in the first launch only, unless --always. SIGUSR1 is told on stderr, SIGUSR2 stops all with 85.
 */
#include "base/beat.h"
#include "base/environment.h"

#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static cairn_beat beat;
static int beat_fd = -1;
static bool quiet;
static volatile sig_atomic_t asked, stopping;

static void on_signal(int number)
{
    if (number == SIGUSR1) {
        asked = 1;
    } else {
        stopping = 1;
    }
}

static void tell(void)
{
    beat.activity++;
    if (beat_fd >= 0 && cairn_beat_write(beat_fd, &beat) != CAIRN_OK) {
        _exit(74);
    }
}

static void leave(int code)
{
    beat.exit = code;
    if (!quiet) {
        tell();
    }
    exit(code);
}

static void act(const char *action)
{
    const char *value = strchr(action, ':');
    int number = value == NULL ? 0 : atoi(value + 1);

    if (strncmp(action, "exit:", 5) == 0) {
        leave(number);
    } else if (strncmp(action, "abort:", 6) == 0) {
        beat.exit = number;
        tell();
        MPI_Abort(MPI_COMM_WORLD, number);
    } else if (strncmp(action, "signal:", 7) == 0) {
        (void)kill(getpid(), number);
        (void)pause();
    } else if (strcmp(action, "hang") == 0) {
        for (;;) {
            (void)pause();
        }
    } else if (strcmp(action, "quiet") == 0) {
        quiet = true;
    } else if (strcmp(action, "rules") == 0) {
        static const char rule[] = "--------------------------------------------------------------------------\n";
        fprintf(stderr, "%sa table\n", rule);
        fprintf(stderr, "[vm] no number\n-- a short rule\n");
        fprintf(stderr, "no end of line");
    }
}

static void join(int process)
{
    const char *dir = getenv(CAIRN_ENV_DIR);
    char path[4096];

    if (dir == NULL) {
        return;
    }
    cairn_beat_path(path, sizeof path, dir, (uint32_t)process);
    beat_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    (void)gethostname(beat.host, sizeof beat.host - 1);
    beat.pid = getpid();
    beat.exit = -1;
    beat.phase = CAIRN_PHASE_RUNNING;
    tell();
}

int main(int argc, char **argv)
{
    const char *action = NULL, *before = NULL, *launch = getenv(CAIRN_ENV_LAUNCH);
    int steps = 20, milliseconds = 20, at_step = -1, at_process = -1, process, last = 0, all = 0;
    bool always = false, late = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--always") == 0) {
            always = true;
        } else if (strcmp(argv[i], "--late") == 0) {
            late = true;
        } else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc) {
            steps = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc) {
            milliseconds = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--before") == 0 && i + 1 < argc) {
            before = argv[++i];
        } else if (strcmp(argv[i], "--at") == 0 && i + 3 < argc) {
            at_step = atoi(argv[++i]);
            at_process = atoi(argv[++i]);
            action = argv[++i];
        } else {
            fprintf(stderr, "fake: %s: no such option\n", argv[i]);
            return 3;
        }
    }
    beat.launch = launch == NULL ? 0 : (uint32_t)strtoul(launch, NULL, 10);
    bool due = always || beat.launch == 0;
    (void)signal(SIGUSR1, on_signal);
    (void)signal(SIGUSR2, on_signal);
    if (before != NULL && due) {
        act(before);
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &process);
    join(process);
    for (int step = 0; step < steps && all == 0; step++) {
        const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

        if (due && step == at_step && process == at_process) {
            act(action);
        }
        (void)nanosleep(&pause, NULL);
        beat.step = (uint64_t)step;
        beat.done = (uint64_t)step + 1;
        beat.total = (uint64_t)steps;
        tell();
        if (asked != 0) {
            asked = 0;
            fprintf(stderr, "fake: process %d was asked for a snapshot\n", process);
        }
        last = (int)stopping;
        MPI_Allreduce(&last, &all, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    }
    if (process == 0 && all == 0) {
        printf("fake: %d steps\n", steps);
        fflush(stdout);
    }
    if (late) {
        beat.phase = CAIRN_PHASE_FINISHING;
        tell();
        MPI_Barrier(MPI_COMM_WORLD);
        if (process == 1) {
            act("signal:9");
        }
    }
    MPI_Finalize();
    beat.phase = CAIRN_PHASE_FINISHED;
    leave(all != 0 ? 85 : 0);
}
