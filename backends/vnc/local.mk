# SPDX-License-Identifier: GPL-2.0-or-later
# VNC: the daemon's part, the keeper that waits for viewers, the server process of each viewer.
noinst_LTLIBRARIES += libbackendsvnc.la
libbackendsvnc_la_SOURCES = \
	backends/vnc/options.c backends/vnc/options.h backends/vnc/viewer.c backends/vnc/vnc.c backends/vnc/vnc.h \
	backends/vnc/wire.h
libbackendsvnc_la_LIBADD = $(GLIB_LIBS)

pkglibexec_PROGRAMS += backends/vnc/xendm-vnc backends/vnc/xendm-vnc-server
backends_vnc_xendm_vnc_SOURCES = backends/vnc/keeper.c backends/vnc/wire.h base/confine.c base/one-fd.c
backends_vnc_xendm_vnc_server_SOURCES = \
	backends/vnc/confine.c backends/vnc/confine.h backends/vnc/keymap.c backends/vnc/keymap.h \
	backends/vnc/scroll.c backends/vnc/scroll.h backends/vnc/server-input.c backends/vnc/server.c backends/vnc/server.h backends/vnc/wire.h \
	base/confine-calls.c base/confine.c base/one-fd.c
backends_vnc_xendm_vnc_server_CPPFLAGS = $(AM_CPPFLAGS) $(VNCSERVER_CFLAGS) $(XKB_CFLAGS) $(SECCOMP_CFLAGS)
backends_vnc_xendm_vnc_server_LDADD = $(VNCSERVER_LIBS) $(XKB_LIBS) $(SECCOMP_LIBS)
