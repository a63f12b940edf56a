# SPDX-License-Identifier: GPL-2.0-or-later
# Keyboard and mouse.
noinst_LTLIBRARIES += libhwinput.la
libhwinput_la_SOURCES = \
	hw/input/i8042.c hw/input/ps2-keyboard.c hw/input/ps2-mouse.c hw/input/ps2-queue.c hw/input/ps2.h
