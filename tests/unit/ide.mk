# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of ide: on the fakes, with a block back end in memory instead of backends/block.
check_LTLIBRARIES += tests/unit/libidefixture.la
tests_unit_libidefixture_la_SOURCES = tests/unit/fake-block.c tests/unit/fake-block.h \
	tests/unit/ide-fixture.c tests/unit/ide-fixture.h
IDE_TEST_LIBS = tests/unit/libidefixture.la libhwide.la libhwata.la libhwscsi.la $(UNIT_LIBS)

check_PROGRAMS += tests/unit/test-ide tests/unit/test-ide-dma tests/unit/test-ide-state tests/unit/test-atapi
tests_unit_test_ide_SOURCES = tests/unit/test-ide.c
tests_unit_test_ide_LDADD = $(IDE_TEST_LIBS)
tests_unit_test_ide_dma_SOURCES = tests/unit/test-ide-dma.c
tests_unit_test_ide_dma_LDADD = $(IDE_TEST_LIBS)
tests_unit_test_ide_state_SOURCES = tests/unit/test-ide-state.c
tests_unit_test_ide_state_LDADD = $(IDE_TEST_LIBS)
tests_unit_test_atapi_SOURCES = tests/unit/test-atapi.c
tests_unit_test_atapi_LDADD = $(IDE_TEST_LIBS)
TESTS += tests/unit/test-ide tests/unit/test-ide-dma tests/unit/test-ide-state tests/unit/test-atapi

check_PROGRAMS += tests/unit/test-ahci
tests_unit_test_ahci_SOURCES = tests/unit/test-ahci.c
tests_unit_test_ahci_LDADD = libhwahci.la $(IDE_TEST_LIBS)
TESTS += tests/unit/test-ahci

check_PROGRAMS += tests/unit/test-scsi
tests_unit_test_scsi_SOURCES = tests/unit/test-scsi.c
tests_unit_test_scsi_LDADD = tests/unit/libidefixture.la libhwide.la libhwata.la libhwscsi.la $(UNIT_LIBS)
TESTS += tests/unit/test-scsi

check_PROGRAMS += tests/unit/test-lsi
tests_unit_test_lsi_SOURCES = tests/unit/test-lsi.c
tests_unit_test_lsi_LDADD = tests/unit/libidefixture.la libhwlsi.la libhwide.la libhwata.la libhwscsi.la $(UNIT_LIBS)
TESTS += tests/unit/test-lsi
