/* What writing and reading sealed files share: quiet HDF5, its errors as ours, its types. */
#include "snapshot/sealed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elements are written as they lie in memory: little-endian machines only"
#endif

cairn_quiet cairn_quiet_begin(void)
{
    cairn_quiet quiet = {NULL, NULL};

    (void)H5Eget_auto2(H5E_DEFAULT, &quiet.function, &quiet.data);
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return quiet;
}

void cairn_quiet_end(cairn_quiet quiet)
{
    (void)H5Eclear2(H5E_DEFAULT);
    (void)H5Eset_auto2(H5E_DEFAULT, quiet.function, quiet.data);
}

typedef struct h5_story {
    char words[160];
    int error_number;
} h5_story;

static herr_t listen(unsigned index, const H5E_error2_t *entry, void *context)
{
    h5_story *story = context;
    const char *number = entry->desc != NULL ? strstr(entry->desc, "errno = ") : NULL;

    if (index == 0 && entry->desc != NULL) {
        (void)snprintf(story->words, sizeof story->words, "%s", entry->desc);
    }
    if (number != NULL && story->error_number == 0) {
        story->error_number = atoi(number + strlen("errno = "));
    }
    return 0;
}

cairn_status cairn_h5_fail(cairn_error *error, cairn_status otherwise, const char *path, const char *what)
{
    h5_story story = {"HDF5 says no more", 0};

    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, listen, &story);
    (void)H5Eclear2(H5E_DEFAULT);
    if (story.error_number != 0) {
        return cairn_fail_errno(error, story.error_number, path, what);
    }
    return cairn_fail(error, otherwise, "%s: %s: %s", path, what, story.words);
}

hid_t cairn_h5_type(cairn_type type)
{
    switch (type) {
    case CAIRN_U8:
        return H5T_STD_U8LE;
    case CAIRN_I32:
        return H5T_STD_I32LE;
    case CAIRN_U32:
        return H5T_STD_U32LE;
    case CAIRN_I64:
        return H5T_STD_I64LE;
    case CAIRN_U64:
        return H5T_STD_U64LE;
    case CAIRN_F32:
        return H5T_IEEE_F32LE;
    case CAIRN_F64:
        return H5T_IEEE_F64LE;
    }
    return H5I_INVALID_HID;
}
