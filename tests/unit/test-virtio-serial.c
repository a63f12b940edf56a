/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio console: messages, bytes both ways, ports that come and go, moves, mistakes. */
#include <xendm/bus.h>
#include <xendm/facts.h>

#include "fake-chardev.h"
#include "virtio-fixture.h"

#define F_SIZE (UINT64_C(1) << 0)
#define F_MULTI (UINT64_C(1) << 1)
#define F_EMERG (UINT64_C(1) << 2)

enum { READY, ADD, REMOVE, PORT_READY, CONSOLE, RESIZE, OPEN, NAME };
enum { IN0, OUT0, CONTROL_IN, CONTROL_OUT, IN1, OUT1, IN2, OUT2 };

#define PORTS 3u
#define AGENT "org.qemu.guest_agent.0"
#define SLOT(q, n) (DATA + (q)*0x20000u + (n)*0x2000u)
#define OUTPUT (DATA + 0x180000u)

static const uint64_t all[] = {0, F_INDIRECT, F_EVENT, F_PACKED, F_PACKED | F_EVENT | F_INDIRECT};

/* Hosts' ends outlive a move of the machine, and each machine has its own. */
static struct {
    struct chardev *end[PORTS];
    struct device *port[PORTS];
    GPtrArray *past;
    bool without[PORTS]; /* not in the next machine */
} host;

static void end_free(gpointer cd)
{
    fake_chardev_free(cd);
}

static void end_new(unsigned i)
{
    struct chardev *old = host.end[i], *cd = fake_chardev_new(i ? "agent" : "console");

    if (old) {
        cd->connected = old->connected;
        cd->room = old->room;
        g_string_assign(cd->out, old->out->str);
        g_string_assign(cd->in, old->in->str);
        g_ptr_array_add(host.past, old);
    }
    host.end[i] = cd;
}

