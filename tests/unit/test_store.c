/* Committing, listing and pruning snapshots, with what a crash leaves at every stage; run.json. */
#include "support/snapshots.h"
#include "support/unit.h"

#include <hdf5.h>
#include <sys/wait.h>

static char dir[PATH_ROOM];

static void begin(void)
{
    sample_folder(dir);
}

static void end(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    sample_remove(dir);
}

static void record_path(char path[PATH_ROOM], uint64_t number)
{
    cairn_store_snapshot_path(path, PATH_ROOM, dir, number);
    (void)strcat(path, "/snapshot.h5");
}

static void commit_round_trip(void)
{
    cairn_commit *back = NULL;
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 7, 3);
    CU_ASSERT_EQUAL_FATAL(cairn_store_read(dir, 7, &back, &error), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(back->job, "sample");
    CU_ASSERT_STRING_EQUAL(back->run, SAMPLE_RUN);
    CU_ASSERT_TRUE(back->number == 7 && back->count == 3 && back->incarnation == 2 && back->step == 70);
    CU_ASSERT_EQUAL(strlen(back->committed), 20);
    CU_ASSERT_EQUAL_FATAL(back->argument_count, 2);
    CU_ASSERT_STRING_EQUAL(back->arguments[1], "--bytes \xff\xfe");
    CU_ASSERT_TRUE(back->lamport[0] == 700 && back->lamport[2] == 702 && back->vector == NULL);
    for (uint32_t i = 0; i < 3; i++) {
        cairn_part *part = NULL;

        cairn_store_part_path(path, sizeof path, dir, 7, i);
        CU_ASSERT_EQUAL(cairn_part_open(&part, path, &back->parts[i], &error), CAIRN_OK);
        cairn_part_close(part);
    }
    cairn_store_free(back);
    cairn_store_free(NULL);
    CU_ASSERT_EQUAL(cairn_store_read(dir, 8, &back, &error), CAIRN_E_NOT_FOUND);
    end();
}

/* A record moved to another number is no commit record of that one. */
static void record_of_another_number(void)
{
    cairn_commit *back = NULL;
    cairn_error error = {CAIRN_OK, ""};
    char from[PATH_ROOM];
    char to[PATH_ROOM];

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 7, 1);
    cairn_store_snapshot_path(from, sizeof from, dir, 7);
    cairn_store_snapshot_path(to, sizeof to, dir, 9);
    CU_ASSERT_EQUAL(rename(from, to), 0);
    CU_ASSERT_EQUAL(cairn_store_read(dir, 9, &back, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "000007"));
    end();
}

static void commit_refused_unless_parts_fit(void)
{
    cairn_part_seal seals[3];
    cairn_part_seal wrong[3];
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 7, i, 3, &seals[i], &error), CAIRN_OK);
    }
    record_path(path, 7);
    memcpy(wrong, seals, sizeof seals);
    wrong[1].digest.low ^= 1;
    CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 7, 3, wrong, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "process-000001.h5"));
    wrong[1] = seals[2];
    CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 7, 3, wrong, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 7, 2, seals, &error), CAIRN_E_CORRUPT); /* parts of three */
    CU_ASSERT_EQUAL(sample_commit(dir, OTHER_RUN, 7, 3, seals, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_FALSE(sample_exists(path));
    CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 7, 3, seals, &error), CAIRN_OK);
    CU_ASSERT_TRUE(sample_exists(path));
    (void)strcat(path, ".tmp");
    CU_ASSERT_FALSE(sample_exists(path));
    cairn_store_part_path(path, sizeof path, dir, 7, 2);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 7, 3, seals, &error), CAIRN_E_NOT_FOUND);
    end();
}

