/* The recovery core, rule by rule: one rank is given events by hand and what it asks for is compared.
 *
 * Goal: each event and output of recovery.h holds for itself, also in the corners that a random run meets rarely. What
 * the rules are good for together is the simulator's. */
#include "recovery/recovery.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define MOST 8 /* processes, ranks */

static rc *core;
static rc_output got;
static uint32_t count, ranks;

typedef struct given_view {
    rc_view view;
    uint32_t carrier[MOST];
    uint8_t out[MOST];
} given_view;

/* Every step is followed by the invariants. */
static void step(rc_event event)
{
    const char *broken = NULL;

    rc_step(core, &event, &got);
    if (!rc_check(core, &broken)) {
        printf("\n%s\n", broken);
        CU_FAIL("invariant");
    }
}

static bool is_quiet(void)
{
    return !got.install && !got.fenced && !got.propose && !got.ready && !got.resume && got.hopeless == RC_HOPE;
}

static void begin(uint32_t process_count, uint32_t rank_count, uint32_t self)
{
    count = process_count;
    ranks = rank_count;
    free(core);
    core = rc_init(malloc(rc_bytes(count, ranks)), count, ranks, self);
    memset(&got, 0, sizeof got);
}

static void started(void)
{
    step((rc_event){.kind = RC_STARTED});
}

static void leads(bool yes)
{
    step((rc_event){.kind = RC_LEADS, .yes = yes});
}

static void suspect(uint32_t rank)
{
    step((rc_event){.kind = RC_SUSPECT, .rank = rank, .yes = true});
    CU_ASSERT_FALSE(got.propose);
    step((rc_event){.kind = RC_LOOKED});
}

static void trust(uint32_t rank)
{
    step((rc_event){.kind = RC_SUSPECT, .rank = rank, .yes = false});
    step((rc_event){.kind = RC_LOOKED});
}

static void committed(uint64_t number)
{
    step((rc_event){.kind = RC_COMMITTED, .number = number});
}

static void refused(void)
{
    step((rc_event){.kind = RC_REFUSED});
}

static void restored(uint64_t view)
{
    step((rc_event){.kind = RC_RESTORED, .number = view});
}

static void ready(uint32_t rank, uint64_t view)
{
    step((rc_event){.kind = RC_READY, .rank = rank, .number = view});
}

/* A leader of a launch that has begun, with a snapshot to go back to. */
static void begin_leader(uint32_t process_count, uint32_t rank_count, uint32_t self)
{
    begin(process_count, rank_count, self);
    started();
    committed(5);
    leads(true);
}

/* The view that moves `process` to the rank `to`, made from the one given. */
static void move(given_view *v, uint32_t process, uint32_t to)
{
    v->out[v->carrier[process]] = 1;
    v->carrier[process] = to;
}

static given_view view_of(uint32_t number, uint64_t snapshot)
{
    given_view v = {.view = {.number = number, .snapshot = snapshot}};

    for (uint32_t i = 0; i < count; i++) {
        v.carrier[i] = i;
    }
    return v;
}

/* The core keeps nothing of what it was given. */
static void chosen(given_view v)
{
    v.view.carrier = v.carrier;
    v.view.out = v.out;
    step((rc_event){.kind = RC_CHOSEN, .view = &v.view});
    memset(&v, 0xff, sizeof v);
}

/* What the leader proposed is chosen. */
static void chosen_as_proposed(void)
{
    const rc_view *proposal = rc_proposal(core);
    given_view v = {.view = {.number = proposal->number, .snapshot = proposal->snapshot}};

    memcpy(v.carrier, proposal->carrier, count * sizeof v.carrier[0]);
    memcpy(v.out, proposal->out, ranks);
    chosen(v);
}

/* ---------------------------------------------------------------- as launched */

static void test_launched(void)
{
    begin(3, 5, 1);
    CU_ASSERT_TRUE(rc_check(core, NULL));
    CU_ASSERT_TRUE(rc_running(core));
    CU_ASSERT_EQUAL(rc_process(core), 1);
    CU_ASSERT_EQUAL(rc_lost(core), RC_NONE);
    CU_ASSERT_EQUAL(rc_current(core)->number, 0);
    CU_ASSERT_EQUAL(rc_current(core)->snapshot, 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rc_current(core)->carrier[i], i);
    }
    begin(3, 5, 4);
    CU_ASSERT_FALSE(rc_running(core));
    CU_ASSERT_EQUAL(rc_process(core), RC_NONE);
}

