/* The snapshot core's shell: carries out what the pure core says. Recording copies aside; the writer thread makes
 * durable. */
#include "process/consensus.h"
#include "process/partner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- cuts */

static void cut_release_nodes(cairn_process *p, cut *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        cairn_node_release(p, c->nodes[i]);
    }
    c->node_count = 0;
}

static void cut_release_states(cut *c)
{
    for (size_t i = 0; i < c->state_count; i++) {
        if (c->states[i].kind == CAIRN_STATE_BYTES) {
            free((void *)(uintptr_t)c->states[i].data);
        }
    }
    c->state_count = 0;
}

/* Nobody needs it any more; its memory serves the next one. */
static void cut_recycle(cairn_process *p, cut *c)
{
    cairn_copies_gone(p, c);
    cut_release_nodes(p, c);
    cut_release_states(c);
    c->complete = false;
    c->writing = false;
    c->dead = false;
    atomic_store_explicit(&c->unwanted, false, memory_order_relaxed);
    c->next = p->free_cuts;
    p->free_cuts = c;
}

static void cut_free(cut *c)
{
    cairn_arena_free(c->arena, c->arena_bytes);
    free(c->states);
    free(c->counts);
    free(c->nodes);
    free(c);
}

void cairn_cut_discard(cairn_process *p, cut *c)
{
    cut_release_nodes(p, c);
    cut_release_states(c);
    cut_free(c);
}

void cairn_cut_add(cairn_process *p, node *n)
{
    cut *c = p->cut;

    if (c == NULL) {
        return;
    }
    if (c->node_count == c->node_capacity) {
        size_t capacity = c->node_capacity == 0 ? 64 : c->node_capacity * 2;
        node **nodes = realloc(c->nodes, capacity * sizeof *nodes);

        if (nodes == NULL) {
            c->dead = true; /* said to the core when the part would be written */
            return;
        }
        c->nodes = nodes;
        c->node_capacity = capacity;
    }
    n->references++;
    c->nodes[c->node_count++] = n;
}

static cut *cut_new(cairn_process *p, size_t state_count)
{
    cut *c = p->free_cuts;

    if (c != NULL) {
        p->free_cuts = c->next;
        c->next = NULL;
    } else {
        c = calloc(1, sizeof *c);
        if (c == NULL) {
            return NULL;
        }
        c->counts = calloc((size_t)p->count * (2 * CAIRN_STREAMS + 1), sizeof *c->counts);
    }
    free(c->states);
    c->states = calloc(state_count == 0 ? 1 : state_count, sizeof *c->states);
    if (c->counts == NULL || c->states == NULL) {
        cut_free(c);
        return NULL;
    }
    return c;
}

/* ---------------------------------------------------------------- recording */

cairn_status cairn_sink_write(cairn_sink *sink, const void *data, size_t bytes)
{
    if (bytes > sink->capacity - sink->bytes) {
        size_t capacity = sink->capacity * 2 + bytes + 256;
        char *grown = realloc(sink->data, capacity);

        if (grown == NULL) {
            return CAIRN_E_NOMEM;
        }
        sink->data = grown;
        sink->capacity = capacity;
    }
    if (bytes != 0) {
        memcpy(sink->data + sink->bytes, data, bytes);
    }
    sink->bytes += bytes;
    return CAIRN_OK;
}

size_t cairn_array_bytes(const cairn_process *p)
{
    size_t bytes = 0;

    for (const cairn_region *r = p->regions; r != NULL; r = r->next) {
        if (r->save == NULL) {
            bytes += ((size_t)r->state.bytes + 63) / 64 * 64;
        }
    }
    return bytes;
}

static bool record_states(cairn_process *p, cut *c)
{
    size_t needed = cairn_array_bytes(p);
    char *at;

    if (needed > c->arena_bytes) {
        cairn_arena_free(c->arena, c->arena_bytes);
        c->arena = cairn_arena_new(needed);
        c->arena_bytes = c->arena == NULL ? 0 : needed;
        if (c->arena == NULL) {
            return false;
        }
    }
    at = c->arena;
    for (const cairn_region *r = p->regions; r != NULL; r = r->next) {
        cairn_state *s = &c->states[c->state_count];

        *s = r->state;
        if (r->save != NULL) {
            cairn_sink sink = {0};
            cairn_status status = r->save(r->context, &sink);

            if (status != CAIRN_OK) {
                free(sink.data);
                return false;
            }
            s->data = sink.data;
            s->bytes = sink.bytes;
            s->shape[0] = sink.bytes;
        } else {
            if (s->bytes != 0) {
                memcpy(at, r->data, (size_t)s->bytes);
            }
            s->data = at;
            at += (s->bytes + 63) / 64 * 64;
        }
        c->state_count++;
    }
    return true;
}

