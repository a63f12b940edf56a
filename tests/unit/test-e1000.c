/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82540EM as its drivers use it, what it must not do, and hostile use. */
#include <errno.h>

#include <zlib.h>

#include <xendm/net.h>

#include "nic-fixture.h"

#define MMIO 0xf0000000u
#define IO 0xc000u
#define BUF 0x20000u
#define TXD 0x60000u
#define RXD 0x70000u
#define RXBUF 0x80000u
#define RING 64u /* descriptors */

enum {
    CTRL = 0,
    STATUS = 8,
    EECD = 0x10,
    EERD = 0x14,
    MDIC = 0x20,
    ICR = 0xc0,
    ITR = 0xc4,
    ICS = 0xc8,
    IMS = 0xd0,
    IMC = 0xd8,
    RCTL = 0x100,
    TCTL = 0x400,
    RDBAL = 0x2800,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    RDTR = 0x2820,
    TDBAL = 0x3800,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    MPC = 0x4010,
    GPRC = 0x4074,
    GPTC = 0x4080,
    GOTCL = 0x4090,
    MTA = 0x5200,
    RAL = 0x5400,
    VFTA = 0x5600
};
enum { TXDW = 1, TXQE = 2, LSC = 4, RXDMT0 = 0x10, RXO = 0x40, RXT0 = 0x80 };
#define EOP 0x01000000u
#define RS_ 0x08000000u
#define DEXT 0x20000000u
#define DATA (DEXT | 0x00100000u)
#define TSE 0x04000000u

static uint32_t rd(struct box *b, unsigned reg)
{
    return (uint32_t)aspace_read(b->m->mmio, MMIO + reg, 4);
}

static void wr(struct box *b, unsigned reg, uint32_t value)
{
    aspace_write(b->m->mmio, MMIO + reg, value, 4);
}

static struct box box_new(void)
{
    return box_with(&e1000_class, MMIO, IO);
}

static void rings_on(struct box *b, uint32_t rctl)
{
    wr(b, RDBAL, RXD);
    wr(b, RDLEN, RING * 16);
    wr(b, TDBAL, TXD);
    wr(b, TDLEN, RING * 16);
    wr(b, TCTL, 2);
    wr(b, RCTL, 2 | rctl);
    wr(b, IMS, 0xffff);
    rd(b, ICR);
}

static uint16_t sum(const uint8_t *p, size_t len, uint32_t s)
{
    for (size_t i = 0; i < len; i++) {
        s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    }
    while (s >> 16) {
        s = (s & 0xffff) + (s >> 16);
    }
    return (uint16_t)s;
}

/* ---- identity ---- */

static void test_identity(void)
{
    struct box b = box_new();
    uint16_t total = 0;

    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x100e8086);
    g_assert_cmphex(rd(&b, RAL), ==, 0x0a3e1600);
    g_assert_cmphex(rd(&b, RAL + 4), ==, 0x80000c0b);
    for (unsigned i = 0; i < 64; i++) {
        wr(&b, EERD, i << 8 | 1);
        g_assert_cmphex(rd(&b, EERD) & 0x10, ==, 0x10);
        total = (uint16_t)(total + (rd(&b, EERD) >> 16));
    }
    g_assert_cmphex(total, ==, 0xbaba);
    wr(&b, EERD, 0xff01); /* beyond the end */
    g_assert_cmphex(rd(&b, EERD) >> 16, ==, 0);
    wr(&b, EECD, 0x40);
    g_assert_cmphex(rd(&b, EECD) & 0x180, ==, 0x180);
    out(b.m, IO, 0x5400, 4); /* by index and data */
    g_assert_cmphex(in(b.m, IO + 4, 4), ==, 0x0a3e1600);
    out(b.m, IO, 0xffffffff, 4);
    g_assert_cmphex(in(b.m, IO + 4, 4), ==, 0);
    wr(&b, RAL, 0x11223344);
    g_assert_cmphex(b.net->mac[0], ==, 0x44);
    wr(&b, CTRL, 0x04000000);
    g_assert_cmphex(rd(&b, RAL), ==, 0x0a3e1600);
    g_assert_cmphex(b.net->mac[0], ==, 0);
    box_free(&b);
}

