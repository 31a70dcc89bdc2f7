/* Collectives for jobs. They run over channels, so that a cut can pass through one. All are collective:
 * every process calls, in the same order and with the same root, count, type and op. They do not mix with the
 * job's own messages. Each must lie wholly between two safe points. */
#ifndef CAIRN_COLLECTIVE_H
#define CAIRN_COLLECTIVE_H

#include <cairn/channel.h>

typedef enum cairn_type { CAIRN_U8, CAIRN_I32, CAIRN_U32, CAIRN_I64, CAIRN_U64, CAIRN_F32, CAIRN_F64 } cairn_type;

typedef enum cairn_op { CAIRN_SUM, CAIRN_MIN, CAIRN_MAX } cairn_op;

/* Bytes of one element. */
size_t cairn_type_bytes(cairn_type type);
/* "u8" "i32" "u32" "i64" "u64" "f32" "f64" */
const char *cairn_type_text(cairn_type type);

/* No process leaves before all have entered. */
CAIRN_MUST_CHECK cairn_status cairn_barrier(cairn_process *process);

/* data: bytes bytes, read at root, written elsewhere. */
CAIRN_MUST_CHECK cairn_status cairn_broadcast(cairn_process *process, uint32_t root, void *data, size_t bytes);

/* Element-wise over `count` elements; integers wrap. Folded in the order of process ids
 * ((0 op 1) op 2) ..., so the same number of processes gives the same bits; F64 sums on another number of
 * processes may differ. in and out may be the same array. */
CAIRN_MUST_CHECK cairn_status cairn_reduce(cairn_process *process, uint32_t root, const void *in, void *out,
                                           size_t count, cairn_type type, cairn_op op);
CAIRN_MUST_CHECK cairn_status cairn_allreduce(cairn_process *process, const void *in, void *out, size_t count,
                                              cairn_type type, cairn_op op);

/* Bring `bytes` bytes (may differ between processes) of each process to root. At root *out is malloc'ed and
 * holds them one after the other in the order of ids, sizes[i] says how many from process i (sizes:
 * cairn_count entries, caller's); the caller frees *out. Elsewhere out and sizes may be NULL. */
CAIRN_MUST_CHECK cairn_status cairn_gather(cairn_process *process, uint32_t root, const void *data, size_t bytes,
                                           void **out, uint64_t *sizes);

#endif
