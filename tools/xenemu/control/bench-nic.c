/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * benchnic: a network card's driver, repeated and timed in this process, with the card's tap as the
 * other end of the cable. As Linux' e1000 and 8139cp drive the cards: rings of descriptors, one
 * doorbell for a burst, what is done is seen in memory, a high line costs what its handler does.
 *
 *     benchnic e1000|rtl8139 tx|rx COUNT BYTES BURST BAR DEVICE TAP
 *
 * BAR: where the card's registers are in memory; DEVICE: its number on the bus, for its line; TAP:
 * the interface of its back end, in this process's network namespace. tx: COUNT frames, BURST with
 * one doorbell, as many under way as the ring holds. rx: frames are put into the tap by BURST, at
 * most WINDOW under way (BURST 1: the next when one has arrived).
 *
 * Sources: Intel's manual 317453 (registers: chapter 13; descriptors: 3.2, 3.3), Realtek's
 * RTL8139C+ programming guide.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define RING 64u   /* the most that an RTL8139 has */
#define WINDOW 48u /* frames that wait in the tap */
#define BUFFER 2048u
#define DESCRIPTORS UINT64_C(0x200000) /* guest addresses; the bench's guest has no other use */
#define BUFFERS UINT64_C(0x210000)
#define ETHERTYPE 0x88b5u /* IEEE 802's for experiments: nobody takes it */
#define PATIENCE_MS 3000

struct nic_bench;

/* One of the two cards. Descriptors are 16 bytes, their number is in `ring`. */
struct nic {
    const char *name;
    void (*begin)(struct nic_bench *b);
    void (*give)(struct nic_bench *b, unsigned i, unsigned bytes); /* bytes 0: to receive into */
    bool (*is_done)(struct nic_bench *b, unsigned i);
    void (*kick)(struct nic_bench *b, unsigned next);
    void (*interrupt)(struct nic_bench *b);
};

