/* Making plans: see plan.h for how files are cut. */
#include "dataset/plan_parts.h"

#include "dataset/catalogue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* While the plan is made: what the samples hold in each column. */
typedef struct sampled {
    char *bytes;
    uint64_t *numbers, *others; /* [columns] */
} sampled;

static cairn_status add_path(cairn_plan *plan, const char *path)
{
    cairn_plan_file *files = realloc(plan->files, (plan->file_count + (size_t)1) * sizeof *files);

    if (files == NULL) {
        return CAIRN_E_NOMEM;
    }
    plan->files = files;
    memset(&files[plan->file_count], 0, sizeof *files);
    files[plan->file_count].path = strdup(path);
    if (files[plan->file_count].path == NULL) {
        return CAIRN_E_NOMEM;
    }
    plan->file_count++;
    return CAIRN_OK;
}

static bool ends_with(const char *name, size_t length, const char *ending)
{
    size_t bytes = strlen(ending);

    return length > bytes && memcmp(name + length - bytes, ending, bytes) == 0;
}

static int is_data_name(const char *name)
{
    static const char *const endings[] = {".csv", ".tsv", ".txt", ".h5", ".hdf5"};
    size_t length = strlen(name);

    length -= ends_with(name, length, ".gz") ? 3 : ends_with(name, length, ".zst") ? 4 : 0;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (name[0] != '.' && ends_with(name, length, endings[i])) {
            return 1;
        }
    }
    return 0;
}

