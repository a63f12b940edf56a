/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character back ends against real ptys, files and sockets. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/chardev.h>

struct front {
    GString *got;
    size_t room;
    unsigned opened, closed, writable;
};

static size_t can_receive(void *opaque)
{
    return ((struct front *)opaque)->room;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct front *f = opaque;

    g_assert_cmpuint(len, <=, f->room);
    g_string_append_len(f->got, (const char *)buf, (gssize)len);
    f->room -= len;
}

static void event(void *opaque, enum chardev_event e)
{
    struct front *f = opaque;

    f->opened += e == CHARDEV_OPENED;
    f->closed += e == CHARDEV_CLOSED;
}

static void writable(void *opaque)
{
    ((struct front *)opaque)->writable++;
}

static const struct chardev_frontend frontend = {.can_receive = can_receive,
                                                 .receive = receive,
                                                 .event = event,
                                                 .writable = writable};

static gboolean too_late(gpointer opaque)
{
    g_error("waited for ten seconds");
    return G_SOURCE_REMOVE;
}

#define WAIT_FOR(condition) \
    do { \
        guint timeout_ = g_timeout_add_seconds(10, too_late, NULL); \
        while (!(condition)) { \
            g_main_context_iteration(NULL, TRUE); \
        } \
        g_source_remove(timeout_); \
    } while (0)

static struct chardev *must_open(const char *spec, struct front *f)
{
    GError *err = NULL;
    struct chardev *cd = chardev_open("serial0", spec, &err);

    g_assert_no_error(err);
    g_assert_nonnull(cd);
    f->got = g_string_new(NULL);
    f->room = 1000;
    chardev_set_frontend(cd, &frontend, f);
    return cd;
}

static void test_pty(void)
{
    struct front f = {0};
    struct chardev *cd = must_open("pty", &f);
    uint8_t buf[16];
    int fd;

    g_assert_true(g_str_has_prefix(chardev_filename(cd), "pty:/dev/pts/"));
    g_assert_cmpstr(chardev_label(cd), ==, "serial0");
    g_assert_false(chardev_connected(cd));
    g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"lost", 4), ==, 4);
    g_assert_cmpuint(chardev_stats(cd)->dropped, ==, 4);
    for (unsigned round = 1; round <= 2; round++) {
        fd = open(chardev_filename(cd) + 4, O_RDWR | O_NOCTTY);
        g_assert_cmpint(fd, >=, 0);
        WAIT_FOR(chardev_connected(cd));
        g_assert_cmpuint(f.opened, ==, round);
        g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"hello\n", 6), ==, 6);
        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 6);
        g_assert_cmpmem(buf, 6, "hello\n", 6);
        g_assert_cmpint(write(fd, "in\r", 3), ==, 3);
        WAIT_FOR(f.got->len >= 3);
        g_assert_cmpstr(f.got->str, ==, "in\r");
        g_string_truncate(f.got, 0);
        close(fd);
        WAIT_FOR(!chardev_connected(cd));
        g_assert_cmpuint(f.closed, ==, round);
    }
    chardev_close(cd);
    g_string_free(f.got, TRUE);
}

