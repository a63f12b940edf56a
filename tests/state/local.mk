# SPDX-License-Identifier: GPL-2.0-or-later
# Saved state: golden files and damaged copies of them, in the whole machine on fakes.
check_PROGRAMS += tests/state/test-golden
tests_state_test_golden_SOURCES = tests/state/test-golden.c tests/unit/pc-common.h backends/classes.c hw/classes.c
tests_state_test_golden_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir) -I$(top_srcdir)/tests/unit \
    -DGOLDEN_DIR='"$(abs_top_srcdir)/tests/state/golden"'
tests_state_test_golden_LDADD = $(tests_unit_test_board_LDADD)
TESTS += tests/state/test-golden tests/state/test-scripts.py tests/state/test-incoming.py \
    tests/state/test-xendmctl.py
dist_check_SCRIPTS += tests/state/test-scripts.py tests/state/test-incoming.py tests/state/test-xendmctl.py tests/state/make-golden
EXTRA_DIST += tests/state/cards.xds tests/state/golden/nics.state tests/state/golden/cirrus.state tests/state/golden/usb.state
EXTRA_DIST += tests/state/golden.xds tests/state/log-dirty.xds tests/state/golden/pio.state tests/state/golden/dma.state \
    tests/state/golden/described.state \
    tests/state/golden/ahci.state tests/state/golden/graphics.state tests/state/golden/cd.state \
    tests/state/golden-nvme.xds tests/state/golden/nvme.state tests/state/golden-sound.xds tests/state/golden/sound.state \
    tests/state/golden-virtio.xds tests/state/golden/virtio.state tests/state/golden-virtio-scsi.xds tests/state/golden/virtio-scsi.state tests/state/golden-console.xds tests/state/golden/console.state tests/state/golden-xhci.xds tests/state/golden/xhci.state
