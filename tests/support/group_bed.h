/* A group of acceptors that runs in one process, on real disks in a folder, with made-up time and network: what the
 * tests of src/coord/group.h move from one group to another. Included once in a program. */
#ifndef CAIRN_TESTS_SUPPORT_GROUP_BED_H
#define CAIRN_TESTS_SUPPORT_GROUP_BED_H

#include "coord/group.h"
#include "coord/replica.h"
#include "support/snapshots.h"
#include "support/unit.h"

#define BED_TICK UINT64_C(1000)

typedef struct bed_letter {
    struct bed_letter *next;
    uint32_t from, to;
    size_t bytes;
    char data[];
} bed_letter;

typedef struct bed bed;

typedef struct bed_member {
    bed *bed;
    uint32_t process;
    cairn_disk disk;
    cairn_replica *replica;
    bool wants_write;
    char folder[CAIRN_GROUP_PATH_BYTES];
} bed_member;

struct bed {
    bed_member members[MP_ACCEPTORS_MAX];
    uint32_t count;
    uint64_t now;
    bed_letter *first, **end;
    bool (*passes)(const bed *b, uint32_t from, uint32_t to); /* NULL: all do */
    bool answered;
    cairn_status status; /* of the answer */
    uint64_t number;
    char value[100];
    char said[2000];
};

static uint64_t bed_lives; /* each opening has an id of its own */

static mp_options bed_options(const cairn_group *group)
{
    mp_options o = {.count = group->count,
                    .acceptor_count = group->acceptor_count,
                    .window = 64,
                    .value_max = 8192,
                    .pipeline = 16,
                    .heartbeat = 10000,
                    .election = 60000};

    memcpy(o.acceptors, group->acceptors, sizeof o.acceptors);
    return o;
}

static void bed_post(void *context, uint32_t to, const void *data, size_t bytes)
{
    bed_member *m = context;
    bed_letter *l = malloc(sizeof *l + bytes);

    *l = (bed_letter){.from = m->process, .to = to, .bytes = bytes};
    memcpy(l->data, data, bytes);
    *m->bed->end = l;
    m->bed->end = &l->next;
}

static void bed_answer(void *context, uint64_t tag, const cairn_response *response)
{
    bed *b = ((bed_member *)context)->bed;

    (void)tag;
    b->answered = true;
    b->status = response->status;
    b->number = response->number;
    b->value[0] = '\0';
    if (response->kv_count == 1 && response->kvs[0].bytes < sizeof b->value) {
        memcpy(b->value, response->kvs[0].value, response->kvs[0].bytes);
        b->value[response->kvs[0].bytes] = '\0';
    }
}

static void bed_want_write(void *context)
{
    ((bed_member *)context)->wants_write = true;
}

static void bed_image(void *context, cairn_image *image)
{
    bed_member *m = context;
    cairn_error error;
    cairn_status status = cairn_image_write(m->folder, image, &error);
    uint64_t slot = image->slot;

    cairn_image_free(image);
    CU_ASSERT_EQUAL(cairn_replica_imaged(m->replica, slot, status, m->bed->now), CAIRN_OK);
}

static cairn_status bed_image_read(void *context, cairn_image *image, char passed_over[500], cairn_error *error)
{
    return cairn_image_read(((bed_member *)context)->folder, image, passed_over, error);
}

static void bed_say(void *context, const char *line)
{
    bed *b = ((bed_member *)context)->bed;
    size_t length = strlen(b->said);

    (void)snprintf(b->said + length, sizeof b->said - length, "%s\n", line);
}

