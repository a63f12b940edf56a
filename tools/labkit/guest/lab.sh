# SPDX-License-Identifier: GPL-2.0-or-later
# Words for test scripts inside a guest.

# Load the driver of every device found, as udev would.
drivers() {
    find /sys/devices -name modalias -exec cat {} + | sort -u | xargs modprobe -a -q 2>/dev/null
    modprobe -q evdev
}

# bound PCI-ADDRESS-PATTERN: the driver of a PCI device
bound() {
    for dev in /sys/bus/pci/devices/*; do
        [ "$(cat "$dev/class")" = "$1" ] && basename "$(readlink "$dev/driver" 2>/dev/null || echo none)"
    done
}
