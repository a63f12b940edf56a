# SPDX-License-Identifier: GPL-2.0-or-later
# PV back ends that the toolstack leaves to the device model. Xen's headers here are those of the protocols alone.
noinst_LTLIBRARIES += libbackendspv.la
libbackendspv_la_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
libbackendspv_la_SOURCES = \
	backends/pv/blk.c backends/pv/blk-ring.c backends/pv/blk.h backends/pv/bus.c backends/pv/classes.c backends/pv/console.c backends/pv/device.c \
	backends/pv/fb.c backends/pv/fb-draw.c backends/pv/fb.h \
	backends/pv/internal.h backends/pv/kbd.c backends/pv/p9.c \
	backends/pv/snd.c backends/pv/snd-ring.c backends/pv/snd-stream.c backends/pv/snd.h \
	backends/pv/usb.c backends/pv/usb-ring.c backends/pv/usb.h \
	backends/pv/vif.c backends/pv/vif-ring.c backends/pv/vif.h
libbackendspv_la_LIBADD = $(GLIB_LIBS)
noinst_HEADERS += include/xendm/evtchn.h include/xendm/foreign.h include/xendm/grants.h include/xendm/pv.h
