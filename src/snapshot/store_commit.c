/* Writing the commit record: the parts are compared with their seals, every global array must be tiled exactly by their
 * slabs, and links and virtual datasets let any HDF5 tool see the snapshot as one file. */
#include "snapshot/image_part.h"
#include "snapshot/store_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One process's slab of one global array. */
typedef struct slab {
    uint32_t process;
    cairn_state state;
} slab;

typedef struct slab_list {
    slab *slabs;
    size_t count, room;
} slab_list;

static cairn_status add_slab(slab_list *list, uint32_t process, const cairn_state *state, cairn_error *error)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? list->room * 2 : 64;
        slab *more = realloc(list->slabs, room * sizeof *more);

        if (more == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "commit: no memory for %zu slabs", room);
        }
        list->slabs = more;
        list->room = room;
    }
    list->slabs[list->count++] = (slab){process, *state};
    return CAIRN_OK;
}

static cairn_status take_part(const char *dir, const cairn_commit *commit, uint32_t process, slab_list *list,
                              cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_part *part = NULL;
    cairn_status status;

    cairn_store_part_path(path, sizeof path, dir, commit->number, process);
    status = cairn_part_open_depth(&part, path, &commit->parts[process], CAIRN_PART_SEAL, error);
    if (status == CAIRN_OK) {
        status = cairn_store_match(commit, process, cairn_part_get_head(part), path, error);
    }
    for (size_t i = 0; status == CAIRN_OK && i < cairn_part_state_count(part); i++) {
        const cairn_state *state = cairn_part_state(part, i);

        if (state->kind == CAIRN_STATE_SLAB) {
            status = add_slab(list, process, state, error);
        }
    }
    cairn_part_close(part);
    return status;
}

/* By name, and where dimension 0 begins, so that overlaps are neighbours. */
static int by_place(const void *left, const void *right)
{
    const slab *a = left;
    const slab *b = right;
    int names = strcmp(a->state.name, b->state.name);

    if (names != 0) {
        return names;
    }
    return (a->state.offset[0] > b->state.offset[0]) - (a->state.offset[0] < b->state.offset[0]);
}

static bool same_global(const cairn_state *a, const cairn_state *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->global_shape, b->global_shape, a->rank * sizeof a->global_shape[0]) == 0;
}

static bool overlap(const cairn_state *a, const cairn_state *b)
{
    for (uint32_t i = 0; i < a->rank; i++) {
        if (a->offset[i] >= b->offset[i] + b->shape[i] || b->offset[i] >= a->offset[i] + a->shape[i]) {
            return false;
        }
    }
    return true;
}

/* Slabs that do not overlap and together have as many elements as the array tile it. */
static cairn_status check_tiling(const slab *slabs, size_t count, const char *snapshot, cairn_error *error)
{
    const cairn_state *first = &slabs[0].state;
    uint64_t wanted = cairn_type_bytes(first->type);
    uint64_t covered = 0;

    for (uint32_t i = 0; i < first->rank; i++) {
        wanted *= first->global_shape[i]; /* a reader has made sure that this is no overflow */
    }
    for (size_t i = 0; i < count; i++) {
        const cairn_state *one = &slabs[i].state;

        if (!same_global(first, one)) {
            return cairn_fail(error, CAIRN_E_CORRUPT,
                              "%s: state %s: processes %" PRIu32 " and %" PRIu32 " do not agree on the global array",
                              snapshot, first->name, slabs[0].process, slabs[i].process);
        }
        covered += one->bytes;
        for (size_t j = i + 1; one->bytes > 0 && j < count; j++) {
            const cairn_state *other = &slabs[j].state;

            if (other->offset[0] >= one->offset[0] + one->shape[0]) {
                break;
            }
            if (other->bytes > 0 && same_global(one, other) && overlap(one, other)) {
                return cairn_fail(error, CAIRN_E_CORRUPT,
                                  "%s: state %s: the slabs of processes %" PRIu32 " and %" PRIu32 " overlap", snapshot,
                                  first->name, slabs[i].process, slabs[j].process);
            }
        }
    }
    if (covered != wanted) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s: state %s: the slabs cover %" PRIu64 " bytes of a global array of %" PRIu64, snapshot,
                          first->name, covered, wanted);
    }
    return CAIRN_OK;
}

