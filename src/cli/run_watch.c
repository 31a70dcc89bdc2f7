/* The poll loop over one launch. Its events: the job's output, a child that ended, a signal for us, a tick (5 a second)
 * at which the beats are read. */
#include "cli/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TERM_SECONDS   2.0  /* from SIGTERM to SIGKILL for mpirun                             */
#define ORPHAN_SECONDS 3.0  /* mpirun notices a dead process within milliseconds, if it does  */
#define START_SECONDS  30.0 /* survive mode: all processes have shown a sign of life by then */
#define DRAIN_SECONDS  0.5  /* for what mpirun wrote last                                     */

/* End the launch: first through mpirun, which reaches other hosts too. */
static void kill_launch(cairn_run *run, double now)
{
    if (run->launch.killed_at <= 0) {
        run->launch.killed_at = now;
        (void)kill(run->launch.mpirun, cairn_run_end_signal(run));
        (void)kill(run->launch.mpirun, SIGCONT);
    }
}

static void kill_hung(cairn_run *run, double now)
{
    run->launch.hung = true;
    kill_launch(run, now);
}

/* Without its output a job is not done: end it now rather than let it compute for nobody. */
static void output_failed(cairn_run *run, double now)
{
    run->launch.output_error = errno;
    kill_launch(run, now);
}

static void pump_output(cairn_run *run, double now)
{
    char data[65536];
    ssize_t got;

    while ((got = read(run->launch.output_fd, data, sizeof data)) > 0) {
        cairn_run_bar_clear(run);
        for (ssize_t done = 0, part; done < got; done += part) {
            part = run->launch.output_error != 0 ? got - done : write(STDOUT_FILENO, data + done, (size_t)(got - done));
            if (part < 0 && errno == EINTR) {
                part = 0;
            } else if (part < 0) {
                output_failed(run, now);
                part = got - done;
            }
        }
        run->launch.filter.middle = data[got - 1] != '\n';
    }
    if (got == 0) {
        close(run->launch.output_fd);
        run->launch.output_fd = -1;
    }
}

static void pump_errors(cairn_run *run, double now)
{
    char data[65536];
    ssize_t got;

    while ((got = read(run->launch.error_fd, data, sizeof data)) > 0) {
        cairn_run_bar_clear(run);
        cairn_run_filter_feed(&run->launch.filter, data, (size_t)got, now);
    }
    if (got == 0) {
        close(run->launch.error_fd);
        run->launch.error_fd = -1;
    }
}

/* A signal to a process that has not joined yet would kill it: mpirun passes it on to all. */
static bool can_take_signals(const cairn_run_launch *launch)
{
    if (launch->seen_count < launch->count) {
        return false;
    }
    for (uint32_t i = 0; i < launch->count; i++) {
        if (launch->beats[i].phase != CAIRN_PHASE_RUNNING && launch->beats[i].phase != CAIRN_PHASE_FINISHING) {
            return false;
        }
    }
    return true;
}

static void pass_wishes(cairn_run *run)
{
    if (run->launch.ended || (!run->snapshot_wanted && run->stop != CAIRN_RUN_STOP_WANTED) ||
        !can_take_signals(&run->launch)) {
        return;
    }
    if (run->snapshot_wanted) {
        run->snapshot_wanted = false;
        (void)kill(run->launch.mpirun, SIGUSR1);
    }
    if (run->stop == CAIRN_RUN_STOP_WANTED) {
        run->stop = CAIRN_RUN_STOP_SENT;
        (void)kill(run->launch.mpirun, SIGUSR2);
    }
}

static void take_signals(cairn_run *run, double now)
{
    struct signalfd_siginfo info;

    while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int status;
        pid_t pid;

        switch ((int)info.ssi_signo) {
        case SIGCHLD:
            while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid == run->launch.mpirun) {
                    run->launch.ended = true;
                    run->launch.status = status;
                }
            }
            break;
        case SIGUSR1:
            run->snapshot_wanted = true;
            break;
        default:
            if (run->stop == CAIRN_RUN_GO) {
                run->stop = CAIRN_RUN_STOP_WANTED;
                run->stop_at = now;
                cairn_run_say(run, "stopping after a last snapshot; %.0f s are granted for it, once more kills at once",
                              run->options.grace);
            } else if (info.ssi_signo != SIGUSR2 &&
                       now - run->stop_at > 0.05) { /* one key press may come as two signals */
                run->stop = CAIRN_RUN_STOP_NOW;
            }
        }
    }
}

