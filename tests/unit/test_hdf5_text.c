/* HDF5 files as text: types, shapes, layouts, strings that need quotes; any range of rows and any size of pieces; what is
 * refused. */
#include "dataset/hdf5_text.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <hdf5.h>
#include <math.h>

#define ROWS 10000

static char folder[PATH_ROOM];
static char file[PATH_ROOM + 32];
static char *text;
static size_t length;
static cairn_error error;

static void begin(void)
{
    sample_folder(folder);
    (void)snprintf(file, sizeof file, "%s/table.h5", folder);
}

static void end(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0); /* HDF5 holds nothing */
    sample_remove(folder);
    free(text);
    text = NULL;
}

/* All of the text, `piece` bytes at a time. */
static cairn_status read_all(const char *inside, char delimiter, uint64_t first, uint64_t rows, size_t piece)
{
    cairn_hdf5_text *t = NULL;
    size_t got = piece;
    cairn_status status = cairn_hdf5_text_open(&t, file, inside, delimiter, first, rows, &error);

    free(text);
    text = calloc(1, 1);
    length = 0;
    while (status == CAIRN_OK && got == piece) {
        text = realloc(text, length + piece + 1);
        status = cairn_hdf5_text_read(t, text + length, piece, &got, &error);
        length += got;
        text[length] = '\0';
    }
    cairn_hdf5_text_close(t);
    return status;
}

