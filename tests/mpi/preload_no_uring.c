/* A kernel that does not let a process have io_uring, as in most containers. */
#include <errno.h>

int io_uring_queue_init_params(unsigned entries, void *ring, void *params);

int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
    (void)entries, (void)ring, (void)params;
    return -EPERM;
}
