/* Goal: partial aggregates merge to the same answer in any division, survive bytes, and damaged bytes are refused.
 * Method: random rows into one table and, divided at random, into several that are packed, unpacked and merged in
 * random order. */
#include "dataset/answer.h"
#include "support/unit.h"

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static char *names[] = {"key", "value"};
static const cairn_columns columns = {2, names};

static cairn_query query;

static void use(const char *aggregates, const char *order_by, uint64_t limit)
{
    const cairn_query_text text = {.group_by = "key", .aggregates = aggregates, .order_by = order_by, .limit = limit};
    cairn_error error;

    cairn_query_free(&query);
    CU_ASSERT_FATAL(cairn_query_parse(&query, &text, &columns, NULL, &error) == CAIRN_OK);
}

static const char *const exact = "count,count(value),sum(value),mean(value),min(value),max(value)";
static const char *const all = "count,sum(value),mean(value),variance(value),stddev(value),median(value),"
                               "approx_quantile(value,0.9),approx_distinct(value),approx_distinct(key)";

static void add(cairn_groups *groups, const char *key, size_t key_bytes, const char *value, uint32_t block,
                uint64_t row)
{
    char room[200 + CAIRN_CSV_SLACK] = {0};
    memcpy(room, key, key_bytes);
    cairn_group *group = cairn_groups_find(groups, room, (uint32_t)key_bytes);
    CU_ASSERT_FATAL(group != NULL);
    group->rows++;
    groups->rows++;
    if (value[0] == '\0') {
        groups->missing[0]++;
    } else {
        const cairn_field field = {value, strlen(value)};
        CU_ASSERT_FATAL(cairn_groups_add(groups, group, &query, 0, &field, block, row) == CAIRN_OK);
    }
    if (query.value_count > 1) {
        const cairn_field field = {room, key_bytes};
        CU_ASSERT_FATAL(cairn_groups_add(groups, group, &query, 1, &field, block, row) == CAIRN_OK);
    }
}

static char *print(cairn_groups *groups, cairn_format format)
{
    char *text = NULL;
    size_t bytes;
    cairn_answer_rows *answer = NULL;
    cairn_error error = {CAIRN_OK, ""};
    FILE *out = open_memstream(&text, &bytes);
    CU_ASSERT_FATAL(out != NULL &&
                    cairn_answer_make(&answer, groups, NULL, NULL, &query, &columns, &error) == CAIRN_OK &&
                    cairn_answer_print(answer, out, format) == CAIRN_OK);
    cairn_answer_free(answer);
    (void)fclose(out);
    return text;
}

static void groups_any_division_same_answer(void)
{
    static const char *const values[] = {"1.5", "-2", "", "x", "0.1", "1e300", "-1e300", "1e-20", "123456789.123456789",
                                         "7",   "zz"};
    for (int round = 0; round < 20; round++) {
        cairn_groups whole, part[4], merged;
        int keys = round < 10 ? 50 : 5000;
        use(round % 2 == 0 ? exact : all, NULL, 0);
        CU_ASSERT_FATAL(cairn_groups_init(&whole, cairn_query_shape(&query)) == CAIRN_OK &&
                        cairn_groups_init(&merged, cairn_query_shape(&query)) == CAIRN_OK);
        for (int i = 0; i < 4; i++) {
            CU_ASSERT_FATAL(cairn_groups_init(&part[i], cairn_query_shape(&query)) == CAIRN_OK);
        }
        for (uint64_t row = 0; row < 8000; row++) {
            char key[100];
            uint64_t k = rng() % (uint64_t)keys;
            int bytes = snprintf(key, sizeof key, "%.*s%llu", (int)(k % 40),
                                 "the same beginning of a very long key name", (unsigned long long)k);
            const char *value = values[rng() % (sizeof values / sizeof values[0])];
            add(&whole, key, (size_t)bytes, value, (uint32_t)(row / 1000), row % 1000);
            add(&part[rng() % 4], key, (size_t)bytes, value, (uint32_t)(row / 1000), row % 1000);
        }
        for (int i = 0, first = (int)(rng() % 4); i < 4; i++) {
            cairn_groups copy = {0};
            cairn_pack pack = {0};
            cairn_groups_pack(&part[(first + i) % 4], &pack);
            cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
            CU_ASSERT_FATAL(cairn_pack_ok(&pack) && cairn_groups_unpack(&copy, &unpack) == CAIRN_OK);
            CU_ASSERT(cairn_unpack_left(&unpack) == 0);
            CU_ASSERT_FATAL(cairn_groups_merge(&merged, &copy) == CAIRN_OK);
            cairn_groups_free(&copy);
            free(pack.data);
        }
        char *a = print(&whole, CAIRN_FORMAT_CSV), *b = print(&merged, CAIRN_FORMAT_CSV);
        CU_ASSERT_STRING_EQUAL(a, b);
        CU_ASSERT(whole.rows == merged.rows && whole.missing[0] == merged.missing[0]);
        CU_ASSERT(whole.bad[0].count == merged.bad[0].count && whole.bad[0].block == merged.bad[0].block &&
                  whole.bad[0].row == merged.bad[0].row);
        free(a);
        free(b);
        for (int i = 0; i < 4; i++) {
            cairn_groups_free(&part[i]);
        }
        cairn_groups_free(&whole);
        cairn_groups_free(&merged);
    }
}

