/* Goal: the failure detector suspects when the paper says so, adapts, keeps its bounds, and counts no silence that
 * proves nothing.
 * Method: the tail of the normal distribution in floating point (erfc) beside the core's integers; a peer whose
 * heartbeats come when the test says so. */
#include "detector/accrual.h"
#include "support/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MS   UINT64_C(1000)
#define BEAT (50 * MS)

static const cairn_accrual_options plain = {.heartbeat_us = BEAT,
                                            .floor_us = BEAT,
                                            .patient_us = BEAT,
                                            .gone_us = BEAT,
                                            .ceiling_us = 60000 * MS,
                                            .look_us = 60000 * MS,
                                            .threshold_phi = 8000,
                                            .window = 16};

static const cairn_accrual_options bounded = {.heartbeat_us = BEAT,
                                              .floor_us = 200 * MS,
                                              .patient_us = 700 * MS,
                                              .gone_us = 300 * MS,
                                              .ceiling_us = 1500 * MS,
                                              .look_us = 40 * MS,
                                              .threshold_phi = 8000,
                                              .window = 32};

static cairn_accrual *make(uint32_t peers, const cairn_accrual_options *options, uint64_t now)
{
    void *memory = malloc(cairn_accrual_bytes(peers, options->window));
    cairn_accrual *d;

    if (memory == NULL) {
        abort();
    }
    memset(memory, 0xa5, cairn_accrual_bytes(peers, options->window)); /* the core may not count on zeros */
    d = cairn_accrual_init(memory, peers, options, now);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    return d;
}

/* Looks every 5 ms from *now on for so long. */
static void wait_for(cairn_accrual *d, uint64_t *now, uint64_t span)
{
    uint64_t end = *now + span;

    while (*now < end) {
        *now += end - *now < 5 * MS ? end - *now : 5 * MS;
        cairn_accrual_look(d, *now);
    }
}

/* So many heartbeats of peer 0 with this gap, the last one now. */
static void beat(cairn_accrual *d, uint64_t *now, unsigned count, uint64_t gap)
{
    for (unsigned i = 0; i < count; i++) {
        wait_for(d, now, gap);
        cairn_accrual_heard(d, 0, *now);
    }
}

/* Silence from now on until peer 0 is suspected. */
static uint64_t until_suspected(cairn_accrual *d, uint64_t now)
{
    uint64_t begin = now;

    while (!cairn_accrual_suspects(d, 0, now) && now < begin + 100000 * MS) {
        wait_for(d, &now, MS);
    }
    return now - begin;
}

static double true_phi(double silence, double mean, double deviation)
{
    return -log10(0.5 * erfc((silence - mean) / (deviation * sqrt(2.0))));
}

/* A full window of known gaps: what phi is must be what the formula says, at every silence. */
static void check_phi_of(const uint64_t *gaps)
{
    cairn_accrual *d = make(1, &plain, 0);
    uint64_t now = 0;
    double mean = 0.0;
    double square = 0.0;
    uint32_t last = 0;

    cairn_accrual_heard(d, 0, now);
    for (uint32_t i = 0; i < plain.window; i++) {
        now += gaps[i];
        cairn_accrual_look(d, now);
        cairn_accrual_heard(d, 0, now);
        mean += (double)gaps[i] / plain.window;
    }
    for (uint32_t i = 0; i < plain.window; i++) {
        square += ((double)gaps[i] - mean) * ((double)gaps[i] - mean) / plain.window;
    }
    square = fmax(sqrt(square), (double)BEAT / 8.0);
    for (uint64_t silence = 0; silence < 1000 * MS; silence += 777) {
        uint32_t phi = cairn_accrual_phi(d, 0, now + silence);
        double expected = true_phi((double)silence, mean, square) * 1000.0;

        CU_ASSERT_TRUE_FATAL(phi >= last);
        /* In thousandths; what comes of deviation and mean being whole microseconds grows with phi. */
        CU_ASSERT_TRUE_FATAL(fabs(phi - fmin(expected, CAIRN_ACCRUAL_PHI_MAX)) <= 1.6 + expected * 0.0004);
        last = phi;
    }
    CU_ASSERT_EQUAL(last, CAIRN_ACCRUAL_PHI_MAX);
    free(d);
}