/* What is not legal now, or names no rank, changes nothing and says nothing. */
static void test_nothing(void)
{
    begin_leader(2, 3, 0);
    suspect(3);
    CU_ASSERT_TRUE(is_quiet());
    suspect(RC_NONE);
    CU_ASSERT_TRUE(is_quiet());
    suspect(0); /* itself */
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_lost(core), RC_NONE);
    ready(7, 1);
    CU_ASSERT_TRUE(is_quiet());
    ready(0, 1); /* its own word counts only from RESTORED */
    CU_ASSERT_TRUE(is_quiet());
    restored(0);
    CU_ASSERT_TRUE(is_quiet());
    restored(1);
    CU_ASSERT_TRUE(is_quiet());
    refused();
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_TRUE(rc_running(core));
}

/* ---------------------------------------------------------------- the leader proposes */

static void test_one_suspected(void)
{
    const rc_view *proposal;

    begin_leader(3, 5, 0);
    suspect(1);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_FALSE(got.install);
    CU_ASSERT_EQUAL(rc_lost(core), 1);
    proposal = rc_proposal(core);
    CU_ASSERT_EQUAL(proposal->number, 1);
    CU_ASSERT_EQUAL(proposal->snapshot, 5);
    CU_ASSERT_EQUAL(proposal->carrier[0], 0);
    CU_ASSERT_EQUAL(proposal->carrier[1], 3);
    CU_ASSERT_EQUAL(proposal->carrier[2], 2);
    CU_ASSERT_EQUAL(proposal->out[1], 1);
    CU_ASSERT_EQUAL(proposal->out[0] + proposal->out[2] + proposal->out[3] + proposal->out[4], 0);
    CU_ASSERT_EQUAL(rc_current(core)->number, 0); /* proposed is not chosen */
    CU_ASSERT_TRUE(rc_running(core));
}

static void test_several_suspected(void)
{
    begin(4, 7, 0);
    started();
    committed(2);
    suspect(1);
    CU_ASSERT_TRUE(is_quiet());
    suspect(3);
    suspect(2);
    leads(true);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 0);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 4);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[2], 5);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[3], 6);
}

static void test_trusted_in_time(void)
{
    begin(2, 3, 0);
    started();
    committed(2);
    suspect(1);
    trust(1);
    CU_ASSERT_EQUAL(rc_lost(core), RC_NONE);
    leads(true);
    CU_ASSERT_TRUE(is_quiet());
}

/* Too late: the proposal is on its way, and what was suspected is out when it is chosen. */
static void test_trusted_too_late(void)
{
    begin_leader(2, 3, 0);
    suspect(1);
    CU_ASSERT_TRUE(got.propose);
    trust(1);
    CU_ASSERT_TRUE(is_quiet());
    chosen_as_proposed();
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_EQUAL(rc_current(core)->out[1], 1);
    CU_ASSERT_EQUAL(rc_current(core)->carrier[1], 2);
}

static void test_spares_in_order(void)
{
    begin_leader(2, 6, 0);
    suspect(1);
    chosen_as_proposed();
    CU_ASSERT_EQUAL(rc_current(core)->carrier[1], 2);
    suspect(2);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
    chosen_as_proposed();
    trust(1); /* they are back, and stay out */
    trust(2);
    suspect(3);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 4);
    chosen_as_proposed();
    CU_ASSERT_EQUAL(rc_current(core)->number, 3);
    CU_ASSERT_EQUAL(rc_current(core)->out[1] + rc_current(core)->out[2] + rc_current(core)->out[3], 3);
}

static void test_suspected_spare(void)
{
    begin_leader(2, 5, 0);
    suspect(2); /* a spare: nothing is lost yet */
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_lost(core), RC_NONE);
    suspect(1);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
    CU_ASSERT_EQUAL(rc_proposal(core)->out[2], 0); /* passed over, not given up */
    chosen_as_proposed();
    trust(2);
    suspect(3);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 2);
}

