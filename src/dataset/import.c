#include "dataset/import.h"

#include "base/durable.h"
#include "dataset/number.h"
#include "dataset/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHOLE_END INT64_C(1000000000000000000)
#define EXACT_END (INT64_C(1) << 53)        /* below it a double is every whole number */
#define SURE_END  INT64_C(1000000000000000) /* billionths below it have a double of their own: native.h */

/* What a column can still become. */
typedef struct guess {
    bool whole, exact, real; /* i64; its whole numbers are doubles, too; f64 */
    uint64_t present, missing;
    size_t longest;
    char why[200];
} guess;

static bool is_odd_number(const char *text, size_t bytes)
{
    size_t at = bytes > 0 && text[0] == '-';

    return bytes > at && (text[at] == '+' || text[at] == ' ' || text[at] == '\t' || text[bytes - 1] == ' ' ||
                          text[bytes - 1] == '\t' || text[at] == '.' ||
                          (text[at] == '0' && bytes > at + 1 && text[at + 1] >= '0' && text[at + 1] <= '9'));
}

/* -123; up to 18 digits. */
static bool is_whole(const char *text, size_t bytes, int64_t *value)
{
    size_t at = bytes > 0 && text[0] == '-';
    int64_t number = 0;

    if (bytes == at || bytes - at > 18 || (text[at] == '0' && bytes > 1)) { /* neither 007 nor -0 */
        return false;
    }
    for (size_t i = at; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (text[i] - '0');
    }
    *value = at > 0 ? -number : number;
    return number < WHOLE_END;
}

/* The digits of a number from the first to the last that is not 0, at most 40 of them, and which power of ten the last one counts;
 * false: it has more. */
static bool read_digits(const char *text, size_t bytes, char digits[40], size_t *count, long *power)
{
    size_t zeros = 0; /* behind the last one that was kept */
    long shift = 0;
    bool behind = false;

    *count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == 'e' || text[i] == 'E') {
            shift += strtol(text + i + 1, NULL, 10); /* a delimiter or the end of the buffer comes behind */
            break;
        }
        behind = behind || text[i] == '.';
        if (text[i] < '0' || text[i] > '9') {
            continue;
        }
        shift -= behind;
        if (text[i] == '0') {
            zeros += *count > 0;
            continue;
        }
        if (*count + zeros + 1 > 40) {
            return false;
        }
        memset(digits + *count, '0', zeros);
        *count += zeros;
        digits[(*count)++] = text[i];
        zeros = 0;
    }
    *power = shift + (long)zeros;
    return true;
}

/* A wide number may have more digits than its double: as a key of a group that would be another one. */
static bool is_same_decimal(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    char digits[2][40];
    size_t count[2];
    long power[2];

    return read_digits(a, a_bytes, digits[0], &count[0], &power[0]) &&
           read_digits(b, b_bytes, digits[1], &count[1], &power[1]) && count[0] == count[1] && power[0] == power[1] &&
           memcmp(digits[0], digits[1], count[0]) == 0;
}

/* The double that means the same number. */
static bool as_double(const char *text, size_t bytes, double *value)
{
    char copy[512], again[CAIRN_NUMBER_TEXT];
    cairn_number number, back;
    int64_t fixed;

    if (is_odd_number(text, bytes) || bytes >= sizeof copy) {
        return false;
    }
    if ((cairn_number_short(text, bytes, &fixed) || cairn_number_quick(text, bytes, &fixed)) && fixed > -SURE_END &&
        fixed < SURE_END) {
        *value = (double)fixed / (double)CAIRN_FIXED_ONE;
        *value = fixed == 0 && text[0] == '-' ? 0.0 : *value;
        return true;
    }
    number = cairn_number_parse(text, bytes);
    if (number.kind == CAIRN_NUMBER_NONE) {
        return false;
    }
    *value = number.kind == CAIRN_NUMBER_WIDE ? number.wide : cairn_fixed_to_double(number.fixed);
    cairn_double_print(*value, again);
    back = cairn_number_parse(again, strlen(again));
    return back.kind == number.kind && cairn_number_compare(back, number) == 0 &&
           (number.kind == CAIRN_NUMBER_FIXED || is_same_decimal(text, bytes, again, strlen(again)));
}

