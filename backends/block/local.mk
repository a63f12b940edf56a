# SPDX-License-Identifier: GPL-2.0-or-later
# Images and devices of the host. No Xen header here.
noinst_LTLIBRARIES += libbackendsblock.la
libbackendsblock_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
libbackendsblock_la_SOURCES = backends/block/block.c backends/block/driver.h backends/block/engine.h \
	backends/block/lock.c backends/block/raw.c backends/block/threads.c backends/block/uring.c
libbackendsblock_la_LIBADD = $(URING_LIBS) $(GLIB_LIBS)