/* What was received, is not held and not consumed by the job: the beginning of the state of every in-channel. */
static void record_channels(cairn_process *p)
{
    for (const cairn_request *r = p->posted; r != NULL; r = r->next) {
        if (r->got != NULL) {
            cairn_cut_add(p, r->got);
        }
    }
    for (uint32_t i = 0; i < p->count; i++) {
        for (uint32_t s = 0; s < CAIRN_STREAMS; s++) {
            for (node *n = p->channels[i].box[s].first; n != NULL; n = n->next) {
                cairn_cut_add(p, n);
            }
        }
    }
}

static void fill_head(cairn_process *p, cut *c, uint64_t attempt, uint64_t step)
{
    cairn_part_head *h = &c->head;
    uint64_t *sent = c->counts;
    uint64_t *received = sent + (size_t)p->count * CAIRN_STREAMS;
    uint64_t *vector = received + (size_t)p->count * CAIRN_STREAMS;

    memset(h, 0, sizeof *h);
    (void)snprintf(h->job, sizeof h->job, "%s", p->job);
    (void)snprintf(h->run, sizeof h->run, "%s", p->run);
    h->number = attempt;
    h->process = p->self;
    h->count = p->count;
    h->incarnation = p->incarnation;
    h->step = step;
    h->lamport = p->lamport;
    for (uint32_t i = 0; i < p->count; i++) {
        memcpy(sent + (size_t)i * CAIRN_STREAMS, p->channels[i].sent, sizeof p->channels[i].sent);
        memcpy(received + (size_t)i * CAIRN_STREAMS, p->channels[i].consumed, sizeof p->channels[i].consumed);
    }
    h->sent = sent;
    h->received = received;
    h->unwanted = &c->unwanted;
    if (p->vector != NULL) {
        memcpy(vector, p->vector, p->count * sizeof *vector);
        h->vector = vector;
    }
}

static void record(cairn_process *p, uint64_t attempt, uint64_t step)
{
    double begin = cairn_now();
    size_t regions = 0;
    cut *c;

    for (const cairn_region *r = p->regions; r != NULL; r = r->next) {
        regions++;
    }
    c = cut_new(p, regions);
    p->cut = c;
    if (c == NULL) {
        return; /* said to the core when the part would be written */
    }
    fill_head(p, c, attempt, step);
    if (!record_states(p, c)) {
        c->dead = true;
    }
    record_channels(p);
    c->recorded_at = begin;
    p->recorded_at = begin;
    c->blocked = cairn_now() - begin;
    p->stats.blocked = c->blocked;
    p->stats.blocked_total += c->blocked;
    cairn_levels_decide(p, attempt);
}

/* ---------------------------------------------------------------- carrying out */

/* vector: the cut's for a PART, else the current one. */
static void send_snapshot(cairn_process *p, uint32_t to, const uint64_t *vector, const void *payload, size_t bytes)
{
    cairn_envelope e = {.lamport = p->lamport,
                        .bytes = bytes,
                        .incarnation = p->incarnation,
                        .kind = (uint8_t)CAIRN_KIND_SNAPSHOT,
                        .vector = (uint16_t)(p->vector != NULL ? p->count : 0),
                        .magic = CAIRN_MAGIC};

    for (uint32_t i = 0; i < p->count; i++) {
        if (i != p->self && (to == CL_ALL || to == i) && cairn_link_send(p->link, i, &e, vector, payload) != CAIRN_OK &&
            p->fatal == CAIRN_OK) {
            p->fatal = cairn_fail(&p->error, CAIRN_E_MPI, "sending a snapshot message to process %u", i);
        }
    }
}

static void release_held(cairn_process *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        channel *c = &p->channels[i];
        node *n;

        while ((n = cairn_queue_pop(&c->held)) != NULL) {
            cairn_queue_push(&c->box[n->stream], n);
        }
    }
}

/* The newest committed one, to go back to from memory. */
void cairn_cut_keep(cairn_process *p, cut *c)
{
    if (p->kept != NULL) {
        cut_recycle(p, p->kept);
    }
    p->kept = c;
}

