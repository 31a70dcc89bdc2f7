/* Who reads which block: the division of the work among processes, as a pure core.
 *
 * cairn_division_step takes one event and says which grants to send. No IO, MPI, allocation or clock in it: the
 * caller gives the memory.
 *
 * A block goes WAITING -> OPEN -> GRANTED -> DONE. WAITING blocks belong to careful files (plan.h): their start state
 * is not known yet. A process asks once for each block that it wants in hand (two: one that it reads and the next),
 * and a DONE counts as the next ask. Asks that cannot be answered yet are remembered. The lowest open block goes to
 * whoever asks: so a slow process, which asks seldom, gets little. Near the end (as many open blocks as processes, or
 * fewer) nobody gets a second block while it has one: what is left goes to those that are ready for it.
 *
 * Where data lie on the hosts, a process gets the lowest open block that is near to it. When there is none it waits for a while,
 * as others may soon open one or be done with all; then it is LATE and steals, until it has got a near one again (delay
 * scheduling: Zaharia et al., EuroSys 2010). A process to which no file is near never waits.
 *
 * When nothing is left to be granted, a process that has nothing to do reads a second time what another one holds, the block
 * that was granted longest ago first (hedging: Dean and Barroso, The Tail at Scale, 2013). Whichever is ready first counts, and
 * the other one is waste. Only, an owner that is later may have put its rows where they cannot be taken out again: then its own
 * count after all, and those of the second are dropped.
 *
 * Invariants (cairn_division_check):
 *   D1  done + granted + open + waiting blocks = all blocks
 *   D2  held[p] = number of blocks of which p is the owner, and that are GRANTED or DONE by the second alone, plus those of which p
 *       is the second
 *   D3  a block is granted to one owner and one second at most, and a DONE one is never granted again
 *   D4  when a block is open, every process with an ask that is not answered holds a block and the end is near, or it WAITS */
#ifndef CAIRN_DATASET_DIVISION_H
#define CAIRN_DATASET_DIVISION_H

#include "base/pack.h"

#include <cairn/status.h>

typedef enum cairn_block_is {
    CAIRN_BLOCK_WAITING,
    CAIRN_BLOCK_OPEN,
    CAIRN_BLOCK_GRANTED,
    CAIRN_BLOCK_DONE
} cairn_block_is;

#define CAIRN_DIVISION_NOBODY UINT32_MAX

/* WAITS: the caller has to say sooner or later that the process is LATE. */
typedef enum cairn_patience { CAIRN_PATIENT, CAIRN_WAITS, CAIRN_IMPATIENT } cairn_patience;

typedef struct cairn_share {
    uint64_t rows;   /* DONE: of the block                                  */
    uint64_t before; /* rows before the cursor                              */
    uint64_t cursor; /* 0: from the block's start; else go on from this row */
    uint32_t owner;  /* of a GRANTED one, or one that is DONE by its second */
    uint32_t second; /* who reads it, too; CAIRN_DIVISION_NOBODY            */
    uint32_t order;  /* the lower, the longer ago it was granted            */
    bool by_second;  /* DONE: the owner is not ready                        */
    uint8_t is;      /* cairn_block_is   */
    uint8_t start;   /* cairn_csv_state or CAIRN_START_GUESS, once known */
} cairn_share;

typedef struct cairn_division {
    uint32_t blocks, processes;
    uint32_t open, granted, done;
    uint32_t lowest;    /* no block below this one is open */
    uint32_t grants;    /* so far */
    cairn_share *share; /* [blocks], caller's    */
    uint32_t *held;     /* [processes], caller's */
    uint32_t *asks;     /* [processes], caller's: not answered yet */
    uint8_t *patience;  /* [processes], caller's: cairn_patience   */
    bool patient;       /* else it steals at once */
    /* NULL: everything is as near to all */
    const uint8_t *near;     /* [processes][files], caller's */
    const uint32_t *file_of; /* [blocks], caller's           */
    uint32_t *near_from;     /* [processes], caller's: no block before this one is open and near */
    uint32_t files, stolen;  /* stolen: granted to whom they are not near, although they are to others */
} cairn_division;

typedef struct cairn_division_event {
    /* HEDGED: as DONE, by the second of the block. Of a block of which it is none (any more) it only counts as an ask. */
    /* LATE: of a process that WAITS; it has waited for long enough, or nothing is open any more. */
    enum {
        CAIRN_DIVISION_ASK,
        CAIRN_DIVISION_DONE,
        CAIRN_DIVISION_READY,
        CAIRN_DIVISION_HEDGED,
        CAIRN_DIVISION_LATE
    } kind;
    uint32_t process; /* but READY      */
    uint32_t block;   /* but ASK, LATE  */
    uint64_t rows;    /* DONE, HEDGED   */
    uint8_t start;    /* READY       */
} cairn_division_event;

typedef struct cairn_division_output {
    uint32_t count; /* grants to send: block[i] to process[i] */
    uint32_t process[2], block[2];
    bool as_second[2];
    bool finished; /* the last block is done */
    /* KEEP: what the second has read of the block counts for now. DROP: the owner's does instead. WASTE: the second was too late. */
    enum { CAIRN_DIVISION_NOTHING, CAIRN_DIVISION_KEEP, CAIRN_DIVISION_DROP, CAIRN_DIVISION_WASTE } verdict;
} cairn_division_output;

/* All blocks WAITING, nobody asks. share, held, asks and patience are the caller's. */
void cairn_division_init(cairn_division *division, uint32_t blocks, uint32_t processes, cairn_share *share,
                         uint32_t *held, uint32_t *asks, uint8_t *patience);
/* What is near to whom, and whether they wait for it; after init, and before what is granted. */
void cairn_division_prefer(cairn_division *division, uint32_t files, const uint8_t *near, const uint32_t *file_of,
                           uint32_t *near_from, bool patient);
/* CAIRN_E_INVALID: the event is not legal now (DONE of a block that this process does not hold, ...); nothing
 * changes. */
CAIRN_MUST_CHECK cairn_status cairn_division_step(cairn_division *division, const cairn_division_event *event,
                                                  cairn_division_output *out);
/* Before the first ask: the block was read already, by a launch before this one, wholly (done) or up to cursor.
 * CAIRN_E_INVALID: no such block, or it is known already. */
CAIRN_MUST_CHECK cairn_status cairn_division_resume(cairn_division *division, uint32_t block, bool done,
                                                    uint64_t cursor, uint64_t rows);
bool cairn_division_check(const cairn_division *division, const char **broken);

/* Format 1. Seconds are left out, what is DONE by one alone is GRANTED to its owner, and who may have a block WAITS. unpack: into a division made by init for as many blocks and processes; CAIRN_E_CORRUPT,
 * CAIRN_E_MISMATCH. */
void cairn_division_pack(const cairn_division *division, cairn_pack *pack);
CAIRN_MUST_CHECK cairn_status cairn_division_unpack(cairn_division *division, cairn_unpack *unpack);

#endif
