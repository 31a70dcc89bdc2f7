#include "base/checksum.h"
#include "support/snapshots.h"
#include "support/unit.h"

static void digest_known_values(void)
{
    char text[CAIRN_DIGEST_TEXT_BYTES];

    /* XXH3-128 of nothing, as in xxHash's own documentation: the digest is the same on every machine. */
    cairn_digest_print(cairn_digest_of("", 0), text);
    CU_ASSERT_STRING_EQUAL(text, "99aa06d3014798d86001c324468d497f");
}

static void digest_text_round_trip(void)
{
    cairn_digest digest = cairn_digest_of("cairn", 5);
    cairn_digest back = {0, 0};
    char text[CAIRN_DIGEST_TEXT_BYTES + 4];

    cairn_digest_print(digest, text);
    CU_ASSERT_TRUE(cairn_digest_parse(text, &back));
    CU_ASSERT_TRUE(cairn_digest_equal(digest, back));
    (void)strcat(text, "xyz");
    CU_ASSERT_TRUE(cairn_digest_parse(text, &back)); /* more may follow */
}

static void digest_text_wrong(void)
{
    cairn_digest back = {1, 2};

    CU_ASSERT_FALSE(cairn_digest_parse("", &back));
    CU_ASSERT_FALSE(cairn_digest_parse("99aa06d3014798d86001c324468d497", &back));  /* 31 */
    CU_ASSERT_FALSE(cairn_digest_parse("99aa06d3014798d8g001c324468d497f", &back)); /* g */
    CU_ASSERT_FALSE(cairn_digest_parse("99AA06d3014798d86001c324468d497f", &back)); /* upper case: another text */
    CU_ASSERT_FALSE(cairn_digest_parse(" 99aa06d3014798d86001c324468d497", &back));
    CU_ASSERT_TRUE(back.high == 1 && back.low == 2); /* untouched */
}

/* Every length around the borders of pieces, from an offset: the digest of the file is that of the bytes. */
static void digest_fd_is_digest_of_bytes(void)
{
    static const size_t lengths[] = {0, 1, 511, 512, 513, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, (3u << 20) + 77};
    char path[PATH_ROOM];
    char file[PATH_ROOM + 8];
    uint64_t seed = 1;

    sample_folder(path);
    (void)snprintf(file, sizeof file, "%s/file", path);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t total = lengths[i] + 100;
        char *data = malloc(total + 1);
        cairn_digest digest = {0, 0};
        uint64_t bytes = 0;
        int fd;

        for (size_t j = 0; j < total; j++) {
            data[j] = (char)sample_random(&seed);
        }
        sample_save(file, data, total);
        fd = open(file, O_RDONLY);
        CU_ASSERT_EQUAL(cairn_digest_fd(fd, 100, &digest, &bytes, file, NULL), CAIRN_OK);
        CU_ASSERT_EQUAL(bytes, lengths[i]);
        CU_ASSERT_TRUE(cairn_digest_equal(digest, cairn_digest_of(data + 100, lengths[i])));
        data[100 + lengths[i] / 2] ^= 1;
        CU_ASSERT_TRUE(lengths[i] == 0 || !cairn_digest_equal(digest, cairn_digest_of(data + 100, lengths[i])));
        (void)close(fd);
        free(data);
    }
    sample_remove(path);
}

static void digest_fd_error_names_file(void)
{
    cairn_digest digest;
    cairn_error error;

    CU_ASSERT_EQUAL(cairn_digest_fd(-1, 0, &digest, NULL, "the/file", &error), CAIRN_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "the/file"));
}

UNIT_MAIN("checksum", {"known values", digest_known_values}, {"text round trip", digest_text_round_trip},
          {"wrong texts", digest_text_wrong}, {"file and memory agree", digest_fd_is_digest_of_bytes},
          {"errors name the file", digest_fd_error_names_file})
