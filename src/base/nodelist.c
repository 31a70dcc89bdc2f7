#include "base/nodelist.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
#define DIGITS          "0123456789"
#define DIGITS_MAX      9

/* One name of the list, brackets not yet expanded: up to its comma. */
static size_t item_length(const char *text)
{
    size_t length = 0;
    bool inside = false;

    for (; text[length] != '\0' && (inside || text[length] != ','); length++) {
        inside = text[length] == '[' || (inside && text[length] != ']');
    }
    return length;
}

static bool append(cairn_nodelist *list, const char *name)
{
    /* Grown by doubling: at each power of two there is no room left. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count == 0 ? 1 : (size_t)list->count * 2;
        void *names = realloc(list->names, room * sizeof *list->names);
        if (names == NULL) {
            return false;
        }
        list->names = names;
    }
    (void)snprintf(list->names[list->count++], CAIRN_NODE_NAME_BYTES, "%s", name);
    return true;
}

/* "07-12" or "5" at *text, which is moved behind it. */
static bool take_range(const char **text, unsigned long *low, unsigned long *high, int *width)
{
    size_t digits = strspn(*text, DIGITS);

    if (digits == 0 || digits > DIGITS_MAX) {
        return false;
    }
    *width = (int)digits;
    *low = *high = strtoul(*text, NULL, 10);
    *text += digits;
    if (**text == '-') {
        digits = strspn(++*text, DIGITS);
        if (digits == 0 || digits > DIGITS_MAX) {
            return false;
        }
        *high = strtoul(*text, NULL, 10);
        *text += digits;
    }
    return *low <= *high;
}

static cairn_status unreadable(cairn_error *error, const char *text)
{
    return cairn_fail(error, CAIRN_E_INVALID, "'%.80s' is no list of hosts", text);
}

/* name[0..used): what is expanded already. rest: what is not, up to its 0. A bracket is replaced by each of its numbers
 * in turn, and what is behind it expanded after each: as deep as there are brackets in a name. */
static cairn_status expand(cairn_nodelist *list, char name[CAIRN_NODE_NAME_BYTES], size_t used, const char *rest,
                           cairn_error *error)
{
    size_t plain = strspn(rest, NAME_CHARACTERS);
    const char *close;

    if (used + plain >= CAIRN_NODE_NAME_BYTES) {
        return cairn_fail(error, CAIRN_E_INVALID, "the name of a host is too long: %.40s...", name);
    }
    memcpy(name + used, rest, plain);
    used += plain;
    name[used] = '\0';
    rest += plain;
    if (*rest == '\0') {
        if (used == 0 || list->count == CAIRN_NODES_MAX) {
            return used == 0 ? unreadable(error, rest)
                             : cairn_fail(error, CAIRN_E_INVALID, "more than %d hosts", CAIRN_NODES_MAX);
        }
        return append(list, name) ? CAIRN_OK : cairn_fail(error, CAIRN_E_NOMEM, "the list of hosts");
    }
    close = strchr(rest, ']');
    if (*rest != '[' || close == NULL) {
        return unreadable(error, rest);
    }
    do {
        unsigned long low, high;
        int width;

        rest++; /* the bracket, or a comma */
        if (!take_range(&rest, &low, &high, &width) || (*rest != ',' && rest != close)) {
            return unreadable(error, rest);
        }
        for (unsigned long number = low; number <= high; number++) {
            int length = snprintf(name + used, CAIRN_NODE_NAME_BYTES - used, "%0*lu", width, number);
            if (used + (size_t)length >= CAIRN_NODE_NAME_BYTES) {
                return unreadable(error, name);
            }
            cairn_status status = expand(list, name, used + (size_t)length, close + 1, error);
            if (status != CAIRN_OK) {
                return status;
            }
        }
    } while (rest != close);
    return CAIRN_OK;
}

cairn_status cairn_nodelist_parse(cairn_nodelist *list, const char *text, cairn_error *error)
{
    char *copy = strdup(text);
    cairn_status status = copy == NULL ? cairn_fail(error, CAIRN_E_NOMEM, "the list of hosts") : CAIRN_OK;

    *list = (cairn_nodelist){0};
    for (char *item = copy, *next; status == CAIRN_OK && item != NULL; item = next) {
        char name[CAIRN_NODE_NAME_BYTES];
        size_t length = item_length(item);

        next = item[length] == ',' ? item + length + 1 : NULL;
        item[length] = '\0';
        status = expand(list, name, 0, item, error);
    }
    free(copy);
    if (status != CAIRN_OK) {
        cairn_nodelist_free(list);
    }
    return status;
}

void cairn_nodelist_free(cairn_nodelist *list)
{
    free(list->names);
    *list = (cairn_nodelist){0};
}

cairn_status cairn_tasks_parse(uint32_t *tasks, uint32_t count, const char *text, cairn_error *error)
{
    uint32_t done = 0;

    for (const char *at = text;; at++) {
        size_t digits = strspn(at, DIGITS);
        unsigned long value = strtoul(at, NULL, 10), times = 1;

        if (digits == 0 || digits > DIGITS_MAX) {
            break;
        }
        at += digits;
        if (strncmp(at, "(x", 2) == 0) {
            digits = strspn(at + 2, DIGITS);
            times = strtoul(at + 2, NULL, 10);
            if (digits == 0 || digits > DIGITS_MAX || at[2 + digits] != ')') {
                break;
            }
            at += 3 + digits;
        }
        if (times > count - done) {
            break;
        }
        while (times-- > 0) {
            tasks[done++] = (uint32_t)value;
        }
        if (*at != ',') {
            return *at == '\0' && done == count
                       ? CAIRN_OK
                       : cairn_fail(error, CAIRN_E_INVALID, "'%.80s' are not the tasks of %u hosts", text, count);
        }
    }
    return cairn_fail(error, CAIRN_E_INVALID, "'%.80s' are not the tasks of %u hosts", text, count);
}
