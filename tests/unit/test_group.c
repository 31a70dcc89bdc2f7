/* Goal: who votes is spread over the nodes and written down so that nothing else is taken for it; and whatever was
 * acknowledged, or could have been, is there after the state was moved to other acceptors, as long as a majority of
 * the old ones has kept its log.
 * Method: groups that run in this process on real files (support/group_bed.h); acceptors that lose their folder, have
 * their log damaged, or are stopped between accepting a value and knowing that it is chosen. */
#include "support/group_bed.h"

static char dir[PATH_ROOM];

static void begin(void)
{
    sample_folder(dir);
}

static void end(void)
{
    sample_remove(dir);
}

/* ---------------------------------------------------------------- choosing */

/* Process i of count is on node i * nodes / count: neighbours share a node, as mpirun places them. */
static void choose(cairn_group *group, uint32_t count, uint32_t nodes, uint32_t wanted)
{
    uint64_t node[64];
    uint32_t on_node[64] = {0};
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;

    for (uint32_t i = 0; i < count; i++) {
        node[i] = UINT64_C(0x9e3779b97f4a7c15) * (1 + i * nodes / count);
    }
    memset(group, 0xff, sizeof *group);
    cairn_group_choose(group, node, count, wanted);
    CU_ASSERT_EQUAL(group->count, count);
    CU_ASSERT_TRUE_FATAL(group->acceptor_count >= 1 && group->acceptor_count <= MP_ACCEPTORS_MAX);
    CU_ASSERT_EQUAL(group->acceptor_count % 2, 1);
    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        CU_ASSERT_TRUE_FATAL(group->acceptors[i] < count);
        CU_ASSERT_TRUE(i == 0 || group->acceptors[i] > group->acceptors[i - 1]);
        on_node[group->acceptors[i] * nodes / count]++;
    }
    for (uint32_t i = 0; i < nodes; i++) { /* nodes are of the same size here, or there is one process more on some */
        least = on_node[i] < least ? on_node[i] : least;
        most = on_node[i] > most ? on_node[i] : most;
    }
    CU_ASSERT_TRUE(most - least <= 1);
}

static void choosing_how_many(void)
{
    static const struct {
        uint32_t count, nodes, wanted, chosen;
    } cases[] = {
        {1, 1, 0, 1},  {2, 1, 0, 1},  {2, 2, 0, 1},  {3, 1, 0, 3},  {3, 3, 0, 3},  {4, 1, 0, 3},  {4, 4, 0, 3},
        {8, 1, 0, 3},  {8, 4, 0, 3},  {8, 5, 0, 5},  {8, 8, 0, 5},  {64, 1, 0, 3}, {64, 4, 0, 3}, {64, 5, 0, 5},
        {64, 8, 0, 5}, {1, 1, 1, 1},  {1, 1, 3, 1},  {1, 1, 5, 1},  {1, 1, 7, 1},  {2, 1, 1, 1},  {2, 2, 3, 1},
        {2, 1, 5, 1},  {2, 1, 7, 1},  {3, 1, 1, 1},  {3, 1, 3, 3},  {3, 3, 5, 3},  {3, 1, 7, 3},  {4, 2, 1, 1},
        {4, 2, 3, 3},  {4, 2, 5, 3},  {4, 4, 7, 3},  {8, 2, 1, 1},  {8, 2, 3, 3},  {8, 2, 5, 5},  {8, 2, 7, 7},
        {8, 4, 9, 7},  {64, 8, 1, 1}, {64, 8, 3, 3}, {64, 8, 5, 5}, {64, 8, 7, 7}, {64, 3, 7, 7}, {64, 64, 99, 7},
    };
    cairn_group group;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        choose(&group, cases[i].count, cases[i].nodes, cases[i].wanted);
        CU_ASSERT_EQUAL(group.acceptor_count, cases[i].chosen);
    }
}