static struct device *port_make(struct box *b, const struct device_class *class, const char *nr,
                                const char *name, struct chardev *end, GError **err)
{
    struct device *dev = device_new(b->m, class, NULL, err);
    struct bus *bus = bus_find(b->m, class->bus, NULL, err);

    device_set_backend(dev, "chardev", end ? &end->b : NULL);
    if ((nr && device_set(dev, "nr", nr, err) < 0) ||
        (name && device_set(dev, "name", name, err) < 0) || class->bus->take(bus, dev, err) < 0 ||
        device_realize(dev, err) < 0) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

static struct device *port_add(struct box *b, unsigned i)
{
    static const char *const names[PORTS] = {NULL, AGENT, "second"};
    GError *err = NULL;

    end_new(i);
    host.port[i] =
        port_make(b, i ? &virtport_class : &virtconsole_class, NULL, names[i], host.end[i], &err);
    g_assert_no_error(err);
    return host.port[i];
}

static void populate(struct box *b)
{
    for (unsigned i = 0; i < PORTS; i++) {
        if (!host.without[i]) {
            port_add(b, i);
        }
    }
}

static void serial_new(struct box *b, const char *const *settings)
{
    memset(&host, 0, sizeof(host));
    host.past = g_ptr_array_new_with_free_func(end_free);
    b->connect = NULL;
    b->populate = populate;
    box_new(b, &virtio_con_class, settings);
}

static void serial_free(struct box *b)
{
    box_free(b);
    for (unsigned i = 0; i < PORTS; i++) {
        if (host.end[i]) {
            fake_chardev_free(host.end[i]);
        }
    }
    g_ptr_array_unref(host.past);
}

/* ---- the driver ---- */

static unsigned put_one(struct box *b, unsigned q, uint32_t len)
{
    unsigned n = b->q[q].next % ENTRIES;
    struct buffer buf = {SLOT(q, n), len, true};

    put(b, q, &buf, 1, false);
    return n;
}

static void give(struct box *b, unsigned q, unsigned count, uint32_t len)
{
    while (count-- > 0) {
        put_one(b, q, len);
    }
    kick(b, q);
    settle(b);
}

/* The next buffer that came back, or NULL. */
static const uint8_t *take(struct box *b, unsigned q, uint32_t *len)
{
    uint16_t id = 0;

    if (!used(b, q, &id, len)) {
        return NULL;
    }
    return mem(b, SLOT(q, b->features & F_PACKED ? id >> 8 : id));
}

static void say(struct box *b, uint32_t nr, unsigned event, unsigned value)
{
    struct buffer buf = {OUTPUT, 8, false};
    uint32_t len;

    store_le32(mem(b, OUTPUT), nr);
    store_le16(mem(b, OUTPUT) + 4, event);
    store_le16(mem(b, OUTPUT) + 6, value);
    put(b, CONTROL_OUT, &buf, 1, false);
    kick(b, CONTROL_OUT);
    settle(b);
    g_assert_true(used(b, CONTROL_OUT, NULL, &len));
    g_assert_cmpuint(len, ==, 0);
}

/* Buffers of messages are given again as they are read, as drivers do. */
static const char *hear(struct box *b, uint32_t nr, unsigned event, unsigned value)
{
    static char text[64];
    uint32_t len = 0;
    const uint8_t *m = take(b, CONTROL_IN, &len);

    g_assert_nonnull(m);
    g_assert_cmpuint(len, >=, 8);
    g_assert_cmpuint(load_le32(m), ==, nr);
    g_assert_cmpuint(load_le16(m + 4), ==, event);
    g_assert_cmpuint(load_le16(m + 6), ==, value);
    memset(text, 0, sizeof(text));
    memcpy(text, m + 8, MIN(len - 8, sizeof(text) - 1));
    give(b, CONTROL_IN, 1, 256);
    return text;
}

static void quiet(struct box *b)
{
    uint32_t len;

    settle(b);
    g_assert_null(take(b, CONTROL_IN, &len));
}

static uint16_t send(struct box *b, unsigned q, const char *text)
{
    struct buffer bufs[2] = {{OUTPUT + 0x1000 * q, 3, false}, {0, 0, false}};
    uint32_t len = (uint32_t)strlen(text);
    uint16_t id;

    memcpy(mem(b, OUTPUT + 0x1000 * q), text, len);
    bufs[1] = (struct buffer){OUTPUT + 0x1000 * q + 3, len - 3, false};
    id = put(b, q, bufs, 2, b->features & F_INDIRECT);
    kick(b, q);
    settle(b);
    return id;
}

static bool sent(struct box *b, unsigned q)
{
    uint32_t len = 0;

    return used(b, q, NULL, &len) && len == 0;
}

/* Up to where all ports are there and open. */
static void greet(struct box *b, uint64_t features)
{
    start(b, features | F_MULTI, QUEUES);
    give(b, CONTROL_IN, 8, 256);
    quiet(b);
    say(b, 0, READY, 1);
    for (unsigned i = 0; i < PORTS; i++) {
        hear(b, i, ADD, 1);
    }
    say(b, 0, PORT_READY, 1);
    hear(b, 0, CONSOLE, 1);
    hear(b, 0, OPEN, 1);
    say(b, 1, PORT_READY, 1);
    g_assert_cmpstr(hear(b, 1, NAME, 1), ==, AGENT);
    say(b, 2, PORT_READY, 1);
    g_assert_cmpstr(hear(b, 2, NAME, 1), ==, "second");
    quiet(b);
}

static void open_both(struct box *b, unsigned nr)
{
    fake_chardev_connect(host.end[nr], true);
    settle(b);
    hear(b, nr, OPEN, 1);
    say(b, nr, OPEN, 1);
}

/* ---- tests ---- */

static void test_identity(void)
{
    static const char *const one[] = {"max_ports=1", "emergency-write=off", NULL};
    struct box b;

    serial_new(&b, NULL);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10031af4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x0a, 2), ==, 0x0780);
    g_assert_cmphex(offered(&b) & 7, ==, F_MULTI | F_EMERG);
    g_assert_cmphex(rd(&b, 0x2000, 4), ==, 0);
    g_assert_cmphex(rd(&b, 0x2004, 4), ==, 31);
    g_assert_cmphex(rd(&b, 0x12, 2), ==, 64);
    wr(&b, 0x2008, 'x', 4); /* before any driver */
    g_assert_cmpstr(host.end[0]->out->str, ==, "x");
    out(&b, 0x14 + 8, 'y', 4);
    g_assert_cmpstr(host.end[0]->out->str, ==, "xy");
    serial_free(&b);

    memset(&host, 0, sizeof(host));
    host.past = g_ptr_array_new_with_free_func(end_free);
    host.without[1] = host.without[2] = true;
    b.populate = populate;
    box_new(&b, &virtio_con_class, one);
    g_assert_cmphex(offered(&b) & 7, ==, 0);
    g_assert_cmphex(rd(&b, 0x2004, 4), ==, 1);
    wr(&b, 0x2008, 'x', 4);
    g_assert_cmpstr(host.end[0]->out->str, ==, "");
    serial_free(&b);
}

