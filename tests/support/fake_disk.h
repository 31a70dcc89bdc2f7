/* A disk in memory that loses, tears and damages what a real one may, on purpose and reproducibly: for tests of the log
 * and for the simulator. Everything is in the fake_disk; the same calls with the same seeds do the same.
 *
 * A write changes what reads see; sync makes that durable. fake_disk_crash is the machine losing power: every 512-byte
 * sector that was written and not synced is lost (the durable bytes are back), kept, or torn, each drawn for itself.
 * (A process that dies while the machine goes on loses nothing: just open the log again.) create, rename and remove
 * are durable at once; to crash before or within any call, let the power fail after a number of calls
 * (fake_disk_power), and then call fake_disk_crash. */
#ifndef CAIRN_TESTS_SUPPORT_FAKE_DISK_H
#define CAIRN_TESTS_SUPPORT_FAKE_DISK_H

#include "paxos/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_SECTOR = 512, FAKE_NAME = 64, FAKE_RULES = 8 };

typedef enum fake_call {
    FAKE_LIST,
    FAKE_CREATE,
    FAKE_READ,
    FAKE_WRITE,
    FAKE_SYNC,
    FAKE_RENAME,
    FAKE_REMOVE,
    FAKE_CALLS
} fake_call;

typedef struct fake_file {
    char name[FAKE_NAME];
    uint64_t bytes;
    uint8_t *durable, *seen, *dirty; /* dirty: one byte a sector */
} fake_file;

/* Calls of this kind fail. Of this file ("": of all), from the nth one on (counted from when the rule was made, 0: the
 * next one), each with a chance of per_mille / 1000. A write that fails may have changed anything of its sectors. */
typedef struct fake_rule {
    fake_call call;
    char name[FAKE_NAME];
    uint64_t from, seen;
    uint32_t per_mille;
    cairn_status status;
} fake_rule;

typedef struct fake_disk {
    fake_file *files;
    size_t count, room;
    uint64_t capacity, used; /* bytes; capacity 0: endless */
    uint64_t rng;            /* for rules with a chance */
    fake_rule rules[FAKE_RULES];
    size_t rule_count;
    bool power_ends; /* after `power` more calls that change something: then all calls fail until fake_disk_crash */
    uint64_t power;
    uint64_t calls[FAKE_CALLS]; /* how many there were */
    uint64_t written;           /* bytes */
} fake_disk;

/* Chances in 1000; in the rest the sector is lost. torn: half of it is new and half old, or it is zeros, or garbage. */
typedef struct fake_odds {
    uint32_t kept, torn;
} fake_odds;

static inline uint64_t fake_draw(uint64_t *rng)
{
    uint64_t z = (*rng += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void *fake_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count + 1, bytes);

    if (memory == NULL) {
        fprintf(stderr, "fake_disk: no memory\n");
        abort();
    }
    return memory;
}

static inline size_t fake_sectors(uint64_t bytes)
{
    return (size_t)((bytes + FAKE_SECTOR - 1) / FAKE_SECTOR);
}

static inline fake_file *fake_disk_file(const fake_disk *disk, const char *name)
{
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->files[i].name, name) == 0) {
            return &disk->files[i];
        }
    }
    return NULL;
}

static inline void fake_file_free(fake_disk *disk, fake_file *file)
{
    disk->used -= file->bytes;
    free(file->durable);
    free(file->seen);
    free(file->dirty);
    *file = disk->files[--disk->count];
}

static inline fake_file *fake_file_add(fake_disk *disk, const char *name, uint64_t bytes)
{
    fake_file *file;

    if (disk->count == disk->room) {
        size_t room = disk->room * 2 + 8;
        fake_file *larger = fake_memory(room, sizeof *larger);

        if (disk->count > 0) {
            memcpy(larger, disk->files, disk->count * sizeof *larger);
        }
        free(disk->files);
        disk->files = larger;
        disk->room = room;
    }
    file = &disk->files[disk->count++];
    *file = (fake_file){.bytes = bytes};
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->durable = fake_memory((size_t)bytes, 1);
    file->seen = fake_memory((size_t)bytes, 1);
    file->dirty = fake_memory(fake_sectors(bytes), 1);
    disk->used += bytes;
    return file;
}

