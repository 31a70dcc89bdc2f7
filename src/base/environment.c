#include "base/environment.h"

#include <stdlib.h>
#include <string.h>

bool cairn_copies_kind(const char *text, uint32_t *group_size)
{
    char *end;
    unsigned long size;

    *group_size = 0;
    if (strcmp(text, "partner") == 0) {
        return true;
    }
    if (strncmp(text, "xor", 3) != 0) {
        return false;
    }
    if (text[3] == '\0') {
        *group_size = CAIRN_COPIES_GROUP;
        return true;
    }
    if (text[3] != '=' || text[4] < '0' || text[4] > '9') {
        return false;
    }
    size = strtoul(text + 4, &end, 10);
    *group_size = (uint32_t)size;
    return *end == '\0' && size >= 2 && size <= CAIRN_COPIES_GROUP_MAX;
}
