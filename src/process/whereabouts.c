/* Who is where: said through the replicated state, watched through the kernel. */
#include "process/whereabouts.h"

#include "detector/watch.h"
#include "process/consensus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define KEY_BYTES    64
#define VALUE_BYTES  (128 + CAIRN_TETHER_NAME_BYTES)
#define READ_SECONDS 0.1 /* between two readings of what the others say */
#define REACH        "cairn/reach/"
#define HELD         3u /* so many that are no neighbours are held: one death of many does not leave anybody unseen */

/* The payload of CONTROL_HERE. */
typedef struct fact {
    uint64_t place, begun;
    int64_t pid; /* 0: nothing was said */
    uint64_t rank;
} fact;

struct cairn_whereabouts {
    cairn_pidwatch *watch;
    cairn_tether *tether; /* NULL: no network */
    int sight;            /* an epoll of the two, by edges; < 0: none */
    uint64_t place;
    fact *said; /* [peers] and not looked at yet */
    bool told, telling, has_said;
    char prefix[KEY_BYTES];
    uint64_t read_revision;
    double read_at;
    struct {
        bool met;   /* its word as a neighbour was taken */
        bool ended; /* as was said                        */
    } peer[];       /* [peers] */
};

static uint64_t mix(uint64_t hash, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) { /* FNV-1a */
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t cairn_whereabouts_place(void)
{
    char text[256] = "";
    uint64_t place = UINT64_C(0xcbf29ce484222325);
    FILE *boot;
    ssize_t length;

    if (gethostname(text, sizeof text - 1) == 0) {
        place = mix(place, text, strlen(text));
    }
    boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot != NULL) {
        place = mix(place, text, fread(text, 1, sizeof text, boot));
        (void)fclose(boot);
    }
    length = readlink("/proc/self/ns/pid", text, sizeof text);
    return length > 0 ? mix(place, text, (size_t)length) : place;
}

/* Without it, what it would tell is found with the next look. */
static void attend(const cairn_whereabouts *w, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    (void)epoll_ctl(w->sight, EPOLL_CTL_ADD, fd, &event);
}

cairn_whereabouts *cairn_whereabouts_new(const cairn_process *p)
{
    cairn_whereabouts *w = calloc(1, sizeof *w + p->peers * sizeof w->peer[0]);

    if (w == NULL || (w->said = calloc(p->peers, sizeof *w->said)) == NULL ||
        cairn_pidwatch_open(&w->watch, p->peers) != CAIRN_OK) {
        free(w == NULL ? NULL : w->said);
        free(w);
        return NULL;
    }
    if (cairn_tether_open(&w->tether, p->peers) != CAIRN_OK) {
        w->tether = NULL;
    }
    w->sight = epoll_create1(EPOLL_CLOEXEC);
    attend(w, cairn_pidwatch_fd(w->watch));
    if (w->tether != NULL) {
        attend(w, cairn_tether_fd(w->tether));
    }
    w->place = cairn_whereabouts_place();
    (void)snprintf(w->prefix, sizeof w->prefix, "cairn/process/%016" PRIx64 "/", w->place);
    return w;
}

bool cairn_whereabouts_has(const cairn_whereabouts *w, uint32_t who)
{
    return w != NULL && cairn_pidwatch_has(w->watch, who);
}

bool cairn_whereabouts_neighbour(const cairn_whereabouts *w, uint32_t who)
{
    return w != NULL && w->peer[who].met;
}

int cairn_whereabouts_fd(const cairn_whereabouts *w)
{
    return w->sight;
}

void cairn_whereabouts_moved(cairn_whereabouts *w, uint32_t who, uint32_t from)
{
    if (w != NULL) {
        w->peer[who].met = cairn_pidwatch_move(w->watch, who, from);
        w->peer[who].ended = w->peer[from].ended;
        w->peer[from].met = w->peer[from].ended = false;
        w->said[who] = w->said[from];
        w->said[from] = (fact){0};
        if (w->tether != NULL) {
            cairn_tether_forget(w->tether, who);
            cairn_tether_forget(w->tether, from);
        }
        w->read_revision = 0;
        w->told = false; /* by who moved itself; for the others it is said once more */
    }
}

static void on_told(void *context, const cairn_response *response)
{
    cairn_whereabouts *w = context;

    w->telling = false;
    w->told = response->status == CAIRN_OK; /* else it is said again */
}

/* "RUN LAUNCH RANK ", and room for more. */
static int write_head(const cairn_process *p, char value[VALUE_BYTES])
{
    return snprintf(value, VALUE_BYTES, "%s %" PRIu32 " %" PRIu32 " ", p->run, p->launch,
                    cairn_recovery_rank(p, p->self));
}

