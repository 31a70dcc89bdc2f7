/* Goal: the watch says of every process that has ended that it has, at once, and of no other.
 * Method: real children, stopped, killed, left as zombies; waitid and poll say when something has happened, so nothing
 * here sleeps. A kernel without pidfd: a child that forbids itself the call. */
#include "detector/watch.h"
#include "support/unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* a bound, never waited for when all is well */

static cairn_pidwatch *make(uint32_t peers)
{
    cairn_pidwatch *w = NULL;

    CU_ASSERT_EQUAL_FATAL(cairn_pidwatch_open(&w, peers), CAIRN_OK);
    return w;
}

/* A child that waits for signals, or ends with this status at once. */
static pid_t child(int status)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (status < 0) {
            (void)pause();
        }
        _exit(status);
    }
    CU_ASSERT_TRUE_FATAL(pid > 0);
    return pid;
}

static uint64_t begun(pid_t pid)
{
    uint64_t ticks = 0;

    CU_ASSERT_EQUAL(cairn_pidwatch_begun(pid, &ticks), CAIRN_OK);
    return ticks;
}

/* Without reaping: the child stays a zombie. */
static void await(pid_t pid, int what)
{
    siginfo_t info;

    CU_ASSERT_EQUAL(waitid(P_PID, (id_t)pid, &info, what | WNOWAIT), 0);
}

static void reap(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
}

static bool is_readable(const cairn_pidwatch *w, int patience)
{
    struct pollfd ready = {.fd = cairn_pidwatch_fd(w), .events = POLLIN};

    return poll(&ready, 1, patience) == 1;
}

static void says_who_ended(void)
{
    cairn_pidwatch *w = make(4);
    pid_t pids[4];

    for (uint32_t i = 0; i < 4; i++) {
        pids[i] = child(-1);
        CU_ASSERT_FALSE(cairn_pidwatch_has(w, i));
        CU_ASSERT_EQUAL(cairn_pidwatch_add(w, i, pids[i], begun(pids[i])), CAIRN_OK);
        CU_ASSERT_TRUE(cairn_pidwatch_has(w, i));
    }
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    CU_ASSERT_FALSE(is_readable(w, 0));
    (void)kill(pids[2], SIGKILL);
    CU_ASSERT_TRUE(is_readable(w, PATIENCE_MS));
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), 2); /* a zombie: nobody has reaped it */
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 2));
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE); /* said once */
    CU_ASSERT_FALSE(is_readable(w, 0));
    reap(pids[0]);
    reap(pids[3]);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w) + cairn_pidwatch_poll(w), 3); /* both, in whatever order */
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    CU_ASSERT_TRUE(cairn_pidwatch_has(w, 1));
    reap(pids[1]);
    reap(pids[2]);
    cairn_pidwatch_close(w);
}

static void stopped_is_not_ended(void)
{
    cairn_pidwatch *w = make(1);
    pid_t pid = child(-1);

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, pid, begun(pid)), CAIRN_OK);
    (void)kill(pid, SIGSTOP);
    await(pid, WSTOPPED);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    (void)kill(pid, SIGCONT);
    await(pid, WCONTINUED);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    (void)kill(pid, SIGSTOP);
    await(pid, WSTOPPED);
    reap(pid); /* killed while it is stopped */
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), 0);
    cairn_pidwatch_close(w);
}

static void ended_before_it_was_added(void)
{
    cairn_pidwatch *w = make(2);
    pid_t pid = child(7);
    uint64_t ticks;

    await(pid, WEXITED);
    ticks = begun(pid);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, pid, ticks), CAIRN_OK); /* a zombie still has its id ... */
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), 0);                      /* ... and has ended              */
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 1, pid, ticks), CAIRN_E_NOT_FOUND);
    CU_ASSERT_EQUAL(cairn_pidwatch_begun(pid, &ticks), CAIRN_E_NOT_FOUND);
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 1));
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    cairn_pidwatch_close(w);
}

/* The id is that of a process, but not of the one that is meant. */
static void id_used_again(void)
{
    cairn_pidwatch *w = make(1);
    pid_t pid = child(-1);
    uint64_t ticks = begun(pid);

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, pid, ticks - 1), CAIRN_E_NOT_FOUND);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, pid, ticks + 1), CAIRN_E_NOT_FOUND);
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 0));
    reap(pid);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    cairn_pidwatch_close(w);
}

/* Another process takes the peer's place: the end of the first is nobody's any more. */
static void replaced_and_dropped(void)
{
    cairn_pidwatch *w = make(1);
    pid_t first = child(-1);
    pid_t second = child(-1);

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, first, begun(first)), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, second, begun(second)), CAIRN_OK);
    reap(first);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    cairn_pidwatch_drop(w, 0);
    cairn_pidwatch_drop(w, 0);
    cairn_pidwatch_drop(w, 17);
    reap(second);
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    cairn_pidwatch_close(w);
    cairn_pidwatch_close(NULL);
}

