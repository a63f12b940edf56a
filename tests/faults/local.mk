# SPDX-License-Identifier: GPL-2.0-or-later
# xendm under every fault that xenemu can make: at the start, while it serves, on its disks.
TESTS += tests/faults/test-start.py tests/faults/test-service.py tests/faults/test-disk.py tests/faults/test-drives.py tests/faults/test-save.py tests/faults/test-hotplug.py tests/faults/test-kernel.py tests/faults/test-turns.py tests/faults/test-monitor.py tests/faults/test-why.py tests/faults/test-hangs.py tests/faults/test-gdb.py tests/faults/test-seat.py
dist_check_SCRIPTS += tests/faults/test-start.py tests/faults/test-service.py tests/faults/test-disk.py tests/faults/test-drives.py tests/faults/test-save.py tests/faults/test-hotplug.py tests/faults/test-kernel.py tests/faults/test-turns.py tests/faults/test-monitor.py tests/faults/test-why.py tests/faults/test-hangs.py tests/faults/test-gdb.py tests/faults/test-seat.py
EXTRA_DIST += tests/faults/faults.py tests/faults/front.py
TESTS += tests/faults/test-attach.py tests/faults/test-image.py
dist_check_SCRIPTS += tests/faults/test-attach.py tests/faults/test-image.py
