/* Who votes: the record of the group in DIR/consensus, and moving the group's state to other acceptors.
 *
 * DIR/consensus/group.json: {"format": 1, "epoch": E, "processes": N, "acceptors": [ids], "formed": true}. The
 * acceptors' logs and images are in DIR/consensus/group-EEEEEE/acceptor-PPPPPP. A group is formed when every acceptor
 * has a durable log: from then on a missing log is a lost one; before, an acceptor without one has never voted. On
 * another number of processes, or with another number of acceptors, a launch moves the group: all of the old one's
 * acceptors are dead then (DIR is locked), so one process brings back a majority of their logs, lets them elect a
 * leader among themselves and finish what is open, and gives the state as an image to the new ones. */
#ifndef CAIRN_COORD_GROUP_H
#define CAIRN_COORD_GROUP_H

#include "paxos/multi.h"

#include <cairn/status.h>

typedef struct cairn_group {
    uint32_t epoch; /* from 1 */
    uint32_t count; /* processes */
    uint32_t acceptor_count;
    uint32_t acceptors[MP_ACCEPTORS_MAX]; /* ascending */
    bool formed;
} cairn_group;

#define CAIRN_GROUP_PATH_BYTES 4096

void cairn_group_folder(char *path, size_t bytes, const char *dir, const cairn_group *group, uint32_t acceptor);
/* CAIRN_E_NOT_FOUND: there is none. CAIRN_E_CORRUPT names what is wrong. */
cairn_status cairn_group_read(const char *dir, cairn_group *group, cairn_error *error);
/* There is a folder of some group. */
bool cairn_group_has_logs(const char *dir);
/* Durably. Makes DIR/consensus. */
cairn_status cairn_group_write(const char *dir, const cairn_group *group, cairn_error *error);
/* Remove the folders of earlier epochs: their state is in this one's. What cannot be removed stays. */
void cairn_group_remove_older(const char *dir, const cairn_group *group);
/* Choose `wanted` (1, 3, 5, 7; 0: 5 on five nodes or more, else 3, and 1 of two processes) of count processes, spread
 * over their nodes: node[i] is any number that tells the node of process i. Fills in acceptors, acceptor_count and
 * count. */
void cairn_group_choose(cairn_group *group, const uint64_t *node, uint32_t count, uint32_t wanted);
/* Bring the state of `old`, formed or not, into the folders of `fresh` (which has another epoch). Nothing of the old one is changed
 * but what its own recovery does. CAIRN_E_CORRUPT: no majority of the old acceptors' logs can be read. */
cairn_status cairn_group_move(const char *dir, const cairn_group *old, const cairn_group *fresh,
                              const mp_options *options, cairn_error *error);

#endif
