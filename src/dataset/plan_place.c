/* Where the files of a plan are: places, hosts, and which of several copies is to be believed. */
#include "dataset/plan_parts.h"

#include "base/durable.h"
#include "dataset/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { END_BYTES = 1 << 16 };

cairn_status plan_status_of_errno(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return CAIRN_E_NOT_FOUND;
    case EACCES:
    case EPERM:
        return CAIRN_E_ACCESS;
    case ENOMEM:
        return CAIRN_E_NOMEM;
    default:
        return CAIRN_E_IO;
    }
}

const char *plan_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* n1 is n1.cluster. */
static bool is_this_host(const char *name, size_t bytes)
{
    char own[256] = "";
    const char *dot = memchr(name, '.', bytes);

    if (gethostname(own, sizeof own - 1) != 0) {
        return false;
    }
    if (strlen(own) == bytes && memcmp(own, name, bytes) == 0) {
        return true;
    }
    if (dot != NULL && strchr(own, '.') != NULL) {
        return false; /* both are whole names, of two hosts */
    }
    bytes = dot == NULL ? bytes : (size_t)(dot - name);
    return strcspn(own, ".") == bytes && memcmp(own, name, bytes) == 0;
}

cairn_place_is cairn_place_parse(const char *replica, const char **folder)
{
    size_t bytes = strcspn(replica, ":/");

    *folder = replica;
    if (bytes == 0 || replica[bytes] != ':') {
        return CAIRN_PLACE_SHARED;
    }
    *folder = replica + bytes + 1;
    return is_this_host(replica, bytes) ? CAIRN_PLACE_NEAR : CAIRN_PLACE_FAR;
}

cairn_place_is cairn_plan_place_is(const cairn_plan *plan, uint32_t place)
{
    const char *folder;

    return place == 0 ? CAIRN_PLACE_SHARED : cairn_place_parse(plan->replica[place - 1], &folder);
}

bool cairn_plan_has_hosts(const cairn_plan *plan)
{
    bool has = false;

    for (uint32_t i = 1; i < cairn_plan_places(plan); i++) {
        has = has || cairn_plan_place_is(plan, i) != CAIRN_PLACE_SHARED;
    }
    return has;
}

const char *plan_folder_here(const cairn_plan *plan, uint32_t replica)
{
    const char *folder;

    return cairn_place_parse(plan->replica[replica], &folder) == CAIRN_PLACE_FAR ? NULL : folder;
}

uint32_t cairn_plan_places(const cairn_plan *plan)
{
    return 1 + plan->replica_count;
}

void cairn_plan_place(const cairn_plan *plan, uint32_t file, uint32_t place, char path[CAIRN_PLAN_PATH_BYTES])
{
    const char *own = plan->files[file].path;

    if (place == 0) {
        (void)snprintf(path, PATH_BYTES_MAX, "%s", own);
    } else {
        const char *folder;

        (void)cairn_place_parse(plan->replica[place - 1], &folder);
        (void)snprintf(path, PATH_BYTES_MAX, "%s/%s", folder, plan_name_of(own));
    }
}

cairn_status cairn_plan_read(int fd, void *to, size_t bytes, uint64_t offset, const char *path, cairn_error *error)
{
    cairn_status status = cairn_read_at(fd, to, bytes, offset, path, error);

    return status == CAIRN_E_CORRUPT ? cairn_fail(error, CAIRN_E_MISMATCH, "%s: became shorter while it was read", path)
                                     : status;
}

cairn_status cairn_plan_ends(int fd, uint64_t bytes, const char *path, cairn_digest *ends, cairn_error *error)
{
    size_t one = bytes < END_BYTES ? (size_t)bytes : (size_t)END_BYTES;
    char *both = malloc(2 * (size_t)END_BYTES);
    cairn_status status = both == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "%s: sample", path) : CAIRN_OK;

    for (int end = 0; end < 2 && status == CAIRN_OK; end++) {
        uint64_t from = end == 0 ? 0 : bytes - one;
        for (size_t at = 0; at < one && status == CAIRN_OK;) {
            ssize_t got = pread(fd, both + (size_t)end * one + at, one - at, (off_t)(from + at));
            if (got <= 0 && !(got < 0 && errno == EINTR)) {
                status = cairn_fail(error, CAIRN_E_IO, "%s: %s", path,
                                    got < 0 ? strerror(errno) : "became shorter while it was read");
            }
            at += got > 0 ? (size_t)got : 0;
        }
    }
    if (status == CAIRN_OK) {
        *ends = cairn_digest_of(both, 2 * one);
    }
    free(both);
    return status;
}

/* What a file is like in each of its places. */
typedef struct places {
    bool there[1 + CAIRN_REPLICAS_MAX];
    uint64_t bytes[1 + CAIRN_REPLICAS_MAX];
    cairn_digest ends[1 + CAIRN_REPLICAS_MAX];
} places;

