/* Naming the state. */
#include "process/runtime.h"

#include <stdlib.h>
#include <string.h>

static bool good_name(const char *name)
{
    size_t length = name == NULL ? 0 : strlen(name);

    return length >= 1 && length <= CAIRN_NAME_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") == length &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Elements of an array, or false when they are more than memory can hold. */
static bool multiply(const uint64_t *shape, uint32_t rank, size_t size, uint64_t *bytes)
{
    *bytes = size;
    for (uint32_t i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(*bytes, shape[i], bytes)) {
            return false;
        }
    }
    return *bytes <= (uint64_t)PTRDIFF_MAX;
}

/* Inside the runtime; leaves it on error. */
static cairn_status add(cairn_process *p, const char *name, cairn_region **out, cairn_region **result)
{
    cairn_region **end = &p->regions;
    cairn_region *r;

    if (!good_name(name)) {
        return cairn_say(p, CAIRN_E_INVALID, "protect: not a name of 1..%d letters, digits, _ - . : %s", CAIRN_NAME_MAX,
                         name == NULL ? "(none)" : name);
    }
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->state.name, name) == 0) {
            return cairn_say(p, CAIRN_E_INVALID, "protect: %s is protected already", name);
        }
    }
    r = calloc(1, sizeof *r);
    if (r == NULL) {
        return cairn_say(p, CAIRN_E_NOMEM, "protect: %s", name);
    }
    r->process = p;
    (void)snprintf(r->state.name, sizeof r->state.name, "%s", name);
    *end = r;
    *result = r;
    if (out != NULL) {
        *out = r;
    }
    return CAIRN_OK;
}

static cairn_status protect(cairn_process *p, const char *name, cairn_state_kind kind, cairn_type type, uint32_t rank,
                            const uint64_t *global_shape, const uint64_t *offset, const uint64_t *shape, void *data,
                            cairn_region **out)
{
    cairn_region *r = NULL;
    uint64_t bytes = 0;
    cairn_status status;

    cairn_enter(p);
    if (cairn_type_bytes(type) == 0 || rank > CAIRN_DIMENSIONS_MAX || (rank > 0 && shape == NULL) ||
        !multiply(shape, rank, cairn_type_bytes(type), &bytes) || (bytes > 0 && data == NULL)) {
        return cairn_say(p, CAIRN_E_INVALID, "protect: %s: unknown type, more than %d dimensions, no data or too large",
                         name == NULL ? "(none)" : name, CAIRN_DIMENSIONS_MAX);
    }
    for (uint32_t i = 0; kind == CAIRN_STATE_SLAB && i < rank; i++) {
        if (offset[i] > global_shape[i] || shape[i] > global_shape[i] - offset[i]) {
            return cairn_say(p, CAIRN_E_INVALID, "protect: %s: the slab lies outside the global array in dimension %u",
                             name, i);
        }
    }
    status = add(p, name, out, &r);
    if (status != CAIRN_OK) {
        return status;
    }
    r->state.kind = kind;
    r->state.type = type;
    r->state.rank = rank;
    r->state.bytes = bytes;
    r->data = data;
    for (uint32_t i = 0; i < rank; i++) {
        r->state.shape[i] = shape[i];
        r->state.global_shape[i] = kind == CAIRN_STATE_SLAB ? global_shape[i] : 0;
        r->state.offset[i] = kind == CAIRN_STATE_SLAB ? offset[i] : 0;
    }
    cairn_exit_call(p);
    return CAIRN_OK;
}

cairn_status cairn_protect_array(cairn_process *p, const char *name, cairn_type type, uint32_t rank,
                                 const uint64_t *shape, void *data, cairn_region **region)
{
    return protect(p, name, CAIRN_STATE_ARRAY, type, rank, NULL, NULL, shape, data, region);
}

cairn_status cairn_protect_replicated(cairn_process *p, const char *name, cairn_type type, uint32_t rank,
                                      const uint64_t *shape, void *data, cairn_region **region)
{
    return protect(p, name, CAIRN_STATE_REPLICATED, type, rank, NULL, NULL, shape, data, region);
}

cairn_status cairn_protect_slab(cairn_process *p, const char *name, cairn_type type, uint32_t rank,
                                const uint64_t *global_shape, const uint64_t *offset, const uint64_t *shape, void *data,
                                cairn_region **region)
{
    if (rank == 0 || global_shape == NULL || offset == NULL) {
        cairn_enter(p);
        return cairn_say(p, CAIRN_E_INVALID, "protect: %s: a slab needs a global shape and an offset",
                         name == NULL ? "(none)" : name);
    }
    return protect(p, name, CAIRN_STATE_SLAB, type, rank, global_shape, offset, shape, data, region);
}

cairn_status cairn_protect_callbacks(cairn_process *p, const char *name, cairn_save save, cairn_load load,
                                     void *context, unsigned flags, cairn_region **region)
{
    cairn_region *r = NULL;
    cairn_status status;

    cairn_enter(p);
    if (save == NULL || load == NULL) {
        return cairn_say(p, CAIRN_E_INVALID, "protect: %s: save and load are needed", name == NULL ? "(none)" : name);
    }
    status = add(p, name, region, &r);
    if (status != CAIRN_OK) {
        return status;
    }
    r->state.kind = CAIRN_STATE_BYTES;
    r->state.type = CAIRN_U8;
    r->state.rank = 1;
    r->state.flags = flags;
    r->save = save;
    r->load = load;
    r->context = context;
    cairn_exit_call(p);
    return CAIRN_OK;
}

void cairn_region_move(cairn_region *region, void *data)
{
    region->data = data; /* read at safe points only, by the thread that calls this */
}

void cairn_region_drop(cairn_region *region)
{
    cairn_process *p = region->process;
    cairn_region **at = &p->regions;

    cairn_enter(p);
    while (*at != NULL && *at != region) {
        at = &(*at)->next;
    }
    if (*at == region) {
        *at = region->next;
        free(region);
    }
    cairn_exit_call(p);
}
