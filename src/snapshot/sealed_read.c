/* Reading a sealed file. The seal is checked over every byte before HDF5 sees the file; what HDF5 then says of names,
 * types, shapes and places is checked against what Cairn writes and against the size of the file before it is used. */
#include "snapshot/sealed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE_BYTES ((size_t)1 << 20)

static hid_t open_file(const char *path, cairn_status *status, cairn_error *error)
{
    hid_t file = H5I_INVALID_HID;
    hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);

    if (access_list >= 0 && H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_file_locking(access_list, false, true) >= 0) {
        file = H5Fopen(path, H5F_ACC_RDONLY, access_list);
    }
    *status = file >= 0 ? CAIRN_OK : cairn_h5_fail(error, CAIRN_E_CORRUPT, path, "open as HDF5");
    (void)H5Pclose(access_list);
    return file;
}

cairn_status cairn_sealed_open(cairn_sealed_reader *reader, const char *path, cairn_sealed_kind kind,
                               const cairn_part_seal *expected, bool whole, cairn_part_seal *seal, cairn_error *error)
{
    cairn_part_seal found;
    cairn_status status;

    *reader = (cairn_sealed_reader){.file = H5I_INVALID_HID, .fd = -1, .path = path};
    status = cairn_seal_open(&reader->fd, path, error);
    if (status == CAIRN_OK) {
        status = cairn_seal_check(reader->fd, path, kind, expected, whole, &found, error);
    }
    if (status == CAIRN_OK) {
        reader->bytes = found.bytes;
        if (seal != NULL) {
            *seal = found;
        }
        reader->file = open_file(path, &status, error);
    }
    if (status != CAIRN_OK) {
        cairn_sealed_close(reader);
    }
    return status;
}

void cairn_sealed_release(cairn_sealed_reader *reader)
{
    if (reader->file >= 0) {
        (void)H5Fclose(reader->file);
    }
    reader->file = H5I_INVALID_HID;
}

void cairn_sealed_close(cairn_sealed_reader *reader)
{
    cairn_sealed_release(reader);
    if (reader->fd >= 0) {
        (void)close(reader->fd);
    }
    reader->fd = -1;
}

bool cairn_has_attribute(hid_t object, const char *name)
{
    return H5Aexists(object, name) > 0;
}

/* An attribute of `count` elements (0: a scalar) of exactly this type. */
static cairn_status get_attribute(const cairn_sealed_reader *reader, hid_t object, const char *name, hid_t type,
                                  size_t count, void *value, cairn_error *error)
{
    hid_t attribute = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT) : H5I_INVALID_HID;
    hid_t found = attribute >= 0 ? H5Aget_type(attribute) : H5I_INVALID_HID;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : H5I_INVALID_HID;
    cairn_status status = CAIRN_E_BUG;

    if (attribute < 0) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: attribute %s is missing", reader->path, name);
    } else if (found < 0 || H5Tequal(found, type) <= 0 || space < 0 ||
               H5Sget_simple_extent_ndims(space) != (count > 0 ? 1 : 0) ||
               H5Sget_simple_extent_type(space) == H5S_NULL ||
               H5Sget_simple_extent_npoints(space) != (hssize_t)(count > 0 ? count : 1)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: attribute %s has another type or shape", reader->path, name);
    } else if (H5Aread(attribute, type, value) < 0) {
        status = cairn_h5_fail(error, CAIRN_E_CORRUPT, reader->path, name);
    } else {
        status = CAIRN_OK;
    }
    (void)H5Sclose(space);
    (void)H5Tclose(found);
    (void)H5Aclose(attribute);
    return status;
}

cairn_status cairn_get_u64(const cairn_sealed_reader *reader, hid_t object, const char *name, uint64_t *value,
                           cairn_error *error)
{
    return get_attribute(reader, object, name, H5T_STD_U64LE, 0, value, error);
}

