/* Goal: the real disk keeps its contract, and the log works on it with a writer thread beside the caller.
 * Method: a folder in the folder for temporary files; a second opening of it; names that lead elsewhere. */
#include "paxos/log.h"
#include "support/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], inner[80];

static void remove_all(cairn_disk *disk)
{
    static const char *const names[] = {"a", "b", "lock"};
    char path[200];

    cairn_disk_close(disk);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", inner, names[i]);
        (void)unlink(path);
    }
    CU_ASSERT(rmdir(inner) == 0);
    CU_ASSERT(rmdir(folder) == 0);
}

static void open_disk(cairn_disk *disk)
{
    const char *room = getenv("TMPDIR");
    cairn_error error = {CAIRN_OK, ""};

    (void)snprintf(folder, sizeof folder, "%.40s/cairn-disk-XXXXXX", room != NULL ? room : "/tmp");
    CU_ASSERT_FATAL(mkdtemp(folder) != NULL);
    (void)snprintf(inner, sizeof inner, "%s/acceptor", folder);
    CU_ASSERT_FATAL(cairn_disk_open(disk, inner, &error) == CAIRN_OK);
}

static void count(void *argument, const char *name, uint64_t bytes)
{
    uint64_t *sum = argument;

    (void)name;
    *sum += 1000000 + bytes;
}

static void disk_contract(void)
{
    cairn_disk disk;
    cairn_disk other;
    cairn_error error = {CAIRN_OK, ""};
    struct stat found;
    char path[200];
    uint8_t data[3000];
    uint64_t sum = 0;

    open_disk(&disk);
    CU_ASSERT(cairn_disk_open(&other, inner, &error) == CAIRN_E_BUSY);
    CU_ASSERT(strstr(error.text, "in use by another process") != NULL);
    CU_ASSERT(disk.list(disk.context, count, &sum, &error) == CAIRN_OK && sum == 0);
    CU_ASSERT(disk.create(disk.context, "a", (1 << 20) + 1234, &error) == CAIRN_OK);
    (void)snprintf(path, sizeof path, "%s/a", inner);
    CU_ASSERT(stat(path, &found) == 0 && found.st_size == (1 << 20) + 1234 &&
              found.st_blocks * 512 >= found.st_size); /* no hole */
    CU_ASSERT(disk.list(disk.context, count, &sum, &error) == CAIRN_OK && sum == 1000000 + (1 << 20) + 1234);
    CU_ASSERT(disk.write(disk.context, "a", 1024, "hello", 5, &error) == CAIRN_OK);
    CU_ASSERT(disk.sync(disk.context, "a", &error) == CAIRN_OK);
    CU_ASSERT(disk.create(disk.context, "b", 100, &error) == CAIRN_OK);
    CU_ASSERT(disk.rename(disk.context, "a", "b", &error) == CAIRN_OK);
    CU_ASSERT(disk.read(disk.context, "b", 1020, data, 12, &error) == CAIRN_OK &&
              memcmp(data, "\0\0\0\0hello\0\0", 12) == 0);
    CU_ASSERT(disk.read(disk.context, "a", 0, data, 1, &error) == CAIRN_E_NOT_FOUND);
    CU_ASSERT(disk.read(disk.context, "b", 1 << 20, data, 3000, &error) == CAIRN_E_CORRUPT);
    cairn_disk_close(&disk);
    CU_ASSERT_FATAL(cairn_disk_open(&disk, inner, &error) == CAIRN_OK); /* unlocked */
    CU_ASSERT(disk.read(disk.context, "b", 1024, data, 5, &error) == CAIRN_OK && memcmp(data, "hello", 5) == 0);
    CU_ASSERT(disk.remove(disk.context, "b", &error) == CAIRN_OK);
    CU_ASSERT(disk.remove(disk.context, "b", &error) == CAIRN_E_NOT_FOUND);
    remove_all(&disk);
}

