/* Goal: what a file says does not depend on how it is cut, and is what RFC 4180 and csv.h say.
 * Method: texts by hand and by chance, read by the fast reader cut at every byte and in pieces of every kind, against
 * a slow reader. */
#include "support/csv_check.h"
#include "support/unit.h"

#include <string.h>
#include <sys/stat.h>

static uint64_t rng_state = 0x853c49e6748fea9bu;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* Replace the plan's blocks by two, cut at `at`. */
static void cut_at(check_text *t, uint64_t at)
{
    cairn_plan_file *file = &t->plan.files[0];
    cairn_block *blocks = calloc(3, sizeof *blocks);
    CU_ASSERT_FATAL(blocks != NULL);
    free(t->plan.blocks);
    t->plan.blocks = blocks;
    blocks[0] = (cairn_block){.start = file->data_start, .end = at};
    blocks[1] = (cairn_block){.start = at, .end = file->bytes};
    t->plan.block_count = file->block_count = 2;
}

static void compare(const char *expected, char *got, const char *text, const char *how, uint64_t number)
{
    if (strcmp(expected, got) != 0) {
        fprintf(stderr, "%s %llu of:\n%s\nexpected:\n%s\ngot:\n%s\n", how, (unsigned long long)number, text, expected,
                got);
        CU_FAIL("the fast reader differs");
    }
    free(got);
}

static void check_every_cut(const char *data, size_t bytes, char delimiter, bool few)
{
    check_text t;
    check_open(&t, delimiter, data, bytes, 0);
    char *expected = check_slow(&t, data, bytes, delimiter);
    uint64_t end = t.plan.files[0].bytes;

    compare(expected, check_fast(&t, 3, true, NULL), data, "careful", 0);
    for (uint64_t at = t.plan.files[0].data_start + 1; at < end; at += few ? 1 + rng() % 7 : 1) {
        cut_at(&t, at);
        compare(expected, check_fast(&t, 1 + rng() % 90, false, NULL), data, "guessing, cut at", at);
        compare(expected, check_fast(&t, 1 + rng() % 90, true, NULL), data, "careful, cut at", at);
    }
    check_close(&t);
    for (uint64_t size = 1; size < 9 && bytes > 0; size++) {
        check_open(&t, delimiter, data, bytes, size);
        compare(expected, check_fast(&t, 5, false, NULL), data, "guessing, blocks of", size);
        compare(expected, check_fast(&t, 64, true, NULL), data, "careful, blocks of", size);
        check_close(&t);
    }
    free(expected);
}

static void csv_texts_by_hand_cut_everywhere(void)
{
    static const char *const texts[] = {
        "",
        "1,2,3",
        "1,2,3\n",
        "1,2,3\r\n4,5,6\r\n",
        "x,1,y\n\n\nz,2,w\n\n",
        ",,\n,,",
        "a,,\n,1.5,\n",
        "\"a,b\",1,\"c\"\"d\"\n\"\",2,\"\"\n",
        "\"line\nbreak\",1,\"another\r\nbreak\"\nplain,2,x\n",
        "\"many\n\n\n\nlines\n\",1,\"\n\"\n\"\n\n\",2,\"\n,,\n\"\nx,3,y",
        "a,1\nb\nc,1,2,3,4\n",
        "a\"b,1,c\"\"d\nx\"\n\"y,2,z\n",
        "\"a\"tail,1,\"b\"more\r\n\"c\" ,2,\"d\"\r\n",
        "\"never\nends,1,2\n3,4,5\n",
        "\"\"\n\"\"\"\"\n\"x\"\"\n\",1,2\n",
        "u\xcc\x88ml,1,\xe6\x9d\xb1\xe4\xba\xac\n",
        "a,abc,1\nb,1e3,2\nc,0x1,3\nd,-2.25,4\n",
        "\r\n\r\n1,2,3\r\n\r",
        "\"quoted\r\",1,\"x\r\"\r\ny,2,z\r\r\n",
        "0123456789012345678901234567890123456789012345678901234567890123,1,2\n3,4,5\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_every_cut(texts[i], strlen(texts[i]), ',', false);
    }
    check_every_cut("a\0b,1,c\n\0,2,\0\n", 14, ',', false);
    check_every_cut("x;1;\"a;b\"\ny;2;z\n", 16, ';', false);
    check_every_cut("x\t1\t\"a\tb\n\"\ny\t2\tz\n", 18, '\t', false);
}

static void csv_random_texts_cut_everywhere(void)
{
    static const char alphabet[] = "\"\"\"\n\n\n,,,,ab12.-\r\r 5";
    char text[400];
    for (int round = 0; round < 1500; round++) {
        size_t bytes = rng() % (round % 20 == 0 ? 390 : 60);
        for (size_t i = 0; i < bytes; i++) {
            text[i] = alphabet[rng() % (sizeof alphabet - 1)];
        }
        text[bytes] = '\0';
        check_every_cut(text, bytes, ',', true);
    }
}

