/* The protocol of scan. Process 0 leads: it divides the blocks of the plan (dataset/division.h) and puts the answer
 * together; every process, 0 as well, reads.
 *
 *   ASK     reader -> 0   so many more blocks, please: once in a generation
 *   GRANT   0 -> reader   a block, where its first row is to be looked for, or the cursor to go on from
 *   DONE    reader -> 0   the block is read; counts as an ask
 *   HEDGED  reader -> 0   the same of a block that another one holds and is late with: with its aggregates
 *   WRONG   reader -> 0   the guess of a row border in this file was wrong (dataset/plan.h)
 *   RESET   0 -> all      a new generation: forget everything that was read, ask anew
 *   COLLECT 0 -> all      all blocks are done: send what you have
 *   PART    reader -> 0   the partial aggregates
 *   STOP    0 -> all      leave, with this exit code
 *   ERROR   reader -> 0   this input cannot be read; process 0 says so and stops all
 *
 * One on_idle call reads one chunk; between two of them the process is at a safe point, and lease and groups fit each
 * other.
 *
 * Reading nothing twice. ASK, GRANT, DONE and WRONG carry the generation; those of an older one are dropped. On the
 * same number of processes a restart finds them in their channels and goes on. On another number they are gone, and
 * nothing is lost by it: what was read is told by the readers' own states alone (state.c), and a grant that nobody
 * began is simply open again.
 *
 * Reading a block twice. At the end an idle process reads what another one holds (dataset/division.h). It never adds that to what
 * it has: process 0 keeps it apart until the end. A block's rows are apart from the others at its owner, too, until all of it
 * is read; so an owner that has not come to that leaves them out of its PART. Its DONE, if there is one, comes before its PART,
 * and then what the second has read is thrown away. With many groups the owner's rows are not apart (SCAN_APART_GROUPS): then
 * it reads to the end of the block before it sends its PART.
 *
 * The end. COLLECT, PART and STOP carry the epoch, and are dropped when they are of an earlier one: it is in the state,
 * and rises by one with every restart and recovery, which the number of a launch or of an incarnation does not (one of
 * them may be what the other was). A reader keeps its aggregates after it has sent them, and process 0's merged total is
 * no part of its state. So wherever a cut passes through the end, each aggregate is in the state of exactly one process,
 * once; the restart finds all blocks done and collects anew.
 *
 * When processes are replaced in place, the answer is printed before STOP is sent: until then nobody leaves, and a death
 * only costs time; after that whoever has heard STOP knows that nothing is left to do (main.c). Otherwise it is printed
 * last, when all others are on their way out, and the instant in which a kill would make it appear twice is short. */
#include "scan.h"

#include <sys/stat.h>
#include <time.h>

enum { TAG_ASK = 1, TAG_GRANT, TAG_DONE, TAG_WRONG, TAG_RESET, TAG_COLLECT, TAG_PART, TAG_STOP, TAG_ERROR, TAG_HEDGED };

double scan_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Bad input is the user's to mend, and no restart helps. */
int scan_exit_code(cairn_status status)
{
    switch (status) {
    case CAIRN_E_INVALID:
    case CAIRN_E_MISMATCH:
    case CAIRN_E_NOT_FOUND:
    case CAIRN_E_ACCESS:
        return CAIRN_EXIT_JOB_USAGE;
    default:
        return cairn_exit_code(status);
    }
}

/* Send and free. */
static cairn_status send_pack(scan *s, uint32_t to, uint32_t tag, cairn_pack *pack)
{
    cairn_status status =
        cairn_pack_ok(pack) ? cairn_send(s->process, to, tag, pack->data, pack->bytes) : CAIRN_E_NOMEM;

    free(pack->data);
    *pack = (cairn_pack){0};
    return status;
}

static cairn_status send_numbers(scan *s, uint32_t to, uint32_t tag, uint32_t a, uint32_t b, uint64_t c)
{
    cairn_pack pack = {0};

    cairn_pack_u32(&pack, a);
    cairn_pack_u32(&pack, b);
    cairn_pack_u64(&pack, c);
    return send_pack(s, to, tag, &pack);
}

static cairn_status send_all(scan *s, uint32_t tag, uint32_t a, uint32_t b)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < s->count && status == CAIRN_OK; i++) {
        status = send_numbers(s, i, tag, a, b, 0);
    }
    return status;
}

/* ---------------------------------------------------------------- process 0 */

