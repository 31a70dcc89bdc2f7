/* Memory that is about to be filled for the first time: a second core brings its pages in, from the end on, while the
 * caller fills them from the beginning. Clearing pages can take several times as long as what is copied into them, on
 * virtual machines above all. The contents stay as they are.
 *
 * It is only help: where there is no thread for it, or the kernel cannot do it (before Linux 5.14), nothing happens. */
#ifndef CAIRN_BASE_POPULATE_H
#define CAIRN_BASE_POPULATE_H

#include <stddef.h>

typedef struct cairn_populate cairn_populate;

/* In large pages where the kernel has them. data, which must stay mapped until the end, may be in use meanwhile.
 * NULL: not worth it, or not possible. */
cairn_populate *cairn_populate_begin(void *data, size_t bytes);
/* Stops where it is. NULL-safe. */
void cairn_populate_end(cairn_populate *c);

#endif
