/* All states that a few actors can reach together, over a network that does what it likes.
 *
 * An actor (a process, or one role of it) has a local state. It changes by a choice of its own (a crash, a write that
 * becomes durable, a timeout) or by a message. What was sent stays in the network for ever, and every message in the
 * network may arrive at any time: never (lost), late and in any order, and any number of times. So loss, reordering
 * and duplication are not counted and have no bounds; the model bounds the choices alone.
 *
 * What an actor has sent is part of its local state. So a state of the whole is one local state an actor, a step
 * touches one of them, and each pair of local state and event is computed once. The search is breadth first over the
 * exact set of states (no hashing instead of comparing): the way to a broken property is one of the shortest. */
#ifndef CAIRN_TESTS_SIM_EXPLORE_H
#define CAIRN_TESTS_SIM_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPLORE_ACTORS_MAX  8
#define EXPLORE_BROKEN_SIZE 200

/* Where a step puts its messages and what it finds wrong. */
typedef struct explore_step explore_step;

typedef struct explore_model {
    uint32_t actors;
    uint32_t choices; /* 0..choices-1, of every actor */
    size_t local_bytes, message_bytes;
    uint32_t sent_max; /* different messages that one actor may send */
    /* Equal local states and messages must be equal bytes: no padding, no addresses. `local` is zeroed. */
    void (*start)(uint32_t actor, void *local);
    /* false: this choice is not possible now. */
    bool (*choose)(explore_step *step, uint32_t actor, uint32_t choice, void *local);
    /* false: not followed, since it leads out of the model's bounds. */
    bool (*deliver)(explore_step *step, uint32_t actor, uint32_t from, const void *message, void *local);
    /* NULL, or: this actor must choose before anything else happens to anybody. For what nobody else can see, so that
     * the order does not matter: fewer states, and none of those that are left out is different for a property. */
    bool (*urgent)(uint32_t actor, const void *local);
    /* If `settles`: begin not at the start but at what comes of choice `first` of actor 0 when every message arrives
     * and choice `always` is taken whenever it can be. */
    bool settles;
    uint32_t first, always;
    /* NULL, or "property: what is wrong" with all local states together. */
    const char *(*check)(const void *const *locals);
    /* One line each, for the way to a broken property. */
    void (*print_choice)(FILE *file, uint32_t actor, uint32_t choice, const void *local);
    void (*print_message)(FILE *file, uint32_t from, uint32_t to, const void *message);
} explore_model;

/* To every actor whose bit is set in `to`. */
void explore_send(explore_step *step, uint32_t to, const void *message);
/* "property: what is wrong"; the first counts. Text that stays. */
void explore_broken(explore_step *step, const char *what);

typedef struct explore_bounds {
    uint64_t states; /* 0: as many as there are */
} explore_bounds;

typedef struct explore_result {
    bool exhausted;            /* every state was visited and none was broken               */
    uint64_t states;           /* different ones                                            */
    uint64_t transitions;      /* events tried in them: choices and deliveries              */
    uint64_t idle;             /* of these, the ones that change nothing                    */
    uint64_t locals, messages; /* different ones, of all actors                             */
    uint64_t bytes;            /* of memory for all of it, about                            */
    uint32_t depth;            /* events on the shortest way to the state that is farthest, */
    const char *broken;        /*   or to the broken one                                    */
} explore_result;

/* The way to a broken property goes to `trace` (NULL: nowhere). Ends the program when memory ends. */
void explore(const explore_model *model, const explore_bounds *bounds, FILE *trace, explore_result *result);

#endif