static void keep_cut(cairn_process *p)
{
    cut *c = p->cut;

    p->cut = NULL;
    cairn_cut_keep(p, c);
}

static void forget_cut(cairn_process *p)
{
    cut *c = p->cut;

    p->cut = NULL;
    if (c == NULL) {
        return;
    }
    if (c->writing) {
        c->dead = true; /* the writer's result gives it back */
        atomic_store_explicit(&c->unwanted, true, memory_order_relaxed);
    } else {
        cut_recycle(p, c);
    }
}

void cairn_cut_rolled_back(cairn_process *p, uint64_t snapshot)
{
    if (p->cut == NULL) {
        return;
    }
    if (p->cut->head.number == snapshot && !p->cut->writing && !p->cut->dead) {
        keep_cut(p); /* it was committed, and this process had not heard of it yet */
        return;
    }
    if (p->cut->head.number > snapshot && cairn_commit_newest(p, snapshot) < p->cut->head.number) {
        cairn_writer_ask(p, TASK_REMOVE, p->cut->head.number);
    }
    forget_cut(p);
}

void cairn_commit_task_free(task *t)
{
    if (t != NULL) {
        free((void *)(uintptr_t)t->commit.parts);
        free((void *)(uintptr_t)t->commit.lamport);
        free((void *)(uintptr_t)t->commit.vector);
        free(t);
    }
}

task *cairn_commit_task(cairn_process *p, uint64_t attempt, uint64_t step)
{
    task *t = calloc(1, sizeof *t);
    cairn_part_seal *seals = calloc(p->count, sizeof *seals);
    uint64_t *lamport = calloc(p->count, sizeof *lamport);
    uint64_t *vector = p->vector == NULL ? NULL : calloc((size_t)p->count * p->count, sizeof *vector);

    if (t == NULL || seals == NULL || lamport == NULL || (p->vector != NULL && vector == NULL)) {
        free(t);
        free(seals);
        free(lamport);
        free(vector);
        return NULL;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const part_report *r = &p->reports[i];

        seals[i].bytes = r->bytes;
        seals[i].digest.high = r->digest_high;
        seals[i].digest.low = r->digest_low;
        lamport[i] = r->lamport;
    }
    if (vector != NULL) {
        memcpy(vector, p->report_vectors, (size_t)p->count * p->count * sizeof *vector);
    }
    t->kind = TASK_PROPOSE;
    t->attempt = attempt;
    (void)snprintf(t->commit.job, sizeof t->commit.job, "%s", p->job);
    (void)snprintf(t->commit.run, sizeof t->commit.run, "%s", p->run);
    t->commit.number = attempt;
    t->commit.count = p->count;
    t->commit.incarnation = p->incarnation;
    t->commit.step = step;
    t->commit.arguments = p->arguments;
    t->commit.argument_count = p->argument_count;
    t->commit.parts = seals;
    t->commit.lamport = lamport;
    t->commit.vector = vector;
    return t;
}

static void post_commit(cairn_process *p, uint64_t attempt, uint64_t step)
{
    task *t = cairn_commit_task(p, attempt, step);

    if (t == NULL) {
        cairn_core_event(p, CL_FAILED, attempt);
        return;
    }
    cairn_writer_post(&p->writer, t);
}

static void note_end(cairn_process *p, const cl_output *out)
{
    if (out->discard && out->ended_reason != CL_REASON_SUPERSEDED && out->ended_reason != CL_REASON_NONE) {
        p->stats.attempts++;
        p->stats.abandoned++;
        if (out->ended_reason == CL_REASON_FAILED) {
            p->stats.failed++;
        }
        cairn_snapshot_ended(p, false, out->ended_reason == CL_REASON_FAILED, out->ended);
        if (out->ended_reason != CL_REASON_LOST && cairn_level_of(p, out->ended) == CAIRN_LEVEL_SHARED) {
            cairn_writer_ask(p, TASK_REMOVE, out->ended);
        }
    }
    if (out->committed) {
        p->stats.attempts++;
        p->stats.committed++;
        p->stats.last = out->attempt;
        if (p->cut != NULL && p->cut->head.number == out->attempt) {
            p->stats.latency = cairn_now() - p->cut->recorded_at;
            if (p->recover && !p->cut->writing && !p->cut->dead) {
                keep_cut(p);
            } else {
                forget_cut(p);
            }
        }
        if (cairn_level_of(p, out->attempt) == CAIRN_LEVEL_LOCAL) {
            p->level.local = out->attempt;
            cairn_flush_committed(p, out->attempt);
        }
        cairn_copies_committed(p, out->attempt);
        cairn_snapshot_ended(p, true, false, out->attempt);
    }
}

