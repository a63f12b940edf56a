# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of sound cards, with an ear of the tests' own (fake-audio.c).
check_PROGRAMS += tests/unit/test-ac97
tests_unit_test_ac97_SOURCES = tests/unit/test-ac97.c tests/unit/fake-audio.c tests/unit/fake-audio.h tests/unit/pc-common.h
tests_unit_test_ac97_LDADD = libhwaudio.la $(UNIT_LIBS)
TESTS += tests/unit/test-ac97
