/* Images: written beside the older ones, and read back from the newest that is whole. */
#include "coord/image.h"
#include "coord/image_keys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { FORMAT = 1, NAME_LENGTH = 6 + 16 + 3, ADMIT_COLUMNS = 4 };

/* "image-" 16 hex digits ".h5" */
static bool parse_name(const char *name, uint64_t *slot)
{
    if (strlen(name) != NAME_LENGTH || strncmp(name, "image-", 6) != 0 || strcmp(name + 22, ".h5") != 0) {
        return false;
    }
    for (size_t i = 6; i < 22; i++) {
        if (!isdigit((unsigned char)name[i]) && !(name[i] >= 'a' && name[i] <= 'f')) {
            return false;
        }
    }
    *slot = strtoull(name + 6, NULL, 16);
    return true;
}

static bool is_leftover(const char *name)
{
    char whole[NAME_LENGTH + 1];
    uint64_t slot;

    if (strlen(name) != NAME_LENGTH + 4 || strcmp(name + NAME_LENGTH, ".tmp") != 0) {
        return false;
    }
    memcpy(whole, name, NAME_LENGTH);
    whole[NAME_LENGTH] = '\0';
    return parse_name(whole, &slot);
}

static cairn_status path_of(char path[CAIRN_PATH_BYTES], const char *folder, uint64_t slot, cairn_error *error)
{
    if (snprintf(path, CAIRN_PATH_BYTES, "%s/image-%016" PRIx64 ".h5", folder, slot) >= CAIRN_PATH_BYTES) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", folder);
    }
    return CAIRN_OK;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left < right) - (left > right);
}

/* The slots of the folder's images, newest first; what a writer left unfinished is removed if `sweep`. */
static cairn_status list_images(const char *folder, uint64_t **slots, size_t *count, bool sweep, cairn_error *error)
{
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    size_t room = 0;

    *slots = NULL;
    *count = 0;
    if (stream == NULL) {
        return cairn_fail_errno(error, errno, folder, "open the folder");
    }
    while ((entry = readdir(stream)) != NULL) {
        uint64_t slot;

        if (sweep && is_leftover(entry->d_name)) {
            (void)unlinkat(dirfd(stream), entry->d_name, 0);
        }
        if (!parse_name(entry->d_name, &slot)) {
            continue;
        }
        if (*count == room) {
            uint64_t *more = realloc(*slots, (room * 2 + 8) * sizeof *more);

            if (more == NULL) {
                free(*slots);
                *slots = NULL;
                (void)closedir(stream);
                return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", folder);
            }
            *slots = more;
            room = room * 2 + 8;
        }
        (*slots)[(*count)++] = slot;
    }
    (void)closedir(stream);
    if (*count > 1) {
        qsort(*slots, *count, sizeof **slots, newest_first);
    }
    return CAIRN_OK;
}

static cairn_status put_image(cairn_sealed_writer *writer, const cairn_image *image, cairn_state_machine *state,
                              cairn_error *error)
{
    const uint64_t shape[2] = {image->admit_count, ADMIT_COLUMNS}, bytes[1] = {image->bytes};
    uint64_t admits[MP_ACCEPTORS_MAX][ADMIT_COLUMNS];
    hid_t root = writer->file;
    cairn_status status;

    for (uint32_t i = 0; i < image->admit_count; i++) {
        admits[i][0] = image->admits[i].process;
        admits[i][1] = image->admits[i].generation;
        admits[i][2] = image->admits[i].storage;
        admits[i][3] = image->admits[i].ballot;
    }
    if ((status = cairn_put_u32(writer, root, "format", FORMAT, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "slot", image->slot, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "revision", cairn_state_revision(state), error)) != CAIRN_OK ||
        (status = cairn_put_dataset(writer, root, "state", H5T_STD_U8LE, 1, bytes, image->state, image->bytes,
                                    error)) != CAIRN_OK) {
        return status;
    }
    cairn_output output;
    status = cairn_output_begin(writer, &output, root, "admits", H5T_STD_U64LE, 2, shape, error);
    if (status == CAIRN_OK) {
        status = cairn_output_append(writer, &output, admits, image->admit_count * sizeof admits[0], false, error);
    }
    status = cairn_output_end(writer, &output, status, error);
    return status == CAIRN_OK ? cairn_image_put_keys(writer, state, error) : status;
}

/* Best effort: an image that stays costs room, no more. */
static void remove_older(const char *folder, uint64_t slot)
{
    uint64_t *slots;
    size_t count, older = 0;
    char path[CAIRN_PATH_BYTES];

    if (list_images(folder, &slots, &count, true, NULL) != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (slots[i] < slot && older++ > 0 && path_of(path, folder, slots[i], NULL) == CAIRN_OK) {
            (void)unlink(path);
        }
    }
    free(slots);
}

