#include "cli/common.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int cairn_cli_usage_error(const char *command, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "cairn: %s: ", command);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (cairn %s --help says more)\n", command);
    return CAIRN_EXIT_USAGE;
}

int cairn_cli_fail(const char *command, const cairn_error *error)
{
    fprintf(stderr, "cairn: %s: %s\n", command, error->text);
    return cairn_exit_code(error->status);
}

void cairn_cli_human(char text[16], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(text, 16, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void cairn_cli_step(char text[24], uint64_t step)
{
    (void)snprintf(text, 24, step == UINT64_MAX ? "-" : "%" PRIu64, step);
}

json_t *cairn_cli_json_step(uint64_t step)
{
    return step == UINT64_MAX ? json_null() : json_integer((json_int_t)step);
}

int cairn_cli_print_json(const char *command, json_t *value)
{
    cairn_error error;
    int failed =
        value == NULL || json_dumpf(value, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF || fflush(stdout) != 0;

    json_decref(value);
    if (failed) {
        (void)cairn_fail(&error, CAIRN_E_IO, "cannot write the JSON: %s", strerror(errno));
        return cairn_cli_fail(command, &error);
    }
    return CAIRN_EXIT_OK;
}

bool cairn_cli_number(const char *text, uint64_t most, uint64_t *number)
{
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *number >= 1 && *number <= most;
}

bool cairn_cli_locate(const char *argument, char dir[CAIRN_PATH_BYTES], uint64_t *number)
{
    char *real = realpath(argument, NULL);
    struct stat found;
    char *slash;
    bool good = real != NULL && stat(real, &found) == 0 && strlen(real) < CAIRN_PATH_BYTES;

    *number = 0;
    if (good && !S_ISDIR(found.st_mode)) { /* a file of a snapshot */
        *strrchr(real, '/') = '\0';
    }
    if (good) {
        (void)snprintf(dir, CAIRN_PATH_BYTES, "%s", argument);
        slash = strrchr(real, '/');
        if (slash != NULL && cairn_cli_number(slash + 1, UINT64_MAX, number)) {
            *slash = '\0';
            slash = strrchr(real, '/');
            if (slash != NULL && strcmp(slash, "/snapshots") == 0) {
                *slash = '\0';
                (void)snprintf(dir, CAIRN_PATH_BYTES, "%s", real[0] != '\0' ? real : "/");
            } else {
                *number = 0;
            }
        }
    }
    if (good && *number == 0 && !S_ISDIR(found.st_mode)) {
        good = false;
    }
    free(real);
    return good;
}

cairn_status cairn_cli_run_record(const char *dir, cairn_run_record **record, cairn_error *error)
{
    cairn_status status = cairn_run_record_read(dir, record, error);

    return status == CAIRN_E_NOT_FOUND ? CAIRN_OK : status;
}

int cairn_cli_which(const char *command, void (*print_help)(void), int argc, char **argv, char dir[CAIRN_PATH_BYTES],
                    uint64_t *number, bool *json)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option;

    *json = false;
    *number = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":jh", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return CAIRN_EXIT_OK;
        }
        if (option != 'j') {
            return cairn_cli_usage_error(command, "%s: no such option", argv[optind - 1]);
        }
        *json = true;
    }
    if (argc - optind != 1 && argc - optind != 2) {
        return cairn_cli_usage_error(command, "one DIR or snapshot is needed, or a DIR and a number");
    }
    if (!cairn_cli_locate(argv[optind], dir, number)) {
        fprintf(stderr, "cairn: %s: %s: not a snapshot, and not a folder with snapshots\n", command, argv[optind]);
        return CAIRN_EXIT_FAILURE;
    }
    if (argc - optind == 2 && (*number != 0 || !cairn_cli_number(argv[optind + 1], UINT64_MAX, number))) {
        return cairn_cli_usage_error(command, "%s: no number of a snapshot", argv[optind + 1]);
    }
    return -1;
}
