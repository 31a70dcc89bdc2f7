/* Who keeps whose copy: the rules of partner/placement.h, for every way to put up to 7 processes on up to 7 hosts, and for
 * random ones of hundreds. */
#include "partner/placement.h"

#include "support/unit.h"

#include <stdbool.h>
#include <string.h>

#define MOST 300

static uint64_t host[MOST];
static uint32_t holder[MOST], scratch[MOST];

static uint32_t largest_host(uint32_t count)
{
    uint32_t largest = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = 0;

        for (uint32_t j = 0; j < count; j++) {
            size += host[j] == host[i];
        }
        largest = size > largest ? size : largest;
    }
    return largest;
}

static bool is_right(uint32_t count)
{
    uint32_t held[MOST] = {0};
    uint32_t largest = largest_host(count);
    uint32_t others = count - largest;
    uint32_t most = largest <= others || others == 0 ? 1 : (largest + others - 1) / others;

    memset(holder, 0x55, sizeof holder);
    pl_partners(count, host, holder, scratch);
    for (uint32_t i = 0; i < count; i++) {
        if (holder[i] >= count || holder[i] == i || (others > 0 && host[holder[i]] == host[i])) {
            return false;
        }
        held[holder[i]]++;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (held[i] > most) {
            return false;
        }
    }
    return true;
}

static void test_alone(void)
{
    host[0] = 5;
    pl_partners(1, host, holder, scratch);
    CU_ASSERT_EQUAL(holder[0], PL_NONE);
}

static void test_every_small_one(void)
{
    for (uint32_t count = 2; count <= 7; count++) {
        uint64_t ways = 1;

        for (uint32_t i = 0; i < count; i++) {
            ways *= count;
        }
        for (uint64_t way = 0; way < ways; way++) {
            uint64_t left = way;

            for (uint32_t i = 0; i < count; i++) {
                host[i] = left % count;
                left /= count;
            }
            if (!is_right(count)) {
                printf("\n%u processes, way %lu\n", count, (unsigned long)way);
                CU_FAIL_FATAL("placement");
            }
        }
    }
}

static void test_random_large_ones(void)
{
    uint64_t random = 7;

    for (int round = 0; round < 300; round++) {
        uint32_t count;
        uint64_t hosts;

        random = random * 6364136223846793005U + 1442695040888963407U;
        count = 2 + (uint32_t)(random >> 33) % (MOST - 2);
        random = random * 6364136223846793005U + 1442695040888963407U;
        hosts = 1 + (random >> 33) % 40;
        for (uint32_t i = 0; i < count; i++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            host[i] = (random >> 33) % hosts % (1 + (random >> 50) % hosts) * UINT64_C(0x9e3779b97f4a7c15);
        }
        if (!is_right(count)) {
            CU_FAIL_FATAL("placement");
        }
    }
}

/* Two hosts of two: the pairs are across, and the same whoever works it out. */
static void test_two_by_two(void)
{
    uint32_t again[4];

    for (uint32_t i = 0; i < 4; i++) {
        host[i] = i < 2 ? 11 : 3;
    }
    CU_ASSERT(is_right(4));
    memcpy(again, holder, sizeof again);
    CU_ASSERT_EQUAL(holder[0], 2);
    CU_ASSERT_EQUAL(holder[1], 3);
    CU_ASSERT_EQUAL(holder[2], 0);
    CU_ASSERT_EQUAL(holder[3], 1);
    for (uint32_t i = 0; i < 4; i++) {
        host[i] = i < 2 ? 3 : 70;
    }
    CU_ASSERT(is_right(4));
    CU_ASSERT_EQUAL(memcmp(again, holder, sizeof again), 0);
}

/* Groups of two at least and `size` (or three) at most; no two processes of a host in one, if there can be so many groups. */
static bool are_groups(uint32_t count, uint32_t size)
{
    uint32_t group[MOST];
    uint32_t members[MOST] = {0};
    uint32_t largest = 0;
    uint32_t groups = 0;
    bool same = false;

    pl_groups(count, host, size, group, scratch);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t here = 0;

        members[group[i]]++;
        groups = group[i] >= groups ? group[i] + 1 : groups;
        for (uint32_t j = 0; j < count; j++) {
            here += host[j] == host[i];
            same = same || (j != i && group[j] == group[i] && host[j] == host[i]);
        }
        largest = here > largest ? here : largest;
    }
    for (uint32_t k = 0; k < groups; k++) {
        if (members[k] < 2 || members[k] > (size < 3 ? 3 : size)) {
            return false;
        }
    }
    return !same || largest > groups || largest == count;
}

static void test_groups(void)
{
    uint64_t random = 9;

    for (int trial = 0; trial < 20000; trial++) {
        uint32_t count;
        uint32_t size;
        uint64_t hosts;

        random = random * 6364136223846793005U + 1442695040888963407U;
        count = 2 + (uint32_t)(random >> 33) % (MOST - 2);
        size = 2 + (uint32_t)(random >> 43) % 15;
        hosts = 1 + (random >> 50) % 20;
        for (uint32_t i = 0; i < count; i++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            host[i] = (random >> 33) % hosts;
        }
        if (!are_groups(count, size)) {
            CU_FAIL_FATAL("groups");
        }
    }
    for (uint32_t i = 0; i < 8; i++) { /* two hosts of four: only pairs are across */
        host[i] = i / 4;
    }
    CU_ASSERT(are_groups(8, 4));
}

UNIT_MAIN("placement of copies", {"one process", test_alone}, {"two hosts of two", test_two_by_two},
          {"groups", test_groups}, {"every way to put up to 7 on hosts", test_every_small_one},
          {"random large ones", test_random_large_ones})
