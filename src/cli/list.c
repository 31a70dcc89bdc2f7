/* cairn list: the snapshots of DIR, and for each whether a restart would use it; and what this host has of local ones. */
#include "cli/cli.h"
#include "cli/common.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(void)
{
    printf(
        "Usage: cairn list [OPTIONS] DIR\n"
        "List the snapshots in DIR/snapshots, newest first, and say for each whether a restart would use it.\n"
        "\n"
        "  -q, --quick  check only the commit records and the seals of the parts, not every byte: fast, but a part\n"
        "               with damage inside is taken for whole\n"
        "  -j, --json   print a JSON array\n"
        "  -h, --help   this text\n"
        "\n"
        "Columns: NUMBER of the snapshot; COMMITTED, when, in UTC; STEP of the cut, - if its processes count none;\n"
        "PROCESSES that took it; BYTES of its files; MESSAGES in flight in the cut (- with --quick); USE: yes, or "
        "no and\n"
        "why. The one that a restart would use is marked with *.\n"
        "The run is that of DIR/run.json; without that file snapshots of any run count.\n"
        "If it takes snapshots in a folder of each host (cairn run --local), the parts that are on this host follow;\n"
        "in JSON they are of \"level\" local, and whether they are usable is null: it is in the job's log.\n"
        "\n"
        "Exit codes: 0 listed, also when nothing can be used; 1 DIR is not there; 2 wrong usage; 73, 74 cannot "
        "read.\n");
}

static const char local_rule[] =
    "a restart on the same hosts goes on from the newest one, if it is newer than those in "
    "DIR, the job's log has it as committed, and all parts are still there";

static const char *const use_texts[] = {"yes", "uncommitted", "damaged", "other run", "unreadable"};

/* Messages in flight in the cut; the parts were checked just before. -1: cannot be told. */
static int64_t count_messages(const char *dir, const cairn_entry *entry)
{
    int64_t messages = 0;

    for (uint32_t i = 0; i < entry->commit->count; i++) {
        char path[CAIRN_PATH_BYTES];
        cairn_part *part = NULL;

        cairn_store_part_path(path, sizeof path, dir, entry->number, i);
        if (cairn_part_open_depth(&part, path, &entry->commit->parts[i], CAIRN_PART_SEAL, NULL) != CAIRN_OK) {
            return -1;
        }
        messages += (int64_t)cairn_part_message_count(part);
        cairn_part_close(part);
    }
    return messages;
}

typedef struct row {
    const cairn_entry *entry;
    int64_t messages;
    bool restart; /* this is the one */
} row;

/* Of local snapshots. */
typedef struct hosted {
    char folder[CAIRN_PATH_BYTES];
    cairn_local_entry *entries;
    size_t count;
} hosted;

static void print_table(const row *rows, size_t count)
{
    printf("  %-8s %-21s %12s %9s %11s %9s  %s\n", "NUMBER", "COMMITTED", "STEP", "PROCESSES", "BYTES", "MESSAGES",
           "USE");
    for (size_t i = 0; i < count; i++) {
        const cairn_entry *entry = rows[i].entry;
        char step[24] = "-";
        char processes[16] = "-";
        char bytes[16];
        char messages[24] = "-";

        if (entry->commit != NULL) {
            cairn_cli_step(step, entry->commit->step);
            (void)snprintf(processes, sizeof processes, "%" PRIu32, entry->commit->count);
        }
        if (rows[i].messages >= 0) {
            (void)snprintf(messages, sizeof messages, "%" PRId64, rows[i].messages);
        }
        cairn_cli_human(bytes, entry->bytes);
        printf("%c %06" PRIu64 "   %-21s %12s %9s %11s %9s  %s%s\n", rows[i].restart ? '*' : ' ', entry->number,
               entry->commit != NULL ? entry->commit->committed : "-", step, processes, bytes, messages,
               entry->use == CAIRN_USE_YES ? "yes" : "no: ", entry->why);
    }
}

static json_t *json_row(const row *one)
{
    const cairn_entry *entry = one->entry;
    const cairn_commit *commit = entry->commit;
    json_t *value = json_pack("{s:I, s:s, s:b, s:s, s:b, s:s, s:I}", "number", (json_int_t)entry->number, "level",
                              "shared", "usable", entry->use == CAIRN_USE_YES, "use", use_texts[entry->use], "restart",
                              one->restart, "why", "", "bytes", (json_int_t)entry->bytes);

    if (value == NULL) {
        return NULL;
    }
    (void)json_object_set_new(value, "why", cairn_json_text(entry->why));
    (void)json_object_set_new(value, "messages", one->messages >= 0 ? json_integer(one->messages) : json_null());
    (void)json_object_set_new(value, "committed", commit != NULL ? cairn_json_text(commit->committed) : json_null());
    (void)json_object_set_new(value, "step", commit != NULL ? cairn_cli_json_step(commit->step) : json_null());
    (void)json_object_set_new(value, "processes", commit != NULL ? json_integer(commit->count) : json_null());
    (void)json_object_set_new(value, "incarnation", commit != NULL ? json_integer(commit->incarnation) : json_null());
    (void)json_object_set_new(value, "job", commit != NULL ? cairn_json_text(commit->job) : json_null());
    (void)json_object_set_new(value, "run", commit != NULL ? cairn_json_text(commit->run) : json_null());
    return value;
}