static cairn_status send_grants(scan *s, const cairn_division_output *out)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < out->count && status == CAIRN_OK; i++) {
        const cairn_share *share = &s->lead.division.share[out->block[i]];
        cairn_pack pack = {0};
        cairn_pack_u32(&pack, s->generation);
        cairn_pack_u32(&pack, out->block[i]);
        cairn_pack_u8(&pack, share->start);
        cairn_pack_u64(&pack, share->cursor);
        cairn_pack_u64(&pack, share->before);
        cairn_pack_u8(&pack, out->as_second[i]);
        status = send_pack(s, out->process[i], TAG_GRANT, &pack);
    }
    return status;
}

void scan_drop_hedged(scan *s)
{
    for (size_t i = 0; i < s->lead.hedged_count; i++) {
        cairn_groups_free(&s->lead.hedged[i].groups);
        scan_drop_runs(s, &s->lead.hedged[i].runs);
    }
    s->lead.hedged_count = 0;
}

/* The owner was ready after all. */
static void drop_hedged(scan *s, uint32_t block)
{
    scan_lead *lead = &s->lead;

    for (size_t i = 0; i < lead->hedged_count; i++) {
        if (lead->hedged[i].block == block) {
            cairn_groups_free(&lead->hedged[i].groups);
            scan_drop_runs(s, &lead->hedged[i].runs);
            lead->hedged[i] = lead->hedged[--lead->hedged_count];
            return;
        }
    }
}

static cairn_status keep_hedged(scan_lead *lead, uint32_t block, uint32_t by, scan_hedged *read)
{
    scan_hedged *more = realloc(lead->hedged, (lead->hedged_count + 1) * sizeof *more);

    if (more == NULL) {
        return CAIRN_E_NOMEM;
    }
    lead->hedged = more;
    more[lead->hedged_count++] = (scan_hedged){block, by, read->groups, read->runs};
    *read = (scan_hedged){.block = block};
    return CAIRN_OK;
}

/* read: what a second has read. */
static cairn_status step(scan *s, const cairn_division_event *event, scan_hedged *read)
{
    cairn_division_output out;
    cairn_status status = cairn_division_step(&s->lead.division, event, &out);

    if (status == CAIRN_OK && out.verdict == CAIRN_DIVISION_KEEP) {
        status = keep_hedged(&s->lead, event->block, event->process, read);
    } else if (status == CAIRN_OK && out.verdict == CAIRN_DIVISION_DROP) {
        drop_hedged(s, event->block);
    }
    s->lead.in_vain += out.verdict == CAIRN_DIVISION_DROP || out.verdict == CAIRN_DIVISION_WASTE;
    return status == CAIRN_OK ? send_grants(s, &out) : status;
}

cairn_status scan_lead_begin(scan *s)
{
    scan_lead *lead = &s->lead;

    if (lead->share == NULL) {
        lead->share = calloc(s->plan.block_count + (size_t)1, sizeof *lead->share);
        lead->held = calloc(s->count, sizeof *lead->held);
        lead->asks = calloc(s->count, sizeof *lead->asks);
        lead->patience = calloc(s->count, sizeof *lead->patience);
        lead->waits_from = calloc(s->count, sizeof *lead->waits_from);
        lead->careful = calloc(s->plan.file_count + (size_t)1, sizeof *lead->careful);
        if (lead->share == NULL || lead->held == NULL || lead->asks == NULL || lead->patience == NULL ||
            lead->waits_from == NULL || lead->careful == NULL) {
            return CAIRN_E_NOMEM;
        }
        for (uint32_t i = 0; i < s->plan.file_count; i++) {
            lead->careful[i] = s->plan.files[i].careful;
        }
    }
    scan_drop_hedged(s);
    lead->stolen += lead->division.stolen;
    cairn_division_init(&lead->division, s->plan.block_count, s->count, lead->share, lead->held, lead->asks,
                        lead->patience);
    for (uint32_t i = 0; i < s->count; i++) {
        lead->waits_from[i] = 0;
    }
    if (lead->near != NULL) {
        cairn_division_prefer(&lead->division, s->plan.file_count, lead->near, lead->file_of, lead->near_from,
                              s->options.near_wait > 0);
    }
    lead->scan_block = 0;
    lead->scan_state = CAIRN_CSV_ROW;
    lead->bytes_done = 0;
    lead->collecting = false;
    return CAIRN_OK;
}