/* ---- the calls of a cairn_disk */

static inline cairn_status fake_may(fake_disk *disk, fake_call call, const char *name, cairn_error *error)
{
    static const char *const texts[] = {"list", "create", "read", "write", "sync", "rename", "remove"};
    bool changes = call != FAKE_LIST && call != FAKE_READ;

    disk->calls[call]++;
    if (disk->power_ends && disk->power == 0) {
        return cairn_fail(error, CAIRN_E_IO, "%s: %s: the power is off", name, texts[call]);
    }
    disk->power -= disk->power_ends && changes;
    for (size_t i = 0; i < disk->rule_count; i++) {
        fake_rule *rule = &disk->rules[i];

        if (rule->call == call && (rule->name[0] == '\0' || strcmp(rule->name, name) == 0) &&
            rule->seen++ >= rule->from && fake_draw(&disk->rng) % 1000 < rule->per_mille) {
            return cairn_fail(error, rule->status, "%s: %s: failed on purpose", name, texts[call]);
        }
    }
    return CAIRN_OK;
}

static inline cairn_status fake_missing(const char *name, cairn_error *error)
{
    return cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: no such file", name);
}

static inline cairn_status fake_list(void *context, void (*each)(void *argument, const char *name, uint64_t bytes),
                                     void *argument, cairn_error *error)
{
    fake_disk *disk = context;
    cairn_status status = fake_may(disk, FAKE_LIST, "folder", error);

    for (size_t i = 0; i < disk->count && status == CAIRN_OK; i++) {
        each(argument, disk->files[i].name, disk->files[i].bytes);
    }
    return status;
}

static inline cairn_status fake_create(void *context, const char *name, uint64_t bytes, cairn_error *error)
{
    fake_disk *disk = context;
    fake_file *old = fake_disk_file(disk, name);
    cairn_status status = fake_may(disk, FAKE_CREATE, name, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (disk->capacity > 0 && disk->used + bytes > disk->capacity) {
        return cairn_fail(error, CAIRN_E_FULL, "%s: write: no space left", name);
    }
    if (old != NULL) {
        fake_file_free(disk, old);
    }
    (void)fake_file_add(disk, name, bytes);
    return CAIRN_OK;
}

static inline cairn_status fake_read(void *context, const char *name, uint64_t offset, void *data, size_t bytes,
                                     cairn_error *error)
{
    fake_disk *disk = context;
    const fake_file *file = fake_disk_file(disk, name);
    cairn_status status = fake_may(disk, FAKE_READ, name, error);

    if (status != CAIRN_OK) {
        return status;
    }
    if (file == NULL) {
        return fake_missing(name, error);
    }
    if (offset > file->bytes || bytes > file->bytes - offset) {
        return cairn_fail(error, CAIRN_E_CORRUPT, "%s: ends at byte %llu, too early", name,
                          (unsigned long long)file->bytes);
    }
    if (bytes > 0) {
        memcpy(data, file->seen + offset, bytes);
    }
    return CAIRN_OK;
}

/* Writing past the end would make the file longer, which the log never does: it is refused. */
static inline cairn_status fake_write(void *context, const char *name, uint64_t offset, const void *data, size_t bytes,
                                      cairn_error *error)
{
    fake_disk *disk = context;
    fake_file *file = fake_disk_file(disk, name);
    cairn_status status = fake_may(disk, FAKE_WRITE, name, error);
    const uint8_t *from = data;

    if (file == NULL) {
        return status != CAIRN_OK ? status : fake_missing(name, error);
    }
    if (offset > file->bytes || bytes > file->bytes - offset) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: write past the end", name);
    }
    if (status != CAIRN_OK && disk->power_ends && disk->power == 0) {
        return status;
    }
    for (size_t i = 0; i < bytes;) {
        uint64_t at = offset + i;
        size_t piece = FAKE_SECTOR - (size_t)(at % FAKE_SECTOR);

        piece = piece < bytes - i ? piece : bytes - i;
        if (status == CAIRN_OK || fake_draw(&disk->rng) % 2 == 0) {
            memcpy(file->seen + at, from + i, piece);
            file->dirty[at / FAKE_SECTOR] = 1;
        }
        i += piece;
    }
    disk->written += bytes;
    return status;
}

