/* The snapshot core, rule by rule: one process `p` is given events by hand and what it asks for is compared.
 *
 * Goal: each rule of chandy_lamport.h holds for itself, also in the corners that a random run meets rarely: one process
 * alone, stale and illegal events, answers of an earlier round. What the rules are good for together is the
 * simulator's. */
#include "snapshot/chandy_lamport.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 7 /* numbers up to here were used by earlier launches */

static cl *p;
static cl_output got;

/* Every step is followed by the invariants. */
static void step(cl_event event)
{
    const char *broken = NULL;

    cl_step(p, &event, &got);
    if (!cl_check(p, &broken)) {
        printf("\n%s\n", broken);
        CU_FAIL("invariant");
    }
}

static void begin_process(uint32_t count, uint32_t self, uint32_t coordinator)
{
    free(p);
    p = cl_init(malloc(cl_bytes(count)), count, self, coordinator, NULL, NULL, FIRST);
    memset(&got, 0, sizeof got);
}

static void initiate(void)
{
    step((cl_event){.kind = CL_INITIATE});
}

static void arrive(uint64_t at)
{
    step((cl_event){.kind = CL_SAFEPOINT, .step = at});
}

static void leave(void)
{
    step((cl_event){.kind = CL_LEAVE});
}

static void data(uint32_t from)
{
    step((cl_event){.kind = CL_DATA, .peer = from});
}

static void hear(uint32_t from, cl_message_kind kind, uint64_t attempt, uint64_t at)
{
    cl_message message = {.kind = kind, .attempt = attempt, .step = at};

    step((cl_event){.kind = CL_MESSAGE, .peer = from, .message = message});
}

static void hear_abandon(uint32_t from, uint64_t attempt, cl_reason reason)
{
    cl_message message = {.kind = CL_MSG_ABANDON, .reason = reason, .attempt = attempt, .step = CL_NO_STEP};

    step((cl_event){.kind = CL_MESSAGE, .peer = from, .message = message});
}

static void durable(uint64_t attempt)
{
    step((cl_event){.kind = CL_PART_DURABLE, .attempt = attempt});
}

static bool is_quiet(void)
{
    return !got.discard && !got.hold && !got.in_cut && !got.record && !got.release && !got.send_markers &&
           !got.complete && !got.commit && !got.committed && got.send_count == 0;
}

/* The last step sent exactly this one message. */
static bool sent_only(uint32_t to, cl_message_kind kind, uint64_t attempt, uint64_t at)
{
    const cl_message *message = &got.sends[0].message;

    return got.send_count == 1 && got.sends[0].to == to && message->kind == (uint32_t)kind &&
           message->attempt == attempt && message->step == at;
}

static bool sent_abandon(uint64_t attempt, cl_reason reason)
{
    for (uint32_t i = 0; i < got.send_count; i++) {
        const cl_message *message = &got.sends[i].message;

        if (message->kind == CL_MSG_ABANDON && message->attempt == attempt) {
            return got.sends[i].to == CL_ALL && message->reason == (uint32_t)reason;
        }
    }
    return false;
}

static bool did_record(uint64_t attempt, uint64_t at)
{
    return got.record && got.release && got.attempt == attempt && got.cut_step == at;
}

static bool did_end(uint64_t attempt, cl_reason reason)
{
    return got.discard && got.release && got.ended == attempt && got.ended_reason == reason;
}

/* --- the paper's rules ---------------------------------------------------------------------------------- */

static void unaligned_initiator_records_at_once_and_sends_markers(void)
{
    begin_process(3, 1, 0);
    arrive(CL_NO_STEP);
    initiate();
    CU_ASSERT(did_record(8, CL_NO_STEP));
    CU_ASSERT(got.send_markers && !got.complete && got.send_count == 0);
    CU_ASSERT(cl_attempt(p) == 8 && cl_latest(p) == 8 && !cl_must_stay(p));
}

static void unaligned_initiator_inside_a_handler_waits_for_its_return(void)
{
    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    leave();
    initiate();
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    arrive(CL_NO_STEP);
    CU_ASSERT(did_record(8, CL_NO_STEP) && got.send_markers);
}

