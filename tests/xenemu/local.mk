# SPDX-License-Identifier: GPL-2.0-or-later
check_PROGRAMS += tests/xenemu/test-host tests/xenemu/echo-dm tests/xenemu/dropin-check
TESTS += tests/xenemu/test-host tests/xenemu/test-run.py

tests_xenemu_test_host_SOURCES = tests/xenemu/test-host.c
tests_xenemu_test_host_CPPFLAGS = $(AM_CPPFLAGS) -D__XEN_TOOLS__ $(XEN_CFLAGS)
tests_xenemu_test_host_LDADD = tools/xenemu/libxenemuhost.la $(GLIB_LIBS) -lpthread

# Plain programs on the plain Xen libraries: at run time xenemu puts its own in their place. Not
# sanitized, so that they start as fast as a floor must.
tests_xenemu_echo_dm_SOURCES = tests/xenemu/echo-dm.c
tests_xenemu_echo_dm_CFLAGS = -std=gnu11 -Wall -Wextra
tests_xenemu_echo_dm_LDFLAGS =
tests_xenemu_echo_dm_LDADD = -lxendevicemodel -lxenforeignmemory -lxenevtchn -lxenstore -lxentoolcore
tests_xenemu_dropin_check_SOURCES = tests/xenemu/dropin-check.c
tests_xenemu_dropin_check_CPPFLAGS = $(AM_CPPFLAGS) $(XENEMU_CPPFLAGS)
tests_xenemu_dropin_check_CFLAGS = -std=gnu11 -Wall -Wextra
tests_xenemu_dropin_check_LDFLAGS =
tests_xenemu_dropin_check_LDADD = -lxenctrl -lxencall -lxengnttab -lxendevicemodel -lxenforeignmemory \
    -lxenevtchn -lxenstore -lxentoolcore

EXTRA_DIST += tests/xenemu/test-run.py tests/xenemu/echo.xds
