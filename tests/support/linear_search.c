/* Depth first: take some operation that may be the next one, that is, no other ended before it began, and whose result
 * fits; when none fits go back. What is left out of the textbook's search:
 *   - a configuration that failed once is not tried again: which operations of known outcome were taken, and the value
 *     then. One of which more operations of unknown outcome were taken before cannot do better;
 *   - an operation that fits and changes nothing is taken at once and never given back for another: any order that
 *     takes it later can take it now;
 *   - an operation of unknown outcome is taken only if the next one looks at the value, for else it can as well be left
 *     out; of several that are alike only the one that began first; and those of known outcome are tried before. */
#include "support/linear_search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct node {
    struct node *before, *after; /* in the list of what is not taken, by time */
    struct node *match;          /* call: its return */
    const linear_item *item;
    uint64_t time, mark[2]; /* mark: stands for the operation in a configuration's fingerprint */
    bool is_return;
} node;

/* An operation of unknown outcome. */
typedef struct guess {
    const linear_item *item;
    size_t twin; /* the one before it that is alike, or SIZE_MAX */
    uint64_t mark[2];
    bool taken;
} guess;

/* What is tried next: a call of the list, or, behind all of them, a guess. */
typedef struct cursor {
    node *at; /* NULL: guesses[guess] */
    size_t guess;
} cursor;

typedef struct frame {
    cursor taken;
    uint32_t value;
    bool hangs, forced;
} frame;

enum { GUESS_WORDS = 4 }; /* guesses behind the first 256 are told apart like operations of known outcome */

typedef struct configuration {
    uint64_t a, b; /* fingerprint; {0, 0}: empty */
    uint64_t guesses[GUESS_WORDS];
} configuration;

typedef struct search {
    node head;
    node *nodes;
    guess *guesses;
    size_t guess_count;
    frame *stack;
    size_t depth, open; /* open: operations of known outcome that are not taken */
    uint32_t value;
    bool hangs; /* the last one taken was a guess: the next must look at the value */
    configuration taken;
    configuration *seen; /* open addressing */
    size_t seen_count, seen_room;
} search;

void *linear_memory(void *old, size_t count, size_t size)
{
    void *memory = count > SIZE_MAX / 2 / size ? NULL : realloc(old, (count + 1) * size);

    if (memory == NULL) {
        fprintf(stderr, "linear: no memory\n");
        exit(2);
    }
    return memory;
}

static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool is_empty(const configuration *one)
{
    return one->a == 0 && one->b == 0;
}

static void put_seen(configuration *seen, size_t room, const configuration *one)
{
    size_t at = (size_t)one->a & (room - 1);

    while (!is_empty(&seen[at])) {
        at = (at + 1) & (room - 1);
    }
    seen[at] = *one;
}

static void grow_seen(search *s)
{
    configuration *more = calloc(s->seen_room * 2, sizeof *more);

    if (more == NULL) {
        fprintf(stderr, "linear: no memory\n");
        exit(2);
    }
    for (size_t i = 0; i < s->seen_room; i++) {
        if (!is_empty(&s->seen[i])) {
            put_seen(more, s->seen_room * 2, &s->seen[i]);
        }
    }
    free(s->seen);
    s->seen = more;
    s->seen_room *= 2;
}

/* Did the other one take no guess that this one did not? */
static bool no_worse(const configuration *other, const configuration *one)
{
    bool is = other->a == one->a && other->b == one->b;

    for (size_t i = 0; i < GUESS_WORDS; i++) {
        is = is && (other->guesses[i] & ~one->guesses[i]) == 0;
    }
    return is;
}

static void toggle_guess(configuration *one, const guess *of, size_t index)
{
    if (index < (size_t)GUESS_WORDS * 64) {
        one->guesses[index / 64] ^= (uint64_t)1 << index % 64;
    } else {
        one->a ^= of->mark[0];
        one->b ^= of->mark[1];
    }
}

static void toggle_call(configuration *one, const node *call)
{
    one->a ^= call->mark[0];
    one->b ^= call->mark[1];
}