cairn_status scan_lead_ready(scan *s)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < s->plan.block_count && status == CAIRN_OK; i++) {
        cairn_division_event event = {.kind = CAIRN_DIVISION_READY, .block = i, .start = CAIRN_START_GUESS};
        if (!s->lead.careful[s->plan.blocks[i].file] && s->lead.share[i].is == CAIRN_BLOCK_WAITING) {
            status = step(s, &event, NULL);
        }
    }
    return status;
}

/* Find the state at the start of the next block of a careful file. false: there is none to look at. */
static cairn_status scan_one(scan *s, bool *did, cairn_error *error)
{
    scan_lead *lead = &s->lead;
    cairn_status status = CAIRN_OK;

    while (lead->scan_block < s->plan.block_count && !lead->careful[s->plan.blocks[lead->scan_block].file]) {
        lead->scan_block++;
    }
    *did = lead->scan_block < s->plan.block_count;
    if (!*did) {
        return CAIRN_OK;
    }
    uint32_t block = lead->scan_block;
    const cairn_plan_file *file = &s->plan.files[s->plan.blocks[block].file];
    if (block == file->first_block) {
        lead->scan_state = CAIRN_CSV_ROW;
    }
    cairn_division_event event = {.kind = CAIRN_DIVISION_READY, .block = block, .start = (uint8_t)lead->scan_state};
    if (block + 1 < file->first_block + file->block_count) {
        status = cairn_reader_scan(s->reader, block, &lead->scan_state, error);
    }
    lead->scan_block++;
    if (status == CAIRN_OK && lead->share[block].is == CAIRN_BLOCK_WAITING) {
        status = step(s, &event, NULL);
    }
    return status;
}

static cairn_status new_generation(scan *s, uint32_t file)
{
    cairn_status status;

    s->lead.careful[file] = true;
    s->generation++;
    status = scan_forget(s, s->generation);
    if (status == CAIRN_OK) {
        status = scan_lead_begin(s);
    }
    if (status == CAIRN_OK) {
        status = scan_lead_ready(s);
    }
    for (uint32_t i = 1; i < s->count && status == CAIRN_OK; i++) {
        status = send_numbers(s, i, TAG_RESET, s->generation, 0, 0);
    }
    return status;
}

static cairn_status lead_message(scan *s, const cairn_message *message, uint32_t a, uint32_t b, uint64_t c)
{
    cairn_division_event event = {.kind = CAIRN_DIVISION_ASK, .process = message->from};
    cairn_status status = CAIRN_OK;

    if (a != s->generation) {
        return CAIRN_OK; /* of an older one */
    }
    if (message->tag == TAG_WRONG) {
        return b < s->plan.file_count ? new_generation(s, b) : CAIRN_E_CORRUPT;
    }
    if (message->tag == TAG_DONE) {
        event.kind = CAIRN_DIVISION_DONE;
        event.block = b;
        event.rows = c;
        uint32_t before = s->lead.division.done;

        status = step(s, &event, NULL);
        if (status == CAIRN_OK && s->lead.division.done > before) {
            s->lead.bytes_done += cairn_plan_block_bytes(&s->plan, b);
            cairn_progress(s->process, s->lead.bytes_done, s->plan.bytes);
        }
        return status;
    }
    for (uint32_t i = 0; i < b && i < SCAN_HAND_MAX && status == CAIRN_OK; i++) {
        status = step(s, &event, NULL);
    }
    return status;
}

static cairn_status tell_error(scan *s, cairn_status why, const cairn_error *error)
{
    cairn_pack pack = {0};

    s->failed = true;
    cairn_pack_u32(&pack, s->epoch);
    cairn_pack_u32(&pack, (uint32_t)scan_exit_code(why));
    cairn_pack_text(&pack, error->text, strlen(error->text));
    return send_pack(s, 0, TAG_ERROR, &pack);
}

