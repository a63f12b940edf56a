/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PV front ends that do anything: states, keys and shared pages in any order and with any values, a
 * toolstack that takes devices away and gives them back, stops, and somebody at the other end. A
 * target for each kind. fake-pv.c dies when something stays bound or mapped, fake-block.c when a
 * request is no whole number of sectors or its pieces are not its length.
 *
 * The disk's front end lies about its indices, its references, sizes and indirect descriptors, and
 * changes them while they are looked at: whenever Xen copies, its other CPU has written to the ring
 * and to the descriptors. The disk ends requests in any order, or with errors. So does the USB
 * controller's, whose devices come, go, are reset and are slow.
 *
 * The sound card's has four streams that are asked for everything, and time passes in steps.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <linux/input-event-codes.h>

#include <xendm/backend-classes.h>
#include <xendm/backend.h>
#include <xendm/display.h>
#include <xendm/handover.h>
#include <xendm/input.h>
#include <xendm/log.h>

#include "../unit/fake-block.h"
#include "../unit/fake-p9.h"
#include "../unit/fake-pv.h"
#include "../unit/fake-usb-host.h"
#include "fuzz.h"

#define PAGE 1u /* of the ring, by reference and by frame; directory and pixels follow */
#define PAGES 8u
#define STEPS_MAX 400u

const unsigned fuzz_short_run = 400;
const char *const fuzz_targets[] = {"console", "vfb",   "vkbd", "9pfs", "qnic",
                                    "vsnd",    "qdisk", "qusb", NULL};
static const char *kind;
static bool is_disk, is_sound, is_usb;

void fuzz_choose(unsigned target)
{
    kind = fuzz_targets[target];
    is_disk = strcmp(kind, "qdisk") == 0;
    is_sound = strcmp(kind, "vsnd") == 0;
    is_usb = strcmp(kind, "qusb") == 0;
    log_set_level("all", "error");
}

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&chardev_socket_class,
                                                          &backend_net_socket,
                                                          &fake_block_own_class, &audio_none_class,
                                                          NULL};

    return classes;
}

/* ---- the world ---- */

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    char *back, *front;
    struct display_watch *watch;
    int client, cable; /* -1: none */
    bool paused;
    struct block *drive; /* of the disk; own: not this one */
    bool narrow;         /* its ring is a 32-bit guest's */
    uint32_t prod;
    uint32_t asked[8]; /* of the sound card's streams */
    bool ended;        /* grants, without which no update would be one */
};

static void set(struct world *w, bool front, const char *key, const char *value)
{
    g_autofree char *path = g_strdup_printf("%s/%s", front ? w->front : w->back, key);

    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void set_number(struct world *w, bool front, const char *key, uint64_t value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    set(w, front, key, text);
}

static void toolstack_adds(struct world *w)
{
    if (is_disk) {
        set(w, false, "device-type", "disk");
        set(w, false, "mode", "w");
        set(w, false, "params", w->drive ? "aio:fake.img" : "aio:own.img");
    }
    if (is_usb) {
        set(w, false, "usb-ver", "2");
        set(w, false, "num-ports", "3");
        set(w, false, "port/1", "1-1");
        set(w, false, "port/2", "");
    }
    set(w, true, "type", "ioemu");
    set(w, true, "output", "chardev:c");
    set(w, true, "state", "1");
    set(w, false, "frontend", w->front);
    set(w, false, "frontend-id", "7");
    set(w, false, "path", "/directory");
    set(w, false, "security_model", "none");
    set(w, false, "mac", "00:16:3e:00:00:01");
    set(w, false, "online", "1");
    set(w, false, "state", "1");
}

/* Two rings of two pages each: their pages and what these name. */
static void rings_prepare(struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t *page = fake_grant_page(PAGE + i);
        g_autofree char *ref = g_strdup_printf("ring-ref%u", i);
        g_autofree char *port = g_strdup_printf("event-channel-%u", i);

        page[32] = 1;
        page[33] = PAGE + 2 + 2 * i;
        page[34] = PAGE + 3 + 2 * i;
        set_number(w, true, ref, PAGE + i);
        set_number(w, true, port, 5 + i);
    }
    set(w, true, "version", "1");
    set(w, true, "num-rings", "2");
}

