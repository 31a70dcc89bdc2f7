/* Blocks of HDF5 files whose columns lie there as this machine has them: no text is made of them but where one is needed. Without
 * groups and conditions whole columns are folded at once (native.h); else it goes by rows. The rows of a shard are checked
 * before they are used. */
#include "dataset/native.h"
#include "dataset/reader_parts.h"
#include "dataset/shard.h"

#include <stdlib.h>

static const char nothing[CAIRN_CSV_SLACK];

void reader_look_for_texts(cairn_reader *reader)
{
    const cairn_query *query = reader->query;
    const uint32_t *where = NULL;
    uint32_t where_count = query->where == NULL ? 0 : cairn_expr_columns(query->where, &where);

    reader->columns.file = UINT32_MAX;
    reader->columns.slot = calloc(reader->slots + (size_t)1, sizeof *reader->columns.slot);
    for (uint32_t i = 0; reader->columns.slot != NULL && i < query->group_count; i++) {
        reader->columns.slot[reader->group_slot[i]].as_text = true;
    }
    for (uint32_t i = 0; reader->columns.slot != NULL && i < where_count; i++) {
        reader->columns.slot[reader->where_slot[i]].as_text = true;
    }
    for (uint32_t i = 0; reader->columns.slot != NULL && i < query->value_count; i++) {
        if (reader->how[i] != HOW_NUMBER) {
            reader->columns.slot[reader->value_slot[i]].as_text = true;
        }
    }
}

void reader_free_columns(cairn_reader *reader)
{
    for (uint32_t i = 0; reader->columns.slot != NULL && i < reader->slots; i++) {
        free(reader->columns.slot[i].data);
    }
    free(reader->columns.slot);
}

/* Where the columns of the query lie in this file. */
static cairn_status find_columns(cairn_reader *reader, uint32_t file, const char *path, cairn_error *error)
{
    columns_state *c = &reader->columns;
    cairn_hdf5_text *text = NULL;
    cairn_status status;

    if (c->file == file && c->place == reader->place[file]) {
        return CAIRN_OK;
    }
    c->file = UINT32_MAX;
    if (c->slot == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to read it", path);
    }
    status = cairn_hdf5_text_open(&text, path, reader->plan->inside, ',', 0, 0, error);
    if (status != CAIRN_OK) {
        return status;
    }
    c->possible = true;
    for (uint32_t i = 0; i < reader->slots; i++) {
        if (reader->column_of[i] == CAIRN_POSITION) {
            continue;
        }
        c->slot[i].raw = cairn_hdf5_text_raw(text, reader->column_of[i]);
        c->possible = c->possible && c->slot[i].raw.kind != CAIRN_RAW_NONE;
    }
    c->rows = cairn_hdf5_text_rows(text);
    c->file = file;
    c->place = reader->place[file];
    cairn_hdf5_text_close(text);
    return CAIRN_OK;
}

/* The part of a block that is in memory. */
typedef struct run {
    uint32_t block, file;
    int fd;
    const char *path;
    uint64_t first, end; /* rows of the file: what is wanted, all of one run of a shard */
    uint64_t row;        /* of the block: of the first one */
} run;

/* The wanted rows of one column: where they are. Of a shard all of its run is read, to be checked. */
static cairn_status load(cairn_reader *reader, uint32_t slot, const run *r, const char **values, cairn_error *error)
{
    column_state *c = &reader->columns.slot[slot];
    bool checked = c->raw.checks != 0;
    uint64_t from = checked ? r->first / CAIRN_SHARD_RUN * CAIRN_SHARD_RUN : r->first;
    uint64_t behind = checked ? from + CAIRN_SHARD_RUN : r->end;
    cairn_status status;

    behind = behind < reader->columns.rows ? behind : reader->columns.rows;
    size_t bytes = (size_t)(behind - from) * c->raw.width;
    if (bytes + CAIRN_CSV_SLACK > c->room) {
        free(c->data);
        c->room = bytes + CAIRN_CSV_SLACK;
        c->data = calloc(1, c->room);
        if (c->data == NULL) {
            c->room = 0;
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory for %zu bytes of it", r->path, bytes);
        }
    }
    status = cairn_plan_read(r->fd, c->data, bytes, c->raw.offset + from * c->raw.width, r->path, error);
    if (status == CAIRN_OK) {
        reader_count(reader, r->file, bytes);
    }
    if (status == CAIRN_OK && checked) {
        status = cairn_hdf5_check_runs(r->fd, r->path, reader->plan->columns.name[reader->column_of[slot]], &c->raw,
                                       from, behind - from, c->data, error);
    }
    *values = c->data + (r->first - from) * c->raw.width;
    return status;
}