static void phi_is_that_of_the_formula(void)
{
    uint64_t gaps[16];

    for (uint64_t i = 0; i < 16; i++) {
        gaps[i] = 40 * MS + i * 1700;
    }
    check_phi_of(gaps);
    for (uint64_t i = 0; i < 16; i++) {
        gaps[i] = i % 4 == 0 ? 130 * MS : 30 * MS + i * 97;
    }
    check_phi_of(gaps);
    for (uint64_t i = 0; i < 16; i++) {
        gaps[i] = BEAT;
    }
    check_phi_of(gaps); /* no spread at all: an eighth of a heartbeat */
}

/* Values that anybody can look up: at the mean one half, at 1.2816, 2.3263, 3.0902, 3.7190 deviations 10^-1 .. 10^-4. */
static void phi_of_the_quantiles(void)
{
    static const double quantiles[] = {0.0, 1.281551566, 2.326347874, 3.090232306, 3.719016485};
    cairn_accrual *d = make(1, &plain, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    for (int i = 0; i < 16; i++) { /* mean 50 ms, deviation 20 ms */
        now += i % 2 == 0 ? 30 * MS : 70 * MS;
        cairn_accrual_look(d, now);
        cairn_accrual_heard(d, 0, now);
    }
    for (int i = 0; i < 5; i++) {
        uint32_t phi = cairn_accrual_phi(d, 0, now + 50 * MS + (uint64_t)(quantiles[i] * 20e3 + 0.5));

        CU_ASSERT_TRUE(abs((int)phi - (i == 0 ? 301 : 1000 * i)) <= 2);
    }
    CU_ASSERT_EQUAL(cairn_accrual_phi(d, 0, now), 3); /* 2.5 deviations below the mean: 0.0027 */
    free(d);
}

/* phi = 8 is at 5.612 deviations. */
static void threshold_is_where_it_suspects(void)
{
    cairn_accrual *d = make(1, &plain, 0);
    uint64_t now = 0;
    uint64_t allowed;

    cairn_accrual_heard(d, 0, now);
    for (int i = 0; i < 16; i++) {
        now += i % 2 == 0 ? 30 * MS : 70 * MS;
        cairn_accrual_look(d, now);
        cairn_accrual_heard(d, 0, now);
    }
    allowed = cairn_accrual_allowed(d, 0);
    CU_ASSERT_TRUE(fabs((double)allowed - (50e3 + 5.6120 * 20e3)) < 30.0);
    CU_ASSERT_TRUE(cairn_accrual_phi(d, 0, now + allowed) >= 8000);
    CU_ASSERT_TRUE(cairn_accrual_phi(d, 0, now + allowed - 40) < 8000);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now + allowed - 1));
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now + allowed));
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), now + allowed);
    free(d);
}

/* Quiet: the floor. Then gaps jitter: the allowed silence grows, over what phi says to more than the longest gap. Then
 * quiet again: once the window has forgotten, the floor. */
static void adapts(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;
    uint64_t jittery;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), now + 200 * MS);
    for (int i = 0; i < 16; i++) {
        beat(d, &now, 1, 30 * MS);
        beat(d, &now, 1, 150 * MS);
    }
    jittery = cairn_accrual_allowed(d, 0);
    CU_ASSERT_TRUE(jittery > 400 * MS && jittery < 500 * MS); /* 90 + 5.6 * 60 */
    beat(d, &now, 32, BEAT);                                  /* the window has forgotten */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    beat(d, &now, 1, 190 * MS); /* one long gap in a quiet window: at least as long, and a quarter, is allowed again */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 237500);
    free(d);
}

/* What was once is remembered for longer than the window. */
static void longest_gap_fades(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;
    uint64_t allowed = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    beat(d, &now, 1, 800 * MS);
    CU_ASSERT_TRUE(cairn_accrual_allowed(d, 0) >= 1000 * MS);
    beat(d, &now, 710, BEAT);
    allowed = cairn_accrual_allowed(d, 0);
    CU_ASSERT_TRUE(allowed > 495 * MS && allowed < 505 * MS);
    beat(d, &now, 710, BEAT);
    allowed = cairn_accrual_allowed(d, 0);
    CU_ASSERT_TRUE(allowed > 245 * MS && allowed < 255 * MS);
    beat(d, &now, 710, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    free(d);
}

static void longest_gap_counts_for_more_than_phi(void)
{
    cairn_accrual_options wide = bounded;
    cairn_accrual *d;
    uint64_t now = 0;

    wide.window = 512;
    d = make(1, &wide, 0);
    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 600, BEAT);
    beat(d, &now, 1, 400 * MS); /* deviation 15 ms: phi alone would allow 143 ms */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 500 * MS);
    free(d);
}

