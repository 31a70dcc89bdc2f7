#include "coord/socket_server.h"

#include "base/durable.h"
#include "base/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_MAX  256
#define OPEN_MAX    1024u             /* questions of a client                        */
#define QUEUED_MAX  (64u << 20)       /* bytes that nobody has taken yet, of all      */
#define UNREAD_MAX  (16u << 20)       /* answers that a client has not read: another closes it */
#define READ_BYTES  (64u * 1024)      /* of one client at a time                      */
#define FIXED_POLLS 2                 /* the listening socket, and our own eventfd    */
#define KEEP_BYTES  (4u * READ_BYTES) /* of an empty buffer                         */

typedef struct buffer {
    uint8_t *data;
    size_t at, bytes, room; /* bytes: from the start of data */
} buffer;

typedef struct client {
    int fd; /* -1: free */
    uint64_t name;
    uint64_t heard; /* `turn` when it last spoke */
    uint32_t open;
    bool full; /* there may be whole frames in `in`, but too many questions are open */
    buffer in, out;
} client;

typedef struct answer {
    struct answer *next;
    uint64_t client, id;
    bool last;
    size_t bytes;
    uint8_t data[];
} answer;

struct cairn_server {
    pthread_t thread;
    pthread_mutex_t mutex;
    int folder_fd, listen_fd, own_fd, wake_fd;
    char name[CAIRN_SOCKET_NAME_BYTES];
    atomic_bool stop, news;
    cairn_server_frame *frames, **frames_end; /* under mutex */
    size_t queued;                            /* under mutex: bytes of frames */
    answer *answers, **answers_end;           /* under mutex */
    uint64_t serial, turn;
    client clients[CLIENT_MAX];
    struct pollfd polls[FIXED_POLLS + CLIENT_MAX];
};

static void wake(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof one);
}

/* ---------------------------------------------------------------- buffers */

