# SPDX-License-Identifier: GPL-2.0-or-later
# Byte streams of the host: ptys, sockets, files. No Xen header here.
noinst_LTLIBRARIES += libbackendschar.la
libbackendschar_la_SOURCES = backends/char/chardev.c
libbackendschar_la_LIBADD = $(GLIB_LIBS)
