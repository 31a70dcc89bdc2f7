/* What the files of cairn_coord share: one session of the job's own thread.
 *
 * Answers come while anybody drives, so also in the service thread and in the middle of other calls. They are only
 * noted then; the job hears of them in its next call of the handle. */
#ifndef CAIRN_PROCESS_COORD_HANDLE_H
#define CAIRN_PROCESS_COORD_HANDLE_H

#include "process/consensus.h"

/* A copy of what an answer points to. */
typedef struct coord_copy {
    char *memory;
    size_t bytes, room;
} coord_copy;

typedef enum coord_state { COORD_FREE, COORD_ASKED, COORD_ANSWERED, COORD_ABANDONED } coord_state;

/* One question: of cairn_coord_begin_*, of the call that waits, or one that nobody waits for. */
typedef struct coord_question {
    struct cairn_coord *coord;
    coord_state state;
    bool counted;                          /* of cairn_coord_begin_*: it takes one of the CAIRN_PENDING_MAX places */
    uint64_t tag, sequence;                /* sequence 0: none */
    struct coord_question *before, *after; /* of those that are not answered, in order */
    struct coord_question *next;           /* free, answered, or given out */
    cairn_status status;
    bool held, more;
    uint64_t number, revision;
    char text[160];
    cairn_kv *kvs;
    cairn_change *changes;
    size_t kv_count, change_count;
    coord_copy copy;
    cairn_answer answer;
    void *context;
} coord_question;

typedef struct coord_list {
    coord_question *first, *last;
} coord_list;

struct cairn_watch {
    cairn_coord *coord;
    char *key;
    bool prefix;
    uint64_t from;
    coord_question *told; /* changes that are not all given to the job yet */
    size_t given;
};

struct cairn_coord {
    struct cairn_coord *next;
    cairn_process *process;
    uint64_t session, sequence;
    double ttl, deadline;
    double shortest; /* time to live of the session and its leases */
    bool ended;      /* the service says that the session is no more */
    double alive_at;
    bool alive_open;
    uint64_t alive_tag;
    coord_list open[2]; /* not answered, in order: those without a sequence, and those with one */
    coord_question *free;
    coord_question *answered, **answered_end; /* of cairn_coord_begin_*, to be told */
    size_t pending;                           /* counted ones, until they are told */
    bool telling;
    coord_question *current; /* what the last call's pointers point into */
    cairn_kv *range;         /* of the last cairn_coord_range */
    size_t range_room;
    cairn_error error;
};

/* All of these by whoever is in. */
coord_question *coord_question_new(cairn_coord *coord);
void coord_question_free(coord_question *question);
/* Ask; commands get the session and the next sequence. */
cairn_status coord_ask(coord_question *question, cairn_question *request);
/* Ask and wait for at most `seconds`. *out belongs to the handle until its next call; an error is in coord->error, with
 * `what` before it. CAIRN_OK: there is an answer, and its status is CAIRN_OK too. CAIRN_E_NOT_FOUND is never about the
 * session. */
cairn_status coord_call(cairn_coord *coord, cairn_question *request, double seconds, const char *what,
                        coord_question **out);
/* Enter a call of the handle; an error is final for it. */
cairn_status coord_enter(cairn_coord *coord);
cairn_status coord_leave(cairn_coord *coord, cairn_status status);
/* Fill coord->error and return status; does not leave. */
cairn_status coord_fail(cairn_coord *coord, cairn_status status, const char *format, ...) CAIRN_PRINTF(3, 4);
void coord_forget_answers(cairn_coord *coord); /* what has been given out */
/* The session is to be kept alive so often that a lease of this ttl is, too. */
void coord_shorten(cairn_coord *coord, double ttl);
/* "cairn/ROOM/NAME" */
cairn_status coord_place_key(cairn_coord *coord, char key[CAIRN_KEY_MAX + 1], const char *room, const char *name);
bool coord_key_is_good(cairn_coord *coord, const char *key, bool prefix);
/* Nobody waits for the answer any more. What gives something up is asked on until it is answered. */
void coord_abandon(coord_question *question, bool ask_on);
/* A question of cairn_coord_begin_* gets no answer: that is told instead. */
void coord_give_up(coord_question *question);
/* coord_many.c: wait for the answers to cairn_coord_begin_*, and tell those that have none that they will not come.
 * Enters and leaves by itself. */
void coord_end_pending(cairn_coord *coord);
double coord_seconds(const cairn_coord *coord, double seconds);

#endif
