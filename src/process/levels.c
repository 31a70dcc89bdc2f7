/* Snapshots on several levels, each with its own interval; the coordinator says of each attempt, when it records, on which
 * level it is:
 *
 *   shared   parts and record in DIR: what a restart finds wherever its processes are
 *   local    each part in a folder on the host of its process (local.c): survives all processes, but no host; the newest
 *            one may be sent on to DIR now and then (flush.c), and then counts there too
 *   memory   each part in its owner's memory and in its partner's (partner.c): survives one of the two
 *
 * Those that are not in DIR are committed by the log as any other: the keys "cairn/local/RUN" and
 * "cairn/memory/RUN/LAUNCH" hold the newest one of their level (the value begins with its number). The second is of this
 * launch, and a new one never goes back to what it says. When all of the job is lost the newest one in DIR counts, or the
 * newest local one if that is newer and every process finds its part; neither is shadowed by what was lost. In a recovery
 * in place it is the newest on any level. A process that cannot have its part of one that is not in DIR says so
 * (CONTROL_VOID), and the next view goes back to the next older one, on whatever level, and takes the key of the lost one
 * away in the same transaction. */
#include "base/environment.h"
#include "process/partner.h"
#include "process/recover_parts.h"
#include "snapshot/interval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

cairn_status cairn_levels_start(cairn_process *p, cairn_error *error)
{
    const char *text = getenv(CAIRN_ENV_INTERVAL);
    const char *copies = getenv(CAIRN_ENV_COPIES);
    const char *local = getenv(CAIRN_ENV_LOCAL);
    cairn_intervals intervals;

    if (!cairn_intervals_parse(text == NULL ? "30" : text, &intervals)) {
        return cairn_fail(error, CAIRN_E_INVALID,
                          "%s: seconds, auto, off, or shared=...,local=SECONDS,memory=SECONDS,flush=SECONDS, not %s",
                          CAIRN_ENV_INTERVAL, text);
    }
    p->interval = intervals.shared;
    p->interval_auto = intervals.shared_auto;
    p->level.interval[CAIRN_LEVEL_LOCAL] = intervals.local;
    p->level.interval[CAIRN_LEVEL_MEMORY] = intervals.memory;
    p->flush.interval = intervals.flush;
    p->level.on = intervals.local >= 0.0 || intervals.memory >= 0.0;
    if (intervals.memory >= 0.0 && (copies == NULL || strcmp(copies, "none") == 0)) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: snapshots in memory need a partner: %s=partner",
                          CAIRN_ENV_INTERVAL, CAIRN_ENV_COPIES);
    }
    if (intervals.local >= 0.0 && (local == NULL || local[0] != '/' || strlen(local) >= sizeof p->local)) {
        return cairn_fail(error, CAIRN_E_INVALID,
                          "%s: local snapshots need a folder on each host, by its whole path: %s", CAIRN_ENV_INTERVAL,
                          CAIRN_ENV_LOCAL);
    }
    (void)snprintf(p->local, sizeof p->local, "%s", local == NULL || intervals.local < 0.0 ? "" : local);
    return CAIRN_OK;
}

void cairn_levels_begin(cairn_process *p, double now)
{
    p->level.attempt = 0;
    p->level.wanted = CAIRN_LEVEL_SHARED;
    for (int i = CAIRN_LEVEL_LOCAL; i < CAIRN_LEVELS; i++) {
        p->level.next[i] = now + p->level.interval[i];
    }
    cairn_flush_begin(p, now);
}

void cairn_levels_ended(cairn_process *p, uint64_t attempt)
{
    /* One on a level serves the levels below it. */
    for (uint32_t i = cairn_level_of(p, attempt); i < CAIRN_LEVELS; i++) {
        p->level.next[i] = p->attempt_began + p->level.interval[i];
    }
}

bool cairn_levels_due(cairn_process *p, double now)
{
    for (int i = CAIRN_LEVEL_LOCAL; i < CAIRN_LEVELS; i++) {
        if (p->level.interval[i] >= 0.0 && p->level.on && now >= p->level.next[i]) {
            p->level.wanted = (cairn_level)i;
            return true;
        }
    }
    return false;
}

void cairn_levels_decide(cairn_process *p, uint64_t attempt)
{
    if (p->level.on && p->self == COORDINATOR) {
        p->level.attempt = attempt;
        p->level.of = p->level.wanted;
        cairn_send_control(p, CL_ALL, CONTROL_LEVEL, attempt << 2 | (uint64_t)p->level.of);
    }
}

