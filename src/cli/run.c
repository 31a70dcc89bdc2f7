/* `cairn run`: from the command line to the last launch. */
#include "cli/run.h"

#include "base/environment.h"
#include "cli/cli.h"
#include "cli/stop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_NANOSECONDS  200000000L
#define LOCK_SECONDS      5.0 /* for the mpirun of a supervisor that was killed to end its launch */
#define PATIENCE_SECONDS  30.0
#define EARLY_CRASHES_MAX 3u
#define GLANCE_SECONDS    0.3 /* for somebody who only looks whether the lock is held            */

double cairn_run_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cairn_run_say(cairn_run *run, const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cairn_run_bar_clear(run);
    fprintf(stderr, "%scairn: run: %s\n", run->launch.filter.middle ? "\n" : "", text);
    run->launch.filter.middle = false;
    if (run->log != NULL) {
        fprintf(run->log, "cairn: run: %s\n", text);
        fflush(run->log);
    }
}

bool cairn_run_path(const cairn_run *run, char *path, size_t bytes, const char *name)
{
    int length = snprintf(path, bytes, "%s/%s", run->options.dir, name);

    return length > 0 && (size_t)length < bytes;
}

/* With all folders above it. */
static cairn_status make_folders(const char *path, cairn_error *error)
{
    char part[PATH_MAX];
    struct stat status;

    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1; slash != NULL; slash = *slash == '\0' ? NULL : slash + 1) {
        slash = strchr(slash, '/');
        slash = slash == NULL ? part + strlen(part) : slash;
        char kept = *slash;
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && (errno != EEXIST || stat(part, &status) != 0 || !S_ISDIR(status.st_mode))) {
            return cairn_fail(error, CAIRN_E_ACCESS, "%s: cannot make this folder: %s", part, strerror(errno));
        }
        *slash = kept;
    }
    if (access(path, R_OK | W_OK | X_OK) != 0) {
        return cairn_fail(error, CAIRN_E_ACCESS, "%s: cannot write here: %s", path, strerror(errno));
    }
    return CAIRN_OK;
}

/* Whether the holder that the lock file names lives on this host. */
static bool holder_lives(int lock, char *holder, size_t bytes)
{
    char host[65] = "", name[65] = "";
    long pid = 0;
    ssize_t got = pread(lock, holder, bytes - 1, 0);

    holder[got > 0 ? got : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    (void)gethostname(host, sizeof host - 1);
    if (sscanf(holder, "process %ld on %64s", &pid, name) != 2 || strcmp(host, name) != 0) {
        return true;
    }
    return kill((pid_t)pid, 0) == 0 || errno != ESRCH;
}

/* Unless it was told to stop for good, which is to stay told. */
static bool ask_to_yield(cairn_run *run, const char *holder)
{
    char by[128];
    cairn_error error = {0};

    cairn_run_say(run, "another `cairn run` is at work in %s (%s): it is asked to stop; waiting for %.0f s",
                  run->options.dir, holder, run->options.take_over);
    if (cairn_stop_asked(run->options.dir, by, sizeof by) == CAIRN_STOP_NONE &&
        cairn_stop_ask(run->options.dir, CAIRN_STOP_YIELD, &error) != CAIRN_OK) {
        cairn_run_say(run, "%s", error.text);
    }
    return true;
}

static cairn_status take_lock(cairn_run *run, cairn_error *error)
{
    char path[PATH_MAX], holder[160], host[65] = "";
    double began = cairn_run_now();
    bool asked = false;
    const struct timespec pause = {.tv_nsec = 50000000L};

    if (!cairn_run_path(run, path, sizeof path, "lock")) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: the path is too long", run->options.dir);
    }
    run->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (run->lock < 0) {
        return cairn_fail(error, CAIRN_E_ACCESS, "%s: %s", path, strerror(errno));
    }
    while (flock(run->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return cairn_fail(error, CAIRN_E_IO, "%s: cannot lock: %s", path, strerror(errno));
        }
        double patience = holder_lives(run->lock, holder, sizeof holder) ? GLANCE_SECONDS : LOCK_SECONDS;
        if (run->options.take_over > 0 && cairn_run_now() - began > GLANCE_SECONDS) {
            patience = patience > run->options.take_over ? patience : run->options.take_over;
            asked = asked || ask_to_yield(run, holder);
        }
        if (cairn_run_now() - began > patience) {
            return cairn_fail(error, CAIRN_E_STATE, "%s: another `cairn run` is at work here (%s)", run->options.dir,
                              holder);
        }
        (void)nanosleep(&pause, NULL);
    }
    (void)gethostname(host, sizeof host - 1);
    int length = snprintf(holder, sizeof holder, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(run->lock, 0) != 0 || pwrite(run->lock, holder, (size_t)length, 0) != length) {
        return cairn_fail(error, CAIRN_E_FULL, "%s: %s", path, strerror(errno));
    }
    return CAIRN_OK;
}

