/* Joining the coordination service, and leaving it. */
#include "process/consensus_parts.h"

#include "base/environment.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define WINDOW             256
#define PIPELINE           32
#define SEGMENT_BYTES      ((uint64_t)1 << 20)
#define ELECTION_DEFAULT   0.4 /* seconds */
#define ELECTION_RECOVER   0.2 /* the same where who dies is replaced: the leader, too, is to be missed soon */
#define BEATS_PER_ELECTION 6
#define LOCK_PAUSE_NS      5000000L

typedef struct group_facts {
    cairn_group group;
    uint64_t status;
    char text[400];
} group_facts;

/* A number within bounds, or nothing: then *value stays. */
static bool take_number(const char *name, double least, double most, double *value, cairn_error *error)
{
    const char *text = getenv(name);
    char *end = NULL;
    double number;

    if (text == NULL) {
        return true;
    }
    number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= most)) {
        (void)cairn_fail(error, CAIRN_E_INVALID, "%s: not a number from %g to %g: %s", name, least, most, text);
        return false;
    }
    *value = number;
    return true;
}

static bool check_environment(cairn_error *error)
{
    double ignored = 0.0;
    double acceptors = 3.0;

    if (!take_number(CAIRN_ENV_ELECTION, 0.02, 60.0, &ignored, error) ||
        !take_number(CAIRN_ENV_LEASES, 0.0, 1.0, &ignored, error) ||
        !take_number(CAIRN_ENV_LOST_AFTER, 0.05, 86400.0, &ignored, error) ||
        !take_number(CAIRN_ENV_LOG_SEGMENT, 262144.0, 1073741824.0, &ignored, error) ||
        !take_number(CAIRN_ENV_IMAGE_AFTER, 0.0, 1e15, &ignored, error) ||
        !take_number(CAIRN_ENV_ACCEPTORS, 1.0, 7.0, &acceptors, error)) {
        return false;
    }
    if (acceptors != 1.0 && acceptors != 3.0 && acceptors != 5.0 && acceptors != 7.0) {
        (void)cairn_fail(error, CAIRN_E_INVALID, "%s: 1, 3, 5 or 7, not %s", CAIRN_ENV_ACCEPTORS,
                         getenv(CAIRN_ENV_ACCEPTORS));
        return false;
    }
    return true;
}

static uint64_t election_us(const cairn_process *p)
{
    const char *text = getenv(CAIRN_ENV_ELECTION);
    double usual = p->recover ? ELECTION_RECOVER : ELECTION_DEFAULT;
    double seconds = text == NULL ? usual : strtod(text, NULL);

    return (uint64_t)((seconds >= 0.02 && seconds <= 60.0 ? seconds : usual) * 1e6);
}

uint64_t consensus_heartbeat_us(const cairn_process *p)
{
    return election_us(p) / BEATS_PER_ELECTION;
}

static mp_options paxos_options(const cairn_process *p, const cairn_group *group)
{
    uint64_t election = election_us(p);
    const char *leases = getenv(CAIRN_ENV_LEASES);
    mp_options o = {.self = p->consensus->self,
                    .count = group->count,
                    .acceptor_count = group->acceptor_count,
                    .window = WINDOW,
                    .value_max = CONSENSUS_VALUE_MAX,
                    .pipeline = PIPELINE,
                    .heartbeat = election / BEATS_PER_ELECTION,
                    .election = election,
                    .lease = leases != NULL && strcmp(leases, "1") == 0 ? election / 2 : 0,
                    .drift = 10,
                    .seed = (uint64_t)getpid()};

    memcpy(o.acceptors, group->acceptors, sizeof o.acceptors);
    o.first = o.self == group->acceptors[0] || o.self != p->self; /* who stands in does so since nobody leads */
    return o;
}

/* Longer segments are for logs that are busy. */
static uint64_t segment_bytes(void)
{
    const char *text = getenv(CAIRN_ENV_LOG_SEGMENT);
    unsigned long long bytes = text == NULL ? 0 : strtoull(text, NULL, 10);

    return bytes >= SEGMENT_BYTES / 4 && bytes <= (uint64_t)1 << 30 ? bytes / 512 * 512 : SEGMENT_BYTES;
}

