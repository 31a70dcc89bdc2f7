/* Entering and leaving the runtime, taking in frames, waiting, the service thread. */
#include "process/runtime.h"

#include "partner/copies.h"
#include "process/consensus.h"
#include "process/partner.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_SLACK_NS          1000 /* the kernel's own 50 us would make 70 of the first step's 20 */
#define YIELD_ROUNDS            200
#define SLEEP_MIN_NS            20000
#define SLEEP_MAX_NS            500000
#define SERVICE_PERIOD_MS       5
#define SERVICE_PERIOD_BUSY_MS  1
#define SERVICE_PERIOD_SPARE_MS 100 /* its own thread looks after all */

double cairn_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The service thread is in, or on its way: let it finish. */
void cairn_enter_slowly(cairn_process *p)
{
    do {
        atomic_store_explicit(&p->inside, 0, memory_order_release);
        while (atomic_load_explicit(&p->wanted, memory_order_acquire) != 0) {
            sched_yield();
        }
        atomic_store_explicit(&p->inside, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
    } while (atomic_load_explicit(&p->wanted, memory_order_acquire) != 0);
}

static bool service_enter(cairn_process *p)
{
    atomic_store_explicit(&p->wanted, 1, memory_order_seq_cst);
    if (p->fence) {
        atomic_thread_fence(memory_order_seq_cst);
    } else {
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    }
    if (atomic_load_explicit(&p->inside, memory_order_acquire) == 0) {
        return true;
    }
    atomic_store_explicit(&p->wanted, 0, memory_order_release);
    return false;
}

cairn_status cairn_say(cairn_process *p, cairn_status status, const char *format, ...)
{
    va_list arguments;

    p->error.status = status;
    va_start(arguments, format);
    (void)vsnprintf(p->error.text, sizeof p->error.text, format, arguments);
    va_end(arguments);
    cairn_exit_call(p);
    return status;
}

static void fail_for_good(cairn_process *p, cairn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail_for_good(cairn_process *p, cairn_status status, const char *format, ...)
{
    va_list arguments;

    if (p->fatal == CAIRN_OK) {
        p->fatal = status;
        p->error.status = status;
        va_start(arguments, format);
        (void)vsnprintf(p->error.text, sizeof p->error.text, format, arguments);
        va_end(arguments);
    }
}

/* Does this long message go straight into the buffer of the receive that waits? */
static char *direct_buffer(cairn_process *p, const cairn_envelope *e, uint32_t from, uint32_t stream)
{
    wish *w = &p->wish;

    if (!w->open || w->got != NULL || w->stream != stream || (w->from != from && w->from != CAIRN_ANY) ||
        e->bytes > w->capacity || p->channels[from].box[stream].first != NULL) {
        return NULL;
    }
    return w->data;
}

static void add_incoming(cairn_process *p, node *n)
{
    if (p->incoming_count == p->incoming_capacity) {
        size_t capacity = p->incoming_capacity == 0 ? 16 : p->incoming_capacity * 2;
        node **list = realloc(p->incoming, capacity * sizeof *list);

        if (list == NULL) {
            fail_for_good(p, CAIRN_E_NOMEM, "messages from process %u", n->from);
            return;
        }
        p->incoming = list;
        p->incoming_capacity = capacity;
    }
    n->references++;
    p->incoming[p->incoming_count++] = n;
}

/* A message of the job or of a collective. */
static void dispatch_message(cairn_process *p, const cairn_frame *frame, uint32_t stream)
{
    const cairn_envelope *e = frame->envelope;
    channel *c = &p->channels[frame->from];
    bool is_long = (e->flags & CAIRN_FLAG_LONG) != 0;
    bool hold = false;
    bool in_cut = false;
    char *direct = NULL;
    node *n;

    if (e->sequence != c->arrived[stream] + 1) {
        fail_for_good(p, CAIRN_E_PEER, "channel %u->%u: message %llu came after message %llu", frame->from, p->self,
                      (unsigned long long)e->sequence, (unsigned long long)c->arrived[stream]);
        return;
    }
    c->arrived[stream]++;
    if (p->active) {
        cl_event event = {.kind = CL_DATA, .peer = frame->from};

        cairn_core_step(p, &event, &hold, &in_cut);
    }
    /* A sender that dies in the middle would leave MPI with the job's own buffer. */
    if (is_long && !hold && !in_cut && !p->survive) {
        direct = direct_buffer(p, e, frame->from, stream);
    }
    n = cairn_node_new(p, e, frame->vector, frame->from, is_long ? NULL : frame->payload, direct);
    if (n == NULL) {
        fail_for_good(p, CAIRN_E_NOMEM, "a message of %llu bytes from process %u", (unsigned long long)e->bytes,
                      frame->from);
        return;
    }
    n->stream = stream;
    if (is_long) {
        if (cairn_link_receive_long(p->link, frame->from, n->payload, (size_t)e->bytes, &n->transfer) != CAIRN_OK) {
            fail_for_good(p, CAIRN_E_MPI, "receiving %llu bytes from process %u", (unsigned long long)e->bytes,
                          frame->from);
        }
        add_incoming(p, n);
    }
    if (in_cut) {
        cairn_cut_add(p, n);
    }
    if (direct != NULL) {
        p->wish.got = n;
    } else {
        cairn_queue_push(hold ? &c->held : &c->box[stream], n);
    }
}

/* What counts whatever incarnation it is of: a process that has not heard of a recovery, or has before this one. */
static bool is_timeless(const cairn_envelope *e)
{
    return e->kind == CAIRN_KIND_CONSENSUS || (e->kind == CAIRN_KIND_COPY && e->tag == PC_ASK) ||
           (e->kind == CAIRN_KIND_CONTROL &&
            (e->tag == CONTROL_READY || e->tag == CONTROL_END || e->tag == CONTROL_LOST || e->tag == CONTROL_UNSERVED ||
             e->tag == CONTROL_SPAWN || e->tag == CONTROL_PORT || e->tag == CONTROL_CONNECTED ||
             e->tag == CONTROL_ENDED || e->tag == CONTROL_UNBORN || e->tag == CONTROL_HERE || e->tag == CONTROL_BEGUN ||
             e->tag == CONTROL_VOID));
}

static void take_ready(cairn_process *p, const cairn_frame *frame)
{
    ready_report report = {0};

    if (frame->envelope->bytes == sizeof report) {
        memcpy(&report, frame->payload, sizeof report);
    }
    p->ready[frame->from] = true;
    cairn_recovery_ready(p, frame->from, &report);
}

static void dispatch_control(cairn_process *p, const cairn_frame *frame)
{
    switch ((enum control)frame->envelope->tag) {
    case CONTROL_KILL:
        cairn_kill_ordered(p, frame->envelope->sequence);
        break;
    case CONTROL_SNAPSHOT_WISH:
        cairn_snapshot_wished(p);
        break;
    case CONTROL_STOP_WISH:
        p->stop_wished = true;
        break;
    case CONTROL_STOP:
        p->stopped = true;
        break;
    case CONTROL_LEAVING:
        p->left[frame->from] = true;
        break;
    case CONTROL_READY:
        take_ready(p, frame);
        break;
    case CONTROL_END:
        cairn_ended(p, frame->envelope->sequence);
    case CONTROL_ALL_LEFT:
        p->all_left = true;
        break;
    case CONTROL_UNSERVED:
        cairn_consensus_unserved(p, frame->from);
        break;
    case CONTROL_UNDECIDED:
        p->undecided = true;
        break;
    case CONTROL_BEGUN:
        cairn_recovery_begun(p);
        break;
    case CONTROL_HERE:
        cairn_detector_here(p, frame);
        break;
    case CONTROL_SPAWN:
    case CONTROL_PORT:
    case CONTROL_CONNECTED:
    case CONTROL_UNBORN:
        cairn_spawn_told(p, frame);
        break;
    case CONTROL_LOST:
        cairn_lose(p, p->self);
        break;
    case CONTROL_ENDED:
        cairn_detector_told(p, frame->envelope->sequence);
        break;
    case CONTROL_LEVEL:
        cairn_levels_told(p, frame->envelope->sequence);
        break;
    case CONTROL_VOID:
        if (frame->envelope->bytes == sizeof(void_report)) {
            void_report report;

            memcpy(&report, frame->payload, sizeof report);
            cairn_levels_void_told(p, &report);
        }
        break;
    case CONTROL_FLUSH:
        if (frame->envelope->bytes == sizeof(flush_order)) {
            flush_order order;

            memcpy(&order, frame->payload, sizeof order);
            cairn_flush_ordered(p, &order);
        }
        break;
    case CONTROL_FLUSHED:
        cairn_flush_reported(p, frame->from, frame->envelope->sequence);
        break;
    default:
        break;
    }
}

/* A message of an older incarnation. If it was announced as a long one its payload comes all the same, and must not be
 * taken for the next one's. */
static void drop_frame(cairn_process *p, const cairn_frame *frame)
{
    const cairn_envelope *e = frame->envelope;
    node *n;

    p->dropped++;
    if (e->kind == CAIRN_KIND_COPY) {
        cairn_copies_frame(p, frame, true);
        return;
    }
    if ((e->kind != CAIRN_KIND_DATA && e->kind != CAIRN_KIND_COLLECTIVE) || (e->flags & CAIRN_FLAG_LONG) == 0) {
        return;
    }
    n = cairn_node_new(p, e, NULL, frame->from, NULL, NULL);
    if (n == NULL ||
        cairn_link_receive_long(p->link, frame->from, n->payload, (size_t)e->bytes, &n->transfer) != CAIRN_OK) {
        fail_for_good(p, CAIRN_E_NOMEM, "an old message of %llu bytes from process %u", (unsigned long long)e->bytes,
                      frame->from);
        return;
    }
    add_incoming(p, n);
    cairn_node_release(p, n); /* it goes when its payload is here */
}

/* Take one frame in and consume it. */
void cairn_dispatch(cairn_process *p, cairn_frame *frame)
{
    const cairn_envelope *e = frame->envelope;

    p->stir++;
    if (e->magic != CAIRN_MAGIC) {
        fail_for_good(p, CAIRN_E_PEER, "a message from process %u is not one of Cairn's", frame->from);
    } else if (e->incarnation != p->incarnation && !(p->recover && is_timeless(e))) {
        drop_frame(p, frame);
    } else if (frame->from >= p->count && e->kind <= CAIRN_KIND_SNAPSHOT) {
        p->dropped++; /* a spare has no channels */
    } else {
        switch ((cairn_kind)e->kind) {
        case CAIRN_KIND_DATA:
            dispatch_message(p, frame, 0);
            break;
        case CAIRN_KIND_COLLECTIVE:
            dispatch_message(p, frame, 1);
            break;
        case CAIRN_KIND_SNAPSHOT:
            cairn_core_frame(p, frame);
            break;
        case CAIRN_KIND_CONTROL:
            dispatch_control(p, frame);
            break;
        case CAIRN_KIND_CONSENSUS:
            cairn_consensus_frame(p, frame);
            break;
        case CAIRN_KIND_COPY:
            cairn_copies_frame(p, frame, false);
            break;
        default:
            fail_for_good(p, CAIRN_E_PEER, "process %u sent a message of unknown kind %u", frame->from, e->kind);
        }
    }
    cairn_link_consume(p->link, frame);
}

/* Is incoming[at] whole? Then it is taken out of the list. */
static bool arrived(cairn_process *p, size_t at)
{
    node *n = p->incoming[at];

    if (!cairn_transfer_done(p->link, n->transfer)) {
        return false;
    }
    n->transfer = NULL;
    cairn_node_release(p, n);
    /* Order is kept: the payloads of one sender arrive in order, and the first one is asked first. */
    memmove(&p->incoming[at], &p->incoming[at + 1], (p->incoming_count - at - 1) * sizeof(node *));
    p->incoming_count--;
    return true;
}

bool cairn_arrived(cairn_process *p, const node *n)
{
    for (size_t i = 0; i < p->incoming_count; i++) {
        if (p->incoming[i] == n) {
            return arrived(p, i);
        }
    }
    return true;
}

static void drive_incoming(cairn_process *p)
{
    size_t i = 0;

    while (i < p->incoming_count) {
        i += arrived(p, i) ? 0 : 1;
    }
}

void cairn_drive(cairn_process *p)
{
    cairn_frame frame;
    double now = 0.0;

    while (cairn_link_poll_any(p->link, &frame)) {
        cairn_dispatch(p, &frame);
    }
    if (p->incoming_count > 0) {
        drive_incoming(p);
    }
    cairn_shell_drive(p);
    if (p->consensus != NULL) {
        now = cairn_now(); /* once for all below: a spinning wait comes here at every microsecond */
        cairn_consensus_drive(p, now);
    }
    if (__builtin_expect(p->survive, 0)) {
        cairn_lost_drive(p);
    }
    if (__builtin_expect(p->recovery != NULL, 0)) {
        cairn_recovery_drive(p, now);
        if (p->copies != NULL) {
            cairn_copies_drive(p);
        }
    }
    if (atomic_load_explicit(&p->tick, memory_order_relaxed)) {
        atomic_store_explicit(&p->tick, false, memory_order_relaxed);
        cairn_timers(p);
    }
}

cairn_status cairn_pause(cairn_process *p, waiting *w)
{
    p->waits = true;
    cairn_drive(p);
    p->waits = false;
    if (p->fatal != CAIRN_OK) {
        return p->fatal;
    }
    if (p->stopped) {
        return CAIRN_E_STOPPED;
    }
    w->passes++;
    w->rounds++;
    if (p->stir != w->stir && w->rounds > p->spin_rounds) {
        w->rounds = p->spin_rounds; /* something moves: more may follow at once, but it is no reason to spin again */
    }
    w->stir = p->stir;
    if (w->rounds < p->spin_rounds) {
        return CAIRN_OK;
    }
    if (w->since <= 0.0) {
        w->since = cairn_now();
        w->deadline = w->since + p->deadline;
    } else if ((w->passes & 15) == 0 && cairn_now() > w->deadline) {
        return CAIRN_E_TIMEOUT;
    }
    if (w->rounds < p->spin_rounds + YIELD_ROUNDS) {
        sched_yield();
    } else {
        uint32_t steps = (w->rounds - p->spin_rounds - YIELD_ROUNDS) / 8;
        long sleep = steps >= 5 ? SLEEP_MAX_NS : SLEEP_MIN_NS << steps;
        struct timespec t = {0, sleep < SLEEP_MAX_NS ? sleep : SLEEP_MAX_NS};

        nanosleep(&t, NULL);
    }
    return CAIRN_OK;
}

static void *service_main(void *argument)
{
    cairn_process *p = argument;

    while (!atomic_load(&p->service_stop)) {
        struct pollfd wake = {.fd = p->wake_fd, .events = POLLIN};
        int period = p->dozes                  ? SERVICE_PERIOD_SPARE_MS
                     : p->active || p->copying ? SERVICE_PERIOD_BUSY_MS
                                               : SERVICE_PERIOD_MS;
        bool woken = p->dozes ? poll(&wake, 1, period) > 0 : cairn_detector_pause(p, period, &wake);
        uint64_t count;

        if (wake.revents != 0) {
            woken = true;
            (void)!read(p->wake_fd, &count, sizeof count);
        }
        /* A job that has driven since the last round does without help, unless somebody asked for it. */
        if ((atomic_exchange_explicit(&p->tick, true, memory_order_relaxed) || woken) && service_enter(p)) {
            if (p->fatal == CAIRN_OK || p->fatal == CAIRN_E_ROLLBACK) {
                cairn_drive(p);
            }
            atomic_store_explicit(&p->wanted, 0, memory_order_release);
        }
    }
    return NULL;
}

bool cairn_service_start(cairn_process *p, cairn_error *error)
{
    sigset_t all;
    sigset_t old;
    int failed;

    (void)prctl(PR_SET_TIMERSLACK, (unsigned long)SLEEP_SLACK_NS); /* of the job's thread: see cairn_pause */
    p->fence = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0) {
        cairn_fail(error, CAIRN_E_IO, "eventfd: %s", strerror(errno));
        return false;
    }
    /* Signals are for the job's own thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&p->service, NULL, service_main, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0) {
        cairn_fail(error, CAIRN_E_NOMEM, "service thread: %s", strerror(failed));
        return false;
    }
    p->service_started = true;
    return true;
}

void cairn_service_wake(cairn_process *p)
{
    uint64_t one = 1;

    if (p->service_started) {
        (void)!write(p->wake_fd, &one, sizeof one);
    }
}

void cairn_service_end(cairn_process *p)
{
    uint64_t one = 1;

    if (!p->service_started) {
        return;
    }
    atomic_store(&p->service_stop, true);
    (void)!write(p->wake_fd, &one, sizeof one);
    pthread_join(p->service, NULL);
    p->service_started = false;
}

/* Once no thread is left that wakes the service: the number of a closed file may be that of a segment of the log. */
void cairn_service_close(cairn_process *p)
{
    if (p->wake_fd >= 0) {
        close(p->wake_fd);
        p->wake_fd = -1;
    }
}
