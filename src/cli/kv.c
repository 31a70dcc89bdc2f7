/* cairn kv: the coordination service of a running job, from a shell. The command line. */
#include "cli/kv.h"
#include "base/environment.h"
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_SECONDS 10.0
#define TTL_SECONDS     5.0

static const char help_text[] =
    "Usage: cairn kv COMMAND ... [--dir DIR] [--timeout S] [--json]\n"
    "Read and write what the processes of a running job have agreed on. It goes on while most of them live; if the\n"
    "process that is asked is silent another one is asked, and what is written is written once.\n"
    "\n"
    "  get KEY                   the value of KEY, and a newline\n"
    "  list [PREFIX]             KEY<tab>VALUE of all keys that begin with PREFIX, in order (also: range)\n"
    "  put KEY VALUE             set KEY; VALUE \"-\": standard input. Prints the new revision of the store\n"
    "  cas KEY VALUE --modified R | --absent\n"
    "                            put, if KEY was changed last at revision R, or if there is no such key\n"
    "  del KEY                   delete KEY\n"
    "  watch KEY                 what happens to KEY: REVISION<tab>put|delete<tab>KEY[<tab>VALUE]\n"
    "  lock NAME -- COMMAND ...  run a command while holding a lock, with its token in CAIRN_LOCK_TOKEN\n"
    "  lock NAME                 print the token, and hold the lock until standard input ends or SIGINT, SIGTERM\n"
    "  elect NAME VALUE [-- COMMAND ...]\n"
    "                            the same with an election: while it is held, VALUE is who leads\n"
    "  leader NAME               the value of whom leads\n"
    "  barrier NAME N            wait until N are here\n"
    "  status                    who leads the service, and how far it is\n"
    "\n"
    "      --dir DIR        of the job, as given to cairn run (default: $CAIRN_DIR)\n"
    "      --timeout S      how long to wait for an answer, a lock, a barrier, or a watch's changes (default 10; a\n"
    "                       watch waits for ever); inf: for ever\n"
    "  -j, --json           one JSON object a line. What is not UTF-8 is in base64, and \"value_encoding\" says so\n"
    "      --prefix         get, watch: all keys that begin with KEY\n"
    "      --revision       get, list: the revision of the last change, and a tab, before the value\n"
    "      --limit N        get --prefix, list: at most N keys (default: all)\n"
    "      --from R         watch: from revision R on (default: from now on)\n"
    "      --count N        watch: end after N changes\n"
    "      --ttl S          lock, elect, barrier: how long it is held when this command is killed or out of touch\n"
    "                       (default 5, at least 0.1)\n"
    "  -h, --help           this text\n"
    "\n"
    "A token rises with every grant of a lock: whatever the lock protects refuses smaller ones. If the session is "
    "lost\n"
    "while a command runs, that is said on standard error; the command is not killed. Keys have 1 to 1024 bytes, "
    "values\n"
    "at most 32768.\n"
    "\n"
    "Exit codes: 0 done; 1 no such key or leader, the comparison failed, or refused; 2 wrong usage; 69 no job is "
    "running\n"
    "in DIR; 75 no answer in time, too busy, or the lock was lost; 73, 74 DIR or standard input and output cannot be\n"
    "read or written; with lock and elect the command's own, 127 if it cannot be run, 128 + N if signal N ended it.\n";

static const struct command {
    const char *name;
    int (*run)(kv *k);
    int least, most;     /* words */
    const char *options; /* that it takes, besides those of all */
    bool child;
} commands[] = {
    {"get", kv_get, 1, 1, "prL", false},     {"list", kv_list, 0, 1, "rL", false},
    {"range", kv_list, 0, 1, "rL", false},   {"put", kv_put, 2, 2, "", false},
    {"cas", kv_cas, 2, 2, "ma", false},      {"del", kv_delete, 1, 1, "", false},
    {"delete", kv_delete, 1, 1, "", false},  {"watch", kv_watch, 1, 1, "pfc", false},
    {"lock", kv_lock, 1, 1, "T", true},      {"elect", kv_elect, 2, 2, "T", true},
    {"leader", kv_leader, 1, 1, "r", false}, {"barrier", kv_barrier, 2, 2, "T", false},
    {"status", kv_status, 0, 0, "", false},
};

static bool seconds_of(const char *text, double least, double *seconds)
{
    char *end;

    errno = 0;
    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds >= least;
}

/* A whole number from 0 on. */
static bool number_of(const char *text, uint64_t *number)
{
    if (strcmp(text, "0") == 0) {
        *number = 0;
        return true;
    }
    return cairn_cli_number(text, UINT64_MAX, number);
}

