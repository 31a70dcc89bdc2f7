/* DIR/run.json. {"format":1,"run":"0123456789abcdef","finished":false,"launches":1,"arguments":["scan",...]}
 * and, if there are snapshots on the hosts, "local":"/their/folder".
 * JSON holds Unicode only; an argument that is none is a list of its bytes instead of a text. */
#include "base/durable.h"
#include "snapshot/json.h"
#include "snapshot/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_BYTES_MAX ((off_t)64 << 20)

json_t *cairn_json_text(const char *text)
{
    json_t *value = json_string(text);

    if (value != NULL) {
        return value;
    }
    value = json_array();
    for (const char *c = text; value != NULL && *c != '\0'; c++) {
        if (json_array_append_new(value, json_integer((unsigned char)*c)) != 0) {
            json_decref(value);
            value = NULL;
        }
    }
    return value;
}

/* malloc'ed, or NULL: not what cairn_json_text makes, or no memory. */
static char *text_of(const json_t *value)
{
    size_t length;
    char *text;

    if (json_is_string(value)) {
        length = json_string_length(value);
        return strlen(json_string_value(value)) == length ? strdup(json_string_value(value)) : NULL;
    }
    length = json_is_array(value) ? json_array_size(value) : 0;
    text = json_is_array(value) ? calloc(length + 1, 1) : NULL;
    for (size_t i = 0; text != NULL && i < length; i++) {
        json_int_t byte = json_integer_value(json_array_get(value, i));

        if (byte < 1 || byte > 255) {
            free(text);
            return NULL;
        }
        text[i] = (char)(unsigned char)byte;
    }
    return text;
}

static cairn_status take_record(const json_t *root, const char *path, cairn_run_record *record, cairn_error *error)
{
    const json_t *run = json_object_get(root, "run");
    const json_t *finished = json_object_get(root, "finished");
    const json_t *launches = json_object_get(root, "launches");
    const json_t *arguments = json_object_get(root, "arguments");
    const json_t *format = json_object_get(root, "format");
    const json_t *local = json_object_get(root, "local");

    if (!json_is_integer(format)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: format is missing", path);
    }
    if (json_integer_value(format) != CAIRN_FORMAT) {
        return cairn_fail(error, CAIRN_E_VERSION, "%s: format %lld; this Cairn reads format %d", path,
                          (long long)json_integer_value(format), CAIRN_FORMAT);
    }
    if (!json_is_string(run) || json_string_length(run) != CAIRN_RUN_BYTES - 1 ||
        strspn(json_string_value(run), "0123456789abcdef") != CAIRN_RUN_BYTES - 1) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: run is not 16 hex digits", path);
    }
    if (!json_is_boolean(finished) || !json_is_integer(launches) || json_integer_value(launches) < 0 ||
        json_integer_value(launches) > UINT32_MAX || !json_is_array(arguments) ||
        json_array_size(arguments) > UINT32_MAX) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: finished, launches or arguments is missing or wrong", path);
    }
    memcpy(record->run, json_string_value(run), CAIRN_RUN_BYTES);
    record->finished = json_is_true(finished);
    record->launches = (uint32_t)json_integer_value(launches);
    record->arguments = calloc(json_array_size(arguments) + 1, sizeof *record->arguments);
    if (record->arguments == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    }
    record->local = local == NULL ? NULL : text_of(local);
    if (local != NULL && record->local == NULL) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: local is no text", path);
    }
    for (size_t i = 0; i < json_array_size(arguments); i++) {
        record->arguments[i] = text_of(json_array_get(arguments, i));
        if (record->arguments[i] == NULL) {
            return cairn_fail(error, CAIRN_E_CORRUPT, "%s: argument %zu is no text", path, i);
        }
        record->argument_count++;
    }
    return CAIRN_OK;
}

static cairn_status load(const char *path, char **text, size_t *bytes, cairn_error *error)
{
    struct stat found;
    cairn_status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *text = NULL;
    if (fd < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size > RECORD_BYTES_MAX) {
        (void)close(fd);
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: not a file that Cairn wrote", path);
    }
    *bytes = (size_t)found.st_size;
    *text = malloc(*bytes + 1);
    status = *text == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path)
                           : cairn_read_at(fd, *text, *bytes, 0, path, error);
    (void)close(fd);
    return status;
}

cairn_status cairn_run_record_read(const char *dir, cairn_run_record **out, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    json_error_t fault;
    json_t *root = NULL;
    cairn_run_record *record = NULL;
    cairn_status status;

    *out = NULL;
    (void)snprintf(path, sizeof path, "%s/run.json", dir);
    status = load(path, &text, &bytes, error);
    if (status != CAIRN_OK) {
        goto out;
    }
    root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    record = calloc(1, sizeof *record);
    if (root == NULL) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: line %d: %s", path, fault.line, fault.text);
    } else if (record == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    } else {
        status = take_record(root, path, record, error);
    }
    if (status == CAIRN_OK) {
        *out = record;
        record = NULL;
    }
out:
    cairn_run_record_free(record);
    json_decref(root);
    free(text);
    return status;
}

cairn_status cairn_run_record_write(const char *dir, const cairn_run_record *record, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    json_t *arguments = json_array();
    json_t *root = NULL;
    char *text = NULL;
    bool good = arguments != NULL;
    cairn_status status;

    (void)snprintf(path, sizeof path, "%s/run.json", dir);
    for (uint32_t i = 0; i < record->argument_count && good; i++) {
        good = json_array_append_new(arguments, cairn_json_text(record->arguments[i])) == 0;
    }
    root = json_pack("{s:i, s:s, s:b, s:I, s:O}", "format", CAIRN_FORMAT, "run", record->run, "finished",
                     record->finished ? 1 : 0, "launches", (json_int_t)record->launches, "arguments", arguments);
    if (root != NULL && record->local != NULL) {
        good = good && json_object_set_new(root, "local", cairn_json_text(record->local)) == 0;
    }
    text = good && root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    status = text != NULL ? cairn_make_folders(dir, error) : cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    if (status == CAIRN_OK) {
        status = cairn_replace_file(path, text, strlen(text), error);
    }
    free(text);
    json_decref(root);
    json_decref(arguments);
    return status;
}

void cairn_run_record_free(cairn_run_record *record)
{
    if (record == NULL) {
        return;
    }
    for (uint32_t i = 0; record->arguments != NULL && i < record->argument_count; i++) {
        free(record->arguments[i]);
    }
    free(record->arguments);
    free(record->local);
    free(record);
}