static void frames_prepare(struct world *w)
{
    static const char *const flags[] = {"request-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                        "feature-gso-tcpv6", "feature-ipv6-csum-offload"};

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        set(w, true, flags[i], "1");
    }
    set_number(w, true, "tx-ring-ref", PAGE);
    set_number(w, true, "rx-ring-ref", PAGE + 1);
}

/* ---- the sound card ---- */

#define STREAMS 4u
#define SOUND 20u /* pages: ring, events, directory and four of the buffer, of each stream */
#define SOUND_PAGES 7u

/* Time is the input's. */
static gint64 fuzz_now = 1000000;
static bool own_time;

gint64 g_get_monotonic_time(void)
{
    struct timespec t;

    if (own_time) {
        return fuzz_now;
    }
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (gint64)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void sound_prepare(struct world *w)
{
    static const char *const names[] = {"ring-ref", "evt-ring-ref", "event-channel",
                                        "evt-event-channel"};
    static const char *const types[STREAMS] = {"p", "c", "p", "p"};

    for (unsigned n = 0; n < STREAMS; n++) {
        const unsigned first = SOUND + n * SOUND_PAGES;
        const unsigned values[] = {first, first + 1, 5 + 2 * n, 6 + 2 * n};
        g_autofree char *type = g_strdup_printf("%u/%u/type", n / 2, n % 2);
        uint32_t *directory;

        set(w, true, type, types[n]);
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
            g_autofree char *key = g_strdup_printf("%u/%u/%s", n / 2, n % 2, names[i]);

            set_number(w, true, key, values[i]);
        }
        for (unsigned i = 0; i < SOUND_PAGES; i++) {
            fake_grant(first + i, false);
        }
        directory = fake_grant_page(first + 2);
        directory[0] = first + 2;
        for (unsigned i = 0; i < 1023; i++) {
            directory[1 + i] = first + 3 + i % 4;
        }
        w->asked[n] = 0;
    }
    w->ended = false;
}

static uint32_t some_size(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    return how < 200 ? how * 64 : how < 250 ? how << 14 : (uint32_t)fuzz_uint(in, 4);
}

static void put_open(uint8_t *body, unsigned n, struct fuzz_input *in)
{
    static const uint32_t rates[] = {4000, 8000, 48000, 192000};
    unsigned how = fuzz_u8(in);
    const uint32_t rate = how < 240 ? rates[how % 4] : (uint32_t)fuzz_uint(in, 4);
    const uint32_t directory = SOUND + n * SOUND_PAGES + 2 + (how % 32 == 31);
    const uint32_t size = some_size(in), period = some_size(in);

    memcpy(body, &rate, 4);
    body[4] = fuzz_u8(in) % 16;
    body[5] = how % 16 < 12 ? 1 + how % 2 : (uint8_t)how;
    memcpy(body + 8, &size, 4);
    memcpy(body + 12, &directory, 4);
    memcpy(body + 16, &period, 4);
}

/* A request of one of the streams, more or less as it should be. */
static void put_sound(struct world *w, struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in), n = how % STREAMS;
    uint32_t *ring = fake_grant_page(SOUND + n * SOUND_PAGES);
    uint8_t *e = (uint8_t *)ring + 64 + w->asked[n]++ % 32 * 64;
    uint8_t op = (uint8_t)(how / STREAMS % 12);
    uint32_t offset, length;

    memset(e, 0, 64);
    e[0] = (uint8_t)w->asked[n];
    e[2] = op;
    if (op == 0 || op >= 10) {
        e[2] = op == 11 ? (uint8_t)how : 0;
        put_open(e + 8, n, in);
    } else if (op == 8) {
        e[8] = fuzz_u8(in) % 5;
    } else if (op == 9) {
        memset(e + 8, 0xff, 56);
        fuzz_bytes(in, e + 8, fuzz_u8(in) % 40);
    } else {
        offset = some_size(in);
        length = fuzz_u8(in) & 1 ? 4 + how % 4 * 2 : some_size(in);
        memcpy(e + 8, &offset, 4);
        memcpy(e + 12, &length, 4);
    }
    ring[0] = w->asked[n];
    ring[3] = how & 64 ? w->asked[n] : ring[3];
    if (how & 128) {
        fake_evtchn_ring(5 + 2 * n);
    }
}

