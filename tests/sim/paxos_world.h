/* Consensus under every fault that it must stand: time, network, clocks and disks of a whole group from one seed.
 *
 * The world knows processes that are up, down or paused, messages as bytes, and the pure core (paxos/multi.h) inside
 * each process. What surrounds the core is a `kind`: core_member.c, a thin shell with an array for a log, or
 * replica_member.c, the production replica over fake disks. A run has two phases. In the first everything goes wrong
 * and safety is checked after every event. Then a majority of the acceptors is healed for good, the rest is dead, cut
 * off, or deaf and shouting; from then on everything that is asked must be answered within a bound.
 *
 * What is checked, by the name that a failing run prints:
 *   agreement   one value per slot; equal states after equal slots; answers equal to what was applied
 *   validity    only what was proposed is chosen
 *   promise     no accepted or promised ballot below a promise that was sent; promises tell every vote
 *   durable     no message rests on a record that a crash can take away
 *   generation  an acceptor that lost its disk does not vote before it is admitted; one that did not still votes
 *   lease       one process at a time holds the leader's lease
 *   once        a request is applied once, however often it was sent; its answers are equal
 *   linear      clients see one history that agrees with real time; nothing acknowledged is lost
 *   lock        tokens rise, and a lock has one holder
 *   invariant   mp_check holds after every event
 *   shell       outputs make sense: records numbered without a gap, values where they must be
 *   live        a healed majority answers within the bound
 *   stable      a healed majority keeps its leader
 *   behind      whoever is connected to a healed majority catches up, and votes again */
#ifndef CAIRN_TESTS_SIM_PAXOS_WORLD_H
#define CAIRN_TESTS_SIM_PAXOS_WORLD_H

#include "agenda.h"
#include "chance.h"

#include "paxos/multi.h"

#include <stddef.h>
#include <stdio.h>

#define PW_MAX         9
#define PW_CLIENTS_MAX 12
#define PW_NOBODY      UINT32_MAX
#define CALM_ELECTIONS 5 /* after the healing, until leaders are counted */

typedef struct pw_world pw_world;
typedef struct pw_member pw_member;
typedef struct pw_kind pw_kind;

typedef struct pw_options {
    FILE *trace;
    bool calm; /* no faults: for looking at the protocol */
} pw_options;

/* Totals over all runs, for people: is everything really happening? */
typedef enum pw_count {
    PW_EVENTS,
    PW_MESSAGES,
    PW_LOST,
    PW_CRASHES,
    PW_PAUSES,
    PW_PARTITIONS,
    PW_DISKS_LOST,
    PW_DISK_FAULTS,
    PW_ENDS_LOST,
    PW_ADMITTED,
    PW_ELECTED,
    PW_SLOTS,
    PW_ASKED,
    PW_ANSWERED,
    PW_REPEATED,
    PW_READS,
    PW_LEASED,
    PW_IMAGES,
    PW_INSTALLED,
    PW_LINEAR,         /* histories that were found to be linearizable ... */
    PW_UNDECIDED,      /* ... or took too long to tell */
    PW_HEAL_SLOWEST,   /* milliseconds from heal (or from asking, if later) to an answer: the most */
    PW_HEAL_ELECTIONS, /* the same in election timeouts, in tenths: the most */
    PW_COUNTS
} pw_count;

typedef struct pw_result {
    const char *broken; /* NULL: all is well */
    char detail[2000];
    uint64_t digest, counts[PW_COUNTS];
    uint32_t processes, acceptors;
} pw_result;

typedef enum pw_what {
    PW_ARRIVE,
    PW_TICK,
    PW_WRITE,
    PW_WRITTEN,
    PW_IMAGED,
    PW_ASK,
    PW_START,
    PW_FAULT,
    PW_CLIENT,
    PW_STRIKE, /* crash it */
    PW_HEAL,
    PW_TEASE
} pw_what;

typedef struct pw_happening {
    pw_what what;
    uint32_t to, from, life; /* life: of the member it is for; an older one's is dropped */
    uint64_t number;
    unsigned char *data;
    size_t bytes;
} pw_happening;

/* What an acceptor has said with one storage: kept by the observer, not by the process. */
typedef struct pw_said {
    px_ballot promised;
    px_ballot *accepted; /* by slot */
    size_t slots;
} pw_said;

struct pw_member {
    uint32_t id;
    bool acceptor, up, dead, lost; /* dead: for good. lost: its disk was lost and it has no vote yet */
    bool formed;                   /* it had a vote, durably, once */
    bool teases;                   /* not healed: it hears everybody but the leader, later */
    uint32_t life;
    uint64_t paused_until;
    uint64_t offset, ppm; /* its clock */
    uint64_t storage;     /* id of what is on its disk */
    uint64_t original;    /* the one that it was formed with */
    uint64_t looked;      /* slots up to here were compared */
    bool led;
    uint32_t *known; /* by slot: the life in which it knew, ahead of others, that the slot is chosen */
    size_t known_room;
    pw_said said;
    void *body; /* of the kind; also while it is down */
};

/* Observers' memory of one slot. */
typedef struct pw_slot {
    bool known;
    uint8_t type;
    uint32_t bytes;
    uint64_t hash;  /* of the value */
    uint64_t state; /* of the state after it, as the kind computes it; 0: not known */
} pw_slot;

typedef enum pw_fault_kind {
    PW_CRASH,
    PW_CRASH_MANY,
    PW_PAUSE,
    PW_PARTITION,
    PW_JOIN, /* all are connected */
    PW_LOSE, /* a disk, or some of it */
    PW_DISK, /* it is full, cannot be read, or is well again */
    PW_RESIGN,
    PW_FAULTS
} pw_fault_kind;

