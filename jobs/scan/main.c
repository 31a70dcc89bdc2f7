/* scan: partitioned CSV files, read by all processes, aggregated by groups. The life of the job; the rest is in
 * begin.c, work.c, state.c, report.c.
 *
 * Process 0 makes the plan and sends it to all, so a bad argument or file is found once and said once: then all leave
 * with exit status 3. The answer is printed right before the job ends: a process that is killed in that last instant has
 * the answer printed once more by the restart (--output replaces its file whole).
 *
 * Recovery in place: every call that waits may return CAIRN_E_ROLLBACK, wherever this process is, and a process that
 * takes another's place comes here out of cairn_init and cairn_restore. All meet again in scan_begin, with whatever each
 * has, and go on from the snapshot; or leave, when one of them knows that the answer is out. If process 0 dies when it
 * has printed and nobody has heard of that, the answer is printed once more. */
#include "scan.h"

#include "base/environment.h"

#include <getopt.h>

static const char help_text[] =
    "usage: mpirun -n P scan [OPTIONS] FILES_OR_DIR...     or: cairn run -n P -- scan [OPTIONS] FILES_OR_DIR...\n"
    "\n"
    "Reads CSV files with a header row, divided among all processes, and prints aggregates by group. The answer is\n"
    "the same, to the last digit, whatever the number of processes, kills and restarts. Of a folder it reads its "
    "*.csv,\n"
    "*.tsv and *.txt; a name may be a pattern ('2023-*.csv', in quotes for the shell). Files may be compressed by gzip "
    "or\n"
    "zstd, which their first bytes say (in a folder: with .gz or .zst behind); such a file is read by one process. "
    "HDF5 files\n"
    "(*.h5, *.hdf5) are tables, too.\n"
    "\n"
    "  --select COLS        print rows, in the order of the files, instead of aggregates: columns, comma between, or "
    "'*'\n"
    "  --where CONDITION    only rows of which this is true, such as \"origin = 'ATL' and (delay > 60 or delay is "
    "null)\":\n"
    "                       = <> < <= > >=, and, or, not, in (...), is [not] null, starts_with(COL, 'text'), + - * / "
    "%.\n"
    "                       Text is put in 'single quotes', a column name that is no plain word in double quotes\n"
    "  --group-by COLS      columns, comma between; default: one group of all rows\n"
    "  --agg LIST           comma between; default: count. count, count(COL), sum(COL), mean(COL), min(COL), "
    "max(COL),\n"
    "                       variance(COL), stddev(COL) of a sample, median(COL), approx_quantile(COL, 0.9) within 0.2 "
    "%,\n"
    "                       approx_distinct(COL) within 0.8 % mostly, nearly exact up to 2000.\n"
    "                       A column name with a comma or parenthesis is put in double quotes\n"
    "  --order-by LIST      columns of the answer, each with desc if the largest is to come first\n"
    "  --limit N            print the first N groups, or rows, only\n"
    "  --strict             text where a number is needed, or a row with too few or too many fields, is an error\n"
    "  --delimiter C        one character, or tab; default: found in the first file, among , ; and tab\n"
    "  --format F           table (default), csv, json, or with --output hdf5: a table that scan reads again\n"
    "  --output FILE        write the answer there instead of to standard output\n"
    "  --read-rate BYTES    each process reads no more than this a second (K, M, G: thousands), to be polite on a\n"
    "                       shared file system\n"
    "  --in-flight N        each process has so many blocks more read, of as many files, while it works on one "
    "(default:\n"
    "                       0, at most 32): for data that come from disks or over a network\n"
    "  --read-by WAY        how blocks in flight are read: any (default: io_uring where the kernel has it, else "
    "threads),\n"
    "                       io_uring or threads\n"
    "  --near-wait SECONDS  who has nothing left to read on its own host waits so long for others to be done, then "
    "reads\n"
    "                       what lies elsewhere (default: 0.1)\n"
    "  --memory BYTES       each process takes no more than that, about; groups that do not fit go to disk, to the "
    "folder\n"
    "                       of the run, or without one to $TMPDIR (default: no limit; at least 16M)\n"
    "  --hdf5 PATH          what is read of HDF5 files: a group, whose datasets of one dimension are the columns "
    "(default:\n"
    "                       the root), or a dataset; of one of two dimensions the columns are c0, c1, ...\n"
    "  --replica FOLDER     the files are there as well, under the same names; may be said several times. What is "
    "missing,\n"
    "                       cannot be read, has another size or other bytes at its ends, or is damaged (compressed "
    "files and\n"
    "                       tables of cairn data), is read from the next folder that has it, and a line says so. "
    "HOST:FOLDER\n"
    "                       is on that host alone: its processes read there, and others only when nothing else is "
    "left\n"
    "  --explain            print what would be read, and how, and end\n"
    "  --block-size BYTES   cut files into blocks of this size, at least 4K (default: a 256th of all bytes, within\n"
    "                       65536 bytes and 4 MiB)\n"
    "  --help               this text\n"
    "\n"
    "All files must have the same header. An empty value is missing: it is left out and counted. Text where a number "
    "is\n"
    "needed is left out, counted, and named once at the end. Sums of decimals are exact; a mean is the exact one, "
    "rounded once.\n"
    "Standard error gets closing lines: rows, bytes, files, blocks, processes, seconds; what each process did.\n"
    "\n"
    "Exit status: 0; 3 wrong arguments or input that cannot be read as asked; 74 reading or writing failed; 85 "
    "stopped\n"
    "on request; see README.\n";

