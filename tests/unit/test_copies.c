/* The core of copies in memory, rule by rule: one process is given events by hand, and what it sends is compared. What the
 * rules are good for together is the simulator's (tests/sim/test_copies.c). */
#include "partner/copies.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define COUNT 4

static pc *core;
static pc_output got;
static pc_send sent;

static void step(pc_event event)
{
    const char *broken = NULL;

    pc_step(core, &event, &got);
    if (!pc_check(core, &broken)) {
        printf("\n%s\n", broken);
        CU_FAIL("invariant");
    }
}

static void begin(uint32_t self)
{
    free(core);
    core = pc_init(malloc(pc_bytes(COUNT)), COUNT, self);
}

/* A message from `from`, whose rank is 10 + from. */
static void hear(uint32_t from, pc_message m, bool good)
{
    step((pc_event){.kind = PC_MESSAGE, .peer = from, .rank = 10 + from, .good = good, .message = m});
}

static bool sends(bool bulk, uint32_t to, pc_kind kind, uint64_t number)
{
    return pc_next(core, bulk, &sent) && sent.to == to && sent.message.kind == (uint32_t)kind &&
           sent.message.number == number;
}

static bool is_silent(void)
{
    return !pc_next(core, true, &sent);
}

static void place(uint32_t holder)
{
    step((pc_event){.kind = PC_PLACED, .peer = holder, .rank = 10 + holder});
}

static void take(uint64_t number, uint32_t pieces)
{
    step((pc_event){.kind = PC_TAKEN, .number = number, .pieces = pieces});
}

static void commit(uint64_t number)
{
    step((pc_event){.kind = PC_COMMITTED, .number = number});
}

static void view(uint32_t number, uint64_t snapshot, uint32_t self)
{
    step((pc_event){.kind = PC_VIEWED, .view = number, .number = snapshot, .peer = self});
}

/* A copy of `pieces` pieces that `owner` sends here. */
static void receive(uint32_t owner, uint32_t in_view, uint64_t number, uint32_t pieces)
{
    hear(owner, (pc_message){.kind = PC_BEGIN, .view = in_view, .number = number, .pieces = pieces}, false);
    for (uint32_t i = 0; i < pieces; i++) {
        hear(owner, (pc_message){.kind = PC_PIECE, .view = in_view, .number = number, .pieces = pieces, .index = i},
             true);
    }
}

static void test_owner_sends(void)
{
    begin(0);
    take(1, 2);
    CU_ASSERT(is_silent()); /* it does not know its holder yet */
    place(2);
    CU_ASSERT(sends(false, 2, PC_BEGIN, 1));
    CU_ASSERT_EQUAL(sent.message.pieces, 2);
    CU_ASSERT(!pc_next(core, false, &sent)); /* pieces only when there is room for one */
    CU_ASSERT(sends(true, 2, PC_PIECE, 1));
    CU_ASSERT_EQUAL(sent.message.index, 0);
    CU_ASSERT(sends(true, 2, PC_PIECE, 1));
    CU_ASSERT_EQUAL(sent.message.index, 1);
    CU_ASSERT(is_silent());
    CU_ASSERT(!pc_is_held(core, 1));
    hear(2, (pc_message){.kind = PC_HELD, .number = 1}, false);
    CU_ASSERT(got.held && got.number == 1);
    CU_ASSERT(pc_is_held(core, 1));
    commit(1);
    CU_ASSERT(pc_is_held(core, 1));
    CU_ASSERT(is_silent());
}

static void test_only_the_holder_says_held(void)
{
    begin(0);
    place(2);
    take(1, 1);
    CU_ASSERT(sends(true, 2, PC_BEGIN, 1) && sends(true, 2, PC_PIECE, 1));
    hear(3, (pc_message){.kind = PC_HELD, .number = 1}, false);
    hear(2, (pc_message){.kind = PC_HELD, .number = 7}, false);
    hear(2, (pc_message){.kind = PC_HELD, .number = 1, .view = 1}, false);
    CU_ASSERT(!pc_is_held(core, 1));
    step((pc_event){.kind = PC_MESSAGE, .peer = 2, .rank = 55, .message = {.kind = PC_HELD, .number = 1}});
    CU_ASSERT(!pc_is_held(core, 1)); /* another rank than the one that it was sent to */
}

