/* cairn data: tables in shards, made of text once and scanned many times. */
#include "cli/cli.h"
#include "cli/common.h"
#include "dataset/import.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void print_help(void)
{
    printf(
        "Usage: cairn data import [OPTIONS] FOLDER PATH...\n"
        "       cairn data check [OPTIONS] FOLDER | SHARD...\n"
        "       cairn data place [OPTIONS] FOLDER [[HOST:]REPLICA...]\n"
        "Turn CSV or TSV files (also .gz and .zst), folders and patterns of them into a table of columns in FOLDER:\n"
        "shards in HDF5, with checksums, and " CAIRN_CATALOGUE_NAME
        ", which names them. The scan job answers from FOLDER as from\n"
        "the files it was made of, but reads only the columns that it is asked for, numbers as they lie. check reads "
        "every\n"
        "byte of a table, or of single shards.\n"
        "\n"
        "import:\n"
        "  -d, --delimiter C  the byte between fields, or 'tab'; found in the first file if not given\n"
        "  -r, --rows N       rows of a shard; 1048576 if not given, fewer when they need more than 256 MiB\n"
        "check:\n"
        "  -q, --quiet        name only what is not as it was written\n"
        "place: write down where shards of the table lie as well, each REPLICA a folder on one host, or without HOST "
        "on\n"
        "all; a scan reads on its own host what is there. Without replicas: list them\n"
        "  -f, --forget       these replicas are none any more\n"
        "\n"
        "  -h, --help         this text\n"
        "\n"
        "Exit codes: 0 done, or whole; 65 damage was found; 3 the input cannot become a table; 2 wrong usage; 73 no\n"
        "permission, or a full disk; 74 cannot read or write.\n");
}

/* ---------------------------------------------------------------- import */

static void print_import(const cairn_import *import, const char *folder)
{
    const cairn_catalogue *c = &import->catalogue;
    uint64_t bytes = 0;
    char text[16];

    for (uint32_t i = 0; i < c->shard_count; i++) {
        bytes += c->shards[i].seal.bytes;
    }
    cairn_cli_human(text, bytes);
    for (uint32_t i = 0; i < c->column_count; i++) {
        const cairn_import_column *column = &import->columns[i];

        printf("%s: %s", c->columns[i].name, cairn_shard_type_name(column->type));
        if (column->type == CAIRN_SHARD_TEXT) {
            printf(" of up to %" PRIu32 " bytes", column->width);
        }
        if (column->missing > 0) {
            printf(", %" PRIu64 " missing", column->missing);
        }
        printf("%s%s\n", column->why[0] != '\0' ? ": " : "", column->why);
    }
    if (import->few > 0) {
        printf("%" PRIu64 " rows had fewer fields than the header: those are missing\n", import->few);
    }
    printf("%s: %" PRIu64 " rows in %" PRIu32 " shards, %s\n", folder, c->rows, c->shard_count, text);
}

/* Bad input is the user's to mend. */
static int exit_code(const cairn_error *error)
{
    return error->status == CAIRN_E_INVALID || error->status == CAIRN_E_MISMATCH ? CAIRN_EXIT_JOB_USAGE
                                                                                 : cairn_exit_code(error->status);
}

static int import(const char *folder, char *const *paths, size_t count, char delimiter, uint64_t rows)
{
    const cairn_plan_options options = {.delimiter = delimiter};
    cairn_plan plan = {0};
    cairn_import result = {0};
    cairn_error error = {CAIRN_OK, ""};
    int code = CAIRN_EXIT_OK;
    cairn_status status = cairn_plan_make(&plan, paths, count, &options, &error);

    if (status == CAIRN_OK) {
        status = cairn_import_run(&result, &plan, folder, rows, &error);
    }
    if (status == CAIRN_OK) {
        print_import(&result, folder);
    } else {
        error.status = status;
        (void)cairn_cli_fail("data import", &error);
        code = exit_code(&error);
    }
    cairn_import_free(&result);
    cairn_plan_free(&plan);
    return code;
}

/* ---------------------------------------------------------------- check */

typedef struct checked {
    bool quiet, damaged;
    cairn_status unreadable;
    uint64_t rows;
} checked;

