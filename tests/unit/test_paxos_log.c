/* Goal: what was reported written is found again after any crash, nothing is found that was not appended, and damage
 * is told from a torn end.
 * Method: random histories on a disk in memory that loses and tears what was not synced, against a list of all that was
 * appended; then single faults, one after the other, in every place. */
#include "support/log_bed.h"

static void log_round_trip(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    cairn_log_stats stats;

    begin(1, 0, 1 << 16);
    CU_ASSERT(!cairn_log_seal(b.log));
    CU_ASSERT(cairn_log_write(b.log, &error) == CAIRN_E_STATE);
    append((mp_record){.kind = MP_RECORD_PROMISE, .ballot = px_ballot_of(3, 1)}, 0);
    vote(1, px_ballot_of(3, 1), 300);
    vote(2, px_ballot_of(3, 1), 1 << 16);
    CU_ASSERT(write_all(&error) == CAIRN_OK);
    vote(2, PX_CHOSEN, 0);
    append((mp_record){.kind = MP_RECORD_MEMBER, .generation = 4, .slot = 2}, 0);
    CU_ASSERT(!check_read(3) == false && write_all(&error) == CAIRN_OK);
    CU_ASSERT(check_read(1) && check_read(2) && check_read(3));
    cairn_log_get_stats(b.log, &stats);
    CU_ASSERT(stats.groups == 2 && stats.records == 5 && stats.first_slot == 1 && stats.segments == 1);
    CU_ASSERT(stats.bytes == stats.live_bytes - 512 && stats.bytes % 512 == 0);
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE);
    CU_ASSERT(check_found() && s.records == 5 && check_read(1) && check_read(2));
    end();
}

static void crash(void)
{
    static const fake_odds odds[] = {{500, 0}, {300, 300}, {900, 50}, {0, 0}, {1000, 0}, {0, 1000}, {600, 400}};

    if (draw(5) != 0) { /* else only the process dies */
        fake_disk_crash(b.disk, odds[draw(sizeof odds / sizeof odds[0])], &b.m.rng);
    }
    b.disk->power_ends = false;
}

static bool history(uint64_t seed)
{
    static const uint32_t value_max[] = {64, 400, 1500, 2500};
    uint64_t rounds;
    uint32_t values = value_max[seed % 4];

    begin(seed, UINT64_C(4096) << (seed / 4 % 3), values);
    rounds = 1 + draw(6);
    for (uint64_t round = 0; round < rounds && b.m.chosen + 2 * WINDOW < SLOTS_MAX; round++) {
        cairn_error error = {CAIRN_OK, ""};
        cairn_log_found found = CAIRN_LOG_DAMAGED;
        uint64_t steps = draw(60);

        if (draw(4) != 0) {
            fake_disk_power(b.disk, draw(120));
        }
        for (uint64_t i = 0; i < steps && b.m.last + 40 < RECORDS_MAX; i++) {
            for (uint64_t n = draw(draw(8) == 0 ? 30 : 4); n > 0; n--) {
                append_any();
            }
            if (draw(10) == 0) {
                b.m.trim += draw(b.m.chosen - b.m.trim + 1);
                cairn_log_trim(b.log, b.m.trim);
            }
            if (write_all(&error) != CAIRN_OK) {
                break;
            }
            if (b.disk->power_ends && b.disk->power == 0) {
                break;
            }
            if (!check_read(1 + draw(b.m.chosen + WINDOW))) {
                return false;
            }
        }
        cairn_log_close(b.log);
        b.log = NULL;
        crash();
        if (!open_log(&found, &error) || (found != CAIRN_LOG_WHOLE && found != CAIRN_LOG_TORN) || !check_found()) {
            fprintf(stderr, "found %d: %s\n", (int)found, error.text);
            return false;
        }
        if (draw(2) == 0) {
            cairn_log_trim(b.log, b.m.trim);
        }
    }
    return true;
}

/* One more group, and then a bit anywhere is flipped: damage, or a bit that nobody needs. Nothing is lost unseen, also
 * of the last group, which the mark tells of. */
static bool flipped(uint64_t *damaged)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found = CAIRN_LOG_NONE;
    const fake_file *file;

    append_any();
    if (write_all(&error) != CAIRN_OK) {
        return false;
    }
    cairn_log_close(b.log);
    b.log = NULL;
    file = &b.disk->files[draw(b.disk->count)];
    (void)fake_disk_flip(b.disk, file->name, draw(file->bytes), (unsigned)draw(8));
    if (!open_log(&found, &error)) {
        return false;
    }
    *damaged += found == CAIRN_LOG_DAMAGED;
    return found == CAIRN_LOG_DAMAGED ? s.records == 0 : found != CAIRN_LOG_NONE && check_found();
}

static void log_random_histories(void)
{
    uint64_t damaged = 0;

    for (uint64_t seed = 1; seed <= 3000; seed++) {
        bool right = history(seed) && flipped(&damaged);

        if (!right) {
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        }
        end();
        CU_ASSERT_FATAL(right);
    }
    CU_ASSERT(damaged > 300);
}

