/* In a Slurm allocation: which hosts and how many processes, which of the hosts Slurm calls dead, whether srun can start
 * the job. Environment: SLURM_JOB_ID, SLURM_JOB_NODELIST, SLURM_TASKS_PER_NODE, SLURM_NTASKS. */
#include "base/durable.h"
#include "cli/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK "timeout 8 " /* slurmctld may be down, and its clients patient */

int cairn_run_slurm_settle(cairn_run_options *options)
{
    const char *list = getenv("SLURM_JOB_NODELIST"), *tasks = getenv("SLURM_TASKS_PER_NODE");
    const char *count = getenv("SLURM_NTASKS");
    bool inside = getenv("SLURM_JOB_ID") != NULL && list != NULL;
    uint64_t total = 0;
    cairn_error error = {0};

    if (options->srun && !inside) {
        return cairn_run_usage("--launcher srun: %s", "not in a Slurm allocation (SLURM_JOB_ID is not set)");
    }
    if (options->srun && options->survive) {
        return cairn_run_usage("--launcher srun: %s", "--survive needs mpirun: srun ends all when one process dies");
    }
    if (options->srun && options->hostfile != NULL) {
        return cairn_run_usage("--launcher srun: %s", "the hosts are the allocation's: not with --hostfile");
    }
    if (!inside || options->hostfile != NULL) {
        return -1;
    }
    if (cairn_nodelist_parse(&options->nodes, list, &error) != CAIRN_OK) {
        return cairn_run_usage("SLURM_JOB_NODELIST: %s", error.text);
    }
    options->tasks = calloc(options->nodes.count, sizeof *options->tasks);
    if (options->tasks == NULL) {
        return cairn_run_usage("%s", "out of memory");
    }
    if (tasks != NULL && cairn_tasks_parse(options->tasks, options->nodes.count, tasks, &error) != CAIRN_OK) {
        return cairn_run_usage("SLURM_TASKS_PER_NODE: %s", error.text);
    }
    for (uint32_t i = 0; i < options->nodes.count; i++) {
        options->tasks[i] = options->tasks[i] > 0 ? options->tasks[i] : 1;
        total += options->tasks[i];
    }
    if (options->count == 0) {
        unsigned long wanted = count != NULL ? strtoul(count, NULL, 10) : 0;
        options->count = (uint32_t)(wanted > 0 && wanted < UINT32_MAX ? wanted : total);
    }
    return -1;
}

cairn_status cairn_run_slurm_hosts(cairn_run *run, cairn_error *error)
{
    cairn_run_options *options = &run->options;

    if (options->nodes.count == 0) {
        return CAIRN_OK;
    }
    if (!cairn_run_path(run, run->hosts_all, sizeof run->hosts_all, "log/hosts")) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: the path is too long", options->dir);
    }
    FILE *file = fopen(run->hosts_all, "we");
    if (file == NULL) {
        return cairn_fail_errno(error, errno, run->hosts_all, "cannot be written");
    }
    fprintf(file, "# the allocation of Slurm job %s\n", getenv("SLURM_JOB_ID"));
    for (uint32_t i = 0; i < options->nodes.count; i++) {
        fprintf(file, "%s slots=%u\n", options->nodes.names[i], options->tasks[i]);
    }
    if (fclose(file) != 0) {
        return cairn_fail_errno(error, errno, run->hosts_all, "cannot be written");
    }
    options->hostfile = run->hosts_all;
    return CAIRN_OK;
}

bool cairn_run_slurm_can_srun(char *text, size_t bytes)
{
    char line[256];
    bool found = false;
    FILE *output = popen(ASK "srun --mpi=list 2>&1", "re");

    while (output != NULL && fgets(line, sizeof line, output) != NULL) {
        found = found || cairn_run_slurm_read_pmix(line);
    }
    if (output != NULL) {
        (void)pclose(output);
    }
    (void)snprintf(
        text, bytes,
        "srun has no PMIx here (srun --mpi=list), without which the processes of an Open MPI job do not find "
        "each other: use --launcher mpirun");
    return found;
}

bool cairn_run_slurm_can_hold(const cairn_run *run)
{
    /* GNU env since coreutils 8.31. */
    return run->options.nodes.count > 0 && !run->options.srun &&
           system("env --block-signal=TERM true 2>/dev/null") == 0;
}

uint32_t cairn_run_slurm_look(cairn_run *run)
{
    const char *list = getenv("SLURM_JOB_NODELIST");
    uint32_t before = run->lost_count;
    char line[256], command[64 + 32768], name[CAIRN_NODE_NAME_BYTES], state[64];

    /* It was parsed, so that no shell finds anything in it. */
    if (run->options.nodes.count == 0 || list == NULL ||
        snprintf(command, sizeof command, ASK "sinfo --noheader --Node --format='%%N %%T' --nodes='%s' 2>/dev/null",
                 list) >= (int)sizeof command) {
        return 0;
    }
    FILE *output = popen(command, "re");
    while (output != NULL && fgets(line, sizeof line, output) != NULL) {
        if (cairn_run_slurm_read_dead(line, name, state) && !cairn_run_hosts_is_lost(run, name)) {
            cairn_run_say(run, "host %s is %s, says Slurm", name, state);
            cairn_run_hosts_lose(run, name);
        }
    }
    if (output != NULL) {
        (void)pclose(output);
    }
    return run->lost_count - before;
}
