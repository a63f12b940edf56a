/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <xendm/bytes.h>
#include <xendm/facts.h>
#include <xendm/guestmem.h>
#include <xendm/ide.h>
#include <xendm/input.h>
#include <xendm/pci.h>

#include "../../backends/display/internal.h"
#include "../unit/fake-p9.h"
#include "guest.h"

#define SETTLE_TURNS 1000000u

const char *const guest_drive_id[GUEST_DRIVES] = {"ide0-hd", "ide0-cd", "ide-5632", "ide1-hd"};

static char firmware_dir[] = "/tmp/xendm-fuzz-XXXXXX";

/* The image is read into memory when the board is made. */
static void firmware_gone(void)
{
    g_autofree char *rom = g_build_filename(firmware_dir, "vgabios-stdvga.bin", NULL);

    unlink(rom);
    rmdir(firmware_dir);
}

const char *guest_firmware(void)
{
    static bool made;

    if (!made) {
        g_autofree char *rom = NULL;
        g_autofree char *data = g_malloc0(4096);

        made = true;
        if (!mkdtemp(firmware_dir)) {
            abort();
        }
        atexit(firmware_gone);
        rom = g_build_filename(firmware_dir, "vgabios-stdvga.bin", NULL);
        g_file_set_contents(rom, data, 4096, NULL);
        setenv("XENDM_FIRMWARE_DIR", firmware_dir, 1);
    }
    return firmware_dir;
}

/* ---- a character back end that takes what the input says ---- */

struct chardev *guest_serial_new(const char *id)
{
    static const struct backend_class class = {.kind = BACKEND_CHAR, .driver = "fuzz"};
    struct chardev *cd = g_new0(struct chardev, 1);

    cd->b.class = &class;
    cd->b.id = g_strdup(id);
    cd->connected = true;
    cd->takes = 17;
    return cd;
}

void guest_serial_free(struct chardev *cd)
{
    g_free(cd->b.id);
    g_free(cd);
}

size_t chardev_write(struct chardev *cd, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, cd->takes);

    cd->takes = cd->takes > 16 ? cd->takes : cd->takes - (unsigned)n;
    return n;
}

void chardev_set_frontend(struct chardev *cd, const struct chardev_frontend *frontend, void *opaque)
{
    cd->frontend = frontend;
    cd->opaque = opaque;
}

void chardev_accept_input(struct chardev *cd)
{
}

const char *chardev_filename(const struct chardev *cd)
{
    return "fuzz";
}

bool chardev_connected(const struct chardev *cd)
{
    return cd->connected;
}

struct p9_share *guest_share_new(void)
{
    static const struct backend_class class = {.kind = BACKEND_FSDEV, .driver = "fuzz"};
    static const struct p9_tree tree = {(char *)"/srv", (char *)"none", false};
    struct p9_share *s = g_new0(struct p9_share, 1);

    s->b.class = &class;
    s->b.id = g_strdup("fs");
    s->mount = p9_mount_new(&tree, NULL, NULL);
    p9_mount_start(s->mount, NULL);
    return s;
}

void guest_share_free(struct p9_share *s)
{
    p9_mount_free(s->mount);
    g_free(s->b.id);
    g_free(s);
}

struct p9_mount *p9_share_mount(struct p9_share *s)
{
    return s->mount;
}

const char *chardev_label(const struct chardev *cd)
{
    return cd->b.id;
}

bool chardev_size(const struct chardev *cd, uint16_t *cols, uint16_t *rows)
{
    *cols = 80;
    *rows = (uint16_t)(cd->takes + 1);
    return cd->connected;
}

uint64_t guest_bar(struct machine *m, unsigned devfn, unsigned bar)
{
    struct pci_device *pci = pci_device_at(m->pci, devfn);

    return pci && pci->bar[bar].address != PCI_BAR_UNMAPPED ? pci->bar[bar].address : 0;
}

/* Guest memory: low pages mostly, the ends of RAM, anything. */
uint64_t guest_some_memory(struct fuzz_guest *g)
{
    unsigned which = fuzz_u8(&g->in);

    switch (which % 8) {
    case 0:
        return (UINT64_C(16) << 20) - fuzz_u8(&g->in);
    case 1:
        return (UINT64_C(4) << 30) + fuzz_uint(&g->in, 3) - 128;
    case 2:
        return fuzz_uint(&g->in, 8);
    default:
        return 0x1000 + fuzz_uint(&g->in, 2);
    }
}

