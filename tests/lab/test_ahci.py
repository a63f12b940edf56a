# SPDX-License-Identifier: GPL-2.0-or-later
"""hdtype="ahci": SeaBIOS and Linux' driver on a disk of the ICH9's adapter, and moves with queued commands under way."""

from labkit.suite import life
from moving import Linux
from shared import SPARE_START, write_and_compare

MOVES = 3

STEPS = [
    "SeaBIOS boots from the adapter's first port, and Linux has its root there",
    "queued commands, both disks found without waiting for each other",
    "16 MB written are in the image",
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "%d x xendmctl update under load" % MOVES,
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]


class Ahci(Linux):
    """Two disks on the adapter; the CD is IDE's. Without PV interrupts: Linux binds no MSI again after xl restore, and this driver asks
    for none anew (xendm(8), CAVEATS; the same with QEMU). So what is saved is commands under way, not a driver that sleeps."""

    def __init__(self, t):
        self.second = "/root/ahci-b.img"
        t.box.run("truncate -s 32M " + self.second)
        super().__init__(t, "ahci", memory=400, vcpus=1, append="nopv",
                         disks=["format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=" + self.second], hdtype="ahci")

    def close(self):
        super().close()
        self.box.call("rm -f " + self.second)


def disks(guest):
    """The block devices behind the adapter's first and second port."""
    text = guest.cmd("for d in /sys/block/sd*; do echo $(basename $d) $(cat $d/size) $(readlink -f $d/device); done")
    pci = guest.cmd("for d in /sys/bus/pci/devices/*; do [ $(cat $d/class) = 0x010601 ] && basename $d; done")
    found = sorted((int(line.split("/ata")[1].split("/")[0]), line.split()[0]) for line in text.splitlines() if pci in line)
    return [name for _, name in found]


@life("ahci", STEPS, memory=512)
def ahci(t):
    """One guest, moved all the time."""
    if t.box.dm != "qemu":
        t.box.put_ctl()
    mover = Ahci(t)
    guest = mover.guest
    try:
        with t.step(STEPS[0], vital=True):
            root = mover.begin()
            t.equal(guest.cmd("bound 0x010601"), "ahci", "the adapter's driver")
            first, second = disks(guest)
            t.equal(root, "/dev/%s2 ext4" % first, "the root file system")
        with t.step(STEPS[1]):
            t.equal(guest.cmd("cat /sys/block/%s/device/queue_depth" % first), "32", "depth of the queue")
            t.equal(guest.cmd("dmesg | grep -i 'SSS flag'; true"), "", "what Linux says of staggered spin-up")
            t.equal(guest.cmd("cat /sys/block/%s/size" % second), "65536", "sectors of the second disk")
        with t.step(STEPS[2]):
            guest.cmd("pattern 16 /tmp/data", 120)
            write_and_compare(t, guest, 16, "/dev/%s3" % first, guest.medium, SPARE_START)
            write_and_compare(t, guest, 16, "/dev/" + second, mover.second)
            guest.cmd("rm /tmp/data")
        with t.step(STEPS[3], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[4], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[5], vital=True):
            mover.updates(MOVES, 1)
        with t.step(STEPS[6]):
            mover.verify()
            mover.no_ata_errors()
        with t.step(STEPS[7]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