cairn_status cairn_image_write(const char *folder, const cairn_image *image, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_sealed_writer *writer = malloc(sizeof *writer);
    cairn_state_machine *state = NULL;
    cairn_status status = path_of(path, folder, image->slot, error);

    if (status == CAIRN_OK && writer == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    }
    if (status == CAIRN_OK && image->admit_count > MP_ACCEPTORS_MAX) {
        status = cairn_fail(error, CAIRN_E_INVALID, "%s: too many acceptors", path);
    }
    /* What cannot be loaded must not take the place of what can. */
    if (status == CAIRN_OK && (status = cairn_state_load(image->state, image->bytes, &state, error)) != CAIRN_OK) {
        status = cairn_wrap(error, status, "%s", path);
    }
    if (status == CAIRN_OK) {
        cairn_quiet quiet = cairn_quiet_begin();

        status = cairn_sealed_begin(writer, path, error);
        if (status == CAIRN_OK && (status = put_image(writer, image, state, error)) != CAIRN_OK) {
            cairn_sealed_abandon(writer);
        } else if (status == CAIRN_OK) {
            status = cairn_sealed_finish(writer, CAIRN_SEALED_IMAGE, NULL, error);
        }
        cairn_quiet_end(quiet);
    }
    if (status == CAIRN_OK) {
        remove_older(folder, image->slot);
    }
    cairn_state_free(state);
    free(writer);
    return status;
}

static cairn_status get_admits(const cairn_sealed_reader *reader, cairn_image *image, cairn_error *error)
{
    cairn_input input;
    void *data = NULL;
    cairn_status status = cairn_input_open(reader, reader->file, "", "admits", &input, NULL, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (input.text || input.type != CAIRN_U64 || input.rank != 2 || input.shape[0] > MP_ACCEPTORS_MAX ||
        input.shape[1] != ADMIT_COLUMNS) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: has another type or shape", reader->path, input.name);
    }
    status = cairn_input_load(reader, &input, &data, error);
    const uint64_t *values = data;
    for (uint64_t i = 0; status == CAIRN_OK && i < input.shape[0]; i++) {
        const uint64_t *row = &values[i * ADMIT_COLUMNS];

        if (row[0] > UINT32_MAX || row[1] > UINT32_MAX) {
            status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: an impossible process", reader->path, input.name);
        }
        image->admits[i] = (mp_admit){(uint32_t)row[0], (uint32_t)row[1], row[2], row[3]};
    }
    image->admit_count = (uint32_t)input.shape[0];
    free(data);
    return status;
}

static cairn_status get_image(const cairn_sealed_reader *reader, cairn_image *image, uint64_t slot, cairn_error *error)
{
    uint32_t format = 0;
    cairn_input input;
    void *data = NULL;
    cairn_status status = cairn_get_u32(reader, reader->file, "format", &format, error);

    if (status == CAIRN_OK && format != FORMAT) {
        status = cairn_fail(error, CAIRN_E_VERSION, "%s: format %" PRIu32 "; this Cairn reads format %d", reader->path,
                            format, FORMAT);
    }
    if (status != CAIRN_OK || (status = cairn_get_u64(reader, reader->file, "slot", &image->slot, error)) != CAIRN_OK) {
        return status;
    }
    if (image->slot != slot) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: is the image of another slot, %016" PRIx64, reader->path,
                          image->slot);
    }
    if ((status = get_admits(reader, image, error)) != CAIRN_OK ||
        (status = cairn_input_open(reader, reader->file, "", "state", &input, NULL, error)) != CAIRN_OK) {
        return status;
    }
    if (input.text || input.type != CAIRN_U8 || input.rank != 1) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: has another type or shape", reader->path, input.name);
    }
    status = cairn_input_load(reader, &input, &data, error);
    image->state = data;
    image->bytes = (size_t)input.bytes;
    return status;
}

static cairn_status read_one(const char *folder, uint64_t slot, cairn_image *image, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_sealed_reader reader;
    cairn_status status = path_of(path, folder, slot, error);

    *image = (cairn_image){0};
    if (status == CAIRN_OK) {
        status = cairn_sealed_open(&reader, path, CAIRN_SEALED_IMAGE, NULL, true, NULL, error);
    }
    if (status == CAIRN_OK) {
        status = get_image(&reader, image, slot, error);
        cairn_sealed_close(&reader);
    }
    return status;
}

cairn_status cairn_image_read(const char *folder, cairn_image *image, char passed_over[500], cairn_error *error)
{
    uint64_t *slots;
    size_t count;
    cairn_error fault = {CAIRN_OK, ""};
    cairn_status status = list_images(folder, &slots, &count, false, error);

    passed_over[0] = '\0';
    *image = (cairn_image){0};
    if (status != CAIRN_OK) {
        return status;
    }
    if (count == 0) {
        free(slots);
        return cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: no image", folder);
    }
    cairn_quiet quiet = cairn_quiet_begin();
    status = CAIRN_E_CORRUPT;
    for (size_t i = 0; i < count && status != CAIRN_OK && status != CAIRN_E_NOMEM; i++) {
        status = read_one(folder, slots[i], image, &fault);
        if (status != CAIRN_OK && passed_over[0] == '\0') {
            (void)snprintf(passed_over, 500, "%s", fault.text);
        }
    }
    cairn_quiet_end(quiet);
    free(slots);
    if (status == CAIRN_E_NOMEM) {
        (void)cairn_fail(error, status, "%s", fault.text);
    } else if (status != CAIRN_OK) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s", passed_over);
    }
    if (status != CAIRN_OK) {
        passed_over[0] = '\0';
        *image = (cairn_image){0};
    }
    return status;
}

void cairn_image_free(cairn_image *image)
{
    free((void *)(uintptr_t)image->state);
    *image = (cairn_image){0};
}
