/* scan in survive mode: any process may die, process 0 included, and the others finish the read.
 *
 * There is no division by process 0. The blocks are put together into partitions (dataset/ledger.h), and a process
 * takes one in the coordination service: it puts the key "scan/LAUNCH/GENERATION/N" with its number if that key has not
 * changed since it looked, and if no new generation has begun. Who is lost has taken nothing: its aggregates died with
 * it, so all of its partitions are open again, and are read again by others.
 *
 *   PART     reader -> collector  the aggregates, and which blocks are in them; a later one takes its place
 *   PROGRESS reader -> collector  bytes that this process has read
 *   RESET    to all               a guess of a row border was wrong: look up the generation in the service
 *   ERROR    reader -> collector  this input cannot be read
 *   STOP     to all               leave, with this exit code; whoever hears of it tells all others before it leaves
 *
 * A reader sends its part when no partition is open, and again after every loss. The collector is the lowest process
 * that lives. It prints when the parts of the living cover every block exactly once, and only with the key
 * "scan/LAUNCH/answer" in its hands, whose value is "printed" afterwards. So whoever collects after a collector died
 * knows whether the answer is out; when the death falls between printing and saying so it is printed once more: rather
 * an answer twice than none.
 *
 * Generations count how often everything was thrown away for a wrong guess (plan.h): the key "scan/LAUNCH/generation"
 * lists the files that were found to be careful since the launch began. The state at the start of a careful file's
 * block is found by every reader for itself, by scanning the file up to there. */
#include "survive.h"

/* ---------------------------------------------------------------- every process */

static cairn_status send_error(scan *s);
static cairn_status tell_error(scan *s, cairn_status why, const cairn_error *error);

static cairn_status send_part(scan *s)
{
    cairn_pack pack = {0};
    cairn_error error = {CAIRN_OK, ""};
    uint64_t count = 0;

    if (scan_spill_to_send(s, &s->groups, &s->runs, &error) != CAIRN_OK) {
        return tell_error(s, error.status, &error);
    }
    for (size_t i = 0; i < s->read_count; i++) {
        count += s->reads[i].done;
    }
    cairn_pack_u32(&pack, survive_launch(s));
    cairn_pack_u32(&pack, s->generation);
    scan_pack_tally(s, &pack);
    cairn_pack_u64(&pack, count);
    for (size_t i = 0; i < s->read_count; i++) {
        if (s->reads[i].done) {
            cairn_pack_u32(&pack, s->reads[i].block);
            cairn_pack_u64(&pack, s->reads[i].rows);
        }
    }
    cairn_groups_pack(&s->groups, &pack);
    cairn_runs_pack(&s->runs, s->spill_folder, &pack);
    s->survive.part_sent = true;
    return survive_tell(s, survive_collector(s), SURVIVE_PART, &pack);
}

static cairn_status send_error(scan *s)
{
    cairn_pack pack = {0};

    cairn_pack_u32(&pack, survive_launch(s));
    cairn_pack_u32(&pack, (uint32_t)s->survive.error_code);
    cairn_pack_u32(&pack, s->id);
    cairn_pack_text(&pack, s->survive.error, strlen(s->survive.error));
    return survive_tell(s, survive_collector(s), SURVIVE_ERROR, &pack);
}

static cairn_status tell_error(scan *s, cairn_status why, const cairn_error *error)
{
    s->failed = true;
    s->survive.error_code = scan_exit_code(why);
    (void)snprintf(s->survive.error, sizeof s->survive.error, "%s", error->text);
    return send_error(s);
}

static cairn_status send_progress(scan *s, uint32_t block)
{
    scan_survive *v = &s->survive;
    cairn_pack pack = {0};

    v->bytes_done += cairn_plan_block_bytes(&s->plan, block);
    if (survive_collector(s) == s->id) {
        survive_count_progress(s, s->id, v->bytes_done);
        return CAIRN_OK;
    }
    cairn_pack_u32(&pack, survive_launch(s));
    cairn_pack_u32(&pack, s->generation);
    cairn_pack_u64(&pack, v->bytes_done);
    return survive_tell(s, survive_collector(s), SURVIVE_PROGRESS, &pack);
}

/* Open the next block of the partition. false: not yet, a careful file is scanned up to it, one block a call. */
static cairn_status open_block(scan *s, bool *opened)
{
    scan_survive *v = &s->survive;
    const cairn_partition *partition = &v->ledger.partitions[v->partition];
    uint32_t block = v->ledger.order[partition->first + v->at];
    const cairn_plan_file *file = &s->plan.files[s->plan.blocks[block].file];
    uint32_t start = CAIRN_START_GUESS;
    cairn_error error = {CAIRN_OK, ""};

    *opened = true;
    if (s->lead.careful[s->plan.blocks[block].file]) {
        if (v->scan_block > block || v->scan_block < file->first_block) {
            v->scan_block = file->first_block;
            v->scan_state = CAIRN_CSV_ROW;
        }
        if (v->scan_block < block) {
            cairn_status status = cairn_reader_scan(s->reader, v->scan_block, &v->scan_state, &error);
            *opened = false;
            v->scan_block++;
            return status == CAIRN_OK ? status : tell_error(s, status, &error);
        }
        start = (uint32_t)v->scan_state;
    }
    s->lease[0] = cairn_lease_begin(&s->plan, block, start);
    s->leases = 1;
    v->at++;
    return CAIRN_OK;
}

