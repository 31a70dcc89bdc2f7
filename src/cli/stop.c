/* cairn stop: have the run of a folder take a last snapshot and end for good. */
#include "cli/stop.h"
#include "cli/cli.h"
#include "cli/common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 120.0
#define POLL_SECONDS    0.1

static void print_help(void)
{
    printf(
        "Usage: cairn stop [OPTIONS] DIR\n"
        "Have the `cairn run` of DIR take a last snapshot and end for good, with exit status 85; a batch script of "
        "slurm/\n"
        "then does not requeue its job. Works from any host that shares DIR: the wish is the file DIR/stop. Waits "
        "until "
        "the\n"
        "run has ended and says so in a line.\n"
        "If nobody runs in DIR the wish stays there: a job that is queued or requeued ends for good when it starts. A "
        "start\n"
        "that was meant, by `cairn run` or sbatch after the wish, clears it and runs.\n"
        "\n"
        "  -t, --timeout S  wait no longer than S seconds (default %.0f); 0: do not wait\n"
        "  -w, --withdraw   take the wish back, as long as nobody has followed it\n"
        "  -h, --help       this text\n"
        "\n"
        "Exit codes: 0 the run has ended, or nobody runs, or (with --timeout 0) it was told; 1 nobody ever ran in DIR; "
        "2 "
        "wrong\n"
        "usage; 73 DIR cannot be written; 75 still running after the timeout: the wish stays.\n",
        TIMEOUT_SECONDS);
}

static double now(void)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Whether somebody holds DIR/lock: a `cairn run`, or its launcher. *holder: what it says of itself. */
static bool is_running(const char *dir, char *holder, size_t bytes)
{
    char path[CAIRN_PATH_BYTES];

    (void)snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    ssize_t got = held ? pread(fd, holder, bytes - 1, 0) : 0;
    holder[got > 0 ? got : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    close(fd);
    return held;
}

/* What there is to go on from, 0: nothing. */
static uint64_t newest_of(const char *dir, const cairn_run_record *record)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    uint64_t newest = 0;

    if (cairn_store_list(dir, record->run, CAIRN_DEPTH_SEALS, &entries, &count, NULL) != CAIRN_OK) {
        return 0;
    }
    for (size_t i = 0; i < count && newest == 0; i++) {
        newest = entries[i].use == CAIRN_USE_YES ? entries[i].number : 0;
    }
    cairn_store_list_free(entries, count);
    return newest;
}

/* The run has ended: how? The exit code. */
static int tell_end(const char *dir, double seconds)
{
    cairn_run_record *record = NULL;
    cairn_error error = {0};
    uint64_t newest;

    if (cairn_run_record_read(dir, &record, &error) != CAIRN_OK) {
        return cairn_cli_fail("stop", &error);
    }
    newest = newest_of(dir, record);
    if (record->finished) {
        (void)cairn_stop_clear(dir);
        printf("%s: done after %.1f s, before it could be stopped\n", dir, seconds);
    } else if (newest > 0) {
        printf("%s: stopped after %.1f s; the newest committed snapshot is %" PRIu64 "\n", dir, seconds, newest);
    } else {
        printf("%s: stopped after %.1f s; no snapshot was committed\n", dir, seconds);
    }
    cairn_run_record_free(record);
    return CAIRN_EXIT_OK;
}

static int wait_for_end(const char *dir, double timeout)
{
    const struct timespec pause = {.tv_nsec = (long)(POLL_SECONDS * 1e9)};
    double began = now();
    char holder[160], by[128];
    cairn_error error = {0};

    while (is_running(dir, holder, sizeof holder)) {
        if (now() - began > timeout) {
            fprintf(stderr, "cairn: stop: %s: still running after %g s (%s); the wish stays\n", dir, timeout, holder);
            return CAIRN_EXIT_AGAIN;
        }
        /* A run that was just starting may have taken it for an old one; and one that is done removes it. */
        if (cairn_stop_asked(dir, by, sizeof by) != CAIRN_STOP_FOR_GOOD &&
            cairn_stop_ask(dir, CAIRN_STOP_FOR_GOOD, &error) != CAIRN_OK) {
            return cairn_cli_fail("stop", &error);
        }
        (void)nanosleep(&pause, NULL);
    }
    return tell_end(dir, now() - began);
}

static int stop(const char *dir, double timeout)
{
    cairn_run_record *record = NULL;
    char holder[160];
    cairn_error error = {0};
    cairn_status status = cairn_stop_ask(dir, CAIRN_STOP_FOR_GOOD, &error);

    if (status != CAIRN_OK) {
        return cairn_cli_fail("stop", &error);
    }
    if (is_running(dir, holder, sizeof holder)) {
        if (timeout <= 0) {
            printf("%s: told to stop (%s)\n", dir, holder);
            return CAIRN_EXIT_OK;
        }
        return wait_for_end(dir, timeout);
    }
    status = cairn_run_record_read(dir, &record, &error);
    if (status == CAIRN_OK && record->finished) {
        (void)cairn_stop_clear(dir);
        printf("%s: nothing to stop: the run is done\n", dir);
    } else {
        printf(
            "%s: nobody runs here; a job that is queued for it ends for good when it starts (`cairn stop --withdraw` "
            "takes that back)\n",
            dir);
    }
    cairn_run_record_free(record);
    return CAIRN_EXIT_OK;
}

static int withdraw(const char *dir)
{
    char by[128];

    if (cairn_stop_asked(dir, by, sizeof by) != CAIRN_STOP_FOR_GOOD) {
        printf("%s: there was no wish to stop\n", dir);
        return CAIRN_EXIT_OK;
    }
    if (!cairn_stop_clear(dir)) {
        fprintf(stderr, "cairn: stop: %s/stop: cannot be removed: %s\n", dir, strerror(errno));
        return CAIRN_EXIT_CANNOT_WRITE;
    }
    printf("%s: the wish to stop is taken back\n", dir);
    return CAIRN_EXIT_OK;
}

int cairn_cli_stop(int argc, char **argv)
{
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
                                            {"withdraw", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    double timeout = TIMEOUT_SECONDS;
    bool back = false;
    char path[CAIRN_PATH_BYTES], *end;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":t:wh", options, NULL)) != -1) {
        switch (option) {
        case 't':
            timeout = strtod(optarg, &end);
            if (end == optarg || *end != '\0' || !isfinite(timeout) || timeout < 0) {
                return cairn_cli_usage_error("stop", "--timeout %s: seconds from 0 up are needed", optarg);
            }
            break;
        case 'w':
            back = true;
            break;
        case 'h':
            print_help();
            return CAIRN_EXIT_OK;
        case ':':
            return cairn_cli_usage_error("stop", "%s: a value is missing", argv[optind - 1]);
        default:
            return cairn_cli_usage_error("stop", "%s: no such option", argv[optind - 1]);
        }
    }
    if (argc - optind != 1) {
        return cairn_cli_usage_error("stop", "one DIR is needed");
    }
    if (snprintf(path, sizeof path, "%s/run.json", argv[optind]) >= (int)sizeof path - 16 || access(path, F_OK) != 0) {
        (void)snprintf(path, sizeof path, "%s/lock", argv[optind]);
        if (access(path, F_OK) != 0) {
            fprintf(stderr, "cairn: stop: %s: not a folder in which `cairn run` was at work\n", argv[optind]);
            return CAIRN_EXIT_FAILURE;
        }
    }
    return back ? withdraw(argv[optind]) : stop(argv[optind], timeout);
}
