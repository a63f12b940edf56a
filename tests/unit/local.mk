# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests: glib's test framework, TAP output. A fragment per room, so that people do not meet in one file.
check_LTLIBRARIES += tests/unit/libfakes.la
tests_unit_libfakes_la_SOURCES = tests/unit/fake-hypervisor.c tests/unit/fake-guestmem.c tests/unit/fakes.h

include tests/unit/core.mk
include tests/unit/pc.mk
include tests/unit/ide.mk
include tests/unit/display.mk
include tests/unit/input.mk
include tests/unit/usb.mk
include tests/unit/xen.mk
include tests/unit/dm.mk
include tests/unit/backends.mk
include tests/unit/net.mk
include tests/unit/nvme.mk
include tests/unit/virtio.mk
include tests/unit/pv.mk
include tests/unit/audio.mk
include tests/unit/watchdog.mk
