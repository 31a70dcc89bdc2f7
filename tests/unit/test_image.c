/* A part's way to disk and back: all types, kinds and ranks, messages, slabs read by any other division. Damage:
 * test_damage.c. */
#include "snapshot/sealed.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <hdf5.h>

static char folder[PATH_ROOM];
static char file[PATH_ROOM + 32];

static void begin(void)
{
    sample_folder(folder);
    (void)snprintf(file, sizeof file, "%s/process-000001.h5", folder);
}

static void end(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0); /* HDF5 holds nothing */
    sample_remove(folder);
}

static cairn_part_head a_head(void)
{
    static const uint64_t sent[] = {1, 2, 3, 4, 5, 6};
    static const uint64_t received[] = {UINT64_MAX, 0, 7, 8, 9, 10};
    cairn_part_head head = {.job = "a job",
                            .run = SAMPLE_RUN,
                            .number = UINT64_MAX,
                            .process = 1,
                            .count = 3,
                            .incarnation = 4,
                            .step = UINT64_MAX,
                            .lamport = 77,
                            .sent = sent,
                            .received = received};

    return head;
}

/* One state of every type, kind and rank from 0 to 8, some of them without elements. */
static size_t make_states(cairn_state *states, uint64_t *seed)
{
    size_t count = 0;

    for (unsigned type = CAIRN_U8; type <= CAIRN_F64; type++) {
        for (unsigned kind = CAIRN_STATE_ARRAY; kind <= CAIRN_STATE_BYTES; kind++) {
            for (uint32_t rank = 0; rank <= CAIRN_DIMENSIONS_MAX; rank++) {
                cairn_state *state = &states[count];
                char *data;

                if ((kind == CAIRN_STATE_SLAB && rank == 0) ||
                    (kind == CAIRN_STATE_BYTES && (rank != 1 || type != CAIRN_U8))) {
                    continue;
                }
                *state = (cairn_state){.kind = (cairn_state_kind)kind, .type = (cairn_type)type, .rank = rank};
                (void)snprintf(state->name, sizeof state->name, "s-%u.%u_%u", type, kind, rank);
                state->bytes = cairn_type_bytes(state->type);
                state->flags = (uint32_t)(count % 2);
                for (uint32_t i = 0; i < rank; i++) {
                    state->shape[i] = sample_random(seed) % (count % 5 == 0 ? 3 : 4) + (count % 5 == 0 ? 0 : 1);
                    state->bytes *= state->shape[i];
                    if (kind == CAIRN_STATE_SLAB) {
                        state->offset[i] = sample_random(seed) % 10;
                        state->global_shape[i] = state->offset[i] + state->shape[i] + sample_random(seed) % 4;
                    }
                }
                data = malloc(state->bytes + 1);
                for (uint64_t i = 0; i < state->bytes; i++) {
                    data[i] = (char)sample_random(seed);
                }
                state->data = data;
                count++;
            }
        }
    }
    return count;
}

static bool same_state(const cairn_state *a, const cairn_state *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->type == b->type && a->rank == b->rank &&
           a->flags == b->flags && a->bytes == b->bytes && memcmp(a->shape, b->shape, sizeof a->shape) == 0 &&
           memcmp(a->global_shape, b->global_shape, sizeof a->global_shape) == 0 &&
           memcmp(a->offset, b->offset, sizeof a->offset) == 0;
}

static void states_round_trip(void)
{
    cairn_state states[300];
    uint64_t seed = 42;
    size_t count = make_states(states, &seed);
    cairn_part_head head = a_head();
    cairn_part_seal seal;
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};
    struct stat found;

    begin();
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, states, count, NULL, 0, &seal, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(stat(file, &found), 0);
    CU_ASSERT_EQUAL((uint64_t)found.st_size, seal.bytes);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, &seal, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_part_state_count(part), count);
    for (size_t i = 0; i < count; i++) {
        const cairn_state *back = cairn_part_find(part, states[i].name);
        char *data = malloc(states[i].bytes + 1);

        CU_ASSERT_PTR_NOT_NULL_FATAL(back);
        CU_ASSERT_TRUE(same_state(back, &states[i]));
        CU_ASSERT_PTR_NULL(back->data);
        CU_ASSERT_EQUAL(cairn_part_read(part, back, data, &error), CAIRN_OK);
        CU_ASSERT_EQUAL(memcmp(data, states[i].data, states[i].bytes), 0);
        free(data);
        free((void *)(uintptr_t)states[i].data);
    }
    CU_ASSERT_PTR_NULL(cairn_part_find(part, "nobody"));
    CU_ASSERT_PTR_NULL(cairn_part_state(part, count));
    cairn_part_close(part);
    cairn_part_close(NULL);
    end();
}

