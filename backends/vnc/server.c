/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm-vnc-server: the VNC server of one viewer, by libvncserver. Started by xendm-vnc with the
 * descriptors of wire.h, as nobody, and behind a filter of system calls before the viewer's first
 * byte is read. It asks xendm for a picture when the viewer has asked it for one, at most thirty
 * times a second, and less and less often while nothing changes; it ends with its viewer.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <xendm/one-fd.h>

#include "confine.h"
#include "scroll.h"
#include "server.h"

#define FRAME_MS 33u
#define PAUSE_MAX_MS 250u
#define LOGIN_S 60
#define PICTURE_MS 5000 /* a guest's device model that is busy: then black at first */

struct server server = {.pause = FRAME_MS};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void server_tell(const struct vnc_message *m, size_t size)
{
    if (send(VNC_FD_DAEMON, m, size, MSG_NOSIGNAL) < 0 && errno != EINTR) {
        _exit(VNC_EXIT_OK); /* xendm has gone, or does not want us any more */
    }
}

void server_hurry(void)
{
    server.pause = FRAME_MS;
    if (server.next_frame > now_ms() + FRAME_MS) {
        server.next_frame = now_ms() + FRAME_MS;
    }
}

static void tell_value(enum vnc_kind kind, uint32_t value)
{
    const struct vnc_message m = {.kind = kind, .value = value};

    server_tell(&m, VNC_SIZE(value));
}

/* ---- the picture ---- */

static void format_pixels(void)
{
    rfbPixelFormat *f = &server.screen->serverFormat;

    f->redShift = 16;
    f->greenShift = 8;
    f->blueShift = 0;
    f->redMax = f->greenMax = f->blueMax = 255;
    if (server.client) {
        server.screen->setTranslateFunction(server.client);
    }
}

/* The descriptor is mapped and closed; a viewer that cannot follow a new size has to go. */
static void take_surface(uint32_t width, uint32_t height, int fd)
{
    size_t bytes = (size_t)width * height * 4;
    bool other = (int)width != server.screen->width || (int)height != server.screen->height;

    if (width < 1 || width > DISPLAY_WIDTH_MAX || height < 1 || height > DISPLAY_HEIGHT_MAX) {
        return;
    }
    uint8_t *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return;
    }
    if (other && server.client && server.client->state == RFB_NORMAL &&
        !server.client->useNewFBSize) {
        fprintf(stderr, "xendm-vnc-server: the viewer cannot change its size to %ux%u\n", width,
                height);
        rfbCloseClient(server.client);
    }
    char *old = server.screen->frameBuffer;
    rfbNewFramebuffer(server.screen, (char *)p, (int)width, (int)height, 8, 3, 4);
    format_pixels();
    if (server.pixels) {
        munmap(server.pixels, server.bytes);
    } else {
        free(old); /* the first, blank one */
    }
    server.pixels = p;
    server.bytes = bytes;
    sraRgnMakeEmpty(server.damage);
    scroll_forget();
}

static void take_damage(const struct vnc_message *m)
{
    for (uint32_t i = 0; i < m->damage.count && i < VNC_DAMAGE_MAX; i++) {
        int x = m->damage.rect[i].x, y = m->damage.rect[i].y;
        sraRegionPtr rect =
            sraRgnCreateRect(x, y, x + m->damage.rect[i].width, y + m->damage.rect[i].height);

        sraRgnOr(server.damage, rect);
        sraRgnDestroy(rect);
    }
    server.pause = FRAME_MS;
}

/*
 * What rfbScheduleCopyRegion() does, which 0.9.14 cannot without a cursor. Before the library is
 * told what else has changed.
 */
