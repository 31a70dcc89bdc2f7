/* What comes out of mpirun's stderr is the job's, except for what mpirun and its libraries say themselves. That goes to
 * the log only, and is read: it names the process that failed first.
 *
 * mpirun writes each of its messages with one write, between two lines of 74 dashes, so a block arrives whole; one that
 * is not closed soon was the job's after all. What the ranks' libraries print begins with "[host:pid]". A line is held
 * back only while its beginning might still become one of those, and never for longer than HOLD_SECONDS.
 *
 * Open MPI 5 calls itself prterun, breaks its sentences where they become long, and may leave a blank behind a block. */
#include "cli/run.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULE_DASHES      74 /* from mpirun                                       */
#define RULE_DASHES_RANK 66 /* from a rank that fails before it can tell mpirun */
#define HOLD_SECONDS     0.15
#define DIGITS_MAX       9 /* of the number of a task */

void cairn_run_filter_begin(cairn_run_filter *filter, int out, FILE *log, bool srun)
{
    memset(filter, 0, sizeof *filter);
    filter->srun = srun;
    filter->out = out;
    filter->log = log;
    filter->process = -1;
    filter->signal = -1;
    filter->exit = -1;
}

/* The user's terminal may be gone; then there is nobody to tell. */
static void pass(cairn_run_filter *filter, const char *data, size_t bytes)
{
    filter->behind_launcher = false;
    if (bytes > 0) {
        filter->middle = data[bytes - 1] != '\n';
    }
    while (bytes > 0) {
        ssize_t done = write(filter->out, data, bytes);
        if (done <= 0) {
            return;
        }
        data += done;
        bytes -= (size_t)done;
    }
}

static bool is_rule(const char *line, size_t bytes)
{
    size_t dashes = 0;

    while (dashes < bytes && line[dashes] == '-') {
        dashes++;
    }
    return (dashes == RULE_DASHES || dashes == RULE_DASHES_RANK) && dashes + 1 == bytes;
}

/* "[host][[20028,1],2][../../btl_tcp_frag.c:135:...] ...": a rank's own library, of a connection that broke. */
static bool is_located(const char *line, size_t bytes)
{
    size_t host = strspn(line, "[") == 1 ? 1 + strcspn(line + 1, "[] ") : 0;
    unsigned job, kind, rank;

    return host > 1 && host + 3 < bytes && strncmp(line + host, "][[", 3) == 0 &&
           sscanf(line + host, "][[%u,%u],%u][", &job, &kind, &rank) == 3;
}

/* "[host:123]" or "[host:00123]" */
static bool is_tagged(const char *line, size_t bytes)
{
    size_t i = 1;

    if (bytes < 5 || line[0] != '[') {
        return false;
    }
    while (i < bytes && (isalnum((unsigned char)line[i]) || strchr("._-", line[i]) != NULL) && line[i] != '\0') {
        i++;
    }
    if (i == 1 || i >= bytes || line[i] != ':') {
        return false;
    }
    size_t digits = ++i;
    while (i < bytes && isdigit((unsigned char)line[i])) {
        i++;
    }
    return i > digits && i < bytes && line[i] == ']';
}

/* Single lines of mpirun outside of blocks. */
static const char *const loose[] = {
    "mpirun: Forwarding signal", "mpirun: abort is already in progress", "mpirun: killing job", "mpirun noticed that",
    "PRTE: Forwarding signal", "prterun: abort is already in progress", "Abort is in progress...hit ctrl-c",
    /* The second half of a line of the 5.x TCP transport, when somebody else's comes in between. */
    "Unable to find reachable pairing between local and remote interfaces"};
static const char *const loose_inside[] = {
    " total process failed to start", " total processes failed to start",    " total process killed (some",
    " total processes killed (some",  " more process has sent help message", " more processes have sent help message"};