static void write_sound(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);
    uint8_t *page = fake_grant_page(SOUND + how % (STREAMS * SOUND_PAGES));
    unsigned at = how & 128 ? fuzz_u8(in) % 16 : (unsigned)fuzz_uint(in, 2) % 4096;

    page[at] = fuzz_u8(in);
}

static void controller_prepares(struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        memset(fake_grant_page(PAGE + i), 0, GRANT_PAGE_SIZE);
    }
    set_number(w, true, "urb-ring-ref", PAGE);
    set_number(w, true, "conn-ring-ref", PAGE + 1);
    *(uint32_t *)fake_grant_page(PAGE + 1) = 8; /* events that it has room for */
    w->prod = 0;
}

/* A front end that means well, to begin with. */
static void front_prepares(struct world *w)
{
    uint32_t *page = fake_grant_page(PAGE);
    static const char *const refs[] = {"ring-ref", "page-ref", "page-gref"};
    static const char *const ports[] = {"port", "event-channel"};

    for (unsigned i = 0; i < PAGES; i++) {
        fake_grant(PAGE + i, false);
    }
    page[4] = 32; /* of vfb: width, height, row, bytes, bits */
    page[5] = 16;
    page[6] = 128;
    page[7] = 4096;
    page[8] = 32;
    page[10] = PAGE + 1;
    *(uint32_t *)fake_grant_page(PAGE + 1) = PAGE + 2;
    for (unsigned i = 0; i < G_N_ELEMENTS(refs); i++) {
        set_number(w, true, refs[i], PAGE);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
        set_number(w, true, ports[i], 5);
    }
    set(w, true, "feature-update", "1");
    if (strcmp(kind, "9pfs") == 0) {
        rings_prepare(w);
    }
    if (strcmp(kind, "qnic") == 0) {
        frames_prepare(w);
    }
    if (is_usb) {
        controller_prepares(w);
    }
    if (is_sound) {
        sound_prepare(w);
    }
    if (is_disk) {
        fake_grant(PAGE + PAGES - 1, true);
        set(w, true, "protocol", w->narrow ? "x86_32-abi" : "x86_64-abi");
        w->prod = 0;
    }
}

static void nothing_resized(void *opaque, unsigned width, unsigned height)
{
}

static void nothing_damaged(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
}

static const struct display_viewer viewer = {.resized = nothing_resized,
                                             .damaged = nothing_damaged};

static char *socket_dir, *socket_path;

static void end_socket(void)
{
    g_rmdir(socket_dir);
    g_free(socket_dir);
    g_free(socket_path);
}

static void add_channel(struct world *w)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct object_desc *o;

    if (!socket_dir) {
        socket_dir = g_dir_make_tmp("xendm-fuzz-XXXXXX", NULL);
        socket_path = g_build_filename(socket_dir, "s", NULL);
        atexit(end_socket);
    }
    o = object_desc_make(OBJECT_BACKEND, BACKEND_CHAR, "socket", "c", "path", socket_path, "server",
                         "on", "wait", "off", NULL);
    if (!backend_add(w->host.backends, o, NULL, NULL)) {
        g_error("no channel");
    }
    object_desc_free(o);
    g_strlcpy(addr.sun_path, socket_path, sizeof(addr.sun_path));
    w->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(w->client, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        g_error("connect");
    }
}

/* A cable, for qnic. */
static void add_net(struct world *w)
{
    int pair[2];
    g_autofree char *number = NULL;
    struct object_desc *o;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        g_error("no cable");
    }
    w->cable = pair[1];
    number = g_strdup_printf("%d", pair[0]);
    o = object_desc_make(OBJECT_BACKEND, BACKEND_NET, "socket", "qnic1", "fd", number, NULL);
    if (!backend_add(w->host.backends, o, NULL, NULL)) {
        g_error("no cable");
    }
    object_desc_free(o);
}

static void add_sound(struct world *w)
{
    struct object_desc *o = object_desc_make(OBJECT_BACKEND, BACKEND_AUDIO, "none", "a", NULL);

    if (!backend_add(w->host.backends, o, NULL, NULL)) {
        g_error("no sound");
    }
    object_desc_free(o);
}

/* The ring's other end, and what it is to find there. */
static struct world *racing;

