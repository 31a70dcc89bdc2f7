/* The world of the recovery simulator: ranks with the production core of src/recovery in each, one replicated log, a
 * network, and what goes wrong. test_recovery.c says what is drawn and what must hold.
 *
 * Time is in microseconds. A rank that is paused or cut off gets what is due for it later; what one rank sends to
 * another comes in the order of sending, all else may overtake. */
#ifndef CAIRN_TESTS_SIM_RECOVERY_WORLD_H
#define CAIRN_TESTS_SIM_RECOVERY_WORLD_H

#include "agenda.h"
#include "chance.h"

#include "recovery/recovery.h"

#include <stdio.h>

#define PROCESSES_MAX 8
#define RANKS_MAX     16
#define VIEWS_MAX     64 /* each takes a spare, so there are at most 9 */
#define CUTS_MAX      256
#define EVENTS_MAX    200000
#define VIEW_BYTES    ((6 + PROCESSES_MAX) * 4 + RANKS_MAX)
#define MILLISECOND   1000ULL
#define NOBODY        UINT32_MAX

/* What can be found broken; test_recovery.c says them in words. */
typedef enum property {
    HOLDS,
    AGREED,
    OUTCAST,
    CARRIED,
    EARLY,
    STALE,
    LOST,
    SNAPSHOT,
    PROPOSAL,
    HOPELESS,
    INVARIANT,
    STUCK,
    PROPERTIES
} property;

typedef enum outcome {
    NOTHING_LOST, /* view 0 to the end                                     */
    RECOVERED,    /* all live carriers go on in the last view              */
    NO_SPARE,     /* the leader says so, and it is so                      */
    NO_SNAPSHOT,  /* likewise                                              */
    NOT_STARTED,  /* a death before all had begun, as far as the leader knows, is no case for a view */
    NOBODY_LEFT,  /* no rank lives                                         */
    OUTCOMES
} outcome;

typedef struct recovery_options {
    uint32_t count; /* processes; 0: drawn        */
    bool calm;      /* no faults but deaths       */
    bool blind;     /* does not look at rc_check  */
    FILE *trace;    /* every event, or NULL       */
} recovery_options;

typedef struct recovery_result {
    property broken;
    char detail[300];
    uint32_t count, ranks;
    outcome outcome;
    uint64_t passed_on;             /* knew that all have begun from another's word first */
    uint64_t digest, events, after; /* after: events from the end of all faults until it was settled */
    uint64_t views, installed, skipped, resumed, overtaken;
    uint64_t deaths, pauses, woken_out, cuts, elections, replaced_alive;
    uint64_t proposed, refused, unknown;
    uint64_t hopeless, hopeless_wrong; /* wrong: by one that pauses, is cut off, or suspects falsely */
    uint64_t sent, consumed, dropped, cuts_taken, committed;
    uint64_t voided, further_back, ended; /* ended: there was nothing older */
} recovery_result;

typedef enum letter_kind { BEGUN, ALL_BEGUN, READY_FOR, JOB, DISMISS, VOIDED } letter_kind;

typedef struct letter {
    letter_kind kind;
    uint32_t view;     /* READY_FOR, VOIDED; JOB: the incarnation */
    uint32_t from, to; /* JOB: processes */
    uint64_t sequence; /* VOIDED: the snapshot */
} letter;

typedef struct letters {
    letter *items;
    size_t first, count, room;
} letters;

/* What a snapshot holds: how many messages each process had sent and consumed; the rest is in its channels. One that is in
 * memory only is in that of the ranks that carried the processes, and each part in that of the next one, too; it is gone
 * when the next such one is committed, or when a view took its key away. */
typedef struct cut {
    bool committed, in_memory, gone;
    uint32_t view;                 /* in which it was recorded */
    uint32_t owner[PROCESSES_MAX]; /* ranks */
    uint64_t sent[PROCESSES_MAX][PROCESSES_MAX], consumed[PROCESSES_MAX][PROCESSES_MAX];
} cut;

/* A view that was chosen. */
typedef struct chosen {
    rc_view view;
    uint32_t carrier[PROCESSES_MAX];
    uint8_t out[RANKS_MAX];
    uint8_t bytes[VIEW_BYTES];
    bool restored[RANKS_MAX]; /* who has the state of its snapshot back */
    bool voided;              /* somebody cannot have it */
} chosen;

typedef struct entry {
    uint32_t view;     /* or 0 */
    uint64_t snapshot; /* committed */
    bool in_memory;    /* it is */
    uint64_t gone;     /* the key that the view takes away, or 0 */
} entry;