/* Remember the configuration with this value; false: one that can do as much has been there before. */
static bool is_new(search *s, configuration one, uint32_t value, bool hangs)
{
    uint64_t state = mix((uint64_t)value * 2 + (hangs ? 1 : 0));

    one.a ^= state;
    one.b = (one.b ^ mix(state)) | 1;
    for (size_t at = (size_t)one.a & (s->seen_room - 1); !is_empty(&s->seen[at]); at = (at + 1) & (s->seen_room - 1)) {
        if (no_worse(&s->seen[at], &one)) {
            return false;
        }
        if (no_worse(&one, &s->seen[at])) {
            s->seen[at] = one;
            return true;
        }
    }
    if (++s->seen_count > s->seen_room / 2) {
        grow_seen(s);
    }
    put_seen(s->seen, s->seen_room, &one);
    return true;
}

/* Does the result of this operation fit the value? *after: the value then. */
static bool fits(const linear_item *item, uint32_t value, uint32_t *after)
{
    bool does;

    *after = value;
    switch (item->kind) {
    case LINEAR_PUT:
        *after = item->value;
        return true;
    case LINEAR_GET:
        return item->unknown || item->value == value;
    case LINEAR_CAS:
        does = value == item->expected;
        *after = does ? item->value : value;
        return item->unknown || does == item->done;
    case LINEAR_DELETE:
        *after = LINEAR_NONE;
        return item->unknown || (value != LINEAR_NONE) == item->done;
    }
    return false;
}

/* Whatever the value, it stays: a get, or what found that it had nothing to do. */
static bool changes_nothing(const linear_item *item)
{
    return item->kind == LINEAR_GET || (item->kind != LINEAR_PUT && !item->done);
}

static void unlink_node(node *one)
{
    one->before->after = one->after;
    if (one->after != NULL) {
        one->after->before = one->before;
    }
}

static void relink_node(node *one)
{
    one->before->after = one;
    if (one->after != NULL) {
        one->after->before = one;
    }
}

static void push(search *s, cursor taken, uint32_t value, bool hangs, bool forced)
{
    s->stack[s->depth++] = (frame){taken, s->value, s->hangs, forced};
    s->value = value;
    s->hangs = hangs;
}

/* The call of this node; *stuck: whatever else is tried here must fail. */
static bool try_call(search *s, node *call, bool *stuck)
{
    const linear_item *item = call->item;
    configuration after_it = s->taken;
    uint32_t after;
    bool forced = changes_nothing(item);

    if ((s->hangs && item->kind == LINEAR_PUT) || !fits(item, s->value, &after)) {
        return false;
    }
    toggle_call(&after_it, call);
    if (!is_new(s, after_it, after, false)) {
        *stuck = forced;
        return false;
    }
    push(s, (cursor){call, 0}, after, false, forced);
    s->taken = after_it;
    unlink_node(call);
    unlink_node(call->match);
    s->open--;
    return true;
}

static bool try_guess(search *s, size_t index)
{
    guess *one = &s->guesses[index];
    configuration after_it = s->taken;
    uint32_t after;

    if (one->taken || (s->hangs && one->item->kind == LINEAR_PUT) ||
        (one->twin != SIZE_MAX && !s->guesses[one->twin].taken) || !fits(one->item, s->value, &after) ||
        after == s->value) {
        return false;
    }
    toggle_guess(&after_it, one, index);
    if (!is_new(s, after_it, after, true)) {
        return false;
    }
    push(s, (cursor){NULL, index}, after, true, false);
    s->taken = after_it;
    one->taken = true;
    return true;
}

/* Give back the last one for which there is an alternative; *at: it. false: there is none. */
static bool give_back(search *s, cursor *at)
{
    while (s->depth > 0) {
        const frame *last = &s->stack[--s->depth];
        node *call = last->taken.at;

        if (call != NULL) {
            relink_node(call->match);
            relink_node(call);
            toggle_call(&s->taken, call);
            s->open++;
        } else {
            guess *one = &s->guesses[last->taken.guess];

            one->taken = false;
            toggle_guess(&s->taken, one, last->taken.guess);
        }
        s->value = last->value;
        s->hangs = last->hangs;
        if (!last->forced) {
            *at = last->taken;
            return true;
        }
    }
    return false;
}

