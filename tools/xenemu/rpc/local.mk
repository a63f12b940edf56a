# SPDX-License-Identifier: GPL-2.0-or-later
# The requests of the drop-in libraries.
tools_xenemu_libxenemuhost_la_SOURCES += \
    tools/xenemu/rpc/connections.c \
    tools/xenemu/rpc/connections.h \
    tools/xenemu/rpc/dm-op.c \
    tools/xenemu/rpc/domain.c \
    tools/xenemu/rpc/evtchn.c \
    tools/xenemu/rpc/grants.c \
    tools/xenemu/rpc/memory.c \
    tools/xenemu/rpc/operations.c \
    tools/xenemu/rpc/operations.h \
    tools/xenemu/rpc/rpc.h \
    tools/xenemu/rpc/vcpu.c
