/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VNC with its real keeper and servers; the viewers are written out byte by byte here (RFB 3.8,
 * RFC 6143), so that they can be as rude as needed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>
#include <linux/input-event-codes.h>

#include "backends/vnc/vnc.h"

/* ---- a machine with a screen and input devices ---- */

struct seat {
    struct display *display;
    struct input *input;
    struct vnc *vnc;
    unsigned width, height, refreshes, unwatched;
    uint32_t colour;
    bool still;     /* nothing changes */
    GString *story; /* of input events and viewers */
};

static bool paint(void *opaque, bool full)
{
    struct seat *s = opaque;
    uint32_t *p = display_resize(s->display, s->width, s->height);

    s->refreshes++;
    if (s->still) {
        return false;
    }
    for (unsigned i = 0; i < s->width * s->height; i++) {
        p[i] = s->colour + i;
    }
    display_damage(s->display, 0, 0, s->width, s->height);
    return false;
}

static void unwatched(void *opaque)
{
    ((struct seat *)opaque)->unwatched++;
}

static const struct display_device screen = {.refresh = paint, .unwatched = unwatched};

static void on_key(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(((struct seat *)opaque)->story, "%s%u ", down ? "+" : "-", code);
}

static void on_relative(void *opaque, int dx, int dy, int wheel)
{
    g_string_append_printf(((struct seat *)opaque)->story, "r%d,%d,%d ", dx, dy, wheel);
}

static void on_absolute(void *opaque, int x, int y)
{
    g_string_append_printf(((struct seat *)opaque)->story, "a%d,%d ", x, y);
}

static const struct input_device keyboard = {.name = "keyboard", .key = on_key};
static const struct input_device mouse = {.name = "mouse",
                                          .relative = on_relative,
                                          .button = on_key};
static const struct input_device tablet = {.name = "tablet", .absolute = on_absolute};

static void came(void *opaque, const struct vnc_client *c)
{
    g_string_append_printf(((struct seat *)opaque)->story, "came(%s,%s) ", c->host, c->family);
}

static void ready(void *opaque, const struct vnc_client *c)
{
    g_string_append(((struct seat *)opaque)->story, "ready ");
}

static void went(void *opaque, const struct vnc_client *c)
{
    g_string_append(((struct seat *)opaque)->story, "went ");
}

static const struct vnc_events events = {came, ready, went};

static struct seat *seat_new(const char *options, const char *keymap)
{
    struct seat *s = g_new0(struct seat, 1);
    struct vnc_config config = {.options = options, .guest_name = "g1", .keymap = keymap};
    g_autoptr(GError) err = NULL;

    s->width = 20;
    s->height = 10;
    s->story = g_string_new(NULL);
    s->display = display_new();
    s->input = input_new();
    display_set_device(s->display, &screen, s);
    input_attach(s->input, &keyboard, s);
    input_attach(s->input, &mouse, s);
    s->vnc = vnc_open(&config, NULL, &err);
    g_assert_no_error(err);
    vnc_attach(s->vnc, s->display, s->input);
    vnc_set_events(s->vnc, &events, s);
    return s;
}

static void seat_free(struct seat *s)
{
    pid_t keeper = s->vnc->keeper;

    vnc_free(s->vnc);
    g_assert_cmpint(waitpid(keeper, NULL, 0), <, 0); /* it ended with us, and was waited for */
    display_free(s->display);
    input_free(s->input);
    g_string_free(s->story, TRUE);
    g_free(s);
}