static cairn_status take_hedged(scan *s, uint32_t from, cairn_unpack *unpack)
{
    cairn_division_event event = {.kind = CAIRN_DIVISION_HEDGED, .process = from};
    uint32_t generation = cairn_unpack_u32(unpack);
    uint32_t before = s->lead.division.done;
    scan_hedged read = {.by = from};

    event.block = cairn_unpack_u32(unpack);
    event.rows = cairn_unpack_u64(unpack);
    if (unpack->bad || generation != s->generation) {
        return unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
    }
    cairn_status status = cairn_groups_unpack(&read.groups, unpack);
    if (status == CAIRN_OK) {
        status = cairn_runs_unpack(&read.runs, s->spill_folder, unpack);
    }
    if (status == CAIRN_OK) {
        status = step(s, &event, &read);
    }
    if (status == CAIRN_OK && s->lead.division.done > before) {
        s->lead.bytes_done += cairn_plan_block_bytes(&s->plan, event.block);
        cairn_progress(s->process, s->lead.bytes_done, s->plan.bytes);
    }
    s->lead.read_again++;
    cairn_groups_free(&read.groups);
    scan_drop_runs(s, &read.runs);
    return status;
}

static cairn_status take_part(scan *s, uint32_t from, cairn_unpack *unpack)
{
    scan_lead *lead = &s->lead;
    cairn_groups part = {0};
    uint32_t epoch = cairn_unpack_u32(unpack);
    uint64_t rows = 0;

    if (unpack->bad || epoch != s->epoch) {
        return unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
    }
    if (!scan_take_tally(s, from, unpack)) {
        return CAIRN_E_CORRUPT;
    }
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = cairn_groups_unpack(&part, unpack);
    if (status == CAIRN_OK) {
        status = cairn_groups_merge(&lead->total, &part);
    }
    cairn_groups_free(&part);
    if (status == CAIRN_OK) {
        status = cairn_runs_unpack(&lead->runs, s->spill_folder, unpack);
    }
    if (status == CAIRN_OK && scan_spill_total(s, &error) != CAIRN_OK) {
        return tell_error(s, error.status, &error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    lead->bytes_read += s->tally[from].bytes;
    lead->collected++;
    if (lead->collected < s->count) {
        return CAIRN_OK;
    }
    for (size_t i = 0; i < lead->hedged_count && status == CAIRN_OK; i++) {
        s->tally[lead->hedged[i].by].blocks++;
        status = cairn_groups_merge(&lead->total, &lead->hedged[i].groups);
        status = status == CAIRN_OK ? cairn_runs_move(&lead->runs, &lead->hedged[i].runs) : status;
    }
    if (status != CAIRN_OK) {
        return status;
    }
    for (uint32_t i = 0; i < s->plan.block_count; i++) {
        rows += lead->share[i].rows;
    }
    if (rows != lead->total.rows) { /* a row read twice, or not at all: never print that */
        fprintf(stderr, "scan: internal error: %llu rows were aggregated, but the blocks have %llu\n",
                (unsigned long long)lead->total.rows, (unsigned long long)rows);
        return CAIRN_E_BUG;
    }
    if (s->recovers) {
        scan_say_answer(s);
    }
    return send_all(s, TAG_STOP, s->epoch, (uint32_t)s->exit_code);
}

static cairn_status take_error(scan *s, uint32_t from, cairn_unpack *unpack)
{
    uint32_t epoch = cairn_unpack_u32(unpack), code = cairn_unpack_u32(unpack);
    size_t bytes;
    const uint8_t *text = cairn_unpack_text(unpack, &bytes);

    if (unpack->bad || epoch != s->epoch || s->exit_code != 0) {
        return unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
    }
    s->exit_code = (int)code;
    fprintf(stderr, "scan: %.*s (seen by process %u)\n", (int)bytes, (const char *)text, from);
    (void)fflush(stderr);
    s->said = true;
    return send_all(s, TAG_STOP, s->epoch, code);
}

static cairn_status begin_to_collect(scan *s)
{
    s->lead.collecting = true;
    s->lead.collected = 0;
    s->lead.bytes_read = 0;
    cairn_groups_free(&s->lead.total);
    cairn_runs_free(&s->lead.runs);
    cairn_status status = cairn_groups_init(&s->lead.total, cairn_query_shape(&s->query));
    return status == CAIRN_OK ? send_all(s, TAG_COLLECT, s->epoch, 0) : status;
}

/* ---------------------------------------------------------------- every process */

cairn_status scan_note_read(scan *s, scan_read read)
{
    if (s->read_count == s->read_room) {
        size_t room = s->read_room * 2 + 64;
        scan_read *reads = realloc(s->reads, room * sizeof *reads);
        if (reads == NULL) {
            return CAIRN_E_NOMEM;
        }
        s->reads = reads;
        s->read_room = room;
    }
    s->reads[s->read_count++] = read;
    return CAIRN_OK;
}

cairn_status scan_forget(scan *s, uint32_t generation)
{
    s->generation = generation;
    s->asked = false;
    s->leases = 0;
    s->begun = s->begun_apart = s->collect = s->part_sent = false;
    memset(s->as_second, 0, sizeof s->as_second);
    s->wrong = false;
    s->read_count = 0;
    scan_drop_runs(s, &s->runs);
    scan_drop_runs(s, &s->apart_runs);
    cairn_status status = cairn_groups_clear(&s->apart);
    return status == CAIRN_OK ? cairn_groups_clear(&s->groups) : status;
}

static cairn_status take_grant(scan *s, cairn_unpack *unpack)
{
    uint32_t generation = cairn_unpack_u32(unpack), block = cairn_unpack_u32(unpack), start = cairn_unpack_u8(unpack);
    uint64_t cursor = cairn_unpack_u64(unpack), rows = cairn_unpack_u64(unpack);
    bool as_second = cairn_unpack_u8(unpack) != 0;

    if (unpack->bad) {
        return CAIRN_E_CORRUPT;
    }
    if (generation != s->generation) {
        return CAIRN_OK;
    }
    if (block >= s->plan.block_count || s->leases == SCAN_HAND_MAX) {
        return CAIRN_E_CORRUPT;
    }
    cairn_lease lease = cairn_lease_begin(&s->plan, block, start);
    if (cursor != 0) {
        lease.at = CAIRN_LEASE_ROW;
        lease.cursor = cursor;
        lease.rows = rows;
    }
    s->as_second[s->leases] = as_second;
    s->lease[s->leases++] = lease;
    return CAIRN_OK;
}

static cairn_status send_part(scan *s)
{
    cairn_pack pack = {0};
    cairn_error error = {CAIRN_OK, ""};

    s->collect = false;
    s->part_sent = true;
    if (scan_spill_to_send(s, &s->groups, &s->runs, &error) != CAIRN_OK) {
        return tell_error(s, error.status, &error);
    }
    cairn_pack_u32(&pack, s->epoch);
    scan_pack_tally(s, &pack);
    cairn_groups_pack(&s->groups, &pack);
    cairn_runs_pack(&s->runs, s->spill_folder, &pack);
    return send_pack(s, 0, TAG_PART, &pack);
}

/* What was read as the second of a block. */
static cairn_status send_hedged(scan *s, const cairn_lease *lease)
{
    cairn_pack pack = {0};
    cairn_error error = {CAIRN_OK, ""};

    if (scan_spill_to_send(s, &s->apart, &s->apart_runs, &error) != CAIRN_OK) {
        return tell_error(s, error.status, &error);
    }
    cairn_pack_u32(&pack, s->generation);
    cairn_pack_u32(&pack, lease->block);
    cairn_pack_u64(&pack, lease->rows);
    cairn_groups_pack(&s->apart, &pack);
    cairn_runs_pack(&s->apart_runs, s->spill_folder, &pack);
    cairn_status status = send_pack(s, 0, TAG_HEDGED, &pack);
    cairn_runs_free(&s->apart_runs); /* the files are process 0's now */
    return status == CAIRN_OK ? cairn_groups_clear(&s->apart) : status;
}

/* The first lease is read to its end. */
static cairn_status lease_done(scan *s)
{
    cairn_lease lease = s->lease[0];
    bool as_second = s->as_second[0];
    cairn_status status = CAIRN_OK;

    s->leases--;
    memmove(s->lease, s->lease + 1, s->leases * sizeof s->lease[0]);
    memmove(s->as_second, s->as_second + 1, s->leases * sizeof s->as_second[0]);
    s->begun = s->begun_apart = false;
    if (as_second) {
        status = send_hedged(s, &lease);
    } else {
        status = scan_note_read(s, (scan_read){lease.block, true, 0, lease.rows});
        status = status == CAIRN_OK ? send_numbers(s, 0, TAG_DONE, s->generation, lease.block, lease.rows) : status;
    }
    return status == CAIRN_OK && s->collect ? send_part(s) : status;
}

/* Blocks that are being read apart, or not yet, are left out: somebody else has read them. */
static cairn_status collect(scan *s)
{
    s->collect = s->leases > 0 && s->begun && !s->begun_apart;
    return s->collect ? CAIRN_OK : send_part(s);
}

bool scan_may_read(scan *s)
{
    double ahead = s->debt_from - scan_now();

    if (s->options.read_rate == 0 || ahead <= 0) {
        return true;
    }
    double pause = ahead < 0.01 ? ahead : 0.01;
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)(pause * 1e9)};
    (void)nanosleep(&time, NULL);
    return s->debt_from <= scan_now();
}

