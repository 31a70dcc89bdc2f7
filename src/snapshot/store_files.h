/* What the files of the store share beyond store.h. */
#ifndef CAIRN_SNAPSHOT_STORE_FILES_H
#define CAIRN_SNAPSHOT_STORE_FILES_H

#include "base/durable.h"
#include "snapshot/store.h"

void cairn_store_record_path(char *path, size_t bytes, const char *dir, uint64_t number);

/* The part at `path` says of itself what the record says of process `process`. */
cairn_status cairn_store_match(const cairn_commit *commit, uint32_t process, const cairn_part_head *head,
                               const char *path, cairn_error *error);

/* Fill in all of *entry for one snapshot. */
void cairn_store_examine(const char *dir, uint64_t number, const char *run, cairn_depth depth, cairn_entry *entry);

/* Numbers of the folders of dir/snapshots, newest first; malloc'ed. A missing dir/snapshots has none. */
cairn_status cairn_store_numbers(const char *dir, uint64_t **numbers, size_t *count, cairn_error *error);

/* A name that Cairn gives to a file of a snapshot, whole or temporary. */
bool cairn_store_is_ours(const char *name);

#endif
