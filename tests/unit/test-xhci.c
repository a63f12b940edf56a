/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xHCI: what drivers do. What no driver would is in test-xhci-hostile.c. */
#include <errno.h>
#include <string.h>

#include <xendm/log.h>

#include "xhci-fixture.h"

static bool irq(struct bench *b)
{
    return b->m->hv->intx_level[5][0];
}

static void point(struct bench *b, int x, int y)
{
    input_absolute(b->m->input, x, y);
    input_sync(b->m->input);
    settle(b);
}

/* ---- registers ---- */

static void test_registers(void)
{
    struct bench b = bench_bare();

    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x01941033);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x08, 4), ==, 0x0c033003);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x60, 1), ==, 0x30);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x3d, 1), ==, 1);
    g_assert_cmphex(rd(&b, 0x00), ==, 0x01000040);
    g_assert_cmphex(rd(&b, 0x04), ==, 0x08001040);
    g_assert_cmphex(rd(&b, 0x10), ==, 0x00080001);
    g_assert_cmphex(rd(&b, 0x14), ==, 0x2000);
    g_assert_cmphex(rd(&b, 0x18), ==, 0x1000);
    g_assert_cmphex(rd(&b, 0x20), ==, 0x02000402);
    g_assert_cmphex(rd(&b, 0x24), ==, 0x20425355);
    g_assert_cmphex(rd(&b, 0x28), ==, 0x0405);
    g_assert_cmphex(rd(&b, 0x30), ==, 0x03000002);
    g_assert_cmphex(rd(&b, 0x38), ==, 0x0401);
    g_assert_cmphex(rd(&b, USBSTS), ==, 1);
    g_assert_cmphex(rd(&b, 0x48), ==, 1);
    g_assert_cmphex(rd(&b, PORTSC(1)), ==, 0x2a0);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)), ==, 0x206e1); /* full speed, polling */
    g_assert_cmphex(rd(&b, PORTSC(FIRST2 + 3)), ==, 0x2a0);
    g_assert_cmphex(rd(&b, PORTSC(9)), ==, 0);
    wr(&b, DOORBELL(0), 0); /* does not run */
    g_assert_cmphex(rd(&b, CRCR), ==, 0);

    bench_start(&b, 256);
    g_assert_cmphex(rd(&b, USBSTS), ==, 0);
    fake_clock_step(b.m, 1000 * 125000);
    g_assert_cmpuint(rd(&b, 0x1000), ==, 1000);
    fake_clock_step(b.m, 0x3fffLL * 125000);
    g_assert_cmpuint(rd(&b, 0x1000), ==, 999);
    g_assert_cmpuint(command(&b, 0, TYPE(23)), ==, 1);
    g_assert_cmphex(rd(&b, CRCR), ==, 8);
    wr(&b, USBCMD, 0);
    g_assert_cmphex(rd(&b, USBSTS) & 1, ==, 1);
    g_assert_cmphex(rd(&b, CRCR), ==, 0);
    wr(&b, USBCMD, 0x200); /* restore: an error, so that all is set up anew */
    g_assert_cmphex(rd(&b, USBSTS) & 0x400, ==, 0x400);
    g_assert_cmphex(rd(&b, USBCMD), ==, 0);
    bench_free(&b);
}

static void test_properties(void)
{
    struct machine *m = usb_machine_new(NULL);
    struct bench b = {.m = m};
    struct usb_device *dev;
    g_autoptr(GError) err = NULL;

    b.hc = fake_pci_device(m, &qemu_xhci_class, DEVFN, "p2=3", "p3=5", "slots=7", "intrs=1", NULL);
    pci_config_write(m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(m->pci, DEVFN, 0x04, 0x0006, 2);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0x000d1b36);
    g_assert_cmphex(rd(&b, 0x04), ==, 0x08000107);
    g_assert_cmphex(rd(&b, 0x28), ==, 0x0306);
    g_assert_cmphex(rd(&b, 0x38), ==, 0x0501);
    dev = usb_try_plug(m, &usb_tablet_class, "a", "4", &err); /* of USB 3 alone */
    g_assert_null(dev);
    g_clear_error(&err);
    dev = usb_try_plug(m, &usb_tablet_class, "b", "3", &err);
    g_assert_nonnull(dev);
    g_assert_cmphex(rd(&b, PORTSC(8)), ==, 0x206e1);
    usb_machine_free(m);
}

