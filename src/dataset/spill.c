/* Spilling: see spill.h. */
#include "dataset/spill.h"

#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cairn_status temporary_file(int *fd, char *path, cairn_error *error)
{
    const char *folder = getenv("TMPDIR");

    (void)snprintf(path, CAIRN_PATH_BYTES, "%s/cairn-spill-XXXXXX",
                   folder == NULL || *folder == '\0' ? "/tmp" : folder);
    *fd = mkostemp(path, O_CLOEXEC);
    return *fd >= 0 ? CAIRN_OK : cairn_fail_errno(error, errno, path, "cannot be made, to hold groups");
}

static cairn_status new_file(cairn_spill *spill, int *fd, char *path, cairn_error *error)
{
    if (spill->folder == NULL) {
        return temporary_file(fd, path, error);
    }
    if (!spill->made) {
        cairn_status status = cairn_make_folders(spill->folder, error);
        if (status != CAIRN_OK) {
            return status;
        }
        spill->made = true;
    }
    do {
        int length =
            snprintf(path, CAIRN_PATH_BYTES, "%s/%s-%" PRIu64 ".run", spill->folder, spill->stem, spill->next++);
        if (length >= CAIRN_PATH_BYTES) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: the name is too long", spill->folder);
        }
        *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (*fd < 0 && errno == EEXIST); /* of a process that died in this one's place */
    return *fd >= 0 ? CAIRN_OK : cairn_fail_errno(error, errno, path, "cannot be made, to hold groups");
}

cairn_status cairn_spill_begin(cairn_spill *spill, cairn_run_writer *writer, cairn_shape shape, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    int fd = -1;
    cairn_status status = new_file(spill, &fd, path, error);

    return status == CAIRN_OK ? cairn_run_begin(writer, fd, path, shape, error) : status;
}

/* ---------------------------------------------------------------- a table as a run */

typedef struct place {
    uint64_t hash;
    uint32_t index;
} place;

static int compare_places(const void *a, const void *b, void *context)
{
    const cairn_groups *groups = context;
    const place *left = a, *right = b;

    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }
    return cairn_groups_compare(groups, cairn_groups_at(groups, left->index), groups,
                                cairn_groups_at(groups, right->index));
}

enum { BUCKETS = 1 << 16 };

/* By the hash's first bits into buckets, which are small then. NULL: no memory. */
static place *ordered(cairn_groups *groups)
{
    place *places = malloc(groups->count * sizeof *places);
    uint32_t *start = calloc(BUCKETS + 1, sizeof *start);

    if (places == NULL || start == NULL) {
        free(places);
        free(start);
        return NULL;
    }
    for (uint32_t i = 0; i < groups->count; i++) {
        start[(cairn_groups_hash(cairn_groups_at(groups, i)->key) >> 48) + 1]++;
    }
    for (uint32_t i = 0; i < BUCKETS; i++) {
        start[i + 1] += start[i];
    }
    for (uint32_t i = 0; i < groups->count; i++) {
        uint64_t hash = cairn_groups_hash(cairn_groups_at(groups, i)->key);
        places[start[hash >> 48]++] = (place){hash, i};
    }
    for (uint32_t i = 0, from = 0; i < BUCKETS; i++) { /* now each is where it ends */
        if (start[i] - from > 1) {
            qsort_r(places + from, start[i] - from, sizeof *places, compare_places, groups);
        }
        from = start[i];
    }
    free(start);
    return places;
}

cairn_status cairn_spill_groups(cairn_spill *spill, cairn_groups *groups, cairn_runs *runs, cairn_error *error)
{
    cairn_run_writer writer;

    if (groups->count == 0) {
        return CAIRN_OK;
    }
    place *places = ordered(groups);
    cairn_status status = places == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "the order of the groups") : CAIRN_OK;
    if (status == CAIRN_OK) {
        status = cairn_spill_begin(spill, &writer, groups->shape, error);
    }
    if (status != CAIRN_OK) {
        free(places);
        return status;
    }
    for (uint32_t i = 0; i < groups->count && status == CAIRN_OK; i++) {
        status = cairn_run_put(&writer, groups, cairn_groups_at(groups, places[i].index), error);
    }
    free(places);
    if (status != CAIRN_OK) {
        cairn_run_abandon(&writer);
        return status;
    }
    status = cairn_run_end(&writer, runs, error);
    if (status == CAIRN_OK) {
        spill->bytes += runs->run[runs->count - 1].bytes;
        spill->runs++;
        cairn_groups_drop(groups);
    }
    return status;
}

/* ---------------------------------------------------------------- many runs as one */

static cairn_status write_merged(cairn_merge *merge, cairn_run_writer *writer, cairn_error *error)
{
    const cairn_run_reader *from;
    cairn_status status;

    while ((status = cairn_merge_next(merge, &from, error)) == CAIRN_OK && from != NULL) {
        status = cairn_run_put(writer, &from->one, cairn_groups_one(&from->one), error);
        if (status != CAIRN_OK) {
            return status;
        }
    }
    return status;
}

/* The first `count` of them into one more, at the end of the list. */
static cairn_status merge_some(cairn_spill *spill, cairn_runs *runs, uint32_t count, cairn_shape shape,
                               const cairn_merge_order *order, cairn_merge *merge, cairn_error *error)
{
    cairn_run_writer writer;
    cairn_status status = cairn_merge_open(merge, runs->run, count, shape, order, error);

    if (status == CAIRN_OK) {
        status = cairn_spill_begin(spill, &writer, shape, error);
    }
    if (status == CAIRN_OK) {
        status = write_merged(merge, &writer, error);
        if (status != CAIRN_OK) {
            cairn_run_abandon(&writer);
        }
    }
    cairn_merge_close(merge);
    if (status == CAIRN_OK) {
        status = cairn_run_end(&writer, runs, error);
    }
    if (status == CAIRN_OK) {
        spill->bytes += runs->run[runs->count - 1].bytes;
        spill->runs++;
    }
    return status;
}

cairn_status cairn_spill_reduce(cairn_spill *spill, cairn_runs *runs, uint32_t most, cairn_shape shape,
                                const cairn_merge_order *order, cairn_error *error)
{
    cairn_merge *merge = runs->count > most ? malloc(sizeof *merge) : NULL;
    cairn_status status = runs->count > most && merge == NULL ? CAIRN_E_NOMEM : CAIRN_OK;

    while (runs->count > most && status == CAIRN_OK) {
        uint32_t count = runs->count - most + 1 < CAIRN_MERGE_MAX ? runs->count - most + 1 : CAIRN_MERGE_MAX;
        status = merge_some(spill, runs, count, shape, order, merge, error);
        for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
            if (spill->folder == NULL) {
                (void)unlink(runs->run[i].path);
            }
            free(runs->run[i].path);
        }
        if (status == CAIRN_OK) {
            runs->count -= count;
            memmove(runs->run, runs->run + count, runs->count * sizeof *runs->run);
        }
    }
    free(merge);
    return status;
}
