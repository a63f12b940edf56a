/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Advisories about ioreqs, the VGA and the small chips, each tried on ours; see test-ide.c.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/classes.h>
#include <xendm/display.h>
#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/pci.h>
#include <xendm/state.h>

#include "../../dm/ioreq/request.h"
#include "../unit/fakes.h"
#include "../unit/look.h"

#define VGA_DEVFN PCI_DEVFN(2, 0)
#define VGA_MEMORY (1u << 20)

/* ---- a board without drives and ports ---- */

static void object_free(gpointer p)
{
    object_desc_free(p);
}

static struct machine *board_new(bool vga, struct machine_desc *desc)
{
    struct machine *m = fake_machine_new();
    GError *err = NULL;

    *desc = (struct machine_desc){.type = MACHINE_XENFV,
                                  .acpi = true,
                                  .objects = g_ptr_array_new_with_free_func(object_free)};
    g_ptr_array_add(desc->objects, object_desc_new(OBJECT_DEVICE, 0, "xen-platform", NULL));
    if (vga) {
        g_ptr_array_add(desc->objects, object_desc_new(OBJECT_DEVICE, 0, "VGA", NULL));
    }
    board_build(m, desc, &err);
    g_assert_no_error(err);
    machine_complete(m);
    machine_start(m);
    return m;
}

static void board_end(struct machine *m, struct machine_desc *desc)
{
    board_free(m);
    fake_machine_free(m);
    g_ptr_array_unref(desc->objects);
}

/* XSA-133, CVE-2015-3456 (VENOM): the floppy controller was there though nobody wanted it. */
static void test_133(void)
{
    struct machine_desc desc;
    struct machine *m = board_new(false, &desc);

    for (unsigned port = 0x3f0; port < 0x3f8; port++) {
        if (port != 0x3f6) { /* the IDE channel's */
            g_assert_null(aspace_find(m->pio, port));
            g_assert_cmphex(aspace_read(m->pio, port, 1), ==, 0xff);
        }
    }
    board_end(m, &desc);
}

/* XSA-119, CVE-2015-2152: a display adapter and its viewers appeared though none was wanted. */
static void test_119(void)
{
    struct machine_desc desc;
    struct machine *m = board_new(false, &desc);

    g_assert_null(m->display);
    for (unsigned port = 0x3b0; port < 0x3e0; port++) {
        g_assert_null(aspace_find(m->pio, port));
    }
    g_assert_null(aspace_find(m->mmio, 0xa0000));
    for (struct pci_device *pci = pci_device_next(m->pci, 0); pci;
         pci = pci_device_next(m->pci, pci->devfn + 1u)) {
        g_assert_cmphex(pci->config[0x0b], !=, 0x03);
    }
    board_end(m, &desc);
}

/* ---- ioreqs ---- */

struct pages {
    struct ioreq_core core;
    struct ioreq *slot;
};

static void on_notify(void *opaque, unsigned vcpu)
{
}

static void pages_new(struct pages *p, struct machine *m)
{
    memset(p, 0, sizeof(*p));
    p->slot = aligned_alloc(4096, 4096);
    memset(p->slot, 0, 4096);
    p->core.machine = m;
    p->core.slot = p->slot;
    p->core.vcpus = 1;
    p->core.notify = on_notify;
}

static void pages_free(struct pages *p)
{
    ioreq_core_clear(&p->core);
    free(p->slot);
}

/*
 * XSA-199, CVE-2016-9637: the port of a request was not looked at beyond its type, and indexed a
 * table of 65536 with 64 bits.
 */
static void test_199(void)
{
    static const uint64_t ports[] = {0x10000,    0x100cf,           0xffff,    0xfffffffe,
                                     UINT32_MAX, UINT64_C(1) << 47, UINT64_MAX};
    struct machine_desc desc;
    struct machine *m = board_new(true, &desc);
    struct pages p;

    pages_new(&p, m);
    for (unsigned i = 0; i < G_N_ELEMENTS(ports) * 2; i++) {
        p.slot[0] = (struct ioreq){.type = IOREQ_TYPE_PIO,
                                   .dir = i & 1,
                                   .addr = ports[i / 2],
                                   .size = 4,
                                   .count = 1,
                                   .state = STATE_IOREQ_READY};
        ioreq_core_serve(&p.core, 0);
        g_assert_cmpuint(p.slot[0].state, ==, STATE_IORESP_READY);
        if (i & 1) {
            g_assert_cmphex((uint32_t)p.slot[0].data, ==, 0xffffffff);
        }
    }
    pages_free(&p);
    board_end(m, &desc);
}