static void eecd_bit(struct box *b, unsigned di)
{
    unsigned v = 0x42 | di << 2;

    wr(b, EECD, v);
    wr(b, EECD, v | 1);
}

static void test_eeprom_pins(void)
{
    struct box b = box_new();
    uint16_t word = 0;

    wr(&b, EECD, 0x40);
    for (int i = 8; i >= 0; i--) {
        eecd_bit(&b, (6u << 6 | 1) >> i & 1); /* READ word 1 */
    }
    for (int i = 0; i < 16; i++) {
        eecd_bit(&b, 0);
        word = (uint16_t)(word << 1 | (rd(&b, EECD) >> 3 & 1));
    }
    g_assert_cmphex(word, ==, 0x0a3e);
    box_free(&b);
}

static uint32_t mdic(struct box *b, unsigned reg, unsigned op, unsigned value)
{
    wr(b, MDIC, op << 26 | 1u << 21 | reg << 16 | value);
    g_assert_cmphex(rd(b, MDIC) & 0x10000000, ==, 0x10000000);
    return rd(b, MDIC);
}

static void test_phy(void)
{
    struct box b = box_new();

    g_assert_cmphex(mdic(&b, 2, 2, 0) & 0xffff, ==, 0x0141);
    g_assert_cmphex(mdic(&b, 3, 2, 0) & 0xffff, ==, 0x0c20);
    g_assert_cmphex(mdic(&b, 1, 2, 0) & 0x24, ==, 0x24);
    g_assert_cmphex(rd(&b, STATUS) & 2, ==, 2);
    mdic(&b, 4, 1, 0x05e1);
    g_assert_cmphex(mdic(&b, 4, 2, 0) & 0xffff, ==, 0x05e1);
    mdic(&b, 2, 1, 0xffff); /* its name cannot be changed */
    g_assert_cmphex(mdic(&b, 2, 2, 0) & 0xffff, ==, 0x0141);
    rd(&b, ICR);
    wr(&b, IMS, LSC);
    mdic(&b, 0, 1, 0x1340); /* negotiate again */
    g_assert_true(line(&b));
    g_assert_cmphex(rd(&b, ICR), ==, LSC);
    g_assert_false(line(&b));
    net_set_link(b.net, false);
    g_assert_cmphex(rd(&b, ICR), ==, LSC);
    g_assert_cmphex(rd(&b, STATUS) & 2, ==, 0);
    g_assert_cmphex(mdic(&b, 1, 2, 0) & 0x24, ==, 0);
    mdic(&b, 0, 1, 0x8000);
    g_assert_cmphex(mdic(&b, 4, 2, 0) & 0xffff, ==, 0x0de1);
    wr(&b, MDIC, 2u << 26 | 2u << 21); /* another PHY's address */
    g_assert_cmphex(rd(&b, MDIC) >> 30, ==, 1);
    box_free(&b);
}

static void test_interrupts(void)
{
    struct box b = box_new();

    wr(&b, ICS, RXT0);
    g_assert_false(line(&b));
    wr(&b, IMS, RXT0 | TXDW);
    g_assert_true(line(&b));
    g_assert_cmphex(rd(&b, IMS), ==, RXT0 | TXDW);
    wr(&b, IMC, RXT0);
    g_assert_false(line(&b));
    g_assert_cmphex(rd(&b, IMS), ==, TXDW);
    wr(&b, IMS, RXT0);
    wr(&b, ICR, RXT0);
    g_assert_false(line(&b));
    box_free(&b);
}

