/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One chip at a time, without the ioreq core between: thousands of inputs a second, where
 * fuzz-board does a hundred. The machine is made once and reset before each input. What a target
 * can reach is found out: every region that is placed, every PCI function's configuration space. A
 * new device is one line in `targets`, and a pattern in guest.h when random accesses do not get far
 * by themselves.
 *
 * An input is a byte of flags, then operations: a byte that says which, then its operands.
 */
#include <errno.h>
#include <stdlib.h>

#include <xendm/bus.h>
#include <xendm/classes.h>
#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/pci.h>
#include <xendm/usb.h>

#include "../unit/fake-net.h"
#include "../unit/fakes.h"
#include "fuzz.h"
#include "guest.h"

#define PARTS_MAX 13u
#define PATTERNS_MAX 8u
#define REACH_MAX 128u
#define OPS_MAX 200u
#define INPUT_MAX 400u
#define BLOCK_UNITS 256u
#define TOUCHED 0x30000u /* guest memory that inputs write: cleared between them */

const unsigned fuzz_short_run = 1500;

typedef void guest_op(struct fuzz_guest *g);

struct target {
    const char *name;
    struct part {
        const struct device_class *class;
        uint8_t devfn; /* 0: the bus chooses */
        uint8_t block; /* which of the guest's drives it shows, if it shows one */
        const char *settings[4];
        const char *bus; /* that it goes on, of a controller before it */
    } parts[PARTS_MAX];
    guest_op *patterns[PATTERNS_MAX]; /* tried as often as all the rest together */
    unsigned ms_max; /* of a step of time, for a chip with a timer each millisecond; 0: any */
};

/* A picture costs as much as a thousand accesses. */
static void look_seldom(struct fuzz_guest *g)
{
    if (fuzz_u8(&g->in) % 32 == 0) {
        guest_look(g);
    }
}

#define IDE \
    { \
        &piix3_ide_class, PCI_DEVFN(1, 1) \
    }

