/* cairn verify: read every byte of snapshots and name every file that is not as it was written. */
#include "cli/cli.h"
#include "cli/common.h"
#include "snapshot/store_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_help(void)
{
    printf("Usage: cairn verify [OPTIONS] DIR | DIR/snapshots/NUMBER | DIR NUMBER\n"
           "Read every byte of the snapshots of DIR, or of one, and name each file that is not as it was written.\n"
           "A snapshot that was never committed is told, but is no damage.\n"
           "\n"
           "  -j, --json  print a JSON array: number, committed, whole, files, bytes, faults\n"
           "  -h, --help  this text\n"
           "\n"
           "Exit codes: 0 all that is committed is whole; 65 damage was found; 1 nothing of that name; 2 wrong usage;\n"
           "73 no permission, 74 cannot read.\n");
}

typedef struct verdict {
    uint64_t number;
    bool committed;
    bool damaged;
    cairn_status unreadable; /* the first fault that is no damage */
    uint32_t files;
    uint64_t bytes;
    json_t *faults;
} verdict;

static void add_fault(verdict *found, const cairn_error *error)
{
    if (error->status == CAIRN_E_CORRUPT || error->status == CAIRN_E_VERSION || error->status == CAIRN_E_NOT_FOUND) {
        found->damaged = true;
    } else if (found->unreadable == CAIRN_OK) {
        found->unreadable = error->status;
    }
    (void)json_array_append_new(found->faults, cairn_json_text(error->text));
}

static void verify_part(const char *dir, const cairn_commit *commit, uint32_t process, verdict *found)
{
    char path[CAIRN_PATH_BYTES];
    cairn_part *part = NULL;
    cairn_error error;
    cairn_status status;

    cairn_store_part_path(path, sizeof path, dir, commit->number, process);
    status = cairn_part_open(&part, path, &commit->parts[process], &error);
    if (status == CAIRN_OK) {
        status = cairn_store_match(commit, process, cairn_part_get_head(part), path, &error);
    }
    cairn_part_close(part);
    if (status != CAIRN_OK) {
        add_fault(found, &error);
        return;
    }
    found->files++;
    found->bytes += commit->parts[process].bytes;
}

static void verify_snapshot(const char *dir, uint64_t number, verdict *found)
{
    cairn_commit *commit = NULL;
    cairn_error error;
    cairn_status status = cairn_store_read(dir, number, &commit, &error);

    *found = (verdict){.number = number, .committed = status != CAIRN_E_NOT_FOUND, .faults = json_array()};
    if (status == CAIRN_E_NOT_FOUND) {
        return;
    }
    if (status != CAIRN_OK && !cairn_store_stands(dir, number)) {
        found->committed = false; /* pruned while we read it */
        return;
    }
    if (status != CAIRN_OK) {
        add_fault(found, &error);
        return;
    }
    found->files = 1;
    for (uint32_t i = 0; i < commit->count; i++) {
        verify_part(dir, commit, i, found);
    }
    if (json_array_size(found->faults) > 0 && !cairn_store_stands(dir, number)) { /* pruned while we read it */
        json_decref(found->faults);
        *found = (verdict){.number = number, .faults = json_array()};
    }
    cairn_store_free(commit);
}

static void print_verdict(const verdict *found)
{
    char bytes[16];

    if (!found->committed) {
        printf("%06" PRIu64 "  not committed\n", found->number);
        return;
    }
    cairn_cli_human(bytes, found->bytes);
    if (json_array_size(found->faults) == 0) {
        printf("%06" PRIu64 "  whole: %" PRIu32 " files, %s in its parts\n", found->number, found->files, bytes);
        return;
    }
    for (size_t i = 0; i < json_array_size(found->faults); i++) {
        const char *text = json_string_value(json_array_get(found->faults, i));

        printf("%06" PRIu64 "  %s: %s\n", found->number, found->damaged ? "damaged" : "unreadable",
               text != NULL ? text : "a file whose name is not UTF-8");
    }
}

static int verify(const char *dir, const uint64_t *numbers, size_t count, bool json)
{
    json_t *array = json ? json_array() : NULL;
    bool damaged = false;
    cairn_status unreadable = CAIRN_OK;
    int code = CAIRN_EXIT_OK;

    for (size_t i = 0; i < count; i++) {
        verdict found;

        verify_snapshot(dir, numbers[i], &found);
        damaged = damaged || found.damaged;
        unreadable = unreadable == CAIRN_OK ? found.unreadable : unreadable;
        if (json) {
            (void)json_array_append_new(array, json_pack("{s:I, s:b, s:b, s:I, s:I, s:O}", "number",
                                                         (json_int_t)found.number, "committed", found.committed,
                                                         "whole", found.committed && json_array_size(found.faults) == 0,
                                                         "files", (json_int_t)found.files, "bytes",
                                                         (json_int_t)found.bytes, "faults", found.faults));
        } else {
            print_verdict(&found);
            (void)fflush(stdout);
        }
        json_decref(found.faults);
    }
    if (json) {
        code = cairn_cli_print_json("verify", array);
    } else if (count == 0) {
        fprintf(stderr, "cairn: verify: %s: no snapshots\n", dir);
    }
    if (damaged) {
        return CAIRN_EXIT_DAMAGED;
    }
    return unreadable != CAIRN_OK ? cairn_exit_code(unreadable) : code;
}

int cairn_cli_verify(int argc, char **argv)
{
    char dir[CAIRN_PATH_BYTES];
    uint64_t number = 0;
    uint64_t *numbers = NULL;
    size_t count = 0;
    bool json = false;
    cairn_error error;
    int code = cairn_cli_which("verify", print_help, argc, argv, dir, &number, &json);

    if (code >= 0) {
        return code;
    }
    if (number != 0) {
        char path[CAIRN_PATH_BYTES];

        cairn_store_snapshot_path(path, sizeof path, dir, number);
        if (access(path, F_OK) != 0) {
            fprintf(stderr, "cairn: verify: %s: no such snapshot\n", path);
            return CAIRN_EXIT_FAILURE;
        }
        return verify(dir, &number, 1, json);
    }
    if (cairn_store_numbers(dir, &numbers, &count, &error) != CAIRN_OK) {
        return cairn_cli_fail("verify", &error);
    }
    code = verify(dir, numbers, count, json);
    free(numbers);
    return code;
}
