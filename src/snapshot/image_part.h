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

#endif