static void first_marker_holds_its_channel_until_the_next_safe_point(void)
{
    begin_process(3, 0, 0);
    arrive(CL_NO_STEP);
    leave();
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet() && cl_holds(p, 1) && !cl_holds(p, 2));
    data(1);
    CU_ASSERT(got.hold && !got.in_cut);
    data(2); /* not behind a marker: received before the cut */
    CU_ASSERT(!got.hold && !got.in_cut);
    arrive(CL_NO_STEP);
    CU_ASSERT(did_record(8, CL_NO_STEP) && got.send_markers && !got.complete);
    data(1); /* behind its marker, after the cut: neither held nor in it */
    CU_ASSERT(!got.hold && !got.in_cut && !cl_recording(p, 1));
    CU_ASSERT(cl_recording(p, 2));
    data(2); /* sent before its sender's cut, received after ours: in flight */
    CU_ASSERT(!got.hold && got.in_cut);
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.complete && got.attempt == 8 && !got.record);
    data(2);
    CU_ASSERT(!got.hold && !got.in_cut);
}

static void marker_at_a_safe_point_records_at_once(void)
{
    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(did_record(8, CL_NO_STEP) && got.send_markers && got.complete);
}

static void second_marker_of_a_channel_changes_nothing(void)
{
    begin_process(3, 0, 0);
    arrive(CL_NO_STEP);
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.record && !got.complete);
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet());
}

static void only_channels_that_exist_are_waited_for(void)
{
    const bool in[4] = {false, true, false, false};
    const bool out[4] = {false, false, false, true};

    free(p);
    p = cl_init(malloc(cl_bytes(4)), 4, 0, 0, in, out, FIRST);
    arrive(CL_NO_STEP);
    initiate();
    CU_ASSERT(got.record && got.send_markers && !got.complete);
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP); /* there is no such channel */
    CU_ASSERT(is_quiet());
    CU_ASSERT(!cl_recording(p, 2) && cl_recording(p, 1));
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.complete);
}

static void one_process_alone_is_its_own_snapshot(void)
{
    begin_process(1, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    CU_ASSERT(did_record(8, CL_NO_STEP) && !got.send_markers && got.complete && got.send_count == 0);
    durable(8);
    CU_ASSERT(got.commit && got.attempt == 8);
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(got.committed && got.attempt == 8 && cl_idle(p));
}

static void one_process_alone_with_steps_records_at_the_next_one(void)
{
    begin_process(1, 0, 0);
    arrive(3);
    leave();
    initiate();
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    arrive(4);
    CU_ASSERT(is_quiet() && !cl_must_stay(p));
    leave();
    arrive(5);
    CU_ASSERT(did_record(8, 5) && got.complete);
}

/* --- aligned mode --------------------------------------------------------------------------------------- */

static void initiator_asks_names_a_step_and_says_go(void)
{
    begin_process(3, 0, 0);
    arrive(10);
    initiate();
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_QUERY, 8, CL_NO_STEP));
    leave();
    hear(2, CL_MSG_PROGRESS, 8, 14);
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_PROGRESS, 8, 12);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_AT, 8, 15));
    hear(2, CL_MSG_ACCEPT, 8, 15);
    hear(2, CL_MSG_ACCEPT, 8, 15); /* twice counts once */
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_ACCEPT, 8, 15);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_GO, 8, 15));
    arrive(14);
    CU_ASSERT(is_quiet() && !cl_must_stay(p));
    leave();
    arrive(15);
    CU_ASSERT(did_record(8, 15) && got.send_markers);
}

static void initiator_counts_its_own_progress(void)
{
    begin_process(2, 0, 0);
    arrive(10);
    leave();
    initiate();
    hear(1, CL_MSG_PROGRESS, 8, 3);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_AT, 8, 12)); /* has passed 10, may be inside 11 */
}

static void passed_names_a_later_step_and_old_answers_do_not_count(void)
{
    begin_process(3, 0, 0);
    arrive(10);
    initiate();
    hear(1, CL_MSG_PROGRESS, 8, 10);
    hear(2, CL_MSG_PROGRESS, 8, 10);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_AT, 8, 11));
    hear(2, CL_MSG_PASSED, 8, 20);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_AT, 8, 22)); /* the lead has doubled */
    hear(1, CL_MSG_PASSED, 8, 15);                  /* answers the first round; 22 is later anyway */
    hear(1, CL_MSG_ACCEPT, 8, 11);
    hear(2, CL_MSG_ACCEPT, 8, 22);
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_ACCEPT, 8, 22);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_GO, 8, 22));
}

/* Place the cut of attempt `number` for two processes at step `at`; the follower has passed `passed` first, if not 0.
 * Then abandon it. The S is that of the last round. */
static uint64_t placed(uint64_t number, uint64_t at, uint64_t passed)
{
    uint64_t named;

    initiate();
    hear(1, CL_MSG_PROGRESS, number, at);
    named = got.sends[0].message.step;
    if (passed != 0) {
        hear(1, CL_MSG_PASSED, number, passed);
        named = got.sends[0].message.step;
    }
    hear(1, CL_MSG_ACCEPT, number, named);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_GO, number, named));
    hear_abandon(1, number, CL_REASON_FAILED);
    return named;
}