void cairn_run_read_beats(cairn_run *run)
{
    cairn_run_launch *launch = &run->launch;
    char path[PATH_MAX];

    for (uint32_t i = 0; i < launch->count; i++) {
        cairn_beat beat, *last = &launch->beats[i];

        cairn_beat_path(path, sizeof path, run->options.dir, i);
        if (cairn_beat_read(path, launch->number, &beat) != CAIRN_OK) {
            continue;
        }
        if (!launch->seen[i] || beat.activity != last->activity || beat.done != last->done || beat.step != last->step ||
            beat.phase != last->phase) {
            launch->last_change = cairn_run_now();
        }
        launch->seen_count += !launch->seen[i];
        launch->seen[i] = true;
        *last = beat;
        if (beat.attempt > run->newest) {
            run->newest = beat.attempt;
        }
    }
}

/* Everybody stands still; those who are furthest behind are named. */
static void describe_hang(cairn_run *run, double seconds)
{
    cairn_run_launch *launch = &run->launch;
    uint64_t lowest = UINT64_MAX;
    uint32_t named = 0, behind = 0;
    size_t used, room = sizeof launch->hung_text;

    used = (size_t)snprintf(launch->hung_text, room, "no progress for %.0f s", seconds);
    if (launch->seen_count < launch->count) {
        (void)snprintf(launch->hung_text + used, room - used, ": %u of %u processes never joined",
                       launch->count - launch->seen_count, launch->count);
        return;
    }
    /* "No step" is UINT64_MAX, and wraps to the least here. */
    for (uint32_t i = 0; i < launch->count; i++) {
        lowest = launch->beats[i].step + 1 < lowest ? launch->beats[i].step + 1 : lowest;
    }
    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (beat->step + 1 != lowest || behind++ >= 3) {
            continue;
        }
        used += (size_t)snprintf(launch->hung_text + used, room - used, "%s process %u (%s)", named++ > 0 ? "," : ":",
                                 i, beat->host);
    }
    if (behind > named) {
        used += (size_t)snprintf(launch->hung_text + used, room - used, " and %u more", behind - named);
    }
    if (lowest > 0) {
        (void)snprintf(launch->hung_text + used, room - used, " stood still at step %llu",
                       (unsigned long long)(lowest - 1));
    } else {
        (void)snprintf(launch->hung_text + used, room - used, " stood still before the first safe point");
    }
}

bool cairn_run_is_dead(int64_t pid)
{
    char path[64], line[512], *behind;
    bool dead = false;

    (void)snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return errno == ENOENT;
    }
    if (fgets(line, sizeof line, file) != NULL && (behind = strrchr(line, ')')) != NULL) {
        dead = strncmp(behind, ") Z", 3) == 0;
    }
    fclose(file);
    return dead;
}

static void look_for_survivors(cairn_run *run, double now)
{
    cairn_run_launch *launch = &run->launch;
    double patience = 0;
    int32_t dead;
    cairn_run_waits waits = cairn_run_look(run, &patience, &dead);

    /* Who dies while MPI starts leaves no sign of life, and mpirun lets the others wait for it. */
    for (uint32_t i = 0; i < launch->count && now - launch->started > START_SECONDS && launch->killed_at <= 0; i++) {
        if (!launch->seen[i]) {
            (void)snprintf(launch->hung_text, sizeof launch->hung_text, "process %u has not joined within %g s", i,
                           START_SECONDS);
            kill_hung(run, now);
        }
    }
    if (waits == CAIRN_RUN_FOR_THE_JOB) {
        launch->orphaned_at = 0;
    } else if (launch->orphaned_at <= 0) {
        launch->orphaned_at = now;
    } else if (now - launch->orphaned_at <= patience || launch->killed_at > 0) {
        return;
    } else if (waits == CAIRN_RUN_FOR_NOBODY) {
        kill_launch(run, now);
    } else {
        (void)snprintf(launch->hung_text, sizeof launch->hung_text,
                       "process %d died, and too few are left to agree on it", dead);
        kill_hung(run, now);
    }
}

