/* cairn prune: remove snapshots that no restart needs. */
#include "cli/cli.h"
#include "cli/common.h"

#include "base/environment.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_help(void)
{
    printf(
        "Usage: cairn prune [OPTIONS] DIR\n"
        "Keep the newest usable snapshots of DIR's run and remove what is older, and with it damaged and uncommitted\n"
        "ones older than the newest usable one. While no snapshot can be used, nothing is removed: the only good one\n"
        "always stays. Only files that Cairn wrote are removed. Not for the DIR of a job that is running: it prunes by "
        "itself.\n"
        "\n"
        "  -k, --keep K  how many usable ones to keep (default %d, at least 1)\n"
        "  -q, --quick   check only commit records and seals, not every byte of those that are kept\n"
        "  -j, --json    print a JSON object: {\"removed\": [NUMBER, ...]}\n"
        "  -h, --help    this text\n"
        "\n"
        "Exit codes: 0 pruned, also when there was nothing to remove; 1 DIR is not there; 2 wrong usage; 66 "
        "DIR/run.json is\n"
        "damaged (nothing is removed then); 73, 74 cannot read or remove.\n",
        CAIRN_KEEP_DEFAULT);
}

static int prune(const char *dir, uint32_t keep, cairn_depth depth, bool json)
{
    cairn_run_record *record = NULL;
    uint64_t *removed = NULL;
    size_t count = 0;
    cairn_error error;
    int code;
    cairn_status status = cairn_cli_run_record(dir, &record, &error);

    if (status == CAIRN_OK) {
        status = cairn_store_prune(dir, record != NULL ? record->run : NULL, keep, depth, &removed, &count, &error);
    }
    if (json && status == CAIRN_OK) {
        json_t *numbers = json_array();

        for (size_t i = 0; i < count && numbers != NULL; i++) {
            (void)json_array_append_new(numbers, json_integer((json_int_t)removed[i]));
        }
        code = cairn_cli_print_json("prune", numbers != NULL ? json_pack("{s:o}", "removed", numbers) : NULL);
    } else {
        for (size_t i = 0; i < count; i++) {
            printf("removed %06" PRIu64 "\n", removed[i]);
        }
        code = status == CAIRN_OK ? CAIRN_EXIT_OK : cairn_cli_fail("prune", &error);
    }
    if (status == CAIRN_OK && count == 0 && !json) {
        fprintf(stderr, "cairn: prune: %s: nothing to remove\n", dir);
    }
    free(removed);
    cairn_run_record_free(record);
    return code;
}

int cairn_cli_prune(int argc, char **argv)
{
    static const struct option options[] = {{"keep", required_argument, NULL, 'k'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    cairn_depth depth = CAIRN_DEPTH_FULL;
    char dir[CAIRN_PATH_BYTES];
    uint64_t keep = CAIRN_KEEP_DEFAULT;
    uint64_t number = 0;
    bool json = false;
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":k:qjh", options, NULL)) != -1) {
        switch (option) {
        case 'k':
            if (!cairn_cli_number(optarg, UINT32_MAX, &keep)) {
                return cairn_cli_usage_error("prune", "--keep %s: a number from 1 up is needed", optarg);
            }
            break;
        case 'q':
            depth = CAIRN_DEPTH_SEALS;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            print_help();
            return CAIRN_EXIT_OK;
        case ':':
            return cairn_cli_usage_error("prune", "%s: a value is missing", argv[optind - 1]);
        default:
            return cairn_cli_usage_error("prune", "%s: no such option", argv[optind - 1]);
        }
    }
    if (argc - optind != 1) {
        return cairn_cli_usage_error("prune", "one DIR is needed");
    }
    if (!cairn_cli_locate(argv[optind], dir, &number) || number != 0) {
        fprintf(stderr, "cairn: prune: %s: not a folder with snapshots of a run\n", argv[optind]);
        return CAIRN_EXIT_FAILURE;
    }
    return prune(dir, (uint32_t)keep, depth, json);
}