static void test_messages(void)
{
    struct box b;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        serial_new(&b, (const char *const[]){"packed=on", NULL});
        greet(&b, all[i]);
        fake_chardev_connect(host.end[1], true);
        settle(&b);
        hear(&b, 1, OPEN, 1);
        fake_chardev_connect(host.end[1], false);
        settle(&b);
        hear(&b, 1, OPEN, 0);
        fake_chardev_connect(host.end[0], true); /* a console is open anyway */
        quiet(&b);
        say(&b, 1, PORT_READY, 1); /* tells all again */
        hear(&b, 1, NAME, 1);
        say(&b, 0, READY, 1);
        for (unsigned n = 0; n < PORTS; n++) {
            hear(&b, n, ADD, 1);
        }
        box_move(&b);
        quiet(&b);
        serial_free(&b);
    }
}

/* Linux after a migration: a reset, and not a word of the device, only of the ports it has. */
static void test_wakes(void)
{
    struct box b;

    serial_new(&b, NULL);
    greet(&b, 0);
    open_both(&b, 1);
    start(&b, F_MULTI, QUEUES);
    give(&b, CONTROL_IN, 8, 256);
    quiet(&b);
    say(&b, 1, PORT_READY, 1);
    hear(&b, 0, ADD, 1);
    hear(&b, 1, NAME, 1);
    hear(&b, 1, OPEN, 1);
    hear(&b, 2, ADD, 1);
    say(&b, 1, OPEN, 1);
    send(&b, OUT1, "again");
    g_assert_true(sent(&b, OUT1));
    g_assert_cmpstr(host.end[1]->out->str, ==, "again");
    serial_free(&b);
}

/* A driver without buffers for messages loses none, whatever comes between. */
static void test_no_buffers(void)
{
    struct box b;
    uint32_t len;

    serial_new(&b, NULL);
    start(&b, F_MULTI, QUEUES);
    say(&b, 0, READY, 1);
    quiet(&b);
    box_move(&b);
    give(&b, CONTROL_IN, 1, 256);
    g_assert_nonnull(take(&b, CONTROL_IN, &len)); /* 0 is there */
    g_assert_null(take(&b, CONTROL_IN, &len));
    say(&b, 1, PORT_READY, 1);
    fake_chardev_connect(host.end[1], true);
    box_move(&b);
    give(&b, CONTROL_IN, 4, 256);
    g_assert_nonnull(take(&b, CONTROL_IN, &len));
    g_assert_nonnull(take(&b, CONTROL_IN, &len)); /* the name */
    g_assert_nonnull(take(&b, CONTROL_IN, &len)); /* open */
    g_assert_nonnull(take(&b, CONTROL_IN, &len)); /* 2 is there */
    fake_chardev_connect(host.end[1], false);
    fake_chardev_connect(host.end[1], true); /* another agent's host: the guest has to know */
    box_move(&b);
    give(&b, CONTROL_IN, 1, 256);
    g_assert_cmpuint(load_le16(take(&b, CONTROL_IN, &len) + 6), ==, 0);
    give(&b, CONTROL_IN, 2, 256);
    g_assert_cmpuint(load_le16(take(&b, CONTROL_IN, &len) + 6), ==, 1);
    quiet(&b);
    serial_free(&b);
}

static void test_output(void)
{
    struct box b;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        serial_new(&b, (const char *const[]){"packed=on", NULL});
        greet(&b, all[i]);
        send(&b, OUT1, "nobody");
        g_assert_true(sent(&b, OUT1));
        open_both(&b, 1);
        send(&b, OUT0, "console");
        send(&b, OUT1, "agent");
        g_assert_true(sent(&b, OUT0));
        g_assert_true(sent(&b, OUT1));
        g_assert_cmpstr(host.end[0]->out->str, ==, "console");
        g_assert_cmpstr(host.end[1]->out->str, ==, "agent");
        serial_free(&b);
    }
}

