/* Writing a process's part: image.h has the format. */
#include "snapshot/sealed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GATHER_BYTES ((size_t)1 << 20)

static const char *const kind_texts[] = {"array", "replicated", "slab", "bytes"};

static cairn_status put_head(cairn_sealed_writer *writer, const cairn_part_head *head, cairn_error *error)
{
    hid_t root = writer->file;
    char written[32];
    time_t now = time(NULL);
    struct tm utc;
    cairn_status status = CAIRN_E_BUG;

    if (gmtime_r(&now, &utc) == NULL || strftime(written, sizeof written, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        return cairn_fail(error, CAIRN_E_BUG, "%s: no time of day", writer->temporary);
    }
    if ((status = cairn_put_u32(writer, root, "format", CAIRN_FORMAT, error)) != CAIRN_OK ||
        (status = cairn_put_text(writer, root, "job", head->job, error)) != CAIRN_OK ||
        (status = cairn_put_text(writer, root, "run", head->run, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "number", head->number, error)) != CAIRN_OK ||
        (status = cairn_put_u32(writer, root, "process", head->process, error)) != CAIRN_OK ||
        (status = cairn_put_u32(writer, root, "count", head->count, error)) != CAIRN_OK ||
        (status = cairn_put_u32(writer, root, "incarnation", head->incarnation, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "step", head->step, error)) != CAIRN_OK ||
        (status = cairn_put_u64(writer, root, "lamport", head->lamport, error)) != CAIRN_OK ||
        (status = cairn_put_text(writer, root, "written", written, error)) != CAIRN_OK) {
        return status;
    }
    return head->vector != NULL ? cairn_put_u64s(writer, root, "vector", head->vector, head->count, error) : CAIRN_OK;
}

static cairn_status put_state(cairn_sealed_writer *writer, hid_t group, const cairn_state *state, cairn_error *error)
{
    cairn_output output;
    cairn_status status = cairn_output_begin(writer, &output, group, state->name, cairn_h5_type(state->type),
                                             state->rank, state->shape, error);

    if (status == CAIRN_OK && output.bytes != state->bytes) {
        status = cairn_fail(error, CAIRN_E_INVALID, "%s: state %s: %" PRIu64 " bytes do not fit its shape",
                            writer->temporary, state->name, state->bytes);
    }
    if (status == CAIRN_OK) {
        status = cairn_put_text(writer, output.dataset, "kind", kind_texts[state->kind], error);
    }
    if (status == CAIRN_OK) {
        status = cairn_put_u32(writer, output.dataset, "flags", state->flags, error);
    }
    if (status == CAIRN_OK && state->kind == CAIRN_STATE_SLAB) {
        status = cairn_put_u64s(writer, output.dataset, "global_shape", state->global_shape, state->rank, error);
        if (status == CAIRN_OK) {
            status = cairn_put_u64s(writer, output.dataset, "offset", state->offset, state->rank, error);
        }
    }
    if (status == CAIRN_OK) {
        status = cairn_output_append(writer, &output, state->data, state->bytes, true, error);
    }
    return cairn_output_end(writer, &output, status, error);
}

static cairn_status put_states(cairn_sealed_writer *writer, const cairn_state *states, size_t count, cairn_error *error)
{
    hid_t group = H5Gcreate2(writer->file, "state", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cairn_status status = CAIRN_OK;

    if (group < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "state");
    }
    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = put_state(writer, group, &states[i], error);
    }
    (void)H5Gclose(group);
    return status;
}

/* The messages of one sender, as indices into the caller's array. */
typedef struct channel {
    const cairn_in_flight *messages;
    const size_t *indices;
    size_t count;
} channel;

