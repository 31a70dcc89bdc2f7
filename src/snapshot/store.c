/* Which snapshots there are and which a restart can use. Nothing here changes a file. */
#include "snapshot/seal.h"
#include "snapshot/store_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cairn_store_snapshot_path(char *path, size_t bytes, const char *dir, uint64_t number)
{
    (void)snprintf(path, bytes, "%s/snapshots/%06" PRIu64, dir, number);
}

void cairn_store_part_path(char *path, size_t bytes, const char *dir, uint64_t number, uint32_t process)
{
    (void)snprintf(path, bytes, "%s/snapshots/%06" PRIu64 "/process-%06" PRIu32 ".h5", dir, number, process);
}

void cairn_store_record_path(char *path, size_t bytes, const char *dir, uint64_t number)
{
    (void)snprintf(path, bytes, "%s/snapshots/%06" PRIu64 "/snapshot.h5", dir, number);
}

cairn_status cairn_store_match(const cairn_commit *commit, uint32_t process, const cairn_part_head *head,
                               const char *path, cairn_error *error)
{
    if (head->process != process || head->count != commit->count) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s: is the part of process %" PRIu32 " of %" PRIu32 ", not of %" PRIu32 " of %" PRIu32, path,
                          head->process, head->count, process, commit->count);
    }
    if (head->number != commit->number || strcmp(head->run, commit->run) != 0 || strcmp(head->job, commit->job) != 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s: is a part of snapshot %06" PRIu64 " of run %s, not of %06" PRIu64 " of run %s", path,
                          head->number, head->run, commit->number, commit->run);
    }
    if (head->incarnation != commit->incarnation || head->step != commit->step ||
        head->lamport != commit->lamport[process]) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its incarnation, step or clock is not that of the commit record",
                          path);
    }
    return CAIRN_OK;
}

/* "000007" is 7, and there is one way to write it. */
static bool parse_number(const char *name, uint64_t *number)
{
    char again[32];

    if (name[0] < '0' || name[0] > '9') {
        return false;
    }
    errno = 0;
    *number = strtoull(name, NULL, 10);
    (void)snprintf(again, sizeof again, "%06" PRIu64, *number);
    return errno == 0 && *number > 0 && strcmp(again, name) == 0;
}

static int newest_first(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return (a < b) - (a > b);
}

cairn_status cairn_store_numbers(const char *dir, uint64_t **numbers, size_t *count, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    uint64_t *found = NULL;
    size_t filled = 0;
    size_t room = 0;
    struct dirent *entry;
    cairn_status status = CAIRN_OK;
    DIR *folder;

    *numbers = NULL;
    *count = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/snapshots", dir) >= sizeof path) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", dir);
    }
    folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? CAIRN_OK : cairn_fail_errno(error, errno, path, "open the folder");
    }
    for (errno = 0; (entry = readdir(folder)) != NULL; errno = 0) {
        uint64_t number;

        if (!parse_number(entry->d_name, &number)) {
            continue;
        }
        if (filled == room) {
            uint64_t *more = realloc(found, (room = room * 2 + 16) * sizeof *more);

            if (more == NULL) {
                status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
                break;
            }
            found = more;
        }
        found[filled++] = number;
    }
    if (entry == NULL && errno != 0) {
        status = cairn_fail_errno(error, errno, path, "read the folder");
    }
    (void)closedir(folder);
    if (status != CAIRN_OK) {
        free(found);
        return status;
    }
    if (filled > 1) {
        qsort(found, filled, sizeof *found, newest_first);
    }
    *numbers = found;
    *count = filled;
    return CAIRN_OK;
}

cairn_status cairn_store_latest(const char *dir, uint64_t *number, cairn_error *error)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    cairn_status status = cairn_store_numbers(dir, &numbers, &count, error);

    if (status == CAIRN_OK) {
        *number = count > 0 ? numbers[0] : 0;
    }
    free(numbers);
    return status;
}

bool cairn_store_is_ours(const char *name)
{
    char stem[64];
    size_t length = strlen(name);
    char *end = NULL;

    if (length >= sizeof stem) {
        return false;
    }
    memcpy(stem, name, length + 1);
    if (length > 4 && strcmp(stem + length - 4, ".tmp") == 0) {
        stem[length - 4] = '\0';
    }
    if (strcmp(stem, "snapshot.h5") == 0 || strcmp(stem, "snapshot.h5.proposed") == 0) {
        return true;
    }
    if (strncmp(stem, "process-", 8) != 0 || strspn(stem + 8, "0123456789") < 6) {
        return false;
    }
    (void)strtoul(stem + 8, &end, 10);
    return strcmp(end, ".h5") == 0;
}

