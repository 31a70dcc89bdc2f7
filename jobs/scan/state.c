/* The protected state of scan, and going on from it.
 *
 * One blob a process, format 7 ("CSC7"): the epoch; fingerprint of plan and query; the mode; generation, flags, leases,
 * what was read of which block, bytes read, the groups, and the rows of the first lease that are apart from
 * them; of both what is on disk by its names (spill.c). Process 0's blob goes on with the plan itself (to name the file that has
 * changed), the careful files, how far they are scanned, and the division.
 *
 * On the same number of processes the blob is the state, and the messages in flight fit it. On another number, and in
 * survive mode (survive.c), each
 * process merges the blobs that it is given, and process 0 learns what was read of each block: the done entry, or the
 * largest cursor in an entry or lease. Everything else is open. The blobs hold each row's contribution in exactly one
 * place, so nothing counts twice:
 *   - a block that was handed on at a cursor left its earlier rows with the process that read them;
 *   - blobs of an older generation than process 0's are thrown away, as the RESET on its way to them said;
 *   - a WRONG that was on its way is said again.
 *
 * After a recovery in place this process may have read on beyond the snapshot, or be about to go on from an earlier one:
 * all of that is forgotten first, and the plan and the open files stay. */
#include "scan.h"

#include "base/checksum.h"

enum { MAGIC = 0x37435343 }; /* "CSC7" */

static bool fits_query(const cairn_groups *groups, const cairn_query *query)
{
    cairn_shape shape = cairn_query_shape(query);

    return memcmp(&groups->shape, &shape, sizeof shape) == 0;
}

/* A blob, taken apart. */
typedef struct past {
    uint32_t generation, leases;
    bool asked, wrong, has_lead, survive, begun, begun_apart;
    cairn_lease lease[SCAN_HAND_MAX];
    bool as_second[SCAN_HAND_MAX];
    scan_read *reads;
    size_t read_count;
    uint64_t bytes_read;
    cairn_groups groups, apart;
    cairn_runs runs, apart_runs;
    cairn_unpack lead; /* what follows for process 0 */
} past;

static cairn_status fingerprint(const scan *s, cairn_digest *digest)
{
    cairn_pack pack = {0};
    const cairn_query_text *text = &s->options.query;
    /* With a limit rows that come later were left out: it is part of what is read. */
    char first[24];
    const char *parts[] = {text->group_by, text->aggregates == NULL ? "count" : text->aggregates, text->where,
                           text->select, first};

    (void)snprintf(first, sizeof first, "%llu", (unsigned long long)cairn_query_first(&s->query));
    cairn_plan_pack(&s->plan, &pack);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) { /* what is done with the groups may be asked anew */
        const char *part = parts[i] == NULL ? "" : parts[i];
        cairn_pack_text(&pack, part, strlen(part));
    }
    bool fits = cairn_pack_ok(&pack);
    if (fits) {
        *digest = cairn_digest_of(pack.data, pack.bytes);
    }
    free(pack.data);
    return fits ? CAIRN_OK : CAIRN_E_NOMEM;
}

static void pack_read(const scan_read *read, cairn_pack *pack)
{
    cairn_pack_u32(pack, read->block);
    cairn_pack_u8(pack, read->done);
    cairn_pack_u64(pack, read->cursor);
    cairn_pack_u64(pack, read->rows);
}

static scan_read unpack_read(cairn_unpack *unpack)
{
    scan_read read;

    read.block = cairn_unpack_u32(unpack);
    read.done = cairn_unpack_u8(unpack) != 0;
    read.cursor = cairn_unpack_u64(unpack);
    read.rows = cairn_unpack_u64(unpack);
    return read;
}

/* Nothing is known of a file's block before all of it was read: it is to be begun anew. */
static bool forgets_first(const scan *s)
{
    return s->leases > 0 && cairn_plan_is_apart(&s->plan, s->lease[0].block);
}

