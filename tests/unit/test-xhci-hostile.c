/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: what no driver would do. The numbers are of what others met: rings of links, lists without
 * an end, lengths that were believed, registers as buffers.
 */
#include <errno.h>
#include <string.h>

#include <xendm/log.h>

#include "xhci-fixture.h"

static uint64_t reads(struct bench *b)
{
    return b->m->dma.reads;
}

/*
 * Rings that are nothing but links (CVE-2016-8576): a bounded number of reads, an error, and the
 * controller lives on.
 */
static void test_links(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);
    uint64_t before;

    put_trb(&b, RING(slot, 1), RING(slot, 1), 0, TYPE(LINK) | 1);
    put_input(&b, 0, 0, 0, 0);
    g_assert_cmpuint(command(&b, 0, TYPE(STOP_EP) | FOR(slot, 1)), ==, 1);
    g_assert_cmpuint(command(&b, RING(slot, 1) | 1, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 1);
    before = reads(&b);
    ring(&b, slot, 1);
    g_assert_cmpuint(reads(&b) - before, <=, 64);
    want_event(&b, 32, 5);
    g_assert_cmpuint(output_state(&b, slot, 1), ==, 4);

    /* two of them, each the other's; the cycle is right both times */
    put_trb(&b, RING(slot, 1), RING(slot, 1) + 16, 0, TYPE(LINK) | TOGGLE | 1);
    put_trb(&b, RING(slot, 1) + 16, RING(slot, 1), 0, TYPE(LINK) | TOGGLE);
    g_assert_cmpuint(command(&b, RING(slot, 1) | 1, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 1);
    ring(&b, slot, 1);
    want_event(&b, 32, 5);

    /* behind a TRB that is chained */
    put_trb(&b, RING(slot, 1), 0x0012000001000680, 8, TYPE(SETUP) | IDT | 3u << 16 | 1);
    put_trb(&b, RING(slot, 1) + 16, DATA, 4, TYPE(STAGE_DATA) | IN | CHAIN | 1);
    put_trb(&b, RING(slot, 1) + 32, RING(slot, 1) + 32, 0, TYPE(LINK) | 1);
    g_assert_cmpuint(command(&b, RING(slot, 1) | 1, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 1);
    before = reads(&b);
    ring(&b, slot, 1);
    g_assert_cmpuint(reads(&b) - before, <=, 128);
    want_event(&b, 32, 5);

    /* the command ring: an error of the controller's own, until it is reset */
    put_trb(&b, RING(0, 0) + 16u * b.at[0][0], RING(0, 0) + 16u * b.at[0][0], 0, TYPE(LINK) | 1);
    before = reads(&b);
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    g_assert_cmpuint(reads(&b) - before, <=, 64);
    g_assert_cmphex(rd(&b, USBSTS) & 0x1000, ==, 0x1000);
    wr(&b, USBCMD, 5);
    no_event(&b);
    bench_start(&b, 256);
    g_assert_cmphex(rd(&b, USBSTS) & 0x1001, ==, 0);
    g_assert_cmpuint(command(&b, 0, TYPE(23)), ==, 1);
    bench_free(&b);
}

/*
 * Descriptors and rings that have no end, of TRBs that are valid (CVE-2017-5973, CVE-2020-14394): a
 * share of the time, at most, and an end where the guest did not set one.
 */
static void test_endless(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);
    uint64_t before;
    struct event e;

    /* a descriptor of which each TRB is chained to the next, in a circle */
    for (unsigned i = 0; i < 3; i++) {
        put_trb(&b, RING(slot, 1) + 16 * i, 0, 0, TYPE(EVENT_DATA) | CHAIN | 1);
    }
    put_trb(&b, RING(slot, 1) + 48, RING(slot, 1), 0, TYPE(LINK) | CHAIN | 1);
    ring(&b, slot, 1);
    before = reads(&b);
    for (unsigned i = 0; i < 1000 && !peek_event(&b, &e); i++) {
        fake_clock_step(b.m, NS_PER_MS);
        settle(&b);
    }
    g_assert_cmpuint(reads(&b) - before, <=, 40000);
    want_event(&b, 32, 5);

    /* a ring of descriptors that all are done: at most 512 in a millisecond */
    put_trb(&b, RING(slot, 1), 0, 0, TYPE(NOOP) | 1);
    put_trb(&b, RING(slot, 1) + 16, RING(slot, 1), 0, TYPE(LINK) | 1);
    g_assert_cmpuint(command(&b, RING(slot, 1) | 1, TYPE(SET_DEQ) | FOR(slot, 1)), ==, 1);
    fake_clock_step(b.m, NS_PER_MS);
    before = reads(&b);
    ring(&b, slot, 1);
    g_assert_cmpuint(reads(&b) - before, <=, 1100);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), !=, VTIMER_OFF);
    before = reads(&b);
    for (unsigned i = 0; i < 10; i++) {
        fake_clock_step(b.m, NS_PER_MS);
        settle(&b);
    }
    g_assert_cmpuint(reads(&b) - before, <=, 11 * 1100);
    /* others get on beside it, and it can be stopped */
    push(&b, 0, 0, 0, 0, TYPE(23));
    wr(&b, DOORBELL(0), 0);
    fake_clock_step(b.m, NS_PER_MS);
    want_event(&b, 33, 1);
    push(&b, 0, 0, 0, 0, TYPE(STOP_EP) | FOR(slot, 1));
    wr(&b, DOORBELL(0), 0);
    fake_clock_step(b.m, NS_PER_MS);
    want_event(&b, 32, 26);
    want_event(&b, 33, 1);
    fake_clock_step(b.m, NS_PER_MS);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    bench_free(&b);
}