/* ---- devices ---- */

static void test_control(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);

    g_assert_cmpuint(b.tablet->address, ==, slot);
    g_assert_cmpuint(load_le32(mem(&b, OUTPUT(slot) + 12)), ==, slot | 2u << 27);
    g_assert_cmpuint(control(&b, slot, 0x80, 6, 0x100, 0, DATA, 18), ==, 1);
    g_assert_cmphex(load_le32(mem(&b, DATA + 8)), ==, 0x00010627);
    /* two descriptors' worth of room: what there is comes, and how much that was */
    push(&b, slot, 1, 0x0040000001000680, 8, TYPE(SETUP) | IDT | 3u << 16);
    push(&b, slot, 1, DATA, 64, TYPE(STAGE_DATA) | ISP | IN);
    push(&b, slot, 1, 0, 0, TYPE(STAGE_STATUS) | IOC);
    ring(&b, slot, 1);
    g_assert_cmpuint(LEFT(want_event(&b, 32, 13)), ==, 46);
    g_assert_cmpuint(LEFT(want_event(&b, 32, 1)), ==, 0);
    no_event(&b);
    bench_free(&b);
}

/* Nothing is asked of a tablet that has nothing, and what it has comes at once. */
static void test_interrupt(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_hid(&b, FIRST2, 0);
    int64_t before;
    uint64_t at;

    push(&b, slot, 3, DATA, 8, TYPE(NORMAL) | IOC);
    at = push(&b, slot, 3, DATA + 8, 8, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    no_event(&b);
    g_assert_cmpint(device_fact(b.hc, "endpoints that wait"), ==, 1);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    before = device_fact(b.hc, "naks");
    fake_clock_step(b.m, 3600 * NS_PER_S);
    settle(&b);
    g_assert_cmpint(device_fact(b.hc, "naks"), ==, before);

    point(&b, 0x1234, 0x4321);
    g_assert_cmpuint(LEFT(want_event(&b, 32, 13)), ==, 2);
    g_assert_cmphex(load_le32(mem(&b, DATA)), ==, 0x21123400);
    /* more: not before its interval of 8 ms */
    point(&b, 1, 1);
    no_event(&b);
    fake_clock_step(b.m, 7 * NS_PER_MS);
    no_event(&b);
    fake_clock_step(b.m, NS_PER_MS);
    g_assert_cmphex(want_event(&b, 32, 13).parameter, ==, at);
    g_assert_cmphex(load_le32(mem(&b, DATA + 8)), ==, 0x01000100);
    no_event(&b);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    bench_free(&b);
}

static void read_stick(struct bench *b, unsigned slot, uint32_t lba, uint16_t count)
{
    put_cbw(b, DATA, count * 512u, true, 0x28, lba, count);
    push(b, slot, 4, DATA, 31, TYPE(NORMAL) | IOC);
    ring(b, slot, 4);
    want_event(b, 32, 1);
}

/* A long read into pieces of odd lengths, on one bell. */
static void test_storage(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b), at = 0;
    static const unsigned piece[] = {1, 63, 64, 100, 4000, 8, 65536 - 4236};
    uint64_t last = 0;

    read_stick(&b, slot, 7, 128);
    for (unsigned i = 0; i < G_N_ELEMENTS(piece); i++) {
        last = push(&b, slot, 3, DATA + 0x1000 + at, piece[i],
                    TYPE(NORMAL) | (i < G_N_ELEMENTS(piece) - 1 ? CHAIN : IOC));
        at += piece[i];
    }
    g_assert_cmpuint(at, ==, 65536);
    at = (unsigned)push(&b, slot, 3, DATA + 64, 13, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    g_assert_cmphex(want_event(&b, 32, 1).parameter, ==, last);
    g_assert_cmphex(want_event(&b, 32, 1).parameter, ==, at);
    g_assert_cmpmem(mem(&b, DATA + 0x1000), 65536, b.block->data + 7 * 512, 65536);
    g_assert_cmphex(load_le32(mem(&b, DATA + 64)), ==, 0x53425355);
    g_assert_cmpuint(*mem(&b, DATA + 76), ==, 0);

    /* a write, its command block in two pieces: one packet */
    put_cbw(&b, DATA, 8192, false, 0x2a, 300, 16);
    memset(mem(&b, DATA + 0x1000), 0x5a, 8192);
    push(&b, slot, 4, DATA, 10, TYPE(NORMAL) | CHAIN);
    push(&b, slot, 4, DATA + 10, 21, TYPE(NORMAL) | IOC);
    push(&b, slot, 4, DATA + 0x1000, 8192, TYPE(NORMAL) | IOC);
    ring(&b, slot, 4);
    want_event(&b, 32, 1);
    want_event(&b, 32, 1);
    push(&b, slot, 3, DATA + 64, 13, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    want_event(&b, 32, 1);
    g_assert_cmpuint(*mem(&b, DATA + 76), ==, 0);
    for (unsigned i = 0; i < 8192; i++) {
        g_assert_cmphex(b.block->data[300 * 512 + i], ==, 0x5a);
    }
    bench_free(&b);
}

/* Event data TRBs say how much moved, also after a short packet (4.11.5.2). */
static void test_event_data(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);
    struct event e;

    push(&b, slot, 1, 0x00ff000001000680, 8, TYPE(SETUP) | IDT | 3u << 16);
    push(&b, slot, 1, DATA, 10, TYPE(STAGE_DATA) | CHAIN | IN);
    push(&b, slot, 1, DATA + 10, 100, TYPE(NORMAL) | CHAIN);
    push(&b, slot, 1, DATA + 110, 145, TYPE(NORMAL) | CHAIN);
    push(&b, slot, 1, 0x1122334455667788, 0, TYPE(EVENT_DATA) | IOC);
    push(&b, slot, 1, 0, 0, TYPE(STAGE_STATUS) | CHAIN);
    push(&b, slot, 1, 0xabcd, 0, TYPE(EVENT_DATA) | IOC);
    ring(&b, slot, 1);
    e = want_event(&b, 32, 13);
    g_assert_cmphex(e.parameter, ==, 0x1122334455667788);
    g_assert_cmphex(e.control & 4, ==, 4);
    g_assert_cmpuint(LEFT(e), ==, 18);
    e = want_event(&b, 32, 1);
    g_assert_cmphex(e.parameter, ==, 0xabcd);
    g_assert_cmpuint(LEFT(e), ==, 0);
    no_event(&b);
    /* data in the TRB itself */
    push(&b, slot, 1, 0x0000000000010900, 8, TYPE(SETUP) | IDT);
    push(&b, slot, 1, 0, 0, TYPE(STAGE_STATUS) | IN | IOC);
    push(&b, slot, 1, 0, 0, TYPE(NOOP) | IOC);
    ring(&b, slot, 1);
    want_event(&b, 32, 1);
    want_event(&b, 32, 1);
    g_assert_cmpuint(b.tablet->configuration, ==, 1);
    bench_free(&b);
}

static void test_immediate(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b);

    /* a command block of 8 + 23 bytes */
    put_cbw(&b, DATA, 0, false, 0, 0, 0);
    push(&b, slot, 4, load_le64(mem(&b, DATA)), 8, TYPE(NORMAL) | IDT | CHAIN);
    push(&b, slot, 4, DATA + 8, 23, TYPE(NORMAL) | IOC);
    ring(&b, slot, 4);
    want_event(&b, 32, 1);
    push(&b, slot, 3, DATA + 64, 13, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    want_event(&b, 32, 1);
    g_assert_cmphex(load_le32(mem(&b, DATA + 64)), ==, 0x53425355);
    bench_free(&b);
}

/* A mouse in port 2 of a hub in port 7: by its route. */
static void test_hub(void)
{
    struct bench b = bench_new();
    unsigned hub = attach_hid(&b, FIRST2 + 2, 0), mouse;

    g_assert_cmpuint(control(&b, hub, 0x23, 3, 4, 2, 0, 0), ==, 1); /* reset port 2 */
    push(&b, hub, 3, DATA, 8, TYPE(NORMAL) | IOC);
    ring(&b, hub, 3);
    want_event(&b, 32, 13);
    g_assert_cmphex(*mem(&b, DATA), ==, 4);
    mouse = attach_hid(&b, FIRST2 + 2, 2);
    g_assert_cmpuint(b.mouse->address, ==, mouse);
    push(&b, mouse, 3, DATA + 64, 8, TYPE(NORMAL) | IOC);
    ring(&b, mouse, 3);
    no_event(&b);
    input_relative(b.m->input, 5, 6, 0);
    input_sync(b.m->input);
    settle(&b);
    want_event(&b, 32, 13);
    g_assert_cmphex(load_le32(mem(&b, DATA + 64)), ==, 0x00060500);

    /* the hub's port is disabled: nobody answers */
    g_assert_cmpuint(control(&b, hub, 0x23, 1, 1, 2, 0, 0), ==, 1);
    push(&b, mouse, 3, DATA + 64, 8, TYPE(NORMAL) | IOC);
    fake_clock_step(b.m, NS_PER_S);
    ring(&b, mouse, 3);
    want_event(&b, 32, 4);
    g_assert_cmpuint(output_state(&b, mouse, 3), ==, 2);
    bench_free(&b);
}

static void test_stall(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);
    uint64_t deq;

    g_assert_cmpuint(control(&b, slot, 0x80, 6, 0x6300, 0, DATA, 18), ==, 6);
    g_assert_cmpuint(output_state(&b, slot, 1), ==, 2);
    g_assert_cmphex(load_le64(mem(&b, OUTPUT(slot) + 32 + 8)), ==, RING(slot, 1) + 0x11);
    ring(&b, slot, 1); /* halted: no effect */
    no_event(&b);
    g_assert_cmpuint(command(&b, RING(slot, 1) + 0x31, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 19);
    g_assert_cmpuint(command(&b, 0, TYPE(RESET_EP) | FOR(slot, 1)), ==, 1);
    g_assert_cmpuint(output_state(&b, slot, 1), ==, 3);
    deq = RING(slot, 1) + 16u * b.at[slot][1];
    g_assert_cmpuint(command(&b, deq | 1, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 1);
    g_assert_cmphex(load_le64(mem(&b, OUTPUT(slot) + 32 + 8)), ==, deq | 1);
    g_assert_cmpuint(control(&b, slot, 0x80, 6, 0x100, 0, DATA, 18), ==, 1);
    g_assert_cmpuint(output_state(&b, slot, 1), ==, 1);
    bench_free(&b);
}

/* Stopped in the middle of a transfer, then on with it, or with another. */
static void test_stop(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b);
    uint64_t at;
    struct event e;

    read_stick(&b, slot, 0, 16);
    b.block->hold = true;
    at = push(&b, slot, 3, DATA + 0x1000, 8192, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    while (fake_block_complete(b.block, 0) && b.block->submitted[BLOCK_READ] < 2) {
        settle(&b);
    }
    push(&b, 0, 0, 0, 0, TYPE(STOP_EP) | FOR(slot, 3));
    wr(&b, DOORBELL(0), 0);
    e = want_event(&b, 32, 26);
    g_assert_cmphex(e.parameter, ==, at);
    g_assert_cmpuint(LEFT(e), >, 0);
    want_event(&b, 33, 1);
    g_assert_cmpuint(output_state(&b, slot, 3), ==, 3);
    b.block->hold = false;
    fake_block_complete_all(b.block);
    no_event(&b);
    ring(&b, slot, 3);
    fake_block_complete_all(b.block);
    settle(&b);
    want_event(&b, 32, 1);
    g_assert_cmpmem(mem(&b, DATA + 0x1000), 8192, b.block->data, 8192);
    /* one that waits for a tablet: taken back */
    slot = attach_hid(&b, FIRST2, 0);
    push(&b, slot, 3, DATA, 8, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    push(&b, 0, 0, 0, 0, TYPE(STOP_EP) | FOR(slot, 3));
    wr(&b, DOORBELL(0), 0);
    g_assert_cmpuint(LEFT(want_event(&b, 32, 26)), ==, 8);
    want_event(&b, 33, 1);
    point(&b, 3, 3);
    no_event(&b);
    g_assert_cmpuint(command(&b, (RING(slot, 3) + 16) | 1, TYPE(SET_DEQ) | FOR(slot, 3)), ==, 1);
    push(&b, slot, 3, DATA + 8, 8, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    g_assert_cmphex(want_event(&b, 32, 13).parameter, ==, RING(slot, 3) + 16);
    /* nothing to stop: no transfer event */
    g_assert_cmpuint(command(&b, 0, TYPE(STOP_EP) | FOR(slot, 3)), ==, 1);
    bench_free(&b);
}

/* ---- commands ---- */

static void test_commands(void)
{
    struct bench b = bench_new();
    unsigned slot;
    struct event e;

    e = command_event(&b, 0, TYPE(23));
    g_assert_cmphex(e.control >> 24, ==, 0);
    g_assert_cmpuint(command(&b, 0, TYPE(22)), ==, 5);
    g_assert_cmpuint(command(&b, 0, TYPE(DISABLE) | FOR(1, 0)), ==, 11);
    g_assert_cmpuint(command(&b, 0, TYPE(DISABLE) | FOR(65, 0)), ==, 5);
    push(&b, 0, 0, 0, 0, TYPE(49)); /* NEC: the firmware's version */
    wr(&b, DOORBELL(0), 0);
    e = want_event(&b, 48, 1);
    g_assert_cmphex(e.status & 0xffff, ==, 0x3034);

    slot = attach_hid(&b, FIRST2, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(slot, 0)), ==, 5); /* flags */
    put_input(&b, 0, 3, FIRST2, 0);
    put_endpoint(&b, slot, 1, 4, 8, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(slot, 0)), ==, 19);
    /* a second slot for the same device */
    e = command_event(&b, 0, TYPE(ENABLE));
    store_le64(mem(&b, DCBAA + 16), OUTPUT(2));
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 5);
    put_input(&b, 0, 3, FIRST2 + 3, 0);
    put_endpoint(&b, 2, 1, 4, 8, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 4); /* empty */
    put_input(&b, 0, 3, 9, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 5); /* no such port */
    put_input(&b, 0, 3, FIRST2 + 1, 0);
    put_endpoint(&b, 2, 1, 4, 8, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 4); /* not reset */
    reset_port(&b, FIRST2 + 1);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | 0x200 | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(output_state(&b, 2, 0), ==, 1);
    g_assert_cmpuint(b.stick->address, ==, 0);
    g_assert_cmpuint(control(&b, 2, 0x80, 6, 0x100, 0, DATA, 8), ==, 1); /* at address 0 */
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 19);
    put_input(&b, 0, 3, FIRST2 + 1, 0);
    put_endpoint(&b, 2, 1, 4, 8, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(b.stick->address, ==, 2);

    /* the size of its packets turns out to be 64 */
    put_input(&b, 0, 2, FIRST2 + 1, 0);
    put_endpoint(&b, 2, 1, 4, 64, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(EVALUATE) | FOR(2, 0)), ==, 1);
    g_assert_cmphex(load_le32(mem(&b, OUTPUT(2) + 36)) >> 16, ==, 64);

    /* no isochronous endpoints, no streams, nothing that contradicts itself */
    put_input(&b, 0, 1 | 1u << 3, FIRST2 + 1, 0);
    put_endpoint(&b, 2, 3, 5, 64, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 8);
    put_endpoint(&b, 2, 3, 2, 64, 0); /* OUT, at an index of IN */
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 17);
    put_endpoint(&b, 2, 3, 6, 0, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 17);
    put_endpoint(&b, 2, 3, 6, 64, 0);
    store_le32(mem(&b, INPUT + 32 * 4), 3 << 10);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 17);
    put_endpoint(&b, 2, 3, 6, 64, 0);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 1); /* again */
    store_le32(mem(&b, INPUT), 1u << 3);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(command(&b, 0, TYPE(STOP_EP) | FOR(2, 5)), ==, 12);
    g_assert_cmpuint(command(&b, 0, TYPE(RESET_EP) | FOR(2, 3)), ==, 19);
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | 0x200 | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(output_state(&b, 2, 0), ==, 2);
    g_assert_cmpuint(output_state(&b, 2, 3), ==, 0);
    g_assert_cmpuint(command(&b, 0, TYPE(RESET_DEV) | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(output_state(&b, 2, 0), ==, 1);
    g_assert_cmpuint(command(&b, 0, TYPE(RESET_DEV) | FOR(2, 0)), ==, 19);
    g_assert_cmpuint(command(&b, 0, TYPE(DISABLE) | FOR(2, 0)), ==, 1);
    g_assert_cmpuint(command(&b, 0, TYPE(DISABLE) | FOR(2, 0)), ==, 11);
    for (unsigned i = 1; i < 64; i++) {
        g_assert_cmpuint(command(&b, 0, TYPE(ENABLE)), ==, 1);
    }
    g_assert_cmpuint(command(&b, 0, TYPE(ENABLE)), ==, 9);
    /* the ring stops, is moved, and goes on */
    wr(&b, CRCR, 4);
    want_event(&b, 33, 24);
    g_assert_cmphex(rd(&b, CRCR), ==, 0);
    wr(&b, CRCR + 4, 0);
    g_assert_cmpuint(command(&b, 0, TYPE(23)), ==, 1);
    bench_free(&b);
}

/* ---- events, interrupts ---- */

/* A ring of 16: nothing is lost, and all goes on when there is room (4.9.4). */
static void test_full(void)
{
    struct bench b = bench_bare();
    struct event e;
    unsigned n;

    bench_start(&b, 16);
    for (unsigned i = 0; i < 60; i++) {
        push(&b, 0, 0, i, 0, TYPE(23));
    }
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    for (n = 0; n < 15 && (load_le32(mem(&b, EVENTS + 16 * n + 12)) & 1); n++) {
    }
    g_assert_cmpuint(n, ==, 14);
    g_assert_cmpuint(load_le32(mem(&b, EVENTS + 16 * 13 + 12)) >> 10 & 63, ==, 37);
    for (unsigned i = 0; i < 60;) {
        g_assert_true(next_event(&b, &e));
        if (EVENT_TYPE(e) == 37) {
            g_assert_cmpuint(CODE(e), ==, 21);
            continue;
        }
        g_assert_cmphex(e.parameter, ==, RING(0, 0) + 16 * i);
        i++;
    }
    /* stopping is told of, too, when there is room */
    for (unsigned i = 0; i < 20; i++) {
        push(&b, 0, 0, i, 0, TYPE(23));
    }
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    wr(&b, CRCR, 2);
    g_assert_cmphex(rd(&b, CRCR), ==, 0);
    while (next_event(&b, &e) && CODE(e) != 24) {
    }
    g_assert_cmpuint(CODE(e), ==, 24);
    g_assert_cmphex(e.parameter, ==, RING(0, 0) + 16 * (60 + 13 - (RING_TRBS - 1)));
    no_event(&b);
    /* plugging, and once a change */
    wr(&b, PORTSC(FIRST2), 0x210);
    wr(&b, PORTSC(FIRST2), 0x210);
    settle(&b);
    while (next_event(&b, &e) && EVENT_TYPE(e) == 37) {
    }
    g_assert_cmpuint(EVENT_TYPE(e), ==, 34);
    no_event(&b);
    bench_free(&b);
}

static void test_irq(void)
{
    struct bench b = bench_new();
    unsigned before;

    push(&b, 0, 0, 0, 0, TYPE(23));
    wr(&b, DOORBELL(0), 0);
    g_assert_true(irq(&b));
    g_assert_cmphex(rd(&b, USBSTS) & 8, ==, 8);
    g_assert_cmphex(rd(&b, IMAN), ==, 3);
    wr(&b, USBSTS, 8);
    wr(&b, IMAN, 3);
    g_assert_false(irq(&b));
    push(&b, 0, 0, 0, 0, TYPE(23)); /* busy with the first one */
    wr(&b, DOORBELL(0), 0);
    g_assert_false(irq(&b));
    wr(&b, ERDP, (EVENTS + 16) | 8); /* … and another is there */
    g_assert_true(irq(&b));
    wr(&b, IMAN, 3);
    wr(&b, ERDP, (EVENTS + 32) | 8);
    g_assert_false(irq(&b));
    b.event_at = 2;

    /* MSI */
    pci_config_write(b.m->pci, DEVFN, 0x74, 0xfee00000, 4);
    pci_config_write(b.m->pci, DEVFN, 0x7c, 0x41, 2);
    pci_config_write(b.m->pci, DEVFN, 0x72, 1, 2);
    before = b.m->hv->msi_count;
    command(&b, 0, TYPE(23));
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 1);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x41);
    g_assert_cmphex(rd(&b, IMAN), ==, 2);
    g_assert_false(irq(&b));
    pci_config_write(b.m->pci, DEVFN, 0x72, 0, 2);
    /* MSI-X, of interrupter 0 */
    aspace_write(b.m->mmio, BAR + 0x3000, 0xfee00000, 4);
    aspace_write(b.m->mmio, BAR + 0x3004, 0, 4);
    aspace_write(b.m->mmio, BAR + 0x3008, 0x55, 4);
    aspace_write(b.m->mmio, BAR + 0x300c, 0, 4);
    pci_config_write(b.m->pci, DEVFN, 0x92, 0x8000, 2);
    command(&b, 0, TYPE(23));
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 2);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x55);
    /* not while it is switched off, then at once */
    wr(&b, IMAN, 0);
    command(&b, 0, TYPE(23));
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 2);
    wr(&b, IMAN, 2);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 3);
    bench_free(&b);
}