static void csv_wrong_guess_is_seen(void)
{
    const char *text = "x,1,\"one\ntwo\nthree\"\ny,2,z\n";
    check_text t;
    bool guessed, some = false;

    check_open(&t, ',', text, strlen(text), 0);
    CU_ASSERT(t.plan.files[0].careful);
    for (uint64_t at = 7; at < t.plan.files[0].bytes; at++) {
        cut_at(&t, at);
        free(check_fast(&t, 1000, false, &guessed));
        some = some || !guessed;
    }
    CU_ASSERT(some);
    check_close(&t);
}

static void csv_states_compose(void)
{
    static const char alphabet[] = "\"\"\"\n,,ab\r";
    char text[64];
    for (int round = 0; round < 20000; round++) {
        size_t bytes = rng() % 60, at = bytes == 0 ? 0 : rng() % bytes;
        for (size_t i = 0; i < bytes; i++) {
            text[i] = alphabet[rng() % (sizeof alphabet - 1)];
        }
        cairn_csv_state from = (cairn_csv_state)(rng() % 5), slow = from;
        for (size_t i = 0; i < bytes; i++) {
            slow = cairn_csv_scan(slow, text + i, 1, ',');
        }
        cairn_csv_state half = cairn_csv_scan(from, text, at, ',');
        if (cairn_csv_scan(from, text, bytes, ',') != slow ||
            cairn_csv_scan(half, text + at, bytes - at, ',') != slow) {
            CU_FAIL_FATAL("a scan in pieces ends in another state");
        }
    }
}

static void delimiter_is_found(void)
{
    static const struct {
        const char *text;
        char delimiter;
    } cases[] = {
        {"a,b,c\n1,2,3\n", ','},      {"a;b\n1,5;2\n2,5;3\n", ';'},          {"a\tb\n1,2\t3\n", '\t'},
        {"one\n1\n2\n", ','},         {"station;temperature\nX;1.0\n", ';'}, {"\"a,b\";c\n\"1,2,3\";4\n", ';'},
        {"a,b;c\n1,2;3\n1,2\n", ','},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT(cairn_csv_find_delimiter(cases[i].text, strlen(cases[i].text), true) == cases[i].delimiter);
    }
}

static cairn_status ask(cairn_query *query, const char *group_by, const char *aggregates, const cairn_columns *columns,
                        cairn_error *error)
{
    const cairn_query_text text = {.group_by = group_by, .aggregates = aggregates};

    return cairn_query_parse(query, &text, columns, NULL, error);
}

