# SPDX-License-Identifier: GPL-2.0-or-later
# Images and devices of the host. No Xen header here.
noinst_LTLIBRARIES += libbackendsblock.la
libbackendsblock_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS) $(NBD_CFLAGS)
libbackendsblock_la_SOURCES = backends/block/block.c backends/block/direct.c backends/block/direct.h backends/block/drive.c backends/block/driver.h backends/block/engine.h backends/block/gate.c backends/block/gate.h \
	backends/block/image-wire.h backends/block/internal.h backends/block/job-list.h backends/block/lock.c backends/block/nbd-api.c backends/block/nbd-api.h \
	backends/block/nbd-link.c backends/block/nbd-place.c backends/block/nbd.c backends/block/nbd.h backends/block/vhost-blk.c \
	backends/block/raw.c backends/block/tape.c backends/block/threads.c backends/block/throttle.c backends/block/throttle.h backends/block/uring.c
libbackendsblock_la_LIBADD = $(URING_LIBS) $(GLIB_LIBS)

pkglibexec_PROGRAMS += backends/block/xendm-image
backends_block_xendm_image_SOURCES = backends/block/image-confine.c backends/block/image-confine.h \
	backends/block/image-wire.h backends/block/keeper.c base/confine.c base/file-size.c base/image-name.c base/one-fd.c
backends_block_xendm_image_CPPFLAGS = $(AM_CPPFLAGS) $(CAPNG_CFLAGS)
backends_block_xendm_image_LDADD = $(CAPNG_LIBS)
