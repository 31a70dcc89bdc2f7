#include "channel/link_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An eager message of Open MPI's shared memory and TCP transports, less their own headers. */
#define SLOT_BYTES 4000
/* One MPI count is an int: longer payloads go in pieces. */
#define PIECE_BYTES ((size_t)1 << 30)
/* A process that is paused takes nothing, and what MPI keeps for it fills what MPI has room for in all: with shared memory
 * 512 fragments, and then this process can send to nobody (btl_vader_free_list_max). So every MARK_EVERY-th frame to a
 * peer is a synchronous send, done when the peer has it; with MARKS_MAX of them under way further frames wait here. */
#define MARK_EVERY    32
#define MARKS_MAX     3
#define CLOSE_ROUNDS  3000 /* of a millisecond, for what was said last to go out */
#define ENDED_ROUNDS  64   /* of an agreement, between two looks whether somebody has ended */
#define ENDED_SECONDS 0.5

struct cairn_transfer {
    uint32_t pieces;
    MPI_Request requests[];
};

static uint32_t ring_depth(uint32_t count)
{
    if (count <= 32) {
        return 32;
    }
    return count <= 256 ? 8 : 2;
}

/* The first processes of the launch by themselves; the spares get MPI_COMM_NULL. */
static cairn_status part_spares(cairn_link *link, uint32_t spares, cairn_error *error)
{
    link->agreeing = link->comm;
    link->processes = link->count;
    if (spares == 0) {
        return CAIRN_OK;
    }
    if (spares >= link->count) {
        return cairn_fail(error, CAIRN_E_INVALID, "%u spares, but only %u ranks in all", spares, link->count);
    }
    link->processes -= spares;
    if (MPI_Comm_split(link->comm, link->self < link->processes ? 0 : MPI_UNDEFINED, (int)link->self,
                       &link->agreeing) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Comm_split failed");
    }
    return CAIRN_OK;
}

static cairn_status begin_mpi(cairn_link *link, int *argc, char ***argv, cairn_error *error)
{
    int initialized = 0;
    int provided = MPI_THREAD_SINGLE;

    if (MPI_Initialized(&initialized) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Initialized failed");
    }
    if (!initialized) {
        /* With more processes than cores Open MPI gives the core away in every test that finds nothing: also in one
         * in passing, such as a safe point's, and then a writer thread has it for milliseconds. Cairn's own waits
         * yield and sleep. */
        (void)setenv("OMPI_MCA_mpi_yield_when_idle", "0", 0);
        if (MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
            return cairn_fail(error, CAIRN_E_MPI, "MPI_Init_thread failed");
        }
        link->owns_mpi = true;
    } else if (MPI_Query_thread(&provided) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Query_thread failed");
    }
    if (provided < (initialized ? MPI_THREAD_MULTIPLE : MPI_THREAD_SERIALIZED)) {
        return cairn_fail(error, CAIRN_E_MPI,
                          initialized ? "a job that begins MPI itself must ask for MPI_THREAD_MULTIPLE"
                                      : "this MPI gives no MPI_THREAD_SERIALIZED");
    }
    if (MPI_Comm_dup(MPI_COMM_WORLD, &link->comm) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Comm_dup failed");
    }
    MPI_Comm_set_errhandler(link->comm, MPI_ERRORS_RETURN);
    /* A send to nobody is done at once, and tells what a request looks like that needs no test. */
    if (MPI_Isend(NULL, 0, MPI_BYTE, MPI_PROC_NULL, TAG_FRAME, link->comm, &link->complete) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Isend failed");
    }
    return CAIRN_OK;
}

static char *slot(const cairn_link *link, const ring *r, uint32_t index)
{
    return r->slots + (size_t)index * link->slot_bytes;
}

/* Receives from the peer that outlets[peer] names. */
static cairn_status open_ring(cairn_link *link, uint32_t peer)
{
    ring *r = &link->rings[peer];

    r->requests = calloc(link->depth, sizeof *r->requests);
    r->slots = aligned_alloc(64, (size_t)link->depth * link->slot_bytes);
    if (r->requests == NULL || r->slots == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < link->depth; i++) {
        if (MPI_Recv_init(slot(link, r, i), (int)link->slot_bytes, MPI_BYTE, link->outlets[peer].rank, TAG_FRAME,
                          link->outlets[peer].comm, &r->requests[i]) != MPI_SUCCESS ||
            MPI_Start(&r->requests[i]) != MPI_SUCCESS) {
            return CAIRN_E_MPI;
        }
    }
    link->heads[peer] = r->requests[0];
    link->top = peer >= link->top ? peer + 1 : link->top;
    return CAIRN_OK;
}

