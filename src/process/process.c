/* Joining and leaving the job; what a process knows of itself. */
#include "process/consensus.h"
#include "process/partner.h"

#include "base/environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- joining */

static cairn_status read_environment(cairn_process *p, cairn_error *error)
{
    const char *dir = getenv(CAIRN_ENV_DIR);
    const char *launch = getenv(CAIRN_ENV_LAUNCH);
    const char *timeout = getenv(CAIRN_ENV_WAIT_TIMEOUT);
    const char *survive = getenv(CAIRN_ENV_SURVIVE);

    if (timeout != NULL) {
        char *end;
        double seconds = strtod(timeout, &end);

        if (end == timeout || *end != '\0' || !(seconds > 0.0)) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: not a number of seconds > 0: %s", CAIRN_ENV_WAIT_TIMEOUT,
                              timeout);
        }
        p->deadline = seconds;
    }
    if (launch != NULL) {
        p->incarnation = (uint32_t)strtoul(launch, NULL, 10);
    }
    p->recover = getenv(CAIRN_ENV_SPARES) != NULL;
    if (p->recover && (dir == NULL || dir[0] == '\0')) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: without %s there is nothing to go back to", CAIRN_ENV_SPARES,
                          CAIRN_ENV_DIR);
    }
    if (!p->recover && getenv(CAIRN_ENV_COPIES) != NULL && strcmp(getenv(CAIRN_ENV_COPIES), "none") != 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s: without %s nobody is replaced in place", CAIRN_ENV_COPIES,
                          CAIRN_ENV_SPARES);
    }
    if (dir != NULL && dir[0] != '\0') {
        if (strlen(dir) >= sizeof p->dir) {
            return cairn_fail(error, CAIRN_E_INVALID, "%s: longer than %zu bytes", CAIRN_ENV_DIR, sizeof p->dir - 1);
        }
        (void)snprintf(p->dir, sizeof p->dir, "%s", dir);
        p->lost_after = cairn_lost_after();
        p->survive = p->recover || (survive != NULL && survive[0] != '\0' && strcmp(survive, "0") != 0);
    }
    return CAIRN_OK;
}

static bool wants_vectors(bool *bad)
{
    const char *clock = getenv(CAIRN_ENV_CLOCK);

    *bad = clock != NULL && strcmp(clock, "lamport") != 0 && strcmp(clock, "vector") != 0;
    return clock != NULL && strcmp(clock, "vector") == 0;
}