static void lead_doubles_when_passed_and_shrinks_again(void)
{
    uint64_t number = 8;
    uint64_t lead = 16;

    begin_process(2, 0, 0);
    arrive(10);
    CU_ASSERT_EQUAL(placed(number++, 10, 0), 11);
    CU_ASSERT_EQUAL(placed(number++, 10, 20), 22);
    CU_ASSERT_EQUAL(placed(number++, 10, 20), 22); /* 1 again in between */
    for (uint64_t i = 0; i < 40; i++) {
        CU_ASSERT(placed(number++, 10, 100) > 100);
    }
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t now = placed(number++, 10, 0) - 10;

        CU_ASSERT(i == 0 || now < lead || (now == 1 && lead == 1));
        lead = now;
    }
    CU_ASSERT_EQUAL(lead, 1);
}

static void follower_pledges_stalls_and_records_on_go(void)
{
    begin_process(2, 1, 0);
    arrive(4);
    leave();
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, 5));
    hear(0, CL_MSG_AT, 8, 6);
    CU_ASSERT(sent_only(0, CL_MSG_ACCEPT, 8, 6));
    arrive(5);
    CU_ASSERT(!cl_must_stay(p));
    leave();
    arrive(6);
    CU_ASSERT(is_quiet() && cl_must_stay(p));
    leave(); /* not legal: nothing changes */
    CU_ASSERT(cl_must_stay(p));
    hear(0, CL_MSG_GO, 8, 6);
    CU_ASSERT(did_record(8, 6) && got.send_markers && !cl_must_stay(p));
}

static void progress_says_the_lowest_step_not_passed(void)
{
    begin_process(2, 1, 0);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, 0)); /* no safe point yet */
    begin_process(2, 1, 0);
    arrive(4);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, 4)); /* at 4 */
    begin_process(2, 1, 0);
    cl_passed(p, 4);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, 5)); /* beyond 4 */
    begin_process(2, 1, 0);
    cl_passed(p, CL_NO_STEP);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, CL_NO_STEP));
}

static void follower_that_has_passed_says_so(void)
{
    begin_process(2, 1, 0);
    arrive(4);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    leave();
    arrive(5);
    leave();
    hear(0, CL_MSG_AT, 8, 5);
    CU_ASSERT(sent_only(0, CL_MSG_PASSED, 8, 6));
    hear(0, CL_MSG_AT, 8, 8);
    CU_ASSERT(sent_only(0, CL_MSG_ACCEPT, 8, 8));
    hear(0, CL_MSG_AT, 8, 7); /* of an earlier round, overtaken */
    CU_ASSERT(is_quiet());
    hear(0, CL_MSG_GO, 8, 7);
    arrive(8);
    CU_ASSERT(is_quiet() && cl_must_stay(p));
}

static void steps_may_have_gaps(void)
{
    begin_process(2, 1, 0);
    arrive(10);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    leave();
    arrive(20);
    hear(0, CL_MSG_AT, 8, 15); /* 20 is the first safe point >= 15, and it is not left */
    CU_ASSERT(sent_only(0, CL_MSG_ACCEPT, 8, 15) && cl_must_stay(p));
    hear(0, CL_MSG_GO, 8, 15);
    CU_ASSERT(did_record(8, 15));
}

static void marker_implies_go(void)
{
    begin_process(3, 1, 0);
    arrive(4);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    hear(0, CL_MSG_AT, 8, 5);
    leave();
    arrive(5);
    CU_ASSERT(cl_must_stay(p));
    hear(2, CL_MSG_MARKER, 8, 5);
    CU_ASSERT(did_record(8, 5));
    hear(0, CL_MSG_GO, 8, 5);
    CU_ASSERT(is_quiet());
}

static void marker_before_the_step_holds_until_the_step(void)
{
    begin_process(3, 1, 0);
    arrive(3);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    hear(0, CL_MSG_AT, 8, 5);
    leave();
    hear(2, CL_MSG_MARKER, 8, 5);
    data(2);
    CU_ASSERT(got.hold);
    arrive(4);
    CU_ASSERT(is_quiet() && !cl_must_stay(p));
    leave();
    arrive(5);
    CU_ASSERT(did_record(8, 5));
}

