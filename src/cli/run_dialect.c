/* Which Open MPI's mpirun is it? What its 4.x (orterun) and 5.x (prterun) call differently stands in one table here.
 *
 * In 5.x the launcher is a project of its own (PRRTE) with parameters of its own: --prtemca beside --mca, PRTE_MCA_ beside
 * OMPI_MCA_ in the environment. */
#include "cli/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const cairn_run_dialect dialects[] = {
    {
        .major = 4,
        .launcher_mca = "--mca",
        .launcher_environment = "OMPI_MCA_",
        .oversubscribe = {"--oversubscribe"},
        .recovery = {"--mca", "orte_enable_recovery", "1"},
        .recovery_name = "orte_enable_recovery",
        .btl = "self,vader,tcp",
        .shared_folder = "btl_vader_backing_directory",
        .folder = "orte_tmpdir_base",
        .hostfile = "orte_default_hostfile",
        .binding = "hwloc_base_binding_policy",
        .local_starter = "isolated",
        .kill_time = "odls_base_sigkill_timeout",
        .launch_agent = "orte_launch_agent",
        .daemon_holds = "env --block-signal=TERM orted",
        .spawns = true,
    },
    {
        .major = 5,
        .launcher_mca = "--prtemca",
        .launcher_environment = "PRTE_MCA_",
        .oversubscribe = {"--map-by", ":OVERSUBSCRIBE"},
        /* Its --enable-recovery alone ends all when one of two processes ends with a status other than 0. */
        .recovery = {"--runtime-options", "recoverable,error-nonzero-status=0"},
        .recovery_name = "runtime-options",
        /* Otherwise 5.0.7 holds back what is not a whole line, and may print it into the other stream. */
        .output = {"--output", ":RAW"},
        .btl = "self,sm",
        .shared_folder = "btl_sm_backing_directory",
        .folder = "prte_tmpdir_base",
        .hostfile = "prte_default_hostfile",
        .binding = "hwloc_default_binding_policy",
        .launch_agent = "prte_launch_agent",
        .daemon_holds = "env --block-signal=TERM prted",
    },
};

/* A later Open MPI is spoken to like the last one that we know. */
static const cairn_run_dialect *choose(long major)
{
    size_t found = 0;

    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        if (dialects[i].major <= major) {
            found = i;
        }
    }
    return &dialects[found];
}

const cairn_run_dialect *cairn_run_dialect_read(const char *said)
{
    const char *at = strstr(said, "(Open MPI) "); /* "mpirun (Open MPI) 4.1.4" */
    char *end = NULL;
    long major;

    if (at == NULL) {
        return NULL;
    }
    at += strlen("(Open MPI) ");
    major = strtol(at, &end, 10);
    return end == at || *end != '.' ? NULL : choose(major);
}

const cairn_run_dialect *cairn_run_dialect_ask(char *said, size_t bytes)
{
    size_t used = 0, got;
    FILE *pipe = popen("mpirun --version 2>&1 </dev/null", "re");

    said[0] = '\0';
    if (pipe == NULL) {
        (void)snprintf(said, bytes, "%s", strerror(errno));
        return NULL;
    }
    while (used + 1 < bytes && (got = fread(said + used, 1, bytes - used - 1, pipe)) > 0) {
        used += got;
    }
    said[used] = '\0';
    (void)pclose(pipe);
    const cairn_run_dialect *dialect = cairn_run_dialect_read(said);
    said[strcspn(said, "\n")] = '\0'; /* one line for a message */
    return dialect;
}
