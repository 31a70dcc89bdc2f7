/* A slow, obvious CSV reader, and a way to read the same text with the fast one, cut anywhere: the two must agree.
 *
 * The text lies in a memory file; the fast reader takes it through plans, leases and steps as scan does, and starts
 * over with the file careful when it says CAIRN_READ_WRONG. The answer is the printed one, grouped by all columns. */
#ifndef CAIRN_TESTS_SUPPORT_CSV_CHECK_H
#define CAIRN_TESTS_SUPPORT_CSV_CHECK_H

#include "dataset/answer.h"
#include "dataset/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHECK_COLUMNS = 3 };
#define CHECK_HEADER_COMMA "a,b,c\n"

typedef struct check_text {
    int fd;
    char path[64];
    cairn_plan plan;
    cairn_query query;
} check_text;

static inline void check_die(const char *what)
{
    fprintf(stderr, "csv_check: %s\n", what);
    abort();
}

/* header (a b c parted by delimiter), then data. block_bytes as for cairn_plan_make. */
static inline void check_open(check_text *t, char delimiter, const void *data, size_t bytes, uint64_t block_bytes)
{
    char header[] = {'a', delimiter, 'b', delimiter, 'c', '\n'};
    cairn_error error = {CAIRN_OK, ""};
    const cairn_query_text asked = {.group_by = "a,b,c", .aggregates = "count,count(a),sum(b),min(b),max(b)"};

    t->fd = memfd_create("csv", 0);
    if (t->fd < 0 || write(t->fd, header, sizeof header) != (ssize_t)sizeof header ||
        (bytes > 0 && write(t->fd, data, bytes) != (ssize_t)bytes)) {
        check_die("memory file");
    }
    (void)snprintf(t->path, sizeof t->path, "/proc/self/fd/%d", t->fd);
    char *paths[] = {t->path};
    if (cairn_plan_make(&t->plan, paths, 1, &(cairn_plan_options){.delimiter = delimiter, .block_bytes = block_bytes},
                        &error) != CAIRN_OK ||
        cairn_query_parse(&t->query, &asked, &t->plan.columns, t->plan.numeric, &error) != CAIRN_OK) {
        check_die(error.text);
    }
}

static inline void check_close(check_text *t)
{
    cairn_query_free(&t->query);
    cairn_plan_free(&t->plan);
    (void)close(t->fd);
}

static inline char *check_print(cairn_groups *groups, const check_text *t)
{
    char *text = NULL;
    size_t bytes;
    cairn_answer_rows *answer = NULL;
    cairn_error error = {CAIRN_OK, ""};
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL ||
        cairn_answer_make(&answer, groups, NULL, NULL, &t->query, &t->plan.columns, &error) != CAIRN_OK ||
        cairn_answer_print(answer, out, CAIRN_FORMAT_CSV) != CAIRN_OK) {
        check_die("printing");
    }
    cairn_answer_free(answer);
    fprintf(out, "rows %llu missing %llu bad %llu few %llu many %llu unclosed %llu\n", (unsigned long long)groups->rows,
            (unsigned long long)groups->missing[1], (unsigned long long)groups->bad[1].count,
            (unsigned long long)groups->few.count, (unsigned long long)groups->many.count,
            (unsigned long long)groups->unclosed.count);
    (void)fclose(out);
    return text;
}

/* One attempt; false: a guess was wrong. */
static inline bool check_attempt(const check_text *t, size_t chunk, bool careful, cairn_groups *groups)
{
    cairn_reader *reader, *scanner;
    cairn_error error = {CAIRN_OK, ""};
    cairn_csv_state state = CAIRN_CSV_ROW;
    cairn_outcome outcome = CAIRN_READ_DONE;

    if (cairn_reader_open(&reader, &t->plan, &t->query) != CAIRN_OK ||
        cairn_reader_open(&scanner, &t->plan, &t->query) != CAIRN_OK) {
        check_die("no memory");
    }
    for (uint32_t b = 0; b < t->plan.block_count && outcome != CAIRN_READ_WRONG; b++) {
        cairn_lease lease = cairn_lease_begin(&t->plan, b, careful ? (uint32_t)state : CAIRN_START_GUESS);
        do {
            if (cairn_reader_step(reader, &lease, groups, chunk, &outcome, &error) != CAIRN_OK) {
                check_die(error.text);
            }
        } while (outcome == CAIRN_READ_MORE);
        if (careful && cairn_reader_scan(scanner, b, &state, &error) != CAIRN_OK) {
            check_die(error.text);
        }
    }
    cairn_reader_close(reader);
    cairn_reader_close(scanner);
    return outcome != CAIRN_READ_WRONG;
}

