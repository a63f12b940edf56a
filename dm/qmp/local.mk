# SPDX-License-Identifier: GPL-2.0-or-later
# What the toolstack and people ask while the guest runs: QMP and HMP.
noinst_LTLIBRARIES += libdmqmp.la
libdmqmp_la_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/dm
libdmqmp_la_SOURCES = \
	dm/qmp/call.c dm/qmp/commands-block.c dm/qmp/commands-devices.c dm/qmp/commands-life.c dm/qmp/commands-machine.c dm/qmp/commands-net.c dm/qmp/commands-seat.c dm/qmp/commands-vnc.c dm/qmp/dispatch.c dm/qmp/elsewhere.c dm/qmp/events.c \
	dm/qmp/facts.c dm/qmp/fdset.c dm/qmp/handover.c dm/qmp/hmp.c dm/qmp/info.c dm/qmp/internal.h dm/qmp/json-text.c dm/qmp/json.c \
	dm/qmp/qmp.c dm/qmp/qmp.h dm/qmp/transport.c dm/qmp/transport.h
libdmqmp_la_LIBADD = $(GLIB_LIBS)
