/* Goal: a log that lost its end, or is not the one that was there, is never taken for one with a torn end; what a crash
 * leaves is never taken for damage; and no interruption of setting aside and creating anew makes a lost end look whole.
 * Method: a log of known content on a disk in memory; its end is taken away in every way, with the mark as it was, torn,
 * older and gone; crashes after every call of the disk. */
#include "support/log_bed.h"

enum { GROUPS = 40, SEGMENT = 8192, STORAGE = 77 };

typedef struct spot {
    fake_file *file;
    uint64_t offset;
    log_group group;
} spot;

static uint64_t last_group; /* of the log that build() made */

static bool is_segment(const fake_file *file, uint64_t *number)
{
    return log_name_parse(file->name, number);
}

/* Where the group is that the log would read; file NULL: nowhere. */
static spot find_group(const fake_disk *disk, uint64_t number)
{
    for (size_t i = 0; i < disk->count; i++) {
        fake_file *file = &disk->files[i];
        uint64_t segment;

        for (uint64_t at = 0; is_segment(file, &segment) && at + LOG_HEADER_BYTES <= file->bytes; at += LOG_SECTOR) {
            spot found = {.file = file, .offset = at};

            if (log_group_get(file->durable + at, segment, file->bytes, at, &found.group) &&
                found.group.number == number) {
                return found;
            }
        }
    }
    return (spot){.file = NULL};
}

static uint64_t room_of(const spot *s_)
{
    return log_group_room(s_->group.bytes);
}

static void put_bytes(const spot *at, uint64_t from, const void *data, size_t bytes)
{
    memcpy(at->file->durable + at->offset + from, data, bytes);
    memcpy(at->file->seen + at->offset + from, data, bytes);
}

static void zero_group(const fake_disk *disk, uint64_t number)
{
    static const uint8_t zeros[SEGMENT];
    spot at = find_group(disk, number);

    CU_ASSERT_FATAL(at.file != NULL);
    put_bytes(&at, 0, zeros, (size_t)room_of(&at));
}

static fake_disk *build(void)
{
    cairn_error error = {CAIRN_OK, ""};
    fake_disk *disk;

    begin(11, SEGMENT, 1500);
    for (uint64_t i = 0; i < GROUPS; i++) {
        b.m.chosen = b.m.last;
        vote(b.m.last + 1, 5, 100 + (uint32_t)(i * 97 % 600));
        CU_ASSERT_FATAL(write_all(&error) == CAIRN_OK);
    }
    cairn_log_close(b.log);
    b.log = NULL;
    CU_ASSERT(b.face.sync(b.face.context, LOG_MARK_NAME, &error) == CAIRN_OK); /* as the kernel does sooner or later */
    for (last_group = GROUPS; find_group(b.disk, last_group + 1).file != NULL; last_group++) {
    }
    disk = b.disk;
    b.disk = NULL;
    return disk;
}

static void copy_of(const fake_disk *built)
{
    b.disk = fake_disk_copy(built);
    b.face = fake_disk_face(b.disk);
}

static void done(void)
{
    cairn_log_close(b.log);
    b.log = NULL;
    fake_disk_free(b.disk);
    b.disk = NULL;
}

static cairn_log_found look(cairn_error *error)
{
    cairn_log_found found = CAIRN_LOG_NONE;

    CU_ASSERT(open_log(&found, error));
    CU_ASSERT(found != CAIRN_LOG_DAMAGED || (s.records == 0 && strncmp(error->text, "log", 3) == 0));
    return found;
}

/* As it was: all of it is there. */
static bool is_whole(cairn_error *error)
{
    return look(error) == CAIRN_LOG_WHOLE && s.last == b.m.last && !s.strange;
}

static bool says(const cairn_error *error, uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, " %llu", (unsigned long long)number);
    return strstr(error->text, text) != NULL;
}

/* Of the log's end so many groups are zeros, or gone with their bytes' place; the mark as it was, or older. */
static void mark_end_lost(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};

    for (uint64_t lost = 1; lost <= 12; lost++) {
        for (uint64_t behind = 0; behind <= lost; behind++) { /* groups that the mark does not tell of */
            cairn_log_found found;

            copy_of(built);
            for (uint64_t i = 0; i < lost; i++) {
                zero_group(b.disk, last_group - i);
            }
            if (behind > 0) {
                put_mark(b.disk, STORAGE, last_group - behind);
            }
            found = look(&error);
            if (behind < lost) {
                CU_ASSERT(found == CAIRN_LOG_DAMAGED && says(&error, last_group - behind));
                CU_ASSERT(says(&error, last_group - lost) && strstr(error.text, LOG_MARK_NAME) != NULL);
            } else { /* as if it had never been written: an older mark is harmless, and tells no more than it says */
                CU_ASSERT(found == CAIRN_LOG_WHOLE && !s.strange);
            }
            done();
        }
    }
    fake_disk_free(built);
}

