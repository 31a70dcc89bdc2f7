/* Slurm's lists of hosts and of tasks. */
#include "base/nodelist.h"
#include "support/unit.h"

#include <string.h>

/* The names with blanks between; "!" when it is refused. */
static void expect(const char *text, const char *names)
{
    char all[4096] = "";
    cairn_nodelist list;
    cairn_error error = {0};
    cairn_status status = cairn_nodelist_parse(&list, text, &error);

    for (uint32_t i = 0; i < list.count && i < 50; i++) {
        (void)strcat(strcat(all, i > 0 ? " " : ""), list.names[i]);
    }
    if (status != CAIRN_OK) {
        CU_ASSERT_EQUAL(status, CAIRN_E_INVALID);
        CU_ASSERT_TRUE(error.text[0] != '\0');
        CU_ASSERT_EQUAL(list.count, 0);
        (void)strcpy(all, "!");
    }
    if (strcmp(all, names) != 0) {
        printf("\n%s: %s instead of %s\n", text, all, names);
    }
    CU_ASSERT_STRING_EQUAL(all, names);
    cairn_nodelist_free(&list);
}

static void hosts_are_expanded(void)
{
    expect("stone", "stone");
    expect("stone,cairn,moss", "stone cairn moss");
    expect("n[1-3]", "n1 n2 n3");
    expect("n[08-11]", "n08 n09 n10 n11");
    expect("n[1,5,10-12],login-1.site", "n1 n5 n10 n11 n12 login-1.site");
    expect("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2");
    expect("r[1-2]n[1-2]-ib,x", "r1n1-ib r1n2-ib r2n1-ib r2n2-ib x");
    expect("a[3-3]b", "a3b");
}

static void what_is_no_list_is_refused(void)
{
    static const char *const wrong[] = {"",           ",",        "a,",           "a,,b",    "n[1-3",       "n1-3]",
                                        "n[]",        "n[3-1]",   "n[1-]",        "n[-1]",   "n[a-b]",      "n[1,]",
                                        "n[,1]",      "n[1[2]]",  "a b",          "$(true)", "n[1-2]$HOME", "a;b",
                                        "n[0-99999]", "n[1-2]n[", "n[9999999999]"};
    char longest[CAIRN_NODE_NAME_BYTES + 8];

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        expect(wrong[i], "!");
    }
    memset(longest, 'n', CAIRN_NODE_NAME_BYTES);
    longest[CAIRN_NODE_NAME_BYTES] = '\0';
    expect(longest, "!");
    longest[CAIRN_NODE_NAME_BYTES - 1] = '\0';
    expect(longest, longest);
    (void)strcpy(longest + CAIRN_NODE_NAME_BYTES - 2, "[10]");
    expect(longest, "!");
}

static void as_many_as_allowed(void)
{
    cairn_nodelist list;
    cairn_error error = {0};

    CU_ASSERT_EQUAL(cairn_nodelist_parse(&list, "n[00000-65535]", &error), CAIRN_OK);
    CU_ASSERT_EQUAL(list.count, CAIRN_NODES_MAX);
    CU_ASSERT_STRING_EQUAL(list.names[65535], "n65535");
    cairn_nodelist_free(&list);
    CU_ASSERT_EQUAL(cairn_nodelist_parse(&list, "n[00000-65536]", &error), CAIRN_E_INVALID);
}

static void tasks_of_each_host(void)
{
    static const char *const wrong[] = {"",     "2",    "2(x4)", "2(x2)", "1,1,1,1", "1,1,",
                                        "2(x3", "2(3)", "2x3",   "a",     "1,1,-1",  "1, 1,1"};
    uint32_t tasks[3] = {0};
    cairn_error error = {0};

    CU_ASSERT_EQUAL(cairn_tasks_parse(tasks, 3, "2(x3)", &error), CAIRN_OK);
    CU_ASSERT_TRUE(tasks[0] == 2 && tasks[1] == 2 && tasks[2] == 2);
    CU_ASSERT_EQUAL(cairn_tasks_parse(tasks, 3, "4(x2),1", &error), CAIRN_OK);
    CU_ASSERT_TRUE(tasks[0] == 4 && tasks[1] == 4 && tasks[2] == 1);
    CU_ASSERT_EQUAL(cairn_tasks_parse(tasks, 3, "1,16,3", &error), CAIRN_OK);
    CU_ASSERT_TRUE(tasks[0] == 1 && tasks[1] == 16 && tasks[2] == 3);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT_EQUAL(cairn_tasks_parse(tasks, 3, wrong[i], &error), CAIRN_E_INVALID);
    }
}

UNIT_MAIN("nodelist", {"hosts are expanded", hosts_are_expanded},
          {"what is no list is refused", what_is_no_list_is_refused}, {"as many as allowed", as_many_as_allowed},
          {"tasks of each host", tasks_of_each_host})
