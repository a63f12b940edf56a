# SPDX-License-Identifier: GPL-2.0-or-later
# The ioreq server: the way of a guest's accesses.
noinst_LTLIBRARIES += libdmioreq.la
libdmioreq_la_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/dm $(XEN_CFLAGS)
libdmioreq_la_SOURCES = dm/ioreq/ioreq.h dm/ioreq/request.c dm/ioreq/request.h dm/ioreq/server.c