/* A 4 x 6 array cut into slabs that may have a gap, overlap or disagree. */
static cairn_status commit_slabs(const uint64_t (*boxes)[4], const uint64_t *rows, uint32_t count, cairn_error *error)
{
    cairn_part_seal seals[4];
    uint64_t lamport[4] = {0};
    uint64_t counts[8] = {0};
    int32_t data[24];
    cairn_commit commit = {
        .job = "slabs", .run = SAMPLE_RUN, .number = 1, .count = count, .parts = seals, .lamport = lamport};
    char path[PATH_ROOM];

    cairn_store_snapshot_path(path, sizeof path, dir, 1);
    for (uint32_t i = 0; i < count; i++) {
        cairn_part_head head = {.job = "slabs",
                                .run = SAMPLE_RUN,
                                .number = 1,
                                .process = i,
                                .count = count,
                                .sent = counts,
                                .received = counts};
        cairn_state state = {.name = "array",
                             .kind = CAIRN_STATE_SLAB,
                             .type = CAIRN_I32,
                             .rank = 2,
                             .shape = {boxes[i][2], boxes[i][3]},
                             .global_shape = {rows[i], 6},
                             .offset = {boxes[i][0], boxes[i][1]},
                             .data = data,
                             .bytes = 4 * boxes[i][2] * boxes[i][3]};

        for (uint64_t j = 0; j < boxes[i][2] * boxes[i][3]; j++) {
            data[j] = (int32_t)((boxes[i][0] + j / boxes[i][3]) * 6 + boxes[i][1] + j % boxes[i][3]);
        }
        if (cairn_part_write(path, &head, &state, 1, NULL, 0, &seals[i], error) != CAIRN_OK) {
            return CAIRN_E_BUG;
        }
    }
    return cairn_store_commit(dir, &commit, error);
}