struct nic_bench {
    struct cmd *c;
    struct domain *d;
    const struct nic *nic;
    const char *tap;
    bool tx;
    uint64_t bar, count;
    unsigned bytes, burst, device;
    uint8_t *ring, *buffers;
    int socket;
    uint64_t begun, ended;
    uint64_t interrupts, lost;
    const char *why; /* NULL: all is well */
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t reg(struct nic_bench *b, uint32_t at, unsigned size, bool write, uint32_t value)
{
    ioreq_t r = {.type = IOREQ_TYPE_COPY,
                 .addr = b->bar + at,
                 .size = size,
                 .count = 1,
                 .data = value,
                 .dir = write ? IOREQ_WRITE : IOREQ_READ,
                 .state = STATE_IOREQ_READY};

    if (io_access(b->d, b->c->s->vcpu, &r, &b->why) == IO_OK)
        b->why = NULL;
    return (uint32_t)r.data;
}

static uint32_t *descriptor(struct nic_bench *b, unsigned i)
{
    return (uint32_t *)(b->ring + 16u * (i % RING));
}

static uint32_t buffer_of(unsigned i)
{
    return (uint32_t)(BUFFERS + (uint64_t)(i % RING) * BUFFER);
}

/* ---- 82540EM ---- */

static void e1000_begin(struct nic_bench *b)
{
    uint32_t base = b->tx ? 0x3800 : 0x2800; /* TDBAL, RDBAL */

    reg(b, 0xd8, 4, true, 0xffffffff); /* IMC */
    reg(b, 0x100, 4, true, 0);         /* RCTL, TCTL: off */
    reg(b, 0x400, 4, true, 0);
    reg(b, 0x00, 4, true, reg(b, 0x00, 4, false, 0) | 0x40); /* CTRL: set link up */
    reg(b, base, 4, true, DESCRIPTORS);
    reg(b, base + 4, 4, true, 0);
    reg(b, base + 8, 4, true, RING * 16);
    reg(b, base + 0x10, 4, true, 0);
    reg(b, base + 0x18, 4, true, b->tx ? 0 : RING - 1);
    reg(b, b->tx ? 0x400 : 0x100, 4, true,
        b->tx ? 0x0004010a : 0x0400801a);            /* RCTL: all addresses */
    reg(b, 0xc0, 4, false, 0);                       /* ICR */
    reg(b, 0xc4, 4, true, b->burst > 1 ? 488 : 195); /* ITR as Linux has it: 8000, 20000 a second */
    reg(b, 0xd0, 4, true, b->tx ? 0x01 : 0x80);      /* IMS: TXDW or RXT0 */
}

static void e1000_give(struct nic_bench *b, unsigned i, unsigned bytes)
{
    uint32_t *p = descriptor(b, i);

    p[0] = buffer_of(i);
    p[1] = 0;
    p[2] = bytes ? bytes | 0x0b000000 : 0; /* EOP, IFCS, RS */
    __atomic_store_n(&p[3], 0, __ATOMIC_RELEASE);
}

static bool e1000_is_done(struct nic_bench *b, unsigned i)
{
    return __atomic_load_n(&descriptor(b, i)[3], __ATOMIC_ACQUIRE) & 1;
}

static void e1000_kick(struct nic_bench *b, unsigned next)
{
    reg(b, b->tx ? 0x3818 : 0x2818, 4, true, (b->tx ? next : next + RING - 1) % RING);
}

static void e1000_interrupt(struct nic_bench *b)
{
    reg(b, 0xc0, 4, false, 0);
}

/* ---- RTL8139, C+ mode ---- */

#define RTL_OWN 0x80000000u
#define RTL_LAST 0x40000000u

static void rtl8139_begin(struct nic_bench *b)
{
    reg(b, 0x37, 1, true, 0x10);                    /* reset */
    reg(b, 0xe0, 2, true, b->tx ? 0x0001 : 0x0002); /* C+ command */
    reg(b, b->tx ? 0x20 : 0xe4, 4, true, DESCRIPTORS);
    reg(b, b->tx ? 0x24 : 0xe8, 4, true, 0);
    reg(b, 0x37, 1, true, b->tx ? 0x04 : 0x08);
    reg(b, 0x44, 4, true, 0x0000f78f); /* RCR: all addresses, no threshold */
    reg(b, 0x3e, 2, true, 0xffff);
    reg(b, 0x3c, 2, true, b->tx ? 0x0004 : 0x0001); /* TOK or ROK */
}

static void rtl8139_give(struct nic_bench *b, unsigned i, unsigned bytes)
{
    uint32_t *p = descriptor(b, i), first = i % RING == RING - 1 ? RTL_LAST | RTL_OWN : RTL_OWN;

    p[1] = 0;
    p[2] = buffer_of(i);
    p[3] = 0;
    __atomic_store_n(&p[0], first | (bytes ? bytes | 0x30000000 : BUFFER - 512), __ATOMIC_RELEASE);
}

static bool rtl8139_is_done(struct nic_bench *b, unsigned i)
{
    return !(__atomic_load_n(&descriptor(b, i)[0], __ATOMIC_ACQUIRE) & RTL_OWN);
}

static void rtl8139_kick(struct nic_bench *b, unsigned next)
{
    (void)next;
    if (b->tx)
        reg(b, 0xd9, 1, true, 0x40); /* TPPoll, the ring of normal priority */
}

static void rtl8139_interrupt(struct nic_bench *b)
{
    uint32_t status = reg(b, 0x3e, 2, false, 0);

    reg(b, 0x3e, 2, true, status);
}

static const struct nic nics[] = {
    {"e1000", e1000_begin, e1000_give, e1000_is_done, e1000_kick, e1000_interrupt},
    {"rtl8139", rtl8139_begin, rtl8139_give, rtl8139_is_done, rtl8139_kick, rtl8139_interrupt},
};

/* ---- both ---- */

static unsigned gsi_of(const struct nic_bench *b)
{
    return irq_intx_gsi(b->device, 0);
}

static bool line_high(struct nic_bench *b)
{
    return __atomic_load_n(&b->d->gsi_level, __ATOMIC_RELAXED) >> gsi_of(b) & 1;
}

/* As a vCPU takes an interrupt between two instructions. */
static void line_look(struct nic_bench *b)
{
    if (line_high(b)) {
        b->interrupts++;
        b->nic->interrupt(b);
    }
}

/* Asleep until the line is high. False: it was not, for so long. */
static bool line_wait(struct nic_bench *b, int64_t ms)
{
    struct host *h = b->d->host;
    struct timespec end;
    int e = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&h->big);
    while (!line_high(b) && !b->d->dying && e != ETIMEDOUT)
        e = pthread_cond_timedwait(&h->idle, &h->big, &end);
    pthread_mutex_unlock(&h->big);
    return e != ETIMEDOUT;
}

