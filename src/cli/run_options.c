/* The command line of `cairn run`. */
#include "base/environment.h"
#include "cli/run.h"
#include "snapshot/interval.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "Usage: cairn run [OPTIONS] -- JOB [ARGS]\n"
    "\n"
    "Run a job under mpirun, watch it, and restart it from its newest committed snapshot when a process\n"
    "is killed, crashes, hangs, or a host is lost. If DIR holds an unfinished run of the same job with the\n"
    "same arguments, go on with it.\n"
    "\n"
    "  -n, --processes N       processes (default: physical cores, or the allocation's tasks); may differ from the run "
    "that goes on\n"
    "      --dir DIR           where snapshots, log and state of the run are (default: ./cairn-JOBNAME)\n"
    "      --start-over        begin a new run even if DIR holds an unfinished one\n"
    "\n"
    "Snapshots:\n"
    "      --interval SECONDS  between two snapshots (default 30); 0: the next as soon as the last is\n"
    "                          committed; auto: from their measured cost and --mtbf; off: none\n"
    "                          shared=SECONDS,local=SECONDS,memory=SECONDS: those, and between them snapshots in the\n"
    "                          folder --local of each host, or in the memory of the processes only (for --copies): a\n"
    "                          loss costs less, and what is lost with a host or the job leaves those in DIR\n"
    "                          local=SECONDS,flush=SECONDS: the newest of those folders is sent on to DIR now and "
    "then,\n"
    "                          in the background, and no others are taken in DIR if shared is not named\n"
    "      --local FOLDER      on each host, such as /dev/shm or a local disk, by its whole path, for local=SECONDS\n"
    "      --mtbf SECONDS      mean time between failures of the whole job, for --interval auto\n"
    "      --keep K            snapshots to keep (default 2)\n"
    "      --clock KIND        lamport (default) or vector\n"
    "\n"
    "Failures:\n"
    "      --spares S          a process that dies is replaced and all go back to the newest snapshot, without a new\n"
    "                          launch, if the job can (heat, bank). S ranks wait to take its place; when there is\n"
    "                          none, one is started (0: always)\n"
    "      --copies partner    with --spares: each process also keeps its part of the newest snapshot in the memory "
    "of\n"
    "                          another process, on another host if there is one, so that who takes a place needs no\n"
    "                          file (default none)\n"
    "      --copies xor[=G]    the same in groups of about G (default 4) processes of different hosts, which keep a\n"
    "                          parity of their parts: 1 / (G - 1) of the memory, and one death a group\n"
    "      --survive           when a process dies, the others go on without a restart, if the job can (scan)\n"
    "      --restarts K        give up after K restarts (default 10)\n"
    "      --hang-timeout S    restart when no process has sent, received, passed a safe point or reported\n"
    "                          progress for S seconds (default 600; 0: never)\n"
    "      --wait-timeout S    how long a call of the job waits for a message (default 600)\n"
    "      --grace S           after Ctrl-C or SIGTERM: time for a last snapshot (default 30)\n"
    "      --kill P@SECONDS    kill process P with SIGKILL so many seconds after the start, or\n"
    "      --kill P@PERCENT%   when the job is so far; once each; may be repeated or joined by commas\n"
    "\n"
    "Launching:\n"
    "      --hostfile FILE     hosts to run on, as mpirun reads it\n"
    "      --launcher NAME     mpirun (default), or srun, in a Slurm allocation whose srun has PMIx\n"
    "      --mpirun-args ARGS  more arguments for mpirun, parted by blanks: --mpirun-args '--map-by node'\n"
    "      --srun-args ARGS    more arguments for srun\n"
    "In a Slurm allocation (SLURM_JOB_ID) without --hostfile, hosts and processes are those of the allocation.\n"
    "\n"
    "Stopping, and batch scripts:\n"
    "      --obey-stop         a wish of `cairn stop` that is older than this start counts: end at once (otherwise\n"
    "                          only if SLURM_RESTART_COUNT is above 0; else it is cleared)\n"
    "      --take-over S       if another `cairn run` is at work in DIR, on a host that was cut off perhaps, ask it\n"
    "                          to stop after a last snapshot, and wait S seconds for that\n"
    "\n"
    "      --quiet             no progress and no summary\n"
    "  -h, --help              this text\n"
    "\n"
    "The job's standard output passes through untouched; its input is empty. What mpirun itself prints goes\n"
    "to DIR/log/mpirun.log.\n"
    "SIGUSR1 takes a snapshot now. SIGINT and SIGTERM take a last snapshot and stop; a second one kills. SIGUSR2\n"
    "does the same, but never kills; and `cairn stop DIR`, from anywhere.\n"
    "\n"
    "Exit status: 0 the job is done; 2 wrong usage; 66 snapshots exist but none can be used; 69 still failing\n"
    "after all restarts; 73 DIR cannot be written; 85 stopped, the same command goes on; otherwise the job's\n"
    "own status, which is never followed by a restart.\n";

