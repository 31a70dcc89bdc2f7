/* cairn kv as a user runs it, against a stand-in for the service of a job. */
#include "support/coord_stand_in.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <jansson.h>
#include <stdarg.h>
#include <sys/wait.h>

#define WORDS_MAX 32

static char dir[PATH_ROOM];
static char cairn[PATH_ROOM];
static char out[200000];
static char err[20000];
static size_t out_bytes;
static stand_in service;

static void begin(void)
{
    ssize_t length = readlink("/proc/self/exe", cairn, sizeof cairn - 16);

    CU_ASSERT_TRUE_FATAL(length > 0);
    cairn[length] = '\0';
    (void)strcpy(strrchr(cairn, '/'), "/cairn"); /* both are in build/bin */
    sample_folder(dir);
    CU_ASSERT_TRUE_FATAL(stand_in_begin(&service, dir));
}

static void end(void)
{
    stand_in_end(&service);
    sample_remove(dir);
}

static size_t read_back(const char *name, char *text, size_t room)
{
    char path[PATH_ROOM];
    size_t bytes = 0;
    char *data;

    (void)snprintf(path, sizeof path, "%.4000s/%s", dir, name);
    data = sample_load(path, &bytes);
    bytes = bytes < room ? bytes : room - 1;
    if (data != NULL) {
        memcpy(text, data, bytes);
    }
    text[bytes] = '\0';
    free(data);
    (void)unlink(path);
    return bytes;
}

static bool redirect(const char *name, FILE *stream, const char *mode)
{
    char path[PATH_ROOM];

    (void)snprintf(path, sizeof path, name[0] == '/' ? "%.0s%s" : "%.4000s/%s", dir, name);
    return freopen(path, mode, stream) != NULL;
}

static pid_t start(const char *first, va_list rest)
{
    char *words[WORDS_MAX] = {cairn, (char *)(uintptr_t) "kv", (char *)(uintptr_t)first};
    int count = 3;
    pid_t child;

    while ((words[count] = va_arg(rest, char *)) != NULL) {
        count++;
    }
    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        (void)setenv("CAIRN_DIR", dir, 1);
        if (!redirect("in.txt", stdin, "r") && !redirect("/dev/null", stdin, "r")) {
            _exit(126);
        }
        if (!redirect("out.txt", stdout, "w") || !redirect("err.txt", stderr, "w")) {
            _exit(126);
        }
        (void)execvp(words[0], words);
        _exit(127);
    }
    return child;
}

