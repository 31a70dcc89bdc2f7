/* Goal: one value is chosen in each of the situations that a lecture on Paxos goes through, and what could choose a
 * second one is refused.
 * Method: three processes, each acceptor, proposer and learner, on a table: the test says which packet arrives when,
 * who dies and what his disk has kept. tests/sim/explore_single.c does it in every order there is. */
#include "paxos/single.h"
#include "support/unit.h"

#include <string.h>

enum { COUNT = 3, PACKETS = 256, ALL = COUNT };

typedef struct packet {
    uint32_t from, to;
    px_message message;
    bool gone;
} packet;

typedef struct process {
    px_acceptor acceptor;
    px_proposer proposer;
    px_learner learner;
    px_record record; /* the disk */
    px_ballot used;
    bool dead;
    bool slow; /* the acceptor's disk is: writes stay pending until disk_done */
    bool pending;
    px_record written;
} process;

typedef struct table {
    process processes[COUNT];
    packet packets[PACKETS];
    uint32_t packet_count;
} table;

static void init(table *t)
{
    memset(t, 0, sizeof *t);
    for (uint32_t p = 0; p < COUNT; p++) {
        px_acceptor_init(&t->processes[p].acceptor, NULL);
        px_proposer_init(&t->processes[p].proposer, p, COUNT, PX_NONE);
        px_learner_init(&t->processes[p].learner, COUNT);
    }
}

static void post(table *t, uint32_t from, const px_output *out)
{
    bool to_all = out->to == PX_TO_ACCEPTORS || out->to == PX_TO_LEARNERS;

    if (!out->send) {
        return;
    }
    for (uint32_t to = 0; to < COUNT; to++) {
        if (to_all || to == out->to) {
            CU_ASSERT_FATAL(t->packet_count < PACKETS);
            t->packets[t->packet_count++] = (packet){.from = from, .to = to, .message = out->message};
        }
    }
}

/* The safety of section 2.1, as far as the learners can tell. */
static void check(const table *t)
{
    const px_proposal *first = NULL;

    for (uint32_t p = 0; p < COUNT; p++) {
        const process *one = &t->processes[p];

        CU_ASSERT_FATAL(px_acceptor_check(&one->acceptor) && px_proposer_check(&one->proposer) &&
                        px_learner_check(&one->learner));
        if (one->learner.chosen.ballot != PX_NONE) {
            first = first == NULL ? &one->learner.chosen : first;
            CU_ASSERT_FATAL(one->learner.chosen.value == first->value);
        }
    }
}

static void disk_done(table *t, uint32_t p)
{
    process *one = &t->processes[p];
    px_output out;

    CU_ASSERT_FATAL(one->pending);
    one->pending = false;
    one->record = one->written;
    px_acceptor_step(&one->acceptor, &(px_event){.kind = PX_PERSISTED}, &out);
    CU_ASSERT(!out.persist && out.send);
    post(t, p, &out);
    check(t);
}

static void step_acceptor(table *t, uint32_t p, const px_event *event)
{
    process *one = &t->processes[p];
    px_output out;

    px_acceptor_step(&one->acceptor, event, &out);
    CU_ASSERT_FATAL(!(out.persist && out.send)); /* nothing goes out before it is durable */
    post(t, p, &out);
    if (out.persist) {
        one->pending = true;
        one->written = out.record;
        if (!one->slow) {
            disk_done(t, p);
        }
    }
}

static void step_proposer(table *t, uint32_t p, const px_event *event)
{
    process *one = &t->processes[p];
    px_output out;

    px_proposer_step(&one->proposer, event, &out);
    CU_ASSERT_FATAL(!(out.persist && out.send));
    post(t, p, &out);
    if (out.persist) {
        CU_ASSERT(out.used > one->used);
        one->used = out.used;
        step_proposer(t, p, &(px_event){.kind = PX_PERSISTED});
    }
}