/* Lengths: of a TRB, of SETUP, of immediate data, of a packet in crumbs. */
static void test_lengths(void)
{
    static const struct {
        const char *what;
        unsigned dci;
        uint64_t parameter;
        uint32_t status, control;
    } cases[] = {
        {"more than 64 KiB", 3, DATA, 0x1ffff, TYPE(NORMAL)},
        {"SETUP of 7", 1, 0, 7, TYPE(SETUP) | IDT},
        {"SETUP in memory", 1, DATA, 8, TYPE(SETUP)},
        {"immediate, of 9", 4, 0, 9, TYPE(NORMAL) | IDT},
        {"immediate, of 64 KiB", 4, 0, 0x10000, TYPE(NORMAL) | IDT},
        {"immediate, from the device", 3, 0, 8, TYPE(NORMAL) | IDT},
        {"SETUP of a bulk endpoint", 4, 0, 8, TYPE(SETUP) | IDT},
        {"isochronous", 4, 0, 8, TYPE(5)},
        {"a command", 4, 0, 8, TYPE(23)},
        {"an event", 3, 0, 8, TYPE(32)},
        {"data that no stage begins", 1, DATA, 8, TYPE(NORMAL)},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct bench b = bench_new();
        unsigned slot = attach_stick(&b);

        g_test_message("%s", cases[i].what);
        push(&b, slot, cases[i].dci, cases[i].parameter, cases[i].status, cases[i].control);
        ring(&b, slot, cases[i].dci);
        want_event(&b, 32, 5);
        g_assert_cmpuint(output_state(&b, slot, cases[i].dci), ==, 4);
        bench_free(&b);
    }
}

static void test_crumbs(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b);

    put_cbw(&b, DATA, 0, false, 0, 0, 0);
    for (unsigned i = 0; i < 31; i++) { /* a command block of 31 TRBs */
        push(&b, slot, 4, DATA + i, 1, TYPE(NORMAL) | (i < 30 ? CHAIN : IOC));
    }
    ring(&b, slot, 4);
    want_event(&b, 32, 1);
    push(&b, slot, 3, DATA, 13, TYPE(NORMAL) | IOC);
    ring(&b, slot, 3);
    want_event(&b, 32, 1);
    for (unsigned i = 0; i < 40; i++) { /* and one that is more than a packet has */
        push(&b, slot, 4, DATA + i, 1, TYPE(NORMAL) | CHAIN);
    }
    ring(&b, slot, 4);
    want_event(&b, 32, 5);
    bench_free(&b);
}

