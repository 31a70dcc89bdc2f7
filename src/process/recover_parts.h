/* What the files of recovery in place share.
 *
 *   recover.c   views: proposing, installing, going back; spares
 *   spawn.c     ranks that are started while the job runs, to be spares
 *   stand_in.c  spares that speak for acceptors that died, when too few are left */
#ifndef CAIRN_PROCESS_RECOVER_PARTS_H
#define CAIRN_PROCESS_RECOVER_PARTS_H

#include "process/consensus.h"

/* The payload of CONTROL_PORT. */
typedef struct port_offer {
    uint32_t place;
    char port[CAIRN_PORT_BYTES];
} port_offer;

/* Ranks are numbered as the core has them: those of the launch, then places for those that are spawned, each used once. */
typedef struct spawning {
    uint32_t first;     /* place: peers that the launch had */
    uint32_t next;      /* place that was never used, as far as is known here */
    double until;       /* leader: one is under way until then */
    double *forgiven;   /* [peers] silent for a good reason until then */
    uint8_t *connected; /* [peers][peers] rank i has said that it has connected to rank j: [j * peers + i] */
    bool due;           /* this rank is to spawn one for this place */
    uint32_t place;
    uint8_t *absent; /* [peers] ranks that will not connect to it */
    uint8_t *unborn; /* [peers] places in which nobody will be */
    bool has_offer;  /* this rank is to connect */
    port_offer offer;
    uint32_t anchor;    /* a rank, or UINT32_MAX */
    bool anchor_free;   /* spawning did not help: it may carry a process */
    uint32_t orders_to; /* the rank that was told to spawn the newest, or UINT32_MAX */
    double whole_at;    /* when it said that all have connected; 0: not yet */
    /* Who has spawned one, until all have connected to it: */
    bool invites;
    uint32_t *others; /* [other_count] ranks */
    char (*ports)[CAIRN_PORT_BYTES];
    uint32_t other_count, turn;
    uint32_t invited; /* the rank whose turn it is */
    double invited_at;
} spawning;

typedef struct recovery {
    rc *core;
    rc_view seen;        /* a view that was read */
    uint32_t *ranks;     /* [peers] the rank that this peer is; RC_NONE: there is no such peer any more */
    uint32_t *resumed;   /* [count] carriers when the job last went on */
    uint8_t *silent;     /* [peers] by ranks: as of the leader's last look */
    uint8_t *bytes;      /* of a view */
    uint64_t begun_from; /* the snapshot that this launch goes on from, as far as this rank knows; 0: none */
    uint64_t before;     /* snapshots up to here are of earlier launches */
    uint64_t revision;   /* of the replicated state that was looked at */
    uint64_t view_revision;
    uint64_t latest; /* snapshot attempt that anybody has met */
    bool leads, answered;
    bool taking;       /* this spare is to take a process's place */
    rc_reason reason;  /* why nothing seems to help */
    double despair_at; /* if nothing has helped until then, the launch ends. 0: no need */
    bool asking;       /* whether a majority still hears this leader, before it ends the launch */
    double look;
    double heard;   /* when the first of the lost was last heard of, as far as this leader knows; 0: unknown */
    double noticed; /* when it was suspected */
    spawning spawn;
    uint32_t watched;    /* the newest view whose carriers all went on, as this spare knows */
    bool stands_in;      /* this rank speaks for an acceptor that died */
    bool steps_back;     /* and is not to any more */
    double led_at;       /* when a leader was last heard of */
    double needed_since; /* somebody is to; 0: no */
} recovery;

/* --- recover.c --- */
uint32_t recovery_peer_of(const cairn_process *p, uint32_t rank); /* RC_NONE: it is none any more */

/* --- spawn.c --- */
cairn_status spawn_start(cairn_process *p);
void spawn_free(recovery *r);
/* Leader, after each look: have a rank spawned when there are fewer spares than lost processes. */
void spawn_consider(cairn_process *p, double now);
/* As often as anything is driven: spawn or connect, if this rank is asked to. */
void spawn_drive(cairn_process *p);
/* This rank may carry a process: if it was spawned, everybody who is not silent has connected to it. */
bool spawn_is_usable(const cairn_process *p, uint32_t rank);
bool spawn_is_possible(const cairn_process *p);
/* The anchor is to carry no process. */
bool spawn_needs_anchor(const cairn_process *p);
/* Nothing could be spawned: the anchor may carry a process. false: there is none, or it may already. */
bool spawn_frees_anchor(cairn_process *p);

/* --- stand_in.c --- */
/* After each look at who has ended. */
void stand_in_drive(cairn_process *p, double now);
/* Another rank carries this process now. */
void stand_in_moved(cairn_process *p, uint32_t process);

#endif
