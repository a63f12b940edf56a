/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UHCI with schedules in guest memory: what drivers build, and what no driver would. */
#include <errno.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include <xendm/classes.h>
#include <xendm/log.h>
#include <xendm/pci.h>

#include "usb-fixture.h"

#define DEVFN PCI_DEVFN(1, 2)
#define IO 0xc020u
#define CMD (IO + 0)
#define STS (IO + 2)
#define INTR (IO + 4)
#define FRNUM (IO + 6)
#define FLBASE (IO + 8)
#define PORT1 (IO + 16)

#define FRAMES 0x10000u
#define QH 0x20000u
#define TD(i) (0x21000u + 32u * (unsigned)(i))
#define DATA 0x30000u

#define END 1u
#define QUEUE 2u
#define DEPTH 4u
#define ACTIVE 0x00800000u
#define STALLED 0x00400000u
#define BABBLE 0x00100000u
#define NAK 0x00080000u
#define TIMEOUT 0x00040000u
#define IOC 0x01000000u
#define SPD 0x20000000u
#define ERRORS(n) ((uint32_t)(n) << 27)

struct bench {
    struct machine *m;
    struct device *hc;
    struct usb_device *dev;
};

static uint32_t rd(struct bench *b, unsigned port, unsigned size)
{
    return (uint32_t)aspace_read(b->m->pio, port, size);
}

static void wr(struct bench *b, unsigned port, uint32_t value, unsigned size)
{
    aspace_write(b->m->pio, port, value, size);
}

static uint32_t *mem(struct bench *b, uint32_t at)
{
    return fake_guestmem_ptr(b->m->memory, at);
}

static void all_frames(struct bench *b, uint32_t link)
{
    for (unsigned i = 0; i < 1024; i++) {
        mem(b, FRAMES)[i] = GUINT32_TO_LE(link);
    }
}

/* A controller with a tablet in port 1, running, an empty schedule. */
static struct bench bench_new(void)
{
    struct bench b = {.m = usb_machine_new(NULL)};

    b.hc = fake_pci_device(b.m, &usb_uhci_class, DEVFN, NULL);
    b.dev = usb_plug(b.m, &usb_tablet_class, "tablet");
    pci_config_write(b.m->pci, DEVFN, 0x20, IO, 4);
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0005, 2);
    all_frames(&b, END);
    wr(&b, FLBASE, FRAMES, 4);
    wr(&b, INTR, 0x0f, 2);
    wr(&b, PORT1, 0x0202, 2); /* reset, connect change */
    wr(&b, PORT1, 0x0000, 2);
    wr(&b, PORT1, 0x0004, 2);
    wr(&b, CMD, 1, 2);
    return b;
}

static void bench_free(struct bench *b)
{
    usb_machine_free(b->m);
}

static uint32_t token(enum usb_pid pid, unsigned address, unsigned endpoint, unsigned length)
{
    return pid | address << 8 | endpoint << 15 | ((length - 1) & 0x7ff) << 21;
}

static void put_td(struct bench *b, unsigned i, uint32_t link, uint32_t ctrl, uint32_t tok,
                   uint32_t buffer)
{
    uint32_t *td = mem(b, TD(i));

    td[0] = GUINT32_TO_LE(link);
    td[1] = GUINT32_TO_LE(ctrl);
    td[2] = GUINT32_TO_LE(tok);
    td[3] = GUINT32_TO_LE(buffer);
}

static uint32_t td_ctrl(struct bench *b, unsigned i)
{
    return GUINT32_FROM_LE(mem(b, TD(i))[1]);
}

static void put_qh(struct bench *b, uint32_t at, uint32_t link, uint32_t element)
{
    mem(b, at)[0] = GUINT32_TO_LE(link);
    mem(b, at)[1] = GUINT32_TO_LE(element);
}

static void frames(struct bench *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        fake_clock_step(b->m, NS_PER_MS);
    }
}

static bool irq(struct bench *b)
{
    return b->m->hv->intx_level[1][3];
}

