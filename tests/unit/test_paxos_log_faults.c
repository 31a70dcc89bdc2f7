/* Goal: every fault that a disk may have is told for what it is: damage, a torn end, an error with the file's name;
 * never is something else taken for the log.
 * Method: a log of known shape on a disk in memory, and one fault after the other in a copy of it. */
#include "support/log_bed.h"

enum { GROUPS = 40 };

/* Where each group is. */
typedef struct shape {
    uint64_t segment[GROUPS], offset[GROUPS], blocks[GROUPS], last[GROUPS]; /* last: record */
    fake_disk *disk;
} shape;

static shape build(uint64_t segment_bytes)
{
    cairn_error error = {CAIRN_OK, ""};
    shape built = {.disk = NULL};
    cairn_log_stats before;
    cairn_log_stats after;

    begin(9, segment_bytes, 1500);
    for (uint64_t i = 0; i < GROUPS; i++) {
        cairn_log_get_stats(b.log, &before);
        for (uint64_t n = 1 + i % 3; n > 0; n--) {
            b.m.chosen = b.m.last;
            vote(b.m.last + 1, 5, 100 + (uint32_t)(i * 97 % 600));
        }
        CU_ASSERT_FATAL(write_all(&error) == CAIRN_OK);
        cairn_log_get_stats(b.log, &after);
        built.segment[i] = after.segments;
        built.offset[i] = after.segments == before.segments ? before.live_bytes % segment_bytes : 512;
        built.blocks[i] = (after.live_bytes - (after.segments - 1) * segment_bytes - built.offset[i]) / 512;
        built.last[i] = b.m.last;
    }
    cairn_log_close(b.log);
    b.log = NULL;
    built.disk = b.disk;
    return built;
}

/* Open a changed copy; b.disk is the copy until done(). */
static cairn_log_found look(cairn_error *error)
{
    cairn_log_found found = CAIRN_LOG_NONE;

    CU_ASSERT(open_log(&found, error));
    CU_ASSERT((b.log != NULL) == (found == CAIRN_LOG_WHOLE || found == CAIRN_LOG_TORN));
    CU_ASSERT(found != CAIRN_LOG_DAMAGED || (s.records == 0 && strncmp(error->text, "log-", 4) == 0));
    return found;
}

static void copy_of(const shape *built)
{
    b.disk = fake_disk_copy(built->disk);
    b.face = fake_disk_face(b.disk);
}

static void done(void)
{
    cairn_log_close(b.log);
    b.log = NULL;
    fake_disk_free(b.disk);
    b.disk = NULL;
}

static const char *name_of(uint64_t segment)
{
    static char name[32];

    (void)snprintf(name, sizeof name, "log-%016llx", (unsigned long long)segment);
    return name;
}

static void log_damage_in_each_block(void)
{
    shape built = build(16384);
    cairn_error error = {CAIRN_OK, ""};
    uint64_t damaged = 0;
    uint64_t blocks = 0;

    for (uint64_t i = 0; i < GROUPS; i++) {
        for (uint64_t block = 0; block < built.blocks[i]; block++) {
            cairn_log_found found;

            copy_of(&built);
            /* The first byte of a block is always one that counts. */
            CU_ASSERT(fake_disk_flip(b.disk, name_of(built.segment[i]), built.offset[i] + 512 * block, 3));
            found = look(&error);
            CU_ASSERT(found == CAIRN_LOG_DAMAGED && strstr(error.text, name_of(built.segment[i])) != NULL);
            damaged += found == CAIRN_LOG_DAMAGED;
            blocks++;
            done();
        }
    }
    CU_ASSERT(damaged == blocks && blocks > 60);
    fake_disk_free(built.disk);
}

static void log_damage_anywhere(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};
    uint64_t rng = 5;
    uint64_t counts[4] = {0};

    for (int i = 0; i < 4000; i++) {
        cairn_log_found found;

        copy_of(&built);
        CU_ASSERT(fake_disk_flip(b.disk, name_of(1 + fake_draw(&rng) % built.segment[GROUPS - 1]),
                                 fake_draw(&rng) % 8192, (unsigned)fake_draw(&rng)));
        found = look(&error);
        counts[found]++;
        /* Whole: a byte that nobody needs. */
        CU_ASSERT(found == CAIRN_LOG_DAMAGED || (!s.strange && s.last == built.last[GROUPS - 1]));
        done();
    }
    CU_ASSERT(counts[CAIRN_LOG_NONE] == 0 && counts[CAIRN_LOG_DAMAGED] > 1500 && counts[CAIRN_LOG_WHOLE] > 200);
    fake_disk_free(built.disk);
}

