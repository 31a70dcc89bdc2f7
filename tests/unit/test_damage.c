/* Damaged, foreign, swapped and missing files; no permission; a full disk: all are told apart, named, and leave nothing
 * behind. */
#include "snapshot/seal.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <hdf5.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static char dir[PATH_ROOM];
static char part_path[PATH_ROOM];
static char record_path[PATH_ROOM];

static void begin(void)
{
    sample_folder(dir);
    sample_snapshot(dir, SAMPLE_RUN, 7, 3);
    cairn_store_part_path(part_path, sizeof part_path, dir, 7, 1);
    (void)snprintf(record_path, sizeof record_path, "%.4000s/snapshots/000007/snapshot.h5", dir);
}

static void end(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    sample_remove(dir);
}

static cairn_status open_part(const char *path, const cairn_part_seal *expected, cairn_error *error)
{
    cairn_part *part = NULL;
    cairn_status status = cairn_part_open(&part, path, expected, error);

    CU_ASSERT_TRUE((status == CAIRN_OK) == (part != NULL));
    cairn_part_close(part);
    return status;
}

static cairn_status open_record(cairn_error *error)
{
    cairn_commit *commit = NULL;
    cairn_status status = cairn_store_read(dir, 7, &commit, error);

    CU_ASSERT_TRUE((status == CAIRN_OK) == (commit != NULL));
    cairn_store_free(commit);
    return status;
}

/* The use that a full listing gives to the snapshot, and why. */
static cairn_use use_of(cairn_depth depth, char why[400])
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    cairn_use use;
    cairn_error error = {CAIRN_OK, ""};

    CU_ASSERT_EQUAL_FATAL(cairn_store_list(dir, SAMPLE_RUN, depth, &entries, &count, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    use = entries[0].use;
    (void)snprintf(why, 400, "%s", entries[0].why);
    CU_ASSERT_TRUE((use == CAIRN_USE_YES) == (why[0] == '\0'));
    cairn_store_list_free(entries, count);
    return use;
}

/* Every byte of a part and of a commit record, one random bit each. */
static void every_byte_flipped(void)
{
    cairn_error error = {CAIRN_OK, ""};
    uint64_t seed = 99;
    char *data;
    size_t bytes = 0;
    size_t missed = 0;
    int fd;

    begin();
    data = sample_load(part_path, &bytes);
    CU_ASSERT_TRUE(bytes > 4000 && bytes < 40000);
    fd = open(part_path, O_WRONLY);
    for (size_t i = 0; i < bytes; i++) {
        char flipped = (char)(data[i] ^ (char)(1 << sample_random(&seed) % 8));

        CU_ASSERT_EQUAL(pwrite(fd, &flipped, 1, (off_t)i), 1);
        missed += open_part(part_path, NULL, &error) != CAIRN_E_CORRUPT || strstr(error.text, part_path) == NULL;
        CU_ASSERT_EQUAL(pwrite(fd, &data[i], 1, (off_t)i), 1);
    }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_OK);
    (void)close(fd);
    free(data);
    data = sample_load(record_path, &bytes);
    fd = open(record_path, O_WRONLY);
    for (size_t i = 0; i < bytes; i++) {
        char flipped = (char)(data[i] ^ (char)(1 << sample_random(&seed) % 8));

        CU_ASSERT_EQUAL(pwrite(fd, &flipped, 1, (off_t)i), 1);
        missed += open_record(&error) != CAIRN_E_CORRUPT || strstr(error.text, record_path) == NULL;
        CU_ASSERT_EQUAL(pwrite(fd, &data[i], 1, (off_t)i), 1);
    }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT_EQUAL(open_record(&error), CAIRN_OK);
    (void)close(fd);
    free(data);
    end();
}

