/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include <xendm/backend.h>
#include <xendm/chardev.h>

#include "fake-chardev.h"
#include "pc-common.h"

#define BASE 0x3f8
#define IRQ 4

static const struct fuzz_range ranges[] = {{BASE, 8}, {0}};

/* ---- fixture ---- */

struct fixture {
    struct machine *m;
    struct device *dev;
    struct chardev *cd;
};

static struct machine *machine_with(struct chardev *cd, const char *index, const char *carrier,
                                    struct device **dev)
{
    struct machine *m = fake_machine_new();
    GError *err = NULL;

    *dev = device_new(m, &isa_serial_class, NULL, &err);
    g_assert_no_error(err);
    device_set_backend(*dev, "chardev", cd ? &cd->b : NULL);
    g_assert_cmpint(device_set(*dev, "index", index, &err), ==, 0);
    g_assert_cmpint(device_set(*dev, "carrier", carrier, &err), ==, 0);
    g_assert_cmpint(device_realize(*dev, &err), ==, 0);
    start(m);
    return m;
}

static void setup(struct fixture *f, gconstpointer carrier)
{
    f->cd = fake_chardev_new("serial");
    f->m = machine_with(f->cd, "0", carrier ? carrier : "off", &f->dev);
}

static void teardown(struct fixture *f, gconstpointer data)
{
    fake_machine_free(f->m);
    fake_chardev_free(f->cd);
}

static uint8_t rd(struct fixture *f, unsigned reg)
{
    return inb(f->m, (uint16_t)(BASE + reg));
}

static void wr(struct fixture *f, unsigned reg, uint8_t value)
{
    outb(f->m, (uint16_t)(BASE + reg), value);
}

static bool line(struct fixture *f)
{
    return f->m->hv->isa_level[IRQ];
}

/* ---- tests ---- */

/* hvmloader's probe, and scratch and divisor registers. */
static void test_registers(struct fixture *f, gconstpointer data)
{
    wr(f, 1, 0x00);
    g_assert_cmphex(rd(f, 1), ==, 0x00);
    wr(f, 1, 0x0f);
    g_assert_cmphex(rd(f, 1), ==, 0x0f);
    wr(f, 1, 0xff);
    g_assert_cmphex(rd(f, 1), ==, 0x0f);
    wr(f, 1, 0x00);
    wr(f, 7, 0x5a);
    g_assert_cmphex(rd(f, 7), ==, 0x5a);
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    g_assert_cmphex(rd(f, 6), ==, 0xb0);
    g_assert_cmphex(rd(f, 2), ==, 0x01);
    wr(f, 4, 0xef);
    g_assert_cmphex(rd(f, 4), ==, 0x0f);
    wr(f, 3, 0x83);
    wr(f, 0, 0x34);
    wr(f, 1, 0x12);
    g_assert_cmphex(rd(f, 0), ==, 0x34);
    g_assert_cmphex(rd(f, 1), ==, 0x12);
    wr(f, 3, 0x03);
    g_assert_cmphex(rd(f, 1), ==, 0x00);
    g_assert_cmpuint(f->cd->out->len, ==, 0);
    /* The FIFO bits tell a 16550A from its ancestors. */
    wr(f, 2, 0x01);
    g_assert_cmphex(rd(f, 2), ==, 0xc1);
    wr(f, 2, 0xc8);
    g_assert_cmphex(rd(f, 2), ==, 0x01);
}

static void test_polled_output(struct fixture *f, gconstpointer data)
{
    for (const char *c = "hello"; *c; c++) {
        g_assert_cmphex(rd(f, 5) & 0x20, ==, 0x20);
        wr(f, 0, (uint8_t)*c);
    }
    g_assert_cmpstr(f->cd->out->str, ==, "hello");
    g_assert_cmpuint(f->m->hv->isa_changes[IRQ], ==, 0);
}

