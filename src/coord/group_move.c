/* Moving a group's state: the old acceptors run once more, all in this process and with nobody else, until what they had
 * promised each other is finished. The same core, log and state machine as ever; only time and network are made up. */
#include "coord/group.h"
#include "coord/replica.h"

#include "base/durable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_US   UINT64_C(1000)
#define TICKS_MAX 600000 /* ten minutes of made-up time */

typedef struct letter {
    struct letter *next;
    uint32_t from, to;
    size_t bytes;
    char data[];
} letter;

typedef struct mover mover;

typedef struct member {
    mover *all;
    uint32_t process;
    cairn_disk disk;
    bool open;
    cairn_replica *replica;
    bool write_wanted, imaged;
    uint64_t image_slot;
    char folder[CAIRN_GROUP_PATH_BYTES];
} member;

struct mover {
    member members[MP_ACCEPTORS_MAX];
    uint32_t count;
    letter *first, **end;
};

static void post(void *context, uint32_t to, const void *data, size_t bytes)
{
    member *m = context;
    letter *l = malloc(sizeof *l + bytes);

    if (l != NULL) { /* else it is lost, and repeated */
        *l = (letter){.from = m->process, .to = to, .bytes = bytes};
        memcpy(l->data, data, bytes);
        *m->all->end = l;
        m->all->end = &l->next;
    }
}

static void no_answer(void *context, uint64_t tag, const cairn_response *response)
{
    (void)context;
    (void)tag;
    (void)response;
}

static void want_write(void *context)
{
    ((member *)context)->write_wanted = true;
}

/* No image is needed of what is about to be moved. */
static void no_image(void *context, cairn_image *image)
{
    member *m = context;

    m->imaged = true;
    m->image_slot = image->slot;
    cairn_image_free(image);
}

static cairn_status read_image(void *context, cairn_image *image, char passed_over[500], cairn_error *error)
{
    return cairn_image_read(((member *)context)->folder, image, passed_over, error);
}

static void say(void *context, const char *line)
{
    fprintf(stderr, "cairn: moving the consensus group: acceptor %u: %s\n", ((member *)context)->process, line);
}

static cairn_status open_member(member *m, const char *dir, const cairn_group *old, const mp_options *options,
                                cairn_error *error)
{
    cairn_replica_host host = {.context = m,
                               .send = post,
                               .answer = no_answer,
                               .write = want_write,
                               .image = no_image,
                               .image_read = read_image,
                               .say = say};
    cairn_replica_options o = {
        .paxos = *options, .disk = &m->disk, .new_storage = 1 + m->process, .formed = old->formed};
    cairn_status status;

    o.paxos.self = m->process;
    o.paxos.count = old->count;
    o.paxos.acceptor_count = old->acceptor_count;
    memcpy(o.paxos.acceptors, old->acceptors, sizeof o.paxos.acceptors);
    o.paxos.lease = 0;
    o.paxos.first = false;
    o.paxos.seed = m->process;
    o.image_after = UINT64_MAX;
    cairn_group_folder(m->folder, sizeof m->folder, dir, old, m->process);
    status = cairn_disk_open(&m->disk, m->folder, error);
    if (status == CAIRN_OK) {
        m->open = true;
        status = cairn_replica_open(&m->replica, &o, &host, TICK_US, error);
    }
    return status;
}

static cairn_status deliver(mover *all, uint64_t now)
{
    cairn_status status = CAIRN_OK;

    while (all->first != NULL && status == CAIRN_OK) {
        letter *l = all->first;

        all->first = l->next;
        if (all->first == NULL) {
            all->end = &all->first;
        }
        for (uint32_t i = 0; i < all->count; i++) {
            if (all->members[i].process == l->to) {
                status = cairn_replica_message(all->members[i].replica, l->from, l->data, l->bytes, now);
            }
        }
        free(l);
    }
    return status;
}

