/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xen PV device, 5853:c000 (device-id= is the toolstack's choice): a function whose id Windows
 * Update has drivers for. It does nothing: BAR1 is memory that reads all ones. libxl adds it for
 * vendor_device="xenserver".
 *
 * Source: Xen's docs/man/xen-pci-device-reservations.7.pod; QEMU's device for class, BAR and
 * defaults.
 */
#include <errno.h>

#include <xendm/classes.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#define BAR_SIZE_MIN 16u
#define BAR_SIZE_MAX (1u << 30)
#define ID_NONE 0xffffu

struct xen_pvdevice {
    struct pci_device pci;
    uint32_t vendor_id, device_id, revision, size;
};

static const struct region_ops bar_ops = {.impl_max = 8};

static void put16(struct xen_pvdevice *s, unsigned reg, uint32_t value)
{
    s->pci.config[reg] = value & 0xff;
    s->pci.config[reg + 1] = value >> 8 & 0xff;
}

static int pvdevice_realize(struct device *dev, GError **err)
{
    struct xen_pvdevice *s = DEVICE_CAST(struct xen_pvdevice, dev);

    if (s->device_id == 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: device-id must be given", dev->id);
        return -EINVAL;
    }
    put16(s, 0x00, s->vendor_id);
    put16(s, 0x02, s->device_id);
    put16(s, 0x2c, s->vendor_id);
    put16(s, 0x2e, s->device_id);
    s->pci.config[0x08] = (uint8_t)s->revision;
    pci_bar_set_size(&s->pci, 1, s->size);
    return 0;
}

static const struct property pvdevice_properties[] = {
    {.name = "vendor-id",
     .type = PROP_UINT32,
     .offset = offsetof(struct xen_pvdevice, vendor_id),
     .def = "0x5853",
     .min = 0,
     .max = 0xfffe,
     .help = "PCI vendor and subsystem vendor"},
    {.name = "device-id",
     .type = PROP_UINT32,
     .offset = offsetof(struct xen_pvdevice, device_id),
     .min = 1,
     .max = 0xfffe,
     .required = true,
     .help = "PCI device and subsystem"},
    {.name = "revision",
     .type = PROP_UINT32,
     .offset = offsetof(struct xen_pvdevice, revision),
     .def = "1",
     .min = 0,
     .max = 0xff,
     .help = "PCI revision"},
    {.name = "size",
     .type = PROP_UINT32,
     .offset = offsetof(struct xen_pvdevice, size),
     .def = "0x400000",
     .min = BAR_SIZE_MIN,
     .power_of_two = true,
     .max = BAR_SIZE_MAX,
     .help = "bytes of BAR1"},
    {.name = NULL},
};

static const struct pci_info pvdevice_pci = {
    .vendor = 0x5853,
    .device = ID_NONE,
    .class = 0x088000,
    .revision = 1,
    .intx_pin = 1,
    .bar =
        {
            [1] = {.type = PCI_BAR_MEM32,
                   .prefetchable = true,
                   .ops = &bar_ops,
                   .name = "xen-pvdevice"},
        },
};

const struct device_class xen_pvdevice_class = {
    .name = "xen-pvdevice",
    .help = "Xen PV device for drivers from Windows Update",
    .size = sizeof(struct xen_pvdevice),
    .recorded = true,
    .hotplug = true,
    .properties = pvdevice_properties,
    .realize = pvdevice_realize,
    .pci = &pvdevice_pci,
};
