# SPDX-License-Identifier: GPL-2.0-or-later
# The lab and the commands at the top of tools/ run from the source tree: nothing to build, nothing to install.
EXTRA_DIST += tools/build tools/check tools/demo tools/install-packages tools/lab docs/test-runs.md docs/xendm-lab.1 \
    tests/lab/count.S tests/lab/events.py tests/lab/moving.py tests/lab/network.py tests/lab/screen.py tests/lab/shared.py \
    tests/lab/test_cd.py tests/lab/test_netboot.py tests/lab/test_seen.py \
    tests/lab/test_disk.py tests/lab/test_kernel.py tests/lab/test_libvirt.py tests/lab/test_media.py tests/lab/test_migrate.py tests/lab/test_nvme.py tests/lab/test_ordinary.py tests/lab/test_pv.py tests/lab/test_sleep.py tests/lab/test_trouble.py \
    tests/lab/test_two.py tests/lab/test_update.py tests/lab/test_virtio.py tests/lab/viewer.py tools/labkit/__init__.py tools/labkit/accel.py tools/labkit/bench.py \
    tools/labkit/box.py tools/labkit/build.py tools/labkit/cli.py tools/labkit/cpio.py \
    tools/labkit/demo.py tools/labkit/extra.py tools/labkit/dom0/agent tools/labkit/dom0/init tools/labkit/dom0/initrd-init \
    tools/labkit/dom0/profile tools/labkit/guest.py tools/labkit/guest/init \
    tools/labkit/guest/initrd-init tools/labkit/guest/lab.sh tools/labkit/guest/profile tools/labkit/guest/com1.S tools/labkit/guest/reads.S \
    tools/labkit/guest/tiny.S tools/labkit/kmods.py tools/labkit/packages.py tools/labkit/png.py tools/labkit/release.py \
    tools/labkit/matrix.py tools/labkit/report.py tools/labkit/seat.py tools/labkit/suite.py tools/labkit/util.py
TESTS += tests/cmdline/test-suite.py
dist_check_SCRIPTS += tests/cmdline/test-suite.py
EXTRA_DIST += tests/lab/suites/all/suite.ini tests/lab/suites/short/suite.ini tests/lab/debugger.py tests/lab/test_why.py tests/lab/server.py tests/lab/test_ahci.py tests/lab/test_installer.py tests/lab/test_record.py tests/lab/test_secondary.py tests/lab/test_xenpv.py tests/lab/test_xhci.py
EXTRA_DIST += tests/lab/pvguest.py tests/lab/test_scsi.py tests/lab/test_sound.py tests/lab/tone.c
