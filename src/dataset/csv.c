/* CSV: states, headers, delimiters. The loop over rows is in reader.c. */
#include "dataset/csv.h"

#include "dataset/number.h"

#include <stdlib.h>
#include <string.h>

/* The state in front of data[index] when no quote matters between `from` (where the state was `state`) and it. */
static cairn_csv_state state_before(cairn_csv_state state, const char *data, size_t from, size_t index, char delimiter)
{
    if (index == from) {
        return state;
    }
    if (data[index - 1] == '\n') {
        return CAIRN_CSV_ROW;
    }
    return data[index - 1] == delimiter ? CAIRN_CSV_FIELD : CAIRN_CSV_PLAIN;
}

/* From quote to quote: between two quotes only the byte before the second one says in which state it is met. */
cairn_csv_state cairn_csv_scan(cairn_csv_state state, const char *data, size_t bytes, char delimiter)
{
    size_t at = 0;

    while (at < bytes) {
        if (state == CAIRN_CSV_CLOSED) {
            char c = data[at++];
            state = c == '"'         ? CAIRN_CSV_QUOTED
                    : c == '\n'      ? CAIRN_CSV_ROW
                    : c == delimiter ? CAIRN_CSV_FIELD
                                     : CAIRN_CSV_PLAIN;
            continue;
        }
        const char *quote = memchr(data + at, '"', bytes - at);
        if (state == CAIRN_CSV_QUOTED) {
            if (quote == NULL) {
                return state;
            }
            state = CAIRN_CSV_CLOSED;
        } else {
            size_t index = quote == NULL ? bytes : (size_t)(quote - data);
            state = state_before(state, data, at, index, delimiter);
            if (quote == NULL) {
                return state;
            }
            state = state == CAIRN_CSV_PLAIN ? CAIRN_CSV_PLAIN : CAIRN_CSV_QUOTED;
        }
        at = (size_t)(quote - data) + 1;
    }
    return state;
}

size_t cairn_csv_next_row(cairn_csv_state state, const char *data, size_t bytes, char delimiter)
{
    size_t at = 0;

    while (state != CAIRN_CSV_ROW && at < bytes) {
        const char *line = memchr(data + at, '\n', bytes - at);
        size_t next = line == NULL ? bytes : (size_t)(line - data) + 1;
        state = cairn_csv_scan(state, data + at, next - at, delimiter);
        at = next;
    }
    return state == CAIRN_CSV_ROW ? at : SIZE_MAX;
}

bool cairn_csv_has_quoted_newline(const char *sample, size_t bytes, char delimiter)
{
    cairn_csv_state state = CAIRN_CSV_ROW;
    size_t at = 0;

    if (memchr(sample, '"', bytes) == NULL) {
        return false;
    }
    while (at < bytes) {
        const char *line = memchr(sample + at, '\n', bytes - at);
        size_t next = line == NULL ? bytes : (size_t)(line - sample);
        state = cairn_csv_scan(state, sample + at, next - at, delimiter);
        if (line != NULL && state == CAIRN_CSV_QUOTED) {
            return true;
        }
        if (line != NULL) {
            state = CAIRN_CSV_ROW;
            next++;
        }
        at = next;
    }
    return false;
}

/* Behind the closing quote `at`: the plain bytes up to the field's end. NULL: it may go on behind `end`. */
static const char *field_end(const char *at, const char *end, bool final, char delimiter)
{
    while (at != end && *at != delimiter && *at != '\n') {
        at++;
    }
    return at == end && !final ? NULL : at;
}

/* Copy quoted content, "" becoming ", then the plain tail. */
static void unescape(const char *from, const char *close, const char *tail, const char *tail_end, char *to,
                     cairn_field *field)
{
    char *out = to;

    while (from != close) {
        *out++ = *from;
        from += *from == '"' ? 2 : 1;
    }
    memcpy(out, tail, (size_t)(tail_end - tail));
    field->text = to;
    field->bytes = (size_t)(out - to) + (size_t)(tail_end - tail);
}

bool cairn_csv_quoted(const char *at, const char *end, bool final, char delimiter, char *unescaped, size_t *used,
                      cairn_field *field, const char **behind, bool *unclosed)
{
    const char *content = at + 1, *close = content, *tail = end, *stop = end;
    bool escaped = false;

    for (;; close += 2) {
        close = memchr(close, '"', (size_t)(end - close));
        if (close == NULL || (close + 1 == end && !final)) {
            break;
        }
        if (close + 1 == end || close[1] != '"') {
            tail = close + 1;
            stop = field_end(tail, end, final, delimiter);
            break;
        }
        escaped = true;
    }
    if (stop == NULL || (!final && tail == end)) {
        return false;
    }
    if (close == NULL) {
        close = end;
        *unclosed = true;
    }
    const char *tail_end = stop;
    if (stop != end && *stop == '\n' && tail_end > tail && tail_end[-1] == '\r') {
        tail_end--;
    }
    if (escaped || tail != tail_end) {
        unescape(content, close, tail, tail_end, unescaped + *used, field);
        *used += field->bytes;
    } else {
        field->text = content;
        field->bytes = (size_t)(close - content);
    }
    *behind = stop;
    return true;
}

/* Take one field of a row apart, the plain and slow way. *at moves behind it and what ends it. *last: it ends the
 * row. */