static const struct target targets[] = {
    {"ide-disk",
     {IDE,
      {&ide_hd_class, .block = 0, .bus = "ide.0"},
      {&ide_hd_class, .block = 3, .bus = "ide.1"}},
     {guest_ata, guest_ata, guest_data, guest_trim, guest_bus_master, guest_disk, guest_disk}},
    {"ide-cd",
     {IDE,
      {&ide_cd_class, .block = 1, .bus = "ide.0"},
      {&ide_cd_class, .block = 2, .bus = "ide.1"}},
     {guest_atapi, guest_atapi, guest_data, guest_bus_master, guest_disk, guest_medium}},
    {"ahci",
     {{&ahci_class, PCI_DEVFN(5, 0)},
      {&ide_hd_class, .block = 0, .bus = "ahci.0"},
      {&ide_cd_class, .block = 1, .bus = "ahci.1"},
      {&ide_cd_class, .block = 2, .bus = "ahci.2"}},
     {guest_ahci, guest_ahci, guest_ahci, guest_disk, guest_disk, guest_medium}},
    {"ac97", {{&ac97_class, PCI_DEVFN(4, 0)}}, {guest_ac97, guest_ac97}},
    {"i6300esb",
     {{&i6300esb_class, PCI_DEVFN(4, 0), .settings = {"action=none"}}},
     {guest_i6300esb}},
    {"vga",
     {{&std_vga_class, .settings = {"vgamem_mb=1"}}},
     {guest_vga, guest_vga, guest_vbe, look_seldom}},
    {"cirrus",
     {{&cirrus_vga_class, .settings = {"romfile="}}},
     {guest_vga, guest_cirrus, guest_cirrus, guest_cirrus, look_seldom}},
    {"serial",
     {{&isa_serial_class, .settings = {"index=0"}}, {&isa_serial_class, .settings = {"index=1"}}},
     {guest_serial}},
    {"i8042", {{&i8042_class}}, {guest_keys, guest_keyboard}},
    {"piix4-pm", {{&piix4_pm_class, PCI_DEVFN(1, 3)}}},
    {"pci",
     {{&i440fx_class},
      {&piix3_class, PCI_DEVFN(1, 0)},
      {&xen_pvdevice_class, .settings = {"device-id=0xc000"}}}},
    {"cmos", {{&cmos_class}}},
    {"fw_cfg", {{&fw_cfg_class}}},
    {"i8257", {{&i8257_class}}},
    {"rtl8139",
     {{&rtl8139_class, PCI_DEVFN(4, 0), .settings = {"romfile="}}},
     {guest_rtl8139, guest_rtl8139, guest_cable}},
    {"e1000",
     {{&e1000_class, PCI_DEVFN(4, 0), .settings = {"romfile="}}},
     {guest_e1000, guest_e1000, guest_cable}},
    {"usb",
     {{&usb_uhci_class, PCI_DEVFN(1, 2)}, {&usb_tablet_class}, {&usb_kbd_class}},
     {guest_uhci, guest_uhci, guest_uhci, guest_pointer, guest_keys},
     .ms_max = 8},
    {"usb-storage",
     {{&usb_uhci_class, PCI_DEVFN(1, 2)},
      {&usb_storage_class, .block = 0, .settings = {"port=1"}},
      {&usb_hub_class, .settings = {"port=2"}},
      {&usb_mouse_class, .settings = {"port=2.1"}}},
     {guest_uhci, guest_uhci, guest_uhci, guest_pointer, guest_disk, guest_disk},
     .ms_max = 8},
    {"xhci",
     {{&nec_xhci_class, PCI_DEVFN(4, 0)},
      {&usb_tablet_class, .settings = {"port=1"}},
      {&usb_storage_class, .block = 0, .settings = {"port=2"}},
      {&usb_hub_class, .settings = {"port=3"}},
      {&usb_mouse_class, .settings = {"port=3.2"}}},
     {guest_xhci_start, guest_xhci, guest_xhci, guest_xhci, guest_xhci_command, guest_xhci_events,
      guest_pointer, guest_disk},
     .ms_max = 20},
    {"nvme",
     {{&nvme_class, PCI_DEVFN(4, 0), .block = 0}},
     {guest_nvme_start, guest_nvme, guest_nvme, guest_nvme, guest_nvme_doorbell, guest_disk}},
    {"virtio-blk",
     {{&virtio_blk_class, PCI_DEVFN(4, 0), .block = 0,
       .settings = {"packed=on", "in_order=on", "num-queues=4"}}},
     {guest_virtio_start, guest_virtio, guest_virtio, guest_virtio, guest_virtio_ring,
      guest_virtio_reset, guest_disk, guest_disk}},
    {"virtio-scsi",
     {{&virtio_scsi_class, PCI_DEVFN(4, 0),
       .settings = {"packed=on", "in_order=on", "num_queues=4"}},
      {&scsi_hd_class, .block = 0, .settings = {"scsi-id=0"}, .bus = "virtio-scsi-pci"},
      {&scsi_cd_class, .block = 1, .settings = {"scsi-id=2", "lun=1"}, .bus = "virtio-scsi-pci"}},
     {guest_virtio_start, guest_virtio_scsi, guest_virtio_scsi, guest_virtio_scsi_control,
      guest_virtio_ring, guest_virtio_reset, guest_disk, guest_disk}},
    {"virtio-rng",
     {{&virtio_rng_class, PCI_DEVFN(4, 0), .settings = {"packed=on", "in_order=on"}}},
     {guest_virtio_start, guest_virtio, guest_virtio, guest_virtio_ring, guest_virtio_reset}},
    {"virtio-net",
     {{&virtio_net_class, PCI_DEVFN(4, 0), .settings = {"packed=on", "romfile="}}},
     {guest_virtio_start, guest_virtio, guest_virtio, guest_virtio, guest_virtio_ring,
      guest_virtio_reset, guest_cable, guest_cable}},
    {"virtio-9p",
     {{&virtio_9p_class, PCI_DEVFN(4, 0), .settings = {"packed=on", "mount_tag=share"}}},
     {guest_virtio_start, guest_virtio_p9, guest_virtio_p9, guest_virtio, guest_virtio_ring,
      guest_virtio_reset, guest_server, guest_server}},
    {"virtio-serial",
     {{&virtio_con_class, PCI_DEVFN(4, 0), .settings = {"packed=on", "console-size=on"}},
      {&virtconsole_class},
      {&virtport_class, .settings = {"name=agent"}}},
     {guest_virtio_start, guest_virtio, guest_virtio, guest_virtio_console, guest_virtio_console,
      guest_virtio_ring, guest_virtio_reset, guest_serial}},
    {"lsi",
     {{&lsi_class, PCI_DEVFN(5, 0)},
      {&scsi_hd_class, .block = 0, .settings = {"scsi-id=0"}, .bus = "lsi53c895a"},
      {&scsi_cd_class, .block = 1, .settings = {"scsi-id=2"}, .bus = "lsi53c895a"}},
     {guest_lsi_start, guest_lsi_command, guest_lsi_command, guest_lsi_script, guest_lsi_interrupt,
      guest_disk, guest_disk},
     .ms_max = 8},
    {"platform",
     {IDE,
      {&ide_hd_class, .block = 0, .bus = "ide.0"},
      {&ide_hd_class, .block = 3, .bus = "ide.1"},
      {&xen_platform_class, PCI_DEVFN(2, 0)}},
     {guest_unplug, guest_ata, guest_disk}},
    /* Streams: damaged ones of all devices. */
    {"state",
     {{&i440fx_class},
      {&piix3_class, PCI_DEVFN(1, 0)},
      IDE,
      {&piix4_pm_class, PCI_DEVFN(1, 3)},
      {&xen_platform_class, PCI_DEVFN(2, 0)},
      {&ide_hd_class, .block = 0, .bus = "ide.0"},
      {&ide_cd_class, .block = 1, .bus = "ide.1"},
      {&cmos_class},
      {&i8257_class},
      {&i8042_class},
      {&isa_serial_class, .settings = {"index=0"}},
      {&std_vga_class, .settings = {"vgamem_mb=1"}}}},
};