static void other_cpu(void)
{
    unsigned at = racing->prod * 37u % 4096;
    uint8_t *ring = fake_grant_page(PAGE), *descriptors = fake_grant_page(PAGE + 1);

    ring[at] ^= (uint8_t)(racing->prod + at);
    descriptors[at] ^= 0x81;
}

static void open_disk(struct world *w, struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    w->narrow = how & 1;
    if (how & 6) { /* else its own */
        w->drive = fake_block_new("ide-832", FAKE_BLOCK_SECTORS * 512);
        w->drive->limits = fake_block_limits;
        w->drive->hold = how & 8;
        backend_set_put(w->host.backends, block_backend(w->drive));
    }
    racing = w;
    fake_grant_copying = how & 16 ? other_cpu : NULL;
}

static void world_open(struct world *w, struct fuzz_input *in)
{
    fake_pv_host_open(&w->host);
    w->back = g_strdup_printf("/local/domain/0/backend/%s/7/1", kind);
    w->front = g_strdup_printf("/local/domain/7/device/%s/1", is_disk ? "vbd" : kind);
    if (strcmp(kind, "console") == 0) {
        add_channel(w);
    }
    if (strcmp(kind, "qnic") == 0) {
        add_net(w);
    }
    if (is_sound && fuzz_u8(in) & 1) {
        add_sound(w);
    }
    if (is_disk) {
        open_disk(w, in);
    }
    if (is_usb) {
        unsigned how = fuzz_u8(in);

        racing = w;
        fake_grant_copying = how & 1 ? other_cpu : NULL;
        fake_usb_speed = (enum usb_speed)(how >> 1 & 3) % 3;
    }
    w->watch = display_watch(w->host.display, &viewer, w);
    w->bus = pv_bus_new(&w->host, pv_classes());
    toolstack_adds(w);
    front_prepares(w);
    pv_bus_start(w->bus, NULL);
    fake_pv_settle();
}

static void world_close(struct world *w)
{
    if (w->paused) {
        pv_bus_resume(w->bus);
    }
    display_unwatch(w->watch);
    fake_xenstore_remove(w->host.xs, w->back);
    if (w->drive) {
        fake_pv_settle();
        w->drive->hold = false;
        fake_block_complete_all(w->drive);
    }
    fake_grant_copying = NULL;
    fake_usb_refuses = fake_usb_late = false;
    fake_pv_host_close(&w->host, w->bus);
    if (w->client >= 0) {
        close(w->client);
    }
    if (w->cable >= 0) {
        close(w->cable);
    }
    g_free(w->back);
    g_free(w->front);
}

/* ---- what happens ---- */

static void write_key(struct world *w, struct fuzz_input *in)
{
    static const char *const keys[] = {
        "ring-ref",
        "page-ref",
        "page-gref",
        "port",
        "event-channel",
        "type",
        "output",
        "feature-update",
        "request-abs-pointer",
        "tty",
        "protocol",
        "version",
        "num-rings",
        "ring-ref0",
        "ring-ref1",
        "event-channel-0",
        "event-channel-1",
        "tx-ring-ref",
        "rx-ring-ref",
        "request-rx-copy",
        "urb-ring-ref",
        "conn-ring-ref",
    };
    static const char *const values[] = {"",           "0",         "1",     "-1",
                                         "x",          "chardev:c", "ioemu", "x86_32-abi",
                                         "x86_64-abi", "4294967296"};
    const char *key = keys[fuzz_u8(in) % G_N_ELEMENTS(keys)];
    unsigned which = fuzz_u8(in);

    if (which < 128) {
        set(w, true, key, values[which % G_N_ELEMENTS(values)]);
    } else {
        set_number(w, true, key, fuzz_u8(in) % (PAGES + 2));
    }
}

static void write_page(struct fuzz_input *in)
{
    uint8_t *page = fake_grant_page(PAGE + fuzz_u8(in) % 2);
    unsigned len = 1 + fuzz_u8(in) % 64, at = (unsigned)fuzz_uint(in, 2) % (4096 - 64);
    uint8_t bytes[64];

    fuzz_bytes(in, bytes, len);
    memcpy(page + at, bytes, len);
}

