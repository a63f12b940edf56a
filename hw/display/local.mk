# SPDX-License-Identifier: GPL-2.0-or-later
# VGA chips.
noinst_LTLIBRARIES += libhwdisplay.la
libhwdisplay_la_SOURCES = \
	hw/display/cirrus.c hw/display/cirrus.h hw/display/cirrus-blit.c hw/display/cirrus-cursor.c \
	hw/display/cirrus-memory.c hw/display/cirrus-registers.c \
	hw/display/edid.c hw/display/edid.h hw/display/std-vga.c hw/display/vbe.c hw/display/vbe.h hw/display/vga-core.h \
	hw/display/vga-memory.c hw/display/vga-isa.c hw/display/vga-registers.c hw/display/vga-render.c hw/display/vga-scan.c
