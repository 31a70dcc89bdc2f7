/* Printing the answer: see answer.h. */
#include "dataset/answer_parts.h"

static void print_range(const cairn_cell *cell, bool high, char text[CAIRN_NUMBER_TEXT])
{
    cairn_number fixed = {CAIRN_NUMBER_FIXED, high ? cell->high : cell->low, 0};
    cairn_number wide = {CAIRN_NUMBER_WIDE, 0, high ? cell->wide_high : cell->wide_low};

    if (cell->low > cell->high) {
        fixed = wide;
    } else if (cell->wide_low <= cell->wide_high) {
        int order = cairn_number_compare(wide, fixed);
        fixed = (high ? order > 0 : order < 0) ? wide : fixed;
    }
    cairn_number_print(fixed, text);
}

/* false: missing. */
static bool print_value(const cairn_answer_rows *a, const row *r, uint32_t index, bool rounded,
                        char text[CAIRN_NUMBER_TEXT])
{
    const cairn_aggregate *aggregate = &a->query->aggregate[index];
    const cairn_cell *cell =
        r->group == NULL || aggregate->value == CAIRN_NO_VALUE ? NULL : &r->group->cell[aggregate->value];
    double value;

    if (aggregate->kind == CAIRN_COUNT) {
        uint64_t count = r->group == NULL ? 0 : cell == NULL ? r->group->rows : cell->present;
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%llu", (unsigned long long)count);
        return true;
    }
    if (aggregate->kind == CAIRN_AGG_SUM || aggregate->kind == CAIRN_AGG_MIN || aggregate->kind == CAIRN_AGG_MAX) {
        bool present = cell != NULL && cell->numbers > 0;
        if (present && aggregate->kind == CAIRN_AGG_SUM) {
            cairn_sum_print(&cell->sum, text);
        } else if (present) {
            print_range(cell, aggregate->kind == CAIRN_AGG_MAX, text);
        }
        return present;
    }
    if (!answer_value(r, aggregate, &value)) {
        return false;
    }
    cairn_double_print(value, text);
    bool computed = aggregate->kind == CAIRN_AGG_MEAN || aggregate->kind == CAIRN_AGG_VARIANCE ||
                    aggregate->kind == CAIRN_AGG_STDDEV;
    if (rounded && computed && strlen(text) > 8 && strchr(text, 'e') == NULL) {
        (void)snprintf(text, CAIRN_NUMBER_TEXT, "%.6f", value);
    }
    return true;
}

static void csv_field(FILE *out, const char *text, size_t bytes)
{
    bool quote = false;

    for (size_t i = 0; i < bytes && !quote; i++) {
        quote = text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
    }
    if (!quote) {
        (void)fwrite(text, 1, bytes, out);
        return;
    }
    (void)putc('"', out);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"') {
            (void)putc('"', out);
        }
        (void)putc(text[i], out);
    }
    (void)putc('"', out);
}

