/* scan in survive mode: the parts, and the answer. See survive.c. */
#include "survive.h"

uint32_t survive_collector(const scan *s)
{
    uint32_t lowest = 0;

    while (lowest < s->id && !cairn_alive(s->process, lowest)) {
        lowest++;
    }
    return lowest;
}

/* Send and free. To a lost process: nothing. */
cairn_status survive_tell(scan *s, uint32_t to, uint32_t tag, cairn_pack *pack)
{
    cairn_status status =
        cairn_pack_ok(pack) ? cairn_send(s->process, to, tag, pack->data, pack->bytes) : CAIRN_E_NOMEM;

    free(pack->data);
    *pack = (cairn_pack){0};
    return status == CAIRN_E_PEER && !cairn_alive(s->process, to) ? CAIRN_OK : status;
}

cairn_status survive_tell_all(scan *s, uint32_t tag, uint32_t number)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < s->count && status == CAIRN_OK; i++) {
        if (i != s->id && cairn_alive(s->process, i)) {
            cairn_pack pack = {0};
            cairn_pack_u32(&pack, survive_launch(s));
            cairn_pack_u32(&pack, number);
            status = survive_tell(s, i, tag, &pack);
        }
    }
    return status;
}

void survive_forget_part(scan *s, uint32_t process)
{
    scan_part *part = &s->survive.parts[process];

    cairn_cover_drop(&s->survive.cover, process);
    cairn_groups_free(&part->groups);
    cairn_runs_free(&part->runs);
    free(part->reads);
    *part = (scan_part){0};
}

/* Of --group-by many, a part may be large: it is kept as it came, and put together at the end. */
cairn_status survive_take_part(scan *s, uint32_t from, cairn_unpack *unpack)
{
    uint32_t generation = cairn_unpack_u32(unpack);
    scan_part part = {.count = 0};
    cairn_status status = scan_take_tally(s, from, unpack) ? CAIRN_OK : CAIRN_E_CORRUPT;
    uint64_t count = cairn_unpack_u64(unpack);
    uint32_t *blocks;

    part.bytes_read = s->tally[from].bytes;

    if (status == CAIRN_OK && !unpack->bad && generation > s->generation) {
        status = survive_refresh_generation(s);
    }
    if (status != CAIRN_OK || unpack->bad || count > s->plan.block_count) {
        return status != CAIRN_OK ? status : CAIRN_E_CORRUPT;
    }
    if (generation != s->generation || !cairn_alive(s->process, from)) {
        return CAIRN_OK;
    }
    part.count = (uint32_t)count;
    part.reads = calloc((size_t)count + 1, sizeof *part.reads);
    blocks = calloc((size_t)count + 1, sizeof *blocks);
    status = part.reads == NULL || blocks == NULL ? CAIRN_E_NOMEM : CAIRN_OK;
    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        blocks[i] = part.reads[i].block = cairn_unpack_u32(unpack);
        part.reads[i].rows = cairn_unpack_u64(unpack);
    }
    if (status == CAIRN_OK) {
        status = cairn_groups_unpack(&part.groups, unpack);
    }
    if (status == CAIRN_OK) {
        status = cairn_runs_unpack(&part.runs, s->spill_folder, unpack);
    }
    if (status == CAIRN_OK) {
        status = cairn_cover_put(&s->survive.cover, from, blocks, part.count);
    }
    free(blocks);
    if (status != CAIRN_OK) {
        free(part.reads);
        cairn_groups_free(&part.groups);
        cairn_runs_free(&part.runs);
        return status;
    }
    cairn_groups_free(&s->survive.parts[from].groups);
    cairn_runs_free(&s->survive.parts[from].runs);
    free(s->survive.parts[from].reads);
    s->survive.parts[from] = part;
    return CAIRN_OK;
}

/* Put the parts together. A row read twice, or not at all, must never be printed. */
static cairn_status merge_parts(scan *s, cairn_error *error)
{
    scan_lead *lead = &s->lead;
    uint64_t rows = 0;
    cairn_status status;

    lead->bytes_read = 0;
    cairn_groups_free(&lead->total);
    cairn_runs_free(&lead->runs);
    status = cairn_groups_init(&lead->total, cairn_query_shape(&s->query));
    for (uint32_t i = 0; i < s->count && status == CAIRN_OK; i++) {
        scan_part *part = &s->survive.parts[i];
        for (uint32_t k = 0; k < part->count; k++) {
            lead->share[part->reads[k].block].rows = part->reads[k].rows;
            rows += part->reads[k].rows;
        }
        lead->bytes_read += part->bytes_read;
        status = part->reads == NULL ? CAIRN_OK : cairn_groups_merge(&lead->total, &part->groups);
        status = status == CAIRN_OK ? cairn_runs_move(&lead->runs, &part->runs) : status;
        status = status == CAIRN_OK ? scan_spill_total(s, error) : status;
    }
    if (status == CAIRN_OK && rows != lead->total.rows) {
        fprintf(stderr, "scan: internal error: %llu rows were aggregated, but the blocks have %llu\n",
                (unsigned long long)lead->total.rows, (unsigned long long)rows);
        return CAIRN_E_BUG;
    }
    return status;
}

