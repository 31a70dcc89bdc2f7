/* The loop over rows. Structure bytes (delimiter, line feed, quote) are found 64 bytes at a time as bits of a mask;
 * fields lie between them. Only the columns that the query names are kept. */
#include "dataset/reader_parts.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char nothing[CAIRN_CSV_SLACK];

static uint32_t slot_for(cairn_reader *reader, uint32_t column)
{
    if (column == CAIRN_POSITION) {
        reader->column_of[reader->slots] = column;
        reader->field[reader->slots] = (cairn_field){reader->position, CAIRN_POSITION_BYTES};
        return reader->slots++;
    }
    if (reader->slot_of[column] == UINT32_MAX) {
        reader->column_of[reader->slots] = column;
        reader->slot_of[column] = reader->slots++;
    }
    return reader->slot_of[column];
}

cairn_status cairn_reader_open(cairn_reader **out, const cairn_plan *plan, const cairn_query *query)
{
    cairn_reader *reader = calloc(1, sizeof *reader);
    uint32_t columns = plan->columns.count;

    if (reader == NULL) {
        return CAIRN_E_NOMEM;
    }
    reader->plan = plan;
    reader->query = query;
    reader->file = UINT32_MAX;
    for (int i = 0; i < OPEN_MAX; i++) {
        reader->open[i].fd = -1;
    }
    reader->slot_of = malloc((columns + (size_t)1) * sizeof *reader->slot_of);
    reader->place = calloc(plan->file_count + (size_t)1, sizeof *reader->place);
    reader->tried = calloc(plan->file_count + (size_t)1, sizeof *reader->tried);
    if (reader->slot_of == NULL || reader->place == NULL || reader->tried == NULL) {
        free(reader->slot_of);
        free(reader->place);
        free(reader->tried);
        free(reader);
        return CAIRN_E_NOMEM;
    }
    reader_find_near(reader);
    memset(reader->slot_of, 0xff, (columns + (size_t)1) * sizeof *reader->slot_of);
    for (uint32_t i = 0; i < query->group_count; i++) {
        reader->group_slot[i] = slot_for(reader, query->group_column[i]);
    }
    for (uint32_t i = 0; i < query->value_count; i++) {
        reader->value_slot[i] = slot_for(reader, query->value_column[i]);
        reader->how[i] = query->needs[i] != 0 ? HOW_GENERAL : query->numeric[i] ? HOW_NUMBER : HOW_COUNT;
    }
    const uint32_t *where = NULL;
    uint32_t where_count = query->where == NULL ? 0 : cairn_expr_columns(query->where, &where);
    for (uint32_t i = 0; i < where_count; i++) {
        reader->where_slot[i] = slot_for(reader, where[i]);
    }
    for (uint32_t i = 0; i <= columns; i++) {
        if (reader->slot_of[i] == UINT32_MAX) {
            reader->slot_of[i] = reader->slots;
        }
    }
    reader_look_for_texts(reader);
    *out = reader;
    return CAIRN_OK;
}

void cairn_reader_close(cairn_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    reader_close_files(reader);
    cairn_packed_close(reader->packed);
    cairn_ahead_close(reader->ahead);
    free(reader->slot_of);
    free(reader->place);
    free(reader->tried);
    free(reader->window);
    free(reader->unescaped);
    free(reader->key);
    reader_free_columns(reader);
    free(reader);
}

/* The group of several columns: length and bytes of each. */
cairn_group *reader_join_group(cairn_reader *reader, cairn_groups *groups)
{
    size_t need = CAIRN_CSV_SLACK, at = 0;
    uint32_t count = reader->query->group_count;

    for (uint32_t i = 0; i < count; i++) {
        need += 4 + reader->field[reader->group_slot[i]].bytes;
    }
    if (need > reader->key_room) {
        char *key = need > UINT32_MAX ? NULL : realloc(reader->key, need * 2);
        if (key == NULL) {
            return NULL;
        }
        memset(key, 0, need * 2);
        reader->key = key;
        reader->key_room = need * 2;
    }
    for (uint32_t i = 0; i < count; i++) {
        cairn_field field = reader->field[reader->group_slot[i]];
        for (unsigned k = 0; k < 4; k++) {
            reader->key[at++] = (char)(field.bytes >> (8 * k));
        }
        memcpy(reader->key + at, field.text, field.bytes);
        at += field.bytes;
    }
    return cairn_groups_find(groups, reader->key, (uint32_t)at);
}

