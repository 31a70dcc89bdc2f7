#include "dataset/rows.h"

#include "base/durable.h"
#include "dataset/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 20)

struct cairn_rows {
    const cairn_plan *plan;
    const cairn_plan_file *file;
    char path[CAIRN_PLAN_PATH_BYTES];
    int fd;
    cairn_packed *packed; /* NULL: the file is text */
    char *window, *unescaped;
    size_t room, bytes, at; /* bytes of the window; where the next row begins */
    uint64_t next;          /* byte of the text behind the window */
    uint64_t row;           /* from 1 */
    bool final;             /* the text ends with the window */
    cairn_field *field;     /* [columns] */
};

cairn_status cairn_rows_open(cairn_rows **out, const cairn_plan *plan, uint32_t file, cairn_error *error)
{
    cairn_rows *r = calloc(1, sizeof *r);
    struct stat about;
    cairn_status status = CAIRN_OK;

    *out = NULL;
    if (r == NULL) {
        return CAIRN_E_NOMEM;
    }
    r->plan = plan;
    r->file = &plan->files[file];
    cairn_plan_place(plan, file, 0, r->path);
    r->field = calloc(plan->columns.count + (size_t)1, sizeof *r->field);
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->field == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to read it", r->path);
    } else if (r->fd < 0) {
        status = cairn_fail_errno(error, errno, r->path, "open");
    } else if (fstat(r->fd, &about) != 0 || (uint64_t)about.st_size != r->file->bytes ||
               about.st_mtim.tv_sec != r->file->modified_s || about.st_mtim.tv_nsec != r->file->modified_ns) {
        status = cairn_fail(error, CAIRN_E_MISMATCH, "%s: was changed while it was read", r->path);
    } else if (r->file->packing != CAIRN_NOT_PACKED) {
        status = cairn_packed_open(&r->packed, (cairn_packing)r->file->packing, NULL);
    }
    if (status != CAIRN_OK) {
        cairn_rows_close(r);
        return status;
    }
    *out = r;
    return CAIRN_OK;
}

void cairn_rows_close(cairn_rows *r)
{
    if (r == NULL) {
        return;
    }
    if (r->fd >= 0) {
        (void)close(r->fd);
    }
    cairn_packed_close(r->packed);
    free(r->window);
    free(r->unescaped);
    free(r->field);
    free(r);
}

/* More text behind what the window holds from the next row on. */
static cairn_status refill(cairn_rows *r, cairn_error *error)
{
    size_t kept = r->bytes - r->at, want = kept + PIECE_BYTES, got = 0;
    cairn_status status;

    if (kept > CAIRN_ROW_BYTES_MAX) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: row %llu is longer than %zu MiB", r->path,
                          (unsigned long long)r->row, CAIRN_ROW_BYTES_MAX >> 20);
    }
    if (want + CAIRN_CSV_SLACK > r->room) {
        size_t room = want * 2 + CAIRN_CSV_SLACK;
        char *window = realloc(r->window, room);
        char *unescaped = realloc(r->unescaped, room);

        r->window = window != NULL ? window : r->window;
        r->unescaped = unescaped != NULL ? unescaped : r->unescaped;
        if (window == NULL || unescaped == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for a row", r->path);
        }
        r->room = room;
    }
    memmove(r->window, r->window + r->at, kept);
    r->at = 0;
    r->bytes = kept;
    if (r->packed != NULL) {
        status = cairn_packed_read(r->packed, r->fd, r->path, r->window + kept, PIECE_BYTES, &got, error);
        if (status != CAIRN_OK) {
            return status;
        }
        r->final = got < PIECE_BYTES;
    } else {
        uint64_t left = r->file->bytes - r->next;

        got = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        status = cairn_plan_read(r->fd, r->window + kept, got, r->next, r->path, error);
        if (status != CAIRN_OK) {
            return status;
        }
        r->final = r->next + got == r->file->bytes;
    }
    r->next += got;
    r->bytes += got;
    memset(r->window + r->bytes, 0, CAIRN_CSV_SLACK);
    return CAIRN_OK;
}

static const char *next_structure(const char *from, const char *end, char delimiter)
{
    for (const char *at = from; at < end; at += 64) {
        uint64_t mask = cairn_csv_structure(at, delimiter);

        if (mask != 0) {
            at += __builtin_ctzll(mask);
            return at < end ? at : end;
        }
    }
    return end;
}

static void put(cairn_rows *r, uint32_t column, const char *from, const char *to)
{
    if (column < r->plan->columns.count) {
        r->field[column] = (cairn_field){from, (size_t)(to - from)};
    }
}

/* The row at `row`: what is behind it, or NULL when it is not whole. */
static const char *parse(cairn_rows *r, const char *row, const char *end, uint32_t *count, bool *unclosed)
{
    const char delimiter = r->plan->delimiter;
    const char *field = row, *from = row;
    size_t used = 0;

    *count = 0;
    for (;;) {
        const char *at = next_structure(from, end, delimiter);

        if (at == end) {
            if (!r->final) {
                return NULL;
            }
            put(r, (*count)++, field, end);
            return end;
        }
        if (*at == '"' && at != field) {
            from = at + 1; /* a quote inside a plain field */
            continue;
        }
        if (*at == '"') {
            cairn_field taken;

            if (!cairn_csv_quoted(at, end, r->final, delimiter, r->unescaped, &used, &taken, &at, unclosed)) {
                return NULL;
            }
            if (*count < r->plan->columns.count) {
                r->field[*count] = taken;
            }
        } else {
            put(r, *count, field, at - (*at == '\n' && at > field && at[-1] == '\r'));
        }
        (*count)++;
        if (at == end) {
            return end;
        }
        if (*at == '\n') {
            return at + 1;
        }
        field = from = at + 1;
    }
}

static bool is_empty(const char *row, const char *behind)
{
    return *row == '\n' || (*row == '\r' && behind == row + 2 && row[1] == '\n');
}

static cairn_status skip_header(cairn_rows *r, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    while (r->bytes < r->file->data_start && !r->final && status == CAIRN_OK) {
        status = refill(r, error);
    }
    r->at = r->file->data_start < r->bytes ? (size_t)r->file->data_start : r->bytes;
    return status;
}

cairn_status cairn_rows_next(cairn_rows *r, const cairn_field **fields, uint32_t *count, cairn_error *error)
{
    static const char nothing[CAIRN_CSV_SLACK];
    bool unclosed = false;
    cairn_status status = CAIRN_OK;

    *fields = NULL;
    if (r->window == NULL) {
        status = refill(r, error);
        status = status == CAIRN_OK ? skip_header(r, error) : status;
    }
    while (status == CAIRN_OK) {
        const char *row = r->window + r->at, *end = r->window + r->bytes;
        const char *behind = row == end && !r->final ? NULL : parse(r, row, end, count, &unclosed);

        if (row == end && r->final) {
            return CAIRN_OK;
        }
        if (behind == NULL) {
            status = refill(r, error);
            continue;
        }
        r->at = (size_t)(behind - r->window);
        if (*count == 1 && r->plan->columns.count > 1 && is_empty(row, behind)) {
            continue;
        }
        r->row++;
        if (unclosed) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: row %llu: its quotes never end", r->path,
                              (unsigned long long)r->row);
        }
        for (uint32_t i = *count; i < r->plan->columns.count; i++) {
            r->field[i] = (cairn_field){nothing, 0};
        }
        *fields = r->field;
        break;
    }
    return status;
}