static void ceiling_holds(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    for (int i = 0; i < 40; i++) {
        beat(d, &now, 1, i % 2 == 0 ? 5000 * MS : 20 * MS);
    }
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 1500 * MS);
    CU_ASSERT_EQUAL(until_suspected(d, now), 1500 * MS);
    free(d);
}

/* A burst between heartbeats ends silences, and leaves the window as it is. */
static void bursts_are_no_samples(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;
    uint64_t allowed;

    cairn_accrual_heard(d, 0, now);
    for (int i = 0; i < 20; i++) {
        beat(d, &now, 1, i % 2 == 0 ? 30 * MS : 150 * MS);
    }
    allowed = cairn_accrual_allowed(d, 0);
    beat(d, &now, 1000, 2 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), allowed);
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, now), 0);
    CU_ASSERT_EQUAL(until_suspected(d, now), (allowed + MS - 1) / MS * MS);
    free(d);
}

/* Nothing is known of a peer that was never heard: only the ceiling. It is given long until a quarter of the window is
 * filled, two guessed gaps included. */
static void never_heard(void)
{
    cairn_accrual *d = make(2, &bounded, 1000 * MS);
    uint64_t now = 1000 * MS;

    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 1500 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), 2500 * MS);
    wait_for(d, &now, 1000 * MS);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    cairn_accrual_heard(d, 0, now);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 700 * MS);
    beat(d, &now, 5, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 700 * MS);
    beat(d, &now, 1, BEAT);
    CU_ASSERT_TRUE(cairn_accrual_allowed(d, 0) < 250 * MS); /* the long begin was no gap */
    wait_for(d, &now, 250 * MS);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 1, now));
    cairn_accrual_heard(d, 1, now);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 1, now));
    free(d);
}

static void trusted_again(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    wait_for(d, &now, 1000 * MS);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_EQUAL(cairn_accrual_phi(d, 0, now), CAIRN_ACCRUAL_PHI_MAX);
    cairn_accrual_heard(d, 0, now);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_TRUE(cairn_accrual_phi(d, 0, now) < 301);
    CU_ASSERT_TRUE(cairn_accrual_allowed(d, 0) >= 1250 * MS); /* what was so long once may be again */
    free(d);
}

static void forgiven_once(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    wait_for(d, &now, 100 * MS);
    cairn_accrual_forgive(d, 0, 3000 * MS);
    cairn_accrual_forgive(d, 0, 2000 * MS); /* not added up, not shortened */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 3200 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), now + 3100 * MS);
    wait_for(d, &now, 3099 * MS);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    wait_for(d, &now, 1 * MS);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    cairn_accrual_heard(d, 0, now); /* over, and the gap of 3.2 s is none of those to be expected */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    cairn_accrual_forgive(d, 0, 3000 * MS);
    beat(d, &now, 1, 60 * MS); /* it did not need it */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    cairn_accrual_forgive(d, 0, UINT64_MAX);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), CAIRN_ACCRUAL_NEVER);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), CAIRN_ACCRUAL_NEVER);
    wait_for(d, &now, 60000 * MS);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    free(d);
}

/* Who did not look for 30 s has waited for 40 ms: look_us. */
static void observers_pause_is_nobodys_silence(void)
{
    cairn_accrual *d = make(2, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    wait_for(d, &now, 60 * MS);
    now += 30000 * MS;
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, now), 100 * MS); /* asked before it looks: the same */
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    cairn_accrual_look(d, now);
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, now), 100 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), now + 600 * MS); /* it knows of its lateness: 700 ms are allowed */
    CU_ASSERT_EQUAL(until_suspected(d, now), 600 * MS);
    now += 600 * MS;
    cairn_accrual_heard(d, 0, now);
    /* One that gets to look only every 100 ms waits at two fifths of the speed. */
    for (int i = 0; i < 6; i++) {
        now += 100 * MS;
        cairn_accrual_look(d, now);
    }
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, now), 240 * MS);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    free(d);
}