bool reader_is_next(cairn_reader *reader, const cairn_groups *groups, uint32_t block, uint64_t row)
{
    for (unsigned i = 0; i < 4; i++) {
        reader->position[i] = (char)(block >> (24 - 8 * i));
    }
    for (unsigned i = 0; i < 8; i++) {
        reader->position[4 + i] = (char)(row >> (56 - 8 * i));
    }
    return groups->most == 0 || groups->count < groups->most;
}

bool reader_wants(const cairn_reader *reader, cairn_groups *groups, uint32_t block, uint64_t row)
{
    cairn_expr_row about = {
        .field = reader->field, .slot = reader->where_slot, .bad = groups->bad_where, .block = block, .row = row};

    return cairn_expr_holds(reader->query->where, &about);
}

/* One row's fields are in place: into the groups with them. */
static inline cairn_status take_row(cairn_reader *reader, cairn_groups *groups, uint32_t block, uint64_t row)
{
    const cairn_query *query = reader->query;
    cairn_group *group;

    if (query->selects && !reader_is_next(reader, groups, block, row)) {
        return CAIRN_OK;
    }
    /* Fields are never copied whole here: their halves were stored a moment ago, one by one, and a load of both at once would
     * have to wait for them. */
    if (query->group_count == 1) {
        const cairn_field *field = &reader->field[reader->group_slot[0]];
        group = cairn_groups_find(groups, field->text, (uint32_t)field->bytes);
    } else if (query->group_count == 0) {
        group = cairn_groups_find(groups, nothing, 0);
    } else {
        group = reader_join_group(reader, groups);
    }
    if (group == NULL) {
        return CAIRN_E_NOMEM;
    }
    group->rows++;
    for (uint32_t i = 0; i < query->value_count; i++) {
        const cairn_field *field = &reader->field[reader->value_slot[i]];
        cairn_cell *cell = &group->cell[i];
        int64_t fixed;
        if (field->bytes == 0) {
            groups->missing[i]++;
        } else if (reader->how[i] == HOW_NUMBER && (cairn_number_short(field->text, field->bytes, &fixed) ||
                                                    cairn_number_quick(field->text, field->bytes, &fixed))) {
            cell->present++;
            cell->numbers++;
            cairn_sum_add_fixed(&cell->sum, fixed);
            cell->low = fixed < cell->low ? fixed : cell->low;
            cell->high = fixed > cell->high ? fixed : cell->high;
        } else if (reader->how[i] == HOW_COUNT) {
            cell->present++;
        } else {
            cairn_status status = cairn_groups_add(groups, group, query, i, field, block, row);
            if (status != CAIRN_OK) {
                return status;
            }
        }
    }
    return CAIRN_OK;
}

/* A row with another number of fields than the header: what is not there is missing. */
static void note_length(cairn_reader *reader, cairn_groups *groups, uint32_t block, uint64_t row, uint32_t count)
{
    uint32_t expected = reader->plan->columns.count;
    char text[CAIRN_NOTE_TEXT];
    int length = snprintf(text, sizeof text, "%u instead of %u", count, expected);

    cairn_note_add(count < expected ? &groups->few : &groups->many, block, row, text, (size_t)length);
    for (uint32_t i = 0; i < reader->slots; i++) {
        if (reader->column_of[i] >= count && reader->column_of[i] != CAIRN_POSITION) {
            reader->field[i] = (cairn_field){nothing, 0};
        }
    }
}

static inline uint64_t structure_before(const char *base, const char *end, char delimiter)
{
    uint64_t mask = cairn_csv_structure(base, delimiter);
    return end - base >= 64 ? mask : mask & ((UINT64_C(1) << (end - base)) - 1);
}

