/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every device class there is. A new device adds one line here; hw/classes.c makes the table of it,
 * in this order.
 */
#ifndef XENDM_CLASSES_H
#define XENDM_CLASSES_H

#include <xendm/device.h>

#define DEVICE_CLASSES(X) \
    X(i440fx_class)       /* hw/pc/i440fx.c: host bridge, 0xCF8-0xCFF */ \
    X(piix3_class)        /* hw/pc/piix3.c: ISA bridge, PIRQ routing, 0xCF9, port 92 */ \
    X(piix3_ide_class)    /* hw/ide/piix3-ide.c: bus-master IDE */ \
    X(ide_hd_class)       /* hw/ata/disk.c: ATA disk */ \
    X(virtio_net_class)   /* hw/virtio/net.c: 1af4:1000, network card */ \
    X(virtio_rng_class)   /* hw/virtio/rng.c: 1af4:1005, entropy */ \
    X(ide_cd_class)       /* hw/ata/atapi.c: ATAPI CD/DVD drive */ \
    X(ahci_class)         /* hw/ahci/ahci.c: ICH9 SATA adapter */ \
    X(piix4_pm_class)     /* hw/acpi/piix4-pm.c: PM1a control, GPE0, CPU map, PCI hot-plug */ \
    X(cmos_class)         /* hw/pc/cmos.c: CMOS RAM behind 0x70/0x71 */ \
    X(fw_cfg_class)       /* hw/fw/fw-cfg.c: files for the firmware, a kernel to boot */ \
    X(i8257_class)        /* hw/pc/i8257.c: ISA DMA controllers' registers */ \
    X(i8042_class)        /* hw/input/i8042.c: keyboard controller, PS/2 keyboard and mouse */ \
    X(isa_serial_class)   /* hw/char/serial.c: 16550A */ \
    X(cirrus_vga_class)   /* hw/display/cirrus.c: Cirrus Logic CL-GD5446 */ \
    X(std_vga_class)      /* hw/display/std-vga.c: VGA with Bochs VBE extensions */ \
    X(rtl8139_class)      /* hw/net/rtl8139.c: 10ec:8139 Fast Ethernet, libxl's default NIC */ \
    X(e1000_class)        /* hw/net/e1000.c: 8086:100e Gigabit Ethernet */ \
    X(ac97_class)         /* hw/audio/ac97.c: 8086:2415 sound */ \
    X(nvme_class)         /* hw/nvme/nvme.c: NVM Express controller */ \
    X(nvme_ns_class)      /* hw/nvme/namespace.c: a namespace of one */ \
    X(virtio_blk_class)   /* hw/virtio/blk.c: 1af4:1001, disk */ \
    X(virtio_scsi_class)  /* hw/virtio/scsi.c: 1af4:1004, SCSI host adapter */ \
    X(virtio_9p_class)    /* hw/virtio/p9.c: 1af4:1009, a directory of the host */ \
    X(virtio_con_class)   /* hw/virtio/serial.c: 1af4:1003, console */ \
    X(virtconsole_class)  /* hw/virtio/serial-port.c: a terminal of it */ \
    X(virtport_class)     /* hw/virtio/serial-port.c: another port of it */ \
    X(scsi_hd_class)      /* hw/scsi/unit.c: SCSI disk */ \
    X(scsi_cd_class)      /* hw/scsi/unit.c: SCSI CD/DVD drive */ \
    X(lsi_class)          /* hw/lsi/lsi.c: LSI 53C895A SCSI host adapter */ \
    X(usb_uhci_class)     /* hw/usb/uhci.c: PIIX3 USB, two ports */ \
    X(nec_xhci_class)     /* hw/usb/xhci.c: 1033:0194, USB 3 */ \
    X(qemu_xhci_class)    /* … the same as 1b36:000d */ \
    X(usb_tablet_class)   /* hw/usb/hid.c: absolute pointer */ \
    X(usb_mouse_class)    /* hw/usb/hid.c: relative pointer */ \
    X(usb_kbd_class)      /* hw/usb/hid.c: keyboard */ \
    X(usb_hub_class)      /* hw/usb/hub.c: eight ports */ \
    X(usb_storage_class)  /* hw/usb/storage.c: disk */ \
    X(usb_host_class)     /* hw/usb/host.c: USB device of the host */ \
    X(i6300esb_class)     /* hw/watchdog/i6300esb.c: 8086:25ab watchdog timer */ \
    X(xen_platform_class) /* hw/xen/platform.c: 5853:0001, unplug protocol */ \
    X(xen_pvdevice_class) /* hw/xen/pvdevice.c: 5853:c000, binding for Windows Update drivers */

#define X(c) extern const struct device_class c;
DEVICE_CLASSES(X)
#undef X

#endif
