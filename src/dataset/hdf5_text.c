/* Rows are read some at a time, column by column, and put together as text. See hdf5_text.h. */
#include "dataset/hdf5_text.h"

#include "base/checksum.h"
#include "base/durable.h"
#include "dataset/csv.h"
#include "dataset/number.h"
#include "dataset/shard.h"
#include "snapshot/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_VALUES = 1 << 16, BATCH_ROWS = 4096 };

typedef enum kind { WHOLE, NATURAL, REAL, FIXED, VARIABLE } kind;

typedef struct column {
    char *name; /* NULL: c0, c1, ... of a matrix */
    hid_t dataset, memory;
    kind kind;
    size_t size;    /* of an element in memory */
    uint32_t width; /* columns of a matrix; 1 */
    bool padded;    /* strings, by blanks */
    char *data;     /* of a batch */
    cairn_hdf5_raw raw;
} column;

struct cairn_hdf5_text {
    char *path;
    char delimiter;
    hid_t file, object;
    column *columns;
    uint32_t count;
    uint64_t rows, at, end; /* at: the next row */
    uint64_t taken;
    bool is_shard;
    uint64_t checked; /* the runs before this row have been */
    int fd;           /* for that; < 0: not open */
    uint64_t batch;   /* rows at once */
    char *text;
    size_t bytes, used, room;
    bool failed; /* no memory */
};

