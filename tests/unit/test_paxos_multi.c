/* Goal: what is chosen stays what it is when a leader meets slots that others have chosen: values that it knows, or
 * that it did not propose.
 * Method: the real cores on a table: the test says who hears whom, whose clock runs and who restarts from what its log
 * has kept. Disks are quick: what is written is durable at once. tests/sim does it in random orders. */
#include "paxos/log.h"
#include "paxos/multi.h"
#include "support/fake_disk.h"
#include "support/unit.h"

#include <string.h>

enum {
    MOST = 6,
    POSTED = 512,
    RECORDS = 128,
    VALUE_MAX = 64,
    SLOTS = 32,
    HEARTBEAT = 10000, /* microseconds */
    ELECTION = 60000
};

typedef struct letter {
    uint32_t from, to;
    mp_message message;
    char values[MP_VOTES_MAX][VALUE_MAX];
} letter;

typedef struct kept {
    mp_record record;
    char value[VALUE_MAX];
} kept;

typedef struct process {
    mp_options options;
    mp *core;
    uint64_t now;
    kept log[RECORDS];
    uint32_t records;
    uint64_t noted, durable;          /* numbers of records, in this life */
    uint64_t applied, looked, jumped; /* jumped: the slot of an image */
} process;

typedef struct table {
    process processes[MOST];
    uint32_t count;
    bool hears[MOST][MOST]; /* [to][from] */
    letter posted[POSTED];
    uint32_t first, end;
    char chosen[SLOTS][VALUE_MAX + 2]; /* type, value */
} table;

static table t;

/* --- a process ---------------------------------------------------------------------------------------------------- */

static void post(uint32_t from, const mp_send *send)
{
    for (uint32_t to = 0; to < t.count; to++) {
        bool acceptor = to < t.processes[0].options.acceptor_count;
        bool wanted = send->to == to || send->to == MP_TO_ALL || (send->to == MP_TO_ACCEPTORS && acceptor) ||
                      (send->to == MP_TO_LEARNERS && !acceptor);
        letter *l = &t.posted[t.end % POSTED];

        if (!wanted || to == from || !t.hears[to][from]) {
            continue;
        }
        CU_ASSERT_FATAL(t.end++ - t.first < POSTED);
        *l = (letter){.from = from, .to = to, .message = send->message};
        for (uint32_t i = 0; i < l->message.vote_count; i++) {
            mp_value *value = &l->message.votes[i].value;

            if (value->bytes > 0) {
                memcpy(l->values[i], value->data, value->bytes);
            }
            value->data = l->values[i];
        }
    }
}

static void keep(process *p, const mp_record *record)
{
    kept *k = &p->log[p->records];

    CU_ASSERT_FATAL(p->records++ < RECORDS);
    k->record = *record;
    if (record->value.bytes > 0) {
        memcpy(k->value, record->value.data, record->value.bytes);
    }
    k->record.value.data = k->value;
    p->noted = record->number;
}

/* Agreement: whatever anybody knows to be chosen is the same. */
static void look(process *p)
{
    while (p->looked < mp_chosen(p->core)) {
        mp_value value = mp_value_at(p->core, ++p->looked);
        char *chosen = t.chosen[p->looked];
        char here[VALUE_MAX + 2] = {(char)value.type};

        CU_ASSERT_FATAL(p->looked < SLOTS && value.type != 0);
        memcpy(here + 1, value.data, value.bytes);
        if (chosen[0] == 0) {
            memcpy(chosen, here, sizeof here);
        } else if (memcmp(chosen, here, sizeof here) != 0) {
            fprintf(stderr, "slot %llu: %u takes %d '%s' for chosen, before it was %d '%s'\n",
                    (unsigned long long)p->looked, p->options.self, here[0], here + 1, chosen[0], chosen + 1);
            CU_FAIL("two values are chosen");
        }
    }
}

static void carry_out(process *p, mp_output *out)
{
    for (uint32_t i = 0; i < out->record_count; i++) {
        keep(p, &out->records[i]);
    }
    for (uint32_t i = 0; i < out->send_count; i++) {
        post(p->options.self, &out->sends[i]);
    }
}

/* An event and all that must follow it at once. */
static void step(process *p, mp_event event)
{
    static mp_output out;
    const char *broken = NULL;

    event.now = p->now;
    do {
        mp_step(p->core, &event, &out);
        carry_out(p, &out);
        look(p);
        event = (mp_event){.now = p->now};
        if (out.again) {
            event.kind = MP_AGAIN;
        } else if (p->durable < p->noted) {
            event.kind = MP_PERSISTED;
            event.number = p->durable = p->noted;
        } else if (p->applied < mp_chosen(p->core)) {
            event.kind = MP_APPLIED;
            event.number = p->applied = mp_chosen(p->core);
        }
    } while (event.kind != 0);
    if (!mp_check(p->core, &broken)) {
        fprintf(stderr, "%u: %s\n", p->options.self, broken);
        CU_FAIL("an invariant is broken");
    }
}