static bool make_room(buffer *b, size_t bytes)
{
    size_t room = b->room;
    uint8_t *data;

    if (b->at > 0 && (b->at == b->bytes || b->bytes + bytes > b->room)) {
        memmove(b->data, b->data + b->at, b->bytes - b->at);
        b->bytes -= b->at;
        b->at = 0;
    }
    if (b->bytes + bytes <= b->room) {
        return true;
    }
    while (room < b->bytes + bytes) {
        room = room == 0 ? 4096 : room * 2;
    }
    data = realloc(b->data, room);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

static void free_buffer(buffer *b)
{
    free(b->data);
    *b = (buffer){0};
}

/* What once held much need not hold it for ever. */
static void shrink(buffer *b)
{
    if (b->at == b->bytes) {
        b->at = b->bytes = 0;
        if (b->room > KEEP_BYTES) {
            free_buffer(b);
        }
    }
}

/* ---------------------------------------------------------------- the two queues */

static bool push_frame(cairn_server *s, cairn_server_what what, uint64_t name, uint64_t id, const void *data,
                       size_t bytes)
{
    cairn_server_frame *frame = malloc(sizeof *frame + bytes);

    if (frame == NULL) {
        return false;
    }
    *frame = (cairn_server_frame){.what = what, .client = name, .id = id, .bytes = bytes};
    if (bytes > 0) {
        memcpy(frame->data, data, bytes);
    }
    (void)pthread_mutex_lock(&s->mutex);
    *s->frames_end = frame;
    s->frames_end = &frame->next;
    s->queued += bytes;
    (void)pthread_mutex_unlock(&s->mutex);
    if (!atomic_exchange(&s->news, true)) {
        wake(s->wake_fd);
    }
    return true;
}

cairn_server_frame *cairn_server_take(cairn_server *s)
{
    cairn_server_frame *frames;
    bool waiting;

    if (!atomic_load_explicit(&s->news, memory_order_relaxed) || !atomic_exchange(&s->news, false)) {
        return NULL;
    }
    (void)pthread_mutex_lock(&s->mutex);
    frames = s->frames;
    waiting = s->queued > QUEUED_MAX;
    s->frames = NULL;
    s->frames_end = &s->frames;
    s->queued = 0;
    (void)pthread_mutex_unlock(&s->mutex);
    if (waiting) {
        wake(s->own_fd);
    }
    return frames;
}

void cairn_server_answer(cairn_server *s, uint64_t name, uint64_t id, const void *data, size_t bytes, bool last)
{
    answer *a = malloc(sizeof *a + bytes);
    bool first;

    if (a == NULL) {
        return; /* the client asks another process */
    }
    *a = (answer){.client = name, .id = id, .last = last, .bytes = bytes};
    if (bytes > 0) {
        memcpy(a->data, data, bytes);
    }
    (void)pthread_mutex_lock(&s->mutex);
    first = s->answers == NULL;
    *s->answers_end = a;
    s->answers_end = &a->next;
    (void)pthread_mutex_unlock(&s->mutex);
    if (first) {
        wake(s->own_fd);
    }
}

/* ---------------------------------------------------------------- clients */

static void close_client(cairn_server *s, client *c)
{
    close(c->fd);
    c->fd = -1;
    free_buffer(&c->in);
    free_buffer(&c->out);
    /* Short of memory nobody is told: what it asked is answered to nobody. */
    (void)push_frame(s, CAIRN_SERVER_GONE, c->name, 0, NULL, 0);
}

/* A free place, or that of the client that was silent for the longest time and waits for nothing. */
static client *find_place(cairn_server *s)
{
    client *found = NULL;

    for (size_t i = 0; i < CLIENT_MAX; i++) {
        client *c = &s->clients[i];

        if (c->fd < 0) {
            return c;
        }
        if (c->open == 0 && (found == NULL || c->heard < found->heard)) {
            found = c;
        }
    }
    if (found != NULL) {
        close_client(s, found);
    }
    return found;
}

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static void accept_client(cairn_server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    client *c = fd < 0 || !is_ours(fd) ? NULL : find_place(s);

    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        struct timespec pause = {.tv_nsec = 10000000};

        (void)nanosleep(&pause, NULL); /* no descriptors are left: whoever knocks is still there after a while */
    }

    if (c == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    *c = (client){.fd = fd, .heard = s->turn, .name = ++s->serial * CLIENT_MAX + (uint64_t)(c - s->clients)};
}

static size_t queued(cairn_server *s)
{
    size_t bytes;

    (void)pthread_mutex_lock(&s->mutex);
    bytes = s->queued;
    (void)pthread_mutex_unlock(&s->mutex);
    return bytes;
}

/* Pass on the whole frames of a client. false: it is not one of ours, or memory is short. */
static bool take_frames(cairn_server *s, client *c)
{
    buffer *in = &c->in;

    c->full = false;
    while (in->bytes - in->at >= CAIRN_SOCKET_HEAD) {
        cairn_unpack from = {.data = in->data + in->at, .bytes = in->bytes - in->at};
        uint32_t length = cairn_unpack_u32(&from);
        uint64_t id = cairn_unpack_u64(&from);

        if (length < CAIRN_SOCKET_ID || length > CAIRN_SOCKET_REQUEST_MAX) {
            return false;
        }
        if (in->bytes - in->at - CAIRN_SOCKET_HEAD < length) {
            break;
        }
        if (length > CAIRN_SOCKET_ID && c->open >= OPEN_MAX) {
            c->full = true;
            break;
        }
        c->open += length > CAIRN_SOCKET_ID ? 1 : 0;
        if (!push_frame(s, length > CAIRN_SOCKET_ID ? CAIRN_SERVER_ASKED : CAIRN_SERVER_BACK, c->name, id,
                        from.data + from.at, length - CAIRN_SOCKET_ID)) {
            return false;
        }
        in->at += CAIRN_SOCKET_HEAD + length;
    }
    shrink(in);
    return true;
}

static void read_client(cairn_server *s, client *c)
{
    ssize_t got;

    if (!make_room(&c->in, READ_BYTES)) {
        close_client(s, c);
        return;
    }
    got = recv(c->fd, c->in.data + c->in.bytes, READ_BYTES, 0);
    if (got > 0) {
        c->in.bytes += (size_t)got;
        c->heard = ++s->turn;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || !take_frames(s, c)) {
        close_client(s, c);
    }
}

static void write_client(cairn_server *s, client *c)
{
    while (c->out.at < c->out.bytes) {
        ssize_t sent = send(c->fd, c->out.data + c->out.at, c->out.bytes - c->out.at, MSG_NOSIGNAL);

        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                close_client(s, c);
            }
            return;
        }
        c->out.at += (size_t)sent;
    }
    shrink(&c->out);
}

static uint8_t *put_uint(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        *at++ = (uint8_t)(value >> (8 * i));
    }
    return at;
}

static void put_answer(cairn_server *s, const answer *a)
{
    client *c = &s->clients[a->client % CLIENT_MAX];
    size_t length = CAIRN_SOCKET_ID + a->bytes;
    uint8_t *at;

    if (c->fd < 0 || c->name != a->client) {
        return;
    }
    c->open -= a->last && c->open > 0 ? 1 : 0;
    if (a->bytes == 0) {
        return;
    }
    if (c->out.bytes - c->out.at > UNREAD_MAX || length > CAIRN_SOCKET_ANSWER_MAX ||
        !make_room(&c->out, CAIRN_SOCKET_HEAD + length)) {
        close_client(s, c);
        return;
    }
    at = put_uint(c->out.data + c->out.bytes, length, CAIRN_SOCKET_HEAD);
    at = put_uint(at, a->id, CAIRN_SOCKET_ID);
    memcpy(at, a->data, a->bytes);
    c->out.bytes += CAIRN_SOCKET_HEAD + length;
}