static void give(table *t, const packet *what)
{
    process *one = &t->processes[what->to];
    px_event event = {.kind = PX_MESSAGE, .from = what->from, .message = what->message};
    px_output out;

    if (one->dead) {
        return;
    }
    step_acceptor(t, what->to, &event);
    step_proposer(t, what->to, &event);
    px_learner_step(&one->learner, &event, &out);
    CU_ASSERT(!out.learned || one->learner.chosen.ballot != PX_NONE);
    check(t);
}

/* The packets of this kind from `from` to `to` (ALL: any) arrive, in the order of sending. How many there were. */
static uint32_t deliver(table *t, px_kind kind, uint32_t from, uint32_t to)
{
    uint32_t count = 0, sent = t->packet_count;

    for (uint32_t i = 0; i < sent; i++) {
        packet *one = &t->packets[i];

        if (!one->gone && one->message.kind == kind && (from == ALL || one->from == from) &&
            (to == ALL || one->to == to)) {
            one->gone = true;
            give(t, one);
            count++;
        }
    }
    return count;
}

static void lose_all(table *t)
{
    for (uint32_t i = 0; i < t->packet_count; i++) {
        t->packets[i].gone = true;
    }
}

/* Everything that is under way arrives, and what comes of it. */
static void settle(table *t)
{
    for (uint32_t i = 0; i < t->packet_count; i++) {
        if (!t->packets[i].gone) {
            t->packets[i].gone = true;
            give(t, &t->packets[i]);
        }
    }
}

static void begin(table *t, uint32_t p, px_value value)
{
    step_proposer(t, p, &(px_event){.kind = PX_BEGIN, .value = value});
}

static void die(table *t, uint32_t p)
{
    t->processes[p].dead = true;
}

static void restart(table *t, uint32_t p)
{
    process *one = &t->processes[p];

    one->dead = one->pending = false;
    px_acceptor_init(&one->acceptor, &one->record);
    px_proposer_init(&one->proposer, p, COUNT, one->used);
    px_learner_init(&one->learner, COUNT);
}

static bool knows(const table *t, uint32_t p, px_value value)
{
    const px_learner *learner = &t->processes[p].learner;

    return learner->chosen.ballot != PX_NONE && learner->chosen.value == value;
}

static bool nobody_knows(const table *t)
{
    return t->processes[0].learner.chosen.ballot == PX_NONE && t->processes[1].learner.chosen.ballot == PX_NONE &&
           t->processes[2].learner.chosen.ballot == PX_NONE;
}

static void everybody_alive(void)
{
    table t;
    init(&t);
    begin(&t, 0, 70);
    CU_ASSERT(deliver(&t, PX_PREPARE, 0, ALL) == 3);
    CU_ASSERT(deliver(&t, PX_PROMISE, ALL, 0) == 3);
    CU_ASSERT(deliver(&t, PX_ACCEPT, 0, ALL) == 3); /* one accept request: the third promise makes no second one */
    CU_ASSERT(nobody_knows(&t));
    CU_ASSERT(deliver(&t, PX_ACCEPTED, ALL, ALL) == 9);
    CU_ASSERT(knows(&t, 0, 70) && knows(&t, 1, 70) && knows(&t, 2, 70));
    /* Who proposes now gets what is chosen. */
    begin(&t, 2, 90);
    settle(&t);
    CU_ASSERT(t.processes[2].proposer.issued.value == 70 && t.processes[2].proposer.issued.ballot > px_ballot_of(1, 0));
    CU_ASSERT(t.processes[1].record.accepted.ballot == px_ballot_of(1, 2));
}

static void a_minority_is_dead(void)
{
    table t;
    init(&t);
    die(&t, 2);
    begin(&t, 0, 70);
    settle(&t);
    CU_ASSERT(knows(&t, 0, 70) && knows(&t, 1, 70));
    init(&t);
    die(&t, 1);
    die(&t, 2);
    begin(&t, 0, 70);
    settle(&t);
    CU_ASSERT(nobody_knows(&t) && t.processes[0].proposer.phase == PX_PHASE_1);
}

