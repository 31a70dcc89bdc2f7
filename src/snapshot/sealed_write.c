/* Writing a sealed file: temporary name, elements, HDF5's metadata, seal, fsync, rename, fsync of the folder.
 *
 * Invariant: under its final name the file is whole and durable, or it is not there. */
#include "base/durable.h"
#include "snapshot/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define PIECE_BYTES     ((size_t)1 << 18) /* written and hashed while it is in the cache */
#define WRITEBACK_BYTES ((uint64_t)32 << 20)

/* HDF5 forgets an error at the next call, so the story is told before anything is closed. */
static hid_t create_file(const char *path, bool ordered, cairn_status *status, cairn_error *error)
{
    hid_t file = H5I_INVALID_HID;
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);

    /* Format 1.8 and up: every piece of metadata has a checksum, and an attribute may be long. No locks: some parallel
     * file systems have none, and nobody else writes under this name. */
    if (creation >= 0 && access_list >= 0 && H5Pset_userblock(creation, CAIRN_SEAL_BYTES) >= 0 &&
        H5Pset_libver_bounds(access_list, H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0 &&
        H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_file_locking(access_list, false, true) >= 0 &&
        (!ordered || H5Pset_link_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0)) {
        file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access_list);
    }
    *status = file >= 0 ? CAIRN_OK : cairn_h5_fail(error, CAIRN_E_IO, path, "create");
    (void)H5Pclose(creation);
    (void)H5Pclose(access_list);
    return file;
}

static cairn_status begin(cairn_sealed_writer *writer, const char *path, bool ordered, cairn_error *error)
{
    cairn_status status = CAIRN_E_BUG;

    memset(writer, 0, sizeof *writer);
    writer->file = H5I_INVALID_HID;
    writer->fd = -1;
    if ((size_t)snprintf(writer->path, sizeof writer->path, "%s", path) >= sizeof writer->path ||
        (size_t)snprintf(writer->temporary, sizeof writer->temporary, "%s.tmp", path) >= sizeof writer->temporary) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", path);
    }
    writer->file = create_file(writer->temporary, ordered, &status, error);
    if (status != CAIRN_OK) {
        return status;
    }
    writer->fd = open(writer->temporary, O_RDWR | O_CLOEXEC);
    if (writer->fd < 0) {
        status = cairn_fail_errno(error, errno, writer->temporary, "open");
        cairn_sealed_abandon(writer);
        return status;
    }
    return CAIRN_OK;
}

cairn_status cairn_sealed_begin(cairn_sealed_writer *writer, const char *path, cairn_error *error)
{
    return begin(writer, path, false, error);
}

cairn_status cairn_sealed_begin_ordered(cairn_sealed_writer *writer, const char *path, cairn_error *error)
{
    return begin(writer, path, true, error);
}

void cairn_sealed_abandon(cairn_sealed_writer *writer)
{
    if (writer->temporary[0] != '\0') {
        (void)unlink(writer->temporary);
    }
    /* On a full disk HDF5 could not write its metadata and would never let go of the file: first give the space back.
     */
    if (writer->fd >= 0 && ftruncate(writer->fd, 0) != 0) {
        (void)H5Eclear2(H5E_DEFAULT);
    }
    if (writer->file >= 0) {
        (void)H5Fclose(writer->file);
    }
    if (writer->fd >= 0) {
        (void)close(writer->fd);
    }
    free(writer->extents);
    writer->file = H5I_INVALID_HID;
    writer->fd = -1;
    writer->extents = NULL;
    writer->temporary[0] = '\0';
}

static cairn_status put_attribute(cairn_sealed_writer *writer, hid_t object, const char *name, hid_t type,
                                  const uint64_t *count, const void *value, cairn_error *error)
{
    hsize_t length = count != NULL ? *count : 1;
    hid_t space = count != NULL ? H5Screate_simple(1, &length, NULL) : H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    cairn_status status = CAIRN_OK;

    if (attribute < 0 || H5Awrite(attribute, type, value) < 0) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    }
    (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    return status;
}