/* Ends the program when it fails: no test can go on. */
static bed *bed_open(const char *dir, const cairn_group *group, uint64_t image_after)
{
    bed *b = calloc(1, sizeof *b);
    cairn_error error = {CAIRN_OK, ""};

    b->now = 1;
    b->end = &b->first;
    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        bed_member *m = &b->members[b->count++];
        cairn_replica_host host = {.context = m,
                                   .send = bed_post,
                                   .answer = bed_answer,
                                   .write = bed_want_write,
                                   .image = bed_image,
                                   .image_read = bed_image_read,
                                   .say = bed_say};
        cairn_replica_options o = {.paxos = bed_options(group),
                                   .disk = &m->disk,
                                   .log.segment_bytes = 32768,
                                   .new_storage = ++bed_lives << 40 | 1,
                                   .formed = group->formed,
                                   .image_after = image_after};

        m->bed = b;
        m->process = group->acceptors[i];
        o.paxos.self = m->process;
        o.paxos.seed = m->process;
        o.paxos.first = i == 0;
        cairn_group_folder(m->folder, sizeof m->folder, dir, group, m->process);
        if (cairn_make_folders(m->folder, &error) != CAIRN_OK ||
            cairn_disk_open(&m->disk, m->folder, &error) != CAIRN_OK ||
            cairn_replica_open(&m->replica, &o, &host, b->now, &error) != CAIRN_OK) {
            fprintf(stderr, "bed_open: %s\n", error.text);
            exit(2);
        }
    }
    return b;
}

static void bed_close(bed *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        cairn_replica_close(b->members[i].replica);
        cairn_disk_close(&b->members[i].disk);
    }
    while (b->first != NULL) {
        bed_letter *next = b->first->next;

        free(b->first);
        b->first = next;
    }
    free(b);
}

static void bed_deliver(bed *b)
{
    while (b->first != NULL) {
        bed_letter *l = b->first;

        b->first = l->next;
        if (b->first == NULL) {
            b->end = &b->first;
        }
        for (uint32_t i = 0; i < b->count; i++) {
            if (b->members[i].process == l->to && (b->passes == NULL || b->passes(b, l->from, l->to))) {
                CU_ASSERT_EQUAL(cairn_replica_message(b->members[i].replica, l->from, l->data, l->bytes, b->now),
                                CAIRN_OK);
            }
        }
        free(l);
    }
}

static void bed_round(bed *b)
{
    cairn_error error;

    b->now += BED_TICK;
    for (uint32_t i = 0; i < b->count; i++) {
        bed_member *m = &b->members[i];

        CU_ASSERT_EQUAL(cairn_replica_tick(m->replica, b->now), CAIRN_OK);
        if (m->wants_write) {
            m->wants_write = false;
            CU_ASSERT_EQUAL(cairn_replica_written(m->replica, cairn_replica_write(m->replica, &error), b->now),
                            CAIRN_OK);
        }
    }
    bed_deliver(b);
}

static bed_member *bed_leader(bed *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        if (mp_is_leader(cairn_replica_core(b->members[i].replica))) {
            return &b->members[i];
        }
    }
    return NULL;
}

static void bed_send(bed *b, bed_member *to, const cairn_question *question)
{
    cairn_pack pack = {0};
    static uint64_t tags;

    cairn_request_encode(&pack, question);
    b->answered = false;
    CU_ASSERT_EQUAL(cairn_replica_ask(to->replica, ++tags, pack.data, pack.bytes, b->now), CAIRN_OK);
    free(pack.data);
}

/* Until it is answered; the answer is in *b. */
static cairn_status bed_ask(bed *b, const cairn_question *question)
{
    bed_send(b, &b->members[0], question);
    for (int i = 0; i < 20000 && !b->answered; i++) {
        bed_round(b);
    }
    CU_ASSERT_TRUE_FATAL(b->answered);
    return b->status;
}

static void bed_put(bed *b, uint64_t session, uint64_t sequence, const char *key, const char *value)
{
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value, .bytes = strlen(value), .lease = session};
    cairn_question question = {.op = CAIRN_OP_TXN,
                               .flags = session == 0 ? CAIRN_REQUEST_REPEAT : 0,
                               .session = session,
                               .sequence = sequence,
                               .key = "",
                               .txn = {.then = &put, .then_count = 1}};

    CU_ASSERT_EQUAL(bed_ask(b, &question), CAIRN_OK);
}

static const char *bed_get(bed *b, const char *key)
{
    cairn_question question = {.op = CAIRN_OP_READ, .key = key, .number = 1};

    return bed_ask(b, &question) == CAIRN_OK ? b->value : "";
}

static uint64_t bed_session(bed *b, uint64_t nonce)
{
    cairn_question question = {.op = CAIRN_OP_OPEN, .ttl = 60.0, .nonce = nonce, .key = ""};

    CU_ASSERT_EQUAL(bed_ask(b, &question), CAIRN_OK);
    return b->number;
}

#endif
