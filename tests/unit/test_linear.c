/* Goal: the checker accepts exactly the linearizable histories.
 * Method: known histories of both kinds; random histories of a true register, with operations of unknown outcome, must
 * be accepted, and with one result made wrong mostly be refused; small random histories are compared with a search
 * through all orders. */
#include "support/linear.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static char said[20000];

/* Lines are separated by ';'. */
static linear_verdict judge(const char *lines)
{
    linear *h = linear_new();
    char copy[2000], why[200], *rest = NULL;
    (void)snprintf(copy, sizeof copy, "%s", lines);
    for (char *line = strtok_r(copy, ";", &rest); line != NULL; line = strtok_r(NULL, ";", &rest)) {
        if (!linear_add_line(h, line, why)) {
            fprintf(stderr, "%s\n", why);
            CU_FAIL("line");
        }
    }
    linear_verdict verdict = linear_check(h, 0, said, sizeof said);
    linear_free(h);
    return verdict;
}

static void known_good(void)
{
    CU_ASSERT(judge("") == LINEAR_YES);
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 4 get k a") == LINEAR_YES);
    CU_ASSERT(strcmp(said, "linearizable: 2 operations on 1 keys\n") == 0);
    CU_ASSERT(
        judge("0 1 2 get k -; 0 3 4 delete k none; 0 5 6 cas k - a ok; 0 7 8 cas k - b fail; 0 9 9 delete k ok") ==
        LINEAR_YES);
    /* Reads beside a write may see it or not, but not go back. */
    CU_ASSERT(judge("0 1 9 put k a ok; 1 2 3 get k -; 1 4 5 get k a; 2 6 7 get k a") == LINEAR_YES);
    /* Writes side by side, in any order. */
    CU_ASSERT(judge("0 1 9 put k a ok; 1 1 9 put k b ok; 2 2 3 get k b; 2 4 5 get k a; 3 20 21 get k a") == LINEAR_YES);
    /* Of unknown outcome: never, at once, or late. */
    CU_ASSERT(judge("0 1 - put k a ?; 1 5 6 get k -") == LINEAR_YES);
    CU_ASSERT(judge("0 1 - put k a ?; 1 5 6 get k a") == LINEAR_YES);
    CU_ASSERT(judge("0 1 - put k a ?; 1 5 6 get k -; 1 7 8 put k b ok; 1 9 10 get k b; 1 11 12 get k a") == LINEAR_YES);
    CU_ASSERT(judge("0 1 - put k a ?; 0 1 - cas k a b ?; 1 5 6 get k -; 1 7 8 get k b") == LINEAR_YES);
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 - delete k ?; 1 5 6 get k a; 1 7 8 get k -") == LINEAR_YES);
    /* What cannot be told apart by the clock is side by side. */
    CU_ASSERT(judge("0 1 2 put k a ok; 1 2 3 get k -") == LINEAR_YES);
}

static void known_bad(void)
{
    /* A stale read. */
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 4 put k b ok; 1 5 6 get k a") == LINEAR_NO);
    CU_ASSERT(strstr(said, "not linearizable: key k") != NULL && strstr(said, "1 5 6 get k a") != NULL);
    CU_ASSERT(strstr(said, "these 2 of 3 operations") != NULL);
    /* A lost update: both found the same value and replaced it. */
    CU_ASSERT(judge("0 1 2 put k 0 ok; 0 3 9 cas k 0 1 ok; 1 3 9 cas k 0 2 ok") == LINEAR_NO);
    /* A value that nobody wrote. */
    CU_ASSERT(judge("0 1 2 put k a ok; 1 3 4 get k x") == LINEAR_NO);
    CU_ASSERT(judge("1 3 4 get k x") == LINEAR_NO);
    /* A retry that was applied twice: another's write between is overwritten. */
    CU_ASSERT(judge("0 1 10 put k a ok; 1 2 3 get k a; 1 4 5 put k b ok; 1 6 7 get k b; 1 8 9 get k a") == LINEAR_NO);
    /* Seen, and then unseen. */
    CU_ASSERT(judge("0 1 9 put k a ok; 1 2 3 get k a; 2 4 5 get k -") == LINEAR_NO);
    CU_ASSERT(judge("0 1 - put k a ?; 1 2 3 get k a; 2 4 5 get k -") == LINEAR_NO);
    /* An unknown one takes effect once. */
    CU_ASSERT(judge("0 1 - put k a ?; 1 2 3 get k a; 1 4 5 put k b ok; 1 6 7 get k b; 1 8 9 get k a") == LINEAR_NO);
    /* It cannot take effect before it begins. */
    CU_ASSERT(judge("0 8 - put k a ?; 1 2 3 get k a") == LINEAR_NO);
    /* Two readers see two writes in different orders. */
    CU_ASSERT(judge("0 1 9 put k a ok; 1 1 9 put k b ok; 2 2 3 get k a; 2 4 5 get k b; 3 2 3 get k b; 3 6 7 get k a") ==
              LINEAR_NO);
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 4 delete k none") == LINEAR_NO);
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 4 delete k ok; 0 5 6 cas k a b ok") == LINEAR_NO);
    CU_ASSERT(judge("0 1 2 put k a ok; 0 3 4 cas k a b fail") == LINEAR_NO);
    /* One key of many. */
    CU_ASSERT(judge("0 1 2 put a 1 ok; 0 1 2 put b 1 ok; 0 3 4 get a 1; 0 3 4 get b -") == LINEAR_NO);
    CU_ASSERT(strstr(said, "key b") != NULL);
}

