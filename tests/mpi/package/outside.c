/* A short job as its author would write it: a token goes round a ring of processes and gathers a number at each, while
 * everybody keeps a sum of its own. The last line says what everybody must agree on. */
#include <cairn/cairn.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define STEPS 150

static cairn_status pass_token(cairn_process *process, uint64_t step, uint64_t *token)
{
    uint32_t id = cairn_id(process), count = cairn_count(process);
    cairn_status status = cairn_send(process, (id + 1) % count, 0, token, sizeof *token);

    if (status == CAIRN_OK) {
        status = cairn_recv(process, (id + count - 1) % count, token, sizeof *token, NULL);
    }
    *token = *token * 6364136223846793005U + step + id;
    return status;
}

static cairn_status compute(cairn_process *process, uint64_t *digest)
{
    const struct timespec work = {0, 10000000L};
    uint64_t step = 0, token = cairn_id(process), sum = 0;
    cairn_status status = cairn_protect_replicated(process, "step", CAIRN_U64, 0, NULL, &step, NULL);

    if (status == CAIRN_OK) {
        status = cairn_protect_array(process, "token", CAIRN_U64, 0, NULL, &token, NULL);
    }
    if (status == CAIRN_OK) {
        status = cairn_protect_array(process, "sum", CAIRN_U64, 0, NULL, &sum, NULL);
    }
    if (status == CAIRN_OK) {
        status = cairn_restore(process, NULL);
    }
    for (; step < STEPS && status == CAIRN_OK; step++) {
        status = cairn_safepoint(process, step);
        if (status == CAIRN_OK) {
            cairn_progress(process, step, STEPS);
            status = pass_token(process, step, &token);
            sum += token >> 7;
            (void)nanosleep(&work, NULL);
        }
    }
    return status == CAIRN_OK ? cairn_allreduce(process, &sum, digest, 1, CAIRN_U64, CAIRN_SUM) : status;
}

int main(int argc, char **argv)
{
    cairn_process *process;
    uint64_t digest = 0;
    cairn_status status = cairn_init(&process, &argc, &argv);

    if (status != CAIRN_OK) {
        return cairn_exit_code(status);
    }
    status = compute(process, &digest);
    if (status == CAIRN_OK && cairn_id(process) == 0) {
        printf("ring of %" PRIu32 ": %016" PRIx64 "\n", cairn_count(process), digest);
    }
    return cairn_leave(process, status, "the ring");
}
