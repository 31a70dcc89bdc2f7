/* What channels promise, over real MPI. Run by channels.sh with 1, 2, 3, 4 and 8 processes.
 *
 * Goal: order, integrity and blocking are as in cairn/channel.h, whatever the size, the peer (also oneself) and the way
 * of receiving. Method: contents are drawn from (sender, receiver, index), so that a receiver knows every byte that
 * must come. */
#include "../support/program.h"

#include <time.h>

#define MIB     (1024u * 1024u)
#define END_TAG 0xe0d

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* How long message `index` from -> to is: mostly short, every edge of a page or a protocol now and then, seldom MiB. */
static size_t length_of(uint32_t from, uint32_t to, uint32_t index)
{
    static const size_t edges[] = {0, 1, 7, 8, 64, 4095, 4096, 4097, 65535, 65536, 65537, 300000};
    uint64_t state = ((uint64_t)from << 40) ^ ((uint64_t)to << 20) ^ index;
    uint64_t kind = program_random(&state) % 100;

    if (kind < 2) {
        return (size_t)(program_random(&state) % (3 * MIB));
    }
    return kind < 40 ? edges[program_random(&state) % (sizeof edges / sizeof edges[0])] : program_random(&state) % 512;
}

static void fill(unsigned char *data, size_t bytes, uint32_t from, uint32_t to, uint32_t index)
{
    uint64_t state = ((uint64_t)to << 48) ^ ((uint64_t)from << 24) ^ index ^ UINT64_C(0xc0ffee0000000000);
    size_t i = 0;

    for (; i + 8 <= bytes; i += 8) {
        uint64_t word = program_random(&state);

        memcpy(data + i, &word, 8);
    }
    for (; i < bytes; i++) {
        data[i] = (unsigned char)program_random(&state);
    }
}

static bool is_filled(const unsigned char *data, size_t bytes, uint32_t from, uint32_t to, uint32_t index)
{
    unsigned char *expected = program_memory(bytes);
    bool same;

    fill(expected, bytes, from, to, index);
    same = memcmp(expected, data, bytes) == 0;
    free(expected);
    return same;
}

/* Random traffic between all, received in random ways; per channel: every message, once, in order, whole. */
typedef struct traffic {
    cairn_process *process;
    unsigned char *buffer;
    uint32_t next[8];     /* index that channel i must bring now */
    uint64_t sequence[8]; /* that the last message of channel i had */
    bool ended[8];
    uint32_t ends;
} traffic;

static void take(traffic *t, const cairn_message *m)
{
    uint32_t id = cairn_id(t->process);

    CHECK(m->from < cairn_count(t->process));
    CHECK(t->sequence[m->from] == 0 || m->sequence == t->sequence[m->from] + 1);
    t->sequence[m->from] = m->sequence;
    CHECK(!t->ended[m->from]);
    if (m->tag == END_TAG) {
        CHECK(m->bytes == sizeof(uint32_t) && memcmp(t->buffer, &t->next[m->from], sizeof(uint32_t)) == 0);
        t->ended[m->from] = true;
        t->ends++;
        return;
    }
    CHECK(m->tag == t->next[m->from]);
    CHECK(m->bytes == length_of(m->from, id, m->tag));
    CHECK(is_filled(t->buffer, m->bytes, m->from, id, m->tag));
    t->next[m->from]++;
}