static void truncated_and_grown(void)
{
    cairn_error error = {CAIRN_OK, ""};
    char why[400];
    char *data;
    size_t bytes = 0;
    size_t missed = 0;

    begin();
    data = sample_load(part_path, &bytes);
    for (size_t length = 0; length < bytes; length += length < 600 ? 1 : 37) {
        sample_save(part_path, data, length);
        missed += open_part(part_path, NULL, &error) != CAIRN_E_CORRUPT || strstr(error.text, part_path) == NULL;
        if (length % 64 == 0) {
            missed += use_of(CAIRN_DEPTH_SEALS, why) != CAIRN_USE_DAMAGED || strstr(why, "process-000001.h5") == NULL;
        }
    }
    CU_ASSERT_EQUAL(missed, 0);
    data = realloc(data, bytes + 1);
    data[bytes] = 0;
    sample_save(part_path, data, bytes + 1);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_FULL, why), CAIRN_USE_DAMAGED);
    free(data);
    data = sample_load(record_path, &bytes);
    for (size_t length = 0; length < bytes; length += length < 600 ? 1 : 37) {
        sample_save(record_path, data, length);
        missed += open_record(&error) != CAIRN_E_CORRUPT || use_of(CAIRN_DEPTH_SEALS, why) != CAIRN_USE_DAMAGED;
    }
    CU_ASSERT_EQUAL(missed, 0);
    free(data);
    end();
}

/* A file that was sealed by a later Cairn, which is whole but not for us; and one that only says so. */
static void other_versions(void)
{
    cairn_error error = {CAIRN_OK, ""};
    char why[400];
    char *data;
    size_t bytes = 0;

    begin();
    data = sample_load(part_path, &bytes);
    CU_ASSERT_EQUAL(memcmp(data, "cairn part 1\n", 13), 0);
    data[11] = '2';
    sample_save(part_path, data, bytes);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT); /* the seal does not match itself */
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "seal"));
    cairn_seal_end(data);
    sample_save(part_path, data, bytes);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_VERSION);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "format 2"));
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_FULL, why), CAIRN_USE_DAMAGED);
    free(data);
    end();
}

static void missing_swapped_and_foreign_parts(void)
{
    char other[PATH_ROOM];
    char saved[PATH_ROOM];
    char why[400];
    cairn_error error = {CAIRN_OK, ""};

    begin();
    (void)snprintf(saved, sizeof saved, "%.4000s/saved", dir);
    cairn_store_part_path(other, sizeof other, dir, 7, 2);
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_FULL, why), CAIRN_USE_YES);

    CU_ASSERT_EQUAL(rename(part_path, saved), 0); /* missing */
    for (int depth = CAIRN_DEPTH_SEALS; depth <= CAIRN_DEPTH_FULL; depth++) {
        CU_ASSERT_EQUAL(use_of((cairn_depth)depth, why), CAIRN_USE_DAMAGED);
        CU_ASSERT_TRUE(strstr(why, "process-000001.h5") != NULL && strstr(why, "missing") != NULL);
    }
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_NOT_FOUND);

    CU_ASSERT_EQUAL(rename(other, part_path), 0); /* swapped */
    CU_ASSERT_EQUAL(rename(saved, other), 0);
    for (int depth = CAIRN_DEPTH_SEALS; depth <= CAIRN_DEPTH_FULL; depth++) {
        CU_ASSERT_EQUAL(use_of((cairn_depth)depth, why), CAIRN_USE_DAMAGED);
        CU_ASSERT_PTR_NOT_NULL(strstr(why, "swapped"));
    }
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_OK); /* whole in itself */
    CU_ASSERT_EQUAL(rename(other, saved), 0);
    CU_ASSERT_EQUAL(rename(part_path, other), 0);
    CU_ASSERT_EQUAL(rename(saved, part_path), 0);
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_FULL, why), CAIRN_USE_YES);

    CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 8, 1, 3, NULL, &error), CAIRN_OK); /* of another snapshot */
    cairn_store_part_path(other, sizeof other, dir, 8, 1);
    CU_ASSERT_EQUAL(rename(other, part_path), 0);
    cairn_store_snapshot_path(other, sizeof other, dir, 8);
    CU_ASSERT_EQUAL(rmdir(other), 0);
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_SEALS, why), CAIRN_USE_DAMAGED);
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_FULL, why), CAIRN_USE_DAMAGED);

    sample_copy(record_path, part_path); /* another kind of file */
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "another kind"));
    end();
}

