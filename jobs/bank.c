/* bank: accounts that transfer money at random; the classic test of a snapshot. Event style.
 *
 * Money is either in an account or in a message on its way, so every consistent cut holds exactly the initial total in
 * states and channels together. `bank --audit DIR` checks that for all committed snapshots, without MPI.
 *
 *  - What a process transfers is drawn from its own protected generator alone, and accounts may go below 0: the final
 *    balances do not depend on the order in which messages arrive.
 *  - At most WINDOW transfers are on the way on one channel; the receiver gives credit back for each CREDIT_BATCH of
 * them. The next transfer is looked at, not drawn, until there is room for it: so the window does not change what is
 * drawn.
 *  - Leaving: a process that has made all its transfers sends DONE on every channel (to itself, too), and answers each
 * DONE with BYE. Channels are FIFO: behind a DONE comes no transfer, behind a BYE no credit. With both from everybody
 *    nothing is on its way to this process any more, and it stops. */
#include "options.h"

#include "snapshot/store.h"

#include <getopt.h>
#include <inttypes.h>
#include <time.h>

#define WINDOW       64
#define CREDIT_BATCH 16
#define IDLE_BATCH   16 /* transfers between two looks at the channels */
#define AMOUNT_MAX   1000

enum { TAG_TRANSFER = 1, TAG_CREDIT, TAG_DONE, TAG_BYE };

/* The payload of a transfer; the other messages have none. */
typedef struct transfer {
    uint64_t account; /* of the receiver */
    int64_t amount;
} transfer;

/* What has happened; protected as an array of u64 in this order. */
enum {
    COUNT_MADE,    /* transfers sent                    */
    COUNT_HANDLED, /* transfers received                */
    COUNT_SAID,    /* 1: DONE is sent                   */
    COUNT_DONE,    /* DONE received                     */
    COUNT_BYE,     /* BYE received                      */
    COUNT_RANDOM,  /* draws made: the generator's state */
    COUNTS
};

/* What the run was asked for; protected, so that neither a restart nor an audit can take a wrong one for it. */
enum { PLAN_ACCOUNTS, PLAN_TRANSFERS, PLAN_INITIAL, PLAN_SEED, PLANS };

typedef struct bank {
    cairn_process *process;
    uint32_t id, count;
    uint64_t plan[PLANS];
    uint64_t counts[COUNTS];
    int64_t *balances; /* [accounts] */
    uint64_t *window;  /* [2][count]: transfers on their way to each; received from each since the last credit */
    uint64_t work;     /* microseconds a transfer */
    const char *audit;
} bank;

static const char help_text[] =
    "usage: mpirun -n P bank [OPTIONS]     or: cairn run -n P -- bank [OPTIONS]\n"
    "       bank --audit DIR\n"
    "\n"
    "Each process owns accounts and transfers money from them to accounts of all processes, by messages. No money\n"
    "is made or lost, and the final balances depend on the options and the number of processes alone. Balances belong "
    "to\n"
    "processes: a restart on another number of processes is refused.\n"
    "\n"
    "  --accounts A      accounts of each process, 1..1000000 (default 100)\n"
    "  --transfers T     transfers that each process makes (default 10000)\n"
    "  --initial B       what is in each account at first, 0..1000000000 (default 1000)\n"
    "  --seed S          of the random transfers (default 1)\n"
    "  --work MICROS     wait so long before each transfer, to make the run last (default 0)\n"
    "  --audit DIR       no run: check that in every committed snapshot in DIR accounts and messages on their way\n"
    "                    together hold exactly the initial total; a line each\n"
    "  --help            this text\n"
    "\n"
    "Standard output: transfers, total and a checksum of all balances. Exit status: 0; 1 the total is wrong, or an "
    "audit\n"
    "found a wrong, a damaged or no snapshot; 3 wrong arguments; 85 stopped on request; see README.\n";

