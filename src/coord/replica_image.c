/* Images: made when the log has grown, and sent to whoever needs slots that are no longer in memory or in the log. */
#include "coord/replica_core.h"

#define CHUNK_MAX     ((size_t)32 << 10)
#define SLOTS_AT_ONCE 16

static cairn_status make_image(cairn_replica *r, cairn_image *image)
{
    cairn_pack pack = {0};

    *image = (cairn_image){.slot = r->applied};
    image->admit_count = mp_admits(r->core, image->admits);
    if (cairn_state_save(r->state, &pack) != CAIRN_OK || !cairn_pack_ok(&pack)) {
        free(pack.data);
        return CAIRN_E_NOMEM;
    }
    image->state = pack.data;
    image->bytes = pack.bytes;
    return CAIRN_OK;
}

/* The log has grown by more than it would cost to write the state. */
void image_consider(cairn_replica *r)
{
    cairn_log_stats log;
    cairn_image image;

    if (r->log == NULL || r->imaging || r->fatal != CAIRN_OK || r->applied == 0) {
        return;
    }
    cairn_log_get_stats(r->log, &log);
    if (log.bytes - r->log_imaged < r->options.image_after || log.bytes - r->log_imaged < 4 * r->image_bytes) {
        return;
    }
    if (make_image(r, &image) != CAIRN_OK) {
        replica_say(r, "no memory for an image of the coordination service's state");
        return;
    }
    r->imaging = true;
    r->image_bytes = image.bytes;
    r->log_imaged = log.bytes;
    r->stats.images++;
    r->host.image(r->host.context, &image);
}

/* ---------------------------------------------------------------- sending */

static void send_chunk(cairn_replica *r, uint32_t to, uint64_t offset)
{
    transfer *t = &r->outgoing;
    size_t most = r->options.paxos.value_max < CHUNK_MAX ? r->options.paxos.value_max : CHUNK_MAX;
    size_t bytes = t->bytes - offset < most ? (size_t)(t->bytes - offset) : most;

    wire_begin(r, WIRE_IMAGE);
    cairn_pack_u64(&r->pack, t->slot);
    cairn_pack_u64(&r->pack, t->bytes);
    cairn_pack_u64(&r->pack, offset);
    cairn_pack_u8(&r->pack, (uint8_t)t->admit_count);
    for (uint32_t i = 0; i < t->admit_count; i++) {
        cairn_pack_u32(&r->pack, t->admits[i].process);
        cairn_pack_u32(&r->pack, t->admits[i].generation);
        cairn_pack_u64(&r->pack, t->admits[i].storage);
        cairn_pack_u64(&r->pack, t->admits[i].ballot);
    }
    cairn_pack_text(&r->pack, t->data + offset, bytes);
    wire_end(r, to);
}

/* The state as it is now, kept for those who fetch it. */
static bool offer(cairn_replica *r)
{
    transfer *t = &r->outgoing;
    cairn_image image;

    if (make_image(r, &image) != CAIRN_OK) {
        return false;
    }
    free(t->data);
    *t = (transfer){.slot = image.slot,
                    .bytes = image.bytes,
                    .since = r->now,
                    .admit_count = image.admit_count,
                    .data = (uint8_t *)(uintptr_t)image.state};
    memcpy(t->admits, image.admits, sizeof t->admits);
    return true;
}

/* One chosen slot, from memory or as the log has it; the log does not have it before its newest vote is on disk. */
static bool serve_slot(cairn_replica *r, uint32_t to, uint64_t slot)
{
    mp_send send = {.to = to, .message = {.kind = MP_LEARN, .ballot = mp_ballot(r->core), .chosen = r->applied}};
    mp_vote *vote = &send.message.votes[0];
    cairn_error error;

    send.message.generation = mp_generation(r->core);
    send.message.vote_count = 1;
    *vote = (mp_vote){.slot = slot, .ballot = PX_CHOSEN};
    if (r->log == NULL || slot > r->applied || slot <= r->jumped) {
        return false;
    }
    vote->value = mp_value_at(r->core, slot);
    if (vote->value.type == 0 &&
        (slot > r->written || cairn_log_read(r->log, slot, r->scratch, &vote->value, &error) != CAIRN_OK)) {
        return false;
    }
    wire_message(r, &send);
    return true;
}

void image_serve(cairn_replica *r, uint32_t to, uint64_t slot)
{
    if (serve_slot(r, to, slot)) {
        for (uint32_t i = 1; i < SLOTS_AT_ONCE && serve_slot(r, to, slot + i); i++) {
        }
        return;
    }
    if ((r->outgoing.data != NULL && r->outgoing.slot >= slot) || offer(r)) {
        r->outgoing.since = r->now;
        send_chunk(r, to, 0);
    }
}

void image_on_get(cairn_replica *r, uint32_t from, cairn_unpack *u)
{
    uint64_t slot = cairn_unpack_u64(u);
    uint64_t offset = cairn_unpack_u64(u);

    if (u->bad || r->outgoing.data == NULL || from >= r->options.paxos.count || from == r->self) {
        return;
    }
    r->outgoing.since = r->now;
    send_chunk(r, from, r->outgoing.slot == slot && offset <= r->outgoing.bytes ? offset : 0);
}

/* ---------------------------------------------------------------- receiving */