/* Looks that come 90 ms apart: others are given four times as long, for half a minute to a minute. */
static void own_lateness_makes_patient(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    now += 40 * MS;
    cairn_accrual_look(d, now);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS); /* look_us is in time */
    now += 90 * MS;
    cairn_accrual_look(d, now);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 360 * MS);
    now += 60 * MS;
    cairn_accrual_look(d, now);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 360 * MS);
    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 500, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 360 * MS);
    beat(d, &now, 800, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    free(d);
}

static void known_to_exist_is_given_longer(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    beat(d, &now, 40, BEAT);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_EXISTS);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 700 * MS);
    wait_for(d, &now, 500 * MS);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_TRUE(cairn_accrual_phi(d, 0, now) > 8000); /* phi says what it says */
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_UNKNOWN);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    free(d);
}

static void out_of_reach_is_given_no_longer_than_that(void)
{
    cairn_accrual *d = make(1, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_UNREACHABLE);
    beat(d, &now, 5, BEAT); /* not well known yet */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 300 * MS);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_UNKNOWN);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 700 * MS);
    beat(d, &now, 40, BEAT);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_UNREACHABLE);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS); /* nor longer than any other */
    wait_for(d, &now, 1000 * MS);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_EXISTS);
    cairn_accrual_heard(d, 0, now); /* its longest gap */
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 1250 * MS);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_UNREACHABLE);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 300 * MS);
    cairn_accrual_forgive(d, 0, 100 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 400 * MS);
    free(d);
}

static void dead_is_for_good(void)
{
    cairn_accrual *d = make(2, &bounded, 0);
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_EXISTS);
    cairn_accrual_forgive(d, 0, 5000 * MS);
    beat(d, &now, 3, BEAT);
    cairn_accrual_dead(d, 0);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_EQUAL(cairn_accrual_phi(d, 0, now), CAIRN_ACCRUAL_PHI_MAX);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 0);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), now);
    cairn_accrual_heard(d, 0, now); /* it was still on its way */
    cairn_accrual_forgive(d, 0, 5000 * MS);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 1, now));
    free(d);
}

static void replaced_begins_anew(void)
{
    cairn_accrual *d = make(2, &bounded, 0);
    cairn_accrual *fresh;
    uint64_t now = 0;

    cairn_accrual_heard(d, 0, now);
    cairn_accrual_known(d, 0, CAIRN_ACCRUAL_EXISTS);
    beat(d, &now, 20, 150 * MS);
    cairn_accrual_dead(d, 0);
    wait_for(d, &now, 5000 * MS);
    cairn_accrual_forget(d, 0, now);
    fresh = make(2, &bounded, now);
    for (int i = 0; i < 60; i++) {
        CU_ASSERT_EQUAL(cairn_accrual_suspects(d, 0, now), cairn_accrual_suspects(fresh, 0, now));
        CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), cairn_accrual_allowed(fresh, 0));
        CU_ASSERT_EQUAL(cairn_accrual_phi(d, 0, now), cairn_accrual_phi(fresh, 0, now));
        CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), cairn_accrual_deadline(fresh, 0));
        now += (i < 40 ? 50 : 35) * MS;
        cairn_accrual_look(d, now);
        cairn_accrual_look(fresh, now);
        if (i > 2 && i < 40) {
            cairn_accrual_heard(d, 0, now);
            cairn_accrual_heard(fresh, 0, now);
        }
    }
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    free(d);
    free(fresh);
}

static void peers_are_apart(void)
{
    cairn_accrual *d = make(3, &bounded, 0);
    uint64_t now = 0;

    for (int i = 0; i < 40; i++) {
        wait_for(d, &now, BEAT);
        cairn_accrual_heard(d, 0, now);
        cairn_accrual_heard(d, 2, i % 3 == 0 ? now : 0);
    }
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 0), 200 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 1), 1500 * MS);
    CU_ASSERT_TRUE(cairn_accrual_allowed(d, 2) >= 200 * MS);
    wait_for(d, &now, 250 * MS);
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 0, now));
    CU_ASSERT_TRUE(cairn_accrual_suspects(d, 1, now));
    free(d);
}

static bool refused(cairn_accrual_options o)
{
    static char memory[8192];

    CU_ASSERT_TRUE(sizeof memory >= cairn_accrual_bytes(1, o.window));
    return cairn_accrual_init(memory, 1, &o, 0) == NULL;
}