/* Any bit of the last group; the mark's own bits; the file cut off; segments gone from the end. */
static void mark_end_damaged(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};
    spot last = find_group(built, last_group);
    uint64_t bytes = LOG_HEADER_BYTES + last.group.bytes;
    uint64_t segments = last.group.segment;

    for (uint64_t bit = 0; bit < bytes * 8; bit += bit < LOG_HEADER_BYTES * 8 ? 1 : 13) {
        copy_of(built);
        CU_ASSERT(fake_disk_flip(b.disk, last.file->name, last.offset + bit / 8, (unsigned)(bit % 8)));
        CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED);
        done();
    }
    for (uint64_t bit = 0; bit < LOG_MARK_FILE * 8; bit++) {
        copy_of(built);
        CU_ASSERT(fake_disk_flip(b.disk, LOG_MARK_NAME, bit / 8, (unsigned)(bit % 8)));
        CU_ASSERT(is_whole(&error));
        done();
    }
    for (uint64_t cut = 0; cut < SEGMENT; cut += 256) {
        copy_of(built);
        fake_disk_put(b.disk, last.file->name, last.file->durable, cut);
        CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED);
        done();
    }
    CU_ASSERT_FATAL(segments > 3);
    for (uint64_t gone = 1; gone < segments; gone++) {
        char name[LOG_NAME_BYTES];

        copy_of(built);
        for (uint64_t i = 0; i < gone; i++) {
            log_name(name, segments - i);
            CU_ASSERT(b.face.remove(b.face.context, name, &error) == CAIRN_OK);
        }
        log_name(name, segments - gone);
        CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED && strstr(error.text, name) != NULL && says(&error, last_group));
        done();
    }
    fake_disk_free(built);
}

/* What another acceptor wrote, with the mark of this one, or with its own. */
static void mark_of_another(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found;
    uint64_t storage = 0;

    for (int with_mark = 0; with_mark < 2; with_mark++) {
        fake_disk *other = fake_disk_new(3);
        cairn_disk face = fake_disk_face(other);
        cairn_log_options options = {.segment_bytes = SEGMENT, .value_max = 1500, .owner = 2};

        CU_ASSERT_FATAL(cairn_log_create(&b.log, &face, &options, 78, &error) == CAIRN_OK);
        for (uint64_t slot = 1; slot <= GROUPS + 10; slot++) {
            b.m.last = slot - 1; /* the model is not of this log */
            b.m.written = 0;
            vote(slot, 6, 300);
            CU_ASSERT(cairn_log_seal(b.log) && cairn_log_write(b.log, &error) == CAIRN_OK);
            cairn_log_written(b.log, NULL);
        }
        cairn_log_close(b.log);
        b.log = NULL;
        if (!with_mark) {
            const fake_file *mark = fake_disk_file(built, LOG_MARK_NAME);

            fake_disk_put(other, LOG_MARK_NAME, mark->durable, mark->bytes);
        }
        CU_ASSERT(cairn_log_open(&b.log, &face, &b.options, NULL, NULL, &found, &storage, &error) == CAIRN_OK);
        CU_ASSERT(found == CAIRN_LOG_DAMAGED && b.log == NULL);
        CU_ASSERT(strstr(error.text, with_mark ? "of acceptor 2" : "another storage") != NULL);
        fake_disk_free(other);
    }
    fake_disk_free(built);
}

/* As logs were before there were marks: the flag is not set, and there is none. */
static void unmark(fake_disk *disk)
{
    uint64_t previous = 0;

    for (uint64_t number = 1; number <= last_group; number++) {
        spot at = find_group(disk, number);
        uint8_t *data = at.file->durable + at.offset;

        at.group.flags = 0;
        at.group.previous = number == 1 ? at.group.previous : previous;
        log_group_put(data, &at.group);
        memcpy(at.file->seen + at.offset, data, LOG_HEADER_BYTES);
        previous = at.group.check;
    }
    CU_ASSERT(fake_disk_face(disk).remove(disk, LOG_MARK_NAME, NULL) == CAIRN_OK);
}

