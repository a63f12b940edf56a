# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of backends/pv: guest, Xen and toolstack are the tests' own.
check_PROGRAMS += tests/unit/test-pv-kbd tests/unit/test-pv-blk
tests_unit_test_pv_kbd_SOURCES = tests/unit/test-pv-kbd.c tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_kbd_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_kbd_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
tests_unit_test_pv_blk_SOURCES = tests/unit/test-pv-blk.c tests/unit/fake-pv.c tests/unit/fake-pv.h tests/unit/fake-block.c \
	tests/unit/fake-block.h
tests_unit_test_pv_blk_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_blk_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-kbd tests/unit/test-pv-blk
check_PROGRAMS += tests/unit/test-pv-console tests/unit/test-pv-fb
tests_unit_test_pv_console_SOURCES = tests/unit/test-pv-console.c tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_console_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_console_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
tests_unit_test_pv_fb_SOURCES = tests/unit/test-pv-fb.c tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_fb_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_fb_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-console tests/unit/test-pv-fb
check_PROGRAMS += tests/unit/test-pv-vif
tests_unit_test_pv_vif_SOURCES = tests/unit/test-pv-vif.c tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_vif_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_vif_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-vif
check_PROGRAMS += tests/unit/test-pv-snd
tests_unit_test_pv_snd_SOURCES = tests/unit/test-pv-snd.c tests/unit/pv-snd-front.c tests/unit/pv-snd-front.h tests/unit/fake-audio.c tests/unit/fake-audio.h tests/unit/fake-pv.c tests/unit/fake-pv.h
tests_unit_test_pv_snd_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_snd_LDADD = libbackendspv.la libbackendsp9.la libbackendsusb.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-snd
check_PROGRAMS += tests/unit/test-pv-usb
tests_unit_test_pv_usb_SOURCES = tests/unit/test-pv-usb.c tests/unit/fake-pv.c tests/unit/fake-pv.h tests/unit/fake-usb-host.c \
	tests/unit/fake-usb-host.h
tests_unit_test_pv_usb_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_usb_LDADD = libbackendspv.la libbackendsaudio.la libbackendsp9.la libbackendsnet.la libbackendschar.la libbackendsblock.la $(UNIT_LIBS)
TESTS += tests/unit/test-pv-usb
# On Xen's libraries, which are the test's own.
check_PROGRAMS += tests/unit/test-pv-host
tests_unit_test_pv_host_SOURCES = tests/unit/test-pv-host.c dm/xen/evtchn.c dm/xen/grants.c
tests_unit_test_pv_host_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
tests_unit_test_pv_host_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-pv-host
