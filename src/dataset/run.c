/* Runs: see run.h. */
#include "dataset/run.h"

#include "base/checksum.h"
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC = 0x314e5243 }; /* "CRN1" */

#define FRAME_BYTES  ((size_t)64 << 10) /* about; a group is never in two */
#define FRAME_HEAD   12
#define HEADER_BYTES (4 + 4 + 4 + CAIRN_VALUE_COLUMNS_MAX)

/* ---------------------------------------------------------------- lists */

void cairn_runs_free(cairn_runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        free(runs->run[i].path);
    }
    free(runs->run);
    *runs = (cairn_runs){0};
}

cairn_status cairn_runs_add(cairn_runs *runs, cairn_run run)
{
    if (runs->count == runs->room) {
        uint32_t room = runs->room * 2 + 8;
        cairn_run *more = realloc(runs->run, room * sizeof *more);
        if (more == NULL) {
            free(run.path);
            return CAIRN_E_NOMEM;
        }
        runs->run = more;
        runs->room = room;
    }
    runs->run[runs->count++] = run;
    return CAIRN_OK;
}

cairn_status cairn_runs_move(cairn_runs *to, cairn_runs *from)
{
    while (from->count > 0) {
        cairn_run run = from->run[0];
        memmove(from->run, from->run + 1, --from->count * sizeof run);
        if (cairn_runs_add(to, run) != CAIRN_OK) {
            return CAIRN_E_NOMEM;
        }
    }
    cairn_runs_free(from);
    return CAIRN_OK;
}

void cairn_runs_remove_files(const cairn_runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        (void)unlink(runs->run[i].path);
    }
}

cairn_status cairn_runs_sync(cairn_runs *runs, cairn_error *error)
{
    char folder[CAIRN_PATH_BYTES], synced[CAIRN_PATH_BYTES] = "";
    cairn_status status = CAIRN_OK;

    for (uint32_t i = 0; i < runs->count && status == CAIRN_OK; i++) {
        cairn_run *run = &runs->run[i];
        if (run->durable) {
            continue;
        }
        int fd = open(run->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0) {
            status = cairn_fail_errno(error, errno, run->path, "cannot be made durable");
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        cairn_folder_of(folder, sizeof folder, run->path);
        if (status == CAIRN_OK && strcmp(folder, synced) != 0) {
            status = cairn_sync_folder(folder, error);
            memcpy(synced, folder, sizeof synced);
        }
        run->durable = status == CAIRN_OK;
    }
    return status;
}

uint64_t cairn_runs_bytes(const cairn_runs *runs)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < runs->count; i++) {
        bytes += runs->run[i].bytes;
    }
    return bytes;
}

void cairn_runs_pack(const cairn_runs *runs, const char *folder, cairn_pack *pack)
{
    size_t length = strlen(folder);

    cairn_pack_u32(pack, runs->count);
    for (uint32_t i = 0; i < runs->count; i++) {
        const cairn_run *run = &runs->run[i];
        bool inside = length > 0 && strncmp(run->path, folder, length) == 0 && run->path[length] == '/';
        const char *name = inside ? run->path + length + 1 : run->path;

        cairn_pack_u8(pack, inside);
        cairn_pack_text(pack, name, strlen(name));
        cairn_pack_u64(pack, run->bytes);
        cairn_pack_u64(pack, run->groups);
        cairn_pack_u64(pack, run->chain);
        cairn_pack_u8(pack, run->durable);
    }
}

static cairn_status unpack_run(cairn_run *run, const char *folder, cairn_unpack *unpack)
{
    bool inside = cairn_unpack_u8(unpack) != 0;
    size_t length, before = inside ? strlen(folder) + 1 : 0;
    const uint8_t *name = cairn_unpack_text(unpack, &length);

    *run = (cairn_run){NULL, cairn_unpack_u64(unpack), cairn_unpack_u64(unpack), cairn_unpack_u64(unpack),
                       cairn_unpack_u8(unpack) != 0};
    if (unpack->bad || length == 0 || memchr(name, '\0', length) != NULL) {
        return CAIRN_E_CORRUPT;
    }
    run->path = calloc(1, before + length + 1);
    if (run->path == NULL) {
        return CAIRN_E_NOMEM;
    }
    if (inside) {
        memcpy(run->path, folder, before - 1);
        run->path[before - 1] = '/';
    }
    memcpy(run->path + before, name, length);
    return CAIRN_OK;
}