/*
 * XSA-262, CVE-2018-10981: a device model that set the state of a slot as it pleased kept Xen in a
 * loop. What is no request is not touched; a state that does not exist ends as NONE.
 */
static void test_262(void)
{
    struct machine_desc desc;
    struct machine *m = board_new(false, &desc);
    struct pages p;

    pages_new(&p, m);
    for (unsigned state = 0; state < 16; state++) {
        struct ioreq before;

        if (state == STATE_IOREQ_READY) {
            continue;
        }
        memset(&p.slot[0], 0xa5, sizeof(p.slot[0]));
        p.slot[0].state = state & 15;
        before = p.slot[0];
        ioreq_core_serve(&p.core, 0);
        if (state <= STATE_IORESP_READY) {
            g_assert_cmpmem(&before, sizeof(before), &p.slot[0], sizeof(p.slot[0]));
        } else {
            g_assert_cmpuint(p.slot[0].state, ==, STATE_IOREQ_NONE);
        }
    }
    pages_free(&p);
    board_end(m, &desc);
}

/* ---- VGA ---- */

struct screen {
    struct machine *m;
    struct display_watch *watch;
    struct device *vga;
};

static void on_damaged(void *opaque, unsigned x, unsigned y, unsigned w, unsigned h)
{
    g_assert_cmpuint(x + w, <=, DISPLAY_WIDTH_MAX);
    g_assert_cmpuint(y + h, <=, DISPLAY_HEIGHT_MAX);
}

static const struct display_viewer viewer = {.damaged = on_damaged};

static void screen_new(struct screen *s)
{
    s->m = fake_machine_new();
    s->m->display = display_new();
    s->vga = fake_pci_device(s->m, &std_vga_class, VGA_DEVFN, "vgamem_mb=1", NULL);
    machine_complete(s->m);
    machine_start(s->m);
    s->watch = display_watch(s->m->display, &viewer, s);
}

static void screen_free(struct screen *s)
{
    struct display *d = s->m->display;

    fake_machine_free(s->m);
    display_unwatch(s->watch);
    display_free(d);
}

static void vbe(struct screen *s, unsigned index, unsigned value)
{
    aspace_write(s->m->pio, 0x1ce, index, 2);
    aspace_write(s->m->pio, 0x1cf, value, 2);
}

static void indexed(struct screen *s, unsigned port, unsigned index, unsigned value)
{
    aspace_write(s->m->pio, port, value << 8 | index, 2);
}

static uint32_t sum_of_picture(struct screen *s)
{
    unsigned width = 0, height = 0;
    const uint32_t *pixels = look_at(s->m->display, true, &width, &height);
    uint32_t sum = 0;

    for (size_t i = 0; pixels && i < (size_t)width * height; i++) {
        sum += pixels[i];
    }
    return sum;
}

/* Every corner of the window, in every width. */
static void touch_window(struct screen *s)
{
    static const uint32_t at[] = {0, 3, 0x7ffd, 0x7fff, 0x8000, 0xfffc, 0xffff, 0x10000, 0x1fff9};

    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            aspace_write(s->m->mmio, 0xa0000 + at[i], UINT64_MAX / 3, size);
            aspace_read(s->m->mmio, 0xa0000 + at[i], size);
        }
    }
}

/*
 * XSA-179, CVE-2016-3710 and -3712: the bank of VBE was checked against another size than the one
 * the window used; and VGA registers changed while a VBE mode was on made the same window larger.
 */
static void test_179(void)
{
    struct screen s;

    screen_new(&s);
    vbe(&s, 1, 640);
    vbe(&s, 2, 400);
    vbe(&s, 3, 8);
    vbe(&s, 4, 1);
    for (unsigned bank = 0; bank <= 0xffff; bank += bank < 0x40 ? 1 : 0x111) {
        vbe(&s, 5, bank);
        touch_window(&s);
    }
    for (unsigned how = 0; how < 64; how++) {
        indexed(&s, 0x3c4, 4, (how & 1 ? 8 : 0) | (how & 2 ? 0 : 4) | 2); /* chain 4, odd/even */
        indexed(&s, 0x3ce, 6, how >> 2 & 15);                             /* the window's place */
        indexed(&s, 0x3ce, 5, how & 3);
        indexed(&s, 0x3ce, 5, 0x60 | (how & 3));
        for (unsigned bank = 0; bank <= 0x20; bank += 5) {
            vbe(&s, 5, bank);
            touch_window(&s);
        }
        sum_of_picture(&s);
    }
    screen_free(&s);
}