static int is_data_file(const struct dirent *entry)
{
    return is_data_name(entry->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int by_name_of_path(const void *a, const void *b)
{
    return strcmp(plan_name_of(((const cairn_plan_file *)a)->path), plan_name_of(((const cairn_plan_file *)b)->path));
}

/* With replicas: what they have and the folder has not. A folder that cannot be read has nothing. */
static cairn_status add_missing(cairn_plan *plan, const char *folder, uint32_t first, cairn_error *error)
{
    cairn_status status = CAIRN_OK;
    char path[PATH_BYTES_MAX];

    for (uint32_t i = 0; i < plan->replica_count; i++) {
        const char *place = plan_folder_here(plan, i);
        struct dirent **entries = NULL;
        int count = place == NULL ? 0 : scandir(place, &entries, is_data_file, by_name);

        for (int k = 0; k < count; k++) {
            bool known = false;
            for (uint32_t f = first; f < plan->file_count && !known; f++) {
                known = strcmp(plan_name_of(plan->files[f].path), entries[k]->d_name) == 0;
            }
            int length = snprintf(path, sizeof path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                                  entries[k]->d_name);
            if (status == CAIRN_OK && !known) {
                status = length >= (int)sizeof path
                             ? cairn_fail(error, CAIRN_E_INVALID, "%s: the path is too long", folder)
                             : add_path(plan, path);
            }
            free(entries[k]);
        }
        free(entries);
    }
    qsort(plan->files + first, plan->file_count - first, sizeof *plan->files, by_name_of_path);
    return status;
}

/* Once. */
static cairn_status add_replica(cairn_plan *plan, const char *replica, cairn_error *error)
{
    char **more;

    if (strlen(replica) > PATH_BYTES_MAX / 2) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s...: the path is too long", replica);
    }
    for (uint32_t i = 0; i < plan->replica_count; i++) {
        if (strcmp(plan->replica[i], replica) == 0) {
            return CAIRN_OK;
        }
    }
    if (plan->replica_count == CAIRN_REPLICAS_MAX) {
        return cairn_fail(error, CAIRN_E_INVALID, "more than %d replicas", CAIRN_REPLICAS_MAX);
    }
    more = realloc(plan->replica, (plan->replica_count + (size_t)1) * sizeof *more);
    if (more == NULL) {
        return CAIRN_E_NOMEM;
    }
    plan->replica = more;
    more[plan->replica_count] = strdup(replica);
    if (more[plan->replica_count] == NULL) {
        return CAIRN_E_NOMEM;
    }
    plan->replica_count++;
    return CAIRN_OK;
}

/* A table of shards: those that its catalogue names, and no others. With replicas the first catalogue that is there counts. */
static cairn_status add_catalogue(cairn_plan *plan, const char *folder, bool *taken, cairn_error *error)
{
    cairn_catalogue catalogue = {0};
    cairn_status status = CAIRN_E_NOT_FOUND;
    char path[PATH_BYTES_MAX];

    for (uint32_t i = 0; i <= plan->replica_count && status == CAIRN_E_NOT_FOUND; i++) {
        const char *place = i == 0 ? folder : plan_folder_here(plan, i - 1);

        if (place != NULL) {
            (void)snprintf(path, sizeof path, "%s/" CAIRN_CATALOGUE_NAME, place);
            status = cairn_catalogue_read(&catalogue, path, error);
        }
    }
    if (status == CAIRN_E_NOT_FOUND) {
        return CAIRN_OK;
    }
    *taken = true;
    for (uint32_t i = 0; i < catalogue.place_count && status == CAIRN_OK; i++) {
        status = add_replica(plan, catalogue.places[i], error);
    }
    for (uint32_t i = 0; i < catalogue.shard_count && status == CAIRN_OK; i++) {
        const cairn_catalogue_shard *shard = &catalogue.shards[i];
        int length =
            snprintf(path, sizeof path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", shard->file);

        status = length >= (int)sizeof path ? cairn_fail(error, CAIRN_E_INVALID, "%s: the path is too long", folder)
                                            : add_path(plan, path);
        if (status == CAIRN_OK) {
            plan->files[plan->file_count - 1].promised = shard->seal.bytes;
        }
    }
    cairn_catalogue_free(&catalogue);
    return status;
}

static cairn_status add_folder(cairn_plan *plan, const char *folder, cairn_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_data_file, by_name);
    cairn_status status = CAIRN_OK;
    char path[PATH_BYTES_MAX];
    struct stat about;

    if (count < 0 && plan->replica_count == 0) {
        return cairn_fail(error, plan_status_of_errno(), "%s: %s", folder, strerror(errno));
    }
    uint32_t before = plan->file_count;
    bool taken = false;

    status = add_catalogue(plan, folder, &taken, error);
    if (status != CAIRN_OK || taken) {
        while (count-- > 0) {
            free(entries[count]);
        }
        free(entries);
        return status;
    }
    int gone = count < 0 ? errno : 0;
    for (int i = 0; i < count; i++) {
        int length = snprintf(path, sizeof path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                              entries[i]->d_name);
        if (status == CAIRN_OK && length >= (int)sizeof path) {
            status = cairn_fail(error, CAIRN_E_INVALID, "%s: the path is too long", folder);
        }
        if (status == CAIRN_OK && (stat(path, &about) != 0 || S_ISREG(about.st_mode))) {
            status = add_path(plan, path); /* a file that cannot be looked at is named later */
        }
        free(entries[i]);
    }
    free(entries);
    if (status == CAIRN_OK && plan->replica_count > 0) {
        status = add_missing(plan, folder, before, error);
    }
    if (status == CAIRN_OK && plan->file_count == before && gone != 0) {
        errno = gone;
        status = cairn_fail(error, plan_status_of_errno(), "%s: %s, and no replica has a file of it", folder,
                            strerror(gone));
    } else if (status == CAIRN_OK && plan->file_count == before) {
        status = cairn_fail(error, CAIRN_E_INVALID,
                            "%s: the folder holds no .csv, .tsv or .txt file, compressed or not, and no .h5", folder);
    }
    return status;
}

static cairn_status add_pattern(cairn_plan *plan, const char *pattern, cairn_error *error)
{
    glob_t found;
    int code = glob(pattern, GLOB_ERR, NULL, &found); /* in the order of names */
    cairn_status status = CAIRN_OK;
    struct stat about;

    if (code != 0) {
        return code == GLOB_NOSPACE   ? CAIRN_E_NOMEM
               : code == GLOB_NOMATCH ? cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: no file of such a name", pattern)
                                      : cairn_fail(error, plan_status_of_errno(), "%s: %s", pattern, strerror(errno));
    }
    for (size_t i = 0; i < found.gl_pathc && status == CAIRN_OK; i++) {
        bool folder = stat(found.gl_pathv[i], &about) == 0 && S_ISDIR(about.st_mode);

        status = folder ? add_folder(plan, found.gl_pathv[i], error) : add_path(plan, found.gl_pathv[i]);
    }
    globfree(&found);
    return status;
}

/* Name the difference of a header. */
static cairn_status check_columns(const cairn_plan *plan, const cairn_plan_file *file, const cairn_columns *columns,
                                  cairn_error *error)
{
    const char *first = plan->files[0].path;

    for (uint32_t i = 0; i < columns->count && i < plan->columns.count; i++) {
        if (strcmp(columns->name[i], plan->columns.name[i]) != 0) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: column %u is %.80s, but it is %.80s in %s", file->path,
                              i + 1, columns->name[i], plan->columns.name[i], first);
        }
    }
    if (columns->count != plan->columns.count) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: has %u columns, but %s has %u", file->path, columns->count,
                          first, plan->columns.count);
    }
    return CAIRN_OK;
}