/* SETUP, IN of `length` in packets of 8, OUT: as drivers queue it. Returns the last index. */
static unsigned queue_get_descriptor(struct bench *b, unsigned address, uint16_t value,
                                     uint16_t length)
{
    uint8_t setup[8] = {0x80, 6, value & 0xff,  (uint8_t)(value >> 8),
                        0,    0, length & 0xff, (uint8_t)(length >> 8)};
    unsigned i = 0;

    memcpy(mem(b, DATA - 8), setup, 8);
    put_td(b, i, TD(i + 1) | DEPTH, ACTIVE | ERRORS(3), token(USB_SETUP, address, 0, 8), DATA - 8);
    for (unsigned at = 0; at < length; at += 8) {
        i++;
        put_td(b, i, TD(i + 1) | DEPTH, ACTIVE | ERRORS(3),
               token(USB_IN, address, 0, MIN(8, length - at)), DATA + at);
    }
    i++;
    put_td(b, i, END, ACTIVE | ERRORS(3) | IOC, token(USB_OUT, address, 0, 0), 0);
    put_qh(b, QH, END, TD(0));
    all_frames(b, QH | QUEUE);
    return i;
}

static void test_registers(void)
{
    struct bench b = bench_new();

    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x70208086);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x08, 4) >> 8, ==, 0x0c0300);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x3c, 4) >> 8 & 0xff, ==, 4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0xc0, 2), ==, 0x2000);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x60, 1), ==, 0x10);
    g_assert_cmphex(rd(&b, PORT1, 2), ==, 0x85);
    g_assert_cmphex(rd(&b, PORT1 + 2, 2), ==, 0x80);
    g_assert_cmphex(rd(&b, PORT1 + 4, 2), ==, 0xff7f);
    g_assert_cmphex(rd(&b, STS, 2), ==, 0);
    fake_clock_step(b.m, 5 * NS_PER_MS);
    g_assert_cmphex(rd(&b, FRNUM, 2), ==, 5);
    wr(&b, FRNUM, 0x100, 2); /* runs */
    g_assert_cmphex(rd(&b, FRNUM, 2), ==, 5);
    fake_clock_step(b.m, 3000 * NS_PER_MS);
    g_assert_cmphex(rd(&b, FRNUM, 2), ==, 3005 & 0x7ff);
    wr(&b, CMD, 0, 2);
    g_assert_cmphex(rd(&b, STS, 2), ==, 0x20);
    fake_clock_step(b.m, NS_PER_S);
    g_assert_cmphex(rd(&b, FRNUM, 2), ==, 3005 & 0x7ff);
    wr(&b, FRNUM, 0x7ff, 2);
    wr(&b, CMD, 1, 2);
    fake_clock_step(b.m, 2 * NS_PER_MS);
    g_assert_cmphex(rd(&b, FRNUM, 2), ==, 1);
    wr(&b, CMD, 2, 2); /* HCRESET */
    g_assert_cmphex(rd(&b, CMD, 2), ==, 0);
    g_assert_cmphex(rd(&b, STS, 2), ==, 0x20);
    g_assert_cmphex(rd(&b, PORT1, 2), ==, 0x83);
    wr(&b, PORT1 + 2, 4, 2); /* nothing there that could be enabled */
    g_assert_cmphex(rd(&b, PORT1 + 2, 2), ==, 0x80);
    bench_free(&b);
}

static void test_control(void)
{
    struct bench b = bench_new();
    unsigned last = queue_get_descriptor(&b, 0, 0x100, 18);

    frames(&b, 1);
    for (unsigned i = 0; i <= last; i++) {
        g_assert_cmphex(td_ctrl(&b, i) & 0x00ff0000, ==, 0);
    }
    g_assert_cmphex(td_ctrl(&b, 1) & 0x7ff, ==, 7);
    g_assert_cmphex(td_ctrl(&b, 3) & 0x7ff, ==, 1);
    g_assert_cmphex(td_ctrl(&b, last) & 0x7ff, ==, 0x7ff);
    g_assert_cmphex(GUINT32_FROM_LE(mem(&b, DATA)[2]), ==, 0x00010627);
    g_assert_cmphex(GUINT32_FROM_LE(mem(&b, QH)[1]), ==, END);
    g_assert_cmphex(rd(&b, STS, 2), ==, 1);
    g_assert_true(irq(&b));
    wr(&b, STS, 1, 2);
    g_assert_false(irq(&b));
    bench_free(&b);
}