static void begin(uint32_t count, uint32_t acceptors)
{
    memset(&t, 0, sizeof t);
    t.count = count;
    for (uint32_t i = 0; i < count; i++) {
        process *p = &t.processes[i];
        mp_options *o = &p->options;

        *o = (mp_options){.self = i,
                          .count = count,
                          .acceptor_count = acceptors,
                          .window = 16,
                          .value_max = VALUE_MAX,
                          .pipeline = 8,
                          .heartbeat = HEARTBEAT,
                          .election = ELECTION,
                          .seed = i + 1,
                          .storage = i + 1,
                          .first = i == 0};
        for (uint32_t j = 0; j < acceptors; j++) {
            o->acceptors[j] = j;
        }
        p->core = mp_init(calloc(1, mp_bytes(o)), o, p->now);
        memset(t.hears[i], 1, sizeof t.hears[i]);
    }
}

static void end(void)
{
    for (uint32_t i = 0; i < t.count; i++) {
        free(t.processes[i].core);
    }
}

/* It dies, and comes back with what its log has. */
static void restart(uint32_t id)
{
    process *p = &t.processes[id];

    free(p->core);
    p->options.first = false;
    p->core = mp_init(calloc(1, mp_bytes(&p->options)), &p->options, p->now);
    for (uint32_t i = 0; i < p->records; i++) {
        CU_ASSERT_FATAL(mp_restore_chosen(p->core, p->log[i].record.chosen));
        mp_restore_applied(p->core, mp_chosen(p->core));
        CU_ASSERT_FATAL(mp_restore_record(p->core, &p->log[i].record));
    }
    p->noted = p->durable = 0;
    p->applied = p->looked = mp_chosen(p->core);
}

/* --- what happens ------------------------------------------------------------------------------------------------- */

static void deliver(void)
{
    while (t.first < t.end) {
        letter l = t.posted[t.first++ % POSTED];

        for (uint32_t i = 0; i < l.message.vote_count; i++) {
            l.message.votes[i].value.data = l.values[i];
        }
        if (t.hears[l.to][l.from]) {
            step(&t.processes[l.to], (mp_event){.kind = MP_MESSAGE, .from = l.from, .message = &l.message});
        }
    }
}

/* The clocks of these processes (bits) run. */
static void run(uint32_t who, uint64_t microseconds)
{
    for (uint64_t passed = 0; passed < microseconds; passed += HEARTBEAT / 4) {
        for (uint32_t i = 0; i < t.count; i++) {
            if ((who >> i & 1) != 0) {
                t.processes[i].now += HEARTBEAT / 4;
                step(&t.processes[i], (mp_event){.kind = MP_TICK});
            }
        }
        deliver();
    }
}

static bool propose(uint32_t id, const char *text)
{
    if (!mp_may_propose(t.processes[id].core)) {
        return false;
    }
    step(&t.processes[id],
         (mp_event){.kind = MP_PROPOSE, .value = {.type = MP_COMMANDS, .bytes = (uint32_t)strlen(text), .data = text}});
    deliver();
    return true;
}

/* Who is of the same side (bits) hears each other, nobody else. */
static void part(uint32_t side)
{
    for (uint32_t to = 0; to < t.count; to++) {
        for (uint32_t from = 0; from < t.count; from++) {
            t.hears[to][from] = (side >> to & 1) == (side >> from & 1);
        }
    }
}

static void learn(uint32_t id, uint32_t from, uint64_t slot, uint64_t chosen)
{
    mp_message m = {.kind = MP_LEARN,
                    .ballot = mp_ballot(t.processes[from].core),
                    .generation = 1,
                    .chosen = chosen,
                    .vote_count = 1,
                    .votes = {{.slot = slot, .ballot = PX_CHOSEN, .value = mp_value_at(t.processes[from].core, slot)}}};

    CU_ASSERT_FATAL(m.votes[0].value.type != 0);
    step(&t.processes[id], (mp_event){.kind = MP_MESSAGE, .from = from, .message = &m});
    deliver();
}

/* What a leader asked it to accept comes late. */
static void accept(uint32_t id, uint32_t from, uint64_t slot, const char *text)
{
    px_ballot ballot = mp_ballot(t.processes[from].core);
    mp_message m = {.kind = MP_ACCEPT,
                    .ballot = ballot,
                    .generation = 1,
                    .chosen = 1,
                    .vote_count = 1,
                    .votes = {{slot, ballot, {MP_COMMANDS, (uint32_t)strlen(text), text}}}};

    step(&t.processes[id], (mp_event){.kind = MP_MESSAGE, .from = from, .message = &m});
    deliver();
}