typedef struct rank {
    rc *core;
    bool dead;
    uint64_t paused, cut; /* until then */
    uint64_t silent;      /* since then, + 1, as far as others can tell; 0: it is heard */
    bool leads, ticking;
    bool started; /* as its core was told */
    bool begun[PROCESSES_MAX];
    uint32_t read;         /* newest view */
    size_t applied;        /* of the log */
    bool learning;         /* is going to apply more */
    bool slow;             /* at that */
    uint64_t knows;        /* newest committed snapshot in what it has applied */
    uint64_t durable, key; /* the newest durable one there, and the one in memory */
    uint32_t void_view;    /* of which somebody has said that its snapshot cannot be had */
    uint64_t void_snapshot;
    uint32_t void_told; /* as its core was, of that view's */
    uint64_t told_committed;
    bool told[RANKS_MAX]; /* the core has been told that it is silent, since this rank last stopped to lead */
    uint64_t deluded[RANKS_MAX];
    bool outstanding;  /* a proposal is */
    uint32_t hopeless; /* view in which it was said, + 1 */
    bool goes_back;    /* is restoring, or about to */
    uint32_t back_to;  /* the view it does that for */
    uint64_t sent[PROCESSES_MAX], consumed[PROCESSES_MAX];
    letters box[PROCESSES_MAX];
} rank;

typedef enum happening_kind {
    ARRIVE,
    LEARN,
    BEGIN,
    TICK,
    JOB_STEP,
    GO_BACK,
    RESTORED,
    PROPOSE,
    ANSWER,
    ELECT,
    LED,
    USURP,
    SNAP,
    COMMIT,
    KILL,
    PAUSE,
    WAKE,
    CUT,
    HEAL,
    DELUDE,
    CALM
} happening_kind;

typedef struct happening {
    happening_kind kind;
    uint32_t to, from;
    uint64_t number;
    uint8_t bytes[VIEW_BYTES]; /* PROPOSE */
    uint64_t key, voids;       /* PROPOSE: the key as its proposer saw it; the one to take away, or 0 */
} happening;

typedef struct world {
    const recovery_options *options;
    recovery_result *result;
    chance random;
    uint64_t now, horizon, end; /* faults stop at horizon, the job at end */
    agenda agenda;
    uint32_t count, ranks, leader;
    bool calm;
    bool eager, all_look; /* commits are told at once; not only the leader looks who is silent */
    uint64_t delay, learning, restoring, patience, tick, pace;
    uint64_t abrupt; /* dies at one in so many of what it is told or says; 0 = never */
    uint64_t lost;   /* proposals: one in so many is lost, late or answered early */
    uint64_t settled;
    rank all[RANKS_MAX];
    letters lanes[RANKS_MAX][RANKS_MAX];
    chosen views[VIEWS_MAX];
    uint32_t newest;
    cut cuts[CUTS_MAX];
    uint64_t cut_count;
    uint64_t base; /* cuts[i] is snapshot base + i */
    bool levels;   /* some snapshots are in memory only */
    uint64_t key;  /* the newest of those, or 0 */
    entry log[VIEWS_MAX + CUTS_MAX];
    size_t log_count;
} world;

/* recovery_world.c: chance, what happens next, the log, what goes wrong */
bool rw_one_in(world *w, uint64_t n);
uint64_t rw_below(world *w, uint64_t bound);
uint64_t rw_delay(world *w, uint64_t typical);
uint64_t rw_learning(world *w, const rank *r);
void rw_plan(world *w, uint64_t after, happening what);
__attribute__((format(printf, 3, 4))) void rw_fail(world *w, property which, const char *format, ...);
__attribute__((format(printf, 3, 4))) void rw_say(world *w, const rank *r, const char *format, ...);
uint32_t rw_id(const world *w, const rank *r);
void rw_kill(world *w, uint32_t id, const char *how);
void rw_push(letters *lane, letter one);
void rw_run(uint64_t seed, const recovery_options *options, recovery_result *result);
const char *rw_view_text(const world *w, const rc_view *view, char *text, size_t bytes);

/* recovery_shell.c: what src/process/recover.c is in production */
void rw_act(world *w, rank *r, rc_event event);
void rw_send(world *w, uint32_t from, uint32_t to, letter what);
void rw_arrive(world *w, rank *r, uint32_t from);
void rw_learn(world *w, rank *r);
void rw_begin(world *w, rank *r);
void rw_look(world *w, rank *r);
void rw_job(world *w, rank *r);
void rw_go_back(world *w, rank *r);
void rw_restored(world *w, rank *r);
void rw_lead(world *w, rank *r, bool yes);
void rw_take_cut(world *w);
void rw_tell_committed(world *w, rank *r);
/* Its current view's snapshot is known not to be there for all. */
bool rw_is_voided(const rank *r);

/* recovery_check.c: what must hold */
void rw_check_step(world *w, rank *r, const rc_event *event, const rc_output *out, uint32_t before);
void rw_check_chosen(world *w, const chosen *next);
void rw_check_end(world *w);

#endif