/* What a picture of `s` reads, with the start address at the end of memory and a split screen. */
static void extreme_registers(struct screen *s, unsigned how)
{
    indexed(s, 0x3d4, 0x11, 0); /* the others may be written */
    indexed(s, 0x3d4, 0x0c, 0xff);
    indexed(s, 0x3d4, 0x0d, 0xff);
    indexed(s, 0x3d4, 0x13, how & 1 ? 0xff : 0);
    indexed(s, 0x3d4, 0x18, how & 2 ? 0x10 : 0xff);
    indexed(s, 0x3d4, 0x07, how & 4 ? 0xff : 0);
    indexed(s, 0x3d4, 0x09, how & 8 ? 0xff : 0);
    indexed(s, 0x3d4, 0x17, 0xa0 | (how & 0x4f));
    indexed(s, 0x3d4, 0x14, how & 16 ? 0x40 : 0);
    indexed(s, 0x3d4, 0x0e, 0xff);
    indexed(s, 0x3d4, 0x0f, 0xff);
    indexed(s, 0x3d4, 0x08, 0x7f);
    for (unsigned i = 0; i < 2; i++) {
        indexed(s, 0x3d4, 0x01, i ? 0xff : 0);
        indexed(s, 0x3d4, 0x12, i ? 0xff : 0);
        sum_of_picture(s);
    }
}

/*
 * XSA-211 (CVE-2016-9603), CVE-2017-13672, CVE-2018-5683, CVE-2018-7858: a picture was drawn from
 * beyond the end of video memory, because start address, line compare, offset or the font's place
 * were trusted.
 */
static void test_211(void)
{
    struct screen s;

    screen_new(&s);
    aspace_write(s.m->pio, 0x3c2, 0x67, 1);
    for (unsigned how = 0; how < 64; how++) {
        indexed(&s, 0x3ce, 6, how & 1);        /* text or graphics */
        indexed(&s, 0x3ce, 5, (how & 2) << 5); /* 256 colours */
        indexed(&s, 0x3c4, 3, 0x3f);           /* fonts at the end */
        indexed(&s, 0x3c4, 4, how & 4 ? 14 : 2);
        indexed(&s, 0x3c4, 1, how & 8 ? 9 : 0);
        aspace_read(s.m->pio, 0x3da, 1);
        aspace_write(s.m->pio, 0x3c0, 0x10, 1);
        aspace_write(s.m->pio, 0x3c0, how & 1, 1);
        aspace_write(s.m->pio, 0x3c0, 0x20, 1);
        extreme_registers(&s, how);
    }
    screen_free(&s);
}

/* The same kind by VBE: virtual width, offsets (CVE-2017-13673: an assertion on the surface). */
static void test_vbe_offsets(void)
{
    static const unsigned some[] = {0, 1, 0x7f, 0x280, 0x1000, 0x7fff, 0xffff};
    struct screen s;

    screen_new(&s);
    for (unsigned depth = 0; depth <= 33; depth++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(some); i++) {
            vbe(&s, 4, 0);
            vbe(&s, 1, some[i]);
            vbe(&s, 2, some[(i + depth) % G_N_ELEMENTS(some)]);
            vbe(&s, 3, depth);
            vbe(&s, 4, 0x41 | (depth & 2) << 4);
            for (unsigned k = 0; k < G_N_ELEMENTS(some); k++) {
                vbe(&s, 6, some[k]);
                vbe(&s, 8, some[(k + 1) % G_N_ELEMENTS(some)]);
                vbe(&s, 9, some[(k + i) % G_N_ELEMENTS(some)]);
            }
            sum_of_picture(&s);
        }
    }
    screen_free(&s);
}

/* ---- the small chips ---- */

/* CVE-2016-8669: a divisor of zero, and the time of a character was divided by it. */
static void test_serial_divisor(void)
{
    struct machine *m = fake_machine_new();

    fake_device(m, &isa_serial_class, NULL, "index=0", NULL);
    machine_complete(m);
    machine_start(m);
    for (unsigned divisor = 0; divisor < 0x10000; divisor = divisor * 5 + 1) {
        aspace_write(m->pio, 0x3fb, 0x80, 1);
        aspace_write(m->pio, 0x3f8, divisor & 0xff, 1);
        aspace_write(m->pio, 0x3f9, divisor >> 8, 1);
        aspace_write(m->pio, 0x3fb, 0x03, 1);
        aspace_write(m->pio, 0x3fa, 0xc7, 1);
        aspace_write(m->pio, 0x3f9, 0x0f, 1);
        for (unsigned i = 0; i < 40; i++) {
            aspace_write(m->pio, 0x3f8, i, 1);
        }
        fake_clock_step(m, 20 * NS_PER_MS);
        if (divisor == 0) { /* 1 next */
            aspace_read(m->pio, 0x3fa, 1);
        }
    }
    fake_machine_free(m);
}

