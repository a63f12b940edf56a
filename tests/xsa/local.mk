# SPDX-License-Identifier: GPL-2.0-or-later
# Security advisories, each tried on what we have of the kind; the table of all is in docs/security.md.
check_PROGRAMS += tests/xsa/test-ide tests/xsa/test-chips
tests_xsa_test_ide_SOURCES = tests/xsa/test-ide.c
tests_xsa_test_ide_LDADD = tests/unit/libidefixture.la libhwide.la libhwata.la libhwscsi.la libhwdisplay.la $(UNIT_LIBS)
tests_xsa_test_chips_SOURCES = tests/xsa/test-chips.c hw/classes.c dm/ioreq/request.c dm/ioreq/request.h
tests_xsa_test_chips_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_xsa_test_chips_LDADD = $(HW_LIBS) $(BACKEND_LIBS) $(UNIT_LIBS)
TESTS += tests/xsa/test-ide tests/xsa/test-chips
check_PROGRAMS += tests/xsa/test-p9
tests_xsa_test_p9_SOURCES = tests/xsa/test-p9.c tests/unit/p9-fixture.c tests/unit/p9-fixture.h $(p9_session)
tests_xsa_test_p9_LDADD = $(GLIB_LIBS)
TESTS += tests/xsa/test-p9