const char *const fuzz_targets[] = {
    "ide-disk",  "ide-cd",        "ahci",       "ac97",        "i6300esb",   "vga",
    "cirrus",    "serial",        "i8042",      "piix4-pm",    "pci",        "cmos",
    "fw_cfg",    "i8257",         "rtl8139",    "e1000",       "usb",        "usb-storage",
    "xhci",      "nvme",          "virtio-blk", "virtio-scsi", "virtio-rng", "virtio-net",
    "virtio-9p", "virtio-serial", "lsi",        "platform",    "state",      NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(fuzz_targets) == G_N_ELEMENTS(targets) + 1);

struct reach {
    struct aspace *space;
    uint64_t base, size;
};

struct world {
    struct fuzz_guest g; /* first: what the patterns get */
    struct block *twin_block[GUEST_DRIVES];
    struct chardev *twin_serial[GUEST_SERIALS];
    struct p9_share *share, *twin_share;
    struct net *twin_net;
    struct reach reach[REACH_MAX];
    unsigned reaches;
    uint8_t devfn[32];
    unsigned functions;
    bool hostile; /* took a damaged stream */
};

static struct world world;
static const struct target *target;

/* ---- machines ---- */

static void pio_write(struct fuzz_guest *g, uint32_t port, uint64_t value, unsigned size)
{
    fuzz_steps++;
    aspace_write(g->m->pio, port, value, size);
    guest_settle(g); /* a device that holds is left alone, as the ioreq core leaves it */
}

static uint64_t pio_read(struct fuzz_guest *g, uint32_t port, unsigned size)
{
    uint64_t value = aspace_read(g->m->pio, port, size);

    fuzz_steps++;
    guest_settle(g);
    return value;
}