/* The host takes a byte now and then; the machine moves between; all arrives once. */
static void test_output_waits(void)
{
    static const char text[] = "the quick brown fox";
    struct box b;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        serial_new(&b, (const char *const[]){"packed=on", NULL});
        greet(&b, all[i]);
        host.end[0]->room = 4;
        send(&b, OUT0, text);
        g_assert_false(sent(&b, OUT0));
        g_assert_cmpstr(host.end[0]->out->str, ==, "the ");
        g_assert_false(g_main_context_pending(NULL)); /* nobody asks again and again */
        for (unsigned n = 4; n < sizeof(text) - 1; n++) {
            g_assert_cmpuint(host.end[0]->out->len, ==, n);
            if (n % 3 == 0) {
                box_move(&b);
                settle(&b);
            }
            fake_chardev_has_room(host.end[0], 1);
            settle(&b);
        }
        g_assert_true(sent(&b, OUT0));
        g_assert_cmpstr(host.end[0]->out->str, ==, text);
        send(&b, OUT1, "dropped"); /* others are not held up */
        g_assert_true(sent(&b, OUT1));
        serial_free(&b);
    }
}

static void test_long_output(void)
{
    struct buffer bufs[2] = {{OUTPUT, 300000, false}, {DATA, 300000, false}};
    struct box b;

    serial_new(&b, NULL);
    greet(&b, 0);
    memset(mem(&b, OUTPUT), 'a', 300000);
    memset(mem(&b, DATA), 'b', 300000);
    put(&b, OUT0, bufs, 2, false);
    kick(&b, OUT0);
    g_assert_cmpuint(host.end[0]->out->len, <, 100000); /* an access is not for ever */
    settle(&b);
    g_assert_true(sent(&b, OUT0));
    g_assert_cmpuint(host.end[0]->out->len, ==, 600000);
    g_assert_cmpint(host.end[0]->out->str[299999], ==, 'a');
    g_assert_cmpint(host.end[0]->out->str[300000], ==, 'b');
    serial_free(&b);
}

static void test_input(void)
{
    struct box b;
    uint32_t len;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        serial_new(&b, (const char *const[]){"packed=on", NULL});
        greet(&b, all[i]);
        fake_chardev_connect(host.end[1], true);
        settle(&b);
        hear(&b, 1, OPEN, 1);
        fake_chardev_type(host.end[1], "hello, guest");
        give(&b, IN1, 1, 5);
        g_assert_null(take(&b, IN1, &len)); /* the guest's end is not open */
        say(&b, 1, OPEN, 1);
        g_assert_cmpmem(take(&b, IN1, &len), 5, "hello", 5);
        g_assert_cmpuint(len, ==, 5);
        g_assert_cmpstr(host.end[1]->in->str, ==, ", guest");
        box_move(&b);
        settle(&b);
        give(&b, IN1, 2, 100);
        g_assert_cmpmem(take(&b, IN1, &len), 7, ", guest", 7);
        g_assert_cmpuint(len, ==, 7);
        g_assert_null(take(&b, IN1, &len));
        say(&b, 1, OPEN, 0);
        fake_chardev_type(host.end[1], "held");
        settle(&b);
        g_assert_cmpuint(host.end[1]->in->len, ==, 4);
        serial_free(&b);
    }
}

static void test_hotplug(void)
{
    struct box b;
    GError *err = NULL;

    serial_new(&b, NULL);
    greet(&b, 0);
    open_both(&b, 1);
    host.end[1]->room = 2;
    send(&b, OUT1, "in the way");
    g_assert_false(sent(&b, OUT1));
    g_assert_cmpint(device_request_unplug(host.port[1], &err), ==, 0);
    settle(&b);
    hear(&b, 1, REMOVE, 1);
    quiet(&b);
    g_assert_true(sent(&b, OUT1)); /* what nobody takes any more is given back */
    say(&b, 1, OPEN, 0);           /* late: about what is not there */
    say(&b, 1, PORT_READY, 1);
    g_usleep(5000); /* it goes when the loop comes round */
    settle(&b);
    g_assert_null(host.end[1]->frontend);
    port_add(&b, 1);
    settle(&b);
    hear(&b, 1, ADD, 1);
    say(&b, 1, PORT_READY, 1);
    hear(&b, 1, NAME, 1);
    hear(&b, 1, OPEN, 1); /* that end is still connected */
    send(&b, OUT1, "again");
    host.end[1]->room = SIZE_MAX;
    serial_free(&b);
}