static void test_newer_attempt_supersedes(void)
{
    begin(0);
    place(1);
    take(1, 3);
    CU_ASSERT(sends(true, 1, PC_BEGIN, 1) && sends(true, 1, PC_PIECE, 1));
    take(2, 1);
    CU_ASSERT(sends(true, 1, PC_BEGIN, 2) && sends(true, 1, PC_PIECE, 2));
    CU_ASSERT(is_silent());
    hear(1, (pc_message){.kind = PC_HELD, .number = 1}, false);
    CU_ASSERT(!got.held);
    hear(1, (pc_message){.kind = PC_HELD, .number = 2}, false);
    CU_ASSERT(got.held);
}

static void test_abandoned_and_refused(void)
{
    begin(0);
    place(1);
    take(1, 1);
    CU_ASSERT(sends(true, 1, PC_BEGIN, 1) && sends(true, 1, PC_PIECE, 1));
    step((pc_event){.kind = PC_GONE, .number = 1});
    CU_ASSERT(is_silent());
    take(2, 1);
    CU_ASSERT(sends(true, 1, PC_BEGIN, 2));
    hear(1, (pc_message){.kind = PC_REFUSED, .number = 2}, false);
    CU_ASSERT(got.refused && got.number == 2);
    CU_ASSERT(is_silent());
    place(1); /* after a recovery it is tried again */
    CU_ASSERT(sends(true, 1, PC_BEGIN, 2));
}

static void test_holder_keeps(void)
{
    begin(1);
    receive(0, 0, 1, 2);
    CU_ASSERT_EQUAL(pc_copy(core, 0, false), 1);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 0);
    CU_ASSERT(sends(false, 0, PC_HELD, 1));
    CU_ASSERT(is_silent());
    commit(1);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 1);
    receive(0, 0, 2, 1);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 1); /* both */
    CU_ASSERT_EQUAL(pc_copy(core, 0, false), 2);
    commit(2);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 2);
    CU_ASSERT_EQUAL(pc_copy(core, 0, false), 0);
}

static void test_late_copy(void)
{
    begin(1);
    receive(0, 0, 1, 1);
    commit(1);
    hear(0, (pc_message){.kind = PC_BEGIN, .number = 2, .pieces = 2}, false);
    commit(2); /* the file was durable before the copy was here */
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 0);
    hear(0, (pc_message){.kind = PC_PIECE, .number = 2, .index = 0}, true);
    CU_ASSERT(got.stored);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 0);
    hear(0, (pc_message){.kind = PC_PIECE, .number = 2, .index = 1}, true);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 2);
    hear(0, (pc_message){.kind = PC_BEGIN, .number = 1, .pieces = 2}, false); /* older than what is committed */
    CU_ASSERT_EQUAL(pc_copy(core, 0, false), 0);
}

static void test_bad_pieces(void)
{
    begin(1);
    hear(0, (pc_message){.kind = PC_BEGIN, .number = 1, .pieces = 3}, false);
    hear(0, (pc_message){.kind = PC_PIECE, .number = 1, .index = 1}, true); /* not the next one */
    CU_ASSERT(!got.stored);
    hear(0, (pc_message){.kind = PC_PIECE, .number = 1, .index = 0}, false);
    CU_ASSERT(!got.stored);
    CU_ASSERT(sends(false, 0, PC_REFUSED, 1));
    CU_ASSERT_EQUAL(pc_copy(core, 0, false), 0);
    hear(0, (pc_message){.kind = PC_PIECE, .number = 1, .index = 1}, true);
    CU_ASSERT(!got.stored);
    hear(0, (pc_message){.kind = PC_BEGIN, .number = 2, .pieces = 1}, false);
    step((pc_event){.kind = PC_NO_ROOM, .peer = 0, .number = 2});
    CU_ASSERT(sends(false, 0, PC_REFUSED, 2));
}

