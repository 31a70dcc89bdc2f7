/* Clients that load the coordination service while a test does it harm, and write down what they saw.
 *
 *   program_coord_load FOLDER SECONDS   a job: every process puts, gets, compares and sets, deletes, each value once,
 *                                       for so long or until FOLDER/stop is there; then it reads all once more.
 *                                       SECONDS 0: only that
 *   program_coord_load --join FILE...   the histories of the processes as one, in the lines of support/linear.h
 *
 * A process writes two lines for each operation, before and after it, so that of one that is killed the first is there:
 *   > SERIAL BEGIN put|get|cas|delete KEY [EXPECTED] [VALUE]      < SERIAL END RESULT
 * in FOLDER/history-PROCESS-PID. Keys kept/... are put once and never changed; FOLDER/kept-PROCESS-PID says when it looked
 * at the end, and lists those that were there. */
#include "support/program.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#define KEYS          5
#define BATCH         4
#define PAUSE_US      2000
#define CALL_SECONDS  2.0  /* of an operation; then its outcome is not known */
#define LAST_SECONDS  60.0 /* of the reads at the end, until they are answered */
#define WAITS_SECONDS 90.0 /* of anything else */
#define PATH_BYTES    4096
#define WORD_BYTES    64

typedef struct known {
    char value[WORD_BYTES]; /* "-": none */
    uint64_t modified;
} known;

typedef struct pending {
    struct load *load;
    uint64_t serial; /* 0: free */
} pending;

typedef struct load {
    cairn_process *process;
    cairn_coord *coord;
    const char *folder;
    uint64_t random, serial, until;
    int history;
    known keys[KEYS]; /* as last seen */
    pending batch[BATCH];
    bool out_of_service;
} load;

static uint64_t nanoseconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t chance(load *l, uint64_t below)
{
    return program_random(&l->random) % below;
}

static int open_file(const load *l, const char *what)
{
    char path[PATH_BYTES];
    int file;

    (void)snprintf(path, sizeof path, "%.4000s/%s-%u-%ld", l->folder, what, cairn_id(l->process), (long)getpid());
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(cairn_leave(l->process, CAIRN_E_IO, "test"));
    }
    return file;
}

static void write_line(load *l, int file, const char *line, int length)
{
    if (write(file, line, (size_t)length) != length) {
        fprintf(stderr, "a history cannot be written: %s\n", strerror(errno));
        exit(cairn_leave(l->process, CAIRN_E_IO, "test"));
    }
}

/* words: " KEY VALUE" and the like. */
static uint64_t note_begin(load *l, const char *kind, const char *words)
{
    char line[512];
    uint64_t serial = ++l->serial;
    int length = snprintf(line, sizeof line, "> %" PRIu64 " %" PRIu64 " %s%s\n", serial, nanoseconds(), kind, words);

    write_line(l, l->history, line, length);
    return serial;
}

static void note_end(load *l, uint64_t serial, const char *result)
{
    char line[512];
    int length = snprintf(line, sizeof line, "< %" PRIu64 " %" PRIu64 " %s\n", serial, nanoseconds(), result);

    write_line(l, l->history, line, length);
}

/* ---------------------------------------------------------------- operations */

static void key_name(char key[WORD_BYTES], uint64_t i)
{
    (void)snprintf(key, WORD_BYTES, "load/%" PRIu64, i);
}

/* A value that nobody else puts. */
static void new_value(load *l, char value[WORD_BYTES])
{
    (void)snprintf(value, WORD_BYTES, "%u.%ld.%" PRIu64, cairn_id(l->process), (long)getpid(), l->serial + 1);
}

static void text_of(const cairn_kv *kv, char text[WORD_BYTES])
{
    (void)snprintf(text, WORD_BYTES, "%.*s", (int)kv->bytes, (const char *)kv->value);
}

/* Whether the session has ended or the service is lost to this process, which only the status says. */
static void look(load *l, cairn_status status)
{
    if (status == CAIRN_E_IO && !l->out_of_service) {
        l->out_of_service = true;
        fprintf(stderr, "load: process %u: %s\n", cairn_id(l->process), cairn_coord_error(l->coord));
    } else if (status == CAIRN_E_STATE) {
        (void)cairn_coord_close(l->coord);
        l->coord = NULL;
    }
}