static void test_throttle(void)
{
    struct box b = box_new();

    wr(&b, IMS, RXT0);
    wr(&b, ITR, 400); /* 102.4 us */
    wr(&b, ICS, RXT0);
    g_assert_true(line(&b)); /* the first at once */
    rd(&b, ICR);
    wr(&b, ICS, RXT0);
    g_assert_false(line(&b));
    fake_clock_step(b.m, 102 * NS_PER_US);
    g_assert_false(line(&b));
    fake_clock_step(b.m, NS_PER_US);
    g_assert_true(line(&b));
    rd(&b, ICR);
    fake_clock_step(b.m, NS_PER_MS);
    g_assert_false(line(&b));
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF); /* idle: no timer */
    wr(&b, ICS, RXT0);
    g_assert_true(line(&b));
    box_free(&b);
}

/* ---- transmit ---- */

static void descriptor(struct box *b, uint32_t address, uint32_t lower, uint32_t upper)
{
    uint64_t at = TXD + b->tail * 16;

    st32(b, at, address);
    st32(b, at + 4, 0);
    st32(b, at + 8, lower);
    st32(b, at + 12, upper);
    b->tail = (b->tail + 1) % RING;
}

static void context(struct box *b, bool tse, unsigned mss, unsigned hdrlen)
{
    uint64_t at = TXD + b->tail * 16;

    st32(b, at, 14u | 24u << 8 | 33u << 16); /* IPCSS, IPCSO, IPCSE */
    st32(b, at + 4, 34u | 50u << 8);         /* TUCSS, TUCSO, to the end */
    st32(b, at + 8, DEXT | (tse ? TSE : 0) | 3u << 24 | 4000);
    st32(b, at + 12, hdrlen << 8 | mss << 16);
    b->tail = (b->tail + 1) % RING;
}

static void go(struct box *b)
{
    wr(b, TDT, b->tail);
}

static void test_legacy(void)
{
    struct box b = box_new();
    size_t len;

    rings_on(&b, 0);
    fill(mem(&b, BUF), 2000, 1);
    for (unsigned i = 0; i < RING * 2; i++) {
        descriptor(&b, BUF, EOP | RS_ | (60 + i), 0);
        go(&b);
        g_assert_cmpmem(fake_net_frame(b.net, i, &len), 60 + i, mem(&b, BUF), 60 + i);
        g_assert_cmpuint(rd(&b, TDH), ==, b.tail);
        g_assert_cmphex(*mem(&b, TXD + (b.tail + RING - 1) % RING * 16 + 12), ==, 1);
        g_assert_cmphex(rd(&b, ICR), ==, TXDW | TXQE);
    }
    g_assert_cmpuint(rd(&b, GPTC), ==, RING * 2);
    g_assert_cmpuint(rd(&b, GPTC), ==, 0); /* read clears */
    descriptor(&b, BUF, 100, 0);
    go(&b); /* the frame has no end yet */
    g_assert_cmpuint(b.net->sent->len, ==, RING * 2);
    g_assert_cmpuint(rd(&b, TDH), !=, rd(&b, TDT));
    descriptor(&b, BUF + 100, EOP | 200, 0); /* no report wanted */
    go(&b);
    g_assert_cmpmem(fake_net_frame(b.net, RING * 2, &len), 300, mem(&b, BUF), 300);
    g_assert_cmphex(*mem(&b, TXD + 1 * 16 + 12), ==, 0);
    box_free(&b);
}

static void test_waits(void)
{
    struct box b = box_new();

    rings_on(&b, 0);
    b.net->full = true;
    for (unsigned i = 0; i < 5; i++) {
        descriptor(&b, BUF, EOP | RS_ | 60, 0);
    }
    go(&b);
    g_assert_cmpuint(rd(&b, TDH), ==, 0);
    g_assert_cmphex(rd(&b, ICR), ==, 0);
    fake_net_writable(b.net);
    g_assert_cmpuint(b.net->sent->len, ==, 5);
    g_assert_cmphex(rd(&b, ICR), ==, TXDW | TXQE);
    box_free(&b);
}

static void ip_frame(uint8_t *f, size_t len)
{
    fill(f, len, 7);
    memcpy(f + 12, "\x08\x00\x45\x00", 4);
    f[16] = f[17] = 0; /* the chip's to fill in when it cuts */
    f[23] = 6;
    f[46] = 0x50;
}