/* Breadth first: one transaction of each queue a round; the ring goes on while there are some. */
static void test_breadth(void)
{
    struct bench b = bench_new();

    usb_configure(b.dev, 1);
    queue_get_descriptor(&b, 1, 0x100, 18);
    for (unsigned i = 0; i < 4; i++) {
        mem(&b, TD(i))[0] = GUINT32_TO_LE(TD(i + 1));
    }
    frames(&b, 1); /* no ring: one */
    g_assert_false(td_ctrl(&b, 0) & ACTIVE);
    g_assert_true(td_ctrl(&b, 1) & ACTIVE);
    put_qh(&b, QH, QH | QUEUE, GUINT32_FROM_LE(mem(&b, QH)[1]));
    frames(&b, 1); /* a ring: all the rest */
    g_assert_false(td_ctrl(&b, 4) & ACTIVE);
    g_assert_true(irq(&b));
    bench_free(&b);
}

static void test_short_packet(void)
{
    struct bench b = bench_new();

    queue_get_descriptor(&b, 0, 0x100, 24);
    mem(&b, TD(3))[1] |= GUINT32_TO_LE(SPD); /* 2 of 8 bytes come */
    frames(&b, 1);
    g_assert_cmphex(td_ctrl(&b, 3) & 0x00ff07ff, ==, 1);
    g_assert_cmphex(GUINT32_FROM_LE(mem(&b, QH)[1]), ==, TD(3) | DEPTH);
    g_assert_true(td_ctrl(&b, 4) & ACTIVE);
    g_assert_cmphex(rd(&b, STS, 2), ==, 1);
    g_assert_true(irq(&b));
    wr(&b, INTR, 0x04, 2); /* not for short packets */
    g_assert_false(irq(&b));
    bench_free(&b);
}

static void test_errors(void)
{
    struct bench b = bench_new();

    put_td(&b, 0, END, ACTIVE | ERRORS(3) | IOC, token(USB_IN, 77, 1, 8), DATA); /* nobody */
    all_frames(&b, TD(0));
    frames(&b, 1);
    g_assert_cmphex(td_ctrl(&b, 0) & 0xfffff800, ==, ACTIVE | TIMEOUT | ERRORS(2) | IOC);
    g_assert_cmphex(rd(&b, STS, 2), ==, 0);
    frames(&b, 2);
    g_assert_cmphex(td_ctrl(&b, 0) & 0xfffff800, ==, STALLED | TIMEOUT | IOC);
    g_assert_cmphex(rd(&b, STS, 2), ==, 3);
    wr(&b, STS, 3, 2);
    /* the device stalls: it has no endpoint 2 */
    put_td(&b, 0, END, ACTIVE | ERRORS(3), token(USB_IN, 0, 2, 8), DATA);
    frames(&b, 1);
    g_assert_cmphex(td_ctrl(&b, 0) & 0x00ff07ff, ==, STALLED | 0x7ff);
    frames(&b, 1);
    g_assert_cmphex(rd(&b, STS, 2), ==, 2);
    /* no counter: for ever */
    put_td(&b, 0, END, ACTIVE, token(USB_IN, 77, 1, 8), DATA);
    frames(&b, 50);
    g_assert_true(td_ctrl(&b, 0) & ACTIVE);
    bench_free(&b);
}

/* What stops the controller, and why. */
static void test_fatal(void)
{
    static const struct {
        const char *what;
        uint32_t link, tok, buffer;
        unsigned status;
    } cases[] = {
        {"list without memory", 0xf0000000, 0, 0, 8},
        {"queue without memory", 0xf0000000 | QUEUE, 0, 0, 8},
        {"nothing at all", 0xe0000000, 0, 0, 8},
        {"no pid", TD(0), 0x00e00000 | 0x55, DATA, 16},
        {"1281 bytes", TD(0), 0xa0000000 | USB_IN, DATA, 16},
        {"2047 bytes", TD(0), 0xffc00000 | USB_OUT, DATA, 16},
        {"buffer without memory", TD(0), 0x00e00000 | USB_SETUP, 0xfffffffc, 8},
        {"buffer at the end", TD(0), 0x00e00000 | USB_OUT, 0x00fffffc, 8},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct bench b = bench_new();

        g_test_message("%s", cases[i].what);
        put_td(&b, 0, END, ACTIVE, cases[i].tok, cases[i].buffer);
        all_frames(&b, cases[i].link);
        frames(&b, 2);
        g_assert_cmphex(rd(&b, STS, 2), ==, 0x20 | cases[i].status);
        g_assert_cmphex(rd(&b, CMD, 2), ==, 0);
        g_assert_true(irq(&b));
        bench_free(&b);
    }
}

/*
 * Lists that never end (as in OHCI, CVE-2017-6505, CVE-2017-9330, CVE-2020-25625, and EHCI,
 * CVE-2015-8558): a frame is at most 256 descriptors.
 */
