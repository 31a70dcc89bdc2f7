/* The two ends of the coordination service's sockets: frames that are none, clients that do not read, ask too much or
 * vanish, names that are too long. */
#include "coord/socket_client.h"
#include "coord/socket_server.h"
#include "support/snapshots.h"
#include "support/unit.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char dir[PATH_ROOM];
static cairn_server *server;
static int wake_fd;

static void begin(void)
{
    cairn_error error;

    sample_folder(dir);
    wake_fd = eventfd(0, EFD_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(cairn_server_start(&server, dir, 3, wake_fd, &error), CAIRN_OK);
}

static void end(void)
{
    cairn_server_end(server);
    close(wake_fd);
    sample_remove(dir);
}

/* A connection that says what a test wants. */
static int connect_raw(const char *folder)
{
    struct sockaddr_un address;
    cairn_error error;
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CU_ASSERT_EQUAL_FATAL(cairn_socket_address(&address, folder_fd, folder, "coord-000003.sock", &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(folder_fd);
    return fd;
}

static void say(int fd, uint32_t length, uint64_t id, const void *data, size_t bytes)
{
    cairn_pack pack = {0};

    cairn_pack_u32(&pack, length);
    cairn_pack_u64(&pack, id);
    cairn_pack_bytes(&pack, data, bytes);
    CU_ASSERT_EQUAL(send(fd, pack.data, pack.bytes, MSG_NOSIGNAL), (ssize_t)pack.bytes);
    free(pack.data);
}

/* The next frames; waits for them. */
static cairn_server_frame *take(void)
{
    cairn_server_frame *frames = NULL;
    uint64_t count;

    while ((frames = cairn_server_take(server)) == NULL) {
        CU_ASSERT_EQUAL_FATAL(read(wake_fd, &count, sizeof count), (ssize_t)sizeof count);
    }
    return frames;
}

static size_t free_frames(cairn_server_frame *frames)
{
    size_t count = 0;

    while (frames != NULL) {
        cairn_server_frame *next = frames->next;

        free(frames);
        frames = next;
        count++;
    }
    return count;
}

/* Whether the other end closes, once all that it has sent is read. */
static bool is_closed(int fd)
{
    static char bytes[1 << 16];
    ssize_t got;

    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
}

static void socket_passes_frames(void)
{
    static const char text[] = "question";
    cairn_server_frame *frame;
    uint8_t bytes[64];
    int fd, other;

    begin();
    fd = connect_raw(dir);
    other = connect_raw(dir);
    say(fd, 8 + sizeof text, 42, text, sizeof text);
    frame = take();
    CU_ASSERT_TRUE(frame->what == CAIRN_SERVER_ASKED && frame->id == 42 && frame->bytes == sizeof text);
    CU_ASSERT_TRUE(memcmp(frame->data, text, sizeof text) == 0 && frame->next == NULL);
    cairn_server_answer(server, frame->client, 42, "yes", 3, true);
    CU_ASSERT_EQUAL(recv(fd, bytes, sizeof bytes, 0), 4 + 8 + 3);
    CU_ASSERT_TRUE(memcmp(bytes, "\x0b\0\0\0\x2a\0\0\0\0\0\0\0yes", 15) == 0);
    say(other, 8, 7, NULL, 0);
    CU_ASSERT_TRUE(frame->client != 0);
    free(frame);
    frame = take();
    CU_ASSERT_TRUE(frame->what == CAIRN_SERVER_BACK && frame->id == 7);
    free(frame);
    close(other);
    frame = take();
    CU_ASSERT_EQUAL(frame->what, CAIRN_SERVER_GONE);
    cairn_server_answer(server, frame->client, 7, "late", 4, true); /* to nobody */
    free(frame);
    close(fd);
    CU_ASSERT_EQUAL(free_frames(take()), 1);
    end();
}

static void socket_closes_who_speaks_otherwise(void)
{
    static const uint32_t lengths[] = {0, 7, CAIRN_SOCKET_REQUEST_MAX + 1, UINT32_MAX};

    begin();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int good = connect_raw(dir);
        int fd = connect_raw(dir);

        say(fd, lengths[i], 1, "x", 1);
        CU_ASSERT_TRUE(is_closed(fd));
        close(fd);
        CU_ASSERT_EQUAL(free_frames(take()), 1);
        say(good, 9, 1, "x", 1); /* nobody else is */
        CU_ASSERT_EQUAL(free_frames(take()), 1);
        close(good);
        CU_ASSERT_EQUAL(free_frames(take()), 1);
    }
    end();
}

/* One asks and does not read; the other one is answered all the time. */
static void socket_is_not_held_up(void)
{
    static char large[1 << 20];
    cairn_server_frame *frame;
    uint8_t bytes[64];
    uint64_t deaf_name;
    int deaf, good;

    begin();
    deaf = connect_raw(dir);
    good = connect_raw(dir);
    say(deaf, 9, 1, "x", 1);
    frame = take();
    deaf_name = frame->client;
    free(frame);
    for (int i = 0; i < 40; i++) {
        cairn_server_answer(server, deaf_name, 1, large, sizeof large, false);
        say(good, 9, 2, "x", 1);
        frame = take();
        for (bool asked = false;
             !asked || frame != NULL;) { /* the question, and maybe, before or behind it, that the deaf one
                                                              * is gone: too much that it has not read */
            cairn_server_frame *next;

            frame = frame == NULL ? take() : frame;
            next = frame->next;
            if (frame->what == CAIRN_SERVER_GONE) {
                CU_ASSERT_TRUE(frame->client == deaf_name && i >= 16);
                deaf_name = 0;
            } else {
                CU_ASSERT_TRUE(!asked && frame->what == CAIRN_SERVER_ASKED);
                asked = true;
                cairn_server_answer(server, frame->client, 2, "y", 1, true);
                CU_ASSERT_EQUAL(recv(good, bytes, sizeof bytes, 0), 13);
            }
            free(frame);
            frame = next;
        }
    }
    CU_ASSERT_EQUAL(deaf_name, 0);
    CU_ASSERT_TRUE(is_closed(deaf));
    close(deaf);
    close(good);
    end();
}

/* More questions than may be open: the rest is taken when some are answered. */
static void socket_takes_a_bounded_number(void)
{
    cairn_pack pack = {0};
    uint64_t name = 0;
    size_t got = 0;
    int fd;

    begin();
    fd = connect_raw(dir);
    for (uint64_t i = 0; i < 1500; i++) {
        cairn_pack_u32(&pack, 9);
        cairn_pack_u64(&pack, i);
        cairn_pack_u8(&pack, 'x');
    }
    CU_ASSERT_EQUAL(send(fd, pack.data, pack.bytes, MSG_NOSIGNAL), (ssize_t)pack.bytes);
    free(pack.data);
    while (got < 1024) {
        cairn_server_frame *frames = take();

        name = frames->client;
        got += free_frames(frames);
    }
    CU_ASSERT_EQUAL(got, 1024);
    for (uint64_t i = 0; i < 1500; i++) {
        cairn_server_answer(server, name, i, NULL, 0, true);
        if (i == 475) { /* 476 places are free now */
            while (got < 1500) {
                got += free_frames(take());
            }
        }
    }
    CU_ASSERT_EQUAL(got, 1500);
    close(fd);
    end();
}

/* Whoever is silent for the longest time gives way to the 257th; nobody is refused for ever. */
static void socket_has_room_for_the_next(void)
{
    int fds[300];

    begin();
    for (int i = 0; i < 300; i++) {
        cairn_server_frame *frame;
        bool asked = false;

        fds[i] = connect_raw(dir);
        say(fds[i], 9, 5, "x", 1);
        while (!asked) {
            for (frame = take(); frame != NULL;) {
                cairn_server_frame *next = frame->next;

                if (frame->what == CAIRN_SERVER_ASKED) {
                    asked = true;
                    cairn_server_answer(server, frame->client, 5, "y", 1, true);
                }
                free(frame);
                frame = next;
            }
        }
        CU_ASSERT_EQUAL(recv(fds[i], (char[16]){0}, 16, 0), 13);
    }
    CU_ASSERT_TRUE(is_closed(fds[0]) && is_closed(fds[43]));
    CU_ASSERT_EQUAL(recv(fds[44], (char[1]){0}, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 300; i++) {
        close(fds[i]);
    }
    end();
}

static void socket_file(void)
{
    cairn_error error = {.text = ""};
    cairn_server *second = NULL;
    char path[PATH_ROOM];
    struct stat found;
    int fd;

    begin();
    (void)snprintf(path, sizeof path, "%.4000s/coord-000003.sock", dir);
    CU_ASSERT_TRUE(stat(path, &found) == 0 && S_ISSOCK(found.st_mode) && (found.st_mode & 07777) == 0600);
    /* As after a crash: the file is there, nobody listens; it is replaced. */
    CU_ASSERT_EQUAL(cairn_server_start(&second, dir, 3, wake_fd, &error), CAIRN_OK);
    fd = connect_raw(dir);
    close(fd);
    cairn_server_end(second);
    CU_ASSERT_TRUE(stat(path, &found) != 0);
    end();
    CU_ASSERT_EQUAL(cairn_server_start(&second, "/no/such/folder", 0, -1, &error), CAIRN_E_NOT_FOUND);
    CU_ASSERT_TRUE(strstr(error.text, "/no/such/folder") != NULL && second == NULL);
}

/* A folder whose path alone is longer than the address of a socket. */
static void socket_in_a_deep_folder(void)
{
    char deep[PATH_ROOM];
    cairn_error error = {.text = ""};
    cairn_server *there = NULL;
    cairn_client *client = NULL;
    cairn_question request = {.op = CAIRN_OP_STATUS};
    cairn_response response = {.text = ""};
    cairn_pack pack = {0};
    unsigned slot = 9;

    begin();
    (void)snprintf(deep, sizeof deep, "%.200s/%0120d/%0120d", dir, 1, 2);
    CU_ASSERT_EQUAL_FATAL(cairn_make_folders(deep, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_server_start(&there, deep, 3, wake_fd, &error), CAIRN_OK);
    CU_ASSERT_EQUAL_FATAL(cairn_client_open(&client, deep, &error), CAIRN_OK);
    CU_ASSERT_EQUAL(cairn_client_ask(client, 2, &request, false), CAIRN_OK);
    /* Connects, sends, and gets no answer in no time. */
    CU_ASSERT_EQUAL(cairn_client_wait(client, 0.0, NULL, 0, &slot, &response), CAIRN_E_TIMEOUT);
    cairn_server_end(server);
    server = there;
    cairn_server_frame *frame = take();
    while (frame->what != CAIRN_SERVER_ASKED) {
        CU_ASSERT_EQUAL(free_frames(frame), 1);
        frame = take();
    }
    response.number = 77;
    cairn_response_encode(&pack, &response);
    cairn_server_answer(server, frame->client, frame->id, pack.data, pack.bytes, true);
    free(pack.data);
    CU_ASSERT_EQUAL(free_frames(frame), 1);
    CU_ASSERT_EQUAL(cairn_client_wait(client, cairn_client_now() + 10.0, NULL, 0, &slot, &response), CAIRN_OK);
    CU_ASSERT_TRUE(slot == 2 && response.number == 77);
    cairn_client_close(client);
    end();
}

static void socket_names(void)
{
    static const char *const wrong[] = {"coord-3.sock",       "coord-000003.sock2", "coord-0000030.sock",
                                        "coord--00003.sock",  "coord-00003x.sock",  "coord-.sock",
                                        "xcoord-000003.sock", "coord- 00003.sock"};
    char name[CAIRN_SOCKET_NAME_BYTES];
    uint32_t process = 0;

    cairn_socket_name(name, 3);
    CU_ASSERT_STRING_EQUAL(name, "coord-000003.sock");
    CU_ASSERT_TRUE(cairn_socket_process(name, &process) && process == 3);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CU_ASSERT_FALSE(cairn_socket_process(wrong[i], &process));
    }
}

UNIT_MAIN("socket", {"passes frames", socket_passes_frames},
          {"closes who speaks otherwise", socket_closes_who_speaks_otherwise},
          {"is not held up by who does not read", socket_is_not_held_up},
          {"takes a bounded number of questions", socket_takes_a_bounded_number},
          {"has room for the next client", socket_has_room_for_the_next}, {"its file", socket_file},
          {"in a deep folder", socket_in_a_deep_folder}, {"names", socket_names})