static cairn_status measure(const cairn_plan *plan, uint32_t file, uint32_t place, places *p, cairn_error *error)
{
    uint64_t promised = plan->files[file].promised;
    char path[PATH_BYTES_MAX];
    struct stat about;
    cairn_status status;
    int fd;

    cairn_plan_place(plan, file, place, path);
    if (cairn_plan_place_is(plan, place) == CAIRN_PLACE_FAR) {
        return cairn_fail(error, CAIRN_E_NOT_FOUND, "%s: on another host", path);
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = cairn_fail(error, fd < 0 ? plan_status_of_errno() : CAIRN_E_INVALID, "%s: %s", path,
                            fd < 0 ? strerror(errno) : "is no file");
    } else {
        p->bytes[place] = (uint64_t)about.st_size;
        status = promised > 0 && promised != p->bytes[place]
                     ? cairn_fail(error, CAIRN_E_MISMATCH, "%s: has %llu bytes, but the catalogue says %llu", path,
                                  (unsigned long long)p->bytes[place], (unsigned long long)promised)
                     : cairn_plan_ends(fd, p->bytes[place], path, &p->ends[place], error);
        p->there[place] = status == CAIRN_OK;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return status;
}

/* A compressed file, or a shard, says itself whether it is whole: all of it is read. */
static bool is_whole(const cairn_plan *plan, uint32_t file, uint32_t place, char *piece)
{
    char path[PATH_BYTES_MAX];
    cairn_error error;
    cairn_packed *packed = NULL;
    cairn_packing packing;
    ssize_t head;
    size_t got = CAIRN_SAMPLE_BYTES;
    bool whole = true;
    int fd;

    cairn_plan_place(plan, file, place, path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    head = fd < 0 ? -1 : pread(fd, piece, CAIRN_SAMPLE_BYTES, 0);
    packing = head < 0 ? CAIRN_NOT_PACKED : cairn_packing_of(piece, (size_t)head);
    if (packing != CAIRN_NOT_PACKED && packing != CAIRN_HDF5 && cairn_packed_open(&packed, packing, NULL) == CAIRN_OK) {
        while (whole && got == CAIRN_SAMPLE_BYTES) {
            whole = cairn_packed_read(packed, fd, path, piece, CAIRN_SAMPLE_BYTES, &got, &error) == CAIRN_OK;
        }
    }
    if (packing == CAIRN_HDF5 && plan->files[file].promised > 0) {
        uint64_t rows = 0;

        whole = cairn_shard_check(path, NULL, &rows, &error) == CAIRN_OK;
    }
    cairn_packed_close(packed);
    if (fd >= 0) {
        (void)close(fd);
    }
    return whole;
}

static bool agree(const places *p, uint32_t a, uint32_t b)
{
    return p->there[a] && p->there[b] && p->bytes[a] == p->bytes[b] && cairn_digest_equal(p->ends[a], p->ends[b]);
}

/* The one with which most of the places agree, itself too. Is that more than half of them? Else *other differs. */
static bool find_majority(const places *p, uint32_t count, uint32_t *chosen, uint32_t *other)
{
    uint32_t there = 0, best = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 0;
        for (uint32_t k = 0; k < count; k++) {
            same += agree(p, i, k);
        }
        there += p->there[i];
        *chosen = same > best ? i : *chosen;
        best = same > best ? same : best;
    }
    for (uint32_t k = 0; k < count; k++) {
        *other = p->there[k] && !agree(p, *chosen, k) ? k : *other;
    }
    return 2 * best > there;
}

/* The place to go by: where they differ the one that most of them agree with. If there is none, compressed files and shards
 * that are damaged do not count; and then nobody can tell which of them is right. */
cairn_status plan_choose_place(const cairn_plan *plan, uint32_t file, char *piece, uint32_t *chosen, cairn_error *error)
{
    char paths[2][PATH_BYTES_MAX];
    uint32_t count = cairn_plan_places(plan), there = 0, other = 0;
    cairn_error first = {CAIRN_OK, ""};
    places p = {{false}, {0}, {{0, 0}}};

    for (uint32_t i = 0; i < count; i++) {
        cairn_status status = measure(plan, file, i, &p, error);
        if (status == CAIRN_E_NOMEM) {
            return status;
        }
        first = i == 0 && status != CAIRN_OK ? *error : first;
        there += p.there[i];
    }
    if (there == 0) {
        *error = first;
        return cairn_wrap(error, first.status, "no replica has it");
    }
    if (find_majority(&p, count, chosen, &other)) {
        return CAIRN_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        p.there[i] = p.there[i] && is_whole(plan, file, i, piece);
    }
    if (find_majority(&p, count, chosen, &other)) {
        return CAIRN_OK;
    }
    cairn_plan_place(plan, file, *chosen, paths[0]);
    cairn_plan_place(plan, file, other, paths[1]);
    return cairn_fail(error, CAIRN_E_INVALID, "%.1000s and %.1000s are different files: which one is right?", paths[0],
                      paths[1]);
}