static void tell(cairn_process *p, cairn_whereabouts *w)
{
    char keys[2][KEY_BYTES + 16];
    char values[2][VALUE_BYTES];
    cairn_do puts[2];
    uint64_t begun;
    uint64_t tag;
    cairn_question question = {
        .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = puts, .then_count = 0}};
    uint32_t count = 0;

    if (cairn_pidwatch_begun(getpid(), &begun) == CAIRN_OK) {
        int used = write_head(p, values[count]);

        (void)snprintf(keys[count], sizeof keys[0], "%s%" PRIu32, w->prefix, p->self);
        (void)snprintf(values[count] + used, VALUE_BYTES - (size_t)used, "%ld %" PRIu64, (long)getpid(), begun);
        count++;
        if (p->recovery != NULL) { /* who needs to know it when no majority is left has it from here */
            fact here = {.place = w->place, .begun = begun, .pid = getpid(), .rank = cairn_recovery_rank(p, p->self)};

            cairn_send_control_bytes(p, CL_ALL, CONTROL_HERE, 0, &here, sizeof here);
        }
    }
    if (w->tether != NULL) {
        int used = write_head(p, values[count]);

        (void)snprintf(keys[count], sizeof keys[0], REACH "%" PRIu32, p->self);
        (void)snprintf(values[count] + used, VALUE_BYTES - (size_t)used, "%s", cairn_tether_name(w->tether));
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        puts[i] = (cairn_do){.kind = CAIRN_DO_PUT, .key = keys[i], .value = values[i], .bytes = strlen(values[i])};
    }
    question.txn.then_count = count;
    if (count == 0) {
        w->told = true; /* nobody can watch this process */
        return;
    }
    w->telling = cairn_consensus_ask(p, &question, on_told, w, &tag) == CAIRN_OK;
}

/* What follows the head, in text; NULL: it is not of this launch, or not of the rank that is this peer now. */
static const char *parse_head(const cairn_process *p, const cairn_kv *kv, uint32_t id, char text[VALUE_BYTES])
{
    char run[CAIRN_RUN_BYTES];
    uint32_t launch;
    uint32_t rank;
    int end = 0;

    if (kv->bytes >= VALUE_BYTES) {
        return NULL;
    }
    memcpy(text, kv->value, kv->bytes);
    text[kv->bytes] = '\0';
    (void)snprintf(run, sizeof run, "%.*s", (int)strcspn(text, " "), text);
    if (strcmp(run, p->run) != 0 ||
        sscanf(text + strlen(run), " %" SCNu32 " %" SCNu32 " %n", &launch, &rank, &end) != 2 || end == 0 ||
        launch != p->launch || rank != cairn_recovery_rank(p, id)) {
        return NULL;
    }
    return text + strlen(run) + end;
}

static bool parse(const cairn_process *p, const cairn_kv *kv, uint32_t id, int64_t *pid, uint64_t *begun)
{
    char text[VALUE_BYTES];
    const char *rest = parse_head(p, kv, id, text);

    return rest != NULL && sscanf(rest, "%" SCNd64 " %" SCNu64, pid, begun) == 2;
}

static cairn_whereabouts_event watch(cairn_whereabouts *w, uint32_t id, int64_t pid, uint64_t begun)
{
    w->peer[id].met = true;
    switch (cairn_pidwatch_add(w->watch, id, pid, begun)) {
    case CAIRN_OK:
        return CAIRN_WHEREABOUTS_FOUND;
    case CAIRN_E_NOT_FOUND:
        return CAIRN_WHEREABOUTS_ENDED;
    default: /* it cannot be watched: its heartbeats are all there is */
        return CAIRN_WHEREABOUTS_NOTHING;
    }
}

void cairn_whereabouts_told(cairn_whereabouts *w, const cairn_frame *frame)
{
    fact here;

    if (w != NULL && frame->envelope->bytes == sizeof here) {
        memcpy(&here, frame->payload, sizeof here);
        if (here.place == w->place && here.pid > 0) {
            w->said[frame->from] = here;
            w->has_said = true;
        }
    }
}

/* One that has said so itself. */
static cairn_whereabouts_event hear(const cairn_process *p, cairn_whereabouts *w, uint32_t *who)
{
    for (uint32_t i = 0; i < p->peers; i++) {
        fact here = w->said[i];
        cairn_whereabouts_event event;

        w->said[i] = (fact){0};
        if (here.pid == 0 || w->peer[i].met || here.rank != cairn_recovery_rank(p, i)) {
            continue;
        }
        *who = i;
        event = watch(w, i, here.pid, here.begun);
        if (event != CAIRN_WHEREABOUTS_NOTHING) {
            w->peer[i].ended = event == CAIRN_WHEREABOUTS_ENDED;
            return event;
        }
    }
    w->has_said = false;
    return CAIRN_WHEREABOUTS_NOTHING;
}