void cairn_levels_told(cairn_process *p, uint64_t what)
{
    if (what >> 2 > p->level.attempt && (what & 3) < CAIRN_LEVELS) {
        p->level.attempt = what >> 2;
        p->level.of = (cairn_level)(what & 3);
    }
}

bool cairn_levels_known(const cairn_process *p, uint64_t attempt)
{
    return !p->level.on || p->level.attempt >= attempt;
}

cairn_level cairn_level_of(const cairn_process *p, uint64_t attempt)
{
    return p->level.on && p->level.attempt == attempt ? p->level.of : CAIRN_LEVEL_SHARED;
}

/* ---------------------------------------------------------------- committing */

uint64_t cairn_levels_key(const cairn_process *p, cairn_level level, char key[CAIRN_LOST_KEY_BYTES], uint64_t *number)
{
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};
    char text[32] = "";

    if (level == CAIRN_LEVEL_LOCAL) {
        (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "cairn/local/%s", p->run);
    } else {
        (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "cairn/memory/%s/%u", p->run, p->launch);
    }
    *number = 0;
    if (!p->level.on || cairn_consensus_peek((cairn_process *)(uintptr_t)p, &question, &response) != CAIRN_OK ||
        response.status != CAIRN_OK || response.kv_count != 1) {
        return 0;
    }
    memcpy(text, response.kvs[0].value, response.kvs[0].bytes < sizeof text ? response.kvs[0].bytes : sizeof text - 1);
    *number = strtoull(text, NULL, 10);
    return response.kvs[0].modified;
}

uint64_t cairn_levels_newest(const cairn_process *p)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t local;
    uint64_t memory;

    (void)cairn_levels_key(p, CAIRN_LEVEL_LOCAL, key, &local);
    (void)cairn_levels_key(p, CAIRN_LEVEL_MEMORY, key, &memory);
    return local > memory ? local : memory;
}

uint64_t cairn_levels_below(const cairn_process *p, uint64_t durable, uint64_t number)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t newest = durable < number ? durable : 0;

    for (int i = CAIRN_LEVEL_LOCAL; i < CAIRN_LEVELS; i++) {
        uint64_t other;

        (void)cairn_levels_key(p, (cairn_level)i, key, &other);
        newest = other < number && other > newest ? other : newest;
    }
    return newest;
}

void cairn_levels_viewed(cairn_process *p)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t local;

    p->level.attempt = 0;
    (void)cairn_levels_key(p, CAIRN_LEVEL_LOCAL, key, &local);
    p->level.local = local; /* who takes a place must not sweep that */
}

typedef struct choice {
    cairn_process *process;
    uint32_t incarnation;
    uint64_t number;
} choice;

/* If nobody knows whether it was chosen it is given up: should a view name it, it cannot be had, and the next view is
 * about an older one. */
static void chosen(void *context, const cairn_response *response)
{
    choice *c = context;
    cairn_process *p = c->process;

    if (c->incarnation == p->incarnation) {
        bool held = response->status == CAIRN_OK && response->held;

        if (!held) {
            fprintf(stderr, "cairn: snapshot %" PRIu64 " not committed: %s\n", c->number,
                    response->status == CAIRN_OK ? "there was a recovery" : cairn_status_text(response->status));
        }
        cairn_core_event(p, held ? CL_COMMIT_DURABLE : CL_FAILED, c->number);
    }
    free(c);
}

/* "7 memory"; "7 STEP TIME COUNT" and of each part's checksum 16 digits, by which a part is told from another one of this
 * number. NULL: no memory. */
static char *value_of(const cairn_process *p, uint64_t attempt, uint64_t step, size_t *bytes)
{
    size_t room = 100 + (size_t)p->count * 17;
    char *value = malloc(room);
    time_t now = time(NULL);
    struct tm utc;
    char when[32] = "-";

    if (value == NULL) {
        return NULL;
    }
    if (cairn_level_of(p, attempt) == CAIRN_LEVEL_MEMORY) {
        *bytes = (size_t)snprintf(value, room, "%" PRIu64 " memory", attempt);
        return value;
    }
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    *bytes = (size_t)snprintf(value, room, "%" PRIu64 " %" PRIu64 " %s %" PRIu32, attempt, step, when, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        *bytes += (size_t)snprintf(value + *bytes, room - *bytes, " %016" PRIx64, p->reports[i].digest_low);
    }
    return value;
}

