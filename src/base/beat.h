/* Signs of life: what each process of a launch tells the supervisor, through one small file per process.
 *
 * DIR/status/process-000003 holds one line of text, CAIRN_BEAT_BYTES long, blank padded and ended by a newline; the
 * process overwrites it in place (one pwrite) a few times a second and at its exit:
 *   cairn-beat 3 launch L pid P host H phase F activity A step S done D total T attempt X lost N held C exit E
 * activity grows with every message and safe point; step is the last safe point's or "-"; attempt is the newest
 * committed snapshot; lost is how many processes this one knows to be lost (survive mode); held is the newest snapshot
 * of which a partner has this process's part in its memory (0: none); exit is "-" until the
 * process itself ends (exit or return from main), then its exit status. A process that was killed leaves "-". A reader
 * takes a line only when it is whole and of the launch it asks for. */
#ifndef CAIRN_BASE_BEAT_H
#define CAIRN_BASE_BEAT_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAIRN_BEAT_BYTES 352

typedef enum cairn_phase {
    CAIRN_PHASE_STARTING, /* in cairn_init                   */
    CAIRN_PHASE_RUNNING,
    CAIRN_PHASE_FINISHING, /* in cairn_finalize               */
    CAIRN_PHASE_FINISHED   /* cairn_finalize has returned     */
} cairn_phase;

typedef struct cairn_beat {
    uint32_t launch;
    int64_t pid;
    char host[65];
    cairn_phase phase;
    uint64_t activity;
    uint64_t step; /* UINT64_MAX: none */
    uint64_t done, total;
    uint64_t attempt;
    uint32_t lost;
    uint64_t held;
    int exit; /* -1: has not ended by itself */
} cairn_beat;

/* path: dir/status/process-NNNNNN in `path` of `bytes` bytes. */
void cairn_beat_path(char *path, size_t bytes, const char *dir, uint32_t process);
/* Write through an open descriptor. */
cairn_status cairn_beat_write(int fd, const cairn_beat *beat);
/* CAIRN_E_NOT_FOUND: no file, not a whole line, or another launch. */
cairn_status cairn_beat_read(const char *path, uint32_t launch, cairn_beat *beat);

#endif
