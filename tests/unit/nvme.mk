# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/nvme, with a block back end in memory.
check_PROGRAMS += tests/unit/test-nvme tests/unit/test-nvme-state
nvme_test_sources = tests/unit/nvme-fixture.c tests/unit/nvme-fixture.h tests/unit/fake-block.c tests/unit/fake-block.h
tests_unit_test_nvme_SOURCES = tests/unit/test-nvme.c $(nvme_test_sources)
tests_unit_test_nvme_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_nvme_LDADD = libhwnvme.la $(UNIT_LIBS)
tests_unit_test_nvme_state_SOURCES = tests/unit/test-nvme-state.c $(nvme_test_sources)
tests_unit_test_nvme_state_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_nvme_state_LDADD = libhwnvme.la $(UNIT_LIBS)
TESTS += tests/unit/test-nvme tests/unit/test-nvme-state