/* Another interrupter, and events that ask for no interrupt. */
static void test_interrupters(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);

    store_le64(mem(&b, ERST + 64), 0x300000);
    store_le64(mem(&b, ERST + 72), 16);
    wr(&b, ERSTSZ + 0x20, 1);
    wr(&b, ERDP + 0x20, 0x300000);
    wr(&b, ERSTBA + 0x20, ERST + 64);
    wr(&b, IMAN + 0x20, 2);
    push(&b, slot, 1, 0, 1u << 22, TYPE(NOOP) | IOC | BEI);
    ring(&b, slot, 1);
    g_assert_cmphex(load_le32(mem(&b, 0x300000 + 8)), ==, 1u << 24);
    g_assert_cmphex(rd(&b, IMAN + 0x20), ==, 2);
    push(&b, slot, 1, 0, 1u << 22, TYPE(NOOP) | IOC);
    ring(&b, slot, 1);
    g_assert_cmphex(rd(&b, IMAN + 0x20), ==, 3);
    no_event(&b);
    push(&b, slot, 1, 0, 999u << 22, TYPE(NOOP) | IOC); /* there is none: the first */
    ring(&b, slot, 1);
    want_event(&b, 32, 1);
    bench_free(&b);
}

/* ---- ports ---- */

static void test_plug(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_hid(&b, FIRST2, 0);

    push(&b, slot, 3, DATA, 8, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    device_unplug(&b.tablet->dev);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)), ==, 0x202a0);
    settle(&b);
    want_event(&b, 34, 1);
    want_event(&b, 32, 4); /* what waited */
    wr(&b, PORTSC(FIRST2), 0x20200);
    g_assert_cmpuint(command(&b, 0, TYPE(DISABLE) | FOR(slot, 0)), ==, 1);
    usb_plug(b.m, &usb_kbd_class, "kbd");
    settle(&b);
    want_event(&b, 34, 1);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)), ==, 0x206e1);
    attach_hid(&b, FIRST2, 0);
    /* an enabled port that the guest disables */
    wr(&b, PORTSC(FIRST2), 0x202);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)) & 0x3ff, ==, 0x2e1);
    g_assert_cmpuint(control(&b, slot, 0x80, 6, 0x100, 0, DATA, 18), ==, 4);
    bench_free(&b);
}

