/* What the two ends of the coordination service's Unix sockets share.
 *
 * Every process of a job listens at DIR/coord-NNNNNN.sock (mode 0600, the same user only), so that the service can be
 * reached as long as one of them lives. On a file system that several hosts share, the socket of a process elsewhere
 * refuses connections, as that of a dead one does.
 *
 * Frames, both ways: length u32 (of what follows), id u64, and an encoding of coord/command.h. The id is the client's:
 * the answer bears the same one. Many requests may be under way. A WATCH is answered at once and then again whenever
 * something has changed, until it fails; a frame without an encoding takes a question back. */
#ifndef CAIRN_COORD_SOCKET_H
#define CAIRN_COORD_SOCKET_H

#include <cairn/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#define CAIRN_SOCKET_REQUEST_MAX UINT32_C(0x00c00000) /* bytes of a frame: the largest transaction takes 12 MiB */
#define CAIRN_SOCKET_ANSWER_MAX  UINT32_C(0x20000000)
#define CAIRN_SOCKET_HEAD        4u /* the length */
#define CAIRN_SOCKET_ID          8u

/* "coord-000003.sock" */
#define CAIRN_SOCKET_NAME_BYTES 32
void cairn_socket_name(char name[CAIRN_SOCKET_NAME_BYTES], uint32_t process);
/* false: this is not the name of a process's socket. */
bool cairn_socket_process(const char *name, uint32_t *process);

/* The address of folder/name. folder_fd: the folder, open; a path that is too long for an address goes through
 * /proc/self/fd, so that it needs no second name elsewhere. */
cairn_status cairn_socket_address(struct sockaddr_un *address, int folder_fd, const char *folder, const char *name,
                                  cairn_error *error);

#endif