/* 0: the replica's default. */
static uint64_t image_after(void)
{
    const char *text = getenv(CAIRN_ENV_IMAGE_AFTER);

    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

/* In survive mode as many deaths as possible leave a majority, also on one host. 0: no wish. */
static uint32_t wanted_acceptors(const cairn_process *p)
{
    const char *text = getenv(CAIRN_ENV_ACCEPTORS);
    long wanted = text == NULL ? 0 : strtol(text, NULL, 10);

    if (text == NULL && p->survive) {
        return p->count >= 7 ? 7 : p->count >= 5 ? 5 : p->count >= 3 ? 3 : 1;
    }
    return wanted == 1 || wanted == 3 || wanted == 5 || wanted == 7 ? (uint32_t)wanted : 0;
}

/* The first group of a DIR. Its record is written before any log, so logs without a record mean that it was lost. */
static cairn_status begin_group(cairn_process *p, const cairn_group *group, cairn_error *error)
{
    if (cairn_group_has_logs(p->dir)) {
        return cairn_fail(error, CAIRN_E_CORRUPT,
                          "%s/consensus/group.json is missing, but there are logs: what was agreed on is not known; "
                          "nothing was started over",
                          p->dir);
    }
    if (p->incarnation > 0 || cairn_store_has_committed(p->dir)) {
        fprintf(stderr,
                "cairn: %s/consensus is not there: a new one is begun; what was agreed on before is not known, and "
                "snapshots with a whole record are taken over\n",
                p->dir);
    }
    return cairn_group_write(p->dir, group, error);
}

/* Process 0: the group as it is, or one for this number of processes, with the old one's state. */
static cairn_status find_group(cairn_process *p, const uint64_t *nodes, cairn_group *group, cairn_error *error)
{
    cairn_group old;
    mp_options options;
    uint32_t wanted = wanted_acceptors(p);
    cairn_status status = cairn_group_read(p->dir, &old, error);

    *group = old;
    if (status == CAIRN_OK && old.count == p->peers && (wanted == 0 || wanted == old.acceptor_count)) {
        return CAIRN_OK;
    }
    if (status != CAIRN_OK && status != CAIRN_E_NOT_FOUND) {
        return status;
    }
    *group = (cairn_group){.epoch = status == CAIRN_OK ? old.epoch + 1 : 1};
    cairn_group_choose(group, nodes, p->count, wanted);
    group->count = p->peers; /* spares learn */
    if (status == CAIRN_E_NOT_FOUND) {
        return begin_group(p, group, error);
    }
    /* Also when it never formed: what was moved into it is nowhere else. */
    options = paxos_options(p, &old);
    status = cairn_group_move(p->dir, &old, group, &options, error);
    return status == CAIRN_OK ? cairn_group_write(p->dir, group, error) : status;
}

static uint64_t node_of_this(void)
{
    char name[256] = "";
    uint64_t hash = UINT64_C(14695981039346656037);

    (void)gethostname(name, sizeof name - 1);
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
    }
    return hash;
}

static cairn_status agree_on_group(cairn_process *p, cairn_error *error)
{
    group_facts facts = {0};
    uint64_t *nodes = calloc(p->peers, sizeof *nodes);
    cairn_status status;

    if (nodes == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the consensus group");
    }
    status = cairn_link_gather(p->link, node_of_this(), nodes, p->deadline, "choosing acceptors", error);
    if (status == CAIRN_OK && p->self == 0) {
        facts.status = (uint64_t)find_group(p, nodes, &facts.group, error);
        (void)snprintf(facts.text, sizeof facts.text, "%.399s", error->text);
    }
    free(nodes);
    if (status == CAIRN_OK) {
        status = cairn_link_broadcast(p->link, &facts, sizeof facts, p->deadline, "choosing acceptors", error);
    }
    if (status == CAIRN_OK && facts.status != (uint64_t)CAIRN_OK) {
        status = cairn_fail(error, (cairn_status)facts.status, "%s", facts.text);
    }
    p->consensus->group = facts.group;
    return status;
}

