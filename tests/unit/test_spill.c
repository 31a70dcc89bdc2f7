/* Goal: groups that went to disk give the same answer, byte by byte, as groups in memory, in every form and order; what
 * happened to a run is noticed, with its name.
 * Method: random tables, once whole and once cut into runs of random size, some so small that the rows of the answer do not
 * fit either and runs are merged in several passes. Each byte of a run is changed, each length cut, runs are exchanged. */
#include "dataset/answer.h"
#include "support/unit.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t rng_state = 0x51a3c7f2e9u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static char *names[] = {"key", "value", "other"};
static const cairn_columns columns = {3, names};
static cairn_query query;
static char folder[] = "/tmp/cairn-unit-spill-XXXXXX";

static void use(const char *by, const char *aggregates, const char *order_by, uint64_t limit)
{
    const cairn_query_text text = {.group_by = by, .aggregates = aggregates, .order_by = order_by, .limit = limit};
    cairn_error error;

    cairn_query_free(&query);
    CU_ASSERT_FATAL(cairn_query_parse(&query, &text, &columns, NULL, &error) == CAIRN_OK);
}

static void add(cairn_groups *groups, const char *key, size_t bytes, const char *value, uint64_t row)
{
    char room[400 + CAIRN_CSV_SLACK] = {0};
    const cairn_field field = {value, strlen(value)};

    memcpy(room, key, bytes);
    cairn_group *group = cairn_groups_find(groups, room, (uint32_t)bytes);
    CU_ASSERT_FATAL(group != NULL);
    group->rows++;
    groups->rows++;
    for (uint32_t k = 0; k < query.value_count && field.bytes > 0; k++) {
        CU_ASSERT_FATAL(cairn_groups_add(groups, group, &query, k, &field, 0, row) == CAIRN_OK);
    }
}

/* One text or two, of numbers only or not, short and long, with a zero byte now and then. */
static size_t make_key(char *key, uint64_t k, bool numbers, bool two)
{
    char first[120];
    int length = numbers ? snprintf(first, sizeof first, "%lld", (long long)k - 500)
                         : snprintf(first, sizeof first, "%.*s%llu%c", (int)(k % 60),
                                    "k is a key of which some are long, and begin in the same way as others",
                                    (unsigned long long)k, k % 7 == 0 ? '\0' : 'x');
    if (!two) {
        memcpy(key, first, (size_t)length);
        return (size_t)length;
    }
    const uint8_t head[4] = {(uint8_t)length}, tail[4] = {1};
    memcpy(key, head, 4);
    memcpy(key + 4, first, (size_t)length);
    memcpy(key + 4 + length, tail, 4);
    key[8 + length] = (char)('a' + k % 3);
    return 9 + (size_t)length;
}

static cairn_spill new_spill(uint64_t memory)
{
    cairn_spill spill = {.memory = memory, .folder = folder, .stem = "unit"};

    return spill;
}

static uint32_t files_left(bool remove_them)
{
    char path[600];
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    uint32_t count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            count++;
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            CU_ASSERT(!remove_them || unlink(path) == 0);
        }
    }
    (void)closedir(dir);
    return count;
}

