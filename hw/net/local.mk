# SPDX-License-Identifier: GPL-2.0-or-later
# Network cards.
noinst_LTLIBRARIES += libhwnet.la
libhwnet_la_SOURCES = \
	hw/net/e1000.c hw/net/e1000.h hw/net/e1000-phy.c hw/net/e1000-rx.c hw/net/e1000-tx.c hw/net/eeprom93.c hw/net/eeprom93.h hw/net/rtl8139.c hw/net/rtl8139.h hw/net/rtl8139-rx.c hw/net/rtl8139-tx.c
libhwnet_la_LIBADD = $(ZLIB_LIBS)