static void choosing_where(void)
{
    static const uint64_t lopsided[] = {5, 5, 5, 5, 5, 5, 9, 5}; /* one process alone on its node */
    cairn_group group;

    choose(&group, 64, 8, 5);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(group.acceptors[i], 8 * i);
    }
    choose(&group, 4, 2, 3);
    CU_ASSERT_TRUE(group.acceptors[0] == 0 && group.acceptors[1] == 1 && group.acceptors[2] == 2);
    choose(&group, 8, 4, 3);
    CU_ASSERT_TRUE(group.acceptors[0] == 0 && group.acceptors[1] == 2 && group.acceptors[2] == 4);
    cairn_group_choose(&group, lopsided, 8, 3);
    CU_ASSERT_TRUE(group.acceptors[0] == 0 && group.acceptors[1] == 1 && group.acceptors[2] == 6);
}

/* ---------------------------------------------------------------- the record */

static void record_round_trip(void)
{
    static const cairn_group groups[] = {
        {.epoch = 1, .count = 1, .acceptor_count = 1, .acceptors = {0}},
        {.epoch = 2, .count = 8, .acceptor_count = 3, .acceptors = {0, 4, 7}, .formed = true},
        {.epoch = UINT32_MAX,
         .count = 65535,
         .acceptor_count = 7,
         .acceptors = {0, 1, 2, 3, 4, 5, 65534},
         .formed = true},
    };
    cairn_error error = {CAIRN_OK, ""};
    cairn_group back;

    begin();
    CU_ASSERT_EQUAL(cairn_group_read(dir, &back, &error), CAIRN_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        CU_ASSERT_EQUAL_FATAL(cairn_group_write(dir, &groups[i], &error), CAIRN_OK);
        memset(&back, 0xff, sizeof back);
        CU_ASSERT_EQUAL_FATAL(cairn_group_read(dir, &back, &error), CAIRN_OK);
        CU_ASSERT_EQUAL(back.epoch, groups[i].epoch);
        CU_ASSERT_EQUAL(back.count, groups[i].count);
        CU_ASSERT_EQUAL(back.formed, groups[i].formed);
        CU_ASSERT_EQUAL_FATAL(back.acceptor_count, groups[i].acceptor_count);
        CU_ASSERT_EQUAL(memcmp(back.acceptors, groups[i].acceptors, sizeof back.acceptors), 0);
    }
    end();
}

#define RECORD(epoch, processes, acceptors, formed)                                                                    \
    "{\"format\":1,\"epoch\":" epoch ",\"processes\":" processes ",\"acceptors\":" acceptors ",\"formed\":" formed "}"

static void bad_records(void)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "\xff\xfe",
        "{}",
        RECORD("1", "3", "[0,1,2]", "true") "x",
        "{\"format\":2,\"epoch\":1,\"processes\":3,\"acceptors\":[0,1,2],\"formed\":true}",
        "{\"epoch\":1,\"processes\":3,\"acceptors\":[0,1,2],\"formed\":true}",
        "{\"format\":1,\"epoch\":1,\"processes\":3,\"acceptors\":[0,1,2]}",
        RECORD("0", "3", "[0,1,2]", "true"),
        RECORD("-1", "3", "[0,1,2]", "true"),
        RECORD("4294967296", "3", "[0,1,2]", "true"),
        RECORD("4294967297", "3", "[0,1,2]", "true"), /* 1 when it is cut to 32 bits */
        RECORD("1.5", "3", "[0,1,2]", "true"),
        RECORD("\"1\"", "3", "[0,1,2]", "true"),
        RECORD("1", "0", "[0,1,2]", "true"),
        RECORD("1", "65536", "[0,1,2]", "true"),
        RECORD("1", "3", "3", "true"),
        RECORD("1", "3", "{}", "true"),
        RECORD("1", "3", "[]", "true"),
        RECORD("1", "9", "[0,1,2,3,4,5,6,7]", "true"),
        RECORD("1", "3", "[0,1,3]", "true"), /* no such process */
        RECORD("1", "3", "[-1,1,2]", "true"),
        RECORD("1", "3", "[0,1,1]", "true"),
        RECORD("1", "3", "[2,1,0]", "true"),
        RECORD("1", "3", "[0,1,\"2\"]", "true"),
        RECORD("1", "3", "[0,1,null]", "true"),
        RECORD("1", "3", "[0,1,4294967298]", "true"),
        RECORD("1", "3", "[0,1,2]", "1"),
        RECORD("1", "3", "[0,1,2]", "null"),
    };
    cairn_error error = {CAIRN_OK, ""};
    cairn_group group = {.epoch = 1, .count = 1, .acceptor_count = 1};
    char path[PATH_ROOM];

    begin();
    CU_ASSERT_EQUAL_FATAL(cairn_group_write(dir, &group, &error), CAIRN_OK);
    (void)snprintf(path, sizeof path, "%.4000s/consensus/group.json", dir);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sample_save(path, bad[i], strlen(bad[i]));
        error.text[0] = '\0';
        if (cairn_group_read(dir, &group, &error) != CAIRN_E_CORRUPT || strstr(error.text, path) == NULL) {
            fprintf(stderr, "taken for a record, or not told where: %s (%s)\n", bad[i], error.text);
            CU_FAIL("bad record");
        }
    }
    sample_save(path, RECORD("1", "3", "[0,1,2]", "true"), strlen(RECORD("1", "3", "[0,1,2]", "true")));
    CU_ASSERT_EQUAL(cairn_group_read(dir, &group, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mkdir(path, 0777), 0);
    CU_ASSERT_NOT_EQUAL(cairn_group_read(dir, &group, &error), CAIRN_OK);
    CU_ASSERT_NOT_EQUAL(cairn_group_read(dir, &group, &error), CAIRN_E_NOT_FOUND);
    end();
}