static void log_missing_and_short_files(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};

    for (uint64_t segment = 1; segment <= built.segment[GROUPS - 1]; segment++) {
        copy_of(&built);
        CU_ASSERT(b.face.remove(b.face.context, name_of(segment), &error) == CAIRN_OK);
        CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED && strstr(error.text, name_of(segment)) != NULL);
        done();
    }
    for (uint64_t segment = 1; segment <= built.segment[GROUPS - 1]; segment++) {
        for (uint64_t bytes = 0; bytes < 8192; bytes += 1024) {
            uint8_t data[8192];

            copy_of(&built);
            CU_ASSERT(b.face.read(b.face.context, name_of(segment), 0, data, sizeof data, &error) == CAIRN_OK);
            fake_disk_put(b.disk, name_of(segment), data, bytes);
            CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED);
            done();
        }
    }
    fake_disk_free(built.disk);
}

/* A full disk: the error names the file, no later write is believed, and what was written is still read. */
static void log_full_disk(void)
{
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    cairn_status status = CAIRN_OK;

    begin(6, 8192, 500);
    b.disk->capacity = 5 * 8192 + LOG_MARK_FILE + 100;
    while (status == CAIRN_OK) {
        b.m.chosen = b.m.last;
        vote(b.m.last + 1, 5, 400);
        status = write_all(&error);
    }
    CU_ASSERT(status == CAIRN_E_FULL && strstr(error.text, name_of(6)) != NULL);
    CU_ASSERT(b.m.written == b.m.last - 1 && b.m.written > 30);
    b.disk->capacity = 0;
    vote(b.m.last + 1, 5, 400);
    CU_ASSERT(write_all(&error) == CAIRN_E_FULL);
    CU_ASSERT(check_read(1) && check_read(b.m.written));
    cairn_log_close(b.log);
    CU_ASSERT_FATAL(open_log(&found, &error) && found == CAIRN_LOG_WHOLE && check_found());
    vote(b.m.last + 1, 5, 400);
    CU_ASSERT(write_all(&error) == CAIRN_OK);
    /* Old segments are used before new ones are made. */
    b.disk->capacity = 1;
    for (int i = 0; i < 200; i++) {
        b.m.trim = b.m.last;
        cairn_log_trim(b.log, b.m.trim);
        b.m.chosen = b.m.last;
        vote(b.m.last + 1, 5, 400);
        CU_ASSERT(write_all(&error) == CAIRN_OK);
    }
    end();
    b.disk = fake_disk_new(1);
    b.face = fake_disk_face(b.disk);
    b.disk->capacity = 100;
    CU_ASSERT(cairn_log_create(&b.log, &b.face, &b.options, 77, &error) == CAIRN_E_FULL && b.log == NULL);
    end();
}

/* A disk that cannot be read or written is an error, not damage. */
static void log_disk_errors(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t reads;
    mp_value value;
    uint8_t buffer[1500];

    copy_of(&built);
    CU_ASSERT(look(&error) == CAIRN_LOG_WHOLE);
    reads = b.disk->calls[FAKE_READ];
    done();
    for (uint64_t from = 0; from < reads; from++) {
        copy_of(&built);
        memset(b.disk->calls, 0, sizeof b.disk->calls);
        fake_disk_fail(b.disk, FAKE_READ, NULL, from, 1000, CAIRN_E_IO);
        CU_ASSERT(!open_log(&found, &error) && b.log == NULL && error.status == CAIRN_E_IO);
        CU_ASSERT(strncmp(error.text, "log-", 4) == 0 || strncmp(error.text, LOG_MARK_NAME, 8) == 0);
        done();
    }
    for (fake_call call = FAKE_LIST; call <= FAKE_SYNC; call = call == FAKE_LIST ? FAKE_SYNC : FAKE_CALLS) {
        copy_of(&built);
        fake_disk_fail(b.disk, call, NULL, 0, 1000, CAIRN_E_IO);
        CU_ASSERT(!open_log(&found, &error) && b.log == NULL);
        done();
    }
    for (fake_call call = FAKE_WRITE; call <= FAKE_SYNC; call++) {
        copy_of(&built);
        CU_ASSERT(look(&error) == CAIRN_LOG_WHOLE);
        fake_disk_fail(b.disk, call, NULL, 0, 1000, CAIRN_E_IO);
        b.m.last = built.last[GROUPS - 1];
        vote(3, 9, 10);
        CU_ASSERT(cairn_log_seal(b.log) && cairn_log_write(b.log, &error) == CAIRN_E_IO);
        fake_disk_heal(b.disk);
        CU_ASSERT(cairn_log_write(b.log, &error) == CAIRN_E_IO && strstr(error.text, "log-") != NULL);
        CU_ASSERT(cairn_log_read(b.log, 4, buffer, &value, &error) == CAIRN_OK);
        fake_disk_fail(b.disk, FAKE_READ, NULL, 0, 1000, CAIRN_E_IO);
        CU_ASSERT(cairn_log_read(b.log, 4, buffer, &value, &error) == CAIRN_E_IO);
        fake_disk_heal(b.disk);
        /* A record that was damaged after the opening is not handed out. */
        CU_ASSERT(fake_disk_flip(b.disk, name_of(1), built.offset[0] + 88 + 60, 1));
        CU_ASSERT(cairn_log_read(b.log, 1, buffer, &value, &error) == CAIRN_E_CORRUPT);
        done();
    }
    fake_disk_free(built.disk);
}