void guest_memory(struct fuzz_guest *g)
{
    uint64_t gpa = 0x1000 + fuzz_uint(&g->in, 2);
    uint8_t buf[256];
    size_t len = fuzz_u8(&g->in) + 1u;

    fuzz_bytes(&g->in, buf, len);
    guestmem_write(g->m->memory, gpa, buf, len);
}

/* ---- longer patterns, as drivers have them ---- */

static uint8_t ata_code(struct fuzz_guest *g)
{
    static const uint8_t codes[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0xc4, 0xc5,
                                    0xc6, 0xc8, 0xca, 0x06, 0xe7, 0xec, 0xef, 0x91, 0x40, 0x90,
                                    0x08, 0xa0, 0xa0, 0xa0, 0xa1, 0xe0, 0xf8, 0x27};
    unsigned which = fuzz_u8(&g->in);

    return which >= 240 ? fuzz_u8(&g->in) : codes[which % sizeof(codes)];
}

static void packet(struct fuzz_guest *g, uint32_t base, bool small)
{
    static const uint8_t first[] = {0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25,
                                    0x28, 0x2b, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x55,
                                    0x5a, 0xa8, 0xad, 0xbb, 0xbd, 0xbe};

    for (unsigned i = 0; i < 6; i++) {
        unsigned word = (unsigned)fuzz_uint(&g->in, 2);

        if (i == 0) {
            word = (word & 0xff00) | first[(word & 0xff) % sizeof(first)];
        } else if (small && i != 4) {
            word &= 0x0101; /* small numbers: addresses that exist */
        }
        g->out(g, base, word, 2);
    }
}

static void command(struct fuzz_guest *g, uint8_t code)
{
    unsigned how = fuzz_u8(&g->in);
    uint32_t base = how & 1 ? 0x170 : 0x1f0;

    g->out(g, base + 6, 0xe0 | (how & 2 ? 0x10 : 0) | (how & 0x80 ? 0 : 0x40), 1);
    for (unsigned reg = 1; reg < 6; reg++) {
        bool high = (how >> 2 & 3) == 0;

        if (high) {
            g->out(g, base + reg, how & 0x20 ? fuzz_u8(&g->in) : 0, 1);
        }
        g->out(g, base + reg,
               reg == 3 || reg == 2 || how & 0x10 ? fuzz_u8(&g->in)
               : reg == 1                         ? how >> 6
                                                  : 0,
               1);
    }
    g->out(g, base + 7, code, 1);
    if (code == 0xa0) {
        packet(g, base, how & 0x40);
    }
}

void guest_ata(struct fuzz_guest *g)
{
    command(g, ata_code(g));
}

void guest_atapi(struct fuzz_guest *g)
{
    command(g, fuzz_u8(&g->in) & 0xe0 ? 0xa0 : ata_code(g));
}

/* ---- AHCI ---- */

#define AHCI_BAR 5u
#define AHCI_LIST 0x10000u
#define AHCI_FISES 0x10400u
#define AHCI_TABLES 0x11000u

/* A command list in place, the drive spun up, the port started. */
static void ahci_start(struct fuzz_guest *g, uint64_t port)
{
    aspace_write(g->m->mmio, port + 0x18, 0x06, 4);
    aspace_write(g->m->mmio, port, AHCI_LIST, 4);
    aspace_write(g->m->mmio, port + 8, AHCI_FISES, 4);
    aspace_write(g->m->mmio, port + 0x14, UINT32_MAX, 4);
    aspace_write(g->m->mmio, port + 0x18, 0x17, 4);
}

static void ahci_table(struct fuzz_guest *g, uint32_t table, unsigned entries)
{
    for (unsigned i = 0; i < entries; i++) {
        uint8_t prd[16] = {0};

        store_le32(prd, (uint32_t)guest_some_memory(g));
        store_le32(prd + 12, (uint32_t)fuzz_uint(&g->in, 2));
        guestmem_write(g->m->memory, table + 0x80 + 16 * i, prd, sizeof(prd));
    }
}