static cairn_status print(scan *s)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status = merge_parts(s, &error);
    char key[SURVIVE_KEY_BYTES];

    if (error.status != CAIRN_OK) {
        fprintf(stderr, "scan: %s\n", error.text);
        s->exit_code = scan_exit_code(error.status);
        return CAIRN_OK;
    }
    if (status != CAIRN_OK) {
        return status;
    }
    scan_say_answer(s);
    if (s->exit_code != CAIRN_EXIT_OK) {
        return CAIRN_OK;
    }
    survive_key(s, "answer", key);
    status = cairn_coord_put(s->survive.coord, key, "printed", strlen("printed"), 0, NULL);
    return survive_service_failed(s, status);
}

/* The right to print. *print: go on; *over: it is out already. Neither: not now. */
static cairn_status claim_answer(scan *s, bool *may_print, bool *over)
{
    scan_survive *v = &s->survive;
    char generation[SURVIVE_KEY_BYTES], answer[SURVIVE_KEY_BYTES], lost[CAIRN_LOST_KEY_BYTES], mine[16];
    uint64_t modified = 0;
    bool held = false;
    cairn_status status = CAIRN_OK;

    survive_key(s, "generation", generation);
    survive_key(s, "answer", answer);
    cairn_lost_key(s->process, s->id, lost);
    (void)snprintf(mine, sizeof mine, "%" PRIu32, s->id);
    for (int tries = 0; tries < 2 && !held && status == CAIRN_OK; tries++) {
        cairn_compare compares[3] = {{.kind = CAIRN_COMPARE_MODIFIED, .key = generation, .number = v->generation_at},
                                     {.kind = CAIRN_COMPARE_MODIFIED, .key = answer, .number = modified},
                                     {.kind = CAIRN_COMPARE_MODIFIED, .key = lost}}; /* this process counts as alive */
        cairn_do then = {.kind = CAIRN_DO_PUT, .key = answer, .value = mine, .bytes = strlen(mine)};
        cairn_do otherwise[2] = {{.kind = CAIRN_DO_GET, .key = generation}, {.kind = CAIRN_DO_GET, .key = answer}};
        cairn_txn txn = {compares, &then, otherwise, 3, 1, 2};
        const cairn_kv *got = NULL;
        size_t count = 0;

        status = cairn_coord_transact(v->coord, &txn, &held, NULL, &got, &count);
        if (status != CAIRN_OK || held) {
            break;
        }
        if (count == 2 && got[1].key != NULL) {
            *over = got[1].bytes == strlen("printed") && memcmp(got[1].value, "printed", got[1].bytes) == 0;
            if (*over || cairn_alive(s->process, survive_taker(&got[1]))) {
                return CAIRN_OK;
            }
            modified = got[1].modified; /* its process died over it */
        }
        uint64_t before = v->generation_at;
        status = count > 0 ? survive_take_generation(s, &got[0]) : CAIRN_OK;
        if (v->generation_at != before) {
            return status;
        }
    }
    *may_print = held;
    return survive_service_failed(s, status);
}

/* *stop: all is over. */
cairn_status survive_collect(scan *s, bool *stop)
{
    bool may_print = false, over = false;
    cairn_status status;

    if (survive_collector(s) != s->id || !cairn_cover_complete(&s->survive.cover) || s->exit_code != 0) {
        return CAIRN_OK;
    }
    status = claim_answer(s, &may_print, &over);
    if (status == CAIRN_OK && may_print) {
        status = print(s);
        over = true;
    }
    *stop = over;
    return status != CAIRN_OK || !over ? status : survive_tell_all(s, SURVIVE_STOP, (uint32_t)s->exit_code);
}

void survive_count_progress(scan *s, uint32_t from, uint64_t bytes)
{
    uint64_t sum = 0;

    s->survive.progress[from] = bytes;
    for (uint32_t i = 0; i < s->count; i++) {
        sum += cairn_alive(s->process, i) ? s->survive.progress[i] : 0;
    }
    s->lead.bytes_done = sum;
    cairn_progress(s->process, sum, s->plan.bytes);
    scan_print_progress(s);
}

cairn_status survive_take_error(scan *s, cairn_unpack *unpack, bool *stop)
{
    uint32_t code = cairn_unpack_u32(unpack), from = cairn_unpack_u32(unpack);
    size_t bytes;
    const uint8_t *text = cairn_unpack_text(unpack, &bytes);

    if (unpack->bad || s->exit_code != 0) {
        return unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
    }
    s->exit_code = (int)code;
    *stop = true;
    fprintf(stderr, "scan: %.*s (seen by process %u)\n", (int)bytes, (const char *)text, from);
    (void)fflush(stderr);
    return survive_tell_all(s, SURVIVE_STOP, code);
}