static size_t chunk_bytes(const scan *s)
{
    uint64_t slow = s->options.read_rate / 20;

    if (s->options.read_rate == 0 || slow >= SCAN_CHUNK) {
        return SCAN_CHUNK;
    }
    return slow < 1024 ? 1024 : (size_t)slow;
}

/* Of rows that are selected up to a limit no more are kept than a few times that. */
static cairn_status merge_apart(scan *s)
{
    uint64_t first = cairn_query_first(&s->query);
    cairn_status status = cairn_groups_merge(&s->groups, &s->apart);

    status = status == CAIRN_OK ? cairn_runs_move(&s->runs, &s->apart_runs) : status;
    return status == CAIRN_OK && first > 0 && s->groups.count > 4 * first + 1024
               ? cairn_groups_keep_first(&s->groups, first)
               : status;
}

uint32_t scan_hand(const scan *s)
{
    return s->options.in_flight + 1 > SCAN_LEASES ? s->options.in_flight + 1 : SCAN_LEASES;
}

/* What comes behind the first lease: others that are in hand, or of the same partition. */
static void look_ahead(scan *s)
{
    const scan_survive *v = &s->survive;
    uint32_t blocks[SCAN_HAND_MAX], count = 0;

    for (uint32_t i = 0; i < s->leases; i++) {
        blocks[count++] = s->lease[i].block;
    }
    if (v->on && v->partition != CAIRN_NOBODY) {
        const cairn_partition *partition = &v->ledger.partitions[v->partition];
        for (uint32_t i = v->at; i < partition->count && count < scan_hand(s); i++) {
            blocks[count++] = v->ledger.order[partition->first + i];
        }
    }
    cairn_reader_look_ahead(s->reader, blocks, count);
}