/* What the card has done since; how many descriptors. */
static unsigned reap(struct nic_bench *b)
{
    unsigned n = 0;

    while (b->ended < b->begun && b->nic->is_done(b, (unsigned)b->ended)) {
        if (!b->tx)
            b->nic->give(b, (unsigned)b->ended, 0);
        b->ended++;
        n++;
    }
    return n;
}

/* ---- the other end ---- */

/* What the tap has had of the card (rx) or had no room for (drop), of /proc/net/dev. */
static uint64_t tap_frames(struct nic_bench *b)
{
    char line[512], format[64];
    uint64_t frames = 0;
    FILE *f = fopen("/proc/thread-self/net/dev", "r");

    snprintf(format, sizeof(format), " %s: %%*u %%%s", b->tap, SCNu64);
    while (f && fgets(line, sizeof(line), f) && sscanf(line, format, &frames) != 1)
        ;
    if (f)
        fclose(f);
    return frames;
}

static bool socket_open(struct nic_bench *b)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(b->tap)};
    int on = 1, room = 1 << 20;

    b->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (b->socket < 0 || !to.sll_ifindex || bind(b->socket, (struct sockaddr *)&to, sizeof(to)) < 0)
        return false;
    setsockopt(b->socket, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
    setsockopt(b->socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    return true;
}

static void frame_make(uint8_t *f)
{
    static const uint8_t head[14] = {
        0x00, 0x16, 0x3e, 1, 2, 3, 2, 0, 0, 0, 0, 1, ETHERTYPE >> 8, ETHERTYPE & 0xff};

    memset(f, 0x5a, BUFFER);
    memcpy(f, head, sizeof(head));
}

static void put_into_tap(struct nic_bench *b, unsigned n)
{
    static uint8_t frame[BUFFER];
    struct iovec iov = {frame, b->bytes};
    struct mmsghdr m[RING];
    unsigned done = 0;

    frame_make(frame);
    memset(m, 0, sizeof(m));
    for (unsigned i = 0; i < n; i++)
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
    while (done < n) {
        int r = sendmmsg(b->socket, m + done, n - done, 0);

        if (r < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN) {
            b->why = "the tap takes no frames";
            return;
        }
        done += r > 0 ? (unsigned)r : 0;
    }
    b->begun += n;
}

/* ---- the two directions ---- */

static unsigned put_into_ring(struct nic_bench *b)
{
    unsigned n = 0;

    while (n < b->burst && b->begun < b->count && b->begun - b->ended < RING - 1) {
        b->nic->give(b, (unsigned)b->begun++, b->bytes);
        n++;
    }
    if (n)
        b->nic->kick(b, (unsigned)b->begun);
    return n;
}

static void send_all(struct nic_bench *b)
{
    uint64_t before = tap_frames(b);

    while (b->ended < b->count && !b->why) {
        unsigned n = put_into_ring(b);

        line_look(b);
        if (!reap(b) && !n && !line_wait(b, PATIENCE_MS))
            b->why = "the card does not send";
    }
    if (!b->why && tap_frames(b) - before < b->count)
        b->lost = b->count - (tap_frames(b) - before);
}

static void receive_all(struct nic_bench *b)
{
    unsigned given = 0; /* since the card was told of it: Linux tells it by sixteen */

    while (b->ended < b->count && !b->why) {
        unsigned burst = (unsigned)MIN(b->burst, b->count - b->begun), n;

        if (burst && b->begun - b->ended + burst <= (b->burst == 1 ? 1 : WINDOW))
            put_into_tap(b, burst);
        line_look(b);
        n = reap(b);
        given += n;
        if (given >= MIN(b->burst, 16)) {
            b->nic->kick(b, (unsigned)b->ended);
            given = 0;
        }
        if (!n && !line_wait(b, PATIENCE_MS))
            b->why = "a frame did not arrive";
    }
}

/* A card that has just been told to receive may need a moment: QEMU's e1000 takes a second. */
static void receive_first(struct nic_bench *b)
{
    uint64_t count = b->count;

    b->count = 1;
    receive_all(b);
    b->count = count + 1;
}

static char *bench_run(struct nic_bench *b)
{
    int64_t start, ns;
    unsigned i;

    memset(b->ring, 0, RING * 16);
    for (i = 0; i < RING; i++)
        frame_make(b->buffers + (size_t)i * BUFFER);
    for (i = 0; i < RING && !b->tx; i++)
        b->nic->give(b, i, 0);
    b->nic->begin(b);
    if (!b->tx)
        receive_first(b);
    b->interrupts = 0;
    start = now_ns();
    if (!b->why) {
        if (b->tx)
            send_all(b);
        else
            receive_all(b);
    }
    ns = now_ns() - start;
    if (b->why)
        return g_strdup_printf("FAIL after %" PRIu64 " of %" PRIu64 " frames: %s", b->ended,
                               b->count, b->why);
    return g_strdup_printf("OK n=%" PRIu64 " total=%" PRId64 " interrupts=%" PRIu64
                           " lost=%" PRIu64,
                           b->ended, ns, b->interrupts, b->lost);
}

static const struct nic *nic_find(const char *name)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(nics); i++)
        if (!strcmp(nics[i].name, name))
            return &nics[i];
    return NULL;
}