static cairn_status count_kinds(const cairn_plan *plan, const cairn_plan_file *file, sampled *s, size_t bytes,
                                bool whole)
{
    uint32_t columns = plan->columns.count;

    if (s->numbers == NULL) {
        s->numbers = calloc(columns, sizeof *s->numbers);
        s->others = calloc(columns, sizeof *s->others);
        if (s->numbers == NULL || s->others == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    return cairn_csv_sample(s->bytes, bytes, (size_t)file->data_start, whole, plan->delimiter, columns, s->numbers,
                            s->others);
}

/* Look at the first bytes of a file: header, quoted line breaks, what is in the columns. */
static cairn_status take_sample(cairn_plan *plan, cairn_plan_file *file, sampled *s, size_t bytes, bool whole,
                                cairn_error *error)
{
    const char *sample = s->bytes;
    cairn_columns columns = {0, NULL};
    size_t data_start;

    if (plan->delimiter == 0) {
        plan->delimiter = cairn_csv_find_delimiter(sample, bytes, whole);
    }
    cairn_status status = cairn_csv_header(sample, bytes, whole, plan->delimiter, &columns, &data_start, error);
    if (status != CAIRN_OK) {
        return cairn_wrap(error, status, "%s", file->path);
    }
    file->data_start = data_start;
    file->careful = file->packing == CAIRN_NOT_PACKED && cairn_csv_has_quoted_newline(sample, bytes, plan->delimiter);
    if (file == plan->files) {
        plan->columns = columns;
        return count_kinds(plan, file, s, bytes, whole);
    }
    status = check_columns(plan, file, &columns, error);
    cairn_columns_free(&columns);
    return status == CAIRN_OK ? count_kinds(plan, file, s, bytes, whole) : status;
}

/* The first bytes of the text of a compressed file, in place of those of the file. */
static cairn_status unpack_sample(const cairn_plan *plan, cairn_plan_file *file, const char *path, int fd, sampled *s,
                                  size_t *bytes, cairn_error *error)
{
    cairn_packed *packed = NULL;
    cairn_packed_part part = {.inside = plan->inside, .delimiter = plan->delimiter, .rows = UINT64_MAX};
    cairn_status status = cairn_packed_open(&packed, (cairn_packing)file->packing, &part);

    if (status == CAIRN_OK) {
        status = cairn_packed_read(packed, fd, path, s->bytes, CAIRN_SAMPLE_BYTES, bytes, error);
        file->rows = cairn_packed_rows(packed);
        file->is_shard = cairn_packed_is_shard(packed);
    }
    cairn_packed_close(packed);
    return status;
}

/* A file as it is in one of its places. */
static cairn_status look_at_place(cairn_plan *plan, cairn_plan_file *file, const char *path, sampled *s,
                                  cairn_error *error)
{
    struct stat about;
    cairn_status status = CAIRN_E_BUG;
    size_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &about) != 0) {
        status = cairn_fail(error, plan_status_of_errno(), "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(about.st_mode)) {
        status = cairn_fail(error, CAIRN_E_INVALID, "%s: neither a file nor a folder", path);
        goto out;
    }
    file->bytes = (uint64_t)about.st_size;
    if (file->promised > 0 && file->promised != file->bytes) {
        status = cairn_fail(error, CAIRN_E_MISMATCH, "%s: has %llu bytes, but the catalogue says %llu", path,
                            (unsigned long long)file->bytes, (unsigned long long)file->promised);
        goto out;
    }
    if (plan->replica_count == 0) {
        file->modified_s = about.st_mtim.tv_sec;
        file->modified_ns = about.st_mtim.tv_nsec;
    } else if ((status = cairn_plan_ends(fd, file->bytes, path, &file->ends, error)) != CAIRN_OK) {
        goto out;
    }
    while (bytes < CAIRN_SAMPLE_BYTES && bytes < file->bytes) {
        ssize_t got = pread(fd, s->bytes + bytes, CAIRN_SAMPLE_BYTES - bytes, (off_t)bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            status = cairn_fail(error, got < 0 ? plan_status_of_errno() : CAIRN_E_IO, "%s: %s", path,
                                got < 0 ? strerror(errno) : "became shorter while it was read");
            goto out;
        }
        bytes += (size_t)got;
    }
    file->packing = (uint8_t)cairn_packing_of(s->bytes, bytes);
    if (file->packing == CAIRN_NOT_PACKED) {
        status = take_sample(plan, file, s, bytes, bytes == file->bytes, error);
    } else if ((status = unpack_sample(plan, file, path, fd, s, &bytes, error)) == CAIRN_OK) {
        status = take_sample(plan, file, s, bytes, bytes < CAIRN_SAMPLE_BYTES, error);
    }
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

/* Its first rows may be damaged there, and not in another place that is like it. */
static cairn_status look_elsewhere(cairn_plan *plan, cairn_plan_file *file, sampled *s, cairn_status status,
                                   cairn_error *error)
{
    uint32_t index = (uint32_t)(file - plan->files);
    cairn_plan_file first = *file;
    char path[PATH_BYTES_MAX];

    for (uint32_t i = 0; i < cairn_plan_places(plan) && status != CAIRN_OK && status != CAIRN_E_NOMEM; i++) {
        cairn_error why = {CAIRN_OK, ""};

        cairn_plan_place(plan, index, i, path);
        if (cairn_plan_place_is(plan, i) != CAIRN_PLACE_FAR && look_at_place(plan, file, path, s, &why) == CAIRN_OK &&
            file->bytes == first.bytes && cairn_digest_equal(file->ends, first.ends)) {
            return CAIRN_OK;
        }
    }
    *file = first;
    return cairn_wrap(error, status, "no replica is left");
}

static cairn_status look_at_file(cairn_plan *plan, cairn_plan_file *file, sampled *s, cairn_error *error)
{
    char path[PATH_BYTES_MAX];
    uint32_t place = 0;
    uint32_t index = (uint32_t)(file - plan->files);
    cairn_status status = plan->replica_count > 0 ? plan_choose_place(plan, index, s->bytes, &place, error) : CAIRN_OK;

    cairn_plan_place(plan, index, place, path);
    if (status == CAIRN_OK) {
        status = look_at_place(plan, file, path, s, error);
        if (status != CAIRN_OK && plan->replica_count > 0 && file->packing != CAIRN_NOT_PACKED) {
            status = look_elsewhere(plan, file, s, status, error);
        }
    }
    return status;
}

/* Replicas are found by names. */
static cairn_status check_names(const cairn_plan *plan, char *const *paths, size_t path_count, cairn_error *error)
{
    struct stat about;
    size_t folders = 0;

    for (size_t i = 0; i < path_count; i++) {
        folders += stat(paths[i], &about) != 0 || S_ISDIR(about.st_mode);
    }
    if (folders > 0 && path_count > 1 && plan->replica_count > 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "replicas are those of one folder, or of files");
    }
    for (uint32_t i = 0; i < plan->file_count && plan->replica_count > 0; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(plan_name_of(plan->files[i].path), plan_name_of(plan->files[k].path)) == 0) {
                return cairn_fail(error, CAIRN_E_INVALID, "%s and %s: replicas cannot tell files of one name apart",
                                  plan->files[k].path, plan->files[i].path);
            }
        }
    }
    return CAIRN_OK;
}