static void install(uint32_t id, uint64_t slot)
{
    process *p = &t.processes[id];

    p->jumped = p->applied = p->looked = slot;
    step(p, (mp_event){.kind = MP_INSTALLED, .number = slot});
}

static bool has(uint32_t id, uint64_t slot, const char *text)
{
    mp_value value = mp_value_at(t.processes[id].core, slot);

    return value.type == MP_COMMANDS && value.bytes == strlen(text) && memcmp(value.data, text, value.bytes) == 0;
}

/* What cairn_log_read finds of a slot when all records of this process are in a log. */
static bool log_has(uint32_t id, uint64_t slot, const char *text)
{
    fake_disk *disk = fake_disk_new(1);
    cairn_disk face = fake_disk_face(disk);
    cairn_log_options options = {.segment_bytes = 1 << 16, .value_max = VALUE_MAX};
    const process *p = &t.processes[id];
    cairn_error error = {CAIRN_OK, ""};
    char buffer[VALUE_MAX];
    cairn_log *log = NULL;
    mp_value value = {0};

    CU_ASSERT_FATAL(cairn_log_create(&log, &face, &options, 7, &error) == CAIRN_OK);
    for (uint32_t i = 0; i < p->records; i++) {
        CU_ASSERT(cairn_log_append(log, &p->log[i].record) == CAIRN_OK);
    }
    CU_ASSERT(cairn_log_seal(log) && cairn_log_write(log, &error) == CAIRN_OK);
    cairn_log_written(log, NULL);
    CU_ASSERT(cairn_log_read(log, slot, buffer, &value, &error) == CAIRN_OK);
    bool same = value.bytes == strlen(text) && memcmp(buffer, text, value.bytes) == 0;
    cairn_log_close(log);
    fake_disk_free(disk);
    return same;
}

/* --- the tests ---------------------------------------------------------------------------------------------------- */

/* 0 leads; then it is heard by 1 alone, which accepts x2, x3 and x4, while 2 leads the others, without whom nothing of 0
 * can be chosen any more: they have forgotten 0, or their clocks are quick. They choose slot 2, y3 and y4. */
static void begin_apart(void)
{
    begin(6, 5); /* 5 only learns */
    run(0x3f, 2 * HEARTBEAT);
    CU_ASSERT_FATAL(mp_is_leader(t.processes[0].core) && mp_chosen(t.processes[5].core) == 1);
    part(0x03);
    CU_ASSERT_FATAL(propose(0, "x2") && propose(0, "x3") && propose(0, "x4"));
    part(0x1c);
    run(0x1c, 4 * ELECTION);
    CU_ASSERT_FATAL(mp_is_leader(t.processes[2].core) && propose(2, "y3") && propose(2, "y4"));
    CU_ASSERT_FATAL(mp_chosen(t.processes[2].core) == 4 && has(2, 3, "y3"));
}

static void end_together(void)
{
    part(0x3f);
    run(0x3f, 6 * ELECTION);
    for (uint32_t i = 0; i < t.count; i++) {
        CU_ASSERT(mp_chosen(t.processes[i].core) >= 4 && (t.processes[i].jumped >= 3 || has(i, 3, "y3")));
    }
    end();
}

/* 0 learns slots 2 and 3, from the late answer to a question of its earlier days, before it has noticed that it lost
 * its majority. What it says of them at its own ballot 1 would take for its own votes of them: for x2 and x3. */
static void a_leader_that_others_went_past(void)
{
    begin_apart();
    part(0x03);
    learn(0, 2, 2, 3);
    learn(0, 2, 3, 3);
    run(0x03, 3 * HEARTBEAT);
    CU_ASSERT(mp_chosen(t.processes[0].core) == 3 && has(0, 3, "y3"));
    CU_ASSERT(!mp_is_leader(t.processes[0].core));
    end_together();
}

/* The same with an image of what 2 has. */
static void a_leader_that_installs_an_image(void)
{
    begin_apart();
    part(0x03);
    install(0, 3);
    CU_ASSERT(!mp_is_leader(t.processes[0].core));
    run(0x03, 3 * HEARTBEAT);
    end_together();
}

/* 5 has learned all that 2 had chosen, and answers a heartbeat of 0. So 0 asks for the first slot that it has not
 * proposed for, and learns it, and none of those before. */