/* How bad this run is. Times are microseconds. */
typedef struct pw_weather {
    uint32_t loss, doubled;     /* messages, in 1000 */
    uint64_t delay, tail;       /* one message in `tail` is much later; 0: none */
    uint32_t damage;            /* one in so many has a wrong bit; 0: none */
    uint32_t faults[PW_FAULTS]; /* how often each, compared with the others */
    uint64_t fault_every, disk; /* disk: a sync */
    bool in_order, jumps;       /* jumps: clocks begin anew when a process restarts */
    bool quick;                 /* who crashes is mostly back soon */
    bool cuts_leaders;          /* partitions are mostly between the leader and others */
    bool hasty;                 /* who restarts stands for election at once, as in a new launch */
} pw_weather;

struct pw_world {
    const pw_options *options;
    const pw_kind *kind;
    pw_result *result;
    chance random;
    uint64_t now; /* microseconds of real time */
    agenda agenda;
    mp_options paxos; /* what all processes have in common */
    pw_weather weather;
    uint64_t image_after;
    bool lease_reads;
    uint32_t count;
    pw_member members[PW_MAX];
    bool cut[PW_MAX][PW_MAX];
    uint64_t last_arrival[PW_MAX][PW_MAX];
    pw_slot *slots;
    size_t slot_count, slot_room;
    mp_admit *admitted;
    size_t admitted_count, admitted_room;
    uint64_t heal_at, healed_at; /* healed_at 0: not yet */
    uint64_t end_at;
    uint64_t patience; /* microseconds within which a healed group answers */
    uint32_t changes;  /* of leader, since things were quiet */
    bool done;
    uint32_t client_count;
    void *clients; /* of the kind */
};

typedef enum pw_disk_fault {
    PW_DISK_LOSE,
    PW_DISK_DAMAGE,
    PW_DISK_UNREADABLE,
    PW_DISK_FULL,
    PW_DISK_WELL
} pw_disk_fault;

/* What surrounds a core. */
struct pw_kind {
    const char *name;
    bool checksums;             /* damaged messages may be given to it; else they are lost */
    void (*begin)(pw_world *w); /* bodies, clients */
    void (*end)(pw_world *w);
    bool (*start)(pw_world *w, pw_member *m); /* false: it could not (a disk fault); it stays down */
    void (*crash)(pw_world *w, pw_member *m);
    void (*arrive)(pw_world *w, pw_member *m, uint32_t from, const unsigned char *data, size_t bytes);
    void (*tick)(pw_world *w, pw_member *m);
    void (*own)(pw_world *w, pw_member *m, const pw_happening *h); /* WRITE, WRITTEN, IMAGED, ASK */
    void (*resign)(pw_world *w, pw_member *m);
    /* false: not possible now. LOSE and DAMAGE (of a part that was durable, not the last) while it is down. */
    bool (*fault)(pw_world *w, pw_member *m, pw_disk_fault fault);
    void (*client)(pw_world *w, uint32_t client);
    bool (*quiet)(pw_world *w);  /* every live client has its answers */
    void (*finish)(pw_world *w); /* checks at the end; may be NULL */
    const mp *(*core)(const pw_member *m);
    uint64_t (*applied)(const pw_member *m);
    void (*look)(pw_world *w, pw_member *m); /* further checks after an event of this member; may be NULL */
};

/* paxos_world.c */
void pw_run(uint64_t seed, const pw_kind *kind, const pw_options *options, pw_result *result);
uint64_t pw_local(const pw_world *w, const pw_member *m); /* its clock */
void pw_plan(pw_world *w, uint64_t time, pw_happening what);
void pw_start(pw_world *w, pw_member *m);
bool pw_first(pw_world *w, const pw_member *m); /* what its mp_options.first is now */
void pw_crash(pw_world *w, pw_member *m);
uint64_t pw_hash(uint64_t hash, const void *data, size_t bytes);
static inline uint64_t pw_below(pw_world *w, uint64_t bound)
{
    return chance_below(&w->random, bound);
}
static inline bool pw_one_in(pw_world *w, uint64_t n)
{
    return chance_one_in(&w->random, n);
}
__attribute__((format(printf, 3, 4))) void pw_fail(pw_world *w, const char *property, const char *format, ...);
__attribute__((format(printf, 3, 4))) void pw_say(pw_world *w, const pw_member *m, const char *format, ...);

/* paxos_weather.c */
void pw_draw(pw_world *w);
void pw_send(pw_world *w, uint32_t from, uint32_t to, const void *data, size_t bytes);
void pw_fault(pw_world *w);
void pw_heal(pw_world *w);
void pw_tease(pw_world *w);
bool pw_may_ask(const pw_world *w); /* clients ask on for some time after the healing */
void pw_answered(pw_world *w, uint64_t asked_at);
bool pw_is_healed(const pw_world *w, const pw_member *m); /* connected to the healed majority, both ways */

/* paxos_watch.c */
pw_slot *pw_slot_of(pw_world *w, uint64_t slot);
void pw_chose(pw_world *w, const pw_member *m, uint64_t slot, const mp_value *value);
void pw_state(pw_world *w, const pw_member *m, uint64_t slot, uint64_t state);
void pw_watch_message(pw_world *w, pw_member *m, uint32_t to, const mp_message *message);
void pw_watch_member(pw_world *w, pw_member *m);
void pw_watch_end(pw_world *w);
bool pw_is_over(pw_world *w); /* everything is answered and everybody has caught up */
/* Its vote is durable: if this is its first storage it needs no admission. */
void pw_has_vote(pw_world *w, pw_member *m);
void pw_forget_said(pw_member *m);
void pw_print_message(const mp_message *message, char *text, size_t bytes);

#endif
