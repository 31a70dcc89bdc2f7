/* What a launcher and a job print: the filter of `cairn run` survives everything, and what it lets through and learns does not
 * depend on how it was cut into pieces. Slurm's words, too. Input: flags, then what is printed. */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX 16384 /* less than what can be held back: from there on pieces matter */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct outcome {
    cairn_run_filter filter;
    char text[TEXT_MAX + 1];
    ssize_t bytes;
} outcome;

static void run(outcome *o, const char *text, size_t bytes, bool srun, unsigned piece)
{
    int out = memfd_create("passed", MFD_CLOEXEC);

    if (out < 0) {
        abort();
    }
    cairn_run_filter_begin(&o->filter, out, NULL, srun);
    for (size_t at = 0, next; at < bytes; at = next) {
        next = piece == 0 ? bytes : at + 1 + (at * 7 + piece) % piece;
        next = next < bytes ? next : bytes;
        cairn_run_filter_feed(&o->filter, text + at, next - at, 1);
    }
    cairn_run_filter_flush(&o->filter, 100, true);
    o->bytes = pread(out, o->text, sizeof o->text, 0);
    (void)close(out);
    if (o->filter.held_bytes != 0 || o->bytes < 0 || o->bytes > (ssize_t)bytes ||
        memchr(o->filter.host, '\0', sizeof o->filter.host) == NULL ||
        memchr(o->filter.first_host, '\0', sizeof o->filter.first_host) == NULL ||
        memchr(o->filter.last_block, '\0', sizeof o->filter.last_block) == NULL || o->filter.process < -1) {
        abort();
    }
}

static bool same(const outcome *a, const outcome *b)
{
    const cairn_run_filter *f = &a->filter, *g = &b->filter;

    return a->bytes == b->bytes && memcmp(a->text, b->text, (size_t)a->bytes) == 0 && f->process == g->process &&
           f->signal == g->signal && f->exit == g->exit && f->not_started == g->not_started &&
           f->daemon_lost == g->daemon_lost && strcmp(f->host, g->host) == 0 &&
           strcmp(f->first_host, g->first_host) == 0 && strcmp(f->last_block, g->last_block) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static outcome whole, pieces;
    char name[CAIRN_NODE_NAME_BYTES], state[64];
    char line[256];

    if (size == 0 || size > TEXT_MAX) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t bytes = size - 1;
    bool srun = (data[0] & 1) != 0;

    run(&whole, text, bytes, srun, 0);
    for (unsigned piece = 1; piece < 40; piece += 1 + data[0] / 16) {
        run(&pieces, text, bytes, srun, piece);
        if (!same(&whole, &pieces)) {
            abort();
        }
    }
    for (size_t at = 0; at < bytes; at += sizeof line - 1) { /* as fgets cuts it */
        size_t part = bytes - at < sizeof line - 1 ? bytes - at : sizeof line - 1;

        memcpy(line, text + at, part);
        line[part] = '\0';
        if (cairn_run_slurm_read_dead(line, name, state) && (strlen(name) == 0 || strlen(state) == 0)) {
            abort();
        }
        (void)cairn_run_slurm_read_pmix(line);
    }
    return 0;
}