static void set(struct device *dev, const char *setting)
{
    g_auto(GStrv) pair = g_strsplit(setting, "=", 2);
    GError *err = NULL;

    if (device_set(dev, pair[0], pair[1], &err) < 0) {
        g_error("%s", err->message);
    }
}

/* The machine that runs and the one that only loads have a set each. */
static void give_back_ends(struct device *dev, const struct part *part, bool twin,
                           unsigned *serials)
{
    struct block **block = twin ? world.twin_block : world.g.block;
    struct chardev **serial = twin ? world.twin_serial : world.g.serial;

    const struct property *p = dev->class->properties;

    for (; p && p->name; p++) {
        if (p->type == PROP_BACKEND && p->kind == BACKEND_BLOCK) {
            device_set_backend(dev, p->name, &block[part->block]->b);
        } else if (p->type == PROP_BACKEND && p->kind == BACKEND_CHAR) {
            device_set_backend(dev, p->name, &serial[(*serials)++ % GUEST_SERIALS]->b);
        } else if (p->type == PROP_BACKEND && p->kind == BACKEND_FSDEV) {
            device_set_backend(dev, p->name, twin ? &world.twin_share->b : &world.share->b);
        } else if (p->type == PROP_BACKEND && p->kind == BACKEND_NET) {
            device_set_backend(dev, p->name,
                               twin ? &world.twin_net->backend : &world.g.net->backend);
        }
    }
}

static int attach(struct machine *m, struct device *dev, const struct part *part, GError **err)
{
    if (part->class->pci) {
        int devfn = part->class == &i440fx_class ? 0 : part->devfn ? part->devfn : PCI_DEVFN_AUTO;

        return pci_device_attach(m->pci, (struct pci_device *)dev, devfn, err);
    }
    if (part->class->bus) {
        struct bus *bus = bus_find(m, part->class->bus, part->bus, err);

        return bus ? bus->class->take(bus, dev, err) : -ENODEV;
    }
    return 0;
}

static void add(struct machine *m, const struct part *part, bool restored, unsigned *serials)
{
    bool drive = part->class == &ide_hd_class || part->class == &ide_cd_class;
    GError *err = NULL;
    struct device *dev =
        device_new(m, part->class, drive ? guest_drive_id[part->block] : NULL, &err);

    if (!dev) {
        g_error("%s", err->message);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(part->settings) && part->settings[i]; i++) {
        set(dev, part->settings[i]);
    }
    give_back_ends(dev, part, restored, serials);
    if (part->class == &std_vga_class) {
        g_autofree char *rom = g_strdup_printf("romfile=%s/vgabios-stdvga.bin", guest_firmware());

        set(dev, rom);
    }
    if (attach(m, dev, part, &err) < 0 || device_realize(dev, &err) < 0) {
        g_error("%s", err->message);
    }
}

static struct machine *make(bool restored)
{
    struct machine *m = fake_machine_new();
    unsigned serials = 0;

    m->display = display_new();
    m->input = input_new();
    m->restored = restored;
    for (unsigned i = 0; i < PARTS_MAX && target->parts[i].class; i++) {
        add(m, &target->parts[i], restored, &serials);
    }
    machine_complete(m);
    return m;
}

static void end(struct machine *m)
{
    struct display *display = m->display;
    struct input *input = m->input;

    while (m->devices->len > 0) {
        device_free(g_ptr_array_index(m->devices, m->devices->len - 1));
    }
    display_free(display);
    input_free(input);
    fake_machine_free(m);
}

static void end_machines(void)
{
    if (world.g.m) {
        guest_drain(&world.g);
        guest_unwatch(&world.g);
        end(world.g.m);
        world.g.m = NULL;
    }
}

static struct block *open_drive(unsigned i)
{
    bool cd = guest_drive_is_cd(i);
    struct block *b = fake_block_new(guest_drive_id[i], cd ? 300 * 2048 : 400 * 512);

    b->read_only = cd;
    return b;
}

