# SPDX-License-Identifier: GPL-2.0-or-later
TESTS += tests/update/test-update.py tests/update/test-trouble.py
dist_check_SCRIPTS += tests/update/test-update.py tests/update/test-trouble.py
check_DATA += tests/update/trouble.so
EXTRA_DIST += tests/update/trouble.c docs/live-update.md
CLEANFILES += tests/update/trouble.so
# Preloaded into any program: neither libtool's nor sanitized.
tests/update/trouble.so: tests/update/trouble.c
	$(AM_V_CCLD)$(MKDIR_P) tests/update && $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared -o $@ $(srcdir)/tests/update/trouble.c

# The calls to Xen that it looks at are in the test itself, in the place of the library's.
check_PROGRAMS += tests/unit/test-update
TESTS += tests/unit/test-update
tests_unit_test_update_SOURCES = tests/unit/test-update.c
tests_unit_test_update_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(XEN_CFLAGS)
tests_unit_test_update_LDADD = libdmxen.la libdmqmp.la libdmconfig.la libdmupdate.la libmapcache.la libhwcore.la libbase.la $(XEN_LIBS) $(GLIB_LIBS)
