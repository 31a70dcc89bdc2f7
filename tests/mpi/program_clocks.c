/* Logical clocks over real traffic. Run by clocks.sh with 1, 2, 3, 4 and 8 processes, with Lamport and with vector
 * clocks.
 *
 * Goal: Lamport's rules hold for every event; a happened before b implies LC(a) < LC(b); with vector clocks V(a) < V(b)
 * if and only if a happened before b. Method: every process notes its events during random traffic; process 0 gathers
 * them and computes "happened before" by brute force, from the order in each process and from which receive took which
 * send. */
#include "../support/program.h"

#define STEPS      60
#define EVENTS_MAX 400 /* of one process: STEPS, ends, and as many receives as come */
#define PEERS      8

enum { KIND_LOCAL, KIND_SEND, KIND_RECEIVE };

typedef struct event {
    uint32_t kind, process, peer, unused;
    uint64_t sequence; /* of the message on its channel */
    uint64_t lamport;  /* after the event               */
    uint64_t vector[PEERS];
} event;

typedef struct history {
    cairn_process *process;
    uint32_t length;
    uint64_t clock;       /* after the last event */
    uint64_t sent[PEERS]; /* sequence number that the last message had, by the first one seen */
    event events[EVENTS_MAX];
} history;

/* What a message carries: the clock that its send must have had. */
typedef struct load {
    uint64_t lamport;
    uint64_t index; /* of this message on its channel in this test, from 1 */
} load;

static void note(history *h, uint32_t kind, uint32_t peer, uint64_t sequence)
{
    const uint64_t *vector = cairn_vector(h->process);
    event *e = &h->events[h->length];

    program_must(h->length < EVENTS_MAX ? CAIRN_OK : CAIRN_E_BUG, "room for events", __FILE__, __LINE__);
    h->length++;
    h->clock = cairn_lamport(h->process);
    *e =
        (event){.kind = kind, .process = cairn_id(h->process), .peer = peer, .sequence = sequence, .lamport = h->clock};
    for (uint32_t i = 0; vector != NULL && i < cairn_count(h->process); i++) {
        e->vector[i] = vector[i];
    }
}

static void do_local(history *h)
{
    cairn_event(h->process);
    CHECK(cairn_lamport(h->process) == h->clock + 1);
    note(h, KIND_LOCAL, 0, 0);
}

static void do_send(history *h, uint32_t to, bool nonblocking, uint32_t tag)
{
    load l = {.lamport = h->clock + 1, .index = ++h->sent[to]};

    if (nonblocking) {
        cairn_request *request = NULL;

        MUST(cairn_isend(h->process, to, tag, &l, sizeof l, &request));
        CHECK(cairn_lamport(h->process) == h->clock + 1);
        MUST(cairn_wait(h->process, &request, NULL)); /* the end of a send is no event */
    } else {
        MUST(cairn_send(h->process, to, tag, &l, sizeof l));
    }
    CHECK(cairn_lamport(h->process) == h->clock + 1);
    note(h, KIND_SEND, to, l.index);
}

static void took(history *h, const cairn_message *m, const load *l)
{
    CHECK(m->lamport == l->lamport);
    CHECK(cairn_lamport(h->process) == (h->clock > m->lamport ? h->clock : m->lamport) + 1);
    note(h, KIND_RECEIVE, m->from, l->index);
}