static void blame(guess *g, const cairn_plan *plan, uint32_t file, uint64_t row, const cairn_field *field,
                  const char *what)
{
    int length = field->bytes < 40 ? (int)field->bytes : 40;

    if (g->why[0] == '\0') {
        (void)snprintf(g->why, sizeof g->why, "%s: '%.*s' in row %llu of %.80s", what, length, field->text,
                       (unsigned long long)row, plan->files[file].path);
        for (char *at = g->why; *at != '\0'; at++) {
            *at = (unsigned char)*at < ' ' ? '?' : *at;
        }
    }
}

static cairn_status look(guess *g, const cairn_plan *plan, uint32_t file, uint64_t row, uint32_t column,
                         const cairn_field *field, cairn_error *error)
{
    int64_t whole;
    double real;

    if (field->bytes == 0) {
        g->missing++;
        return CAIRN_OK;
    }
    g->present++;
    g->longest = field->bytes > g->longest ? field->bytes : g->longest;
    if (field->bytes > CAIRN_IMPORT_TEXT_BYTES || memchr(field->text, '\0', field->bytes) != NULL) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: row %llu, column %s: a text of %zu bytes%s",
                          plan->files[file].path, (unsigned long long)row, plan->columns.name[column], field->bytes,
                          field->bytes > CAIRN_IMPORT_TEXT_BYTES ? ", too long for a column"
                                                                 : " with a zero among them");
    }
    if (g->whole && is_whole(field->text, field->bytes, &whole)) {
        g->exact = g->exact && whole > -EXACT_END && whole < EXACT_END;
        if (!g->exact) {
            blame(g, plan, file, row, field, "more digits than a double has");
        }
        return CAIRN_OK;
    }
    g->whole = false;
    if (g->real && !as_double(field->text, field->bytes, &real)) {
        g->real = false;
        g->why[0] = '\0';
        blame(g, plan, file, row, field,
              is_odd_number(field->text, field->bytes) ? "not as a number is printed" : "no number that is a double's");
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- the first time */

static cairn_status find_types(cairn_import *import, const cairn_plan *plan, cairn_error *error)
{
    uint32_t count = plan->columns.count;
    guess *guesses = calloc(count, sizeof *guesses);
    cairn_status status = guesses == NULL ? CAIRN_E_NOMEM : CAIRN_OK;

    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        guesses[i] = (guess){.whole = true, .exact = true, .real = true};
    }
    for (uint32_t f = 0; f < plan->file_count && status == CAIRN_OK; f++) {
        cairn_rows *rows = NULL;
        const cairn_field *fields = NULL;
        uint32_t found = 0;
        uint64_t row = 0;

        status = cairn_rows_open(&rows, plan, f, error);
        while (status == CAIRN_OK && (status = cairn_rows_next(rows, &fields, &found, error)) == CAIRN_OK &&
               fields != NULL) {
            row++;
            import->few += found < count;
            if (found > count) {
                status = cairn_fail(error, CAIRN_E_INVALID, "%s: row %llu has %u fields, but the header has %u",
                                    plan->files[f].path, (unsigned long long)row, found, count);
            }
            for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
                status = look(&guesses[i], plan, f, row, i, &fields[i], error);
            }
        }
        import->rows += row;
        cairn_rows_close(rows);
    }
    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        const guess *g = &guesses[i];
        cairn_import_column *c = &import->columns[i];
        bool whole = g->whole && g->missing == 0 && g->present > 0;

        c->missing = g->missing;
        c->type = whole ? CAIRN_SHARD_I64 : g->real && g->exact ? CAIRN_SHARD_F64 : CAIRN_SHARD_TEXT;
        c->width = c->type == CAIRN_SHARD_TEXT ? (uint32_t)g->longest : 8;
        if (c->type == CAIRN_SHARD_TEXT) {
            memcpy(c->why, g->why, sizeof c->why);
        }
    }
    free(guesses);
    return status;
}

/* ---------------------------------------------------------------- the second time */

