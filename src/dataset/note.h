/* Something odd in the input: how often, and where first. */
#ifndef CAIRN_DATASET_NOTE_H
#define CAIRN_DATASET_NOTE_H

#include "base/pack.h"

#define CAIRN_NOTE_TEXT 40

typedef struct cairn_note {
    uint64_t count;
    uint32_t block; /* of the first: the smallest block, then row */
    uint64_t row;   /* index in the block, from 0 */
    char text[CAIRN_NOTE_TEXT];
} cairn_note;

/* Count one more `note`, at this place. */
void cairn_note_add(cairn_note *note, uint32_t block, uint64_t row, const char *text, size_t bytes);
/* Both together. */
void cairn_note_merge(cairn_note *note, const cairn_note *other);

void cairn_note_pack(const cairn_note *note, cairn_pack *pack);
void cairn_note_unpack(cairn_note *note, cairn_unpack *unpack);

#endif
