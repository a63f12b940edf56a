# SPDX-License-Identifier: GPL-2.0-or-later
# Directories of the host for guests: the daemon's end, and the server of 9P, which is a program.
noinst_LTLIBRARIES += libbackendsp9.la
libbackendsp9_la_SOURCES = backends/p9/link.c backends/p9/mount.c backends/p9/share.c backends/p9/wire.h
libbackendsp9_la_LIBADD = $(GLIB_LIBS)
noinst_HEADERS += include/xendm/p9.h

p9_session = backends/p9/attr.c backends/p9/codec.c backends/p9/codec.h backends/p9/data.c backends/p9/fids.c backends/p9/fids.h \
	backends/p9/model.c backends/p9/model.h backends/p9/names.c backends/p9/session.c backends/p9/session.h \
	backends/p9/tree.c backends/p9/tree.h
pkglibexec_PROGRAMS += backends/p9/xendm-p9
backends_p9_xendm_p9_SOURCES = backends/p9/confine.c backends/p9/confine.h backends/p9/server.c backends/p9/wire.h $(p9_session) \
	base/confine-calls.c base/confine.c base/one-fd.c
backends_p9_xendm_p9_CPPFLAGS = $(AM_CPPFLAGS) $(CAPNG_CFLAGS) $(SECCOMP_CFLAGS)
backends_p9_xendm_p9_LDADD = $(CAPNG_LIBS) $(SECCOMP_LIBS)