static cairn_status put_envelope(cairn_sealed_writer *writer, hid_t group, const channel *from, uint64_t *payload_bytes,
                                 cairn_error *error)
{
    uint64_t(*rows)[5] = calloc(from->count, sizeof *rows);
    uint64_t shape[2] = {from->count, 5};
    cairn_output output;
    cairn_status status;

    if (rows == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %zu messages", writer->temporary, from->count);
    }
    *payload_bytes = 0;
    for (size_t i = 0; i < from->count; i++) {
        const cairn_in_flight *message = &from->messages[from->indices[i]];

        rows[i][0] = message->sequence;
        rows[i][1] = message->lamport;
        rows[i][2] = message->tag;
        rows[i][3] = message->bytes;
        rows[i][4] = message->stream;
        *payload_bytes += message->bytes;
    }
    status = cairn_output_begin(writer, &output, group, "envelope", H5T_STD_U64LE, 2, shape, error);
    if (status == CAIRN_OK) {
        status = cairn_output_append(writer, &output, rows, from->count * sizeof *rows, false /* freed below */, error);
    }
    status = cairn_output_end(writer, &output, status, error);
    free(rows);
    return status;
}

/* Short messages are gathered, so that a million of them are not a million writes. */
static cairn_status append_payloads(cairn_sealed_writer *writer, cairn_output *output, const channel *from,
                                    cairn_error *error)
{
    char *gathered = malloc(GATHER_BYTES);
    size_t filled = 0;
    cairn_status status = CAIRN_OK;

    if (gathered == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", writer->temporary);
    }
    for (size_t i = 0; i < from->count && status == CAIRN_OK; i++) {
        const cairn_in_flight *message = &from->messages[from->indices[i]];
        size_t bytes = (size_t)message->bytes;

        if (filled > 0 && bytes > GATHER_BYTES - filled) {
            status = cairn_output_append(writer, output, gathered, filled, false, error);
            filled = 0;
        }
        if (status != CAIRN_OK || bytes == 0) {
            continue;
        }
        if (bytes > GATHER_BYTES) {
            status = cairn_output_append(writer, output, message->payload, bytes, true, error);
        } else {
            memcpy(gathered + filled, message->payload, bytes);
            filled += bytes;
        }
    }
    if (status == CAIRN_OK && filled > 0) {
        status = cairn_output_append(writer, output, gathered, filled, false, error);
    }
    free(gathered);
    return status;
}

static cairn_status put_channel(cairn_sealed_writer *writer, hid_t parent, uint32_t sender, const channel *from,
                                cairn_error *error)
{
    char name[16];
    uint64_t bytes = 0;
    cairn_output output;
    cairn_status status;
    hid_t group;

    (void)snprintf(name, sizeof name, "%04" PRIu32, sender);
    group = H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, name);
    }
    status = put_envelope(writer, group, from, &bytes, error);
    if (status == CAIRN_OK && bytes > 0) {
        status = cairn_output_begin(writer, &output, group, "payload", H5T_STD_U8LE, 1, &bytes, error);
        if (status == CAIRN_OK) {
            status = append_payloads(writer, &output, from, error);
        }
        status = cairn_output_end(writer, &output, status, error);
    }
    (void)H5Gclose(group);
    return status;
}

/* Put the messages in the order of senders, each sender's in the order given: begin[i] .. begin[i + 1] of indices. */
static cairn_status part_by_sender(const cairn_sealed_writer *writer, const cairn_in_flight *messages, size_t count,
                                   uint32_t senders, size_t *begin, size_t *indices, cairn_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (messages[i].from >= senders || messages[i].stream >= CAIRN_STREAMS) {
            return cairn_fail(error, CAIRN_E_INVALID,
                              "%s: a message in flight from process %" PRIu32 ", stream %" PRIu32, writer->temporary,
                              messages[i].from, messages[i].stream);
        }
        begin[messages[i].from + 1]++;
    }
    for (uint32_t i = 0; i < senders; i++) {
        begin[i + 1] += begin[i];
    }
    for (size_t i = 0; i < count; i++) {
        indices[begin[messages[i].from]++] = i;
    }
    for (uint32_t i = senders; i > 0; i--) {
        begin[i] = begin[i - 1];
    }
    begin[0] = 0;
    return CAIRN_OK;
}