/* Read the virtual dataset with HDF5 alone, from another working folder. */
static void read_virtual(const char *record, bool *whole)
{
    int32_t back[24] = {0};
    hid_t file = H5Fopen(record, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "/state/array", H5P_DEFAULT);
    hid_t part = H5Oopen(file, "/process-000001/state/array", H5P_DEFAULT); /* through the external link */

    CU_ASSERT_TRUE(H5Dread(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0);
    CU_ASSERT_TRUE(part >= 0);
    *whole = true;
    for (int32_t i = 0; i < 24; i++) {
        *whole = *whole && back[i] == i;
    }
    (void)H5Oclose(part);
    (void)H5Dclose(dataset);
    (void)H5Fclose(file);
}

static void slabs_must_tile(void)
{
    static const uint64_t rows[] = {4, 4, 4, 4};
    static const uint64_t other_rows[] = {4, 4, 5, 4};
    static const uint64_t good[4][4] = {{0, 0, 4, 2}, {0, 2, 1, 4}, {1, 2, 3, 4}, {4, 0, 0, 6}}; /* the last is empty */
    static const uint64_t gap[3][4] = {{0, 0, 4, 2}, {0, 2, 1, 4}, {1, 2, 2, 4}};
    static const uint64_t overlapping[3][4] = {{0, 0, 4, 2}, {0, 2, 1, 4}, {0, 2, 3, 4}};
    cairn_error error = {CAIRN_OK, ""};
    char record[PATH_ROOM];
    char moved[PATH_ROOM];
    bool whole = false;

    begin();
    record_path(record, 1);
    CU_ASSERT_EQUAL(commit_slabs(gap, rows, 3, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "array"));
    CU_ASSERT_EQUAL(commit_slabs(overlapping, rows, 3, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "overlap"));
    CU_ASSERT_EQUAL(commit_slabs(good, other_rows, 4, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "agree"));
    CU_ASSERT_FALSE(sample_exists(record));
    CU_ASSERT_EQUAL_FATAL(commit_slabs(good, rows, 4, &error), CAIRN_OK);
    read_virtual(record, &whole);
    CU_ASSERT_TRUE(whole);
    (void)snprintf(moved, sizeof moved, "%.4000s/moved", dir); /* the folder is moved as a whole */
    cairn_store_snapshot_path(record, sizeof record, dir, 1);
    CU_ASSERT_EQUAL(rename(record, moved), 0);
    (void)strcat(moved, "/snapshot.h5");
    whole = false;
    read_virtual(moved, &whole);
    CU_ASSERT_TRUE(whole);
    end();
}

static void list_orders_and_tells(void)
{
    cairn_entry *entries = NULL;
    size_t count = 9;
    cairn_part_seal seal;
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];
    uint64_t latest = 9;

    begin();
    CU_ASSERT_EQUAL(cairn_store_list(dir, NULL, CAIRN_DEPTH_FULL, &entries, &count, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(cairn_store_latest(dir, &latest, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(latest, 0);
    sample_snapshot(dir, OTHER_RUN, 3, 2);
    sample_snapshot(dir, SAMPLE_RUN, 999999, 2);
    sample_snapshot(dir, SAMPLE_RUN, 1000000, 1);
    CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 1000002, 0, 2, &seal, &error), CAIRN_OK); /* not committed */
    cairn_store_snapshot_path(path, sizeof path, dir, 1000003);
    CU_ASSERT_EQUAL(mkdir(path, 0777), 0); /* an empty folder */
    (void)snprintf(path, sizeof path, "%.4000s/snapshots/notes", dir);
    CU_ASSERT_EQUAL(mkdir(path, 0777), 0); /* somebody's */
    (void)snprintf(path, sizeof path, "%.4000s/snapshots/0000004", dir);
    CU_ASSERT_EQUAL(mkdir(path, 0777), 0); /* not how Cairn writes 4 */
    cairn_store_part_path(path, sizeof path, dir, 999999, 1);
    sample_flip(path, 0.5);
    for (int depth = CAIRN_DEPTH_SEALS; depth <= CAIRN_DEPTH_FULL; depth++) {
        static const uint64_t numbers[] = {1000003, 1000002, 1000000, 999999, 3};
        cairn_use uses[] = {CAIRN_USE_UNCOMMITTED, CAIRN_USE_UNCOMMITTED, CAIRN_USE_YES, CAIRN_USE_DAMAGED,
                            CAIRN_USE_OTHER_RUN};

        if (depth == CAIRN_DEPTH_SEALS) {
            uses[3] = CAIRN_USE_YES; /* that is what reading every byte is for */
        }
        CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, (cairn_depth)depth, &entries, &count, &error), CAIRN_OK);
        CU_ASSERT_EQUAL_FATAL(count, 5);
        for (size_t i = 0; i < count; i++) {
            CU_ASSERT_EQUAL(entries[i].number, numbers[i]);
            CU_ASSERT_EQUAL(entries[i].use, uses[i]);
            CU_ASSERT_TRUE((entries[i].why[0] == '\0') == (uses[i] == CAIRN_USE_YES));
            CU_ASSERT_TRUE((entries[i].commit != NULL) == (uses[i] != CAIRN_USE_UNCOMMITTED));
            CU_ASSERT_TRUE((entries[i].bytes > 0) == (i != 0));
        }
        cairn_store_list_free(entries, count);
    }
    CU_ASSERT_EQUAL(cairn_store_latest(dir, &latest, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(latest, 1000003);
    end();
}

/* "1y 2d 3u" describes snapshots (y usable, d damaged, u uncommitted, o of another run, e empty folder, r record
 * without parts); the digits that are left after pruning, in order, must be `left`. */
static void prune_case(const char *given, uint32_t keep, const char *left)
{
    uint64_t *removed = NULL;
    size_t removed_count = 0;
    size_t given_count = 0;
    size_t left_count = 0;
    char found[32] = "";
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    for (const char *c = given; *c != '\0'; c += c[2] == ' ' ? 3 : 2) {
        uint64_t number = (uint64_t)(c[0] - '0');

        given_count++;
        cairn_store_snapshot_path(path, sizeof path, dir, number);
        if (c[1] == 'e') {
            CU_ASSERT_EQUAL(cairn_make_folders(path, &error), CAIRN_OK);
            continue;
        }
        sample_snapshot(dir, c[1] == 'o' ? OTHER_RUN : SAMPLE_RUN, number, 2);
        if (c[1] == 'u') {
            (void)strcat(path, "/snapshot.h5");
            CU_ASSERT_EQUAL(unlink(path), 0);
        } else if (c[1] == 'd' || c[1] == 'r') {
            cairn_store_part_path(path, sizeof path, dir, number, 1);
            sample_flip(path, 0.7);
            CU_ASSERT_TRUE(c[1] == 'd' || unlink(path) == 0);
        }
    }
    CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, keep, CAIRN_DEPTH_FULL, &removed, &removed_count, &error),
                    CAIRN_OK);
    for (uint64_t number = 1; number < 10; number++) {
        cairn_store_snapshot_path(path, sizeof path, dir, number);
        if (sample_exists(path)) {
            char digit[2] = {(char)('0' + number), '\0'};

            (void)strcat(found, digit);
            left_count++;
        }
    }
    CU_ASSERT_STRING_EQUAL(found, left);
    CU_ASSERT_EQUAL(removed_count, given_count - left_count);
    free(removed);
    end();
}

static void prune_keeps_what_it_must(void)
{
    prune_case("", 2, "");
    prune_case("1y", 1, "1");
    prune_case("1y 2y 3y 4y", 2, "34");
    prune_case("1y 2y 3y 4y", 1, "4");
    prune_case("1y 2y 3y 4y", 9, "1234");
    prune_case("1y 2d 3d 4d", 1, "1234"); /* the only good one is the oldest: nothing newer is judged old */
    prune_case("1y 2y 3d", 1, "23");
    prune_case("1y 2d 3y 4u 5e", 2, "1345");
    prune_case("1d 2d 3u 4e", 1, "1234"); /* none is usable: nothing is removed */
    prune_case("1u 2e 3d 4r 5y", 2, "5");
    prune_case("1o 2o 3u", 1, "123");
    prune_case("1o 2y 3o 4y", 2, "24");
    prune_case("1y 2o 3y 4y 5o", 2, "345");
}

