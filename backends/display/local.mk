# SPDX-License-Identifier: GPL-2.0-or-later
# The seat in front of the machine: the screen that viewers look at, and the way of keys and pointer into the machine.
noinst_LTLIBRARIES += libbackendsdisplay.la
libbackendsdisplay_la_CPPFLAGS = $(AM_CPPFLAGS) $(PNG_CFLAGS)
libbackendsdisplay_la_SOURCES = \
	backends/display/display.c backends/display/input.c backends/display/input-internal.h backends/display/internal.h backends/display/keys.c backends/display/key-names.c \
	backends/display/picture.c backends/display/picture.h backends/display/screendump.c
libbackendsdisplay_la_LIBADD = $(PNG_LIBS)