static void proposer_dies_after_phase_1(void)
{
    table t;
    init(&t);
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, ALL);
    deliver(&t, PX_PROMISE, ALL, 0);
    die(&t, 0);
    lose_all(&t);
    begin(&t, 1, 80); /* its ballot (1, 1) is above (1, 0) */
    settle(&t);
    CU_ASSERT(knows(&t, 1, 80) && knows(&t, 2, 80)); /* nothing was accepted: it was free to choose */
    /* The dead one comes back with its accept request still in the network. */
    restart(&t, 0);
    px_proposal old = {.ballot = px_ballot_of(1, 0), .value = 70};
    give(&t, &(packet){0, 1, {.kind = PX_ACCEPT, .ballot = old.ballot, .proposal = old}, false});
    CU_ASSERT(t.processes[1].record.accepted.value == 80);
    begin(&t, 0, 70);
    settle(&t); /* (2, 0) is above all: no refusal */
    CU_ASSERT(knows(&t, 0, 80) && t.processes[0].proposer.issued.value == 80);
}

static void proposer_dies_when_its_value_is_chosen_and_nobody_knows(void)
{
    table t;
    init(&t);
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, ALL);
    deliver(&t, PX_PROMISE, ALL, 0);
    CU_ASSERT(deliver(&t, PX_ACCEPT, 0, 0) == 1 && deliver(&t, PX_ACCEPT, 0, 1) == 1); /* a majority: 0 and 1 */
    die(&t, 0);
    lose_all(&t);
    CU_ASSERT(nobody_knows(&t));
    begin(&t, 2, 90); /* 2 has not accepted anything; 1 has */
    settle(&t);
    CU_ASSERT(knows(&t, 1, 70) && knows(&t, 2, 70));
}

static void proposer_dies_when_a_minority_has_accepted(void)
{
    /* The majority of the next ballot may contain that acceptor: then its value is taken ... */
    table t;
    init(&t);
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, ALL);
    deliver(&t, PX_PROMISE, ALL, 0);
    deliver(&t, PX_ACCEPT, 0, 1);
    die(&t, 0);
    lose_all(&t);
    begin(&t, 2, 90);
    settle(&t);
    CU_ASSERT(knows(&t, 1, 70) && knows(&t, 2, 70));
    /* ... or not: then another value is chosen, and the acceptor's is overwritten later. */
    init(&t);
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, ALL);
    deliver(&t, PX_PROMISE, ALL, 0);
    deliver(&t, PX_ACCEPT, 0, 0);
    die(&t, 0);
    lose_all(&t);
    begin(&t, 2, 90);
    settle(&t);
    CU_ASSERT(knows(&t, 1, 90) && knows(&t, 2, 90));
    restart(&t, 0);
    CU_ASSERT(t.processes[0].record.accepted.value == 70);
    begin(&t, 0, 70);
    settle(&t); /* (2, 0): hears of 70 at (1, 0) and of 90 at (1, 2), the higher */
    CU_ASSERT(knows(&t, 0, 90) && t.processes[0].record.accepted.value == 90);
}

