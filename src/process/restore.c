/* DIR, the run, and coming back: which snapshot, is all of it whole, and its state into the protected memory. */
#include "process/partner.h"

#include "base/durable.h"
#include "base/environment.h"
#include "base/populate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

/* ---------------------------------------------------------------- the run */

typedef struct run_facts {
    uint64_t status;
    uint64_t latest;
    uint32_t incarnation;
    char run[CAIRN_RUN_BYTES];
    char text[400];
} run_facts;

static cairn_status new_run_id(char run[CAIRN_RUN_BYTES], cairn_error *error)
{
    uint64_t id;

    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id) {
        return cairn_fail(error, CAIRN_E_IO, "getrandom failed");
    }
    (void)snprintf(run, CAIRN_RUN_BYTES, "%016llx", (unsigned long long)id);
    return CAIRN_OK;
}

/* One run a folder: the lock that `cairn run` holds for its jobs. It is held until this process ends. */
static cairn_status lock_dir(const cairn_process *p, cairn_error *error)
{
    char path[4096];
    int fd;

    (void)snprintf(path, sizeof path, "%s/lock", p->dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return cairn_fail(error, CAIRN_E_STATE, "%s: another run is at work here", p->dir);
    }
    return CAIRN_OK;
}

/* Plain mpirun with CAIRN_DIR: process 0 keeps the record that `cairn run` keeps otherwise. */
static cairn_status keep_record(cairn_process *p, cairn_error *error)
{
    cairn_run_record *old = NULL;
    cairn_run_record record = {.launches = 1, .argument_count = p->argument_count, .arguments = p->arguments};
    cairn_status status = lock_dir(p, error);

    if (status != CAIRN_OK) {
        return status;
    }
    status = cairn_run_record_read(p->dir, &old, error);
    if (status != CAIRN_OK && status != CAIRN_E_NOT_FOUND) {
        return status;
    }
    if (status == CAIRN_E_NOT_FOUND && cairn_store_has_committed(p->dir)) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s/run.json is missing, but there are committed snapshots", p->dir);
    }
    if (old != NULL && !old->finished) {
        (void)snprintf(record.run, sizeof record.run, "%s", old->run);
        record.launches = old->launches + 1;
        p->incarnation = old->launches;
        status = CAIRN_OK;
    } else {
        status = new_run_id(record.run, error);
    }
    cairn_run_record_free(old);
    if (status == CAIRN_OK) {
        (void)snprintf(p->run, sizeof p->run, "%s", record.run);
        p->own_record = true;
        record.local = getenv(CAIRN_ENV_LOCAL);
        status = cairn_run_record_write(p->dir, &record, error);
    }
    return status;
}