static void test_views(void)
{
    begin(1);
    receive(0, 0, 1, 1);
    receive(2, 0, 1, 1);
    commit(1);
    receive(0, 0, 2, 1); /* whole: 2 was committed, and this process has not heard of it */
    hear(2, (pc_message){.kind = PC_BEGIN, .number = 2, .pieces = 2}, false);
    view(1, 2, 1);
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 2);
    CU_ASSERT_EQUAL(pc_copy(core, 2, true), 0); /* of another snapshot */
    CU_ASSERT_EQUAL(pc_copy(core, 2, false), 0);
    CU_ASSERT(is_silent());
    hear(2, (pc_message){.kind = PC_PIECE, .number = 2, .index = 0}, true); /* of the view before */
    CU_ASSERT(!got.stored);
    view(1, 1, 1); /* not newer */
    CU_ASSERT_EQUAL(pc_copy(core, 0, true), 2);
    receive(0, 1, 2, 1); /* it has that already */
    CU_ASSERT(sends(false, 0, PC_HELD, 2));
}

static void test_owner_after_a_view(void)
{
    begin(0);
    place(1);
    take(1, 1);
    CU_ASSERT(sends(true, 1, PC_BEGIN, 1) && sends(true, 1, PC_PIECE, 1));
    hear(1, (pc_message){.kind = PC_HELD, .number = 1}, false);
    commit(1);
    take(2, 1);
    view(1, 1, 0);
    CU_ASSERT(is_silent()); /* until all run */
    place(1);
    CU_ASSERT(is_silent()); /* the same rank has it */
    view(2, 1, 0);
    step((pc_event){.kind = PC_PLACED, .peer = 1, .rank = 40}); /* another rank carries process 1 now */
    CU_ASSERT(!pc_is_held(core, 1));
    CU_ASSERT(sends(true, 1, PC_BEGIN, 1) && sends(true, 1, PC_PIECE, 1));
}

static void test_serving(void)
{
    pc_message ask = {.kind = PC_ASK, .view = 1, .number = 1, .process = 0};

    begin(1);
    receive(0, 0, 1, 2);
    CU_ASSERT(sends(false, 0, PC_HELD, 1));
    commit(1);
    hear(9, ask, false);    /* from a rank that is not known to be process 0 yet */
    CU_ASSERT(is_silent()); /* in its view, later */
    view(1, 1, 1);
    CU_ASSERT(sends(false, 0, PC_HAVE, 1));
    CU_ASSERT_EQUAL(sent.message.pieces, 2);
    CU_ASSERT(is_silent());
    hear(0, (pc_message){.kind = PC_TAKE, .view = 1, .number = 1}, false);
    CU_ASSERT(!pc_next(core, false, &sent));
    CU_ASSERT(sends(true, 0, PC_BACK, 1) && sent.message.index == 0);
    CU_ASSERT(sends(true, 0, PC_BACK, 1) && sent.message.index == 1);
    CU_ASSERT(is_silent());
    ask.number = 3;
    hear(0, ask, false);
    CU_ASSERT(sends(false, 0, PC_LACK, 3));
    ask.view = 0;
    hear(0, ask, false); /* of a view that is over */
    CU_ASSERT(is_silent());
    ask.view = 1;
    ask.process = 1;
    hear(0, ask, false);
    ask.process = COUNT;
    hear(0, ask, false);
    CU_ASSERT(is_silent());
}

static void want(void)
{
    begin(PC_NONE);
    view(1, 5, 2); /* a spare takes the place of process 2 */
    step((pc_event){.kind = PC_WANT, .number = 5});
    CU_ASSERT(sends(false, PC_ALL, PC_ASK, 5));
    CU_ASSERT_EQUAL(sent.message.process, 2);
    CU_ASSERT_EQUAL(sent.message.view, 1);
    CU_ASSERT(is_silent());
}

static pc_message answer(pc_kind kind, uint32_t pieces)
{
    return (pc_message){.kind = (uint32_t)kind, .view = 1, .number = 5, .pieces = pieces};
}

static pc_message back(uint32_t index)
{
    return (pc_message){.kind = PC_BACK, .view = 1, .number = 5, .index = index};
}

