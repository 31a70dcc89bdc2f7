/* The `cairn` command itself, run as a user runs it: what it prints and with what it exits. And h5dump on a snapshot.
 */
#include "support/snapshots.h"
#include "support/unit.h"

#include <jansson.h>
#include <sys/wait.h>

static char dir[PATH_ROOM];
static char cairn[PATH_ROOM];
static char out[200000];
static char err[20000];

static void begin(void)
{
    ssize_t length = readlink("/proc/self/exe", cairn, sizeof cairn - 16);

    CU_ASSERT_TRUE_FATAL(length > 0);
    cairn[length] = '\0';
    (void)strcpy(strrchr(cairn, '/'), "/cairn"); /* both are in build/bin */
    sample_folder(dir);
}

static void end(void)
{
    sample_remove(dir);
}

static void read_back(const char *name, char *text, size_t room)
{
    char path[PATH_ROOM];
    size_t bytes = 0;
    char *data;

    (void)snprintf(path, sizeof path, "%.4000s/%s", dir, name);
    data = sample_load(path, &bytes);
    (void)snprintf(text, room, "%s", data != NULL ? data : "");
    free(data);
    (void)unlink(path);
}

/* Run a program; `out` and `err` get what it prints. Returns its exit status. */
static int run_program(char *const *arguments)
{
    char path[PATH_ROOM];
    int status = -1;
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        (void)snprintf(path, sizeof path, "%.4000s/out.txt", dir);
        if (freopen(path, "w", stdout) == NULL) {
            _exit(126);
        }
        (void)snprintf(path, sizeof path, "%.4000s/err.txt", dir);
        if (freopen(path, "w", stderr) == NULL) {
            _exit(126);
        }
        (void)execvp(arguments[0], arguments);
        _exit(127);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    read_back("out.txt", out, sizeof out);
    read_back("err.txt", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static int run(const char *a, const char *b, const char *c, const char *d)
{
    char *arguments[] = {cairn, (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, (char *)(uintptr_t)d,
                         NULL};

    return run_program(arguments);
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void help_version_usage(void)
{
    static const char *const commands[] = {"list", "show", "verify", "prune", "stop"};

    begin();
    CU_ASSERT_EQUAL(run("--version", NULL, NULL, NULL), 0);
    CU_ASSERT_EQUAL(strncmp(out, "cairn ", 6), 0);
    for (size_t i = 0; i < 5; i++) {
        char usage[64];

        CU_ASSERT_EQUAL(run("--help", NULL, NULL, NULL), 0);
        CU_ASSERT_TRUE(has(out, commands[i]));
        (void)snprintf(usage, sizeof usage, "Usage: cairn %s", commands[i]);
        CU_ASSERT_EQUAL(run(commands[i], "--help", NULL, NULL), 0);
        CU_ASSERT_TRUE(has(out, usage) && has(out, i < 4 ? "--json" : "--timeout") && has(out, "Exit codes"));
        CU_ASSERT_EQUAL(run("help", commands[i], NULL, NULL), 0);
        CU_ASSERT_TRUE(has(out, usage));
        CU_ASSERT_EQUAL(run(commands[i], NULL, NULL, NULL), 2);
        CU_ASSERT_TRUE(has(err, "cairn: ") && has(err, commands[i]) && out[0] == '\0');
        CU_ASSERT_EQUAL(run(commands[i], "--nonsense", dir, NULL), 2);
        CU_ASSERT_TRUE(has(err, "--nonsense"));
        CU_ASSERT_EQUAL(run(commands[i], "/nonexistent", NULL, NULL), 1);
        CU_ASSERT_TRUE(has(err, "/nonexistent"));
    }
    CU_ASSERT_EQUAL(run(NULL, NULL, NULL, NULL), 2);
    CU_ASSERT_EQUAL(run("nonsense", NULL, NULL, NULL), 2);
    CU_ASSERT_TRUE(has(err, "cairn: nonsense: "));
    CU_ASSERT_EQUAL(run("help", "nonsense", NULL, NULL), 2);
    CU_ASSERT_EQUAL(run("--nonsense", NULL, NULL, NULL), 2);
    CU_ASSERT_EQUAL(run("prune", "--keep", "0", dir), 2);
    CU_ASSERT_EQUAL(run("prune", "--keep", "two", dir), 2);
    CU_ASSERT_EQUAL(run("prune", dir, "--keep", NULL), 2);
    CU_ASSERT_EQUAL(run("stop", "--timeout", "-1", dir), 2);
    CU_ASSERT_EQUAL(run("stop", "--timeout", "soon", dir), 2);
    CU_ASSERT_EQUAL(run("stop", dir, NULL, NULL), 1); /* nobody ever ran there */
    CU_ASSERT_TRUE(has(err, dir));
    end();
}

static json_t *object_at(json_t *array, size_t index, json_int_t number)
{
    json_t *object = json_array_get(array, index);

    CU_ASSERT_EQUAL(json_integer_value(json_object_get(object, "number")), number);
    return object;
}

/* The parts of processes 0 and 2 of three are on this host, the second one damaged. */
static void list_local(cairn_run_record *record)
{
    char local[PATH_ROOM];
    char path[PATH_ROOM];
    char copy[PATH_ROOM];
    cairn_error error = {CAIRN_OK, ""};
    cairn_part_seal seal;
    json_t *array;
    json_t *parts;

    sample_folder(local);
    record->local = local;
    CU_ASSERT_EQUAL(cairn_run_record_write(dir, record, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(run("list", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(!has(out, "on this host"));
    cairn_store_local_root(path, sizeof path, local, SAMPLE_RUN);
    CU_ASSERT_EQUAL(mkdir(path, 0777), 0);
    (void)snprintf(copy, sizeof copy, "%.4000s/000009", path);
    CU_ASSERT_EQUAL(mkdir(copy, 0777), 0);
    for (uint32_t i = 0; i < 3; i += 2) {
        CU_ASSERT_EQUAL(sample_part(local, SAMPLE_RUN, 9, i, 3, &seal, &error), CAIRN_OK);
        cairn_store_part_path(path, sizeof path, local, 9, i);
        cairn_store_local_part(copy, sizeof copy, local, SAMPLE_RUN, 9, i);
        CU_ASSERT_EQUAL(cairn_part_copy(path, "/nonexistent/nor/that", i, &(cairn_part_seal){0}, NULL, &error),
                        CAIRN_E_CORRUPT); /* another seal */
        sample_copy(path, copy);
    }
    CU_ASSERT_EQUAL(run("list", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(has(out, "* 000003") && has(out, "on this host, in ") && has(out, "  000009   step 90, "));
    CU_ASSERT_TRUE(has(out, "2 of 3 parts, of processes 0, 2\n"));
    sample_flip(copy, 0.6);
    CU_ASSERT_EQUAL(run("list", "--json", dir, NULL), 0);
    array = json_loads(out, 0, NULL);
    CU_ASSERT_EQUAL_FATAL(json_array_size(array), 5);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(object_at(array, 0, 4), "level")), "shared");
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(object_at(array, 4, 9), "level")), "local");
    CU_ASSERT_TRUE(json_is_null(json_object_get(object_at(array, 4, 9), "usable")));
    parts = json_object_get(object_at(array, 4, 9), "parts");
    CU_ASSERT_EQUAL(json_array_size(parts), 2);
    CU_ASSERT_TRUE(json_is_true(json_object_get(json_array_get(parts, 0), "whole")));
    CU_ASSERT_TRUE(json_is_false(json_object_get(json_array_get(parts, 1), "whole")));
    json_decref(array);
    sample_remove(local);
    record->local = NULL;
}

static void list_marks_what_a_restart_uses(void)
{
    cairn_run_record record = {.run = SAMPLE_RUN};
    cairn_error error = {CAIRN_OK, ""};
    char path[PATH_ROOM];
    json_t *array;

    begin();
    CU_ASSERT_EQUAL(run("list", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(out[0] == '\0' && has(err, "no snapshots yet"));
    CU_ASSERT_EQUAL(run("list", "--json", dir, NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "[]\n");
    sample_snapshot(dir, OTHER_RUN, 1, 2);
    sample_snapshot(dir, SAMPLE_RUN, 2, 2);
    sample_snapshot(dir, SAMPLE_RUN, 3, 2);
    sample_snapshot(dir, SAMPLE_RUN, 4, 2);
    CU_ASSERT_EQUAL(cairn_run_record_write(dir, &record, &error), CAIRN_OK);
    cairn_store_part_path(path, sizeof path, dir, 4, 1);
    sample_flip(path, 0.6);
    CU_ASSERT_EQUAL(run("list", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(has(out, "* 000003") && has(out, "  000002") && has(out, "  000004"));
    CU_ASSERT_TRUE(has(out, "no: ") && has(out, "process-000001.h5: checksum") && has(out, "another run"));
    CU_ASSERT_EQUAL(run("list", "--quick", dir, NULL), 0);
    CU_ASSERT_TRUE(has(out, "* 000004"));
    CU_ASSERT_EQUAL(run("list", "--json", dir, NULL), 0);
    array = json_loads(out, 0, NULL);
    CU_ASSERT_EQUAL_FATAL(json_array_size(array), 4);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(object_at(array, 0, 4), "use")), "damaged");
    CU_ASSERT_TRUE(json_is_true(json_object_get(object_at(array, 1, 3), "restart")));
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(object_at(array, 1, 3), "messages")), 6);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(object_at(array, 1, 3), "step")), 30);
    CU_ASSERT_TRUE(json_is_true(json_object_get(object_at(array, 2, 2), "usable")));
    CU_ASSERT_TRUE(json_is_false(json_object_get(object_at(array, 2, 2), "restart")));
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(object_at(array, 3, 1), "use")), "other run");
    json_decref(array);
    list_local(&record);
    record.finished = true;
    CU_ASSERT_EQUAL(cairn_run_record_write(dir, &record, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(run("list", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(has(out, "its run has finished") && !has(out, "* "));
    end();
}

static void show_tells_what_is_in_it(void)
{
    char path[PATH_ROOM];
    json_t *object;
    json_t *part;

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 7, 2);
    cairn_store_snapshot_path(path, sizeof path, dir, 7);
    CU_ASSERT_EQUAL(run("show", path, NULL, NULL), 0);
    CU_ASSERT_TRUE(has(out, "snapshot 000007") && has(out, "process 1: step 70, Lamport clock 701") &&
                   has(out, "state field: slab f64 [6][5]") && has(out, "at [6][0] of [12][5]") &&
                   has(out, "state table: bytes u8 [100], 100 B, can be divided anew") &&
                   has(out, "channel from 1: 1 messages in flight, 3 B"));
    CU_ASSERT_EQUAL(run("show", "--json", dir, "7"), 0);
    object = json_loads(out, 0, NULL);
    part = json_array_get(json_object_get(object, "parts"), 1);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(part, "lamport")), 701);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(part, "states")), 3);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(part, "channels")), 2);
    CU_ASSERT_TRUE(json_is_array(json_array_get(json_object_get(object, "arguments"), 1))); /* not UTF-8: its bytes */
    json_decref(object);
    CU_ASSERT_EQUAL(run("show", dir, "8", NULL), 1);
    CU_ASSERT_TRUE(has(err, "000008"));
    cairn_store_part_path(path, sizeof path, dir, 7, 0);
    sample_flip(path, 0.4);
    CU_ASSERT_EQUAL(run("show", dir, NULL, NULL), 65);
    CU_ASSERT_TRUE(has(out, "process 0: damaged") && has(out, "process 1: step") && has(err, "process-000000.h5"));
    cairn_store_snapshot_path(path, sizeof path, dir, 7);
    (void)strcat(path, "/snapshot.h5");
    sample_flip(path, 0.4);
    CU_ASSERT_EQUAL(run("show", dir, NULL, NULL), 66);
    CU_ASSERT_TRUE(has(err, "snapshot.h5"));
    end();
}

