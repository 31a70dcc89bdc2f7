/* scan in survive mode: what is kept in the coordination service. See survive.c. */
#include "survive.h"

uint32_t survive_launch(const scan *s)
{
    return cairn_incarnation(s->process);
}

static void key_of(const scan *s, uint32_t partition, char key[SURVIVE_KEY_BYTES])
{
    (void)snprintf(key, SURVIVE_KEY_BYTES, "scan/%" PRIu32 "/%" PRIu32 "/%" PRIu32, survive_launch(s), s->generation,
                   partition);
}

void survive_key(const scan *s, const char *name, char key[SURVIVE_KEY_BYTES])
{
    (void)snprintf(key, SURVIVE_KEY_BYTES, "scan/%" PRIu32 "/%s", survive_launch(s), name);
}

cairn_status survive_service_failed(scan *s, cairn_status status)
{
    if (status != CAIRN_OK && status != CAIRN_E_STOPPED) {
        fprintf(stderr, "scan: process %" PRIu32 ": %s\n", s->id, cairn_coord_error(s->survive.coord));
    }
    return status;
}

/* ---------------------------------------------------------------- generations */

/* The value lists files, a blank behind each. version: changes since the launch began. */
cairn_status survive_take_generation(scan *s, const cairn_kv *kv)
{
    scan_survive *v = &s->survive;
    const char *text = kv->value;
    uint32_t generation = v->first_generation + (uint32_t)kv->version;
    char number[16];
    size_t used = 0;

    if (kv->key == NULL || kv->modified <= v->generation_at) {
        return CAIRN_OK;
    }
    v->generation_at = kv->modified;
    for (size_t i = 0; i < kv->bytes; i++) {
        if (text[i] != ' ' && used + 1 < sizeof number) {
            number[used++] = text[i];
            continue;
        }
        number[used] = '\0';
        used = 0;
        uint32_t file = (uint32_t)strtoul(number, NULL, 10);
        if (file < s->plan.file_count) {
            s->lead.careful[file] = true;
        }
    }
    for (uint32_t i = 0; i < s->count; i++) {
        survive_forget_part(s, i);
    }
    cairn_ledger_clear(&v->ledger);
    v->partition = v->finished = CAIRN_NOBODY;
    v->part_sent = false;
    v->bytes_done = 0;
    memset(v->progress, 0, s->count * sizeof *v->progress);
    return scan_forget(s, generation);
}

cairn_status survive_refresh_generation(scan *s)
{
    char key[SURVIVE_KEY_BYTES];
    cairn_kv kv = {0};

    survive_key(s, "generation", key);
    cairn_status status = cairn_coord_get(s->survive.coord, key, &kv, NULL);
    if (status == CAIRN_E_NOT_FOUND) {
        return CAIRN_OK;
    }
    return status == CAIRN_OK ? survive_take_generation(s, &kv) : survive_service_failed(s, status);
}

/* This file is careful: all begin anew. Somebody else may say so of it, or of another file, at the same time. */
cairn_status survive_begin_generation(scan *s, uint32_t file)
{
    uint32_t before = s->generation;
    char key[SURVIVE_KEY_BYTES];
    cairn_status status = CAIRN_E_MISMATCH;

    survive_key(s, "generation", key);
    while (status == CAIRN_E_MISMATCH && s->generation == before) {
        cairn_pack list = {0};
        for (uint32_t i = 0; i < s->plan.file_count; i++) {
            char number[16];
            if (i == file || (s->lead.careful[i] && !s->plan.files[i].careful)) {
                int length = snprintf(number, sizeof number, "%" PRIu32 " ", i);
                cairn_pack_bytes(&list, number, (size_t)length);
            }
        }
        status = cairn_pack_ok(&list)
                     ? cairn_coord_cas(s->survive.coord, key, s->survive.generation_at, list.data, list.bytes, 0, NULL)
                     : CAIRN_E_NOMEM;
        free(list.data);
        if (status == CAIRN_OK || status == CAIRN_E_MISMATCH) {
            cairn_status refreshed = survive_refresh_generation(s);
            status = refreshed != CAIRN_OK ? refreshed : status;
        }
    }
    if (status != CAIRN_OK && status != CAIRN_E_MISMATCH) {
        return survive_service_failed(s, status);
    }
    return survive_tell_all(s, SURVIVE_RESET, s->generation);
}

/* ---------------------------------------------------------------- taking partitions */

