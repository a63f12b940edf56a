# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libxenstorewatch.la
libxenstorewatch_la_SOURCES = xenstore-watch/logic.c xenstore-watch/logic.h xenstore-watch/look.c \
	xenstore-watch/worker.c xenstore-watch/worker.h xenstore-watch/xenstore.c
libxenstorewatch_la_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
