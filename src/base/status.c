#include <cairn/status.h>
#include <cairn/version.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(x)            #x
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *cairn_version(void)
{
    return VERSION_TEXT(CAIRN_VERSION_MAJOR, CAIRN_VERSION_MINOR, CAIRN_VERSION_PATCH);
}

const char *cairn_status_text(cairn_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
        CAIRN_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    };
    if ((unsigned)status >= sizeof texts / sizeof texts[0]) {
        return "unknown status";
    }
    return texts[status];
}

cairn_status cairn_fail(cairn_error *error, cairn_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        error->status = status;
    }
    return status;
}

cairn_status cairn_wrap(cairn_error *error, cairn_status status, const char *format, ...)
{
    cairn_error inner;
    va_list arguments;
    size_t length;

    if (error == NULL) {
        return status;
    }
    inner = *error;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    length = strlen(error->text);
    (void)snprintf(error->text + length, sizeof error->text - length, ": %s", inner.text);
    return error->status;
}

int cairn_exit_code(cairn_status status)
{
    switch (status) {
    case CAIRN_OK:
        return CAIRN_EXIT_OK;
    case CAIRN_E_TIMEOUT:
    case CAIRN_E_PEER:
    case CAIRN_E_MPI:
    case CAIRN_E_BUSY:
    case CAIRN_E_ROLLBACK:
        return CAIRN_EXIT_AGAIN;
    case CAIRN_E_STOPPED:
        return CAIRN_EXIT_STOPPED;
    case CAIRN_E_CORRUPT:
    case CAIRN_E_VERSION:
        return CAIRN_EXIT_NO_SNAPSHOT;
    case CAIRN_E_FULL:
    case CAIRN_E_ACCESS:
        return CAIRN_EXIT_CANNOT_WRITE;
    case CAIRN_E_IO:
        return CAIRN_EXIT_IO;
    default:
        return CAIRN_EXIT_FAILURE;
    }
}
