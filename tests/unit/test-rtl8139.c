/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RTL8139: both of its modes as drivers use them, what it must not do, and hostile use. */
#include <errno.h>

#include <zlib.h>

#include <xendm/net.h>

#include "nic-fixture.h"

#define IO 0xc000u
#define RING 0x10000u /* C: receive ring, 8 KiB and a tail */
#define BUF 0x20000u  /* transmit buffers */
#define TXD 0x30000u  /* C+: transmit ring; high priority 4 KiB behind */
#define RXD 0x40000u  /* C+: receive ring */
#define RXBUF 0x50000u

/* Registers. */
enum {
    IDR = 0,
    MAR = 8,
    TSD = 0x10,
    TSAD = 0x20,
    RBSTART = 0x30,
    CR = 0x37,
    CAPR = 0x38,
    CBR = 0x3a,
    IMR = 0x3c,
    ISR = 0x3e,
    TCR = 0x40,
    RCR = 0x44,
    TCTR = 0x48,
    MPC = 0x4c,
    CFG9346 = 0x50,
    CONFIG1 = 0x52,
    TIMER = 0x54,
    MSR = 0x58,
    SUMMARY = 0x60,
    BMSR = 0x64,
    TPPOLL = 0xd9,
    CPCR = 0xe0,
    RDSAR = 0xe4
};
enum { ROK = 1, TOK = 4, TER = 8, RXOVW = 0x10, LINK = 0x20, TIMEOUT = 0x4000, SERR = 0x8000 };
enum { TE = 4, RE = 8, RST = 0x10, BUFE = 1 };
#define OWN 0x80000000u
#define EOR 0x40000000u
#define FS 0x20000000u
#define LS 0x10000000u

static uint32_t rd(struct box *b, unsigned reg, unsigned size)
{
    return in(b->m, (uint16_t)(IO + reg), size);
}

static void wr(struct box *b, unsigned reg, uint32_t value, unsigned size)
{
    out(b->m, (uint16_t)(IO + reg), value, size);
}

static uint32_t ld32(struct box *b, uint64_t gpa)
{
    uint32_t v;

    memcpy(&v, mem(b, gpa), 4);
    return v;
}

static struct box box_new(void)
{
    return box_with(&rtl8139_class, IO, 0xf0000000);
}

static void expect_isr(struct box *b, uint32_t bits)
{
    g_assert_cmphex(rd(b, ISR, 2), ==, bits);
    wr(b, ISR, bits, 2);
    g_assert_cmphex(rd(b, ISR, 2), ==, 0);
    g_assert_false(line(b));
}

/* ---- identity ---- */

static unsigned eeprom_bit(struct box *b, unsigned di)
{
    unsigned v = 0x80 | 0x08 | di << 1;

    wr(b, CFG9346, v, 1);
    wr(b, CFG9346, v | 4, 1);
    unsigned out_bit = rd(b, CFG9346, 1) & 1;
    wr(b, CFG9346, v, 1);
    return out_bit;
}

static uint16_t eeprom_read(struct box *b, unsigned address)
{
    uint16_t word = 0;
    unsigned command = 6u << 6 | address; /* start bit, READ, six bits of address */

    wr(b, CFG9346, 0x80, 1);
    for (int i = 8; i >= 0; i--) {
        eeprom_bit(b, command >> i & 1);
    }
    for (int i = 0; i < 16; i++) {
        word = (uint16_t)(word << 1 | eeprom_bit(b, 0));
    }
    wr(b, CFG9346, 0, 1);
    return word;
}

static void test_identity(void)
{
    struct box b = box_new();

    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x813910ec);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 8, 4), ==, 0x02000020);
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmphex(rd(&b, IDR + i, 1), ==, own_mac[i]);
    }
    g_assert_cmphex(eeprom_read(&b, 0), ==, 0x8129);
    g_assert_cmphex(eeprom_read(&b, 7), ==, 0x1600);
    g_assert_cmphex(eeprom_read(&b, 9), ==, 0x0c0b);
    g_assert_cmphex(rd(&b, TCR, 4) & 0x7cc00000, ==, 0x74800000);
    wr(&b, IDR, 0x12345602, 4);
    g_assert_cmphex(b.net->mac[3], ==, 0x12);
    wr(&b, CR, RST, 1); /* the address stays */
    g_assert_cmphex(rd(&b, IDR, 4), ==, 0x12345602);
    wr(&b, CFG9346, 0x40, 1); /* autoload */
    g_assert_cmphex(rd(&b, IDR, 4), ==, 0x0a3e1600);
    g_assert_cmphex(rd(&b, CFG9346, 1), ==, 0);
    wr(&b, CONFIG1, 0xff, 1); /* locked */
    g_assert_cmphex(rd(&b, CONFIG1, 1), ==, 0x0c);
    wr(&b, CFG9346, 0xc0, 1);
    wr(&b, CONFIG1, 0xff, 1);
    g_assert_cmphex(rd(&b, CONFIG1, 1), ==, 0xff);
    box_free(&b);
}

