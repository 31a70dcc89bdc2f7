/* Collectives against what each process computes by itself: all types and operations, sizes, roots, in and out the same
 * array. Run by channels.sh with 1, 2, 3, 4 and 8 processes. Input values are drawn from (process, index), so everybody
 * knows all. */
#include "../support/program.h"

#define COUNT_MAX 3000

static const cairn_type types[] = {CAIRN_U8, CAIRN_I32, CAIRN_U32, CAIRN_I64, CAIRN_U64, CAIRN_F32, CAIRN_F64};
static const cairn_op ops[] = {CAIRN_SUM, CAIRN_MIN, CAIRN_MAX};

/* Element `index` of what process `id` brings: any bits for integers, any size for floating point. */
static void element(cairn_type type, uint32_t id, size_t index, void *out)
{
    uint64_t state = ((uint64_t)id << 32) + index;
    uint64_t bits = program_random(&state);
    double real = ((double)(int64_t)bits) * ((index % 3 == 0) ? 1e-30 : 1e-10);
    float single = (float)real;

    switch (type) {
    case CAIRN_F32:
        memcpy(out, &single, sizeof single);
        break;
    case CAIRN_F64:
        memcpy(out, &real, sizeof real);
        break;
    default:
        memcpy(out, &bits, cairn_type_bytes(type)); /* little-endian: the low bytes, any will do */
    }
}

#define FOLD(T, WIDE)                                                                                                  \
    do {                                                                                                               \
        T a, b, r;                                                                                                     \
        memcpy(&a, into, sizeof a);                                                                                    \
        memcpy(&b, value, sizeof b);                                                                                   \
        r = op == CAIRN_SUM ? (T)((WIDE)a + (WIDE)b) : op == CAIRN_MIN ? (b < a ? b : a) : (b > a ? b : a);            \
        memcpy(into, &r, sizeof r);                                                                                    \
    } while (0)

static void fold(cairn_type type, cairn_op op, void *into, const void *value)
{
    switch (type) {
    case CAIRN_U8:
        FOLD(uint8_t, uint32_t);
        break;
    case CAIRN_I32:
        FOLD(int32_t, uint32_t);
        break;
    case CAIRN_U32:
        FOLD(uint32_t, uint32_t);
        break;
    case CAIRN_I64:
        FOLD(int64_t, uint64_t);
        break;
    case CAIRN_U64:
        FOLD(uint64_t, uint64_t);
        break;
    case CAIRN_F32:
        FOLD(float, float);
        break;
    case CAIRN_F64:
        FOLD(double, double);
        break;
    }
}

/* in: this process's elements; expected: ((0 op 1) op 2) ... */
static void prepare(cairn_process *process, cairn_type type, cairn_op op, size_t count, char *in, char *expected)
{
    size_t bytes = cairn_type_bytes(type);

    for (size_t k = 0; k < count; k++) {
        char value[8];

        element(type, cairn_id(process), k, in + k * bytes);
        element(type, 0, k, expected + k * bytes);
        for (uint32_t i = 1; i < cairn_count(process); i++) {
            element(type, i, k, value);
            fold(type, op, expected + k * bytes, value);
        }
    }
}

static void reductions(cairn_process *process)
{
    static const size_t counts[] = {0, 1, 5, COUNT_MAX};
    char *in = program_memory(COUNT_MAX * 8);
    char *out = program_memory(COUNT_MAX * 8);
    char *expected = program_memory(COUNT_MAX * 8);

    for (size_t c = 0; c < 4 * 7 * 3; c++) {
        size_t count = counts[c % 4];
        cairn_type type = types[c / 4 % 7];
        cairn_op op = ops[c / 28];
        size_t bytes = count * cairn_type_bytes(type);

        prepare(process, type, op, count, in, expected);
        memset(out, 0, bytes);
        MUST(cairn_allreduce(process, in, out, count, type, op));
        CHECK(memcmp(out, expected, bytes) == 0);
        for (uint32_t root = 0; root < cairn_count(process); root++) {
            memset(out, 0x5a, bytes);
            MUST(cairn_reduce(process, root, in, out, count, type, op));
            CHECK(cairn_id(process) != root || memcmp(out, expected, bytes) == 0);
        }
        MUST(cairn_allreduce(process, in, in, count, type, op));
        CHECK(memcmp(in, expected, bytes) == 0);
    }
    free(in);
    free(out);
    free(expected);
}