/* While a group is being written more is appended: it is in the next one. */
static void log_two_groups_at_once(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t number = 0;

    begin(2, 8192, 1000);
    for (uint64_t round = 0; round < 50; round++) {
        vote(2 * round + 1, 5, 10);
        CU_ASSERT(cairn_log_seal(b.log));
        vote(2 * round + 2, 5, 900);
        CU_ASSERT(!cairn_log_seal(b.log));
        CU_ASSERT(cairn_log_write(b.log, &error) == CAIRN_OK);
        vote(2 * round + 2, 6, 20);
        cairn_log_written(b.log, &number);
        CU_ASSERT(number == 3 * round + 1);
        b.m.written = number;
        CU_ASSERT(check_read(2 * round + 1) && check_read(2 * round + 2));
        CU_ASSERT(write_all(&error) == CAIRN_OK && check_read(2 * round + 2));
    }
    b.m.trim = 0;
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE);
    CU_ASSERT(s.last == 150 && s.newest[100] == 150);
    end();
}

/* A group of many segments becomes many groups; the smallest segment holds the largest value. */
static void log_large_groups(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    cairn_log_options options = {.segment_bytes = 4096 - 512, .value_max = 3072};
    cairn_log *log;

    begin(3, 4096, 3072);
    for (uint64_t slot = 1; slot <= 60; slot++) {
        b.m.chosen = slot - 1;
        vote(slot, 5, slot % 7 == 0 ? 3072 : (uint32_t)(slot * 31 % 700));
    }
    CU_ASSERT(write_all(&error) == CAIRN_OK && b.m.written == 60);
    for (uint64_t slot = 1; slot <= 60; slot++) {
        CU_ASSERT(check_read(slot));
    }
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE);
    CU_ASSERT(check_found() && s.last == 60);
    vote(61, 5, 3072);
    b.options.value_max = 3073;
    CU_ASSERT(cairn_log_append(b.log, &(mp_record){.kind = MP_RECORD_VOTE, .slot = 1, .value.bytes = 3073}) ==
              CAIRN_E_INVALID);
    CU_ASSERT(cairn_log_append(b.log, &(mp_record){.kind = MP_RECORD_VOTE}) == CAIRN_E_INVALID);
    end();
    b.disk = fake_disk_new(1);
    b.face = fake_disk_face(b.disk);
    CU_ASSERT(cairn_log_create(&log, &b.face, &options, 77, &error) == CAIRN_E_INVALID && log == NULL);
    options.segment_bytes = 4097;
    CU_ASSERT(cairn_log_create(&log, &b.face, &options, 77, &error) == CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "multiple of 512") != NULL);
    end();
}

/* Trimmed segments are used again, and nothing that counts goes with them. */
static void log_trim(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    cairn_log_stats stats;

    begin(4, 8192, 500);
    append((mp_record){.kind = MP_RECORD_PROMISE, .ballot = px_ballot_of(9, 2)}, 0);
    append((mp_record){.kind = MP_RECORD_MEMBER, .generation = 3, .slot = 1, .ballot = px_ballot_of(10, 1)}, 0);
    for (uint64_t slot = 1; slot <= 1000; slot++) {
        b.m.chosen = slot - 1;
        vote(slot, slot % 100 == 0 ? px_ballot_of(11, 1) : PX_CHOSEN, 200);
        CU_ASSERT(write_all(&error) == CAIRN_OK);
        if (slot % 10 == 0) {
            b.m.trim = slot - 5;
            cairn_log_trim(b.log, b.m.trim);
        }
        cairn_log_get_stats(b.log, &stats);
        CU_ASSERT(stats.segments <= 3 && stats.live_bytes <= 3 * 8192 && slot - stats.first_slot < 40);
    }
    CU_ASSERT(b.disk->calls[FAKE_CREATE] <= 5 && b.disk->calls[FAKE_RENAME] > 60);
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE);
    CU_ASSERT(check_found() && s.promised == px_ballot_of(11, 1) && s.generation == 3);
    end();
}

/* Leaders come and go and nothing is chosen: the same slots are voted on without end, and the log does not grow. */
static void log_votes_without_end(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    cairn_log_stats stats;

    begin(5, 16384, 400);
    for (uint64_t slot = 1; slot <= 20; slot++) {
        b.m.chosen = slot - 1;
        vote(slot, 1, 30);
    }
    for (uint64_t ballot = 2; ballot < 900; ballot++) {
        for (uint64_t slot = 19; slot <= 22; slot++) {
            vote(slot, ballot, 400);
        }
        CU_ASSERT(write_all(&error) == CAIRN_OK);
        cairn_log_get_stats(b.log, &stats);
        CU_ASSERT(stats.segments == 1 && stats.first_slot == 1);
        CU_ASSERT(check_read(7) && check_read(19) && check_read(22));
    }
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE && check_found());
    end();
}

UNIT_MAIN("paxos_log", {"round trip", log_round_trip}, {"two groups at once", log_two_groups_at_once},
          {"large groups", log_large_groups}, {"trim", log_trim}, {"votes without end", log_votes_without_end},
          {"random histories", log_random_histories})