/* The leader may be a spare, and take the place itself. */
static void test_leader_is_spare(void)
{
    begin_leader(2, 3, 2);
    suspect(0);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 2);
    chosen_as_proposed();
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_EQUAL(rc_process(core), 0);
}

static void test_only_the_leader(void)
{
    begin(2, 3, 0);
    started();
    committed(5);
    suspect(1);
    CU_ASSERT_TRUE(is_quiet());
    leads(true);
    CU_ASSERT_TRUE(got.propose);
    leads(false);
    refused();
    CU_ASSERT_TRUE(is_quiet());
    leads(true);
    suspect(1); /* its proposal of the time before may be chosen yet: the log tells them apart */
    CU_ASSERT_TRUE(got.propose);
}

/* What it suspected when it led before: nobody has told it who is heard of again since. */
static void test_leads_again(void)
{
    begin_leader(2, 3, 0);
    suspect(1);
    CU_ASSERT_TRUE(got.propose);
    leads(false);
    CU_ASSERT_EQUAL(rc_lost(core), RC_NONE);
    leads(true);
    CU_ASSERT_TRUE(is_quiet());
    suspect(1);
    CU_ASSERT_TRUE(got.propose);
    leads(true); /* to be told twice changes nothing */
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_lost(core), 1);
}

static void test_only_when_started(void)
{
    begin(2, 3, 0);
    committed(5);
    leads(true);
    suspect(1);
    CU_ASSERT_TRUE(is_quiet());
    started();
    CU_ASSERT_TRUE(got.propose);
    /* Who learns of a view knows that the launch had begun. */
    begin(2, 4, 0);
    leads(true);
    given_view v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    suspect(2);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5);
}

static void test_one_at_a_time(void)
{
    begin_leader(3, 6, 0);
    suspect(1);
    CU_ASSERT_TRUE(got.propose);
    suspect(2);
    CU_ASSERT_TRUE(is_quiet());
    committed(6);
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5); /* the one that is on its way is left alone */
    chosen_as_proposed();
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_TRUE(got.propose); /* at once, for the other one */
    CU_ASSERT_EQUAL(rc_proposal(core)->number, 2);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 6);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[2], 4);
}

static void test_refused(void)
{
    begin_leader(3, 6, 0);
    suspect(1);
    suspect(2);
    committed(6);
    refused();
    CU_ASSERT_TRUE(got.propose); /* with what is known by now */
    CU_ASSERT_EQUAL(rc_proposal(core)->number, 1);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 6);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[2], 4);
    trust(1);
    trust(2);
    refused();
    CU_ASSERT_TRUE(is_quiet());
}

/* Another's view was chosen meanwhile, and helps. The answer to its own proposal comes later. */
static void test_overtaken(void)
{
    given_view v;

    begin_leader(2, 5, 0);
    suspect(1);
    v = view_of(1, 4);
    move(&v, 1, 4);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_FALSE(got.propose);
    CU_ASSERT_EQUAL(rc_current(core)->carrier[1], 4);
    refused();
    CU_ASSERT_TRUE(is_quiet());
    suspect(4);
    CU_ASSERT_EQUAL(rc_proposal(core)->number, 2);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 2);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5); /* it knows of a newer one than the view's */
}

/* Never back to before what an earlier view went back to, even when this rank has not heard of that snapshot. */
static void test_snapshots_grow(void)
{
    given_view v;

    begin_leader(2, 5, 0);
    v = view_of(1, 9);
    move(&v, 1, 2);
    chosen(v);
    committed(7);
    suspect(2);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 9);
    committed(3);
    refused();
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 9);
    committed(UINT64_C(1) << 40);
    refused();
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, UINT64_C(1) << 40);
}

/* ---------------------------------------------------------------- no hope */