static int finish(pid_t child)
{
    int status = -1;

    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    out_bytes = read_back("out.txt", out, sizeof out);
    (void)read_back("err.txt", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

/* cairn kv FIRST ... NULL: its exit status; `out` and `err` get what it prints. */
static int run(const char *first, ...)
{
    va_list rest;
    pid_t child;

    va_start(rest, first);
    child = start(first, rest);
    va_end(rest);
    return finish(child);
}

static pid_t run_beside(const char *first, ...)
{
    va_list rest;
    pid_t child;

    va_start(rest, first);
    child = start(first, rest);
    va_end(rest);
    return child;
}

static void input(const void *data, size_t bytes)
{
    char path[PATH_ROOM];

    (void)snprintf(path, sizeof path, "%.4000s/in.txt", dir);
    if (data == NULL) {
        (void)unlink(path);
    } else {
        sample_save(path, data, bytes);
    }
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* The first line of `out` as an object; the caller frees it. */
static json_t *first_object(void)
{
    json_error_t error;
    json_t *object = json_loads(out, JSON_DISABLE_EOF_CHECK, &error);

    CU_ASSERT_TRUE_FATAL(json_is_object(object));
    return object;
}

static json_int_t number_in(const json_t *object, const char *name)
{
    CU_ASSERT_TRUE(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

static bool text_in(const json_t *object, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && strcmp(text, expected) == 0;
}

/* How often a key was changed, which also tells whether anything was done twice. */
static uint64_t version_of(const char *key)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = key};
    cairn_response response;
    uint64_t version = 0;

    (void)pthread_mutex_lock(&service.mutex);
    if (cairn_state_read(service.state, &request, &response) == CAIRN_OK && response.kv_count == 1) {
        version = response.kvs[0].version;
    }
    (void)pthread_mutex_unlock(&service.mutex);
    return version;
}

static void count_lease(void *context, const cairn_lease_view *lease)
{
    (void)lease;
    ++*(size_t *)context;
}

static size_t sessions(void)
{
    size_t count = 0;

    (void)pthread_mutex_lock(&service.mutex);
    cairn_state_leases(service.state, count_lease, &count);
    (void)pthread_mutex_unlock(&service.mutex);
    return count;
}

/* ---------------------------------------------------------------- keys */

static void kv_reads_and_writes(void)
{
    static const char raw[] = {'a', '\n', (char)0xff, '\0', 'b'};

    begin();
    CU_ASSERT_EQUAL(run("get", "a", NULL), 1);
    CU_ASSERT_TRUE(has(err, "a: no such key") && out_bytes == 0);
    CU_ASSERT_EQUAL(run("put", "a", "one", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "1\n");
    CU_ASSERT_EQUAL(run("get", "a", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "one\n");
    CU_ASSERT_EQUAL(run("put", "a/b", "--", "-5", NULL), 0); /* behind "--" words may begin with "-" */
    CU_ASSERT_EQUAL(run("get", "a", "--prefix", "--revision", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "a\t1\tone\na/b\t2\t-5\n");
    CU_ASSERT_EQUAL(run("list", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "a\tone\na/b\t-5\n");
    CU_ASSERT_EQUAL(run("range", "a/", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "a/b\t-5\n");
    CU_ASSERT_EQUAL(run("list", "--limit", "1", NULL), 0);
    CU_ASSERT_TRUE(strcmp(out, "a\tone\n") == 0 && has(err, "further keys"));
    CU_ASSERT_EQUAL(run("get", "none", "--prefix", NULL), 1);
    input(raw, sizeof raw);
    CU_ASSERT_EQUAL(run("put", "raw", "-", NULL), 0);
    input(NULL, 0);
    CU_ASSERT_EQUAL(run("get", "raw", NULL), 0);
    CU_ASSERT_TRUE(out_bytes == sizeof raw + 1 && memcmp(out, raw, sizeof raw) == 0);
    CU_ASSERT_EQUAL(run("put", "empty", "", NULL), 0);
    CU_ASSERT_EQUAL(run("get", "empty", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "\n");
    CU_ASSERT_EQUAL(run("del", "a", NULL), 0);
    CU_ASSERT_EQUAL(run("delete", "a", NULL), 1);
    CU_ASSERT_TRUE(has(err, "a: no such key"));
    CU_ASSERT_EQUAL(run("put", "cairn/x", "1", NULL), 1);
    CU_ASSERT_TRUE(has(err, "Cairn's own"));
    CU_ASSERT_EQUAL(sessions(), 0); /* each is closed */
    end();
}

static void kv_compares_and_sets(void)
{
    begin();
    CU_ASSERT_EQUAL(run("cas", "n", "1", "--modified", "7", NULL), 1);
    CU_ASSERT_TRUE(has(err, "n: no such key"));
    CU_ASSERT_EQUAL(run("cas", "n", "1", "--absent", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "1\n");
    CU_ASSERT_EQUAL(run("cas", "n", "2", "--absent", NULL), 1);
    CU_ASSERT_TRUE(has(err, "n: was changed at revision 1"));
    CU_ASSERT_EQUAL(run("cas", "n", "2", "--modified", "1", NULL), 0);
    CU_ASSERT_EQUAL(run("cas", "n", "3", "--modified", "1", NULL), 1);
    CU_ASSERT_EQUAL(run("get", "n", "--revision", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "2\t2\n");
    end();
}

static void kv_speaks_json(void)
{
    static const char raw[] = {(char)0xff, 'a', '\0', 'b'};
    json_t *object;

    begin();
    CU_ASSERT_EQUAL(run("put", "k", "v\xc3\xbc", "--json", NULL), 0);
    object = first_object();
    CU_ASSERT_TRUE(text_in(object, "key", "k") && json_is_true(json_object_get(object, "put")));
    CU_ASSERT_EQUAL(number_in(object, "revision"), 1);
    json_decref(object);
    CU_ASSERT_EQUAL(run("get", "k", "--json", NULL), 0);
    object = first_object();
    CU_ASSERT_TRUE(text_in(object, "value", "v\xc3\xbc") && json_object_get(object, "value_encoding") == NULL);
    CU_ASSERT_TRUE(number_in(object, "version") == 1 && number_in(object, "modified") == 1);
    json_decref(object);
    input(raw, sizeof raw);
    CU_ASSERT_EQUAL(run("put", "raw", "-", NULL), 0);
    input(NULL, 0);
    CU_ASSERT_EQUAL(run("get", "-j", "raw", NULL), 0);
    object = first_object();
    CU_ASSERT_TRUE(text_in(object, "value", "/2EAYg==") && text_in(object, "value_encoding", "base64"));
    json_decref(object);
    CU_ASSERT_EQUAL(run("get", "none", "--json", NULL), 1);
    object = first_object();
    CU_ASSERT_TRUE(json_is_false(json_object_get(object, "found")) && number_in(object, "revision") == 2);
    json_decref(object);
    CU_ASSERT_EQUAL(run("cas", "k", "x", "--absent", "--json", NULL), 1);
    object = first_object();
    CU_ASSERT_TRUE(json_is_false(json_object_get(object, "held")) && number_in(object, "modified") == 1);
    json_decref(object);
    CU_ASSERT_EQUAL(run("list", "--json", NULL), 0);
    CU_ASSERT_TRUE(strchr(out, '\n') != NULL && strchr(out, '\n')[1] == '{');
    CU_ASSERT_EQUAL(run("status", "--json", NULL), 0);
    object = first_object();
    CU_ASSERT_TRUE(number_in(object, "leader") == 1 && text_in(object, "ballot", "3.1"));
    json_decref(object);
    CU_ASSERT_EQUAL(run("status", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "leader       1\nballot       3.1\n");
    end();
}

static void kv_pages_through_long_lists(void)
{
    static char value[CAIRN_VALUE_MAX];
    size_t lines = 0;

    begin();
    memset(value, 'x', sizeof value);
    input(value, sizeof value); /* an answer holds 8 of them */
    for (char key[] = "k0"; key[1] < '9' + 11; key[1]++) {
        CU_ASSERT_EQUAL(run("put", key, "-", NULL), 0);
    }
    input(NULL, 0);
    CU_ASSERT_EQUAL(run("list", "k", NULL), 0);
    CU_ASSERT_EQUAL(out_bytes, sizeof out - 1); /* more than the test holds */
    CU_ASSERT_EQUAL(run("list", "k", "--limit", "4", NULL), 0);
    for (size_t i = 0; i < out_bytes; i++) {
        lines += out[i] == '\n';
    }
    CU_ASSERT_EQUAL(lines, 4);
    end();
}

/* ---------------------------------------------------------------- processes that are not there */

/* What is done, and nobody hears of it, is asked again, and must not be done again. */
static void kv_asks_another_process(void)
{
    static const stand_in_mode modes[] = {STAND_IN_MUTE, STAND_IN_LOSES, STAND_IN_LEFT};
    uint64_t version = 0;

    begin();
    for (int good = 0; good < STAND_IN_PROCESSES; good++) {
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
            for (int i = 0; i < STAND_IN_PROCESSES; i++) {
                atomic_store(&service.modes[i], (int)(i == good ? STAND_IN_ANSWERS : modes[m]));
            }
            CU_ASSERT_EQUAL(run("put", "k", "v", NULL), 0);
            CU_ASSERT_EQUAL(version_of("k"), ++version);
        }
    }
    end();
}

static void kv_goes_on_without_the_dead(void)
{
    begin();
    stand_in_kill(&service, 0);
    stand_in_kill(&service, 2);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(run("put", "k", "v", NULL), 0);
    }
    CU_ASSERT_EQUAL(version_of("k"), 3);
    stand_in_kill(&service, 1);
    CU_ASSERT_EQUAL(run("get", "k", NULL), 69);
    CU_ASSERT_TRUE(has(err, "no job is running there"));
    CU_ASSERT_EQUAL(run("get", "k", "--dir", "/no/such/folder", NULL), 69);
    end();
}

static void kv_says_what_it_waited_for(void)
{
    begin();
    for (int i = 0; i < STAND_IN_PROCESSES; i++) {
        atomic_store(&service.modes[i], STAND_IN_SILENT);
    }
    CU_ASSERT_EQUAL(run("get", "k", "--timeout", "0.9", NULL), 75);
    CU_ASSERT_TRUE(has(err, "k: no answer within 0.9 s; process ") && has(err, "does not answer"));
    for (int i = 0; i < STAND_IN_PROCESSES; i++) {
        atomic_store(&service.modes[i], STAND_IN_LEFT);
    }
    CU_ASSERT_EQUAL(run("get", "k", "--timeout", "0.3", NULL), 75);
    CU_ASSERT_TRUE(has(err, "has left the service"));
    end();
}

/* ---------------------------------------------------------------- waiting and holding */

static void kv_watches(void)
{
    json_t *object;

    begin();
    CU_ASSERT_EQUAL(run("put", "w/a", "1", NULL), 0);
    CU_ASSERT_EQUAL(run("put", "x", "1", NULL), 0);
    CU_ASSERT_EQUAL(run("put", "w/b", "2", NULL), 0);
    CU_ASSERT_EQUAL(run("del", "w/a", NULL), 0);
    CU_ASSERT_EQUAL(run("watch", "w/", "--prefix", "--from", "1", "--count", "3", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "1\tput\tw/a\t1\n3\tput\tw/b\t2\n4\tdelete\tw/a\n");
    CU_ASSERT_EQUAL(run("watch", "w/a", "--from", "2", "--count", "1", "--json", NULL), 0);
    object = first_object();
    CU_ASSERT_TRUE(text_in(object, "type", "delete") && number_in(object, "modified") == 4);
    json_decref(object);
    /* What is there already is not told, so it waits in vain. */
    CU_ASSERT_EQUAL(run("watch", "", "--prefix", "--timeout", "0.2", NULL), 75);
    CU_ASSERT_TRUE(out_bytes == 0 && has(err, "no further change"));
    end();
}

/* What a client did not do: applied at once. */
static void put_directly(const char *key, const char *value)
{
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = strlen(value)};
    cairn_question request = {.op = CAIRN_OP_TXN, .txn = {.then = &put, .then_count = 1}};
    cairn_response response;
    uint64_t one = 1;

    (void)pthread_mutex_lock(&service.mutex);
    stand_in_apply(&service, &request, &response);
    (void)pthread_mutex_unlock(&service.mutex);
    (void)!write(service.wake_fd, &one, sizeof one);
}

/* The process that is asked falls silent in the middle: the next one goes on where it was. */
static void kv_watches_on_elsewhere(void)
{
    char path[PATH_ROOM];
    pid_t child;
    char *text = NULL;
    size_t bytes = 0;

    begin();
    put_directly("w", "1");
    child = run_beside("watch", "w", "--from", "1", "--count", "3", NULL);
    (void)snprintf(path, sizeof path, "%.4000s/out.txt", dir);
    while (bytes == 0) {
        free(text);
        text = sample_exists(path) ? sample_load(path, &bytes) : NULL;
    }
    free(text);
    for (int i = 0; i < STAND_IN_PROCESSES; i++) {
        atomic_store(&service.modes[i], atomic_load(&service.asked[i]) > 0 ? STAND_IN_MUTE : STAND_IN_ANSWERS);
    }
    put_directly("w", "2");
    put_directly("w", "3");
    CU_ASSERT_EQUAL(finish(child), 0);
    CU_ASSERT_STRING_EQUAL(out, "1\tput\tw\t1\n2\tput\tw\t2\n3\tput\tw\t3\n");
    end();
}

static void kv_holds_a_lock(void)
{
    begin();
    CU_ASSERT_EQUAL(run("lock", "l", "--", "sh", "-c", "echo $CAIRN_LOCK_TOKEN; exit 7", NULL), 7);
    CU_ASSERT_STRING_EQUAL(out, "1\n");
    CU_ASSERT_EQUAL(run("lock", "l", "--", "sh", "-c", "kill -9 $$", NULL), 128 + 9);
    CU_ASSERT_EQUAL(run("lock", "l", "--", "/no/such/program", NULL), 127);
    CU_ASSERT_EQUAL(run("lock", "l", NULL), 0); /* standard input ends at once */
    CU_ASSERT_TRUE(atoi(out) > 1);
    CU_ASSERT_EQUAL(run("elect", "e", "me", "--", cairn, "kv", "leader", "e", NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "me\n");
    CU_ASSERT_EQUAL(run("leader", "e", NULL), 1);
    CU_ASSERT_TRUE(has(err, "no leader"));
    /* Held by somebody else: not granted in time, and waited for no more. */
    CU_ASSERT_EQUAL(run("lock", "l", "--", cairn, "kv", "lock", "l", "--timeout", "0.3", NULL), 75);
    CU_ASSERT_TRUE(has(err, "l: not granted within 0.3 s"));
    CU_ASSERT_EQUAL(sessions(), 0);
    end();
}

static void *end_sessions(void *unused)
{
    (void)unused;
    while (version_of("cairn/lock/l") == 0 || stand_in_expire(&service) == 0) {
        (void)usleep(1000);
    }
    return NULL;
}

/* The command is not killed, but the loss is said and the status tells it. */
static void kv_says_that_a_lock_is_lost(void)
{
    pthread_t thread;

    begin();
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, end_sessions, NULL), 0);
    CU_ASSERT_EQUAL(run("lock", "l", "--ttl", "0.3", "--", "sh", "-c", "sleep 0.6; echo done", NULL), 75);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_STRING_EQUAL(out, "done\n");
    CU_ASSERT_TRUE(has(err, "the lock is lost; the command runs on"));
    end();
}

static void kv_meets_at_a_barrier(void)
{
    pid_t child;

    begin();
    CU_ASSERT_EQUAL(run("barrier", "b", "1", NULL), 0);
    CU_ASSERT_EQUAL(run("barrier", "b", "2", "--timeout", "0.2", NULL), 75);
    CU_ASSERT_TRUE(has(err, "b: 2 were not here together within 0.2 s"));
    child = run_beside("barrier", "b", "2", NULL);
    CU_ASSERT_EQUAL(run("barrier", "b", "2", NULL), 0);
    CU_ASSERT_EQUAL(finish(child), 0);
    end();
}

static void kv_refuses_wrong_usage(void)
{
    static const char *const wrong[][4] = {
        {"get", NULL},
        {"get", "a", "b", NULL},
        {"get", "", NULL},
        {"put", "a", NULL},
        {"cas", "a", "b", NULL},
        {"fetch", "a", NULL},
        {"get", "a", "--count=1"},
        {"watch", "a", "--count=0"},
        {"lock", "l", "--", NULL},
        {"get", "a", "--timeout=x"},
        {"get", "a", "--nonsense"},
        {"barrier", "b", "0", NULL},
        {"lock", "l", "--ttl=0"},
        {"get", "a", "--timeout=-1"},
        {"get", "a", "--", "b"},
        {"elect", "e", NULL},
    };

    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT_EQUAL(run(wrong[i][0], wrong[i][1], wrong[i][1] == NULL ? NULL : wrong[i][2],
                            wrong[i][1] == NULL || wrong[i][2] == NULL ? NULL : wrong[i][3], NULL),
                        2);
        CU_ASSERT_TRUE(has(err, "cairn kv --help says more") && out_bytes == 0);
    }
    CU_ASSERT_EQUAL(run("--help", NULL), 0);
    CU_ASSERT_TRUE(has(out, "Usage: cairn kv COMMAND") && has(out, "Exit codes"));
    end();
}

UNIT_MAIN("kv", {"reads and writes", kv_reads_and_writes}, {"compares and sets", kv_compares_and_sets},
          {"speaks JSON", kv_speaks_json}, {"pages through long lists", kv_pages_through_long_lists},
          {"asks another process, and nothing is done twice", kv_asks_another_process},
          {"goes on without the dead", kv_goes_on_without_the_dead},
          {"says what it waited for", kv_says_what_it_waited_for}, {"watches", kv_watches},
          {"watches on elsewhere", kv_watches_on_elsewhere}, {"holds a lock", kv_holds_a_lock},
          {"says that a lock is lost", kv_says_that_a_lock_is_lost}, {"meets at a barrier", kv_meets_at_a_barrier},
          {"refuses wrong usage", kv_refuses_wrong_usage})
