/* Histories: their keys and values get numbers, each key is searched, and for a key without an order the span of time
 * is narrowed until nothing can be left out of it. */
#include "support/linear.h"
#include "support/linear_search.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Texts with numbers from 0; a hash table of open addressing beside the list. */
typedef struct names {
    char **texts;
    size_t count, room;
    uint32_t *table; /* number + 1 */
    size_t table_room;
} names;

typedef struct history {
    linear_item *items;
    size_t count, room;
} history;

struct linear {
    names keys, values; /* value 0: none */
    history *histories; /* of each key */
    size_t history_room;
};

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 1469598103934665603u;

    for (; *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    }
    return hash ^ hash >> 29;
}

static void grow_table(names *list)
{
    list->table_room = list->table_room == 0 ? 64 : list->table_room * 2;
    list->table = linear_memory(list->table, list->table_room, sizeof *list->table);
    memset(list->table, 0, list->table_room * sizeof *list->table);
    for (size_t i = 0; i < list->count; i++) {
        size_t at = (size_t)hash_of(list->texts[i]) & (list->table_room - 1);

        while (list->table[at] != 0) {
            at = (at + 1) & (list->table_room - 1);
        }
        list->table[at] = (uint32_t)i + 1;
    }
}

static uint32_t number_of(names *list, const char *text)
{
    if (list->count * 2 >= list->table_room) {
        grow_table(list);
    }
    size_t at = (size_t)hash_of(text) & (list->table_room - 1);
    for (; list->table[at] != 0; at = (at + 1) & (list->table_room - 1)) {
        if (strcmp(list->texts[list->table[at] - 1], text) == 0) {
            return list->table[at] - 1;
        }
    }
    if (list->count == list->room) {
        list->room = list->room * 2 + 16;
        list->texts = linear_memory(list->texts, list->room, sizeof(char *));
    }
    size_t bytes = strlen(text) + 1;
    list->texts[list->count] = linear_memory(NULL, bytes, 1);
    memcpy(list->texts[list->count], text, bytes);
    list->table[at] = (uint32_t)list->count + 1;
    return (uint32_t)list->count++;
}

static void free_names(names *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->texts[i]);
    }
    free(list->texts);
    free(list->table);
}

linear *linear_new(void)
{
    linear *h = linear_memory(NULL, 1, sizeof *h);

    memset(h, 0, sizeof *h);
    (void)number_of(&h->values, "-"); /* number 0, LINEAR_NONE */
    return h;
}

void linear_free(linear *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < h->keys.count; i++) {
        free(h->histories[i].items);
    }
    free(h->histories);
    free_names(&h->keys);
    free_names(&h->values);
    free(h);
}

void linear_add(linear *h, const linear_op *op)
{
    uint32_t key = number_of(&h->keys, op->key);

    if (h->keys.count > h->history_room) {
        size_t room = h->keys.room;

        h->histories = linear_memory(h->histories, room, sizeof *h->histories);
        memset(&h->histories[h->history_room], 0, (room - h->history_room) * sizeof *h->histories);
        h->history_room = room;
    }
    history *of = &h->histories[key];
    if (of->count == of->room) {
        of->room = of->room * 2 + 64;
        of->items = linear_memory(of->items, of->room, sizeof *of->items);
    }
    of->items[of->count++] =
        (linear_item){.kind = op->kind,
                      .process = op->process,
                      .begin = op->begin,
                      .end = op->end,
                      .unknown = op->end == LINEAR_UNKNOWN,
                      .done = op->done || (op->end == LINEAR_UNKNOWN && op->kind != LINEAR_GET),
                      .value = op->value == NULL ? LINEAR_NONE : number_of(&h->values, op->value),
                      .expected = op->expected == NULL ? LINEAR_NONE : number_of(&h->values, op->expected)};
}

size_t linear_operations(const linear *h)
{
    size_t count = 0;

    for (size_t i = 0; i < h->keys.count; i++) {
        count += h->histories[i].count;
    }
    return count;
}

size_t linear_keys(const linear *h)
{
    return h->keys.count;
}

static int by_begin(const void *left, const void *right)
{
    const linear_item *a = left, *b = right;

    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    return a->end != b->end ? (a->end < b->end ? -1 : 1) : (a->process > b->process) - (a->process < b->process);
}

/* What is known of the span from..to: what ended before it is left out; what began before it may have taken effect in
 * it or not, and what ended after it too. How many operations. */
static size_t cut(const history *of, uint64_t from, uint64_t to, linear_item *out)
{
    size_t count = 0;

    for (size_t i = 0; i < of->count; i++) {
        const linear_item *item = &of->items[i];

        if (item->begin > to || (!item->unknown && item->end < from)) {
            continue;
        }
        out[count] = *item;
        out[count].unknown = item->unknown || item->begin < from || item->end > to;
        /* Cut off, it is not known to have failed either, but what failed changes nothing. */
        if (out[count].unknown && (item->kind == LINEAR_GET ||
                                   (!item->unknown && !item->done && item->kind != LINEAR_PUT && item->end <= to))) {
            continue;
        }
        out[count].done = item->done || out[count].unknown;
        count++;
    }
    return count;
}

/* Is there no order, whatever the value was at first? */
static bool fails_from_any(const linear_item *items, size_t count, uint64_t *steps)
{
    uint32_t *tried = linear_memory(NULL, count * 2 + 2, sizeof *tried);
    size_t tried_count = 0;
    bool fails = true;

    tried[tried_count++] = LINEAR_NONE;
    tried[tried_count++] = UINT32_MAX; /* some other value */
    for (size_t i = 0; i < count; i++) {
        tried[tried_count++] = items[i].value;
        tried[tried_count++] = items[i].expected;
    }
    for (size_t i = 0; i < tried_count && fails; i++) {
        bool again = false;

        for (size_t j = 0; j < i && !again; j++) {
            again = tried[j] == tried[i];
        }
        fails = again || linear_search(items, count, tried[i], steps) == LINEAR_NO;
    }
    free(tried);
    return fails;
}

