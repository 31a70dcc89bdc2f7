/* Opening a log over any bytes: never a fault, never a hang, and what is opened can be read and written on.
 *
 * The input is a byte of how, then pieces: which file (high half 15: cut it off there), two bytes of where, how many
 * bytes, and bytes that are put there, in a small log of known content. Checksums stop nearly all changes; so, if `how`
 * says so, every group's checks, and the chain, are made right again after them, and what is behind is reached; the
 * mark's, too, or there is none. */
#include "base/pack.h"
#include "paxos/log_parts.h"
#include "support/fake_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENT = 4096, VALUE_MAX = 600, SEGMENTS = 5 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz_paxos_log: %s\n", what);
        abort();
    }
}

static const cairn_log_options options = {.segment_bytes = SEGMENT, .value_max = VALUE_MAX};

static bool write_votes(cairn_log *log, uint64_t from, uint64_t count)
{
    static const uint8_t value[VALUE_MAX] = {1, 2, 3};

    for (uint64_t slot = from; slot < from + count; slot++) {
        mp_record record = {.number = slot, .kind = MP_RECORD_VOTE, .slot = slot, .ballot = 5, .chosen = slot - 1};

        record.value = (mp_value){.type = MP_COMMANDS, .bytes = (uint32_t)(slot * 97 % VALUE_MAX), .data = value};
        must(cairn_log_append(log, &record) == CAIRN_OK, "append");
        must(cairn_log_seal(log), "seal");
        cairn_status status = cairn_log_write(log, NULL);
        cairn_log_written(log, NULL);
        if (status != CAIRN_OK) {
            return false;
        }
    }
    return true;
}

/* A log of a few segments, with one that was used again. */
static fake_disk *make(void)
{
    fake_disk *disk = fake_disk_new(1);
    cairn_disk face = fake_disk_face(disk);
    cairn_log *log;

    must(cairn_log_create(&log, &face, &options, 77, NULL) == CAIRN_OK, "create");
    must(write_votes(log, 1, 8), "write");
    cairn_log_trim(log, 7);
    must(write_votes(log, 9, 14), "write");
    cairn_log_close(log);
    must(face.sync(face.context, LOG_MARK_NAME, NULL) == CAIRN_OK, "sync");
    return disk;
}

static void seal_mark_again(const fake_file *file)
{
    for (uint64_t at = 0; at + LOG_MARK_BYTES <= file->bytes; at += LOG_SECTOR) {
        cairn_unpack unpack = {.data = file->durable + at, .bytes = LOG_MARK_BYTES, .at = 8};
        log_mark mark;

        mark.storage = cairn_unpack_u64(&unpack);
        mark.number = cairn_unpack_u64(&unpack);
        mark.owner = cairn_unpack_u64(&unpack);
        log_mark_put(file->durable + at, &mark);
        memcpy(file->seen + at, file->durable + at, LOG_MARK_BYTES);
    }
}

/* Make checks right again wherever there is something like a group. */
static void seal_again(const fake_file *file, bool unmarked)
{
    for (uint64_t at = 0; at + LOG_HEADER_BYTES <= file->bytes;) {
        uint8_t *header = file->durable + at;
        log_group group;
        cairn_unpack unpack = {.data = header, .bytes = LOG_HEADER_BYTES, .at = 8};

        if (memcmp(header, "CAIRNLG1", 8) != 0) {
            at += LOG_SECTOR;
            continue;
        }
        group.storage = cairn_unpack_u64(&unpack);
        group.number = cairn_unpack_u64(&unpack);
        group.previous = cairn_unpack_u64(&unpack);
        group.segment = cairn_unpack_u64(&unpack);
        group.oldest = cairn_unpack_u64(&unpack);
        group.segment_bytes = cairn_unpack_u64(&unpack);
        group.offset = cairn_unpack_u32(&unpack);
        group.bytes = cairn_unpack_u32(&unpack);
        group.records = cairn_unpack_u32(&unpack);
        group.flags = unmarked ? 0 : cairn_unpack_u32(&unpack);
        if (group.bytes > file->bytes - at - LOG_HEADER_BYTES) {
            at += LOG_SECTOR;
            continue;
        }
        log_group_put(header, &group);
        at += log_group_room(group.bytes);
    }
    memcpy(file->seen, file->durable, (size_t)file->bytes);
}