static const struct net_offload *offload(struct box *b, unsigned i)
{
    return &g_array_index(b->net->offload, struct net_offload, i);
}

static void test_checksums(void)
{
    struct box b = box_new();
    size_t len;

    rings_on(&b, 0);
    ip_frame(mem(&b, BUF), 400);
    context(&b, false, 0, 0);
    descriptor(&b, BUF, DATA | 100, 3u << 8);
    descriptor(&b, BUF + 100, DATA | EOP | RS_ | 300, 0);
    go(&b);
    const uint8_t *f = fake_net_frame(b.net, 0, &len);
    g_assert_cmpuint(len, ==, 400);
    g_assert_cmphex(sum(f + 14, 20, 0), ==, 0xffff);
    g_assert_true(offload(&b, 0)->flags == NET_CSUM && offload(&b, 0)->csum_start == 34 &&
                  offload(&b, 0)->csum_offset == 16);
    g_assert_cmpmem(f + 26, 374, mem(&b, BUF + 26), 374);
    descriptor(&b, BUF, DATA | EOP | 400, 0);                          /* nothing asked for */
    descriptor(&b, BUF, EOP | 0x04000000 | 50u << 16 | 400, 34u << 8); /* legacy, IC */
    go(&b);
    g_assert_cmpuint(offload(&b, 1)->flags, ==, 0);
    g_assert_true(offload(&b, 2)->flags == NET_CSUM && offload(&b, 2)->csum_offset == 16);
    box_free(&b);
}

static void test_segments(void)
{
    struct box b = box_new();
    size_t len;

    rings_on(&b, 0);
    ip_frame(mem(&b, BUF), 20000);
    uint16_t field = (uint16_t)(mem(&b, BUF)[50] << 8 | mem(&b, BUF)[51]);
    context(&b, true, 1448, 54);
    descriptor(&b, BUF, DATA | TSE | 54, 3u << 8);
    descriptor(&b, BUF + 54, DATA | TSE | EOP | RS_ | 19946, 3u << 8);
    go(&b);
    const uint8_t *f = fake_net_frame(b.net, 0, &len);
    const struct net_offload *o = offload(&b, 0);
    g_assert_cmpuint(len, ==, 20000);
    g_assert_true(o->flags == (NET_TSO4 | NET_CSUM) && o->segment == 1448 && o->header == 54 &&
                  o->csum_start == 34 && o->csum_offset == 16);
    g_assert_cmpuint(f[16] << 8 | f[17], ==, 19986);
    g_assert_cmphex(sum(f + 14, 20, 0), ==, 0xffff);
    uint32_t want = field + 20000u - 34;
    g_assert_cmphex(f[50] << 8 | f[51], ==, (want & 0xffff) + (want >> 16));
    g_assert_cmphex(rd(&b, 0x40f8), ==, 1);
    /* one that fits into a segment is only finished */
    descriptor(&b, BUF, DATA | TSE | EOP | 1000, 3u << 8);
    go(&b);
    g_assert_cmphex(offload(&b, 1)->flags, ==, NET_CSUM);
    box_free(&b);
}

static void test_tag(void)
{
    struct box b = box_new();
    size_t len;

    rings_on(&b, 0);
    wr(&b, CTRL, 0x40000000);
    ip_frame(mem(&b, BUF), 100);
    context(&b, false, 0, 0);
    descriptor(&b, BUF, DATA | EOP | 0x40000000 | 100, 2u << 8 | 0x0123u << 16);
    go(&b);
    const uint8_t *f = fake_net_frame(b.net, 0, &len);
    g_assert_cmpuint(len, ==, 104);
    g_assert_cmpmem(f + 12, 4, "\x81\x00\x01\x23", 4);
    g_assert_cmpuint(offload(&b, 0)->csum_start, ==, 38);
    box_free(&b);
}

static void run_idle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/*
 * CVE-2016-1981 and its kin: head beyond the ring, no end of frame, no length, contexts for ever.
 */
