/* Ballots, and the two rules of an acceptor.
 *
 * A ballot ("proposal number" in "Paxos Made Simple", section 2.2) is a round and the process that uses it, so that no
 * two processes ever use the same one. Single-decree and Multi-Paxos share these rules: they are all that safety
 * rests on. Lamport, "Paxos Made Simple", 2001, P1a: an acceptor accepts ballot n unless it has responded to a prepare
 * with a ballot greater than n. */
#ifndef CAIRN_PAXOS_BALLOT_H
#define CAIRN_PAXOS_BALLOT_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t px_ballot;

#define PX_NONE   ((px_ballot)0)  /* below every ballot */
#define PX_CHOSEN (~(px_ballot)0) /* above every ballot: the vote of somebody who knows that the value is chosen */

#define PX_PROCESS_BITS 16
#define PX_ROUND_MAX    ((UINT64_C(1) << (64 - PX_PROCESS_BITS)) - 2)

static inline px_ballot px_ballot_of(uint64_t round, uint32_t process)
{
    return round << PX_PROCESS_BITS | (process & 0xffffu);
}

static inline uint64_t px_round(px_ballot ballot)
{
    return ballot >> PX_PROCESS_BITS;
}

static inline uint32_t px_owner(px_ballot ballot)
{
    return (uint32_t)(ballot & 0xffffu);
}

/* The smallest ballot of `process` above `other`. */
static inline px_ballot px_above(px_ballot other, uint32_t process)
{
    return px_ballot_of(px_round(other) + 1, process);
}

/* Phase 1b: may an acceptor that has promised `promised` promise `asked`? A repeated prepare is answered again. */
static inline bool px_may_promise(px_ballot promised, px_ballot asked)
{
    return asked != PX_NONE && asked >= promised;
}

/* Phase 2b: may it accept at `asked`? */
static inline bool px_may_accept(px_ballot promised, px_ballot asked)
{
    return asked != PX_NONE && asked >= promised;
}

static inline uint32_t px_majority(uint32_t acceptors)
{
    return acceptors / 2 + 1;
}

#endif