static cairn_status one_round(mover *all, uint64_t now, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < all->count && status == CAIRN_OK; i++) {
        member *m = &all->members[i];

        status = cairn_replica_tick(m->replica, now);
        if (status == CAIRN_OK && m->write_wanted) {
            m->write_wanted = false;
            status = cairn_replica_written(m->replica, cairn_replica_write(m->replica, error), now);
        }
        if (status == CAIRN_OK && m->imaged) {
            m->imaged = false;
            status = cairn_replica_imaged(m->replica, m->image_slot, CAIRN_E_STATE, now);
        }
        if (status != CAIRN_OK) {
            return cairn_fail(error, status, "%s: %s", m->folder, cairn_replica_error(m->replica));
        }
    }
    return deliver(all, now);
}

/* A leader whose own first slot is chosen has finished all that came before. */
static cairn_replica *finished(const mover *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const mp *core = cairn_replica_core(all->members[i].replica);

        if (mp_is_leader(core) && mp_chosen(core) == mp_proposed(core) && mp_proposed(core) > 0 &&
            cairn_replica_applied(all->members[i].replica) == mp_chosen(core)) {
            return all->members[i].replica;
        }
    }
    return NULL;
}

static cairn_status write_images(const char *dir, const cairn_group *fresh, cairn_replica *from, cairn_error *error)
{
    cairn_pack pack = {0};
    cairn_image image = {.slot = cairn_replica_applied(from)};
    cairn_status status = cairn_state_save(cairn_replica_state(from), &pack);

    if (status != CAIRN_OK || !cairn_pack_ok(&pack)) {
        status = cairn_fail(error, CAIRN_E_NOMEM, "%s: the state of the consensus group", dir);
    }
    image.state = pack.data;
    image.bytes = pack.bytes;
    for (uint32_t i = 0; i < fresh->acceptor_count && status == CAIRN_OK; i++) {
        char folder[CAIRN_GROUP_PATH_BYTES];

        cairn_group_folder(folder, sizeof folder, dir, fresh, fresh->acceptors[i]);
        status = cairn_make_folders(folder, error);
        if (status == CAIRN_OK) {
            status = cairn_image_write(folder, &image, error);
        }
    }
    free(pack.data);
    return status;
}

static void close_all(mover *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        cairn_replica_close(all->members[i].replica);
        if (all->members[i].open) {
            cairn_disk_close(&all->members[i].disk);
        }
    }
    while (all->first != NULL) {
        letter *next = all->first->next;

        free(all->first);
        all->first = next;
    }
    free(all);
}

cairn_status cairn_group_move(const char *dir, const cairn_group *old, const cairn_group *fresh,
                              const mp_options *options, cairn_error *error)
{
    mover *all = calloc(1, sizeof *all);
    cairn_replica *done = NULL;
    uint32_t voters = 0;
    cairn_status status = CAIRN_OK;

    if (all == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "moving the consensus group");
    }
    all->end = &all->first;
    for (uint32_t i = 0; i < old->acceptor_count && status == CAIRN_OK; i++) {
        member *m = &all->members[all->count++];

        m->all = all;
        m->process = old->acceptors[i];
        status = open_member(m, dir, old, options, error);
        voters += status == CAIRN_OK && mp_generation(cairn_replica_core(m->replica)) > 0 ? 1 : 0;
    }
    if (status == CAIRN_OK && voters < px_majority(old->acceptor_count)) {
        status = cairn_fail(error, CAIRN_E_CORRUPT,
                            "%s/consensus: %u of %u acceptors have lost their logs: what was agreed on is not known",
                            dir, old->acceptor_count - voters, old->acceptor_count);
    }
    for (uint64_t tick = 2; status == CAIRN_OK && done == NULL; tick++) {
        status = one_round(all, tick * TICK_US, error);
        done = finished(all);
        if (status == CAIRN_OK && done == NULL && tick > TICKS_MAX) {
            status = cairn_fail(error, CAIRN_E_TIMEOUT, "%s/consensus: its acceptors elect no leader", dir);
        }
    }
    if (status == CAIRN_OK) {
        status = write_images(dir, fresh, done, error);
    }
    close_all(all);
    return status;
}