static bool parse(bank *b, job_fault *fault, int argc, char **argv)
{
    static const struct option options[] = {
        {"accounts", required_argument, NULL, 'a'}, {"transfers", required_argument, NULL, 't'},
        {"initial", required_argument, NULL, 'i'},  {"seed", required_argument, NULL, 's'},
        {"work", required_argument, NULL, 'w'},     {"audit", required_argument, NULL, 'A'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            b->plan[PLAN_ACCOUNTS] = job_number(fault, "--accounts", optarg, 1, 1000000);
            break;
        case 't':
            b->plan[PLAN_TRANSFERS] = job_number(fault, "--transfers", optarg, 0, UINT64_C(1000000000000));
            break;
        case 'i':
            b->plan[PLAN_INITIAL] = job_number(fault, "--initial", optarg, 0, 1000000000);
            break;
        case 's':
            b->plan[PLAN_SEED] = job_number(fault, "--seed", optarg, 0, UINT64_MAX);
            break;
        case 'w':
            b->work = job_number(fault, "--work", optarg, 0, 10000000);
            break;
        case 'A':
            b->audit = optarg;
            break;
        case 'h':
            return true;
        default:
            job_wrong(fault, "%s: unknown option, or its value is missing; see bank --help", argv[optind - 1]);
        }
    }
    if (optind < argc) {
        job_wrong(fault, "%s: takes no files or other words; see bank --help", argv[optind]);
    }
    return false;
}

/* A number below `bound`; *draws counts how many have been drawn. */
static uint64_t draw(const bank *b, uint64_t *draws, uint64_t bound)
{
    uint64_t seed = job_mix(b->plan[PLAN_SEED] + ((uint64_t)b->id << 32));

    return job_mix(seed + (*draws)++) % bound;
}

/* Make the next transfer if its channel has room for it. */
static cairn_status make_transfer(bank *b, bool *made)
{
    uint64_t draws = b->counts[COUNT_RANDOM];
    uint64_t from = draw(b, &draws, b->plan[PLAN_ACCOUNTS]);
    uint32_t to = (uint32_t)draw(b, &draws, b->count);
    transfer message;
    cairn_status status;

    message.account = draw(b, &draws, b->plan[PLAN_ACCOUNTS]);
    message.amount = (int64_t)(1 + draw(b, &draws, AMOUNT_MAX));
    *made = b->window[to] < WINDOW;
    if (!*made) {
        return CAIRN_OK;
    }
    if (b->work > 0) {
        struct timespec pause = {.tv_sec = (time_t)(b->work / 1000000), .tv_nsec = (long)(b->work % 1000000) * 1000};

        (void)nanosleep(&pause, NULL); /* stands for work; cut short by a signal it is less of it */
    }
    status = cairn_send(b->process, to, TAG_TRANSFER, &message, sizeof message);
    if (status == CAIRN_OK) {
        b->balances[from] -= message.amount;
        b->window[to]++;
        b->counts[COUNT_RANDOM] = draws;
        b->counts[COUNT_MADE]++;
        cairn_progress(b->process, b->counts[COUNT_MADE], b->plan[PLAN_TRANSFERS]);
    }
    return status;
}

static bool all_is_over(const bank *b)
{
    return b->counts[COUNT_DONE] == b->count && b->counts[COUNT_BYE] == b->count;
}

static cairn_next on_idle(cairn_process *process, void *context, cairn_status *status)
{
    bank *b = context;
    bool made = true;

    if (all_is_over(b)) {
        return CAIRN_STOP; /* restored from a snapshot of the very end */
    }
    for (int i = 0; made && i < IDLE_BATCH && b->counts[COUNT_MADE] < b->plan[PLAN_TRANSFERS]; i++) {
        *status = make_transfer(b, &made);
        if (*status != CAIRN_OK) {
            return CAIRN_FAIL;
        }
    }
    if (b->counts[COUNT_MADE] == b->plan[PLAN_TRANSFERS] && b->counts[COUNT_SAID] == 0) {
        for (uint32_t i = 0; i < b->count; i++) {
            *status = cairn_send(process, i, TAG_DONE, NULL, 0);
            if (*status != CAIRN_OK) {
                return CAIRN_FAIL;
            }
        }
        b->counts[COUNT_SAID] = 1;
    }
    return made && b->counts[COUNT_SAID] == 0 ? CAIRN_CONTINUE : CAIRN_WAIT;
}

static cairn_status take_transfer(bank *b, const cairn_message *message, const void *payload)
{
    transfer t;
    uint64_t *since = &b->window[b->count + message->from];

    if (message->bytes != sizeof t) {
        return CAIRN_E_CORRUPT;
    }
    memcpy(&t, payload, sizeof t);
    if (t.account >= b->plan[PLAN_ACCOUNTS]) {
        return CAIRN_E_CORRUPT;
    }
    b->balances[t.account] += t.amount;
    b->counts[COUNT_HANDLED]++;
    if (++*since < CREDIT_BATCH) {
        return CAIRN_OK;
    }
    *since = 0;
    return cairn_send(b->process, message->from, TAG_CREDIT, NULL, 0);
}