/* Written past the page cache or not, from any address: whoever reads sees it, also what it has read before. */
static void disk_persist(void)
{
    static const struct {
        uint64_t offset;
        size_t bytes;
    } pieces[] = {{0, 512}, {512, 4096}, {4608, 5}, {8192, 65536}, {1 << 17, (1 << 20) + 512}, {1, 512}, {0, 1 << 20}};
    const size_t room = 2 << 20;
    uint8_t *expected = calloc(2, room);
    uint8_t *seen = expected + room;
    cairn_disk disk;
    cairn_error error = {CAIRN_OK, ""};

    CU_ASSERT_FATAL(expected != NULL);
    open_disk(&disk);
    CU_ASSERT(disk.persist(disk.context, "a", 0, expected, 512, &error) == CAIRN_E_NOT_FOUND);
    CU_ASSERT_FATAL(disk.create(disk.context, "a", room, &error) == CAIRN_OK);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        CU_ASSERT(disk.read(disk.context, "a", 0, seen, room, &error) == CAIRN_OK && memcmp(seen, expected, room) == 0);
        memset(expected + pieces[i].offset, (int)i + 1, pieces[i].bytes);
        CU_ASSERT(disk.persist(disk.context, "a", pieces[i].offset, expected + pieces[i].offset, pieces[i].bytes,
                               &error) == CAIRN_OK);
        CU_ASSERT(disk.read(disk.context, "a", 0, seen, room, &error) == CAIRN_OK && memcmp(seen, expected, room) == 0);
    }
    CU_ASSERT(disk.rename(disk.context, "a", "b", &error) == CAIRN_OK);
    memset(expected, 'r', 512);
    CU_ASSERT(disk.persist(disk.context, "b", 0, expected, 512, &error) == CAIRN_OK);
    CU_ASSERT(disk.create(disk.context, "b", room, &error) == CAIRN_OK); /* another file of that name */
    memset(expected, 0, room);
    CU_ASSERT(disk.persist(disk.context, "b", 0, expected, 512, &error) == CAIRN_OK);
    cairn_disk_close(&disk);
    CU_ASSERT_FATAL(cairn_disk_open(&disk, inner, &error) == CAIRN_OK);
    CU_ASSERT(disk.read(disk.context, "b", 0, seen, room, &error) == CAIRN_OK && memcmp(seen, expected, room) == 0);
    CU_ASSERT(disk.read(disk.context, "a", 0, seen, 1, &error) == CAIRN_E_NOT_FOUND);
    remove_all(&disk);
    free(expected);
}

static void disk_names(void)
{
    char long_name[80];
    const char *const wrong[] = {"",        ".",    "..",         "../a",   "a/b", "/etc/passwd",
                                 ".hidden", "lock", "making.tmp", long_name};
    cairn_disk disk;
    cairn_error error = {CAIRN_OK, ""};
    uint8_t data[1];

    memset(long_name, 'a', sizeof long_name);
    long_name[64] = '\0';
    open_disk(&disk);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT(disk.create(disk.context, wrong[i], 10, &error) == CAIRN_E_INVALID);
        CU_ASSERT(disk.read(disk.context, wrong[i], 0, data, 1, &error) == CAIRN_E_INVALID);
        CU_ASSERT(disk.rename(disk.context, "a", wrong[i], &error) == CAIRN_E_INVALID);
        CU_ASSERT(disk.remove(disk.context, wrong[i], &error) == CAIRN_E_INVALID);
    }
    remove_all(&disk);
}

/* ---- the log with a writer in a thread of its own */

typedef struct writer {
    cairn_log *log;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool go, back, end;
    cairn_status status;
} writer;