/* Two logs after one another in a folder: nothing of the old one is believed, wherever its bytes are. */
static void log_two_storages(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t storage = 0;
    uint8_t old[8192];
    uint8_t new[8192];

    copy_of(&built);
    CU_ASSERT(cairn_log_create(&b.log, &b.face, &b.options, 78, &error) == CAIRN_E_STATE);
    CU_ASSERT(b.face.read(b.face.context, name_of(1), 0, old, sizeof old, &error) == CAIRN_OK);
    CU_ASSERT(cairn_log_set_aside(&b.face, &error) == CAIRN_OK);
    CU_ASSERT(fake_disk_file(b.disk, "log-0000000000000002.damaged") != NULL);
    CU_ASSERT(open_log(&found, &error) && found == CAIRN_LOG_NONE);
    CU_ASSERT_FATAL(cairn_log_create(&b.log, &b.face, &b.options, 78, &error) == CAIRN_OK);
    b.m.last = 0;
    b.m.written = 0;
    b.m.chosen = 0;
    vote(1, 5, 1500);
    vote(2, 5, 0);
    CU_ASSERT(write_all(&error) == CAIRN_OK);
    cairn_log_close(b.log);
    CU_ASSERT(b.face.read(b.face.context, name_of(1), 0, new, sizeof new, &error) == CAIRN_OK);
    for (size_t from = 512; from < 8192; from += 512) { /* the old segment shows through behind the new groups */
        memcpy(old, new, from);
        fake_disk_put(b.disk, name_of(1), old, sizeof old);
        put_mark(b.disk, 78, 1); /* it is not what tells them apart */
        memset(&s, 0, sizeof s);
        s.m = &b.m;
        CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, take, &s, &found, &storage, &error) == CAIRN_OK);
        CU_ASSERT(storage == 78 && !s.strange && s.last == (from >= 2560 ? 2 : 0));
        CU_ASSERT(found == CAIRN_LOG_WHOLE || (from < 2560 && found == CAIRN_LOG_TORN));
        cairn_log_close(b.log);
        CU_ASSERT(b.face.read(b.face.context, "log-0000000000000001.damaged", 0, old, sizeof old, &error) == CAIRN_OK);
    }
    b.log = NULL;
    done();
    fake_disk_free(built.disk);
}

/* A disk that goes back to an older state in some sectors: what was written after another group n than the one that is
 * there is not read as if it followed this one. */
static void log_two_branches(void)
{
    shape built = build(65536);
    cairn_error error = {CAIRN_OK, ""};
    fake_disk *branches[2];
    static uint8_t first[65536];
    static uint8_t second[65536];
    const char *name = name_of(built.segment[GROUPS - 1]);
    uint64_t at = built.offset[GROUPS - 1] + 512 * built.blocks[GROUPS - 1];

    CU_ASSERT_FATAL(at + 1024 <= 65536);
    for (int i = 0; i < 2; i++) {
        copy_of(&built);
        CU_ASSERT(look(&error) == CAIRN_LOG_WHOLE);
        b.m.last = built.last[GROUPS - 1];
        b.m.written = b.m.last;
        for (int group = 0; group < 2; group++) {
            vote(b.m.last + 1, 6 + (px_ballot)i, 100);
            CU_ASSERT(write_all(&error) == CAIRN_OK);
        }
        cairn_log_close(b.log);
        branches[i] = b.disk;
    }
    memcpy(first, fake_disk_file(branches[0], name)->durable, sizeof first);
    memcpy(second, fake_disk_file(branches[1], name)->durable, sizeof second);
    memcpy(second + at, first + at, 512);
    fake_disk_put(b.disk, name, second, sizeof second);
    put_mark(b.disk, 77, GROUPS + 1); /* it is not what tells them apart; the first group is that of the creation */
    CU_ASSERT(look(&error) != CAIRN_LOG_DAMAGED && s.last == built.last[GROUPS - 1] + 1);
    fake_disk_free(branches[0]);
    done();
    fake_disk_free(built.disk);
}