/* Random events, then an END on every channel, then receives until there was one from each. */
static void make_history(history *h)
{
    uint32_t count = cairn_count(h->process);
    uint64_t state = 99 + cairn_id(h->process);
    uint32_t ends = 0;
    cairn_message m;
    load l;

    h->clock = cairn_lamport(h->process);
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = program_random(&state) % 10;

        if (what < 2) {
            do_local(h);
        } else if (what < 6) {
            do_send(h, (uint32_t)(program_random(&state) % count), what == 5, 1);
        } else {
            cairn_status status = cairn_try_recv(h->process, CAIRN_ANY, &l, sizeof l, &m);

            if (status == CAIRN_OK) {
                took(h, &m, &l);
                ends += m.tag == 2; /* of a process that is ahead */
            } else {
                GIVES(status, CAIRN_E_AGAIN);
                CHECK(cairn_lamport(h->process) == h->clock);
                CHECK(cairn_try_probe(h->process, CAIRN_ANY, &m) == CAIRN_E_AGAIN ||
                      cairn_lamport(h->process) == h->clock);
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        do_send(h, i, false, 2);
    }
    while (ends < count) {
        cairn_request *request = NULL;

        if (program_random(&state) % 2 == 0) {
            MUST(cairn_recv(h->process, CAIRN_ANY, &l, sizeof l, &m));
        } else {
            MUST(cairn_irecv(h->process, CAIRN_ANY, &l, sizeof l, &request));
            CHECK(cairn_lamport(h->process) == h->clock); /* beginning it is no event */
            MUST(cairn_wait(h->process, &request, &m));
        }
        took(h, &m, &l);
        ends += m.tag == 2;
    }
}

/* The event whose direct cause is events[b] by a message, or count when there is none. */
static size_t send_of(const event *events, size_t count, const event *receive)
{
    for (size_t a = 0; a < count; a++) {
        if (events[a].kind == KIND_SEND && events[a].process == receive->peer && events[a].peer == receive->process &&
            events[a].sequence == receive->sequence) {
            return a;
        }
    }
    return count;
}

/* before[a * count + b]: a happened before b; the transitive closure of process order and messages. */
static unsigned char *happened_before(const event *events, size_t count)
{
    unsigned char *before = program_memory(count * count);

    memset(before, 0, count * count);
    for (size_t b = 0; b < count; b++) {
        if (b > 0 && events[b - 1].process == events[b].process) {
            before[(b - 1) * count + b] = 1;
        }
        if (events[b].kind == KIND_RECEIVE) {
            size_t a = send_of(events, count, &events[b]);

            CHECK(a < count);
            if (a < count) {
                before[a * count + b] = 1;
            }
        }
    }
    for (size_t middle = 0; middle < count; middle++) {
        for (size_t a = 0; a < count; a++) {
            if (before[a * count + middle]) {
                for (size_t b = 0; b < count; b++) {
                    before[a * count + b] |= before[middle * count + b];
                }
            }
        }
    }
    return before;
}

static void judge(cairn_process *process, const event *events, size_t count)
{
    unsigned char *before = happened_before(events, count);
    bool vectors = cairn_vector(process) != NULL;
    uint64_t pairs[4] = {0};

    for (size_t a = 0; a < count; a++) {
        CHECK(!before[a * count + a]);
        for (size_t b = 0; b < count; b++) {
            bool ab = before[a * count + b];
            bool ba = before[b * count + a];
            cairn_order order = a == b ? CAIRN_EQUAL : ab ? CAIRN_BEFORE : ba ? CAIRN_AFTER : CAIRN_CONCURRENT;

            pairs[order]++;
            if (ab) {
                CHECK(events[a].lamport < events[b].lamport);
            }
            if (vectors) {
                CHECK(cairn_vector_compare(events[a].vector, events[b].vector, cairn_count(process)) == order);
            }
        }
    }
    /* The history is worth something: orders of all kinds are in it. */
    CHECK(pairs[CAIRN_EQUAL] == count && pairs[CAIRN_BEFORE] == pairs[CAIRN_AFTER] && pairs[CAIRN_BEFORE] > count);
    CHECK(cairn_count(process) == 1 || pairs[CAIRN_CONCURRENT] > 0);
    printf("%zu events, %llu ordered pairs, %llu concurrent, %s clocks\n", count,
           (unsigned long long)pairs[CAIRN_BEFORE], (unsigned long long)pairs[CAIRN_CONCURRENT] / 2,
           vectors ? "vector" : "Lamport");
    free(before);
}

static void random_history(cairn_process *process)
{
    history *h = program_memory(sizeof *h);
    uint64_t sizes[PEERS];
    void *all = NULL;

    memset(h, 0, sizeof *h);
    h->process = process;
    make_history(h);
    MUST(cairn_gather(process, 0, h->events, h->length * sizeof(event), &all, sizes));
    if (cairn_id(process) == 0) {
        size_t bytes = 0;

        for (uint32_t i = 0; i < cairn_count(process); i++) {
            bytes += sizes[i];
        }
        judge(process, all, bytes / sizeof(event));
    }
    free(all);
    free(h);
}

/* CAIRN_CLOCK decides; and what was asked for is what there is. */
static void kind_of_clock(cairn_process *process)
{
    const char *wanted = getenv("CAIRN_CLOCK");
    bool vector = wanted != NULL && strcmp(wanted, "vector") == 0;

    CHECK((cairn_vector(process) != NULL) == vector);
    if (vector) {
        uint64_t before = cairn_vector(process)[cairn_id(process)];

        cairn_event(process);
        CHECK(cairn_vector(process)[cairn_id(process)] == before + 1);
    }
}

int main(int argc, char **argv)
{
    static const program_test tests[] = {{"kind_of_clock", kind_of_clock}, {"random_history", random_history}};

    return program_main(argc, argv, tests, 2);
}
