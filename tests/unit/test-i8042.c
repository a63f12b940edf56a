/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard controller with its keyboard and mouse, seen from ports 0x60 and 0x64 and from IRQ 1
 * and 12. */
#include <string.h>

#include <glib.h>
#include <linux/input-event-codes.h>

#include <xendm/classes.h>
#include <xendm/input.h>
#include <xendm/log.h>

#include "fakes.h"

struct kit {
    struct machine *m;
    struct device *dev;
};

static struct kit kit_new(void)
{
    struct kit k = {.m = fake_machine_new()};
    if (!k.m->input) {
        k.m->input = input_new();
    }
    k.dev = fake_device(k.m, &i8042_class, NULL, NULL);
    machine_complete(k.m);
    machine_start(k.m);
    return k;
}

static void kit_free(struct kit *k)
{
    struct input *in = k->m->input;
    fake_machine_free(k->m);
    input_free(in);
}

/* Polled, as drivers do: the next byte needs its time. */
static uint8_t status(struct kit *k)
{
    vclock_set(k->m->clock, vclock_now(k->m->clock) + NS_PER_MS);
    vclock_run(k->m->clock);
    return (uint8_t)aspace_read(k->m->pio, 0x64, 1);
}

static void command(struct kit *k, uint8_t byte)
{
    g_assert_false(status(k) & 0x02);
    aspace_write(k->m->pio, 0x64, byte, 1);
}

static void data(struct kit *k, uint8_t byte)
{
    g_assert_false(status(k) & 0x02);
    aspace_write(k->m->pio, 0x60, byte, 1);
}

static uint8_t take(struct kit *k)
{
    return (uint8_t)aspace_read(k->m->pio, 0x60, 1);
}

static bool irq(struct kit *k, unsigned n)
{
    return k->m->hv->isa_level[n];
}

#define EMPTY(k) g_assert_false(status(k) & 0x01)
/* The bytes of a string come from the keyboard (or, for aux, the mouse), each with its interrupt,
 * and then nothing. */
static void expect(struct kit *k, bool aux, const char *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(status(k) & 0x21, ==, aux ? 0x21 : 0x01);
        g_assert_cmphex(take(k), ==, (uint8_t)bytes[i]);
    }
    EMPTY(k);
}
#define KBD(k, s) expect(k, false, s, sizeof(s) - 1)
#define AUX(k, s) expect(k, true, s, sizeof(s) - 1)

static void mouse(struct kit *k, uint8_t byte)
{
    command(k, 0xd4);
    data(k, byte);
}

static void set_mode(struct kit *k, uint8_t mode)
{
    command(k, 0x60);
    data(k, mode);
}

static void key(struct kit *k, unsigned code)
{
    input_key(k->m->input, code, true);
    input_key(k->m->input, code, false);
}