typedef struct writing {
    cairn_import *import;
    const cairn_plan *plan;
    const char *folder;
    cairn_shard_column *columns; /* data: [room] */
    uint64_t room, rows;
} writing;

static cairn_status flush(writing *w, cairn_error *error)
{
    cairn_catalogue *c = &w->import->catalogue;
    cairn_catalogue_shard *more = realloc(c->shards, (c->shard_count + (size_t)1) * sizeof *more);
    char path[CAIRN_PATH_BYTES];
    char name[40];
    cairn_status status;

    if (more == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for its catalogue", w->folder);
    }
    c->shards = more;
    (void)snprintf(name, sizeof name, "shard-%06u.h5", c->shard_count);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", w->folder, name) >= sizeof path) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: the path is too long", w->folder);
    }
    more[c->shard_count] = (cairn_catalogue_shard){.file = strdup(name), .rows = w->rows};
    status = more[c->shard_count].file == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", path)
                                               : cairn_shard_write(path, w->columns, w->plan->columns.count, w->rows,
                                                                   &more[c->shard_count].seal, error);
    c->shard_count++;
    c->rows += w->rows;
    w->rows = 0;
    return status;
}

/* false: it does not fit any more, so the file is another one than it was. */
static bool store(const cairn_shard_column *column, uint64_t row, const cairn_field *field)
{
    char *at = (char *)(uintptr_t)column->data + row * column->width;
    int64_t whole;
    double real = NAN;

    switch (column->type) {
    case CAIRN_SHARD_I64:
        if (!is_whole(field->text, field->bytes, &whole)) {
            return false;
        }
        memcpy(at, &whole, sizeof whole);
        return true;
    case CAIRN_SHARD_F64:
        if (field->bytes > 0 && !as_double(field->text, field->bytes, &real)) {
            return false;
        }
        memcpy(at, &real, sizeof real);
        return true;
    default:
        if (field->bytes > column->width) {
            return false;
        }
        memcpy(at, field->text, field->bytes);
        memset(at + field->bytes, 0, column->width - field->bytes);
        return true;
    }
}

static cairn_status convert_file(writing *w, uint32_t file, cairn_error *error)
{
    cairn_rows *rows = NULL;
    const cairn_field *fields = NULL;
    uint32_t found = 0;
    cairn_status status = cairn_rows_open(&rows, w->plan, file, error);

    while (status == CAIRN_OK && (status = cairn_rows_next(rows, &fields, &found, error)) == CAIRN_OK &&
           fields != NULL) {
        for (uint32_t i = 0; i < w->plan->columns.count && status == CAIRN_OK; i++) {
            if (!store(&w->columns[i], w->rows, &fields[i])) {
                status =
                    cairn_fail(error, CAIRN_E_MISMATCH, "%s: was changed while it was read", w->plan->files[file].path);
            }
        }
        w->rows++;
        if (status == CAIRN_OK && w->rows == w->room) {
            status = flush(w, error);
        }
    }
    cairn_rows_close(rows);
    return status;
}

static cairn_status make_columns(writing *w, uint64_t wanted, cairn_error *error)
{
    uint32_t count = w->plan->columns.count;
    uint64_t row_bytes = 0;

    w->columns = calloc(count, sizeof *w->columns);
    if (w->columns == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const cairn_import_column *c = &w->import->columns[i];

        w->columns[i] = (cairn_shard_column){.name = w->plan->columns.name[i], .type = c->type, .width = c->width};
        row_bytes += c->width;
        if (!cairn_shard_can_name(w->columns[i].name)) {
            return cairn_fail(error, CAIRN_E_INVALID, "column %u: '%s' cannot be the name of a dataset", i + 1,
                              w->columns[i].name);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(w->columns[i].name, w->columns[k].name) == 0) {
                return cairn_fail(error, CAIRN_E_INVALID, "columns %u and %u are both named %s", k + 1, i + 1,
                                  w->columns[i].name);
            }
        }
    }
    w->room = CAIRN_IMPORT_BYTES / row_bytes;
    w->room = w->room > CAIRN_SHARD_RUN ? w->room / CAIRN_SHARD_RUN * CAIRN_SHARD_RUN : w->room > 0 ? w->room : 1;
    w->room = wanted > 0 && wanted < w->room ? wanted : w->room < CAIRN_IMPORT_ROWS ? w->room : CAIRN_IMPORT_ROWS;
    w->room = w->import->rows < w->room ? (w->import->rows > 0 ? w->import->rows : 1) : w->room;
    for (uint32_t i = 0; i < count; i++) {
        w->columns[i].data = malloc((size_t)w->room * w->columns[i].width);
        if (w->columns[i].data == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %llu rows", w->folder,
                              (unsigned long long)w->room);
        }
    }
    return CAIRN_OK;
}