static inline cairn_status fake_sync(void *context, const char *name, cairn_error *error)
{
    fake_disk *disk = context;
    fake_file *file = fake_disk_file(disk, name);
    cairn_status status = fake_may(disk, FAKE_SYNC, name, error);

    if (status != CAIRN_OK || file == NULL) {
        return status != CAIRN_OK ? status : fake_missing(name, error);
    }
    for (size_t i = 0; i < fake_sectors(file->bytes); i++) {
        size_t at = i * FAKE_SECTOR;

        if (file->dirty[i] != 0) {
            memcpy(file->durable + at, file->seen + at,
                   file->bytes - at < FAKE_SECTOR ? (size_t)file->bytes - at : FAKE_SECTOR);
            file->dirty[i] = 0;
        }
    }
    return CAIRN_OK;
}

static inline cairn_status fake_persist(void *context, const char *name, uint64_t offset, const void *data,
                                        size_t bytes, cairn_error *error)
{
    cairn_status status = fake_write(context, name, offset, data, bytes, error);

    return status == CAIRN_OK ? fake_sync(context, name, error) : status;
}

static inline cairn_status fake_rename(void *context, const char *from, const char *to, cairn_error *error)
{
    fake_disk *disk = context;
    cairn_status status = fake_may(disk, FAKE_RENAME, from, error);
    fake_file *old = fake_disk_file(disk, to);

    if (status != CAIRN_OK || fake_disk_file(disk, from) == NULL) {
        return status != CAIRN_OK ? status : fake_missing(from, error);
    }
    if (old != NULL && strcmp(from, to) != 0) {
        fake_file_free(disk, old);
    }
    fake_file *file = fake_disk_file(disk, from);
    (void)snprintf(file->name, sizeof file->name, "%s", to);
    return CAIRN_OK;
}

static inline cairn_status fake_remove(void *context, const char *name, cairn_error *error)
{
    fake_disk *disk = context;
    fake_file *file = fake_disk_file(disk, name);
    cairn_status status = fake_may(disk, FAKE_REMOVE, name, error);

    if (status != CAIRN_OK || file == NULL) {
        return status != CAIRN_OK ? status : fake_missing(name, error);
    }
    fake_file_free(disk, file);
    return CAIRN_OK;
}

/* ---- for those who test */

static inline fake_disk *fake_disk_new(uint64_t seed)
{
    fake_disk *disk = fake_memory(1, sizeof *disk);

    disk->rng = seed;
    return disk;
}

/* As if it were new: files, rules and counts are gone; the capacity stays. */
static inline void fake_disk_wipe(fake_disk *disk)
{
    while (disk->count > 0) {
        fake_file_free(disk, &disk->files[0]);
    }
    disk->rule_count = 0;
    disk->power_ends = false;
    disk->written = 0;
    memset(disk->calls, 0, sizeof disk->calls);
}

static inline void fake_disk_free(fake_disk *disk)
{
    if (disk != NULL) {
        fake_disk_wipe(disk);
        free(disk->files);
        free(disk);
    }
}

/* The disk as the log sees it. */
static inline cairn_disk fake_disk_face(fake_disk *disk)
{
    return (cairn_disk){.context = disk,
                        .list = fake_list,
                        .create = fake_create,
                        .read = fake_read,
                        .write = fake_write,
                        .sync = fake_sync,
                        .persist = fake_persist,
                        .rename = fake_rename,
                        .remove = fake_remove};
}

/* Another disk with the same of everything. */
static inline fake_disk *fake_disk_copy(const fake_disk *disk)
{
    fake_disk *copy = fake_disk_new(0);

    *copy = *disk;
    copy->files = NULL;
    copy->count = 0;
    copy->room = 0;
    copy->used = 0;
    for (size_t i = 0; i < disk->count; i++) {
        const fake_file *from = &disk->files[i];
        fake_file *file = fake_file_add(copy, from->name, from->bytes);

        memcpy(file->durable, from->durable, (size_t)from->bytes);
        memcpy(file->seen, from->seen, (size_t)from->bytes);
        memcpy(file->dirty, from->dirty, fake_sectors(from->bytes));
    }
    return copy;
}

