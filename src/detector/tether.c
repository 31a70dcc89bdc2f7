/* Lines to others and from them in one epoll; questions are sockets of their own, looked at when asked again. */
#include "detector/tether.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES_MAX 8
#define BACKLOG       128 /* connections that the kernel takes before the process does: questions, while it is stopped */
#define TAKEN_FIRST   (UINT64_C(1) << 32)
#define LISTENER      UINT64_MAX

#define TIE_US    UINT64_C(1000000) /* for a line to be tied                     */
#define AGAIN_US  UINT64_C(1000000) /* between two attempts at it                   */
#define ANSWER_US UINT64_C(90000)   /* for a question to be answered, and              */
#define LOOKS     6u                /* it was looked at so often                  */
#define PAUSE_US  UINT64_C(50000)   /* between two questions, when they are answered   */
#define IN_VAIN   3u                /* so many of them in a row: out of reach             */

typedef enum line_state { LINE_NONE, LINE_WANTED, LINE_CONNECTING, LINE_NAMING, LINE_TIED } line_state;

typedef struct peer {
    struct in_addr addresses[ADDRESSES_MAX];
    uint32_t address_count;
    uint16_t port;
    uint64_t token;

    line_state state;
    int line;
    uint32_t line_to; /* which address */
    uint64_t line_at; /* when its state is to change */
    unsigned char said[sizeof(uint64_t)];
    size_t said_bytes;

    int question;
    uint32_t question_to; /* the one that is good, once there was an answer */
    uint64_t asked_at;
    uint32_t looks, in_vain;
    bool asking;
    bool exists;   /* said in this silence */
    bool answered; /* ever                 */
} peer;

struct cairn_tether {
    int epoll, listener;
    uint64_t token;
    char name[CAIRN_TETHER_NAME_BYTES];
    int taken[CAIRN_TETHER_TAKEN_MAX]; /* others hold these; < 0: free */
    uint32_t peers;
    peer peer[];
};

/* ---------------------------------------------------------------- being held */

/* All addresses of this host but its own loop, which is only for hosts without a network. */
static cairn_status write_name(cairn_tether *t, uint16_t port)
{
    struct ifaddrs *list = NULL;
    int used = snprintf(t->name, sizeof t->name, "%u %016" PRIx64 " ", (unsigned)port, t->token);
    uint32_t count = 0;

    if (getifaddrs(&list) != 0) {
        return CAIRN_E_IO;
    }
    for (unsigned loop = 0; loop < 2 && count == 0; loop++) {
        for (const struct ifaddrs *i = list; i != NULL && count < ADDRESSES_MAX; i = i->ifa_next) {
            char text[INET_ADDRSTRLEN];

            if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_UP) == 0 ||
                ((i->ifa_flags & IFF_LOOPBACK) != 0) != (loop != 0)) {
                continue;
            }
            (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, text,
                            sizeof text);
            used += snprintf(t->name + used, sizeof t->name - (size_t)used, "%s%s", count > 0 ? "," : "", text);
            count++;
        }
    }
    freeifaddrs(list);
    return count > 0 ? CAIRN_OK : CAIRN_E_IO;
}

static bool attend(const cairn_tether *t, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event event = {.events = events, .data = {.u64 = what}};

    return epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static cairn_status listen_here(cairn_tether *t)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_ANY)}};
    socklen_t bytes = sizeof any;

    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->epoll < 0 || t->listener < 0 || bind(t->listener, (struct sockaddr *)&any, sizeof any) != 0 ||
        listen(t->listener, BACKLOG) != 0 || getsockname(t->listener, (struct sockaddr *)&any, &bytes) != 0 ||
        !attend(t, t->listener, EPOLLIN, LISTENER) || getrandom(&t->token, sizeof t->token, 0) != sizeof t->token) {
        return CAIRN_E_IO;
    }
    return write_name(t, ntohs(any.sin_port));
}