static void random_traffic(cairn_process *process)
{
    uint32_t id = cairn_id(process);
    uint32_t count = cairn_count(process);
    traffic t = {.process = process, .buffer = program_memory(3 * MIB)};
    unsigned char *out = program_memory(3 * MIB);
    uint32_t sent[8] = {0};
    uint64_t state = 1000 + id;
    cairn_message m;

    for (int i = 0; i < 400; i++) {
        uint32_t to = (uint32_t)(program_random(&state) % count);
        size_t bytes = length_of(id, to, sent[to]);

        fill(out, bytes, id, to, sent[to]);
        MUST(cairn_send(process, to, sent[to]++, out, bytes));
        if (program_random(&state) % 2 == 0) {
            uint32_t from = program_random(&state) % 2 == 0 ? CAIRN_ANY : (uint32_t)(program_random(&state) % count);
            cairn_status status = cairn_try_recv(process, from, t.buffer, 3 * MIB, &m);

            if (status == CAIRN_OK) {
                CHECK(from == CAIRN_ANY || m.from == from);
                take(&t, &m);
            } else {
                GIVES(status, CAIRN_E_AGAIN);
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        MUST(cairn_send(process, i, END_TAG, &sent[i], sizeof sent[i]));
    }
    while (t.ends < count) {
        uint32_t from = (uint32_t)(program_random(&state) % count);

        if (t.ended[from] || program_random(&state) % 2 == 0) {
            from = CAIRN_ANY;
        }
        MUST(cairn_recv(process, from, t.buffer, 3 * MIB, &m));
        take(&t, &m);
    }
    GIVES(cairn_try_recv(process, CAIRN_ANY, t.buffer, 3 * MIB, &m), CAIRN_E_AGAIN);
    free(t.buffer);
    free(out);
}

/* Everybody sends 6 MiB to everybody before anybody receives. */
static void all_send_first(cairn_process *process)
{
    const size_t bytes = 6 * MIB + 13;
    uint32_t id = cairn_id(process);
    unsigned char *data = program_memory(bytes);
    cairn_message m;

    for (uint32_t i = 0; i < cairn_count(process); i++) {
        fill(data, bytes, id, i, 77);
        MUST(cairn_send(process, i, 77, data, bytes));
    }
    for (uint32_t i = cairn_count(process); i-- > 0;) {
        memset(data, 0, bytes);
        MUST(cairn_recv(process, i, data, bytes, &m));
        CHECK(m.from == i && m.tag == 77 && m.bytes == bytes);
        CHECK(is_filled(data, bytes, i, id, 77));
    }
    free(data);
}

static void to_oneself(cairn_process *process)
{
    static const size_t sizes[] = {0, 8, 100000, 5 * MIB};
    uint32_t id = cairn_id(process);
    unsigned char *data = program_memory(5 * MIB);
    cairn_message m;

    for (uint32_t i = 0; i < 4; i++) {
        fill(data, sizes[i], id, id, i);
        MUST(cairn_send(process, id, i, sizes[i] > 0 ? data : NULL, sizes[i]));
    }
    for (uint32_t i = 0; i < 4; i++) {
        MUST(cairn_recv(process, i % 2 == 0 ? id : CAIRN_ANY, data, 5 * MIB, &m));
        CHECK(m.from == id && m.tag == i && m.bytes == sizes[i]);
        CHECK(is_filled(data, sizes[i], id, id, i));
    }
    free(data);
}

/* Goal: receive-any starves nobody. Method: a channel that was seen to have a message is served before every other
 * channel has been served twice. */
static void any_takes_turns(cairn_process *process)
{
    enum { EACH = 200 };
    uint32_t count = cairn_count(process);
    uint32_t passed_over[8] = {0};
    cairn_message m;
    uint32_t value;

    if (cairn_id(process) != 0) {
        for (uint32_t i = 0; i < EACH; i++) {
            MUST(cairn_send(process, 0, i, &i, sizeof i));
        }
        return;
    }
    for (uint32_t i = 0; i < EACH; i++) {
        MUST(cairn_send(process, 0, i, &i, sizeof i));
    }
    for (uint32_t i = 0; i < count; i++) {
        MUST(cairn_probe(process, i, &m));
    }
    for (uint32_t i = 0; i < EACH * count; i++) {
        bool there[8];

        for (uint32_t j = 0; j < count; j++) {
            there[j] = cairn_try_probe(process, j, NULL) == CAIRN_OK;
        }
        MUST(cairn_recv(process, CAIRN_ANY, &value, sizeof value, &m));
        for (uint32_t j = 0; j < count; j++) {
            passed_over[j] = there[j] && j != m.from ? passed_over[j] + 1 : 0;
            CHECK(passed_over[j] < 2 * count);
        }
    }
}

static void probe_sees_what_recv_takes(cairn_process *process)
{
    uint32_t id = cairn_id(process);
    uint32_t count = cairn_count(process);
    uint32_t to = (id + 1) % count;
    uint32_t from = (id + count - 1) % count;
    cairn_message first, again, taken;
    char buffer[100];

    GIVES(cairn_try_probe(process, CAIRN_ANY, &first), CAIRN_E_AGAIN);
    GIVES(cairn_try_probe(process, from, &first), CAIRN_E_AGAIN);
    GIVES(cairn_try_recv(process, from, buffer, sizeof buffer, &first), CAIRN_E_AGAIN);
    MUST(cairn_barrier(process));
    MUST(cairn_send(process, to, 5, "hello", 6));
    MUST(cairn_send(process, to, 6, NULL, 0));
    MUST(cairn_probe(process, from, &first));
    MUST(cairn_probe(process, CAIRN_ANY, &again));
    CHECK(memcmp(&first, &again, sizeof first) == 0);
    CHECK(first.from == from && first.tag == 5 && first.bytes == 6);
    MUST(cairn_try_probe(process, from, &again));
    CHECK(again.sequence == first.sequence);
    MUST(cairn_recv(process, from, buffer, sizeof buffer, &taken));
    CHECK(memcmp(&first, &taken, sizeof first) == 0 && strcmp(buffer, "hello") == 0);
    MUST(cairn_probe(process, from, &again));
    CHECK(again.tag == 6 && again.bytes == 0 && again.sequence == first.sequence + 1);
    MUST(cairn_recv(process, from, NULL, 0, NULL));
    GIVES(cairn_try_probe(process, from, &first), CAIRN_E_AGAIN);
}

/* Begin many sends and receives, complete them in random order by wait and test: the i-th receive that was begun on a
 * channel gets its i-th message. */
static void requests_in_any_order(cairn_process *process)
{
    enum { EACH = 12 };
    uint32_t id = cairn_id(process);
    uint32_t total = cairn_count(process) * EACH;
    cairn_request **requests = program_memory(2 * total * sizeof *requests);
    unsigned char **data = program_memory(2 * total * sizeof *data);
    uint64_t state = 7 + id;
    uint32_t left = 2 * total;

    for (uint32_t i = 0; i < total; i++) {
        uint32_t peer = i / EACH;
        size_t bytes = length_of(peer, id, 5000 + i % EACH);

        data[i] = program_memory(bytes);
        MUST(cairn_irecv(process, peer, data[i], bytes, &requests[i]));
    }
    for (uint32_t i = 0; i < total; i++) {
        uint32_t peer = i / EACH;
        size_t bytes = length_of(id, peer, 5000 + i % EACH);

        data[total + i] = program_memory(bytes);
        fill(data[total + i], bytes, id, peer, 5000 + i % EACH);
        MUST(cairn_isend(process, peer, 5000 + i % EACH, data[total + i], bytes, &requests[total + i]));
    }
    while (left > 0) {
        uint32_t i = (uint32_t)(program_random(&state) % (2 * total));
        cairn_message m;
        cairn_status status;

        if (requests[i] == NULL) {
            continue;
        }
        status = program_random(&state) % 8 == 0 ? cairn_wait(process, &requests[i], &m)
                                                 : cairn_test(process, &requests[i], &m);
        if (status == CAIRN_E_AGAIN) {
            CHECK(requests[i] != NULL);
            continue;
        }
        MUST(status);
        CHECK(requests[i] == NULL);
        left--;
        if (i < total) {
            CHECK(m.from == i / EACH && m.tag == 5000 + i % EACH && m.bytes == length_of(m.from, id, m.tag));
            CHECK(is_filled(data[i], m.bytes, m.from, id, m.tag));
        }
    }
    for (uint32_t i = 0; i < 2 * total; i++) {
        free(data[i]);
    }
    free(data);
    free(requests);
}

/* Receives begun for any sender get each message once; wait_all takes entries that are NULL. */
static void requests_from_any(cairn_process *process)
{
    uint32_t count = cairn_count(process);
    uint32_t id = cairn_id(process);
    cairn_request *requests[17] = {NULL};
    uint32_t values[8];
    uint32_t seen = 0;

    for (uint32_t i = 0; i < count; i++) {
        MUST(cairn_irecv(process, CAIRN_ANY, &values[i], sizeof values[i], &requests[2 * i]));
    }
    for (uint32_t i = 0; i < count; i++) {
        MUST(cairn_isend(process, i, 3, &id, sizeof id, &requests[2 * i + 1]));
    }
    MUST(cairn_wait_all(process, requests, 17));
    for (uint32_t i = 0; i < count; i++) {
        CHECK(requests[2 * i] == NULL && requests[2 * i + 1] == NULL && values[i] < count);
        seen |= 1u << (values[i] & 31);
    }
    CHECK(seen == (1u << count) - 1);
}

static void short_buffer_keeps_the_message(cairn_process *process)
{
    static const size_t sizes[] = {100, 200000, 2 * MIB};
    uint32_t id = cairn_id(process);
    uint32_t count = cairn_count(process);
    uint32_t from = (id + count - 1) % count;
    unsigned char *data = program_memory(2 * MIB);

    for (uint32_t i = 0; i < 3; i++) {
        cairn_message m = {.bytes = 0};
        cairn_request *request = NULL;

        fill(data, sizes[i], id, (id + 1) % count, i);
        MUST(cairn_send(process, (id + 1) % count, i, data, sizes[i]));
        memset(data, 0, sizes[i]);
        GIVES(cairn_recv(process, from, data, sizes[i] - 1, &m), CAIRN_E_TRUNCATED);
        CHECK(m.from == from && m.bytes == sizes[i]);
        GIVES(cairn_try_recv(process, CAIRN_ANY, data, 0, NULL), CAIRN_E_TRUNCATED);
        MUST(cairn_irecv(process, from, data, 1, &request));
        GIVES(cairn_wait(process, &request, &m), CAIRN_E_TRUNCATED);
        CHECK(request == NULL && m.bytes == sizes[i]);
        MUST(cairn_recv(process, from, data, sizes[i], &m));
        CHECK(m.bytes == sizes[i] && is_filled(data, sizes[i], from, id, i));
    }
    free(data);
}

static void no_such_process(cairn_process *process)
{
    uint32_t wrong[] = {cairn_count(process), cairn_count(process) + 1000, UINT32_MAX - 1};
    cairn_request *request = NULL;
    cairn_message m;
    char byte = 0;
    char text[20];

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        GIVES(cairn_send(process, wrong[i], 0, &byte, 1), CAIRN_E_RANGE);
        (void)snprintf(text, sizeof text, "%u", wrong[i]);
        CHECK(strstr(cairn_error_text(process), text) != NULL);
        GIVES(cairn_isend(process, wrong[i], 0, &byte, 1, &request), CAIRN_E_RANGE);
        GIVES(cairn_irecv(process, wrong[i], &byte, 1, &request), CAIRN_E_RANGE);
        CHECK(request == NULL);
        GIVES(cairn_recv(process, wrong[i], &byte, 1, &m), CAIRN_E_RANGE);
        GIVES(cairn_try_recv(process, wrong[i], &byte, 1, &m), CAIRN_E_RANGE);
        GIVES(cairn_probe(process, wrong[i], &m), CAIRN_E_RANGE);
        GIVES(cairn_try_probe(process, wrong[i], &m), CAIRN_E_RANGE);
    }
    GIVES(cairn_send(process, CAIRN_ANY, 0, &byte, 1), CAIRN_E_RANGE);
}

/* Waiting past the deadline is an error that says what was waited for, and leaves the channel as it was. */
static void deadlines(cairn_process *process)
{
    uint32_t id = cairn_id(process);
    uint32_t count = cairn_count(process);
    uint32_t from = (id + 1) % count;
    cairn_request *request = NULL;
    cairn_message m;
    uint32_t value = 0;
    char text[20];
    double begun;

    (void)snprintf(text, sizeof text, "%u", from);
    MUST(cairn_set_deadline(process, 0.2));
    begun = now();
    GIVES(cairn_recv(process, from, &value, sizeof value, &m), CAIRN_E_TIMEOUT);
    CHECK(now() - begun >= 0.19 && now() - begun < 10.0);
    CHECK(strstr(cairn_error_text(process), text) != NULL);
    GIVES(cairn_probe(process, from, &m), CAIRN_E_TIMEOUT);
    CHECK(strstr(cairn_error_text(process), text) != NULL);
    GIVES(cairn_recv(process, CAIRN_ANY, &value, sizeof value, &m), CAIRN_E_TIMEOUT);
    MUST(cairn_irecv(process, from, &value, sizeof value, &request));
    GIVES(cairn_wait(process, &request, &m), CAIRN_E_TIMEOUT);
    CHECK(request == NULL);
    CHECK(strstr(cairn_error_text(process), text) != NULL);
    GIVES(cairn_set_deadline(process, 0.0), CAIRN_E_INVALID);
    MUST(cairn_set_deadline(process, 60.0));
    MUST(cairn_barrier(process)); /* or a fast process ends the waiting of a slow one */
    /* The receive that gave up takes nothing. */
    MUST(cairn_send(process, (id + count - 1) % count, 9, &id, sizeof id));
    MUST(cairn_recv(process, from, &value, sizeof value, &m));
    CHECK(value == from && m.tag == 9);
}

/* Messages are kept apart from those of collectives, whoever comes first. */
static void collectives_in_between(cairn_process *process)
{
    uint32_t id = cairn_id(process);
    uint32_t count = cairn_count(process);

    for (uint32_t round = 0; round < 50; round++) {
        uint64_t sum = 0;
        uint64_t one = id + 1;
        uint32_t value = 0;
        cairn_message m;

        for (uint32_t i = 0; i < count; i++) {
            MUST(cairn_send(process, i, round, &id, sizeof id));
        }
        MUST(cairn_allreduce(process, &one, &sum, 1, CAIRN_U64, CAIRN_SUM));
        CHECK(sum == (uint64_t)count * (count + 1) / 2);
        for (uint32_t i = 0; i < count; i++) {
            if (i == count / 2) {
                MUST(cairn_broadcast(process, round % count, &sum, sizeof sum));
            }
            MUST(cairn_recv(process, round % 2 == 0 ? CAIRN_ANY : i, &value, sizeof value, &m));
            CHECK(value == m.from && m.tag == round);
        }
        GIVES(cairn_try_probe(process, CAIRN_ANY, &m), CAIRN_E_AGAIN);
        MUST(cairn_barrier(process));
    }
}

int main(int argc, char **argv)
{
    static const program_test tests[] = {
        {"to_oneself", to_oneself},
        {"probe_sees_what_recv_takes", probe_sees_what_recv_takes},
        {"no_such_process", no_such_process},
        {"short_buffer_keeps_the_message", short_buffer_keeps_the_message},
        {"any_takes_turns", any_takes_turns},
        {"requests_in_any_order", requests_in_any_order},
        {"requests_from_any", requests_from_any},
        {"all_send_first", all_send_first},
        {"random_traffic", random_traffic},
        {"collectives_in_between", collectives_in_between},
        {"deadlines", deadlines},
    };

    return program_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
