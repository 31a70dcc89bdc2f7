/* Reading a process's part without trust. After cairn_part_open HDF5 is done with the file: heads, messages and the
 * places of all states are in memory, and elements are read from the descriptor. */
#include "snapshot/image_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_texts[] = {"array", "replicated", "slab", "bytes"};

static cairn_status get_head(cairn_part *part, cairn_error *error)
{
    const cairn_sealed_reader *reader = &part->reader;
    cairn_part_head *head = &part->head;
    hid_t root = reader->file;
    uint32_t format = 0;
    cairn_status status = CAIRN_E_BUG;

    if ((status = cairn_get_u32(reader, root, "format", &format, error)) != CAIRN_OK) {
        return status;
    }
    if (format != CAIRN_FORMAT) {
        return cairn_fail(error, CAIRN_E_VERSION, "%s: format %" PRIu32 "; this Cairn reads format %d", reader->path,
                          format, CAIRN_FORMAT);
    }
    if ((status = cairn_get_text(reader, root, "job", head->job, sizeof head->job, error)) != CAIRN_OK ||
        (status = cairn_get_text(reader, root, "run", head->run, sizeof head->run, error)) != CAIRN_OK ||
        (status = cairn_get_u64(reader, root, "number", &head->number, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, root, "process", &head->process, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, root, "count", &head->count, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, root, "incarnation", &head->incarnation, error)) != CAIRN_OK ||
        (status = cairn_get_u64(reader, root, "step", &head->step, error)) != CAIRN_OK ||
        (status = cairn_get_u64(reader, root, "lamport", &head->lamport, error)) != CAIRN_OK) {
        return status;
    }
    /* The tables of messages sent and received have a row for each process, so the file bounds the count. */
    if (head->process >= head->count || head->count > reader->bytes / (CAIRN_STREAMS * sizeof(uint64_t))) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: process %" PRIu32 " of %" PRIu32 " processes", reader->path,
                          head->process, head->count);
    }
    if (cairn_has_attribute(root, "vector")) {
        part->vector = calloc(head->count, sizeof *part->vector);
        if (part->vector == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", reader->path);
        }
        head->vector = part->vector;
        return cairn_get_u64s(reader, root, "vector", part->vector, head->count, error);
    }
    return CAIRN_OK;
}

static bool is_name(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.");

    return length > 0 && length <= CAIRN_NAME_MAX && name[length] == '\0';
}

/* The slab lies inside the global array, and the bytes of that can be counted. */
static bool slab_fits(const cairn_state *state)
{
    uint64_t bytes = cairn_type_bytes(state->type);
    bool empty = false;

    for (uint32_t i = 0; i < state->rank; i++) {
        if (state->offset[i] > state->global_shape[i] || state->shape[i] > state->global_shape[i] - state->offset[i]) {
            return false;
        }
        empty = empty || state->global_shape[i] == 0;
    }
    for (uint32_t i = 0; i < state->rank && !empty; i++) {
        if (__builtin_mul_overflow(bytes, state->global_shape[i], &bytes)) {
            return false;
        }
    }
    return true;
}

static cairn_status get_attributes(const cairn_part *part, hid_t dataset, const cairn_input *input, cairn_state *state,
                                   cairn_error *error)
{
    const cairn_sealed_reader *reader = &part->reader;
    char kind[16];
    unsigned which = 0;
    cairn_status status;

    if ((status = cairn_get_text(reader, dataset, "kind", kind, sizeof kind, error)) != CAIRN_OK ||
        (status = cairn_get_u32(reader, dataset, "flags", &state->flags, error)) != CAIRN_OK) {
        return cairn_wrap(error, status, "%s", input->name);
    }
    while (which < 4 && strcmp(kind, kind_texts[which]) != 0) {
        which++;
    }
    state->kind = (cairn_state_kind)which;
    if (which == 4 || (state->kind == CAIRN_STATE_BYTES && (state->type != CAIRN_U8 || state->rank != 1))) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: an unknown kind of state", reader->path, input->name);
    }
    if (state->kind != CAIRN_STATE_SLAB) {
        return CAIRN_OK;
    }
    if (state->rank == 0) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: a slab without dimensions", reader->path, input->name);
    }
    if ((status = cairn_get_u64s(reader, dataset, "global_shape", state->global_shape, state->rank, error)) !=
            CAIRN_OK ||
        (status = cairn_get_u64s(reader, dataset, "offset", state->offset, state->rank, error)) != CAIRN_OK) {
        return cairn_wrap(error, status, "%s", input->name);
    }
    if (!slab_fits(state)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: its slab lies outside the global array", reader->path,
                          input->name);
    }
    return CAIRN_OK;
}