static char parse_delimiter(job_fault *fault, const char *text)
{
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0) {
        return '\t';
    }
    if (strlen(text) != 1 || text[0] == '"' || text[0] == '\n' || text[0] == '\r') {
        job_wrong(fault, "--delimiter %s: must be one character (not a quote or line break), or tab", text);
    }
    return text[0];
}

static cairn_format parse_format(job_fault *fault, const char *text)
{
    static const char *const names[] = {"table", "csv", "json", "hdf5"};

    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (cairn_format)i;
        }
    }
    job_wrong(fault, "--format %s: must be table, csv, json or hdf5", text);
    return CAIRN_FORMAT_TABLE;
}

static cairn_ahead_way parse_way(job_fault *fault, const char *text)
{
    static const char *const names[] = {
        [CAIRN_AHEAD_ANY] = "any", [CAIRN_AHEAD_URING] = "io_uring", [CAIRN_AHEAD_THREADS] = "threads"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (cairn_ahead_way)i;
        }
    }
    job_wrong(fault, "--read-by %s: must be any, io_uring or threads", text);
    return CAIRN_AHEAD_ANY;
}

/* A number with K, M or G. */
static uint64_t parse_bytes(job_fault *fault, const char *option, const char *text, uint64_t least)
{
    char digits[32];
    size_t length = strlen(text);
    uint64_t unit = 1;

    if (length > 0 && length < sizeof digits) {
        const char last = text[length - 1];
        unit = last == 'K' || last == 'k' ? 1000 : last == 'M' ? 1000000 : last == 'G' ? 1000000000 : 1;
    }
    (void)snprintf(digits, sizeof digits, "%.*s", (int)(unit > 1 ? length - 1 : length > 31 ? 31 : length), text);
    uint64_t value = job_number(fault, option, digits, 1, UINT64_C(1000000000000)) * unit;
    if (value < least) {
        job_wrong(fault, "%s %s: must be at least %llu", option, text, (unsigned long long)least);
    }
    return value;
}

static double parse_seconds(job_fault *fault, const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= 3600)) {
        job_wrong(fault, "%s %s: must be seconds, 0 to 3600", option, text);
        return 0;
    }
    return value;
}

/* true: help was asked for. */
static bool parse(scan_options *o, job_fault *fault, int argc, char **argv)
{
    static const struct option options[] = {
        {"select", required_argument, NULL, 'c'},
        {"where", required_argument, NULL, 'w'},
        {"group-by", required_argument, NULL, 'g'},
        {"agg", required_argument, NULL, 'a'},
        {"order-by", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},
        {"strict", no_argument, NULL, 'S'},
        {"delimiter", required_argument, NULL, 'd'},
        {"format", required_argument, NULL, 'f'},
        {"output", required_argument, NULL, 'o'},
        {"read-rate", required_argument, NULL, 'r'},
        {"block-size", required_argument, NULL, 'b'},
        {"hdf5", required_argument, NULL, 'H'},
        {"memory", required_argument, NULL, 'M'},
        {"in-flight", required_argument, NULL, 'F'},
        {"read-by", required_argument, NULL, 'B'},
        {"near-wait", required_argument, NULL, 'W'},
        {"replica", required_argument, NULL, 'R'},
        {"explain", no_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    o->near_wait = 0.1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'R':
            if (o->replica_count == CAIRN_REPLICAS_MAX) {
                job_wrong(fault, "--replica %s: more than %d", optarg, CAIRN_REPLICAS_MAX);
                break;
            }
            o->replica[o->replica_count++] = optarg;
            break;
        case 'F':
            o->in_flight = (uint32_t)job_number(fault, "--in-flight", optarg, 0, CAIRN_AHEAD_MAX);
            break;
        case 'W':
            o->near_wait = parse_seconds(fault, "--near-wait", optarg);
            break;
        case 'B':
            o->read_by = parse_way(fault, optarg);
            break;
        case 'M':
            o->memory = parse_bytes(fault, "--memory", optarg, SCAN_MEMORY_MIN);
            break;
        case 'H':
            o->inside = optarg;
            break;
        case 'e':
            o->explain = true;
            break;
        case 'c':
            o->query.select = optarg;
            break;
        case 'w':
            o->query.where = optarg;
            break;
        case 'g':
            o->query.group_by = optarg;
            break;
        case 'a':
            o->query.aggregates = optarg;
            break;
        case 's':
            o->query.order_by = optarg;
            break;
        case 'l':
            o->query.limit = job_number(fault, "--limit", optarg, 1, UINT32_MAX);
            break;
        case 'S':
            o->strict = true;
            break;
        case 'd':
            o->delimiter = parse_delimiter(fault, optarg);
            break;
        case 'f':
            o->format = parse_format(fault, optarg);
            break;
        case 'o':
            o->output = optarg;
            break;
        case 'r':
            o->read_rate = parse_bytes(fault, "--read-rate", optarg, 1000);
            break;
        case 'b':
            o->block_bytes = parse_bytes(fault, "--block-size", optarg, 4000);
            break;
        case 'h':
            return true;
        default:
            job_wrong(fault, "%s: unknown option, or its value is missing; see scan --help", argv[optind - 1]);
        }
    }
    if (o->read_by != CAIRN_AHEAD_ANY && o->in_flight == 0) {
        job_wrong(fault, "--read-by: there is nothing in flight without --in-flight");
    }
    o->paths = argv + optind;
    o->path_count = (size_t)(argc - optind);
    if (o->format == CAIRN_FORMAT_HDF5 && o->output == NULL) {
        job_wrong(fault, "--format hdf5 needs --output");
    }
    if (o->path_count == 0) {
        job_wrong(fault, "no files or folders were named; see scan --help");
    }
    return false;
}

