/* Goal: a record that was only proposed never looks committed; it gets its name when its seal was chosen, and no other
 * record ever does.
 * Method: records of one number written several times, confirmed with seals that are theirs and that are not. */
#include "support/snapshots.h"
#include "support/unit.h"

#include <hdf5.h>

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

static void proposed_path(char path[PATH_ROOM], uint64_t number)
{
    cairn_store_snapshot_path(path, PATH_ROOM, dir, number);
    (void)strcat(path, "/snapshot.h5.proposed");
}

/* The parts of snapshot `number` and its record, proposed; in another life the record is another one. */
static cairn_part_seal propose(uint64_t number, int life)
{
    char argument[] = {(char)('a' + life), '\0'};
    char *arguments[] = {argument};
    cairn_part_seal parts[2];
    uint64_t clocks[2] = {number * 100, number * 100 + 1};
    cairn_commit commit = {.job = "sample",
                           .run = SAMPLE_RUN,
                           .number = number,
                           .count = 2,
                           .incarnation = 2,
                           .step = number * 10,
                           .argument_count = 1,
                           .arguments = arguments,
                           .parts = parts,
                           .lamport = clocks};
    cairn_part_seal seal = {0};
    cairn_error error = {CAIRN_OK, ""};

    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, number, i, 2, &parts[i], &error), CAIRN_OK);
    }
    CU_ASSERT_EQUAL(cairn_store_propose(dir, &commit, &seal, &error), CAIRN_OK);
    return seal;
}

static void propose_and_confirm(void)
{
    cairn_part_seal seal;
    cairn_part_seal back = {0};
    cairn_commit *commit = NULL;
    cairn_error error = {CAIRN_OK, ""};
    char record[PATH_ROOM];
    char proposed[PATH_ROOM];

    begin();
    record_path(record, 7);
    proposed_path(proposed, 7);
    seal = propose(7, 1);
    CU_ASSERT_TRUE(sample_exists(proposed) && !sample_exists(record));
    CU_ASSERT_TRUE(cairn_store_is_proposed(dir, 7));
    CU_ASSERT_EQUAL(cairn_store_seal(dir, 7, &back, &error), CAIRN_E_NOT_FOUND);
    CU_ASSERT_EQUAL(cairn_store_read(dir, 7, &commit, &error), CAIRN_E_NOT_FOUND);
    CU_ASSERT_FALSE(cairn_store_stands(dir, 7));
    for (int again = 0; again < 3; again++) {
        CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &seal, &error), CAIRN_OK);
        CU_ASSERT_TRUE(!sample_exists(proposed) && sample_exists(record));
        CU_ASSERT_FALSE(cairn_store_is_proposed(dir, 7));
    }
    CU_ASSERT_EQUAL(cairn_store_seal(dir, 7, &back, &error), CAIRN_OK);
    CU_ASSERT_TRUE(back.bytes == seal.bytes && cairn_digest_equal(back.digest, seal.digest));
    CU_ASSERT_EQUAL(cairn_store_read(dir, 7, &commit, &error), CAIRN_OK);
    cairn_store_free(commit);
    end();
}

static void confirm_without_a_record(void)
{
    cairn_part_seal seal = {.bytes = 4096};
    cairn_error error = {CAIRN_OK, ""};

    begin();
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &seal, &error), CAIRN_E_NOT_FOUND); /* nor a folder */
    (void)propose(8, 1);
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &seal, &error), CAIRN_E_NOT_FOUND);
    CU_ASSERT_EQUAL(cairn_store_seal(dir, 7, &seal, &error), CAIRN_E_NOT_FOUND);
    end();
}

static void expect_refused(const cairn_part_seal *seal, const char *path)
{
    cairn_error error = {CAIRN_OK, ""};
    size_t bytes = 0;
    size_t bytes_after = 0;
    char *before = sample_load(path, &bytes);
    char *after;

    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, seal, &error), CAIRN_E_CORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, path));
    after = sample_load(path, &bytes_after); /* it stays for people to look at */
    CU_ASSERT_TRUE(bytes == bytes_after && after != NULL && memcmp(before, after, bytes) == 0);
    free(before);
    free(after);
}

/* Two lives of a run may each have written a record of the same number. Only the one that was chosen counts. */
static void confirm_another_seal(void)
{
    cairn_part_seal chosen;
    cairn_part_seal other;
    cairn_part_seal wrong;
    cairn_error error = {CAIRN_OK, ""};
    char record[PATH_ROOM];
    char proposed[PATH_ROOM];
    char kept[PATH_ROOM];

    begin();
    record_path(record, 7);
    proposed_path(proposed, 7);
    (void)snprintf(kept, sizeof kept, "%.4000s/kept", dir);
    chosen = propose(7, 1);
    wrong = chosen;
    wrong.bytes++;
    expect_refused(&wrong, proposed);
    wrong = chosen;
    wrong.digest.high ^= 1;
    expect_refused(&wrong, proposed);
    sample_copy(proposed, kept);
    other = propose(7, 2); /* in place of the chosen one */
    CU_ASSERT_FALSE(cairn_digest_equal(chosen.digest, other.digest));
    expect_refused(&chosen, proposed);
    CU_ASSERT_FALSE(sample_exists(record));
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &other, &error), CAIRN_OK);
    expect_refused(&chosen, record); /* a record that has its name, and is another one */
    (void)propose(7, 3);
    expect_refused(&chosen, proposed);
    sample_copy(kept, proposed); /* the chosen one is there: it takes the name */
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &chosen, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &chosen, &error), CAIRN_OK);
    sample_save(record, "cut", 3);
    expect_refused(&chosen, record);
    sample_copy(kept, proposed); /* and in place of a damaged one */
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &chosen, &error), CAIRN_OK);
    sample_save(proposed, "", 0);
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 7, &chosen, &error), CAIRN_OK); /* it has its name: well */
    CU_ASSERT_EQUAL(unlink(record), 0);
    expect_refused(&chosen, proposed);
    end();
}