cairn_status cairn_get_u32(const cairn_sealed_reader *reader, hid_t object, const char *name, uint32_t *value,
                           cairn_error *error)
{
    return get_attribute(reader, object, name, H5T_STD_U32LE, 0, value, error);
}

cairn_status cairn_get_u64s(const cairn_sealed_reader *reader, hid_t object, const char *name, uint64_t *values,
                            size_t count, cairn_error *error)
{
    return get_attribute(reader, object, name, H5T_STD_U64LE, count, values, error);
}

cairn_status cairn_get_text(const cairn_sealed_reader *reader, hid_t object, const char *name, char *text, size_t bytes,
                            cairn_error *error)
{
    hid_t attribute = H5Aexists(object, name) > 0 ? H5Aopen(object, name, H5P_DEFAULT) : H5I_INVALID_HID;
    hid_t type = attribute >= 0 ? H5Aget_type(attribute) : H5I_INVALID_HID;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : H5I_INVALID_HID;
    cairn_status status = CAIRN_E_BUG;

    if (attribute < 0) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: attribute %s is missing", reader->path, name);
    } else if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
               H5Tget_strpad(type) != H5T_STR_NULLTERM || H5Tget_size(type) == 0 || H5Tget_size(type) > bytes ||
               space < 0 || H5Sget_simple_extent_type(space) != H5S_SCALAR) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: attribute %s is no text of fewer than %zu bytes", reader->path,
                            name, bytes);
    } else {
        memset(text, 0, bytes);
        status =
            H5Aread(attribute, type, text) >= 0 ? CAIRN_OK : cairn_h5_fail(error, CAIRN_E_CORRUPT, reader->path, name);
        text[bytes - 1] = '\0';
    }
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    (void)H5Aclose(attribute);
    return status;
}

static bool known_type(hid_t type, cairn_input *input)
{
    input->element_bytes = H5Tget_size(type);
    if (H5Tget_class(type) == H5T_STRING) {
        input->text = true;
        return H5Tis_variable_str(type) == 0 && input->element_bytes > 0;
    }
    for (unsigned i = CAIRN_U8; i <= CAIRN_F64; i++) {
        if (H5Tequal(type, cairn_h5_type((cairn_type)i)) > 0) {
            input->type = (cairn_type)i;
            return true;
        }
    }
    return false;
}

/* bytes = element_bytes * product of shape, if that is at most `most`. */
static bool known_shape(hid_t space, cairn_input *input, uint64_t most)
{
    hsize_t dimensions[H5S_MAX_RANK];
    int rank = H5Sget_simple_extent_ndims(space);
    bool empty = false;

    if (rank < 0 || rank > CAIRN_DIMENSIONS_MAX || H5Sget_simple_extent_type(space) == H5S_NULL ||
        H5Sget_simple_extent_dims(space, dimensions, NULL) != rank) {
        return false;
    }
    input->rank = (uint32_t)rank;
    input->bytes = input->element_bytes;
    for (int i = 0; i < rank; i++) {
        input->shape[i] = dimensions[i];
        empty = empty || dimensions[i] == 0;
    }
    for (int i = 0; i < rank && !empty; i++) {
        if (dimensions[i] > most / input->bytes) {
            return false;
        }
        input->bytes *= dimensions[i];
    }
    if (empty) {
        input->bytes = 0;
    }
    return input->bytes <= most;
}

static bool is_plain(hid_t dataset)
{
    hid_t list = H5Dget_create_plist(dataset);
    bool plain = list >= 0 && H5Pget_layout(list) == H5D_CONTIGUOUS && H5Pget_nfilters(list) == 0 &&
                 H5Pget_external_count(list) == 0;

    (void)H5Pclose(list);
    return plain;
}

