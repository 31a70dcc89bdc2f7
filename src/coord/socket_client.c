#include "coord/socket_client.h"

#include "base/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS     0.7 /* longer than an election; doubled with each process that is silent, up to 4 times */
#define PATIENCE_DOUBLES_MAX 2u
#define RETRY_SECONDS        0.05
#define READ_BYTES           (64u * 1024)
#define LEFT_PAUSE_NS        20000000 /* all of them may have left */

typedef struct question {
    bool open, patient, watch;
    uint64_t id;
    double sent; /* on this connection */
    cairn_pack request;
} question;

struct cairn_client {
    char dir[CAIRN_PATH_BYTES];
    int folder_fd, fd;
    uint32_t process; /* that is connected, or was last */
    bool reached, tried;
    unsigned silent; /* processes in a row that did not answer */
    uint64_t serial;
    question questions[CAIRN_CLIENT_SLOTS];
    cairn_pack in, out;
    size_t taken; /* of `in`: the frame that was given to the caller */
    size_t sent;  /* of `out` */
    double heard; /* when bytes came last */
    cairn_storage storage;
    char trouble[500];
};

double cairn_client_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

cairn_status cairn_client_open(cairn_client **out, const char *dir, cairn_error *error)
{
    cairn_client *c = calloc(1, sizeof *c);

    *out = NULL;
    if (c == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: a client", dir);
    }
    (void)snprintf(c->dir, sizeof c->dir, "%s", dir);
    c->fd = -1;
    c->folder_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->folder_fd < 0) {
        int failed = errno;

        free(c);
        return cairn_fail_errno(error, failed, dir, "open");
    }
    *out = c;
    return CAIRN_OK;
}

static void disconnect(cairn_client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->in.bytes = c->out.bytes = 0;
    c->taken = c->sent = 0;
}

void cairn_client_close(cairn_client *c)
{
    if (c == NULL) {
        return;
    }
    disconnect(c);
    close(c->folder_fd);
    for (size_t i = 0; i < CAIRN_CLIENT_SLOTS; i++) {
        free(c->questions[i].request.data);
    }
    free(c->in.data);
    free(c->out.data);
    cairn_storage_free(&c->storage);
    free(c);
}

const char *cairn_client_trouble(const cairn_client *c)
{
    return c->trouble;
}

/* ---------------------------------------------------------------- questions */

/* Put a question, or that it is withdrawn, into `out`. */
static void queue_frame(cairn_client *c, uint64_t id, const cairn_pack *request)
{
    size_t bytes = request == NULL ? 0 : request->bytes;

    if (c->fd < 0) {
        return;
    }
    cairn_pack_u32(&c->out, (uint32_t)(CAIRN_SOCKET_ID + bytes));
    cairn_pack_u64(&c->out, id);
    cairn_pack_bytes(&c->out, request == NULL ? NULL : request->data, bytes);
}

static void send_question(cairn_client *c, question *q)
{
    q->sent = cairn_client_now();
    queue_frame(c, q->id, &q->request);
}

void cairn_client_withdraw(cairn_client *c, unsigned slot)
{
    question *q = &c->questions[slot];

    if (q->open) {
        q->open = false;
        queue_frame(c, q->id, NULL);
    }
}

cairn_status cairn_client_amend(cairn_client *c, unsigned slot, const cairn_question *request)
{
    question *q = &c->questions[slot];

    q->request.bytes = 0;
    cairn_request_encode(&q->request, request);
    return cairn_pack_ok(&q->request) ? CAIRN_OK : CAIRN_E_NOMEM;
}

cairn_status cairn_client_ask(cairn_client *c, unsigned slot, const cairn_question *request, bool patient)
{
    question *q = &c->questions[slot];

    cairn_client_withdraw(c, slot);
    if (cairn_client_amend(c, slot, request) != CAIRN_OK) {
        return CAIRN_E_NOMEM;
    }
    q->open = true;
    q->patient = patient;
    q->watch = request->op == CAIRN_OP_WATCH;
    q->id = ++c->serial;
    send_question(c, q);
    return cairn_pack_ok(&c->out) ? CAIRN_OK : CAIRN_E_NOMEM;
}

/* ---------------------------------------------------------------- connecting */