/* Another entry of the same block says more. */
static bool is_superseded(const scan *s, const scan_read *read)
{
    for (size_t i = 0; i < s->read_count; i++) {
        const scan_read *other = &s->reads[i];
        if (other->block == read->block && other != read &&
            (other->done || other->cursor > read->cursor || (other->cursor == read->cursor && other < read))) {
            return true;
        }
    }
    return false;
}

/* What was read of a block before the restart goes on where it was. */
static bool open_begun(scan *s)
{
    scan_survive *v = &s->survive;

    while (v->begun < s->read_count && s->leases == 0) {
        const scan_read *read = &s->reads[v->begun++];
        if (!read->done && !is_superseded(s, read)) {
            bool careful = s->lead.careful[s->plan.blocks[read->block].file];
            s->lease[0] = cairn_lease_begin(&s->plan, read->block, careful ? CAIRN_CSV_ROW : CAIRN_START_GUESS);
            s->lease[0].at = CAIRN_LEASE_ROW;
            s->lease[0].cursor = read->cursor;
            s->lease[0].rows = read->rows;
            s->leases = 1;
        }
    }
    return s->leases > 0;
}

static cairn_status block_done(scan *s)
{
    scan_survive *v = &s->survive;
    cairn_lease lease = s->lease[0];
    cairn_status status = scan_note_read(s, (scan_read){lease.block, true, 0, lease.rows});

    s->leases = 0;
    s->begun = s->begun_apart = false;
    if (v->partition != CAIRN_NOBODY && v->at == v->ledger.partitions[v->partition].count) {
        v->finished = v->partition;
        v->partition = CAIRN_NOBODY;
    }
    return status == CAIRN_OK ? send_progress(s, lease.block) : status;
}

static cairn_status read_on(scan *s)
{
    cairn_outcome outcome = CAIRN_READ_MORE;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = scan_read_chunk(s, &outcome, &error);

    if (status != CAIRN_OK) {
        return tell_error(s, status, &error);
    }
    if (outcome == CAIRN_READ_WRONG) {
        return survive_begin_generation(s, s->plan.blocks[s->lease[0].block].file);
    }
    return outcome == CAIRN_READ_DONE ? block_done(s) : CAIRN_OK;
}

static cairn_status go_on(scan *s, bool *more)
{
    bool none = false;
    cairn_status status = survive_take_next(s, &none);

    *more = !none;
    return status == CAIRN_OK && none && !s->survive.part_sent ? send_part(s) : status;
}

static cairn_next on_idle(cairn_process *process, void *context, cairn_status *status)
{
    scan *s = context;
    scan_survive *v = &s->survive;
    bool more = true;

    (void)process;
    *status = CAIRN_OK;
    if (s->failed) {
        return CAIRN_WAIT;
    }
    if (s->leases == 0 && !open_begun(s) && v->partition == CAIRN_NOBODY) {
        *status = go_on(s, &more);
    } else if (s->leases == 0) {
        *status = open_block(s, &more);
        more = true;
    } else if (scan_may_read(s)) {
        *status = read_on(s);
    }
    if (*status != CAIRN_OK) {
        return CAIRN_FAIL;
    }
    return more ? CAIRN_CONTINUE : CAIRN_WAIT;
}

static cairn_next on_message(cairn_process *process, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status)
{
    scan *s = context;
    cairn_unpack unpack = {.data = payload, .bytes = (size_t)message->bytes};
    uint32_t of_launch = cairn_unpack_u32(&unpack);
    bool stop = false;

    (void)process;
    *status = CAIRN_OK;
    if (message->tag < SURVIVE_PART || message->tag > SURVIVE_STOP || of_launch != survive_launch(s)) {
        return CAIRN_CONTINUE; /* of the other mode, or of an earlier launch */
    }
    if (message->tag == SURVIVE_PART) {
        *status = survive_take_part(s, message->from, &unpack);
        *status = *status == CAIRN_OK ? survive_collect(s, &stop) : *status;
    } else if (message->tag == SURVIVE_PROGRESS) {
        uint32_t generation = cairn_unpack_u32(&unpack);
        uint64_t bytes = cairn_unpack_u64(&unpack);
        if (generation == s->generation && !unpack.bad) {
            survive_count_progress(s, message->from, bytes);
        }
    } else if (message->tag == SURVIVE_RESET) {
        *status = survive_refresh_generation(s);
    } else if (message->tag == SURVIVE_ERROR) {
        *status = survive_take_error(s, &unpack, &stop);
    } else {
        s->exit_code = (int)cairn_unpack_u32(&unpack);
        *status = survive_tell_all(s, SURVIVE_STOP, (uint32_t)s->exit_code); /* who said it may have died over it */
        stop = true;
    }
    if (*status != CAIRN_OK) {
        return CAIRN_FAIL;
    }
    return stop ? CAIRN_STOP : CAIRN_CONTINUE;
}

const cairn_handlers scan_survive_handlers = {on_message, on_idle};

/* All that it had read is open again. Its last words may have been that there is a new generation. */
cairn_status survive_on_lost(cairn_process *process, uint32_t id, void *context)
{
    scan *s = context;
    scan_survive *v = &s->survive;
    cairn_status status;

    (void)process;
    cairn_ledger_lose(&v->ledger, id);
    survive_forget_part(s, id);
    v->part_sent = false;
    v->lost++;
    status = survive_refresh_generation(s);
    return status == CAIRN_OK && s->failed ? send_error(s) : status;
}