static cairn_status do_get(load *l, uint64_t i)
{
    char key[WORD_BYTES], words[WORD_BYTES + 2];
    cairn_kv kv;
    cairn_status status;
    uint64_t serial;

    key_name(key, i);
    (void)snprintf(words, sizeof words, " %s", key);
    serial = note_begin(l, "get", words);
    status = cairn_coord_get(l->coord, key, &kv, NULL);
    if (status == CAIRN_OK) {
        text_of(&kv, l->keys[i].value);
        l->keys[i].modified = kv.modified;
    } else if (status == CAIRN_E_NOT_FOUND) {
        l->keys[i] = (known){.value = "-"};
    }
    note_end(l, serial, status == CAIRN_OK || status == CAIRN_E_NOT_FOUND ? l->keys[i].value : "?");
    return status == CAIRN_E_NOT_FOUND ? CAIRN_OK : status;
}

static cairn_status do_put(load *l, uint64_t i, bool kept)
{
    char key[WORD_BYTES], value[WORD_BYTES], words[2 * WORD_BYTES + 3];
    cairn_status status;
    uint64_t serial, revision = 0;

    key_name(key, i);
    new_value(l, value);
    if (kept) {
        (void)snprintf(key, sizeof key, "kept/%.50s", value);
    }
    (void)snprintf(words, sizeof words, " %s %s", key, value);
    serial = note_begin(l, "put", words);
    status = cairn_coord_put(l->coord, key, value, strlen(value), 0, &revision);
    if (status == CAIRN_OK && !kept) {
        (void)strcpy(l->keys[i].value, value);
        l->keys[i].modified = revision;
    }
    note_end(l, serial, status == CAIRN_OK ? "ok" : "?");
    return status;
}

/* Values are there once, so "changed last at this revision" means "has this value". */
static cairn_status do_cas(load *l, uint64_t i)
{
    char key[WORD_BYTES], value[WORD_BYTES], words[3 * WORD_BYTES + 4];
    cairn_status status;
    uint64_t serial, revision = 0;

    if (l->keys[i].value[0] == '\0') {
        return do_get(l, i);
    }
    key_name(key, i);
    new_value(l, value);
    (void)snprintf(words, sizeof words, " %s %s %s", key, l->keys[i].value, value);
    serial = note_begin(l, "cas", words);
    status = cairn_coord_cas(l->coord, key, l->keys[i].modified, value, strlen(value), 0, &revision);
    if (status == CAIRN_OK) {
        (void)strcpy(l->keys[i].value, value);
        l->keys[i].modified = revision;
    }
    note_end(l, serial, status == CAIRN_OK ? "ok" : status == CAIRN_E_MISMATCH ? "fail" : "?");
    return status == CAIRN_E_MISMATCH ? CAIRN_OK : status;
}

static cairn_status do_delete(load *l, uint64_t i)
{
    char key[WORD_BYTES], words[WORD_BYTES + 2];
    cairn_status status;
    uint64_t serial;

    key_name(key, i);
    (void)snprintf(words, sizeof words, " %s", key);
    serial = note_begin(l, "delete", words);
    status = cairn_coord_delete(l->coord, key, NULL);
    note_end(l, serial, status == CAIRN_OK ? "ok" : status == CAIRN_E_NOT_FOUND ? "none" : "?");
    return status == CAIRN_E_NOT_FOUND ? CAIRN_OK : status;
}

/* ---------------------------------------------------------------- several at once */

static void on_answer(void *context, cairn_status status, const cairn_kv *kv, uint64_t revision)
{
    pending *p = context;
    char value[WORD_BYTES] = "ok";

    (void)revision;
    if (kv != NULL) {
        text_of(kv, value);
    }
    note_end(p->load, p->serial, status == CAIRN_OK ? value : status == CAIRN_E_NOT_FOUND ? "-" : "?");
    p->serial = 0;
}

