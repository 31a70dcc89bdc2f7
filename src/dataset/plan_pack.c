/* A plan as bytes, and two of them compared. */
#include "dataset/plan_parts.h"

enum { PLAN_MAGIC = 0x364c5043 }; /* "CPL6" */

void cairn_plan_pack(const cairn_plan *plan, cairn_pack *pack)
{
    cairn_pack_u32(pack, PLAN_MAGIC);
    cairn_pack_u8(pack, (uint8_t)plan->delimiter);
    cairn_pack_u64(pack, plan->block_bytes);
    cairn_pack_u32(pack, plan->columns.count);
    for (uint32_t i = 0; i < plan->columns.count; i++) {
        cairn_pack_text(pack, plan->columns.name[i], strlen(plan->columns.name[i]));
        cairn_pack_u8(pack, plan->numeric[i]);
    }
    cairn_pack_u32(pack, plan->file_count);
    for (uint32_t i = 0; i < plan->file_count; i++) {
        const cairn_plan_file *file = &plan->files[i];
        cairn_pack_text(pack, file->path, strlen(file->path));
        cairn_pack_u64(pack, file->bytes);
        cairn_pack_u64(pack, file->data_start);
        cairn_pack_u64(pack, (uint64_t)file->modified_s);
        cairn_pack_u64(pack, (uint64_t)file->modified_ns);
        cairn_pack_u64(pack, file->ends.high);
        cairn_pack_u64(pack, file->ends.low);
        cairn_pack_u8(pack, file->careful);
        cairn_pack_u8(pack, file->packing);
        cairn_pack_u64(pack, file->rows);
        cairn_pack_u8(pack, file->is_shard);
    }
    cairn_pack_text(pack, plan->inside, strlen(plan->inside));
    cairn_pack_u32(pack, plan->replica_count);
    for (uint32_t i = 0; i < plan->replica_count; i++) {
        cairn_pack_text(pack, plan->replica[i], strlen(plan->replica[i]));
    }
}

/* A text as a new string; NULL when there is none or no memory. */
static char *unpack_string(cairn_unpack *unpack)
{
    size_t bytes;
    const uint8_t *text = cairn_unpack_text(unpack, &bytes);
    char *copy = text == NULL || memchr(text, 0, bytes) != NULL ? NULL : malloc(bytes + 1);

    if (copy == NULL) {
        unpack->bad = true;
        return NULL;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

static void unpack_file(cairn_plan_file *file, cairn_unpack *unpack)
{
    file->path = unpack_string(unpack);
    file->bytes = cairn_unpack_u64(unpack);
    file->data_start = cairn_unpack_u64(unpack);
    file->modified_s = (int64_t)cairn_unpack_u64(unpack);
    file->modified_ns = (int64_t)cairn_unpack_u64(unpack);
    file->ends.high = cairn_unpack_u64(unpack);
    file->ends.low = cairn_unpack_u64(unpack);
    file->careful = cairn_unpack_u8(unpack) != 0;
    file->packing = cairn_unpack_u8(unpack);
    file->rows = cairn_unpack_u64(unpack);
    file->is_shard = cairn_unpack_u8(unpack) != 0;
    if (file->packing > CAIRN_HDF5 || file->bytes > (uint64_t)INT64_MAX ||
        file->data_start > (file->packing == CAIRN_NOT_PACKED ? file->bytes : CAIRN_SAMPLE_BYTES)) {
        unpack->bad = true;
    }
}

cairn_status cairn_plan_unpack(cairn_plan *plan, cairn_unpack *unpack)
{
    uint64_t total = 0;

    memset(plan, 0, sizeof *plan);
    uint32_t magic = cairn_unpack_u32(unpack);
    plan->delimiter = (char)cairn_unpack_u8(unpack);
    plan->block_bytes = cairn_unpack_u64(unpack);
    uint32_t columns = cairn_unpack_u32(unpack);
    if (!unpack->bad && magic != PLAN_MAGIC) {
        return CAIRN_E_VERSION;
    }
    if (unpack->bad || plan->block_bytes == 0 || columns == 0 || columns > CAIRN_COLUMNS_MAX) {
        return CAIRN_E_CORRUPT;
    }
    plan->columns.name = calloc(columns, sizeof *plan->columns.name);
    plan->numeric = calloc(columns, sizeof *plan->numeric);
    unpack->bad = unpack->bad || plan->columns.name == NULL || plan->numeric == NULL;
    for (uint32_t i = 0; i < columns && !unpack->bad; i++) {
        plan->columns.name[plan->columns.count++] = unpack_string(unpack);
        plan->numeric[i] = cairn_unpack_u8(unpack) != 0;
    }
    uint32_t files = cairn_unpack_u32(unpack);
    if (files > cairn_unpack_left(unpack) / 62) { /* each takes that many bytes at least */
        unpack->bad = true;
    }
    plan->files = unpack->bad ? NULL : calloc(files + (size_t)1, sizeof *plan->files);
    for (uint32_t i = 0; plan->files != NULL && i < files && !unpack->bad; i++) {
        unpack_file(&plan->files[plan->file_count++], unpack);
        total += plan->files[i].bytes / plan->block_bytes;
    }
    plan->inside = unpack_string(unpack);
    uint32_t replicas = cairn_unpack_u32(unpack);
    if (replicas > CAIRN_REPLICAS_MAX) {
        unpack->bad = true;
    }
    plan->replica = unpack->bad ? NULL : calloc(replicas + (size_t)1, sizeof *plan->replica);
    for (uint32_t i = 0; plan->replica != NULL && i < replicas && !unpack->bad; i++) {
        plan->replica[plan->replica_count++] = unpack_string(unpack);
    }
    if (unpack->bad || plan->files == NULL || plan->inside == NULL || plan->replica == NULL || total > 1u << 29 ||
        plan_make_blocks(plan, NULL) != CAIRN_OK) {
        cairn_plan_free(plan);
        return CAIRN_E_CORRUPT;
    }
    return CAIRN_OK;
}

cairn_status cairn_plan_compare(const cairn_plan *then, const cairn_plan *now, cairn_error *error)
{
    for (uint32_t i = 0; i < then->file_count && i < now->file_count; i++) {
        const cairn_plan_file *a = &then->files[i], *b = &now->files[i];
        if (strcmp(a->path, b->path) != 0) {
            return cairn_fail(error, CAIRN_E_MISMATCH, "%s: was %s when the snapshot was taken", b->path, a->path);
        }
        if (a->bytes != b->bytes) {
            return cairn_fail(error, CAIRN_E_MISMATCH, "%s: has %llu bytes, but had %llu when the snapshot was taken",
                              b->path, (unsigned long long)b->bytes, (unsigned long long)a->bytes);
        }
        if (a->modified_s != b->modified_s || a->modified_ns != b->modified_ns || a->data_start != b->data_start ||
            !cairn_digest_equal(a->ends, b->ends)) {
            return cairn_fail(error, CAIRN_E_MISMATCH, "%s: was changed since the snapshot was taken", b->path);
        }
    }
    if (then->file_count != now->file_count) {
        const cairn_plan *longer = then->file_count > now->file_count ? then : now;
        uint32_t index = then->file_count > now->file_count ? now->file_count : then->file_count;
        return cairn_fail(error, CAIRN_E_MISMATCH, "%s: was %s since the snapshot was taken", longer->files[index].path,
                          longer == now ? "added" : "taken away");
    }
    if (then->delimiter != now->delimiter || then->block_bytes != now->block_bytes) {
        return cairn_fail(error, CAIRN_E_MISMATCH, "the delimiter or the block size is not the snapshot's");
    }
    return CAIRN_OK;
}