static void close_back_ends(void)
{
    end_machines();
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        fake_block_free(world.g.block[i]);
        fake_block_free(world.twin_block[i]);
    }
    for (unsigned i = 0; i < GUEST_SERIALS; i++) {
        guest_serial_free(world.g.serial[i]);
        guest_serial_free(world.twin_serial[i]);
    }
    guest_share_free(world.share);
    guest_share_free(world.twin_share);
    fake_net_free(world.g.net);
    fake_net_free(world.twin_net);
}

static void open_back_ends(void)
{
    if (world.g.block[0]) {
        return;
    }
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        world.g.block[i] = open_drive(i);
        world.twin_block[i] = open_drive(i);
    }
    for (unsigned i = 0; i < GUEST_SERIALS; i++) {
        world.g.serial[i] = guest_serial_new("serial");
        world.twin_serial[i] = guest_serial_new("serial");
    }
    world.twin_share = guest_share_new();
    world.share = guest_share_new(); /* the newest, whose requests are answered */
    world.g.net = fake_net_new();
    world.twin_net = fake_net_new();
    atexit(close_back_ends);
}

/* Each input finds the disks the same, or what it died of would not die again. */
static void reset_drive(struct block *b)
{
    if (b->submitted[BLOCK_WRITE] + b->submitted[BLOCK_DISCARD] + b->submitted[BLOCK_ZERO] > 0) {
        fake_block_fill(b);
    }
    memset(b->submitted, 0, sizeof(b->submitted));
    memset(b->fail, 0, sizeof(b->fail));
    b->bad_sector = UINT64_MAX;
    b->cached = false;
    b->hold = true;
}

static void reset_back_ends(void)
{
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        struct block *b = world.g.block[i];

        reset_drive(b);
        if (!b->present) {
            block_insert(b, NULL, NULL, NULL);
        }
        world.twin_block[i]->present = true;
    }
    for (unsigned i = 0; i < GUEST_SERIALS; i++) {
        world.g.serial[i]->connected = world.twin_serial[i]->connected = true;
        world.g.serial[i]->takes = 17;
    }
    g_ptr_array_set_size(world.g.net->sent, 0);
    g_array_set_size(world.g.net->offload, 0);
    world.g.net->full = world.g.net->link_down = false;
}

/* What firmware does: every BAR somewhere, everything decoded. */
static void place_bars(struct machine *m)
{
    uint32_t port = 0xc000, address = 0xf0000000;

    for (struct pci_device *pci = pci_device_next(m->pci, 0); pci;
         pci = pci->devfn < 255 ? pci_device_next(m->pci, pci->devfn + 1u) : NULL) {
        for (unsigned i = 0; i <= PCI_BAR_ROM; i++) {
            bool io = i < PCI_BAR_ROM && pci->dev.class->pci->bar[i].type == PCI_BAR_IO;
            uint32_t *next = io ? &port : &address;
            uint32_t size = (uint32_t)pci->bar[i].size;

            if (size == 0) {
                continue;
            }
            *next = (*next + size - 1) & ~(size - 1);
            pci_config_write(m->pci, pci->devfn, i == PCI_BAR_ROM ? 0x30 : 0x10 + i * 4,
                             *next | (i == PCI_BAR_ROM), 4);
            *next += size;
        }
        pci_config_write(m->pci, pci->devfn, 0x04, 7, 2);
    }
}

static void note_region(void *opaque, const struct region *r)
{
    if (world.reaches < REACH_MAX) {
        world.reach[world.reaches++] = (struct reach){r->space, r->base, r->size};
    }
}

static void look_around(void)
{
    world.reaches = world.functions = 0;
    aspace_foreach(world.g.m->pio, note_region, NULL);
    aspace_foreach(world.g.m->mmio, note_region, NULL);
    for (struct pci_device *pci = pci_device_next(world.g.m->pci, 0);
         pci && world.functions < G_N_ELEMENTS(world.devfn);
         pci = pci->devfn < 255 ? pci_device_next(world.g.m->pci, pci->devfn + 1u) : NULL) {
        world.devfn[world.functions++] = pci->devfn;
    }
}

