/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole board behind the ioreq server's core, fed with what a guest can do: requests as Xen
 * writes them and as it never would, string instructions, the buffered ring, memory contents
 * (descriptor tables, TRIM ranges), and in between what the outside does: disk I/O that completes
 * in any order or fails, time, viewers, media, input, wake-up, stop and start, migration. What can
 * be reached has to be saved and loaded again, equal.
 *
 * An input is a sequence of operations, one byte that says which, then its operands.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <xendm/chardev.h>
#include <xendm/display.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "../../dm/ioreq/request.h"
#include "../unit/fake-block.h"
#include "../unit/fakes.h"
#include "fuzz.h"

#define DRIVES 4u
#define VCPUS 3u
#define INPUT_MAX 4096u
#define OPS_MAX 600u

const char fuzz_name[] = "board";
const unsigned fuzz_short_run = 250;

/* ---- a character back end that takes what the input says ---- */

struct chardev {
    const struct chardev_frontend *frontend;
    void *opaque;
    bool connected;
    unsigned takes; /* bytes of the next write; more than a FIFO: all */
};

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

/* ---- the board ---- */

struct world {
    struct fuzz_input in;
    struct machine *m;
    struct machine_desc desc;
    struct machine_backends backends;
    struct block *block[DRIVES];
    struct chardev serial[2];
    struct chardev *serials[2];
    struct ioreq_core core;
    struct ioreq slot[VCPUS] __attribute__((aligned(4096)));
    struct buffered_iopage *ring;
    struct display_watch *watch;
    bool stopped;
    /* was loaded from a changed stream: what it says then need not be the same again */
    bool hostile;
};

static void free_drive_desc(gpointer p)
{
    struct drive_desc *d = p;

    g_free(d->id);
    g_free(d);
}

static void free_device_desc(gpointer p)
{
    struct device_desc *d = p;

    g_free(d->driver);
    g_hash_table_unref(d->properties);
    g_free(d);
}

static const char *firmware(void)
{
    static char dir[] = "/tmp/xendm-fuzz-XXXXXX";
    static bool made;

    if (!made) {
        g_autofree char *rom = NULL;
        g_autofree char *data = g_malloc0(4096);

        made = true;
        if (!mkdtemp(dir)) {
            abort();
        }
        rom = g_build_filename(dir, "vgabios-stdvga.bin", NULL);
        g_file_set_contents(rom, data, 4096, NULL);
        setenv("XENDM_FIRMWARE_DIR", dir, 1);
    }
    return dir;
}

/* The image is read into memory when the board is made. */
static void firmware_gone(void)
{
    g_autofree char *rom = g_build_filename(firmware(), "vgabios-stdvga.bin", NULL);

    unlink(rom);
    rmdir(firmware());
}

static void on_notify(void *opaque, unsigned vcpu)
{
}

static void describe(struct world *w, unsigned flags)
{
    static const char *const ids[DRIVES] = {"ide0-hd", "ide0-cd", "ide-5632", "ide1-hd"};

    w->desc.type = MACHINE_XENFV;
    w->desc.acpi = true;
    w->desc.boot_order = g_strdup("cda");
    w->desc.vga = VGA_STD;
    w->desc.vga_memory_mib = 1 + (flags & 3);
    w->desc.drives = g_ptr_array_new_with_free_func(free_drive_desc);
    w->desc.serials = g_ptr_array_new_with_free_func(g_free);
    w->desc.devices = g_ptr_array_new_with_free_func(free_device_desc);
    w->backends.drives = w->block;
    w->backends.serials = w->serials;
    for (unsigned i = 0; i < DRIVES; i++) {
        struct drive_desc *d = g_new0(struct drive_desc, 1);
        bool cd = i == 1 || i == 2;

        d->kind = cd ? DRIVE_IDE_CD : DRIVE_IDE_DISK;
        d->index = i;
        d->id = g_strdup(ids[i]);
        g_ptr_array_add(w->desc.drives, d);
        w->block[i] = fake_block_new(d->id, cd ? 300 * 2048 : 400 * 512);
        w->block[i]->read_only = cd;
        w->block[i]->hold = true;
    }
    for (unsigned i = 0; i < 2; i++) {
        g_ptr_array_add(w->desc.serials, g_strdup("fuzz"));
        w->serial[i] = (struct chardev){.connected = true, .takes = 17};
        w->serials[i] = &w->serial[i];
    }
}

