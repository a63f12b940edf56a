# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzz targets; see fuzz.h. `make check` runs each for a second or two with fixed inputs; with --enable-fuzzer they are
# libFuzzer's.
fuzz_driver = tests/fuzz/fuzz.h
if !FUZZER
fuzz_driver += tests/fuzz/driver.c
endif

check_PROGRAMS += tests/fuzz/fuzz-board
fuzz_guest = tests/fuzz/guest.c tests/fuzz/guest-nvme.c tests/fuzz/guest-lsi.c tests/fuzz/guest.h tests/unit/fake-block.c tests/unit/fake-block.h \
	tests/unit/fake-p9.c tests/unit/fake-p9.h tests/unit/fake-usb-host.c tests/unit/fake-usb-host.h
tests_fuzz_fuzz_board_SOURCES = tests/fuzz/fuzz-board.c $(fuzz_driver) $(fuzz_guest) dm/ioreq/request.c dm/ioreq/request.h \
	hw/classes.c
tests_fuzz_fuzz_board_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_fuzz_fuzz_board_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_board_LDADD = $(HW_LIBS) libbackendsp9.la libbackendsaudio.la libbackendsblob.la libbackendsnet.la libbackends.la libdmupdate.la $(UNIT_LIBS)

check_PROGRAMS += tests/fuzz/fuzz-device
tests_fuzz_fuzz_device_SOURCES = tests/fuzz/fuzz-device.c tests/fuzz/guest-rings.c tests/fuzz/guest-virtio.c tests/fuzz/guest-xhci.c tests/unit/fake-net.c tests/unit/fake-net.h \
	$(fuzz_driver) $(fuzz_guest) hw/classes.c
tests_fuzz_fuzz_device_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_fuzz_device_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_device_LDADD = $(tests_fuzz_fuzz_board_LDADD)

check_PROGRAMS += tests/fuzz/fuzz-text
tests_fuzz_fuzz_text_SOURCES = tests/fuzz/fuzz-text.c $(fuzz_driver) backends/classes.c tests/unit/qmp-fakes.c tests/unit/qmp-fakes.h \
	tests/unit/qmp-fixture.c tests/unit/qmp-fixture.h xenstore-watch/logic.c xenstore-watch/logic.h
tests_fuzz_fuzz_text_CPPFLAGS = $(qmp_test_cppflags)
tests_fuzz_fuzz_text_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_text_LDADD = $(qmp_test_libs)

check_PROGRAMS += tests/fuzz/fuzz-pv
tests_fuzz_fuzz_pv_SOURCES = tests/fuzz/fuzz-pv.c $(fuzz_driver) tests/unit/fake-block.c tests/unit/fake-block.h tests/unit/fake-pv.c tests/unit/fake-pv.h tests/unit/fake-p9.c tests/unit/fake-p9.h \
	tests/unit/fake-usb-host.c tests/unit/fake-usb-host.h
tests_fuzz_fuzz_pv_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_fuzz_fuzz_pv_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_pv_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsnet.la libbackendschar.la $(UNIT_LIBS)

check_PROGRAMS += tests/fuzz/fuzz-p9
tests_fuzz_fuzz_p9_SOURCES = tests/fuzz/fuzz-p9.c $(fuzz_driver) tests/unit/p9-fixture.c tests/unit/p9-fixture.h $(p9_session)
tests_fuzz_fuzz_p9_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_fuzz_p9_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_p9_LDADD = libbase.la $(GLIB_LIBS)

check_PROGRAMS += tests/fuzz/fuzz-image
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz-image.c $(fuzz_driver) $(nbd_test_sources)
tests_fuzz_fuzz_image_CPPFLAGS = $(nbd_test_cppflags)
tests_fuzz_fuzz_image_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_image_LDADD = $(nbd_test_libs)

if !FUZZER
TESTS += tests/fuzz/fuzz-pv tests/fuzz/fuzz-p9 tests/fuzz/fuzz-image
endif

if !FUZZER
TESTS += tests/fuzz/fuzz-board tests/fuzz/fuzz-device tests/fuzz/fuzz-text
endif
EXTRA_DIST += tests/fuzz/driver.c tests/fuzz/run
