/* What happens by itself: snapshots by interval and by signal, stopping, ordered kills, signs of life. */
#include "process/partner.h"

#include "base/durable.h"
#include "base/environment.h"
#include "snapshot/interval.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BEAT_SECONDS         0.1
#define FAILED_PAUSE_SECONDS 1.0 /* doubled with every further failure, up to 64 s */
#define SIGNAL_MERGE_SECONDS 0.5
#define AUTO_FIRST_SECONDS   1.0 /* the first snapshot of a run measures what one costs */

/* Signals and exit know no handle: there is one process of a job in a program. */
static cairn_process *the_process;
static volatile sig_atomic_t snapshot_signal;
static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t term_signal;

static void on_signal(int number)
{
    if (number == SIGUSR1) {
        snapshot_signal = 1;
    } else {
        stop_signal = 1;
        term_signal |= number == SIGTERM;
    }
}

/* A wish that comes while MPI begins must not end this process: it is heard when all have begun. Only where `cairn run` may
 * have sent it, and nobody else wants it. */
__attribute__((constructor)) static void hear_early(void)
{
    static const int wishes[] = {SIGUSR1, SIGUSR2};
    const struct sigaction note = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction old;

    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0] && getenv(CAIRN_ENV_RUN) != NULL; i++) {
        if (sigaction(wishes[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
            (void)sigaction(wishes[i], &note, NULL);
        }
    }
}

/* ---------------------------------------------------------------- signs of life */

void cairn_beat_now(cairn_process *p, cairn_phase phase, int exit_status)
{
    if (p->beat_fd < 0) {
        return;
    }
    p->beat.phase = phase;
    p->beat.activity = p->activity;
    p->beat.step = p->step_seen ? p->last_step : UINT64_MAX;
    p->beat.done = p->done;
    p->beat.total = p->total;
    p->beat.attempt = p->stats.last;
    p->beat.exit = exit_status;
    (void)cairn_beat_write(p->beat_fd, &p->beat);
}

static void on_end(int status, void *unused)
{
    cairn_process *p = the_process;

    (void)unused;
    if (p != NULL) {
        cairn_beat_now(p, p->beat.phase, status);
    }
}

static cairn_status open_beat(cairn_process *p, cairn_error *error)
{
    char path[4096];
    char folder[4096];

    p->beat.launch = p->launch;
    p->beat.pid = getpid();
    if (gethostname(p->beat.host, sizeof p->beat.host - 1) != 0) {
        (void)snprintf(p->beat.host, sizeof p->beat.host, "unknown");
    }
    cairn_beat_path(path, sizeof path, p->dir, p->self);
    cairn_folder_of(folder, sizeof folder, path);
    if (cairn_make_folders(folder, error) != CAIRN_OK) {
        return error->status;
    }
    p->beat_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (p->beat_fd < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    cairn_beat_now(p, CAIRN_PHASE_STARTING, -1);
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- superseded */

/* On a host that was cut off a launch may live on when another one has long begun in its DIR: it has nothing to say there
 * any more. DIR/run.json counts the launches. */
void cairn_end_if_superseded(const cairn_process *p)
{
    cairn_run_record *record = NULL;

    if (p->run[0] == '\0' || cairn_run_record_read(p->dir, &record, NULL) != CAIRN_OK) {
        return;
    }
    if (strcmp(record->run, p->run) != 0 || record->launches > p->launch + 1) {
        fprintf(stderr, "cairn: process %u: launch %u of %s is over, another one has begun: this process ends\n",
                p->self, p->launch, p->dir);
        _exit(CAIRN_EXIT_AGAIN); /* its sign of life is another one's by now */
    }
    cairn_run_record_free(record);
}

static void look_at_record(cairn_process *p)
{
    char path[4096];
    struct stat now;

    (void)snprintf(path, sizeof path, "%.3000s/run.json", p->dir);
    if (p->dir[0] != '\0' && p->run[0] != '\0' && stat(path, &now) == 0 &&
        (now.st_ino != p->record_inode || now.st_mtim.tv_sec != p->record_changed.tv_sec ||
         now.st_mtim.tv_nsec != p->record_changed.tv_nsec)) {
        cairn_end_if_superseded(p);
        p->record_inode = now.st_ino;
        p->record_changed = now.st_mtim;
    }
}

/* ---------------------------------------------------------------- ordered kills */

static void kill_self(cairn_process *p, kill_order *order)
{
    char path[4096];
    int fd;

    (void)snprintf(path, sizeof path, "%.3000s/status/killed-%u", p->dir, order->index);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    order->done = true;
    if (fd < 0 && errno == EEXIST) {
        return; /* who carried this process before has carried it out */
    }
    if (fd >= 0) {
        close(fd);
    }
    (void)kill(getpid(), SIGKILL);
}

void cairn_kill_ordered(cairn_process *p, uint64_t index)
{
    for (size_t i = 0; i < p->kill_count; i++) {
        if (p->kills[i].index == index && p->kills[i].process == p->self) {
            kill_self(p, &p->kills[i]);
        }
    }
}

void cairn_kills_again(cairn_process *p)
{
    for (size_t i = 0; i < p->kill_count; i++) {
        p->kills[i].done = false;
    }
}

/* "K:PROC@SECONDS" or "K:PROC@PERCENT%", separated by commas; checked by `cairn run`, and again here. */
static cairn_status parse_kills(cairn_process *p, const char *text, cairn_error *error)
{
    while (*text != '\0') {
        kill_order order = {.seconds = -1.0, .fraction = -1.0};
        unsigned index;
        unsigned process;
        double value;
        int length = 0;
        kill_order *grown;

        if (sscanf(text, "%u:%u@%lf%n", &index, &process, &value, &length) != 3 || !(value >= 0.0)) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: not K:PROC@SECONDS or K:PROC@PERCENT%%: %s", CAIRN_ENV_KILL,
                              text);
        }
        text += length;
        order.index = index;
        order.process = process;
        if (*text == '%') {
            order.fraction = value / 100.0;
            text++;
        } else {
            order.seconds = value;
        }
        text += *text == ',' ? 1 : 0;
        grown = realloc(p->kills, (p->kill_count + 1) * sizeof *grown);
        if (grown == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s", CAIRN_ENV_KILL);
        }
        p->kills = grown;
        p->kills[p->kill_count++] = order;
    }
    return CAIRN_OK;
}

void cairn_progress(cairn_process *p, uint64_t done, uint64_t total)
{
    cairn_enter(p);
    p->done = done;
    p->total = total;
    for (size_t i = 0; i < p->kill_count && p->fatal == CAIRN_OK; i++) {
        kill_order *order = &p->kills[i];

        if (!order->done && order->fraction >= 0.0 && (double)done >= order->fraction * (double)total) {
            order->done = true;
            if (order->process == p->self) {
                kill_self(p, order);
            } else if (order->process < p->count) {
                cairn_send_control(p, order->process, CONTROL_KILL, order->index);
            }
        }
    }
    cairn_exit_call(p);
}

void cairn_send_control_bytes(cairn_process *p, uint32_t to, uint32_t what, uint64_t number, const void *payload,
                              size_t bytes)
{
    cairn_envelope e = {.lamport = p->lamport,
                        .sequence = number,
                        .bytes = bytes,
                        .incarnation = p->incarnation,
                        .tag = what,
                        .kind = (uint8_t)CAIRN_KIND_CONTROL,
                        .vector = (uint16_t)(p->vector != NULL ? p->count : 0),
                        .magic = CAIRN_MAGIC};

    for (uint32_t i = 0; i < p->peers; i++) {
        if (i != p->self && (to == CL_ALL || to == i)) {
            (void)cairn_link_send(p->link, i, &e, p->vector, payload);
        }
    }
}

void cairn_send_control(cairn_process *p, uint32_t to, uint32_t what, uint64_t number)
{
    cairn_send_control_bytes(p, to, what, number, NULL, 0);
}

void cairn_send_ready(cairn_process *p, uint64_t view)
{
    ready_report report = {.view = view, .latest = cl_latest(p->core)};

    cairn_copies_tell(p, &report);
    cairn_send_control_bytes(p, CL_ALL, CONTROL_READY, 0, &report, sizeof report);
}

/* ---------------------------------------------------------------- snapshots by themselves */

static void initiate(cairn_process *p)
{
    p->attempt_began = cairn_now();
    cairn_core_event(p, CL_INITIATE, 0);
}

double cairn_period(const cairn_process *p)
{
    static const cairn_interval_limits limits = {.share = 0.1, .shortest = 0.5, .longest = 86400.0};

    if (!p->interval_auto) {
        return p->interval;
    }
    return p->cost <= 0.0 ? AUTO_FIRST_SECONDS : p->cost + cairn_interval_auto(p->cost, p->mtbf, &limits);
}

void cairn_snapshot_ended(cairn_process *p, bool committed, bool failed, uint64_t attempt)
{
    double now = cairn_now();
    bool shared = cairn_level_of(p, attempt) == CAIRN_LEVEL_SHARED;

    if (p->self != COORDINATOR) {
        return;
    }
    p->next_snapshot = shared ? p->attempt_began + cairn_period(p) : p->next_snapshot;
    cairn_levels_ended(p, attempt);
    p->failures = failed ? p->failures + 1 : 0;
    if (failed && !shared && p->interval >= 0.0) {
        fprintf(stderr, "cairn: snapshot %llu was not %s: the next one is in DIR\n", (unsigned long long)attempt,
                cairn_level_of(p, attempt) == CAIRN_LEVEL_LOCAL ? "written on the hosts" : "kept in memory");
        p->next_snapshot = now;
    }
    if (failed) {
        double pause = FAILED_PAUSE_SECONDS * (double)(1u << (p->failures > 7 ? 6 : p->failures - 1));

        p->not_before = now + pause;
    }
    if (!committed) {
        p->stop_begun = false; /* a last snapshot is tried again */
        return;
    }
    if (!shared) {
        return;
    }
    if (p->stop_begun && p->recorded_at >= p->stop_wished_at) {
        cairn_send_control(p, CL_ALL, CONTROL_STOP, attempt);
        p->stopped = true;
    }
    cairn_writer_ask(p, TASK_PRUNE, 0);
}

/* mpirun forwards a signal to all processes: what another one heard of a moment ago is asked for once. */
void cairn_snapshot_wished(cairn_process *p)
{
    if (p->can_snapshot && !p->finishing &&
        (cairn_now() - p->recorded_at > SIGNAL_MERGE_SECONDS || (p->level.on && p->level.of != CAIRN_LEVEL_SHARED))) {
        p->level.wanted = CAIRN_LEVEL_SHARED;
        initiate(p);
    }
}

static void signals(cairn_process *p)
{
    if (snapshot_signal != 0) {
        snapshot_signal = 0;
        if (p->self != COORDINATOR) {
            cairn_send_control(p, COORDINATOR, CONTROL_SNAPSHOT_WISH, 0);
        } else if (p->can_snapshot && !p->finishing) {
            p->level.wanted = CAIRN_LEVEL_SHARED;
            initiate(p);
        }
    }
    if (stop_signal != 0) {
        stop_signal = 0;
        p->stop_wished = true; /* remembered here too: the coordinator may be about to be lost */
        if (p->self != cairn_coordinator(p)) {
            cairn_send_control(p, cairn_coordinator(p), CONTROL_STOP_WISH, 0);
        }
    }
}

/* Whoever sent SIGTERM wants this process to be gone, with a last snapshot or without. */
static void obey_term(cairn_process *p, double now)
{
    if (term_signal == 0) {
        return;
    }
    p->term_at = p->term_at > 0.0 ? p->term_at : now;
    if (now > p->term_at + p->term_grace) {
        (void)signal(SIGTERM, SIG_DFL);
        (void)kill(getpid(), SIGTERM); /* not raise: only the job's own threads take signals */
    }
}

static void coordinate(cairn_process *p, double now)
{
    if (p->lost_count > 0 && p->stop_wished && !p->stopped && !p->finishing) {
        /* No last snapshot can be taken any more. */
        cairn_send_control(p, CL_ALL, CONTROL_STOP, 0);
        p->stopped = true;
    }
    if (!p->can_snapshot || p->finishing || p->stopped || p->undecided || now < p->not_before) {
        return;
    }
    if (p->stop_wished && !p->stop_begun) {
        /* Merged into an attempt that is not recorded yet, or the one after. */
        p->stop_begun = true;
        p->stop_wished_at = now;
        p->level.wanted = CAIRN_LEVEL_SHARED;
        initiate(p);
    } else if (!p->stop_wished && cl_attempt(p->core) == 0 && !p->active) {
        if (cairn_period(p) >= 0.0 && now >= p->next_snapshot) {
            p->level.wanted = CAIRN_LEVEL_SHARED;
            initiate(p);
        } else if (cairn_levels_due(p, now)) {
            initiate(p);
        }
    }
}

void cairn_timers(cairn_process *p)
{
    double now = cairn_now();

    signals(p);
    obey_term(p, now);
    for (size_t i = 0; i < p->kill_count; i++) {
        if (p->kills[i].process == p->self && !p->kills[i].done && p->kills[i].seconds >= 0.0 &&
            now - p->started >= p->kills[i].seconds) {
            kill_self(p, &p->kills[i]);
        }
    }
    if (p->self == cairn_coordinator(p)) {
        coordinate(p, now);
    }
    if (now >= p->beat_at) {
        p->beat_at = now + BEAT_SECONDS;
        look_at_record(p);
        cairn_beat_now(p, p->finishing && !p->stopped ? CAIRN_PHASE_FINISHING : CAIRN_PHASE_RUNNING, -1);
    }
}

/* ---------------------------------------------------------------- start and end */

static double seconds_of(const char *name, const char *text, cairn_error *error)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0.0) || !isfinite(value)) {
        cairn_fail(error, CAIRN_E_INVALID, "%s: not a number of seconds: %s", name, text);
        return -1.0;
    }
    return value;
}