static bool slow_field(const char **at, const char *end, bool whole, char delimiter, char *room, size_t *used,
                       cairn_field *field, bool *last)
{
    const char *stop = *at;
    bool unclosed = false;

    if (stop != end && *stop == '"') {
        if (!cairn_csv_quoted(stop, end, whole, delimiter, room, used, field, &stop, &unclosed)) {
            return false;
        }
    } else {
        field->text = stop;
        stop = field_end(stop, end, whole, delimiter);
        if (stop == NULL) {
            return false;
        }
        field->bytes = (size_t)(stop - field->text);
        if (stop != end && *stop == '\n' && field->bytes > 0 && stop[-1] == '\r') {
            field->bytes--;
        }
    }
    *last = stop == end || *stop == '\n';
    *at = stop == end ? end : stop + 1;
    return true;
}

/* Fields of the row at *at, which moves behind it; 0: no whole row is left. */
static uint32_t count_fields(const char **at, const char *end, bool whole, char delimiter, char *room)
{
    const char *next = *at;
    uint32_t count = 0;
    size_t used = 0;
    cairn_field field;
    bool last = false;

    if (next == end) {
        return 0;
    }
    while (!last) {
        if (!slow_field(&next, end, whole, delimiter, room, &used, &field, &last)) {
            return 0;
        }
        count++;
    }
    *at = next;
    return count;
}

static size_t mark_bytes(const char *sample, size_t bytes)
{
    return bytes >= 3 && memcmp(sample, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

char cairn_csv_find_delimiter(const char *sample, size_t bytes, bool whole)
{
    static const char candidates[] = {',', ';', '\t'};
    char best = ',';
    uint64_t best_score = 0;
    size_t start = mark_bytes(sample, bytes);
    char *room = malloc(bytes + 1);

    for (size_t i = 0; room != NULL && i < sizeof candidates; i++) {
        const char *at = sample + start, *end = sample + bytes;
        uint32_t first = count_fields(&at, end, whole, candidates[i], room), fields = first;
        uint64_t rows = 0, alike = 0;

        for (; fields != 0 && rows < 200; fields = count_fields(&at, end, whole, candidates[i], room)) {
            rows++;
            alike += fields == first;
        }
        /* Agreement first (in 1/1000), then the number of fields. */
        uint64_t score = first > 1 ? (alike * 1000 / rows) * (CAIRN_COLUMNS_MAX + 1) : 0;
        score += score == 0 ? 0 : first < CAIRN_COLUMNS_MAX ? first : CAIRN_COLUMNS_MAX;
        if (score > best_score) {
            best_score = score;
            best = candidates[i];
        }
    }
    free(room);
    return best;
}

void cairn_columns_free(cairn_columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        free(columns->name[i]);
    }
    free(columns->name);
    columns->name = NULL;
    columns->count = 0;
}

static char *copy_name(const cairn_field *field)
{
    char *name = malloc(field->bytes + 1);
    for (size_t i = 0; name != NULL && i < field->bytes; i++) {
        name[i] = field->text[i] == '\0' ? '?' : field->text[i];
    }
    if (name != NULL) {
        name[field->bytes] = '\0';
    }
    return name;
}

cairn_status cairn_csv_header(const char *sample, size_t bytes, bool whole, char delimiter, cairn_columns *columns,
                              size_t *data_start, cairn_error *error)
{
    size_t start = mark_bytes(sample, bytes), used = 0;
    const char *at = sample + start, *end = sample + bytes;
    cairn_columns found = {0, NULL};
    cairn_status status = CAIRN_E_BUG;
    char *room = malloc(bytes + 1);
    const char *count_at = at;
    cairn_field field;
    bool last = false;

    if (room == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "header");
    }
    uint32_t count = count_fields(&count_at, end, whole, delimiter, room);
    if (count == 0 || count > CAIRN_COLUMNS_MAX) {
        status = cairn_fail(error, CAIRN_E_INVALID, "%s",
                            at == end    ? "the file is empty: a header row is needed"
                            : count == 0 ? "no end of the header row was found in the first bytes"
                                         : "the header row has more than 4096 columns");
        goto out;
    }
    found.name = calloc(count, sizeof *found.name);
    while (found.name != NULL && !last && slow_field(&at, end, whole, delimiter, room, &used, &field, &last)) {
        found.name[found.count] = copy_name(&field);
        if (found.name[found.count++] == NULL) {
            break;
        }
    }
    if (found.name == NULL || found.count != count || found.name[count - 1] == NULL) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "header");
        goto out;
    }
    *columns = found;
    found = (cairn_columns){0, NULL};
    *data_start = (size_t)(at - sample);
    status = CAIRN_OK;
out:
    cairn_columns_free(&found);
    free(room);
    return status;
}

cairn_status cairn_csv_sample(const char *sample, size_t bytes, size_t data_start, bool whole, char delimiter,
                              uint32_t count, uint64_t *numbers, uint64_t *others)
{
    const char *at = sample + data_start, *end = sample + bytes;
    char *room = malloc(bytes + 1);
    cairn_field field = {NULL, 0};

    if (room == NULL) {
        return CAIRN_E_NOMEM;
    }
    while (at < end) {
        size_t used = 0;
        bool last = false;
        for (uint32_t i = 0; !last; i++) {
            if (!slow_field(&at, end, whole, delimiter, room, &used, &field, &last)) {
                free(room);
                return CAIRN_OK; /* the last row is not whole: its first columns may have been counted, and are true */
            }
            if (i < count && field.bytes > 0) {
                bool number = cairn_number_parse(field.text, field.bytes).kind != CAIRN_NUMBER_NONE;
                numbers[i] += number;
                others[i] += !number;
            }
        }
    }
    free(room);
    return CAIRN_OK;
}