/* One command, queued or not, with a table of some entries; first, now and then, a start. */
void guest_ahci(struct fuzz_guest *g)
{
    static const uint8_t codes[] = {0x60, 0x61, 0x25, 0x35, 0x24, 0x34, 0xec, 0xa0,
                                    0x2f, 0x06, 0xea, 0x60, 0x61, 0xa1, 0xc6, 0xef};
    uint64_t bar = guest_bar(g->m, PCI_DEVFN(5, 0), AHCI_BAR);
    unsigned how = fuzz_u8(&g->in), slot = fuzz_u8(&g->in) % 8, entries = 1 + (how >> 6);
    uint64_t port = bar + 0x100 + 0x80 * (how & 1);
    uint32_t table = AHCI_TABLES + slot * 0x100;
    uint8_t header[16] = {how & 2 ? 0x25 : 5}, fis[0x50] = {0x27, 0x80};

    if (bar == PCI_BAR_UNMAPPED) {
        return;
    }
    if (how & 0x0c) {
        ahci_start(g, port);
    }
    store_le16(header + 2, entries);
    store_le32(header + 8, table);
    fis[2] = codes[fuzz_u8(&g->in) % sizeof(codes)];
    fuzz_bytes(&g->in, fis + 3, 1);
    fuzz_bytes(&g->in, fis + 4, 2);
    fis[7] = 0x40;
    fis[12] = fis[2] == 0x60 || fis[2] == 0x61 ? (uint8_t)(slot << 3) : fis[3];
    if (how & 0x10) {
        fuzz_bytes(&g->in, fis, 20);
    }
    if (fis[2] == 0xa0) {
        fuzz_bytes(&g->in, fis + 0x40, 12);
    }
    guestmem_write(g->m->memory, AHCI_LIST + 32 * slot, header, sizeof(header));
    guestmem_write(g->m->memory, table, fis, sizeof(fis));
    ahci_table(g, table, entries);
    aspace_write(g->m->mmio, port + 0x34, 1u << slot, 4);
    aspace_write(g->m->mmio, port + 0x38, 1u << slot, 4);
}

/* ---- sound, watchdog ---- */

#define AC97_LIST 0x10000u

/* A ring of buffers of some lengths, then one of the three engines begins or goes on. */
void guest_ac97(struct fuzz_guest *g)
{
    uint64_t master = guest_bar(g->m, PCI_DEVFN(4, 0), 1);
    unsigned how = fuzz_u8(&g->in), n = 1 + fuzz_u8(&g->in) % 32;
    uint64_t engine = master + 16 * (how % 3);

    if (master == PCI_BAR_UNMAPPED) {
        return;
    }
    for (unsigned i = 0; i < n && (how & 0x20); i++) {
        uint8_t d[8];

        store_le32(d, (uint32_t)guest_some_memory(g));
        store_le32(d + 4, fuzz_u8(&g->in) | (uint32_t)fuzz_u8(&g->in) << 24);
        guestmem_write(g->m->memory, AC97_LIST + 8 * i, d, sizeof(d));
    }
    if (how & 0x40) {
        aspace_write(g->m->pio, engine + 11, 2, 1);
    }
    aspace_write(g->m->pio, engine, AC97_LIST, 4);
    aspace_write(g->m->pio, engine + 5, n - 1, 1);
    aspace_write(g->m->pio, engine + 11, 0x1d, 1);
}

/* The two writes, then any third. */
void guest_i6300esb(struct fuzz_guest *g)
{
    uint64_t bar = guest_bar(g->m, PCI_DEVFN(4, 0), 0);
    unsigned how = fuzz_u8(&g->in);

    if (bar == PCI_BAR_UNMAPPED) {
        return;
    }
    aspace_write(g->m->mmio, bar + 12, 0x80, 2);
    aspace_write(g->m->mmio, bar + 12, 0x86, 2);
    aspace_write(g->m->mmio, bar + (how & 12), fuzz_uint(&g->in, 4), 4);
    pci_config_write(g->m->pci, PCI_DEVFN(4, 0), 0x60, how >> 4 & 4, 2);
    pci_config_write(g->m->pci, PCI_DEVFN(4, 0), 0x68, how & 6, 1);
}

