/* Histories as lines of text. */
#include "support/linear.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 8, LINE_MAX_BYTES = 65536 };

static size_t split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " \t\r\n", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " \t\r\n", &rest)) {
        words[count++] = word;
    }
    return count;
}

static bool get_number(const char *word, uint64_t most, uint64_t *number)
{
    char *end = NULL;

    errno = 0;
    *number = strtoull(word, &end, 10);
    return errno == 0 && word[0] >= '0' && word[0] <= '9' && *end == '\0' && *number <= most;
}

static const char *or_none(const char *word)
{
    return strcmp(word, "-") == 0 ? NULL : word;
}

/* The operation's own words; false: they are none. *known: its outcome. */
static bool get_operation(char *const *words, size_t count, linear_op *op, bool *known)
{
    const char *result = words[count - 1];

    *known = strcmp(result, "?") != 0;
    if (strcmp(words[0], "put") == 0 && count == 4) {
        op->kind = LINEAR_PUT;
        op->value = words[2];
        return !*known || strcmp(result, "ok") == 0;
    }
    if (strcmp(words[0], "get") == 0 && count == 3) {
        op->kind = LINEAR_GET;
        op->value = *known ? or_none(words[2]) : NULL;
        return true;
    }
    if (strcmp(words[0], "cas") == 0 && count == 5) {
        op->kind = LINEAR_CAS;
        op->expected = or_none(words[2]);
        op->value = words[3];
        op->done = strcmp(result, "ok") == 0;
        return !*known || op->done || strcmp(result, "fail") == 0;
    }
    if (strcmp(words[0], "delete") == 0 && count == 3) {
        op->kind = LINEAR_DELETE;
        op->done = strcmp(result, "ok") == 0;
        return !*known || op->done || strcmp(result, "none") == 0;
    }
    return false;
}

static bool refuse(char why[200], const char *what, const char *line)
{
    (void)snprintf(why, 200, "%s: %.100s", what, line);
    return false;
}

bool linear_add_line(linear *history, const char *line, char why[200])
{
    static char copy[LINE_MAX_BYTES];
    char *words[WORDS_MAX];
    linear_op op = {0};
    uint64_t process;
    bool known = true;

    if (strlen(line) >= sizeof copy) {
        return refuse(why, "too long a line", line);
    }
    (void)strcpy(copy, line);
    size_t count = split(copy, words);
    if (count == 0 || words[0][0] == '#') {
        return true;
    }
    if (count < 6 || !get_number(words[0], UINT32_MAX, &process) || !get_number(words[1], INT64_MAX, &op.begin) ||
        (strcmp(words[2], "-") != 0 && !get_number(words[2], INT64_MAX, &op.end))) {
        return refuse(why, "not PROCESS BEGIN END OPERATION KEY ...", line);
    }
    if (!get_operation(&words[3], count - 3, &op, &known)) {
        return refuse(why, "an unknown operation or result", line);
    }
    op.process = (uint32_t)process;
    op.key = words[4];
    if (strcmp(words[2], "-") == 0 || !known) {
        op.end = LINEAR_UNKNOWN;
        op.value = op.kind == LINEAR_GET ? NULL : op.value;
    } else if (op.end < op.begin) {
        return refuse(why, "it ends before it begins", line);
    }
    linear_add(history, &op);
    return true;
}