static void save_lead(const scan *s, cairn_pack *pack)
{
    cairn_pack inner = {0};

    cairn_plan_pack(&s->plan, &inner);
    cairn_pack_text(pack, inner.data, inner.bytes);
    pack->failed = pack->failed || inner.failed;
    free(inner.data);
    for (uint32_t i = 0; i < s->plan.file_count; i++) {
        cairn_pack_u8(pack, s->lead.careful[i]);
    }
    cairn_pack_u32(pack, s->lead.scan_block);
    cairn_pack_u8(pack, (uint8_t)s->lead.scan_state);
    cairn_division_pack(&s->lead.division, pack);
}

cairn_status scan_save(void *context, cairn_sink *sink)
{
    scan *s = context;
    cairn_error error = {CAIRN_OK, ""};
    cairn_pack pack = {0};
    cairn_digest digest;
    cairn_status status = s->failed ? CAIRN_E_STATE : fingerprint(s, &digest);

    if (status == CAIRN_OK) {
        status = cairn_runs_sync(&s->runs, &error);
    }
    if (status == CAIRN_OK) {
        status = cairn_runs_sync(&s->apart_runs, &error);
    }
    if (error.status != CAIRN_OK) {
        fprintf(stderr, "scan: process %u: %s\n", s->id, error.text);
    }
    if (status != CAIRN_OK) {
        return status; /* after an error there is no state to go on from */
    }
    cairn_pack_u32(&pack, MAGIC);
    cairn_pack_u32(&pack, s->epoch);
    cairn_pack_u64(&pack, digest.high);
    cairn_pack_u64(&pack, digest.low);
    cairn_pack_u8(&pack, s->id == 0);
    cairn_pack_u8(&pack, s->survive.on);
    cairn_pack_u32(&pack, s->generation);
    cairn_pack_u8(&pack, s->asked);
    cairn_pack_u8(&pack, s->wrong);
    cairn_pack_u32(&pack, s->leases);
    for (uint32_t i = 0; i < s->leases; i++) {
        cairn_lease lease = s->lease[i];

        if (cairn_plan_is_apart(&s->plan, lease.block)) {
            lease = cairn_lease_begin(&s->plan, lease.block, CAIRN_START_GUESS);
        }
        cairn_pack_u8(&pack, s->as_second[i]);
        cairn_pack_u32(&pack, lease.block);
        cairn_pack_u8(&pack, (uint8_t)lease.at);
        cairn_pack_u8(&pack, (uint8_t)lease.state);
        cairn_pack_u8(&pack, lease.guessing);
        cairn_pack_u64(&pack, lease.cursor);
        cairn_pack_u64(&pack, lease.rows);
    }
    cairn_pack_u64(&pack, s->read_count);
    for (size_t i = 0; i < s->read_count; i++) {
        pack_read(&s->reads[i], &pack);
    }
    cairn_pack_u64(&pack, s->bytes_before + cairn_reader_bytes(s->reader));
    cairn_groups_pack(&s->groups, &pack);
    cairn_runs_pack(&s->runs, s->spill_folder, &pack);
    cairn_pack_u8(&pack, s->begun && !forgets_first(s));
    cairn_pack_u8(&pack, s->begun_apart && !forgets_first(s));
    if (s->begun_apart && !forgets_first(s)) {
        cairn_groups_pack(&s->apart, &pack);
        cairn_runs_pack(&s->apart_runs, s->spill_folder, &pack);
    }
    if (s->id == 0) {
        save_lead(s, &pack);
    }
    status = cairn_pack_ok(&pack) ? cairn_sink_write(sink, pack.data, pack.bytes) : CAIRN_E_NOMEM;
    free(pack.data);
    return status;
}

/* Is it one more of the blobs of a restart on another number of processes, or the first of another set, which replaces
 * those that nothing came of before all went back once more? */
static bool belongs(const scan *s, uint32_t old_process, uint32_t old_count)
{
    bool fits = s->blob_count == 0 || (old_count != s->count && s->blobs[0].old_count == old_count);

    for (size_t i = 0; i < s->blob_count && fits; i++) {
        fits = s->blobs[i].old_process != old_process;
    }
    return fits;
}

