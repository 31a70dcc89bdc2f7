/* The real disk: files in one folder, locked by flock on the file "lock" in it. Open files are kept; the table of them
 * has a mutex, since two threads may call.
 *
 * What is persisted goes past the page cache (O_DIRECT), from a buffer that is aligned, where the file system lets it:
 * then fdatasync has no page to look for and write back, which took as long as a third of a put. Reading still uses the
 * cache: the kernel throws away what it has of the bytes that are written. */
#include "paxos/disk.h"

#include "base/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES  64
#define ZERO_BYTES  ((size_t)1 << 20)
#define LOCK_NAME   "lock"
#define MAKING_NAME "making.tmp" /* a file before it is whole; one at a time is made */

#define NOT_OPEN     (-1)
#define REFUSED      (-2)
#define DIRECT_ALIGN ((size_t)4096)        /* of memory                                                           */
#define DIRECT_UNIT  ((size_t)512)         /* of offset and length; a disk that wants more refuses, and is believed */
#define DIRECT_MOST  ((size_t)1024 * 1024) /* what is longer gains nothing                                        */

typedef struct kept {
    char name[NAME_BYTES];
    int fd;
    int direct; /* the same file, opened with O_DIRECT; NOT_OPEN; or REFUSED, by the file system */
} kept;

typedef struct posix_disk {
    char folder[CAIRN_PATH_BYTES];
    int lock;
    pthread_mutex_t mutex; /* guards what follows */
    kept *files;
    size_t count, room;
    void *buffer; /* [DIRECT_MOST], persist's; NULL before the first */
} posix_disk;

/* A name from outside the log must not lead out of the folder, nor to the files of the disk itself. */
static cairn_status path_of(const posix_disk *disk, char path[CAIRN_PATH_BYTES], const char *name, cairn_error *error)
{
    size_t length = strlen(name);

    if (length == 0 || length >= NAME_BYTES || name[0] == '.' || strchr(name, '/') != NULL ||
        strcmp(name, LOCK_NAME) == 0 || strcmp(name, MAKING_NAME) == 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: \"%.80s\": not a name for a file here", disk->folder, name);
    }
    if ((size_t)snprintf(path, CAIRN_PATH_BYTES, "%s/%s", disk->folder, name) >= CAIRN_PATH_BYTES) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", disk->folder);
    }
    return CAIRN_OK;
}

static bool keep(posix_disk *disk, const char *name, int fd)
{
    if (disk->count == disk->room) {
        size_t room = disk->room * 2 + 16;
        kept *larger = realloc(disk->files, room * sizeof *larger);

        if (larger == NULL) {
            return false;
        }
        disk->files = larger;
        disk->room = room;
    }
    (void)snprintf(disk->files[disk->count].name, NAME_BYTES, "%s", name);
    disk->files[disk->count].direct = NOT_OPEN;
    disk->files[disk->count++].fd = fd;
    return true;
}

static kept *find(posix_disk *disk, const char *name)
{
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->files[i].name, name) == 0) {
            return &disk->files[i];
        }
    }
    return NULL;
}

static void close_kept(const kept *file)
{
    (void)close(file->fd);
    if (file->direct >= 0) {
        (void)close(file->direct);
    }
}

/* With the mutex held. */
static void forget(posix_disk *disk, const char *name)
{
    kept *file = find(disk, name);

    if (file != NULL) {
        close_kept(file);
        *file = disk->files[--disk->count];
    }
}

/* After a failed write-back the kernel calls the pages clean, and a later reader would see what is not on the disk. So
 * what a process finds at its first opening is made durable, and then read from the disk itself. */
static int open_fresh(const char *path, cairn_error *error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        (void)cairn_fail_errno(error, errno, path, "open");
    } else if (fdatasync(fd) != 0) {
        (void)cairn_fail_errno(error, errno, path, "sync");
        (void)close(fd);
        fd = -1;
    } else {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    return fd;
}

/* The open file and its path, for errors. */
static cairn_status open_file(posix_disk *disk, const char *name, int *fd, char path[CAIRN_PATH_BYTES],
                              cairn_error *error)
{
    cairn_error why = {CAIRN_OK, ""};
    cairn_status status = path_of(disk, path, name, error);
    kept *file;

    if (status != CAIRN_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&disk->mutex);
    file = find(disk, name);
    *fd = file != NULL ? file->fd : open_fresh(path, &why);
    if (*fd >= 0 && file == NULL && !keep(disk, name, *fd)) {
        (void)close(*fd);
        (void)cairn_fail(&why, CAIRN_E_NOMEM, "%s: no memory to open it", path);
    }
    (void)pthread_mutex_unlock(&disk->mutex);
    if (why.status != CAIRN_OK && error != NULL) {
        *error = why;
    }
    return why.status;
}