cairn_status link_open_alone(cairn_link *link, uint32_t peer, MPI_Comm comm, cairn_error *error)
{
    cairn_status status;

    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    link->outlets[peer] = (outlet){.comm = comm, .rank = 0};
    status = open_ring(link, peer);
    return status == CAIRN_OK ? status : cairn_fail(error, status, "link to rank %u", peer);
}

cairn_status link_make_room(cairn_link *link, bool vectors, cairn_error *error)
{
    link->vector_bytes = vectors ? link->processes * sizeof(uint64_t) : 0;
    link->slot_bytes = SLOT_BYTES;
    if (link->vector_bytes > SLOT_BYTES / 2) {
        link->slot_bytes += link->vector_bytes;
    }
    link->slot_bytes = (link->slot_bytes + 63) / 64 * 64;
    link->depth = ring_depth(link->processes);
    link->rings = calloc(link->count, sizeof *link->rings);
    link->heads = calloc(link->count, sizeof(MPI_Request));
    link->outlets = calloc(link->count, sizeof *link->outlets);
    if (link->rings == NULL || link->heads == NULL || link->outlets == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "links to %u processes", link->count);
    }
    for (uint32_t i = 0; i < link->count; i++) {
        link->heads[i] = MPI_REQUEST_NULL;
        link->outlets[i] = (outlet){.comm = MPI_COMM_NULL, .rank = MPI_PROC_NULL};
    }
    return CAIRN_OK;
}

static cairn_status open_launch(cairn_link *link, const cairn_link_options *options, cairn_error *error)
{
    int rank = 0;
    int size = 0;
    cairn_status status;

    MPI_Comm_rank(link->comm, &rank);
    MPI_Comm_size(link->comm, &size);
    link->self = (uint32_t)rank;
    link->count = (uint32_t)size;
    status = part_spares(link, options->spares, error);
    link->count += status == CAIRN_OK ? options->later : 0;
    if (status == CAIRN_OK) {
        status = link_make_room(link, options->vectors, error);
    }
    for (uint32_t i = 0; status == CAIRN_OK && i < (uint32_t)size; i++) {
        link->outlets[i].comm = link->comm;
        link->outlets[i].rank = (int)i;
        if (i != link->self) {
            status = open_ring(link, i);
            if (status != CAIRN_OK) {
                return cairn_fail(error, status, "link to process %u", i);
            }
        }
    }
    return status;
}

cairn_status cairn_link_open(cairn_link **out, int *argc, char ***argv, const cairn_link_options *options,
                             cairn_error *error)
{
    cairn_link *link = calloc(1, sizeof *link);
    MPI_Comm parent = MPI_COMM_NULL;
    cairn_status status;

    if (link == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "link");
    }
    status = begin_mpi(link, argc, argv, error);
    if (status == CAIRN_OK && options->in_place) {
        MPI_Comm_get_parent(&parent);
        MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    }
    if (status == CAIRN_OK) {
        status = parent == MPI_COMM_NULL ? open_launch(link, options, error) : link_open_later(link, parent, error);
    }
    if (status == CAIRN_OK) {
        *out = link;
    }
    return status;
}

bool cairn_link_reaches(const cairn_link *link, uint32_t peer)
{
    return link->rings[peer].requests != NULL;
}

static void close_ring(cairn_link *link, ring *r)
{
    if (r->requests == NULL) {
        return;
    }
    for (uint32_t i = 0; i < link->depth; i++) {
        uint32_t behind = (r->head + link->depth - 1 - i) % link->depth;

        /* The `unposted` slots just before head are not active. */
        if (i >= r->unposted) {
            MPI_Cancel(&r->requests[behind]);
            MPI_Wait(&r->requests[behind], MPI_STATUS_IGNORE);
        }
        MPI_Request_free(&r->requests[behind]);
    }
    free(r->requests);
    free(r->slots);
}