static void test_suspend(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_hid(&b, FIRST2, 0);

    g_assert_cmpuint(control(&b, slot, 0, 3, 1, 0, 0, 0), ==, 1); /* remote wake-up */
    push(&b, slot, 3, DATA, 8, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    wr(&b, PORTSC(FIRST2), 0x10260);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)) & 0x1e3, ==, 0x63);
    push(&b, 0, 0, 0, 0, TYPE(STOP_EP) | FOR(slot, 3));
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    want_event(&b, 32, 26);
    want_event(&b, 33, 1);
    point(&b, 5, 6);
    want_event(&b, 34, 1);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)) & 0x4001e3, ==, 0x4001e3);
    wr(&b, PORTSC(FIRST2), 0x410200);
    settle(&b);
    want_event(&b, 34, 1);
    g_assert_cmphex(rd(&b, PORTSC(FIRST2)) & 0x1e3, ==, 3);
    ring(&b, slot, 3);
    want_event(&b, 32, 13);
    bench_free(&b);
}

/* ---- bus mastering, saved state ---- */

static void test_no_master(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b);

    read_stick(&b, slot, 0, 128);
    push(&b, slot, 3, DATA + 0x1000, 65536, TYPE(NORMAL) | IOC);
    b.block->hold = true;
    ring(&b, slot, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(fake_block_complete(b.block, 0));
        settle(&b);
    }
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0002, 2);
    b.block->hold = false;
    fake_block_complete_all(b.block);
    settle(&b);
    ring(&b, slot, 3);
    ring(&b, 0, 0);
    g_assert_cmphex(rd(&b, USBSTS) & 0x1005, ==, 0);
    no_event(&b);
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0006, 2);
    for (unsigned i = 0; i < 100; i++) {
        fake_block_complete_all(b.block);
        settle(&b);
    }
    want_event(&b, 32, 1);
    g_assert_cmpmem(mem(&b, DATA + 0x1000), 65536, b.block->data, 65536);
    bench_free(&b);
}

