#include "coord/group.h"

#include "base/durable.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT 1

static void record_path(char *path, size_t bytes, const char *dir)
{
    (void)snprintf(path, bytes, "%.3900s/consensus/group.json", dir);
}

void cairn_group_folder(char *path, size_t bytes, const char *dir, const cairn_group *group, uint32_t acceptor)
{
    (void)snprintf(path, bytes, "%.3900s/consensus/group-%06" PRIu32 "/acceptor-%06" PRIu32, dir, group->epoch,
                   acceptor);
}

/* ---------------------------------------------------------------- the record */

static bool take_number(const json_t *object, const char *name, uint32_t least, uint32_t most, uint32_t *out)
{
    const json_t *value = json_object_get(object, name);
    json_int_t number = json_integer_value(value);

    *out = (uint32_t)number;
    return json_is_integer(value) && number >= least && number <= most;
}

static bool take_group(const json_t *root, cairn_group *group)
{
    const json_t *acceptors = json_object_get(root, "acceptors");
    uint32_t format;

    if (!take_number(root, "format", FORMAT, FORMAT, &format) ||
        !take_number(root, "epoch", 1, UINT32_MAX, &group->epoch) ||
        !take_number(root, "processes", 1, 65535, &group->count) || !json_is_array(acceptors) ||
        json_array_size(acceptors) < 1 || json_array_size(acceptors) > MP_ACCEPTORS_MAX ||
        !json_is_boolean(json_object_get(root, "formed"))) {
        return false;
    }
    group->formed = json_is_true(json_object_get(root, "formed"));
    group->acceptor_count = (uint32_t)json_array_size(acceptors);
    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        json_int_t id = json_integer_value(json_array_get(acceptors, i));

        if (!json_is_integer(json_array_get(acceptors, i)) || id < 0 || id >= (json_int_t)group->count ||
            (i > 0 && id <= (json_int_t)group->acceptors[i - 1])) {
            return false;
        }
        group->acceptors[i] = (uint32_t)id;
    }
    return true;
}

cairn_status cairn_group_read(const char *dir, cairn_group *group, cairn_error *error)
{
    char path[CAIRN_GROUP_PATH_BYTES];
    json_error_t why;
    FILE *file;
    json_t *root;
    bool good;

    *group = (cairn_group){0};
    record_path(path, sizeof path, dir);
    file = fopen(path, "r");
    if (file == NULL) {
        return cairn_fail_errno(error, errno, path, "open");
    }
    root = json_loadf(file, 0, &why);
    (void)fclose(file);
    good = root != NULL && take_group(root, group);
    json_decref(root);
    return good ? CAIRN_OK
                : cairn_fail(error, CAIRN_E_CORRUPT, "%s: %s", path,
                             root == NULL ? why.text : "not the record of a group of acceptors");
}

bool cairn_group_has_logs(const char *dir)
{
    char path[CAIRN_GROUP_PATH_BYTES];
    const struct dirent *entry;
    bool found = false;
    DIR *folder;

    (void)snprintf(path, sizeof path, "%.3900s/consensus", dir);
    folder = opendir(path);
    while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
        found = strncmp(entry->d_name, "group-", 6) == 0;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return found;
}

cairn_status cairn_group_write(const char *dir, const cairn_group *group, cairn_error *error)
{
    char path[CAIRN_GROUP_PATH_BYTES];
    char folder[CAIRN_GROUP_PATH_BYTES];
    json_t *acceptors = json_array();
    json_t *root;
    char *text;
    cairn_status status;

    for (uint32_t i = 0; i < group->acceptor_count; i++) {
        (void)json_array_append_new(acceptors, json_integer((json_int_t)group->acceptors[i]));
    }
    root = json_pack("{s:i,s:I,s:I,s:o,s:b}", "format", FORMAT, "epoch", (json_int_t)group->epoch, "processes",
                     (json_int_t)group->count, "acceptors", acceptors, "formed", group->formed ? 1 : 0);
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(root);
    if (text == NULL) {
        return cairn_fail(error, CAIRN_E_NOMEM, "%s: consensus/group.json", dir);
    }
    record_path(path, sizeof path, dir);
    cairn_folder_of(folder, sizeof folder, path);
    status = cairn_make_folders(folder, error);
    if (status == CAIRN_OK) {
        status = cairn_replace_file(path, text, strlen(text), error);
    }
    free(text);
    return status;
}

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *at)
{
    (void)found;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

void cairn_group_remove_older(const char *dir, const cairn_group *group)
{
    for (uint32_t epoch = group->epoch; epoch > 1; epoch--) {
        char path[CAIRN_GROUP_PATH_BYTES];

        (void)snprintf(path, sizeof path, "%.3900s/consensus/group-%06" PRIu32, dir, epoch - 1);
        if (access(path, F_OK) != 0) {
            return; /* the ones before were removed with it */
        }
        (void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---------------------------------------------------------------- choosing */

static uint32_t count_nodes(const uint64_t *node, uint32_t count)
{
    uint32_t nodes = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = 0;

        while (j < i && node[j] != node[i]) {
            j++;
        }
        nodes += j == i ? 1 : 0;
    }
    return nodes;
}

/* How many processes of the same node come before process i. */
static uint32_t turn_of(const uint64_t *node, uint32_t i)
{
    uint32_t turn = 0;

    for (uint32_t j = 0; j < i; j++) {
        turn += node[j] == node[i] ? 1 : 0;
    }
    return turn;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y ? 1 : 0;
}

/* First one process of each node, then a second one of each, and so on. */
void cairn_group_choose(cairn_group *group, const uint64_t *node, uint32_t count, uint32_t wanted)
{
    uint32_t want = wanted != 0 ? wanted : count < 3 ? 1 : count_nodes(node, count) >= 5 ? 5 : 3;

    while (want > count || want > MP_ACCEPTORS_MAX) {
        want -= want > 2 ? 2 : 1;
    }
    group->count = count;
    group->acceptor_count = 0;
    for (uint32_t turn = 0; group->acceptor_count < want; turn++) {
        for (uint32_t i = 0; i < count && group->acceptor_count < want; i++) {
            if (turn_of(node, i) == turn) {
                group->acceptors[group->acceptor_count++] = i;
            }
        }
    }
    qsort(group->acceptors, group->acceptor_count, sizeof group->acceptors[0], by_id);
}
