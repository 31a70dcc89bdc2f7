/* What the commands that look at snapshots share: errors, texts for people, JSON, and which snapshot is meant. */
#ifndef CAIRN_CLI_COMMON_H
#define CAIRN_CLI_COMMON_H

#include "base/durable.h"
#include "snapshot/json.h"
#include "snapshot/store.h"

/* "cairn: COMMAND: why" and where help is, on stderr. Returns CAIRN_EXIT_USAGE. */
int cairn_cli_usage_error(const char *command, const char *format, ...) CAIRN_PRINTF(2, 3);
/* "cairn: COMMAND: what and why" on stderr. Returns the exit code of the error's status. */
int cairn_cli_fail(const char *command, const cairn_error *error);

/* "1.5 GiB" */
void cairn_cli_human(char text[16], uint64_t bytes);
/* "12", or "-" for a cut without a step. */
void cairn_cli_step(char text[24], uint64_t step);
json_t *cairn_cli_json_step(uint64_t step);
/* Print and free; NULL (no memory) is an error of its own. Returns the exit code. */
int cairn_cli_print_json(const char *command, json_t *value);

/* An argument that is DIR or DIR/snapshots/000007: `dir` gets DIR, *number the snapshot's or 0. False when it is
 * neither a folder nor inside one. */
bool cairn_cli_locate(const char *argument, char dir[CAIRN_PATH_BYTES], uint64_t *number);
/* A decimal number from 1 to most. */
bool cairn_cli_number(const char *text, uint64_t most, uint64_t *number);

/* The command line of `show` and `verify`: [--json] [--help] DIR [NUMBER] | DIR/snapshots/NUMBER. *number is 0 when
 * none is named. Returns -1 to go on, else the exit code: help was printed, or the fault was said. */
int cairn_cli_which(const char *command, void (*print_help)(void), int argc, char **argv, char dir[CAIRN_PATH_BYTES],
                    uint64_t *number, bool *json);

/* What is known of the run of DIR. *record is NULL when there is no run.json. */
cairn_status cairn_cli_run_record(const char *dir, cairn_run_record **record, cairn_error *error);

#endif