void cairn_levels_commit(cairn_process *p, uint64_t attempt, uint64_t step)
{
    char key[CAIRN_LOST_KEY_BYTES];
    char view[CAIRN_LOST_KEY_BYTES];
    uint64_t before;
    cairn_compare unchanged = {.kind = CAIRN_COMPARE_MODIFIED, .key = view, .number = cairn_recovery_view_key(p, view)};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key};
    cairn_question question = {
        .op = CAIRN_OP_TXN,
        .flags = CAIRN_REQUEST_REPEAT,
        .key = "",
        .txn = {.compares = &unchanged, .compare_count = p->recover ? 1 : 0, .then = &put, .then_count = 1}};
    uint64_t tag;
    choice *c = malloc(sizeof *c);
    char *value = value_of(p, attempt, step, &put.bytes);

    if (cairn_level_of(p, attempt) == CAIRN_LEVEL_LOCAL) {
        cairn_flush_prepare(p, attempt, step);
    }
    (void)cairn_levels_key(p, cairn_level_of(p, attempt), key, &before);
    put.value = value;
    if (c != NULL) {
        *c = (choice){.process = p, .incarnation = p->incarnation, .number = attempt};
    }
    if (c == NULL || value == NULL || cairn_consensus_ask(p, &question, chosen, c, &tag) != CAIRN_OK) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " not committed: it cannot be put into the log\n", attempt);
        free(c);
        cairn_core_event(p, CL_FAILED, attempt);
    }
    free(value);
}

/* ---------------------------------------------------------------- the own part */

void cairn_levels_held(cairn_process *p, uint64_t number, bool held)
{
    cut *c = p->cut;

    if (cairn_level_of(p, number) != CAIRN_LEVEL_MEMORY || c == NULL || c->head.number != number || c->dead) {
        return;
    }
    if (!held) {
        cairn_core_event(p, CL_FAILED, number);
        return;
    }
    p->reports[p->self] =
        (part_report){.lamport = c->head.lamport, .blocked = c->blocked, .recorded_at = c->recorded_at};
    cairn_core_event(p, CL_PART_DURABLE, number);
}

/* ---------------------------------------------------------------- what cannot be had */

void cairn_levels_void(cairn_process *p, uint64_t snapshot)
{
    void_report report = {.view = rc_current(p->recovery->core)->number, .snapshot = snapshot};

    cairn_levels_void_told(p, &report);
    cairn_send_control_bytes(p, CL_ALL, CONTROL_VOID, 0, &report, sizeof report);
}

void cairn_levels_void_told(cairn_process *p, const void_report *report)
{
    if (report->view >= p->level.voided.view) {
        p->level.voided = *report;
    }
}

bool cairn_levels_voided(const cairn_process *p)
{
    const rc_view *view = rc_current(p->recovery->core);

    return view->number > 0 && p->level.voided.view == view->number && p->level.voided.snapshot == view->snapshot;
}

/* ---------------------------------------------------------------- a new launch */

static void forgotten(void *context, const cairn_response *response)
{
    (void)context;
    (void)response;
}

uint64_t cairn_levels_forget(cairn_process *p, const cairn_response *response)
{
    char own[CAIRN_LOST_KEY_BYTES];
    uint64_t newest = 0;
    int length = snprintf(own, sizeof own, "cairn/memory/%s/", p->run);

    for (size_t i = 0; i < response->kv_count; i++) {
        const cairn_kv *kv = &response->kvs[i];
        char key[CAIRN_LOST_KEY_BYTES];
        char text[32] = "";
        cairn_do gone = {.kind = CAIRN_DO_DELETE, .key = key};
        cairn_question question = {
            .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = &gone, .then_count = 1}};
        uint64_t tag;
        uint64_t number;

        memcpy(text, kv->value, kv->bytes < sizeof text ? kv->bytes : sizeof text - 1);
        number = strtoull(text, NULL, 10);
        if (strncmp(kv->key, own, (size_t)length) == 0 && number > newest) {
            newest = number;
        }
        (void)snprintf(key, sizeof key, "%s", kv->key);
        (void)cairn_consensus_ask(p, &question, forgotten, NULL, &tag);
    }
    return newest;
}
