# SPDX-License-Identifier: GPL-2.0-or-later
# The screen: VGA chips, and the head that viewers look at.
noinst_LTLIBRARIES += libhwdisplay.la
libhwdisplay_la_CPPFLAGS = $(AM_CPPFLAGS) $(PNG_CFLAGS)
libhwdisplay_la_SOURCES = \
	hw/display/display.c hw/display/edid.c hw/display/edid.h hw/display/picture.c hw/display/picture.h \
	hw/display/std-vga.c hw/display/vbe.c hw/display/vbe.h hw/display/vga-core.h hw/display/vga-memory.c \
	hw/display/vga-registers.c hw/display/vga-render.c hw/display/vga-scan.c
libhwdisplay_la_LIBADD = $(PNG_LIBS)
