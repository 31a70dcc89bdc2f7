/* One launch: mpirun with its arguments and environment, in a process group of its own, so that Ctrl-C on the terminal
 * reaches only the supervisor. */
#include "base/environment.h"
#include "cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64 /* besides the job's own and those of --mpirun-args or --srun-args */

/* Under another batch system than Slurm mpirun itself knows the hosts. */
static bool has_allocation(void)
{
    static const char *const names[] = {"SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID", "LSB_JOBID", "PE_HOSTFILE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (getenv(names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* How many processes fit without sharing a core; a host without "slots=" counts as one. */
static uint32_t slots_of(const cairn_run_options *options, const char *hostfile)
{
    char line[1024];
    uint32_t slots = 0;
    FILE *file;

    if (hostfile == NULL) {
        const char *tasks = has_allocation() ? getenv("SLURM_NTASKS") : NULL;
        return tasks != NULL ? (uint32_t)strtoul(tasks, NULL, 10) : options->cores;
    }
    file = fopen(hostfile, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *text = line + strspn(line, " \t"), *given = strstr(line, "slots");
        if (*text == '#' || *text == '\n' || *text == '\0') {
            continue;
        }
        given = given == NULL ? NULL : strchr(given, '=');
        slots += given == NULL ? 1 : (uint32_t)strtoul(given + 1, NULL, 10);
    }
    if (file != NULL) {
        fclose(file);
    }
    return slots;
}

/* mpirun ends a job when the last rank that it launched itself has died, whoever was spawned since: one more is launched
 * where ranks can be spawned (process/spawn.c). */
static bool has_anchor(const cairn_run *run)
{
    const char *spawns = getenv(CAIRN_ENV_SPAWNS);

    return run->options.in_place && !run->options.srun && run->dialect->spawns &&
           (spawns == NULL || strtoul(spawns, NULL, 10) > 0);
}

static uint32_t ranks_of(const cairn_run *run)
{
    return run->options.count + run->options.spares + has_anchor(run);
}

static bool is_in_environment(const char *prefix, const char *name)
{
    char variable[128];

    (void)snprintf(variable, sizeof variable, "%s%s", prefix, name);
    return getenv(variable) != NULL;
}

/* Whether the user has chosen this MCA parameter or option himself. */
static bool is_chosen(const cairn_run *run, const char *name)
{
    const char *arguments = run->options.mpirun_args;

    return is_in_environment("OMPI_MCA_", name) || is_in_environment(run->dialect->launcher_environment, name) ||
           (arguments != NULL && strstr(arguments, name) != NULL);
}

/* Every process on this host, as far as we can know. */
static bool is_local(const cairn_run *run)
{
    const cairn_run_options *options = &run->options;

    return options->hostfile == NULL && !has_allocation() &&
           !is_in_environment(run->dialect->launcher_environment, run->dialect->hostfile) &&
           (options->mpirun_args == NULL || strstr(options->mpirun_args, "host") == NULL);
}

typedef struct argument_list {
    char **items; /* NULL terminated */
    size_t count;
    char count_text[16], *words, *hosts_text; /* what some of the items point into */
} argument_list;

static void add(argument_list *list, const char *item)
{
    list->items[list->count++] = (char *)(uintptr_t)item; /* execvp changes nothing */
}

static void add_all(argument_list *list, const char *const *items)
{
    for (; *items != NULL; items++) {
        add(list, *items);
    }
}

/* option: the one of mpirun that takes this parameter. */
static void add_mca(argument_list *list, const cairn_run *run, const char *option, const char *name, const char *value)
{
    if (!is_chosen(run, name)) {
        add(list, option);
        add(list, name);
        add(list, value);
    }
}

/* On one host mpirun needs not look for networks, which takes most of its start (0.2 s of 0.3 s); and its files go
 * where we can remove them, since a killed mpirun leaves its shared memory behind. */
static void add_local(argument_list *list, const cairn_run *run)
{
    const cairn_run_dialect *dialect = run->dialect;

    if (!is_chosen(run, "pml") && !is_chosen(run, "btl") && !is_chosen(run, "mtl")) {
        add_mca(list, run, "--mca", "pml", "ob1");
        add_mca(list, run, "--mca", "btl", dialect->btl);
        add_mca(list, run, "--mca", "btl_tcp_if_include", "lo"); /* to ranks that are spawned later */
    }
    /* Its default gives up where there is no ssh, even if none is needed. */
    if (dialect->local_starter != NULL) {
        add_mca(list, run, dialect->launcher_mca, "plm", dialect->local_starter);
    }
    if (run->tmp[0] != '\0') {
        add_mca(list, run, dialect->launcher_mca, dialect->folder, run->tmp);
    }
    if (run->shm[0] != '\0') {
        add_mca(list, run, "--mca", dialect->shared_folder, run->shm);
    }
    /* Up to two processes mpirun would bind each to one core, and with it the threads that write snapshots. */
    if (ranks_of(run) <= 2 && !is_chosen(run, "bind-to") && !is_chosen(run, dialect->binding)) {
        add(list, "--bind-to");
        add(list, "none");
    }
}

static const char *const forwarded[] = {
    CAIRN_ENV_DIR,       CAIRN_ENV_RUN,        CAIRN_ENV_LAUNCH, CAIRN_ENV_REASON,       CAIRN_ENV_INTERVAL,
    CAIRN_ENV_MTBF,      CAIRN_ENV_KEEP,       CAIRN_ENV_CLOCK,  CAIRN_ENV_WAIT_TIMEOUT, CAIRN_ENV_KILL,
    CAIRN_ENV_SURVIVE,   CAIRN_ENV_LOST_AFTER, CAIRN_ENV_SPARES, CAIRN_ENV_ANCHOR,       CAIRN_ENV_SPAWNS,
    CAIRN_ENV_ACCEPTORS, CAIRN_ENV_ELECTION,   CAIRN_ENV_LEASES, CAIRN_ENV_LOG_SEGMENT,  CAIRN_ENV_TERM,
    CAIRN_ENV_COPIES,    CAIRN_ENV_LOCAL};

static void add_words(argument_list *list)
{
    char *rest = NULL;

    for (char *word = strtok_r(list->words, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
        add(list, word);
    }
}

static void add_mpirun(argument_list *list, cairn_run *run, const char *hostfile)
{
    const cairn_run_options *options = &run->options;

    add(list, "mpirun");
    if (geteuid() == 0) {
        add(list, "--allow-run-as-root");
    }
    add(list, "-n");
    add(list, list->count_text);
    if (hostfile != NULL) {
        add(list, "--hostfile");
        add(list, hostfile);
    }
    if ((options->in_place || ranks_of(run) > slots_of(options, hostfile)) && !is_chosen(run, "oversubscribe") &&
        !is_chosen(run, run->dialect->oversubscribe[0])) {
        add_all(list, run->dialect->oversubscribe);
    }
    if (run->dialect->output[0] != NULL && !is_chosen(run, run->dialect->output[0])) {
        add_all(list, run->dialect->output);
    }
    /* Ranks of a job that failed have nothing to clean up: by default mpirun gives them 2 s for it. */
    if (run->dialect->kill_time != NULL) {
        add_mca(list, run, run->dialect->launcher_mca, run->dialect->kill_time, "0");
    }
    if (cairn_run_outlives(options) && !is_chosen(run, run->dialect->recovery_name)) {
        add_all(list, run->dialect->recovery);
    }
    if (is_local(run)) {
        add_local(list, run);
        return;
    }
    /* A host that was cut off is noticed within 20 s of silence, not 480 s. */
    add_mca(list, run, run->dialect->launcher_mca, "oob_tcp_keepalive_time", "10");
    add_mca(list, run, run->dialect->launcher_mca, "oob_tcp_keepalive_intvl", "2");
    add_mca(list, run, run->dialect->launcher_mca, "oob_tcp_keepalive_probes", "5");
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++) {
        if (getenv(forwarded[i]) != NULL) {
            add(list, "-x");
            add(list, forwarded[i]);
        }
    }
}

/* The allocation's tasks are laid out anew on the hosts that are left: what the batch script was told of them by
 * environment must not be in the way. */
static bool add_srun(argument_list *list, cairn_run *run, const char *hostfile)
{
    static const char *const unwanted[] = {"SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NNODES",
                                           "SLURM_JOB_NUM_NODES",   "SLURM_NTASKS",         "SLURM_NPROCS",
                                           "SLURM_DISTRIBUTION"};
    const cairn_run_options *options = &run->options;

    for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++) {
        (void)unsetenv(unwanted[i]);
    }
    list->hosts_text = cairn_run_hosts_text(hostfile);
    if (list->hosts_text == NULL) {
        return false;
    }
    add(list, "srun");
    add(list, "--mpi=pmix");
    add(list, "--export=ALL");
    add(list, "--kill-on-bad-exit=1");
    add(list, "--distribution=block");
    add(list, "--ntasks");
    add(list, list->count_text);
    add(list, "--nodelist");
    add(list, list->hosts_text);
    if (ranks_of(run) > slots_of(options, hostfile)) {
        add(list, "--overcommit");
    }
    return true;
}

static void free_arguments(argument_list *list)
{
    free(list->items);
    free(list->words);
    free(list->hosts_text);
    *list = (argument_list){0};
}

static bool make_arguments(argument_list *list, cairn_run *run)
{
    const char *hostfile = cairn_run_hosts_file(run);
    const cairn_run_options *options = &run->options;
    const char *more = options->srun ? options->srun_args : options->mpirun_args;
    size_t extra = more == NULL ? 0 : strlen(more);

    *list = (argument_list){0};
    list->items = calloc(ARGUMENTS_MAX + extra + (size_t)options->job_count + 1, sizeof *list->items);
    list->words = strdup(extra > 0 ? more : "");
    if (list->items == NULL || list->words == NULL) {
        free_arguments(list);
        return false;
    }
    (void)snprintf(list->count_text, sizeof list->count_text, "%u", ranks_of(run));
    if (!options->srun) {
        add_mpirun(list, run, hostfile);
    } else if (!add_srun(list, run, hostfile)) {
        free_arguments(list);
        return false;
    }
    add_words(list);
    for (int i = 0; i < options->job_count; i++) {
        add(list, options->job[i]);
    }
    return true;
}

/* The kills that have not happened yet, in seconds of this launch. */
static void set_kills(const cairn_run *run)
{
    char text[CAIRN_RUN_KILLS_MAX * 48 + 1], path[PATH_MAX], name[64];
    size_t used = 0;

    for (uint32_t i = 0; i < run->options.kill_count; i++) {
        const cairn_run_kill *kill = &run->options.kills[i];
        double at = kill->at - (kill->percent ? 0 : cairn_run_now() - run->started);

        (void)snprintf(name, sizeof name, "status/killed-%u", i);
        if (!cairn_run_path(run, path, sizeof path, name) || access(path, F_OK) == 0) {
            continue;
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u:%u@%.3f%s", used > 0 ? "," : "", i,
                                 kill->process, at > 0 ? at : 0, kill->percent ? "%" : "");
    }
    if (used > 0) {
        (void)setenv(CAIRN_ENV_KILL, text, 1);
    } else {
        (void)unsetenv(CAIRN_ENV_KILL);
    }
}

/* When Slurm ends a job (scancel, requeue, preemption) it sends SIGTERM to all of its processes at once, and SIGKILL
 * KillWait seconds later. In between the job is to take a last snapshot, so what launches it has to live on. */
static void set_term(const cairn_run *run)
{
    char text[32], name[64];
    const cairn_run_dialect *dialect = run->dialect;

    if (run->options.nodes.count == 0) {
        return;
    }
    (void)snprintf(text, sizeof text, "%g", run->options.grace);
    (void)setenv(CAIRN_ENV_TERM, text, 1);
    if (run->launcher_holds && !is_chosen(run, dialect->launch_agent)) {
        (void)snprintf(name, sizeof name, "%s%s", dialect->launcher_environment, dialect->launch_agent);
        (void)setenv(name, dialect->daemon_holds, 1);
    }
}

static void set_environment(const cairn_run *run)
{
    const cairn_run_options *options = &run->options;
    const char *const chosen[][2] = {{CAIRN_ENV_INTERVAL, options->interval},
                                     {CAIRN_ENV_MTBF, options->mtbf},
                                     {CAIRN_ENV_KEEP, options->keep},
                                     {CAIRN_ENV_CLOCK, options->clock},
                                     {CAIRN_ENV_COPIES, options->copies},
                                     {CAIRN_ENV_LOCAL, options->local},
                                     {CAIRN_ENV_WAIT_TIMEOUT, options->wait_timeout}};
    char number[16];

    (void)snprintf(number, sizeof number, "%u", run->launch.number);
    (void)setenv(CAIRN_ENV_DIR, options->dir, 1);
    (void)setenv(CAIRN_ENV_RUN, run->record->run, 1);
    (void)setenv(CAIRN_ENV_LAUNCH, number, 1);
    if (run->launch.number > 0 && run->reason[0] != '\0') {
        (void)setenv(CAIRN_ENV_REASON, run->reason, 1);
    } else {
        (void)unsetenv(CAIRN_ENV_REASON);
    }
    for (size_t i = 0; i < sizeof chosen / sizeof chosen[0]; i++) {
        if (chosen[i][1] != NULL) {
            (void)setenv(chosen[i][0], chosen[i][1], 1);
        }
    }
    if (options->survive) {
        (void)setenv(CAIRN_ENV_SURVIVE, "1", 1);
    } else {
        (void)unsetenv(CAIRN_ENV_SURVIVE);
    }
    (void)snprintf(number, sizeof number, "%u", ranks_of(run) - options->count);
    if (options->in_place) {
        (void)setenv(CAIRN_ENV_SPARES, number, 1);
    } else {
        (void)unsetenv(CAIRN_ENV_SPARES);
    }
    if (has_anchor(run)) {
        (void)setenv(CAIRN_ENV_ANCHOR, "1", 1);
    } else {
        (void)unsetenv(CAIRN_ENV_ANCHOR);
    }
    /* Slurm keeps the step of the launch before until a host that was lost has answered: it must not be waited for. */
    if (options->nodes.count > 0) {
        (void)setenv("SLURM_OVERLAP", "1", 0);
    }
    set_term(run);
    /* Half a minute of work is the most that is lost, and a snapshot that takes 0.3 s costs 1 %. */
    (void)setenv(CAIRN_ENV_INTERVAL, "30", 0);
    set_kills(run);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    struct stat status;

    if (path[0] != '\0' && lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid()) {
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    }
}

/* A folder of our own below base; "" when it cannot be made, and then mpirun uses its own. */
static void make_folder(const cairn_run *run, char *path, size_t bytes, const char *base)
{
    int length = snprintf(path, bytes, "%s/cairn-%s", base, run->record->run);

    if (length < 0 || length > 60) { /* sockets lie in it, and their paths are short */
        path[0] = '\0';
        return;
    }
    remove_tree(path);
    if (mkdir(path, 0700) != 0) {
        path[0] = '\0';
    }
}

/* In the child: from here on only async-signal-safe calls. */
static void become_mpirun(const cairn_run *run, char **arguments, int output, int error)
{
    static const char missing[] = "cairn: run: cannot start the launcher\n";
    sigset_t held;
    int null = open("/dev/null", O_RDONLY);

    (void)setpgid(0, 0);
    /* Should the supervisor be killed, its launch must not run on unwatched. */
    (void)prctl(PR_SET_PDEATHSIG, cairn_run_end_signal(run));
    (void)dup2(null, STDIN_FILENO); /* a restart could not read it again */
    if (output >= 0) {
        (void)dup2(output, STDOUT_FILENO);
    }
    (void)dup2(error, STDERR_FILENO);
    (void)fcntl(run->lock, F_SETFD, 0); /* mpirun keeps the lock, its ranks do not */
    (void)sigemptyset(&held);
    if (run->launcher_holds) {
        (void)sigaddset(&held, SIGTERM); /* of its ranks it takes that away again */
    }
    (void)sigprocmask(SIG_SETMASK, &held, NULL);
    (void)execvp(arguments[0], arguments);
    (void)!write(STDERR_FILENO, missing, sizeof missing - 1);
    _exit(127);
}

static void log_header(const cairn_run *run, char **arguments)
{
    char when[64] = "";
    time_t now = time(NULL);
    struct tm local;

    if (run->log == NULL) {
        return;
    }
    if (localtime_r(&now, &local) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    }
    fprintf(run->log, "== launch %u, %s:", run->launch.number, when);
    for (size_t i = 0; arguments[i] != NULL; i++) {
        fprintf(run->log, " %s", arguments[i]);
    }
    fputc('\n', run->log);
    fflush(run->log);
}

static cairn_status start(cairn_run *run, char **arguments, cairn_error *error)
{
    cairn_run_launch *launch = &run->launch;
    int errors[2] = {-1, -1}, output[2] = {-1, -1};

    /* The job's output goes through us as well: mpirun does not say when it cannot write it (a full disk). */
    if (pipe2(errors, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) {
        return cairn_fail(error, CAIRN_E_IO, "pipe for mpirun: %s", strerror(errno));
    }
    launch->mpirun = fork();
    if (launch->mpirun == 0) {
        become_mpirun(run, arguments, output[1], errors[1]);
    }
    close(errors[1]);
    close(output[1]);
    launch->error_fd = errors[0];
    launch->output_fd = output[0];
    if (launch->mpirun < 0) {
        return cairn_fail(error, CAIRN_E_IO, "fork: %s", strerror(errno));
    }
    (void)setpgid(launch->mpirun, launch->mpirun); /* whoever is first */
    (void)fcntl(errors[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(output[0], F_SETFL, O_NONBLOCK);
    return CAIRN_OK;
}

cairn_status cairn_run_launch_begin(cairn_run *run, cairn_error *error)
{
    cairn_run_launch *launch = &run->launch;
    const char *base = getenv("TMPDIR");
    argument_list arguments = {0};
    cairn_status status = CAIRN_E_BUG;

    memset(launch, 0, sizeof *launch);
    launch->error_fd = -1;
    launch->output_fd = -1;
    launch->number = run->record->launches;
    launch->count = run->options.count;
    launch->beats = calloc(launch->count, sizeof *launch->beats);
    launch->seen = calloc(launch->count, sizeof *launch->seen);
    if (launch->beats == NULL || launch->seen == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "a launch of %u processes", launch->count);
        goto out;
    }
    /* Noted first: a launch that was never noted could be taken for a later one. */
    run->record->launches++;
    free(run->record->local);
    run->record->local = run->options.local == NULL ? NULL : strdup(run->options.local);
    status = cairn_run_record_write(run->options.dir, run->record, error);
    if (status == CAIRN_E_FULL && run->failure_count > 0) {
        cairn_run_say(run, "the restart cannot be noted, but goes on: %s", error->text);
        status = CAIRN_OK;
    }
    if (status != CAIRN_OK) {
        goto out;
    }
    if (is_local(run)) {
        make_folder(run, run->tmp, sizeof run->tmp, base != NULL && *base == '/' ? base : "/tmp");
        make_folder(run, run->shm, sizeof run->shm, "/dev/shm");
    }
    set_environment(run);
    if (!make_arguments(&arguments, run)) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "the launcher's arguments");
        goto out;
    }
    log_header(run, arguments.items);
    cairn_run_filter_begin(&launch->filter, STDERR_FILENO, run->log, run->options.srun);
    launch->started = cairn_run_now();
    launch->last_change = launch->started;
    status = start(run, arguments.items, error);
out:
    /* Our own environment stays free of the run's id, or a sweep by another supervisor might take us for a rank. */
    (void)unsetenv(CAIRN_ENV_RUN);
    free_arguments(&arguments);
    return status;
}

void cairn_run_launch_end(cairn_run *run)
{
    cairn_run_launch *launch = &run->launch;

    if (launch->error_fd >= 0) {
        close(launch->error_fd);
    }
    if (launch->output_fd >= 0) {
        close(launch->output_fd);
    }
    launch->error_fd = -1;
    launch->output_fd = -1;
    free(launch->beats);
    free(launch->seen);
    launch->beats = NULL;
    launch->seen = NULL;
    launch->seen_count = 0;
    launch->count = 0;
    remove_tree(run->tmp);
    remove_tree(run->shm);
}
