/* program_fill PUTS [lag]: process 0 writes a few keys over and over, PUTS times in all, and each process says what that
 * has made of its consensus log. With `lag` the last process stops itself meanwhile, until all was written.
 *
 * What is found of an earlier call is compared first: process 0 begins at 0 if there is nothing, else at the number in
 * "fill/last", which every key must be below. */
#include "process/consensus.h"

#include <cairn/coord.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 200, OUTSTANDING = 256 };

static cairn_process *process;
static uint64_t failed;

static void must(cairn_status status, const char *what)
{
    if (status != CAIRN_OK) {
        exit(cairn_leave(process, status, what));
    }
}

static void answered(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    (void)context;
    (void)kv;
    (void)revision;
    failed += status != CAIRN_OK;
}

static uint64_t number_at(cairn_coord *coord, const char *key)
{
    char text[32] = "";
    cairn_kv kv;
    cairn_status status = cairn_coord_get(coord, key, &kv, NULL);

    if (status == CAIRN_E_NOT_FOUND) {
        return 0;
    }
    must(status, key);
    memcpy(text, kv.value, kv.bytes < sizeof text ? kv.bytes : sizeof text - 1);
    return strtoull(text, NULL, 10);
}

static void put(cairn_coord *coord, const char *key, uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    must(cairn_coord_begin_put(coord, key, text, strlen(text), answered, NULL), key);
    must(cairn_coord_flush(coord, OUTSTANDING), "waiting for room");
}

/* Key k has the last number that is k modulo KEYS. */
static void fill(cairn_coord *coord, uint64_t puts)
{
    uint64_t first = number_at(coord, "fill/last");
    char key[32];

    for (uint64_t i = 0; i < puts; i++) {
        uint64_t k = (first + i) % KEYS;

        (void)snprintf(key, sizeof key, "fill/%04" PRIu64, k);
        if (i < KEYS && first >= KEYS) {
            must(number_at(coord, key) == first + i - KEYS ? CAIRN_OK : CAIRN_E_BUG,
                 "a number that was written before");
        }
        put(coord, key, first + i);
    }
    must(cairn_coord_flush(coord, 0), "the last answers");
    put(coord, "fill/last", first + puts);
    must(cairn_coord_flush(coord, 0), "the last answer");
    must(failed == 0 ? CAIRN_OK : CAIRN_E_BUG, "answers");
}

static bool is_stopped(long pid)
{
    char path[64];
    char line[512] = "";
    char *end;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    (void)!fgets(line, sizeof line, file);
    (void)fclose(file);
    end = strrchr(line, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'T';
}

static void lag(cairn_coord *coord, uint64_t puts)
{
    static const struct timespec moment = {.tv_nsec = 5000000};
    long pid = 0;

    if (cairn_id(process) == cairn_count(process) - 1) {
        put(coord, "fill/pid", (uint64_t)getpid());
        must(cairn_coord_flush(coord, 0), "the process id");
        (void)raise(SIGSTOP);
    } else if (cairn_id(process) == 0) {
        while (pid == 0 || !is_stopped(pid)) {
            pid = (long)number_at(coord, "fill/pid");
            (void)nanosleep(&moment, NULL);
        }
        fill(coord, puts);
        (void)kill((pid_t)pid, SIGCONT);
    }
}

/* Until this process itself has applied what was written last. */
static void catch_up(cairn_coord *coord)
{
    uint64_t revision = 0;
    cairn_kv kv;

    must(cairn_coord_get(coord, "fill/last", &kv, &revision), "the last key");
    while (cairn_consensus_revision(process) < revision) {
        must(cairn_coord_get(coord, "fill/last", &kv, NULL), "the last key");
    }
}

int main(int argc, char **argv)
{
    cairn_status status = cairn_init(&process, &argc, &argv);
    uint64_t puts = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    cairn_replica_stats stats;
    cairn_coord *coord;

    if (status != CAIRN_OK) {
        return cairn_exit_code(status);
    }
    must(cairn_coord_open(process, 60.0, &coord), "a session");
    if (argc > 2 && strcmp(argv[2], "lag") == 0) {
        lag(coord, puts);
    } else if (cairn_id(process) == 0) {
        fill(coord, puts);
    }
    must(cairn_barrier(process), "all is written");
    catch_up(coord);
    must(cairn_barrier(process), "all have it");
    cairn_consensus_stats(process, &stats);
    printf("process %u: %" PRIu64 " images %" PRIu64 " installed %" PRIu64 " written\n", cairn_id(process),
           stats.images, stats.installed, stats.log.bytes);
    (void)fflush(stdout);
    must(cairn_coord_close(coord), "closing");
    return cairn_leave(process, CAIRN_OK, NULL);
}