/* Every byte of a saved state set to extremes; what is taken has to be harmless. */
static unsigned load_extremes(struct device *dev, void (*use)(struct machine *m))
{
    static const uint8_t extremes[] = {0xff, 0x80, 0x7f, 0x01};
    GByteArray *good = g_byte_array_new();
    unsigned refused = 0;

    state_save(dev->class->state, dev, good);
    for (guint at = 0; at < good->len; at++) {
        for (unsigned i = 0; i < sizeof(extremes); i++) {
            uint8_t before = good->data[at];
            struct state_plan *plan;
            GError *err = NULL;

            good->data[at] = extremes[i];
            plan = state_parse(dev->class->state, good->data, good->len, &err);
            good->data[at] = before;
            if (plan) {
                state_apply(plan, dev);
                state_plan_free(plan);
                use(dev->machine);
            } else {
                g_assert_nonnull(err);
                g_clear_error(&err);
                refused++;
            }
        }
    }
    g_byte_array_free(good, TRUE);
    return refused;
}

static void use_keyboard(struct machine *m)
{
    for (unsigned i = 0; i < 300; i++) {
        aspace_read(m->pio, 0x64, 1);
        aspace_read(m->pio, 0x60, 1);
        aspace_write(m->pio, i % 3 ? 0x60 : 0x64, i % 3 ? 0xf2 : 0xd3, 1);
    }
}

/* CVE-2017-16845: read and write positions of the PS/2 queue were taken from a stream unchecked. */
static void test_ps2_queue(void)
{
    struct machine *m = fake_machine_new();
    struct input *input = m->input = input_new();
    struct device *dev;

    dev = fake_device(m, &i8042_class, NULL, NULL);
    machine_complete(m);
    machine_start(m);
    use_keyboard(m);
    g_assert_cmpuint(load_extremes(dev, use_keyboard), >, 0);
    fake_machine_free(m);
    input_free(input);
}

static void use_vga(struct machine *m)
{
    aspace_write(m->mmio, 0xa0000, 0x55, 4);
    aspace_read(m->mmio, 0xaffff, 1);
    aspace_read(m->pio, 0x1cf, 2);
    aspace_read(m->pio, 0x3c9, 1);
    aspace_write(m->pio, 0x3c9, 1, 1);
    aspace_read(m->pio, 0x3c1, 1);
}

/* The same kind for the VGA's indices and modes, as with CVE-2013-4526 and its many siblings. */
static void test_vga_state(void)
{
    struct screen s;

    screen_new(&s);
    g_assert_cmpuint(load_extremes(s.vga, use_vga), >, 0);
    screen_free(&s);
}

/* ---- the log ---- */

/*
 * XSA-180 (CVE-2014-3672), XSA-130: what a guest makes the device model say filled the disk of the
 * host. A million messages are less than what a day may have.
 */
static void test_180(void)
{
    g_autofree char *file = g_build_filename(g_get_tmp_dir(), "xendm-xsa-180-XXXXXX", NULL);
    int log = g_mkstemp(file), before = dup(STDERR_FILENO);
    struct stat st;

    g_assert_cmpint(log, >=, 0);
    g_assert_cmpint(dup2(log, STDERR_FILENO), >=, 0);
    for (unsigned i = 0; i < 1000000; i++) {
        log_guest(i & 1 ? LOG_PLATFORM : LOG_IDE, "message %u of a guest that has much to say", i);
    }
    dup2(before, STDERR_FILENO);
    g_assert_cmpint(fstat(log, &st), ==, 0);
    g_assert_cmpint(st.st_size, <, 1 << 20);
    close(before);
    close(log);
    unlink(file);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xsa/119-no-display-wanted", test_119);
    g_test_add_func("/xsa/133-no-floppy-controller", test_133);
    g_test_add_func("/xsa/179-vga-bank", test_179);
    g_test_add_func("/xsa/180-guest-log", test_180);
    g_test_add_func("/xsa/199-port-beyond-16-bits", test_199);
    g_test_add_func("/xsa/211-vga-picture", test_211);
    g_test_add_func("/xsa/262-only-requests", test_262);
    g_test_add_func("/xsa/cve-2016-8669-serial-divisor", test_serial_divisor);
    g_test_add_func("/xsa/cve-2017-13673-vbe-offsets", test_vbe_offsets);
    g_test_add_func("/xsa/cve-2017-16845-ps2-queue", test_ps2_queue);
    g_test_add_func("/xsa/cve-2013-4526-state-of-vga", test_vga_state);
    return g_test_run();
}