static void prepare(void)
{
    static const uint8_t zeros[TOUCHED];

    open_back_ends();
    if (!world.g.m) {
        reset_back_ends();
        world.g.m = make(false);
        machine_start(world.g.m);
        world.hostile = false;
    } else {
        reset_back_ends();
        machine_reset(world.g.m, RESET_COLD);
        guestmem_write(world.g.m->memory, 0, zeros, sizeof(zeros));
    }
    place_bars(world.g.m);
    if (target->parts[0].class == &piix3_ide_class) {
        pci_config_write(world.g.m->pci, PCI_DEVFN(1, 1), 0x40, 0x80008000, 4);
    }
    if (target->parts[0].class == &piix4_pm_class) {
        pci_config_write(world.g.m->pci, PCI_DEVFN(1, 3), 0x40, 0xb001, 4);
        pci_config_write(world.g.m->pci, PCI_DEVFN(1, 3), 0x80, 1, 1);
    }
    look_around();
}

/* ---- what every device has ---- */

static void op_access(struct fuzz_guest *g)
{
    const struct reach *r;
    unsigned which = fuzz_u8(&g->in), how = fuzz_u8(&g->in), size;
    uint8_t buf[BLOCK_UNITS * 8];
    uint64_t address;

    if (world.reaches == 0) {
        return;
    }
    r = &world.reach[which % world.reaches];
    size = 1u << (how >> 1 & 3);
    size = r->space == g->m->pio && size == 8 ? 1 : size;
    fuzz_steps++;
    address = r->base + fuzz_uint(&g->in, r->size <= 256 ? 1 : r->size <= 65536 ? 2 : 3) % r->size;
    if (how >= 0xe0) {
        unsigned count = fuzz_u8(&g->in) + 1u;

        fuzz_steps += count - 1;
        if (how & 1) {
            fake_string_in(r->space, address, buf, size, count);
        } else {
            fuzz_bytes(&g->in, buf, size * 8);
            memset(buf + size * 8, 0, sizeof(buf) - size * 8);
            fake_string_out(r->space, address, buf, size, count);
        }
    } else if (how & 1) {
        aspace_read(r->space, address, size);
    } else {
        aspace_write(r->space, address, fuzz_uint(&g->in, size), size);
    }
    guest_settle(g);
}

static void op_config(struct fuzz_guest *g)
{
    unsigned which = fuzz_u8(&g->in), reg = fuzz_u8(&g->in), how = fuzz_u8(&g->in);
    unsigned size = 1u << (how >> 1) % 3;
    uint8_t devfn;

    if (world.functions == 0) {
        return;
    }
    devfn = world.devfn[which % world.functions];
    fuzz_steps++;
    if (how & 1) {
        pci_config_read(g->m->pci, devfn, reg, size);
        return;
    }
    pci_config_write(g->m->pci, devfn, reg,
                     how & 0x40 ? 0xffffffff : (uint32_t)fuzz_uint(&g->in, size), size);
    guest_settle(g);
    look_around();
}

static void op_time(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    int64_t ns = (int64_t)fuzz_uint(&g->in, 2) * NS_PER_US << (how & 15);

    fake_clock_step(g->m, target->ms_max ? ns % (target->ms_max * NS_PER_MS) : ns);
}

static void op_life(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    if (how % 8 == 0) {
        machine_reset(g->m, RESET_WAKEUP);
        place_bars(g->m);
        look_around();
    } else if (how % 8 == 1) {
        guest_describe(g);
    } else if (g->m->state == MACHINE_SUSPENDED) {
        machine_wakeup(g->m, NULL);
    }
}

static guest_op *const ops[] = {op_access, op_access, op_access, op_access,
                                op_config, op_time,   op_life,   guest_memory};

/* ---- saved state ---- */

static GByteArray *save(struct machine *m)
{
    GByteArray *saved = g_byte_array_new();
    GError *err = NULL;

    if (machine_save(m, saved, &err) < 0) {
        g_error("not saved: %s", err->message);
    }
    return saved;
}

