/* Messages between replicas as bytes: XXH3-64 of all that follows (u64), kind (u8), and what the kind says. A message
 * whose checksum is wrong counts as lost. */
#include "coord/replica_core.h"

#include <xxhash.h>

void wire_begin(cairn_replica *r, wire_kind kind)
{
    r->pack.bytes = 0;
    cairn_pack_u64(&r->pack, 0);
    cairn_pack_u8(&r->pack, (uint8_t)kind);
}

static bool sign(cairn_replica *r)
{
    uint64_t sum;

    if (!cairn_pack_ok(&r->pack)) {
        (void)replica_fail(r, CAIRN_E_NOMEM, "a message of %zu bytes", r->pack.bytes);
        return false;
    }
    sum = XXH3_64bits(r->pack.data + sizeof sum, r->pack.bytes - sizeof sum);
    for (size_t i = 0; i < sizeof sum; i++) {
        r->pack.data[i] = (uint8_t)(sum >> (8 * i));
    }
    return true;
}

void wire_end(cairn_replica *r, uint32_t to)
{
    if (sign(r)) {
        r->host.send(r->host.context, to, r->pack.data, r->pack.bytes);
    }
}

static void count(cairn_replica *r, uint8_t kind)
{
    r->stats.messages++;
    r->stats.message_bytes += r->pack.bytes;
    r->stats.accepts += kind == MP_ACCEPT ? 1 : 0;
    r->stats.phase_2_bytes += kind == MP_ACCEPT ? r->pack.bytes : 0;
    r->stats.accepteds += kind == MP_ACCEPTED ? 1 : 0;
    r->stats.heartbeats += kind == MP_HEARTBEAT || kind == MP_ECHO ? 1 : 0;
}

static void pack_message(cairn_pack *pack, const mp_message *m)
{
    cairn_pack_u8(pack, m->kind);
    cairn_pack_u8(pack, (uint8_t)((m->yes ? 1 : 0) | (m->more ? 2 : 0)));
    cairn_pack_u64(pack, m->ballot);
    cairn_pack_u64(pack, m->promised);
    cairn_pack_u64(pack, m->slot);
    cairn_pack_u64(pack, m->to);
    cairn_pack_u64(pack, m->chosen);
    cairn_pack_u64(pack, m->sequence);
    cairn_pack_u32(pack, m->generation);
    for (uint32_t i = 0; m->kind == MP_PROMISE && i < MP_ACCEPTORS_MAX; i++) {
        cairn_pack_u32(pack, m->generations[i]);
    }
    cairn_pack_u8(pack, (uint8_t)m->vote_count);
    for (uint32_t i = 0; i < m->vote_count; i++) {
        const mp_vote *v = &m->votes[i];

        cairn_pack_u64(pack, v->slot);
        cairn_pack_u64(pack, v->ballot);
        cairn_pack_u8(pack, v->value.type);
        cairn_pack_text(pack, v->value.data, v->value.bytes);
    }
}

void wire_message(cairn_replica *r, const mp_send *send)
{
    const mp_options *o = &r->options.paxos;

    wire_begin(r, WIRE_PAXOS);
    pack_message(&r->pack, &send->message);
    if (!sign(r)) {
        return;
    }
    for (uint32_t i = 0; i < o->count; i++) {
        bool acceptor = mp_is_acceptor(r->core, i);
        bool meant = send->to == i || send->to == MP_TO_ALL || (send->to == MP_TO_ACCEPTORS && acceptor) ||
                     (send->to == MP_TO_LEARNERS && !acceptor);

        if (meant && i != r->self) {
            count(r, send->message.kind);
            r->host.send(r->host.context, i, r->pack.data, r->pack.bytes);
        }
    }
}

bool wire_open(const void *data, size_t bytes, wire_kind *kind, cairn_unpack *rest)
{
    uint64_t sum;

    *rest = (cairn_unpack){.data = data, .bytes = bytes};
    sum = cairn_unpack_u64(rest);
    if (rest->bad || sum != XXH3_64bits(rest->data + sizeof sum, bytes - sizeof sum)) {
        return false;
    }
    *kind = (wire_kind)cairn_unpack_u8(rest);
    return !rest->bad;
}

bool wire_read_message(cairn_unpack *u, uint32_t value_max, mp_message *m)
{
    uint8_t flags;

    memset(m, 0, offsetof(mp_message, votes));
    m->kind = cairn_unpack_u8(u);
    flags = cairn_unpack_u8(u);
    m->yes = (flags & 1) != 0;
    m->more = (flags & 2) != 0;
    m->ballot = cairn_unpack_u64(u);
    m->promised = cairn_unpack_u64(u);
    m->slot = cairn_unpack_u64(u);
    m->to = cairn_unpack_u64(u);
    m->chosen = cairn_unpack_u64(u);
    m->sequence = cairn_unpack_u64(u);
    m->generation = cairn_unpack_u32(u);
    for (uint32_t i = 0; m->kind == MP_PROMISE && i < MP_ACCEPTORS_MAX; i++) {
        m->generations[i] = cairn_unpack_u32(u);
    }
    m->vote_count = cairn_unpack_u8(u);
    if (m->vote_count > MP_VOTES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < m->vote_count; i++) {
        mp_vote *v = &m->votes[i];
        size_t bytes;

        v->slot = cairn_unpack_u64(u);
        v->ballot = cairn_unpack_u64(u);
        v->value.type = cairn_unpack_u8(u);
        v->value.data = cairn_unpack_text(u, &bytes);
        v->value.bytes = (uint32_t)bytes;
        if (bytes > value_max) {
            return false;
        }
    }
    return !u->bad;
}