static void head_round_trip(void)
{
    static const uint64_t vector[] = {3, UINT64_MAX, 1};
    cairn_part_head head = a_head();
    const cairn_part_head *back;
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};

    begin();
    memset(head.job, 'j', sizeof head.job - 1); /* as long as can be */
    for (int with_vector = 0; with_vector < 2; with_vector++) {
        head.vector = with_vector ? vector : NULL;
        CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, NULL, 0, NULL, 0, NULL, &error), CAIRN_OK);
        CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
        back = cairn_part_get_head(part);
        CU_ASSERT_STRING_EQUAL(back->job, head.job);
        CU_ASSERT_STRING_EQUAL(back->run, head.run);
        CU_ASSERT_TRUE(back->number == head.number && back->process == 1 && back->count == 3 &&
                       back->incarnation == 4 && back->step == UINT64_MAX && back->lamport == 77);
        CU_ASSERT_EQUAL(memcmp(back->sent, head.sent, 48), 0);
        CU_ASSERT_EQUAL(memcmp(back->received, head.received, 48), 0);
        CU_ASSERT_TRUE(with_vector ? back->vector != NULL && memcmp(back->vector, vector, 24) == 0
                                   : back->vector == NULL);
        CU_ASSERT_EQUAL(cairn_part_state_count(part), 0);
        CU_ASSERT_EQUAL(cairn_part_message_count(part), 0);
        cairn_part_close(part);
    }
    end();
}

/* 10,000 processes: the vector clock is longer than what HDF5 keeps in an object header. */
static void head_of_many_processes(void)
{
    enum { COUNT = 10000 };
    uint64_t *table = calloc(2 * COUNT, sizeof *table);
    cairn_part_head head = a_head();
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};

    begin();
    for (uint64_t i = 0; i < 2 * COUNT; i++) {
        table[i] = i * i;
    }
    head.count = COUNT;
    head.process = COUNT - 1;
    head.vector = head.sent = head.received = table;
    (void)snprintf(file, sizeof file, "%s/process-%06d.h5", folder, COUNT - 1);
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, NULL, 0, NULL, 0, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(memcmp(cairn_part_get_head(part)->vector, table, COUNT * sizeof *table), 0);
    CU_ASSERT_EQUAL(memcmp(cairn_part_get_head(part)->sent, table, 2 * COUNT * sizeof *table), 0);
    cairn_part_close(part);
    free(table);
    end();
}

/* 20,000 messages of three senders in a random order, many of 0 bytes, some long: each channel keeps its order. */
static void messages_round_trip(void)
{
    enum { COUNT = 20000 };
    cairn_in_flight *messages = calloc(COUNT, sizeof *messages);
    cairn_part_head head = a_head();
    char *payload = malloc((3u << 20) + COUNT);
    size_t next[3] = {0, 0, 0};
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};
    uint64_t seed = 7;
    uint32_t last = 0;
    size_t wrong = 0;

    begin();
    for (size_t i = 0; i < (3u << 20) + COUNT; i++) {
        payload[i] = (char)sample_random(&seed);
    }
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t draw = sample_random(&seed);

        messages[i] = (cairn_in_flight){.from = (uint32_t)(draw % 3),
                                        .stream = (uint32_t)(draw >> 8) % CAIRN_STREAMS,
                                        .tag = (uint32_t)(draw >> 16),
                                        .sequence = i,
                                        .lamport = draw,
                                        .bytes = draw % 7 == 0 ? 0 : draw % 100,
                                        .payload = payload + i};
    }
    messages[5].bytes = 3u << 20; /* longer than what is gathered */
    messages[6].bytes = 1u << 20; /* exactly that                 */
    messages[7].bytes = (1u << 20) - 1;
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, NULL, 0, messages, COUNT, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_message_count(part), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const cairn_in_flight *back = cairn_part_message(part, i);
        size_t *at = &next[back->from];
        const cairn_in_flight *sent;

        while (messages[*at].from != back->from) {
            (*at)++;
        }
        sent = &messages[(*at)++];
        wrong += back->from < last || back->stream != sent->stream || back->tag != sent->tag ||
                 back->sequence != sent->sequence || back->lamport != sent->lamport || back->bytes != sent->bytes ||
                 memcmp(back->payload, sent->payload, sent->bytes) != 0;
        last = back->from;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_PTR_NULL(cairn_part_message(part, COUNT));
    cairn_part_close(part);
    free(messages);
    free(payload);
    end();
}