/* Give a frame to MPI. *done: its buffer may be used again. last: no marks any more, nobody would wait for them. */
static cairn_status post(cairn_link *link, send_buffer *buffer, bool last, bool *done)
{
    outlet *o = &link->outlets[buffer->to];
    int tested = 0;
    int status;

    buffer->mark = ++o->unmarked >= MARK_EVERY && !last;
    if (buffer->mark) {
        o->unmarked = 0;
        o->marks++;
        status = MPI_Issend(buffer->bytes, buffer->length, MPI_BYTE, o->rank, TAG_FRAME, o->comm, &buffer->request);
    } else {
        status = MPI_Isend(buffer->bytes, buffer->length, MPI_BYTE, o->rank, TAG_FRAME, o->comm, &buffer->request);
    }
    if (status != MPI_SUCCESS) {
        return CAIRN_E_MPI;
    }
    /* Nearly always the bytes are out at once, and the same buffer serves the next message. */
    *done = buffer->request == link->complete;
    if (!*done) {
        MPI_Test(&buffer->request, &tested, MPI_STATUS_IGNORE);
        *done = tested != 0;
    }
    o->marks -= *done && buffer->mark ? 1 : 0;
    return CAIRN_OK;
}

static void keep(cairn_link *link, send_buffer *buffer, bool done)
{
    send_buffer **list = done ? &link->free_sends : &link->busy_sends;

    buffer->next = *list;
    *list = buffer;
}

/* All that waits for this peer, or only the newest frame of it. */
static void post_last(cairn_link *link, outlet *o, bool newest)
{
    while (o->first != NULL) {
        send_buffer *buffer = o->first;
        bool done = o->mute || (newest && buffer->next != NULL);

        o->first = buffer->next;
        if (!done && post(link, buffer, true, &done) != CAIRN_OK) {
            done = true;
        }
        keep(link, buffer, done);
    }
}

/* What was said last may be what a peer waits for. But one that has gone takes nothing, and nothing comes of a send to
 * it: such a buffer stays MPI's. */
