/* Goal: memory that is brought in by another thread keeps what is in it, and can be filled meanwhile; small and odd pieces do no harm.
 */
#include "base/populate.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define BYTES ((size_t)40 << 20)

static void contents_stay(void)
{
    unsigned char *data = calloc(1, BYTES);
    cairn_populate *c;

    CU_ASSERT_FATAL(data != NULL);
    for (size_t i = 0; i < BYTES; i += 4096) {
        data[i] = (unsigned char)(i >> 12);
    }
    for (int round = 0; round < 20; round++) {
        c = cairn_populate_begin(data + 13 * round, BYTES - 100 * (size_t)round - 13 * 20);
        memset(data + 1, round, 4095); /* while it is at work */
        cairn_populate_end(c);
    }
    for (size_t i = 0; i < BYTES; i += 4096) {
        CU_ASSERT_FATAL(data[i] == (unsigned char)(i >> 12));
        CU_ASSERT_FATAL(data[i + 1] == (i == 0 ? 19 : 0));
    }
    free(data);
}

static void small_pieces(void)
{
    char data[100];

    cairn_populate_end(cairn_populate_begin(data, 0));
    cairn_populate_end(cairn_populate_begin(data, sizeof data));
    cairn_populate_end(NULL);
}

UNIT_MAIN("populate", {"contents stay", contents_stay}, {"small pieces", small_pieces})