static cairn_status find_run(cairn_process *p, uint64_t *latest)
{
    const char *run = getenv(CAIRN_ENV_RUN);
    char path[4096];
    cairn_status status;

    (void)snprintf(path, sizeof path, "%s/snapshots", p->dir);
    status = cairn_make_folders(path, &p->error);
    if (status == CAIRN_OK) {
        status = cairn_store_latest(p->dir, latest, &p->error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    if (run != NULL) {
        (void)snprintf(p->run, sizeof p->run, "%s", run);
        return CAIRN_OK;
    }
    return keep_record(p, &p->error);
}

cairn_status cairn_open_run(cairn_process *p, uint64_t *latest)
{
    run_facts facts = {0};
    cairn_status status;

    *latest = 0;
    if (p->dir[0] == '\0') {
        return CAIRN_OK;
    }
    if (p->self == COORDINATOR) {
        facts.status = (uint64_t)find_run(p, &facts.latest);
        facts.incarnation = p->incarnation;
        memcpy(facts.run, p->run, sizeof facts.run);
        (void)snprintf(facts.text, sizeof facts.text, "%.399s", p->error.text);
    }
    status = cairn_link_broadcast(p->link, &facts, sizeof facts, p->deadline, "joining the run", &p->error);
    if (status != CAIRN_OK) {
        return status;
    }
    if (facts.status != (uint64_t)CAIRN_OK) {
        return cairn_fail(&p->error, (cairn_status)facts.status, "%s", facts.text);
    }
    memcpy(p->run, facts.run, sizeof p->run);
    p->incarnation = facts.incarnation;
    *latest = facts.latest;
    return CAIRN_OK;
}

void cairn_close_run(cairn_process *p)
{
    cairn_run_record record = {
        .finished = true, .launches = p->launch + 1, .argument_count = p->argument_count, .arguments = p->arguments};
    cairn_error error;

    if (p->own_record) {
        (void)snprintf(record.run, sizeof record.run, "%s", p->run);
        if (cairn_run_record_write(p->dir, &record, &error) != CAIRN_OK) {
            fprintf(stderr, "cairn: %s\n", error.text);
        }
    }
}

/* ---------------------------------------------------------------- opening a snapshot's parts */

typedef struct opened {
    cairn_commit *commit;
    cairn_part **parts; /* [commit->count]; NULL where this process needs none */
    bool local;         /* there is no record: the commit is made up */
} opened;

static void close_snapshot(opened *o)
{
    if (o->commit != NULL && o->parts != NULL) {
        for (uint32_t i = 0; i < o->commit->count; i++) {
            cairn_part_close(o->parts[i]);
        }
    }
    free(o->parts);
    if (o->local) {
        free((void *)(uintptr_t)o->commit->lamport);
        free(o->commit);
    } else {
        cairn_store_free(o->commit);
    }
    *o = (opened){0};
}

/* On the same number of processes the own part; else all, since slabs lie across each other. */
static cairn_status open_snapshot(cairn_process *p, uint64_t number, opened *o)
{
    cairn_status status = cairn_store_read(p->dir, number, &o->commit, &p->error);

    if (status != CAIRN_OK) {
        return status;
    }
    o->parts = calloc(o->commit->count, sizeof *o->parts);
    if (o->parts == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "%u parts", o->commit->count);
    }
    for (uint32_t i = 0; status == CAIRN_OK && i < o->commit->count; i++) {
        char path[4096];

        if (o->commit->count == p->count && i != p->self) {
            continue;
        }
        cairn_store_part_path(path, sizeof path, p->dir, number, i);
        status = cairn_part_open_depth(&o->parts[i], path, &o->commit->parts[i], CAIRN_PART_FILE, &p->error);
        if (status == CAIRN_OK) {
            const cairn_part_head *h = cairn_part_get_head(o->parts[i]);

            if (h->process != i || h->number != number || h->count != o->commit->count ||
                strcmp(h->run, o->commit->run) != 0) {
                status = cairn_fail(&p->error, CAIRN_E_CORRUPT, "%s: is process %u of snapshot %llu", path, h->process,
                                    (unsigned long long)h->number);
            }
        }
    }
    return status;
}

/* ---------------------------------------------------------------- putting state back */

static cairn_status misfit(cairn_process *p, const char *name, const char *why)
{
    return cairn_fail(&p->error, CAIRN_E_MISMATCH, "state %s: %s", name, why);
}

static bool same_shape(const cairn_state *a, const cairn_state *b)
{
    return a->kind == b->kind && a->type == b->type && a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

static cairn_status load_bytes(cairn_process *p, cairn_region *r, cairn_part *part, const cairn_state *s,
                               uint32_t old_process, uint32_t old_count)
{
    char *data = malloc((size_t)s->bytes + 1);
    cairn_status status;

    if (data == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "state %s: %llu bytes", s->name, (unsigned long long)s->bytes);
    }
    status = cairn_part_read(part, s, data, &p->error);
    if (status == CAIRN_OK) {
        status = r->load(r->context, data, (size_t)s->bytes, old_process, old_count);
        if (status != CAIRN_OK) {
            (void)cairn_fail(&p->error, status, "state %s: the job cannot load what process %u saved: %s", s->name,
                             old_process, cairn_status_text(status));
        }
    }
    free(data);
    return status;
}

/* From this process's own part of as many processes. */
static cairn_status load_own(cairn_process *p, cairn_region *r, opened *o)
{
    cairn_part *part = o->parts[p->self];
    const cairn_state *s = cairn_part_find(part, r->state.name);
    cairn_populate *pages;
    cairn_status status;

    if (s == NULL) {
        return misfit(p, r->state.name, "the snapshot has none of that name");
    }
    if (r->state.kind == CAIRN_STATE_BYTES) {
        return s->kind != CAIRN_STATE_BYTES ? misfit(p, s->name, "is of another kind in the snapshot")
                                            : load_bytes(p, r, part, s, p->self, p->count);
    }
    if (!same_shape(s, &r->state) ||
        (s->kind == CAIRN_STATE_SLAB &&
         (memcmp(s->global_shape, r->state.global_shape, s->rank * sizeof s->shape[0]) != 0 ||
          memcmp(s->offset, r->state.offset, s->rank * sizeof s->shape[0]) != 0))) {
        return misfit(p, s->name, "has another kind, type or shape in the snapshot");
    }
    pages = cairn_populate_begin(r->data, (size_t)s->bytes);
    status = cairn_part_read(part, s, r->data, &p->error);
    cairn_populate_end(pages);
    return status;
}

static cairn_status load_slab(cairn_process *p, cairn_region *r, opened *o)
{
    uint64_t elements = 0;
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; status == CAIRN_OK && i < o->commit->count; i++) {
        const cairn_state *s = cairn_part_find(o->parts[i], r->state.name);
        uint64_t got = 0;

        if (s == NULL || s->kind != CAIRN_STATE_SLAB || s->type != r->state.type || s->rank != r->state.rank ||
            memcmp(s->global_shape, r->state.global_shape, s->rank * sizeof s->shape[0]) != 0) {
            return misfit(p, r->state.name, "is no slab of the same global array in the snapshot");
        }
        status = cairn_part_read_slab(o->parts[i], s, r->state.offset, r->state.shape, r->data, &got, &p->error);
        elements += got;
    }
    if (status == CAIRN_OK && elements * cairn_type_bytes(r->state.type) != r->state.bytes) {
        status = cairn_fail(&p->error, CAIRN_E_CORRUPT, "state %s: the parts of the snapshot do not cover this slab",
                            r->state.name);
    }
    return status;
}