/* A reader that does not read holds the device back, and loses nothing once it does. */
static void test_back_pressure(void)
{
    struct front f = {0};
    g_autofree char *dir = g_dir_make_tmp("xendm-chardev-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/a,b", dir);
    g_autofree char *spec = g_strdup_printf("unix:%s,server,nowait", path);
    struct chardev *cd = must_open(spec, &f);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_autofree uint8_t *big = g_malloc0(1 << 20);
    size_t sent = 0, got = 0;

    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    WAIT_FOR(chardev_connected(cd));
    for (unsigned i = 0; i < 1 << 20; i++) {
        big[i] = (uint8_t)(i * 31 >> 3);
    }
    sent = chardev_write(cd, big, 1 << 20);
    g_assert_cmpuint(sent, <, 1 << 20);
    g_assert_cmpuint(f.writable, ==, 0);
    while (got < 1 << 20) {
        uint8_t buf[65536];
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n > 0) {
            g_assert_cmpmem(buf, (size_t)n, big + got, (size_t)n);
            got += (size_t)n;
        } else {
            unsigned before = f.writable;

            g_assert_cmpuint(sent, <, 1 << 20);
            WAIT_FOR(f.writable > before);
            sent += chardev_write(cd, big + sent, (1 << 20) - sent);
        }
    }
    /* Input stops when the device has no room and goes on when told. */
    f.room = 2;
    g_assert_cmpint(write(fd, "abcdef", 6), ==, 6);
    WAIT_FOR(f.got->len == 2);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpuint(f.got->len, ==, 2);
    f.room = 10;
    chardev_accept_input(cd);
    WAIT_FOR(f.got->len == 6);
    g_assert_cmpstr(f.got->str, ==, "abcdef");
    close(fd);
    WAIT_FOR(!chardev_connected(cd));
    chardev_close(cd);
    g_assert_cmpint(access(path, F_OK), <, 0);
    g_rmdir(dir);
    g_string_free(f.got, TRUE);
}

static void test_file(void)
{
    struct front f = {0};
    g_autofree char *dir = g_dir_make_tmp("xendm-chardev-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/console,log", dir);
    g_autofree char *spec = g_strdup_printf("file:%s", path);
    g_autofree char *text = NULL;
    struct chardev *cd = must_open(spec, &f);

    g_assert_cmpstr(chardev_filename(cd), ==, spec);
    g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"line\n", 5), ==, 5);
    chardev_close(cd);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "line\n");
    g_unlink(path);
    g_rmdir(dir);
    g_string_free(f.got, TRUE);
}

/*
 * Standard output is a pipe whose reader does not read: the guest's output is held back, we are
 * not.
 */
static void test_stdio_stalls(void)
{
    struct front f = {0};
    int out = dup(STDOUT_FILENO), in = dup(STDIN_FILENO), fd[2];
    static const uint8_t text[64] = "x";
    struct chardev *cd;
    size_t written = 0, n;

    g_assert_cmpint(pipe(fd), ==, 0);
    fflush(stdout);
    dup2(fd[1], STDOUT_FILENO);
    dup2(fd[0], STDIN_FILENO); /* any that is open */
    cd = must_open("stdio", &f);
    dup2(out, STDOUT_FILENO);
    dup2(in, STDIN_FILENO);
    while ((n = chardev_write(cd, text, sizeof(text))) == sizeof(text) && written < (1 << 20)) {
        written += n;
    }
    g_assert_cmpuint(n, ==, 0);
    g_assert_cmpuint(written, >, 0);
    chardev_close(cd);
    close(fd[0]);
    close(fd[1]);
    close(out);
    close(in);
    g_string_free(f.got, TRUE);
}

static void test_bad_specs(void)
{
    static const char *const bad[] = {"",
                                      "telnet:localhost:1",
                                      "tcp:localhost",
                                      "tcp:localhost:4000,frobnicate",
                                      "file:",
                                      "unix:",
                                      "vc",
                                      "ptyx",
                                      "mon:stdio"};
    GError *err = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_null(chardev_open("serial1", bad[i], &err));
        g_assert_nonnull(err);
        g_assert_nonnull(strstr(err->message, bad[i]));
        g_assert_nonnull(strstr(err->message, "serial1"));
        g_clear_error(&err);
    }
    g_assert_null(chardev_open("serial0", "none", &err));
    g_assert_no_error(err);
    g_assert_null(chardev_open("serial0", "file:/nonexistent/x", &err));
    g_assert_nonnull(strstr(err->message, "/nonexistent/x"));
    g_clear_error(&err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev/pty", test_pty);
    g_test_add_func("/chardev/back-pressure", test_back_pressure);
    g_test_add_func("/chardev/file", test_file);
    g_test_add_func("/chardev/stdio-stalls", test_stdio_stalls);
    g_test_add_func("/chardev/bad-specs", test_bad_specs);
    return g_test_run();
}