static void test_loops(void)
{
    struct bench b = bench_new();
    uint64_t before;

    put_td(&b, 0, TD(0), IOC, token(USB_IN, 1, 1, 8), DATA); /* an inactive one, to itself */
    all_frames(&b, TD(0));
    before = b.m->dma.reads;
    frames(&b, 10);
    g_assert_cmpuint(b.m->dma.reads - before, <=, 10 * 257);

    put_qh(&b, QH, QH | QUEUE, QH | QUEUE);
    all_frames(&b, QH | QUEUE);
    before = b.m->dma.reads;
    frames(&b, 10);
    g_assert_cmpuint(b.m->dma.reads - before, <=, 20);

    /* an active one that is done again and again: SETUP to itself, in a queue that it is, too */
    wr(&b, CMD, 1, 2);
    put_td(&b, 0, TD(0) | DEPTH, ACTIVE | IOC, token(USB_SETUP, 0, 0, 8), TD(0));
    put_qh(&b, QH, QH | QUEUE, TD(0));
    before = b.m->dma.reads;
    frames(&b, 10);
    g_assert_cmpuint(b.m->dma.reads - before, <=, 10 * 400);

    /* the answer goes into the schedule: the frame list, the queue, itself */
    for (unsigned i = 0; i < 3; i++) {
        queue_get_descriptor(&b, 0, 0x100, 18);
        mem(&b, TD(1))[3] = GUINT32_TO_LE(i == 0 ? FRAMES : i == 1 ? QH : TD(1));
        frames(&b, 3);
        wr(&b, CMD, 1, 2);
    }
    bench_free(&b);
}

/* Without bus mastering nothing moves, and nothing is broken. */
static void test_no_master(void)
{
    struct bench b = bench_new();

    queue_get_descriptor(&b, 0, 0x100, 18);
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0001, 2);
    frames(&b, 5);
    g_assert_cmphex(rd(&b, STS, 2), ==, 0);
    g_assert_true(td_ctrl(&b, 0) & ACTIVE);
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0005, 2);
    frames(&b, 1);
    g_assert_false(td_ctrl(&b, 0) & ACTIVE);
    bench_free(&b);
}

/* ---- idling ---- */

static void poll_tablet(struct bench *b)
{
    put_td(b, 0, END, ACTIVE | IOC | SPD | ERRORS(3), token(USB_IN, 1, 1, 8), DATA);
    put_qh(b, QH, END, TD(0));
}

/* A tablet that is asked each frame and has nothing: at most 20 frames a second are walked. */
static void test_idle(void)
{
    struct bench b = bench_new();
    int64_t before;

    usb_configure(b.dev, 1);
    poll_tablet(&b);
    all_frames(&b, QH | QUEUE);
    frames(&b, 100);
    g_assert_true(td_ctrl(&b, 0) & NAK);
    before = device_fact(b.hc, "frames walked");
    frames(&b, 10000);
    g_assert_cmpint(device_fact(b.hc, "frames walked") - before, <=, 200);
    g_assert_cmpint(device_fact(b.hc, "frames walked") - before, >=, 50);

    /* something: in the next frame */
    input_absolute(b.m->input, 0x1234, 0x4321);
    input_sync(b.m->input);
    frames(&b, 1);
    g_assert_cmphex(td_ctrl(&b, 0) & (ACTIVE | 0x7ff), ==, 5);
    g_assert_cmphex(GUINT32_FROM_LE(mem(&b, DATA)[0]), ==, 0x21123400);
    g_assert_true(irq(&b));
    /* … the next one, too, once the driver has queued again */
    wr(&b, STS, 1, 2);
    input_absolute(b.m->input, 1, 2);
    input_sync(b.m->input);
    poll_tablet(&b);
    frames(&b, 1);
    g_assert_false(td_ctrl(&b, 0) & ACTIVE);

    /* nobody is asked at all: no timer but the slow one; stopped: none */
    all_frames(&b, END);
    frames(&b, 1000);
    before = device_fact(b.hc, "frames walked");
    frames(&b, 1000);
    g_assert_cmpint(device_fact(b.hc, "frames walked") - before, <=, 20);
    wr(&b, CMD, 0, 2);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    bench_free(&b);
}

