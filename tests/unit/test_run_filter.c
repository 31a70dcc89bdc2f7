/* What mpirun says, of Open MPI 4.1 and 5.0: which of it a user sees, and what `cairn run` learns from it. */
#include "cli/run.h"
#include "support/unit.h"

#include <string.h>
#include <unistd.h>

#define RULE "--------------------------------------------------------------------------\n"

static cairn_run_filter filter; /* large */
static char seen[4096];
static int ends[2];

static void begin(void)
{
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    cairn_run_filter_begin(&filter, ends[1], NULL, false);
}

/* What came through goes to `seen`. */
static void end(void)
{
    ssize_t got;

    cairn_run_filter_flush(&filter, 100, true);
    close(ends[1]);
    got = read(ends[0], seen, sizeof seen - 1);
    seen[got < 0 ? 0 : got] = '\0';
    close(ends[0]);
}

static void feed(const char *text)
{
    cairn_run_filter_feed(&filter, text, strlen(text), 1);
}

/* In one piece, and byte by byte. */
static void check(const char *text, const char *passes, int process, int signal, int code)
{
    for (int whole = 0; whole < 2; whole++) {
        begin();
        for (const char *at = text; !whole && *at != '\0'; at++) {
            cairn_run_filter_feed(&filter, at, 1, 1);
        }
        if (whole) {
            feed(text);
        }
        end();
        CU_ASSERT_STRING_EQUAL(seen, passes);
        CU_ASSERT_EQUAL(filter.process, process);
        CU_ASSERT_EQUAL(filter.signal, signal);
        CU_ASSERT_EQUAL(filter.exit, code);
    }
}

static void of_the_job(void)
{
    check("one\n two\n\nthree", "one\n two\n\nthree", -1, -1, -1);
    check("--- a rule of the job\n-- \nprter\nmpirun is\n[x]\n12 men\n",
          "--- a rule of the job\n-- \nprter\nmpirun is\n[x]\n12 men\n", -1, -1, -1);
}

static void killed(void)
{
    check("before\n" RULE
          "mpirun noticed that process rank 2 with PID 4711 on node vm exited on signal 9 (Killed).\n" RULE "after\n",
          "before\nafter\n", 2, 9, -1);
    check("before\n" RULE
          "prterun noticed that process rank 12 with PID 25 on node vm exited on\nsignal 9 (Killed).\n" RULE "after\n",
          "before\nafter\n", 12, 9, -1);
    check(RULE
          "prterun noticed that process rank 3 with PID 25 on node\n"
          "a-node-that-has-a-name-of-more-than-sixty-letters.and-a-domain.also exited\non signal 11 (Segmentation\n"
          "fault).\n" RULE,
          "", 3, 11, -1);
}

static void exited(void)
{
    check(RULE "mpirun detected that one or more processes exited with non-zero status, thus causing\nthe job to be "
               "terminated. The first process to do so was:\n\n  Process name: [[20028,1],2]\n  Exit code:    3\n" RULE,
          "", 2, -1, 3);
    check(RULE "prterun detected that one or more processes exited with non-zero status,\nthus causing the job to be "
               "terminated. The first process to do so was:\n\n   Process name: [prterun-a-host-17@1,31]\n"
               "   Exit code:    5\n" RULE,
          "", 31, -1, 5);
}

static void aborted(void)
{
    check(RULE "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 75.\n\nNOTE: ...\n" RULE,
          "", 1, -1, 75);
    /* 5.x begins what follows a block with a blank. */
    check(RULE "MPI_ABORT was invoked on rank 1 in communicator MPI COMMUNICATOR 3 DUP FROM 0\n  Proc: [[61360,1],1]\n"
               "  Errorcode: 75\n\nNOTE: ...\n" RULE
               " 1 more process has sent help message help-mpi-api.txt / mpi-abort\n " RULE
               "prterun has exited due to process rank 1 with PID 0 on node vm calling\n\"abort\".\n" RULE " after\n",
          "after\n", 1, -1, 75);
    check("before\n " RULE "prterun has ...\n" RULE " [vm:00123] *** An error occurred\n  two blanks\n one\n ",
          "before\n  two blanks\n one\n ", -1, -1, -1);
}

/* The blank comes long before what it stands before. */
static void late_blank(void)
{
    begin();
    feed("before\n ");
    cairn_run_filter_flush(&filter, 50, false);
    feed(RULE "An MPI communication peer process has unexpectedly disconnected.\n" RULE "after\n");
    end();
    CU_ASSERT_STRING_EQUAL(seen, "before\n after\n");
}

static void lost_hosts(void)
{
    begin();
    feed(RULE "ORTE has lost communication with a remote daemon.\n\n  HNP daemon   : [[1,0],0] on node a\n"
              "  Remote daemon: [[1,0],1] on node b\n\nThis is usually due to ...\n" RULE);
    end();
    CU_ASSERT_TRUE(filter.daemon_lost);
    CU_ASSERT_STRING_EQUAL(filter.host, "b");
    begin();
    feed(RULE "PRTE has lost communication with a remote daemon.\n\n  HNP daemon   : [prterun-a-9@0,0] on node a\n"
              "  Remote daemon: [prterun-a-9@0,1] on node c\n\nThis is usually due to ...\n" RULE);
    end();
    CU_ASSERT_TRUE(filter.daemon_lost);
    CU_ASSERT_STRING_EQUAL(filter.host, "c");
}

static void of_libraries(void)
{
    check("[vm:00123] PMIX ERROR: BAD-PARAM in file x.c at line 1\n", "", -1, -1, -1);
    check("[vm][[57578,1],0][../btl_tcp_proc.c:266:create] [vm][[57578,1],1][../btl_tcp_proc.c:266:create] "
          "Unable to find reachable pairing between local and remote interfaces\n"
          "Unable to find reachable pairing between local and remote interfaces\nscan: 3 rows\n",
          "scan: 3 rows\n", -1, -1, -1);
}

static void which_mpirun(void)
{
    const cairn_run_dialect *four = cairn_run_dialect_read("mpirun (Open MPI) 4.1.4\n\nReport bugs to ...\n");
    const cairn_run_dialect *five = cairn_run_dialect_read("mpirun (Open MPI) 5.0.7\n");

    CU_ASSERT_PTR_NOT_NULL_FATAL(four);
    CU_ASSERT_PTR_NOT_NULL_FATAL(five);
    CU_ASSERT_EQUAL(four->major, 4);
    CU_ASSERT_EQUAL(five->major, 5);
    CU_ASSERT_PTR_EQUAL(cairn_run_dialect_read("mpirun (Open MPI) 3.1.6\n"), four);
    CU_ASSERT_PTR_EQUAL(cairn_run_dialect_read("mpirun (Open MPI) 6.0.0rc1\n"), five);
    CU_ASSERT_PTR_NULL(cairn_run_dialect_read("HYDRA build details:\n    Version: 4.0.2\n"));
    CU_ASSERT_PTR_NULL(cairn_run_dialect_read("mpirun (Open MPI) git\n"));
    CU_ASSERT_PTR_NULL(cairn_run_dialect_read(""));
}

UNIT_MAIN("what mpirun says", {"the job's own", of_the_job}, {"killed", killed}, {"exited", exited},
          {"aborted", aborted}, {"a late blank", late_blank}, {"lost hosts", lost_hosts},
          {"of libraries", of_libraries}, {"which mpirun", which_mpirun})
