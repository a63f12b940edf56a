/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl record scrub: a recording without what its guest's user typed, sent or stored, that
 * replays still. Sizes stay, and what devices interpret: descriptors, packets, partition tables,
 * divisors. What was given is given as zeros; what was made of it is not compared any more.
 *
 * Which writes to a data port are no data, the registers beside it say: a UART's divisor latch, an
 * ATA channel's command. So these two chips are known here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/input-event-codes.h>

#include <xendm/net.h>

#include "record.h"

#define STRUCTURE_MAX 64u /* a DMA read of so many bytes is taken for structure */
#define SECTOR 512u
#define TABLE_AT 446u /* the partition table, in the first sector of a disk */
#define I8042_DATA 0x60u
#define UART_LCR 3u
#define LCR_DLAB 0x80u
#define ATA_COMMAND 7u
#define ATA_PACKET 0xa0u
#define PACKET_BYTES 12u
#define REQUESTS 64u /* of which the place is remembered */

struct scrub {
    GByteArray *out;
    uint64_t time;
    bool dlab[0x10000 / 8];         /* of the UART whose ports begin there */
    unsigned packet[0x10000 / 8];   /* bytes that an ATA channel waits for, likewise */
    uint64_t sector_zero[REQUESTS]; /* requests that read it */
    unsigned requests;
    unsigned held[KEY_CNT]; /* what stands for a key that is down; 0: it is up */
    GByteArray *room;
};

/* ---- keys ---- */

static const unsigned plain[] = {
    KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G, KEY_H, KEY_I, KEY_J, KEY_K, KEY_L, KEY_M,
    KEY_N, KEY_O, KEY_P, KEY_Q, KEY_R, KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y, KEY_Z,
};
/* Two bytes on the wire. */
static const unsigned extended[] = {
    KEY_RIGHTCTRL, KEY_RIGHTALT, KEY_HOME, KEY_UP,       KEY_PAGEUP, KEY_LEFT,
    KEY_RIGHT,     KEY_END,      KEY_DOWN, KEY_PAGEDOWN, KEY_INSERT, KEY_DELETE,
};

static bool is_in_use(const struct scrub *s, unsigned code)
{
    for (unsigned i = 0; i < KEY_CNT; i++) {
        if (s->held[i] == code) {
            return true;
        }
    }
    return false;
}

/* Another key that is as long on the wire, and up. */
static unsigned stands_for(const struct scrub *s, unsigned code)
{
    bool two = code >= KEY_KPENTER && code != KEY_SYSRQ && code != KEY_PAUSE;
    const unsigned *from = two ? extended : plain;
    size_t n = two ? G_N_ELEMENTS(extended) : G_N_ELEMENTS(plain);

    for (size_t i = 0; i < n; i++) {
        if (!is_in_use(s, from[i])) {
            return from[i];
        }
    }
    return code;
}

static void scrub_key(struct scrub *s, struct tape_entry *e)
{
    uint64_t code = e->number[0];

    if (code >= KEY_CNT) {
        return;
    }
    if (!s->held[code]) {
        s->held[code] = stands_for(s, (unsigned)code);
    }
    e->number[0] = s->held[code];
    if (!e->number[1]) {
        s->held[code] = 0;
    }
}

/* Pressed together: each another. */
static void scrub_keys(struct scrub *s, struct tape_entry *e)
{
    unsigned codes[32], n = (unsigned)MIN(e->len / sizeof(codes[0]), G_N_ELEMENTS(codes));

    memcpy(codes, e->data, n * sizeof(codes[0]));
    for (unsigned i = 0; i < n; i++) {
        struct tape_entry one = {.number = {codes[i], 1}};

        scrub_key(s, &one);
        g_byte_array_append(s->room, (const guint8 *)&(unsigned){(unsigned)one.number[0]},
                            sizeof(unsigned));
    }
    for (unsigned i = 0; i < n; i++) {
        struct tape_entry one = {.number = {codes[i], 0}};

        scrub_key(s, &one);
    }
    e->data = s->room->data;
    e->len = s->room->len;
}

/* ---- ports ---- */

static unsigned group(uint64_t port)
{
    return (unsigned)(port & 0xffff) / 8;
}

static void see_register(struct scrub *s, const struct tape_entry *e)
{
    unsigned at = group(e->number[1]);

    if ((e->number[1] & 7) == UART_LCR) {
        s->dlab[at] = e->number[3] & LCR_DLAB;
    } else if ((e->number[1] & 7) == ATA_COMMAND) {
        s->packet[at] = e->number[3] == ATA_PACKET ? PACKET_BYTES : 0;
    }
}

static void scrub_write(struct scrub *s, struct tape_entry *e)
{
    unsigned at = group(e->number[1]);

    if (s->packet[at] > 0) {
        s->packet[at] -= (unsigned)MIN(s->packet[at], e->number[2]);
    } else if (!s->dlab[at] && e->number[1] != I8042_DATA) {
        e->number[3] = 0;
    }
}

