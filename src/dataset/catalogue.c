#include "dataset/catalogue.h"

#include "base/durable.h"
#include "snapshot/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT "cairn catalogue 1"

static const char *const type_names[] = {
    [CAIRN_SHARD_I64] = "i64", [CAIRN_SHARD_F64] = "f64", [CAIRN_SHARD_TEXT] = "text"};

const char *cairn_shard_type_name(cairn_shard_type type)
{
    return type_names[type];
}

void cairn_catalogue_free(cairn_catalogue *c)
{
    for (uint32_t i = 0; i < c->column_count; i++) {
        free(c->columns[i].name);
    }
    for (uint32_t i = 0; i < c->shard_count; i++) {
        free(c->shards[i].file);
    }
    for (uint32_t i = 0; i < c->place_count; i++) {
        free(c->places[i]);
    }
    free(c->columns);
    free(c->shards);
    free(c->places);
    *c = (cairn_catalogue){0};
}

/* ---------------------------------------------------------------- reading */

static bool take_column(cairn_catalogue_column *column, const json_t *from)
{
    const char *type = json_string_value(json_object_get(from, "type"));
    const char *name = json_string_value(json_object_get(from, "name"));

    column->name = name == NULL ? NULL : strdup(name);
    column->width = (uint32_t)json_integer_value(json_object_get(from, "width"));
    for (uint32_t i = 0; type != NULL && i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(type, type_names[i]) == 0) {
            column->type = (cairn_shard_type)i;
            return column->name != NULL && column->width > 0;
        }
    }
    return false;
}

static bool take_shard(cairn_catalogue_shard *shard, const json_t *from)
{
    const char *file = json_string_value(json_object_get(from, "file"));
    const char *digest = json_string_value(json_object_get(from, "xxh3"));
    json_int_t rows = json_integer_value(json_object_get(from, "rows"));
    json_int_t bytes = json_integer_value(json_object_get(from, "bytes"));

    if (file == NULL || file[0] == '\0' || strchr(file, '/') != NULL || digest == NULL || rows < 0 || bytes <= 0 ||
        !cairn_digest_parse(digest, &shard->seal.digest)) {
        return false;
    }
    shard->file = strdup(file);
    shard->rows = (uint64_t)rows;
    shard->seal.bytes = (uint64_t)bytes;
    return shard->file != NULL;
}

static bool take(cairn_catalogue *c, const json_t *root)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *columns = json_object_get(root, "columns"), *shards = json_object_get(root, "shards");
    size_t column_count = json_array_size(columns), shard_count = json_array_size(shards);
    const json_t *places;
    uint64_t rows = 0;

    if (format == NULL || strcmp(format, FORMAT) != 0 || column_count == 0 || shard_count == 0 ||
        column_count > UINT32_MAX || shard_count > UINT32_MAX) {
        return false;
    }
    c->columns = calloc(column_count, sizeof *c->columns);
    c->shards = calloc(shard_count, sizeof *c->shards);
    if (c->columns == NULL || c->shards == NULL) {
        return false;
    }
    for (; c->column_count < column_count; c->column_count++) {
        if (!take_column(&c->columns[c->column_count], json_array_get(columns, c->column_count))) {
            c->column_count++;
            return false;
        }
    }
    for (; c->shard_count < shard_count; c->shard_count++) {
        if (!take_shard(&c->shards[c->shard_count], json_array_get(shards, c->shard_count))) {
            c->shard_count++;
            return false;
        }
        rows += c->shards[c->shard_count].rows;
    }
    c->rows = rows;
    places = json_object_get(root, "places");
    c->places = calloc(json_array_size(places) + 1, sizeof *c->places);
    for (size_t i = 0; c->places != NULL && i < json_array_size(places); i++) {
        const char *place = json_string_value(json_array_get(places, i));

        c->places[i] = place == NULL ? NULL : strdup(place);
        if (c->places[i] == NULL) {
            return false;
        }
        c->place_count++;
    }
    return c->places != NULL && json_integer_value(json_object_get(root, "rows")) == (json_int_t)rows;
}

cairn_status cairn_catalogue_read(cairn_catalogue *catalogue, const char *path, cairn_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    json_error_t why;
    json_t *root;
    bool good;

    *catalogue = (cairn_catalogue){0};
    if (fd < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    root = json_loadfd(fd, 0, &why);
    (void)close(fd);
    if (root == NULL) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: no catalogue: line %d: %s", path, why.line, why.text);
    }
    good = take(catalogue, root);
    json_decref(root);
    if (!good) {
        cairn_catalogue_free(catalogue);
        return cairn_fail(error, CAIRN_E_INVALID, "%s: not a catalogue that this version writes", path);
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- writing */

cairn_status cairn_catalogue_write(const cairn_catalogue *c, const char *path, cairn_error *error)
{
    json_t *columns = json_array(), *shards = json_array(), *places = json_array();
    json_t *root;
    char *text;
    cairn_status status;

    for (uint32_t i = 0; i < c->column_count; i++) {
        (void)json_array_append_new(columns, json_pack("{s:o, s:s, s:I}", "name", cairn_json_text(c->columns[i].name),
                                                       "type", type_names[c->columns[i].type], "width",
                                                       (json_int_t)c->columns[i].width));
    }
    for (uint32_t i = 0; i < c->shard_count; i++) {
        char digest[CAIRN_DIGEST_TEXT_BYTES];

        cairn_digest_print(c->shards[i].seal.digest, digest);
        (void)json_array_append_new(shards, json_pack("{s:s, s:I, s:I, s:s}", "file", c->shards[i].file, "rows",
                                                      (json_int_t)c->shards[i].rows, "bytes",
                                                      (json_int_t)c->shards[i].seal.bytes, "xxh3", digest));
    }
    for (uint32_t i = 0; i < c->place_count; i++) {
        (void)json_array_append_new(places, json_string(c->places[i]));
    }
    if (json_array_size(columns) != c->column_count || json_array_size(shards) != c->shard_count ||
        json_array_size(places) != c->place_count) {
        json_decref(columns);
        json_decref(shards);
        json_decref(places);
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to write it, or what it names is not UTF-8", path);
    }
    root = json_pack("{s:s, s:I, s:o, s:o, s:o}", "format", FORMAT, "rows", (json_int_t)c->rows, "columns", columns,
                     "shards", shards, "places", places);
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    if (text == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to write it", path);
    }
    status = cairn_replace_file(path, text, strlen(text), error);
    free(text);
    return status;
}
