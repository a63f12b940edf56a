# SPDX-License-Identifier: GPL-2.0-or-later
# USB devices of the host for guests: the daemon's end, and the process that has a device, which alone has libusb.
noinst_LTLIBRARIES += libbackendsusb.la
libbackendsusb_la_SOURCES = backends/usb/link.c backends/usb/place.c backends/usb/wire.h
libbackendsusb_la_LIBADD = $(GLIB_LIBS)
noinst_HEADERS += include/xendm/usb-host.h

pkglibexec_PROGRAMS += backends/usb/xendm-usb
backends_usb_xendm_usb_SOURCES = backends/usb/confine.c backends/usb/confine.h backends/usb/passed.c backends/usb/passed.h \
	backends/usb/process.c backends/usb/wire.h base/confine-calls.c base/confine.c base/one-fd.c
backends_usb_xendm_usb_CPPFLAGS = $(AM_CPPFLAGS) $(USB_CFLAGS) $(SECCOMP_CFLAGS)
backends_usb_xendm_usb_LDADD = $(USB_LIBS) $(SECCOMP_LIBS)