static void build(struct world *w, bool restored)
{
    struct machine *m = fake_machine_new();
    GError *err = NULL;

    m->vcpus = VCPUS;
    m->vcpus_online = 1;
    m->ram_low_end = UINT64_C(504) << 20;
    m->ram_high_end = UINT64_C(4) << 30;
    w->backends.restored = restored;
    for (unsigned i = 0; i < DRIVES; i++) {
        /* opened anew: also what was unplugged */
        w->block[i]->present = w->block[i]->present || i == 0 || i == 3;
    }
    if (board_build(m, &w->desc, &w->backends, &err) < 0) {
        g_error("%s", err->message);
    }
    machine_complete(m);
    w->m = m;
    w->core.machine = m;
}

static uint64_t bar_address(struct machine *m, unsigned devfn, unsigned bar)
{
    struct pci_device *pci = pci_device_at(m->pci, devfn);

    return pci && pci->bar[bar].address != PCI_BAR_UNMAPPED ? pci->bar[bar].address : 0;
}

/* What firmware does; without it most of a random input would miss. */
static void boot(struct machine *m)
{
    static const struct {
        uint8_t devfn, reg;
        uint32_t value;
    } writes[] = {
        {PCI_DEVFN(1, 1), 0x20, 0xc100},     {PCI_DEVFN(1, 1), 0x40, 0x80008000},
        {PCI_DEVFN(1, 1), 0x04, 7},          {PCI_DEVFN(1, 3), 0x40, 0xb001},
        {PCI_DEVFN(1, 3), 0x80, 1},          {PCI_DEVFN(2, 0), 0x10, 0xc000},
        {PCI_DEVFN(2, 0), 0x14, 0xf2000000}, {PCI_DEVFN(2, 0), 0x04, 7},
        {PCI_DEVFN(3, 0), 0x10, 0xf0000000}, {PCI_DEVFN(3, 0), 0x18, 0xf3000000},
        {PCI_DEVFN(3, 0), 0x30, 0xf3010001}, {PCI_DEVFN(3, 0), 0x04, 7},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(writes); i++) {
        pci_config_write(m->pci, writes[i].devfn, writes[i].reg, writes[i].value, 4);
    }
}

static void drain(struct world *w)
{
    for (unsigned i = 0; i < DRIVES; i++) {
        fake_block_complete_all(w->block[i]);
    }
}

/* ---- requests ---- */

static bool string_on(const struct world *w, unsigned vcpu)
{
    return w->core.string != NULL && w->core.string[vcpu].on;
}

static void serve(struct world *w, unsigned vcpu)
{
    if (w->in.left % 4 == 0 && string_on(w, vcpu)) {
        return; /* this vCPU has an instruction under way: the others go on */
    }
    if (ioreq_core_serve(&w->core, vcpu)) {
        unsigned state;

        while (string_on(w, vcpu) && w->in.left % 4 != 0) {
            ioreq_core_serve(&w->core, vcpu);
        }
        if (string_on(w, vcpu)) {
            return;
        }
        state = w->slot[vcpu].state;
        if (state != STATE_IORESP_READY && state != STATE_IOREQ_NONE) {
            g_error("a slot was left in state %u", state);
        }
    }
    w->slot[vcpu].state = STATE_IOREQ_NONE;
}

static void request(struct world *w, struct ioreq r)
{
    unsigned vcpu = w->in.left % VCPUS;

    r.state = STATE_IOREQ_READY;
    w->slot[vcpu] = r;
    serve(w, vcpu);
}

static void pio_write(struct world *w, uint32_t port, uint64_t value, unsigned size)
{
    request(w, (struct ioreq){
                   .type = IOREQ_TYPE_PIO, .addr = port, .size = size, .count = 1, .data = value});
}

static uint32_t some_port(struct world *w)
{
    static const struct {
        uint16_t base, size;
    } ports[] = {
        {0x00, 32},   {0x60, 5},  {0x70, 2},    {0x81, 15},   {0x92, 1},   {0xb2, 2},   {0xc0, 32},
        {0x170, 8},   {0x376, 1}, {0x1f0, 8},   {0x3f6, 1},   {0x1ce, 4},  {0x3b4, 16}, {0x3c0, 32},
        {0x2f8, 8},   {0x3f8, 8}, {0xae00, 16}, {0xaf00, 32}, {0xafe0, 4}, {0xb000, 8}, {0xb044, 4},
        {0xb100, 16}, {0xcf8, 8}, {0xc100, 16}, {0xc000, 16}, {0x1f0, 1},  {0x3c0, 16}, {0x1ce, 3},
    };
    unsigned which = fuzz_u8(&w->in);

    if (which >= 250) {
        return (uint32_t)fuzz_uint(&w->in, 2);
    }
    which %= G_N_ELEMENTS(ports);
    return ports[which].base + fuzz_u8(&w->in) % ports[which].size;
}