/* The guest has not given the rest of a descriptor yet: later, and as if it always had. */
static void test_late(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_stick(&b);

    put_cbw(&b, DATA, 0, false, 0, 0, 0);
    push(&b, slot, 4, DATA, 20, TYPE(NORMAL) | CHAIN);
    ring(&b, slot, 4);
    no_event(&b);
    push(&b, slot, 4, DATA + 20, 11, TYPE(NORMAL) | IOC);
    ring(&b, slot, 4);
    want_event(&b, 32, 1);
    bench_free(&b);
}

/*
 * Memory that is none (CVE-2020-25084: what could not be mapped was used all the same), and the
 * controller's own registers as memory (CVE-2021-3750): a host system error, and after a reset it
 * works.
 */
static void test_memory(void)
{
    static const uint64_t bad[] = {0xe0000000, BAR, BAR + 0x2000, 0xfffffffffffffff0, 0x00fffffc};

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (unsigned what = 0; what < 6; what++) {
            struct bench b = bench_new();
            unsigned slot = attach_device(&b, FIRST2, 0);

            push(&b, slot, 1, 0x0012000001000680, 8, TYPE(SETUP) | IDT | 3u << 16);
            switch (what) {
            case 0: /* data */
                push(&b, slot, 1, bad[i], 18, TYPE(STAGE_DATA) | IN);
                ring(&b, slot, 1);
                break;
            case 1: /* a ring */
                push(&b, slot, 1, bad[i], 0, TYPE(LINK));
                ring(&b, slot, 1);
                break;
            case 2: /* an input context */
                push(&b, 0, 0, bad[i], 0, TYPE(EVALUATE) | FOR(slot, 0));
                wr(&b, DOORBELL(0), 0);
                break;
            case 3: /* the segment table */
                wr(&b, ERSTBA, (uint32_t)bad[i]);
                wr(&b, ERSTBA + 4, (uint32_t)(bad[i] >> 32));
                push(&b, 0, 0, 0, 0, TYPE(23));
                wr(&b, DOORBELL(0), 0);
                break;
            case 4: /* a segment */
                store_le64(mem(&b, ERST), bad[i]);
                wr(&b, ERSTBA, ERST);
                wr(&b, ERDP, (uint32_t)bad[i] & ~63u);
                wr(&b, ERDP + 4, (uint32_t)(bad[i] >> 32));
                push(&b, 0, 0, 0, 0, TYPE(23));
                wr(&b, DOORBELL(0), 0);
                break;
            default: /* the device context array */
                wr(&b, DCBAAP, (uint32_t)bad[i]);
                wr(&b, DCBAAP + 4, (uint32_t)(bad[i] >> 32));
                push(&b, 0, 0, 0, 0, TYPE(ENABLE));
                push(&b, 0, 0, INPUT, 0, TYPE(ADDRESS) | FOR(2, 0));
                wr(&b, DOORBELL(0), 0);
                break;
            }
            settle(&b);
            if (what == 0 || what == 2 ||
                bad[i] != 0x00fffffc) { /* aligned, it is the end of memory */
                g_assert_cmphex(rd(&b, USBSTS) & 5, ==, 5);
                g_assert_cmphex(rd(&b, USBCMD) & 1, ==, 0);
            }
            bench_start(&b, 256);
            wr(&b, DCBAAP + 4, 0);
            attach_device(&b, FIRST2, 0);
            bench_free(&b);
        }
    }
}

/* Segment tables that say nothing sensible: no events, and no harm. */
static void test_segments(void)
{
    static const uint32_t sizes[] = {0, 1, 15, 4097, 0xffff};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct bench b = bench_new();

        store_le32(mem(&b, ERST + 8), sizes[i]);
        wr(&b, ERSTBA, ERST);
        push(&b, 0, 0, 0, 0, TYPE(23));
        wr(&b, DOORBELL(0), 0);
        no_event(&b);
        bench_free(&b);
    }
}