/* ---------------------------------------------------------------- whole columns */

static bool can_fold(const cairn_reader *reader)
{
    const cairn_query *query = reader->query;
    bool can = query->where == NULL && query->group_count == 0;

    for (uint32_t i = 0; i < query->value_count; i++) {
        can = can && reader->how[i] == HOW_NUMBER &&
              reader->columns.slot[reader->value_slot[i]].raw.kind != CAIRN_RAW_TEXT;
    }
    return can;
}

static cairn_status fold_run(cairn_reader *reader, cairn_groups *groups, const run *r, cairn_error *error)
{
    cairn_native to = {.groups = groups,
                       .group = cairn_groups_find(groups, nothing, 0),
                       .query = reader->query,
                       .block = r->block,
                       .row = r->row};
    size_t count = (size_t)(r->end - r->first);
    cairn_status status = to.group == NULL ? CAIRN_E_NOMEM : CAIRN_OK;

    for (; to.value < reader->query->value_count && status == CAIRN_OK; to.value++) {
        uint32_t slot = reader->value_slot[to.value];
        const void *values = NULL;
        const char *at = NULL;

        status = load(reader, slot, r, &at, error);
        values = at;
        if (status != CAIRN_OK) {
            return status;
        }
        status = reader->columns.slot[slot].raw.kind == CAIRN_RAW_I64 ? cairn_native_i64(&to, values, count)
                                                                      : cairn_native_f64(&to, values, count);
    }
    if (status != CAIRN_OK) {
        return cairn_fail(error, status, "%s: the table of groups", r->path);
    }
    to.group->rows += count;
    groups->selected += count;
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- rows */

/* The field of one column, and what is behind it. */
static void set_field(cairn_reader *reader, uint32_t slot, const char *at)
{
    column_state *c = &reader->columns.slot[slot];
    int64_t whole;
    double real;

    if (c->raw.kind == CAIRN_RAW_TEXT) {
        reader->field[slot] = (cairn_field){at, strnlen(at, c->raw.width)};
    } else if (c->raw.kind == CAIRN_RAW_I64) {
        memcpy(&whole, at, sizeof whole);
        reader->field[slot] = (cairn_field){c->text, cairn_whole_print(whole, c->text)};
    } else {
        memcpy(&real, at, sizeof real);
        c->text[0] = '\0';
        if (real == real) { /* NaN is missing */
            cairn_double_print(real, c->text);
        }
        reader->field[slot] = (cairn_field){c->text, strlen(c->text)};
    }
}

static cairn_group *find_group(cairn_reader *reader, cairn_groups *groups)
{
    const cairn_field *field = &reader->field[reader->group_slot[0]];

    return reader->query->group_count == 1   ? cairn_groups_find(groups, field->text, (uint32_t)field->bytes)
           : reader->query->group_count == 0 ? cairn_groups_find(groups, nothing, 0)
                                             : reader_join_group(reader, groups);
}

static cairn_status take_values(cairn_reader *reader, cairn_native *to, const char *const *values, uint64_t at,
                                uint64_t row)
{
    cairn_status status = CAIRN_OK;

    for (to->value = 0; to->value < reader->query->value_count && status == CAIRN_OK; to->value++) {
        uint32_t slot = reader->value_slot[to->value];
        const cairn_hdf5_raw *raw = &reader->columns.slot[slot].raw;
        const cairn_field *field = &reader->field[slot];

        if (reader->how[to->value] == HOW_NUMBER && raw->kind != CAIRN_RAW_TEXT) {
            status = raw->kind == CAIRN_RAW_I64 ? cairn_native_one_i64(to, values[slot] + at * raw->width)
                                                : cairn_native_one_f64(to, values[slot] + at * raw->width, row);
        } else if (field->bytes == 0) {
            to->groups->missing[to->value]++;
        } else if (reader->how[to->value] == HOW_COUNT) {
            to->group->cell[to->value].present++;
        } else {
            status = cairn_groups_add(to->groups, to->group, to->query, to->value, field, to->block, row);
        }
    }
    return status;
}

static cairn_status take_rows(cairn_reader *reader, cairn_groups *groups, const run *r, cairn_error *error)
{
    const char *values[SLOTS_MAX] = {NULL};
    cairn_native to = {.groups = groups, .query = reader->query, .block = r->block};
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < reader->slots && status == CAIRN_OK; i++) {
        status = reader->column_of[i] == CAIRN_POSITION ? CAIRN_OK : load(reader, i, r, &values[i], error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    for (uint64_t k = 0; k < r->end - r->first && status == CAIRN_OK; k++) {
        for (uint32_t i = 0; i < reader->slots; i++) {
            const column_state *c = &reader->columns.slot[i];

            if ((c->as_text || c->raw.kind == CAIRN_RAW_TEXT) && reader->column_of[i] != CAIRN_POSITION) {
                set_field(reader, i, values[i] + k * c->raw.width);
            }
        }
        if (reader->query->where != NULL && !reader_wants(reader, groups, r->block, r->row + k)) {
            continue;
        }
        if (reader->query->selects && !reader_is_next(reader, groups, r->block, r->row + k)) {
            groups->selected++;
            continue;
        }
        to.group = find_group(reader, groups);
        status = to.group == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
        if (status == CAIRN_OK) {
            to.group->rows++;
            groups->selected++;
            status = take_values(reader, &to, values, k, r->row + k);
        }
    }
    return status == CAIRN_OK ? status : cairn_fail(error, status, "%s: the table of groups", r->path);
}

/* ---------------------------------------------------------------- blocks */

cairn_status reader_step_columns(cairn_reader *reader, cairn_lease *lease, cairn_groups *groups, cairn_outcome *outcome,
                                 cairn_error *error)
{
    const cairn_block *range = &reader->plan->blocks[lease->block];
    char path[CAIRN_PLAN_PATH_BYTES];
    run r = {.block = lease->block, .file = range->file, .fd = -1, .path = path};
    cairn_status status = reader_open_file(reader, range->file, &r.fd, error);

    if (status != CAIRN_OK) {
        return status;
    }
    cairn_plan_place(reader->plan, range->file, reader->place[range->file], path);
    status = find_columns(reader, range->file, path, error);
    if (status == CAIRN_OK && !reader->columns.possible) {
        return CAIRN_E_AGAIN;
    }
    if (status == CAIRN_OK && range->row + range->rows > reader->columns.rows) {
        status = cairn_fail(error, CAIRN_E_MISMATCH, "%s: has fewer rows than it had", path);
    }
    for (uint64_t at = range->row, end = range->row + range->rows; at < end && status == CAIRN_OK; at = r.end) {
        uint64_t behind = (at / CAIRN_SHARD_RUN + 1) * CAIRN_SHARD_RUN;

        r.first = at;
        r.end = behind < end ? behind : end;
        r.row = at - range->row;
        status = can_fold(reader) ? fold_run(reader, groups, &r, error) : take_rows(reader, groups, &r, error);
    }
    if (status != CAIRN_OK) {
        if (status == CAIRN_E_NOMEM || !reader_move_on(reader, range->file, error)) {
            return status;
        }
        *outcome = CAIRN_READ_AGAIN;
        return CAIRN_OK;
    }
    groups->rows += range->rows;
    lease->rows += range->rows;
    *outcome = CAIRN_READ_DONE;
    return CAIRN_OK;
}
