/* Runs a fuzz target without libFuzzer: every file of the corpus folders given, then mutations of them. The mutations
 * are drawn from one fixed seed, so that a failure comes again; their number is fixed too, and a limit of time keeps
 * slow machines quick. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUTATIONS   3000
#define SECONDS_MAX 5.0

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

static input *inputs;
static size_t input_count;
static uint64_t seed = 20260722;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat found;
    input *more = realloc(inputs, (input_count + 1) * sizeof *inputs);

    if (file == NULL || more == NULL || stat(path, &found) != 0) {
        perror(path);
        exit(2);
    }
    inputs = more;
    inputs[input_count].size = (size_t)found.st_size;
    inputs[input_count].data = malloc((size_t)found.st_size + 1);
    if (inputs[input_count].data == NULL ||
        fread(inputs[input_count].data, 1, (size_t)found.st_size, file) != (size_t)found.st_size) {
        perror(path);
        exit(2);
    }
    (void)fclose(file);
    input_count++;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_folder(const char *folder)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, by_name);

    if (count < 0) {
        perror(folder);
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        char path[4096];

        if (names[i]->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
            load(path);
        }
        free(names[i]);
    }
    free(names);
}

/* Change a few bytes, cut or lengthen. Returns the new size; room is 64 bytes more than size. */
static size_t mutate(uint8_t *data, size_t size)
{
    uint64_t changes = 1 + draw() % 6;

    for (uint64_t i = 0; i < changes && size > 0; i++) {
        size_t at = (size_t)(draw() % size);

        switch (draw() % 6) {
        case 0:
            data[at] ^= (uint8_t)(1u << draw() % 8);
            break;
        case 1:
            data[at] = (uint8_t)draw();
            break;
        case 2:
            data[at] = draw() % 2 != 0 ? 0xff : 0;
            break;
        case 3:
            size = draw() % 8 == 0 ? at : size;
            break;
        case 4:
            memmove(data + at, data + (size_t)(draw() % size) % (size - at), 1);
            break;
        default:
            for (size_t j = at; j < size && j < at + 8; j++) {
                data[j] = (uint8_t)draw();
            }
            break;
        }
    }
    for (uint64_t i = draw() % 16 == 0 ? draw() % 64 : 0; i > 0; i--) {
        data[size++] = (uint8_t)draw();
    }
    return size;
}

int main(int argc, char **argv)
{
    struct timespec begin;
    struct timespec now;
    size_t done = 0;

    for (int i = 1; i < argc; i++) {
        load_folder(argv[i]);
    }
    if (input_count == 0) {
        fprintf(stderr, "%s: no corpus: name folders with at least one file\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < input_count; i++) {
        (void)LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].size);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (; done < MUTATIONS; done++) {
        const input *from = &inputs[draw() % input_count];
        uint8_t *data = malloc(from->size + 64);
        size_t size;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        if (data == NULL || (double)(now.tv_sec - begin.tv_sec) > SECONDS_MAX) {
            free(data);
            break;
        }
        memcpy(data, from->data, from->size);
        size = mutate(data, from->size);
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%zu inputs of the corpus and %zu mutations of them: no fault\n", input_count, done);
    for (size_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
    }
    free(inputs);
    return 0;
}
