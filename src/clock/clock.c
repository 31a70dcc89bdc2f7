#include <cairn/clock.h>

cairn_order cairn_lamport_compare(uint64_t clock_a, uint32_t process_a, uint64_t clock_b, uint32_t process_b)
{
    if (clock_a != clock_b) {
        return clock_a < clock_b ? CAIRN_BEFORE : CAIRN_AFTER;
    }
    if (process_a != process_b) {
        return process_a < process_b ? CAIRN_BEFORE : CAIRN_AFTER;
    }
    return CAIRN_EQUAL;
}

void cairn_vector_local(uint64_t *vector, size_t count, size_t self)
{
    if (self < count) {
        vector[self]++;
    }
}

void cairn_vector_receive(uint64_t *vector, const uint64_t *timestamp, size_t count, size_t self)
{
    for (size_t i = 0; i < count; i++) {
        if (timestamp[i] > vector[i]) {
            vector[i] = timestamp[i];
        }
    }
    cairn_vector_local(vector, count, self);
}

cairn_order cairn_vector_compare(const uint64_t *a, const uint64_t *b, size_t count)
{
    int less = 0;
    int greater = 0;

    for (size_t i = 0; i < count; i++) {
        less |= a[i] < b[i];
        greater |= a[i] > b[i];
    }
    if (less && greater) {
        return CAIRN_CONCURRENT;
    }
    if (less) {
        return CAIRN_BEFORE;
    }
    return greater ? CAIRN_AFTER : CAIRN_EQUAL;
}

const char *cairn_order_text(cairn_order order)
{
    static const char *const texts[] = {"equal", "before", "after", "concurrent"};

    return (unsigned)order < 4 ? texts[order] : "unknown";
}