static void move_rows(rfbClientPtr c, sraRegionPtr copy, int distance)
{
    sraRegionPtr stale;

    /* A move that was not sent: its rows are sent as they are instead. */
    sraRgnOr(c->modifiedRegion, c->copyRegion);
    sraRgnMakeEmpty(c->copyRegion);
    sraRgnOr(c->copyRegion, copy);
    c->copyDX = 0;
    c->copyDY = distance;
    /* What the viewer does not have yet it cannot move. */
    stale = sraRgnCreateRgn(c->modifiedRegion);
    sraRgnOffset(stale, 0, distance);
    sraRgnAnd(stale, copy);
    sraRgnOr(c->modifiedRegion, stale);
    sraRgnDestroy(stale);
}

static void picture_is_there(bool ours)
{
    server.drawing = false;
    server.fresh = true;
    if (server.pixels && server.client && server.client->useCopyRect) {
        sraRegionPtr copy = sraRgnCreate();
        int distance =
            scroll_find(server.pixels, (unsigned)server.screen->width,
                        (unsigned)server.screen->height, ours && !server.sent, server.damage, copy);

        if (distance) {
            move_rows(server.client, copy, distance);
        }
        sraRgnDestroy(copy);
    } else {
        scroll_forget();
    }
    rfbMarkRegionAsModified(server.screen, server.damage);
    sraRgnMakeEmpty(server.damage);
}

/* A shape with one bit of transparency, and for viewers that can, with eight. */
static void take_cursor(const struct vnc_message *m)
{
    const struct display_cursor *s = &m->cursor.shape;
    unsigned stride = (s->width + 7) / 8;
    rfbCursorPtr c;

    if (!m->cursor.present || s->width < 1 || s->width > DISPLAY_CURSOR_MAX || s->height < 1 ||
        s->height > DISPLAY_CURSOR_MAX) {
        rfbSetCursor(server.screen, NULL);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        return;
    }
    c->cleanup = c->cleanupSource = c->cleanupMask = c->cleanupRichSource = TRUE;
    c->width = (unsigned short)s->width;
    c->height = (unsigned short)s->height;
    c->xhot = (unsigned short)s->hot_x;
    c->yhot = (unsigned short)s->hot_y;
    c->source = calloc(stride, s->height);
    c->mask = calloc(stride, s->height);
    c->richSource = malloc((size_t)s->width * s->height * 4);
    if (!c->source || !c->mask || !c->richSource) {
        rfbFreeCursor(c);
        return;
    }
    for (unsigned i = 0; i < s->width * s->height; i++) {
        unsigned x = i % s->width, y = i / s->width;
        uint32_t pixel = s->argb[i];
        memcpy(c->richSource + i * 4, &pixel, 4);
        if (pixel >> 31) {
            c->mask[y * stride + x / 8] |= (uint8_t)(0x80 >> (x & 7));
        }
    }
    rfbSetCursor(server.screen, c);
}

static void take_cursor_place(const struct vnc_message *m)
{
    server.screen->cursorX = m->cursor_at.x;
    server.screen->cursorY = m->cursor_at.y;
    if (server.client) {
        server.client->cursorWasMoved = TRUE;
    }
}

/* ---- xendm's messages ---- */

static void obey(const struct vnc_message *m, int fd)
{
    switch (m->kind) {
    case VNC_SURFACE:
        if (fd >= 0) {
            take_surface(m->surface.width, m->surface.height, fd);
        }
        break;
    case VNC_DAMAGE:
        take_damage(m);
        break;
    case VNC_DONE:
        picture_is_there(m->value);
        break;
    case VNC_CHANGED:
        server_hurry();
        break;
    case VNC_CURSOR:
        take_cursor(m);
        break;
    case VNC_CURSOR_AT:
        take_cursor_place(m);
        break;
    case VNC_POINTER_MODE:
        input_set_absolute(m->value);
        break;
    case VNC_LEDS:
        server.start.start.leds = (uint8_t)m->value;
        break;
    }
}

static void hear_daemon(void)
{
    static struct vnc_message m;
    int fd;

    for (;;) {
        ssize_t n = one_fd_receive(VNC_FD_DAEMON, &m, sizeof(m), &fd, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            _exit(VNC_EXIT_OK);
        }
        obey(&m, fd);
        if (fd >= 0) {
            close(fd);
        }
    }
}