/* From the parts of another number of processes. */
static cairn_status load_divided(cairn_process *p, cairn_region *r, opened *o)
{
    cairn_status status = CAIRN_OK;

    if (r->state.kind == CAIRN_STATE_SLAB) {
        return load_slab(p, r, o);
    }
    if (r->state.kind == CAIRN_STATE_REPLICATED) {
        const cairn_state *s = cairn_part_find(o->parts[0], r->state.name);

        if (s == NULL || !same_shape(s, &r->state)) {
            return misfit(p, r->state.name, "has another kind, type or shape in the snapshot");
        }
        return cairn_part_read(o->parts[0], s, r->data, &p->error);
    }
    if (r->state.kind == CAIRN_STATE_ARRAY || (r->state.flags & CAIRN_REDIVIDE) == 0) {
        (void)cairn_fail(&p->error, CAIRN_E_MISMATCH,
                         "state %s belongs to one process each: this snapshot restarts on %u processes, not on %u",
                         r->state.name, o->commit->count, p->count);
        return CAIRN_E_MISMATCH;
    }
    for (uint32_t i = p->self; status == CAIRN_OK && i < o->commit->count; i += p->count) {
        const cairn_state *s = cairn_part_find(o->parts[i], r->state.name);

        status = s == NULL || s->kind != CAIRN_STATE_BYTES
                     ? misfit(p, r->state.name, "the snapshot has none of that name and kind")
                     : load_bytes(p, r, o->parts[i], s, i, o->commit->count);
    }
    return status;
}

/* Every state of the snapshot must be somebody's. */
static cairn_status check_names(cairn_process *p, cairn_part *part)
{
    for (size_t i = 0; i < cairn_part_state_count(part); i++) {
        const cairn_state *s = cairn_part_state(part, i);
        const cairn_region *r = p->regions;

        while (r != NULL && strcmp(r->state.name, s->name) != 0) {
            r = r->next;
        }
        if (r == NULL) {
            return misfit(p, s->name, "is in the snapshot, but this job does not protect it");
        }
    }
    return CAIRN_OK;
}

static void set_counts(cairn_process *p, const cairn_part_head *h)
{
    for (uint32_t i = 0; i < p->count; i++) {
        for (uint32_t s = 0; s < CAIRN_STREAMS; s++) {
            p->channels[i].sent[s] = h->sent[i * CAIRN_STREAMS + s];
            p->channels[i].consumed[s] = h->received[i * CAIRN_STREAMS + s];
            p->channels[i].arrived[s] = h->received[i * CAIRN_STREAMS + s];
        }
    }
}