static void foreign_files(void)
{
    static const char text[] = "station;temperature\nHamburg;12.0\n";
    cairn_error error = {CAIRN_OK, ""};
    char zeros[2048] = {0};
    char why[400];
    hid_t file;

    begin();
    file = H5Fcreate(part_path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CU_ASSERT_TRUE(H5Fclose(file) >= 0);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "not written by Cairn"));
    CU_ASSERT_EQUAL(use_of(CAIRN_DEPTH_SEALS, why), CAIRN_USE_DAMAGED);
    sample_save(part_path, text, sizeof text);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    sample_save(part_path, zeros, sizeof zeros);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    sample_save(part_path, "", 0);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_EQUAL(unlink(part_path), 0);
    CU_ASSERT_EQUAL(mkdir(part_path, 0777), 0);
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_EQUAL(rmdir(part_path), 0);
    CU_ASSERT_EQUAL(mkfifo(part_path, 0666), 0); /* nobody writes: opening it must not wait */
    CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_EQUAL(unlink(part_path), 0);
    CU_ASSERT_EQUAL(symlink(part_path, part_path), 0);
    CU_ASSERT_NOT_EQUAL(open_part(part_path, NULL, &error), CAIRN_OK);
    end();
}

/* An HDF5 file with a valid seal that Cairn did not write: another layout inside is told by name. */
static void sealed_but_foreign(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_part_seal seal;
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    hid_t file;
    char block[CAIRN_SEAL_BYTES];
    char *data;
    size_t bytes = 0;

    begin();
    CU_ASSERT_TRUE(H5Pset_userblock(creation, CAIRN_SEAL_BYTES) >= 0);
    file = H5Fcreate(part_path, H5F_ACC_TRUNC, creation, H5P_DEFAULT);
    CU_ASSERT_TRUE(H5Fclose(file) >= 0);
    (void)H5Pclose(creation);
    for (int garbage = 0; garbage < 2; garbage++) {
        data = sample_load(part_path, &bytes);
        if (garbage) {
            memset(data + CAIRN_SEAL_BYTES, 'x', bytes - CAIRN_SEAL_BYTES);
        }
        seal.bytes = bytes;
        seal.digest = cairn_digest_of(data + CAIRN_SEAL_BYTES, bytes - CAIRN_SEAL_BYTES);
        cairn_seal_make(block, CAIRN_SEALED_PART, seal);
        memcpy(data, block, sizeof block);
        sample_save(part_path, data, bytes);
        CU_ASSERT_EQUAL(open_part(part_path, NULL, &error), CAIRN_E_CORRUPT);
        CU_ASSERT_PTR_NOT_NULL(strstr(error.text, garbage ? "HDF5" : "format"));
        free(data);
    }
    end();
}

/* Run a check in a child process and take its exit status. */
static int in_child(int (*check)(void))
{
    int status = -1;
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        _exit(check());
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/* Which line of a check in a child failed. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int check_no_permission(void)
{
    cairn_error error = {CAIRN_OK, ""};
    char why[400];
    cairn_part_seal seal;

    if (geteuid() == 0) { /* root may everything */
        CHECK(seteuid(65534) == 0);
    }
    CHECK(open_part(part_path, NULL, &error) == CAIRN_E_ACCESS);
    CHECK(strstr(error.text, part_path) != NULL);
    CHECK(use_of(CAIRN_DEPTH_SEALS, why) == CAIRN_USE_UNREADABLE && strstr(why, "process-000001.h5") != NULL);
    CHECK(use_of(CAIRN_DEPTH_FULL, why) == CAIRN_USE_UNREADABLE);
    CHECK(sample_part(dir, SAMPLE_RUN, 7, 0, 3, &seal, &error) == CAIRN_E_ACCESS); /* the folder is not ours */
    CHECK(strstr(error.text, "process-000000.h5") != NULL);
    CHECK(sample_part(dir, SAMPLE_RUN, 8, 0, 3, &seal, &error) == CAIRN_E_ACCESS);
    return 0;
}