static void test_transmit_hostile(void)
{
    struct box b = box_new();

    rings_on(&b, 0);
    wr(&b, TDH, 0xffff);
    wr(&b, TDT, 5);
    wr(&b, TDH, 0);
    wr(&b, TDT, 0xffff);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    wr(&b, TDLEN, 0);
    wr(&b, TDT, 1);
    wr(&b, TDLEN, RING * 16);
    for (unsigned i = 0; i < RING; i++) {
        context(&b, true, 0, 255);
    }
    wr(&b, TDT, RING - 1);
    run_idle();
    g_assert_cmpuint(rd(&b, TDH), ==, RING - 1);
    b.tail = RING - 1;
    descriptor(&b, BUF, DATA | TSE | EOP | 5000, 3u << 8); /* mss 0, 255 bytes of headers */
    for (unsigned i = 0; i < 4; i++) {                     /* far more than a frame */
        descriptor(&b, BUF, DATA | (i == 3 ? EOP : 0) | 0xfffff, 0);
    }
    descriptor(&b, 0x7fffff00, EOP | RS_ | 100, 0); /* no memory */
    descriptor(&b, MMIO, EOP | RS_ | 100, 0);       /* itself */
    descriptor(&b, BUF, EOP | RS_, 0);              /* nothing */
    descriptor(&b, BUF, EOP | RS_ | 3, 0);
    descriptor(&b, BUF, DATA | 100, 0); /* a context in the middle */
    context(&b, false, 0, 0);
    descriptor(&b, BUF, DATA | EOP | 100, 0);
    go(&b);
    run_idle();
    g_assert_cmpuint(rd(&b, TDH), ==, b.tail);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    descriptor(&b, BUF, EOP | 60, 0);
    go(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    wr(&b, TDBAL, 0x7fff0000); /* the ring is nowhere */
    wr(&b, TDT, (b.tail + 9) % RING);
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    box_free(&b);
}

/* A turn that others have used up: one frame, and the rest in turns of its own. */
static void test_transmit_turns(void)
{
    struct box b = box_new();

    rings_on(&b, 0);
    for (unsigned i = 0; i < 20; i++) {
        descriptor(&b, BUF, EOP | 60, 0);
    }
    use_up_turn();
    go(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(b.net->sent->len, ==, 2);
    turn_start();
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 20);
    box_free(&b);
}

/* ---- receive ---- */

static void buffers(struct box *b, unsigned count)
{
    unsigned tail = rd(b, RDT);

    for (unsigned i = 0; i < count; i++) {
        st32(b, RXD + tail * 16, RXBUF + tail * 2048);
        st32(b, RXD + tail * 16 + 4, 0);
        memset(mem(b, RXD + tail * 16 + 8), 0xee, 8);
        tail = (tail + 1) % RING;
    }
    wr(b, RDT, tail);
}

static void to_us(uint8_t *f, size_t len)
{
    fill(f, len, 9);
    memcpy(f, own_mac, 6);
}

static uint16_t ld16(struct box *b, uint64_t gpa)
{
    uint16_t v;

    memcpy(&v, mem(b, gpa), 2);
    return v;
}

static void test_receive(void)
{
    struct box b = box_new();
    uint8_t f[1514];

    rings_on(&b, 0);
    to_us(f, sizeof(f));
    g_assert_false(fake_net_deliver(b.net, f, 60)); /* no buffers: stays with the host */
    buffers(&b, 40);
    g_assert_cmpuint(b.net->receive_again, >, 0);
    for (unsigned i = 0; i < 8; i++) {
        size_t len = 60 + i * 200;
        uint32_t crc = (uint32_t)crc32(0, f, (uInt)len);
        g_assert_true(fake_net_deliver(b.net, f, len));
        g_assert_cmpuint(ld16(&b, RXD + i * 16 + 8), ==, len + 4);
        g_assert_cmphex(ld16(&b, RXD + i * 16 + 12), ==, 7);
        g_assert_cmpmem(mem(&b, RXBUF + i * 2048), len, f, len);
        g_assert_cmpmem(mem(&b, RXBUF + i * 2048 + len), 4, &crc, 4);
        g_assert_cmpuint(rd(&b, RDH), ==, i + 1);
        g_assert_true(rd(&b, ICR) & RXT0);
    }
    g_assert_cmpuint(rd(&b, GPRC), ==, 8);
    wr(&b, RCTL, 2 | 0x04000000); /* without FCS */
    g_assert_true(fake_net_deliver(b.net, f, 100));
    g_assert_cmpuint(ld16(&b, RXD + 8 * 16 + 8), ==, 100);
    fake_net_deliver(b.net, f, 14); /* padded */
    g_assert_cmpuint(ld16(&b, RXD + 9 * 16 + 8), ==, 60);
    box_free(&b);
}

static void test_pieces(void)
{
    struct box b = box_new();
    uint8_t f[9000];

    rings_on(&b, 0x20 | 3u << 16); /* long frames, buffers of 256 bytes */
    buffers(&b, 63);
    to_us(f, sizeof(f));
    g_assert_true(fake_net_deliver(b.net, f, 1000));
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = i < 3 ? 256 : 1004 - 768;
        g_assert_cmpuint(ld16(&b, RXD + i * 16 + 8), ==, n);
        g_assert_cmphex(ld16(&b, RXD + i * 16 + 12), ==, i < 3 ? 5 : 7);
        g_assert_cmpmem(mem(&b, RXBUF + i * 2048), MIN(n, 232), f + i * 256, MIN(n, 232));
    }
    fake_net_deliver(b.net, f, 9000);
    g_assert_true(fake_net_taken(b.net));
    fake_net_deliver(b.net, f, 9000); /* 23 are left, it would want 36 */
    g_assert_false(fake_net_taken(b.net));
    g_assert_cmpuint(rd(&b, MPC), ==, 1);
    g_assert_true(rd(&b, ICR) & RXO);
    wr(&b, RCTL, 2);
    buffers(&b, 30);
    fake_net_deliver(b.net, f, 1519); /* long frames are not wanted */
    g_assert_false(fake_net_taken(b.net));
    box_free(&b);
}