static cairn_next on_message(cairn_process *process, const cairn_message *message, const void *payload, void *context,
                             cairn_status *status)
{
    bank *b = context;

    *status = CAIRN_OK;
    switch (message->tag) {
    case TAG_TRANSFER:
        *status = take_transfer(b, message, payload);
        break;
    case TAG_CREDIT:
        b->window[message->from] -= CREDIT_BATCH;
        break;
    case TAG_DONE:
        b->counts[COUNT_DONE]++;
        *status = cairn_send(process, message->from, TAG_BYE, NULL, 0);
        break;
    case TAG_BYE:
        b->counts[COUNT_BYE]++;
        break;
    default:
        *status = CAIRN_E_CORRUPT;
    }
    if (*status != CAIRN_OK) {
        return CAIRN_FAIL;
    }
    return all_is_over(b) ? CAIRN_STOP : CAIRN_CONTINUE;
}

static cairn_status set_up(bank *b)
{
    b->id = cairn_id(b->process);
    b->count = cairn_count(b->process);
    b->balances = malloc(b->plan[PLAN_ACCOUNTS] * sizeof *b->balances);
    b->window = calloc(2 * (size_t)b->count, sizeof *b->window);
    if (b->balances == NULL || b->window == NULL) {
        return CAIRN_E_NOMEM;
    }
    for (uint64_t i = 0; i < b->plan[PLAN_ACCOUNTS]; i++) {
        b->balances[i] = (int64_t)b->plan[PLAN_INITIAL];
    }
    return CAIRN_OK;
}