static void test_no_spare(void)
{
    given_view v;

    begin_leader(3, 4, 0);
    suspect(3);
    suspect(1);
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SPARE);
    CU_ASSERT_FALSE(got.propose);
    CU_ASSERT_EQUAL(rc_lost(core), 1);
    suspect(1);
    CU_ASSERT_TRUE(is_quiet()); /* said once */
    committed(6);
    CU_ASSERT_TRUE(is_quiet());
    trust(3); /* there is hope again */
    CU_ASSERT_TRUE(got.propose);
    v = view_of(1, 6);
    move(&v, 1, 3);
    chosen(v);
    CU_ASSERT_FALSE(got.propose);
    suspect(2); /* another view: said again */
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SPARE);
    CU_ASSERT_EQUAL(rc_lost(core), 2);
    suspect(2);
    CU_ASSERT_TRUE(is_quiet());
}

/* One spare for two: neither gets it. */
static void test_too_few_spares(void)
{
    begin(3, 4, 0);
    started();
    committed(5);
    suspect(1);
    suspect(2);
    leads(true);
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SPARE);
    CU_ASSERT_FALSE(got.propose);
    trust(2);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
}

static void test_no_snapshot(void)
{
    begin(2, 3, 0);
    started();
    leads(true);
    suspect(1);
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SNAPSHOT);
    CU_ASSERT_FALSE(got.propose);
    suspect(1);
    CU_ASSERT_TRUE(is_quiet());
    committed(1);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 1);
    begin(2, 3, 0); /* who does not lead says nothing */
    started();
    suspect(1);
    CU_ASSERT_TRUE(is_quiet());
}

/* ---------------------------------------------------------------- a view is chosen */

static void test_recovery(void)
{
    given_view v;

    begin(3, 4, 0);
    v = view_of(1, 5);
    move(&v, 2, 3);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_FALSE(got.fenced || got.ready || got.resume || got.propose);
    CU_ASSERT_FALSE(rc_running(core));
    CU_ASSERT_EQUAL(rc_process(core), 0);
    CU_ASSERT_EQUAL(rc_current(core)->number, 1);
    CU_ASSERT_EQUAL(rc_current(core)->snapshot, 5);
    chosen(v); /* once is enough */
    CU_ASSERT_TRUE(is_quiet());
    ready(1, 1);
    CU_ASSERT_TRUE(is_quiet());
    restored(1);
    CU_ASSERT_TRUE(got.ready);
    CU_ASSERT_FALSE(got.resume);
    restored(1);
    CU_ASSERT_TRUE(is_quiet());
    ready(2, 1); /* it is out, and does not know */
    CU_ASSERT_TRUE(is_quiet());
    ready(3, 1);
    CU_ASSERT_TRUE(got.resume);
    CU_ASSERT_FALSE(got.ready);
    CU_ASSERT_TRUE(rc_running(core));
    ready(3, 1);
    CU_ASSERT_TRUE(is_quiet());
}

/* The last one to be READY says so and goes on at once. */
static void test_last_to_be_ready(void)
{
    given_view v;

    begin(2, 3, 0);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    ready(2, 1);
    restored(1);
    CU_ASSERT_TRUE(got.ready);
    CU_ASSERT_TRUE(got.resume);
    begin(1, 2, 1); /* one process alone waits for nobody */
    v = view_of(1, 5);
    move(&v, 0, 1);
    chosen(v);
    CU_ASSERT_EQUAL(rc_process(core), 0);
    restored(1);
    CU_ASSERT_TRUE(got.ready && got.resume);
}

/* Others may learn of the view, and be done with it, before this rank has heard of it. */
static void test_ready_before_installed(void)
{
    given_view v;

    begin(2, 3, 2);
    ready(0, 1);
    CU_ASSERT_TRUE(is_quiet());
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_FALSE(got.resume);
    CU_ASSERT_EQUAL(rc_process(core), 1);
    restored(1);
    CU_ASSERT_TRUE(got.ready && got.resume);
}

static void test_two_in_one_view(void)
{
    begin(3, 5, 2);
    started();
    committed(4);
    leads(true);
    step((rc_event){.kind = RC_SUSPECT, .rank = 0, .yes = true});
    step((rc_event){.kind = RC_SUSPECT, .rank = 1, .yes = true});
    CU_ASSERT_FALSE(got.propose);
    step((rc_event){.kind = RC_LOOKED});
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 3);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 4);
}