bool cairn_is_hdf5(const void *head, size_t bytes)
{
    static const unsigned char signature[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

    for (size_t at = 0; at + sizeof signature <= bytes; at = at == 0 ? 512 : at * 2) {
        if (memcmp((const char *)head + at, signature, sizeof signature) == 0) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- text */

static void put(cairn_hdf5_text *t, const char *text, size_t bytes)
{
    if (t->bytes + bytes > t->room) {
        size_t room = (t->bytes + bytes) * 2 + 4096;
        char *more = realloc(t->text, room);

        if (more == NULL) {
            t->failed = true;
            return;
        }
        t->text = more;
        t->room = room;
    }
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
}

static void put_field(cairn_hdf5_text *t, const char *text, size_t bytes)
{
    bool plain = true;

    for (size_t i = 0; i < bytes && plain; i++) {
        plain = text[i] != t->delimiter && text[i] != '"' && text[i] != '\n' && text[i] != '\r';
    }
    if (plain) {
        put(t, text, bytes);
        return;
    }
    put(t, "\"", 1);
    for (size_t i = 0; i < bytes; i++) {
        put(t, text + i, 1);
        if (text[i] == '"') {
            put(t, "\"", 1);
        }
    }
    put(t, "\"", 1);
}

static void put_value(cairn_hdf5_text *t, const column *c, const char *at)
{
    char text[CAIRN_NUMBER_TEXT] = "";
    const char *string = at;
    size_t bytes = c->size;
    int64_t whole;
    uint64_t natural;
    double real;

    switch (c->kind) {
    case WHOLE:
        memcpy(&whole, at, sizeof whole);
        put(t, text, cairn_whole_print(whole, text));
        break;
    case NATURAL:
        memcpy(&natural, at, sizeof natural);
        put(t, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)natural));
        break;
    case REAL:
        memcpy(&real, at, sizeof real);
        if (!isnan(real)) {
            cairn_double_print(real, text);
            put(t, text, strlen(text));
        }
        break;
    case VARIABLE:
        memcpy(&string, at, sizeof string);
        put_field(t, string == NULL ? "" : string, string == NULL ? 0 : strlen(string));
        break;
    case FIXED:
        bytes = memchr(at, '\0', bytes) == NULL ? bytes : strlen(at);
        while (c->padded && bytes > 0 && at[bytes - 1] == ' ') {
            bytes--;
        }
        put_field(t, at, bytes);
        break;
    }
}

static void put_header(cairn_hdf5_text *t)
{
    char name[32];

    for (uint32_t i = 0; i < t->count; i++) {
        const column *c = &t->columns[i];

        for (uint32_t k = 0; k < c->width; k++) {
            if (i + k > 0) {
                put(t, &t->delimiter, 1);
            }
            if (c->name != NULL) {
                put_field(t, c->name, strlen(c->name));
            } else {
                put(t, name, (size_t)snprintf(name, sizeof name, "c%u", k));
            }
        }
    }
    put(t, "\n", 1);
}

/* ---------------------------------------------------------------- opening */

static cairn_status refuse(const cairn_hdf5_text *t, const char *name, const char *why, cairn_error *error)
{
    return cairn_fail(error, CAIRN_E_INVALID, "%s: %s: %s", t->path, name, why);
}

static cairn_status take_type(const cairn_hdf5_text *t, column *c, const char *name, cairn_error *error)
{
    hid_t type = H5Dget_type(c->dataset);
    H5T_class_t class = H5Tget_class(type);
    cairn_status status = CAIRN_OK;

    c->size = 8;
    if (class == H5T_INTEGER && H5Tget_size(type) <= 8) {
        c->kind = H5Tget_sign(type) == H5T_SGN_NONE ? NATURAL : WHOLE;
        c->memory = H5Tcopy(c->kind == NATURAL ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64);
    } else if (class == H5T_FLOAT) {
        c->kind = REAL;
        c->memory = H5Tcopy(H5T_NATIVE_DOUBLE);
    } else if (class == H5T_STRING) {
        c->kind = H5Tis_variable_str(type) > 0 ? VARIABLE : FIXED;
        c->memory = H5Tcopy(type);
        c->padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
        c->size = c->kind == VARIABLE ? sizeof(char *) : H5Tget_size(type);
    } else {
        status = refuse(t, name, "holds neither numbers nor text", error);
    }
    (void)H5Tclose(type);
    return status;
}

static bool is_like(hid_t type, hid_t other)
{
    return H5Tequal(type, other) > 0;
}

/* Contiguous, and with nothing to be converted. */
static cairn_hdf5_raw find_raw(const column *c, bool contiguous)
{
    hid_t type = H5Dget_type(c->dataset);
    haddr_t offset = contiguous ? H5Dget_offset(c->dataset) : HADDR_UNDEF;
    cairn_hdf5_raw raw = {.kind = CAIRN_RAW_NONE};

    if (offset != HADDR_UNDEF && c->name != NULL) {
        raw.offset = offset;
        raw.width = (uint32_t)c->size;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        raw.kind = is_like(type, H5T_IEEE_F64LE)    ? CAIRN_RAW_F64
                   : is_like(type, H5T_STD_I64LE)   ? CAIRN_RAW_I64
                   : c->kind == FIXED && !c->padded ? CAIRN_RAW_TEXT
                                                    : CAIRN_RAW_NONE;
#endif
    }
    (void)H5Tclose(type);
    return raw;
}

/* What is not in this file reads as zeros when it is missing. */
static cairn_status check_layout(const cairn_hdf5_text *t, column *c, const char *name, cairn_error *error)
{
    hid_t list = H5Dget_create_plist(c->dataset);
    bool elsewhere = H5Pget_layout(list) == H5D_VIRTUAL || H5Pget_external_count(list) > 0;

    c->raw = find_raw(c, H5Pget_layout(list) == H5D_CONTIGUOUS && !elsewhere);
    (void)H5Pclose(list);
    return elsewhere ? refuse(t, name, "its elements are in other files: name those", error) : CAIRN_OK;
}

/* A dataset of 1 or, if it is alone, 2 dimensions becomes columns. It is owned by t whatever comes. */
static cairn_status add_dataset(cairn_hdf5_text *t, hid_t dataset, const char *name, uint64_t *length,
                                cairn_error *error)
{
    column *more = realloc(t->columns, (t->count + (size_t)1) * sizeof *more);
    hsize_t shape[2] = {0, 1};
    hid_t space;
    int rank;
    column *c;
    cairn_status status;

    if (more == NULL) {
        (void)H5Dclose(dataset);
        return CAIRN_E_NOMEM;
    }
    t->columns = more;
    c = &more[t->count++];
    *c = (column){.dataset = dataset, .memory = H5I_INVALID_HID, .width = 1};
    space = H5Dget_space(dataset);
    rank = H5Sget_simple_extent_ndims(space);
    if (rank == 1 || rank == 2) {
        (void)H5Sget_simple_extent_dims(space, shape, NULL);
    }
    (void)H5Sclose(space);
    if (rank != 1 && rank != 2) {
        return refuse(t, name, "has neither one nor two dimensions", error);
    }
    if (shape[1] == 0 || shape[1] > CAIRN_COLUMNS_MAX) {
        return refuse(t, name, "has no columns, or too many", error);
    }
    c->width = (uint32_t)shape[1];
    *length = shape[0];
    if (rank == 1 && (c->name = strdup(name)) == NULL) {
        return CAIRN_E_NOMEM;
    }
    status = take_type(t, c, name, error);
    return status == CAIRN_OK ? check_layout(t, c, name, error) : status;
}

typedef struct walk {
    cairn_hdf5_text *text;
    cairn_status status;
    cairn_error *error;
} walk;

/* Each 1-D dataset of the group; all else in it is left alone. */
static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    walk *w = context;
    cairn_hdf5_text *t = w->text;
    hid_t object = link->type == H5L_TYPE_HARD ? H5Oopen(group, name, H5P_DEFAULT) : H5I_INVALID_HID;
    hid_t space;
    uint64_t length = 0;
    bool is_column;

    if (object < 0 || H5Iget_type(object) != H5I_DATASET) {
        if (object >= 0) {
            (void)H5Oclose(object);
        }
        return 0;
    }
    space = H5Dget_space(object);
    is_column = H5Sget_simple_extent_ndims(space) == 1;
    (void)H5Sclose(space);
    if (!is_column) {
        (void)H5Dclose(object);
        return 0;
    }
    w->status = add_dataset(t, object, name, &length, w->error);
    if (w->status == CAIRN_OK && t->count > CAIRN_COLUMNS_MAX) {
        w->status = refuse(t, name, "there are too many columns", w->error);
    } else if (w->status == CAIRN_OK && t->count > 1 && length != t->rows) {
        w->status = cairn_fail(w->error, CAIRN_E_INVALID, "%s: %s has %llu rows, but %s has %llu", t->path, name,
                               (unsigned long long)length, t->columns[0].name, (unsigned long long)t->rows);
    }
    t->rows = length;
    return w->status == CAIRN_OK ? 0 : -1;
}

