# SPDX-License-Identifier: GPL-2.0-or-later
# ATA drives, on whatever carries their commands: disks, and CD drives by packets.
noinst_LTLIBRARIES += libhwata.la
HW_LIBS += libhwata.la
libhwata_la_SOURCES = hw/ata/host.c hw/ata/drive.c hw/ata/life.c hw/ata/disk.c hw/ata/geometry.c hw/ata/identify.c \
	hw/ata/atapi.c hw/ata/ata-internal.h
