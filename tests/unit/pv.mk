# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of backends/pv: guest, Xen and toolstack are the tests' own.
check_PROGRAMS += tests/unit/test-pv-kbd tests/unit/test-pv-blk
tests_unit_test_pv_kbd_SOURCES = tests/unit/test-pv-kbd.c tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_kbd_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_kbd_LDADD = libbackendspv.la libbackendsblock.la $(UNIT_LIBS)
tests_unit_test_pv_blk_SOURCES = tests/unit/test-pv-blk.c tests/unit/fake-pv.c tests/unit/fake-pv.h tests/unit/fake-block.c \
	tests/unit/fake-block.h
tests_unit_test_pv_blk_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_blk_LDADD = libbackendspv.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-kbd tests/unit/test-pv-blk
