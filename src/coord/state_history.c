/* The last changes. A revision of which one change is forgotten is forgotten altogether. */
#include "coord/state_parts.h"

static uint64_t weight(const cairn_record *record)
{
    return sizeof *record + record->length + record->bytes;
}

cairn_record *cairn_history_at(const cairn_history *history, size_t index)
{
    return history->ring[(history->first + index) % CAIRN_HISTORY_MAX];
}

static void forget_oldest(cairn_history *history)
{
    cairn_record *oldest = cairn_history_at(history, 0);

    history->floor = oldest->modified + 1;
    while (history->count > 0 && cairn_history_at(history, 0)->modified < history->floor) {
        oldest = cairn_history_at(history, 0);
        history->bytes -= weight(oldest);
        history->first = (history->first + 1) % CAIRN_HISTORY_MAX;
        history->count--;
        cairn_record_drop(oldest);
    }
}

void cairn_history_add(cairn_history *history, cairn_record *record)
{
    while (history->count == CAIRN_HISTORY_MAX ||
           (history->count > 0 && history->bytes + weight(record) > CAIRN_HISTORY_BYTES)) {
        forget_oldest(history);
    }
    if (record->modified < history->floor) {
        return; /* the rest of a revision that is too large to be kept */
    }
    history->ring[(history->first + history->count++) % CAIRN_HISTORY_MAX] = cairn_record_keep(record);
    history->bytes += weight(record);
}

size_t cairn_history_find(const cairn_history *history, uint64_t revision)
{
    size_t low = 0, high = history->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (cairn_history_at(history, middle)->modified < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void cairn_history_free(cairn_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        cairn_record_drop(cairn_history_at(history, i));
    }
    free(history->ring);
    *history = (cairn_history){0};
}
