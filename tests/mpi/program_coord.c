/* The handles of the coordination service in the processes of a real job: run with CAIRN_DIR. */
#include "support/program.h"

#include <inttypes.h>
#include <time.h>

#define TURNS 20
#define MANY  4000
#define LONG  200 /* keys of a range that takes several answers */

static cairn_coord *coord;

#define COORD_MUST(call) coord_must((call), #call, __LINE__)

static void coord_must(cairn_status status, const char *text, int line)
{
    if (status != CAIRN_OK) {
        fprintf(stderr, "%d: process %u: %s: %s: %s\n", line, cairn_id(program_process), text,
                cairn_status_text(status), cairn_coord_error(coord));
        exit(cairn_leave(program_process, CAIRN_E_BUG, "test"));
    }
}

/* A key of this process's own. */
static const char *own(const char *name)
{
    static char key[64];

    (void)snprintf(key, sizeof key, "own/%u/%s", cairn_id(program_process), name);
    return key;
}

static bool is(const cairn_kv *kv, const char *value)
{
    return kv->bytes == strlen(value) && memcmp(kv->value, value, kv->bytes) == 0;
}

static void pass_time(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    (void)nanosleep(&pause, NULL);
}

static void coord_keys(cairn_process *p)
{
    uint64_t first = 0, second = 0, revision = 0;
    const cairn_kv *got = NULL;
    size_t count = 0;
    bool held = true, more = true;
    cairn_kv kv;

    (void)p;
    GIVES(cairn_coord_get(coord, own("a"), &kv, NULL), CAIRN_E_NOT_FOUND);
    CHECK(strstr(cairn_coord_error(coord), own("a")) != NULL);
    COORD_MUST(cairn_coord_put(coord, own("a"), "1", 1, 0, &first));
    COORD_MUST(cairn_coord_get(coord, own("a"), &kv, &revision));
    CHECK(is(&kv, "1") && kv.created == first && kv.modified == first && kv.version == 1 && revision >= first);
    COORD_MUST(cairn_coord_cas(coord, own("a"), first, "2", 1, 0, &second));
    GIVES(cairn_coord_cas(coord, own("a"), first, "3", 1, 0, NULL), CAIRN_E_MISMATCH);
    GIVES(cairn_coord_cas(coord, own("a"), 0, "3", 1, 0, NULL), CAIRN_E_MISMATCH);
    COORD_MUST(cairn_coord_cas(coord, own("b"), 0, NULL, 0, 0, NULL));
    COORD_MUST(cairn_coord_range(coord, own(""), 0, &got, &count, &more));
    CHECK(count == 2 && !more && is(&got[0], "2") && got[0].version == 2 && is(&got[1], ""));
    COORD_MUST(cairn_coord_range(coord, own(""), 1, &got, &count, &more));
    CHECK(count == 1 && more);
    COORD_MUST(cairn_coord_delete(coord, own("b"), NULL));
    GIVES(cairn_coord_delete(coord, own("b"), NULL), CAIRN_E_NOT_FOUND);

    char key[64];
    (void)snprintf(key, sizeof key, "%s", own("a"));
    const cairn_compare compare = {.kind = CAIRN_COMPARE_VALUE, .key = key, .value = "2", .bytes = 1};
    const cairn_do then[] = {{.kind = CAIRN_DO_PUT, .key = key, .value = "x", .bytes = 1},
                             {.kind = CAIRN_DO_GET, .key = key},
                             {.kind = CAIRN_DO_GET, .key = "own/none"}};
    const cairn_txn txn = {.compares = &compare, .compare_count = 1, .then = then, .then_count = 3};
    COORD_MUST(cairn_coord_transact(coord, &txn, &held, &revision, &got, &count));
    CHECK(held && count == 2 && is(&got[0], "x") && got[1].key == NULL);
    COORD_MUST(cairn_coord_transact(coord, &txn, &held, &revision, &got, &count));
    CHECK(!held && count == 0);

    GIVES(cairn_coord_put(coord, "", "1", 1, 0, NULL), CAIRN_E_INVALID);
    GIVES(cairn_coord_put(coord, "k", "1", CAIRN_VALUE_MAX + 1, 0, NULL), CAIRN_E_INVALID);
    GIVES(cairn_coord_put(coord, "cairn/k", "1", 1, 0, NULL), CAIRN_E_ACCESS);
    GIVES(cairn_coord_put(coord, "k", "1", 1, 999999, NULL), CAIRN_E_NOT_FOUND); /* a lease that is not ours */
}