/* The fast answer; *guessed (may be NULL): the guess held. free() it. */
static inline char *check_fast(const check_text *t, size_t chunk, bool careful, bool *guessed)
{
    cairn_groups groups;
    if (cairn_groups_init(&groups, cairn_query_shape(&t->query)) != CAIRN_OK) {
        check_die("no memory");
    }
    bool held = check_attempt(t, chunk, careful, &groups);
    if (guessed != NULL) {
        *guessed = held;
    }
    if (!held && (careful || cairn_groups_clear(&groups) != CAIRN_OK || !check_attempt(t, chunk, true, &groups))) {
        check_die("a careful read said that it guessed wrong");
    }
    char *text = check_print(&groups, t);
    cairn_groups_free(&groups);
    return text;
}

/* ---- the slow one: a byte at a time, a copy of everything, straight from RFC 4180 and the notes in csv.h */

typedef struct slow_row {
    char *field[64]; /* the first 64 */
    size_t length[64];
    size_t count;
    bool quoted;
} slow_row;

/* One row from text[*at]; all fields are copies with slack. */
static inline void slow_take(const char *text, size_t bytes, size_t *at, char delimiter, slow_row *row, bool *unclosed)
{
    bool last = false;

    row->count = 0;
    row->quoted = false;
    while (!last) {
        char *out = calloc(1, bytes + 2 * CAIRN_CSV_SLACK);
        size_t length = 0, plain_from = 0;
        if (out == NULL) {
            check_die("no memory");
        }
        if (*at < bytes && text[*at] == '"') {
            bool open = true;
            row->quoted = true;
            ++*at;
            while (open && *at < bytes) {
                if (text[*at] != '"') {
                    out[length++] = text[(*at)++];
                } else if (*at + 1 < bytes && text[*at + 1] == '"') {
                    out[length++] = '"';
                    *at += 2;
                } else {
                    open = false;
                    ++*at;
                }
            }
            *unclosed = *unclosed || open;
            plain_from = length;
        }
        while (*at < bytes && text[*at] != delimiter && text[*at] != '\n') {
            out[length++] = text[(*at)++];
        }
        if (*at < bytes && text[*at] == '\n' && length > plain_from && out[length - 1] == '\r') {
            length--;
        }
        last = *at >= bytes || text[*at] == '\n';
        ++*at;
        if (row->count < 64) {
            row->field[row->count] = out;
            row->length[row->count] = length;
        } else {
            free(out);
        }
        row->count++;
    }
}

static inline void slow_add(cairn_groups *groups, const cairn_query *query, slow_row *row)
{
    static char empty[2 * CAIRN_CSV_SLACK];
    char *key = calloc(1, (1u << 20) + CAIRN_CSV_SLACK);
    size_t at = 0;

    for (size_t i = 0; i < CHECK_COLUMNS; i++) {
        size_t length = i < row->count ? row->length[i] : 0;
        uint32_t prefix = (uint32_t)length;
        if (key == NULL || at + length + 4 > 1u << 20) {
            check_die("the text is too long for the slow reader");
        }
        memcpy(key + at, &prefix, 4); /* little-endian, as everything this runs on */
        memcpy(key + at + 4, i < row->count ? row->field[i] : empty, length);
        at += 4 + length;
    }
    cairn_group *group = cairn_groups_find(groups, key, (uint32_t)at);
    free(key);
    if (group == NULL) {
        check_die("no memory");
    }
    group->rows++;
    groups->rows++;
    group->cell[0].present += row->count > 0 && row->length[0] > 0;
    if (row->count < 2 || row->length[1] == 0) {
        groups->missing[1]++;
    } else if (cairn_groups_add(groups, group, query, 1, &(cairn_field){row->field[1], row->length[1]}, 0, 0) !=
               CAIRN_OK) {
        check_die("no memory");
    }
    groups->few.count += row->count < CHECK_COLUMNS;
    groups->many.count += row->count > CHECK_COLUMNS;
}

static inline char *check_slow(const check_text *t, const void *data, size_t bytes, char delimiter)
{
    cairn_groups groups;
    slow_row row;

    if (cairn_groups_init(&groups, cairn_query_shape(&t->query)) != CAIRN_OK) {
        check_die("no memory");
    }
    for (size_t at = 0; at < bytes;) {
        bool unclosed = false;
        slow_take(data, bytes, &at, delimiter, &row, &unclosed);
        if (row.count != 1 || row.length[0] > 0 || row.quoted) {
            groups.unclosed.count += unclosed;
            slow_add(&groups, &t->query, &row);
        } else if (at > bytes) { /* nothing but the end: not even an empty line */
            check_die("an empty row at the end");
        }
        for (size_t i = 0; i < row.count && i < 64; i++) {
            free(row.field[i]);
        }
    }
    char *text = check_print(&groups, t);
    cairn_groups_free(&groups);
    return text;
}

#endif
