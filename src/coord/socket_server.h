/* The listening end: one thread that speaks with all clients and passes frames on. It knows nothing of requests.
 *
 * No client can hold up another one or fill the memory: at most CLIENT_MAX are connected (the one that was silent for
 * the longest time gives way), of each a bounded number of questions is open before no more is read from it, and one
 * that does not take its answers is closed. */
#ifndef CAIRN_COORD_SOCKET_SERVER_H
#define CAIRN_COORD_SOCKET_SERVER_H

#include "coord/socket.h"

typedef struct cairn_server cairn_server;

typedef enum cairn_server_what {
    CAIRN_SERVER_ASKED, /* data: an encoding, not looked at. Wants answers, the last one marked as such   */
    CAIRN_SERVER_BACK,  /* id is taken back: if it is still open, answer it with no data and `last`       */
    CAIRN_SERVER_GONE   /* the client has closed: whatever it asked needs no answer                       */
} cairn_server_what;

typedef struct cairn_server_frame {
    struct cairn_server_frame *next;
    cairn_server_what what;
    uint64_t client, id;
    size_t bytes;
    uint8_t data[];
} cairn_server_frame;

/* Listen at folder/coord-NNNNNN.sock; a file that is there already is taken for one of a dead process. wake_fd: an
 * eventfd that is written to when frames have come. */
cairn_status cairn_server_start(cairn_server **out, const char *folder, uint32_t process, int wake_fd,
                                cairn_error *error);
/* Close all and remove the file. NULL-safe. */
void cairn_server_end(cairn_server *server);

/* All that has come, oldest first; free() each. NULL: nothing. Cheap when there is nothing. */
cairn_server_frame *cairn_server_take(cairn_server *server);
/* Answer (copied); by whichever thread, one at a time. No data and `last`: nothing is sent. Answers to clients that
 * are gone vanish. */
void cairn_server_answer(cairn_server *server, uint64_t client, uint64_t id, const void *data, size_t bytes, bool last);

#endif
