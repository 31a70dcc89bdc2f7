/* The runtime when a process dies and the others go on.
 *
 *   lost COUNT CASE VICTIM       under `cairn run --survive` */
#include "support/program.h"

#include <cairn/coord.h>

#include <signal.h>
#include <unistd.h>

#define SMALL      5
#define LONG_BYTES ((size_t)3 << 20)
#define DECIDED_US 3000000 /* by then a process that is silent is lost */
#define DEATH_US   200000
#define LATE_US    7000000
#define TAG_BALL   7
#define ROUNDS     200

static uint32_t victim;
static uint32_t told, told_who;

static bool is_victim(const cairn_process *p)
{
    return cairn_id(p) == victim;
}

static void die(void)
{
    (void)usleep(DEATH_US);
    (void)raise(SIGKILL);
}

static cairn_status on_lost(cairn_process *p, uint32_t id, void *context)
{
    (void)context;
    CHECK(!cairn_alive(p, id));
    told++;
    told_who = id;
    return CAIRN_OK;
}

static unsigned char *pattern(uint32_t from)
{
    unsigned char *data = program_memory(LONG_BYTES);

    for (size_t i = 0; i < LONG_BYTES; i++) {
        data[i] = (unsigned char)(i * 7 + from);
    }
    return data;
}

/* Everybody who lives has a word with everybody else. */
static void talk(cairn_process *p)
{
    for (uint32_t i = 0; i < cairn_count(p); i++) {
        if (i != victim) {
            MUST(cairn_send(p, i, 1, &i, sizeof i));
        }
    }
    for (uint32_t i = 0; i < cairn_count(p); i++) {
        uint32_t word = 0;

        if (i != victim) {
            MUST(cairn_recv(p, i, &word, sizeof word, NULL));
            CHECK(word == cairn_id(p));
        }
    }
}

/* What came whole is received, in order; then the receive that waits ends. late: the victim dies before anybody can
 * have taken its long message. */
static void receives(cairn_process *p, bool late)
{
    unsigned char *data = pattern(victim);
    unsigned char *in = program_memory(LONG_BYTES);
    cairn_status status = CAIRN_OK;
    cairn_request *request;
    uint32_t got = 0;

    if (is_victim(p)) {
        for (uint32_t i = 0; i < cairn_count(p); i++) {
            for (uint32_t k = 0; i != victim && k < SMALL; k++) {
                MUST(cairn_send(p, i, k, &k, sizeof k));
            }
            if (i != victim) {
                MUST(cairn_isend(p, i, SMALL, data, LONG_BYTES, &request));
                MUST(cairn_isend(p, i, SMALL + 1, data, 10, &request));
            }
        }
        (void)usleep(late ? 0 : DEATH_US);
        (void)raise(SIGKILL);
    }
    while (status == CAIRN_OK) {
        cairn_message m;

        status = cairn_recv(p, victim, in, LONG_BYTES, &m);
        if (status == CAIRN_OK) {
            CHECK(m.tag == got);
            CHECK(got < SMALL || memcmp(in, data, m.bytes) == 0);
            got++;
        }
    }
    CHECK(status == CAIRN_E_PEER);
    CHECK(strstr(cairn_error_text(p), "is lost") != NULL);
    CHECK(got == SMALL + 2 || (late && got >= SMALL));
    CHECK(cairn_try_recv(p, victim, in, 1, NULL) == CAIRN_E_PEER);
    CHECK(cairn_irecv(p, victim, in, 1, &request) == CAIRN_OK);
    CHECK(cairn_wait(p, &request, NULL) == CAIRN_E_PEER);
    talk(p);
}

static void case_received(cairn_process *p)
{
    receives(p, false);
}

static void case_torn(cairn_process *p)
{
    receives(p, true);
}