static void a_leader_that_knows_a_slot_beyond_its_own(void)
{
    begin_apart();
    CU_ASSERT_FATAL(propose(2, "y5"));
    for (uint64_t slot = 2; slot <= 5; slot++) {
        learn(5, 2, slot, 5);
    }
    part(0x23);
    for (uint32_t before = t.processes[0].records; t.processes[0].records == before;) {
        run(0x23, HEARTBEAT / 4);
    }
    (void)propose(0, "x5");
    (void)propose(0, "x6");
    restart(0);
    /* Now it learns the others, and so knows what is chosen up to 5. */
    for (uint64_t slot = 2; slot <= 4; slot++) {
        learn(0, 2, slot, 5);
    }
    CU_ASSERT(mp_chosen(t.processes[0].core) == 5 && has(0, 5, "y5"));
    /* When slot 5 is no longer in memory its log is asked for it. */
    CU_ASSERT(log_has(0, 5, "y5"));
    end_together();
}

/* 4 does not hear the new leader, and has promised it nothing; but it has an image of what that one has. Then it hears
 * 0, who still leads, and asks it to accept something else for slots of the image. Nobody must learn that from 4. */
static void an_acceptor_that_knows_what_is_chosen(void)
{
    mp_message fetch = {.kind = MP_FETCH, .slot = 2};

    begin(6, 5);
    run(0x3f, 2 * HEARTBEAT);
    part(0x01);
    CU_ASSERT_FATAL(propose(0, "x2") && propose(0, "x3"));
    part(0x0e);
    run(0x0e, 6 * ELECTION);
    uint32_t leader = mp_is_leader(t.processes[1].core) ? 1 : mp_is_leader(t.processes[2].core) ? 2 : 3;
    CU_ASSERT_FATAL(propose(leader, "y3") && propose(leader, "y4") && mp_chosen(t.processes[leader].core) == 4);
    install(4, 3);
    accept(4, 0, 2, "x2");
    accept(4, 0, 3, "x3");
    part(0x30);
    step(&t.processes[4], (mp_event){.kind = MP_MESSAGE, .from = 5, .message = &fetch});
    deliver();
    CU_ASSERT(mp_chosen(t.processes[5].core) == 1);
    end_together();
}

static void a_leader_that_proposes_what_it_knows(void)
{
    begin(3, 3);
    run(0x7, 2 * HEARTBEAT);
    part(0x1);
    run(0x6, 4 * ELECTION);
    uint32_t leader = mp_is_leader(t.processes[1].core) ? 1 : 2;
    CU_ASSERT_FATAL(propose(leader, "y3") && mp_chosen(t.processes[leader].core) == 3);
    learn(0, leader, 3, 3); /* what told it of slot 2 got lost */
    restart(0);
    uint32_t before = t.processes[0].records;
    /* The leader is gone, and the other one lets 0 be elected. */
    part(1u << leader);
    t.processes[3 - leader].now += 2 * ELECTION;
    run(0x1, 4 * ELECTION);
    CU_ASSERT_FATAL(mp_is_leader(t.processes[0].core));
    CU_ASSERT(mp_chosen(t.processes[0].core) > 3 && mp_chosen(t.processes[3 - leader].core) > 3);
    CU_ASSERT(has(0, 3, "y3"));
    /* Once it is on disk that a slot is chosen no vote may come to stand before that: a log that is made shorter keeps
     * the newest record of a slot. */
    for (uint32_t i = before; i < t.processes[0].records; i++) {
        const mp_record *r = &t.processes[0].log[i].record;

        CU_ASSERT(r->kind != MP_RECORD_VOTE || r->slot != 3 || r->ballot == PX_CHOSEN);
    }
    part(0x7);
    run(0x7, 8 * ELECTION);
    for (uint32_t i = 0; i < t.count; i++) {
        CU_ASSERT(has(i, 3, "y3"));
    }
    end();
}

/* 2 hears no leader, but 1, which does: it cannot be elected, and learns from 1 what the others go on to choose. */
static void a_process_that_the_leader_does_not_reach(void)
{
    begin(3, 3);
    run(0x7, 2 * HEARTBEAT);
    CU_ASSERT_FATAL(mp_is_leader(t.processes[0].core));
    t.hears[2][0] = false;
    CU_ASSERT_FATAL(propose(0, "x2") && propose(0, "x3"));
    run(0x7, 4 * ELECTION);
    CU_ASSERT(mp_is_leader(t.processes[0].core) && mp_chosen(t.processes[0].core) == 3);
    CU_ASSERT(has(2, 2, "x2") && has(2, 3, "x3") && mp_chosen(t.processes[2].core) == 3);
    end();
}

UNIT_MAIN("Multi-Paxos", {"who does not hear the leader learns from others", a_process_that_the_leader_does_not_reach},
          {"a leader that others went past does not speak of what they chose", a_leader_that_others_went_past},
          {"the same with an image", a_leader_that_installs_an_image},
          {"nothing is voted for that is known to be chosen", an_acceptor_that_knows_what_is_chosen},
          {"a leader does not propose beyond what others chose", a_leader_that_knows_a_slot_beyond_its_own},
          {"what is known to be chosen is not voted for again", a_leader_that_proposes_what_it_knows})