static void folder_names(void)
{
    cairn_group group = {.epoch = 12};
    char path[CAIRN_GROUP_PATH_BYTES];

    cairn_group_folder(path, sizeof path, "/a/b", &group, 7);
    CU_ASSERT_STRING_EQUAL(path, "/a/b/consensus/group-000012/acceptor-000007");
    group.epoch = UINT32_MAX;
    cairn_group_folder(path, sizeof path, "d", &group, 65534);
    CU_ASSERT_STRING_EQUAL(path, "d/consensus/group-4294967295/acceptor-065534");
}

/* ---------------------------------------------------------------- moving */

enum { KEYS = 40 };

static const cairn_group before = {.epoch = 1, .count = 4, .acceptor_count = 3, .acceptors = {0, 1, 3}, .formed = true};
static uint64_t session;

static cairn_group after(uint32_t acceptors)
{
    cairn_group group = {.epoch = 2, .count = acceptors + 1, .acceptor_count = acceptors};

    for (uint32_t i = 0; i < acceptors; i++) {
        group.acceptors[i] = i + 1;
    }
    return group;
}

static void write_keys(bed *b)
{
    session = bed_session(b, 77);
    for (uint64_t i = 0; i < KEYS; i++) {
        char key[32];
        char value[32];

        (void)snprintf(key, sizeof key, "key/%04d", (int)i);
        (void)snprintf(value, sizeof value, "value %d", (int)i);
        bed_put(b, i % 4 == 0 ? session : 0, i + 1, key, value);
    }
}

/* The old group: formed, with keys and a session; all of its processes are dead then. */
static void make_old(uint64_t image_after)
{
    cairn_group group = before;
    bed *b;

    group.formed = false; /* its logs are made */
    b = bed_open(dir, &group, image_after);
    write_keys(b);
    bed_close(b);
}

static void check_keys(bed *b)
{
    cairn_lease_view lease;

    for (int i = 0; i < KEYS; i++) {
        char key[32];
        char value[32];

        (void)snprintf(key, sizeof key, "key/%04d", i);
        (void)snprintf(value, sizeof value, "value %d", i);
        CU_ASSERT_STRING_EQUAL(bed_get(b, key), value);
    }
    CU_ASSERT_TRUE(cairn_state_lease(cairn_replica_state(bed_leader(b)->replica), session, &lease));
    CU_ASSERT_EQUAL(lease.keys, KEYS / 4);
    CU_ASSERT_EQUAL(bed_session(b, 77), session); /* the same nonce is the same session, now as before */
}

static cairn_status move(const cairn_group *fresh, cairn_error *error)
{
    mp_options options = bed_options(&before);

    error->text[0] = '\0';
    return cairn_group_move(dir, &before, fresh, &options, error);
}