/* The first operation to end among those that are not taken: what began after it must wait. */
static uint64_t first_end(const search *s)
{
    const node *at = s->head.after;

    while (!at->is_return) {
        at = at->after;
    }
    return at->time;
}

/* Try what the cursor is at; it moves on. *stuck: nothing is left to try here. */
static bool try_next(search *s, cursor *at, bool *stuck)
{
    *stuck = false;
    if (at->at != NULL && !at->at->is_return) {
        node *call = at->at;

        at->at = call->after;
        return try_call(s, call, stuck);
    }
    if (at->at != NULL) {
        *at = (cursor){NULL, 0};
    }
    if (at->guess == s->guess_count || s->guesses[at->guess].item->begin > first_end(s)) {
        *stuck = true;
        return false;
    }
    return try_guess(s, at->guess++);
}

static linear_verdict run(search *s, uint64_t *steps)
{
    cursor at = {s->head.after, 0};

    while (s->open > 0) {
        bool stuck;

        if (*steps == 0) {
            return LINEAR_UNDECIDED;
        }
        --*steps;
        if (try_next(s, &at, &stuck)) {
            at = (cursor){s->head.after, 0};
        } else if (stuck) {
            if (!give_back(s, &at)) {
                return LINEAR_NO;
            }
            at = at.at != NULL ? (cursor){at.at->after, 0} : (cursor){NULL, at.guess + 1};
        }
    }
    return LINEAR_YES;
}

/* By time; at the same time calls come before returns, since a clock does not tell them apart. */
static int by_time(const void *left, const void *right)
{
    const node *a = *(node *const *)left, *b = *(node *const *)right;

    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->is_return != b->is_return) {
        return a->is_return ? 1 : -1;
    }
    return (a > b) - (a < b);
}

static bool alike(const linear_item *a, const linear_item *b)
{
    return a->kind == b->kind && a->value == b->value && a->expected == b->expected;
}

static void add_guess(search *s, const linear_item *item, size_t index)
{
    guess *one = &s->guesses[s->guess_count];

    *one = (guess){.item = item, .twin = SIZE_MAX, .mark = {mix(2 * index), mix(2 * index + 1)}};
    for (size_t i = s->guess_count; i > 0 && one->twin == SIZE_MAX; i--) {
        one->twin = alike(s->guesses[i - 1].item, item) ? i - 1 : SIZE_MAX;
    }
    s->guess_count++;
}

/* The guesses, and the calls and returns of the others; how many of these. */
static size_t make_nodes(search *s, const linear_item *items, size_t count, node **order)
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        node *call = &s->nodes[used];

        if (items[i].unknown) {
            if (items[i].kind != LINEAR_GET) {
                add_guess(s, &items[i], i);
            }
            continue;
        }
        call[0] = (node){.item = &items[i], .time = items[i].begin, .mark = {mix(2 * i), mix(2 * i + 1)}};
        call[1] = (node){.item = &items[i], .time = items[i].end, .is_return = true};
        call->match = call + 1;
        order[used++] = call;
        order[used++] = call->match;
        s->open++;
    }
    return used;
}

linear_verdict linear_search(const linear_item *items, size_t count, uint32_t initial, uint64_t *steps)
{
    search s = {.value = initial, .seen_room = 256};
    node **order = linear_memory(NULL, count * 2, sizeof(node *));
    linear_verdict verdict;

    s.nodes = linear_memory(NULL, count * 2, sizeof *s.nodes);
    s.guesses = linear_memory(NULL, count, sizeof *s.guesses);
    s.stack = linear_memory(NULL, count, sizeof *s.stack);
    s.seen = linear_memory(NULL, s.seen_room, sizeof *s.seen);
    memset(s.seen, 0, s.seen_room * sizeof *s.seen);
    size_t used = make_nodes(&s, items, count, order);
    qsort(order, used, sizeof(node *), by_time);
    node *last = &s.head;
    for (size_t i = 0; i < used; i++) {
        last->after = order[i];
        order[i]->before = last;
        last = order[i];
    }
    verdict = run(&s, steps);
    free(order);
    free(s.nodes);
    free(s.guesses);
    free(s.stack);
    free(s.seen);
    return verdict;
}
