/* The catalogue of a table in shards: CAIRN_CATALOGUE_NAME in their folder, JSON.
 *
 *   {"format": "cairn catalogue 1", "rows": 3, "columns": [{"name": "city", "type": "text", "width": 7}, ...],
 *    "shards": [{"file": "shard-000000.h5", "rows": 3, "bytes": 9000, "xxh3": "32 hex digits"}, ...],
 *    "places": ["n1:/disk/table", ...]}
 *
 * places are folders that hold the same shards, or some of them: each on one host, or without a host on all (plan.h).
 *
 * It is written last: without it the table is not there. What it names has to be there, and as it says. */
#ifndef CAIRN_DATASET_CATALOGUE_H
#define CAIRN_DATASET_CATALOGUE_H

#include "dataset/shard.h"

#define CAIRN_CATALOGUE_NAME "catalogue.json"

typedef struct cairn_catalogue_shard {
    char *file; /* a name in the catalogue's folder */
    uint64_t rows;
    cairn_part_seal seal;
} cairn_catalogue_shard;

typedef struct cairn_catalogue_column {
    char *name;
    cairn_shard_type type;
    uint32_t width;
} cairn_catalogue_column;

typedef struct cairn_catalogue {
    uint64_t rows;
    uint32_t column_count, shard_count, place_count;
    cairn_catalogue_column *columns;
    cairn_catalogue_shard *shards;
    char **places;
} cairn_catalogue;

const char *cairn_shard_type_name(cairn_shard_type type);

/* CAIRN_E_NOT_FOUND, CAIRN_E_ACCESS, CAIRN_E_IO, CAIRN_E_NOMEM; CAIRN_E_INVALID: it is no catalogue, or of another format. */
CAIRN_MUST_CHECK cairn_status cairn_catalogue_read(cairn_catalogue *catalogue, const char *path, cairn_error *error);
CAIRN_MUST_CHECK cairn_status cairn_catalogue_write(const cairn_catalogue *catalogue, const char *path,
                                                    cairn_error *error);
void cairn_catalogue_free(cairn_catalogue *catalogue); /* safe on zeros */

#endif