/* CAIRN_E_NOT_FOUND when the folder is gone. */
static cairn_status count_bytes(const char *path, uint64_t *bytes, cairn_error *error)
{
    struct dirent *entry;
    DIR *folder = opendir(path);

    *bytes = 0;
    if (folder == NULL) {
        return cairn_fail_errno(error, errno, path, "open the folder");
    }
    while ((entry = readdir(folder)) != NULL) {
        struct stat found;

        if (cairn_store_is_ours(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0) {
            *bytes += (uint64_t)found.st_size;
        }
    }
    (void)closedir(folder);
    return CAIRN_OK;
}

static cairn_status check_seal(const char *path, const cairn_part_seal *expected, cairn_error *error)
{
    cairn_part_seal seal;
    int fd = -1;
    cairn_status status = cairn_seal_open(&fd, path, error);

    if (status == CAIRN_OK) {
        status = cairn_seal_check(fd, path, CAIRN_SEALED_PART, expected, false, &seal, error);
        (void)close(fd);
    }
    return status;
}

static cairn_status check_part(const char *dir, const cairn_commit *commit, uint32_t process, cairn_depth depth,
                               cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_part *part = NULL;
    cairn_status status;

    cairn_store_part_path(path, sizeof path, dir, commit->number, process);
    if (depth == CAIRN_DEPTH_SEALS) {
        status = check_seal(path, &commit->parts[process], error);
    } else {
        status = cairn_part_open(&part, path, &commit->parts[process], error);
        if (status == CAIRN_OK) {
            status = cairn_store_match(commit, process, cairn_part_get_head(part), path, error);
        }
        cairn_part_close(part);
    }
    if (status == CAIRN_E_NOT_FOUND) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: the part of process %" PRIu32 " is missing", path, process);
    }
    return status;
}

/* What a failed check means for a restart. An error of the moment (no permission, no memory) is not damage. */
static cairn_use use_of(cairn_status status)
{
    switch (status) {
    case CAIRN_E_CORRUPT:
    case CAIRN_E_VERSION:
    case CAIRN_E_MISMATCH:
        return CAIRN_USE_DAMAGED;
    default:
        return CAIRN_USE_UNREADABLE;
    }
}

static void say(cairn_entry *entry, cairn_use use, const char *why)
{
    entry->use = use;
    (void)snprintf(entry->why, sizeof entry->why, "%.*s", (int)sizeof entry->why - 1, why);
}

bool cairn_store_stands(const char *dir, uint64_t number)
{
    cairn_commit *commit = NULL;
    cairn_status status = cairn_store_read(dir, number, &commit, NULL);

    cairn_store_free(commit);
    return status != CAIRN_E_NOT_FOUND;
}

void cairn_store_examine(const char *dir, uint64_t number, const char *run, cairn_depth depth, cairn_entry *entry)
{
    char path[CAIRN_PATH_BYTES];
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status;

    *entry = (cairn_entry){.number = number, .use = CAIRN_USE_YES};
    cairn_store_snapshot_path(path, sizeof path, dir, number);
    status = count_bytes(path, &entry->bytes, &error);
    if (status != CAIRN_OK && status != CAIRN_E_NOT_FOUND) {
        say(entry, CAIRN_USE_UNREADABLE, error.text);
        return;
    }
    status = cairn_store_read(dir, number, &entry->commit, &error);
    if (status == CAIRN_E_NOT_FOUND || (status != CAIRN_OK && !cairn_store_stands(dir, number))) {
        say(entry, CAIRN_USE_UNCOMMITTED, entry->bytes > 0 ? "not committed: no commit record" : "empty folder");
        return;
    }
    if (status != CAIRN_OK) {
        say(entry, use_of(status), error.text);
        return;
    }
    if (run != NULL && strcmp(run, entry->commit->run) != 0) {
        (void)snprintf(entry->why, sizeof entry->why, "of another run (%s)", entry->commit->run);
        entry->use = CAIRN_USE_OTHER_RUN;
        return;
    }
    for (uint32_t i = 0; i < entry->commit->count; i++) {
        status = check_part(dir, entry->commit, i, depth, &error);
        if (status != CAIRN_OK && !cairn_store_stands(dir, number)) {
            cairn_store_free(entry->commit);
            entry->commit = NULL;
            say(entry, CAIRN_USE_UNCOMMITTED, "was removed meanwhile");
            return;
        }
        if (status != CAIRN_OK) {
            say(entry, use_of(status), error.text);
            return;
        }
    }
}

cairn_status cairn_store_list(const char *dir, const char *run, cairn_depth depth, cairn_entry **entries, size_t *count,
                              cairn_error *error)
{
    uint64_t *numbers = NULL;
    size_t found = 0;
    cairn_entry *list = NULL;
    cairn_status status = cairn_store_numbers(dir, &numbers, &found, error);

    *entries = NULL;
    *count = 0;
    if (status == CAIRN_OK && found > 0) {
        list = calloc(found, sizeof *list);
        if (list == NULL) {
            status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %zu snapshots", dir, found);
        } else {
            for (size_t i = 0; i < found; i++) {
                cairn_store_examine(dir, numbers[i], run, depth, &list[i]);
            }
            *entries = list;
            *count = found;
        }
    }
    free(numbers);
    return status;
}

void cairn_store_list_free(cairn_entry *entries, size_t count)
{
    for (size_t i = 0; entries != NULL && i < count; i++) {
        cairn_store_free(entries[i].commit);
    }
    free(entries);
}

bool cairn_store_has_committed(const char *dir)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    bool found = false;

    if (cairn_store_list(dir, NULL, CAIRN_DEPTH_SEALS, &entries, &count, NULL) != CAIRN_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        found = found || entries[i].use != CAIRN_USE_UNCOMMITTED || cairn_store_is_proposed(dir, entries[i].number);
    }
    cairn_store_list_free(entries, count);
    return found;
}
