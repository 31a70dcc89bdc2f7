/* Goal: an image is read back as it was written; whatever byte of the newest one is damaged, the older one is used and
 * that is told; a write that fails leaves the older ones as they were.
 * Method: images of a real state in a folder of their own; every 64th byte of the newest changed, and cuts at many
 * lengths. The full disk is a limit on the size of files, in a child process. */
#include "coord/image.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char folder[PATH_ROOM];

static cairn_pack saved_state(int keys)
{
    cairn_state_machine *state = cairn_state_new();
    cairn_pack pack = {0};
    cairn_applied applied;

    for (int i = 0; i < keys; i++) {
        char key[32];
        const cairn_do put = {CAIRN_DO_PUT, key, "va\\l\n\xff", 6, 0};
        const cairn_question command = {.op = CAIRN_OP_TXN, .txn = {.then = &put, .then_count = 1}};

        (void)snprintf(key, sizeof key, "key/%04d", i);
        CU_ASSERT_FATAL(cairn_state_apply(state, &command, &applied) == CAIRN_OK);
    }
    CU_ASSERT_FATAL(cairn_state_save(state, &pack) == CAIRN_OK);
    cairn_state_free(state);
    return pack;
}

static void write_image(uint64_t slot, int keys)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_pack pack = saved_state(keys);
    cairn_image image = {.slot = slot,
                         .admit_count = 3,
                         .admits = {{0, 1, slot, 5}, {1, 2, UINT64_MAX, UINT64_MAX}, {2, 1, 7, 0}},
                         .state = pack.data,
                         .bytes = pack.bytes};

    if (cairn_image_write(folder, &image, &error) != CAIRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        CU_FAIL_FATAL("write");
    }
    free(pack.data);
}

static char *path_of(uint64_t slot)
{
    static char path[PATH_ROOM + 64];

    (void)snprintf(path, sizeof path, "%s/image-%016" PRIx64 ".h5", folder, slot);
    return path;
}

static void expect(uint64_t slot, int keys, const char *told)
{
    char passed_over[500];
    cairn_image image;
    cairn_error error = {CAIRN_OK, ""};
    cairn_pack pack = saved_state(keys);
    cairn_status status = cairn_image_read(folder, &image, passed_over, &error);

    CU_ASSERT_FATAL(status == CAIRN_OK);
    CU_ASSERT(image.slot == slot && image.bytes == pack.bytes && memcmp(image.state, pack.data, pack.bytes) == 0);
    CU_ASSERT(image.admit_count == 3 && image.admits[0].storage == slot && image.admits[1].generation == 2);
    CU_ASSERT(image.admits[1].storage == UINT64_MAX && image.admits[2].process == 2 && image.admits[0].ballot == 5);
    CU_ASSERT(told[0] == '\0' ? passed_over[0] == '\0' : strstr(passed_over, told) != NULL);
    cairn_image_free(&image);
    free(pack.data);
}

static cairn_status read_status(cairn_error *error)
{
    char passed_over[500];
    cairn_image image;
    cairn_status status = cairn_image_read(folder, &image, passed_over, error);

    CU_ASSERT(image.state == NULL && passed_over[0] == '\0');
    return status;
}

static void image_round_trip(void)
{
    char leftover[PATH_ROOM + 70];
    cairn_error error;

    sample_folder(folder);
    CU_ASSERT(read_status(&error) == CAIRN_E_NOT_FOUND);
    write_image(5, 0);
    expect(5, 0, "");
    write_image(UINT64_MAX / 3, 100);
    expect(UINT64_MAX / 3, 100, "");
    CU_ASSERT(access(path_of(5), F_OK) == 0); /* the newest older one stays */
    sample_save(path_of(77), "x", 1);
    (void)snprintf(leftover, sizeof leftover, "%s.tmp", path_of(6));
    sample_save(leftover, "x", 1);
    write_image(UINT64_MAX / 3 + 1, 101);
    CU_ASSERT(access(leftover, F_OK) != 0);
    CU_ASSERT(access(path_of(5), F_OK) != 0 && access(path_of(77), F_OK) != 0);
    CU_ASSERT(access(path_of(UINT64_MAX / 3), F_OK) == 0);
    expect(UINT64_MAX / 3 + 1, 101, "");
    CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    sample_remove(folder);
    CU_ASSERT(read_status(&error) == CAIRN_E_NOT_FOUND);
}