static void header_and_query_errors_are_clear(void)
{
    cairn_columns columns = {0, NULL};
    cairn_query query;
    cairn_error error = {CAIRN_OK, ""};
    size_t start = 0;
    const char *text = "\xef\xbb\xbf\"x,y\",delay,\"a\"\"b\",delay\r\n1,2,3,4\r\n";

    CU_ASSERT_FATAL(cairn_csv_header(text, strlen(text), true, ',', &columns, &start, &error) == CAIRN_OK);
    CU_ASSERT(columns.count == 4 && start == 29);
    CU_ASSERT_STRING_EQUAL(columns.name[0], "x,y");
    CU_ASSERT_STRING_EQUAL(columns.name[2], "a\"b");
    CU_ASSERT(ask(&query, "\"x,y\"", "count, sum(\"a\"\"b\") ,count(*)", &columns, &error) == CAIRN_OK);
    CU_ASSERT(query.group_count == 1 && query.aggregate_count == 3 && query.value_column[0] == 2);
    CU_ASSERT(ask(&query, "nope", NULL, &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT_STRING_EQUAL(error.text, "no column named nope; the columns are: x,y, delay, a\"b, delay");
    CU_ASSERT(ask(&query, "delay", NULL, &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT_STRING_EQUAL(error.text, "the header has two columns named delay");
    CU_ASSERT(ask(&query, NULL, "median(delay)", &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT(ask(&query, NULL, "sum", &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT(ask(&query, NULL, "sum(delay", &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT(ask(&query, NULL, "", &columns, &error) == CAIRN_E_INVALID);
    CU_ASSERT(cairn_csv_header("", 0, true, ',', &columns, &start, &error) == CAIRN_E_INVALID);
    cairn_columns_free(&columns);
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    CU_ASSERT_FATAL(out != NULL);
    CU_ASSERT(fputs(text, out) >= 0 && fclose(out) == 0);
}

static void plan_names_what_is_wrong(void)
{
    char folder[] = "/tmp/cairn-plan-XXXXXX", path[300];
    cairn_plan plan, again;
    cairn_error error = {CAIRN_OK, ""};
    char *paths[] = {folder};

    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
    CU_ASSERT(cairn_plan_make(&plan, paths, 1, &(cairn_plan_options){0}, &error) == CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "holds no .csv") != NULL);
    put_file(folder, "b.csv", "x;y\n1;2\n");
    put_file(folder, "a.csv", "x;y\n3;4\n");
    put_file(folder, "ignored.dat", "zzz");
    CU_ASSERT_FATAL(cairn_plan_make(&plan, paths, 1, &(cairn_plan_options){0}, &error) == CAIRN_OK);
    CU_ASSERT(plan.file_count == 2 && plan.delimiter == ';' && strstr(plan.files[0].path, "/a.csv") != NULL);
    cairn_pack pack = {0};
    cairn_plan_pack(&plan, &pack);
    for (size_t bytes = 0; bytes < pack.bytes; bytes++) {
        cairn_unpack unpack = {.data = pack.data, .bytes = bytes};
        CU_ASSERT(cairn_plan_unpack(&again, &unpack) != CAIRN_OK);
    }
    cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
    CU_ASSERT_FATAL(cairn_plan_unpack(&again, &unpack) == CAIRN_OK);
    CU_ASSERT(cairn_plan_compare(&again, &plan, &error) == CAIRN_OK && again.block_count == plan.block_count);
    cairn_plan_free(&again);
    put_file(folder, "b.csv", "x;y\n1;2\n5;6\n");
    CU_ASSERT_FATAL(cairn_plan_make(&again, paths, 1, &(cairn_plan_options){0}, &error) == CAIRN_OK);
    CU_ASSERT(cairn_plan_compare(&plan, &again, &error) == CAIRN_E_MISMATCH && strstr(error.text, "b.csv") != NULL);
    cairn_plan_free(&again);
    put_file(folder, "b.csv", "x;z\n1;2\n");
    CU_ASSERT(cairn_plan_make(&again, paths, 1, &(cairn_plan_options){0}, &error) == CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "/b.csv: column 2 is z, but it is y in") != NULL);
    (void)snprintf(path, sizeof path, "%s/none.csv", folder);
    paths[0] = path;
    CU_ASSERT(cairn_plan_make(&again, paths, 1, &(cairn_plan_options){0}, &error) == CAIRN_E_NOT_FOUND &&
              strstr(error.text, path) != NULL);
    cairn_plan_free(&plan);
    free(pack.data);
    static const char *const names[] = {"a.csv", "b.csv", "ignored.dat"};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    CU_ASSERT(rmdir(folder) == 0);
}

static void plan_blocks_tile_every_file(void)
{
    char *text = malloc(3000000);
    check_text t;
    CU_ASSERT_FATAL(text != NULL);
    for (size_t i = 0; i < 3000000; i++) {
        text[i] = i % 12 == 11 ? '\n' : i % 4 == 1 ? ',' : 'x';
    }
    check_open(&t, ',', text, 3000000, 0);
    uint64_t at = t.plan.files[0].data_start;
    for (uint32_t i = 0; i < t.plan.block_count; i++) {
        CU_ASSERT(t.plan.blocks[i].start == at && t.plan.blocks[i].end > at);
        at = t.plan.blocks[i].end;
    }
    CU_ASSERT(at == t.plan.files[0].bytes && t.plan.block_bytes == CAIRN_BLOCK_BYTES_MIN);
    check_close(&t);
    free(text);
}

static void file_that_changes_is_named(void)
{
    check_text t;
    cairn_reader *reader;
    cairn_groups groups;
    cairn_error error = {CAIRN_OK, ""};
    cairn_outcome outcome;

    check_open(&t, ',', "1,2,3\n4,5,6\n", 12, 0);
    CU_ASSERT_FATAL(cairn_reader_open(&reader, &t.plan, &t.query) == CAIRN_OK);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&t.query)) == CAIRN_OK);
    CU_ASSERT_FATAL(ftruncate(t.fd, 10) == 0);
    cairn_lease lease = cairn_lease_begin(&t.plan, 0, CAIRN_START_GUESS);
    CU_ASSERT(cairn_reader_step(reader, &lease, &groups, 100, &outcome, &error) == CAIRN_E_MISMATCH);
    CU_ASSERT(strstr(error.text, t.path) != NULL);
    cairn_groups_free(&groups);
    cairn_reader_close(reader);
    check_close(&t);
}

UNIT_MAIN("csv", {"texts by hand, cut at every byte", csv_texts_by_hand_cut_everywhere},
          {"random texts, cut everywhere", csv_random_texts_cut_everywhere},
          {"a wrong guess of a border is seen", csv_wrong_guess_is_seen}, {"states compose", csv_states_compose},
          {"the delimiter is found", delimiter_is_found},
          {"errors of header and query", header_and_query_errors_are_clear},
          {"errors of a plan", plan_names_what_is_wrong}, {"blocks tile every file", plan_blocks_tile_every_file},
          {"a file that changes is named", file_that_changes_is_named})