static cairn_status get_state(cairn_part *part, hid_t group, const char *name, bool check, cairn_state *state,
                              cairn_input *input, cairn_error *error)
{
    hid_t dataset = H5I_INVALID_HID;
    cairn_status status;

    if (!is_name(name)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: state: a name that no state can have", part->path);
    }
    status = cairn_input_open(&part->reader, group, "state", name, input, &dataset, error);
    if (status != CAIRN_OK) {
        return status;
    }
    if (input->text) {
        (void)H5Dclose(dataset);
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: an element type that Cairn does not write", part->path,
                          input->name);
    }
    memcpy(state->name, name, strlen(name) + 1);
    state->type = input->type;
    state->rank = input->rank;
    state->bytes = input->bytes;
    memcpy(state->shape, input->shape, sizeof state->shape);
    status = get_attributes(part, dataset, input, state, error);
    (void)H5Dclose(dataset);
    if (status == CAIRN_OK && check) {
        status = cairn_input_check(&part->reader, input, error);
    }
    return status;
}

static cairn_status get_states(cairn_part *part, bool check, cairn_error *error)
{
    hid_t group = cairn_group_open(&part->reader, part->reader.file, "state", error);
    char **names = NULL;
    size_t count = 0;
    cairn_status status = CAIRN_E_CORRUPT;

    if (group < 0) {
        return status;
    }
    /* Every entry takes more than 8 bytes of the file. */
    status = cairn_group_names(&part->reader, group, "state", part->reader.bytes / 8, &names, &count, error);
    if (status == CAIRN_OK) {
        part->states = calloc(count + 1, sizeof *part->states);
        part->inputs = calloc(count + 1, sizeof *part->inputs);
        if (part->states == NULL || part->inputs == NULL) {
            status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %zu states", part->path, count);
        }
    }
    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = get_state(part, group, names[i], check, &part->states[i], &part->inputs[i], error);
        part->state_count++;
    }
    cairn_names_free(names, count);
    (void)H5Gclose(group);
    return status;
}

/* "0003" is process 3, and there is one way to write it. */
static bool parse_sender(const char *name, uint32_t count, uint32_t *sender)
{
    char again[16];
    char *end = NULL;
    unsigned long value = name[0] >= '0' && name[0] <= '9' ? strtoul(name, &end, 10) : UINT32_MAX;

    if (value >= count) {
        return false;
    }
    *sender = (uint32_t)value;
    (void)snprintf(again, sizeof again, "%04" PRIu32, *sender);
    return strcmp(again, name) == 0;
}

static cairn_status more_messages(cairn_part *part, uint64_t count, cairn_error *error)
{
    cairn_in_flight *more = realloc(part->messages, (part->message_count + (size_t)count + 1) * sizeof *more);
    void **payloads = realloc(part->payloads, (part->payload_count + 1) * sizeof *payloads);

    if (more != NULL) {
        part->messages = more;
    }
    if (payloads != NULL) {
        part->payloads = payloads;
    }
    return more != NULL && payloads != NULL
               ? CAIRN_OK
               : cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %" PRIu64 " messages", part->path, count);
}