/* What the guest puts into a quiet schedule is found without a register access, in 0.1 s. */
static void test_found(void)
{
    struct bench b = bench_new();
    unsigned last, n = 0;

    frames(&b, 500);
    last = queue_get_descriptor(&b, 0, 0x100, 18);
    while (td_ctrl(&b, last) & ACTIVE) {
        frames(&b, 1);
        g_assert_cmpuint(++n, <=, 100);
    }
    /* or at once, when it asks for the frame number */
    frames(&b, 500);
    last = queue_get_descriptor(&b, 0, 0x100, 18);
    rd(&b, FRNUM, 2);
    g_assert_false(td_ctrl(&b, last) & ACTIVE);
    bench_free(&b);
}

/* An entry that is polled each 128 frames gets its turn while the rest is quiet. */
static void test_seldom(void)
{
    struct bench b = bench_new();
    unsigned n = 0;

    usb_configure(b.dev, 1);
    poll_tablet(&b);
    for (unsigned i = 0; i < 1024; i += 128) {
        mem(&b, FRAMES)[i + 77] = GUINT32_TO_LE(QH | QUEUE);
    }
    frames(&b, 1000);
    input_absolute(b.m->input, 5, 5);
    input_sync(b.m->input);
    while (td_ctrl(&b, 0) & ACTIVE) {
        frames(&b, 1);
        g_assert_cmpuint(++n, <=, 128);
    }
    bench_free(&b);
}

/* ---- ports ---- */

static void test_suspend(void)
{
    struct bench b = bench_new();

    usb_configure(b.dev, 1);
    usb_control(b.dev, 0, 3, 1, 0, NULL, 0, NULL); /* may wake the guest */
    wr(&b, CMD, 0, 2);
    wr(&b, CMD, 8, 2); /* global suspend */
    input_absolute(b.m->input, 5, 5);
    input_sync(b.m->input);
    g_assert_cmphex(rd(&b, CMD, 2), ==, 0x18);
    g_assert_cmphex(rd(&b, STS, 2) & 4, ==, 4);
    g_assert_true(irq(&b));
    wr(&b, STS, 4, 2);
    g_assert_false(irq(&b));
    wr(&b, CMD, 1, 2);
    /* one port */
    wr(&b, PORT1, 0x1004, 2);
    poll_tablet(&b);
    all_frames(&b, QH | QUEUE);
    frames(&b, 3);
    g_assert_cmphex(td_ctrl(&b, 0) & (ACTIVE | TIMEOUT), !=, ACTIVE); /* it does not answer */
    input_absolute(b.m->input, 6, 6);
    input_sync(b.m->input);
    g_assert_cmphex(rd(&b, PORT1, 2) & 0x1040, ==, 0x1040);
    wr(&b, PORT1, 0x1004, 2);
    g_assert_cmphex(rd(&b, PORT1, 2) & 0x1044, ==, 4);
    poll_tablet(&b);
    frames(&b, 1);
    g_assert_false(td_ctrl(&b, 0) & ACTIVE);
    bench_free(&b);
}

static void test_unplug(void)
{
    struct bench b = bench_new();

    usb_configure(b.dev, 1);
    poll_tablet(&b);
    all_frames(&b, QH | QUEUE);
    frames(&b, 3);
    device_unplug(&b.dev->dev);
    g_assert_cmphex(rd(&b, PORT1, 2), ==, 0x8a); /* two changes */
    frames(&b, 5);
    g_assert_true(td_ctrl(&b, 0) & STALLED);
    wr(&b, PORT1, 0x0a, 2);
    b.dev = usb_plug(b.m, &usb_kbd_class, "kbd");
    g_assert_cmphex(rd(&b, PORT1, 2), ==, 0x83);
    bench_free(&b);
}

/* ---- saved state ---- */

static void test_state(void)
{
    struct bench b = bench_new(), c = {.m = usb_machine_new(NULL)};
    unsigned last = queue_get_descriptor(&b, 0, 0x100, 18);

    c.hc = fake_pci_device(c.m, &usb_uhci_class, DEVFN, NULL);
    c.dev = usb_plug(c.m, &usb_tablet_class, "tablet");
    for (unsigned i = 0; i < last; i++) { /* one transaction a frame */
        mem(&b, TD(i))[0] = GUINT32_TO_LE(TD(i + 1));
    }
    frames(&b, 2); /* in the middle of it */
    memcpy(mem(&c, 0), mem(&b, 0), 0x40000);
    fake_state_round_trip(b.hc, c.hc);
    fake_state_round_trip(&b.dev->dev, &c.dev->dev);
    fake_clock_step(c.m, vclock_now(b.m->clock));
    frames(&c, 10);
    g_assert_false(td_ctrl(&c, last) & ACTIVE);
    g_assert_cmphex(GUINT32_FROM_LE(mem(&c, DATA)[2]), ==, 0x00010627);
    g_assert_true(irq(&c));
    bench_free(&b);
    bench_free(&c);
}