static void test_link(void)
{
    struct box b = box_new();

    g_assert_cmphex(rd(&b, MSR, 1) & 4, ==, 0);
    g_assert_cmphex(rd(&b, BMSR, 2) & 0x24, ==, 0x24);
    wr(&b, IMR, LINK, 2);
    net_set_link(b.net, false);
    g_assert_true(line(&b));
    expect_isr(&b, LINK);
    g_assert_cmphex(rd(&b, MSR, 1) & 4, ==, 4);
    g_assert_cmphex(rd(&b, BMSR, 2) & 4, ==, 0);
    box_free(&b);
}

/* ---- 8139: transmit ---- */

static void test_slots(void)
{
    struct box b = box_new();
    size_t len;

    fill(mem(&b, BUF), 4096, 1);
    wr(&b, CR, TE, 1);
    wr(&b, IMR, TOK, 2);
    for (unsigned i = 0; i < 6; i++) { /* round and round, from the first on */
        wr(&b, TSAD + i % 4 * 4, BUF + i, 4);
        wr(&b, TSD + i % 4 * 4, 60 + i, 4);
        g_assert_cmpmem(fake_net_frame(b.net, i, &len), 60 + i, mem(&b, BUF + i), 60 + i);
        g_assert_cmpuint(len, ==, 60 + i);
        g_assert_cmphex(rd(&b, TSD + i % 4 * 4, 4), ==, (60 + i) | 0xa000);
        g_assert_true(line(&b));
        expect_isr(&b, TOK);
    }
    g_assert_cmphex(rd(&b, SUMMARY, 2), ==, 0xf00f);
    wr(&b, TSD + 4, 60, 4); /* not the one whose turn it is */
    g_assert_cmpuint(b.net->sent->len, ==, 6);
    wr(&b, TSD + 8, 60, 4);
    wr(&b, TSD + 12, 60, 4);
    wr(&b, TSD, 60, 4);
    g_assert_cmpuint(b.net->sent->len, ==, 10); /* 2, 3, 0 and the 1 that waited */
    box_free(&b);
}

/* The host has no room: the slot stays the chip's until it has; nothing is lost or sent twice. */
static void test_slots_wait(void)
{
    struct box b = box_new();

    wr(&b, CR, TE, 1);
    b.net->full = true;
    for (unsigned i = 0; i < 4; i++) {
        wr(&b, TSAD + i * 4, BUF, 4);
        wr(&b, TSD + i * 4, 60 + i, 4);
        g_assert_cmphex(rd(&b, TSD + i * 4, 4), ==, 60 + i);
    }
    g_assert_cmphex(rd(&b, ISR, 2), ==, 0);
    fake_net_writable(b.net);
    g_assert_cmpuint(b.net->sent->len, ==, 4);
    g_assert_cmphex(rd(&b, SUMMARY, 2), ==, 0xf00f);
    expect_isr(&b, TOK);
    box_free(&b);
}

static void test_slots_hostile(void)
{
    struct box b = box_new();

    wr(&b, TSD, 60, 4); /* transmitter off */
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    wr(&b, CR, TE, 1);
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    wr(&b, TSD + 4, 0, 4); /* nothing */
    wr(&b, TSD + 8, 5, 4); /* no frame */
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    wr(&b, ISR, 0xffff, 2);
    wr(&b, TSAD + 12, 0x7fffff00, 4); /* no memory */
    wr(&b, TSD + 12, 0x1fff, 4);
    g_assert_cmphex(rd(&b, ISR, 2), ==, SERR | TOK);
    wr(&b, TSAD, 0xf0000000, 4); /* itself */
    wr(&b, TSD, 64, 4);
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    pci_config_write(b.m->pci, DEVFN, 0x04, 3, 2); /* no bus master */
    wr(&b, TSD + 4, 64, 4);
    g_assert_cmpuint(b.net->sent->len, ==, 1);
    box_free(&b);
}

/* ---- 8139: receive ---- */