/* The words of some sectors, either way. */
void guest_data(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), words = 256 * (1 + (how >> 4 & 3));
    uint32_t base = how & 1 ? 0x170 : 0x1f0;

    for (unsigned i = 0; i < words; i++) {
        if (how & 2) {
            g->out(g, base, i, 2);
        } else {
            g->get(g, base, 2);
        }
    }
}

/* DATA SET MANAGEMENT with ranges that mostly exist. */
void guest_trim(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    uint32_t base = how & 1 ? 0x170 : 0x1f0;
    uint32_t bm = (uint32_t)guest_bar(g->m, PCI_DEVFN(1, 1), 4) + (how & 1 ? 8 : 0);
    uint32_t prd[2] = {0x20000, 0x80000200};
    uint64_t range[64] = {0};

    for (unsigned i = 0; i < 4; i++) {
        range[i] = fuzz_u8(&g->in) | (uint64_t)(fuzz_u8(&g->in) % 160) << 48;
    }
    guestmem_write(g->m->memory, prd[0], range, sizeof(range));
    guestmem_write(g->m->memory, 0x8000, prd, sizeof(prd));
    g->out(g, bm, 0, 1);
    g->out(g, bm + 4, 0x8000, 4);
    g->out(g, base + 6, 0xe0 | (how & 2) << 3, 1);
    g->out(g, base + 1, how & 0xf0 ? 1 : 0, 1);
    g->out(g, base + 2, 0, 1);
    g->out(g, base + 2, 1, 1);
    g->out(g, base + 7, 0x06, 1);
    g->out(g, bm, how & 4 ? 9 : 1, 1);
}

/* docs/misc/hvm-emulated-unplug.pandoc of Xen: the magic number is read, then the wish written. */
void guest_unplug(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    g->get(g, 0x10, 2);
    if (how & 1) {
        g->out(g, 0x12, fuzz_uint(&g->in, 2), 2);
        g->out(g, 0x10, fuzz_uint(&g->in, 4), 4);
    }
    g->out(g, how & 2 ? 0x10 : 0x12, how >> 2, how & 0x80 ? 1 : 2);
}

/* A command for the controller, the keyboard or the mouse, and what they answer. */
void guest_keyboard(struct fuzz_guest *g)
{
    static const uint8_t codes[] = {0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad,
                                    0xae, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xfe};
    unsigned how = fuzz_u8(&g->in), n = how >> 5;

    if (how & 1) {
        unsigned code = fuzz_u8(&g->in);

        g->out(g, 0x64, code > 0xf0 ? code : codes[code % sizeof(codes)], 1);
    }
    if (how & 2) {
        g->out(g, 0x60, how & 4 ? 0xe0 | (fuzz_u8(&g->in) & 0x1f) : fuzz_u8(&g->in), 1);
    }
    while (n-- > 0) {
        g->get(g, 0x64, 1);
        g->get(g, 0x60, 1);
    }
}

void guest_bus_master(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), n = 1 + fuzz_u8(&g->in) % 12;
    uint32_t bm = (uint32_t)guest_bar(g->m, PCI_DEVFN(1, 1), 4),
             table = 0x8000 + (how >> 4) * 0x1ffcu;

    for (unsigned i = 0; i < n; i++) {
        uint32_t prd[2] = {(uint32_t)guest_some_memory(g), (uint32_t)fuzz_uint(&g->in, 2)};

        if (how & 8) {
            prd[1] = 512u * (prd[1] % 16);
        }
        if (i + 1 == n && how & 4) {
            prd[1] |= 0x80000000;
        }
        guestmem_write(g->m->memory, table + i * 8, prd, 8);
    }
    bm += how & 1 ? 8 : 0;
    g->out(g, bm, 0, 1);
    g->out(g, bm + 4, table, 4);
    g->out(g, bm, how & 2 ? 9 : 1, 1);
}

void guest_vbe(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    for (unsigned index = 1; index < 10; index++) {
        if (how & 1 || index < 4) {
            g->out(g, 0x1ce, index, 2);
            g->out(g, 0x1cf,
                   index == 3 && how & 2 ? 8u * (1 + (how >> 2 & 3)) : fuzz_uint(&g->in, 2), 2);
        }
    }
    g->out(g, 0x1ce, 4, 2);
    g->out(g, 0x1cf, 0x41 | (how >> 4 & 0x0e) << 4, 2);
}

