/* What waits for others: locks, elections, barriers, watches. */
#include "process/coord_handle.h"

#include <stdlib.h>
#include <string.h>

#define LOCAL_SECONDS 1.0 /* for what this process answers itself */

/* ---------------------------------------------------------------- locks and elections */

cairn_status coord_place_key(cairn_coord *c, char key[CAIRN_KEY_MAX + 1], const char *room, const char *name)
{
    if (name == NULL || name[0] == '\0' ||
        snprintf(key, CAIRN_KEY_MAX + 1, "cairn/%s/%s", room, name) > CAIRN_KEY_MAX) {
        return coord_fail(c, CAIRN_E_INVALID, "%s: a name has 1 to %d bytes", room,
                          CAIRN_KEY_MAX - (int)(sizeof "cairn//" - 1 + strlen(room)));
    }
    return CAIRN_OK;
}

/* No longer wait, and hold nothing that was granted too late. Asked on if there is no answer now. */
static void give_up(cairn_coord *c, uint8_t op, const char *key, cairn_status *of_it)
{
    cairn_question request = {.op = op, .key = key};
    cairn_error why = c->error;
    coord_question *q = NULL;

    *of_it = coord_call(c, &request, c->deadline, key, &q);
    c->error = why;
}

static cairn_status acquire(cairn_coord *c, const char *room, const char *name, const void *value, size_t bytes,
                            double seconds, uint64_t *token)
{
    char key[CAIRN_KEY_MAX + 1];
    cairn_question request = {.op = CAIRN_OP_LOCK, .value = value, .bytes = bytes, .number = seconds == 0.0 ? 1 : 0};
    coord_question *q = NULL;
    cairn_status status = coord_enter(c), late;

    if (status == CAIRN_OK) {
        status = coord_place_key(c, key, room, name);
    }
    if (status == CAIRN_OK && bytes > CAIRN_VALUE_MAX) {
        status = coord_fail(c, CAIRN_E_INVALID, "%s %s: a value has at most %d bytes, not %zu", room, name,
                            CAIRN_VALUE_MAX, bytes);
    }
    if (status != CAIRN_OK) {
        return coord_leave(c, status);
    }
    request.key = key;
    status = coord_call(c, &request, seconds == 0.0 ? c->deadline : coord_seconds(c, seconds), name, &q);
    if (status == CAIRN_OK) {
        *token = q->number;
    } else if (status == CAIRN_E_BUSY && request.number == 1) {
        c->error.status = status = CAIRN_E_TIMEOUT;
    } else if (status == CAIRN_E_TIMEOUT || status == CAIRN_E_STOPPED) {
        if (status == CAIRN_E_TIMEOUT) {
            (void)coord_fail(c, status, "%s %s: not granted within %.3g s", room, name, coord_seconds(c, seconds));
        }
        give_up(c, CAIRN_OP_UNLOCK, key, &late);
    }
    return coord_leave(c, status);
}

static cairn_status release(cairn_coord *c, const char *room, const char *name, uint64_t token)
{
    char key[CAIRN_KEY_MAX + 1];
    cairn_question request = {.op = CAIRN_OP_UNLOCK, .key = key, .number = token};
    coord_question *q = NULL;
    cairn_status status = coord_enter(c);

    if (status == CAIRN_OK && token == 0) {
        status = coord_fail(c, CAIRN_E_INVALID, "%s %s: 0 is no token", room, name);
    }
    if (status == CAIRN_OK) {
        status = coord_place_key(c, key, room, name);
    }
    return coord_leave(c, status == CAIRN_OK ? coord_call(c, &request, c->deadline, name, &q) : status);
}

cairn_status cairn_coord_lock(cairn_coord *c, const char *name, double seconds, uint64_t *token)
{
    return acquire(c, "lock", name, NULL, 0, seconds, token);
}

cairn_status cairn_coord_unlock(cairn_coord *c, const char *name, uint64_t token)
{
    return release(c, "lock", name, token);
}

cairn_status cairn_coord_campaign(cairn_coord *c, const char *name, const void *value, size_t bytes, double seconds,
                                  uint64_t *token)
{
    return acquire(c, "election", name, value, bytes, seconds, token);
}

cairn_status cairn_coord_resign(cairn_coord *c, const char *name, uint64_t token)
{
    return release(c, "election", name, token);
}

/* ---------------------------------------------------------------- barriers */