static void case_sent(cairn_process *p)
{
    unsigned char *data = pattern(0);
    cairn_request *request;
    uint32_t word;

    if (is_victim(p)) {
        for (uint32_t i = 0; i < cairn_count(p); i++) {
            MUST(i == victim ? CAIRN_OK : cairn_send(p, i, 0, &i, sizeof i));
        }
        cairn_mpi_begin(p); /* takes nothing from here on */
        die();
    }
    MUST(cairn_recv(p, victim, &word, sizeof word, NULL));
    (void)usleep(DEATH_US / 4);
    MUST(cairn_isend(p, victim, 0, data, LONG_BYTES, &request));
    for (uint32_t i = 0; i < 100; i++) {
        MUST(cairn_send(p, victim, 0, data, 2000));
    }
    CHECK(cairn_send(p, victim, 0, data, LONG_BYTES) == CAIRN_E_PEER);
    CHECK(cairn_wait(p, &request, NULL) == CAIRN_E_PEER);
    CHECK(cairn_send(p, victim, 0, data, 1) == CAIRN_E_PEER);
    CHECK(!cairn_alive(p, victim) && cairn_alive(p, cairn_id(p)));
    talk(p);
}

static void case_collective(cairn_process *p)
{
    double sum = 1.0;

    if (is_victim(p)) {
        die();
    }
    CHECK(cairn_barrier(p) == CAIRN_E_PEER);
    CHECK(cairn_allreduce(p, &sum, &sum, 1, CAIRN_F64, CAIRN_SUM) == CAIRN_E_PEER);
    CHECK(cairn_barrier(p) == CAIRN_E_PEER);
    talk(p);
}

/* What the service says of the living and the dead. */
static void check_keys(cairn_process *p)
{
    cairn_coord *coord;
    char key[CAIRN_LOST_KEY_BYTES];
    cairn_kv kv;

    MUST(cairn_coord_open(p, 0.0, &coord));
    cairn_lost_key(p, victim, key);
    GIVES(cairn_coord_get(coord, key, &kv, NULL), CAIRN_OK);
    cairn_lost_key(p, cairn_id(p), key);
    GIVES(cairn_coord_get(coord, key, &kv, NULL), CAIRN_E_NOT_FOUND);
    MUST(cairn_coord_close(coord));
}

/* A ball goes round among those that live; who is told of the loss throws the first one. */
static cairn_next on_message(cairn_process *p, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status)
{
    uint32_t next = cairn_id(p);
    uint32_t count;

    (void)context;
    (void)message;
    memcpy(&count, payload, sizeof count);
    do {
        next = (next + 1) % cairn_count(p);
    } while (next == victim);
    count++;
    if (count <= ROUNDS + cairn_count(p)) {
        *status = cairn_send(p, next, TAG_BALL, &count, sizeof count);
    }
    return *status != CAIRN_OK ? CAIRN_FAIL : count > ROUNDS + 1 ? CAIRN_STOP : CAIRN_CONTINUE;
}

static cairn_next on_idle(cairn_process *p, void *context, cairn_status *status)
{
    (void)p;
    (void)context;
    (void)status;
    return told == 0 ? CAIRN_CONTINUE : CAIRN_STOP;
}

static cairn_status throw_ball(cairn_process *p, uint32_t id, void *context)
{
    uint32_t count = 0;
    uint32_t first = victim == 0 ? 1 : 0;

    (void)on_lost(p, id, context);
    return cairn_id(p) == first ? cairn_send(p, first, TAG_BALL, &count, sizeof count) : CAIRN_OK;
}

static void case_serve(cairn_process *p)
{
    static const cairn_handlers handlers = {on_message, NULL};
    static const cairn_handlers until_told = {on_message, on_idle};

    cairn_lost_handler(p, throw_ball, NULL);
    if (is_victim(p)) {
        die();
    }
    MUST(cairn_serve(p, &handlers, NULL));
    MUST(cairn_serve(p, &until_told, NULL)); /* the ball may be faster than the news */
    check_keys(p);
    CHECK(told == 1 && told_who == victim);
}