static bool map_slab(hid_t list, hid_t space, const slab *one)
{
    char file[32];
    char dataset[CAIRN_NAME_MAX + 16];
    hsize_t start[CAIRN_DIMENSIONS_MAX];
    hsize_t count[CAIRN_DIMENSIONS_MAX];
    hid_t source;
    bool done;

    for (uint32_t i = 0; i < one->state.rank; i++) {
        start[i] = one->state.offset[i];
        count[i] = one->state.shape[i];
    }
    (void)snprintf(file, sizeof file, "process-%06" PRIu32 ".h5", one->process);
    (void)snprintf(dataset, sizeof dataset, "/state/%s", one->state.name);
    source = H5Screate_simple((int)one->state.rank, count, NULL);
    done = source >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
           H5Pset_virtual(list, space, file, dataset, source) >= 0;
    (void)H5Sclose(source);
    return done;
}

static cairn_status put_virtual(cairn_sealed_writer *writer, hid_t group, const slab *slabs, size_t count,
                                cairn_error *error)
{
    const cairn_state *first = &slabs[0].state;
    hsize_t dimensions[CAIRN_DIMENSIONS_MAX];
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5I_INVALID_HID;
    hid_t dataset = H5I_INVALID_HID;
    bool good = list >= 0;
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < first->rank; i++) {
        dimensions[i] = first->global_shape[i];
    }
    space = H5Screate_simple((int)first->rank, dimensions, NULL);
    good = good && space >= 0;
    for (size_t i = 0; i < count && good; i++) {
        good = slabs[i].state.bytes == 0 || map_slab(list, space, &slabs[i]);
    }
    if (good) {
        (void)H5Sselect_all(space);
        dataset = H5Dcreate2(group, first->name, cairn_h5_type(first->type), space, H5P_DEFAULT, list, H5P_DEFAULT);
    }
    if (dataset < 0) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, first->name);
    }
    (void)H5Dclose(dataset);
    (void)H5Sclose(space);
    (void)H5Pclose(list);
    return status;
}

static cairn_status put_arrays(cairn_sealed_writer *writer, const slab_list *list, cairn_error *error)
{
    hid_t group = H5Gcreate2(writer->file, "state", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cairn_status status = CAIRN_OK;
    size_t end;

    if (group < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "state");
    }
    for (size_t begin = 0; begin < list->count && status == CAIRN_OK; begin = end) {
        end = begin + 1;
        while (end < list->count && strcmp(list->slabs[begin].state.name, list->slabs[end].state.name) == 0) {
            end++;
        }
        status = check_tiling(&list->slabs[begin], end - begin, writer->path, error);
        if (status == CAIRN_OK) {
            status = put_virtual(writer, group, &list->slabs[begin], end - begin, error);
        }
    }
    (void)H5Gclose(group);
    return status;
}

static cairn_status put_links(cairn_sealed_writer *writer, uint32_t count, cairn_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        char file[40];

        (void)snprintf(name, sizeof name, "process-%06" PRIu32, i);
        (void)snprintf(file, sizeof file, "%s.h5", name);
        if (H5Lcreate_external(file, "/", writer->file, name, H5P_DEFAULT, H5P_DEFAULT) < 0) {
            return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
        }
    }
    return CAIRN_OK;
}