static cairn_status put_in_flight(cairn_sealed_writer *writer, hid_t channels, const cairn_in_flight *messages,
                                  size_t count, uint32_t senders, cairn_error *error)
{
    size_t *begin = calloc((size_t)senders + 1, sizeof *begin);
    size_t *indices = calloc(count + 1, sizeof *indices);
    hid_t in = H5Gcreate2(channels, "in", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cairn_status status = CAIRN_E_BUG;

    if (begin == NULL || indices == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %zu messages", writer->temporary, count);
    } else if (in < 0) {
        status = cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "channels/in");
    } else {
        status = part_by_sender(writer, messages, count, senders, begin, indices, error);
        for (uint32_t i = 0; i < senders && status == CAIRN_OK; i++) {
            channel from = {messages, indices + begin[i], begin[i + 1] - begin[i]};

            if (from.count > 0) {
                status = put_channel(writer, in, i, &from, error);
            }
        }
    }
    free(begin);
    free(indices);
    (void)H5Gclose(in);
    return status;
}

static cairn_status put_channels(cairn_sealed_writer *writer, const cairn_part_head *head,
                                 const cairn_in_flight *messages, size_t count, cairn_error *error)
{
    hid_t channels = H5Gcreate2(writer->file, "channels", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    uint64_t shape[2] = {head->count, CAIRN_STREAMS};
    uint64_t bytes = (uint64_t)head->count * CAIRN_STREAMS * sizeof(uint64_t);
    cairn_status status;

    if (channels < 0) {
        return cairn_h5_fail(error, CAIRN_E_IO, writer->temporary, "channels");
    }
    status = cairn_put_dataset(writer, channels, "sent", H5T_STD_U64LE, 2, shape, head->sent, bytes, error);
    if (status == CAIRN_OK) {
        status = cairn_put_dataset(writer, channels, "received", H5T_STD_U64LE, 2, shape, head->received, bytes, error);
    }
    if (status == CAIRN_OK) {
        status = put_in_flight(writer, channels, messages, count, head->count, error);
    }
    (void)H5Gclose(channels);
    return status;
}

static cairn_status put_part(cairn_sealed_writer *writer, const cairn_part_head *head, const cairn_state *states,
                             size_t state_count, const cairn_in_flight *messages, size_t message_count,
                             cairn_error *error)
{
    cairn_status status = put_head(writer, head, error);

    if (status == CAIRN_OK) {
        status = put_states(writer, states, state_count, error);
    }
    if (status == CAIRN_OK) {
        status = put_channels(writer, head, messages, message_count, error);
    }
    return status;
}

cairn_status cairn_part_write(const char *dir, const cairn_part_head *head, const cairn_state *states,
                              size_t state_count, const cairn_in_flight *messages, size_t message_count,
                              cairn_part_seal *seal, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_sealed_writer *writer = malloc(sizeof *writer);
    unsigned made = 0;
    cairn_quiet quiet = cairn_quiet_begin();
    cairn_status status = CAIRN_E_BUG;

    if ((size_t)snprintf(path, sizeof path, "%s/process-%06" PRIu32 ".h5", dir, head->process) >= sizeof path) {
        status = cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", dir);
        goto out;
    }
    if (writer == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path);
        goto out;
    }
    status = cairn_make_folders_unsynced(dir, &made, error);
    if (status == CAIRN_OK) {
        status = cairn_sealed_begin(writer, path, error);
    }
    if (status != CAIRN_OK) {
        goto out;
    }
    writer->unwanted = head->unwanted;
    status = put_part(writer, head, states, state_count, messages, message_count, error);
    if (status != CAIRN_OK) {
        cairn_sealed_abandon(writer);
        goto out;
    }
    status = cairn_sealed_finish(writer, CAIRN_SEALED_PART, seal, error);
    if (status == CAIRN_OK) {
        /* Last, since by now the file system has most likely written these entries along with the file. */
        status = cairn_sync_above(dir, made, error);
        if (status != CAIRN_OK) {
            (void)unlink(path);
        }
    }
out:
    cairn_quiet_end(quiet);
    free(writer);
    return status;
}