/* The leader itself may be. */
static void test_reserved(void)
{
    begin(2, 4, 3);
    started();
    committed(4);
    step((rc_event){.kind = RC_RESERVED, .rank = 3, .yes = true});
    step((rc_event){.kind = RC_RESERVED, .rank = 4, .yes = true}); /* there is none */
    leads(true);
    suspect(0);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 2);
    suspect(2);
    refused();
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SPARE);
    step((rc_event){.kind = RC_RESERVED, .rank = 3, .yes = false});
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 3);
}

/* Once, so that it goes round and ends. */
static void test_begun_is_passed_on(void)
{
    begin(2, 3, 2);
    started();
    CU_ASSERT_TRUE(got.begun);
    started();
    CU_ASSERT_FALSE(got.begun);
}

static void test_begun_is_known_from_a_view(void)
{
    uint32_t carrier[] = {0, 2};
    uint8_t out[] = {0, 1, 0};
    rc_view view = {.number = 1, .snapshot = 7, .carrier = carrier, .out = out};

    begin(2, 3, 0);
    step((rc_event){.kind = RC_CHOSEN, .view = &view});
    CU_ASSERT_FALSE(got.begun);
    started();
    CU_ASSERT_FALSE(got.begun);
}

static void test_ready_for_old_views(void)
{
    given_view v;

    begin(2, 5, 0);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    v.view.number = 2;
    move(&v, 1, 3);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    restored(2);
    CU_ASSERT_TRUE(got.ready);
    CU_ASSERT_FALSE(got.resume);
    ready(3, 1);
    CU_ASSERT_TRUE(is_quiet());
    ready(3, 0);
    CU_ASSERT_TRUE(is_quiet());
    ready(3, 2);
    CU_ASSERT_TRUE(got.resume);
    ready(3, 1); /* an older word does not take a newer one back */
    v.view.number = 3;
    move(&v, 0, 4);
    CU_ASSERT_TRUE(rc_running(core));
}

/* Who is READY for a newer view has forgotten this one: nobody goes on in it. */
static void test_ready_for_a_newer_view(void)
{
    given_view v;

    begin(2, 5, 0);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    ready(2, 2);
    restored(1);
    CU_ASSERT_TRUE(got.ready);
    CU_ASSERT_FALSE(got.resume);
    v.view.number = 2;
    v.out[4] = 1;
    chosen(v);
    restored(2);
    CU_ASSERT_TRUE(got.ready && got.resume);
}

/* A newer view in the middle: what was restored for the older one is not enough. */
static void test_restored_too_late(void)
{
    given_view v;

    begin(2, 5, 0);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    v.view.number = 2;
    move(&v, 1, 3);
    chosen(v);
    restored(1);
    CU_ASSERT_TRUE(is_quiet());
    restored(3);
    CU_ASSERT_TRUE(is_quiet());
    restored(2);
    CU_ASSERT_TRUE(got.ready);
    v.view.number = 3; /* READY, then another */
    move(&v, 1, 4);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    ready(4, 2);
    ready(4, 3);
    CU_ASSERT_TRUE(is_quiet());
    restored(3);
    CU_ASSERT_TRUE(got.ready && got.resume);
}

static void test_views_skipped(void)
{
    given_view one, two;

    begin(2, 4, 0);
    one = view_of(1, 5);
    move(&one, 1, 2);
    two = one;
    two.view.number = 2;
    two.view.snapshot = 6;
    move(&two, 1, 3);
    chosen(two);
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_EQUAL(rc_current(core)->number, 2);
    CU_ASSERT_EQUAL(rc_current(core)->carrier[1], 3);
    CU_ASSERT_EQUAL(rc_current(core)->out[1] + rc_current(core)->out[2], 2);
    chosen(one); /* an older one, or none that is new */
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_current(core)->number, 2);
    chosen(view_of(0, 0));
    CU_ASSERT_TRUE(is_quiet());
}