/* What an earlier `cairn run` left in DIR/status; and at the end the folder itself. */
static void clear_status(const cairn_run *run, bool folder)
{
    char path[PATH_MAX];
    struct dirent *item;
    DIR *dir;

    if (!cairn_run_path(run, path, sizeof path, "status") || (dir = opendir(path)) == NULL) {
        return;
    }
    while ((item = readdir(dir)) != NULL) {
        if (strncmp(item->d_name, "process-", 8) == 0 || strncmp(item->d_name, "killed-", 7) == 0) {
            (void)unlinkat(dirfd(dir), item->d_name, 0);
        }
    }
    closedir(dir);
    if (folder) {
        (void)rmdir(path);
    }
}

/* The newest committed snapshot of this run, 0 = none. *unsure: there are some, and none that can be used, or it is for
 * the processes to say which of them count. */
static uint64_t newest_committed(const cairn_run *run, bool *unsure)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    uint64_t newest = 0;

    *unsure = false;
    if (cairn_store_list(run->options.dir, run->record->run, CAIRN_DEPTH_SEALS, &entries, &count, NULL) != CAIRN_OK) {
        return 0;
    }
    for (size_t i = 0; i < count && newest == 0; i++) {
        if (entries[i].use == CAIRN_USE_YES) {
            newest = entries[i].number;
        }
        *unsure =
            *unsure || entries[i].use == CAIRN_USE_DAMAGED || entries[i].use == CAIRN_USE_UNREADABLE ||
            (entries[i].use == CAIRN_USE_UNCOMMITTED && cairn_store_is_proposed(run->options.dir, entries[i].number));
    }
    *unsure = *unsure && newest == 0;
    cairn_store_list_free(entries, count);
    return newest;
}

/* As a shell would take it. */
static size_t quote(char *text, size_t bytes, const char *word)
{
    size_t used = 0;
    bool plain = *word != '\0' && word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                                    "0123456789_-+=./,:@%^")] == '\0';

    if (plain) {
        return (size_t)snprintf(text, bytes, "%s", word);
    }
    used += (size_t)snprintf(text, bytes, "'");
    for (; *word != '\0' && used + 8 < bytes; word++) {
        used += (size_t)snprintf(text + used, bytes - used, *word == '\'' ? "'\\''" : "%c", *word);
    }
    return used + (size_t)snprintf(text + used, bytes - used, "'");
}

static void command_again(const cairn_run *run, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "cairn run");

    for (size_t i = 0; run->options.again[i] != NULL && used + 16 < bytes; i++) {
        text[used++] = ' ';
        used += quote(text + used, bytes - used, run->options.again[i]);
        used = used < bytes ? used : bytes - 1;
    }
}

static bool same_arguments(const cairn_run *run)
{
    const cairn_run_record *record = run->record;

    if (record->argument_count != (uint32_t)run->options.job_count) {
        return false;
    }
    for (uint32_t i = 0; i < record->argument_count; i++) {
        if (strcmp(record->arguments[i], run->options.job[i]) != 0) {
            return false;
        }
    }
    return true;
}

