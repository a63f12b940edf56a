# SPDX-License-Identifier: GPL-2.0-or-later
# LSI 53C895A SCSI host adapter.
noinst_LTLIBRARIES += libhwlsi.la
HW_LIBS += libhwlsi.la
libhwlsi_la_SOURCES = hw/lsi/lsi.c hw/lsi/registers.c hw/lsi/script.c hw/lsi/move.c hw/lsi/bus.c hw/lsi/request.c hw/lsi/state.c \
	hw/lsi/lsi.h
