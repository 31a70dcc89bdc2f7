/* Keys, values and revisions as datasets of their own, so that h5dump and h5py show what the service knew. Cairn itself
 * never reads them. */
#include "coord/image_keys.h"

#include <stdio.h>

/* What is collected of the keys; texts[i] leads into `text` when all is there. */
typedef struct listing {
    cairn_pack keys, values; /* texts with their NULs */
    cairn_pack revisions;    /* u64[count][3] */
    uint64_t count;
} listing;

/* As text: printable ASCII as it is, backslash as \\, all else as \xNN. */
static void put_escaped(cairn_pack *pack, const void *value, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = value;

    for (size_t i = 0; i < bytes; i++) {
        if (at[i] == '\\') {
            cairn_pack_bytes(pack, "\\\\", 2);
        } else if (at[i] >= ' ' && at[i] < 127) {
            cairn_pack_u8(pack, at[i]);
        } else {
            const char escape[4] = {'\\', 'x', digits[at[i] >> 4], digits[at[i] & 15]};

            cairn_pack_bytes(pack, escape, sizeof escape);
        }
    }
    cairn_pack_u8(pack, 0);
}

static cairn_status collect(cairn_state_machine *state, listing *list)
{
    char behind[CAIRN_KEY_MAX + 1];
    cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = "", .value = behind};
    cairn_response response;

    do {
        if (cairn_state_read(state, &request, &response) != CAIRN_OK) {
            return CAIRN_E_NOMEM;
        }
        for (size_t i = 0; i < response.kv_count; i++) {
            const cairn_kv *kv = &response.kvs[i];

            cairn_pack_bytes(&list->keys, kv->key, strlen(kv->key) + 1);
            put_escaped(&list->values, kv->value, kv->bytes);
            cairn_pack_u64(&list->revisions, kv->created);
            cairn_pack_u64(&list->revisions, kv->modified);
            cairn_pack_u64(&list->revisions, kv->version);
        }
        list->count += response.kv_count;
        if (response.more) {
            request.bytes = strlen(response.kvs[response.kv_count - 1].key);
            memcpy(behind, response.kvs[response.kv_count - 1].key, request.bytes);
        }
    } while (response.more);
    return cairn_pack_ok(&list->keys) && cairn_pack_ok(&list->values) && cairn_pack_ok(&list->revisions)
               ? CAIRN_OK
               : CAIRN_E_NOMEM;
}

/* A dataset of texts of any length: HDF5 keeps them in its heap. */
static cairn_status put_texts(cairn_sealed_writer *writer, const char *name, const cairn_pack *text, uint64_t count,
                              cairn_error *error)
{
    const char **texts = calloc((size_t)count + 1, sizeof(char *));
    const char *at = (const char *)text->data;
    hsize_t length = count;
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &length, NULL), dataset = H5I_INVALID_HID;
    cairn_status status = CAIRN_OK;

    if (texts == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", writer->temporary);
        goto out;
    }
    for (uint64_t i = 0; i < count; i++) {
        texts[i] = at;
        at += strlen(at) + 1;
    }
    if (type >= 0 && space >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0) {
        dataset = H5Dcreate2(writer->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (dataset < 0 || (count > 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) < 0)) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    }
out:
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == CAIRN_OK) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    }
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    free(texts);
    return status;
}

cairn_status cairn_image_put_keys(cairn_sealed_writer *writer, cairn_state_machine *state, cairn_error *error)
{
    listing list = {0};
    cairn_status status = collect(state, &list);
    const uint64_t shape[2] = {list.count, 3};

    if (status != CAIRN_OK) {
        status = cairn_fail(error, status, "%s: no memory for the list of keys", writer->temporary);
        goto out;
    }
    status = put_texts(writer, "keys", &list.keys, list.count, error);
    if (status == CAIRN_OK) {
        status = put_texts(writer, "values", &list.values, list.count, error);
    }
    if (status == CAIRN_OK) {
        cairn_output output;

        status = cairn_output_begin(writer, &output, writer->file, "revisions", H5T_STD_U64LE, 2, shape, error);
        if (status == CAIRN_OK) {
            status = cairn_output_append(writer, &output, list.revisions.data, list.revisions.bytes, false, error);
        }
        status = cairn_output_end(writer, &output, status, error);
    }
out:
    free(list.keys.data);
    free(list.values.data);
    free(list.revisions.data);
    return status;
}