/* The plan may not be known yet: keep the bytes. */
cairn_status scan_load(void *context, const void *data, size_t bytes, uint32_t old_process, uint32_t old_count)
{
    scan *s = context;

    if (!belongs(s, old_process, old_count)) {
        scan_forget_blobs(s);
    }
    scan_blob *blobs = realloc(s->blobs, (s->blob_count + 1) * sizeof *blobs);
    if (blobs == NULL) {
        return CAIRN_E_NOMEM;
    }
    s->blobs = blobs;
    blobs[s->blob_count] = (scan_blob){malloc(bytes + 1), bytes, old_process, old_count};
    if (blobs[s->blob_count].data == NULL) {
        return CAIRN_E_NOMEM;
    }
    memcpy(blobs[s->blob_count].data, data, bytes);
    s->blob_count++;
    return CAIRN_OK;
}

void scan_forget_blobs(scan *s)
{
    for (size_t i = 0; i < s->blob_count; i++) {
        free(s->blobs[i].data);
    }
    free(s->blobs);
    s->blobs = NULL;
    s->blob_count = 0;
}

uint32_t scan_blobs_epoch(const scan *s)
{
    uint32_t latest = 0;

    for (size_t i = 0; i < s->blob_count; i++) {
        cairn_unpack unpack = {.data = s->blobs[i].data, .bytes = s->blobs[i].bytes};
        uint32_t magic = cairn_unpack_u32(&unpack), epoch = cairn_unpack_u32(&unpack);
        if (!unpack.bad && magic == MAGIC && epoch >= latest) {
            latest = epoch + 1;
        }
    }
    return latest;
}

static bool lease_fits(const scan *s, const cairn_lease *lease)
{
    if (lease->block >= s->plan.block_count || lease->at > CAIRN_LEASE_ROW || lease->state > CAIRN_CSV_CLOSED) {
        return false;
    }
    const cairn_block *block = &s->plan.blocks[lease->block];
    return lease->cursor + 1 >= block->start &&
           (s->wrong || lease->cursor < block->end || lease->cursor <= s->plan.files[block->file].bytes);
}

