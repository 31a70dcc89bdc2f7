/* The keys of a state for people and their tools: what an image file has beside the state itself. */
#ifndef CAIRN_COORD_IMAGE_KEYS_H
#define CAIRN_COORD_IMAGE_KEYS_H

#include "coord/state.h"
#include "snapshot/sealed.h"

/* Put /keys, /values and /revisions of this state into the file. */
cairn_status cairn_image_put_keys(cairn_sealed_writer *writer, cairn_state_machine *state, cairn_error *error);

#endif
