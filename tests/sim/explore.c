/* The search. Words: explore.h. */
#include "explore.h"

#include <stdlib.h>
#include <string.h>

/* Of a local state and an event: the local state after it + 1, or: */
#define UNKNOWN    0u         /* not computed yet               */
#define IMPOSSIBLE UINT32_MAX /* the choice is not possible now */

/* A set of things of the same number of bytes, numbered as they come. */
typedef struct things {
    size_t bytes;
    unsigned char *data;
    uint32_t *table; /* number + 1, or 0 */
    uint64_t count, size, table_size;
} things;

typedef struct message_head {
    uint32_t from, to;
} message_head;

typedef struct local {
    uint32_t *arrives; /* messages that this actor has sent, for each receiver: arrives[first[to]..first[to + 1]-1] */
    uint32_t first[EXPLORE_ACTORS_MAX + 1];
    uint32_t *results; /* by event: the choices, then the messages by number */
    uint32_t result_count;
    bool urgent;
} local;

typedef struct actor {
    things states; /* local_bytes, and the set of messages sent: a bit each */
    local *locals;
    uint64_t local_size;
    uint32_t *sent; /* their numbers, by bit */
    uint32_t sent_count;
} actor;

struct explore_step {
    const explore_model *model;
    actor actors[EXPLORE_ACTORS_MAX];
    things messages; /* message_head, message_bytes */
    things states;   /* of the whole: a local state's number for each actor */
    uint32_t *parents;
    uint64_t parent_size, bytes;
    uint32_t self; /* whose step is being computed, what it makes */
    unsigned char *local;
    unsigned char *message;
    uint64_t transitions, idle;
    const char *broken;
};

/* --- sets ----------------------------------------- */