/* The processes that have a socket in DIR, in order; returns how many (at most `most`). */
static size_t list_processes(const cairn_client *c, uint32_t *list, size_t most)
{
    DIR *folder = opendir(c->dir);
    struct dirent *entry;
    size_t count = 0;

    while (folder != NULL && count < most && (entry = readdir(folder)) != NULL) {
        uint32_t process;

        if (cairn_socket_process(entry->d_name, &process)) {
            size_t at = count++;

            while (at > 0 && list[at - 1] > process) {
                list[at] = list[at - 1];
                at--;
            }
            list[at] = process;
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return count;
}

static bool connect_to(cairn_client *c, uint32_t process)
{
    char name[CAIRN_SOCKET_NAME_BYTES];
    struct sockaddr_un address;
    cairn_error error;
    int fd;

    cairn_socket_name(name, process);
    if (cairn_socket_address(&address, c->folder_fd, c->dir, name, &error) != CAIRN_OK) {
        (void)snprintf(c->trouble, sizeof c->trouble, "%s", error.text);
        return false;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        if (!c->reached) { /* later a dead process is nothing special */
            (void)snprintf(c->trouble, sizeof c->trouble, "process %u: %s", process, strerror(errno));
        }
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    c->fd = fd;
    c->process = process;
    c->reached = true;
    for (size_t i = 0; i < CAIRN_CLIENT_SLOTS; i++) {
        if (c->questions[i].open) {
            send_question(c, &c->questions[i]);
        }
    }
    return true;
}

/* The next process that can be connected, in a circle from the one before. */
static bool connect_next(cairn_client *c)
{
    uint32_t list[512];
    size_t count = list_processes(c, list, sizeof list / sizeof list[0]);
    size_t first = 0;

    if (!c->tried && count > 0) {
        first = (size_t)getpid() % count; /* not everybody asks process 0 */
    }
    while (c->tried && first < count && list[first] <= c->process) {
        first++;
    }
    c->tried = true;
    for (size_t i = 0; i < count; i++) {
        if (connect_to(c, list[(first + i) % count])) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- waiting */

/* When the process that is asked has been silent for too long; infinite when nothing is asked that takes no time. */
static double stalls_at(const cairn_client *c)
{
    unsigned doubles = c->silent < PATIENCE_DOUBLES_MAX ? c->silent : PATIENCE_DOUBLES_MAX;
    double at = INFINITY;

    for (size_t i = 0; i < CAIRN_CLIENT_SLOTS; i++) {
        const question *q = &c->questions[i];

        if (q->open && !q->patient) {
            /* A long answer that is coming in is no silence. */
            double since = c->in.bytes > 0 ? fmax(q->sent, c->heard) : q->sent;

            at = fmin(at, since + PATIENCE_SECONDS * (double)(1u << doubles));
        }
    }
    return at;
}

static void lose(cairn_client *c, const char *what)
{
    (void)snprintf(c->trouble, sizeof c->trouble, "process %u %s", c->process, what);
    disconnect(c);
}

static void transfer(cairn_client *c, short events)
{
    if (c->sent < c->out.bytes) {
        ssize_t sent = send(c->fd, c->out.data + c->sent, c->out.bytes - c->sent, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            lose(c, "closed the connection");
            return;
        }
        c->sent += sent > 0 ? (size_t)sent : 0;
        if (c->sent == c->out.bytes) {
            c->sent = c->out.bytes = 0;
        }
    }
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        uint8_t *at = cairn_pack_room(&c->in, READ_BYTES);
        ssize_t got = at == NULL ? -1 : recv(c->fd, at, READ_BYTES, 0);
        int failed = at == NULL ? ENOMEM : errno;

        if (at != NULL) {
            c->in.bytes -= READ_BYTES - (got > 0 ? (size_t)got : 0);
            c->heard = cairn_client_now();
        }
        if (got == 0 || (got < 0 && failed != EAGAIN && failed != EINTR)) {
            lose(c, "closed the connection");
        }
    }
}

static question *find_question(cairn_client *c, uint64_t id)
{
    for (size_t i = 0; i < CAIRN_CLIENT_SLOTS; i++) {
        if (c->questions[i].open && c->questions[i].id == id) {
            return &c->questions[i];
        }
    }
    return NULL;
}

/* The next frame that answers a question. */
static bool next_answer(cairn_client *c, unsigned *slot, cairn_response *response)
{
    for (;;) {
        cairn_unpack from = {.data = c->in.data + c->taken, .bytes = c->in.bytes - c->taken};
        uint32_t length = cairn_unpack_u32(&from);
        cairn_error error = {.text = ""};
        question *q;

        if (from.bad) {
            return false;
        }
        if (length < CAIRN_SOCKET_ID || length > CAIRN_SOCKET_ANSWER_MAX) {
            lose(c, "speaks another language");
            return false;
        }
        if (cairn_unpack_left(&from) < length) {
            return false;
        }
        c->taken += CAIRN_SOCKET_HEAD + length;
        q = find_question(c, cairn_unpack_u64(&from));
        if (q == NULL) {
            continue; /* withdrawn */
        }
        if (cairn_response_decode(from.data + from.at, length - CAIRN_SOCKET_ID, response, &c->storage, &error) !=
            CAIRN_OK) {
            lose(c, "speaks another language");
            return false;
        }
        if (response->status == CAIRN_E_IO) {
            const struct timespec pause = {.tv_nsec = LEFT_PAUSE_NS};

            lose(c, "has left the service"); /* its log's disk failed, say: another one may do better */
            (void)nanosleep(&pause, NULL);
            return false;
        }
        q->open = q->watch && response->status == CAIRN_OK;
        c->silent = 0;
        *slot = (unsigned)(q - c->questions);
        return true;
    }
}

/* Forget the frame that was given to the caller before. */
static void drop_taken(cairn_client *c)
{
    if (c->taken > 0) {
        memmove(c->in.data, c->in.data + c->taken, c->in.bytes - c->taken);
        c->in.bytes -= c->taken;
        c->taken = 0;
    }
}

/* One wait: until something comes, or `until`. */
static bool wait_once(cairn_client *c, double until, struct pollfd *others, size_t count)
{
    struct pollfd polls[8];
    double now = cairn_client_now();
    double milliseconds;
    bool more = false;

    until = fmin(until, c->fd < 0 ? now + RETRY_SECONDS : stalls_at(c));
    milliseconds = ceil(fmin(fmax(until - now, 0.0), 3600.0) * 1000.0);
    count = count > 7 ? 7 : count;
    polls[0] = (struct pollfd){.fd = c->fd, .events = POLLIN};
    polls[0].events = (short)(POLLIN | (c->sent < c->out.bytes ? POLLOUT : 0));
    for (size_t i = 0; i < count; i++) {
        polls[i + 1] = others[i];
        polls[i + 1].revents = 0;
    }
    if (poll(polls, (nfds_t)(count + 1), (int)milliseconds) <= 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        others[i].revents = polls[i + 1].revents;
        more = more || others[i].revents != 0;
    }
    if (c->fd >= 0 && polls[0].revents != 0) {
        transfer(c, polls[0].revents);
    }
    return more;
}

/* Somebody holds the lock of DIR: a job that is being started again answers soon. */
static bool a_run_is_on(const cairn_client *c)
{
    int fd = openat(c->folder_fd, "lock", O_RDONLY | O_CLOEXEC);
    bool on = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    if (fd >= 0) {
        (void)close(fd);
    }
    return on;
}

cairn_status cairn_client_wait(cairn_client *c, double until, struct pollfd *others, size_t count, unsigned *slot,
                               cairn_response *response)
{
    bool late = false;

    drop_taken(c);
    for (;;) {
        if (c->fd < 0 && !connect_next(c) && !c->reached && !a_run_is_on(c)) {
            return CAIRN_E_NOT_FOUND;
        }
        if (c->in.failed || c->out.failed) {
            return CAIRN_E_NOMEM;
        }
        if (next_answer(c, slot, response)) {
            return CAIRN_OK;
        }
        drop_taken(c); /* answers to what was withdrawn */
        if (late) {
            return CAIRN_E_TIMEOUT;
        }
        if (wait_once(c, until, others, count)) {
            return CAIRN_E_AGAIN;
        }
        late = cairn_client_now() >= until;
        if (c->fd >= 0 && cairn_client_now() >= stalls_at(c)) {
            c->silent++;
            lose(c, "does not answer");
        }
    }
}
