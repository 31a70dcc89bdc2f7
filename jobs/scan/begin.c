/* scan, before it reads (on): at the start, after a restart, and after every recovery in place.
 *
 * Then nobody knows how far the others were. One may have the plan, another take the place of a process that died and
 * have nothing but its arguments and its part of the snapshot; and one may have heard that the answer is out, so that
 * nothing is left to do. So all compare notes first. The plan is that of whoever has it: a file that was changed
 * meanwhile is noticed when it is opened, as if nobody had died. Only when nobody has it does process 0 make it, from
 * its arguments. */
#include "scan.h"

/* All are folded by maximum. */
enum {
    KNOWS,     /* count - id of a process that has the plan: the lowest such id; 0: nobody */
    LACKS,     /* 1: somebody has no plan */
    SAID,      /* 1 + exit code: the answer is out */
    EPOCH,     /* scan_blobs_epoch: who has no blob cannot know */
    RESTARTED, /* 1: this launch went on from a snapshot at its start */
    AGE,       /* microseconds since it began */
    UNABLE,    /* 1 + id of a process that cannot read in the way that was asked for */
    NOTES
};

static cairn_status compare_notes(scan *s, bool restored, uint64_t notes[NOTES])
{
    notes[KNOWS] = s->planned ? s->count - s->id : 0;
    notes[LACKS] = s->planned ? 0 : 1;
    notes[SAID] = s->said ? 1 + (uint64_t)s->exit_code : 0;
    notes[EPOCH] = scan_blobs_epoch(s);
    notes[RESTARTED] = s->planned && s->restarted;
    notes[AGE] = (uint64_t)((scan_now() - s->began) * 1e6);
    notes[UNABLE] = s->options.in_flight > 0 && !cairn_ahead_can(s->options.read_by) ? 1 + (uint64_t)s->id : 0;
    cairn_status status = cairn_allreduce(s->process, notes, notes, NOTES, CAIRN_U64, CAIRN_MAX);
    if (status != CAIRN_OK) {
        return status;
    }
    s->said = notes[SAID] > 0;
    s->exit_code = s->said ? (int)(notes[SAID] - 1) : CAIRN_EXIT_OK;
    s->epoch = (uint32_t)notes[EPOCH];
    s->restarted = notes[KNOWS] > 0 ? notes[RESTARTED] > 0 : restored;
    s->began = scan_now() - (double)notes[AGE] * 1e-6;
    return CAIRN_OK;
}

/* Process 0 says why; all leave with this code. */
static void refuse(scan *s, int code, const cairn_error *error)
{
    s->exit_code = code;
    if (s->id == 0) {
        fprintf(stderr, "scan: %s\n", error->text);
        (void)fflush(stderr);
        s->said = true;
    }
}

static cairn_status parse_query(scan *s, cairn_error *error)
{
    cairn_query_free(&s->query);
    return cairn_query_parse(&s->query, &s->options.query, &s->plan.columns, s->plan.numeric, error);
}

static cairn_status make_plan(scan *s, cairn_error *error)
{
    const cairn_plan_options options = {.delimiter = s->options.delimiter,
                                        .block_bytes = s->options.block_bytes,
                                        .inside = s->options.inside,
                                        .replica = s->options.replica,
                                        .replica_count = s->options.replica_count};

    cairn_plan_free(&s->plan);
    cairn_status status = cairn_plan_make(&s->plan, s->options.paths, s->options.path_count, &options, error);
    if (status == CAIRN_OK) {
        status = parse_query(s, error);
    }
    s->planned = status == CAIRN_OK;
    return status;
}

static cairn_status take_plan(scan *s, const cairn_pack *pack, cairn_error *error)
{
    cairn_unpack unpack = {.data = pack->data, .bytes = pack->bytes};

    cairn_plan_free(&s->plan);
    cairn_status status = cairn_plan_unpack(&s->plan, &unpack);
    if (status == CAIRN_OK) {
        status = parse_query(s, error);
    }
    s->planned = status == CAIRN_OK;
    return status;
}

/* From process `source` to all. Where it cannot be made exit_code is set, everywhere. */
static cairn_status share_plan(scan *s, uint32_t source, cairn_error *error)
{
    uint64_t size = 0; /* 0: there is none */
    cairn_pack pack = {0};
    cairn_status made = s->id == source && !s->planned ? make_plan(s, error) : CAIRN_OK;

    if (s->id == source && made == CAIRN_OK) {
        cairn_plan_pack(&s->plan, &pack);
        size = cairn_pack_ok(&pack) ? pack.bytes : 0;
        made = size > 0 ? made : cairn_fail(error, CAIRN_E_NOMEM, "the plan of %u files", s->plan.file_count);
    }
    cairn_status status = cairn_broadcast(s->process, source, &size, sizeof size);
    if (status == CAIRN_OK && size > 0 && s->id != source && cairn_pack_room(&pack, (size_t)size) == NULL) {
        status = CAIRN_E_NOMEM;
    }
    if (status == CAIRN_OK && size > 0) {
        status = cairn_broadcast(s->process, source, pack.data, (size_t)size);
    }
    if (status == CAIRN_OK && size > 0 && !s->planned) {
        status = take_plan(s, &pack, error);
    }
    free(pack.data);
    if (status == CAIRN_OK && size == 0) {
        refuse(s, s->id == source ? scan_exit_code(made) : CAIRN_EXIT_JOB_USAGE, error);
    }
    return status;
}