static void ask(void)
{
    server.drawing = true;
    server.sent = false;
    server.next_frame = now_ms() + server.pause;
    server.pause = server.pause * 5 / 4 > PAUSE_MAX_MS ? PAUSE_MAX_MS : server.pause * 5 / 4;
    tell_value(VNC_REFRESH, 0);
}

static void ask_for_picture(void)
{
    bool wanted =
        server.client->state == RFB_NORMAL && !sraRgnEmpty(server.client->requestedRegion);

    if (wanted && !server.drawing && server.ready && now_ms() >= server.next_frame) {
        ask();
    }
}

static void wait_for_picture(void)
{
    struct pollfd p = {VNC_FD_DAEMON, POLLIN, 0};

    while (server.drawing && poll(&p, 1, PICTURE_MS) == 1) {
        hear_daemon();
    }
}

/*
 * The library answers a request that is not incremental at once, with what it has, which may be as
 * old as the viewer's last request: first it is drawn. Not more often than other pictures are.
 */
static void before_update(rfbClientPtr client)
{
    if (!server.fresh && server.ready) {
        if (!server.drawing) {
            server_hurry();
            int64_t left = server.next_frame - now_ms();
            if (left > 0) {
                poll(NULL, 0, (int)left);
            }
            ask();
        }
        wait_for_picture();
    }
    server.sent |= server.drawing;
}

/* ---- the viewer ---- */

/*
 * The challenge as the right password would have encrypted it. The comparison takes as long for a
 * wrong one.
 */
static rfbBool check_password(rfbClientPtr client, const char *response, int len)
{
    unsigned char expected[CHALLENGESIZE], difference = 0;
    char password[VNC_PASSWORD_MAX + 1];

    memcpy(expected, client->authChallenge, CHALLENGESIZE);
    memcpy(password, server.start.start.password, sizeof(password));
    rfbEncryptBytes(expected, password);
    for (int i = 0; i < len && i < CHALLENGESIZE; i++) {
        difference |= expected[i] ^ (unsigned char)response[i];
    }
    if (len == CHALLENGESIZE && !difference && !server.start.start.refuse) {
        return TRUE;
    }
    server.failed_auth = true;
    return FALSE;
}

static void on_gone(rfbClientPtr client)
{
    server.client = NULL;
}

static int on_wish(int width, int height, int screens, struct rfbExtDesktopScreen *list,
                   rfbClientPtr client)
{
    const struct vnc_message m = {.kind = VNC_WISH, .wish = {(uint32_t)width, (uint32_t)height}};

    server_tell(&m, VNC_SIZE(wish));
    return rfbExtDesktopSize_ResizeProhibited; /* the guest decides; then its picture changes */
}

/*
 * The shared flag, which libvncserver keeps to itself: the one byte of ClientInit is looked at
 * before the library reads it. A browser's is masked: it shares.
 */