static bool make_room(cairn_reader *reader, size_t bytes)
{
    if (bytes + CAIRN_CSV_SLACK > reader->room) {
        size_t room = bytes + CAIRN_CSV_SLACK;
        char *window = realloc(reader->window, room);
        if (window == NULL) {
            return false;
        }
        memset(window + reader->room, 0, room - reader->room);
        reader->window = window;
        reader->room = room;
    }
    if (reader->unescaped_room < reader->room) {
        free(reader->unescaped);
        reader->unescaped = calloc(1, reader->room);
        reader->unescaped_room = reader->unescaped == NULL ? 0 : reader->room;
    }
    return reader->unescaped != NULL;
}

/* The first bit of structure at or behind *base, as a place; NULL: there is none before `end`. */
static inline const char *next_structure(const char **base, const char *end, uint64_t *mask, char delimiter)
{
    while (*mask == 0) {
        *base += 64;
        if (*base >= end) {
            return NULL;
        }
        *mask = structure_before(*base, end, delimiter);
    }
    const char *at = *base + __builtin_ctzll(*mask);
    *mask &= *mask - 1;
    return at;
}

/* A short cut for what is asked for most, one group and the numbers beside it, in files of two columns: the rows from `row`
 * on, up to the first that is not simply two plain fields. Returns that row, or the one at `stop`. */
static const char *take_pairs(const cairn_reader *reader, cairn_groups *groups, const char *row, const char *stop,
                              const char *end, uint32_t block, uint64_t *row_index, cairn_status *status)
{
    const char delimiter = reader->plan->delimiter;
    const char *base = row;
    uint64_t mask = row < end ? structure_before(base, end, delimiter) : 0;
    uint64_t index = *row_index;

    while (row < stop) {
        const char *middle = next_structure(&base, end, &mask, delimiter);
        if (middle == NULL || *middle != delimiter) {
            break;
        }
        const char *behind = next_structure(&base, end, &mask, delimiter);
        if (behind == NULL || *behind != '\n') {
            break;
        }
        const char *value = middle + 1;
        size_t bytes = (size_t)(behind - value);
        int64_t fixed;
        bytes -= bytes > 0 && behind[-1] == '\r';
        cairn_group *group = cairn_groups_find(groups, row, (uint32_t)(middle - row));
        if (group == NULL) {
            *status = CAIRN_E_NOMEM;
            break;
        }
        group->rows++;
        if (cairn_number_short(value, bytes, &fixed) || cairn_number_quick(value, bytes, &fixed)) {
            cairn_cell *cell = group->cell;
            cell->present++;
            cell->numbers++;
            cairn_sum_add_fixed(&cell->sum, fixed);
            cell->low = fixed < cell->low ? fixed : cell->low;
            cell->high = fixed > cell->high ? fixed : cell->high;
        } else if (bytes == 0) {
            groups->missing[0]++;
        } else {
            cairn_field field = {value, bytes};
            *status = cairn_groups_add(groups, group, reader->query, 0, &field, block, index);
            if (*status != CAIRN_OK) {
                break;
            }
        }
        index++;
        row = behind + 1;
    }
    *row_index = index;
    return row;
}

/* Of so many rows that the short cut was tried for only few may have been none for it. */
enum { PAIRS_TRIED = 64, PAIRS_SHARE = 8 };

static bool are_pairs(const cairn_reader *reader)
{
    const cairn_query *query = reader->query;

    return reader->plan->columns.count == 2 && query->where == NULL && query->group_count == 1 &&
           query->value_count == 1 && query->group_column[0] == 0 && query->value_column[0] == 1 &&
           reader->how[0] == HOW_NUMBER;
}