void guest_vga(struct fuzz_guest *g)
{
    static const struct {
        uint16_t port;
        uint8_t count;
    } sets[] = {{0x3c4, 5}, {0x3ce, 9}, {0x3d4, 25}};
    unsigned which = fuzz_u8(&g->in) % 3, n = fuzz_u8(&g->in) % 12;

    g->out(g, 0x3c2, 0x67, 1);
    for (unsigned i = 0; i < n; i++) {
        g->out(g, sets[which].port,
               fuzz_u8(&g->in) % sets[which].count | (uint32_t)fuzz_u8(&g->in) << 8, 2);
    }
    g->get(g, 0x3da, 1);
    g->out(g, 0x3c0, 0x20 | (fuzz_u8(&g->in) & 0x1f), 1);
    g->out(g, 0x3c0, fuzz_u8(&g->in), 1);
}

/* One of Cirrus' modes, then a blit with numbers that are near to what drivers use, or not. */
void guest_cirrus(struct fuzz_guest *g)
{
    static const uint8_t wide[] = {0x21, 0x23, 0x25, 0x27, 0x2a, 0x2e};
    static const uint8_t other[] = {0x20, 0x22, 0x24, 0x26, 0x28, 0x29, 0x2c, 0x2d,
                                    0x2f, 0x32, 0x33, 0x34, 0x00, 0x01, 0x09, 0x0b};
    unsigned how = fuzz_u8(&g->in), n = fuzz_u8(&g->in) % 12;

    g->out(g, 0x3c4, 0x07 | (how & 1 ? 0x0100u | (how >> 1 & 7) << 9 : 0), 2);
    for (unsigned i = 0; i < n; i++) {
        g->out(g, 0x3ce, other[fuzz_u8(&g->in) % sizeof(other)] | (uint32_t)fuzz_u8(&g->in) << 8,
               2);
    }
    for (unsigned i = 0; i < sizeof(wide); i++) { /* short ones mostly */
        unsigned value = fuzz_u8(&g->in);
        g->out(g, 0x3ce, wide[i] | (i < 2 && (value & 15) ? 0 : value) << 8, 2);
    }
    g->out(g, 0x3ce, 0x30 | (uint32_t)fuzz_u8(&g->in) << 8, 2);
    g->out(g, 0x3ce, 0x0031, 2);
    g->out(g, 0x3ce, 0x0231, 2);
    for (unsigned i = how >> 4; i > 0; i--) { /* data, if it waits for some */
        aspace_write(g->m->mmio, 0xa0000, fuzz_uint(&g->in, 4), 4);
    }
}

static void on_damage(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    if (width == 0 || height == 0 || x + width > DISPLAY_WIDTH_MAX ||
        y + height > DISPLAY_HEIGHT_MAX) {
        g_error("damage outside of the screen");
    }
}

static const struct display_viewer viewer = {.damaged = on_damage};

void guest_look(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), width, height;
    uint64_t sum = 0;

    if ((how & 7) == 0 && g->watch) {
        display_unwatch(g->watch);
        g->watch = NULL;
        return;
    }
    if (!g->watch) {
        g->watch = display_watch(g->m->display, &viewer, g);
    }
    /* By count: an input does the same each time. Some pictures are left for other turns. */
    display_set_slice(g->m->display, how & 16 ? 1 + how * 8 : UINT_MAX);
    display_refresh(g->watch, how & 8);
    if (how & 0x60) {
        display_finish(g->m->display);
    }
    const uint32_t *pixels = display_pixels(g->m->display, &width, &height);

    for (size_t i = 0; pixels && i < (size_t)width * height; i += 97) {
        sum += pixels[i];
    }
    if (sum == 1) { /* for the compiler */
        g_message("one");
    }
}

void guest_disk(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    struct block *b = g->block[how & 3];

    switch (how >> 2 & 7) {
    case 0:
        b->cached = !b->cached;
        break;
    case 1:
        b->bad_sector = fuzz_uint(&g->in, 2) % 400;
        b->fail[how >> 5 & 3] = b->fail[how >> 5 & 3] ? 0 : how & 0x80 ? -ENOSPC : -EIO;
        break;
    case 2:
    case 3:
        fake_block_complete(b, (how >> 5) % MAX(b->pending.length, 1));
        break;
    default:
        fake_block_complete_all(b);
    }
}