cairn_status cairn_coord_barrier(cairn_coord *c, const char *name, uint32_t count, double seconds)
{
    cairn_question request = {.op = CAIRN_OP_BARRIER, .key = name, .number = count};
    coord_question *q = NULL;
    cairn_status status = coord_enter(c), late = CAIRN_OK;

    if (status == CAIRN_OK && !coord_key_is_good(c, name, false)) {
        status = CAIRN_E_INVALID;
    }
    if (status == CAIRN_OK && count == 0) {
        status = coord_fail(c, CAIRN_E_INVALID, "barrier %s: of 0 sessions", name);
    }
    if (status != CAIRN_OK) {
        return coord_leave(c, status);
    }
    status = coord_call(c, &request, coord_seconds(c, seconds), name, &q);
    if (status == CAIRN_E_TIMEOUT || status == CAIRN_E_STOPPED) {
        if (status == CAIRN_E_TIMEOUT) {
            (void)coord_fail(c, status, "barrier %s: %u sessions were not here together within %.3g s", name, count,
                             coord_seconds(c, seconds));
        }
        give_up(c, CAIRN_OP_BARRIER, name, &late);
        /* It was full in the last moment, and the others went on. */
        status = late == CAIRN_E_NOT_FOUND && status == CAIRN_E_TIMEOUT ? CAIRN_OK : status;
    }
    return coord_leave(c, status);
}

/* ---------------------------------------------------------------- watches */

cairn_status cairn_coord_watch(cairn_coord *c, const char *prefix, bool exact, uint64_t from, cairn_watch **out)
{
    /* From which revision on "now" is: what ended before this call is not told. */
    cairn_question request = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefix, .number = 1};
    cairn_status status = coord_enter(c);
    coord_question *q = NULL;
    cairn_watch *w;

    if (status == CAIRN_OK && !coord_key_is_good(c, prefix, !exact)) {
        status = CAIRN_E_INVALID;
    }
    if (status == CAIRN_OK && from == 0) {
        status = coord_call(c, &request, c->deadline, prefix, &q);
        from = q != NULL ? q->revision + 1 : 0;
    }
    if (status != CAIRN_OK) {
        return coord_leave(c, status);
    }
    w = calloc(1, sizeof *w);
    if (w != NULL) {
        w->key = strdup(prefix);
    }
    if (w == NULL || w->key == NULL) {
        free(w);
        return coord_leave(c, coord_fail(c, CAIRN_E_NOMEM, "%s: a watch", prefix));
    }
    w->coord = c;
    w->prefix = !exact;
    w->from = from;
    *out = w;
    return coord_leave(c, CAIRN_OK);
}

/* Fetch what this process knows from w->from on. */
static cairn_status fetch(cairn_watch *w)
{
    cairn_coord *c = w->coord;
    cairn_question request = {.op = CAIRN_OP_WATCH, .key = w->key, .number = w->from};
    coord_question *q = NULL;
    cairn_status status;

    request.flags = w->prefix ? CAIRN_REQUEST_PREFIX : 0;
    status = coord_call(c, &request, LOCAL_SECONDS, w->key, &q);
    if (status == CAIRN_OK) {
        w->from = q->number;
        c->current = q->next; /* it is the watch's now */
        coord_question_free(w->told);
        w->told = q;
        w->given = 0;
    }
    return status;
}

cairn_status cairn_watch_next(cairn_watch *w, double seconds, cairn_change *change)
{
    cairn_coord *c = w->coord;
    waiting pause = {.since = cairn_now()};
    cairn_status status = coord_enter(c);

    pause.deadline = pause.since + coord_seconds(c, seconds);
    while (status == CAIRN_OK && (w->told == NULL || w->given == w->told->change_count)) {
        if (cairn_consensus_revision(c->process) >= w->from) {
            status = fetch(w);
        } else if (cairn_consensus_over(c->process)) {
            status = coord_fail(c, CAIRN_E_FULL, "%s: " CAIRN_CONSENSUS_OVER_TEXT, w->key);
        } else if (cairn_now() >= pause.deadline) {
            status = CAIRN_E_TIMEOUT;
        } else {
            status = cairn_pause(c->process, &pause);
        }
    }
    if (status == CAIRN_E_TIMEOUT) {
        (void)coord_fail(c, status, "%s: no change within %.3g s", w->key, coord_seconds(c, seconds));
    } else if (status != CAIRN_OK && c->error.text[0] == '\0') {
        (void)coord_fail(c, status, "%s: %s", w->key,
                         status == c->process->fatal ? c->process->error.text : cairn_status_text(status));
    }
    if (status == CAIRN_OK) {
        *change = w->told->changes[w->given++];
    }
    return coord_leave(c, status);
}

void cairn_watch_close(cairn_watch *w)
{
    if (w != NULL) {
        cairn_enter(w->coord->process);
        coord_question_free(w->told);
        cairn_exit_call(w->coord->process);
        free(w->key);
        free(w);
    }
}