cairn_status cairn_reader_rows(cairn_reader *reader, const char *text, size_t bytes, size_t limit, bool final,
                               uint32_t block, uint64_t *rows, cairn_groups *groups, size_t *next)
{
    const char delimiter = reader->plan->delimiter;
    const uint32_t columns = reader->plan->columns.count;
    const cairn_expr *const where = reader->query->where;
    const char *const end = text + bytes, *const stop = text + limit;
    const char *row = text, *base = text;
    uint64_t mask = bytes > 0 ? structure_before(base, end, delimiter) : 0;
    uint64_t row_index = *rows, selected = 0;
    const uint32_t *const slot_of = reader->slot_of;
    cairn_field *const fields = reader->field;
    bool pairs = are_pairs(reader);
    uint64_t others = 0; /* rows that were none */
    cairn_status status = make_room(reader, bytes) ? CAIRN_OK : CAIRN_E_NOMEM;

    while (row < stop && status == CAIRN_OK) {
        if (pairs) {
            uint64_t before = row_index;
            row = take_pairs(reader, groups, row, stop, end, block, &row_index, &status);
            selected += row_index - before;
            if (row >= stop || status != CAIRN_OK) {
                break;
            }
            pairs = ++others < PAIRS_TRIED || others < (row_index - *rows) / PAIRS_SHARE;
            base = row;
            mask = structure_before(base, end, delimiter);
        }
        const char *field = row, *behind = NULL;
        uint32_t column = 0;
        size_t used = 0;
        bool unclosed = false;

        while (behind == NULL) {
            while (mask == 0 && base < end) {
                base += 64;
                mask = base < end ? structure_before(base, end, delimiter) : 0;
            }
            const char *at = mask == 0 ? end : base + __builtin_ctzll(mask);
            mask &= mask - (mask != 0);
            cairn_field *slot = &fields[slot_of[column < columns ? column : columns]];
            if (at == end) {
                if (!final) {
                    goto out; /* the row is not whole */
                }
                *slot = (cairn_field){field, (size_t)(end - field)};
                behind = end;
            } else if (*at == delimiter) {
                *slot = (cairn_field){field, (size_t)(at - field)};
                field = at + 1;
            } else if (*at == '\n') {
                *slot = (cairn_field){field, (size_t)(at - field) - (at > field && at[-1] == '\r')};
                behind = at + 1;
            } else if (at == field) {
                if (!cairn_csv_quoted(at, end, final, delimiter, reader->unescaped, &used, slot, &at, &unclosed)) {
                    goto out;
                }
                field = at + 1;
                base = field;
                mask = base < end ? structure_before(base, end, delimiter) : 0;
                behind = at == end ? end : *at == '\n' ? at + 1 : NULL;
            } else {
                continue; /* a quote inside a plain field */
            }
            column++;
        }
        if (column == 1 && columns > 1 && (*row == '\n' || (*row == '\r' && behind == row + 2 && row[1] == '\n'))) {
            row = behind; /* an empty line */
            continue;
        }
        if (column != columns) {
            note_length(reader, groups, block, row_index, column);
        }
        if (unclosed) {
            cairn_note_add(&groups->unclosed, block, row_index, "", 0);
        }
        if (where == NULL || reader_wants(reader, groups, block, row_index)) {
            status = take_row(reader, groups, block, row_index);
            selected++;
        }
        row_index++;
        row = behind;
    }
out:
    groups->rows += row_index - *rows;
    groups->selected += selected;
    *rows = row_index;
    *next = (size_t)(row - text);
    return status;
}

