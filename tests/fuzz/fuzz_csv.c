/* The fast CSV reader against the slow one: any bytes, any cut, any pieces, the same answer; and what reads packed
 * bytes refuses garbage without harm. The first byte chooses delimiter and block size, the second the piece size; the
 * rest is the text behind a header a,b,c. */
#include "support/csv_check.h"

#include "dataset/division.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void unpack_garbage(const uint8_t *data, size_t bytes)
{
    cairn_unpack unpack = {.data = data, .bytes = bytes}, again = unpack;
    cairn_groups groups = {0};
    cairn_plan plan;

    if (cairn_groups_unpack(&groups, &unpack) == CAIRN_OK) {
        cairn_groups_free(&groups);
    }
    if (cairn_plan_unpack(&plan, &again) == CAIRN_OK) {
        cairn_plan_free(&plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char delimiters[] = {',', ';', '\t', ','};
    check_text t;

    unpack_garbage(data, bytes);
    if (bytes < 2 || bytes > 4096) {
        return 0;
    }
    char delimiter = delimiters[data[0] & 3];
    uint64_t block_bytes = (uint64_t)(data[0] >> 2);
    size_t chunk = (size_t)data[1] + 1;
    check_open(&t, delimiter, data + 2, bytes - 2, block_bytes);
    char *expected = check_slow(&t, data + 2, bytes - 2, delimiter);
    char *guessing = check_fast(&t, chunk, false, NULL), *careful = check_fast(&t, chunk, true, NULL);
    if (strcmp(expected, guessing) != 0 || strcmp(expected, careful) != 0) {
        fprintf(stderr, "slow:\n%s\nguessing:\n%s\ncareful:\n%s\n", expected, guessing, careful);
        check_die("the readers differ");
    }
    free(expected);
    free(guessing);
    free(careful);
    check_close(&t);
    return 0;
}