static void only_empty_messages(void)
{
    cairn_in_flight messages[2] = {{.from = 2, .sequence = 1}, {.from = 2, .sequence = 2, .stream = 1}};
    cairn_part_head head = a_head();
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};

    begin();
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, NULL, 0, messages, 2, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_part_message_count(part), 2);
    CU_ASSERT_EQUAL(cairn_part_message(part, 1)->sequence, 2);
    CU_ASSERT_EQUAL(cairn_part_message(part, 1)->bytes, 0);
    cairn_part_close(part);
    messages[1].from = 3; /* there are three processes */
    CU_ASSERT_EQUAL(cairn_part_write(folder, &head, NULL, 0, messages, 2, NULL, &error), CAIRN_E_INVALID);
    messages[1].from = 2;
    messages[1].stream = CAIRN_STREAMS;
    CU_ASSERT_EQUAL(cairn_part_write(folder, &head, NULL, 0, messages, 2, NULL, &error), CAIRN_E_INVALID);
    end();
}

static uint64_t volume(uint32_t rank, const uint64_t *shape)
{
    uint64_t product = 1;

    for (uint32_t i = 0; i < rank; i++) {
        product *= shape[i];
    }
    return product;
}

/* Element at `index` of the box [offset, offset + shape) of the global array: its number in the global array. */
static uint64_t global_number(uint32_t rank, const uint64_t *global, const uint64_t *offset, const uint64_t *shape,
                              uint64_t index, uint64_t *place)
{
    uint64_t number = 0;

    for (uint32_t i = rank; i > 0; i--) {
        place[i - 1] = offset[i - 1] + index % shape[i - 1];
        index /= shape[i - 1];
    }
    for (uint32_t i = 0; i < rank; i++) {
        number = number * global[i] + place[i];
    }
    return number;
}

/* Every element of the box that lies in the slab has its value, every other one is untouched. */
static void compare_box(cairn_part *part, const cairn_state *state, const uint64_t *offset, const uint64_t *shape,
                        uint64_t *wrong)
{
    uint64_t size = volume(state->rank, shape);
    uint32_t *box = malloc(size * sizeof *box + 1);
    uint64_t inside = 0;
    uint64_t elements = 0;
    cairn_error error = {CAIRN_OK, ""};

    memset(box, 0xee, size * sizeof *box);
    CU_ASSERT_EQUAL(cairn_part_read_slab(part, state, offset, shape, box, &elements, &error), CAIRN_OK);
    for (uint64_t i = 0; i < size; i++) {
        uint64_t place[CAIRN_DIMENSIONS_MAX];
        uint64_t number = global_number(state->rank, state->global_shape, offset, shape, i, place);
        bool in = true;

        for (uint32_t j = 0; j < state->rank; j++) {
            in = in && place[j] >= state->offset[j] && place[j] < state->offset[j] + state->shape[j];
        }
        inside += in;
        *wrong += box[i] != (in ? (uint32_t)number : 0xeeeeeeeeu);
    }
    *wrong += inside != elements;
    free(box);
}

