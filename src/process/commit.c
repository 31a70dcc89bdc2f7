/* A snapshot counts when the log says so.
 *
 * The coordinator writes the commit record under a temporary name, has its seal chosen as the value of the key
 * "cairn/snapshot/NNNNNN" (once only: the key must not exist), and then gives it its name. If it dies before the seal
 * is chosen the snapshot does not count, on whatever process looks; if it dies after, the record gets its name when
 * the job is restarted. Either way all agree: a restart asks the log (reconcile).
 *
 * "cairn/run" holds the id of the run whose snapshots the log knows from their beginning. In a DIR that has snapshots
 * but no such log (of an older version, or DIR/consensus was removed) what has a record is taken over into it. */
#include "process/partner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY_PREFIX "cairn/snapshot/"

static void key_of(char key[64], uint64_t number)
{
    (void)snprintf(key, 64, KEY_PREFIX "%06" PRIu64, number);
}

static size_t seal_text(char text[80], const cairn_part_seal *seal)
{
    char digest[CAIRN_DIGEST_TEXT_BYTES];

    cairn_digest_print(seal->digest, digest);
    return (size_t)snprintf(text, 80, "%" PRIu64 " %s", seal->bytes, digest);
}

static bool read_seal(const cairn_kv *kv, cairn_part_seal *seal)
{
    char text[80];
    char *end;

    if (kv->bytes >= sizeof text) {
        return false;
    }
    memcpy(text, kv->value, kv->bytes);
    text[kv->bytes] = '\0';
    seal->bytes = strtoull(text, &end, 10);
    return *end == ' ' && cairn_digest_parse(end + 1, &seal->digest);
}

/* ---------------------------------------------------------------- committing */

typedef struct choice {
    cairn_process *process;
    uint32_t incarnation;
    uint64_t number;
    cairn_part_seal seal;
    bool flush;
} choice;

/* Of the attempt that is under way, or of a local snapshot that is on its way to DIR. */
static void ended(cairn_process *p, uint64_t number, bool flush, bool committed)
{
    if (flush) {
        cairn_flush_ended(p, number, committed);
    } else {
        cairn_core_event(p, committed ? CL_COMMIT_DURABLE : CL_FAILED, number);
    }
}

static void confirm(cairn_process *p, const choice *c)
{
    task *t = calloc(1, sizeof *t);

    if (t == NULL) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " is committed; no memory to give its record its name\n", c->number);
        ended(p, c->number, c->flush, true);
        return;
    }
    t->kind = TASK_CONFIRM;
    t->attempt = c->number;
    t->seal = c->seal;
    t->flush = c->flush;
    cairn_writer_post(&p->writer, t);
}

/* Nobody here can say whether it was chosen: the parts stay, and no other snapshot is begun in this launch. */
static void undecided(cairn_process *p, uint64_t number, const char *why)
{
    fprintf(stderr,
            "cairn: whether snapshot %" PRIu64 " counts will be known after a restart (%s); no more snapshots in this "
            "launch\n",
            number, why);
    p->undecided = true;
    cairn_flush_undecided(p);
    cairn_send_control(p, CL_ALL, CONTROL_UNDECIDED, number);
}

static void chosen(void *context, const cairn_response *response)
{
    choice *c = context;
    cairn_process *p = c->process;
    cairn_part_seal other;

    if (response->status != CAIRN_OK && c->incarnation != p->incarnation) {
        free(c); /* of before a recovery: what was chosen is in the log */
        return;
    }
    if (response->status != CAIRN_OK) {
        undecided(p, c->number, response->text[0] != '\0' ? response->text : cairn_status_text(response->status));
    } else if (response->held ||
               (response->kv_count == 1 && response->kvs[0].key != NULL && read_seal(&response->kvs[0], &other) &&
                other.bytes == c->seal.bytes && cairn_digest_equal(other.digest, c->seal.digest))) {
        confirm(p, c); /* chosen now, or by the same proposal that was sent twice */
    } else if (c->incarnation == p->incarnation) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " not committed: another one of this number was chosen before\n",
                c->number);
        ended(p, c->number, c->flush, false);
    }
    free(c);
}

