/* Little-endian bytes to write and to read back, with every length checked when read.
 *
 * A pack grows as it is written; the first failed allocation is remembered and told by cairn_pack_ok. An unpack never
 * reads past its end: the first attempt makes it bad, everything it gives after that is 0, and the caller asks once,
 * at the end. */
#ifndef CAIRN_BASE_PACK_H
#define CAIRN_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct cairn_pack {
    uint8_t *data; /* free() it */
    size_t bytes, room;
    bool failed;
} cairn_pack;

typedef struct cairn_unpack {
    const uint8_t *data;
    size_t bytes, at;
    bool bad;
} cairn_unpack;

/* Room for `bytes` more bytes, or NULL. */
static inline uint8_t *cairn_pack_room(cairn_pack *pack, size_t bytes)
{
    if (pack->failed || bytes > SIZE_MAX / 4 - pack->bytes) {
        pack->failed = true;
        return NULL;
    }
    if (pack->bytes + bytes > pack->room) {
        size_t room = (pack->bytes + bytes) * 2 + 64;
        uint8_t *data = realloc(pack->data, room);
        if (data == NULL) {
            pack->failed = true;
            return NULL;
        }
        pack->data = data;
        pack->room = room;
    }
    pack->bytes += bytes;
    return pack->data + pack->bytes - bytes;
}

static inline bool cairn_pack_ok(const cairn_pack *pack)
{
    return !pack->failed;
}

static inline void cairn_pack_bytes(cairn_pack *pack, const void *data, size_t bytes)
{
    uint8_t *at = cairn_pack_room(pack, bytes);
    if (at != NULL && bytes > 0) {
        memcpy(at, data, bytes);
    }
}

static inline void cairn_pack_uint(cairn_pack *pack, uint64_t value, size_t bytes)
{
    uint8_t *at = cairn_pack_room(pack, bytes);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (at != NULL) {
        memcpy(at, &value, bytes);
    }
#else
    for (size_t i = 0; at != NULL && i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
#endif
}

static inline void cairn_pack_u8(cairn_pack *pack, uint8_t value)
{
    cairn_pack_uint(pack, value, 1);
}
static inline void cairn_pack_u32(cairn_pack *pack, uint32_t value)
{
    cairn_pack_uint(pack, value, 4);
}
static inline void cairn_pack_u64(cairn_pack *pack, uint64_t value)
{
    cairn_pack_uint(pack, value, 8);
}
/* A length (u32) and the bytes. */
static inline void cairn_pack_text(cairn_pack *pack, const void *text, size_t bytes)
{
    if (bytes > UINT32_MAX) {
        pack->failed = true;
        return;
    }
    cairn_pack_u32(pack, (uint32_t)bytes);
    cairn_pack_bytes(pack, text, bytes);
}

static inline size_t cairn_unpack_left(const cairn_unpack *unpack)
{
    return unpack->bad ? 0 : unpack->bytes - unpack->at;
}

/* The next `bytes` bytes, or NULL. */
static inline const uint8_t *cairn_unpack_bytes(cairn_unpack *unpack, uint64_t bytes)
{
    if (unpack->bad || bytes > unpack->bytes - unpack->at) {
        unpack->bad = true;
        return NULL;
    }
    unpack->at += (size_t)bytes;
    return unpack->data + unpack->at - bytes;
}

static inline uint64_t cairn_unpack_uint(cairn_unpack *unpack, size_t bytes)
{
    const uint8_t *at = cairn_unpack_bytes(unpack, bytes);
    uint64_t value = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (at != NULL) {
        memcpy(&value, at, bytes);
    }
#else
    for (size_t i = 0; at != NULL && i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
#endif
    return value;
}

static inline uint8_t cairn_unpack_u8(cairn_unpack *unpack)
{
    return (uint8_t)cairn_unpack_uint(unpack, 1);
}
static inline uint32_t cairn_unpack_u32(cairn_unpack *unpack)
{
    return (uint32_t)cairn_unpack_uint(unpack, 4);
}
static inline uint64_t cairn_unpack_u64(cairn_unpack *unpack)
{
    return cairn_unpack_uint(unpack, 8);
}
/* What cairn_pack_text wrote; *bytes is 0 when bad. */
static inline const uint8_t *cairn_unpack_text(cairn_unpack *unpack, size_t *bytes)
{
    uint32_t length = cairn_unpack_u32(unpack);
    const uint8_t *at = cairn_unpack_bytes(unpack, length);
    *bytes = at == NULL ? 0 : length;
    return at;
}

#endif