/* Chain what was sealed again: each header in the order of files and places holds the check of the one before. */
static void chain_again(fake_disk *disk)
{
    uint64_t previous = 0;

    for (uint64_t segment = 1; segment <= SEGMENTS + 4; segment++) {
        char name[LOG_NAME_BYTES];
        fake_file *file;

        log_name(name, segment);
        file = fake_disk_file(disk, name);
        for (uint64_t at = 0; file != NULL && at + LOG_HEADER_BYTES <= file->bytes;) {
            log_group group;

            if (!log_group_get(file->durable + at, segment, file->bytes, at, &group)) {
                break;
            }
            group.previous = previous;
            log_group_put(file->durable + at, &group);
            previous = group.check;
            at += log_group_room(group.bytes);
        }
        if (file != NULL) {
            memcpy(file->seen, file->durable, (size_t)file->bytes);
        }
    }
}

static void change(fake_disk *disk, const uint8_t *data, size_t size)
{
    while (size >= 4) {
        size_t bytes = 1 + data[3] % 32;
        uint64_t at = ((uint64_t)data[1] << 8 | data[2]) % SEGMENT;
        fake_file *file = disk->count > 0 ? &disk->files[(data[0] & 15) % disk->count] : NULL;

        bytes = bytes < size - 4 ? bytes : size - 4;
        if (file != NULL && (data[0] >> 4) == 15) { /* another length */
            uint8_t whole[SEGMENT] = {0};
            char name[FAKE_NAME];

            memcpy(whole, file->durable, (size_t)(file->bytes < SEGMENT ? file->bytes : SEGMENT));
            memcpy(name, file->name, sizeof name);
            fake_disk_put(disk, name, whole, at);
        } else if (file != NULL && at + bytes <= file->bytes) {
            memcpy(file->durable + at, data + 4, bytes);
            memcpy(file->seen + at, data + 4, bytes);
        }
        data += 4 + bytes;
        size -= 4 + bytes;
    }
}

static cairn_status take(void *context, const mp_record *record)
{
    uint64_t *sum = context;

    must(record->value.bytes <= VALUE_MAX, "a value is too long");
    for (uint32_t i = 0; i < record->value.bytes; i++) {
        *sum += ((const uint8_t *)record->value.data)[i];
    }
    return CAIRN_OK;
}

static void use(cairn_log *log, const cairn_disk *face)
{
    cairn_log_stats stats;
    cairn_log_found found;
    uint64_t storage;
    uint64_t sum = 0;

    cairn_log_get_stats(log, &stats);
    for (uint64_t slot = stats.first_slot; slot < stats.first_slot + 40; slot++) {
        uint8_t buffer[VALUE_MAX];
        mp_value value;

        (void)cairn_log_read(log, slot, buffer, &value, NULL);
    }
    bool written = write_votes(log, 100, 12);
    cairn_log_trim(log, 105);
    written = written && write_votes(log, 112, 12);
    cairn_log_close(log);
    must(cairn_log_open(&log, face, &options, take, &sum, &found, &storage, NULL) == CAIRN_OK, "opening again");
    must(!written || found == CAIRN_LOG_WHOLE, "what was written on is not whole");
    cairn_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fake_disk *pattern;
    cairn_log *log = NULL;
    cairn_log_found found;
    uint64_t storage;
    uint64_t sum = 0;

    if (size < 1 || size > 4096) {
        return 0;
    }
    pattern = pattern != NULL ? pattern : make();
    fake_disk *disk = fake_disk_copy(pattern);
    cairn_disk face = fake_disk_face(disk);
    change(disk, data + 1, size - 1);
    if ((data[0] & 4) != 0) {
        (void)face.remove(face.context, LOG_MARK_NAME, NULL);
    } else if ((data[0] & 8) != 0 && fake_disk_file(disk, LOG_MARK_NAME) != NULL) {
        seal_mark_again(fake_disk_file(disk, LOG_MARK_NAME));
    }
    for (size_t i = 0; i < disk->count && (data[0] & 1) != 0; i++) {
        seal_again(&disk->files[i], (data[0] & 4) != 0);
    }
    if ((data[0] & 3) == 3) {
        chain_again(disk);
    }
    if (cairn_log_open(&log, &face, &options, take, &sum, &found, &storage, NULL) == CAIRN_OK && log != NULL) {
        use(log, &face);
    } else {
        must(log == NULL, "a log in spite of an error");
    }
    fake_disk_free(disk);
    return 0;
}
