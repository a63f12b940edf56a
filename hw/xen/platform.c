/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xen platform device, 5853:0001: what a guest's PV drivers bind to, and the protocol by which they
 * have the emulated disks and NICs pulled out.
 *
 * Sources: Xen's docs/misc/hvm-emulated-unplug.pandoc (ports 0x10-0x13),
 * xen/include/public/hvm/pvdrivers.h (product numbers); QEMU's device for ids, BARs and what they
 * answer.
 *
 *   port 0x10, 2 bytes   read: magic 0x49D2; write: mask of devices to unplug
 *   port 0x12, 1 byte    read: protocol version 1; write: one character for the log
 *   port 0x12, 2 bytes   write: product number
 *   port 0x10, 4 bytes   write: build number
 *   port 0x10, 1 byte    flags; bit 0: 0xC0000-0xFFFFF read-only
 *   BAR0, I/O, 256       offset 0: flags; 8: one character for the log
 *   BAR1, memory, 16 MiB address space in which guests place grant-table frames: reads 0
 *
 * Left out on purpose: the read-only flag is kept but changes no memory (RAM stays writable);
 * driver blacklists in xenstore; the unofficial unplug writes of drivers before 2011. The interrupt
 * on INTA is raised by Xen itself when the guest chooses it as its event-channel callback.
 *
 * Users: Linux platform-pci and xen_unplug, Windows PV drivers, FreeBSD xenpci.
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#define MAGIC 0x49d2
#define PROTOCOL_VERSION 1
#define FLAG_ROM_LOCK 0x01
#define LOG_LINE 256u

struct xen_platform {
    struct pci_device pci;
    struct region ports;
    uint8_t flags;
    uint16_t product; /* 0: no driver has told */
    uint32_t build;
    uint16_t unplugged; /* every bit asked for since the last reset */
    char log[LOG_LINE];
    unsigned log_len;
    uint64_t log_lines;
};

static const char *product_name(uint16_t product)
{
    switch (product) {
    case 0x0001:
        return "xensource-windows";
    case 0x0002:
        return "gplpv-windows";
    case 0x0003:
        return "linux";
    case 0x0004:
        return "xenserver-windows-v7.0+";
    case 0x0005:
        return "xenserver-windows-v7.2+";
    case 0xffff:
        return "experimental";
    default:
        return "unknown";
    }
}