cairn_status cairn_put_u64(cairn_sealed_writer *writer, hid_t object, const char *name, uint64_t value,
                           cairn_error *error)
{
    return put_attribute(writer, object, name, H5T_STD_U64LE, NULL, &value, error);
}

cairn_status cairn_put_u32(cairn_sealed_writer *writer, hid_t object, const char *name, uint32_t value,
                           cairn_error *error)
{
    return put_attribute(writer, object, name, H5T_STD_U32LE, NULL, &value, error);
}

cairn_status cairn_put_u64s(cairn_sealed_writer *writer, hid_t object, const char *name, const uint64_t *values,
                            size_t count, cairn_error *error)
{
    uint64_t length = count;

    return put_attribute(writer, object, name, H5T_STD_U64LE, &length, values, error);
}

cairn_status cairn_put_text(cairn_sealed_writer *writer, hid_t object, const char *name, const char *text,
                            cairn_error *error)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    cairn_status status = CAIRN_E_BUG;

    if (type < 0 || H5Tset_size(type, strlen(text) + 1) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
        status = cairn_h5_fail(error, CAIRN_E_NOMEM, writer->temporary, name);
    } else {
        status = put_attribute(writer, object, name, type, NULL, text, error);
    }
    (void)H5Tclose(type);
    return status;
}

static hid_t create_dataset(const cairn_sealed_writer *writer, hid_t parent, const char *name, hid_t type,
                            uint32_t rank, const uint64_t *shape, cairn_status *status, cairn_error *error)
{
    hsize_t dimensions[CAIRN_DIMENSIONS_MAX];
    hid_t space = H5I_INVALID_HID;
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t dataset = H5I_INVALID_HID;

    for (uint32_t i = 0; i < rank; i++) {
        dimensions[i] = shape[i];
    }
    space = rank > 0 ? H5Screate_simple((int)rank, dimensions, NULL) : H5Screate(H5S_SCALAR);
    if (space >= 0 && list >= 0 && H5Pset_layout(list, H5D_CONTIGUOUS) >= 0 &&
        H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY) >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0 &&
        H5Pset_obj_track_times(list, false) >= 0) {
        dataset = H5Dcreate2(parent, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    }
    *status = dataset >= 0 ? CAIRN_OK : cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    (void)H5Pclose(list);
    (void)H5Sclose(space);
    return dataset;
}

cairn_status cairn_output_begin(cairn_sealed_writer *writer, cairn_output *output, hid_t parent, const char *name,
                                hid_t type, uint32_t rank, const uint64_t *shape, cairn_error *error)
{
    cairn_status status = CAIRN_E_BUG;
    haddr_t offset;

    memset(output, 0, sizeof *output);
    (void)snprintf(output->name, sizeof output->name, "%s", name);
    output->bytes = H5Tget_size(type);
    for (uint32_t i = 0; i < rank; i++) {
        output->bytes *= shape[i];
    }
    output->dataset = create_dataset(writer, parent, name, type, rank, shape, &status, error);
    if (status != CAIRN_OK) {
        return status;
    }
    offset = H5Dget_offset(output->dataset);
    if (output->bytes > 0 && offset == HADDR_UNDEF) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    }
    output->offset = output->bytes > 0 ? offset : 0;
    output->state = XXH3_createState();
    if (output->state == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: %s: no memory for its checksum", writer->temporary, name);
    }
    (void)XXH3_128bits_reset(output->state);
    return CAIRN_OK;
}