/* Before anything is recorded: a GO should not wait for this process's copying, and no control message is part of a
 * cut. */
static void send_all(cairn_process *p, const cl_output *out)
{
    for (uint32_t i = 0; i < out->send_count; i++) {
        const cl_send *s = &out->sends[i];

        if (s->message.kind == CL_MSG_PART && s->to != p->self) {
            char payload[sizeof(cl_message) + sizeof(part_report)];

            memcpy(payload, &s->message, sizeof s->message);
            memcpy(payload + sizeof s->message, &p->reports[p->self], sizeof(part_report));
            send_snapshot(p, s->to, p->cut == NULL ? p->vector : p->cut->head.vector, payload, sizeof payload);
        } else {
            send_snapshot(p, s->to, p->vector, &s->message, sizeof s->message);
        }
    }
}

void cairn_core_step(cairn_process *p, const cl_event *event, bool *hold, bool *in_cut)
{
    cl_output out;

    cl_step(p->core, event, &out);
    p->active = !cl_idle(p->core);
    if (hold != NULL) {
        *hold = out.hold;
        *in_cut = out.in_cut;
    }
    if (out.discard && p->cut != NULL && p->cut->head.number == out.ended) {
        forget_cut(p);
    }
    send_all(p, &out);
    if (out.record) {
        forget_cut(p);
        record(p, out.attempt, out.cut_step);
    }
    if (out.release) {
        release_held(p);
    }
    if (out.send_markers) {
        cl_message marker = {.kind = CL_MSG_MARKER, .attempt = out.attempt, .step = out.cut_step};

        send_snapshot(p, CL_ALL, p->vector, &marker, sizeof marker);
    }
    if (out.complete && p->cut != NULL) {
        p->cut->complete = true;
    }
    note_end(p, &out);
    if (out.commit && cairn_level_of(p, out.attempt) != CAIRN_LEVEL_SHARED) {
        cairn_levels_commit(p, out.attempt, out.cut_step);
    } else if (out.commit) {
        post_commit(p, out.attempt, out.cut_step);
    }
    if (out.complete && p->cut == NULL) {
        cairn_core_event(p, CL_FAILED, out.attempt);
    }
}

void cairn_core_event(cairn_process *p, cl_event_kind kind, uint64_t step_or_attempt)
{
    cl_event event = {.kind = kind, .step = step_or_attempt, .attempt = step_or_attempt};

    cairn_core_step(p, &event, NULL, NULL);
}

void cairn_core_frame(cairn_process *p, const cairn_frame *frame)
{
    cl_event event = {.kind = CL_MESSAGE, .peer = frame->from};
    size_t bytes = (size_t)frame->envelope->bytes;

    if (bytes < sizeof event.message) {
        return;
    }
    memcpy(&event.message, frame->payload, sizeof event.message);
    if (event.message.kind == CL_MSG_PART && bytes >= sizeof event.message + sizeof(part_report)) {
        memcpy(&p->reports[frame->from], (const char *)frame->payload + sizeof event.message, sizeof(part_report));
        if (p->vector != NULL && frame->vector != NULL) {
            memcpy(p->report_vectors + (size_t)frame->from * p->count, frame->vector, p->count * sizeof(uint64_t));
        }
    }
    cairn_core_step(p, &event, NULL, NULL);
}

/* ---------------------------------------------------------------- the writer's side */

static bool cut_is_whole(const cut *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (c->nodes[i]->transfer != NULL) {
            return false;
        }
    }
    return true;
}

static void begin_writing(cairn_process *p)
{
    cut *c = p->cut;
    task *t;

    if (!c->dead && (!cut_is_whole(c) || !cairn_levels_known(p, c->head.number))) {
        return;
    }
    if (!c->dead && cairn_level_of(p, c->head.number) == CAIRN_LEVEL_MEMORY) {
        c->complete = false;
        if (!cairn_copies_taken(p, c)) {
            cairn_levels_held(p, c->head.number, false);
        }
        return;
    }
    t = c->dead ? NULL : calloc(1, sizeof *t);
    if (t == NULL) {
        c->complete = false;
        fprintf(stderr, "cairn: process %u: snapshot %llu: out of memory while recording\n", p->self,
                (unsigned long long)c->head.number);
        cairn_core_event(p, CL_FAILED, c->head.number);
        return;
    }
    t->kind = TASK_PART;
    t->attempt = c->head.number;
    t->cut = c;
    t->local = cairn_level_of(p, t->attempt) == CAIRN_LEVEL_LOCAL;
    t->stay = p->level.local;
    t->stay_too = p->flush.number;
    c->complete = false; /* written once */
    c->writing = true;
    cairn_writer_post(&p->writer, t);
    (void)cairn_copies_taken(p, c);
}