/* A child that was forked meanwhile holds copies of all descriptors. */
static void dropped_while_a_child_has_the_files(void)
{
    cairn_pidwatch *w = make(1);
    pid_t pid = child(-1);
    pid_t heir;

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, pid, begun(pid)), CAIRN_OK);
    heir = child(-1);
    cairn_pidwatch_drop(w, 0);
    reap(pid);
    CU_ASSERT_FALSE(is_readable(w, 0));
    reap(heir);
    cairn_pidwatch_close(w);
}

static void bad_input(void)
{
    cairn_pidwatch *w = make(1);
    uint64_t ticks = 1;

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 1, getpid(), begun(getpid())), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, 0, 1), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, -1, 1), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, INT64_C(1) << 32 | getpid(), begun(getpid())), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, getpid(), 0), CAIRN_E_INVALID);
    CU_ASSERT_EQUAL(cairn_pidwatch_begun(0, &ticks), CAIRN_E_NOT_FOUND);
    CU_ASSERT_EQUAL(cairn_pidwatch_begun(-1, &ticks), CAIRN_E_NOT_FOUND);
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 0));
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, CAIRN_PIDWATCH_NONE));
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), CAIRN_PIDWATCH_NONE);
    cairn_pidwatch_close(w);
}

/* The name is part of /proc/PID/stat, and anything can be in it. */
static void name_with_brackets(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        uint64_t before = 0;
        uint64_t after = 1;
        bool same = cairn_pidwatch_begun(getpid(), &before) == CAIRN_OK && prctl(PR_SET_NAME, ") R 1 (x) 7") == 0 &&
                    cairn_pidwatch_begun(getpid(), &after) == CAIRN_OK && before == after;

        _exit(same ? 0 : 1);
    }
    int status = -1;

    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
}

#define NOT_FORBIDDEN 9 /* this kernel lets nobody forbid calls */

/* Forbid this process pidfd_open as an old kernel does, then try. */
static int without_pidfd(pid_t other, uint64_t ticks)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    cairn_pidwatch *w;
    cairn_status status;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        return NOT_FORBIDDEN;
    }
    if (cairn_pidwatch_open(&w, 1) != CAIRN_OK) {
        return 1;
    }
    status = cairn_pidwatch_add(w, 0, other, ticks);
    return status == CAIRN_E_STATE && !cairn_pidwatch_has(w, 0) && cairn_pidwatch_poll(w) == CAIRN_PIDWATCH_NONE ? 0
                                                                                                                 : 2;
}

static void kernel_without_pidfd(void)
{
    pid_t other = child(-1);
    uint64_t ticks = begun(other);
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        _exit(without_pidfd(other, ticks));
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == NOT_FORBIDDEN) {
        printf("(NOT TESTED: seccomp is not allowed here) ");
    } else {
        CU_ASSERT_EQUAL(status, 0);
    }
    reap(other);
}

static void moved(void)
{
    cairn_pidwatch *w = make(3);
    pid_t old = child(-1);
    pid_t heir = child(-1);

    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, old, begun(old)), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 2, heir, begun(heir)), CAIRN_OK);
    CU_ASSERT_TRUE(cairn_pidwatch_move(w, 0, 2));
    CU_ASSERT_TRUE(cairn_pidwatch_has(w, 0));
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 2));
    reap(old);
    CU_ASSERT_FALSE(is_readable(w, 0)); /* nobody's any more */
    reap(heir);
    CU_ASSERT_TRUE(is_readable(w, PATIENCE_MS));
    CU_ASSERT_EQUAL(cairn_pidwatch_poll(w), 0);
    heir = child(-1);
    CU_ASSERT_EQUAL(cairn_pidwatch_add(w, 0, heir, begun(heir)), CAIRN_OK);
    CU_ASSERT_FALSE(cairn_pidwatch_move(w, 0, 1)); /* of whom nothing is known */
    CU_ASSERT_FALSE(cairn_pidwatch_has(w, 0));
    reap(heir);
    cairn_pidwatch_close(w);
}

UNIT_MAIN("watch", {"says_who_ended", says_who_ended}, {"stopped_is_not_ended", stopped_is_not_ended},
          {"ended_before_it_was_added", ended_before_it_was_added}, {"id_used_again", id_used_again},
          {"replaced_and_dropped", replaced_and_dropped}, {"moved", moved},
          {"dropped_while_a_child_has_the_files", dropped_while_a_child_has_the_files}, {"bad_input", bad_input},
          {"name_with_brackets", name_with_brackets}, {"kernel_without_pidfd", kernel_without_pidfd})