/* Let the kernel begin with what is written so far, while we go on. */
static void begin_writeback(cairn_sealed_writer *writer, size_t bytes)
{
    writer->unsent += bytes;
    if (writer->unsent >= WRITEBACK_BYTES) {
        (void)sync_file_range(writer->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        writer->unsent = 0;
    }
}

static cairn_status remember(cairn_sealed_writer *writer, uint64_t offset, const void *data, uint64_t bytes,
                             cairn_error *error)
{
    cairn_extent *more = realloc(writer->extents, (writer->extent_count + 1) * sizeof *more);

    if (more == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", writer->temporary);
    }
    writer->extents = more;
    more[writer->extent_count++] = (cairn_extent){offset, bytes, data};
    return CAIRN_OK;
}

cairn_status cairn_output_append(cairn_sealed_writer *writer, cairn_output *output, const void *data, size_t bytes,
                                 bool lasting, cairn_error *error)
{
    const char *at = data;
    cairn_status status = CAIRN_OK;

    if (bytes > output->bytes - output->at) {
        return cairn_fail(error, CAIRN_E_BUG, "%s: %s: more bytes than its shape", writer->temporary, output->name);
    }
    if (lasting && bytes >= PIECE_BYTES) {
        status = remember(writer, output->offset + output->at, data, bytes, error);
    }
    while (bytes > 0 && status == CAIRN_OK) {
        size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;

        if (writer->unwanted != NULL && atomic_load_explicit(writer->unwanted, memory_order_relaxed)) {
            return cairn_fail(error, CAIRN_E_STOPPED, "%s: not wanted any more", writer->temporary);
        }
        status = cairn_write_at(writer->fd, at, piece, output->offset + output->at, writer->temporary, error);
        (void)XXH3_128bits_update(output->state, at, piece);
        begin_writeback(writer, piece);
        output->at += piece;
        at += piece;
        bytes -= piece;
    }
    return status;
}

cairn_status cairn_output_end(cairn_sealed_writer *writer, cairn_output *output, cairn_status status,
                              cairn_error *error)
{
    if (status == CAIRN_OK && output->at != output->bytes) {
        status = cairn_fail(error, CAIRN_E_BUG, "%s: %s: fewer bytes than its shape", writer->temporary, output->name);
    }
    if (status == CAIRN_OK) {
        char text[CAIRN_DIGEST_TEXT_BYTES];
        XXH128_hash_t hash = XXH3_128bits_digest(output->state);

        cairn_digest_print((cairn_digest){hash.high64, hash.low64}, text);
        status = cairn_put_text(writer, output->dataset, "xxh3", text, error);
    }
    if (output->dataset >= 0 && H5Dclose(output->dataset) < 0 && status == CAIRN_OK) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, output->name);
    }
    (void)XXH3_freeState(output->state);
    output->dataset = H5I_INVALID_HID;
    output->state = NULL;
    return status;
}

cairn_status cairn_put_dataset(cairn_sealed_writer *writer, hid_t parent, const char *name, hid_t type, uint32_t rank,
                               const uint64_t *shape, const void *data, uint64_t bytes, cairn_error *error)
{
    cairn_output output;
    cairn_status status = cairn_output_begin(writer, &output, parent, name, type, rank, shape, error);

    if (status == CAIRN_OK) {
        status = cairn_output_append(writer, &output, data, bytes, true, error);
    }
    return cairn_output_end(writer, &output, status, error);
}

