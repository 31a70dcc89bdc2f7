/* scan in survive mode: before the first block and after the last. See survive.c. */
#include "survive.h"

#define CLOSE_WITHIN    5.0  /* seconds */
#define SESSION_SECONDS 60.0 /* nothing hangs on it: who is dead is decided otherwise */

/* Process 0: who has which block in its aggregates. *spread: parts of one block are with several, after restarts on
 * other numbers of processes without --survive; then nothing can be read anew by itself. */
static cairn_status gather_owners(scan *s, uint32_t *owner, bool *spread)
{
    cairn_pack pack = {0};
    uint64_t *sizes = calloc(s->count, sizeof *sizes);
    void *all = NULL;
    cairn_status status = CAIRN_E_NOMEM;

    for (size_t i = 0; i < s->read_count; i++) {
        cairn_pack_u32(&pack, s->reads[i].block);
    }
    if (sizes != NULL && cairn_pack_ok(&pack)) {
        status = cairn_gather(s->process, 0, pack.data, pack.bytes, &all, sizes);
    }
    if (status == CAIRN_OK && s->id == 0) {
        cairn_unpack unpack = {.data = all};
        for (uint32_t i = 0; i < s->plan.block_count; i++) {
            owner[i] = CAIRN_NOBODY;
        }
        for (uint32_t i = 0; i < s->count; i++) {
            for (unpack.bytes += (size_t)sizes[i]; cairn_unpack_left(&unpack) > 0;) {
                uint32_t block = cairn_unpack_u32(&unpack);
                if (block < s->plan.block_count) {
                    *spread = *spread || (owner[block] != CAIRN_NOBODY && owner[block] != i);
                    owner[block] = i;
                }
            }
        }
    }
    free(pack.data);
    free(sizes);
    free(all);
    return status;
}

/* After a restart: what all know of the blocks read before. */
static cairn_status share_owners(scan *s, uint32_t *owner, bool *spread)
{
    uint8_t many = 0;
    cairn_status status = gather_owners(s, owner, spread);

    many = *spread;
    if (status == CAIRN_OK) {
        status = cairn_broadcast(s->process, 0, &many, sizeof many);
    }
    *spread = many != 0;
    if (status == CAIRN_OK) {
        status = cairn_broadcast(s->process, 0, owner, s->plan.block_count * sizeof *owner);
    }
    if (status == CAIRN_OK) {
        status = cairn_broadcast(s->process, 0, s->lead.careful, s->plan.file_count * sizeof *s->lead.careful);
    }
    return status;
}

/* Of earlier launches nothing is left in the service. */
static cairn_status open_service(scan *s)
{
    scan_survive *v = &s->survive;
    char prefix[SURVIVE_KEY_BYTES];
    cairn_status status = cairn_coord_open(s->process, SESSION_SECONDS, &v->coord);

    if (status != CAIRN_OK) {
        return status;
    }
    if (s->id == 0) {
        cairn_do clear = {.kind = CAIRN_DO_DELETE_PREFIX, .key = "scan/"};
        cairn_txn txn = {.then = &clear, .then_count = 1};
        bool held;
        status = survive_service_failed(s, cairn_coord_transact(v->coord, &txn, &held, NULL, NULL, NULL));
    }
    if (status == CAIRN_OK) {
        status = cairn_barrier(s->process);
    }
    (void)snprintf(prefix, sizeof prefix, "scan/%" PRIu32 "/", survive_launch(s));
    return status == CAIRN_OK ? survive_service_failed(s, cairn_coord_watch(v->coord, prefix, false, 0, &v->watch))
                              : status;
}

cairn_status scan_survive_begin(scan *s)
{
    scan_survive *v = &s->survive;
    bool spread = false;
    uint32_t *owner = NULL;
    cairn_status status = s->id == 0 ? CAIRN_OK : scan_lead_begin(s);

    v->partition = v->finished = CAIRN_NOBODY;
    v->first_generation = s->generation;
    v->scan_block = UINT32_MAX;
    v->parts = calloc(s->count, sizeof *v->parts);
    v->progress = calloc(s->count, sizeof *v->progress);
    if (status == CAIRN_OK && (v->parts == NULL || v->progress == NULL)) {
        status = CAIRN_E_NOMEM;
    }
    if (status == CAIRN_OK && s->restarted) {
        owner = calloc((size_t)s->plan.block_count + 1, sizeof *owner);
        status = owner == NULL ? CAIRN_E_NOMEM : share_owners(s, owner, &spread);
    }
    if (status == CAIRN_OK && spread) {
        if (s->id == 0) {
            fputs("scan: blocks were read in part by several processes, in launches without --survive: this launch is "
                  "like one\n",
                  stderr);
        }
        v->on = false;
        free(owner);
        return CAIRN_OK;
    }
    if (status == CAIRN_OK) {
        status = cairn_ledger_init(&v->ledger, s->plan.block_count, s->count, owner);
    }
    free(owner);
    if (status == CAIRN_OK) {
        status = cairn_cover_init(&v->cover, s->plan.block_count, s->count);
    }
    for (size_t i = 0; i < s->read_count && status == CAIRN_OK; i++) {
        v->bytes_done += s->reads[i].done ? cairn_plan_block_bytes(&s->plan, s->reads[i].block) : 0;
    }
    if (status == CAIRN_OK) {
        status = open_service(s);
    }
    if (status == CAIRN_OK) {
        cairn_lost_handler(s->process, survive_on_lost, s);
    }
    return status;
}

void scan_survive_end(scan *s)
{
    scan_survive *v = &s->survive;

    if (v->coord != NULL) {
        cairn_watch_close(v->watch);
        (void)cairn_coord_deadline(v->coord, CLOSE_WITHIN);
        (void)cairn_coord_close(v->coord);
        v->coord = NULL;
    }
}

void scan_survive_free(scan *s)
{
    scan_survive *v = &s->survive;

    for (uint32_t i = 0; v->parts != NULL && i < s->count; i++) {
        survive_forget_part(s, i);
    }
    free(v->parts);
    free(v->progress);
    cairn_ledger_free(&v->ledger);
    cairn_cover_free(&v->cover);
}