static void round_trip(struct bench *from, struct bench *to)
{
    struct usb_device *a[] = {from->tablet, from->stick, from->hub, from->mouse};
    struct usb_device *b[] = {to->tablet, to->stick, to->hub, to->mouse};

    memcpy(mem(to, 0), mem(from, 0), 0x800000);
    memcpy(to->at, from->at, sizeof(to->at));
    memcpy(to->cycle, from->cycle, sizeof(to->cycle));
    to->size = from->size;
    to->event_at = from->event_at;
    to->event_cycle = from->event_cycle;
    from->hc->class->quiesce(from->hc);
    fake_state_round_trip(from->hc, to->hc);
    for (unsigned i = 0; i < G_N_ELEMENTS(a); i++) {
        if (a[i]->dev.class->quiesce) {
            a[i]->dev.class->quiesce(&a[i]->dev);
        }
        fake_state_round_trip(&a[i]->dev, &b[i]->dev);
        if (b[i]->dev.class->resume) {
            b[i]->dev.class->resume(&b[i]->dev);
        }
    }
    fake_clock_step(to->m, vclock_now(from->m->clock));
    to->hc->class->resume(to->hc);
    settle(to);
}

/* Moved between any two requests of the disk, with a tablet that is waited for. */
static void test_state(void)
{
    struct bench b = bench_new(), c;
    unsigned slot = attach_stick(&b), tablet = attach_hid(&b, FIRST2, 0);

    push(&b, tablet, 3, DATA + 0x80, 8, TYPE(NORMAL) | IOC);
    ring(&b, tablet, 3);
    read_stick(&b, slot, 3, 128);
    push(&b, slot, 3, DATA + 0x1000, 1000, TYPE(NORMAL) | CHAIN);
    push(&b, slot, 3, DATA + 0x1000 + 1000, 64536, TYPE(NORMAL) | IOC);
    b.block->hold = true;
    ring(&b, slot, 3);
    for (unsigned i = 0; i < 6; i++) {
        g_assert_true(fake_block_complete(b.block, 0));
        settle(&b);
        g_assert_true(b.block->pending.length > 0);
        fake_block_complete_all(b.block); /* quiesce waits for it */
        c = bench_bare();
        c.block->hold = true;
        round_trip(&b, &c);
        bench_free(&b);
        b = c;
    }
    b.block->hold = false;
    for (unsigned i = 0; i < 100; i++) {
        fake_block_complete_all(b.block);
        settle(&b);
    }
    want_event(&b, 32, 1);
    g_assert_cmpmem(mem(&b, DATA + 0x1000), 65536, b.block->data + 3 * 512, 65536);
    point(&b, 0x1234, 0x4321);
    want_event(&b, 32, 13);
    g_assert_cmphex(load_le32(mem(&b, DATA + 0x80)), ==, 0x21123400);
    bench_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("usb", "error");
    g_test_add_func("/xhci/registers", test_registers);
    g_test_add_func("/xhci/properties", test_properties);
    g_test_add_func("/xhci/control", test_control);
    g_test_add_func("/xhci/interrupt", test_interrupt);
    g_test_add_func("/xhci/storage", test_storage);
    g_test_add_func("/xhci/event-data", test_event_data);
    g_test_add_func("/xhci/immediate", test_immediate);
    g_test_add_func("/xhci/hub", test_hub);
    g_test_add_func("/xhci/stall", test_stall);
    g_test_add_func("/xhci/stop", test_stop);
    g_test_add_func("/xhci/commands", test_commands);
    g_test_add_func("/xhci/full", test_full);
    g_test_add_func("/xhci/irq", test_irq);
    g_test_add_func("/xhci/interrupters", test_interrupters);
    g_test_add_func("/xhci/plug", test_plug);
    g_test_add_func("/xhci/suspend", test_suspend);
    g_test_add_func("/xhci/no-master", test_no_master);
    g_test_add_func("/xhci/state", test_state);
    return g_test_run();
}