/* Snapshots one after the other until the loss, none after it. */
static void case_snapshot(cairn_process *p)
{
    uint64_t step = 0, after = 0;
    cairn_snapshot_stats before, now;
    cairn_restored restored;
    static double state[100000];
    const uint64_t shape[1] = {100000};

    MUST(cairn_protect_array(p, "state", CAIRN_F64, 1, shape, state, NULL));
    MUST(cairn_restore(p, &restored));
    for (; told == 0; step++) {
        if (is_victim(p) && step == 300) {
            (void)raise(SIGKILL);
        }
        MUST(cairn_safepoint(p, step));
        (void)usleep(500);
    }
    cairn_snapshot_get_stats(p, &before);
    for (; after < 300; after++, step++) {
        MUST(cairn_safepoint(p, step));
        (void)usleep(500);
    }
    cairn_snapshot_get_stats(p, &now);
    CHECK(before.committed > 0 && now.committed <= before.committed + 1);
    CHECK(cairn_snapshot(p) == CAIRN_E_STATE);
    talk(p);
}

static void case_leaving(cairn_process *p)
{
    if (is_victim(p)) {
        die();
    }
}

/* Stopped for too long: lost, although it lives, and it ends when it goes on. */
static void case_stopped(cairn_process *p)
{
    uint32_t word;

    if (is_victim(p)) {
        pid_t self = getpid();

        if (fork() == 0) {
            (void)usleep(DECIDED_US);
            (void)kill(self, SIGCONT);
            _exit(0);
        }
        (void)raise(SIGSTOP);
        CHECK(cairn_recv(p, victim, &word, sizeof word, NULL) == CAIRN_OK); /* never comes back */
    }
    CHECK(cairn_recv(p, victim, &word, sizeof word, NULL) == CAIRN_E_PEER);
    talk(p);
    (void)usleep(DECIDED_US);
}

/* A job that has no handler is ended by the loss, and is done in its next launch. */
static void case_unready(cairn_process *p)
{
    uint32_t word;

    if (cairn_incarnation(p) > 0) {
        return;
    }
    cairn_lost_handler(p, NULL, NULL);
    if (is_victim(p)) {
        die();
    }
    GIVES(cairn_recv(p, (cairn_id(p) + 1) % cairn_count(p), &word, sizeof word, NULL), CAIRN_E_PEER);
    exit(cairn_leave(p, CAIRN_E_PEER, "unready"));
}

/* A job's own failure is the end of all. */
static void case_failure(cairn_process *p)
{
    uint32_t word;

    if (is_victim(p)) {
        (void)usleep(DEATH_US);
        exit(cairn_leave(p, CAIRN_E_INVALID, "failure"));
    }
    GIVES(cairn_recv(p, victim, &word, sizeof word, NULL), CAIRN_OK); /* never comes back */
}

int main(int argc, char **argv)
{
    static const program_test cases[] = {
        {"received", case_received},     {"torn", case_torn},      {"sent", case_sent},
        {"collective", case_collective}, {"serve", case_serve},    {"snapshot", case_snapshot},
        {"leaving", case_leaving},       {"late", case_leaving},   {"stopped", case_stopped},
        {"unready", case_unready},       {"failure", case_failure}};
    const char *name = argc > 2 ? argv[2] : "";
    int code;

    if (cairn_init(&program_process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    victim = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : UINT32_MAX;
    if (!cairn_survives(program_process) || victim >= cairn_count(program_process)) {
        return cairn_leave(program_process, CAIRN_E_INVALID, "lost COUNT CASE VICTIM, and CAIRN_SURVIVE=1");
    }
    cairn_lost_handler(program_process, on_lost, NULL);
    MUST(cairn_set_deadline(program_process, 20.0));
    MUST(cairn_barrier(program_process));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, name) == 0) {
            cases[i].run(program_process);
        }
    }
    code = (int)cairn_id(program_process);
    if (strcmp(name, "late") == 0) { /* what a job does after cairn_finalize may take its time */
        GIVES(cairn_finalize(program_process), CAIRN_OK);
        (void)usleep(LATE_US);
    }
    printf("%s: process %d, %lu failures\n", name, code, program_failures);
    code = strcmp(name, "late") == 0 ? 0 : cairn_leave(program_process, CAIRN_OK, NULL);
    return code != 0 || program_failures != 0;
}
