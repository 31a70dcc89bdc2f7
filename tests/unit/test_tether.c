/* Goal: a tether says of every process that has ended that it has, and of no other; whoever is asked and exists is said to
 * exist.
 * Method: real children that are killed, stopped, or end by themselves; this process waits for what its epoll and pipes
 * tell. A stand-in for a stranger: a listening socket that says something else, nothing, or breaks the connection. */
#include "detector/tether.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_US UINT64_C(10000000) /* a bound, never waited for when all is well */
#define WATCHED_US  UINT64_C(300000)   /* for something that must not happen */

static uint64_t now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static cairn_tether *make(uint32_t peers)
{
    cairn_tether *t = NULL;

    CU_ASSERT_EQUAL_FATAL(cairn_tether_open(&t, peers), CAIRN_OK);
    return t;
}

typedef struct child {
    pid_t pid;
    char name[CAIRN_TETHER_NAME_BYTES];
} child;

/* A process that can be held, and does no more than take in what comes. */
static child begin_child(void)
{
    child c = {0};
    int tell[2];

    CU_ASSERT_EQUAL_FATAL(pipe(tell), 0);
    c.pid = fork();
    CU_ASSERT_TRUE_FATAL(c.pid >= 0);
    if (c.pid == 0) {
        cairn_tether *t;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (cairn_tether_open(&t, 0) != CAIRN_OK) {
            _exit(1);
        }
        (void)!write(tell[1], cairn_tether_name(t), CAIRN_TETHER_NAME_BYTES);
        for (;;) {
            struct pollfd ready = {.fd = cairn_tether_fd(t), .events = POLLIN};

            (void)poll(&ready, 1, -1);
            (void)cairn_tether_poll(t, now());
        }
    }
    (void)close(tell[1]);
    CU_ASSERT_EQUAL_FATAL(read(tell[0], c.name, sizeof c.name), sizeof c.name);
    (void)close(tell[0]);
    return c;
}

static void end_child(const child *c)
{
    (void)kill(c->pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(c->pid, NULL, 0), c->pid);
}

/* What is said next, or nobody after so long. */
static uint32_t poll_for(cairn_tether *t, uint64_t patience)
{
    uint64_t end = now() + patience;
    uint32_t who = CAIRN_TETHER_NONE;

    while (who == CAIRN_TETHER_NONE && now() < end) {
        struct pollfd ready = {.fd = cairn_tether_fd(t), .events = POLLIN};

        (void)poll(&ready, 1, 10);
        who = cairn_tether_poll(t, now());
    }
    return who;
}

static bool tied(cairn_tether *t, uint32_t who)
{
    uint64_t end = now() + PATIENCE_US;

    while (!cairn_tether_holds(t, who) && now() < end) {
        CU_ASSERT_EQUAL(poll_for(t, 1000), CAIRN_TETHER_NONE);
    }
    return cairn_tether_holds(t, who);
}

static void hold(cairn_tether *t, uint32_t who, const char *name)
{
    CU_ASSERT_EQUAL_FATAL(cairn_tether_meet(t, who, name), CAIRN_OK);
    CU_ASSERT_TRUE(cairn_tether_met(t, who));
    cairn_tether_hold(t, who);
}

static cairn_tether_word ask_for(cairn_tether *t, uint32_t who, cairn_tether_word wanted, uint64_t patience)
{
    uint64_t end = now() + patience;
    cairn_tether_word word;

    while ((word = cairn_tether_ask(t, who, now())) != wanted && now() < end) {
        (void)poll(NULL, 0, 5);
    }
    return word;
}

static void says_who_was_killed(void)
{
    cairn_tether *t = make(4);
    child c[4];

    for (uint32_t i = 0; i < 4; i++) {
        c[i] = begin_child();
        hold(t, i, c[i].name);
    }
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(tied(t, i));
    }
    end_child(&c[2]);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 2);
    CU_ASSERT_FALSE(cairn_tether_holds(t, 2));
    CU_ASSERT_FALSE(cairn_tether_met(t, 2));
    end_child(&c[0]);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 0);
    CU_ASSERT_EQUAL(cairn_tether_poll(t, now()), CAIRN_TETHER_NONE); /* each once */
    CU_ASSERT_TRUE(cairn_tether_holds(t, 1));
    c[2] = begin_child(); /* another one in its place */
    hold(t, 2, c[2].name);
    CU_ASSERT_TRUE(tied(t, 2));
    end_child(&c[2]);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 2);
    end_child(&c[1]);
    end_child(&c[3]);
    cairn_tether_close(t);
}