/* The group knows in which order its links were made. */
static bool is_ordered(hid_t group)
{
    hid_t list = H5Gget_create_plist(group);
    unsigned flags = 0;
    bool ordered = list >= 0 && H5Pget_link_creation_order(list, &flags) >= 0 && (flags & H5P_CRT_ORDER_INDEXED) != 0;

    if (list >= 0) {
        (void)H5Pclose(list);
    }
    return ordered;
}

static cairn_status find_columns(cairn_hdf5_text *t, const char *inside, cairn_error *error)
{
    const char *where = inside[0] == '\0' ? "/" : inside;
    const char *slash = strrchr(where, '/');
    walk w = {.text = t, .status = CAIRN_OK, .error = error};

    t->object = H5Oopen(t->file, where, H5P_DEFAULT);
    if (t->object < 0) {
        return refuse(t, where, "there is no such group or dataset", error);
    }
    if (H5Iget_type(t->object) == H5I_DATASET) {
        hid_t dataset = t->object;

        t->object = H5I_INVALID_HID;
        return add_dataset(t, dataset, slash == NULL ? where : slash + 1, &t->rows, error);
    }
    if (H5Iget_type(t->object) != H5I_GROUP) {
        return refuse(t, where, "is neither a group nor a dataset", error);
    }
    if (H5Literate(t->object, is_ordered(t->object) ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME, H5_ITER_INC, NULL, visit,
                   &w) < 0 &&
        w.status == CAIRN_OK) {
        return cairn_h5_fail(error, CAIRN_E_INVALID, t->path, "look for columns");
    }
    if (w.status == CAIRN_OK && t->count == 0) {
        return refuse(t, where, "has no datasets of one dimension; what is inside is named by --hdf5", error);
    }
    return w.status;
}

