# SPDX-License-Identifier: GPL-2.0-or-later
# The services that every device uses. No Xen header here.
noinst_LTLIBRARIES += libhwcore.la
libhwcore_la_SOURCES = \
    hw/core/aspace.c \
    hw/core/bus.c \
    hw/core/clock.c \
    hw/core/core.h \
    hw/core/device.c \
    hw/core/devmem.c \
    hw/core/dma.c \
    hw/core/dma-list.c \
    hw/core/handed.c \
    hw/core/dma-window.c \
    hw/core/hold.c \
    hw/core/irq.c \
    hw/core/machine.c \
    hw/core/machine-state.c \
    hw/core/pci.c \
    hw/core/pci-addr.c \
    hw/core/pci-msi.c \
    hw/core/pci-regs.h \
    hw/core/plug.c \
    hw/core/regs.c \
    hw/core/state.c
