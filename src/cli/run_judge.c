/* Why did a launch end, and what follows? Evidence, best first: what mpirun says of the process that failed first, what
 * the processes noted of their own exit (beats), mpirun's own status.
 *
 *   all well                                     -> done
 *   a process ended by itself, status E          -> the job's own failure, passed on; 75 asks for a restart, 85 is a
 *   stop nobody got into cairn_init, status E         -> the job cannot be started: passed on nobody reads standard
 *   output any more        -> passed on as 74 killed by a signal, host or mpirun lost, hang -> restart */
#include "cli/run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Its own fault, and it will do the same again. */
static bool is_crash(int signal)
{
    return signal == SIGSEGV || signal == SIGABRT || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
           signal == SIGSYS || signal == SIGTRAP;
}

static void describe_signal(int32_t process, int signal, char *text, size_t bytes)
{
    char who[128] = "a process";

    if (process >= 0) {
        (void)snprintf(who, sizeof who, "process %d", process);
    }
    if (is_crash(signal)) {
        (void)snprintf(text, bytes, "%s crashed (signal %d, %s)", who, signal, strsignal(signal));
    } else {
        (void)snprintf(text, bytes, "%s was killed (signal %d)", who, signal);
    }
}

/* "process 1", "processes 1 and 3", "processes 1, 2, 5 and 9 more" of those that left no exit status. */
static uint32_t list_vanished(const cairn_run_launch *launch, char *text, size_t bytes)
{
    uint32_t total = 0, named = 0;
    size_t used;

    for (uint32_t i = 0; i < launch->count; i++) {
        total += launch->seen[i] && launch->beats[i].exit < 0;
    }
    used = (size_t)snprintf(text, bytes, total == 1 ? "process" : "processes");
    for (uint32_t i = 0; i < launch->count && named < 4; i++) {
        if (launch->seen[i] && launch->beats[i].exit < 0) {
            used += (size_t)snprintf(text + used, bytes - used, "%s %u", named > 0 ? "," : "", i);
            named++;
        }
    }
    if (total > named) {
        (void)snprintf(text + used, bytes - used, " and %u more", total - named);
    }
    return total;
}

static cairn_run_verdict judge_exit(const cairn_run *run, int32_t process, int code, int *out, char *text, size_t bytes)
{
    *out = code;
    if (code == CAIRN_EXIT_STOPPED) {
        (void)snprintf(text, bytes, "stopped on request");
        return CAIRN_RUN_STOPPED;
    }
    if (code == CAIRN_EXIT_AGAIN) {
        (void)snprintf(text, bytes, "process %d gave up (exit status 75: a peer was lost or a wait was too long)",
                       process);
        return CAIRN_RUN_RESTART;
    }
    if (run->stop != CAIRN_RUN_GO) {
        (void)snprintf(text, bytes, "process %d ended with exit status %d while it was to stop", process, code);
    } else {
        (void)snprintf(text, bytes, "process %d ended with exit status %d", process, code);
    }
    return CAIRN_RUN_OWN_FAILURE;
}

/* The exit status that says most: the job's own failure, before a stop, before "once more". */
static int32_t find_exit(const cairn_run_launch *launch)
{
    int32_t found = -1;
    int best = 0;

    for (uint32_t i = 0; i < launch->count; i++) {
        int code = launch->seen[i] ? launch->beats[i].exit : -1;
        int weight = code <= 0 ? 0 : code == CAIRN_EXIT_AGAIN ? 1 : code == CAIRN_EXIT_STOPPED ? 2 : 3;
        if (weight > best) {
            best = weight;
            found = (int32_t)i;
        }
    }
    return found;
}

/* Now and then mpirun names nobody, and only its status says that it was a signal; its own errors come with a block. */
static int silent_signal(const cairn_run_filter *said, int status)
{
    return said->process < 0 && said->last_block[0] == '\0' && status > 128 && status <= 128 + 64 ? status - 128 : -1;
}

static cairn_run_verdict judge_silent(const cairn_run *run, int status, int *code, char *text, size_t bytes)
{
    const cairn_run_launch *launch = &run->launch;
    const cairn_run_filter *said = &launch->filter;

    int signal = said->signal > 0 ? said->signal : silent_signal(said, status);

    if (signal > 0) {
        describe_signal(said->process, signal, text, bytes);
        *code = 128 + signal;
        return is_crash(signal) ? CAIRN_RUN_OWN_FAILURE : CAIRN_RUN_RESTART;
    }
    *code = status == 0 ? CAIRN_EXIT_FAILURE : status; /* 0: in survive mode */
    if (status == CAIRN_EXIT_AGAIN) {
        (void)snprintf(text, bytes, "the job gave up while it was starting (exit status 75)");
        return CAIRN_RUN_RESTART;
    }
    if (said->exit > 0 || said->last_block[0] == '\0') {
        (void)snprintf(text, bytes, "%s ended with exit status %d before it joined the job", run->options.job[0],
                       status);
    } else {
        (void)snprintf(text, bytes, "%s could not start %s (exit status %d)", run->options.srun ? "srun" : "mpirun",
                       run->options.job[0], status);
    }
    return CAIRN_RUN_OWN_FAILURE;
}