static void test_filter(void)
{
    struct box b = box_new();
    uint8_t f[64] = {0x01, 0x00, 0x5e, 0, 0, 0x42};

    rings_on(&b, 0);
    buffers(&b, 63);
    fake_net_deliver(b.net, f, 64);
    g_assert_false(fake_net_taken(b.net));
    unsigned hash = 0x4200u >> 4 & 0xfff;
    wr(&b, MTA + (hash >> 5) * 4, 1u << (hash & 31));
    fake_net_deliver(b.net, f, 64);
    g_assert_true(fake_net_taken(b.net));
    g_assert_cmphex(ld16(&b, RXD + 12) & 0x80, ==, 0x80); /* inexact */
    f[5] = 0x43;
    fake_net_deliver(b.net, f, 64);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCTL, 2 | 0x10);
    fake_net_deliver(b.net, f, 64);
    g_assert_true(fake_net_taken(b.net));
    memset(f, 0xff, 6);
    wr(&b, RCTL, 2);
    fake_net_deliver(b.net, f, 64);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCTL, 2 | 0x8000);
    fake_net_deliver(b.net, f, 64);
    g_assert_true(fake_net_taken(b.net));
    memcpy(f, own_mac, 6);
    f[0] = 2;
    fake_net_deliver(b.net, f, 64);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RAL + 15 * 8, 0x0a3e1602); /* the last of sixteen */
    fake_net_deliver(b.net, f, 64);
    g_assert_false(fake_net_taken(b.net)); /* not valid yet */
    wr(&b, RAL + 15 * 8 + 4, 0x80000c0b);
    fake_net_deliver(b.net, f, 64);
    g_assert_true(fake_net_taken(b.net));
    f[5] ^= 1;
    wr(&b, RCTL, 2 | 8);
    fake_net_deliver(b.net, f, 64);
    g_assert_true(fake_net_taken(b.net));
    box_free(&b);
}