/* The host takes nothing for a while: THRE is off, nothing is lost, nothing blocks. */
static void test_slow_host(struct fixture *f, gconstpointer data)
{
    wr(f, 2, 0x01);
    f->cd->room = 2;
    for (const char *c = "abcdef"; *c; c++) {
        wr(f, 0, (uint8_t)*c);
    }
    g_assert_cmpstr(f->cd->out->str, ==, "ab");
    g_assert_cmphex(rd(f, 5), ==, 0x00);
    wr(f, 1, 0x02);
    g_assert_false(line(f));
    f->cd->room = 3;
    f->cd->frontend->writable(f->cd->opaque);
    g_assert_cmpstr(f->cd->out->str, ==, "abcde");
    g_assert_cmphex(rd(f, 5), ==, 0x00);
    f->cd->room = SIZE_MAX;
    f->cd->frontend->writable(f->cd->opaque);
    g_assert_cmpstr(f->cd->out->str, ==, "abcdef");
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    g_assert_true(line(f));
    /* Without waiting for THRE: the FIFO does not grow. */
    wr(f, 1, 0x00);
    f->cd->room = 0;
    for (unsigned i = 0; i < 40; i++) {
        wr(f, 0, (uint8_t)('A' + i % 26));
    }
    f->cd->room = SIZE_MAX;
    f->cd->frontend->writable(f->cd->opaque);
    g_assert_cmpuint(f->cd->out->len, ==, 6 + 16);
}

/* One batch: one write to the host, one interrupt. */
static void test_interrupt_output(struct fixture *f, gconstpointer data)
{
    unsigned changes;

    wr(f, 2, 0x01);
    wr(f, 1, 0x02);
    g_assert_true(line(f)); /* empty when it is enabled */
    g_assert_cmphex(rd(f, 2), ==, 0xc2);
    g_assert_false(line(f)); /* told */
    g_assert_cmphex(rd(f, 2), ==, 0xc1);
    changes = f->m->hv->isa_changes[IRQ];
    for (const char *c = "0123456789"; *c; c++) {
        wr(f, 0, (uint8_t)*c);
    }
    g_assert_cmpuint(f->cd->writes, ==, 0);
    fake_clock_step(f->m, 0);
    g_assert_cmpstr(f->cd->out->str, ==, "0123456789");
    g_assert_cmpuint(f->cd->writes, ==, 1);
    g_assert_true(line(f));
    g_assert_cmpuint(f->m->hv->isa_changes[IRQ], ==, changes + 1);
    /* A full FIFO does not wait for the loop; a look at LSR neither. */
    for (unsigned i = 0; i < 16; i++) {
        wr(f, 0, 'x');
    }
    g_assert_cmpuint(f->cd->writes, ==, 2);
    wr(f, 0, 'y');
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    g_assert_cmpuint(f->cd->writes, ==, 3);
    /* Nothing is left to wake up for. */
    g_assert_cmpint(vclock_next_deadline(f->m->clock), ==, VTIMER_OFF);
    wr(f, 1, 0x00);
    g_assert_false(line(f));
    wr(f, 1, 0x02); /* Linux' test for lost THRE interrupts */
    g_assert_true(line(f));
}

static void test_input(struct fixture *f, gconstpointer data)
{
    /* Without FIFO: one at a time, the rest waits outside. */
    wr(f, 1, 0x01);
    fake_chardev_type(f->cd, "ab");
    g_assert_true(line(f));
    g_assert_cmphex(rd(f, 2), ==, 0x04);
    g_assert_cmphex(rd(f, 5), ==, 0x61);
    g_assert_cmpuint(f->cd->in->len, ==, 1);
    g_assert_cmphex(rd(f, 0), ==, 'a');
    g_assert_true(line(f));
    g_assert_cmphex(rd(f, 0), ==, 'b');
    g_assert_false(line(f));
    g_assert_cmphex(rd(f, 0), ==, 'b'); /* empty: the last one again */
    g_assert_cmphex(rd(f, 5), ==, 0x60);
}