static void turn(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* ---- a viewer ---- */

static int dial(struct seat *s)
{
    struct vnc_address a;
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    vnc_address(s->vnc, 0, &a);
    in.sin_port = htons((uint16_t)atoi(a.service));
    inet_pton(AF_INET, a.host, &in.sin_addr);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    return fd;
}

/* Bytes from the server, while our own loop goes on; false: it hung up. */
static bool get(int fd, void *buf, size_t len)
{
    uint8_t *to = buf;

    while (len) {
        struct pollfd p = {fd, POLLIN, 0};
        turn();
        if (poll(&p, 1, 5) > 0) {
            ssize_t n = read(fd, to, len);
            if (n <= 0) {
                return false;
            }
            to += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static void put(int fd, const void *buf, size_t len)
{
    g_assert_cmpint(send(fd, buf, len, MSG_NOSIGNAL), ==, len);
}

/* Past the version; the one type of security that is offered. */
static uint8_t greet(int fd)
{
    char version[13] = "";
    uint8_t types[2];

    g_assert_true(get(fd, version, 12));
    g_assert_cmpstr(version, ==, "RFB 003.008\n");
    put(fd, version, 12);
    g_assert_true(get(fd, types, 2));
    g_assert_cmpuint(types[0], ==, 1);
    put(fd, &types[1], 1);
    return types[1];
}

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void hello(int fd, uint8_t shared, unsigned *width, unsigned *height)
{
    uint8_t result[4], init[24];
    char name[64] = "";

    g_assert_true(get(fd, result, 4));
    g_assert_cmpmem(result, 4, "\0\0\0\0", 4);
    put(fd, &shared, 1);
    g_assert_true(get(fd, init, 24));
    *width = be16(init);
    *height = be16(init + 2);
    g_assert_cmpuint(init[23], <, sizeof(name));
    g_assert_true(get(fd, name, init[23]));
    g_assert_cmpstr(name, ==, "xendm (g1)");
}

static int view(struct seat *s)
{
    unsigned width, height;
    int fd = dial(s);

    g_assert_cmpuint(greet(fd), ==, 1);
    hello(fd, 1, &width, &height);
    return fd;
}

/* Raw, DesktopSize, and what else is given. */
static void encodings(int fd, int extra)
{
    uint8_t m[16] = {2, 0, 0, 3};
    int32_t list[] = {(int32_t)htonl(0), (int32_t)htonl((uint32_t)-223),
                      (int32_t)htonl((uint32_t)extra)};

    memcpy(m + 4, list, 12);
    put(fd, m, sizeof(m));
}

static void request(int fd, unsigned width, unsigned height, bool incremental)
{
    uint8_t m[10] = {3,
                     incremental,
                     0,
                     0,
                     0,
                     0,
                     (uint8_t)(width >> 8),
                     (uint8_t)width,
                     (uint8_t)(height >> 8),
                     (uint8_t)height};

    put(fd, m, sizeof(m));
}

/*
 * Rectangles until a picture of that size is whole; follows DesktopSize. Pixels are as the server
 * has them, little-endian 0x00rrggbb.
 */
static void picture(int fd, unsigned width, unsigned height, uint32_t *pixels)
{
    size_t left = (size_t)width * height;

    while (left > 0) {
        uint8_t head[4], r[12];
        g_assert_true(get(fd, head, 4));
        g_assert_cmpuint(head[0], ==, 0);
        for (unsigned n = be16(head + 2); n > 0; n--) {
            g_assert_true(get(fd, r, 12));
            unsigned x = be16(r), y = be16(r + 2), w = be16(r + 4), h = be16(r + 6);
            int32_t encoding = (int32_t)((uint32_t)be16(r + 8) << 16 | be16(r + 10));
            if (encoding == -223) {
                request(fd, w, h, false);
                continue;
            }
            g_assert_cmpint(encoding, ==, 0);
            g_autofree uint32_t *rect = g_new(uint32_t, (size_t)w * h);
            g_assert_true(get(fd, rect, (size_t)w * h * 4));
            for (unsigned row = 0; row < h && x + w <= width && y + row < height; row++) {
                memcpy(pixels + (y + row) * width + x, rect + row * w, w * 4);
                left -= MIN(left, w);
            }
        }
    }
}

/* The loop runs until the story says it, or for ten seconds. */
static void expect(struct seat *s, const char *part)
{
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (!strstr(s->story->str, part)) {
        turn();
        g_usleep(1000);
        if (g_get_monotonic_time() > end) {
            g_error("waited for \"%s\", the story is: %s", part, s->story->str);
        }
    }
}

/* ---- tests ---- */

static void test_picture(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    uint32_t pixels[64 * 48];
    unsigned width, height;
    int fd = dial(s);

    s->colour = 0x00123456;
    greet(fd);
    g_assert_cmpuint(s->refreshes, ==, 0); /* nothing is drawn before it is in */
    hello(fd, 1, &width, &height);
    g_assert_true(width == 20 && height == 10);

    expect(s, "came(127.0.0.1,ipv4) ready ");
    encodings(fd, 0);
    request(fd, 20, 10, false);
    picture(fd, 20, 10, pixels);
    for (unsigned i = 0; i < 200; i++) {
        g_assert_cmphex(pixels[i], ==, 0x00123456 + i);
    }
    s->width = 64, s->height = 48, s->colour = 0x00ff0000; /* the guest changes its mode */
    request(fd, 20, 10, true);
    picture(fd, 64, 48, pixels);
    for (unsigned i = 0; i < 64 * 48; i++) {
        g_assert_cmphex(pixels[i], ==, 0x00ff0000 + i);
    }
    close(fd);
    expect(s, "went ");
    g_assert_cmpuint(s->unwatched, >, 0); /* nobody looks: nothing is drawn any more */
    unsigned before = s->refreshes;
    turn();
    g_assert_cmpuint(s->refreshes, ==, before);
    seat_free(s);
}

/* A viewer that never asks incrementally: each of its pictures is of its time. */
static void test_whole_pictures(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    uint32_t pixels[20 * 10];
    int fd = view(s);

    encodings(fd, 0);
    for (uint32_t colour = 0x00010000; colour <= 0x00050000; colour += 0x00010000) {
        s->colour = colour;
        request(fd, 20, 10, false);
        picture(fd, 20, 10, pixels);
        for (unsigned i = 0; i < 200; i++) {
            g_assert_cmphex(pixels[i], ==, colour + i);
        }
    }
    close(fd);
    expect(s, "went ");
    seat_free(s);
}

static void key(int fd, uint32_t symbol, bool down)
{
    uint8_t m[8] = {4,
                    down,
                    0,
                    0,
                    (uint8_t)(symbol >> 24),
                    (uint8_t)(symbol >> 16),
                    (uint8_t)(symbol >> 8),
                    (uint8_t)symbol};

    put(fd, m, sizeof(m));
}

static void tap(int fd, uint32_t symbol)
{
    key(fd, symbol, true);
    key(fd, symbol, false);
}

static void test_keys(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int fd = view(s);

    expect(s, "ready ");
    tap(fd, 'a');
    expect(s, "+30 -30 ");
    tap(fd, 'A'); /* nobody holds shift */
    expect(s, "+42 +30 -42 -30 ");
    key(fd, 0xffe1, true); /* shift by the viewer */
    tap(fd, 'B');
    key(fd, 0xffe1, false);
    expect(s, "+42 +48 -48 -42 ");
    tap(fd, 0xff0d);
    expect(s, "+28 -28 ");
    tap(fd, 0x01000041); /* Unicode A */
    tap(fd, 0x0100fffd); /* no key has that: nothing comes */
    tap(fd, 0xffbe);
    expect(s, "+59 -59 ");
    key(fd, 'x', true);
    key(fd, 0xffe3, true);
    expect(s, "+45 +29 ");
    g_string_truncate(s->story, 0);
    close(fd); /* with keys held down */
    expect(s, "-29 -45 ");
    expect(s, "went ");
    seat_free(s);
}

static void test_layout(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", "de");
    int fd = view(s);

    expect(s, "ready ");
    tap(fd, 'z'); /* where y is on an American one */
    expect(s, "+21 -21 ");
    tap(fd, 0xe4); /* adiaeresis */
    expect(s, "+40 -40 ");
    tap(fd, '@'); /* AltGr and Q */
    expect(s, "+100 +16 -100 -16 ");
    close(fd);
    seat_free(s);
}

static void test_extended_keys(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int fd = view(s);
    uint8_t pseudo[16];
    const uint8_t up[] = {255, 0, 0, 1, 0, 0, 0xff, 0x52, 0, 0, 0, 0xc8};
    const uint8_t other[] = {255, 1, 0, 1, 0, 0, 0xff, 0x52, 0, 0, 0, 0xc8};

    expect(s, "ready ");
    encodings(fd, -258);
    g_assert_true(get(fd, pseudo, 16)); /* the server says that it can */
    g_assert_cmpmem(pseudo + 12, 4, "\xff\xff\xfe\xfe", 4);
    put(fd, up, sizeof(up));
    expect(s, "+103 ");
    put(fd, other, sizeof(other)); /* a kind that was not offered */
    g_assert_false(get(fd, pseudo, 1));
    expect(s, "-103 ");
    close(fd);
    seat_free(s);
}

static void point(int fd, unsigned buttons, unsigned x, unsigned y)
{
    uint8_t m[6] = {5,          (uint8_t)buttons,  (uint8_t)(x >> 8),
                    (uint8_t)x, (uint8_t)(y >> 8), (uint8_t)y};

    put(fd, m, sizeof(m));
}

static void test_pointer(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int fd = view(s);

    expect(s, "ready ");
    point(fd, 0, 100, 100);
    expect(s, "r0,0,0 "); /* where it is says nothing of movement */
    point(fd, 1, 103, 98);
    expect(s, "r3,-2,0 +272 ");
    point(fd, 8, 103, 98);
    expect(s, "r0,0,1 -272 ");
    input_attach(s->input, &tablet, s); /* the guest has set one up: the viewer follows */
    turn();
    point(fd, 0, 19, 9);
    expect(s, "a32767,32767 ");
    point(fd, 4, 0, 0);
    expect(s, "a0,0 +273 ");
    g_string_truncate(s->story, 0);
    close(fd);
    expect(s, "-273 ");
    seat_free(s);
}

/* DES of VNC: the response is made by the same library that checks it. */
static void respond(const uint8_t challenge[16], const char *password, uint8_t response[16])
{
    extern void rfbEncryptBytes(unsigned char *bytes, char *passwd);
    char copy[9] = "";

    memcpy(response, challenge, 16);
    g_strlcpy(copy, password, sizeof(copy));
    rfbEncryptBytes(response, copy);
}

/* The pid of the only server of the keeper; 0: none, and none that it has not waited for. */
static pid_t server_of(struct seat *s)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%d/task/%d/children", s->vnc->keeper, s->vnc->keeper);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return (pid_t)atoi(text);
}

static bool login(struct seat *s, const char *password)
{
    int fd = dial(s);
    uint8_t challenge[16], response[16], result[4] = {9};
    bool in = false;
    char version[12];

    if (get(fd, version, 12)) { /* an address that has to wait is hung up on at once */
        uint8_t types[2];
        put(fd, "RFB 003.008\n", 12);
        g_assert_true(get(fd, types, 2));
        g_assert_cmpuint(types[1], ==, 2);
        put(fd, &types[1], 1);
        g_assert_true(get(fd, challenge, 16));
        respond(challenge, password, response);
        put(fd, response, 16);
        g_assert_true(get(fd, result, 4));
        in = result[3] == 0;
    }
    close(fd);
    while (server_of(s)) { /* the keeper knows how it ended */
        turn();
        g_usleep(1000);
    }
    return in;
}

/* The penalty of the attempt before is over. */
static bool login_after_wait(struct seat *s, const char *password, unsigned seconds)
{
    turn();
    g_usleep(seconds * G_USEC_PER_SEC + 200000);
    return login(s, password);
}

/*
 * After an attempt that failed an address has to wait for a second, whatever it says then. Where
 * both attempts together took longer than that, nothing is known, and it is tried again.
 */
static bool has_to_wait(struct seat *s, const char *wrong, const char *right)
{
    int64_t start;

    do {
        start = g_get_monotonic_time();
        g_assert_false(login(s, wrong));
        if (!login(s, right)) {
            return true;
        }
    } while (g_get_monotonic_time() - start >= G_USEC_PER_SEC);
    return false;
}

static void test_password(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99,password=on", NULL);

    g_assert_false(login(s, "")); /* none is set: nobody gets in */
    g_assert_cmpint(vnc_set_password(s->vnc, "secret12", NULL), ==, 0);
    g_assert_true(login_after_wait(s, "secret12", 1));
    g_assert_true(has_to_wait(s, "secret13", "secret12"));
    g_assert_true(login_after_wait(s, "secret12", 1));
    vnc_expire_password(s->vnc, 1000);
    g_assert_false(login(s, "secret12"));
    vnc_expire_password(s->vnc, VNC_NEVER);
    g_assert_true(login_after_wait(s, "secret12", 1));
    seat_free(s);

    s = seat_new("127.0.0.1:0,to=99", NULL);
    g_autoptr(GError) err = NULL;
    g_assert_cmpint(vnc_set_password(s->vnc, "x", &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err->message, "password=on"));
    seat_free(s);
}

static bool still_there(int fd)
{
    uint8_t byte;

    turn();
    g_usleep(20000);
    turn();
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Greeted, but then hung up on. */
static void refused(int fd, uint8_t shared)
{
    uint8_t result[4], byte;

    greet(fd);
    g_assert_true(get(fd, result, 4));
    put(fd, &shared, 1);
    g_assert_false(get(fd, &byte, 1));
    close(fd);
}

static void test_sharing(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    unsigned width, height;
    uint8_t byte;
    int one = view(s), two = view(s), alone;

    expect(s, "ready ");
    g_assert_true(still_there(one) && still_there(two));
    alone = dial(s);
    greet(alone);
    hello(alone, 0, &width, &height);
    g_assert_false(get(one, &byte, 1));
    g_assert_false(get(two, &byte, 1));
    g_assert_true(still_there(alone));
    g_string_truncate(s->story, 0);
    refused(dial(s), 1); /* would share, but somebody wants to be alone */
    g_assert_true(still_there(alone));
    close(one), close(two), close(alone);
    seat_free(s);

    s = seat_new("127.0.0.1:0,to=99,share=force-shared", NULL);
    refused(dial(s), 0);
    seat_free(s);
}

static void test_server_crashes(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int fd = view(s);
    uint8_t byte;

    expect(s, "ready ");
    key(fd, 'a', true);
    expect(s, "+30 ");
    kill(server_of(s), SIGKILL);
    g_assert_false(get(fd, &byte, 1));
    expect(s, "-30 went ");
    close(fd);
    fd = view(s); /* and the next one is served */
    tap(fd, 'b');
    expect(s, "+48 -48 ");
    close(fd);
    seat_free(s);
}

/* No descriptor is left when a viewer comes: that one is lost, and those after it are served. */
static void test_no_descriptors(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    struct rlimit before, none;
    uint8_t byte;
    int fd = dial(s), lowest = dup(fd);
    struct pollfd keeper = {s->vnc->keeper_fd, POLLIN, 0};

    close(lowest);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest;
    g_assert_cmpint(poll(&keeper, 1, 10000), ==, 1);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    turn();
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    g_assert_cmpuint(s->vnc->viewers->len, ==, 0);
    while (get(fd, &byte, 1)) { /* what its server had said already */
    }
    close(fd);
    fd = view(s);
    expect(s, "ready ");
    close(fd);
    seat_free(s);
}

static struct vnc_viewer *fake_server(struct seat *s, int pair[2])
{
    struct vnc_client c = {.host = "fake", .family = "ipv4"};

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), ==, 0);
    struct vnc_viewer *w = viewer_new(s->vnc, pair[1], &c);
    g_ptr_array_add(s->vnc->viewers, w);
    return w;
}

/* The kinds of all that a server was sent, in order. */
static unsigned hear(int fd, uint32_t *kinds, unsigned max)
{
    struct vnc_message m;
    unsigned n = 0;

    turn();
    while (recv(fd, &m, sizeof(m), MSG_DONTWAIT) > 0) {
        g_assert_cmpuint(n, <, max);
        kinds[n++] = m.kind;
    }
    return n;
}

static void say(int fd, enum vnc_kind kind, uint32_t value)
{
    struct vnc_message m = {.kind = kind, .value = value};

    g_assert_cmpint(send(fd, &m, VNC_SIZE(value), 0), ==, VNC_SIZE(value));
}

/* What was drawn because one viewer asked, the other one hears of when it asks. */
static void test_two_viewers(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int one[2], two[2];
    uint32_t kinds[16];

    fake_server(s, one);
    fake_server(s, two);
    say(one[0], VNC_READY, 1);
    say(two[0], VNC_READY, 1);
    say(one[0], VNC_REFRESH, 1);
    say(two[0], VNC_REFRESH, 1);
    g_assert_cmpuint(hear(one[0], kinds, 16), >, 3);
    g_assert_cmpuint(hear(two[0], kinds, 16), >, 3);
    say(one[0], VNC_REFRESH, 0); /* something changed, of which the first one hears … */
    g_assert_cmpuint(hear(one[0], kinds, 16), ==, 2);
    g_assert_cmpuint(kinds[0], ==, VNC_DAMAGE);
    g_assert_cmpuint(kinds[1], ==, VNC_DONE);
    s->still = true;
    g_assert_cmpuint(hear(two[0], kinds, 16), ==, 0);
    say(two[0], VNC_REFRESH, 0);
    g_assert_cmpuint(hear(two[0], kinds, 16), ==, 2);
    g_assert_cmpuint(kinds[0], ==, VNC_DAMAGE);
    say(one[0], VNC_REFRESH, 0); /* … and nothing twice */
    g_assert_cmpuint(hear(one[0], kinds, 16), ==, 1);
    g_assert_cmpuint(kinds[0], ==, VNC_DONE);
    close(one[0]);
    close(two[0]);
    turn();
    seat_free(s);
}

/* A server that was taken over by its viewer can say what it wants. */
static void test_hostile_server(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    struct vnc_message m;
    int pair[2];
    static const struct vnc_message bad[] = {
        {.kind = VNC_KEY, .key = {30, 1}}, /* before it was ready */
        {.kind = VNC_REFRESH},
        {.kind = VNC_START},
        {.kind = 0},
        {.kind = 77},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        fake_server(s, pair);
        g_assert_cmpint(recv(pair[0], &m, sizeof(m), 0), ==, VNC_SIZE(start));
        g_assert_cmpint(send(pair[0], &bad[i], VNC_SIZE(key), 0), >, 0);
        turn();
        g_assert_cmpuint(s->vnc->viewers->len, ==, 0);
        close(pair[0]);
    }
    fake_server(s, pair);
    m = (struct vnc_message){.kind = VNC_READY, .value = 1};
    send(pair[0], &m, VNC_SIZE(value), 0);
    m = (struct vnc_message){.kind = VNC_POINTER,
                             .pointer = {INT32_MIN, INT32_MAX, 0, UINT32_MAX, INT32_MIN}};
    send(pair[0], &m, VNC_SIZE(pointer), 0);
    m = (struct vnc_message){.kind = VNC_WISH, .wish = {UINT32_MAX, 0}};
    send(pair[0], &m, VNC_SIZE(wish), 0);
    turn();
    g_assert_cmpuint(s->vnc->viewers->len, ==, 1);
    g_assert_nonnull(strstr(s->story->str, "r-4096,4096,-16 "));
    m = (struct vnc_message){.kind = VNC_KEY, .key = {768, 1}};
    send(pair[0], &m, VNC_SIZE(key), 0);
    turn();
    g_assert_cmpuint(s->vnc->viewers->len, ==, 0);
    close(pair[0]);
    /* one that never reads: pictures get lost, nothing waits, nothing grows */
    fake_server(s, pair);
    m = (struct vnc_message){.kind = VNC_READY, .value = 1};
    send(pair[0], &m, VNC_SIZE(value), 0);
    m = (struct vnc_message){.kind = VNC_REFRESH, .value = 0};
    for (unsigned i = 0; i < 3000; i++) {
        send(pair[0], &m, VNC_SIZE(value), MSG_DONTWAIT);
        turn();
    }
    g_assert_cmpuint(s->vnc->viewers->len, ==, 1);
    close(pair[0]);
    turn();
    g_assert_cmpuint(s->vnc->viewers->len, ==, 0);
    seat_free(s);
}

/* Viewers that say nothing, rubbish, or go in the middle. */
static void test_hostile_viewers(void)
{
    struct seat *s = seat_new("127.0.0.1:0,to=99", NULL);
    int silent[VNC_VIEWERS_MAX + 4];
    uint8_t rubbish[4096];
    GRand *rand = g_rand_new_with_seed(5900);

    for (unsigned i = 0; i < 20; i++) {
        int fd = i & 1 ? dial(s) : view(s);
        for (unsigned k = 0; k < sizeof(rubbish); k++) {
            rubbish[k] = (uint8_t)g_rand_int(rand);
        }
        send(fd, rubbish, 1 + g_rand_int(rand) % sizeof(rubbish), MSG_NOSIGNAL);
        turn();
        close(fd);
    }
    while (s->vnc->viewers->len) {
        turn();
        g_usleep(1000);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++) {
        silent[i] = dial(s);
    }
    turn();
    g_assert_cmpuint(s->vnc->viewers->len, <=, VNC_VIEWERS_MAX);
    for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++) {
        close(silent[i]);
    }
    do {
        turn();
        g_usleep(1000);
    } while (s->vnc->viewers->len);
    int fd = view(s);
    tap(fd, 'q');
    expect(s, "+16 -16 ");
    close(fd);
    g_rand_free(rand);
    seat_free(s);
}

static void test_ports(void)
{
    struct seat *one = seat_new("127.0.0.1:40,to=99", NULL);
    struct seat *two = seat_new("127.0.0.1:40,to=99", NULL);
    struct vnc_address a, b;
    struct vnc_config config = {0};
    g_autoptr(GError) err = NULL;

    vnc_address(one->vnc, 0, &a);
    vnc_address(two->vnc, 0, &b);
    g_assert_cmpstr(a.host, ==, "127.0.0.1");
    g_assert_cmpint(atoi(b.service), >, atoi(a.service));
    g_autofree char *taken = g_strdup_printf("127.0.0.1:%d", atoi(a.service) - 5900);
    config.options = taken;
    g_assert_null(vnc_open(&config, NULL, &err));
    g_assert_nonnull(strstr(err->message, a.service));
    seat_free(one);
    seat_free(two);
}

static void test_unix(void)
{
    g_autofree char *dir = g_dir_make_tmp("xendm-vnc-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *options = g_strdup_printf("unix:%s", path);
    struct seat *s = seat_new(options, NULL);
    struct vnc_address a;

    vnc_address(s->vnc, 0, &a);
    g_assert_cmpstr(a.family, ==, "unix");
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    seat_free(s);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_rmdir(dir);
}

static void test_options(void)
{
    static const struct {
        const char *text, *says; /* says NULL: understood */
    } cases[] = {
        {"127.0.0.1:0,to=99", NULL},
        {"0.0.0.0:1,password=on,to=99", NULL},
        {":3", NULL},
        {"[::1]:5", NULL},
        {"::1:5", NULL},
        {"localhost:7,password", NULL},
        {"127.0.0.1:0,websocket=on", NULL},
        {"127.0.0.1:0,websocket=5701,share=ignore,ipv4=on,lossy=on", NULL},
        {"unix:/run/x,password=on", NULL},
        {"127.0.0.1", "HOST:DISPLAY"},
        {"127.0.0.1:x", "HOST:DISPLAY"},
        {"127.0.0.1:99999", "HOST:DISPLAY"},
        {"127.0.0.1:0,to=x", "to=x"},
        {"127.0.0.1:5,to=3", "to is below"},
        {"127.0.0.1:0,tls-creds=t0", "tls-creds=t0"},
        {"127.0.0.1:0,sasl=on", "sasl=on"},
        {"127.0.0.1:0,reverse=on", "reverse=on"},
        {"127.0.0.1:0,password=maybe", "password=maybe"},
        {"127.0.0.1:0,share=some", "share=some"},
        {"unix:", "path"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct vnc_config config = {.options = cases[i].text};
        g_autoptr(GError) err = NULL;
        int rc = vnc_check(&config, &err);
        g_test_message("%s", cases[i].text);
        if (cases[i].says) {
            g_assert_cmpint(rc, ==, -EINVAL);
            g_assert_nonnull(strstr(err->message, cases[i].says));
        } else {
            g_assert_no_error(err);
            g_assert_cmpint(rc, ==, 0);
        }
    }
}

int main(int argc, char **argv)
{
    const char *build = g_getenv("XENDM_BUILDDIR");
    g_autofree char *keeper = g_build_filename(build ? build : ".", "backends/vnc/xendm-vnc", NULL);
    g_autofree char *server = g_strconcat(keeper, "-server", NULL);

    g_test_init(&argc, &argv, NULL);
    g_setenv("XENDM_VNC", keeper, TRUE);
    g_setenv("XENDM_VNC_SERVER", server, TRUE);
    g_test_add_func("/vnc/options", test_options);
    g_test_add_func("/vnc/picture", test_picture);
    g_test_add_func("/vnc/whole-pictures", test_whole_pictures);
    g_test_add_func("/vnc/keys", test_keys);
    g_test_add_func("/vnc/layout", test_layout);
    g_test_add_func("/vnc/extended-keys", test_extended_keys);
    g_test_add_func("/vnc/pointer", test_pointer);
    g_test_add_func("/vnc/password", test_password);
    g_test_add_func("/vnc/sharing", test_sharing);
    g_test_add_func("/vnc/server-crashes", test_server_crashes);
    g_test_add_func("/vnc/no-descriptors", test_no_descriptors);
    g_test_add_func("/vnc/two-viewers", test_two_viewers);
    g_test_add_func("/vnc/hostile-server", test_hostile_server);
    g_test_add_func("/vnc/hostile-viewers", test_hostile_viewers);
    g_test_add_func("/vnc/ports", test_ports);
    g_test_add_func("/vnc/unix", test_unix);
    return g_test_run();
}
