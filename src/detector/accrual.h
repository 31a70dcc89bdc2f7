/* Who is suspected to be dead, from when one hears of whom: a pure core. No clock, randomness, allocation or globals.
 *
 * Hayashibara, Defago, Yared, Katayama, "The phi Accrual Failure Detector" (SRDS 2004), section IV: the gaps between a
 * peer's last signs of life are taken for a sample of a normal distribution, and
 *     phi = -log10(probability that a gap is longer than the silence by now)
 * says how much the peer is suspected: at phi = 8 one gap in 10^8 would be as long. What a process that shares its
 * core with others needs on top:
 *
 *  - The silence that is allowed is not only the one at which phi reaches the threshold. It is at least `floor_us`, and
 *    a quarter longer than the longest gap so far, which fades (by half in 710 heartbeats): delays have heavier tails
 *    than a normal distribution, and what happens once a minute is in few windows. And it is at most `ceiling_us`,
 *    whatever the window says.
 *  - A gap shorter than half a heartbeat ends a silence and is no sample: a peer that has much to say for a while gives
 *    no reason to expect more than heartbeats of it afterwards.
 *  - The observer's own pauses prove nothing about others. Silence is measured on the observer's *attended time*, which
 *    goes on by at most `look_us` from one cairn_accrual_look to the next: who did not look has not waited.
 *  - Whoever gets to look too late, in a minute or so, supposes that others are as late: four times as much silence is
 *    allowed, but not more than `patient_us`. So the first stall on a machine that is too busy is nobody's death.
 *  - What is known in other ways: a peer whose process has ended is dead at once and for good; one whose process is
 *    known to exist (by pidfd, or since its kernel answers) can only be stopped or slow, and is given `patient_us`; one
 *    whose host does not answer any more cannot be excused by its load, and is given `gone_us` at most; one that does
 *    something long is forgiven this silence; one that was replaced by another begins anew.
 *  - As long as less than a quarter of a peer's window is filled, it is given `patient_us`: its jitter is not known.
 *
 * Times are microseconds of one monotonic clock of the observer; one that goes back counts as standing still. phi is in
 * thousandths. A peer that is out of range is never suspected, and what is said of it is ignored. */
#ifndef CAIRN_DETECTOR_ACCRUAL_H
#define CAIRN_DETECTOR_ACCRUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAIRN_ACCRUAL_PHI_MAX    UINT32_C(20000) /* of a threshold; phi itself ends here too            */
#define CAIRN_ACCRUAL_WINDOW_MAX 1024u
#define CAIRN_ACCRUAL_TIME_MAX   UINT64_C(60000000) /* of every length of time in the options             */
#define CAIRN_ACCRUAL_NEVER      UINT64_MAX

typedef struct cairn_accrual_options {
    uint64_t heartbeat_us;  /* between two signs of life, when all is quiet; > 0                        */
    uint64_t floor_us;      /* silence that is always allowed, >= heartbeat_us                          */
    uint64_t patient_us;    /* the same of a peer that is known to exist, or not well known, >= floor_us  */
    uint64_t gone_us;       /* the most that is allowed to one that is out of reach, >= floor_us             */
    uint64_t ceiling_us;    /* silence that is never allowed, >= patient_us                         */
    uint64_t look_us;       /* the most that counts as waited between two looks, > 0                    */
    uint32_t threshold_phi; /* thousandths, 1 .. CAIRN_ACCRUAL_PHI_MAX                                  */
    uint32_t window;        /* gaps that are remembered of each peer, 4 .. CAIRN_ACCRUAL_WINDOW_MAX     */
} cairn_accrual_options;

typedef struct cairn_accrual cairn_accrual;

typedef enum cairn_accrual_word {
    CAIRN_ACCRUAL_UNKNOWN,
    CAIRN_ACCRUAL_EXISTS,     /* its process does                 */
    CAIRN_ACCRUAL_UNREACHABLE /* its host did answer, and does not any more */
} cairn_accrual_word;

/* What the runtime uses. For heartbeats every 83 ms and less: 0.25 s are allowed when all is quiet, 1 s to who is given
 * long, 0.4 s to who is out of reach, 2 s at most. */
cairn_accrual_options cairn_accrual_defaults(uint64_t heartbeat_us);

/* Bytes for so many peers, and the begin: every peer is waited for from now_us on, and its window holds two gaps, of
 * half a heartbeat and of one and a half. memory: cairn_accrual_bytes, aligned for max_align_t; the caller's, and used
 * until the end. NULL: the options are not within their bounds. */
size_t cairn_accrual_bytes(uint32_t peers, uint32_t window);
cairn_accrual *cairn_accrual_init(void *memory, uint32_t peers, const cairn_accrual_options *options, uint64_t now_us);

/* The observer is awake, and has taken in whatever was there for it. To be called each time before anybody's silence
 * is judged, and at least every look_us if time is to count in full. */
void cairn_accrual_look(cairn_accrual *d, uint64_t now_us);

/* A sign of life of this peer came. */
void cairn_accrual_heard(cairn_accrual *d, uint32_t peer, uint64_t now_us);
/* The silence that is under way may be longer by extra_us than it could be otherwise: the peer copies much state. The
 * next sign of life ends that. Said again it is not added up: the longest counts. */
void cairn_accrual_forgive(cairn_accrual *d, uint32_t peer, uint64_t extra_us);
/* What is known of the peer's process, beside what it says. Until something else is said. */
void cairn_accrual_known(cairn_accrual *d, uint32_t peer, cairn_accrual_word word);
/* The peer's process has ended, for certain: whatever of it still arrives is from before. */
void cairn_accrual_dead(cairn_accrual *d, uint32_t peer);
/* Another process has taken the peer's place: nothing of the old one counts, and the new one is waited for from now. */
void cairn_accrual_forget(cairn_accrual *d, uint32_t peer, uint64_t now_us);

/* Of now_us, which is not before the last look. */
uint64_t cairn_accrual_silence(const cairn_accrual *d, uint32_t peer, uint64_t now_us); /* attended, microseconds */
uint32_t cairn_accrual_phi(const cairn_accrual *d, uint32_t peer, uint64_t now_us);
bool cairn_accrual_suspects(const cairn_accrual *d, uint32_t peer, uint64_t now_us);
/* The silence after which it is suspected, microseconds; of a peer that was never heard the ceiling. Forgiveness
 * included; 0 of one that is dead. */
uint64_t cairn_accrual_allowed(const cairn_accrual *d, uint32_t peer);
/* When it will be suspected if nothing comes and the observer goes on looking; never before the last look. */
uint64_t cairn_accrual_deadline(const cairn_accrual *d, uint32_t peer);

#endif
