/* program_linear FILE...: is the history in these files together linearizable? The lines: support/linear.h. Prints the
 * verdict; exit 0: it is, 1: it is not, 2: a file or line is bad, 3: undecided. */
#include "support/linear.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_file(linear *history, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL, why[200];
    size_t room = 0, number = 0;
    bool good = file != NULL;

    if (file == NULL) {
        fprintf(stderr, "program_linear: %s: %s\n", path, strerror(errno));
        return false;
    }
    while (good && getline(&line, &room, file) >= 0) {
        number++;
        good = linear_add_line(history, line, why);
        if (!good) {
            fprintf(stderr, "program_linear: %s:%zu: %s\n", path, number, why);
        }
    }
    free(line);
    (void)fclose(file);
    return good;
}

int main(int argc, char **argv)
{
    static char text[65536];
    linear *history = linear_new();

    if (argc < 2) {
        fprintf(stderr, "usage: program_linear FILE...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (!read_file(history, argv[i])) {
            return 2;
        }
    }
    linear_verdict verdict = linear_check(history, 0, text, sizeof text);
    (void)fputs(text, stdout);
    linear_free(history);
    return verdict == LINEAR_YES ? 0 : verdict == LINEAR_NO ? 1 : 3;
}
