# SPDX-License-Identifier: GPL-2.0-or-later
# The filter of system calls: made by a program that has libseccomp; the daemon has only its result.
noinst_PROGRAMS += dm/sandbox/make-syscalls-filter
dm_sandbox_make_syscalls_filter_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
dm_sandbox_make_syscalls_filter_SOURCES = dm/sandbox/make-syscalls-filter.c
dm_sandbox_make_syscalls_filter_LDADD = $(SECCOMP_LIBS)
dm/sandbox/syscalls-filter.h: dm/sandbox/make-syscalls-filter$(EXEEXT)
	$(AM_V_GEN)dm/sandbox/make-syscalls-filter$(EXEEXT) > $@.new && mv $@.new $@
CLEANFILES += dm/sandbox/syscalls-filter.h
noinst_LTLIBRARIES += libdmsyscalls.la
libdmsyscalls_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(builddir)/dm/sandbox
libdmsyscalls_la_SOURCES = dm/sandbox/syscalls.c dm/sandbox/syscalls.h
# by a variable, because automake drops its own rule for a target that it sees named
syscalls_object = dm/sandbox/libdmsyscalls_la-syscalls.lo
$(syscalls_object): dm/sandbox/syscalls-filter.h