/* Of a shard: where the checksums of this column lie. */
static cairn_status find_checks(const cairn_hdf5_text *t, hid_t group, column *c, cairn_error *error)
{
    hid_t dataset = H5Dopen2(group, c->name, H5P_DEFAULT);
    hid_t space = dataset < 0 ? H5I_INVALID_HID : H5Dget_space(dataset);
    hid_t type = dataset < 0 ? H5I_INVALID_HID : H5Dget_type(dataset);
    haddr_t offset = dataset < 0 ? HADDR_UNDEF : H5Dget_offset(dataset);
    uint64_t runs = (t->rows + CAIRN_SHARD_RUN - 1) / CAIRN_SHARD_RUN;
    bool fits = space >= 0 && H5Sget_simple_extent_npoints(space) == (hssize_t)runs && is_like(type, H5T_STD_U64LE) &&
                (runs == 0 || (offset != HADDR_UNDEF && c->raw.kind != CAIRN_RAW_NONE));

    c->raw.checks = fits && runs > 0 ? offset : 0;
    if (dataset >= 0) {
        (void)H5Sclose(space);
        (void)H5Tclose(type);
        (void)H5Dclose(dataset);
    }
    return fits ? CAIRN_OK
                : cairn_fail(error, CAIRN_E_INVALID, "%s: %s: its checksums are not as they were written", t->path,
                             c->name);
}

static cairn_status find_all_checks(cairn_hdf5_text *t, cairn_error *error)
{
    cairn_status status = CAIRN_OK;
    hid_t group;

    if (t->object < 0 || H5Lexists(t->object, CAIRN_SHARD_CHECKS, H5P_DEFAULT) <= 0) {
        return CAIRN_OK; /* no shard */
    }
    t->is_shard = true;
    group = H5Gopen2(t->object, CAIRN_SHARD_CHECKS, H5P_DEFAULT);
    for (uint32_t i = 0; i < t->count && group >= 0 && status == CAIRN_OK; i++) {
        status = find_checks(t, group, &t->columns[i], error);
    }
    if (group >= 0) {
        (void)H5Gclose(group);
    }
    return status;
}

cairn_hdf5_raw cairn_hdf5_text_raw(const cairn_hdf5_text *t, uint32_t which)
{
    return which < t->count ? t->columns[which].raw : (cairn_hdf5_raw){.kind = CAIRN_RAW_NONE};
}

cairn_status cairn_hdf5_check_runs(int fd, const char *path, const char *name, const cairn_hdf5_raw *raw,
                                   uint64_t first, uint64_t rows, const void *data, cairn_error *error)
{
    enum { AT_ONCE = 64 };
    uint64_t checks[AT_ONCE];
    const char *at = data;
    cairn_status status = CAIRN_OK;

    for (uint64_t run = first / CAIRN_SHARD_RUN, left = rows; left > 0 && status == CAIRN_OK;) {
        uint64_t count = (left + CAIRN_SHARD_RUN - 1) / CAIRN_SHARD_RUN;

        count = count < AT_ONCE ? count : AT_ONCE;
        status = cairn_read_at(fd, checks, (size_t)count * sizeof checks[0], raw->checks + run * sizeof checks[0], path,
                               error);
        for (uint64_t i = 0; i < count && status == CAIRN_OK; i++, run++) {
            uint64_t some = left < CAIRN_SHARD_RUN ? left : CAIRN_SHARD_RUN;
            size_t bytes = (size_t)some * raw->width;

            if (cairn_digest_of(at, bytes).low != checks[i]) {
                status = cairn_fail(error, CAIRN_E_INVALID,
                                    "%s: column %s, rows %llu to %llu: not as they were written (checksum)", path, name,
                                    (unsigned long long)(run * CAIRN_SHARD_RUN + 1),
                                    (unsigned long long)(run * CAIRN_SHARD_RUN + some));
            }
            at += bytes;
            left -= some;
        }
    }
    return status;
}