static void part_done(cairn_process *p, task *t)
{
    cut *c = t->cut;
    bool current = c == p->cut && !c->dead;

    c->writing = false;
    if (!current) {
        cut_recycle(p, c);
        return;
    }
    if (t->status != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: snapshot %llu not written: %s\n", p->self, (unsigned long long)t->attempt,
                t->error.text);
        cairn_core_event(p, CL_FAILED, t->attempt);
        return;
    }
    p->stats.bytes = t->seal.bytes;
    p->reports[p->self] = (part_report){.bytes = t->seal.bytes,
                                        .digest_high = t->seal.digest.high,
                                        .digest_low = t->seal.digest.low,
                                        .lamport = c->head.lamport,
                                        .blocked = c->blocked,
                                        .writer_cpu = t->cpu,
                                        .recorded_at = c->recorded_at};
    if (p->vector != NULL && p->self == COORDINATOR) {
        memcpy(p->report_vectors + (size_t)p->self * p->count, c->head.vector, p->count * sizeof(uint64_t));
    }
    cairn_core_event(p, CL_PART_DURABLE, t->attempt);
}

static void prepare_done(cairn_process *p, task *t)
{
    if (t->cut != NULL) {
        t->cut->next = p->free_cuts;
        p->free_cuts = t->cut;
    }
}

void cairn_shell_drive(cairn_process *p)
{
    if (p->cut != NULL && p->cut->complete && !p->cut->writing) {
        begin_writing(p);
    }
    cairn_flush_drive(p);
    if (!atomic_load_explicit(&p->writer.news, memory_order_acquire)) {
        return;
    }
    for (task *t = cairn_writer_results(&p->writer); t != NULL;) {
        task *next = t->next;

        if (t->kind == TASK_PART) {
            part_done(p, t);
        } else if (t->kind == TASK_PROPOSE) {
            cairn_commit_proposed(p, t);
        } else if (t->kind == TASK_CONFIRM) {
            cairn_commit_confirmed(p, t);
        } else if (t->kind == TASK_PREPARE) {
            prepare_done(p, t);
        } else if (t->kind == TASK_IMAGE) {
            cairn_consensus_imaged(p, t);
        } else if (t->kind == TASK_PRUNE) {
            cairn_commit_pruned(p, t);
        }
        free(t);
        t = next;
    }
}

void cairn_shell_free(cairn_process *p)
{
    forget_cut(p);
    if (p->kept != NULL) {
        cut_recycle(p, p->kept);
        p->kept = NULL;
    }
    while (p->free_cuts != NULL) {
        cut *next = p->free_cuts->next;

        cut_free(p->free_cuts);
        p->free_cuts = next;
    }
}

/* ---------------------------------------------------------------- safe points */

void cairn_arrive(cairn_process *p, uint64_t step)
{
    p->at_safepoint = true;
    cairn_core_event(p, CL_SAFEPOINT, step);
}

void cairn_depart(cairn_process *p)
{
    cairn_core_event(p, CL_LEAVE, 0);
    p->at_safepoint = false;
}

cairn_status cairn_pass_safepoint(cairn_process *p, uint64_t step)
{
    waiting w = {0};
    double begin = 0.0;
    double before = 0.0;
    cairn_status status = CAIRN_OK;

    cairn_arrive(p, step);
    while (cl_must_stay(p->core) && status == CAIRN_OK) {
        if (begin <= 0.0) {
            begin = cairn_now();
            before = p->stats.blocked_total;
        }
        status = cairn_pause(p, &w);
    }
    if (begin > 0.0) {
        /* Recording meanwhile has counted itself. */
        p->stats.blocked_total = before + cairn_now() - begin;
    }
    if (status == CAIRN_OK || status == CAIRN_E_STOPPED) {
        cairn_depart(p);
    } else {
        p->fatal = status; /* the core still waits here: nothing that follows could be right */
    }
    p->at_safepoint = false;
    return status;
}
