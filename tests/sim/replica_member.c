/* The production replica: core, log, state machine and requests as they are, over a fake disk, images in memory, and
 * the world's network. A crash is that of the process, or of the machine: then what was not synced is lost or torn. */
#include "replica_member.h"

#include "coord/replica_core.h"
#include "paxos/log_parts.h"
#include "paxos/multi_core.h"
#include "support/fake_disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The production one is beside what writes HDF5 files; images here are in memory. */
void cairn_image_free(cairn_image *image)
{
    free((void *)(uintptr_t)image->state);
    *image = (cairn_image){0};
}

/* --- the disk ----------------------------------------------------------------------------------------------------- */

/* What the mark says after the last crash; false: it was torn, or is not there. */
static bool read_mark(const fake_disk *disk, log_mark *mark)
{
    const fake_file *file = fake_disk_file(disk, LOG_MARK_NAME);

    *mark = (log_mark){.number = 0};
    for (uint64_t at = 0; file != NULL && at < file->bytes; at += LOG_SECTOR) {
        log_mark one;

        if (log_mark_get(file->seen + at, &one) && one.number > mark->number) {
            *mark = one;
        }
    }
    return mark->number > 0;
}

/* The last whole group, if no mark tells of it: nobody can tell its damage from a torn end. file NULL: there is none. */
static const fake_file *last_untold(const fake_disk *disk, uint64_t *from, uint64_t *to)
{
    const fake_file *last = NULL;
    uint64_t number = 0;
    log_mark mark;

    for (size_t i = 0; i < disk->count; i++) {
        const fake_file *file = &disk->files[i];
        uint64_t segment;

        for (uint64_t at = 0; log_name_parse(file->name, &segment) && at + LOG_HEADER_BYTES <= file->bytes;
             at += LOG_SECTOR) {
            log_group group;

            if (log_group_get(file->seen + at, segment, file->bytes, at, &group) && group.number > number &&
                log_group_whole(file->seen + at, &group)) {
                number = group.number;
                last = file;
                *from = at;
                *to = at + log_group_room(group.bytes);
            }
        }
    }
    return read_mark(disk, &mark) && mark.number >= number ? NULL : last;
}

/* A bit of what is durable. */
static bool damage_log(pw_world *w, fake_disk *disk)
{
    uint64_t from = 0;
    uint64_t to = 0;
    const fake_file *spared = last_untold(disk, &from, &to);

    for (int attempt = 0; attempt < 30; attempt++) {
        const fake_file *file = disk->count == 0 ? NULL : &disk->files[pw_below(w, disk->count)];
        uint64_t segment;
        uint64_t byte;

        if (file == NULL || file->bytes == 0 || !log_name_parse(file->name, &segment)) {
            continue;
        }
        byte = pw_below(w, file->bytes);
        if (file->dirty[byte / FAKE_SECTOR] != 0 || file->durable[byte] == 0 ||
            (file == spared && byte >= from && byte < to)) {
            continue;
        }
        return fake_disk_flip(disk, file->name, byte, (unsigned)pw_below(w, 8));
    }
    return false;
}

