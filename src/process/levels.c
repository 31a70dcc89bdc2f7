/* Snapshots on several levels: in DIR (shared), or in memory only: every part in its owner's memory and in its partner's
 * (partner.c). Each level has its own interval; the coordinator says of each attempt, when it records, on which level it is.
 *
 * A snapshot in memory only is committed by the log as any other: the key "cairn/memory/RUN/LAUNCH" holds the number of the
 * newest one, "7 memory". The key is of this launch, and a new one never goes back to what it says: when all of the job is
 * lost the newest snapshot in DIR counts, which is never shadowed. In a recovery in place it is the newest on any level; a
 * process that cannot have its part of one that was in memory only says so (CONTROL_VOID), and the next view goes back to
 * the newest one in DIR, and takes the key away in the same transaction. */
#include "base/environment.h"
#include "process/partner.h"
#include "process/recover_parts.h"
#include "snapshot/interval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

cairn_status cairn_levels_start(cairn_process *p, cairn_error *error)
{
    const char *text = getenv(CAIRN_ENV_INTERVAL);
    const char *copies = getenv(CAIRN_ENV_COPIES);
    cairn_intervals intervals;

    if (!cairn_intervals_parse(text == NULL ? "30" : text, &intervals)) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: seconds, auto, off, or shared=...,memory=SECONDS, not %s",
                          CAIRN_ENV_INTERVAL, text);
    }
    p->interval = intervals.shared;
    p->interval_auto = intervals.shared_auto;
    p->level.on = intervals.memory >= 0.0;
    p->level.interval = intervals.memory;
    if (p->level.on && (copies == NULL || strcmp(copies, "none") == 0)) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: snapshots in memory need a partner: %s=partner",
                          CAIRN_ENV_INTERVAL, CAIRN_ENV_COPIES);
    }
    return CAIRN_OK;
}

void cairn_levels_begin(cairn_process *p, double now)
{
    p->level.attempt = 0;
    p->level.wanted = false;
    p->level.next = now + p->level.interval;
}

void cairn_levels_decide(cairn_process *p, uint64_t attempt)
{
    if (p->level.on && p->self == COORDINATOR) {
        p->level.attempt = attempt;
        p->level.memory = p->level.wanted;
        cairn_send_control(p, CL_ALL, CONTROL_LEVEL, attempt << 1 | p->level.memory);
    }
}

void cairn_levels_told(cairn_process *p, uint64_t what)
{
    if (what >> 1 > p->level.attempt) {
        p->level.attempt = what >> 1;
        p->level.memory = (what & 1) != 0;
    }
}

bool cairn_levels_known(const cairn_process *p, uint64_t attempt)
{
    return !p->level.on || p->level.attempt >= attempt;
}

bool cairn_levels_in_memory(const cairn_process *p, uint64_t attempt)
{
    return p->level.on && p->level.attempt == attempt && p->level.memory;
}

/* ---------------------------------------------------------------- committing */

uint64_t cairn_levels_key(const cairn_process *p, char key[CAIRN_LOST_KEY_BYTES], uint64_t *number)
{
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};
    char text[32] = "";

    (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "cairn/memory/%s/%u", p->run, p->launch);
    *number = 0;
    if (!p->level.on || cairn_consensus_peek((cairn_process *)(uintptr_t)p, &question, &response) != CAIRN_OK ||
        response.status != CAIRN_OK || response.kv_count != 1) {
        return 0;
    }
    memcpy(text, response.kvs[0].value, response.kvs[0].bytes < sizeof text ? response.kvs[0].bytes : sizeof text - 1);
    *number = strtoull(text, NULL, 10);
    return response.kvs[0].modified;
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
            fprintf(stderr, "cairn: snapshot %" PRIu64 " not committed in memory: %s\n", c->number,
                    response->status == CAIRN_OK ? "there was a recovery" : cairn_status_text(response->status));
        }
        cairn_core_event(p, held ? CL_COMMIT_DURABLE : CL_FAILED, c->number);
    }
    free(c);
}

void cairn_levels_commit(cairn_process *p, uint64_t attempt)
{
    char key[CAIRN_LOST_KEY_BYTES];
    char view[CAIRN_LOST_KEY_BYTES];
    char value[32];
    uint64_t before;
    cairn_compare unchanged = {.kind = CAIRN_COMPARE_MODIFIED, .key = view, .number = cairn_recovery_view_key(p, view)};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value};
    cairn_question question = {.op = CAIRN_OP_TXN,
                               .flags = CAIRN_REQUEST_REPEAT,
                               .key = "",
                               .txn = {.compares = &unchanged, .compare_count = 1, .then = &put, .then_count = 1}};
    uint64_t tag;
    choice *c = malloc(sizeof *c);

    (void)cairn_levels_key(p, key, &before);
    put.bytes = (size_t)snprintf(value, sizeof value, "%" PRIu64 " memory", attempt);
    if (c != NULL) {
        *c = (choice){.process = p, .incarnation = p->incarnation, .number = attempt};
    }
    if (c == NULL || cairn_consensus_ask(p, &question, chosen, c, &tag) != CAIRN_OK) {
        free(c);
        cairn_core_event(p, CL_FAILED, attempt);
    }
}

/* ---------------------------------------------------------------- the own part */

void cairn_levels_held(cairn_process *p, uint64_t number, bool held)
{
    cut *c = p->cut;

    if (!cairn_levels_in_memory(p, number) || c == NULL || c->head.number != number || c->dead) {
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