/* Gone and there again before the driver heard of it; and saved in between. */
static void test_hotplug_unheard(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    g_autofree uint8_t *ram = NULL;
    GError *err = NULL;
    struct box b;
    uint32_t len;

    serial_new(&b, NULL);
    start(&b, F_MULTI, QUEUES);
    give(&b, CONTROL_IN, 3, 256);
    say(&b, 0, READY, 1);
    for (unsigned i = 0; i < PORTS; i++) {
        g_assert_nonnull(take(&b, CONTROL_IN, &len));
    }
    g_assert_cmpint(device_request_unplug(host.port[2], &err), ==, 0);
    g_usleep(5000);
    settle(&b);
    port_add(&b, 2);
    settle(&b);
    box_move(&b);
    give(&b, CONTROL_IN, 2, 256);
    g_assert_cmpuint(load_le16(take(&b, CONTROL_IN, &len) + 4), ==, REMOVE);
    g_assert_cmpuint(load_le16(take(&b, CONTROL_IN, &len) + 4), ==, ADD);
    host.without[1] = true; /* the other host has no such port */
    machine_stop(b.m);
    machine_save(b.m, saved, &err);
    g_assert_no_error(err);
    ram = g_memdup2(mem(&b, 0), 16u << 20);
    g_assert_true(box_load(&b, saved));
    memcpy(mem(&b, 0), ram, 16u << 20);
    machine_start(b.m);
    give(&b, CONTROL_IN, 2, 256);
    g_assert_cmpuint(load_le16(take(&b, CONTROL_IN, &len) + 4), ==, REMOVE);
    quiet(&b);
    serial_free(&b);
}

static void refused(struct box *b, const struct device_class *class, const char *nr,
                    const char *name, const char *why)
{
    g_autoptr(GError) err = NULL;

    g_assert_null(port_make(b, class, nr, name, NULL, &err));
    g_assert_nonnull(strstr(err->message, why));
}

static void test_places(void)
{
    g_autofree char *longer = g_strnfill(256, 'x');
    GError *err = NULL;
    struct box b;

    serial_new(&b, (const char *const[]){"max_ports=4", NULL});
    refused(&b, &virtport_class, "0", NULL, "nr=0");
    refused(&b, &virtport_class, "1", NULL, "port 1 of virtio0.0 is taken by virtserialport");
    refused(&b, &virtport_class, "4", NULL, "has ports 0 to 3");
    refused(&b, &virtport_class, NULL, AGENT, "the name " AGENT " is that of port 1");
    refused(&b, &virtport_class, NULL, longer, "longer than 255");
    g_assert_nonnull(port_make(&b, &virtconsole_class, NULL, NULL, NULL, &err));
    g_assert_no_error(err);
    refused(&b, &virtport_class, NULL, NULL, "the 4 ports of virtio0.0 are taken");
    serial_free(&b);
}

/* A ring of 128 entries; its parts follow each other. */
static void legacy_put(struct box *b, unsigned q, uint64_t gpa, uint32_t len, bool write,
                       unsigned index)
{
    uint8_t *ring = mem(b, RING(q));

    store_le64(ring + 16 * index, gpa);
    store_le32(ring + 16 * index + 8, len);
    store_le16(ring + 16 * index + 12, write ? WRITE : 0);
    store_le16(ring + 2048 + 4 + 2 * index, index);
    store_le16(ring + 2048 + 2, index + 1);
    out(b, 0x10, q, 2);
    settle(b);
}

static void test_legacy(void)
{
    struct box b;

    serial_new(&b, NULL);
    out(&b, 0x12, 3, 1);
    out(&b, 0x04, 0, 4);
    for (unsigned q = 0; q < 2; q++) {
        out(&b, 0x0e, q, 2);
        g_assert_cmpuint(in(&b, 0x0c, 2), ==, 128);
        out(&b, 0x08, RING(q) >> 12, 4);
    }
    out(&b, 0x12, 7, 1);
    memcpy(mem(&b, OUTPUT), "out", 3);
    legacy_put(&b, OUT0, OUTPUT, 3, false, 0);
    g_assert_cmpuint(load_le16(mem(&b, RING(OUT0) + 0x1000 + 2)), ==, 1);
    g_assert_cmpstr(host.end[0]->out->str, ==, "out");
    fake_chardev_type(host.end[0], "in");
    legacy_put(&b, IN0, SLOT(0, 0), 16, true, 0);
    g_assert_cmpuint(load_le16(mem(&b, RING(IN0) + 0x1000 + 2)), ==, 1);
    g_assert_cmpmem(mem(&b, SLOT(0, 0)), 2, "in", 2);
    serial_free(&b);
}

