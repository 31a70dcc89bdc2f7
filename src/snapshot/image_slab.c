/* Reading elements of an open part: a whole state, or where a slab and a wanted box of the global array overlap. */
#include "snapshot/image_part.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define WINDOW_BYTES ((size_t)1 << 20)
#define PIECE_BYTES  ((size_t)1 << 18)

static const cairn_input *input_of(const cairn_part *part, const cairn_state *state)
{
    return &part->inputs[state - part->states];
}

/* In pieces, which are hashed while they are in the cache. */
cairn_status cairn_part_read(cairn_part *part, const cairn_state *state, void *data, cairn_error *error)
{
    const cairn_input *input = input_of(part, state);
    XXH3_state_t *hashing = XXH3_createState();
    XXH128_hash_t hash;
    cairn_status status = CAIRN_OK;

    if (hashing == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to check it", part->path);
    }
    (void)XXH3_128bits_reset(hashing);
    for (uint64_t at = 0; at < input->bytes && status == CAIRN_OK; at += PIECE_BYTES) {
        size_t bytes = input->bytes - at < PIECE_BYTES ? (size_t)(input->bytes - at) : PIECE_BYTES;

        status = cairn_read_at(part->reader.fd, (char *)data + at, bytes, input->offset + at, part->path, error);
        (void)XXH3_128bits_update(hashing, (char *)data + at, bytes);
    }
    hash = XXH3_128bits_digest(hashing);
    (void)XXH3_freeState(hashing);
    if (status == CAIRN_OK && (hash.high64 != input->digest.high || hash.low64 != input->digest.low)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s: changed while it was read", part->path, input->name);
    }
    return status;
}

/* The elements are visited in the order of the file; short runs come out of a window that moves along with them. */
typedef struct window {
    char *memory;
    uint64_t begin, end; /* the bytes of the dataset that it holds */
} window;

static cairn_status read_run(const cairn_part *part, const cairn_input *input, window *seen, uint64_t at, size_t bytes,
                             char *to, cairn_error *error)
{
    if (bytes >= WINDOW_BYTES) {
        return cairn_read_at(part->reader.fd, to, bytes, input->offset + at, part->path, error);
    }
    if (at < seen->begin || at + bytes > seen->end) {
        size_t length = input->bytes - at < WINDOW_BYTES ? (size_t)(input->bytes - at) : WINDOW_BYTES;
        cairn_status status =
            cairn_read_at(part->reader.fd, seen->memory, length, input->offset + at, part->path, error);

        if (status != CAIRN_OK) {
            seen->begin = seen->end = 0;
            return status;
        }
        seen->begin = at;
        seen->end = at + length;
    }
    memcpy(to, seen->memory + (at - seen->begin), bytes);
    return CAIRN_OK;
}

/* The box that slab and wish have in common, in elements. */
typedef struct overlap {
    uint32_t rank;
    uint64_t length[CAIRN_DIMENSIONS_MAX];
    uint64_t from[CAIRN_DIMENSIONS_MAX]; /* its start in the slab            */
    uint64_t to[CAIRN_DIMENSIONS_MAX];   /* its start in the caller's box    */
} overlap;

static bool find_overlap(const cairn_state *state, const uint64_t *offset, const uint64_t *shape, overlap *common)
{
    common->rank = state->rank;
    for (uint32_t i = 0; i < state->rank; i++) {
        uint64_t begin = state->offset[i] > offset[i] ? state->offset[i] : offset[i];
        uint64_t slab_end = state->offset[i] + state->shape[i];
        uint64_t box_end = offset[i] + shape[i];
        uint64_t end = slab_end < box_end ? slab_end : box_end;

        if (begin >= end) {
            return false;
        }
        common->length[i] = end - begin;
        common->from[i] = begin - state->offset[i];
        common->to[i] = begin - offset[i];
    }
    return true;
}

/* Copy run by run: a run is what is contiguous both in the slab and in the box. */
static cairn_status copy_overlap(const cairn_part *part, const cairn_state *state, const overlap *common,
                                 const uint64_t *shape, char *data, window *seen, uint64_t *elements,
                                 cairn_error *error)
{
    size_t element = cairn_type_bytes(state->type);
    uint64_t index[CAIRN_DIMENSIONS_MAX] = {0};
    uint32_t outer = common->rank - 1; /* dimensions [0, outer) are looped over */
    uint64_t run = common->length[outer];

    while (outer > 0 && common->length[outer] == state->shape[outer] && common->length[outer] == shape[outer]) {
        outer--;
        run *= common->length[outer];
    }
    for (;;) {
        uint64_t from = 0;
        uint64_t to = 0;
        uint32_t i;
        cairn_status status;

        for (i = 0; i < common->rank; i++) {
            from = from * state->shape[i] + common->from[i] + index[i];
            to = to * shape[i] + common->to[i] + index[i];
        }
        status = read_run(part, input_of(part, state), seen, from * element, (size_t)(run * element),
                          data + to * element, error);
        if (status != CAIRN_OK) {
            return status;
        }
        *elements += run;
        i = outer;
        while (i > 0 && ++index[i - 1] == common->length[i - 1]) {
            index[i - 1] = 0;
            i--;
        }
        if (i == 0) {
            return CAIRN_OK;
        }
    }
}

cairn_status cairn_part_read_slab(cairn_part *part, const cairn_state *state, const uint64_t *offset,
                                  const uint64_t *shape, void *data, uint64_t *elements, cairn_error *error)
{
    overlap common;
    window seen = {NULL, 0, 0};
    cairn_status status = CAIRN_OK;

    *elements = 0;
    if (state->kind != CAIRN_STATE_SLAB) {
        return cairn_fail(error, CAIRN_E_MISMATCH, "%s: state %s is no slab of a global array", part->path,
                          state->name);
    }
    for (uint32_t i = 0; i < state->rank; i++) {
        if (offset[i] > state->global_shape[i] || shape[i] > state->global_shape[i] - offset[i]) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: state %s: the box lies outside the global array", part->path,
                              state->name);
        }
    }
    if (!find_overlap(state, offset, shape, &common)) {
        return CAIRN_OK;
    }
    seen.memory = malloc(WINDOW_BYTES);
    if (seen.memory == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", part->path);
    }
    status = copy_overlap(part, state, &common, shape, data, &seen, elements, error);
    free(seen.memory);
    return status;
}
