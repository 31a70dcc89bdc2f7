/* Ranks that come later: MPI_Comm_spawn by one, MPI_Comm_connect by the others. */
#include "channel/link_parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCEPT_SECONDS 10

/* What a parent tells its child first; then peer_of[peers], by the launch's ranks, and the facts. */
typedef struct birth {
    uint32_t slot, processes, peers, vectors;
    uint32_t parent; /* the launch's rank that it is */
    uint32_t others; /* that will connect */
    uint64_t facts;  /* bytes */
} birth;

/* Wait for each of the others to connect, each through a port of its own: two that connect to one at once hang. The
 * parent says whose turn it is, and leaves out who has died. If one dies in its turn MPI waits for it for ever, and the
 * parent gives this rank up: then the alarm ends it. */
static cairn_status accept_others(cairn_link *link, const birth *b, const uint32_t *peer_of, MPI_Comm parent,
                                  cairn_error *error)
{
    char(*ports)[CAIRN_PORT_BYTES] = calloc(b->others + 1, sizeof *ports);
    cairn_status status = CAIRN_OK;

    if (ports == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%u ports", b->others);
    }
    for (uint32_t i = 0; i < b->others; i++) {
        char name[MPI_MAX_PORT_NAME] = "";

        if (MPI_Open_port(MPI_INFO_NULL, name) != MPI_SUCCESS || strlen(name) >= CAIRN_PORT_BYTES) {
            free(ports);
            return cairn_fail(error, CAIRN_E_MPI, "MPI_Open_port failed");
        }
        memcpy(ports[i], name, strlen(name) + 1);
    }
    MPI_Send(ports, (int)(b->others * sizeof *ports), MPI_BYTE, 0, TAG_PORT, parent);
    for (;;) {
        MPI_Comm comm;
        uint32_t next = 0;
        uint32_t who;

        (void)alarm(ACCEPT_SECONDS);
        if (status != CAIRN_OK ||
            MPI_Recv(&next, sizeof next, MPI_BYTE, 0, TAG_NEXT, parent, MPI_STATUS_IGNORE) != MPI_SUCCESS ||
            next >= b->others) {
            break;
        }
        if (MPI_Comm_accept(ports[next], MPI_INFO_NULL, 0, MPI_COMM_SELF, &comm) != MPI_SUCCESS ||
            MPI_Recv(&who, sizeof who, MPI_BYTE, 0, TAG_WHO, comm, MPI_STATUS_IGNORE) != MPI_SUCCESS ||
            who >= b->peers) {
            status = cairn_fail(error, CAIRN_E_MPI, "MPI_Comm_accept failed");
        } else {
            status = link_open_alone(link, peer_of[who], comm, error);
        }
    }
    (void)alarm(0);
    free(ports);
    return status;
}

cairn_status link_open_later(cairn_link *link, MPI_Comm parent, cairn_error *error)
{
    birth b;
    uint32_t *peer_of;
    cairn_status status;

    MPI_Comm_set_errhandler(parent, MPI_ERRORS_RETURN);
    MPI_Recv(&b, sizeof b, MPI_BYTE, 0, TAG_BIRTH, parent, MPI_STATUS_IGNORE);
    peer_of = calloc(b.peers, sizeof *peer_of);
    link->facts = malloc((size_t)b.facts + 1);
    link->facts_bytes = (size_t)b.facts;
    if (peer_of == NULL || link->facts == NULL) {
        free(peer_of);
        return cairn_fail(error, CAIRN_E_NOMEM, "what the parent tells");
    }
    MPI_Recv(peer_of, (int)(b.peers * sizeof *peer_of), MPI_BYTE, 0, TAG_PEERS, parent, MPI_STATUS_IGNORE);
    MPI_Recv(link->facts, (int)b.facts, MPI_BYTE, 0, TAG_FACTS, parent, MPI_STATUS_IGNORE);
    link->self = b.slot;
    link->count = b.peers;
    link->processes = b.processes;
    link->agreeing = MPI_COMM_NULL;
    status = link_make_room(link, b.vectors != 0, error);
    if (status == CAIRN_OK) {
        status = link_open_alone(link, peer_of[b.parent], parent, error);
    }
    if (status == CAIRN_OK) {
        status = accept_others(link, &b, peer_of, parent, error);
    }
    free(peer_of);
    return status;
}

bool cairn_link_spawns(void)
{
#if defined(OMPI_MAJOR_VERSION)
    return OMPI_MAJOR_VERSION < 5;
#else
    return false;
#endif
}

const void *cairn_link_facts(const cairn_link *link, size_t *bytes)
{
    *bytes = link->facts_bytes;
    return link->facts;
}

cairn_status cairn_link_spawn(cairn_link *link, const cairn_link_birth *child, char (*ports)[CAIRN_PORT_BYTES],
                              cairn_error *error)
{
    birth b = {.slot = child->slot,
               .processes = link->processes,
               .peers = link->count,
               .vectors = link->vector_bytes != 0,
               .parent = child->parent,
               .others = child->others,
               .facts = child->facts_bytes};
    MPI_Info info = MPI_INFO_NULL;
    MPI_Comm comm = MPI_COMM_NULL;
    int failed = 0;
    int status;

    MPI_Info_create(&info);
    MPI_Info_set(info, "wdir", child->folder);
    MPI_Info_set(info, "bind_to", "none"); /* alone on its "host" it would be bound to one core with all its threads */
    status = MPI_Comm_spawn(child->program, child->arguments, 1, info, 0, MPI_COMM_SELF, &comm, &failed);
    MPI_Info_free(&info);
    if (status != MPI_SUCCESS || failed != MPI_SUCCESS || comm == MPI_COMM_NULL) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Comm_spawn failed");
    }
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Send(&b, sizeof b, MPI_BYTE, 0, TAG_BIRTH, comm);
    MPI_Send(child->peer_of, (int)(b.peers * sizeof *child->peer_of), MPI_BYTE, 0, TAG_PEERS, comm);
    MPI_Send(child->facts, (int)child->facts_bytes, MPI_BYTE, 0, TAG_FACTS, comm);
    if (MPI_Recv(ports, (int)(b.others * sizeof *ports), MPI_BYTE, 0, TAG_PORT, comm, MPI_STATUS_IGNORE) !=
        MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "a spawned rank did not answer");
    }
    return link_open_alone(link, child->slot, comm, error);
}

void cairn_link_invite(cairn_link *link, uint32_t slot, uint32_t next)
{
    MPI_Send(&next, sizeof next, MPI_BYTE, 0, TAG_NEXT, link->outlets[slot].comm); /* a few bytes: MPI keeps them */
}

cairn_status cairn_link_connect(cairn_link *link, uint32_t child, uint32_t rank, const char *port, cairn_error *error)
{
    char name[MPI_MAX_PORT_NAME] = "";
    MPI_Comm comm = MPI_COMM_NULL;

    memcpy(name, port, strlen(port));
    if (MPI_Comm_connect(name, MPI_INFO_NULL, 0, MPI_COMM_SELF, &comm) != MPI_SUCCESS) {
        return cairn_fail(error, CAIRN_E_MPI, "MPI_Comm_connect failed");
    }
    MPI_Send(&rank, sizeof rank, MPI_BYTE, 0, TAG_WHO, comm);
    return link_open_alone(link, child, comm, error);
}
