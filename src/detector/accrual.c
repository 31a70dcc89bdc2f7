/* The phi accrual failure detector in integers (accrual.h says what it does).
 *
 * Invariants, of every peer that is not dead:
 *   I1  count samples lie in gaps[0 .. count-1], next is where the following one goes, each within 1 .. ceiling
 *   I2  mean and deviation are those of the samples; deviation is at least heartbeat / DEVIATION_PARTS; longest is at
 *       least as long as the newest sample
 *   I3  floor <= allowed <= ceiling, and allowed < ceiling only if phi reaches the threshold at it
 *   I4  last <= attended: silence is never negative
 * attended never goes back, and never runs ahead of the clock. */
#include "detector/accrual.h"

#include <string.h>

#define DEVIATION_PARTS 8u    /* of a heartbeat: gaps that seem to have no spread at all have this much */
#define LONGEST_SHARE   4u    /* the longest gap that was may be longer by this part of it              */
#define LONGEST_FADES   1024u /* with each sample it fades by this part: by half in 710 heartbeats */

#define LATE_TIMES 4u                 /* the observer's own lateness, so many times, is allowed to others */
#define LATE_SPAN  UINT64_C(30000000) /* attended; it is remembered for one to two of these */

typedef struct peer {
    uint64_t last;  /* attended time of the last sign of life, or when waiting began */
    uint64_t extra; /* forgiven                                                       */
    uint64_t mean, deviation, longest, allowed;
    uint32_t count, next;
    bool heard, dead;
    cairn_accrual_word known;
} peer;

struct cairn_accrual {
    cairn_accrual_options options;
    uint32_t peers;
    int64_t threshold_z;          /* the smallest z of which phi is the threshold or more */
    uint64_t looked, attended;    /* the last look, and the attended time then            */
    uint64_t late[2], late_since; /* the longest time between two looks, in this span and the one before */
    uint32_t *gaps;               /* [peers][window] */
    peer peer[];
};

/* ---------------------------------------------------------------- the tail of the normal distribution */

/* -log10 of the probability that a normal variable is more than z deviations above its mean, in millionths, for
 * z = -4, -3.75, ... 10.25. Between them by a cubic through four of them: off by less than 10^-5. */
static const uint32_t tail[] = {
    14,       38,       101,      251,      587,      1296,     2705,     5342,     9994,     17756,
    30029,    48492,    75026,    111611,   160231,   222786,   301030,   396538,   510692,   644688,
    799546,   976131,   1175177,  1397298,  1643016,  1912770,  2206932,  2525818,  2869699,  3238805,
    3633336,  4053463,  4499335,  4971082,  5468818,  5992644,  6542646,  7118903,  7721485,  8350454,
    9005864,  9687767,  10396206, 11131223, 11892854, 12681132, 13496088, 14337750, 15206143, 16101290,
    17023213, 17971932, 18947464, 19949828, 20979038, 22035108, 23118053, 24227885};

#define TAIL_COUNT (sizeof tail / sizeof tail[0])
#define TAIL_BELOW 4    /* deviations below the mean at which the table begins */
#define STEP       1024 /* of z: there are 4 entries a deviation               */
#define ONE        (4 * STEP)
#define Z_MAX      ((int64_t)(TAIL_COUNT - 2 - 4 * TAIL_BELOW) * STEP) /* the last with an entry on both sides */

/* z in 1/4096 deviations; thousandths. */
static uint32_t phi_of(int64_t z)
{
    int64_t at = z + (int64_t)TAIL_BELOW * ONE;
    int64_t k = at / STEP;
    int64_t t = at % STEP;
    int64_t sum;

    if (at < STEP) {
        return 0;
    }
    if (z >= Z_MAX) {
        return CAIRN_ACCRUAL_PHI_MAX;
    }
    sum = -t * (t - STEP) * (t - 2 * STEP) * (int64_t)tail[k - 1];
    sum += 3 * (t + STEP) * (t - STEP) * (t - 2 * STEP) * (int64_t)tail[k];
    sum += -3 * (t + STEP) * t * (t - 2 * STEP) * (int64_t)tail[k + 1];
    sum += (t + STEP) * t * (t - STEP) * (int64_t)tail[k + 2];
    sum /= (int64_t)6 * STEP * STEP * STEP;
    sum = (sum + 500) / 1000;
    return sum < (int64_t)CAIRN_ACCRUAL_PHI_MAX ? (uint32_t)sum : CAIRN_ACCRUAL_PHI_MAX;
}

