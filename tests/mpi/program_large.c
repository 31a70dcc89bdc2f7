/* One message of more than 2 GiB (what an int cannot count), from process 0 to process 1. Run by channels.sh if there
 * is memory. */
#include "../support/program.h"

#define LARGE ((UINT64_C(2) << 30) + 4099)

static void more_than_an_int_counts(cairn_process *process)
{
    uint64_t *data = program_memory(LARGE);
    cairn_message m;
    uint64_t wrong = 0;

    if (cairn_id(process) == 0) {
        for (uint64_t i = 0; i < LARGE / 8; i++) {
            data[i] = i * UINT64_C(0x9e3779b97f4a7c15);
        }
        memcpy((char *)data + LARGE / 8 * 8, "end", 3);
        MUST(cairn_send(process, 1, 2, data, LARGE));
        MUST(cairn_send(process, 1, 3, "behind", 7));
    } else if (cairn_id(process) == 1) {
        char behind[7];

        MUST(cairn_recv(process, 0, data, LARGE, &m));
        CHECK(m.bytes == LARGE && m.tag == 2);
        for (uint64_t i = 0; i < LARGE / 8; i++) {
            wrong += data[i] != i * UINT64_C(0x9e3779b97f4a7c15);
        }
        CHECK(wrong == 0);
        CHECK(memcmp((char *)data + LARGE / 8 * 8, "end", 3) == 0);
        MUST(cairn_recv(process, 0, behind, sizeof behind, &m));
        CHECK(m.tag == 3);
    }
    free(data);
}

int main(int argc, char **argv)
{
    static const program_test tests[] = {{"more_than_an_int_counts", more_than_an_int_counts}};

    return program_main(argc, argv, tests, 1);
}