/* The next bytes of a compressed file's text into the window, up to byte `to` or the end of the text. */
static cairn_status unpack(cairn_reader *reader, uint32_t block, uint64_t to, cairn_error *error)
{
    const uint32_t file = reader->plan->blocks[block].file;
    const cairn_packed_part part = cairn_plan_part(reader->plan, block);
    const cairn_plan_file *about = &reader->plan->files[file];
    uint64_t from = reader->start + reader->bytes;
    char path[CAIRN_PLAN_PATH_BYTES];
    cairn_status status = CAIRN_OK;
    size_t got = 1;
    int fd = -1;

    if (reader->packed != NULL && (reader->packed_block != block || cairn_packed_at(reader->packed) > from)) {
        cairn_packed_close(reader->packed);
        reader->packed = NULL;
    }
    if (reader->packed == NULL &&
        cairn_packed_open(&reader->packed, (cairn_packing)about->packing, &part) != CAIRN_OK) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: decompressing it", about->path);
    }
    reader->packed_block = block;
    uint64_t taken = cairn_packed_taken(reader->packed);
    while (got > 0 && cairn_packed_at(reader->packed) < to && status == CAIRN_OK) {
        uint64_t at = cairn_packed_at(reader->packed);
        size_t room = (size_t)((at < from ? from : to) - at);

        status = reader_open_file(reader, file, &fd, error);
        cairn_plan_place(reader->plan, file, reader->place[file], path);
        if (status == CAIRN_OK && at < from) { /* after a restart: what was read before goes where it does not matter */
            room = room < reader->unescaped_room ? room : reader->unescaped_room;
            status = cairn_packed_read(reader->packed, fd, path, reader->unescaped, room, &got, error);
        } else if (status == CAIRN_OK) {
            status = cairn_packed_read(reader->packed, fd, path, reader->window + reader->bytes, room, &got, error);
            reader->bytes += status == CAIRN_OK ? got : 0;
            got = got < room ? 0 : got;
        }
    }
    reader_count(reader, file, cairn_packed_taken(reader->packed) - taken);
    if (status != CAIRN_OK && status != CAIRN_E_NOMEM && fd >= 0 && reader_move_on(reader, file, error)) {
        cairn_packed_close(reader->packed);
        reader->packed = NULL;
        reader->file = UINT32_MAX; /* the window is of what was damaged */
        return CAIRN_E_AGAIN;
    }
    return status;
}

/* Make the window hold bytes [from, to) of a file, reading only what it does not hold. *text points at `from`. Of a
 * compressed file's text it may hold less: then the text ends there. */
static cairn_status look_at(cairn_reader *reader, uint32_t block, uint64_t from, uint64_t to, const char **text,
                            cairn_error *error)
{
    const uint32_t file = reader->plan->blocks[block].file;
    const cairn_plan_file *about = &reader->plan->files[file];
    cairn_status status;
    int fd = -1;

    if (reader->file == file && (about->packing == CAIRN_NOT_PACKED || reader->window_block == block) &&
        from >= reader->start && from <= reader->start + reader->bytes) {
        size_t skip = (size_t)(from - reader->start);
        if (skip > 0 && to > reader->start + reader->bytes) {
            memmove(reader->window, reader->window + skip, reader->bytes - skip);
            reader->bytes -= skip;
            reader->start = from;
        }
    } else {
        reader->file = file;
        reader->window_block = block;
        reader->start = from;
        reader->bytes = 0;
    }
    if (!make_room(reader, to > reader->start ? (size_t)(to - reader->start) : 0)) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: a window of %llu bytes", about->path,
                          (unsigned long long)(to - reader->start));
    }
    *text = reader->window + (from - reader->start);
    if (about->packing != CAIRN_NOT_PACKED) {
        return reader->start + reader->bytes < to ? unpack(reader, block, to, error) : CAIRN_OK;
    }
    while (reader->start + reader->bytes < to) {
        uint64_t at = reader->start + reader->bytes;
        status = reader_open_file(reader, file, &fd, error);
        if (status != CAIRN_OK) {
            return status;
        }
        ssize_t got = reader->ahead == NULL
                          ? 0
                          : (ssize_t)cairn_ahead_take(reader->ahead, block, at, reader->window + reader->bytes,
                                                      (size_t)(to - at));
        if (got > 0) {
            reader->bytes += (size_t)got;
            reader_count(reader, file, (uint64_t)got);
            continue;
        }
        got = pread(fd, reader->window + reader->bytes, (size_t)(to - at), (off_t)at);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            char path[CAIRN_PLAN_PATH_BYTES];

            cairn_plan_place(reader->plan, file, reader->place[file], path);
            status = got < 0 ? reader_fail(path, error)
                             : cairn_fail(error, CAIRN_E_MISMATCH, "%s: became shorter while it was read", path);
            if (!reader_move_on(reader, file, error)) {
                return status;
            }
        }
        reader->bytes += got > 0 ? (size_t)got : 0;
        reader_count(reader, file, got > 0 ? (uint64_t)got : 0);
    }
    return CAIRN_OK;
}

