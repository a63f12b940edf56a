# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/input.
check_PROGRAMS += tests/unit/test-input tests/unit/test-i8042
tests_unit_test_input_SOURCES = tests/unit/test-input.c
tests_unit_test_input_LDADD = libhwinput.la $(UNIT_LIBS)
tests_unit_test_i8042_SOURCES = tests/unit/test-i8042.c
tests_unit_test_i8042_LDADD = libhwinput.la $(UNIT_LIBS)
TESTS += tests/unit/test-input tests/unit/test-i8042
