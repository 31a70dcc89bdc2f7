/* Small snapshots to test with, and ways to damage them. */
#ifndef CAIRN_TESTS_SUPPORT_SNAPSHOTS_H
#define CAIRN_TESTS_SUPPORT_SNAPSHOTS_H

#include "base/durable.h"
#include "snapshot/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLE_RUN     "0123456789abcdef"
#define OTHER_RUN      "fedcba9876543210"
#define SAMPLE_ROWS    6 /* of the global array, per process */
#define SAMPLE_COLUMNS 5
#define PATH_ROOM      CAIRN_PATH_BYTES

static inline uint64_t sample_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A new empty folder below TMPDIR or /tmp. */
static inline void sample_folder(char path[PATH_ROOM])
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(path, PATH_ROOM, "%s/cairn-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(2);
    }
}

static inline int sample_remove_one(const char *path, const struct stat *found, int what, struct FTW *where)
{
    (void)found;
    (void)what;
    (void)where;
    return remove(path);
}

static inline void sample_remove(const char *path)
{
    (void)nftw(path, sample_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* NULL: not there. */
static inline char *sample_load(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    long end;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0) {
        rewind(file);
        data = malloc((size_t)end + 1);
        *bytes = fread(data, 1, (size_t)end, file);
        data[*bytes] = '\0';
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return data;
}

static inline void sample_save(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
}

static inline void sample_copy(const char *from, const char *to)
{
    size_t bytes = 0;
    char *data = sample_load(from, &bytes);

    if (data == NULL) {
        perror(from);
        exit(2);
    }
    sample_save(to, data, bytes);
    free(data);
}

static inline bool sample_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Change one bit in the middle of a file. */
static inline void sample_flip(const char *path, double where)
{
    size_t bytes = 0;
    char *data = sample_load(path, &bytes);

    data[(size_t)((double)bytes * where)] ^= 4;
    sample_save(path, data, bytes);
    free(data);
}

static inline double sample_value(uint64_t number, uint64_t row, uint64_t column)
{
    return (double)number * 1000 + (double)row * 10 + (double)column;
}

/* Process `process` of `count` writes its part of snapshot `number`. */
static inline cairn_status sample_part(const char *dir, const char *run, uint64_t number, uint32_t process,
                                       uint32_t count, cairn_part_seal *seal, cairn_error *error)
{
    char path[PATH_ROOM];
    uint64_t counts[2 * 64] = {1, 2, 3};
    uint64_t vector[64] = {7, 8, 9};
    double field[SAMPLE_ROWS * SAMPLE_COLUMNS];
    uint64_t step = number * 10;
    uint8_t bytes[100];
    cairn_part_head head = {.job = "sample",
                            .number = number,
                            .process = process,
                            .count = count,
                            .incarnation = 2,
                            .step = step,
                            .lamport = number * 100 + process,
                            .vector = vector,
                            .sent = counts,
                            .received = counts};
    cairn_state states[3] = {{.name = "field",
                              .kind = CAIRN_STATE_SLAB,
                              .type = CAIRN_F64,
                              .rank = 2,
                              .shape = {SAMPLE_ROWS, SAMPLE_COLUMNS},
                              .global_shape = {(uint64_t)SAMPLE_ROWS * count, SAMPLE_COLUMNS},
                              .offset = {(uint64_t)SAMPLE_ROWS * process, 0},
                              .data = field,
                              .bytes = sizeof field},
                             {.name = "step",
                              .kind = CAIRN_STATE_REPLICATED,
                              .type = CAIRN_U64,
                              .rank = 0,
                              .data = &step,
                              .bytes = sizeof step},
                             {.name = "table",
                              .kind = CAIRN_STATE_BYTES,
                              .type = CAIRN_U8,
                              .flags = CAIRN_REDIVIDE,
                              .rank = 1,
                              .shape = {sizeof bytes},
                              .data = bytes,
                              .bytes = sizeof bytes}};
    cairn_in_flight messages[3] = {
        {.from = 0, .stream = 0, .tag = 9, .sequence = 5, .lamport = 3, .bytes = 5, .payload = "hello"},
        {.from = 0, .stream = 1, .tag = 0, .sequence = 6, .lamport = 4, .bytes = 0, .payload = NULL},
        {.from = count - 1, .stream = 0, .tag = 1, .sequence = 1, .lamport = 2, .bytes = 3, .payload = "you"}};

    for (uint64_t i = 0; i < SAMPLE_ROWS * SAMPLE_COLUMNS; i++) {
        field[i] = sample_value(number, SAMPLE_ROWS * (uint64_t)process + i / SAMPLE_COLUMNS, i % SAMPLE_COLUMNS);
    }
    memset(bytes, (int)(number + process), sizeof bytes);
    (void)snprintf(head.run, sizeof head.run, "%s", run);
    cairn_store_snapshot_path(path, sizeof path, dir, number);
    return cairn_part_write(path, &head, states, 3, messages, 3, seal, error);
}

static inline void sample_lamport(uint64_t number, uint32_t count, uint64_t *lamport)
{
    for (uint32_t i = 0; i < count; i++) {
        lamport[i] = number * 100 + i;
    }
}

/* The commit record over parts that were written. */
static inline cairn_status sample_commit(const char *dir, const char *run, uint64_t number, uint32_t count,
                                         const cairn_part_seal *seals, cairn_error *error)
{
    char first[] = "sample";
    char second[] = "--bytes \xff\xfe"; /* not UTF-8 */
    char *arguments[] = {first, second};
    uint64_t lamport[64];
    cairn_commit commit = {.job = "sample",
                           .number = number,
                           .count = count,
                           .incarnation = 2,
                           .step = number * 10,
                           .argument_count = 2,
                           .arguments = arguments,
                           .parts = seals,
                           .lamport = lamport};

    sample_lamport(number, count, lamport);
    (void)snprintf(commit.run, sizeof commit.run, "%s", run);
    return cairn_store_commit(dir, &commit, error);
}

/* A whole committed snapshot; ends the program when that fails, since no test can go on. */
static inline void sample_snapshot(const char *dir, const char *run, uint64_t number, uint32_t count)
{
    cairn_part_seal seals[64];
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = sample_part(dir, run, number, i, count, &seals[i], &error);
    }
    if (status == CAIRN_OK) {
        status = sample_commit(dir, run, number, count, seals, &error);
    }
    if (status != CAIRN_OK) {
        fprintf(stderr, "sample_snapshot: %s\n", error.text);
        exit(2);
    }
}

#endif