/* The run that begins at row t->checked, of all columns. */
static cairn_status check_run(cairn_hdf5_text *t, cairn_error *error)
{
    uint64_t rows = t->rows - t->checked < CAIRN_SHARD_RUN ? t->rows - t->checked : CAIRN_SHARD_RUN;
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < t->count && status == CAIRN_OK; i++) {
        const column *c = &t->columns[i];
        size_t bytes = (size_t)rows * c->raw.width;
        char *data = malloc(bytes + 1);

        if (data == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to check it", t->path);
        }
        status = cairn_read_at(t->fd, data, bytes, c->raw.offset + t->checked * c->raw.width, t->path, error);
        if (status == CAIRN_OK) {
            status = cairn_hdf5_check_runs(t->fd, t->path, c->name, &c->raw, t->checked, rows, data, error);
        }
        free(data);
    }
    t->checked += rows;
    return status;
}

static cairn_status check_rows(cairn_hdf5_text *t, uint64_t end, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    if (!t->is_shard || t->rows == 0) {
        return CAIRN_OK;
    }
    if (t->fd < 0 && (t->fd = open(t->path, O_RDONLY | O_CLOEXEC)) < 0) {
        return cairn_fail_errno(error, errno, t->path, "open");
    }
    while (t->checked < end && status == CAIRN_OK) {
        status = check_run(t, error);
    }
    return status;
}

static cairn_status open_file(cairn_hdf5_text *t, const char *inside, cairn_error *error)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    size_t width = 0;
    cairn_status status;

    (void)H5Pset_file_locking(list, false, true);
    t->file = H5Fopen(t->path, H5F_ACC_RDONLY, list);
    status = t->file >= 0 ? CAIRN_OK : cairn_h5_fail(error, CAIRN_E_INVALID, t->path, "open");
    (void)H5Pclose(list);
    if (status == CAIRN_OK) {
        status = find_columns(t, inside, error);
    }
    if (status == CAIRN_OK) {
        status = find_all_checks(t, error);
    }
    for (uint32_t i = 0; i < t->count && status == CAIRN_OK; i++) {
        width += t->columns[i].width;
    }
    t->batch = width == 0 || BATCH_VALUES / width > BATCH_ROWS ? BATCH_ROWS : BATCH_VALUES / width;
    t->batch = t->batch == 0 ? 1 : t->batch;
    for (uint32_t i = 0; i < t->count && status == CAIRN_OK; i++) {
        column *c = &t->columns[i];

        c->data = calloc((size_t)t->batch * c->width, c->size);
        status = c->data == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
    }
    return status;
}

cairn_status cairn_hdf5_text_open(cairn_hdf5_text **out, const char *path, const char *inside, char delimiter,
                                  uint64_t first, uint64_t rows, cairn_error *error)
{
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_hdf5_text *t = calloc(1, sizeof *t);
    cairn_status status = CAIRN_E_NOMEM;

    if (t != NULL) {
        t->file = t->object = H5I_INVALID_HID;
        t->fd = -1;
        t->delimiter = delimiter == '\0' ? ',' : delimiter;
        t->path = strdup(path);
        status = t->path == NULL ? CAIRN_E_NOMEM : open_file(t, inside, error);
    }
    if (status == CAIRN_OK) {
        t->at = first < t->rows ? first : t->rows;
        t->end = rows < t->rows - t->at ? t->at + rows : t->rows;
        t->checked = t->at / CAIRN_SHARD_RUN * CAIRN_SHARD_RUN;
        put_header(t);
        status = t->failed ? CAIRN_E_NOMEM : CAIRN_OK;
    }
    if (status == CAIRN_E_NOMEM) {
        (void)cairn_fail(error, status, "%s: no memory to read it", path);
    }
    if (status != CAIRN_OK) {
        cairn_hdf5_text_close(t);
        t = NULL;
    }
    cairn_quiet_end(quiet);
    *out = t;
    return status;
}