static cairn_status copy_arguments(cairn_process *p, const int *argc, char ***argv)
{
    const char *name;

    p->argument_count = argc == NULL || *argc < 0 ? 0 : (uint32_t)*argc;
    p->arguments = calloc(p->argument_count + 1, sizeof *p->arguments);
    if (p->arguments == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint32_t i = 0; i < p->argument_count; i++) {
        p->arguments[i] = strdup((*argv)[i]);
        if (p->arguments[i] == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    name = p->argument_count == 0 ? "job" : strrchr(p->arguments[0], '/');
    name = name == NULL ? p->arguments[0] : name;
    (void)snprintf(p->job, sizeof p->job, "%s", name[0] == '/' ? name + 1 : name);
    return CAIRN_OK;
}

static cairn_status open_channels(cairn_process *p, bool vectors)
{
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long here = local == NULL ? (long)p->count : strtol(local, NULL, 10);

    here = here > (long)p->count ? (long)p->count : here; /* spares sleep */
    p->spin_rounds = here > cores ? 100 : 20000;
    p->channels = calloc(p->count, sizeof *p->channels);
    p->reports = calloc(p->count, sizeof *p->reports);
    p->lost = calloc(p->peers, sizeof *p->lost);
    p->left = calloc(p->peers, sizeof *p->left);
    p->ready = calloc(p->peers, sizeof *p->ready);
    if (p->channels == NULL || p->reports == NULL || p->lost == NULL || p->left == NULL || p->ready == NULL) {
        return CAIRN_E_NOMEM;
    }
    if (vectors) {
        p->vector = calloc(p->count, sizeof *p->vector);
        p->report_vectors = calloc((size_t)p->count * p->count, sizeof *p->report_vectors);
        if (p->vector == NULL || p->report_vectors == NULL) {
            return CAIRN_E_NOMEM;
        }
    }
    for (uint32_t i = 0; i < p->count; i++) {
        p->channels[i].held.end = &p->channels[i].held.first;
        for (uint32_t s = 0; s < CAIRN_STREAMS; s++) {
            p->channels[i].box[s].end = &p->channels[i].box[s].first;
        }
    }
    p->posted_end = &p->posted;
    return CAIRN_OK;
}

/* A spare has none before it carries a process. */
cairn_status cairn_core_open(cairn_process *p, uint64_t latest)
{
    void *memory = malloc(cl_bytes(p->count));

    if (memory == NULL) {
        return CAIRN_E_NOMEM;
    }
    p->core = cl_init(memory, p->count, p->self, COORDINATOR, NULL, NULL, latest);
    return CAIRN_OK;
}

/* The same for a rank that was started while the job ran: all is agreed on already. */
static cairn_status join_later(cairn_process *p, bool vectors, const int *argc, char ***argv)
{
    cairn_status status = open_channels(p, vectors);

    if (status == CAIRN_OK) {
        status = copy_arguments(p, argc, argv);
    }
    if (status == CAIRN_OK && !cairn_service_start(p, &p->error)) {
        status = p->error.status;
    }
    if (status == CAIRN_OK) {
        status = cairn_writer_start(p, &p->writer);
    }
    return status == CAIRN_OK ? cairn_spawned_join(p) : status;
}

/* Everything after MPI is up; errors that all processes share end without MPI_Abort. */
static cairn_status join(cairn_process *p, bool vectors, const int *argc, char ***argv)
{
    bool spare = p->self >= p->count;
    uint64_t latest = 0;
    cairn_status status = open_channels(p, vectors);

    if (status == CAIRN_OK) {
        status = copy_arguments(p, argc, argv);
    }
    if (status == CAIRN_OK) {
        status = cairn_open_run(p, &latest);
    }
    p->launch = p->incarnation;
    if (status == CAIRN_OK && !spare) {
        status = cairn_core_open(p, latest);
    }
    if (status == CAIRN_OK && !spare) {
        status = cairn_timers_start(p, &p->error);
    }
    if (status == CAIRN_OK && !cairn_service_start(p, &p->error)) {
        status = p->error.status;
    }
    if (status == CAIRN_OK && p->dir[0] != '\0') {
        status = cairn_writer_start(p, &p->writer);
    }
    if (status == CAIRN_OK) {
        status = cairn_consensus_start(p, &p->error);
    }
    if (status == CAIRN_OK && p->recover) {
        status = cairn_recovery_start(p, latest);
    }
    return status;
}

/* Of the launch's ranks so many carry no process at first. A text that is no number counts as none, and is refused
 * later, when there is somebody to tell. */
static uint32_t count_spares(bool *bad)
{
    const char *text = getenv(CAIRN_ENV_SPARES);
    char *end = NULL;
    unsigned long spares = text == NULL ? 0 : strtoul(text, &end, 10);

    *bad = text != NULL && (end == text || *end != '\0' || spares > 1000000);
    return *bad ? 0 : (uint32_t)spares;
}

cairn_status cairn_init(cairn_process **out, int *argc, char ***argv)
{
    cairn_process *p = calloc(1, sizeof *p);
    bool bad_clock;
    bool bad_spares;
    bool vectors = wants_vectors(&bad_clock);
    uint32_t spares = count_spares(&bad_spares);
    bool in_place = getenv(CAIRN_ENV_SPARES) != NULL;
    cairn_link_options options = {
        .vectors = vectors, .in_place = in_place, .spares = spares, .later = in_place ? cairn_spawn_places() : 0};
    size_t facts;
    uint64_t worst;
    cairn_status status;

    *out = NULL;
    if (p == NULL) {
        fprintf(stderr, "cairn: out of memory\n");
        return CAIRN_E_NOMEM;
    }
    p->beat_fd = -1;
    p->wake_fd = -1;
    p->deadline = CAIRN_WAIT_TIMEOUT_DEFAULT;
    p->started = cairn_now();
    atomic_store(&p->inside, 1); /* the service thread stays out until the end of this call */
    status = cairn_link_open(&p->link, argc, argv, &options, &p->error);
    if (status != CAIRN_OK) {
        fprintf(stderr, "cairn: %s\n", p->error.text);
        cairn_link_abort(NULL, cairn_exit_code(status));
    }
    p->self = cairn_link_self(p->link);
    p->peers = cairn_link_count(p->link);
    p->count = cairn_link_processes(p->link);
    p->spawned = cairn_link_facts(p->link, &facts) != NULL;
    status = bad_spares  ? cairn_fail(&p->error, CAIRN_E_INVALID, "%s: not a number of spares: %s", CAIRN_ENV_SPARES,
                                      getenv(CAIRN_ENV_SPARES))
             : bad_clock ? cairn_fail(&p->error, CAIRN_E_INVALID, "%s: lamport or vector, not %s", CAIRN_ENV_CLOCK,
                                      getenv(CAIRN_ENV_CLOCK))
                         : read_environment(p, &p->error);
    if (status == CAIRN_OK && !p->spawned && (in_place || getenv(CAIRN_ENV_SURVIVE) != NULL)) {
        status = cairn_births_watch(p, &p->error);
    }
    if (status == CAIRN_OK) {
        status = p->spawned ? join_later(p, vectors, argc, argv) : join(p, vectors, argc, argv);
    }
    worst = (uint64_t)status;
    if (!p->spawned && cairn_link_max(p->link, &worst, p->deadline, "cairn_init", &p->error) != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u: %s\n", p->self, p->error.text);
        cairn_link_abort(p->link, CAIRN_EXIT_AGAIN);
    }
    if (status != CAIRN_OK && p->error.text[0] == '\0') {
        (void)cairn_fail(&p->error, status, "%s", cairn_status_text(status));
    }
    if (worst != (uint64_t)CAIRN_OK) {
        if (status != CAIRN_OK && (p->self == 0 || status == CAIRN_E_NOMEM || status == CAIRN_E_PEER)) {
            fprintf(stderr, "cairn: process %u: %s\n", p->self, p->error.text);
        }
        cairn_socket_end(p);
        cairn_service_end(p);
        cairn_writer_end(&p->writer);
        cairn_link_close(p->link);
        return (cairn_status)worst; /* the handle is lost on purpose: the exit handlers may still look at it */
    }
    cairn_births_done(p);
    cairn_link_part(p->link);
    if (p->self >= p->count && (status = cairn_spare_wait(p)) != CAIRN_OK) {
        fprintf(stderr, "cairn: process %u cannot be taken over: %s\n", p->self, p->error.text);
        cairn_end_all(p, CAIRN_EXIT_AGAIN);
    }
    *out = p;
    cairn_exit_call(p);
    return CAIRN_OK;
}

/* ---------------------------------------------------------------- leaving */

static void free_messages(cairn_process *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        queue *queues[] = {&p->channels[i].box[0], &p->channels[i].box[1], &p->channels[i].held};

        for (size_t q = 0; q < sizeof queues / sizeof queues[0]; q++) {
            node *n;

            while ((n = cairn_queue_pop(queues[q])) != NULL) {
                cairn_node_release(p, n);
            }
        }
    }
    while (p->free_nodes != NULL) {
        node *next = p->free_nodes->next;

        free(p->free_nodes);
        p->free_nodes = next;
    }
    while (p->free_requests != NULL) {
        cairn_request *next = p->free_requests->next;

        free(p->free_requests);
        p->free_requests = next;
    }
}

static void free_process(cairn_process *p)
{
    while (p->regions != NULL) {
        cairn_region *next = p->regions->next;

        free(p->regions);
        p->regions = next;
    }
    for (uint32_t i = 0; i < p->argument_count; i++) {
        free(p->arguments[i]);
    }
    free(p->arguments);
    free(p->channels);
    free(p->reports);
    free(p->lost);
    free(p->left);
    free(p->ready);
    free(p->chosen);
    free(p->vector);
    free(p->report_vectors);
    free(p->incoming);
    free(p->core);
    /* The handle itself stays: the exit handler writes the last sign of life through it. */
}

/* Who does not come any more is lost, or killed right after it came. */
static bool all_came(const cairn_process *p)
{
    for (uint32_t i = 0; i < p->count && !p->all_left; i++) {
        if (i != p->self && !p->left[i] && p->lost[i] == LOST_NOT) {
            return false;
        }
    }
    return true;
}

/* Wait until no attempt is under way and all processes are here. */
static cairn_status quiesce(cairn_process *p)
{
    waiting w = {0};
    cairn_status status = CAIRN_OK;

    p->finishing = true;
    /* "Finishing" tells `cairn run` that this process's part of the answer is out: once all say so, a kill needs no
     * restart, which would print the answer twice. After a stop there is no answer. */
    (void)fflush(stdout);
    cairn_beat_now(p, p->stopped ? CAIRN_PHASE_RUNNING : CAIRN_PHASE_FINISHING, -1);
    cairn_core_event(p, CL_FINISHED, 0);
    while (status == CAIRN_OK && ((cl_attempt(p->core) != 0 && !p->undecided) || cairn_flush_leave(p) ||
                                  (p->writer.started && !cairn_writer_idle(&p->writer)))) {
        status = cairn_pause(p, &w);
        status = status == CAIRN_E_STOPPED ? CAIRN_OK : status;
    }
    cairn_send_control(p, CL_ALL, CONTROL_LEAVING, 0);
    while (status == CAIRN_OK && !all_came(p)) {
        status = cairn_pause(p, &w);
        status = status == CAIRN_E_STOPPED ? CAIRN_OK : status;
    }
    if (status == CAIRN_E_TIMEOUT) {
        uint32_t came = 1;

        for (uint32_t i = 0; i < p->count; i++) {
            came += i != p->self && p->left[i];
        }
        (void)cairn_fail(&p->error, status, "cairn_finalize: %u of %u processes came within %.3g s", came, p->count,
                         p->deadline);
    } else if (status == CAIRN_OK && p->survive) {
        /* One that dies between its LEAVING to this process and to the next must not be waited for there. */
        p->all_left = true;
        cairn_send_control(p, CL_ALL, CONTROL_ALL_LEFT, 0);
    }
    return status;
}

cairn_status cairn_finalize(cairn_process *p)
{
    cairn_status status;

    if (p == NULL) {
        return CAIRN_OK;
    }
    cairn_enter(p);
    status = p->fatal != CAIRN_OK ? p->fatal : quiesce(p);
    if (status != CAIRN_OK) {
        cairn_exit_call(p);
        return status;
    }
    if (p->self == COORDINATOR && p->dir[0] != '\0') {
        char cost[120] = "";

        if (p->interval_auto) {
            (void)snprintf(cost, sizeof cost,
                           "; the last took %.3g s from the job, for %g s between failures: one every %.3g s", p->cost,
                           p->mtbf, cairn_period(p));
        }
        fprintf(stderr, "cairn: snapshots: %llu attempts, %llu committed, %llu abandoned%s\n",
                (unsigned long long)p->stats.attempts, (unsigned long long)p->stats.committed,
                (unsigned long long)p->stats.abandoned, cost);
    }
    cairn_socket_end(p);
    cairn_exit_call(p);
    cairn_service_end(p);
    cairn_flush_end(p);
    cairn_writer_end(&p->writer);
    cairn_shell_drive(p);
    cairn_consensus_end(p);
    cairn_service_close(p);
    if (!p->stopped) {
        cairn_close_run(p);
    }
    cairn_beat_now(p, CAIRN_PHASE_FINISHED, -1);
    cairn_timers_end(p);
    if (!p->stopped) {
        cairn_local_sweep(p, UINT64_MAX, 0, 0);
    }
    cairn_shell_free(p);
    cairn_copies_free(p);
    cairn_recovery_free(p);
    free_messages(p);
    if (!p->survive) { /* else MPI_Finalize may wait for ever for one that dies now, or that others know to be lost */
        cairn_link_close(p->link);
    }
    free_process(p);
    return CAIRN_OK;
}

int cairn_leave(cairn_process *p, cairn_status status, const char *what)
{
    cairn_status end;

    if (p == NULL) {
        return cairn_exit_code(status);
    }
    if (status == CAIRN_OK || status == CAIRN_E_STOPPED) {
        end = cairn_finalize(p);
        if (end == CAIRN_OK) {
            return cairn_exit_code(status);
        }
        status = end;
        what = "leaving the job";
    }
    fprintf(stderr, "cairn: process %u: %s%s%s\n", p->self, what == NULL ? "" : what, what == NULL ? "" : ": ",
            p->error.status == status && p->error.text[0] != '\0' ? p->error.text : cairn_status_text(status));
    fflush(NULL);
    cairn_enter(p);
    cairn_end_all(p, cairn_exit_code(status));
}

/* ---------------------------------------------------------------- knowing */

uint32_t cairn_id(const cairn_process *p)
{
    return p->self;
}

uint32_t cairn_count(const cairn_process *p)
{
    return p->count;
}

uint32_t cairn_incarnation(const cairn_process *p)
{
    return p->incarnation;
}

uint64_t cairn_lamport(const cairn_process *p)
{
    return p->lamport;
}

const uint64_t *cairn_vector(const cairn_process *p)
{
    return p->vector;
}

void cairn_event(cairn_process *p)
{
    cairn_enter(p);
    p->lamport = cairn_lamport_local(p->lamport);
    if (p->vector != NULL) {
        cairn_vector_local(p->vector, p->count, p->self);
    }
    cairn_exit_call(p);
}

void cairn_mpi_begin(cairn_process *p)
{
    cairn_enter(p);
}

void cairn_mpi_end(cairn_process *p)
{
    cairn_exit_call(p);
}

const char *cairn_error_text(const cairn_process *p)
{
    return p->error.text;
}

cairn_status cairn_set_deadline(cairn_process *p, double seconds)
{
    cairn_enter(p);
    if (!(seconds > 0.0)) {
        return cairn_say(p, CAIRN_E_INVALID, "cairn_set_deadline: %g s is not > 0", seconds);
    }
    p->deadline = seconds;
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_snapshot(cairn_process *p)
{
    cairn_enter(p);
    if (!p->can_snapshot) {
        return cairn_say(p, CAIRN_E_STATE, "cairn_snapshot: %s",
                         p->dir[0] == '\0'   ? "this run has no DIR"
                         : p->lost_count > 0 ? "a process is lost"
                                             : "before cairn_restore");
    }
    if (p->level.on) { /* it is to be in DIR: the coordinator says so */
        if (p->self == COORDINATOR) {
            cairn_snapshot_wished(p);
        } else {
            cairn_send_control(p, COORDINATOR, CONTROL_SNAPSHOT_WISH, 0);
        }
    } else {
        cairn_core_event(p, CL_INITIATE, 0);
    }
    cairn_exit_call(p);
    return CAIRN_OK;
}

void cairn_snapshot_get_stats(const cairn_process *p, cairn_snapshot_stats *out)
{
    cairn_process *mine = (cairn_process *)(uintptr_t)p;

    cairn_enter(mine);
    *out = p->stats;
    cairn_exit_call(mine);
}
