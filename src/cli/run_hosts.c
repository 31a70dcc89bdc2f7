/* Which hosts a launch may use: those of --hostfile or of the allocation, without those whose daemon was lost in this run. */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The host of a line of a hostfile; NULL for comments and blank lines. Changes the line. */
static char *host_of(char *line)
{
    char *rest, *host = strtok_r(line, " \t\r\n:", &rest);

    return host == NULL || *host == '#' ? NULL : host;
}

bool cairn_run_hosts_is_lost(const cairn_run *run, const char *host)
{
    for (uint32_t i = 0; i < run->lost_count; i++) {
        size_t length = strlen(run->lost[i]);
        /* mpirun strips the domain. */
        if (strncmp(run->lost[i], host, length) == 0 && (host[length] == '\0' || host[length] == '.')) {
            return true;
        }
    }
    return false;
}

void cairn_run_hosts_lose(cairn_run *run, const char *host)
{
    if (run->options.hostfile != NULL && *host != '\0' && run->lost_count < CAIRN_RUN_LOST_MAX &&
        !cairn_run_hosts_is_lost(run, host)) {
        (void)snprintf(run->lost[run->lost_count++], sizeof run->lost[0], "%s", host);
    }
}

/* Copy the lines of hosts that are left. How many there are. */
static uint32_t copy_left(const cairn_run *run, FILE *from, FILE *to)
{
    char line[1024], copy[1024];
    uint32_t left = 0;

    while (fgets(line, sizeof line, from) != NULL) {
        (void)snprintf(copy, sizeof copy, "%s", line);
        const char *host = host_of(copy);
        if (host != NULL && !cairn_run_hosts_is_lost(run, host)) {
            fputs(line, to);
            left++;
        }
    }
    return left;
}

const char *cairn_run_hosts_file(cairn_run *run)
{
    FILE *from, *to;
    uint32_t left = 0;

    if (run->options.hostfile == NULL || run->lost_count == 0 ||
        !cairn_run_path(run, run->hosts_left, sizeof run->hosts_left, "log/hosts-left")) {
        return run->options.hostfile;
    }
    from = fopen(run->options.hostfile, "re");
    to = fopen(run->hosts_left, "we");
    if (from != NULL && to != NULL) {
        left = copy_left(run, from, to);
    }
    if (from != NULL) {
        fclose(from);
    }
    if (to != NULL && fclose(to) != 0) {
        left = 0;
    }
    /* All lost: perhaps they are back. */
    return left > 0 ? run->hosts_left : run->options.hostfile;
}

char *cairn_run_hosts_text(const char *hostfile)
{
    FILE *file = fopen(hostfile, "re");
    char line[1024], *text = NULL;
    size_t used = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *host = host_of(line);
        char *longer = host == NULL ? NULL : realloc(text, used + strlen(host) + 2);
        if (host == NULL) {
            continue;
        }
        if (longer == NULL) {
            break;
        }
        text = longer;
        used += (size_t)sprintf(text + used, "%s%s", used > 0 ? "," : "", host);
    }
    if (file != NULL) {
        fclose(file);
    }
    return text;
}
