/* Logical clocks, as pure functions.
 *
 * Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System" (1978), rules
 * IR1 and IR2: a local event or a send counts 1 up; a receive takes the larger of the own clock
 * and the message's timestamp, and counts 1 up. a -> b implies LC(a) < LC(b), not the reverse.
 *
 * Fidge (1988) and Mattern (1989): a vector holds one count per process; a -> b if and only if
 * V(a) < V(b) (the strong clock condition).
 */
#ifndef CAIRN_CLOCK_H
#define CAIRN_CLOCK_H

#include <stddef.h>
#include <stdint.h>

typedef enum cairn_order { CAIRN_EQUAL, CAIRN_BEFORE, CAIRN_AFTER, CAIRN_CONCURRENT } cairn_order;

/* The clock after a local event; the clock after a send, which is also the message's timestamp. */
static inline uint64_t cairn_lamport_local(uint64_t clock)
{
    return clock + 1;
}
static inline uint64_t cairn_lamport_send(uint64_t clock)
{
    return clock + 1;
}
/* The clock after receiving a message with this timestamp. */
static inline uint64_t cairn_lamport_receive(uint64_t clock, uint64_t timestamp)
{
    return (clock > timestamp ? clock : timestamp) + 1;
}

/* Lamport's total order "=>": by clock, then by process id. Never CAIRN_CONCURRENT; EQUAL only for
 * the same event. Says what may have come before, not what did. */
cairn_order cairn_lamport_compare(uint64_t clock_a, uint32_t process_a, uint64_t clock_b, uint32_t process_b);

/* vector: count entries, entry i counts the events of process i that are known; self < count. */
void cairn_vector_local(uint64_t *vector, size_t count, size_t self);
/* Merge the timestamp of a received message, then count the receive itself. */
void cairn_vector_receive(uint64_t *vector, const uint64_t *timestamp, size_t count, size_t self);
/* BEFORE: a happened before b. */
cairn_order cairn_vector_compare(const uint64_t *a, const uint64_t *b, size_t count);

const char *cairn_order_text(cairn_order order);

#endif