static void *run_writer(void *argument)
{
    writer *w = argument;

    (void)pthread_mutex_lock(&w->mutex);
    while (!w->end) {
        if (!w->go) {
            (void)pthread_cond_wait(&w->wake, &w->mutex);
            continue;
        }
        w->go = false;
        (void)pthread_mutex_unlock(&w->mutex);
        cairn_status status = cairn_log_write(w->log, NULL);
        (void)pthread_mutex_lock(&w->mutex);
        w->status = status;
        w->back = true;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void append(cairn_log *log, uint64_t slot)
{
    static uint8_t data[1000];
    mp_record record = {.number = slot, .kind = MP_RECORD_VOTE, .slot = slot, .ballot = 7, .chosen = slot - 1};

    memset(data, (int)slot, sizeof data);
    record.value = (mp_value){.type = MP_COMMANDS, .bytes = (uint32_t)(slot * 37 % sizeof data), .data = data};
    if (cairn_log_append(log, &record) != CAIRN_OK) {
        CU_FAIL_FATAL("append");
    }
}

static bool right(cairn_log *log, uint64_t slot)
{
    uint8_t buffer[1000];
    cairn_error error;
    mp_value value;

    if (cairn_log_read(log, slot, buffer, &value, &error) != CAIRN_OK || value.bytes != slot * 37 % sizeof buffer) {
        return false;
    }
    for (uint32_t i = 0; i < value.bytes; i++) {
        if (buffer[i] != (uint8_t)slot) {
            return false;
        }
    }
    return true;
}

static cairn_status take(void *context, const mp_record *record)
{
    uint64_t *last = context;

    *last = record->slot > *last ? record->slot : *last;
    return CAIRN_OK;
}

static void disk_log_and_thread(void)
{
    static const cairn_log_options options = {.segment_bytes = 65536, .value_max = 1000};
    cairn_disk disk;
    cairn_error error = {CAIRN_OK, ""};
    writer w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    uint64_t slot = 0;
    uint64_t written = 0;
    uint64_t last = 0;
    uint64_t storage = 0;
    cairn_log_found found;
    cairn_log_stats stats;
    pthread_t thread;
    bool good = true;

    open_disk(&disk);
    CU_ASSERT_FATAL(cairn_log_create(&w.log, &disk, &options, 5, &error) == CAIRN_OK);
    CU_ASSERT_FATAL(pthread_create(&thread, NULL, run_writer, &w) == 0);
    while (written < 3000 && good) {
        bool back;

        for (int i = 0; i < 20 && slot < written + 300; i++) {
            append(w.log, ++slot);
        }
        if (written > 30) {
            good = good && right(w.log, written) && right(w.log, written - 30);
            cairn_log_trim(w.log, written - 31);
        }
        (void)pthread_mutex_lock(&w.mutex);
        back = w.back;
        w.back = false;
        good = good && w.status == CAIRN_OK;
        if (back) {
            cairn_log_written(w.log, &written);
        }
        if (cairn_log_seal(w.log)) {
            w.go = true;
            (void)pthread_cond_signal(&w.wake);
        }
        (void)pthread_mutex_unlock(&w.mutex);
        (void)sched_yield();
    }
    CU_ASSERT(good);
    (void)pthread_mutex_lock(&w.mutex);
    w.end = true;
    (void)pthread_cond_signal(&w.wake);
    (void)pthread_mutex_unlock(&w.mutex);
    (void)pthread_join(thread, NULL);
    cairn_log_close(w.log);
    CU_ASSERT(cairn_log_open(&w.log, &disk, &options, take, &last, &found, &storage, &error) == CAIRN_OK);
    CU_ASSERT_FATAL(found == CAIRN_LOG_WHOLE && w.log != NULL);
    CU_ASSERT(storage == 5 && last >= written && last <= slot && right(w.log, written));
    cairn_log_get_stats(w.log, &stats);
    CU_ASSERT(stats.segments < 20);
    cairn_log_close(w.log);
    for (uint64_t i = 1; i < 100; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "log-%016llx", (unsigned long long)i);
        (void)disk.remove(disk.context, name, NULL);
    }
    (void)disk.remove(disk.context, "log.mark", NULL);
    remove_all(&disk);
}

UNIT_MAIN("paxos_disk", {"contract", disk_contract}, {"persist", disk_persist}, {"names", disk_names},
          {"log and thread", disk_log_and_thread})
