/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character back ends against real ptys, files and sockets. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend-classes.h>
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

static struct backend_set *set;

/* With the drivers that are tested, and no others. */
const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {
        &chardev_pty_class,   &chardev_file_class, &chardev_pipe_class,   &chardev_serial_class,
        &chardev_stdio_class, &chardev_null_class, &chardev_socket_class, NULL,
    };

    return classes;
}

/* "DRIVER NAME=VALUE NAME=VALUE …"; a second one has the same id in no set. */
static struct chardev *open_chardev(const char *text, GError **err)
{
    g_auto(GStrv) word = g_strsplit(text, " ", -1);
    struct object_desc *o = object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, word[0], NULL);
    struct backend *b;

    for (char **w = word + 1; *w; w++) {
        char *equals = strchr(*w, '=');

        *equals = '\0';
        object_desc_set(o, *w, equals + 1);
    }
    b = backend_add(set, o, NULL, err);
    object_desc_free(o);
    return b ? chardev_of(b) : NULL;
}

static void chardev_close(struct chardev *cd)
{
    g_assert_cmpint(backend_remove(set, chardev_backend(cd), NULL), ==, 0);
}

static struct chardev *must_open(const char *spec, struct front *f)
{
    GError *err = NULL;
    struct chardev *cd = open_chardev(spec, &err);

    g_assert_no_error(err);
    g_assert_nonnull(cd);
    f->got = g_string_new(NULL);
    f->room = 1000;
    chardev_set_frontend(cd, &frontend, f);
    return cd;
}

static void test_pty(void)
{
    struct winsize size = {.ws_col = 132, .ws_row = 43};
    uint16_t cols = 0, rows = 0;
    struct front f = {0};
    struct chardev *cd = must_open("pty", &f);
    uint8_t buf[16];
    int fd;

    g_assert_false(chardev_size(cd, &cols, &rows)); /* nobody has said */

    g_assert_true(g_str_has_prefix(chardev_filename(cd), "pty:/dev/pts/"));
    g_assert_cmpstr(chardev_label(cd), ==, "pty");
    g_assert_false(chardev_connected(cd));
    g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"lost", 4), ==, 4);
    g_assert_cmpuint(chardev_stats(cd)->dropped, ==, 4);
    for (unsigned round = 1; round <= 2; round++) {
        fd = open(chardev_filename(cd) + 4, O_RDWR | O_NOCTTY);
        g_assert_cmpint(fd, >=, 0);
        WAIT_FOR(chardev_connected(cd));
        g_assert_cmpuint(f.opened, ==, round);
        g_assert_cmpint(ioctl(fd, TIOCSWINSZ, &size), ==, 0);
        g_assert_true(chardev_size(cd, &cols, &rows));
        g_assert_cmpuint(cols, ==, 132);
        g_assert_cmpuint(rows, ==, 43);
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
    g_autofree char *spec = g_strdup_printf("socket path=%s server=on wait=off", path);
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
    g_autofree char *spec = g_strdup_printf("file path=%s", path);
    g_autofree char *text = NULL;
    struct chardev *cd = must_open(spec, &f);

    g_assert_true(g_str_has_prefix(chardev_filename(cd), "file:/"));
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

/* A unix server in a directory of its own, and what connects to it. */
struct server {
    char *dir, *path, *spec;
};

static void server_init(struct server *s)
{
    s->dir = g_dir_make_tmp("xendm-chardev-XXXXXX", NULL);
    s->path = g_build_filename(s->dir, "serial", NULL);
    s->spec = g_strdup_printf("socket path=%s server=on wait=off", s->path);
}

static void server_clear(struct server *s)
{
    g_rmdir(s->dir);
    g_free(s->dir);
    g_free(s->path);
    g_free(s->spec);
}

static int server_call(const struct server *s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(addr.sun_path, s->path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    return fd;
}

static void run_out(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* Who left with input unread: the carrier drops, the input is still there, nothing spins. */
static void test_left_unread(void)
{
    struct front f = {0};
    struct server s;
    struct chardev *cd;
    int fd;

    server_init(&s);
    cd = must_open(s.spec, &f);
    f.room = 2;
    fd = server_call(&s);
    g_assert_cmpint(write(fd, "abcdef", 6), ==, 6);
    WAIT_FOR(f.got->len == 2);
    close(fd);
    WAIT_FOR(!chardev_connected(cd));
    run_out();
    g_assert_cmpuint(f.closed, ==, 1);
    f.room = 100;
    chardev_accept_input(cd);
    WAIT_FOR(f.got->len == 6);
    g_assert_cmpstr(f.got->str, ==, "abcdef");
    run_out();
    g_assert_cmpuint(f.closed, ==, 1);
    chardev_close(cd);
    g_string_free(f.got, TRUE);
    server_clear(&s);
}

/* … and the next one is served. */
static void test_left_unread_next(void)
{
    struct front f = {0};
    struct server s;
    struct chardev *cd;
    uint8_t buf[8];
    int fd;

    server_init(&s);
    cd = must_open(s.spec, &f);
    f.room = 2;
    for (unsigned round = 1; round <= 3; round++) {
        fd = server_call(&s);
        WAIT_FOR(f.opened == round);
        g_assert_cmpint(write(fd, "abcdef", 6), ==, 6);
        run_out();
        g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"hi", 2), ==, 2);
        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 2);
        close(fd);
    }
    g_assert_cmpuint(f.got->len, ==, 2);
    chardev_close(cd);
    g_string_free(f.got, TRUE);
    server_clear(&s);
}