static void test_trigger_and_timeout(struct fixture *f, gconstpointer data)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    /* 9600 8N1: four characters are 4 * 10 / 9600 s. */
    wr(f, 3, 0x83);
    wr(f, 0, 12);
    wr(f, 1, 0);
    wr(f, 3, 0x03);
    wr(f, 1, 0x01);
    for (unsigned i = 0; i < 4; i++) {
        wr(f, 2, (uint8_t)(i << 6 | 0x03));
        for (unsigned n = 1; n <= level[i]; n++) {
            g_assert_false(line(f));
            fake_chardev_type(f->cd, "z");
        }
        g_assert_true(line(f));
        g_assert_cmphex(rd(f, 2), ==, 0xc4);
        rd(f, 0);
        g_assert_false(line(f));
    }
    g_assert_cmpint(vclock_next_deadline(f->m->clock), !=, VTIMER_OFF);
    fake_clock_step(f->m, 4 * NS_PER_MS);
    g_assert_false(line(f));
    fake_clock_step(f->m, NS_PER_MS);
    g_assert_true(line(f));
    g_assert_cmphex(rd(f, 2), ==, 0xcc);
    rd(f, 0);
    g_assert_false(line(f)); /* and it counts anew */
    fake_clock_step(f->m, 5 * NS_PER_MS);
    g_assert_cmphex(rd(f, 2), ==, 0xcc);
    wr(f, 2, 0x03); /* cleared */
    g_assert_cmphex(rd(f, 2), ==, 0xc1);
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    g_assert_cmpint(vclock_next_deadline(f->m->clock), ==, VTIMER_OFF);
    /* No timer for a driver that polls. */
    wr(f, 1, 0x00);
    wr(f, 2, 0xc1);
    fake_chardev_type(f->cd, "q");
    g_assert_cmpint(vclock_next_deadline(f->m->clock), ==, VTIMER_OFF);
    g_assert_cmphex(rd(f, 5), ==, 0x61);
}

static void test_back_pressure(struct fixture *f, gconstpointer data)
{
    g_autoptr(GString) got = g_string_new(NULL);

    wr(f, 2, 0x01);
    fake_chardev_type(f->cd, "The quick brown fox jumps over the lazy dog");
    g_assert_cmpuint(f->cd->in->len, ==, 43 - 16);
    while (rd(f, 5) & 1) {
        g_string_append_c(got, (char)rd(f, 0));
    }
    g_assert_cmpstr(got->str, ==, "The quick brown fox jumps over the lazy dog");
    g_assert_cmphex(rd(f, 5), ==, 0x60); /* no overrun */
}

static void test_priorities(struct fixture *f, gconstpointer data)
{
    wr(f, 2, 0x01);
    wr(f, 1, 0x0f);
    wr(f, 4, 0x10); /* loopback: all lines fall: modem status */
    fake_chardev_type(f->cd, "x");
    g_assert_cmpuint(f->cd->in->len, ==, 1);
    wr(f, 4, 0x00);
    f->cd->frontend->event(f->cd->opaque, CHARDEV_BREAK);
    g_assert_cmphex(rd(f, 5 + 2), ==, 0x00);
    g_assert_cmphex(rd(f, 2), ==, 0xc4); /* 'x' first; the break waits behind it */
    g_assert_cmphex(rd(f, 0), ==, 'x');
    g_assert_cmphex(rd(f, 2), ==, 0xc6); /* on top now: line status */
    g_assert_cmphex(rd(f, 5), ==, 0xf1);
    g_assert_cmphex(rd(f, 2), ==, 0xc4); /* its zero character */
    g_assert_cmphex(rd(f, 0), ==, 0x00);
    g_assert_cmphex(rd(f, 2), ==, 0xc2); /* transmitter */
    g_assert_cmphex(rd(f, 2), ==, 0xc0); /* modem */
    g_assert_true(line(f));
    g_assert_cmphex(rd(f, 6), ==, 0xbb);
    g_assert_cmphex(rd(f, 2), ==, 0xc1);
    g_assert_false(line(f));
    g_assert_cmphex(rd(f, 6), ==, 0xb0);
}