static cairn_status inspect(const cairn_sealed_reader *reader, hid_t dataset, cairn_input *input, cairn_error *error)
{
    hid_t type = H5Dget_type(dataset);
    hid_t space = H5Dget_space(dataset);
    char digest[CAIRN_DIGEST_TEXT_BYTES];
    haddr_t offset = HADDR_UNDEF;
    cairn_status status = CAIRN_E_BUG;

    if (type < 0 || !known_type(type, input)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: an element type that Cairn does not write", reader->path,
                            input->name);
        goto out;
    }
    if (space < 0 || !known_shape(space, input, reader->bytes)) {
        status =
            cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: its shape is larger than the file", reader->path, input->name);
        goto out;
    }
    if (!is_plain(dataset)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: not stored in one piece", reader->path, input->name);
        goto out;
    }
    if (input->bytes > 0) {
        offset = H5Dget_offset(dataset);
        if (offset == HADDR_UNDEF || offset < CAIRN_SEAL_BYTES || offset > reader->bytes ||
            input->bytes > reader->bytes - offset) {
            status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: lies outside the file", reader->path, input->name);
            goto out;
        }
        input->offset = offset;
    }
    status = cairn_get_text(reader, dataset, "xxh3", digest, sizeof digest, error);
    if (status == CAIRN_OK && !cairn_digest_parse(digest, &input->digest)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: no checksum", reader->path, input->name);
    }
out:
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    return status;
}

static bool is_hard_link(hid_t parent, const char *name)
{
    H5L_info_t info;

    return H5Lexists(parent, name, H5P_DEFAULT) > 0 && H5Lget_info(parent, name, &info, H5P_DEFAULT) >= 0 &&
           info.type == H5L_TYPE_HARD;
}

/* Open an object that must be a hard link to this type of object. */
static hid_t open_object(hid_t parent, const char *name, H5I_type_t type)
{
    hid_t object = is_hard_link(parent, name) ? H5Oopen(parent, name, H5P_DEFAULT) : H5I_INVALID_HID;

    if (object >= 0 && H5Iget_type(object) != type) {
        (void)H5Oclose(object);
        object = H5I_INVALID_HID;
    }
    return object;
}

hid_t cairn_group_open(const cairn_sealed_reader *reader, hid_t parent, const char *name, cairn_error *error)
{
    hid_t group = open_object(parent, name, H5I_GROUP);

    if (group < 0) {
        (void)cairn_fail(error, CAIRN_E_CORRUPT, "%s: group %s is missing", reader->path, name);
    }
    return group;
}

cairn_status cairn_input_open(const cairn_sealed_reader *reader, hid_t parent, const char *parent_name,
                              const char *name, cairn_input *input, hid_t *dataset, cairn_error *error)
{
    hid_t opened = open_object(parent, name, H5I_DATASET);
    cairn_status status;

    memset(input, 0, sizeof *input);
    (void)snprintf(input->name, sizeof input->name, "%s/%s", parent_name, name);
    if (dataset != NULL) {
        *dataset = H5I_INVALID_HID;
    }
    if (opened < 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: dataset %s is missing", reader->path, input->name);
    }
    status = inspect(reader, opened, input, error);
    if (status == CAIRN_OK && dataset != NULL) {
        *dataset = opened;
    } else {
        (void)H5Dclose(opened);
    }
    return status;
}

static cairn_status compare(const cairn_sealed_reader *reader, const cairn_input *input, XXH128_hash_t hash,
                            cairn_error *error)
{
    if (hash.high64 != input->digest.high || hash.low64 != input->digest.low) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: checksum does not match", reader->path, input->name);
    }
    return CAIRN_OK;
}

cairn_status cairn_input_check(const cairn_sealed_reader *reader, const cairn_input *input, cairn_error *error)
{
    XXH3_state_t *state = XXH3_createState();
    char *piece = malloc(PIECE_BYTES);
    cairn_status status = CAIRN_OK;

    if (state == NULL || piece == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to check it", reader->path);
        goto out;
    }
    (void)XXH3_128bits_reset(state);
    for (uint64_t at = 0; at < input->bytes && status == CAIRN_OK;) {
        size_t bytes = input->bytes - at < PIECE_BYTES ? (size_t)(input->bytes - at) : PIECE_BYTES;

        status = cairn_read_at(reader->fd, piece, bytes, input->offset + at, reader->path, error);
        (void)XXH3_128bits_update(state, piece, bytes);
        at += bytes;
    }
    if (status == CAIRN_OK) {
        status = compare(reader, input, XXH3_128bits_digest(state), error);
    }
out:
    free(piece);
    (void)XXH3_freeState(state);
    return status;
}