/* A packet stays, what is behind it not. */
static void scrub_units(struct scrub *s, struct tape_entry *e)
{
    unsigned at = group(e->number[1]);
    size_t keep = MIN(s->packet[at], e->len);

    if (keep == 0 || !e->data) {
        e->hidden = true;
        return;
    }
    s->packet[at] -= (unsigned)keep;
    g_byte_array_set_size(s->room, (guint)e->len);
    memset(s->room->data, 0, e->len);
    memcpy(s->room->data, e->data, keep);
    e->data = s->room->data;
}

/* ---- disks ---- */

/* How a disk is cut is seen by its drive, in the first sector. */
static void scrub_sectors(struct scrub *s, struct tape_entry *e, bool first)
{
    if (!first || !e->data || e->len < SECTOR) {
        e->hidden = true;
        return;
    }
    g_byte_array_set_size(s->room, (guint)e->len);
    memset(s->room->data, 0, e->len);
    memcpy(s->room->data + TABLE_AT, e->data + TABLE_AT, SECTOR - TABLE_AT);
    e->data = s->room->data;
}

static void see_submit(struct scrub *s, const struct tape_entry *e)
{
    if (e->number[3] == 0 && e->len == 0) {
        s->sector_zero[s->requests++ % REQUESTS] = e->number[0];
    }
}

static bool was_first(const struct scrub *s, uint64_t request)
{
    for (unsigned i = 0; i < MIN(s->requests, REQUESTS); i++) {
        if (s->sector_zero[i] == request) {
            return true;
        }
    }
    return false;
}

/* ---- networks ---- */

/* What a card looks at: addresses, lengths, places of checksums. */
static size_t headers(const uint8_t *frame, size_t len)
{
    size_t link = NET_HEADER_LEN + (net_tagged(frame, len, NET_TYPE_VLAN) ? NET_TAG_LEN : 0);
    struct net_headers h;

    if (!net_find_headers(frame, len, &h)) {
        return MIN(link, len);
    }
    return h.payload ? h.payload : h.ip_end;
}

static void scrub_frame(struct scrub *s, struct tape_entry *e)
{
    if (!e->data) {
        return;
    }
    g_byte_array_set_size(s->room, (guint)e->len);
    memset(s->room->data, 0, e->len);
    memcpy(s->room->data, e->data, headers(e->data, e->len));
    e->data = s->room->data;
}

/* ---- everything ---- */

static void scrub_entry(struct scrub *s, struct tape_entry *e)
{
    const struct tape_kind_info *k = tape_kind_info(e->kind);

    g_byte_array_set_size(s->room, 0);
    switch (e->kind) {
    case TAPE_PIO_WRITE:
        see_register(s, e);
        break;
    case TAPE_PIO_PAYLOAD:
        scrub_write(s, e);
        break;
    case TAPE_MMIO_PAYLOAD:
        e->number[3] = 0;
        break;
    case TAPE_PIO_OUT:
        scrub_units(s, e);
        break;
    case TAPE_KEY:
        scrub_key(s, e);
        break;
    case TAPE_KEYS:
        if (e->data) {
            scrub_keys(s, e);
        }
        break;
    case TAPE_PAYLOAD_ANSWER:
        e->kind = TAPE_HIDDEN_ANSWER;
        break;
    case TAPE_READ_NOW:
        scrub_sectors(s, e, e->number[0] == 0);
        break;
    case TAPE_BLOCK_DONE:
        scrub_sectors(s, e, was_first(s, e->number[0]));
        break;
    case TAPE_SUBMIT:
        see_submit(s, e);
        e->hidden = true;
        break;
    case TAPE_NET_IN:
    case TAPE_LIST_HEADERS:
    case TAPE_DMA_HEADERS:
        scrub_frame(s, e);
        break;
    case TAPE_DMA_READ:
        e->hidden = e->hidden || e->len > STRUCTURE_MAX;
        break;
    default:
        e->hidden = e->hidden || k->payload;
        break;
    }
    tape_encode(s->out, e, &s->time);
}

static int write_out(const char *path, const GByteArray *out)
{
    g_autoptr(GError) err = NULL;

    if (!g_file_set_contents_full(path, (const char *)out->data, out->len,
                                  G_FILE_SET_CONTENTS_CONSISTENT, 0600, &err)) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
        return 1;
    }
    return 0;
}

static int scrub(record_t *f, const char *from, const char *to)
{
    g_autofree struct scrub *s = g_new0(struct scrub, 1);
    g_autoptr(GByteArray) out = g_byte_array_new(), room = g_byte_array_new();
    enum record_next next;
    struct tape_entry e;

    s->out = out;
    s->room = room;
    g_byte_array_append(out, f->all->data, (guint)f->entries);
    while ((next = record_next(f, &e)) == RECORD_ENTRY) {
        scrub_entry(s, &e);
    }
    if (next == RECORD_DAMAGED) {
        fprintf(stderr, "xendmctl: %s: damaged behind entry %" G_GUINT64_FORMAT "\n", from,
                (guint64)f->number);
        return 1;
    }
    return write_out(to, out);
}

int record_scrub(int argc, char **argv)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(record_t) f = argc == 2 ? record_open(argv[0], &err) : NULL;

    if (argc != 2) {
        return -1;
    }
    if (!f) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
        return 1;
    }
    return scrub(f, argv[0], argv[1]);
}