/* A folder that is gone, of which a replica has something. */
static bool is_replicated_folder(const cairn_plan *plan, const char *path)
{
    struct stat about;
    char place[PATH_BYTES_MAX];

    for (uint32_t i = 0; plan_name_of(path)[0] != '\0' && i < plan->replica_count; i++) { /* a file would be there */
        const char *folder = plan_folder_here(plan, i);

        (void)snprintf(place, sizeof place, "%s/%s", folder == NULL ? "" : folder, plan_name_of(path));
        if (folder != NULL && stat(place, &about) == 0) {
            return false;
        }
    }
    return strpbrk(path, "*?[") == NULL && is_data_name(plan_name_of(path)) == 0;
}

static cairn_status take_replicas(cairn_plan *plan, const cairn_plan_options *options, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    plan->inside = strdup(options->inside == NULL ? "" : options->inside);
    plan->replica = plan->inside == NULL ? NULL : calloc(1, sizeof *plan->replica);
    if (plan->replica == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (size_t i = 0; i < options->replica_count && status == CAIRN_OK; i++) {
        status = add_replica(plan, options->replica[i], error);
    }
    return status;
}

/* Of block k of so many of an HDF5 file; of a shard it begins a run. */
static uint64_t first_row(const cairn_plan_file *file, uint64_t pieces, uint64_t k)
{
    uint64_t row = file->rows / pieces * k + (k < file->rows % pieces ? k : file->rows % pieces);

    return file->is_shard && k < pieces ? row / CAIRN_SHARD_RUN * CAIRN_SHARD_RUN : row;
}

/* Cut all files; with blocks NULL only count. Returns the number of blocks. */
static uint64_t cut(cairn_plan *plan, cairn_block *blocks)
{
    uint64_t count = 0, passed = 0;
    uint64_t fine = plan->block_bytes / 4 < CAIRN_BLOCK_BYTES_MIN ? CAIRN_BLOCK_BYTES_MIN : plan->block_bytes / 4;

    fine = fine < plan->block_bytes ? fine : plan->block_bytes;
    for (uint32_t i = 0; i < plan->file_count; i++) {
        cairn_plan_file *file = &plan->files[i];
        file->first_block = (uint32_t)count;
        if (file->packing != CAIRN_NOT_PACKED) {
            uint64_t pieces = file->packing == CAIRN_HDF5 ? file->bytes / plan->block_bytes + 1 : 1;
            uint64_t most = file->is_shard ? (file->rows + CAIRN_SHARD_RUN - 1) / CAIRN_SHARD_RUN : file->rows;
            pieces = pieces > most && file->packing == CAIRN_HDF5 ? (most > 0 ? most : 1) : pieces;
            for (uint64_t k = 0; k < pieces; k++) {
                if (blocks != NULL) {
                    uint64_t row = first_row(file, pieces, k);
                    uint64_t rows = first_row(file, pieces, k + 1) - row;
                    blocks[count] = (cairn_block){i, file->data_start, CAIRN_BLOCK_OPEN_END, row, rows};
                }
                count++;
            }
            passed += file->bytes;
            file->block_count = (uint32_t)pieces;
            continue;
        }
        for (uint64_t at = file->data_start; at < file->bytes;) {
            uint64_t size = passed >= plan->bytes - plan->bytes / 10 ? fine : plan->block_bytes;
            uint64_t end = file->bytes - at <= size ? file->bytes : at + size;
            if (blocks != NULL) {
                blocks[count] = (cairn_block){.file = i, .start = at, .end = end};
            }
            count++;
            passed += end - at;
            at = end;
        }
        file->block_count = (uint32_t)count - file->first_block;
    }
    return count;
}

cairn_status plan_make_blocks(cairn_plan *plan, cairn_error *error)
{
    plan->bytes = 0;
    for (uint32_t i = 0; i < plan->file_count; i++) {
        plan->bytes +=
            plan->files[i].bytes - (plan->files[i].packing == CAIRN_NOT_PACKED ? plan->files[i].data_start : 0);
    }
    if (plan->block_bytes == 0) {
        uint64_t size = plan->bytes / 256;
        size = size < CAIRN_BLOCK_BYTES_MIN ? CAIRN_BLOCK_BYTES_MIN : size;
        plan->block_bytes = size > CAIRN_BLOCK_BYTES_MAX ? CAIRN_BLOCK_BYTES_MAX : size;
    }
    if (plan->bytes / plan->block_bytes > (1u << 28) || plan->file_count > 1u << 26) {
        return cairn_fail(error, CAIRN_E_INVALID, "more data than one run can read");
    }
    uint64_t count = cut(plan, NULL);
    plan->blocks = malloc((count + 1) * sizeof *plan->blocks);
    if (plan->blocks == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the plan's blocks");
    }
    plan->block_count = (uint32_t)cut(plan, plan->blocks);
    return CAIRN_OK;
}

cairn_status cairn_plan_make(cairn_plan *plan, char *const *paths, size_t path_count, const cairn_plan_options *options,
                             cairn_error *error)
{
    cairn_status status;
    sampled s = {.bytes = malloc(CAIRN_SAMPLE_BYTES + CAIRN_CSV_SLACK)};
    struct stat about;

    memset(plan, 0, sizeof *plan);
    plan->delimiter = options->delimiter;
    plan->block_bytes = options->block_bytes;
    if (s.bytes == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "sample");
    }
    status = take_replicas(plan, options, error);
    for (size_t i = 0; i < path_count && status == CAIRN_OK; i++) {
        if (stat(paths[i], &about) == 0 && S_ISDIR(about.st_mode)) {
            status = add_folder(plan, paths[i], error);
        } else if (plan->replica_count > 0 && stat(paths[i], &about) != 0 && is_replicated_folder(plan, paths[i])) {
            status = add_folder(plan, paths[i], error);
        } else if (errno == ENOENT && strpbrk(paths[i], "*?[") != NULL && lstat(paths[i], &about) != 0) {
            status = add_pattern(plan, paths[i], error);
        } else {
            status = add_path(plan, paths[i]);
        }
    }
    if (status == CAIRN_OK) {
        status = check_names(plan, paths, path_count, error);
    }
    for (uint32_t i = 0; i < plan->file_count && status == CAIRN_OK; i++) {
        status = look_at_file(plan, &plan->files[i], &s, error);
    }
    if (status == CAIRN_OK) {
        plan->numeric = calloc(plan->columns.count + (size_t)1, sizeof *plan->numeric);
        status = plan->numeric == NULL ? CAIRN_E_NOMEM : plan_make_blocks(plan, error);
    }
    for (uint32_t i = 0; i < plan->columns.count && status == CAIRN_OK; i++) {
        plan->numeric[i] = s.numbers[i] > 0 && s.others[i] == 0;
    }
    if (status == CAIRN_E_NOMEM) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "the plan");
    }
    if (status != CAIRN_OK) {
        cairn_plan_free(plan);
    }
    free(s.bytes);
    free(s.numbers);
    free(s.others);
    return status;
}

