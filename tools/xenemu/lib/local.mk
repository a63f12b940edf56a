# SPDX-License-Identifier: GPL-2.0-or-later
# The drop-in libraries carry foreign sonames and symbol versions, which libtool has no words for: plain
# rules. They are never sanitized, since any process may load them.
xenemu_xenctrl = tools/xenemu/lib/libxenctrl.so.$(XEN_VERSION)
xenemu_dropins = \
    tools/xenemu/lib/libxenevtchn.so.1 tools/xenemu/lib/libxenforeignmemory.so.1 \
    tools/xenemu/lib/libxendevicemodel.so.1 tools/xenemu/lib/libxengnttab.so.1 \
    tools/xenemu/lib/libxencall.so.1 $(xenemu_xenctrl)
xenemu_toolcore = tools/xenemu/lib/libxentoolcore.so.1
xenemu_xsd = tools/xenemu/lib/libxenemu-xsd.so
xenemu_built = $(xenemu_dropins) $(xenemu_toolcore) $(xenemu_xsd) tools/xenemu/lib/xds.py

xenemulibdir = $(pkglibdir)/xenemu
nodist_xenemulib_DATA = $(xenemu_dropins) $(xenemu_toolcore) $(xenemu_xsd)
nodist_xenemulib_SCRIPTS = tools/xenemu/lib/xds.py

XENEMU_CC = $(CC) -std=gnu11 $(CPPFLAGS) $(XENEMU_CPPFLAGS) -D_GNU_SOURCE -D__XEN_TOOLS__ -I$(srcdir)/tools/xenemu/lib \
    $(CFLAGS) -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -fPIC -shared $(LDFLAGS)
xenemu_client = tools/xenemu/lib/client.c tools/xenemu/lib/client.h tools/xenemu/rpc/rpc.h \
    tools/xenemu/lib/gen-stubs.sh
# One recipe for all: libX.so.N from libX.c, client.c and what gen-stubs.sh makes of libX.syms, as far as the
# installed library has it. What that exports is not the same in all versions of Xen.
xenemu_link = stem=tools/xenemu/lib/`echo $(@F) | sed 's/\.so.*//'`; $(MKDIR_P) tools/xenemu/lib && \
    gen="$(SHELL) $(srcdir)/tools/xenemu/lib/gen-stubs.sh"; \
    $(NM) -D --defined-only --with-symbol-versions $(XEN_LIBDIR)/$(@F) > $$stem.exports && \
    $$gen $(srcdir)/$$stem.syms $$stem.exports c > $$stem-stubs.c && \
    $$gen $(srcdir)/$$stem.syms $$stem.exports map > $$stem.map && \
    $(XENEMU_CC) -Wl,-soname,$(@F) -Wl,--version-script=$$stem.map -o $@ \
        $(srcdir)/$$stem.c $(srcdir)/tools/xenemu/lib/client.c $$stem-stubs.c

$(xenemu_toolcore): tools/xenemu/lib/libxentoolcore.c tools/xenemu/lib/libxentoolcore.syms $(xenemu_client)
	$(AM_V_CCLD)$(xenemu_link)
tools/xenemu/lib/libxenevtchn.so.1: tools/xenemu/lib/libxenevtchn.c tools/xenemu/lib/libxenevtchn.syms
tools/xenemu/lib/libxenforeignmemory.so.1: tools/xenemu/lib/libxenforeignmemory.c \
    tools/xenemu/lib/libxenforeignmemory.syms
tools/xenemu/lib/libxendevicemodel.so.1: tools/xenemu/lib/libxendevicemodel.c \
    tools/xenemu/lib/libxendevicemodel.syms
tools/xenemu/lib/libxengnttab.so.1: tools/xenemu/lib/libxengnttab.c tools/xenemu/lib/libxengnttab.syms
tools/xenemu/lib/libxencall.so.1: tools/xenemu/lib/libxencall.c tools/xenemu/lib/libxencall.syms
$(xenemu_xenctrl): tools/xenemu/lib/libxenctrl.c tools/xenemu/lib/libxenctrl.syms
$(xenemu_dropins): $(xenemu_client) $(xenemu_toolcore)
	$(AM_V_CCLD)$(xenemu_link) $(xenemu_toolcore)
$(xenemu_xsd): tools/xenemu/lib/libxenemu-xsd.c
	$(AM_V_CCLD)$(MKDIR_P) tools/xenemu/lib && $(XENEMU_CC) -o $@ $(srcdir)/tools/xenemu/lib/libxenemu-xsd.c
tools/xenemu/lib/xds.py: tools/xenemu/xds.py
	$(AM_V_GEN)$(MKDIR_P) tools/xenemu/lib && cp $(srcdir)/tools/xenemu/xds.py $@ && chmod +x $@

CLEANFILES += $(xenemu_built) tools/xenemu/lib/*-stubs.c tools/xenemu/lib/*.map tools/xenemu/lib/*.exports
EXTRA_DIST += tools/xenemu/lib/client.c tools/xenemu/lib/client.h \
    tools/xenemu/lib/gen-stubs.sh tools/xenemu/lib/libxenemu-xsd.c \
    tools/xenemu/lib/libxentoolcore.c tools/xenemu/lib/libxentoolcore.syms \
    tools/xenemu/lib/libxenevtchn.c tools/xenemu/lib/libxenevtchn.syms \
    tools/xenemu/lib/libxenforeignmemory.c tools/xenemu/lib/libxenforeignmemory.syms \
    tools/xenemu/lib/libxendevicemodel.c tools/xenemu/lib/libxendevicemodel.syms \
    tools/xenemu/lib/libxengnttab.c tools/xenemu/lib/libxengnttab.syms \
    tools/xenemu/lib/libxencall.c tools/xenemu/lib/libxencall.syms \
    tools/xenemu/lib/libxenctrl.c tools/xenemu/lib/libxenctrl.syms
