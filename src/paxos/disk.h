/* What the consensus log needs of a disk: so little that the simulator can give it too, and lose, tear and damage what
 * was not synced. Names are plain file names in one folder. Functions may be called from two threads at once (the log's
 * writer and its owner), on the same file only `read` beside another read, or beside a write of other bytes and a
 * sync. */
#ifndef CAIRN_PAXOS_DISK_H
#define CAIRN_PAXOS_DISK_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cairn_disk {
    void *context;
    /* For each file of the folder (any order). A missing folder is an empty one. */
    cairn_status (*list)(void *context, void (*each)(void *argument, const char *name, uint64_t bytes), void *argument,
                         cairn_error *error);
    /* Make a file of `bytes` bytes, written with zeros (not a hole: writing into it later must not need new blocks),
     * durable together with its name. Replaces one of that name. After a crash it is there as a whole, or not at all.
     */
    cairn_status (*create)(void *context, const char *name, uint64_t bytes, cairn_error *error);
    /* All of them, or an error: reading past the end is CAIRN_E_CORRUPT. */
    cairn_status (*read)(void *context, const char *name, uint64_t offset, void *data, size_t bytes,
                         cairn_error *error);
    /* Not durable before sync of the same file. */
    cairn_status (*write)(void *context, const char *name, uint64_t offset, const void *data, size_t bytes,
                          cairn_error *error);
    cairn_status (*sync)(void *context, const char *name, cairn_error *error); /* fdatasync */
    /* write and sync in one: durable when it returns. By one thread at a time. */
    cairn_status (*persist)(void *context, const char *name, uint64_t offset, const void *data, size_t bytes,
                            cairn_error *error);
    /* Durable when they return. rename replaces `to`. */
    cairn_status (*rename)(void *context, const char *from, const char *to, cairn_error *error);
    cairn_status (*remove)(void *context, const char *name, cairn_error *error);
} cairn_disk;

/* The real one: files in `folder`, which is made if missing, and locked: CAIRN_E_BUSY if another process has it open
 * ("FOLDER: in use by another process"). Keeps files open between calls. */
cairn_status cairn_disk_open(cairn_disk *disk, const char *folder, cairn_error *error);
void cairn_disk_close(cairn_disk *disk);

#endif