/* A spare that stays one takes part in nothing, and knows the view all the same. */
static void test_spare_stays_spare(void)
{
    given_view v;

    begin(2, 5, 4);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    CU_ASSERT_TRUE(got.install);
    CU_ASSERT_EQUAL(rc_process(core), RC_NONE);
    restored(1);
    CU_ASSERT_TRUE(is_quiet());
    ready(0, 1);
    ready(2, 1);
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_FALSE(rc_running(core));
    leads(true);
    suspect(2);
    CU_ASSERT_TRUE(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 3);
}

static void test_fenced(void)
{
    given_view v;

    begin_leader(2, 5, 1);
    v = view_of(1, 5);
    move(&v, 1, 2);
    chosen(v);
    CU_ASSERT_TRUE(got.fenced);
    CU_ASSERT_FALSE(got.propose || got.ready || got.resume);
    CU_ASSERT_FALSE(rc_running(core));
    CU_ASSERT_EQUAL(rc_process(core), RC_NONE);
    suspect(0); /* not another word, though it was the leader */
    CU_ASSERT_TRUE(is_quiet());
    restored(1);
    CU_ASSERT_TRUE(is_quiet());
    v.view.number = 2;
    move(&v, 0, 3);
    chosen(v);
    CU_ASSERT_TRUE(is_quiet());
    CU_ASSERT_EQUAL(rc_current(core)->number, 1);
    /* A process that stays silent about a proposal of its own that went wrong. */
    begin_leader(2, 5, 1);
    suspect(0);
    CU_ASSERT_TRUE(got.propose);
    chosen(v);
    CU_ASSERT_TRUE(got.fenced);
    refused();
    CU_ASSERT_TRUE(is_quiet());
}

/* ---------------------------------------------------------------- as bytes */

static void test_bytes(void)
{
    uint8_t bytes[128];
    given_view v, back = {0};
    size_t size;

    begin(3, 6, 0);
    v = view_of(258, (UINT64_C(7) << 32) + 9);
    move(&v, 1, 4);
    v.out[5] = 1;
    v.view.carrier = v.carrier;
    v.view.out = v.out;
    back.view.carrier = back.carrier;
    back.view.out = back.out;
    size = rc_view_bytes(3, 6);
    CU_ASSERT_EQUAL(size, 6 * 4 + 3 * 4 + 6);
    memset(bytes, 0xee, sizeof bytes);
    rc_view_put(bytes, &v.view, 3, 6);
    CU_ASSERT_EQUAL(bytes[size], 0xee);
    CU_ASSERT_EQUAL(memcmp(bytes, "VIEW\3\0\0\0\6\0\0\0\2\1\0\0\11\0\0\0\7\0\0\0", 24), 0);
    CU_ASSERT_TRUE(rc_view_get(bytes, size, 3, 6, &back.view));
    CU_ASSERT_EQUAL(back.view.number, 258);
    CU_ASSERT_EQUAL(back.view.snapshot, (UINT64_C(7) << 32) + 9);
    CU_ASSERT_EQUAL(memcmp(back.carrier, v.carrier, sizeof v.carrier), 0);
    CU_ASSERT_EQUAL(memcmp(back.out, v.out, sizeof v.out), 0);
}

static bool can_get(const given_view *v)
{
    uint8_t bytes[128];
    given_view back = {0};
    rc_view view = {.number = v->view.number, .snapshot = v->view.snapshot};
    uint32_t carrier[MOST];
    uint8_t out[MOST];

    memcpy(carrier, v->carrier, sizeof carrier);
    memcpy(out, v->out, sizeof out);
    view.carrier = carrier;
    view.out = out;
    back.view.carrier = back.carrier;
    back.view.out = back.out;
    rc_view_put(bytes, &view, count, ranks);
    return rc_view_get(bytes, rc_view_bytes(count, ranks), count, ranks, &back.view);
}

