# SPDX-License-Identifier: GPL-2.0-or-later
# xendmctl: looks into saved state and into status pages. Needs nothing of the daemon's: it decodes by the formats alone.
bin_PROGRAMS += tools/xendmctl/xendmctl
tools_xendmctl_xendmctl_SOURCES = tools/xendmctl/main.c tools/xendmctl/state.c tools/xendmctl/stream.c \
    tools/xendmctl/container.c tools/xendmctl/stream.h tools/xendmctl/page.c tools/xendmctl/page.h \
    tools/xendmctl/recorder.c tools/xendmctl/status.c tools/xendmctl/why.c tools/xendmctl/update.c tools/xendmctl/update.h \
    tools/xendmctl/why.h tools/xendmctl/why-host.c tools/xendmctl/why-symbols.c tools/xendmctl/why-xen.c \
    tools/xendmctl/qmp.c tools/xendmctl/qmp.h tools/xendmctl/seat.c tools/xendmctl/seat.h tools/xendmctl/picture.c tools/xendmctl/picture.h \
    tools/xendmctl/gdb.c tools/xendmctl/gdb.h tools/xendmctl/gdb-registers.c tools/xendmctl/gdb-target.c tools/xendmctl/gdb-target.h \
    tools/xendmctl/monitor.c tools/xendmctl/monitor.h \
    tools/xendmctl/record.c tools/xendmctl/record-file.c tools/xendmctl/record-scrub.c tools/xendmctl/record.h \
    tools/xendmctl/recorder.h tools/xendmctl/perfetto.c tools/xendmctl/xen.c tools/xendmctl/xen.h tools/xendmctl/cpu.c tools/xendmctl/cpu.h
tools_xendmctl_xendmctl_CPPFLAGS = $(AM_CPPFLAGS) -D__XEN_TOOLS__ $(XEN_CFLAGS) $(PNG_CFLAGS)
tools_xendmctl_xendmctl_LDADD = libbackendsnet.la libbase.la $(GLIB_LIBS) $(PNG_LIBS) $(ZLIB_LIBS) -lxenctrl -lxencall -lxenforeignmemory -lxendevicemodel -lxenevtchn
dist_man_MANS += docs/xendmctl.1
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = tools/xendmctl/completion/xendmctl
TESTS += tests/cmdline/test-completion.py
dist_check_SCRIPTS += tests/cmdline/test-completion.py
