# SPDX-License-Identifier: GPL-2.0-or-later
# Words for test scripts inside a guest.

# Obey commands from the console, one a line: NUMBER COMMAND; answers "LAB done NUMBER STATUS". It is
# the serial port, or Xen's console of a PV guest.
serve() {
    dmesg -n 1
    console=/dev/ttyS0
    grep -q ^hvc0 /proc/consoles && console=/dev/hvc0
    stty -echo <$console
    echo "LAB serve"
    while read -r number command; do
        eval "$command"
        echo "LAB done $number $?"
    done <$console
}

# Load the driver of every device found, as udev would.
drivers() {
    find /sys/devices -name modalias -exec cat {} + | sort -u | xargs modprobe -a -q 2>/dev/null
    modprobe -q evdev
    true
}

# bound CLASS: the driver of the PCI device of this class (0x010180), or none
bound() {
    for dev in /sys/bus/pci/devices/*; do
        [ "$(cat "$dev/class")" = "$1" ] || continue
        if [ -e "$dev/driver" ]; then basename "$(readlink "$dev/driver")"; else echo none; fi
    done
}

# ide CHANNEL DRIVE: the name of the block device behind this cable
ide() {
    for dev in /sys/devices/pci0000:00/0000:00:01.1/ata$(($1 + 1))/host*/target*:0:"$2"/*/block/*; do
        [ -e "$dev" ] && basename "$dev"
    done
}

# pattern MEGABYTES FILE: bytes that differ from sector to sector and from run to run
pattern() {
    dd if=/dev/urandom of=/tmp/random bs=1M count=1 2>/dev/null
    i=0
    while [ $i -lt "$1" ]; do
        # each megabyte starts elsewhere in the random one
        tail -c +$((i * 4099 + 1)) /tmp/random
        head -c $((i * 4099)) /tmp/random
        i=$((i + 1))
    done >"$2"
    rm /tmp/random
}

# write_check FILE DEVICE: write the file to the device past the page cache, and say its checksum
write_check() {
    megabytes=$(($(stat -c %s "$1") >> 20))
    dd if="$1" of="$2" bs=1M oflag=direct 2>/dev/null || return
    echo "LAB sum $(md5sum <"$1" | cut -c1-32) $megabytes"
}

# read_check DEVICE MEGABYTES: the checksum of what the device holds
read_check() {
    echo 3 >/proc/sys/vm/drop_caches
    echo "LAB sum $(dd if="$1" bs=1M count="$2" iflag=direct 2>/dev/null | md5sum | cut -c1-32) $2"
}

# zone NAME: pages of a memory zone that are page cache
zone() {
    awk -v zone="$1" '$1 == "Node" {on = ($4 == zone)} on && $1 ~ /^nr_zone_(in)?active_file$/ {n += $2} END {print n}' /proc/zoneinfo
}