static void groups_damaged_bytes_are_refused(void)
{
    cairn_groups groups, copy = {0};
    cairn_pack pack = {0};

    use(all, NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    add(&groups, "a", 1, "1e300", 0, 0);
    add(&groups, "bb", 2, "5", 0, 1);
    cairn_groups_pack(&groups, &pack);
    for (size_t bytes = 0; bytes < pack.bytes; bytes++) {
        cairn_unpack unpack = {.data = pack.data, .bytes = bytes};
        CU_ASSERT(cairn_groups_unpack(&copy, &unpack) != CAIRN_OK && copy.count == 0);
    }
    for (int i = 0; i < 20000; i++) { /* must not crash; an answer may come of it */
        size_t at = rng() % pack.bytes;
        uint8_t old = pack.data[at];
        pack.data[at] = (uint8_t)rng();
        cairn_unpack unpack = {.data = pack.data, .bytes = pack.bytes};
        if (cairn_groups_unpack(&copy, &unpack) == CAIRN_OK &&
            memcmp(&copy.shape, &groups.shape, sizeof copy.shape) == 0) {
            free(print(&copy, CAIRN_FORMAT_JSON));
        }
        pack.data[at] = old;
    }
    cairn_groups_free(&copy);
    cairn_groups_free(&groups);
    free(pack.data);
}

static void answer_formats(void)
{
    cairn_groups groups;
    use(exact, NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    add(&groups, "10", 2, "1.50", 0, 0);
    add(&groups, "9", 1, "2", 0, 1);
    add(&groups, "9", 1, "0.1", 0, 1);
    add(&groups, "9.0", 3, "", 0, 2);
    char *text = print(&groups, CAIRN_FORMAT_CSV);
    CU_ASSERT_STRING_EQUAL(text, "key,count,count(value),sum(value),mean(value),min(value),max(value)\n"
                                 "9,2,2,2.1,1.05,0.1,2\n9.0,1,0,,,,\n10,1,1,1.5,1.5,1.5,1.5\n");
    free(text);
    add(&groups, "a\"b\n\xff\xc3\xa4,\x01", 9, "x", 0, 3);
    text = print(&groups, CAIRN_FORMAT_CSV);
    CU_ASSERT(strstr(text, "\n10,1,1,1.5,1.5,1.5,1.5\n9,2,") != NULL); /* by bytes now */
    CU_ASSERT(strstr(text, "\n\"a\"\"b\n\xff\xc3\xa4,\x01\",1,1,,,,\n") != NULL);
    free(text);
    text = print(&groups, CAIRN_FORMAT_JSON);
    CU_ASSERT(strstr(text, "{\"key\": \"a\\\"b\\u000a\\ufffd\xc3\xa4,\\u0001\", \"count\": 1, \"count(value)\": 1, "
                           "\"sum(value)\": null") != NULL);
    free(text);
    text = print(&groups, CAIRN_FORMAT_TABLE);
    CU_ASSERT(strncmp(text,
                      "key       count  count(value)  sum(value)  mean(value)  min(value)  max(value)\n"
                      "10            1             1         1.5          1.5         1.5         1.5\n",
                      100) == 0);
    free(text);
    cairn_groups_free(&groups);
}

/* Two groups of one sum that is the same double; a group without values; ties go by the key. */
static void answers_in_the_order_asked_for(void)
{
    static const struct {
        const char *key, *value;
    } rows[] = {{"d", "1"},
                {"d", "3"},
                {"a", "2"},
                {"b", "2"},
                {"e", ""},
                {"x", "9000000000"},
                {"x", "9000000000.000000001"},
                {"y", "9000000000"},
                {"y", "9000000000"},
                {"", "5"}};
    static const struct {
        const char *order;
        uint64_t limit;
        const char *expected;
    } cases[] = {{"key", 0, "abdexy,"},
                 {"key desc", 0, "yxedba,"},
                 {"mean(value),key DESC", 0, "dba,yxe"},
                 {" sum( value ) desc , key", 0, "xy,dabe"},
                 {"sum(value)", 3, "abd"},
                 {"count desc,mean(value) desc", 4, "xyd,"},
                 {"stddev(value) desc", 2, "dx"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cairn_groups groups;
        char got[20] = "";
        size_t length = 0;

        use("count,sum(value),mean(value),stddev(value)", cases[i].order, cases[i].limit);
        CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            add(&groups, rows[k].key, strlen(rows[k].key), rows[k].value, 0, k);
        }
        char *text = print(&groups, CAIRN_FORMAT_CSV);
        for (char *at = strchr(text, '\n') + 1; *at != '\0'; at = strchr(at, '\n') + 1) {
            got[length++] = *at;
        }
        got[length] = '\0';
        CU_ASSERT_STRING_EQUAL(got, cases[i].expected);
        free(text);
        cairn_groups_free(&groups);
    }
}

static void sketches_are_printed(void)
{
    static const char *const values[] = {"1", "2.0", "2", "4", "1e2"};
    cairn_groups groups;

    use("variance(value),stddev(value),median(value),approx_quantile(value, 1),approx_distinct(value)", NULL, 0);
    CU_ASSERT_FATAL(cairn_groups_init(&groups, cairn_query_shape(&query)) == CAIRN_OK);
    for (size_t i = 0; i < 5; i++) {
        add(&groups, "k", 1, values[i], 0, i);
    }
    add(&groups, "one", 3, "7", 0, 5);
    add(&groups, "z", 1, "none", 0, 6);
    char *text = print(&groups, CAIRN_FORMAT_CSV);
    /* "2.0" and "2" are two texts. 1912.2 = (1 + 4 + 4 + 16 + 10000 - 109^2 / 5) / 4. */
    CU_ASSERT_STRING_EQUAL(text, "key,variance(value),stddev(value),median(value),\"approx_quantile(value,1)\","
                                 "approx_distinct(value)\nk,1912.2,43.72870910511766,2,100,5\none,,,7,7,1\nz,,,,,1\n");
    free(text);
    query.of_numbers[0] = true;
    CU_ASSERT_FATAL(cairn_groups_clear(&groups) == CAIRN_OK);
    for (size_t i = 0; i < 5; i++) {
        add(&groups, "k", 1, values[i], 0, i);
    }
    text = print(&groups, CAIRN_FORMAT_CSV);
    CU_ASSERT(strstr(text, ",4\n") != NULL);
    free(text);
    cairn_groups_free(&groups);
    cairn_query_free(&query);
}

UNIT_MAIN("groups", {"any division gives the same answer", groups_any_division_same_answer},
          {"damaged bytes are refused", groups_damaged_bytes_are_refused}, {"formats, escapes, order", answer_formats},
          {"the order that is asked for", answers_in_the_order_asked_for},
          {"sketches are printed", sketches_are_printed})
