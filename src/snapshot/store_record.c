/* Reading a commit record without trust. */
#include "snapshot/sealed.h"
#include "snapshot/store_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A commit record that owns what it points to; `commit` is first, so that a pointer to it is one to all of it. */
typedef struct record {
    cairn_commit commit;
    cairn_part_seal *parts;
    uint64_t *lamport, *vector;
    char **arguments;
    char *texts;
} record;

void cairn_store_free(cairn_commit *commit)
{
    record *owned = (record *)(void *)commit;

    if (owned == NULL) {
        return;
    }
    free(owned->parts);
    free(owned->lamport);
    free(owned->vector);
    free(owned->arguments);
    free(owned->texts);
    free(owned);
}

static cairn_status get_record_head(const cairn_sealed_reader *reader, cairn_commit *commit, cairn_error *error)
{
    hid_t root = reader->file;
    uint32_t format = 0;
    cairn_status status = cairn_get_u32(reader, root, "format", &format, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (format != CAIRN_FORMAT) {
        return cairn_fail(error, CAIRN_E_VERSION, "%s: format %" PRIu32 "; this Cairn reads format %d", reader->path,
                          format, CAIRN_FORMAT);
    }
    if ((status = cairn_get_text(reader, root, "job", commit->job, sizeof commit->job, error)) != CAIRN_OK ||
        (status = cairn_get_text(reader, root, "run", commit->run, sizeof commit->run, error)) != CAIRN_OK ||
        (status = cairn_get_u64(reader, root, "number", &commit->number, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, root, "count", &commit->count, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, root, "incarnation", &commit->incarnation, error)) != CAIRN_OK ||
        (status = cairn_get_u64(reader, root, "step", &commit->step, error)) != CAIRN_OK ||
        (status = cairn_get_text(reader, root, "committed", commit->committed, sizeof commit->committed, error)) !=
            CAIRN_OK) {
        return status;
    }
    if (commit->count == 0 || commit->count > reader->bytes / sizeof(uint64_t)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: count: %" PRIu32 " processes", reader->path, commit->count);
    }
    return CAIRN_OK;
}

static cairn_status get_arguments(const cairn_sealed_reader *reader, record *owned, cairn_error *error)
{
    cairn_input input;
    void *texts = NULL;
    cairn_status status = cairn_input_open(reader, reader->file, "", "arguments", &input, NULL, error);

    if (status == CAIRN_OK &&
        (!input.text || input.rank != 1 || input.shape[0] > UINT32_MAX || (input.bytes == 0 && input.shape[0] != 0))) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: arguments: no list of texts", reader->path);
    }
    if (status == CAIRN_OK) {
        status = cairn_input_load(reader, &input, &texts, error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    owned->texts = texts;
    owned->arguments = calloc((size_t)input.shape[0] + 1, sizeof *owned->arguments);
    if (owned->arguments == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", reader->path);
    }
    for (uint64_t i = 0; i < input.shape[0]; i++) {
        owned->arguments[i] = owned->texts + i * input.element_bytes;
        if (memchr(owned->arguments[i], '\0', input.element_bytes) == NULL) {
            return cairn_fail(error, CAIRN_E_CORRUPT, "%s: arguments: a text without end", reader->path);
        }
    }
    owned->commit.argument_count = (uint32_t)input.shape[0];
    owned->commit.arguments = owned->arguments;
    return CAIRN_OK;
}

static cairn_status get_digests(const cairn_sealed_reader *reader, hid_t group, record *owned, cairn_error *error)
{
    cairn_input input;
    void *texts = NULL;
    cairn_status status = cairn_input_open(reader, group, "parts", "xxh3", &input, NULL, error);

    if (status == CAIRN_OK && (!input.text || input.rank != 1 || input.shape[0] != owned->commit.count ||
                               input.element_bytes != CAIRN_DIGEST_TEXT_BYTES)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: parts/xxh3: has another type or shape", reader->path);
    }
    if (status == CAIRN_OK) {
        status = cairn_input_load(reader, &input, &texts, error);
    }
    for (uint32_t i = 0; i < owned->commit.count && status == CAIRN_OK; i++) {
        const char *text = (const char *)texts + (size_t)i * CAIRN_DIGEST_TEXT_BYTES;

        if (!cairn_digest_parse(text, &owned->parts[i].digest) || text[CAIRN_DIGEST_TEXT_BYTES - 1] != '\0') {
            status =
                cairn_fail(error, CAIRN_E_CORRUPT, "%s: parts/xxh3: no checksum of process %" PRIu32, reader->path, i);
        }
    }
    free(texts);
    return status;
}

static cairn_status get_parts(const cairn_sealed_reader *reader, record *owned, cairn_error *error)
{
    hid_t group = cairn_group_open(reader, reader->file, "parts", error);
    uint64_t *bytes = NULL;
    cairn_status status;

    if (group < 0) {
        return CAIRN_E_CORRUPT;
    }
    status = cairn_get_table(reader, group, "parts", "bytes", owned->commit.count, 0, &bytes, error);
    if (status == CAIRN_OK) {
        owned->parts = calloc(owned->commit.count, sizeof *owned->parts);
        if (owned->parts == NULL) {
            status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", reader->path);
        }
    }
    if (status == CAIRN_OK) {
        for (uint32_t i = 0; i < owned->commit.count; i++) {
            owned->parts[i].bytes = bytes[i];
        }
        owned->commit.parts = owned->parts;
        status = get_digests(reader, group, owned, error);
    }
    free(bytes);
    (void)H5Gclose(group);
    return status;
}

static cairn_status get_cut(const cairn_sealed_reader *reader, record *owned, cairn_error *error)
{
    hid_t group = cairn_group_open(reader, reader->file, "cut", error);
    uint64_t count = owned->commit.count;
    cairn_status status;

    if (group < 0) {
        return CAIRN_E_CORRUPT;
    }
    status = cairn_get_table(reader, group, "cut", "lamport", count, 0, &owned->lamport, error);
    if (status == CAIRN_OK && H5Lexists(group, "vector", H5P_DEFAULT) > 0) {
        status = cairn_get_table(reader, group, "cut", "vector", count, count, &owned->vector, error);
    }
    owned->commit.lamport = owned->lamport;
    owned->commit.vector = owned->vector;
    (void)H5Gclose(group);
    return status;
}

cairn_status cairn_store_read(const char *dir, uint64_t number, cairn_commit **out, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_sealed_reader reader;
    record *owned = calloc(1, sizeof *owned);
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_status status = CAIRN_E_BUG;

    *out = NULL;
    cairn_store_record_path(path, sizeof path, dir, number);
    if (owned == NULL) {
        cairn_quiet_end(quiet);
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    }
    status = cairn_sealed_open(&reader, path, CAIRN_SEALED_SNAPSHOT, NULL, true, NULL, error);
    if (status == CAIRN_OK) {
        status = get_record_head(&reader, &owned->commit, error);
    }
    if (status == CAIRN_OK && owned->commit.number != number) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: is the commit record of snapshot %06" PRIu64, path,
                            owned->commit.number);
    }
    if (status == CAIRN_OK) {
        status = get_arguments(&reader, owned, error);
    }
    if (status == CAIRN_OK) {
        status = get_parts(&reader, owned, error);
    }
    if (status == CAIRN_OK) {
        status = get_cut(&reader, owned, error);
    }
    cairn_sealed_close(&reader);
    cairn_quiet_end(quiet);
    if (status != CAIRN_OK) {
        cairn_store_free(&owned->commit);
        return status;
    }
    *out = &owned->commit;
    return CAIRN_OK;
}
