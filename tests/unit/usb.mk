# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/usb.
check_PROGRAMS += tests/unit/test-usb tests/unit/test-uhci
tests_unit_test_usb_SOURCES = tests/unit/test-usb.c tests/unit/usb-fixture.c tests/unit/usb-fixture.h
tests_unit_test_usb_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
tests_unit_test_uhci_SOURCES = tests/unit/test-uhci.c tests/unit/usb-fixture.c tests/unit/usb-fixture.h
tests_unit_test_uhci_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test-usb-storage
tests_unit_test_usb_storage_SOURCES = tests/unit/test-usb-storage.c tests/unit/usb-fixture.c tests/unit/usb-fixture.h
tests_unit_test_usb_storage_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
TESTS += tests/unit/test-usb-storage
TESTS += tests/unit/test-usb tests/unit/test-uhci
check_PROGRAMS += tests/unit/test-xhci
tests_unit_test_xhci_SOURCES = tests/unit/test-xhci.c tests/unit/xhci-fixture.c tests/unit/xhci-fixture.h tests/unit/usb-fixture.c tests/unit/usb-fixture.h
tests_unit_test_xhci_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
TESTS += tests/unit/test-xhci
check_PROGRAMS += tests/unit/test-xhci-hostile
tests_unit_test_xhci_hostile_SOURCES = tests/unit/test-xhci-hostile.c tests/unit/xhci-fixture.c tests/unit/xhci-fixture.h tests/unit/usb-fixture.c tests/unit/usb-fixture.h
tests_unit_test_xhci_hostile_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
TESTS += tests/unit/test-xhci-hostile
check_PROGRAMS += tests/unit/test-usb-host
tests_unit_test_usb_host_SOURCES = tests/unit/test-usb-host.c tests/unit/usb-fixture.c tests/unit/usb-fixture.h tests/unit/fake-usb-host.c \
	tests/unit/fake-usb-host.h
tests_unit_test_usb_host_LDADD = libhwusb.la libhwscsi.la tests/unit/libidefixture.la libhwide.la $(UNIT_LIBS)
TESTS += tests/unit/test-usb-host
