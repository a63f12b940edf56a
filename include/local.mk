# SPDX-License-Identifier: GPL-2.0-or-later
# The contracts. They are not installed: nothing outside this tree builds on them.
noinst_HEADERS = \
	include/xendm/acpi.h include/xendm/aspace.h include/xendm/ata.h include/xendm/audio.h include/xendm/backend-classes.h include/xendm/backend.h include/xendm/blob.h include/xendm/block.h include/xendm/bus.h include/xendm/bytes.h include/xendm/chardev.h include/xendm/classes.h include/xendm/confine.h \
	include/xendm/clock.h include/xendm/device.h include/xendm/devmem.h include/xendm/display.h include/xendm/dma.h include/xendm/error.h include/xendm/facts.h include/xendm/file-size.h include/xendm/files.h \
	include/xendm/firmware.h include/xendm/fw_cfg.h include/xendm/guestmem.h include/xendm/handover.h include/xendm/helper.h include/xendm/hold.h include/xendm/host-time.h include/xendm/hypervisor.h include/xendm/ide.h include/xendm/input.h include/xendm/instance.h include/xendm/irq.h include/xendm/json.h \
	include/xendm/log.h include/xendm/machine-desc.h include/xendm/machine.h include/xendm/mapcache.h include/xendm/memory-file.h include/xendm/net.h include/xendm/numbers.h include/xendm/object.h include/xendm/one-fd.h \
	include/xendm/pci.h include/xendm/probe.h include/xendm/property.h include/xendm/recorder.h include/xendm/regs.h include/xendm/scsi.h include/xendm/state.h include/xendm/status.h include/xendm/turn.h include/xendm/usb.h include/xendm/vnc.h include/xendm/xenstore.h
noinst_HEADERS += include/xendm/image-name.h
