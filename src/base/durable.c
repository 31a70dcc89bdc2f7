#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

cairn_status cairn_errno_status(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
        return CAIRN_E_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return CAIRN_E_ACCESS;
    case ENOENT:
    case ENOTDIR:
        return CAIRN_E_NOT_FOUND;
    case ENOMEM:
        return CAIRN_E_NOMEM;
    default:
        return CAIRN_E_IO;
    }
}

cairn_status cairn_fail_errno(cairn_error *error, int error_number, const char *path, const char *what)
{
    char text[128];

    return cairn_fail(error, cairn_errno_status(error_number), "%s: %s: %s", path, what,
                      strerror_r(error_number, text, sizeof text));
}

void cairn_folder_of(char *folder, size_t bytes, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        (void)snprintf(folder, bytes, ".");
    } else if (slash == path) {
        (void)snprintf(folder, bytes, "/");
    } else {
        (void)snprintf(folder, bytes, "%.*s", (int)(slash - path), path);
    }
}

cairn_status cairn_sync_folder(const char *path, cairn_error *error)
{
    cairn_status status = CAIRN_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return cairn_fail_errno(error, errno, path, "open to sync the folder");
    }
    /* EINVAL: a file system that cannot sync folders; there is nothing more that we could do. */
    if (fsync(fd) != 0 && errno != EINVAL) {
        status = cairn_fail_errno(error, errno, path, "sync the folder");
    }
    (void)close(fd);
    return status;
}

static cairn_status make_folder(const char *path, unsigned *made, cairn_error *error)
{
    struct stat found;
    int why;

    if (mkdir(path, 0777) == 0) {
        (*made)++;
        return CAIRN_OK;
    }
    why = errno;
    if (stat(path, &found) == 0) {
        return S_ISDIR(found.st_mode) ? CAIRN_OK : cairn_fail(error, CAIRN_E_IO, "%s: not a folder", path);
    }
    return cairn_fail_errno(error, why, path, "make the folder");
}

cairn_status cairn_make_folders_unsynced(const char *path, unsigned *made, cairn_error *error)
{
    char part[CAIRN_PATH_BYTES];
    cairn_status status = CAIRN_OK;
    size_t length = strlen(path);

    *made = 0;
    if (length == 0 || length >= sizeof part) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path empty or too long", path);
    }
    memcpy(part, path, length + 1);
    while (length > 1 && part[length - 1] == '/') {
        part[--length] = '\0';
    }
    for (size_t i = 1; i < length && status == CAIRN_OK; i++) {
        if (part[i] == '/' && part[i - 1] != '/') {
            part[i] = '\0';
            status = make_folder(part, made, error);
            part[i] = '/';
        }
    }
    return status == CAIRN_OK ? make_folder(part, made, error) : status;
}

cairn_status cairn_sync_above(const char *path, unsigned made, cairn_error *error)
{
    char folder[CAIRN_PATH_BYTES];
    char above[CAIRN_PATH_BYTES];
    cairn_status status = CAIRN_OK;
    size_t length = (size_t)snprintf(folder, sizeof folder, "%s", path);

    for (; made > 0 && status == CAIRN_OK; made--) {
        while (length > 1 && folder[length - 1] == '/') {
            folder[--length] = '\0';
        }
        cairn_folder_of(above, sizeof above, folder);
        status = cairn_sync_folder(above, error);
        length = (size_t)snprintf(folder, sizeof folder, "%s", above);
    }
    return status;
}

cairn_status cairn_make_folders(const char *path, cairn_error *error)
{
    unsigned made = 0;
    cairn_status status = cairn_make_folders_unsynced(path, &made, error);

    return status == CAIRN_OK ? cairn_sync_above(path, made, error) : status;
}

cairn_status cairn_write_at(int fd, const void *data, size_t bytes, uint64_t offset, const char *path,
                            cairn_error *error)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t written = pwrite(fd, at, bytes < INT_MAX ? bytes : (size_t)1 << 30, (off_t)offset);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return cairn_fail_errno(error, written < 0 ? errno : ENOSPC, path, "write");
        }
        at += written;
        bytes -= (size_t)written;
        offset += (uint64_t)written;
    }
    return CAIRN_OK;
}

cairn_status cairn_read_at(int fd, void *data, size_t bytes, uint64_t offset, const char *path, cairn_error *error)
{
    char *at = data;

    while (bytes > 0) {
        ssize_t got = pread(fd, at, bytes < INT_MAX ? bytes : (size_t)1 << 30, (off_t)offset);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return cairn_fail_errno(error, errno, path, "read");
        }
        if (got == 0) {
            return cairn_fail(error, CAIRN_E_CORRUPT, "%s: ends at byte %llu, too early", path,
                              (unsigned long long)offset);
        }
        at += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return CAIRN_OK;
}

cairn_status cairn_replace_file(const char *path, const void *data, size_t bytes, cairn_error *error)
{
    char temporary[CAIRN_PATH_BYTES];
    char folder[CAIRN_PATH_BYTES];
    cairn_status status = CAIRN_E_BUG;
    int fd = -1;

    if ((size_t)snprintf(temporary, sizeof temporary, "%s.tmp", path) >= sizeof temporary) {
        return cairn_fail(error, CAIRN_E_INVALID, "%.100s: path too long", path);
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return cairn_fail_errno(error, errno, temporary, "create");
    }
    status = cairn_write_at(fd, data, bytes, 0, temporary, error);
    if (status == CAIRN_OK && fsync(fd) != 0) {
        status = cairn_fail_errno(error, errno, temporary, "sync");
    }
    if (close(fd) != 0 && status == CAIRN_OK) {
        status = cairn_fail_errno(error, errno, temporary, "close");
    }
    if (status == CAIRN_OK && rename(temporary, path) != 0) {
        status = cairn_fail_errno(error, errno, path, "rename into place");
    }
    if (status != CAIRN_OK) {
        (void)unlink(temporary);
        return status;
    }
    cairn_folder_of(folder, sizeof folder, path);
    return cairn_sync_folder(folder, error);
}
