# SPDX-License-Identifier: GPL-2.0-or-later
# Faults on demand. Those of disks belong to the run, whose child the device model is.
tools_xenemu_libxenemuhost_la_SOURCES += \
    tools/xenemu/faults/faults.c \
    tools/xenemu/faults/faults.h \
    tools/xenemu/faults/xenstore-proxy.c \
    tools/xenemu/faults/xenstore-proxy.h
tools_xenemu_xenemu_SOURCES += \
    tools/xenemu/faults/disk.c \
    tools/xenemu/faults/disk.h