static cairn_status new_record(cairn_run *run, cairn_error *error)
{
    uint64_t id;

    cairn_run_record_free(run->record);
    run->record = calloc(1, sizeof *run->record);
    if (run->record == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the run's record");
    }
    run->record->arguments = calloc((size_t)run->options.job_count + 1, sizeof *run->record->arguments);
    if (run->record->arguments == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the run's record");
    }
    for (int i = 0; i < run->options.job_count; i++) {
        run->record->arguments[i] = strdup(run->options.job[i]);
        if (run->record->arguments[i] == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "the run's record");
        }
        run->record->argument_count++;
    }
    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id) {
        return cairn_fail(error, CAIRN_E_IO, "getrandom: %s", strerror(errno));
    }
    (void)snprintf(run->record->run, sizeof run->record->run, "%016llx", (unsigned long long)id);
    return CAIRN_OK;
}

/* Go on with the unfinished run in DIR, or begin a new one. */
static cairn_status settle_record(cairn_run *run, cairn_error *error)
{
    cairn_status status = cairn_run_record_read(run->options.dir, &run->record, error);
    bool unsure;

    if (status == CAIRN_E_NOT_FOUND && !run->options.start_over && cairn_store_has_committed(run->options.dir)) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s/run.json is missing, but there are committed snapshots: put it back, or --start-over "
                          "to begin a new run",
                          run->options.dir);
    }
    if (status == CAIRN_E_NOT_FOUND || (status == CAIRN_E_CORRUPT && run->options.start_over)) {
        return new_record(run, error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    (void)cairn_run_sweep(run->record->run);
    if (run->record->finished || run->options.start_over) {
        return new_record(run, error);
    }
    run->newest = newest_committed(run, &unsure);
    if (same_arguments(run)) {
        (void)snprintf(run->reason, sizeof run->reason, "the run was not finished");
        cairn_run_say(run, "going on with the unfinished run in %s%s", run->options.dir,
                      run->newest > 0 || unsure ? "" : "; no snapshot was committed yet: starting from the beginning");
        return CAIRN_OK;
    }
    if (run->newest > 0 || unsure) {
        return cairn_fail(error, CAIRN_E_STATE,
                          "%s holds an unfinished run of other arguments (%s ...): use another --dir, or "
                          "--start-over to give it up",
                          run->options.dir, run->record->argument_count > 0 ? run->record->arguments[0] : "?");
    }
    cairn_run_say(run, "%s holds an unfinished run of other arguments without a snapshot: a new run begins",
                  run->options.dir);
    return new_record(run, error);
}

/* Where execvp would find it; NULL text: good. */
static const char *find_fault(const char *program)
{
    const char *path = getenv("PATH");
    char candidate[PATH_MAX];
    struct stat status;

    if (strchr(program, '/') != NULL) {
        if (stat(program, &status) != 0) {
            return strerror(errno);
        }
        return S_ISDIR(status.st_mode) ? "is a folder" : access(program, X_OK) != 0 ? "cannot be executed" : NULL;
    }
    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");
        (void)snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, path, program);
        if (stat(candidate, &status) == 0 && S_ISREG(status.st_mode) && access(candidate, X_OK) == 0) {
            return NULL;
        }
        path += length + (path[length] == ':');
    }
    return access(program, X_OK) == 0 ? "not found in PATH (a program of this folder begins with ./)"
                                      : "not found in PATH";
}