cairn_status scan_read_chunk(scan *s, cairn_outcome *outcome, cairn_error *error)
{
    uint64_t before = cairn_reader_bytes(s->reader);

    if (!s->begun) {
        s->begun = true;
        s->begun_apart =
            cairn_plan_is_apart(&s->plan, s->lease[0].block) || s->as_second[0] ||
            (!s->survive.on && s->runs.count == 0 && (s->groups.count <= SCAN_APART_GROUPS || s->query.selects));
        s->apart.most = cairn_query_first(&s->query);
        if (s->options.in_flight > 0) {
            look_ahead(s);
        }
    }
    bool apart = s->begun_apart, as_second = s->as_second[0];
    double began = scan_now();
    cairn_status status =
        cairn_reader_step(s->reader, &s->lease[0], apart ? &s->apart : &s->groups, chunk_bytes(s), outcome, error);

    if (status == CAIRN_OK && apart && *outcome != CAIRN_READ_MORE && !(as_second && *outcome == CAIRN_READ_DONE)) {
        status = *outcome == CAIRN_READ_DONE ? merge_apart(s) : CAIRN_OK;
        status = status == CAIRN_OK ? cairn_groups_clear(&s->apart) : status;
        if (status != CAIRN_OK) {
            return cairn_fail(error, status, "the table of groups");
        }
        scan_drop_runs(s, &s->apart_runs);
        *outcome = *outcome == CAIRN_READ_AGAIN ? CAIRN_READ_MORE : *outcome;
    }
    s->own.busy += scan_now() - began;
    if (status == CAIRN_OK) {
        status = scan_spill_if_full(s, error);
    }
    if (status == CAIRN_OK && s->options.read_rate > 0) {
        double now = scan_now();
        double cost = (double)(cairn_reader_bytes(s->reader) - before) / (double)s->options.read_rate;
        s->debt_from = (s->debt_from > now ? s->debt_from : now) + cost;
    }
    return status;
}

static cairn_status read_chunk(scan *s)
{
    cairn_outcome outcome = CAIRN_READ_MORE;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = scan_read_chunk(s, &outcome, &error);

    if (status != CAIRN_OK) {
        return tell_error(s, status, &error);
    }
    if (outcome == CAIRN_READ_WRONG) {
        s->wrong = true;
        return send_numbers(s, 0, TAG_WRONG, s->generation, s->plan.blocks[s->lease[0].block].file, 0);
    }
    return outcome == CAIRN_READ_DONE ? lease_done(s) : CAIRN_OK;
}