static void test_wanting(void)
{
    want();
    hear(0, answer(PC_LACK, 0), false);
    hear(3, answer(PC_HAVE, 2), false);
    CU_ASSERT(sends(false, 3, PC_TAKE, 5));
    hear(1, answer(PC_HAVE, 2), false);
    CU_ASSERT(is_silent()); /* one is enough */
    hear(1, back(0), true);
    CU_ASSERT(!got.stored); /* not asked for */
    hear(3, back(0), true);
    CU_ASSERT(got.stored && !got.fetched);
    hear(3, back(1), true);
    CU_ASSERT(got.stored && got.fetched && got.peer == 3 && got.number == 5);
    place(3);
    CU_ASSERT(is_silent()); /* its holder has it */
    place(1);
    CU_ASSERT(sends(false, 1, PC_BEGIN, 5));
}

static void test_damaged_copy(void)
{
    want();
    hear(0, answer(PC_HAVE, 2), false);
    hear(1, answer(PC_HAVE, 2), false);
    hear(3, answer(PC_LACK, 0), false);
    CU_ASSERT(sends(false, 0, PC_TAKE, 5));
    hear(0, back(0), true);
    hear(0, back(1), false);
    CU_ASSERT(got.damaged && got.peer == 0 && !got.fetched && !got.unavailable);
    CU_ASSERT(sends(false, 1, PC_TAKE, 5));
    hear(1, back(0), true); /* from the beginning */
    CU_ASSERT(got.stored && !got.fetched);
    hear(1, back(1), false);
    CU_ASSERT(got.damaged && got.unavailable);
}

static void test_nobody_has_it(void)
{
    want();
    hear(0, answer(PC_LACK, 0), false);
    hear(0, answer(PC_LACK, 0), false);
    hear(1, answer(PC_LACK, 0), false);
    CU_ASSERT(!got.unavailable);
    hear(3, answer(PC_LACK, 0), false);
    CU_ASSERT(got.unavailable && got.number == 5);
    hear(3, answer(PC_HAVE, 2), false);
    CU_ASSERT(is_silent());
    want(); /* a death in the middle: another view, and nothing of this one counts */
    hear(0, answer(PC_LACK, 0), false);
    hear(3, answer(PC_HAVE, 1), false);
    CU_ASSERT(sends(false, 3, PC_TAKE, 5));
    view(2, 5, 2);
    hear(3, back(0), true);
    CU_ASSERT(!got.stored && !got.fetched);
}

/* ---------------------------------------------------------------- groups */

static const uint32_t everybody[] = {0, 1, 2, 3};

/* Process 0, 1, 2 or 3 of one group of four. */
static void begin_grouped(uint32_t self)
{
    uint32_t carriers[3];

    begin(self);
    step((pc_event){.kind = PC_GROUPED});
    step((pc_event){.kind = PC_GROUPED, .group = everybody, .ranks = 4});
    for (uint32_t h = 0; h < 3; h++) {
        carriers[h] = 10 + pc_holder(core, h);
    }
    step((pc_event){.kind = PC_PLACED, .carriers = carriers});
}

static void share(uint32_t owner, uint64_t number, uint32_t whole, uint32_t pieces)
{
    hear(owner, (pc_message){.kind = PC_BEGIN, .number = number, .pieces = pieces, .whole = whole}, false);
    for (uint32_t i = 0; i < pieces; i++) {
        hear(owner, (pc_message){.kind = PC_PIECE, .number = number, .pieces = pieces, .index = i}, true);
    }
}