static cairn_status put_record_head(cairn_sealed_writer *writer, const cairn_commit *commit, cairn_error *error)
{
    hid_t root = writer->file;
    char committed[32];
    time_t now = time(NULL);
    struct tm utc;
    cairn_status status;

    if (gmtime_r(&now, &utc) == NULL || strftime(committed, sizeof committed, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        return cairn_fail(error, CAIRN_E_BUG, "%s: no time of day", writer->temporary);
    }
    if ((status = cairn_put_u32(writer, root, "format", CAIRN_FORMAT, error)) != CAIRN_OK ||
        (status = cairn_put_text(writer, root, "job", commit->job, error)) != CAIRN_OK ||
        (status = cairn_put_text(writer, root, "run", commit->run, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "number", commit->number, error)) != CAIRN_OK ||
        (status = cairn_put_u32(writer, root, "count", commit->count, error)) != CAIRN_OK ||
        (status = cairn_put_u32(writer, root, "incarnation", commit->incarnation, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "step", commit->step, error)) != CAIRN_OK) {
        return status;
    }
    return cairn_put_text(writer, root, "committed", committed, error);
}

/* A list of texts as one dataset: each as long as the longest, ended by zeros. */
static cairn_status put_texts(cairn_sealed_writer *writer, hid_t parent, const char *name, char *const *texts,
                              uint64_t count, cairn_error *error)
{
    size_t longest = 1;
    char *rows = NULL;
    hid_t type = H5I_INVALID_HID;
    cairn_status status = CAIRN_E_BUG;

    for (uint64_t i = 0; i < count; i++) {
        size_t length = strlen(texts[i]) + 1;

        longest = length > longest ? length : longest;
    }
    rows = calloc((size_t)count + 1, longest);
    type = H5Tcopy(H5T_C_S1);
    if (rows == NULL || type < 0 || H5Tset_size(type, longest) < 0) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %s", writer->temporary, name);
    } else {
        cairn_output output;

        for (uint64_t i = 0; i < count; i++) {
            memcpy(rows + i * longest, texts[i], strlen(texts[i]));
        }
        status = cairn_output_begin(writer, &output, parent, name, type, 1, &count, error);
        if (status == CAIRN_OK) {
            status = cairn_output_append(writer, &output, rows, (size_t)count * longest, false, error);
        }
        status = cairn_output_end(writer, &output, status, error);
    }
    (void)H5Tclose(type);
    free(rows);
    return status;
}

static cairn_status put_parts(cairn_sealed_writer *writer, const cairn_commit *commit, cairn_error *error)
{
    hid_t group = H5Gcreate2(writer->file, "parts", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    uint64_t count = commit->count;
    uint64_t *bytes = calloc((size_t)count + 1, sizeof *bytes);
    char(*digests)[CAIRN_DIGEST_TEXT_BYTES] = calloc((size_t)count + 1, sizeof *digests);
    char **texts = calloc((size_t)count + 1, sizeof *texts);
    cairn_status status = CAIRN_E_BUG;

    if (bytes == NULL || digests == NULL || texts == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", writer->temporary);
    } else if (group < 0) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "parts");
    } else {
        for (uint64_t i = 0; i < count; i++) {
            bytes[i] = commit->parts[i].bytes;
            cairn_digest_print(commit->parts[i].digest, digests[i]);
            texts[i] = digests[i];
        }
        status = put_texts(writer, group, "xxh3", texts, count, error);
        if (status == CAIRN_OK) {
            cairn_output output;

            status = cairn_output_begin(writer, &output, group, "bytes", H5T_STD_U64LE, 1, &count, error);
            if (status == CAIRN_OK) {
                status = cairn_output_append(writer, &output, bytes, (size_t)count * sizeof *bytes, false, error);
            }
            status = cairn_output_end(writer, &output, status, error);
        }
    }
    free(bytes);
    free(digests);
    free(texts);
    (void)H5Gclose(group);
    return status;
}

static cairn_status put_cut(cairn_sealed_writer *writer, const cairn_commit *commit, cairn_error *error)
{
    hid_t group = H5Gcreate2(writer->file, "cut", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    uint64_t shape[2] = {commit->count, commit->count};
    cairn_status status;

    if (group < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "cut");
    }
    status = cairn_put_dataset(writer, group, "lamport", H5T_STD_U64LE, 1, shape, commit->lamport,
                               shape[0] * sizeof(uint64_t), error);
    if (status == CAIRN_OK && commit->vector != NULL) {
        status = cairn_put_dataset(writer, group, "vector", H5T_STD_U64LE, 2, shape, commit->vector,
                                   shape[0] * shape[1] * sizeof(uint64_t), error);
    }
    (void)H5Gclose(group);
    return status;
}

static cairn_status put_record(cairn_sealed_writer *writer, const cairn_commit *commit, const slab_list *list,
                               cairn_error *error)
{
    cairn_status status;

    if ((status = put_record_head(writer, commit, error)) != CAIRN_OK ||
        (status = put_texts(writer, writer->file, "arguments", commit->arguments, commit->argument_count, error)) !=
            CAIRN_OK ||
        (status = put_parts(writer, commit, error)) != CAIRN_OK ||
        (status = put_cut(writer, commit, error)) != CAIRN_OK ||
        (status = put_links(writer, commit->count, error)) != CAIRN_OK) {
        return status;
    }
    return put_arrays(writer, list, error);
}