static cairn_status put_back_messages(cairn_process *p, cairn_part *part)
{
    set_counts(p, cairn_part_get_head(part));
    for (size_t i = 0; i < cairn_part_message_count(part); i++) {
        const cairn_in_flight *m = cairn_part_message(part, i);
        cairn_envelope e = {.lamport = m->lamport, .sequence = m->sequence, .bytes = m->bytes, .tag = m->tag};
        node *n = cairn_node_new(p, &e, NULL, m->from, m->payload, NULL);

        if (n == NULL) {
            return cairn_fail(&p->error, CAIRN_E_NOMEM, "a message in flight of %llu bytes",
                              (unsigned long long)m->bytes);
        }
        n->stream = m->stream;
        p->channels[m->from].arrived[m->stream]++;
        cairn_queue_push(&p->channels[m->from].box[m->stream], n);
    }
    return CAIRN_OK;
}

static cairn_status apply(cairn_process *p, opened *o, cairn_restored *out)
{
    bool same = o->commit->count == p->count;
    bool redivides = false;
    cairn_status status = check_names(p, o->parts[same ? p->self : 0]);
    const cairn_part_head *h = cairn_part_get_head(o->parts[same ? p->self : 0]);

    for (cairn_region *r = p->regions; status == CAIRN_OK && r != NULL; r = r->next) {
        redivides = redivides || (r->state.flags & CAIRN_REDIVIDE) != 0;
        status = same ? load_own(p, r, o) : load_divided(p, r, o);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    out->restored = true;
    out->number = o->commit->number;
    out->old_count = o->commit->count;
    for (uint32_t i = 0; i < o->commit->count; i++) {
        p->lamport = o->commit->lamport[i] > p->lamport ? o->commit->lamport[i] : p->lamport;
    }
    if (same) {
        p->lamport = h->lamport;
        if (p->vector != NULL && h->vector != NULL) {
            memcpy(p->vector, h->vector, p->count * sizeof *p->vector);
        }
        out->messages = cairn_part_message_count(o->parts[p->self]);
        return put_back_messages(p, o->parts[p->self]);
    }
    for (uint32_t i = 0; i < o->commit->count; i++) {
        if (cairn_part_message_count(o->parts[i]) > 0 && !redivides) {
            return cairn_fail(&p->error, CAIRN_E_MISMATCH,
                              "snapshot %llu has messages in flight: it restarts on %u processes, not on %u",
                              (unsigned long long)o->commit->number, o->commit->count, p->count);
        }
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- by itself, in a recovery in place */

cairn_status cairn_restore_part(cairn_process *p, uint64_t number, cairn_restored *out)
{
    opened o = {0};
    cairn_status status = open_snapshot(p, number, &o);

    if (status == CAIRN_OK && o.commit->count != p->count) {
        status = cairn_fail(&p->error, CAIRN_E_MISMATCH, "snapshot %llu is of %u processes, not of %u",
                            (unsigned long long)number, o.commit->count, p->count);
    }
    if (status == CAIRN_OK) {
        status = apply(p, &o, out);
    }
    close_snapshot(&o);
    return status;
}

/* The log's words for the newest local snapshot; NULL: there is none. free() it. */
static char *local_value(cairn_process *p)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t number;
    cairn_question question = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response = {0};
    char *value;

    if (p->local[0] == '\0' || cairn_levels_key(p, CAIRN_LEVEL_LOCAL, key, &number) == 0 ||
        cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.kv_count != 1) {
        return NULL;
    }
    value = malloc(response.kvs[0].bytes + 1);
    if (value != NULL) {
        memcpy(value, response.kvs[0].value, response.kvs[0].bytes);
        value[response.kvs[0].bytes] = '\0';
    }
    return value;
}

/* What there is of a snapshot whose parts have no record beside them: this process's own. o->commit is made up. */
static cairn_status open_local(cairn_process *p, const char *value, opened *o)
{
    cairn_local_record record = {0};
    cairn_status status;

    o->commit = calloc(1, sizeof *o->commit);
    o->parts = calloc(p->count, sizeof *o->parts);
    o->local = o->commit != NULL;
    if (o->commit == NULL || o->parts == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "%u parts", p->count);
    }
    o->commit->count = p->count;
    o->commit->lamport = calloc(p->count, sizeof *o->commit->lamport);
    if (o->commit->lamport == NULL) {
        return cairn_fail(&p->error, CAIRN_E_NOMEM, "%u parts", p->count);
    }
    status = cairn_local_open(p, value, &record, &o->parts[p->self]);
    o->commit->number = record.number;
    o->commit->step = record.step;
    (void)snprintf(o->commit->committed, sizeof o->commit->committed, "%s", record.time);
    return status;
}

cairn_status cairn_restore_local(cairn_process *p, uint64_t number, cairn_restored *out)
{
    opened o = {0};
    char *value = local_value(p);
    cairn_status status = value == NULL ? CAIRN_E_NOT_FOUND : open_local(p, value, &o);

    if (status == CAIRN_OK && o.commit->number != number) {
        status = CAIRN_E_NOT_FOUND;
    }
    if (status == CAIRN_OK) {
        status = apply(p, &o, out);
    }
    if (status != CAIRN_OK && value != NULL) {
        fprintf(stderr, "cairn: process %u: its local part of snapshot %llu: %s\n", p->self, (unsigned long long)number,
                p->error.text);
    }
    close_snapshot(&o);
    free(value);
    return status;
}

static const cairn_state *state_of(const cut *c, const char *name)
{
    for (size_t i = 0; i < c->state_count; i++) {
        if (strcmp(c->states[i].name, name) == 0) {
            return &c->states[i];
        }
    }
    return NULL;
}

static cairn_status load_copy(cairn_process *p, cairn_region *r, const cut *c)
{
    const cairn_state *s = state_of(c, r->state.name);
    bool fresh = c != p->kept; /* a spare's memory */
    cairn_status status = CAIRN_OK;

    if (s == NULL) {
        return misfit(p, r->state.name, "the snapshot has none of that name");
    }
    if (r->state.kind == CAIRN_STATE_BYTES) {
        status = s->kind != CAIRN_STATE_BYTES ? CAIRN_E_MISMATCH
                                              : r->load(r->context, s->data, (size_t)s->bytes, p->self, p->count);
        return status == CAIRN_OK ? status
                                  : cairn_fail(&p->error, status, "state %s: the job cannot load what it saved: %s",
                                               s->name, cairn_status_text(status));
    }
    if (!same_shape(s, &r->state)) {
        return misfit(p, s->name, "has another kind, type or shape in the snapshot");
    }
    if (s->bytes != 0) {
        cairn_populate *pages = fresh ? cairn_populate_begin(r->data, (size_t)s->bytes) : NULL;

        memcpy(r->data, s->data, (size_t)s->bytes);
        cairn_populate_end(pages);
    }
    return CAIRN_OK;
}

cairn_status cairn_restore_cut(cairn_process *p, const cut *c, cairn_restored *out)
{
    const cairn_part_head *h = &c->head;
    cairn_status status = CAIRN_OK;

    for (cairn_region *r = p->regions; status == CAIRN_OK && r != NULL; r = r->next) {
        status = load_copy(p, r, c);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    p->lamport = h->lamport;
    if (p->vector != NULL && h->vector != NULL) {
        memcpy(p->vector, h->vector, p->count * sizeof *p->vector);
    }
    set_counts(p, h);
    for (size_t i = 0; i < c->node_count; i++) {
        node *n = c->nodes[i];

        n->references++; /* it was delivered before the rollback, or dropped in it: it is in no queue */
        p->channels[n->from].arrived[n->stream]++;
        cairn_queue_push(&p->channels[n->from].box[n->stream], n);
    }
    *out = (cairn_restored){.restored = true, .number = h->number, .old_count = p->count, .messages = c->node_count};
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- choosing */

typedef struct candidates {
    uint64_t numbers[256];
    uint32_t count;
    uint32_t refused; /* committed, of this run or nobody knows of which, and not whole */
    uint64_t status;
    uint64_t local;       /* number of the newest local one */
    uint64_t local_bytes; /* of what the log says of it */
} candidates;

static void list_candidates(cairn_process *p, candidates *c)
{
    cairn_entry *entries = NULL;
    size_t count = 0;

    c->status = (uint64_t)cairn_commit_reconcile(p, &p->error);
    if (c->status == (uint64_t)CAIRN_OK) {
        c->status = (uint64_t)cairn_store_list(p->dir, p->run, CAIRN_DEPTH_SEALS, &entries, &count, &p->error);
    }
    for (size_t i = 0; i < count; i++) {
        const cairn_entry *e = &entries[i];

        if (e->use == CAIRN_USE_YES && !cairn_commit_chosen(p, e->number)) {
            c->refused++;
            fprintf(stderr, "cairn: snapshot %llu not used: the processes never chose it\n",
                    (unsigned long long)e->number);
        } else if (e->use == CAIRN_USE_YES && c->count < sizeof c->numbers / sizeof c->numbers[0]) {
            c->numbers[c->count++] = e->number;
        } else if ((e->use == CAIRN_USE_DAMAGED || e->use == CAIRN_USE_UNREADABLE) &&
                   (p->incarnation > 0 || (e->commit != NULL && strcmp(e->commit->run, p->run) == 0))) {
            c->refused++;
            if (c->count == 0) { /* an older one than the one that is taken is nobody's concern now */
                fprintf(stderr, "cairn: snapshot %llu not used: %s\n", (unsigned long long)e->number, e->why);
            }
        }
    }
    cairn_store_list_free(entries, count);
}

static void say_restarted(const cairn_process *p, const opened *o)
{
    const char *reason = getenv(CAIRN_ENV_REASON);
    char step[48] = "";

    if (p->self != COORDINATOR) {
        return;
    }
    if (o->commit->step != CL_NO_STEP) {
        (void)snprintf(step, sizeof step, "step %llu, ", (unsigned long long)o->commit->step);
    }
    fprintf(stderr, "cairn: restarted from snapshot %llu (%staken %s)", (unsigned long long)o->commit->number, step,
            o->commit->committed);
    if (o->commit->count != p->count) {
        fprintf(stderr, " of %u processes on %u", o->commit->count, p->count);
    }
    fprintf(stderr, "%s%s%s\n", o->local ? " from the hosts of its processes" : "",
            reason == NULL || *reason == '\0' ? "" : ": ", reason == NULL ? "" : reason);
}

/* Try one snapshot on all processes: one in DIR, or with what the log says of it a local one. *final: do not try older
 * ones. */
static cairn_status try_snapshot(cairn_process *p, uint64_t number, const char *local, cairn_restored *out, bool *final)
{
    opened o = {0};
    cairn_status status = local != NULL ? open_local(p, local, &o) : open_snapshot(p, number, &o);
    uint64_t worst = (uint64_t)status;
    cairn_status agreed = cairn_link_max(p->link, &worst, p->deadline, "opening a snapshot", &p->error);

    *final = agreed != CAIRN_OK;
    if (status != CAIRN_OK) {
        fprintf(stderr, "cairn: snapshot %llu not used: %s\n", (unsigned long long)number, p->error.text);
    }
    if (agreed == CAIRN_OK && worst == (uint64_t)CAIRN_OK) {
        *final = true;
        status = apply(p, &o, out);
        worst = (uint64_t)status;
        agreed = cairn_link_max(p->link, &worst, p->deadline, "loading a snapshot", &p->error);
        if (agreed == CAIRN_OK && worst == (uint64_t)CAIRN_OK) {
            say_restarted(p, &o);
        }
    }
    close_snapshot(&o);
    if (agreed != CAIRN_OK) {
        return agreed;
    }
    if (status == CAIRN_OK && worst != (uint64_t)CAIRN_OK) {
        return cairn_fail(&p->error, *final ? (cairn_status)worst : CAIRN_E_CORRUPT,
                          "snapshot %llu cannot be used by another process", (unsigned long long)number);
    }
    return status;
}

/* Room for the copies, touched, before the first snapshot needs it. */
static void prepare(cairn_process *p)
{
    task *t = calloc(1, sizeof *t);

    if (t == NULL) {
        return;
    }
    for (const cairn_region *r = p->regions; r != NULL; r = r->next) {
        t->prepare_bytes += r->save == NULL ? ((size_t)r->state.bytes + 63) / 64 * 64 : 0;
    }
    t->kind = TASK_PREPARE;
    t->attempt = (uint64_t)p->count * (2 * CAIRN_STREAMS + 1);
    cairn_writer_post(&p->writer, t);
}

/* The newest local snapshot, if it is newer than those in DIR and all parts are still there. */
static cairn_status try_local(cairn_process *p, const candidates *c, char *value, cairn_restored *out, bool *final)
{
    char *all = p->self == COORDINATOR ? value : calloc(1, (size_t)c->local_bytes + 1);
    cairn_status status = CAIRN_E_NOMEM;

    if (all != NULL) {
        status =
            cairn_link_broadcast(p->link, all, (size_t)c->local_bytes, p->deadline, "the local snapshot", &p->error);
    }
    *final = status != CAIRN_OK;
    if (status == CAIRN_OK) {
        p->level.local = c->local;
        p->core = cl_init(p->core, p->count, p->self, COORDINATOR, NULL, NULL,
                          cl_latest(p->core) > c->local ? cl_latest(p->core) : c->local); /* numbers are used once */
        cairn_recovery_began(p, c->local);
        status =
            c->count == 0 || c->local > c->numbers[0] ? try_snapshot(p, c->local, all, out, final) : CAIRN_E_NOT_FOUND;
    }
    if (all != value) {
        free(all);
    }
    return status;
}

static cairn_status restore(cairn_process *p, cairn_restored *out)
{
    char *value = NULL;
    candidates c = {0};
    cairn_status status;
    bool final = false;

    if (p->self == COORDINATOR) {
        list_candidates(p, &c);
        value = local_value(p);
        c.local = value == NULL ? 0 : strtoull(value, NULL, 10);
        c.local_bytes = value == NULL ? 0 : strlen(value);
    }
    status = cairn_link_broadcast(p->link, &c, sizeof c, p->deadline, "choosing a snapshot", &p->error);
    if (status != CAIRN_OK) {
        return status;
    }
    if (c.status != (uint64_t)CAIRN_OK) {
        if (p->self != COORDINATOR || p->error.text[0] == '\0') {
            (void)cairn_fail(&p->error, (cairn_status)c.status, "%s: the snapshots cannot be listed", p->dir);
        }
        return (cairn_status)c.status;
    }
    if (c.local != 0) {
        status = try_local(p, &c, value, out, &final);
        free(value);
        if (status == CAIRN_OK || final) {
            return status;
        }
    }
    for (uint32_t i = 0; i < c.count; i++) {
        status = try_snapshot(p, c.numbers[i], NULL, out, &final);
        if (status == CAIRN_OK || final) {
            return status;
        }
        c.refused++;
    }
    if (c.refused > 0) {
        return cairn_fail(&p->error, CAIRN_E_CORRUPT, "%s: no snapshot of %u can be used; nothing was started over",
                          p->dir, c.refused);
    }
    return CAIRN_OK;
}

cairn_status cairn_restore(cairn_process *p, cairn_restored *out)
{
    cairn_restored result = {0};
    cairn_status status;
    bool same;

    if (p->fatal == CAIRN_E_ROLLBACK && !p->restored_once) {
        p->restored_once = true; /* this process takes another's place */
        status = cairn_recover(p, out);
        prepare(p); /* only now: it would take the time of those who wait */
        prepare(p);
        return status;
    }
    cairn_enter(p);
    if (p->restored_once) {
        return cairn_say(p, CAIRN_E_STATE, "cairn_restore: was called before");
    }
    p->restored_once = true;
    if (p->dir[0] != '\0') {
        status = restore(p, &result);
        if (status != CAIRN_OK) {
            cairn_exit_call(p);
            return status;
        }
        if (result.restored) {
            p->stats.last = result.number;
        } else if (p->incarnation > 0 && p->self == COORDINATOR && p->regions != NULL) {
            const char *reason = getenv(CAIRN_ENV_REASON);

            fprintf(stderr, "cairn: no snapshot was committed yet: starting from the beginning%s%s\n",
                    reason == NULL || *reason == '\0' ? "" : ": ", reason == NULL ? "" : reason);
        }
        p->can_snapshot = p->consensus != NULL;
        p->attempt_began = cairn_now();
        p->next_snapshot = p->attempt_began + (p->interval_auto ? 1.0 : p->interval);
        cairn_levels_begin(p, p->attempt_began);
        same = result.restored && result.old_count == p->count;
        if (same) {
            cairn_recovery_restored(p, result.number);
        } else if (p->recover && p->interval >= 0.0) {
            p->next_snapshot = p->attempt_began; /* without one of as many processes nobody can be replaced */
        }
        prepare(p);
        if (p->recover) {
            prepare(p); /* one cut is kept, the next is recorded */
        }
    }
    if (out != NULL) {
        *out = result;
    }
    cairn_say_ready(p);
    cairn_exit_call(p);
    return CAIRN_OK;
}
