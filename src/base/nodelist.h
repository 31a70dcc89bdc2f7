/* Lists of hosts and counts as Slurm writes them: SLURM_JOB_NODELIST "moss[1-3,07],stone" and SLURM_TASKS_PER_NODE
 * "2(x3),1". */
#ifndef CAIRN_BASE_NODELIST_H
#define CAIRN_BASE_NODELIST_H

#include <cairn/status.h>
#include <stdint.h>

#define CAIRN_NODE_NAME_BYTES 65
#define CAIRN_NODES_MAX       65536

typedef struct cairn_nodelist {
    char (*names)[CAIRN_NODE_NAME_BYTES];
    uint32_t count;
} cairn_nodelist;

/* All names, in order; a name that comes twice is there twice. Numbers keep their leading zeros; one name may have more
 * than one bracket. CAIRN_E_INVALID says what cannot be read, or that there is none; CAIRN_E_NOMEM. On error the list is
 * empty. */
cairn_status cairn_nodelist_parse(cairn_nodelist *list, const char *text, cairn_error *error);
void cairn_nodelist_free(cairn_nodelist *list);

/* The tasks of each of `count` nodes. CAIRN_E_INVALID: not readable, or of another number of nodes. */
cairn_status cairn_tasks_parse(uint32_t *tasks, uint32_t count, const char *text, cairn_error *error);

#endif
