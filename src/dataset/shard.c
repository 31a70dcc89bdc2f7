#include "dataset/shard.h"

#include "base/checksum.h"
#include "snapshot/sealed.h"

#include <stdlib.h>
#include <string.h>

bool cairn_shard_can_name(const char *column)
{
    size_t bytes = strlen(column);

    return bytes > 0 && bytes < 128 && strchr(column, '/') == NULL && strcmp(column, ".") != 0 &&
           strcmp(column, CAIRN_SHARD_CHECKS) != 0;
}

static cairn_status put_checks(cairn_sealed_writer *writer, hid_t group, const cairn_shard_column *column,
                               uint64_t rows, cairn_error *error)
{
    uint64_t runs = (rows + CAIRN_SHARD_RUN - 1) / CAIRN_SHARD_RUN;
    uint64_t *checks = malloc((runs > 0 ? runs : 1) * sizeof *checks);
    cairn_output output;
    cairn_status status;

    if (checks == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for its checksums", writer->path);
    }
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t some = rows - i * CAIRN_SHARD_RUN < CAIRN_SHARD_RUN ? rows - i * CAIRN_SHARD_RUN : CAIRN_SHARD_RUN;

        checks[i] = cairn_digest_of((const char *)column->data + i * CAIRN_SHARD_RUN * column->width,
                                    (size_t)(some * column->width))
                        .low;
    }
    status = cairn_output_begin(writer, &output, group, column->name, H5T_STD_U64LE, 1, &runs, error);
    if (status == CAIRN_OK) {
        status = cairn_output_append(writer, &output, checks, (size_t)runs * sizeof *checks, false, error);
    }
    status = cairn_output_end(writer, &output, status, error);
    free(checks);
    return status;
}

static cairn_status put_column(cairn_sealed_writer *writer, const cairn_shard_column *column, uint64_t rows,
                               cairn_error *error)
{
    hid_t text = H5I_INVALID_HID;
    hid_t type = column->type == CAIRN_SHARD_F64 ? H5T_IEEE_F64LE : H5T_STD_I64LE;
    cairn_status status;

    if (column->type == CAIRN_SHARD_TEXT) {
        text = H5Tcopy(H5T_C_S1);
        if (text < 0 || H5Tset_size(text, column->width) < 0 || H5Tset_strpad(text, H5T_STR_NULLPAD) < 0 ||
            H5Tset_cset(text, H5T_CSET_UTF8) < 0) {
            (void)H5Tclose(text);
            return cairn_h5_fail(error, CAIRN_E_NOMEM, writer->path, column->name);
        }
        type = text;
    }
    status = cairn_put_dataset(writer, writer->file, column->name, type, 1, &rows, column->data, rows * column->width,
                               error);
    if (text >= 0) {
        (void)H5Tclose(text);
    }
    return status;
}

cairn_status cairn_shard_write(const char *path, const cairn_shard_column *columns, uint32_t count, uint64_t rows,
                               cairn_part_seal *seal, cairn_error *error)
{
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_sealed_writer writer;
    cairn_status status = cairn_sealed_begin_ordered(&writer, path, error);
    hid_t group = H5I_INVALID_HID;

    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status =
            cairn_shard_can_name(columns[i].name)
                ? put_column(&writer, &columns[i], rows, error)
                : cairn_fail(error, CAIRN_E_INVALID, "%s: a column cannot be named '%s' there", path, columns[i].name);
    }
    if (status == CAIRN_OK) {
        group = H5Gcreate2(writer.file, CAIRN_SHARD_CHECKS, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        status = group < 0 ? cairn_h5_fail(error, CAIRN_E_IO, path, CAIRN_SHARD_CHECKS) : CAIRN_OK;
    }
    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = put_checks(&writer, group, &columns[i], rows, error);
    }
    if (group >= 0) {
        (void)H5Gclose(group);
    }
    if (status == CAIRN_OK) {
        status = cairn_put_u64(&writer, writer.file, "rows", rows, error);
    }
    if (status == CAIRN_OK) {
        status = cairn_sealed_finish(&writer, CAIRN_SEALED_SHARD, seal, error);
    } else {
        cairn_sealed_abandon(&writer);
    }
    cairn_quiet_end(quiet);
    return status;
}

cairn_status cairn_shard_check(const char *path, const cairn_part_seal *expected, uint64_t *rows, cairn_error *error)
{
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_sealed_reader reader;
    cairn_status status = cairn_sealed_open(&reader, path, CAIRN_SEALED_SHARD, expected, true, NULL, error);

    if (status == CAIRN_OK) {
        status = cairn_get_u64(&reader, reader.file, "rows", rows, error);
        cairn_sealed_close(&reader);
    }
    cairn_quiet_end(quiet);
    return status;
}