static void test_resets(void)
{
    struct box b;

    serial_new(&b, NULL);
    greet(&b, F_RESET);
    host.end[0]->room = 3;
    send(&b, OUT0, "one two");
    g_assert_false(sent(&b, OUT0));
    wr(&b, 0x16, OUT0, 2); /* this queue alone: what was in it is forgotten */
    wr(&b, 0x3a, 1, 2);
    g_assert_cmpuint(rd(&b, 0x3a, 2), ==, 0);
    b.q[OUT0] = (struct driver_queue){0};
    memset(mem(&b, RING(OUT0)), 0, 0x3000);
    queue_up(&b, OUT0, ENTRIES, true);
    host.end[0]->room = SIZE_MAX;
    send(&b, OUT0, "abcd");
    fake_chardev_has_room(host.end[0], SIZE_MAX);
    settle(&b);
    g_assert_true(sent(&b, OUT0));
    g_assert_cmpstr(host.end[0]->out->str, ==, "oneabcd");

    host.end[0]->room = 3;
    send(&b, OUT0, "def ghi");
    host.end[0]->room = SIZE_MAX;
    host.end[0]->frontend->writable(host.end[0]->opaque);
    greet(&b, F_PACKED & offered(&b)); /* all anew */
    send(&b, OUT0, "jklm");
    g_assert_true(sent(&b, OUT0));
    g_assert_cmpstr(host.end[0]->out->str, ==, "oneabcddefjklm");

    open_both(&b, 1);
    device_reset(b.dev, RESET_DEVICE);
    g_assert_cmphex(STATUS(&b), ==, 0);
    fake_chardev_connect(host.end[1], false);
    settle(&b);
    greet(&b, 0);
    open_both(&b, 1);
    serial_free(&b);
}

static void test_size(void)
{
    struct box b;
    const char *size;

    serial_new(&b, (const char *const[]){"console-size=on", NULL});
    g_assert_cmphex(offered(&b) & 7, ==, F_SIZE | F_MULTI | F_EMERG);
    greet(&b, F_SIZE);
    host.end[0]->cols = 132;
    host.end[0]->rows = 43;
    fake_chardev_connect(host.end[0], true);
    settle(&b);
    size = hear(&b, 0, RESIZE, 0);
    g_assert_cmpuint(load_le16((const uint8_t *)size), ==, 132);
    g_assert_cmpuint(load_le16((const uint8_t *)size + 2), ==, 43);
    g_assert_cmphex(rd(&b, 0x2000, 4), ==, 43u << 16 | 132);
    fake_chardev_connect(host.end[0], true);
    quiet(&b);
    say(&b, 0, OPEN, 1);
    give(&b, IN0, 1, 16);
    host.end[0]->rows = 50;
    fake_chardev_type(host.end[0], "x");
    settle(&b);
    hear(&b, 0, RESIZE, 0);
    quiet(&b);
    serial_free(&b);
}