/* One neighbour that was not met before. */
static cairn_whereabouts_event meet(cairn_process *p, cairn_whereabouts *w, uint32_t *who)
{
    cairn_question question = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = w->prefix};
    cairn_response response = {0};

    if (cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.status != CAIRN_OK) {
        return CAIRN_WHEREABOUTS_NOTHING;
    }
    for (size_t i = 0; i < response.kv_count; i++) {
        uint32_t id = (uint32_t)strtoul(response.kvs[i].key + strlen(w->prefix), NULL, 10);
        int64_t pid;
        uint64_t begun;

        if (id >= p->peers || id == p->self || w->peer[id].met || !parse(p, &response.kvs[i], id, &pid, &begun)) {
            continue;
        }
        cairn_whereabouts_event event = watch(w, id, pid, begun);

        *who = id;
        if (event != CAIRN_WHEREABOUTS_NOTHING) {
            return event;
        }
    }
    return CAIRN_WHEREABOUTS_NOTHING;
}

/* Where the others listen, and of whom this process holds a tether. */
static void meet_far(cairn_process *p, cairn_whereabouts *w)
{
    uint32_t held = 0;

    for (uint32_t k = 1; k < p->peers && w->tether != NULL; k++) {
        uint32_t id = (p->self + k) % p->peers;
        char key[KEY_BYTES];
        char text[VALUE_BYTES];
        const char *name;
        cairn_question question = {.op = CAIRN_OP_READ, .key = key};
        cairn_response response = {0};

        if (w->peer[id].ended || cairn_pidwatch_has(w->watch, id)) {
            continue;
        }
        (void)snprintf(key, sizeof key, REACH "%" PRIu32, id);
        if (!cairn_tether_met(w->tether, id) && cairn_consensus_peek(p, &question, &response) == CAIRN_OK &&
            response.status == CAIRN_OK && response.kv_count == 1 &&
            (name = parse_head(p, &response.kvs[0], id, text)) != NULL) {
            (void)cairn_tether_meet(w->tether, id, name);
        }
        if (cairn_tether_met(w->tether, id) && held < HELD) {
            held++;
            cairn_tether_hold(w->tether, id);
        }
    }
}

static uint32_t poll_ended(cairn_process *p, cairn_whereabouts *w, double now)
{
    uint32_t who = cairn_pidwatch_poll(w->watch);

    if (who == CAIRN_PIDWATCH_NONE && w->tether != NULL) {
        who = cairn_tether_poll(w->tether, (uint64_t)(now * 1e6));
    }
    if (who < p->peers) {
        w->peer[who].ended = true;
        w->read_revision = 0; /* another one is held in its place */
    }
    return who;
}

cairn_whereabouts_event cairn_whereabouts_poll(cairn_process *p, cairn_whereabouts *w, double now, uint32_t *who)
{
    uint64_t revision = cairn_consensus_revision(p);

    if (w == NULL) {
        return CAIRN_WHEREABOUTS_NOTHING;
    }
    if (!w->told && !w->telling) {
        tell(p, w);
    }
    if (w->has_said) {
        cairn_whereabouts_event event = hear(p, w, who);

        if (event != CAIRN_WHEREABOUTS_NOTHING) {
            return event;
        }
    }
    if (revision != w->read_revision && now >= w->read_at) {
        cairn_whereabouts_event event = meet(p, w, who);

        if (event != CAIRN_WHEREABOUTS_NOTHING) {
            w->peer[*who].ended = event == CAIRN_WHEREABOUTS_ENDED;
            return event;
        }
        meet_far(p, w);
        w->read_revision = revision;
        w->read_at = now + READ_SECONDS;
    }
    *who = poll_ended(p, w, now);
    return *who < p->peers ? CAIRN_WHEREABOUTS_ENDED : CAIRN_WHEREABOUTS_NOTHING;
}

bool cairn_whereabouts_answered(const cairn_whereabouts *w, uint32_t who)
{
    return w != NULL && w->tether != NULL && cairn_tether_answered(w->tether, who);
}

cairn_tether_word cairn_whereabouts_ask(cairn_whereabouts *w, uint32_t who, double now)
{
    return w == NULL || w->tether == NULL ? CAIRN_TETHER_UNKNOWN
                                          : cairn_tether_ask(w->tether, who, (uint64_t)(now * 1e6));
}

void cairn_whereabouts_relent(cairn_whereabouts *w, uint32_t who)
{
    if (w != NULL && w->tether != NULL) {
        cairn_tether_relent(w->tether, who);
    }
}