static void test_loopback(struct fixture *f, gconstpointer data)
{
    wr(f, 2, 0x01);
    wr(f, 4, 0x1a); /* LOOP, RTS, OUT2: Linux' probe */
    g_assert_cmphex(rd(f, 6) & 0xf0, ==, 0x90);
    wr(f, 4, 0x15); /* DTR, OUT1 */
    g_assert_cmphex(rd(f, 6) & 0xf0, ==, 0x60);
    rd(f, 6);
    wr(f, 4, 0x11); /* RI falls: the trailing edge is told */
    g_assert_cmphex(rd(f, 6), ==, 0x24);
    wr(f, 4, 0x15); /* RI rises: is not */
    g_assert_cmphex(rd(f, 6), ==, 0x60);
    for (unsigned i = 0; i < 20; i++) {
        wr(f, 0, (uint8_t)('a' + i));
    }
    g_assert_cmpuint(f->cd->out->len, ==, 0);
    g_assert_cmphex(rd(f, 5), ==, 0x63); /* overrun */
    g_assert_cmphex(rd(f, 5), ==, 0x61);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmphex(rd(f, 0), ==, 'a' + i);
    }
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    /* What came from outside meanwhile comes when the loop is open. */
    fake_chardev_type(f->cd, "late");
    g_assert_cmphex(rd(f, 5), ==, 0x60);
    wr(f, 4, 0x03);
    g_assert_cmphex(rd(f, 0), ==, 'l');
    /* Without FIFO the new character replaces the old. */
    wr(f, 2, 0x00);
    wr(f, 4, 0x10);
    wr(f, 0, '1');
    wr(f, 0, '2');
    g_assert_cmphex(rd(f, 5), ==, 0x63);
    g_assert_cmphex(rd(f, 0), ==, '2');
}

static void test_carrier(struct fixture *f, gconstpointer data)
{
    g_assert_cmphex(rd(f, 6), ==, 0x10);
    wr(f, 1, 0x08);
    f->cd->connected = true;
    f->cd->frontend->event(f->cd->opaque, CHARDEV_OPENED);
    g_assert_true(line(f));
    g_assert_cmphex(rd(f, 6), ==, 0xba);
    g_assert_false(line(f));
    f->cd->connected = false;
    f->cd->frontend->event(f->cd->opaque, CHARDEV_CLOSED);
    g_assert_cmphex(rd(f, 6), ==, 0x1a);
}

/* Stopped: nothing comes in, nothing goes out, no interrupt; then everything does. */
static void test_stopped(struct fixture *f, gconstpointer data)
{
    unsigned changes;

    wr(f, 2, 0x01);
    wr(f, 1, 0x07);
    rd(f, 2);
    f->cd->room = 0;
    wr(f, 0, 'o');
    g_assert_cmphex(rd(f, 5), ==, 0x00);
    machine_stop(f->m);
    changes = f->m->hv->isa_changes[IRQ];
    f->cd->room = SIZE_MAX;
    f->cd->frontend->writable(f->cd->opaque);
    fake_chardev_type(f->cd, "in");
    f->cd->frontend->event(f->cd->opaque, CHARDEV_BREAK);
    g_assert_cmpuint(f->m->hv->isa_changes[IRQ], ==, changes);
    g_assert_cmpuint(f->cd->out->len, ==, 0);
    g_assert_cmpuint(f->cd->in->len, ==, 2);
    machine_start(f->m);
    g_assert_cmpstr(f->cd->out->str, ==, "o");
    g_assert_cmphex(rd(f, 0), ==, 'i');
    g_assert_cmphex(rd(f, 0), ==, 'n');
}