static void test_stripes(void)
{
    static const uint32_t stripes[] = {0, 2, 2, 1}; /* pieces 0 and 3 to process 2, 1 and 4 to 3, 2 to 0 */
    uint32_t pieces[COUNT] = {0};
    uint32_t seen = 0;

    begin_grouped(1);
    CU_ASSERT_EQUAL(pc_holder(core, 0), 2);
    CU_ASSERT_EQUAL(pc_holder(core, 1), 3);
    CU_ASSERT_EQUAL(pc_holder(core, 2), 0);
    CU_ASSERT_EQUAL(pc_holder(core, 3), PC_NONE);
    take(1, 5);
    while (pc_next(core, true, &sent)) {
        CU_ASSERT(sent.to != 1 && sent.to < COUNT);
        if (sent.message.kind == PC_BEGIN) {
            CU_ASSERT_EQUAL(sent.message.pieces, stripes[(sent.to + 3) % 4]);
            CU_ASSERT_EQUAL(sent.message.whole, 5);
        } else {
            CU_ASSERT_EQUAL(sent.message.index, pieces[sent.to]++);
            seen |= 1U << pc_piece_at(core, 1, sent.to, sent.message.index);
        }
    }
    CU_ASSERT_EQUAL(seen, 31);
    hear(2, (pc_message){.kind = PC_HELD, .number = 1}, false);
    hear(0, (pc_message){.kind = PC_HELD, .number = 1}, false);
    CU_ASSERT(!got.held && !pc_is_held(core, 1));
    hear(3, (pc_message){.kind = PC_HELD, .number = 1}, false);
    CU_ASSERT(got.held && pc_is_held(core, 1));
}

/* Held when all pieces of all others and the own part are here, whatever comes last. */
static void test_together(void)
{
    begin_grouped(0);
    share(1, 1, 5, 1);
    share(2, 1, 1, 0); /* too short to have a piece here */
    share(3, 1, 4, 2);
    CU_ASSERT(is_silent());
    take(1, 1);
    for (uint32_t i = 1; i < COUNT; i++) {
        CU_ASSERT(sends(false, i, PC_HELD, 1));
    }
    begin_grouped(0);
    take(1, 1);
    share(1, 1, 5, 1);
    share(3, 1, 4, 2);
    while (pc_next(core, true, &sent)) {
        CU_ASSERT(sent.message.kind != PC_HELD);
    }
    share(2, 1, 1, 0);
    for (uint32_t i = 1; i < COUNT; i++) {
        CU_ASSERT(sends(false, i, PC_HELD, 1));
    }
}

static void test_all_or_nobody(void)
{
    begin(PC_NONE);
    step((pc_event){.kind = PC_GROUPED});
    view(1, 5, 2);
    step((pc_event){.kind = PC_WANT, .number = 5}); /* its group is not known: there was none */
    CU_ASSERT(got.unavailable);
    step((pc_event){.kind = PC_GROUPED, .group = everybody, .ranks = 4});
    step((pc_event){.kind = PC_WANT, .number = 5});
    CU_ASSERT(sends(false, PC_ALL, PC_ASK, 5));
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i != 2) {
            hear(i, (pc_message){.kind = PC_HAVE, .view = 1, .number = 5, .pieces = 3, .whole = i == 3 ? 4 : 3}, false);
        }
    }
    CU_ASSERT(got.unavailable); /* process 3 speaks of another part */
    step((pc_event){.kind = PC_WANT, .number = 5});
    CU_ASSERT(sends(false, PC_ALL, PC_ASK, 5));
    hear(0, (pc_message){.kind = PC_HAVE, .view = 1, .number = 5, .pieces = 3, .whole = 3}, false);
    CU_ASSERT(is_silent());
    hear(1, (pc_message){.kind = PC_LACK, .view = 1, .number = 5}, false);
    CU_ASSERT(got.unavailable);
}

UNIT_MAIN("copies in memory", {"an owner sends", test_owner_sends},
          {"only the holder says held", test_only_the_holder_says_held},
          {"a newer attempt supersedes", test_newer_attempt_supersedes},
          {"abandoned, refused", test_abandoned_and_refused}, {"a holder keeps", test_holder_keeps},
          {"a copy that is late", test_late_copy}, {"bad pieces", test_bad_pieces}, {"views", test_views},
          {"an owner after a view", test_owner_after_a_view}, {"serving", test_serving}, {"wanting", test_wanting},
          {"a damaged copy", test_damaged_copy}, {"nobody has it", test_nobody_has_it},
          {"stripes of a group", test_stripes}, {"a parity is together", test_together},
          {"all of a group or nobody", test_all_or_nobody})