void cairn_plan_free(cairn_plan *plan)
{
    for (uint32_t i = 0; i < plan->file_count; i++) {
        free(plan->files[i].path);
    }
    for (uint32_t i = 0; i < plan->replica_count; i++) {
        free(plan->replica[i]);
    }
    free(plan->replica);
    free(plan->inside);
    free(plan->files);
    free(plan->blocks);
    free(plan->numeric);
    cairn_columns_free(&plan->columns);
    memset(plan, 0, sizeof *plan);
}

cairn_packed_part cairn_plan_part(const cairn_plan *plan, uint32_t block)
{
    return (cairn_packed_part){.inside = plan->inside,
                               .delimiter = plan->delimiter,
                               .first = plan->blocks[block].row,
                               .rows = plan->blocks[block].rows};
}

bool cairn_plan_is_apart(const cairn_plan *plan, uint32_t block)
{
    return plan->replica_count > 0 && plan->files[plan->blocks[block].file].packing != CAIRN_NOT_PACKED;
}

uint64_t cairn_plan_block_bytes(const cairn_plan *plan, uint32_t block)
{
    const cairn_block *range = &plan->blocks[block];
    const cairn_plan_file *file = &plan->files[range->file];

    return file->packing == CAIRN_NOT_PACKED ? range->end - range->start : file->bytes / file->block_count;
}
