/* The runtime's member of the coordination service: the log's thread, messages in frames, timers. */
#include "process/consensus_parts.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG_MAX 512u /* frames to a process that does not take them: more are left out */
#define TICK_US     UINT64_C(1000)

/* What is written without the log's thread: groups up to so many bytes, while no write of late took longer. */
#define HERE_BYTES   1024
#define HERE_SECONDS 0.005

void consensus_check(cairn_process *p, cairn_status status)
{
    if (status != CAIRN_OK) {
        consensus_out_of_service(p, p->consensus->log.error.text[0] != '\0'
                                        ? p->consensus->log.error.text
                                        : cairn_replica_error(p->consensus->replica));
    }
}

/* ---------------------------------------------------------------- the log's thread */

/* The slowest write of late; it fades. Only read while no write is under way. */
static void note_duration(log_thread *l, double seconds)
{
    l->slowest = seconds > l->slowest * 0.95 ? seconds : l->slowest * 0.95;
}

static void *log_main(void *argument)
{
    cairn_process *p = argument;
    consensus *c = p->consensus;
    log_thread *l = &c->log;
    uint64_t one = 1;

    pthread_mutex_lock(&l->mutex);
    while (!l->stop) {
        if (!l->wanted) {
            pthread_cond_wait(&l->wake, &l->mutex);
            continue;
        }
        l->wanted = false;
        pthread_mutex_unlock(&l->mutex);
        double begin = cairn_now();

        l->status = cairn_replica_write(c->replica, &l->error);
        note_duration(l, cairn_now() - begin);
        atomic_store_explicit(&l->done, true, memory_order_release);
        if (atomic_load_explicit(&p->inside, memory_order_relaxed) == 0) {
            (void)!write(p->wake_fd, &one, sizeof one); /* a job thread in a call looks by itself */
        }
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static void host_write(void *context)
{
    ((cairn_process *)context)->consensus->log.due = true;
}

/* A small group is written by whoever waits anyhow, which saves waking a thread twice, as long as the disk is fast. What
 * is large, or comes while the job computes, or when the disk has been slow lately, is the thread's. */
static void begin_write(cairn_process *p)
{
    consensus *c = p->consensus;
    log_thread *l = &c->log;

    l->due = false;
    if (p->waits && l->slowest < HERE_SECONDS && cairn_replica_write_bytes(c->replica) <= HERE_BYTES) {
        double begin = cairn_now();

        l->status = cairn_replica_write(c->replica, &l->error);
        note_duration(l, cairn_now() - begin);
        atomic_store_explicit(&l->done, true, memory_order_relaxed);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->wanted = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
}

cairn_status consensus_start_log(cairn_process *p, cairn_error *error)
{
    log_thread *l = &p->consensus->log;
    sigset_t all;
    sigset_t old;
    int failed;

    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->wake, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&l->thread, NULL, log_main, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->started = failed == 0;
    return failed == 0 ? CAIRN_OK
                       : cairn_fail(error, CAIRN_E_NOMEM, "the consensus log's thread: %s", strerror(failed));
}

void consensus_end_log(consensus *c)
{
    log_thread *l = &c->log;

    if (!l->started) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
    pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->wake);
    memset(l, 0, sizeof *l);
}

/* ---------------------------------------------------------------- messages */

/* Which member speaks: a rank may stand in for one that died (stand_in.c), or not know yet which one it is. Whoever is
 * met behind a member's number takes what is sent to it. */
static uint64_t signature(uint32_t from, size_t at)
{
    return (uint64_t)from << 32 | at;
}

/* In pieces that fit a frame. To a process that takes none (paused, dead) they are left out: the protocol takes them
 * for lost. */
static void host_send(void *context, uint32_t member, const void *data, size_t bytes)
{
    cairn_process *p = context;
    size_t most = cairn_link_frame_max(p->link);
    uint32_t to = p->consensus->place[member];
    cairn_envelope e = {.lamport = p->lamport,
                        .incarnation = p->incarnation,
                        .tag = (uint32_t)bytes,
                        .kind = (uint8_t)CAIRN_KIND_CONSENSUS,
                        .vector = (uint16_t)(p->vector != NULL ? p->count : 0),
                        .magic = CAIRN_MAGIC};

    if (to == p->self || cairn_link_backlog(p->link, to) > BACKLOG_MAX) {
        return;
    }
    for (size_t at = 0; at < bytes; at += most) {
        e.sequence = signature(p->consensus->self, at);
        e.bytes = bytes - at < most ? bytes - at : most;
        if (cairn_link_send(p->link, to, &e, p->vector, (const char *)data + at) != CAIRN_OK) {
            return;
        }
    }
}

/* An empty message. */
void consensus_say_place(cairn_process *p)
{
    cairn_envelope e = {.lamport = p->lamport,
                        .sequence = signature(p->consensus->self, 0),
                        .incarnation = p->incarnation,
                        .kind = (uint8_t)CAIRN_KIND_CONSENSUS,
                        .vector = (uint16_t)(p->vector != NULL ? p->count : 0),
                        .magic = CAIRN_MAGIC};

    for (uint32_t i = 0; i < p->peers; i++) {
        if (i != p->self) {
            (void)cairn_link_send(p->link, i, &e, p->vector, NULL);
        }
    }
}

static bool grow(assembly *a, size_t bytes)
{
    char *data;

    if (bytes <= a->room) {
        return true;
    }
    data = realloc(a->data, bytes);
    if (data == NULL) {
        return false;
    }
    a->data = data;
    a->room = bytes;
    return true;
}

void cairn_consensus_frame(cairn_process *p, const cairn_frame *frame)
{
    consensus *c = p->consensus;
    const cairn_envelope *e = frame->envelope;
    uint32_t at = (uint32_t)e->sequence;
    uint32_t from = (uint32_t)(e->sequence >> 32);
    assembly *a;

    if (c == NULL || c->failed || from >= p->peers || e->tag > CAIRN_REPLICA_MESSAGE_MAX(CONSENSUS_VALUE_MAX) ||
        at + e->bytes > e->tag) {
        return;
    }
    c->place[from] = frame->from;
    if (c->replica == NULL || e->tag == 0) {
        return;
    }
    if (e->bytes == e->tag) {
        consensus_check(p, cairn_replica_message(c->replica, from, frame->payload, (size_t)e->bytes, consensus_now()));
        return;
    }
    a = &c->assemblies[frame->from];
    if (at == 0) {
        a->bytes = 0;
        a->total = e->tag;
    }
    if (at != a->bytes || e->tag != a->total || !grow(a, a->total)) {
        a->total = 0; /* a piece is missing: the message is lost */
        return;
    }
    memcpy(a->data + a->bytes, frame->payload, (size_t)e->bytes);
    a->bytes += (size_t)e->bytes;
    if (a->bytes == a->total) {
        a->total = 0;
        consensus_check(p, cairn_replica_message(c->replica, from, a->data, a->bytes, consensus_now()));
    }
}
/* ---------------------------------------------------------------- driving */

/* The writer thread has other work too; an image is in no hurry. */
static void host_image(void *context, cairn_image *image)
{
    cairn_process *p = context;
    task *t = calloc(1, sizeof *t);
    cairn_image *copy = malloc(sizeof *copy);

    if (t == NULL || copy == NULL || !p->writer.started) {
        free(t);
        free(copy);
        (void)cairn_replica_imaged(p->consensus->replica, image->slot, CAIRN_E_NOMEM, consensus_now());
        cairn_image_free(image);
        return;
    }
    *copy = *image;
    t->kind = TASK_IMAGE;
    t->image = copy;
    cairn_writer_post(&p->writer, t);
}

void cairn_consensus_write_image(const cairn_process *p, task *t)
{
    t->status = cairn_image_write(p->consensus->folder, t->image, &t->error);
}

void cairn_consensus_imaged(cairn_process *p, task *t)
{
    if (t->status != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: %s\n", p->self, t->error.text);
    }
    if (!p->consensus->failed) {
        consensus_check(p, cairn_replica_imaged(p->consensus->replica, t->image->slot, t->status, consensus_now()));
    }
    cairn_image_free(t->image);
    free(t->image);
}

static void host_say(void *context, const char *line)
{
    fprintf(stderr, "cairn: process %u: %s\n", ((cairn_process *)context)->self, line);
}

static cairn_status host_image_read(void *context, cairn_image *image, char passed_over[500], cairn_error *error)
{
    return cairn_image_read(((cairn_process *)context)->consensus->folder, image, passed_over, error);
}

void cairn_consensus_drive(cairn_process *p, double seconds)
{
    consensus *c = p->consensus;
    uint64_t now = (uint64_t)(seconds * 1e6);

    if (c == NULL || c->replica == NULL) {
        return;
    }
    if (c->log.due) {
        begin_write(p);
    }
    if (atomic_load_explicit(&c->log.done, memory_order_acquire)) {
        atomic_store_explicit(&c->log.done, false, memory_order_relaxed);
        p->stir++;
        consensus_check(p, cairn_replica_written(c->replica, c->log.status, consensus_now()));
    }
    if (!c->failed && now >= c->next_tick) {
        c->next_tick = now + TICK_US;
        consensus_check(p, cairn_replica_tick(c->replica, now));
        if (!cairn_consensus_leads(p)) {
            c->leads_since = 0;
        } else if (c->leads_since == 0) {
            c->leads_since = now;
        }
    }
    if (c->log.due) {
        begin_write(p); /* what the timers and answers have brought */
    }
    if (c->first != NULL) {
        consensus_give_deferred(c);
    }
    if (p->sockets != NULL) {
        cairn_socket_drive(p);
    }
    if (p->coords != NULL) {
        cairn_coord_drive(p);
    }
}

cairn_replica_host consensus_host(cairn_process *p)
{
    return (cairn_replica_host){.context = p,
                                .send = host_send,
                                .answer = consensus_answer,
                                .write = host_write,
                                .image = host_image,
                                .image_read = host_image_read,
                                .say = host_say};
}