/* A dequeue pointer outside of the segment: all waits until it is inside. */
static void test_pointer(void)
{
    struct bench b = bench_new();

    wr(&b, ERDP, 0x700000);
    push(&b, 0, 0, 0, 0, TYPE(23));
    wr(&b, DOORBELL(0), 0);
    no_event(&b);
    wr(&b, ERDP, EVENTS);
    want_event(&b, 33, 1);
    bench_free(&b);
}

/* Contexts overlap with rings and with each other; a loop of events that are commands. */
static void test_overlap(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0);

    store_le64(mem(&b, DCBAA + 8 * (slot + 1)), RING(0, 0));
    command(&b, 0, TYPE(ENABLE));
    reset_port(&b, FIRST2 + 1);
    put_input(&b, 0, 3, FIRST2 + 1, 0);
    put_endpoint(&b, slot + 1, 1, 4, 8, 0);
    push(&b, 0, 0, INPUT, 0, TYPE(ADDRESS) | FOR(slot + 1, 0));
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    /* the answer to a request goes into the ring that asked */
    push(&b, slot, 1, 0x0012000001000680, 8, TYPE(SETUP) | IDT | 3u << 16);
    push(&b, slot, 1, RING(slot, 1), 18, TYPE(STAGE_DATA) | IN);
    push(&b, slot, 1, 0, 0, TYPE(STAGE_STATUS) | IOC);
    ring(&b, slot, 1);
    /* events go where the commands are */
    store_le64(mem(&b, ERST), RING(0, 0));
    wr(&b, ERDP, RING(0, 0));
    wr(&b, ERSTBA, ERST);
    wr(&b, DOORBELL(0), 0);
    settle(&b);
    bench_start(&b, 256);
    attach_device(&b, FIRST2, 0);
    bench_free(&b);
}

/* Routes that lead nowhere, too far, or through what is no hub. */
static void test_routes(void)
{
    static const uint32_t routes[] = {1, 3, 8, 9, 15, 0x22, 0x12, 0xfffff, 0x22222, 0x10002};
    struct bench b = bench_new();
    unsigned hub = attach_hid(&b, FIRST2 + 2, 0);

    g_assert_cmpuint(control(&b, hub, 0x23, 3, 4, 2, 0, 0), ==, 1);
    reset_port(&b, FIRST2);
    command(&b, 0, TYPE(ENABLE));
    store_le64(mem(&b, DCBAA + 16), OUTPUT(2));
    for (unsigned i = 0; i < G_N_ELEMENTS(routes); i++) {
        for (unsigned port = FIRST2; port < FIRST2 + 3; port += 2) {
            put_input(&b, 0, 3, port, routes[i]);
            put_endpoint(&b, 2, 1, 4, 8, 0);
            g_assert_cmpuint(command(&b, INPUT, TYPE(ADDRESS) | FOR(2, 0)), ==, 4);
        }
    }
    bench_free(&b);
}

/* More endpoints than there are, in 64 slots at one device's port. */
static void test_resources(void)
{
    struct bench b = bench_new();
    unsigned slot = attach_device(&b, FIRST2, 0), code = 1;
    uint32_t all = 1;

    for (unsigned dci = 2; dci < 32; dci++) {
        all |= 1u << dci;
    }
    put_input(&b, 0, all, FIRST2, 0);
    for (unsigned dci = 2; dci < 32; dci++) {
        put_endpoint(&b, slot, dci, dci & 1 ? 6 : 2, 64, 0);
    }
    g_assert_cmpuint(command(&b, INPUT, TYPE(CONFIGURE) | FOR(slot, 0)), ==, 1);
    for (unsigned i = 0; i < 6 && code == 1; i++) { /* disabled and had again */
        store_le32(mem(&b, INPUT), all & ~1u);
        code = command(&b, INPUT, TYPE(CONFIGURE) | FOR(slot, 0));
    }
    g_assert_cmpuint(code, ==, 1);
    bench_free(&b);
}