/* Section 2.4: two proposers each prepare before the other's accept requests arrive. */
static void duelling_proposers(void)
{
    table t;
    init(&t);
    for (uint32_t round = 0; round < 10; round++) {
        uint32_t p = round % 2;

        begin(&t, p, 70 + p);
        CU_ASSERT(deliver(&t, PX_PREPARE, p, ALL) == 3);
        deliver(&t, PX_PROMISE, ALL, p);
        CU_ASSERT(t.processes[p].proposer.phase == PX_PHASE_2);
        if (round > 0) { /* only now the accept requests of the other one: too late */
            CU_ASSERT(deliver(&t, PX_ACCEPT, 1 - p, ALL) == 3);
            CU_ASSERT(deliver(&t, PX_REFUSED, ALL, 1 - p) == 3);
            CU_ASSERT(t.processes[1 - p].proposer.phase == PX_IDLE);
        }
    }
    CU_ASSERT(nobody_knows(&t) && deliver(&t, PX_ACCEPTED, ALL, ALL) == 0);
    lose_all(&t); /* the other one gives up: with one distinguished proposer it ends */
    begin(&t, 0, 70);
    settle(&t);
    CU_ASSERT(knows(&t, 0, 70) && knows(&t, 1, 70) && knows(&t, 2, 70));
    CU_ASSERT(px_round(t.processes[0].proposer.ballot) >= 6);
}

static void acceptor_restarts_between_promise_and_accept(void)
{
    table t;
    init(&t);
    begin(&t, 1, 80);
    deliver(&t, PX_PREPARE, 1, ALL);
    deliver(&t, PX_PROMISE, ALL, 1);
    restart(&t, 0);
    restart(&t, 2);
    CU_ASSERT(t.processes[0].acceptor.stable.promised == px_ballot_of(1, 1));
    /* It has promised (1, 1) before it died: nothing lower is accepted or promised. */
    px_proposal lower = {.ballot = px_ballot_of(1, 0), .value = 70};
    for (uint32_t p = 0; p < COUNT; p++) {
        give(&t, &(packet){0, p, {.kind = PX_PREPARE, .ballot = lower.ballot}, false});
        give(&t, &(packet){0, p, {.kind = PX_ACCEPT, .ballot = lower.ballot, .proposal = lower}, false});
        CU_ASSERT(t.processes[p].record.accepted.ballot == PX_NONE);
    }
    CU_ASSERT(deliver(&t, PX_REFUSED, ALL, 0) == 6);
    settle(&t); /* and the accept request that it has promised to wait for is good */
    CU_ASSERT(knows(&t, 0, 80) && knows(&t, 1, 80) && knows(&t, 2, 80));
}

static void acceptor_dies_while_it_writes(void)
{
    table t;
    init(&t);
    for (uint32_t p = 0; p < COUNT; p++) {
        t.processes[p].slow = true;
    }
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, ALL);
    CU_ASSERT(deliver(&t, PX_PROMISE, ALL, ALL) == 0); /* nobody's is durable */
    restart(&t, 2);                                    /* what it was writing is lost: it never promised anything */
    CU_ASSERT(t.processes[2].acceptor.stable.promised == PX_NONE);
    disk_done(&t, 0);
    disk_done(&t, 1);
    CU_ASSERT(deliver(&t, PX_PROMISE, ALL, 0) == 2);
    deliver(&t, PX_ACCEPT, 0, ALL);
    CU_ASSERT(deliver(&t, PX_ACCEPTED, ALL, ALL) == 0);
    disk_done(&t, 0);
    CU_ASSERT(deliver(&t, PX_ACCEPTED, ALL, ALL) == 3);
    t.processes[1].record = t.processes[1].written; /* the write was done, but it died before it could say so */
    restart(&t, 1);
    CU_ASSERT(nobody_knows(&t));
    for (uint32_t p = 0; p < COUNT; p++) {
        t.processes[p].slow = false;
    }
    restart(&t, 2);
    die(&t, 0);
    begin(&t, 2, 90); /* 70 is chosen, by the disks of 0 and 1 */
    settle(&t);
    CU_ASSERT(knows(&t, 2, 70));
}