static void test_vlan(void)
{
    struct box b = box_new();
    uint8_t f[100];

    rings_on(&b, 0x40000);
    buffers(&b, 10);
    to_us(f, 100);
    memcpy(f + 12, "\x81\x00\x61\x23", 4);
    fake_net_deliver(b.net, f, 100);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, VFTA + (0x123 >> 5) * 4, 1u << (0x123 & 31));
    wr(&b, CTRL, 0x40000000);
    fake_net_deliver(b.net, f, 100);
    g_assert_true(fake_net_taken(b.net));
    g_assert_cmpuint(ld16(&b, RXD + 8), ==, 100); /* 96 and the FCS */
    g_assert_cmphex(ld16(&b, RXD + 12), ==, 0x0f);
    g_assert_cmphex(ld16(&b, RXD + 14), ==, 0x6123);
    g_assert_cmpmem(mem(&b, RXBUF + 12), 84, f + 16, 84);
    box_free(&b);
}

static void test_threshold(void)
{
    struct box b = box_new();
    uint8_t f[60];

    rings_on(&b, 0); /* half */
    buffers(&b, 34);
    to_us(f, 60);
    fake_net_deliver(b.net, f, 60);
    g_assert_cmphex(rd(&b, ICR), ==, RXT0);
    fake_net_deliver(b.net, f, 60);
    g_assert_cmphex(rd(&b, ICR), ==, RXT0 | RXDMT0);
    box_free(&b);
}

static void test_receive_hostile(void)
{
    struct box b = box_new();
    uint8_t f[2000];

    rings_on(&b, 0);
    to_us(f, sizeof(f));
    buffers(&b, 5);
    wr(&b, RDH, 0xffff);
    g_assert_false(fake_net_deliver(b.net, f, 60));
    wr(&b, RDH, 0);
    wr(&b, RDT, 0xffff);
    g_assert_false(fake_net_deliver(b.net, f, 60));
    wr(&b, RDLEN, 0);
    g_assert_false(fake_net_deliver(b.net, f, 60));
    wr(&b, RDLEN, RING * 16);
    wr(&b, RDT, 5);
    st32(&b, RXD, 0x7fffff00);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(rd(&b, ICR) & RXO);
    st32(&b, RXD, 0); /* a null buffer takes the data and forgets it */
    fake_net_deliver(b.net, f, 60);
    g_assert_cmpuint(rd(&b, RDH), ==, 1);
    wr(&b, RDBAL, 0x7fff0000);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(rd(&b, ICR) & RXO);
    box_free(&b);
}

static void test_loopback(void)
{
    struct box b = box_new();

    rings_on(&b, 0xc0);
    buffers(&b, 5);
    to_us(mem(&b, BUF), 200);
    descriptor(&b, BUF, EOP | 200, 0);
    go(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    g_assert_cmpmem(mem(&b, RXBUF), 200, mem(&b, BUF), 200);
    box_free(&b);
}

static void test_unplug(void)
{
    struct box b = box_new();

    rings_on(&b, 0);
    machine_request_unplug(b.m, UNPLUG_NICS);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, UINT32_MAX);
    g_assert_cmphex(rd(&b, STATUS), ==, UINT32_MAX);
    box_free(&b);
}

static void test_state(void)
{
    struct box b = box_new(), other = box_new();
    uint8_t f[60];

    rings_on(&b, 0);
    buffers(&b, 20);
    to_us(f, 60);
    fake_net_deliver(b.net, f, 60);
    wr(&b, ITR, 500);
    context(&b, true, 1000, 54);
    descriptor(&b, BUF, EOP | 60, 0);
    b.net->full = true;
    go(&b);
    fake_state_round_trip(b.dev, other.dev);
    g_assert_true(((struct pci_device *)other.dev)->intx_asserted);
    g_assert_cmpuint(rd(&other, RDH), ==, 1);
    memcpy(mem(&other, TXD), mem(&b, TXD), RING * 16);
    machine_stop(other.m);
    machine_start(other.m);
    g_assert_cmpuint(other.net->sent->len, ==, 1); /* what waited goes out over there */
    box_free(&b);
    box_free(&other);
}