static void check_shard(checked *c, const char *path, const cairn_catalogue_shard *expected)
{
    cairn_error error = {CAIRN_OK, ""};
    uint64_t rows = 0;
    cairn_status status = cairn_shard_check(path, expected == NULL ? NULL : &expected->seal, &rows, &error);

    if (status == CAIRN_OK && expected != NULL && rows != expected->rows) {
        status = cairn_fail(&error, CAIRN_E_CORRUPT, "%s: %" PRIu64 " rows, but the catalogue says %" PRIu64, path,
                            rows, expected->rows);
    }
    if (status == CAIRN_OK) {
        c->rows += rows;
        if (!c->quiet) {
            printf("%s: whole, %" PRIu64 " rows\n", path, rows);
        }
    } else if (status == CAIRN_E_CORRUPT || status == CAIRN_E_VERSION || status == CAIRN_E_NOT_FOUND) {
        c->damaged = true;
        printf("%s\n", error.text);
    } else {
        c->unreadable = c->unreadable == CAIRN_OK ? status : c->unreadable;
        printf("%s\n", error.text);
    }
    (void)fflush(stdout);
}

static cairn_status check_table(checked *c, const char *folder, cairn_error *error)
{
    cairn_catalogue catalogue;
    char path[CAIRN_PATH_BYTES];
    cairn_status status;

    if ((size_t)snprintf(path, sizeof path, "%s/" CAIRN_CATALOGUE_NAME, folder) >= sizeof path) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: the path is too long", folder);
    }
    status = cairn_catalogue_read(&catalogue, path, error);
    for (uint32_t i = 0; status == CAIRN_OK && i < catalogue.shard_count; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, catalogue.shards[i].file);
        check_shard(c, path, &catalogue.shards[i]);
    }
    cairn_catalogue_free(&catalogue);
    return status;
}

static int check(char *const *paths, size_t count, bool quiet)
{
    checked c = {.quiet = quiet, .unreadable = CAIRN_OK};
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = CAIRN_OK;
    struct stat about;

    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        if (stat(paths[i], &about) == 0 && S_ISDIR(about.st_mode)) {
            status = check_table(&c, paths[i], &error);
        } else {
            check_shard(&c, paths[i], NULL);
        }
    }
    if (status != CAIRN_OK) {
        (void)cairn_cli_fail("data check", &error);
        return exit_code(&error);
    }
    if (!c.damaged && c.unreadable == CAIRN_OK) {
        printf("whole: %" PRIu64 " rows\n", c.rows);
    }
    return c.damaged ? CAIRN_EXIT_DAMAGED : c.unreadable == CAIRN_OK ? CAIRN_EXIT_OK : cairn_exit_code(c.unreadable);
}

/* ---------------------------------------------------------------- place */

/* Shards that are there, of the size that the catalogue says. */
static uint32_t count_shards(const cairn_catalogue *c, const char *folder)
{
    char path[CAIRN_PATH_BYTES];
    uint32_t count = 0;
    struct stat about;

    for (uint32_t i = 0; i < c->shard_count; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, c->shards[i].file);
        count +=
            stat(path, &about) == 0 && S_ISREG(about.st_mode) && (uint64_t)about.st_size == c->shards[i].seal.bytes;
    }
    return count;
}

static void print_place(const cairn_catalogue *c, const char *replica)
{
    const char *folder;

    if (cairn_place_parse(replica, &folder) == CAIRN_PLACE_FAR) {
        printf("%s\n", replica);
    } else {
        printf("%s: %" PRIu32 " of %" PRIu32 " shards\n", replica, count_shards(c, folder), c->shard_count);
    }
}

static uint32_t find_place(const cairn_catalogue *c, const char *replica)
{
    uint32_t i = 0;

    while (i < c->place_count && strcmp(c->places[i], replica) != 0) {
        i++;
    }
    return i;
}

static cairn_status forget_place(cairn_catalogue *c, const char *replica, cairn_error *error)
{
    uint32_t at = find_place(c, replica);

    if (at == c->place_count) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: is no replica of this table", replica);
    }
    free(c->places[at]);
    c->places[at] = c->places[--c->place_count];
    return CAIRN_OK;
}