static void event_style_process_turns_the_attempt_unaligned(void)
{
    begin_process(3, 0, 0);
    arrive(10);
    initiate();
    hear(1, CL_MSG_PROGRESS, 8, CL_NO_STEP);
    CU_ASSERT(did_record(8, CL_NO_STEP) && got.send_markers);
    hear(2, CL_MSG_PROGRESS, 8, 4);
    CU_ASSERT(is_quiet());
    hear(2, CL_MSG_QUERY, 8, CL_NO_STEP); /* another initiator of it must learn that */
    CU_ASSERT(sent_only(2, CL_MSG_PROGRESS, 8, CL_NO_STEP));
}

/* --- several initiators --------------------------------------------------------------------------------- */

static void lower_initiator_ignores_a_higher_one(void)
{
    begin_process(3, 0, 0);
    arrive(1);
    initiate();
    hear(1, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_PROGRESS, 8, 1);
    hear(2, CL_MSG_PROGRESS, 8, 1);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_AT, 8, 2));
}

static void higher_initiator_stops_leading(void)
{
    begin_process(3, 2, 0);
    arrive(1);
    initiate();
    hear(1, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(1, CL_MSG_PROGRESS, 8, 1));
    hear(0, CL_MSG_PROGRESS, 8, 1);
    hear(1, CL_MSG_PROGRESS, 8, 1);
    CU_ASSERT(is_quiet()); /* answers to its own QUERY mean nothing any more */
    hear(1, CL_MSG_AT, 8, 2);
    CU_ASSERT(sent_only(1, CL_MSG_ACCEPT, 8, 2));
}

static void follower_answers_both_and_follows_the_lowest(void)
{
    begin_process(4, 3, 0);
    arrive(1);
    hear(2, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(2, CL_MSG_PROGRESS, 8, 1));
    hear(2, CL_MSG_AT, 8, 2);
    leave();
    arrive(2);
    CU_ASSERT(cl_must_stay(p));
    hear(1, CL_MSG_QUERY, 8, CL_NO_STEP); /* 2 will not say GO: its pledge ends */
    CU_ASSERT(sent_only(1, CL_MSG_PROGRESS, 8, 2) && !cl_must_stay(p));
    hear(2, CL_MSG_AT, 8, 5);
    CU_ASSERT(is_quiet());
    hear(2, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(2, CL_MSG_PROGRESS, 8, 2));
    hear(1, CL_MSG_AT, 8, 3);
    CU_ASSERT(sent_only(1, CL_MSG_ACCEPT, 8, 3));
    hear(2, CL_MSG_GO, 8, 3);
    leave();
    arrive(3);
    CU_ASSERT(is_quiet() && cl_must_stay(p));
    hear(1, CL_MSG_GO, 8, 3);
    CU_ASSERT(did_record(8, 3));
}

static void wish_before_the_first_safe_point_waits_for_it(void)
{
    begin_process(2, 0, 0);
    initiate();
    CU_ASSERT(is_quiet() && !cl_idle(p) && cl_attempt(p) == 0);
    arrive(0);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_QUERY, 8, CL_NO_STEP));
}

static void wish_is_merged_before_and_kept_after_the_record(void)
{
    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    leave();
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    initiate(); /* merged: this attempt will hold what happened until now */
    arrive(CL_NO_STEP);
    CU_ASSERT(got.record && got.complete);
    durable(8);
    CU_ASSERT(sent_only(0, CL_MSG_PART, 8, CL_NO_STEP));
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(got.committed && cl_idle(p));
    leave();
    hear(0, CL_MSG_MARKER, 9, CL_NO_STEP);
    arrive(CL_NO_STEP);
    leave();
    initiate(); /* kept: 9 has been recorded already */
    CU_ASSERT(is_quiet() && cl_attempt(p) == 9);
    durable(9);
    hear(0, CL_MSG_COMMITTED, 9, CL_NO_STEP);
    CU_ASSERT(got.committed && got.attempt == 9 && cl_attempt(p) == 10);
    arrive(CL_NO_STEP);
    CU_ASSERT(did_record(10, CL_NO_STEP));
}

static void commit_and_next_record_never_share_a_step(void)
{
    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    initiate();
    durable(8);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP); /* at a safe point, and a wish waits */
    CU_ASSERT(got.committed && got.attempt == 8 && !got.record);
    CU_ASSERT(sent_only(CL_ALL, CL_MSG_QUERY, 9, CL_NO_STEP));
    hear(0, CL_MSG_PROGRESS, 9, CL_NO_STEP);
    CU_ASSERT(did_record(9, CL_NO_STEP) && got.send_markers);
}

