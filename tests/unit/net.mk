# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of network cards, with a cable of the tests' own (fake-net.c).
NET_TEST_LIBS = libhwnet.la libbackendsnet.la $(UNIT_LIBS) $(ZLIB_LIBS)
net_test_sources = tests/unit/fake-net.c tests/unit/fake-net.h tests/unit/nic-fixture.h tests/unit/pc-common.h
check_PROGRAMS += tests/unit/test-rtl8139 tests/unit/test-e1000
tests_unit_test_rtl8139_SOURCES = tests/unit/test-rtl8139.c $(net_test_sources)
tests_unit_test_rtl8139_LDADD = $(NET_TEST_LIBS)
tests_unit_test_e1000_SOURCES = tests/unit/test-e1000.c $(net_test_sources)
tests_unit_test_e1000_LDADD = $(NET_TEST_LIBS)
TESTS += tests/unit/test-rtl8139 tests/unit/test-e1000
