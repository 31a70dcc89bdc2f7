/* cairn kv: keys and values on standard output. */
#include "cli/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kv_print_bytes(const void *data, size_t bytes)
{
    if (bytes > 0) {
        (void)fwrite(data, 1, bytes, stdout);
    }
}

/* RFC 4648, with padding. */
static json_t *base64(const uint8_t *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((bytes + 2) / 3 * 4 + 1);
    size_t length = 0;
    json_t *value;

    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < bytes; i += 3) {
        uint32_t left = (uint32_t)(bytes - i);
        uint32_t group = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)data[i + 2] : 0);

        text[length++] = digits[group >> 18];
        text[length++] = digits[group >> 12 & 63];
        text[length++] = left > 1 ? digits[group >> 6 & 63] : '=';
        text[length++] = left > 2 ? digits[group & 63] : '=';
    }
    value = json_stringn(text, length);
    free(text);
    return value;
}

void kv_json_bytes(json_t *object, const char *name, const void *data, size_t bytes)
{
    json_t *text = json_stringn(bytes > 0 ? data : "", bytes);

    if (text == NULL) { /* not UTF-8 */
        char encoding[32];

        (void)snprintf(encoding, sizeof encoding, "%s_encoding", name);
        (void)json_object_set_new(object, encoding, json_string("base64"));
        text = base64(data, bytes);
    }
    (void)json_object_set_new(object, name, text);
}

void kv_json_number(json_t *object, const char *name, uint64_t value)
{
    (void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

json_t *kv_json(const cairn_kv *entry)
{
    json_t *object = json_object();

    if (object != NULL) {
        kv_json_bytes(object, "key", entry->key, strlen(entry->key));
        kv_json_bytes(object, "value", entry->value, entry->bytes);
        kv_json_number(object, "created", entry->created);
        kv_json_number(object, "modified", entry->modified);
        kv_json_number(object, "version", entry->version);
        kv_json_number(object, "lease", entry->lease);
    }
    return object;
}

int kv_flush(int code)
{
    cairn_error error;

    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return code;
    }
    (void)cairn_fail(&error, CAIRN_E_IO, "standard output: %s", strerror(errno));
    return cairn_cli_fail("kv", &error);
}

int kv_print_json(json_t *object, int code)
{
    cairn_error error;

    if (object == NULL) {
        (void)cairn_fail(&error, CAIRN_E_NOMEM, "out of memory");
        return cairn_cli_fail("kv", &error);
    }
    if (json_dumpf(object, stdout, JSON_COMPACT) == 0) {
        (void)putchar('\n');
    }
    json_decref(object);
    return kv_flush(code);
}