/* As Linux' i8042, atkbd and psmouse do at boot. */
static void test_linux(void)
{
    struct kit k = kit_new();

    while (status(&k) & 1) {
        take(&k);
    }
    command(&k, 0xaa);
    KBD(&k, "\x55");
    command(&k, 0x20);
    g_assert_cmphex(status(&k) & 0x0d, ==, 0x0d);
    uint8_t ctr = take(&k);
    g_assert_true(ctr & 0x04);
    ctr = (uint8_t)((ctr | 0x10 | 0x20) & ~0x03);
    set_mode(&k, ctr);
    command(&k, 0x20);
    g_assert_cmphex(take(&k), ==, ctr);

    command(&k, 0xd3); /* is there an aux port? loop a byte through it */
    data(&k, 0x5a);
    AUX(&k, "\x5a");
    command(&k, 0xa8);
    command(&k, 0x20);
    g_assert_false(take(&k) & 0x20);
    command(&k, 0xa7);
    command(&k, 0x20);
    g_assert_true(take(&k) & 0x20);
    command(&k, 0xa9);
    KBD(&k, "\0");
    command(&k, 0xab);
    KBD(&k, "\0");

    set_mode(&k, 0x47); /* both on, both interrupts, translated */
    data(&k, 0xf2);
    g_assert_true(irq(&k, 1));
    KBD(&k, "\xfa\xab\x41");
    g_assert_false(irq(&k, 1));
    data(&k, 0xed);
    KBD(&k, "\xfa");
    data(&k, 0x02);
    KBD(&k, "\xfa");
    g_assert_cmpuint(input_leds(k.m->input), ==, 2);
    data(&k, 0xf3);
    KBD(&k, "\xfa");
    data(&k, 0x00);
    KBD(&k, "\xfa");
    data(&k, 0xf4);
    KBD(&k, "\xfa");

    mouse(&k, 0xff);
    g_assert_true(irq(&k, 12));
    AUX(&k, "\xfa\xaa\x00");
    g_assert_false(irq(&k, 12));
    mouse(&k, 0xf2);
    AUX(&k, "\xfa\x00");
    static const uint8_t knock[2][3] = {{200, 100, 80}, {200, 200, 80}};
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < 3; j++) {
            mouse(&k, 0xf3);
            AUX(&k, "\xfa");
            mouse(&k, knock[i][j]);
            AUX(&k, "\xfa");
        }
        mouse(&k, 0xf2);
        expect(&k, true, i == 0 ? "\xfa\x03" : "\xfa\x04", 2);
    }
    mouse(&k, 0xf4);
    AUX(&k, "\xfa");

    unsigned edges = k.m->hv->isa_changes[1];
    key(&k, KEY_A);
    g_assert_true(irq(&k, 1));
    KBD(&k, "\x1e\x9e");
    g_assert_cmpuint(k.m->hv->isa_changes[1] - edges, ==, 4); /* one edge a byte */
    input_relative(k.m->input, 3, 4, 1);
    input_button(k.m->input, BTN_LEFT, true);
    input_button(k.m->input, BTN_EXTRA, true);
    EMPTY(&k); /* a report goes out when it is complete */
    input_sync(k.m->input);
    g_assert_true(irq(&k, 12));
    AUX(&k, "\x29\x03\xfc\x2f");
    kit_free(&k);
}

/* As SeaBIOS' ps2port.c. */
static void test_seabios(void)
{
    struct kit k = kit_new();

    for (unsigned i = 0; i < 16 && (status(&k) & 1); i++) {
        take(&k);
    }
    command(&k, 0xad);
    command(&k, 0xa7);
    command(&k, 0xaa);
    KBD(&k, "\x55");
    command(&k, 0xab);
    KBD(&k, "\0");
    set_mode(&k, 0x20); /* mouse off, no interrupts while the keyboard is reset */
    data(&k, 0xff);
    KBD(&k, "\xfa\xaa");
    g_assert_cmpuint(k.m->hv->isa_changes[1] & 1, ==, 0);
    data(&k, 0xf5);
    KBD(&k, "\xfa");
    data(&k, 0xf0);
    KBD(&k, "\xfa");
    data(&k, 0x02);
    KBD(&k, "\xfa");
    set_mode(&k, 0x61);
    data(&k, 0xf4);
    KBD(&k, "\xfa");
    key(&k, KEY_ENTER);
    KBD(&k, "\x1c\x9c");
    kit_free(&k);
}