static uint64_t some_address(struct world *w)
{
    unsigned which = fuzz_u8(&w->in);
    uint64_t base;

    switch (which % 8) {
    case 0:
    case 1:
    case 2:
        return 0xa0000 + fuzz_uint(&w->in, 3) % 0x20010;
    case 3:
        base = bar_address(w->m, PCI_DEVFN(3, 0), 2);
        return base + fuzz_uint(&w->in, 2) % 0x1008;
    case 4:
        base = bar_address(w->m, PCI_DEVFN(2, 0), 1);
        return base + fuzz_uint(&w->in, 2);
    case 5:
        base = bar_address(w->m, PCI_DEVFN(3, 0), PCI_BAR_ROM);
        return base + fuzz_uint(&w->in, 2) % 0x1010;
    case 6:
        return fuzz_uint(&w->in, 8);
    default:
        return UINT64_MAX - fuzz_u8(&w->in);
    }
}

/* Guest memory: low pages mostly, the ends of RAM, anything. */
static uint64_t some_memory(struct world *w)
{
    unsigned which = fuzz_u8(&w->in);

    switch (which % 8) {
    case 0:
        return (UINT64_C(16) << 20) - fuzz_u8(&w->in);
    case 1:
        return (UINT64_C(4) << 30) + fuzz_uint(&w->in, 3) - 128;
    case 2:
        return fuzz_uint(&w->in, 8);
    default:
        return 0x1000 + fuzz_uint(&w->in, 2);
    }
}

static uint8_t some_devfn(struct world *w)
{
    static const uint8_t devfn[] = {PCI_DEVFN(0, 0), PCI_DEVFN(1, 0), PCI_DEVFN(1, 1),
                                    PCI_DEVFN(1, 3), PCI_DEVFN(2, 0), PCI_DEVFN(3, 0),
                                    PCI_DEVFN(3, 0), PCI_DEVFN(1, 1)};
    unsigned which = fuzz_u8(&w->in);

    return which >= 248 ? fuzz_u8(&w->in) : devfn[which % G_N_ELEMENTS(devfn)];
}

static void op_pio(struct world *w)
{
    uint32_t port = some_port(w);
    unsigned how = fuzz_u8(&w->in);

    request(w, (struct ioreq){.type = IOREQ_TYPE_PIO,
                              .dir = how & 1,
                              .addr = port,
                              .size = 1u << (how >> 1) % 3,
                              .count = 1,
                              .data = fuzz_uint(&w->in, 1u << (how >> 1) % 3)});
}

static void op_mmio(struct world *w)
{
    uint64_t address = some_address(w);
    unsigned how = fuzz_u8(&w->in);

    request(w, (struct ioreq){.type = IOREQ_TYPE_COPY,
                              .dir = how & 1,
                              .addr = address,
                              .size = 1u << (how >> 1 & 3),
                              .count = 1,
                              .data = fuzz_uint(&w->in, 1u << (how >> 1 & 3))});
}

static void op_config(struct world *w)
{
    uint64_t devfn = some_devfn(w);
    unsigned reg = fuzz_u8(&w->in), how = fuzz_u8(&w->in);
    uint32_t value = (uint32_t)fuzz_uint(&w->in, 4);

    if (how & 0x80) {
        static const uint8_t often[] = {0x04, 0x10, 0x14, 0x18, 0x20, 0x30,
                                        0x40, 0x60, 0x80, 0x90, 0xd2, 0x3c};

        reg = often[reg % sizeof(often)];
    }
    if (how & 0x40) {
        value = value % 2 ? 0xffffffff : (value & 0xff) << 24 | (value & 0x700);
    }
    request(w, (struct ioreq){.type = IOREQ_TYPE_PCI_CONFIG,
                              .dir = how & 1,
                              .addr = devfn << 32 | reg,
                              .size = 1u << (how >> 1) % 3,
                              .count = 1,
                              .data = value});
}