static void send_last(cairn_link *link)
{
    const struct timespec pause = {0, 1000000};

    for (int i = 0; link->busy_sends != NULL; i++) {
        send_buffer **at = &link->busy_sends;

        while (*at != NULL) {
            send_buffer *buffer = *at;
            int done = 0;

            if (MPI_Test(&buffer->request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done && !buffer->mark &&
                i < CLOSE_ROUNDS) {
                at = &buffer->next;
            } else {
                *at = buffer->next;
            }
            if (done) {
                free(buffer);
            }
        }
        if (link->busy_sends != NULL) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

void cairn_link_close(cairn_link *link)
{
    bool owns_mpi;

    if (link == NULL) {
        return;
    }
    for (uint32_t i = 0; i < link->count; i++) {
        post_last(link, &link->outlets[i], false);
    }
    send_last(link);
    while (link->free_sends != NULL) {
        send_buffer *next = link->free_sends->next;

        free(link->free_sends);
        link->free_sends = next;
    }
    for (uint32_t i = 0; i < link->count; i++) {
        close_ring(link, &link->rings[i]);
    }
    if (link->lost == 0) {
        MPI_Comm_free(&link->comm);
    }
    owns_mpi = link->owns_mpi;
    free(link->rings);
    free(link->heads);
    free(link->outlets);
    free(link);
    if (owns_mpi) {
        MPI_Finalize();
    }
}

void cairn_link_lose(cairn_link *link, uint32_t peer)
{
    ring *r = &link->rings[peer];
    send_buffer **at = &link->busy_sends;

    if (peer == link->self || r->requests == NULL) {
        return;
    }
    post_last(link, &link->outlets[peer], true);
    while (*at != NULL) {
        if ((*at)->to == peer) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
    memset(r, 0, sizeof *r);
    link->outlets[peer] = (outlet){.comm = MPI_COMM_NULL, .rank = MPI_PROC_NULL};
    link->heads[peer] = MPI_REQUEST_NULL;
    link->lost++;
}

void cairn_link_carry(cairn_link *link, uint32_t process, uint32_t spare)
{
    cairn_link_lose(link, process);
    link->rings[process] = link->rings[spare];
    link->heads[process] = link->heads[spare];
    link->outlets[process] = link->outlets[spare];
    memset(&link->rings[spare], 0, sizeof(ring));
    link->heads[spare] = MPI_REQUEST_NULL;
    link->outlets[spare] = (outlet){.comm = MPI_COMM_NULL, .rank = MPI_PROC_NULL};
    for (send_buffer *b = link->busy_sends; b != NULL; b = b->next) {
        b->to = b->to == spare ? process : b->to;
    }
    for (send_buffer *b = link->outlets[process].first; b != NULL; b = b->next) {
        b->to = process;
    }
    if (link->self == spare) {
        link->self = process;
    }
}

void cairn_link_mute(cairn_link *link, uint32_t peer)
{
    link->outlets[peer].mute = true;
}

bool cairn_link_takes(const cairn_link *link, uint32_t peer)
{
    return link->rings[peer].requests != NULL && !link->outlets[peer].mute;
}

void cairn_link_part(cairn_link *link)
{
    link->processes_only = true;
}

uint32_t cairn_link_self(const cairn_link *link)
{
    return link->self;
}

uint32_t cairn_link_count(const cairn_link *link)
{
    return link->count;
}

uint32_t cairn_link_processes(const cairn_link *link)
{
    return link->processes;
}

size_t cairn_link_frame_max(const cairn_link *link)
{
    return link->slot_bytes - sizeof(cairn_envelope) - link->vector_bytes;
}

void cairn_link_abort(cairn_link *link, int code)
{
    MPI_Abort(link == NULL ? MPI_COMM_WORLD : link->comm, code);
    _Exit(code);
}

/* What waited for the peer to take something. */
static void post_waiting(cairn_link *link, outlet *o)
{
    while (o->first != NULL && o->marks < MARKS_MAX) {
        send_buffer *buffer = o->first;
        bool done = false;

        if (post(link, buffer, false, &done) != CAIRN_OK) {
            return; /* once more at the next time; whoever waits for it has a deadline */
        }
        o->first = buffer->next;
        o->backlog -= done ? 1 : 0;
        keep(link, buffer, done);
    }
}

/* Take back the send buffers whose messages are out. */
static void reap_sends(cairn_link *link)
{
    send_buffer **at = &link->busy_sends;
    bool marked = false;

    while (*at != NULL) {
        send_buffer *buffer = *at;
        int done = 0;

        MPI_Test(&buffer->request, &done, MPI_STATUS_IGNORE);
        if (done) {
            *at = buffer->next;
            link->outlets[buffer->to].backlog--;
            link->outlets[buffer->to].marks -= buffer->mark ? 1 : 0;
            marked = marked || buffer->mark;
            keep(link, buffer, true);
        } else {
            at = &buffer->next;
        }
    }
    for (uint32_t i = 0; marked && i < link->count; i++) {
        if (link->outlets[i].first != NULL) {
            post_waiting(link, &link->outlets[i]);
        }
    }
}

static send_buffer *new_buffer(cairn_link *link)
{
    send_buffer *buffer = link->free_sends;

    if (buffer == NULL && link->busy_sends != NULL) {
        reap_sends(link);
        buffer = link->free_sends;
    }
    if (buffer == NULL) {
        buffer = malloc(sizeof *buffer + link->slot_bytes);
        if (buffer != NULL) {
            keep(link, buffer, true);
        }
    }
    return buffer;
}

cairn_status cairn_link_send(cairn_link *link, uint32_t to, const cairn_envelope *envelope, const uint64_t *vector,
                             const void *payload)
{
    outlet *o = &link->outlets[to];
    size_t bytes = (envelope->flags & CAIRN_FLAG_LONG) != 0 ? 0 : (size_t)envelope->bytes;
    size_t length = sizeof *envelope;
    send_buffer *buffer;
    bool done = false;

    if (__builtin_expect(link->rings[to].requests == NULL || o->mute, 0)) {
        return CAIRN_OK; /* it is lost */
    }
    buffer = new_buffer(link);
    if (buffer == NULL) {
        return CAIRN_E_NOMEM;
    }
    memcpy(buffer->bytes, envelope, sizeof *envelope);
    if (link->vector_bytes != 0 && vector != NULL) {
        memcpy(buffer->bytes + length, vector, link->vector_bytes);
        length += link->vector_bytes;
    }
    if (bytes != 0) {
        memcpy(buffer->bytes + length, payload, bytes);
        length += bytes;
    }
    buffer->length = (int)length;
    buffer->to = to;
    if (__builtin_expect(o->first != NULL || o->marks == MARKS_MAX, 0)) {
        link->free_sends = buffer->next;
        buffer->next = NULL;
        *(o->first != NULL ? &o->last->next : &o->first) = buffer;
        o->last = buffer;
        o->backlog++;
        return CAIRN_OK;
    }
    if (post(link, buffer, false, &done) != CAIRN_OK) {
        return CAIRN_E_MPI;
    }
    if (!done) {
        link->free_sends = buffer->next;
        o->backlog++;
        keep(link, buffer, false);
    }
    return CAIRN_OK;
}

uint32_t cairn_link_backlog(const cairn_link *link, uint32_t to)
{
    return link->outlets[to].backlog;
}

static cairn_transfer *new_transfer(size_t bytes)
{
    size_t pieces = (bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    cairn_transfer *transfer = malloc(sizeof *transfer + pieces * sizeof(MPI_Request));

    if (transfer != NULL) {
        transfer->pieces = (uint32_t)pieces;
    }
    return transfer;
}

static int piece_bytes(size_t bytes, uint32_t piece)
{
    size_t left = bytes - (size_t)piece * PIECE_BYTES;

    return (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
}

cairn_status cairn_link_send_long(cairn_link *link, uint32_t to, const void *data, size_t bytes, cairn_transfer **out)
{
    cairn_transfer *transfer = new_transfer(bytes);

    if (transfer == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < transfer->pieces; i++) {
        if (MPI_Isend((const char *)data + (size_t)i * PIECE_BYTES, piece_bytes(bytes, i), MPI_BYTE,
                      link->outlets[to].rank, TAG_PAYLOAD, link->outlets[to].comm,
                      &transfer->requests[i]) != MPI_SUCCESS) {
            return CAIRN_E_MPI;
        }
    }
    *out = transfer;
    return CAIRN_OK;
}

cairn_status cairn_link_receive_long(cairn_link *link, uint32_t from, void *data, size_t bytes, cairn_transfer **out)
{
    cairn_transfer *transfer = new_transfer(bytes);

    if (transfer == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < transfer->pieces; i++) {
        if (MPI_Irecv((char *)data + (size_t)i * PIECE_BYTES, piece_bytes(bytes, i), MPI_BYTE, link->outlets[from].rank,
                      TAG_PAYLOAD, link->outlets[from].comm, &transfer->requests[i]) != MPI_SUCCESS) {
            return CAIRN_E_MPI;
        }
    }
    *out = transfer;
    return CAIRN_OK;
}

bool cairn_transfer_done(cairn_link *link, cairn_transfer *transfer)
{
    int done = 0;

    (void)link;
    if (transfer->pieces == 1) {
        MPI_Test(&transfer->requests[0], &done, MPI_STATUS_IGNORE);
    } else {
        MPI_Testall((int)transfer->pieces, transfer->requests, &done, MPI_STATUSES_IGNORE);
    }
    if (done) {
        free(transfer);
    }
    return done != 0;
}

/* Post the consumed slots again, oldest first, so that the ring's order stays the order of matching. */
static void repost(cairn_link *link, ring *r)
{
    while (r->unposted > 0) {
        uint32_t index = (r->head + link->depth - r->unposted) % link->depth;

        MPI_Start(&r->requests[index]);
        r->unposted--;
    }
}

static void open_frame(const cairn_link *link, uint32_t from, cairn_frame *frame)
{
    const ring *r = &link->rings[from];
    const char *bytes = slot(link, r, r->head);

    frame->from = from;
    frame->envelope = (const cairn_envelope *)(const void *)bytes;
    frame->vector = link->vector_bytes == 0 ? NULL : (const uint64_t *)(const void *)(bytes + sizeof(cairn_envelope));
    frame->payload = bytes + sizeof(cairn_envelope) + link->vector_bytes;
}

bool cairn_link_poll(cairn_link *link, uint32_t from, cairn_frame *frame)
{
    ring *r = &link->rings[from];
    int done = 0;

    if (r->requests == NULL) {
        return false; /* this process, or a lost one */
    }
    if (r->unposted > link->depth / 2) {
        repost(link, r);
    }
    MPI_Test(&r->requests[r->head], &done, MPI_STATUS_IGNORE);
    if (!done) {
        repost(link, r);
        if (link->busy_sends != NULL) {
            reap_sends(link);
        }
        return false;
    }
    open_frame(link, from, frame);
    return true;
}

bool cairn_link_poll_any(cairn_link *link, cairn_frame *frame)
{
    int index = MPI_UNDEFINED;
    int done = 0;

    if (link->top == 0) {
        return false;
    }
    MPI_Testany((int)link->top, link->heads, &index, &done, MPI_STATUS_IGNORE);
    if (!done || index == MPI_UNDEFINED) {
        for (uint32_t i = 0; i < link->top; i++) {
            if (link->rings[i].unposted > 0) {
                repost(link, &link->rings[i]);
            }
        }
        if (link->busy_sends != NULL) {
            reap_sends(link);
        }
        return false;
    }
    open_frame(link, (uint32_t)index, frame);
    return true;
}

void cairn_link_consume(cairn_link *link, const cairn_frame *frame)
{
    ring *r = &link->rings[frame->from];

    r->head = (r->head + 1) % link->depth;
    r->unposted++;
    if (r->unposted == link->depth) {
        repost(link, r);
    }
    link->heads[frame->from] = r->requests[r->head];
}

void cairn_link_set_idle(cairn_link *link, void (*idle)(void *context), void *context)
{
    link->idle = idle;
    link->idle_context = context;
}

void cairn_link_set_ended(cairn_link *link, uint32_t (*ended)(void *context), void *context)
{
    link->ended = ended;
    link->ended_context = context;
}

static cairn_status finish(cairn_link *link, MPI_Request *request, double seconds, const char *what, cairn_error *error)
{
    struct timespec pause = {0, 20000};
    double end = MPI_Wtime() + seconds;
    uint32_t ended = UINT32_MAX;
    int done = 0;

    for (uint32_t rounds = 1;; rounds++) {
        if (MPI_Test(request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            return cairn_fail(error, CAIRN_E_MPI, "%s: MPI failed", what);
        }
        if (done) {
            return CAIRN_OK;
        }
        if (MPI_Wtime() > end && ended != UINT32_MAX) {
            return cairn_fail(error, CAIRN_E_PEER, "rank %u has ended: %s", ended, what);
        }
        if (MPI_Wtime() > end) {
            return cairn_fail(error, CAIRN_E_TIMEOUT, "waited %.0f s for all processes: %s", seconds, what);
        }
        if (link->ended != NULL && ended == UINT32_MAX && rounds % ENDED_ROUNDS == 0 &&
            (ended = link->ended(link->ended_context)) != UINT32_MAX && MPI_Wtime() + ENDED_SECONDS < end) {
            end = MPI_Wtime() + ENDED_SECONDS; /* it may have done its share before */
        }
        if (link->idle != NULL) {
            link->idle(link->idle_context);
        }
        nanosleep(&pause, NULL);
    }
}

static MPI_Comm agreeing(const cairn_link *link)
{
    return link->processes_only ? link->agreeing : link->comm;
}

cairn_status cairn_link_broadcast(cairn_link *link, void *data, size_t bytes, double seconds, const char *what,
                                  cairn_error *error)
{
    MPI_Request request;

    if (MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, agreeing(link), &request) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "%s: MPI_Ibcast failed", what);
    }
    return finish(link, &request, seconds, what, error);
}

cairn_status cairn_link_max(cairn_link *link, uint64_t *value, double seconds, const char *what, cairn_error *error)
{
    uint64_t mine = *value;
    MPI_Request request;

    if (MPI_Iallreduce(&mine, value, 1, MPI_UINT64_T, MPI_MAX, agreeing(link), &request) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "%s: MPI_Iallreduce failed", what);
    }
    return finish(link, &request, seconds, what, error);
}

cairn_status cairn_link_gather(cairn_link *link, uint64_t value, uint64_t *values, double seconds, const char *what,
                               cairn_error *error)
{
    MPI_Request request;

    if (MPI_Iallgather(&value, 1, MPI_UINT64_T, values, 1, MPI_UINT64_T, agreeing(link), &request) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "%s: MPI_Iallgather failed", what);
    }
    return finish(link, &request, seconds, what, error);
}