/* The controller is pulled with all that is in flight, and nothing stays (CVE-2016-7466). */
static void test_gone(void)
{
    for (unsigned i = 0; i < 20; i++) {
        struct bench b = bench_new();
        unsigned slot = attach_stick(&b), tablet = attach_hid(&b, FIRST2, 0);

        push(&b, tablet, 3, DATA + 0x80, 8, TYPE(NORMAL) | IOC);
        ring(&b, tablet, 3);
        put_cbw(&b, DATA, 65536, true, 0x28, 0, 128);
        push(&b, slot, 4, DATA, 31, TYPE(NORMAL) | IOC);
        push(&b, slot, 3, DATA + 0x1000, 65536, TYPE(NORMAL) | IOC);
        b.block->hold = true;
        ring(&b, slot, 4);
        ring(&b, slot, 3);
        for (unsigned n = 0; n < i % 4; n++) {
            fake_block_complete(b.block, 0);
            settle(&b);
        }
        device_unplug(b.hc);
        settle(&b);
        fake_block_complete_all(b.block);
        settle(&b);
        fake_clock_step(b.m, NS_PER_S);
        g_assert_cmphex(rd(&b, 0), ==, UINT32_MAX);
        for (unsigned n = 0; n < 1000 && b.m->devices->len > 0; n++) {
            g_usleep(1000);
            settle(&b);
        }
        g_assert_cmpuint(b.m->devices->len, ==, 0);
        bench_free(&b);
    }
}

/* ---- streams ---- */

/* Damaged in all ways (CVE-2014-5263: a list of fields that did not end). */
static void test_state(void)
{
    struct bench b = bench_new(), c = bench_bare();
    unsigned slot = attach_stick(&b);
    GRand *rand = g_rand_new_with_seed(3);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    unsigned taken = 0;

    log_set_level("all", "error");
    push(&b, slot, 3, DATA, 512, TYPE(NORMAL));
    ring(&b, slot, 3);
    b.hc->class->quiesce(b.hc);
    state_save(b.hc->class->state, b.hc, saved);
    for (unsigned i = 0; i < 3000; i++) {
        g_autoptr(GByteArray) damaged = g_byte_array_new();
        g_autoptr(GError) err = NULL;
        struct state_plan *plan;

        g_byte_array_append(damaged, saved->data, saved->len);
        for (unsigned n = 0; n < i % 5; n++) {
            damaged->data[g_rand_int_range(rand, 0, (int)damaged->len)] = (uint8_t)g_rand_int(rand);
        }
        plan = state_parse_sized(c.hc->class->state, c.hc->class->size, damaged->data, damaged->len,
                                 &err);
        if (plan && state_fits(plan, c.hc, &err)) {
            state_apply(plan, c.hc);
            memcpy(mem(&c, 0), mem(&b, 0), 0x800000);
            c.hc->class->resume(c.hc);
            fake_clock_step(c.m, NS_PER_MS);
            settle(&c);
            wr(&c, DOORBELL(slot), 3);
            wr(&c, ERDP, EVENTS | 8);
            settle(&c);
            c.hc->class->quiesce(c.hc);
            taken++;
        }
        state_plan_free(plan);
    }
    g_assert_cmpuint(taken, >, 500);
    g_rand_free(rand);
    bench_free(&b);
    bench_free(&c);
}

/* ---- noise ---- */

static uint32_t some(GRand *rand, unsigned n)
{
    return (uint32_t)g_rand_int_range(rand, 0, (int)n);
}