enum { MOVES_SAID = 3 };

static void moved(void *context, const char *why, const char *to)
{
    scan *s = context;

    s->own.moved++;
    if (s->own.moved <= MOVES_SAID) { /* of a whole folder that is gone the first ones are enough */
        fprintf(stderr, "scan: process %u: %s; reading %s\n", s->id, why, to);
    }
    (void)fflush(stderr);
}

static cairn_status prepare(scan *s)
{
    cairn_status status = CAIRN_OK;

    if (s->reader == NULL) {
        s->tally = calloc(s->count, sizeof *s->tally);
        status = s->tally == NULL ? CAIRN_E_NOMEM : cairn_groups_init(&s->groups, cairn_query_shape(&s->query));
        if (status == CAIRN_OK) {
            status = cairn_groups_init(&s->apart, cairn_query_shape(&s->query));
        }
        if (status == CAIRN_OK) {
            status = cairn_reader_open(&s->reader, &s->plan, &s->query);
        }
        if (status == CAIRN_OK) {
            status = cairn_reader_have_ahead(s->reader, s->options.in_flight, s->options.read_by);
        }
        if (status == CAIRN_OK) {
            cairn_reader_watch(s->reader, moved, s);
        }
    }
    return status;
}

/* Process 0: to whom which file is near. all: what each has said, one after the other. */
static cairn_status take_near(scan *s, const uint8_t *all)
{
    scan_lead *lead = &s->lead;
    uint32_t files = s->plan.file_count;

    free(lead->near);
    free(lead->file_of);
    free(lead->near_from);
    lead->near = malloc((size_t)s->count * files + 1);
    lead->file_of = calloc(s->plan.block_count + (size_t)1, sizeof *lead->file_of);
    lead->near_from = calloc(s->count, sizeof *lead->near_from);
    if (lead->near == NULL || lead->file_of == NULL || lead->near_from == NULL) {
        return CAIRN_E_NOMEM;
    }
    memcpy(lead->near, all, (size_t)s->count * files);
    for (uint32_t i = 0; i < s->plan.block_count; i++) {
        lead->file_of[i] = s->plan.blocks[i].file;
    }
    return CAIRN_OK;
}

/* Collective: each says which files lie on its own host. */
static cairn_status tell_near(scan *s)
{
    uint32_t files = s->plan.file_count;
    uint64_t *sizes = calloc(s->count, sizeof *sizes);
    uint8_t *own = calloc(files + (size_t)1, 1);
    void *all = NULL;
    cairn_status status = sizes == NULL || own == NULL ? CAIRN_E_NOMEM : CAIRN_OK;

    for (uint32_t i = 0; i < files && status == CAIRN_OK; i++) {
        own[i] = cairn_reader_is_near(s->reader, i);
    }
    if (status == CAIRN_OK) {
        status = cairn_gather(s->process, 0, own, files, &all, sizes);
    }
    for (uint32_t i = 0; i < s->count && s->id == 0 && status == CAIRN_OK; i++) {
        status = sizes[i] == files ? CAIRN_OK : CAIRN_E_BUG;
    }
    if (status == CAIRN_OK && s->id == 0) {
        status = take_near(s, all);
    }
    free(all);
    free(own);
    free(sizes);
    return status;
}

cairn_status scan_begin(scan *s, const cairn_restored *restored, cairn_error *error)
{
    uint64_t notes[NOTES];
    cairn_status status = compare_notes(s, restored->restored, notes);

    if (status != CAIRN_OK || s->said) {
        return status;
    }
    if (notes[UNABLE] > 0) {
        (void)cairn_fail(error, CAIRN_E_NOT_FOUND, "--read-by io_uring: there is none for process %llu",
                         (unsigned long long)notes[UNABLE] - 1);
        refuse(s, CAIRN_EXIT_JOB_USAGE, error);
        return CAIRN_OK;
    }
    scan_spill_begin(s, !restored->restored);
    if (notes[LACKS] > 0) {
        status = share_plan(s, notes[KNOWS] > 0 ? s->count - (uint32_t)notes[KNOWS] : 0, error);
    }
    if (status != CAIRN_OK || s->exit_code != CAIRN_EXIT_OK) {
        return status;
    }
    status = scan_spill_leave_room(s, error);
    if (status != CAIRN_OK) {
        refuse(s, CAIRN_EXIT_JOB_USAGE, error); /* everywhere: all have the same plan and options */
        return CAIRN_OK;
    }
    status = prepare(s);
    if (status == CAIRN_OK && cairn_plan_has_hosts(&s->plan)) {
        status = tell_near(s);
    }
    if (status == CAIRN_OK && s->id == 0) {
        status = scan_lead_begin(s);
    }
    if (status == CAIRN_OK && restored->restored) {
        status = scan_resume(s, restored, error);
        if (status == CAIRN_E_MISMATCH) {
            refuse(s, CAIRN_EXIT_JOB_USAGE, error);
            status = CAIRN_OK;
        }
    } else if (status == CAIRN_OK && s->id == 0) {
        status = scan_lead_ready(s);
    }
    return status;
}