static void bad_options(void)
{
    cairn_accrual_options o;

    CU_ASSERT_PTR_NULL(cairn_accrual_init(NULL, 1, &bounded, 0));
    o = bounded;
    o.heartbeat_us = 0;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.heartbeat_us = 200 * MS + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.floor_us = 700 * MS + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.patient_us = 1500 * MS + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.gone_us = 200 * MS - 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.gone_us = CAIRN_ACCRUAL_TIME_MAX + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.ceiling_us = CAIRN_ACCRUAL_TIME_MAX + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.look_us = 0;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.look_us = CAIRN_ACCRUAL_TIME_MAX + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.threshold_phi = 0;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.threshold_phi = CAIRN_ACCRUAL_PHI_MAX + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.window = 3;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.window = CAIRN_ACCRUAL_WINDOW_MAX + 1;
    CU_ASSERT_TRUE(refused(o));
    o = bounded;
    o.window = CAIRN_ACCRUAL_WINDOW_MAX;
    o.ceiling_us = CAIRN_ACCRUAL_TIME_MAX;
    o.threshold_phi = CAIRN_ACCRUAL_PHI_MAX;
    CU_ASSERT_FALSE(refused(o));
    o = bounded;
    o.heartbeat_us = o.floor_us = o.patient_us = o.gone_us = o.ceiling_us = 1;
    CU_ASSERT_FALSE(refused(o));
}

static void bad_peers_and_times(void)
{
    cairn_accrual *d = make(2, &bounded, 5000 * MS);
    uint64_t now = 5000 * MS;

    cairn_accrual_heard(d, 2, now);
    cairn_accrual_forgive(d, UINT32_MAX, 1);
    cairn_accrual_known(d, 2, CAIRN_ACCRUAL_EXISTS);
    cairn_accrual_dead(d, 2);
    cairn_accrual_forget(d, 2, now);
    CU_ASSERT_FALSE(cairn_accrual_suspects(d, 2, UINT64_MAX));
    CU_ASSERT_EQUAL(cairn_accrual_phi(d, 2, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 2, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(cairn_accrual_allowed(d, 2), CAIRN_ACCRUAL_NEVER);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 2), CAIRN_ACCRUAL_NEVER);
    cairn_accrual_heard(d, 0, now);
    wait_for(d, &now, BEAT);
    cairn_accrual_look(d, 0); /* a clock that goes back stands still */
    cairn_accrual_heard(d, 0, 0);
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, 0), 0);
    wait_for(d, &now, BEAT);
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, now), BEAT);
    cairn_accrual_look(d, UINT64_MAX); /* and one that jumps is a pause */
    CU_ASSERT_EQUAL(cairn_accrual_silence(d, 0, UINT64_MAX), 90 * MS);
    CU_ASSERT_EQUAL(cairn_accrual_deadline(d, 0), CAIRN_ACCRUAL_NEVER);
    free(d);
}

UNIT_MAIN("accrual", {"phi_is_that_of_the_formula", phi_is_that_of_the_formula},
          {"phi_of_the_quantiles", phi_of_the_quantiles},
          {"threshold_is_where_it_suspects", threshold_is_where_it_suspects}, {"adapts", adapts},
          {"longest_gap_fades", longest_gap_fades},
          {"longest_gap_counts_for_more_than_phi", longest_gap_counts_for_more_than_phi},
          {"ceiling_holds", ceiling_holds}, {"bursts_are_no_samples", bursts_are_no_samples},
          {"never_heard", never_heard}, {"trusted_again", trusted_again}, {"forgiven_once", forgiven_once},
          {"observers_pause_is_nobodys_silence", observers_pause_is_nobodys_silence},
          {"own_lateness_makes_patient", own_lateness_makes_patient},
          {"known_to_exist_is_given_longer", known_to_exist_is_given_longer},
          {"out_of_reach_is_given_no_longer_than_that", out_of_reach_is_given_no_longer_than_that},
          {"dead_is_for_good", dead_is_for_good}, {"replaced_begins_anew", replaced_begins_anew},
          {"peers_are_apart", peers_are_apart}, {"bad_options", bad_options},
          {"bad_peers_and_times", bad_peers_and_times})
