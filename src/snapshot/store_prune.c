/* Removing snapshots. A snapshot is first uncommitted (its record removed and the folder synced), then emptied, then
 * its folder is removed: at whatever point a crash comes, what is left either is as it was or looks uncommitted, and
 * the next prune ends it. */
#include "snapshot/store_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cairn_status remove_name(int folder, const char *path, const char *name, bool *any, cairn_error *error)
{
    if (unlinkat(folder, name, 0) == 0) {
        *any = true;
        return CAIRN_OK;
    }
    if (errno == ENOENT) {
        return CAIRN_OK;
    }
    int why = errno;
    char what[300];

    (void)snprintf(what, sizeof what, "remove %.255s", name);
    return cairn_fail_errno(error, why, path, what);
}

static cairn_status empty_folder(DIR *folder, const char *path, bool *any, cairn_error *error)
{
    struct dirent *entry;
    cairn_status status = CAIRN_OK;

    while (status == CAIRN_OK && (entry = readdir(folder)) != NULL) {
        if (cairn_store_is_ours(entry->d_name)) {
            status = remove_name(dirfd(folder), path, entry->d_name, any, error);
        }
    }
    return status;
}

/* *any: something of it was there. A folder with files that are not ours stays, without ours. */
static cairn_status remove_snapshot(const char *dir, uint64_t number, bool *any, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    char parent[CAIRN_PATH_BYTES];
    cairn_status status;
    DIR *folder;

    *any = false;
    cairn_store_snapshot_path(path, sizeof path, dir, number);
    folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? CAIRN_OK : cairn_fail_errno(error, errno, path, "open the folder");
    }
    status = remove_name(dirfd(folder), path, "snapshot.h5", any, error);
    if (status == CAIRN_OK && *any) {
        status = cairn_sync_folder(path, error);
    }
    if (status == CAIRN_OK) {
        status = empty_folder(folder, path, any, error);
    }
    (void)closedir(folder);
    if (status != CAIRN_OK) {
        return status;
    }
    if (rmdir(path) == 0) {
        *any = true;
    } else if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT) {
        return cairn_fail_errno(error, errno, path, "remove the folder");
    }
    cairn_folder_of(parent, sizeof parent, path);
    return cairn_sync_folder(parent, error);
}

/* May this one go, given how many usable ones are newer? What cannot be judged stays until `keep` newer ones can be
 * used. */
static bool may_go(cairn_use use, uint32_t usable, uint32_t keep)
{
    switch (use) {
    case CAIRN_USE_YES:
    case CAIRN_USE_UNREADABLE:
        return usable >= keep;
    case CAIRN_USE_UNCOMMITTED:
    case CAIRN_USE_DAMAGED:
    case CAIRN_USE_OTHER_RUN:
        break;
    }
    return usable > 0;
}

cairn_status cairn_store_prune(const char *dir, const char *run, uint32_t keep, cairn_depth depth, uint64_t **removed,
                               size_t *removed_count, cairn_error *error)
{
    uint64_t *numbers = NULL;
    uint64_t *gone = NULL;
    size_t count = 0;
    size_t gone_count = 0;
    uint32_t usable = 0;
    cairn_status status;

    if (keep == 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "prune: at least one snapshot must be kept");
    }
    status = cairn_store_numbers(dir, &numbers, &count, error);
    if (status != CAIRN_OK) {
        return status;
    }
    gone = calloc(count + 1, sizeof *gone);
    if (gone == NULL) {
        free(numbers);
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", dir);
    }
    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        bool any = false;

        /* Once enough usable ones were met, older ones go whatever they are, and need not be read. */
        if (usable < keep) {
            cairn_entry entry;

            cairn_store_examine(dir, numbers[i], run, depth, &entry);
            cairn_store_free(entry.commit);
            if (!may_go(entry.use, usable, keep)) {
                usable += entry.use == CAIRN_USE_YES;
                continue;
            }
        }
        status = remove_snapshot(dir, numbers[i], &any, error);
        if (any) {
            gone[gone_count++] = numbers[i];
        }
    }
    free(numbers);
    if (removed_count != NULL) {
        *removed_count = gone_count;
    }
    if (removed != NULL) {
        *removed = gone;
    } else {
        free(gone);
    }
    return status;
}
