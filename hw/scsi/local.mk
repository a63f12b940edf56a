# SPDX-License-Identifier: GPL-2.0-or-later
# SCSI targets: disks and CD drives, behind whatever carries their commands.
noinst_LTLIBRARIES += libhwscsi.la
HW_LIBS += libhwscsi.la
libhwscsi_la_SOURCES = hw/scsi/target.c hw/scsi/cd.c hw/scsi/cd-data.c hw/scsi/cd-raw.c hw/scsi/disk.c hw/scsi/task.c hw/scsi/unit.c \
	hw/scsi/scsi-internal.h
