/* scan --explain: what would be read, and how, on standard output. By process 0; only samples were read for it. */
#include "scan.h"

#include <sys/stat.h>

static void print_places(const scan *s, uint32_t file)
{
    char path[CAIRN_PLAN_PATH_BYTES];
    struct stat about;

    for (uint32_t i = 1; i < cairn_plan_places(&s->plan); i++) {
        cairn_plan_place(&s->plan, file, i, path);
        if (stat(path, &about) != 0) {
            printf("; not in %s: %s", path, strerror(errno));
        } else if ((uint64_t)about.st_size != s->plan.files[file].bytes) {
            printf("; not in %s: another size", path);
        } else {
            printf("; also in %s", path);
        }
    }
    cairn_plan_place(&s->plan, file, 0, path);
    if (cairn_plan_places(&s->plan) > 1 && stat(path, &about) != 0) {
        printf("; missing here: %s", strerror(errno));
    }
}

static void print_files(const scan *s)
{
    static const char *const packings[] = {"", ", gzip: read by one process", ", zstd: read by one process", ", HDF5"};
    char bytes[40];

    scan_bytes_text(s->plan.bytes, bytes, sizeof bytes);
    printf("%u file%s, %s of rows, %u block%s of up to %llu bytes, fields parted by ", s->plan.file_count,
           s->plan.file_count == 1 ? "" : "s", bytes, s->plan.block_count, s->plan.block_count == 1 ? "" : "s",
           (unsigned long long)s->plan.block_bytes);
    printf(s->plan.delimiter == '\t' ? "tab\n" : "'%c'\n", s->plan.delimiter);
    for (uint32_t i = 0; i < s->plan.file_count; i++) {
        const cairn_plan_file *file = &s->plan.files[i];

        printf("  %s: %llu bytes, %u block%s%s%s", file->path, (unsigned long long)file->bytes, file->block_count,
               file->block_count == 1 ? "" : "s", packings[file->packing],
               file->careful ? ", quoted line breaks: scanned first" : "");
        print_places(s, i);
        printf("\n");
    }
}

static bool is_in(const uint32_t *columns, uint32_t count, uint32_t column)
{
    for (uint32_t i = 0; i < count; i++) {
        if (columns[i] == column) {
            return true;
        }
    }
    return false;
}

static void print_columns(const scan *s)
{
    const uint32_t *where = NULL;
    uint32_t where_count = s->query.where == NULL ? 0 : cairn_expr_columns(s->query.where, &where);

    printf("%u column%s, by the first %zu bytes of each file:\n", s->plan.columns.count,
           s->plan.columns.count == 1 ? "" : "s", CAIRN_SAMPLE_BYTES);
    for (uint32_t i = 0; i < s->plan.columns.count; i++) {
        bool group = is_in(s->query.group_column, s->query.group_count, i);
        bool value = is_in(s->query.value_column, s->query.value_count, i);
        bool condition = is_in(where, where_count, i);

        printf("  %s: %s%s%s%s%s\n", s->plan.columns.name[i], s->plan.numeric[i] ? "numbers" : "text",
               condition ? ", in the condition" : "", group ? (s->query.selects ? ", selected" : ", groups") : "",
               value ? ", aggregated" : "", condition || group || value ? "" : ", skipped");
    }
}

void scan_explain(const scan *s)
{
    const scan_options *o = &s->options;

    print_files(s);
    print_columns(s);
    printf("rows: %s%s\n", o->query.where == NULL ? "all" : "where ", o->query.where == NULL ? "" : o->query.where);
    if (o->query.select != NULL) {
        printf("select: %s\n", o->query.select);
    } else {
        printf("group by: %s\n", o->query.group_by == NULL ? "nothing, one group" : o->query.group_by);
        printf("aggregates: %s\n", o->query.aggregates == NULL ? "count" : o->query.aggregates);
    }
    if (o->query.order_by != NULL) {
        printf("order by: %s\n", o->query.order_by);
    }
    if (o->query.limit > 0) {
        printf("limit: %llu\n", (unsigned long long)o->query.limit);
    }
    if (s->survive.on) {
        printf("%u process%s take%s partitions in the coordination service; those of one that dies are open again\n",
               s->count, s->count == 1 ? "" : "es", s->count == 1 ? "s" : "");
    } else {
        printf("%u process%s: each has %u blocks in hand, and gets the lowest open one for each that it has read\n",
               s->count, s->count == 1 ? "" : "es", scan_hand(s));
    }
    if (cairn_plan_has_hosts(&s->plan) && !s->survive.on) {
        printf("what lies on its own host first; then it waits %g s before it reads elsewhere\n", o->near_wait);
    }
    if (o->in_flight > 0) {
        printf("%u of a process's next blocks are read ahead, by %s, while it works on one\n", o->in_flight,
               cairn_reader_ahead_is(s->reader) == CAIRN_AHEAD_URING ? "io_uring" : "threads");
    }
    (void)fflush(stdout);
}