static cairn_status parse_interval(cairn_process *p, cairn_error *error)
{
    const char *mtbf = getenv(CAIRN_ENV_MTBF);

    p->mtbf = 86400.0;
    if (mtbf != NULL && (p->mtbf = seconds_of(CAIRN_ENV_MTBF, mtbf, error)) < 0.0) {
        return CAIRN_E_INVALID;
    }
    return cairn_levels_start(p, error);
}

cairn_status cairn_timers_start(cairn_process *p, cairn_error *error)
{
    const char *kills = getenv(CAIRN_ENV_KILL);
    const char *keep = getenv(CAIRN_ENV_KEEP);
    const char *term = getenv(CAIRN_ENV_TERM);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    cairn_status status = parse_interval(p, error);

    if (status != CAIRN_OK) {
        return status;
    }
    p->keep = CAIRN_KEEP_DEFAULT;
    if (keep != NULL) {
        char *end;
        long value = strtol(keep, &end, 10);

        if (end == keep || *end != '\0' || value < 1 || value > 1000000) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: not a number of snapshots >= 1: %s", CAIRN_ENV_KEEP, keep);
        }
        p->keep = (uint32_t)value;
    }
    if (kills != NULL) {
        status = parse_kills(p, kills, error);
    }
    if (status == CAIRN_OK && term != NULL && (p->term_grace = seconds_of(CAIRN_ENV_TERM, term, error)) < 0.0) {
        status = CAIRN_E_INVALID;
    }
    if (status == CAIRN_OK && p->dir[0] != '\0') {
        status = open_beat(p, error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    the_process = p;
    if (p->dir[0] != '\0') {
        sigemptyset(&action.sa_mask);
        sigaction(SIGUSR1, &action, NULL);
        sigaction(SIGUSR2, &action, NULL);
        if (term != NULL) {
            sigaction(SIGTERM, &action, NULL);
        }
        on_exit(on_end, NULL);
    }
    return CAIRN_OK;
}

void cairn_timers_end(cairn_process *p)
{
    free(p->kills);
    p->kills = NULL;
    p->kill_count = 0;
}
