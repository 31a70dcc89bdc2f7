/* The `cairn` command: finds the subcommand. What each does is in a file of its own. */
#include "cli/cli.h"

#include <cairn/status.h>
#include <cairn/version.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cairn_cli_run, "run a job under mpirun and restart it from its last snapshot when it fails"},
    {"list", cairn_cli_list, "list the snapshots of DIR and say which a restart would use"},
    {"show", cairn_cli_show, "show what is in a snapshot"},
    {"verify", cairn_cli_verify, "check every byte of snapshots"},
    {"prune", cairn_cli_prune, "remove old snapshots"},
    {"stop", cairn_cli_stop, "have the run of DIR take a last snapshot and end for good"},
    {"data", cairn_cli_data, "turn CSV files into tables of columns that are scanned faster, and check these"},
    {"kv", cairn_cli_kv, "read, write, lock and watch what the processes of a running job agree on"},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_help(void)
{
    printf("Usage: cairn COMMAND [OPTIONS] ...\n"
           "MPI jobs that survive: run them, and look at their snapshots.\n"
           "\n"
           "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    }
    printf("  help     help on a command: cairn help COMMAND\n"
           "\n"
           "Options:\n"
           "  -h, --help     this text\n"
           "  -V, --version  the version\n"
           "\n"
           "Results go to stdout, progress and errors to stderr. Exit codes: 0 success, 1 failure, 2 wrong usage; the "
           "help\n"
           "of a command names its others.\n");
}

static int find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return (int)i;
        }
    }
    fprintf(stderr, "cairn: %s: no such command (cairn --help lists them)\n", name);
    return -1;
}

int main(int argc, char **argv)
{
    int which;

    if (argc < 2) {
        fprintf(stderr, "cairn: no command: one of run, list, show, verify, prune, stop, data, kv is needed (cairn "
                        "--help says more)\n");
        return CAIRN_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("cairn %s\n", cairn_version());
        return CAIRN_EXIT_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help();
        return CAIRN_EXIT_OK;
    }
    if (strcmp(argv[1], "help") == 0) {
        char help[] = "--help";
        char *help_argv[] = {argv[2], help, NULL};

        which = find(argv[2]);
        return which < 0 ? CAIRN_EXIT_USAGE : commands[which].run(2, help_argv);
    }
    if (argv[1][0] == '-') {
        fprintf(stderr, "cairn: %s: no such option (cairn --help says more)\n", argv[1]);
        return CAIRN_EXIT_USAGE;
    }
    which = find(argv[1]);
    return which < 0 ? CAIRN_EXIT_USAGE : commands[which].run(argc - 1, argv + 1);
}