static cairn_status take_apart(const scan *s, const scan_blob *blob, past *p)
{
    cairn_unpack unpack = {.data = blob->data, .bytes = blob->bytes};

    memset(p, 0, sizeof *p);
    if (cairn_unpack_u32(&unpack) != MAGIC) {
        return CAIRN_E_VERSION;
    }
    (void)cairn_unpack_bytes(&unpack, 4 + 16); /* epoch and fingerprint */
    p->has_lead = cairn_unpack_u8(&unpack) != 0;
    p->survive = cairn_unpack_u8(&unpack) != 0;
    p->generation = cairn_unpack_u32(&unpack);
    p->asked = cairn_unpack_u8(&unpack) != 0;
    p->wrong = cairn_unpack_u8(&unpack) != 0;
    p->leases = cairn_unpack_u32(&unpack);
    if (unpack.bad || p->leases > SCAN_HAND_MAX || (p->wrong && p->leases == 0)) {
        return CAIRN_E_CORRUPT;
    }
    for (uint32_t i = 0; i < p->leases; i++) {
        cairn_lease *lease = &p->lease[i];
        p->as_second[i] = cairn_unpack_u8(&unpack) != 0;
        lease->block = cairn_unpack_u32(&unpack);
        lease->at = (cairn_lease_at)cairn_unpack_u8(&unpack);
        lease->state = (cairn_csv_state)cairn_unpack_u8(&unpack);
        lease->guessing = cairn_unpack_u8(&unpack) != 0;
        lease->cursor = cairn_unpack_u64(&unpack);
        lease->rows = cairn_unpack_u64(&unpack);
        if (unpack.bad || !lease_fits(s, lease)) {
            return CAIRN_E_CORRUPT;
        }
    }
    uint64_t reads = cairn_unpack_u64(&unpack);
    if (reads > cairn_unpack_left(&unpack) / 21) {
        return CAIRN_E_CORRUPT;
    }
    p->reads = calloc((size_t)reads + 1, sizeof *p->reads);
    if (p->reads == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (p->read_count = 0; p->read_count < reads; p->read_count++) {
        p->reads[p->read_count] = unpack_read(&unpack);
    }
    p->bytes_read = cairn_unpack_u64(&unpack);
    cairn_status status = unpack.bad ? CAIRN_E_CORRUPT : cairn_groups_unpack(&p->groups, &unpack);
    if (status == CAIRN_OK && !fits_query(&p->groups, &s->query)) {
        status = CAIRN_E_CORRUPT;
    }
    if (status == CAIRN_OK) {
        status = cairn_runs_unpack(&p->runs, s->spill_folder, &unpack);
    }
    p->begun = cairn_unpack_u8(&unpack) != 0;
    p->begun_apart = cairn_unpack_u8(&unpack) != 0;
    if (status == CAIRN_OK && p->begun_apart) {
        status = p->leases == 0 ? CAIRN_E_CORRUPT : cairn_groups_unpack(&p->apart, &unpack);
        if (status == CAIRN_OK && !fits_query(&p->apart, &s->query)) {
            status = CAIRN_E_CORRUPT;
        }
        if (status == CAIRN_OK) {
            status = cairn_runs_unpack(&p->apart_runs, s->spill_folder, &unpack);
        }
    }
    status = unpack.bad ? CAIRN_E_CORRUPT : status;
    p->lead = unpack;
    return status;
}

static void free_past(past *p)
{
    free(p->reads);
    cairn_groups_free(&p->groups);
    cairn_groups_free(&p->apart);
    cairn_runs_free(&p->runs);
    cairn_runs_free(&p->apart_runs);
}

/* Process 0: does its first blob fit the plan and the query of now? */
static cairn_status check_input(const scan *s, cairn_error *error)
{
    cairn_digest now = {0, 0};
    cairn_plan then = {0};
    past p = {0};
    cairn_status status = fingerprint(s, &now);

    if (status != CAIRN_OK || s->blob_count == 0) {
        return cairn_fail(error, CAIRN_E_BUG, "the snapshot has no state of process 0");
    }
    cairn_unpack unpack = {.data = s->blobs[0].data, .bytes = s->blobs[0].bytes};
    (void)cairn_unpack_bytes(&unpack, 4 + 4); /* magic and epoch */
    cairn_digest digest = {cairn_unpack_u64(&unpack), 0};
    digest.low = cairn_unpack_u64(&unpack);
    if (cairn_digest_equal(digest, now)) {
        return CAIRN_OK;
    }
    p.lead = (cairn_unpack){.data = NULL};
    status = take_apart(s, &s->blobs[0], &p);
    if (status == CAIRN_OK || p.lead.data != NULL) {
        size_t bytes;
        const uint8_t *text = cairn_unpack_text(&p.lead, &bytes);
        cairn_unpack inner = {.data = text, .bytes = bytes};
        if (text != NULL && cairn_plan_unpack(&then, &inner) == CAIRN_OK &&
            cairn_plan_compare(&then, &s->plan, error) == CAIRN_OK) {
            (void)cairn_fail(error, CAIRN_E_MISMATCH, "the arguments are not those that the snapshot was taken with");
        }
    }
    if (error->text[0] == '\0') {
        (void)cairn_fail(error, CAIRN_E_MISMATCH, "the input is not what the snapshot was taken of");
    }
    cairn_plan_free(&then);
    free_past(&p);
    return CAIRN_E_MISMATCH;
}

/* Process 0's part. division: made for as many processes as took the snapshot. */
static cairn_status resume_lead(scan *s, past *p, cairn_division *division)
{
    size_t bytes;

    if (cairn_unpack_text(&p->lead, &bytes) == NULL) {
        return CAIRN_E_CORRUPT;
    }
    for (uint32_t i = 0; i < s->plan.file_count; i++) {
        s->lead.careful[i] = cairn_unpack_u8(&p->lead) != 0;
    }
    s->lead.scan_block = cairn_unpack_u32(&p->lead);
    uint8_t state = cairn_unpack_u8(&p->lead);
    if (p->lead.bad || state > CAIRN_CSV_CLOSED || s->lead.scan_block > s->plan.block_count) {
        return CAIRN_E_CORRUPT;
    }
    s->lead.scan_state = (cairn_csv_state)state;
    return cairn_division_unpack(division, &p->lead);
}

static void count_bytes_done(scan *s)
{
    s->lead.bytes_done = 0;
    for (uint32_t i = 0; i < s->plan.block_count; i++) {
        if (s->lead.share[i].is == CAIRN_BLOCK_DONE) {
            s->lead.bytes_done += cairn_plan_block_bytes(&s->plan, i);
        }
    }
}

/* What was read for this process before, here or by others. What this one has read itself is counted by its reader, and
 * some of that may be in the snapshot. */
static void count_bytes_before(scan *s, uint64_t in_snapshot)
{
    uint64_t here = cairn_reader_bytes(s->reader), known = s->bytes_before + here;

    s->bytes_before = (in_snapshot > known ? in_snapshot : known) - here;
}

/* The same number of processes: the blob is the state. */
static cairn_status resume_same(scan *s, past *p)
{
    scan_read *reads = s->reads;
    cairn_groups groups = s->groups;

    s->generation = p->generation;
    s->asked = p->asked;
    s->wrong = p->wrong;
    s->leases = p->leases;
    memcpy(s->lease, p->lease, sizeof s->lease);
    count_bytes_before(s, p->bytes_read);
    s->reads = p->reads;
    s->read_count = s->read_room = p->read_count;
    p->reads = reads;
    s->groups = p->groups;
    p->groups = groups;
    s->runs = p->runs; /* it was forgotten */
    p->runs = (cairn_runs){0};
    s->begun = p->begun;
    s->begun_apart = p->begun_apart;
    memcpy(s->as_second, p->as_second, sizeof s->as_second);
    if (p->begun_apart) {
        cairn_groups apart = s->apart;
        s->apart = p->apart;
        p->apart = apart;
        s->apart_runs = p->apart_runs;
        p->apart_runs = (cairn_runs){0};
    }
    if (s->id != 0) {
        return CAIRN_OK;
    }
    cairn_status status = p->has_lead ? resume_lead(s, p, &s->lead.division) : CAIRN_E_CORRUPT;
    count_bytes_done(s);
    return status;
}

/* Another number: merge one of the old processes. */
static cairn_status merge_past(scan *s, past *p, uint32_t *wrong_file)
{
    cairn_status status = CAIRN_OK;

    if (p->generation < s->generation) {
        return CAIRN_OK;
    }
    if (p->generation > s->generation) {
        *wrong_file = SCAN_NO_FILE;
        status = scan_forget(s, p->generation);
    }
    if (p->wrong) {
        *wrong_file = s->plan.blocks[p->lease[0].block].file;
    }
    for (size_t i = 0; i < p->read_count && status == CAIRN_OK; i++) {
        status = scan_note_read(s, p->reads[i]);
    }
    for (uint32_t i = 0; i < p->leases && status == CAIRN_OK; i++) {
        if (p->lease[i].at == CAIRN_LEASE_ROW && !p->as_second[i]) {
            status = scan_note_read(s, (scan_read){p->lease[i].block, false, p->lease[i].cursor, p->lease[i].rows});
        }
    }
    if (status == CAIRN_OK && p->begun_apart && !p->as_second[0]) {
        status = cairn_groups_merge(&s->groups, &p->apart);
        status = status == CAIRN_OK ? cairn_runs_move(&s->runs, &p->apart_runs) : status;
    }
    status = status == CAIRN_OK ? cairn_runs_move(&s->runs, &p->runs) : status;
    return status == CAIRN_OK ? cairn_groups_merge(&s->groups, &p->groups) : status;
}

/* Process 0: what all have read, into best[blocks]. A block that two have finished is a contradiction. */
static cairn_status gather_reads(scan *s, cairn_unpack *unpack, scan_read *best, uint32_t *wrong_file)
{
    uint32_t generation = cairn_unpack_u32(unpack), wrong = cairn_unpack_u32(unpack);
    uint64_t count = cairn_unpack_u64(unpack);

    for (uint64_t i = 0; i < count && !unpack->bad; i++) {
        scan_read read = unpack_read(unpack);
        if (generation != s->generation) {
            continue;
        }
        if (read.block >= s->plan.block_count || (read.done && best[read.block].done)) {
            return CAIRN_E_CORRUPT;
        }
        if (read.done || (!best[read.block].done && read.cursor > best[read.block].cursor)) {
            best[read.block] = read;
        }
    }
    if (generation == s->generation && wrong < s->plan.file_count) {
        *wrong_file = wrong;
    }
    return unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
}

/* Process 0: the new division, from what was read and the old one's knowledge of careful files. */
static cairn_status divide_anew(scan *s, const scan_read *best, const cairn_share *old)
{
    uint32_t scan_block = s->lead.scan_block;
    cairn_csv_state scan_state = s->lead.scan_state;
    cairn_status status = scan_lead_begin(s);

    s->lead.scan_block = scan_block;
    s->lead.scan_state = scan_state;
    for (uint32_t i = 0; i < s->plan.block_count && status == CAIRN_OK; i++) {
        cairn_division_event event = {.kind = CAIRN_DIVISION_READY, .block = i, .start = old[i].start};
        cairn_division_output out;
        if (best[i].done || best[i].cursor > 0) {
            status = cairn_division_resume(&s->lead.division, i, best[i].done, best[i].cursor, best[i].rows);
        }
        if (status == CAIRN_OK && !best[i].done && old[i].is != CAIRN_BLOCK_WAITING) {
            status = cairn_division_step(&s->lead.division, &event, &out);
        }
    }
    count_bytes_done(s);
    return status;
}

static cairn_status exchange_at_lead(scan *s, void *all, const uint64_t *sizes, const cairn_share *old)
{
    scan_read *best = calloc(s->plan.block_count + (size_t)1, sizeof *best);
    uint32_t wrong_file = SCAN_NO_FILE;
    cairn_status status = best == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
    const uint8_t *at = all;

    for (uint32_t i = 0; i < s->count && status == CAIRN_OK; i++) {
        cairn_unpack unpack = {.data = at, .bytes = (size_t)sizes[i]};
        status = gather_reads(s, &unpack, best, &wrong_file);
        at += sizes[i];
    }
    if (status == CAIRN_OK && wrong_file != SCAN_NO_FILE) {
        s->lead.careful[wrong_file] = true;
        status = scan_forget(s, s->generation + 1);
        if (status == CAIRN_OK) {
            status = scan_lead_begin(s);
        }
        if (status == CAIRN_OK) {
            status = scan_lead_ready(s);
        }
    } else if (status == CAIRN_OK) {
        status = divide_anew(s, best, old);
    }
    free(best);
    return status;
}

/* Collective: all tell process 0 what they have read; it tells them the generation that counts. */
static cairn_status exchange(scan *s, uint32_t wrong_file, const cairn_share *old)
{
    cairn_pack pack = {0};
    void *all = NULL;
    uint64_t *sizes = calloc(s->count, sizeof *sizes);
    uint64_t generation;
    cairn_status status = CAIRN_OK;

    cairn_pack_u32(&pack, s->generation);
    cairn_pack_u32(&pack, wrong_file);
    cairn_pack_u64(&pack, s->read_count);
    for (size_t i = 0; i < s->read_count; i++) {
        pack_read(&s->reads[i], &pack);
    }
    if (sizes == NULL || !cairn_pack_ok(&pack)) {
        status = CAIRN_E_NOMEM;
        goto out;
    }
    status = cairn_gather(s->process, 0, pack.data, pack.bytes, &all, sizes);
    if (status == CAIRN_OK && s->id == 0) {
        status = exchange_at_lead(s, all, sizes, old);
    }
    generation = s->generation;
    if (status == CAIRN_OK) {
        status = cairn_broadcast(s->process, 0, &generation, sizeof generation);
    }
    if (status == CAIRN_OK && generation != s->generation) {
        status = scan_forget(s, (uint32_t)generation);
    }
    s->asked = false;
out:
    free(pack.data);
    free(all);
    free(sizes);
    return status;
}

/* Another number of processes. */
static cairn_status resume_redivided(scan *s, uint32_t old_count)
{
    cairn_share *share = calloc(s->plan.block_count + (size_t)1, sizeof *share);
    uint32_t *counts = calloc((size_t)old_count * 2, sizeof *counts);
    uint8_t *patience = calloc(old_count, sizeof *patience);
    cairn_division old;
    uint32_t wrong_file = SCAN_NO_FILE;
    uint64_t bytes_read = 0;
    cairn_status status = share == NULL || counts == NULL || patience == NULL ? CAIRN_E_NOMEM : CAIRN_OK;

    for (size_t i = 0; i < s->blob_count && status == CAIRN_OK; i++) {
        past p;
        status = take_apart(s, &s->blobs[i], &p);
        if (status == CAIRN_OK && p.has_lead) {
            cairn_division_init(&old, s->plan.block_count, old_count, share, counts, counts + old_count, patience);
            status = s->id == 0 ? resume_lead(s, &p, &old) : CAIRN_E_CORRUPT;
        }
        if (status == CAIRN_OK) {
            status = merge_past(s, &p, &wrong_file);
        }
        bytes_read += p.bytes_read;
        free_past(&p);
    }
    count_bytes_before(s, bytes_read);
    if (status == CAIRN_OK) {
        status = exchange(s, wrong_file, share);
    }
    free(share);
    free(patience);
    free(counts);
    return status;
}

/* Then it is not process 0 that knows who reads what, and what is in flight does not matter. */
static bool was_survive(const scan *s)
{
    past p;
    bool survive = s->blob_count == 1 && take_apart(s, &s->blobs[0], &p) == CAIRN_OK && p.survive;

    if (s->blob_count == 1) {
        free_past(&p);
    }
    return survive;
}

cairn_status scan_resume(scan *s, const cairn_restored *restored, cairn_error *error)
{
    uint64_t checked = CAIRN_OK;
    past p;
    bool same;

    if (s->id == 0) {
        checked = (uint64_t)check_input(s, error);
    }
    cairn_status status = cairn_broadcast(s->process, 0, &checked, sizeof checked);
    if (status != CAIRN_OK || checked != CAIRN_OK) {
        return status != CAIRN_OK ? status : (cairn_status)checked;
    }
    same = restored->old_count == s->count && !s->survive.on && !was_survive(s);
    s->failed = false;
    status = scan_forget(s, 0);
    if (status != CAIRN_OK) {
        return status;
    }
    if (!same) {
        status = resume_redivided(s, restored->old_count);
    } else if (s->blob_count != 1) {
        status = CAIRN_E_CORRUPT;
    } else {
        status = take_apart(s, &s->blobs[0], &p);
        if (status == CAIRN_OK) {
            status = resume_same(s, &p);
        }
        free_past(&p);
    }
    scan_forget_blobs(s);
    if (status != CAIRN_OK) {
        return cairn_fail(error, status, "the state in the snapshot");
    }
    status = cairn_runs_check(&s->runs, error);
    return status == CAIRN_OK ? cairn_runs_check(&s->apart_runs, error) : status;
}