static cairn_status open_replica(cairn_process *p, cairn_error *error)
{
    consensus *c = p->consensus;
    cairn_replica_options options = {.paxos = paxos_options(p, &c->group),
                                     .formed = c->group.formed,
                                     .log = {.segment_bytes = segment_bytes()},
                                     .image_after = image_after()};
    cairn_replica_host host = consensus_host(p);
    bool acceptor = false;
    cairn_status status = CAIRN_OK;

    options.lease_reads = options.paxos.lease > 0;
    for (uint32_t i = 0; i < c->group.acceptor_count; i++) {
        acceptor = acceptor || c->group.acceptors[i] == c->self;
    }
    if (getrandom(&options.new_storage, sizeof options.new_storage, 0) != (ssize_t)sizeof options.new_storage ||
        getrandom(&c->questions_asked, sizeof c->questions_asked, 0) != (ssize_t)sizeof c->questions_asked) {
        return cairn_fail(error, CAIRN_E_IO, "getrandom failed");
    }
    options.new_storage |= 1;
    c->questions_asked >>= 16;
    if (acceptor && !c->has_disk) {
        cairn_group_folder(c->folder, sizeof c->folder, p->dir, &c->group, c->self);
        status = cairn_disk_open(&c->disk, c->folder, error);
        c->has_disk = status == CAIRN_OK;
    }
    options.disk = acceptor ? &c->disk : NULL;
    if (status == CAIRN_OK) {
        status = cairn_replica_open(&c->replica, &options, &host, consensus_now(), error);
    }
    return status;
}

/* A majority must have kept what it voted for. */
static cairn_status count_votes(cairn_process *p, cairn_status opened, cairn_error *error)
{
    const cairn_group *g = &p->consensus->group;
    uint64_t mine = (uint64_t)opened << 1;
    uint64_t *all = calloc(p->peers, sizeof *all);
    uint32_t voters = 0;
    cairn_status worst = CAIRN_OK;
    cairn_status status;

    if (all == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the consensus group");
    }
    if (opened == CAIRN_OK) {
        mine |= mp_generation(cairn_replica_core(p->consensus->replica)) > 0 ? 1 : 0;
    }
    status = cairn_link_gather(p->link, mine, all, p->deadline, "opening the consensus logs", error);
    for (uint32_t i = 0; i < p->peers; i++) {
        voters += (uint32_t)(all[i] & 1);
        worst = all[i] >> 1 > (uint64_t)worst ? (cairn_status)(all[i] >> 1) : worst;
    }
    free(all);
    if (status != CAIRN_OK) {
        return status;
    }
    if (worst != CAIRN_OK) {
        if (opened != CAIRN_OK && opened != worst) {
            fprintf(stderr, "cairn: process %u: %s\n", p->self, error->text);
        }
        return opened == worst ? opened : cairn_fail(error, worst, "another process cannot open its consensus log");
    }
    if (voters < px_majority(g->acceptor_count)) {
        return cairn_fail(
            error, CAIRN_E_CORRUPT,
            "%s/consensus: %u of %u acceptors have lost their logs: what was agreed on is not known; "
            "nothing was started over (without %s/consensus snapshots with a whole record are taken over)",
            p->dir, g->acceptor_count - voters, g->acceptor_count, p->dir);
    }
    return CAIRN_OK;
}

typedef struct first_read {
    bool answered;
    cairn_status status;
    uint64_t revision;
} first_read;

static void first_answer(void *context, const cairn_response *response)
{
    first_read *f = context;

    f->answered = true;
    f->status = response->status;
    f->revision = response->revision;
}