/* A whole message of 9P into the second half of the data of a ring. */
static void write_message(struct fuzz_input *in)
{
    unsigned ring = fuzz_u8(in) & 1;
    uint32_t *page = fake_grant_page(PAGE + ring);
    uint8_t *out = fake_grant_page(PAGE + 3 + 2 * ring);
    uint32_t len = 7 + fuzz_u8(in) * 8u;
    const uint8_t header[7] = {(uint8_t)len, (uint8_t)(len >> 8), 0, 0, 100, 1, 0};

    for (unsigned i = 0; i < sizeof(header); i++) {
        out[(page[17] + i) % 4096] = header[i];
    }
    page[17] += len;
}

/* A request of a network interface: a frame, its extra information, or a page to receive into. */
static void write_frame(struct fuzz_input *in)
{
    unsigned what = fuzz_u8(in);
    uint32_t *page = fake_grant_page(PAGE + (what & 1)), index = page[0]++ % 256;
    uint8_t *entry = (uint8_t *)page + 64 + index * (what & 1 ? 8 : 12);
    const uint32_t ref = PAGE + 2 + fuzz_u8(in) % 4;
    uint16_t rest[4] = {0, 0, 1, 0};

    rest[0] = (uint16_t)(fuzz_u8(in) * 8);
    rest[1] = fuzz_u8(in) & 15;
    rest[3] = (uint16_t)(fuzz_u8(in) * 20);
    if (what & 1) {
        memcpy(entry + 4, &ref, 4);
    } else if (what < 128) {
        memcpy(entry, &ref, 4);
        memcpy(entry + 4, rest, 8);
    } else {
        const uint8_t extra[8] = {1, what & 2, (uint8_t)rest[0], 0, (uint8_t)(1 + (what & 4) / 4)};

        memcpy(entry, extra, 8);
    }
}

/* One more, so many more, or anything: indices, which are where the kinds have them. */
static void write_index(struct fuzz_input *in)
{
    static const unsigned at[] = {0,    4,  8,  12,  3072, 3076, 3080,
                                  3084, 64, 68, 128, 4096, 4160, 4164};
    uint32_t *index =
        (uint32_t *)(void *)((uint8_t *)fake_grant_page(PAGE) + at[fuzz_u8(in) % G_N_ELEMENTS(at)]);
    unsigned how = fuzz_u8(in);

    *index = how < 200 ? *index + how % 64 : (uint32_t)fuzz_uint(in, 4);
}

static void toolstack(struct world *w, struct fuzz_input *in)
{
    switch (fuzz_u8(in) % 4) {
    case 0:
        fake_xenstore_remove(w->host.xs, w->back);
        break;
    case 1:
        toolstack_adds(w);
        break;
    case 2:
        set_number(w, false, "online", fuzz_u8(in) & 1);
        break;
    default:
        set_number(w, false, "state", fuzz_u8(in) % 8);
    }
}

static void other_end_of_cable(struct world *w, unsigned how)
{
    uint8_t frame[4 + 4200] = {0, 0, (uint8_t)(how >> 4), (uint8_t)(how << 4)};

    if (w->cable >= 0 && (send(w->cable, frame, 4 + (how << 4), MSG_NOSIGNAL) < 0 ||
                          recv(w->cable, frame, sizeof(frame), 0) < 0)) {
        errno = 0;
    }
}

