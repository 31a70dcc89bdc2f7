/* The snapshot readers against files that are sealed but wrong.
 *
 * A random change to a snapshot never gets past its seal, so this target seals what it is given, and reading goes on
 * behind it. Two kinds of input: a whole file (a part, or a commit record), and "recipe" followed by bytes, which steer
 * the making of an HDF5 file that is nearly a part: the right names, with attributes and datasets of wrong types,
 * shapes and layouts. HDF5's own checksums stop most changed files; what a recipe makes gets past them as well. */
#include "snapshot/sealed.h"
#include "support/snapshots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* HDF5 1.10 leaks what it read of a damaged file that it then failed to open. Our own leaks are still found. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\n";
}

static char folder[PATH_ROOM];
static char record_path[PATH_ROOM];
static char part_path[PATH_ROOM];

static void remove_folder(void)
{
    sample_remove(folder);
}

static void prepare(void)
{
    cairn_error error;

    if (folder[0] != '\0') {
        return;
    }
    (void)H5dont_atexit(); /* HDF5 1.10 keeps a damaged file that it failed to open, and complains of it at the end */
    sample_folder(folder);
    (void)atexit(remove_folder);
    cairn_store_part_path(part_path, sizeof part_path, folder, 7, 1);
    cairn_store_snapshot_path(record_path, sizeof record_path, folder, 7);
    if (cairn_make_folders(record_path, &error) != CAIRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    (void)strcat(record_path, "/snapshot.h5");
}

/* The wish is a must for the reader: what it lets through can be read without a fault. */
static void use_part(void)
{
    cairn_part *part = NULL;
    cairn_error error = {CAIRN_OK, ""};
    uint64_t sum = 0;

    if (cairn_part_open(&part, part_path, NULL, &error) != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < cairn_part_state_count(part); i++) {
        const cairn_state *state = cairn_part_state(part, i);
        uint64_t elements = 0;
        uint64_t box = cairn_type_bytes(state->type);
        void *memory = malloc((size_t)state->bytes + 1);

        if (cairn_part_read(part, state, memory, &error) != CAIRN_OK) {
            abort(); /* it was checked when the part was opened */
        }
        free(memory);
        for (uint32_t j = 0; j < state->rank && state->kind == CAIRN_STATE_SLAB && box <= 1u << 20; j++) {
            box *= state->shape[j] < 1u << 20 ? state->shape[j] : 1u << 21;
        }
        if (state->kind == CAIRN_STATE_SLAB && box <= 1u << 20) {
            memory = calloc(1, (size_t)box + 1);
            (void)cairn_part_read_slab(part, state, state->offset, state->shape, memory, &elements, &error);
            free(memory);
        }
    }
    for (size_t i = 0; i < cairn_part_message_count(part); i++) {
        const cairn_in_flight *message = cairn_part_message(part, i);

        for (uint64_t j = 0; j < message->bytes; j++) {
            sum += ((const uint8_t *)message->payload)[j];
        }
    }
    for (uint32_t i = 0; i < cairn_part_get_head(part)->count * CAIRN_STREAMS; i++) {
        sum += cairn_part_get_head(part)->sent[i] + cairn_part_get_head(part)->received[i];
    }
    if (sum == UINT64_MAX / 3) {
        printf("the sum is used\n"); /* so that the compiler reads all of it */
    }
    cairn_part_close(part);
}

static void use_record(void)
{
    cairn_commit *commit = NULL;
    cairn_error error = {CAIRN_OK, ""};

    if (cairn_store_read(folder, 7, &commit, &error) == CAIRN_OK) {
        size_t length = 0;

        for (uint32_t i = 0; i < commit->argument_count; i++) {
            length += strlen(commit->arguments[i]);
        }
        for (uint32_t i = 0; i < commit->count; i++) {
            length += commit->parts[i].bytes + commit->lamport[i];
        }
        if (length == SIZE_MAX / 3) {
            printf("the length is used\n");
        }
        cairn_store_free(commit);
    }
}

static void seal_and_save(const char *path, cairn_sealed_kind kind, uint8_t *file, size_t size)
{
    char block[CAIRN_SEAL_BYTES];
    cairn_part_seal seal = {size, cairn_digest_of(file + CAIRN_SEAL_BYTES, size - CAIRN_SEAL_BYTES)};

    cairn_seal_make(block, kind, seal);
    memcpy(file, block, sizeof block);
    (void)unlink(path); /* a new file is not flushed when it is closed; one that was cut to 0 is */
    sample_save(path, file, size);
}

/* The bytes of a recipe, one after the other; zeros, which mean "as it should be", when they are used up. */
typedef struct recipe {
    const uint8_t *data;
    size_t size;
} recipe;

static unsigned next(recipe *from)
{
    unsigned value = from->size > 0 ? from->data[0] : 0;

    from->data += from->size > 0;
    from->size -= from->size > 0;
    return value;
}

/* Rarely something else than `usual`. */
static uint64_t number(recipe *from, uint64_t usual)
{
    static const uint64_t odd[] = {0, 1, 2, 3, 4, 64, 255, 65536, UINT32_MAX, UINT64_MAX, UINT64_MAX / 2, 1u << 31};
    unsigned choice = next(from);

    return choice < 128 ? usual : odd[choice % 12];
}

static hid_t a_type(recipe *from, hid_t usual)
{
    hid_t type = H5I_INVALID_HID;

    switch (next(from)) {
    case 1:
        return H5Tcopy(H5T_STD_U64BE);
    case 2:
        return H5Tcopy(H5T_STD_U32LE);
    case 3:
        return H5Tcopy(H5T_IEEE_F64LE);
    case 4:
        type = H5Tcopy(H5T_C_S1);
        (void)H5Tset_size(type, H5T_VARIABLE);
        return type;
    case 5:
        type = H5Tcopy(H5T_C_S1);
        (void)H5Tset_size(type, 1 + next(from));
        return type;
    case 6:
        type = H5Tcreate(H5T_COMPOUND, 16);
        (void)H5Tinsert(type, "a", 0, H5T_STD_U64LE);
        return type;
    case 7:
        return H5Tvlen_create(H5T_STD_U64LE);
    case 8:
        return H5Tcreate(H5T_OPAQUE, 8);
    case 9:
        return H5Tcopy(H5T_STD_U8LE);
    default:
        return H5Tcopy(usual);
    }
}

/* HDF5 makes an attribute at once, in memory: `most` keeps those small. */
static hid_t a_space(recipe *from, int rank, const hsize_t *usual, hsize_t most)
{
    hsize_t shape[12];
    int dimensions = (int)(number(from, (uint64_t)rank) % 12);

    if (next(from) == 1) {
        return H5Screate(H5S_NULL);
    }
    for (int i = 0; i < dimensions; i++) {
        shape[i] = number(from, i < rank ? usual[i] : 2);
        shape[i] = shape[i] <= most ? shape[i] : most;
        most = shape[i] > 1 && most < UINT32_MAX ? most / shape[i] + 1 : most;
    }
    return dimensions == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(dimensions, shape, NULL);
}

/* `bytes` bytes of value are there; what is longer is not written. */
static void attribute(recipe *from, hid_t object, const char *name, hid_t usual, int rank, const hsize_t *shape,
                      const void *value, size_t bytes)
{
    hid_t type = a_type(from, usual);
    hid_t space = a_space(from, rank, shape, 64);
    hid_t made = next(from) == 1 ? H5I_INVALID_HID : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);

    if (made >= 0 && H5Tequal(type, usual) > 0 && (size_t)H5Aget_storage_size(made) <= bytes) {
        (void)H5Awrite(made, type, value);
    }
    (void)H5Aclose(made);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
}

