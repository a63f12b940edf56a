# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/display.
check_PROGRAMS += tests/unit/test-cirrus tests/unit/test-display tests/unit/test-vga
tests_unit_test_cirrus_SOURCES = tests/unit/test-cirrus.c tests/unit/look.h
tests_unit_test_cirrus_LDADD = libhwdisplay.la $(UNIT_LIBS)
tests_unit_test_display_SOURCES = tests/unit/test-display.c tests/unit/look.h
tests_unit_test_display_CPPFLAGS = $(AM_CPPFLAGS) $(PNG_CFLAGS)
tests_unit_test_display_LDADD = libhwdisplay.la $(UNIT_LIBS) $(PNG_LIBS)
# Nothing here asks for the fakes before the core does.
tests_unit_test_display_LDFLAGS = $(AM_LDFLAGS) -Wl,-u,fake_machine_new
tests_unit_test_vga_SOURCES = tests/unit/test-vga.c tests/unit/look.h
tests_unit_test_vga_LDADD = libhwdisplay.la $(UNIT_LIBS)
TESTS += tests/unit/test-cirrus tests/unit/test-display tests/unit/test-vga