static void verify_names_every_fault(void)
{
    char path[PATH_ROOM];
    cairn_part_seal seal;
    cairn_error error = {CAIRN_OK, ""};

    begin();
    CU_ASSERT_EQUAL(run("verify", dir, NULL, NULL), 0);
    sample_snapshot(dir, SAMPLE_RUN, 1, 3);
    sample_snapshot(dir, SAMPLE_RUN, 2, 1);
    CU_ASSERT_EQUAL(sample_part(dir, SAMPLE_RUN, 3, 0, 2, &seal, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(run("verify", dir, NULL, NULL), 0);
    CU_ASSERT_TRUE(has(out, "000003  not committed") && has(out, "000002  whole") &&
                   has(out, "000001  whole: 4 files"));
    cairn_store_part_path(path, sizeof path, dir, 1, 0);
    sample_flip(path, 0.9);
    cairn_store_part_path(path, sizeof path, dir, 1, 2);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(run("verify", dir, NULL, NULL), 65);
    CU_ASSERT_TRUE(has(out, "process-000000.h5: checksum") && has(out, "process-000002.h5") &&
                   has(out, "000002  whole"));
    CU_ASSERT_EQUAL(run("verify", "--json", dir, NULL), 65);
    CU_ASSERT_EQUAL(run("verify", dir, "2", NULL), 0);
    cairn_store_snapshot_path(path, sizeof path, dir, 1);
    CU_ASSERT_EQUAL(run("verify", path, NULL, NULL), 65);
    CU_ASSERT_EQUAL(run("verify", dir, "9", NULL), 1);
    end();
}

static void prune_removes_and_says_so(void)
{
    char path[PATH_ROOM];

    begin();
    for (uint64_t i = 1; i < 6; i++) {
        sample_snapshot(dir, SAMPLE_RUN, i, 1);
    }
    CU_ASSERT_EQUAL(run("prune", "--json", "--keep=4", dir), 0);
    CU_ASSERT_TRUE(has(out, "1\n") && !has(out, "2\n"));
    CU_ASSERT_EQUAL(run("prune", dir, NULL, NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "removed 000003\nremoved 000002\n");
    CU_ASSERT_EQUAL(run("prune", dir, NULL, NULL), 0);
    CU_ASSERT_STRING_EQUAL(out, "");
    (void)snprintf(path, sizeof path, "%.4000s/run.json", dir);
    sample_save(path, "{", 1);
    CU_ASSERT_EQUAL(run("prune", "--keep", "1", dir), 66); /* whose snapshots would they be? */
    cairn_store_snapshot_path(path, sizeof path, dir, 4);
    CU_ASSERT_TRUE(sample_exists(path));
    end();
}

/* h5dump, from another folder, shows the global array whole, through the virtual dataset. */
static void h5dump_shows_the_global_array(void)
{
    char program[] = "h5dump";
    char all[] = "-d";
    char name[] = "/state/field";
    char plain[] = "-y"; /* no indices */
    char width[] = "-w0";
    char path[PATH_ROOM];
    char *arguments[] = {program, plain, width, all, name, path, NULL};
    const char *at;
    int status;
    unsigned wrong = 0;

    begin();
    sample_snapshot(dir, SAMPLE_RUN, 7, 4);
    cairn_store_snapshot_path(path, sizeof path, dir, 7);
    (void)strcat(path, "/snapshot.h5");
    status = run_program(arguments);
    if (status == 127) {
        printf("\n    SKIPPED: no h5dump (Debian: hdf5-tools) ...");
        end();
        return;
    }
    CU_ASSERT_EQUAL(status, 0);
    at = strstr(out, "DATA {");
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    at += 6;
    for (uint64_t i = 0; i < 4 * SAMPLE_ROWS * SAMPLE_COLUMNS; i++) {
        char *next;
        double value = strtod(at + strspn(at, " \n,"), &next);

        wrong += value != sample_value(7, i / SAMPLE_COLUMNS, i % SAMPLE_COLUMNS);
        at = next;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    end();
}

UNIT_MAIN("cli", {"help, version, usage", help_version_usage}, {"list", list_marks_what_a_restart_uses},
          {"show", show_tells_what_is_in_it}, {"verify", verify_names_every_fault},
          {"prune", prune_removes_and_says_so}, {"h5dump", h5dump_shows_the_global_array})