/* A line is passed on at its end or when the buffer is full; log_guest() limits how many. */
static void log_character(struct xen_platform *s, uint8_t c)
{
    if (c != '\n' && c != '\r') {
        s->log[s->log_len++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    if (s->log_len == LOG_LINE || (c == '\n' && s->log_len > 0)) {
        log_guest(LOG_PLATFORM, "%.*s", (int)s->log_len, s->log);
        s->log_len = 0;
        s->log_lines++;
    }
}

static void unplug(struct xen_platform *s, uint16_t mask)
{
    unsigned what = mask & (UNPLUG_DISKS | UNPLUG_NICS | UNPLUG_AUX_DISKS | UNPLUG_NVME);

    if (mask & ~what) {
        log_guest(LOG_PLATFORM, "unplug mask 0x%04x has unknown bits", mask);
    }
    if (what & UNPLUG_DISKS) {
        what &= ~UNPLUG_AUX_DISKS; /* overridden */
    }
    s->unplugged |= what;
    if (what) {
        machine_request_unplug(s->pci.dev.machine, what);
    }
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct xen_platform *s = opaque;

    if (size == 2 && offset == 0) {
        return MAGIC;
    }
    if (size == 1 && offset == 0) {
        return s->flags;
    }
    if (size == 1 && offset == 2) {
        return PROTOCOL_VERSION;
    }
    return ~0ull;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct xen_platform *s = opaque;

    switch (size << 4 | offset) {
    case 0x10:
        s->flags = value & FLAG_ROM_LOCK;
        break;
    case 0x12:
        log_character(s, (uint8_t)value);
        break;
    case 0x20:
        unplug(s, (uint16_t)value);
        break;
    case 0x22:
        s->product = (uint16_t)value;
        break;
    case 0x40:
        s->build = (uint32_t)value;
        break;
    }
}

static uint64_t bar_io_read(void *opaque, uint64_t offset, unsigned size)
{
    struct xen_platform *s = opaque;

    return offset == 0 ? s->flags : 0xff;
}

static void bar_io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct xen_platform *s = opaque;

    if (offset == 0) {
        s->flags = value & FLAG_ROM_LOCK;
    } else if (offset == 8) {
        log_character(s, (uint8_t)value);
    }
}

/* Grant-table frames there are the guest's own pages; an access that misses them comes here. */
static uint64_t bar_memory_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static const struct region_ops ports_ops = {.read = ports_read, .write = ports_write};
static const struct region_ops bar_io_ops = {
    .read = bar_io_read,
    .write = bar_io_write,
    .impl_max = 1,
};
static const struct region_ops bar_memory_ops = {.read = bar_memory_read, .impl_max = 8};

static int platform_realize(struct device *dev, GError **err)
{
    struct xen_platform *s = DEVICE_CAST(struct xen_platform, dev);

    region_init(&s->ports, "xen-platform", &ports_ops, s, 4);
    return device_place_pio(dev, &s->ports, 0x10, err);
}

static void platform_reset(struct device *dev, enum reset_reason why)
{
    struct xen_platform *s = DEVICE_CAST(struct xen_platform, dev);

    s->flags = 0;
    s->product = 0;
    s->build = 0;
    s->log_len = 0;
    /* What was pulled out comes back with a reset, but not at wake-up: nobody asks again then. */
    if (why != RESET_WAKEUP) {
        s->unplugged = 0;
    }
}

static void platform_describe(struct device *dev, struct facts *to)
{
    struct xen_platform *s = DEVICE_CAST(struct xen_platform, dev);

    if (s->product || s->build) {
        fact_text(to, "PV drivers", "product %u (%s), build %u", s->product,
                  product_name(s->product), s->build);
    }
    fact_text(to, "unplugged", "%s%s%s%s%s", s->unplugged ? "" : "nothing",
              s->unplugged & UNPLUG_DISKS ? "disks " : "",
              s->unplugged & UNPLUG_NICS ? "NICs " : "",
              s->unplugged & UNPLUG_AUX_DISKS ? "auxiliary disks " : "",
              s->unplugged & UNPLUG_NVME ? "NVMe " : "");
    fact_int(to, "log lines", (int64_t)s->log_lines);
}

/* The devices that were pulled say so in their own state. */
static const struct state_desc platform_state = {
    .name = "xen-platform",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U8(struct xen_platform, flags, .min = 0, .max = FLAG_ROM_LOCK),
            STATE_FIELD_U16(struct xen_platform, product),
            STATE_FIELD_U32(struct xen_platform, build),
            STATE_FIELD_U16(struct xen_platform, unplugged, .min = 0, .max = 15),
            STATE_FIELD_END,
        },
};

static const struct pci_info platform_pci = {
    .vendor = 0x5853,
    .device = 0x0001,
    .subsystem_vendor = 0x5853,
    .subsystem = 0x0001,
    .class = 0xff8000,
    .revision = 1,
    .intx_pin = 1,
    .bar =
        {
            {.type = PCI_BAR_IO, .size = 0x100, .ops = &bar_io_ops, .name = "xen-platform-io"},
            {.type = PCI_BAR_MEM32,
             .prefetchable = true,
             .size = 16u << 20,
             .ops = &bar_memory_ops,
             .name = "xen-platform-memory"},
        },
};

const struct device_class xen_platform_class = {
    .name = "xen-platform",
    .help = "Xen platform device: PV driver binding and unplug protocol",
    .size = sizeof(struct xen_platform),
    .recorded = true,
    .state = &platform_state,
    .realize = platform_realize,
    .reset = platform_reset,
    .describe = platform_describe,
    .pci = &platform_pci,
};
