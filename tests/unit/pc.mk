# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of the PC's chips and the board.

check_PROGRAMS += tests/unit/test-i440fx
tests_unit_test_i440fx_SOURCES = tests/unit/test-i440fx.c tests/unit/pc-common.h
tests_unit_test_i440fx_LDADD = libhwpc.la $(UNIT_LIBS)
TESTS += tests/unit/test-i440fx

check_PROGRAMS += tests/unit/test-piix3
tests_unit_test_piix3_SOURCES = tests/unit/test-piix3.c tests/unit/pc-common.h
tests_unit_test_piix3_LDADD = libhwpc.la $(UNIT_LIBS)
TESTS += tests/unit/test-piix3

check_PROGRAMS += tests/unit/test-cmos
tests_unit_test_cmos_SOURCES = tests/unit/test-cmos.c tests/unit/pc-common.h
tests_unit_test_cmos_LDADD = libhwpc.la $(UNIT_LIBS)
TESTS += tests/unit/test-cmos

check_PROGRAMS += tests/unit/test-i8257
tests_unit_test_i8257_SOURCES = tests/unit/test-i8257.c tests/unit/pc-common.h
tests_unit_test_i8257_LDADD = libhwpc.la $(UNIT_LIBS)
TESTS += tests/unit/test-i8257

check_PROGRAMS += tests/unit/test-pm
tests_unit_test_pm_SOURCES = tests/unit/test-pm.c tests/unit/pc-common.h
tests_unit_test_pm_LDADD = libhwacpi.la libhwpc.la $(UNIT_LIBS)
TESTS += tests/unit/test-pm

check_PROGRAMS += tests/unit/test-serial
tests_unit_test_serial_SOURCES = tests/unit/test-serial.c tests/unit/fake-chardev.c tests/unit/fake-chardev.h tests/unit/pc-common.h
tests_unit_test_serial_LDADD = libhwchar.la $(UNIT_LIBS)
TESTS += tests/unit/test-serial

check_PROGRAMS += tests/unit/test-platform
tests_unit_test_platform_SOURCES = tests/unit/test-platform.c tests/unit/pc-common.h
tests_unit_test_platform_LDADD = libhwxen.la $(UNIT_LIBS)
TESTS += tests/unit/test-platform

# The whole machine: every room's devices, real back ends.
check_PROGRAMS += tests/unit/test-board
tests_unit_test_board_SOURCES = tests/unit/test-board.c tests/unit/pc-common.h backends/classes.c hw/classes.c
tests_unit_test_board_LDADD = $(HW_LIBS) $(BACKEND_LIBS) $(UNIT_LIBS)
TESTS += tests/unit/test-board

check_PROGRAMS += tests/unit/test-fw-cfg
tests_unit_test_fw_cfg_SOURCES = tests/unit/test-fw-cfg.c tests/unit/pc-common.h
tests_unit_test_fw_cfg_LDADD = libhwfw.la libbackendsblob.la $(UNIT_LIBS)
TESTS += tests/unit/test-fw-cfg
