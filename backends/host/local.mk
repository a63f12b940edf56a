# SPDX-License-Identifier: GPL-2.0-or-later
# Back ends on the host's side. No Xen header here.
noinst_LTLIBRARIES += libbackendshost.la
libbackendshost_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
libbackendshost_la_SOURCES = \
	backends/host/block-engine.h backends/host/block-threads.c backends/host/block-uring.c backends/host/block.c \
	backends/host/chardev-spec.c backends/host/chardev-spec.h backends/host/chardev.c
libbackendshost_la_LIBADD = $(URING_LIBS) $(GLIB_LIBS)
