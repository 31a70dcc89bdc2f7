/* An image: the state machine after some slot, as an HDF5 file that lets the log before it be forgotten.
 *
 * "image-%016x.h5" (slot) in the acceptor's folder, sealed like a part of a snapshot (snapshot/sealed.h, "cairn image
 * 1"), under a temporary name, synced, renamed. Attributes of /: format, slot, revision. Datasets: /state u8[]: the
 * bytes of cairn_state_save; /admits u64[n][4]: process, generation, storage, ballot; and for people and their tools
 * /keys string[], /values string[] (other than printable ASCII as \xNN), /revisions u64[][3]: created, modified,
 * version. */
#ifndef CAIRN_COORD_IMAGE_H
#define CAIRN_COORD_IMAGE_H

#include "coord/state.h"
#include "paxos/multi.h"

typedef struct cairn_image {
    uint64_t slot;
    uint32_t admit_count;
    mp_admit admits[MP_ACCEPTORS_MAX];
    const void *state; /* bytes of cairn_state_save */
    size_t bytes;
} cairn_image;

/* Write durably and then remove older images of the folder, except the newest older one. Does not look at the state
 * machine itself: may run in another thread. */
cairn_status cairn_image_write(const char *folder, const cairn_image *image, cairn_error *error);
/* The newest image that is whole; *image.state is malloc'ed (free it through cairn_image_free). CAIRN_E_NOT_FOUND:
 * there is no file of an image at all. CAIRN_E_CORRUPT: there are some, none is whole (the text names the newest and
 * its fault). A damaged one that has a whole older one beside it is told in *passed_over (text; "" if none). */
cairn_status cairn_image_read(const char *folder, cairn_image *image, char passed_over[500], cairn_error *error);
void cairn_image_free(cairn_image *image);

#endif
