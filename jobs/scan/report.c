/* What process 0 says: the answer, warnings about the input, the closing line, and now and then how far the read is. */
#include "scan.h"

#include "base/environment.h"

#include <sys/stat.h>
#include <unistd.h>

enum { PROGRESS_AFTER = 3, PROGRESS_EVERY = 2, EACH_MAX = 8 };

void scan_bytes_text(uint64_t bytes, char *text, size_t room)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    (void)snprintf(text, room, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

/* To a name beside it first, so that --output never holds half an answer; but what is no regular file (a device, a
 * FIFO, a link) is written as it is, never replaced. */
static cairn_status print_to_file(scan *s, cairn_answer_rows *answer, cairn_error *error)
{
    char path[4096];
    cairn_status status;
    struct stat found;
    bool beside = lstat(s->options.output, &found) != 0 || S_ISREG(found.st_mode);
    int length = snprintf(path, sizeof path, "%s%s", s->options.output, beside ? ".part" : "");
    FILE *out = length < (int)sizeof path ? fopen(path, "w") : NULL;

    if (out == NULL) {
        return cairn_fail(error, CAIRN_E_IO, "%s: %s", s->options.output, strerror(errno));
    }
    status = cairn_answer_print(answer, out, s->options.format);
    int saved = errno;
    if (status == CAIRN_OK && (fflush(out) != 0 || (beside && fsync(fileno(out)) != 0))) {
        saved = errno;
        status = CAIRN_E_IO;
    }
    if (fclose(out) != 0 && status == CAIRN_OK) {
        saved = errno;
        status = CAIRN_E_IO;
    }
    if (status == CAIRN_OK && beside && rename(path, s->options.output) != 0) {
        saved = errno;
        status = CAIRN_E_IO;
    }
    if (status != CAIRN_OK) {
        if (beside) {
            (void)unlink(path);
        }
        return error->status != CAIRN_OK ? status
                                         : cairn_fail(error, status, "%s: %s", s->options.output, strerror(saved));
    }
    return CAIRN_OK;
}

static cairn_status print_answer(scan *s, cairn_error *error)
{
    cairn_answer_rows *answer;
    cairn_status status =
        cairn_answer_make(&answer, &s->lead.total, &s->lead.runs, &s->spill, &s->query, &s->plan.columns, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (s->options.format == CAIRN_FORMAT_HDF5) {
        status = cairn_answer_write(answer, s->options.output);
    } else if (s->options.output != NULL) {
        status = print_to_file(s, answer, error);
    } else {
        errno = 0;
        status = cairn_answer_print(answer, stdout, s->options.format);
        if (status != CAIRN_OK && error->status == CAIRN_OK) {
            (void)cairn_fail(error, status, "standard output: %s", strerror(errno));
        }
    }
    cairn_answer_free(answer);
    return status;
}

/* false: there is nothing to say. */
static bool print_note(const scan *s, const cairn_note *note, const char *what)
{
    if (note->count == 0 || note->block >= s->plan.block_count) {
        return false;
    }
    const cairn_plan_file *file = &s->plan.files[s->plan.blocks[note->block].file];
    uint64_t row = note->row + 1;

    for (uint32_t i = file->first_block; i < note->block; i++) {
        row += s->lead.share[i].rows;
    }
    fprintf(stderr, "scan: %s%llu %s; the first: %s: row %llu",
            s->options.strict ? "" : "warning: ", (unsigned long long)note->count, what, file->path,
            (unsigned long long)row);
    if (note->text[0] != '\0') {
        fputs(": ", stderr);
        for (const char *c = note->text; *c != '\0'; c++) {
            (void)putc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, stderr);
        }
    }
    fputs("\n", stderr);
    return true;
}

/* What is odd in the input; true: there is something. */
static bool print_notes(const scan *s)
{
    const cairn_groups *total = &s->lead.total;
    const uint32_t *where = NULL;
    uint32_t where_count = s->query.where == NULL ? 0 : cairn_expr_columns(s->query.where, &where);
    char what[700];
    bool any = false;

    for (uint32_t i = 0; i < s->query.value_count; i++) {
        (void)snprintf(what, sizeof what, "values of %s are not numbers%s",
                       s->plan.columns.name[s->query.value_column[i]], s->options.strict ? "" : " and were left out");
        any = print_note(s, &total->bad[i], what) || any;
    }
    for (uint32_t i = 0; i < where_count; i++) {
        (void)snprintf(what, sizeof what, "values of %s are not numbers, as --where needs them",
                       s->plan.columns.name[where[i]]);
        any = print_note(s, &total->bad_where[i], what) || any;
    }
    any = print_note(s, &total->few, "rows have fewer fields than the header") || any;
    any = print_note(s, &total->many, "rows have more fields than the header") || any;
    return print_note(s, &total->unclosed, "quoted fields never end") || any;
}

static void print_summary(scan *s)
{
    const cairn_groups *total = &s->lead.total;
    char bytes[40];
    uint64_t missing = 0;

    for (uint32_t i = 0; i < s->query.value_count; i++) {
        missing += total->missing[i];
    }
    scan_bytes_text(s->plan.bytes, bytes, sizeof bytes);
    fprintf(stderr, "scan: %llu rows, %s, %u file%s, %u blocks, %u process%s, %.2f s", (unsigned long long)total->rows,
            bytes, s->plan.file_count, s->plan.file_count == 1 ? "" : "s", s->plan.block_count, s->count,
            s->count == 1 ? "" : "es", scan_now() - s->began);
    if (s->restarted) {
        fputs(" since the restart", stderr);
    }
    if (s->survive.lost > 0) {
        fprintf(stderr, "; %u process%s lost, and read by the others", s->survive.lost,
                s->survive.lost == 1 ? " was" : "es were");
    }
    if (s->query.where != NULL) {
        fprintf(stderr, "; %llu rows selected", (unsigned long long)total->selected);
    }
    if (missing > 0) {
        fprintf(stderr, "; %llu missing values", (unsigned long long)missing);
    }
    if (s->generation > 0) {
        fprintf(stderr, "; begun anew %u time%s, as quoted line breaks were found", s->generation,
                s->generation == 1 ? "" : "s");
    }
    if (s->lead.read_again > 0) {
        fprintf(stderr, "; %u block%s read a second time at the end, %u of them in vain", s->lead.read_again,
                s->lead.read_again == 1 ? "" : "s", s->lead.in_vain);
    }
    if (s->lead.bytes_read > s->plan.bytes) {
        scan_bytes_text(s->lead.bytes_read - s->plan.bytes, bytes, sizeof bytes);
        fprintf(stderr, "; %s read more than once (no row counted twice)", bytes);
    }
    fputs("\n", stderr);
}

/* What each process did; of many the least and the most. */
static void print_tallies(const scan *s)
{
    uint64_t replica_bytes = 0, near_bytes = 0, all_bytes = 0, spilled = 0, runs = 0;
    uint32_t moved = 0, least = 0, most = 0;
    char bytes[40];

    for (uint32_t i = 0; i < s->count; i++) {
        replica_bytes += s->tally[i].replica_bytes;
        near_bytes += s->tally[i].near_bytes;
        all_bytes += s->tally[i].here_bytes;
        moved += s->tally[i].moved;
        spilled += s->tally[i].spilled;
        runs += s->tally[i].runs;
        least = s->tally[i].busy < s->tally[least].busy ? i : least;
        most = s->tally[i].busy > s->tally[most].busy ? i : most;
    }
    fputs("scan: ", stderr);
    for (uint32_t i = 0; i < s->count && s->count <= EACH_MAX; i++) {
        scan_bytes_text(s->tally[i].bytes, bytes, sizeof bytes);
        fprintf(stderr, "%sprocess %u: %llu blocks, %s, busy %.2f s", i == 0 ? "" : "; ", i,
                (unsigned long long)s->tally[i].blocks, bytes, s->tally[i].busy);
    }
    if (s->count > EACH_MAX) {
        fprintf(stderr, "processes were busy %.2f s (%u, %llu blocks) to %.2f s (%u, %llu blocks)",
                s->tally[least].busy, least, (unsigned long long)s->tally[least].blocks, s->tally[most].busy, most,
                (unsigned long long)s->tally[most].blocks);
    }
    if (s->plan.replica_count > 0) {
        scan_bytes_text(replica_bytes, bytes, sizeof bytes);
        fprintf(stderr, "; %s from replicas, %u time%s a file was read elsewhere", bytes, moved, moved == 1 ? "" : "s");
    }
    if (cairn_plan_has_hosts(&s->plan)) {
        char other[40];

        scan_bytes_text(near_bytes, bytes, sizeof bytes);
        scan_bytes_text(all_bytes - near_bytes, other, sizeof other);
        fprintf(stderr, "; %s read on the own host, %s elsewhere, %u block%s stolen", bytes, other,
                s->lead.stolen + s->lead.division.stolen, s->lead.stolen + s->lead.division.stolen == 1 ? "" : "s");
    }
    fputs("\n", stderr);
    /* What process 0 has written since is in its own numbers. */
    spilled += s->spill.bytes - s->tally[s->id].spilled;
    runs += s->spill.runs - s->tally[s->id].runs;
    if (runs > 0) {
        char limit[40];

        scan_bytes_text(spilled, bytes, sizeof bytes);
        scan_bytes_text(s->options.memory, limit, sizeof limit);
        fprintf(stderr, "scan: the groups did not fit in --memory %s: %s were written to disk, in %llu runs\n", limit,
                bytes, (unsigned long long)runs);
    }
}

void scan_pack_tally(const scan *s, cairn_pack *pack)
{
    uint64_t done = 0;

    for (size_t i = 0; i < s->read_count; i++) {
        done += s->reads[i].done;
    }
    cairn_pack_u64(pack, s->bytes_before + cairn_reader_bytes(s->reader));
    cairn_pack_u64(pack, cairn_reader_bytes(s->reader));
    cairn_pack_u64(pack, cairn_reader_replica_bytes(s->reader));
    cairn_pack_u64(pack, cairn_reader_near_bytes(s->reader));
    cairn_pack_u64(pack, done);
    cairn_pack_u32(pack, s->own.moved);
    cairn_pack_u64(pack, (uint64_t)(s->own.busy * 1e6));
    cairn_pack_u64(pack, s->spill.bytes);
    cairn_pack_u64(pack, s->spill.runs);
}

bool scan_take_tally(scan *s, uint32_t from, cairn_unpack *unpack)
{
    scan_tally *tally = &s->tally[from];

    tally->bytes = cairn_unpack_u64(unpack);
    tally->here_bytes = cairn_unpack_u64(unpack);
    tally->replica_bytes = cairn_unpack_u64(unpack);
    tally->near_bytes = cairn_unpack_u64(unpack);
    tally->blocks = cairn_unpack_u64(unpack);
    tally->moved = cairn_unpack_u32(unpack);
    tally->busy = (double)cairn_unpack_u64(unpack) * 1e-6;
    tally->spilled = cairn_unpack_u64(unpack);
    tally->runs = cairn_unpack_u64(unpack);
    return !unpack->bad;
}

void scan_say_answer(scan *s)
{
    cairn_error error = {CAIRN_OK, ""};
    bool odd = s->options.strict && print_notes(s);
    cairn_status status = odd ? CAIRN_E_INVALID : print_answer(s, &error);

    if (odd) {
        fputs("scan: --strict: so there is no answer\n", stderr);
        s->exit_code = scan_exit_code(status);
    } else if (status != CAIRN_OK) {
        fprintf(stderr, "scan: %s\n", error.text);
        s->exit_code = scan_exit_code(status);
    } else {
        (void)print_notes(s);
        print_summary(s);
        print_tallies(s);
    }
    (void)fflush(stderr);
    s->said = true;
}

/* `cairn run` draws a bar from cairn_progress; under plain mpirun a line now and then. */
void scan_print_progress(scan *s)
{
    double now = scan_now();
    char done[40], total[40];

    if (now - s->began < PROGRESS_AFTER || now - s->lead.told < PROGRESS_EVERY || s->plan.bytes == 0 ||
        getenv(CAIRN_ENV_RUN) != NULL) {
        return;
    }
    s->lead.told = now;
    scan_bytes_text(s->lead.bytes_done, done, sizeof done);
    scan_bytes_text(s->plan.bytes, total, sizeof total);
    fprintf(stderr, "scan: %.0f %%: %s of %s, %.0f s\n", 100.0 * (double)s->lead.bytes_done / (double)s->plan.bytes,
            done, total, now - s->began);
}