static void op_string(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);
    bool pio = how & 1;
    struct ioreq r = {
        .type = pio ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY,
        .dir = how >> 1 & 1,
        .df = how >> 2 & 1,
        .data_is_ptr = (how >> 3 & 3) != 0,
        .size = 1u << (how >> 5) % (pio ? 3 : 4),
        .count = (uint32_t)fuzz_uint(&w->in, 2) % 700,
    };

    r.addr = pio ? some_port(w) : some_address(w);
    r.data = some_memory(w);
    if (how >> 3 & 1 && how & 0x80) {
        r.count = 4096;
    }
    request(w, r);
}

/* Whatever the page says. */
static void op_raw(struct world *w)
{
    unsigned vcpu = fuzz_u8(&w->in) % VCPUS;

    fuzz_bytes(&w->in, &w->slot[vcpu], sizeof(w->slot[vcpu]));
    serve(w, vcpu);
}

static void op_ring(struct world *w)
{
    unsigned how = fuzz_u8(&w->in), n = fuzz_u8(&w->in) % 8;

    if (how > 240) {
        w->ring->read_pointer = (uint32_t)fuzz_uint(&w->in, 4);
        w->ring->write_pointer = (uint32_t)fuzz_uint(&w->in, 4);
    }
    for (unsigned i = 0; i < n; i++) {
        fuzz_bytes(&w->in,
                   &w->ring->buf_ioreq[(w->ring->write_pointer + i) % IOREQ_BUFFER_SLOT_NUM],
                   sizeof(struct buf_ioreq));
    }
    w->ring->write_pointer += n;
    ioreq_core_drain(&w->core);
}

static void op_memory(struct world *w)
{
    uint64_t gpa = 0x1000 + fuzz_uint(&w->in, 2);
    uint8_t buf[256];
    size_t len = fuzz_u8(&w->in) + 1u;

    fuzz_bytes(&w->in, buf, len);
    guestmem_write(w->m->memory, gpa, buf, len);
}

/* ---- longer patterns, as drivers have them ---- */

static uint8_t ata_code(struct world *w)
{
    static const uint8_t codes[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0xc4, 0xc5,
                                    0xc6, 0xc8, 0xca, 0x06, 0xe7, 0xec, 0xef, 0x91, 0x40, 0x90,
                                    0x08, 0xa0, 0xa0, 0xa0, 0xa1, 0xe0, 0xf8, 0x27};
    unsigned which = fuzz_u8(&w->in);

    return which >= 240 ? fuzz_u8(&w->in) : codes[which % sizeof(codes)];
}

static void op_ata(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);
    uint32_t base = how & 1 ? 0x170 : 0x1f0;
    uint8_t code = ata_code(w);

    pio_write(w, base + 6, 0xe0 | (how & 2 ? 0x10 : 0) | (how & 0x80 ? 0 : 0x40), 1);
    for (unsigned reg = 1; reg < 6; reg++) {
        bool high = (how >> 2 & 3) == 0;

        if (high) {
            pio_write(w, base + reg, how & 0x20 ? fuzz_u8(&w->in) : 0, 1);
        }
        pio_write(w, base + reg,
                  reg == 3 || reg == 2 || how & 0x10 ? fuzz_u8(&w->in)
                  : reg == 1                         ? how >> 6
                                                     : 0,
                  1);
    }
    pio_write(w, base + 7, code, 1);
    if (code == 0xa0) {
        for (unsigned i = 0; i < 6; i++) {
            static const uint8_t first[] = {0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25,
                                            0x28, 0x2b, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x55,
                                            0x5a, 0xa8, 0xad, 0xbb, 0xbd, 0xbe};
            unsigned word = (unsigned)fuzz_uint(&w->in, 2);

            if (i == 0) {
                word = (word & 0xff00) | first[(word & 0xff) % sizeof(first)];
            } else if (how & 0x40 && i != 4) {
                word &= 0x0101; /* small numbers: addresses that exist */
            }
            pio_write(w, base, word, 2);
        }
    }
}