/* Without a mark: damage if there was one, else an old log, which has one from then on. Cut off: as if it were gone. */
static void mark_missing(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};

    for (uint64_t bytes = 0; bytes <= LOG_MARK_FILE; bytes += LOG_SECTOR) {
        uint8_t data[LOG_MARK_FILE] = {0};

        copy_of(built);
        if (bytes == LOG_MARK_FILE) {
            CU_ASSERT(b.face.remove(b.face.context, LOG_MARK_NAME, &error) == CAIRN_OK);
        } else {
            fake_disk_put(b.disk, LOG_MARK_NAME, data, bytes);
        }
        CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED && strstr(error.text, LOG_MARK_NAME " is missing") != NULL);
        done();
    }
    for (int lost = 0; lost < 3; lost++) {
        copy_of(built);
        unmark(b.disk);
        CU_ASSERT(is_whole(&error));
        b.m.written = b.m.last;
        if (lost == 2) {
            vote(b.m.last + 1, 5, 100);
            CU_ASSERT(write_all(&error) == CAIRN_OK);
        }
        cairn_log_close(b.log);
        b.log = NULL;
        if (lost > 0) {
            zero_group(b.disk, last_group + (lost == 2));
        }
        CU_ASSERT(lost > 0 ? look(&error) == CAIRN_LOG_DAMAGED : is_whole(&error));
        b.m.last -= lost == 2;
        done();
    }
    fake_disk_free(built);
}

/* A sector that is torn says nothing; the other one says what it said. Bringing the mark forward is part of opening. */
static void mark_torn(void)
{
    static const uint8_t zeros[LOG_SECTOR];
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};

    for (unsigned torn = 1; torn < 4; torn++) {
        for (uint64_t lost = 0; lost <= 2; lost++) {
            bool newest = (torn >> last_group % 2 & 1) != 0; /* the sector of the last group */
            fake_file *mark;
            bool noticed = lost > (torn == 3 ? 2u : newest);

            copy_of(built);
            mark = fake_disk_file(b.disk, LOG_MARK_NAME);
            for (unsigned sector = 0; sector < 2; sector++) {
                size_t bytes = torn == 3 ? LOG_SECTOR : 17; /* half of what is there, or all */

                if ((torn >> sector & 1) != 0) {
                    memcpy(mark->seen + (size_t)sector * LOG_SECTOR + 3, zeros, bytes - 3);
                    memcpy(mark->durable + (size_t)sector * LOG_SECTOR + 3, zeros, bytes - 3);
                }
            }
            for (uint64_t i = 0; i < lost; i++) {
                zero_group(b.disk, last_group - i);
            }
            CU_ASSERT(look(&error) == (noticed ? CAIRN_LOG_DAMAGED : CAIRN_LOG_WHOLE));
            if (!noticed) { /* and now it is */
                cairn_log_close(b.log);
                b.log = NULL;
                zero_group(b.disk, last_group - lost);
                CU_ASSERT(look(&error) == CAIRN_LOG_DAMAGED && says(&error, last_group - lost));
            }
            done();
        }
    }
    fake_disk_free(built);
}

/* The power fails after every call while groups are written, and any unsynced sector may survive, those of the mark
 * too: never damage. If all survive, or only the process died, what was written is found, and its loss is noticed. */
static void mark_never_ahead(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};
    uint64_t rng = 12;
    uint64_t older = 0;

    for (uint64_t calls = 0; calls < 30; calls++) {
        for (int time = 0; time < 40; time++) {
            uint32_t kept = time == 0 ? 1000 : (uint32_t)(fake_draw(&rng) % 1000);
            cairn_log_found found;
            uint64_t noticed;

            copy_of(built);
            b.m.last = GROUPS;
            b.m.written = GROUPS;
            b.m.chosen = GROUPS;
            CU_ASSERT(is_whole(&error));
            fake_disk_power(b.disk, calls);
            for (int i = 0; i < 10; i++) {
                b.m.chosen = b.m.last;
                vote(b.m.last + 1, 5, 400);
                if (write_all(&error) != CAIRN_OK) {
                    break;
                }
            }
            cairn_log_close(b.log);
            b.log = NULL;
            fake_disk_crash(b.disk, (fake_odds){kept, time % 2 == 0 ? 0 : (1000 - kept) / 2}, &rng);
            noticed = last_group;
            for (uint64_t sector = 0; sector < LOG_MARK_FILE; sector += LOG_SECTOR) {
                log_mark mark;

                if (log_mark_get(fake_disk_file(b.disk, LOG_MARK_NAME)->durable + sector, &mark)) {
                    noticed = mark.number > noticed ? mark.number : noticed;
                }
            }
            found = look(&error);
            CU_ASSERT((found == CAIRN_LOG_WHOLE || found == CAIRN_LOG_TORN) && !s.strange && s.last >= b.m.written);
            older += noticed < s.last + last_group - GROUPS; /* segments begin with a group, so it is more often */
            done();
        }
    }
    CU_ASSERT(older > 100);
    fake_disk_free(built);
}