static void other_end(struct world *w, struct fuzz_input *in)
{
    uint8_t bytes[256];
    unsigned how = fuzz_u8(in);

    display_refresh(w->watch, how & 1);
    input_key(w->host.input, KEY_A + how % 16, how & 32);
    input_absolute(w->host.input, (int)how * 100, 5);
    input_sync(w->host.input);
    if (how < 8) {
        fake_p9_end();
    } else {
        fake_p9_answer(how, how < 128 ? how : how * 40);
    }
    other_end_of_cable(w, how);
    memset(bytes, (int)how, sizeof(bytes));
    if (w->client >= 0 && (send(w->client, bytes, how, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
                           recv(w->client, bytes, sizeof(bytes), MSG_DONTWAIT) < 0)) {
        errno = 0;
    }
}

static void stop_or_go(struct world *w)
{
    w->paused = !w->paused;
    if (w->paused) {
        pv_bus_pause(w->bus);
    } else {
        pv_bus_resume(w->bus);
    }
}

/* ---- the disk ---- */

static uint32_t some_ref(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    return how < 240 ? PAGE + how % (PAGES + 2) : (uint32_t)fuzz_uint(in, 4);
}

static void put_segments(uint8_t *at, unsigned count, struct fuzz_input *in)
{
    for (unsigned i = 0; i < count; i++, at += 8) {
        uint32_t ref = some_ref(in);
        unsigned how = fuzz_u8(in);

        memcpy(at, &ref, sizeof(ref));
        at[4] = how & 0xc0 ? 0 : how & 7;
        at[5] = how & 0x80 ? 7 : how >> 3 & 15;
    }
}

/* One request, more or less as it should be. */
static void put_request(struct world *w, struct fuzz_input *in)
{
    static const uint8_t ops[] = {0, 1, 0, 1, 2, 3, 5, 6, 6, 6, 6, 255};
    unsigned size = w->narrow ? 108 : 112, id_at = w->narrow ? 4 : 8, how = fuzz_u8(in);
    uint8_t *e = (uint8_t *)fake_grant_page(PAGE) + 64 + w->prod++ % 32 * size;
    uint64_t sector = how & 0xe0 ? fuzz_u8(in) * 8u : fuzz_uint(in, 8), id = fuzz_u8(in);
    unsigned count = fuzz_u8(in);
    uint32_t ref;

    memset(e, 0, size);
    e[0] = ops[how % G_N_ELEMENTS(ops)];
    memcpy(e + id_at, &id, sizeof(id));
    memcpy(e + id_at + 8, &sector, sizeof(sector));
    switch (e[0]) {
    case 6: /* indirect; up to 512 segments are spoken of */
        e[1] = count & 1;
        e[2] = (uint8_t)(count >> 3);
        e[3] = (count & 7) == 7;
        ref = some_ref(in);
        memcpy(e + id_at + 20, &ref, sizeof(ref));
        put_segments(fake_grant_page(PAGE + 1), MIN(count >> 3, 12u), in);
        break;
    case 5: /* discard */
        e[1] = (count & 15) == 1;
        memcpy(e + id_at + 16, &(uint64_t){count & 0x80 ? fuzz_uint(in, 8) : count}, 8);
        break;
    default:
        e[1] = count < 248 ? (uint8_t)(count % 12) : (uint8_t)count;
        put_segments(e + id_at + 16, MIN(e[1], 11u), in);
    }
    ((uint32_t *)fake_grant_page(PAGE))[0] = w->prod;
    if (how & 3) {
        fake_evtchn_ring(5);
    }
}

/* What the disk does: ends something, fails from now on, changes. */
static void disk(struct world *w, struct fuzz_input *in)
{
    static const int errors[] = {0, 0, -EIO, -ENOSPC, -EAGAIN};
    unsigned how = fuzz_u8(in), op = how >> 4 & 3;
    struct block *b = w->drive;

    if (!b) {
        return;
    }
    switch (how % 8) {
    case 0:
        b->fail[op] = errors[fuzz_u8(in) % G_N_ELEMENTS(errors)];
        b->bad_sector = fuzz_u8(in) * 8u;
        break;
    case 1:
        block_eject(b);
        break;
    case 2:
        block_insert(b, NULL, NULL, NULL);
        break;
    case 3:
        b->read_only = how & 0x80;
        break;
    default:
        fake_block_complete(b, op);
    }
}

static void step_disk(struct world *w, struct fuzz_input *in)
{
    unsigned what = fuzz_u8(in);

    fuzz_steps++;
    switch (what % 32) {
    case 0 ... 14:
        put_request(w, in);
        break;
    case 15 ... 18:
        disk(w, in);
        break;
    case 19:
        write_index(in);
        break;
    case 20:
        write_page(in);
        break;
    case 21:
    case 22:
        fake_evtchn_ring(5);
        break;
    case 23:
        stop_or_go(w);
        break;
    case 24:
        toolstack(w, in);
        break;
    case 25:
        write_key(w, in);
        break;
    case 26:
        fake_grant_end(some_ref(in) % (PAGES + 1));
        break;
    case 27:
        fake_evtchn_fail = what & 32 ? -EINVAL : -ENOMEM;
        break;
    case 28:
        front_prepares(w);
        break;
    default:
        set_number(w, true, "state", what & 0xe0 ? 3 : fuzz_u8(in) % 8);
    }
    fake_pv_settle();
}

/* A live update: what the bus leaves is all that the next one has. */
static void update(struct world *w)
{
    struct handover *left = handover_new(), *got = NULL;
    int pair[2];

    pv_bus_pause(w->bus);
    pv_bus_hand_over(w->bus, left);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        handover_send(left, pair[0], NULL) < 0 || !(got = handover_receive(pair[1], NULL))) {
        g_error("no update");
    }
    pv_bus_free(w->bus);
    w->bus = fake_pv_take_over(&w->host, got);
    handover_free(left);
    handover_free(got);
    close(pair[0]);
    close(pair[1]);
}