/* A process of this host is dead, and mpirun does not end. */
static void look_for_orphans(cairn_run *run, double now)
{
    cairn_run_launch *launch = &run->launch;
    char host[65] = "";
    int32_t dead = -1;

    (void)gethostname(host, sizeof host - 1);
    for (uint32_t i = 0; i < launch->count && dead < 0; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (launch->seen[i] && beat->exit < 0 && beat->phase != CAIRN_PHASE_FINISHED && strcmp(beat->host, host) == 0 &&
            cairn_run_is_dead(beat->pid)) {
            dead = (int32_t)i;
        }
    }
    if (dead < 0) {
        launch->orphaned_at = 0;
    } else if (launch->orphaned_at <= 0) {
        launch->orphaned_at = now;
    } else if (now - launch->orphaned_at > ORPHAN_SECONDS && launch->killed_at <= 0) {
        (void)snprintf(launch->hung_text, sizeof launch->hung_text, "process %d died and mpirun did not notice", dead);
        kill_hung(run, now);
    }
}

static void tick(cairn_run *run, double now)
{
    cairn_run_launch *launch = &run->launch;
    double still;

    cairn_run_read_beats(run);
    cairn_run_stop_look(run, now);
    pass_wishes(run);
    if (cairn_run_outlives(&run->options)) {
        look_for_survivors(run, now);
    } else {
        look_for_orphans(run, now);
    }
    still = now - launch->last_change;
    if (run->options.hang_timeout > 0 && still > run->options.hang_timeout && launch->killed_at <= 0) {
        describe_hang(run, still);
        kill_hung(run, now);
    }
    if (run->stop != CAIRN_RUN_GO && run->stop != CAIRN_RUN_STOP_NOW && now - run->stop_at > run->options.grace) {
        run->stop = CAIRN_RUN_STOP_NOW;
    }
    if (run->stop == CAIRN_RUN_STOP_NOW) {
        kill_launch(run, now);
    }
    if (launch->killed_at > 0 && now - launch->killed_at > TERM_SECONDS) {
        (void)kill(-launch->mpirun, SIGKILL);
        (void)kill(launch->mpirun, SIGKILL);
        (void)cairn_run_sweep(run->record->run);
    }
    cairn_run_filter_flush(&launch->filter, now, false);
    cairn_run_bar_draw(run, now);
}

/* Wait for one event, at most `seconds`. */
static void wait_event(cairn_run *run, double seconds)
{
    struct pollfd fds[4] = {{.fd = run->signals, .events = POLLIN},
                            {.fd = run->launch.error_fd, .events = POLLIN},
                            {.fd = run->launch.output_fd, .events = POLLIN},
                            {.fd = run->ticks, .events = POLLIN}};
    uint64_t ticks;
    double now;

    if (poll(fds, 4, (int)(seconds * 1000) + 1) < 0 && errno != EINTR) {
        return;
    }
    now = cairn_run_now();
    if (fds[1].revents != 0) {
        pump_errors(run, now);
    }
    if (fds[2].revents != 0) {
        pump_output(run, now);
    }
    if (fds[0].revents != 0) {
        take_signals(run, now);
        if (run->stop == CAIRN_RUN_STOP_NOW && !run->launch.ended) {
            kill_launch(run, now);
        }
    }
    if (fds[3].revents != 0 && read(run->ticks, &ticks, sizeof ticks) == (ssize_t)sizeof ticks && !run->launch.ended) {
        tick(run, now);
    }
}

void cairn_run_pause(cairn_run *run, double seconds)
{
    double end = cairn_run_now() + seconds, now;

    while ((now = cairn_run_now()) < end && run->stop == CAIRN_RUN_GO) {
        struct pollfd fds[2] = {{.fd = run->signals, .events = POLLIN}, {.fd = run->ticks, .events = POLLIN}};
        uint64_t ticks;

        if (poll(fds, 2, 1000) > 0 && fds[0].revents != 0) {
            take_signals(run, now);
        }
        if (fds[1].revents != 0 && read(run->ticks, &ticks, sizeof ticks) == (ssize_t)sizeof ticks) {
            cairn_run_stop_look(run, now);
        }
    }
}

void cairn_run_watch(cairn_run *run)
{
    cairn_run_launch *launch = &run->launch;

    while (!launch->ended) {
        wait_event(run, 1.0);
    }
    /* A rank that outlived mpirun must not hold the pipes open. */
    double deadline = cairn_run_now() + DRAIN_SECONDS;
    while ((launch->error_fd >= 0 || launch->output_fd >= 0) && cairn_run_now() < deadline) {
        wait_event(run, 0.05);
    }
    cairn_run_filter_flush(&launch->filter, cairn_run_now(), true);
    cairn_run_read_beats(run);
    cairn_run_bar_clear(run);
}