/* A stream says that a device is enabled in a port where ours is empty. */
static void test_state_ports(void)
{
    struct bench b = bench_new(), c = {.m = usb_machine_new(NULL)};
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct state_plan *plan;
    g_autoptr(GError) err = NULL;

    c.hc = fake_pci_device(c.m, &usb_uhci_class, DEVFN, NULL);
    pci_config_write(c.m->pci, DEVFN, 0x20, IO, 4);
    pci_config_write(c.m->pci, DEVFN, 0x04, 0x0005, 2);
    state_save(b.hc->class->state, b.hc, saved);
    plan = state_parse_sized(c.hc->class->state, c.hc->class->size, saved->data, saved->len, &err);
    g_assert_no_error(err);
    g_assert_true(state_fits(plan, c.hc, &err));
    state_apply(plan, c.hc);
    state_plan_free(plan);
    g_assert_cmphex(rd(&c, PORT1, 2), ==, 0x82);
    bench_free(&b);
    bench_free(&c);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct bench b = bench_new();

    log_set_level("all", "error");
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 64; i++) {
            uint32_t ctrl = g_rand_int(rand) | (g_rand_boolean(rand) ? ACTIVE : 0);
            static const uint8_t pids[] = {USB_IN, USB_OUT, USB_SETUP, 0x11};
            uint32_t tok = (g_rand_int(rand) & 0x7fe08000u & ~0x7f00u) |
                           pids[g_rand_int_range(rand, 0, 100) ? g_rand_int_range(rand, 0, 3) : 3];

            put_td(&b, i, TD(g_rand_int_range(rand, 0, 64)) | (g_rand_int(rand) & 7), ctrl,
                   tok & 0x3fffffff, DATA + (uint32_t)g_rand_int_range(rand, -0x10000, 0x1000));
            put_qh(&b, QH + 16 * i, (QH + 16 * (uint32_t)g_rand_int_range(rand, 0, 64)) | QUEUE,
                   TD(g_rand_int_range(rand, 0, 64)) | (g_rand_int(rand) & 6));
        }
        for (unsigned i = 0; i < 16; i++) {
            mem(&b, FRAMES)[g_rand_int_range(rand, 0, 1024)] =
                GUINT32_TO_LE((QH + 16 * (uint32_t)g_rand_int_range(rand, 0, 64)) | QUEUE);
        }
        for (unsigned i = 0; i < 20; i++) {
            wr(&b, IO + (unsigned)g_rand_int_range(rand, 0, 32),
               i < 10 ? g_rand_int(rand) & ~0x2u : 1, 1u << g_rand_int_range(rand, 0, 3));
            wr(&b, FLBASE, FRAMES, 4);
            wr(&b, CMD, 0, 2);
            wr(&b, CMD, 1, 2);
            wr(&b, PORT1, 0x4, 2);
            rd(&b, IO + (unsigned)g_rand_int_range(rand, 0, 32), 4);
            fake_clock_step(b.m, g_rand_int_range(rand, 0, 5000000));
        }
    }
    g_assert_cmpint(device_fact(b.hc, "transfers"), >, 100);
    g_rand_free(rand);
    bench_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("usb", "error");
    g_test_add_func("/uhci/registers", test_registers);
    g_test_add_func("/uhci/control", test_control);
    g_test_add_func("/uhci/breadth", test_breadth);
    g_test_add_func("/uhci/short-packet", test_short_packet);
    g_test_add_func("/uhci/errors", test_errors);
    g_test_add_func("/uhci/fatal", test_fatal);
    g_test_add_func("/uhci/loops", test_loops);
    g_test_add_func("/uhci/no-master", test_no_master);
    g_test_add_func("/uhci/idle", test_idle);
    g_test_add_func("/uhci/found", test_found);
    g_test_add_func("/uhci/seldom", test_seldom);
    g_test_add_func("/uhci/suspend", test_suspend);
    g_test_add_func("/uhci/unplug", test_unplug);
    g_test_add_func("/uhci/state", test_state);
    g_test_add_func("/uhci/state-ports", test_state_ports);
    g_test_add_func("/uhci/noise", test_noise);
    return g_test_run();
}