/* Until a leader answers, and what it has is here too. */
static cairn_status catch_up(cairn_process *p, cairn_error *error)
{
    cairn_question request = {.op = CAIRN_OP_READ, .key = "cairn/none"};
    first_read first = {0};
    waiting w = {0};
    uint64_t tag;
    cairn_status status = cairn_consensus_ask(p, &request, first_answer, &first, &tag);

    while (status == CAIRN_OK && !p->consensus->failed &&
           (!first.answered || cairn_consensus_revision(p) < first.revision)) {
        status = cairn_pause(p, &w);
    }
    if (!first.answered) {
        cairn_consensus_forget(p, tag);
    }
    if (p->consensus->failed) {
        return cairn_fail(error, CAIRN_E_IO, "%s", p->consensus->log.error.text);
    }
    if (status == CAIRN_E_TIMEOUT) {
        return cairn_fail(error, status, "waited %.3g s for the processes to elect a leader", p->deadline);
    }
    return status;
}

/* All acceptors have a durable log: a missing one is a lost one from now on. */
static cairn_status form(cairn_process *p, cairn_error *error)
{
    consensus *c = p->consensus;
    waiting w = {0};
    uint64_t worst = (uint64_t)CAIRN_OK;
    cairn_status status = CAIRN_OK;

    while (status == CAIRN_OK && !c->failed && c->has_disk && cairn_replica_writing(c->replica)) {
        status = cairn_pause(p, &w);
    }
    worst = (uint64_t)(c->failed ? CAIRN_E_IO : status);
    status = cairn_link_max(p->link, &worst, p->deadline, "forming the consensus group", error);
    if (status == CAIRN_OK && worst != (uint64_t)CAIRN_OK) {
        status = cairn_fail(error, (cairn_status)worst, "the consensus group could not be formed");
    }
    c->group.formed = true;
    if (status == CAIRN_OK && p->self == 0) {
        status = cairn_group_write(p->dir, &c->group, error);
        if (status == CAIRN_OK) {
            cairn_group_remove_older(p->dir, &c->group);
        }
    }
    return status;
}

/* While this process waits for the others they may need it as a member. */
static void drive_idle(void *context)
{
    cairn_drive(context);
}

static cairn_status make_room(cairn_process *p, cairn_error *error)
{
    consensus *c = p->consensus = calloc(1, sizeof *c);

    if (c == NULL || (c->questions = calloc(CONSENSUS_ASKED_MAX, sizeof *c->questions)) == NULL ||
        (c->assemblies = calloc(p->peers, sizeof *c->assemblies)) == NULL ||
        (c->place = calloc(p->peers, sizeof *c->place)) == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "the coordination service");
    }
    c->self = p->self;
    for (uint32_t i = 0; i < p->peers; i++) {
        c->place[i] = i;
    }
    c->end = &c->first;
    for (uint32_t i = 0; i < CONSENSUS_ASKED_MAX; i++) {
        c->questions[i].next_free = i + 1 < CONSENSUS_ASKED_MAX ? i + 1 : UINT32_MAX;
    }
    return CAIRN_OK;
}

cairn_status cairn_consensus_start(cairn_process *p, cairn_error *error)
{
    consensus *c;
    cairn_status status;

    if (p->dir[0] == '\0') {
        return CAIRN_OK;
    }
    if (!check_environment(error)) {
        return CAIRN_E_INVALID;
    }
    status = make_room(p, error);
    if (status != CAIRN_OK) {
        return status;
    }
    c = p->consensus;
    status = agree_on_group(p, error);
    if (status == CAIRN_OK) {
        status = count_votes(p, open_replica(p, error), error);
    }
    if (status == CAIRN_E_FULL && !c->group.formed) {
        if (p->self == 0) {
            fprintf(stderr, "cairn: %s: the job runs without snapshots and without a coordination service\n",
                    error->text);
        }
        cairn_consensus_end(p);
        return CAIRN_OK;
    }
    if (status == CAIRN_OK && c->has_disk) {
        status = consensus_start_log(p, error);
    }
    if (status == CAIRN_OK) {
        cairn_link_set_idle(p->link, drive_idle, p);
        status = catch_up(p, error);
    }
    if (status == CAIRN_OK && !c->group.formed) {
        status = form(p, error);
    }
    return status == CAIRN_OK && p->self < p->count ? cairn_socket_start(p, error) : status;
}