static int64_t z_of(uint32_t phi)
{
    int64_t low = -(int64_t)TAIL_BELOW * ONE;
    int64_t high = Z_MAX;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (phi_of(middle) >= phi) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static uint64_t square_root(uint64_t square)
{
    uint64_t root = 0;

    for (uint64_t bit = UINT64_C(1) << 31; bit != 0; bit >>= 1) {
        if ((root + bit) * (root + bit) <= square) {
            root += bit;
        }
    }
    return root;
}

/* ---------------------------------------------------------------- a peer's window */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The silence at which phi is the threshold: never rounded down to one at which it is not. */
static uint64_t silence_at_threshold(const cairn_accrual *d, const peer *p)
{
    int64_t above = d->threshold_z * (int64_t)p->deviation;
    int64_t silence = (int64_t)p->mean + (above >= 0 ? (above + ONE - 1) / ONE : -(-above / ONE));

    return silence > 0 ? (uint64_t)silence : 0;
}

static void summarize(const cairn_accrual *d, peer *p)
{
    const uint32_t *gaps = d->gaps + (size_t)(p - d->peer) * d->options.window;
    uint64_t sum = 0;
    uint64_t squares = 0;

    for (uint32_t i = 0; i < p->count; i++) {
        sum += gaps[i];
    }
    p->mean = (sum + p->count / 2) / p->count;
    for (uint32_t i = 0; i < p->count; i++) {
        uint64_t off = gaps[i] > p->mean ? gaps[i] - p->mean : p->mean - gaps[i];

        squares += off * off;
    }
    p->deviation = larger(square_root(squares / p->count), d->options.heartbeat_us / DEVIATION_PARTS);
    p->deviation = larger(p->deviation, 1);
    p->allowed = larger(silence_at_threshold(d, p), p->longest + p->longest / LONGEST_SHARE);
    p->allowed = larger(p->allowed, d->options.floor_us);
    p->allowed = p->allowed < d->options.ceiling_us ? p->allowed : d->options.ceiling_us;
}

static void add_sample(cairn_accrual *d, peer *p, uint64_t gap)
{
    uint32_t *gaps = d->gaps + (size_t)(p - d->peer) * d->options.window;

    gap = gap < d->options.ceiling_us ? gap : d->options.ceiling_us;
    gaps[p->next] = (uint32_t)larger(gap, 1);
    p->next = (p->next + 1) % d->options.window;
    p->count += p->count < d->options.window ? 1 : 0;
    p->longest = larger(p->longest - p->longest / LONGEST_FADES, gap);
    summarize(d, p);
}

/* ---------------------------------------------------------------- the detector */

static bool are_good(const cairn_accrual_options *o)
{
    return o->heartbeat_us > 0 && o->floor_us >= o->heartbeat_us && o->patient_us >= o->floor_us &&
           o->gone_us >= o->floor_us && o->gone_us <= CAIRN_ACCRUAL_TIME_MAX && o->ceiling_us >= o->patient_us &&
           o->ceiling_us <= CAIRN_ACCRUAL_TIME_MAX && o->look_us > 0 && o->look_us <= CAIRN_ACCRUAL_TIME_MAX &&
           o->threshold_phi > 0 && o->threshold_phi <= CAIRN_ACCRUAL_PHI_MAX && o->window >= 4 &&
           o->window <= CAIRN_ACCRUAL_WINDOW_MAX;
}

cairn_accrual_options cairn_accrual_defaults(uint64_t heartbeat_us)
{
    cairn_accrual_options o = {.heartbeat_us = heartbeat_us, .threshold_phi = 8000, .window = 100, .look_us = 25000};

    o.floor_us = larger(3 * heartbeat_us, 250000);
    o.patient_us = larger(o.floor_us, 1000000);
    o.gone_us = larger(o.floor_us, 400000);
    o.ceiling_us = larger(o.patient_us, 2000000);
    return o;
}

size_t cairn_accrual_bytes(uint32_t peers, uint32_t window)
{
    return sizeof(cairn_accrual) + peers * (sizeof(peer) + (size_t)window * sizeof(uint32_t));
}

static uint64_t attended_at(const cairn_accrual *d, uint64_t now)
{
    uint64_t since = now > d->looked ? now - d->looked : 0;

    return d->attended + (since < d->options.look_us ? since : d->options.look_us);
}

static void begin(cairn_accrual *d, uint32_t i, uint64_t now)
{
    peer *p = &d->peer[i];

    memset(p, 0, sizeof *p);
    p->last = attended_at(d, now);
    add_sample(d, p, d->options.heartbeat_us / 2);
    add_sample(d, p, d->options.heartbeat_us + (d->options.heartbeat_us + 1) / 2);
}

cairn_accrual *cairn_accrual_init(void *memory, uint32_t peers, const cairn_accrual_options *options, uint64_t now_us)
{
    cairn_accrual *d = memory;

    if (memory == NULL || !are_good(options)) {
        return NULL;
    }
    memset(d, 0, cairn_accrual_bytes(peers, options->window));
    d->options = *options;
    d->peers = peers;
    d->gaps = (uint32_t *)(void *)&d->peer[peers];
    d->looked = now_us;
    d->threshold_z = z_of(options->threshold_phi);
    for (uint32_t i = 0; i < peers; i++) {
        begin(d, i, now_us);
    }
    return d;
}

/* How late looks come says how late others may be, which share these cores or have as few. */
static void note_lateness(cairn_accrual *d, uint64_t now)
{
    uint64_t gap = now > d->looked ? now - d->looked : 0;

    if (d->attended - d->late_since >= LATE_SPAN) {
        d->late[1] = d->late[0];
        d->late[0] = 0;
        d->late_since = d->attended;
    }
    d->late[0] = gap > d->options.look_us ? larger(d->late[0], gap) : d->late[0];
}

static uint64_t allowed_for_lateness(const cairn_accrual *d)
{
    uint64_t late = larger(d->late[0], d->late[1]);

    return late < d->options.patient_us / LATE_TIMES ? late * LATE_TIMES : d->options.patient_us;
}

void cairn_accrual_look(cairn_accrual *d, uint64_t now_us)
{
    note_lateness(d, now_us);
    d->attended = attended_at(d, now_us);
    d->looked = larger(d->looked, now_us);
}

void cairn_accrual_heard(cairn_accrual *d, uint32_t i, uint64_t now_us)
{
    peer *p = &d->peer[i];
    uint64_t now;
    uint64_t gap;

    if (i >= d->peers || p->dead) {
        return;
    }
    now = attended_at(d, now_us);
    gap = now > p->last ? now - p->last : 0;
    /* The first one says nothing about gaps, nor does one that was forgiven and needed it. */
    if (p->heard && gap >= d->options.heartbeat_us / 2 && (p->extra == 0 || gap < p->allowed)) {
        add_sample(d, p, gap);
    }
    p->last = larger(p->last, now);
    p->heard = true;
    p->extra = 0;
}

void cairn_accrual_forgive(cairn_accrual *d, uint32_t i, uint64_t extra_us)
{
    if (i < d->peers) {
        d->peer[i].extra = larger(d->peer[i].extra, extra_us);
    }
}

void cairn_accrual_known(cairn_accrual *d, uint32_t i, cairn_accrual_word word)
{
    if (i < d->peers) {
        d->peer[i].known = word;
    }
}

void cairn_accrual_dead(cairn_accrual *d, uint32_t i)
{
    if (i < d->peers) {
        d->peer[i].dead = true;
    }
}

void cairn_accrual_forget(cairn_accrual *d, uint32_t i, uint64_t now_us)
{
    if (i < d->peers) {
        begin(d, i, now_us);
    }
}

uint64_t cairn_accrual_silence(const cairn_accrual *d, uint32_t i, uint64_t now_us)
{
    uint64_t now = attended_at(d, now_us);

    return i < d->peers && now > d->peer[i].last ? now - d->peer[i].last : 0;
}

uint32_t cairn_accrual_phi(const cairn_accrual *d, uint32_t i, uint64_t now_us)
{
    const peer *p = &d->peer[i];
    int64_t over;

    if (i >= d->peers) {
        return 0;
    }
    if (p->dead) {
        return CAIRN_ACCRUAL_PHI_MAX;
    }
    over = (int64_t)cairn_accrual_silence(d, i, now_us) - (int64_t)p->mean;
    /* Far out the product would not fit. */
    if (over / Z_MAX > (int64_t)p->deviation) {
        return CAIRN_ACCRUAL_PHI_MAX;
    }
    return phi_of(over * ONE / (int64_t)p->deviation);
}

uint64_t cairn_accrual_allowed(const cairn_accrual *d, uint32_t i)
{
    const peer *p = &d->peer[i];
    uint64_t allowed;

    if (i >= d->peers) {
        return CAIRN_ACCRUAL_NEVER;
    }
    if (p->dead) {
        return 0;
    }
    allowed = p->heard ? p->allowed : d->options.ceiling_us;
    allowed = larger(allowed, allowed_for_lateness(d));
    allowed = p->known == CAIRN_ACCRUAL_EXISTS || p->count < d->options.window / 4
                  ? larger(allowed, d->options.patient_us)
                  : allowed;
    if (p->known == CAIRN_ACCRUAL_UNREACHABLE && allowed > d->options.gone_us) {
        allowed = d->options.gone_us;
    }
    return allowed + p->extra >= allowed ? allowed + p->extra : CAIRN_ACCRUAL_NEVER;
}

bool cairn_accrual_suspects(const cairn_accrual *d, uint32_t i, uint64_t now_us)
{
    return i < d->peers && cairn_accrual_silence(d, i, now_us) >= cairn_accrual_allowed(d, i);
}

uint64_t cairn_accrual_deadline(const cairn_accrual *d, uint32_t i)
{
    uint64_t allowed = cairn_accrual_allowed(d, i);
    uint64_t silence = cairn_accrual_silence(d, i, d->looked);
    uint64_t left = allowed > silence ? allowed - silence : 0;

    return allowed == CAIRN_ACCRUAL_NEVER || d->looked + left < left ? CAIRN_ACCRUAL_NEVER : d->looked + left;
}
