/* CSV as RFC 4180 has it, and what real files add to it.
 *
 * A byte is read in one of five states; they alone decide what it means, so a file can be cut anywhere as long as the
 * state there is known:
 *   ROW     at the start of a row          FIELD   at the start of a field
 *   PLAIN   inside a field without quotes  QUOTED  inside quotes
 *   CLOSED  behind a quote that may have ended them
 * A quote opens a quoted field only as the first byte of it; elsewhere in a plain field it is an ordinary byte. In
 * QUOTED, "" is one quote. What follows a closing quote before the next delimiter is taken as it stands ("ab"cd is
 * abcd). A row ends at a line feed outside quotes; a carriage return right before it, outside quotes, belongs to the
 * row's end. The last row needs no line feed; a quoted field that never ends takes the rest of the file and is
 * reported. Empty lines are skipped, except in files of one column, where they are rows with a missing value. A UTF-8
 * byte order mark at the start of a file is skipped. */
#ifndef CAIRN_DATASET_CSV_H
#define CAIRN_DATASET_CSV_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAIRN_CSV_SLACK   64 /* readable bytes that every buffer has behind its end; what they are does not matter */
#define CAIRN_COLUMNS_MAX 4096

typedef enum cairn_csv_state {
    CAIRN_CSV_ROW,
    CAIRN_CSV_FIELD,
    CAIRN_CSV_PLAIN,
    CAIRN_CSV_QUOTED,
    CAIRN_CSV_CLOSED
} cairn_csv_state;

/* The state behind these bytes. */
cairn_csv_state cairn_csv_scan(cairn_csv_state state, const char *data, size_t bytes, char delimiter);

/* Index just behind the line feed that ends the row in which `state` is, or SIZE_MAX when it is not in these bytes.
 * State ROW is at a row's start already: 0. */
size_t cairn_csv_next_row(cairn_csv_state state, const char *data, size_t bytes, char delimiter);

/* The names in a header row. */
typedef struct cairn_columns {
    uint32_t count;
    char **name; /* zero-terminated; bytes 0 inside become '?' */
} cairn_columns;
void cairn_columns_free(cairn_columns *columns); /* safe on zeros */

/* Find the delimiter among , ; and tab in a sample (the first bytes of a file; whole: it is all of it): the one that
 * gives every whole row of the sample the same number of fields, more than one; of several the one with most fields.
 * When rows differ, the one that most rows agree on. A comma when none parts anything. */
char cairn_csv_find_delimiter(const char *sample, size_t bytes, bool whole);

/* Read the header row of a sample. *data_start gets the offset of the first row behind it. CAIRN_E_INVALID, with
 * error: empty file, no end of the header in the sample, too many columns. */
CAIRN_MUST_CHECK cairn_status cairn_csv_header(const char *sample, size_t bytes, bool whole, char delimiter,
                                               cairn_columns *columns, size_t *data_start, cairn_error *error);

/* What the whole rows behind the header hold in each column: [count] of each; counts go up. */
CAIRN_MUST_CHECK cairn_status cairn_csv_sample(const char *sample, size_t bytes, size_t data_start, bool whole,
                                               char delimiter, uint32_t count, uint64_t *numbers, uint64_t *others);

/* A quoted line break is in the sample. */
bool cairn_csv_has_quoted_newline(const char *sample, size_t bytes, char delimiter);

typedef struct cairn_field {
    const char *text;
    size_t bytes;
} cairn_field;

/* One field that starts with a quote at `at`. *behind gets the byte that ends it (delimiter or line feed) or `end`.
 * unescaped: room for the field when it cannot be given in place; *used counts up. false: the end was reached and
 * more bytes may come (!final).
 * *unclosed is set when the quotes never end. */
bool cairn_csv_quoted(const char *at, const char *end, bool final, char delimiter, char *unescaped, size_t *used,
                      cairn_field *field, const char **behind, bool *unclosed);

/* Where bytes of structure are among the 64 at `at`: delimiter, line feed, quote. */
static inline uint64_t cairn_csv_structure(const char *at, char delimiter);

#if defined(__SSE2__)
#include <emmintrin.h>
static inline uint64_t cairn_csv_structure(const char *at, char delimiter)
{
    const __m128i d = _mm_set1_epi8(delimiter), n = _mm_set1_epi8('\n'), q = _mm_set1_epi8('"');
    uint64_t mask = 0;
    for (unsigned i = 0; i < 4; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(at + (size_t)16 * i));
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, d), _mm_cmpeq_epi8(x, n)), _mm_cmpeq_epi8(x, q));
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(hit) << (16 * i);
    }
    return mask;
}
#else
static inline uint64_t cairn_csv_structure(const char *at, char delimiter)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < 64; i++) {
        mask |= (uint64_t)(at[i] == delimiter || at[i] == '\n' || at[i] == '"') << i;
    }
    return mask;
}
#endif

#endif
