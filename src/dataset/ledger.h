/* Who reads what when processes may die: the ledger of partitions that are taken from a store, as a pure core.
 *
 * The blocks of a plan are put together into partitions, large ones first and small ones at the end (guided
 * self-scheduling, Polychronopoulos and Kuck 1987), the same on every process. A partition is open until a process
 * takes it in the store (an entry with the taker's number, put if it has not changed meanwhile), and again when its
 * taker is lost: what that one had read of it died with it, whether it was done or not. The ledger is one process's
 * view of the store; it may be behind, since the store decides.
 *
 * Blocks that somebody has read before (restored from a snapshot) have an owner without an entry, and make partitions
 * of their own. */
#ifndef CAIRN_DATASET_LEDGER_H
#define CAIRN_DATASET_LEDGER_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stdint.h>

#define CAIRN_NOBODY UINT32_MAX

typedef struct cairn_partition {
    uint32_t first, count; /* of cairn_ledger.order                          */
    uint32_t owner;        /* without an entry in the store: CAIRN_NOBODY, or who has read it */
    uint32_t taker;        /* of the entry, or CAIRN_NOBODY                  */
    uint64_t modified;     /* the entry's revision; 0: there is none         */
} cairn_partition;

typedef struct cairn_ledger {
    uint32_t blocks, processes, count;
    uint32_t *order; /* [blocks]: the blocks, partition by partition */
    cairn_partition *partitions;
    bool *lost;      /* [processes] */
    uint32_t lowest; /* no partition below this one is open */
} cairn_ledger;

/* owner[blocks]: who has read it, or CAIRN_NOBODY; NULL: nobody has read anything. */
CAIRN_MUST_CHECK cairn_status cairn_ledger_init(cairn_ledger *ledger, uint32_t blocks, uint32_t processes,
                                                const uint32_t *owner);
void cairn_ledger_free(cairn_ledger *ledger); /* safe on zeros */
/* Nothing is taken or owned any more (everything is read anew); who is lost stays so. */
void cairn_ledger_clear(cairn_ledger *ledger);

/* What the store has. An older entry than the known one changes nothing. */
void cairn_ledger_note(cairn_ledger *ledger, uint32_t partition, uint32_t taker, uint64_t modified);
void cairn_ledger_lose(cairn_ledger *ledger, uint32_t process);
bool cairn_ledger_is_open(const cairn_ledger *ledger, uint32_t partition);
/* The partition to try next, or CAIRN_NOBODY: none is open. At the beginning each process tries another one. */
uint32_t cairn_ledger_next(cairn_ledger *ledger, uint32_t self);

/* What the parts of the living cover: complete when every block is in exactly one of them. */
typedef struct cairn_cover {
    uint32_t blocks, processes;
    uint32_t missing, doubled; /* blocks in no part, in several */
    uint32_t *parts;           /* [blocks]: parts that have it  */
    uint32_t **of;             /* [processes]: its part, or NULL */
    uint32_t *count;
} cairn_cover;

CAIRN_MUST_CHECK cairn_status cairn_cover_init(cairn_cover *cover, uint32_t blocks, uint32_t processes);
void cairn_cover_free(cairn_cover *cover); /* safe on zeros */
/* The blocks of this process's part, in place of an earlier part of it. CAIRN_E_INVALID: no such block or process, or
 * the same block twice; nothing changes. */
CAIRN_MUST_CHECK cairn_status cairn_cover_put(cairn_cover *cover, uint32_t process, const uint32_t *blocks,
                                              uint32_t count);
void cairn_cover_drop(cairn_cover *cover, uint32_t process);
bool cairn_cover_complete(const cairn_cover *cover);

#endif
