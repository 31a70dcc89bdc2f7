/* The main of a CUnit program: UNIT_MAIN("suite", {"name", function}, ...) runs all and exits 1 when one failed. */
#ifndef CAIRN_TESTS_SUPPORT_UNIT_H
#define CAIRN_TESTS_SUPPORT_UNIT_H

#include <CUnit/Basic.h>
#include <stdio.h>

typedef struct unit_test {
    const char *name;
    void (*run)(void);
} unit_test;

static inline int unit_main(const char *suite_name, const unit_test *tests, size_t count)
{
    unsigned failures;

    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 2;
    }
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    for (size_t i = 0; suite != NULL && i < count; i++) {
        if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL) {
            fprintf(stderr, "cannot add test %s\n", tests[i].name);
            return 2;
        }
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    failures = CU_get_number_of_failures() + CU_get_number_of_tests_failed();
    if (suite == NULL || CU_get_number_of_tests_run() != count) {
        failures++;
    }
    CU_cleanup_registry();
    return failures == 0 ? 0 : 1;
}

#define UNIT_MAIN(suite, ...)                                                                                          \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        static const unit_test tests[] = {__VA_ARGS__};                                                                \
        return unit_main(suite, tests, sizeof tests / sizeof tests[0]);                                                \
    }

#endif
