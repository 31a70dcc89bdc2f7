/* One pidfd a peer, all in one epoll. */
#include "detector/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BEGUN_FIELD 22 /* of /proc/PID/stat, from 1 */
#define NAME_FIELD  2  /* in brackets; it may hold blanks and brackets of its own */
#define STAT_BYTES  1024

struct cairn_pidwatch {
    int epoll;
    uint32_t peers;
    int fd[]; /* [peers]; < 0: not watched */
};

cairn_status cairn_pidwatch_open(cairn_pidwatch **out, uint32_t peers)
{
    cairn_pidwatch *w = malloc(sizeof *w + peers * sizeof w->fd[0]);

    if (w == NULL) {
        return CAIRN_E_NOMEM;
    }
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0) {
        free(w);
        return CAIRN_E_IO;
    }
    w->peers = peers;
    for (uint32_t i = 0; i < peers; i++) {
        w->fd[i] = -1;
    }
    *out = w;
    return CAIRN_OK;
}

void cairn_pidwatch_close(cairn_pidwatch *w)
{
    if (w == NULL) {
        return;
    }
    for (uint32_t i = 0; i < w->peers; i++) {
        cairn_pidwatch_drop(w, i);
    }
    (void)close(w->epoll);
    free(w);
}

static ssize_t read_stat(int64_t pid, char text[STAT_BYTES])
{
    char path[64];
    ssize_t got;
    int fd;

    (void)snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -1;
    }
    do {
        got = read(fd, text, STAT_BYTES - 1);
    } while (got < 0 && errno == EINTR);
    (void)close(fd);
    if (got >= 0) {
        text[got] = '\0';
    }
    return got;
}

cairn_status cairn_pidwatch_begun(int64_t pid, uint64_t *begun)
{
    char text[STAT_BYTES];
    char *at;

    if (pid <= 0 || read_stat(pid, text) <= 0 || (at = strrchr(text, ')')) == NULL) {
        return CAIRN_E_NOT_FOUND;
    }
    for (int field = NAME_FIELD; field < BEGUN_FIELD && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    *begun = at == NULL ? 0 : strtoull(at, NULL, 10);
    return *begun > 0 ? CAIRN_OK : CAIRN_E_NOT_FOUND;
}

static int open_pidfd(int64_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0); /* close-on-exec by itself */
#else
    (void)pid;
    errno = ENOSYS;
    return -1;
#endif
}

static bool has_proc(void)
{
    uint64_t own;

    return cairn_pidwatch_begun(getpid(), &own) == CAIRN_OK;
}

cairn_status cairn_pidwatch_add(cairn_pidwatch *w, uint32_t peer, int64_t pid, uint64_t begun)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = peer}};
    uint64_t now_begun;
    int fd;

    if (peer >= w->peers || pid <= 0 || (pid_t)pid != pid || begun == 0) {
        return CAIRN_E_INVALID;
    }
    cairn_pidwatch_drop(w, peer);
    fd = open_pidfd(pid);
    if (fd < 0) {
        return errno == ESRCH ? CAIRN_E_NOT_FOUND : errno == EMFILE || errno == ENFILE ? CAIRN_E_IO : CAIRN_E_STATE;
    }
    /* Only now: what has the id when its pidfd is open keeps it for as long as /proc shows this beginning. */
    if (cairn_pidwatch_begun(pid, &now_begun) != CAIRN_OK || now_begun != begun) {
        (void)close(fd);
        return has_proc() ? CAIRN_E_NOT_FOUND : CAIRN_E_STATE;
    }
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        (void)close(fd);
        return CAIRN_E_IO;
    }
    w->fd[peer] = fd;
    return CAIRN_OK;
}

void cairn_pidwatch_drop(cairn_pidwatch *w, uint32_t peer)
{
    struct epoll_event none = {0};

    if (cairn_pidwatch_has(w, peer)) {
        /* Closing alone would not do where a child has it too. */
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->fd[peer], &none);
        (void)close(w->fd[peer]);
        w->fd[peer] = -1;
    }
}

bool cairn_pidwatch_move(cairn_pidwatch *w, uint32_t peer, uint32_t from)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = peer}};

    cairn_pidwatch_drop(w, peer);
    if (!cairn_pidwatch_has(w, from) || epoll_ctl(w->epoll, EPOLL_CTL_MOD, w->fd[from], &event) != 0) {
        cairn_pidwatch_drop(w, from);
        return false;
    }
    w->fd[peer] = w->fd[from];
    w->fd[from] = -1;
    return true;
}

bool cairn_pidwatch_has(const cairn_pidwatch *w, uint32_t peer)
{
    return peer < w->peers && w->fd[peer] >= 0;
}

uint32_t cairn_pidwatch_poll(cairn_pidwatch *w)
{
    struct epoll_event event;

    if (epoll_wait(w->epoll, &event, 1, 0) != 1) {
        return CAIRN_PIDWATCH_NONE;
    }
    cairn_pidwatch_drop(w, event.data.u32);
    return event.data.u32;
}

int cairn_pidwatch_fd(const cairn_pidwatch *w)
{
    return w->epoll;
}