/* Creating and setting aside may stop after any call. */
static void log_interrupted(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t rng = 8;
    uint64_t storage = 0;
    uint64_t segments = built.disk->count - 1; /* one that is prepared, too; and the mark */

    for (uint64_t calls = 0; calls < 40; calls++) {
        cairn_status status;

        copy_of(&built);
        fake_disk_power(b.disk, calls);
        status = cairn_log_set_aside(&b.face, &error);
        fake_disk_crash(b.disk, (fake_odds){500, 0}, &rng);
        found = look(&error);
        CU_ASSERT(status == CAIRN_OK || calls <= segments);
        CU_ASSERT(found == (calls >= segments ? CAIRN_LOG_NONE /* also when only the mark is left */
                            : calls > 0       ? CAIRN_LOG_DAMAGED
                                              : CAIRN_LOG_WHOLE));
        done();
    }
    for (uint64_t calls = 0; calls < 400; calls++) {
        cairn_status status;

        b.disk = fake_disk_new(1);
        b.face = fake_disk_face(b.disk);
        fake_disk_power(b.disk, calls % 8);
        status = cairn_log_create(&b.log, &b.face, &b.options, 78, &error);
        CU_ASSERT((status == CAIRN_OK) == (calls % 8 >= 6));
        cairn_log_close(b.log);
        fake_disk_crash(b.disk, (fake_odds){400, 200}, &rng);
        CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, NULL, NULL, &found, &storage, &error) == CAIRN_OK);
        CU_ASSERT(found == (status == CAIRN_OK ? CAIRN_LOG_WHOLE : CAIRN_LOG_NONE));
        CU_ASSERT(found == CAIRN_LOG_WHOLE || cairn_log_create(&b.log, &b.face, &b.options, 79, &error) == CAIRN_OK);
        done();
    }
    fake_disk_free(built.disk);
}

/* The callback ends the reading; a value that is too long does not fit. */
static cairn_status refuse(void *context, const mp_record *record)
{
    (void)context;
    return record->slot == 3 ? CAIRN_E_CORRUPT : CAIRN_OK;
}

static void log_refused(void)
{
    shape built = build(8192);
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t storage = 0;

    copy_of(&built);
    CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, refuse, NULL, &found, &storage, &error) == CAIRN_E_CORRUPT);
    CU_ASSERT(b.log == NULL);
    b.options.value_max = 200;
    CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, NULL, NULL, &found, &storage, &error) == CAIRN_E_MISMATCH);
    CU_ASSERT(b.log == NULL && strstr(error.text, "the most is 200") != NULL);
    /* Other segments from now on, the old ones as they are. */
    b.options = (cairn_log_options){.segment_bytes = 4096, .value_max = 1500};
    CU_ASSERT(look(&error) == CAIRN_LOG_WHOLE);
    b.m.last = built.last[GROUPS - 1];
    b.m.written = b.m.last;
    for (int i = 0; i < 30; i++) {
        b.m.chosen = b.m.last;
        vote(b.m.last + 1, 6, 1500);
        CU_ASSERT(write_all(&error) == CAIRN_OK);
    }
    cairn_log_close(b.log);
    CU_ASSERT(look(&error) == CAIRN_LOG_WHOLE && check_found());
    done();
    fake_disk_free(built.disk);
}

UNIT_MAIN("paxos_log_faults", {"damage in each block", log_damage_in_each_block},
          {"damage anywhere", log_damage_anywhere}, {"missing and short files", log_missing_and_short_files},
          {"full disk", log_full_disk}, {"disk errors", log_disk_errors}, {"two storages", log_two_storages},
          {"two branches", log_two_branches}, {"interrupted", log_interrupted}, {"refused", log_refused})