/* Length of the UTF-8 character at text, 0 when it is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *text, size_t bytes)
{
    unsigned char c = text[0];
    size_t length = c < 0x80                ? 1
                    : c >= 0xc2 && c < 0xe0 ? 2
                    : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4
                                            : 0;

    if (length == 0 || length > bytes) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) || (c == 0xf0 && text[1] < 0x90) ||
        (c == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

static void json_string(FILE *out, const char *text, size_t bytes)
{
    (void)putc('"', out);
    for (size_t i = 0; i < bytes;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_length((const unsigned char *)text + i, bytes - i);
        if (length == 0) {
            (void)fputs("\\ufffd", out);
            length = 1;
        } else if (c == '"' || c == '\\') {
            (void)fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            (void)fprintf(out, "\\u%04x", c);
        } else {
            (void)fwrite(text + i, 1, length, out);
        }
        i += length;
    }
    (void)putc('"', out);
}

static void print_csv(cairn_answer_rows *a, FILE *out)
{
    uint32_t width = a->query->group_count + a->query->aggregate_count;
    char text[CAIRN_NUMBER_TEXT], name[ANSWER_NAME_BYTES];
    const row *r;

    for (uint32_t k = a->first; k < width; k++) {
        answer_name(a, k, name, sizeof name);
        (void)fputs(k == a->first ? "" : ",", out);
        csv_field(out, name, strlen(name));
    }
    (void)putc('\n', out);
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        for (uint32_t k = a->first; k < width; k++) {
            (void)fputs(k == a->first ? "" : ",", out);
            if (k < a->query->group_count) {
                csv_field(out, r->key[k].text, r->key[k].bytes);
            } else if (print_value(a, r, k - a->query->group_count, false, text)) {
                (void)fputs(text, out);
            }
        }
        (void)putc('\n', out);
    }
}

static void print_json(cairn_answer_rows *a, FILE *out)
{
    uint32_t width = a->query->group_count + a->query->aggregate_count;
    char text[CAIRN_NUMBER_TEXT], name[ANSWER_NAME_BYTES];
    const char *before = "\n  {";
    const row *r;

    (void)fputs("[", out);
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        (void)fputs(before, out);
        before = ",\n  {";
        for (uint32_t k = a->first; k < width; k++) {
            answer_name(a, k, name, sizeof name);
            (void)fputs(k == a->first ? "" : ", ", out);
            json_string(out, name, strlen(name));
            (void)fputs(": ", out);
            if (k < a->query->group_count) {
                json_string(out, r->key[k].text, r->key[k].bytes);
            } else if (print_value(a, r, k - a->query->group_count, false, text) && strcmp(text, "inf") != 0 &&
                       strcmp(text, "-inf") != 0) {
                (void)fputs(text, out);
            } else {
                (void)fputs("null", out);
            }
        }
        (void)fputs("}", out);
    }
    (void)fputs("\n]\n", out);
}

/* Characters, for alignment: UTF-8 continuation bytes count nothing. */
static size_t width_of(const char *text, size_t bytes)
{
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++) {
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return width;
}

static void table_cell(FILE *out, const char *text, size_t bytes, size_t width, bool right, bool last)
{
    size_t blanks = width - width_of(text, bytes);

    for (size_t i = 0; right && i < blanks; i++) {
        (void)putc(' ', out);
    }
    for (size_t i = 0; i < bytes; i++) {
        (void)putc((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i], out);
    }
    for (size_t i = 0; !right && !last && i < blanks; i++) {
        (void)putc(' ', out);
    }
    (void)fputs(last ? "\n" : "  ", out);
}

static cairn_field table_text(const cairn_answer_rows *a, const row *r, uint32_t k, char text[CAIRN_NUMBER_TEXT])
{
    if (k < a->query->group_count) {
        return r->key[k];
    }
    if (!print_value(a, r, k - a->query->group_count, true, text)) {
        memcpy(text, "-", 2);
    }
    return (cairn_field){text, strlen(text)};
}

static void print_table(cairn_answer_rows *a, FILE *out)
{
    uint32_t columns = a->query->group_count + a->query->aggregate_count;
    size_t width[CAIRN_GROUP_COLUMNS_MAX + CAIRN_AGGREGATES_MAX];
    char text[CAIRN_NUMBER_TEXT], name[ANSWER_NAME_BYTES];
    const row *r;

    for (uint32_t k = a->first; k < columns; k++) {
        answer_name(a, k, name, sizeof name);
        width[k] = width_of(name, strlen(name));
    }
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        for (uint32_t k = a->first; k < columns; k++) {
            cairn_field field = table_text(a, r, k, text);
            size_t need = width_of(field.text, field.bytes);
            width[k] = need > width[k] ? need : width[k];
        }
    }
    for (uint32_t k = a->first; k < columns; k++) {
        answer_name(a, k, name, sizeof name);
        table_cell(out, name, strlen(name), width[k], k >= a->query->group_count || a->numeric[k], k + 1 == columns);
    }
    answer_rewind(a);
    while ((r = answer_next(a)) != NULL) {
        for (uint32_t k = a->first; k < columns; k++) {
            cairn_field field = table_text(a, r, k, text);
            table_cell(out, field.text, field.bytes, width[k], k >= a->query->group_count || a->numeric[k],
                       k + 1 == columns);
        }
    }
}

cairn_status cairn_answer_print(cairn_answer_rows *a, FILE *out, cairn_format format)
{
    if (format == CAIRN_FORMAT_CSV) {
        print_csv(a, out);
    } else if (format == CAIRN_FORMAT_JSON) {
        print_json(a, out);
    } else {
        print_table(a, out);
    }
    if (a->status != CAIRN_OK) {
        return a->status;
    }
    return fflush(out) != 0 || ferror(out) != 0 ? CAIRN_E_IO : CAIRN_OK;
}