static void *grow(explore_step *search, void *old, uint64_t old_bytes, uint64_t bytes)
{
    unsigned char *grown = realloc(old, bytes);

    if (grown == NULL) {
        fprintf(stderr, "explore: out of memory\n");
        exit(2);
    }
    memset(grown + old_bytes, 0, bytes - old_bytes);
    search->bytes += bytes - old_bytes;
    return grown;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static uint64_t hash(const unsigned char *data, size_t bytes)
{
    uint64_t h = bytes, word;

    for (; bytes >= 8; bytes -= 8, data += 8) {
        memcpy(&word, data, 8);
        h = mix(h ^ word) + 0x632be59bd9b4e019u;
    }
    word = 0;
    memcpy(&word, data, bytes);
    return mix(mix(h ^ word));
}

static unsigned char *thing(const things *set, uint64_t number)
{
    return set->data + number * set->bytes;
}

static void widen(explore_step *search, things *set)
{
    uint64_t old = set->table_size, size = old == 0 ? 256 : old * 2;

    if (old > 0) {
        memset(set->table, 0, old * sizeof *set->table);
    }
    set->table = grow(search, set->table, old * sizeof *set->table, size * sizeof *set->table);
    set->table_size = size;
    for (uint64_t i = 0; i < set->count; i++) {
        uint64_t at = hash(thing(set, i), set->bytes) & (size - 1);

        while (set->table[at] != 0) {
            at = (at + 1) & (size - 1);
        }
        set->table[at] = (uint32_t)i + 1;
    }
}

/* The number of what is at `data`; it is put in if it is new. */
static uint32_t number_of(explore_step *search, things *set, const void *data)
{
    if (set->count * 3 >= set->table_size * 2) {
        widen(search, set);
    }
    uint64_t mask = set->table_size - 1, at = hash(data, set->bytes) & mask;
    for (; set->table[at] != 0; at = (at + 1) & mask) {
        if (memcmp(thing(set, set->table[at] - 1), data, set->bytes) == 0) {
            return set->table[at] - 1;
        }
    }
    if (set->count == set->size) {
        uint64_t size = set->size + set->size / 2 + 64;

        set->data = grow(search, set->data, set->size * set->bytes, size * set->bytes);
        set->size = size;
    }
    memcpy(thing(set, set->count), data, set->bytes);
    set->table[at] = (uint32_t)set->count + 1;
    return (uint32_t)set->count++;
}

static void free_set(things *set)
{
    free(set->data);
    free(set->table);
}

/* --- local states ----------------------------------------- */

static size_t local_bytes(const explore_model *model)
{
    return model->local_bytes + (model->sent_max + 7) / 8;
}

void explore_send(explore_step *step, uint32_t to, const void *message)
{
    const explore_model *model = step->model;
    actor *self = &step->actors[step->self];
    message_head head = {.from = step->self, .to = to};
    uint64_t before = step->messages.count;
    uint32_t bit = 0;

    memcpy(step->message, &head, sizeof head);
    memcpy(step->message + sizeof head, message, model->message_bytes);
    uint32_t number = number_of(step, &step->messages, step->message);
    if (number == before) {
        if (self->sent_count == model->sent_max) {
            fprintf(stderr, "explore: actor %u sends more than %u different messages\n", step->self, model->sent_max);
            exit(2);
        }
        self->sent[self->sent_count++] = number;
    }
    while (self->sent[bit] != number) {
        bit++;
    }
    step->local[model->local_bytes + bit / 8] |= (unsigned char)(1u << bit % 8);
}

void explore_broken(explore_step *step, const char *what)
{
    if (step->broken == NULL) {
        step->broken = what;
    }
}

static void list_messages(explore_step *search, const actor *self, local *one, const unsigned char *sent)
{
    uint32_t count = 0, size = 0;

    for (uint32_t to = 0; to < search->model->actors; to++) {
        one->first[to] = count;
        for (uint32_t bit = 0; bit < self->sent_count; bit++) {
            message_head head;

            memcpy(&head, thing(&search->messages, self->sent[bit]), sizeof head);
            if ((sent[bit / 8] >> bit % 8 & 1) == 0 || (head.to >> to & 1) == 0) {
                continue;
            }
            if (count == size) {
                one->arrives = grow(search, one->arrives, size * sizeof(uint32_t), (size + 8) * sizeof(uint32_t));
                size += 8;
            }
            one->arrives[count++] = self->sent[bit];
        }
    }
    one->first[search->model->actors] = count;
}

/* The number of the local state in search->local. */
static uint32_t keep_local(explore_step *search, uint32_t actor_number)
{
    actor *self = &search->actors[actor_number];
    uint64_t before = self->states.count;
    uint32_t number = number_of(search, &self->states, search->local);

    if (number < before) {
        return number;
    }
    if (before == self->local_size) {
        uint64_t size = self->local_size * 2 + 64;

        self->locals = grow(search, self->locals, self->local_size * sizeof(local), size * sizeof(local));
        self->local_size = size;
    }
    self->locals[number].urgent = search->model->urgent != NULL && search->model->urgent(actor_number, search->local);
    list_messages(search, self, &self->locals[number], search->local + search->model->local_bytes);
    return number;
}

/* What an event (a choice, or choices + a message's number) makes of a local state. */
static uint32_t compute(explore_step *search, uint32_t actor_number, uint32_t from_local, uint32_t event)
{
    const explore_model *model = search->model;
    bool possible = true;

    search->self = actor_number;
    memcpy(search->local, thing(&search->actors[actor_number].states, from_local), local_bytes(model));
    if (event < model->choices) {
        possible = model->choose(search, actor_number, event, search->local);
    } else {
        message_head head;
        unsigned char *message = malloc(model->message_bytes); /* a copy: the set may move when more is sent */
        const unsigned char *data = thing(&search->messages, event - model->choices);

        if (message == NULL) {
            exit(2);
        }
        memcpy(&head, data, sizeof head);
        memcpy(message, data + sizeof head, model->message_bytes);
        possible = model->deliver(search, actor_number, head.from, message, search->local);
        free(message);
    }
    return possible ? keep_local(search, actor_number) + 1 : IMPOSSIBLE;
}

static uint32_t result_of(explore_step *search, uint32_t actor_number, uint32_t from_local, uint32_t event)
{
    local *one = &search->actors[actor_number].locals[from_local];

    if (event < one->result_count && one->results[event] != UNKNOWN) {
        return one->results[event];
    }
    if (event >= one->result_count) {
        uint32_t count = event + event / 4 + 4;

        one->results = grow(search, one->results, one->result_count * sizeof(uint32_t), count * sizeof(uint32_t));
        one->result_count = count;
    }
    uint32_t result = compute(search, actor_number, from_local, event);
    search->actors[actor_number].locals[from_local].results[event] = result;
    return result;
}

/* --- states of the whole ----------------------------------------- */

static void check_state(explore_step *search, const uint32_t *state)
{
    const void *locals[EXPLORE_ACTORS_MAX];

    for (uint32_t i = 0; i < search->model->actors; i++) {
        locals[i] = thing(&search->actors[i].states, state[i]);
    }
    const char *broken = search->model->check(locals);
    if (broken != NULL) {
        explore_broken(search, broken);
    }
}

/* Follow one event. Returns the state's number. */
static uint32_t follow(explore_step *search, uint32_t parent, const uint32_t *state, uint32_t actor_number,
                       uint32_t event)
{
    uint32_t result = result_of(search, actor_number, state[actor_number], event);
    uint32_t next[EXPLORE_ACTORS_MAX];
    uint64_t before = search->states.count;

    if (result == IMPOSSIBLE) {
        return parent;
    }
    search->transitions++;
    if (result - 1 == state[actor_number] && search->broken == NULL) {
        search->idle++;
        return parent;
    }
    memcpy(next, state, search->states.bytes);
    next[actor_number] = result - 1;
    uint32_t number = number_of(search, &search->states, next);
    if (number == before) {
        if (before == search->parent_size) {
            uint64_t size = search->parent_size + search->parent_size / 2 + 64;

            search->parents =
                grow(search, search->parents, search->parent_size * sizeof(uint32_t), size * sizeof(uint32_t));
            search->parent_size = size;
        }
        search->parents[number] = parent;
        check_state(search, next);
    }
    return number;
}

typedef struct step_taken {
    uint32_t actor, event, state;
} step_taken;

/* The one actor whose turn it is, or `actors`: anybody's. */
static uint32_t urgent_actor(const explore_step *search, const uint32_t *state)
{
    uint32_t i = 0;

    while (i < search->model->actors && !search->actors[i].locals[state[i]].urgent) {
        i++;
    }
    return i;
}

/* Every event of a state, until `goal` comes of one (UINT32_MAX: none) or something is broken. */
static step_taken follow_all(explore_step *search, uint32_t number, uint32_t goal)
{
    const explore_model *model = search->model;
    uint32_t state[EXPLORE_ACTORS_MAX];
    step_taken taken = {.state = number};

    memcpy(state, thing(&search->states, number), search->states.bytes);
    uint32_t only = urgent_actor(search, state);
    for (taken.actor = 0; taken.actor < model->actors; taken.actor++) {
        for (taken.event = 0; taken.event < model->choices && (only == model->actors || only == taken.actor);
             taken.event++) {
            taken.state = follow(search, number, state, taken.actor, taken.event);
            if (taken.state == goal || search->broken != NULL) {
                return taken;
            }
        }
        for (uint32_t from = 0; from < model->actors && only == model->actors; from++) {
            uint32_t i = search->actors[from].locals[state[from]].first[taken.actor];

            for (; i < search->actors[from].locals[state[from]].first[taken.actor + 1]; i++) {
                taken.event = model->choices + search->actors[from].locals[state[from]].arrives[i];
                taken.state = follow(search, number, state, taken.actor, taken.event);
                if (taken.state == goal || search->broken != NULL) {
                    return taken;
                }
            }
        }
    }
    return taken;
}

/* --- the way to a broken property ----------------------------------------- */

static void print_event(const explore_step *search, FILE *file, uint32_t before, step_taken taken)
{
    const explore_model *model = search->model;
    uint32_t state[EXPLORE_ACTORS_MAX];

    memcpy(state, thing(&search->states, before), search->states.bytes);
    if (taken.event < model->choices) {
        model->print_choice(file, taken.actor, taken.event,
                            thing(&search->actors[taken.actor].states, state[taken.actor]));
    } else {
        const unsigned char *message = thing(&search->messages, taken.event - model->choices);
        message_head head;

        memcpy(&head, message, sizeof head);
        model->print_message(file, head.from, taken.actor, message + sizeof head);
    }
}

static uint32_t depth_of(const explore_step *search, uint32_t number)
{
    uint32_t depth = 0;

    for (; number != 0; number = search->parents[number]) {
        depth++;
    }
    return depth;
}

/* From the first state to `number`, then the step that broke something. */
static void print_way(explore_step *search, FILE *file, uint32_t number, step_taken last)
{
    const char *broken = search->broken;
    uint32_t depth = depth_of(search, number);
    uint32_t *way = grow(search, NULL, 0, (depth + 1) * sizeof(uint32_t));

    for (uint32_t i = depth, at = number; i > 0; at = search->parents[at]) {
        way[i--] = at;
    }
    way[0] = 0;
    search->broken = NULL;
    for (uint32_t i = 0; i < depth; i++) {
        fprintf(file, "%3u  ", i + 1);
        print_event(search, file, way[i], follow_all(search, way[i], way[i + 1]));
    }
    fprintf(file, "%3u  ", depth + 1);
    print_event(search, file, number, last);
    fprintf(file, "     -> %s\n", broken);
    search->broken = broken;
    free(way);
}

/* --- the search ----------------------------------------- */

/* The first event of any actor, a message or choice `always`, that changes its state. */
static bool advance(explore_step *search, uint32_t *state)
{
    const explore_model *model = search->model;

    for (uint32_t to = 0; to < model->actors; to++) {
        uint32_t result = result_of(search, to, state[to], model->always);

        for (uint32_t from = 0; from < model->actors; from++) {
            const local *sender = &search->actors[from].locals[state[from]];

            for (uint32_t i = sender->first[to]; i < sender->first[to + 1]; i++) {
                if (result != IMPOSSIBLE && result - 1 != state[to]) {
                    break;
                }
                result = result_of(search, to, state[to], model->choices + sender->arrives[i]);
                sender = &search->actors[from].locals[state[from]]; /* they may have moved */
            }
        }
        if (result != IMPOSSIBLE && result - 1 != state[to]) {
            state[to] = result - 1;
            return true;
        }
    }
    return false;
}

static void settle(explore_step *search, uint32_t *state)
{
    uint32_t result = result_of(search, 0, state[0], search->model->first);

    if (result == IMPOSSIBLE) {
        return;
    }
    state[0] = result - 1;
    while (search->broken == NULL && advance(search, state)) {
    }
}

static void begin(explore_step *search, const explore_model *model)
{
    uint32_t state[EXPLORE_ACTORS_MAX] = {0};

    search->model = model;
    search->local = grow(search, NULL, 0, local_bytes(model));
    search->message = grow(search, NULL, 0, sizeof(message_head) + model->message_bytes);
    search->messages.bytes = sizeof(message_head) + model->message_bytes;
    search->states.bytes = model->actors * sizeof(uint32_t);
    for (uint32_t i = 0; i < model->actors; i++) {
        search->actors[i].states.bytes = local_bytes(model);
        search->actors[i].sent = grow(search, NULL, 0, model->sent_max * sizeof(uint32_t));
        memset(search->local, 0, local_bytes(model));
        search->self = i;
        model->start(i, search->local);
        state[i] = keep_local(search, i);
    }
    if (model->settles) {
        settle(search, state);
    }
    search->parents = grow(search, NULL, 0, sizeof(uint32_t));
    search->parent_size = 1;
    number_of(search, &search->states, state);
    check_state(search, state);
}

static void end(explore_step *search)
{
    for (uint32_t i = 0; i < search->model->actors; i++) {
        actor *one = &search->actors[i];

        for (uint64_t k = 0; k < one->states.count; k++) {
            free(one->locals[k].arrives);
            free(one->locals[k].results);
        }
        free(one->locals);
        free(one->sent);
        free_set(&one->states);
    }
    free_set(&search->messages);
    free_set(&search->states);
    free(search->parents);
    free(search->local);
    free(search->message);
}

void explore(const explore_model *model, const explore_bounds *bounds, FILE *trace, explore_result *result)
{
    explore_step search = {0};
    uint64_t at = 0, limit = bounds->states == 0 || bounds->states > UINT32_MAX - 2 ? UINT32_MAX - 2 : bounds->states;

    begin(&search, model);
    memset(result, 0, sizeof *result);
    for (; at < search.states.count && search.states.count < limit && search.broken == NULL; at++) {
        step_taken last = follow_all(&search, (uint32_t)at, UINT32_MAX);

        if (search.broken != NULL) {
            result->depth = depth_of(&search, (uint32_t)at) + 1;
            if (trace != NULL) {
                print_way(&search, trace, (uint32_t)at, last);
            }
        }
    }
    result->exhausted = at == search.states.count && search.broken == NULL;
    if (search.broken == NULL) {
        result->depth = depth_of(&search, (uint32_t)search.states.count - 1);
    }
    result->broken = search.broken;
    result->states = search.states.count;
    result->transitions = search.transitions;
    result->idle = search.idle;
    result->messages = search.messages.count;
    result->bytes = search.bytes;
    for (uint32_t i = 0; i < model->actors; i++) {
        result->locals += search.actors[i].states.count;
    }
    end(&search);
}