static void text(recipe *from, hid_t object, const char *name, const char *usual)
{
    char value[300];
    hid_t type = H5Tcopy(H5T_C_S1);

    (void)snprintf(value, sizeof value, "%s", usual);
    value[next(from) % (strlen(value) + 1)] ^= (char)(next(from) & 0x7f);
    (void)H5Tset_size(type, strlen(usual) + 1);
    attribute(from, object, name, type, 0, NULL, value, sizeof value);
    (void)H5Tclose(type);
}

static void unsigned32(recipe *from, hid_t object, const char *name, uint32_t usual)
{
    uint32_t value = (uint32_t)number(from, usual);

    attribute(from, object, name, H5T_STD_U32LE, 0, NULL, &value, sizeof value);
}

static void unsigned64(recipe *from, hid_t object, const char *name, uint64_t usual)
{
    uint64_t value = number(from, usual);

    attribute(from, object, name, H5T_STD_U64LE, 0, NULL, &value, sizeof value);
}

/* A dataset with its xxh3 attribute. It stays open for more attributes. */
static hid_t dataset(recipe *from, hid_t parent, const char *name, hid_t usual, int rank, const hsize_t *shape,
                     const void *value, size_t bytes)
{
    hid_t type = a_type(from, usual);
    hid_t space = a_space(from, rank, shape, UINT64_MAX);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    unsigned layout = next(from);
    hsize_t chunk[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    char digest[CAIRN_DIGEST_TEXT_BYTES];
    hid_t made = H5I_INVALID_HID;
    hssize_t elements = H5Sget_simple_extent_npoints(space);

    if (layout == 1) {
        (void)H5Pset_layout(list, H5D_COMPACT);
    } else if (layout == 2 && H5Sget_simple_extent_ndims(space) > 0) {
        (void)H5Pset_chunk(list, H5Sget_simple_extent_ndims(space), chunk);
    } else if (layout == 3) {
        (void)H5Pset_external(list, "/etc/hostname", 0, H5F_UNLIMITED);
    } else if (layout != 4 && elements >= 0 && elements < 1 << 12) { /* 4: no space is allocated */
        (void)H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY);
        (void)H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
    }
    if (layout == 5) {
        (void)H5Lcreate_soft("/state", parent, name, H5P_DEFAULT, H5P_DEFAULT);
    } else if (layout == 6) {
        (void)H5Lcreate_external("other.h5", "/", parent, name, H5P_DEFAULT, H5P_DEFAULT);
    } else if (layout == 7) {
        (void)H5Gclose(H5Gcreate2(parent, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    } else if (layout == 2 && (elements < 0 || elements > 1 << 10)) {
        (void)H5Eclear2(H5E_DEFAULT); /* a chunk an element would take for ever */
    } else if (layout != 8) {
        made = H5Dcreate2(parent, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    }
    if (made >= 0 && H5Tequal(type, usual) > 0 && elements >= 0 && (uint64_t)elements <= bytes / H5Tget_size(type) &&
        layout != 3) {
        (void)H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
        bytes = (size_t)elements * H5Tget_size(type);
    }
    if (made >= 0) {
        cairn_digest_print(cairn_digest_of(value, bytes), digest);
        text(from, made, "xxh3", digest);
    }
    (void)H5Pclose(list);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    return made;
}

static void a_state(recipe *from, hid_t group, const char *name, const char *kind)
{
    static const double field[6] = {1, 2, 3, 4, 5, 6};
    static const hsize_t shape[2] = {2, 3};
    static const hsize_t two[1] = {2};
    uint64_t global[2] = {number(from, 4), number(from, 3)};
    uint64_t offset[2] = {number(from, 2), number(from, 0)};
    hid_t made = dataset(from, group, name, H5T_IEEE_F64LE, 2, shape, field, sizeof field);

    if (made >= 0) {
        text(from, made, "kind", kind);
        unsigned32(from, made, "flags", 0);
        attribute(from, made, "global_shape", H5T_STD_U64LE, 1, two, global, sizeof global);
        attribute(from, made, "offset", H5T_STD_U64LE, 1, two, offset, sizeof offset);
        (void)H5Dclose(made);
    }
}

static void cook_channels(recipe *from, hid_t file)
{
    static const hsize_t counts[2] = {3, 2};
    static const hsize_t rows[2] = {2, 5};
    static const hsize_t bytes[1] = {8};
    static const char *const senders[] = {"0002", "2", "0003", "00002", "-001", "9999999999999999999999"};
    uint64_t table[6] = {1, 2, 3, 4, 5, 6};
    uint64_t envelope[10] = {1, 2, number(from, 3), number(from, 5), number(from, 0),
                             2, 3, number(from, 4), number(from, 3), number(from, 1)};
    hid_t channels = H5Gcreate2(file, "channels", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t in = H5Gcreate2(channels, "in", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    unsigned which = next(from);
    hid_t sender = H5Gcreate2(in, senders[which < 200 ? 0 : which % 6], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    (void)H5Dclose(dataset(from, channels, "sent", H5T_STD_U64LE, 2, counts, table, sizeof table));
    (void)H5Dclose(dataset(from, channels, "received", H5T_STD_U64LE, 2, counts, table, sizeof table));
    (void)H5Dclose(dataset(from, sender, "envelope", H5T_STD_U64LE, 2, rows, envelope, sizeof envelope));
    (void)H5Dclose(dataset(from, sender, "payload", H5T_STD_U8LE, 1, bytes, "helloyou", 8));
    (void)H5Gclose(sender);
    (void)H5Gclose(in);
    (void)H5Gclose(channels);
}

static void cook(recipe *from)
{
    static const hsize_t three[1] = {3};
    uint64_t vector[3] = {1, 2, 3};
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file;
    hid_t states;

    (void)H5Pset_userblock(creation, CAIRN_SEAL_BYTES);
    (void)H5Pset_libver_bounds(list, next(from) == 1 ? H5F_LIBVER_EARLIEST : H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    (void)H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
    (void)unlink(part_path);
    file = H5Fcreate(part_path, H5F_ACC_TRUNC, creation, list);
    unsigned32(from, file, "format", 1);
    text(from, file, "job", "a job");
    text(from, file, "run", SAMPLE_RUN);
    unsigned64(from, file, "number", 7);
    unsigned32(from, file, "process", 1);
    unsigned32(from, file, "count", 3);
    unsigned32(from, file, "incarnation", 0);
    unsigned64(from, file, "step", 70);
    unsigned64(from, file, "lamport", 701);
    attribute(from, file, "vector", H5T_STD_U64LE, 1, three, vector, sizeof vector);
    states = H5Gcreate2(file, next(from) == 1 ? "stat" : "state", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    a_state(from, states, "field", "slab");
    a_state(from, states, next(from) == 1 ? "a name with blanks" : "other", "array");
    (void)H5Gclose(states);
    cook_channels(from, file);
    (void)H5Fclose(file);
    (void)H5Pclose(list);
    (void)H5Pclose(creation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cairn_quiet quiet;
    uint8_t *file = NULL;
    size_t bytes = 0;

    prepare();
    quiet = cairn_quiet_begin();
    if (size >= 6 && memcmp(data, "recipe", 6) == 0) {
        recipe from = {data + 6, size - 6};

        cook(&from);
        file = (uint8_t *)sample_load(part_path, &bytes);
        if (file != NULL && bytes >= CAIRN_SEAL_BYTES && bytes < 1u << 24) {
            seal_and_save(part_path, CAIRN_SEALED_PART, file, bytes);
            use_part();
        }
    } else if (size >= CAIRN_SEAL_BYTES && size < 1u << 22) {
        bool record = memcmp(data, "cairn snap", 10) == 0;

        file = malloc(size);
        memcpy(file, data, size);
        seal_and_save(record ? record_path : part_path, record ? CAIRN_SEALED_SNAPSHOT : CAIRN_SEALED_PART, file, size);
        if (record) {
            use_record();
        } else {
            use_part();
        }
    } else { /* too short for a seal: as it is */
        sample_save(part_path, data, size);
        use_part();
    }
    free(file);
    if (H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) != 0) {
        abort(); /* a reader has left something open */
    }
    cairn_quiet_end(quiet);
    return 0;
}
