/* Counting what is odd: see note.h. */
#include "dataset/note.h"

void cairn_note_add(cairn_note *note, uint32_t block, uint64_t row, const char *text, size_t bytes)
{
    if (note->count++ == 0 || block < note->block || (block == note->block && row < note->row)) {
        size_t length = bytes < CAIRN_NOTE_TEXT - 1 ? bytes : CAIRN_NOTE_TEXT - 1;
        note->block = block;
        note->row = row;
        memset(note->text, 0, sizeof note->text);
        memcpy(note->text, text, length);
    }
}

void cairn_note_merge(cairn_note *note, const cairn_note *other)
{
    uint64_t count = note->count + other->count;

    if (other->count > 0 &&
        (note->count == 0 || other->block < note->block || (other->block == note->block && other->row < note->row))) {
        *note = *other;
    }
    note->count = count;
}

void cairn_note_pack(const cairn_note *note, cairn_pack *pack)
{
    cairn_pack_u64(pack, note->count);
    cairn_pack_u32(pack, note->block);
    cairn_pack_u64(pack, note->row);
    cairn_pack_bytes(pack, note->text, sizeof note->text);
}

void cairn_note_unpack(cairn_note *note, cairn_unpack *unpack)
{
    note->count = cairn_unpack_u64(unpack);
    note->block = cairn_unpack_u32(unpack);
    note->row = cairn_unpack_u64(unpack);
    const uint8_t *text = cairn_unpack_bytes(unpack, sizeof note->text);
    if (text != NULL) {
        memcpy(note->text, text, sizeof note->text);
        note->text[sizeof note->text - 1] = '\0';
    }
}
