# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of what talks to Xen, without Xen: mapcache, xenstore client, ioreq.
check_PROGRAMS += tests/unit/test-mapcache
tests_unit_test_mapcache_SOURCES = tests/unit/test-mapcache.c
tests_unit_test_mapcache_LDADD = libmapcache.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-mapcache

# A make-believe libxenstore is in the test itself: no XEN_LIBS.
check_PROGRAMS += tests/unit/test-xenstore
tests_unit_test_xenstore_SOURCES = tests/unit/test-xenstore.c
tests_unit_test_xenstore_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_xenstore_LDADD = libxenstorewatch.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-xenstore

# The part of the ioreq server that makes no hypervisor call.
check_PROGRAMS += tests/unit/test-ioreq
tests_unit_test_ioreq_SOURCES = tests/unit/test-ioreq.c tests/unit/fakes.h dm/ioreq/request.c dm/ioreq/request.h
tests_unit_test_ioreq_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_ioreq_LDADD = $(UNIT_LIBS) -lpthread
TESTS += tests/unit/test-ioreq