static void requests_during_a_write_are_ignored(void)
{
    table t;
    init(&t);
    t.processes[1].slow = true;
    begin(&t, 0, 70);
    deliver(&t, PX_PREPARE, 0, 1);
    begin(&t, 2, 90);
    deliver(&t, PX_PREPARE, 2, 1);
    disk_done(&t, 1);
    CU_ASSERT(t.processes[1].record.promised == px_ballot_of(1, 0) && deliver(&t, PX_PROMISE, 1, 0) == 1);
    CU_ASSERT(!t.processes[1].pending && deliver(&t, PX_PROMISE, 1, 2) == 0);
    px_output out; /* a second PERSISTED says nothing twice */
    px_acceptor_step(&t.processes[1].acceptor, &(px_event){.kind = PX_PERSISTED}, &out);
    CU_ASSERT(!out.send && !out.persist);
}

static void lower_ballots(void)
{
    table t;
    init(&t);
    begin(&t, 2, 90);
    CU_ASSERT(deliver(&t, PX_PREPARE, 2, ALL) == 3);
    begin(&t, 0, 70); /* (1, 0) is below (1, 2) */
    CU_ASSERT(deliver(&t, PX_PREPARE, 0, ALL) == 3);
    CU_ASSERT(deliver(&t, PX_PROMISE, ALL, 0) == 0 && deliver(&t, PX_REFUSED, ALL, 0) == 3);
    CU_ASSERT(t.processes[0].proposer.phase == PX_IDLE && t.processes[0].proposer.seen == px_ballot_of(1, 2));
    begin(&t, 0, 70);
    CU_ASSERT(t.processes[0].proposer.ballot == px_ballot_of(2, 0));
    lose_all(&t);
    /* A ballot that is none is refused, and the largest one is the end, not a turn to small ones. */
    give(&t, &(packet){0, 1, {.kind = PX_PREPARE, .ballot = PX_NONE}, false});
    give(&t, &(packet){0, 1, {.kind = PX_ACCEPT}, false});
    give(&t, &(packet){1, 0, {.kind = PX_ACCEPTED}, false});
    give(&t, &(packet){2, 0, {.kind = PX_ACCEPTED}, false});
    CU_ASSERT(t.processes[1].record.promised == px_ballot_of(1, 2) && nobody_knows(&t));
    px_message full = {.kind = PX_REFUSED, .ballot = px_ballot_of(2, 0), .promised = px_ballot_of(PX_ROUND_MAX, 1)};
    give(&t, &(packet){1, 0, full, false});
    begin(&t, 0, 70);
    CU_ASSERT(t.processes[0].proposer.ballot == px_ballot_of(2, 0) && t.processes[0].proposer.phase == PX_IDLE);
}

static void a_restarted_proposer_never_uses_a_ballot_twice(void)
{
    table t;
    init(&t);
    begin(&t, 0, 70);
    CU_ASSERT(t.processes[0].used == px_ballot_of(1, 0));
    CU_ASSERT(deliver(&t, PX_PREPARE, 0, 1) == 1 && deliver(&t, PX_PREPARE, 0, 2) == 1);
    restart(&t, 0);
    begin(&t, 0, 71);
    CU_ASSERT(t.processes[0].proposer.ballot == px_ballot_of(2, 0));
    /* The promises to (1, 0) do not count for (2, 0). */
    CU_ASSERT(deliver(&t, PX_PROMISE, ALL, 0) == 2 && t.processes[0].proposer.phase == PX_PHASE_1);
    CU_ASSERT(t.processes[0].proposer.promises == 0);
    /* While the number is being made durable nothing is sent, and nothing else begun. */
    px_proposer one;
    px_output out;
    px_proposer_init(&one, 0, COUNT, PX_NONE);
    px_proposer_step(&one, &(px_event){.kind = PX_BEGIN, .value = 1}, &out);
    CU_ASSERT(out.persist && !out.send && out.used == px_ballot_of(1, 0));
    px_proposer_step(&one, &(px_event){.kind = PX_BEGIN, .value = 2}, &out);
    CU_ASSERT(!out.persist && !out.send && one.wish == 1);
    px_proposer_step(&one, &(px_event){.kind = PX_PERSISTED}, &out);
    CU_ASSERT(!out.persist && out.send && out.message.kind == PX_PREPARE);
}

