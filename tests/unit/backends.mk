# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests of the host back ends.
check_PROGRAMS += tests/unit/test-raw tests/unit/test-block tests/unit/test-chardev
tests_unit_test_block_SOURCES = tests/unit/test-block.c
tests_unit_test_block_LDADD = libbackendsblock.la libbackendschar.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
# On an engine of its own, which fails by a table; it loses patience sooner.
tests_unit_test_raw_SOURCES = tests/unit/test-raw.c backends/block/block.c backends/block/direct.c backends/block/drive.c backends/block/gate.c backends/block/lock.c backends/block/raw.c backends/block/tape.c backends/block/throttle.c \
	backends/block/nbd-api.c backends/block/nbd-link.c backends/block/nbd-place.c backends/block/nbd.c backends/block/vhost-blk.c
tests_unit_test_raw_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends $(NBD_CFLAGS) \
	-DENGINE_PATIENCE_US=200000
tests_unit_test_raw_LDADD = libbackendschar.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
check_PROGRAMS += tests/unit/test-direct
tests_unit_test_direct_SOURCES = tests/unit/test-direct.c backends/block/direct.c
tests_unit_test_direct_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends
tests_unit_test_direct_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-direct
check_PROGRAMS += tests/unit/test-uring
tests_unit_test_uring_SOURCES = tests/unit/test-uring.c backends/block/uring.c
tests_unit_test_uring_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends -DENGINE_PATIENCE_US=200000
tests_unit_test_uring_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-uring
tests_unit_test_chardev_SOURCES = tests/unit/test-chardev.c
tests_unit_test_chardev_LDADD = libbackendsblock.la libbackendschar.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
check_PROGRAMS += tests/unit/test-vhost-blk
tests_unit_test_vhost_blk_SOURCES = tests/unit/test-vhost-blk.c backends/block/vhost-blk.c
tests_unit_test_vhost_blk_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(NBD_CFLAGS)
tests_unit_test_vhost_blk_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-vhost-blk
check_PROGRAMS += tests/unit/test-throttle
tests_unit_test_throttle_SOURCES = tests/unit/test-throttle.c backends/classes.c
tests_unit_test_throttle_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_throttle_LDADD = libbackendsaudio.la libbackendsblob.la libbackendsblock.la libbackendschar.la libbackendsnet.la libbackendsp9.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-throttle tests/unit/test-raw tests/unit/test-block tests/unit/test-chardev tests/unit/test-block-threads.sh tests/unit/test-block-memory.sh
dist_check_SCRIPTS += tests/unit/test-block-threads.sh tests/unit/test-block-memory.sh
check_PROGRAMS += tests/unit/test-backend tests/unit/test-base
tests_unit_test_backend_SOURCES = tests/unit/test-backend.c
tests_unit_test_backend_LDADD = libbackends.la libbase.la $(GLIB_LIBS)
tests_unit_test_base_SOURCES = tests/unit/test-base.c
tests_unit_test_base_LDADD = libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-backend tests/unit/test-base
check_PROGRAMS += tests/unit/test-net
tests_unit_test_net_SOURCES = tests/unit/test-net.c
tests_unit_test_net_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_net_LDADD = libbackendsnet.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-net
check_PROGRAMS += tests/unit/test-vnc
tests_unit_test_vnc_SOURCES = tests/unit/test-vnc.c
tests_unit_test_vnc_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_vnc_LDADD = libbackendsvnc.la libbackendsdisplay.la libhwcore.la libdmupdate.la libbase.la $(VNCSERVER_LIBS) $(PNG_LIBS) $(GLIB_LIBS)
TESTS += tests/unit/test-vnc
check_PROGRAMS += tests/unit/test-audio
tests_unit_test_audio_SOURCES = tests/unit/test-audio.c
tests_unit_test_audio_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_audio_LDADD = libbackendsaudio.la libbackends.la libdmupdate.la libbase.la $(GLIB_LIBS)
TESTS += tests/unit/test-audio
check_PROGRAMS += tests/unit/test-scroll
tests_unit_test_scroll_SOURCES = tests/unit/test-scroll.c backends/vnc/scroll.c backends/vnc/scroll.h
tests_unit_test_scroll_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) $(VNCSERVER_CFLAGS)
tests_unit_test_scroll_LDADD = $(VNCSERVER_LIBS) $(GLIB_LIBS)
TESTS += tests/unit/test-scroll
# Behind an image server and its keeper, which are the test's own, as libnbd and the clock are.
nbd_test_sources = tests/unit/fake-nbd.c tests/unit/fake-nbd.h backends/block/block.c backends/block/direct.c backends/block/drive.c backends/block/gate.c \
	backends/block/lock.c backends/block/nbd-link.c backends/block/nbd-place.c backends/block/nbd.c backends/block/raw.c backends/block/tape.c \
	backends/block/threads.c backends/block/throttle.c backends/block/uring.c backends/block/vhost-blk.c
nbd_test_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir) -I$(top_srcdir)/backends $(NBD_CFLAGS) $(URING_CFLAGS)
nbd_test_libs = libbackends.la libdmupdate.la libbase.la $(URING_LIBS) $(GLIB_LIBS)
check_PROGRAMS += tests/unit/test-image-link
tests_unit_test_image_link_SOURCES = tests/unit/test-image-link.c $(nbd_test_sources)
tests_unit_test_image_link_CPPFLAGS = $(nbd_test_cppflags)
tests_unit_test_image_link_LDADD = $(nbd_test_libs)
TESTS += tests/unit/test-image-link