static void receiver_on(struct box *b, uint32_t rcr)
{
    wr(b, CR, RST, 1);
    wr(b, RBSTART, RING, 4);
    wr(b, CR, RE | TE, 1);
    wr(b, RCR, rcr, 4);
    wr(b, IMR, ROK | RXOVW, 2);
}

static void to_us(uint8_t *f, size_t len)
{
    fill(f, len, 9);
    memcpy(f, own_mac, 6);
}

static void test_ring(void)
{
    struct box b = box_new();
    uint8_t f[1514];
    uint32_t at = 0;

    receiver_on(&b, 0x0f);
    g_assert_cmphex(rd(&b, CR, 1), ==, RE | TE | BUFE);
    for (unsigned i = 0; i < 40; i++) { /* several times round */
        size_t len = 60 + i * 37 % 1455;
        to_us(f, len);
        g_assert_true(fake_net_deliver(b.net, f, len));
        g_assert_false(rd(&b, CR, 1) & BUFE);
        uint8_t got[1600];
        for (unsigned k = 0; k < len + 8; k++) {
            got[k] = *mem(&b, RING + (at + k) % 8192);
        }
        uint32_t crc = (uint32_t)crc32(0, f, (uInt)len);
        g_assert_cmphex(got[0] | got[1] << 8, ==, 0x4001);
        g_assert_cmpuint(got[2] | got[3] << 8, ==, len + 4);
        g_assert_cmpmem(got + 4, len, f, len);
        g_assert_cmpmem(got + 4 + len, 4, &crc, 4);
        at = (at + (uint32_t)len + 8 + 3) / 4 * 4 % 8192;
        g_assert_cmpuint(rd(&b, CBR, 2), ==, at);
        wr(&b, CAPR, at - 16, 2);
        g_assert_cmphex(rd(&b, CAPR, 2), ==, (at - 16) & 0xffff);
        g_assert_true(rd(&b, CR, 1) & BUFE);
        expect_isr(&b, ROK);
    }
    box_free(&b);
}

static void test_filter(void)
{
    struct box b = box_new();
    uint8_t f[60] = {0x01, 0x00, 0x5e, 0, 0, 1}; /* multicast: hash 31 */

    receiver_on(&b, 0x00);
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCR, 0x04, 4);
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, MAR + 3, 0x80, 1);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(fake_net_taken(b.net));
    g_assert_cmphex(ld32(&b, RING) & 0xffff, ==, 0x8001);
    memset(f, 0xff, 6);
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCR, 0x08, 4);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(fake_net_taken(b.net));
    to_us(f, 60);
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCR, 0x02, 4);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(fake_net_taken(b.net));
    f[5] ^= 1;
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    wr(&b, RCR, 0x01, 4);
    fake_net_deliver(b.net, f, 60);
    g_assert_true(fake_net_taken(b.net));
    box_free(&b);
}

/* Full: told if the driver wants to know, else the frame stays with the host. */
static void test_overflow(void)
{
    struct box b = box_new();
    uint8_t f[1514];
    unsigned taken = 0;

    receiver_on(&b, 0x0f);
    to_us(f, sizeof(f));
    while (taken < 100 && rd(&b, MPC, 4) == 0) {
        g_assert_true(fake_net_deliver(b.net, f, sizeof(f)));
        taken++;
    }
    g_assert_cmpuint(taken, ==, 6); /* five of 1524 bytes fit into 8 KiB */
    g_assert_cmphex(rd(&b, ISR, 2), ==, ROK | RXOVW);
    wr(&b, MPC, 0, 4);
    g_assert_cmpuint(rd(&b, MPC, 4), ==, 0);
    wr(&b, IMR, ROK, 2);
    g_assert_false(fake_net_deliver(b.net, f, sizeof(f)));
    unsigned before = b.net->receive_again;
    wr(&b, CAPR, rd(&b, CBR, 2) - 16, 2);
    g_assert_cmpuint(b.net->receive_again, >, before);
    g_assert_true(fake_net_deliver(b.net, f, sizeof(f)));
    box_free(&b);
}

static void test_receive_hostile(void)
{
    struct box b = box_new();
    uint8_t f[4096];

    receiver_on(&b, 0x0f);
    memset(f, 0, sizeof(f));
    to_us(f, sizeof(f));
    fake_net_deliver(b.net, f, sizeof(f)); /* no Ethernet has such */
    g_assert_false(fake_net_taken(b.net));
    fake_net_deliver(b.net, f, 14); /* short: padded */
    g_assert_true(fake_net_taken(b.net));
    g_assert_cmpuint(ld32(&b, RING) >> 16, ==, 64);
    wr(&b, RBSTART, 0x7fff0000, 4);
    wr(&b, ISR, 0xffff, 2);
    fake_net_deliver(b.net, f, 1000);
    g_assert_cmphex(rd(&b, ISR, 2), ==, SERR);
    wr(&b, CAPR, 0xffff, 2); /* any place is in the ring */
    fake_net_deliver(b.net, f, 1000);
    wr(&b, CR, 0, 1);
    fake_net_deliver(b.net, f, 1000);
    g_assert_false(fake_net_taken(b.net));
    box_free(&b);
}

