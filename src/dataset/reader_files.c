/* Where each file is read: its places, those that are on this host first, and the files that are open. */
#include "dataset/reader_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files that are on this host are read there. */
void reader_find_near(cairn_reader *reader)
{
    char path[CAIRN_PLAN_PATH_BYTES];

    for (uint32_t place = cairn_plan_places(reader->plan) - 1; place > 0; place--) {
        reader->place_is[place] = (uint8_t)cairn_plan_place_is(reader->plan, place);
        if (reader->place_is[place] != CAIRN_PLACE_NEAR) {
            continue;
        }
        for (uint32_t i = 0; i < reader->plan->file_count; i++) {
            cairn_plan_place(reader->plan, i, place, path);
            if (access(path, R_OK) == 0) {
                reader->place[i] = (uint8_t)place;
            }
        }
    }
}

bool cairn_reader_is_near(const cairn_reader *reader, uint32_t file)
{
    return reader->place_is[reader->place[file]] == CAIRN_PLACE_NEAR;
}

uint64_t cairn_reader_near_bytes(const cairn_reader *reader)
{
    return reader->near_bytes;
}

uint64_t cairn_reader_bytes(const cairn_reader *reader)
{
    return reader->bytes_read;
}

uint64_t cairn_reader_replica_bytes(const cairn_reader *reader)
{
    return reader->replica_bytes;
}

void cairn_reader_watch(cairn_reader *reader, cairn_reader_moved *moved, void *context)
{
    reader->moved = moved;
    reader->moved_context = context;
}

void reader_count(cairn_reader *reader, uint32_t file, uint64_t bytes)
{
    reader->bytes_read += bytes;
    reader->replica_bytes += reader->place[file] > 0 ? bytes : 0;
    reader->near_bytes += cairn_reader_is_near(reader, file) ? bytes : 0;
}

cairn_status reader_fail(const char *path, cairn_error *error)
{
    cairn_status status = errno == ENOENT || errno == ENOTDIR ? CAIRN_E_NOT_FOUND
                          : errno == EACCES || errno == EPERM ? CAIRN_E_ACCESS
                                                              : CAIRN_E_IO;
    return cairn_fail(error, status, "%s: %s", path, strerror(errno));
}

static cairn_status open_place(cairn_reader *reader, uint32_t index, const char *path, int *fd, cairn_error *error)
{
    const cairn_plan_file *file = &reader->plan->files[index];
    struct stat about;
    cairn_digest ends = {0, 0};
    cairn_status status = CAIRN_OK;

    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        return reader_fail(path, error);
    }
    if (fstat(*fd, &about) != 0 || !S_ISREG(about.st_mode) || (uint64_t)about.st_size != file->bytes) {
        status = cairn_fail(
            error, CAIRN_E_MISMATCH,
            reader->plan->replica_count > 0 ? "%s: has another size" : "%s: was changed while it was read", path);
    } else if (reader->plan->replica_count == 0) {
        if (about.st_mtim.tv_sec != file->modified_s || about.st_mtim.tv_nsec != file->modified_ns) {
            status = cairn_fail(error, CAIRN_E_MISMATCH, "%s: was changed while it was read", path);
        }
    } else {
        status = cairn_plan_ends(*fd, file->bytes, path, &ends, error);
        if (status == CAIRN_OK && !cairn_digest_equal(ends, file->ends)) {
            status = cairn_fail(error, CAIRN_E_MISMATCH, "%s: is another file", path);
        }
    }
    if (status != CAIRN_OK) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

static void forget_open(cairn_reader *reader, uint32_t index)
{
    for (int i = 0; i < OPEN_MAX; i++) {
        if (reader->open[i].fd >= 0 && reader->open[i].file == index) {
            (void)close(reader->open[i].fd);
            reader->open[i].fd = -1;
        }
    }
}

bool reader_move_on(cairn_reader *reader, uint32_t index, cairn_error *error)
{
    char path[CAIRN_PLAN_PATH_BYTES];
    uint32_t next = 0, count = cairn_plan_places(reader->plan);

    forget_open(reader, index);
    reader->tried[index] |= UINT64_C(1) << reader->place[index];
    while (next < count && ((reader->tried[index] >> next & 1) != 0 || reader->place_is[next] == CAIRN_PLACE_FAR)) {
        next++;
    }
    if (next == count) {
        if (reader->plan->replica_count > 0) {
            (void)cairn_wrap(error, error->status, "%s: no replica is left", reader->plan->files[index].path);
        }
        return false;
    }
    reader->place[index] = (uint8_t)next;
    cairn_plan_place(reader->plan, index, reader->place[index], path);
    if (reader->moved != NULL) {
        reader->moved(reader->moved_context, error->text, path);
    }
    return true;
}

cairn_status reader_open_file(cairn_reader *reader, uint32_t index, int *fd, cairn_error *error)
{
    char path[CAIRN_PLAN_PATH_BYTES];
    open_file *oldest = &reader->open[0];
    cairn_status status;

    for (int i = 0; i < OPEN_MAX; i++) {
        open_file *entry = &reader->open[i];
        if (entry->fd >= 0 && entry->file == index) {
            entry->used = ++reader->clock;
            *fd = entry->fd;
            return CAIRN_OK;
        }
        if (entry->fd < 0 || (oldest->fd >= 0 && entry->used < oldest->used)) {
            oldest = entry;
        }
    }
    do {
        cairn_plan_place(reader->plan, index, reader->place[index], path);
        status = open_place(reader, index, path, fd, error);
    } while (status != CAIRN_OK && status != CAIRN_E_NOMEM && reader_move_on(reader, index, error));
    if (status != CAIRN_OK) {
        return status;
    }
    if (oldest->fd >= 0) {
        (void)close(oldest->fd);
    }
    *oldest = (open_file){index, *fd, ++reader->clock};
    return CAIRN_OK;
}

void reader_close_files(cairn_reader *reader)
{
    for (int i = 0; i < OPEN_MAX; i++) {
        if (reader->open[i].fd >= 0) {
            (void)close(reader->open[i].fd);
            reader->open[i].fd = -1;
        }
    }
}
