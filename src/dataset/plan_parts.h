/* The insides of plans, shared by plan.c, plan_place.c and plan_pack.c. */
#ifndef CAIRN_DATASET_PLAN_PARTS_H
#define CAIRN_DATASET_PLAN_PARTS_H

#include "dataset/plan.h"

enum { PATH_BYTES_MAX = CAIRN_PLAN_PATH_BYTES };

cairn_status plan_status_of_errno(void);
/* The name behind the last slash. */
const char *plan_name_of(const char *path);
/* The folder of a replica; NULL: it is on another host. */
const char *plan_folder_here(const cairn_plan *plan, uint32_t replica);
/* The place of a file to go by while the plan is made. piece: CAIRN_SAMPLE_BYTES. */
cairn_status plan_choose_place(const cairn_plan *plan, uint32_t file, char *piece, uint32_t *chosen,
                               cairn_error *error);
/* From files and block_bytes. */
cairn_status plan_make_blocks(cairn_plan *plan, cairn_error *error);

#endif