static bool is_loose(const char *line)
{
    for (size_t i = 0; i < sizeof loose / sizeof loose[0]; i++) {
        if (strncmp(line, loose[i], strlen(loose[i])) == 0) {
            return true;
        }
    }
    const char *behind = line + strspn(line, "0123456789");
    for (size_t i = 0; behind != line && i < sizeof loose_inside / sizeof loose_inside[0]; i++) {
        if (strncmp(behind, loose_inside[i], strlen(loose_inside[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* What a line of Slurm's begins with: "srun: ...", and of its daemon of a step: "slurmstepd-moss: error: ...". */
static const char *const of_slurm[] = {"srun: ", "slurmstepd"};

static bool is_slurm(const char *line)
{
    for (size_t i = 0; i < sizeof of_slurm / sizeof of_slurm[0]; i++) {
        if (strncmp(line, of_slurm[i], strlen(of_slurm[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* What srun says of the end of a task: "srun: error: moss: task 1: Killed", "tasks 0-1: Exited with exit code 3". Under
 * mpirun the tasks are its daemons. */
static void remember_task(cairn_run_filter *filter, const char *line)
{
    char host[65], kind[8], first[DIGITS_MAX + 2], how[64] = "";
    int behind = 0;

    /* "1", or "3-5,7" of any length: the first of them. */
    if (sscanf(line, "srun: error: %64[^: ]: %7[a-z] %10[0-9]%n", host, kind, first, &behind) != 3 ||
        strlen(first) > DIGITS_MAX) {
        return;
    }
    line += (size_t)behind + strspn(line + behind, "-0123456789,");
    if (sscanf(line, ": %63[^\n]", how) != 1) {
        return;
    }
    if ((strcmp(kind, "task") != 0 && strcmp(kind, "tasks") != 0) || filter->process >= 0 || filter->daemon_lost) {
        return;
    }
    if (!filter->srun) {
        if (filter->first_host[0] == '\0') {
            (void)snprintf(filter->first_host, sizeof filter->first_host, "%s", host);
        }
        return;
    }
    filter->process = (int32_t)strtol(first, NULL, 10);
    if (sscanf(how, "Exited with exit code %3d", &filter->exit) == 1) {
        return;
    }
    for (int signal = 1; signal < 32; signal++) {
        const char *name = strsignal(signal);
        if (name != NULL && strncmp(how, name, strlen(name)) == 0) {
            filter->signal = signal;
        }
    }
}

/* The hosts, their daemons or Slurm had a fault before the job had a chance. */
static void remember_start(cairn_run_filter *filter, const char *text)
{
    static const char *const faults[] = {
        "An ORTE daemon has unexpectedly failed after launch", "srun: error: Unable to create step",
        "srun: error: Unable to confirm allocation", "srun: error: Unable to allocate resources"};

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        filter->not_started = filter->not_started || strstr(text, faults[i]) != NULL;
    }
}

static void remember_slurm(cairn_run_filter *filter, const char *line)
{
    size_t used = strlen(filter->last_block);

    remember_task(filter, line);
    remember_start(filter, line);
    if (!filter->daemon_lost && sscanf(line, "srun: error: Node failure on %64s", filter->host) == 1) {
        filter->daemon_lost = true;
        filter->host[strcspn(filter->host, ",")] = '\0';
    }
    /* For a reader who has to know why nothing began. */
    if (filter->srun && filter->process < 0 && strncmp(line, "srun: error: ", 13) == 0) {
        (void)snprintf(filter->last_block + used, sizeof filter->last_block - used, "%s\n", line);
    }
}

static void remember_signal(cairn_run_filter *filter, const char *text)
{
    const char *at = strstr(text, "process rank ");
    const char *on = at == NULL ? NULL : strstr(at, " exited on signal ");

    if (on != NULL && filter->process < 0) {
        filter->process = (int32_t)strtol(at + strlen("process rank "), NULL, 10);
        filter->signal = (int)strtol(on + strlen(" exited on signal "), NULL, 10);
    }
}

/* "[[20028,1],2]", or in 5.x "[prterun-host-17@1,2]" */
static int32_t rank_of(const char *name)
{
    size_t length = strcspn(name, " ");

    while (length > 0 && name[length - 1] != ',') {
        length--;
    }
    return length > 0 ? (int32_t)strtol(name + length, NULL, 10) : -1;
}

static void remember_exit(cairn_run_filter *filter, const char *text)
{
    const char *at = strstr(text, "Process name: [");
    const char *code = at == NULL ? NULL : strstr(at, "Exit code:");

    if (code != NULL && filter->process < 0) {
        filter->process = rank_of(at + strlen("Process name: "));
        filter->exit = (int)strtol(code + strlen("Exit code:"), NULL, 10);
    }
    at = strstr(text, "MPI_ABORT was invoked on rank ");
    code = at == NULL ? NULL : strstr(at, "with errorcode ");
    code = code != NULL ? code + strlen("with errorcode ") : NULL;
    if (at != NULL && code == NULL) {
        code = strstr(at, "Errorcode: "); /* 5.x */
        code = code != NULL ? code + strlen("Errorcode: ") : NULL;
    }
    if (code != NULL && filter->process < 0) {
        filter->process = (int32_t)strtol(at + strlen("MPI_ABORT was invoked on rank "), NULL, 10);
        filter->exit = (int)(strtol(code, NULL, 10) & 0xff);
    }
}

static void remember_daemon(cairn_run_filter *filter, const char *text)
{
    const char *at = strstr(text, "lost communication with a remote daemon");

    if (at == NULL) {
        return;
    }
    filter->daemon_lost = true;
    at = strstr(at, "Remote daemon:");
    at = at == NULL ? NULL : strstr(at, " on node ");
    if (at != NULL) {
        (void)sscanf(at, " on node %64s", filter->host);
    }
}

/* One blank for each run of blanks and line ends: where a sentence is broken depends on the names in it. */
static void unfold(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (!isspace((unsigned char)*from)) {
            *to++ = *from;
        } else if (to != text && to[-1] != ' ') {
            *to++ = ' ';
        }
    }
    *to = '\0';
}

/* A whole block, its rules included. */
static void take_block(cairn_run_filter *filter, const char *block, size_t bytes)
{
    size_t kept = bytes < sizeof filter->last_block ? bytes : sizeof filter->last_block - 1;
    char text[sizeof filter->last_block], whole[sizeof filter->last_block];

    memcpy(whole, block, kept);
    whole[kept] = '\0';
    memcpy(text, whole, kept + 1);
    unfold(text);
    remember_signal(filter, text);
    remember_exit(filter, text);
    remember_daemon(filter, text);
    remember_start(filter, text);
    /* "Primary job terminated ..." says nothing that helps a reader. */
    if (strstr(text, "Per user-direction, the job has been aborted") == NULL) {
        memcpy(filter->last_block, whole, kept + 1);
    }
}

/* The bytes behind the closing rule of the block that begins at held[0], or 0 while it is open. */
static size_t block_end(const cairn_run_filter *filter)
{
    const char *held = filter->held;
    const char *first = memchr(held, '\n', filter->held_bytes);
    size_t at = first == NULL ? filter->held_bytes : (size_t)(first - held) + 1;

    while (at < filter->held_bytes) {
        const char *end = memchr(held + at, '\n', filter->held_bytes - at);
        if (end == NULL) {
            return 0;
        }
        size_t next = (size_t)(end - held) + 1;
        if (is_rule(held + at, next - at)) {
            return next;
        }
        at = next;
    }
    return 0;
}

static void drop(cairn_run_filter *filter, size_t bytes)
{
    memmove(filter->held, filter->held + bytes, filter->held_bytes - bytes);
    filter->held_bytes -= bytes;
}

/* Whether an unfinished line may still become mpirun's, or Slurm's. */
static bool may_be_noise(const char *line, size_t bytes)
{
    for (size_t i = 0; i < sizeof of_slurm / sizeof of_slurm[0]; i++) {
        size_t length = strlen(of_slurm[i]);
        if (strncmp(line, of_slurm[i], bytes < length ? bytes : length) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof loose / sizeof loose[0]; i++) {
        size_t length = strlen(loose[i]);
        if (strncmp(line, loose[i], bytes < length ? bytes : length) == 0) {
            return true;
        }
    }
    return bytes == 0 || line[0] == '-' || line[0] == '[' || isdigit((unsigned char)line[0]);
}

/* A line without its end, "" behind it. */
static bool is_noise(const char *line, size_t bytes)
{
    return is_tagged(line, bytes) || is_located(line, bytes) || is_loose(line) || is_slurm(line);
}

/* The blank that Open MPI 5 may put before whatever it says next. end: of the line; NULL: not yet there. */
static bool is_stray_blank(const cairn_run_filter *filter, char *end)
{
    const char *behind = filter->held + 1;
    bool stray = filter->behind_launcher;

    if (filter->held[0] != ' ') {
        return false;
    }
    if (end != NULL) {
        *end = '\0';
        stray = stray || is_rule(behind, (size_t)(end - behind) + 1) || is_noise(behind, (size_t)(end - behind));
        *end = '\n';
    }
    return stray;
}

/* Decide on the first line of what is held. false: it cannot be decided yet. */
static bool decide(cairn_run_filter *filter, bool patience)
{
    char *end = memchr(filter->held, '\n', filter->held_bytes);
    size_t line = end == NULL ? filter->held_bytes : (size_t)(end - filter->held) + 1;
    bool can_wait = patience && filter->held_bytes < sizeof filter->held;

    if (filter->middle) { /* the rest of a line of the job */
        pass(filter, filter->held, line);
        drop(filter, line);
        return true;
    }
    if (is_stray_blank(filter, end)) {
        filter->behind_launcher = false;
        drop(filter, 1);
        return true;
    }
    if (end == NULL) {
        size_t blank = filter->held[0] == ' ';
        if (can_wait && may_be_noise(filter->held + blank, line - blank)) {
            return false;
        }
    } else if (is_rule(filter->held, line)) {
        size_t block = block_end(filter);
        if (block > 0) {
            take_block(filter, filter->held, block);
            drop(filter, block);
            filter->behind_launcher = true;
            return true;
        }
        if (can_wait) {
            return false;
        }
    } else {
        *end = '\0';
        bool noise = is_noise(filter->held, line - 1);
        bool launcher = is_loose(filter->held);
        remember_signal(filter, noise ? filter->held : "");
        remember_slurm(filter, noise ? filter->held : "");
        *end = '\n';
        if (noise) {
            drop(filter, line);
            filter->behind_launcher = launcher;
            return true;
        }
    }
    bool blank = line == 1 && filter->held[0] == ' '; /* Open MPI 5 may go on behind it much later */
    pass(filter, filter->held, line);
    filter->middle = filter->middle && !blank;
    drop(filter, line);
    return true;
}

void cairn_run_filter_feed(cairn_run_filter *filter, const char *data, size_t bytes, double now)
{
    if (filter->log != NULL) {
        (void)fwrite(data, 1, bytes, filter->log);
        (void)fflush(filter->log);
    }
    while (bytes > 0) {
        size_t room = sizeof filter->held - filter->held_bytes;
        size_t part = bytes < room ? bytes : room;

        memcpy(filter->held + filter->held_bytes, data, part);
        filter->held_bytes += part;
        data += part;
        bytes -= part;
        while (filter->held_bytes > 0 && decide(filter, true)) {
        }
    }
    filter->held_since = now;
}

void cairn_run_filter_flush(cairn_run_filter *filter, double now, bool all)
{
    if (filter->held_bytes > 0 && (all || now - filter->held_since > HOLD_SECONDS)) {
        while (filter->held_bytes > 0 && decide(filter, false)) {
        }
    }
}