cairn_status cairn_runs_unpack(cairn_runs *runs, const char *folder, cairn_unpack *unpack)
{
    uint32_t count = cairn_unpack_u32(unpack);
    cairn_status status = unpack->bad ? CAIRN_E_CORRUPT : CAIRN_OK;
    cairn_run run;

    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = unpack_run(&run, folder, unpack);
        if (status == CAIRN_OK) {
            status = cairn_runs_add(runs, run);
        }
    }
    return status;
}

cairn_status cairn_runs_check(const cairn_runs *runs, cairn_error *error)
{
    struct stat about;

    for (uint32_t i = 0; i < runs->count; i++) {
        const cairn_run *run = &runs->run[i];
        if (stat(run->path, &about) != 0) {
            return cairn_fail(error, CAIRN_E_CORRUPT, "%s, which holds groups: %s", run->path, strerror(errno));
        }
        if ((uint64_t)about.st_size < run->bytes) {
            return cairn_fail(error, CAIRN_E_CORRUPT, "%s has %llu bytes instead of %llu", run->path,
                              (unsigned long long)about.st_size, (unsigned long long)run->bytes);
        }
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- writing */

static uint64_t chain_on(uint64_t chain, uint64_t check)
{
    uint64_t words[2] = {chain, check};

    return cairn_digest_of(words, sizeof words).low;
}

static void put_header(cairn_pack *pack, cairn_shape shape)
{
    cairn_pack_u32(pack, MAGIC);
    cairn_pack_u32(pack, shape.value_count);
    cairn_pack_u32(pack, shape.where_count);
    cairn_pack_bytes(pack, shape.needs, sizeof shape.needs);
}

cairn_status cairn_run_begin(cairn_run_writer *writer, int fd, const char *path, cairn_shape shape, cairn_error *error)
{
    cairn_pack header = {0};

    *writer = (cairn_run_writer){.fd = fd, .run = {.path = strdup(path), .bytes = HEADER_BYTES}};
    put_header(&header, shape);
    (void)cairn_pack_room(&writer->frame, FRAME_HEAD);
    cairn_status status = writer->run.path != NULL && cairn_pack_ok(&header)
                              ? cairn_write_at(fd, header.data, header.bytes, 0, path, error)
                              : cairn_fail(error, CAIRN_E_NOMEM, "%s: writing groups", path);
    free(header.data);
    if (status != CAIRN_OK) {
        cairn_run_abandon(writer);
    }
    return status;
}

static cairn_status put_frame(cairn_run_writer *writer, cairn_error *error)
{
    cairn_pack *frame = &writer->frame;

    if (!cairn_pack_ok(frame) || frame->bytes - FRAME_HEAD > UINT32_MAX) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: writing groups", writer->run.path);
    }
    size_t bytes = frame->bytes;
    uint64_t check = cairn_digest_of(frame->data + FRAME_HEAD, bytes - FRAME_HEAD).low;
    frame->bytes = 0;
    cairn_pack_u32(frame, (uint32_t)(bytes - FRAME_HEAD));
    cairn_pack_u64(frame, check);
    cairn_status status = cairn_write_at(writer->fd, frame->data, bytes, writer->run.bytes, writer->run.path, error);
    writer->run.bytes += bytes;
    writer->run.chain = chain_on(writer->run.chain, check);
    return status;
}

cairn_status cairn_run_put(cairn_run_writer *writer, const cairn_groups *groups, const cairn_group *group,
                           cairn_error *error)
{
    cairn_groups_pack_one(groups, group, &writer->frame);
    writer->run.groups++;
    return writer->frame.bytes >= FRAME_BYTES || !cairn_pack_ok(&writer->frame) ? put_frame(writer, error) : CAIRN_OK;
}

cairn_status cairn_run_end(cairn_run_writer *writer, cairn_runs *runs, cairn_error *error)
{
    cairn_status status = writer->frame.bytes > FRAME_HEAD ? put_frame(writer, error) : CAIRN_OK;

    if (status == CAIRN_OK && close(writer->fd) != 0) {
        status = cairn_fail_errno(error, errno, writer->run.path, "cannot be written");
    }
    if (status != CAIRN_OK) {
        cairn_run_abandon(writer);
        return status;
    }
    writer->fd = -1;
    cairn_run run = writer->run;
    writer->run.path = NULL;
    char *path = strdup(run.path);
    status = cairn_runs_add(runs, run);
    if (status != CAIRN_OK && path != NULL) {
        (void)unlink(path);
    }
    free(path);
    cairn_run_abandon(writer);
    return status == CAIRN_OK ? status : cairn_fail(error, status, "the list of runs");
}

void cairn_run_abandon(cairn_run_writer *writer)
{
    if (writer->fd >= 0) {
        (void)close(writer->fd);
    }
    if (writer->run.path != NULL) {
        (void)unlink(writer->run.path);
    }
    free(writer->run.path);
    free(writer->frame.data);
    *writer = (cairn_run_writer){.fd = -1};
}

/* ---------------------------------------------------------------- reading */

cairn_status cairn_run_open(cairn_run_reader *reader, const cairn_run *run, cairn_shape shape, cairn_error *error)
{
    uint8_t header[HEADER_BYTES];
    cairn_pack expected = {0};

    *reader = (cairn_run_reader){.run = run, .fd = open(run->path, O_RDONLY | O_CLOEXEC), .at = HEADER_BYTES};
    if (reader->fd < 0) {
        return cairn_fail_errno(error, errno, run->path, "holds groups, but cannot be opened");
    }
    put_header(&expected, shape);
    cairn_status status = cairn_pack_ok(&expected)
                              ? cairn_read_at(reader->fd, header, sizeof header, 0, run->path, error)
                              : cairn_fail(error, CAIRN_E_NOMEM, "%s: reading groups", run->path);
    if (status == CAIRN_OK && memcmp(header, expected.data, sizeof header) != 0) {
        status = cairn_fail(error, CAIRN_E_CORRUPT, "%s: holds no groups of this query", run->path);
    }
    free(expected.data);
    if (status != CAIRN_OK) {
        (void)close(reader->fd);
        reader->fd = -1;
        return status;
    }
    cairn_groups_init_one(&reader->one, shape);
    return CAIRN_OK;
}

static cairn_status damaged(const cairn_run_reader *reader, cairn_error *error)
{
    return cairn_fail(error, CAIRN_E_CORRUPT, "%s: its groups are damaged at byte %llu", reader->run->path,
                      (unsigned long long)reader->at);
}

static cairn_status next_frame(cairn_run_reader *reader, cairn_error *error)
{
    const cairn_run *run = reader->run;
    uint8_t head[FRAME_HEAD];
    cairn_unpack unpack = {.data = head, .bytes = sizeof head};

    if (run->bytes - reader->at < FRAME_HEAD) {
        return damaged(reader, error);
    }
    cairn_status status = cairn_read_at(reader->fd, head, sizeof head, reader->at, run->path, error);
    uint32_t bytes = cairn_unpack_u32(&unpack);
    uint64_t check = cairn_unpack_u64(&unpack);
    if (status != CAIRN_OK || bytes > run->bytes - reader->at - FRAME_HEAD) {
        return status != CAIRN_OK ? status : damaged(reader, error);
    }
    if (bytes > reader->room) {
        free(reader->frame);
        reader->frame = malloc(bytes);
        reader->room = reader->frame == NULL ? 0 : bytes;
        if (reader->frame == NULL) {
            return cairn_fail(error, CAIRN_E_NOMEM, "%s: a frame of %u bytes", run->path, bytes);
        }
    }
    status = cairn_read_at(reader->fd, reader->frame, bytes, reader->at + FRAME_HEAD, run->path, error);
    if (status == CAIRN_OK && cairn_digest_of(reader->frame, bytes).low != check) {
        return damaged(reader, error);
    }
    reader->at += FRAME_HEAD + bytes;
    reader->chain = chain_on(reader->chain, check);
    reader->unpack = (cairn_unpack){.data = reader->frame, .bytes = bytes};
    return status;
}

cairn_status cairn_run_next(cairn_run_reader *reader, bool *any, cairn_error *error)
{
    *any = cairn_unpack_left(&reader->unpack) > 0 || reader->at < reader->run->bytes;
    if (!*any) {
        return reader->chain == reader->run->chain && reader->groups == reader->run->groups
                   ? CAIRN_OK
                   : cairn_fail(error, CAIRN_E_CORRUPT, "%s: its groups are not those that were written",
                                reader->run->path);
    }
    cairn_status status = cairn_unpack_left(&reader->unpack) > 0 ? CAIRN_OK : next_frame(reader, error);
    if (status == CAIRN_OK) {
        status = cairn_groups_unpack_one(&reader->one, &reader->unpack);
        status = status == CAIRN_E_CORRUPT ? damaged(reader, error) : status;
    }
    reader->groups++;
    return status;
}

void cairn_run_close(cairn_run_reader *reader)
{
    if (reader->fd >= 0) {
        (void)close(reader->fd);
    }
    free(reader->frame);
    free(reader->context);
    cairn_groups_free(&reader->one);
    *reader = (cairn_run_reader){.fd = -1};
}

/* ---------------------------------------------------------------- merging */

static int compare_keys(void *context, const cairn_run_reader *a, const cairn_run_reader *b)
{
    (void)context;
    return cairn_groups_compare(&a->one, cairn_groups_one(&a->one), &b->one, cairn_groups_one(&b->one));
}

const cairn_merge_order cairn_merge_by_key = {.compare = compare_keys, .joins = true};

/* Equal ones come in the order of their runs, so that the same runs give the same bytes. */
static bool comes_before(const cairn_merge *merge, uint32_t a, uint32_t b)
{
    int order = merge->order->compare(merge->order->context, &merge->reader[a], &merge->reader[b]);

    return order < 0 || (order == 0 && a < b);
}

static void sift_down(cairn_merge *merge)
{
    uint32_t *heap = merge->heap, at = 0, child;

    while ((child = 2 * at + 1) < merge->waiting) {
        if (child + 1 < merge->waiting && comes_before(merge, heap[child + 1], heap[child])) {
            child++;
        }
        if (!comes_before(merge, heap[child], heap[at])) {
            return;
        }
        uint32_t other = heap[at];
        heap[at] = heap[child];
        heap[child] = other;
        at = child;
    }
}

static void sift_up(cairn_merge *merge, uint32_t at)
{
    uint32_t *heap = merge->heap;

    while (at > 0 && comes_before(merge, heap[at], heap[(at - 1) / 2])) {
        uint32_t other = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = other;
        at = (at - 1) / 2;
    }
}

static cairn_status load(cairn_merge *merge, cairn_run_reader *reader, bool *any, cairn_error *error)
{
    cairn_status status = cairn_run_next(reader, any, error);

    return status == CAIRN_OK && *any && merge->order->loaded != NULL
               ? merge->order->loaded(merge->order->context, reader)
               : status;
}

static cairn_status push(cairn_merge *merge, uint32_t index, cairn_error *error)
{
    bool any = false;
    cairn_status status = load(merge, &merge->reader[index], &any, error);

    if (status == CAIRN_OK && any) {
        merge->heap[merge->waiting++] = index;
        sift_up(merge, merge->waiting - 1);
    }
    return status;
}

static uint32_t pop(cairn_merge *merge)
{
    uint32_t first = merge->heap[0];

    merge->heap[0] = merge->heap[--merge->waiting];
    sift_down(merge);
    return first;
}

cairn_status cairn_merge_open(cairn_merge *merge, const cairn_run *runs, uint32_t count, cairn_shape shape,
                              const cairn_merge_order *order, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    memset(merge, 0, sizeof *merge);
    merge->order = order;
    merge->out = UINT32_MAX;
    for (uint32_t i = 0; i < count && status == CAIRN_OK; i++) {
        status = cairn_run_open(&merge->reader[i], &runs[i], shape, error);
        merge->count += status == CAIRN_OK;
        status = status == CAIRN_OK ? push(merge, i, error) : status;
    }
    return status;
}

cairn_status cairn_merge_next(cairn_merge *merge, const cairn_run_reader **out, cairn_error *error)
{
    cairn_status status = merge->out != UINT32_MAX ? push(merge, merge->out, error) : CAIRN_OK;

    *out = NULL;
    merge->out = UINT32_MAX;
    if (status != CAIRN_OK || merge->waiting == 0) {
        return status;
    }
    merge->out = pop(merge);
    cairn_run_reader *first = &merge->reader[merge->out];
    while (merge->order->joins && status == CAIRN_OK && merge->waiting > 0) {
        const cairn_run_reader *next = &merge->reader[merge->heap[0]];
        if (merge->order->compare(merge->order->context, first, next) != 0) {
            break;
        }
        status =
            cairn_groups_join(&first->one, cairn_groups_one(&first->one), &next->one, cairn_groups_one(&next->one));
        status = status == CAIRN_OK ? push(merge, pop(merge), error) : status;
    }
    *out = first;
    return status;
}

void cairn_merge_close(cairn_merge *merge)
{
    for (uint32_t i = 0; i < merge->count; i++) {
        cairn_run_close(&merge->reader[i]);
    }
    merge->count = merge->waiting = 0;
}