static void test_bytes_unsound(void)
{
    given_view v;

    begin(3, 6, 0);
    v = view_of(0, 0);
    CU_ASSERT_TRUE(can_get(&v));
    v.view.snapshot = 1; /* view 0 goes back to nothing */
    CU_ASSERT_FALSE(can_get(&v));
    v.view.number = 1;
    CU_ASSERT_TRUE(can_get(&v));
    v.view.snapshot = 0; /* and all others to something */
    CU_ASSERT_FALSE(can_get(&v));
    v = view_of(1, 1);
    v.carrier[2] = 0; /* carries two */
    CU_ASSERT_FALSE(can_get(&v));
    v = view_of(1, 1);
    v.carrier[2] = 6; /* no such rank */
    CU_ASSERT_FALSE(can_get(&v));
    v.carrier[2] = RC_NONE;
    CU_ASSERT_FALSE(can_get(&v));
    v = view_of(1, 1);
    v.out[1] = 1; /* out, and carries */
    CU_ASSERT_FALSE(can_get(&v));
    v.carrier[1] = 5;
    CU_ASSERT_TRUE(can_get(&v));
}

static void test_bytes_of_another_shape(void)
{
    uint8_t bytes[128] = {0};
    given_view v, back = {0};
    size_t size;

    begin(3, 6, 0);
    v = view_of(1, 1);
    v.view.carrier = v.carrier;
    v.view.out = v.out;
    back.view.carrier = back.carrier;
    back.view.out = back.out;
    size = rc_view_bytes(3, 6);
    rc_view_put(bytes, &v.view, 3, 6);
    CU_ASSERT_FALSE(rc_view_get(bytes, size - 1, 3, 6, &back.view));
    CU_ASSERT_FALSE(rc_view_get(bytes, size + 1, 3, 6, &back.view));
    CU_ASSERT_FALSE(rc_view_get(bytes, 0, 3, 6, &back.view));
    /* As long, and of 2 processes on 10 ranks, or of 4 on 2. */
    CU_ASSERT_EQUAL(rc_view_bytes(2, 10), size);
    CU_ASSERT_FALSE(rc_view_get(bytes, size, 2, 10, &back.view));
    for (int i = 0; i < 12; i++) { /* magic, count, ranks */
        bytes[i] ^= 0x10;
        CU_ASSERT_FALSE(rc_view_get(bytes, size, 3, 6, &back.view));
        bytes[i] ^= 0x10;
    }
    CU_ASSERT_TRUE(rc_view_get(bytes, size, 3, 6, &back.view));
}

/* ---------------------------------------------------------------- the check itself */

/* rc_check sees views that no log of ours would hold. */
static void test_check(void)
{
    const char *broken = NULL;
    given_view v;

    for (int what = 0; what < 4; what++) {
        rc_event event = {.kind = RC_CHOSEN, .view = &v.view};

        begin(3, 6, 0);
        CU_ASSERT_TRUE(rc_check(core, &broken));
        CU_ASSERT_PTR_NULL(broken);
        v = view_of(1, 1);
        v.view.carrier = v.carrier;
        v.view.out = v.out;
        if (what == 0) {
            v.carrier[1] = 2;
        } else if (what == 1) {
            v.out[2] = 1;
        } else if (what == 2) {
            v.view.snapshot = 0;
        }
        rc_step(core, &event, &got);
        CU_ASSERT_EQUAL(rc_check(core, &broken), what == 3);
        CU_ASSERT_EQUAL(broken == NULL, what == 3);
        CU_ASSERT_EQUAL(rc_check(core, NULL), what == 3);
    }
}