int cairn_run_usage(const char *format, const char *text)
{
    fputs("cairn: run: ", stderr);
    fprintf(stderr, format, text);
    fputs(" (see cairn run --help)\n", stderr);
    return CAIRN_EXIT_USAGE;
}

/* A number without anything behind it, in [low, high]. */
static bool number_of(const char *text, double low, double high, double *value)
{
    char *end;

    errno = 0;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || errno == ERANGE || !isfinite(parsed) || parsed < low || parsed > high) {
        return false;
    }
    *value = parsed;
    return true;
}

static bool whole_of(const char *text, double low, double high, uint32_t *value)
{
    double parsed;

    if (!number_of(text, low, high, &parsed) || parsed != floor(parsed)) {
        return false;
    }
    *value = (uint32_t)parsed;
    return true;
}

/* What mpirun counts as slots: cores, not hardware threads, and only those that we may run on. */
static uint32_t physical_cores(void)
{
    cpu_set_t allowed;
    long seen[CPU_SETSIZE];
    uint32_t count = 0;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        return online > 0 ? (uint32_t)online : 1;
    }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        static const char *const names[] = {"physical_package_id", "core_id"};
        long id[2] = {0, (long)cpu};

        if (!CPU_ISSET(cpu, &allowed)) {
            continue;
        }
        for (int i = 0; i < 2; i++) {
            char path[128];
            (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/%s", cpu, names[i]);
            FILE *file = fopen(path, "re");
            if (file != NULL) {
                if (fscanf(file, "%ld", &id[i]) != 1) {
                    id[i] = i == 0 ? 0 : (long)cpu;
                }
                fclose(file);
            }
        }
        long key = id[0] * 65536 + id[1];
        bool known = false;
        for (uint32_t i = 0; i < count; i++) {
            known = known || seen[i] == key;
        }
        if (!known) {
            seen[count++] = key;
        }
    }
    return count > 0 ? count : 1;
}

static bool parse_kills(cairn_run_options *options, const char *text)
{
    char *copy = strdup(text), *rest = NULL;
    bool good = copy != NULL && *text != '\0';

    for (char *item = copy == NULL ? NULL : strtok_r(copy, ",", &rest); item != NULL && good;
         item = strtok_r(NULL, ",", &rest)) {
        char *at = strchr(item, '@');
        cairn_run_kill kill = {0};
        size_t length = strlen(item);

        if (at == NULL || options->kill_count == CAIRN_RUN_KILLS_MAX) {
            good = false;
            break;
        }
        *at++ = '\0';
        if (item[0] != '\0' && length > 0 && *at != '\0' && at[strlen(at) - 1] == '%') {
            kill.percent = true;
            at[strlen(at) - 1] = '\0';
        }
        good =
            whole_of(item, 0, UINT32_MAX - 1.0, &kill.process) && number_of(at, 0, kill.percent ? 100 : 1e9, &kill.at);
        if (good) {
            options->kills[options->kill_count++] = kill;
        }
    }
    free(copy);
    return good;
}