static void op_bus_master(struct world *w)
{
    unsigned how = fuzz_u8(&w->in), n = 1 + fuzz_u8(&w->in) % 12;
    uint32_t bm = (uint32_t)bar_address(w->m, PCI_DEVFN(1, 1), 4),
             table = 0x8000 + (how >> 4) * 0x1ffcu;

    for (unsigned i = 0; i < n; i++) {
        uint32_t prd[2] = {(uint32_t)some_memory(w), (uint32_t)fuzz_uint(&w->in, 2)};

        if (how & 8) {
            prd[1] = 512u * (prd[1] % 16);
        }
        if (i + 1 == n && how & 4) {
            prd[1] |= 0x80000000;
        }
        guestmem_write(w->m->memory, table + i * 8, prd, 8);
    }
    bm += how & 1 ? 8 : 0;
    pio_write(w, bm, 0, 1);
    pio_write(w, bm + 4, table, 4);
    pio_write(w, bm, how & 2 ? 9 : 1, 1);
}

static void op_vbe(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);

    for (unsigned index = 1; index < 10; index++) {
        if (how & 1 || index < 4) {
            pio_write(w, 0x1ce, index, 2);
            pio_write(w, 0x1cf,
                      index == 3 && how & 2 ? 8u * (1 + (how >> 2 & 3)) : fuzz_uint(&w->in, 2), 2);
        }
    }
    pio_write(w, 0x1ce, 4, 2);
    pio_write(w, 0x1cf, 0x41 | (how >> 4 & 0x0e) << 4, 2);
}

static void op_vga(struct world *w)
{
    static const struct {
        uint16_t port;
        uint8_t count;
    } sets[] = {{0x3c4, 5}, {0x3ce, 9}, {0x3d4, 25}};
    unsigned which = fuzz_u8(&w->in) % 3, n = fuzz_u8(&w->in) % 12;

    pio_write(w, 0x3c2, 0x67, 1);
    for (unsigned i = 0; i < n; i++) {
        pio_write(w, sets[which].port,
                  fuzz_u8(&w->in) % sets[which].count | (uint32_t)fuzz_u8(&w->in) << 8, 2);
    }
    request(w,
            (struct ioreq){
                .type = IOREQ_TYPE_PIO, .dir = IOREQ_READ, .addr = 0x3da, .size = 1, .count = 1});
    pio_write(w, 0x3c0, 0x20 | (fuzz_u8(&w->in) & 0x1f), 1);
    pio_write(w, 0x3c0, fuzz_u8(&w->in), 1);
}

/* ---- the outside ---- */

static void on_damage(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    const struct world *w = opaque;
    unsigned all_width, all_height;

    (void)w;
    all_width = DISPLAY_WIDTH_MAX;
    all_height = DISPLAY_HEIGHT_MAX;
    if (width == 0 || height == 0 || x + width > all_width || y + height > all_height) {
        g_error("damage outside of the screen");
    }
}

static const struct display_viewer viewer = {.damaged = on_damage};

static void op_look(struct world *w)
{
    unsigned how = fuzz_u8(&w->in), width, height;
    uint64_t sum = 0;

    if ((how & 7) == 0 && w->watch) {
        display_unwatch(w->watch);
        w->watch = NULL;
        return;
    }
    if (!w->watch) {
        w->watch = display_watch(w->m->display, &viewer, w);
    }
    const uint32_t *pixels = display_refresh(w->m->display, how & 8, &width, &height);

    for (size_t i = 0; pixels && i < (size_t)width * height; i += 97) {
        sum += pixels[i];
    }
    if (sum == 1) { /* for the compiler */
        g_message("one");
    }
}