static cairn_status propose(cairn_process *p, uint64_t number, const cairn_part_seal *seal, cairn_asked asked,
                            void *context)
{
    char key[64];
    char value[80];
    size_t bytes = seal_text(value, seal);
    char view[CAIRN_LOST_KEY_BYTES];
    uint64_t view_revision = cairn_recovery_view_key(p, view);
    /* What was recorded before a recovery is not committed after it. */
    cairn_compare compares[2] = {{.kind = CAIRN_COMPARE_CREATED, .key = key, .number = 0},
                                 {.kind = CAIRN_COMPARE_MODIFIED, .key = view, .number = view_revision}};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = bytes};
    cairn_do get = {.kind = CAIRN_DO_GET, .key = key};
    cairn_question request = {.op = CAIRN_OP_TXN,
                              .flags = CAIRN_REQUEST_REPEAT,
                              .key = "",
                              .txn = {.compares = compares,
                                      .compare_count = p->recover ? 2 : 1,
                                      .then = &put,
                                      .then_count = 1,
                                      .otherwise = &get,
                                      .otherwise_count = 1}};
    uint64_t tag;

    key_of(key, number);
    return cairn_consensus_ask(p, &request, asked, context, &tag);
}

static void note_cost(cairn_process *p)
{
    double cost = 0.0;

    for (uint32_t i = 0; i < p->count; i++) {
        double own = p->reports[i].blocked + p->reports[i].writer_cpu;

        cost = own > cost ? own : cost;
    }
    p->cost = cost;
}

void cairn_commit_proposed(cairn_process *p, task *t)
{
    bool stale = t->commit.incarnation != p->incarnation; /* there was a recovery meanwhile */
    choice *c = t->status == CAIRN_OK && !stale ? malloc(sizeof *c) : NULL;
    cairn_status status = t->status == CAIRN_OK && c == NULL ? CAIRN_E_NOMEM : t->status;

    if (stale) {
        status = CAIRN_OK;
    } else if (status == CAIRN_OK) {
        *c = (choice){
            .process = p, .incarnation = p->incarnation, .number = t->attempt, .seal = t->seal, .flush = t->flush};
        status = propose(p, t->attempt, &t->seal, chosen, c);
    }
    if (status != CAIRN_OK) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " not committed: %s\n", t->attempt,
                t->error.text[0] != '\0' ? t->error.text : cairn_status_text(status));
        free(c);
        ended(p, t->attempt, t->flush, false);
    }
    free((void *)(uintptr_t)t->commit.parts);
    free((void *)(uintptr_t)t->commit.lamport);
    free((void *)(uintptr_t)t->commit.vector);
}

void cairn_commit_confirmed(cairn_process *p, task *t)
{
    if (t->status != CAIRN_OK) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " is committed, but its record has not got its name: %s\n",
                t->attempt, t->error.text);
    }
    if (!t->flush) {
        note_cost(p);
    }
    ended(p, t->attempt, t->flush, true);
}

static void forgotten(void *context, const cairn_response *response)
{
    (void)context;
    (void)response;
}

void cairn_commit_pruned(cairn_process *p, task *t)
{
    if (t->status != CAIRN_OK) {
        fprintf(stderr, "cairn: old snapshots not removed: %s\n", t->error.text);
    }
    for (size_t i = 0; i < t->removed_count; i++) {
        char key[64];
        cairn_do gone = {.kind = CAIRN_DO_DELETE, .key = key};
        cairn_question request = {
            .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = &gone, .then_count = 1}};
        uint64_t tag;

        key_of(key, t->removed[i]);
        (void)cairn_consensus_ask(p, &request, forgotten, NULL, &tag); /* a key too many does no harm */
    }
    free(t->removed);
}