static cairn_status name_columns(cairn_import *import, const cairn_plan *plan)
{
    cairn_catalogue *c = &import->catalogue;

    c->columns = calloc(plan->columns.count, sizeof *c->columns);
    for (uint32_t i = 0; c->columns != NULL && i < plan->columns.count; i++) {
        c->columns[i] = (cairn_catalogue_column){
            .name = strdup(plan->columns.name[i]), .type = import->columns[i].type, .width = import->columns[i].width};
        c->column_count++;
        if (c->columns[i].name == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    return c->columns == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
}

static void remove_shards(const writing *w)
{
    const cairn_catalogue *c = &w->import->catalogue;
    char path[CAIRN_PATH_BYTES];

    for (uint32_t i = 0; i < c->shard_count; i++) {
        if (c->shards[i].file != NULL) {
            (void)snprintf(path, sizeof path, "%s/%s", w->folder, c->shards[i].file);
            (void)unlink(path);
        }
    }
    (void)rmdir(w->folder); /* if nothing else is in it */
}

static cairn_status convert(cairn_import *import, const cairn_plan *plan, const char *folder, uint64_t rows,
                            cairn_error *error)
{
    writing w = {.import = import, .plan = plan, .folder = folder};
    char path[CAIRN_PATH_BYTES];
    cairn_status status = make_columns(&w, rows, error);

    if (status == CAIRN_OK) {
        status = cairn_make_folders(folder, error);
    }
    for (uint32_t f = 0; f < plan->file_count && status == CAIRN_OK; f++) {
        status = convert_file(&w, f, error);
    }
    if (status == CAIRN_OK && (w.rows > 0 || import->catalogue.shard_count == 0)) {
        status = flush(&w, error);
    }
    if (status == CAIRN_OK) {
        status = name_columns(import, plan);
    }
    if (status == CAIRN_OK) {
        (void)snprintf(path, sizeof path, "%s/" CAIRN_CATALOGUE_NAME, folder);
        status = cairn_catalogue_write(&import->catalogue, path, error);
    }
    if (status != CAIRN_OK) {
        remove_shards(&w);
    }
    for (uint32_t i = 0; w.columns != NULL && i < plan->columns.count; i++) {
        free((void *)(uintptr_t)w.columns[i].data);
    }
    free(w.columns);
    return status;
}

cairn_status cairn_import_run(cairn_import *import, const cairn_plan *plan, const char *folder, uint64_t rows,
                              cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    cairn_status status = CAIRN_OK;

    *import = (cairn_import){.columns = calloc(plan->columns.count, sizeof *import->columns)};
    if (import->columns == NULL) {
        return CAIRN_E_NOMEM;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/" CAIRN_CATALOGUE_NAME, folder) >= sizeof path) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: the path is too long", folder);
    }
    if (access(path, F_OK) == 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: there is a table already", folder);
    }
    for (uint32_t f = 0; f < plan->file_count && status == CAIRN_OK; f++) {
        if (plan->files[f].packing == CAIRN_HDF5) {
            status = cairn_fail(error, CAIRN_E_INVALID, "%s: is HDF5 already", plan->files[f].path);
        }
    }
    if (status == CAIRN_OK) {
        status = find_types(import, plan, error);
    }
    return status == CAIRN_OK ? convert(import, plan, folder, rows, error) : status;
}

void cairn_import_free(cairn_import *import)
{
    free(import->columns);
    cairn_catalogue_free(&import->catalogue);
    *import = (cairn_import){0};
}