static void one_process_alone_begins_a_waiting_wish_at_its_next_event(void)
{
    begin_process(1, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    initiate(); /* waits */
    durable(8);
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(got.committed && got.attempt == 8 && !got.record && !cl_idle(p));
    leave();
    CU_ASSERT(is_quiet());
    arrive(CL_NO_STEP);
    CU_ASSERT(did_record(9, CL_NO_STEP) && got.complete);
}

static void no_record_in_the_step_of_a_message(void)
{
    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    initiate();
    durable(8);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(got.committed && cl_attempt(p) == 9); /* due, but not in this step */
    data(0);                                        /* neither before the record nor after it */
    CU_ASSERT(is_quiet());
    hear(0, CL_MSG_PROGRESS, 9, CL_NO_STEP);
    CU_ASSERT(did_record(9, CL_NO_STEP));
}

static void event_style_process_pledges_and_stays_at_its_next_safe_point(void)
{
    begin_process(2, 1, 0);
    arrive(3);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP); /* it counts steps yet */
    leave();
    arrive(CL_NO_STEP); /* and now handles messages */
    hear(0, CL_MSG_AT, 8, 5);
    CU_ASSERT(sent_only(0, CL_MSG_ACCEPT, 8, 5) && cl_must_stay(p));
    hear(0, CL_MSG_GO, 8, 5);
    CU_ASSERT(did_record(8, 5));
}

/* --- overlapping attempts and stale messages ------------------------------------------------------------- */

static void later_marker_supersedes(void)
{
    begin_process(3, 0, 0);
    arrive(CL_NO_STEP);
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.record);
    hear(2, CL_MSG_MARKER, 9, CL_NO_STEP);
    CU_ASSERT(did_end(8, CL_REASON_SUPERSEDED) && did_record(9, CL_NO_STEP) && got.send_markers);
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP); /* stale */
    CU_ASSERT(is_quiet() && cl_recording(p, 1) && !cl_recording(p, 2));
}

static void held_messages_of_the_old_attempt_belong_to_the_new_cut(void)
{
    begin_process(2, 0, 0);
    arrive(3);
    hear(1, CL_MSG_MARKER, 8, 9);
    data(1);
    CU_ASSERT(got.hold);
    hear(1, CL_MSG_MARKER, 9, CL_NO_STEP); /* at a safe point, but what was held must reach the mailbox first */
    CU_ASSERT(did_end(8, CL_REASON_SUPERSEDED) && !got.record && cl_holds(p, 1));
    leave();
    arrive(4);
    CU_ASSERT(did_record(9, CL_NO_STEP) && got.complete);
}

static void later_query_supersedes(void)
{
    begin_process(2, 1, 0);
    arrive(3);
    hear(0, CL_MSG_MARKER, 8, 9);
    hear(0, CL_MSG_QUERY, 9, CL_NO_STEP);
    CU_ASSERT(did_end(8, CL_REASON_SUPERSEDED) && sent_only(0, CL_MSG_PROGRESS, 9, 3) && !cl_holds(p, 0));
    CU_ASSERT(cl_latest(p) == 9);
}

static void late_end_of_a_superseded_attempt_is_still_told(void)
{
    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    durable(8);
    hear(0, CL_MSG_QUERY, 9, CL_NO_STEP); /* overtook COMMITTED(8) */
    CU_ASSERT(did_end(8, CL_REASON_SUPERSEDED));
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(got.committed && got.attempt == 8 && cl_attempt(p) == 9);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet());
}

static void messages_of_ended_attempts_are_ignored(void)
{
    begin_process(2, 1, 0);
    arrive(5);
    hear_abandon(0, 8, CL_REASON_HELD); /* of an attempt not met yet: it never begins here */
    CU_ASSERT(is_quiet() && cl_idle(p) && cl_latest(p) == 8);
    for (uint64_t number = 0; number <= 8; number++) {
        for (int kind = CL_MSG_MARKER; kind <= CL_MSG_ABANDON; kind++) {
            hear(0, (cl_message_kind)kind, number, 5);
            CU_ASSERT(is_quiet() && cl_idle(p) && cl_latest(p) == 8);
        }
    }
}

static void illegal_events_change_nothing(void)
{
    begin_process(2, 1, 0);
    leave();
    CU_ASSERT(is_quiet());
    durable(8);
    CU_ASSERT(is_quiet());
    durable(0);
    CU_ASSERT(is_quiet());
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(is_quiet());
    step((cl_event){.kind = CL_FAILED, .attempt = 8});
    CU_ASSERT(is_quiet());
    step((cl_event){.kind = CL_HELD_WAIT});
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP); /* from itself */
    CU_ASSERT(is_quiet() && cl_idle(p));
    hear(99, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet() && cl_idle(p));
    hear(0, (cl_message_kind)77, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet() && cl_idle(p));
    data(99);
    CU_ASSERT(is_quiet());
    arrive(5);
    leave();
    arrive(5); /* steps grow */
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    CU_ASSERT(sent_only(0, CL_MSG_PROGRESS, 8, 6));
    hear(0, CL_MSG_PART, 8, CL_NO_STEP); /* not the coordinator */
    CU_ASSERT(is_quiet());
    CU_ASSERT(!cl_holds(p, 99) && !cl_recording(p, 99));
}

