# SPDX-License-Identifier: GPL-2.0-or-later
# Log and flight recorder: what every room may call, so that tests link it without the daemon.
noinst_LTLIBRARIES += libdmbase.la
libdmbase_la_SOURCES = dm/error.c dm/log.c dm/recorder.c

# What the toolstack says and asks: the command line and QMP.
noinst_LTLIBRARIES += libdmcontrol.la
libdmcontrol_la_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_CFLAGS)
libdmcontrol_la_SOURCES = \
	dm/cmdline-devices.c dm/cmdline.c dm/cmdline.h dm/hmp.c dm/machine-desc.c dm/optlist.c dm/optlist.h \
	dm/handover.c dm/handover.h dm/qmp-commands-devices.c dm/qmp-commands.c dm/qmp-dispatch.c dm/qmp-fdset.c \
	dm/qmp-handover.c dm/qmp-internal.h dm/qmp.c dm/qmp.h
libdmcontrol_la_LIBADD = $(JSON_LIBS) $(GLIB_LIBS)
dist_man_MANS += docs/xendm.8

# Xen: the ioreq server and the services of the hypervisor. The only users of Xen headers in dm/; libxenctrl in xen-ctrl.c.
noinst_LTLIBRARIES += libdmxen.la
libdmxen_la_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
libdmxen_la_SOURCES = \
	dm/ioreq-core.c dm/ioreq-core.h dm/ioreq.c dm/ioreq.h dm/xen-ctrl.c dm/xen-ctrl.h dm/xen-hypervisor.c \
	dm/xen-hypervisor.h

sbin_PROGRAMS += xendm
xendm_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS) $(CAPNG_CFLAGS) $(SECCOMP_CFLAGS)
xendm_SOURCES = \
	dm/control.c dm/control.h dm/daemon.c dm/daemon.h dm/loop.c dm/loop.h dm/main.c dm/sandbox.c dm/sandbox.h \
	dm/syscalls.c dm/syscalls.h dm/update-inherit.c dm/update.c dm/update.h \
	hw/classes.c
xendm_LDADD = \
	libdmcontrol.la libdmxen.la libhwpc.la libhwide.la libhwdisplay.la libhwinput.la libhwchar.la libhwacpi.la \
	libhwxen.la libhwcore.la libmapcache.la libxenstorewatch.la libbackendshost.la libdmbase.la \
	$(JSON_LIBS) $(XEN_LIBS) $(PNG_LIBS) $(CAPNG_LIBS) $(SECCOMP_LIBS) $(GLIB_LIBS)