enum {
    OPTION_DIR = 256,
    OPTION_INTERVAL,
    OPTION_MTBF,
    OPTION_KEEP,
    OPTION_RESTARTS,
    OPTION_HANG,
    OPTION_WAIT,
    OPTION_GRACE,
    OPTION_HOSTFILE,
    OPTION_CLOCK,
    OPTION_KILL,
    OPTION_START_OVER,
    OPTION_MPIRUN_ARGS,
    OPTION_QUIET,
    OPTION_SURVIVE,
    OPTION_SPARES,
    OPTION_COPIES,
    OPTION_LOCAL,
    OPTION_LAUNCHER,
    OPTION_SRUN_ARGS,
    OPTION_OBEY_STOP,
    OPTION_TAKE_OVER
};

static const struct option long_options[] = {{"processes", required_argument, NULL, 'n'},
                                             {"dir", required_argument, NULL, OPTION_DIR},
                                             {"interval", required_argument, NULL, OPTION_INTERVAL},
                                             {"mtbf", required_argument, NULL, OPTION_MTBF},
                                             {"keep", required_argument, NULL, OPTION_KEEP},
                                             {"restarts", required_argument, NULL, OPTION_RESTARTS},
                                             {"hang-timeout", required_argument, NULL, OPTION_HANG},
                                             {"wait-timeout", required_argument, NULL, OPTION_WAIT},
                                             {"grace", required_argument, NULL, OPTION_GRACE},
                                             {"hostfile", required_argument, NULL, OPTION_HOSTFILE},
                                             {"clock", required_argument, NULL, OPTION_CLOCK},
                                             {"kill", required_argument, NULL, OPTION_KILL},
                                             {"start-over", no_argument, NULL, OPTION_START_OVER},
                                             {"mpirun-args", required_argument, NULL, OPTION_MPIRUN_ARGS},
                                             {"quiet", no_argument, NULL, OPTION_QUIET},
                                             {"survive", no_argument, NULL, OPTION_SURVIVE},
                                             {"spares", required_argument, NULL, OPTION_SPARES},
                                             {"copies", required_argument, NULL, OPTION_COPIES},
                                             {"local", required_argument, NULL, OPTION_LOCAL},
                                             {"launcher", required_argument, NULL, OPTION_LAUNCHER},
                                             {"srun-args", required_argument, NULL, OPTION_SRUN_ARGS},
                                             {"obey-stop", no_argument, NULL, OPTION_OBEY_STOP},
                                             {"take-over", required_argument, NULL, OPTION_TAKE_OVER},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* Snapshots: texts that are checked here and handed to the processes as they are. */
static int parse_snapshot_option(cairn_run_options *options, int option, const char *value)
{
    cairn_intervals intervals;
    double number;
    uint32_t whole;

    switch (option) {
    case OPTION_INTERVAL:
        if (!cairn_intervals_parse(value, &intervals)) {
            return cairn_run_usage("--interval %s: seconds, auto, off, or shared=SECONDS,local=SECONDS,memory=SECONDS,"
                                   "flush=SECONDS (with local) is needed",
                                   value);
        }
        options->interval = value;
        options->in_memory = intervals.memory >= 0.0;
        options->on_hosts = intervals.local >= 0.0;
        return -1;
    case OPTION_MTBF:
        if (!number_of(value, 1e-3, 1e12, &number)) {
            return cairn_run_usage("--mtbf %s: seconds above 0 are needed", value);
        }
        options->mtbf = value;
        return -1;
    case OPTION_KEEP:
        if (!whole_of(value, 1, 1e6, &whole)) {
            return cairn_run_usage("--keep %s: a number from 1 is needed", value);
        }
        options->keep = value;
        return -1;
    case OPTION_WAIT:
        if (!number_of(value, 1e-3, 1e9, &number)) {
            return cairn_run_usage("--wait-timeout %s: seconds above 0 are needed", value);
        }
        options->wait_timeout = value;
        return -1;
    default:
        if (strcmp(value, "lamport") != 0 && strcmp(value, "vector") != 0) {
            return cairn_run_usage("--clock %s: lamport or vector is needed", value);
        }
        options->clock = value;
        return -1;
    }
}

static int parse_option(cairn_run_options *options, int option, const char *value)
{
    uint32_t size;

    switch (option) {
    case 'n':
        return whole_of(value, 1, 1e6, &options->count) ? -1
                                                        : cairn_run_usage("-n %s: a number from 1 is needed", value);
    case OPTION_DIR:
        if (*value == '\0' || strlen(value) >= sizeof options->dir) {
            return cairn_run_usage("--dir '%s': a folder is needed", value);
        }
        (void)snprintf(options->dir, sizeof options->dir, "%s", value);
        return -1;
    case OPTION_RESTARTS:
        return whole_of(value, 0, 1e6, &options->restarts)
                   ? -1
                   : cairn_run_usage("--restarts %s: a number from 0 is needed", value);
    case OPTION_HANG:
        return number_of(value, 0, 1e9, &options->hang_timeout)
                   ? -1
                   : cairn_run_usage("--hang-timeout %s: seconds are needed", value);
    case OPTION_GRACE:
        return number_of(value, 0, 1e9, &options->grace) ? -1
                                                         : cairn_run_usage("--grace %s: seconds are needed", value);
    case OPTION_HOSTFILE:
        options->hostfile = value;
        return access(value, R_OK) == 0 ? -1 : cairn_run_usage("--hostfile %s: cannot be read", value);
    case OPTION_KILL:
        return parse_kills(options, value)
                   ? -1
                   : cairn_run_usage("--kill %s: PROCESS@SECONDS or PROCESS@PERCENT%% is needed", value);
    case OPTION_START_OVER:
        options->start_over = true;
        return -1;
    case OPTION_MPIRUN_ARGS:
        options->mpirun_args = value;
        return -1;
    case OPTION_QUIET:
        options->quiet = true;
        return -1;
    case OPTION_SURVIVE:
        options->survive = true;
        return -1;
    case OPTION_SPARES:
        options->in_place = true;
        return whole_of(value, 0, 1e4, &options->spares)
                   ? -1
                   : cairn_run_usage("--spares %s: a number from 0 is needed", value);
    case OPTION_LOCAL:
        options->local = value;
        return value[0] == '/' && strlen(value) < 3000 ? -1
                                                       : cairn_run_usage("--local %s: a whole path is needed", value);
    case OPTION_COPIES:
        options->copies = value;
        return strcmp(value, "none") == 0 || cairn_copies_kind(value, &size)
                   ? -1
                   : cairn_run_usage("--copies %s: partner, xor, xor=G (2 to 16) or none is needed", value);
    case OPTION_LAUNCHER:
        options->srun = strcmp(value, "srun") == 0;
        return options->srun || strcmp(value, "mpirun") == 0
                   ? -1
                   : cairn_run_usage("--launcher %s: mpirun or srun is needed", value);
    case OPTION_SRUN_ARGS:
        options->srun_args = value;
        return -1;
    case OPTION_OBEY_STOP:
        options->obey_stop = true;
        return -1;
    case OPTION_TAKE_OVER:
        return number_of(value, 0, 1e9, &options->take_over)
                   ? -1
                   : cairn_run_usage("--take-over %s: seconds are needed", value);
    default:
        return parse_snapshot_option(options, option, value);
    }
}

/* The default DIR is named after the job, and all paths are absolute: other hosts start elsewhere. */
static int settle_dir(cairn_run_options *options)
{
    char cwd[PATH_MAX], given[PATH_MAX];
    const char *slash = strrchr(options->job[0], '/');
    int length;

    (void)snprintf(given, sizeof given, "%s", options->dir);
    if (given[0] == '\0') {
        (void)snprintf(given, sizeof given, "cairn-%s", slash == NULL ? options->job[0] : slash + 1);
    }
    if (given[0] == '/') {
        length = snprintf(options->dir, sizeof options->dir, "%s", given);
    } else if (getcwd(cwd, sizeof cwd) != NULL) {
        length = snprintf(options->dir, sizeof options->dir, "%s/%s", cwd, given);
    } else {
        length = -1;
    }
    /* Names of parts and temporary files come behind it. */
    if (length < 0 || (size_t)length > sizeof options->dir - 128) {
        return cairn_run_usage("--dir %s: the path is too long", given);
    }
    return -1;
}

/* The command that goes on: this one, without what must not happen twice. */
static int settle_again(cairn_run_options *options, int argc, char **argv, int job_at)
{
    size_t count = 0;

    options->again = calloc((size_t)argc + 4, sizeof *options->again);
    if (options->again == NULL) {
        return cairn_run_usage("%s", "out of memory");
    }
    for (int i = 1; i < argc; i++) {
        bool own = i < job_at && strcmp(argv[i], "--") != 0;
        if (own && strncmp(argv[i], "--st", 4) == 0) {
            continue;
        }
        if (own && strncmp(argv[i], "--ki", 4) == 0) {
            i += strchr(argv[i], '=') == NULL ? 1 : 0;
            continue;
        }
        options->again[count++] = argv[i];
    }
    return -1;
}

int cairn_run_parse(cairn_run_options *options, int argc, char **argv)
{
    int option, code = -1;

    memset(options, 0, sizeof *options);
    options->cores = physical_cores();
    options->restarts = 10;
    options->hang_timeout = 600;
    options->grace = 30;
    optind = 0;
    while (code < 0 && (option = getopt_long(argc, argv, "+:n:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return CAIRN_EXIT_OK;
        }
        if (option == '?' || option == ':') {
            return cairn_run_usage(option == ':' ? "%s: a value is missing" : "%s: no such option", argv[optind - 1]);
        }
        code = parse_option(options, option, optarg);
    }
    if (code >= 0) {
        return code;
    }
    options->job = argv + optind;
    options->job_count = argc - optind;
    if (options->job_count == 0) {
        return cairn_run_usage("%s", "which job? cairn run [OPTIONS] -- JOB [ARGS]");
    }
    for (int i = 0; i < options->job_count; i++) {
        if (strcmp(options->job[i], ":") == 0) {
            return cairn_run_usage("%s",
                                   "the job has an argument ':', which mpirun takes for the start of another program");
        }
    }
    if (options->survive && options->in_place) {
        return cairn_run_usage("%s", "--survive and --spares are two ways to go on: choose one");
    }
    code = cairn_run_slurm_settle(options);
    if (code >= 0) {
        return code;
    }
    if (options->count == 0) {
        options->count = options->cores;
    }
    if (options->copies != NULL && strcmp(options->copies, "none") != 0 && (!options->in_place || options->count < 2)) {
        return cairn_run_usage("--copies %s: recovery in place is needed (--spares), and two processes",
                               options->copies);
    }
    if (options->on_hosts != (options->local != NULL)) {
        return cairn_run_usage("%s", "--local FOLDER and --interval local=SECONDS go together");
    }
    if (options->in_memory && (options->copies == NULL || strcmp(options->copies, "none") == 0)) {
        return cairn_run_usage("--interval %s: snapshots in memory need --copies partner or xor", options->interval);
    }
    for (uint32_t i = 0; i < options->kill_count; i++) {
        if (options->kills[i].process >= options->count) {
            char text[64];
            (void)snprintf(text, sizeof text, "process %u, but processes are 0..%u", options->kills[i].process,
                           options->count - 1);
            return cairn_run_usage("--kill: %s", text);
        }
    }
    code = settle_dir(options);
    return code >= 0 ? code : settle_again(options, argc, argv, optind);
}