static void proposed_path(char *path, size_t bytes, const char *dir, uint64_t number)
{
    char record[CAIRN_PATH_BYTES];

    cairn_store_record_path(record, sizeof record, dir, number);
    (void)snprintf(path, bytes, "%.4000s.proposed", record);
}

cairn_status cairn_store_propose(const char *dir, const cairn_commit *commit, cairn_part_seal *seal, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    slab_list list = {0};
    cairn_sealed_writer *writer = malloc(sizeof *writer);
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_status status = CAIRN_OK;

    if (writer == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "commit: no memory");
    }
    for (uint32_t i = 0; i < commit->count && status == CAIRN_OK; i++) {
        status = take_part(dir, commit, i, &list, error);
    }
    if (status != CAIRN_OK) {
        goto out;
    }
    if (list.count > 1) {
        qsort(list.slabs, list.count, sizeof *list.slabs, by_place);
    }
    proposed_path(path, sizeof path, dir, commit->number);
    status = cairn_sealed_begin(writer, path, error);
    if (status != CAIRN_OK) {
        goto out;
    }
    status = put_record(writer, commit, &list, error);
    if (status == CAIRN_OK) {
        status = cairn_sealed_finish(writer, CAIRN_SEALED_SNAPSHOT, seal, error);
    } else {
        cairn_sealed_abandon(writer);
    }
out:
    cairn_quiet_end(quiet);
    free(list.slabs);
    free(writer);
    return status;
}

bool cairn_store_is_proposed(const char *dir, uint64_t number)
{
    char path[CAIRN_PATH_BYTES];

    proposed_path(path, sizeof path, dir, number);
    return access(path, F_OK) == 0;
}

static cairn_status seal_of(const char *path, cairn_part_seal *seal, cairn_error *error)
{
    int fd = -1;
    cairn_status status = cairn_seal_open(&fd, path, error);

    if (status == CAIRN_OK) {
        status = cairn_seal_read(fd, path, CAIRN_SEALED_SNAPSHOT, seal, error);
        (void)close(fd);
    }
    return status;
}

cairn_status cairn_store_seal(const char *dir, uint64_t number, cairn_part_seal *seal, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];

    cairn_store_record_path(path, sizeof path, dir, number);
    return seal_of(path, seal, error);
}

static bool same_seal(const cairn_part_seal *a, const cairn_part_seal *b)
{
    return a->bytes == b->bytes && cairn_digest_equal(a->digest, b->digest);
}

cairn_status cairn_store_confirm(const char *dir, uint64_t number, const cairn_part_seal *seal, cairn_error *error)
{
    char record[CAIRN_PATH_BYTES];
    char proposed[CAIRN_PATH_BYTES];
    char folder[CAIRN_PATH_BYTES];
    cairn_part_seal found;
    cairn_status there;
    cairn_status status;

    cairn_store_record_path(record, sizeof record, dir, number);
    there = seal_of(record, &found, error);
    if (there == CAIRN_OK && same_seal(&found, seal)) {
        return CAIRN_OK;
    }
    proposed_path(proposed, sizeof proposed, dir, number);
    status = seal_of(proposed, &found, error);
    if (status == CAIRN_OK && !same_seal(&found, seal)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: is not the record that was chosen", proposed);
    } else if (status == CAIRN_E_NOT_FOUND && there == CAIRN_OK) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: is not the record that was chosen", record);
    } else if (status == CAIRN_E_NOT_FOUND && there != CAIRN_E_NOT_FOUND) {
        status = seal_of(record, &found, error);
    }
    if (status == CAIRN_OK && rename(proposed, record) != 0) {
        status = cairn_fail_errno(error, errno, record, "rename into place");
    }
    if (status == CAIRN_OK) {
        cairn_folder_of(folder, sizeof folder, record);
        status = cairn_sync_folder(folder, error);
    }
    return status;
}

cairn_status cairn_store_commit(const char *dir, const cairn_commit *commit, cairn_error *error)
{
    cairn_part_seal seal;
    cairn_status status = cairn_store_propose(dir, commit, &seal, error);

    return status == CAIRN_OK ? cairn_store_confirm(dir, commit->number, &seal, error) : status;
}
