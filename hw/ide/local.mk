# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libhwide.la
libhwide_la_SOURCES = hw/ide/piix3-ide.c hw/ide/bus-master.c hw/ide/ide-channel.c hw/ide/ide-internal.h
