/* Names and addresses of the sockets. */
#include "coord/socket.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void cairn_socket_name(char name[CAIRN_SOCKET_NAME_BYTES], uint32_t process)
{
    (void)snprintf(name, CAIRN_SOCKET_NAME_BYTES, "coord-%06u.sock", process);
}

bool cairn_socket_process(const char *name, uint32_t *process)
{
    char again[CAIRN_SOCKET_NAME_BYTES];
    unsigned number;

    if (sscanf(name, "coord-%6u.sock", &number) != 1) {
        return false;
    }
    cairn_socket_name(again, number);
    *process = number;
    return strcmp(again, name) == 0;
}

cairn_status cairn_socket_address(struct sockaddr_un *address, int folder_fd, const char *folder, const char *name,
                                  cairn_error *error)
{
    size_t room = sizeof address->sun_path;
    int length;

    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    length = snprintf(address->sun_path, room, "%s/%s", folder, name);
    if (length >= 0 && (size_t)length < room) {
        return CAIRN_OK;
    }
    if (access("/proc/self/fd", X_OK) != 0) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s/%s: longer than the %zu bytes of a Unix socket's address", folder,
                          name, room - 1);
    }
    (void)snprintf(address->sun_path, room, "/proc/self/fd/%d/%s", folder_fd, name);
    return CAIRN_OK;
}
