/* Who is where: said through the replicated state, watched through the kernel. */
#include "process/whereabouts.h"

#include "detector/watch.h"
#include "process/consensus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_BYTES    64
#define VALUE_BYTES  128
#define READ_SECONDS 0.1 /* between two readings of what the neighbours say */

struct cairn_whereabouts {
    cairn_pidwatch *watch;
    bool told, telling;
    char prefix[KEY_BYTES];
    uint64_t read_revision;
    double read_at;
    bool met[]; /* [peers] its neighbour's word was taken */
};

static uint64_t mix(uint64_t hash, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) { /* FNV-1a */
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static uint64_t own_place(void)
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

cairn_whereabouts *cairn_whereabouts_new(const cairn_process *p)
{
    cairn_whereabouts *w = calloc(1, sizeof *w + p->peers * sizeof w->met[0]);

    if (w == NULL || cairn_pidwatch_open(&w->watch, p->peers) != CAIRN_OK) {
        free(w);
        return NULL;
    }
    (void)snprintf(w->prefix, sizeof w->prefix, "cairn/process/%016" PRIx64 "/", own_place());
    return w;
}

bool cairn_whereabouts_has(const cairn_whereabouts *w, uint32_t who)
{
    return w != NULL && cairn_pidwatch_has(w->watch, who);
}

void cairn_whereabouts_moved(cairn_whereabouts *w, uint32_t who)
{
    if (w != NULL) {
        cairn_pidwatch_drop(w->watch, who);
        w->met[who] = false;
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

static void tell(cairn_process *p, cairn_whereabouts *w)
{
    char key[KEY_BYTES + 16];
    char value[VALUE_BYTES];
    uint64_t begun;
    uint64_t tag;
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = value};
    cairn_question question = {
        .op = CAIRN_OP_TXN, .flags = CAIRN_REQUEST_REPEAT, .key = "", .txn = {.then = &put, .then_count = 1}};

    if (cairn_pidwatch_begun(getpid(), &begun) != CAIRN_OK) {
        w->told = true; /* nobody can watch this process */
        return;
    }
    (void)snprintf(key, sizeof key, "%s%" PRIu32, w->prefix, p->self);
    put.bytes = (size_t)snprintf(value, sizeof value, "%s %" PRIu32 " %" PRIu32 " %ld %" PRIu64, p->run, p->launch,
                                 cairn_recovery_rank(p, p->self), (long)getpid(), begun);
    w->telling = cairn_consensus_ask(p, &question, on_told, w, &tag) == CAIRN_OK;
}

/* Of this launch, and of the rank that is this peer now? */
static bool parse(const cairn_process *p, const cairn_kv *kv, uint32_t id, int64_t *pid, uint64_t *begun)
{
    char text[VALUE_BYTES];
    char run[CAIRN_RUN_BYTES];
    uint32_t launch;
    uint32_t rank;
    int end = 0;

    if (kv->bytes >= sizeof text) {
        return false;
    }
    memcpy(text, kv->value, kv->bytes);
    text[kv->bytes] = '\0';
    (void)snprintf(run, sizeof run, "%.*s", (int)strcspn(text, " "), text);
    return strcmp(run, p->run) == 0 &&
           sscanf(text + strlen(run), " %" SCNu32 " %" SCNu32 " %" SCNd64 " %" SCNu64 "%n", &launch, &rank, pid, begun,
                  &end) == 4 &&
           launch == p->launch && rank == cairn_recovery_rank(p, id) && end > 0;
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

        if (id >= p->peers || id == p->self || w->met[id] || !parse(p, &response.kvs[i], id, &pid, &begun)) {
            continue;
        }
        w->met[id] = true;
        *who = id;
        switch (cairn_pidwatch_add(w->watch, id, pid, begun)) {
        case CAIRN_OK:
            return CAIRN_WHEREABOUTS_FOUND;
        case CAIRN_E_NOT_FOUND:
            return CAIRN_WHEREABOUTS_ENDED;
        default: /* it cannot be watched: its heartbeats are all there is */
            break;
        }
    }
    return CAIRN_WHEREABOUTS_NOTHING;
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
    if (revision != w->read_revision && now >= w->read_at) {
        cairn_whereabouts_event event = meet(p, w, who);

        if (event != CAIRN_WHEREABOUTS_NOTHING) {
            return event;
        }
        w->read_revision = revision;
        w->read_at = now + READ_SECONDS;
    }
    *who = cairn_pidwatch_poll(w->watch);
    return *who != CAIRN_PIDWATCH_NONE ? CAIRN_WHEREABOUTS_ENDED : CAIRN_WHEREABOUTS_NOTHING;
}
