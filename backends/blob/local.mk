# SPDX-License-Identifier: GPL-2.0-or-later
# Files that the guest is given. No Xen header here.
noinst_LTLIBRARIES += libbackendsblob.la
libbackendsblob_la_SOURCES = backends/blob/blob.c
libbackendsblob_la_LIBADD = $(GLIB_LIBS)
