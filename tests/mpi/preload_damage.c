/* Preloaded into the processes of a job: changes a byte of copies in memory (process/partner.c), on their way or where they
 * are kept.
 *
 *   DAMAGE_WAY    so many of the pieces that a rank sends are changed on their way, from the first on
 *   DAMAGE_KEPT   name of a file: when it exists, a byte in the middle of every copy of at least DAMAGE_BYTES that a rank keeps
 *                 is changed, once, when it next sends anything. What it keeps of its own is in whole huge pages, copies
 *                 of others are not: that tells them apart
 *   DAMAGE_SAID   a line for each: "way" or "kept" */
#include <dlfcn.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE_TAG    2 /* TAG_PAYLOAD of channel/link_parts.h */
#define MAPPINGS_MAX 64
#define HUGE_BYTES   ((size_t)2 << 20)

typedef void *map_function(void *, size_t, int, int, int, off_t);
typedef int unmap_function(void *, size_t);
typedef int send_function(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *);

static struct {
    char *data;
    size_t bytes;
} mappings[MAPPINGS_MAX];
static atomic_uint mapped;
static atomic_long ways;
static atomic_flag done = ATOMIC_FLAG_INIT;

static void say(const char *what)
{
    const char *name = getenv("DAMAGE_SAID");
    int fd = name == NULL ? -1 : open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd >= 0) {
        (void)!write(fd, what, strlen(what));
        (void)close(fd);
    }
}

static size_t least(void)
{
    const char *text = getenv("DAMAGE_BYTES");

    return text == NULL ? SIZE_MAX : strtoul(text, NULL, 10);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    static map_function *true_one;
    void *data;

    if (true_one == NULL) {
        true_one = (map_function *)(uintptr_t)dlsym(RTLD_NEXT, "mmap");
    }
    data = true_one(address, bytes, protection, flags, fd, offset);
    if (data != MAP_FAILED && fd == -1 && bytes >= least() && bytes % HUGE_BYTES != 0 &&
        (protection & PROT_WRITE) != 0) {
        unsigned at = atomic_fetch_add(&mapped, 1);

        if (at < MAPPINGS_MAX) {
            mappings[at].data = data;
            mappings[at].bytes = bytes;
        }
    }
    return data;
}

int munmap(void *address, size_t bytes)
{
    static unmap_function *true_one;

    if (true_one == NULL) {
        true_one = (unmap_function *)(uintptr_t)dlsym(RTLD_NEXT, "munmap");
    }
    for (unsigned i = 0; i < MAPPINGS_MAX; i++) {
        if (mappings[i].data == address) {
            mappings[i].data = NULL;
        }
    }
    return true_one(address, bytes);
}

static void damage_kept(void)
{
    const char *name = getenv("DAMAGE_KEPT");

    if (name == NULL || access(name, F_OK) != 0 || atomic_flag_test_and_set(&done)) {
        return;
    }
    for (unsigned i = 0; i < atomic_load(&mapped) && i < MAPPINGS_MAX; i++) {
        if (mappings[i].data != NULL) {
            mappings[i].data[mappings[i].bytes / 2] ^= 4;
        }
    }
    say("kept\n");
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    static send_function *true_one;
    const char *text = getenv("DAMAGE_WAY");

    if (true_one == NULL) {
        true_one = (send_function *)(uintptr_t)dlsym(RTLD_NEXT, "MPI_Isend");
    }
    damage_kept();
    if (tag == PIECE_TAG && text != NULL && atomic_fetch_add(&ways, 1) < strtol(text, NULL, 10)) {
        ((char *)(uintptr_t)data)[count / 2] ^= 4;
        say("way\n");
    }
    return true_one(data, count, type, to, tag, comm, request);
}
