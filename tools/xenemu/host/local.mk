# SPDX-License-Identifier: GPL-2.0-or-later
# What Xen is to a device model.
tools_xenemu_libxenemuhost_la_SOURCES += \
    tools/xenemu/host/cpu.c \
    tools/xenemu/host/cpu.h \
    tools/xenemu/host/dirty.c \
    tools/xenemu/host/dirty.h \
    tools/xenemu/host/domain-life.c \
    tools/xenemu/host/domain-life.h \
    tools/xenemu/host/domain.c \
    tools/xenemu/host/domain.h \
    tools/xenemu/host/evtchn.c \
    tools/xenemu/host/evtchn.h \
    tools/xenemu/host/gnttab.c \
    tools/xenemu/host/gnttab.h \
    tools/xenemu/host/handle.h \
    tools/xenemu/host/ioreq-request.c \
    tools/xenemu/host/ioreq-request.h \
    tools/xenemu/host/ioreq-server.c \
    tools/xenemu/host/ioreq-server.h \
    tools/xenemu/host/irq.c \
    tools/xenemu/host/irq.h \
    tools/xenemu/host/loop.c \
    tools/xenemu/host/loop.h \
    tools/xenemu/host/mappings.c \
    tools/xenemu/host/mappings.h \
    tools/xenemu/host/memory.c \
    tools/xenemu/host/memory.h \
    tools/xenemu/host/monitor.c \
    tools/xenemu/host/monitor.h