void cairn_hdf5_text_close(cairn_hdf5_text *t)
{
    cairn_quiet quiet;

    if (t == NULL) {
        return;
    }
    quiet = cairn_quiet_begin();
    for (uint32_t i = 0; i < t->count; i++) {
        free(t->columns[i].name);
        free(t->columns[i].data);
        (void)H5Tclose(t->columns[i].memory);
        (void)H5Dclose(t->columns[i].dataset);
    }
    (void)H5Oclose(t->object);
    (void)H5Fclose(t->file);
    if (t->fd >= 0) {
        (void)close(t->fd);
    }
    cairn_quiet_end(quiet);
    free(t->columns);
    free(t->text);
    free(t->path);
    free(t);
}

uint64_t cairn_hdf5_text_rows(const cairn_hdf5_text *t)
{
    return t->rows;
}

bool cairn_hdf5_text_is_shard(const cairn_hdf5_text *t)
{
    return t->is_shard;
}

uint64_t cairn_hdf5_text_taken(const cairn_hdf5_text *t)
{
    return t->taken;
}

/* ---------------------------------------------------------------- reading */

static cairn_status read_column(cairn_hdf5_text *t, column *c, uint64_t count, cairn_error *error)
{
    hsize_t start[2] = {t->at, 0};
    hsize_t shape[2] = {count, c->width};
    int rank = c->name == NULL ? 2 : 1;
    hid_t space = H5Dget_space(c->dataset);
    hid_t memory = H5Screate_simple(rank, shape, NULL);
    cairn_status status = CAIRN_OK;

    if (space < 0 || memory < 0 || H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, shape, NULL) < 0 ||
        H5Dread(c->dataset, c->memory, memory, space, H5P_DEFAULT, c->data) < 0) {
        status = cairn_h5_fail(error, CAIRN_E_INVALID, t->path, c->name == NULL ? "read its rows" : c->name);
    }
    (void)H5Sclose(space);
    (void)H5Sclose(memory);
    t->taken += count * c->width * c->size;
    return status;
}

/* The strings that HDF5 has made. */
static void give_back(column *c, uint64_t count)
{
    hsize_t elements = count * c->width;
    hid_t space = H5Screate_simple(1, &elements, NULL);

    (void)H5Dvlen_reclaim(c->memory, space, H5P_DEFAULT, c->data);
    (void)H5Sclose(space);
}

static cairn_status next_rows(cairn_hdf5_text *t, cairn_error *error)
{
    uint64_t count = t->end - t->at < t->batch ? t->end - t->at : t->batch;
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_status status = check_rows(t, t->at + count, error);
    uint32_t done = 0;

    t->bytes = t->used = 0;
    for (; done < t->count && status == CAIRN_OK; done++) {
        status = read_column(t, &t->columns[done], count, error);
    }
    for (uint64_t row = 0; row < count && status == CAIRN_OK; row++) {
        for (uint32_t i = 0; i < t->count; i++) {
            const column *c = &t->columns[i];

            for (uint32_t k = 0; k < c->width; k++) {
                if (i + k > 0) {
                    put(t, &t->delimiter, 1);
                }
                put_value(t, c, c->data + ((size_t)row * c->width + k) * c->size);
            }
        }
        put(t, "\n", 1);
    }
    for (uint32_t i = 0; i < done; i++) {
        if (t->columns[i].kind == VARIABLE && (status == CAIRN_OK || i + 1 < done)) {
            give_back(&t->columns[i], count);
        }
    }
    cairn_quiet_end(quiet);
    t->at += count;
    if (status == CAIRN_OK && t->failed) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to read it", t->path);
    }
    return status;
}

cairn_status cairn_hdf5_text_read(cairn_hdf5_text *t, void *to, size_t room, size_t *got, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    *got = 0;
    while (*got < room && status == CAIRN_OK) {
        size_t some = t->bytes - t->used;

        if (some == 0 && t->at == t->end) {
            break;
        }
        if (some == 0) {
            status = next_rows(t, error);
            continue;
        }
        some = some < room - *got ? some : room - *got;
        memcpy((char *)to + *got, t->text + t->used, some);
        t->used += some;
        *got += some;
    }
    return status;
}