uint32_t survive_taker(const cairn_kv *kv)
{
    char text[16];
    size_t bytes = kv->bytes < sizeof text - 1 ? kv->bytes : sizeof text - 1;

    memcpy(text, kv->value, bytes);
    text[bytes] = '\0';
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Hear what the others took, as far as it has come here. */
static cairn_status hear(scan *s)
{
    cairn_change change;
    cairn_status status;

    while ((status = cairn_watch_next(s->survive.watch, 0.0, &change)) == CAIRN_OK) {
        uint32_t of_launch, generation, partition;
        if (!change.deleted &&
            sscanf(change.kv.key, "scan/%" SCNu32 "/%" SCNu32 "/%" SCNu32, &of_launch, &generation, &partition) == 3 &&
            of_launch == survive_launch(s) && generation == s->generation) {
            cairn_ledger_note(&s->survive.ledger, partition, survive_taker(&change.kv), change.kv.modified);
        }
    }
    return status == CAIRN_E_TIMEOUT || status == CAIRN_E_RANGE ? CAIRN_OK : survive_service_failed(s, status);
}

/* Somebody was faster, or a new generation has begun: look at what there is. */
static cairn_status learn(scan *s, uint32_t partition, const cairn_kv *got, size_t count)
{
    if (count > 1 && got[1].key != NULL) {
        cairn_ledger_note(&s->survive.ledger, partition, survive_taker(&got[1]), got[1].modified);
    }
    return count > 0 ? survive_take_generation(s, &got[0]) : CAIRN_OK;
}

/* One transaction: take `partition` (or none), and say that `finished` (or none) is read. */
static cairn_status transact(scan *s, uint32_t partition, bool *took)
{
    scan_survive *v = &s->survive;
    cairn_partition *parts = v->ledger.partitions;
    char mine[16], done[24], key[SURVIVE_KEY_BYTES], finished[SURVIVE_KEY_BYTES], generation[SURVIVE_KEY_BYTES];
    cairn_compare compares[3] = {{.kind = CAIRN_COMPARE_MODIFIED, .key = generation, .number = v->generation_at}};
    cairn_do then[2];
    cairn_do otherwise[2] = {{.kind = CAIRN_DO_GET, .key = generation}, {.kind = CAIRN_DO_GET, .key = key}};
    cairn_txn txn = {.compares = compares, .then = then, .otherwise = otherwise, .compare_count = 1};
    const cairn_kv *got = NULL;
    size_t count = 0;
    uint64_t revision;
    bool held = false;

    survive_key(s, "generation", generation);
    (void)snprintf(mine, sizeof mine, "%" PRIu32, s->id);
    (void)snprintf(done, sizeof done, "%" PRIu32 " done", s->id);
    if (partition != CAIRN_NOBODY) {
        key_of(s, partition, key);
        compares[txn.compare_count++] =
            (cairn_compare){.kind = CAIRN_COMPARE_MODIFIED, .key = key, .number = parts[partition].modified};
        then[txn.then_count++] = (cairn_do){.kind = CAIRN_DO_PUT, .key = key, .value = mine, .bytes = strlen(mine)};
    }
    if (v->finished != CAIRN_NOBODY) {
        key_of(s, v->finished, finished);
        compares[txn.compare_count++] =
            (cairn_compare){.kind = CAIRN_COMPARE_MODIFIED, .key = finished, .number = parts[v->finished].modified};
        then[txn.then_count++] =
            (cairn_do){.kind = CAIRN_DO_PUT, .key = finished, .value = done, .bytes = strlen(done)};
    }
    txn.otherwise_count = partition != CAIRN_NOBODY ? 2 : 1;
    cairn_status status = cairn_coord_transact(v->coord, &txn, &held, &revision, &got, &count);
    *took = held && partition != CAIRN_NOBODY;
    if (status != CAIRN_OK || !held) {
        return status == CAIRN_OK ? learn(s, partition, got, count) : survive_service_failed(s, status);
    }
    if (v->finished != CAIRN_NOBODY) {
        cairn_ledger_note(&v->ledger, v->finished, s->id, revision);
        v->finished = CAIRN_NOBODY;
    }
    if (*took) {
        cairn_ledger_note(&v->ledger, partition, s->id, revision);
        v->partition = partition;
        v->at = 0;
    }
    return CAIRN_OK;
}

cairn_status survive_take_next(scan *s, bool *none)
{
    scan_survive *v = &s->survive;
    uint32_t partition;
    bool took = false;
    cairn_status status = hear(s);

    partition = cairn_ledger_next(&v->ledger, s->id);
    *none = partition == CAIRN_NOBODY && v->finished == CAIRN_NOBODY;
    return status != CAIRN_OK || *none ? status : transact(s, partition, &took);
}