static void look_at_client_init(void)
{
    char flag;

    server.shared = true;
    if (!server.client->wsctx &&
        recv(server.client->sock, &flag, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
        server.shared = flag != 0;
    }
}

/*
 * The password was right: xendm hears of the viewer, and gives the first picture, so that the
 * viewer learns the size of the screen with its first answer.
 */
static void get_ready(void)
{
    look_at_client_init();
    server.ready = server.drawing = true;
    tell_value(VNC_READY, server.shared);
    tell_value(VNC_REFRESH, 1);
    wait_for_picture();
}

static void hear_viewer(void)
{
    if (server.client->state == RFB_INITIALISATION && !server.ready) {
        get_ready();
    }
    rfbProcessEvents(server.screen, 0);
}

static void quiet(const char *format, ...)
{
}

static void setup(void)
{
    static char name[VNC_NAME_MAX + 16];
    static const char *passwords[] = {"", NULL};
    int argc = 0;

    rfbLog = rfbErr = quiet;
    server.screen = rfbGetScreen(&argc, NULL, 640, 480, 8, 3, 4);
    if (!server.screen) {
        _exit(VNC_EXIT_OK);
    }
    snprintf(name, sizeof(name), "xendm (%s)", server.start.start.name);
    server.damage = sraRgnCreate();
    server.screen->desktopName = name;
    server.screen->frameBuffer = calloc(640 * 480, 4);
    server.screen->autoPort = FALSE;
    server.screen->port = server.screen->ipv6port = 0;
    server.screen->httpDir = NULL;
    server.screen->deferUpdateTime = 0;
    server.screen->deferPtrUpdateTime = 0;
    server.screen->maxClientWait = 20000;
    server.screen->alwaysShared = TRUE; /* xendm decides who may stay */
    server.screen->cursor = NULL;
    server.screen->setXCutText = NULL;
    server.screen->permitFileTransfer = FALSE;
    server.screen->setDesktopSizeHook = on_wish;
    server.screen->displayHook = before_update;
    if (server.start.start.auth) {
        server.screen->authPasswdData = passwords;
        server.screen->passwordCheck = check_password;
    }
    server.absolute = server.start.start.absolute;
    format_pixels();
    input_init();
}

/* Xendm speaks first. */
static void wait_for_start(void)
{
    struct pollfd p = {VNC_FD_DAEMON, POLLIN, 0};

    if (poll(&p, 1, 10000) != 1 ||
        recv(VNC_FD_DAEMON, &server.start, sizeof(server.start), 0) != (ssize_t)VNC_SIZE(start) ||
        server.start.kind != VNC_START) {
        _exit(VNC_EXIT_OK);
    }
    server.start.start.name[VNC_NAME_MAX - 1] = '\0';
    server.start.start.keymap[sizeof(server.start.start.keymap) - 1] = '\0';
    server.keymap = keymap_new(server.start.start.keymap);
    if (!server.keymap) {
        fprintf(stderr, "xendm-vnc-server: keyboard layout %s is not known: en-us is used\n",
                server.start.start.keymap);
        server.keymap = keymap_new("en-us");
    }
    if (!server.keymap) {
        fprintf(stderr, "xendm-vnc-server: no keyboard layouts (Debian: xkb-data)\n");
        _exit(1);
    }
}

static int wait_time(void)
{
    int64_t left = server.next_frame - now_ms();
    bool wanted = server.client->state == RFB_NORMAL && !server.drawing &&
                  !sraRgnEmpty(server.client->requestedRegion);

    if (server.client->state != RFB_NORMAL) {
        return 1000;
    }
    return wanted ? (left > 0 ? (int)left : 0) : -1;
}

static void serve(void)
{
    int64_t deadline = now_ms() + LOGIN_S * 1000;

    while (server.client && (server.ready || now_ms() < deadline)) {
        struct pollfd p[] = {{VNC_FD_DAEMON, POLLIN, 0}, {server.client->sock, POLLIN, 0}};
        if (poll(p, 2, wait_time()) < 0 && errno != EINTR) {
            return;
        }
        server.fresh = false;
        if (p[0].revents) {
            hear_daemon();
        }
        if (server.client) {
            hear_viewer();
        }
        if (server.client) {
            ask_for_picture();
        }
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    wait_for_start();
    setup();
    if (!confine_server()) {
        fprintf(stderr, "xendm-vnc-server: no filter of system calls to be had\n");
        return 1;
    }
    server.client = rfbNewClient(server.screen, VNC_FD_PROGRAM);
    if (server.client) {
        server.client->clientGoneHook = on_gone;
        serve();
    }
    /* The memory goes with the process; nobody's last words may change what the keeper hears. */
    _exit(server.failed_auth ? VNC_EXIT_AUTH : VNC_EXIT_OK);
}