static void random_slab(uint32_t rank, uint64_t longest, cairn_state *state, uint64_t *seed)
{
    *state = (cairn_state){.name = "slab", .kind = CAIRN_STATE_SLAB, .type = CAIRN_U32, .rank = rank, .bytes = 4};
    for (uint32_t i = 0; i < rank; i++) {
        state->global_shape[i] = 1 + sample_random(seed) % longest;
        state->offset[i] = sample_random(seed) % (state->global_shape[i] + 1);
        state->shape[i] = sample_random(seed) % 3 == 0
                              ? state->global_shape[i] - state->offset[i]
                              : sample_random(seed) % (state->global_shape[i] - state->offset[i] + 1);
        state->bytes *= state->shape[i];
    }
}

static void slab_boxes(uint32_t rank, uint64_t longest, unsigned boxes, uint64_t *seed, uint64_t *wrong)
{
    cairn_part_head head = a_head();
    cairn_state state;
    uint32_t *data;
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};

    random_slab(rank, longest, &state, seed);
    data = malloc(state.bytes + 1);
    for (uint64_t i = 0; i < state.bytes / 4; i++) {
        uint64_t place[CAIRN_DIMENSIONS_MAX];

        data[i] = (uint32_t)global_number(rank, state.global_shape, state.offset, state.shape, i, place);
    }
    state.data = data;
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, &state, 1, NULL, 0, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
    for (unsigned k = 0; k < boxes; k++) {
        cairn_state box;

        random_slab(rank, longest, &box, seed);
        for (uint32_t i = 0; i < rank; i++) {
            box.offset[i] = sample_random(seed) % (state.global_shape[i] + 1);
            box.shape[i] = k == 0 || sample_random(seed) % 3 == 0
                               ? state.global_shape[i] - box.offset[i]
                               : sample_random(seed) % (state.global_shape[i] - box.offset[i] + 1);
        }
        compare_box(part, cairn_part_find(part, "slab"), box.offset, box.shape, wrong);
    }
    cairn_part_close(part);
    free(data);
}

/* Random slabs of arrays of 1 to 8 dimensions against random boxes, element by element. */
static void slabs_by_any_division(void)
{
    uint64_t seed = 2026;
    uint64_t wrong = 0;

    begin();
    for (unsigned round = 0; round < 60; round++) {
        uint32_t rank = 1 + round % CAIRN_DIMENSIONS_MAX;

        slab_boxes(rank, rank <= 2 ? 60 : rank <= 4 ? 12 : 5, 12, &seed, &wrong);
    }
    slab_boxes(2, 3000, 3, &seed, &wrong); /* longer than the window that short runs are read through */
    slab_boxes(1, 2000000, 3, &seed, &wrong);
    CU_ASSERT_EQUAL(wrong, 0);
    end();
}

static void slab_wrong_use(void)
{
    static const uint64_t one[1] = {1};
    static const uint64_t ten[1] = {10};
    static const uint64_t huge[1] = {UINT64_MAX};
    uint8_t data[10] = {0};
    cairn_part_head head = a_head();
    cairn_state states[2] = {
        {.name = "array", .kind = CAIRN_STATE_ARRAY, .rank = 1, .shape = {10}, .data = data, .bytes = 10},
        {.name = "slab",
         .kind = CAIRN_STATE_SLAB,
         .rank = 1,
         .shape = {10},
         .global_shape = {10},
         .data = data,
         .bytes = 10}};
    cairn_part *part = NULL;
    uint64_t elements = 0;
    cairn_error error = {CAIRN_OK, ""};

    begin();
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, states, 2, NULL, 0, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_part_open(&part, file, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_part_read_slab(part, cairn_part_find(part, "array"), one, one, data, &elements, &error),
                    CAIRN_E_MISMATCH);
    CU_ASSERT_EQUAL(cairn_part_read_slab(part, cairn_part_find(part, "slab"), one, ten, data, &elements, &error),
                    CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_part_read_slab(part, cairn_part_find(part, "slab"), one, huge, data, &elements, &error),
                    CAIRN_E_INVALID);
    cairn_part_close(part);
    states[0].bytes = 9; /* does not fit the shape */
    CU_ASSERT_EQUAL(cairn_part_write(folder, &head, states, 2, NULL, 0, NULL, &error), CAIRN_E_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "array"));
    end();
}