/* --- abandoning ------------------------------------------------------------------------------------------ */

static void waiting_for_a_held_message_abandons(void)
{
    begin_process(3, 1, 0);
    arrive(CL_NO_STEP);
    leave();
    step((cl_event){.kind = CL_HELD_WAIT}); /* nothing is held */
    CU_ASSERT(is_quiet());
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    data(0);
    step((cl_event){.kind = CL_HELD_WAIT});
    CU_ASSERT(did_end(8, CL_REASON_HELD) && sent_abandon(8, CL_REASON_HELD) && got.send_count == 1);
    CU_ASSERT(cl_idle(p) && !cl_holds(p, 0));
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet());
}

static void initiator_of_a_held_attempt_tries_again_sixteen_times(void)
{
    uint64_t number = 8;

    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    for (int i = 0; i < 16; i++, number++) {
        CU_ASSERT(cl_attempt(p) == number);
        hear_abandon(1, number, CL_REASON_HELD);
        CU_ASSERT(did_end(number, CL_REASON_HELD) && did_record(number + 1, CL_NO_STEP));
    }
    hear_abandon(1, number, CL_REASON_HELD);
    CU_ASSERT(did_end(number, CL_REASON_HELD) && !got.record && cl_idle(p));
    initiate(); /* a new wish is one attempt */
    CU_ASSERT(did_record(number + 1, CL_NO_STEP));
    hear_abandon(1, number + 1, CL_REASON_HELD);
    CU_ASSERT(cl_idle(p));
}

static void failed_and_finished_attempts_are_not_repeated(void)
{
    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    hear_abandon(1, 8, CL_REASON_FAILED);
    CU_ASSERT(did_end(8, CL_REASON_FAILED) && cl_idle(p) && got.send_count == 0);
    initiate();
    CU_ASSERT(did_record(9, CL_NO_STEP));
    initiate(); /* waits behind 9 */
    hear_abandon(1, 9, CL_REASON_FINISHED);
    CU_ASSERT(did_end(9, CL_REASON_FINISHED) && cl_idle(p));
    initiate(); /* nobody can record everywhere any more */
    CU_ASSERT(is_quiet() && cl_idle(p));
}

static void stale_word_of_a_finished_process_still_ends_wishes(void)
{
    begin_process(3, 0, 0);
    arrive(CL_NO_STEP);
    hear_abandon(1, 8, CL_REASON_HELD);
    hear_abandon(2, 8, CL_REASON_FINISHED);
    initiate();
    CU_ASSERT(is_quiet() && cl_idle(p));
}

static void finished_process_refuses_what_it_has_not_recorded(void)
{
    begin_process(2, 1, 0);
    arrive(1);
    hear(0, CL_MSG_QUERY, 8, CL_NO_STEP);
    step((cl_event){.kind = CL_FINISHED});
    CU_ASSERT(did_end(8, CL_REASON_FINISHED) && sent_abandon(8, CL_REASON_FINISHED));
    hear(0, CL_MSG_QUERY, 9, CL_NO_STEP);
    CU_ASSERT(sent_abandon(9, CL_REASON_FINISHED) && got.send_count == 1 && cl_idle(p));
    hear(0, CL_MSG_MARKER, 10, CL_NO_STEP);
    CU_ASSERT(sent_abandon(10, CL_REASON_FINISHED) && !cl_holds(p, 0));
    initiate();
    CU_ASSERT(is_quiet() && cl_idle(p));
}

static void finished_process_completes_what_it_has_recorded(void)
{
    begin_process(3, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    step((cl_event){.kind = CL_FINISHED});
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.complete);
    durable(8);
    CU_ASSERT(sent_only(0, CL_MSG_PART, 8, CL_NO_STEP));
}

static void failed_write_abandons_before_part_only(void)
{
    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.complete);
    step((cl_event){.kind = CL_FAILED, .attempt = 7});
    CU_ASSERT(is_quiet());
    step((cl_event){.kind = CL_FAILED, .attempt = 8});
    CU_ASSERT(did_end(8, CL_REASON_FAILED) && sent_abandon(8, CL_REASON_FAILED));
    hear(0, CL_MSG_MARKER, 9, CL_NO_STEP);
    durable(9);
    step((cl_event){.kind = CL_FAILED, .attempt = 9}); /* PART is out: it may be committed by now */
    CU_ASSERT(is_quiet() && cl_attempt(p) == 9);
}