static cairn_status posix_list(void *context, void (*each)(void *argument, const char *name, uint64_t bytes),
                               void *argument, cairn_error *error)
{
    const posix_disk *disk = context;
    DIR *folder = opendir(disk->folder);
    cairn_status status = CAIRN_OK;
    struct dirent *entry;

    if (folder == NULL) {
        return errno == ENOENT ? CAIRN_OK : cairn_fail_errno(error, errno, disk->folder, "open the folder");
    }
    for (errno = 0; (entry = readdir(folder)) != NULL; errno = 0) {
        char path[CAIRN_PATH_BYTES];
        struct stat found;

        if (path_of(disk, path, entry->d_name, NULL) != CAIRN_OK) {
            continue;
        }
        if (fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT) { /* an image that was just renamed */
                break;
            }
        } else if (S_ISREG(found.st_mode)) {
            each(argument, entry->d_name, (uint64_t)found.st_size);
        }
    }
    if (errno != 0) {
        status = cairn_fail_errno(error, errno, disk->folder, "list the folder");
    }
    (void)closedir(folder);
    return status;
}

static cairn_status write_zeros(int fd, uint64_t bytes, const char *path, cairn_error *error)
{
    char *zeros = calloc(1, ZERO_BYTES);
    cairn_status status = CAIRN_OK;

    if (zeros == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to make it", path);
    }
    for (uint64_t at = 0; at < bytes && status == CAIRN_OK; at += ZERO_BYTES) {
        size_t piece = bytes - at < ZERO_BYTES ? (size_t)(bytes - at) : ZERO_BYTES;

        status = cairn_write_at(fd, zeros, piece, at, path, error);
    }
    free(zeros);
    return status;
}

/* Zeros are written: blocks that are only reserved would make the first sync of each of them write to the file system's
 * journal. Errors name the file that was asked for, not the name it has until it is whole. */
static cairn_status posix_create(void *context, const char *name, uint64_t bytes, cairn_error *error)
{
    posix_disk *disk = context;
    char path[CAIRN_PATH_BYTES];
    char making[CAIRN_PATH_BYTES + sizeof MAKING_NAME];
    cairn_status status = path_of(disk, path, name, error);
    int fd;

    if (status != CAIRN_OK) {
        return status;
    }
    (void)snprintf(making, sizeof making, "%s/%s", disk->folder, MAKING_NAME);
    fd = open(making, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        return cairn_fail_errno(error, errno, path, "create");
    }
    (void)posix_fallocate(fd, 0, (off_t)bytes); /* in one piece if possible; a full disk is told by the writing */
    status = write_zeros(fd, bytes, path, error);
    if (status == CAIRN_OK && fsync(fd) != 0) {
        status = cairn_fail_errno(error, errno, path, "sync");
    }
    if (status == CAIRN_OK && rename(making, path) != 0) {
        status = cairn_fail_errno(error, errno, path, "rename into place");
    }
    if (status != CAIRN_OK) {
        (void)close(fd);
        (void)unlink(making);
        return status;
    }
    (void)pthread_mutex_lock(&disk->mutex);
    forget(disk, name);
    if (!keep(disk, name, fd)) {
        (void)close(fd); /* opened again when it is needed */
    }
    (void)pthread_mutex_unlock(&disk->mutex);
    return cairn_sync_folder(disk->folder, error);
}

static cairn_status posix_read(void *context, const char *name, uint64_t offset, void *data, size_t bytes,
                               cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    int fd = -1;
    cairn_status status = open_file(context, name, &fd, path, error);

    return status == CAIRN_OK ? cairn_read_at(fd, data, bytes, offset, path, error) : status;
}

static cairn_status posix_write(void *context, const char *name, uint64_t offset, const void *data, size_t bytes,
                                cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    int fd = -1;
    cairn_status status = open_file(context, name, &fd, path, error);

    return status == CAIRN_OK ? cairn_write_at(fd, data, bytes, offset, path, error) : status;
}

static cairn_status posix_sync(void *context, const char *name, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    int fd = -1;
    cairn_status status = open_file(context, name, &fd, path, error);

    if (status == CAIRN_OK && fdatasync(fd) != 0) {
        status = cairn_fail_errno(error, errno, path, "sync");
    }
    return status;
}

/* The file for direct writing, or -1. It is open already for reading. */
static int open_direct(posix_disk *disk, const char *name, const char *path)
{
    int fd = -1;
    kept *file;

    (void)pthread_mutex_lock(&disk->mutex);
    file = find(disk, name);
    if (file != NULL && file->direct == NOT_OPEN) {
        fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
        file->direct = fd >= 0 ? fd : REFUSED;
    }
    fd = file != NULL && file->direct >= 0 ? file->direct : -1;
    (void)pthread_mutex_unlock(&disk->mutex);
    return fd;
}

static void refuse_direct(posix_disk *disk, const char *name)
{
    kept *file;

    (void)pthread_mutex_lock(&disk->mutex);
    file = find(disk, name);
    if (file != NULL) {
        (void)close(file->direct);
        file->direct = REFUSED;
    }
    (void)pthread_mutex_unlock(&disk->mutex);
}