static void step_sound(struct world *w, struct fuzz_input *in)
{
    unsigned what = fuzz_u8(in);

    fuzz_steps++;
    switch (what % 32) {
    case 0 ... 15:
        put_sound(w, in);
        break;
    case 16 ... 20:
        fuzz_now += (gint64)fuzz_u8(in) * 300;
        fake_evtchn_ring(5 + what / 32);
        break;
    case 21:
    case 22:
        write_sound(in);
        break;
    case 23:
        fake_evtchn_ring(5 + what / 32);
        break;
    case 24:
        stop_or_go(w);
        break;
    case 25:
        toolstack(w, in);
        break;
    case 26:
        fake_grant_end(SOUND + fuzz_u8(in) % (STREAMS * SOUND_PAGES));
        w->ended = true;
        break;
    case 27:
        if (what >= 192 && !w->ended && !w->paused) { /* ports of who left meanwhile stay bound */
            update(w);
        }
        break;
    case 28:
        if (what >= 128) {
            front_prepares(w);
        }
        break;
    case 29:
        fake_evtchn_fail = what & 32 ? -EINVAL : 0;
        break;
    default:
        set_number(w, true, "state", what & 0xc0 ? 3 : fuzz_u8(in) % 8);
        fuzz_now += what & 0x20 ? G_TIME_SPAN_SECOND : 0;
    }
    fake_pv_settle();
}

/* ---- the USB controller ---- */

/* Mostly of pages that are there, and of so much of them that it is enough. */
static void put_pieces(uint8_t *at, unsigned count, struct fuzz_input *in)
{
    for (unsigned i = 0; i < count; i++, at += 8) {
        uint32_t ref = some_ref(in);
        unsigned how = fuzz_u8(in);

        memcpy(at, &ref, sizeof(ref));
        at[4] = how & 0xc0 ? 0 : (uint8_t)how;
        at[5] = how & 0xe0 ? 0 : (uint8_t)how;
        at[7] = how & 1 ? 16 : (uint8_t)(how >> 1 & 15);
    }
}

/* One request, more or less as it should be. */
static void put_urb(struct world *w, struct fuzz_input *in)
{
    uint8_t *e = (uint8_t *)fake_grant_page(PAGE) + 64 + w->prod++ % 16 * 148;
    unsigned how = fuzz_u8(in), count = fuzz_u8(in), length = fuzz_u8(in);
    unsigned type = count == 0xff ? 0 : MIN(1 + (how & 3), 3u);
    unsigned endpoint = (type == 2) == (length != 0xff) ? 0 : 1 + (how >> 2 & 1);
    uint32_t pipe = type << 30 | endpoint << 15 | (how & 0x10 ? 0x80 : 0) |
                    ((how & 0x27) == 0x27 ? 3 : 1) | (how >= 0xc0 ? 0x20 : 0);

    memset(e, 0, 148);
    pipe |= count >= 0xe0 ? 5u << 8 : 0;
    e[0] = (uint8_t)(w->prod & 15);
    e[2] = count & 0x40 ? (uint8_t)(count & 31) : (uint8_t)(1 + (count & 3));
    memcpy(e + 4, &pipe, sizeof(pipe));
    e[10] = (uint8_t)length;
    e[11] = count & 0x20 ? (uint8_t)(count == 0xa5 ? length : length & 3) : 0;
    switch (how & 0xc0) {
    case 0: /* a setup packet */
        fuzz_bytes(in, e + 12, 6);
        e[18] = (uint8_t)length;
        e[12] = (uint8_t)(e[12] & 0x7f) | (how & 0x10 ? 0x80 : 0);
        break;
    case 0x40: /* SET_ADDRESS */
        e[13] = 5;
        e[14] = length & 1 ? 5 : (uint8_t)length;
        break;
    default: /* which one to unlink */
        e[12] = length & 15;
    }
    put_pieces(e + 20, MIN(e[2], 16u), in);
    *(uint32_t *)fake_grant_page(PAGE) = w->prod;
    if (how & 4) {
        fake_evtchn_ring(5);
    }
}