static void coord_long_range(cairn_process *p)
{
    static char value[8000];
    const cairn_kv *got = NULL;
    size_t count = 0;
    bool more = true;

    if (cairn_id(p) == 0) {
        for (int i = 0; i < LONG; i++) {
            char key[32];

            (void)snprintf(key, sizeof key, "long/%04d", i);
            COORD_MUST(cairn_coord_put(coord, key, value, sizeof value, 0, NULL));
        }
    }
    MUST(cairn_barrier(p));
    COORD_MUST(cairn_coord_range(coord, "long/", 0, &got, &count, &more));
    CHECK(count == LONG && !more);
    for (size_t i = 1; i < count; i++) {
        CHECK(strcmp(got[i - 1].key, got[i].key) < 0 && got[i].bytes == sizeof value);
    }
}

/* --- many at once --- */

typedef struct tally {
    uint64_t told, wrong, last;
    bool here; /* the job is in a call of the handle: only then it may be told */
} tally;

static void on_put(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    tally *t = context;

    t->told++;
    t->wrong += status != CAIRN_OK || kv != NULL || revision == 0 || !t->here;
}

static void on_get(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    tally *t = context;

    t->told++;
    t->wrong += status != CAIRN_OK || kv == NULL || !is(kv, "v") || kv->modified > revision || !t->here;
}

static void on_missing(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    tally *t = context;

    (void)revision;
    t->told++;
    t->wrong += status != CAIRN_E_NOT_FOUND || kv != NULL;
}

static void coord_many(cairn_process *p)
{
    tally t = {0};
    const cairn_kv *got = NULL;
    size_t count = 0;
    bool more = false;
    char prefix[64];

    for (int i = 0; i < MANY; i++) {
        char key[64];
        cairn_status status;

        (void)snprintf(key, sizeof key, "many/%u/%d", cairn_id(p), i);
        t.here = true;
        while ((status = cairn_coord_begin_put(coord, key, "v", 1, on_put, &t)) == CAIRN_E_BUSY) {
            COORD_MUST(cairn_coord_flush(coord, CAIRN_PENDING_MAX / 2));
        }
        COORD_MUST(status);
        t.here = false;
        if (i % 500 == 0) {
            MUST(cairn_barrier(p)); /* answers that come meanwhile are not told here */
        }
    }
    t.here = true;
    COORD_MUST(cairn_coord_flush(coord, 0));
    CHECK(t.told == MANY && t.wrong == 0);
    t = (tally){.here = true};
    for (int i = 0; i < 500; i++) {
        char key[64];

        (void)snprintf(key, sizeof key, "many/%u/%d", cairn_id(p), i);
        COORD_MUST(cairn_coord_begin_get(coord, key, on_get, &t));
    }
    COORD_MUST(cairn_coord_begin_get(coord, "many/none", on_missing, &t));
    COORD_MUST(cairn_coord_flush(coord, 0));
    CHECK(t.told == 501 && t.wrong == 0);
    /* What was told is there: each once. */
    (void)snprintf(prefix, sizeof prefix, "many/%u/", cairn_id(p));
    MUST(cairn_barrier(p));
    COORD_MUST(cairn_coord_range(coord, prefix, 0, &got, &count, &more));
    CHECK(count == MANY && !more);
    for (size_t i = 0; i < count; i++) {
        CHECK(got[i].version == 1);
    }
    MUST(cairn_barrier(p));
}

/* --- locks and what else waits --- */

