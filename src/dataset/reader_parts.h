/* What the files of the reader share: reader.c (text), reader_columns.c (columns as they lie in HDF5 files), reader_files.c (places,
 * and what is open). */
#ifndef CAIRN_DATASET_READER_PARTS_H
#define CAIRN_DATASET_READER_PARTS_H

#include "dataset/ahead.h"
#include "dataset/hdf5_text.h"
#include "dataset/reader.h"

enum {
    OPEN_MAX = 8,
    SLOTS_MAX = CAIRN_GROUP_COLUMNS_MAX + CAIRN_VALUE_COLUMNS_MAX + CAIRN_EXPR_COLUMNS_MAX,
    BORDER_BYTES = 128
};

/* A number for a cell; a text that is only counted; or anything else. */
enum { HOW_NUMBER, HOW_COUNT, HOW_GENERAL };

typedef struct open_file {
    uint32_t file;
    int fd; /* -1: free */
    uint64_t used;
} open_file;

/* One column that the query names. */
typedef struct column_state {
    cairn_hdf5_raw raw;
    bool as_text; /* its numbers are needed as text, too: for a group, a condition, a sketch */
    char *data;   /* of a run of rows */
    size_t room;
    char text[CAIRN_NUMBER_TEXT + CAIRN_CSV_SLACK]; /* of a number */
} column_state;

typedef struct columns_state {
    uint32_t file; /* UINT32_MAX: of none yet */
    uint8_t place;
    bool possible;
    uint64_t rows;
    column_state *slot; /* [reader->slots] */
} columns_state;

struct cairn_reader {
    const cairn_plan *plan;
    const cairn_query *query;
    open_file open[OPEN_MAX];
    uint64_t clock; /* of uses of open files */
    uint64_t bytes_read, replica_bytes, near_bytes;
    uint8_t place_is[1 + CAIRN_REPLICAS_MAX]; /* cairn_place_is */
    uint8_t *place;                           /* [files]: where it is read from */
    uint64_t *tried;                          /* [files]: a bit for each place where it could not be read */
    cairn_reader_moved *moved;
    void *moved_context;
    /* a window on a file: bytes [start, start + bytes) of it */
    char *window;
    size_t bytes, room;
    uint32_t file;
    uint64_t start;
    cairn_ahead *ahead;   /* or NULL */
    cairn_packed *packed; /* of packed_block, where its text is read; or NULL */
    uint32_t packed_block;
    uint32_t window_block; /* of which the window is, if its file is packed */
    char *unescaped;       /* as much room as the window */
    size_t unescaped_room;
    char *key;
    size_t key_room;
    /* which fields are kept: field[slot_of[column]]; slot `slots` takes those that nobody wants */
    uint32_t slots;
    uint32_t *slot_of;
    uint32_t column_of[SLOTS_MAX];
    uint32_t group_slot[CAIRN_GROUP_COLUMNS_MAX], value_slot[CAIRN_VALUE_COLUMNS_MAX];
    uint32_t where_slot[CAIRN_EXPR_COLUMNS_MAX];
    uint8_t how[CAIRN_VALUE_COLUMNS_MAX];                  /* what is done with a value: HOW_... */
    columns_state columns;                                 /* of an HDF5 file, as they lie in it: reader_columns.c */
    char position[CAIRN_POSITION_BYTES + CAIRN_CSV_SLACK]; /* of the row, if the query selects */
    cairn_field field[SLOTS_MAX + 1];
};

/* The group of several columns, whose fields are in place. NULL: no memory. */
cairn_group *reader_join_group(cairn_reader *reader, cairn_groups *groups);
/* The condition, of the row whose fields are in place. */
bool reader_wants(const cairn_reader *reader, cairn_groups *groups, uint32_t block, uint64_t row);
/* Of a query that selects: its position is in place. false: the row is not wanted, as enough are there that come before. */
bool reader_is_next(cairn_reader *reader, const cairn_groups *groups, uint32_t block, uint64_t row);

/* --- reader_files.c --- */
/* Files that are on this host are read there. */
void reader_find_near(cairn_reader *reader);
/* errno's story. */
cairn_status reader_fail(const char *path, cairn_error *error);
void reader_count(cairn_reader *reader, uint32_t file, uint64_t bytes);
/* Where it is read now, or at the next place that has it. fd stays the reader's. */
cairn_status reader_open_file(cairn_reader *reader, uint32_t index, int *fd, cairn_error *error);
/* It cannot be read where it was: on to the next place. false: there is none, and error says so. */
bool reader_move_on(cairn_reader *reader, uint32_t index, cairn_error *error);
void reader_close_files(cairn_reader *reader);

/* --- reader_columns.c --- */
void reader_look_for_texts(cairn_reader *reader);
void reader_free_columns(cairn_reader *reader);
/* A whole block of an HDF5 file. CAIRN_E_AGAIN: its columns do not lie like that. */
cairn_status reader_step_columns(cairn_reader *reader, cairn_lease *lease, cairn_groups *groups, cairn_outcome *outcome,
                                 cairn_error *error);

#endif