static void bad_lines(void)
{
    static const char *const lines[] = {"x 1 2 get k a",    "0 1 get k a",           "0 2 1 get k a",  "0 1 2 put k a",
                                        "0 1 2 put k a no", "0 1 2 cas k a b maybe", "0 1 2 take k a", "0 -1 2 get k a",
                                        "0 1 2 get k a b",  "4294967296 1 2 get k a"};
    char why[200];
    linear *h = linear_new();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        CU_ASSERT(!linear_add_line(h, lines[i], why));
    }
    CU_ASSERT(linear_add_line(h, "# words\n", why) && linear_add_line(h, "\n", why) && linear_operations(h) == 0);
    linear_free(h);
}

/* The window is the part that matters: the stale read and what makes it so, not the hundred operations before. */
static void small_window(void)
{
    linear *h = linear_new();
    char line[100], why[200];
    size_t lines = 0;
    for (int i = 0; i < 200; i++) {
        (void)snprintf(line, sizeof line, "0 %d %d put k v%d ok", i * 10 + 1, i * 10 + 5, i);
        CU_ASSERT(linear_add_line(h, line, why));
        (void)snprintf(line, sizeof line, "1 %d %d get k v%d", i * 10 + 6, i * 10 + 9, i == 150 ? 148 : i);
        CU_ASSERT(linear_add_line(h, line, why));
    }
    CU_ASSERT(linear_check(h, 0, said, sizeof said) == LINEAR_NO);
    for (const char *at = said; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    CU_ASSERT(lines == 3 && strstr(said, "put k v150 ok") != NULL && strstr(said, "get k v148") != NULL);
    CU_ASSERT(strstr(said, "these 2 of 400 operations have no order, whatever the value was before") != NULL);
    linear_free(h);
}

/* A register that is really atomic: each operation takes effect at a moment between its begin and its end. */
enum { CLIENTS = 8, KEYS = 5, VALUES = 1 << 20 };
typedef struct truth {
    int64_t values[KEYS]; /* -1: none */
    uint64_t busy[CLIENTS];
    int64_t next;
} truth;

typedef struct record {
    linear_op op;
    char key[8], value[24], expected[24];
    uint64_t moment;
    size_t of;
} record;

static int by_moment(const void *a, const void *b)
{
    const record *left = a, *right = b;
    return (left->moment > right->moment) - (left->moment < right->moment);
}

static const char *text_of(char *text, int64_t value)
{
    if (value < 0) {
        return NULL;
    }
    (void)snprintf(text, 24, "%lld", (long long)value);
    return text;
}

static void apply(truth *t, record *r, bool unique)
{
    int64_t *value = &t->values[r->of], fresh = unique ? t->next++ : (int64_t)(rng() % 3);
    switch (r->op.kind) {
    case LINEAR_PUT:
        r->op.value = text_of(r->value, fresh);
        *value = fresh;
        break;
    case LINEAR_GET:
        r->op.value = text_of(r->value, *value);
        break;
    case LINEAR_CAS: {
        int64_t expected = rng() % 3 == 0 ? (int64_t)(rng() % 3) : *value;
        r->op.expected = text_of(r->expected, expected);
        r->op.value = text_of(r->value, fresh);
        r->op.done = expected == *value;
        *value = r->op.done ? fresh : *value;
        break;
    }
    case LINEAR_DELETE:
        r->op.done = *value >= 0;
        *value = -1;
        break;
    }
}

static size_t make_history(record *records, size_t count, size_t keys, unsigned unknown_percent, bool unique)
{
    truth t = {.next = 100};
    for (size_t i = 0; i < KEYS; i++) {
        t.values[i] = -1;
    }
    for (size_t i = 0; i < count; i++) {
        static const linear_kind kinds[] = {LINEAR_PUT, LINEAR_PUT, LINEAR_GET,   LINEAR_GET,
                                            LINEAR_GET, LINEAR_CAS, LINEAR_DELETE};
        record *r = &records[i];
        uint32_t client = (uint32_t)(rng() % CLIENTS);
        memset(r, 0, sizeof *r);
        r->of = rng() % keys;
        (void)snprintf(r->key, sizeof r->key, "k%zu", r->of);
        r->op.process = client;
        r->op.kind = kinds[rng() % 7];
        r->op.begin = t.busy[client] + rng() % 50;
        r->op.end = r->op.begin + 1 + rng() % 300;
        r->moment = r->op.begin + rng() % (r->op.end - r->op.begin + 1);
        if (rng() % 100 < unknown_percent) {
            t.busy[client] = r->op.begin + rng() % 200;
            r->op.end = LINEAR_UNKNOWN;
            r->moment = rng() % 2 == 0 ? r->op.begin + rng() % 5000 : UINT64_MAX;
        } else {
            t.busy[client] = r->op.end + 1;
        }
    }
    qsort(records, count, sizeof *records, by_moment);
    for (size_t i = 0; i < count; i++) {
        apply(&t, &records[i], unique);
    }
    return count;
}

static linear_verdict judge_records(const record *records, size_t count, uint64_t steps)
{
    linear *h = linear_new();
    for (size_t i = 0; i < count; i++) {
        linear_op op = records[i].op;
        op.key = records[i].key;
        op.value = op.value == NULL ? NULL : records[i].value;
        op.expected = op.expected == NULL ? NULL : records[i].expected;
        linear_add(h, &op);
    }
    linear_verdict verdict = linear_check(h, steps, said, sizeof said);
    linear_free(h);
    return verdict;
}

static void random_true_histories(void)
{
    static record records[5000];
    for (int round = 0; round < 12; round++) {
        size_t count = make_history(records, 5000, KEYS, round % 3 == 0 ? 0 : 5, round % 2 == 0);
        CU_ASSERT(judge_records(records, count, 0) == LINEAR_YES);
    }
}

/* A get that found what another key's history has, or an earlier value, long after it was overwritten. */
static void random_wrong_histories(void)
{
    static record records[5000];
    int refused = 0, rounds = 6;
    for (int round = 0; round < rounds; round++) {
        size_t count = make_history(records, 5000, KEYS, 5, true), at = 2500;
        while (records[at].op.kind != LINEAR_GET || records[at].op.end == LINEAR_UNKNOWN) {
            at++;
        }
        size_t other = at - 600;
        while (records[other].op.kind != LINEAR_PUT || records[other].of != records[at].of ||
               records[other].op.end == LINEAR_UNKNOWN) {
            other--;
        }
        (void)strcpy(records[at].value, records[other].value);
        records[at].op.value = records[at].value;
        linear_verdict verdict = judge_records(records, count, 0);
        CU_ASSERT(verdict != LINEAR_UNDECIDED);
        refused += verdict == LINEAR_NO;
    }
    CU_ASSERT(refused == rounds);
}

/* All orders of a few operations: true if one of them fits. taken: bits. */
static bool any_order(const record *records, size_t count, unsigned taken, const char *value)
{
    uint64_t first_end = UINT64_MAX;
    bool rest = false;
    for (size_t i = 0; i < count; i++) {
        if ((taken >> i & 1) == 0 && records[i].op.end != LINEAR_UNKNOWN) {
            first_end = records[i].op.end < first_end ? records[i].op.end : first_end;
            rest = true;
        }
    }
    for (size_t i = 0; i < count && rest; i++) {
        const linear_op *op = &records[i].op;
        bool unknown = op->end == LINEAR_UNKNOWN, fits = true;
        const char *after = value, *mine = op->value == NULL ? NULL : records[i].value;
        const char *expected = op->expected == NULL ? NULL : records[i].expected;
        if ((taken >> i & 1) != 0 || op->begin > first_end) {
            continue;
        }
        if (op->kind == LINEAR_PUT) {
            after = mine;
        } else if (op->kind == LINEAR_GET) {
            fits = unknown || (mine == NULL ? value == NULL : value != NULL && strcmp(mine, value) == 0);
        } else if (op->kind == LINEAR_CAS) {
            bool does = expected == NULL ? value == NULL : value != NULL && strcmp(expected, value) == 0;
            fits = unknown || does == op->done;
            after = does ? mine : value;
        } else {
            fits = unknown || (value != NULL) == op->done;
            after = NULL;
        }
        if (fits && any_order(records, count, taken | 1u << i, after)) {
            return true;
        }
    }
    return !rest;
}

static void random_small_histories(void)
{
    static record records[16];
    int good = 0, bad = 0;
    for (int round = 0; round < 10000; round++) {
        size_t count = make_history(records, 3 + rng() % 7, 1, 25, rng() % 2 == 0);
        if (rng() % 3 != 0) { /* one result as of another operation, or turned round */
            record *one = &records[rng() % count], *other = &records[rng() % count];
            if (one->op.kind == LINEAR_GET) {
                one->op.value = other->op.value == NULL ? NULL : one->value;
                memmove(one->value, other->value, sizeof one->value);
            } else {
                one->op.done = !one->op.done;
            }
        }
        bool expected = any_order(records, count, 0, NULL);
        linear_verdict verdict = judge_records(records, count, 0);
        CU_ASSERT(verdict == (expected ? LINEAR_YES : LINEAR_NO));
        good += expected;
        bad += !expected;
    }
    CU_ASSERT(good > 2500 && bad > 1000);
}

UNIT_MAIN("linear", {"good histories", known_good}, {"bad histories", known_bad}, {"lines", bad_lines},
          {"the window", small_window}, {"true registers", random_true_histories},
          {"a wrong answer among thousands", random_wrong_histories}, {"against all orders", random_small_histories})