static void coord_lock_excludes(cairn_process *p)
{
    uint64_t token = 0, last = 0;
    cairn_kv kv;

    for (int i = 0; i < TURNS; i++) {
        char text[32];
        unsigned long value = 0;

        COORD_MUST(cairn_coord_lock(coord, "turn", -1.0, &token));
        CHECK(token > last);
        last = token;
        if (cairn_coord_get(coord, "turns", &kv, NULL) == CAIRN_OK) {
            (void)snprintf(text, sizeof text, "%.*s", (int)kv.bytes, (const char *)kv.value);
            value = strtoul(text, NULL, 10);
        }
        (void)snprintf(text, sizeof text, "%lu", value + 1);
        COORD_MUST(cairn_coord_put(coord, "turns", text, strlen(text), 0, NULL));
        COORD_MUST(cairn_coord_unlock(coord, "turn", token));
    }
    MUST(cairn_barrier(p));
    char expected[32];
    (void)snprintf(expected, sizeof expected, "%u", TURNS * cairn_count(p));
    COORD_MUST(cairn_coord_get(coord, "turns", &kv, NULL));
    CHECK(is(&kv, expected));
    GIVES(cairn_coord_unlock(coord, "turn", last), CAIRN_E_MISMATCH);
}

static void coord_lock_times_out(cairn_process *p)
{
    uint64_t token = 0, mine = 0;

    if (cairn_id(p) == 0) {
        COORD_MUST(cairn_coord_lock(coord, "held", -1.0, &token));
        GIVES(cairn_coord_lock(coord, "held", -1.0, &mine), CAIRN_E_STATE);
    }
    MUST(cairn_barrier(p));
    if (cairn_id(p) != 0) {
        GIVES(cairn_coord_lock(coord, "held", 0.0, &mine), CAIRN_E_TIMEOUT);
        GIVES(cairn_coord_lock(coord, "held", 0.1, &mine), CAIRN_E_TIMEOUT);
        CHECK(strstr(cairn_coord_error(coord), "held: not granted within 0.1 s") != NULL);
    }
    MUST(cairn_barrier(p));
    /* Nobody waits any more: it is free once it is given back. */
    if (cairn_id(p) == 0) {
        COORD_MUST(cairn_coord_unlock(coord, "held", token));
        COORD_MUST(cairn_coord_lock(coord, "held", 0.0, &mine));
        COORD_MUST(cairn_coord_unlock(coord, "held", mine));
    }
    MUST(cairn_barrier(p));
}

static void coord_election(cairn_process *p)
{
    char me[16];
    uint64_t token = 0;
    cairn_kv kv;

    (void)snprintf(me, sizeof me, "%u", cairn_id(p));
    COORD_MUST(cairn_coord_campaign(coord, "chief", me, strlen(me), -1.0, &token));
    COORD_MUST(cairn_coord_leader(coord, "chief", &kv));
    CHECK(is(&kv, me) && kv.modified == token);
    COORD_MUST(cairn_coord_resign(coord, "chief", token));
    MUST(cairn_barrier(p));
    GIVES(cairn_coord_leader(coord, "chief", &kv), CAIRN_E_NOT_FOUND);
}

static void coord_barrier(cairn_process *p)
{
    for (int i = 0; i < 10; i++) {
        COORD_MUST(cairn_coord_barrier(coord, "meeting", cairn_count(p), -1.0));
    }
    MUST(cairn_barrier(p));
    if (cairn_count(p) > 1) {
        if (cairn_id(p) == 0) {
            GIVES(cairn_coord_barrier(coord, "alone", cairn_count(p), 0.1), CAIRN_E_TIMEOUT);
        }
        MUST(cairn_barrier(p));
        /* It does not count any more: without it the barrier is not full. */
        if (cairn_id(p) != 0) {
            GIVES(cairn_coord_barrier(coord, "alone", cairn_count(p), 0.1), CAIRN_E_TIMEOUT);
        }
        MUST(cairn_barrier(p));
    }
}

static void coord_watch(cairn_process *p)
{
    cairn_watch *watch = NULL, *again = NULL;
    cairn_change change;
    uint64_t first = 0, from = 0;

    COORD_MUST(cairn_coord_watch(coord, "news/", false, 0, &watch));
    GIVES(cairn_watch_next(watch, 0.0, &change), CAIRN_E_TIMEOUT);
    MUST(cairn_barrier(p));
    if (cairn_id(p) == 0) {
        for (int i = 0; i < 600; i++) {
            char key[32];

            (void)snprintf(key, sizeof key, "news/%d", i);
            COORD_MUST(cairn_coord_put(coord, key, key, strlen(key), 0, NULL));
        }
        COORD_MUST(cairn_coord_delete(coord, "news/0", NULL));
    }
    for (int i = 0; i < 601; i++) {
        char key[32];

        (void)snprintf(key, sizeof key, "news/%d", i % 600);
        COORD_MUST(cairn_watch_next(watch, 20.0, &change));
        CHECK(strcmp(change.kv.key, key) == 0 && change.deleted == (i == 600) && change.kv.modified > from);
        from = change.kv.modified;
        first = i == 0 ? from : first;
    }
    GIVES(cairn_watch_next(watch, 0.05, &change), CAIRN_E_TIMEOUT);
    cairn_watch_close(watch);
    COORD_MUST(cairn_coord_watch(coord, "news/0", true, first, &again));
    COORD_MUST(cairn_watch_next(again, 5.0, &change));
    CHECK(!change.deleted && is(&change.kv, "news/0"));
    COORD_MUST(cairn_watch_next(again, 5.0, &change));
    CHECK(change.deleted);
    cairn_watch_close(again);
    MUST(cairn_barrier(p));
}