static void usb_toolstack(struct world *w, struct fuzz_input *in)
{
    static const char *const wheres[] = {"", "1-1", "1-2", "nothing"};
    unsigned how = fuzz_u8(in);
    g_autofree char *key = g_strdup_printf("port/%u", 1 + (how >> 2) % 4);

    fake_usb_refuses = how >= 250;
    fake_usb_late = how & 64;
    set(w, false, key, wheres[how & 3]);
}

static void usb_device(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    if (how == 0) {
        fake_usb_end();
    } else if (how < 4) {
        fake_usb_ready();
    } else {
        fake_usb_answer(how, how < 128 ? USB_HOST_OK : how % USB_HOST_CANCELLED, how * 300);
    }
}

/* What ends a connection: seldom, for what comes then. */
static void disturb(struct world *w, struct fuzz_input *in, unsigned what)
{
    switch (what % 8) {
    case 0:
        toolstack(w, in);
        break;
    case 1:
        write_key(w, in);
        break;
    case 2:
        write_index(in);
        break;
    case 3:
        write_page(in);
        break;
    case 4:
        fake_grant_end(some_ref(in) % (PAGES + 1));
        break;
    case 5:
        front_prepares(w);
        break;
    default:
        set_number(w, true, "state", fuzz_u8(in) % 8);
    }
}

static void step_usb(struct world *w, struct fuzz_input *in)
{
    uint32_t *conns = fake_grant_page(PAGE + 1);
    unsigned what = fuzz_u8(in);

    fuzz_steps++;
    switch (what % 32) {
    case 0 ... 15:
        put_urb(w, in);
        break;
    case 16 ... 23:
        usb_device(in);
        break;
    case 24:
        usb_toolstack(w, in);
        break;
    case 25:
        conns[0] += what >> 5;
        fake_evtchn_ring(5);
        break;
    case 26:
    case 27:
        fake_evtchn_ring(5);
        break;
    case 28:
        if (w->paused || what & 0x80) {
            stop_or_go(w);
        }
        break;
    case 29:
        disturb(w, in, what >> 5);
        break;
    default:
        set_number(w, true, "state", 3);
    }
    fake_pv_settle();
}

static void step(struct world *w, struct fuzz_input *in)
{
    unsigned what = fuzz_u8(in);

    fuzz_steps++;
    switch (what % 16) {
    case 0 ... 3:
        set_number(w, true, "state", what / 16 < 8 ? 3 : what / 16 % 8);
        break;
    case 4:
        write_key(w, in);
        break;
    case 5:
        write_page(in);
        break;
    case 6:
        if (strcmp(kind, "qnic") == 0) {
            write_frame(in);
        } else {
            write_message(in);
        }
        break;
    case 7 ... 9:
        write_index(in);
        break;
    case 10:
    case 11:
        fake_evtchn_ring(5 + (what / 16 & 1));
        break;
    case 12:
        toolstack(w, in);
        break;
    case 13:
        stop_or_go(w);
        break;
    case 14:
        other_end(w, in);
        break;
    default:
        front_prepares(w);
    }
    fake_pv_settle();
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    struct world w = {.client = -1, .cable = -1};

    if (!kind) {
        fuzz_choose_by_name();
    }
    own_time = is_sound;
    world_open(&w, &in);
    if (is_disk || is_sound || is_usb) {
        set_number(&w, true, "state", 3);
        fake_pv_settle();
    }
    for (unsigned i = 0; in.left > 0 && i < STEPS_MAX; i++) {
        (is_disk ? step_disk : is_sound ? step_sound : is_usb ? step_usb : step)(&w, &in);
    }
    world_close(&w);
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    unsigned len = (unsigned)g_rand_int_range(rand, 20, is_disk || is_usb ? 250 : 400);

    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int_range(rand, 0, 256);
    }
}