/* Zero all groups from this number on, or flip a bit of the first of them. */
static bool zero_groups(pw_world *w, const fake_disk *disk, const log_mark *from, bool flip)
{
    bool any = false;

    for (size_t i = 0; i < disk->count; i++) {
        const fake_file *file = &disk->files[i];
        uint64_t segment;

        for (uint64_t at = 0; log_name_parse(file->name, &segment) && at + LOG_HEADER_BYTES <= file->bytes;
             at += LOG_SECTOR) {
            log_group group;

            if (!log_group_get(file->seen + at, segment, file->bytes, at, &group) || group.storage != from->storage ||
                group.number < from->number || (flip && group.number > from->number)) {
                continue;
            }
            any = true;
            if (flip) {
                uint64_t bit = pw_below(w, (LOG_HEADER_BYTES + (uint64_t)group.bytes) * 8);

                file->seen[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
            } else {
                memset(file->seen + at, 0, (size_t)log_group_room(group.bytes));
            }
            memcpy(file->durable, file->seen, (size_t)file->bytes); /* it is down: nothing waits for a sync */
        }
    }
    return any;
}

/* The last segment that is written to. */
static bool remove_last(fake_disk *disk, const log_mark *mark)
{
    fake_file *last = NULL;
    uint64_t newest = 0;

    for (size_t i = 0; i < disk->count; i++) {
        fake_file *file = &disk->files[i];
        uint64_t segment;
        log_group group;

        if (log_name_parse(file->name, &segment) && file->bytes >= LOG_HEADER_BYTES &&
            log_group_get(file->seen, segment, file->bytes, 0, &group) && group.storage == mark->storage &&
            group.number > newest) {
            newest = group.number;
            last = file;
        }
    }
    if (last == NULL || newest > mark->number) {
        return false;
    }
    fake_file_free(disk, last);
    return true;
}

/* The segments are those of another acceptor; the mark is not. */
static bool take_from_another(const pw_world *w, const pw_member *m, fake_disk *disk)
{
    const pw_member *from = &w->members[w->paxos.acceptors[m->id % w->paxos.acceptor_count]];
    uint64_t segment;

    if (from == m) {
        return false;
    }
    for (size_t i = disk->count; i > 0; i--) {
        if (log_name_parse(disk->files[i - 1].name, &segment)) {
            fake_file_free(disk, &disk->files[i - 1]);
        }
    }
    const fake_disk *other = ((const rm_body *)from->body)->disk.fake;
    for (size_t i = 0; i < other->count; i++) {
        if (log_name_parse(other->files[i].name, &segment)) {
            fake_disk_put(disk, other->files[i].name, other->files[i].seen, other->files[i].bytes);
        }
    }
    return true;
}

/* What was synced is lost at the end of the log: as much as the mark tells of, if it survived the last crash. Or with the
 * mark, which is noticed in a log that had one. */
static bool lose_end(pw_world *w, const pw_member *m, fake_disk *disk)
{
    log_mark mark;

    if (!read_mark(disk, &mark)) {
        return false;
    }
    switch (pw_below(w, 5)) {
    case 0:
        return remove_last(disk, &mark);
    case 1:
        return take_from_another(w, m, disk);
    case 2:
        return zero_groups(w, disk, &mark, true);
    case 3:
        fake_file_free(disk, fake_disk_file(disk, LOG_MARK_NAME));
        return zero_groups(w, disk, &mark, false);
    default:
        mark.number -= pw_below(w, mark.number < 6 ? mark.number : 6);
        return zero_groups(w, disk, &mark, false);
    }
}

static void free_images(rm_body *b)
{
    cairn_image_free(&b->images[0].image);
    cairn_image_free(&b->images[1].image);
    memset(b->images, 0, sizeof b->images);
}

static bool fault(pw_world *w, pw_member *m, pw_disk_fault kind)
{
    rm_body *b = m->body;

    switch (kind) {
    case PW_DISK_LOSE:
        if (m->up || !m->formed) {
            return false;
        }
        fake_disk_wipe(b->disk.fake);
        b->disk.fake->capacity = 0;
        free_images(b);
        return true;
    case PW_DISK_DAMAGE:
        if (m->up || !m->formed) {
            return false;
        }
        if (b->images[0].image.slot > 0 && pw_one_in(w, 4)) {
            b->images[0].damaged = true;
            return true;
        }
        if (pw_one_in(w, 2) && lose_end(w, m, b->disk.fake)) {
            pw_say(w, m, "its log's end is lost");
            w->result->counts[PW_ENDS_LOST]++;
            return true;
        }
        return damage_log(w, b->disk.fake);
    case PW_DISK_UNREADABLE:
        fake_disk_fail(b->disk.fake, FAKE_READ, NULL, 0, 300, CAIRN_E_IO);
        b->disk.unreadable = true;
        return true;
    case PW_DISK_FULL:
        if (pw_one_in(w, 2)) {
            fake_disk_fail(b->disk.fake, FAKE_WRITE, NULL, pw_below(w, 4), 1000, CAIRN_E_FULL);
        } else {
            b->disk.fake->capacity = b->disk.fake->used;
        }
        b->disk.full = true;
        return true;
    default:
        fake_disk_heal(b->disk.fake);
        b->disk.fake->capacity = 0;
        b->disk.full = b->disk.unreadable = false;
        return true;
    }
}

/* --- the host ----------------------------------------------------------------------------------------------------- */

static void send_message(void *context, uint32_t to, const void *data, size_t bytes)
{
    rm_body *b = context;
    cairn_unpack rest;
    wire_kind kind;
    mp_message message;

    if (to >= b->w->count || to == b->m->id || bytes > CAIRN_REPLICA_MESSAGE_MAX(b->options.paxos.value_max)) {
        pw_fail(b->w, "shell", "%" PRIu32 " sends %zu bytes to %" PRIu32, b->m->id, bytes, to);
        return;
    }
    if (!wire_open(data, bytes, &kind, &rest)) {
        pw_fail(b->w, "shell", "%" PRIu32 " sends a message with a wrong checksum", b->m->id);
    } else if (kind != WIRE_PAXOS) {
        pw_say(b->w, b->m, "to %" PRIu32 ": %s, %zu bytes", to,
               kind == WIRE_REQUEST    ? "request"
               : kind == WIRE_RESPONSE ? "answer"
                                       : "image",
               bytes);
    } else if (!wire_read_message(&rest, b->options.paxos.value_max, &message)) {
        pw_fail(b->w, "shell", "%" PRIu32 " sends what cannot be read", b->m->id);
    } else {
        pw_watch_message(b->w, b->m, to, &message);
    }
    pw_send(b->w, b->m->id, to, data, bytes);
}

static void answer(void *context, uint64_t tag, const cairn_response *response)
{
    rm_body *b = context;
    uint32_t request;

    if (tag == 0 || tag > b->ask_count || b->asks[tag - 1] == 0) {
        pw_fail(b->w, "shell", "%" PRIu32 " answers %" PRIu64 ", which nobody asked, or twice", b->m->id, tag);
        return;
    }
    request = b->asks[tag - 1] - 1;
    b->asks[tag - 1] = 0;
    rm_answered(b->w, b->m, request, response);
}

static bool has_vote(const rm_body *b)
{
    return b->m->acceptor && mp_generation(cairn_replica_core(b->replica)) > 0;
}

static void begin_write(void *context)
{
    rm_body *b = context;
    pw_world *w = b->w;

    if (b->writing) {
        pw_fail(w, "shell", "%" PRIu32 " writes a group before the last one is written", b->m->id);
    }
    b->writing = true;
    b->votes = has_vote(b);
    pw_plan(w, w->now + w->weather.disk / 2 + pw_below(w, w->weather.disk + 1),
            (pw_happening){.what = PW_WRITE, .to = b->m->id, .life = b->m->life});
}

static void begin_image(void *context, cairn_image *image)
{
    rm_body *b = context;
    pw_world *w = b->w;
    bool fetched = image->slot > cairn_replica_applied(b->replica);

    if (b->imaging) {
        pw_fail(w, "shell", "%" PRIu32 " makes an image before the last one is made", b->m->id);
        cairn_image_free(&b->pending);
    }
    b->imaging = true;
    b->pending = *image;
    w->result->counts[PW_IMAGES]++;
    pw_state(w, b->m, image->slot, pw_hash(1, image->state, image->bytes) | 1);
    pw_say(w, b->m, "makes an image after slot %" PRIu64 ", %zu bytes", image->slot, image->bytes);
    if (w->weather.faults[PW_CRASH] > 0 && pw_one_in(w, fetched ? 2 : 8)) { /* a bad time to crash */
        pw_plan(w, w->now + pw_below(w, w->weather.disk * 12 + 1),
                (pw_happening){.what = PW_STRIKE, .to = b->m->id, .life = b->m->life});
    }
    pw_plan(w, w->now + pw_below(w, w->weather.disk * 8 + 1),
            (pw_happening){.what = PW_IMAGED, .to = b->m->id, .life = b->m->life});
}

static void keep_image(rm_body *b)
{
    cairn_image_free(&b->images[1].image);
    b->images[1] = b->images[0];
    b->images[0] = (rm_blob){.image = b->pending};
    b->pending = (cairn_image){0};
}

static cairn_status read_image(void *context, cairn_image *image, char passed_over[500], cairn_error *error)
{
    rm_body *b = context;
    const rm_blob *found = NULL;
    void *copy;

    if (b->disk.unreadable && pw_one_in(b->w, 3)) {
        return cairn_fail(error, CAIRN_E_IO, "image: read: failed on purpose");
    }
    for (int i = 0; i < 2 && b->images[i].image.slot > 0; i++) {
        if (!b->images[i].damaged) {
            found = &b->images[i];
            break;
        }
        snprintf(passed_over, 500, "the image after slot %" PRIu64 " is damaged", b->images[i].image.slot);
    }
    if (found == NULL) {
        bool any = b->images[0].image.slot > 0;

        return cairn_fail(error, any ? CAIRN_E_CORRUPT : CAIRN_E_NOT_FOUND, "no image%s", any ? " is whole" : "");
    }
    *image = found->image;
    copy = malloc(image->bytes + 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, found->image.state, image->bytes);
    image->state = copy;
    return CAIRN_OK;
}

static void applied_one(void *context, const cairn_question *command, const cairn_response *response)
{
    rm_body *b = context;

    rm_applied(b->w, b->m, command, response);
}

static void say(void *context, const char *line)
{
    const rm_body *b = context;

    pw_say(b->w, b->m, "says: %s", line);
}

/* --- coming and going --------------------------------------------------------------------------------------------- */

static void note_storage(pw_world *w, pw_member *m)
{
    uint64_t storage = ((const rm_body *)m->body)->replica->core->options.storage;

    (void)w;
    if (m->acceptor && storage != m->storage) {
        m->storage = storage;
        pw_forget_said(m);
    }
}

static bool start(pw_world *w, pw_member *m)
{
    static const cairn_replica_host host = {.send = send_message,
                                            .answer = answer,
                                            .write = begin_write,
                                            .image = begin_image,
                                            .image_read = read_image,
                                            .applied = applied_one,
                                            .say = say};
    rm_body *b = m->body;
    const rm_world *all = rm_of(w);
    cairn_replica_host mine = host;
    cairn_error error = {CAIRN_OK, ""};
    cairn_status status;

    mine.context = b;
    b->options = (cairn_replica_options){.paxos = w->paxos,
                                         .disk = m->acceptor ? &b->face : NULL,
                                         .log = {.segment_bytes = all->segment_bytes},
                                         .new_storage = chance_draw(&w->random) | 1,
                                         .formed = m->formed,
                                         .lease_reads = w->lease_reads,
                                         .image_after = all->log_after};
    b->options.paxos.self = m->id;
    b->options.paxos.seed = chance_draw(&w->random);
    b->options.paxos.first = pw_first(w, m);
    b->ask_count = 0;
    b->slot = b->command = 0;
    b->looked = 0;
    status = cairn_replica_open(&b->replica, &b->options, &mine, pw_local(w, m), &error);
    if (status != CAIRN_OK) {
        pw_say(w, m, "cannot start: %s", error.text);
        if (status != CAIRN_E_IO && status != CAIRN_E_FULL) {
            pw_fail(w, "shell", "%" PRIu32 " cannot start: %s", m->id, error.text);
        }
        return false;
    }
    b->revision = cairn_state_revision(cairn_replica_state(b->replica));
    note_storage(w, m);
    if (m->formed && !m->lost && m->acceptor && !has_vote(b)) {
        pw_fail(w, "generation", "%" PRIu32 " takes what a crash left of its log for damaged", m->id);
    }
    if (m->formed && has_vote(b)) {
        pw_has_vote(w, m);
    }
    return true;
}

/* The power may fail while a group is being written. */
static void crash(pw_world *w, pw_member *m)
{
    rm_body *b = m->body;
    uint64_t seed = chance_draw(&w->random);
    bool power = pw_one_in(w, 2);
    cairn_error error;

    if (b->writing && cairn_replica_writing(b->replica) && b->status == CAIRN_OK && pw_one_in(w, 2)) {
        fake_disk_power(b->disk.fake, pw_below(w, 4));
        (void)cairn_replica_write(b->replica, &error);
        b->disk.fake->power_ends = false;
        power = power || pw_one_in(w, 2);
    }
    if (power) {
        fake_odds odds = {.kept = (uint32_t)pw_below(w, 500), .torn = (uint32_t)pw_below(w, 500)};

        fake_disk_crash(b->disk.fake, odds, &seed);
    }
    if (b->imaging && pw_one_in(w, 2) && !b->disk.full) {
        keep_image(b);
    }
    cairn_image_free(&b->pending);
    b->writing = b->imaging = false;
    b->status = CAIRN_OK;
    cairn_replica_close(b->replica);
    b->replica = NULL;
}

/* After a call that may have failed for good: the member stops, and comes back later. */
static void check(pw_world *w, pw_member *m, cairn_status status)
{
    const rm_body *b = m->body;

    if (status == CAIRN_OK) {
        return;
    }
    pw_say(w, m, "stops: %s", cairn_replica_error(b->replica));
    if (status != CAIRN_E_IO && status != CAIRN_E_FULL) {
        pw_fail(w, "shell", "%" PRIu32 " stops: %s", m->id, cairn_replica_error(b->replica));
    }
    pw_crash(w, m);
    pw_plan(w, w->now + pw_below(w, w->paxos.election * 2), (pw_happening){.what = PW_START, .to = m->id});
}

/* --- what happens to it ------------------------------------------------------------------------------------------- */

static void arrive(pw_world *w, pw_member *m, uint32_t from, const unsigned char *data, size_t bytes)
{
    const rm_body *b = m->body;

    check(w, m, cairn_replica_message(b->replica, from, data, bytes, pw_local(w, m)));
}

static void tick(pw_world *w, pw_member *m)
{
    const rm_body *b = m->body;

    check(w, m, cairn_replica_tick(b->replica, pw_local(w, m)));
}

static void write_group(pw_world *w, pw_member *m)
{
    rm_body *b = m->body;
    cairn_error error = {CAIRN_OK, ""};

    b->status = cairn_replica_write(b->replica, &error);
    if (b->status != CAIRN_OK) {
        pw_say(w, m, "cannot write: %s", error.text);
    }
    pw_plan(w, w->now + pw_below(w, w->weather.disk / 4 + 1),
            (pw_happening){.what = PW_WRITTEN, .to = m->id, .life = m->life});
}

static void imaged(pw_world *w, pw_member *m)
{
    rm_body *b = m->body;
    uint64_t slot = b->pending.slot;
    bool full = b->disk.full && pw_one_in(w, 2);

    b->imaging = false;
    if (full) {
        cairn_image_free(&b->pending);
    } else {
        keep_image(b);
    }
    check(w, m, cairn_replica_imaged(b->replica, slot, full ? CAIRN_E_FULL : CAIRN_OK, pw_local(w, m)));
}

/* A client asks this member; perhaps it has died meanwhile, or has its answer. */
static void be_asked(pw_world *w, pw_member *m, uint32_t request)
{
    rm_body *b = m->body;
    const rm_request *q = &rm_of(w)->requests[request];

    if (q->done) {
        return;
    }
    b->asks = sim_grow(b->asks, &b->ask_room, b->ask_count + 1, sizeof *b->asks);
    b->asks[b->ask_count++] = request + 1;
    pw_say(w, m, "is asked %" PRIu32 ": %d of client %" PRIu32 ", session %" PRIu64 ", sequence %" PRIu64, request,
           (int)q->what, q->client, q->session, q->sequence);
    check(w, m, cairn_replica_ask(b->replica, b->ask_count, q->data, q->bytes, pw_local(w, m)));
}

/* The client is dead, and nobody waits for its answers. */
void rm_forget(pw_world *w, uint32_t client)
{
    for (uint32_t i = 0; i < w->count; i++) {
        rm_body *b = w->members[i].body;

        for (size_t tag = 1; w->members[i].up && tag <= b->ask_count; tag++) {
            if (b->asks[tag - 1] != 0 && rm_of(w)->requests[b->asks[tag - 1] - 1].client == client) {
                cairn_replica_forget(b->replica, tag);
                b->asks[tag - 1] = 0;
            }
        }
    }
}

static void own_event(pw_world *w, pw_member *m, const pw_happening *h)
{
    rm_body *b = m->body;
    cairn_status status;

    switch (h->what) {
    case PW_WRITE:
        write_group(w, m);
        break;
    case PW_WRITTEN:
        b->writing = false;
        status = b->status;
        b->status = CAIRN_OK;
        if (status == CAIRN_OK && b->votes) {
            pw_has_vote(w, m);
        }
        check(w, m, cairn_replica_written(b->replica, status, pw_local(w, m)));
        break;
    case PW_IMAGED:
        imaged(w, m);
        break;
    default:
        be_asked(w, m, (uint32_t)h->number);
    }
}

static void resign(pw_world *w, pw_member *m)
{
    const rm_body *b = m->body;

    const mp *core = cairn_replica_core(b->replica);

    if (mp_is_leader(core)) {
        pw_say(w, m, "resigns");
        cairn_replica_resign(b->replica, pw_local(w, m));
    } else { /* mostly that is not true */
        pw_say(w, m, "is told that its leader has ended");
        cairn_replica_ended(b->replica, mp_leader(core), pw_local(w, m));
    }
}

static const mp *core_of(const pw_member *m)
{
    return cairn_replica_core(((const rm_body *)m->body)->replica);
}

static uint64_t applied(const pw_member *m)
{
    return cairn_replica_applied(((const rm_body *)m->body)->replica);
}

/* --- the kind ----------------------------------------------------------------------------------------------------- */

static void begin(pw_world *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        rm_body *b = calloc(1, sizeof *b);

        if (b == NULL) {
            abort();
        }
        w->members[i].body = b;
        b->w = w;
        b->m = &w->members[i];
        b->disk.fake = fake_disk_new(chance_draw(&w->random));
        b->face = fake_disk_face(b->disk.fake);
    }
    rm_begin_clients(w);
    rm_of(w)->segment_bytes = (log_least_segment(w->paxos.value_max) / LOG_SECTOR + pw_below(w, 12)) * LOG_SECTOR;
    rm_of(w)->log_after = pw_below(w, 32 * 1024) + 1;
}