/* -1 to go on. given: the letters of the options that are there, in `room` bytes. */
static int take_option(kv_options *o, int option, char *given, size_t room)
{
    size_t length = strlen(given);
    bool good = true;

    if (length + 1 < room && strchr("djth", option) == NULL) {
        given[length] = (char)option;
        given[length + 1] = '\0';
    }
    switch (option) {
    case 'd':
        o->dir = optarg;
        break;
    case 'j':
        o->json = true;
        break;
    case 't':
        o->timeout_given = true;
        good = seconds_of(optarg, 0.0, &o->timeout);
        break;
    case 'T':
        good = seconds_of(optarg, CAIRN_TTL_MIN, &o->ttl) && o->ttl <= CAIRN_TTL_MAX;
        break;
    case 'p':
        o->prefix = true;
        break;
    case 'r':
        o->revision = true;
        break;
    case 'a':
        o->absent = true;
        break;
    case 'm':
        o->modified_given = true;
        good = number_of(optarg, &o->modified);
        break;
    case 'f':
        good = number_of(optarg, &o->from);
        break;
    case 'c':
        good = cairn_cli_number(optarg, UINT64_MAX, &o->count);
        break;
    default:
        good = cairn_cli_number(optarg, UINT64_MAX, &o->limit);
    }
    return good ? -1 : cairn_cli_usage_error("kv", "%s: not a number that is possible here", optarg);
}

static int parse_options(kv_options *o, int argc, char **argv, char *given, size_t room)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"prefix", no_argument, NULL, 'p'},
                                            {"revision", no_argument, NULL, 'r'},
                                            {"modified", required_argument, NULL, 'm'},
                                            {"absent", no_argument, NULL, 'a'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"limit", required_argument, NULL, 'L'},
                                            {"ttl", required_argument, NULL, 'T'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option, code = -1;

    opterr = 0;
    optind = 0;
    while (code < 0 && (option = getopt_long(argc, argv, ":jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_text, stdout);
            return CAIRN_EXIT_OK;
        }
        if (option == ':' || option == '?') {
            return cairn_cli_usage_error("kv", option == ':' ? "%s: a value is missing" : "%s: no such option",
                                         argv[optind - 1]);
        }
        code = take_option(o, option, given, room);
    }
    return code;
}

static const char *option_text(char letter)
{
    static const struct {
        char letter;
        const char *text;
    } texts[] = {{'p', "--prefix"}, {'r', "--revision"}, {'m', "--modified"}, {'a', "--absent"},
                 {'f', "--from"},   {'c', "--count"},    {'L', "--limit"},    {'T', "--ttl"}};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].letter == letter) {
            return texts[i].text;
        }
    }
    return "";
}

static int check(const kv_options *o, const struct command *command, const char *given)
{
    for (const char *at = given; *at != '\0'; at++) {
        if (strchr(command->options, *at) == NULL) {
            return cairn_cli_usage_error("kv", "%s: not an option of %s", option_text(*at), command->name);
        }
    }
    if (o->word_count < command->least || o->word_count > command->most) {
        return cairn_cli_usage_error("kv", "%s: %d words, where %s%d are needed", command->name, o->word_count,
                                     command->least < command->most ? "at most " : "", command->most);
    }
    if (o->child != NULL && (!command->child || o->child[0] == NULL)) {
        return cairn_cli_usage_error("kv", "%s: which command is to be run?", command->name);
    }
    for (int i = 0; i < o->word_count && i < 1; i++) {
        if ((o->words[i][0] == '\0' && command->least > 0 && !o->prefix) || strlen(o->words[i]) > CAIRN_KEY_MAX) {
            return cairn_cli_usage_error("kv", "%s: a key has 1 to %d bytes", command->name, CAIRN_KEY_MAX);
        }
    }
    if (command->run == kv_cas && o->absent == o->modified_given) {
        return cairn_cli_usage_error("kv", "cas: either --modified or --absent is needed");
    }
    if (o->dir == NULL || o->dir[0] == '\0') {
        return cairn_cli_usage_error("kv", "which job? --dir DIR is needed, or %s in the environment", CAIRN_ENV_DIR);
    }
    return -1;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int find_words(kv_options *o, int argc, char **argv, const struct command **command)
{
    *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (optind >= argc) {
        return cairn_cli_usage_error("kv", "which command? get, put, ...");
    }
    if (*command == NULL) {
        return cairn_cli_usage_error("kv", "%s: no such command", argv[optind]);
    }
    o->words = argv + optind + 1;
    o->word_count = argc - optind - 1;
    return -1;
}

int cairn_cli_kv(int argc, char **argv)
{
    kv_options o = {.timeout = TIMEOUT_SECONDS, .ttl = TTL_SECONDS, .dir = getenv(CAIRN_ENV_DIR)};
    const struct command *command = NULL;
    char given[32] = "";
    int dashes = 1;
    int code;
    kv k;

    while (dashes < argc && strcmp(argv[dashes], "--") != 0) {
        dashes++;
    }
    code = parse_options(&o, dashes, argv, given, sizeof given);
    if (code < 0) {
        code = find_words(&o, dashes, argv, &command);
    }
    /* Behind "--": what `lock` and `elect` run; for others more words, which may begin with "-". */
    if (code < 0 && dashes < argc && command->child) {
        o.child = argv + dashes + 1;
    } else if (code < 0 && dashes < argc) {
        /* Words stand directly before the dashes now: close the gap. */
        memmove(argv + dashes, argv + dashes + 1, (size_t)(argc - dashes) * sizeof *argv);
        o.word_count += argc - dashes - 1;
    }
    if (code < 0) {
        code = check(&o, command, given);
    }
    if (code >= 0) {
        return code;
    }
    code = kv_begin(&k, &o);
    if (code < 0) {
        code = command->run(&k);
        kv_end(&k);
    }
    return code;
}