cairn_status cairn_reader_have_ahead(cairn_reader *reader, uint32_t depth, cairn_ahead_way way)
{
    return depth == 0 || reader->ahead != NULL ? CAIRN_OK : cairn_ahead_open(&reader->ahead, depth, way);
}

cairn_ahead_way cairn_reader_ahead_is(const cairn_reader *reader)
{
    return reader->ahead == NULL ? CAIRN_AHEAD_ANY : cairn_ahead_is(reader->ahead);
}

void cairn_reader_look_ahead(cairn_reader *reader, const uint32_t *blocks, uint32_t count)
{
    if (reader->ahead == NULL) {
        return;
    }
    cairn_ahead_keep(reader->ahead, blocks, count);
    for (uint32_t i = 1; i < count; i++) {
        const cairn_block *range = &reader->plan->blocks[blocks[i]];
        const cairn_plan_file *file = &reader->plan->files[range->file];
        cairn_error error = {CAIRN_OK, ""};
        int fd;

        /* What fails here fails once more when it is this block's turn, and is said then. */
        if (file->packing == CAIRN_NOT_PACKED && reader_open_file(reader, range->file, &fd, &error) == CAIRN_OK) {
            uint64_t from = range->start - (range->start > file->data_start), end = range->end + BORDER_BYTES;

            cairn_ahead_want(reader->ahead, blocks[i], fd, from, end < file->bytes ? end : file->bytes);
        }
    }
}

cairn_lease cairn_lease_begin(const cairn_plan *plan, uint32_t block, uint32_t start)
{
    const cairn_block *range = &plan->blocks[block];
    bool whole_file = range->end == CAIRN_BLOCK_OPEN_END;
    cairn_lease lease = {.block = block, .guessing = start == CAIRN_START_GUESS && !whole_file, .cursor = range->start};

    if (range->start == plan->files[range->file].data_start || start == CAIRN_CSV_ROW) {
        lease.at = CAIRN_LEASE_ROW;
    } else if (lease.guessing) {
        lease.at = CAIRN_LEASE_GUESS;
        lease.cursor--;
    } else {
        lease.at = CAIRN_LEASE_IN_STATE;
        lease.state = (cairn_csv_state)start;
    }
    return lease;
}

/* Look for the first row that starts in the block. */
static cairn_status seek_row(cairn_reader *reader, cairn_lease *lease, size_t bytes, cairn_outcome *outcome,
                             cairn_error *error)
{
    const cairn_block *range = &reader->plan->blocks[lease->block];
    bool guess = lease->at == CAIRN_LEASE_GUESS;
    uint64_t last = range->end - 1; /* a line feed from here on starts no row of this block */
    uint64_t to = last - lease->cursor > bytes ? lease->cursor + bytes : last;
    const char *text;

    cairn_status status = look_at(reader, lease->block, lease->cursor, to, &text, error);
    if (status != CAIRN_OK) {
        return status;
    }
    size_t length = (size_t)(to - lease->cursor);
    size_t found = cairn_csv_next_row(guess ? CAIRN_CSV_PLAIN : lease->state, text, length, reader->plan->delimiter);
    if (guess) {
        const char *line = memchr(text, '\n', length);
        found = line == NULL ? SIZE_MAX : (size_t)(line - text) + 1;
    }
    if (found != SIZE_MAX) {
        lease->at = CAIRN_LEASE_ROW;
        lease->cursor += found;
    } else {
        lease->state = guess ? lease->state : cairn_csv_scan(lease->state, text, length, reader->plan->delimiter);
        lease->cursor = to;
    }
    *outcome = found == SIZE_MAX && to == last ? CAIRN_READ_DONE : CAIRN_READ_MORE;
    return CAIRN_OK;
}

