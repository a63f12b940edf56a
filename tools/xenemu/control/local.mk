# SPDX-License-Identifier: GPL-2.0-or-later
# The command language, in place of a CPU.
tools_xenemu_libxenemuhost_la_SOURCES += \
    tools/xenemu/control/access.c \
    tools/xenemu/control/bench-blkif.c \
    tools/xenemu/control/bench-disk.c \
    tools/xenemu/control/bench-nic.c \
    tools/xenemu/control/bench-p9.c \
    tools/xenemu/control/bench-sequence.c \
    tools/xenemu/control/bench.c \
    tools/xenemu/control/bench.h \
    tools/xenemu/control/commands.c \
    tools/xenemu/control/commands.h \
    tools/xenemu/control/cpu.c \
    tools/xenemu/control/domain.c \
    tools/xenemu/control/faults.c \
    tools/xenemu/control/guest-side.c \
    tools/xenemu/control/irq.c \
    tools/xenemu/control/look.c \
    tools/xenemu/control/memory.c \
    tools/xenemu/control/qtest.c \
    tools/xenemu/control/qtest.h \
    tools/xenemu/control/request.c \
    tools/xenemu/control/request.h \
    tools/xenemu/control/words.c \
    tools/xenemu/control/words.h