static void test_hostile(void)
{
    static const struct {
        unsigned q;
        struct buffer buf;
    } bad[] = {
        {CONTROL_IN, {DATA, 7, true}},
        {CONTROL_IN, {DATA, 64, false}},
        {CONTROL_IN, {NO_MEMORY, 64, true}},
        {CONTROL_OUT, {DATA, 8, true}},
        {CONTROL_OUT, {BAR, 8, false}},
        {OUT0, {DATA, 8, true}},
        {OUT0, {NO_MEMORY, 8, false}},
        {OUT0, {NO_MEMORY - 4, 0xffffffff, false}},
        {IN0, {DATA, 8, false}},
        {IN0, {NO_MEMORY, 8, true}},
    };
    struct buffer buf = {OUTPUT, 7, false};
    struct box b;
    uint32_t len;

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        serial_new(&b, NULL);
        start(&b, F_MULTI, QUEUES);
        say(&b, 0, READY, 1);
        say(&b, 0, PORT_READY, 1);
        say(&b, 0, OPEN, 1);
        put(&b, bad[i].q, &bad[i].buf, 1, false);
        kick(&b, bad[i].q);
        settle(&b);
        fake_chardev_type(host.end[0], "x");
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        greet(&b, 0);
        serial_free(&b);
    }
    serial_new(&b, NULL);
    greet(&b, 0);
    say(&b, 30, PORT_READY, 1);
    say(&b, 31, PORT_READY, 1);
    say(&b, UINT32_MAX, OPEN, 1);
    say(&b, 1, 4711, 1);
    say(&b, 1, PORT_READY, 0);
    say(&b, 0, READY, 0);
    put(&b, CONTROL_OUT, &buf, 1, false);
    kick(&b, CONTROL_OUT);
    g_assert_true(used(&b, CONTROL_OUT, NULL, &len));
    quiet(&b);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    start(&b, 0, QUEUES); /* without ports: no messages */
    give(&b, CONTROL_IN, 4, 256);
    say(&b, 0, READY, 1);
    quiet(&b);
    serial_free(&b);
}

static void test_state(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct facts *facts = facts_new();
    GError *err = NULL;
    struct box b;

    serial_new(&b, NULL);
    greet(&b, 0);
    device_describe(host.port[1], facts);
    g_assert_cmpstr(facts_find(facts, NULL, "name"), ==, AGENT);
    g_assert_cmpstr(facts_find(facts, NULL, "host connected"), ==, "no");
    facts_free(facts);
    machine_stop(b.m);
    machine_save(b.m, saved, &err);
    g_assert_no_error(err);
    b.settings = (const char *const[]){"max_ports=30", NULL};
    g_assert_false(box_load(&b, saved));
    serial_free(&b);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct box b;
    uint32_t len;

    log_set_level("all", "error");
    serial_new(&b, NULL);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned q = (unsigned)g_rand_int_range(rand, 0, QUEUES);
        struct buffer buf = {DATA + (uint64_t)g_rand_int_range(rand, 0, 0x1000),
                             (uint32_t)g_rand_int_range(rand, 1, 64), q % 2 == 0};

        if (i % 500 == 0) {
            start(&b, g_rand_int(rand) & F_MULTI, QUEUES);
        }
        for (unsigned n = 0; n < 4; n++) {
            mem(&b, DATA)[g_rand_int_range(rand, 0, 0x1000)] =
                (uint8_t)g_rand_int_range(rand, 0, 9);
        }
        put(&b, q, &buf, 1, false);
        kick(&b, q);
        while (used(&b, q, NULL, &len)) {
        }
        if (g_rand_int_range(rand, 0, 8) == 0) {
            fake_chardev_connect(host.end[i % PORTS], g_rand_boolean(rand));
            fake_chardev_has_room(host.end[i % PORTS], (size_t)g_rand_int_range(rand, 0, 99));
            fake_chardev_type(host.end[i % PORTS], "noise");
        }
        settle(&b);
        if (i % 997 == 0) {
            box_move(&b);
        }
    }
    g_rand_free(rand);
    serial_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-serial/identity", test_identity);
    g_test_add_func("/virtio-serial/messages", test_messages);
    g_test_add_func("/virtio-serial/wakes", test_wakes);
    g_test_add_func("/virtio-serial/no-buffers", test_no_buffers);
    g_test_add_func("/virtio-serial/output", test_output);
    g_test_add_func("/virtio-serial/output-waits", test_output_waits);
    g_test_add_func("/virtio-serial/long-output", test_long_output);
    g_test_add_func("/virtio-serial/input", test_input);
    g_test_add_func("/virtio-serial/hotplug", test_hotplug);
    g_test_add_func("/virtio-serial/hotplug-unheard", test_hotplug_unheard);
    g_test_add_func("/virtio-serial/places", test_places);
    g_test_add_func("/virtio-serial/legacy", test_legacy);
    g_test_add_func("/virtio-serial/resets", test_resets);
    g_test_add_func("/virtio-serial/size", test_size);
    g_test_add_func("/virtio-serial/hostile", test_hostile);
    g_test_add_func("/virtio-serial/state", test_state);
    g_test_add_func("/virtio-serial/noise", test_noise);
    return g_test_run();
}