static void test_four_ports(void)
{
    static const uint16_t port[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static const uint8_t irq[4] = {4, 3, 4, 3};

    for (unsigned i = 0; i < 4; i++) {
        char index[2] = {(char)('0' + i), 0};
        struct chardev *cd = fake_chardev_new("serial");
        struct device *dev;
        struct machine *m = machine_with(cd, index, "off", &dev);

        outb(m, port[i] + 1, 0x02);
        g_assert_true(m->hv->isa_level[irq[i]]);
        outb(m, port[i] + 1, 0x00);
        outb(m, port[i], 'p');
        g_assert_cmpstr(cd->out->str, ==, "p");
        fake_machine_free(m);
        g_assert_null(cd->frontend);
        fake_chardev_free(cd);
    }
}

/* No back end at all: everything is sent into the void. */
static void test_unconnected(void)
{
    struct device *dev;
    struct machine *m = machine_with(NULL, "1", "on", &dev);

    outb(m, 0x2f8, 'x');
    g_assert_cmphex(inb(m, 0x2fd), ==, 0x60);
    g_assert_cmphex(inb(m, 0x2fe), ==, 0x10);
    machine_reset(m, RESET_COLD);
    fake_machine_free(m);
}

static void test_bad_index(void)
{
    struct machine *m = fake_machine_new();
    struct device *dev = device_new(m, &isa_serial_class, NULL, NULL);

    g_assert_cmpint(device_set(dev, "index", "4", NULL), ==, -EINVAL);
    device_free(dev);
    fake_machine_free(m);
}

static void test_state(struct fixture *f, gconstpointer data)
{
    struct chardev *cd = fake_chardev_new("serial");
    struct device *other;
    struct machine *m2 = machine_with(cd, "0", "off", &other);

    wr(f, 3, 0x83);
    wr(f, 0, 6);
    wr(f, 3, 0x1b);
    wr(f, 2, 0x81);
    wr(f, 1, 0x03);
    fake_chardev_type(f->cd, "abc");
    f->cd->room = 0;
    wr(f, 0, 'T');
    rd(f, 5);
    machine_stop(f->m);
    fake_state_round_trip(f->dev, other);
    g_assert_cmphex(inb(m2, BASE + 3), ==, 0x1b);
    g_assert_cmphex(inb(m2, BASE + 2) & 0xc0, ==, 0xc0);
    /* The character timeout that was running goes on, and what was not sent is sent. */
    fake_clock_step(m2, 20 * NS_PER_MS);
    g_assert_cmpstr(cd->out->str, ==, "T");
    g_assert_cmphex(inb(m2, BASE + 2), ==, 0xcc);
    g_assert_cmphex(inb(m2, BASE), ==, 'a');
    fake_machine_free(m2);
    fake_chardev_free(cd);
}

static void test_fuzz(struct fixture *f, gconstpointer data)
{
    GRand *rand = g_rand_new_with_seed(0x16550);
    struct chardev *cd = fake_chardev_new("serial");
    struct device *other;
    struct machine *m2 = machine_with(cd, "0", "off", &other);

    for (unsigned i = 0; i < FUZZ_STEPS; i++) {
        switch (g_rand_int(rand) % 64) {
        case 0:
            fake_chardev_type(f->cd, "0123456789abcdefghij");
            break;
        case 1:
            f->cd->frontend->event(f->cd->opaque, g_rand_int(rand) % 3);
            break;
        case 2:
            f->cd->room = g_rand_int(rand) % 40;
            f->cd->frontend->writable(f->cd->opaque);
            break;
        default:
            fuzz_step(f->m, rand, ranges, -1);
        }
        if (f->cd->in->len > 1000) {
            g_string_truncate(f->cd->in, 0);
        }
        g_assert_cmpuint(f->cd->frontend->can_receive(f->cd->opaque), <=, 16);
    }
    fake_state_round_trip(f->dev, other);
    fuzz_state(other, 0x16550, ranges, -1);
    g_rand_free(rand);
    fake_machine_free(m2);
    fake_chardev_free(cd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/serial/" name, struct fixture, NULL, setup, fn, teardown)
    ADD("registers", test_registers);
    ADD("polled-output", test_polled_output);
    ADD("slow-host", test_slow_host);
    ADD("interrupt-output", test_interrupt_output);
    ADD("input", test_input);
    ADD("trigger-and-timeout", test_trigger_and_timeout);
    ADD("back-pressure", test_back_pressure);
    ADD("priorities", test_priorities);
    ADD("loopback", test_loopback);
    ADD("stopped", test_stopped);
    ADD("state", test_state);
    ADD("fuzz", test_fuzz);
    g_test_add("/serial/carrier", struct fixture, "on", setup, test_carrier, teardown);
    g_test_add_func("/serial/four-ports", test_four_ports);
    g_test_add_func("/serial/unconnected", test_unconnected);
    g_test_add_func("/serial/bad-index", test_bad_index);
    return g_test_run();
}