cairn_status cairn_tether_open(cairn_tether **out, uint32_t peers)
{
    cairn_tether *t = calloc(1, sizeof *t + peers * sizeof t->peer[0]);
    cairn_status status;

    if (t == NULL) {
        return CAIRN_E_NOMEM;
    }
    t->epoll = t->listener = -1;
    t->peers = peers;
    for (uint32_t i = 0; i < CAIRN_TETHER_TAKEN_MAX; i++) {
        t->taken[i] = -1;
    }
    for (uint32_t i = 0; i < peers; i++) {
        t->peer[i].line = t->peer[i].question = -1;
    }
    status = listen_here(t);
    if (status != CAIRN_OK) {
        cairn_tether_close(t);
        return status;
    }
    *out = t;
    return CAIRN_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void cairn_tether_close(cairn_tether *t)
{
    if (t == NULL) {
        return;
    }
    for (uint32_t i = 0; i < t->peers; i++) {
        cairn_tether_forget(t, i);
    }
    for (uint32_t i = 0; i < CAIRN_TETHER_TAKEN_MAX; i++) {
        close_fd(&t->taken[i]);
    }
    close_fd(&t->listener);
    close_fd(&t->epoll);
    free(t);
}

const char *cairn_tether_name(const cairn_tether *t)
{
    return t->name;
}

/* Whoever is told the token holds a tether until this process ends or it lets go itself. Who finds no place is told
 * nothing. */
static void take(cairn_tether *t)
{
    int fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    uint32_t place = 0;

    while (place < CAIRN_TETHER_TAKEN_MAX && t->taken[place] >= 0) {
        place++;
    }
    if (fd >= 0 && place < CAIRN_TETHER_TAKEN_MAX && attend(t, fd, EPOLLIN, TAKEN_FIRST + place)) {
        t->taken[place] = fd;
        if (send(fd, &t->token, sizeof t->token, MSG_NOSIGNAL) == sizeof t->token) {
            return;
        }
        t->taken[place] = -1;
    }
    close_fd(&fd);
}

/* ---------------------------------------------------------------- holding */

static void untie(peer *p, line_state next)
{
    close_fd(&p->line); /* nobody else has it: it leaves the epoll */
    p->state = next;
}

static bool parse(peer *p, const char *name)
{
    unsigned port;
    int end = 0;

    if (sscanf(name, "%5u %16" SCNx64 " %n", &port, &p->token, &end) != 2 || end == 0 || port == 0 || port > 65535) {
        return false;
    }
    p->port = (uint16_t)port;
    for (const char *at = name + end; p->address_count < ADDRESSES_MAX;) {
        char text[INET_ADDRSTRLEN];
        size_t length = strcspn(at, ",");

        if (length >= sizeof text) {
            return false;
        }
        memcpy(text, at, length);
        text[length] = '\0';
        if (inet_pton(AF_INET, text, &p->addresses[p->address_count]) != 1) {
            return false;
        }
        p->address_count++;
        if (at[length] == '\0') {
            return true;
        }
        at += length + 1;
    }
    return false;
}

cairn_status cairn_tether_meet(cairn_tether *t, uint32_t who, const char *name)
{
    peer fresh = {.line = -1, .question = -1};

    if (who >= t->peers || !parse(&fresh, name)) {
        return CAIRN_E_INVALID;
    }
    cairn_tether_forget(t, who);
    t->peer[who] = fresh;
    return CAIRN_OK;
}

void cairn_tether_forget(cairn_tether *t, uint32_t who)
{
    if (who < t->peers) {
        peer *p = &t->peer[who];

        untie(p, LINE_NONE);
        close_fd(&p->question);
        *p = (peer){.line = -1, .question = -1};
    }
}

bool cairn_tether_met(const cairn_tether *t, uint32_t who)
{
    return who < t->peers && t->peer[who].address_count > 0;
}

void cairn_tether_hold(cairn_tether *t, uint32_t who)
{
    if (cairn_tether_met(t, who) && t->peer[who].state == LINE_NONE) {
        t->peer[who].state = LINE_WANTED;
    }
}

bool cairn_tether_holds(const cairn_tether *t, uint32_t who)
{
    return who < t->peers && t->peer[who].state == LINE_TIED;
}

/* A socket that is on its way to an address of the peer; -1: it is not. */
static int begin_connect(const peer *p, uint32_t address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr = p->addresses[address]};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        close_fd(&fd);
    }
    return fd;
}

/* Another address is next; after all of them, a pause. */
static void try_next(peer *p, uint64_t now)
{
    p->line_to = (p->line_to + 1) % p->address_count;
    untie(p, LINE_WANTED);
    p->line_at = now + (p->line_to == 0 ? AGAIN_US : 0);
}

static void tie(cairn_tether *t, uint32_t who, uint64_t now)
{
    peer *p = &t->peer[who];

    if (p->state == LINE_NONE || p->state == LINE_TIED || now < p->line_at) {
        return;
    }
    if (p->state != LINE_WANTED) { /* not in time */
        try_next(p, now);
        return;
    }
    p->line = begin_connect(p, p->line_to);
    p->said_bytes = 0;
    if (p->line < 0 || !attend(t, p->line, EPOLLIN | EPOLLOUT | EPOLLET, who)) {
        try_next(p, now);
        return;
    }
    p->state = LINE_CONNECTING;
    p->line_at = now + TIE_US;
}