/* False: it is to be written through the page cache. */
static bool write_direct(posix_disk *disk, const char *name, const char *path, uint64_t offset, const void *data,
                         size_t bytes)
{
    ssize_t written;
    int fd;

    if (bytes > DIRECT_MOST || bytes % DIRECT_UNIT != 0 || offset % DIRECT_UNIT != 0) {
        return false;
    }
    if (disk->buffer == NULL && posix_memalign(&disk->buffer, DIRECT_ALIGN, DIRECT_MOST) != 0) {
        disk->buffer = NULL;
        return false;
    }
    fd = open_direct(disk, name, path);
    if (fd < 0) {
        return false;
    }
    memcpy(disk->buffer, data, bytes);
    do {
        written = pwrite(fd, disk->buffer, bytes, (off_t)offset);
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno == EINVAL) {
        refuse_direct(disk, name);
    }
    return written == (ssize_t)bytes; /* what is wrong, if anything is, the other way will say */
}

static cairn_status posix_persist(void *context, const char *name, uint64_t offset, const void *data, size_t bytes,
                                  cairn_error *error)
{
    char path[CAIRN_PATH_BYTES];
    int fd = -1;
    cairn_status status = open_file(context, name, &fd, path, error);

    if (status == CAIRN_OK && !write_direct(context, name, path, offset, data, bytes)) {
        status = cairn_write_at(fd, data, bytes, offset, path, error);
    }
    if (status == CAIRN_OK && fdatasync(fd) != 0) {
        status = cairn_fail_errno(error, errno, path, "sync");
    }
    return status;
}

static cairn_status posix_rename(void *context, const char *from, const char *to, cairn_error *error)
{
    posix_disk *disk = context;
    char old[CAIRN_PATH_BYTES];
    char new[CAIRN_PATH_BYTES];
    cairn_status status = path_of(disk, old, from, error);
    kept *file;

    if (status == CAIRN_OK) {
        status = path_of(disk, new, to, error);
    }
    if (status != CAIRN_OK) {
        return status;
    }
    if (rename(old, new) != 0) {
        return cairn_fail_errno(error, errno, old, "rename");
    }
    (void)pthread_mutex_lock(&disk->mutex);
    if (strcmp(from, to) != 0) {
        forget(disk, to);
    }
    file = find(disk, from);
    if (file != NULL) {
        (void)snprintf(file->name, NAME_BYTES, "%s", to);
    }
    (void)pthread_mutex_unlock(&disk->mutex);
    return cairn_sync_folder(disk->folder, error);
}

static cairn_status posix_remove(void *context, const char *name, cairn_error *error)
{
    posix_disk *disk = context;
    char path[CAIRN_PATH_BYTES];
    cairn_status status = path_of(disk, path, name, error);

    if (status != CAIRN_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&disk->mutex);
    forget(disk, name);
    (void)pthread_mutex_unlock(&disk->mutex);
    if (unlink(path) != 0) {
        return cairn_fail_errno(error, errno, path, "remove");
    }
    return cairn_sync_folder(disk->folder, error);
}

static cairn_status take_lock(posix_disk *disk, cairn_error *error)
{
    char path[CAIRN_PATH_BYTES + sizeof MAKING_NAME];

    (void)snprintf(path, sizeof path, "%s/%s", disk->folder, LOCK_NAME);
    disk->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (disk->lock < 0) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    if (flock(disk->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? cairn_fail(error, CAIRN_E_BUSY, "%s: in use by another process", disk->folder)
                                    : cairn_fail_errno(error, errno, path, "lock");
    }
    (void)snprintf(path, sizeof path, "%s/%s", disk->folder, MAKING_NAME);
    (void)unlink(path); /* left by a crash */
    return CAIRN_OK;
}

cairn_status cairn_disk_open(cairn_disk *disk, const char *folder, cairn_error *error)
{
    posix_disk *real = NULL;
    cairn_status status = cairn_make_folders(folder, error);

    *disk = (cairn_disk){0};
    if (status != CAIRN_OK) {
        return status;
    }
    real = calloc(1, sizeof *real);
    if (real == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: no memory to open it", folder);
    }
    (void)snprintf(real->folder, sizeof real->folder, "%s", folder); /* it fits: the folder was made */
    status = take_lock(real, error);
    if (status != CAIRN_OK) {
        if (real->lock >= 0) {
            (void)close(real->lock);
        }
        free(real);
        return status;
    }
    (void)pthread_mutex_init(&real->mutex, NULL);
    *disk = (cairn_disk){.context = real,
                         .list = posix_list,
                         .create = posix_create,
                         .read = posix_read,
                         .write = posix_write,
                         .sync = posix_sync,
                         .persist = posix_persist,
                         .rename = posix_rename,
                         .remove = posix_remove};
    return CAIRN_OK;
}

void cairn_disk_close(cairn_disk *disk)
{
    posix_disk *real = disk->context;

    if (real == NULL) {
        return;
    }
    for (size_t i = 0; i < real->count; i++) {
        close_kept(&real->files[i]);
    }
    (void)close(real->lock); /* and unlocks */
    (void)pthread_mutex_destroy(&real->mutex);
    free(real->files);
    free(real->buffer);
    free(real);
    *disk = (cairn_disk){0};
}
