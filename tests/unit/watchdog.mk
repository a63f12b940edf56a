# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of watchdog timers.
check_PROGRAMS += tests/unit/test-i6300esb
tests_unit_test_i6300esb_SOURCES = tests/unit/test-i6300esb.c tests/unit/pc-common.h
tests_unit_test_i6300esb_LDADD = libhwwatchdog.la $(UNIT_LIBS)
TESTS += tests/unit/test-i6300esb