static void end(pw_world *w)
{
    rm_world *all = rm_of(w);

    for (uint32_t i = 0; i < w->count; i++) {
        rm_body *b = w->members[i].body;

        w->result->counts[PW_INSTALLED] += b->replica != NULL ? b->replica->stats.installed : 0;
        w->result->counts[PW_LEASED] += b->replica != NULL ? b->replica->stats.leased_reads : 0;
        cairn_replica_close(b->replica);
        fake_disk_free(b->disk.fake);
        free_images(b);
        cairn_image_free(&b->pending);
        free(b->asks);
        free(b);
    }
    for (size_t i = 0; i < all->request_count; i++) {
        free(all->requests[i].data);
    }
    for (size_t i = 0; i < RM_KEYS; i++) {
        free(all->registers[i].versions);
    }
    free(all->requests);
    free(all->table);
    free(all->entries);
    free(all->first);
    free(all->ended);
    free(all->sessions);
    free(all);
}

const pw_kind rm_kind = {.name = "sim_paxos",
                         .checksums = true,
                         .begin = begin,
                         .end = end,
                         .start = start,
                         .crash = crash,
                         .arrive = arrive,
                         .tick = tick,
                         .own = own_event,
                         .resign = resign,
                         .fault = fault,
                         .client = rm_client_acts,
                         .quiet = rm_quiet,
                         .finish = rm_check_linear,
                         .core = core_of,
                         .applied = applied,
                         .look = rm_look};