static int by_offset(const void *left, const void *right)
{
    const cairn_extent *a = left;
    const cairn_extent *b = right;

    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Hash [from, to) of the file as it can be read now. */
static cairn_status hash_file(cairn_sealed_writer *writer, XXH3_state_t *state, uint64_t from, uint64_t to, char *piece,
                              cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    while (from < to && status == CAIRN_OK) {
        size_t bytes = to - from < PIECE_BYTES ? (size_t)(to - from) : PIECE_BYTES;

        status = cairn_read_at(writer->fd, piece, bytes, from, writer->temporary, error);
        (void)XXH3_128bits_update(state, piece, bytes);
        from += bytes;
    }
    return status;
}

/* The digest of everything behind the user block, in the order of the file. Long elements come from the caller's
 * memory, which saves reading them back; the rest is read. */
static cairn_status digest_file(cairn_sealed_writer *writer, uint64_t bytes, cairn_digest *digest, cairn_error *error)
{
    XXH3_state_t *state = XXH3_createState();
    char *piece = malloc(PIECE_BYTES);
    uint64_t at = CAIRN_SEAL_BYTES;
    cairn_status status = CAIRN_OK;

    if (state == NULL || piece == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for its checksum", writer->temporary);
        goto out;
    }
    (void)XXH3_128bits_reset(state);
    if (writer->extent_count > 1) {
        qsort(writer->extents, writer->extent_count, sizeof *writer->extents, by_offset);
    }
    for (size_t i = 0; i < writer->extent_count && status == CAIRN_OK; i++) {
        const cairn_extent *extent = &writer->extents[i];

        status = hash_file(writer, state, at, extent->offset, piece, error);
        (void)XXH3_128bits_update(state, extent->data, extent->bytes);
        at = extent->offset + extent->bytes;
    }
    if (status == CAIRN_OK) {
        status = hash_file(writer, state, at, bytes, piece, error);
    }
    if (status == CAIRN_OK) {
        XXH128_hash_t hash = XXH3_128bits_digest(state);

        *digest = (cairn_digest){hash.high64, hash.low64};
    }
out:
    free(piece);
    (void)XXH3_freeState(state);
    return status;
}

static cairn_status close_metadata(cairn_sealed_writer *writer, cairn_error *error)
{
    hid_t file = writer->file;

    /* Flush first: if that fails (the disk is full) the file can still be abandoned. */
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "write HDF5 metadata");
    }
    writer->file = H5I_INVALID_HID;
    if (H5Fclose(file) < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "close");
    }
    return CAIRN_OK;
}

static cairn_status seal_file(cairn_sealed_writer *writer, cairn_sealed_kind kind, cairn_part_seal *seal,
                              cairn_error *error)
{
    char block[CAIRN_SEAL_BYTES];
    off_t end = lseek(writer->fd, 0, SEEK_END);
    cairn_status status;

    if (end < CAIRN_SEAL_BYTES) {
        return cairn_fail_errno(error, end < 0 ? errno : EIO, writer->temporary, "ask for its size");
    }
    seal->bytes = (uint64_t)end;
    (void)sync_file_range(writer->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    status = digest_file(writer, seal->bytes, &seal->digest, error);
    if (status == CAIRN_OK) {
        cairn_seal_make(block, kind, *seal);
        status = cairn_write_at(writer->fd, block, sizeof block, 0, writer->temporary, error);
    }
    if (status == CAIRN_OK && fsync(writer->fd) != 0) {
        status = cairn_fail_errno(error, errno, writer->temporary, "sync");
    }
    return status;
}

cairn_status cairn_sealed_finish(cairn_sealed_writer *writer, cairn_sealed_kind kind, cairn_part_seal *seal,
                                 cairn_error *error)
{
    char folder[CAIRN_PATH_BYTES];
    cairn_part_seal made;
    cairn_status status = close_metadata(writer, error);

    if (status == CAIRN_OK) {
        status = seal_file(writer, kind, &made, error);
    }
    if (status == CAIRN_OK && rename(writer->temporary, writer->path) != 0) {
        status = cairn_fail_errno(error, errno, writer->path, "rename into place");
    }
    if (status == CAIRN_OK) {
        writer->temporary[0] = '\0';
        cairn_folder_of(folder, sizeof folder, writer->path);
        status = cairn_sync_folder(folder, error);
        if (status != CAIRN_OK) {
            (void)unlink(writer->path);
        } else {
            free(writer->extents);
            writer->extents = NULL;
            (void)close(writer->fd);
            writer->fd = -1;
            if (seal != NULL) {
                *seal = made;
            }
        }
    }
    if (status != CAIRN_OK) {
        cairn_sealed_abandon(writer);
    }
    return status;
}