static void op_disk(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);
    struct block *b = w->block[how & 3];

    switch (how >> 2 & 7) {
    case 0:
        b->cached = !b->cached;
        break;
    case 1:
        b->bad_sector = fuzz_uint(&w->in, 2) % 400;
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

static void op_medium(struct world *w)
{
    unsigned how = fuzz_u8(&w->in), i = 1 + (how & 1);
    struct device *cd = board_drive(w->m, i == 1 ? "ide0-cd" : "ide-5632");

    if (how & 2) {
        if (ide_cd_request_eject(cd, how & 4, NULL) == 0) {
            block_eject(w->block[i]);
        }
    } else if (!w->block[i]->present) {
        block_insert(w->block[i], NULL, NULL);
    }
}

static void op_input(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);
    struct chardev *cd = &w->serial[how & 1];
    uint8_t buf[32];
    size_t room;

    switch (how >> 1 & 7) {
    case 0:
        input_key(w->m->input, (unsigned)fuzz_uint(&w->in, 2) % 300, how & 0x10);
        break;
    case 1:
        input_relative(w->m->input, (int)fuzz_uint(&w->in, 4), (int8_t)fuzz_u8(&w->in),
                       (int)fuzz_uint(&w->in, 4));
        input_button(w->m->input, 0x110 + (how >> 4), how & 0x80);
        input_sync(w->m->input);
        break;
    case 2:
        room = cd->frontend->can_receive(cd->opaque);
        fuzz_bytes(&w->in, buf, sizeof(buf));
        cd->frontend->receive(cd->opaque, buf, MIN(room, fuzz_u8(&w->in) % sizeof(buf)));
        break;
    case 3:
        cd->connected = how & 0x10;
        cd->frontend->event(cd->opaque, how & 0x10   ? CHARDEV_OPENED
                                        : how & 0x20 ? CHARDEV_BREAK
                                                     : CHARDEV_CLOSED);
        break;
    case 4:
        cd->takes = how >> 4;
        break;
    case 5:
        cd->takes = 17;
        cd->frontend->writable(cd->opaque);
        break;
    case 6:
        board_vcpu_online(w->m, how >> 4);
        break;
    default:
        fake_guestmem_hole(w->m->memory, fuzz_uint(&w->in, 2) & ~0xfffu, 0x1000);
        break;
    }
}

static void line(void *opaque, const char *text)
{
    if (strchr(text, '\n')) {
        g_error("a fact of two lines");
    }
}

static void stop(struct world *w)
{
    if (!w->stopped) {
        w->core.patient = true;
        ioreq_core_poll(&w->core, UINT32_MAX);
        w->core.patient = false;
        ioreq_core_drain(&w->core);
        w->core.hold = true;
        machine_stop(w->m);
        w->stopped = true;
    }
    drain(w);
    if (machine_busy(w->m)) {
        g_error("busy without a request");
    }
}

static void start(struct world *w)
{
    machine_start(w->m);
    w->core.hold = false;
    w->stopped = false;
}

static void end_machine(struct world *w)
{
    struct machine *m = w->m;

    if (w->watch) {
        display_unwatch(w->watch);
        w->watch = NULL;
    }
    board_free(m);
    fake_machine_free(m);
}

#define END_SIZE 40u /* type, length and checksum at the end of a stream */

/* Some bytes of the stream changed, and a checksum that fits, as an enemy would see to. */
static void damage(struct world *w, GByteArray *stream)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    guint body = stream->len - END_SIZE;
    gsize size = 32;

    for (unsigned n = 1 + fuzz_u8(&w->in) % 6; n > 0; n--) {
        guint at = (guint)fuzz_uint(&w->in, 3) % body;
        uint8_t how = fuzz_u8(&w->in), value = fuzz_u8(&w->in);

        stream->data[at] = how & 1   ? value
                           : how & 2 ? (uint8_t)(stream->data[at] ^ 1u << (value & 7))
                           : how & 4 ? 0xff
                                     : 0;
    }
    g_checksum_update(sum, stream->data, body);
    g_checksum_get_digest(sum, stream->data + body + 8, &size);
    g_checksum_free(sum);
}

/*
 * To a new machine that goes on; it has to take the state, and to say the same. A damaged stream it
 * takes or refuses; if so it is as before and takes the good one.
 */
static void migrate(struct world *w, bool damaged)
{
    GByteArray *saved = g_byte_array_new(), *again = g_byte_array_new();
    struct machine *old = w->m;
    uint64_t gfn = old->hv->vram_gfn;
    size_t pages = old->hv->vram_pages;
    g_autofree uint8_t *memory = g_malloc(0x20000);
    g_autofree uint8_t *vram = g_steal_pointer(&old->hv->vram);
    GError *err = NULL;

    stop(w);
    if (machine_save(old, saved, &err) < 0) {
        g_error("not saved: %s", err->message);
    }
    if (guestmem_read(old->memory, 0, memory, 0x20000) < 0) {
        memset(memory, 0, 0x20000);
    }
    end_machine(w);
    build(w, true);
    guestmem_write(w->m->memory, 0, memory, 0x20000);
    w->m->hv->vram = g_steal_pointer(&vram);
    w->m->hv->vram_gfn = gfn;
    w->m->hv->vram_pages = pages;
    if (damaged) {
        GByteArray *bad = g_byte_array_new();

        g_byte_array_append(bad, saved->data, saved->len);
        damage(w, bad);
        damaged = machine_load(w->m, bad->data, bad->len, &err) == 0;
        w->hostile |= damaged;
        if (!damaged && (!err || !err->message[0])) {
            g_error("refused without a word");
        }
        g_clear_error(&err);
        g_byte_array_free(bad, TRUE);
    }
    if (!damaged && machine_load(w->m, saved->data, saved->len, &err) < 0) {
        if (!w->hostile) {
            g_error("not loaded: %s", err->message);
        }
        g_clear_error(&err);
    }
    if (machine_save(w->m, again, &err) < 0) {
        g_error("not saved again: %s", err->message);
    }
    if (!w->hostile &&
        (saved->len != again->len || memcmp(saved->data, again->data, saved->len) != 0)) {
        g_file_set_contents("crash-state-1", (const char *)saved->data, saved->len, NULL);
        g_file_set_contents("crash-state-2", (const char *)again->data, again->len, NULL);
        g_error("saved again it is another state: xendmctl state diff crash-state-1 crash-state-2");
    }
    g_byte_array_free(saved, TRUE);
    g_byte_array_free(again, TRUE);
    start(w);
}