static void no_permission(void)
{
    char folder[PATH_ROOM];

    begin();
    cairn_store_snapshot_path(folder, sizeof folder, dir, 7);
    CU_ASSERT_EQUAL(chmod(part_path, 0), 0);
    CU_ASSERT_EQUAL(chmod(folder, 0555), 0);
    (void)snprintf(folder, sizeof folder, "%.4000s/snapshots", dir);
    CU_ASSERT_EQUAL(chmod(folder, 0555), 0);
    CU_ASSERT_EQUAL(chmod(dir, 0555), 0);
    CU_ASSERT_EQUAL(in_child(check_no_permission), 0);
    CU_ASSERT_EQUAL(chmod(dir, 0755), 0);
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    cairn_store_snapshot_path(folder, sizeof folder, dir, 7);
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    end();
}

static int write_big(const char *where, uint64_t bytes, cairn_error *error)
{
    uint64_t counts[2] = {0};
    char *data = malloc(bytes);
    cairn_part_head head = {
        .job = "big", .run = SAMPLE_RUN, .number = 1, .count = 1, .sent = counts, .received = counts};
    cairn_state state = {
        .name = "big", .kind = CAIRN_STATE_ARRAY, .type = CAIRN_U8, .rank = 1, .shape = {bytes}, .bytes = bytes};
    cairn_status status;

    memset(data, 7, bytes);
    state.data = data;
    status = cairn_part_write(where, &head, &state, 1, NULL, 0, NULL, error);
    free(data);
    return (int)status;
}

/* A disk of 1 MiB, filled by parts of all sizes around what fits: wherever the space ends (elements, metadata, the
 * folder itself), it is told as FULL, nothing is left, HDF5 lets go, and afterwards a small part can be written. */
static int check_full_disk(void)
{
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];
    unsigned full = 0;

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0) {
        return 77;
    }
    (void)snprintf(path, sizeof path, "%.4000s/a", dir);
    for (uint64_t bytes = 1000000; bytes <= 1060000; bytes += 512) {
        int status = write_big(path, bytes, &error);
        char file[PATH_ROOM + 32];

        (void)snprintf(file, sizeof file, "%s/process-000000.h5", path);
        CHECK(status == CAIRN_OK || status == CAIRN_E_FULL);
        CHECK(sample_exists(file) == (status == CAIRN_OK));
        if (status == CAIRN_E_FULL) {
            full++;
            CHECK(strstr(error.text, "process-000000.h5") != NULL);
        } else {
            CHECK(open_part(file, NULL, &error) == CAIRN_OK);
        }
        CHECK(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
        (void)unlink(file);
        CHECK(rmdir(path) == 0); /* nothing is left in it */
        CHECK(write_big(path, 1000, &error) == CAIRN_OK);
        (void)unlink(file);
    }
    CHECK(full > 10 && full < 117);
    return 0;
}

static void full_disk(void)
{
    int outcome;

    begin();
    outcome = in_child(check_full_disk);
    if (outcome == 77) {
        printf("\n    SKIPPED: a full disk needs root, to mount a small one ...");
        outcome = 0;
    }
    CU_ASSERT_EQUAL(outcome, 0);
    end();
}

UNIT_MAIN("damage", {"a bit flipped in every byte", every_byte_flipped}, {"truncated and grown", truncated_and_grown},
          {"other versions", other_versions}, {"missing, swapped, foreign parts", missing_swapped_and_foreign_parts},
          {"foreign files", foreign_files}, {"sealed but foreign", sealed_but_foreign},
          {"no permission", no_permission}, {"full disk", full_disk})