/* The elements in the file are what HDF5 itself reads, with their types. */
static void hdf5_reads_the_same(void)
{
    float data[6] = {1, 2, 3, 4, 5, 6.5f};
    float back[6] = {0};
    cairn_part_head head = a_head();
    cairn_state state = {.name = "f",
                         .kind = CAIRN_STATE_ARRAY,
                         .type = CAIRN_F32,
                         .rank = 2,
                         .shape = {2, 3},
                         .data = data,
                         .bytes = 24};
    cairn_error error = {CAIRN_OK, ""};
    hid_t opened;
    hid_t dataset;

    begin();
    CU_ASSERT_EQUAL_FATAL(cairn_part_write(folder, &head, &state, 1, NULL, 0, NULL, &error), CAIRN_OK);
    opened = H5Fopen(file, H5F_ACC_RDONLY, H5P_DEFAULT);
    dataset = H5Dopen2(opened, "/state/f", H5P_DEFAULT);
    CU_ASSERT_TRUE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0);
    CU_ASSERT_EQUAL(memcmp(data, back, sizeof data), 0);
    (void)H5Dclose(dataset);
    (void)H5Fclose(opened);
    end();
}

/* A part of process 1 in `folder`, and its way to another one. */
static void copied_as_it_is(void)
{
    atomic_bool unwanted = false;
    cairn_part_seal seal;
    cairn_error error = {CAIRN_OK, ""};
    char to[PATH_ROOM + 8];
    char copy[PATH_ROOM + 40];
    char temporary[PATH_ROOM + 48];
    char source[PATH_ROOM];
    size_t bytes = 0;
    size_t copied = 0;
    char *before;
    char *after;

    begin();
    CU_ASSERT_EQUAL(sample_part(folder, SAMPLE_RUN, 3, 1, 2, &seal, &error), CAIRN_OK);
    cairn_store_part_path(source, sizeof source, folder, 3, 1);
    (void)snprintf(to, sizeof to, "%s/a/b", folder);
    (void)snprintf(copy, sizeof copy, "%s/process-000001.h5", to);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", copy);
    CU_ASSERT_EQUAL(cairn_part_copy(source, to, 1, &seal, &unwanted, &error), CAIRN_OK);
    before = sample_load(source, &bytes);
    after = sample_load(copy, &copied);
    CU_ASSERT_TRUE(after != NULL && bytes == copied && memcmp(before, after, bytes) == 0);
    free(before);
    free(after);
    CU_ASSERT_EQUAL(unlink(copy), 0);
    unwanted = true;
    CU_ASSERT_EQUAL(cairn_part_copy(source, to, 1, &seal, &unwanted, &error), CAIRN_E_STOPPED);
    CU_ASSERT_TRUE(!sample_exists(copy) && !sample_exists(temporary));
    seal.bytes++;
    CU_ASSERT_EQUAL(cairn_part_copy(source, to, 1, &seal, NULL, &error), CAIRN_E_CORRUPT);
    seal.bytes--;
    sample_flip(source, 0.7); /* the seal of the file is as it was */
    CU_ASSERT_EQUAL(cairn_part_copy(source, to, 1, &seal, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_TRUE(strstr(error.text, source) != NULL);
    CU_ASSERT_TRUE(!sample_exists(copy) && !sample_exists(temporary));
    CU_ASSERT_EQUAL(cairn_part_copy("/nonexistent", to, 1, &seal, NULL, &error), CAIRN_E_NOT_FOUND);
    end();
}

UNIT_MAIN("image", {"states of all types, kinds and ranks", states_round_trip}, {"head", head_round_trip},
          {"head of many processes", head_of_many_processes}, {"messages", messages_round_trip},
          {"only empty messages", only_empty_messages}, {"slabs by any division", slabs_by_any_division},
          {"wrong use", slab_wrong_use}, {"copied as it is", copied_as_it_is},
          {"HDF5 reads the same", hdf5_reads_the_same})