/* A record that is only proposed never looks committed, is counted, and goes when its time has come. */
static void proposed_is_not_committed(void)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    struct stat found;
    uint64_t bytes[2];
    uint64_t *removed = NULL;
    size_t removed_count = 0;
    cairn_part_seal seal;
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    seal = propose(2, 1);
    CU_ASSERT_TRUE(cairn_store_has_committed(dir)); /* perhaps: nobody may forget it */
    sample_snapshot(dir, SAMPLE_RUN, 1, 2);
    for (int depth = CAIRN_DEPTH_SEALS; depth <= CAIRN_DEPTH_FULL; depth++) {
        CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, (cairn_depth)depth, &entries, &count, &error), CAIRN_OK);
        CU_ASSERT_EQUAL_FATAL(count, 2);
        CU_ASSERT_EQUAL(entries[0].use, CAIRN_USE_UNCOMMITTED);
        CU_ASSERT_PTR_NULL(entries[0].commit);
        CU_ASSERT_EQUAL(entries[1].use, CAIRN_USE_YES);
        bytes[depth] = entries[0].bytes;
        cairn_store_list_free(entries, count);
    }
    proposed_path(path, 2);
    CU_ASSERT_EQUAL_FATAL(stat(path, &found), 0);
    CU_ASSERT_EQUAL(bytes[0], bytes[1]);
    CU_ASSERT_TRUE(found.st_size > 0 && bytes[0] > (uint64_t)found.st_size);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, CAIRN_DEPTH_SEALS, &entries, &count, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(entries[0].bytes, bytes[0] - (uint64_t)found.st_size);
    cairn_store_list_free(entries, count);

    seal = propose(2, 1);
    CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 1, CAIRN_DEPTH_FULL, NULL, NULL, &error), CAIRN_OK);
    CU_ASSERT_TRUE(sample_exists(path)); /* newer than the newest: it may be chosen yet */
    CU_ASSERT_EQUAL(cairn_store_confirm(dir, 2, &seal, &error), CAIRN_OK);
    (void)propose(3, 1);
    sample_snapshot(dir, SAMPLE_RUN, 4, 2);
    CU_ASSERT_EQUAL(cairn_store_prune(dir, SAMPLE_RUN, 2, CAIRN_DEPTH_FULL, &removed, &removed_count, &error),
                    CAIRN_OK);
    CU_ASSERT_TRUE(removed_count == 2 && removed[0] == 3 && removed[1] == 1);
    free(removed);
    cairn_store_snapshot_path(path, sizeof path, dir, 3);
    CU_ASSERT_FALSE(sample_exists(path)); /* the folder too: all of it was Cairn's */
    CU_ASSERT_EQUAL(cairn_store_list(dir, SAMPLE_RUN, CAIRN_DEPTH_FULL, &entries, &count, &error), CAIRN_OK);
    CU_ASSERT_TRUE(count == 2 && entries[0].number == 4 && entries[1].number == 2);
    cairn_store_list_free(entries, count);
    end();
}

/* A record that does not fit its parts leaves nothing, neither proposed nor under its temporary name. */
static void propose_refused(void)
{
    cairn_part_seal parts[2];
    uint64_t clocks[2] = {1, 2};
    cairn_commit commit = {
        .job = "sample", .run = OTHER_RUN, .number = 7, .count = 2, .parts = parts, .lamport = clocks};
    cairn_part_seal seal;
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];

    begin();
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 7, i, 2, &parts[i], &error), CAIRN_OK);
    }
    CU_ASSERT_EQUAL(cairn_store_propose(dir, &commit, &seal, &error), CAIRN_E_CORRUPT); /* parts of another run */
    proposed_path(path, 7);
    CU_ASSERT_FALSE(sample_exists(path));
    (void)strcat(path, ".tmp");
    CU_ASSERT_FALSE(sample_exists(path));
    CU_ASSERT_FALSE(cairn_store_is_proposed(dir, 7));
    CU_ASSERT_FALSE(cairn_store_has_committed(dir));
    end();
}

UNIT_MAIN("store, in two steps", {"propose and confirm", propose_and_confirm},
          {"confirm without a record", confirm_without_a_record}, {"confirm another seal", confirm_another_seal},
          {"proposed is not committed", proposed_is_not_committed}, {"propose refused", propose_refused})