/* Protect the state and load what there is of it. A snapshot of another plan is the caller's mistake. */
static cairn_status restore(bank *b, job_fault *fault)
{
    static const char *const names[PLANS] = {"--accounts", "--transfers", "--initial", "--seed"};
    const uint64_t accounts[1] = {b->plan[PLAN_ACCOUNTS]};
    const uint64_t counts[1] = {COUNTS};
    const uint64_t plans[1] = {PLANS};
    const uint64_t window[2] = {2, b->count};
    uint64_t asked[PLANS];
    cairn_region *region;
    cairn_status status;

    memcpy(asked, b->plan, sizeof asked);
    status = cairn_protect_array(b->process, "balances", CAIRN_I64, 1, accounts, b->balances, &region);
    if (status == CAIRN_OK) {
        status = cairn_protect_array(b->process, "counts", CAIRN_U64, 1, counts, b->counts, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_protect_array(b->process, "window", CAIRN_U64, 2, window, b->window, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_protect_array(b->process, "plan", CAIRN_U64, 1, plans, b->plan, &region);
    }
    if (status == CAIRN_OK) {
        status = cairn_restore(b->process, NULL);
    }
    for (int i = 0; status == CAIRN_OK && i < PLANS; i++) {
        if (asked[i] != b->plan[i]) {
            job_wrong(fault, "%s %" PRIu64 ": the snapshot was taken with %" PRIu64, names[i], asked[i], b->plan[i]);
        }
    }
    return status;
}

/* Add all up: sums mod 2^64 do not depend on the order. */
static cairn_status report(bank *b, bool *right)
{
    enum { SUM_MONEY, SUM_HASH, SUM_MADE, SUM_HANDLED, SUMS };
    uint64_t sums[SUMS] = {0, 0, b->counts[COUNT_MADE], b->counts[COUNT_HANDLED]};
    uint64_t accounts = b->plan[PLAN_ACCOUNTS];
    int64_t expected = (int64_t)(accounts * b->plan[PLAN_INITIAL] * b->count);
    cairn_status status;

    for (uint64_t i = 0; i < accounts; i++) {
        sums[SUM_MONEY] += (uint64_t)b->balances[i];
        sums[SUM_HASH] += job_mix(job_mix(b->id * accounts + i) ^ (uint64_t)b->balances[i]);
    }
    status = cairn_allreduce(b->process, sums, sums, SUMS, CAIRN_U64, CAIRN_SUM);
    if (status != CAIRN_OK) {
        return status;
    }
    *right = (int64_t)sums[SUM_MONEY] == expected && sums[SUM_MADE] == sums[SUM_HANDLED];
    if (b->id != 0) {
        return CAIRN_OK;
    }
    printf("processes  %u\naccounts   %" PRIu64 "\ntransfers  %" PRIu64 "\ntotal      %" PRId64
           "\nchecksum   %016" PRIx64 "\n",
           b->count, accounts * b->count, sums[SUM_HANDLED], (int64_t)sums[SUM_MONEY], sums[SUM_HASH]);
    if (!*right) {
        fprintf(stderr, "bank: the total should be %" PRId64 " after %" PRIu64 " transfers\n", expected,
                sums[SUM_MADE]);
    }
    return fflush(stdout) == 0 ? CAIRN_OK : CAIRN_E_IO;
}

/* What one cut holds. */
typedef struct holding {
    uint64_t accounts, in_flight, expected; /* money; wraps as the job's does */
    uint64_t messages;
    uint64_t unmatched; /* channels whose messages are not exactly those sent and not received */
} holding;

static cairn_status audit_state(cairn_part *part, const char *name, uint64_t least, uint64_t **out, uint64_t *count,
                                cairn_error *error)
{
    const cairn_state *state = cairn_part_find(part, name);
    cairn_status status;
    uint64_t *values;

    if (state == NULL || (state->type != CAIRN_U64 && state->type != CAIRN_I64) || state->bytes < least * 8) {
        return cairn_fail(error, CAIRN_E_MISMATCH, "state %s: not there or of another form; is it a snapshot of bank?",
                          name);
    }
    values = malloc(state->bytes);
    if (values == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "state %s", name);
    }
    status = cairn_part_read(part, state, values, error);
    if (status != CAIRN_OK) {
        free(values);
        return status;
    }
    *out = values;
    *count = state->bytes / 8;
    return CAIRN_OK;
}

/* Add one part to what the cut holds. ledger[i][j]: messages on channel i -> j as sent minus received minus in flight.
 */
static cairn_status audit_part(cairn_part *part, uint32_t process, uint32_t count, uint64_t *ledger, holding *held,
                               cairn_error *error)
{
    const cairn_part_head *head = cairn_part_get_head(part);
    uint64_t *balances = NULL;
    uint64_t *plan = NULL;
    uint64_t accounts, plans;
    cairn_status status;

    status = audit_state(part, "balances", 1, &balances, &accounts, error);
    if (status == CAIRN_OK) {
        status = audit_state(part, "plan", PLANS, &plan, &plans, error);
    }
    if (status != CAIRN_OK) {
        goto out;
    }
    for (uint64_t i = 0; i < accounts; i++) {
        held->accounts += balances[i];
    }
    held->expected += plan[PLAN_ACCOUNTS] * plan[PLAN_INITIAL];
    for (uint32_t i = 0; i < count; i++) {
        ledger[(size_t)process * count + i] += head->sent[(size_t)i * CAIRN_STREAMS];
        ledger[(size_t)i * count + process] -= head->received[(size_t)i * CAIRN_STREAMS];
    }
    for (size_t i = 0; i < cairn_part_message_count(part); i++) {
        const cairn_in_flight *message = cairn_part_message(part, i);
        transfer t;

        if (message->stream != 0) {
            continue;
        }
        ledger[(size_t)message->from * count + process]--;
        if (message->tag != TAG_TRANSFER) {
            continue;
        }
        if (message->bytes != sizeof t) {
            status = cairn_fail(error, CAIRN_E_CORRUPT, "a transfer of %" PRIu64 " bytes from process %u",
                                message->bytes, message->from);
            goto out;
        }
        memcpy(&t, message->payload, sizeof t);
        held->in_flight += (uint64_t)t.amount;
        held->messages++;
    }
out:
    free(balances);
    free(plan);
    return status;
}

static cairn_status audit_cut(const char *dir, const cairn_commit *commit, holding *held, cairn_error *error)
{
    size_t channels = (size_t)commit->count * commit->count;
    uint64_t *ledger = calloc(channels, sizeof *ledger);
    cairn_status status = CAIRN_OK;

    memset(held, 0, sizeof *held);
    if (ledger == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%u processes", commit->count);
    }
    for (uint32_t i = 0; status == CAIRN_OK && i < commit->count; i++) {
        cairn_part *part = NULL;
        char path[4096];

        cairn_store_part_path(path, sizeof path, dir, commit->number, i);
        status = cairn_part_open(&part, path, &commit->parts[i], error);
        if (status == CAIRN_OK) {
            status = audit_part(part, i, commit->count, ledger, held, error);
            if (status != CAIRN_OK) {
                status = cairn_wrap(error, status, "%s", path);
            }
        }
        cairn_part_close(part);
    }
    for (size_t i = 0; i < channels; i++) {
        held->unmatched += ledger[i] != 0;
    }
    free(ledger);
    return status;
}

/* One line about one snapshot; false when something is wrong with it. */
static bool audit_entry(const char *dir, const cairn_entry *entry, uint64_t *audited)
{
    cairn_error error = {.text = ""};
    holding held;

    if (entry->use == CAIRN_USE_UNCOMMITTED) {
        printf("%06" PRIu64 "  not committed: nothing to hold it to\n", entry->number);
        return true;
    }
    if (entry->commit == NULL || entry->use == CAIRN_USE_DAMAGED || entry->use == CAIRN_USE_UNREADABLE) {
        printf("%06" PRIu64 "  damaged: %s\n", entry->number, entry->why);
        return false;
    }
    if (audit_cut(dir, entry->commit, &held, &error) != CAIRN_OK) {
        printf("%06" PRIu64 "  cannot be read: %s\n", entry->number, error.text);
        return false;
    }
    bool right = held.accounts + held.in_flight == held.expected && held.unmatched == 0;

    printf("%06" PRIu64 "  %s: accounts %" PRId64 " + in flight %" PRId64 " (%" PRIu64 " messages) = %" PRId64
           ", initial total %" PRId64,
           entry->number, right ? "right" : "WRONG", (int64_t)held.accounts, (int64_t)held.in_flight, held.messages,
           (int64_t)(held.accounts + held.in_flight), (int64_t)held.expected);
    if (held.unmatched != 0) {
        printf(", %" PRIu64 " channels whose messages are not those sent and not received", held.unmatched);
    }
    printf("\n");
    ++*audited;
    return right;
}

static int audit(const char *dir)
{
    cairn_entry *entries = NULL;
    size_t count = 0;
    cairn_error error = {.text = ""};
    uint64_t audited = 0;
    bool right = true;

    /* audit_entry checks every byte itself: it must not audit what was checked some time before. */
    if (cairn_store_list(dir, NULL, CAIRN_DEPTH_SEALS, &entries, &count, &error) != CAIRN_OK) {
        fprintf(stderr, "bank: %s\n", error.text);
        return CAIRN_EXIT_FAILURE;
    }
    for (size_t i = count; i-- > 0;) {
        right = audit_entry(dir, &entries[i], &audited) && right;
    }
    cairn_store_list_free(entries, count);
    if (audited == 0) {
        fprintf(stderr, "bank: %s: no committed snapshot to audit\n", dir);
        return CAIRN_EXIT_FAILURE;
    }
    printf("%" PRIu64 " committed snapshots audited: %s\n", audited, right ? "all right" : "NOT all right");
    return fflush(stdout) == 0 && right ? CAIRN_EXIT_OK : CAIRN_EXIT_FAILURE;
}

/* All transfers, and the result; after a recovery in place from where the accounts are then. */
static cairn_status transfer_all(bank *b, bool *right)
{
    static const cairn_handlers handlers = {.on_message = on_message, .on_idle = on_idle};
    cairn_status status;

    for (;;) {
        status = cairn_serve(b->process, &handlers, b);
        if (status == CAIRN_OK) {
            status = report(b, right);
        }
        if (status != CAIRN_E_ROLLBACK) {
            return status;
        }
        status = cairn_recover(b->process, NULL);
        if (status != CAIRN_OK) {
            return status;
        }
    }
}

static int run(bank *b, job_fault *fault)
{
    const char *what = "setting up";
    bool right = true;
    cairn_status status = set_up(b);

    if (status == CAIRN_OK) {
        what = "restoring";
        status = restore(b, fault);
    }
    if (status == CAIRN_OK && fault->text[0] != '\0') {
        return job_refuse(b->process, "bank", fault);
    }
    if (status == CAIRN_OK) {
        what = "transferring";
        status = transfer_all(b, &right);
    }
    int code = cairn_leave(b->process, status, what);

    return code == CAIRN_EXIT_OK && !right ? CAIRN_EXIT_FAILURE : code;
}

int main(int argc, char **argv)
{
    bank b = {.plan = {[PLAN_ACCOUNTS] = 100, [PLAN_TRANSFERS] = 10000, [PLAN_INITIAL] = 1000, [PLAN_SEED] = 1}};
    job_fault fault = {""};
    int code;

    if (parse(&b, &fault, argc, argv)) {
        if (job_speaks()) {
            fputs(help_text, stdout);
        }
        return 0;
    }
    if (b.audit != NULL) {
        if (fault.text[0] != '\0') {
            fprintf(stderr, "bank: %s\n", fault.text);
            return CAIRN_EXIT_JOB_USAGE;
        }
        return audit(b.audit);
    }
    cairn_status joined = cairn_init(&b.process, &argc, &argv);
    if (joined != CAIRN_OK) {
        return cairn_exit_code(joined);
    }
    code = fault.text[0] != '\0' ? job_refuse(b.process, "bank", &fault) : run(&b, &fault);
    free(b.balances);
    free(b.window);
    return code;
}