static cairn_status do_batch(load *l)
{
    cairn_status status = CAIRN_OK;

    for (int i = 0; i < BATCH && status == CAIRN_OK; i++) {
        char key[WORD_BYTES], value[WORD_BYTES], words[2 * WORD_BYTES + 3];
        pending *p = &l->batch[i];

        if (p->serial != 0) { /* still open from before */
            continue;
        }
        key_name(key, chance(l, KEYS));
        new_value(l, value);
        if (chance(l, 2) == 0) {
            (void)snprintf(words, sizeof words, " %s", key);
            p->serial = note_begin(l, "get", words);
            status = cairn_coord_begin_get(l->coord, key, on_answer, p);
        } else {
            (void)snprintf(words, sizeof words, " %s %s", key, value);
            p->serial = note_begin(l, "put", words);
            status = cairn_coord_begin_put(l->coord, key, value, strlen(value), on_answer, p);
        }
        if (status != CAIRN_OK) {
            p->serial = 0; /* no end: not known */
        }
    }
    return status == CAIRN_OK ? cairn_coord_flush(l->coord, 0) : status;
}

static cairn_status do_something(load *l)
{
    uint64_t i = chance(l, KEYS);

    switch (chance(l, 16)) {
    case 0:
    case 1:
    case 2:
        return do_put(l, i, false);
    case 3:
    case 4:
        return do_put(l, i, true);
    case 5:
    case 6:
        return do_cas(l, i);
    case 7:
        return do_delete(l, i);
    case 8:
        return do_batch(l);
    default:
        return do_get(l, i);
    }
}

/* ---------------------------------------------------------------- the job */

static cairn_status open_handle(load *l)
{
    cairn_status status = l->coord != NULL ? CAIRN_OK : cairn_coord_open(l->process, 0.0, &l->coord);

    if (status == CAIRN_OK) {
        status = cairn_coord_deadline(l->coord, CALL_SECONDS);
    } else if (status == CAIRN_E_TIMEOUT || status == CAIRN_E_BUSY || status == CAIRN_E_PEER) {
        status = CAIRN_OK; /* once more */
    } else if (status == CAIRN_E_IO) {
        l->out_of_service = true;
        status = CAIRN_OK;
    }
    return status;
}

static bool is_over(const load *l)
{
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof path, "%.4000s/stop", l->folder);
    return l->out_of_service || nanoseconds() >= l->until || access(path, F_OK) == 0;
}

static cairn_next on_idle(cairn_process *p, void *context, cairn_status *status)
{
    load *l = context;

    (void)p;
    *status = open_handle(l);
    if (*status != CAIRN_OK) {
        return CAIRN_FAIL;
    }
    if (is_over(l)) {
        return CAIRN_STOP;
    }
    if (l->coord != NULL) {
        look(l, do_something(l));
    }
    (void)usleep((useconds_t)(PAUSE_US / 2 + chance(l, PAUSE_US)));
    return CAIRN_CONTINUE;
}

static cairn_next on_message(cairn_process *p, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status)
{
    (void)p;
    (void)message;
    (void)payload;
    (void)context;
    *status = CAIRN_E_CORRUPT; /* nobody sends any */
    return CAIRN_FAIL;
}

static cairn_status on_lost(cairn_process *p, uint32_t id, void *context)
{
    (void)context;
    fprintf(stderr, "load: process %u goes on without %u\n", cairn_id(p), id);
    return CAIRN_OK;
}

static cairn_status list_kept(load *l)
{
    const cairn_kv *kvs;
    size_t count = 0;
    bool more = true;
    uint64_t begin = nanoseconds();
    char line[512];
    cairn_status status = cairn_coord_range(l->coord, "kept/", 0, &kvs, &count, &more);
    int file;

    if (status != CAIRN_OK) {
        return status;
    }
    file = open_file(l, "kept");
    write_line(l, file, line, snprintf(line, sizeof line, "begin %" PRIu64 "\n", begin));
    for (size_t i = 0; i < count; i++) {
        char value[WORD_BYTES];

        text_of(&kvs[i], value);
        write_line(l, file, line, snprintf(line, sizeof line, "%s %s\n", kvs[i].key, value));
    }
    (void)close(file);
    return more ? CAIRN_E_RANGE : CAIRN_OK;
}

/* Until each was answered once. */
static cairn_status read_all(load *l)
{
    uint64_t until = nanoseconds() + (uint64_t)(LAST_SECONDS * 1e9);
    cairn_status status = CAIRN_OK;

    for (uint64_t i = 0; i <= KEYS && !l->out_of_service; i++) {
        do {
            status = open_handle(l);
            if (status == CAIRN_OK) {
                status = l->coord == NULL ? CAIRN_E_TIMEOUT : i < KEYS ? do_get(l, i) : list_kept(l);
                look(l, status);
            }
        } while (status != CAIRN_OK && !l->out_of_service && nanoseconds() < until);
        if (status != CAIRN_OK && !l->out_of_service) {
            fprintf(stderr, "load: process %u: the last reads: %s\n", cairn_id(l->process), cairn_status_text(status));
            return status;
        }
    }
    return CAIRN_OK;
}