static void op_life(struct world *w)
{
    unsigned how = fuzz_u8(&w->in);

    switch (how % 16) {
    case 0:
        machine_reset(w->m, RESET_WAKEUP);
        break;
    case 1:
        machine_wakeup(w->m, NULL);
        break;
    case 2:
    case 3:
        stop(w);
        break;
    case 4:
    case 5:
    case 6:
        start(w);
        break;
    case 7:
        migrate(w, false);
        break;
    case 9:
        migrate(w, true);
        break;
    case 8:
        for (guint i = 0; i < w->m->devices->len; i++) {
            struct device *dev = g_ptr_array_index(w->m->devices, i);

            if (dev->class->describe) {
                struct facts *facts = facts_new();

                dev->class->describe(dev, facts);
                facts_foreach_line(facts, line, NULL);
                facts_free(facts);
            }
        }
        break;
    default:
        fake_clock_step(w->m, (int64_t)fuzz_uint(&w->in, 2) * NS_PER_US << (how >> 4));
        break;
    }
}

static void op_boot(struct world *w)
{
    boot(w->m);
}

static void (*const ops[])(struct world *w) = {
    op_pio,    op_pio,        op_pio,        op_pio,  op_mmio, op_mmio,   op_mmio, op_config,
    op_config, op_string,     op_string,     op_raw,  op_ring, op_memory, op_ata,  op_ata,
    op_ata,    op_bus_master, op_bus_master, op_vbe,  op_vga,  op_look,   op_disk, op_disk,
    op_disk,   op_medium,     op_input,      op_life, op_boot,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = NULL;
    unsigned flags;

    firmware();
    log_set_level("all", "error");
    if (posix_memalign((void **)&w, 4096, sizeof(*w)) != 0) {
        abort();
    }
    memset(w, 0, sizeof(*w));
    w->in = (struct fuzz_input){data, size};
    flags = fuzz_u8(&w->in);
    describe(w, flags);
    if (posix_memalign((void **)&w->ring, 4096, 4096) != 0) {
        abort();
    }
    memset(w->ring, 0, 4096);
    w->core.slot = w->slot;
    w->core.ring = w->ring;
    w->core.vcpus = VCPUS;
    w->core.notify = on_notify;
    build(w, false);
    start(w);
    if (flags & 0x80) {
        boot(w->m);
    }
    for (unsigned n = 0; w->in.left > 0 && n < OPS_MAX; n++) {
        ops[fuzz_u8(&w->in) % G_N_ELEMENTS(ops)](w);
    }
    if (flags & 0x40) {
        migrate(w, flags & 0x10);
    }
    drain(w);
    end_machine(w);
    for (unsigned i = 0; i < DRIVES; i++) {
        fake_block_free(w->block[i]);
    }
    g_ptr_array_unref(w->desc.drives);
    g_ptr_array_unref(w->desc.serials);
    g_ptr_array_unref(w->desc.devices);
    g_free(w->desc.boot_order);
    ioreq_core_clear(&w->core);
    free(w->ring);
    free(w);
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    static bool first = true;
    unsigned len = 64 + g_rand_int(rand) % INPUT_MAX;

    if (first) {
        first = false;
        firmware();
        atexit(firmware_gone);
    }
    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int(rand);
    }
    out->data[0] |= 0x80;
}
