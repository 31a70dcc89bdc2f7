/* Parts in a folder on the host of their process: LOCAL/cairn-RUN/000007/process-000003.h5, a file as in DIR (image.h), without
 * a record beside it: what binds the parts is the value in the log (levels.c). A process keeps at most three, the committed
 * one, the one that is being written and one that is on its way to DIR (flush.c); when the job is done they go. */
#include "base/durable.h"
#include "process/partner.h"
#include "snapshot/seal.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cairn_local_folder(const cairn_process *p, uint64_t number, char path[CAIRN_LOCAL_BYTES])
{
    (void)snprintf(path, CAIRN_LOCAL_BYTES, "%s/cairn-%s/%06" PRIu64, p->local, p->run, number);
}

void cairn_local_part(const cairn_process *p, uint64_t number, char path[CAIRN_LOCAL_BYTES])
{
    cairn_store_local_part(path, CAIRN_LOCAL_BYTES, p->local, p->run, number, p->self);
}

void cairn_local_sweep(const cairn_process *p, uint64_t below, uint64_t but, uint64_t and_but)
{
    char root[CAIRN_LOCAL_BYTES];
    char path[CAIRN_LOCAL_BYTES];
    struct dirent *entry;
    DIR *folder;

    if (p->local[0] == '\0') {
        return;
    }
    cairn_store_local_root(root, sizeof root, p->local, p->run);
    folder = opendir(root);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || *end != '\0' || number >= below || number == but ||
            number == and_but) {
            continue;
        }
        cairn_local_part(p, number, path);
        (void)unlink(path);
        (void)snprintf(path + strlen(path), sizeof path - strlen(path), ".tmp"); /* of who was killed at it */
        (void)unlink(path);
        cairn_local_folder(p, number, path);
        (void)rmdir(path); /* by whoever is the last */
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)rmdir(root);
}

/* The word of this process in "7 STEP TIME COUNT CHECK CHECK ...". */
static bool read_value(const cairn_process *p, const char *text, cairn_local_record *record, uint64_t *check)
{
    int end = 0;
    char word[17];

    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %31s %" SCNu32 "%n", &record->number, &record->step, record->time,
               &record->count, &end) != 4 ||
        strlen(text) != (size_t)end + (size_t)record->count * 17) {
        return false;
    }
    if (record->count != p->count) {
        return true;
    }
    memcpy(word, text + end + (size_t)p->self * 17 + 1, 16);
    word[16] = '\0';
    *check = strtoull(word, NULL, 16);
    return true;
}

cairn_status cairn_local_open(cairn_process *p, const char *value, cairn_local_record *record, cairn_part **part)
{
    char path[CAIRN_LOCAL_BYTES];
    cairn_part_seal seal;
    uint64_t check = 0;
    int fd;
    cairn_status status;

    *part = NULL;
    if (!read_value(p, value, record, &check)) {
        return cairn_fail(&p->error, CAIRN_E_CORRUPT, "what the log says of the local snapshot is no such value");
    }
    if (record->count != p->count) {
        return cairn_fail(&p->error, CAIRN_E_MISMATCH, "it is on the disks of the hosts of %" PRIu32 " processes",
                          record->count);
    }
    cairn_local_part(p, record->number, path);
    status = cairn_seal_open(&fd, path, &p->error);
    if (status != CAIRN_OK) {
        return status;
    }
    status = cairn_seal_read(fd, path, CAIRN_SEALED_PART, &seal, &p->error);
    (void)close(fd);
    if (status == CAIRN_OK && seal.digest.low != check) {
        status = cairn_fail(&p->error, CAIRN_E_CORRUPT, "%s: is another part than the one that was committed", path);
    }
    if (status == CAIRN_OK) {
        status = cairn_part_open(part, path, &seal, &p->error);
    }
    if (status == CAIRN_OK &&
        (cairn_part_get_head(*part)->process != p->self || cairn_part_get_head(*part)->count != p->count ||
         cairn_part_get_head(*part)->number != record->number)) {
        status = cairn_fail(&p->error, CAIRN_E_CORRUPT, "%s: is the part of another process", path);
    }
    return status;
}
