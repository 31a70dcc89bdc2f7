/* The leader's clock over leases and sessions. Only a leader ends one, by a command; a new leader gives all of them
 * their whole time again, since it does not know when they were last kept alive. */
#include "coord/replica_core.h"

#define CHECK_EVERY UINT64_C(20000) /* microseconds */

static lease_clock *find(cairn_replica *r, uint64_t id)
{
    size_t low = 0;
    size_t high = r->lease_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->leases[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < r->lease_count && r->leases[low].id == id ? &r->leases[low] : NULL;
}

static uint64_t deadline(const cairn_replica *r, double ttl)
{
    return r->now + (uint64_t)(ttl * 1e6);
}

/* Ids rise: each new lease comes after all others. */
static void add(void *context, const cairn_lease_view *lease)
{
    cairn_replica *r = context;

    if (r->lease_count == r->lease_room) {
        size_t room = r->lease_room * 2 + 64;
        lease_clock *grown = realloc(r->leases, room * sizeof *grown);

        if (grown == NULL) {
            (void)replica_fail(r, CAIRN_E_NOMEM, "leases");
            return;
        }
        r->leases = grown;
        r->lease_room = room;
    }
    r->leases[r->lease_count++] = (lease_clock){.id = lease->id, .deadline = deadline(r, lease->ttl)};
}

void lease_elected(cairn_replica *r)
{
    r->lease_count = 0;
    cairn_state_leases(r->state, add, r);
}

/* A session and the leases that it has. */
bool lease_extend(cairn_replica *r, uint64_t id)
{
    const lease_clock *own = find(r, id);

    if (own == NULL || own->expiring) {
        return false;
    }
    for (size_t i = 0; i < r->lease_count; i++) {
        cairn_lease_view view;

        if (cairn_state_lease(r->state, r->leases[i].id, &view) && (view.id == id || view.session == id)) {
            r->leases[i].deadline = deadline(r, view.ttl);
        }
    }
    return true;
}

/* Called after every command, whoever leads; the list is only kept by a leader. */
void lease_note(cairn_replica *r, const cairn_question *command, const cairn_response *response)
{
    cairn_lease_view view;

    if (!mp_is_leader(r->core) || response->status != CAIRN_OK) {
        return;
    }
    if ((command->op == CAIRN_OP_OPEN || command->op == CAIRN_OP_GRANT) && find(r, response->number) == NULL &&
        cairn_state_lease(r->state, response->number, &view)) {
        if (r->lease_count > 0 && view.id < r->leases[r->lease_count - 1].id) {
            lease_elected(r);
        } else {
            add(r, &view);
        }
    }
}

void lease_tick(cairn_replica *r)
{
    size_t kept = 0;

    if (!mp_is_leader(r->core) || r->now < r->leases_checked + CHECK_EVERY) {
        return;
    }
    r->leases_checked = r->now;
    for (size_t i = 0; i < r->lease_count; i++) {
        lease_clock l = r->leases[i];
        cairn_lease_view view;

        if (!cairn_state_lease(r->state, l.id, &view)) {
            continue; /* closed or expired */
        }
        if (r->now >= l.deadline && !l.expiring) {
            cairn_question expire = {.op = CAIRN_OP_EXPIRE, .number = l.id, .key = ""};

            ask_own(r, &expire);
            l.expiring = true;
        }
        r->leases[kept++] = l;
    }
    r->lease_count = kept;
}