static void stop(struct fuzz_guest *g)
{
    machine_stop(g->m);
    guest_drain(g);
    guest_settle(g);
    if (machine_busy(g->m)) {
        g_error("busy without a request");
    }
}

static void compare(const GByteArray *a, const GByteArray *b)
{
    if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0) {
        g_file_set_contents("crash-state-1", (const char *)a->data, a->len, NULL);
        g_file_set_contents("crash-state-2", (const char *)b->data, b->len, NULL);
        g_error("saved again it is another state: xendmctl state diff crash-state-1 crash-state-2");
    }
}

/* The same media are in its drives. */
static struct machine *make_twin(void)
{
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        world.twin_block[i]->present = world.g.block[i]->present || !guest_drive_is_cd(i);
    }
    world.twin_net->link_down = world.g.net->link_down;
    return make(true);
}

/* Another machine has to take the state, and to say the same. Video memory is there already. */
static void round_trip(struct fuzz_guest *g)
{
    struct machine *twin = make_twin();
    GByteArray *saved = save(g->m), *again;
    GError *err = NULL;

    twin->hv->vram = g->m->hv->vram;
    twin->hv->vram_gfn = g->m->hv->vram_gfn;
    twin->hv->vram_pages = g->m->hv->vram_pages;
    if (machine_load(twin, saved->data, saved->len, &err) < 0) {
        g_error("not loaded: %s", err->message);
    }
    again = save(twin);
    compare(saved, again);
    g_byte_array_free(saved, TRUE);
    g_byte_array_free(again, TRUE);
    twin->hv->vram = NULL;
    end(twin);
}

/* Refused, or harmless; what it took has to be saved again, whatever it says. */
static void hostile_load(struct fuzz_guest *g)
{
    GByteArray *stream = save(g->m);
    GError *err = NULL;

    guest_damage_state(g, stream);
    if (machine_load(g->m, stream->data, stream->len, &err) == 0) {
        world.hostile = true;
    } else if (!err || !err->message[0]) {
        g_error("refused without a word");
    }
    g_clear_error(&err);
    g_byte_array_free(stream, TRUE);
    g_byte_array_free(save(g->m), TRUE);
    look_around();
}

/* ---- inputs ---- */

static void run(struct fuzz_guest *g)
{
    unsigned patterns = 0;

    while (patterns < PATTERNS_MAX && target->patterns[patterns]) {
        patterns++;
    }
    for (unsigned n = 0; g->in.left > 0 && n < OPS_MAX; n++) {
        unsigned which = fuzz_u8(&g->in);

        if (patterns > 0 && which & 0x80) {
            target->patterns[which % patterns](g);
        } else {
            ops[which % G_N_ELEMENTS(ops)](g);
        }
    }
}

void fuzz_choose(unsigned which)
{
    end_machines();
    target = &targets[which];
    g_assert_cmpstr(target->name, ==, fuzz_targets[which]);
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_guest *g = &world.g;
    unsigned flags;

    log_set_level("all", "error");
    if (!target) {
        fuzz_choose_by_name();
    }
    *g = (struct fuzz_guest){.in = {data, size},
                             .m = g->m,
                             .block = {g->block[0], g->block[1], g->block[2], g->block[3]},
                             .serial = {g->serial[0], g->serial[1]},
                             .net = g->net,
                             .watch = g->watch,
                             .out = pio_write,
                             .get = pio_read};
    flags = fuzz_u8(&g->in);
    prepare();
    if ((flags & 0x0f) == 1 || strcmp(target->name, "state") == 0) {
        stop(g);
        hostile_load(g);
        machine_start(g->m);
    }
    run(g);
    stop(g);
    if ((flags & 0x0f) == 0 && !world.hostile) {
        round_trip(g);
    }
    guest_unwatch(g);
    machine_start(g->m);
    if (world.hostile || g->m->state != MACHINE_RUNNING) {
        end_machines();
    }
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    unsigned len = 16 + (unsigned)g_rand_int(rand) % INPUT_MAX;

    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int(rand);
    }
}
