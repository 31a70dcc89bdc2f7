/* What Slurm's commands print, one line at a time; whatever else comes is nothing. */
#include "cli/run.h"

#include <ctype.h>
#include <string.h>

/* "allocated*" does not answer; "draining" goes on with what it has; "unknown" are those that a slurmctld which has just
 * begun has not asked yet. */
static bool is_dead(const char *state)
{
    return strchr(state, '*') != NULL || strncmp(state, "down", 4) == 0 || strncmp(state, "fail", 4) == 0;
}

/* The next word of *at, which is moved behind it; false: there is none, or it is too long. */
static bool take_word(const char **at, char *word, size_t bytes)
{
    size_t length;

    *at += strspn(*at, " \t");
    length = strcspn(*at, " \t\r\n");
    if (length == 0 || length >= bytes) {
        return false;
    }
    memcpy(word, *at, length);
    word[length] = '\0';
    *at += length;
    return true;
}

bool cairn_run_slurm_read_dead(const char *line, char name[CAIRN_NODE_NAME_BYTES], char state[64])
{
    return take_word(&line, name, CAIRN_NODE_NAME_BYTES) && take_word(&line, state, 64) &&
           line[strspn(line, " \t\r\n")] == '\0' && is_dead(state);
}

bool cairn_run_slurm_read_pmix(const char *line)
{
    for (const char *at = line; (at = strstr(at, "pmix")) != NULL; at += 4) {
        const char *behind = at + 4;

        /* "pmix", "pmix_v4": a word of its own, not a part of a path or of an error message about one. */
        if ((at == line || isspace((unsigned char)at[-1]) || at[-1] == ',') &&
            (*behind == '\0' || *behind == '_' || *behind == ',' || isspace((unsigned char)*behind))) {
            return true;
        }
    }
    return false;
}
