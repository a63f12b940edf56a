# SPDX-License-Identifier: GPL-2.0-or-later
# The PC around the chips: bridges, CMOS, ISA DMA, and the board that puts everything together.
noinst_LTLIBRARIES += libhwpc.la
libhwpc_la_SOURCES = \
	hw/pc/board.c hw/pc/cmos.c hw/pc/cmos.h hw/pc/i440fx.c hw/pc/i8257.c hw/pc/piix3.c
