# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon itself, on xenemu.
TESTS += tests/dm/test-daemon.py tests/dm/test-sandbox.py tests/dm/test-words.py
dist_check_SCRIPTS += tests/dm/test-daemon.py tests/dm/test-sandbox.py tests/dm/test-words.py
TESTS += tests/dm/test-9pfs.py tests/dm/test-secondary.py tests/dm/test-service.py tests/dm/test-vsnd.py tests/dm/test-xenpv.py
dist_check_SCRIPTS += tests/dm/test-9pfs.py tests/dm/test-secondary.py tests/dm/test-service.py tests/dm/test-vsnd.py tests/dm/test-xenpv.py
TESTS += tests/dm/test-qusb.py tests/dm/test-usb-host.py
dist_check_SCRIPTS += tests/dm/test-qusb.py tests/dm/test-usb-host.py
TESTS += tests/dm/test-record.py tests/dm/test-record-devices.py
dist_check_SCRIPTS += tests/dm/test-record.py tests/dm/test-record-devices.py
check_DATA += tests/dm/hang.so tests/dm/intruder.so tests/dm/libusb/libusb-1.0.so.0
EXTRA_DIST += tests/dm/fake-libusb.c tests/dm/hang.c tests/dm/intruder.c
CLEANFILES += tests/dm/hang.so tests/dm/intruder.so tests/dm/libusb/libusb-1.0.so.0
# Preloaded into any program: neither libtool's nor sanitized.
tests/dm/hang.so: tests/dm/hang.c
	$(AM_V_CCLD)$(MKDIR_P) tests/dm && $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared -o $@ $(srcdir)/tests/dm/hang.c
tests/dm/intruder.so: tests/dm/intruder.c dm/sandbox/broker.h
	$(AM_V_CCLD)$(MKDIR_P) tests/dm && $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(GLIB_CFLAGS) -I$(srcdir) -I$(srcdir)/include \
		-fPIC -shared -o $@ $(srcdir)/tests/dm/intruder.c
tests/dm/libusb/libusb-1.0.so.0: tests/dm/fake-libusb.c
	$(AM_V_CCLD)$(MKDIR_P) tests/dm/libusb && $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(USB_CFLAGS) -fPIC -shared \
		-Wl,-soname,libusb-1.0.so.0 -o $@ $(srcdir)/tests/dm/fake-libusb.c
