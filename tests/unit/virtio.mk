# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of hw/virtio, with back ends in memory.
virtio_fixture = tests/unit/virtio-fixture.c tests/unit/virtio-fixture.h tests/unit/fake-block.c tests/unit/fake-block.h
check_PROGRAMS += tests/unit/test-virtio tests/unit/test-virtio-blk
tests_unit_test_virtio_SOURCES = tests/unit/test-virtio.c $(virtio_fixture)
tests_unit_test_virtio_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_LDADD = libhwvirtio.la $(UNIT_LIBS)
tests_unit_test_virtio_blk_SOURCES = tests/unit/test-virtio-blk.c $(virtio_fixture)
tests_unit_test_virtio_blk_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_blk_LDADD = libhwvirtio.la $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test-virtio-net
tests_unit_test_virtio_net_SOURCES = tests/unit/test-virtio-net.c tests/unit/fake-net.c tests/unit/fake-net.h $(virtio_fixture)
tests_unit_test_virtio_net_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_net_LDADD = libhwvirtio.la libbackendsnet.la $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test-virtio-rng
tests_unit_test_virtio_rng_SOURCES = tests/unit/test-virtio-rng.c $(virtio_fixture)
tests_unit_test_virtio_rng_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_rng_LDADD = libhwvirtio.la $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test-virtio-serial
tests_unit_test_virtio_serial_SOURCES = tests/unit/test-virtio-serial.c tests/unit/fake-chardev.c tests/unit/fake-chardev.h $(virtio_fixture)
tests_unit_test_virtio_serial_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_serial_LDADD = libhwvirtio.la $(UNIT_LIBS)
check_PROGRAMS += tests/unit/test-virtio-9p
tests_unit_test_virtio_9p_SOURCES = tests/unit/test-virtio-9p.c tests/unit/fake-p9.c tests/unit/fake-p9.h $(virtio_fixture)
tests_unit_test_virtio_9p_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_virtio_9p_LDADD = libhwvirtio.la libbackendsp9.la $(UNIT_LIBS)
TESTS += tests/unit/test-virtio-9p tests/unit/test-virtio-serial tests/unit/test-virtio-rng tests/unit/test-virtio tests/unit/test-virtio-blk tests/unit/test-virtio-net
