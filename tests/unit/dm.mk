# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of the command line and of QMP; the command line's table runs against the daemon itself.
# The QMP tests bring their own machine (qmp-fakes.c), so they link neither the core nor the chips.
qmp_test_libs = libdmqmp.la libdmconfig.la libdmupdate.la libbackendsaudio.la libbackendsblob.la libbackendsblock.la libbackendschar.la libbackendsnet.la libbackendsp9.la libbackends.la libdmupdate.la libhwcore.la libbase.la $(GLIB_LIBS)
qmp_test_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)
qmp_test_sources = backends/classes.c tests/unit/qmp-fakes.c tests/unit/qmp-fakes.h tests/unit/qmp-fixture.c tests/unit/qmp-fixture.h
check_PROGRAMS += tests/unit/test-cmdline tests/unit/test-qmp tests/unit/test-qmp-commands
tests_unit_test_cmdline_CPPFLAGS = $(qmp_test_cppflags)
tests_unit_test_cmdline_SOURCES = tests/unit/test-cmdline.c backends/classes.c hw/classes.c
tests_unit_test_cmdline_LDADD = libdmconfig.la $(tests_unit_test_board_LDADD)
tests_unit_test_qmp_CPPFLAGS = $(qmp_test_cppflags)
tests_unit_test_qmp_SOURCES = tests/unit/test-qmp.c $(qmp_test_sources)
tests_unit_test_qmp_LDADD = $(qmp_test_libs)
tests_unit_test_qmp_commands_CPPFLAGS = $(qmp_test_cppflags)
tests_unit_test_qmp_commands_SOURCES = tests/unit/test-qmp-commands.c $(qmp_test_sources)
tests_unit_test_qmp_commands_LDADD = $(qmp_test_libs)
TESTS += tests/unit/test-cmdline tests/unit/test-qmp tests/unit/test-qmp-commands tests/cmdline/test-table.py tests/cmdline/test-probe.py
dist_check_SCRIPTS += tests/cmdline/test-table.py tests/cmdline/test-probe.py
EXTRA_DIST += tests/cmdline/table
check_PROGRAMS += tests/unit/test-syscalls
tests_unit_test_syscalls_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_syscalls_SOURCES = tests/unit/test-syscalls.c
tests_unit_test_syscalls_LDADD = libdmsyscalls.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-syscalls