/* Who has waited long enough for what is near to it steals; others go on waiting. */
static cairn_status end_waits(scan *s, bool *waiting)
{
    scan_lead *lead = &s->lead;
    cairn_status status = CAIRN_OK;
    double now = scan_now();

    for (uint32_t i = 0; i < s->count && status == CAIRN_OK; i++) {
        cairn_division_event event = {.kind = CAIRN_DIVISION_LATE, .process = i};
        if (lead->patience[i] != CAIRN_WAITS) {
            lead->waits_from[i] = 0;
        } else if (lead->waits_from[i] == 0 && s->options.near_wait > 0 && lead->division.open > 0) {
            lead->waits_from[i] = now;
        } else if (lead->division.open == 0 || now - lead->waits_from[i] >= s->options.near_wait) {
            lead->waits_from[i] = 0;
            while (status == CAIRN_OK && lead->patience[i] == CAIRN_WAITS) { /* one step grants two at most */
                status = step(s, &event, NULL);
            }
        }
        *waiting = *waiting || lead->patience[i] == CAIRN_WAITS;
    }
    return status;
}

static cairn_status lead_idle(scan *s, bool *more)
{
    const struct timespec soon = {.tv_nsec = 1000000};
    bool waiting = false;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = scan_one(s, more, &error);

    scan_print_progress(s);
    if (status != CAIRN_OK && error.text[0] != '\0') {
        return tell_error(s, status, &error);
    }
    if (status == CAIRN_OK) {
        status = end_waits(s, &waiting);
    }
    if (waiting && !*more && s->leases == 0) { /* no message tells when it is time */
        (void)nanosleep(&soon, NULL);
    }
    *more = *more || waiting;
    if (status == CAIRN_OK && s->lead.division.done == s->lead.division.blocks && !s->lead.collecting) {
        status = begin_to_collect(s);
    }
    return status;
}

static cairn_next on_idle(cairn_process *process, void *context, cairn_status *status)
{
    scan *s = context;
    bool more = false;

    (void)process;
    *status = CAIRN_OK;
    if (s->failed) {
        return CAIRN_WAIT;
    }
    if (!s->asked) {
        s->asked = true;
        *status = send_numbers(s, 0, TAG_ASK, s->generation, scan_hand(s), 0);
    }
    if (*status == CAIRN_OK && s->id == 0) {
        *status = lead_idle(s, &more);
    }
    if (*status == CAIRN_OK && s->leases > 0 && !s->wrong && !s->failed && !s->part_sent) {
        more = true;
        if (scan_may_read(s)) {
            *status = read_chunk(s);
        }
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
    cairn_unpack unpack = {.data = payload, .bytes = (size_t)message->bytes}, numbers = unpack;
    uint32_t a = cairn_unpack_u32(&numbers), b = cairn_unpack_u32(&numbers);
    uint64_t c = cairn_unpack_u64(&numbers);
    bool from_lead = message->tag == TAG_RESET || message->tag == TAG_COLLECT || message->tag == TAG_STOP;

    (void)process;
    *status = CAIRN_OK;
    if (message->tag > TAG_HEDGED) {
        return CAIRN_CONTINUE; /* of survive mode, before a restart without it */
    }
    if (message->tag == TAG_GRANT) {
        *status = take_grant(s, &unpack);
    } else if (message->tag == TAG_HEDGED && s->id == 0) {
        *status = take_hedged(s, message->from, &unpack);
    } else if (message->tag == TAG_PART && s->id == 0) {
        *status = take_part(s, message->from, &unpack);
    } else if (message->tag == TAG_ERROR && s->id == 0) {
        *status = take_error(s, message->from, &unpack);
    } else if (numbers.bad || (s->id != 0 && !from_lead)) {
        *status = CAIRN_E_CORRUPT;
    } else if (!from_lead) {
        *status = lead_message(s, message, a, b, c);
    } else if (message->tag == TAG_RESET) {
        *status = a > s->generation ? scan_forget(s, a) : CAIRN_OK;
    } else if (a == s->epoch) {
        if (message->tag == TAG_STOP) {
            s->exit_code = (int)b;
            s->said = s->said || s->recovers;
            return CAIRN_STOP;
        }
        *status = collect(s);
    }
    return *status == CAIRN_OK ? CAIRN_CONTINUE : CAIRN_FAIL;
}

const cairn_handlers scan_handlers = {on_message, on_idle};
