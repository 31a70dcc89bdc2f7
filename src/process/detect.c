/* Who is lost: the leader of the coordination service asks for it when it has heard nothing of a process for a while;
 * it is decided when the key "cairn/lost/RUN/LAUNCH/PROCESS" is in the replicated state, and every process sees it
 * there. The state outlives the run: another run in the same DIR counts its launches from 0 again.
 *
 * A process that was only slow is lost all the same, and ends when it reads its own name: what matters is that all
 * agree. */
#include "base/environment.h"
#include "process/consensus.h"

#include <stdlib.h>
#include <string.h>

#define LOST_AFTER_DEFAULT 1.0  /* seconds */
#define LOOK_SECONDS       0.02 /* between two looks at who is silent */
#define COPIED_PER_SECOND  5e8  /* bytes, a careful guess */
#define PREFIX_BYTES       64

double cairn_lost_after(void)
{
    const char *text = getenv(CAIRN_ENV_LOST_AFTER);
    double seconds = text == NULL ? LOST_AFTER_DEFAULT : strtod(text, NULL);

    return seconds >= 0.05 && seconds <= 86400.0 ? seconds : LOST_AFTER_DEFAULT;
}

static void prefix_of(const cairn_process *p, char prefix[PREFIX_BYTES])
{
    (void)snprintf(prefix, PREFIX_BYTES, "cairn/lost/%s/%u/", p->run, p->incarnation);
}

void cairn_lost_key(const cairn_process *p, uint32_t id, char key[CAIRN_LOST_KEY_BYTES])
{
    char prefix[PREFIX_BYTES];

    prefix_of(p, prefix);
    (void)snprintf(key, CAIRN_LOST_KEY_BYTES, "%s%u", prefix, id);
}

/* What was decided. */
static void read_lost(cairn_process *p)
{
    char prefix[PREFIX_BYTES];
    cairn_question question = {.op = CAIRN_OP_READ, .flags = CAIRN_REQUEST_PREFIX, .key = prefix};
    cairn_response response = {0};

    prefix_of(p, prefix);
    if (cairn_consensus_peek(p, &question, &response) != CAIRN_OK || response.status != CAIRN_OK) {
        return;
    }
    for (size_t i = 0; i < response.kv_count; i++) {
        cairn_lose(p, (uint32_t)strtoul(response.kvs[i].key + strlen(prefix), NULL, 10));
    }
}

static void on_answer(void *context, const cairn_response *response)
{
    (void)response; /* if it was refused, the process is still silent, and it is asked again */
    ((cairn_process *)context)->lost_asking = false;
}

static void propose(cairn_process *p, uint32_t who)
{
    char key[CAIRN_LOST_KEY_BYTES];
    uint64_t tag;
    cairn_compare missing = {.kind = CAIRN_COMPARE_MODIFIED, .key = key};
    cairn_do put = {.kind = CAIRN_DO_PUT, .key = key, .value = ""};
    cairn_question question = {.op = CAIRN_OP_TXN,
                               .flags = CAIRN_REQUEST_REPEAT,
                               .key = "",
                               .txn = {.compares = &missing, .compare_count = 1, .then = &put, .then_count = 1}};

    cairn_lost_key(p, who, key);
    p->lost_asking = cairn_consensus_ask(p, &question, on_answer, p, &tag) == CAIRN_OK;
}

/* Who records a snapshot of much state is silent while it copies. */
static double patience(const cairn_process *p)
{
    return p->lost_after +
           (p->active ? 4.0 * p->stats.blocked + (double)cairn_array_bytes(p) / COPIED_PER_SECOND : 0.0);
}

void cairn_detect(cairn_process *p)
{
    uint64_t revision = cairn_consensus_revision(p);
    double now;

    if (revision != p->lost_revision) {
        p->lost_revision = revision;
        read_lost(p);
    }
    if (!cairn_consensus_leads(p) || p->lost_asking || (now = cairn_now()) < p->lost_look) {
        return;
    }
    p->lost_look = now + LOOK_SECONDS;
    for (uint32_t i = 0; i < p->count && !p->lost_asking; i++) {
        if (i != p->self && cairn_may_lose(p, i) && cairn_consensus_silent(p, i) > patience(p)) {
            propose(p, i);
        }
    }
}
