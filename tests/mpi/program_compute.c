/* A job that calls nobody for long: it must not be taken for dead.
 *
 *   compute COUNT SECONDS       under `cairn run --survive`; all processes but the first compute, the first waits */
#include "support/program.h"

#include <time.h>

static cairn_status on_lost(cairn_process *p, uint32_t id, void *context)
{
    (void)context;
    fprintf(stderr, "compute: process %u hears that %u is lost\n", cairn_id(p), id);
    program_failures++;
    return CAIRN_OK;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.0;
    volatile double sum = 0.0;

    if (cairn_init(&program_process, &argc, &argv) != CAIRN_OK) {
        return 1;
    }
    if (argc < 2 || strtoul(argv[1], NULL, 10) != cairn_count(program_process) || !cairn_survives(program_process)) {
        return cairn_leave(program_process, CAIRN_E_INVALID, "compute COUNT SECONDS, and CAIRN_SURVIVE=1");
    }
    cairn_lost_handler(program_process, on_lost, NULL);
    MUST(cairn_set_deadline(program_process, seconds * 4.0 + 60.0));
    MUST(cairn_barrier(program_process));
    for (double end = now() + seconds; cairn_id(program_process) > 0 && now() < end;) {
        for (int i = 1; i < 1000000; i++) {
            sum = sum + 1.0 / i;
        }
    }
    MUST(cairn_barrier(program_process));
    for (uint32_t i = 0; i < cairn_count(program_process); i++) {
        CHECK(cairn_alive(program_process, i));
    }
    printf("compute: process %u, %lu failures\n", cairn_id(program_process), program_failures);
    return cairn_leave(program_process, program_failures == 0 ? CAIRN_OK : CAIRN_E_BUG, "compute");
}
