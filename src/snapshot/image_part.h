/* What an open part is, for the files that read it. */
#ifndef CAIRN_SNAPSHOT_IMAGE_PART_H
#define CAIRN_SNAPSHOT_IMAGE_PART_H

#include "snapshot/sealed.h"

struct cairn_part {
    char *path;
    cairn_sealed_reader reader;
    cairn_part_head head;
    uint64_t *vector, *sent, *received;
    cairn_state *states; /* [state_count], in the order of names  */
    cairn_input *inputs; /* [state_count], where their bytes lie  */
    size_t state_count;
    cairn_in_flight *messages;
    size_t message_count;
    void **payloads; /* one for each sender that has any */
    size_t payload_count;
};

/* whole = false: trust the seal's own 512 bytes and read no elements of states. For who has just seen the part written. */
cairn_status cairn_part_open_depth(cairn_part **out, const char *path, const cairn_part_seal *expected, bool whole,
                                   cairn_error *error);

#endif