static void who_is_stopped_has_not_ended_and_exists(void)
{
    cairn_tether *t = make(1);
    child c = begin_child();

    hold(t, 0, c.name);
    CU_ASSERT_TRUE(tied(t, 0));
    CU_ASSERT_EQUAL(kill(c.pid, SIGSTOP), 0);
    CU_ASSERT_EQUAL(poll_for(t, WATCHED_US), CAIRN_TETHER_NONE);
    CU_ASSERT_EQUAL(ask_for(t, 0, CAIRN_TETHER_EXISTS, PATIENCE_US), CAIRN_TETHER_EXISTS);
    CU_ASSERT_EQUAL(ask_for(t, 0, CAIRN_TETHER_UNREACHABLE, WATCHED_US), CAIRN_TETHER_EXISTS);
    cairn_tether_relent(t, 0);
    CU_ASSERT_EQUAL(cairn_tether_ask(t, 0, now()), CAIRN_TETHER_UNKNOWN); /* what was said in another silence */
    end_child(&c);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 0);
    cairn_tether_close(t);
}

/* Without a tether: the kernel refuses for one that has ended, and it was there before. */
static void who_answered_and_does_not_any_more(void)
{
    cairn_tether *t = make(2);
    child c = begin_child();

    CU_ASSERT_EQUAL(cairn_tether_meet(t, 0, c.name), CAIRN_OK);
    CU_ASSERT_FALSE(cairn_tether_answered(t, 0));
    CU_ASSERT_EQUAL(ask_for(t, 0, CAIRN_TETHER_EXISTS, PATIENCE_US), CAIRN_TETHER_EXISTS);
    CU_ASSERT_TRUE(cairn_tether_answered(t, 0));
    end_child(&c);
    CU_ASSERT_EQUAL(ask_for(t, 0, CAIRN_TETHER_UNREACHABLE, PATIENCE_US), CAIRN_TETHER_UNREACHABLE);
    CU_ASSERT_EQUAL(cairn_tether_meet(t, 1, c.name), CAIRN_OK); /* this one has never answered */
    CU_ASSERT_EQUAL(ask_for(t, 1, CAIRN_TETHER_UNREACHABLE, WATCHED_US), CAIRN_TETHER_UNKNOWN);
    CU_ASSERT_EQUAL(poll_for(t, 1000), CAIRN_TETHER_NONE); /* nobody was held: nothing is certain */
    cairn_tether_close(t);
}

/* Several addresses, of which some are nobody's here. */
static void the_address_that_is_good_is_found(void)
{
    cairn_tether *t = make(1);
    child c = begin_child();
    char name[CAIRN_TETHER_NAME_BYTES];
    size_t head = strlen(c.name) - strlen(strrchr(c.name, ' '));

    CU_ASSERT_TRUE_FATAL(snprintf(name, sizeof name, "%.*s 224.0.0.1,127.0.0.1", (int)head, c.name) > 0);
    hold(t, 0, name);
    CU_ASSERT_TRUE(tied(t, 0));
    end_child(&c);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 0);
    cairn_tether_close(t);
}

/* A listening socket of somebody else: *port, and the socket. */
static int stranger(char name[CAIRN_TETHER_NAME_BYTES])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 8), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    (void)snprintf(name, CAIRN_TETHER_NAME_BYTES, "%u 0102030405060708 127.0.0.1", (unsigned)ntohs(at.sin_port));
    return fd;
}

/* Its next caller. */
static int answer(cairn_tether *t, int stranger)
{
    struct pollfd ready = {.fd = stranger, .events = POLLIN};

    for (uint64_t end = now() + PATIENCE_US; poll(&ready, 1, 0) == 0 && now() < end;) {
        CU_ASSERT_EQUAL(poll_for(t, 1000), CAIRN_TETHER_NONE);
    }
    CU_ASSERT_EQUAL_FATAL(poll(&ready, 1, 0), 1);
    return accept(stranger, NULL, NULL);
}

static void strangers_and_broken_lines_are_nobodys_end(void)
{
    static const uint64_t token = UINT64_C(0x0102030405060708);
    const struct linger torn = {.l_onoff = 1, .l_linger = 0};
    cairn_tether *t = make(1);
    char name[CAIRN_TETHER_NAME_BYTES];
    int listener = stranger(name);
    int fd;

    hold(t, 0, name);
    fd = answer(t, listener); /* says nothing, and goes */
    (void)close(fd);
    fd = answer(t, listener); /* says something else, and goes */
    CU_ASSERT_EQUAL(write(fd, "GET / HTTP", 8), 8);
    (void)close(fd);
    fd = answer(t, listener); /* says half of it, and goes */
    CU_ASSERT_EQUAL(write(fd, &token, 5), 5);
    (void)close(fd);
    fd = answer(t, listener); /* is the right one, and its connection is torn */
    CU_ASSERT_EQUAL(write(fd, &token, sizeof token), sizeof token);
    CU_ASSERT_TRUE(tied(t, 0));
    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &torn, sizeof torn), 0);
    (void)close(fd);
    fd = answer(t, listener); /* is tied again, in two pieces, and ends */
    CU_ASSERT_EQUAL(write(fd, &token, 3), 3);
    CU_ASSERT_EQUAL(poll_for(t, 20000), CAIRN_TETHER_NONE);
    CU_ASSERT_EQUAL(write(fd, (const char *)&token + 3, 5), 5);
    CU_ASSERT_TRUE(tied(t, 0));
    (void)close(fd);
    CU_ASSERT_EQUAL(poll_for(t, PATIENCE_US), 0);
    (void)close(listener);
    cairn_tether_close(t);
}