static void coord_sessions(cairn_process *p)
{
    cairn_coord *brief = NULL;
    uint64_t lease = 0, token = 0;
    cairn_kv kv;
    char mine[64], leased[64];

    (void)snprintf(mine, sizeof mine, "%s", own("ephemeral"));
    (void)snprintf(leased, sizeof leased, "%s", own("leased"));
    MUST(cairn_coord_open(p, 1.5, &brief));
    COORD_MUST(cairn_coord_put(brief, mine, "1", 1, CAIRN_EPHEMERAL, NULL));
    COORD_MUST(cairn_coord_grant(brief, 1.2, &lease));
    COORD_MUST(cairn_coord_put(brief, leased, "1", 1, lease, NULL));
    COORD_MUST(cairn_coord_lock(brief, own("lock"), -1.0, &token));
    pass_time(2.5); /* the job computes: the handle keeps all of it alive */
    COORD_MUST(cairn_coord_get(coord, mine, &kv, NULL));
    CHECK(kv.lease != 0);
    COORD_MUST(cairn_coord_get(coord, leased, &kv, NULL));
    CHECK(kv.lease == lease);
    GIVES(cairn_coord_lock(coord, own("lock"), 0.0, &token), CAIRN_E_TIMEOUT);
    COORD_MUST(cairn_coord_revoke(brief, lease));
    GIVES(cairn_coord_get(coord, leased, &kv, NULL), CAIRN_E_NOT_FOUND);
    COORD_MUST(cairn_coord_get(coord, mine, &kv, NULL));
    COORD_MUST(cairn_coord_close(brief));
    GIVES(cairn_coord_get(coord, mine, &kv, NULL), CAIRN_E_NOT_FOUND);
    COORD_MUST(cairn_coord_lock(coord, own("lock"), 0.0, &token));
    COORD_MUST(cairn_coord_unlock(coord, own("lock"), token));
    MUST(cairn_barrier(p));
}

/* Close with something open: each begun one is told. */
static void coord_close_tells(cairn_process *p)
{
    cairn_coord *brief = NULL;
    tally t = {.here = true};

    MUST(cairn_coord_open(p, 0.0, &brief));
    for (int i = 0; i < 100; i++) {
        COORD_MUST(cairn_coord_begin_put(brief, own("closing"), "v", 1, on_put, &t));
    }
    COORD_MUST(cairn_coord_close(brief));
    CHECK(t.told == 100 && t.wrong == 0);
    MUST(cairn_barrier(p));
}

static void coord_end(cairn_process *p)
{
    COORD_MUST(cairn_coord_close(coord));
    GIVES(cairn_coord_open(p, 0.01, &coord), CAIRN_E_INVALID);
    coord = NULL;
}

static void coord_begin(cairn_process *p)
{
    MUST(cairn_coord_open(p, 0.0, &coord));
}

int main(int argc, char **argv)
{
    static const program_test tests[] = {{"begin", coord_begin},
                                         {"keys", coord_keys},
                                         {"long range", coord_long_range},
                                         {"many", coord_many},
                                         {"lock excludes", coord_lock_excludes},
                                         {"lock times out", coord_lock_times_out},
                                         {"election", coord_election},
                                         {"barrier", coord_barrier},
                                         {"watch", coord_watch},
                                         {"sessions", coord_sessions},
                                         {"close tells", coord_close_tells},
                                         {"end", coord_end}};

    return program_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
