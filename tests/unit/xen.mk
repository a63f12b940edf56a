# Unit tests of what talks to Xen, without Xen: mapcache, xenstore client, ioreq.
check_PROGRAMS += tests/unit/test-mapcache
tests_unit_test_mapcache_SOURCES = tests/unit/test-mapcache.c
tests_unit_test_mapcache_LDADD = libmapcache.la libdmbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-mapcache