static cairn_status run_load(load *l, double seconds)
{
    static const cairn_handlers handlers = {.on_message = on_message, .on_idle = on_idle};
    cairn_status status;

    cairn_lost_handler(l->process, on_lost, NULL);
    l->history = open_file(l, "history");
    l->random = nanoseconds() ^ ((uint64_t)getpid() << 32);
    l->until = nanoseconds() + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < BATCH; i++) {
        l->batch[i].load = l;
    }
    status = cairn_set_deadline(l->process, WAITS_SECONDS);
    if (status == CAIRN_OK) {
        status = cairn_restore(l->process, NULL);
    }
    if (status == CAIRN_OK) {
        status = cairn_serve(l->process, &handlers, l);
    }
    if (status == CAIRN_OK) {
        status = read_all(l);
    }
    (void)cairn_coord_close(l->coord);
    printf("load: process %u, %" PRIu64 " operations%s\n", cairn_id(l->process), l->serial,
           l->out_of_service ? ", out of service" : "");
    return status;
}

/* ---------------------------------------------------------------- joining histories */

typedef struct operation {
    uint64_t begin, end;
    char text[3 * WORD_BYTES + 32]; /* put KEY VALUE and the like */
    char result[WORD_BYTES];        /* "": there is no end */
} operation;

static void print_operation(unsigned process, const operation *o)
{
    bool has_result = o->result[0] != '\0' && strcmp(o->result, "?") != 0;

    printf("%u %" PRIu64 " ", process, o->begin);
    if (has_result) {
        printf("%" PRIu64 " %s %s\n", o->end, o->text, o->result);
    } else {
        printf("- %s ?\n", o->text);
    }
}

static bool join(const char *path)
{
    FILE *file = fopen(path, "r");
    const char *name = strstr(path, "history-");
    operation *operations = NULL;
    uint64_t count = 0, room = 0, serial, time;
    char line[512];
    bool good = file != NULL && name != NULL;

    while (good && fgets(line, sizeof line, file) != NULL) {
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line + 1, "%" SCNu64 " %" SCNu64 " %n", &serial, &time, &at) != 2) {
            good = false;
        } else if (line[0] == '>' && serial == count + 1) {
            if (count == room) {
                room = room * 2 + 1000;
                operations = realloc(operations, room * sizeof *operations);
            }
            if (operations == NULL) {
                abort();
            }
            operations[count] = (operation){.begin = time};
            (void)snprintf(operations[count++].text, sizeof operations->text, "%s", line + 1 + at);
        } else if (line[0] == '<' && serial >= 1 && serial <= count) {
            operations[serial - 1].end = time;
            (void)snprintf(operations[serial - 1].result, WORD_BYTES, "%s", line + 1 + at);
        } else {
            good = false;
        }
    }
    for (uint64_t i = 0; good && i < count; i++) {
        print_operation((unsigned)strtoul(name + strlen("history-"), NULL, 10), &operations[i]);
    }
    if (!good) {
        fprintf(stderr, "program_coord_load: %s: not a history\n", path);
    }
    free(operations);
    if (file != NULL) {
        (void)fclose(file);
    }
    return good;
}

int main(int argc, char **argv)
{
    static load l;
    bool good = argc > 2;
    char *end = NULL;
    cairn_status status;

    if (argc > 1 && strcmp(argv[1], "--join") == 0) {
        for (int i = 2; i < argc; i++) {
            good = join(argv[i]) && good;
        }
        return good ? 0 : 2;
    }
    status = cairn_init(&l.process, &argc, &argv);
    if (status != CAIRN_OK) {
        return cairn_exit_code(status);
    }
    program_process = l.process;
    double seconds = argc == 3 ? strtod(argv[2], &end) : -1.0;
    if (end == NULL || *end != '\0' || !(seconds >= 0.0 && seconds < 3600.0)) {
        return cairn_leave(l.process, CAIRN_E_INVALID, "program_coord_load FOLDER SECONDS");
    }
    l.folder = argv[1];
    return cairn_leave(l.process, run_load(&l, seconds), "the load");
}
