# SPDX-License-Identifier: GPL-2.0-or-later
# Ethernet on the host's side. No Xen header here.
noinst_LTLIBRARIES += libbackendsnet.la
libbackendsnet_la_SOURCES = \
	backends/net/net.c backends/net/net.h backends/net/headers.c backends/net/offload.c \
	backends/net/socket.c backends/net/tap.c
libbackendsnet_la_LIBADD = $(GLIB_LIBS)