static void prune_wrong_use(void)
{
    cairn_error error = {CAIRN_OK, ""};

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 1, 1);
    CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 0, CAIRN_DEPTH_FULL, NULL, NULL, &error), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_store_prune(dir, NULL, 1, CAIRN_DEPTH_SEALS, NULL, NULL, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_store_prune("/nonexistent", NULL, 1, CAIRN_DEPTH_SEALS, NULL, NULL, &error), CAIRN_OK);
    end();
}

/* Somebody put a file of his own into a snapshot that goes: his file stays. */
static void prune_leaves_foreign_files(void)
{
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];
    char part[PATH_ROOM];
    char temporary[PATH_ROOM];

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 1, 1);
    sample_snapshot(dir, SAMPLE_RUN, 2, 1);
    cairn_store_snapshot_path(path, sizeof path, dir, 1);
    (void)strcat(path, "/process-notes.h5");
    sample_save(path, "mine", 4);
    cairn_store_part_path(part, sizeof part, dir, 1, 0);
    (void)snprintf(temporary, sizeof temporary, "%.4000s.tmp", part);
    sample_save(temporary, "half", 4); /* of a crash while writing: ours */
    CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 1, CAIRN_DEPTH_FULL, NULL, NULL, &error), CAIRN_OK);
    CU_ASSERT_TRUE(sample_exists(path));
    CU_ASSERT_FALSE(sample_exists(part));
    CU_ASSERT_FALSE(sample_exists(temporary));
    end();
}

/* What a crash leaves at every stage of writing, committing and pruning number 2, with a good number 1 before it: a
 * restart uses 1 until 2 is committed, and a later snapshot 3 with its prune clears everything away. */
static void crash_at_every_stage(void)
{
    for (int stage = 0; stage < 8; stage++) {
        cairn_part_seal seals[2];
        cairn_entry *entries = NULL;
        size_t count = 0;
        cairn_error error = {CAIRN_OK, ""};
        char path[PATH_ROOM];
        char temporary[PATH_ROOM];
        uint64_t usable = 0;

        begin();
        sample_snapshot(dir, SAMPLE_RUN, 1, 2);
        if (stage < 6) { /* committing */
            cairn_store_snapshot_path(path, sizeof path, dir, 2);
            CU_ASSERT_EQUAL(mkdir(path, 0777), 0);
            for (uint32_t i = 0; i < 2 && stage >= 2 + (int)i; i++) {
                CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 2, i, 2, &seals[i], &error), CAIRN_OK);
            }
            if (stage == 1) { /* half a part, under its temporary name */
                cairn_store_part_path(path, sizeof path, dir, 2, 0);
                (void)strcat(path, ".tmp");
                sample_save(path, "half", 4);
            }
            if (stage >= 4) {
                CU_ASSERT_EQUAL(sample_commit(dir, SAMPLE_RUN, 2, 2, seals, &error), CAIRN_OK);
            }
            if (stage == 4) { /* the record is written but has not its name yet */
                record_path(path, 2);
                (void)snprintf(temporary, sizeof temporary, "%.4000s.tmp", path);
                CU_ASSERT_EQUAL(rename(path, temporary), 0);
            }
        } else { /* pruning 1 after 2 was committed */
            sample_snapshot(dir, SAMPLE_RUN, 2, 2);
            record_path(path, 1);
            CU_ASSERT_EQUAL(unlink(path), 0);
            for (uint32_t i = 0; i < 2 && stage == 7; i++) {
                cairn_store_part_path(path, sizeof path, dir, 1, i);
                CU_ASSERT_EQUAL(unlink(path), 0);
            }
        }
        CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, CAIRN_DEPTH_FULL, &entries, &count, &error), CAIRN_OK);
        for (size_t i = 0; i < count && usable == 0; i++) {
            usable = entries[i].use == CAIRN_USE_YES ? entries[i].number : 0;
            CU_ASSERT_NOT_EQUAL(entries[i].use, CAIRN_USE_DAMAGED);
        }
        CU_ASSERT_EQUAL(usable, stage < 5 ? 1 : 2);
        cairn_store_list_free(entries, count);
        CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 1, CAIRN_DEPTH_FULL, NULL, NULL, &error), CAIRN_OK);
        CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, CAIRN_DEPTH_FULL, &entries, &count, &error), CAIRN_OK);
        CU_ASSERT_EQUAL(count, stage < 5 ? 2 : 1); /* the attempt that may still be going on is left alone */
        cairn_store_list_free(entries, count);
        sample_snapshot(dir, SAMPLE_RUN, 3, 2);
        CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 1, CAIRN_DEPTH_FULL, NULL, NULL, &error), CAIRN_OK);
        CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, CAIRN_DEPTH_FULL, &entries, &count, &error), CAIRN_OK);
        CU_ASSERT_TRUE(count == 1 && entries[0].number == 3);
        cairn_store_list_free(entries, count);
        end();
    }
}