/* --- committing ------------------------------------------------------------------------------------------ */

static void coordinator_commits_when_all_parts_are_durable(void)
{
    begin_process(3, 0, 0);
    arrive(CL_NO_STEP);
    hear(2, CL_MSG_PART, 8, CL_NO_STEP); /* before any marker came: the graph need not be complete */
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    hear(2, CL_MSG_PART, 8, CL_NO_STEP);
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.record);
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(got.complete);
    durable(8);
    CU_ASSERT(is_quiet());
    durable(8);
    CU_ASSERT(is_quiet());
    hear(1, CL_MSG_PART, 8, CL_NO_STEP);
    CU_ASSERT(got.commit && got.attempt == 8 && !got.committed);
    hear(1, CL_MSG_PART, 8, CL_NO_STEP); /* the record is written once */
    CU_ASSERT(is_quiet());
    hear_abandon(1, 8, CL_REASON_HELD); /* cannot be: its part is durable */
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(got.committed && got.attempt == 8 && sent_only(CL_ALL, CL_MSG_COMMITTED, 8, CL_NO_STEP));
    CU_ASSERT(cl_idle(p));
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(is_quiet());
}

static void failed_commit_record_abandons_everywhere(void)
{
    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    hear(1, CL_MSG_PART, 8, CL_NO_STEP);
    durable(8);
    CU_ASSERT(got.commit);
    step((cl_event){.kind = CL_FAILED, .attempt = 8});
    CU_ASSERT(did_end(8, CL_REASON_FAILED) && sent_abandon(8, CL_REASON_FAILED) && cl_idle(p));
    begin_process(2, 1, 0); /* the other side */
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    durable(8);
    hear_abandon(0, 8, CL_REASON_FAILED);
    CU_ASSERT(did_end(8, CL_REASON_FAILED) && cl_idle(p));
}

static void only_the_coordinator_says_committed(void)
{
    begin_process(3, 1, 0);
    arrive(CL_NO_STEP);
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP); /* cannot be yet */
    CU_ASSERT(is_quiet());
    hear(2, CL_MSG_MARKER, 8, CL_NO_STEP);
    durable(8);
    hear(2, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet() && cl_attempt(p) == 8);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(got.committed);
}

/* --- a process is lost ---------------------------------------------------------------------------------- */

static void loss_ends_the_attempt_and_releases(void)
{
    begin_process(3, 1, 0);
    arrive(CL_NO_STEP);
    leave();
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    data(0);
    CU_ASSERT(got.hold);
    step((cl_event){.kind = CL_LOST});
    CU_ASSERT(did_end(8, CL_REASON_LOST) && got.send_count == 0);
    CU_ASSERT(cl_idle(p) && cl_attempt(p) == 0);
    data(0);
    CU_ASSERT(is_quiet());
}

static void after_a_loss_nothing_begins_any_more(void)
{
    begin_process(3, 1, 0);
    step((cl_event){.kind = CL_LOST});
    CU_ASSERT(is_quiet());
    initiate();
    arrive(CL_NO_STEP);
    CU_ASSERT(is_quiet() && cl_idle(p));
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet() && !cl_holds(p, 0));
    hear(2, CL_MSG_QUERY, 9, CL_NO_STEP);
    CU_ASSERT(is_quiet());
    hear_abandon(2, 9, CL_REASON_HELD);
    CU_ASSERT(is_quiet() && cl_idle(p));
}

/* A process that waits at S for the pledge of a dead one goes on. */
static void loss_lets_a_stalled_process_go(void)
{
    begin_process(3, 1, 0);
    arrive(5);
    leave();
    initiate();
    hear(0, CL_MSG_PROGRESS, 8, 6);
    hear(2, CL_MSG_PROGRESS, 8, 6);
    arrive(got.sends[0].message.step);
    CU_ASSERT(cl_must_stay(p));
    step((cl_event){.kind = CL_LOST});
    CU_ASSERT(did_end(8, CL_REASON_LOST) && !cl_must_stay(p));
}

