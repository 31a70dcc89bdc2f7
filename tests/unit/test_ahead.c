/* Goal: what is read ahead is what is in the file, as far as it is there; what nobody wants any more does no harm.
 * Method: random ranges of a file, wanted, forgotten and taken in random pieces, checked byte by byte; a file that is shorter
 * than what is wanted of it, and one that cannot be read. */
#include "dataset/ahead.h"
#include "support/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 3 << 20 };

static uint64_t rng_state = 0x77aa1234567u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static char expected[BYTES], got[BYTES];
static int fd;

static void begin(void)
{
    char path[] = "/tmp/cairn-unit-ahead-XXXXXX";

    fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0 && unlink(path) == 0);
    for (size_t i = 0; i + 8 <= BYTES; i += 8) {
        uint64_t word = rng();
        memcpy(expected + i, &word, 8);
    }
    CU_ASSERT_FATAL(pwrite(fd, expected, BYTES, 0) == BYTES);
}

/* Take all that there is of a block: how much. 0: its thread had not begun. */
static uint64_t take_all(cairn_ahead *ahead, uint32_t block, uint64_t from)
{
    uint64_t at = from;
    size_t some;

    while ((some = cairn_ahead_take(ahead, block, at, got, 1 + rng() % 500000)) > 0) {
        CU_ASSERT_FATAL(at + some <= BYTES && memcmp(got, expected + at, some) == 0);
        at += some;
    }
    return at - from;
}

static void blocks_are_what_is_in_the_file(cairn_ahead_way way)
{
    static const uint32_t depths[] = {1, 2, 7, CAIRN_AHEAD_MAX};

    for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        cairn_ahead *ahead;
        uint64_t from[12], to[12];
        uint32_t whole = 0;
        CU_ASSERT_FATAL(cairn_ahead_open(&ahead, depths[d], way) == CAIRN_OK);
        for (uint32_t i = 0; i < 12; i++) {
            from[i] = rng() % BYTES;
            to[i] = from[i] + 1 + rng() % (BYTES - from[i]);
        }
        for (int round = 0; whole < 20 && round < 1000000; round++) {
            uint32_t block = (uint32_t)(rng() % 12), keep[2] = {block, (uint32_t)(rng() % 12)};
            switch (rng() % 4) {
            case 0:
                cairn_ahead_want(ahead, block, fd, from[block], to[block]);
                break;
            case 1: /* its thread has a chance to begin */
                (void)usleep(100);
                break;
            case 2:
                cairn_ahead_keep(ahead, keep, (uint32_t)(rng() % 3));
                break;
            default: {
                uint64_t bytes = take_all(ahead, block, from[block]);
                CU_ASSERT(bytes == 0 || bytes == to[block] - from[block]);
                whole += bytes > 0;
            }
            }
        }
        CU_ASSERT(whole == 20);
        CU_ASSERT(cairn_ahead_take(ahead, 99, 0, got, 10) == 0);
        cairn_ahead_close(ahead);
    }
}

static void a_block_that_is_not_all_there(cairn_ahead_way way)
{
    cairn_ahead *ahead;
    uint64_t bytes = 0;
    int closed = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CU_ASSERT_FATAL(cairn_ahead_open(&ahead, 2, way) == CAIRN_OK && closed >= 0);
    while (bytes == 0) { /* until a thread was in time */
        cairn_ahead_keep(ahead, NULL, 0);
        cairn_ahead_want(ahead, 1, fd, BYTES - 1000, BYTES + 5000);
        cairn_ahead_want(ahead, 2, closed, 0, 5000); /* a folder cannot be read */
        bytes = take_all(ahead, 1, BYTES - 1000);
        CU_ASSERT(cairn_ahead_take(ahead, 2, 0, got, 10) == 0);
    }
    CU_ASSERT(bytes == 1000);
    CU_ASSERT(cairn_ahead_take(ahead, 1, BYTES - 1001, got, 10) == 0);
    CU_ASSERT(cairn_ahead_take(ahead, 1, BYTES + 5000, got, 10) == 0);
    cairn_ahead_close(ahead);
    cairn_ahead_close(NULL);
    (void)close(closed);
}

static void by_threads(void)
{
    blocks_are_what_is_in_the_file(CAIRN_AHEAD_THREADS);
    a_block_that_is_not_all_there(CAIRN_AHEAD_THREADS);
}

/* Where there is none, threads do it. */
static void by_io_uring(void)
{
    cairn_ahead *ahead;
    cairn_status status = cairn_ahead_open(&ahead, 3, CAIRN_AHEAD_URING);
    cairn_ahead_way way = status == CAIRN_OK ? CAIRN_AHEAD_URING : CAIRN_AHEAD_THREADS;

    CU_ASSERT_FATAL(status == CAIRN_OK || status == CAIRN_E_NOT_FOUND);
    cairn_ahead_close(ahead);
    CU_ASSERT_FATAL(cairn_ahead_open(&ahead, 3, CAIRN_AHEAD_ANY) == CAIRN_OK);
    CU_ASSERT(cairn_ahead_is(ahead) == way && cairn_ahead_can(CAIRN_AHEAD_URING) == (status == CAIRN_OK));
    cairn_ahead_close(ahead);
    blocks_are_what_is_in_the_file(way);
    a_block_that_is_not_all_there(way);
}

static void closed_while_reads_are_under_way(void)
{
    for (int round = 0; round < 200; round++) {
        cairn_ahead *ahead;
        CU_ASSERT_FATAL(cairn_ahead_open(&ahead, 4, round % 2 == 0 ? CAIRN_AHEAD_ANY : CAIRN_AHEAD_THREADS) ==
                        CAIRN_OK);
        for (uint32_t i = 0; i < 4; i++) {
            cairn_ahead_want(ahead, i, fd, rng() % BYTES, BYTES);
        }
        if (round % 3 == 0) {
            cairn_ahead_keep(ahead, NULL, 0);
        }
        cairn_ahead_close(ahead);
    }
    (void)close(fd);
}

UNIT_MAIN("ahead", {"a file", begin}, {"by threads", by_threads}, {"by io_uring", by_io_uring},
          {"closed while reads are under way", closed_while_reads_are_under_way})