static void test_loopback(void)
{
    struct box b = box_new();

    receiver_on(&b, 0x0f);
    wr(&b, TCR, 0x60000, 4);
    to_us(mem(&b, BUF), 100);
    wr(&b, TSAD, BUF, 4);
    wr(&b, TSD, 100, 4);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    g_assert_cmpmem(mem(&b, RING + 4), 100, mem(&b, BUF), 100);
    box_free(&b);
}

/* ---- C+ ---- */

static void plus_on(struct box *b)
{
    wr(b, CR, RST, 1);
    wr(b, CPCR, 0x63, 2); /* both engines, checksums, tags */
    wr(b, TSAD, TXD, 4);
    wr(b, TSAD + 4, 0, 4);
    wr(b, TSAD + 8, TXD + 0x1000, 4);
    wr(b, TSAD + 12, 0, 4);
    wr(b, RDSAR, RXD, 4);
    wr(b, RDSAR + 4, 0, 4);
    wr(b, CR, RE | TE, 1);
    wr(b, RCR, 0x0f, 4);
    wr(b, IMR, 0x80ff, 2);
}

static void descriptor(struct box *b, uint64_t at, uint32_t first, uint32_t second,
                       uint32_t address)
{
    st32(b, at + 4, second);
    st32(b, at + 8, address);
    st32(b, at + 12, 0);
    st32(b, at, first);
}

static void poll_tx(struct box *b)
{
    wr(b, TPPOLL, 0x40, 1);
}

