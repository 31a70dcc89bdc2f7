/* What the files of scan's survive mode share; the protocol is in survive.c. */
#ifndef CAIRN_JOBS_SCAN_SURVIVE_H
#define CAIRN_JOBS_SCAN_SURVIVE_H

#include "scan.h"

#include <inttypes.h>

enum { SURVIVE_PART = 20, SURVIVE_PROGRESS, SURVIVE_RESET, SURVIVE_ERROR, SURVIVE_STOP };

#define SURVIVE_KEY_BYTES 64

/* survive_service.c: keys, generations, taking partitions */
uint32_t survive_launch(const scan *s);
void survive_key(const scan *s, const char *name, char key[SURVIVE_KEY_BYTES]);
/* The process that a value names. */
uint32_t survive_taker(const cairn_kv *kv);
/* Says on stderr what the service said, if this is a failure. */
cairn_status survive_service_failed(scan *s, cairn_status status);
/* A generation's entry: what it says of this process's state, if it is news. */
cairn_status survive_take_generation(scan *s, const cairn_kv *kv);
cairn_status survive_refresh_generation(scan *s);
/* This file is careful: all begin anew. */
cairn_status survive_begin_generation(scan *s, uint32_t file);
/* Take the next partition into survive.partition, or say what is read; *none: there is nothing to do. */
cairn_status survive_take_next(scan *s, bool *none);

/* survive_collect.c */
uint32_t survive_collector(const scan *s);
/* Send and free. To a lost process: nothing. */
cairn_status survive_tell(scan *s, uint32_t to, uint32_t tag, cairn_pack *pack);
cairn_status survive_tell_all(scan *s, uint32_t tag, uint32_t number);
void survive_forget_part(scan *s, uint32_t process);
cairn_status survive_take_part(scan *s, uint32_t from, cairn_unpack *unpack);
/* Print if everything is there. *stop: all is over. */
cairn_status survive_collect(scan *s, bool *stop);
void survive_count_progress(scan *s, uint32_t from, uint64_t bytes);

cairn_status survive_take_error(scan *s, cairn_unpack *unpack, bool *stop);

/* survive.c */
cairn_status survive_on_lost(cairn_process *process, uint32_t id, void *context);

#endif
