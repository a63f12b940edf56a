# SPDX-License-Identifier: GPL-2.0-or-later
# What libxl does around one device model.
tools_xenemu_xenemu_SOURCES += \
    tools/xenemu/run/control.c \
    tools/xenemu/run/control.h \
    tools/xenemu/run/device-model.c \
    tools/xenemu/run/device-model.h \
    tools/xenemu/run/environment.c \
    tools/xenemu/run/environment.h \
    tools/xenemu/run/libxl.c \
    tools/xenemu/run/libxl.h \
    tools/xenemu/run/options.c \
    tools/xenemu/run/options.h \
    tools/xenemu/run/process.c \
    tools/xenemu/run/process.h \
    tools/xenemu/run/readiness.c \
    tools/xenemu/run/readiness.h \
    tools/xenemu/run/replay.c \
    tools/xenemu/run/replay.h \
    tools/xenemu/run/run.c \
    tools/xenemu/run/run.h
