# SPDX-License-Identifier: GPL-2.0-or-later
# Keyboard, mouse, and the way of input events to them.
noinst_LTLIBRARIES += libhwinput.la
libhwinput_la_SOURCES = \
	hw/input/i8042.c hw/input/input.c hw/input/key-names.c hw/input/ps2-keyboard.c hw/input/ps2-mouse.c \
	hw/input/ps2-queue.c hw/input/ps2.h