/* Its record was on its way to the disk: it counts all the same. */
static void commit_that_was_under_way_at_a_loss_counts(void)
{
    begin_process(2, 0, 0);
    arrive(CL_NO_STEP);
    initiate();
    hear(1, CL_MSG_MARKER, 8, CL_NO_STEP);
    durable(8);
    hear(1, CL_MSG_PART, 8, CL_NO_STEP);
    CU_ASSERT(got.commit);
    step((cl_event){.kind = CL_LOST});
    CU_ASSERT(did_end(8, CL_REASON_LOST));
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(got.committed && got.attempt == 8 && sent_only(CL_ALL, CL_MSG_COMMITTED, 8, CL_NO_STEP));
    step((cl_event){.kind = CL_COMMIT_DURABLE, .attempt = 8});
    CU_ASSERT(is_quiet());

    begin_process(2, 1, 0);
    arrive(CL_NO_STEP);
    initiate();
    hear(0, CL_MSG_MARKER, 8, CL_NO_STEP);
    durable(8);
    step((cl_event){.kind = CL_LOST});
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(got.committed && got.attempt == 8);
    hear(0, CL_MSG_COMMITTED, 8, CL_NO_STEP);
    CU_ASSERT(is_quiet());
}

UNIT_MAIN(
    "chandy_lamport", {"unaligned initiator records at once", unaligned_initiator_records_at_once_and_sends_markers},
    {"unaligned initiator inside a handler", unaligned_initiator_inside_a_handler_waits_for_its_return},
    {"first marker holds its channel", first_marker_holds_its_channel_until_the_next_safe_point},
    {"marker at a safe point", marker_at_a_safe_point_records_at_once},
    {"second marker", second_marker_of_a_channel_changes_nothing},
    {"only channels that exist", only_channels_that_exist_are_waited_for},
    {"one process alone", one_process_alone_is_its_own_snapshot},
    {"one process alone, steps", one_process_alone_with_steps_records_at_the_next_one},
    {"initiator asks, names, says go", initiator_asks_names_a_step_and_says_go},
    {"initiator counts itself", initiator_counts_its_own_progress},
    {"passed", passed_names_a_later_step_and_old_answers_do_not_count},
    {"lead", lead_doubles_when_passed_and_shrinks_again},
    {"follower pledges, stalls, records", follower_pledges_stalls_and_records_on_go},
    {"progress", progress_says_the_lowest_step_not_passed},
    {"follower that has passed", follower_that_has_passed_says_so}, {"steps with gaps", steps_may_have_gaps},
    {"marker implies go", marker_implies_go}, {"marker before the step", marker_before_the_step_holds_until_the_step},
    {"event style process", event_style_process_turns_the_attempt_unaligned},
    {"lower initiator", lower_initiator_ignores_a_higher_one}, {"higher initiator", higher_initiator_stops_leading},
    {"follower of two", follower_answers_both_and_follows_the_lowest},
    {"wish before the first safe point", wish_before_the_first_safe_point_waits_for_it},
    {"wish merged or kept", wish_is_merged_before_and_kept_after_the_record},
    {"commit and next record", commit_and_next_record_never_share_a_step},
    {"one process alone, a waiting wish", one_process_alone_begins_a_waiting_wish_at_its_next_event},
    {"no record in the step of a message", no_record_in_the_step_of_a_message},
    {"event style process pledges", event_style_process_pledges_and_stays_at_its_next_safe_point},
    {"later marker supersedes", later_marker_supersedes},
    {"held belongs to the new cut", held_messages_of_the_old_attempt_belong_to_the_new_cut},
    {"later query supersedes", later_query_supersedes}, {"late end", late_end_of_a_superseded_attempt_is_still_told},
    {"ended attempts are ignored", messages_of_ended_attempts_are_ignored},
    {"illegal events", illegal_events_change_nothing},
    {"waiting for a held message", waiting_for_a_held_message_abandons},
    {"tries again sixteen times", initiator_of_a_held_attempt_tries_again_sixteen_times},
    {"failed, finished: not repeated", failed_and_finished_attempts_are_not_repeated},
    {"stale word of a finished process", stale_word_of_a_finished_process_still_ends_wishes},
    {"finished refuses", finished_process_refuses_what_it_has_not_recorded},
    {"finished completes", finished_process_completes_what_it_has_recorded},
    {"failed write", failed_write_abandons_before_part_only},
    {"coordinator commits", coordinator_commits_when_all_parts_are_durable},
    {"failed commit record", failed_commit_record_abandons_everywhere},
    {"only the coordinator", only_the_coordinator_says_committed},
    {"a loss ends the attempt", loss_ends_the_attempt_and_releases},
    {"nothing begins after a loss", after_a_loss_nothing_begins_any_more},
    {"a loss lets go", loss_lets_a_stalled_process_go},
    {"a commit under way at a loss", commit_that_was_under_way_at_a_loss_counts})