static void take_answers(cairn_server *s)
{
    answer *answers;

    (void)pthread_mutex_lock(&s->mutex);
    answers = s->answers;
    s->answers = NULL;
    s->answers_end = &s->answers;
    (void)pthread_mutex_unlock(&s->mutex);
    while (answers != NULL) {
        answer *next = answers->next;

        put_answer(s, answers);
        free(answers);
        answers = next;
    }
    for (size_t i = 0; i < CLIENT_MAX; i++) {
        client *c = &s->clients[i];

        if (c->fd >= 0 && c->out.at < c->out.bytes) {
            write_client(s, c);
        }
        if (c->fd >= 0 && c->full && c->open < OPEN_MAX && !take_frames(s, c)) {
            close_client(s, c);
        }
    }
}

/* ---------------------------------------------------------------- the thread */

static void wait_for_events(cairn_server *s)
{
    bool listening = queued(s) <= QUEUED_MAX;

    s->polls[0] = (struct pollfd){.fd = s->own_fd, .events = POLLIN};
    s->polls[1] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < CLIENT_MAX; i++) {
        client *c = &s->clients[i];
        bool reads = listening && !c->full;
        bool writes = c->fd >= 0 && c->out.at < c->out.bytes;

        s->polls[FIXED_POLLS + i] =
            (struct pollfd){.fd = c->fd, .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0))};
    }
    while (poll(s->polls, FIXED_POLLS + CLIENT_MAX, -1) < 0 && errno == EINTR) {
    }
}

static void *server_main(void *argument)
{
    cairn_server *s = argument;

    while (!atomic_load(&s->stop)) {
        wait_for_events(s);
        for (size_t i = 0; i < CLIENT_MAX; i++) {
            client *c = &s->clients[i];
            short events = s->polls[FIXED_POLLS + i].revents;

            if (c->fd >= 0 && (events & POLLOUT) != 0) {
                write_client(s, c);
            }
            if (c->fd >= 0 && (events & POLLIN) != 0) {
                read_client(s, c);
            } else if (c->fd >= 0 && (events & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
                close_client(s, c);
            }
        }
        if (s->polls[0].revents != 0) {
            uint64_t count;

            (void)!read(s->own_fd, &count, sizeof count);
            take_answers(s);
        }
        if ((s->polls[1].revents & POLLIN) != 0) {
            accept_client(s);
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- start and end */

static cairn_status listen_at(cairn_server *s, const char *folder, cairn_error *error)
{
    struct sockaddr_un address;
    cairn_status status;

    s->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->folder_fd < 0) {
        return cairn_fail_errno(error, errno, folder, "open");
    }
    status = cairn_socket_address(&address, s->folder_fd, folder, s->name, error);
    if (status != CAIRN_OK) {
        return status;
    }
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->listen_fd < 0) {
        return cairn_fail_errno(error, errno, folder, "socket");
    }
    (void)unlinkat(s->folder_fd, s->name, 0);
    /* The mode that a socket has before it is bound is the one of its file: it is never open to others. */
    if (fchmod(s->listen_fd, S_IRUSR | S_IWUSR) != 0 ||
        bind(s->listen_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(s->listen_fd, CLIENT_MAX) != 0) {
        return cairn_fail_errno(error, errno, address.sun_path, "listen at this socket");
    }
    return CAIRN_OK;
}

static void free_server(cairn_server *s)
{
    const int fds[] = {s->listen_fd, s->folder_fd, s->own_fd};

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    while (s->frames != NULL) {
        cairn_server_frame *next = s->frames->next;

        free(s->frames);
        s->frames = next;
    }
    while (s->answers != NULL) {
        answer *next = s->answers->next;

        free(s->answers);
        s->answers = next;
    }
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

cairn_status cairn_server_start(cairn_server **out, const char *folder, uint32_t process, int wake_fd,
                                cairn_error *error)
{
    cairn_server *s = calloc(1, sizeof *s);
    sigset_t all, old;
    cairn_status status;
    int failed;

    *out = NULL;
    if (s == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: a socket", folder);
    }
    s->folder_fd = s->listen_fd = -1;
    s->wake_fd = wake_fd;
    s->frames_end = &s->frames;
    s->answers_end = &s->answers;
    for (size_t i = 0; i < CLIENT_MAX; i++) {
        s->clients[i].fd = -1;
    }
    (void)pthread_mutex_init(&s->mutex, NULL);
    cairn_socket_name(s->name, process);
    s->own_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status = s->own_fd < 0 ? cairn_fail_errno(error, errno, folder, "eventfd") : listen_at(s, folder, error);
    if (status != CAIRN_OK) {
        free_server(s);
        return status;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&s->thread, NULL, server_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0) {
        (void)unlinkat(s->folder_fd, s->name, 0);
        free_server(s);
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: the socket's thread: %s", folder, strerror(failed));
    }
    *out = s;
    return CAIRN_OK;
}

void cairn_server_end(cairn_server *s)
{
    if (s == NULL) {
        return;
    }
    (void)unlinkat(s->folder_fd, s->name, 0);
    atomic_store(&s->stop, true);
    wake(s->own_fd);
    (void)pthread_join(s->thread, NULL);
    take_answers(s); /* the last ones may still go out */
    for (size_t i = 0; i < CLIENT_MAX; i++) {
        if (s->clients[i].fd >= 0) {
            close_client(s, &s->clients[i]);
        }
    }
    free_server(s);
}