/* No descriptor is free when somebody calls: not tried again and again at once. */
static void test_no_descriptors(void)
{
    struct front f = {0};
    struct server s;
    struct chardev *cd;
    struct rlimit limit, none;
    int fd, lowest;

    server_init(&s);
    cd = must_open(s.spec, &f);
    run_out();
    fd = server_call(&s);
    lowest = dup(fd);
    close(lowest);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    none = limit;
    none.rlim_cur = (rlim_t)lowest;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    g_assert_true(g_main_context_iteration(NULL, TRUE));
    g_assert_false(g_main_context_iteration(NULL, FALSE));
    g_assert_false(chardev_connected(cd));
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    WAIT_FOR(chardev_connected(cd));
    close(fd);
    chardev_close(cd);
    g_string_free(f.got, TRUE);
    server_clear(&s);
}

/* A successor has put its socket there; what is no socket is left alone. */
static void test_whose_socket(void)
{
    struct front f = {0}, g = {0};
    struct server s;
    struct chardev *old, *new;
    GError *err = NULL;

    server_init(&s);
    old = must_open(s.spec, &f);
    new = must_open(s.spec, &g);
    chardev_close(old);
    close(server_call(&s));
    WAIT_FOR(g.opened == 1);
    chardev_close(new);
    g_assert_cmpint(access(s.path, F_OK), <, 0);
    g_assert_true(g_file_set_contents(s.path, "x", 1, NULL));
    g_assert_null(open_chardev(s.spec, &err));
    g_assert_nonnull(strstr(err->message, s.path));
    g_clear_error(&err);
    g_assert_cmpint(unlink(s.path), ==, 0);
    g_string_free(f.got, TRUE);
    g_string_free(g.got, TRUE);
    server_clear(&s);
}

/* Standard input at its end: what the guest says still comes out. */
static void test_stdin_ends(void)
{
    struct front f = {0};
    int out = dup(STDOUT_FILENO), in = dup(STDIN_FILENO), to[2], from[2];
    struct chardev *cd;
    uint8_t buf[16];

    g_assert_cmpint(pipe(to), ==, 0);
    g_assert_cmpint(pipe(from), ==, 0);
    g_assert_cmpint(write(to[1], "last", 4), ==, 4);
    fflush(stdout);
    dup2(from[1], STDOUT_FILENO);
    dup2(to[0], STDIN_FILENO);
    cd = must_open("stdio", &f);
    dup2(out, STDOUT_FILENO);
    dup2(in, STDIN_FILENO);
    close(to[1]);
    WAIT_FOR(f.got->len == 4);
    run_out();
    g_assert_true(chardev_connected(cd));
    g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"hello", 5), ==, 5);
    g_assert_cmpint(read(from[0], buf, sizeof(buf)), ==, 5);
    g_assert_cmpuint(chardev_stats(cd)->dropped, ==, 0);
    /* The other way round: nobody reads any more. */
    close(from[0]);
    g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"hello", 5), ==, 5);
    g_assert_cmpuint(chardev_stats(cd)->dropped, ==, 5);
    g_assert_false(chardev_connected(cd));
    chardev_close(cd);
    close(to[0]);
    close(from[1]);
    close(out);
    close(in);
    g_string_free(f.got, TRUE);
}

/* Refused before anything is opened, or because the host refuses; each says why. */
static void test_refused(void)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"telnet host=localhost", "there is no char back end 'telnet'"},
        {"socket", "needs one of path=, or host= and port="},
        {"socket path=/a port=1", "needs one of path=, or host= and port="},
        {"socket host=localhost", "port= is missing"},
        {"socket path=", "path= is empty"},
        {"socket path=/a server=maybe", "neither on nor off"},
        {"file", "path= is missing"},
        {"file path=", "path= is empty"},
        {"file path=/nonexistent/x", "/nonexistent/x"},
        {"serial path=/nonexistent/tty", "/nonexistent/tty"},
        {"pty path=/x", "pty has no property path"},
    };
    GError *err = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_null(open_chardev(bad[i].text, &err));
        g_assert_nonnull(err);
        if (!strstr(err->message, bad[i].why)) {
            g_error("%s: %s", bad[i].text, err->message);
        }
        g_clear_error(&err);
    }
}

/* append=on is a property, not a part of the name. */
static void test_append(void)
{
    struct front f = {0};
    g_autofree char *dir = g_dir_make_tmp("xendm-chardev-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/log,append=on", dir);
    g_autofree char *anew = g_strdup_printf("file path=%s", path);
    g_autofree char *behind = g_strdup_printf("file append=on path=%s", path);
    const char *const specs[] = {anew, anew, behind};
    const char *const contents[] = {"x", "x", "xx"};

    for (unsigned i = 0; i < G_N_ELEMENTS(specs); i++) {
        struct chardev *cd = must_open(specs[i], &f);
        g_autofree char *text = NULL;

        g_assert_cmpuint(chardev_write(cd, (const uint8_t *)"x", 1), ==, 1);
        chardev_close(cd);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, contents[i]);
        g_string_free(f.got, TRUE);
    }
    g_unlink(path);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    int ret;

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev/pty", test_pty);
    g_test_add_func("/chardev/back-pressure", test_back_pressure);
    g_test_add_func("/chardev/file", test_file);
    g_test_add_func("/chardev/stdio-stalls", test_stdio_stalls);
    g_test_add_func("/chardev/stdin-ends", test_stdin_ends);
    g_test_add_func("/chardev/left-unread", test_left_unread);
    g_test_add_func("/chardev/left-unread-next", test_left_unread_next);
    g_test_add_func("/chardev/no-descriptors", test_no_descriptors);
    g_test_add_func("/chardev/whose-socket", test_whose_socket);
    g_test_add_func("/chardev/append", test_append);
    g_test_add_func("/chardev/refused", test_refused);
    set = backend_set_new();
    ret = g_test_run();
    backend_set_free(set);
    return ret;
}