/* benchnic e1000|rtl8139 tx|rx COUNT BYTES BURST BAR DEVICE TAP */
char *cmd_benchnic(struct cmd *c)
{
    struct nic_bench b = {.c = c,
                          .d = c->d,
                          .nic = nic_find(c->w[1]),
                          .tx = !strcmp(c->w[2], "tx"),
                          .count = c->a[3],
                          .bytes = (unsigned)c->a[4],
                          .burst = (unsigned)c->a[5],
                          .bar = c->a[6],
                          .device = (unsigned)c->a[7],
                          .tap = c->w[8],
                          .socket = -1};
    uint64_t left;
    char *out;

    b.ring = mem_ptr(c->d, DESCRIPTORS, &left, NULL);
    b.buffers = mem_ptr(c->d, BUFFERS, &left, NULL);
    if (!b.nic || !b.count || b.bytes < ETH_ZLEN || b.bytes > ETH_FRAME_LEN || !b.burst ||
        b.burst > WINDOW || b.device > 31 || !b.ring || !b.buffers ||
        left < (uint64_t)RING * BUFFER)
        return fail("usage: benchnic e1000|rtl8139 tx|rx COUNT BYTES BURST BAR DEVICE TAP");
    if (!socket_open(&b))
        out = fail("%s: %s", b.tap, strerror(errno));
    else
        out = bench_run(&b);
    if (b.socket >= 0)
        close(b.socket);
    return out;
}