static void image_damage(void)
{
    size_t bytes = 0;
    cairn_error error;

    sample_folder(folder);
    write_image(1, 20);
    write_image(2, 21);
    char *good = sample_load(path_of(2), &bytes), *bad = malloc(bytes);
    CU_ASSERT_FATAL(good != NULL && bad != NULL && bytes > 4096);
    for (size_t i = 0; i < bytes; i += 64) {
        memcpy(bad, good, bytes);
        bad[i + (i / 64) % 64 % (bytes - i)] ^= (char)(1 << i / 64 % 8);
        sample_save(path_of(2), bad, bytes);
        expect(1, 20, "image-0000000000000002.h5");
    }
    for (size_t i = 0; i < bytes; i += 509) {
        sample_save(path_of(2), good, i);
        expect(1, 20, "image-0000000000000002.h5");
    }
    sample_save(path_of(1), good, bytes); /* whole, but not of this slot */
    CU_ASSERT(read_status(&error) == CAIRN_E_CORRUPT && strstr(error.text, "image-0000000000000002.h5") != NULL);
    sample_save(path_of(2), good, bytes);
    expect(2, 21, "");
    (void)unlink(path_of(2));
    CU_ASSERT(read_status(&error) == CAIRN_E_CORRUPT && strstr(error.text, "another slot") != NULL);
    free(good);
    free(bad);
    sample_remove(folder);
}

static void image_refuses_what_cannot_be_loaded(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_image image = {.slot = 9, .state = "no state", .bytes = 8};

    sample_folder(folder);
    write_image(1, 3);
    CU_ASSERT(cairn_image_write(folder, &image, &error) == CAIRN_E_CORRUPT);
    CU_ASSERT(strstr(error.text, "image-0000000000000009.h5") != NULL);
    expect(1, 3, "");
    sample_remove(folder);
}

/* Exit 0: the write failed, in order, and the older image is good. */
static int child_with_limit(rlim_t limit)
{
    const struct rlimit most = {limit, limit};
    cairn_error error = {CAIRN_OK, ""};
    cairn_pack pack = saved_state(3000);
    cairn_image image = {.slot = 2, .state = pack.data, .bytes = pack.bytes};

    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &most) != 0) {
        return 3;
    }
    cairn_status status = cairn_image_write(folder, &image, &error);
    free(pack.data);
    if (status == CAIRN_OK) {
        return 4;
    }
    return error.text[0] != '\0' && access(path_of(2), F_OK) != 0 && errno == ENOENT ? 0 : 5;
}

static void image_full_disk(void)
{
    sample_folder(folder);
    write_image(1, 3);
    for (rlim_t limit = 0; limit < 300000; limit = limit * 3 + 700) {
        int how = 0;
        pid_t child = fork();

        if (child == 0) {
            _exit(child_with_limit(limit));
        }
        CU_ASSERT_FATAL(child > 0 && waitpid(child, &how, 0) == child);
        CU_ASSERT(WIFEXITED(how) && WEXITSTATUS(how) == 0);
        expect(1, 3, "");
    }
    sample_remove(folder);
}

/* All keys are listed, however many answers it takes to read them. */
static void image_lists_all_keys(void)
{
    sample_folder(folder);
    write_image(1, 12345);
    hid_t file = H5Fopen(path_of(1), H5F_ACC_RDONLY, H5P_DEFAULT);
    CU_ASSERT_FATAL(file >= 0);
    for (int i = 0; i < 2; i++) {
        hid_t dataset = H5Dopen2(file, i == 0 ? "keys" : "values", H5P_DEFAULT), space = H5Dget_space(dataset);
        CU_ASSERT(H5Sget_simple_extent_npoints(space) == 12345);
        (void)H5Sclose(space);
        (void)H5Dclose(dataset);
    }
    (void)H5Fclose(file);
    sample_remove(folder);
}

static void image_for_people(void)
{
    char command[PATH_ROOM + 200], line[400];
    bool key = false, value = false;

    if (system("h5dump --version >/dev/null 2>&1") != 0) {
        return; /* HDF5's tools are not here */
    }
    sample_folder(folder);
    write_image(1, 3);
    (void)snprintf(command, sizeof command, "h5dump '%s'", path_of(1));
    FILE *dump = popen(command, "r");
    CU_ASSERT_FATAL(dump != NULL);
    while (fgets(line, sizeof line, dump) != NULL) {
        key = key || strstr(line, "\"key/0002\"") != NULL;
        value = value || strstr(line, "x0a") != NULL;
    }
    CU_ASSERT(pclose(dump) == 0);
    CU_ASSERT(key && value);
    sample_remove(folder);
}

UNIT_MAIN("coord_image", {"images come back", image_round_trip}, {"damage leads to the older one", image_damage},
          {"what cannot be loaded is not written", image_refuses_what_cannot_be_loaded},
          {"a full disk", image_full_disk}, {"all keys are listed", image_lists_all_keys},
          {"people can read it", image_for_people})