/* A snapshot that a carrier cannot have any more: all go back to an older one. */
static void test_void(void)
{
    given_view v;

    begin_leader(2, 3, 0);
    committed(9);
    suspect(1);
    CU_ASSERT(got.propose);
    chosen_as_proposed();
    CU_ASSERT_EQUAL(rc_current(core)->snapshot, 9);
    step((rc_event){.kind = RC_VOID, .number = 8, .older = 5}); /* not the view's */
    CU_ASSERT(is_quiet());
    step((rc_event){.kind = RC_VOID, .number = 9, .older = 9}); /* not older */
    step((rc_event){.kind = RC_VOID, .number = 9});             /* there is none */
    CU_ASSERT(is_quiet());
    step((rc_event){.kind = RC_VOID, .number = 9, .older = 5});
    CU_ASSERT(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5);
    CU_ASSERT_EQUAL(rc_proposal(core)->number, 2);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[0], 0);
    CU_ASSERT_EQUAL(rc_proposal(core)->carrier[1], 2);          /* the same carriers */
    committed(9);                                               /* the log still has it */
    step((rc_event){.kind = RC_VOID, .number = 9, .older = 5}); /* said again */
    CU_ASSERT(is_quiet());
    refused();
    CU_ASSERT(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5);
    chosen_as_proposed();
    CU_ASSERT(got.install);
    CU_ASSERT_EQUAL(rc_current(core)->snapshot, 5);
    CU_ASSERT(is_quiet() || !got.propose);
    committed(11); /* newer ones count again */
    suspect(2);
    CU_ASSERT_EQUAL(got.hopeless, RC_NO_SPARE);
    begin(2, 3, 1); /* who does not lead only remembers */
    started();
    committed(9);
    v = view_of(1, 9);
    move(&v, 0, 2);
    chosen(v);
    step((rc_event){.kind = RC_VOID, .number = 9, .older = 4});
    CU_ASSERT(is_quiet());
    leads(true);
    CU_ASSERT(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 4);
}

/* Who has not heard that it is void installs the older one, and goes on from there. */
static void test_void_elsewhere(void)
{
    given_view v;

    begin(2, 4, 0);
    started();
    committed(9);
    v = view_of(1, 9);
    move(&v, 1, 2);
    chosen(v);
    v.view.number = 2;
    v.view.snapshot = 5;
    chosen(v);
    CU_ASSERT(got.install);
    leads(true);
    suspect(2);
    CU_ASSERT(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5);
}

/* Nor does it count what it knew of for who has skipped the view that the snapshot was lost in (found by the simulator). */
static void test_void_skipped(void)
{
    given_view v;

    begin(2, 5, 0);
    started();
    committed(9);
    v = view_of(2, 5);
    move(&v, 1, 2);
    chosen(v);
    CU_ASSERT(got.install);
    leads(true);
    suspect(2);
    CU_ASSERT(got.propose);
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 5);
    refused();
    committed(11); /* what it is told from then on does */
    refused();
    CU_ASSERT_EQUAL(rc_proposal(core)->snapshot, 11);
}

UNIT_MAIN("recovery", {"a snapshot that is void", test_void}, {"... elsewhere", test_void_elsewhere},
          {"a lost snapshot of a view that was skipped", test_void_skipped}, {"as launched", test_launched},
          {"what is not legal changes nothing", test_nothing}, {"one carrier is suspected", test_one_suspected},
          {"several are", test_several_suspected}, {"trusted before the proposal", test_trusted_in_time},
          {"trusted after it", test_trusted_too_late},
          {"spares are used in order and never twice", test_spares_in_order},
          {"a suspected spare is passed over", test_suspected_spare}, {"the leader is a spare", test_leader_is_spare},
          {"only the leader proposes", test_only_the_leader}, {"a leader again", test_leads_again},
          {"only once all have begun", test_only_when_started}, {"one proposal at a time", test_one_at_a_time},
          {"a refused proposal is tried again", test_refused}, {"another's view overtakes", test_overtaken},
          {"snapshots never go back", test_snapshots_grow}, {"no spare: hopeless, once a view", test_no_spare},
          {"one spare for two", test_too_few_spares}, {"no snapshot: hopeless, once a view", test_no_snapshot},
          {"a recovery", test_recovery}, {"the last one to be ready", test_last_to_be_ready},
          {"ready before it was installed", test_ready_before_installed}, {"two in one view", test_two_in_one_view},
          {"reserved", test_reserved}, {"begun is passed on", test_begun_is_passed_on},
          {"begun is known from a view", test_begun_is_known_from_a_view},
          {"ready for old views", test_ready_for_old_views}, {"ready for a newer view", test_ready_for_a_newer_view},
          {"restored too late", test_restored_too_late}, {"views skipped", test_views_skipped},
          {"a spare that stays one", test_spare_stays_spare}, {"fenced", test_fenced}, {"as bytes", test_bytes},
          {"bytes of no sound view", test_bytes_unsound}, {"bytes of another shape", test_bytes_of_another_shape},
          {"what rc_check sees", test_check})
