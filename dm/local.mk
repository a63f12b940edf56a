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

# The filter of system calls: made by a program that has libseccomp; the daemon has only its result.
noinst_PROGRAMS += dm/make-syscalls-filter
dm_make_syscalls_filter_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
dm_make_syscalls_filter_SOURCES = dm/make-syscalls-filter.c
dm_make_syscalls_filter_LDADD = $(SECCOMP_LIBS)
dm/syscalls-filter.h: dm/make-syscalls-filter$(EXEEXT)
	$(AM_V_GEN)dm/make-syscalls-filter$(EXEEXT) > $@.new && mv $@.new $@
CLEANFILES += dm/syscalls-filter.h
noinst_LTLIBRARIES += libdmsyscalls.la
libdmsyscalls_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(builddir)/dm
libdmsyscalls_la_SOURCES = dm/syscalls.c dm/syscalls.h
# by a variable, because automake drops its own rule for a target that it sees named
syscalls_object = dm/libdmsyscalls_la-syscalls.lo
$(syscalls_object): dm/syscalls-filter.h

sbin_PROGRAMS += xendm
xendm_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS) $(CAPNG_CFLAGS)
xendm_SOURCES = \
	dm/control.c dm/control.h dm/daemon.c dm/daemon.h dm/loop.c dm/loop.h dm/main.c dm/sandbox.c dm/sandbox.h \
	dm/update-inherit.c dm/update.c dm/update.h \
	hw/classes.c
xendm_LDADD = \
	libdmcontrol.la libdmxen.la libhwpc.la libhwide.la libhwdisplay.la libhwinput.la libhwchar.la libhwacpi.la \
	libhwxen.la libhwcore.la libmapcache.la libxenstorewatch.la libbackendshost.la libdmsyscalls.la libdmbase.la \
	$(JSON_LIBS) $(XEN_LIBS) $(PNG_LIBS) $(CAPNG_LIBS) $(GLIB_LIBS)