void guest_medium(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), i = 1 + (how & 1);
    struct device *cd = machine_find(g->m, guest_drive_id[i]);

    if (how & 2) {
        if (ide_cd_request_eject(cd, how & 4, NULL) == 0) {
            block_eject(g->block[i]);
        }
    } else if (!g->block[i]->present) {
        block_insert(g->block[i], NULL, NULL, NULL);
    }
}

void guest_keys(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    if (how & 1) {
        input_key(g->m->input, (unsigned)fuzz_uint(&g->in, 2) % 300, how & 0x10);
        return;
    }
    input_relative(g->m->input, (int)fuzz_uint(&g->in, 4), (int8_t)fuzz_u8(&g->in),
                   (int)fuzz_uint(&g->in, 4));
    input_button(g->m->input, 0x110 + (how >> 4), how & 0x80);
    input_sync(g->m->input);
}

void guest_serial(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    struct chardev *cd = g->serial[how & 1];
    uint8_t buf[32];
    size_t room;

    if (!cd->frontend) {
        return; /* of a port that was pulled out */
    }
    switch (how >> 1 & 3) {
    case 0:
        room = cd->frontend->can_receive(cd->opaque);
        fuzz_bytes(&g->in, buf, sizeof(buf));
        cd->frontend->receive(cd->opaque, buf, MIN(room, fuzz_u8(&g->in) % sizeof(buf)));
        break;
    case 1:
        cd->connected = how & 0x10;
        cd->frontend->event(cd->opaque, how & 0x10   ? CHARDEV_OPENED
                                        : how & 0x20 ? CHARDEV_BREAK
                                                     : CHARDEV_CLOSED);
        break;
    case 2:
        cd->takes = how >> 4;
        break;
    default:
        cd->takes = 17;
        cd->frontend->writable(cd->opaque);
        break;
    }
}

void guest_server(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    if (how == 0) {
        fake_p9_end();
    } else {
        fake_p9_answer(how, (uint32_t)fuzz_uint(&g->in, how & 1 ? 1 : 2));
    }
}

void guest_drain(struct fuzz_guest *g)
{
    while (fake_p9_answer(0, 0)) {
    }
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        if (g->block[i]) {
            fake_block_complete_all(g->block[i]);
        }
    }
}

void guest_unwatch(struct fuzz_guest *g)
{
    if (g->watch) {
        display_unwatch(g->watch);
        g->watch = NULL;
    }
}

void guest_settle(struct fuzz_guest *g)
{
    for (unsigned turns = 0; g->m->holds.held > 0; turns++) {
        if (!g_main_context_iteration(NULL, FALSE)) {
            guest_drain(g); /* it waits for its disk */
        }
        if (turns > SETTLE_TURNS) {
            g_error("a device holds for ever");
        }
    }
}

static void line(void *opaque, const char *text)
{
    if (strchr(text, '\n')) {
        g_error("a fact of two lines");
    }
}

void guest_describe(struct fuzz_guest *g)
{
    for (guint i = 0; i < g->m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(g->m->devices, i);

        if (dev->class->describe) {
            struct facts *facts = facts_new();

            dev->class->describe(dev, facts);
            facts_foreach_line(facts, line, NULL);
            facts_free(facts);
        }
    }
}

/* ---- whoever sends the state ---- */

#define END_SIZE 40u /* type, length and checksum at the end of a stream */

void guest_damage_state(struct fuzz_guest *g, GByteArray *stream)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    guint body = stream->len - END_SIZE;
    gsize size = 32;

    for (unsigned n = 1 + fuzz_u8(&g->in) % 6; n > 0; n--) {
        guint at = (guint)fuzz_uint(&g->in, 3) % body;
        uint8_t how = fuzz_u8(&g->in), value = fuzz_u8(&g->in);

        stream->data[at] = how & 1   ? value
                           : how & 2 ? (uint8_t)(stream->data[at] ^ 1u << (value & 7))
                           : how & 4 ? 0xff
                                     : 0;
    }
    g_checksum_update(sum, stream->data, body);
    g_checksum_get_digest(sum, stream->data + body + 8, &size);
}