/* true: its process has ended. */
static bool read_line(peer *p, uint64_t now)
{
    while (p->state != LINE_NONE && p->state != LINE_WANTED) {
        unsigned char more;
        bool tied = p->state == LINE_TIED;
        ssize_t got = tied ? recv(p->line, &more, 1, 0)
                           : recv(p->line, p->said + p->said_bytes, sizeof p->said - p->said_bytes, 0);

        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return false;
        }
        if (got == 0 && tied) {
            return true;
        }
        if (got <= 0 || tied) { /* broken, or somebody who talks on it */
            try_next(p, now);
            return false;
        }
        p->state = LINE_NAMING;
        p->said_bytes += (size_t)got;
        if (p->said_bytes < sizeof p->said) {
            continue;
        }
        if (memcmp(p->said, &p->token, sizeof p->token) != 0) {
            try_next(p, now); /* somebody else's port */
            return false;
        }
        p->state = LINE_TIED;
        p->answered = true;
        p->question_to = p->line_to;
    }
    return false;
}

uint32_t cairn_tether_poll(cairn_tether *t, uint64_t now_us)
{
    struct epoll_event event;

    while (epoll_wait(t->epoll, &event, 1, 0) == 1) {
        uint64_t what = event.data.u64;

        if (what == LISTENER) {
            take(t);
        } else if (what >= TAKEN_FIRST) {
            close_fd(&t->taken[what - TAKEN_FIRST]); /* let go, or not as it should be */
        } else if (read_line(&t->peer[what], now_us)) {
            cairn_tether_forget(t, (uint32_t)what);
            return (uint32_t)what;
        }
    }
    for (uint32_t i = 0; i < t->peers; i++) {
        tie(t, i, now_us);
    }
    return CAIRN_TETHER_NONE;
}

int cairn_tether_fd(const cairn_tether *t)
{
    return t->epoll;
}

/* ---------------------------------------------------------------- asking */

/* 0: not yet; 1: its kernel has taken the connection; -1: it has not, or there is no way to it. */
static int look_at_question(const peer *p)
{
    struct pollfd ready = {.fd = p->question, .events = POLLOUT};
    int error = 0;
    socklen_t bytes = sizeof error;

    if (p->question < 0) {
        return -1;
    }
    if (poll(&ready, 1, 0) <= 0) {
        return 0;
    }
    return getsockopt(p->question, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0 ? 1 : -1;
}

static void end_question(peer *p)
{
    close_fd(&p->question);
    p->asking = false;
}

static void take_answer(peer *p, uint64_t now)
{
    int answer = look_at_question(p);

    p->looks++;
    if (answer > 0) {
        p->answered = p->exists = true;
        p->in_vain = 0;
        end_question(p);
    } else if (answer < 0 || (p->looks >= LOOKS && now >= p->asked_at + ANSWER_US)) {
        p->in_vain++;
        end_question(p);
        if (!p->answered) {
            p->question_to = (p->question_to + 1) % p->address_count;
        }
    }
}

cairn_tether_word cairn_tether_ask(cairn_tether *t, uint32_t who, uint64_t now_us)
{
    peer *p = &t->peer[who];

    if (!cairn_tether_met(t, who)) {
        return CAIRN_TETHER_UNKNOWN;
    }
    if (p->asking) {
        take_answer(p, now_us);
    }
    if (!p->asking && (p->in_vain > 0 || now_us >= p->asked_at + PAUSE_US)) {
        p->question = begin_connect(p, p->question_to);
        p->asking = true;
        p->asked_at = now_us;
        p->looks = 0;
    }
    if (p->answered && p->in_vain >= IN_VAIN) {
        return CAIRN_TETHER_UNREACHABLE;
    }
    return p->exists ? CAIRN_TETHER_EXISTS : CAIRN_TETHER_UNKNOWN;
}

void cairn_tether_relent(cairn_tether *t, uint32_t who)
{
    if (who < t->peers) {
        end_question(&t->peer[who]);
        t->peer[who].in_vain = 0;
        t->peer[who].exists = false;
    }
}

bool cairn_tether_answered(const cairn_tether *t, uint32_t who)
{
    return who < t->peers && t->peer[who].answered;
}
