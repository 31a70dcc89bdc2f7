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

/* What srun says, of its tasks and of itself. */
static void check_srun(const char *text, const char *passes, int process, int signal, int code)
{
    for (size_t piece = 1; piece < 64; piece += piece < 8 ? 1 : 13) {
        begin();
        filter.srun = true;
        for (size_t at = 0; at < strlen(text); at += piece) {
            size_t left = strlen(text) - at;
            cairn_run_filter_feed(&filter, text + at, left < piece ? left : piece, 1);
        }
        end();
        CU_ASSERT_STRING_EQUAL(seen, passes);
        CU_ASSERT_EQUAL(filter.process, process);
        CU_ASSERT_EQUAL(filter.signal, signal);
        CU_ASSERT_EQUAL(filter.exit, code);
    }
}

static void of_srun(void)
{
    check_srun("before\nsrun: error: moss: task 1: Killed\nafter\n", "before\nafter\n", 1, 9, -1);
    check_srun("srun: error: moss: task 12: Segmentation fault (core dumped)\n", "", 12, 11, -1);
    check_srun("srun: error: moss: tasks 3-5,7: Exited with exit code 75\n", "", 3, -1, 75);
    check_srun("srun: error: a: task 2: Terminated\nsrun: error: b: task 0: Killed\n", "", 2, 15, -1); /* the first */
    check_srun("srun: Job step aborted: Waiting up to 12 seconds for job step to finish.\n"
               "slurmstepd-moss: error: *** STEP 4.0 ON moss CANCELLED AT 2026-11-22T14:03:05 ***\nsrunning\nsrun\n",
               "srunning\nsrun\n", -1, -1, -1);
    /* Cut off, and not as it should be. */
    check_srun("srun: error: moss: task 1", "srun: error: moss: task 1", -1, -1, -1);
    check_srun("srun: error: moss: task 1\nsrun: error: moss: task 1:\n", "", -1, -1, -1);
    check_srun("srun: error: moss: task : Killed\nsrun: error: : task 1: Killed\nsrun: error: moss: taskx 1: Killed\n",
               "", -1, -1, -1);
    check_srun("srun: error: moss: task 99999999999999999999: Killed\n", "", -1, -1, -1);
    check_srun("srun: error: moss: task 1: \n", "", -1, -1, -1);
    check_srun("srun: error: moss: task 1: Something else\n", "", 1, -1, -1);
    check_srun("the job: srun: error: moss: task 1: Killed\n", "the job: srun: error: moss: task 1: Killed\n", -1, -1,
               -1);
}

static void a_node_fails(void)
{
    begin();
    filter.srun = true;
    feed("srun: error: Node failure on moss,cairn\n");
    end();
    CU_ASSERT_TRUE(filter.daemon_lost);
    CU_ASSERT_STRING_EQUAL(filter.host, "moss");
    begin(); /* mpirun's srun: its tasks are daemons, and no processes */
    feed("srun: error: stone: task 1: Killed\nsrun: error: cairn: task 0: Killed\n");
    end();
    CU_ASSERT_EQUAL(filter.process, -1);
    CU_ASSERT_STRING_EQUAL(filter.first_host, "stone");
    CU_ASSERT_FALSE(filter.not_started);
    begin();
    feed("srun: error: Unable to create step for job 4: Requested nodes are busy\n");
    end();
    CU_ASSERT_TRUE(filter.not_started);
}

/* Longer than what can be held back: it goes through, and what srun says behind it is read. */
static void long_lines(void)
{
    static char text[3 * sizeof filter.held];
    static const char tail[] = "\nsrun: error: moss: task 1: Killed\n";
    static const char *const heads[] = {"x", "srun: error: moss: task 2: ", "[", "[vm:12] ", RULE};

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        memset(text, 'y', sizeof text);
        memcpy(text, heads[i], strlen(heads[i]));
        cairn_run_filter_begin(&filter, -1, NULL, true); /* nobody listens */
        cairn_run_filter_feed(&filter, text, sizeof text, 1);
        cairn_run_filter_feed(&filter, tail, sizeof tail - 1, 1);
        cairn_run_filter_flush(&filter, 100, true);
        CU_ASSERT_EQUAL(filter.held_bytes, 0);
        CU_ASSERT_EQUAL(filter.process, 1);
        CU_ASSERT_EQUAL(filter.signal, 9);
    }
}

static void of_sinfo(void)
{
    static const char *const living[] = {
        "stone allocated\n",
        "stone idle\n",
        "stone draining\n",
        "stone unknown\n",
        "stone mixed\n",
        "stone\n",
        "",
        "\n",
        "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n",
        "stone down extra\n",
        " \t\r\n"};
    static const char *const dead[] = {"stone down\n",          "stone down*\n", "stone allocated*\n",
                                       "  stone   failing\r\n", "stone fail",    "stone\tidle*\n"};
    char name[CAIRN_NODE_NAME_BYTES], state[64], line[400];

    for (size_t i = 0; i < sizeof living / sizeof living[0]; i++) {
        CU_ASSERT_FALSE(cairn_run_slurm_read_dead(living[i], name, state));
    }
    for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) {
        CU_ASSERT_TRUE(cairn_run_slurm_read_dead(dead[i], name, state));
        CU_ASSERT_STRING_EQUAL(name, "stone");
    }
    memset(line, 'n', sizeof line);
    memcpy(line + CAIRN_NODE_NAME_BYTES - 1, " down*", 7); /* as long as a name may be */
    CU_ASSERT_TRUE(cairn_run_slurm_read_dead(line, name, state));
    CU_ASSERT_EQUAL(strlen(name), CAIRN_NODE_NAME_BYTES - 1);
    memcpy(line + CAIRN_NODE_NAME_BYTES - 1, "n down*", 8);
    CU_ASSERT_FALSE(cairn_run_slurm_read_dead(line, name, state));
    memset(line, '*', sizeof line);
    memcpy(line, "stone ", 6);
    line[6 + 63] = '\0';
    CU_ASSERT_TRUE(cairn_run_slurm_read_dead(line, name, state));
    line[6 + 63] = '*';
    line[6 + 64] = '\0';
    CU_ASSERT_FALSE(cairn_run_slurm_read_dead(line, name, state));
}

static void of_the_list_of_mpis(void)
{
    CU_ASSERT_TRUE(cairn_run_slurm_read_pmix("MPI plugin types are...\n\tnone pmi2 pmix\n"));
    CU_ASSERT_TRUE(cairn_run_slurm_read_pmix("\tpmix_v4\n"));
    CU_ASSERT_TRUE(cairn_run_slurm_read_pmix("specific pmix plugin versions available: pmix_v4"));
    CU_ASSERT_TRUE(cairn_run_slurm_read_pmix("none,cray_shasta,pmix,pmi2"));
    CU_ASSERT_FALSE(cairn_run_slurm_read_pmix("\tnone\n\tpmi2\n"));
    CU_ASSERT_FALSE(cairn_run_slurm_read_pmix("srun: error: /usr/lib/mpi_pmix.so: cannot open\n"));
    CU_ASSERT_FALSE(cairn_run_slurm_read_pmix("pmixture\n"));
    CU_ASSERT_FALSE(cairn_run_slurm_read_pmix(""));
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
          {"of libraries", of_libraries}, {"of srun", of_srun}, {"a node fails", a_node_fails},
          {"long lines", long_lines}, {"of sinfo", of_sinfo}, {"of the list of MPIs", of_the_list_of_mpis},
          {"which mpirun", which_mpirun})