/* Turn rows of the envelope into messages whose payloads lie one after the other. */
static cairn_status take_rows(cairn_part *part, uint32_t sender, const uint64_t (*rows)[5], uint64_t count,
                              const char *payload, uint64_t payload_bytes, cairn_error *error)
{
    uint64_t at = 0;

    for (uint64_t i = 0; i < count; i++) {
        cairn_in_flight *message = &part->messages[part->message_count + i];

        if (rows[i][2] > UINT32_MAX || rows[i][4] >= CAIRN_STREAMS || rows[i][3] > payload_bytes - at) {
            return cairn_fail(error, CAIRN_E_CORRUPT,
                              "%s: channels/in/%04" PRIu32 "/envelope: row %" PRIu64 " is no message", part->path,
                              sender, i);
        }
        *message = (cairn_in_flight){.from = sender,
                                     .stream = (uint32_t)rows[i][4],
                                     .tag = (uint32_t)rows[i][2],
                                     .sequence = rows[i][0],
                                     .lamport = rows[i][1],
                                     .bytes = rows[i][3],
                                     .payload = payload != NULL ? payload + at : ""};
        at += rows[i][3];
    }
    if (at != payload_bytes) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s: channels/in/%04" PRIu32 "/payload: %" PRIu64 " bytes, its envelopes name %" PRIu64,
                          part->path, sender, payload_bytes, at);
    }
    part->message_count += (size_t)count;
    return CAIRN_OK;
}

static cairn_status get_payload(cairn_part *part, hid_t group, const char *name, cairn_input *input, cairn_error *error)
{
    void *payload = NULL;
    cairn_status status = cairn_input_open(&part->reader, group, name, "payload", input, NULL, error);

    if (status == CAIRN_OK && (input->text || input->type != CAIRN_U8 || input->rank != 1)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: has another type or shape", part->path, input->name);
    }
    if (status == CAIRN_OK) {
        status = cairn_input_load(&part->reader, input, &payload, error);
    }
    if (status == CAIRN_OK) {
        part->payloads[part->payload_count++] = payload;
    }
    return status;
}

static cairn_status get_channel(cairn_part *part, hid_t in, const char *sender_name, cairn_error *error)
{
    char name[64];
    cairn_input envelope;
    cairn_input payload = {.bytes = 0};
    void *rows = NULL;
    uint32_t sender = 0;
    hid_t group;
    cairn_status status;

    if (!parse_sender(sender_name, part->head.count, &sender)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: channels/in: an entry that names no process", part->path);
    }
    (void)snprintf(name, sizeof name, "channels/in/%04" PRIu32, sender);
    group = cairn_group_open(&part->reader, in, sender_name, error);
    if (group < 0) {
        return CAIRN_E_CORRUPT;
    }
    status = cairn_input_open(&part->reader, group, name, "envelope", &envelope, NULL, error);
    if (status == CAIRN_OK &&
        (envelope.text || envelope.type != CAIRN_U64 || envelope.rank != 2 || envelope.shape[1] != 5)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: has another type or shape", part->path, envelope.name);
    }
    if (status == CAIRN_OK) {
        status = cairn_input_load(&part->reader, &envelope, &rows, error);
    }
    if (status == CAIRN_OK) {
        status = more_messages(part, envelope.bytes / (5 * sizeof(uint64_t)), error);
    }
    if (status == CAIRN_OK && H5Lexists(group, "payload", H5P_DEFAULT) > 0) {
        status = get_payload(part, group, name, &payload, error);
    }
    if (status == CAIRN_OK) {
        status = take_rows(part, sender, rows, envelope.bytes / (5 * sizeof(uint64_t)),
                           payload.bytes > 0 ? part->payloads[part->payload_count - 1] : NULL, payload.bytes, error);
    }
    free(rows);
    (void)H5Gclose(group);
    return status;
}

