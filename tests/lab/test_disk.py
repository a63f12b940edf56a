# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernel from the emulated IDE disk: devices, data, reboot, power off."""

import json
import os
import re
import time

from labkit.suite import life
from shared import SPARE_START, check_cpus, write_and_compare

STEPS = [
    "boots from the IDE disk, root on hda's second partition",
    "the CPU runs and takes interrupts",
    "stock drivers bind",
    "64 MB written by DMA are in the image",
    "16 MB written by PIO are in the image",
    "a failing disk gives I/O errors, and the others go on",
    "the screen shows what is written to it",
    "keys reach the guest",
    "pause and unpause",
    "xl list -l and xentop",
    "reboots, with its data",
    "powers off",
]


@life("disk", STEPS, quick=True, memory=768)
def disk(t):
    """One guest with everything on IDE, in two lives."""
    box = t.box
    box.run("""set -e
truncate -s 80M /root/disk-pio.img
truncate -s 16M /root/disk-bad.img
loop=$(losetup -f --show /root/disk-bad.img)
printf '0 16384 linear %s 0\\n16384 2048 error\\n18432 14336 linear %s 18432\\n' $loop $loop | dmsetup create bad --noudevsync
dmsetup mknodes bad""")
    guest = t.guest("disk", memory=640, vcpus=1,
                    append="xen_emul_unplug=never libata.force=1.01:pio4 no_console_suspend",
                    disks=["format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=/root/disk-pio.img",
                           "format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/lab/cd.iso",
                           "format=raw,vdev=hdd,access=rw,target=/dev/mapper/bad"])
    try:
        run(t, guest)
    finally:
        guest.cleanup()
        box.run("dmsetup remove --noudevsync bad; losetup -D; rm -f /root/disk-pio.img /root/disk-bad.img", 60)