static void install(cairn_replica *r)
{
    transfer *t = &r->incoming;
    cairn_state_machine *state = NULL;
    cairn_error error;
    mp_event event = {.kind = MP_INSTALLED, .number = t->slot, .admits = t->admits, .admit_count = t->admit_count};

    if (t->slot > r->applied && cairn_state_load(t->data, (size_t)t->bytes, &state, &error) == CAIRN_OK) {
        cairn_state_free(r->state);
        r->state = state;
        r->applied = t->slot;
        r->jumped = t->slot;
        r->stats.installed++;
        if (r->log != NULL) {
            cairn_log_trim(r->log, t->slot); /* what comes before has a gap behind it */
            r->image_slot = t->slot;
        }
        replica_step(r, &event);
        ask_installed(r);
    }
    free(t->data);
    *t = (transfer){0};
}

/* All of it is here. An acceptor's must be on disk first: the log after it makes no sense without it. */
static void received(cairn_replica *r)
{
    transfer *t = &r->incoming;
    cairn_image image = {.slot = t->slot, .admit_count = t->admit_count, .bytes = (size_t)t->bytes};
    void *copy;

    if (r->log == NULL) {
        install(r);
        return;
    }
    if (r->imaging) {
        return; /* when that one is done */
    }
    copy = malloc((size_t)t->bytes + 1);
    if (copy == NULL) {
        (void)replica_fail(r, CAIRN_E_NOMEM, "an image of %llu bytes", (unsigned long long)t->bytes);
        return;
    }
    memcpy(copy, t->data, (size_t)t->bytes);
    memcpy(image.admits, t->admits, sizeof image.admits);
    image.state = copy;
    r->imaging = true;
    r->installing = true;
    r->host.image(r->host.context, &image);
}

static void ask_next(cairn_replica *r)
{
    wire_begin(r, WIRE_IMAGE_GET);
    cairn_pack_u64(&r->pack, r->incoming.slot);
    cairn_pack_u64(&r->pack, r->incoming.got);
    wire_end(r, r->incoming.from);
}

static void begin_transfer(cairn_replica *r, uint32_t from, const transfer *head)
{
    free(r->incoming.data);
    r->incoming = *head;
    r->incoming.from = from;
    r->incoming.since = r->now;
    r->incoming.data = malloc((size_t)head->bytes + 1);
    if (r->incoming.data == NULL) {
        r->incoming = (transfer){0};
    }
}

void image_on_chunk(cairn_replica *r, uint32_t from, cairn_unpack *u)
{
    transfer head = {.slot = cairn_unpack_u64(u), .bytes = cairn_unpack_u64(u)};
    transfer *t = &r->incoming;
    uint64_t offset = cairn_unpack_u64(u);
    size_t bytes;
    const uint8_t *data;

    head.admit_count = cairn_unpack_u8(u);
    for (uint32_t i = 0; i < head.admit_count && i < MP_ACCEPTORS_MAX; i++) {
        head.admits[i].process = cairn_unpack_u32(u);
        head.admits[i].generation = cairn_unpack_u32(u);
        head.admits[i].storage = cairn_unpack_u64(u);
        head.admits[i].ballot = cairn_unpack_u64(u);
    }
    data = cairn_unpack_text(u, &bytes);
    if (u->bad || head.admit_count > MP_ACCEPTORS_MAX || head.slot <= r->applied || r->installing ||
        head.bytes > (uint64_t)1 << 40) {
        return;
    }
    if (t->data == NULL ||
        (t->slot != head.slot && (t->from == from || r->now > t->since + r->options.paxos.election))) {
        begin_transfer(r, from, &head);
    }
    if (t->data == NULL || t->slot != head.slot || t->bytes != head.bytes || t->from != from) {
        return;
    }
    /* Only the chunk that was asked for makes it ask for the next one: doubled ones would each begin a row of their
     * own. image_tick asks for what got lost. */
    if (offset != t->got || bytes == 0 || bytes > t->bytes - t->got) {
        return;
    }
    memcpy(t->data + offset, data, bytes);
    t->got += bytes;
    t->since = r->now;
    if (t->got == t->bytes) {
        received(r);
    } else {
        ask_next(r);
    }
}

cairn_status cairn_replica_imaged(cairn_replica *r, uint64_t slot, cairn_status status, uint64_t now)
{
    bool installing = r->installing;

    r->now = now > r->now ? now : r->now;
    r->imaging = false;
    r->installing = false;
    if (r->fatal != CAIRN_OK) {
        return r->fatal;
    }
    if (status != CAIRN_OK) {
        replica_say(r, "an image of the coordination service's state could not be written: %s",
                    cairn_status_text(status));
    } else if (installing) {
        install(r);
        replica_settle(r);
    } else if (r->log != NULL) {
        /* The log reaches back to the image before, which takes over should this one be damaged. */
        cairn_log_trim(r->log, r->image_slot);
        r->image_slot = slot;
    }
    return r->fatal;
}

void image_tick(cairn_replica *r)
{
    uint64_t patience = r->options.paxos.election;

    if (r->outgoing.data != NULL && r->now > r->outgoing.since + 50 * patience) {
        free(r->outgoing.data);
        r->outgoing = (transfer){0};
    }
    if (r->incoming.data == NULL || r->installing) {
        return;
    }
    if (r->incoming.slot <= r->applied || r->now > r->incoming.since + 5 * patience) {
        free(r->incoming.data);
        r->incoming = (transfer){0};
    } else if (r->incoming.got == r->incoming.bytes) {
        received(r);
    } else if (r->now > r->incoming.since + patience / 4) {
        ask_next(r); /* a chunk was lost */
    }
}
