#include "base/beat.h"
#include "support/snapshots.h"
#include "support/unit.h"

static char folder[PATH_ROOM];
static char path[PATH_ROOM];

static int begin(void)
{
    char status[PATH_ROOM + 8];

    sample_folder(folder);
    (void)snprintf(status, sizeof status, "%s/status", folder);
    (void)mkdir(status, 0777);
    cairn_beat_path(path, sizeof path, folder, 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(path, "/status/process-000003"));
    return open(path, O_RDWR | O_CREAT, 0666);
}

static const cairn_beat full = {.launch = UINT32_MAX,
                                .pid = INT64_MAX,
                                .host = "a-host-with-a-name-of-sixty-four-characters-that-nobody-ever-has",
                                .phase = CAIRN_PHASE_FINISHING,
                                .activity = UINT64_MAX,
                                .step = UINT64_MAX - 1,
                                .done = UINT64_MAX,
                                .total = UINT64_MAX,
                                .attempt = UINT64_MAX,
                                .lost = UINT32_MAX,
                                .held = UINT64_MAX,
                                .exit = 255};

static bool same(const cairn_beat *a, const cairn_beat *b)
{
    return a->launch == b->launch && a->pid == b->pid && strcmp(a->host, b->host) == 0 && a->phase == b->phase &&
           a->activity == b->activity && a->step == b->step && a->done == b->done && a->total == b->total &&
           a->attempt == b->attempt && a->lost == b->lost && a->held == b->held && a->exit == b->exit;
}

static void round_trip(void)
{
    cairn_beat beats[3] = {
        full,
        {.launch = 0, .pid = 1, .host = "n", .phase = CAIRN_PHASE_STARTING, .step = UINT64_MAX, .exit = -1},
        {.launch = 2, .pid = 99, .host = "node-7", .phase = CAIRN_PHASE_RUNNING, .step = 0, .exit = 0}};
    int fd = begin();

    for (int i = 0; i < 3; i++) {
        cairn_beat back;

        CU_ASSERT_EQUAL(cairn_beat_write(fd, &beats[i]), CAIRN_OK);
        CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), CAIRN_BEAT_BYTES); /* in place, of one length */
        CU_ASSERT_EQUAL_FATAL(cairn_beat_read(path, beats[i].launch, &back), CAIRN_OK);
        CU_ASSERT_TRUE(same(&back, &beats[i]));
        CU_ASSERT_EQUAL(cairn_beat_read(path, beats[i].launch + 1, &back), CAIRN_E_NOT_FOUND);
    }
    (void)close(fd);
    sample_remove(folder);
}

static void odd_host_stays_one_word(void)
{
    cairn_beat beat = {.launch = 1, .pid = 5, .host = "two words\n", .step = 1, .exit = -1};
    cairn_beat back;
    int fd = begin();

    CU_ASSERT_EQUAL(cairn_beat_write(fd, &beat), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_beat_read(path, 1, &back), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(back.host, "two?words?");
    beat.host[0] = '\0';
    CU_ASSERT_EQUAL(cairn_beat_write(fd, &beat), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_beat_read(path, 1, &back), CAIRN_OK);
    CU_ASSERT_STRING_EQUAL(back.host, "-");
    (void)close(fd);
    sample_remove(folder);
}

/* Torn lines of every length, and lines with a word changed, are no sign of life. */
static void torn_and_wrong_lines(void)
{
    static const char *const wrong[][2] = {
        {"cairn-beat 3", "cairn-beat 2"}, {"pid ", "pyd "},     {"phase f", "phase x"}, {"step ", "stop "},
        {"total 1", "total -"},           {"lost 4", "lost 5"}, {"held 1", "held -"},   {"exit ", "exit x"}};
    cairn_beat back;
    char line[CAIRN_BEAT_BYTES];
    int fd = begin();

    CU_ASSERT_EQUAL(cairn_beat_write(fd, &full), CAIRN_OK);
    CU_ASSERT_EQUAL(pread(fd, line, sizeof line, 0), CAIRN_BEAT_BYTES);
    for (size_t length = 0; length < sizeof line; length++) {
        sample_save(path, line, length);
        CU_ASSERT_EQUAL(cairn_beat_read(path, full.launch, &back), CAIRN_E_NOT_FOUND);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char changed[CAIRN_BEAT_BYTES];
        char *at;

        memcpy(changed, line, sizeof line);
        at = memmem(changed, sizeof changed, wrong[i][0], strlen(wrong[i][0]));
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        memcpy(at, wrong[i][1], strlen(wrong[i][1]));
        sample_save(path, changed, sizeof changed);
        CU_ASSERT_EQUAL(cairn_beat_read(path, full.launch, &back), CAIRN_E_NOT_FOUND);
    }
    (void)unlink(path);
    CU_ASSERT_EQUAL(cairn_beat_read(path, full.launch, &back), CAIRN_E_NOT_FOUND);
    (void)close(fd);
    sample_remove(folder);
}

UNIT_MAIN("beat", {"round trip", round_trip}, {"odd host", odd_host_stays_one_word},
          {"torn and wrong lines", torn_and_wrong_lines})