static void test_plus_pieces(void)
{
    struct box b = box_new();
    size_t len;

    plus_on(&b);
    fill(mem(&b, BUF), 1000, 5);
    descriptor(&b, TXD, OWN | FS | 100, 0, BUF);
    poll_tx(&b); /* the rest is not there yet */
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    g_assert_cmphex(ld32(&b, TXD), ==, OWN | FS | 100);
    descriptor(&b, TXD + 16, OWN | 300, 0, BUF + 100);
    descriptor(&b, TXD + 32, OWN | LS | EOR | 200, 0, BUF + 400);
    poll_tx(&b);
    g_assert_cmpmem(fake_net_frame(b.net, 0, &len), 600, mem(&b, BUF), 600);
    g_assert_cmpuint(len, ==, 600);
    g_assert_cmphex(ld32(&b, TXD), ==, FS | 100);
    g_assert_cmphex(ld32(&b, TXD + 32), ==, LS | EOR | 200);
    expect_isr(&b, TOK);
    descriptor(&b, TXD, OWN | FS | LS | 64, 0, BUF); /* the ring ended: at its start again */
    descriptor(&b, TXD + 0x1000, OWN | FS | LS | 70, 0, BUF); /* high priority goes first */
    wr(&b, TPPOLL, 0xc0, 1);
    fake_net_frame(b.net, 1, &len);
    g_assert_cmpuint(len, ==, 70);
    fake_net_frame(b.net, 2, &len);
    g_assert_cmpuint(len, ==, 64);
    box_free(&b);
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

static void ip_frame(uint8_t *f, size_t len, uint8_t protocol)
{
    fill(f, len, 7);
    memcpy(f + 12, "\x08\x00\x45\x00", 4);
    f[16] = (uint8_t)((len - 14) >> 8), f[17] = (uint8_t)(len - 14);
    f[23] = protocol;
    f[24] = f[25] = 0xee; /* garbage where the sums go */
    f[46] = 0x50;
}

static const struct net_offload *offload(struct box *b, unsigned i)
{
    return &g_array_index(b->net->offload, struct net_offload, i);
}

static void test_plus_checksums(void)
{
    struct box b = box_new();
    size_t len;
    const uint8_t *f;

    plus_on(&b);
    ip_frame(mem(&b, BUF), 400, 6);
    descriptor(&b, TXD, OWN | FS | LS | 0x50000 | 400, 0, BUF); /* IP and TCP */
    ip_frame(mem(&b, BUF + 0x800), 101, 17);
    descriptor(&b, TXD + 16, OWN | FS | LS | 0x20000 | 101, 0, BUF + 0x800); /* UDP alone */
    ip_frame(mem(&b, BUF + 0x1000), 90, 17);
    descriptor(&b, TXD + 32, OWN | FS | LS | EOR | 0x10000 | 90, 0, BUF + 0x1000); /* is no TCP */
    poll_tx(&b);
    f = fake_net_frame(b.net, 0, &len);
    g_assert_cmphex(sum(f + 14, 20, 0), ==, 0xffff);
    g_assert_cmphex(f[50] << 8 | f[51], ==, sum(f + 26, 8, 6 + 400 - 34));
    g_assert_true(offload(&b, 0)->flags == NET_CSUM && offload(&b, 0)->csum_start == 34 &&
                  offload(&b, 0)->csum_offset == 16);
    f = fake_net_frame(b.net, 1, &len);
    g_assert_cmphex(f[24], ==, 0xee); /* not asked for */
    g_assert_true(offload(&b, 1)->flags == NET_CSUM && offload(&b, 1)->csum_offset == 6);
    g_assert_cmpuint(offload(&b, 2)->flags, ==, 0);
    g_assert_cmphex(*mem(&b, BUF + 24), ==, 0xee); /* the guest's own memory is not touched */
    box_free(&b);
}

static void test_plus_large(void)
{
    struct box b = box_new();
    size_t len;
    const uint8_t *f;

    plus_on(&b);
    ip_frame(mem(&b, BUF), 9000, 6);
    descriptor(&b, TXD, OWN | FS | 0x08000000 | 1000u << 16 | 4000, 0, BUF);
    descriptor(&b, TXD + 16, OWN | LS | 5000, 0, BUF + 4000);
    poll_tx(&b);
    f = fake_net_frame(b.net, 0, &len);
    g_assert_cmpuint(len, ==, 9000);
    g_assert_cmphex(sum(f + 14, 20, 0), ==, 0xffff);
    const struct net_offload *o = offload(&b, 0);
    g_assert_true(o->flags == (NET_TSO4 | NET_CSUM) && o->segment == 1000 && o->header == 54);
    g_assert_cmphex(f[50] << 8 | f[51], ==, sum(f + 26, 8, 6 + 9000 - 34));
    /* MSS 0, and no TCP: sent as they are */
    descriptor(&b, TXD + 32, OWN | FS | LS | 0x08000000 | 4000, 0, BUF);
    poll_tx(&b);
    g_assert_cmpuint(offload(&b, 1)->flags & NET_TSO4, ==, 0);
    box_free(&b);
}

static void test_plus_tag(void)
{
    struct box b = box_new();
    uint8_t f[64];
    size_t len;

    plus_on(&b);
    fill(mem(&b, BUF), 64, 3);
    descriptor(&b, TXD, OWN | FS | LS | 64, 0x20000 | 0x6401, BUF); /* tag 0x0164, as on the wire */
    poll_tx(&b);
    const uint8_t *s = fake_net_frame(b.net, 0, &len);
    g_assert_cmpuint(len, ==, 68);
    g_assert_cmpmem(s, 12, mem(&b, BUF), 12);
    g_assert_cmpmem(s + 12, 4, "\x81\x00\x01\x64", 4);
    g_assert_cmpmem(s + 16, 52, mem(&b, BUF + 12), 52);
    /* and the way in */
    to_us(f, 64);
    memcpy(f + 12, "\x81\x00\x01\x64", 4);
    descriptor(&b, RXD, OWN | 1600, 0, RXBUF);
    g_assert_true(fake_net_deliver(b.net, f, 64));
    g_assert_cmphex(ld32(&b, RXD + 4), ==, 0x10000 | 0x6401);
    g_assert_cmpuint(ld32(&b, RXD) & 0x1fff, ==, 64); /* 60, padded to it, and the FCS */
    g_assert_cmpmem(mem(&b, RXBUF + 12), 48, f + 16, 48);
    box_free(&b);
}

static void test_plus_receive(void)
{
    struct box b = box_new();
    uint8_t f[1514];

    plus_on(&b);
    to_us(f, sizeof(f));
    descriptor(&b, RXD, OWN | 1600, 0, RXBUF);
    descriptor(&b, RXD + 16, OWN | EOR | 1600, 0, RXBUF + 0x800);
    g_assert_true(fake_net_deliver(b.net, f, 1514));
    g_assert_cmphex(ld32(&b, RXD), ==, FS | LS | 0x04000000 | 1518);
    g_assert_cmpmem(mem(&b, RXBUF), 1514, f, 1514);
    memset(f, 0xff, 6);
    g_assert_true(fake_net_deliver(b.net, f, 60));
    g_assert_cmphex(ld32(&b, RXD + 16), ==, EOR | FS | LS | 0x02000000 | 64);
    expect_isr(&b, ROK);
    fake_net_deliver(b.net, f, 60); /* none left */
    g_assert_cmpuint(rd(&b, MPC, 4), ==, 1);
    expect_isr(&b, RXOVW);
    descriptor(&b, RXD, OWN | 32, 0, RXBUF); /* too small */
    fake_net_deliver(b.net, f, 60);
    g_assert_cmpuint(rd(&b, MPC, 4), ==, 2);
    g_assert_cmphex(ld32(&b, RXD), ==, OWN | 32);
    wr(&b, ISR, 0xffff, 2);
    descriptor(&b, RXD, OWN | 1600, 0, 0x7fffff00); /* no memory */
    fake_net_deliver(b.net, f, 60);
    expect_isr(&b, SERR);
    box_free(&b);
}

/*
 * XSA-140: headers that lie about their length made QEMU send what its memory held behind the
 * frame. Here exactly the frame is sent, and nothing is computed over what is not in it.
 */
static void test_xsa_140(void)
{
    struct box b = box_new();
    static const uint8_t ihl[] = {0x45, 0x4f, 0x40, 0x44, 0xf5};
    size_t len;

    plus_on(&b);
    for (unsigned i = 0; i < G_N_ELEMENTS(ihl); i++) {
        ip_frame(mem(&b, BUF), 64, i & 1 ? 17 : 6);
        mem(&b, BUF)[14] = ihl[i];
        mem(&b, BUF)[16] = 0xff; /* 65 KiB, it says */
        mem(&b, BUF)[46] = 0xf0; /* and TCP's header has 60 bytes */
        descriptor(&b, TXD + i * 16, OWN | FS | LS | 0x08070000 | 100u << 16 | 36, 0, BUF);
        poll_tx(&b);
        const uint8_t *f = fake_net_frame(b.net, i, &len);
        g_assert_cmpuint(len, ==, 36);
        g_assert_cmpmem(f + 26, 10, mem(&b, BUF + 26), 10);
        const struct net_offload *o = offload(&b, i);
        g_assert_cmpuint(o->flags & NET_TSO4, ==, 0);
        g_assert_true(!o->flags || o->csum_start + o->csum_offset + 2u <= 36u);
    }
    box_free(&b);
}

/*
 * CVE-2021-3416: loopback into the ring that is being sent from. Each descriptor that is received
 * into becomes one to send; a turn ends all the same, and the stack does not grow.
 */
static void test_loopback_into_itself(void)
{
    struct box b = box_new();

    plus_on(&b);
    wr(&b, TCR, 0x60000, 4);
    wr(&b, RCR, 0x01, 4);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t *d = (uint32_t *)mem(&b, TXD + i * 16);
        d[0] = OWN | FS | LS | (i == 63 ? EOR : 0) | 60;
        d[1] = 0, d[2] = BUF, d[3] = 0;
        /* what is received is a descriptor that is the chip's again */
        descriptor(&b, RXD + i * 16, OWN | 1600 | (i == 63 ? EOR : 0), 0, TXD + i * 16);
    }
    memcpy(mem(&b, BUF), mem(&b, TXD), 16);
    poll_tx(&b);
    for (unsigned i = 0; i < 100; i++) { /* turns; it may go on for ever, but each of them ends */
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    box_free(&b);
}

static void run_idle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* Rings that have no end, frames of too many pieces, larger than any frame, pieces of nothing. */
static void test_plus_hostile(void)
{
    struct box b = box_new();

    plus_on(&b);
    for (unsigned i = 0; i < 64; i++) { /* no frame ends */
        descriptor(&b, TXD + i * 16, OWN | FS | 1000, 0, BUF);
    }
    poll_tx(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    expect_isr(&b, TER);
    g_assert_cmphex(ld32(&b, TXD), ==, FS | 1000);
    for (unsigned i = 0; i < 3; i++) { /* 150000 bytes */
        descriptor(&b, TXD + i * 16, OWN | (i == 2 ? LS : 0) | 50000, 0, BUF);
    }
    poll_tx(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    expect_isr(&b, TER);
    descriptor(&b, TXD + 48, OWN | FS | LS, 0, BUF); /* of length 0 */
    poll_tx(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    descriptor(&b, TXD + 64, OWN | FS | LS | 64, 0, 0x7fffff00);
    poll_tx(&b);
    g_assert_cmpuint(b.net->sent->len, ==, 0);
    wr(&b, TSAD, 0x7ffff000, 4); /* the ring is nowhere */
    wr(&b, ISR, 0xffff, 2);
    poll_tx(&b);
    expect_isr(&b, SERR);
    box_free(&b);
}

/* A full ring has its turn, and the rest comes in later turns of the loop. */
static void test_plus_turns(void)
{
    struct box b = box_new();

    plus_on(&b);
    for (unsigned i = 0; i < 64; i++) {
        descriptor(&b, TXD + i * 16, OWN | FS | LS | (i == 63 ? EOR : 0) | 64, 0, BUF);
        descriptor(&b, TXD + 0x1000 + i * 16, OWN | FS | LS | (i == 63 ? EOR : 0) | 64, 0, BUF);
    }
    wr(&b, TPPOLL, 0xc0, 1);
    g_assert_cmpuint(b.net->sent->len, ==, 64);
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 128);
    /* stopped in the middle: nothing goes out, and it goes on afterwards */
    for (unsigned i = 0; i < 64; i++) {
        st32(&b, TXD + i * 16, OWN | FS | LS | (i == 63 ? EOR : 0) | 64);
        st32(&b, TXD + 0x1000 + i * 16, OWN | FS | LS | (i == 63 ? EOR : 0) | 64);
    }
    wr(&b, TPPOLL, 0xc0, 1);
    machine_stop(b.m);
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 192);
    machine_start(b.m);
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 256);
    for (unsigned i = 0; i < 64; i++) { /* a turn that others have used up */
        st32(&b, TXD + i * 16, OWN | FS | LS | (i == 63 ? EOR : 0) | 64);
    }
    use_up_turn();
    wr(&b, TPPOLL, 0x40, 1);
    g_assert_cmpuint(b.net->sent->len, ==, 257);
    g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(b.net->sent->len, ==, 258);
    turn_start();
    run_idle();
    g_assert_cmpuint(b.net->sent->len, ==, 320);
    box_free(&b);
}

static void test_tally(void)
{
    struct box b = box_new();
    uint8_t f[60];
    uint64_t v;

    plus_on(&b);
    for (unsigned i = 0; i < 3; i++) {
        descriptor(&b, TXD + i * 16, OWN | FS | LS | 64, 0, BUF);
    }
    poll_tx(&b);
    descriptor(&b, RXD, OWN | 1600, 0, RXBUF);
    memset(f, 0xff, 60);
    fake_net_deliver(b.net, f, 60);
    fake_net_deliver(b.net, f, 60); /* missed */
    wr(&b, TSD + 4, 0, 4);
    wr(&b, TSD, 0x60000 | 8, 4);
    g_assert_cmphex(rd(&b, TSD, 4), ==, 0x60000);
    memcpy(&v, mem(&b, 0x60000), 8);
    g_assert_cmpuint(v, ==, 3);
    memcpy(&v, mem(&b, 0x60008), 8);
    g_assert_cmpuint(v, ==, 1);
    g_assert_cmpuint(ld32(&b, 0x6001c) & 0xffff, ==, 1);
    memcpy(&v, mem(&b, 0x60030), 8);
    g_assert_cmpuint(v, ==, 1); /* broadcast */
    box_free(&b);
}

static void test_timer(void)
{
    struct box b = box_new();

    wr(&b, IMR, TIMEOUT, 2);
    wr(&b, TCTR, 0, 4);
    g_assert_cmpuint(rd(&b, TCTR, 4), ==, 0);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    wr(&b, TIMER, 33000, 4); /* a millisecond */
    fake_clock_step(b.m, 999 * NS_PER_US);
    g_assert_false(line(&b));
    g_assert_cmpuint(rd(&b, TCTR, 4), ==, 32967);
    fake_clock_step(b.m, 2 * NS_PER_US);
    g_assert_true(line(&b));
    expect_isr(&b, TIMEOUT);
    wr(&b, TIMER, 0, 4);
    g_assert_cmpint(vclock_next_deadline(b.m->clock), ==, VTIMER_OFF);
    box_free(&b);
}

static void test_unplug(void)
{
    struct box b = box_new();

    receiver_on(&b, 0x0f);
    machine_request_unplug(b.m, UNPLUG_DISKS);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x813910ec);
    machine_request_unplug(b.m, UNPLUG_NICS);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, UINT32_MAX);
    g_assert_cmphex(rd(&b, IDR, 4), ==, UINT32_MAX);
    uint8_t f[60];
    memset(f, 0xff, 60);
    fake_net_deliver(b.net, f, 60);
    g_assert_false(fake_net_taken(b.net));
    box_free(&b);
}