static void fuzz_write(struct box *b, GRand *rand)
{
    static const uint16_t regs[] = {CTRL, EECD, EERD,  MDIC,  ICR,   ITR,   ICS,
                                    IMS,  IMC,  RCTL,  TCTL,  RDBAL, RDLEN, RDH,
                                    RDT,  RDTR, TDBAL, TDLEN, TDH,   TDT,   0x3820};
    unsigned reg = regs[g_rand_int(rand) % G_N_ELEMENTS(regs)];
    uint32_t v = g_rand_int(rand);

    switch (g_rand_int(rand) % 8) {
    case 0:
        reg = g_rand_int(rand) % 0x20000 & ~3u;
        break;
    case 1:
        v &= 63;
        break;
    case 2:
        rings_on(b, v & ~0xc0u);
        return;
    }
    if (reg == TDBAL || reg == RDBAL) {
        v &= 0x7fff0;
    }
    wr(b, reg, v);
    rd(b, reg);
}

static const struct fuzz_range fuzz_ranges[] = {{IO, 64}, {0}};

static void test_fuzz(void)
{
    struct box b = box_new();
    GRand *rand = g_rand_new_with_seed(82540);
    uint8_t f[2000] = {0};

    for (unsigned i = 0; i < 300; i++) {
        for (unsigned k = 0; k < RING; k++) {
            b.tail = k;
            descriptor(&b, g_rand_int(rand) & 0x7ffff, g_rand_int(rand) & ~0xf0000u,
                       g_rand_int(rand));
            st32(&b, RXD + k * 16, g_rand_int(rand) & 0x7ffff);
        }
        for (unsigned k = 0; k < 100; k++) {
            fuzz_write(&b, rand);
            if (k % 8 == 0) {
                memcpy(f, own_mac, 6);
                f[g_rand_int(rand) % 14] = (uint8_t)g_rand_int(rand);
                fake_net_deliver(b.net, f, 14 + g_rand_int(rand) % 1900);
                b.net->full = g_rand_int(rand) & 1;
                fake_clock_step(b.m, g_rand_int(rand) % NS_PER_MS);
            }
        }
        run_idle();
        g_ptr_array_set_size(b.net->sent, 0);
        g_array_set_size(b.net->offload, 0);
    }
    g_rand_free(rand);
    fuzz_state(b.dev, 82541, fuzz_ranges, DEVFN);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/e1000/identity", test_identity);
    g_test_add_func("/e1000/eeprom-pins", test_eeprom_pins);
    g_test_add_func("/e1000/phy", test_phy);
    g_test_add_func("/e1000/interrupts", test_interrupts);
    g_test_add_func("/e1000/throttle", test_throttle);
    g_test_add_func("/e1000/legacy", test_legacy);
    g_test_add_func("/e1000/waits", test_waits);
    g_test_add_func("/e1000/checksums", test_checksums);
    g_test_add_func("/e1000/segments", test_segments);
    g_test_add_func("/e1000/tag", test_tag);
    g_test_add_func("/e1000/transmit-hostile", test_transmit_hostile);
    g_test_add_func("/e1000/transmit-turns", test_transmit_turns);
    g_test_add_func("/e1000/receive", test_receive);
    g_test_add_func("/e1000/pieces", test_pieces);
    g_test_add_func("/e1000/filter", test_filter);
    g_test_add_func("/e1000/vlan", test_vlan);
    g_test_add_func("/e1000/threshold", test_threshold);
    g_test_add_func("/e1000/receive-hostile", test_receive_hostile);
    g_test_add_func("/e1000/loopback", test_loopback);
    g_test_add_func("/e1000/unplug", test_unplug);
    g_test_add_func("/e1000/state", test_state);
    g_test_add_func("/e1000/fuzz", test_fuzz);
    return g_test_run();
}
