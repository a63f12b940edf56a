# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/core.
check_PROGRAMS += tests/unit/test-aspace
tests_unit_test_aspace_SOURCES = tests/unit/test-aspace.c
tests_unit_test_aspace_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-aspace
check_PROGRAMS += tests/unit/test-irq
tests_unit_test_irq_SOURCES = tests/unit/test-irq.c
tests_unit_test_irq_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-irq
check_PROGRAMS += tests/unit/test-clock
tests_unit_test_clock_SOURCES = tests/unit/test-clock.c
tests_unit_test_clock_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-clock
check_PROGRAMS += tests/unit/test-tape
tests_unit_test_tape_SOURCES = tests/unit/test-tape.c
tests_unit_test_tape_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-tape
check_PROGRAMS += tests/unit/test-device
tests_unit_test_device_SOURCES = tests/unit/test-device.c
tests_unit_test_device_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-device
check_PROGRAMS += tests/unit/test-dma
tests_unit_test_dma_SOURCES = tests/unit/test-dma.c
tests_unit_test_dma_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-dma
check_PROGRAMS += tests/unit/test-state
tests_unit_test_state_SOURCES = tests/unit/test-state.c
tests_unit_test_state_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-state
check_PROGRAMS += tests/unit/test-pci
tests_unit_test_pci_SOURCES = tests/unit/test-pci.c
tests_unit_test_pci_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-pci
check_PROGRAMS += tests/unit/test-machine
tests_unit_test_machine_SOURCES = tests/unit/test-machine.c
tests_unit_test_machine_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-machine

# The example of docs/adding-a-device.md: its two C blocks, built and run as they stand there.
check_PROGRAMS += tests/unit/test-guide
nodist_tests_unit_test_guide_SOURCES = tests/unit/guide-device.c tests/unit/guide-test.c
tests_unit_test_guide_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_guide_LDADD = $(UNIT_LIBS)
TESTS += tests/unit/test-guide
CLEANFILES += tests/unit/guide-device.c tests/unit/guide-test.c
EXTRA_DIST += docs/adding-a-device.md docs/state-format.md
GUIDE_BLOCK = $(AWK) -v wanted=$$n '/^```c$$/ { n++; on = 1; next } /^```$$/ { on = 0 } on && n == wanted'
tests/unit/guide-device.c: docs/adding-a-device.md
	$(AM_V_GEN)$(MKDIR_P) tests/unit && n=1 && $(GUIDE_BLOCK) $(top_srcdir)/docs/adding-a-device.md >$@
tests/unit/guide-test.c: docs/adding-a-device.md
	$(AM_V_GEN)$(MKDIR_P) tests/unit && n=2 && $(GUIDE_BLOCK) $(top_srcdir)/docs/adding-a-device.md >$@
check_PROGRAMS += tests/unit/test-log
tests_unit_test_log_SOURCES = tests/unit/test-log.c
tests_unit_test_log_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-log

# Registers by table, and a walk over those of every class: it links them all.
check_PROGRAMS += tests/unit/test-regs
tests_unit_test_regs_SOURCES = tests/unit/test-regs.c hw/classes.c
tests_unit_test_regs_LDADD = $(HW_LIBS) $(BACKEND_LIBS) $(UNIT_LIBS)
TESTS += tests/unit/test-regs

# Buses, with ACPI's part of hot-plug. The table of classes is the test's own.
check_PROGRAMS += tests/unit/test-bus
tests_unit_test_bus_SOURCES = tests/unit/test-bus.c
tests_unit_test_bus_LDADD = libhwacpi.la $(UNIT_LIBS)
TESTS += tests/unit/test-bus