static void noisy_trb(struct bench *b, GRand *rand, uint64_t at)
{
    static const uint8_t types[] = {1, 2,  3,  4,  6,  7,  8,  1,  3, 4,
                                    9, 10, 11, 12, 13, 14, 15, 16, 17};
    uint32_t type = some(rand, 20) ? types[some(rand, sizeof(types))] : some(rand, 64);
    uint64_t parameter = type == 2   ? 0x00120000010006800 >> 4
                         : type == 6 ? RING(some(rand, 3), some(rand, 5))
                         : type == 11 || type == 12 || type == 13 ? INPUT
                                                                  : DATA + some(rand, 0x1000);

    put_trb(b, at, parameter, type == 2 ? 8 : some(rand, 0x200) | some(rand, 2) << 22,
            TYPE(type) | FOR(some(rand, 4), some(rand, 5)) | (g_rand_int(rand) & 0x235) |
                (some(rand, 8) ? 1 : 0) |
                (type == 2        ? IDT
                 : some(rand, 30) ? 0
                                  : IDT));
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(7);
    struct bench b = bench_bare();

    log_set_level("all", "error");
    for (unsigned round = 0; round < 200; round++) {
        struct event e;

        bench_start(&b, some(rand, 3) ? 256 : 16);
        for (unsigned i = 0; i < 3; i++) {
            put_trb(&b, RING(0, 0) + 16 * i, 0, 0, TYPE(ENABLE) | 1);
        }
        wr(&b, PORTSC(FIRST2), 0x210);
        wr(&b, PORTSC(FIRST2 + 1), 0x210);
        wr(&b, PORTSC(FIRST2 + 2), 0x210);
        for (unsigned slot = 1; slot < 4; slot++) {
            store_le64(mem(&b, DCBAA + 8 * slot), OUTPUT(slot));
            put_input(&b, 0, 3, FIRST2 + slot - 1, 0);
            for (unsigned dci = 1; dci < 5; dci++) {
                put_endpoint(&b, slot, dci, dci == 1 ? 4 : dci & 1 ? 6 + some(rand, 2) : 2, 64, 3);
            }
            if (slot == 1) {
                b.at[0][0] = 3;
            }
            push(&b, 0, 0, INPUT, 0, TYPE(ADDRESS) | FOR(slot, 0));
            wr(&b, DOORBELL(0), 0);
            store_le32(mem(&b, INPUT + 4), 0x1d);
            push(&b, 0, 0, INPUT, 0, TYPE(CONFIGURE) | FOR(slot, 0));
            wr(&b, DOORBELL(0), 0);
            settle(&b);
            for (unsigned dci = 1; dci < 5; dci++) {
                for (unsigned i = 0; i < 20; i++) {
                    noisy_trb(&b, rand, RING(slot, dci) + 16 * i);
                }
            }
        }
        for (unsigned i = 8; i < 30; i++) {
            noisy_trb(&b, rand, RING(0, 0) + 16 * b.at[0][0] + 16 * (i - 8));
        }
        for (unsigned i = 0; i < 40; i++) {
            switch (some(rand, 7)) {
            case 0:
                aspace_write(b.m->mmio, BAR + some(rand, 0x2400) / 4 * 4, g_rand_int(rand), 4);
                break;
            case 1:
                wr(&b, DOORBELL(0), 0);
                break;
            case 2:
                input_relative(b.m->input, 1, 1, 0);
                input_sync(b.m->input);
                break;
            case 3:
                fake_clock_step(b.m, some(rand, 2000000));
                break;
            case 4:
                b.size ? next_event(&b, &e) : false;
                break;
            default:
                wr(&b, DOORBELL(1 + some(rand, 3)), 1 + some(rand, 4));
                break;
            }
            fake_block_complete_all(b.block);
        }
        settle(&b);
        for (unsigned i = 0; i < 0x2400; i += 4) {
            rd(&b, i);
        }
    }
    g_rand_free(rand);
    bench_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("usb", "error");
    g_test_add_func("/xhci/links", test_links);
    g_test_add_func("/xhci/endless", test_endless);
    g_test_add_func("/xhci/lengths", test_lengths);
    g_test_add_func("/xhci/crumbs", test_crumbs);
    g_test_add_func("/xhci/late", test_late);
    g_test_add_func("/xhci/memory", test_memory);
    g_test_add_func("/xhci/segments", test_segments);
    g_test_add_func("/xhci/pointer", test_pointer);
    g_test_add_func("/xhci/overlap", test_overlap);
    g_test_add_func("/xhci/routes", test_routes);
    g_test_add_func("/xhci/resources", test_resources);
    g_test_add_func("/xhci/gone", test_gone);
    g_test_add_func("/xhci/state-hostile", test_state);
    g_test_add_func("/xhci/noise", test_noise);
    return g_test_run();
}
