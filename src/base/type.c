/* Element types: their size and their name. In a room that needs no MPI, since files and the command use them as well.
 */
#include <cairn/collective.h>

static const struct {
    size_t bytes;
    const char *text;
} types[] = {[CAIRN_U8] = {1, "u8"},   [CAIRN_I32] = {4, "i32"}, [CAIRN_U32] = {4, "u32"}, [CAIRN_I64] = {8, "i64"},
             [CAIRN_U64] = {8, "u64"}, [CAIRN_F32] = {4, "f32"}, [CAIRN_F64] = {8, "f64"}};

size_t cairn_type_bytes(cairn_type type)
{
    return (unsigned)type < sizeof types / sizeof types[0] ? types[type].bytes : 0;
}

const char *cairn_type_text(cairn_type type)
{
    return (unsigned)type < sizeof types / sizeof types[0] ? types[type].text : "unknown";
}