static cairn_status finish(scan *s)
{
    scan_survive_end(s);
    if (s->id == 0 && s->exit_code == CAIRN_EXIT_OK && !s->said && !s->survive.on) {
        scan_say_answer(s);
    }
    return cairn_finalize(s->process) == CAIRN_E_ROLLBACK ? CAIRN_E_ROLLBACK : CAIRN_OK;
}

/* From the state of the snapshot, or from the beginning, to the end. CAIRN_E_ROLLBACK: once more, from a snapshot. */
static cairn_status work(scan *s, const cairn_restored *restored, cairn_error *error)
{
    cairn_status status = scan_begin(s, restored, error);

    if (status == CAIRN_OK && !s->said && s->exit_code == CAIRN_EXIT_OK && s->options.explain) {
        if (s->id == 0) {
            scan_explain(s);
        }
        s->said = true;
    } else if (status == CAIRN_OK && !s->said && s->exit_code == CAIRN_EXIT_OK) {
        status = s->survive.on ? scan_survive_begin(s) : CAIRN_OK;
        if (status == CAIRN_OK) {
            status = cairn_serve(s->process, s->survive.on ? &scan_survive_handlers : &scan_handlers, s);
        }
    }
    /* In cairn_finalize nobody can go back any more: first all know that there is no need to. */
    if (status == CAIRN_OK && s->recovers) {
        status = cairn_barrier(s->process);
    }
    return status == CAIRN_OK ? finish(s) : status;
}

static int run(scan *s)
{
    cairn_restored restored = {0};
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status;

    s->began = scan_now();
    s->survive.on = cairn_survives(s->process);
    s->recovers = getenv(CAIRN_ENV_SPARES) != NULL;
    status = cairn_protect_callbacks(s->process, "scan", scan_save, scan_load, s, CAIRN_REDIVIDE, NULL);
    if (status == CAIRN_OK) {
        status = cairn_restore(s->process, &restored);
    }
    if (status == CAIRN_OK) {
        status = work(s, &restored, &error);
    }
    while (status == CAIRN_E_ROLLBACK) {
        error = (cairn_error){CAIRN_OK, ""};
        status = cairn_recover(s->process, &restored);
        if (status == CAIRN_OK) {
            status = work(s, &restored, &error);
        }
    }
    scan_spill_end(s, status == CAIRN_OK);
    return status == CAIRN_OK ? s->exit_code
                              : cairn_leave(s->process, status, error.text[0] != '\0' ? error.text : NULL);
}

static void clean_up(scan *s)
{
    cairn_reader_close(s->reader);
    cairn_groups_free(&s->groups);
    cairn_groups_free(&s->apart);
    free(s->tally);
    cairn_groups_free(&s->lead.total);
    scan_drop_hedged(s);
    free(s->lead.hedged);
    cairn_query_free(&s->query);
    cairn_plan_free(&s->plan);
    free(s->lead.share);
    free(s->lead.held);
    free(s->lead.asks);
    free(s->lead.patience);
    free(s->lead.waits_from);
    free(s->lead.careful);
    free(s->lead.near);
    free(s->lead.file_of);
    free(s->lead.near_from);
    free(s->reads);
    scan_forget_blobs(s);
    scan_survive_free(s);
}

int main(int argc, char **argv)
{
    scan s = {.exit_code = CAIRN_EXIT_OK};
    job_fault fault = {""};
    int code;

    if (parse(&s.options, &fault, argc, argv)) {
        if (job_speaks()) {
            fputs(help_text, stdout);
        }
        return 0;
    }
    cairn_status joined = cairn_init(&s.process, &argc, &argv);
    if (joined != CAIRN_OK) {
        return cairn_exit_code(joined);
    }
    s.id = cairn_id(s.process);
    s.count = cairn_count(s.process);
    code = fault.text[0] != '\0' ? job_refuse(s.process, "scan", &fault) : run(&s);
    clean_up(&s);
    return code;
}
