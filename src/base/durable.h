/* Files that are still there after a crash: what every writer of DIR shares. */
#ifndef CAIRN_BASE_DURABLE_H
#define CAIRN_BASE_DURABLE_H

#include <cairn/status.h>
#include <stddef.h>
#include <stdint.h>

#define CAIRN_PATH_BYTES 4096

/* ENOSPC, EDQUOT: FULL. EACCES, EPERM, EROFS: ACCESS. ENOENT, ENOTDIR: NOT_FOUND. ENOMEM: NOMEM. All else: IO. */
cairn_status cairn_errno_status(int error_number);
/* "path: what: strerror" with the status of errno. */
cairn_status cairn_fail_errno(cairn_error *error, int error_number, const char *path, const char *what);

/* Make a folder and its missing parents; each new entry is synced into its parent. */
cairn_status cairn_make_folders(const char *path, cairn_error *error);
/* The same without syncing: *made gets how many were made. They are durable after cairn_sync_above(path, made), which
 * costs least when it comes after the files in them were synced. */
cairn_status cairn_make_folders_unsynced(const char *path, unsigned *made, cairn_error *error);
cairn_status cairn_sync_above(const char *path, unsigned made, cairn_error *error);
/* fsync of a folder: entries made, renamed and removed in it are durable. */
cairn_status cairn_sync_folder(const char *path, cairn_error *error);
/* The folder of a file's path: "." when it has none. */
void cairn_folder_of(char *folder, size_t bytes, const char *path);

/* All of the bytes or an error; path is for the error. Reading past the end is CAIRN_E_CORRUPT. */
cairn_status cairn_write_at(int fd, const void *data, size_t bytes, uint64_t offset, const char *path,
                            cairn_error *error);
cairn_status cairn_read_at(int fd, void *data, size_t bytes, uint64_t offset, const char *path, cairn_error *error);

/* Put these bytes under `path` by a temporary name, fsync, rename and fsync of the folder. */
cairn_status cairn_replace_file(const char *path, const void *data, size_t bytes, cairn_error *error);

#endif
