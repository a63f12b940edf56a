# SPDX-License-Identifier: GPL-2.0-or-later
# Device scripts and random accesses with QEMU's Xen build as the oracle. `make check` runs the scripts against
# xendm with the machine moved all the time (tests/state/test-scripts.py), and here against QEMU; then both side by
# side for some seconds. Without QEMU these two are skipped, with the reason.
TESTS += tests/device/test-oracle.py tests/device/test-differential.py
dist_check_SCRIPTS += tests/device/test-oracle.py tests/device/test-differential.py tests/device/differential
EXTRA_DIST += tests/device/accesses.py tests/device/cirrus_accesses.py tests/device/known_differences.py $(device_scripts)
device_scripts = \
    tests/device/ac97.xds tests/device/ahci.xds tests/device/i6300esb.xds \
    tests/device/atapi.xds tests/device/backends.xds tests/device/cirrus.xds tests/device/cmos.xds tests/device/fw-cfg.xds tests/device/i8042.xds \
    tests/device/i8257.xds tests/device/ide.xds tests/device/nvme.xds tests/device/pci-host.xds tests/device/pirq.xds \
    tests/device/platform.xds tests/device/pm.xds tests/device/pv-kbd.xds tests/device/pv-qdisk.xds tests/device/reset-port92.xds tests/device/reset.xds \
    tests/device/serial.xds tests/device/strings.xds tests/device/uhci.xds tests/device/usb-storage.xds tests/device/vga-modes.xds tests/device/vga.xds \
    tests/device/virtio-9p.xds tests/device/virtio-blk.xds tests/device/virtio-net.xds tests/device/virtio-plug.xds tests/device/virtio-scsi.xds \
    tests/device/virtio-serial.xds tests/device/xhci.xds tests/device/xhci-plug.xds

device_scripts += tests/device/pv-console.xds tests/device/pv-fb.xds tests/device/pv-qnic.xds tests/device/pv-vsnd.xds

# What was asked for by name is not skipped: without QEMU these fail.
ORACLE = /usr/libexec/xen-qemu-system-i386
ORACLE_ACCESSES = 200000
DIFFERENTIAL_ACCESSES = 1000000
DIFFERENTIAL_SEEDS = 1 2 3
oracle_needs = xendm$(EXEEXT) tools/xenemu/xenemu$(EXEEXT)
oracle_there = test -x $(ORACLE) || { echo "QEMU's Xen build is not there: ORACLE=$(ORACLE)" >&2; exit 1; }; \
    echo "the oracle: `$(ORACLE) --version | head -n 1`, on the libraries of Xen $(XEN_VERSION)"
differential = $(PYTHON) $(srcdir)/tests/device/differential --dm ./xendm$(EXEEXT) \
    --xenemu tools/xenemu/xenemu$(EXEEXT) --oracle $(ORACLE)

check-oracle: $(oracle_needs)
	@$(oracle_there)
	$(PYTHON) $(srcdir)/tests/device/run --dm ./xendm$(EXEEXT) --xenemu tools/xenemu/xenemu$(EXEEXT)
	$(PYTHON) $(srcdir)/tests/device/run --dm $(ORACLE) --xenemu tools/xenemu/xenemu$(EXEEXT)
	$(differential) --count $(ORACLE_ACCESSES)

check-differential: $(oracle_needs)
	@$(oracle_there)
	@status=0; for seed in $(DIFFERENTIAL_SEEDS); do \
	    $(differential) --seed $$seed --count $(DIFFERENTIAL_ACCESSES) || status=1; \
	done; exit $$status

.PHONY: check-oracle check-differential