static void print_local(const hosted *h)
{
    if (h->count > 0) {
        printf("\non this host, in %s; %s:\n", h->folder, local_rule);
    }
    for (size_t i = 0; i < h->count; i++) {
        const cairn_local_entry *entry = &h->entries[i];
        char step[24] = "-";
        char bytes[16];

        if (entry->count != 0) {
            cairn_cli_step(step, entry->step);
        }
        cairn_cli_human(bytes, entry->bytes);
        printf("  %06" PRIu64 "   step %s, %s: %zu of %" PRIu32 " parts, of processes", entry->number, step, bytes,
               entry->piece_count, entry->count);
        for (size_t k = 0; k < entry->piece_count; k++) {
            printf("%s %" PRIu32, k == 0 ? "" : ",", entry->pieces[k].process);
        }
        printf("\n");
        for (size_t k = 0; k < entry->piece_count; k++) {
            if (entry->pieces[k].why[0] != '\0') {
                printf("           no: %s\n", entry->pieces[k].why);
            }
        }
    }
}

static json_t *json_local(const hosted *h, const cairn_local_entry *entry)
{
    json_t *parts = json_array();
    json_t *value;

    for (size_t i = 0; i < entry->piece_count && parts != NULL; i++) {
        (void)json_array_append_new(parts, json_pack("{s:I, s:b, s:o}", "process", (json_int_t)entry->pieces[i].process,
                                                     "whole", entry->pieces[i].why[0] == '\0', "why",
                                                     cairn_json_text(entry->pieces[i].why)));
    }
    value = json_pack("{s:I, s:s, s:n, s:s, s:b, s:s, s:I, s:n, s:n, s:o?, s:I, s:o, s:o}", "number",
                      (json_int_t)entry->number, "level", "local", "usable", "use", "local", "restart", 0, "why",
                      local_rule, "bytes", (json_int_t)entry->bytes, "messages", "committed", "step",
                      entry->count == 0 ? NULL : cairn_cli_json_step(entry->step), "processes",
                      (json_int_t)entry->count, "folder", cairn_json_text(h->folder), "parts", parts);
    return value;
}

static int print_rows(const row *rows, size_t count, const hosted *h, const char *dir, bool json)
{
    json_t *array;

    if (!json) {
        if (count == 0) {
            fprintf(stderr, "cairn: list: %s: no snapshots yet\n", dir);
        } else {
            print_table(rows, count);
        }
        print_local(h);
        return fflush(stdout) == 0 ? CAIRN_EXIT_OK : CAIRN_EXIT_IO;
    }
    array = json_array();
    for (size_t i = 0; i < count + h->count && array != NULL; i++) {
        if (json_array_append_new(array, i < count ? json_row(&rows[i]) : json_local(h, &h->entries[i - count])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return cairn_cli_print_json("list", array);
}

/* What this host has of the run's local snapshots; when that cannot be read it is said. */
static void find_local(const cairn_run_record *record, cairn_depth depth, hosted *h)
{
    cairn_error error;

    if (record == NULL || record->local == NULL || record->finished) {
        return;
    }
    cairn_store_local_root(h->folder, sizeof h->folder, record->local, record->run);
    if (cairn_store_list_local(record->local, record->run, depth, &h->entries, &h->count, &error) != CAIRN_OK) {
        fprintf(stderr, "cairn: list: %s\n", error.text);
    }
}

static int list(const char *dir, cairn_depth depth, bool json)
{
    cairn_run_record *record = NULL;
    cairn_entry *entries = NULL;
    size_t count = 0;
    row *rows = NULL;
    hosted here = {.count = 0};
    bool found = false;
    cairn_error error;
    int code = CAIRN_EXIT_FAILURE;
    cairn_status status = cairn_cli_run_record(dir, &record, &error);

    if (status == CAIRN_E_CORRUPT || status == CAIRN_E_VERSION) {
        fprintf(stderr, "cairn: list: %s; so snapshots of any run are shown as usable\n", error.text);
    } else if (status != CAIRN_OK) {
        return cairn_cli_fail("list", &error);
    }
    if (cairn_store_list(dir, record != NULL ? record->run : NULL, depth, &entries, &count, &error) != CAIRN_OK) {
        code = cairn_cli_fail("list", &error);
        goto out;
    }
    rows = calloc(count + 1, sizeof *rows);
    if (rows == NULL) {
        (void)cairn_fail(&error, CAIRN_E_NOMEM, "no memory");
        code = cairn_cli_fail("list", &error);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = (row){&entries[i], -1, false};
        if (entries[i].use != CAIRN_USE_YES) {
            continue;
        }
        rows[i].messages = depth == CAIRN_DEPTH_FULL ? count_messages(dir, &entries[i]) : -1;
        if (record != NULL && record->finished) {
            entries[i].use = CAIRN_USE_OTHER_RUN;
            (void)snprintf(entries[i].why, sizeof entries[i].why, "its run has finished");
            continue;
        }
        rows[i].restart = !found;
        found = true;
    }
    find_local(record, depth, &here);
    code = print_rows(rows, count, &here, dir, json);
out:
    cairn_store_list_local_free(here.entries, here.count);
    free(rows);
    cairn_store_list_free(entries, count);
    cairn_run_record_free(record);
    return code;
}

int cairn_cli_list(int argc, char **argv)
{
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    cairn_depth depth = CAIRN_DEPTH_FULL;
    char dir[CAIRN_PATH_BYTES];
    uint64_t number = 0;
    bool json = false;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":qjh", options, NULL)) != -1) {
        switch (option) {
        case 'q':
            depth = CAIRN_DEPTH_SEALS;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            print_help();
            return CAIRN_EXIT_OK;
        default:
            return cairn_cli_usage_error("list", "%s: no such option", argv[optind - 1]);
        }
    }
    if (argc - optind != 1) {
        return cairn_cli_usage_error("list", "one DIR is needed");
    }
    if (!cairn_cli_locate(argv[optind], dir, &number) || number != 0) {
        fprintf(stderr, "cairn: list: %s: not a folder with snapshots of a run\n", argv[optind]);
        return CAIRN_EXIT_FAILURE;
    }
    return list(dir, depth, json);
}
