# Unit tests of the command line and of QMP; the command line's table runs against the daemon itself.
# test-qmp brings its own machine (qmp-fakes.c), so it links neither the core nor the chips.
check_PROGRAMS += tests/unit/test-cmdline tests/unit/test-qmp
tests_unit_test_cmdline_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(JSON_CFLAGS)
tests_unit_test_cmdline_SOURCES = tests/unit/test-cmdline.c tests/unit/qmp-fakes.c tests/unit/qmp-fakes.h
tests_unit_test_cmdline_LDADD = libdmcontrol.la libbackendshost.la libdmbase.la $(JSON_LIBS) $(GLIB_LIBS)
tests_unit_test_qmp_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(JSON_CFLAGS)
tests_unit_test_qmp_SOURCES = tests/unit/test-qmp.c tests/unit/qmp-fakes.c tests/unit/qmp-fakes.h
tests_unit_test_qmp_LDADD = libdmcontrol.la libbackendshost.la libdmbase.la $(JSON_LIBS) $(GLIB_LIBS)
TESTS += tests/unit/test-cmdline tests/unit/test-qmp tests/cmdline/test-table.py
dist_check_SCRIPTS += tests/cmdline/test-table.py
EXTRA_DIST += tests/cmdline/table
