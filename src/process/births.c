/* Who ends while all begin. mpirun ends a launch of which a rank has died, but not when it lets the others live on: they
 * would wait for that rank in the next agreement. Before anything is known in the replicated state the ranks tell each
 * other by MPI who they are, and each watches those of its host. */
#include "detector/watch.h"
#include "process/runtime.h"
#include "process/whereabouts.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct cairn_births {
    cairn_pidwatch *watch;
    uint32_t ended; /* CAIRN_PIDWATCH_NONE: nobody */
} cairn_births;

static uint32_t who_ended(void *context)
{
    cairn_births *b = context;

    if (b->ended == CAIRN_PIDWATCH_NONE) {
        b->ended = cairn_pidwatch_poll(b->watch);
    }
    return b->ended;
}

static void watch_neighbours(const cairn_process *p, cairn_births *b, const uint64_t *places, const uint64_t *pids,
                             const uint64_t *begun)
{
    for (uint32_t i = 0; i < p->peers; i++) {
        if (i != p->self && pids[i] != 0 && places[i] == places[p->self] &&
            cairn_pidwatch_add(b->watch, i, (int64_t)pids[i], begun[i]) == CAIRN_E_NOT_FOUND) {
            b->ended = i;
        }
    }
}

cairn_status cairn_births_watch(cairn_process *p, cairn_error *error)
{
    const char *what = "telling who is there";
    cairn_births *b = calloc(1, sizeof *b);
    uint64_t *places = calloc((size_t)p->peers * 3, sizeof *places);
    uint64_t *pids;
    uint64_t *begun;
    uint64_t own = 0;
    cairn_status status;

    if (b == NULL || places == NULL) {
        free(b);
        free(places);
        return cairn_fail(error, CAIRN_E_NOMEM, "watching the other ranks");
    }
    pids = places + p->peers;
    begun = pids + p->peers;
    b->ended = CAIRN_PIDWATCH_NONE;
    p->births = b;
    (void)cairn_pidwatch_begun(getpid(), &own);
    status = cairn_link_gather(p->link, cairn_whereabouts_place(), places, p->deadline, what, error);
    if (status == CAIRN_OK) {
        status = cairn_link_gather(p->link, own == 0 ? 0 : (uint64_t)getpid(), pids, p->deadline, what, error);
    }
    if (status == CAIRN_OK) {
        status = cairn_link_gather(p->link, own, begun, p->deadline, what, error);
    }
    if (status == CAIRN_OK && cairn_pidwatch_open(&b->watch, p->peers) == CAIRN_OK) { /* else the deadline must do */
        watch_neighbours(p, b, places, pids, begun);
        cairn_link_set_ended(p->link, who_ended, b);
    }
    free(places);
    return status;
}

void cairn_births_done(cairn_process *p)
{
    if (p->births != NULL) {
        cairn_link_set_ended(p->link, NULL, NULL);
        cairn_pidwatch_close(p->births->watch);
        free(p->births);
        p->births = NULL;
    }
}
