# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libhwahci.la
HW_LIBS += libhwahci.la
libhwahci_la_SOURCES = hw/ahci/ahci.c hw/ahci/port.c hw/ahci/queue.c hw/ahci/prdt.c hw/ahci/ahci.h