static void test_scan_codes(void)
{
    struct kit k = kit_new();

    set_mode(&k, 0x41);
    key(&k, KEY_F7);
    KBD(&k, "\x41\xc1");
    key(&k, KEY_UP);
    KBD(&k, "\xe0\x48\xe0\xc8");
    key(&k, KEY_PAUSE);
    KBD(&k, "\xe1\x1d\x45\xe1\x9d\xc5");
    key(&k, KEY_SYSRQ);
    KBD(&k, "\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa");
    input_key(k.m->input, KEY_LEFTALT, true);
    key(&k, KEY_SYSRQ);
    input_key(k.m->input, KEY_LEFTALT, false);
    KBD(&k, "\x38\x54\xd4\xb8");
    input_key(k.m->input, KEY_LEFTCTRL, true);
    key(&k, KEY_PAUSE);
    input_key(k.m->input, KEY_LEFTCTRL, false);
    KBD(&k, "\x1d\xe0\x46\xe0\xc6\x9d");
    for (unsigned code = 1; code <= 83; code++) { /* what a PC's keys give */
        if (code != KEY_NUMLOCK) {
            input_key(k.m->input, code, true);
            g_assert_true(status(&k) & 1);
            g_assert_cmphex(take(&k), ==, code);
            input_key(k.m->input, code, false);
            g_assert_true(status(&k) & 1);
            g_assert_cmphex(take(&k), ==, code | 0x80);
        }
    }
    EMPTY(&k);
    key(&k, 0);
    key(&k, 240);
    key(&k, 100000);
    EMPTY(&k);

    set_mode(&k, 0x01); /* raw */
    key(&k, KEY_A);
    KBD(&k, "\x1c\xf0\x1c");
    key(&k, KEY_F7);
    KBD(&k, "\x83\xf0\x83");
    key(&k, KEY_DELETE);
    KBD(&k, "\xe0\x71\xe0\xf0\x71");
    key(&k, KEY_PAUSE);
    KBD(&k, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77");
    data(&k, 0xf0);
    KBD(&k, "\xfa");
    data(&k, 3);
    KBD(&k, "\xfa");
    key(&k, KEY_A);
    key(&k, KEY_UP);
    key(&k, KEY_LEFTMETA);
    KBD(&k, "\x1c\xf0\x1c\x63\xf0\x63\x8b\xf0\x8b");
    data(&k, 0xf0);
    data(&k, 0);
    KBD(&k, "\xfa\xfa\x03");
    data(&k, 0xf0);
    data(&k, 1);
    KBD(&k, "\xfa\xfa");
    key(&k, KEY_A);
    key(&k, KEY_UP);
    KBD(&k, "\x1e\x9e\xe0\x48\xe0\xc8");
    data(&k, 0xf0);
    data(&k, 9);
    KBD(&k, "\xfa\xfe");
    kit_free(&k);
}

/* Between two bytes port 0x60 keeps the one that was read, and the next one comes by itself. */
static void test_between_bytes(void)
{
    struct kit k = kit_new();

    set_mode(&k, 0x41);
    key(&k, KEY_A);
    g_assert_true(irq(&k, 1));
    for (unsigned i = 0; i < 3; i++) { /* a chain of handlers */
        g_assert_cmphex(take(&k), ==, 0x1e);
        g_assert_false(irq(&k, 1));
        g_assert_false(aspace_read(k.m->pio, 0x64, 1) & 1);
    }
    vclock_set(k.m->clock, vclock_now(k.m->clock) + NS_PER_MS);
    vclock_run(k.m->clock);
    g_assert_true(irq(&k, 1));
    g_assert_cmphex(take(&k), ==, 0x9e);
    vclock_set(k.m->clock, vclock_now(k.m->clock) + NS_PER_MS);
    vclock_run(k.m->clock);
    g_assert_false(irq(&k, 1));
    g_assert_cmpint(vclock_next_deadline(k.m->clock), ==, VTIMER_OFF); /* idle: no timer */
    /* An answer does not wait for that. */
    key(&k, KEY_A);
    g_assert_cmphex(take(&k), ==, 0x1e);
    command(&k, 0x20);
    g_assert_true(status(&k) & 1);
    kit_free(&k);
}

/* Saved while a key is down, or waits to go up: in the guest that goes on it goes up. */
static void test_saved_while_down(void)
{
    struct kit a = kit_new(), b = kit_new();

    set_mode(&a, 0x41);
    input_key(a.m->input, KEY_A, true);
    g_assert_true(status(&a) & 1);
    g_assert_cmphex(take(&a), ==, 0x1e);
    machine_stop(a.m);
    machine_stop(b.m);
    fake_state_round_trip(a.dev, b.dev);
    machine_start(b.m);
    KBD(&b, "\x9e");
    machine_start(a.m);
    kit_free(&a);
    kit_free(&b);
}

/* 300 keys at once, to a guest that reads one byte now and then: all of them, in order. */
static void test_burst(void)
{
    struct kit k = kit_new();

    set_mode(&k, 0x41);
    for (unsigned i = 0; i < 300; i++) {
        key(&k, KEY_1 + i % 10);
    }
    for (unsigned i = 0; i < 300; i++) {
        g_assert_true(status(&k) & 1);
        g_assert_cmphex(take(&k), ==, KEY_1 + i % 10);
        g_assert_true(status(&k) & 1);
        g_assert_cmphex(take(&k), ==, (KEY_1 + i % 10) | 0x80);
    }
    EMPTY(&k);
    kit_free(&k);
}

static void test_keyboard_commands(void)
{
    struct kit k = kit_new();

    data(&k, 0xee);
    KBD(&k, "\xee");
    data(&k, 0xfe);
    KBD(&k, "\xee"); /* resend */
    data(&k, 0xf5);
    KBD(&k, "\xfa");
    key(&k, KEY_A);
    EMPTY(&k);
    data(&k, 0xf6);
    KBD(&k, "\xfa");
    key(&k, KEY_A);
    KBD(&k, "\x1c\xf0\x1c");
    data(&k, 0xed);
    data(&k, 0xf4); /* a command instead of the argument */
    KBD(&k, "\xfa\xfa");
    data(&k, 0x01);
    KBD(&k, "\xfe");
    data(&k, 0xfb);
    data(&k, 0x1c);
    data(&k, 0x1b);
    data(&k, 0xee);
    KBD(&k, "\xfa\xfa\xfa\xee");
    data(&k, 0xff);
    KBD(&k, "\xfa\xaa");
    g_assert_cmpuint(input_leds(k.m->input), ==, 0);
    for (unsigned i = 0; i < 100; i++) { /* answers nobody reads do not pile up */
        data(&k, 0xff);
    }
    unsigned n = 0;
    while (status(&k) & 1) {
        take(&k);
        n++;
    }
    g_assert_cmpuint(n, <=, 17);
    kit_free(&k);
}

/* A full queue drops whole keys, and no key hangs. */
static void test_overflow(void)
{
    struct kit k = kit_new();
    unsigned down[256] = {0}, n = 0;
    bool breaking = false;

    set_mode(&k, 0x41);
    for (unsigned i = 0; i < 14; i++) {
        input_key(k.m->input, KEY_1 + i, true);
    }
    for (unsigned i = 0; i < 14; i++) {
        input_key(k.m->input, KEY_1 + i, false);
    }
    while (status(&k) & 1) {
        uint8_t b = take(&k);
        down[b & 0x7f] = !(b & 0x80);
        breaking |= b & 0x80;
        n++;
    }
    g_assert_true(breaking);
    g_assert_cmpuint(n, ==, 28);
    for (unsigned i = 0; i < 128; i++) {
        g_assert_cmpuint(down[i], ==, 0);
    }
    kit_free(&k);
}

static void test_disabled(void)
{
    struct kit k = kit_new();

    command(&k, 0xad);
    key(&k, KEY_A);
    EMPTY(&k); /* held back */
    command(&k, 0xae);
    KBD(&k, "\x1c\xf0\x1c");
    command(&k, 0xad);
    key(&k, KEY_A);
    EMPTY(&k);
    data(&k, 0xee); /* sending a command switches the interface on */
    KBD(&k, "\xee\x1c\xf0\x1c");
    mouse(&k, 0xf4);
    AUX(&k, "\xfa");
    command(&k, 0xa7);
    input_relative(k.m->input, 1, 1, 0);
    input_sync(k.m->input);
    EMPTY(&k);
    command(&k, 0xa8);
    AUX(&k, "\x28\x01\xff");
    kit_free(&k);
}

static void test_controller(void)
{
    struct kit k = kit_new();

    command(&k, 0xc0);
    KBD(&k, "\x80");
    command(&k, 0xd2);
    data(&k, 0x77);
    KBD(&k, "\x77");
    command(&k, 0xd0);
    KBD(&k, "\xcf");
    command(&k, 0xdd);
    command(&k, 0xd0);
    KBD(&k, "\xcd");
    command(&k, 0xd1);
    data(&k, 0xdf);
    command(&k, 0xd0);
    KBD(&k, "\xcf");
    g_assert_cmphex(status(&k), ==, 0x18);
    data(&k, 0xee);
    g_assert_cmphex(status(&k), ==, 0x11);
    g_assert_cmphex(take(&k), ==, 0xee);
    g_assert_cmphex(take(&k), ==, 0xee); /* an empty buffer shows the last byte */
    command(&k, 0xff);
    command(&k, 0xf1);
    command(&k, 0x99);
    EMPTY(&k);
    g_assert_cmpuint(k.m->hv->shutdowns, ==, 0);
    command(&k, 0xfe);
    g_assert_cmpuint(k.m->hv->shutdowns, ==, 1);
    g_assert_cmpint(k.m->hv->shutdown_reason, ==, HV_SHUTDOWN_REBOOT);
    kit_free(&k);

    k = kit_new();
    command(&k, 0xd1);
    data(&k, 0x02);
    g_assert_cmpuint(k.m->hv->shutdowns, ==, 1);
    kit_free(&k);
}

static void test_mouse(void)
{
    struct kit k = kit_new();

    input_relative(k.m->input, 5, 5, 0); /* not reporting yet */
    input_sync(k.m->input);
    EMPTY(&k);
    mouse(&k, 0xe9);
    AUX(&k, "\xfa\x00\x02\x64");
    mouse(&k, 0xe8);
    mouse(&k, 0x03);
    mouse(&k, 0xe7);
    mouse(&k, 0xf4);
    AUX(&k, "\xfa\xfa\xfa\xfa");
    input_button(k.m->input, BTN_RIGHT, true);
    input_sync(k.m->input);
    AUX(&k, "\x0a\x00\x00");
    mouse(&k, 0xe9);
    AUX(&k, "\xfa\x31\x03\x64");
    input_relative(k.m->input, 10, -3, 5); /* 2:1, and no wheel in the plain protocol */
    input_sync(k.m->input);
    AUX(&k, "\x0a\x14\x03");
    mouse(&k, 0xe6);
    AUX(&k, "\xfa");
    input_relative(k.m->input, -300, 0, 0); /* more than one packet holds */
    input_sync(k.m->input);
    AUX(&k, "\x1a\x81\x00\x1a\x81\x00\x1a\xd2\x00");
    input_button(k.m->input, BTN_RIGHT, false);
    input_sync(k.m->input);
    AUX(&k, "\x08\x00\x00");

    mouse(&k, 0xf0); /* remote: only when asked */
    AUX(&k, "\xfa");
    input_relative(k.m->input, 7, 0, 0);
    input_sync(k.m->input);
    EMPTY(&k);
    mouse(&k, 0xeb);
    AUX(&k, "\xfa\x08\x07\x00");
    mouse(&k, 0xea);
    mouse(&k, 0xee);
    AUX(&k, "\xfa\xfa");
    mouse(&k, 0xf2);
    AUX(&k, "\xf2"); /* wrapped */
    mouse(&k, 0xec);
    AUX(&k, "\xfa");
    mouse(&k, 0xfe);
    AUX(&k, "\xfa");
    mouse(&k, 0x12);
    AUX(&k, "\xfe");
    mouse(&k, 0xe8);
    mouse(&k, 0x09);
    AUX(&k, "\xfa\xfe");

    mouse(&k, 0xf4);
    AUX(&k, "\xfa");
    for (unsigned i = 0; i < 100000; i++) { /* nobody reads: it adds up and is clamped */
        input_relative(k.m->input, G_MAXINT, G_MININT, G_MININT);
        input_sync(k.m->input);
    }
    unsigned n = 0;
    while (status(&k) & 1) {
        take(&k);
        n++;
    }
    g_assert_cmpuint(n, <, 1000);
    kit_free(&k);
}

static void test_fuzz(void)
{
    struct kit k = kit_new();
    GRand *r = g_rand_new_with_seed(8042);

    for (unsigned i = 0; i < 200000; i++) {
        uint32_t n = g_rand_int(r);
        switch (n >> 28) {
        case 0 ... 4:
            aspace_write(k.m->pio, 0x60, n & 0xff, 1);
            break;
        case 5 ... 7:
            aspace_write(k.m->pio, 0x64, n & 0xff, 1);
            break;
        case 8 ... 10:
            aspace_read(k.m->pio, 0x60, 1);
            break;
        case 11:
            aspace_read(k.m->pio, 0x64, 4);
            break;
        case 12:
        case 13:
            input_key(k.m->input, n & 0x1ff, n >> 9 & 1);
            break;
        case 14:
            input_relative(k.m->input, (int)(n << 5) >> 20, (int)(n << 10) >> 10, (int)n);
            input_sync(k.m->input);
            break;
        default:
            input_button(k.m->input, BTN_LEFT + (n & 7), n >> 3 & 1);
            input_sync(k.m->input);
            break;
        }
        uint8_t st = status(&k);
        g_assert_false(irq(&k, 1) && irq(&k, 12));
        g_assert_true((st & 1) || !(irq(&k, 1) || irq(&k, 12)));
    }
    g_rand_free(r);
    kit_free(&k);
}

static void test_state(void)
{
    struct kit a = kit_new(), b = kit_new();
    GRand *r = g_rand_new_with_seed(1);

    set_mode(&a, 0x47);
    data(&a, 0xed);
    data(&a, 5);
    key(&a, KEY_UP);
    mouse(&a, 0xf4);
    for (unsigned i = 0; i < 300; i++) {
        if (i % 3 == 0) {
            uint8_t byte = g_rand_int(r) & 0xff;

            /* No resets: the clock of a machine that is off stands still. */
            if (i % 2) {
                aspace_write(a.m->pio, 0x60, byte, 1);
            } else if (byte < 0xf0 && byte != 0xd1) {
                aspace_write(a.m->pio, 0x64, byte, 1);
            }
        } else if (i % 3 == 1) {
            key(&a, g_rand_int(r) & 0xff);
            input_relative(a.m->input, (int)i, 5, 0);
            input_sync(a.m->input);
        } else {
            take(&a);
        }
        if (i % 10 == 0) {
            machine_stop(a.m);
            machine_stop(b.m);
            fake_state_round_trip(a.dev, b.dev);
            machine_start(a.m);
            machine_start(b.m);
        }
    }
    /* What waits in front of the keyboard stays behind. */
    command(&a, 0xae);
    data(&a, 0xf4);
    for (unsigned i = 0; i < 10000 && input_keys_waiting(a.m->input) > 0; i++) {
        status(&a);
        take(&a);
    }
    g_assert_cmpuint(input_keys_waiting(a.m->input), ==, 0);
    machine_stop(a.m);
    machine_stop(b.m);
    fake_state_round_trip(a.dev, b.dev);
    g_assert_cmpuint(input_leds(b.m->input), ==, input_leds(a.m->input));
    machine_start(a.m);
    machine_start(b.m);
    for (unsigned i = 0; i < 50; i++) {
        g_assert_cmphex(status(&b), ==, status(&a));
        g_assert_cmphex(take(&b), ==, take(&a));
    }
    g_rand_free(r);
    kit_free(&a);
    kit_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("all", "error"); /* the fuzzer resets the machine thousands of times */
    g_test_add_func("/i8042/linux", test_linux);
    g_test_add_func("/i8042/seabios", test_seabios);
    g_test_add_func("/i8042/scan-codes", test_scan_codes);
    g_test_add_func("/i8042/between-bytes", test_between_bytes);
    g_test_add_func("/i8042/burst", test_burst);
    g_test_add_func("/i8042/saved-while-down", test_saved_while_down);
    g_test_add_func("/i8042/keyboard-commands", test_keyboard_commands);
    g_test_add_func("/i8042/overflow", test_overflow);
    g_test_add_func("/i8042/disabled", test_disabled);
    g_test_add_func("/i8042/controller", test_controller);
    g_test_add_func("/i8042/mouse", test_mouse);
    g_test_add_func("/i8042/fuzz", test_fuzz);
    g_test_add_func("/i8042/state", test_state);
    return g_test_run();
}