/* Across hosts the mpirun of Open MPI 5 may end with 0 after it has said who died. */
static void describe_vanished(const cairn_run_filter *said, uint32_t process, char *text, size_t bytes)
{
    if (said->daemon_lost) {
        (void)snprintf(text, bytes, "host %s was lost", said->host[0] != '\0' ? said->host : "(unnamed)");
    } else if (said->signal > 0) {
        describe_signal(said->process, said->signal, text, bytes);
    } else {
        (void)snprintf(text, bytes, "process %u vanished without a word", process);
    }
}

/* mpirun ended with 0: everybody who joined must also have left in order. */
static cairn_run_verdict judge_success(const cairn_run_launch *launch, int *code, char *text, size_t bytes)
{
    *code = 0;
    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (launch->seen[i] && beat->exit < 0 && beat->phase != CAIRN_PHASE_FINISHED) {
            describe_vanished(&launch->filter, i, text, bytes);
            return CAIRN_RUN_RESTART;
        }
    }
    (void)snprintf(text, bytes, "done");
    return CAIRN_RUN_DONE;
}

/* Everybody is on the way out and has flushed its output. */
static bool is_answered(const cairn_run *run)
{
    const cairn_run_launch *launch = &run->launch;

    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (!launch->seen[i] || (beat->phase != CAIRN_PHASE_FINISHING && beat->phase != CAIRN_PHASE_FINISHED)) {
            return false;
        }
    }
    return run->stop == CAIRN_RUN_GO;
}

static cairn_run_verdict judge_failure(const cairn_run *run, int status, int *code, char *text, size_t bytes)
{
    const cairn_run_launch *launch = &run->launch;
    const cairn_run_filter *said = &launch->filter;
    char who[128];
    int32_t process;

    if (said->daemon_lost) {
        (void)snprintf(text, bytes, "host %s was lost", said->host[0] != '\0' ? said->host : "(unnamed)");
        return CAIRN_RUN_RESTART;
    }
    if (said->signal > 0) {
        describe_signal(said->process, said->signal, text, bytes);
        return is_answered(run) ? CAIRN_RUN_DONE : CAIRN_RUN_RESTART;
    }
    if (said->exit > 0) {
        return judge_exit(run, said->process, said->exit, code, text, bytes);
    }
    process = find_exit(launch);
    if (process >= 0 && launch->beats[process].exit == CAIRN_EXIT_AGAIN && is_answered(run)) {
        *code = 0; /* somebody died when the answer was out */
        (void)snprintf(text, bytes, "done");
        return CAIRN_RUN_DONE;
    }
    if (process >= 0) {
        return judge_exit(run, process, launch->beats[process].exit, code, text, bytes);
    }
    if (silent_signal(said, status) > 0) {
        describe_signal(-1, silent_signal(said, status), text, bytes);
        return CAIRN_RUN_RESTART;
    }
    if (list_vanished(launch, who, sizeof who) > 0) {
        (void)snprintf(text, bytes, "%s vanished (mpirun ended with status %d)", who, status);
        return CAIRN_RUN_RESTART;
    }
    return judge_success(launch, code, text, bytes);
}

/* Survive mode. false: nobody speaks for all, judge as usual. */
static bool judge_survivors(const cairn_run *run, cairn_run_verdict *verdict, int *code, char *text, size_t bytes)
{
    int32_t one = cairn_run_spokesman(run);

    if (one < 0) {
        return false;
    }
    *code = 0;
    *verdict = CAIRN_RUN_DONE;
    (void)snprintf(text, bytes, "done");
    if (run->launch.beats[one].exit > 0) {
        *verdict = judge_exit(run, one, run->launch.beats[one].exit, code, text, bytes);
    }
    return true;
}

cairn_run_verdict cairn_run_judge(const cairn_run *run, int *code, char *text, size_t bytes)
{
    const cairn_run_launch *launch = &run->launch;
    cairn_run_verdict verdict;
    int status = WIFEXITED(launch->status) ? WEXITSTATUS(launch->status) : 128 + WTERMSIG(launch->status);

    *code = status;
    if (launch->output_error != 0) { /* a full disk, or `cairn run ... | head`: every launch would end so */
        *code = CAIRN_EXIT_IO;
        (void)snprintf(text, bytes, "standard output: %s", strerror(launch->output_error));
        return CAIRN_RUN_OWN_FAILURE;
    }
    if (launch->hung) {
        (void)snprintf(text, bytes, "%s", launch->hung_text);
        return CAIRN_RUN_RESTART;
    }
    if (cairn_run_outlives(&run->options) && judge_survivors(run, &verdict, code, text, bytes)) {
        return verdict;
    }
    if (status == 0 && !cairn_run_outlives(&run->options)) { /* there mpirun ends with 0 whatever happened */
        return judge_success(launch, code, text, bytes);
    }
    if (WIFSIGNALED(launch->status) && launch->filter.process < 0) {
        /* Even if all had ended: what they printed may have died with mpirun. Rather an answer twice than none. */
        (void)snprintf(text, bytes, "mpirun was killed (signal %d)", WTERMSIG(launch->status));
        return CAIRN_RUN_RESTART;
    }
    if (launch->seen_count == 0 && !launch->filter.daemon_lost) {
        return judge_silent(run, status, code, text, bytes);
    }
    return judge_failure(run, status, code, text, bytes);
}