/* ---------------------------------------------------------------- coming back */

typedef struct waited {
    cairn_process *process;
    bool answered;
    cairn_status status;
    cairn_error error;
    bool same_run; /* of READ "cairn/run" */
    uint64_t left; /* answers that are still to come */
} waited;

static void answered(waited *w, const cairn_response *response)
{
    if (response->status != CAIRN_OK && response->status != CAIRN_E_NOT_FOUND && w->status == CAIRN_OK) {
        w->status = cairn_fail(&w->error, response->status, "%s",
                               response->text[0] != '\0' ? response->text : cairn_status_text(response->status));
    }
    w->left--;
}

static void on_run(void *context, const cairn_response *response)
{
    waited *w = context;

    w->same_run = response->status == CAIRN_OK && response->kv_count == 1 &&
                  response->kvs[0].bytes == strlen(w->process->run) &&
                  memcmp(response->kvs[0].value, w->process->run, response->kvs[0].bytes) == 0;
    answered(w, response);
}

static void on_done(void *context, const cairn_response *response)
{
    answered(context, response);
}

/* What the log has chosen: the numbers are kept, and each record gets its name. A record with another seal than the
 * chosen one does not count. A chosen snapshot without a record has been pruned; its key goes with the next pruning. */
static void on_snapshots(void *context, const cairn_response *response)
{
    waited *w = context;
    cairn_process *p = w->process;

    free(p->chosen);
    p->chosen_count = 0;
    p->chosen = calloc(response->kv_count + 1, sizeof *p->chosen);
    for (size_t i = 0; p->chosen != NULL && i < response->kv_count; i++) {
        const cairn_kv *kv = &response->kvs[i];
        uint64_t number = strtoull(kv->key + strlen(KEY_PREFIX), NULL, 10);
        cairn_part_seal seal;
        cairn_error error;

        if (!read_seal(kv, &seal)) {
            continue;
        }
        if (cairn_store_confirm(p->dir, number, &seal, &error) == CAIRN_E_CORRUPT) {
            fprintf(stderr, "cairn: snapshot %" PRIu64 ": %s\n", number, error.text);
        } else {
            p->chosen[p->chosen_count++] = number;
        }
    }
    answered(w, response);
}

/* What was in memory only is lost with the launch that had it. */
static void on_memory(void *context, const cairn_response *response)
{
    waited *w = context;
    cairn_process *p = w->process;
    uint64_t newest = response->status == CAIRN_OK ? cairn_levels_forget(p, response) : 0;

    for (size_t i = 0; i < p->chosen_count; i++) {
        newest = p->chosen[i] >= newest ? 0 : newest;
    }
    if (newest > cairn_levels_newest(p)) {
        fprintf(stderr, "cairn: snapshot %" PRIu64 " was in memory only, and is lost with the launch before\n", newest);
    }
    answered(w, response);
}

static cairn_status wait_for(cairn_process *p, waited *w, cairn_error *error)
{
    waiting pause = {0};
    cairn_status status = CAIRN_OK;

    while (w->left > 0 && status == CAIRN_OK) {
        status = cairn_pause(p, &pause);
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_fail(error, status, "waited %.3g s for the log to say which snapshots count", p->deadline);
    }
    if (status == CAIRN_OK && w->status != CAIRN_OK) {
        status = cairn_fail(error, w->status, "%s", w->error.text);
    }
    return status;
}

static cairn_status read_key(cairn_process *p, const char *key, bool prefix, cairn_asked asked, waited *w)
{
    cairn_question request = {
        .op = CAIRN_OP_READ, .flags = prefix ? CAIRN_REQUEST_PREFIX : 0, .key = key, .number = CAIRN_RANGE_MAX};
    uint64_t tag;

    w->left++;
    return cairn_consensus_ask(p, &request, asked, w, &tag);
}