static void broadcasts(cairn_process *process)
{
    static const size_t sizes[] = {0, 1, 4097, 3u << 20};
    unsigned char *data = program_memory(3u << 20);

    for (uint32_t root = 0; root < cairn_count(process); root++) {
        for (size_t s = 0; s < 4; s++) {
            bool mine = cairn_id(process) == root;
            size_t wrong = 0;

            for (size_t i = 0; i < sizes[s]; i++) {
                data[i] = mine ? (unsigned char)(i * 7 + root + s) : 0;
            }
            MUST(cairn_broadcast(process, root, data, sizes[s]));
            for (size_t i = 0; i < sizes[s]; i++) {
                wrong += data[i] != (unsigned char)(i * 7 + root + s);
            }
            CHECK(wrong == 0);
        }
    }
    free(data);
}

/* Process i brings i * step bytes of the value i + 1. */
static void gathers(cairn_process *process)
{
    static const size_t steps[] = {0, 1, 1000, 100000};
    uint32_t count = cairn_count(process);
    uint32_t id = cairn_id(process);
    unsigned char *mine = program_memory(100000 * 8);

    memset(mine, (int)id + 1, 100000 * 8);
    for (uint32_t root = 0; root < count; root++) {
        for (size_t s = 0; s < 4; s++) {
            void *all = NULL;
            uint64_t sizes[8] = {0};
            size_t at = 0;
            size_t wrong = 0;

            MUST(cairn_gather(process, root, mine, id * steps[s], id == root ? &all : NULL, id == root ? sizes : NULL));
            for (uint32_t i = 0; id == root && i < count; i++) {
                CHECK(sizes[i] == i * steps[s]);
                for (size_t k = 0; k < i * steps[s]; k++) {
                    wrong += ((unsigned char *)all)[at++] != i + 1;
                }
            }
            CHECK(wrong == 0);
            free(all);
        }
    }
    free(mine);
}

/* No process leaves a barrier before all have entered: what the last one told before it entered has been sent. */
static void barriers(cairn_process *process)
{
    uint32_t count = cairn_count(process);

    for (uint32_t late = 0; late < count; late++) {
        uint64_t before = cairn_lamport(process);

        if (cairn_id(process) == late) {
            for (int i = 0; i < 1000; i++) {
                cairn_event(process);
            }
            before = cairn_lamport(process);
        }
        MUST(cairn_broadcast(process, late, &before, sizeof before));
        MUST(cairn_barrier(process));
        CHECK(count == 1 || cairn_lamport(process) > before || cairn_id(process) == late);
    }
    /* Entering is seen by all who leave: their clocks are past that of every entry. */
    for (int round = 0; round < 20; round++) {
        uint64_t entry, latest, left;

        for (uint32_t i = 0; i < cairn_id(process) * 10; i++) {
            cairn_event(process);
        }
        entry = cairn_lamport(process);
        MUST(cairn_barrier(process));
        left = cairn_lamport(process);
        MUST(cairn_allreduce(process, &entry, &latest, 1, CAIRN_U64, CAIRN_MAX));
        CHECK(count == 1 || left > latest);
    }
}

/* The shape must be the same on all; what is wrong by itself is refused at once. */
static void wrong_use(cairn_process *process)
{
    uint64_t value = 1;

    GIVES(cairn_broadcast(process, cairn_count(process), &value, sizeof value), CAIRN_E_RANGE);
    GIVES(cairn_reduce(process, cairn_count(process), &value, &value, 1, CAIRN_U64, CAIRN_SUM), CAIRN_E_RANGE);
    GIVES(cairn_gather(process, cairn_count(process), &value, sizeof value, NULL, NULL), CAIRN_E_RANGE);
    CHECK(cairn_type_bytes(CAIRN_U8) == 1 && cairn_type_bytes(CAIRN_F32) == 4 && cairn_type_bytes(CAIRN_F64) == 8);
    CHECK(strcmp(cairn_type_text(CAIRN_I32), "i32") == 0 && strcmp(cairn_type_text(CAIRN_F64), "f64") == 0);
}

int main(int argc, char **argv)
{
    static const program_test tests[] = {
        {"reductions", reductions}, {"broadcasts", broadcasts}, {"gathers", gathers},
        {"barriers", barriers},     {"wrong_use", wrong_use},
    };

    return program_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