static void run_record_round_trip(void)
{
    char first[] = "scan";
    char second[] = "a \"quoted\" \xc3\xa4 name";
    char third[] = "bytes \x80\xff\x01";
    char fourth[] = "";
    char *arguments[] = {first, second, third, fourth};
    cairn_run_record record = {
        .run = SAMPLE_RUN, .finished = true, .launches = UINT32_MAX, .argument_count = 4, .arguments = arguments};
    cairn_run_record *back = NULL;
    cairn_error error = {CAIRN_OK, ""};
    char deep[PATH_ROOM];

    begin();
    (void)snprintf(deep, sizeof deep, "%.4000s/a/b", dir);
    CU_ASSERT_EQUAL(cairn_run_record_read(deep, &back, &error), CAIRN_E_NOT_FOUND);
    for (int again = 0; again < 2; again++) {
        CU_ASSERT_EQUAL_FATAL(cairn_run_record_write(deep, &record, &error), CAIRN_OK);
        CU_ASSERT_EQUAL_FATAL(cairn_run_record_read(deep, &back, &error), CAIRN_OK);
        CU_ASSERT_STRING_EQUAL(back->run, SAMPLE_RUN);
        CU_ASSERT_TRUE(back->finished == record.finished && back->launches == record.launches);
        CU_ASSERT_EQUAL_FATAL(back->argument_count, record.argument_count);
        for (uint32_t i = 0; i < back->argument_count; i++) {
            CU_ASSERT_STRING_EQUAL(back->arguments[i], arguments[i]);
        }
        cairn_run_record_free(back);
        record = (cairn_run_record){.run = OTHER_RUN};
        memcpy(record.run, SAMPLE_RUN, sizeof record.run);
    }
    cairn_run_record_free(NULL);
    end();
}

static void run_record_damaged(void)
{
    static const struct {
        const char *text;
        cairn_status status;
    } cases[] = {
        {"", CAIRN_E_CORRUPT},
        {"{", CAIRN_E_CORRUPT},
        {"[]", CAIRN_E_CORRUPT},
        {"{}", CAIRN_E_CORRUPT},
        {"{\"format\":2}", CAIRN_E_VERSION},
        {"{\"format\":1,\"run\":\"0123456789ABCDEF\",\"finished\":false,\"launches\":1,\"arguments\":[]}",
         CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcde\",\"finished\":false,\"launches\":1,\"arguments\":[]}",
         CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcdef\",\"finished\":0,\"launches\":1,\"arguments\":[]}", CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcdef\",\"finished\":false,\"launches\":-1,\"arguments\":[]}",
         CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcdef\",\"finished\":false,\"launches\":1,\"arguments\":[7]}",
         CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcdef\",\"finished\":false,\"launches\":1,\"arguments\":[[0]]}",
         CAIRN_E_CORRUPT},
        {"{\"format\":1,\"run\":\"0123456789abcdef\",\"finished\":false,\"launches\":1,\"arguments\":[[300]]}",
         CAIRN_E_CORRUPT},
    };
    cairn_run_record *back = NULL;
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    (void)snprintf(path, sizeof path, "%.4000s/run.json", dir);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sample_save(path, cases[i].text, strlen(cases[i].text));
        CU_ASSERT_EQUAL(cairn_run_record_read(dir, &back, &error), cases[i].status);
        CU_ASSERT_PTR_NULL(back);
        CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "run.json"));
    }
    end();
}

UNIT_MAIN("store", {"commit record", commit_round_trip}, {"record of another number", record_of_another_number},
          {"commit is refused unless parts fit", commit_refused_unless_parts_fit}, {"slabs must tile", slabs_must_tile},
          {"list", list_orders_and_tells}, {"prune keeps what it must", prune_keeps_what_it_must},
          {"prune, wrong use", prune_wrong_use}, {"prune leaves foreign files", prune_leaves_foreign_files},
          {"crash at every stage", crash_at_every_stage}, {"run record", run_record_round_trip},
          {"damaged run record", run_record_damaged})