/* The same files with the same bytes, durable and seen? */
static inline bool fake_disk_equal(const fake_disk *a, const fake_disk *b)
{
    for (size_t i = 0; i < a->count; i++) {
        const fake_file *left = &a->files[i];
        const fake_file *right = fake_disk_file(b, left->name);

        if (right == NULL || right->bytes != left->bytes ||
            memcmp(left->durable, right->durable, (size_t)left->bytes) != 0 ||
            memcmp(left->seen, right->seen, (size_t)left->bytes) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

static inline void fake_tear(fake_file *file, size_t at, size_t bytes, uint64_t *rng)
{
    uint64_t how = fake_draw(rng) % 4;

    for (size_t i = 0; i < bytes; i++) {
        bool first = i < bytes / 2;

        if (how == 0) {
            file->seen[at + i] = 0;
        } else if (how == 1) {
            file->seen[at + i] = (uint8_t)fake_draw(rng);
        } else if (first == (how == 2)) {
            file->seen[at + i] = file->durable[at + i];
        }
    }
}

/* The power is back, too. Rules stay. */
static inline void fake_disk_crash(fake_disk *disk, fake_odds odds, uint64_t *rng)
{
    disk->power_ends = false;
    for (size_t i = 0; i < disk->count; i++) {
        fake_file *file = &disk->files[i];

        for (size_t sector = 0; sector < fake_sectors(file->bytes); sector++) {
            size_t at = sector * FAKE_SECTOR;
            size_t bytes = file->bytes - at < FAKE_SECTOR ? (size_t)file->bytes - at : FAKE_SECTOR;
            uint64_t drawn;

            if (file->dirty[sector] == 0) {
                continue;
            }
            drawn = fake_draw(rng) % 1000;
            if (drawn >= odds.kept + odds.torn) {
                memcpy(file->seen + at, file->durable + at, bytes);
            } else if (drawn >= odds.kept) {
                fake_tear(file, at, bytes, rng);
            }
            memcpy(file->durable + at, file->seen + at, bytes);
            file->dirty[sector] = 0;
        }
    }
}

/* After `calls` more calls that change something every call fails and does nothing, until fake_disk_crash. */
static inline void fake_disk_power(fake_disk *disk, uint64_t calls)
{
    disk->power_ends = true;
    disk->power = calls;
}

/* name NULL: every file. See fake_rule. */
static inline void fake_disk_fail(fake_disk *disk, fake_call call, const char *name, uint64_t from, uint32_t per_mille,
                                  cairn_status status)
{
    fake_rule *rule = &disk->rules[disk->rule_count++ % FAKE_RULES];

    *rule = (fake_rule){.call = call, .from = from, .per_mille = per_mille, .status = status};
    (void)snprintf(rule->name, sizeof rule->name, "%s", name != NULL ? name : "");
    disk->rule_count = disk->rule_count < FAKE_RULES ? disk->rule_count : FAKE_RULES;
}

static inline void fake_disk_heal(fake_disk *disk)
{
    disk->rule_count = 0;
}

/* Flip a bit of what is durable; false: there is no such byte. */
static inline bool fake_disk_flip(fake_disk *disk, const char *name, uint64_t byte, unsigned bit)
{
    fake_file *file = fake_disk_file(disk, name);

    if (file == NULL || byte >= file->bytes) {
        return false;
    }
    file->durable[byte] ^= (uint8_t)(1u << bit % 8);
    file->seen[byte] ^= (uint8_t)(1u << bit % 8);
    return true;
}

/* Put a file there, durable; replaces one of that name. */
static inline void fake_disk_put(fake_disk *disk, const char *name, const void *data, uint64_t bytes)
{
    fake_file *old = fake_disk_file(disk, name);
    fake_file *file;

    if (old != NULL) {
        fake_file_free(disk, old);
    }
    file = fake_file_add(disk, name, bytes);
    if (bytes > 0) {
        memcpy(file->durable, data, (size_t)bytes);
        memcpy(file->seen, data, (size_t)bytes);
    }
}

#endif
