# SPDX-License-Identifier: GPL-2.0-or-later
# Virtio devices over PCI.
noinst_LTLIBRARIES += libhwvirtio.la
HW_LIBS += libhwvirtio.la
libhwvirtio_la_SOURCES = hw/virtio/queue.c hw/virtio/pci.c hw/virtio/state.c hw/virtio/blk.c hw/virtio/net.c hw/virtio/rng.c hw/virtio/p9.c hw/virtio/scsi.c hw/virtio/scsi-request.c hw/virtio/scsi.h \
	hw/virtio/serial.c hw/virtio/serial-port.c hw/virtio/serial.h hw/virtio/virtio.h
