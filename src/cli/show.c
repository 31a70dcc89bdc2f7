/* cairn show: what is in one snapshot. */
#include "cli/cli.h"
#include "cli/common.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(void)
{
    printf("Usage: cairn show [OPTIONS] DIR/snapshots/NUMBER | DIR NUMBER | DIR\n"
           "Show a snapshot (DIR alone: its newest committed one): the commit record and, for every process, its "
           "clock, the states\n"
           "with kind, type and shape, and the messages in flight by channel. Every byte is checked on the way.\n"
           "\n"
           "  -j, --json  print a JSON object\n"
           "  -h, --help  this text\n"
           "\n"
           "Exit codes: 0 shown; 65 shown as far as it is whole; 66 the commit record is damaged; 1 no such snapshot, "
           "or it\n"
           "is not committed; 2 wrong usage; 73 no permission, 74 cannot read.\n");
}

static const char *const kind_texts[] = {"array", "replicated", "slab", "bytes"};

/* "[3][4]", or "scalar" */
static void shape_text(char *text, size_t bytes, uint32_t rank, const uint64_t *shape)
{
    size_t length = 0;

    (void)snprintf(text, bytes, "scalar");
    for (uint32_t i = 0; i < rank; i++) {
        length += (size_t)snprintf(text + length, bytes - length, "[%" PRIu64 "]", shape[i]);
    }
}

static void print_state(const cairn_state *state)
{
    char shape[200];
    char bytes[16];

    shape_text(shape, sizeof shape, state->rank, state->shape);
    cairn_cli_human(bytes, state->bytes);
    printf("  state %s: %s %s %s, %s", state->name, kind_texts[state->kind], cairn_type_text(state->type), shape,
           bytes);
    if (state->kind == CAIRN_STATE_SLAB) {
        char global[200];
        char offset[200];

        shape_text(global, sizeof global, state->rank, state->global_shape);
        shape_text(offset, sizeof offset, state->rank, state->offset);
        printf(", at %s of %s", offset, global);
    }
    printf("%s\n", state->flags & CAIRN_REDIVIDE ? ", can be divided anew" : "");
}

/* Messages of a part are together by sender: the sender's first is `at`; returns where the next begins. */
static size_t count_channel(const cairn_part *part, size_t at, uint64_t *bytes)
{
    uint32_t from = cairn_part_message(part, at)->from;

    *bytes = 0;
    while (at < cairn_part_message_count(part) && cairn_part_message(part, at)->from == from) {
        *bytes += cairn_part_message(part, at)->bytes;
        at++;
    }
    return at;
}

static void print_part(const cairn_part *part, const cairn_part_seal *seal)
{
    const cairn_part_head *head = cairn_part_get_head(part);
    char step[24];
    char bytes[16];
    size_t end;

    cairn_cli_step(step, head->step);
    cairn_cli_human(bytes, seal->bytes);
    printf("process %" PRIu32 ": step %s, Lamport clock %" PRIu64 ", %s\n", head->process, step, head->lamport, bytes);
    for (uint32_t i = 0; head->vector != NULL && i < head->count; i++) {
        printf("%s%" PRIu64 "%s", i == 0 ? "  vector clock " : " ", head->vector[i], i + 1 == head->count ? "\n" : "");
    }
    for (size_t i = 0; i < cairn_part_state_count(part); i++) {
        print_state(cairn_part_state(part, i));
    }
    for (size_t at = 0; at < cairn_part_message_count(part); at = end) {
        uint64_t in_flight = 0;

        end = count_channel(part, at, &in_flight);
        cairn_cli_human(bytes, in_flight);
        printf("  channel from %" PRIu32 ": %zu messages in flight, %s\n", cairn_part_message(part, at)->from, end - at,
               bytes);
    }
}

static json_t *json_numbers(const uint64_t *values, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count && array != NULL; i++) {
        (void)json_array_append_new(array, json_integer((json_int_t)values[i]));
    }
    return array;
}

static json_t *json_state(const cairn_state *state)
{
    json_t *value = json_pack("{s:s, s:s, s:s, s:I, s:b, s:o}", "name", state->name, "kind", kind_texts[state->kind],
                              "type", cairn_type_text(state->type), "bytes", (json_int_t)state->bytes, "redivide",
                              (state->flags & CAIRN_REDIVIDE) != 0, "shape", json_numbers(state->shape, state->rank));

    if (value != NULL && state->kind == CAIRN_STATE_SLAB) {
        (void)json_object_set_new(value, "global_shape", json_numbers(state->global_shape, state->rank));
        (void)json_object_set_new(value, "offset", json_numbers(state->offset, state->rank));
    }
    return value;
}

static json_t *json_part(const cairn_part *part, const cairn_part_seal *seal)
{
    const cairn_part_head *head = cairn_part_get_head(part);
    json_t *states = json_array();
    json_t *channels = json_array();
    size_t end;

    for (size_t i = 0; i < cairn_part_state_count(part); i++) {
        (void)json_array_append_new(states, json_state(cairn_part_state(part, i)));
    }
    for (size_t at = 0; at < cairn_part_message_count(part); at = end) {
        uint64_t bytes = 0;

        end = count_channel(part, at, &bytes);
        (void)json_array_append_new(channels,
                                    json_pack("{s:I, s:I, s:I}", "from", (json_int_t)cairn_part_message(part, at)->from,
                                              "messages", (json_int_t)(end - at), "bytes", (json_int_t)bytes));
    }
    return json_pack("{s:I, s:b, s:o, s:I, s:o, s:I, s:o, s:o}", "process", (json_int_t)head->process, "whole", 1,
                     "step", cairn_cli_json_step(head->step), "lamport", (json_int_t)head->lamport, "vector",
                     head->vector != NULL ? json_numbers(head->vector, head->count) : json_null(), "bytes",
                     (json_int_t)seal->bytes, "states", states, "channels", channels);
}