static char *print(cairn_groups *groups, cairn_runs *runs, cairn_spill *spill, cairn_format format)
{
    char *text = NULL;
    size_t bytes;
    cairn_answer_rows *answer = NULL;
    cairn_error error = {CAIRN_OK, ""};
    FILE *out = open_memstream(&text, &bytes);

    CU_ASSERT_FATAL(out != NULL);
    CU_ASSERT_EQUAL_FATAL(cairn_answer_make(&answer, groups, runs, spill, &query, &columns, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_answer_print(answer, out, format), CAIRN_OK);
    cairn_answer_free(answer);
    (void)fclose(out);
    return text;
}

static void the_same_answer_from_disk(void)
{
    static const char *const values[] = {"1.5", "-2", "", "x", "0.1", "1e300", "-1e300", "1e-20", "7", "12345.678"};
    static const char *const aggregates[] = {"count,sum(value),min(value),max(value)",
                                             "count,mean(value),variance(value),median(value),approx_distinct(value)"};
    static const char *const orders[] = {NULL, "count desc", "key desc"};
    uint32_t outside = 0, several = 0;

    for (int round = 0; round < 16; round++) {
        bool numbers = rng() % 2 == 0, two = rng() % 3 == 0;
        uint64_t keys = 1 + rng() % (round % 3 == 0 ? 20 : 3000), limit = rng() % 4 == 0 ? 1 + rng() % 300 : 0;
        use(two ? "key,other" : "key", aggregates[rng() % 2], orders[rng() % 3], limit);
        cairn_groups whole, part;
        cairn_runs runs = {0};
        /* Of an eighth of it the rows are sorted at once. */
        cairn_spill spill = new_spill(rng() % 3 == 0 ? 0 : 1000000 + rng() % 4000000);
        uint64_t every = 30 + rng() % (round % 4 == 0 ? 30 : 3000);
        cairn_error error;
        char key[400];
        CU_ASSERT_FATAL(cairn_groups_init(&whole, cairn_query_shape(&query)) == CAIRN_OK &&
                        cairn_groups_init(&part, cairn_query_shape(&query)) == CAIRN_OK);
        for (uint64_t row = 0; row < 5000; row++) {
            size_t bytes = make_key(key, rng() % keys, numbers, two);
            const char *value = values[rng() % (sizeof values / sizeof values[0])];
            add(&whole, key, bytes, value, row);
            add(&part, key, bytes, value, row);
            if (rng() % every == 0) {
                CU_ASSERT_FATAL(cairn_spill_groups(&spill, &part, &runs, &error) == CAIRN_OK);
                CU_ASSERT(part.count == 0 && part.rows == row + 1);
            }
        }
        several += runs.count > CAIRN_MERGE_MAX;
        for (int format = CAIRN_FORMAT_TABLE; format <= CAIRN_FORMAT_JSON; format++) {
            uint64_t before = spill.runs;
            char *a = print(&whole, NULL, NULL, (cairn_format)format);
            char *b = print(&part, &runs, &spill, (cairn_format)format);
            CU_ASSERT_STRING_EQUAL(a, b);
            free(a);
            free(b);
            outside += spill.runs > before + 1;
        }
        CU_ASSERT(whole.rows == part.rows && whole.bad[0].count == part.bad[0].count &&
                  whole.bad[0].row == part.bad[0].row);
        cairn_runs_free(&runs);
        CU_ASSERT(files_left(true) > 0 || spill.runs == 0);
        cairn_groups_free(&whole);
        cairn_groups_free(&part);
    }
    CU_ASSERT(several > 0 && outside > 0);
}

/* A hash that is the same for different keys happens: with keys of equal words, only by their bytes. */
static void runs_join_what_is_equal(void)
{
    cairn_runs runs = {0};
    cairn_groups groups;
    cairn_error error;
    cairn_merge merge;
    const cairn_run_reader *reader;
    uint64_t rows = 0, count = 0;
    char key[16], last[16] = "";

    use("key", "sum(value)", NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    for (int i = 0; i < 5; i++) {
        cairn_spill spill = new_spill(0); /* each as the one before: none may write over another's */
        for (uint64_t k = 0; k < 1000; k += 1 + (uint64_t)i) {
            int length = snprintf(key, sizeof key, "%llu", (unsigned long long)k);
            add(&groups, key, (size_t)length, "1", k);
        }
        CU_ASSERT_FATAL(cairn_spill_groups(&spill, &groups, &runs, &error) == CAIRN_OK);
    }
    CU_ASSERT(runs.count == 5);
    CU_ASSERT_FATAL(cairn_merge_open(&merge, runs.run, runs.count, groups.shape, &cairn_merge_by_key, &error) ==
                    CAIRN_OK);
    while (cairn_merge_next(&merge, &reader, &error) == CAIRN_OK && reader != NULL) {
        const cairn_group *group = cairn_groups_one(&reader->one);
        uint64_t expected = 0;
        memset(key, 0, sizeof key);
        memcpy(key, reader->one.keys, group->key.bytes);
        for (uint64_t i = 1; i <= 5; i++) {
            expected += strtoull(key, NULL, 10) % i == 0;
        }
        CU_ASSERT(group->rows == expected && strcmp(key, last) != 0);
        memcpy(last, key, sizeof last);
        rows += group->rows;
        count++;
    }
    CU_ASSERT(count == 1000 && rows == 1000 + 500 + 334 + 250 + 200);
    cairn_merge_close(&merge);
    cairn_runs_free(&runs);
    cairn_groups_free(&groups);
    (void)files_left(true);
}

static cairn_status read_all(const cairn_run *run, cairn_shape shape, cairn_error *error)
{
    cairn_run_reader reader;
    bool any = true;
    cairn_status status = cairn_run_open(&reader, run, shape, error);

    if (status != CAIRN_OK) {
        return status;
    }
    while (status == CAIRN_OK && any) {
        status = cairn_run_next(&reader, &any, error);
    }
    cairn_run_close(&reader);
    return status;
}

static void put_bytes(const char *path, const char *data, size_t bytes)
{
    FILE *file = fopen(path, "w");

    CU_ASSERT_FATAL(file != NULL && fwrite(data, 1, bytes, file) == bytes && fclose(file) == 0);
}

static void damage_is_noticed(void)
{
    cairn_spill spill = new_spill(0);
    cairn_runs runs = {0};
    cairn_groups groups;
    cairn_error error = {CAIRN_OK, ""};
    char key[40];

    use("key", "sum(value),approx_distinct(value)", NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    for (int i = 0; i < 2; i++) {
        for (uint64_t k = 0; k < 12; k++) {
            int length = snprintf(key, sizeof key, "%llu and more than sixteen", (unsigned long long)k);
            add(&groups, key, (size_t)length, i == 0 ? "1" : "2", k);
        }
        CU_ASSERT_FATAL(cairn_spill_groups(&spill, &groups, &runs, &error) == CAIRN_OK);
    }
    const cairn_run *run = &runs.run[0];
    char *data = malloc((size_t)run->bytes);
    FILE *file = fopen(run->path, "r");
    CU_ASSERT_FATAL(file != NULL && data != NULL && fread(data, 1, (size_t)run->bytes, file) == run->bytes);
    (void)fclose(file);
    CU_ASSERT(read_all(run, groups.shape, &error) == CAIRN_OK);
    for (size_t at = 0; at < run->bytes; at++) {
        data[at] = (char)(data[at] ^ (1 << at % 8));
        put_bytes(run->path, data, (size_t)run->bytes);
        CU_ASSERT(read_all(run, groups.shape, &error) == CAIRN_E_CORRUPT && strstr(error.text, run->path) != NULL);
        data[at] = (char)(data[at] ^ (1 << at % 8));
    }
    for (size_t bytes = 0; bytes < run->bytes; bytes++) {
        put_bytes(run->path, data, bytes);
        CU_ASSERT(read_all(run, groups.shape, &error) == CAIRN_E_CORRUPT && strstr(error.text, run->path) != NULL);
        CU_ASSERT(cairn_runs_check(&runs, &error) == CAIRN_E_CORRUPT && strstr(error.text, run->path) != NULL);
    }
    put_bytes(run->path, data, (size_t)run->bytes);
    CU_ASSERT(read_all(run, groups.shape, &error) == CAIRN_OK && cairn_runs_check(&runs, &error) == CAIRN_OK);
    /* Each is whole, but they are not where they were. */
    cairn_run other = runs.run[1];
    other.path = run->path;
    CU_ASSERT(other.bytes == run->bytes && read_all(&other, groups.shape, &error) == CAIRN_E_CORRUPT);
    cairn_shape another = groups.shape;
    another.needs[0] = 0;
    CU_ASSERT(read_all(run, another, &error) == CAIRN_E_CORRUPT);
    CU_ASSERT(unlink(run->path) == 0 && read_all(run, groups.shape, &error) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(cairn_runs_check(&runs, &error) == CAIRN_E_CORRUPT && strstr(error.text, run->path) != NULL);
    free(data);
    cairn_runs_free(&runs);
    cairn_groups_free(&groups);
    (void)files_left(true);
}

static void lists_survive_bytes(void)
{
    cairn_runs runs = {0}, copy = {0};
    cairn_pack pack = {0};

    for (uint64_t i = 0; i < 20; i++) {
        char path[60];
        (void)snprintf(path, sizeof path, i % 2 == 0 ? "/here/spill/%llu" : "/tmp/%llu", (unsigned long long)i);
        CU_ASSERT_FATAL(cairn_runs_add(&runs, (cairn_run){strdup(path), i, i + 1, i + 2, i % 3 == 0}) == CAIRN_OK);
    }
    cairn_runs_pack(&runs, "/here/spill", &pack);
    cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
    CU_ASSERT(cairn_runs_unpack(&copy, "/moved", &unpack) == CAIRN_OK && copy.count == 20);
    CU_ASSERT_STRING_EQUAL(copy.run[4].path, "/moved/4");
    CU_ASSERT_STRING_EQUAL(copy.run[5].path, "/tmp/5");
    CU_ASSERT(copy.run[5].bytes == 5 && copy.run[5].groups == 6 && copy.run[5].chain == 7 && copy.run[6].durable);
    CU_ASSERT(cairn_runs_move(&runs, &copy) == CAIRN_OK && runs.count == 40 && copy.count == 0);
    for (size_t bytes = 0; bytes < pack.bytes; bytes++) {
        unpack = (cairn_unpack){.data = pack.data, .bytes = bytes};
        CU_ASSERT(cairn_runs_unpack(&copy, "/moved", &unpack) == CAIRN_E_CORRUPT);
        cairn_runs_free(&copy);
    }
    cairn_runs_free(&runs);
    free(pack.data);
}

/* A limit of the size of files is as a full disk, but comes with a signal. */
static void a_full_disk_loses_nothing(void)
{
    cairn_spill spill = new_spill(0);
    cairn_runs runs = {0};
    cairn_groups groups;
    cairn_error error = {CAIRN_OK, ""};
    struct rlimit before, small = {300, 300};
    char key[40];

    use("key", "sum(value)", NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    for (uint64_t k = 0; k < 1000; k++) {
        int length = snprintf(key, sizeof key, "%llu", (unsigned long long)k);
        add(&groups, key, (size_t)length, "1", k);
    }
    (void)signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_FATAL(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small.rlim_max = before.rlim_max;
    CU_ASSERT_FATAL(setrlimit(RLIMIT_FSIZE, &small) == 0);
    cairn_status status = cairn_spill_groups(&spill, &groups, &runs, &error);
    CU_ASSERT_FATAL(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CU_ASSERT(status == CAIRN_E_IO && strstr(error.text, folder) != NULL);
    CU_ASSERT(groups.count == 1000 && runs.count == 0 && files_left(false) == 0);
    CU_ASSERT(cairn_spill_groups(&spill, &groups, &runs, &error) == CAIRN_OK && groups.count == 0 && runs.count == 1);
    cairn_runs_free(&runs);
    cairn_groups_free(&groups);
    (void)files_left(true);
    cairn_query_free(&query);
    CU_ASSERT(rmdir(folder) == 0);
}

static void begin(void)
{
    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
}

UNIT_MAIN("spill", {"a folder", begin}, {"the same answer from disk", the_same_answer_from_disk},
          {"runs join what is equal", runs_join_what_is_equal}, {"damage is noticed", damage_is_noticed},
          {"lists survive bytes", lists_survive_bytes}, {"a full disk loses nothing", a_full_disk_loses_nothing})