def run(t, guest):
    """The steps."""
    with t.step(STEPS[0], vital=True):
        guest.create()
        guest.wait_for(r"LAB initramfs at (\S+)\s", 400)
        root = guest.wait_for(r"LAB root (\S+ \S+) at .*", 240).group(1)
        guest.wait_for(r"LAB serve", 120)
        hda = "/dev/" + guest.cmd("ide 0 0")
        t.equal(root, hda + "2 ext4", "the root file system")
        t.equal(guest.cmd("dmesg | grep -E '^.{14} ata.*(exception|timeout|failed|lost)'; true"), "", "ATA errors")

    with t.step(STEPS[1]):
        check_cpus(t, guest, 1)

    with t.step(STEPS[2]):
        guest.cmd("drivers", 120)
        t.equal(guest.cmd("bound 0x010180"), "ata_piix", "the IDE controller's driver")
        t.equal(guest.cmd("bound 0xff8000"), "xen-platform-pci", "the Xen platform device's driver")
        display = guest.cmd("bound 0x030000")
        t.check(display in ("bochs-drm", "none"), "the display's driver is %s" % display)
        t.match(guest.cmd("cat /proc/tty/driver/serial"), r"^0: uart:16550A", "the first serial port")
        inputs = guest.cmd("for d in /sys/bus/serio/devices/*; do basename $(readlink $d/driver); done")
        t.match(inputs, r"^atkbd$", "drivers of the i8042's ports")
        t.match(inputs, r"^psmouse$", "drivers of the i8042's ports")
        t.match(guest.cmd("cat /proc/interrupts"), r"i8042$", "interrupts")
        disks = guest.cmd("for d in /sys/block/sd* /sys/block/sr*; do echo $(basename $d) $(readlink -f $d/device); done")
        for name in ("sda", "sdb", "sdc", "sr0"):
            t.match(disks, r"^%s .*/ata\d" % name, "disks")

    with t.step(STEPS[3]):
        t.match(guest.cmd("cat /sys/class/ata_device/dev1.0/xfer_mode"), r"DMA", "the transfer mode of hda")
        write_and_compare(t, guest, 64, hda + "3", guest.medium, SPARE_START)

    pio_disk = guest.cmd("ide 0 1")
    bad_disk = guest.cmd("ide 1 1")

    with t.step(STEPS[4]):
        t.match(guest.cmd("cat /sys/class/ata_device/dev1.1/xfer_mode"), r"PIO", "the transfer mode of hdb")
        # A sector is one access of the guest, two to four milliseconds in a box that has to share its CPUs; QEMU moves
        # every word by itself.
        guest.cmd("rm -f /tmp/data")
        write_and_compare(t, guest, 2 if t.box.dm == "qemu" else 16, "/dev/" + pio_disk, "/root/disk-pio.img")
        guest.cmd("rm -f /tmp/data")

    with t.step(STEPS[5]):
        guest.cmd("dd if=/dev/%s of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null" % bad_disk, 60)
        status, text = guest.finish(guest.begin("dd if=/dev/%s of=/dev/null bs=4k skip=2048 count=1 iflag=direct 2>&1" % bad_disk),
                                    180)
        t.check(status != 0 and "Input/output error" in text, "reading the bad part: status %d, %s" % (status, text))
        # The drive has a write cache, which the host's page cache is: the error comes with the flush.
        status, text = guest.finish(guest.begin("dd if=/dev/zero of=/dev/%s bs=4k seek=2048 count=1 conv=fsync 2>&1" % bad_disk),
                                    180)
        t.check(status != 0 and "Input/output error" in text, "writing the bad part: status %d, %s" % (status, text))
        guest.cmd("dd if=/dev/%s of=/dev/null bs=1M skip=9 count=4 iflag=direct 2>/dev/null" % bad_disk, 60)
        guest.cmd("dd if=%s of=/dev/null bs=1M count=1 iflag=direct 2>/dev/null" % hda, 60)
        # What could not be flushed stays lost: the end of the life is not about that.
        guest.cmd("echo 1 >/sys/block/%s/device/delete" % bad_disk, 60)

    with t.step(STEPS[6]):
        guest.cmd(r"printf '\033[2J\033[H' >/dev/tty1; sleep 1")
        empty = guest.screenshot()
        guest.cmd("i=0; while [ $i -lt 12 ]; do echo 'Xendm XENDM #### @@@@ Xendm XENDM #### @@@@'; "
                  "i=$((i + 1)); done >/dev/tty1; sleep 1")
        full = guest.screenshot()
        t.check(full.lit() > empty.lit() + 2000,
                "the picture has %d lit pixels, %d when empty" % (full.lit(), empty.lit()))
        os.makedirs(t.out, exist_ok=True)
        with open("%s/disk-screen.png" % t.out, "wb") as stream:
            stream.write(full.png())

    with t.step(STEPS[7]):
        t.equal(guest.keys("tty1", "xen"), "xen", "what the guest's terminal got")

    with t.step(STEPS[8]):
        t.box.run("xl pause disk")
        t.match(guest.state() or "", "p", "state")
        number = guest.begin("echo alive")
        time.sleep(3)
        t.check("alive" not in guest.text[guest._cursor:], "a paused guest answered")
        t.box.run("xl unpause disk")
        t.equal(guest.finish(number, 30), (0, "alive"), "the answer after unpause")

    with t.step(STEPS[9]):
        listed = json.loads(t.box.run("xl list -l disk", 60))
        info = (listed[0] if isinstance(listed, list) else listed)["config"]
        t.equal(info["c_info"]["name"], "disk", "name")
        t.equal(info["b_info"]["max_vcpus"], 1, "max_vcpus")
        top = t.box.run("xentop -b -f -i 2 -d 1", 60)
        t.match(top, r"^ *disk +\S+ +\d+", "xentop")
        row = [line for line in top.splitlines() if re.match(r" *disk ", line)][-1].split()
        t.check(int(row[8]) == 1, "xentop's vcpus: %s" % row)

    with t.step(STEPS[10], vital=True):
        old = guest.domid()
        guest.cmd("echo life-1 >/mark; sync")
        guest.begin("reboot -f")
        guest.wait_new_life(old, 90)
        guest.wait_for(r"LAB serve", 400)
        t.equal(guest.cmd("cat /mark"), "life-1", "the file written before")

    with t.step(STEPS[11]):
        guest.begin("sync; poweroff -f")
        guest.wait_gone(90)
        t.match(t.box.run("cat /var/log/xen/xl-disk.log"), r"shut down, reason code 0 ", "xl's log")