static void print_record(const cairn_commit *commit, const char *path)
{
    char step[24];

    cairn_cli_step(step, commit->step);
    printf("snapshot %06" PRIu64 " in %s\n", commit->number, path);
    printf("job %s, run %s, launch %" PRIu32 ", committed %s\n", commit->job, commit->run, commit->incarnation,
           commit->committed);
    printf("processes %" PRIu32 ", step %s\ncommand", commit->count, step);
    for (uint32_t i = 0; i < commit->argument_count; i++) {
        printf(" %s", commit->arguments[i]);
    }
    printf("\n");
}

static json_t *json_record(const cairn_commit *commit, json_t *parts)
{
    json_t *arguments = json_array();

    for (uint32_t i = 0; i < commit->argument_count; i++) {
        (void)json_array_append_new(arguments, cairn_json_text(commit->arguments[i]));
    }
    return json_pack("{s:I, s:o, s:s, s:I, s:s, s:o, s:I, s:o, s:O}", "number", (json_int_t)commit->number, "job",
                     cairn_json_text(commit->job), "run", commit->run, "incarnation", (json_int_t)commit->incarnation,
                     "committed", commit->committed, "step", cairn_cli_json_step(commit->step), "processes",
                     (json_int_t)commit->count, "arguments", arguments, "parts", parts);
}

/* Returns the exit code for this part. */
static int show_part(const char *dir, const cairn_commit *commit, uint32_t process, json_t *parts, bool json)
{
    char path[CAIRN_PATH_BYTES];
    cairn_part *part = NULL;
    cairn_error error;

    cairn_store_part_path(path, sizeof path, dir, commit->number, process);
    if (cairn_part_open(&part, path, &commit->parts[process], &error) != CAIRN_OK) {
        if (json) {
            (void)json_array_append_new(parts, json_pack("{s:I, s:b, s:o}", "process", (json_int_t)process, "whole", 0,
                                                         "fault", cairn_json_text(error.text)));
        } else {
            printf("process %" PRIu32 ": damaged\n", process);
        }
        (void)cairn_cli_fail("show", &error);
        return error.status == CAIRN_E_CORRUPT || error.status == CAIRN_E_VERSION || error.status == CAIRN_E_NOT_FOUND
                   ? CAIRN_EXIT_DAMAGED
                   : cairn_exit_code(error.status);
    }
    if (json) {
        (void)json_array_append_new(parts, json_part(part, &commit->parts[process]));
    } else {
        print_part(part, &commit->parts[process]);
    }
    cairn_part_close(part);
    return CAIRN_EXIT_OK;
}

static int show(const char *dir, uint64_t number, bool json)
{
    char path[CAIRN_PATH_BYTES];
    cairn_commit *commit = NULL;
    json_t *parts = json_array();
    cairn_error error;
    int code = CAIRN_EXIT_OK;

    cairn_store_snapshot_path(path, sizeof path, dir, number);
    if (cairn_store_read(dir, number, &commit, &error) != CAIRN_OK) {
        json_decref(parts);
        if (error.status == CAIRN_E_NOT_FOUND) {
            fprintf(stderr, "cairn: show: %s: no such snapshot, or it is not committed\n", path);
            return CAIRN_EXIT_FAILURE;
        }
        return cairn_cli_fail("show", &error);
    }
    if (!json) {
        print_record(commit, path);
    }
    for (uint32_t i = 0; i < commit->count; i++) {
        int this_code = show_part(dir, commit, i, parts, json);

        code = code == CAIRN_EXIT_OK || this_code == CAIRN_EXIT_DAMAGED ? this_code : code;
    }
    if (json) {
        int printed = cairn_cli_print_json("show", json_record(commit, parts));

        code = code == CAIRN_EXIT_OK ? printed : code;
    }
    json_decref(parts);
    cairn_store_free(commit);
    return code;
}

/* The newest snapshot that has a commit record, whole or not; 0 when there is none. */
static cairn_status newest(const char *dir, uint64_t *number, cairn_error *error)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    cairn_status status = cairn_store_list(dir, NULL, CAIRN_DEPTH_SEALS, &entries, &count, error);

    *number = 0;
    for (size_t i = 0; i < count && *number == 0; i++) {
        *number = entries[i].use != CAIRN_USE_UNCOMMITTED ? entries[i].number : 0;
    }
    cairn_store_list_free(entries, count);
    if (status == CAIRN_OK && *number == 0) {
        status = cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: no snapshots", dir);
    }
    return status;
}

int cairn_cli_show(int argc, char **argv)
{
    char dir[CAIRN_PATH_BYTES];
    uint64_t number = 0;
    bool json = false;
    cairn_error error;
    int code = cairn_cli_which("show", print_help, argc, argv, dir, &number, &json);

    if (code >= 0) {
        return code;
    }
    if (number == 0 && newest(dir, &number, &error) != CAIRN_OK) {
        return cairn_cli_fail("show", &error);
    }
    return show(dir, number, json);
}