/* Move, and open the new group: everything is there, and it goes on. */
static void move_and_check(uint32_t acceptors)
{
    cairn_group fresh = after(acceptors);
    cairn_error error;
    bed *b;

    if (move(&fresh, &error) != CAIRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        CU_FAIL("move");
        return;
    }
    b = bed_open(dir, &fresh, 0);
    check_keys(b);
    bed_put(b, 0, 0, "later", "too");
    CU_ASSERT_STRING_EQUAL(bed_get(b, "later"), "too");
    CU_ASSERT_STRING_EQUAL(b->said, "");
    bed_close(b);
    fresh.formed = true;
    b = bed_open(dir, &fresh, 0); /* and once more, from its own logs */
    check_keys(b);
    CU_ASSERT_STRING_EQUAL(bed_get(b, "later"), "too");
    bed_close(b);
}

static void moving_to_any_number(void)
{
    static const uint32_t numbers[] = {1, 3, 5, 7};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        begin();
        make_old(0);
        move_and_check(numbers[i]);
        end();
        begin();
        make_old(20000); /* with images, and a log that does not begin with slot 1 */
        move_and_check(numbers[i]);
        end();
    }
}

/* A move that was not noted down (the record still names the old group) is made again. */
static void moving_twice(void)
{
    cairn_group fresh = after(5);
    cairn_error error;

    begin();
    make_old(0);
    CU_ASSERT_EQUAL(move(&fresh, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(move(&fresh, &error), CAIRN_OK);
    move_and_check(3);
    end();
}

/* The first move was noted down, and the new group never formed: its images are all that there is. */
static void moving_what_never_formed(void)
{
    cairn_group second = after(3);
    cairn_group third = {.epoch = 3, .count = 5, .acceptor_count = 5, .acceptors = {0, 1, 2, 3, 4}};
    mp_options options = bed_options(&second);
    cairn_error error = {CAIRN_OK, ""};
    bed *b;

    for (int opened = 0; opened < 2; opened++) {
        begin();
        make_old(0);
        CU_ASSERT_EQUAL(move(&second, &error), CAIRN_OK);
        if (opened) { /* two of three have their logs, the third died before */
            b = bed_open(dir, &second, 0);
            sample_remove(b->members[2].folder);
            bed_close(b);
        }
        CU_ASSERT_EQUAL(cairn_group_move(dir, &second, &third, &options, &error), CAIRN_OK);
        b = bed_open(dir, &third, 0);
        check_keys(b);
        bed_close(b);
        end();
    }
}

static void empty_folder(uint32_t process)
{
    char path[CAIRN_GROUP_PATH_BYTES];

    cairn_group_folder(path, sizeof path, dir, &before, process);
    sample_remove(path);
}

/* A bit of a group of the log that has others behind it. */
static void damage_log(uint32_t process)
{
    char path[CAIRN_GROUP_PATH_BYTES + 64];
    size_t bytes = 0;
    char *data;

    cairn_group_folder(path, sizeof path, dir, &before, process);
    (void)strcat(path, "/log-0000000000000001");
    data = sample_load(path, &bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    data[10 * 512 + 70] ^= 16;
    sample_save(path, data, bytes);
    free(data);
}

static bool was_set_aside(uint32_t process)
{
    char path[CAIRN_GROUP_PATH_BYTES + 64];

    cairn_group_folder(path, sizeof path, dir, &before, process);
    (void)strcat(path, "/log-0000000000000001.damaged");
    return sample_exists(path);
}

static void moving_without_one(void)
{
    for (uint32_t i = 0; i < before.acceptor_count; i++) {
        begin();
        make_old(0);
        empty_folder(before.acceptors[i]);
        move_and_check(5);
        end();
        begin();
        make_old(0);
        damage_log(before.acceptors[i]);
        move_and_check(3);
        CU_ASSERT_TRUE(was_set_aside(before.acceptors[i]));
        end();
    }
}

static void refused(uint32_t lost)
{
    cairn_group fresh = after(3);
    cairn_error error;
    char path[CAIRN_GROUP_PATH_BYTES];
    char text[100];

    CU_ASSERT_EQUAL(move(&fresh, &error), CAIRN_E_CORRUPT);
    (void)snprintf(text, sizeof text, "consensus: %u of 3 acceptors have lost their logs", lost);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, text));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, dir));
    cairn_group_folder(path, sizeof path, dir, &fresh, fresh.acceptors[0]);
    CU_ASSERT_FALSE(sample_exists(path));
}