static void test_state(void)
{
    struct box b = box_new(), other = box_new();
    uint8_t f[300];

    receiver_on(&b, 0x0f);
    to_us(f, 300);
    fake_net_deliver(b.net, f, 300);
    wr(&b, TIMER, 1000000, 4);
    wr(&b, MAR, 0x12345678, 4);
    eeprom_read(&b, 3);
    wr(&b, CFG9346, 0x88, 1);
    eeprom_bit(&b, 1);
    b.net->full = true;
    wr(&b, TSAD, BUF, 4);
    wr(&b, TSD, 99, 4);
    fake_state_round_trip(b.dev, other.dev);
    g_assert_cmphex(rd(&other, CBR, 2), ==, rd(&b, CBR, 2));
    g_assert_true(((struct pci_device *)other.dev)->intx_asserted);
    machine_stop(other.m); /* what waited goes out over there */
    machine_start(other.m);
    g_assert_cmpuint(other.net->sent->len, ==, 1);
    box_free(&b);
    box_free(&other);
}

static const struct fuzz_range fuzz_ranges[] = {{IO, 256}, {0}};

static void test_fuzz(void)
{
    struct box b = box_new();
    GRand *rand = g_rand_new_with_seed(8139);
    uint8_t f[2000];

    for (unsigned i = 0; i < 300; i++) {
        for (unsigned k = 0; k < 64; k++) { /* descriptors that sometimes mean something */
            descriptor(&b, TXD + k * 16, g_rand_int(rand), g_rand_int(rand),
                       g_rand_int(rand) & 0x7ffff);
            descriptor(&b, RXD + k * 16, g_rand_int(rand), 0, g_rand_int(rand) & 0x7ffff);
        }
        plus_on(&b);
        if (i & 1) {
            wr(&b, CPCR, 0, 2);
        }
        for (unsigned k = 0; k < 200; k++) {
            fuzz_step(b.m, rand, fuzz_ranges, -1);
            if (k % 8 == 0) {
                for (unsigned n = 0; n < 14; n++) {
                    f[n] = (uint8_t)g_rand_int(rand);
                }
                fake_net_deliver(b.net, f, 14 + g_rand_int(rand) % 1900);
                b.net->full = g_rand_int(rand) & 1;
            }
        }
        run_idle();
        g_ptr_array_set_size(b.net->sent, 0);
        g_array_set_size(b.net->offload, 0);
    }
    g_rand_free(rand);
    fuzz_state(b.dev, 8140, fuzz_ranges, DEVFN);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtl8139/identity", test_identity);
    g_test_add_func("/rtl8139/link", test_link);
    g_test_add_func("/rtl8139/slots", test_slots);
    g_test_add_func("/rtl8139/slots-wait", test_slots_wait);
    g_test_add_func("/rtl8139/slots-hostile", test_slots_hostile);
    g_test_add_func("/rtl8139/ring", test_ring);
    g_test_add_func("/rtl8139/filter", test_filter);
    g_test_add_func("/rtl8139/overflow", test_overflow);
    g_test_add_func("/rtl8139/receive-hostile", test_receive_hostile);
    g_test_add_func("/rtl8139/loopback", test_loopback);
    g_test_add_func("/rtl8139/plus-pieces", test_plus_pieces);
    g_test_add_func("/rtl8139/plus-checksums", test_plus_checksums);
    g_test_add_func("/rtl8139/plus-large", test_plus_large);
    g_test_add_func("/rtl8139/plus-tag", test_plus_tag);
    g_test_add_func("/rtl8139/plus-receive", test_plus_receive);
    g_test_add_func("/rtl8139/xsa-140-header-lengths", test_xsa_140);
    g_test_add_func("/rtl8139/cve-2021-3416-loopback", test_loopback_into_itself);
    g_test_add_func("/rtl8139/plus-hostile", test_plus_hostile);
    g_test_add_func("/rtl8139/plus-turns", test_plus_turns);
    g_test_add_func("/rtl8139/tally", test_tally);
    g_test_add_func("/rtl8139/timer", test_timer);
    g_test_add_func("/rtl8139/unplug", test_unplug);
    g_test_add_func("/rtl8139/state", test_state);
    g_test_add_func("/rtl8139/fuzz", test_fuzz);
    return g_test_run();
}
