# SPDX-License-Identifier: GPL-2.0-or-later
# USB: controllers and devices.
noinst_LTLIBRARIES += libhwusb.la
HW_LIBS += libhwusb.la libhwscsi.la
libhwusb_la_SOURCES = \
	hw/usb/core.c hw/usb/bus.c hw/usb/hub.c hw/usb/host.c hw/usb/storage.c hw/usb/uhci.c hw/usb/hid.c hw/usb/hid-tables.c hw/usb/hid.h hw/usb/usb-internal.h \
	hw/usb/xhci.c hw/usb/xhci-registers.c hw/usb/xhci-ports.c hw/usb/xhci-events.c hw/usb/xhci-transfer.c hw/usb/xhci-commands.c \
	hw/usb/xhci-state.c hw/usb/xhci.h