/* One more than it has room for is told nothing; when one lets go there is room again. */
static void no_more_than_there_is_room_for(void)
{
    cairn_tether *t = make(CAIRN_TETHER_TAKEN_MAX + 1);
    child c = begin_child();
    uint32_t count = 0;

    for (uint32_t i = 0; i <= CAIRN_TETHER_TAKEN_MAX; i++) {
        hold(t, i, c.name);
    }
    for (uint64_t end = now() + PATIENCE_US; count < CAIRN_TETHER_TAKEN_MAX && now() < end;) {
        CU_ASSERT_EQUAL(poll_for(t, 1000), CAIRN_TETHER_NONE);
        count = 0;
        for (uint32_t i = 0; i <= CAIRN_TETHER_TAKEN_MAX; i++) {
            count += cairn_tether_holds(t, i);
        }
    }
    CU_ASSERT_EQUAL(count, CAIRN_TETHER_TAKEN_MAX);
    CU_ASSERT_EQUAL(poll_for(t, WATCHED_US), CAIRN_TETHER_NONE);
    for (uint32_t i = 0; i <= CAIRN_TETHER_TAKEN_MAX; i++) {
        if (!cairn_tether_holds(t, i)) {
            cairn_tether_forget(t, i == 0 ? 1 : 0);
            CU_ASSERT_TRUE(tied(t, i));
            break;
        }
    }
    end_child(&c);
    count = 0;
    while (poll_for(t, PATIENCE_US) != CAIRN_TETHER_NONE && ++count < CAIRN_TETHER_TAKEN_MAX) {
    }
    CU_ASSERT_EQUAL(count, CAIRN_TETHER_TAKEN_MAX);
    cairn_tether_close(t);
}

static void bad_names(void)
{
    static const char *const names[] = {
        "",
        "80",
        "80 0123456789abcdef",
        "80 0123456789abcdef ",
        "0 0123456789abcdef 127.0.0.1",
        "65536 0123456789abcdef 127.0.0.1",
        "80 0123456789abcdef 127.0.0",
        "80 0123456789abcdef 127.0.0.1,",
        "80 0123456789abcdef localhost",
        ("80 0123456789abcdef 127.0.0.1,1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,"
         "1.1.1.7,1.1.1.8"),
        "80 0123456789abcdef 127.0.0.100000000000000000000000000000000000000000"};
    cairn_tether *t = make(2);

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CU_ASSERT_EQUAL(cairn_tether_meet(t, 0, names[i]), CAIRN_E_INVALID);
    }
    CU_ASSERT_EQUAL(cairn_tether_meet(t, 2, "80 0123456789abcdef 127.0.0.1"), CAIRN_E_INVALID);
    CU_ASSERT_FALSE(cairn_tether_met(t, 0));
    cairn_tether_hold(t, 0);
    cairn_tether_hold(t, 2);
    cairn_tether_forget(t, 2);
    CU_ASSERT_EQUAL(cairn_tether_ask(t, 0, now()), CAIRN_TETHER_UNKNOWN);
    CU_ASSERT_EQUAL(cairn_tether_poll(t, now()), CAIRN_TETHER_NONE);
    CU_ASSERT_FALSE(cairn_tether_holds(t, 0));
    cairn_tether_close(t);
    cairn_tether_close(NULL);
}

UNIT_MAIN("tether", {"says_who_was_killed", says_who_was_killed},
          {"who_is_stopped_has_not_ended_and_exists", who_is_stopped_has_not_ended_and_exists},
          {"who_answered_and_does_not_any_more", who_answered_and_does_not_any_more},
          {"the_address_that_is_good_is_found", the_address_that_is_good_is_found},
          {"strangers_and_broken_lines_are_nobodys_end", strangers_and_broken_lines_are_nobodys_end},
          {"no_more_than_there_is_room_for", no_more_than_there_is_room_for}, {"bad_names", bad_names})