/* Setting aside a log that lost its end, and creating it anew, may stop after any call; then it is opened again. */
static void mark_interrupted(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};
    uint64_t rng = 13;
    uint64_t made = 0;

    for (uint64_t calls = 0; calls < 30; calls++) {
        for (int time = 0; time < 6; time++) {
            cairn_log_found found = CAIRN_LOG_NONE;
            uint64_t storage = 0;
            cairn_status status;

            copy_of(built);
            zero_group(b.disk, last_group);
            if (time >= 3) { /* without a mark it is damaged as well */
                CU_ASSERT(b.face.remove(b.face.context, LOG_MARK_NAME, &error) == CAIRN_OK);
            }
            fake_disk_power(b.disk, calls);
            status = cairn_log_set_aside(&b.face, &error);
            if (status == CAIRN_OK) {
                status = cairn_log_create(&b.log, &b.face, &b.options, 79, &error);
                cairn_log_close(b.log);
                b.log = NULL;
            }
            fake_disk_crash(b.disk, (fake_odds){(uint32_t)time % 3 * 400, 0}, &rng);
            CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, NULL, NULL, &found, &storage, &error) == CAIRN_OK);
            CU_ASSERT(found == CAIRN_LOG_DAMAGED || found == CAIRN_LOG_NONE ||
                      (found == CAIRN_LOG_WHOLE && storage == 79));
            CU_ASSERT(status != CAIRN_OK || found == CAIRN_LOG_WHOLE);
            made += found == CAIRN_LOG_WHOLE;
            if (found != CAIRN_LOG_WHOLE) { /* another try ends well, whatever was left */
                CU_ASSERT(cairn_log_set_aside(&b.face, &error) == CAIRN_OK);
                CU_ASSERT(cairn_log_create(&b.log, &b.face, &b.options, 80, &error) == CAIRN_OK);
                cairn_log_close(b.log);
                CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, NULL, NULL, &found, &storage, &error) ==
                          CAIRN_OK);
                CU_ASSERT(found == CAIRN_LOG_WHOLE && storage == 80);
            }
            done();
        }
    }
    CU_ASSERT(made > 20);
    fake_disk_free(built);
}

/* What is left of a lost log is its mark: a group that never formed can still be made. A mark that cannot be written or
 * read is an error of the disk. */
static void mark_errors(void)
{
    fake_disk *built = build();
    cairn_error error = {CAIRN_OK, ""};
    cairn_log_found found = CAIRN_LOG_NONE;
    uint64_t storage = 0;
    uint64_t written;

    b.disk = fake_disk_new(1);
    b.face = fake_disk_face(b.disk);
    put_mark(b.disk, STORAGE, 1000);
    CU_ASSERT(look(&error) == CAIRN_LOG_NONE);
    CU_ASSERT(cairn_log_create(&b.log, &b.face, &b.options, 78, &error) == CAIRN_OK);
    cairn_log_close(b.log);
    CU_ASSERT(cairn_log_open(&b.log, &b.face, &b.options, NULL, NULL, &found, &storage, &error) == CAIRN_OK);
    CU_ASSERT(found == CAIRN_LOG_WHOLE && storage == 78);
    done();

    copy_of(built);
    fake_disk_fail(b.disk, FAKE_READ, LOG_MARK_NAME, 0, 1000, CAIRN_E_IO);
    CU_ASSERT(!open_log(&found, &error) && error.status == CAIRN_E_IO && b.log == NULL);
    fake_disk_heal(b.disk);
    fake_disk_fail(b.disk, FAKE_WRITE, LOG_MARK_NAME, 0, 1000, CAIRN_E_IO);
    CU_ASSERT(!open_log(&found, &error) && error.status == CAIRN_E_IO && b.log == NULL);
    fake_disk_heal(b.disk);
    b.m.last = b.m.written = written = GROUPS;
    CU_ASSERT(is_whole(&error));
    fake_disk_fail(b.disk, FAKE_WRITE, LOG_MARK_NAME, 0, 1000, CAIRN_E_IO);
    vote(b.m.last + 1, 5, 100);
    CU_ASSERT(write_all(&error) == CAIRN_E_IO && b.m.written == written && strstr(error.text, LOG_MARK_NAME) != NULL);
    fake_disk_heal(b.disk);
    vote(b.m.last + 1, 5, 100);
    CU_ASSERT(write_all(&error) == CAIRN_E_IO && b.m.written == written); /* for good */
    done();
    fake_disk_free(built);
}

UNIT_MAIN("paxos_log_mark", {"end lost", mark_end_lost}, {"end damaged", mark_end_damaged},
          {"of another", mark_of_another}, {"missing", mark_missing}, {"torn", mark_torn},
          {"never ahead", mark_never_ahead}, {"interrupted", mark_interrupted}, {"errors", mark_errors})