static cairn_status add_place(cairn_catalogue *c, const char *replica, cairn_error *error)
{
    const char *folder;
    cairn_place_is is = cairn_place_parse(replica, &folder);
    char **more;

    if (folder[0] != '/') {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: the folder of a replica begins with a /", replica);
    }
    if (is != CAIRN_PLACE_FAR && count_shards(c, folder) == 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: no shard of this table is there", replica);
    }
    if (find_place(c, replica) < c->place_count) {
        return CAIRN_OK;
    }
    if (c->place_count == CAIRN_REPLICAS_MAX) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: more than %d replicas", replica, CAIRN_REPLICAS_MAX);
    }
    more = realloc(c->places, (c->place_count + (size_t)1) * sizeof *more);
    if (more == NULL || (c->places = more, more[c->place_count] = strdup(replica)) == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory", replica);
    }
    c->place_count++;
    return CAIRN_OK;
}

static int place(const char *folder, char *const *replicas, size_t count, bool forget)
{
    cairn_catalogue catalogue = {0};
    cairn_error error = {CAIRN_OK, ""};
    char path[CAIRN_PATH_BYTES];
    cairn_status status = (size_t)snprintf(path, sizeof path, "%s/" CAIRN_CATALOGUE_NAME, folder) < sizeof path
                              ? cairn_catalogue_read(&catalogue, path, &error)
                              : cairn_fail(&error, CAIRN_E_INVALID, "%.100s: the path is too long", folder);

    for (size_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = forget ? forget_place(&catalogue, replicas[i], &error) : add_place(&catalogue, replicas[i], &error);
    }
    if (status == CAIRN_OK && count > 0) {
        status = cairn_catalogue_write(&catalogue, path, &error);
    }
    for (uint32_t i = 0; i < catalogue.place_count && status == CAIRN_OK; i++) {
        print_place(&catalogue, catalogue.places[i]);
    }
    cairn_catalogue_free(&catalogue);
    if (status != CAIRN_OK) {
        (void)cairn_cli_fail("data place", &error);
        return exit_code(&error);
    }
    return CAIRN_EXIT_OK;
}

int cairn_cli_data(int argc, char **argv)
{
    static const struct option options[] = {{"delimiter", required_argument, NULL, 'd'},
                                            {"rows", required_argument, NULL, 'r'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"forget", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *what = argc > 1 ? argv[1] : "";
    bool imports = strcmp(what, "import") == 0, checks = strcmp(what, "check") == 0,
         places = strcmp(what, "place") == 0;
    bool quiet = false, forget = false;
    char delimiter = 0;
    uint64_t rows = 0;

    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        print_help();
        return CAIRN_EXIT_OK;
    }
    if (!imports && !checks && !places) {
        return cairn_cli_usage_error("data", "import, check or place is needed first, not '%s'", what);
    }
    argc--;
    argv++;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "d:r:qfh", options, NULL)) != -1;) {
        if (option == 'h') {
            print_help();
            return CAIRN_EXIT_OK;
        }
        if (option == 'd' && imports && (strlen(optarg) == 1 || strcmp(optarg, "tab") == 0)) {
            delimiter = strcmp(optarg, "tab") == 0 ? '\t' : optarg[0];
        } else if (option == 'r' && imports && cairn_cli_number(optarg, UINT64_C(1) << 40, &rows)) {
            continue;
        } else if (option == 'q' && checks) {
            quiet = true;
        } else if (option == 'f' && places) {
            forget = true;
        } else {
            return cairn_cli_usage_error("data", "%s: %s: no such option, or not with this value", what,
                                         optind > 0 && optind <= argc ? argv[optind - 1] : "");
        }
    }
    if (argc - optind < (imports ? 2 : 1)) {
        return cairn_cli_usage_error("data", imports  ? "import needs FOLDER and what to convert"
                                             : checks ? "check needs a folder or shards"
                                                      : "place needs the folder of a table");
    }
    argv += optind;
    argc -= optind;
    return imports  ? import(argv[0], argv + 1, (size_t)argc - 1, delimiter, rows)
           : checks ? check(argv, (size_t)argc, quiet)
                    : place(argv[0], argv + 1, (size_t)argc - 1, forget);
}
