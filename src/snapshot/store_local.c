/* What lies of a run in a folder of this host: LOCAL/cairn-RUN/000007/process-000003.h5. Whether such a snapshot counts only the
 * log can say, and the parts of other hosts nobody sees from here. */
#include "base/durable.h"
#include "snapshot/seal.h"
#include "snapshot/store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cairn_store_local_root(char *path, size_t bytes, const char *local, const char *run)
{
    (void)snprintf(path, bytes, "%s/cairn-%s", local, run);
}

void cairn_store_local_part(char *path, size_t bytes, const char *local, const char *run, uint64_t number,
                            uint32_t process)
{
    (void)snprintf(path, bytes, "%s/cairn-%s/%06" PRIu64 "/process-%06" PRIu32 ".h5", local, run, number, process);
}

/* "000007", and "process-000003.h5" between what is before and behind the digits. */
static bool number_in(const char *name, const char *before, const char *behind, uint64_t *number)
{
    size_t length = strlen(before);
    char *end;

    if (strncmp(name, before, length) != 0 || name[length] < '0' || name[length] > '9') {
        return false;
    }
    errno = 0;
    *number = strtoull(name + length, &end, 10);
    return errno == 0 && strcmp(end, behind) == 0;
}

static int by_process(const void *left, const void *right)
{
    const cairn_local_piece *a = left;
    const cairn_local_piece *b = right;

    return (a->process > b->process) - (a->process < b->process);
}

static int newest_first(const void *left, const void *right)
{
    const cairn_local_entry *a = left;
    const cairn_local_entry *b = right;

    return (a->number < b->number) - (a->number > b->number);
}

static cairn_status check(const char *path, const char *run, const cairn_local_entry *entry, uint32_t process,
                          cairn_depth depth, uint64_t *step, uint32_t *count, cairn_error *error)
{
    cairn_part *part = NULL;
    const cairn_part_head *head;
    cairn_status status =
        cairn_part_open_depth(&part, path, NULL, depth == CAIRN_DEPTH_FULL ? CAIRN_PART_ALL : CAIRN_PART_SEAL, error);

    if (status != CAIRN_OK) {
        return status;
    }
    head = cairn_part_get_head(part);
    if (head->process != process || head->number != entry->number || strcmp(head->run, run) != 0) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: is the part of another process, snapshot or run", path);
    } else if (entry->count != 0 && (head->count != entry->count || head->step != entry->step)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: is of another cut than the parts beside it", path);
    }
    *step = head->step;
    *count = head->count;
    cairn_part_close(part);
    return status;
}

/* One part of the entry. What is wrong with it stands in it. */
static cairn_status take_part(const char *local, const char *run, cairn_local_entry *entry, uint32_t process,
                              cairn_depth depth, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_local_piece *more = realloc(entry->pieces, (entry->piece_count + 1) * sizeof *more);
    cairn_local_piece *piece;
    cairn_error why = {CAIRN_OK, ""};
    struct stat found;
    uint64_t step = 0;
    uint32_t count = 0;

    if (more == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", local);
    }
    entry->pieces = more;
    piece = &more[entry->piece_count];
    *piece = (cairn_local_piece){.process = process};
    cairn_store_local_part(path, sizeof path, local, run, entry->number, process);
    if (stat(path, &found) != 0) {
        return CAIRN_OK; /* swept a moment ago */
    }
    if (check(path, run, entry, process, depth, &step, &count, &why) != CAIRN_OK) {
        if (access(path, F_OK) != 0) {
            return CAIRN_OK;
        }
        (void)snprintf(piece->why, sizeof piece->why, "%.*s", (int)sizeof piece->why - 1, why.text);
    } else {
        entry->step = step;
        entry->count = count;
    }
    entry->bytes += (uint64_t)found.st_size;
    entry->piece_count++;
    return CAIRN_OK;
}

static cairn_status look_into(const char *local, const char *run, cairn_local_entry *entry, cairn_depth depth,
                              cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    struct dirent *one;
    uint64_t process;
    cairn_status status = CAIRN_OK;
    DIR *folder;

    (void)snprintf(path, sizeof path, "%s/cairn-%s/%06" PRIu64, local, run, entry->number);
    folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? CAIRN_OK : cairn_fail_errno(error, errno, path, "open");
    }
    while (status == CAIRN_OK && (one = readdir(folder)) != NULL) {
        if (number_in(one->d_name, "process-", ".h5", &process) && process < UINT32_MAX) {
            status = take_part(local, run, entry, (uint32_t)process, depth, error);
        }
    }
    (void)closedir(folder);
    if (entry->piece_count > 1) {
        qsort(entry->pieces, entry->piece_count, sizeof *entry->pieces, by_process);
    }
    return status;
}

cairn_status cairn_store_list_local(const char *local, const char *run, cairn_depth depth, cairn_local_entry **entries,
                                    size_t *count, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    struct dirent *one;
    uint64_t number;
    cairn_status status = CAIRN_OK;
    DIR *folder;

    *entries = NULL;
    *count = 0;
    cairn_store_local_root(path, sizeof path, local, run);
    folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? CAIRN_OK : cairn_fail_errno(error, errno, path, "open");
    }
    while (status == CAIRN_OK && (one = readdir(folder)) != NULL) {
        cairn_local_entry *more;

        if (!number_in(one->d_name, "", "", &number)) {
            continue;
        }
        more = realloc(*entries, (*count + 1) * sizeof *more);
        if (more == NULL) {
            status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
            break;
        }
        *entries = more;
        more[*count] = (cairn_local_entry){.number = number, .step = 0};
        (*count)++;
        status = look_into(local, run, &more[*count - 1], depth, error);
        if (status == CAIRN_OK && more[*count - 1].piece_count == 0) {
            (*count)--;
            free(more[*count].pieces);
        }
    }
    (void)closedir(folder);
    if (*count > 1) {
        qsort(*entries, *count, sizeof **entries, newest_first);
    }
    if (status != CAIRN_OK) {
        cairn_store_list_local_free(*entries, *count);
        *entries = NULL;
        *count = 0;
    }
    return status;
}

void cairn_store_list_local_free(cairn_local_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(entries[i].pieces);
    }
    free(entries);
}
