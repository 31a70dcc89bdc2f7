/* The writer thread: makes parts, commit records and removals durable, one after the other. Another one of its kind sends local
 * parts on to DIR (flush.c), so that nothing waits for that. Neither touches MPI. */
#include "process/consensus.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* Memory that is there: every page touched, in huge pages where the kernel has them, so that copying into it takes
 * no page faults. */
char *cairn_arena_new(size_t bytes)
{
    size_t whole = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    char *arena = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (arena == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(arena, whole, MADV_HUGEPAGE);
    for (size_t at = 0; at < whole; at += 4096) {
        ((volatile char *)arena)[at] = 0;
    }
    return arena;
}

void cairn_arena_free(char *arena, size_t bytes)
{
    if (arena != NULL) {
        (void)munmap(arena, (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES);
    }
}

static double thread_cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void write_part(const cairn_process *p, task *t)
{
    char path[4096];
    cut *c = t->cut;
    cairn_in_flight *messages = calloc(c->node_count == 0 ? 1 : c->node_count, sizeof *messages);

    if (messages == NULL) {
        t->status = cairn_fail(&t->error, CAIRN_E_NOMEM, "%zu messages in flight", c->node_count);
        return;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        const node *n = c->nodes[i];

        messages[i] = (cairn_in_flight){.from = n->from,
                                        .stream = n->stream,
                                        .tag = n->tag,
                                        .sequence = n->sequence,
                                        .lamport = n->lamport,
                                        .bytes = n->bytes,
                                        .payload = n->payload};
    }
    if (t->local) {
        cairn_local_sweep(p, c->head.number, t->stay, t->stay_too);
        cairn_local_folder(p, c->head.number, path);
    } else {
        cairn_store_snapshot_path(path, sizeof path, p->dir, c->head.number);
    }
    t->status =
        cairn_part_write(path, &c->head, c->states, c->state_count, messages, c->node_count, &t->seal, &t->error);
    free(messages);
}

static void prepare(task *t)
{
    t->cut = calloc(1, sizeof *t->cut);
    if (t->cut == NULL) {
        return;
    }
    t->cut->counts = calloc(t->attempt, sizeof *t->cut->counts); /* attempt: entries, see cairn_restore */
    t->cut->arena = t->prepare_bytes == 0 ? NULL : cairn_arena_new(t->prepare_bytes);
    t->cut->arena_bytes = t->cut->arena == NULL ? 0 : t->prepare_bytes;
    if (t->cut->counts == NULL) {
        cairn_arena_free(t->cut->arena, t->cut->arena_bytes);
        free(t->cut);
        t->cut = NULL;
    }
}

static void remove_part(const cairn_process *p, const task *t)
{
    char path[4096];

    cairn_store_part_path(path, sizeof path, p->dir, t->attempt, p->self);
    (void)unlink(path);
    cairn_store_snapshot_path(path, sizeof path, p->dir, t->attempt);
    (void)rmdir(path); /* by whoever is the last */
}

static void perform(const cairn_process *p, task *t)
{
    double begin = thread_cpu();

    switch (t->kind) {
    case TASK_PART:
        cairn_end_if_superseded(p);
        write_part(p, t);
        break;
    case TASK_PROPOSE:
        cairn_end_if_superseded(p);
        t->status = cairn_store_propose(p->dir, &t->commit, &t->seal, &t->error);
        break;
    case TASK_CONFIRM:
        t->status = cairn_store_confirm(p->dir, t->attempt, &t->seal, &t->error);
        break;
    case TASK_PRUNE:
        t->status =
            cairn_store_prune(p->dir, p->run, p->keep, CAIRN_DEPTH_SEALS, &t->removed, &t->removed_count, &t->error);
        break;
    case TASK_REMOVE:
        remove_part(p, t);
        break;
    case TASK_PREPARE:
        prepare(t);
        break;
    case TASK_IMAGE:
        cairn_consensus_write_image(p, t);
        break;
    case TASK_FLUSH:
        cairn_end_if_superseded(p);
        cairn_flush_copy(p, t);
        break;
    }
    t->cpu = thread_cpu() - begin;
}

static void *writer_main(void *argument)
{
    writer *w = argument;
    cairn_process *p = w->process;
    uint64_t one = 1;

    pthread_mutex_lock(&w->mutex);
    for (;;) {
        task *t = w->queue;

        if (t == NULL) {
            if (w->stop) {
                break;
            }
            pthread_cond_wait(&w->wake, &w->mutex);
            continue;
        }
        w->queue = t->next;
        if (w->queue == NULL) {
            w->queue_end = &w->queue;
        }
        w->busy = true;
        pthread_mutex_unlock(&w->mutex);
        perform(p, t);
        pthread_mutex_lock(&w->mutex);
        w->busy = false;
        t->next = NULL;
        task **end = &w->results;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        *end = t;
        atomic_store_explicit(&w->news, true, memory_order_release);
        (void)!write(p->wake_fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

cairn_status cairn_writer_start(cairn_process *p, writer *w)
{
    sigset_t all;
    sigset_t old;
    int failed;

    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->process = p;
    w->queue_end = &w->queue;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    w->started = failed == 0;
    return failed == 0 ? CAIRN_OK : CAIRN_E_NOMEM;
}

void cairn_writer_end(writer *w)
{
    if (!w->started) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void cairn_writer_post(writer *w, task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&w->mutex);
    *w->queue_end = t;
    w->queue_end = &t->next;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

void cairn_writer_ask(cairn_process *p, task_kind kind, uint64_t attempt)
{
    task *t = p->writer.started ? calloc(1, sizeof *t) : NULL;

    if (t != NULL) {
        t->kind = kind;
        t->attempt = attempt;
        cairn_writer_post(&p->writer, t);
    }
}

task *cairn_writer_results(writer *w)
{
    task *results;

    pthread_mutex_lock(&w->mutex);
    results = w->results;
    w->results = NULL;
    atomic_store_explicit(&w->news, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->mutex);
    return results;
}

bool cairn_writer_idle(writer *w)
{
    bool idle;

    pthread_mutex_lock(&w->mutex);
    idle = w->queue == NULL && !w->busy && w->results == NULL;
    pthread_mutex_unlock(&w->mutex);
    return idle;
}