cairn_status cairn_consensus_join(cairn_process *p, const cairn_group *group, cairn_error *error)
{
    cairn_status status = make_room(p, error);

    if (status != CAIRN_OK) {
        return status;
    }
    p->consensus->group = *group;
    return open_replica(p, error);
}

void cairn_consensus_moved(cairn_process *p, uint32_t member, uint32_t from)
{
    consensus *c = p->consensus;

    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < p->peers; i++) {
        c->place[i] = c->place[i] == from || i == member ? i : c->place[i];
    }
    if (member < p->peers) {
        c->assemblies[member].total = 0; /* the rest of it was sent to nobody */
    }
}

void cairn_consensus_suspend(cairn_process *p)
{
    const struct timespec pause = {0, LOCK_PAUSE_NS};
    consensus *c = p->consensus;

    while (c->has_disk && p->writer.started &&
           !cairn_writer_idle(&p->writer)) { /* it may be writing an image of this replica */
        cairn_shell_drive(p);
        (void)nanosleep(&pause, NULL);
    }
    consensus_refuse_all(c); /* who asked is told, and asks again */
    consensus_end_log(c);
    cairn_replica_close(c->replica);
    if (c->has_disk) {
        cairn_disk_close(&c->disk);
        c->has_disk = false;
    }
    c->replica = NULL;
    c->next_tick = 0;
    c->leads_since = 0;
    for (uint32_t i = 0; i < p->peers; i++) {
        c->assemblies[i].total = 0;
    }
}

cairn_status cairn_consensus_resume(cairn_process *p, double seconds, cairn_error *error)
{
    consensus *c = p->consensus;
    const struct timespec pause = {0, LOCK_PAUSE_NS};
    double end = cairn_now() + seconds;
    cairn_status status;

    c->self = p->self;
    while ((status = open_replica(p, error)) == CAIRN_E_BUSY && cairn_now() < end) {
        cairn_drive(p); /* a later recovery may make all this idle: then it is over, too */
        (void)nanosleep(&pause, NULL);
    }
    if (status == CAIRN_OK && c->has_disk) {
        status = consensus_start_log(p, error);
    }
    if (status == CAIRN_OK) {
        consensus_say_place(p);
    }
    return status == CAIRN_OK ? cairn_socket_start(p, error) : status;
}

cairn_status cairn_consensus_stand_in(cairn_process *p, uint32_t member, cairn_error *error)
{
    consensus *c = p->consensus;
    cairn_disk disk;
    cairn_status status;

    cairn_group_folder(c->folder, sizeof c->folder, p->dir, &c->group, member);
    status = cairn_disk_open(&disk, c->folder, error);
    if (status != CAIRN_OK) {
        return status; /* another one does already */
    }
    cairn_consensus_suspend(p);
    c->self = member;
    c->disk = disk;
    c->has_disk = true;
    status = open_replica(p, error);
    if (status == CAIRN_OK) {
        status = consensus_start_log(p, error);
    }
    if (status == CAIRN_OK) {
        c->place[member] = p->self;
        consensus_say_place(p);
    }
    return status;
}

cairn_status cairn_consensus_step_back(cairn_process *p, cairn_error *error)
{
    consensus *c = p->consensus;

    cairn_consensus_suspend(p);
    c->place[c->self] = c->self;
    c->self = p->self;
    return open_replica(p, error);
}

void cairn_consensus_end(cairn_process *p)
{
    consensus *c = p->consensus;

    if (c == NULL) {
        return;
    }
    cairn_link_set_idle(p->link, NULL, NULL);
    consensus_end_log(c);
    while (c->first != NULL) {
        deferred *next = c->first->next;

        free(c->first);
        c->first = next;
    }
    cairn_replica_close(c->replica);
    if (c->has_disk) {
        cairn_disk_close(&c->disk);
    }
    for (uint32_t i = 0; c->assemblies != NULL && i < p->peers; i++) {
        free(c->assemblies[i].data);
    }
    free(c->assemblies);
    free(c->place);
    free(c->questions);
    free(c->pack.data);
    cairn_storage_free(&c->storage);
    free(c);
    p->consensus = NULL;
}