/* The earliest end by which there is no order any more: a longer history of it has none either. */
static uint64_t narrow_end(const history *of, linear_item *room, uint64_t *steps)
{
    uint64_t low = 0, high = 0;

    for (size_t i = 0; i < of->count; i++) {
        high = !of->items[i].unknown && of->items[i].end > high ? of->items[i].end : high;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        size_t count = cut(of, 0, middle, room);

        if (linear_search(room, count, LINEAR_NONE, steps) == LINEAR_NO) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return high;
}

/* The latest begin from which there still is none, whatever was before; 0: what was before matters. */
static uint64_t narrow_begin(const history *of, linear_item *room, uint64_t to, uint64_t *steps)
{
    uint64_t width = 1, from = to, low, high;

    while (!fails_from_any(room, cut(of, from, to, room), steps)) {
        if (from == 0) {
            return 0;
        }
        from = to > width ? to - width : 0;
        width *= 2;
    }
    low = from;
    high = to;
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;

        if (fails_from_any(room, cut(of, middle, to, room), steps)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

typedef struct writer {
    char *text;
    size_t bytes, at;
} writer;

static void say(writer *w, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = w->at < w->bytes ? vsnprintf(w->text + w->at, w->bytes - w->at, format, arguments) : 0;
    va_end(arguments);
    w->at += length > 0 ? (size_t)length : 0;
}

static void say_item(writer *w, const linear *h, const char *key, const linear_item *item)
{
    const char *value = h->values.texts[item->value], *expected = h->values.texts[item->expected];

    say(w, "  %" PRIu32 " %" PRIu64 " ", item->process, item->begin);
    if (item->unknown) {
        say(w, "- ");
    } else {
        say(w, "%" PRIu64 " ", item->end);
    }
    switch (item->kind) {
    case LINEAR_PUT:
        say(w, "put %s %s %s\n", key, value, item->unknown ? "?" : "ok");
        break;
    case LINEAR_GET:
        say(w, "get %s %s\n", key, item->unknown ? "?" : value);
        break;
    case LINEAR_CAS:
        say(w, "cas %s %s %s %s\n", key, expected, value, item->unknown ? "?" : item->done ? "ok" : "fail");
        break;
    case LINEAR_DELETE:
        say(w, "delete %s %s\n", key, item->unknown ? "?" : item->done ? "ok" : "none");
        break;
    }
}

static bool in_span(const linear_item *item, uint64_t from, uint64_t to)
{
    return item->begin <= to && (item->unknown || item->end >= from);
}

/* Worth telling: of known outcome, or one that may have written what somebody found. */
static bool is_told(const history *of, const linear_item *item, uint64_t from, uint64_t to)
{
    bool told = !item->unknown;

    for (size_t i = 0; i < of->count && !told && (item->kind == LINEAR_PUT || item->kind == LINEAR_CAS); i++) {
        const linear_item *other = &of->items[i];
        uint32_t found = other->kind == LINEAR_GET   ? other->value
                         : other->kind == LINEAR_CAS ? other->expected
                                                     : LINEAR_NONE;

        told = !other->unknown && in_span(other, from, to) && found == item->value;
    }
    return told && in_span(item, from, to);
}

static void explain(writer *w, const linear *h, size_t key, const history *of)
{
    const char *name = h->keys.texts[key];
    linear_item *room = linear_memory(NULL, of->count, sizeof *room);
    uint64_t steps = UINT64_C(100) * 1000 * 1000;
    uint64_t to = narrow_end(of, room, &steps), from = narrow_begin(of, room, to, &steps);
    size_t told = 0, untold = 0;

    for (size_t i = 0; i < of->count; i++) {
        bool is = is_told(of, &of->items[i], from, to);

        told += is ? 1 : 0;
        untold += !is && in_span(&of->items[i], from, to) ? 1 : 0;
    }
    say(w, "not linearizable: key %s: these %zu of %zu operations have no order%s", name, told, of->count,
        from == 0 ? ", there being no value at first" : ", whatever the value was before");
    if (untold > 0) {
        say(w, ", and %zu more of unknown outcome do not help", untold);
    }
    say(w, "\n");
    for (size_t i = 0; i < of->count; i++) {
        if (is_told(of, &of->items[i], from, to)) {
            say_item(w, h, name, &of->items[i]);
        }
    }
    free(room);
}

linear_verdict linear_check(linear *h, uint64_t steps_max, char *text, size_t bytes)
{
    uint64_t steps = steps_max == 0 ? UINT64_C(500) * 1000 * 1000 : steps_max;
    writer w = {text, text == NULL ? 0 : bytes, 0};

    for (size_t i = 0; i < h->keys.count; i++) {
        history *of = &h->histories[i];

        if (of->count > 1) {
            qsort(of->items, of->count, sizeof *of->items, by_begin);
        }
        linear_verdict verdict = linear_search(of->items, of->count, LINEAR_NONE, &steps);
        if (verdict == LINEAR_NO && w.bytes > 0) {
            explain(&w, h, i, of);
        } else if (verdict == LINEAR_UNDECIDED) {
            say(&w, "undecided: key %s: no answer for its %zu operations in so many steps\n", h->keys.texts[i],
                of->count);
        }
        if (verdict != LINEAR_YES) {
            return verdict;
        }
    }
    say(&w, "linearizable: %zu operations on %zu keys\n", linear_operations(h), linear_keys(h));
    return LINEAR_YES;
}