static cairn_status open_events(cairn_run *run, cairn_error *error)
{
    static const int caught[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    const struct itimerspec tick = {{0, TICK_NANOSECONDS}, {0, TICK_NANOSECONDS}};
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        (void)sigaddset(&set, caught[i]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        (run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
        (run->ticks = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0 ||
        timerfd_settime(run->ticks, 0, &tick, NULL) != 0) {
        return cairn_fail(error, CAIRN_E_IO, "signals and timer: %s", strerror(errno));
    }
    /* Ranks that lose their mpirun become our children, and leave no zombies. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return CAIRN_OK;
}

/* *ended: there is nothing to do. */
static cairn_status set_up(cairn_run *run, bool *ended, cairn_error *error)
{
    static const char *const folders[] = {"status", "log"};
    char path[PATH_MAX];
    cairn_status status = make_folders(run->options.dir, error);

    if (status == CAIRN_OK) {
        status = take_lock(run, error);
    }
    for (size_t i = 0; i < 2 && status == CAIRN_OK; i++) {
        status = cairn_run_path(run, path, sizeof path, folders[i]) ? make_folders(path, error) : CAIRN_E_INVALID;
    }
    if (status != CAIRN_OK) {
        return status;
    }
    clear_status(run, false);
    if (cairn_run_path(run, path, sizeof path, "log/mpirun.log")) {
        run->log = fopen(path, "ae");
    }
    if (run->log == NULL) {
        return cairn_fail(error, CAIRN_E_ACCESS, "%s: %s", path, strerror(errno));
    }
    *ended = cairn_run_stop_at_start(run);
    if (*ended) {
        return CAIRN_OK;
    }
    status = cairn_run_slurm_hosts(run, error);
    if (status == CAIRN_OK) {
        status = settle_record(run, error);
    }
    if (status == CAIRN_OK) {
        run->failures = calloc((size_t)run->options.restarts + 1, sizeof *run->failures);
        status =
            run->failures == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "the list of failures") : open_events(run, error);
    }
    return status;
}

static int stopped(cairn_run *run, const char *text)
{
    char command[3000];
    bool unsure;
    uint64_t newest = newest_committed(run, &unsure);

    command_again(run, command, sizeof command);
    if (run->stop == CAIRN_RUN_STOP_NOW) {
        cairn_run_say(run, "killed before a last snapshot was committed");
    } else if (text != NULL) {
        cairn_run_say(run, "%s while it was to stop", text);
    }
    const char *how = run->for_good ? "stopped for good" : "stopped";
    if (newest > 0) {
        cairn_run_say(run, "%s; the newest committed snapshot is %llu; to go on from it: %s", how,
                      (unsigned long long)newest, command);
    } else {
        cairn_run_say(run, "%s; no snapshot was committed; to start from the beginning: %s", how, command);
    }
    return CAIRN_EXIT_STOPPED;
}

static int gave_up(cairn_run *run)
{
    char command[3000];

    command_again(run, command, sizeof command);
    cairn_run_say(run, "still failing after %u restart%s; giving up:", run->failure_count - 1,
                  run->failure_count == 2 ? "" : "s");
    for (uint32_t i = 0; i < run->failure_count; i++) {
        const cairn_run_failure *failure = &run->failures[i];
        if (i >= 10 && i + 10 < run->failure_count) {
            continue;
        }
        if (failure->snapshot > 0) {
            cairn_run_say(run, "  launch %u: %s; newest snapshot: %llu", failure->launch, failure->text,
                          (unsigned long long)failure->snapshot);
        } else {
            cairn_run_say(run, "  launch %u: %s; no snapshot yet", failure->launch, failure->text);
        }
    }
    cairn_run_say(run, "mpirun's messages are in %s/log/mpirun.log; to go on: %s", run->options.dir, command);
    return CAIRN_EXIT_GAVE_UP;
}

static int own_failure(cairn_run *run, int code, const char *text)
{
    const char *block = run->launch.filter.last_block;

    if (run->launch.seen_count == 0) {
        if (*block != '\0' && run->launch.filter.exit < 0) {
            fputs(block, stderr);
        }
        cairn_run_say(run, "%s; not restarted (all of mpirun's output: %s/log/mpirun.log)", text, run->options.dir);
    } else {
        cairn_run_say(run, "%s: the job's own failure, not restarted", text);
    }
    return code;
}

static int done(cairn_run *run)
{
    cairn_error error = {0};
    char snapshot[64] = "";

    run->record->finished = true;
    if (cairn_run_record_write(run->options.dir, run->record, &error) != CAIRN_OK) {
        cairn_run_say(run, "the job is done, but this could not be noted: %s", error.text);
    }
    clear_status(run, true);
    (void)cairn_stop_clear(run->options.dir);
    if (!run->options.quiet) {
        if (run->newest > 0) {
            (void)snprintf(snapshot, sizeof snapshot, ", last committed snapshot %llu",
                           (unsigned long long)run->newest);
        }
        cairn_run_say(run, "done in %.1f s, %u restart%s%s", cairn_run_now() - run->started, run->failure_count,
                      run->failure_count == 1 ? "" : "s", snapshot);
    }
    return CAIRN_EXIT_OK;
}

/* The next launch is on its way already: nobody waits for this line. */
static void announce(cairn_run *run, const char *text)
{
    cairn_run_failure *failure = &run->failures[run->failure_count - 1];
    bool unsure;

    failure->snapshot = newest_committed(run, &unsure);
    cairn_run_say(run, "%s; restart %u of %u%s%s", text, run->failure_count, run->options.restarts,
                  run->lost_count > 0 ? ", without the hosts that were lost" : "",
                  failure->snapshot > 0 || unsure ? ""
                                                  : "; no snapshot was committed yet: starting from the beginning");
}

static void clean_up_launch(cairn_run *run, bool in_order)
{
    if (!in_order) {
        (void)cairn_run_sweep(run->record->run);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    cairn_run_launch_end(run);
}

/* Under srun a process may crash in MPI_Init: Slurm's PMIx (22.05) now and then lets others out of its last fence before
 * one is in it, and Open MPI does not expect what they send then. A crash of the job's own comes again. */
static bool is_early_crash(const cairn_run *run)
{
    return run->options.srun && run->launch.seen_count == 0 && run->launch.filter.signal == SIGSEGV &&
           run->early_crashes < EARLY_CRASHES_MAX;
}

static bool has_begun(const cairn_run_launch *launch)
{
    for (uint32_t i = 0; i < launch->count; i++) {
        if (launch->seen[i] && launch->beats[i].phase != CAIRN_PHASE_STARTING) {
            return true;
        }
    }
    return false;
}

/* One launch after the other. The exit code. */
static int launches(cairn_run *run)
{
    char text[300] = "";
    double patience = 0;
    cairn_error error = {0};

    for (;;) {
        int code = CAIRN_EXIT_FAILURE;
        cairn_status status = cairn_run_launch_begin(run, &error);

        if (status != CAIRN_OK) {
            clean_up_launch(run, false);
            cairn_run_say(run, "%s", error.text);
            return cairn_exit_code(status);
        }
        if (text[0] != '\0') {
            announce(run, text);
        }
        cairn_run_watch(run);
        cairn_run_verdict verdict = cairn_run_judge(run, &code, text, sizeof text);
        /* Slurm may know of a host that was lost before anybody was there. */
        if (run->launch.filter.daemon_lost) {
            cairn_run_hosts_lose(run, run->launch.filter.host);
        }
        if (verdict == CAIRN_RUN_RESTART || (verdict == CAIRN_RUN_OWN_FAILURE && run->launch.seen_count == 0)) {
            uint32_t lost = cairn_run_slurm_look(run);
            if (lost > 0 || (run->launch.filter.not_started && run->options.nodes.count > 0)) {
                verdict = CAIRN_RUN_RESTART; /* Slurm may be away for a moment */
            }
        }
        if (verdict == CAIRN_RUN_OWN_FAILURE && is_early_crash(run)) {
            run->early_crashes++;
            verdict = CAIRN_RUN_RESTART;
        }
        bool got_going = has_begun(&run->launch);
        if (verdict == CAIRN_RUN_OWN_FAILURE && run->stop != CAIRN_RUN_STOP_NOW) {
            code = own_failure(run, code, text);
        }
        bool in_order = WIFEXITED(run->launch.status) && WEXITSTATUS(run->launch.status) == 0;
        clean_up_launch(run, in_order && verdict == CAIRN_RUN_DONE);
        if (verdict == CAIRN_RUN_DONE) {
            if (!in_order && strcmp(text, "done") != 0) {
                cairn_run_say(run, "%s, but the job had ended by then", text);
            }
            return done(run);
        }
        if (verdict == CAIRN_RUN_STOPPED || run->stop == CAIRN_RUN_STOP_NOW) {
            return stopped(run, NULL);
        }
        if (verdict == CAIRN_RUN_OWN_FAILURE) {
            return code;
        }
        if (run->stop != CAIRN_RUN_GO) {
            return stopped(run, text);
        }
        cairn_run_failure *failure = &run->failures[run->failure_count++];
        failure->launch = run->record->launches - 1;
        (void)snprintf(failure->text, sizeof failure->text, "%s", text);
        (void)snprintf(run->reason, sizeof run->reason, "%s", text);
        if (run->failure_count > run->options.restarts) {
            bool unsure;
            failure->snapshot = newest_committed(run, &unsure);
            return gave_up(run);
        }
        /* What a lost host had locked becomes free after a while, as its file system decides; and Slurm comes back. */
        bool wait = !got_going && (run->lost_count > 0 || run->launch.filter.not_started);
        patience = !wait ? 0 : patience > 0 ? 2 * patience : 1;
        patience = patience < PATIENCE_SECONDS ? patience : PATIENCE_SECONDS;
        if (patience > 0) {
            cairn_run_say(run, "no process got going: the next launch waits for %.0f s", patience);
            cairn_run_pause(run, patience);
        }
        if (run->stop != CAIRN_RUN_GO) {
            return stopped(run, NULL);
        }
    }
}

int cairn_cli_run(int argc, char **argv)
{
    static cairn_run run; /* large */
    cairn_error error = {0};
    const char *fault;
    char said[256];
    sigset_t early;
    bool ended = false;
    int code = cairn_run_parse(&run.options, argc, argv);

    if (code >= 0) {
        return code;
    }
    /* A batch script may send it as soon as we are there: it waits until there is a run to stop. */
    (void)sigemptyset(&early);
    (void)sigaddset(&early, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &early, NULL);
    run.started = cairn_run_now();
    run.lock = run.signals = run.ticks = -1;
    run.bar.terminal = isatty(STDERR_FILENO);
    run.bar.quiet = run.options.quiet;
    fault = run.options.hostfile == NULL ? find_fault(run.options.job[0]) : NULL;
    if (fault != NULL) {
        fprintf(stderr, "cairn: run: %s: %s\n", run.options.job[0], fault);
        return CAIRN_EXIT_USAGE;
    }
    fault = find_fault(run.options.srun ? "srun" : "mpirun");
    if (fault != NULL) {
        fprintf(stderr, "cairn: run: %s: %s\n", run.options.srun ? "srun" : "mpirun (of Open MPI)", fault);
        return CAIRN_EXIT_FAILURE;
    }
    if (run.options.srun && !cairn_run_slurm_can_srun(error.text, sizeof error.text)) {
        fprintf(stderr, "cairn: run: %s\n", error.text);
        return CAIRN_EXIT_FAILURE;
    }
    if (!run.options.srun) {
        run.dialect = cairn_run_dialect_ask(said, sizeof said);
        if (run.dialect == NULL) {
            fprintf(stderr, "cairn: run: mpirun: not Open MPI's: `mpirun --version` says: %s\n", said);
            return CAIRN_EXIT_FAILURE;
        }
    }
    run.launcher_holds = cairn_run_slurm_can_hold(&run);
    cairn_status status = set_up(&run, &ended, &error);
    if (status == CAIRN_OK && ended) {
        code = CAIRN_EXIT_STOPPED;
    } else if (status == CAIRN_OK) {
        code = launches(&run);
    } else {
        cairn_run_say(&run, "%s", error.text);
        code = status == CAIRN_E_STATE || status == CAIRN_E_INVALID ? CAIRN_EXIT_USAGE : cairn_exit_code(status);
    }
    cairn_run_record_free(run.record);
    free(run.failures);
    free(run.options.again);
    free(run.options.tasks);
    cairn_nodelist_free(&run.options.nodes);
    if (run.log != NULL) {
        fclose(run.log);
    }
    return code;
}