/* The log knows nothing of this run: whatever has a whole record counts, and the log is told. */
static cairn_status take_over(cairn_process *p, waited *w, cairn_error *error)
{
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = "cairn/run", .value = p->run, .bytes = strlen(p->run)};
    cairn_question request = {
        .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = &put, .then_count = 1}};
    cairn_entry *entries = NULL;
    size_t count = 0;
    uint64_t tag;
    cairn_status status = cairn_store_list(p->dir, p->run, CAIRN_DEPTH_SEALS, &entries, &count, error);

    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        cairn_part_seal seal;

        if (entries[i].use == CAIRN_USE_YES && cairn_store_seal(p->dir, entries[i].number, &seal, error) == CAIRN_OK) {
            w->left++;
            status = propose(p, entries[i].number, &seal, on_done, w);
        }
    }
    cairn_store_list_free(entries, count);
    if (status == CAIRN_OK) {
        status = wait_for(p, w, error);
    }
    if (status == CAIRN_OK) {
        w->left++;
        status = cairn_consensus_ask(p, &request, on_done, w, &tag);
    }
    return status == CAIRN_OK ? wait_for(p, w, error) : status;
}

cairn_status cairn_commit_reconcile(cairn_process *p, cairn_error *error)
{
    waited *w;
    cairn_status status;

    if (p->consensus == NULL) {
        return CAIRN_OK;
    }
    w = calloc(1, sizeof *w); /* on the heap: after a deadline an answer may still come */
    if (w == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "asking which snapshots count");
    }
    w->process = p;
    status = read_key(p, "cairn/run", false, on_run, w);
    if (status == CAIRN_OK) {
        status = wait_for(p, w, error);
    }
    if (status == CAIRN_OK && !w->same_run) {
        status = take_over(p, w, error);
    }
    if (status == CAIRN_OK) {
        status = read_key(p, KEY_PREFIX, true, on_snapshots, w);
    }
    if (status == CAIRN_OK) {
        status = wait_for(p, w, error);
    }
    if (status == CAIRN_OK && p->incarnation > 0) {
        status = read_key(p, "cairn/memory/", true, on_memory, w);
    }
    if (status == CAIRN_OK) {
        status = wait_for(p, w, error);
    }
    if (w->left == 0) {
        free(w);
    }
    return status;
}

bool cairn_commit_chosen(const cairn_process *p, uint64_t number)
{
    for (size_t i = 0; i < p->chosen_count; i++) {
        if (p->chosen[i] == number) {
            return true;
        }
    }
    return p->consensus == NULL; /* there is no log to ask: a record is all there is */
}

/* ---------------------------------------------------------------- in a recovery in place */

uint64_t cairn_commit_newest_durable(cairn_process *p, uint64_t before)
{
    cairn_question question = {
        .op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = KEY_PREFIX, .number = CAIRN_RANGE_MAX};
    cairn_response response = {0};
    uint64_t newest = 0;

    if (cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.status != CAIRN_OK) {
        return 0;
    }
    for (size_t i = 0; i < response.kv_count; i++) {
        uint64_t number = strtoull(response.kvs[i].key + strlen(KEY_PREFIX), NULL, 10);

        newest = number > before && number > newest ? number : newest;
    }
    return newest;
}

uint64_t cairn_commit_newest(cairn_process *p, uint64_t before)
{
    uint64_t durable = cairn_commit_newest_durable(p, before);
    uint64_t other = cairn_levels_newest(p);

    return other > before && other > durable ? other : durable;
}

cairn_status cairn_commit_name(cairn_process *p, uint64_t number, cairn_error *error)
{
    char key[64];
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};
    cairn_part_seal seal;

    key_of(key, number);
    if (cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.status != CAIRN_OK ||
        response.kv_count != 1 || !read_seal(&response.kvs[0], &seal)) {
        return CAIRN_E_NOT_FOUND; /* not here yet, or pruned */
    }
    return cairn_store_confirm(p->dir, number, &seal, error);
}
