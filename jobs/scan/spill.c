/* scan: groups that do not fit in --memory.
 *
 * A process whose table has become too large writes it out as a run (dataset/run.h) and begins anew. Its runs are as much a
 * part of its state as the table is. With a DIR they are files there: made once, never changed, durable before a snapshot
 * names them, and read by whoever has the state then; all are removed when the job is over. Without one nothing survives
 * anyway, and they are temporary files, which go as soon as nobody needs them.
 *
 * A PART or HEDGED message names runs, it does not carry them: process 0 reads the files. What is in the message itself is
 * small, since a process with a table that is not writes it out first.
 *
 * Of --memory, without what is in flight, the table gets a sixth and the block beside it a twelfth: a snapshot needs both twice
 * more, packed and in the image; the answer an eighth for the groups that are sorted at once, and as much for their order. Parts
 * that are under way to process 0 may take half of it, all together. */
#include "scan.h"

#include "base/durable.h"
#include "base/environment.h"

#include <dirent.h>
#include <unistd.h>

enum { TABLE_SHARE = 6, APART_SHARE = 12, PART_SHARE = 2 };

void scan_spill_begin(scan *s, bool anew)
{
    const char *dir = getenv(CAIRN_ENV_DIR);

    if (s->spill.folder == NULL && dir != NULL && *dir != '\0' &&
        snprintf(s->spill_folder, sizeof s->spill_folder, "%s/spill", dir) < (int)sizeof s->spill_folder) {
        s->spill.folder = s->spill_folder;
    }
    (void)snprintf(s->spill.stem, sizeof s->spill.stem, "%u-%u-%u", cairn_incarnation(s->process), s->epoch, s->id);
    if (anew && s->id == 0) {
        scan_spill_remove(s);
    }
}

cairn_status scan_spill_leave_room(scan *s, cairn_error *error)
{
    uint64_t largest = 0;

    for (uint32_t i = 0; i < s->plan.block_count; i++) {
        uint64_t bytes = cairn_plan_block_bytes(&s->plan, i);
        bool ahead = s->plan.files[s->plan.blocks[i].file].packing == CAIRN_NOT_PACKED;
        largest = ahead && bytes > largest ? bytes : largest;
    }
    largest *= s->options.in_flight;
    if (s->options.memory > 0 && s->options.memory < largest + SCAN_MEMORY_MIN) {
        return cairn_fail(
            error, CAIRN_E_INVALID,
            "--memory %llu: less than the %llu bytes of the blocks that are in flight, and %d for the rest",
            (unsigned long long)s->options.memory, (unsigned long long)largest, SCAN_MEMORY_MIN);
    }
    s->spill.memory = s->options.memory - (s->options.memory > 0 ? largest : 0);
    return CAIRN_OK;
}

void scan_spill_remove(const scan *s)
{
    DIR *folder = s->spill.folder == NULL ? NULL : opendir(s->spill.folder);
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".run") != NULL) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
        (void)rmdir(s->spill.folder);
    }
}

void scan_drop_runs(const scan *s, cairn_runs *runs)
{
    if (s->spill.folder == NULL) {
        cairn_runs_remove_files(runs);
    }
    cairn_runs_free(runs);
}

cairn_status scan_spill_total(scan *s, cairn_error *error)
{
    cairn_groups *total = &s->lead.total;

    return s->spill.memory > 0 && cairn_groups_bytes(total) > s->spill.memory / TABLE_SHARE
               ? cairn_spill_groups(&s->spill, total, &s->lead.runs, error)
               : CAIRN_OK;
}

cairn_status scan_spill_if_full(scan *s, cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    if (s->spill.memory > 0 && cairn_groups_bytes(&s->groups) > s->spill.memory / TABLE_SHARE) {
        status = cairn_spill_groups(&s->spill, &s->groups, &s->runs, error);
    }
    if (status == CAIRN_OK && s->spill.memory > 0 && cairn_groups_bytes(&s->apart) > s->spill.memory / APART_SHARE) {
        status = cairn_spill_groups(&s->spill, &s->apart, &s->apart_runs, error);
    }
    return status;
}

cairn_status scan_spill_to_send(scan *s, cairn_groups *groups, cairn_runs *runs, cairn_error *error)
{
    bool large = s->spill.memory > 0 && cairn_groups_bytes(groups) > s->spill.memory / PART_SHARE / s->count;

    return large || runs->count > 0 ? cairn_spill_groups(&s->spill, groups, runs, error) : CAIRN_OK;
}

void scan_spill_end(scan *s, bool over)
{
    if (s->spill.folder != NULL) {
        /* By who has given the answer: until then it may still be reading. */
        if (over && (s->said || s->exit_code != CAIRN_EXIT_OK)) {
            scan_spill_remove(s);
        }
    } else {
        /* Process 0 knows them all, and may still be reading them, unless there is to be no answer. */
        cairn_runs_remove_files(&s->apart_runs);
        cairn_runs_remove_files(&s->lead.runs);
        if (s->id == 0 || !over || s->exit_code != CAIRN_EXIT_OK) {
            cairn_runs_remove_files(&s->runs);
        }
    }
    cairn_runs_free(&s->runs);
    cairn_runs_free(&s->apart_runs);
    cairn_runs_free(&s->lead.runs);
}