static cairn_status get_in_flight(cairn_part *part, hid_t channels, cairn_error *error)
{
    hid_t in = cairn_group_open(&part->reader, channels, "in", error);
    char **names = NULL;
    size_t count = 0;
    cairn_status status;

    if (in < 0) {
        return CAIRN_E_CORRUPT;
    }
    status = cairn_group_names(&part->reader, in, "channels/in", part->head.count, &names, &count, error);
    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = get_channel(part, in, names[i], error);
    }
    cairn_names_free(names, count);
    (void)H5Gclose(in);
    return status;
}

static cairn_status get_channels(cairn_part *part, cairn_error *error)
{
    hid_t channels = cairn_group_open(&part->reader, part->reader.file, "channels", error);
    cairn_status status;

    if (channels < 0) {
        return CAIRN_E_CORRUPT;
    }
    status = cairn_get_table(&part->reader, channels, "channels", "sent", part->head.count, CAIRN_STREAMS, &part->sent,
                             error);
    if (status == CAIRN_OK) {
        status = cairn_get_table(&part->reader, channels, "channels", "received", part->head.count, CAIRN_STREAMS,
                                 &part->received, error);
    }
    if (status == CAIRN_OK) {
        part->head.sent = part->sent;
        part->head.received = part->received;
        status = get_in_flight(part, channels, error);
    }
    (void)H5Gclose(channels);
    return status;
}

cairn_status cairn_part_open_depth(cairn_part **out, const char *path, const cairn_part_seal *expected,
                                   cairn_part_depth depth, cairn_error *error)
{
    cairn_part *part = calloc(1, sizeof *part);
    cairn_status status = CAIRN_E_BUG;
    cairn_quiet quiet;

    *out = NULL;
    if (part == NULL || (part->path = strdup(path)) == NULL) {
        free(part);
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
    }
    quiet = cairn_quiet_begin();
    status = cairn_sealed_open(&part->reader, part->path, CAIRN_SEALED_PART, expected, depth != CAIRN_PART_SEAL, NULL,
                               error);
    if (status == CAIRN_OK) {
        status = get_head(part, error);
    }
    if (status == CAIRN_OK) {
        status = get_states(part, depth == CAIRN_PART_ALL, error);
    }
    if (status == CAIRN_OK) {
        status = get_channels(part, error);
    }
    cairn_sealed_release(&part->reader);
    cairn_quiet_end(quiet);
    if (status != CAIRN_OK) {
        cairn_part_close(part);
        return status;
    }
    *out = part;
    return CAIRN_OK;
}

cairn_status cairn_part_open(cairn_part **out, const char *path, const cairn_part_seal *expected, cairn_error *error)
{
    return cairn_part_open_depth(out, path, expected, CAIRN_PART_ALL, error);
}

void cairn_part_close(cairn_part *part)
{
    if (part == NULL) {
        return;
    }
    cairn_sealed_close(&part->reader);
    for (size_t i = 0; i < part->payload_count; i++) {
        free(part->payloads[i]);
    }
    free(part->payloads);
    free(part->messages);
    free(part->inputs);
    free(part->states);
    free(part->vector);
    free(part->sent);
    free(part->received);
    free(part->path);
    free(part);
}

const cairn_part_head *cairn_part_get_head(const cairn_part *part)
{
    return &part->head;
}

size_t cairn_part_state_count(const cairn_part *part)
{
    return part->state_count;
}

const cairn_state *cairn_part_state(const cairn_part *part, size_t index)
{
    return index < part->state_count ? &part->states[index] : NULL;
}

const cairn_state *cairn_part_find(const cairn_part *part, const char *name)
{
    for (size_t i = 0; i < part->state_count; i++) {
        if (strcmp(part->states[i].name, name) == 0) {
            return &part->states[i];
        }
    }
    return NULL;
}

size_t cairn_part_message_count(const cairn_part *part)
{
    return part->message_count;
}

const cairn_in_flight *cairn_part_message(const cairn_part *part, size_t index)
{
    return index < part->message_count ? &part->messages[index] : NULL;
}