static void no_moving_without_a_majority(void)
{
    begin();
    make_old(0);
    empty_folder(0);
    empty_folder(3);
    refused(2);
    refused(2); /* and the logs that were made anew for it are nobody's votes the next time */
    end();
    begin();
    make_old(0);
    damage_log(1);
    empty_folder(3);
    refused(2);
    end();
    begin();
    make_old(0);
    empty_folder(0);
    empty_folder(1);
    empty_folder(3);
    refused(3);
    end();
}

/* ---------------------------------------------------------------- accepted, and nobody knows that it is chosen */

static uint32_t its_leader;
static uint32_t its_other;

static bool only_to_the_other(const bed *b, uint32_t from, uint32_t to)
{
    (void)b;
    return from == its_leader && to == its_other;
}

/* The leader and one more have it in their logs; the leader never hears that. */
static void accept_without_knowing(const char *key, const char *value, uint32_t other)
{
    cairn_group group = before;
    bed *b = bed_open(dir, &group, 0);
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = strlen(value)};
    cairn_question question = {
        .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = &put, .then_count = 1}};
    bed_member *leader;
    uint64_t proposed;

    CU_ASSERT_STRING_EQUAL(bed_get(b, "key/0001"), "value 1"); /* somebody leads */
    leader = bed_leader(b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(leader);
    its_leader = leader->process;
    its_other = before.acceptors[(leader - b->members + 1 + other) % 3];
    b->passes = only_to_the_other;
    proposed = mp_proposed(cairn_replica_core(leader->replica));
    bed_send(b, leader, &question);
    for (int i = 0; i < 10; i++) {
        bed_round(b);
    }
    CU_ASSERT_FALSE(b->answered);
    CU_ASSERT_EQUAL(mp_proposed(cairn_replica_core(leader->replica)), proposed + 1);
    CU_ASSERT_EQUAL(mp_chosen(cairn_replica_core(leader->replica)), proposed);
    bed_close(b);
}

static void accepted_by_a_majority(void)
{
    for (uint32_t other = 0; other < 2; other++) {
        cairn_group fresh = after(5);
        cairn_error error;
        bed *b;

        begin();
        make_old(0);
        accept_without_knowing("open", "accepted twice", other);
        CU_ASSERT_EQUAL_FATAL(move(&fresh, &error), CAIRN_OK);
        b = bed_open(dir, &fresh, 0);
        check_keys(b);
        CU_ASSERT_STRING_EQUAL(bed_get(b, "open"), "accepted twice");
        bed_close(b);
        end();
    }
}

/* One of the two has lost its log since: the other one's vote is enough for it to survive, for it may be chosen. */
static void accepted_and_one_is_lost(void)
{
    for (int lost = 0; lost < 2; lost++) {
        cairn_group fresh = after(3);
        cairn_error error;
        bed *b;

        begin();
        make_old(0);
        accept_without_knowing("open", "accepted twice", 0);
        empty_folder(lost == 0 ? its_leader : its_other);
        CU_ASSERT_EQUAL_FATAL(move(&fresh, &error), CAIRN_OK);
        b = bed_open(dir, &fresh, 0);
        check_keys(b);
        CU_ASSERT_STRING_EQUAL(bed_get(b, "open"), "accepted twice");
        bed_close(b);
        end();
    }
}

UNIT_MAIN("group", {"choosing: how many", choosing_how_many}, {"choosing: where", choosing_where},
          {"record", record_round_trip}, {"bad records", bad_records}, {"folder names", folder_names},
          {"moving to any number", moving_to_any_number}, {"moving twice", moving_twice},
          {"moving what never formed", moving_what_never_formed}, {"moving without one", moving_without_one},
          {"no moving without a majority", no_moving_without_a_majority},
          {"accepted by a majority", accepted_by_a_majority}, {"accepted, and one is lost", accepted_and_one_is_lost})
