/* For test programs under mpirun: checks that name process and line, and a main that runs the tests one after the
 * other, all processes together, and fails on all when one failed. The number of processes is an argument and must be
 * true: a test that by mistake runs on one process must not pass. */
#ifndef CAIRN_TESTS_SUPPORT_PROGRAM_H
#define CAIRN_TESTS_SUPPORT_PROGRAM_H

#include <cairn/cairn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct program_test {
    const char *name;
    void (*run)(cairn_process *process);
} program_test;

/* One test program has one process and one count of failures; this header is included once in it. */
static cairn_process *program_process;
static unsigned long program_failures;

static inline void program_check(bool holds, const char *text, const char *file, int line)
{
    if (!holds) {
        program_failures++;
        if (program_failures <= 20) {
            fprintf(stderr, "%s:%d: process %u: not true: %s\n", file, line, cairn_id(program_process), text);
        }
    }
}

/* After a failed call the processes are out of step: the whole program ends here. */
static inline void program_must(cairn_status status, const char *text, const char *file, int line)
{
    if (status != CAIRN_OK) {
        fprintf(stderr, "%s:%d: process %u: %s: %s: %s\n", file, line, cairn_id(program_process), text,
                cairn_status_text(status), cairn_error_text(program_process));
        exit(cairn_leave(program_process, CAIRN_E_BUG, "test"));
    }
}

static inline void program_gives(cairn_status status, cairn_status expected, const char *text, const char *file,
                                 int line)
{
    if (status != expected) {
        program_failures++;
        fprintf(stderr, "%s:%d: process %u: %s: \"%s\", expected \"%s\"\n", file, line, cairn_id(program_process), text,
                cairn_status_text(status), cairn_status_text(expected));
    }
}

#define CHECK(condition)      program_check((condition), #condition, __FILE__, __LINE__)
#define MUST(call)            program_must((call), #call, __FILE__, __LINE__)
#define GIVES(call, expected) program_gives((call), (expected), #call, __FILE__, __LINE__)

static inline void *program_memory(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);

    program_must(memory != NULL ? CAIRN_OK : CAIRN_E_NOMEM, "malloc", __FILE__, __LINE__);
    return memory;
}

/* SplitMix64. */
static inline uint64_t program_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* usage: program COUNT [TEST]; runs all tests, or the one of that name. */
static inline int program_main(int argc, char **argv, const program_test *tests, size_t count)
{
    static const uint32_t known[] = {1, 2, 3, 4, 8};
    const char *only = argc > 2 ? argv[2] : NULL;
    uint64_t ran = 0;
    uint64_t failures;
    bool expected = false;

    if (cairn_init(&program_process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        expected = expected || known[i] == cairn_count(program_process);
    }
    if (argc < 2 || !expected || (unsigned long)cairn_count(program_process) != strtoul(argv[1], NULL, 10)) {
        fprintf(stderr, "%s: runs on %u processes, asked for %s, made for 1, 2, 3, 4 and 8\n", argv[0],
                cairn_count(program_process), argc < 2 ? "none" : argv[1]);
        return cairn_leave(program_process, CAIRN_E_INVALID, "test");
    }
    MUST(cairn_set_deadline(program_process, 60.0));
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(only, tests[i].name) != 0) {
            continue;
        }
        tests[i].run(program_process);
        MUST(cairn_barrier(program_process));
        ran++;
    }
    failures = program_failures + (ran == 0);
    MUST(cairn_allreduce(program_process, &failures, &failures, 1, CAIRN_U64, CAIRN_SUM));
    if (cairn_id(program_process) == 0) {
        printf("%s: %u processes, %llu tests, %llu failures\n", argv[0], cairn_count(program_process),
               (unsigned long long)ran, (unsigned long long)failures);
    }
    return cairn_leave(program_process, CAIRN_OK, NULL) != 0 || failures != 0;
}

#endif