/* The cursor is at the true row border behind the block's end. Would a guess have found it? */
static cairn_status check_guess(cairn_reader *reader, const cairn_lease *lease, cairn_outcome *outcome,
                                cairn_error *error)
{
    const cairn_block *range = &reader->plan->blocks[lease->block];
    const char *text;

    *outcome = CAIRN_READ_DONE;
    if (!lease->guessing || lease->cursor == range->end) {
        return CAIRN_OK;
    }
    cairn_status status = look_at(reader, lease->block, range->end - 1, lease->cursor, &text, error);
    if (status == CAIRN_OK && memchr(text, '\n', (size_t)(lease->cursor - range->end)) != NULL) {
        *outcome = CAIRN_READ_WRONG;
    }
    return status;
}

cairn_status cairn_reader_step(cairn_reader *reader, cairn_lease *lease, cairn_groups *groups, size_t bytes,
                               cairn_outcome *outcome, cairn_error *error)
{
    const cairn_block *range = &reader->plan->blocks[lease->block];
    const cairn_plan_file *file = &reader->plan->files[range->file];
    bool packed = file->packing != CAIRN_NOT_PACKED;
    bool final = false;
    size_t next = 0, want = bytes < 1 ? 1 : bytes;

    if (file->packing == CAIRN_HDF5 && lease->rows == 0) {
        cairn_status status = reader_step_columns(reader, lease, groups, outcome, error);
        if (status != CAIRN_E_AGAIN) {
            return status;
        }
    }
    if (lease->at != CAIRN_LEASE_ROW) {
        return seek_row(reader, lease, want, outcome, error);
    }
    while (next == 0 && !(packed && final)) { /* until at least one row is whole */
        uint64_t to = lease->cursor + want;
        if (to > range->end + BORDER_BYTES && want == bytes) {
            to = range->end + BORDER_BYTES;
        }
        to = !packed && to > file->bytes ? file->bytes : to;
        const char *text;
        cairn_status status = look_at(reader, lease->block, lease->cursor, to, &text, error);
        if (status == CAIRN_E_AGAIN) {
            *lease = cairn_lease_begin(reader->plan, lease->block, CAIRN_START_GUESS);
            *outcome = CAIRN_READ_AGAIN;
            return CAIRN_OK;
        }
        if (status != CAIRN_OK) {
            return status;
        }
        final = packed ? reader->start + reader->bytes < to : to == file->bytes;
        to = packed && final ? reader->start + reader->bytes : to;
        uint64_t limit = to < range->end ? to : range->end;
        status = cairn_reader_rows(reader, text, (size_t)(to - lease->cursor), (size_t)(limit - lease->cursor), final,
                                   lease->block, &lease->rows, groups, &next);
        if (status != CAIRN_OK) {
            return cairn_fail(error, status, "%s: the table of groups", file->path);
        }
        if (next == 0 && want > CAIRN_ROW_BYTES_MAX) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: the row at byte %llu is longer than %zu MiB", file->path,
                              (unsigned long long)lease->cursor, CAIRN_ROW_BYTES_MAX >> 20);
        }
        want = want < 4096 ? 4096 : want * 2;
    }
    lease->cursor += next;
    if (packed && final) { /* all that was left */
        *outcome = CAIRN_READ_DONE;
        return CAIRN_OK;
    }
    if (lease->cursor >= range->end) {
        return check_guess(reader, lease, outcome, error);
    }
    *outcome = CAIRN_READ_MORE;
    return CAIRN_OK;
}

cairn_status cairn_reader_scan(cairn_reader *reader, uint32_t block, cairn_csv_state *state, cairn_error *error)
{
    const cairn_block *range = &reader->plan->blocks[block];
    const char *text;

    for (uint64_t at = range->start; at < range->end;) {
        uint64_t to = range->end - at > ((uint64_t)1 << 20) ? at + ((uint64_t)1 << 20) : range->end;
        cairn_status status = look_at(reader, block, at, to, &text, error);
        if (status != CAIRN_OK) {
            return status;
        }
        *state = cairn_csv_scan(*state, text, (size_t)(to - at), reader->plan->delimiter);
        at = to;
    }
    return CAIRN_OK;
}
