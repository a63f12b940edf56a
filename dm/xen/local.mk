# SPDX-License-Identifier: GPL-2.0-or-later
# The services of the hypervisor; libxenctrl in ctrl.c alone.
noinst_LTLIBRARIES += libdmxen.la
libdmxen_la_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
libdmxen_la_SOURCES = dm/xen/ctrl.c dm/xen/ctrl.h dm/xen/evtchn.c dm/xen/foreign.c dm/xen/grants.c dm/xen/handles.c dm/xen/hypervisor.c \
	dm/xen/internal.h dm/xen/memory.c dm/xen/server.c dm/xen/xen.h
