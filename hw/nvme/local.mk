# SPDX-License-Identifier: GPL-2.0-or-later
# NVM Express.
noinst_LTLIBRARIES += libhwnvme.la
HW_LIBS += libhwnvme.la
libhwnvme_la_SOURCES = \
	hw/nvme/nvme.c hw/nvme/state.c hw/nvme/queue.c hw/nvme/request.c hw/nvme/data.c hw/nvme/io.c hw/nvme/admin.c hw/nvme/features.c \
	hw/nvme/identify.c hw/nvme/namespace.c hw/nvme/nvme.h hw/nvme/spec.h
