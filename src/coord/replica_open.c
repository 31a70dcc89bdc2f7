/* Bringing a replica back from its image and its log. */
#include "coord/replica_core.h"

typedef struct recovery {
    cairn_replica *r;
    bool member; /* the log says that this storage may vote */
} recovery;

static cairn_status replay(void *context, const mp_record *record)
{
    recovery *at = context;
    cairn_replica *r = at->r;

    if (!mp_restore_chosen(r->core, record->chosen) || replica_apply_chosen(r) != CAIRN_OK) {
        return r->fatal != CAIRN_OK ? r->fatal : CAIRN_E_CORRUPT;
    }
    mp_restore_applied(r->core, r->applied);
    at->member = at->member || record->kind == MP_RECORD_MEMBER;
    return mp_restore_record(r->core, record) ? CAIRN_OK : CAIRN_E_CORRUPT;
}

/* Core and state as of the image (slot 0: empty). */
static cairn_status begin(cairn_replica *r, const cairn_image *image, cairn_error *error)
{
    mp_options options = r->options.paxos;
    size_t bytes = mp_bytes(&options);
    cairn_status status;

    free(r->core);
    cairn_state_free(r->state);
    r->state = NULL;
    r->core = NULL;
    options.joins = true; /* until the log says otherwise */
    void *memory = calloc(1, bytes);
    if (memory == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%zu bytes for consensus", bytes);
    }
    r->core = mp_init(memory, &options, r->now);
    r->applied = r->jumped = image->slot;
    if (image->slot == 0) {
        r->state = cairn_state_new();
        return r->state != NULL ? CAIRN_OK : cairn_fail(error, CAIRN_E_NOMEM, "the state machine");
    }
    status = cairn_state_load(image->state, image->bytes, &r->state, error);
    if (status == CAIRN_OK) {
        mp_restore_image(r->core, image->slot, image->admits, image->admit_count);
    }
    return status;
}

static cairn_status read_image(cairn_replica *r, cairn_image *image, cairn_error *error)
{
    char passed_over[500] = "";
    cairn_status status;

    if (r->options.disk == NULL || r->host.image_read == NULL) {
        return CAIRN_OK;
    }
    status = r->host.image_read(r->host.context, image, passed_over, error);
    if (passed_over[0] != '\0') {
        replica_say(r, "%s: an older image is used", passed_over);
    }
    if (status == CAIRN_E_CORRUPT) {
        replica_say(r, "%s", error->text);
    }
    if (status != CAIRN_OK) {
        *image = (cairn_image){0};
    }
    return status == CAIRN_E_NOT_FOUND || status == CAIRN_E_CORRUPT ? CAIRN_OK : status;
}

/* The log's state is lost: a new one, with which this process may not vote before it is admitted again. */
static cairn_status begin_anew(cairn_replica *r, const cairn_image *image, cairn_error *error)
{
    cairn_status status;

    cairn_log_close(r->log);
    r->log = NULL;
    status = cairn_log_set_aside(r->options.disk, error);
    if (status == CAIRN_OK) {
        status = begin(r, image, error);
    }
    if (status == CAIRN_OK) {
        status = cairn_log_create(&r->log, r->options.disk, &r->options.log, r->options.new_storage, error);
    }
    if (status == CAIRN_OK) {
        mp_restored(r->core, r->options.new_storage, true);
    }
    return status;
}

static cairn_status recover(cairn_replica *r, const cairn_image *image, cairn_error *error)
{
    recovery at = {.r = r};
    cairn_log_found found = CAIRN_LOG_NONE;
    uint64_t storage = 0;
    cairn_status status =
        cairn_log_open(&r->log, r->options.disk, &r->options.log, replay, &at, &found, &storage, error);

    if (status == CAIRN_E_CORRUPT) { /* the replay found it impossible */
        found = CAIRN_LOG_DAMAGED;
    } else if (status != CAIRN_OK) {
        return status;
    }
    switch (found) {
    case CAIRN_LOG_NONE:
        if (!r->options.formed) {
            status = cairn_log_create(&r->log, r->options.disk, &r->options.log, r->options.new_storage, error);
            mp_restored(r->core, r->options.new_storage, false);
            return status;
        }
        replica_say(r, "acceptor %u has lost its consensus log: it votes again when the others have admitted it",
                    r->self);
        return begin_anew(r, image, error);
    case CAIRN_LOG_DAMAGED:
        replica_say(r, "acceptor %u: %s: set aside; it votes again when the others have admitted it", r->self,
                    error->text[0] != '\0' ? error->text : "the consensus log does not fit its image");
        return begin_anew(r, image, error);
    case CAIRN_LOG_TORN:
    case CAIRN_LOG_WHOLE:
    default:
        mp_restored(r->core, storage, r->options.formed && !at.member);
        return CAIRN_OK;
    }
}

cairn_status cairn_replica_open(cairn_replica **out, const cairn_replica_options *options,
                                const cairn_replica_host *host, uint64_t now, cairn_error *error)
{
    cairn_replica *r = calloc(1, sizeof *r);
    cairn_image image = {0};
    cairn_error local = {CAIRN_OK, ""};
    cairn_status status;

    *out = NULL;
    if (r == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the replica");
    }
    r->options = *options;
    r->options.log.value_max = options->paxos.value_max;
    r->options.log.owner = options->paxos.self;
    r->options.image_after = options->image_after == 0 ? (uint64_t)64 << 20 : options->image_after;
    r->options.requests_max = options->requests_max == 0 ? 8192 : options->requests_max;
    r->host = *host;
    r->self = options->paxos.self;
    r->life = options->new_storage;
    r->now = now;
    r->proposals.end = &r->proposals.first;
    r->reads.end = &r->reads.first;
    r->fresh.end = &r->fresh.first;
    r->scratch = malloc(options->paxos.value_max);
    r->recovering = true;
    status = r->scratch == NULL ? CAIRN_E_NOMEM : read_image(r, &image, &local);
    if (status == CAIRN_OK) {
        status = begin(r, &image, &local);
    }
    if (status == CAIRN_OK && options->disk != NULL) {
        status = recover(r, &image, &local);
    }
    r->image_slot = image.slot;
    cairn_image_free(&image);
    if (status == CAIRN_OK) {
        status = replica_apply_chosen(r);
        mp_restore_applied(r->core, r->applied);
        r->written = r->applied;
    }
    r->recovering = false;
    if (status != CAIRN_OK) {
        const char *why = r->error.text[0] != '\0' ? r->error.text : local.text;

        (void)cairn_fail(error, status, "%s", why[0] != '\0' ? why : cairn_status_text(status));
        cairn_replica_close(r);
        return status;
    }
    *out = r;
    return CAIRN_OK;
}

void cairn_replica_close(cairn_replica *r)
{
    if (r == NULL) {
        return;
    }
    ask_free_all(r);
    cairn_log_close(r->log);
    cairn_state_free(r->state);
    free(r->core);
    free(r->waiters);
    free(r->leases);
    free(r->pack.data);
    free(r->batch.data);
    free(r->scratch);
    free(r->incoming.data);
    free(r->outgoing.data);
    cairn_storage_free(&r->storage);
    free(r);
}
