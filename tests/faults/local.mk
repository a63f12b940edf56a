# SPDX-License-Identifier: GPL-2.0-or-later
# xendm under every fault that xenemu can make: at the start, while it serves, on its disks.
TESTS += tests/faults/test-start.py tests/faults/test-service.py tests/faults/test-disk.py tests/faults/test-drives.py tests/faults/test-save.py tests/faults/test-hotplug.py tests/faults/test-kernel.py tests/faults/test-turns.py tests/faults/test-monitor.py tests/faults/test-why.py tests/faults/test-hangs.py tests/faults/test-gdb.py tests/faults/test-seat.py
dist_check_SCRIPTS += tests/faults/test-start.py tests/faults/test-service.py tests/faults/test-disk.py tests/faults/test-drives.py tests/faults/test-save.py tests/faults/test-hotplug.py tests/faults/test-kernel.py tests/faults/test-turns.py tests/faults/test-monitor.py tests/faults/test-why.py tests/faults/test-hangs.py tests/faults/test-gdb.py tests/faults/test-seat.py
EXTRA_DIST += tests/faults/faults.py tests/faults/front.py tests/faults/by-hand-ceph.py
TESTS += tests/faults/test-attach.py tests/faults/test-image.py
dist_check_SCRIPTS += tests/faults/test-attach.py tests/faults/test-image.py
check_DATA += tests/faults/fail-call.so
EXTRA_DIST += tests/faults/fail-call.c
CLEANFILES += tests/faults/fail-call.so
# Preloaded into any program: neither libtool's nor sanitized.
tests/faults/fail-call.so: tests/faults/fail-call.c
	$(AM_V_CCLD)$(MKDIR_P) tests/faults && $(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -fPIC -shared -o $@ $(srcdir)/tests/faults/fail-call.c
