/* What goes before every message on a link.
 *
 * All processes of a job run on machines of one architecture (as MPI_BYTE transfers assume), so the struct is the
 * wire format; its fields are of fixed width and leave no holes. With vector clocks the vector (u64[count]) follows
 * the envelope, then the payload; a long payload follows as separate messages instead (CAIRN_FLAG_LONG). */
#ifndef CAIRN_CHANNEL_ENVELOPE_H
#define CAIRN_CHANNEL_ENVELOPE_H

#include <stdint.h>

typedef enum cairn_kind {
    CAIRN_KIND_DATA = 1,   /* a job's message: stream 0 of the channel                                */
    CAIRN_KIND_COLLECTIVE, /* a message of a collective: stream 1 of the channel                      */
    CAIRN_KIND_SNAPSHOT,   /* payload: cl_message, for PART followed by a part_report                 */
    CAIRN_KIND_CONTROL,    /* between runtimes; tag says what, see enum control in process/runtime.h */
    CAIRN_KIND_CONSENSUS,  /* a piece of a replica's message: tag bytes in all; sequence: process/consensus.c */
    CAIRN_KIND_COPY        /* of copies of parts in memory: process/partner.c; tag: pc_kind                */
} cairn_kind;

enum { CAIRN_FLAG_LONG = 1 };

typedef struct cairn_envelope {
    uint64_t lamport;     /* the sender's clock                                             */
    uint64_t sequence;    /* in its stream of its channel, from 1; 0 for what is not a job's */
    uint64_t bytes;       /* of the payload                                                 */
    uint32_t incarnation; /* a message of an older one is dropped                           */
    uint32_t tag;
    uint8_t kind;
    uint8_t flags;
    uint16_t vector; /* entries of the vector that follows: 0 or count */
    uint32_t magic;  /* CAIRN_MAGIC */
} cairn_envelope;

#define CAIRN_MAGIC 0x4e524943u /* "CIRN" */

_Static_assert(sizeof(cairn_envelope) == 40, "the envelope has no holes");

#endif
