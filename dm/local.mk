# SPDX-License-Identifier: GPL-2.0-or-later
# The process: start, life, end. Its sub-rooms are libraries of their own.
dist_man_MANS += docs/xendm.8
sbin_PROGRAMS += xendm
xendm_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/dm $(XEN_CFLAGS) $(CAPNG_CFLAGS)
xendm_SOURCES = \
	dm/backends.c dm/control.c dm/control.h dm/daemon.c dm/daemon.h dm/life.c dm/loop.c dm/loop.h dm/main.c \
	dm/origin.c dm/origin.h dm/parts.c dm/parts.h dm/service/service.c dm/service/service.h \
	dm/state/state-file.c dm/state/state.h \
	dm/sandbox/begin.c dm/sandbox/broker.c dm/sandbox/broker.h dm/sandbox/client.c dm/sandbox/images.c dm/sandbox/privileges.c \
	dm/sandbox/program.c dm/sandbox/rules.c dm/sandbox/sandbox.h dm/status/page.c dm/status/status.h dm/status/topics.c dm/tape/play.c dm/tape/record.c dm/tape/tape.h dm/update/arrive.c dm/update/keep.c dm/update/leave.c dm/update/line.c \
	dm/update/line.h dm/update/update.h \
	backends/classes.c hw/classes.c
if !SANITIZERS
# Before others: most names that are looked up at the start are of these two, and the search is in the order of linking.
xendm_LDFLAGS = $(AM_LDFLAGS) -Wl,--push-state,--no-as-needed,-lc,-lglib-2.0,--pop-state
endif
xendm_LDADD = \
	libdmqmp.la libdmconfig.la libdmioreq.la libdmxen.la $(HW_LIBS) libhwcore.la libmapcache.la libxenstorewatch.la \
	$(BACKEND_LIBS) libbackendsdisplay.la libdmsyscalls.la libbase.la \
	$(XEN_LIBS) $(PNG_LIBS) $(CAPNG_LIBS) $(GLIB_LIBS)