static px_event accepted_at(uint32_t from, uint64_t round, px_value value)
{
    px_proposal proposal = {.ballot = px_ballot_of(round, 0), .value = value};

    return (px_event){.kind = PX_MESSAGE,
                      .from = from,
                      .message = {.kind = PX_ACCEPTED, .ballot = proposal.ballot, .proposal = proposal}};
}

static void learner_needs_a_majority_at_one_ballot(void)
{
    px_learner learner;
    px_output out;
    const px_event story[] = {
        accepted_at(0, 1, 70), accepted_at(0, 1, 70), /* the same acceptor twice is one */
        accepted_at(1, 2, 80),                        /* two acceptors, two ballots */
        accepted_at(1, 1, 70),                        /* late: 1 has accepted at 2 since */
        accepted_at(9, 2, 80),                        /* no acceptor */
    };
    px_learner_init(&learner, COUNT);
    for (size_t i = 0; i < sizeof story / sizeof story[0]; i++) {
        px_learner_step(&learner, &story[i], &out);
        CU_ASSERT(!out.learned && learner.chosen.ballot == PX_NONE);
    }
    px_learner_step(&learner, &(px_event){.kind = PX_PERSISTED}, &out);
    const px_event last = accepted_at(2, 2, 80), later = accepted_at(0, 3, 80);
    px_learner_step(&learner, &last, &out);
    CU_ASSERT(out.learned && learner.chosen.value == 80 && px_learner_check(&learner));
    px_learner_step(&learner, &last, &out);
    CU_ASSERT(!out.learned);
    px_learner_step(&learner, &later, &out);
    CU_ASSERT(!out.learned && learner.chosen.ballot == px_ballot_of(2, 0) && px_learner_check(&learner));
}

/* Every packet arrives, in any order, up to three times; some are lost; everybody begins now and then. */
static void duplicates_and_reordering(void)
{
    uint64_t x = 0x2545f4914f6cdd1du;
    uint32_t chosen = 0;
    table t;

    for (uint32_t run = 0; run < 2000; run++) {
        init(&t);
        for (uint32_t i = 0; i < 60; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            uint32_t pick = (uint32_t)(x >> 32) % (t.packet_count + 1), p = (uint32_t)x % COUNT;

            if (t.packet_count < 4 || x >> 60 == 0) {
                begin(&t, p, 70 + p);
            } else if (x >> 58 == 63) {
                restart(&t, p);
            } else if (pick < t.packet_count && t.packet_count < PACKETS - 20) {
                packet copy = t.packets[pick];
                give(&t, &copy);
            }
        }
        chosen += !nobody_knows(&t);
    }
    CU_ASSERT(chosen > 200); /* or the orders were of no use */
}

UNIT_MAIN("single-decree Paxos", {"everybody is alive", everybody_alive},
          {"a minority of the acceptors is dead", a_minority_is_dead},
          {"a proposer dies after phase 1", proposer_dies_after_phase_1},
          {"a proposer dies in phase 2: its value is chosen, nobody knows",
           proposer_dies_when_its_value_is_chosen_and_nobody_knows},
          {"a proposer dies in phase 2: a minority has accepted", proposer_dies_when_a_minority_has_accepted},
          {"duelling proposers", duelling_proposers},
          {"an acceptor restarts between promise and accept", acceptor_restarts_between_promise_and_accept},
          {"an acceptor dies while it writes", acceptor_dies_while_it_writes},
          {"requests during a write are ignored", requests_during_a_write_are_ignored},
          {"messages of a lower ballot", lower_ballots},
          {"a restarted proposer never uses a ballot twice", a_restarted_proposer_never_uses_a_ballot_twice},
          {"a learner needs a majority at one ballot", learner_needs_a_majority_at_one_ballot},
          {"duplicates and reordering", duplicates_and_reordering})
