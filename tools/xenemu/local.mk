# SPDX-License-Identifier: GPL-2.0-or-later
# xenemu: the emulated Xen environment.
noinst_LTLIBRARIES += tools/xenemu/libxenemuhost.la
tools_xenemu_libxenemuhost_la_SOURCES =
tools_xenemu_libxenemuhost_la_CPPFLAGS = $(AM_CPPFLAGS) -D__XEN_TOOLS__ $(XEN_CFLAGS)

bin_PROGRAMS += tools/xenemu/xenemu
tools_xenemu_xenemu_SOURCES = tools/xenemu/main.c
tools_xenemu_xenemu_CPPFLAGS = $(AM_CPPFLAGS) -D__XEN_TOOLS__ $(XEN_CFLAGS) \
    -DXENEMU_PKGLIBDIR='"$(pkglibdir)/xenemu"' -DXEN_VERSION='"$(XEN_VERSION)"'
tools_xenemu_xenemu_LDADD = tools/xenemu/libxenemuhost.la $(GLIB_LIBS) -lxenstore -lpthread
# The libraries are found beside the program, so a build tree works without installation.
tools_xenemu_xenemu_DEPENDENCIES = tools/xenemu/libxenemuhost.la $(xenemu_built)

include tools/xenemu/host/local.mk
include tools/xenemu/rpc/local.mk
include tools/xenemu/control/local.mk
include tools/xenemu/faults/local.mk
include tools/xenemu/run/local.mk
include tools/xenemu/lib/local.mk

dist_man_MANS += docs/xenemu.1
EXTRA_DIST += tools/xenemu/xds.py tests/device/run docs/device-scripts.md