cairn_status cairn_input_load(const cairn_sealed_reader *reader, const cairn_input *input, void **data,
                              cairn_error *error)
{
    void *loaded = malloc(input->bytes > 0 ? (size_t)input->bytes : 1);
    cairn_status status;

    if (loaded == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: %s: no memory for its %llu bytes", reader->path, input->name,
                          (unsigned long long)input->bytes);
    }
    status = cairn_read_at(reader->fd, loaded, (size_t)input->bytes, input->offset, reader->path, error);
    if (status == CAIRN_OK) {
        status = compare(reader, input, XXH3_128bits(loaded, (size_t)input->bytes), error);
    }
    if (status != CAIRN_OK) {
        free(loaded);
        return status;
    }
    *data = loaded;
    return CAIRN_OK;
}

cairn_status cairn_get_table(const cairn_sealed_reader *reader, hid_t parent, const char *parent_name, const char *name,
                             uint64_t rows, uint64_t columns, uint64_t **values, cairn_error *error)
{
    cairn_input input;
    void *data = NULL;
    cairn_status status = cairn_input_open(reader, parent, parent_name, name, &input, NULL, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (input.text || input.type != CAIRN_U64 || input.rank != (columns > 0 ? 2 : 1) || input.shape[0] != rows ||
        (columns > 0 && input.shape[1] != columns)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: has another type or shape", reader->path, input.name);
    }
    status = cairn_input_load(reader, &input, &data, error);
    *values = data;
    return status;
}

typedef struct name_list {
    char **names;
    uint64_t count, most;
    bool foreign, full, no_memory;
} name_list;

static herr_t take_name(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    name_list *list = context;

    (void)group;
    list->foreign = info->type != H5L_TYPE_HARD;
    list->full = list->count == list->most;
    if (list->foreign || list->full) {
        return -1;
    }
    list->names[list->count] = strdup(name);
    list->no_memory = list->names[list->count] == NULL;
    if (list->no_memory) {
        return -1;
    }
    list->count++;
    return 0;
}

cairn_status cairn_group_names(const cairn_sealed_reader *reader, hid_t parent, const char *group, uint64_t most,
                               char ***names, size_t *count, cairn_error *error)
{
    H5G_info_t info;
    name_list list = {0};
    cairn_status status = CAIRN_OK;

    *names = NULL;
    *count = 0;
    if (H5Gget_info(parent, &info) < 0) {
        return cairn_h5_fail(error, CAIRN_E_CORRUPT, reader->path, group);
    }
    if (info.nlinks > most) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: too many entries", reader->path, group);
    }
    list.most = info.nlinks;
    list.names = calloc((size_t)info.nlinks + 1, sizeof *list.names);
    if (list.names == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", reader->path);
    }
    if (H5Literate(parent, H5_INDEX_NAME, H5_ITER_INC, NULL, take_name, &list) < 0) {
        status = list.foreign     ? cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: a link that Cairn does not write",
                                               reader->path, group)
                 : list.full      ? cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: too many entries", reader->path, group)
                 : list.no_memory ? cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", reader->path)
                                  : cairn_h5_fail(error, CAIRN_E_CORRUPT, reader->path, group);
        cairn_names_free(list.names, (size_t)list.count);
        return status;
    }
    *names = list.names;
    *count = (size_t)list.count;
    return CAIRN_OK;
}

void cairn_names_free(char **names, size_t count)
{
    for (size_t i = 0; names != NULL && i < count; i++) {
        free(names[i]);
    }
    free(names);
}