static void put_dataset(hid_t where, const char *name, hid_t type, hid_t memory, int rank, const hsize_t *shape,
                        const hsize_t *chunk, const void *data)
{
    hid_t space = H5Screate_simple(rank, shape, NULL);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t dataset;

    if (chunk != NULL) {
        (void)H5Pset_chunk(list, rank, chunk);
        (void)H5Pset_deflate(list, 4);
    }
    dataset = H5Dcreate2(where, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CU_ASSERT(dataset >= 0 && H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    (void)H5Dclose(dataset);
    (void)H5Pclose(list);
    (void)H5Sclose(space);
}

static void a_group_is_a_table(void)
{
    static const int32_t whole[] = {-5, 0, INT32_MAX};
    static const uint64_t natural[] = {0, 7, UINT64_MAX};
    static const float real[] = {0.5F, NAN, -1e20F};
    static const char fixed[3][4] = {"ab", "abcd", "c "};
    static const char *const variable[] = {"plain", "a,b \"c\"\nd", ""};
    const hsize_t three = 3, two[2] = {2, 2}, chunk = 2;
    hid_t id, group, string, strings;

    begin();
    id = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    group = H5Gcreate2(id, "table", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    string = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(string, 4);
    (void)H5Tset_strpad(string, H5T_STR_NULLPAD);
    strings = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(strings, H5T_VARIABLE);
    put_dataset(group, "d whole", H5T_STD_I32BE, H5T_NATIVE_INT32, 1, &three, &chunk, whole);
    put_dataset(group, "a,natural", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, &three, NULL, natural);
    put_dataset(group, "b", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, &three, &chunk, real);
    put_dataset(group, "c", string, string, 1, &three, NULL, fixed);
    put_dataset(group, "e", strings, strings, 1, &three, NULL, variable);
    put_dataset(group, "no column", H5T_STD_I32LE, H5T_NATIVE_INT32, 2, two, NULL, (int32_t[4]){1, 2, 3, 4});
    (void)H5Tclose(string);
    (void)H5Tclose(strings);
    (void)H5Gclose(group);
    (void)H5Fclose(id);
    for (size_t piece = 1; piece < 300; piece += 23) {
        CU_ASSERT_EQUAL(read_all("table", 0, 0, UINT64_MAX, piece), CAIRN_OK);
        CU_ASSERT_STRING_EQUAL(text, "\"a,natural\",b,c,d whole,e\n"
                                     "0,0.5,ab,-5,plain\n"
                                     "7,,abcd,0,\"a,b \"\"c\"\"\nd\"\n"
                                     "18446744073709551615,-1.0000000200408773e+20,c ,2147483647,\n");
    }
    CU_ASSERT_EQUAL(read_all("table", ';', 1, 1, 64), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(text, "a,natural;b;c;d whole;e\n7;;abcd;0;\"a,b \"\"c\"\"\nd\"\n");
    CU_ASSERT_EQUAL(read_all("/table/no column", 0, 0, UINT64_MAX, 64), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(text, "c0,c1\n1,2\n3,4\n");
    CU_ASSERT_EQUAL(read_all("/table/d whole", 0, 5, 9, 64), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(text, "d whole\n");
    CU_ASSERT_EQUAL(read_all("/table/nope", 0, 0, 1, 64), CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, file) != NULL && strstr(error.text, "/table/nope") != NULL);
    CU_ASSERT_EQUAL(read_all("", 0, 0, 1, 64), CAIRN_E_INVALID); /* the root has no datasets */
    CU_ASSERT(strstr(error.text, "no datasets of one dimension") != NULL);
    end();
}

/* More than is read at once, and with a user block before it. */
static void ranges_put_together(void)
{
    int64_t *values = malloc(ROWS * sizeof *values);
    double *halves = malloc(ROWS * sizeof *halves);
    const hsize_t rows = ROWS, chunk = 333;
    hid_t list = H5Pcreate(H5P_FILE_CREATE);
    char head[4096] = "";
    char *whole;
    size_t at;
    hid_t id;
    FILE *raw;

    begin();
    (void)H5Pset_userblock(list, 1024);
    id = H5Fcreate(file, H5F_ACC_TRUNC, list, H5P_DEFAULT);
    for (int64_t i = 0; i < ROWS; i++) {
        values[i] = i * i;
        halves[i] = (double)i / 2;
    }
    put_dataset(id, "n", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, &rows, NULL, values);
    put_dataset(id, "x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, &rows, &chunk, halves);
    (void)H5Fclose(id);
    (void)H5Pclose(list);
    raw = fopen(file, "rb");
    CU_ASSERT_FATAL(raw != NULL && fread(head, 1, sizeof head, raw) == sizeof head);
    (void)fclose(raw);
    CU_ASSERT(cairn_is_hdf5(head, sizeof head) && !cairn_is_hdf5(head, 1024));
    CU_ASSERT_EQUAL(read_all("", 0, 0, UINT64_MAX, 1 << 16), CAIRN_OK);
    whole = strdup(text);
    CU_ASSERT_EQUAL(strncmp(whole, "n,x\n0,0\n1,0.5\n4,1\n", 18), 0);
    at = strlen("n,x\n");
    for (uint64_t first = 0; first < ROWS; first += 997) {
        CU_ASSERT_EQUAL(read_all("/", 0, first, 997, 1000), CAIRN_OK);
        CU_ASSERT_EQUAL(strncmp(whole + at, text + 4, length - 4), 0);
        at += length - 4;
    }
    CU_ASSERT_EQUAL(at, strlen(whole));
    free(whole);
    free(values);
    free(halves);
    end();
}

static void what_does_not_fit_is_refused(void)
{
    const hsize_t three = 3, two = 2;
    static const int32_t numbers[] = {1, 2, 3};
    hid_t id, space, source, list, dataset, opaque;
    size_t bytes = 0;
    char *data;

    begin();
    id = H5Fcreate(file, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put_dataset(id, "a", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, &three, NULL, numbers);
    put_dataset(id, "b", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, &two, NULL, numbers);
    space = H5Screate_simple(1, &three, NULL);
    source = H5Screate_simple(1, &three, NULL);
    list = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_virtual(list, space, "elsewhere.h5", "a", source);
    dataset = H5Dcreate2(id, "seen", H5T_STD_I32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CU_ASSERT(dataset >= 0);
    (void)H5Dclose(dataset);
    (void)H5Pclose(list);
    (void)H5Sclose(source);
    (void)H5Sclose(space);
    opaque = H5Tcreate(H5T_OPAQUE, 4);
    put_dataset(id, "opaque", opaque, opaque, 1, &three, NULL, numbers);
    (void)H5Tclose(opaque);
    (void)H5Fclose(id);
    CU_ASSERT_EQUAL(read_all("", 0, 0, 1, 64), CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "b has 2 rows, but a has 3") != NULL);
    CU_ASSERT_EQUAL(read_all("seen", 0, 0, 1, 64), CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "in other files") != NULL);
    CU_ASSERT_EQUAL(read_all("opaque", 0, 0, 1, 64), CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "neither numbers nor text") != NULL);
    CU_ASSERT_EQUAL(read_all("a", 0, 0, UINT64_MAX, 64), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(text, "a\n1\n2\n3\n");
    data = sample_load(file, &bytes);
    sample_save(file, data, bytes / 2);
    CU_ASSERT_EQUAL(read_all("a", 0, 0, 1, 64), CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, file) != NULL);
    sample_save(file, "station;temperature\n", 20);
    CU_ASSERT_EQUAL(read_all("", 0, 0, 1, 64), CAIRN_E_INVALID);
    free(data);
    (void)unlink(file);
    CU_ASSERT(read_all("", 0, 0, 1, 64) != CAIRN_OK);
    end();
}

UNIT_MAIN("hdf5 text", {"a group is a table", a_group_is_a_table}, {"ranges put together", ranges_put_together},
          {"what does not fit is refused", what_does_not_fit_is_refused})
